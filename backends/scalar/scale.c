/* SPDX-License-Identifier: MIT */
/*
 * scale.c: values times a factor.
 */
#include "scalar.h"

void q_scale_scalar(const q_work *work, const q_scale_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *x = scalar_row(a->x, a->x_stride, r);
        q_real *out = scalar_row_out(a->out, a->out_stride, r);
        for (uint32_t i = 0; i < a->dim; i++) {
            q_real y = x[i] * a->factor;
            out[i] = a->accumulate != 0 ? out[i] + y : y;
        }
    }
}
