# SPDX-License-Identifier: MIT
"""Writes first inputs for the fuzz targets: small valid files of every kind, from which mutants are made.

Usage: python3 test/fuzz/seeds.py FOLDER          (FOLDER/file, FOLDER/tokenizer; snapshots make themselves)
"""
import itertools
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from qorus_py import format as fmt  # noqa: E402
from qorus_py import generate, quant, writer  # noqa: E402
from qorus_py import tokenizer as tok  # noqa: E402

LINEAR, EMBEDDING, SILU, MSE = 1, 2, 7, 14
FLAGS = (fmt.ARCH_TIED, fmt.ARCH_QKV_BIAS, fmt.ARCH_QK_NORM, fmt.ARCH_POST_NORMS)


def decoders(folder):
    """Language models of one or two layers and widths of one to eight."""
    rope = {
        "none": {},
        "linear": {"rope_scaling": fmt.ROPE_LINEAR, "rope_factor": 2.0},
        "llama3": {"rope_scaling": fmt.ROPE_LLAMA3, "rope_factor": 8.0, "rope_low": 1.0, "rope_high": 4.0,
                   "rope_original_context": 32},
        "yarn": {"rope_scaling": fmt.ROPE_YARN, "rope_factor": 4.0, "rope_low": 1.0, "rope_high": 32.0,
                 "rope_original_context": 32, "rope_magnitude": 1.125},
    }
    for i, (name, more) in enumerate(rope.items()):
        arch = fmt.Arch(1, 1, 1, 1, 8, 1, 2, 16, flags=FLAGS[i], **more)
        generate.decoder(folder / f"rope_{name}", arch, quant.F16, seed=i)
    arch = fmt.Arch(3, 2, 2, 1, 8, 3, 5, 16, flags=0, window=4, activation=fmt.ACT_GELU_TANH, norm_offset=1.0,
                    attn_softcap=5.0, logit_softcap=3.0, rope_local_base=100.0,
                    kinds=bytes([fmt.LAYER_WINDOW, fmt.LAYER_NO_ROPE, fmt.LAYER_FULL]))
    generate.decoder(folder / "kinds", arch, quant.F16, seed=9)
    arch = fmt.Arch(1, 1, 1, 1, 8, 1, 259, 16)
    generate.decoder(folder / "bytes", arch, quant.F16, tokenizer=tok.byte_tokenizer(), seed=10)


def extras(folder):
    """Language models with a tensor nobody wants, by names that almost fit."""
    arch = fmt.Arch(1, 1, 1, 1, 8, 1, 2, 16, flags=0)
    names = ["layers.00000.q", "layers.0:q", "layers.:abc", "layers.7.norm", "layersx.0.q", "layers.0.q_bias", "other"]
    for i, (name, flags) in enumerate(itertools.product(names + ["output"], (0, fmt.ARCH_TIED))):
        arch.flags = flags
        wanted = list(arch.tensors())
        if name in dict(wanted):
            continue
        items = [writer.vector(n, [0.0] * s[0]) if len(s) == 1 else
                 writer.matrix(n, quant.F16, s, lambda s=s: quant.quantize(generate.weight(1, "m", s), quant.F16))
                 for n, s in wanted]
        writer.write_file(folder / f"extra_{i}", items + [writer.vector(name, [0.0])], arch=arch)


def graphs(folder):
    """Graphs of a few nodes."""
    generate.mlp(folder / "mlp", (2, 3, 1), seed=5)
    generate.mlp(folder / "mlp_f16", (2, 3, 1), dtype=quant.F16, seed=5)
    table = generate.weight(6, "table", (4, 3))
    items = [writer.Tensor("table", quant.F32, fmt.PLAIN, (4, 3), table.tobytes),
             writer.vector("m", generate.uniform(6, "m", (3,)))]
    nodes = [fmt.GraphNode(EMBEDDING, "embedding", "e", [1], ["table"], struct.pack("<fI", 1.0, 0)),
             fmt.GraphNode(65537, "u.mix", "mix", [2, 0], ["m"], bytes(24), 2, 3)]
    inputs = [fmt.GraphInput("xs", quant.F32, [(1, fmt.SYM_TOKENS), (3, fmt.SYM_ONE)]),
              fmt.GraphInput("id", quant.I32, [(1, fmt.SYM_TOKENS)], 4)]
    outputs = [fmt.GraphOutput("a", 3), fmt.GraphOutput("b", 2)]
    generate.graph_model(folder / "classes", fmt.Graph(inputs, nodes, outputs), items)
    generate.graph_model(folder / "embedding", fmt.Graph(inputs[1:], [fmt.GraphNode(
        EMBEDDING, "embedding", "e", [0], ["table"], struct.pack("<fI", 1.0, 0))], [fmt.GraphOutput("a", 1)]), items[:1])
    for i, (a, b) in enumerate(itertools.product(("x", "xs", "y"), repeat=2)):
        twins = [fmt.GraphInput(name, quant.F32, [(2, fmt.SYM_ONE)]) for name in (a, "x")]
        copies = [fmt.GraphOutput(name, 2) for name in (b, "x")]
        generate.graph_model(folder / f"names_{i}", fmt.Graph(
            twins, [fmt.GraphNode(SILU, "silu", "s", [0])], copies), [])
    x = generate.weight(7, "w", (1, 2))
    loss = [fmt.GraphNode(LINEAR, "linear", "l", [0], ["w"], generate.linear_config()),
            fmt.GraphNode(MSE, "mse", "loss", [2, 1])]
    generate.graph_model(folder / "loss", fmt.Graph(
        [fmt.GraphInput("x", quant.F32, [(1, fmt.SYM_BATCH), (2, fmt.SYM_ONE)]),
         fmt.GraphInput("y", quant.F32, [(1, fmt.SYM_BATCH), (1, fmt.SYM_ONE)])], loss,
        [fmt.GraphOutput("loss", 3)]), [writer.Tensor("w", quant.F32, fmt.PLAIN, (1, 2), x.tobytes, fmt.TRAINABLE)])


def tensors(folder):
    """Neither architecture nor graph; every dtype, both layouts."""
    items = []
    for dtype, plain in itertools.product((quant.F32, quant.Q8_0, quant.Q4_0, quant.Q4_1), (0, 1)):
        rows = quant.quantize(generate.weight(3, "t", (2, 32)), dtype)
        name = f"{'p' if plain else 'µ'}{dtype}"
        layout = fmt.PLAIN if plain else fmt.PANEL16
        if plain:
            items.append(writer.Tensor(name, dtype, layout, (2, 32), rows.tobytes))
    items.append(writer.Tensor("ids", quant.I32, fmt.PLAIN, (3,), struct.pack("<3i", 1, 2, 3).__bytes__))
    items.append(writer.Tensor("cube", quant.F32, fmt.PLAIN, (1, 2, 1, 2), bytes(16).__bytes__, fmt.TRAINABLE))
    writer.write_file(folder / "tensors", items, meta="µ\n\t€😀\n")
    writer.write_file(folder / "empty", [])


def sections(folder):
    """Byte-level vocabularies from a handful of tokens to all 256 bytes."""
    (folder / "byte").write_bytes(tok.byte_tokenizer() + b"a\xff\x00b")
    two_ends = bytearray(tok.byte_tokenizer())
    struct.pack_into("<I", two_ends, 60, 2)
    struct.pack_into("<2I", two_ends, 80, 257, 258)
    (folder / "byte_two_ends").write_bytes(two_ends)
    every = [bytes([b]) for b in range(256)]
    base = {"tokens": [b"a", b"b", b"ab", b"aba", b"<s>", b"<u>", b"", b"zz"],
            "types": [tok.BYTE, tok.BYTE, tok.NORMAL, tok.NORMAL, tok.CONTROL, tok.USER, tok.UNUSED, tok.NORMAL],
            "merges": [(0, 1, 2), (2, 0, 3)], "eos": 4, "eog": [4]}
    text = b"ab aba<s><u>\xc3\xa9 12 it's\n\n  x"
    for pre in range(3):
        t = tok.Tokenizer(tok.KIND_BPE, pre, flags=pre, bos=4 if pre & 1 else tok.NONE, **base)
        (folder / f"small_{pre}").write_bytes(tok.write_section(t) + text)
    chat = {"tokens": every + [b"ab", b"<|im_start|>", b"<|im_end|>", b"<|", b"ac"],
            "types": [tok.BYTE] * 256 + [tok.NORMAL, tok.CONTROL, tok.CONTROL, tok.USER, tok.NORMAL],
            "merges": [(97, 99, 260), (97, 98, 256)],
            "bos": 257, "eos": 258, "pad": 258, "unk": 257, "eog": [257, 258], "system": b"you \xe2\x82\xac"}
    small = bytearray(tok.write_section(tok.Tokenizer(tok.KIND_BPE, **base)))
    starts = small.index(struct.pack("<9I", 0, 1, 1, 2, 2, 2, 2, 2, 2))
    struct.pack_into("<2I", small, starts + 12, 1, 1)  # the second merge has a control token on its left
    (folder / "left").write_bytes(small)
    t = tok.Tokenizer(tok.KIND_BPE, 2, tok.CHAT_CHATML, 7, **chat)
    user = bytearray(tok.write_section(t))
    user[user.index(bytes(chat["types"])) + 258] = tok.USER
    (folder / "chat_user").write_bytes(user)
    (folder / "chat").write_bytes(tok.write_section(t) + b"<|im_start|>ab ab\xe4\xb8\xad\xe6\x96\x87 7" + b"ab" * 30)


def main():
    """Writes all of them."""
    out = Path(sys.argv[1])
    for name in ("file", "tokenizer", "snapshot"):
        (out / name).mkdir(parents=True, exist_ok=True)
    decoders(out / "file")
    extras(out / "file")
    graphs(out / "file")
    tensors(out / "file")
    sections(out / "tokenizer")


if __name__ == "__main__":
    main()
