/* SPDX-License-Identifier: MIT */
/* pool2d.c: the kernels of x86/pool2d.h on 8 lanes. */
#include "kernels_avx2.h"
#include "../x86/pool2d.h"

void q_pool2d_avx2(const q_work *work, const q_pool2d_args *a)
{
    x86_pool2d(work, a);
}

void q_pool2d_grad_avx2(const q_work *work, const q_pool2d_grad_args *a)
{
    x86_pool2d_grad(work, a);
}
