/* SPDX-License-Identifier: MIT */
/* drive_train.c: builds the arguments of the kernels of training from a case; see drive.c. */
#include "drive.h"

void vec_build_q_mse_args(vec_run *c, void *args)
{
    q_mse_args *a = (q_mse_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->x = (const q_real *)vec_needed(c, VEC_X);
    a->x_stride = vec_stride(c, VEC_X);
    a->target = (const q_real *)vec_needed(c, VEC_TARGET);
    a->target_stride = vec_stride(c, VEC_TARGET);
    a->loss = (q_real *)vec_needed(c, VEC_LOSS);
    a->grad = (q_real *)vec_optional(c, VEC_GRAD);
    a->grad_stride = vec_stride(c, VEC_GRAD);
}

void vec_build_q_bias_grad_args(vec_run *c, void *args)
{
    q_bias_grad_args *a = (q_bias_grad_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->accumulate = vec_u32(c);
    a->reserved = 0;
    a->dy = (const q_real *)vec_needed(c, VEC_DY);
    a->dy_stride = vec_stride(c, VEC_DY);
    a->grad = (q_real *)vec_needed(c, VEC_GRAD);
}

void vec_build_q_optimizer_args(vec_run *c, void *args)
{
    q_optimizer_args *a = (q_optimizer_args *)args;
    a->n = vec_u32(c);
    a->grad_scale = (q_real)vec_f64(c);
    a->limit = (q_real)vec_f64(c);
    a->decay = (q_real)vec_f64(c);
    a->keep = (q_real)vec_f64(c);
    a->rate = (q_real)vec_f64(c);
    a->beta1 = (q_real)vec_f64(c);
    a->rest1 = (q_real)vec_f64(c);
    a->beta2 = (q_real)vec_f64(c);
    a->rest2 = (q_real)vec_f64(c);
    a->eps = (q_real)vec_f64(c);
    a->correction = (q_real)vec_f64(c);
    a->nesterov = vec_u32(c);
    a->w = (q_real *)vec_needed(c, VEC_Y);
    a->grad = (const q_real *)vec_needed(c, VEC_GRAD);
    a->m = (q_real *)vec_optional(c, VEC_A);
    a->v = (q_real *)vec_optional(c, VEC_B);
}

void vec_build_q_sum_squares_args(vec_run *c, void *args)
{
    q_sum_squares_args *a = (q_sum_squares_args *)args;
    a->n = vec_u32(c);
    a->x = (const q_real *)vec_needed(c, VEC_X);
    a->partial = (q_real *)vec_needed(c, VEC_Y);
}

void vec_build_q_rescale_args(vec_run *c, void *args)
{
    q_rescale_args *a = (q_rescale_args *)args;
    a->n = vec_u32(c);
    a->factor = (q_real)vec_f64(c);
    a->x = (q_real *)vec_needed(c, VEC_Y);
}

void vec_build_q_average_args(vec_run *c, void *args)
{
    q_average_args *a = (q_average_args *)args;
    a->n = vec_u32(c);
    a->share = (q_real)vec_f64(c);
    a->x = (const q_real *)vec_needed(c, VEC_X);
    a->average = (q_real *)vec_needed(c, VEC_Y);
}

void vec_build_q_gemm_grad_args(vec_run *c, void *args)
{
    q_gemm_grad_args *a = (q_gemm_grad_args *)args;
    a->rows = vec_count(c);
    a->m = vec_u32(c);
    a->k = vec_u32(c);
    a->dtype = vec_u32(c);
    a->accumulate = vec_u32(c);
    a->weights = vec_needed(c, VEC_WEIGHTS);
    a->dy = (const q_real *)vec_needed(c, VEC_DY);
    a->dy_stride = vec_stride(c, VEC_DY);
    a->dx = (q_real *)vec_needed(c, VEC_DX);
    a->dx_stride = vec_stride(c, VEC_DX);
}

void vec_build_q_embedding_grad_args(vec_run *c, void *args)
{
    q_embedding_grad_args *a = (q_embedding_grad_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->scale = (q_real)vec_f64(c);
    a->ids = (const int32_t *)vec_needed(c, VEC_IDS);
    a->dy = (const q_real *)vec_needed(c, VEC_DY);
    a->dy_stride = vec_stride(c, VEC_DY);
    a->grad = (q_real *)vec_needed(c, VEC_GRAD);
    a->grad_stride = vec_stride(c, VEC_GRAD);
}

void vec_build_q_select_rows_grad_args(vec_run *c, void *args)
{
    q_select_rows_grad_args *a = (q_select_rows_grad_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->accumulate = vec_u32(c);
    a->reserved = 0;
    a->dy = (const q_real *)vec_needed(c, VEC_DY);
    a->dy_stride = vec_stride(c, VEC_DY);
    a->dx = (q_real *)vec_needed(c, VEC_DX);
    a->dx_stride = vec_stride(c, VEC_DX);
}

void vec_build_q_rmsnorm_grad_args(vec_run *c, void *args)
{
    q_rmsnorm_grad_args *a = (q_rmsnorm_grad_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->eps = (q_real)vec_f64(c);
    a->offset = (q_real)vec_f64(c);
    a->accumulate = vec_u32(c);
    a->pass = vec_norm_pass(c, a->accumulate >> 1);
    a->accumulate &= 1u;
    a->reserved = 0;
    a->x = (const q_real *)vec_needed(c, VEC_X);
    a->x_stride = vec_stride(c, VEC_X);
    a->weight = (const q_real *)vec_optional(c, VEC_WEIGHTS);
    a->dy = (const q_real *)vec_needed(c, VEC_DY);
    a->dy_stride = vec_stride(c, VEC_DY);
    a->dx = (q_real *)vec_optional(c, VEC_DX);
    a->dx_stride = vec_stride(c, VEC_DX);
    a->s = (q_real *)vec_needed(c, VEC_SCALE);
    a->grad = (q_real *)vec_optional(c, VEC_GRAD);
}

void vec_build_q_binary_grad_args(vec_run *c, void *args)
{
    q_binary_grad_args *a = (q_binary_grad_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->accumulate = vec_u32(c);
    a->reserved = 0;
    a->a = (const q_real *)vec_needed(c, VEC_A);
    a->a_stride = vec_stride(c, VEC_A);
    a->b = (const q_real *)vec_needed(c, VEC_B);
    a->b_stride = vec_stride(c, VEC_B);
    a->dy = (const q_real *)vec_needed(c, VEC_DY);
    a->dy_stride = vec_stride(c, VEC_DY);
    a->da = (q_real *)vec_optional(c, VEC_DA);
    a->da_stride = vec_stride(c, VEC_DA);
    a->db = (q_real *)vec_optional(c, VEC_DB);
    a->db_stride = vec_stride(c, VEC_DB);
}

void vec_build_q_softmax_grad_args(vec_run *c, void *args)
{
    q_softmax_grad_args *a = (q_softmax_grad_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->scale = (q_real)vec_f64(c);
    a->accumulate = vec_u32(c);
    a->y = (const q_real *)vec_needed(c, VEC_Y);
    a->y_stride = vec_stride(c, VEC_Y);
    a->dy = (const q_real *)vec_needed(c, VEC_DY);
    a->dy_stride = vec_stride(c, VEC_DY);
    a->dx = (q_real *)vec_needed(c, VEC_DX);
    a->dx_stride = vec_stride(c, VEC_DX);
}

void vec_build_q_rope_grad_args(vec_run *c, void *args)
{
    q_rope_grad_args *a = (q_rope_grad_args *)args;
    a->rows = vec_count(c);
    a->heads = vec_u32(c);
    a->head_dim = vec_u32(c);
    a->n_pairs = vec_u32(c);
    a->accumulate = vec_u32(c);
    a->reserved = 0;
    a->table = (const q_real *)vec_needed(c, VEC_TABLE);
    a->table_stride = vec_stride(c, VEC_TABLE);
    a->dy = (const q_real *)vec_needed(c, VEC_DY);
    a->dy_stride = vec_stride(c, VEC_DY);
    a->dx = (q_real *)vec_needed(c, VEC_DX);
    a->dx_stride = vec_stride(c, VEC_DX);
}

static void vec_attention_grad_tensors(vec_run *c, q_attention_grad_args *a)
{
    a->q = (const q_real *)vec_needed(c, VEC_Q);
    a->q_stride = vec_stride(c, VEC_Q);
    a->k = (const q_real *)vec_needed(c, VEC_K);
    a->k_stride = vec_stride(c, VEC_K);
    a->v = (const q_real *)vec_needed(c, VEC_V);
    a->v_stride = vec_stride(c, VEC_V);
    a->out = (const q_real *)vec_needed(c, VEC_OUT);
    a->out_stride = vec_stride(c, VEC_OUT);
    a->dout = (const q_real *)vec_needed(c, VEC_DOUT);
    a->dout_stride = vec_stride(c, VEC_DOUT);
    a->lse = (const q_real *)vec_needed(c, VEC_LSE);
    a->delta = (q_real *)vec_needed(c, VEC_DELTA);
    a->dq = (q_real *)vec_optional(c, VEC_DQ);
    a->dq_stride = vec_stride(c, VEC_DQ);
    a->dk = (q_real *)vec_optional(c, VEC_DK);
    a->dk_stride = vec_stride(c, VEC_DK);
    a->dv = (q_real *)vec_optional(c, VEC_DV);
    a->dv_stride = vec_stride(c, VEC_DV);
}

void vec_build_q_attention_grad_args(vec_run *c, void *args)
{
    q_attention_grad_args *a = (q_attention_grad_args *)args;
    a->rows = vec_count(c);
    a->heads = vec_u32(c);
    a->kv_heads = vec_u32(c);
    a->head_dim = vec_u32(c);
    a->window = vec_u32(c);
    a->full = vec_u32(c);
    a->per_sample = vec_u32(c);
    a->accumulate = vec_u32(c);
    a->scale = (q_real)vec_f64(c);
    a->softcap = (q_real)vec_f64(c);
    a->lengths = (const int32_t *)vec_optional(c, VEC_IDS);
    vec_attention_grad_tensors(c, a);
}
