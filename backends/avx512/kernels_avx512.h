/* SPDX-License-Identifier: MIT */
/*
 * kernels_avx512.h: what the files of the AVX-512 backend share: its kernels, addressing and tails.
 *
 * Every kernel gives the bits of the scalar one. A tail of fewer than 16 values goes through masked loads and
 * stores, so that nothing outside the operands is touched and tails take the same instructions as the rest.
 */
#ifndef Q_KERNELS_AVX512_H
#define Q_KERNELS_AVX512_H

#include "../x86/x86.h"
#include "qorus/base/fma.h"
#include "qorus/base/half.h"
#ifdef __AVX512F__ /* not in avx512.c, which runs on every CPU */
#include "avx512.h"
#include "vec.h"
#endif

enum {
    Q_AVX512_WORKSPACE = 376832 /* bytes of workspace of each worker */
};

/* -- kernels ----------------------------------------------------------------------------------- */

void q_gemm_f32_avx512(const q_work *work, const q_gemm_args *a);
void q_gemm_f16_avx512(const q_work *work, const q_gemm_args *a);
void q_gemm_bf16_avx512(const q_work *work, const q_gemm_args *a);
void q_gemm_q8_0_avx512(const q_work *work, const q_gemm_args *a);
void q_gemm_q4_0_avx512(const q_work *work, const q_gemm_args *a);
void q_gemm_q4_1_avx512(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q8_0_avx512(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q4_0_avx512(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q4_1_avx512(const q_work *work, const q_gemm_args *a);
void q_matmul_avx512(const q_work *work, const q_matmul_args *a);

void q_quantize_a8_avx512(const q_work *work, const q_quantize_a8_args *a);
void q_rmsnorm_avx512(const q_work *work, const q_rmsnorm_args *a);
void q_add_avx512(const q_work *work, const q_binary_args *a);
void q_mul_avx512(const q_work *work, const q_binary_args *a);
void q_silu_mul_avx512(const q_work *work, const q_binary_args *a);
void q_activate_avx512(const q_work *work, const q_activate_args *a);
void q_activate_grad_avx512(const q_work *work, const q_activate_grad_args *a);
void q_exp_avx512(const q_work *work, const q_unary_args *a);
void q_scale_avx512(const q_work *work, const q_scale_args *a);
void q_dropout_avx512(const q_work *work, const q_dropout_args *a);
void q_round_avx512(const q_work *work, const q_round_args *a);
void q_softmax_avx512(const q_work *work, const q_softmax_args *a);
void q_causal_mask_avx512(const q_work *work, const q_causal_mask_args *a);
void q_reduce_sum_avx512(const q_work *work, const q_reduce_args *a);
void q_reduce_max_avx512(const q_work *work, const q_reduce_args *a);
void q_rope_avx512(const q_work *work, const q_rope_args *a);
void q_mse_avx512(const q_work *work, const q_mse_args *a);
void q_pair_loss_avx512(const q_work *work, const q_pair_loss_args *a);
void q_cross_entropy_avx512(const q_work *work, const q_cross_entropy_args *a);
void q_cross_entropy_grad_avx512(const q_work *work, const q_cross_entropy_args *a);
void q_bias_grad_avx512(const q_work *work, const q_bias_grad_args *a);
void q_sgd_avx512(const q_work *work, const q_optimizer_args *a);
void q_adam_avx512(const q_work *work, const q_optimizer_args *a);
void q_lion_avx512(const q_work *work, const q_optimizer_args *a);
void q_sum_squares_avx512(const q_work *work, const q_sum_squares_args *a);
void q_rescale_avx512(const q_work *work, const q_rescale_args *a);
void q_average_avx512(const q_work *work, const q_average_args *a);
void q_attention_f32_avx512(const q_work *work, const q_attention_args *a);
void q_attention_f16_avx512(const q_work *work, const q_attention_args *a);
void q_attention_q8_0_avx512(const q_work *work, const q_attention_args *a);
void q_embedding_grad_avx512(const q_work *work, const q_embedding_grad_args *a);
void q_rmsnorm_grad_avx512(const q_work *work, const q_rmsnorm_grad_args *a);
void q_rmsnorm_weight_grad_avx512(const q_work *work, const q_rmsnorm_grad_args *a);
void q_mul_grad_avx512(const q_work *work, const q_binary_grad_args *a);
void q_silu_mul_grad_avx512(const q_work *work, const q_binary_grad_args *a);
void q_softmax_grad_avx512(const q_work *work, const q_softmax_grad_args *a);
void q_rope_grad_avx512(const q_work *work, const q_rope_grad_args *a);
void q_gemm_grad_avx512(const q_work *work, const q_gemm_grad_args *a);
void q_attention_grad_avx512(const q_work *work, const q_attention_grad_args *a);

void q_layernorm_avx512(const q_work *work, const q_layernorm_args *a);
void q_layernorm_grad_avx512(const q_work *work, const q_layernorm_grad_args *a);
void q_layernorm_grad_param_avx512(const q_work *work, const q_layernorm_grad_param_args *a);
void q_batchnorm_blocks_avx512(const q_work *work, const q_batchnorm_blocks_args *a);
void q_batchnorm_join_avx512(const q_work *work, const q_batchnorm_join_args *a);
void q_batchnorm_fold_avx512(const q_work *work, const q_batchnorm_fold_args *a);
void q_batchnorm_avx512(const q_work *work, const q_batchnorm_args *a);
void q_batchnorm_grad_blocks_avx512(const q_work *work, const q_batchnorm_grad_args *a);
void q_batchnorm_grad_avx512(const q_work *work, const q_batchnorm_grad_args *a);

void q_rnn_cell_avx512(const q_work *work, const q_cell_args *a);
void q_lstm_cell_avx512(const q_work *work, const q_cell_args *a);
void q_gru_cell_avx512(const q_work *work, const q_cell_args *a);
void q_rnn_cell_grad_avx512(const q_work *work, const q_cell_grad_args *a);
void q_lstm_cell_grad_avx512(const q_work *work, const q_cell_grad_args *a);
void q_gru_cell_grad_avx512(const q_work *work, const q_cell_grad_args *a);
void q_conv2d_avx512(const q_work *work, const q_conv2d_args *a);
void q_conv2d_grad_input_avx512(const q_work *work, const q_conv2d_grad_input_args *a);
void q_conv2d_grad_weight_avx512(const q_work *work, const q_conv2d_grad_weight_args *a);
void q_pool2d_avx512(const q_work *work, const q_pool2d_args *a);
void q_pool2d_grad_avx512(const q_work *work, const q_pool2d_grad_args *a);

/* -- ends of a tile ---------------------------------------------------------------------------- */

/* acc[t][i] = bias[m0 + i] or 0, for t < rows, i < 16; lanes beyond `lanes` become 0. Rows of acc lie acc_row floats
   apart, each 64-byte aligned. */
void q_tile_start_avx512(uint32_t rows, const float *bias, uint32_t m0, uint32_t lanes, float *acc, size_t acc_row);

/* Applies the epilogue to acc and stores lanes m0 .. m0 + lanes - 1 of rows r .. of y. */
void q_tile_finish_avx512(const q_epilogue *e, uint32_t r, uint32_t rows, uint32_t m0, uint32_t lanes,
                          const float *acc, size_t acc_row, float *y, size_t y_stride);

/* For bodies in backends/x86. */
#define x86_tile_start q_tile_start_avx512
#define x86_tile_finish q_tile_finish_avx512

#endif /* Q_KERNELS_AVX512_H */
