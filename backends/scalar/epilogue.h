/* SPDX-License-Identifier: MIT */
/*
 * epilogue.h: what happens to a product before it is stored, in the order q_epilogue documents.
 */
#ifndef Q_SCALAR_EPILOGUE_H
#define Q_SCALAR_EPILOGUE_H

#include "scalar.h"

/* Nearest number below zero. Compared with zero itself, clang 14 makes a maximum for AArch64 that loses the sign of -0. */
#ifdef Q_REAL_DOUBLE
#define SCALAR_BELOW_ZERO (-0x1p-1074)
#else
#define SCALAR_BELOW_ZERO (-0x1p-149f)
#endif

/* relu keeps NaN and the sign of zero. */
static inline q_real scalar_activation(uint32_t activation, q_real y)
{
    switch (activation) {
    case Q_ACT_RELU:
        return y <= SCALAR_BELOW_ZERO ? 0 : y;
    case Q_ACT_SILU:
        return q_silu(y);
    case Q_ACT_GELU_TANH:
        return q_gelu_tanh(y);
    case Q_ACT_GELU_ERF:
        return q_gelu_erf(y);
    case Q_ACT_SIGMOID:
        return q_sigmoid(y);
    case Q_ACT_TANH:
        return q_tanh(y);
    default:
        return y;
    }
}

/* The finished value of output (r, m) whose chain ended at y. */
static inline q_real scalar_epilogue(const q_epilogue *e, uint32_t r, uint32_t m, q_real y)
{
    if (e->scale != NULL) {
        y = y * e->scale[m];
    }
    if (e->shift != NULL) {
        y = y + e->shift[m];
    }
    y = scalar_activation(e->activation, y);
    if (e->gate != NULL) {
        y = y * scalar_row(e->gate, e->gate_stride, r)[m];
    }
    if (e->residual != NULL) {
        y = scalar_row(e->residual, e->residual_stride, r)[m] + y;
    }
    return y;
}

#endif /* Q_SCALAR_EPILOGUE_H */
