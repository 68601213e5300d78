# SPDX-License-Identifier: MIT
"""What is right: float64 sums that are correctly rounded and elementary functions from exact decimal arithmetic.

NumPy's own sums depend on the order a CPU prefers, and its exp, sin and tanh on the vector unit. Sums here go
through math.fsum (the exact sum, rounded once), functions through the decimal module, so the last bit is the
same on every machine. Products, quotients and square roots of float64 are IEEE operations and come from NumPy.
"""
import math
from decimal import Decimal, localcontext

import numpy as np

DIGITS = 60
ERF_DIGITS = 140
LIMIT = Decimal(2000)  # exp of more is infinity in float64 and in F32 alike
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798"
             "2148086513282306647093844609550582231725359408128481117450284102701938521105559644622948954930381964")


def fsum(values):
    """Exact sum rounded to float64; infinities of both signs give NaN."""
    try:
        return math.fsum(values)
    except ValueError:
        return math.nan


def row_sums(a):
    """fsum along the last axis of an array."""
    flat = a.reshape(-1, a.shape[-1]) if a.shape[-1] else np.zeros((int(np.prod(a.shape[:-1])), 1))
    return np.array([fsum(row) for row in flat.tolist()], dtype=np.float64).reshape(a.shape[:-1])


def _exp(x):
    return max(min(x, LIMIT), -LIMIT).exp()


def _sin_cos(x, first):
    """Taylor series from term `first` (0: cos, 1: sin) after reduction to [-pi, pi]."""
    x = x.remainder_near(2 * PI)
    term = x if first else Decimal(1)
    total = term
    n = first
    while abs(term) > Decimal(10) ** -(DIGITS - 5):
        term = -term * x * x / ((n + 1) * (n + 2))
        n += 2
        total += term
    return total


def _tanh(x):
    t = _exp(2 * abs(x))
    return ((t - 1) / (t + 1)).copy_sign(x)


def _erf_plus_1(x):
    """1 + erf(x), with relative precision also where it is tiny."""
    term = x
    total = x
    n = 0
    while abs(term) > Decimal(10) ** -(ERF_DIGITS - 5):
        n += 1
        term = -term * x * x / n
        total += term / (2 * n + 1)
    return 1 + 2 * total / PI.sqrt()


def _sigmoid(x):
    return 1 / (1 + _exp(-x))


def _gelu_tanh(x):
    u = (2 / PI).sqrt() * (x + Decimal("0.044715") * x * x * x)
    return x * _sigmoid(2 * u)


def _gelu_erf(x):
    if x < -20:
        return Decimal(0).copy_sign(x)
    return x if x > 20 else x * _erf_plus_1(x / Decimal(2).sqrt()) / 2


# name: (function, value at -infinity, value at +infinity)
_FUNCTIONS = {
    "exp": (_exp, 0.0, math.inf),
    "log": (lambda x: x.ln(), math.nan, math.inf),
    "sin": (lambda x: _sin_cos(x, 1), math.nan, math.nan),
    "cos": (lambda x: _sin_cos(x, 0), math.nan, math.nan),
    "tanh": (_tanh, -1.0, 1.0),
    "sigmoid": (_sigmoid, 0.0, 1.0),
    "silu": (lambda x: x * _sigmoid(x), -0.0, math.inf),
    "gelu_tanh": (_gelu_tanh, -0.0, math.inf),
    "gelu_erf": (_gelu_erf, -0.0, math.inf),
}


def _apply(function, low, high, x):
    if math.isnan(x):
        return math.nan
    if math.isinf(x):
        return high if x > 0 else low
    return float(function(Decimal(x)))


def apply(name, x):
    """Elementary function of a float64 array, correctly rounded to float64 but for double rounding."""
    function, low, high = _FUNCTIONS[name]
    x = np.asarray(x, dtype=np.float64)
    with localcontext() as context:
        context.prec = ERF_DIGITS if name == "gelu_erf" else DIGITS
        context.Emax = 999999
        context.Emin = -999999
        out = [_apply(function, low, high, v) for v in x.reshape(-1).tolist()]
    return np.array(out, dtype=np.float64).reshape(x.shape)


def relu(x):
    """max(x, 0); NaN stays NaN."""
    return np.where(np.isnan(x), x, np.where(x > 0, x, 0.0))


def f32(x):
    """float64 -> F32, rounded once."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return np.asarray(x).astype(np.float32)
