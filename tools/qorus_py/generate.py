# SPDX-License-Identifier: MIT
"""Small random models for tests: language models of any shape and weight type, and a small MLP graph.

Numbers come from integers (splitmix64 of seed, tensor name and index) and are scaled so that every
activation keeps about the size of its input; the same arguments give the same file on every machine.
"""
import hashlib
import math
import struct
from collections import Counter

import numpy as np

from . import format as fmt
from . import quant, writer
from . import tokenizer as tokenizers

# Ids of the library's layer classes (include/qorus/layer.h) and activations (kernels.h) the graphs here use.
LAYER_LINEAR = 1
ACT_NONE, ACT_RELU, ACT_TANH = 0, 1, 6

_SAMPLE = ("the model reads the words of a text one after the other and says which word may follow. "
           "the answer is the same on every machine, for every number of threads and for every split of the "
           "text. what is written here is read by a machine that has no system below it. ")


def uniform(seed, name, shape):
    """F32 values in [-1, 1), multiples of 2^-23, that depend on seed, name and index alone."""
    n = math.prod(shape)
    key = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "little")
    with np.errstate(over="ignore"):
        z = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    whole = (z >> np.uint64(40)).astype(np.int64) - (1 << 23)
    return (whole.astype(np.float32) * np.float32(2.0 ** -23)).reshape(shape)


def weight(seed, name, shape, gain=1.0):
    """A matrix [out, in] of variance gain^2 / in."""
    return uniform(seed, name, shape) * np.float32(gain * math.sqrt(3.0 / shape[1]))


def _quantised(seed, name, dtype, shape, gain):
    return writer.matrix(name, dtype, shape, lambda: quant.quantize(weight(seed, name, shape, gain), dtype))


def _tensor(seed, name, shape, arch, dtype, embed_dtype):
    part = name.split(".")[-1]
    if len(shape) == 2:
        gain = 1.0
        if part in ("o", "down"):
            gain = 1.0 / math.sqrt(2.0 * arch.n_layers)
        elif part in ("embed", "output"):
            return _quantised(seed, name, embed_dtype, shape, 1.0 if part == "output" else math.sqrt(shape[1]) / 4)
        return _quantised(seed, name, dtype, shape, gain)
    values = uniform(seed, name, shape) * np.float32(0.25)
    if part.endswith("_bias"):
        return writer.vector(name, values)
    return writer.vector(name, values + np.float32(1.0 - arch.norm_offset))


def small_bpe(n_merges=96):
    """Section of a byte-level BPE tokenizer with ChatML whose merges are learned from one short text."""
    shown = tokenizers.byte_to_unicode()
    words = Counter()
    for word in _SAMPLE.replace(" ", "| ").split("|"):
        words[tuple(shown[b] for b in word.encode())] += 1
    tokens, merges = [shown[b] for b in range(256)], []
    while len(merges) < n_merges:
        pairs = Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(" ".join(best))
        tokens.append(best[0] + best[1])
        words = Counter({_merged(word, best): count for word, count in words.items()})
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    first = len(tokens)
    types = [tokenizers.GGUF_NORMAL] * first + [tokenizers.GGUF_CONTROL] * len(specials)
    template = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
                "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
                "{{ '<|im_start|>assistant\n' }}{% endif %}")
    return tokenizers.from_gguf_fields(tokens + specials, merges, types, "smollm",
                                       {"bos": first + 1, "eos": first + 2, "pad": first, "unk": first},
                                       chat_template=template)


def _merged(word, pair):
    out, i = [], 0
    while i < len(word):
        if word[i:i + 2] == pair:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


def vocabulary(section):
    """Number of ids of a tokenizer section."""
    t = tokenizers.read_section(section)
    return tokenizers.BYTE_VOCAB if t.kind == tokenizers.KIND_BYTE else len(t.tokens)


def decoder(path, arch, dtype=quant.Q8_0, embed_dtype=None, tokenizer=b"", seed=0):
    """Writes a language model with random weights."""
    embed_dtype = dtype if embed_dtype is None else embed_dtype
    tensors = [_tensor(seed, name, shape, arch, dtype, embed_dtype) for name, shape in arch.tensors()]
    writer.write_file(path, tensors, arch=arch, tokenizer=tokenizer, meta=f"random decoder, seed {seed}\n")


def graph_model(path, graph, tensors, meta=""):
    """Writes any graph; tensors are writer.Tensor in the order in which the nodes first name them."""
    writer.write_file(path, tensors, graph=graph, meta=meta)


def linear_config(activation=ACT_NONE):
    """Bytes of a q_linear_config."""
    return struct.pack("<II", activation, 0)


def mlp(path, widths=(4, 16, 3), dtype=quant.F32, activation=ACT_RELU, seed=0, trainable=True):
    """Writes an MLP: Linear layers with biases, the activation between them. Input x [batch, widths[0]]."""
    flags = fmt.TRAINABLE if trainable and dtype == quant.F32 else 0
    nodes, tensors, value = [], [], 0
    for i, (k, m) in enumerate(zip(widths, widths[1:])):
        last = i == len(widths) - 2
        name = f"fc{i}"
        matrix = _quantised(seed, name + ".weight", dtype, (m, k), 1.0)
        matrix.flags = flags
        bias = writer.vector(name + ".bias", uniform(seed, name + ".bias", (m,)) * np.float32(0.1), flags)
        tensors += [matrix, bias]
        nodes.append(fmt.GraphNode(LAYER_LINEAR, "linear", name, [value], [matrix.name, bias.name],
                                   linear_config(ACT_NONE if last else activation)))
        value += 1
    inputs = [fmt.GraphInput("x", quant.F32, [(1, fmt.SYM_BATCH), (widths[0], fmt.SYM_ONE)])]
    graph_model(path, fmt.Graph(inputs, nodes, [fmt.GraphOutput("y", value)]), tensors,
                f"random MLP, seed {seed}\n")
