/* SPDX-License-Identifier: MIT */
/*
 * check_rows.c: norms, elementwise functions, softmax, masks and the choice of rows.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"

enum { ROW_CASES = 120 };

static uint32_t any_rows(check *c)
{
    return CHECK_PICK(c, 1, 1, 2, 3, 5, 8, 13);
}

static uint32_t any_dim(check *c)
{
    return CHECK_PICK(c, 1, 2, 3, 4, 7, 8, 9, 12, 15, 16, 17, 23, 31, 32, 33, 63, 64, 65, 130, 576,
                      1000);
}

void check_rmsnorm(check *c)
{
    for (uint32_t i = 0; i < ROW_CASES; i++) {
        char text[96];
        q_rmsnorm_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = any_rows(c);
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.dim = any_dim(c);
        a.eps = check_below(c, 2) != 0 ? 1e-5f : 1e-6f;
        a.offset = check_below(c, 3) == 0 ? 1.0f : 0.0f;
        a.weight = check_reals(c, a.dim, fill);
        check_pair y = check_in_out(c, rows, a.dim, fill);
        a.y_stride = y.stride;
        bool in_place = check_below(c, 3) == 0;
        a.x = check_rows(c, rows, a.dim, fill, &a.x_stride);
        q_rmsnorm_args b = a;
        a.y = y.expected;
        b.y = y.got;
        if (in_place) {
            a.x = y.expected;
            b.x = y.got;
            a.x_stride = y.stride;
            b.x_stride = y.stride;
        }
        check_pair x = check_norm_sum(c, rows, a.dim, fill, in_place ? &y : NULL, &a.sum, &b.sum);
        if (a.sum.a != NULL) {
            a.x = a.sum.x;
            b.x = b.sum.x;
            a.x_stride = b.x_stride = x.stride;
        }
        (void)snprintf(text, sizeof(text), "rows %u dim %u fill %d in place %d sum %d", rows, a.dim, (int)fill, in_place,
                       a.sum.a != NULL);
        CHECK_RUN(c, rmsnorm, &a, &b);
        check_pair_same(c, y, text);
        check_pair_same(c, x, text);
    }
}

void bench_rmsnorm(check *c)
{
    q_rmsnorm_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 256;
    a.dim = 576;
    a.eps = 1e-5f;
    a.weight = check_reals(c, a.dim, FILL_UNIT);
    a.x = check_rows(c, 256, a.dim, FILL_UNIT, &a.x_stride);
    a.y = check_rows(c, 256, a.dim, FILL_UNIT, &a.y_stride);
    CHECK_TIME(c, rmsnorm, &a, t);
    check_report(c, "256 x 576", t, 256.0 * 576, 256.0 * 576 * 8);
}

/* -- two inputs -------------------------------------------------------------------------------- */

typedef void (*binary_kernel)(const q_work *work, const q_binary_args *a);

static void run_binary(check *c, binary_kernel kernel, const q_backend *b, const q_binary_args *a,
                       uint32_t n)
{
    for (uint32_t w = n; w-- > 0;) {
        q_work work = check_work(c, w, n, b);
        kernel(&work, a);
    }
}

static void check_binary(check *c, binary_kernel reference, binary_kernel tested)
{
    for (uint32_t i = 0; i < ROW_CASES; i++) {
        char text[96];
        q_binary_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = any_rows(c);
        uint32_t alias = check_below(c, 4);
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.dim = any_dim(c);
        check_pair y = check_in_out(c, rows, a.dim, fill);
        a.out_stride = y.stride;
        a.a = check_rows(c, rows, a.dim, fill, &a.a_stride);
        a.b = check_rows(c, rows, a.dim, fill, &a.b_stride);
        q_binary_args b = a;
        a.out = y.expected;
        b.out = y.got;
        if (alias == 1) {
            a.a = a.out;
            b.a = b.out;
            a.a_stride = b.a_stride = y.stride;
        } else if (alias == 2) {
            a.b = a.out;
            b.b = b.out;
            a.b_stride = b.b_stride = y.stride;
        }
        (void)snprintf(text, sizeof(text), "rows %u dim %u fill %d alias %u", rows, a.dim,
                       (int)fill, alias);
        run_binary(c, reference, &c->reference, &a, 1);
        run_binary(c, tested, &c->tested, &b, c->n_workers);
        check_pair_same(c, y, text);
    }
}

void check_add(check *c)
{
    check_binary(c, c->reference.kernels.add, c->tested.kernels.add);
}

void check_mul(check *c)
{
    check_binary(c, c->reference.kernels.mul, c->tested.kernels.mul);
}

void check_silu_mul(check *c)
{
    check_binary(c, c->reference.kernels.silu_mul, c->tested.kernels.silu_mul);
}

static q_binary_args bench_binary(check *c)
{
    q_binary_args a;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 64;
    a.dim = 1536;
    a.a = check_rows(c, 64, a.dim, FILL_UNIT, &a.a_stride);
    a.b = check_rows(c, 64, a.dim, FILL_UNIT, &a.b_stride);
    a.out = check_rows(c, 64, a.dim, FILL_UNIT, &a.out_stride);
    return a;
}

void bench_add(check *c)
{
    double t;
    q_binary_args a = bench_binary(c);
    CHECK_TIME(c, add, &a, t);
    check_report(c, "64 x 1536", t, 64.0 * 1536, 64.0 * 1536 * 12);
}

void bench_mul(check *c)
{
    double t;
    q_binary_args a = bench_binary(c);
    CHECK_TIME(c, mul, &a, t);
    check_report(c, "64 x 1536", t, 64.0 * 1536, 64.0 * 1536 * 12);
}

void bench_silu_mul(check *c)
{
    double t;
    q_binary_args a = bench_binary(c);
    CHECK_TIME(c, silu_mul, &a, t);
    check_report(c, "64 x 1536", t, 64.0 * 1536, 64.0 * 1536 * 12);
}

/* -- one input --------------------------------------------------------------------------------- */

typedef void (*unary_kernel)(const q_work *work, const q_unary_args *a);

static void run_unary(check *c, unary_kernel kernel, const q_backend *b, const q_unary_args *a,
                      uint32_t n)
{
    for (uint32_t w = n; w-- > 0;) {
        q_work work = check_work(c, w, n, b);
        kernel(&work, a);
    }
}

/* Every exponent and sign of f32, many mantissas: where the branches of the functions lie. */
static void sweep_unary(check *c, unary_kernel reference, unary_kernel tested)
{
    q_unary_args a;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 512;
    a.dim = 512;
    a.x_stride = a.dim * sizeof(float);
    float *x = check_reals(c, 512 * 512, FILL_BITS);
    for (uint32_t i = 0; i < 512 * 512; i++) {
        x[i] = q_float_u32((i / 512u) << 23 | check_u32(c) >> 9);
    }
    a.x = x;
    a.out_stride = a.x_stride;
    q_unary_args b = a;
    a.out = (float *)check_alloc(c, 512 * 512 * sizeof(float), sizeof(float));
    b.out = (float *)check_alloc(c, 512 * 512 * sizeof(float), sizeof(float));
    run_unary(c, reference, &c->reference, &a, 1);
    run_unary(c, tested, &c->tested, &b, c->n_workers);
    check_same(c, a.out, b.out, 512 * 512 * sizeof(float), ELEMENT_F32, "sweep of all exponents");
    check_canaries(c, "sweep of all exponents");
}

static void check_unary(check *c, unary_kernel reference, unary_kernel tested)
{
    sweep_unary(c, reference, tested);
    for (uint32_t i = 0; i < ROW_CASES; i++) {
        char text[96];
        q_unary_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = any_rows(c);
        bool in_place = check_below(c, 2) != 0;
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.dim = any_dim(c);
        check_pair y = check_in_out(c, rows, a.dim, fill);
        a.out_stride = y.stride;
        a.x = check_rows(c, rows, a.dim, fill, &a.x_stride);
        q_unary_args b = a;
        a.out = y.expected;
        b.out = y.got;
        if (in_place) {
            a.x = a.out;
            b.x = b.out;
            a.x_stride = b.x_stride = y.stride;
        }
        (void)snprintf(text, sizeof(text), "rows %u dim %u fill %d in place %d", rows, a.dim,
                       (int)fill, in_place);
        run_unary(c, reference, &c->reference, &a, 1);
        run_unary(c, tested, &c->tested, &b, c->n_workers);
        check_pair_same(c, y, text);
    }
}

void check_exp(check *c)
{
    check_unary(c, c->reference.kernels.exp, c->tested.kernels.exp);
}

static q_unary_args bench_unary(check *c)
{
    q_unary_args a;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 64;
    a.dim = 1536;
    a.x = check_rows(c, 64, a.dim, FILL_UNIT, &a.x_stride);
    a.out = check_rows(c, 64, a.dim, FILL_UNIT, &a.out_stride);
    return a;
}

void bench_exp(check *c)
{
    double t;
    q_unary_args a = bench_unary(c);
    CHECK_TIME(c, exp, &a, t);
    check_report(c, "64 x 1536", t, 64.0 * 1536, 64.0 * 1536 * 8);
}

/* -- softmax, mask ----------------------------------------------------------------------------- */

/* Rows of only -infinity, and of -infinity and NaN. */
static void softmax_edges(check *c, float *x, uint32_t dim)
{
    for (uint32_t i = 0; i < dim; i++) {
        x[i] = q_float_u32(check_below(c, 40) == 0 ? 0x7fc00000u : 0xff800000u);
    }
}

void check_softmax(check *c)
{
    for (uint32_t i = 0; i < ROW_CASES; i++) {
        char text[96];
        q_softmax_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = any_rows(c);
        bool in_place = check_below(c, 2) != 0;
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.dim = any_dim(c);
        a.scale = check_below(c, 2) != 0 ? 1.0f : 8.0f * check_real(c, FILL_UNIT);
        check_pair y = check_in_out(c, rows, a.dim, fill);
        if (check_below(c, 4) == 0) {
            softmax_edges(c, y.expected, a.dim);
            memcpy(y.got, y.expected, y.size);
        }
        float *x = check_rows(c, rows, a.dim, fill, &a.x_stride);
        if (check_below(c, 4) == 0) {
            softmax_edges(c, x, a.dim);
        }
        a.x = x;
        a.out_stride = y.stride;
        q_softmax_args b = a;
        a.out = y.expected;
        b.out = y.got;
        if (in_place) {
            a.x = a.out;
            b.x = b.out;
            a.x_stride = b.x_stride = y.stride;
        }
        (void)snprintf(text, sizeof(text), "rows %u dim %u fill %d in place %d", rows, a.dim,
                       (int)fill, in_place);
        CHECK_RUN(c, softmax, &a, &b);
        check_pair_same(c, y, text);
    }
}

void bench_softmax(check *c)
{
    q_softmax_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 64;
    a.dim = 2048;
    a.scale = 0.125f;
    a.x = check_rows(c, 64, a.dim, FILL_UNIT, &a.x_stride);
    a.out = check_rows(c, 64, a.dim, FILL_UNIT, &a.out_stride);
    CHECK_TIME(c, softmax, &a, t);
    check_report(c, "64 x 2048", t, 64.0 * 2048, 64.0 * 2048 * 8);
}

void check_causal_mask(check *c)
{
    for (uint32_t i = 0; i < ROW_CASES; i++) {
        char text[96];
        q_causal_mask_args a;
        check_begin(c);
        uint32_t room = CHECK_PICK(c, 20, 60, 400, 4000000000u);
        uint32_t rows = check_spans(c, any_rows(c), room);
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.cols = any_dim(c);
        check_pair y = check_in_out(c, rows, a.cols, FILL_SPECIAL);
        a.x_stride = y.stride;
        q_causal_mask_args b = a;
        a.x = y.expected;
        b.x = y.got;
        (void)snprintf(text, sizeof(text), "rows %u cols %u spans %u position %u", rows,
                       a.cols, c->run.n_spans, c->run.position);
        CHECK_RUN(c, causal_mask, &a, &b);
        check_pair_same(c, y, text);
    }
}

void bench_causal_mask(check *c)
{
    q_causal_mask_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 512;
    a.cols = 512;
    a.x = check_rows(c, 512, 512, FILL_UNIT, &a.x_stride);
    CHECK_TIME(c, causal_mask, &a, t);
    check_report(c, "512 x 512", t, 512.0 * 256, 512.0 * 256 * 4);
}

/* -- select_rows ------------------------------------------------------------------------------- */

static uint32_t *any_selection(check *c, uint32_t rows, uint32_t *n)
{
    uint32_t *list = (uint32_t *)check_alloc(c, rows * sizeof(uint32_t), sizeof(uint32_t));
    *n = 0;
    for (uint32_t r = 0; r < rows; r++) {
        if (check_below(c, 2) != 0) {
            list[(*n)++] = r;
        }
    }
    return list;
}

void check_select_rows(check *c)
{
    for (uint32_t i = 0; i < ROW_CASES; i++) {
        q_select_rows_args a;
        check_begin(c);
        uint32_t rows = any_rows(c);
        memset(&a, 0, sizeof(a));
        a.dim = any_dim(c);
        a.x = check_rows(c, rows, a.dim, FILL_BITS, &a.x_stride);
        c->run.selected = any_selection(c, rows, &c->run.n_selected);
        check_pair y = check_out(c, rows, a.dim);
        a.out_stride = y.stride;
        q_select_rows_args b = a;
        a.out = y.expected;
        b.out = y.got;
        CHECK_RUN(c, select_rows, &a, &b);
        check_same(c, y.expected, y.got, y.size, ELEMENT_BYTE, "selected rows");
        check_canaries(c, "selected rows");
    }
}

void bench_select_rows(check *c)
{
    q_select_rows_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.dim = 576;
    a.x = check_rows(c, 256, a.dim, FILL_UNIT, &a.x_stride);
    a.out = check_rows(c, 256, a.dim, FILL_UNIT, &a.out_stride);
    do {
        c->run.selected = any_selection(c, 256, &c->run.n_selected);
    } while (c->run.n_selected == 0);
    CHECK_TIME(c, select_rows, &a, t);
    check_report(c, "half of 256 x 576", t, (double)c->run.n_selected * 576,
                 (double)c->run.n_selected * 576 * 8);
}
