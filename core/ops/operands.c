/* SPDX-License-Identifier: MIT */
/*
 * operands.c: the checks of operands together: shapes that must agree, bytes that must not be
 * shared.
 */
#include "check.h"

q_error_code q_op_check_axis(const q_op_call *c, const q_op_span *s, uint32_t axis, uint64_t need)
{
    static const char *const fields[Q_MAX_DIMS] = {"ne[0]", "ne[1]", "ne[2]", "ne[3]"};
    if (s->t->ne[axis] != need) {
        return q_op_fail(c, Q_ERR_INVALID_SHAPE, s->name, fields[axis], need, s->t->ne[axis]);
    }
    return Q_OK;
}

q_error_code q_op_check_rows(const q_op_call *c, const q_op_span *s, const q_tensor *like)
{
    Q_OP_TRY(q_op_expect_axis(c, s, 0, like->ne[0]));
    Q_OP_TRY(q_op_expect_axis(c, s, 1, like->ne[1]));
    return q_op_expect_axis(c, s, 2, like->ne[2]);
}

q_error_code q_op_check_shape(const q_op_call *c, const q_op_span *s, const q_tensor *like)
{
    Q_OP_TRY(q_op_check_rows(c, s, like));
    return q_op_expect_axis(c, s, 3, like->ne[3]);
}

q_error_code q_op_check_flat(const q_op_call *c, const q_op_span *s)
{
    if (s->flat) {
        return Q_OK;
    }
    return q_op_fail(c, Q_ERR_INVALID_LAYOUT, s->name, "rows not evenly spaced", s->t->nb[2],
                     s->t->nb[1]);
}

q_error_code q_op_check_unary(const q_op_call *c, const q_tensor *x, const q_tensor *out,
                              bool *flat)
{
    q_op_span sx;
    q_op_span so;
    *flat = true;
    if (q_op_alike(c, x, out)) {
        return Q_OK;
    }
    Q_OP_TRY(q_op_check_real(c, "x", x, &sx));
    Q_OP_TRY(q_op_check_real(c, "out", out, &so));
    Q_OP_TRY(q_op_check_shape(c, &so, x));
    Q_OP_TRY(q_op_apart_or_equal(c, &so, &sx));
    *flat = sx.flat && so.flat;
    return Q_OK;
}

/* ---- Aliasing -------------------------------------------------------------------------------- */

/* True if two operands of one shape have every element at the same address. */
static bool op_same_view(const q_tensor *a, const q_tensor *b)
{
    bool same = a->data == b->data;
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        same = same && a->ne[i] == b->ne[i] && (a->ne[i] == 1 || a->nb[i] == b->nb[i]);
    }
    return same;
}

/*
 * True if two views of evenly spaced rows lie in different columns of one buffer. With one stride
 * s, and every row at most s wide, their rows meet only if the columns [0, wa) and [d, d + wb) do,
 * modulo s.
 */
static bool op_different_columns(const q_op_span *a, const q_op_span *b)
{
    size_t s;
    size_t wa;
    size_t wb;
    size_t d;
    if (a->t == NULL || b->t == NULL || !a->flat || !b->flat || a->t->dtype != Q_REAL ||
        b->t->dtype != Q_REAL || a->t->layout != Q_PLAIN || b->t->layout != Q_PLAIN ||
        a->t->nb[2] != b->t->nb[2]) {
        return false;
    }
    s = a->t->nb[2];
    wa = (size_t)a->t->ne[3] * sizeof(q_real);
    wb = (size_t)b->t->ne[3] * sizeof(q_real);
    d = a->begin <= b->begin ? (b->begin - a->begin) % s : (s - (a->begin - b->begin) % s) % s;
    return d >= wa && wb <= s - d;
}

q_error_code q_op_check_overlap(const q_op_call *c, const q_op_span *out, const q_op_span *in,
                                bool may_equal)
{
    if (!q_op_spans_meet(out, in) || op_different_columns(out, in) ||
        (may_equal && op_same_view(out->t, in->t))) {
        return Q_OK;
    }
    return q_op_fail(c, Q_ERR_ALIASING, out->name, in->name, 0, 0);
}
