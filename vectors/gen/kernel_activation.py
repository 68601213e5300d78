# SPDX-License-Identifier: MIT
"""Vectors of activate and activate_grad."""
import numpy as np

import exact
from bits import Bits
from kernel_elementwise import DIMS
from kernel_gemm import activation_values, count_of
from kernel_language import wide
from qvec import ACTIVATIONS, BATCH, ONE, ROWS, SELECTED, T0, TOKENS, Case, t1, t2

TINY = 2.0 ** -126  # sigmoid below it has an absolute error, which the slope of its argument multiplies
FROM_OUTPUT = ("relu", "sigmoid", "tanh")


# ---- Forward -----------------------------------------------------------------------------------------------

def activate_case(name, act, x, sym=ONE, gap=0, in_place=False):
    rows, dim = x.shape
    value = wide(x) if act == "none" else np.where(x < 0, 0.0, wide(x)) if act == "relu" else exact.apply(act, x)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, ACTIVATIONS.index(act)], **run)
    if not in_place:
        case.input("x", x, gap=gap, shift=4 if gap else 0)
    return case.output("y", exact.f32(value), T0 if act in ("none", "relu") else t1(2), init=x if in_place else None,
                       gap=gap, shift=4 if gap else 0)


def activate_cases():
    real = lambda name, rows, dim, scale=6.0: Bits(f"activate/{name}").real((rows, dim), scale)  # noqa: E731
    cases = []
    for k, d in enumerate(DIMS):
        for act in (ACTIVATIONS[1 + k % 6], ACTIVATIONS[1 + (k + 3) % 6]):
            cases.append(activate_case(f"{act} d{d}", act, real(f"{act} {d}", 2, d)))
    for act in ACTIVATIONS:
        cases.append(activate_case(f"{act} values", act, activation_values().reshape(1, -1)))
        cases.append(activate_case(f"{act} strided", act, real(f"{act} strided", 4, 19), gap=12))
        cases.append(activate_case(f"{act} in place", act, real(f"{act} in place", 3, 18), in_place=True))
        cases.append(activate_case(f"{act} small", act, Bits(f"activate small {act}").wide((1, 60), -40, 0)))
        cases.append(activate_case(f"{act} large", act, real(f"{act} large", 2, 50, 40.0)))
    cases += [activate_case(f"r{r}", ACTIVATIONS[1 + r % 6], real(f"r{r}", r, 9)) for r in (1, 3, 5, 8)]
    cases.append(activate_case("in place strided", "silu", real("in place 2", 4, 19), gap=12, in_place=True))
    cases += [activate_case(f"count {label}", "gelu_erf", real(label, 4, 6), sym=sym)
              for label, sym in (("tokens", TOKENS), ("rows", ROWS), ("selected", SELECTED))]
    cases.append(activate_case("no rows", "tanh", real("none", 0, 6), sym=SELECTED))
    return cases


# ---- Backward ----------------------------------------------------------------------------------------------


def phi(t):
    """The normal distribution function."""
    t = np.asarray(t, dtype=np.float64)
    safe = np.where(t == 0, 1.0, t)
    return np.where(t == 0, 0.5, exact.apply("gelu_erf", safe) / safe)


def slope(act, v):
    """f' at the input (or from the output) v, and the size of what it is the sum of."""
    one = np.ones_like(v)
    if act == "none":
        return one, one
    if act == "relu":
        return (v > 0) * 1.0, one
    if act == "sigmoid":
        return v * (1.0 - v), np.abs(v) * (1.0 + np.abs(v))
    if act == "tanh":
        return 1.0 - v * v, 1.0 + v * v
    if act == "silu":
        g = exact.apply("sigmoid", v)
        return g * (1.0 + v * (1.0 - g)), g * (1.0 + np.abs(v))
    if act == "gelu_tanh":
        a = 2.0 * np.sqrt(2.0 / np.pi)
        x = np.clip(v, -40.0, 40.0)
        g = exact.apply("sigmoid", a * (x + 0.044715 * x ** 3))
        steep = a * x * (1.0 + 3.0 * 0.044715 * x * x) * g * (1.0 - g)
        rise = np.abs(a * x * (1.0 + 3.0 * 0.044715 * x * x))
        return g + steep, g * (1.0 + rise * (1.0 + np.abs(a * x) * (1.0 + x * x))) + rise * TINY * (np.abs(x) < 12.5)
    x = np.clip(v, -40.0, 40.0)
    bell = exact.apply("exp", -x * x / 2.0) / np.sqrt(2.0 * np.pi)
    return phi(x) + x * bell, 1.0 + np.abs(x) * bell * (1.0 + x * x)


def grad_case(name, act, v, accumulate=0, sym=BATCH, gap=0, in_place=False, scale=1.0):
    rows, dim = v.shape
    bits = Bits(f"activate_grad/{name}")
    dy = bits.real((rows, dim), scale)
    start = bits.real((rows, dim)) if accumulate else None
    f, size = slope(act, wide(v))
    value, magnitude = wide(dy) * f, np.abs(wide(dy)) * size
    if act == "relu":
        value = np.where(v > 0, wide(dy), 0.0)
    if accumulate:
        value, magnitude = wide(start) + value, magnitude + np.abs(wide(start))
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, ACTIVATIONS.index(act), accumulate], **run)
    case.input("v", v, gap=gap, shift=4 if gap else 0)
    if not in_place:
        case.input("dy", dy, gap=gap)
    return case.output("dx", exact.f32(value), T0 if act in ("none", "relu") else t2(6, magnitude),
                       init=dy if in_place else start, gap=gap, shift=4 if gap else 0)


def grad_values(act, name, shape, scale):
    """Inputs, or outputs the activation can have."""
    v = Bits(f"activate_grad v/{name}").real(shape, scale)
    return exact.f32(exact.apply(act, v)) if act in ("sigmoid", "tanh") else v


def grad_cases():
    def make(name, act, rows, dim, spread=3.0, **named):
        return grad_case(f"{act} {name}", act, grad_values(act, f"{act} {name}", (rows, dim), spread), **named)

    cases = []
    for k, d in enumerate(DIMS):
        for act in (ACTIVATIONS[1 + k % 6], ACTIVATIONS[1 + (k + 3) % 6]):
            cases.append(make(f"d{d}", act, 2, d))
    for act in ACTIVATIONS:
        cases += [make("accumulate", act, 3, 19, accumulate=1), make("in place", act, 3, 18, in_place=True),
                  make("strided, accumulate", act, 4, 13, gap=12, accumulate=1), make("strided", act, 4, 19, gap=8),
                  make("spread 0.01", act, 1, 20, spread=0.01), make("spread 20", act, 2, 20, spread=20.0),
                  make("large", act, 2, 50, spread=8.0)]
    for act in ACTIVATIONS[1:]:
        if act not in FROM_OUTPUT:
            far = np.array([[0.0, -0.0, 1e-30, -1e-30, 11.9, 12.0, 12.1, -11.9, -12.0, -12.1, 15.9, 16.1, -16.1, 88.0, -88.0,
                             110.0, 1e4, -1e4, 1e18, -1e18]], dtype=np.float32)
            if act != "silu":
                far = np.concatenate([far, np.array([[3e38, -3e38]], dtype=np.float32)], axis=1)
            cases.append(grad_case(f"{act} far", act, far))
    zeros = np.array([[0.0, -0.0, 1e-45, -1e-45, 3e38, -3e38, np.inf, -np.inf]], dtype=np.float32)
    cases.append(grad_case("relu zeros", "relu", zeros))
    cases += [make(f"r{r}", ACTIVATIONS[1 + r % 6], r, 20, sym=ONE) for r in (1, 3, 8)]
    cases += [make("count tokens", "silu", 4, 6, sym=TOKENS), make("no rows", "relu", 0, 9, sym=SELECTED)]
    return cases


KERNELS = {"activate": activate_cases, "activate_grad": grad_cases}
