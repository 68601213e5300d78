/* SPDX-License-Identifier: MIT */
/*
 * avx512.c: the table of the AVX-512 backend: AVX2's, with every slot replaced that 16 lanes make faster.
 */
#include "qorus/port.h"
#include "kernels_avx512.h"

static void avx512_fill_products(q_kernels *k)
{
    k->gemm_f32 = q_gemm_f32_avx512;
    k->gemm_f16 = q_gemm_f16_avx512;
    k->gemm_bf16 = q_gemm_bf16_avx512;
    k->gemm_q8_0 = q_gemm_q8_0_avx512;
    k->gemm_q4_0 = q_gemm_q4_0_avx512;
    k->gemm_q4_1 = q_gemm_q4_1_avx512;
    k->gemm_a8_q8_0 = q_gemm_a8_q8_0_avx512;
    k->gemm_a8_q4_0 = q_gemm_a8_q4_0_avx512;
    k->gemm_a8_q4_1 = q_gemm_a8_q4_1_avx512;
    k->matmul = q_matmul_avx512;
}

static void avx512_fill_rows(q_kernels *k)
{
    k->quantize_a8 = q_quantize_a8_avx512;
    k->rmsnorm = q_rmsnorm_avx512;
    k->add = q_add_avx512;
    k->mul = q_mul_avx512;
    k->silu_mul = q_silu_mul_avx512;
    k->activate = q_activate_avx512;
    k->scale = q_scale_avx512;
    k->dropout = q_dropout_avx512;
    k->round = q_round_avx512;
    k->activate_grad = q_activate_grad_avx512;
    k->exp = q_exp_avx512;
    k->softmax = q_softmax_avx512;
    k->causal_mask = q_causal_mask_avx512;
    k->reduce_sum = q_reduce_sum_avx512;
    k->reduce_max = q_reduce_max_avx512;
    k->rope = q_rope_avx512;
    k->attention_f32 = q_attention_f32_avx512;
    k->attention_f16 = q_attention_f16_avx512;
    k->attention_q8_0 = q_attention_q8_0_avx512;
    k->bias_grad = q_bias_grad_avx512;
    k->sgd = q_sgd_avx512;
    k->adam = q_adam_avx512;
    k->lion = q_lion_avx512;
    k->sum_squares = q_sum_squares_avx512;
    k->rescale = q_rescale_avx512;
    k->average = q_average_avx512;
}

static void avx512_fill_norms(q_kernels *k)
{
    k->layernorm = q_layernorm_avx512;
    k->layernorm_grad = q_layernorm_grad_avx512;
    k->layernorm_grad_param = q_layernorm_grad_param_avx512;
    k->batchnorm_blocks = q_batchnorm_blocks_avx512;
    k->batchnorm_join = q_batchnorm_join_avx512;
    k->batchnorm_fold = q_batchnorm_fold_avx512;
    k->batchnorm = q_batchnorm_avx512;
    k->batchnorm_grad_blocks = q_batchnorm_grad_blocks_avx512;
    k->batchnorm_grad = q_batchnorm_grad_avx512;
}

static void avx512_fill_losses(q_kernels *k)
{
    k->mse = q_mse_avx512;
    k->pair_loss = q_pair_loss_avx512;
    k->cross_entropy = q_cross_entropy_avx512;
    k->cross_entropy_grad = q_cross_entropy_grad_avx512;
}

static void avx512_fill_recurrent(q_kernels *k)
{
    k->rnn_cell = q_rnn_cell_avx512;
    k->lstm_cell = q_lstm_cell_avx512;
    k->gru_cell = q_gru_cell_avx512;
    k->rnn_cell_grad = q_rnn_cell_grad_avx512;
    k->lstm_cell_grad = q_lstm_cell_grad_avx512;
    k->gru_cell_grad = q_gru_cell_grad_avx512;
}

static void avx512_fill_images(q_kernels *k)
{
    k->conv2d = q_conv2d_avx512;
    k->conv2d_grad_input = q_conv2d_grad_input_avx512;
    k->conv2d_grad_weight = q_conv2d_grad_weight_avx512;
    k->pool2d = q_pool2d_avx512;
    k->pool2d_grad = q_pool2d_grad_avx512;
}

static void avx512_fill_gradients(q_kernels *k)
{
    k->attention_grad = q_attention_grad_avx512;
    k->gemm_grad = q_gemm_grad_avx512;
    k->embedding_grad = q_embedding_grad_avx512;
    k->rmsnorm_grad = q_rmsnorm_grad_avx512;
    k->rmsnorm_weight_grad = q_rmsnorm_weight_grad_avx512;
    k->mul_grad = q_mul_grad_avx512;
    k->silu_mul_grad = q_silu_mul_grad_avx512;
    k->softmax_grad = q_softmax_grad_avx512;
    k->rope_grad = q_rope_grad_avx512;
}

bool q_backend_avx512(q_backend *out, uint64_t features)
{
    const uint64_t needs = (uint64_t)Q_CPU_AVX2 | (uint64_t)Q_CPU_AVX512 | (uint64_t)Q_CPU_AVX512_VNNI;
    if ((features & needs) != needs || !q_backend_avx2(out, features & ~(uint64_t)Q_CPU_AVX_VNNI)) {
        return false;
    }
    out->name = "avx512";
    out->needs = needs;
    out->workspace_size =
        out->workspace_size > Q_AVX512_WORKSPACE ? out->workspace_size : (size_t)Q_AVX512_WORKSPACE;
    avx512_fill_products(&out->kernels);
    avx512_fill_rows(&out->kernels);
    avx512_fill_images(&out->kernels);
    avx512_fill_gradients(&out->kernels);
    avx512_fill_recurrent(&out->kernels);
    avx512_fill_losses(&out->kernels);
    avx512_fill_norms(&out->kernels);
    return true;
}
