/* SPDX-License-Identifier: MIT */
/* norm.c: the kernels of x86/norm.h on 16 lanes. */
#include "kernels_avx512.h"
#include "../x86/norm.h"

void q_layernorm_avx512(const q_work *work, const q_layernorm_args *a)
{
    x86_layernorm(work, a);
}

void q_layernorm_grad_avx512(const q_work *work, const q_layernorm_grad_args *a)
{
    x86_layernorm_grad(work, a);
}

void q_layernorm_grad_param_avx512(const q_work *work, const q_layernorm_grad_param_args *a)
{
    x86_layernorm_grad_param(work, a);
}
