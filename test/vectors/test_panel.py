# SPDX-License-Identifier: MIT
"""Checks tools/qorus_py: panel16 byte by byte against its definition, the quantisers against the gguf package.

Usage: python3 test/vectors/test_panel.py      ends with "N passed, N failed, N skipped"
"""
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "vectors/gen")]

from bits import Bits  # noqa: E402
from qorus_py import panel, quant  # noqa: E402

TYPES = (quant.F32, quant.F16, quant.BF16, quant.Q8_0, quant.Q4_0, quant.Q4_1)
COUNTS = {"passed": 0, "failed": 0, "skipped": 0}


def expect(fine, what):
    COUNTS["passed" if fine else "failed"] += 1
    if not fine:
        print(f"FAIL {what}")


def samples(rows, k):
    """Matrices of several magnitudes with blocks of zeros, equal values, ties and one outlier."""
    for scale in (1.0, 1e-3, 1e4, 3e-7):
        x = Bits(f"panel {scale}").real((rows, k), scale)
        x[0, :32] = 0
        x[1, :32] = np.arange(32) - 16
        x[2, :32] = np.float32(2.5)
        x[3, 5] = np.float32(20 * scale)
        x[4, :32] = (np.arange(32) - 15.5) * 0.5
        yield scale, x


def place(dtype, k, row, i):
    """Where byte i of a plain row lies within its panel, by the words of panel.h."""
    block, inside = divmod(i, quant.BLOCK_BYTES[dtype])
    if not quant.is_quantised(dtype):
        return (block * 16 + row % 16) * quant.BLOCK_BYTES[dtype] + inside
    head = 4 if dtype == quant.Q4_1 else 2
    if inside < head:
        return (inside // 2 * (k // quant.BLOCK) + block) * 32 + row % 16 * 2 + inside % 2
    group, position = divmod(inside - head, 4)
    groups = 8 if dtype == quant.Q8_0 else 4
    return panel.scale_bytes(dtype, k) + ((block * groups + group) * 16 + row % 16) * 4 + position


def check_layout(dtype, rows, k):
    """Every byte of every row lies where the definition says, every other byte is zero."""
    raw = quant.quantize(Bits("layout").real((rows, k)), dtype)
    packed = panel.pack(raw, dtype, k)
    left = packed.copy()
    fine = packed.shape == (-(-rows // 16), panel.panel_bytes(dtype, k))
    for row in range(rows):
        for i in range(raw.shape[1]):
            at = place(dtype, k, row, i)
            fine = fine and packed[row // 16, at] == raw[row, i]
            left[row // 16, at] = 0
    expect(fine and not left.any(), f"layout of {quant.NAMES[dtype]} {rows}x{k}")
    expect(np.array_equal(panel.unpack(packed, dtype, rows, k), raw), f"unpack of {quant.NAMES[dtype]} {rows}x{k}")


def check_against_gguf():
    try:
        import gguf
    except ImportError:
        COUNTS["skipped"] += 1
        print("SKIPPED comparison with the gguf package: not installed")
        return
    for scale, x in samples(37, 320):
        for dtype in TYPES:
            kind = gguf.GGMLQuantizationType[quant.NAMES[dtype].upper()]
            with np.errstate(over="ignore"):
                theirs = np.ascontiguousarray(gguf.quants.quantize(x, kind))
            theirs = theirs.view(np.uint8).reshape(len(x), -1)
            ours = quant.quantize(x, dtype)
            expect(np.array_equal(ours, theirs), f"{quant.NAMES[dtype]} at scale {scale} against gguf")
            expect(np.array_equal(quant.dequantize(ours, dtype), gguf.quants.dequantize(theirs, kind)),
                   f"values of {quant.NAMES[dtype]} at scale {scale} against gguf")


def refused(function, *args):
    try:
        function(*args)
    except ValueError:
        return True
    return False


def check_refusals():
    bad = np.ones((2, 64), dtype=np.float32)
    for dtype in (quant.Q8_0, quant.Q4_0, quant.Q4_1):
        expect(refused(quant.quantize, bad[:, :33], dtype), f"33 columns of {quant.NAMES[dtype]}")
        for value in (np.nan, np.inf, 3e38):
            bad[1, 40] = value
            expect(refused(quant.quantize, bad, dtype), f"{value} in {quant.NAMES[dtype]}")
        bad[1, 40] = 1
        expect(not refused(quant.quantize, bad, dtype), f"ones in {quant.NAMES[dtype]}")
    expect(refused(panel.pack, np.zeros((2, 7), dtype=np.uint8), quant.F32, 2), "a row of the wrong length")


def main():
    for dtype in TYPES:
        for rows, k in ((1, 32), (16, 64), (17, 96), (33, 160)):
            check_layout(dtype, rows, k)
        if not quant.is_quantised(dtype):
            check_layout(dtype, 18, 33)
    check_against_gguf()
    check_refusals()
    print(", ".join(f"{n} {word}" for word, n in COUNTS.items()))
    return 1 if COUNTS["failed"] or not COUNTS["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
