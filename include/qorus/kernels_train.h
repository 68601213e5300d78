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

/* ---- Gradients of what language models are made of ----------------------------------------------------- */

/*
 * Gradient of a product's input through weights in panel16: dx[r][k] = (accumulate ? dx[r][k] : 0) + sum over m of
 * dy[r][m] * real(w[m][k]), one fma chain, m ascending; w becomes real as in gemm_<dtype>. The matrix is never made real
 * as a whole.
 */
typedef struct q_gemm_grad_args {
    q_count rows;
    uint32_t m; /* rows of the weight matrix = columns of dy */
    uint32_t k; /* its columns = columns of dx; multiple of 32 for quantised weights */
    uint32_t dtype; /* q_dtype of the weights */
    uint32_t accumulate;
    const void *weights;
    const q_real *dy;
    size_t dy_stride;
    q_real *dx;
    size_t dx_stride;
} q_gemm_grad_args;

/* grad[ids[r]] += dy[r] * scale, rows ascending; scale 1 multiplies nothing. Shared by columns. */
typedef struct q_embedding_grad_args {
    q_count rows;
    uint32_t dim;
    const int32_t *ids;
    const q_real *dy;
    size_t dy_stride;
    q_real *grad; /* [vocabulary][dim] */
    size_t grad_stride;
    q_real scale;
} q_embedding_grad_args;

/* dx[run.selected[s]] (+)= dy[s], s < run.n_selected; the other rows of dx become 0 or stay. */
typedef struct q_select_rows_grad_args {
    q_count rows; /* of dx */
    uint32_t dim;
    uint32_t accumulate;
    uint32_t reserved;
    const q_real *dy;
    size_t dy_stride;
    q_real *dx;
    size_t dx_stride;
} q_select_rows_grad_args;

/*
 * y = (x * s) * w', w' = weight + offset, s = 1/sqrt(mean(x^2) + eps) as rmsnorm has it; g = dy * w'.
 *
 * rmsnorm_grad: c = ((sum(g*x) / dim) * s) * s, the sum by fma over lanes and the tree; dx (+)= fma(-x, c, g) * s.
 *   Stores s of every row in `s`; dx may be NULL, and then nothing is handed on.
 * rmsnorm_weight_grad: grad[i] = fma(dy[r][i], x[r][i] * s[r], grad[i]), rows ascending, shared by columns.
 */
typedef struct q_rmsnorm_grad_args {
    q_count rows;
    uint32_t dim;
    const q_real *x;
    size_t x_stride;
    const q_real *weight; /* [dim] */
    const q_real *dy;
    size_t dy_stride;
    q_real *dx;
    size_t dx_stride;
    q_norm_pass pass;
    q_real *s;    /* [rows] */
    q_real *grad; /* [dim], rmsnorm_weight_grad */
    q_real eps;
    q_real offset;
    uint32_t accumulate;
    uint32_t reserved;
} q_rmsnorm_grad_args;

/*
 * Gradients of out = a op b; da or db may be NULL. accumulate: bit 0 da, bit 1 db; both may be the same gradient, da first.
 *   mul       da (+)= dy*b, db (+)= dy*a
 *   silu_mul  da (+)= (dy*b) * (g*fma(a, 1 - g, 1)), g = sigmoid(a); db (+)= dy*silu(a)
 */
typedef struct q_binary_grad_args {
    q_count rows;
    uint32_t dim;
    uint32_t accumulate;
    uint32_t reserved;
    const q_real *a;
    size_t a_stride;
    const q_real *b;
    size_t b_stride;
    const q_real *dy;
    size_t dy_stride;
    q_real *da;
    size_t da_stride;
    q_real *db;
    size_t db_stride;
} q_binary_grad_args;

/* dx (+)= (y * (dy - sum(y*dy))) * scale, y = softmax(x*scale); the sum by fma over lanes and the tree. */
typedef struct q_softmax_grad_args {
    q_count rows;
    uint32_t dim;
    const q_real *y;
    size_t y_stride;
    const q_real *dy;
    size_t dy_stride;
    q_real *dx;
    size_t dx_stride;
    q_real scale;
    uint32_t accumulate;
} q_softmax_grad_args;

/* Turns each head back: dx_i (+)= fma(dy_i, cos_i, dy_j*sin_i), dx_j (+)= fma(dy_j, cos_i, -(dy_i*sin_i)), j = i + n_pairs;
   the rest is copied. */
typedef struct q_rope_grad_args {
    q_count rows;
    uint32_t heads;
    uint32_t head_dim;
    uint32_t n_pairs;
    uint32_t accumulate;
    uint32_t reserved;
    const q_real *dy;
    size_t dy_stride;
    const q_real *table;
    size_t table_stride;
    q_real *dx;
    size_t dx_stride;
} q_rope_grad_args;

/*
 * Gradients of attention whose spans begin at position 0, from its inputs, its output and lse; dq, dk or dv may be NULL.
 *
 *   s_ij = scale * q_i.k_j, c*tanh(s/c) for a softcap c, as attention has it; p_ij = exp(s_ij - lse_i)
 *   delta_i = sum of dout_i * out_i, by fma over lanes and the tree
 *   e_ij = p_ij * (dout_i.v_j - delta_i), the product a chain of fma from 0; softcap: e_ij * fma(-t, t, 1), t = tanh(s/c)
 *   dq_i: chain of fma(e_ij * scale, k_j, dq_i), keys ascending
 *   dk_j: chain of fma(e_ij * scale, q_i, dk_j), heads that read the kv head ascending, within each rows ascending
 *   dv_j: chain of fma(p_ij, dout_i, dv_j), in the same order
 *
 * Chains begin with 0 or, with accumulate (bit 0 dq, 1 dk, 2 dv), with what is stored. Rows and keys of a span come in
 * blocks of 64: a pair of blocks of which no row sees any key is left out; in the others a key that a row does not see has
 * p = e = 0 and takes part. Shared by (span, kv head). Dao et al. 2022, arXiv:2205.14135.
 */
typedef struct q_attention_grad_args {
    q_count rows;
    uint32_t heads;
    uint32_t kv_heads;
    uint32_t head_dim;
    uint32_t window;
    uint32_t full;       /* as in q_attention_args */
    uint32_t per_sample; /* as in q_attention_args */
    uint32_t accumulate;
    const int32_t *lengths; /* as in q_attention_args: of padding, delta stays and the gradients are 0 */
    q_real scale;
    q_real softcap;
    const q_real *q; /* [rows][heads*head_dim] */
    size_t q_stride;
    const q_real *k; /* [rows][kv_heads*head_dim] */
    size_t k_stride;
    const q_real *v;
    size_t v_stride;
    const q_real *out;
    size_t out_stride;
    const q_real *dout;
    size_t dout_stride;
    const q_real *lse; /* [rows][heads] */
    q_real *delta;     /* [rows][heads], written */
    q_real *dq;
    size_t dq_stride;
    q_real *dk;
    size_t dk_stride;
    q_real *dv;
    size_t dv_stride;
} q_attention_grad_args;

#ifdef __cplusplus
}
#endif

#endif /* QORUS_KERNELS_TRAIN_H */
