/* SPDX-License-Identifier: MIT */
/*
 * causal_mask.c: x[b][h][r][c] = -infinity where c > position + r.
 */
#include "check.h"

q_error_code q_op_causal_mask(const q_op_context *ctx, q_tensor *x, uint32_t position, q_diag *diag)
{
    q_op_call call;
    q_op_span span;
    q_causal_mask_args args;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_causal_mask", diag));
    Q_OP_TRY(q_op_check_real(&call, "x", x, &span));
    if (Q_UNLIKELY(x->ne[2] > UINT32_MAX - position)) {
        return q_op_fail(&call, Q_ERR_OVERFLOW, "position", "position", UINT32_MAX - x->ne[2],
                         position);
    }
    args.rows = q_op_count(x->ne[2]);
    args.cols = x->ne[3];
    args.reserved = 0;
    args.x_stride = x->nb[2];
    for (uint32_t i = 0; i < x->ne[0]; i++) {
        for (uint32_t j = 0; j < x->ne[1]; j++) {
            args.x = (q_real *)q_op_plane(x, i, j);
            Q_OP_TRY(q_op_run(&call, Q_OP_KERNEL_causal_mask, &args, position,
                              q_op_work(args.rows.n, args.cols, 1)));
        }
    }
    return Q_OK;
}
