/* SPDX-License-Identifier: MIT */
/*
 * softmax.c: out = e / sum(e), e = exp(x*scale - max(x*scale)), along each row.
 *
 * The maximum ignores NaN; sum(e) runs over 16 lanes and the tree. Where the maximum is -infinity
 * the row has no finite value: -infinity gives 0 there and NaN stays NaN.
 */
#include "scalar.h"

static q_real softmax_max(const q_real *x, uint32_t dim, q_real scale)
{
    q_real max = scalar_minus_infinity();
    for (uint32_t i = 0; i < dim; i++) {
        max = scalar_max(x[i] * scale, max);
    }
    return max;
}

static void softmax_empty(const q_real *x, q_real *out, uint32_t dim, q_real scale)
{
    for (uint32_t i = 0; i < dim; i++) {
        q_real v = x[i] * scale;
        out[i] = v == v ? 0 : v;
    }
}

static void softmax_row(const q_real *x, q_real *out, uint32_t dim, q_real scale)
{
    q_real max = softmax_max(x, dim, scale);
    q_real lane[Q_LANES];
    if (max == scalar_minus_infinity()) {
        softmax_empty(x, out, dim, scale);
        return;
    }
    scalar_lane_clear(lane);
    for (uint32_t i = 0; i < dim; i++) {
        out[i] = q_exp(x[i] * scale - max);
        lane[i % Q_LANES] = lane[i % Q_LANES] + out[i];
    }
    q_real sum = scalar_lane_sum(lane);
    for (uint32_t i = 0; i < dim; i++) {
        out[i] = out[i] / sum;
    }
}

void q_softmax_scalar(const q_work *work, const q_softmax_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        softmax_row(scalar_row(a->x, a->x_stride, r), scalar_row_out(a->out, a->out_stride, r),
                    a->dim, a->scale);
    }
}
