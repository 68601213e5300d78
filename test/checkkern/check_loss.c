/* SPDX-License-Identifier: MIT */
/*
 * check_loss.c: losses of pairs and cross-entropy.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"

void check_pair_loss(check *c)
{
    for (uint32_t i = 0; i < 150; i++) {
        char text[96];
        q_pair_loss_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = CHECK_PICK(c, 1, 2, 3, 9);
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.dim = CHECK_PICK(c, 1, 3, 7, 8, 9, 15, 16, 17, 40, 130);
        a.kind = i % Q_LOSS_COUNT;
        a.accumulate = check_below(c, 4);
        a.delta = 0.75f;
        a.scale = check_below(c, 2) != 0 ? 1.0f : 0.3f;
        a.x = check_rows(c, rows, a.dim, fill, &a.x_stride);
        a.t = check_rows(c, rows, a.dim, fill, &a.t_stride);
        a.weight = check_below(c, 2) != 0 ? check_reals(c, a.dim, fill) : NULL;
        check_pair loss = check_out(c, 1, rows);
        check_pair dx = check_in_out(c, rows, a.dim, fill);
        check_pair dt = check_in_out(c, rows, a.dim, fill);
        bool with_dx = check_below(c, 3) != 0;
        bool with_dt = check_below(c, 2) != 0;
        a.dx_stride = dx.stride;
        a.dt_stride = dt.stride;
        q_pair_loss_args b = a;
        a.loss = loss.expected;
        b.loss = loss.got;
        a.dx = with_dx ? dx.expected : NULL;
        b.dx = with_dx ? dx.got : NULL;
        a.dt = with_dt ? dt.expected : NULL;
        b.dt = with_dt ? dt.got : NULL;
        (void)snprintf(text, sizeof(text), "kind %u rows %u dim %u fill %d", a.kind, rows, a.dim, (int)fill);
        CHECK_RUN(c, pair_loss, &a, &b);
        check_pair_same(c, loss, text);
        check_pair_same(c, dx, text);
        check_pair_same(c, dt, text);
    }
}

void bench_pair_loss(check *c)
{
    q_pair_loss_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 64;
    a.dim = 1024;
    a.scale = 1;
    a.x = check_rows(c, 64, a.dim, FILL_UNIT, &a.x_stride);
    a.t = check_rows(c, 64, a.dim, FILL_UNIT, &a.t_stride);
    a.loss = check_reals(c, 64, FILL_UNIT);
    a.dx = check_rows(c, 64, a.dim, FILL_UNIT, &a.dx_stride);
    CHECK_TIME(c, pair_loss, &a, t);
    check_report(c, "64 x 1024 mse", t, 64.0 * 1024, 64.0 * 1024 * 12);
}

static q_cross_entropy_args any_cross_entropy(check *c, uint32_t rows, uint32_t classes, check_fill fill)
{
    q_cross_entropy_args a;
    int32_t *target = (int32_t *)check_alloc(c, rows * sizeof(int32_t), sizeof(int32_t));
    memset(&a, 0, sizeof(a));
    a.rows.n = rows;
    a.classes = classes;
    a.ignore = -100;
    a.smoothing = check_below(c, 2) != 0 ? 0.0f : 0.1f;
    a.scale = check_below(c, 2) != 0 ? 1.0f : 0.3f;
    a.accumulate = check_below(c, 2);
    a.x = check_rows(c, rows, classes, fill, &a.x_stride);
    for (uint32_t r = 0; r < rows; r++) {
        target[r] = check_below(c, 5) == 0 ? a.ignore : (int32_t)check_below(c, classes);
    }
    a.target = target;
    a.weight = check_below(c, 2) != 0 ? check_reals(c, classes, FILL_UNIT) : NULL;
    return a;
}

static uint32_t any_classes(check *c)
{
    return CHECK_PICK(c, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 130, 1000);
}

void check_cross_entropy(check *c)
{
    for (uint32_t i = 0; i < 120; i++) {
        char text[96];
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = CHECK_PICK(c, 1, 2, 3, 9);
        q_cross_entropy_args a = any_cross_entropy(c, rows, any_classes(c), fill);
        check_pair lse = check_out(c, 1, 2 * rows);
        check_pair loss = check_out(c, 1, rows);
        check_pair count = check_out(c, 1, rows);
        q_cross_entropy_args b = a;
        a.lse = lse.expected;
        b.lse = lse.got;
        a.loss = loss.expected;
        b.loss = loss.got;
        a.count = count.expected;
        b.count = count.got;
        (void)snprintf(text, sizeof(text), "rows %u classes %u fill %d", rows, a.classes, (int)fill);
        CHECK_RUN(c, cross_entropy, &a, &b);
        check_pair_same(c, lse, text);
        check_pair_same(c, loss, text);
        check_pair_same(c, count, text);
    }
}

void check_cross_entropy_grad(check *c)
{
    for (uint32_t i = 0; i < 120; i++) {
        char text[96];
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = CHECK_PICK(c, 1, 2, 3, 9);
        q_cross_entropy_args a = any_cross_entropy(c, rows, any_classes(c), fill);
        check_pair dx = check_in_out(c, rows, a.classes, fill);
        a.lse = check_reals(c, 2 * rows, FILL_UNIT);
        a.dx_stride = dx.stride;
        q_cross_entropy_args b = a;
        a.dx = dx.expected;
        b.dx = dx.got;
        (void)snprintf(text, sizeof(text), "rows %u classes %u fill %d", rows, a.classes, (int)fill);
        CHECK_RUN(c, cross_entropy_grad, &a, &b);
        check_pair_same(c, dx, text);
    }
}

static q_cross_entropy_args bench_entropy_args(check *c)
{
    check_begin(c);
    q_cross_entropy_args a = any_cross_entropy(c, 32, 8192, FILL_UNIT);
    a.smoothing = 0;
    a.weight = NULL;
    a.lse = check_reals(c, 64, FILL_UNIT);
    a.loss = check_reals(c, 32, FILL_UNIT);
    a.count = check_reals(c, 32, FILL_UNIT);
    a.dx = check_rows(c, 32, a.classes, FILL_UNIT, &a.dx_stride);
    return a;
}

void bench_cross_entropy(check *c)
{
    q_cross_entropy_args a = bench_entropy_args(c);
    double t;
    CHECK_TIME(c, cross_entropy, &a, t);
    check_report(c, "32 x 8192", t, 32.0 * 8192, 32.0 * 8192 * 4);
}

void bench_cross_entropy_grad(check *c)
{
    q_cross_entropy_args a = bench_entropy_args(c);
    double t;
    CHECK_TIME(c, cross_entropy_grad, &a, t);
    check_report(c, "32 x 8192", t, 32.0 * 8192, 32.0 * 8192 * 8);
}
