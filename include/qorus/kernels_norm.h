/* SPDX-License-Identifier: MIT */
/*
 * kernels_norm.h: argument structs of RMSNorm, of LayerNorm and BatchNorm, forward and backward, a part of kernels.h, where
 * what holds for all kernels is said.
 */
#include "kernels.h"

#ifndef QORUS_KERNELS_NORM_H
#define QORUS_KERNELS_NORM_H

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Along the row ---------------------------------------------------------------------------------------- */

/* Makes what a norm reads, in the same pass: x[r][i] = a[r][i] + b[r][i], stored. x may equal a or b, and so may y. */
typedef struct q_norm_sum {
    const q_real *a; /* or NULL: x is there */
    size_t a_stride;
    const q_real *b;
    size_t b_stride;
    q_real *x; /* the norm's */
} q_norm_sum;

/* Hands on what backward of a norm has left in dx: to[t][r][i] (+)= dx[r][i], t ascending. */
typedef struct q_norm_pass {
    q_real *to[2]; /* or NULL */
    size_t stride[2];
    uint32_t accumulate; /* bit t */
    uint32_t reserved;
} q_norm_pass;

/* y[r][i] = (x[r][i] * s) * (weight[i] + offset), s = 1/sqrt(mean(x^2) + eps); offset 0 adds nothing.
   Sum of squares: lanes by fma, then the tree. Zhang and Sennrich 2019, arXiv:1910.07467. x may equal y. */
typedef struct q_rmsnorm_args {
    q_count rows;
    uint32_t dim;
    const q_real *x;
    size_t x_stride;
    q_norm_sum sum;
    const q_real *weight; /* [dim] */
    q_real *y;
    size_t y_stride;
    q_real eps;
    q_real offset;
} q_rmsnorm_args;

/*
 * Per row: mean = sum of x / dim (lanes, tree); d = x - mean; var = sum of d^2 / dim (lanes by fma, tree);
 * s = 1/sqrt(var + eps); y = (d*s)*weight + bias, every operation rounded. Ba et al. 2016, arXiv:1607.06450.
 * y may equal x.
 */
typedef struct q_layernorm_args {
    q_count rows;
    uint32_t dim;
    const q_real *x;
    size_t x_stride;
    q_norm_sum sum;
    const q_real *weight; /* [dim] */
    const q_real *bias;   /* [dim], or NULL: nothing is added */
    q_real *y;
    size_t y_stride;
    q_real *stats; /* [rows][2] {mean, s} for backward, or NULL */
    q_real eps;
} q_layernorm_args;

/*
 * Backward to x: h = (x - mean)*s, g = dy*weight; a = sum of g / dim (lanes, tree), b = sum of g*h / dim (lanes by fma,
 * tree); dx = ((g - a) - h*b)*s.
 */
typedef struct q_layernorm_grad_args {
    q_count rows;
    uint32_t dim;
    const q_real *x;
    size_t x_stride;
    const q_real *dy;
    size_t dy_stride;
    const q_real *weight;
    const q_real *stats; /* as forward left them */
    q_real *dx;
    size_t dx_stride;
    q_norm_pass pass;
    uint32_t accumulate;
    uint32_t reserved;
} q_layernorm_grad_args;

/* Backward to the parameters, rows ascending, from what is stored: grad_weight[i] = fma(dy, (x - mean)*s, grad_weight[i]);
   grad_bias[i] = grad_bias[i] + dy. Either may be NULL. */
typedef struct q_layernorm_grad_param_args {
    q_count rows;
    uint32_t dim;
    const q_real *x;
    size_t x_stride;
    const q_real *dy;
    size_t dy_stride;
    const q_real *stats;
    q_real *grad_weight;
    q_real *grad_bias;
} q_layernorm_grad_param_args;

/* ---- Down the column (Ioffe and Szegedy 2015, arXiv:1502.03167) ------------------------------------------- */

/*
 * Sums over rows are made in blocks of Q_NORM_BLOCK rows, the last one what is left, each by itself; the blocks are then
 * joined ascending. So they are accurate for many rows, and workers share the blocks without a trace in the bits.
 */
enum { Q_NORM_BLOCK = 64 };

static inline uint32_t q_norm_blocks(uint32_t rows)
{
    return rows / Q_NORM_BLOCK + (rows % Q_NORM_BLOCK != 0 ? 1u : 0u);
}

/* Per block and column, rows ascending from 0: partial[b][0] = mean = sum of x / rows of the block; partial[b][1] =
   sum of d^2 by fma, d = x - mean. */
typedef struct q_batchnorm_blocks_args {
    q_count rows; /* >= 1 */
    uint32_t dim;
    const q_real *x;
    size_t x_stride;
    q_real *partial; /* [blocks][2][dim] */
} q_batchnorm_blocks_args;

/*
 * Per column, blocks b of n_b rows ascending: mean = (sum by fma(n_b, mean_b, sum)) / rows; then, with e = mean_b - mean,
 * sum = fma(n_b*e, e, sum + d2_b); s = 1/sqrt(sum/rows + eps); scale = weight*s. Where running_mean is given:
 * running = fma(momentum, new - running, running), new the mean and sum / max(rows - 1, 1).
 */
typedef struct q_batchnorm_join_args {
    q_count rows;
    uint32_t dim;
    const q_real *partial;
    const q_real *weight;
    q_real *mean;
    q_real *s;
    q_real *scale;
    q_real *running_mean; /* or NULL */
    q_real *running_var;
    q_real eps;
    q_real momentum;
} q_batchnorm_join_args;

/* What a product behind which BatchNorm stands, or batchnorm without mean, multiplies and adds: scale[i] =
   weight[i] / sqrt(var[i] + eps), shift[i] = bias[i] - mean[i]*scale[i]. */
typedef struct q_batchnorm_fold_args {
    uint32_t dim;
    uint32_t reserved;
    const q_real *weight;
    const q_real *bias;
    const q_real *mean;
    const q_real *var;
    q_real *scale;
    q_real *shift;
    q_real eps;
} q_batchnorm_fold_args;

/* y = activation(d*scale[i] + shift[i]), d = x - mean[i], or x where mean is NULL; product and sum rounded. y may be x. */
typedef struct q_batchnorm_args {
    q_count rows;
    uint32_t dim;
    const q_real *x;
    size_t x_stride;
    const q_real *mean; /* or NULL */
    const q_real *scale;
    const q_real *shift;
    q_real *y;
    size_t y_stride;
    uint32_t activation; /* q_activation */
    uint32_t reserved;
} q_batchnorm_args;

/*
 * Backward. g is dy through the activation, found from its output y: relu: y > 0 ? dy : 0; sigmoid: dy*(y*(1 - y)); tanh:
 * dy*fma(-y, y, 1); none: dy. h = (x - mean)*s. With n = 1/rows and the sums over all rows G of g and H of g*h:
 *   dx = ((g - G*n) - h*(H*n))*scale
 * The gradient of bias grows by G, that of weight by H.
 * batchnorm_grad_blocks: partial[b][0] = sum of g, partial[b][1] = sum of g*h by fma, rows of the block ascending from 0;
 *   bias_grad joins them: sums[0][dim] = G, sums[1][dim] = H.
 * batchnorm_grad: dx.
 */
typedef struct q_batchnorm_grad_args {
    q_count rows;
    uint32_t dim;
    const q_real *x;
    size_t x_stride;
    const q_real *y; /* not read where there is no activation */
    size_t y_stride;
    const q_real *dy;
    size_t dy_stride;
    const q_real *mean;
    const q_real *s;
    const q_real *scale; /* batchnorm_grad */
    const q_real *sums;  /* batchnorm_grad: [2][dim] */
    q_real *partial;     /* batchnorm_grad_blocks: [blocks][2][dim] */
    q_real *dx;          /* batchnorm_grad */
    size_t dx_stride;
    uint32_t activation; /* none, relu, sigmoid or tanh */
    uint32_t accumulate;
} q_batchnorm_grad_args;

#ifdef __cplusplus
}
#endif

#endif /* QORUS_KERNELS_NORM_H */
