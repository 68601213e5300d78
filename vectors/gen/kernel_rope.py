# SPDX-License-Identifier: MIT
"""Vectors of rope_table and rope, and positions of spans."""
from decimal import Decimal, localcontext

import numpy as np

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


KERNELS = {"rope_table": table_cases, "rope": rope_cases}
