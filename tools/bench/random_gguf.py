#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes a GGUF model of the Llama family with random Q4_0 weights and no tokenizer: a load for benchmarks of any size.

The quants are random bits and the scales small random numbers: nothing is quantised, so that a billion weights take
seconds. The default shape is TinyLlama's (1.1 billion weights).
"""
import argparse
import os
import sys

try:
    import gguf
    import numpy as np
except ImportError as error:
    sys.exit(f"random_gguf: Python package {error.name!r} is missing (make deps installs what is needed)")

BLOCK, BLOCK_BYTES = 32, 18


def q4_0(random, rows, columns):
    """Rows of Q4_0 blocks: a scale in f16, 16 bytes of quants."""
    blocks = random.integers(0, 256, (rows * columns // BLOCK, BLOCK_BYTES), dtype=np.uint8)
    scale = random.uniform(0.2, 0.4, len(blocks)) / np.sqrt(columns)
    blocks[:, :2] = scale.astype(np.float16).view(np.uint8).reshape(-1, 2)
    return blocks.reshape(rows, columns // BLOCK * BLOCK_BYTES)


def write(o):
    """The file, complete or not at all."""
    random = np.random.default_rng(o.seed)
    writer = gguf.GGUFWriter(o.output + ".part", "llama")
    writer.add_name("random")
    writer.add_context_length(o.context)
    writer.add_embedding_length(o.dim)
    writer.add_block_count(o.layers)
    writer.add_feed_forward_length(o.ffn)
    writer.add_head_count(o.heads)
    writer.add_head_count_kv(o.kv_heads)
    writer.add_rope_dimension_count(o.dim // o.heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(o.vocab)
    writer.add_tokenizer_model("no_vocab")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    kv = o.dim // o.heads * o.kv_heads
    matrices = [("token_embd", o.vocab, o.dim), ("output", o.vocab, o.dim)]
    norms = ["output_norm"]
    for i in range(o.layers):
        matrices += [(f"blk.{i}.{name}", rows, columns) for name, rows, columns in (
            ("attn_q", o.dim, o.dim), ("attn_k", kv, o.dim), ("attn_v", kv, o.dim), ("attn_output", o.dim, o.dim),
            ("ffn_gate", o.ffn, o.dim), ("ffn_up", o.ffn, o.dim), ("ffn_down", o.dim, o.ffn))]
        norms += [f"blk.{i}.attn_norm", f"blk.{i}.ffn_norm"]
    for name, rows, columns in matrices:
        writer.add_tensor(name + ".weight", q4_0(random, rows, columns), raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    for name in norms:
        writer.add_tensor(name + ".weight", np.ones(o.dim, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(o.output + ".part", o.output)


def main(arguments=None):
    """Exit code 0: written."""
    parser = argparse.ArgumentParser(prog="random_gguf.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("output", metavar="OUT.gguf")
    for name, value in (("layers", 22), ("dim", 2048), ("ffn", 5632), ("heads", 32), ("kv-heads", 4), ("vocab", 32000),
                        ("context", 2048), ("seed", 0)):
        parser.add_argument("--" + name, type=int, default=value)
    write(parser.parse_args(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
