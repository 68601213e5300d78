/* SPDX-License-Identifier: MIT */
/*
 * train.h: grad[i] = (accumulate ? grad[i] : 0) + sum over rows of dy[r][i], rows ascending.
 */
#ifndef Q_X86_TRAIN_H
#define Q_X86_TRAIN_H

enum { BIAS_ROWS = 8 };

/* grad[i] += dy[r][i], r ascending, for n rows, a constant, and columns begin .. end - 1. Rows are read side by side, as
   they lie in memory. */
X86_INLINE void bias_rows(const q_bias_grad_args *a, const uint32_t n, uint32_t r, uint32_t begin, uint32_t end)
{
    const float *dy = x86_row(a->dy, a->dy_stride, r);
    for (uint32_t i = begin; i < end; i += VEC) {
        vec sum = vec_load_n(a->grad + i, end - i);
        for (uint32_t t = 0; t < n; t++) {
            sum = vec_add(sum, vec_load_n(x86_row(dy, a->dy_stride, t) + i, end - i));
        }
        vec_store_n(a->grad + i, end - i, sum);
    }
}

static void x86_bias_grad(const q_work *work, const q_bias_grad_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    uint32_t r = 0;
    q_share(work, q_ceil_div_u32(a->dim, VEC), &begin, &end);
    begin *= VEC;
    end = end * VEC < a->dim ? end * VEC : a->dim;
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

#endif /* Q_X86_TRAIN_H */
