/* SPDX-License-Identifier: MIT */
/*
 * activate.c: activations of values, and their derivatives.
 */
#include "epilogue.h"

void q_activate_scalar(const q_work *work, const q_activate_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *x = scalar_row(a->x, a->x_stride, r);
        q_real *out = scalar_row_out(a->out, a->out_stride, r);
        for (uint32_t i = 0; i < a->dim; i++) {
            out[i] = scalar_activation(a->activation, x[i]);
        }
    }
}

static q_real slope_of_silu(q_real x)
{
    q_real g = q_sigmoid(x);
    return g * q_fma(x, 1 - g, 1);
}

/* NaN stays. */
static q_real scalar_clamp(q_real x, q_real limit)
{
    return x < -limit ? -limit : x > limit ? limit : x;
}

static q_real slope_of_gelu_tanh(q_real v)
{
    const q_real a = (q_real)1.5957691216057308;
    q_real x = scalar_clamp(v, 12);
    q_real q = x * x;
    q_real g = q_sigmoid(x * q_fma(q, (q_real)0.07135481627159646, a));
    return q_fma(x * q_fma(q, (q_real)0.21406444881478937, a), g * (1 - g), g);
}

static q_real slope_of_gelu_erf(q_real v)
{
    q_real x = scalar_clamp(v, 16);
    q_real e = q_fma(q_erf(x * (q_real)0.7071067811865476), (q_real)0.5, (q_real)0.5);
    q_real p = q_exp((x * x) * (q_real)-0.5) * (q_real)0.3989422804014327;
    return q_fma(x, p, e);
}

static q_real scalar_activation_grad(uint32_t activation, q_real v, q_real dy)
{
    switch (activation) {
    case Q_ACT_RELU:
        return v > 0 ? dy : 0;
    case Q_ACT_SIGMOID:
        return dy * (v * (1 - v));
    case Q_ACT_TANH:
        return dy * q_fma(-v, v, 1);
    case Q_ACT_SILU:
        return dy * slope_of_silu(v);
    case Q_ACT_GELU_TANH:
        return dy * slope_of_gelu_tanh(v);
    case Q_ACT_GELU_ERF:
        return dy * slope_of_gelu_erf(v);
    default:
        return dy;
    }
}

void q_activate_grad_scalar(const q_work *work, const q_activate_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *v = scalar_row(a->v, a->v_stride, r);
        const q_real *dy = scalar_row(a->dy, a->dy_stride, r);
        q_real *dx = scalar_row_out(a->dx, a->dx_stride, r);
        for (uint32_t i = 0; i < a->dim; i++) {
            q_real d = scalar_activation_grad(a->activation, v[i], dy[i]);
            dx[i] = a->accumulate != 0 ? dx[i] + d : d;
        }
    }
}
