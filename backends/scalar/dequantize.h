/* SPDX-License-Identifier: MIT */
/*
 * dequantize.h: weights as reals: four columns of a panel, or one block of 32 of a row.
 *
 * Q8_0: d*q, Q4_0: d*(q-8), both exact in f32; Q4_1: d*q + m, where d*q is exact and the sum is
 * rounded once.
 */
#ifndef Q_SCALAR_DEQUANTIZE_H
#define Q_SCALAR_DEQUANTIZE_H

#include "scalar.h"

/* Value of one quant q (a byte of Q8_0, a nibble of Q4) under scale d and minimum m. */
static inline q_real scalar_dequant(uint32_t dtype, uint32_t q, uint16_t d, uint16_t m)
{
    q_real scale = (q_real)q_f32_from_f16(d);
    if (dtype == Q_Q8_0) {
        return scale * (q_real)((int32_t)(q ^ 0x80u) - 128);
    }
    if (dtype == Q_Q4_0) {
        return scale * (q_real)((int32_t)q - 8);
    }
    return scale * (q_real)(int32_t)q + (q_real)q_f32_from_f16(m);
}

static inline q_real scalar_float_weight(uint32_t dtype, const void *at, size_t i)
{
    if (dtype == Q_F32) {
        return (q_real)((const float *)at)[i];
    }
    if (dtype == Q_F16) {
        return (q_real)q_f32_from_f16(((const uint16_t *)at)[i]);
    }
    return (q_real)q_f32_from_bf16(((const uint16_t *)at)[i]);
}

/* Quants of a panel of k columns. */
static inline const uint8_t *scalar_panel_quants(uint32_t dtype, const uint8_t *panel, uint32_t k)
{
    return panel + (size_t)q_panel_scale_bytes(dtype, k);
}

/* Quant of (row, column) of a panel, `quants` from scalar_panel_quants. */
static inline uint32_t scalar_panel_quant(uint32_t dtype, const uint8_t *quants, uint32_t row,
                                          uint32_t column)
{
    size_t block = column / Q_BLOCK;
    uint32_t c = column % Q_BLOCK;
    if (dtype == Q_Q8_0) {
        return quants[block * 512u + (c / 4u) * 64u + row * 4u + c % 4u];
    }
    uint32_t byte = quants[block * 256u + (c % 16u / 4u) * 64u + row * 4u + c % 4u];
    return c < 16u ? byte & 15u : byte >> 4;
}

/* Weight (row, column) of a panel of k columns. */
static inline q_real scalar_panel_weight(uint32_t dtype, const uint8_t *panel, uint32_t k,
                                         uint32_t row, uint32_t column)
{
    if (!q_dtype_is_quantised(dtype)) {
        return scalar_float_weight(dtype, panel, (size_t)column * Q_PANEL_ROWS + row);
    }
    const uint16_t *d = (const uint16_t *)(const void *)panel;
    size_t at = (size_t)(column / Q_BLOCK) * Q_PANEL_ROWS + row;
    size_t minima = (size_t)(k / Q_BLOCK) * Q_PANEL_ROWS;
    uint32_t q = scalar_panel_quant(dtype, scalar_panel_quants(dtype, panel, k), row, column);
    return scalar_dequant(dtype, q, d[at], dtype == Q_Q4_1 ? d[minima + at] : (uint16_t)0);
}

/* Scale, minimum and quant of a plain row are bytes at any alignment. */
static inline uint16_t scalar_u16_at(const uint8_t *p)
{
    return (uint16_t)(p[0] | (uint32_t)p[1] << 8);
}

/* Weight `column` of a plain quantised row. */
static inline q_real scalar_plain_weight(uint32_t dtype, const uint8_t *row, uint32_t column)
{
    if (!q_dtype_is_quantised(dtype)) {
        return scalar_float_weight(dtype, row, column);
    }
    const uint8_t *block = row + (size_t)(column / Q_BLOCK) * q_dtype_block_bytes(dtype);
    const uint8_t *quants = block + (dtype == Q_Q4_1 ? 4 : 2);
    uint32_t c = column % Q_BLOCK;
    uint32_t q;
    if (dtype == Q_Q8_0) {
        q = quants[c];
    } else {
        q = c < 16u ? quants[c] & 15u : (uint32_t)quants[c - 16u] >> 4;
    }
    return scalar_dequant(dtype, q, scalar_u16_at(block),
                          dtype == Q_Q4_1 ? scalar_u16_at(block + 2) : (uint16_t)0);
}

#endif /* Q_SCALAR_DEQUANTIZE_H */
