/* SPDX-License-Identifier: MIT */
/* softmax.c: the kernels of x86/softmax.h on 16 lanes. */
#include "kernels_avx512.h"
#include "../x86/softmax.h"

void q_softmax_avx512(const q_work *work, const q_softmax_args *a)
{
    x86_softmax(work, a);
}
