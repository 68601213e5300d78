/* SPDX-License-Identifier: MIT */
/*
 * tile.h: the two ends of every product's tile: where its chains start, and what happens to them before they are stored.
 */
#ifndef QORUS_BACKENDS_X86_TILE_H
#define QORUS_BACKENDS_X86_TILE_H

#include "x86.h"

/* Rows of acc lie acc_row floats apart. */
static inline void tile_start(uint32_t rows, const float *bias, uint32_t m0, uint32_t lanes, float *acc, size_t acc_row)
{
    for (uint32_t l = 0; l < Q_PANEL_ROWS; l += VEC) {
        vec v = bias != NULL && l < lanes ? vec_load_n(bias + m0 + l, lanes - l) : vec_zero();
        for (uint32_t t = 0; t < rows; t++) {
            vec_store(acc + t * acc_row + l, v);
        }
    }
}

/* The n <= VEC finished values of row r from column m. */
static inline vec tile_epilogue(const q_epilogue *e, uint32_t r, uint32_t m, uint32_t n, vec y)
{
    if (e->scale != NULL) {
        y = vec_mul(y, vec_load_n(e->scale + m, n));
    }
    if (e->shift != NULL) {
        y = vec_add(y, vec_load_n(e->shift + m, n));
    }
    y = vec_activation(e->activation, y);
    if (e->gate != NULL) {
        y = vec_mul(y, vec_load_n(x86_row(e->gate, e->gate_stride, r) + m, n));
    }
    if (e->residual != NULL) {
        y = vec_add(vec_load_n(x86_row(e->residual, e->residual_stride, r) + m, n), y);
    }
    return y;
}

static inline void tile_finish(const q_epilogue *e, uint32_t r, uint32_t rows, uint32_t m0, uint32_t lanes, const float *acc,
                               size_t acc_row, float *y, size_t y_stride)
{
    for (uint32_t t = 0; t < rows; t++) {
        float *out = x86_row_out(y, y_stride, r + t) + m0;
        for (uint32_t l = 0; l < lanes; l += VEC) {
            vec_store_n(out + l, lanes - l, tile_epilogue(e, r + t, m0 + l, lanes - l, vec_load(acc + t * acc_row + l)));
        }
    }
}

#endif /* QORUS_BACKENDS_X86_TILE_H */
