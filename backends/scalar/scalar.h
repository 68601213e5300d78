/* SPDX-License-Identifier: MIT */
/*
 * scalar.h: what the files of the scalar backend share: its kernels, row addressing, the 16-lane
 * sum.
 *
 * Each kernel is documented at its argument struct in qorus/kernels.h. The code here is the
 * definition of what is right: plain C in the documented order, in q_real, so that it also builds
 * in double.
 */
#ifndef Q_SCALAR_H
#define Q_SCALAR_H

#include "qorus/backend.h"
#include "qorus/base/elementary.h"
#include "qorus/base/fma.h"
#include "qorus/base/half.h"
#include "qorus/base/mem.h"
#include "qorus/base/panel.h"

enum { Q_LANES = 16 }; /* partial sums of norms, softmax and losses */

/* -- kernels ----------------------------------------------------------------------------------- */

void q_gemm_f32_scalar(const q_work *work, const q_gemm_args *a);
void q_gemm_f16_scalar(const q_work *work, const q_gemm_args *a);
void q_gemm_bf16_scalar(const q_work *work, const q_gemm_args *a);
void q_gemm_q8_0_scalar(const q_work *work, const q_gemm_args *a);
void q_gemm_q4_0_scalar(const q_work *work, const q_gemm_args *a);
void q_gemm_q4_1_scalar(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q8_0_scalar(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q4_0_scalar(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q4_1_scalar(const q_work *work, const q_gemm_args *a);
void q_matmul_scalar(const q_work *work, const q_matmul_args *a);

void q_gather_f32_scalar(const q_work *work, const q_gather_args *a);
void q_gather_f16_scalar(const q_work *work, const q_gather_args *a);
void q_gather_bf16_scalar(const q_work *work, const q_gather_args *a);
void q_gather_q8_0_scalar(const q_work *work, const q_gather_args *a);
void q_gather_q4_0_scalar(const q_work *work, const q_gather_args *a);
void q_gather_q4_1_scalar(const q_work *work, const q_gather_args *a);
void q_quantize_a8_scalar(const q_work *work, const q_quantize_a8_args *a);

void q_rmsnorm_scalar(const q_work *work, const q_rmsnorm_args *a);
void q_add_scalar(const q_work *work, const q_binary_args *a);
void q_mul_scalar(const q_work *work, const q_binary_args *a);
void q_silu_mul_scalar(const q_work *work, const q_binary_args *a);
void q_activate_scalar(const q_work *work, const q_activate_args *a);
void q_exp_scalar(const q_work *work, const q_unary_args *a);
void q_scale_scalar(const q_work *work, const q_scale_args *a);
void q_dropout_scalar(const q_work *work, const q_dropout_args *a);
void q_round_scalar(const q_work *work, const q_round_args *a);
void q_softmax_scalar(const q_work *work, const q_softmax_args *a);
void q_causal_mask_scalar(const q_work *work, const q_causal_mask_args *a);
void q_reduce_sum_scalar(const q_work *work, const q_reduce_args *a);
void q_reduce_max_scalar(const q_work *work, const q_reduce_args *a);
void q_select_rows_scalar(const q_work *work, const q_select_rows_args *a);

void q_rope_table_scalar(const q_work *work, const q_rope_table_args *a);
void q_rope_scalar(const q_work *work, const q_rope_args *a);
void q_kv_store_f32_scalar(const q_work *work, const q_kv_store_args *a);
void q_kv_store_f16_scalar(const q_work *work, const q_kv_store_args *a);
void q_kv_store_q8_0_scalar(const q_work *work, const q_kv_store_args *a);
void q_attention_f32_scalar(const q_work *work, const q_attention_args *a);
void q_attention_f16_scalar(const q_work *work, const q_attention_args *a);
void q_attention_q8_0_scalar(const q_work *work, const q_attention_args *a);

void q_rnn_cell_scalar(const q_work *work, const q_cell_args *a);
void q_lstm_cell_scalar(const q_work *work, const q_cell_args *a);
void q_gru_cell_scalar(const q_work *work, const q_cell_args *a);
void q_rnn_cell_grad_scalar(const q_work *work, const q_cell_grad_args *a);
void q_lstm_cell_grad_scalar(const q_work *work, const q_cell_grad_args *a);
void q_gru_cell_grad_scalar(const q_work *work, const q_cell_grad_args *a);

void q_conv2d_scalar(const q_work *work, const q_conv2d_args *a);
void q_conv2d_grad_input_scalar(const q_work *work, const q_conv2d_grad_input_args *a);
void q_conv2d_grad_weight_scalar(const q_work *work, const q_conv2d_grad_weight_args *a);
void q_pool2d_scalar(const q_work *work, const q_pool2d_args *a);
void q_pool2d_grad_scalar(const q_work *work, const q_pool2d_grad_args *a);

void q_layernorm_scalar(const q_work *work, const q_layernorm_args *a);
void q_layernorm_grad_scalar(const q_work *work, const q_layernorm_grad_args *a);
void q_layernorm_grad_param_scalar(const q_work *work, const q_layernorm_grad_param_args *a);
void q_batchnorm_blocks_scalar(const q_work *work, const q_batchnorm_blocks_args *a);
void q_batchnorm_join_scalar(const q_work *work, const q_batchnorm_join_args *a);
void q_batchnorm_fold_scalar(const q_work *work, const q_batchnorm_fold_args *a);
void q_batchnorm_scalar(const q_work *work, const q_batchnorm_args *a);
void q_batchnorm_grad_blocks_scalar(const q_work *work, const q_batchnorm_grad_args *a);
void q_batchnorm_grad_scalar(const q_work *work, const q_batchnorm_grad_args *a);

void q_mse_scalar(const q_work *work, const q_mse_args *a);
void q_bias_grad_scalar(const q_work *work, const q_bias_grad_args *a);
void q_sgd_scalar(const q_work *work, const q_optimizer_args *a);
void q_adam_scalar(const q_work *work, const q_optimizer_args *a);
void q_lion_scalar(const q_work *work, const q_optimizer_args *a);
void q_sum_squares_scalar(const q_work *work, const q_sum_squares_args *a);
void q_rescale_scalar(const q_work *work, const q_rescale_args *a);
void q_average_scalar(const q_work *work, const q_average_args *a);

void q_gemm_grad_scalar(const q_work *work, const q_gemm_grad_args *a);
void q_embedding_grad_scalar(const q_work *work, const q_embedding_grad_args *a);
void q_select_rows_grad_scalar(const q_work *work, const q_select_rows_grad_args *a);
void q_rmsnorm_grad_scalar(const q_work *work, const q_rmsnorm_grad_args *a);
void q_rmsnorm_weight_grad_scalar(const q_work *work, const q_rmsnorm_grad_args *a);
void q_mul_grad_scalar(const q_work *work, const q_binary_grad_args *a);
void q_silu_mul_grad_scalar(const q_work *work, const q_binary_grad_args *a);
void q_softmax_grad_scalar(const q_work *work, const q_softmax_grad_args *a);
void q_rope_grad_scalar(const q_work *work, const q_rope_grad_args *a);
void q_attention_grad_scalar(const q_work *work, const q_attention_grad_args *a);
void q_activate_grad_scalar(const q_work *work, const q_activate_grad_args *a);
void q_pair_loss_scalar(const q_work *work, const q_pair_loss_args *a);
void q_cross_entropy_scalar(const q_work *work, const q_cross_entropy_args *a);
void q_cross_entropy_grad_scalar(const q_work *work, const q_cross_entropy_args *a);

/* -- shared by the kernels --------------------------------------------------------------------- */

static inline const q_real *scalar_row(const q_real *base, size_t stride, uint32_t r)
{
    return (const q_real *)(const void *)((const uint8_t *)(const void *)base + stride * r);
}

static inline q_real *scalar_row_out(q_real *base, size_t stride, uint32_t r)
{
    return (q_real *)(void *)((uint8_t *)(void *)base + stride * r);
}

/* Row r of what a norm reads, made before where it is a sum. */
static inline const q_real *scalar_norm_row(const q_norm_sum *sum, const q_real *x, size_t stride, uint32_t dim, uint32_t r)
{
    if (sum->a != NULL) {
        const q_real *a = scalar_row(sum->a, sum->a_stride, r);
        const q_real *b = scalar_row(sum->b, sum->b_stride, r);
        q_real *to = scalar_row_out(sum->x, stride, r);
        for (uint32_t i = 0; i < dim; i++) {
            to[i] = a[i] + b[i];
        }
    }
    return scalar_row(x, stride, r);
}

/* Row r of the gradient of that, `dx`, to those who get it. */
static inline void scalar_norm_pass(const q_norm_pass *pass, const q_real *dx, uint32_t dim, uint32_t r)
{
    for (uint32_t t = 0; t < 2; t++) {
        bool adds = (pass->accumulate >> t & 1u) != 0;
        q_real *to = pass->to[t] != NULL ? scalar_row_out(pass->to[t], pass->stride[t], r) : NULL;
        for (uint32_t i = 0; to != NULL && i < dim; i++) {
            to[i] = adds ? to[i] + dx[i] : dx[i];
        }
    }
}

static inline q_real scalar_minus_infinity(void)
{
    return (q_real)q_float_u32(0xff800000u);
}

/* The larger of two, b where either is NaN or both are zeros: what _mm256_max_ps(a, b) gives. */
static inline q_real scalar_max(q_real a, q_real b)
{
    return a > b ? a : b;
}

/* Joins 16 partial sums by the tree 8-4-2-1; lane[] is used up. */
static inline q_real scalar_lane_sum(q_real lane[Q_LANES])
{
    for (uint32_t half = Q_LANES / 2; half > 0; half /= 2) {
        for (uint32_t i = 0; i < half; i++) {
            lane[i] = lane[i] + lane[i + half];
        }
    }
    return lane[0];
}

static inline void scalar_lane_clear(q_real lane[Q_LANES])
{
    for (uint32_t i = 0; i < Q_LANES; i++) {
        lane[i] = 0;
    }
}

#endif /* Q_SCALAR_H */
