# SPDX-License-Identifier: MIT
"""Vectors of the gradients of language models: gemm_grad, embedding_grad, select_rows_grad, rmsnorm_grad,
rmsnorm_weight_grad, mul_grad, silu_mul_grad, softmax_grad, rope_grad. Formulas are derived on paper, in float64."""
import numpy as np
from qorus_py import panel, quant

import exact
from bits import Bits
from kernel_elementwise import PASSED, pass_bits, pass_on
from kernel_gemm import DTYPES, count_of, weights
from qvec import BATCH, ONE, ROWS, SELECTED, T0, TOKENS, Case, t1, t2

TAILS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33)


def wide(x):
    return x.astype(np.float64)


def finite(x):
    """Where a magnitude may be taken from."""
    return np.where(np.isfinite(x), x, 0.0)


def put(case, role, value, magnitude, terms, start, gap):
    """A gradient that is stored, or (start given) added to what is there."""
    if start is not None:
        value = wide(start) + value
        magnitude = magnitude + np.abs(wide(start))
        terms += 1
    return case.output(role, exact.f32(value), t2(terms, magnitude), init=start, gap=gap, shift=4 if gap else 0)


# ---- Products ----------------------------------------------------------------------------------------------

def gemm_grad_case(name, dtype, rows, m, k, accumulate=0, sym=BATCH, gap=0, scale=1.0):
    bits = Bits(f"gemm_grad/{dtype}/{name}")
    raw = weights(bits, dtype, m, k)
    w = wide(quant.dequantize(raw, dtype)).reshape(m, k)
    dy = bits.real((rows, m), scale)
    start = bits.real((rows, k)) if accumulate else None
    products = wide(dy)[:, :, None] * w[None, :, :]
    value = exact.row_sums(products.transpose(0, 2, 1)) if rows else np.zeros((0, k))
    magnitude = exact.row_sums(np.abs(products).transpose(0, 2, 1)) if rows else np.zeros((0, k))
    n, run = count_of(sym, rows)
    case = Case(f"{name}", [n, sym, m, k, dtype, accumulate], **run)
    case.input("weights", panel.pack(raw, dtype, k)).input("dy", dy, gap=gap, shift=4 if gap else 0)
    return put(case, "dx", value, magnitude, m, start, gap)


def gemm_grad_cases():
    cases = []
    for label, dtype in DTYPES.items():
        ks = (32, 64, 96) if quant.is_quantised(dtype) else TAILS if dtype == quant.F32 else (1, 9, 16, 33)
        cases += [gemm_grad_case(f"{label} k{k}", dtype, 2, 18, k) for k in ks]
        cases += [gemm_grad_case(f"{label} m{m}", dtype, 2, m, 32) for m in (1, 15, 17, 33)]
        cases += [gemm_grad_case(f"{label} r{r}", dtype, r, 20, 32, sym=ONE) for r in (1, 13)]
        cases += [gemm_grad_case(f"{label} accumulate m{m}", dtype, 4, m, 64, accumulate=1) for m in (5, 20)]
        cases.append(gemm_grad_case(f"{label} strided", dtype, 3, 19, 32, gap=12, sym=TOKENS))
        cases.append(gemm_grad_case(f"{label} no rows", dtype, 0, 19, 32, sym=SELECTED))
        cases.append(gemm_grad_case(f"{label} large", dtype, 13, 40, 64, scale=8.0))
    return cases


# ---- Rows --------------------------------------------------------------------------------------------------

def embedding_case(name, rows, dim, vocab, scale=1.0, sym=TOKENS, gap=0, ids=None):
    bits = Bits(f"embedding_grad/{name}")
    ids = bits.ints(rows, 0, vocab).astype(np.int32) if ids is None else np.asarray(ids, dtype=np.int32)
    dy, start, scale = bits.real((rows, dim)), bits.real((vocab, dim)), np.float32(scale)
    value, magnitude = wide(start), np.abs(wide(start))
    for token in range(vocab):
        mine = wide(dy)[ids == token] * float(scale)
        value[token] = exact.row_sums(np.concatenate([value[token:token + 1], mine]).T)
        magnitude[token] += exact.row_sums(np.abs(mine).T)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, scale], **run).input("ids", ids).input("dy", dy, gap=gap)
    return case.output("grad", exact.f32(value), t2(rows + 1, magnitude), init=start)


def embedding_cases():
    cases = [embedding_case(f"d{d}", 5, d, 4) for d in TAILS]
    cases += [embedding_case(f"r{r}", r, 10, 6, sym=ONE) for r in (1, 2, 16, 17)]
    cases += [embedding_case(f"scale {s}", 6, 20, 3, scale=s) for s in (0.5, 27.7128, -1.0, 0.0)]
    cases.append(embedding_case("one token", 9, 12, 5, ids=[3] * 9))
    cases.append(embedding_case("strided", 6, 19, 4, gap=12))
    cases.append(embedding_case("no rows", 0, 9, 4, sym=SELECTED))
    cases.append(embedding_case("rows of the batch", 4, 9, 4, sym=ROWS))
    cases.append(embedding_case("large", 30, 50, 10))
    return cases


def select_case(name, rows, dim, selected, accumulate=0, gap=0):
    bits = Bits(f"select_rows_grad/{name}")
    chosen = np.asarray(selected, dtype=np.uint32)
    dy = bits.real((len(chosen), dim))
    start = bits.real((rows, dim)) if accumulate else None
    value = start.copy() if accumulate else np.zeros((rows, dim), dtype=np.float32)
    for s, r in enumerate(chosen):
        value[r] = value[r] + dy[s] if accumulate else dy[s]
    case = Case(name, [1, TOKENS, dim, accumulate], n_tokens=rows, n_selected=len(chosen))
    case.input("selected", chosen).input("dy", dy, gap=gap, shift=4 if gap else 0)
    return case.output("dx", value, T0, init=start, gap=gap, shift=4 if gap else 0)


def select_cases():
    cases = [select_case(f"d{d}", 4, d, [0, 2, 3], accumulate=a) for a in (0, 1) for d in TAILS if a == 0 or d > 14]
    for i, case in enumerate(cases):
        case.name += f" {i}"
    cases += [select_case(f"last of {r}", r, 10, [r - 1]) for r in (1, 2, 17)]
    cases += [select_case("all", 9, 12, range(9)), select_case("none", 3, 12, []),
              select_case("none, accumulate", 3, 12, [], accumulate=1)]
    cases.append(select_case("strided", 8, 13, [1, 4, 5, 7], gap=12))
    cases.append(select_case("strided, accumulate", 8, 13, [1, 4, 5, 7], gap=12, accumulate=1))
    cases.append(select_case("large", 40, 50, range(0, 40, 3)))
    return cases


# ---- Norms -------------------------------------------------------------------------------------------------

def norm_parts(x, dy, w, eps):
    """s per row, and the gradient of x with its magnitude."""
    dim = x.shape[1]
    s = 1.0 / np.sqrt(exact.row_sums(x * x) / dim + eps)
    g = dy * w[None, :]
    c = exact.row_sums(g * x) / dim * s ** 2
    bound = exact.row_sums(np.abs(g * x)) / dim * s ** 2
    return s, s[:, None] * (g - x * c[:, None]), s[:, None] * (np.abs(g) + np.abs(x) * bound[:, None])


def rmsnorm_case(name, rows, dim, eps=1e-5, offset=0.0, accumulate=0, sym=BATCH, gap=0, scale=1.0, dx=True, to=""):
    bits = Bits(f"rmsnorm_grad/{name}")
    x, dy, w = bits.real((rows, dim), scale), bits.real((rows, dim)), bits.real(dim, 2.0)
    start = bits.real((rows, dim)) if accumulate else None
    eps, offset = np.float32(eps), np.float32(offset)
    s, value, magnitude = norm_parts(wide(x), wide(dy), wide(w + offset), float(eps))
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, eps, offset, accumulate + pass_bits(to)], **run)
    case.input("weights", w).input("x", x, gap=gap, shift=4 if gap else 0).input("dy", dy, gap=gap)
    if dx:
        put(case, "dx", value, magnitude, dim + 64, start, gap)
        left = value + wide(start) if accumulate else value
        pass_on(case, "rmsnorm_grad", name, left, magnitude + np.abs(left), dim + 65, to, gap)
    return case.output("scale", exact.f32(s), t1(8 + dim // 256))


def rmsnorm_cases():
    cases = [rmsnorm_case(f"d{d}", 2, d) for d in TAILS + (47, 48, 63, 64, 65)]
    cases += [rmsnorm_case(f"r{r}", r, 20, sym=ONE) for r in (1, 3, 8)]
    cases += [rmsnorm_case(f"accumulate d{d}", 3, d, accumulate=1) for d in (1, 8, 19, 40)]
    cases += [rmsnorm_case(f"offset {o}", 3, 21, offset=o) for o in (1.0, -0.5)]
    cases += [rmsnorm_case(f"eps {e}", 3, 21, eps=e) for e in (1e-12, 1e-2, 1.0)]
    cases += [rmsnorm_case(f"scale {s}", 3, 21, scale=s) for s in (1e-4, 30.0)]
    cases += [rmsnorm_case(f"passed to {to}, d{d}", 3, d, accumulate=d % 2, to=to) for to, d in zip(2 * PASSED, (7, 16, 33, 8, 1) * 3)]
    cases.append(rmsnorm_case("passed on strided", 3, 21, accumulate=1, gap=12, to="+a +b"))
    cases.append(rmsnorm_case("s alone", 4, 19, dx=False))
    cases.append(rmsnorm_case("strided", 4, 19, gap=12))
    cases.append(rmsnorm_case("strided, accumulate", 4, 19, gap=12, accumulate=1, offset=1.0))
    cases.append(rmsnorm_case("no rows", 0, 9, sym=SELECTED))
    cases.append(rmsnorm_case("large", 3, 300))
    return cases


def weight_case(name, rows, dim, sym=BATCH, gap=0):
    bits = Bits(f"rmsnorm_weight_grad/{name}")
    x, dy, start = bits.real((rows, dim)), bits.real((rows, dim)), bits.real(dim)
    s = np.abs(bits.real(rows, 3.0)) + np.float32(0.25)
    terms = np.concatenate([wide(start)[:, None], (wide(dy) * wide(x) * wide(s)[:, None]).T], axis=1)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, 1e-5, 0.0, 1], **run)
    case.input("x", x, gap=gap, shift=4 if gap else 0).input("dy", dy, gap=gap).input("scale", s)
    return case.output("grad", exact.f32(exact.row_sums(terms)), t2(rows + 2, exact.row_sums(np.abs(terms))),
                       init=start)


def weight_cases():
    cases = [weight_case(f"d{d}", 3, d) for d in TAILS]
    cases += [weight_case(f"r{r}", r, 10, sym=ONE) for r in (1, 2, 5, 16, 17)]
    cases += [weight_case("strided", 4, 19, gap=12), weight_case("no rows", 0, 9, sym=SELECTED),
              weight_case("large", 40, 70)]
    return cases


def softmax_case(name, rows, dim, scale=1.0, accumulate=0, sym=BATCH, gap=0, sharp=3.0):
    bits = Bits(f"softmax_grad/{name}")
    e = exact.apply("exp", wide(bits.real((rows, dim), sharp)))
    y = exact.f32(e / exact.row_sums(e)[:, None])
    dy = bits.real((rows, dim))
    start = bits.real((rows, dim)) if accumulate else None
    scale = np.float32(scale)
    products = wide(y) * wide(dy)
    value = wide(y) * (wide(dy) - exact.row_sums(products)[:, None]) * float(scale)
    magnitude = wide(y) * (np.abs(wide(dy)) + exact.row_sums(np.abs(products))[:, None]) * abs(float(scale))
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, scale, accumulate], **run)
    case.input("y", y, gap=gap, shift=4 if gap else 0).input("dy", dy, gap=gap)
    return put(case, "dx", value, magnitude, dim + 4, start, gap)


def softmax_cases():
    cases = [softmax_case(f"d{d}", 2, d) for d in TAILS + (47, 64, 65)]
    cases += [softmax_case(f"r{r}", r, 20, sym=ONE) for r in (1, 3, 8)]
    cases += [softmax_case(f"accumulate d{d}", 3, d, accumulate=1) for d in (1, 8, 19, 40)]
    cases += [softmax_case(f"scale {s}", 3, 21, scale=s) for s in (0.125, -2.0, 0.0)]
    cases += [softmax_case("sharp", 3, 33, sharp=60.0), softmax_case("strided", 4, 19, gap=12),
              softmax_case("no rows", 0, 9, sym=SELECTED), softmax_case("large", 2, 500)]
    return cases


# ---- Products of two values --------------------------------------------------------------------------------

def binary_case(kernel, name, rows, dim, accumulate=0, sym=BATCH, gap=0, scale=1.0, da=True, db=True):
    bits = Bits(f"{kernel}/{name}")
    a, b, dy = bits.real((rows, dim), scale), bits.real((rows, dim), 2.0), bits.real((rows, dim))
    starts = [bits.real((rows, dim)) if accumulate >> i & 1 else None for i in range(2)]
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, accumulate], **run)
    case.input("a", a, gap=gap, shift=4 if gap else 0).input("b", b, gap=gap).input("dy", dy)
    if kernel == "mul_grad":
        for role, value, start, wanted in (("da", dy * b, starts[0], da), ("db", dy * a, starts[1], db)):
            if wanted:
                case.output(role, value if start is None else start + value, T0, init=start, gap=gap)
        return case
    x = wide(a)
    g = exact.apply("sigmoid", x)
    outer = wide(dy) * wide(b)
    if da:
        put(case, "da", outer * g * (1.0 + x * (1.0 - g)), np.abs(outer) * g * (1.0 + np.abs(x)), 4, starts[0], gap)
    if db:
        value = wide(dy) * exact.apply("silu", x)
        put(case, "db", value, np.abs(value), 4, starts[1], gap)
    return case


def binary_cases(kernel):
    def make(name, *args, **named):
        return binary_case(kernel, name, *args, **named)

    cases = [make(f"d{d}", 2, d) for d in TAILS]
    cases += [make(f"r{r}", r, 20, sym=ONE) for r in (1, 3, 8)]
    cases += [make(f"accumulate {a} d{d}", 3, d, accumulate=a) for a in (1, 2, 3) for d in (5, 19, 40)]
    cases += [make("da alone", 4, 19, db=False), make("db alone", 4, 19, da=False),
              make("da alone, accumulate", 4, 19, db=False, accumulate=1)]
    cases += [make(f"scale {s}", 4, 20, scale=s) for s in (1e-3, 12.0, 80.0)]
    cases += [make("strided", 4, 19, gap=12), make("strided, accumulate", 4, 19, gap=12, accumulate=3),
              make("tokens", 4, 6, sym=TOKENS), make("no rows", 0, 9, sym=SELECTED), make("large", 9, 70, scale=6.0)]
    return cases


# ---- Positions ---------------------------------------------------------------------------------------------

def rope_case(name, rows, heads, head_dim, n_pairs, accumulate=0, sym=TOKENS, gap=0):
    bits = Bits(f"rope_grad/{name}")
    dy = bits.real((rows, heads * head_dim))
    angle = wide(bits.real((rows, n_pairs), 3.0))
    table = exact.f32(np.concatenate([exact.apply("cos", angle), exact.apply("sin", angle)], axis=1))
    start = bits.real((rows, heads * head_dim)) if accumulate else None
    d = wide(dy).reshape(rows, heads, head_dim)
    cos, sin = wide(table)[:, None, :n_pairs], wide(table)[:, None, n_pairs:]
    value, magnitude = d.copy(), np.zeros(d.shape)
    i, j = slice(0, n_pairs), slice(n_pairs, 2 * n_pairs)
    value[:, :, i], value[:, :, j] = d[:, :, i] * cos + d[:, :, j] * sin, d[:, :, j] * cos - d[:, :, i] * sin
    magnitude[:, :, i] = np.abs(d[:, :, i] * cos) + np.abs(d[:, :, j] * sin)
    magnitude[:, :, j] = np.abs(d[:, :, j] * cos) + np.abs(d[:, :, i] * sin)
    if accumulate:
        magnitude += np.abs(d)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, heads, head_dim, n_pairs, accumulate], **run)
    case.input("table", table, gap=gap).input("dy", dy, gap=gap, shift=4 if gap else 0)
    return put(case, "dx", value.reshape(dy.shape), magnitude.reshape(dy.shape), 2, start, gap)


def rope_cases():
    cases = [rope_case(f"pairs {n}", 2, 2, 2 * n, n) for n in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33)]
    cases += [rope_case(f"part {n} of {d}", 3, 2, d, n) for n, d in ((1, 4), (3, 8), (8, 24), (5, 11), (16, 33))]
    cases += [rope_case(f"{h} heads", 2, h, 8, 4, sym=ONE) for h in (1, 3, 9)]
    cases += [rope_case(f"accumulate {n} of {d}", 3, 2, d, n, accumulate=1) for n, d in ((4, 8), (3, 10), (16, 32),
                                                                                     (17, 40))]
    cases += [rope_case("strided", 4, 2, 10, 3, gap=12), rope_case("strided, accumulate", 4, 2, 10, 5, gap=12, accumulate=1),
              rope_case("no rows", 0, 2, 8, 4, sym=SELECTED), rope_case("large", 5, 3, 64, 32)]
    return cases


KERNELS = {"gemm_grad": gemm_grad_cases, "embedding_grad": embedding_cases, "select_rows_grad": select_cases,
           "rmsnorm_grad": rmsnorm_cases, "rmsnorm_weight_grad": weight_cases,
           "mul_grad": lambda: binary_cases("mul_grad"), "silu_mul_grad": lambda: binary_cases("silu_mul_grad"),
           "softmax_grad": softmax_cases, "rope_grad": rope_cases}
