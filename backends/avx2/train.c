/* SPDX-License-Identifier: MIT */
/*
 * train.c: grad[i] = (accumulate ? grad[i] : 0) + sum over rows of dy[r][i], rows ascending.
 */
#include "kernels_avx2.h"

void q_bias_grad_avx2(const q_work *work, const q_bias_grad_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, q_ceil_div_u32(a->dim, 8), &begin, &end);
    for (uint32_t i = begin * 8u; i < end * 8u && i < a->dim; i += 8) {
        uint32_t n = a->dim - i;
        __m256 sum = a->accumulate ? avx2_load_n(a->grad + i, n) : _mm256_setzero_ps();
        for (uint32_t r = 0; r < rows; r++) {
            sum = _mm256_add_ps(sum, avx2_load_n(avx2_row(a->dy, a->dy_stride, r) + i, n));
        }
        avx2_store_n(a->grad + i, n, sum);
    }
}
