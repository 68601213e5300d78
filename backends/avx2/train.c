/* SPDX-License-Identifier: MIT */
/* train.c: the kernels of x86/train.h on 8 lanes. */
#include "kernels_avx2.h"
#include "../x86/train.h"

void q_bias_grad_avx2(const q_work *work, const q_bias_grad_args *a)
{
    x86_bias_grad(work, a);
}
