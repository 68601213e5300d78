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
    q_op_span sx;
    q_op_span so;
    q_op_planes p;
    q_softmax_args args;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_softmax", diag));
    Q_OP_TRY(q_op_check_real(&call, "x", x, &sx));
    Q_OP_TRY(q_op_check_real(&call, "out", out, &so));
    Q_OP_TRY(q_op_check_shape(&call, &so, x));
    Q_OP_TRY(q_op_apart_or_equal(&call, &so, &sx));
    Q_OP_TRY(q_op_check_finite(&call, "scale", (double)scale));
    p = q_op_split(x, sx.flat && so.flat);
    args.rows.n = p.rows;
    args.rows.sym = Q_SYM_ONE;
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
