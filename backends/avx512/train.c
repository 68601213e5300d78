/* SPDX-License-Identifier: MIT */
/*
 * train.c: mean squared error and the gradient of a bias.
 */
#include "kernels_avx512.h"

enum { BIAS_ROWS = 8 };

/* Differences of n <= 16 values, and their gradient. */
static inline __m512 mse_difference(const float *x, const float *target, float *grad, uint32_t i, uint32_t n)
{
    __m512 d = _mm512_sub_ps(vec_load_n(x + i, n), vec_load_n(target + i, n));
    if (grad != NULL) {
        vec_store_n(grad + i, n, _mm512_add_ps(d, d));
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
        float *grad = a->grad != NULL ? x86_row_out(a->grad, a->grad_stride, r) : NULL;
        sum = sum + mse_row_avx512(x86_row(a->x, a->x_stride, r), x86_row(a->target, a->target_stride, r), grad,
                                   a->dim);
    }
    a->loss[0] = sum * (1 / ((float)rows * (float)a->dim));
}

/* grad[i] += dy[r][i], r ascending, for n rows, a constant, and columns begin .. end - 1. Rows are read side by side, as
   they lie in memory. */
X86_INLINE void bias_rows(const q_bias_grad_args *a, const uint32_t n, uint32_t r, uint32_t begin, uint32_t end)
{
    const float *dy = x86_row(a->dy, a->dy_stride, r);
    for (uint32_t i = begin; i < end; i += 16) {
        __m512 sum = vec_load_n(a->grad + i, end - i);
        for (uint32_t t = 0; t < n; t++) {
            sum = _mm512_add_ps(sum, vec_load_n(x86_row(dy, a->dy_stride, t) + i, end - i));
        }
        vec_store_n(a->grad + i, end - i, sum);
    }
}

void q_bias_grad_avx512(const q_work *work, const q_bias_grad_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    uint32_t r = 0;
    q_share(work, q_ceil_div_u32(a->dim, 16), &begin, &end);
    begin *= 16;
    end = end * 16u < a->dim ? end * 16u : a->dim;
    if (!a->accumulate && begin < end) {
        memset(a->grad + begin, 0, (end - begin) * sizeof(float));
    }
    for (; r + BIAS_ROWS <= rows; r += BIAS_ROWS) {
        bias_rows(a, BIAS_ROWS, r, begin, end);
    }
    for (; r < rows; r++) {
        bias_rows(a, 1, r, begin, end);
    }
}
