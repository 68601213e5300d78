/* SPDX-License-Identifier: MIT */
/* activate.c: the kernels of x86/activate.h on 8 lanes. */
#include "kernels_avx2.h"
#include "../x86/activation.h"
#include "../x86/activate.h"

void q_activate_avx2(const q_work *work, const q_activate_args *a)
{
    x86_activate(work, a);
}

void q_activate_grad_avx2(const q_work *work, const q_activate_grad_args *a)
{
    x86_activate_grad(work, a);
}
