# SPDX-License-Identifier: MIT
"""Weight types in NumPy: sizes, rounding to F16 and BF16, the Q8_0, Q4_0 and Q4_1 quantisers and back to F32.

A matrix in the plain layout is a uint8 array [rows][row bytes]: F32, F16 and BF16 as little-endian arrays,
quantised rows as blocks of 32 columns:

    Q8_0   d f16, 32 x i8                      value d*q
    Q4_0   d f16, 16 bytes of two nibbles      value d*(q - 8)
    Q4_1   d f16, m f16, 16 bytes              value d*q + m

Byte i of a Q4 block holds column i in its low nibble and column 16 + i in its high one. The quantisers follow
the reference semantics of GGUF: every step is one IEEE single-precision operation, without fused
multiply-add, so the result is the same on every machine.
"""
import numpy as np

F32, Q8_0, Q4_0, Q4_1, F16, BF16, I32, F64, A8 = range(9)
NAMES = {F32: "f32", Q8_0: "q8_0", Q4_0: "q4_0", Q4_1: "q4_1", F16: "f16", BF16: "bf16"}
BLOCK = 32
BLOCK_BYTES = {F32: 4, Q8_0: 34, Q4_0: 18, Q4_1: 20, F16: 2, BF16: 2}


def is_quantised(dtype):
    """True for the types that store blocks of 32 columns."""
    return dtype in (Q8_0, Q4_0, Q4_1)


def row_bytes(dtype, k):
    """Bytes of one plain row of k columns."""
    if is_quantised(dtype):
        if k % BLOCK:
            raise ValueError(f"{k} columns are not a multiple of {BLOCK} ({NAMES[dtype]})")
        k //= BLOCK
    return k * BLOCK_BYTES[dtype]


def _real(x):
    x = np.ascontiguousarray(x, dtype=np.float32)
    if x.ndim != 2:
        raise ValueError(f"a matrix is needed, got shape {x.shape}")
    return x


def _blocks(x, what):
    b = _real(x).reshape(len(x), -1, BLOCK)
    if not np.isfinite(b).all():
        raise ValueError(f"{what}: NaN or infinity among the weights")
    return b


def _check_scales(scales, what):
    if not np.isfinite(scales).all():
        raise ValueError(f"{what}: a scale does not fit F16")


def _bytes(x):
    return np.ascontiguousarray(x).view(np.uint8).reshape(x.shape[0], -1)


def to_f16_bits(x):
    """F32 -> F16 bits, nearest, ties to even; overflow gives infinity; NaN stays NaN."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return np.asarray(x, dtype=np.float32).astype(np.float16).view(np.uint16)


def to_bf16_bits(x):
    """F32 -> BF16 bits, nearest, ties to even; NaN becomes quiet."""
    bits = np.asarray(x, dtype=np.float32).view(np.uint32)
    rounded = (bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16
    nan = (bits & 0x7FFFFFFF) > 0x7F800000
    return np.where(nan, (bits >> 16) | 0x40, rounded).astype(np.uint16)


def from_bf16_bits(bits):
    """BF16 bits -> F32, exact."""
    return (np.asarray(bits, dtype=np.uint16).astype(np.uint32) << 16).view(np.float32)


def _inverse(d):
    """1/d, or 0 where d is 0 or so small that 1/d is not finite."""
    out = np.zeros_like(d)
    with np.errstate(over="ignore"):
        np.divide(np.float32(1), d, out=out, where=d != 0)
    return np.where(np.isfinite(out), out, np.float32(0))


def _round_half_away(x):
    magnitude = np.floor(np.abs(x))
    magnitude += (np.abs(x) - magnitude >= np.float32(0.5)).astype(np.float32)
    return np.copysign(magnitude, x)


def _pack_nibbles(q):
    q = q.astype(np.uint8).reshape(q.shape[0], q.shape[1], 2, 16)
    return q[:, :, 0] | (q[:, :, 1] << 4)


def _join(rows, *parts):
    return np.concatenate([p.reshape(rows, -1, p.shape[-1]) for p in parts], axis=2).reshape(rows, -1)


def _half_bytes(d):
    return to_f16_bits(d).reshape(*d.shape[:2], 1).view(np.uint8)


def quantize_q8_0(x):
    """Per block d = amax/127, q = x * (1/d) rounded, halves away from zero."""
    b = _blocks(x, "Q8_0")
    d = np.abs(b).max(axis=2, keepdims=True) / np.float32(127)
    q = _round_half_away(b * _inverse(d)).astype(np.int8)
    _check_scales(to_f16_bits(d).view(np.float16), "Q8_0")
    return _join(len(x), _half_bytes(d), q.view(np.uint8))


def quantize_q4_0(x):
    """Per block max = the first value of largest magnitude, d = max / -8, q = min(15, trunc(x * (1/d) + 8.5))."""
    b = _blocks(x, "Q4_0")
    at = np.abs(b).argmax(axis=2, keepdims=True)
    d = np.take_along_axis(b, at, axis=2) / np.float32(-8)
    q = np.minimum(15, np.trunc(b * _inverse(d) + np.float32(8.5)).astype(np.int8))
    _check_scales(to_f16_bits(d).view(np.float16), "Q4_0")
    return _join(len(x), _half_bytes(d), _pack_nibbles(q))


def quantize_q4_1(x):
    """Per block m = min, d = (max - min)/15, q = min(15, trunc((x - m) * (1/d) + 0.5)); no -0 in m and d."""
    b = _blocks(x, "Q4_1")
    m = b.min(axis=2, keepdims=True) + np.float32(0)
    d = (b.max(axis=2, keepdims=True) + np.float32(0) - m) / np.float32(15)
    q = np.minimum(15, np.trunc((b - m) * _inverse(d) + np.float32(0.5)).astype(np.int8))
    _check_scales(np.stack([to_f16_bits(d), to_f16_bits(m)]).view(np.float16), "Q4_1")
    return _join(len(x), _half_bytes(d), _half_bytes(m), _pack_nibbles(q))


def quantize(x, dtype):
    """F32 matrix [rows][k] -> plain rows of dtype, uint8 [rows][row bytes]."""
    x = _real(x)
    row_bytes(dtype, x.shape[1])
    if dtype == F32:
        return _bytes(x)
    if dtype == F16:
        return _bytes(to_f16_bits(x))
    if dtype == BF16:
        return _bytes(to_bf16_bits(x))
    return {Q8_0: quantize_q8_0, Q4_0: quantize_q4_0, Q4_1: quantize_q4_1}[dtype](x)


def fields(raw, dtype):
    """Quantised plain rows -> d [rows][k/32], m [rows][k/32] or None (both F32, exact), q [rows][k] as stored
    (Q8_0 -127..127, Q4 0..15), int8."""
    raw = np.ascontiguousarray(raw, dtype=np.uint8)
    rows = raw.shape[0]
    b = raw.reshape(rows, -1, BLOCK_BYTES[dtype])
    halves = np.ascontiguousarray(b[:, :, :4 if dtype == Q4_1 else 2]).view(np.float16).astype(np.float32)
    q = b[:, :, 4 if dtype == Q4_1 else 2:]
    if dtype == Q8_0:
        q = np.ascontiguousarray(q).view(np.int8)
    else:
        q = np.concatenate([q & 15, q >> 4], axis=2).astype(np.int8)
    return halves[:, :, 0], halves[:, :, 1] if dtype == Q4_1 else None, q.reshape(rows, -1)


def dequantize(raw, dtype):
    """Plain rows -> F32 [rows][k]. Exact except Q4_1, where d*q is exact and + m is rounded once."""
    raw = np.ascontiguousarray(raw, dtype=np.uint8)
    if dtype == F32:
        return raw.view(np.float32)
    if dtype == F16:
        return raw.view(np.float16).astype(np.float32)
    if dtype == BF16:
        return from_bf16_bits(raw.view(np.uint16))
    d, m, q = fields(raw, dtype)
    q = q.reshape(*d.shape, BLOCK).astype(np.float32)
    if dtype == Q4_0:
        q = q - np.float32(8)
    value = d[:, :, None] * q
    if m is not None:
        value = value + m[:, :, None]
    return value.reshape(len(raw), -1)
