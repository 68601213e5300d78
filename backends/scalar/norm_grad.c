/* SPDX-License-Identifier: MIT */
/* norm_grad.c: gradients of rmsnorm, of its weight, and of softmax. */
#include "scalar.h"

static q_real grad_weight(const q_rmsnorm_grad_args *a, uint32_t i)
{
    return a->offset == 0 ? a->weight[i] : a->weight[i] + a->offset;
}

/* s of a row, as rmsnorm has it, and *dot = sum of dy*w'*x. */
static q_real rmsnorm_grad_sums(const q_rmsnorm_grad_args *a, const q_real *x, const q_real *dy, q_real *dot)
{
    q_real square[Q_LANES];
    q_real lane[Q_LANES];
    scalar_lane_clear(square);
    scalar_lane_clear(lane);
    for (uint32_t i = 0; i < a->dim; i++) {
        q_real g = dy[i] * grad_weight(a, i);
        square[i % Q_LANES] = q_fma(x[i], x[i], square[i % Q_LANES]);
        lane[i % Q_LANES] = q_fma(g, x[i], lane[i % Q_LANES]);
    }
    *dot = scalar_lane_sum(lane);
    return 1 / q_sqrt(scalar_lane_sum(square) / (q_real)a->dim + a->eps);
}

void q_rmsnorm_grad_scalar(const q_work *work, const q_rmsnorm_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *x = scalar_row(a->x, a->x_stride, r);
        const q_real *dy = scalar_row(a->dy, a->dy_stride, r);
        q_real *dx = a->dx != NULL ? scalar_row_out(a->dx, a->dx_stride, r) : NULL;
        q_real dot;
        q_real s = rmsnorm_grad_sums(a, x, dy, &dot);
        q_real c = ((dot / (q_real)a->dim) * s) * s;
        a->s[r] = s;
        for (uint32_t i = 0; dx != NULL && i < a->dim; i++) {
            q_real v = q_fma(-x[i], c, dy[i] * grad_weight(a, i)) * s;
            dx[i] = a->accumulate != 0 ? dx[i] + v : v;
        }
        if (dx != NULL) {
            scalar_norm_pass(&a->pass, dx, a->dim, r);
        }
    }
}

void q_rmsnorm_weight_grad_scalar(const q_work *work, const q_rmsnorm_grad_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, a->dim, &begin, &end);
    for (uint32_t r = 0; r < rows; r++) {
        const q_real *x = scalar_row(a->x, a->x_stride, r);
        const q_real *dy = scalar_row(a->dy, a->dy_stride, r);
        for (uint32_t i = begin; i < end; i++) {
            a->grad[i] = q_fma(dy[i], x[i] * a->s[r], a->grad[i]);
        }
    }
}

void q_softmax_grad_scalar(const q_work *work, const q_softmax_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *y = scalar_row(a->y, a->y_stride, r);
        const q_real *dy = scalar_row(a->dy, a->dy_stride, r);
        q_real *dx = scalar_row_out(a->dx, a->dx_stride, r);
        q_real lane[Q_LANES];
        scalar_lane_clear(lane);
        for (uint32_t i = 0; i < a->dim; i++) {
            lane[i % Q_LANES] = q_fma(y[i], dy[i], lane[i % Q_LANES]);
        }
        q_real dot = scalar_lane_sum(lane);
        for (uint32_t i = 0; i < a->dim; i++) {
            q_real v = (y[i] * (dy[i] - dot)) * a->scale;
            dx[i] = a->accumulate != 0 ? dx[i] + v : v;
        }
    }
}
