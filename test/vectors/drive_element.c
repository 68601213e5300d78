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
