/* SPDX-License-Identifier: MIT */
/* drive_norm.c: builds the arguments of LayerNorm and BatchNorm from a case; see drive.c. */
#include "drive.h"

void vec_build_q_layernorm_args(vec_run *c, void *args)
{
    q_layernorm_args *a = (q_layernorm_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->eps = (q_real)vec_f64(c);
    a->x = (const q_real *)vec_or_output(c, VEC_X);
    a->x_stride = vec_stride_or_output(c, VEC_X);
    a->sum = vec_norm_sum(c);
    a->weight = (const q_real *)vec_needed(c, VEC_WEIGHTS);
    a->bias = (const q_real *)vec_optional(c, VEC_BIAS);
    a->y = (q_real *)vec_needed(c, VEC_Y);
    a->y_stride = vec_stride(c, VEC_Y);
    a->stats = (q_real *)vec_optional(c, VEC_TABLE);
}

void vec_build_q_layernorm_grad_args(vec_run *c, void *args)
{
    q_layernorm_grad_args *a = (q_layernorm_grad_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->accumulate = vec_u32(c);
    a->pass = vec_norm_pass(c, a->accumulate >> 1);
    a->accumulate &= 1u;
    a->reserved = 0;
    a->x = (const q_real *)vec_needed(c, VEC_X);
    a->x_stride = vec_stride(c, VEC_X);
    a->dy = (const q_real *)vec_needed(c, VEC_DY);
    a->dy_stride = vec_stride(c, VEC_DY);
    a->weight = (const q_real *)vec_needed(c, VEC_WEIGHTS);
    a->stats = (const q_real *)vec_needed(c, VEC_TABLE);
    a->dx = (q_real *)vec_needed(c, VEC_DX);
    a->dx_stride = vec_stride(c, VEC_DX);
}

void vec_build_q_layernorm_grad_param_args(vec_run *c, void *args)
{
    q_layernorm_grad_param_args *a = (q_layernorm_grad_param_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->x = (const q_real *)vec_needed(c, VEC_X);
    a->x_stride = vec_stride(c, VEC_X);
    a->dy = (const q_real *)vec_needed(c, VEC_DY);
    a->dy_stride = vec_stride(c, VEC_DY);
    a->stats = (const q_real *)vec_needed(c, VEC_TABLE);
    a->grad_weight = (q_real *)vec_optional(c, VEC_DW);
    a->grad_bias = (q_real *)vec_optional(c, VEC_DB);
}

void vec_build_q_batchnorm_blocks_args(vec_run *c, void *args)
{
    q_batchnorm_blocks_args *a = (q_batchnorm_blocks_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->x = (const q_real *)vec_needed(c, VEC_X);
    a->x_stride = vec_stride(c, VEC_X);
    a->partial = (q_real *)vec_needed(c, VEC_TABLE);
}

void vec_build_q_batchnorm_join_args(vec_run *c, void *args)
{
    q_batchnorm_join_args *a = (q_batchnorm_join_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->eps = (q_real)vec_f64(c);
    a->momentum = (q_real)vec_f64(c);
    a->partial = (const q_real *)vec_needed(c, VEC_TABLE);
    a->weight = (const q_real *)vec_needed(c, VEC_WEIGHTS);
    a->mean = (q_real *)vec_needed(c, VEC_H);
    a->s = (q_real *)vec_needed(c, VEC_C);
    a->scale = (q_real *)vec_needed(c, VEC_SCALE);
    a->running_mean = (q_real *)vec_optional(c, VEC_A);
    a->running_var = (q_real *)vec_optional(c, VEC_B);
}

void vec_build_q_batchnorm_fold_args(vec_run *c, void *args)
{
    q_batchnorm_fold_args *a = (q_batchnorm_fold_args *)args;
    a->dim = vec_u32(c);
    a->reserved = 0;
    a->eps = (q_real)vec_f64(c);
    a->weight = (const q_real *)vec_needed(c, VEC_WEIGHTS);
    a->bias = (const q_real *)vec_needed(c, VEC_BIAS);
    a->mean = (const q_real *)vec_needed(c, VEC_A);
    a->var = (const q_real *)vec_needed(c, VEC_B);
    a->scale = (q_real *)vec_needed(c, VEC_SCALE);
    a->shift = (q_real *)vec_needed(c, VEC_SHIFT);
}

void vec_build_q_batchnorm_args(vec_run *c, void *args)
{
    q_batchnorm_args *a = (q_batchnorm_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->activation = vec_u32(c);
    a->reserved = 0;
    a->x = (const q_real *)vec_or_output(c, VEC_X);
    a->x_stride = vec_stride_or_output(c, VEC_X);
    a->mean = (const q_real *)vec_optional(c, VEC_A);
    a->scale = (const q_real *)vec_needed(c, VEC_SCALE);
    a->shift = (const q_real *)vec_needed(c, VEC_SHIFT);
    a->y = (q_real *)vec_needed(c, VEC_Y);
    a->y_stride = vec_stride(c, VEC_Y);
}

void vec_build_q_batchnorm_grad_args(vec_run *c, void *args)
{
    q_batchnorm_grad_args *a = (q_batchnorm_grad_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->activation = vec_u32(c);
    a->accumulate = vec_u32(c);
    a->x = (const q_real *)vec_needed(c, VEC_X);
    a->x_stride = vec_stride(c, VEC_X);
    a->y = (const q_real *)vec_optional(c, VEC_Y);
    a->y_stride = vec_stride(c, VEC_Y);
    a->dy = (const q_real *)vec_needed(c, VEC_DY);
    a->dy_stride = vec_stride(c, VEC_DY);
    a->mean = (const q_real *)vec_needed(c, VEC_A);
    a->s = (const q_real *)vec_needed(c, VEC_B);
    a->scale = (const q_real *)vec_optional(c, VEC_SCALE);
    a->sums = (const q_real *)vec_optional(c, VEC_C);
    a->partial = (q_real *)vec_optional(c, VEC_TABLE);
    a->dx = (q_real *)vec_optional(c, VEC_DX);
    a->dx_stride = vec_stride(c, VEC_DX);
}
