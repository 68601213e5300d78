/* SPDX-License-Identifier: MIT */
/* reduce.c: the kernels of x86/reduce.h on 16 lanes. */
#include "kernels_avx512.h"
#include "../x86/reduce.h"

void q_reduce_sum_avx512(const q_work *work, const q_reduce_args *a)
{
    x86_reduce_sum(work, a);
}

void q_reduce_max_avx512(const q_work *work, const q_reduce_args *a)
{
    x86_reduce_max(work, a);
}
