/* SPDX-License-Identifier: MIT */
/*
 * activate.h: activations of values, and their derivatives.
 *
 * One row is shared out in pieces of 64 columns, several rows whole.
 */
#ifndef Q_X86_ACTIVATE_H
#define Q_X86_ACTIVATE_H

/* The rows of one activation, a constant here. */
X86_INLINE void activate_rows(const uint32_t activation, const q_work *work, const q_activate_args *a)
{
    x86_items part = x86_share_items(work, q_count_value(work->run, a->rows), a->dim);
    for (uint32_t r = part.row0; r < part.row1; r++) {
        const float *x = x86_row(a->x, a->x_stride, r);
        float *out = x86_row_out(a->out, a->out_stride, r);
        for (uint32_t i = part.col0; i < part.col1; i += VEC) {
            uint32_t n = part.col1 - i;
            vec_store_n(out + i, n, vec_activation(activation, vec_load_n(x + i, n)));
        }
    }
}

static void x86_activate(const q_work *work, const q_activate_args *a)
{
    switch (a->activation) {
    case Q_ACT_RELU:
        activate_rows(Q_ACT_RELU, work, a);
        break;
    case Q_ACT_SILU:
        activate_rows(Q_ACT_SILU, work, a);
        break;
    case Q_ACT_GELU_TANH:
        activate_rows(Q_ACT_GELU_TANH, work, a);
        break;
    case Q_ACT_GELU_ERF:
        activate_rows(Q_ACT_GELU_ERF, work, a);
        break;
    case Q_ACT_SIGMOID:
        activate_rows(Q_ACT_SIGMOID, work, a);
        break;
    case Q_ACT_TANH:
        activate_rows(Q_ACT_TANH, work, a);
        break;
    default:
        activate_rows(Q_ACT_NONE, work, a);
        break;
    }
}

/* ---- Derivatives: slope_of_* of the scalar backend ------------------------------------------------------ */

static inline vec silu_slope_m512(vec x)
{
    const vec one = vec_set(1.0f);
    vec g = vec_sigmoid(x);
    return vec_mul(g, vec_fma(x, vec_sub(one, g), one));
}

static inline vec gelu_tanh_slope_m512(vec v)
{
    const vec a = vec_set(1.5957691216057308f);
    vec x = vec_clamp(v, -12.0f, 12.0f);
    vec q = vec_mul(x, x);
    vec t = vec_mul(x, vec_fma(q, vec_set(0.07135481627159646f), a));
    vec g = vec_sigmoid(t);
    vec rest = vec_mul(g, vec_sub(vec_set(1.0f), g));
    vec steep = vec_mul(x, vec_fma(q, vec_set(0.21406444881478937f), a));
    return vec_fma(steep, rest, g);
}

static inline vec gelu_erf_slope_m512(vec v)
{
    const vec half = vec_set(0.5f);
    vec x = vec_clamp(v, -16.0f, 16.0f);
    vec e = vec_fma(vec_erf(vec_mul(x, vec_set(0.7071067811865476f))), half, half);
    vec p = vec_exp(vec_mul(vec_mul(x, x), vec_set(-0.5f)));
    return vec_fma(x, vec_mul(p, vec_set(0.3989422804014327f)), e);
}

static inline vec activation_grad_m512(uint32_t activation, vec v, vec dy)
{
    switch (activation) {
    case Q_ACT_SILU:
        return vec_mul(dy, silu_slope_m512(v));
    case Q_ACT_GELU_TANH:
        return vec_mul(dy, gelu_tanh_slope_m512(v));
    case Q_ACT_GELU_ERF:
        return vec_mul(dy, gelu_erf_slope_m512(v));
    default:
        return vec_through(activation, v, dy);
    }
}

X86_INLINE void activate_grad_rows(const uint32_t activation, const q_work *work, const q_activate_grad_args *a)
{
    x86_items part = x86_share_items(work, q_count_value(work->run, a->rows), a->dim);
    for (uint32_t r = part.row0; r < part.row1; r++) {
        const float *v = x86_row(a->v, a->v_stride, r);
        const float *dy = x86_row(a->dy, a->dy_stride, r);
        float *dx = x86_row_out(a->dx, a->dx_stride, r);
        for (uint32_t i = part.col0; i < part.col1; i += VEC) {
            uint32_t n = part.col1 - i;
            vec d = activation_grad_m512(activation, vec_load_n(v + i, n), vec_load_n(dy + i, n));
            if (a->accumulate != 0) {
                d = vec_add(vec_load_n(dx + i, n), d);
            }
            vec_store_n(dx + i, n, d);
        }
    }
}

static void x86_activate_grad(const q_work *work, const q_activate_grad_args *a)
{
    switch (a->activation) {
    case Q_ACT_RELU:
        activate_grad_rows(Q_ACT_RELU, work, a);
        break;
    case Q_ACT_SIGMOID:
        activate_grad_rows(Q_ACT_SIGMOID, work, a);
        break;
    case Q_ACT_TANH:
        activate_grad_rows(Q_ACT_TANH, work, a);
        break;
    case Q_ACT_SILU:
        activate_grad_rows(Q_ACT_SILU, work, a);
        break;
    case Q_ACT_GELU_TANH:
        activate_grad_rows(Q_ACT_GELU_TANH, work, a);
        break;
    case Q_ACT_GELU_ERF:
        activate_grad_rows(Q_ACT_GELU_ERF, work, a);
        break;
    default:
        activate_grad_rows(Q_ACT_NONE, work, a);
        break;
    }
}

#endif /* Q_X86_ACTIVATE_H */
