# SPDX-License-Identifier: MIT
"""Vectors of mse and bias_grad."""
import numpy as np

import exact
from bits import Bits
from kernel_gemm import count_of
from qvec import BATCH, ONE, ROWS, SELECTED, T0, TOKENS, Case, t2


def mse_case(name, rows, dim, grad=True, sym=BATCH, gap=0, scale=1.0, x=None, target=None):
    bits = Bits(f"mse/{name}")
    x = bits.real((rows, dim), scale) if x is None else x
    target = bits.real((rows, dim), scale) if target is None else target
    with np.errstate(invalid="ignore"):
        d = x.astype(np.float64) - target.astype(np.float64)
        loss = np.array([exact.fsum((d * d).reshape(-1).tolist()) / (rows * dim)])
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim], **run)
    case.input("x", x, gap=gap, shift=4 if gap else 0).input("target", target, gap=gap)
    case.output("loss", exact.f32(loss), t2(rows * dim + 8, np.abs(loss)))
    if grad:
        with np.errstate(invalid="ignore"):
            case.output("grad", np.float32(2) * (x - target), T0, gap=gap, shift=4 if gap else 0)
    return case


def mse_cases():
    cases = [mse_case(f"d{d}", 2, d) for d in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33)]
    cases += [mse_case(f"r{r}", r, 5, sym=ONE) for r in (1, 3, 4, 9)]
    cases.append(mse_case("loss alone", 4, 10, grad=False))
    cases.append(mse_case("strided", 4, 19, gap=12))
    cases += [mse_case(f"scale {s}", 4, 20, scale=s) for s in (1e-8, 1e-3, 1e6)]
    cases += [mse_case(f"count {label}", 4, 6, sym=sym) for label, sym in (("tokens", TOKENS), ("rows", ROWS))]
    same = Bits("mse same").real((3, 21))
    cases.append(mse_case("nothing to learn", 3, 21, sym=ONE, x=same, target=same))
    bad = Bits("mse special").real((2, 18))
    bad[0, 4] = np.inf
    cases.append(mse_case("infinity", 2, 18, x=bad))
    nan = Bits("mse special").real((2, 18))
    nan[1, 17] = np.nan
    cases.append(mse_case("nan", 2, 18, x=nan))
    cases.append(mse_case("large", 32, 130))
    return cases


def bias_case(name, rows, dim, accumulate=0, sym=BATCH, gap=0, dy=None):
    bits = Bits(f"bias_grad/{name}")
    dy = bits.real((rows, dim)) if dy is None else dy
    start = bits.real(dim) if accumulate else np.zeros(dim, dtype=np.float32)
    stacked = np.concatenate([start[:, None].astype(np.float64), dy.T.astype(np.float64)], axis=1)
    finite = np.where(np.isfinite(stacked), stacked, 0.0)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, accumulate], **run).input("dy", dy, gap=gap, shift=4 if gap else 0)
    return case.output("grad", exact.f32(exact.row_sums(stacked)),
                       t2(rows + 1, exact.row_sums(np.abs(finite))), init=start if accumulate else None)


def bias_cases():
    cases = [bias_case(f"d{d}", 3, d) for d in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33)]
    cases += [bias_case(f"r{r}", r, 10, sym=ONE) for r in (1, 2, 5, 16, 17)]
    cases += [bias_case(f"accumulate d{d}", 3, d, accumulate=1, sym=ONE) for d in (1, 8, 19, 40)]
    cases.append(bias_case("strided", 4, 19, gap=12))
    cases.append(bias_case("count rows", 4, 9, sym=ROWS))
    cases.append(bias_case("no rows", 0, 9, sym=SELECTED))
    cases.append(bias_case("no rows, accumulate", 0, 9, accumulate=1, sym=SELECTED))
    special = Bits("bias special").real((4, 18))
    special[1, 2], special[2, 3], special[3, 4] = np.inf, np.nan, -np.inf
    cases.append(bias_case("specials", 4, 18, dy=special))
    cases.append(bias_case("large", 64, 200))
    return cases


KERNELS = {"mse": mse_cases, "bias_grad": bias_cases}
