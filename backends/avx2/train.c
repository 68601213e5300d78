/* SPDX-License-Identifier: MIT */
/*
 * train.c: grad[i] = (accumulate ? grad[i] : 0) + sum over rows of dy[r][i], rows ascending.
 */
#include "kernels_avx2.h"

enum { BIAS_ROWS = 8 };

/* grad[i] += dy[r][i], r ascending, for n rows, a constant, and columns begin .. end - 1. Rows are read side by side, as
   they lie in memory. */
X86_INLINE void bias_rows(const q_bias_grad_args *a, const uint32_t n, uint32_t r, uint32_t begin, uint32_t end)
{
    const float *dy = x86_row(a->dy, a->dy_stride, r);
    for (uint32_t i = begin; i < end; i += 8) {
        __m256 sum = vec_load_n(a->grad + i, end - i);
        for (uint32_t t = 0; t < n; t++) {
            sum = _mm256_add_ps(sum, vec_load_n(x86_row(dy, a->dy_stride, t) + i, end - i));
        }
        vec_store_n(a->grad + i, end - i, sum);
    }
}

void q_bias_grad_avx2(const q_work *work, const q_bias_grad_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    uint32_t r = 0;
    q_share(work, q_ceil_div_u32(a->dim, 8), &begin, &end);
    begin *= 8;
    end = end * 8u < a->dim ? end * 8u : a->dim;
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
