/* SPDX-License-Identifier: MIT */
/* check_language.c: the gradients of language models, attention apart. */
#include <stdio.h>
#include <string.h>

#include "check.h"

/* ---- gemm_grad -------------------------------------------------------------------------------- */

static void gemm_grad_case(check *c, uint32_t dtype, uint32_t rows, uint32_t m, uint32_t k)
{
    char text[96];
    q_gemm_grad_args a;
    check_begin(c);
    check_fill fill = check_fill_any(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = rows;
    a.m = m;
    a.k = k;
    a.dtype = dtype;
    a.accumulate = check_below(c, 2);
    a.weights = check_panels(c, dtype, m, k, fill);
    a.dy = check_rows(c, rows, m, fill, &a.dy_stride);
    check_pair y = check_in_out(c, rows, k, fill);
    a.dx_stride = y.stride;
    q_gemm_grad_args b = a;
    a.dx = y.expected;
    b.dx = y.got;
    (void)snprintf(text, sizeof(text), "dtype %u rows %u m %u k %u accumulate %u fill %d", dtype, rows, m, k,
                   a.accumulate, (int)fill);
    CHECK_RUN(c, gemm_grad, &a, &b);
    check_pair_same(c, y, text);
}

void check_gemm_grad(check *c)
{
    static const uint32_t types[] = {Q_F32, Q_F16, Q_BF16, Q_Q8_0, Q_Q4_0, Q_Q4_1};
    for (uint32_t i = 0; i < 150; i++) {
        uint32_t dtype = types[i % 6];
        uint32_t k = q_dtype_is_quantised(dtype) ? CHECK_PICK(c, 32, 64, 96, 288) : CHECK_PICK(c, 1, 7, 16, 17, 31, 40, 100);
        gemm_grad_case(c, dtype, CHECK_PICK(c, 1, 2, 5, 12, 13, 30, 100), CHECK_PICK(c, 1, 15, 16, 17, 50, 300), k);
    }
}

void bench_gemm_grad(check *c)
{
    static const uint32_t types[] = {Q_F32, Q_F16, Q_Q8_0, Q_Q4_0, Q_Q4_1};
    for (uint32_t i = 0; i < 5; i++) {
        char text[48];
        q_gemm_grad_args a;
        double t;
        check_begin(c);
        memset(&a, 0, sizeof(a));
        a.rows.n = 128;
        a.m = 576;
        a.k = 1536;
        a.dtype = types[i];
        a.weights = check_panels(c, types[i], a.m, a.k, FILL_UNIT);
        a.dy = check_rows(c, 128, a.m, FILL_UNIT, &a.dy_stride);
        a.dx = check_rows(c, 128, a.k, FILL_UNIT, &a.dx_stride);
        CHECK_TIME(c, gemm_grad, &a, t);
        (void)snprintf(text, sizeof(text), "128 x 576 x 1536, dtype %u", types[i]);
        check_report(c, text, t, 128.0 * 576 * 1536, (double)q_panel_bytes(types[i], a.k) * 36);
    }
}

/* ---- rows --------------------------------------------------------------------------------------- */

void check_embedding_grad(check *c)
{
    for (uint32_t i = 0; i < 80; i++) {
        q_embedding_grad_args a;
        int32_t ids[40];
        check_begin(c);
        check_fill fill = check_fill_any(c);
        memset(&a, 0, sizeof(a));
        a.rows.n = CHECK_PICK(c, 1, 2, 9, 40);
        a.dim = CHECK_PICK(c, 1, 3, 8, 15, 16, 17, 40, 100);
        a.scale = check_below(c, 2) != 0 ? 1.0f : check_real(c, FILL_UNIT);
        for (uint32_t r = 0; r < a.rows.n; r++) {
            ids[r] = (int32_t)check_below(c, 5);
        }
        a.ids = ids;
        a.dy = check_rows(c, a.rows.n, a.dim, fill, &a.dy_stride);
        check_pair y = check_in_out(c, 5, a.dim, fill);
        a.grad_stride = y.stride;
        q_embedding_grad_args b = a;
        a.grad = y.expected;
        b.grad = y.got;
        CHECK_RUN(c, embedding_grad, &a, &b);
        check_pair_same(c, y, "embedding_grad");
    }
}

void bench_embedding_grad(check *c)
{
    static int32_t ids[256];
    q_embedding_grad_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 256;
    a.dim = 576;
    a.scale = 1;
    for (uint32_t r = 0; r < 256; r++) {
        ids[r] = (int32_t)check_below(c, 1000);
    }
    a.ids = ids;
    a.dy = check_rows(c, 256, a.dim, FILL_UNIT, &a.dy_stride);
    a.grad = check_rows(c, 1000, a.dim, FILL_UNIT, &a.grad_stride);
    CHECK_TIME(c, embedding_grad, &a, t);
    check_report(c, "256 x 576", t, 256.0 * 576, 256.0 * 576 * 12);
}

void check_select_rows_grad(check *c)
{
    for (uint32_t i = 0; i < 80; i++) {
        q_select_rows_grad_args a;
        uint32_t selected[40];
        check_begin(c);
        memset(&a, 0, sizeof(a));
        a.rows.n = CHECK_PICK(c, 1, 2, 9, 40);
        a.dim = CHECK_PICK(c, 1, 3, 8, 15, 16, 17, 40);
        a.accumulate = check_below(c, 2);
        for (uint32_t r = 0; r < a.rows.n; r++) {
            if (check_below(c, 3) == 0) {
                selected[c->run.n_selected++] = r;
            }
        }
        c->run.selected = selected;
        a.dy = check_rows(c, c->run.n_selected, a.dim, FILL_SPECIAL, &a.dy_stride);
        check_pair y = check_in_out(c, a.rows.n, a.dim, FILL_SPECIAL);
        a.dx_stride = y.stride;
        q_select_rows_grad_args b = a;
        a.dx = y.expected;
        b.dx = y.got;
        CHECK_RUN(c, select_rows_grad, &a, &b);
        check_pair_same(c, y, "select_rows_grad");
    }
}

void bench_select_rows_grad(check *c)
{
    (void)c; /* a copy */
}

/* ---- norms -------------------------------------------------------------------------------------- */

static q_rmsnorm_grad_args norm_args(check *c, uint32_t rows, uint32_t dim, check_fill fill)
{
    q_rmsnorm_grad_args a;
    memset(&a, 0, sizeof(a));
    a.rows.n = rows;
    a.dim = dim;
    a.eps = 1e-5f;
    a.offset = check_below(c, 3) == 0 ? 1.0f : 0.0f;
    a.x = check_rows(c, rows, dim, fill, &a.x_stride);
    a.dy = check_rows(c, rows, dim, fill, &a.dy_stride);
    a.weight = check_reals(c, dim, fill);
    return a;
}

void check_rmsnorm_grad(check *c)
{
    for (uint32_t i = 0; i < 100; i++) {
        char text[64];
        check_begin(c);
        check_fill fill = check_fill_any(c);
        q_rmsnorm_grad_args a =
            norm_args(c, CHECK_PICK(c, 1, 2, 9), CHECK_PICK(c, 1, 3, 8, 15, 16, 17, 31, 32, 33, 100), fill);
        check_pair y = check_in_out(c, a.rows.n, a.dim, fill);
        check_pair s = check_out(c, 1, a.rows.n);
        bool wanted = check_below(c, 5) != 0;
        a.accumulate = check_below(c, 2);
        a.dx_stride = y.stride;
        q_rmsnorm_grad_args b = a;
        a.dx = wanted ? y.expected : NULL;
        b.dx = wanted ? y.got : NULL;
        a.s = s.expected;
        b.s = s.got;
        check_pair to[2];
        check_norm_pass(c, a.rows.n, a.dim, fill, to, &a.pass, &b.pass);
        (void)snprintf(text, sizeof(text), "rows %u dim %u fill %d", a.rows.n, a.dim, (int)fill);
        CHECK_RUN(c, rmsnorm_grad, &a, &b);
        check_pair_same(c, y, text);
        check_pair_same(c, s, text);
        check_pair_same(c, to[0], text);
        check_pair_same(c, to[1], text);
    }
}

void bench_rmsnorm_grad(check *c)
{
    double t;
    check_begin(c);
    q_rmsnorm_grad_args a = norm_args(c, 128, 576, FILL_UNIT);
    a.dx = check_rows(c, 128, 576, FILL_UNIT, &a.dx_stride);
    a.s = check_reals(c, 128, FILL_UNIT);
    CHECK_TIME(c, rmsnorm_grad, &a, t);
    check_report(c, "128 x 576", t, 128.0 * 576, 128.0 * 576 * 12);
}

void check_rmsnorm_weight_grad(check *c)
{
    for (uint32_t i = 0; i < 80; i++) {
        check_begin(c);
        check_fill fill = check_fill_any(c);
        q_rmsnorm_grad_args a = norm_args(c, CHECK_PICK(c, 1, 2, 9, 40), CHECK_PICK(c, 1, 3, 8, 15, 16, 17, 33, 100), fill);
        check_pair y = check_in_out(c, 1, a.dim, fill);
        a.s = check_reals(c, a.rows.n, fill);
        q_rmsnorm_grad_args b = a;
        a.grad = y.expected;
        b.grad = y.got;
        CHECK_RUN(c, rmsnorm_weight_grad, &a, &b);
        check_pair_same(c, y, "rmsnorm_weight_grad");
    }
}

void bench_rmsnorm_weight_grad(check *c)
{
    double t;
    check_begin(c);
    q_rmsnorm_grad_args a = norm_args(c, 128, 576, FILL_UNIT);
    a.s = check_reals(c, 128, FILL_UNIT);
    a.grad = check_reals(c, 576, FILL_UNIT);
    CHECK_TIME(c, rmsnorm_weight_grad, &a, t);
    check_report(c, "128 x 576", t, 128.0 * 576, 128.0 * 576 * 8);
}

void check_softmax_grad(check *c)
{
    for (uint32_t i = 0; i < 80; i++) {
        q_softmax_grad_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        memset(&a, 0, sizeof(a));
        a.rows.n = CHECK_PICK(c, 1, 2, 9);
        a.dim = CHECK_PICK(c, 1, 3, 8, 15, 16, 17, 31, 33, 100);
        a.scale = check_real(c, FILL_UNIT);
        a.accumulate = check_below(c, 2);
        a.y = check_rows(c, a.rows.n, a.dim, fill, &a.y_stride);
        a.dy = check_rows(c, a.rows.n, a.dim, fill, &a.dy_stride);
        check_pair y = check_in_out(c, a.rows.n, a.dim, fill);
        a.dx_stride = y.stride;
        q_softmax_grad_args b = a;
        a.dx = y.expected;
        b.dx = y.got;
        CHECK_RUN(c, softmax_grad, &a, &b);
        check_pair_same(c, y, "softmax_grad");
    }
}

void bench_softmax_grad(check *c)
{
    q_softmax_grad_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 128;
    a.dim = 1024;
    a.scale = 1;
    a.y = check_rows(c, 128, a.dim, FILL_UNIT, &a.y_stride);
    a.dy = check_rows(c, 128, a.dim, FILL_UNIT, &a.dy_stride);
    a.dx = check_rows(c, 128, a.dim, FILL_UNIT, &a.dx_stride);
    CHECK_TIME(c, softmax_grad, &a, t);
    check_report(c, "128 x 1024", t, 128.0 * 1024, 128.0 * 1024 * 12);
}
