/* SPDX-License-Identifier: MIT */
/* pool2d.c: the kernels of x86/pool2d.h on 16 lanes. */
#include "kernels_avx512.h"
#include "../x86/pool2d.h"

void q_pool2d_avx512(const q_work *work, const q_pool2d_args *a)
{
    x86_pool2d(work, a);
}

void q_pool2d_grad_avx512(const q_work *work, const q_pool2d_grad_args *a)
{
    x86_pool2d_grad(work, a);
}
