/* SPDX-License-Identifier: MIT */
/* gradients.c: the kernels of x86/gradients.h on 16 lanes. */
#include "kernels_avx512.h"
#include "../x86/gradients.h"

void q_rmsnorm_grad_avx512(const q_work *work, const q_rmsnorm_grad_args *a)
{
    x86_rmsnorm_grad(work, a);
}

void q_rmsnorm_weight_grad_avx512(const q_work *work, const q_rmsnorm_grad_args *a)
{
    x86_rmsnorm_weight_grad(work, a);
}

void q_softmax_grad_avx512(const q_work *work, const q_softmax_grad_args *a)
{
    x86_softmax_grad(work, a);
}

void q_embedding_grad_avx512(const q_work *work, const q_embedding_grad_args *a)
{
    x86_embedding_grad(work, a);
}

void q_rope_grad_avx512(const q_work *work, const q_rope_grad_args *a)
{
    x86_rope_grad(work, a);
}

void q_mul_grad_avx512(const q_work *work, const q_binary_grad_args *a)
{
    x86_mul_grad(work, a);
}

void q_silu_mul_grad_avx512(const q_work *work, const q_binary_grad_args *a)
{
    x86_silu_mul_grad(work, a);
}
