# SPDX-License-Identifier: MIT
"""Vectors of what works on rows: gather_*, quantize_a8, causal_mask, reduce_*, select_rows."""
import functools

import numpy as np
from qorus_py import panel, quant

import exact
from bits import Bits
from kernel_gemm import DTYPES, a8_gap, a8_planes, count_of, quantize_planes, weights
from qvec import BATCH, ONE, ROWS, SELECTED, T0, TOKENS, Case, t2

PLAIN, PANEL16 = 0, 1


def gather_case(dtype, name, rows, m, k, layout, ids=None, scale=1.0, sym=ONE, gap=0, raw=None):
    """Row r is scale * real(w[ids[r]]), in IEEE single precision as the kernel has it."""
    bits = Bits(f"gather/{dtype}/{name}")
    raw = weights(bits, dtype, m, k) if raw is None else raw
    chosen = np.arange(rows) if ids is None else np.asarray(ids, dtype=np.int32)
    scale = np.float32(scale)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        out = quant.dequantize(raw, dtype)[chosen] * scale
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, k, layout, scale], **run)
    case.input("weights", panel.pack(raw, dtype, k) if layout == PANEL16 else raw)
    if ids is not None:
        case.input("ids", chosen)
    return case.output("y", out.reshape(rows, k), T0, gap=gap, shift=4 if gap else 0)


def gather_specials(dtype, k):
    """Weights at the ends of the type: subnormal scales, negative scales, infinities where it has them."""
    if quant.is_quantised(dtype):
        raw = weights(Bits("gather special"), dtype, 6, k)
        halves = np.array([0x0001, 0x03FF, 0x7BFF, 0x8000, 0xB800, 0x0400], dtype=np.uint16)
        blocks = raw.reshape(6, k // quant.BLOCK, -1)
        for i in range(6):
            blocks[i, :, :2] = halves[i:i + 1].view(np.uint8)
            if dtype == quant.Q4_1:
                blocks[i, :, 2:4] = halves[5 - i:6 - i].view(np.uint8)
        return blocks.reshape(6, -1)
    x = Bits("gather special").real((6, k))
    x[0, 0], x[1, 0], x[2, 0], x[3, 0], x[4, 0] = -0.0, np.inf, -np.inf, np.nan, np.float32(3e-39)
    x[5, 0] = np.float32(6e-8)  # subnormal in F16
    return quant.quantize(x, dtype)


def gather_cases(dtype_name):
    dtype = DTYPES[dtype_name]
    cases = []
    ks = (32, 64, 96, 160) if quant.is_quantised(dtype) else (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33)
    for layout, label in ((PLAIN, "plain"), (PANEL16, "panels")):
        cases += [gather_case(dtype, f"{label} k{k}", 3, 3, k, layout) for k in ks]
        cases += [gather_case(dtype, f"{label} m{m}", m, m, 32, layout) for m in (1, 15, 16, 17, 33)]
        cases.append(gather_case(dtype, f"{label} ids", 5, 35, 64, layout, [34, 0, 16, 0, 15]))
        cases.append(gather_case(dtype, f"{label} ids scaled", 4, 20, 64, layout, [19, 3, 3, 16], scale=27.7128))
        cases.append(gather_case(dtype, f"{label} tokens", 3, 18, 32, layout, [17, 1, 5], sym=TOKENS, gap=12))
        cases.append(gather_case(dtype, f"{label} specials", 6, 6, 32, layout, raw=gather_specials(dtype, 32)))
    cases.append(gather_case(dtype, "rows of the batch", 4, 18, 32, PANEL16, [2, 17, 0, 9], sym=ROWS))
    cases.append(gather_case(dtype, "no rows", 0, 18, 32, PANEL16, np.zeros(0), sym=SELECTED))
    cases.append(gather_case(dtype, "large", 12, 20, 288, PANEL16, Bits("gather ids").ints(12, 0, 20)))
    return cases


# ---- Activations to 8 bits -------------------------------------------------------------------------------

def quantize_case(name, x, sym=ONE, gap=0, planes=1):
    rows, k = x.shape
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, k], **run).input("x", x, gap=gap, shift=4 if gap else 0)
    stored, dtype = a8_planes(quantize_planes(x, planes))
    return case.output("y", stored, T0, gap=a8_gap(k, planes) + (64 if gap else 0), dtype=dtype, free_gap=not gap)


def tie_block():
    """amax 127, so that x*(127/amax) = x: halves show the rounding to even."""
    x = np.zeros((3, 64), dtype=np.float32)
    x[0, :32] = np.arange(32) + 0.5
    x[0, 31] = 127
    x[0, 32:] = -(np.arange(32) + 94.5)
    x[0, 63] = -127
    x[1, :32] = np.nextafter(np.arange(32, dtype=np.float32) + np.float32(0.5), np.float32(0))
    x[1, 31] = 127
    x[1, 32:] = np.nextafter(np.arange(32, dtype=np.float32) + np.float32(0.5), np.float32(999))
    x[1, 63] = -127
    x[2] = np.tile(np.array([0.25, -0.75, 1.0, -1.25], dtype=np.float32), 16)
    x[2, ::32] = 63.5
    return x


def quantize_specials():
    x = Bits("quantize specials").real((9, 64))
    x[0] = 0.0
    x[1] = -0.0
    x[2, 5] = np.nan
    x[3, 7] = np.inf
    x[4, 40] = -np.inf
    x[5] = np.nan
    x[6, :32] *= np.float32(2.0 ** -100)
    x[6, 3] = np.float32(1e-41)
    x[7, :32] *= np.float32(2.0 ** 120)
    x[8, :32] = 0.0
    x[8, 4], x[8, 9] = np.float32(3e38), np.float32(-3e38)
    return x


def quantize_cases():
    real = lambda name, rows, k, scale=1.0: Bits(f"quantize/{name}").real((rows, k), scale)  # noqa: E731
    cases = [quantize_case(f"k{k}", real(f"k{k}", 2, k)) for k in (32, 64, 96, 128, 160, 224, 288, 576)]
    cases += [quantize_case(f"r{r}", real(f"r{r}", r, 32)) for r in (1, 3, 4, 5, 7, 8, 9, 17)]
    cases += [quantize_case(f"scale {s}", real(f"s{s}", 2, 64, s)) for s in (1e-30, 1e-6, 127.0, 1e6, 1e30)]
    cases.append(quantize_case("ties to even", tie_block()))
    cases.append(quantize_case("specials", quantize_specials()))
    tiny = np.zeros((2, 32), dtype=np.float32)
    tiny[0, 1], tiny[0, 2] = np.float32(1e-41), np.float32(-1e-44)
    tiny[1, 1], tiny[1, 2] = np.float32(2.0 ** -125), np.float32(-(2.0 ** -128))
    cases.append(quantize_case("blocks of subnormals", tiny))
    cases.append(quantize_case("strided", real("strided", 4, 64), gap=20))
    cases.append(quantize_case("count batch", real("b", 4, 32), sym=BATCH))
    cases.append(quantize_case("count tokens", real("t", 3, 32), sym=TOKENS))
    cases.append(quantize_case("count selected", real("t", 3, 32), sym=SELECTED))
    cases.append(quantize_case("no rows", np.zeros((0, 32), dtype=np.float32), sym=SELECTED))
    cases.append(quantize_case("wide exponents", Bits("quantize wide").wide((4, 96), -12, 8)))
    cases.append(quantize_case("large", real("large", 12, 576, 4.0)))
    two = functools.partial(quantize_case, planes=2)
    cases += [two(f"planes k{k}", real(f"planes k{k}", 3, k)) for k in (32, 64, 96, 160, 224, 576)]
    cases += [two(f"planes scale {s}", real(f"planes s{s}", 2, 64, s)) for s in (1e-30, 127.0, 1e30)]
    cases += [two("planes ties", tie_block()), two("planes specials", quantize_specials()),
              two("planes of subnormals", tiny), two("planes strided", real("planes strided", 4, 64), gap=20),
              two("planes tokens", real("planes t", 3, 32), sym=TOKENS),
              two("planes no rows", np.zeros((0, 32), dtype=np.float32), sym=SELECTED),
              two("planes wide", Bits("quantize planes wide").wide((4, 96), -12, 8))]
    return cases


# ---- Masks, reductions, rows -----------------------------------------------------------------------------

def mask_case(name, rows, cols, position, sym=ONE, gap=0):
    x = Bits(f"causal_mask/{name}").real((rows, cols))
    if rows > 1:
        x[0, 0], x[rows - 1, cols - 1] = np.nan, -0.0
    hidden = np.arange(cols)[None, :] > np.arange(rows)[:, None] + position
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, cols], position=position, **run)
    return case.output("y", np.where(hidden, np.float32(-np.inf), x), T0, init=x, gap=gap, shift=4 if gap else 0)


def mask_spans_case(name, cols, spans):
    """Rows of several sequences, each from its own position."""
    positions = np.concatenate([p + np.arange(n) for _, p, n in spans])
    x = Bits(f"causal_mask/{name}").real((len(positions), cols))
    hidden = np.arange(cols)[None, :] > positions[:, None]
    case = Case(name, [1, TOKENS, cols], n_tokens=len(positions)).spans(spans)
    return case.output("y", np.where(hidden, np.float32(-np.inf), x), T0, init=x)


def mask_cases():
    cases = [mask_case(f"r{r} c{c}", r, c, 0) for r, c in ((1, 1), (2, 3), (5, 5), (7, 8), (9, 17), (16, 16),
                                                          (3, 33), (17, 31), (33, 32))]
    cases += [mask_case(f"position {p}", 4, 40, p) for p in (1, 7, 8, 15, 16, 31, 35, 36, 39, 100)]
    cases.append(mask_case("tokens", 6, 19, 5, sym=TOKENS))
    cases.append(mask_case("strided", 5, 21, 3, gap=12))
    cases.append(mask_case("position beyond 2^31", 2, 9, 0x90000000))
    cases.append(mask_case("no rows", 0, 9, 0, sym=SELECTED))
    cases.append(mask_case("large", 40, 200, 60))
    cases.append(mask_spans_case("spans", 21, [(3, 4, 5), (0, 0, 1), (1, 15, 3)]))
    cases.append(mask_spans_case("spans of one row", 40, [(s, 39 - 5 * s, 1) for s in range(8)]))
    cases.append(mask_spans_case("one span of another sequence", 9, [(2, 3, 4)]))
    return cases


def reduce_case(name, x, maximum, gap=0, sym=ONE):
    rows, dim = x.shape
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim], **run).input("x", x, gap=gap, shift=4 if gap else 0)
    if maximum:
        out = np.where(np.isnan(x), np.float32(-np.inf), x).max(axis=1, initial=np.float32(-np.inf))
        return case.output("y", out.astype(np.float32), T0)
    wide = x.astype(np.float64)
    magnitude = exact.row_sums(np.abs(np.where(np.isfinite(wide), wide, 0.0)))
    return case.output("y", exact.f32(exact.row_sums(wide)), t2(dim, magnitude))


def reduce_specials(maximum):
    x = Bits("reduce specials").real((8, 40))
    x[0] = 0.0
    x[1, 3] = np.inf
    x[2, 17] = -np.inf
    x[3, 39] = np.nan
    x[4] = -np.abs(x[4])
    x[5] = -np.inf
    x[6] = np.float32(1e-42)
    x[7, 0], x[7, 20] = np.inf, -np.inf
    if maximum:
        x[3, 0] = np.nan
        x[0] = np.nan
        x[6, :39] = np.nan
    return x


def reduce_cases(maximum):
    label = "max" if maximum else "sum"
    dims = (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 63, 64, 65)
    cases = [reduce_case(f"d{d}", Bits(f"{label}{d}").real((2, d)), maximum) for d in dims]
    cases += [reduce_case(f"r{r}", Bits(f"{label} r{r}").real((r, 20)), maximum) for r in (1, 3, 5, 8)]
    cases.append(reduce_case("strided", Bits("reduce strided").real((4, 19)), maximum, gap=8))
    cases.append(reduce_case("tokens", Bits("reduce tokens").real((5, 18)), maximum, sym=TOKENS))
    cases.append(reduce_case("specials", reduce_specials(maximum), maximum))
    cases.append(reduce_case("wide exponents", Bits("reduce wide").wide((3, 50), -20, 20), maximum))
    places = Bits("reduce places").real((48, 48)) - np.eye(48, dtype=np.float32) * np.float32(5)
    cases.append(reduce_case("one of each place", -places if maximum else places, maximum))
    cases.append(reduce_case("no rows", np.zeros((0, 8), dtype=np.float32), maximum, sym=SELECTED))
    cases.append(reduce_case("large", Bits("reduce large").real((3, 5000)), maximum))
    return cases


def select_case(name, rows, dim, selected, gap=0):
    x = Bits(f"select/{name}").real((rows, dim))
    if rows > 2:
        x[rows - 1, 0], x[0, dim - 1] = -0.0, np.inf
    chosen = np.asarray(selected, dtype=np.uint32)
    case = Case(name, [dim], n_tokens=rows, n_selected=len(chosen))
    case.input("x", x, gap=gap, shift=4 if gap else 0).input("selected", chosen)
    return case.output("y", x[chosen.astype(np.int64)], T0, gap=gap, shift=4 if gap else 0)


def select_cases():
    cases = [select_case(f"d{d}", 4, d, [0, 2, 3]) for d in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33)]
    cases += [select_case(f"last of {r}", r, 10, [r - 1]) for r in (1, 2, 17)]
    cases.append(select_case("all", 9, 12, range(9)))
    cases.append(select_case("none", 3, 12, []))
    cases.append(select_case("strided", 8, 13, [1, 4, 5, 7], gap=12))
    cases.append(select_case("large", 64, 100, range(0, 64, 3)))
    return cases


KERNELS = {f"gather_{name}": (lambda name=name: gather_cases(name)) for name in DTYPES}
KERNELS.update({"quantize_a8": quantize_cases, "causal_mask": mask_cases,
                "reduce_sum": lambda: reduce_cases(False), "reduce_max": lambda: reduce_cases(True),
                "select_rows": select_cases})
