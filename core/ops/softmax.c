/* SPDX-License-Identifier: MIT */
/*
 * softmax.c: out = e / sum(e), e = exp(scale*x - max(scale*x)), along each row.
 *
 *   x, out [b, h, r, c]
 */
#include "check.h"

q_error_code q_op_softmax(const q_op_context *ctx, const q_tensor *x, q_real scale, q_tensor *out,
                          q_diag *diag)
{
    q_op_call call;
    q_op_planes p;
    q_softmax_args args;
    bool flat = true;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_softmax", diag));
    Q_OP_TRY(q_op_check_unary(&call, x, out, &flat));
    Q_OP_TRY(q_op_check_finite(&call, "scale", scale));
    p = q_op_split(x, flat);
    args.rows = q_op_count(p.rows);
    args.dim = x->ne[3];
    args.x_stride = x->nb[2];
    args.out_stride = out->nb[2];
    args.scale = scale;
    for (uint32_t i = 0; i < p.n0; i++) {
        for (uint32_t j = 0; j < p.n1; j++) {
            args.x = (const q_real *)q_op_plane(x, i, j);
            args.out = (q_real *)q_op_plane(out, i, j);
            Q_OP_TRY(
                q_op_run(&call, Q_OP_KERNEL_softmax, &args, 0, q_op_work(p.rows, args.dim, 1)));
        }
    }
    return Q_OK;
}
