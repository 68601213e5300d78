/* SPDX-License-Identifier: MIT */
/*
 * rmsnorm.c: y[i] = (x[i] * s) * (weight[i] + offset), s = 1/sqrt(sum(x^2)/dim + eps).
 */
#include "kernels_avx2.h"

static float rmsnorm_row_scale(const float *x, uint32_t dim, float eps)
{
    __m256 lo = _mm256_setzero_ps();
    __m256 hi = _mm256_setzero_ps();
    for (uint32_t i = 0; i < dim; i += 16) {
        __m256 a = vec_load_n(x + i, dim - i);
        __m256 b = dim - i > 8u ? vec_load_n(x + i + 8, dim - i - 8u) : _mm256_setzero_ps();
        lo = _mm256_fmadd_ps(a, a, lo);
        hi = _mm256_fmadd_ps(b, b, hi);
    }
    float mean = q_hsum16_m256(lo, hi) / (float)dim;
    return 1.0f / q_sqrt(mean + eps);
}

static void rmsnorm_row(const q_rmsnorm_args *a, const float *x, float *y)
{
    const __m256 s = _mm256_set1_ps(rmsnorm_row_scale(x, a->dim, a->eps));
    const __m256 offset = _mm256_set1_ps(a->offset);
    for (uint32_t i = 0; i < a->dim; i += 8) {
        uint32_t n = a->dim - i;
        __m256 w = vec_load_n(a->weight + i, n);
        w = a->offset == 0 ? w : _mm256_add_ps(w, offset);
        vec_store_n(y + i, n, _mm256_mul_ps(_mm256_mul_ps(vec_load_n(x + i, n), s), w));
    }
}

void q_rmsnorm_avx2(const q_work *work, const q_rmsnorm_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        rmsnorm_row(a, x86_row(a->x, a->x_stride, r), x86_row_out(a->y, a->y_stride, r));
    }
}
