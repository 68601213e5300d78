# SPDX-License-Identifier: MIT
"""Prints the polynomial coefficients of include/qorus/base/elementary_f32.h and elementary_f64.h.

Needs mpmath and NumPy. Each fit is minimax in the weighted error (Remez exchange, 60 digits); the
coefficients are then rounded one by one, lowest degree first, the rest being fitted again.

    python3 coefficients.py [NAME ...]
"""
import struct
import sys

import numpy as np
from mpmath import (cos, erf, erfc, exp, expm1, log1p, lu_solve, matrix, mp, mpf, pi, sin, sqrt)

mp.dps = 60
GRID = 1500


def to_f32(x):
    # Through a double, so rounded twice: that moves nothing that matters here.
    return mpf(struct.unpack("<f", struct.pack("<f", float(x)))[0])


def to_f64(x):
    return mpf(float(x))


def grid(a, b, n):
    """Chebyshev points of [a, b], ascending."""
    return [(a + b) / 2 - (b - a) / 2 * cos(pi * (mpf(i) + mpf(1) / 2) / n) for i in range(n)]


def horner(c, x):
    y = mpf(0)
    for k in reversed(c):
        y = y * x + k
    return y


def remez(f, w, degree, first, xs):
    """Coefficients of x^first .. x^degree minimising max |w (f - p)| over the points xs."""
    n = degree - first + 1
    fs = [f(x) for x in xs]
    ws = [w(x) for x in xs]
    ref = [round(i * (len(xs) - 1) / n) for i in range(n + 1)]
    c = []
    for _ in range(40):
        a = matrix(n + 1, n + 1)
        r = matrix(n + 1, 1)
        for i, j in enumerate(ref):
            for k in range(n):
                a[i, k] = xs[j] ** (first + k)
            a[i, n] = (-1) ** i / ws[j]
            r[i] = fs[j]
        s = lu_solve(a, r)
        c = [s[k] for k in range(n)]
        err = [ws[i] * (fs[i] - xs[i] ** first * horner(c, xs[i])) for i in range(len(xs))]
        new = []
        for i, e in enumerate(err):  # one extremum per run of equal sign
            if new and (e > 0) == (err[new[-1]] > 0):
                if abs(e) > abs(err[new[-1]]):
                    new[-1] = i
            else:
                new.append(i)
        while len(new) > n + 1:  # drop from the weaker end
            new.pop(0 if abs(err[new[0]]) < abs(err[new[-1]]) else -1)
        if len(new) < n + 1 or new == ref:
            break
        ref = new
    return c, max(abs(e) for e in err)


def lawson(err, w, x, powers):
    """d minimising max |w (err - sum d_j x^powers[j])| over the arrays, in double."""
    a = np.stack([w * x ** p for p in powers], axis=1)
    scale = np.abs(a).max(axis=0)
    a = a / scale
    b = w * err
    u = np.full(len(x), 1.0 / len(x))
    best, best_d = np.abs(b).max(), np.zeros(len(powers))
    for _ in range(200):
        v = np.sqrt(u)
        d = np.linalg.lstsq(a * v[:, None], b * v, rcond=None)[0]
        e = np.abs(b - a @ d)
        if e.max() < best:
            best, best_d = e.max(), d
        if e.max() == 0:
            break
        u = u * e
        u = u / u.sum()
    return best_d / scale


def fit(name, f, w, a, b, degree, rounding, fixed=()):
    """Fits p(x) = sum c_k x^k to f on [a, b], weight w; prints the rounded coefficients."""
    xs = grid(mpf(a), mpf(b), GRID)
    fs = [f(x) for x in xs]
    part = [mpf(x) for x in fixed]
    wide, first = remez(lambda x: f(x) - horner(part, x), w, degree, len(part), xs)
    c = part + wide
    x64 = np.array([float(x) for x in xs])
    w64 = np.array([float(w(x)) for x in xs])
    for k in range(len(part), degree + 1):
        c[k] = rounding(c[k])
        if k < degree:
            err = np.array([float(fs[i] - horner(c, xs[i])) for i in range(len(xs))])
            d = lawson(err, w64, x64, range(k + 1, degree + 1))
            for j, v in enumerate(d):
                c[k + 1 + j] += mpf(float(v))
    worst = max(abs(w(x) * (fs[i] - horner(c, x))) for i, x in enumerate(xs))
    suffix = "f" if rounding is to_f32 else ""
    print("%s: minimax %s, rounded %s" % (name, mp.nstr(first, 3), mp.nstr(worst, 3)))
    for k, v in enumerate(c):
        print("    c%d = %s%s" % (k, shorter(float(v).hex()), suffix))
    return c


def shorter(text):
    """0x1.8000000000000p+1 as 0x1.8p+1."""
    mantissa, exponent = text.split("p")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return mantissa + "p" + exponent


def fit_exp(name, degree, rounding):
    """(e^r - 1 - r) / r^2 for |r| <= ln(2)/2."""
    f = lambda r: (expm1(r) - r) / r ** 2
    fit(name, f, lambda r: r ** 2 / exp(r), -0.3469, 0.3469, degree, rounding)


def fit_log_f32():
    """(log(1+f) - f + f^2/2) / f^3 for 2/3 <= 1+f <= 4/3."""
    g = lambda x: (log1p(x) - x + x ** 2 / 2) / x ** 3
    fit("log_f32", g, lambda x: abs(x ** 3 / log1p(x)), -0.3334, 0.3334, 7, to_f32)


def fit_log_f64():
    """log((1+s)/(1-s)) = 2s + 2/3 s^3 + s^5 R(s^2), sqrt(1/2) <= (1+s)/(1-s) <= sqrt(2)."""
    def r(z):
        s = sqrt(z)
        return (log1p(s) - log1p(-s) - 2 * s - 2 * s ** 3 / 3) / s ** 5
    fit("log_f64", r, lambda z: z ** 2, 1e-7, 0.02944, 6, to_f64)


def fit_sin(name, degree, rounding):
    """(sin x - x) / x^3 in z = x^2, |x| <= pi/4."""
    def g(z):
        x = sqrt(z)
        return (sin(x) - x) / x ** 3
    fit(name, g, lambda z: z, 1e-9, 0.61686, degree, rounding)


def fit_cos(name, degree, rounding):
    """(cos x - 1 + x^2/2) / x^4 in z = x^2, |x| <= pi/4."""
    def g(z):
        return (cos(sqrt(z)) - 1 + z / 2) / z ** 2
    fit(name, g, lambda z: z ** 2, 1e-6, 0.61686, degree, rounding)


def fit_erf(name, top, degree, rounding):
    """erf(x)/x - 1 in z = x^2, |x| <= top."""
    def g(z):
        x = sqrt(z)
        return erf(x) / x - 1
    fit(name, g, lambda z: sqrt(z) / erf(sqrt(z)), 1e-7, top ** 2, degree, rounding)


def normal_tail(t):
    """Probability beyond t of the normal distribution, times e^(t^2/2)."""
    return exp(t * t / 2) * erfc(t / sqrt(mpf(2))) / 2


def fit_tail_f32():
    """normal_tail(t) / v in y = 2v - 1, v = 1/(1 + t/4), 0 <= t <= 15."""
    def g(y):
        v = (y + 1) / 2
        return normal_tail((1 / v - 1) * 4) / v
    fit("tail_f32", g, lambda y: 1 / g(y), 2 / (1 + 15 / mpf(4)) - 1, 1, 9, to_f32)


def fit_tail_f64():
    """normal_tail(t) = P(t)/Q(t), 0 <= t <= 39, by 22 Chebyshev points of (t - 3.8)/(t + 3.8)."""
    n, mid, end = 11, mpf("3.8"), mpf(39)
    top = (end - mid) / (end + mid)
    points = lambda k: [mid * (1 + y) / (1 - y) for y in grid(mpf(-1), top, k)]
    a = matrix(2 * n, 2 * n)
    r = matrix(2 * n, 1)
    for i, t in enumerate(points(2 * n)):
        r[i] = normal_tail(t)
        for k in range(n):
            a[i, k] = t ** k
            a[i, n + k] = -r[i] * t ** (k + 1)
    s = lu_solve(a, r)
    p = [to_f64(s[k]) for k in range(n)]
    q = [mpf(1)] + [to_f64(s[n + k]) for k in range(n)]
    worst = max(abs(horner(p, t) / horner(q, t) / normal_tail(t) - 1) for t in points(GRID))
    print("tail_f64: rounded %s" % mp.nstr(worst, 3))
    for letter, c in (("p", p), ("q", q)):
        for k, v in enumerate(c):
            print("    %s%d = %s" % (letter, k, shorter(float(v).hex())))


FITS = {
    "exp_f32": lambda: fit_exp("exp_f32", 4, to_f32),
    "exp_f64": lambda: fit_exp("exp_f64", 9, to_f64),
    "log_f32": fit_log_f32,
    "log_f64": fit_log_f64,
    "sin_f64": lambda: fit_sin("sin_f64", 6, to_f64),
    "cos_f64": lambda: fit_cos("cos_f64", 6, to_f64),
    "erf_f32": lambda: fit_erf("erf_f32", 0.875, 5, to_f32),
    "erf_f64": lambda: fit_erf("erf_f64", 0.875, 10, to_f64),
    "tail_f32": fit_tail_f32,
    "tail_f64": fit_tail_f64,
}

if __name__ == "__main__":
    for fit_name in sys.argv[1:] or FITS:
        FITS[fit_name]()
