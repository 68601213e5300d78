/* SPDX-License-Identifier: MIT */
/* rope.c: the kernels of x86/rope.h on 16 lanes. */
#include "kernels_avx512.h"
#include "../x86/rope.h"

void q_rope_avx512(const q_work *work, const q_rope_args *a)
{
    x86_rope(work, a);
}
