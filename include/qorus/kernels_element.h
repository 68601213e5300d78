/* SPDX-License-Identifier: MIT */
/*
 * kernels_element.h: argument structs of the kernels that go element by element; a part of kernels.h, where what holds for all kernels
 * is said.
 */
#include "kernels.h"

#ifndef QORUS_KERNELS_ELEMENT_H
#define QORUS_KERNELS_ELEMENT_H

#ifdef __cplusplus
extern "C" {
#endif

/* out[r][i] = f(x[r][i]), as an epilogue has it. out may equal x. */
typedef struct q_activate_args {
    q_count rows;
    uint32_t dim;
    uint32_t activation; /* q_activation */
    uint32_t reserved;
    const q_real *x;
    size_t x_stride;
    q_real *out;
    size_t out_stride;
} q_activate_args;

/* True for activations whose derivative is found from their output: relu, sigmoid, tanh; the others need their input. */
static inline bool q_activation_from_output(uint32_t activation)
{
    return activation == Q_ACT_RELU || activation == Q_ACT_SIGMOID || activation == Q_ACT_TANH;
}

/*
 * dx (+)= dy * f'; f' from v, the output y or the input x:
 *
 *   none       1
 *   relu       dx is dy where y > 0, else 0; nothing is multiplied
 *   sigmoid    y*(1 - y)
 *   tanh       fma(-y, y, 1)
 *   silu       g * fma(x, 1 - g, 1), g = sigmoid(x)
 *   gelu_tanh  x clamped to [-12, 12], beyond which f' is 0 or 1; q = x*x, t = x * fma(q, B, A), g = sigmoid(t),
 *              f' = fma(x * fma(q, 3*B, A), g*(1 - g), g); A = 2*sqrt(2/pi), B = 0.044715*A
 *   gelu_erf   x clamped to [-16, 16]; e = fma(erf(x * sqrt(1/2)), 1/2, 1/2), p = exp((x*x) * (-1/2)) / sqrt(2*pi),
 *              f' = fma(x, p, e); the division is a product with the constant
 *
 * dx may be dy. Hendrycks and Gimpel 2016, arXiv:1606.08415 (GELU).
 */
typedef struct q_activate_grad_args {
    q_count rows;
    uint32_t dim;
    uint32_t activation; /* q_activation */
    uint32_t accumulate;
    const q_real *v;
    size_t v_stride;
    const q_real *dy;
    size_t dy_stride;
    q_real *dx;
    size_t dx_stride;
} q_activate_grad_args;

/* out[r][i] (+)= x[r][i] * factor. out may equal x. */
typedef struct q_scale_args {
    q_count rows;
    uint32_t dim;
    uint32_t accumulate;
    const q_real *x;
    size_t x_stride;
    q_real *out;
    size_t out_stride;
    q_real factor;
} q_scale_args;

/*
 * out[r][i] = residual[r][i] + (keep ? x[r][i] * factor : 0), without a residual the term alone. keep: the upper 24 of the
 * 32 random bits (qorus/base/random.h) of {run.seed, run.step, node, sample} and the element are at least `threshold`. Row t
 * of its sample (q_sample_of_row) has the elements from t * 4*ceil(dim/4) on; with `whole` all of a sample goes by element
 * 0. The mask does not depend on micro-batches, workers or who asks: backward draws it again. out may equal x or residual.
 * Srivastava et al. 2014, JMLR 15 (dropout, inverted: what is kept grows); Huang et al. 2016, arXiv:1603.09382 (stochastic
 * depth: whole).
 */
typedef struct q_dropout_args {
    q_count rows;
    uint32_t dim;
    uint32_t per_sample; /* rows of a sample; 0: a sample is a span */
    uint32_t whole;
    uint32_t node;
    uint32_t threshold; /* 0 .. 2^24 */
    uint32_t reserved;
    const q_real *x;
    size_t x_stride;
    const q_real *residual; /* or NULL; out itself: the term is added to what is there */
    size_t residual_stride;
    q_real *out;
    size_t out_stride;
    q_real factor;
} q_dropout_args;

/*
 * out[r][i] = x[r][i] rounded to a narrower type and taken back to a real. out may equal x.
 *
 *   F16, BF16  nearest, ties to even (qorus/base/half.h)
 *   A8         what quantize_a8 makes of the row: scale * quant; dim a multiple of 32
 *   A8X2       the same of both planes: their two products, added
 *
 * Reals become F32 first.
 */
typedef struct q_round_args {
    q_count rows;
    uint32_t dim;
    uint32_t dtype; /* q_dtype: Q_F16, Q_BF16, Q_A8 or Q_A8X2 */
    uint32_t reserved;
    const q_real *x;
    size_t x_stride;
    q_real *out;
    size_t out_stride;
} q_round_args;

/* The threshold that drops a share `rate` of all elements, 0 <= rate < 1: the least number of 2^-24 not below it. */
static inline uint32_t q_dropout_threshold(float rate)
{
    uint32_t n = (uint32_t)(rate * 16777216.0f);
    return (float)n < rate * 16777216.0f ? n + 1u : n;
}

#ifdef __cplusplus
}
#endif

#endif /* QORUS_KERNELS_ELEMENT_H */
