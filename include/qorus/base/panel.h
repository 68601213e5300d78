/* SPDX-License-Identifier: MIT */
/*
 * panel.h: where each weight of a matrix lies, in both layouts.
 *
 * panel16 keeps 16 rows together. Rows are zero-padded to a multiple of 16. One panel holds, for K columns:
 *
 *   F32         [K][16] f32
 *   F16, BF16   [K][16] u16, padded to 64 bytes
 *   Q8_0        scales f16 [K/32][16], padded to 64 bytes; then [K/32][8][16 rows][4] i8
 *   Q4_0        scales f16 [K/32][16], padded to 64 bytes; then [K/32][4][16 rows][4] u8
 *   Q4_1        scales f16 [K/32][16], minima f16 [K/32][16], padded to 64 bytes; then as Q4_0
 *
 * A byte of Q4 at group g (0..3), position i (0..3) carries column 4g+i of its block of 32 in the low nibble
 * and column 16+4g+i in the high one, the pairing GGUF uses; a padded row has scale 0 and quants 0.
 *
 * PLAIN keeps rows as they come: F32, F16, BF16 as arrays, quantised rows as GGUF blocks
 * (Q8_0: d, 32 q: 34 bytes; Q4_0: d, 16 bytes: 18; Q4_1: d, m, 16 bytes: 20).
 */
#ifndef QORUS_BASE_PANEL_H
#define QORUS_BASE_PANEL_H

#include "checked.h"

enum { Q_PANEL_ROWS = 16, Q_BLOCK = 32 };

static inline bool q_dtype_is_a8(uint32_t dtype)
{
    return dtype == Q_A8 || dtype == Q_A8X2;
}

static inline bool q_dtype_is_quantised(uint32_t dtype)
{
    return dtype == Q_Q8_0 || dtype == Q_Q4_0 || dtype == Q_Q4_1;
}

/* Columns of one storage block, and its bytes; 0 for a dtype that cannot be stored so. */
static inline uint32_t q_dtype_block(uint32_t dtype)
{
    return q_dtype_is_quantised(dtype) ? (uint32_t)Q_BLOCK : 1u;
}

static inline uint32_t q_dtype_block_bytes(uint32_t dtype)
{
    switch (dtype) {
    case Q_F32:
    case Q_I32:
        return 4;
    case Q_F16:
    case Q_BF16:
        return 2;
    case Q_F64:
        return 8;
    case Q_Q8_0:
        return 34;
    case Q_Q4_0:
        return 18;
    case Q_Q4_1:
        return 20;
    default:
        return 0;
    }
}

/* Bytes of one plain row of k columns; false: dtype unknown, k not a multiple of the block, or overflow. */
static inline bool q_plain_row_bytes(uint32_t dtype, uint64_t k, uint64_t *bytes)
{
    uint32_t block_bytes = q_dtype_block_bytes(dtype);
    uint32_t block = q_dtype_block(dtype);
    if (dtype == Q_A8 || dtype == Q_A8X2) {
        uint64_t row;
        return k % Q_BLOCK == 0 && k <= UINT32_MAX && q_mul_u64(k / 4, dtype == Q_A8 ? 5 : 10, &row) &&
               q_align_u64(row, Q_ALIGN, bytes);
    }
    if (block_bytes == 0 || k % block != 0) {
        return false;
    }
    return q_mul_u64(k / block, block_bytes, bytes);
}

/* Bytes of the scales (and minima) that open a panel; 0 for float types. */
static inline uint64_t q_panel_scale_bytes(uint32_t dtype, uint32_t k)
{
    uint64_t n = (uint64_t)(k / Q_BLOCK) * Q_PANEL_ROWS * 2u;
    if (!q_dtype_is_quantised(dtype)) {
        return 0;
    }
    n = dtype == Q_Q4_1 ? n * 2u : n;
    return (n + (Q_ALIGN - 1)) & ~(uint64_t)(Q_ALIGN - 1);
}

/* Bytes of one panel of 16 rows by k columns; 0 if the dtype has no panel form or k does not fit it. */
static inline uint64_t q_panel_bytes(uint32_t dtype, uint32_t k)
{
    uint64_t n;
    if (k == 0 || k % q_dtype_block(dtype) != 0) {
        return 0;
    }
    switch (dtype) {
    case Q_F32:
        return (uint64_t)k * 64u;
    case Q_F16:
    case Q_BF16:
        n = (uint64_t)k * 32u;
        return (n + (Q_ALIGN - 1)) & ~(uint64_t)(Q_ALIGN - 1);
    case Q_Q8_0:
        return q_panel_scale_bytes(dtype, k) + (uint64_t)k * 16u;
    case Q_Q4_0:
    case Q_Q4_1:
        return q_panel_scale_bytes(dtype, k) + (uint64_t)k * 8u;
    default:
        return 0;
    }
}

/* Bytes of a matrix of `rows` by `k` in a layout; false: impossible for this dtype, or overflow. */
static inline bool q_matrix_bytes(uint32_t dtype, uint32_t layout, uint64_t rows, uint64_t k, uint64_t *bytes)
{
    uint64_t row;
    if (layout == Q_PANEL16) {
        uint64_t panel;
        if (k > UINT32_MAX || rows > UINT32_MAX) {
            return false;
        }
        panel = q_panel_bytes(dtype, (uint32_t)k);
        return panel != 0 && q_mul_u64(panel, q_ceil_div_u32((uint32_t)rows, Q_PANEL_ROWS), bytes);
    }
    return layout == Q_PLAIN && q_plain_row_bytes(dtype, k, &row) && q_mul_u64(row, rows, bytes);
}

#endif /* QORUS_BASE_PANEL_H */
