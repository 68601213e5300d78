#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The trainings of works.c in PyTorch, on the CPU: the same shapes, first weights, data and recipe.

Usage: train_torch.py WORK THREADS [real-time]

A server for peers.py, so that both sides can take turns and compiling is not timed. It reads lines "train WAY", "forward
WAY" or "facts" and answers each with one line of JSON. WAY is eager or compile and, of the images, may end in "-last"
(channels_last). Whatever a way needs is made, and warmed up, the first time it is asked for. real-time: what is timed
runs before other processes, compiling does not.
"""
import copy
import json
import os
import statistics
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

LOSSES, WARM, PASSES, SECONDS, FORWARD_SECONDS, PRIORITY = 4, 8, 8, 1.2, 0.4, 20


# ---- Numbers, as works.h says --------------------------------------------------------------------------------

def numbers(name, n):
    """32-bit numbers 0 .. n-1 of a stream."""
    h = 2166136261
    for byte in name.encode():
        h = ((h ^ byte) * 16777619) & 0xFFFFFFFF
    h = np.uint32(h) + np.arange(n, dtype=np.uint32) * np.uint32(0x9E3779B9)
    h = (h ^ (h >> 16)) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * np.uint32(0xC2B2AE35)
    return h ^ (h >> 16)


def reals(name, scale, shape):
    """Evenly in [-scale, scale)."""
    n = int(np.prod(shape))
    x = ((numbers(name, n) >> 8).astype(np.float64) / 8388608.0 - 1.0) * scale
    return torch.from_numpy(x.astype(np.float32).reshape(shape))


def first_value(name, shape):
    """What parameter `name` begins as; of matrices in the order works.c keeps them in."""
    if "norm" in name:
        return torch.ones(shape)
    return reals(name, 1 / 16 if len(shape) == 1 else shape[1] ** -0.5, shape)


def ids(name, limit, shape):
    """Numbers below limit."""
    return torch.from_numpy((numbers(name, int(np.prod(shape))) % np.uint32(limit)).astype(np.int64).reshape(shape))


# ---- Networks ------------------------------------------------------------------------------------------------

class Mlp(nn.Module):
    """784-256-128-10, ReLU."""
    batch, sample, labels, classes = 64, (784,), (), 10

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(784, 256), nn.Linear(256, 128), nn.Linear(128, 10)

    def forward(self, x):
        """Logits."""
        return self.third(F.relu(self.second(F.relu(self.first(x)))))

    @staticmethod
    def name_of(name):
        """The parameter's name in works.c."""
        return name.replace(".weight", ".w").replace(".bias", ".b")

    def value_of(self, name, shape):
        """First value, in PyTorch's order."""
        return first_value(self.name_of(name), shape)


class Cnn(Mlp):
    """Convolutions of 16 and 32 channels, each with ReLU and pooling, 1568-128-10."""
    sample = (1, 28, 28)

    def __init__(self):
        nn.Module.__init__(self)
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.first, self.second = nn.Linear(1568, 128), nn.Linear(128, 10)

    def forward(self, x):
        """Logits."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.second(F.relu(self.first(torch.flatten(x, 1))))

    def value_of(self, name, shape):
        """Ours have channels last."""
        if name in ("conv1.weight", "conv2.weight"):
            w = first_value(self.name_of(name), (shape[0], 9 * shape[1]))
            return w.reshape(shape[0], 3, 3, shape[1]).permute(0, 3, 1, 2)
        if name == "first.weight":
            return first_value("first.w", shape).reshape(128, 7, 7, 32).permute(0, 3, 1, 2).reshape(shape)
        return super().value_of(name, shape)


class Lstm(Mlp):
    """LSTM 64-256, and a product to 64 classes behind every step."""
    batch, sample, labels, classes = 32, (64, 64), (64,), 64
    NAMES = {"lstm.weight_ih_l0": "lstm.w_ih", "lstm.weight_hh_l0": "lstm.w_hh", "lstm.bias_ih_l0": "lstm.b_ih",
             "lstm.bias_hh_l0": "lstm.b_hh", "head.weight": "head.w", "head.bias": "head.b"}

    def __init__(self):
        nn.Module.__init__(self)
        self.lstm, self.head = nn.LSTM(64, 256, batch_first=True), nn.Linear(256, 64)

    def forward(self, x):
        """Logits."""
        return self.head(self.lstm(x)[0])

    @classmethod
    def name_of(cls, name):
        """The parameter's name in works.c."""
        return cls.NAMES[name]


class Block(nn.Module):
    """RMSNorm, attention, RMSNorm, SwiGLU."""

    def __init__(self, width, heads, ffn):
        super().__init__()
        self.heads = heads
        self.attn_norm, self.ffn_norm = nn.RMSNorm(width, 1e-5), nn.RMSNorm(width, 1e-5)
        for name in "qkvo":
            setattr(self, name, nn.Linear(width, width, bias=False))
        self.gate, self.up = nn.Linear(width, ffn, bias=False), nn.Linear(width, ffn, bias=False)
        self.down = nn.Linear(ffn, width, bias=False)

    def forward(self, x, cos, sin):
        """Residual stream."""
        h = self.attn_norm(x)
        q, k, v = (f(h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(turned(q, cos, sin), turned(k, cos, sin), v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).flatten(2))
        h = self.ffn_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def turned(x, cos, sin):
    """Rotates pairs (i, i + half)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


class Lm(Mlp):
    """Llama-style language model."""
    classes = 512

    def __init__(self, layers, width, heads, ffn):
        nn.Module.__init__(self)
        self.embed = nn.Embedding(512, width)
        self.layers = nn.ModuleList(Block(width, heads, ffn) for _ in range(layers))
        self.norm, self.output = nn.RMSNorm(width, 1e-5), nn.Linear(width, 512, bias=False)
        half = width // heads // 2
        angle = torch.arange(self.sample[0])[:, None] * 10000.0 ** (-torch.arange(half) / half)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, tokens):
        """Logits."""
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        return self.output(self.norm(x))

    @staticmethod
    def name_of(name):
        """The parameter's name in works.c."""
        return name.removesuffix(".weight")


class Lm288(Lm):
    """6 x 288."""
    batch, sample, labels = 4, (256,), (256,)

    def __init__(self):
        super().__init__(6, 288, 6, 768)


class Lm128(Lm):
    """4 x 128."""
    batch, sample, labels = 8, (128,), (128,)

    def __init__(self):
        super().__init__(4, 128, 4, 384)


WORKS = {"mlp": Mlp, "cnn": Cnn, "lm-288": Lm288, "lm-128": Lm128, "lstm": Lstm}


# ---- Measuring -----------------------------------------------------------------------------------------------

class Training:
    """One work, one way."""

    def __init__(self, work, way):
        self.work, self.last = WORKS[work], way.endswith("-last")
        self.model = self.work()
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                p.copy_(self.model.value_of(name, tuple(p.shape)))
        if self.last:
            self.model = self.model.to(memory_format=torch.channels_last)
        params = list(self.model.parameters())
        self.optimizer = torch.optim.AdamW([{"params": [p for p in params if p.dim() > 1], "weight_decay": 0.1},
                                            {"params": [p for p in params if p.dim() == 1], "weight_decay": 0.0}],
                                           lr=1e-3, fused=True)
        self.params = params
        self.x, self.labels = self.data(self.work.batch)
        compiled = way.startswith("compile")
        self.loss = torch.compile(self.loss_of) if compiled else self.loss_of
        self.answer = copy.deepcopy(self.model).eval()
        self.answer = torch.compile(self.answer) if compiled else self.answer
        self.one = self.data(1)[0]
        self.warm = False
        self.losses = [self.step() for _ in range(LOSSES)]
        for _ in range(WARM):
            self.step()

    def data(self, batch):
        """Inputs and labels."""
        shape = (batch, *self.work.sample)
        x = ids("tokens", self.work.classes, shape) if issubclass(self.work, Lm) else reals("x", 1, shape)
        x = x.contiguous(memory_format=torch.channels_last) if self.last else x
        return x, ids("labels", self.work.classes, (batch, *self.work.labels))

    def loss_of(self, x, labels):
        """Mean cross-entropy."""
        return F.cross_entropy(self.model(x).flatten(0, -2), labels.flatten())

    def step(self):
        """Forward, backward, clipping, AdamW."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.x, self.labels)
        loss.backward()
        nn.utils.clip_grad_norm_(self.params, 1.0, foreach=True)
        self.optimizer.step()
        return loss.item()

    def ready_train(self):
        """It is, once made."""

    def ready_forward(self):
        """Compiles, and fills caches."""
        with torch.inference_mode():
            for _ in range(0 if self.warm else 20):
                self.answer(self.one)
        self.warm = True

    def train(self):
        """Milliseconds of a step."""
        return timed(self.step, SECONDS, 1e3)

    def forward(self):
        """Microseconds of one sample."""
        with torch.inference_mode():
            return timed(lambda: self.answer(self.one), FORWARD_SECONDS, 1e6)


def timed(work, seconds, scale):
    """Median, least and most of some passes."""
    found, begin = [], time.perf_counter()
    work()
    while len(found) < PASSES or time.perf_counter() - begin < seconds:
        at = time.perf_counter()
        work()
        found.append((time.perf_counter() - at) * scale)
    return {"median": statistics.median(found), "least": min(found), "most": max(found)}


def hurry(priority):
    """All threads of this process in the real-time class, or with 0 as usual again."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setscheduler(int(thread), os.SCHED_FIFO if priority else os.SCHED_OTHER, os.sched_param(priority))


def peak_mib():
    """Of this process so far, 0 where nobody tells."""
    try:
        with open("/proc/self/status", encoding="utf-8") as source:
            return next(int(line.split()[1]) / 1024 for line in source if line.startswith("VmHWM:"))
    except OSError:
        return 0.0


def main(work, threads, urgent=None):
    """Answers until its input ends."""
    torch.set_num_threads(int(threads))
    torch.set_num_interop_threads(1)
    imported = peak_mib()
    ways = {}
    for line in sys.stdin:
        what, _, way = line.strip().partition(" ")
        if way and way not in ways:
            ways[way] = Training(work, way)
        if what == "facts":
            answer = {"torch": torch.__version__, "imported_mib": imported}
        else:
            getattr(ways[way], "ready_" + what)()
            hurry(PRIORITY if urgent else 0)
            answer = getattr(ways[way], what)()
            hurry(0)
            answer.update(loss=ways[way].losses, peak_mib=peak_mib())
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in WORKS:
        sys.exit(f"usage: train_torch.py {'|'.join(WORKS)} THREADS [real-time]")
    main(*sys.argv[1:])
