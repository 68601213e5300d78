/* SPDX-License-Identifier: MIT */
/*
 * rmsnorm.c: y[i] = (x[i] * s) * (weight[i] + offset), s = 1/sqrt(sum(x^2)/dim + eps).
 *
 * The order leaves one chain of fma per lane, so that one row waits for each of its steps; four rows at a time keep
 * the units busy.
 */
#include "kernels_avx512.h"

enum { NORM_ROWS = 4 };

/* s of `rows` rows from r. */
X86_INLINE void norm_scales(const uint32_t rows, const q_rmsnorm_args *a, uint32_t r, float s[NORM_ROWS])
{
    const float *x[NORM_ROWS];
    __m512 sum[NORM_ROWS];
    uint32_t i = 0;
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        x[t] = x86_row(a->x, a->x_stride, r + t);
        sum[t] = _mm512_setzero_ps();
    }
    for (; i + 16u <= a->dim; i += 16) {
        X86_UNROLL
        for (uint32_t t = 0; t < rows; t++) {
            __m512 v = _mm512_loadu_ps(x[t] + i);
            sum[t] = _mm512_fmadd_ps(v, v, sum[t]);
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        __m512 v = vec_load_n(x[t] + i, a->dim - i);
        sum[t] = _mm512_fmadd_ps(v, v, sum[t]);
        s[t] = 1.0f / q_sqrt(avx512_lane_sum(sum[t]) / (float)a->dim + a->eps);
    }
}

/* n <= 16 values of one row. */
static inline void norm_write(const q_rmsnorm_args *a, const float *x, float *y, uint32_t i, uint32_t n, __m512 s)
{
    __m512 w = vec_load_n(a->weight + i, n);
    w = a->offset == 0 ? w : _mm512_add_ps(w, _mm512_set1_ps(a->offset));
    vec_store_n(y + i, n, _mm512_mul_ps(_mm512_mul_ps(vec_load_n(x + i, n), s), w));
}

static void norm_row(const q_rmsnorm_args *a, uint32_t r, float scale)
{
    const float *x = x86_row(a->x, a->x_stride, r);
    float *y = x86_row_out(a->y, a->y_stride, r);
    const __m512 s = _mm512_set1_ps(scale);
    uint32_t i = 0;
    for (; i + 16u <= a->dim; i += 16) {
        norm_write(a, x, y, i, 16, s);
    }
    if (i < a->dim) {
        norm_write(a, x, y, i, a->dim - i, s);
    }
}

void q_rmsnorm_avx512(const q_work *work, const q_rmsnorm_args *a)
{
    float s[NORM_ROWS];
    uint32_t r;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &r, &end);
    for (; r + NORM_ROWS <= end; r += NORM_ROWS) {
        norm_scales(NORM_ROWS, a, r, s);
        for (uint32_t t = 0; t < NORM_ROWS; t++) {
            norm_row(a, r + t, s[t]);
        }
    }
    for (; r < end; r++) {
        norm_scales(1, a, r, s);
        norm_row(a, r, s[0]);
    }
}
