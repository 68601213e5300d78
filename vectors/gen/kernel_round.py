# SPDX-License-Identifier: MIT
"""Vectors of round: values rounded to a narrower type and back."""
import numpy as np

from bits import Bits
from kernel_elementwise import DIMS
from kernel_gemm import activation_values, count_of, quantize_planes
from kernel_rows import quantize_specials
from qorus_py import quant
from qvec import BATCH, ONE, ROWS, SELECTED, T0, TOKENS, Case

TYPES = {"f16": quant.F16, "bf16": quant.BF16, "a8": 8, "a8x2": 9}


def nearest_bf16(x):
    """The closer of the two neighbours with 16 zero bits; of two as close, the one whose last bit is 0."""
    low = (x.view(np.uint32) & np.uint32(0xFFFF0000)).astype(np.uint32)
    high = (low + np.uint32(0x10000)).astype(np.uint32)
    a, b = low.view(np.float32).astype(np.float64), high.view(np.float32).astype(np.float64)
    b = np.where(np.isinf(b), np.copysign(2.0 ** 128, x.astype(np.float64)), b)
    with np.errstate(invalid="ignore"):
        down, up = np.abs(x - a), np.abs(b - x)
    pick = np.where((up < down) | ((up == down) & ((low >> np.uint32(16)) & np.uint32(1) == 1)), high, low)
    pick = np.where(np.isinf(x), x.view(np.uint32), pick).astype(np.uint32)
    return np.where(np.isnan(x), np.float32(np.nan), pick.view(np.float32))


def rounded(kind, x):
    if kind == "f16":
        with np.errstate(over="ignore"):
            return x.astype(np.float16).astype(np.float32)
    if kind == "bf16":
        return nearest_bf16(np.ascontiguousarray(x))
    total = np.zeros_like(x)
    with np.errstate(invalid="ignore", over="ignore"):
        for i, (q, d, _) in enumerate(quantize_planes(x, 2 if kind == "a8x2" else 1)):
            part = q.astype(np.float32) * np.repeat(d, quant.BLOCK, axis=1)
            total = total + part if i else part
    return total


def round_case(name, kind, x, sym=ONE, gap=0, in_place=False):
    rows, dim = x.shape
    n, run = count_of(sym, rows)
    case = Case(f"{kind} {name}", [n, sym, dim, TYPES[kind]], **run)
    if not in_place:
        case.input("x", x, gap=gap, shift=4 if gap else 0)
    return case.output("y", rounded(kind, x), T0, init=x if in_place else None, gap=gap, shift=4 if gap else 0)


def edges(kind):
    """Both sides of every kind of tie, of the largest value, of the smallest normal and subnormal one."""
    bits, big, low = (10, 65520.0, -24) if kind == "f16" else (7, 255.5 * 2.0 ** 120, -133)
    ulp = 2.0 ** -bits
    at = [1 + ulp / 2, 1 + 1.5 * ulp, 3 + ulp, big, 2.0 ** low, 2.0 ** (low - 1), 1.5 * 2.0 ** low, 2.5 * 2.0 ** low,
          2.0 ** (low + bits), 2.0 ** (low + bits) - 2.0 ** (low - 1)]
    at = np.array(at, dtype=np.float64).astype(np.float32)
    near = np.concatenate([at, np.nextafter(at, np.float32(0)), np.nextafter(at, np.float32(np.inf))])
    return np.concatenate([near, -near, np.float32([0, -0.0, np.inf, -np.inf, np.nan])]).reshape(1, -1)


def round_cases():
    cases = []
    for kind in ("f16", "bf16"):
        real = lambda name, rows, dim: Bits(f"round/{kind}/{name}").real((rows, dim), 3.0)  # noqa: E731
        cases += [round_case(f"d{d}", kind, real(d, 2, d)) for d in DIMS]
        cases += [round_case("edges", kind, edges(kind)),
                  round_case("values", kind, activation_values().reshape(1, -1)),
                  round_case("exponents", kind, Bits(f"round wide {kind}").wide((3, 90), -40, 40)),
                  round_case("in place strided", kind, real("in place", 4, 19), gap=12, in_place=True),
                  round_case("strided", kind, real("strided", 4, 19), gap=12),
                  round_case("one long row", kind, real("row", 1, 300))]
        cases += [round_case(f"count {label}", kind, real(label, 4, 6), sym=sym)
                  for label, sym in (("batch", BATCH), ("tokens", TOKENS), ("rows", ROWS))]
    for kind in ("a8", "a8x2"):
        real = lambda name, rows, dim: Bits(f"round/{kind}/{name}").real((rows, dim), 3.0)  # noqa: E731
        cases += [round_case(f"d{d}", kind, real(d, 2, d)) for d in (32, 64, 96, 160)]
        cases += [round_case("specials", kind, quantize_specials()),
                  round_case("exponents", kind, Bits(f"round wide {kind}").wide((3, 64), -12, 8)),
                  round_case("in place strided", kind, real("in place", 4, 32), gap=12, in_place=True),
                  round_case("strided", kind, real("strided", 3, 64), gap=12),
                  round_case("one long row", kind, real("row", 1, 320)),
                  round_case("no rows", kind, np.zeros((0, 32), dtype=np.float32), sym=SELECTED)]
    return cases


KERNELS = {"round": round_cases}
