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

void vec_build_q_sgd_args(vec_run *c, void *args)
{
    q_sgd_args *a = (q_sgd_args *)args;
    a->n = vec_u32(c);
    a->grad_scale = vec_f64(c);
    a->w = (q_real *)vec_needed(c, VEC_Y);
    a->grad = (const q_real *)vec_needed(c, VEC_GRAD);
}
