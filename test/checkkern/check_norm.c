/* SPDX-License-Identifier: MIT */
/*
 * check_norm.c: LayerNorm and BatchNorm, forward and backward.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"

enum { NORM_CASES = 100 };

static uint32_t norm_rows(check *c)
{
    return CHECK_PICK(c, 1, 2, 3, 5, 8, 63, 64, 65, 130, 257);
}

static uint32_t norm_dim(check *c)
{
    return CHECK_PICK(c, 1, 2, 3, 4, 7, 8, 9, 12, 15, 16, 17, 23, 31, 32, 33, 63, 64, 65, 130);
}

static const char *norm_text(char text[96], uint32_t rows, uint32_t dim, uint32_t option)
{
    (void)snprintf(text, 96, "rows %u dim %u option %u", rows, dim, option);
    return text;
}

/* -- LayerNorm --------------------------------------------------------------------------------- */

check_pair check_norm_sum(check *c, uint32_t rows, uint32_t dim, check_fill fill, const check_pair *y, q_norm_sum *expected,
                          q_norm_sum *got)
{
    check_pair x = y != NULL ? *y : check_in_out(c, rows, dim, fill);
    memset(expected, 0, sizeof(*expected));
    if (check_below(c, 2) != 0) {
        expected->a = check_rows(c, rows, dim, fill, &expected->a_stride);
        expected->b = check_rows(c, rows, dim, fill, &expected->b_stride);
        expected->x = x.expected;
    }
    *got = *expected;
    got->x = expected->a != NULL ? x.got : NULL;
    if (expected->a != NULL && check_below(c, 3) == 0) { /* the sum in place of an addend */
        expected->a = x.expected;
        got->a = x.got;
        expected->a_stride = got->a_stride = x.stride;
    }
    return x;
}

void check_norm_pass(check *c, uint32_t rows, uint32_t dim, check_fill fill, check_pair to[2], q_norm_pass *expected,
                     q_norm_pass *got)
{
    expected->accumulate = got->accumulate = check_below(c, 4);
    for (uint32_t t = 0; t < 2; t++) {
        bool wanted = check_below(c, 3) != 0;
        to[t] = check_in_out(c, rows, dim, fill);
        expected->to[t] = wanted ? to[t].expected : NULL;
        got->to[t] = wanted ? to[t].got : NULL;
        expected->stride[t] = got->stride[t] = to[t].stride;
    }
}

void check_layernorm(check *c)
{
    for (uint32_t i = 0; i < NORM_CASES; i++) {
        char text[96];
        q_layernorm_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = norm_rows(c) % 16u + 1u;
        uint32_t option = check_below(c, 4);
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.dim = norm_dim(c);
        a.eps = check_below(c, 2) != 0 ? 1e-5f : 0.5f;
        a.weight = check_reals(c, a.dim, fill);
        a.bias = check_below(c, 3) != 0 ? check_reals(c, a.dim, fill) : NULL;
        check_pair y = check_in_out(c, rows, a.dim, fill);
        check_pair stats = check_out(c, 1, 2 * rows);
        a.y_stride = y.stride;
        a.x = check_rows(c, rows, a.dim, fill, &a.x_stride);
        q_layernorm_args b = a;
        a.y = y.expected;
        b.y = y.got;
        if ((option & 1u) != 0) {
            a.x = y.expected;
            b.x = y.got;
            a.x_stride = b.x_stride = y.stride;
        }
        if ((option & 2u) != 0) {
            a.stats = stats.expected;
            b.stats = stats.got;
        }
        check_pair x = check_norm_sum(c, rows, a.dim, fill, (option & 1u) != 0 ? &y : NULL, &a.sum, &b.sum);
        if (a.sum.a != NULL) {
            a.x = a.sum.x;
            b.x = b.sum.x;
            a.x_stride = b.x_stride = x.stride;
        }
        CHECK_RUN(c, layernorm, &a, &b);
        check_pair_same(c, y, norm_text(text, rows, a.dim, option));
        check_pair_same(c, x, text);
        check_pair_same(c, stats, text);
    }
}

void check_layernorm_grad(check *c)
{
    for (uint32_t i = 0; i < NORM_CASES; i++) {
        char text[96];
        q_layernorm_grad_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = norm_rows(c) % 16u + 1u;
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.dim = norm_dim(c);
        a.accumulate = check_below(c, 2);
        a.weight = check_reals(c, a.dim, fill);
        a.stats = check_reals(c, 2 * rows, fill);
        a.x = check_rows(c, rows, a.dim, fill, &a.x_stride);
        a.dy = check_rows(c, rows, a.dim, fill, &a.dy_stride);
        check_pair dx = check_in_out(c, rows, a.dim, fill);
        a.dx_stride = dx.stride;
        q_layernorm_grad_args b = a;
        a.dx = dx.expected;
        b.dx = dx.got;
        check_pair to[2];
        check_norm_pass(c, rows, a.dim, fill, to, &a.pass, &b.pass);
        CHECK_RUN(c, layernorm_grad, &a, &b);
        check_pair_same(c, dx, norm_text(text, rows, a.dim, a.accumulate));
        check_pair_same(c, to[0], text);
        check_pair_same(c, to[1], text);
    }
}

void check_layernorm_grad_param(check *c)
{
    for (uint32_t i = 0; i < NORM_CASES; i++) {
        char text[96];
        q_layernorm_grad_param_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = norm_rows(c);
        uint32_t option = check_below(c, 3);
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.dim = norm_dim(c);
        a.stats = check_reals(c, 2 * rows, fill);
        a.x = check_rows(c, rows, a.dim, fill, &a.x_stride);
        a.dy = check_rows(c, rows, a.dim, fill, &a.dy_stride);
        check_pair weight = check_in_out(c, 1, a.dim, fill);
        check_pair bias = check_in_out(c, 1, a.dim, fill);
        q_layernorm_grad_param_args b = a;
        a.grad_weight = option == 1 ? NULL : weight.expected;
        b.grad_weight = option == 1 ? NULL : weight.got;
        a.grad_bias = option == 2 ? NULL : bias.expected;
        b.grad_bias = option == 2 ? NULL : bias.got;
        CHECK_RUN(c, layernorm_grad_param, &a, &b);
        check_pair_same(c, weight, norm_text(text, rows, a.dim, option));
        check_pair_same(c, bias, text);
    }
}

/* -- BatchNorm --------------------------------------------------------------------------------- */

void check_batchnorm_blocks(check *c)
{
    for (uint32_t i = 0; i < NORM_CASES; i++) {
        char text[96];
        q_batchnorm_blocks_args a;
        check_begin(c);
        uint32_t rows = norm_rows(c);
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.dim = norm_dim(c);
        a.x = check_rows(c, rows, a.dim, check_fill_any(c), &a.x_stride);
        check_pair partial = check_out(c, 1, q_norm_blocks(rows) * 2u * a.dim);
        q_batchnorm_blocks_args b = a;
        a.partial = partial.expected;
        b.partial = partial.got;
        CHECK_RUN(c, batchnorm_blocks, &a, &b);
        check_pair_same(c, partial, norm_text(text, rows, a.dim, 0));
    }
}

void check_batchnorm_join(check *c)
{
    for (uint32_t i = 0; i < NORM_CASES; i++) {
        char text[96];
        check_pair out[5];
        q_batchnorm_join_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = norm_rows(c);
        uint32_t option = check_below(c, 2);
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.dim = norm_dim(c);
        a.eps = 1e-5f;
        a.momentum = check_below(c, 2) != 0 ? 0.1f : 1.0f;
        a.partial = check_reals(c, q_norm_blocks(rows) * 2u * a.dim, fill);
        a.weight = check_reals(c, a.dim, fill);
        for (uint32_t k = 0; k < 5; k++) {
            out[k] = check_in_out(c, 1, a.dim, fill);
        }
        q_batchnorm_join_args b = a;
        a.mean = out[0].expected;
        b.mean = out[0].got;
        a.s = out[1].expected;
        b.s = out[1].got;
        a.scale = out[2].expected;
        b.scale = out[2].got;
        a.running_mean = option != 0 ? out[3].expected : NULL;
        b.running_mean = option != 0 ? out[3].got : NULL;
        a.running_var = option != 0 ? out[4].expected : NULL;
        b.running_var = option != 0 ? out[4].got : NULL;
        CHECK_RUN(c, batchnorm_join, &a, &b);
        for (uint32_t k = 0; k < 5; k++) {
            check_pair_same(c, out[k], norm_text(text, rows, a.dim, k));
        }
    }
}

void check_batchnorm_fold(check *c)
{
    for (uint32_t i = 0; i < NORM_CASES; i++) {
        char text[96];
        q_batchnorm_fold_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        memset(&a, 0, sizeof(a));
        a.dim = norm_dim(c);
        a.eps = 1e-5f;
        a.weight = check_reals(c, a.dim, fill);
        a.bias = check_reals(c, a.dim, fill);
        a.mean = check_reals(c, a.dim, fill);
        a.var = check_reals(c, a.dim, fill);
        check_pair scale = check_out(c, 1, a.dim);
        check_pair shift = check_out(c, 1, a.dim);
        q_batchnorm_fold_args b = a;
        a.scale = scale.expected;
        b.scale = scale.got;
        a.shift = shift.expected;
        b.shift = shift.got;
        CHECK_RUN(c, batchnorm_fold, &a, &b);
        check_pair_same(c, scale, norm_text(text, 1, a.dim, 0));
        check_pair_same(c, shift, text);
    }
}

void check_batchnorm(check *c)
{
    for (uint32_t i = 0; i < NORM_CASES; i++) {
        char text[96];
        q_batchnorm_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = norm_rows(c) % 16u + 1u;
        bool in_place = check_below(c, 3) == 0;
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.dim = norm_dim(c);
        a.activation = check_below(c, Q_ACT_COUNT);
        a.scale = check_reals(c, a.dim, fill);
        a.shift = check_reals(c, a.dim, fill);
        a.mean = check_below(c, 2) != 0 ? check_reals(c, a.dim, fill) : NULL;
        check_pair y = check_in_out(c, rows, a.dim, fill);
        a.y_stride = y.stride;
        a.x = check_rows(c, rows, a.dim, fill, &a.x_stride);
        q_batchnorm_args b = a;
        a.y = y.expected;
        b.y = y.got;
        if (in_place) {
            a.x = y.expected;
            b.x = y.got;
            a.x_stride = b.x_stride = y.stride;
        }
        CHECK_RUN(c, batchnorm, &a, &b);
        check_pair_same(c, y, norm_text(text, rows, a.dim, a.activation));
    }
}

static q_batchnorm_grad_args norm_grad_args(check *c, check_fill fill)
{
    q_batchnorm_grad_args a;
    uint32_t rows = norm_rows(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = rows;
    a.dim = norm_dim(c);
    a.activation = CHECK_PICK(c, Q_ACT_NONE, Q_ACT_RELU, Q_ACT_SIGMOID, Q_ACT_TANH);
    a.accumulate = check_below(c, 2);
    a.x = check_rows(c, rows, a.dim, fill, &a.x_stride);
    a.y = check_rows(c, rows, a.dim, fill, &a.y_stride);
    a.dy = check_rows(c, rows, a.dim, fill, &a.dy_stride);
    a.mean = check_reals(c, a.dim, fill);
    a.s = check_reals(c, a.dim, fill);
    a.scale = check_reals(c, a.dim, fill);
    a.sums = check_reals(c, 2 * a.dim, fill);
    return a;
}

void check_batchnorm_grad_blocks(check *c)
{
    for (uint32_t i = 0; i < NORM_CASES; i++) {
        char text[96];
        check_begin(c);
        q_batchnorm_grad_args a = norm_grad_args(c, check_fill_any(c));
        check_pair partial = check_out(c, 1, q_norm_blocks(a.rows.n) * 2u * a.dim);
        q_batchnorm_grad_args b = a;
        a.partial = partial.expected;
        b.partial = partial.got;
        CHECK_RUN(c, batchnorm_grad_blocks, &a, &b);
        check_pair_same(c, partial, norm_text(text, a.rows.n, a.dim, a.activation));
    }
}

void check_batchnorm_grad(check *c)
{
    for (uint32_t i = 0; i < NORM_CASES; i++) {
        char text[96];
        check_begin(c);
        check_fill fill = check_fill_any(c);
        q_batchnorm_grad_args a = norm_grad_args(c, fill);
        check_pair dx = check_in_out(c, a.rows.n, a.dim, fill);
        a.dx_stride = dx.stride;
        q_batchnorm_grad_args b = a;
        a.dx = dx.expected;
        b.dx = dx.got;
        CHECK_RUN(c, batchnorm_grad, &a, &b);
        check_pair_same(c, dx, norm_text(text, a.rows.n, a.dim, a.activation + 8 * a.accumulate));
    }
}
