/* SPDX-License-Identifier: MIT */
/*
 * optim.c: steps of optimizers, norms of gradients, averages of weights. The formulas are those of q_optimizer_args.
 */
#include "scalar.h"

/* The gradient as the optimizer sees it. */
static q_real optim_gradient(const q_optimizer_args *a, size_t i)
{
    q_real g = a->grad[i] * a->grad_scale;
    if (a->limit > 0) {
        g = g < -a->limit ? -a->limit : g;
        g = g > a->limit ? a->limit : g;
    }
    return a->decay > 0 ? q_fma(a->decay, a->w[i], g) : g;
}

void q_sgd_scalar(const q_work *work, const q_optimizer_args *a)
{
    size_t begin;
    size_t end;
    q_share_elements(work, a->n, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        q_real g = optim_gradient(a, i);
        if (a->m != NULL) {
            a->m[i] = q_fma(a->beta1, a->m[i], g);
            g = a->nesterov != 0 ? q_fma(a->beta1, a->m[i], g) : a->m[i];
        }
        a->w[i] = q_fma(-a->rate, g, a->w[i] * a->keep);
    }
}

void q_adam_scalar(const q_work *work, const q_optimizer_args *a)
{
    size_t begin;
    size_t end;
    q_share_elements(work, a->n, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        q_real g = optim_gradient(a, i);
        a->m[i] = q_fma(a->beta1, a->m[i], a->rest1 * g);
        a->v[i] = q_fma(a->beta2, a->v[i], (a->rest2 * g) * g);
        a->w[i] = q_fma(-a->rate, a->m[i] / q_fma(q_sqrt(a->v[i]), a->correction, a->eps), a->w[i] * a->keep);
    }
}

void q_lion_scalar(const q_work *work, const q_optimizer_args *a)
{
    size_t begin;
    size_t end;
    q_share_elements(work, a->n, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        q_real g = optim_gradient(a, i);
        q_real u = q_fma(a->beta1, a->m[i], a->rest1 * g);
        q_real sign = u > 0 ? (q_real)1 : u < 0 ? (q_real)-1 : 0;
        a->w[i] = q_fma(-a->rate, sign, a->w[i] * a->keep);
        a->m[i] = q_fma(a->beta2, a->m[i], a->rest2 * g);
    }
}

void q_sum_squares_scalar(const q_work *work, const q_sum_squares_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, (uint32_t)((a->n + Q_SUM_SQUARES_CHUNK - 1) / Q_SUM_SQUARES_CHUNK), &begin, &end);
    for (uint32_t c = begin; c < end; c++) {
        size_t first = (size_t)c * Q_SUM_SQUARES_CHUNK;
        size_t n = a->n - first < Q_SUM_SQUARES_CHUNK ? a->n - first : Q_SUM_SQUARES_CHUNK;
        q_real lane[Q_LANES];
        scalar_lane_clear(lane);
        for (size_t i = 0; i < n; i++) {
            lane[i % Q_LANES] = q_fma(a->x[first + i], a->x[first + i], lane[i % Q_LANES]);
        }
        a->partial[c] = scalar_lane_sum(lane);
    }
}

void q_rescale_scalar(const q_work *work, const q_rescale_args *a)
{
    size_t begin;
    size_t end;
    q_share_elements(work, a->n, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        a->x[i] = a->x[i] * a->factor;
    }
}

void q_average_scalar(const q_work *work, const q_average_args *a)
{
    size_t begin;
    size_t end;
    q_share_elements(work, a->n, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        a->average[i] = q_fma(a->share, a->x[i] - a->average[i], a->average[i]);
    }
}
