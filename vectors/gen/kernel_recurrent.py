# SPDX-License-Identifier: MIT
"""Vectors of rnn_cell, lstm_cell, gru_cell and their gradients."""
import numpy as np

import exact
from bits import Bits
from qvec import ACTIVATIONS, T0, Case, t2

DIMS = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33)
TANH, RELU = ACTIVATIONS.index("tanh"), ACTIVATIONS.index("relu")


class Value:
    """A float64 array and a bound, in units of u, of the error that F32 arithmetic makes on the way to it."""

    def __init__(self, v, s=0.0):
        self.v = np.asarray(v, dtype=np.float64)
        s = np.broadcast_to(np.asarray(s, dtype=np.float64), self.v.shape)
        self.s = np.where(np.isfinite(s), s, 0.0)  # behind infinities only saturated values are finite: exact

    def rounded(self, v, s):
        return Value(v, s + np.abs(v))

    def __add__(self, other):
        return self.rounded(self.v + other.v, self.s + other.s)

    def __sub__(self, other):
        return self.rounded(self.v - other.v, self.s + other.s)

    def __mul__(self, other):
        return self.rounded(self.v * other.v, np.abs(self.v) * other.s + np.abs(other.v) * self.s)

    def fma(self, other, addend):
        v = self.v * other.v + addend.v
        return self.rounded(v, np.abs(self.v) * other.s + np.abs(other.v) * self.s + addend.s)

    def apply(self, name):
        """sigmoid or tanh, which may err by a unit in the last place themselves."""
        y = exact.apply(name, self.v)
        slope = y * (1 - y) if name == "sigmoid" else 1 - y * y
        return Value(y, 2 * np.abs(y) + slope * self.s)

    def tolerance(self):
        return t2(1, self.s)

    def f32(self):
        return exact.f32(self.v)


ONE = Value(1.0)


def slope_tanh(t):
    return Value(-t.v, t.s).fma(t, ONE)


def slope_sigmoid(s):
    return s * (ONE - s)


# ---- The mathematics: blocks in, blocks out ------------------------------------------------------------------

def rnn_forward(x, r, h, c, activation):
    a = x[0] + r[0]
    out = a.apply("tanh") if activation == TANH else Value(exact.relu(a.v), a.s)
    return [out], out, None


def lstm_forward(x, r, h, c, activation):
    i, f, o = ((x[b] + r[b]).apply("sigmoid") for b in (0, 1, 3))
    g = (x[2] + r[2]).apply("tanh")
    c = f.fma(c, i * g)
    return [i, f, g, o], o * c.apply("tanh"), c


def gru_forward(x, r, h, c, activation):
    reset, z = ((x[b] + r[b]).apply("sigmoid") for b in (0, 1))
    n = reset.fma(r[2], x[2]).apply("tanh")
    return [reset, z, n, r[2]], z.fma(h - n, n), None


def rnn_backward(gates, h, c, dy, dh, dc, activation):
    g = dy + dh
    da = g * slope_tanh(gates[0])
    if activation == RELU:
        da = Value(np.where(gates[0].v > 0, g.v, 0.0), g.s)
    return [da], [da], dh, None


def lstm_backward(gates, h, c, dy, dh, dc, activation):
    i, f, g, o = gates
    t = f.fma(c, i * g).apply("tanh")
    total = dy + dh
    dc = (total * o).fma(slope_tanh(t), dc)
    out = [(dc * g) * slope_sigmoid(i), (dc * c) * slope_sigmoid(f), (dc * i) * slope_tanh(g),
           (total * t) * slope_sigmoid(o)]
    return out, out, dh, dc * f


def gru_backward(gates, h, c, dy, dh, dc, activation):
    r, z, n, hn = gates
    total = dy + dh
    dn = (total * (ONE - z)) * slope_tanh(n)
    dr = (dn * hn) * slope_sigmoid(r)
    dz = (total * (h - n)) * slope_sigmoid(z)
    return [dr, dz, dn, dn * r], [dr, dz, dn * r], total * z, None


# kernel: forward, backward, blocks of weights, blocks kept, has c
KINDS = {"rnn": (rnn_forward, rnn_backward, 1, 1, False), "lstm": (lstm_forward, lstm_backward, 4, 4, True),
         "gru": (gru_forward, gru_backward, 3, 4, False)}


# ---- Cases -----------------------------------------------------------------------------------------------------

def blocks_of(matrix, dim):
    return [Value(matrix[:, b * dim:(b + 1) * dim]) for b in range(matrix.shape[1] // dim)]


def joined(blocks):
    return Value(np.concatenate([b.v for b in blocks], axis=1), np.concatenate([b.s for b in blocks], axis=1))


def rows_of(name, n, spread):
    """n different rows of n + spread, in no order."""
    keys = Bits(f"recurrent rows/{name}").u64(n + spread)
    return np.argsort(keys, kind="stable")[:n].astype(np.int32)


class Operands:
    """Random operands of a case; special(array) may change them."""

    def __init__(self, name, kind, n, dim, spread, scale, special):
        _, _, self.blocks, self.kept, self.has_c = KINDS[kind]
        self.row = rows_of(name, n, spread)
        self.total = n + spread
        self.bits = Bits(f"{kind}_cell/{name}")
        self.scale, self.special, self.n, self.dim = scale, special, n, dim

    def real(self, rows, blocks, scale=None):
        x = self.bits.real((rows, blocks * self.dim), self.scale if scale is None else scale)
        if self.special is not None and rows:
            self.special(x)
        return x

    def scattered(self, before, value):
        """Rows of the step: `value` where row[] says, the rest as before."""
        out, s = before.copy(), np.zeros(before.shape)
        out[self.row, :value.v.shape[1]] = value.f32()
        s[self.row, :value.v.shape[1]] = value.s
        return out, t2(1, s)


def forward_case(name, kind, n, dim, activation=TANH, spread=2, gap=0, keep=True, scale=2.0, special=None):
    o = Operands(name, kind, n, dim, spread, scale, special)
    gates, recurrent = o.real(o.total, o.kept), o.real(n, o.blocks)
    h, c = o.real(n, 1, 1.0), o.real(n, 1)
    with np.errstate(all="ignore"):
        left, h_new, c_new = KINDS[kind][0](blocks_of(gates[o.row], dim), blocks_of(recurrent, dim), Value(h), Value(c),
                                            activation)
    shift = 4 if gap else 0
    case = Case(name, [n, dim, activation if kind == "rnn" else 0])
    case.input("ids", o.row).input("recurrent", recurrent, gap=gap, shift=shift)
    expected, tolerance = o.scattered(gates, joined(left))
    case.output("gates", expected, tolerance, init=gates, gap=gap, shift=shift)
    case.output("h", h_new.f32(), h_new.tolerance(), init=h, gap=gap, shift=shift)
    if o.has_c:
        case.output("c", c_new.f32(), c_new.tolerance(), init=c, gap=gap, shift=shift)
    before = o.real(o.total, 1)
    expected, tolerance = o.scattered(before, h_new)
    case.output("out", expected, tolerance, init=before, gap=gap * 2, shift=shift)
    for role, state in (("h_prev", h), ("c_prev", c)):
        if keep and (role == "h_prev" or o.has_c):
            kept = before.copy()
            kept[o.row] = state
            case.output(role, kept, T0, init=before, gap=gap, shift=shift)
    return case


def gradient_case(name, kind, n, dim, activation=TANH, spread=2, gap=0, scale=1.0, special=None):
    o = Operands(f"{name} gradient", kind, n, dim, spread, scale, special)
    gates = o.real(o.total, o.kept)
    h, c, dy = o.real(o.total, 1), o.real(o.total, 1), o.real(o.total, 1)
    dh, dc = o.real(n, 1), o.real(n, 1)
    with np.errstate(all="ignore"):
        x_part, h_part, dh_new, dc_new = KINDS[kind][1](
            blocks_of(gates[o.row], dim), Value(h[o.row]), Value(c[o.row]), Value(dy[o.row]), Value(dh), Value(dc),
            activation)
    shift = 4 if gap else 0
    case = Case(name, [n, dim, activation if kind == "rnn" else 0])
    case.input("ids", o.row).input("dy", dy, gap=gap, shift=shift)
    if kind == "gru":
        case.input("h_prev", h, gap=gap, shift=shift)
    if o.has_c:
        case.input("c_prev", c, gap=gap, shift=shift)
    expected, tolerance = o.scattered(gates, joined(x_part))
    case.output("gates", expected, tolerance, init=gates, gap=gap, shift=shift)
    part = joined(h_part)
    case.output("recurrent", part.f32(), part.tolerance(), gap=gap, shift=shift)
    case.output("dh", dh_new.f32(), dh_new.tolerance() if kind == "gru" else T0, init=dh, gap=gap, shift=shift)
    if o.has_c:
        case.output("dc", dc_new.f32(), dc_new.tolerance(), init=dc, gap=gap, shift=shift)
    return case


def sprinkle(values, every):
    """Puts each of the values into a matrix, one in `every` elements."""
    def special(x):
        flat = x.reshape(-1)
        picks = np.arange(0, flat.size, every)
        flat[picks] = np.array(values, dtype=np.float32)[np.arange(len(picks)) % len(values)]
    return special


SPECIALS = (0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1e12)
ZEROS = (0.0, -0.0)


def cases(make, kind):
    out = [make(f"d{d}", kind, 3, d) for d in DIMS]
    out += [make(f"n{n}", kind, n, 10) for n in (1, 2, 4, 7, 16, 17)]
    out += [make(f"no spread, n{n}", kind, n, 18, spread=0) for n in (1, 5)]
    out.append(make("many rows", kind, 3, 9, spread=40))
    out.append(make("none", kind, 0, 9))
    out += [make(f"strided d{d}", kind, 4, d, gap=12) for d in (9, 16, 19)]
    out += [make(f"scale {s}", kind, 3, 20, scale=s) for s in (1e-4, 0.1, 8.0, 40.0)]
    out.append(make("zeros", kind, 3, 18, special=sprinkle(ZEROS, 1)))
    out.append(make("specials", kind, 4, 35, special=sprinkle(SPECIALS, 9)))
    out.append(make("specials often", kind, 6, 40, special=sprinkle(SPECIALS, 3)))
    out.append(make("large", kind, 11, 70))
    if kind == "rnn":
        out += [make(f"relu d{d}", kind, 3, d, activation=RELU) for d in DIMS]
        out.append(make("relu zeros", kind, 3, 18, activation=RELU, special=sprinkle(ZEROS, 1)))
        out.append(make("relu specials", kind, 4, 35, activation=RELU, special=sprinkle(SPECIALS, 5)))
        out.append(make("relu strided", kind, 4, 19, activation=RELU, gap=8))
        out.append(make("relu large", kind, 11, 70, activation=RELU))
    return out


def forward_cases(kind):
    return cases(forward_case, kind) + [forward_case(f"nothing kept d{d}", kind, 3, d, keep=False) for d in (7, 16, 33)]


def gradient_cases(kind):
    return cases(gradient_case, kind)


KERNELS = {f"{kind}_cell": (lambda kind=kind: forward_cases(kind)) for kind in KINDS}
KERNELS.update({f"{kind}_cell_grad": (lambda kind=kind: gradient_cases(kind)) for kind in KINDS})
