/* SPDX-License-Identifier: MIT */
/*
 * train.c: mean squared error and the gradient of a bias.
 */
#include "scalar.h"

static q_real mse_row(const q_real *x, const q_real *target, q_real *grad, uint32_t dim)
{
    q_real lane[Q_LANES];
    scalar_lane_clear(lane);
    for (uint32_t i = 0; i < dim; i++) {
        q_real d = x[i] - target[i];
        lane[i % Q_LANES] = q_fma(d, d, lane[i % Q_LANES]);
        if (grad != NULL) {
            grad[i] = 2 * d;
        }
    }
    return scalar_lane_sum(lane);
}

/* loss = (sum of d^2) * (1/(rows*dim)), d = x - target; grad = 2*d. Rows ascending, by worker 0. */
void q_mse_scalar(const q_work *work, const q_mse_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    q_real sum = 0;
    if (work->worker != 0) {
        return;
    }
    for (uint32_t r = 0; r < rows; r++) {
        q_real *grad = a->grad != NULL ? scalar_row_out(a->grad, a->grad_stride, r) : NULL;
        sum = sum + mse_row(scalar_row(a->x, a->x_stride, r),
                            scalar_row(a->target, a->target_stride, r), grad, a->dim);
    }
    a->loss[0] = sum * (1 / ((q_real)rows * (q_real)a->dim));
}

void q_bias_grad_scalar(const q_work *work, const q_bias_grad_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, a->dim, &begin, &end);
    for (uint32_t i = begin; i < end && !a->accumulate; i++) {
        a->grad[i] = 0;
    }
    for (uint32_t r = 0; r < rows; r++) {
        const q_real *dy = scalar_row(a->dy, a->dy_stride, r);
        for (uint32_t i = begin; i < end; i++) {
            a->grad[i] = a->grad[i] + dy[i];
        }
    }
}
