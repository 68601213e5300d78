# SPDX-License-Identifier: MIT
"""Trains small networks with PyTorch in float64 and writes vectors/train/*.qtrj: what Qorus-IA must reach.

Usage: python vectors/gen/trajectories.py [--check]

Made with torch 2.15.0 and NumPy 2.4.6 (CPU; neither is needed by any test). --check compares with the committed files: initial
parameters, data and recipes must be equal, losses and norms within 1e-11 relative (sums of another PyTorch or processor
may differ in their last bits). The format is described in vectors/README.md. Parameters have Qorus-IA's layouts from the
start (convolutions [out][kh*kw*in], images NHWC); PyTorch sees permuted views of them.
"""
import argparse
import math
import pathlib
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))

from bits import Bits  # noqa: E402

STEPS = 50
BATCH = 8
EPS = float(np.float32(1e-5))
IGNORED = -1


class Recipe:
    """How a network is trained; the fields are those of q_train_config."""
    FIELDS = ("optimizer", "rate", "decay", "momentum", "nesterov", "beta1", "beta2", "eps", "clip_norm", "clip_value",
              "schedule", "warmup", "total", "last", "every", "factor")
    OPTIMIZERS = {"sgd": 0, "adam": 1, "adamw": 2}
    SCHEDULES = {"constant": 0, "step": 1, "cosine": 2, "linear": 3}

    def __init__(self, optimizer, rate, **fields):
        self.values = dict.fromkeys(self.FIELDS, 0.0)
        self.values.update(beta1=0.9, beta2=0.999, eps=1e-8, total=STEPS)
        self.values.update(optimizer=optimizer, rate=rate, schedule="constant")
        assert set(fields) <= set(self.FIELDS), fields
        self.values.update(fields)

    def __getattr__(self, name):
        return self.values[name]

    def packed(self):
        numbers = dict(self.values)
        numbers["optimizer"] = self.OPTIMIZERS[self.optimizer]
        numbers["schedule"] = self.SCHEDULES[self.schedule]
        return np.array([[float(numbers[f]) for f in self.FIELDS]], np.float64)

    def make(self, params):
        """The optimizer: matrices decay, vectors (one row) do not; and its schedule."""
        groups = [{"params": [p for p in params if p.shape[0] != 1], "weight_decay": self.decay},
                  {"params": [p for p in params if p.shape[0] == 1], "weight_decay": 0.0}]
        betas = (self.beta1, self.beta2)
        if self.optimizer == "sgd":
            opt = torch.optim.SGD(groups, lr=self.rate, momentum=self.momentum, nesterov=bool(self.nesterov))
        elif self.optimizer == "adam":
            opt = torch.optim.Adam(groups, lr=self.rate, betas=betas, eps=self.eps)
        else:
            opt = torch.optim.AdamW(groups, lr=self.rate, betas=betas, eps=self.eps)
        return opt, self.make_schedule(opt)

    def make_schedule(self, opt):
        s = torch.optim.lr_scheduler
        rest = self.total - self.warmup
        if self.schedule == "step":
            main = s.StepLR(opt, step_size=self.every, gamma=self.factor)
        elif self.schedule == "cosine":
            main = s.CosineAnnealingLR(opt, T_max=rest, eta_min=self.rate * self.last)
        elif self.schedule == "linear":
            main = s.LinearLR(opt, start_factor=1.0, end_factor=self.last, total_iters=rest)
        else:
            main = s.ConstantLR(opt, factor=1.0, total_iters=1)
        if not self.warmup:
            return main
        rise = s.LinearLR(opt, start_factor=1.0 / self.warmup, end_factor=1.0, total_iters=self.warmup - 1)
        return s.SequentialLR(opt, [rise, main], milestones=[self.warmup])


class Network:
    """Initial parameters as F32 matrices, by name and in the order of the graph, and data as F32 or I32 matrices."""
    name = ""
    n_batches = 8
    recipes = {}

    def __init__(self):
        self.bits = Bits("train " + self.name)
        self.params = {}
        self.buffers = {}
        self.data = {}
        self.make()

    def matrix(self, name, rows, columns, fan=None):
        self.params[name] = self.bits.real((rows, columns), 1.0 / math.sqrt(fan or columns))

    def bias(self, name, columns, fan):
        self.params[name] = self.bits.real((1, columns), 1.0 / math.sqrt(fan))

    def ones(self, name, columns):
        """About 1."""
        self.params[name] = (1.0 + self.bits.real((1, columns), 0.125).astype(np.float64)).astype(np.float32)

    def linear(self, name, rows, columns):
        self.matrix(name + ".w", rows, columns)
        self.bias(name + ".b", rows, columns)

    def train(self, recipe):
        """Losses, norms of the mean gradient, and sum and norm of every parameter and buffer at the end."""
        p = {k: torch.tensor(v.astype(np.float64), requires_grad=True) for k, v in self.params.items()}
        b = {k: torch.tensor(v.astype(np.float64)) for k, v in self.buffers.items()}
        opt, schedule = recipe.make(list(p.values()))
        losses, norms = [], []
        for step in range(STEPS):
            opt.zero_grad()
            loss = self.loss(p, b, step % self.n_batches)
            loss.backward()
            limit = recipe.clip_norm or float("inf")
            norms.append(torch.nn.utils.clip_grad_norm_(p.values(), limit).item())
            if recipe.clip_value:
                torch.nn.utils.clip_grad_value_(p.values(), recipe.clip_value)
            opt.step()
            schedule.step()
            losses.append(loss.item())
        final = [[t.sum().item(), t.norm().item()] for t in list(p.values()) + list(b.values())]
        return np.array([losses]), np.array([norms]), np.array(final)

    def samples(self, name, batch):
        rows = len(self.data[name]) // self.n_batches
        return torch.from_numpy(self.data[name][batch * rows:(batch + 1) * rows])


def classify(bits, x, classes):
    """Labels that depend on x: the largest of some random products."""
    w = bits.real((classes, x.shape[1]), 1.0).astype(np.float64)
    return np.argmax(x.astype(np.float64) @ w.T, axis=1).astype(np.int32).reshape(-1, 1)


class Mlp(Network):
    """Linear and ReLU twice, linear, cross-entropy."""
    name = "mlp"
    recipes = {
        "sgd": Recipe("sgd", 0.2),
        "momentum": Recipe("sgd", 0.05, momentum=0.9, decay=0.01, schedule="step", every=15, factor=0.5),
        "nesterov": Recipe("sgd", 0.05, momentum=0.9, nesterov=1, clip_norm=1.0, warmup=5, schedule="cosine", last=0.1),
        "adam": Recipe("adam", 0.01, decay=0.01),
        "adamw": Recipe("adamw", 0.01, decay=0.1, clip_norm=0.5, warmup=10, schedule="cosine"),
        "clip-value": Recipe("adamw", 0.01, decay=0.05, beta2=0.95, clip_value=0.02, schedule="linear", warmup=4, last=0.25),
    }

    def make(self):
        self.linear("first", 32, 20)
        self.linear("second", 24, 32)
        self.linear("third", 5, 24)
        self.data["x"] = self.bits.real((BATCH * self.n_batches, 20), 2.0)
        self.data["labels"] = classify(self.bits, self.data["x"], 5)

    def loss(self, p, b, batch):
        h = self.samples("x", batch).double()
        h = F.relu(F.linear(h, p["first.w"], p["first.b"][0]))
        h = F.relu(F.linear(h, p["second.w"], p["second.b"][0]))
        logits = F.linear(h, p["third.w"], p["third.b"][0])
        return F.cross_entropy(logits, self.samples("labels", batch)[:, 0].long())


class Cnn(Network):
    """Convolution, ReLU, BatchNorm, pooling by maximum; convolution by steps of two, BatchNorm, ReLU, average pooling.

    No bias stands directly before a BatchNorm: its gradient is 0, and Adam would scale rounding up to whole steps."""
    name = "cnn"
    recipes = {
        "nesterov": Recipe("sgd", 0.05, momentum=0.9, nesterov=1, decay=0.005),
        "adam": Recipe("adam", 0.005, warmup=5, schedule="linear", last=0.1),
        "adamw": Recipe("adamw", 0.005, decay=0.1, clip_norm=1.0, warmup=5, schedule="cosine"),
    }
    side, channels, first, second, classes, momentum = 10, 2, 6, 10, 4, 0.125

    def make(self):
        self.matrix("conv1.w", self.first, 9 * self.channels)
        self.bias("conv1.b", self.first, 9 * self.channels)
        self.norm("bn1", self.first)
        self.matrix("conv2.w", self.second, 9 * self.first)
        self.norm("bn2", self.second)
        self.linear("head", self.classes, 4 * self.second)
        n = BATCH * self.n_batches
        self.data["x"] = self.bits.real((n, self.side * self.side * self.channels), 1.0)
        self.data["labels"] = classify(self.bits, self.data["x"], self.classes)

    def norm(self, name, columns):
        self.ones(name + ".w", columns)
        self.bias(name + ".b", columns, 16)
        self.buffers[name + ".mean"] = np.zeros((1, columns), np.float32)
        self.buffers[name + ".var"] = np.ones((1, columns), np.float32)

    @staticmethod
    def kernel(w, channels):
        return w.reshape(len(w), 3, 3, channels).permute(0, 3, 1, 2)

    def normalise(self, p, b, name, x):
        return F.batch_norm(x, b[name + ".mean"][0], b[name + ".var"][0], p[name + ".w"][0], p[name + ".b"][0],
                            training=True, momentum=self.momentum, eps=EPS)

    def loss(self, p, b, batch):
        x = self.samples("x", batch).double().reshape(BATCH, self.side, self.side, self.channels).permute(0, 3, 1, 2)
        h = F.conv2d(x, self.kernel(p["conv1.w"], self.channels), p["conv1.b"][0], padding=1)
        h = F.max_pool2d(self.normalise(p, b, "bn1", F.relu(h)), 2)
        h = F.conv2d(h, self.kernel(p["conv2.w"], self.first), stride=2, padding=2)
        h = F.avg_pool2d(F.relu(self.normalise(p, b, "bn2", h)), 2)
        h = h.permute(0, 2, 3, 1).flatten(1)
        logits = F.linear(h, p["head.w"], p["head.b"][0])
        return F.cross_entropy(logits, self.samples("labels", batch)[:, 0].long())


class Texts(Network):
    """Networks whose batch is BATCH sequences of several lengths, one behind the other."""
    least, most = 1, 1

    def make_lengths(self):
        n = BATCH * self.n_batches
        lengths = self.bits.ints((n, 1), self.least, self.most + 1).astype(np.int32)
        self.data["lengths"] = lengths
        return lengths[:, 0]

    def spans(self, batch):
        """(first, end) of every sequence of a batch, in rows of the data."""
        ends = np.cumsum(self.data["lengths"][:, 0])
        return [(int(ends[i] - self.data["lengths"][i, 0]), int(ends[i])) for i in range(batch * BATCH, (batch + 1) * BATCH)]


class Lstm(Texts):
    """Sequences to labels: LSTM, linear, cross-entropy behind the last row of every sequence."""
    name = "lstm"
    least, most = 3, 12
    recipes = {
        "nesterov": Recipe("sgd", 0.3, momentum=0.9, nesterov=1, clip_norm=0.25, schedule="step", every=20, factor=0.5),
        "adam": Recipe("adam", 0.02, clip_norm=1.0),
        "adamw": Recipe("adamw", 0.02, decay=0.05, clip_norm=0.5, warmup=5, schedule="cosine", last=0.05),
    }
    width, hidden, classes = 6, 20, 3

    def make(self):
        for gate, columns in (("ih", self.width), ("hh", self.hidden)):
            self.matrix("lstm.w_" + gate, 4 * self.hidden, columns, self.hidden)
        for gate in ("ih", "hh"):
            self.bias("lstm.b_" + gate, 4 * self.hidden, self.hidden)
        self.linear("head", self.classes, self.hidden)
        lengths = self.make_lengths()
        x = self.bits.real((int(lengths.sum()), self.width), 1.0)
        self.data["x"] = x
        self.data["labels"] = np.full((len(x), 1), IGNORED, np.int32)
        ends = np.cumsum(lengths)
        means = np.stack([x[e - n:e].astype(np.float64).mean(axis=0) for e, n in zip(ends, lengths)])
        self.data["labels"][ends - 1] = classify(self.bits, means, self.classes)

    def loss(self, p, b, batch):
        flat = [p["lstm.w_ih"], p["lstm.w_hh"], p["lstm.b_ih"][0], p["lstm.b_hh"][0]]
        zero = torch.zeros(1, 1, self.hidden, dtype=torch.float64)
        last, labels = [], []
        for first, end in self.spans(batch):
            x = torch.from_numpy(self.data["x"][first:end]).double().unsqueeze(0)
            out, _, _ = torch._VF.lstm(x, (zero, zero), flat, True, 1, 0.0, True, False, True)
            last.append(out[0, -1])
            labels.append(int(self.data["labels"][end - 1, 0]))
        logits = F.linear(torch.stack(last), p["head.w"], p["head.b"][0])
        return F.cross_entropy(logits, torch.tensor(labels))


class Transformer(Texts):
    """Decoder of two blocks: RMSNorm, grouped queries, rotations of halves, SwiGLU; the next token's cross-entropy."""
    name = "transformer"
    tied = True
    least, most = 5, 12
    recipes = {
        "momentum": Recipe("sgd", 0.1, momentum=0.9, clip_norm=1.0),
        "adam": Recipe("adam", 0.005, beta2=0.98, warmup=8, schedule="linear"),
        "adamw": Recipe("adamw", 0.01, decay=0.1, beta2=0.95, clip_norm=1.0, warmup=5, schedule="cosine", last=0.1),
    }
    vocab, dim, heads, kv_heads, head_dim, ffn, layers, base = 40, 24, 4, 2, 16, 40, 2, 10000.0

    def make(self):
        self.matrix("embed", self.vocab, self.dim, 16)
        for i in range(self.layers):
            at = f"layers.{i}."
            self.ones(at + "attn_norm", self.dim)
            self.matrix(at + "q", self.heads * self.head_dim, self.dim)
            self.matrix(at + "k", self.kv_heads * self.head_dim, self.dim)
            self.matrix(at + "v", self.kv_heads * self.head_dim, self.dim)
            self.matrix(at + "o", self.dim, self.heads * self.head_dim)
            self.ones(at + "ffn_norm", self.dim)
            self.matrix(at + "gate", self.ffn, self.dim)
            self.matrix(at + "up", self.ffn, self.dim)
            self.matrix(at + "down", self.dim, self.ffn)
        self.ones("norm", self.dim)
        if not self.tied:
            self.matrix("output", self.vocab, self.dim)
        self.make_texts()

    def make_texts(self):
        """Tokens that follow from the one before, most of the time; labels: the next token, none behind the last."""
        lengths = self.make_lengths()
        tokens, labels = [], []
        for n in lengths:
            text = [int(self.bits.ints((1,), 0, self.vocab)[0])]
            for _ in range(n - 1):
                text.append((text[-1] * 7 + 3 + int(self.bits.ints((1,), 0, 2)[0])) % self.vocab)
            tokens += text
            labels += text[1:] + [IGNORED]
        self.data["tokens"] = np.array(tokens, np.int32).reshape(-1, 1)
        self.data["labels"] = np.array(labels, np.int32).reshape(-1, 1)

    def rotated(self, x):
        """x [heads, rows, head_dim], rows at positions 0, 1, ..; pairs are (i, i + head_dim/2)."""
        half = self.head_dim // 2
        rate = self.base ** (-torch.arange(half, dtype=torch.float64) / half)
        angle = torch.arange(x.shape[1], dtype=torch.float64)[:, None] * rate
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], dim=-1)

    def attend(self, p, at, h):
        def split(name, heads):
            return F.linear(h, p[at + name]).reshape(len(h), heads, self.head_dim).transpose(0, 1)
        q = self.rotated(split("q", self.heads)).unsqueeze(0)
        k = self.rotated(split("k", self.kv_heads)).unsqueeze(0)
        v = split("v", self.kv_heads).unsqueeze(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return F.linear(y[0].transpose(0, 1).reshape(len(h), -1), p[at + "o"])

    def logits(self, p, tokens):
        def norm(name, x):
            return F.rms_norm(x, (self.dim,), p[name][0], EPS)
        x = F.embedding(tokens, p["embed"])
        for i in range(self.layers):
            at = f"layers.{i}."
            x = x + self.attend(p, at, norm(at + "attn_norm", x))
            h = norm(at + "ffn_norm", x)
            x = x + F.linear(F.silu(F.linear(h, p[at + "gate"])) * F.linear(h, p[at + "up"]), p[at + "down"])
        return F.linear(norm("norm", x), p["embed" if self.tied else "output"])

    def loss(self, p, b, batch):
        logits, labels = [], []
        for first, end in self.spans(batch):
            logits.append(self.logits(p, torch.from_numpy(self.data["tokens"][first:end, 0]).long()))
            labels.append(torch.from_numpy(self.data["labels"][first:end, 0]).long())
        return F.cross_entropy(torch.cat(logits), torch.cat(labels), ignore_index=IGNORED)


class Untied(Transformer):
    """The same with an output matrix of its own."""
    name = "untied"
    tied = False
    recipes = {"adamw": Transformer.recipes["adamw"]}


NETWORKS = (Mlp, Cnn, Lstm, Transformer, Untied)
DTYPES = {"float32": 0, "float64": 1, "int32": 2}


def records(network):
    out = {f"param/{k}": v for k, v in network.params.items()}
    out.update({f"buffer/{k}": v for k, v in network.buffers.items()})
    out.update({f"data/{k}": v for k, v in network.data.items()})
    for name, recipe in network.recipes.items():
        loss, norm, final = network.train(recipe)
        out[name + "/recipe"] = recipe.packed()
        out[name + "/loss"] = loss
        out[name + "/gradient"] = norm
        out[name + "/final"] = final
        print(f"{network.name:12} {name:12} loss {loss[0, 0]:.4f} -> {loss[0, -1]:.4f}, gradient {norm.min():.3g} .. {norm.max():.3g}")
    return out


def packed(found):
    heads, payload, at = [], [], 32 + 96 * len(found)
    for name, a in found.items():
        a = np.ascontiguousarray(a)
        raw = a.tobytes()
        heads.append(struct.pack("<64sIIIIII8x", name.encode(), DTYPES[a.dtype.name], a.shape[0], a.shape[1], at, len(raw), 0))
        raw += bytes(-len(raw) % 32)
        payload.append(raw)
        at += len(raw)
    return struct.pack("<4sIII16x", b"QTRJ", 1, len(found), at) + b"".join(heads) + b"".join(payload)


def unpacked(blob):
    out = {}
    for i in range(struct.unpack_from("<I", blob, 8)[0]):
        name, dtype, rows, columns, at, _, _ = struct.unpack_from("<64sIIIIII8x", blob, 32 + 96 * i)
        kind = [k for k, v in DTYPES.items() if v == dtype][0]
        out[name.rstrip(b"\0").decode()] = np.frombuffer(blob, kind, rows * columns, at).reshape(rows, columns)
    return out


def differs(name, want, got):
    """Why two records do not agree, or None."""
    if want is None or want.shape != got.shape or want.dtype != got.dtype:
        return "is not there" if want is None else "has another shape"
    if name.split("/")[1] in ("loss", "gradient", "final") and got.dtype == np.float64:
        gap = np.abs(want - got) / np.maximum(np.abs(want), 1.0)
        return None if gap.max() <= 1e-11 else f"is off by {gap.max():.3g}"
    return None if np.array_equal(want, got) else "differs"


def check(path, found):
    have = unpacked(path.read_bytes())
    bad = [f"{path.name}: {n} {differs(n, have.get(n), a)}" for n, a in found.items() if differs(n, have.get(n), a)]
    bad += [f"{path.name}: {n} is too many" for n in have if n not in found]
    print("\n".join(bad) if bad else f"{path.name}: agrees")
    return not bad


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed files")
    options = parser.parse_args()
    torch.set_num_threads(1)
    good = True
    for make in NETWORKS:
        network = make()
        path = ROOT / f"vectors/train/{network.name}.qtrj"
        found = records(network)
        if options.check:
            good = check(path, found) and good
            continue
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(packed(found))
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
