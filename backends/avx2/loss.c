/* SPDX-License-Identifier: MIT */
/* loss.c: the kernels of x86/loss.h on 8 lanes. */
#include "kernels_avx2.h"
#include "../x86/loss.h"

void q_mse_avx2(const q_work *work, const q_mse_args *a)
{
    x86_mse(work, a);
}

void q_pair_loss_avx2(const q_work *work, const q_pair_loss_args *a)
{
    x86_pair_loss(work, a);
}

void q_cross_entropy_avx2(const q_work *work, const q_cross_entropy_args *a)
{
    x86_cross_entropy(work, a);
}

void q_cross_entropy_grad_avx2(const q_work *work, const q_cross_entropy_args *a)
{
    x86_cross_entropy_grad(work, a);
}
