/* SPDX-License-Identifier: MIT */
/*
 * train.c: mean squared error, bias gradient and the step of plain gradient descent.
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

/* w = w - lr*(g*grad_scale), both products in double, each rounded once to float; eight values. */
static inline __m256 sgd_eight(__m256 w, __m256 g, __m512d scale, __m512d rate)
{
    __m256 step = _mm512_cvtpd_ps(_mm512_mul_pd(_mm512_cvtps_pd(g), scale));
    step = _mm512_cvtpd_ps(_mm512_mul_pd(rate, _mm512_cvtps_pd(step)));
    return _mm256_sub_ps(w, step);
}

void q_sgd_avx512(const q_work *work, const q_sgd_args *a)
{
    const __m512d scale = _mm512_set1_pd(a->grad_scale);
    const __m512d rate = _mm512_set1_pd(work->run->learning_rate);
    size_t share = (a->n + 15u) / 16u / work->n_workers;
    size_t rest = (a->n + 15u) / 16u % work->n_workers;
    size_t i = (share * work->worker + (work->worker < rest ? work->worker : rest)) * 16u;
    size_t end = i + (share + (work->worker < rest ? 1u : 0u)) * 16u;
    end = end < a->n ? end : a->n;
    for (; i + 8u <= end; i += 8) {
        _mm256_storeu_ps(a->w + i, sgd_eight(_mm256_loadu_ps(a->w + i), _mm256_loadu_ps(a->grad + i), scale, rate));
    }
    if (i < end) {
        const __mmask8 m = (__mmask8)((1u << (end - i)) - 1u);
        __m256 w = _mm256_maskz_loadu_ps(m, a->w + i);
        _mm256_mask_storeu_ps(a->w + i, m, sgd_eight(w, _mm256_maskz_loadu_ps(m, a->grad + i), scale, rate));
    }
}
