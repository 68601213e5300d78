/* SPDX-License-Identifier: MIT */
/*
 * norm.c: LayerNorm along the row, forward and backward.
 */
#include "scalar.h"

static q_real layernorm_mean(const q_real *x, uint32_t dim)
{
    q_real lane[Q_LANES];
    scalar_lane_clear(lane);
    for (uint32_t i = 0; i < dim; i++) {
        lane[i % Q_LANES] = lane[i % Q_LANES] + x[i];
    }
    return scalar_lane_sum(lane) / (q_real)dim;
}

static q_real layernorm_scale(const q_real *x, uint32_t dim, q_real mean, q_real eps)
{
    q_real lane[Q_LANES];
    scalar_lane_clear(lane);
    for (uint32_t i = 0; i < dim; i++) {
        q_real d = x[i] - mean;
        lane[i % Q_LANES] = q_fma(d, d, lane[i % Q_LANES]);
    }
    q_real var = scalar_lane_sum(lane) / (q_real)dim;
    return 1 / q_sqrt(var + eps);
}

void q_layernorm_scalar(const q_work *work, const q_layernorm_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *x = scalar_norm_row(&a->sum, a->x, a->x_stride, a->dim, r);
        q_real *y = scalar_row_out(a->y, a->y_stride, r);
        q_real mean = layernorm_mean(x, a->dim);
        q_real s = layernorm_scale(x, a->dim, mean, a->eps);
        for (uint32_t i = 0; i < a->dim; i++) {
            q_real v = ((x[i] - mean) * s) * a->weight[i];
            y[i] = a->bias != NULL ? v + a->bias[i] : v;
        }
        if (a->stats != NULL) {
            a->stats[2u * (size_t)r] = mean;
            a->stats[2u * (size_t)r + 1u] = s;
        }
    }
}

/* ---- Backward --------------------------------------------------------------------------------------------- */

/* The means of g and of g*h over the row. */
static void layernorm_means(const q_layernorm_grad_args *a, const q_real *x, const q_real *dy, const q_real *stats,
                            q_real means[2])
{
    q_real lane[Q_LANES];
    q_real lane_h[Q_LANES];
    scalar_lane_clear(lane);
    scalar_lane_clear(lane_h);
    for (uint32_t i = 0; i < a->dim; i++) {
        q_real g = dy[i] * a->weight[i];
        q_real h = (x[i] - stats[0]) * stats[1];
        lane[i % Q_LANES] = lane[i % Q_LANES] + g;
        lane_h[i % Q_LANES] = q_fma(g, h, lane_h[i % Q_LANES]);
    }
    means[0] = scalar_lane_sum(lane) / (q_real)a->dim;
    means[1] = scalar_lane_sum(lane_h) / (q_real)a->dim;
}

void q_layernorm_grad_scalar(const q_work *work, const q_layernorm_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *x = scalar_row(a->x, a->x_stride, r);
        const q_real *dy = scalar_row(a->dy, a->dy_stride, r);
        const q_real *stats = a->stats + 2u * (size_t)r;
        q_real *dx = scalar_row_out(a->dx, a->dx_stride, r);
        q_real means[2];
        layernorm_means(a, x, dy, stats, means);
        for (uint32_t i = 0; i < a->dim; i++) {
            q_real g = dy[i] * a->weight[i];
            q_real h = (x[i] - stats[0]) * stats[1];
            q_real d = ((g - means[0]) - h * means[1]) * stats[1];
            dx[i] = a->accumulate != 0 ? dx[i] + d : d;
        }
        scalar_norm_pass(&a->pass, dx, a->dim, r);
    }
}

void q_layernorm_grad_param_scalar(const q_work *work, const q_layernorm_grad_param_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, a->dim, &begin, &end);
    for (uint32_t r = 0; r < rows; r++) {
        const q_real *x = scalar_row(a->x, a->x_stride, r);
        const q_real *dy = scalar_row(a->dy, a->dy_stride, r);
        const q_real *stats = a->stats + 2u * (size_t)r;
        for (uint32_t i = begin; i < end && a->grad_weight != NULL; i++) {
            a->grad_weight[i] = q_fma(dy[i], (x[i] - stats[0]) * stats[1], a->grad_weight[i]);
        }
        for (uint32_t i = begin; i < end && a->grad_bias != NULL; i++) {
            a->grad_bias[i] = a->grad_bias[i] + dy[i];
        }
    }
}
