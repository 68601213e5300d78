/* SPDX-License-Identifier: MIT */
/* conv2d_depth.c: depthwise convolution of x86/conv2d_depth.h on 8 lanes. */
#include "conv2d.h"
#include "../x86/conv2d_depth.h"

Q_STATIC_ASSERT(sizeof(depth_space) <= Q_AVX2_WORKSPACE, "taps fit the workspace");

void q_conv_depth_avx2(const q_work *work, const conv_depth *x)
{
    x86_conv_depth(work, x);
}

void q_conv_depth_weight_avx2(const q_work *work, const q_conv2d_grad_weight_args *a)
{
    x86_conv_depth_weight(work, a);
}
