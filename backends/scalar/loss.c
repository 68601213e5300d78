/* SPDX-License-Identifier: MIT */
/*
 * loss.c: losses of pairs and cross-entropy, row by row, and their gradients.
 */
#include "scalar.h"

/* ---- Pairs -------------------------------------------------------------------------------------------------- */

typedef struct pair_slopes {
    q_real loss;
    q_real dx;
    q_real dt;
} pair_slopes;

static q_real log_1_plus(q_real e)
{
    q_real u = 1 + e;
    return q_log(u) + (e - (u - 1)) / u;
}

static pair_slopes huber_of(q_real d, q_real delta)
{
    q_real size = d < 0 ? -d : d;
    pair_slopes s;
    s.loss = size <= delta ? (d * (q_real)0.5) * d : delta * (size - delta * (q_real)0.5);
    s.dx = d < -delta ? -delta : d > delta ? delta : d;
    s.dt = -s.dx;
    return s;
}

static pair_slopes bce_of(q_real x, q_real t, q_real w)
{
    q_real k = q_fma(w - 1, t, 1);
    q_real rest = log_1_plus(q_exp(x < 0 ? x : -x));
    pair_slopes s;
    s.loss = q_fma(x >= 0 ? 1 - t : -(w * t), x, k * rest);
    s.dx = q_fma(k, q_sigmoid(x), -(w * t));
    s.dt = q_fma(x >= 0 ? -1 : -w, x, (w - 1) * rest);
    return s;
}

static q_real pair_row(const q_pair_loss_args *a, const q_real *x, const q_real *t, q_real *dx, q_real *dt)
{
    q_real lane[Q_LANES];
    scalar_lane_clear(lane);
    for (uint32_t i = 0; i < a->dim; i++) {
        q_real d = x[i] - t[i];
        pair_slopes s = {0, 2 * d, -(2 * d)};
        if (a->kind == Q_LOSS_MSE) {
            lane[i % Q_LANES] = q_fma(d, d, lane[i % Q_LANES]);
        } else {
            s = a->kind == Q_LOSS_HUBER ? huber_of(d, a->delta) : bce_of(x[i], t[i], a->weight != NULL ? a->weight[i] : 1);
            lane[i % Q_LANES] = lane[i % Q_LANES] + s.loss;
        }
        if (dx != NULL) {
            dx[i] = (a->accumulate & 1u) != 0 ? dx[i] + s.dx * a->scale : s.dx * a->scale;
        }
        if (dt != NULL) {
            dt[i] = (a->accumulate & 2u) != 0 ? dt[i] + s.dt * a->scale : s.dt * a->scale;
        }
    }
    return scalar_lane_sum(lane);
}

void q_pair_loss_scalar(const q_work *work, const q_pair_loss_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        q_real sum = pair_row(a, scalar_row(a->x, a->x_stride, r), scalar_row(a->t, a->t_stride, r),
                              a->dx != NULL ? scalar_row_out(a->dx, a->dx_stride, r) : NULL,
                              a->dt != NULL ? scalar_row_out(a->dt, a->dt_stride, r) : NULL);
        if (a->loss != NULL) {
            a->loss[r] = sum;
        }
    }
}

/* ---- Cross-entropy ------------------------------------------------------------------------------------------ */

static q_real class_weight(const q_cross_entropy_args *a, uint32_t i)
{
    return a->weight != NULL ? a->weight[i] : 1;
}

static q_real log_sum(const q_cross_entropy_args *a, const q_real *x, q_real top)
{
    q_real lane[Q_LANES];
    scalar_lane_clear(lane);
    for (uint32_t i = 0; i < a->classes; i++) {
        lane[i % Q_LANES] = lane[i % Q_LANES] + q_exp(x[i] - top);
    }
    return q_log(scalar_lane_sum(lane));
}

static q_real smooth_sum(const q_cross_entropy_args *a, const q_real *x, q_real top, q_real total)
{
    q_real lane[Q_LANES];
    scalar_lane_clear(lane);
    for (uint32_t i = 0; i < a->classes; i++) {
        lane[i % Q_LANES] = q_fma(class_weight(a, i), total - (x[i] - top), lane[i % Q_LANES]);
    }
    return scalar_lane_sum(lane);
}

void q_cross_entropy_scalar(const q_work *work, const q_cross_entropy_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *x = scalar_row(a->x, a->x_stride, r);
        q_real top = scalar_minus_infinity();
        q_real *lse = a->lse + 2 * (size_t)r;
        q_real total;
        for (uint32_t i = 0; i < a->classes; i++) {
            top = scalar_max(x[i], top);
        }
        total = log_sum(a, x, top);
        lse[0] = top;
        lse[1] = total;
        a->loss[r] = a->count[r] = 0;
        if (a->target[r] != a->ignore) {
            uint32_t y = (uint32_t)a->target[r];
            q_real w = class_weight(a, y);
            q_real own = w * (total - (x[y] - top));
            q_real share = a->smoothing / (q_real)a->classes;
            a->count[r] = w;
            a->loss[r] = a->smoothing > 0 ? q_fma(1 - a->smoothing, own, share * smooth_sum(a, x, top, total)) : own;
        }
    }
}

static q_real weight_sum(const q_cross_entropy_args *a)
{
    q_real lane[Q_LANES];
    scalar_lane_clear(lane);
    for (uint32_t i = 0; i < a->classes && a->weight != NULL; i++) {
        lane[i % Q_LANES] = lane[i % Q_LANES] + a->weight[i];
    }
    return a->weight != NULL ? scalar_lane_sum(lane) : (q_real)a->classes;
}

static void scalar_cross_entropy_grad_row(const q_cross_entropy_args *a, uint32_t r, q_real all, q_real *dx)
{
    const q_real *x = scalar_row(a->x, a->x_stride, r);
    const q_real *lse = a->lse + 2 * (size_t)r;
    uint32_t y = (uint32_t)a->target[r];
    q_real share = a->smoothing / (q_real)a->classes;
    q_real own = (1 - a->smoothing) * class_weight(a, y);
    q_real q = own + share * all;
    for (uint32_t i = 0; i < a->classes; i++) {
        q_real h = share * class_weight(a, i);
        q_real d = q_fma(q_exp((x[i] - lse[0]) - lse[1]), q, -(i == y ? h + own : h)) * a->scale;
        dx[i] = a->accumulate != 0 ? dx[i] + d : d;
    }
}

void q_cross_entropy_grad_scalar(const q_work *work, const q_cross_entropy_args *a)
{
    q_real all = weight_sum(a);
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        q_real *dx = scalar_row_out(a->dx, a->dx_stride, r);
        if (a->target[r] != a->ignore) {
            scalar_cross_entropy_grad_row(a, r, all, dx);
        } else if (a->accumulate == 0) {
            memset(dx, 0, a->classes * sizeof(q_real));
        }
    }
}
