# SPDX-License-Identifier: MIT
"""Vectors of the products: gemm_* and gemm_a8_* over panels, matmul over plain matrices."""
import functools
import math

import numpy as np
from qorus_py import panel, quant

import exact
from bits import Bits
from qvec import A8, A8X2, ACTIVATIONS, BATCH, ONE, ROWS, SELECTED, T0, TOKENS, Case, t1, t2

DTYPES = {"f32": quant.F32, "f16": quant.F16, "bf16": quant.BF16, "q8_0": quant.Q8_0, "q4_0": quant.Q4_0,
          "q4_1": quant.Q4_1}
LIPSCHITZ = 1.13  # largest slope of any activation (GELU)


# ---- Weights ---------------------------------------------------------------------------------------------

def weights(bits, dtype, m, k):
    """Plain rows whose values are near uniform in +-1/sqrt(k), every quant value possible."""
    scale = 1.0 / math.sqrt(k)
    if not quant.is_quantised(dtype):
        return quant.quantize(bits.real((m, k), scale), dtype)
    blocks = k // quant.BLOCK
    top = 127 if dtype == quant.Q8_0 else 8
    d = quant.to_f16_bits(np.abs(bits.real((m, blocks), scale / top)) + np.float32(scale / top / 4))
    parts = [d.reshape(m, blocks, 1).view(np.uint8)]
    if dtype == quant.Q4_1:
        low = quant.to_f16_bits(bits.real((m, blocks), scale) - np.float32(scale / 2))
        parts.append(low.reshape(m, blocks, 1).view(np.uint8))
    if dtype == quant.Q8_0:
        parts.append(bits.ints((m, blocks, 32), -128, 128).astype(np.int8).view(np.uint8))
    else:
        parts.append(bits.ints((m, blocks, 16), 0, 256).astype(np.uint8))
    return np.concatenate(parts, axis=2).reshape(m, -1)


def exact_values(raw, dtype):
    """Weights as float64 without any rounding."""
    if not quant.is_quantised(dtype):
        return quant.dequantize(raw, dtype).astype(np.float64)
    d, low, q = quant.fields(raw, dtype)
    q = q.reshape(*d.shape, quant.BLOCK).astype(np.float64) - (8.0 if dtype == quant.Q4_0 else 0.0)
    value = d[:, :, None].astype(np.float64) * q
    if low is not None:
        value = value + low[:, :, None].astype(np.float64)
    return value.reshape(len(raw), -1)


# ---- Epilogue --------------------------------------------------------------------------------------------

def make_epilogue(bits, parts, rows, m, activation):
    """Random operands of an epilogue; parts names them."""
    e = {name: bits.real(m, 1.0) for name in ("bias", "scale", "shift") if name in parts}
    e.update({name: bits.real((rows, m), 1.0) for name in ("gate", "residual") if name in parts})
    e["activation"] = activation
    return e


def apply_activation(name, y):
    if name == "none":
        return y
    return exact.relu(y) if name == "relu" else exact.apply(name, y)


def finish(y, s, e):
    """Epilogue on float64 chains y with magnitudes s: (reference, magnitude, extra roundings)."""
    extra = 0
    with np.errstate(invalid="ignore", over="ignore"):
        if "scale" in e:
            y, s, extra = y * e["scale"].astype(np.float64), s * np.abs(e["scale"]), extra + 1
        if "shift" in e:
            y, s, extra = y + e["shift"].astype(np.float64), s + np.abs(e["shift"]), extra + 1
        if e["activation"] != "none":
            y = apply_activation(e["activation"], y)
            s, extra = LIPSCHITZ * s + np.abs(y), extra + 2
        if "gate" in e:
            y, s, extra = y * e["gate"].astype(np.float64), s * np.abs(e["gate"]), extra + 1
        if "residual" in e:
            y, s, extra = y + e["residual"].astype(np.float64), s + np.abs(e["residual"]), extra + 1
    return y, s, extra


def add_epilogue(case, e, gap):
    for name in ("bias", "scale", "shift"):
        if name in e:
            case.input(name, e[name], shift=4 if gap else 0)
    for name in ("gate", "residual"):
        if name in e:
            case.input(name, e[name], gap=gap)
    return case


def bias_of(e, m):
    return e["bias"].astype(np.float64) if "bias" in e else np.zeros(m)


def chains(x, w, start):
    """start[m] + sum over k of x[r][k]*w[m][k], exactly summed; and the sum of magnitudes."""
    with np.errstate(invalid="ignore", over="ignore"):
        products = x[:, None, :] * w[None, :, :]
    rows, m = products.shape[:2]
    first = np.broadcast_to(start, (rows, m))[:, :, None]
    return (exact.row_sums(np.concatenate([first, products], axis=2)),
            exact.row_sums(np.concatenate([np.abs(first), np.abs(products)], axis=2)))


# ---- Panels ----------------------------------------------------------------------------------------------

def count_of(sym, rows):
    """(n, run values) so that n * value(sym) = rows."""
    half = (rows // 2, 2) if rows % 2 == 0 else (rows, 1)
    if sym == ONE:
        return rows, {}
    if sym == BATCH:
        return half[0], {"n_batch": half[1]}
    if sym == TOKENS:
        return 1, {"n_tokens": rows}
    if sym == SELECTED:
        return 1, {"n_selected": rows}
    return 1, {"n_batch": half[1], "n_tokens": half[0]}


def gemm_case(dtype, name, rows, m, k, parts=(), activation="none", sym=ONE, gap=0, x=None, raw=None):
    """One product in exact mode."""
    bits = Bits(f"gemm/{dtype}/{name}")
    raw = weights(bits, dtype, m, k) if raw is None else raw
    x = bits.real((rows, k)) if x is None else x
    e = make_epilogue(bits, parts, rows, m, activation)
    y, s = chains(x.astype(np.float64), exact_values(raw, dtype), bias_of(e, m))
    y, s, extra = finish(y, s, e)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, m, k, ACTIVATIONS.index(activation)], **run)
    case.input("weights", panel.pack(raw, dtype, k)).input("x", x, gap=gap, shift=4 if gap else 0)
    add_epilogue(case, e, gap)
    return case.output("y", exact.f32(y), t2(k + extra, s), gap=gap, shift=4 if gap else 0)


def quantize_rows(x):
    """quantize_a8 in IEEE single precision: q [rows][k] i8, d [rows][k/32] f32, sum [rows][k/32] i32."""
    b = x.astype(np.float32).reshape(len(x), x.shape[1] // quant.BLOCK, quant.BLOCK)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore", under="ignore"):
        amax = np.nanmax(np.where(np.isnan(b), np.float32(0), np.abs(b)), axis=2, keepdims=True)
        d = amax / np.float32(127)
        inverse = np.where(amax > 0, np.float32(127) / amax, np.float32(0))
        v = b * inverse
    v = np.where(np.isnan(v), np.float32(0), np.clip(v, np.float32(-127), np.float32(127)))
    q = np.rint(v).astype(np.int8)
    return q.reshape(x.shape), d[:, :, 0], q.astype(np.int32).sum(axis=2)


def a8_rows(q, d, total):
    """Rows of the A8 type without their padding, uint8 [rows][k*5/4]."""
    parts = (q, d.astype(np.float32), total.astype(np.int32))
    return np.concatenate([np.ascontiguousarray(p).view(np.uint8) for p in parts], axis=1)


def quantize_planes(x, planes):
    """quantize_rows of x, and for two planes of what the first leaves."""
    out = [quantize_rows(x)]
    if planes == 2:
        q, d, _ = out[0]
        with np.errstate(invalid="ignore", over="ignore", under="ignore"):
            back = q.astype(np.float32) * np.repeat(d, quant.BLOCK, axis=1)
            out.append(quantize_rows(x.astype(np.float32) - back))
    return out


def a8_planes(planes):
    """Rows of one plane or two, and the dtype of such a tensor."""
    return np.concatenate([a8_rows(*p) for p in planes], axis=1), A8X2 if len(planes) == 2 else A8


def a8_gap(k, planes=1):
    return -(k * 5 // 4 * planes) % 64


def gemm_a8_case(dtype, name, rows, m, k, parts=(), activation="none", sym=ONE, gap=0, x=None, raw=None,
                 planes=1):
    """One product in fast mode: exact integers per block, scales in float64."""
    bits = Bits(f"gemm_a8/{dtype}/{name}")
    raw = weights(bits, dtype, m, k) if raw is None else raw
    x = bits.real((rows, k)) if x is None else x
    quantised = quantize_planes(x, planes)
    dw, low, qw = quant.fields(raw, dtype)
    qw = qw.reshape(m, -1, quant.BLOCK).astype(np.int64) - (8 if dtype == quant.Q4_0 else 0)
    terms = []
    for qx, dx, total in quantised:
        integer = np.einsum("rbi,mbi->rmb", qx.reshape(rows, k // quant.BLOCK, quant.BLOCK).astype(np.int64), qw)
        with np.errstate(invalid="ignore"):
            terms.append(integer * (dw[None].astype(np.float64) * dx[:, None].astype(np.float64)))
            if low is not None:
                terms.append(low[None].astype(np.float64) * dx[:, None].astype(np.float64) * total[:, None])
    terms = np.concatenate(terms, axis=2)
    e = make_epilogue(bits, parts, rows, m, activation)
    first = np.broadcast_to(bias_of(e, m), (rows, m))[:, :, None]
    y = exact.row_sums(np.concatenate([first, terms], axis=2))
    s = exact.row_sums(np.abs(np.concatenate([first, terms], axis=2)))
    y, s, extra = finish(y, s, e)
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, m, k, ACTIVATIONS.index(activation)], **run)
    case.input("weights", panel.pack(raw, dtype, k))
    stored, x_dtype = a8_planes(quantised)
    case.input("x", stored, gap=a8_gap(k, planes) + (64 if gap else 0), dtype=x_dtype)
    add_epilogue(case, e, gap)
    return case.output("y", exact.f32(y), t2(k // quant.BLOCK * planes + extra, s), gap=gap, shift=4 if gap else 0)


def special_x(rows, k, small=1e-41):
    """Zeros of both signs, tiny values, infinities and NaN, one kind per row among ordinary values."""
    x = Bits("special").real((rows, k))
    x[0] = 0.0
    x[1] = -0.0
    x[2] = np.float32(small)
    x[3, k // 2] = np.inf
    x[4, k - 1] = -np.inf
    x[5, 0], x[5, k - 1] = np.inf, -np.inf
    x[6, k // 3] = np.nan
    x[7, 0] = np.float32(3e37)
    return x


EPILOGUES = [(("bias",), "none"), (("scale",), "none"), (("shift",), "none"), (("scale", "shift"), "none"),
             (("gate",), "none"), (("residual",), "none"), ((), "relu"), ((), "silu"), ((), "gelu_tanh"),
             ((), "gelu_erf"), ((), "sigmoid"), ((), "tanh"), (("bias", "residual"), "none"),
             (("gate",), "silu"), (("bias", "scale", "shift", "gate", "residual"), "gelu_tanh")]


def shapes(quantised):
    """(rows, m, k): every tail of the row, of the panel and of the column."""
    if quantised:
        ms = [(1, 1, 32), (2, 2, 64), (1, 3, 96), (3, 5, 32), (1, 7, 64), (4, 8, 32), (5, 9, 32), (1, 15, 64),
              (1, 16, 96), (2, 17, 32), (1, 31, 64), (3, 32, 32), (1, 33, 160)]
        ks = [(2, 6, 128), (1, 4, 192), (3, 16, 224), (2, 20, 288), (1, 16, 576)]
    else:
        ms = [(1, 1, 1), (2, 2, 5), (1, 3, 11), (3, 5, 3), (1, 7, 13), (4, 8, 6), (5, 9, 10), (1, 15, 18),
              (1, 16, 14), (2, 17, 12), (1, 31, 9), (3, 32, 4), (1, 33, 19)]
        ks = [(2, 6, 2), (1, 4, 7), (2, 16, 8), (1, 5, 15), (2, 9, 16), (3, 16, 17), (2, 20, 31), (1, 16, 32),
              (2, 3, 33)]
    k = 32 if quantised else 8
    return ms + ks + [(r, 18, k) for r in (6, 7, 8, 9, 11, 12, 13, 16, 17)]


def gemm_cases(dtype_name, fast):
    dtype = DTYPES[dtype_name]
    quantised = quant.is_quantised(dtype)
    make = gemm_a8_case if fast else gemm_case
    k = 64 if quantised else 21
    cases = [make(dtype, f"r{r} m{m} k{kk}", r, m, kk) for r, m, kk in shapes(quantised)]
    cases += [make(dtype, "_".join(parts + (act,)) + f" k{k}", 3, 19, k, parts, act) for parts, act in EPILOGUES]
    cases.append(make(dtype, "strided", 5, 19, k, ("bias", "gate", "residual"), "relu", gap=20))
    cases += [make(dtype, f"count {label}", 6, 5, k, sym=sym)
              for label, sym in (("batch", BATCH), ("tokens", TOKENS), ("rows", ROWS), ("selected", SELECTED))]
    cases.append(make(dtype, "no rows", 0, 5, k, sym=SELECTED))
    cases.append(make(dtype, "specials", 8, 17, k, x=special_x(8, k, 1e-30 if fast else 1e-41)))
    cases.append(make(dtype, "large", 17, 80, 256, ("bias",)))
    if quantised:
        cases += extreme_quants(make, dtype)
    if fast:
        two = functools.partial(make, planes=2)
        cases += [two(dtype, f"planes r{r} m{m} k{kk}", r, m, kk)
                  for r, m, kk in ((1, 1, 32), (1, 16, 96), (2, 17, 64), (3, 33, 160), (4, 8, 32), (5, 31, 576),
                                   (9, 20, 128), (16, 48, 64), (17, 32, 32))]
        cases.append(two(dtype, "planes strided", 5, 19, k, ("bias", "gate", "residual"), "silu", gap=20))
        cases.append(two(dtype, "planes specials", 8, 17, k, x=special_x(8, k, 1e-30)))
        cases += [two(dtype, "planes no rows", 0, 5, k, sym=SELECTED), two(dtype, "planes selected", 6, 5, k, sym=SELECTED)]
    return cases


def extreme_quants(make, dtype):
    """Every quant at its end, where an integer path overflows first, and scales of 0."""
    m, k = 16, 64
    d = np.full((m, 2, 1), quant.to_f16_bits(np.float32(0.125)), dtype=np.uint16).view(np.uint8)
    low = np.full((m, 2, 1), quant.to_f16_bits(np.float32(-0.75)), dtype=np.uint16).view(np.uint8)
    head = [d, low] if dtype == quant.Q4_1 else [d]
    body = 32 if dtype == quant.Q8_0 else 16
    out = []
    for label, byte in (("lowest", 0x80 if dtype == quant.Q8_0 else 0x00),
                        ("highest", 0x7F if dtype == quant.Q8_0 else 0xFF)):
        raw = np.concatenate(head + [np.full((m, 2, body), byte, dtype=np.uint8)], axis=2).reshape(m, -1)
        x = np.where(np.arange(2 * k).reshape(2, k) // k == 0, 1.0, -1.0).astype(np.float32)
        out.append(make(dtype, f"quants {label}", 2, m, k, x=x, raw=raw))
    raw = np.concatenate([np.zeros_like(p) for p in head] +
                         [np.full((m, 2, body), 0x5A, dtype=np.uint8)], axis=2).reshape(m, -1)
    out.append(make(dtype, "weight scales zero", 2, m, k, ("bias",), raw=raw))
    return out


# ---- Plain matrices --------------------------------------------------------------------------------------

PANELS = 2  # of transpose_b


def panels_of(b):
    """[k, n] in panels of 16 columns, one panel per row; columns beyond the last hold NaN."""
    k, n = b.shape
    wide = np.full((k, (n + 15) // 16 * 16), np.nan, dtype=np.float32)
    wide[:, :n] = b
    return wide.reshape(k, -1, 16).transpose(1, 0, 2).reshape(-1, k * 16)


def matmul_case(name, m, n, k, ta=0, tb=0, accumulate=0, parts=(), activation="none", gap=0, a=None, b=None,
                counts=None, tol=None, **run):
    bits = Bits(f"matmul/{name}")
    a = bits.real((m, k)) if a is None else a
    b = bits.real((k, n), 1.0 / math.sqrt(max(k, 1))) if b is None else b
    start = bits.real((m, n)) if accumulate else None
    e = make_epilogue(bits, parts, m, n, activation)
    first = start.astype(np.float64) if accumulate else bias_of(e, n)
    y, s = chains(a.astype(np.float64), b.astype(np.float64).T, first)
    y, s, extra = finish(y, s, e)
    counts = counts or [m, ONE, n, ONE, k, ONE]
    case = Case(name, counts + [ta, tb, accumulate, ACTIVATIONS.index(activation)], **run)
    shift = 4 if gap else 0
    case.input("a", a.T if ta else a, gap=gap, shift=shift)
    if tb == PANELS:
        case.input("b", panels_of(b), gap=64 if gap else 0)
    else:
        case.input("b", b.T if tb else b, gap=gap, shift=shift)
    add_epilogue(case, e, gap)
    tol = tol or t2(max(k, 1) + extra, s)
    return case.output("y", exact.f32(y), tol, init=start, gap=gap, shift=shift)


def activation_values():
    """Arguments that show the shape of every activation: zeros, tiny, ordinary, saturated, unbounded."""
    fixed = [0.0, -0.0, 1e-40, -1e-40, 1e-20, -1e-20, 1.0, -1.0, 0.5, -0.5, 3.0, -3.0, 5.5, -5.5, 8.0, -8.0,
             9.5, -9.5, 12.0, -12.0, 20.0, 40.0, 88.0, 1e10, np.inf, np.nan]
    return np.concatenate([np.array(fixed, dtype=np.float32), Bits("activation").real(100, 6.0),
                           Bits("activation tiny").wide(20, -30, -2)])


def matmul_cases():
    cases = []
    for ta in (0, 1):
        for tb in (0, 1, PANELS):
            for m, n, k in ((1, 1, 1), (3, 5, 2), (4, 16, 7), (7, 17, 9), (16, 31, 16), (9, 33, 33)):
                cases.append(matmul_case(f"m{m} n{n} k{k} ta{ta} tb{tb}", m, n, k, ta, tb))
            cases.append(matmul_case(f"accumulate ta{ta} tb{tb}", 6, 18, 11, ta, tb, accumulate=1))
            cases.append(matmul_case(f"strided ta{ta} tb{tb}", 5, 19, 8, ta, tb, parts=("bias", "residual"), gap=12))
            cases.append(matmul_case(f"accumulate strided ta{ta} tb{tb}", 5, 19, 8, ta, tb, accumulate=1, gap=12))
            cases.append(matmul_case(f"large ta{ta} tb{tb}", 18, 67, 70, ta, tb))
    cases += [matmul_case(f"n{n}", 2, n, 5) for n in (2, 3, 4, 6, 8, 15, 23, 24, 25, 32)]
    cases += [matmul_case(f"m{m}", m, 8, 5) for m in (2, 5, 6, 8, 12, 13)]
    cases += [matmul_case("_".join(parts + (act,)), 4, 19, 10, parts=parts, activation=act)
              for parts, act in EPILOGUES]
    cases.append(matmul_case("rows of the batch", 6, 9, 4, counts=[1, ROWS, 9, ONE, 4, ONE], n_batch=2, n_tokens=3))
    cases.append(matmul_case("k of the batch", 6, 9, 4, ta=1, counts=[6, ONE, 9, ONE, 1, BATCH], n_batch=4))
    cases.append(matmul_case("n of the tokens", 6, 9, 4, tb=1, counts=[6, ONE, 1, TOKENS, 4, ONE], n_tokens=9))
    cases.append(matmul_case("no k", 3, 5, 0, parts=("bias",), counts=[3, ONE, 5, ONE, 1, BATCH], n_batch=0))
    cases.append(matmul_case("no rows", 0, 5, 3, counts=[1, SELECTED, 5, ONE, 3, ONE]))
    special = special_x(8, 12)
    cases.append(matmul_case("specials", 8, 17, 12, a=special))
    cases.append(matmul_case("specials on the right", 12, 8, 12, b=np.ascontiguousarray(special.T)))
    x = activation_values()
    for act in ACTIVATIONS[1:]:
        cases.append(matmul_case(f"{act} of values", 1, len(x), 1, b=x.reshape(1, -1),
                                 a=np.ones((1, 1), dtype=np.float32), activation=act,
                                 tol=T0 if act == "relu" else t1(2)))
    return cases


KERNELS = {f"gemm_{name}": (lambda name=name: gemm_cases(name, False)) for name in DTYPES}
KERNELS.update({f"gemm_a8_{name}": (lambda name=name: gemm_cases(name, True)) for name in ("q8_0", "q4_0", "q4_1")})
KERNELS["matmul"] = matmul_cases
