#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of --adapter as a user has it: adapters (LoRA) over a model in run, plan and bench, and merged by quantize.

Usage: test_adapter.py; the environment's BUILD says where the command is
"""
import sys

sys.dont_write_bytecode = True

from command import FOLDER, ROOT, finish, missing, refused, run, skip, tell  # noqa: E402
from file_reader import Parsed  # noqa: E402

sys.path[:0] = [str(ROOT / "tools")]

MODEL = ROOT / "vectors/files/llama.qorus"
TOLERANCE = 1e-5  # of merged weights, as a share of the largest logit: the order of sums
RANK, ALPHA = 3, 7.5


def write_adapters(path, shapes, meta=f"lora_rank: {RANK}\nlora_alpha: {ALPHA}\n"):
    """A file of adapters with random numbers; shapes: {product: (rows, columns)}."""
    import numpy as np
    from qorus_py import quant, writer
    draw = np.random.default_rng(3)
    tensors = []
    for name, (rows, columns) in shapes.items():
        for part, shape in (("lora_a", (RANK, columns)), ("lora_b", (rows, RANK))):
            values = draw.normal(0, 0.2, shape).astype(np.float32)
            tensors.append(writer.matrix(f"{name}.{part}", quant.F32, shape, lambda v=values: v.view(np.uint8)))
    writer.write_file(path, tensors, meta=meta)


def logits(name, *words):
    """The bytes of the logits of a text."""
    path = FOLDER / name
    code, _, error = run("run", *words, "-p", "some text to read", "-n", "0", "--exact", "--logits", path)
    tell(f"{name}: logits", code == 0 and path.exists(), error)
    return path.read_bytes() if path.exists() else b""


def distance(a, b):
    """Largest difference as a share of the largest value."""
    import numpy as np
    a, b = (np.frombuffer(x, dtype=np.float32).astype(np.float64) for x in (a, b))
    return np.abs(a - b).max() / np.abs(b).max() if a.shape == b.shape and a.size else 1.0


def shapes_of(model):
    """Rows and columns of the matrices of a model."""
    return {t["name"]: tuple(t["shape"]) for t in Parsed(model.read_bytes()).tensors}


def test_use():
    """Adapters change the logits; merged into F32 they give the same."""
    shapes = shapes_of(MODEL)
    adapters, merged, same = FOLDER / "a.qorus", FOLDER / "merged.qorus", FOLDER / "same.qorus"
    write_adapters(adapters, {name: shapes[name] for name in ("layers.0.q", "layers.1.down", "layers.1.o")})
    plain, beside = logits("plain", MODEL), logits("beside", MODEL, "--adapter", adapters)
    tell("adapters change the logits", distance(beside, plain) > 0.01, distance(beside, plain))
    code, _, error = run("quantize", MODEL, merged, "f32", "--adapter", adapters)
    tell("merged into f32", code == 0 and "merged into 3 matrices" in error, error)
    one = logits("one", merged)
    tell("the same logits from merged weights", distance(one, beside) <= TOLERANCE, distance(one, beside))
    code, _, error = run("quantize", MODEL, same, "same", "--adapter", adapters)
    tell("merged into the types there were", code == 0, error)
    near = logits("near", same)
    tell("near with weights in their old types", distance(near, beside) < distance(plain, beside) / 2, distance(near, beside))
    code, out, error = run("plan", MODEL, "--adapter", adapters)
    tell("plan with adapters", code == 0 and b"lora_a" in out, error)


def test_refusals():
    """Files that are no adapters of this model."""
    shapes = shapes_of(MODEL)
    other = FOLDER / "other.qorus"
    refused("no adapters", 1, "run", MODEL, "-p", "x", "--adapter", MODEL, says="lora_alpha")
    refused("missing", 1, "run", MODEL, "-p", "x", "--adapter", FOLDER / "absent", says="absent")
    write_adapters(other, {"layers.0.nothing": (16, 16)})
    refused("a matrix that is not there", 1, "run", MODEL, "-p", "x", "--adapter", other, says="layers.0.nothing.lora_a")
    rows, columns = shapes["layers.0.q"]
    write_adapters(other, {"layers.0.q": (rows + 16, columns)})
    refused("another shape", 1, "quantize", MODEL, FOLDER / "x", "f32", "--adapter", other, says="shape")
    write_adapters(other, {"layers.0.q": (rows, columns)}, meta="lora_alpha: much\n")
    refused("alpha that is no number", 1, "run", MODEL, "-p", "x", "--adapter", other, says="lora_alpha")
    refused("same without adapters", 2, "quantize", MODEL, FOLDER / "x", "same", says="same")


if missing("numpy"):
    skip("all", "numpy is missing")
else:
    test_use()
    test_refusals()
finish()
