/* SPDX-License-Identifier: MIT */
/*
 * softmax.c: out = e / sum(e), e = exp(x*scale - max(x*scale)), along each row.
 *
 * The maximum ignores NaN, and the sign of a zero maximum does not matter: x - 0 and x + 0 differ
 * only in zeros, whose exponential is 1. The sum runs over 16 lanes and the tree; tail lanes add
 * +0.
 */
#include "elementary_avx2.h"
#include "kernels_avx2.h"

static float softmax_row_max(const float *x, uint32_t dim, __m256 scale)
{
    const __m256 low = _mm256_set1_ps(q_float_u32(0xff800000u));
    __m256 m = low;
    for (uint32_t i = 0; i < dim; i += 8) {
        __m256 v = _mm256_mul_ps(vec_load_n(x + i, dim - i), scale);
        v = _mm256_blendv_ps(low, v, _mm256_castsi256_ps(vec_mask(dim - i)));
        m = _mm256_max_ps(v, m);
    }
    return avx2_lane_max(m, m);
}

/* A row without a finite value: -infinity gives 0, NaN stays. */
static void softmax_row_empty(const float *x, float *out, uint32_t dim, __m256 scale)
{
    for (uint32_t i = 0; i < dim; i += 8) {
        __m256 v = _mm256_mul_ps(vec_load_n(x + i, dim - i), scale);
        vec_store_n(out + i, dim - i, _mm256_and_ps(v, _mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
    }
}

static __m256 softmax_exp(const float *x, uint32_t n, __m256 scale, __m256 max)
{
    __m256 e = q_exp_m256(_mm256_sub_ps(_mm256_mul_ps(vec_load_n(x, n), scale), max));
    return _mm256_and_ps(e, _mm256_castsi256_ps(vec_mask(n)));
}

static void softmax_row_avx2(const float *x, float *out, uint32_t dim, float scale_value)
{
    const __m256 scale = _mm256_set1_ps(scale_value);
    float max_value = softmax_row_max(x, dim, scale);
    const __m256 max = _mm256_set1_ps(max_value);
    __m256 lo = _mm256_setzero_ps();
    __m256 hi = _mm256_setzero_ps();
    if (max_value == q_float_u32(0xff800000u)) {
        softmax_row_empty(x, out, dim, scale);
        return;
    }
    for (uint32_t i = 0; i < dim; i += 16) {
        __m256 e = softmax_exp(x + i, dim - i, scale, max);
        lo = _mm256_add_ps(lo, e);
        vec_store_n(out + i, dim - i, e);
        if (dim - i > 8u) {
            e = softmax_exp(x + i + 8, dim - i - 8u, scale, max);
            hi = _mm256_add_ps(hi, e);
            vec_store_n(out + i + 8, dim - i - 8u, e);
        }
    }
    const __m256 sum = _mm256_set1_ps(q_hsum16_m256(lo, hi));
    for (uint32_t i = 0; i < dim; i += 8) {
        vec_store_n(out + i, dim - i, _mm256_div_ps(vec_load_n(out + i, dim - i), sum));
    }
}

void q_softmax_avx2(const q_work *work, const q_softmax_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        softmax_row_avx2(x86_row(a->x, a->x_stride, r), x86_row_out(a->out, a->out_stride, r),
                         a->dim, a->scale);
    }
}
