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

#ifdef __cplusplus
}
#endif

#endif /* QORUS_KERNELS_ELEMENT_H */
