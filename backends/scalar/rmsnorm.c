/* SPDX-License-Identifier: MIT */
/*
 * rmsnorm.c: y[i] = (x[i] * s) * (weight[i] + offset), s = 1/sqrt(sum(x^2)/dim + eps).
 */
#include "scalar.h"

static q_real rmsnorm_scale(const q_real *x, uint32_t dim, q_real eps)
{
    q_real lane[Q_LANES];
    scalar_lane_clear(lane);
    for (uint32_t i = 0; i < dim; i++) {
        lane[i % Q_LANES] = q_fma(x[i], x[i], lane[i % Q_LANES]);
    }
    q_real mean = scalar_lane_sum(lane) / (q_real)dim;
    return 1 / q_sqrt(mean + eps);
}

void q_rmsnorm_scalar(const q_work *work, const q_rmsnorm_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *x = scalar_norm_row(&a->sum, a->x, a->x_stride, a->dim, r);
        q_real *y = scalar_row_out(a->y, a->y_stride, r);
        q_real s = rmsnorm_scale(x, a->dim, a->eps);
        for (uint32_t i = 0; i < a->dim; i++) {
            q_real weight = a->offset == 0 ? a->weight[i] : a->weight[i] + a->offset;
            y[i] = (x[i] * s) * weight;
        }
    }
}
