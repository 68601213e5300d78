/* SPDX-License-Identifier: MIT */
/*
 * check_train.c: mse and bias_grad.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"

void check_mse(check *c)
{
    for (uint32_t i = 0; i < 80; i++) {
        q_mse_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = CHECK_PICK(c, 1, 2, 3, 9);
        bool with_grad = check_below(c, 2) != 0;
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.dim = CHECK_PICK(c, 1, 3, 15, 16, 17, 40);
        a.x = check_rows(c, rows, a.dim, fill, &a.x_stride);
        a.target = check_rows(c, rows, a.dim, fill, &a.target_stride);
        check_pair loss = check_out(c, 1, 1);
        check_pair grad = check_out(c, rows, a.dim);
        a.grad_stride = grad.stride;
        q_mse_args b = a;
        a.loss = loss.expected;
        b.loss = loss.got;
        a.grad = with_grad ? grad.expected : NULL;
        b.grad = with_grad ? grad.got : NULL;
        CHECK_RUN(c, mse, &a, &b);
        check_pair_same(c, loss, "loss");
        check_pair_same(c, grad, "gradient");
    }
}

void bench_mse(check *c)
{
    q_mse_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 64;
    a.dim = 1024;
    a.x = check_rows(c, 64, a.dim, FILL_UNIT, &a.x_stride);
    a.target = check_rows(c, 64, a.dim, FILL_UNIT, &a.target_stride);
    a.grad = check_rows(c, 64, a.dim, FILL_UNIT, &a.grad_stride);
    a.loss = check_reals(c, 1, FILL_UNIT);
    CHECK_TIME(c, mse, &a, t);
    check_report(c, "64 x 1024", t, 64.0 * 1024, 64.0 * 1024 * 12);
}

void check_bias_grad(check *c)
{
    for (uint32_t i = 0; i < 80; i++) {
        char text[96];
        q_bias_grad_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = CHECK_PICK(c, 1, 2, 3, 9, 33);
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.dim = CHECK_PICK(c, 1, 3, 7, 8, 9, 15, 16, 17, 40);
        a.accumulate = check_below(c, 2);
        a.dy = check_rows(c, rows, a.dim, fill, &a.dy_stride);
        check_pair y = check_in_out(c, 1, a.dim, fill);
        q_bias_grad_args b = a;
        a.grad = y.expected;
        b.grad = y.got;
        (void)snprintf(text, sizeof(text), "rows %u dim %u accumulate %u", rows, a.dim,
                       a.accumulate);
        CHECK_RUN(c, bias_grad, &a, &b);
        check_pair_same(c, y, text);
    }
}

void bench_bias_grad(check *c)
{
    q_bias_grad_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 64;
    a.dim = 1024;
    a.dy = check_rows(c, 64, a.dim, FILL_UNIT, &a.dy_stride);
    a.grad = check_reals(c, a.dim, FILL_UNIT);
    CHECK_TIME(c, bias_grad, &a, t);
    check_report(c, "64 x 1024", t, 64.0 * 1024, 64.0 * 1024 * 4);
}
