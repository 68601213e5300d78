# SPDX-License-Identifier: MIT
"""Vectors of attention_grad: the derivative of softmax(scale*QK^T)V, written down for whole matrices in float64."""
import math

import numpy as np

import exact
from bits import Bits
from qvec import BATCH, TOKENS, Case, t2


def matmul(a, b):
    """Exact products of matrices."""
    return exact.row_sums(a[:, None, :] * b.T[None, :, :])


def head_gradients(q, k, v, dout, seen, scale, softcap):
    """One head against its keys: what it needs and what comes out, with magnitudes; all float64, [rows][..]."""
    n, dim = q.shape
    raw = matmul(q, k.T) * scale
    doubt = math.sqrt(dim) * matmul(np.abs(q), np.abs(k).T) * abs(scale) + np.abs(raw)
    slope, slope_doubt = np.ones(raw.shape), np.zeros(raw.shape)
    s = raw
    if softcap > 0:
        t = exact.apply("tanh", raw / softcap)
        s, slope = softcap * t, 1.0 - t * t
        slope_doubt = 2 * np.abs(t) * (doubt / softcap + 2) * slope + 2
        doubt = doubt * slope + 3 * np.abs(s)
    s = np.where(seen, s, -np.inf)
    top = s.max(axis=1)
    e = np.where(seen, exact.apply("exp", np.where(seen, s - top[:, None], 0.0)), 0.0)
    lse = exact.f32(top + exact.apply("log", exact.row_sums(e))).astype(np.float64)
    p = np.where(seen, exact.apply("exp", np.where(seen, s - lse[:, None], 0.0)), 0.0)
    out = exact.f32(matmul(p, v) / exact.row_sums(p)[:, None]).astype(np.float64)
    delta = exact.row_sums(dout * out)
    inner = matmul(dout, v.T) - delta[:, None]
    spread = math.sqrt(dim) * (matmul(np.abs(dout), np.abs(v).T) + exact.row_sums(np.abs(dout * out))[:, None])
    weight = p * inner * slope * scale
    doubt = np.where(seen, doubt + np.abs(np.where(seen, s, 0.0) - lse[:, None]) + 4, 0.0)
    error = abs(scale) * p * (slope * (doubt * np.abs(inner) + spread) + np.abs(inner) * slope_doubt)
    return {"lse": lse, "out": out, "delta": delta, "delta_size": exact.row_sums(np.abs(dout * out)), "p": p, "e": weight,
            "p_error": p * doubt, "e_error": error}


def collect(error, size, other, terms):
    """Magnitude of a sum over the first axis of weight * other."""
    return matmul((error + math.sqrt(terms) * np.abs(size)).T, np.abs(other))


class Whole:
    """Gradients of every row of a step, head by head."""

    def __init__(self, bits, rows, heads, kv_heads, dim, sharp):
        self.q = bits.real((rows, heads, dim), 2.0 * sharp)
        self.k = bits.real((rows, kv_heads, dim), 2.0)
        self.v = bits.real((rows, kv_heads, dim), 1.0)
        self.dout = bits.real((rows, heads, dim), 1.0)
        self.rest = {name: np.zeros((rows, heads)) for name in ("lse", "delta", "delta_size")}
        self.out = np.zeros((rows, heads, dim))
        self.grad = {name: np.zeros(x.shape) for name, x in (("dq", self.q), ("dk", self.k), ("dv", self.v))}
        self.size = {name: np.zeros(x.shape) for name, x in self.grad.items()}

    def add(self, at, head, kv, seen, scale, softcap, group):
        """Rows `at` (a slice) of one head."""
        q, k, v, dout = (x[at, h].astype(np.float64) for x, h in ((self.q, head), (self.k, kv), (self.v, kv),
                                                                  (self.dout, head)))
        g = head_gradients(q, k, v, dout, seen, scale, softcap)
        n = len(q)
        for name in self.rest:
            self.rest[name][at, head] = g[name]
        self.out[at, head] = g["out"]
        self.grad["dq"][at, head] = matmul(g["e"], k)
        self.size["dq"][at, head] = collect(g["e_error"].T, g["e"].T, k, n)
        self.grad["dk"][at, kv] += matmul(g["e"].T, q)
        self.size["dk"][at, kv] += collect(g["e_error"], g["e"], q, n * group)
        self.grad["dv"][at, kv] += matmul(g["p"].T, dout)
        self.size["dv"][at, kv] += collect(g["p_error"], g["p"], dout, n * group)


def case_of(name, heads, kv_heads, dim, parts, window=0, full=0, samples=False, softcap=0.0, sharp=1.0, scale=None,
            accumulate=0, wanted=("dq", "dk", "dv"), gap=0, lengths=None):
    """parts: rows of every span (or sample). lengths: rows of every sample that count; of the others delta stays."""
    bits = Bits(f"attention_grad/{name}")
    rows, group = sum(parts), heads // kv_heads
    scale = float(np.float32(1.0 / math.sqrt(dim) if scale is None else scale))
    w = Whole(bits, rows, heads, kv_heads, dim, sharp)
    first = 0
    for part, every in enumerate(parts):
        n = every if lengths is None else lengths[part]
        i, j = np.arange(n)[:, None], np.arange(n)[None, :]
        seen = np.ones((n, n), dtype=bool) if full else (j <= i) & ((j + window > i) if window else True)
        for h in range(heads):
            w.add(slice(first, first + n), h, h // group, seen, scale, float(np.float32(softcap)), group)
        first += every
    per_sample = parts[0] if samples else 0
    count = [per_sample, BATCH] if samples else [1, TOKENS]
    run = {"n_batch": len(parts)} if samples else {"n_tokens": rows}
    case = Case(name, count + [heads, kv_heads, dim, window, full, per_sample, accumulate, scale, softcap], **run)
    if not samples and len(parts) > 1:
        case.spans([(len(parts) - 1 - i, 0, n) for i, n in enumerate(parts)])
    for role, x in (("q", w.q), ("k", w.k), ("v", w.v), ("out", exact.f32(w.out)), ("dout", w.dout)):
        case.input(role, x.reshape(rows, -1), gap=gap, shift=4 if gap else 0)
    case.input("lse", exact.f32(w.rest["lse"]))
    if lengths is not None:
        case.input("ids", np.array(lengths, dtype=np.int32))
    case.output("delta", exact.f32(w.rest["delta"]), t2(dim, w.rest["delta_size"]),
                init=None if lengths is None else np.zeros((rows, heads), np.float32))
    for i, role in enumerate(("dq", "dk", "dv")):
        value, size = w.grad[role].reshape(rows, -1), w.size[role].reshape(rows, -1)
        start = bits.real(value.shape) if accumulate >> i & 1 else None
        if start is not None:
            value, size = value + start.astype(np.float64), size + math.sqrt(rows) * np.abs(start)
        if role in wanted:
            case.output(role, exact.f32(value), t2(1, size), init=start, gap=gap, shift=4 if gap else 0)
    return case


def attention_grad_cases():
    cases = [case_of(f"head_dim {d}", 2, 1, d, [4]) for d in (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 64)]
    cases += [case_of(f"rows {n}", 1, 1, 2, [n]) for n in (1, 2, 17, 63, 64, 65)]
    cases += [case_of(f"{h} heads on {g}", h, g, 6, [5]) for h, g in ((1, 1), (4, 4), (6, 2), (5, 1), (9, 3))]
    cases += [case_of(f"window {w} of {n}", 1, 1, 3, [n], window=w) for w, n in ((1, 5), (3, 9), (16, 30), (20, 70),
                                                                                 (100, 12))]
    cases += [case_of(f"softcap {c}", 2, 1, 8, [9], softcap=c, sharp=s) for c, s in ((50.0, 1.0), (2.0, 2.0), (0.5, 1.0))]
    cases.append(case_of("softcap and window", 2, 2, 8, [12], window=5, softcap=5.0, sharp=2.0))
    cases += [case_of(f"scale {s}", 2, 1, 8, [7], scale=s) for s in (1.0, 0.0, 0.0625)]
    cases += [case_of(f"sharp {s}", 2, 1, 8, [20], sharp=s) for s in (4.0, 10.0)]
    cases += [case_of(f"accumulate {a}", 2, 1, 9, [6], accumulate=a) for a in (1, 2, 4, 7)]
    cases.append(case_of("accumulate over blocks", 2, 1, 2, [66], accumulate=7))
    cases += [case_of(f"{role} alone", 2, 1, 8, [7], wanted=(role,)) for role in ("dq", "dk", "dv")]
    cases += [case_of(f"without {role}", 2, 2, 8, [5], wanted=tuple({"dq", "dk", "dv"} - {role})) for role in
              ("dq", "dk", "dv")]
    cases.append(case_of("strided", 3, 1, 5, [8], gap=12))
    cases.append(case_of("strided, accumulate", 3, 1, 5, [8], gap=12, accumulate=7))
    cases += [case_of("spans", 4, 2, 6, [5, 1, 9]), case_of("spans over blocks", 1, 1, 2, [66, 3, 20]),
              case_of("spans, window and softcap", 2, 2, 8, [12, 4], window=5, softcap=5.0)]
    cases += [case_of(f"samples of {n}", 2, 1, 6, [n] * b, samples=True) for n, b in ((1, 3), (5, 4), (17, 2))]
    cases += [case_of(f"full {n}", 1, 1, 3, [n], full=1) for n in (1, 5, 17, 66)]
    cases += [case_of("full spans", 4, 2, 6, [5, 1, 9], full=1),
              case_of("full samples, softcap", 2, 2, 8, [6] * 3, full=1, samples=True, softcap=3.0)]
    cases += [case_of("full samples, padded", 4, 2, 6, [9] * 4, full=1, samples=True, lengths=(4, 9, 1, 8)),
              case_of("full samples, padded over blocks", 1, 1, 2, [70] * 2, full=1, samples=True, lengths=(3, 66)),
              case_of("causal samples, padded, accumulate", 2, 1, 6, [7] * 3, samples=True, lengths=(6, 1, 3), accumulate=7, gap=12),
              case_of("causal samples, padded, window", 2, 2, 8, [12] * 2, samples=True, lengths=(5, 11), window=4)]
    cases.append(case_of("large", 2, 1, 8, [66, 5]))
    return cases


KERNELS = {"attention_grad": attention_grad_cases}
