/* SPDX-License-Identifier: MIT */
/*
 * scale.c: values times a factor, all of them or those that dropout keeps.
 */
#include "qorus/base/random.h"
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

static void dropout_row(const q_dropout_args *a, const q_random_place *place, uint32_t first, uint32_t r)
{
    const q_real *x = scalar_row(a->x, a->x_stride, r);
    const q_real *residual = a->residual != NULL ? scalar_row(a->residual, a->residual_stride, r) : NULL;
    q_real *out = scalar_row_out(a->out, a->out_stride, r);
    uint32_t bits[4] = {0, 0, 0, 0};
    if (a->whole != 0) {
        q_random_block(place, 0, bits);
        bits[1] = bits[2] = bits[3] = bits[0];
    }
    for (uint32_t i = 0; i < a->dim; i++) {
        if (a->whole == 0 && i % 4u == 0) {
            q_random_block(place, first + i / 4u, bits);
        }
        q_real y = bits[i % 4u] >> 8 >= a->threshold ? x[i] * a->factor : 0;
        out[i] = residual != NULL ? residual[i] + y : y;
    }
}

void q_dropout_scalar(const q_work *work, const q_dropout_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, rows, &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        q_sample_row at = q_sample_of_row(work->run, rows, a->per_sample, r);
        q_random_place place = {work->run->seed, work->run->step, a->node, at.sample};
        dropout_row(a, &place, at.row * q_ceil_div_u32(a->dim, 4), r);
    }
}
