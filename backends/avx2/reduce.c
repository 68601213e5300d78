/* SPDX-License-Identifier: MIT */
/*
 * reduce.c: out[r] = sum or maximum of a row, over 16 lanes and the tree 8-4-2-1.
 *
 * A lane of a sum is never -0 (it begins at +0), so the zeros of the tail change nothing; the tail
 * of a maximum is -infinity.
 */
#include "kernels_avx2.h"

static float reduce_sum_row(const float *x, uint32_t dim)
{
    __m256 lo = _mm256_setzero_ps();
    __m256 hi = _mm256_setzero_ps();
    for (uint32_t i = 0; i < dim; i += 16) {
        uint32_t n = dim - i;
        lo = _mm256_add_ps(lo, vec_load_n(x + i, n));
        if (n > 8u) {
            hi = _mm256_add_ps(hi, vec_load_n(x + i + 8, n - 8u));
        }
    }
    return q_hsum16_m256(lo, hi);
}

/* The first n lanes of x, the rest -infinity. */
static __m256 reduce_load_max(const float *x, uint32_t n)
{
    const __m256 low = _mm256_set1_ps(q_float_u32(0xff800000u));
    return n >= 8u ? _mm256_loadu_ps(x)
                   : _mm256_blendv_ps(low, vec_load_n(x, n), _mm256_castsi256_ps(vec_mask(n)));
}

static float reduce_max_row(const float *x, uint32_t dim)
{
    __m256 lo = _mm256_set1_ps(q_float_u32(0xff800000u));
    __m256 hi = lo;
    for (uint32_t i = 0; i < dim; i += 16) {
        uint32_t n = dim - i;
        lo = _mm256_max_ps(reduce_load_max(x + i, n), lo);
        if (n > 8u) {
            hi = _mm256_max_ps(reduce_load_max(x + i + 8, n - 8u), hi);
        }
    }
    return avx2_lane_max(lo, hi);
}

void q_reduce_sum_avx2(const q_work *work, const q_reduce_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        a->out[r] = reduce_sum_row(x86_row(a->x, a->x_stride, r), a->dim);
    }
}

void q_reduce_max_avx2(const q_work *work, const q_reduce_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        a->out[r] = reduce_max_row(x86_row(a->x, a->x_stride, r), a->dim);
    }
}
