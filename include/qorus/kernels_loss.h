/* SPDX-License-Identifier: MIT */
/*
 * kernels_loss.h: argument structs of the kernels of losses; a part of kernels.h, where what holds for all kernels is said.
 *
 * A kernel makes the loss of each row by itself; rows are then summed in double, ascending (q_layer_mse ..). Gradients are
 * those of the sum of all losses times `scale`.
 */
#include "kernels.h"

#ifndef QORUS_KERNELS_LOSS_H
#define QORUS_KERNELS_LOSS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum q_loss_kind {
    Q_LOSS_MSE = 0,
    Q_LOSS_HUBER = 1,
    Q_LOSS_BCE = 2,
    Q_LOSS_COUNT = 3
} q_loss_kind;

/*
 * Losses of pairs. loss[r] = sum over i of l(x[r][i], t[r][i]), over lanes and the tree; dx (+)= (dl/dx)*scale,
 * dt (+)= (dl/dt)*scale. d = x - t.
 *
 *   mse    l = d*d, the sum by fma     dl/dx = 2*d, dl/dt = -(2*d)
 *   huber  l = |d| <= delta ? (d/2)*d : delta*(|d| - delta/2)     dl/dx = d clamped to [-delta, delta], dl/dt = -dl/dx
 *   bce    of logits x; w = weight[i] or 1; k = fma(w - 1, t, 1), L = log1p(exp(-|x|)),
 *          l = fma(x >= 0 ? 1 - t : -(w*t), x, k*L)     dl/dx = fma(k, sigmoid(x), -(w*t)),
 *          dl/dt = fma(x >= 0 ? -1 : -w, x, (w - 1)*L)
 *          log1p(e): u = 1 + e; log(u) + (e - (u - 1))/u
 *
 * PyTorch's MSELoss, HuberLoss and BCEWithLogitsLoss (weight is its pos_weight). Huber 1964.
 */
typedef struct q_pair_loss_args {
    q_count rows;
    uint32_t dim;
    uint32_t kind;       /* q_loss_kind */
    uint32_t accumulate; /* bit 0 dx, bit 1 dt */
    const q_real *x;
    size_t x_stride;
    const q_real *t;
    size_t t_stride;
    const q_real *weight; /* bce: [dim], or NULL */
    q_real delta;         /* huber: > 0 */
    q_real scale;
    q_real *loss; /* [rows], or NULL */
    q_real *dx;   /* NULL: not wanted; so dt */
    size_t dx_stride;
    q_real *dt;
    size_t dt_stride;
} q_pair_loss_args;

/*
 * Cross-entropy of rows of logits. Row r with target y = target[r], unless y is `ignore`:
 *
 *   top = max(x), total = log(sum of exp(x - top)) over lanes and the tree; lse[r] = {top, total}
 *   u_i = total - (x_i - top);  w_i = weight[i] or 1;  share = smoothing/classes, rounded
 *   loss[r] = w_y*u_y; smoothing > 0: fma(1 - smoothing, w_y*u_y, share * sum of w_i*u_i), the sum by fma over lanes and the
 *   tree;  count[r] = w_y
 *
 * cross_entropy_grad: p_i = exp((x_i - top) - total), from lse; q = (1 - smoothing)*w_y + share*W, W the sum of weights over
 * lanes and the tree (or classes); dx_i (+)= fma(p_i, q, -h_i)*scale, h_i = share*w_i, and for i = y h_i + (1 - smoothing)*w_y.
 *
 * An ignored row has loss and count 0 and the gradient 0. Normalised logits are never stored. PyTorch's CrossEntropyLoss.
 * Szegedy et al. 2016, arXiv:1512.00567 (label smoothing).
 */
typedef struct q_cross_entropy_args {
    q_count rows;
    uint32_t classes;
    int32_t ignore;
    uint32_t accumulate;
    const q_real *x;
    size_t x_stride;
    const int32_t *target; /* [rows] 0 .. classes - 1, or `ignore` */
    const q_real *weight;  /* [classes], or NULL */
    q_real smoothing;
    q_real scale;
    q_real *lse;   /* [rows][2] */
    q_real *loss;  /* [rows] */
    q_real *count; /* [rows] */
    q_real *dx;
    size_t dx_stride;
} q_cross_entropy_args;

#ifdef __cplusplus
}
#endif

#endif /* QORUS_KERNELS_LOSS_H */
