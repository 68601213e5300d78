# SPDX-License-Identifier: MIT
"""Vectors of optimizers' steps, sums of squares, rescaling and averages.

The reference runs the published formulas in float64: momentum as PyTorch's SGD has it, Adam and AdamW with bias
correction (Kingma and Ba; Loshchilov and Hutter), Lion (Chen et al.). Trajectories are ten steps, each a case that
starts from the reference's state rounded to F32.
"""
import math

import numpy as np

import exact
from bits import Bits
from qvec import Case, T0, t2


def f32(x):
    return np.asarray(x, dtype=np.float64).astype(np.float32)


class Step:
    """One step: state in, state out and the size of what was added up."""

    def __init__(self, kind, rate, t=1, momentum=0.0, nesterov=False, betas=(0.9, 0.999), eps=1e-8, decay=0.0,
                 decoupled=0.0, grad_scale=1.0, limit=0.0):
        self.kind, self.nesterov = kind, nesterov
        self.beta1 = momentum if kind == "sgd" else betas[0]
        self.beta2 = 0.0 if kind == "sgd" else betas[1]
        self.rest1, self.rest2 = 1.0 - self.beta1, 1.0 - self.beta2
        self.eps, self.decay, self.grad_scale, self.limit = eps, decay, grad_scale, limit
        self.keep = 1.0 - rate * decoupled
        self.rate, self.correction = rate, 1.0
        if kind == "adam":
            self.rate = rate / (1.0 - betas[0] ** t)
            self.correction = 1.0 / math.sqrt(1.0 - betas[1] ** t)

    def scalars(self, n):
        """In the order of the table in vectors/README.md."""
        factors = [self.grad_scale, self.limit, self.decay, self.keep, self.rate, self.beta1, self.rest1, self.beta2,
                   self.rest2, self.eps, self.correction]
        return [n] + [float(np.float32(f)) for f in factors] + [1 if self.nesterov else 0]

    def run(self, w, g, m, v):
        """(w, m, v) after the step, and magnitudes of each."""
        _, scale, limit, decay, keep, rate, beta1, rest1, beta2, rest2, eps, correction, _ = self.scalars(len(w))
        with np.errstate(all="ignore"):
            g = g * scale
            g = np.where(np.isnan(g), g, np.clip(g, -limit, limit)) if limit > 0 else g
            g_size = np.abs(g) + np.abs(decay * w)
            g = g + decay * w if decay > 0 else g
            m_size, v_size = np.zeros_like(w), np.zeros_like(w)
            if self.kind == "sgd":
                step, step_size = g, g_size
                if m is not None:
                    m_size = np.abs(beta1 * m) + g_size
                    m = beta1 * m + g
                    step, step_size = (g + beta1 * m, g_size + beta1 * m_size) if self.nesterov else (m, m_size)
            elif self.kind == "adam":
                m_size = np.abs(beta1 * m) + rest1 * g_size
                m = beta1 * m + rest1 * g
                v_size = np.abs(beta2 * v) + rest2 * g_size * g_size
                v = beta2 * v + rest2 * g * g
                below = np.sqrt(v) * correction + eps
                step = m / below
                # m carries its own rounding, v at most doubles it where the gradient made it
                step_size = (m_size + np.abs(m) * v_size / np.maximum(v, 1e-300)) / below
            else:
                m_new = beta2 * m + rest2 * g
                step = np.where(np.isnan(beta1 * m + rest1 * g), 0.0, np.sign(beta1 * m + rest1 * g))
                step_size, m_size = np.abs(step), np.abs(beta2 * m) + rest2 * g_size
                m = m_new
            out = w * keep - rate * step
        return (out, m, v), (np.abs(w * keep) + rate * step_size, m_size, v_size)


def step_case(name, kind, w, g, m=None, v=None, **options):
    """One case; w, g, m, v are F32."""
    step = Step(kind, **options)
    wide = [None if x is None else x.astype(np.float64) for x in (w, g, m, v)]
    (w2, m2, v2), (w_size, m_size, v_size) = step.run(*wide)
    finite = lambda size, out: np.where(np.isfinite(size) & np.isfinite(out), size, 0.0)  # noqa: E731
    case = Case(name, step.scalars(len(w)), training=1).input("grad", g)
    case.output("y", exact.f32(w2), t2(8, finite(w_size, w2)), init=w)
    if m is not None:
        case.output("a", exact.f32(m2), t2(4, finite(m_size, m2)), init=m)
    if v is not None:
        case.output("b", exact.f32(v2), t2(6, finite(v_size, v2)), init=v)
    return case, (w2, m2, v2)


def start(name, n, kind, momentum=False):
    """Weights, gradient and moments of irregular sizes."""
    bits = Bits(f"optim/{kind}/{name}")
    w, g = bits.real(n), bits.real(n, 3.0)
    m = bits.real(n) if kind != "sgd" or momentum else None
    v = np.abs(bits.real(n)) + np.float32(1e-3) if kind == "adam" else None
    return w, g, m, v


def one(name, kind, n, **options):
    w, g, m, v = start(name, n, kind, options.get("momentum", 0.0) != 0.0)
    return step_case(name, kind, w, g, m, v, **options)[0]


def ten_steps(name, kind, **options):
    """A trajectory on f(w) = sum of (w - c)^2 * a from zero moments: bias correction is visible in every step."""
    n = 19
    bits = Bits(f"optim/ten/{kind}/{name}")
    w, c, a = bits.real(n), bits.real(n), np.abs(bits.real(n)) + 0.1
    m = np.zeros(n) if kind != "sgd" or options.get("momentum", 0.0) != 0.0 else None
    v = np.zeros(n) if kind == "adam" else None
    cases = []
    for t in range(1, 11):
        given = [None if x is None else f32(x) for x in (w, 2 * a * (np.asarray(w, dtype=np.float64) - c), m, v)]
        case, (w, m, v) = step_case(f"{name} step {t}", kind, *given, t=t, **options)
        cases.append(case)
    return cases


def specials(kind, **options):
    w, g, m, v = start("specials", 24, kind, options.get("momentum", 0.0) != 0.0)
    w[0], w[1], g[2], g[3], g[4], g[5] = np.inf, np.nan, np.inf, np.nan, -np.inf, 0.0
    if m is not None:
        m[5], m[6] = 0.0, np.inf
    cases = [step_case("specials", kind, w, g, m, v, rate=0.25, **options)[0]]
    cases.append(step_case("specials limited", kind, w, g, m, v, rate=0.25, limit=0.5, **options)[0])
    return cases


TAILS = (1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 65)


def sgd_cases():
    cases = [one(f"n{n}", "sgd", n, rate=0.1) for n in TAILS]
    cases += [one(f"momentum n{n}", "sgd", n, rate=0.1, momentum=0.9) for n in TAILS]
    cases += [one(f"rate {r}", "sgd", 20, rate=r) for r in (0.0, 1.0, 1e-9)]
    cases += [one(f"grad_scale {s:g}", "sgd", 20, rate=0.5, grad_scale=s) for s in (0.5, 1.0 / 3.0, 1e-3, 128.0)]
    cases += [one(f"limit {c}", "sgd", 20, rate=0.5, limit=c) for c in (0.01, 0.5, 10.0)]
    cases += [one(f"decay {d}", "sgd", 20, rate=0.5, decay=d) for d in (0.01, 0.5)]
    cases.append(one("decoupled decay", "sgd", 20, rate=0.5, decoupled=0.1))
    cases.append(one("everything", "sgd", 40, rate=0.3, momentum=0.8, nesterov=True, decay=0.05, limit=0.7,
                     grad_scale=0.25))
    cases += ten_steps("plain", "sgd", rate=0.1)
    cases += ten_steps("momentum", "sgd", rate=0.05, momentum=0.9)
    cases += ten_steps("nesterov", "sgd", rate=0.05, momentum=0.9, nesterov=True, decay=0.01)
    cases += specials("sgd")
    cases.append(one("large", "sgd", 1300, rate=0.01, momentum=0.9, grad_scale=1.0 / 32.0))
    return cases


def adam_cases():
    cases = [one(f"n{n}", "adam", n, rate=1e-3, t=3) for n in TAILS]
    cases += [one(f"betas {a} {b}", "adam", 20, rate=1e-2, t=2, betas=(a, b)) for a, b in
              ((0.0, 0.999), (0.9, 0.0), (0.5, 0.5), (0.95, 0.98))]
    cases += [one(f"eps {e}", "adam", 20, rate=1e-2, eps=e) for e in (1e-3, 1.0)]
    cases += [one(f"decay {d}", "adam", 20, rate=1e-2, decay=d) for d in (0.01, 0.5)]
    cases += [one(f"decoupled {d}", "adam", 20, rate=1e-2, decoupled=d) for d in (0.01, 0.5)]
    cases.append(one("scaled and limited", "adam", 40, rate=1e-2, grad_scale=0.125, limit=0.2, t=7))
    cases += ten_steps("adam", "adam", rate=0.05)
    cases += ten_steps("adamw", "adam", rate=0.05, decoupled=0.1)
    cases += ten_steps("adam with decay", "adam", rate=0.05, decay=0.1, betas=(0.8, 0.95))
    cases += specials("adam", eps=0.01)
    cases.append(one("large", "adam", 1300, rate=1e-3, t=100))
    return cases


def lion_cases():
    cases = [one(f"n{n}", "lion", n, rate=1e-2, betas=(0.9, 0.99)) for n in TAILS]
    cases += [one(f"decoupled {d}", "lion", 20, rate=1e-2, betas=(0.9, 0.99), decoupled=d) for d in (0.01, 0.5)]
    cases.append(one("scaled and limited", "lion", 40, rate=1e-2, betas=(0.95, 0.98), grad_scale=0.125, limit=0.2))
    cases += ten_steps("lion", "lion", rate=0.05, betas=(0.9, 0.99), decoupled=0.1)
    cases += specials("lion", betas=(0.9, 0.99))
    zero = np.zeros(20, dtype=np.float32)
    cases.append(step_case("no gradient", "lion", Bits("lion zero").real(20), zero, zero.copy(), rate=0.5,
                           betas=(0.9, 0.99))[0])
    cases.append(one("large", "lion", 1300, rate=1e-3, betas=(0.9, 0.99)))
    return cases


def sum_squares_case(name, x):
    chunks = [x[i:i + 1024].astype(np.float64) for i in range(0, len(x), 1024)]
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.array([exact.fsum((c * c).tolist()) for c in chunks])
    return Case(name, [len(x)]).input("x", x).output("y", exact.f32(sums), t2(80, np.where(np.isfinite(sums), sums, 0)))


def sum_squares_cases():
    cases = [sum_squares_case(f"n{n}", Bits(f"sum_squares {n}").real(n)) for n in
             TAILS + (1023, 1024, 1025, 2048, 3000)]
    cases += [sum_squares_case(f"scale {s:g}", Bits(f"sum_squares {s}").real(50, s)) for s in (1e-15, 1e-3, 1e15)]
    for label, value in (("infinity", np.inf), ("nan", np.nan), ("too large", 1e30)):
        x = Bits("sum_squares special").real(1100)
        x[1030] = value
        cases.append(sum_squares_case(label, x))
    cases.append(sum_squares_case("zeros", np.zeros(40, dtype=np.float32)))
    return cases


def rescale_case(name, x, factor):
    with np.errstate(invalid="ignore", over="ignore"):
        y = x * np.float32(factor)
    return Case(name, [len(x), float(np.float32(factor))]).output("y", y, T0, init=x)


def rescale_cases():
    cases = [rescale_case(f"n{n}", Bits(f"rescale {n}").real(n), 0.7) for n in TAILS]
    cases += [rescale_case(f"factor {f:g}", Bits(f"rescale {f}").real(20), f) for f in (0.0, 1.0, -2.0, 1e-30, 1e30)]
    x = Bits("rescale special").real(20)
    x[0], x[1], x[2] = np.inf, np.nan, -0.0
    cases.append(rescale_case("specials", x, 0.5))
    cases.append(rescale_case("large", Bits("rescale large").real(3000), 0.3))
    return cases


def average_case(name, x, average, share):
    share = float(np.float32(share))
    with np.errstate(invalid="ignore"):
        y = average.astype(np.float64) + share * (x.astype(np.float64) - average.astype(np.float64))
    size = np.where(np.isfinite(y), np.abs(average) + share * (np.abs(x) + np.abs(average)), 0.0)
    return Case(name, [len(x), share]).input("x", x).output("y", exact.f32(y), t2(3, size), init=average)


def average_cases():
    def made(name, n, share):
        bits = Bits(f"average {name}")
        return average_case(name, bits.real(n), bits.real(n), share)
    cases = [made(f"n{n}", n, 0.1) for n in TAILS]
    cases += [made(f"share {s:g}", 20, s) for s in (0.0, 1.0, 1e-3, 0.5)]
    bits = Bits("average special")
    x, e = bits.real(20), bits.real(20)
    x[0], x[1], e[2], e[3] = np.inf, np.nan, np.inf, np.nan
    cases.append(average_case("specials", x, e, 0.25))
    cases.append(made("large", 3000, 0.05))
    return cases


KERNELS = {"sgd": sgd_cases, "adam": adam_cases, "lion": lion_cases, "sum_squares": sum_squares_cases,
           "rescale": rescale_cases, "average": average_cases}
