# SPDX-License-Identifier: MIT
"""Vectors of LayerNorm and BatchNorm, forward and backward. Magnitudes carry the rounding of every step forward to first
order."""
import numpy as np

import exact
from bits import Bits
from kernel_elementwise import DIMS, PASSED, norm_input, norm_sum, pass_bits, pass_on
from kernel_gemm import count_of
from qvec import ACTIVATIONS, BATCH, ONE, ROWS, SELECTED, TOKENS, Case, t1, t2

BLOCK = 64
SYMS = (("batch", BATCH), ("tokens", TOKENS), ("rows", ROWS), ("selected", SELECTED))


def wide(x):
    return np.asarray(x).astype(np.float64)


def column_sums(x):
    return exact.row_sums(np.ascontiguousarray(x.T))


# ---- LayerNorm -------------------------------------------------------------------------------------------

def layernorm_parts(x, eps):
    """mean, 1/sqrt(var + eps), x - mean, and the errors of the last two in units of u."""
    dim = x.shape[1]
    mean = exact.row_sums(x) / dim
    d = x - mean[:, None]
    var = exact.row_sums(d * d) / dim
    s = 1.0 / np.sqrt(var + eps)
    rough = exact.row_sums(np.abs(x)) / dim
    # the mean is wrong by u*rough*sqrt(dim)/4 or so; by its square it moves the variance
    d_error = np.abs(d) + 2 * rough[:, None]
    return mean, s, d, d_error, rough


def layernorm_case(name, x, eps=1e-5, weight=None, bias=True, sym=ONE, gap=0, in_place=False, stats=True, summed=""):
    rows, dim = x.shape
    given, x = x, norm_sum("layernorm", name, x, summed)
    bits = Bits(f"layernorm/{name}")
    weight = bits.real(dim) if weight is None else weight
    offset = bits.real(dim)
    eps = np.float32(eps)
    with np.errstate(invalid="ignore"):
        mean, s, d, d_error, rough = layernorm_parts(wide(x), float(eps))
        y = d * s[:, None] * wide(weight) + (wide(offset) if bias else 0.0)
        magnitude = (d_error + 4 * np.abs(d)) * s[:, None] * np.abs(wide(weight)) + np.abs(y)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, eps], **run).input("weights", weight)
    if bias:
        case.input("bias", offset)
    norm_input(case, "layernorm", name, given, gap, in_place, summed)
    if stats:
        case.output("table", exact.f32(np.stack([mean, s], axis=1).reshape(1, -1)),
                    t2(1 + dim // 16, np.stack([2 * rough, 4 * s], axis=1).reshape(1, -1)))
    return case.output("y", exact.f32(y), t2(1 + dim // 16, magnitude), init=x if in_place else None, gap=gap,
                       shift=4 if gap else 0)


def layernorm_cases():
    real = lambda name, rows, dim, scale=1.0: Bits(f"layernorm x/{name}").real((rows, dim), scale)  # noqa: E731
    cases = [layernorm_case(f"d{d}", real(d, 2, d)) for d in DIMS + (48, 64, 100, 576)]
    cases += [layernorm_case(f"r{r}", real(f"r{r}", r, 18)) for r in (1, 3, 4, 7, 9)]
    cases += [layernorm_case(f"eps {e}", real(f"eps{e}", 3, 24, s), eps=e)
              for e, s in ((1e-5, 1e-3), (1e-6, 3e-4), (1e-12, 1e-6), (0.5, 1.0))]
    cases.append(layernorm_case("without bias", real("plain", 3, 20), bias=False))
    cases.append(layernorm_case("without statistics", real("no stats", 3, 20), stats=False))
    cases.append(layernorm_case("strided", real("strided", 3, 21), gap=12))
    cases.append(layernorm_case("in place", real("in place", 4, 33), in_place=True))
    cases.append(layernorm_case("in place strided", real("in place 2", 4, 17), in_place=True, gap=8))
    cases.append(layernorm_case("far from zero", real("far", 3, 40) + np.float32(50)))
    cases.append(layernorm_case("each place counts", np.eye(40, dtype=np.float32) * 3 + real("each", 40, 40, 0.1)))
    special = real("special", 4, 20)
    special[0], special[1, 7], special[2, 19] = 0.0, np.nan, np.inf
    cases.append(layernorm_case("specials", special))
    cases += [layernorm_case(f"count {label}", real(label, 4, 10), sym=sym) for label, sym in SYMS]
    cases += [layernorm_case(f"sum d{d}", real(f"sum{d}", 3, d), summed="yes") for d in (1, 7, 8, 16, 19, 33, 100)]
    cases += [layernorm_case(f"sum r{r}", real(f"sum r{r}", r, 18), summed="yes") for r in (1, 4, 9)]
    cases.append(layernorm_case("sum strided", real("sum strided", 5, 21), summed="yes", gap=12))
    cases.append(layernorm_case("sum in place", real("sum in place", 5, 34), summed="in place", bias=False))
    cases.append(layernorm_case("sum in place strided", real("sum in place 2", 6, 21), summed="in place", gap=8))
    cases.append(layernorm_case("no rows", real("none", 0, 10), sym=SELECTED, stats=False))
    cases.append(layernorm_case("large", real("large", 3, 1030, 8.0)))
    return cases


def grad_inputs(kernel, name, rows, dim):
    bits = Bits(f"{kernel}/{name}")
    x, dy = bits.real((rows, dim)), bits.real((rows, dim))
    return bits, x, dy


def layernorm_grad_case(name, rows, dim, accumulate=0, sym=ONE, gap=0, to=""):
    bits, x, dy = grad_inputs("layernorm_grad", name, rows, dim)
    weight = bits.real(dim)
    start = bits.real((rows, dim)) if accumulate else np.zeros((rows, dim), dtype=np.float32)
    mean, s, _, _, _ = layernorm_parts(wide(x), 1e-5)
    stats = exact.f32(np.stack([mean, s], axis=1))
    mean, s = wide(stats[:, :1]), wide(stats[:, 1:])
    g, h = wide(dy) * wide(weight), (wide(x) - mean) * s
    a, b = exact.row_sums(g)[:, None] / dim, exact.row_sums(g * h)[:, None] / dim
    dx = (g - a - h * b) * s + wide(start)
    rough_a = exact.row_sums(np.abs(g))[:, None] / dim
    rough_b = exact.row_sums(np.abs(g * h))[:, None] / dim
    magnitude = (3 * np.abs(g) + 3 * rough_a + np.abs(h) * (4 * rough_b + 3 * np.abs(b))) * s + np.abs(dx) + np.abs(start)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, accumulate + pass_bits(to)], **run).input("weights", weight)
    case.input("table", stats.reshape(1, -1) if rows else np.zeros((1, 1), dtype=np.float32))
    case.input("x", x, gap=gap, shift=4 if gap else 0).input("dy", dy, gap=gap)
    case.output("dx", exact.f32(dx), t2(1 + dim // 16, magnitude), init=start if accumulate else None, gap=gap)
    return pass_on(case, "layernorm_grad", name, dx, magnitude, 1 + dim // 16, to, gap)


def layernorm_grad_cases():
    make = layernorm_grad_case
    cases = [make(f"d{d}", 2, d, accumulate=d % 2) for d in DIMS + (48, 64, 100, 576)]
    cases += [make(f"r{r}", r, 18) for r in (1, 3, 4, 7, 9)]
    cases += [make(f"accumulate d{d}", 3, d, accumulate=1) for d in (4, 16, 24, 32)]
    cases.append(make("strided", 3, 21, gap=12))
    cases.append(make("accumulate strided", 3, 21, accumulate=1, gap=8))
    cases += [make(f"count {label}", 4, 10, sym=sym) for label, sym in SYMS]
    cases += [make(f"passed to {to}, d{d}", 3, d, accumulate=d % 2, to=to) for to, d in zip(2 * PASSED, (7, 16, 33, 8, 1) * 3)]
    cases.append(make("passed on strided", 3, 21, accumulate=1, gap=12, to="+a +b"))
    cases.append(make("no rows", 0, 10, sym=SELECTED))
    cases.append(make("large", 3, 700))
    return cases


def layernorm_grad_param_case(name, rows, dim, weight=True, bias=True, sym=ONE, gap=0):
    bits, x, dy = grad_inputs("layernorm_grad_param", name, rows, dim)
    stats = bits.real((rows, 2)) + np.float32([0, 1.5])
    start_w, start_b = bits.real(dim), bits.real(dim)
    terms = wide(dy) * (wide(x) - wide(stats[:, :1])) * wide(stats[:, 1:])
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim], **run)
    case.input("table", stats.reshape(1, -1).astype(np.float32) if rows else np.zeros((1, 1), dtype=np.float32))
    case.input("x", x, gap=gap, shift=4 if gap else 0).input("dy", dy, gap=gap)
    for use, role, start, t in ((weight, "dw", start_w, terms), (bias, "db", start_b, wide(dy))):
        if use:
            stacked = np.concatenate([wide(start)[None], t])
            case.output(role, exact.f32(column_sums(stacked)), t2(rows + 2, column_sums(np.abs(stacked))), init=start)
    return case


def layernorm_grad_param_cases():
    make = layernorm_grad_param_case
    cases = [make(f"d{d}", 3, d) for d in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65)]
    cases += [make(f"r{r}", r, 10) for r in (1, 2, 5, 16, 17)]
    cases.append(make("weight alone", 4, 19, bias=False))
    cases.append(make("bias alone", 4, 19, weight=False))
    cases.append(make("strided", 4, 19, gap=12))
    cases.append(make("count rows", 4, 9, sym=ROWS))
    cases.append(make("no rows", 0, 9, sym=SELECTED))
    cases.append(make("large", 40, 100))
    return cases


# ---- BatchNorm -------------------------------------------------------------------------------------------

def blocks_of(rows):
    return [(b, min(b + BLOCK, rows)) for b in range(0, rows, BLOCK)]


def blocks_case(name, x, sym=ONE, gap=0):
    rows, dim = x.shape
    out, magnitude = [], []
    with np.errstate(invalid="ignore"):
        for first, end in blocks_of(rows):
            part = wide(x[first:end])
            mean = column_sums(part) / len(part)
            squares = column_sums((part - mean) ** 2)
            finite = np.where(np.isfinite(part), part, 0.0)
            rough = column_sums(np.abs(finite)) / len(part)
            out += [mean, squares]
            # a mean that is wrong by e adds len * e^2, and each square its own rounding
            magnitude += [rough, 2 * squares + 2 * np.sqrt(squares * len(part)) * 2 ** -20 * rough
                          + len(part) * rough * rough * 2 ** -20]
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim], **run).input("x", x, gap=gap, shift=4 if gap else 0)
    magnitude = np.where(np.isfinite(np.stack(magnitude)), np.stack(magnitude), 0.0)
    return case.output("table", exact.f32(np.stack(out)), t2(min(rows, BLOCK) + 2, magnitude))


def blocks_cases():
    real = lambda name, rows, dim: Bits(f"batchnorm_blocks/{name}").real((rows, dim))  # noqa: E731
    cases = [blocks_case(f"d{d}", real(d, 5, d)) for d in DIMS + (64, 65)]
    cases += [blocks_case(f"r{r}", real(f"r{r}", r, 3)) for r in (1, 2, 63, 64, 65, 127, 128, 129, 300)]
    cases += [blocks_case(f"r{r} d{d}", real(f"r{r} d{d}", r, d)) for r, d in ((70, 16), (130, 8), (260, 17), (321, 5))]
    cases.append(blocks_case("strided", real("strided", 70, 9), gap=12))
    cases.append(blocks_case("far from zero", real("far", 100, 20) + np.float32(10)))
    special = real("special", 70, 18)
    special[3, 2], special[66, 3], special[:, 4], special[5, 17] = np.inf, np.nan, 0.0, -np.inf
    cases.append(blocks_case("specials", special))
    cases += [blocks_case(f"count {label}", real(label, 6, 10), sym=sym) for label, sym in SYMS]
    cases.append(blocks_case("large", real("large", 400, 20)))
    return cases


def join_case(name, rows, dim, eps=1e-5, momentum=0.1, running=True, sym=ONE, far=0.0):
    bits = Bits(f"batchnorm_join/{name}")
    sizes = np.array([end - first for first, end in blocks_of(rows)], dtype=np.float64)
    means = bits.real((len(sizes), dim)) + np.float32(far)
    squares = bits.real((len(sizes), dim)) + np.float32(1.5)
    weight, old_mean, old_var = bits.real(dim), bits.real(dim), bits.real(dim) + np.float32(2)
    eps, momentum = np.float32(eps), np.float32(momentum)
    mean = column_sums(sizes[:, None] * wide(means)) / rows
    rough = column_sums(sizes[:, None] * np.abs(wide(means))) / rows
    e = wide(means) - mean
    total = column_sums(wide(squares) + sizes[:, None] * e * e)
    moved = column_sums(sizes[:, None] * np.abs(e)) * rough * 4 + 3 * total
    s = 1.0 / np.sqrt(total / rows + float(eps))
    s_magnitude = s * (3 + 0.5 * moved / (total + rows * float(eps)))
    scale = wide(weight) * s
    var = total / max(rows - 1, 1)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, eps, momentum], **run)
    case.input("table", np.stack([means, squares], axis=1).reshape(-1, dim)).input("weights", weight)
    t = len(sizes) + 2
    case.output("h", exact.f32(mean), t2(t, 2 * rough)).output("c", exact.f32(s), t2(t, s_magnitude))
    case.output("scale", exact.f32(scale), t2(t, np.abs(wide(weight)) * s_magnitude + np.abs(scale)))
    if running:
        for role, old, new, error in (("a", old_mean, mean, 2 * rough), ("b", old_var, var, moved / max(rows - 1, 1))):
            out = wide(old) + float(momentum) * (new - wide(old))
            size = float(momentum) * (error + np.abs(new) + np.abs(wide(old))) + np.abs(out)
            case.output(role, exact.f32(out), t2(t, size), init=old)
    return case


def join_cases():
    cases = [join_case(f"d{d}", 70, d) for d in DIMS + (64, 65)]
    cases += [join_case(f"r{r}", r, 5) for r in (1, 2, 63, 64, 65, 127, 128, 129, 1000)]
    cases += [join_case(f"momentum {m}", 100, 18, momentum=m) for m in (0.0, 0.01, 0.5, 1.0)]
    cases += [join_case(f"eps {e}", 100, 18, eps=e) for e in (1e-12, 1e-3, 2.0)]
    cases.append(join_case("without running statistics", 100, 18, running=False))
    cases.append(join_case("far from zero", 300, 18, far=20.0))
    cases += [join_case(f"count {label}", 130, 10, sym=sym) for label, sym in SYMS]
    cases.append(join_case("large", 5000, 20))
    return cases


def fold_case(name, dim, eps=1e-5, scale=1.0):
    bits = Bits(f"batchnorm_fold/{name}")
    weight, bias, mean = bits.real(dim), bits.real(dim), bits.real(dim, scale)
    var = (np.abs(bits.real(dim)) * np.float32(scale)).astype(np.float32)
    eps = np.float32(eps)
    factor = wide(weight) / np.sqrt(wide(var) + float(eps))
    shift = wide(bias) - wide(mean) * factor
    case = Case(name, [dim, eps]).input("weights", weight).input("bias", bias).input("a", mean).input("b", var)
    case.output("scale", exact.f32(factor), t1(4))
    return case.output("shift", exact.f32(shift), t2(2, np.abs(wide(bias)) + 4 * np.abs(wide(mean) * factor)))


def fold_cases():
    cases = [fold_case(f"d{d}", d) for d in DIMS + (48, 64, 65, 576)]
    cases += [fold_case(f"eps {e}", 20, eps=e) for e in (1e-12, 1e-3, 1.0)]
    return cases + [fold_case(f"scale {s}", 20, scale=s) for s in (1e-3, 100.0)]


def activation_of(name, y):
    return y if name == "none" else exact.relu(y) if name == "relu" else exact.apply(name, y)


def batchnorm_case(name, rows, dim, activation="none", mean=True, sym=ONE, gap=0, in_place=False, x=None):
    bits = Bits(f"batchnorm/{name}")
    x = bits.real((rows, dim)) if x is None else x
    center, scale, shift = bits.real(dim), bits.real(dim), bits.real(dim)
    with np.errstate(invalid="ignore"):
        d = wide(x) - wide(center) if mean else wide(x)
        inner = d * wide(scale) + wide(shift)
        y = activation_of(activation, inner)
    magnitude = 1.13 * (3 * np.abs(d * wide(scale)) + np.abs(inner)) + 2 * np.abs(y)
    magnitude = np.where(np.isfinite(magnitude), magnitude, 0.0)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, ACTIVATIONS.index(activation)], **run)
    if not in_place:
        case.input("x", x, gap=gap, shift=4 if gap else 0)
    if mean:
        case.input("a", center)
    case.input("scale", scale).input("shift", shift)
    return case.output("y", exact.f32(y), t2(1, magnitude), init=x if in_place else None, gap=gap, shift=4 if gap else 0)


def batchnorm_cases():
    cases = [batchnorm_case(f"d{d}", 3, d) for d in DIMS + (64, 65)]
    cases += [batchnorm_case(f"d{d} without mean", 3, d, mean=False) for d in (1, 7, 8, 15, 16, 17, 33)]
    cases += [batchnorm_case(f"r{r}", r, 9) for r in (1, 2, 5, 8, 17)]
    cases += [batchnorm_case(a, 3, 19, activation=a) for a in ACTIVATIONS[1:]]
    cases += [batchnorm_case(f"{a} without mean", 3, 9, activation=a, mean=False) for a in ACTIVATIONS[1:]]
    cases.append(batchnorm_case("strided", 4, 19, gap=12, activation="relu"))
    cases.append(batchnorm_case("in place", 4, 19, in_place=True))
    cases.append(batchnorm_case("in place strided", 4, 17, in_place=True, gap=8, activation="relu"))
    special = Bits("batchnorm special").real((3, 18))
    special[0, 0], special[1, 17], special[2, 8] = np.inf, np.nan, -np.inf
    cases.append(batchnorm_case("specials", 3, 18, x=special))
    cases += [batchnorm_case(f"count {label}", 4, 10, sym=sym) for label, sym in SYMS]
    cases.append(batchnorm_case("no rows", 0, 10, sym=SELECTED))
    cases.append(batchnorm_case("large", 40, 70, activation="relu"))
    return cases


SLOPED = ("none", "relu", "sigmoid", "tanh")


def slope(activation, y):
    """The slope of an activation at its output, and its error in units of u."""
    if activation == "relu":
        return np.where(y > 0, 1.0, 0.0), np.zeros_like(y)
    if activation == "sigmoid":
        return y * (1 - y), 2 * np.abs(y * (1 - y))
    if activation == "tanh":
        return 1 - y * y, y * y + np.abs(1 - y * y)
    return np.ones_like(y), np.zeros_like(y)


def backward_parts(kernel, name, rows, dim, activation):
    bits, x, dy = grad_inputs(kernel, name, rows, dim)
    y = bits.real((rows, dim), 0.9)
    if activation == "sigmoid":
        y = np.abs(y)
    mean, s = bits.real(dim), bits.real(dim) + np.float32(1.5)
    slopes, slope_error = slope(activation, wide(y))
    g = wide(dy) * slopes
    g_error = np.abs(wide(dy)) * slope_error + np.abs(g)
    h = (wide(x) - wide(mean)) * wide(s)
    return bits, x, y, dy, mean, s, g, g_error, h


def add_backward(case, activation, x, y, dy, mean, s, gap):
    case.input("x", x, gap=gap, shift=4 if gap else 0)
    if activation != "none":
        case.input("y", y, gap=gap)
    return case.input("dy", dy, gap=gap).input("a", mean).input("b", s)


def grad_blocks_case(name, rows, dim, activation="none", sym=ONE, gap=0):
    _, x, y, dy, mean, s, g, g_error, h = backward_parts("batchnorm_grad_blocks", name, rows, dim, activation)
    out, magnitude = [], []
    for first, end in blocks_of(rows):
        p, q = g[first:end], h[first:end]
        out += [column_sums(p), column_sums(p * q)]
        magnitude += [column_sums(g_error[first:end]), column_sums(np.abs(q) * g_error[first:end] + 2 * np.abs(p * q))]
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, ACTIVATIONS.index(activation), 0], **run)
    add_backward(case, activation, x, y, dy, mean, s, gap)
    return case.output("table", exact.f32(np.stack(out)), t2(min(rows, BLOCK), np.stack(magnitude)))


def grad_blocks_cases():
    make = grad_blocks_case
    cases = [make(f"d{d}", 5, d, activation=SLOPED[d % 4]) for d in DIMS + (64, 65)]
    cases += [make(f"r{r}", r, 3, activation=SLOPED[r % 4]) for r in (1, 2, 63, 64, 65, 127, 128, 129, 300)]
    cases += [make(f"{a} r{r} d{d}", r, d, activation=a) for a in SLOPED for r, d in ((70, 16), (130, 9))]
    cases.append(make("strided", 70, 9, activation="relu", gap=12))
    cases += [make(f"count {label}", 6, 10, sym=sym) for label, sym in SYMS]
    cases.append(make("large", 200, 20, activation="relu"))
    return cases


def batchnorm_grad_case(name, rows, dim, activation="none", accumulate=0, sym=ONE, gap=0):
    bits, x, y, dy, mean, s, g, g_error, h = backward_parts("batchnorm_grad", name, rows, dim, activation)
    scale, sums = bits.real(dim), bits.real((2, dim), float(rows))
    start = bits.real((rows, dim)) if accumulate else np.zeros((rows, dim), dtype=np.float32)
    a, b = wide(sums[0]) / max(rows, 1), wide(sums[1]) / max(rows, 1)
    dx = (g - a - h * b) * wide(scale) + wide(start)
    magnitude = (3 * g_error + 4 * np.abs(a) + 6 * np.abs(h * b)) * np.abs(wide(scale)) + np.abs(dx) + np.abs(start)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, ACTIVATIONS.index(activation), accumulate], **run)
    add_backward(case, activation, x, y, dy, mean, s, gap).input("scale", scale).input("c", sums)
    return case.output("dx", exact.f32(dx), t2(1, magnitude), init=start if accumulate else None, gap=gap)


def batchnorm_grad_cases():
    make = batchnorm_grad_case
    cases = [make(f"d{d}", 3, d, activation=SLOPED[d % 4], accumulate=d // 4 % 2) for d in DIMS + (64, 65)]
    cases += [make(f"r{r}", r, 9, activation=SLOPED[r % 4]) for r in (1, 2, 5, 8, 17)]
    cases += [make(f"{a}{' accumulate' * n}", 3, 20, activation=a, accumulate=n) for a in SLOPED for n in (0, 1)]
    cases.append(make("strided", 4, 19, activation="relu", gap=12))
    cases.append(make("accumulate strided", 4, 19, activation="tanh", accumulate=1, gap=8))
    cases += [make(f"count {label}", 4, 10, sym=sym) for label, sym in SYMS]
    cases.append(make("no rows", 0, 10, sym=SELECTED))
    cases.append(make("large", 40, 70, activation="relu"))
    return cases


KERNELS = {"layernorm": layernorm_cases, "layernorm_grad": layernorm_grad_cases,
           "layernorm_grad_param": layernorm_grad_param_cases, "batchnorm_blocks": blocks_cases,
           "batchnorm_join": join_cases, "batchnorm_fold": fold_cases, "batchnorm": batchnorm_cases,
           "batchnorm_grad_blocks": grad_blocks_cases, "batchnorm_grad": batchnorm_grad_cases}
