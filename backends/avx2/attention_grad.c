/* SPDX-License-Identifier: MIT */
/* attention_grad.c: the gradients of x86/attention_grad.h on 8 lanes. */
#include "kernels_avx2.h"

enum {
    RETRACE_DIMS = 64, /* of a part of a head */
    RETRACE_ROWS = 6   /* of a register tile, 6 x 16: 12 chains */
};

#include "../x86/attention_grad.h"

Q_STATIC_ASSERT(sizeof(retrace_space) <= Q_AVX2_WORKSPACE, "blocks fit the workspace");

void q_attention_grad_avx2(const q_work *work, const q_attention_grad_args *a)
{
    x86_attention_grad(work, a);
}
