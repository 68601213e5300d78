/* SPDX-License-Identifier: MIT */
/*
 * kernels_avx2.h: what the files of the AVX2 backend share: its kernels, tails, and the pieces of a
 * tile.
 *
 * Every kernel gives the bits of the scalar one. A tail of fewer than 8 values goes through masked
 * loads and stores, so that nothing outside the operands is touched and tails take the same
 * instructions as the rest.
 */
#ifndef Q_KERNELS_AVX2_H
#define Q_KERNELS_AVX2_H

#include "../x86/x86.h"
#include "qorus/base/fma.h"
#include "qorus/base/half.h"
#ifdef __AVX2__ /* not in avx2.c, which runs on every CPU */
#include "avx2.h"
#include "vec.h"
#endif

/* Pins a sum of integers to this place: compilers otherwise join a chain of them into a tree that
   needs more values than there are registers. */
#define Q_AVX2_KEEP(v) __asm__ volatile("" : "+x"(v))

enum {
    Q_AVX2_TILE_ROWS = 6,    /* rows of x in a register tile: 12 accumulators, 2 weights, 1 x */
    Q_AVX2_GROUP_ROWS = 96,  /* rows of x that share a decoded slab; multiple of every tile */
    Q_AVX2_SLAB = 256,       /* columns of a slab of f32 weights: 16 KiB */
    Q_AVX2_WORKSPACE = 184320 /* bytes of workspace of each worker */
};

/* -- kernels ----------------------------------------------------------------------------------- */

void q_gemm_f32_avx2(const q_work *work, const q_gemm_args *a);
void q_gemm_f16_avx2(const q_work *work, const q_gemm_args *a);
void q_gemm_bf16_avx2(const q_work *work, const q_gemm_args *a);
void q_gemm_q8_0_avx2(const q_work *work, const q_gemm_args *a);
void q_gemm_q4_0_avx2(const q_work *work, const q_gemm_args *a);
void q_gemm_q4_1_avx2(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q8_0_avx2(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q4_0_avx2(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q4_1_avx2(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q8_0_avx2vnni(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q4_0_avx2vnni(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q4_1_avx2vnni(const q_work *work, const q_gemm_args *a);
void q_matmul_avx2(const q_work *work, const q_matmul_args *a);

void q_gather_f32_avx2(const q_work *work, const q_gather_args *a);
void q_gather_f16_avx2(const q_work *work, const q_gather_args *a);
void q_gather_bf16_avx2(const q_work *work, const q_gather_args *a);
void q_gather_q8_0_avx2(const q_work *work, const q_gather_args *a);
void q_gather_q4_0_avx2(const q_work *work, const q_gather_args *a);
void q_gather_q4_1_avx2(const q_work *work, const q_gather_args *a);
void q_quantize_a8_avx2(const q_work *work, const q_quantize_a8_args *a);

void q_rmsnorm_avx2(const q_work *work, const q_rmsnorm_args *a);
void q_add_avx2(const q_work *work, const q_binary_args *a);
void q_mul_avx2(const q_work *work, const q_binary_args *a);
void q_silu_mul_avx2(const q_work *work, const q_binary_args *a);
void q_activate_avx2(const q_work *work, const q_activate_args *a);
void q_activate_grad_avx2(const q_work *work, const q_activate_grad_args *a);
void q_exp_avx2(const q_work *work, const q_unary_args *a);
void q_scale_avx2(const q_work *work, const q_scale_args *a);
void q_dropout_avx2(const q_work *work, const q_dropout_args *a);
void q_round_avx2(const q_work *work, const q_round_args *a);
void q_softmax_avx2(const q_work *work, const q_softmax_args *a);
void q_causal_mask_avx2(const q_work *work, const q_causal_mask_args *a);
void q_reduce_sum_avx2(const q_work *work, const q_reduce_args *a);
void q_reduce_max_avx2(const q_work *work, const q_reduce_args *a);

void q_rope_avx2(const q_work *work, const q_rope_args *a);
void q_kv_store_f32_avx2(const q_work *work, const q_kv_store_args *a);
void q_kv_store_f16_avx2(const q_work *work, const q_kv_store_args *a);
void q_kv_store_q8_0_avx2(const q_work *work, const q_kv_store_args *a);
void q_attention_f32_avx2(const q_work *work, const q_attention_args *a);
void q_attention_f16_avx2(const q_work *work, const q_attention_args *a);
void q_attention_q8_0_avx2(const q_work *work, const q_attention_args *a);
void q_embedding_grad_avx2(const q_work *work, const q_embedding_grad_args *a);
void q_rmsnorm_grad_avx2(const q_work *work, const q_rmsnorm_grad_args *a);
void q_rmsnorm_weight_grad_avx2(const q_work *work, const q_rmsnorm_grad_args *a);
void q_mul_grad_avx2(const q_work *work, const q_binary_grad_args *a);
void q_silu_mul_grad_avx2(const q_work *work, const q_binary_grad_args *a);
void q_softmax_grad_avx2(const q_work *work, const q_softmax_grad_args *a);
void q_rope_grad_avx2(const q_work *work, const q_rope_grad_args *a);
void q_gemm_grad_avx2(const q_work *work, const q_gemm_grad_args *a);
void q_attention_grad_avx2(const q_work *work, const q_attention_grad_args *a);

void q_mse_avx2(const q_work *work, const q_mse_args *a);
void q_pair_loss_avx2(const q_work *work, const q_pair_loss_args *a);
void q_cross_entropy_avx2(const q_work *work, const q_cross_entropy_args *a);
void q_cross_entropy_grad_avx2(const q_work *work, const q_cross_entropy_args *a);
void q_bias_grad_avx2(const q_work *work, const q_bias_grad_args *a);
void q_sgd_avx2(const q_work *work, const q_optimizer_args *a);
void q_adam_avx2(const q_work *work, const q_optimizer_args *a);
void q_lion_avx2(const q_work *work, const q_optimizer_args *a);
void q_sum_squares_avx2(const q_work *work, const q_sum_squares_args *a);
void q_rescale_avx2(const q_work *work, const q_rescale_args *a);
void q_average_avx2(const q_work *work, const q_average_args *a);

void q_layernorm_avx2(const q_work *work, const q_layernorm_args *a);
void q_layernorm_grad_avx2(const q_work *work, const q_layernorm_grad_args *a);
void q_layernorm_grad_param_avx2(const q_work *work, const q_layernorm_grad_param_args *a);
void q_batchnorm_blocks_avx2(const q_work *work, const q_batchnorm_blocks_args *a);
void q_batchnorm_join_avx2(const q_work *work, const q_batchnorm_join_args *a);
void q_batchnorm_fold_avx2(const q_work *work, const q_batchnorm_fold_args *a);
void q_batchnorm_avx2(const q_work *work, const q_batchnorm_args *a);
void q_batchnorm_grad_blocks_avx2(const q_work *work, const q_batchnorm_grad_args *a);
void q_batchnorm_grad_avx2(const q_work *work, const q_batchnorm_grad_args *a);

void q_rnn_cell_avx2(const q_work *work, const q_cell_args *a);
void q_lstm_cell_avx2(const q_work *work, const q_cell_args *a);
void q_gru_cell_avx2(const q_work *work, const q_cell_args *a);
void q_rnn_cell_grad_avx2(const q_work *work, const q_cell_grad_args *a);
void q_lstm_cell_grad_avx2(const q_work *work, const q_cell_grad_args *a);
void q_gru_cell_grad_avx2(const q_work *work, const q_cell_grad_args *a);

void q_conv2d_avx2(const q_work *work, const q_conv2d_args *a);
void q_conv2d_grad_input_avx2(const q_work *work, const q_conv2d_grad_input_args *a);
void q_conv2d_grad_weight_avx2(const q_work *work, const q_conv2d_grad_weight_args *a);
void q_pool2d_avx2(const q_work *work, const q_pool2d_args *a);
void q_pool2d_grad_avx2(const q_work *work, const q_pool2d_grad_args *a);

/* -- pieces of a tile -------------------------------------------------------------------------- */

/*
 * acc[t][i] = fma(x[t][p], b[p][i], acc[t][i]) for p = 0 .. k - 1 ascending, t < rows <=
 * Q_AVX2_TILE_ROWS, i < 16. Strides in bytes: x[t][p] at x + t*x_row + p*x_step, b[p] at b +
 * p*b_step; acc is [rows][16], 32-byte aligned.
 */
void q_tile_f32_avx2(uint32_t rows, uint32_t k, const float *x, size_t x_row, size_t x_step,
                     const float *b, size_t b_step, float *acc);

/* acc[t][i] = bias[m0 + i] or 0, for t < rows, i < 16; lanes beyond `lanes` become 0. Rows of acc lie acc_row floats
   apart. */
void q_tile_start_avx2(uint32_t rows, const float *bias, uint32_t m0, uint32_t lanes, float *acc, size_t acc_row);

/* Applies the epilogue to acc and stores lanes m0 .. m0 + lanes - 1 of rows r .. of y. */
void q_tile_finish_avx2(const q_epilogue *e, uint32_t r, uint32_t rows, uint32_t m0, uint32_t lanes, const float *acc,
                        size_t acc_row, float *y, size_t y_stride);

/* For bodies in backends/x86. */
#define x86_tile_start q_tile_start_avx2
#define x86_tile_finish q_tile_finish_avx2

#endif /* Q_KERNELS_AVX2_H */
