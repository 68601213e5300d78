# SPDX-License-Identifier: MIT
"""Llama-family GGUF -> architecture record and tensors of a .qorus file.

GGUF stores the rows of q and k so that the two halves of a rotated pair lie side by side: row 2i+h of a head
is row h*(rope_dims/2) + i of the half-split order .qorus uses. They are put back here; no value changes.
"""
import math

import numpy as np

from . import format as fmt
from . import quant, writer
from . import tokenizer as tokenizers

CARRIED = {0: quant.F32, 1: quant.F16, 2: quant.Q4_0, 3: quant.Q4_1, 8: quant.Q8_0, 30: quant.BF16}
TYPES = {"f32": quant.F32, "f16": quant.F16, "bf16": quant.BF16, "q8_0": quant.Q8_0, "q4_0": quant.Q4_0,
         "q4_1": quant.Q4_1}
_LAYER_NAMES = {"attn_norm": "attn_norm.weight", "q": "attn_q.weight", "k": "attn_k.weight", "v": "attn_v.weight",
                "o": "attn_output.weight", "ffn_norm": "ffn_norm.weight", "gate": "ffn_gate.weight",
                "up": "ffn_up.weight", "down": "ffn_down.weight", "q_bias": "attn_q.bias", "k_bias": "attn_k.bias",
                "v_bias": "attn_v.bias"}
_GLOBAL_NAMES = {"embed": "token_embd.weight", "output": "output.weight", "norm": "output_norm.weight"}
_ROPE_FREQS = "rope_freqs.weight"
_UNSUPPORTED_KEYS = ("expert_count", "logit_scale", "embedding_scale", "residual_scale", "attention.scale",
                     "attention.clamp_kqv", "attention.max_alibi_bias", "final_logit_softcapping",
                     "attn_logit_softcapping")
_ABSENT = object()


class Metadata:
    """Typed access to the fields of one architecture."""

    def __init__(self, fields, prefix):
        self.fields, self.prefix = fields, prefix

    def _get(self, key, default, kinds, word):
        value = self.fields.get(self.prefix + key, default)
        if value is _ABSENT:
            raise ValueError(f"metadata {self.prefix + key} is missing")
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise ValueError(f"metadata {self.prefix + key} is not {word}")
        return value

    def integer(self, key, default=_ABSENT):
        """A count; a per-layer array counts as its one value if all are equal."""
        name = self.prefix + key
        value = self.fields.get(name, default)
        if isinstance(value, list):
            if not value or any(v != value[0] for v in value):
                raise ValueError(f"metadata {name} differs between layers, which is not supported")
            value = value[0]
        if value is _ABSENT:
            raise ValueError(f"metadata {name} is missing")
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"metadata {name} is not an integer")
        return value

    def real(self, key, default=_ABSENT):
        """A finite number."""
        value = float(self._get(key, default, (int, float), "a number"))
        if not math.isfinite(value):
            raise ValueError(f"metadata {self.prefix + key} is not finite")
        return value

    def text(self, key, default=_ABSENT):
        """A string."""
        return self._get(key, default, str, "a string")


def _positive(value, cap, name):
    if not 1 <= value <= cap:
        raise ValueError(f"{name} is {value}; .qorus allows 1 to {cap}")
    return value


def check_kind(gguf):
    """Refuses files that are not one whole Llama-family model."""
    arch = gguf.fields.get("general.architecture")
    if arch != "llama":
        raise ValueError(f"architecture {arch!r} is not supported (only 'llama')")
    if gguf.fields.get("general.type", "model") != "model":
        raise ValueError(f"GGUF of type {gguf.fields['general.type']!r} is not a model")
    if gguf.fields.get("split.count", 0) not in (0, 1):
        raise ValueError(f"this is one of {gguf.fields['split.count']} parts of a split GGUF: merge them first")
    for key in _UNSUPPORTED_KEYS:
        if gguf.fields.get("llama." + key, 0) not in (0, 0.0):
            raise ValueError(f"metadata llama.{key} = {gguf.fields['llama.' + key]} is not supported")


def _rope(meta, gguf, head_dim, arch):
    arch["rope_dims"] = meta.integer("rope.dimension_count", head_dim)
    arch["rope_base"] = meta.real("rope.freq_base", 10000.0)
    kind = meta.text("rope.scaling.type", "linear")
    factor = meta.real("rope.scaling.factor", meta.real("rope.scale_linear", 0.0)) or 1.0
    original = meta.integer("rope.scaling.original_context_length", 0)
    if factor < 1.0:
        raise ValueError(f"a rope scaling factor of {factor} is not supported")
    if kind == "linear" and factor != 1.0:
        arch.update(rope_scaling=fmt.ROPE_LINEAR, rope_factor=factor)
    elif kind == "yarn":
        magnitude = meta.real("rope.scaling.attn_factor", 1.0) * (1.0 + 0.1 * math.log(factor))
        arch.update(rope_scaling=fmt.ROPE_YARN, rope_factor=factor, rope_original_context=original,
                    rope_low=meta.real("rope.scaling.yarn_beta_slow", 1.0),
                    rope_high=meta.real("rope.scaling.yarn_beta_fast", 32.0), rope_magnitude=magnitude)
    elif kind not in ("none", "linear"):
        raise ValueError(f"rope scaling {kind!r} is not supported")
    if _ROPE_FREQS in gguf.tensors:
        if arch.get("rope_scaling", fmt.ROPE_NONE) != fmt.ROPE_NONE:
            raise ValueError(f"{_ROPE_FREQS} beside rope scaling {kind!r} is not supported")
        _llama3(gguf, arch)


def llama3_factors(base, dims, factor, low, high, original):
    """What Llama 3 divides each of the dims/2 frequencies by."""
    wave = 2.0 * math.pi * np.power(float(base), np.arange(0, dims, 2) / dims)
    smooth = (original / wave - low) / (high - low)
    middle = 1.0 / ((1.0 - smooth) / factor + smooth)
    return np.where(wave < original / high, 1.0, np.where(wave > original / low, factor, middle))


def _llama3(gguf, arch):
    tensor = gguf.tensors[_ROPE_FREQS]
    if tensor.type != 0 or tensor.shape != (arch["rope_dims"] // 2,):
        raise ValueError(f"{_ROPE_FREQS} has another type or shape than llama3 scaling gives it")
    have = gguf.rows(tensor).view("<f4").reshape(-1).astype(np.float64)
    factor = float(have.max())
    for original in (8192, 4096, 2048, 16384, 32768):
        want = llama3_factors(arch["rope_base"], arch["rope_dims"], factor, 1.0, 4.0, original)
        if factor > 1.0 and np.allclose(have, want, rtol=1e-5, atol=0.0):
            arch.update(rope_scaling=fmt.ROPE_LLAMA3, rope_factor=factor, rope_low=1.0, rope_high=4.0,
                        rope_original_context=original)
            return
    raise ValueError(f"{_ROPE_FREQS} does not match llama3 scaling (low 1, high 4)")


def architecture(gguf):
    """fmt.Arch of a Llama-family GGUF."""
    check_kind(gguf)
    meta = Metadata(gguf.fields, "llama.")
    if "token_embd.weight" not in gguf.tensors:
        raise ValueError("tensor 'token_embd.weight' is missing")
    heads = _positive(meta.integer("attention.head_count"), fmt.CAP_HEADS, "llama.attention.head_count")
    width = _positive(meta.integer("embedding_length"), fmt.CAP_WIDTH, "llama.embedding_length")
    head_dim = meta.integer("attention.key_length", width // heads)
    if meta.integer("attention.value_length", head_dim) != head_dim:
        raise ValueError("llama.attention.value_length differs from key_length, which is not supported")
    context = _positive(meta.integer("context_length"), fmt.CAP_CONTEXT, "llama.context_length")
    window = meta.integer("attention.sliding_window", 0)
    if 0 < window < context:
        raise ValueError(f"llama.attention.sliding_window = {window} is not supported")
    arch = {
        "n_layers": _positive(meta.integer("block_count"), fmt.CAP_LAYERS, "llama.block_count"),
        "d_model": width,
        "n_heads": heads,
        "n_kv_heads": _positive(meta.integer("attention.head_count_kv", heads), heads,
                                "llama.attention.head_count_kv"),
        "head_dim": _positive(head_dim, fmt.CAP_HEAD_DIM, "the width of a head"),
        "d_ffn": _positive(meta.integer("feed_forward_length"), fmt.CAP_WIDTH, "llama.feed_forward_length"),
        "n_vocab": _positive(gguf.tensors["token_embd.weight"].shape[0], fmt.CAP_VOCAB, "the vocabulary"),
        "n_context": context,
        "norm_eps": meta.real("attention.layer_norm_rms_epsilon"),
        "flags": (0 if "output.weight" in gguf.tensors else fmt.ARCH_TIED)
        | (fmt.ARCH_QKV_BIAS if "blk.0.attn_q.bias" in gguf.tensors else 0),
    }
    _rope(meta, gguf, head_dim, arch)
    _check(arch)
    return fmt.Arch(**arch)


def _check(a):
    rules = (
        (a["n_heads"] % a["n_kv_heads"] == 0, "the number of kv heads does not divide the number of heads"),
        (a["head_dim"] % 8 == 0, f"heads of {a['head_dim']} values are not supported (multiples of 8 are)"),
        (a["rope_dims"] % 2 == 0 and 2 <= a["rope_dims"] <= a["head_dim"],
         f"{a['rope_dims']} rotated values in a head of {a['head_dim']}"),
        (a["rope_base"] > 1, f"llama.rope.freq_base is {a['rope_base']}"),
        (0 < a["norm_eps"] <= 1, f"llama.attention.layer_norm_rms_epsilon is {a['norm_eps']}"),
        (a.get("rope_scaling") != fmt.ROPE_YARN or 1 <= a["rope_original_context"] <= fmt.CAP_CONTEXT,
         "yarn scaling without its original context length"),
    )
    for good, fault in rules:
        if not good:
            raise ValueError(fault)


def half_split(n_heads, head_dim, rope_dims):
    """Row numbers: row i of the half-split order is row half_split(..)[i] of the GGUF."""
    rotated = np.arange(rope_dims).reshape(rope_dims // 2, 2).T.reshape(-1)
    head = np.concatenate([rotated, np.arange(rope_dims, head_dim)])
    return (np.arange(n_heads)[:, None] * head_dim + head[None, :]).reshape(-1)


def gguf_name(name):
    """Name of our tensor in a Llama GGUF."""
    if name in _GLOBAL_NAMES:
        return _GLOBAL_NAMES[name]
    _, layer, part = name.split(".")
    return f"blk.{layer}.{_LAYER_NAMES[part]}"


def plain_values(gguf, tensor):
    """F32 [rows][k] of a tensor of any type the gguf package can decode."""
    rows = gguf.rows(tensor)
    if tensor.type in CARRIED:
        return quant.dequantize(rows, CARRIED[tensor.type])
    import gguf as package
    try:
        values = package.dequantize(rows, package.GGMLQuantizationType(tensor.type))
    except NotImplementedError:
        raise ValueError(f"tensor {tensor.name!r}: type {tensor.type_name} cannot be decoded") from None
    return values.reshape(len(rows), -1)


class LlamaTensors:
    """Tensors of the new file. target: a name of TYPES, or None to keep what .qorus has and make the rest
    `other`. notes collects what is not carried over value for value: {(from, to): count}."""

    def __init__(self, gguf, arch, target, other):
        self.gguf, self.arch, self.target, self.other = gguf, arch, target, other
        self.notes = {}
        wanted = dict(arch.tensors())
        known = {gguf_name(n) for n in wanted} | {_ROPE_FREQS}
        extra = sorted(set(gguf.tensors) - known)
        if extra:
            raise ValueError(f"tensor {extra[0]!r} is not part of a Llama model")
        self.tensors = [self._one(name, shape) for name, shape in wanted.items()]

    def _one(self, name, shape):
        tensor = self.gguf.tensors.get(gguf_name(name))
        if tensor is None:
            raise ValueError(f"tensor {gguf_name(name)!r} is missing")
        if tensor.shape != shape:
            raise ValueError(f"tensor {tensor.name!r} has shape {list(tensor.shape)}, expected {list(shape)}")
        part = name.split(".")[-1]
        order = None
        if part in ("q", "k", "q_bias", "k_bias"):
            heads = self.arch.n_heads if part[0] == "q" else self.arch.n_kv_heads
            order = half_split(heads, self.arch.head_dim, self.arch.rope_dims)
        if len(shape) == 1:
            values = plain_values(self.gguf, tensor).reshape(-1)
            return writer.vector(name, values if order is None else values[order])
        dtype = self._dtype(tensor)
        if quant.is_quantised(dtype) and shape[1] % quant.BLOCK:
            raise ValueError(f"tensor {tensor.name!r} has rows of {shape[1]}: no multiple of 32, as "
                             f"{quant.NAMES[dtype]} needs")
        return writer.matrix(name, dtype, shape, lambda: self._rows(tensor, dtype, order))

    def _dtype(self, tensor):
        have = CARRIED.get(tensor.type)
        dtype = TYPES[self.target] if self.target else have if have is not None else TYPES[self.other]
        if dtype != have:
            key = (tensor.type_name, quant.NAMES[dtype])
            self.notes[key] = self.notes.get(key, 0) + 1
        return dtype

    def _rows(self, tensor, dtype, order):
        rows = self.gguf.rows(tensor)
        if CARRIED.get(tensor.type) != dtype:
            values = plain_values(self.gguf, tensor)
            if not np.isfinite(values).all():
                raise ValueError(f"tensor {tensor.name!r} holds NaN or infinity")
            try:
                rows = quant.quantize(values, dtype)
            except ValueError as error:
                raise ValueError(f"tensor {tensor.name!r}: {error}") from None
            if not np.isfinite(quant.dequantize(rows, dtype)).all():
                raise ValueError(f"tensor {tensor.name!r}: a value does not fit {quant.NAMES[dtype]}")
        return rows if order is None else rows[order]


class _Field:
    def __init__(self, value):
        self.value = value

    def contents(self):
        """The value, as gguf.ReaderField gives it."""
        return self.value


class _Fields:
    def __init__(self, fields):
        self.fields = {key: _Field(value) for key, value in fields.items()}


_TOKENIZER_KINDS = {"tokens": (list, str), "merges": (list, str), "token_type": (list, int), "pre": (str, None),
                    "model": (str, None), "add_bos_token": (bool, None), "add_eos_token": (bool, None),
                    "add_space_prefix": (bool, None), "bos_token_id": (int, None), "eos_token_id": (int, None),
                    "padding_token_id": (int, None), "unknown_token_id": (int, None), "eot_token_id": (int, None)}


def _check_tokenizer_fields(fields):
    for key, (kind, element) in _TOKENIZER_KINDS.items():
        name = "tokenizer.ggml." + key
        value = fields.get(name)
        if value is None:
            continue
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"metadata {name} is of the wrong type")
        if element is not None and any(type(v) is not element for v in value):
            raise ValueError(f"metadata {name} has elements of the wrong type")
    if not isinstance(fields.get("tokenizer.chat_template", ""), str):
        raise ValueError("metadata tokenizer.chat_template is not a string")


def tokenizer_section(gguf, arch):
    """Tokenizer section of the model; its ids are the rows of the embedding."""
    _check_tokenizer_fields(gguf.fields)
    tokens = gguf.fields.get("tokenizer.ggml.tokens", [])
    if len(tokens) != arch.n_vocab:
        raise ValueError(f"the tokenizer has {len(tokens)} tokens, the embedding {arch.n_vocab} rows")
    return tokenizers.from_gguf(_Fields(gguf.fields))
