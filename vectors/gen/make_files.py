#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes vectors/files: small .qorus files that every later version must open, and the vectors of the weight
quantisers. The bytes must come out the same on every machine.

    decoder.qorus   a language model with every flag set: windowed, no-RoPE and full layers, YaRN, byte tokenizer
    llama.qorus     the plain Llama shape in Q4_1 and Q8_0 with a small BPE tokenizer and ChatML
    mlp.qorus       a graph: two trainable Linear layers in F32
    graph.qorus     a graph with two inputs, two outputs, and a caller's class with a config and three outputs
    tensors.qorus   neither architecture nor graph: a tensor of every dtype and layout
    limits.qorus    a graph with everything that has a cap at its cap, as far as that stays small
    quantize.bin    cases of q_quantize, q_dequantize, q_panel_pack (see quantize_cases)
"""
import struct
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from qorus_py import format as fmt  # noqa: E402
from qorus_py import generate, panel, quant, writer  # noqa: E402

OUT = ROOT / "vectors/files"
WEIGHTS = (quant.F32, quant.Q8_0, quant.Q4_0, quant.Q4_1, quant.F16, quant.BF16)


def decoder():
    """Every flag and layer kind; three layers in BF16, embedding and output in Q8_0."""
    flags = fmt.ARCH_QKV_BIAS | fmt.ARCH_QK_NORM | fmt.ARCH_POST_NORMS
    kinds = bytes([fmt.LAYER_FULL, fmt.LAYER_WINDOW, fmt.LAYER_NO_ROPE])
    arch = fmt.Arch(3, 32, 4, 2, 8, 48, 259, 128, flags=flags, activation=fmt.ACT_GELU_TANH, window=16,
                    norm_eps=1e-6, norm_offset=1.0, embed_scale=5.65625, residual_scale=0.75, logit_scale=0.5,
                    attn_softcap=50.0, logit_softcap=30.0, rope_scaling=fmt.ROPE_YARN, rope_dims=4,
                    rope_original_context=32, rope_base=500000.0, rope_local_base=10000.0, rope_factor=4.0,
                    rope_low=1.0, rope_high=32.0, rope_magnitude=1.125, kinds=kinds)
    generate.decoder(OUT / "decoder.qorus", arch, quant.BF16, quant.Q8_0,
                     generate.tokenizers.byte_tokenizer(), seed=1)


def llama():
    """What the converter writes, in small."""
    section = generate.small_bpe()
    arch = fmt.Arch(2, 64, 4, 2, 16, 96, generate.vocabulary(section), 256)
    generate.decoder(OUT / "llama.qorus", arch, quant.Q4_1, quant.Q8_0, section, seed=2)


def graph():
    """More edges and parameters than one node may have, an odd number of both together."""
    table = generate.weight(6, "table", (16, 8))
    names = ["table"] + [f"mix.{i}" for i in range(8)]
    items = [writer.matrix("table", quant.F32, table.shape, lambda: quant.quantize(table, quant.F32))]
    items += [writer.vector(name, generate.uniform(6, name, (8,))) for name in names[1:]]
    config = struct.pack("<dIIf4x", 0.5, 3, 7, 1.25)
    nodes = [fmt.GraphNode(2, "embedding", "embed", [1], ["table"], struct.pack("<fI", 1.0, 0)),
             fmt.GraphNode(65537, "example.mix", "mix", [2, 0], names[1:], config, 2, 3),
             fmt.GraphNode(65538, "example.join", "join", [3, 4, 5, 3, 4, 0], ["mix.7"], b"", 1, 1)]
    inputs = [fmt.GraphInput("xs", quant.F32, [(1, fmt.SYM_TOKENS), (8, fmt.SYM_ONE)]),
              fmt.GraphInput("id", quant.I32, [(1, fmt.SYM_TOKENS)], 16)]
    outputs = [fmt.GraphOutput("out0", 6), fmt.GraphOutput("out1", 4)]
    generate.graph_model(OUT / "graph.qorus", fmt.Graph(inputs, nodes, outputs), items, "a caller's classes\n")


def tensors():
    """Names that sort differently from their places, one of them not ASCII."""
    items = []
    for i, dtype in enumerate(WEIGHTS):
        x = generate.weight(3, quant.NAMES[dtype], (19, 64))
        rows = quant.quantize(x, dtype)
        name = f"panels.{quant.NAMES[dtype]}" if i % 2 else f"πanels.{quant.NAMES[dtype]}"
        items.append(writer.matrix(name, dtype, x.shape, lambda rows=rows: rows))
        items.append(writer.Tensor(f"plain.{quant.NAMES[dtype]}", dtype, fmt.PLAIN, x.shape, rows.tobytes))
    ids = np.arange(-3, 4, dtype="<i4")
    items.append(writer.Tensor("ids", quant.I32, fmt.PLAIN, (7,), ids.tobytes))
    cube = generate.uniform(3, "cube", (2, 3, 5, 7))
    items.append(writer.Tensor("cube", quant.F32, fmt.PLAIN, cube.shape, cube.tobytes, fmt.TRAINABLE))
    writer.write_file(OUT / "tensors.qorus", items, meta="every dtype and layout\nΔ\n")


def limits():
    """Names of 127 bytes, 64 inputs and outputs, ids up to 2^31 - 1, a node with 8 inputs, 4 outputs, 8 parameters and a
    config of 4096 bytes, and one with nothing but an output."""
    def named(name):
        return (name + "." + "=" * fmt.CAP_NAME)[:fmt.CAP_NAME]
    items = [writer.vector(named(f"w{i}"), generate.uniform(7, f"w{i}", (3,))) for i in range(8)]
    full = fmt.GraphNode(65537, named("example.full"), named("full"), list(range(8)), [t.name for t in items],
                         bytes(fmt.CAP_CONFIG), 1, 4)
    empty = fmt.GraphNode(65538, named("example.empty"), named("empty"), [], [], b"", 1, 1)
    inputs = [fmt.GraphInput(named(f"in{i}"), quant.I32, [(1, fmt.SYM_TOKENS)], 2**31 - 1)
              for i in range(fmt.CAP_GRAPH_IO)]
    outputs = [fmt.GraphOutput(named(f"out{i}"), i) for i in range(fmt.CAP_GRAPH_IO)]
    generate.graph_model(OUT / "limits.qorus", fmt.Graph(inputs, [full, empty], outputs), items, "at the caps\n")


def quantize_inputs(dtype):
    """Matrices that reach every branch of the quantisers: ties, zeros of both signs, subnormal scales, single
    large values, and a last panel that is not full."""
    x = generate.uniform(4, f"quantize {dtype}", (19, 64))
    yield x
    ties = np.round(x * 8) / 2
    yield ties.astype(np.float32)
    yield np.where(x < 0, np.float32(-0.0), np.float32(0.0))[:3]
    scales = np.ldexp(1.0, np.arange(-145, -145 + 19 * 8, 8))[:, None].astype(np.float32)
    yield (x * scales)[:19]
    spike = np.where(np.arange(64) == 17, np.float32(1), np.float32(0))[None, :] * x[:4] * np.float32(100)
    yield spike.astype(np.float32)


def quantize_cases():
    """u32 magic "QVQZ", u32 n; per case u32 dtype, rows, k, 0; u64 bytes of: F32 input, plain rows, panels, F32
    back; then those four, each padded to 64 bytes. Cases begin at multiples of 64."""
    cases = []
    for dtype in WEIGHTS:
        for x in quantize_inputs(dtype):
            rows = quant.quantize(x, dtype)
            parts = [x.astype("<f4").tobytes(), rows.tobytes(), panel.pack(rows, dtype, x.shape[1]).tobytes(),
                     quant.dequantize(rows, dtype).astype("<f4").tobytes()]
            head = struct.pack("<4I4Q16x", dtype, *x.shape, 0, *(len(p) for p in parts))
            cases.append(head + b"".join(p + bytes(-len(p) % 64) for p in parts))
    head = struct.pack("<4sI56x", b"QVQZ", len(cases))
    (OUT / "quantize.bin").write_bytes(head + b"".join(cases))


def main():
    """Writes everything."""
    OUT.mkdir(parents=True, exist_ok=True)
    decoder()
    llama()
    generate.mlp(OUT / "mlp.qorus", (4, 19, 3), seed=5)
    graph()
    tensors()
    limits()
    quantize_cases()


if __name__ == "__main__":
    main()
