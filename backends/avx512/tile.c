/* SPDX-License-Identifier: MIT */
/*
 * tile.c: the two ends of every product's tile: where its chains start, and what happens to them before they are
 * stored. One register = 16 columns of y; tails by masks.
 */
#include "activation.h"

void q_tile_start_avx512(uint32_t rows, const float *bias, uint32_t m0, uint32_t lanes, float *acc, size_t acc_row)
{
    __m512 v = bias != NULL ? vec_load_n(bias + m0, lanes) : _mm512_setzero_ps();
    for (uint32_t t = 0; t < rows; t++) {
        _mm512_store_ps(acc + t * acc_row, v);
    }
}

/* The n <= 16 finished values of row r from column m. */
static inline __m512 tile_epilogue_avx512(const q_epilogue *e, uint32_t r, uint32_t m, uint32_t n, __m512 y)
{
    if (e->scale != NULL) {
        y = _mm512_mul_ps(y, vec_load_n(e->scale + m, n));
    }
    if (e->shift != NULL) {
        y = _mm512_add_ps(y, vec_load_n(e->shift + m, n));
    }
    y = avx512_activation(e->activation, y);
    if (e->gate != NULL) {
        y = _mm512_mul_ps(y, vec_load_n(x86_row(e->gate, e->gate_stride, r) + m, n));
    }
    if (e->residual != NULL) {
        y = _mm512_add_ps(vec_load_n(x86_row(e->residual, e->residual_stride, r) + m, n), y);
    }
    return y;
}

void q_tile_finish_avx512(const q_epilogue *e, uint32_t r, uint32_t rows, uint32_t m0, uint32_t lanes,
                          const float *acc, size_t acc_row, float *y, size_t y_stride)
{
    for (uint32_t t = 0; t < rows; t++) {
        __m512 v = tile_epilogue_avx512(e, r + t, m0, lanes, _mm512_load_ps(acc + t * acc_row));
        vec_store_n(x86_row_out(y, y_stride, r + t) + m0, lanes, v);
    }
}
