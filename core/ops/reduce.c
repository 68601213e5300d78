/* SPDX-License-Identifier: MIT */
/*
 * reduce.c: out[b][h][r][0] = sum, or maximum, of x[b][h][r].
 */
#include "check.h"

static q_error_code op_reduce(const q_op_call *call, q_op_kernel kernel, const q_tensor *x,
                              q_tensor *out)
{
    q_op_span sx;
    q_op_span so;
    q_op_planes p;
    q_reduce_args args;
    Q_OP_TRY(q_op_check_real(call, "x", x, &sx));
    Q_OP_TRY(q_op_check_real(call, "out", out, &so));
    Q_OP_TRY(q_op_check_rows(call, &so, x));
    Q_OP_TRY(q_op_expect_axis(call, &so, 3, 1));
    if (Q_UNLIKELY(out->nb[2] != sizeof(q_real))) {
        return q_op_fail(call, Q_ERR_INVALID_LAYOUT, "out", "nb[2]", sizeof(q_real), out->nb[2]);
    }
    Q_OP_TRY(q_op_apart(call, &so, &sx));
    p = q_op_split(x, sx.flat && so.flat);
    args.rows = q_op_count(p.rows);
    args.dim = x->ne[3];
    args.x_stride = x->nb[2];
    for (uint32_t i = 0; i < p.n0; i++) {
        for (uint32_t j = 0; j < p.n1; j++) {
            args.x = (const q_real *)q_op_plane(x, i, j);
            args.out = (q_real *)q_op_plane(out, i, j);
            Q_OP_TRY(q_op_run(call, kernel, &args, 0, q_op_work(p.rows, args.dim, 1)));
        }
    }
    return Q_OK;
}

q_error_code q_op_reduce_sum(const q_op_context *ctx, const q_tensor *x, q_tensor *out,
                             q_diag *diag)
{
    q_op_call call;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_reduce_sum", diag));
    return op_reduce(&call, Q_OP_KERNEL_reduce_sum, x, out);
}

q_error_code q_op_reduce_max(const q_op_context *ctx, const q_tensor *x, q_tensor *out,
                             q_diag *diag)
{
    q_op_call call;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_reduce_max", diag));
    return op_reduce(&call, Q_OP_KERNEL_reduce_max, x, out);
}
