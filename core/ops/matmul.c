/* SPDX-License-Identifier: MIT */
/*
 * matmul.c: c = a * b, or c + a * b, of plain matrices, either one transposed.
 *
 *   a [.., m, k], b [.., k, n], c [.., m, n]
 */
#include "check.h"

enum { MATMUL_FLAGS = Q_OP_TRANSPOSE_A | Q_OP_TRANSPOSE_B | Q_OP_ACCUMULATE };

typedef struct op_matmul_operands {
    const q_tensor *a;
    const q_tensor *b;
    const q_tensor *c;
    uint32_t row_a; /* axis of a that runs along the rows of c: 2, or 3 if transposed */
    uint32_t row_b; /* axis of b that runs along the sum: 2, or 3 if transposed */
} op_matmul_operands;

/* Batch and head of a or b: those of c, or 1. */
static q_error_code op_matmul_check_planes(const q_op_call *call, const q_op_span *s,
                                           const q_tensor *c)
{
    for (uint32_t axis = 0; axis < 2; axis++) {
        if (Q_UNLIKELY(s->t->ne[axis] != c->ne[axis] && s->t->ne[axis] != 1)) {
            return q_op_check_axis(call, s, axis, c->ne[axis]);
        }
    }
    return Q_OK;
}

/* *fold: all rows of c can go in one call. */
static q_error_code op_matmul_check(const q_op_call *call, const op_matmul_operands *o, bool *fold)
{
    q_op_span a;
    q_op_span b;
    q_op_span c;
    Q_OP_TRY(q_op_check_real(call, "a", o->a, &a));
    Q_OP_TRY(q_op_check_real(call, "b", o->b, &b));
    Q_OP_TRY(q_op_check_real(call, "c", o->c, &c));
    Q_OP_TRY(q_op_expect_axis(call, &b, o->row_b, o->a->ne[5 - o->row_a]));
    Q_OP_TRY(q_op_expect_axis(call, &c, 2, o->a->ne[o->row_a]));
    Q_OP_TRY(q_op_expect_axis(call, &c, 3, o->b->ne[5 - o->row_b]));
    Q_OP_TRY(op_matmul_check_planes(call, &a, o->c));
    Q_OP_TRY(op_matmul_check_planes(call, &b, o->c));
    Q_OP_TRY(q_op_apart(call, &c, &a));
    Q_OP_TRY(q_op_apart(call, &c, &b));
    *fold = a.flat && c.flat && (o->b->ne[0] | o->b->ne[1]) == 1 && o->row_a == 2 &&
            o->a->ne[0] == o->c->ne[0] && o->a->ne[1] == o->c->ne[1];
    return Q_OK;
}

static q_error_code op_matmul(const q_op_call *call, const op_matmul_operands *o, uint32_t flags,
                              bool fold)
{
    q_op_planes p = q_op_split(o->c, fold);
    q_matmul_args args;
    memset(&args, 0, sizeof(args));
    args.m = q_op_count(p.rows);
    args.n = q_op_count(o->c->ne[3]);
    args.k = q_op_count(o->b->ne[o->row_b]);
    args.a_stride = o->a->nb[2];
    args.b_stride = o->b->nb[2];
    args.c_stride = o->c->nb[2];
    args.transpose_a = (flags & Q_OP_TRANSPOSE_A) != 0;
    args.transpose_b = (flags & Q_OP_TRANSPOSE_B) != 0;
    args.accumulate = (flags & Q_OP_ACCUMULATE) != 0;
    for (uint32_t i = 0; i < p.n0; i++) {
        for (uint32_t j = 0; j < p.n1; j++) {
            args.a = (const q_real *)q_op_plane(o->a, i, j);
            args.b = (const q_real *)q_op_plane(o->b, i, j);
            args.c = (q_real *)q_op_plane(o->c, i, j);
            Q_OP_TRY(q_op_run(call, Q_OP_KERNEL_matmul, &args, 0,
                              q_op_work(p.rows, args.n.n, args.k.n)));
        }
    }
    return Q_OK;
}

q_error_code q_op_matmul(const q_op_context *ctx, const q_tensor *a, const q_tensor *b,
                         uint32_t flags, q_tensor *c, q_diag *diag)
{
    op_matmul_operands o;
    q_op_call call;
    bool fold = false;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_matmul", diag));
    if (Q_UNLIKELY((flags & ~(uint32_t)MATMUL_FLAGS) != 0)) {
        return q_op_fail(&call, Q_ERR_INVALID_ARG, "flags", "unknown bit", MATMUL_FLAGS, flags);
    }
    o.a = a;
    o.b = b;
    o.c = c;
    o.row_a = (flags & Q_OP_TRANSPOSE_A) != 0 ? 3 : 2;
    o.row_b = (flags & Q_OP_TRANSPOSE_B) != 0 ? 3 : 2;
    Q_OP_TRY(op_matmul_check(&call, &o, &fold));
    return op_matmul(&call, &o, flags, fold);
}
