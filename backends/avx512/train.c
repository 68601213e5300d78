/* SPDX-License-Identifier: MIT */
/*
 * train.c: mean squared error and the gradient of a bias.
 */
#include "kernels_avx512.h"

/* Differences of n <= 16 values, and their gradient. */
static inline __m512 mse_difference(const float *x, const float *target, float *grad, uint32_t i, uint32_t n)
{
    __m512 d = _mm512_sub_ps(avx512_load_n(x + i, n), avx512_load_n(target + i, n));
    if (grad != NULL) {
        avx512_store_n(grad + i, n, _mm512_add_ps(d, d));
    }
    return d;
}

static float mse_row_avx512(const float *x, const float *target, float *grad, uint32_t dim)
{
    __m512 lane = _mm512_setzero_ps();
    uint32_t i = 0;
    for (; i + 16u <= dim; i += 16) {
        __m512 d = mse_difference(x, target, grad, i, 16);
        lane = _mm512_fmadd_ps(d, d, lane);
    }
    if (i < dim) {
        __m512 d = mse_difference(x, target, grad, i, dim - i);
        lane = _mm512_fmadd_ps(d, d, lane);
    }
    return avx512_lane_sum(lane);
}

/* Rows ascending, by worker 0. */
void q_mse_avx512(const q_work *work, const q_mse_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    float sum = 0;
    if (work->worker != 0) {
        return;
    }
    for (uint32_t r = 0; r < rows; r++) {
        float *grad = a->grad != NULL ? avx512_row_out(a->grad, a->grad_stride, r) : NULL;
        sum = sum + mse_row_avx512(avx512_row(a->x, a->x_stride, r), avx512_row(a->target, a->target_stride, r), grad,
                                   a->dim);
    }
    a->loss[0] = sum * (1 / ((float)rows * (float)a->dim));
}

void q_bias_grad_avx512(const q_work *work, const q_bias_grad_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, q_ceil_div_u32(a->dim, 16), &begin, &end);
    for (uint32_t i = begin * 16u; i < end * 16u && i < a->dim; i += 16) {
        const __mmask16 m = avx512_mask(a->dim - i);
        __m512 sum = a->accumulate ? _mm512_maskz_loadu_ps(m, a->grad + i) : _mm512_setzero_ps();
        for (uint32_t r = 0; r < rows; r++) {
            sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(m, avx512_row(a->dy, a->dy_stride, r) + i));
        }
        _mm512_mask_storeu_ps(a->grad + i, m, sum);
    }
}
