/* SPDX-License-Identifier: MIT */
/* attention_grad.c: the gradients of x86/attention_grad.h on 16 lanes. */
#include "kernels_avx512.h"

enum {
    RETRACE_DIMS = 128, /* of a part of a head */
    RETRACE_ROWS = 8   /* of a register tile, 8 x 32: 16 chains */
};

#include "../x86/attention_grad.h"

Q_STATIC_ASSERT(sizeof(retrace_space) <= Q_AVX512_WORKSPACE, "blocks fit the workspace");

void q_attention_grad_avx512(const q_work *work, const q_attention_grad_args *a)
{
    x86_attention_grad(work, a);
}
