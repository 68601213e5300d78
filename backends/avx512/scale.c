/* SPDX-License-Identifier: MIT */
/*
 * scale.c: values times a factor.
 */
#include "kernels_avx512.h"

void q_scale_avx512(const q_work *work, const q_scale_args *a)
{
    const __m512 factor = _mm512_set1_ps(a->factor);
    x86_items part = x86_share_items(work, q_count_value(work->run, a->rows), a->dim);
    for (uint32_t r = part.row0; r < part.row1; r++) {
        const float *x = x86_row(a->x, a->x_stride, r);
        float *out = x86_row_out(a->out, a->out_stride, r);
        for (uint32_t i = part.col0; i < part.col1; i += 16) {
            uint32_t n = part.col1 - i;
            __m512 y = _mm512_mul_ps(vec_load_n(x + i, n), factor);
            if (a->accumulate != 0) {
                y = _mm512_add_ps(vec_load_n(out + i, n), y);
            }
            vec_store_n(out + i, n, y);
        }
    }
}
