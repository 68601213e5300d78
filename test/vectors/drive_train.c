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
