/* SPDX-License-Identifier: MIT */
/*
 * activate.c: activations of values, and their derivatives.
 *
 * One row is shared out in pieces of 64 columns, several rows whole.
 */
#include "kernels_avx512.h"
#include "activation.h"

/* The rows of one activation, a constant here. */
X86_INLINE void activate_rows_avx512(const uint32_t activation, const q_work *work, const q_activate_args *a)
{
    x86_items part = x86_share_items(work, q_count_value(work->run, a->rows), a->dim);
    for (uint32_t r = part.row0; r < part.row1; r++) {
        const float *x = x86_row(a->x, a->x_stride, r);
        float *out = x86_row_out(a->out, a->out_stride, r);
        for (uint32_t i = part.col0; i < part.col1; i += 16) {
            uint32_t n = part.col1 - i;
            vec_store_n(out + i, n, vec_activation(activation, vec_load_n(x + i, n)));
        }
    }
}

void q_activate_avx512(const q_work *work, const q_activate_args *a)
{
    switch (a->activation) {
    case Q_ACT_RELU:
        activate_rows_avx512(Q_ACT_RELU, work, a);
        break;
    case Q_ACT_SILU:
        activate_rows_avx512(Q_ACT_SILU, work, a);
        break;
    case Q_ACT_GELU_TANH:
        activate_rows_avx512(Q_ACT_GELU_TANH, work, a);
        break;
    case Q_ACT_GELU_ERF:
        activate_rows_avx512(Q_ACT_GELU_ERF, work, a);
        break;
    case Q_ACT_SIGMOID:
        activate_rows_avx512(Q_ACT_SIGMOID, work, a);
        break;
    case Q_ACT_TANH:
        activate_rows_avx512(Q_ACT_TANH, work, a);
        break;
    default:
        activate_rows_avx512(Q_ACT_NONE, work, a);
        break;
    }
}

/* ---- Derivatives: slope_of_* of the scalar backend ------------------------------------------------------ */

static inline __m512 silu_slope_m512(__m512 x)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    __m512 g = q_sigmoid_m512(x);
    return _mm512_mul_ps(g, _mm512_fmadd_ps(x, _mm512_sub_ps(one, g), one));
}

static inline __m512 gelu_tanh_slope_m512(__m512 v)
{
    const __m512 a = _mm512_set1_ps(1.5957691216057308f);
    __m512 x = q_clamp_m512(v, -12.0f, 12.0f);
    __m512 q = _mm512_mul_ps(x, x);
    __m512 t = _mm512_mul_ps(x, _mm512_fmadd_ps(q, _mm512_set1_ps(0.07135481627159646f), a));
    __m512 g = q_sigmoid_m512(t);
    __m512 rest = _mm512_mul_ps(g, _mm512_sub_ps(_mm512_set1_ps(1.0f), g));
    __m512 steep = _mm512_mul_ps(x, _mm512_fmadd_ps(q, _mm512_set1_ps(0.21406444881478937f), a));
    return _mm512_fmadd_ps(steep, rest, g);
}

static inline __m512 gelu_erf_slope_m512(__m512 v)
{
    const __m512 half = _mm512_set1_ps(0.5f);
    __m512 x = q_clamp_m512(v, -16.0f, 16.0f);
    __m512 e = _mm512_fmadd_ps(q_erf_m512(_mm512_mul_ps(x, _mm512_set1_ps(0.7071067811865476f))), half, half);
    __m512 p = q_exp_m512(_mm512_mul_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(-0.5f)));
    return _mm512_fmadd_ps(x, _mm512_mul_ps(p, _mm512_set1_ps(0.3989422804014327f)), e);
}

static inline __m512 activation_grad_m512(uint32_t activation, __m512 v, __m512 dy)
{
    switch (activation) {
    case Q_ACT_SILU:
        return _mm512_mul_ps(dy, silu_slope_m512(v));
    case Q_ACT_GELU_TANH:
        return _mm512_mul_ps(dy, gelu_tanh_slope_m512(v));
    case Q_ACT_GELU_ERF:
        return _mm512_mul_ps(dy, gelu_erf_slope_m512(v));
    default:
        return vec_through(activation, v, dy);
    }
}

X86_INLINE void activate_grad_rows_avx512(const uint32_t activation, const q_work *work, const q_activate_grad_args *a)
{
    x86_items part = x86_share_items(work, q_count_value(work->run, a->rows), a->dim);
    for (uint32_t r = part.row0; r < part.row1; r++) {
        const float *v = x86_row(a->v, a->v_stride, r);
        const float *dy = x86_row(a->dy, a->dy_stride, r);
        float *dx = x86_row_out(a->dx, a->dx_stride, r);
        for (uint32_t i = part.col0; i < part.col1; i += 16) {
            uint32_t n = part.col1 - i;
            __m512 d = activation_grad_m512(activation, vec_load_n(v + i, n), vec_load_n(dy + i, n));
            if (a->accumulate != 0) {
                d = _mm512_add_ps(vec_load_n(dx + i, n), d);
            }
            vec_store_n(dx + i, n, d);
        }
    }
}

void q_activate_grad_avx512(const q_work *work, const q_activate_grad_args *a)
{
    switch (a->activation) {
    case Q_ACT_RELU:
        activate_grad_rows_avx512(Q_ACT_RELU, work, a);
        break;
    case Q_ACT_SIGMOID:
        activate_grad_rows_avx512(Q_ACT_SIGMOID, work, a);
        break;
    case Q_ACT_TANH:
        activate_grad_rows_avx512(Q_ACT_TANH, work, a);
        break;
    case Q_ACT_SILU:
        activate_grad_rows_avx512(Q_ACT_SILU, work, a);
        break;
    case Q_ACT_GELU_TANH:
        activate_grad_rows_avx512(Q_ACT_GELU_TANH, work, a);
        break;
    case Q_ACT_GELU_ERF:
        activate_grad_rows_avx512(Q_ACT_GELU_ERF, work, a);
        break;
    default:
        activate_grad_rows_avx512(Q_ACT_NONE, work, a);
        break;
    }
}
