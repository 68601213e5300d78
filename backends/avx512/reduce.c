/* SPDX-License-Identifier: MIT */
/*
 * reduce.c: out[r] = sum or maximum of a row, over 16 lanes and the tree 8-4-2-1; one register is the 16 lanes.
 *
 * A lane of a sum is never -0 (it begins at +0), so the zeros of the tail change nothing; the tail of a maximum is
 * -infinity. Four rows at a time, for each is one chain.
 */
#include "kernels_avx512.h"

enum { REDUCE_ROWS = 4 };

X86_INLINE void reduce_rows(const bool max, const uint32_t rows, const q_reduce_args *a, uint32_t r)
{
    const __m512 start = max ? _mm512_set1_ps(q_float_u32(0xff800000u)) : _mm512_setzero_ps();
    const float *x[REDUCE_ROWS];
    __m512 lane[REDUCE_ROWS];
    uint32_t i = 0;
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        x[t] = x86_row(a->x, a->x_stride, r + t);
        lane[t] = start;
    }
    for (; i + 16u <= a->dim; i += 16) {
        X86_UNROLL
        for (uint32_t t = 0; t < rows; t++) {
            __m512 v = _mm512_loadu_ps(x[t] + i);
            lane[t] = max ? _mm512_max_ps(v, lane[t]) : _mm512_add_ps(lane[t], v);
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        __m512 v = _mm512_mask_loadu_ps(start, avx512_mask(a->dim - i), x[t] + i);
        lane[t] = max ? _mm512_max_ps(v, lane[t]) : _mm512_add_ps(lane[t], v);
        a->out[r + t] = max ? avx512_lane_max(lane[t]) : avx512_lane_sum(lane[t]);
    }
}

X86_INLINE void reduce_all(const bool max, const q_work *work, const q_reduce_args *a)
{
    uint32_t r;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &r, &end);
    for (; r + REDUCE_ROWS <= end; r += REDUCE_ROWS) {
        reduce_rows(max, REDUCE_ROWS, a, r);
    }
    for (; r < end; r++) {
        reduce_rows(max, 1, a, r);
    }
}

void q_reduce_sum_avx512(const q_work *work, const q_reduce_args *a)
{
    reduce_all(false, work, a);
}

void q_reduce_max_avx512(const q_work *work, const q_reduce_args *a)
{
    reduce_all(true, work, a);
}
