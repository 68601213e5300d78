/* SPDX-License-Identifier: MIT */
/* check_gradients.c: gradients of products of two values, of RoPE and of attention. */
#include <stdio.h>
#include <string.h>

#include "check.h"

/* ---- mul_grad, silu_mul_grad ---------------------------------------------------------------------- */

typedef void (*binary_kernel)(const q_work *work, const q_binary_grad_args *a);

static void run_binary(check *c, binary_kernel kernel, const q_backend *b, const q_binary_grad_args *a, uint32_t n)
{
    for (uint32_t w = n; w-- > 0;) {
        q_work work = check_work(c, w, n, b);
        kernel(&work, a);
    }
}

static q_binary_grad_args binary_inputs(check *c, uint32_t rows, uint32_t dim, check_fill fill)
{
    q_binary_grad_args a;
    memset(&a, 0, sizeof(a));
    a.rows.n = rows;
    a.dim = dim;
    a.a = check_rows(c, rows, dim, fill, &a.a_stride);
    a.b = check_rows(c, rows, dim, fill, &a.b_stride);
    a.dy = check_rows(c, rows, dim, fill, &a.dy_stride);
    return a;
}

/* Both gradients, one of them, or both the same. */
static void check_binary(check *c, binary_kernel reference, binary_kernel tested)
{
    for (uint32_t i = 0; i < 100; i++) {
        char text[64];
        check_begin(c);
        check_fill fill = check_fill_any(c);
        q_binary_grad_args a = binary_inputs(c, CHECK_PICK(c, 1, 2, 9), CHECK_PICK(c, 1, 3, 8, 15, 16, 17, 33, 100), fill);
        check_pair da = check_in_out(c, a.rows.n, a.dim, fill);
        check_pair db = check_in_out(c, a.rows.n, a.dim, fill);
        uint32_t form = check_below(c, 5);
        a.accumulate = check_below(c, 4);
        a.da_stride = da.stride;
        a.db_stride = form == 0 ? da.stride : db.stride;
        q_binary_grad_args b = a;
        a.da = form != 1 ? da.expected : NULL;
        b.da = form != 1 ? da.got : NULL;
        a.db = form == 0 ? da.expected : form != 2 ? db.expected : NULL;
        b.db = form == 0 ? da.got : form != 2 ? db.got : NULL;
        (void)snprintf(text, sizeof(text), "rows %u dim %u form %u accumulate %u", a.rows.n, a.dim, form, a.accumulate);
        run_binary(c, reference, &c->reference, &a, 1);
        run_binary(c, tested, &c->tested, &b, c->n_workers);
        check_pair_same(c, da, text);
        check_pair_same(c, db, text);
    }
}

static void bench_binary(check *c, binary_kernel tested)
{
    double best = 1e9;
    check_begin(c);
    q_binary_grad_args a = binary_inputs(c, 128, 1536, FILL_UNIT);
    a.da = check_rows(c, 128, 1536, FILL_UNIT, &a.da_stride);
    a.db = check_rows(c, 128, 1536, FILL_UNIT, &a.db_stride);
    for (uint32_t i = 0; i < 20; i++) {
        double t = check_seconds();
        run_binary(c, tested, &c->tested, &a, 1);
        t = check_seconds() - t;
        best = t < best ? t : best;
    }
    check_report(c, "128 x 1536", best, 128.0 * 1536, 128.0 * 1536 * 20);
}

void check_mul_grad(check *c)
{
    check_binary(c, c->reference.kernels.mul_grad, c->tested.kernels.mul_grad);
}

void bench_mul_grad(check *c)
{
    bench_binary(c, c->tested.kernels.mul_grad);
}

void check_silu_mul_grad(check *c)
{
    check_binary(c, c->reference.kernels.silu_mul_grad, c->tested.kernels.silu_mul_grad);
}

void bench_silu_mul_grad(check *c)
{
    bench_binary(c, c->tested.kernels.silu_mul_grad);
}

/* ---- rope_grad -------------------------------------------------------------------------------------- */

void check_rope_grad(check *c)
{
    for (uint32_t i = 0; i < 80; i++) {
        char text[64];
        q_rope_grad_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = CHECK_PICK(c, 1, 2, 7);
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.heads = CHECK_PICK(c, 1, 2, 5);
        a.n_pairs = CHECK_PICK(c, 1, 3, 7, 8, 9, 15, 16, 17, 32);
        a.head_dim = 2 * a.n_pairs + CHECK_PICK(c, 0, 0, 1, 9, 17);
        a.accumulate = check_below(c, 2);
        a.table = check_rows(c, rows, 2 * a.n_pairs, fill, &a.table_stride);
        a.dy = check_rows(c, rows, a.heads * a.head_dim, fill, &a.dy_stride);
        check_pair y = check_in_out(c, rows, a.heads * a.head_dim, fill);
        a.dx_stride = y.stride;
        q_rope_grad_args b = a;
        a.dx = y.expected;
        b.dx = y.got;
        (void)snprintf(text, sizeof(text), "rows %u heads %u dim %u pairs %u", rows, a.heads, a.head_dim, a.n_pairs);
        CHECK_RUN(c, rope_grad, &a, &b);
        check_pair_same(c, y, text);
    }
}

void bench_rope_grad(check *c)
{
    q_rope_grad_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 128;
    a.heads = 9;
    a.head_dim = 64;
    a.n_pairs = 32;
    a.table = check_rows(c, 128, 64, FILL_UNIT, &a.table_stride);
    a.dy = check_rows(c, 128, 576, FILL_UNIT, &a.dy_stride);
    a.dx = check_rows(c, 128, 576, FILL_UNIT, &a.dx_stride);
    CHECK_TIME(c, rope_grad, &a, t);
    check_report(c, "128 x 9 x 64", t, 128.0 * 576, 128.0 * 576 * 8);
}

/* ---- attention_grad ----------------------------------------------------------------------------------- */

/* Outputs of one run; dq, dk and dv hold something before. */
typedef struct attention_grads {
    check_pair delta;
    check_pair dq;
    check_pair dk;
    check_pair dv;
} attention_grads;

static q_attention_grad_args attention_inputs(check *c, uint32_t rows, uint32_t heads, uint32_t kv_heads, uint32_t dim,
                                              check_fill fill)
{
    q_attention_grad_args a;
    memset(&a, 0, sizeof(a));
    a.rows.n = rows;
    a.heads = heads;
    a.kv_heads = kv_heads;
    a.head_dim = dim;
    a.scale = 0.125f;
    a.q = check_rows(c, rows, heads * dim, fill, &a.q_stride);
    a.k = check_rows(c, rows, kv_heads * dim, fill, &a.k_stride);
    a.v = check_rows(c, rows, kv_heads * dim, fill, &a.v_stride);
    a.out = check_rows(c, rows, heads * dim, fill, &a.out_stride);
    a.dout = check_rows(c, rows, heads * dim, fill, &a.dout_stride);
    a.lse = check_reals(c, rows * heads, fill);
    return a;
}

static void attention_grad_case(check *c, uint32_t n_spans, uint32_t longest, bool samples)
{
    char text[128];
    q_span spans[CHECK_SEQUENCES];
    uint32_t rows = 0;
    check_begin(c);
    for (uint32_t i = 0; i < n_spans; i++) {
        uint32_t n = samples ? longest : 1 + check_below(c, longest);
        spans[i] = (q_span){n_spans - 1u - i, 0, rows, n};
        rows += n;
    }
    check_fill fill = check_below(c, 4) == 0 ? check_fill_any(c) : FILL_UNIT;
    uint32_t kv_heads = CHECK_PICK(c, 1, 2, 3);
    q_attention_grad_args a = attention_inputs(c, rows, kv_heads * CHECK_PICK(c, 1, 2, 3), kv_heads,
                                               CHECK_PICK(c, 1, 6, 8, 16, 24, 33, 64, 136), fill);
    attention_grads y = {check_out(c, 1, rows * a.heads), check_in_out(c, rows, a.heads * a.head_dim, fill),
                         check_in_out(c, rows, kv_heads * a.head_dim, fill),
                         check_in_out(c, rows, kv_heads * a.head_dim, fill)};
    uint32_t wanted = check_below(c, 2) != 0 ? 7 : 1 + check_below(c, 7);
    a.full = check_below(c, 3) == 0 ? 1 : 0;
    a.window = a.full == 0 && check_below(c, 3) == 0 ? CHECK_PICK(c, 1, 5, 64, 70) : 0;
    a.softcap = check_below(c, 3) == 0 ? 5.0f : 0.0f;
    a.accumulate = check_below(c, 8);
    a.per_sample = samples ? longest : 0;
    a.lengths = samples ? check_lengths(c, n_spans, longest) : NULL;
    c->run.n_spans = samples ? 0 : n_spans;
    c->run.spans = spans;
    a.dq_stride = y.dq.stride;
    a.dk_stride = y.dk.stride;
    a.dv_stride = y.dv.stride;
    q_attention_grad_args b = a;
    a.delta = y.delta.expected;
    b.delta = y.delta.got;
    a.dq = (wanted & 1u) != 0 ? y.dq.expected : NULL;
    b.dq = (wanted & 1u) != 0 ? y.dq.got : NULL;
    a.dk = (wanted & 2u) != 0 ? y.dk.expected : NULL;
    b.dk = (wanted & 2u) != 0 ? y.dk.got : NULL;
    a.dv = (wanted & 4u) != 0 ? y.dv.expected : NULL;
    b.dv = (wanted & 4u) != 0 ? y.dv.got : NULL;
    (void)snprintf(text, sizeof(text), "rows %u spans %u heads %u/%u dim %u window %u full %u cap %g fill %d", rows,
                   c->run.n_spans, a.heads, kv_heads, a.head_dim, a.window, a.full, (double)a.softcap, (int)fill);
    CHECK_RUN(c, attention_grad, &a, &b);
    check_pair_same(c, y.delta, text);
    check_pair_same(c, y.dq, text);
    check_pair_same(c, y.dk, text);
    check_pair_same(c, y.dv, text);
    check_canaries(c, text);
}

void check_attention_grad(check *c)
{
    for (uint32_t i = 0; i < 70; i++) {
        attention_grad_case(c, CHECK_PICK(c, 1, 1, 2, 4), CHECK_PICK(c, 1, 3, 9, 17, 40, 70, 140), check_below(c, 3) == 0);
    }
}

static void bench_attention_rows(check *c, uint32_t rows, uint32_t heads, uint32_t kv_heads, uint32_t dim, uint32_t full)
{
    char text[64];
    double t;
    check_begin(c);
    q_attention_grad_args a = attention_inputs(c, rows, heads, kv_heads, dim, FILL_UNIT);
    a.full = full;
    a.delta = check_reals(c, rows * heads, FILL_UNIT);
    a.dq = check_rows(c, rows, heads * dim, FILL_UNIT, &a.dq_stride);
    a.dk = check_rows(c, rows, kv_heads * dim, FILL_UNIT, &a.dk_stride);
    a.dv = check_rows(c, rows, kv_heads * dim, FILL_UNIT, &a.dv_stride);
    c->run.n_spans = 0;
    CHECK_TIME(c, attention_grad, &a, t);
    double pairs = full != 0 ? (double)rows * rows : (double)rows * (rows + 1) / 2;
    (void)snprintf(text, sizeof(text), "%u rows, %u/%u of %u%s", rows, heads, kv_heads, dim, full != 0 ? ", full" : "");
    check_report(c, text, t, 5.0 * pairs * heads * dim, (double)rows * (heads * 5.0 + kv_heads * 4.0) * dim * 4);
}

void bench_attention_grad(check *c)
{
    bench_attention_rows(c, 64, 9, 3, 64, 0);
    bench_attention_rows(c, 256, 9, 3, 64, 0);
    bench_attention_rows(c, 1024, 9, 3, 64, 0);
    bench_attention_rows(c, 256, 4, 4, 32, 1);
    bench_attention_rows(c, 256, 4, 2, 128, 0);
}
