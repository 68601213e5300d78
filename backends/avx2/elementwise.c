/* SPDX-License-Identifier: MIT */
/* elementwise.c: the kernels of x86/elementwise.h on 8 lanes. */
#include "kernels_avx2.h"
#include "../x86/elementwise.h"

void q_add_avx2(const q_work *work, const q_binary_args *a)
{
    x86_add(work, a);
}

void q_mul_avx2(const q_work *work, const q_binary_args *a)
{
    x86_mul(work, a);
}

void q_silu_mul_avx2(const q_work *work, const q_binary_args *a)
{
    x86_silu_mul(work, a);
}

void q_exp_avx2(const q_work *work, const q_unary_args *a)
{
    x86_exp(work, a);
}

void q_causal_mask_avx2(const q_work *work, const q_causal_mask_args *a)
{
    x86_causal_mask(work, a);
}
