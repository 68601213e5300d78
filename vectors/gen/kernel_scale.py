# SPDX-License-Identifier: MIT
"""Vectors of scale and dropout."""
import numpy as np

import exact
from bits import Bits
from kernel_elementwise import DIMS
from kernel_gemm import activation_values, count_of
from kernel_language import wide
from qvec import BATCH, ONE, ROWS, SELECTED, T0, TOKENS, Case, t2


def scale_case(name, x, factor, accumulate=0, sym=ONE, gap=0, in_place=False):
    rows, dim = x.shape
    factor = np.float32(factor)
    start = Bits(f"scale start/{name}").real((rows, dim)) if accumulate else x if in_place else None
    with np.errstate(invalid="ignore"):
        value = wide(x) * float(factor)
    gate = T0
    if accumulate:
        gate = t2(2, np.abs(value) + np.abs(wide(start)))
        value = wide(start) + value
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, accumulate, factor], **run)
    if not in_place:
        case.input("x", x, gap=gap, shift=4 if gap else 0)
    return case.output("y", exact.f32(value), gate, init=start, gap=gap, shift=4 if gap else 0)


def scale_cases():
    real = lambda name, rows, dim, spread=3.0: Bits(f"scale/{name}").real((rows, dim), spread)  # noqa: E731
    cases = [scale_case(f"d{d}", real(d, 2, d), 0.1 * (1 + k)) for k, d in enumerate(DIMS)]
    cases += [scale_case(f"r{r}, accumulate", real(f"r{r}", r, 9), 1.7, accumulate=1) for r in (1, 3, 5, 8)]
    cases += [scale_case(f"values times {f}", activation_values().reshape(1, -1), f)
              for f in (1.0, -1.0, 0.0, -0.0, 1e-20, 3e38, 1 / 3)]
    cases += [scale_case("in place", real("in place", 3, 18), -2.5, in_place=True),
              scale_case("in place strided", real("in place 2", 4, 19), 0.3, gap=12, in_place=True),
              scale_case("strided", real("strided", 4, 19), 0.7, gap=12),
              scale_case("strided, accumulate", real("strided 2", 4, 21), 0.7, gap=8, accumulate=1),
              scale_case("one long row", real("row", 1, 700), 0.6, accumulate=1),
              scale_case("no rows", real("none", 0, 6), 2.0, sym=SELECTED)]
    return cases + [scale_case(f"count {label}", real(label, 4, 6), 1.5, sym=sym)
                    for label, sym in (("batch", BATCH), ("tokens", TOKENS), ("rows", ROWS), ("selected", SELECTED))]


# ---- Dropout -----------------------------------------------------------------------------------------------

def philox(counter, key):
    """Philox4x32-10 of arrays of counters [.., 4]: Salmon et al. 2011, section 3.3."""
    c = [counter[..., i].astype(np.uint64) for i in range(4)]
    k0, k1 = key
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(b >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), b & low, (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), a & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, axis=-1)


def random_bits(seed, step, node, sample, element):
    """The 32 bits of each element, of broadcast samples and elements."""
    sample, element = np.broadcast_arrays(np.asarray(sample, dtype=np.uint64), np.asarray(element, dtype=np.uint64))
    counter = np.stack([element >> np.uint64(2), sample, np.full_like(sample, node),
                        np.full_like(sample, step & 0xFFFFFFFF)], axis=-1)
    words = philox(counter, (seed & 0xFFFFFFFF, (seed >> 32) ^ (step >> 32)))
    return np.take_along_axis(words, (element & np.uint64(3))[..., None].astype(np.int64), axis=-1)[..., 0]


def places(rows, per_sample, spans):
    """Sample and row within it, of every row."""
    if per_sample:
        return np.divmod(np.arange(rows), per_sample)
    lengths = [n for _, _, n in spans] if spans else [rows]
    return (np.concatenate([np.full(n, i) for i, n in enumerate(lengths)]),
            np.concatenate([np.arange(n) for n in lengths]))


def dropout_case(name, rows, dim, rate, per_sample=1, spans=None, whole=0, accumulate=0, gap=0, in_place=False,
                 residual=False, seed=1, step=0, node=7, x=None, sym=ONE, edge=False):
    x = Bits(f"dropout/{name}").real((rows, dim), 2.0) if x is None else x
    sample, row = places(rows, per_sample, spans)
    element = row[:, None] * (4 * ((dim + 3) // 4)) + np.arange(dim)[None, :]
    bits = random_bits(seed, step, node, sample[:, None], element * (0 if whole else 1))
    threshold = int(bits[0, 3] >> np.uint64(8)) if edge else int(np.ceil(float(np.float32(rate)) * 2 ** 24))
    factor = np.float32(1.0 / (1.0 - float(np.float32(rate))))
    value = np.where(bits >> np.uint64(8) >= threshold, exact.f32(wide(x) * float(factor)), np.float32(0))
    start = Bits(f"dropout start/{name}").real((rows, dim)) if accumulate else x if in_place else None
    gate = T0
    added = Bits(f"dropout residual/{name}").real((rows, dim)) if residual else start if accumulate else None
    if added is not None:
        gate = t2(2, np.abs(wide(value)) + np.abs(wide(added)))
        value = exact.f32(wide(added) + wide(value))
    n, run = count_of(sym, rows)
    case = Case(name, [n, sym, dim, per_sample, whole, node, threshold, accumulate, factor], seed=seed, step=step, **run)
    if spans:
        case.spans(spans)
    if not in_place:
        case.input("x", x, gap=gap, shift=4 if gap else 0)
    if residual:
        case.input("residual", added, gap=2 * gap)
    return case.output("y", value, gate, init=start, gap=gap, shift=4 if gap else 0)


def dropout_cases():
    far = 0x9ABCDEF012345678
    cases = [dropout_case(f"d{d}", 2, d, 0.1 + 0.05 * (k % 17), node=k) for k, d in enumerate(DIMS + (63, 64, 65, 130))]
    cases += [dropout_case(f"rate {r}", 3, 40, r) for r in (0.0, 1e-30, 2.0 ** -24, 0.5, 0.9, 1 - 2.0 ** -24)]
    cases += [dropout_case(f"whole, rate {r}", 12, 5, r, per_sample=2, whole=1) for r in (0.1, 0.5, 0.8)]
    cases += [dropout_case("whole, accumulate", 9, 37, 0.5, per_sample=3, whole=1, accumulate=1),
              dropout_case("whole, spans", 7, 18, 0.5, per_sample=0, spans=[(3, 0, 2), (0, 0, 4), (1, 0, 1)], whole=1),
              dropout_case("spans", 7, 18, 0.4, per_sample=0, spans=[(2, 0, 3), (5, 0, 1), (0, 0, 3)]),
              dropout_case("one span", 5, 9, 0.4, per_sample=0),
              dropout_case("the least number that is kept", 2, 20, 0.5, edge=True),
              dropout_case("images", 12, 10, 0.3, per_sample=6),
              dropout_case("long seed and step", 3, 33, 0.5, seed=far, step=0x123456789AB, node=0xFFFFFF00),
              dropout_case("high half of the seed", 2, 33, 0.5, seed=1 | 5 << 32),
              dropout_case("high half of the step", 2, 33, 0.5, step=1 << 40),
              dropout_case("next step", 2, 33, 0.5, step=1), dropout_case("accumulate", 3, 50, 0.5, accumulate=1),
              dropout_case("strided, accumulate", 4, 21, 0.5, accumulate=1, gap=8),
              dropout_case("strided", 4, 35, 0.2, gap=12), dropout_case("in place", 3, 34, 0.3, in_place=True),
              dropout_case("in place strided", 3, 19, 0.3, in_place=True, gap=12),
              dropout_case("residual", 3, 50, 0.5, residual=True),
              dropout_case("residual, strided", 4, 21, 0.5, residual=True, gap=8),
              dropout_case("residual, in place", 3, 34, 0.3, residual=True, in_place=True),
              dropout_case("whole, residual", 9, 37, 0.5, per_sample=3, whole=1, residual=True),
              dropout_case("residual, one long row", 1, 700, 0.25, residual=True),
              dropout_case("one long row", 1, 700, 0.25), dropout_case("no rows", 0, 6, 0.5, sym=SELECTED),
              dropout_case("count batch", 4, 6, 0.5, per_sample=2, sym=BATCH),
              dropout_case("what is dropped is 0", 1, activation_values().size, 0.5, x=activation_values().reshape(1, -1))]
    return cases


KERNELS = {"scale": scale_cases, "dropout": dropout_cases}
