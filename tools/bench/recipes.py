#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The same trainings by `qorus train`, one command each, and by PyTorch: from the same first weights, over the same batches, by
the same recipe. Their losses, step by step, and how long they took.

Run by `make bench-recipes`, by the Python that has PyTorch. The first weights are those that `qorus train` writes after one
step of rate 0. PyTorch is eager on the CPU; what is timed is the loop over the steps alone, on both sides. Exits 1 where losses
are further apart than they may be.
"""
import argparse
import csv
import math
import os
import pathlib
import sys
import tempfile
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import house
from train_torch import Block

sys.path.insert(0, str(house.ROOT) + "/tools")
from qorus_py import format as records  # noqa: E402

COMMON = {"in-order": "yes", "optimizer": "adamw", "learning-rate": 0.002, "weight-decay": 0.1, "clip-norm": 1, "schedule": "cosine",
          "warmup": 20}
DIGITS = {**COMMON, "data": "train-images.idx", "targets": "train-labels.idx", "normalise": "unit", "batch": 32, "epochs": 8}
RECIPES = {
    "mlp": {**DIGITS, "network": "linear 128 relu; linear classes"},
    "cnn": {**DIGITS, "network": "conv2d 16 3 pad 1 relu; maxpool 2; conv2d 32 3 pad 1 relu; maxpool 2; flatten; linear 64 relu; "
                                 "linear classes"},
    "lstm": {**DIGITS, "shape": "8 8", "network": "lstm 64; last; linear classes"},
    "transformer": {**COMMON, "data": "text", "vocab": "byte", "window": 64, "batch": 8, "steps": 300,
                    "network": "decoder layers 2 width 64 heads 4 ffn 192"},
}
# Roundings of F32 differ in every sum, and grow from step to step until two trainings are no longer the same one.
STEPS, GAP = 50, 1e-5   # of each of the first losses, relative
END = 0.02              # of the mean loss of the last tenth


# ---- qorus train ---------------------------------------------------------------------------------------------

def trained(options, recipe, folder, **other):
    """(losses of every step, seconds) of one command; the model is folder/out.qorus."""
    words = {**recipe, "threads": options.threads, "out": f"{folder}/out.qorus", "metrics": f"{folder}/m.csv", **other}
    house.output_of([options.command, "train", *(w for k, v in words.items() for w in (f"--{k}", v))])
    with open(f"{folder}/m.csv", encoding="ascii") as source:
        rows = list(csv.DictReader(source))
    return [float(r["loss"]) for r in rows], float(rows[-1]["seconds"])


def weights(path):
    """{name: array} of a file whose tensors are F32, those in panels of 16 rows laid out plainly again."""
    data = pathlib.Path(path).read_bytes()
    _, sections, _ = records.unpack_header(data)
    found = {}
    for i in range(sections[records.TENSORS][2]):
        name, length, _, layout, shape, _, offset, size, _ = records.unpack_record(data, sections[records.TENSORS][0] + 128 * i)
        at = sections[records.STRINGS][0] + name
        x = np.frombuffer(data, "<f4", size // 4, offset)
        if layout == records.PANEL16:
            x = x.reshape(-1, shape[-1], 16).transpose(0, 2, 1).reshape(-1, shape[-1])[:shape[-2]]
        found[data[at:at + length].decode()] = torch.from_numpy(x.reshape(shape).copy())
    return found


# ---- The networks in PyTorch, with those weights -------------------------------------------------------------

def linear(w, name):
    """A product with its bias."""
    layer = nn.Linear(w[name + ".w"].shape[1], w[name + ".w"].shape[0])
    layer.weight.data, layer.bias.data = w[name + ".w"], w[name + ".b"].flatten()
    return layer


def conv(w, name):
    """Ours has channels last."""
    rows, columns = w[name + ".w"].shape
    layer = nn.Conv2d(columns // 9, rows, 3, padding=1)
    layer.weight.data = w[name + ".w"].reshape(rows, 3, 3, -1).permute(0, 3, 1, 2).contiguous()
    layer.bias.data = w[name + ".b"].flatten()
    return layer


def mlp(w):
    """64-128-10."""
    return nn.Sequential(nn.Flatten(), linear(w, "1.linear"), nn.ReLU(), linear(w, "2.linear"))


def cnn(w):
    """Two convolutions; the flattened image has channels last in ours."""
    first = w["6.linear.w"]
    w = {**w, "6.linear.w": first.reshape(64, 2, 2, 32).permute(0, 3, 1, 2).reshape(first.shape).contiguous()}
    return nn.Sequential(nn.Unflatten(1, (1, 8)), conv(w, "1.conv2d"), nn.ReLU(), nn.MaxPool2d(2), conv(w, "3.conv2d"), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Flatten(), linear(w, "6.linear"), nn.ReLU(), linear(w, "7.linear"))


class Lstm(nn.Module):
    """The answer behind the last row."""

    def __init__(self, w):
        super().__init__()
        self.cells, self.head = nn.LSTM(8, 64, batch_first=True), linear(w, "3.linear")
        for ours, its in (("w_ih", "weight_ih_l0"), ("w_hh", "weight_hh_l0"), ("b_ih", "bias_ih_l0"), ("b_hh", "bias_hh_l0")):
            p = getattr(self.cells, its)
            p.data = w[f"1.lstm.{ours}"].reshape(p.shape)

    def forward(self, x):
        """Logits."""
        return self.head(self.cells(x)[0][:, -1])


class Decoder(nn.Module):
    """Llama-style, the embedding's matrix at its end too."""

    def __init__(self, w):
        super().__init__()
        self.embed = nn.Parameter(w["embed"])
        self.layers, self.norm = nn.ModuleList(Block(64, 4, 192) for _ in range(2)), nn.RMSNorm(64, 1e-5)
        self.norm.weight.data = w["norm"].flatten()
        for i, layer in enumerate(self.layers):
            for name, p in layer.named_parameters():
                p.data = w[f"layers.{i}.{name.removesuffix('.weight')}"].reshape(p.shape)
        angle = torch.arange(64)[:, None] * 10000.0 ** (-torch.arange(8) / 8)
        self.cos, self.sin = angle.cos(), angle.sin()

    def forward(self, tokens):
        """Logits."""
        x = F.embedding(tokens, self.embed)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        return F.linear(self.norm(x), self.embed)


NETWORKS = {"mlp": mlp, "cnn": cnn, "lstm": Lstm, "transformer": Decoder}


def idx(path):
    """An IDX file of bytes."""
    data = pathlib.Path(path).read_bytes()
    shape = np.frombuffer(data, ">u4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def samples(recipe):
    """Inputs and labels, in order."""
    if "targets" in recipe:
        x = idx(recipe["data"]).astype(np.float32)
        return torch.from_numpy((x - x.min()) / (x.max() - x.min())), torch.from_numpy(idx(recipe["targets"]).astype(np.int64))
    text = np.frombuffer(pathlib.Path(recipe["data"]).read_bytes(), np.uint8).astype(np.int64)
    n = (len(text) - 1) // recipe["window"] * recipe["window"]
    return (torch.from_numpy(text[a:a + n].reshape(-1, recipe["window"])) for a in (0, 1))


def share(recipe, step, total):
    """Of the learning rate: q_schedule_share."""
    rest = step - recipe["warmup"]
    return (step + 1) / recipe["warmup"] if rest < 0 else 0.5 * (1 + math.cos(math.pi * rest / (total - recipe["warmup"])))


def torch_trained(model, recipe, total):
    """(losses of every step, seconds)."""
    x, labels = samples(recipe)
    params = list(model.parameters())
    optimizer = torch.optim.AdamW([{"params": [p for p in params if p.dim() > 1], "weight_decay": recipe["weight-decay"]},
                                   {"params": [p for p in params if p.dim() == 1], "weight_decay": 0.0}], fused=True)
    starts = range(0, len(x), recipe["batch"])
    losses, begin = [], time.perf_counter()
    for step in range(total):
        for group in optimizer.param_groups:
            group["lr"] = recipe["learning-rate"] * share(recipe, step, total)
        at = slice(starts[step % len(starts)], starts[step % len(starts)] + recipe["batch"])
        optimizer.zero_grad(set_to_none=True)
        logits = model(x[at])
        loss = F.cross_entropy(logits.flatten(0, -2), labels[at].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(params, recipe["clip-norm"], foreach=True)
        optimizer.step()
        losses.append(loss.item())
    return losses, time.perf_counter() - begin


# ---- Both ----------------------------------------------------------------------------------------------------

def compare(options, name):
    """A line of the table, and whether the losses agree."""
    recipe = dict(RECIPES[name])
    files = {"data": options.text if recipe["data"] == "text" else f"{options.digits}/{recipe['data']}"}
    files |= {"targets": f"{options.digits}/{recipe['targets']}"} if "targets" in recipe else {}
    recipe |= files
    with tempfile.TemporaryDirectory() as folder:
        first = {k: v for k, v in recipe.items() if k not in ("schedule", "warmup", "epochs")}
        trained(options, first, folder, **{"learning-rate": 0, "steps": 1})
        begin = weights(f"{folder}/out.qorus")
        ours, theirs = house.Samples(), house.Samples()
        for _ in range(options.rounds):
            mine, seconds = trained(options, recipe, folder)
            ours.add(seconds)
            its, seconds = torch_trained(NETWORKS[name]({k: v.clone() for k, v in begin.items()}), recipe, len(mine))
            theirs.add(seconds)
    apart = max(abs(a / b - 1) for a, b in zip(mine[:STEPS], its))
    ratio = house.Samples(b / a for a, b in zip(ours.values, theirs.values)).median
    ends = [sum(x[-(len(x) // 10):]) / (len(x) // 10) for x in (mine, its)]
    return [name, len(mine), f"{mine[0]:.4f}", f"{ends[0]:.5f}", f"{ends[1]:.5f}", f"{apart:.1e}", house.spread(ours),
            house.spread(theirs), f"{ratio:.2f}"], apart <= GAP and abs(ends[0] / ends[1] - 1) <= END


def main():
    """Exit code 0: all losses agree."""
    parser = argparse.ArgumentParser(prog="recipes.py", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--command", default="build/qorus")
    parser.add_argument("--digits", default="build/digits", help="where `make digits` puts them")
    parser.add_argument("--text", default="docs/FORMAT.md")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="write docs/results/recipes-<cpu>.md")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    facts = house.machine()
    head = house.heading("The same trainings by `qorus train` and by PyTorch", facts, "make bench-recipes",
                         [f"PyTorch {torch.__version__}, eager, {options.threads} thread; recipes in tools/bench/recipes.py; "
                          f"{options.rounds} rounds in turn; losses: means of the last tenth of the steps; apart: the furthest of the "
                          f"first {STEPS} losses, relative"])
    lines = [compare(options, name) for name in RECIPES]
    text = head + "\n" + house.table(["network", "steps", "first loss", "loss, qorus", "loss, PyTorch", "apart", "qorus, s",
                               "PyTorch, s", "ratio"], [line for line, _ in lines]) + "\n"
    print(text)
    if options.save:
        path = pathlib.Path(house.ROOT, "docs/results", f"recipes-{house.cpu_kind(facts)}.md")
        path.write_text(text, encoding="utf-8")
        house.say(f"bench-recipes: stored {os.path.relpath(path)}")
    return 0 if all(same for _, same in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
