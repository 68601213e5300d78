# SPDX-License-Identifier: MIT
"""Vectors of rmsnorm, add, mul, silu_mul, exp and softmax."""
import numpy as np

import exact
from bits import Bits
from kernel_gemm import activation_values, count_of
from qvec import BATCH, ONE, ROWS, SELECTED, T0, TOKENS, Case, t1, t2

DIMS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33)
TINY = 2.0 ** -126  # as a magnitude, with the writer's floor: a gate of 4 subnormal steps


# ---- RMS norm --------------------------------------------------------------------------------------------

def norm_input(case, kernel, name, x, gap, in_place, summed):
    """The x a norm reads: there already, in place of y, or (summed: x is an addend) made first, perhaps in place of that addend."""
    shift = 4 if gap else 0
    if not summed:
        return case if in_place else case.input("x", x, gap=gap, shift=shift)
    b = Bits(f"{kernel} b/{name}").real(x.shape)
    case.input("b", b, gap=2 * gap)
    if summed != "in place":
        case.input("a", x, gap=gap)
    total = exact.f32(x.astype(np.float64) + b.astype(np.float64))
    return case.output("x", total, T0, init=x if summed == "in place" else None, gap=gap, shift=shift)


def norm_sum(kernel, name, x, summed):
    """What is normalised."""
    return exact.f32(x.astype(np.float64) + Bits(f"{kernel} b/{name}").real(x.shape).astype(np.float64)) if summed else x


PASSED = ("a", "+b", "a b", "+a b", "a +b", "+a +b")  # who gets the gradient of what a norm reads; +: it is added


def pass_bits(to):
    """As part of `accumulate`."""
    return 2 * ("+a" in to) + 4 * ("+b" in to)


def pass_on(case, kernel, name, dx, magnitude, terms, to, gap):
    """Hands dx on."""
    for side in to.split():
        adds = side[0] == "+"
        start = Bits(f"{kernel} d{side}/{name}").real(dx.shape) if adds else None
        value = dx + start.astype(np.float64) if adds else dx
        error = magnitude + 2 * (np.abs(start) + np.abs(value)) if adds else magnitude
        case.output("d" + side[-1], exact.f32(value), t2(terms, error), init=start, gap=gap)
    return case


def rmsnorm_case(name, x, eps=1e-5, offset=0.0, weight=None, sym=ONE, gap=0, in_place=False, summed=""):
    rows, dim = x.shape
    given, x = x, norm_sum("rmsnorm", name, x, summed)
    weight = Bits(f"rmsnorm/{name}").real(dim) if weight is None else weight
    eps, offset = np.float32(eps), np.float32(offset)
    wide = x.astype(np.float64)
    with np.errstate(invalid="ignore"):
        mean = exact.row_sums(wide * wide) / dim
        scale = 1.0 / np.sqrt(mean + float(eps))
        y = wide * scale[:, None] * (weight.astype(np.float64) + float(offset))
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, eps, offset], **run).input("weights", weight)
    norm_input(case, "rmsnorm", name, given, gap, in_place, summed)
    return case.output("y", exact.f32(y), t1(8 + dim // 256), init=x if in_place else None, gap=gap,
                       shift=4 if gap else 0)


def rmsnorm_specials():
    x = Bits("rmsnorm specials").real((6, 20))
    x[0] = 0.0
    x[1] = -0.0
    x[2, 7] = np.nan
    x[3, 19] = np.inf
    x[4] = np.float32(1e-30)
    x[5] *= np.float32(1e15)
    return x


def rmsnorm_cases():
    real = lambda name, rows, dim, scale=1.0: Bits(f"rmsnorm x/{name}").real((rows, dim), scale)  # noqa: E731
    cases = [rmsnorm_case(f"d{d}", real(d, 2, d)) for d in DIMS + (48, 64, 100, 576)]
    cases += [rmsnorm_case(f"r{r}", real(f"r{r}", r, 18)) for r in (1, 3, 4, 7, 9)]
    cases += [rmsnorm_case(f"tiny variance, eps {e}", real(f"tiny{e}", 3, 24, s), eps=e)
              for e, s in ((1e-5, 1e-3), (1e-6, 3e-4), (1e-12, 1e-6), (0.0, 1e-3), (0.5, 1.0))]
    cases.append(rmsnorm_case("offset 1", real("offset", 3, 20), offset=1.0))
    cases.append(rmsnorm_case("offset 0.25 strided", real("offset2", 3, 21), offset=0.25, gap=12))
    cases.append(rmsnorm_case("in place", real("in place", 4, 33), in_place=True))
    cases.append(rmsnorm_case("in place strided", real("in place 2", 4, 17), in_place=True, gap=8))
    one = np.eye(3, 40, 5, dtype=np.float32) * 1000 + real("one", 3, 40, 0.01)
    cases.append(rmsnorm_case("one large value", one))
    cases.append(rmsnorm_case("each place counts", np.eye(40, dtype=np.float32) * 3 + real("each", 40, 40, 0.1)))
    cases.append(rmsnorm_case("specials", rmsnorm_specials()))
    cases += [rmsnorm_case(f"count {label}", real(label, 4, 10), sym=sym)
              for label, sym in (("batch", BATCH), ("tokens", TOKENS), ("rows", ROWS), ("selected", SELECTED))]
    cases += [rmsnorm_case(f"sum d{d}", real(f"sum{d}", 3, d), summed="yes") for d in (1, 7, 8, 16, 19, 33, 100)]
    cases += [rmsnorm_case(f"sum r{r}", real(f"sum r{r}", r, 18), summed="yes") for r in (1, 4, 9)]
    cases.append(rmsnorm_case("sum strided", real("sum strided", 5, 21), summed="yes", gap=12))
    cases.append(rmsnorm_case("sum in place", real("sum in place", 5, 34), summed="in place"))
    cases.append(rmsnorm_case("sum in place strided", real("sum in place 2", 6, 21), summed="in place", gap=8, offset=1.0))
    cases.append(rmsnorm_case("no rows", real("none", 0, 10), sym=SELECTED))
    cases.append(rmsnorm_case("large", real("large", 5, 1030, 8.0), eps=1e-6))
    return cases


# ---- Two inputs ------------------------------------------------------------------------------------------

def special_pairs():
    """Every pair of some special values as two rows, with sums and products that overflow or underflow."""
    v = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-38, 1e-42, -1e-45, 0.1, 16777216.0],
                 dtype=np.float32)
    return np.repeat(v, len(v)).reshape(1, -1), np.tile(v, len(v)).reshape(1, -1)


def binary_case(name, kernel, a, b, sym=ONE, gap=0, in_place=""):
    rows, dim = a.shape
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        if kernel == "add":
            out = wide_a + wide_b
        else:
            out = (exact.apply("silu", wide_a) if kernel == "silu_mul" else wide_a) * wide_b
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim], **run)
    if in_place != "a":
        case.input("a", a, gap=gap, shift=4 if gap else 0)
    if in_place != "b":
        case.input("b", b, gap=gap)
    init = {"": None, "a": a, "b": b}[in_place]
    return case.output("y", exact.f32(out), t1(4) if kernel == "silu_mul" else T0, init=init, gap=gap,
                       shift=4 if gap else 0)


def binary_cases(kernel):
    def pair(name, rows, dim, scale=3.0):
        return tuple(Bits(f"{kernel} {side}/{name}").real((rows, dim), scale) for side in "ab")

    cases = [binary_case(f"d{d}", kernel, *pair(d, 2, d)) for d in DIMS]
    cases += [binary_case(f"r{r}", kernel, *pair(f"r{r}", r, 9)) for r in (1, 3, 5, 8)]
    cases.append(binary_case("in place of a", kernel, *pair("ia", 3, 18), in_place="a"))
    cases.append(binary_case("in place of b", kernel, *pair("ib", 3, 18), in_place="b"))
    cases.append(binary_case("strided", kernel, *pair("strided", 4, 19), gap=12))
    cases.append(binary_case("in place of a strided", kernel, *pair("is", 4, 19), gap=12, in_place="a"))
    cases += [binary_case(f"count {label}", kernel, *pair(label, 4, 6), sym=sym)
              for label, sym in (("batch", BATCH), ("rows", ROWS), ("selected", SELECTED))]
    cases.append(binary_case("no rows", kernel, *pair("none", 0, 6), sym=SELECTED))
    cases.append(binary_case("large", kernel, *pair("large", 3, 700, 6.0)))
    if kernel == "silu_mul":
        x = activation_values().reshape(1, -1)
        with np.errstate(over="ignore", invalid="ignore"):
            cases.append(binary_case("values", kernel, x, np.full_like(x, 1.5)))
    else:
        cases.append(binary_case("special pairs", kernel, *special_pairs()))
        wide = (Bits(f"{kernel} wide a").wide((2, 60), -120, 120), Bits(f"{kernel} wide b").wide((2, 60), -120, 120))
        cases.append(binary_case("wide exponents", kernel, *wide))
    return cases


# ---- One input -------------------------------------------------------------------------------------------

def unary_case(name, kernel, x, sym=ONE, gap=0, in_place=False):
    rows, dim = x.shape
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim], **run)
    if not in_place:
        case.input("x", x, gap=gap, shift=4 if gap else 0)
    return case.output("y", exact.f32(exact.apply(kernel, x)), t1(1),
                       init=x if in_place else None, gap=gap, shift=4 if gap else 0)


def exp_edges():
    """Where exp overflows, becomes subnormal and vanishes; multiples of ln 2 and their neighbours."""
    points = [0.0, -0.0, 1.0, -1.0, 88.72283, 88.72284, 88.8, 100.0, -87.33654, -87.33655, -103.27, -103.97, -104.1,
              -150.0, 3e38, -3e38, np.inf, -np.inf, np.nan, 1e-8, -1e-8, 5.9604645e-8, 1e-40]
    multiples = np.arange(-20, 21, dtype=np.float32) * np.float32(0.34657359)
    x = np.concatenate([np.array(points, dtype=np.float32), multiples, np.nextafter(multiples, np.float32(9)),
                        np.nextafter(multiples, np.float32(-9))])
    return x.reshape(1, -1)


def unary_cases(kernel):
    real = lambda name, rows, dim, scale=6.0: Bits(f"{kernel}/{name}").real((rows, dim), scale)  # noqa: E731
    cases = [unary_case(f"d{d}", kernel, real(d, 2, d)) for d in DIMS]
    cases += [unary_case(f"r{r}", kernel, real(f"r{r}", r, 9)) for r in (1, 3, 5, 8)]
    cases.append(unary_case("in place", kernel, real("in place", 3, 18), in_place=True))
    cases.append(unary_case("strided", kernel, real("strided", 4, 19), gap=12))
    cases.append(unary_case("in place strided", kernel, real("in place 2", 4, 19), gap=12, in_place=True))
    cases += [unary_case(f"count {label}", kernel, real(label, 4, 6), sym=sym)
              for label, sym in (("tokens", TOKENS), ("rows", ROWS), ("selected", SELECTED))]
    cases.append(unary_case("no rows", kernel, real("none", 0, 6), sym=SELECTED))
    cases.append(unary_case("values", kernel, activation_values().reshape(1, -1)))
    cases.append(unary_case("small", kernel, Bits(f"{kernel} small").wide((1, 200), -40, 0)))
    cases.append(unary_case("large", kernel, real("large", 4, 600, 80.0)))
    if kernel == "exp":
        cases.append(unary_case("edges", kernel, exp_edges()))
    return cases


# ---- Softmax ---------------------------------------------------------------------------------------------

def softmax_case(name, x, scale=1.0, sym=ONE, gap=0, in_place=False):
    rows, dim = x.shape
    scale = np.float32(scale)
    s = x.astype(np.float64) * float(scale)
    top = s.max(axis=1, keepdims=True, initial=-np.inf)
    empty = np.isneginf(top)
    with np.errstate(invalid="ignore"):
        t = np.where(np.isneginf(s), -np.inf, s - np.where(empty, 0.0, top))
    e = exact.apply("exp", t)
    total = exact.row_sums(e)[:, None]
    out = e / np.where(total == 0, 1.0, total)
    finite = np.where(np.isfinite(s), s, 0.0)
    argument = np.abs(finite) + np.abs(np.where(empty, 0.0, top)) + np.abs(np.where(np.isfinite(t), t, 0.0)) + 4
    shared = exact.row_sums(out * argument)[:, None]
    magnitude = np.where(out == 0, TINY * (e > 0), out * (argument + shared) + TINY)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, scale], **run)
    if not in_place:
        case.input("x", x, gap=gap, shift=4 if gap else 0)
    return case.output("y", exact.f32(out), t2(1 + dim / 16, magnitude), init=x if in_place else None, gap=gap,
                       shift=4 if gap else 0)


def softmax_masked():
    x = Bits("softmax masked").real((20, 20), 4.0)
    x[np.triu_indices(20, 1)] = -np.inf
    return x


def softmax_cases():
    real = lambda name, rows, dim, scale=4.0: Bits(f"softmax/{name}").real((rows, dim), scale)  # noqa: E731
    cases = [softmax_case(f"d{d}", real(d, 2, d)) for d in DIMS + (48, 63, 64, 65, 100)]
    cases += [softmax_case(f"r{r}", real(f"r{r}", r, 9)) for r in (1, 3, 5, 8)]
    cases += [softmax_case(f"scale {s}", real(f"scale{s}", 3, 20, 10.0), scale=s)
              for s in (0.125, 0.08838835, 3.0, -1.0)]
    cases.append(softmax_case("causal rows", softmax_masked()))
    nothing = real("nothing", 4, 18)
    nothing[1] = -np.inf
    nothing[3, :17] = -np.inf
    cases.append(softmax_case("a row of only -infinity", nothing))
    cases.append(softmax_case("far apart", real("far", 3, 40, 300.0)))
    cases.append(softmax_case("large values", real("large values", 3, 24) + np.float32(10000)))
    cases.append(softmax_case("equal values", np.full((2, 33), 7.25, dtype=np.float32)))
    zeros = np.where(np.arange(36) % 2, 0.0, -0.0).astype(np.float32).reshape(2, 18)
    cases.append(softmax_case("zeros of both signs", zeros))
    cases.append(softmax_case("in place", real("in place", 3, 33), in_place=True))
    cases.append(softmax_case("strided", real("strided", 4, 19), gap=12))
    cases.append(softmax_case("in place strided", real("in place 2", 4, 19), gap=12, in_place=True))
    cases += [softmax_case(f"count {label}", real(label, 4, 6), sym=sym)
              for label, sym in (("tokens", TOKENS), ("rows", ROWS), ("selected", SELECTED))]
    cases.append(softmax_case("no rows", real("none", 0, 6), sym=SELECTED))
    cases.append(softmax_case("large", real("large", 3, 700, 8.0)))
    return cases


KERNELS = {"rmsnorm": rmsnorm_cases, "softmax": softmax_cases}
KERNELS.update({k: (lambda k=k: binary_cases(k)) for k in ("add", "mul", "silu_mul")})
KERNELS.update({k: (lambda k=k: unary_cases(k)) for k in ("exp",)})
