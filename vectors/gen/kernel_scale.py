# SPDX-License-Identifier: MIT
"""Vectors of scale."""
import numpy as np

import exact
from bits import Bits
from kernel_elementwise import DIMS
from kernel_gemm import activation_values, count_of
from kernel_language import wide
from qvec import BATCH, ONE, ROWS, SELECTED, T0, TOKENS, Case, t2


def scale_case(name, x, factor, accumulate=0, sym=ONE, gap=0, in_place=False):
    rows, dim = x.shape
    factor = np.float32(factor)
    start = Bits(f"scale start/{name}").real((rows, dim)) if accumulate else x if in_place else None
    with np.errstate(invalid="ignore"):
        value = wide(x) * float(factor)
    gate = T0
    if accumulate:
        gate = t2(2, np.abs(value) + np.abs(wide(start)))
        value = wide(start) + value
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, accumulate, factor], **run)
    if not in_place:
        case.input("x", x, gap=gap, shift=4 if gap else 0)
    return case.output("y", exact.f32(value), gate, init=start, gap=gap, shift=4 if gap else 0)


def scale_cases():
    real = lambda name, rows, dim, spread=3.0: Bits(f"scale/{name}").real((rows, dim), spread)  # noqa: E731
    cases = [scale_case(f"d{d}", real(d, 2, d), 0.1 * (1 + k)) for k, d in enumerate(DIMS)]
    cases += [scale_case(f"r{r}, accumulate", real(f"r{r}", r, 9), 1.7, accumulate=1) for r in (1, 3, 5, 8)]
    cases += [scale_case(f"values times {f}", activation_values().reshape(1, -1), f)
              for f in (1.0, -1.0, 0.0, -0.0, 1e-20, 3e38, 1 / 3)]
    cases += [scale_case("in place", real("in place", 3, 18), -2.5, in_place=True),
              scale_case("in place strided", real("in place 2", 4, 19), 0.3, gap=12, in_place=True),
              scale_case("strided", real("strided", 4, 19), 0.7, gap=12),
              scale_case("strided, accumulate", real("strided 2", 4, 21), 0.7, gap=8, accumulate=1),
              scale_case("one long row", real("row", 1, 700), 0.6, accumulate=1),
              scale_case("no rows", real("none", 0, 6), 2.0, sym=SELECTED)]
    return cases + [scale_case(f"count {label}", real(label, 4, 6), 1.5, sym=sym)
                    for label, sym in (("batch", BATCH), ("tokens", TOKENS), ("rows", ROWS), ("selected", SELECTED))]


KERNELS = {"scale": scale_cases}
