/* SPDX-License-Identifier: MIT */
/*
 * scalar.c: the table of the scalar backend. Every slot is filled: overlays start from here.
 */
#include "scalar.h"

static void scalar_fill_products(q_kernels *k)
{
    k->gemm_f32 = q_gemm_f32_scalar;
    k->gemm_f16 = q_gemm_f16_scalar;
    k->gemm_bf16 = q_gemm_bf16_scalar;
    k->gemm_q8_0 = q_gemm_q8_0_scalar;
    k->gemm_q4_0 = q_gemm_q4_0_scalar;
    k->gemm_q4_1 = q_gemm_q4_1_scalar;
    k->gemm_a8_q8_0 = q_gemm_a8_q8_0_scalar;
    k->gemm_a8_q4_0 = q_gemm_a8_q4_0_scalar;
    k->gemm_a8_q4_1 = q_gemm_a8_q4_1_scalar;
    k->matmul = q_matmul_scalar;
    k->gather_f32 = q_gather_f32_scalar;
    k->gather_f16 = q_gather_f16_scalar;
    k->gather_bf16 = q_gather_bf16_scalar;
    k->gather_q8_0 = q_gather_q8_0_scalar;
    k->gather_q4_0 = q_gather_q4_0_scalar;
    k->gather_q4_1 = q_gather_q4_1_scalar;
    k->quantize_a8 = q_quantize_a8_scalar;
}

static void scalar_fill_rows(q_kernels *k)
{
    k->rmsnorm = q_rmsnorm_scalar;
    k->add = q_add_scalar;
    k->mul = q_mul_scalar;
    k->silu_mul = q_silu_mul_scalar;
    k->activate = q_activate_scalar;
    k->scale = q_scale_scalar;
    k->dropout = q_dropout_scalar;
    k->round = q_round_scalar;
    k->exp = q_exp_scalar;
    k->softmax = q_softmax_scalar;
    k->causal_mask = q_causal_mask_scalar;
    k->reduce_sum = q_reduce_sum_scalar;
    k->reduce_max = q_reduce_max_scalar;
    k->select_rows = q_select_rows_scalar;
    k->rope_table = q_rope_table_scalar;
    k->rope = q_rope_scalar;
    k->kv_store_f32 = q_kv_store_f32_scalar;
    k->kv_store_f16 = q_kv_store_f16_scalar;
    k->kv_store_q8_0 = q_kv_store_q8_0_scalar;
    k->attention_f32 = q_attention_f32_scalar;
    k->attention_f16 = q_attention_f16_scalar;
    k->attention_q8_0 = q_attention_q8_0_scalar;
    k->mse = q_mse_scalar;
    k->bias_grad = q_bias_grad_scalar;
    k->sgd = q_sgd_scalar;
    k->adam = q_adam_scalar;
    k->lion = q_lion_scalar;
    k->sum_squares = q_sum_squares_scalar;
    k->rescale = q_rescale_scalar;
    k->average = q_average_scalar;
}

static void scalar_fill_recurrent(q_kernels *k)
{
    k->rnn_cell = q_rnn_cell_scalar;
    k->lstm_cell = q_lstm_cell_scalar;
    k->gru_cell = q_gru_cell_scalar;
    k->rnn_cell_grad = q_rnn_cell_grad_scalar;
    k->lstm_cell_grad = q_lstm_cell_grad_scalar;
    k->gru_cell_grad = q_gru_cell_grad_scalar;
}

static void scalar_fill_images(q_kernels *k)
{
    k->conv2d = q_conv2d_scalar;
    k->conv2d_grad_input = q_conv2d_grad_input_scalar;
    k->conv2d_grad_weight = q_conv2d_grad_weight_scalar;
    k->pool2d = q_pool2d_scalar;
    k->pool2d_grad = q_pool2d_grad_scalar;
}

static void scalar_fill_gradients(q_kernels *k)
{
    k->gemm_grad = q_gemm_grad_scalar;
    k->embedding_grad = q_embedding_grad_scalar;
    k->select_rows_grad = q_select_rows_grad_scalar;
    k->rmsnorm_grad = q_rmsnorm_grad_scalar;
    k->rmsnorm_weight_grad = q_rmsnorm_weight_grad_scalar;
    k->mul_grad = q_mul_grad_scalar;
    k->silu_mul_grad = q_silu_mul_grad_scalar;
    k->softmax_grad = q_softmax_grad_scalar;
    k->rope_grad = q_rope_grad_scalar;
    k->attention_grad = q_attention_grad_scalar;
    k->activate_grad = q_activate_grad_scalar;
    k->pair_loss = q_pair_loss_scalar;
    k->cross_entropy = q_cross_entropy_scalar;
    k->cross_entropy_grad = q_cross_entropy_grad_scalar;
}

static void scalar_fill_norms(q_kernels *k)
{
    k->layernorm = q_layernorm_scalar;
    k->layernorm_grad = q_layernorm_grad_scalar;
    k->layernorm_grad_param = q_layernorm_grad_param_scalar;
    k->batchnorm_blocks = q_batchnorm_blocks_scalar;
    k->batchnorm_join = q_batchnorm_join_scalar;
    k->batchnorm_fold = q_batchnorm_fold_scalar;
    k->batchnorm = q_batchnorm_scalar;
    k->batchnorm_grad_blocks = q_batchnorm_grad_blocks_scalar;
    k->batchnorm_grad = q_batchnorm_grad_scalar;
}

void q_backend_scalar(q_backend *out)
{
    memset(out, 0, sizeof(*out));
    out->struct_size = (uint32_t)sizeof(*out);
    out->device = Q_DEVICE_CPU;
    out->name = "scalar";
    scalar_fill_products(&out->kernels);
    scalar_fill_rows(&out->kernels);
    scalar_fill_recurrent(&out->kernels);
    scalar_fill_images(&out->kernels);
    scalar_fill_gradients(&out->kernels);
    scalar_fill_norms(&out->kernels);
}
