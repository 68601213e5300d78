/* SPDX-License-Identifier: MIT */
/*
 * rmsnorm.h: y[i] = (x[i] * s) * (weight[i] + offset), s = 1/sqrt(sum(x^2)/dim + eps).
 *
 * The order leaves one chain of fma per lane, so that one row waits for each of its steps; four rows at a time keep
 * the units busy.
 */
#ifndef Q_X86_RMSNORM_H
#define Q_X86_RMSNORM_H

#include "sum.h"

enum { NORM_ROWS = 4 };

/* s of `rows` rows from r. */
X86_INLINE void norm_scales(const uint32_t rows, const q_rmsnorm_args *a, uint32_t r, float s[NORM_ROWS])
{
    const float *x[NORM_ROWS];
    vec16 sum[NORM_ROWS];
    uint32_t i = 0;
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        x[t] = sum_row(&a->sum, a->x, a->x_stride, a->dim, r + t);
        sum[t] = vec16_zero();
    }
    for (; i + 16u <= a->dim; i += 16) {
        X86_UNROLL
        for (uint32_t t = 0; t < rows; t++) {
            vec16 v = vec16_load(x[t] + i);
            sum[t] = vec16_fma(v, v, sum[t]);
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        vec16 v = vec16_load_n(x[t] + i, a->dim - i);
        sum[t] = vec16_fma(v, v, sum[t]);
        s[t] = 1.0f / q_sqrt(vec16_sum(sum[t]) / (float)a->dim + a->eps);
    }
}

/* n <= VEC values of one row. */
static inline void norm_write(const q_rmsnorm_args *a, const float *x, float *y, uint32_t i, uint32_t n, vec s)
{
    vec w = vec_load_n(a->weight + i, n);
    w = a->offset == 0 ? w : vec_add(w, vec_set(a->offset));
    vec_store_n(y + i, n, vec_mul(vec_mul(vec_load_n(x + i, n), s), w));
}

static void norm_row(const q_rmsnorm_args *a, uint32_t r, float scale)
{
    const float *x = x86_row(a->x, a->x_stride, r);
    float *y = x86_row_out(a->y, a->y_stride, r);
    const vec s = vec_set(scale);
    uint32_t i = 0;
    for (; i + VEC <= a->dim; i += VEC) {
        norm_write(a, x, y, i, VEC, s);
    }
    if (i < a->dim) {
        norm_write(a, x, y, i, a->dim - i, s);
    }
}

static void x86_rmsnorm(const q_work *work, const q_rmsnorm_args *a)
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

#endif /* Q_X86_RMSNORM_H */
