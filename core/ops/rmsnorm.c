/* SPDX-License-Identifier: MIT */
/*
 * rmsnorm.c: out = x / sqrt(mean(x^2) + eps) * (weight + offset), along each row.
 *
 *   x, out [b, h, r, c], weight [c]
 */
#include "check.h"

typedef struct op_rmsnorm_operands {
    const q_tensor *x;
    const q_tensor *weight;
    const q_tensor *out;
} op_rmsnorm_operands;

static q_error_code op_rmsnorm_check(const q_op_call *call, const op_rmsnorm_operands *o,
                                     bool *flat)
{
    q_op_span sx;
    q_op_span sw;
    q_op_span so;
    Q_OP_TRY(q_op_check_real(call, "x", o->x, &sx));
    Q_OP_TRY(q_op_check_vector(call, "weight", o->weight, o->x->ne[3], &sw));
    Q_OP_TRY(q_op_check_real(call, "out", o->out, &so));
    Q_OP_TRY(q_op_check_shape(call, &so, o->x));
    Q_OP_TRY(q_op_apart_or_equal(call, &so, &sx));
    Q_OP_TRY(q_op_apart(call, &so, &sw));
    *flat = sx.flat && so.flat;
    return Q_OK;
}

q_error_code q_op_rmsnorm(const q_op_context *ctx, const q_tensor *x, const q_tensor *weight,
                          q_real eps, q_real offset, q_tensor *out, q_diag *diag)
{
    const op_rmsnorm_operands o = {x, weight, out};
    q_op_call call;
    q_op_planes p;
    q_rmsnorm_args args;
    bool flat = false;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_rmsnorm", diag));
    Q_OP_TRY(op_rmsnorm_check(&call, &o, &flat));
    Q_OP_TRY(q_op_check_positive(&call, "eps", eps));
    Q_OP_TRY(q_op_check_finite(&call, "offset", offset));
    p = q_op_split(x, flat);
    args.rows = q_op_count(p.rows);
    args.dim = x->ne[3];
    args.x_stride = x->nb[2];
    memset(&args.sum, 0, sizeof(args.sum));
    args.weight = (const q_real *)weight->data;
    args.y_stride = out->nb[2];
    args.eps = eps;
    args.offset = offset;
    for (uint32_t i = 0; i < p.n0; i++) {
        for (uint32_t j = 0; j < p.n1; j++) {
            args.x = (const q_real *)q_op_plane(x, i, j);
            args.y = (q_real *)q_op_plane(out, i, j);
            Q_OP_TRY(
                q_op_run(&call, Q_OP_KERNEL_rmsnorm, &args, 0, q_op_work(p.rows, args.dim, 1)));
        }
    }
    return Q_OK;
}
