#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""plot_attention.py MODEL -p TEXT --layer N -o OUT.png: where each token of a prompt looks, head by head.

The kernel of attention keeps no weights. They are computed again from what the layer reads: `qorus run --dump` writes queries
and keys of the prompt, here weights are softmax(mask(scale Q K^T)) in float64, a row for each token. Of a full layer or one
with a window, with or without softcap.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from qorus_py import packages, picture

packages.enter(__name__)

ROOT = Path(__file__).resolve().parent.parent


def run(command, *words):
    """What the command says; PictureError with its own words if it fails."""
    done = subprocess.run([command, *map(str, words)], capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise picture.PictureError(done.stderr.decode(errors="replace").strip().splitlines()[-1])
    return done.stdout.decode(errors="replace")


def nodes_of(command, model, layer):
    """Names of the nodes that make what attention of a layer reads: queries, keys, values; and of attention itself."""
    plan = json.loads(run(command, "plan", model, "--no-fuse", "--json"))["plan"]
    made = {v: s["name"] for s in plan["steps"] for v in s["out"]}
    name = f"layers.{layer}.attention"
    for step in plan["steps"]:
        if step["name"] == name and step["class"] == "attention":
            return [made[v] for v in step["in"]] + [name]
    layers = sum(s["class"] == "attention" for s in plan["steps"])
    raise picture.PictureError(f"{model} has no layer {layer}: it has {layers} with attention, from 0")


def dump(command, model, text, names, options=()):
    """{name: rows} of nodes for a prompt."""
    import numpy as np
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, f"{i}.npy") for i, name in enumerate(names)}
        words = [word for name, path in files.items() for word in ("--dump", f"{name}={path}")]
        run(command, "run", model, "-p", text, "-n", 1, *options, *words)
        return {name: np.load(path) for name, path in files.items()}


def weights(arch, layer, queries, keys):
    """[head][token][token]: how much each token takes of each, rows summing to 1."""
    import numpy as np
    n, dim = len(queries), arch["head_dim"]
    kinds = arch["layer_kinds"].split()
    window = arch["window"] if (kinds * arch["n_layers"])[layer] == "window" else 0
    q = queries.astype(np.float64).reshape(n, arch["n_heads"], dim)
    k = keys.astype(np.float64).reshape(n, arch["n_kv_heads"], dim).repeat(arch["n_heads"] // arch["n_kv_heads"], axis=1)
    x = np.einsum("ihd,jhd->hij", q, k) * arch["attn_scale"]
    if arch["attn_softcap"] != 0:
        x = arch["attn_softcap"] * np.tanh(x / arch["attn_softcap"])
    ahead = np.arange(n)[None, :] - np.arange(n)[:, None]
    x[:, (ahead > 0) | ((ahead <= -window) if window != 0 else False)] = -np.inf
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def tokens_of(command, model, text):
    """The prompt's tokens as text, blanks visible."""
    ids = run(command, "tokenize", model, "-p", text).split()
    return [run(command, "tokenize", model, "--decode", "-p", i).replace(" ", "␣").replace("\n", "⏎") for i in ids]


def draw(options):
    """Writes the picture; returns what it says of itself."""
    plot = picture.pyplot()
    arch = json.loads(run(options.command, "inspect", options.model, "--json")).get("arch")
    if arch is None:
        raise picture.PictureError(f"{options.model} is no language model")
    query, key, _, _ = nodes_of(options.command, options.model, options.layer)
    seen = dump(options.command, options.model, options.prompt, [query, key])
    tokens = tokens_of(options.command, options.model, options.prompt)
    all_heads = weights(arch, options.layer, seen[query], seen[key])
    heads = options.heads or range(len(all_heads))
    if max(heads) >= len(all_heads):
        raise picture.PictureError(f"no head {max(heads)}: layer {options.layer} has {len(all_heads)}, from 0")
    if len(tokens) != all_heads.shape[1]:
        raise picture.PictureError(f"{len(tokens)} tokens, but {all_heads.shape[1]} rows were read")
    columns = min(len(heads), 3)
    rows = -(-len(heads) // columns)
    size = 0.6 + 0.16 * len(tokens)
    figure, axes = plot.subplots(rows, columns, squeeze=False, sharex=True, sharey=True, layout="constrained",
                                 figsize=(1.4 + columns * size, 1.4 + rows * (size + 0.2)))
    for axis in axes.flat[len(heads):]:
        axis.set_visible(False)
    for axis, head in zip(axes.flat, heads):
        shown = picture.matrix(axis, all_heads[head], tokens, fontsize=8)
        axis.set_title(f"head {head}", fontsize=9)
    figure.suptitle(f"{Path(options.model).stem}, layer {options.layer}: attention weights", fontsize=10)
    figure.supxlabel("token looked at", fontsize=9)
    figure.supylabel("token", fontsize=9)
    figure.colorbar(shown, ax=axes, shrink=0.7, pad=0.01, label="weight")
    picture.save(figure, options.out)
    plot.close(figure)
    return f"{options.out}: {len(heads)} heads of layer {options.layer}, {len(tokens)} tokens"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a language model, .qorus")
    parser.add_argument("-p", "--prompt", required=True, help="the text")
    parser.add_argument("--layer", type=int, default=0, help="whose attention (default 0)")
    parser.add_argument("--heads", type=int, nargs="+", help="which heads (default all)")
    parser.add_argument("-o", "--out", default="attention.png", help="picture: .png, .svg or .pdf (default attention.png)")
    parser.add_argument("--command", default=str(ROOT / "build" / "qorus"), help="the qorus command (default build/qorus)")
    options = parser.parse_args(arguments)
    return picture.finish("plot_attention", lambda: draw(options))


if __name__ == "__main__":
    sys.exit(main())
