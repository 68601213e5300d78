# SPDX-License-Identifier: MIT
"""The KV cache in its element types (qorus/base/kv.h), and the vectors of kv_store_*."""
import numpy as np
from qorus_py import quant

from bits import Bits
from kernel_gemm import count_of
from qvec import ROWS, T0, TOKENS, Case

GROUP = 16
UNTOUCHED = 0xA5  # what the runner fills outputs with
KINDS = ("f32", "f16", "q8_0")


def quantise(x):
    """Blocks of 32 along the last axis -> (f16 bits [..., blocks], i8 [...]): GGUF's Q8_0, every step one IEEE
    single-precision operation. A NaN counts as 0; a scale beyond F16 is infinity."""
    b = x.astype(np.float32).reshape(*x.shape[:-1], x.shape[-1] // quant.BLOCK, quant.BLOCK)
    with np.errstate(all="ignore"):
        d = np.fmax(np.abs(b), 0).max(axis=-1) / np.float32(127)
        inverse = np.where(d > 0, np.float32(1) / d, np.float32(0))
        inverse = np.where(np.isfinite(inverse), inverse, np.float32(0))
        scaled = b * inverse[..., None]
        q = np.trunc(np.abs(scaled))
        q = np.copysign(q + (np.abs(scaled) - q >= np.float32(0.5)), scaled)
        q = np.where(np.isnan(scaled), 0, q).astype(np.int8)
    return quant.to_f16_bits(d), q.reshape(x.shape)


def read_back(x, kind):
    """What f32 values stored in a cache are when read, float64."""
    if kind == "q8_0":
        scales, q = quantise(x)
        return np.repeat(scales.view(np.float16).astype(np.float64), quant.BLOCK, axis=-1) * q
    return (quant.to_f16_bits(x).view(np.float16) if kind == "f16" else x).astype(np.float64)


class Cache:
    """K (keys) or V of all sequences; positions nothing was put at hold NaN, or with `untouched` that byte."""

    def __init__(self, kind, keys, sequences, kv_heads, head_dim, capacity, untouched=None):
        self.kind, self.keys, self.head_dim = kind, keys, head_dim
        dtype = {"f32": np.float32, "f16": np.uint16, "q8_0": np.uint8}[kind]
        if kind == "q8_0":
            shape = (sequences, kv_heads, capacity // GROUP, 17 * head_dim)
        elif keys:
            shape = (sequences, kv_heads, capacity // GROUP, head_dim, GROUP)
        else:
            shape = (sequences, kv_heads, capacity // GROUP, GROUP, head_dim)
        self.array = np.empty(shape, dtype=dtype)
        if untouched is not None:
            self.array.view(np.uint8)[...] = untouched
        elif kind == "q8_0":
            self._scales()[...] = 0x7E00
            self._quants()[...] = 0x81
        else:
            self.array[...] = np.float32(np.nan) if kind == "f32" else 0x7E00

    def _scales(self):
        """f16 bits [sequence][head][group][block][position]."""
        n = self.head_dim // quant.BLOCK
        scales = self.array[..., :self.head_dim].view(np.uint16)
        return scales.reshape(*self.array.shape[:3], n, GROUP)

    def _quants(self):
        """[sequence][head][group][dimension][position] of K, [position][dimension] of V."""
        inner = (self.head_dim, GROUP) if self.keys else (GROUP, self.head_dim)
        return self.array[..., self.head_dim:].reshape(*self.array.shape[:3], *inner)

    def _set(self, target, sequence, p, values, lanes_last):
        """Rows values [head][n] of one position: n along the axis beside the positions of the group."""
        group, i = divmod(p, GROUP)
        if lanes_last:
            target[sequence, :, group, :, i] = values
        else:
            target[sequence, :, group, i, :] = values

    def put(self, sequence, position, x):
        """Tokens x, f32 [n][kv_heads][head_dim], at position, position + 1, ..."""
        if self.kind == "q8_0":
            scales, q = quantise(x)
            where_scales, where = self._views()
            for i in range(len(x)):
                self._set(where_scales, sequence, position + i, scales[i], True)
                self._set(where, sequence, position + i, q[i].view(np.uint8), self.keys)
            return
        for i, token in enumerate(quant.to_f16_bits(x) if self.kind == "f16" else x):
            self._set(self.array, sequence, position + i, token, self.keys)

    def _views(self):
        scales, quants = self._scales(), self._quants()
        assert np.shares_memory(scales, self.array) and np.shares_memory(quants, self.array)
        return scales, quants

    def rows(self, n):
        """The cache as n rows."""
        return self.array.reshape(n, -1)


def store_case(name, kind, rows, kv_heads, head_dim, capacity, position, gap=0, k=None, sym=TOKENS):
    bits = Bits(f"kv_store/{name}")
    k = bits.real((rows, kv_heads * head_dim), 4.0) if k is None else k
    v = bits.real((rows, kv_heads * head_dim), 4.0)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, kv_heads, head_dim, capacity], position=position, **run)
    case.input("k", k, gap=gap, shift=4 if gap else 0).input("v", v, gap=gap)
    for role, x in (("k_cache", k), ("v_cache", v)):
        cache = Cache(kind, role == "k_cache", 1, kv_heads, head_dim, capacity, UNTOUCHED)
        cache.put(0, position, x.reshape(rows, kv_heads, head_dim))
        case.output(role, cache.rows(1), T0)
    return case


def store_spans_case(name, kind, kv_heads, head_dim, capacity, spans, sequences, gap=0):
    """Rows of several sequences; `gap` bytes lie between the caches of two."""
    bits = Bits(f"kv_store/{name}")
    rows = sum(n for _, _, n in spans)
    k = bits.real((rows, kv_heads * head_dim), 4.0)
    v = bits.real((rows, kv_heads * head_dim), 4.0)
    case = Case(name, [1, TOKENS, kv_heads, head_dim, capacity], n_tokens=rows).spans(spans)
    case.input("k", k).input("v", v)
    for role, x in (("k_cache", k), ("v_cache", v)):
        cache = Cache(kind, role == "k_cache", sequences, kv_heads, head_dim, capacity, UNTOUCHED)
        row = 0
        for sequence, position, n in spans:
            cache.put(sequence, position, x[row:row + n].reshape(n, kv_heads, head_dim))
            row += n
        case.output(role, cache.rows(sequences), T0, gap=gap)
    return case


def f16_edges(n):
    """Values at the edges of F16: overflow and its tie, ties to even, subnormals, infinities, NaN."""
    edges = [65504.0, 65519.99, 65520.0, -65520.0, 1e10, 2049.0, 2051.0, 2050.9998, 6.1035156e-05, 6.0975552e-05,
             5.9604645e-08, 2.9802322e-08, 2.9802326e-08, 8.940697e-08, -1e-10, -0.0, np.inf, -np.inf, np.nan, 1e-40]
    return np.array(edges[:n], dtype=np.float32)


def store_cases(kind):
    cases = [store_case(f"head_dim {d}", kind, 2, 2, d, 64, 3) for d in (1, 3, 4, 7, 8, 9, 15, 16, 17, 32)]
    cases += [store_case(f"position {p}", kind, 1, 1, 6, 64, p) for p in (0, 1, 15, 16, 17, 62, 63)]
    cases += [store_case(f"rows {r}", kind, r, 2, 5, 64, 14) for r in (1, 3, 15, 17, 33, 50)]
    cases += [store_case(f"kv_heads {h}", kind, 3, h, 4, 64, 30) for h in (1, 3, 5)]
    cases.append(store_case("second block", kind, 20, 2, 4, 128, 55))
    cases.append(store_case("whole cache", kind, 64, 1, 3, 64, 0))
    cases.append(store_case("strided", kind, 4, 3, 5, 64, 8, gap=12))
    cases.append(store_case("edges of half", kind, 2, 2, 5, 64, 0, k=f16_edges(20).reshape(2, 10)))
    cases.append(store_case("no rows", kind, 0, 2, 4, 64, 0))
    cases.append(store_case("large", kind, 70, 2, 8, 192, 100))
    cases.append(store_spans_case("spans", kind, 2, 5, 64, [(2, 14, 5), (0, 0, 3), (3, 61, 3)], 4))
    cases.append(store_spans_case("spans of one row", kind, 3, 4, 64, [(s, 7 * s + 1, 1) for s in range(8)], 8))
    cases.append(store_spans_case("spans with a gap", kind, 1, 3, 64, [(1, 30, 19), (0, 63, 1)], 2, gap=192))
    cases.append(store_spans_case("one span of another sequence", kind, 2, 6, 64, [(1, 15, 2)], 3))
    return cases


def q8_0_edges():
    """One block of 32 per row: where the quantiser turns."""
    x = Bits("kv_store/q8_0 edges").real((16, 32), 2.0)
    steps = np.arange(32, dtype=np.float32)
    x[0] = 0                                    # no amax
    x[1] = np.where(steps < 31, steps + 0.5, 127)        # halves: away from zero
    x[2] = -np.where(steps < 31, steps + 64.5, 127)
    x[3, 7] = np.nan                            # counts as 0
    x[4] = np.nan
    x[5, 9], x[5, 10] = np.inf, np.nan          # scale infinity, all quants 0
    x[6, 3] = 9e6                               # scale beyond F16, quants as computed
    x[7] *= np.float32(127 * 65504 / 2)         # scale among the largest of F16
    x[8] *= np.float32(127 * 65519 / 2)
    x[8, 0] = np.float32(127 * 65520)           # rounds to infinity in F16
    x[9] *= np.float32(1e-5)                    # scale subnormal in F16
    x[10] *= np.float32(3e-7)                   # scale near the smallest of F16
    x[11] *= np.float32(1e-9)                   # scale 0 in F16, quants not
    x[12] = steps * np.float32(2.0 ** -142)     # d subnormal: 1/d infinite counts as 0
    x[13] *= np.float32(2.0 ** -121)            # 1/d near its largest
    x[14, 31] = 300                             # one outlier
    x[15, :16] = -0.0
    return x


def store_q8_0_cases():
    def make(name, *args, **named):
        return store_case(name, "q8_0", *args, **named)

    def spans(name, *args, **named):
        return store_spans_case(name, "q8_0", *args, **named)

    cases = [make(f"head_dim {d}", 2, 2, d, 64, 3) for d in (32, 64, 96, 128, 160)]
    cases += [make(f"position {p}", 1, 1, 32, 64, p) for p in (0, 1, 7, 8, 15, 16, 17, 62, 63)]
    cases += [make(f"rows {r}", r, 2, 32, 64, 14) for r in (1, 3, 15, 17, 33, 50)]
    cases += [make(f"kv_heads {h}", 3, h, 32, 64, 30) for h in (1, 3, 5)]
    cases.append(make("edges", 4, 2, 64, 64, 14, k=q8_0_edges().reshape(4, 128)))
    cases.append(make("wide exponents", 6, 1, 64, 64, 1, k=Bits("q8_0 wide").wide((6, 64), -12, 12)))
    cases.append(make("second block", 20, 2, 32, 128, 55))
    cases.append(make("whole cache", 64, 1, 32, 64, 0))
    cases.append(make("strided", 4, 3, 32, 64, 8, gap=12))
    cases.append(make("rows of the batch", 4, 1, 64, 64, 20, sym=ROWS))
    cases.append(make("no rows", 0, 2, 32, 64, 0))
    cases.append(make("large", 70, 2, 64, 192, 100))
    cases.append(spans("spans", 2, 32, 64, [(2, 14, 5), (0, 0, 3), (3, 61, 3)], 4))
    cases.append(spans("spans of one row", 3, 32, 64, [(s, 7 * s + 1, 1) for s in range(8)], 8))
    cases.append(spans("spans with a gap", 1, 64, 64, [(1, 30, 19), (0, 63, 1)], 2, gap=192))
    cases.append(spans("one span of another sequence", 2, 32, 64, [(1, 15, 2)], 3))
    return cases


KERNELS = {"kv_store_f32": lambda: store_cases("f32"), "kv_store_f16": lambda: store_cases("f16"),
           "kv_store_q8_0": store_q8_0_cases}
