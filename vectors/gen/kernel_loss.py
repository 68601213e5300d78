# SPDX-License-Identifier: MIT
"""Vectors of pair_loss, cross_entropy and cross_entropy_grad."""
import numpy as np

import exact
from bits import Bits
from kernel_elementwise import DIMS
from kernel_gemm import count_of
from kernel_language import put, wide
from qvec import BATCH, ONE, SELECTED, TOKENS, Case, t2

KINDS = ("mse", "huber", "bce")


# ---- Pairs -------------------------------------------------------------------------------------------------

def softplus(x):
    """log(1 + exp(-|x|))."""
    return exact.apply("log", 1.0 + exact.apply("exp", -np.abs(x))) if x.size else x


def pair(kind, x, t, w, delta):
    """Loss and slopes of every pair, each with the size of its terms."""
    d, size = x - t, np.abs(x) + np.abs(t)
    if kind == "mse":
        return (d * d, d * d), (2 * d, np.abs(2 * d)), (-2 * d, np.abs(2 * d))
    if kind == "huber":
        loss = np.where(np.abs(d) <= delta, d * d / 2, delta * (np.abs(d) - delta / 2))
        slope = np.clip(d, -delta, delta)
        return (loss, np.minimum(d * d, delta * (size + delta))), (slope, np.abs(slope)), (-slope, np.abs(slope))
    rest, k, g = softplus(x), 1.0 + (w - 1.0) * t, exact.apply("sigmoid", x)
    small = exact.apply("exp", -np.abs(x))
    loss = k * rest + np.where(x >= 0, (1 - t) * x, -w * t * x)
    loss_size = np.abs(k) * small * 2 + np.abs(np.where(x >= 0, (1 - t) * x, w * t * x))
    dt = np.where(x >= 0, -x, -w * x) + (w - 1) * rest
    return (loss, loss_size), (k * g - w * t, np.abs(k * g) + np.abs(w * t)), (dt, np.abs(x * w) + np.abs(x) + np.abs(w - 1) * small * 2)


def pair_case(kind, name, rows, dim, outputs="lxt", accumulate=0, sym=BATCH, gap=0, spread=3.0, delta=1.0, scale=1.0,
              weights=False, sure=False):
    bits = Bits(f"pair_loss/{kind} {name}")
    x, t = bits.real((rows, dim), spread), bits.real((rows, dim), spread)
    if kind == "bce":
        t = np.abs(bits.real((rows, dim)))
        t[:, ::2] = np.round(t[:, ::2])
    if sure:  # right beyond doubt: nothing is left of the loss but log(1 + exp(-|x|)), and 1 + exp(-|x|) rounds
        x = np.copysign(np.float32(12) + np.abs(x), x)
        t = (x > 0).astype(np.float32)
    w = np.abs(bits.real(dim, 3.0)) if weights else np.ones(dim, dtype=np.float32)
    delta, scale = np.float32(delta), np.float32(scale)
    loss, dx, dt = pair(kind, wide(x), wide(t), wide(w)[None, :], float(delta))
    n, run = count_of(sym, rows)
    case = Case(f"{kind} {name}", [n, sym, dim, KINDS.index(kind), accumulate, delta, scale], **run)
    case.input("x", x, gap=gap, shift=4 if gap else 0).input("target", t, gap=gap)
    if weights:
        case.input("weights", w)
    if "l" in outputs:
        case.output("loss", exact.f32(exact.row_sums(loss[0])), t2(dim + 8, exact.row_sums(loss[1])))
    for letter, role, bit, (value, size) in (("x", "dx", 1, dx), ("t", "db", 2, dt)):
        if letter in outputs:
            start = bits.real((rows, dim)) if accumulate & bit else None
            put(case, role, value * float(scale), size * abs(float(scale)), 6, start, gap)
    return case


def pair_cases():
    cases = []
    for k, kind in enumerate(KINDS):
        cases += [pair_case(kind, f"d{d}", 1, d) for i, d in enumerate(DIMS) if (i + k) % 2 == 0 or d == 16]
        cases += [pair_case(kind, f"r{r}", r, 9, sym=ONE) for r in (1, 3, 8)]
        cases += [pair_case(kind, f"accumulate {a}", 3, 19, accumulate=a, scale=0.5) for a in (1, 2, 3)]
        cases += [pair_case(kind, f"outputs {o}", 3, 18, outputs=o, scale=s) for o, s in (("l", 1), ("x", -1.5), ("t", 3))]
        cases += [pair_case(kind, f"spread {s}", 1, 20, spread=s) for s in (1e-3, 30.0)]
        cases += [pair_case(kind, "strided", 4, 19, gap=12), pair_case(kind, "no rows", 0, 6, sym=SELECTED),
                  pair_case(kind, "large", 2, 70), pair_case(kind, "tokens", 4, 6, sym=TOKENS)]
    cases += [pair_case("huber", f"delta {d}", 3, 21, delta=d) for d in (0.1, 2.5)]
    cases += [pair_case("bce", f"weights d{d}", 3, d, weights=True) for d in (1, 16, 21)]
    cases.append(pair_case("bce", "sure", 3, 21, spread=12.0, sure=True))
    cases.append(pair_case("bce", "weights, accumulate", 3, 21, weights=True, accumulate=3, scale=0.25))
    return cases


# ---- Cross-entropy -----------------------------------------------------------------------------------------

def logits_of(bits, rows, classes, spread, ignored):
    x = bits.real((rows, classes), spread)
    target = bits.ints((rows,), 0, classes).astype(np.int32)
    if ignored:
        target[::3] = -100
    return x, target


def lse_of(x):
    top = x.max(axis=1) if len(x) else np.zeros(0)
    total = exact.apply("log", exact.row_sums(exact.apply("exp", x - top[:, None]))) if len(x) else np.zeros(0)
    return top, total


def entropy_case(name, rows, classes, smoothing=0.0, weights=False, ignored=False, sym=BATCH, gap=0, spread=4.0,
                 grad=False, accumulate=0, scale=1.0):
    bits = Bits(f"cross_entropy/{grad}/{name}")
    x, target = logits_of(bits, rows, classes, spread, ignored)
    w = np.abs(bits.real(classes, 2.0)) + np.float32(0.1) if weights else np.ones(classes, dtype=np.float32)
    s, scale = float(np.float32(smoothing)), np.float32(scale)
    kept, y = target != -100, np.where(target == -100, 0, target)
    each = np.arange(rows)
    top, total = lse_of(wide(x))
    u = total[:, None] - (wide(x) - top[:, None])
    own = wide(w)[y]
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, classes, -100 if grad or ignored else -1, accumulate, smoothing, scale], **run)
    case.input("x", x, gap=gap, shift=4 if gap else 0).input("ids", target)
    if weights:
        case.input("weights", w)
    if not grad:
        size = total[:, None] + np.abs(wide(x)) + np.abs(top[:, None]) + 1
        loss = (1 - s) * own * u[each, y] + s / classes * exact.row_sums(u * wide(w)[None, :])
        magnitude = (1 - s) * own * size[each, y] + s / classes * exact.row_sums(size * wide(w)[None, :])
        pair_of = np.stack([top, total], axis=1)
        case.output("lse", exact.f32(pair_of), t2(classes + 4, np.stack([np.abs(top), total + 1], axis=1)))
        case.output("loss", exact.f32(np.where(kept, loss, 0.0)), t2(classes + 8, np.where(kept, magnitude, 0.0)))
        return case.output("scale", exact.f32(np.where(kept, own, 0.0)), t2(1, np.where(kept, own, 0.0)))
    case.input("lse", exact.f32(np.stack([top, total], axis=1)))
    lse = wide(exact.f32(np.stack([top, total], axis=1)))
    p = exact.apply("exp", wide(x) - lse[:, :1] - lse[:, 1:])
    q = (1 - s) * own + s / classes * np.sum(wide(w))
    h = np.repeat(s / classes * wide(w)[None, :], rows, axis=0)
    h[each, y] += (1 - s) * own
    spreadsize = np.abs(wide(x)) + np.abs(lse[:, :1]) + np.abs(lse[:, 1:]) + 2
    value = np.where(kept[:, None], (p * q[:, None] - h) * float(scale), 0.0)
    size = np.where(kept[:, None], (p * q[:, None] * spreadsize + h) * abs(float(scale)), 0.0)
    return put(case, "dx", value, size, 8, bits.real((rows, classes)) if accumulate else None, gap)


def entropy_cases(grad):
    def make(name, rows, classes, **named):
        return entropy_case(name, rows, classes, grad=grad, **named)

    options = (("", {}), (" smoothing", {"smoothing": 0.1}), (" weights", {"weights": True}),
               (" weights, smoothing", {"weights": True, "smoothing": 0.3}))
    cases = [make(f"c{d}{options[k % 4][0]}", 3, d, **options[k % 4][1]) for k, d in enumerate(DIMS)]
    cases += [make(f"r{r}", r, 10, sym=ONE) for r in (1, 2, 5, 16)]
    cases += [make(f"ignored{name}", 7, 19, ignored=True, **named) for name, named in options]
    cases += [make(f"spread {s}", 3, 20, spread=s, smoothing=0.1) for s in (1e-3, 300.0)]
    cases += [make("smoothing 1", 3, 17, smoothing=1.0), make("strided", 4, 19, gap=12), make("tokens", 4, 6, sym=TOKENS),
              make("no rows", 0, 6, sym=SELECTED), make("large", 2, 130, smoothing=0.1, weights=True)]
    if grad:
        cases += [make(f"accumulate{name}", 4, 18, accumulate=1, ignored=True, scale=0.5, **named) for name, named in options]
        cases += [make(f"scale {s}", 3, 12, scale=s) for s in (-2.0, 1e-3)]
    return cases


KERNELS = {"pair_loss": pair_cases, "cross_entropy": lambda: entropy_cases(False),
           "cross_entropy_grad": lambda: entropy_cases(True)}
