/* SPDX-License-Identifier: MIT */
/*
 * reduce.c: out[r] = sum or maximum of a row, over 16 lanes and the tree 8-4-2-1.
 *
 * The lanes of the maximum begin at -infinity and take v where v > lane, so that NaN is ignored and
 * the sign of a zero maximum is settled by the order.
 */
#include "scalar.h"

static q_real reduce_row_sum(const q_real *x, uint32_t dim)
{
    q_real lane[Q_LANES];
    scalar_lane_clear(lane);
    for (uint32_t i = 0; i < dim; i++) {
        lane[i % Q_LANES] = lane[i % Q_LANES] + x[i];
    }
    return scalar_lane_sum(lane);
}

static q_real reduce_row_max(const q_real *x, uint32_t dim)
{
    q_real lane[Q_LANES];
    for (uint32_t i = 0; i < Q_LANES; i++) {
        lane[i] = scalar_minus_infinity();
    }
    for (uint32_t i = 0; i < dim; i++) {
        lane[i % Q_LANES] = scalar_max(x[i], lane[i % Q_LANES]);
    }
    for (uint32_t half = Q_LANES / 2; half > 0; half /= 2) {
        for (uint32_t i = 0; i < half; i++) {
            lane[i] = scalar_max(lane[i + half], lane[i]);
        }
    }
    return lane[0];
}

void q_reduce_sum_scalar(const q_work *work, const q_reduce_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        a->out[r] = reduce_row_sum(scalar_row(a->x, a->x_stride, r), a->dim);
    }
}

void q_reduce_max_scalar(const q_work *work, const q_reduce_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        a->out[r] = reduce_row_max(scalar_row(a->x, a->x_stride, r), a->dim);
    }
}
