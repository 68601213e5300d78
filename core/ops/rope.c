/* SPDX-License-Identifier: MIT */
/*
 * rope.c: the table of cosines and sines of positions, and the rotation by it.
 *
 *   table [1, 1, p, 2n];  x, out [b, h, r, d], 2n <= d;  row r is turned by table row r, or
 *   positions[r]
 */
#include "check.h"

q_error_code q_op_rope_table(const q_op_context *ctx, const q_tensor *inv_freq, double magnitude,
                             uint32_t position, q_tensor *table, q_diag *diag)
{
    q_op_call call;
    q_op_span sf;
    q_op_span st;
    q_rope_table_args args;
    uint32_t n = 0;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_rope_table", diag));
    Q_OP_TRY(
        q_op_check_list(&call, "inv_freq", inv_freq, Q_F64, ctx->context.backend->device, &n, &sf));
    Q_OP_TRY(q_op_check_real(&call, "table", table, &st));
    Q_OP_TRY(q_op_expect_axis(&call, &st, 0, 1));
    Q_OP_TRY(q_op_expect_axis(&call, &st, 1, 1));
    Q_OP_TRY(q_op_expect_axis(&call, &st, 3, (uint64_t)2 * n));
    Q_OP_TRY(q_op_check_finite_f64(&call, "magnitude", magnitude));
    Q_OP_TRY(q_op_apart(&call, &st, &sf));
    if (Q_UNLIKELY(table->ne[2] > UINT32_MAX - position)) {
        return q_op_fail(&call, Q_ERR_OVERFLOW, "position", "position", UINT32_MAX - table->ne[2],
                         position);
    }
    args.rows = q_op_count(table->ne[2]);
    args.n_pairs = n;
    args.inv_freq = (const double *)inv_freq->data;
    args.magnitude = magnitude;
    args.table = (q_real *)table->data;
    args.table_stride = table->nb[2];
    return q_op_run(&call, Q_OP_KERNEL_rope_table, &args, position, q_op_work(args.rows.n, n, 32));
}

/* ---- Rotation -------------------------------------------------------------------------------- */

typedef struct op_rope_operands {
    const q_tensor *x;
    const q_tensor *table;
    const q_tensor *positions; /* may be NULL */
    const q_tensor *out;
} op_rope_operands;

static q_error_code op_rope_check_positions(const q_op_call *call, const op_rope_operands *o,
                                            const q_op_span *out)
{
    q_op_span s;
    const int32_t *at;
    uint32_t n = 0;
    Q_OP_TRY(q_op_check_list(call, "positions", o->positions, Q_I32, Q_DEVICE_CPU, &n, &s));
    if (Q_UNLIKELY(n != o->x->ne[2])) {
        return q_op_fail(call, Q_ERR_INVALID_SHAPE, "positions", "elements", o->x->ne[2], n);
    }
    Q_OP_TRY(q_op_apart(call, out, &s));
    at = (const int32_t *)o->positions->data;
    for (uint32_t i = 0; i < n; i++) {
        if (Q_UNLIKELY(at[i] < 0 || (uint32_t)at[i] >= o->table->ne[2])) {
            return q_op_refuse(call, Q_ERR_INVALID_ARG, "positions", "position", i, o->table->ne[2],
                               (uint64_t)(int64_t)at[i]);
        }
    }
    return Q_OK;
}

static q_error_code op_rope_check(const q_op_call *call, const op_rope_operands *o)
{
    q_op_span x;
    q_op_span table;
    q_op_span out;
    Q_OP_TRY(q_op_check_real(call, "x", o->x, &x));
    Q_OP_TRY(q_op_check_real(call, "table", o->table, &table));
    Q_OP_TRY(q_op_check_real(call, "out", o->out, &out));
    Q_OP_TRY(q_op_check_shape(call, &out, o->x));
    Q_OP_TRY(q_op_expect_axis(call, &table, 0, 1));
    Q_OP_TRY(q_op_expect_axis(call, &table, 1, 1));
    if (Q_UNLIKELY(o->table->ne[3] % 2 != 0 || o->table->ne[3] > o->x->ne[3])) {
        return q_op_fail(call, Q_ERR_INVALID_SHAPE, "table", "ne[3]", o->x->ne[3], o->table->ne[3]);
    }
    if (Q_UNLIKELY(o->positions == NULL && o->table->ne[2] < o->x->ne[2])) {
        return q_op_fail(call, Q_ERR_INVALID_SHAPE, "table", "ne[2]", o->x->ne[2], o->table->ne[2]);
    }
    Q_OP_TRY(q_op_apart_or_equal(call, &out, &x));
    Q_OP_TRY(q_op_apart(call, &out, &table));
    return o->positions == NULL ? Q_OK : op_rope_check_positions(call, o, &out);
}

/* Rows from `first` on whose table rows follow one another; *at: that of the first. */
static uint32_t op_rope_stretch(const op_rope_operands *o, uint32_t first, uint32_t *at)
{
    const int32_t *p;
    uint32_t n = 1;
    if (o->positions == NULL) {
        *at = first;
        return o->x->ne[2] - first;
    }
    p = (const int32_t *)o->positions->data + first;
    *at = (uint32_t)p[0];
    while (first + n < o->x->ne[2] && (uint32_t)p[n] == *at + n) {
        n++;
    }
    return n;
}

/* One plane of x: rows of args->heads heads each. */
static q_error_code op_rope_plane(const q_op_call *call, const op_rope_operands *o,
                                  q_rope_args *args, uint32_t i, uint32_t j)
{
    uint8_t *x = (uint8_t *)q_op_plane(o->x, i, j);
    uint8_t *out = (uint8_t *)q_op_plane(o->out, i, j);
    uint32_t row = 0;
    while (row < o->x->ne[2]) {
        uint32_t at = 0;
        args->rows = q_op_count(op_rope_stretch(o, row, &at));
        args->x = (const q_real *)(const void *)(x + row * o->x->nb[2]);
        args->out = (q_real *)(void *)(out + row * o->out->nb[2]);
        args->table =
            (const q_real *)(const void *)((const uint8_t *)o->table->data + at * o->table->nb[2]);
        Q_OP_TRY(q_op_run(call, Q_OP_KERNEL_rope, args, 0,
                          q_op_work(args->rows.n, args->heads, args->head_dim)));
        row += args->rows.n;
    }
    return Q_OK;
}

q_error_code q_op_rope(const q_op_context *ctx, const q_tensor *x, const q_tensor *table,
                       const q_tensor *positions, q_tensor *out, q_diag *diag)
{
    const op_rope_operands o = {x, table, positions, out};
    q_op_call call;
    q_rope_args args;
    bool together;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_rope", diag));
    Q_OP_TRY(op_rope_check(&call, &o));
    together = q_op_heads_together(x) && q_op_heads_together(out);
    args.heads = together ? x->ne[1] : 1;
    args.head_dim = x->ne[3];
    args.n_pairs = table->ne[3] / 2;
    args.x_stride = x->nb[2];
    args.table_stride = table->nb[2];
    args.out_stride = out->nb[2];
    for (uint32_t i = 0; i < x->ne[0]; i++) {
        for (uint32_t j = 0; j < x->ne[1]; j += args.heads) {
            Q_OP_TRY(op_rope_plane(&call, &o, &args, i, j));
        }
    }
    return Q_OK;
}
