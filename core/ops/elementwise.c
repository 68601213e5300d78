/* SPDX-License-Identifier: MIT */
/*
 * elementwise.c: out = a + b, a * b, silu(a) * b, silu(x), exp(x), operands of one shape.
 */
#include "check.h"

static q_error_code op_binary_check(const q_op_call *call, const q_tensor *a, const q_tensor *b,
                                    const q_tensor *out, bool *flat)
{
    q_op_span sa;
    q_op_span sb;
    q_op_span so;
    Q_OP_TRY(q_op_check_real(call, "a", a, &sa));
    Q_OP_TRY(q_op_check_real(call, "b", b, &sb));
    Q_OP_TRY(q_op_check_real(call, "out", out, &so));
    Q_OP_TRY(q_op_check_shape(call, &sb, a));
    Q_OP_TRY(q_op_check_shape(call, &so, a));
    Q_OP_TRY(q_op_apart_or_equal(call, &so, &sa));
    Q_OP_TRY(q_op_apart_or_equal(call, &so, &sb));
    *flat = sa.flat && sb.flat && so.flat;
    return Q_OK;
}

static q_binary_args op_binary_args(const q_tensor *a, const q_tensor *b, const q_tensor *out,
                                    uint32_t rows)
{
    q_binary_args args;
    args.rows = q_op_count(rows);
    args.dim = a->ne[3];
    args.a = (const q_real *)a->data;
    args.a_stride = a->nb[2];
    args.b = (const q_real *)b->data;
    args.b_stride = b->nb[2];
    args.out = (q_real *)out->data;
    args.out_stride = out->nb[2];
    return args;
}

/* Operands of any form: one call of the kernel per piece. */
static q_error_code op_binary_pieces(const q_op_call *call, q_op_kernel kernel, const q_tensor *a,
                                     const q_tensor *b, const q_tensor *out)
{
    q_op_planes p;
    q_binary_args args;
    bool flat = true;
    Q_OP_TRY(op_binary_check(call, a, b, out, &flat));
    p = q_op_split(a, flat);
    args = op_binary_args(a, b, out, p.rows);
    for (uint32_t i = 0; i < p.n0; i++) {
        for (uint32_t j = 0; j < p.n1; j++) {
            args.a = (const q_real *)q_op_plane(a, i, j);
            args.b = (const q_real *)q_op_plane(b, i, j);
            args.out = (q_real *)q_op_plane(out, i, j);
            Q_OP_TRY(q_op_run(call, kernel, &args, 0, q_op_work(p.rows, args.dim, 1)));
        }
    }
    return Q_OK;
}

static q_error_code op_binary(const q_op_call *call, q_op_kernel kernel, const q_tensor *a,
                              const q_tensor *b, q_tensor *out)
{
    q_binary_args args;
    if (!q_op_all_alike(call, a, b, out)) {
        return op_binary_pieces(call, kernel, a, b, out);
    }
    args = op_binary_args(a, b, out, a->ne[2]);
    return q_op_run(call, kernel, &args, 0, q_op_work(a->ne[2], args.dim, 1));
}

q_error_code q_op_add(const q_op_context *ctx, const q_tensor *a, const q_tensor *b, q_tensor *out,
                      q_diag *diag)
{
    q_op_call call;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_add", diag));
    return op_binary(&call, Q_OP_KERNEL_add, a, b, out);
}

q_error_code q_op_mul(const q_op_context *ctx, const q_tensor *a, const q_tensor *b, q_tensor *out,
                      q_diag *diag)
{
    q_op_call call;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_mul", diag));
    return op_binary(&call, Q_OP_KERNEL_mul, a, b, out);
}

q_error_code q_op_silu_mul(const q_op_context *ctx, const q_tensor *a, const q_tensor *b,
                           q_tensor *out, q_diag *diag)
{
    q_op_call call;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_silu_mul", diag));
    return op_binary(&call, Q_OP_KERNEL_silu_mul, a, b, out);
}

/* ---- One operand ----------------------------------------------------------------------------- */

typedef union op_unary_args {
    q_unary_args unary;
    q_activate_args activate;
} op_unary_args;

/* The arguments of `kernel`, exp or activate, for one piece. */
static void op_unary_fill(q_op_kernel kernel, const q_op_planes *p, const q_tensor *x, const void *from,
                          const q_tensor *out, void *to, op_unary_args *args)
{
    if (kernel == Q_OP_KERNEL_exp) {
        q_unary_args a = {q_op_count(p->rows), x->ne[3], (const q_real *)from, x->nb[2], (q_real *)to, out->nb[2]};
        args->unary = a;
    } else {
        q_activate_args a = {q_op_count(p->rows), x->ne[3], Q_ACT_SILU, 0, (const q_real *)from, x->nb[2],
                             (q_real *)to, out->nb[2]};
        args->activate = a;
    }
}

static q_error_code op_unary(const q_op_call *call, q_op_kernel kernel, const q_tensor *x,
                             q_tensor *out)
{
    q_op_planes p;
    op_unary_args args;
    bool flat = true;
    Q_OP_TRY(q_op_check_unary(call, x, out, &flat));
    p = q_op_split(x, flat);
    for (uint32_t i = 0; i < p.n0; i++) {
        for (uint32_t j = 0; j < p.n1; j++) {
            op_unary_fill(kernel, &p, x, q_op_plane(x, i, j), out, q_op_plane(out, i, j), &args);
            Q_OP_TRY(q_op_run(call, kernel, &args, 0, q_op_work(p.rows, x->ne[3], 1)));
        }
    }
    return Q_OK;
}

q_error_code q_op_silu(const q_op_context *ctx, const q_tensor *x, q_tensor *out, q_diag *diag)
{
    q_op_call call;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_silu", diag));
    return op_unary(&call, Q_OP_KERNEL_activate, x, out);
}

q_error_code q_op_exp(const q_op_context *ctx, const q_tensor *x, q_tensor *out, q_diag *diag)
{
    q_op_call call;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_exp", diag));
    return op_unary(&call, Q_OP_KERNEL_exp, x, out);
}
