# SPDX-License-Identifier: MIT
"""Writer of the .qvec container (vectors/README.md): one pack per kernel, usable in place."""
import math
import struct

import numpy as np

VERSION = 1
ALIGN = 64
U = 2.0 ** -24

F32, Q8_0, Q4_0, Q4_1, F16, BF16, I32, F64, A8, A8X2 = range(10)
NO_POSITION = 1000003  # where spans say the positions
RAW = 255  # bytes that only a kernel interprets: panels, plain quantised rows

ROLES = ("x y weights bias scale shift gate residual a b ids selected table inv_freq k v k_cache v_cache q "
         "target loss grad dy spans lse dx out dout dq dk dv da db dw "
         "gates recurrent h c h_prev c_prev dh dc delta").split()

ONE, BATCH, TOKENS, ROWS, SELECTED = range(5)
ACTIVATIONS = ("none", "relu", "silu", "gelu_tanh", "gelu_erf", "sigmoid", "tanh")


class Tolerance:
    """A tolerance class with its parameter and, for T2, the magnitude of every output."""

    def __init__(self, kind, parameter=0.0, magnitude=None):
        self.kind = kind
        self.parameter = parameter
        self.magnitude = magnitude


T0 = Tolerance(0)
T2_C = 4.0
SUBNORMAL = 2.0 ** -126  # added to every magnitude above 0: a gate of 2 * sqrt(terms) subnormal steps


def t1(ulp):
    """At most `ulp` units in the last place from the reference rounded to F32."""
    return Tolerance(1, float(ulp))


def t2(terms, magnitude):
    """|error| <= 4 * u * sqrt(terms) * magnitude, magnitude per output (sum of |a*b|)."""
    return Tolerance(2, T2_C * U * math.sqrt(terms), np.asarray(magnitude, dtype=np.float64))


def _align(n):
    return -(-n // ALIGN) * ALIGN


def _dtype(array):
    kinds = {"f4": F32, "f8": F64, "f2": F16, "i4": I32, "u4": I32, "u2": F16, "u1": RAW}
    return kinds[array.dtype.str[1:]]


class Case:
    """One call of a kernel: scalars in the order of its argument struct, tensors by role, the run block."""

    def __init__(self, name, scalars, **run):
        if len(name.encode()) > 63:
            raise ValueError(f"case name too long: {name}")
        self.name = name
        self.scalars = [float(s) for s in scalars]
        self.run = {"n_batch": 1, "n_tokens": 1, "n_selected": 0, "position": 0, "training": 0, "seed": 0,
                    "step": 0, "learning_rate": 0.0}
        unknown = set(run) - set(self.run)
        if unknown:
            raise ValueError(f"no such run values: {unknown}")
        self.run.update(run)
        self.tensors = []

    def spans(self, spans):
        """The step's spans, (sequence, position, rows) each; the run block's position is then not to be used."""
        rows = np.cumsum([0] + [n for _, _, n in spans])
        table = [(sequence, position, row, n) for (sequence, position, n), row in zip(spans, rows)]
        self.run["position"] = NO_POSITION
        return self.input("spans", np.array(table, dtype=np.uint32))

    def input(self, role, array, gap=0, shift=0, dtype=None):
        """A tensor the kernel reads in place; `gap` bytes lie between rows, `shift` bytes before the first."""
        array = np.ascontiguousarray(array)
        array = array.reshape(1, -1) if array.ndim == 1 else array
        row = array.shape[1] * array.itemsize
        data = b""
        if array.shape[0]:
            rows = np.full((array.shape[0], row + gap), 0xFF, dtype=np.uint8)
            rows[:, :row] = array.view(np.uint8).reshape(array.shape[0], -1)
            data = rows.tobytes()[:(array.shape[0] - 1) * (row + gap) + row]
        self.tensors.append({"role": role, "use": 0, "dtype": _dtype(array) if dtype is None else dtype,
                             "rows": array.shape[0], "row": row, "stride": row + gap, "shift": shift,
                             "data": data, "init": None, "tol": T0, "free_gap": False})
        return self

    def output(self, role, expected, tol, init=None, gap=0, shift=0, dtype=None, free_gap=False):
        """A tensor the kernel writes. init: what it holds before; without, a pattern. free_gap: the bytes
        between rows may change."""
        expected = np.ascontiguousarray(expected)
        expected = expected.reshape(1, -1) if expected.ndim == 1 else expected
        row = expected.shape[1] * expected.itemsize
        if init is not None:
            init = np.ascontiguousarray(init).reshape(expected.shape)
            assert init.dtype == expected.dtype
        self.tensors.append({"role": role, "use": 1, "dtype": _dtype(expected) if dtype is None else dtype,
                             "rows": expected.shape[0], "row": row, "stride": row + gap, "shift": shift,
                             "data": expected.tobytes(), "init": None if init is None else init.tobytes(),
                             "tol": _settle(tol, expected), "free_gap": free_gap,
                             "seed": _seed_gate(tol, expected)})
        return self


def _settle(tol, expected):
    """Magnitudes as F32, rounded up; 0 where the reference is not finite and only its class counts."""
    if tol.kind != 2:
        return tol
    magnitude = np.broadcast_to(tol.magnitude, expected.shape).astype(np.float64)
    magnitude = np.where(np.isfinite(expected) & (magnitude > 0), magnitude + SUBNORMAL, 0.0)
    if not np.isfinite(magnitude).all():
        raise ValueError("a magnitude is not finite")
    with np.errstate(over="ignore"):
        up = magnitude.astype(np.float32)
        up = np.where(up.astype(np.float64) < magnitude, np.nextafter(up, np.float32(np.inf)), up)
    return Tolerance(2, tol.parameter, np.minimum(up, np.finfo(np.float32).max).astype(np.float32))


def _seed_gate(tol, expected):
    """The documents' gate |d| <= 1e-5 + 1e-4*|ref| also holds wherever u*sqrt(k)*magnitude keeps within it."""
    if expected.dtype != np.float32 or tol.kind == 0:
        return False
    if tol.kind == 1:
        return True
    reference = expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        inside = tol.parameter / T2_C * tol.magnitude <= 1e-5 + 1e-4 * np.abs(reference)
    return bool(np.all(inside | ~np.isfinite(reference)))


def _case_bytes(number, case):
    scalars = struct.pack(f"<{len(case.scalars)}d", *case.scalars)
    scalars += bytes(_align(len(scalars)) - len(scalars))
    at = 128 + len(scalars) + 64 * len(case.tensors)
    records, payload = b"", b""

    def place(data, shift=0):
        nonlocal payload
        payload += bytes(_align(at + len(payload)) - at - len(payload) + shift)
        where = at + len(payload)
        payload += data
        return where

    for t in case.tensors:
        tol = t["tol"]
        data = place(t["data"], t["shift"] if t["use"] == 0 else 0)
        init = place(t["init"]) if t["init"] is not None else 0
        magnitude = place(tol.magnitude.tobytes()) if tol.kind == 2 else 0
        flags = (1 if t.get("seed") else 0) | (2 if t["free_gap"] else 0)
        records += struct.pack("<HHHHIIIIIIIII4xd8x", ROLES.index(t["role"]), t["use"], t["dtype"], tol.kind,
                               t["rows"], t["row"], t["stride"], t["shift"], data, len(t["data"]), init,
                               magnitude, flags, tol.parameter)
    payload += bytes(_align(at + len(payload)) - at - len(payload))
    r = case.run
    head = struct.pack("<IIIIIIIIIIQQd64s", 0x45534143, at + len(payload), number, len(case.tensors),
                       len(case.scalars), r["n_batch"], r["n_tokens"], r["n_selected"], r["position"],
                       r["training"], r["seed"], r["step"], r["learning_rate"], case.name.encode())
    return head + scalars + records + payload


def pack(kernel, cases):
    """All cases of one kernel as one pack."""
    names = [c.name for c in cases]
    if len(set(names)) != len(names):
        raise ValueError(f"{kernel}: two cases share a name: {sorted(n for n in names if names.count(n) > 1)}")
    body = b"".join(_case_bytes(n, c) for n, c in enumerate(cases))
    return struct.pack("<IIII32s16x", 0x43455651, VERSION, 64 + len(body), len(cases), kernel.encode()) + body
