/* SPDX-License-Identifier: MIT */
/*
 * softmax.c: out = e / sum(e), e = exp(x*scale - max(x*scale)), along each row.
 *
 * The maximum ignores NaN, and the sign of a zero maximum does not matter: x - 0 and x + 0 differ only in zeros, whose
 * exponential is 1. The sum runs over 16 lanes and the tree; tail lanes add +0.
 */
#include "elementary_avx512.h"
#include "kernels_avx512.h"

static float softmax_max_avx512(const float *x, uint32_t dim, __m512 scale)
{
    const __m512 low = _mm512_set1_ps(q_float_u32(0xff800000u));
    __m512 m = low;
    uint32_t i = 0;
    for (; i + 16u <= dim; i += 16) {
        m = _mm512_max_ps(_mm512_mul_ps(_mm512_loadu_ps(x + i), scale), m);
    }
    if (i < dim) {
        __m512 v = _mm512_mul_ps(vec_load_n(x + i, dim - i), scale);
        m = _mm512_max_ps(_mm512_mask_mov_ps(low, avx512_mask(dim - i), v), m);
    }
    return avx512_lane_max(m);
}

/* A row without a finite value: -infinity gives 0, NaN stays. */
static void softmax_empty_avx512(const float *x, float *out, uint32_t dim, __m512 scale)
{
    for (uint32_t i = 0; i < dim; i += 16) {
        __m512 v = _mm512_mul_ps(vec_load_n(x + i, dim - i), scale);
        vec_store_n(out + i, dim - i, _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), v));
    }
}

static void softmax_row_avx512(const float *x, float *out, uint32_t dim, float scale_value)
{
    const __m512 scale = _mm512_set1_ps(scale_value);
    float max_value = softmax_max_avx512(x, dim, scale);
    const __m512 max = _mm512_set1_ps(max_value);
    __m512 lane = _mm512_setzero_ps();
    uint32_t i = 0;
    if (max_value == q_float_u32(0xff800000u)) {
        softmax_empty_avx512(x, out, dim, scale);
        return;
    }
    for (; i + 16u <= dim; i += 16) {
        __m512 e = q_exp_m512(_mm512_sub_ps(_mm512_mul_ps(_mm512_loadu_ps(x + i), scale), max));
        lane = _mm512_add_ps(lane, e);
        _mm512_storeu_ps(out + i, e);
    }
    if (i < dim) {
        __m512 e = q_exp_m512(_mm512_sub_ps(_mm512_mul_ps(vec_load_n(x + i, dim - i), scale), max));
        lane = _mm512_mask_add_ps(lane, avx512_mask(dim - i), lane, e);
        vec_store_n(out + i, dim - i, e);
    }
    const __m512 sum = _mm512_set1_ps(avx512_lane_sum(lane));
    for (i = 0; i + 16u <= dim; i += 16) {
        _mm512_storeu_ps(out + i, _mm512_div_ps(_mm512_loadu_ps(out + i), sum));
    }
    if (i < dim) {
        vec_store_n(out + i, dim - i, _mm512_div_ps(vec_load_n(out + i, dim - i), sum));
    }
}

void q_softmax_avx512(const q_work *work, const q_softmax_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        softmax_row_avx512(x86_row(a->x, a->x_stride, r), x86_row_out(a->out, a->out_stride, r), a->dim,
                           a->scale);
    }
}
