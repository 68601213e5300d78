/* SPDX-License-Identifier: MIT */
/* rmsnorm.c: the kernels of x86/rmsnorm.h on 8 lanes. */
#include "kernels_avx2.h"
#include "../x86/rmsnorm.h"

void q_rmsnorm_avx2(const q_work *work, const q_rmsnorm_args *a)
{
    x86_rmsnorm(work, a);
}
