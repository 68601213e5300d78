# SPDX-License-Identifier: MIT
"""Layout panel16 in NumPy: plain rows to panels and back, a permutation of bytes.

16 rows lie together, rows are zero-padded to a multiple of 16, and a panel is, for K columns:

    F32         [K][16] f32
    F16, BF16   [K][16] u16, padded to 64 bytes
    Q8_0        scales f16 [K/32][16], padded to 64 bytes; [K/32][8][16 rows][4] i8
    Q4_0        scales f16 [K/32][16], padded to 64 bytes; [K/32][4][16 rows][4] u8
    Q4_1        scales f16 [K/32][16], minima f16 [K/32][16], padded to 64 bytes; then as Q4_0

include/qorus/base/panel.h says the same in C.
"""
import numpy as np

from . import quant

ROWS = 16
ALIGN = 64


def _align(n):
    return -(-n // ALIGN) * ALIGN


def scale_bytes(dtype, k):
    """Bytes of the scales (and minima) that open a panel."""
    if not quant.is_quantised(dtype):
        return 0
    return _align(k // quant.BLOCK * ROWS * (4 if dtype == quant.Q4_1 else 2))


def panel_bytes(dtype, k):
    """Bytes of one panel of 16 rows by k columns."""
    quant.row_bytes(dtype, k)
    if quant.is_quantised(dtype):
        return scale_bytes(dtype, k) + k * (16 if dtype == quant.Q8_0 else 8)
    return _align(k * ROWS * quant.BLOCK_BYTES[dtype])


def _columns(raw, width):
    """[panels*16][n * width] -> [panels][n][16][width]: unit n of every row side by side."""
    panels = raw.shape[0] // ROWS
    return raw.reshape(panels, ROWS, -1, width).transpose(0, 2, 1, 3)


def pack(raw, dtype, k):
    """Plain rows, uint8 [rows][row bytes] -> panels, uint8 [panels][panel bytes]."""
    raw = np.ascontiguousarray(raw, dtype=np.uint8)
    rows = raw.shape[0]
    if raw.shape[1] != quant.row_bytes(dtype, k):
        raise ValueError(f"a row of {k} columns has {quant.row_bytes(dtype, k)} bytes, got {raw.shape[1]}")
    panels = -(-rows // ROWS)
    padded = np.zeros((panels * ROWS, raw.shape[1]), dtype=np.uint8)
    padded[:rows] = raw
    out = np.zeros((panels, panel_bytes(dtype, k)), dtype=np.uint8)
    if not quant.is_quantised(dtype):
        body = _columns(padded, quant.BLOCK_BYTES[dtype]).reshape(panels, -1)
        out[:, :body.shape[1]] = body
        return out
    blocks = padded.reshape(panels * ROWS, k // quant.BLOCK, -1)
    at = 0
    for part in range(2 if dtype == quant.Q4_1 else 1):
        halves = blocks[:, :, 2 * part:2 * part + 2].reshape(panels * ROWS, -1)
        halves = _columns(halves, 2).reshape(panels, -1)
        out[:, at:at + halves.shape[1]] = halves
        at += halves.shape[1]
    head = 4 if dtype == quant.Q4_1 else 2
    body = _columns(blocks[:, :, head:].reshape(panels * ROWS, -1), 4).reshape(panels, -1)
    out[:, scale_bytes(dtype, k):] = body
    return out


def unpack(packed, dtype, rows, k):
    """Panels, uint8 [panels][panel bytes] -> plain rows, uint8 [rows][row bytes]. Inverse of pack()."""
    packed = np.ascontiguousarray(packed, dtype=np.uint8)
    panels = packed.shape[0]

    def rows_of(body, width):
        return body.reshape(panels, -1, ROWS, width).transpose(0, 2, 1, 3).reshape(panels * ROWS, -1)

    if not quant.is_quantised(dtype):
        width = quant.BLOCK_BYTES[dtype]
        return np.ascontiguousarray(rows_of(packed[:, :k * ROWS * width], width)[:rows])
    n = k // quant.BLOCK
    parts = []
    for part in range(2 if dtype == quant.Q4_1 else 1):
        at = part * n * ROWS * 2
        parts.append(rows_of(packed[:, at:at + n * ROWS * 2], 2).reshape(panels * ROWS, n, 2))
    body = rows_of(packed[:, scale_bytes(dtype, k):], 4)
    parts.append(body.reshape(panels * ROWS, n, -1))
    return np.ascontiguousarray(np.concatenate(parts, axis=2).reshape(panels * ROWS, -1)[:rows])
