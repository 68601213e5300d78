/* SPDX-License-Identifier: MIT */
/*
 * avx2.c: the table of the AVX2 backend: scalar, with every hot slot replaced. Left to scalar:
 * select_rows and its gradient (copies) and rope_table (once a step, in double).
 */
#include "qorus/port.h"
#include "kernels_avx2.h"

static void avx2_fill_products(q_kernels *k)
{
    k->gemm_f32 = q_gemm_f32_avx2;
    k->gemm_f16 = q_gemm_f16_avx2;
    k->gemm_bf16 = q_gemm_bf16_avx2;
    k->gemm_q8_0 = q_gemm_q8_0_avx2;
    k->gemm_q4_0 = q_gemm_q4_0_avx2;
    k->gemm_q4_1 = q_gemm_q4_1_avx2;
    k->gemm_a8_q8_0 = q_gemm_a8_q8_0_avx2;
    k->gemm_a8_q4_0 = q_gemm_a8_q4_0_avx2;
    k->gemm_a8_q4_1 = q_gemm_a8_q4_1_avx2;
    k->matmul = q_matmul_avx2;
    k->gather_f32 = q_gather_f32_avx2;
    k->gather_f16 = q_gather_f16_avx2;
    k->gather_bf16 = q_gather_bf16_avx2;
    k->gather_q8_0 = q_gather_q8_0_avx2;
    k->gather_q4_0 = q_gather_q4_0_avx2;
    k->gather_q4_1 = q_gather_q4_1_avx2;
    k->quantize_a8 = q_quantize_a8_avx2;
}

static void avx2_fill_rows(q_kernels *k)
{
    k->rmsnorm = q_rmsnorm_avx2;
    k->add = q_add_avx2;
    k->mul = q_mul_avx2;
    k->silu_mul = q_silu_mul_avx2;
    k->activate = q_activate_avx2;
    k->scale = q_scale_avx2;
    k->dropout = q_dropout_avx2;
    k->round = q_round_avx2;
    k->activate_grad = q_activate_grad_avx2;
    k->exp = q_exp_avx2;
    k->softmax = q_softmax_avx2;
    k->causal_mask = q_causal_mask_avx2;
    k->reduce_sum = q_reduce_sum_avx2;
    k->reduce_max = q_reduce_max_avx2;
    k->rope = q_rope_avx2;
    k->kv_store_f32 = q_kv_store_f32_avx2;
    k->kv_store_f16 = q_kv_store_f16_avx2;
    k->kv_store_q8_0 = q_kv_store_q8_0_avx2;
    k->attention_f32 = q_attention_f32_avx2;
    k->attention_f16 = q_attention_f16_avx2;
    k->attention_q8_0 = q_attention_q8_0_avx2;
    k->bias_grad = q_bias_grad_avx2;
    k->sgd = q_sgd_avx2;
    k->adam = q_adam_avx2;
    k->lion = q_lion_avx2;
    k->sum_squares = q_sum_squares_avx2;
    k->rescale = q_rescale_avx2;
    k->average = q_average_avx2;
}

static void avx2_fill_norms(q_kernels *k)
{
    k->layernorm = q_layernorm_avx2;
    k->layernorm_grad = q_layernorm_grad_avx2;
    k->layernorm_grad_param = q_layernorm_grad_param_avx2;
    k->batchnorm_blocks = q_batchnorm_blocks_avx2;
    k->batchnorm_join = q_batchnorm_join_avx2;
    k->batchnorm_fold = q_batchnorm_fold_avx2;
    k->batchnorm = q_batchnorm_avx2;
    k->batchnorm_grad_blocks = q_batchnorm_grad_blocks_avx2;
    k->batchnorm_grad = q_batchnorm_grad_avx2;
}

static void avx2_fill_losses(q_kernels *k)
{
    k->mse = q_mse_avx2;
    k->pair_loss = q_pair_loss_avx2;
    k->cross_entropy = q_cross_entropy_avx2;
    k->cross_entropy_grad = q_cross_entropy_grad_avx2;
}

static void avx2_fill_recurrent(q_kernels *k)
{
    k->rnn_cell = q_rnn_cell_avx2;
    k->lstm_cell = q_lstm_cell_avx2;
    k->gru_cell = q_gru_cell_avx2;
    k->rnn_cell_grad = q_rnn_cell_grad_avx2;
    k->lstm_cell_grad = q_lstm_cell_grad_avx2;
    k->gru_cell_grad = q_gru_cell_grad_avx2;
}

static void avx2_fill_images(q_kernels *k)
{
    k->conv2d = q_conv2d_avx2;
    k->conv2d_grad_input = q_conv2d_grad_input_avx2;
    k->conv2d_grad_weight = q_conv2d_grad_weight_avx2;
    k->pool2d = q_pool2d_avx2;
    k->pool2d_grad = q_pool2d_grad_avx2;
}

static void avx2_fill_gradients(q_kernels *k)
{
    k->attention_grad = q_attention_grad_avx2;
    k->gemm_grad = q_gemm_grad_avx2;
    k->embedding_grad = q_embedding_grad_avx2;
    k->rmsnorm_grad = q_rmsnorm_grad_avx2;
    k->rmsnorm_weight_grad = q_rmsnorm_weight_grad_avx2;
    k->mul_grad = q_mul_grad_avx2;
    k->silu_mul_grad = q_silu_mul_grad_avx2;
    k->softmax_grad = q_softmax_grad_avx2;
    k->rope_grad = q_rope_grad_avx2;
}

static void avx2_fill_vnni(q_kernels *k)
{
    k->gemm_a8_q8_0 = q_gemm_a8_q8_0_avx2vnni;
    k->gemm_a8_q4_0 = q_gemm_a8_q4_0_avx2vnni;
    k->gemm_a8_q4_1 = q_gemm_a8_q4_1_avx2vnni;
}

bool q_backend_avx2(q_backend *out, uint64_t features)
{
    if ((features & Q_CPU_AVX2) == 0) {
        return false;
    }
    q_backend_scalar(out);
    out->name = "avx2";
    out->needs = Q_CPU_AVX2;
    out->workspace_size = Q_AVX2_WORKSPACE;
    avx2_fill_products(&out->kernels);
    avx2_fill_rows(&out->kernels);
    avx2_fill_images(&out->kernels);
    avx2_fill_gradients(&out->kernels);
    avx2_fill_recurrent(&out->kernels);
    avx2_fill_losses(&out->kernels);
    avx2_fill_norms(&out->kernels);
    if ((features & Q_CPU_AVX_VNNI) != 0) {
        out->name = "avx2vnni";
        out->needs |= (uint64_t)Q_CPU_AVX_VNNI;
        avx2_fill_vnni(&out->kernels);
    }
    return true;
}
