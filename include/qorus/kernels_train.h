/* SPDX-License-Identifier: MIT */
/*
 * kernels_train.h: argument structs of the kernels of training, a part of kernels.h, where what holds for all kernels is
 * said. Gradients of parameters continue from what is stored, rows ascending, shared by columns: how a batch is cut into
 * micro-batches and workers does not change a bit. "accumulate" adds to a gradient instead of storing it; unless an order
 * says otherwise the value is made first, as if to be stored, and then added to what is there.
 */
#include "kernels.h"

#ifndef QORUS_KERNELS_TRAIN_H
#define QORUS_KERNELS_TRAIN_H

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Losses, biases, steps ----------------------------------------------------------------------------- */

/* loss[0] = (1/(rows*dim)) * sum of (x-t)^2, summed per row (lanes, tree), rows ascending; where grad is given,
   grad = x - t, scaled by 2: the factor 1/(rows*dim) is applied once by the optimizer. One worker computes. */
typedef struct q_mse_args {
    q_count rows;
    uint32_t dim;
    const q_real *x;
    size_t x_stride;
    const q_real *target;
    size_t target_stride;
    q_real *loss;
    q_real *grad; /* may be NULL */
    size_t grad_stride;
} q_mse_args;

/* grad[i] = (accumulate ? grad[i] : 0) + sum over rows of dy[r][i], rows ascending. */
typedef struct q_bias_grad_args {
    q_count rows;
    uint32_t dim;
    const q_real *dy;
    size_t dy_stride;
    q_real *grad;
    uint32_t accumulate;
    uint32_t reserved;
} q_bias_grad_args;

/* w = w - lr * (g*grad_scale), lr = run.learning_rate; hyper-parameters are double, one rounding at the end
   of each product. */
typedef struct q_sgd_args {
    size_t n;
    q_real *w;
    const q_real *grad;
    double grad_scale;
} q_sgd_args;

#ifdef __cplusplus
}
#endif

#endif /* QORUS_KERNELS_TRAIN_H */
