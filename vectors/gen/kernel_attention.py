# SPDX-License-Identifier: MIT
"""Vectors of rope_table, rope, kv_store_* and attention_*."""
import math
from decimal import Decimal, localcontext

import numpy as np
from qorus_py import quant

import exact
from bits import Bits
from kernel_gemm import count_of
from qvec import BATCH, ONE, ROWS, SELECTED, T0, TOKENS, Case, t1, t2


# ---- RoPE ------------------------------------------------------------------------------------------------

def inverse_frequencies(n_pairs, base=10000.0):
    """base^(-i/n_pairs), float64."""
    with localcontext() as context:
        context.prec = 40
        log = Decimal(base).ln()
        return np.array([float((-log * i / n_pairs).exp()) for i in range(n_pairs)], dtype=np.float64)


def positions_of(spans):
    """Position of every row of the step."""
    return np.concatenate([p + np.arange(n, dtype=np.float64) for _, p, n in spans])


def table_of(positions, inv_freq, magnitude):
    t = positions[:, None] * inv_freq[None, :]
    return exact.f32(np.concatenate([exact.apply("cos", t), exact.apply("sin", t)], axis=1) * magnitude)


def table_case(name, rows, n_pairs, position, base=10000.0, magnitude=1.0, sym=TOKENS, gap=0):
    inv_freq = inverse_frequencies(n_pairs, base)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, n_pairs, magnitude], position=position, **run).input("inv_freq", inv_freq)
    expected = table_of(positions_of([(0, position, rows)]), inv_freq, magnitude)
    return case.output("y", expected, t1(1), gap=gap, shift=4 if gap else 0)


def table_spans_case(name, n_pairs, spans):
    inv_freq = inverse_frequencies(n_pairs)
    positions = positions_of(spans)
    case = Case(name, [1, TOKENS, n_pairs, 1.0], n_tokens=len(positions)).spans(spans).input("inv_freq", inv_freq)
    return case.output("y", table_of(positions, inv_freq, 1.0), t1(1))


def table_cases():
    cases = [table_case(f"pairs {p}", 3, p, 5) for p in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33)]
    cases += [table_case(f"position {p}", 4, 32, p) for p in (0, 1, 100, 2047, 8191, 131071, 1048575)]
    cases += [table_case(f"base {b}", 2, 32, 4095, base=b) for b in (500000.0, 1000000.0, 10.0)]
    cases.append(table_case("magnitude 1.189", 3, 16, 77, magnitude=1.189207115002721))
    cases.append(table_case("magnitude 0.1", 3, 16, 77, magnitude=0.1))
    cases.append(table_case("strided", 5, 9, 3, gap=20))
    cases.append(table_case("constant rows", 6, 8, 11, sym=ONE))
    cases.append(table_case("no rows", 0, 8, 0))
    cases.append(table_case("large", 48, 32, 2000))
    cases.append(table_spans_case("spans", 9, [(2, 40, 3), (0, 0, 2), (5, 8191, 1), (1, 7, 4)]))
    cases.append(table_spans_case("spans of one row", 4, [(s, 100 * s + 3, 1) for s in range(9)]))
    cases.append(table_spans_case("one span of another sequence", 5, [(3, 12, 4)]))
    return cases


def rope_case(name, rows, heads, head_dim, n_pairs, position, sym=TOKENS, gap=0, in_place=False, x=None):
    x = Bits(f"rope/{name}").real((rows, heads * head_dim), 2.0) if x is None else x
    table = table_of(positions_of([(0, position, rows)]), inverse_frequencies(n_pairs), 1.0)
    cos, sin = (table.astype(np.float64)[:, None, i * n_pairs:(i + 1) * n_pairs] for i in (0, 1))
    h = x.reshape(rows, heads, head_dim).astype(np.float64)
    a, b, rest = h[:, :, :n_pairs], h[:, :, n_pairs:2 * n_pairs], h[:, :, 2 * n_pairs:]
    with np.errstate(invalid="ignore"):
        out = np.concatenate([a * cos - b * sin, b * cos + a * sin, rest], axis=2)
        s = np.concatenate([np.abs(a * cos) + np.abs(b * sin), np.abs(b * cos) + np.abs(a * sin), rest * 0], axis=2)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, heads, head_dim, n_pairs], position=position, **run)
    case.input("table", table, gap=gap)
    if not in_place:
        case.input("x", x, gap=gap, shift=4 if gap else 0)
    return case.output("y", exact.f32(out).reshape(x.shape), t2(2, s.reshape(x.shape)), init=x if in_place else None,
                       gap=gap, shift=4 if gap else 0)


def rope_cases():
    cases = [rope_case(f"head_dim {d}", 2, 3, d, d // 2, 9) for d in (2, 4, 6, 8, 10, 14, 16, 18, 30, 32, 34, 64)]
    cases += [rope_case(f"partial {p} of {d}", 2, 2, d, p, 21) for p, d in ((1, 3), (4, 16), (5, 17), (8, 40))]
    cases += [rope_case(f"position {p}", 3, 2, 32, 16, p) for p in (0, 1, 2047, 131071)]
    cases += [rope_case(f"heads {h}", 2, h, 8, 4, 3) for h in (1, 5, 9)]
    cases.append(rope_case("in place", 3, 3, 20, 8, 4, in_place=True))
    cases.append(rope_case("strided", 4, 3, 14, 7, 4, gap=12))
    cases.append(rope_case("in place strided", 4, 3, 14, 6, 4, gap=12, in_place=True))
    special = Bits("rope special").real((3, 16))
    special[0, 3], special[1, 15], special[2, 2] = np.inf, np.nan, -0.0
    cases.append(rope_case("specials", 3, 1, 16, 6, 2, x=special))
    cases.append(rope_case("no rows", 0, 2, 8, 4, 0))
    cases.append(rope_case("large", 9, 5, 64, 32, 700))
    return cases


# ---- KV cache --------------------------------------------------------------------------------------------

def cache_index(capacity, head_dim):
    """Element of position p, dimension d in one head's K cache [capacity/16][head_dim][16]."""
    p, d = np.meshgrid(np.arange(capacity), np.arange(head_dim), indexing="ij")
    return (p // 16 * head_dim + d) * 16 + p % 16


def caches(k, v, capacity, fill):
    """Keys and values [kv_heads][n][head_dim] of positions 0 .. n - 1 -> both caches, the rest being fill."""
    kv_heads, n, head_dim = k.shape
    keys = np.full((kv_heads, capacity * head_dim), fill, dtype=k.dtype)
    values = np.full((kv_heads, capacity, head_dim), fill, dtype=v.dtype)
    keys[:, cache_index(capacity, head_dim)[:n].reshape(-1)] = k.reshape(kv_heads, -1)
    values[:, :n] = v
    return keys, values.reshape(kv_heads, -1)


def stored(values, spans, sequences, kv_heads, head_dim, capacity, at, fill):
    """One cache of every sequence [sequences][kv_heads*capacity*head_dim] with the rows of the step at their
    positions p, elements at[p], and fill elsewhere."""
    cache = np.full((sequences, kv_heads, capacity * head_dim), fill)
    row = 0
    for sequence, position, n in spans:
        heads = values[row:row + n].reshape(n, kv_heads, head_dim)
        cache[sequence][:, at[position:position + n]] = heads.transpose(1, 0, 2)
        row += n
    return cache.reshape(sequences, -1)


def store_spans_case(name, half, kv_heads, head_dim, capacity, spans, sequences, gap=0):
    """Rows of several sequences; `gap` bytes lie between the caches of two."""
    bits = Bits(f"kv_store/{name}")
    rows = sum(n for _, _, n in spans)
    k = bits.real((rows, kv_heads * head_dim), 4.0)
    v = bits.real((rows, kv_heads * head_dim), 4.0)
    fill = np.frombuffer(b"\xa5" * 4, dtype=np.uint16 if half else np.float32)[0]
    convert = quant.to_f16_bits if half else np.asarray
    shape = (spans, sequences, kv_heads, head_dim, capacity)
    plain = np.arange(capacity * head_dim).reshape(capacity, head_dim)
    case = Case(name, [1, TOKENS, kv_heads, head_dim, capacity], n_tokens=rows).spans(spans)
    case.input("k", k).input("v", v)
    case.output("k_cache", stored(convert(k), *shape, cache_index(capacity, head_dim), fill), T0, gap=gap)
    return case.output("v_cache", stored(convert(v), *shape, plain, fill), T0, gap=gap)


def store_case(name, half, rows, kv_heads, head_dim, capacity, position, gap=0, k=None, sym=TOKENS):
    bits = Bits(f"kv_store/{name}")
    k = bits.real((rows, kv_heads * head_dim), 4.0) if k is None else k
    v = bits.real((rows, kv_heads * head_dim), 4.0)
    fill = np.frombuffer(b"\xa5" * 4, dtype=np.uint16 if half else np.float32)[0]
    convert = quant.to_f16_bits if half else np.asarray
    keys = np.full((kv_heads, capacity * head_dim), fill)
    values = np.full((kv_heads, capacity, head_dim), fill)
    at = cache_index(capacity, head_dim)[position:position + rows]
    keys[:, at] = convert(k).reshape(rows, kv_heads, head_dim).transpose(1, 0, 2)
    values[:, position:position + rows] = convert(v).reshape(rows, kv_heads, head_dim).transpose(1, 0, 2)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, kv_heads, head_dim, capacity], position=position, **run)
    case.input("k", k, gap=gap, shift=4 if gap else 0).input("v", v, gap=gap)
    return case.output("k_cache", keys.reshape(-1), T0).output("v_cache", values.reshape(-1), T0)


def f16_edges(n):
    """Values at the edges of F16: overflow and its tie, ties to even, subnormals, infinities, NaN."""
    edges = [65504.0, 65519.99, 65520.0, -65520.0, 1e10, 2049.0, 2051.0, 2050.9998, 6.1035156e-05, 6.0975552e-05,
             5.9604645e-08, 2.9802322e-08, 2.9802326e-08, 8.940697e-08, -1e-10, -0.0, np.inf, -np.inf, np.nan, 1e-40]
    return np.array(edges[:n], dtype=np.float32)


def store_cases(half):
    cases = [store_case(f"head_dim {d}", half, 2, 2, d, 64, 3) for d in (1, 3, 4, 7, 8, 9, 15, 16, 17, 32)]
    cases += [store_case(f"position {p}", half, 1, 1, 6, 64, p) for p in (0, 1, 15, 16, 17, 62, 63)]
    cases += [store_case(f"rows {r}", half, r, 2, 5, 64, 14) for r in (1, 3, 15, 17, 33, 50)]
    cases += [store_case(f"kv_heads {h}", half, 3, h, 4, 64, 30) for h in (1, 3, 5)]
    cases.append(store_case("second block", half, 20, 2, 4, 128, 55))
    cases.append(store_case("whole cache", half, 64, 1, 3, 64, 0))
    cases.append(store_case("strided", half, 4, 3, 5, 64, 8, gap=12))
    cases.append(store_case("edges of half", half, 2, 2, 5, 64, 0, k=f16_edges(20).reshape(2, 10)))
    cases.append(store_case("no rows", half, 0, 2, 4, 64, 0))
    cases.append(store_case("large", half, 70, 2, 8, 192, 100))
    cases.append(store_spans_case("spans", half, 2, 5, 64, [(2, 14, 5), (0, 0, 3), (3, 61, 3)], 4))
    cases.append(store_spans_case("spans of one row", half, 3, 4, 64, [(s, 7 * s + 1, 1) for s in range(8)], 8))
    cases.append(store_spans_case("spans with a gap", half, 1, 3, 64, [(1, 30, 19), (0, 63, 1)], 2, gap=192))
    cases.append(store_spans_case("one span of another sequence", half, 2, 6, 64, [(1, 15, 2)], 3))
    return cases


# ---- Attention -------------------------------------------------------------------------------------------

def attend(q, k, v, scale, softcap):
    """One query against the keys it sees, in float64: (out [head_dim], magnitude [head_dim])."""
    head_dim = len(q)
    products = k * q[None, :]
    s = exact.row_sums(products) * scale
    doubt = math.sqrt(head_dim) * exact.row_sums(np.abs(products)) * abs(scale) + np.abs(s)
    if softcap > 0:
        s = softcap * exact.apply("tanh", s / softcap)
        doubt = doubt + 3 * np.abs(s)
    t = s - s.max()
    doubt = doubt + np.abs(t) + 2
    p = exact.apply("exp", t)
    w = p / exact.fsum(p.tolist())
    out = exact.row_sums((v * w[:, None]).T)
    spread = exact.row_sums(((np.abs(v) + np.abs(out)[None, :]) * (w * doubt)[:, None]).T)
    return out, spread + math.sqrt(len(w)) * exact.row_sums((np.abs(v) * w[:, None]).T)


def attend_rows(q, k, v, spans, window, scale, softcap):
    """Rows q [rows][heads][head_dim] of the spans, keys and values [kv_heads][keys][head_dim] per span."""
    out, magnitude = np.zeros(q.shape), np.zeros(q.shape)
    group = q.shape[1] // k[0].shape[0]
    row = 0
    for (_, position, n), keys, values in zip(spans, k, v):
        for end in range(position + 1, position + n + 1):
            begin = max(0, end - window) if window else 0
            for h in range(q.shape[1]):
                out[row, h], magnitude[row, h] = attend(q[row, h].astype(np.float64),
                                                        keys[h // group, begin:end].astype(np.float64),
                                                        values[h // group, begin:end].astype(np.float64),
                                                        float(scale), float(softcap))
            row += 1
    return out, magnitude


def attention_spans_case(name, half, heads, kv_heads, head_dim, capacity, spans, sequences, window=0, softcap=0.0,
                         sharp=1.0, gap=0):
    """Rows of several sequences; sequences without a span hold NaN; `gap` bytes lie between two caches."""
    bits = Bits(f"attention/{name}")
    rows = sum(n for _, _, n in spans)
    q = bits.real((rows, heads * head_dim), 2.0 * sharp)
    dtype = np.float16 if half else np.float32
    keys, values = (np.full((sequences, kv_heads * capacity * head_dim), np.nan, dtype=dtype) for _ in range(2))
    ks, vs = [], []
    for sequence, position, n in spans:
        k = bits.real((kv_heads, position + n, head_dim), 2.0)
        v = bits.real((kv_heads, position + n, head_dim), 1.0)
        if half:
            k, v = quant.to_f16_bits(k).view(np.float16), quant.to_f16_bits(v).view(np.float16)
        ks.append(k)
        vs.append(v)
        keys[sequence], values[sequence] = (c.reshape(-1) for c in caches(k, v, capacity, np.nan))
    scale, softcap = np.float32(1.0 / math.sqrt(head_dim)), np.float32(softcap)
    out, magnitude = attend_rows(q.reshape(rows, heads, head_dim), ks, vs, spans, window, scale, softcap)
    case = Case(name, [1, TOKENS, heads, kv_heads, head_dim, capacity, window, scale, softcap], n_tokens=rows)
    case.spans(spans).input("q", q).input("k_cache", keys, gap=gap).input("v_cache", values, gap=gap)
    return case.output("y", exact.f32(out).reshape(q.shape), t2(1, magnitude.reshape(q.shape)))


def attention_case(name, half, rows, heads, kv_heads, head_dim, capacity, position, window=0, scale=None, softcap=0.0,
                   sharp=1.0, gap=0, sym=TOKENS):
    bits = Bits(f"attention/{name}")
    n_keys = position + rows
    q = bits.real((rows, heads * head_dim), 2.0 * sharp)
    k = bits.real((kv_heads, n_keys, head_dim), 2.0)
    v = bits.real((kv_heads, n_keys, head_dim), 1.0)
    if half:
        k, v = quant.to_f16_bits(k).view(np.float16), quant.to_f16_bits(v).view(np.float16)
    keys, values = caches(k, v, capacity, np.nan)
    scale = np.float32(1.0 / math.sqrt(head_dim) if scale is None else scale)
    softcap = np.float32(softcap)
    out, magnitude = attend_rows(q.reshape(rows, heads, head_dim), [k], [v], [(0, position, rows)], window, scale,
                                 softcap)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, heads, kv_heads, head_dim, capacity, window, scale, softcap], position=position, **run)
    case.input("q", q, gap=gap, shift=4 if gap else 0).input("k_cache", keys).input("v_cache", values)
    shape = (rows, heads * head_dim)
    return case.output("y", exact.f32(out).reshape(shape), t2(1, magnitude.reshape(shape)), gap=gap,
                       shift=4 if gap else 0)


def attention_cases(half):
    def make(name, *args, **named):
        return attention_case(name, half, *args, **named)

    cases = [make(f"head_dim {d}", 2, 2, 1, d, 64, 4) for d in (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33)]
    cases += [make(f"keys {p + 1}", 1, 2, 1, 3, -(-(p + 1) // 64) * 64, p)
              for p in (0, 1, 2, 14, 15, 16, 30, 47, 62, 63, 64, 65, 100, 127, 128, 191, 192, 255, 256, 257, 319, 511,
                        512)]
    cases += [make(f"{h} heads on {g}", 2, h, g, 6, 64, 10) for h, g in ((1, 1), (4, 4), (6, 2), (5, 1), (9, 3))]
    cases += [make(f"rows {r} from {p}", r, 1, 1, 5, c, p)
              for r, p, c in ((3, 0, 64), (17, 0, 64), (66, 0, 128), (5, 61, 128), (7, 252, 320), (4, 254, 320))]
    cases += [make(f"window {w} at {p}", r, 2, 1, 4, c, p, window=w)
              for w, p, r, c in ((1, 20, 2, 64), (5, 3, 6, 64), (16, 40, 3, 64), (64, 100, 2, 128), (70, 130, 3, 192),
                                 (16, 270, 2, 320), (40, 280, 2, 320), (300, 310, 3, 320), (1000, 50, 2, 64))]
    cases += [make(f"softcap {c}", 2, 2, 1, 8, 64, 30, softcap=c, sharp=s)
              for c, s in ((50.0, 1.0), (2.0, 4.0), (0.5, 9.0))]
    cases.append(make("softcap and window", 3, 2, 2, 8, 128, 90, window=33, softcap=5.0, sharp=3.0))
    cases += [make(f"scale {s}", 2, 2, 1, 8, 64, 25, scale=s) for s in (1.0, 0.0, 0.0625, -0.5)]
    cases += [make(f"sharp {s}", 2, 1, 1, 8, 128, 90, sharp=s) for s in (10.0, 40.0)]
    cases.append(make("sharp over chunks", 2, 1, 1, 4, 576, 560, sharp=20.0))
    cases.append(make("strided", 4, 3, 1, 5, 64, 20, gap=12))
    cases.append(make("constant rows", 3, 2, 1, 4, 64, 7, sym=ONE))
    cases.append(make("no rows", 0, 2, 1, 4, 64, 1))
    cases.append(make("large", 4, 6, 2, 32, 128, 100))

    def spans(name, *args, **named):
        return attention_spans_case(name, half, *args, **named)

    cases.append(spans("spans", 4, 2, 6, 128, [(2, 0, 5), (0, 60, 6), (3, 17, 1)], 4))
    cases.append(spans("spans of one row", 3, 1, 8, 128,
                       [(s, p, 1) for s, p in enumerate((5, 0, 63, 64, 100, 15, 16, 31))], 8))
    cases.append(spans("spans of one row, 9 heads on 3", 9, 3, 5, 64, [(s, 6 * s, 1) for s in (4, 1, 7, 0)], 8))
    cases.append(spans("spans over chunks", 2, 1, 4, 320, [(1, 300, 2), (0, 3, 1), (2, 255, 3)], 3))
    cases.append(spans("spans, window and softcap", 2, 2, 8, 128, [(0, 70, 3), (1, 2, 4)], 2, window=33, softcap=5.0,
                       sharp=3.0))
    cases.append(spans("spans with a gap", 2, 1, 3, 64, [(1, 9, 20), (0, 40, 2)], 2, gap=192))
    cases.append(spans("one span of another sequence", 2, 2, 7, 64, [(1, 15, 3)], 3))
    return cases


KERNELS = {"rope_table": table_cases, "rope": rope_cases,
           "kv_store_f32": lambda: store_cases(False), "kv_store_f16": lambda: store_cases(True),
           "attention_f32": lambda: attention_cases(False), "attention_f16": lambda: attention_cases(True)}
