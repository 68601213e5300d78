# SPDX-License-Identifier: MIT
"""Vectors of mse, bias_grad and sgd."""
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


def sgd_case(name, n, rate, grad_scale=1.0, w=None, grad=None, size=1.0):
    bits = Bits(f"sgd/{name}")
    w = bits.real(n) if w is None else w
    grad = bits.real(n, size) if grad is None else grad
    with np.errstate(invalid="ignore", over="ignore"):
        step = rate * (grad.astype(np.float64) * grad_scale)
        out = w.astype(np.float64) - step
    case = Case(name, [n, grad_scale], learning_rate=rate, training=1).input("grad", grad)
    magnitude = np.where(np.isfinite(out), np.abs(w) + np.abs(step), 0.0)
    return case.output("y", exact.f32(out), t2(1, magnitude), init=w)


def sgd_cases():
    cases = [sgd_case(f"n{n}", n, 0.1) for n in (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65)]
    cases += [sgd_case(f"rate {r}", 20, r, size=s) for r, s in ((0.0, 1.0), (1.0, 1.0), (1e-9, 1e7), (1e-3, 30.0))]
    cases += [sgd_case(f"grad_scale {s}", 20, 0.5, grad_scale=s) for s in (0.5, 1.0 / 3.0, 1e-3, 128.0)]
    w, g = Bits("sgd special").real(20), Bits("sgd special grad").real(20)
    w[0], w[1], g[2], g[3], g[4], g[5] = np.inf, np.nan, np.inf, np.nan, -np.inf, 0.0
    cases.append(sgd_case("specials", 20, 0.25, w=w, grad=g))
    cases.append(sgd_case("large", 2500, 0.01, grad_scale=1.0 / 32.0, size=8.0))
    return cases


KERNELS = {"mse": mse_cases, "bias_grad": bias_cases, "sgd": sgd_cases}
