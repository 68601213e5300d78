/* SPDX-License-Identifier: MIT */
/* drive_element.c: builds the arguments of activations, losses and dropout from a case; see drive.c. */
#include "drive.h"

void vec_build_q_activate_args(vec_run *c, void *args)
{
    q_activate_args *a = (q_activate_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->activation = vec_u32(c);
    a->reserved = 0;
    a->x = (const q_real *)vec_or_output(c, VEC_X);
    a->x_stride = vec_stride_or_output(c, VEC_X);
    a->out = (q_real *)vec_needed(c, VEC_Y);
    a->out_stride = vec_stride(c, VEC_Y);
}

/* Without dy it is dx itself. */
void vec_build_q_activate_grad_args(vec_run *c, void *args)
{
    q_activate_grad_args *a = (q_activate_grad_args *)args;
    bool in_place = vec_optional(c, VEC_DY) == NULL;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->activation = vec_u32(c);
    a->accumulate = vec_u32(c);
    a->v = (const q_real *)vec_needed(c, VEC_V);
    a->v_stride = vec_stride(c, VEC_V);
    a->dx = (q_real *)vec_needed(c, VEC_DX);
    a->dx_stride = vec_stride(c, VEC_DX);
    a->dy = in_place ? a->dx : (const q_real *)vec_optional(c, VEC_DY);
    a->dy_stride = in_place ? a->dx_stride : vec_stride(c, VEC_DY);
}

void vec_build_q_scale_args(vec_run *c, void *args)
{
    q_scale_args *a = (q_scale_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->accumulate = vec_u32(c);
    a->factor = (q_real)vec_f64(c);
    a->x = (const q_real *)vec_or_output(c, VEC_X);
    a->x_stride = vec_stride_or_output(c, VEC_X);
    a->out = (q_real *)vec_needed(c, VEC_Y);
    a->out_stride = vec_stride(c, VEC_Y);
}

void vec_build_q_dropout_args(vec_run *c, void *args)
{
    q_dropout_args *a = (q_dropout_args *)args;
    bool adds;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->per_sample = vec_u32(c);
    a->whole = vec_u32(c);
    a->node = vec_u32(c);
    a->threshold = vec_u32(c);
    a->reserved = 0;
    adds = vec_u32(c) != 0;
    a->factor = (q_real)vec_f64(c);
    a->x = (const q_real *)vec_or_output(c, VEC_X);
    a->x_stride = vec_stride_or_output(c, VEC_X);
    a->out = (q_real *)vec_needed(c, VEC_Y);
    a->out_stride = vec_stride(c, VEC_Y);
    a->residual = adds ? a->out : (const q_real *)vec_optional(c, VEC_RESIDUAL);
    a->residual_stride = vec_stride_or_output(c, VEC_RESIDUAL);
}

void vec_build_q_round_args(vec_run *c, void *args)
{
    q_round_args *a = (q_round_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->dtype = vec_u32(c);
    a->reserved = 0;
    a->x = (const q_real *)vec_or_output(c, VEC_X);
    a->x_stride = vec_stride_or_output(c, VEC_X);
    a->out = (q_real *)vec_needed(c, VEC_Y);
    a->out_stride = vec_stride(c, VEC_Y);
}

void vec_build_q_pair_loss_args(vec_run *c, void *args)
{
    q_pair_loss_args *a = (q_pair_loss_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->kind = vec_u32(c);
    a->accumulate = vec_u32(c);
    a->delta = (q_real)vec_f64(c);
    a->scale = (q_real)vec_f64(c);
    a->x = (const q_real *)vec_needed(c, VEC_X);
    a->x_stride = vec_stride(c, VEC_X);
    a->t = (const q_real *)vec_needed(c, VEC_TARGET);
    a->t_stride = vec_stride(c, VEC_TARGET);
    a->weight = (const q_real *)vec_optional(c, VEC_WEIGHTS);
    a->loss = (q_real *)vec_optional(c, VEC_LOSS);
    a->dx = (q_real *)vec_optional(c, VEC_DX);
    a->dx_stride = vec_stride(c, VEC_DX);
    a->dt = (q_real *)vec_optional(c, VEC_DB);
    a->dt_stride = vec_stride(c, VEC_DB);
}

void vec_build_q_cross_entropy_args(vec_run *c, void *args)
{
    q_cross_entropy_args *a = (q_cross_entropy_args *)args;
    a->rows = vec_count(c);
    a->classes = vec_u32(c);
    a->ignore = (int32_t)vec_f64(c);
    a->accumulate = vec_u32(c);
    a->smoothing = (q_real)vec_f64(c);
    a->scale = (q_real)vec_f64(c);
    a->x = (const q_real *)vec_needed(c, VEC_X);
    a->x_stride = vec_stride(c, VEC_X);
    a->target = (const int32_t *)vec_needed(c, VEC_IDS);
    a->weight = (const q_real *)vec_optional(c, VEC_WEIGHTS);
    a->lse = (q_real *)vec_needed(c, VEC_LSE);
    a->loss = (q_real *)vec_optional(c, VEC_LOSS);
    a->count = (q_real *)vec_optional(c, VEC_SCALE);
    a->dx = (q_real *)vec_optional(c, VEC_DX);
    a->dx_stride = vec_stride(c, VEC_DX);
}
