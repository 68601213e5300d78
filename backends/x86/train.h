/* SPDX-License-Identifier: MIT */
/*
 * train.h: grad[i] = (accumulate ? grad[i] : 0) + sum over rows of dy[r][i], rows ascending.
 */
#ifndef Q_X86_TRAIN_H
#define Q_X86_TRAIN_H

enum { BIAS_COLUMNS = 8, BIAS_AHEAD = 8 }; /* registers of columns whose sums run side by side; rows fetched ahead */

/* n registers of columns from i, a constant, through all rows; the last of them has `lanes`. */
X86_INLINE void bias_columns(const q_bias_grad_args *a, uint32_t rows, uint32_t i, const uint32_t n, uint32_t lanes)
{
    const size_t ahead = a->dy_stride * BIAS_AHEAD;
    const float *dy = a->dy + i;
    vec sum[BIAS_COLUMNS];
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        sum[t] = a->accumulate ? vec_load_n(a->grad + i + t * VEC, lanes) : vec_zero();
    }
    for (uint32_t r = 0; r < rows; r++, dy = x86_row(dy, a->dy_stride, 1)) {
        X86_UNROLL
        for (uint32_t t = 0; t < n; t++) {
            vec_fetch((const float *)(const void *)((uintptr_t)(dy + t * VEC) + ahead));
            sum[t] = vec_add(sum[t], lanes < VEC ? vec_load_n(dy + t * VEC, lanes) : vec_load(dy + t * VEC));
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        vec_store_n(a->grad + i + t * VEC, lanes, sum[t]);
    }
}

static void x86_bias_grad(const q_work *work, const q_bias_grad_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, q_ceil_div_u32(a->dim, VEC), &begin, &end);
    uint32_t i = begin * VEC;
    end = end * VEC < a->dim ? end * VEC : a->dim;
    for (; i + BIAS_COLUMNS * VEC <= end; i += BIAS_COLUMNS * VEC) {
        bias_columns(a, rows, i, BIAS_COLUMNS, VEC);
    }
    for (; i + 4u * VEC <= end; i += 4u * VEC) {
        bias_columns(a, rows, i, 4, VEC);
    }
    for (; i + 2u * VEC <= end; i += 2u * VEC) {
        bias_columns(a, rows, i, 2, VEC);
    }
    for (; i + VEC <= end; i += VEC) {
        bias_columns(a, rows, i, 1, VEC);
    }
    if (i < end) {
        bias_columns(a, rows, i, 1, end - i);
    }
}

#endif /* Q_X86_TRAIN_H */
