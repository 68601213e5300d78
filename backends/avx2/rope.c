/* SPDX-License-Identifier: MIT */
/* rope.c: the kernels of x86/rope.h on 8 lanes. */
#include "kernels_avx2.h"
#include "../x86/rope.h"

void q_rope_avx2(const q_work *work, const q_rope_args *a)
{
    x86_rope(work, a);
}
