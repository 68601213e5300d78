/* SPDX-License-Identifier: MIT */
/* optim.c: the kernels of x86/optim.h on 8 lanes. */
#include "kernels_avx2.h"
#include "../x86/optim.h"

void q_sgd_avx2(const q_work *work, const q_optimizer_args *a)
{
    x86_sgd(work, a);
}

void q_adam_avx2(const q_work *work, const q_optimizer_args *a)
{
    x86_adam(work, a);
}

void q_lion_avx2(const q_work *work, const q_optimizer_args *a)
{
    x86_lion(work, a);
}

void q_sum_squares_avx2(const q_work *work, const q_sum_squares_args *a)
{
    x86_sum_squares(work, a);
}

void q_rescale_avx2(const q_work *work, const q_rescale_args *a)
{
    x86_rescale(work, a);
}

void q_average_avx2(const q_work *work, const q_average_args *a)
{
    x86_average(work, a);
}
