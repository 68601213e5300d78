/* SPDX-License-Identifier: MIT */
/* drive_image.c: builds the arguments of the kernels of images from a case; see drive.c. */
#include "drive.h"

static q_conv2d_shape vec_shape(vec_run *c)
{
    q_conv2d_shape s;
    s.in_h = vec_u32(c);
    s.in_w = vec_u32(c);
    s.in_c = vec_u32(c);
    s.out_h = vec_u32(c);
    s.out_w = vec_u32(c);
    s.out_c = vec_u32(c);
    s.kernel_h = vec_u32(c);
    s.kernel_w = vec_u32(c);
    s.stride_h = vec_u32(c);
    s.stride_w = vec_u32(c);
    s.pad_h = vec_u32(c);
    s.pad_w = vec_u32(c);
    s.dilation_h = vec_u32(c);
    s.dilation_w = vec_u32(c);
    s.groups = vec_u32(c);
    s.reserved = 0;
    return s;
}

void vec_build_q_conv2d_args(vec_run *c, void *args)
{
    q_conv2d_args *a = (q_conv2d_args *)args;
    a->samples = vec_count(c);
    a->shape = vec_shape(c);
    a->epilogue = vec_epilogue(c);
    a->x = (const q_real *)vec_needed(c, VEC_X);
    a->x_stride = vec_stride(c, VEC_X);
    a->weights = (const q_real *)vec_needed(c, VEC_WEIGHTS);
    a->weights_stride = vec_stride(c, VEC_WEIGHTS);
    a->y = (q_real *)vec_needed(c, VEC_Y);
    a->y_stride = vec_stride(c, VEC_Y);
}

void vec_build_q_conv2d_grad_input_args(vec_run *c, void *args)
{
    q_conv2d_grad_input_args *a = (q_conv2d_grad_input_args *)args;
    a->samples = vec_count(c);
    a->shape = vec_shape(c);
    a->accumulate = vec_u32(c);
    a->reserved = 0;
    a->dy = (const q_real *)vec_needed(c, VEC_DY);
    a->dy_stride = vec_stride(c, VEC_DY);
    a->weights = (const q_real *)vec_needed(c, VEC_WEIGHTS);
    a->weights_stride = vec_stride(c, VEC_WEIGHTS);
    a->dx = (q_real *)vec_needed(c, VEC_DX);
    a->dx_stride = vec_stride(c, VEC_DX);
}

void vec_build_q_conv2d_grad_weight_args(vec_run *c, void *args)
{
    q_conv2d_grad_weight_args *a = (q_conv2d_grad_weight_args *)args;
    a->samples = vec_count(c);
    a->shape = vec_shape(c);
    a->x = (const q_real *)vec_needed(c, VEC_X);
    a->x_stride = vec_stride(c, VEC_X);
    a->dy = (const q_real *)vec_needed(c, VEC_DY);
    a->dy_stride = vec_stride(c, VEC_DY);
    a->grad = (q_real *)vec_needed(c, VEC_GRAD);
    a->grad_stride = vec_stride(c, VEC_GRAD);
}

void vec_build_q_pool2d_args(vec_run *c, void *args)
{
    q_pool2d_args *a = (q_pool2d_args *)args;
    a->samples = vec_count(c);
    a->shape = vec_shape(c);
    a->kind = vec_u32(c);
    a->include_pad = vec_u32(c);
    a->x = (const q_real *)vec_needed(c, VEC_X);
    a->x_stride = vec_stride(c, VEC_X);
    a->y = (q_real *)vec_needed(c, VEC_Y);
    a->y_stride = vec_stride(c, VEC_Y);
}

void vec_build_q_pool2d_grad_args(vec_run *c, void *args)
{
    q_pool2d_grad_args *a = (q_pool2d_grad_args *)args;
    a->samples = vec_count(c);
    a->shape = vec_shape(c);
    a->kind = vec_u32(c);
    a->include_pad = vec_u32(c);
    a->accumulate = vec_u32(c);
    a->reserved = 0;
    a->x = (const q_real *)vec_needed(c, VEC_X);
    a->x_stride = vec_stride(c, VEC_X);
    a->dy = (const q_real *)vec_needed(c, VEC_DY);
    a->dy_stride = vec_stride(c, VEC_DY);
    a->dx = (q_real *)vec_needed(c, VEC_DX);
    a->dx_stride = vec_stride(c, VEC_DX);
}
