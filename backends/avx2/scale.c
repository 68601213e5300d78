/* SPDX-License-Identifier: MIT */
/*
 * scale.c: values times a factor.
 */
#include "element.h"

void q_scale_avx2(const q_work *work, const q_scale_args *a)
{
    const __m256 factor = _mm256_set1_ps(a->factor);
    element_part part = element_share(work, q_count_value(work->run, a->rows), a->dim);
    for (uint32_t r = part.row0; r < part.row1; r++) {
        const float *x = avx2_row(a->x, a->x_stride, r);
        float *out = avx2_row_out(a->out, a->out_stride, r);
        for (uint32_t i = part.col0; i < part.col1; i += 8) {
            uint32_t n = part.col1 - i;
            __m256 y = _mm256_mul_ps(avx2_load_n(x + i, n), factor);
            if (a->accumulate != 0) {
                y = _mm256_add_ps(avx2_load_n(out + i, n), y);
            }
            avx2_store_n(out + i, n, y);
        }
    }
}
