/* SPDX-License-Identifier: MIT */
/* batchnorm.c: the kernels of x86/batchnorm.h on 8 lanes. */
#include "kernels_avx2.h"
#include "../x86/activation.h"
#include "../x86/batchnorm.h"

void q_batchnorm_blocks_avx2(const q_work *work, const q_batchnorm_blocks_args *a)
{
    x86_batchnorm_blocks(work, a);
}

void q_batchnorm_join_avx2(const q_work *work, const q_batchnorm_join_args *a)
{
    x86_batchnorm_join(work, a);
}

void q_batchnorm_fold_avx2(const q_work *work, const q_batchnorm_fold_args *a)
{
    x86_batchnorm_fold(work, a);
}

void q_batchnorm_avx2(const q_work *work, const q_batchnorm_args *a)
{
    x86_batchnorm(work, a);
}

void q_batchnorm_grad_blocks_avx2(const q_work *work, const q_batchnorm_grad_args *a)
{
    x86_batchnorm_grad_blocks(work, a);
}

void q_batchnorm_grad_avx2(const q_work *work, const q_batchnorm_grad_args *a)
{
    x86_batchnorm_grad(work, a);
}
