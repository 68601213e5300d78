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

/* ---- Steps of optimizers ------------------------------------------------------------------------------- */

/*
 * One parameter's step. All factors are rounded to reals once, by the caller; every element by itself:
 *
 *   g = grad*grad_scale;  limit > 0: g = min(max(g, -limit), limit);  decay > 0: g = fma(decay, w, g)
 *   sgd:   m given: m = fma(beta1, m, g), and then g = nesterov ? fma(beta1, m, g) : m
 *          w = fma(-rate, g, w*keep)
 *   adam:  m = fma(beta1, m, rest1*g);  v = fma(beta2, v, (rest2*g)*g)
 *          w = fma(-rate, m / fma(sqrt(v), correction, eps), w*keep)
 *   lion:  u = fma(beta1, m, rest1*g);  w = fma(-rate, sign(u), w*keep);  m = fma(beta2, m, rest2*g)
 *
 * keep is 1 - learning rate * weight decay for decoupled decay (AdamW), decay the one added to the gradient. For adam
 * rate is learning rate / (1 - beta1^t) and correction 1/sqrt(1 - beta2^t), t the step's number from 1. sign(0) and
 * sign(NaN) are 0. A NaN passes the limit.
 * Sutskever et al. 2013 (momentum); Kingma and Ba 2014, arXiv:1412.6980; Loshchilov and Hutter 2017, arXiv:1711.05101;
 * Chen et al. 2023, arXiv:2302.06675.
 */
typedef struct q_optimizer_args {
    size_t n;
    q_real *w;
    const q_real *grad;
    q_real *m; /* sgd: NULL without momentum */
    q_real *v; /* adam */
    q_real grad_scale;
    q_real limit;
    q_real decay;
    q_real keep;
    q_real rate;
    q_real beta1;
    q_real rest1; /* 1 - beta1 */
    q_real beta2;
    q_real rest2; /* 1 - beta2 */
    q_real eps;
    q_real correction;
    uint32_t nesterov;
} q_optimizer_args;

/* partial[c] = sum of the squares of x[1024*c ..]: 16 lanes by fma, then the tree. */
typedef struct q_sum_squares_args {
    size_t n;
    const q_real *x;
    q_real *partial; /* [(n + 1023) / 1024] */
} q_sum_squares_args;

enum { Q_SUM_SQUARES_CHUNK = 1024 };

/* x[i] = x[i] * factor. */
typedef struct q_rescale_args {
    size_t n;
    q_real *x;
    q_real factor;
} q_rescale_args;

/* average[i] = fma(share, x[i] - average[i], average[i]). */
typedef struct q_average_args {
    size_t n;
    const q_real *x;
    q_real *average;
    q_real share;
} q_average_args;

/* Share of worker in n elements, in whole groups of 16. */
static inline void q_share_elements(const q_work *w, size_t n, size_t *begin, size_t *end)
{
    size_t groups = n / 16u + (n % 16u != 0 ? 1u : 0u);
    size_t each = groups / w->n_workers;
    size_t rest = groups % w->n_workers;
    size_t first = each * w->worker + (w->worker < rest ? w->worker : rest);
    size_t last = first + each + (w->worker < rest ? 1u : 0u);
    *begin = first * 16u;
    *end = last * 16u < n ? last * 16u : n;
}

#ifdef __cplusplus
}
#endif

#endif /* QORUS_KERNELS_TRAIN_H */
