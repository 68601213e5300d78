# SPDX-License-Identifier: MIT
"""Vectors of attention_*."""
import math

import numpy as np

import exact
from bits import Bits
from kernel_cache import Cache, read_back
from kernel_gemm import count_of
from qvec import BATCH, ONE, TOKENS, Case, t2


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
                                                        keys[h // group, begin:end],
                                                        values[h // group, begin:end], float(scale),
                                                        float(softcap))
            row += 1
    return out, magnitude


def attention_spans_case(name, kind, heads, kv_heads, head_dim, capacity, spans, sequences, window=0, softcap=0.0,
                         sharp=1.0, gap=0):
    """Rows of several sequences; sequences without a span hold NaN; `gap` bytes lie between two caches."""
    bits = Bits(f"attention/{name}")
    rows = sum(n for _, _, n in spans)
    q = bits.real((rows, heads * head_dim), 2.0 * sharp)
    keys = Cache(kind, True, sequences, kv_heads, head_dim, capacity)
    values = Cache(kind, False, sequences, kv_heads, head_dim, capacity)
    ks, vs = [], []
    for sequence, position, n in spans:
        k = bits.real((kv_heads, position + n, head_dim), 2.0)
        v = bits.real((kv_heads, position + n, head_dim), 1.0)
        keys.put(sequence, 0, k.transpose(1, 0, 2))
        values.put(sequence, 0, v.transpose(1, 0, 2))
        ks.append(read_back(k, kind))
        vs.append(read_back(v, kind))
    scale, softcap = np.float32(1.0 / math.sqrt(head_dim)), np.float32(softcap)
    out, magnitude = attend_rows(q.reshape(rows, heads, head_dim), ks, vs, spans, window, scale, softcap)
    case = Case(name, [1, TOKENS, heads, kv_heads, head_dim, capacity, window, scale, softcap], n_tokens=rows)
    case.spans(spans).input("q", q)
    case.input("k_cache", keys.rows(sequences), gap=gap).input("v_cache", values.rows(sequences), gap=gap)
    return case.output("y", exact.f32(out).reshape(q.shape), t2(1, magnitude.reshape(q.shape)))


def attention_case(name, kind, rows, heads, kv_heads, head_dim, capacity, position, window=0, scale=None, softcap=0.0,
                   sharp=1.0, gap=0, sym=TOKENS):
    bits = Bits(f"attention/{name}")
    n_keys = position + rows
    q = bits.real((rows, heads * head_dim), 2.0 * sharp)
    k = bits.real((kv_heads, n_keys, head_dim), 2.0)
    v = bits.real((kv_heads, n_keys, head_dim), 1.0)
    keys = Cache(kind, True, 1, kv_heads, head_dim, capacity)
    values = Cache(kind, False, 1, kv_heads, head_dim, capacity)
    keys.put(0, 0, k.transpose(1, 0, 2))
    values.put(0, 0, v.transpose(1, 0, 2))
    scale = np.float32(1.0 / math.sqrt(head_dim) if scale is None else scale)
    softcap = np.float32(softcap)
    out, magnitude = attend_rows(q.reshape(rows, heads, head_dim), [read_back(k, kind)], [read_back(v, kind)],
                                 [(0, position, rows)], window, scale, softcap)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, heads, kv_heads, head_dim, capacity, window, scale, softcap], position=position, **run)
    case.input("q", q, gap=gap, shift=4 if gap else 0)
    case.input("k_cache", keys.rows(kv_heads)).input("v_cache", values.rows(kv_heads))
    return case.output("y", exact.f32(out).reshape(q.shape), t2(1, magnitude.reshape(q.shape)), gap=gap,
                       shift=4 if gap else 0)


def whole_case(name, kind, heads, kv_heads, head_dim, parts, full=1, samples=False, softcap=0.0, sharp=1.0, gap=0, lengths=None):
    """Spans or samples of `parts` rows from position 0: every row sees all of its part, or causally; with lse. lengths: rows of
    each sample that count; of the others y is 0 and lse stays."""
    bits = Bits(f"attention whole/{name}")
    rows, capacity = sum(parts), -(-max(parts) // 64) * 64
    q = bits.real((rows, heads, head_dim), 2.0 * sharp)
    keys = Cache(kind, True, len(parts), kv_heads, head_dim, capacity)
    values = Cache(kind, False, len(parts), kv_heads, head_dim, capacity)
    scale, softcap = np.float32(1.0 / math.sqrt(head_dim)), np.float32(softcap)
    out, size = np.zeros(q.shape), np.zeros(q.shape)
    lse, lse_size = np.zeros((rows, heads)), np.zeros((rows, heads))
    first = 0
    for part, n in enumerate(parts):
        k, v = bits.real((kv_heads, n, head_dim), 2.0), bits.real((kv_heads, n, head_dim), 1.0)
        keys.put(part, 0, k.transpose(1, 0, 2))
        values.put(part, 0, v.transpose(1, 0, 2))
        k, v = read_back(k, kind), read_back(v, kind)
        counted = n if lengths is None else lengths[part]
        for i in range(counted):
            for h in range(heads):
                end, kv = counted if full else i + 1, h // (heads // kv_heads)
                x = q[first + i, h].astype(np.float64)
                out[first + i, h], size[first + i, h] = attend(x, k[kv, :end], v[kv, :end], float(scale), float(softcap))
                lse[first + i, h], lse_size[first + i, h] = log_sum(x, k[kv, :end], float(scale), float(softcap))
        first += n
    count, run = ([parts[0], BATCH], {"n_batch": len(parts)}) if samples else ([1, TOKENS], {"n_tokens": rows})
    case = Case(name, count + [heads, kv_heads, head_dim, capacity, 0, scale, softcap, full, parts[0] if samples else 0],
                **run)
    if not samples:
        case.spans([(i, 0, n) for i, n in enumerate(parts)])
    if lengths is not None:
        case.input("ids", np.array(lengths, dtype=np.int32))
    case.input("q", q.reshape(rows, -1), gap=gap)
    case.input("k_cache", keys.rows(len(parts)), gap=gap * 16).input("v_cache", values.rows(len(parts)), gap=gap * 16)
    case.output("y", exact.f32(out).reshape(rows, -1), t2(1, size.reshape(rows, -1)), gap=gap)
    return case.output("lse", exact.f32(lse), t2(1, lse_size), init=None if lengths is None else np.zeros(lse.shape, np.float32))


def log_sum(q, k, scale, softcap):
    """Logarithm of the sum of the exponentials of one query's scores, and its magnitude."""
    products = k * q[None, :]
    s = exact.row_sums(products) * scale
    doubt = math.sqrt(len(q)) * exact.row_sums(np.abs(products)) * abs(scale) + np.abs(s)
    if softcap > 0:
        s = softcap * exact.apply("tanh", s / softcap)
        doubt = doubt + 3 * np.abs(s)
    p = exact.apply("exp", s - s.max())
    total = exact.fsum(p.tolist())
    lse = s.max() + exact.apply("log", np.array([total]))[0]
    return lse, exact.fsum((p / total * (doubt + np.abs(s - s.max()) + 2)).tolist()) + abs(s.max()) + abs(lse) + 2


def whole_cases(kind):
    d = 32 if kind == "q8_0" else 6
    if kind != "f32":
        return [whole_case("full spans", kind, 2, 1, d, [3, 9]),
                whole_case("full samples", kind, 1, 1, d, [5] * 2, samples=True),
                whole_case("full samples, padded", kind, 1, 1, d, [5] * 3, samples=True, lengths=(2, 5, 1))]
    cases = [whole_case(f"full {n}", kind, 1, 1, 3, [n]) for n in (1, 2, 17, 65)]
    cases += [whole_case("full spans", kind, 4, 2, d, [3, 1, 7]), whole_case("full softcap", kind, 2, 2, d, [9], softcap=3.0),
              whole_case("full over chunks", kind, 1, 1, 1, [258]),
              whole_case("full samples", kind, 2, 1, d, [5] * 4, samples=True),
              whole_case("full samples with a gap", kind, 2, 1, d, [18] * 2, samples=True, gap=12),
              whole_case("full samples, padded", kind, 4, 2, d, [9] * 4, samples=True, lengths=(4, 9, 1, 8)),
              whole_case("full samples, padded over blocks", kind, 1, 1, 1, [70] * 2, samples=True, lengths=(3, 66)),
              whole_case("causal samples, padded, with a gap", kind, 2, 1, d, [18] * 3, full=0, samples=True, gap=12,
                         lengths=(17, 1, 9)),
              whole_case("causal samples", kind, 4, 2, d, [7] * 3, full=0, samples=True),
              whole_case("causal spans with lse", kind, 2, 1, d, [20, 3], full=0, softcap=4.0, sharp=2.0)]
    return cases


def attention_cases(kind):
    def make(name, *args, **named):
        return attention_case(name, kind, *args, **named)

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
        return attention_spans_case(name, kind, *args, **named)

    cases.append(spans("spans", 4, 2, 6, 128, [(2, 0, 5), (0, 60, 6), (3, 17, 1)], 4))
    cases.append(spans("spans of one row", 3, 1, 8, 128,
                       [(s, p, 1) for s, p in enumerate((5, 0, 63, 64, 100, 15, 16, 31))], 8))
    cases.append(spans("spans of one row, 9 heads on 3", 9, 3, 5, 64, [(s, 6 * s, 1) for s in (4, 1, 7, 0)], 8))
    cases.append(spans("spans over chunks", 2, 1, 4, 320, [(1, 300, 2), (0, 3, 1), (2, 255, 3)], 3))
    cases.append(spans("spans, window and softcap", 2, 2, 8, 128, [(0, 70, 3), (1, 2, 4)], 2, window=33, softcap=5.0,
                       sharp=3.0))
    cases.append(spans("spans with a gap", 2, 1, 3, 64, [(1, 9, 20), (0, 40, 2)], 2, gap=192))
    cases.append(spans("one span of another sequence", 2, 2, 7, 64, [(1, 15, 3)], 3))
    return cases + whole_cases(kind)


def attention_q8_0_cases():
    def make(name, *args, **named):
        return attention_case(name, "q8_0", *args, **named)

    def spans(name, *args, **named):
        return attention_spans_case(name, "q8_0", *args, **named)

    cases = [make(f"head_dim {d}", 2, 2, 1, d, 64, 4) for d in (32, 64, 96, 128, 160)]
    cases += [make(f"keys {p + 1}", 1, 2, 1, 32, -(-(p + 1) // 64) * 64, p)
              for p in (0, 1, 7, 8, 14, 15, 16, 47, 63, 64, 100, 127, 191, 255, 256, 319)]
    cases += [make(f"{h} heads on {g}", 2, h, g, 32, 64, 10) for h, g in ((1, 1), (4, 4), (6, 2), (5, 1), (9, 3))]
    cases += [make(f"rows {r} from {p}", r, 1, 1, 32, c, p)
              for r, p, c in ((3, 0, 64), (17, 0, 64), (5, 61, 128), (4, 254, 320))]
    cases += [make(f"window {w} at {p}", r, 2, 1, 32, c, p, window=w)
              for w, p, r, c in ((1, 20, 2, 64), (5, 3, 6, 64), (16, 40, 3, 64), (70, 130, 3, 192))]
    cases.append(make("window over chunks", 2, 1, 1, 32, 320, 280, window=40))
    cases.append(make("softcap and window", 3, 2, 2, 32, 128, 90, window=33, softcap=5.0, sharp=3.0))
    cases += [make(f"scale {s}", 2, 2, 1, 32, 64, 25, scale=s) for s in (0.0, -0.5)]
    cases.append(make("sharp", 2, 1, 1, 32, 128, 90, sharp=20.0))
    cases.append(make("strided", 4, 3, 1, 32, 64, 20, gap=12))
    cases.append(make("constant rows", 3, 2, 1, 32, 64, 7, sym=ONE))
    cases.append(make("no rows", 0, 2, 1, 32, 64, 1))
    cases.append(make("large", 4, 6, 2, 64, 128, 100))
    cases.append(spans("spans", 4, 2, 32, 128, [(2, 0, 5), (0, 60, 6), (3, 17, 1)], 4))
    cases.append(spans("spans of one row", 3, 1, 32, 128,
                       [(s, p, 1) for s, p in enumerate((5, 0, 63, 64, 100, 15, 16, 31))], 8))
    cases.append(spans("spans over chunks", 2, 1, 32, 320, [(1, 300, 2), (0, 3, 1), (2, 255, 3)], 3))
    cases.append(spans("spans with a gap", 2, 1, 32, 64, [(1, 9, 20), (0, 40, 2)], 2, gap=192))
    return cases + whole_cases("q8_0")


KERNELS = {"attention_f32": lambda: attention_cases("f32"), "attention_f16": lambda: attention_cases("f16"),
           "attention_q8_0": attention_q8_0_cases}
