/* SPDX-License-Identifier: MIT */
/*
 * scale.c: values times a factor.
 */
#include "kernels_avx2.h"

void q_scale_avx2(const q_work *work, const q_scale_args *a)
{
    const __m256 factor = _mm256_set1_ps(a->factor);
    x86_items part = x86_share_items(work, q_count_value(work->run, a->rows), a->dim);
    for (uint32_t r = part.row0; r < part.row1; r++) {
        const float *x = x86_row(a->x, a->x_stride, r);
        float *out = x86_row_out(a->out, a->out_stride, r);
        for (uint32_t i = part.col0; i < part.col1; i += 8) {
            uint32_t n = part.col1 - i;
            __m256 y = _mm256_mul_ps(vec_load_n(x + i, n), factor);
            if (a->accumulate != 0) {
                y = _mm256_add_ps(vec_load_n(out + i, n), y);
            }
            vec_store_n(out + i, n, y);
        }
    }
}
