#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes a small .qorus model with random weights: a language model of any shape and weight type, or an MLP."""
import argparse
import sys
from struct import error as struct_error

from qorus_py import packages

packages.enter(__name__)
try:
    from qorus_py import format as fmt
    from qorus_py import generate, gguf_llama
except ImportError as error:
    sys.exit(f"make_test_model: {packages.missing(error)}")

KINDS = {"full": fmt.LAYER_FULL, "window": fmt.LAYER_WINDOW, "no-rope": fmt.LAYER_NO_ROPE}


def decoder_options(commands):
    """Options of `decoder`."""
    p = commands.add_parser("decoder", help="a language model")
    p.add_argument("output", metavar="OUT.qorus")
    p.add_argument("--layers", type=int, default=2)
    p.add_argument("--d-model", type=int, default=64)
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--kv-heads", type=int, default=2)
    p.add_argument("--head-dim", type=int, default=16)
    p.add_argument("--d-ffn", type=int, default=160)
    p.add_argument("--vocab", type=int, help="rows of the embedding; default: those of the tokenizer, or 256")
    p.add_argument("--context", type=int, default=256)
    p.add_argument("--type", default="q8_0", choices=list(gguf_llama.TYPES))
    p.add_argument("--embed-type", choices=list(gguf_llama.TYPES), help="default: that of --type")
    p.add_argument("--tokenizer", default="bpe", metavar="bpe|byte|none|FILE", help="default bpe, a small one")
    p.add_argument("--untied", action="store_true", help="an output matrix of its own")
    p.add_argument("--qkv-bias", action="store_true")
    p.add_argument("--qk-norm", action="store_true")
    p.add_argument("--post-norms", action="store_true")
    p.add_argument("--norm-offset", action="store_true", help="weights of norms are stored less 1")
    p.add_argument("--gelu", action="store_true", help="GELU (tanh) in place of SiLU")
    p.add_argument("--kinds", default="full", help="layer kinds, repeated over the layers: full,window,no-rope")
    p.add_argument("--window", type=int, default=32)
    p.add_argument("--rope-base", type=float, default=10000.0)
    p.add_argument("--rope-dims", type=int, default=0, help="rotated values of a head; default all")
    p.add_argument("--rope-scaling", default="none", choices=["none", "linear", "llama3", "yarn"])
    p.add_argument("--attn-softcap", type=float, default=0.0)
    p.add_argument("--logit-softcap", type=float, default=0.0)
    p.add_argument("--seed", type=int, default=0)


def mlp_options(commands):
    """Options of `mlp`."""
    p = commands.add_parser("mlp", help="a graph of Linear layers")
    p.add_argument("output", metavar="OUT.qorus")
    p.add_argument("--widths", default="4,16,3", help="of input, hidden layers, output")
    p.add_argument("--type", default="f32", choices=list(gguf_llama.TYPES))
    p.add_argument("--seed", type=int, default=0)


def tokenizer_of(name):
    """Section bytes for the value of --tokenizer."""
    if name == "bpe":
        return generate.small_bpe()
    if name == "byte":
        return generate.tokenizers.byte_tokenizer()
    if name == "none":
        return b""
    with open(name, "rb") as source:
        return source.read()


def rope_of(options):
    """Fields of a rope scaling, with the values models use."""
    return {"none": {},
            "linear": {"rope_scaling": fmt.ROPE_LINEAR, "rope_factor": 4.0},
            "llama3": {"rope_scaling": fmt.ROPE_LLAMA3, "rope_factor": 8.0, "rope_low": 1.0, "rope_high": 4.0,
                       "rope_original_context": 64},
            "yarn": {"rope_scaling": fmt.ROPE_YARN, "rope_factor": 4.0, "rope_low": 1.0, "rope_high": 32.0,
                     "rope_original_context": 64, "rope_magnitude": 1.138629436111989}}[options.rope_scaling]


def make_decoder(options):
    """Writes the language model."""
    section = tokenizer_of(options.tokenizer)
    vocab = options.vocab or (generate.vocabulary(section) if section else 256)
    pattern = [KINDS[k] for k in options.kinds.split(",")]
    kinds = bytes(pattern[i % len(pattern)] for i in range(options.layers))
    windowed = fmt.LAYER_WINDOW in kinds
    flags = ((0 if options.untied else fmt.ARCH_TIED) | (fmt.ARCH_QKV_BIAS if options.qkv_bias else 0)
             | (fmt.ARCH_QK_NORM if options.qk_norm else 0) | (fmt.ARCH_POST_NORMS if options.post_norms else 0))
    arch = fmt.Arch(options.layers, options.d_model, options.heads, options.kv_heads, options.head_dim,
                    options.d_ffn, vocab, options.context, flags=flags, kinds=kinds,
                    activation=fmt.ACT_GELU_TANH if options.gelu else fmt.ACT_SILU,
                    window=options.window if windowed else 0, norm_offset=1.0 if options.norm_offset else 0.0,
                    rope_base=options.rope_base, rope_dims=options.rope_dims, attn_softcap=options.attn_softcap,
                    logit_softcap=options.logit_softcap, **rope_of(options))
    embed = gguf_llama.TYPES[options.embed_type or options.type]
    generate.decoder(options.output, arch, gguf_llama.TYPES[options.type], embed, section, options.seed)


def main(arguments=None):
    """Exit code 0: done, 1: it failed, 2: bad usage."""
    parser = argparse.ArgumentParser(prog="make_test_model.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="decoder|mlp")
    decoder_options(commands)
    mlp_options(commands)
    options = parser.parse_args(arguments)
    try:
        if options.command == "decoder":
            make_decoder(options)
        else:
            generate.mlp(options.output, tuple(int(w) for w in options.widths.split(",")),
                         gguf_llama.TYPES[options.type], seed=options.seed)
    except (ValueError, KeyError, OSError, struct_error) as error:
        print(f"make_test_model: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0

if __name__ == "__main__":
    sys.exit(main())
