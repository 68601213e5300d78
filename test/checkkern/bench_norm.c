/* SPDX-License-Identifier: MIT */
/*
 * bench_norm.c: times of LayerNorm over 256 rows of 576, and of BatchNorm over 64 images of 14x14x32.
 */
#include <string.h>

#include "check.h"

enum { LINE_ROWS = 256, LINE_DIM = 576, COLUMN_ROWS = 64 * 14 * 14, COLUMN_DIM = 32 };

static const char line_text[] = "256 x 576";
static const char column_text[] = "12544 x 32";
static const double line_items = (double)LINE_ROWS * LINE_DIM;
static const double column_items = (double)COLUMN_ROWS * COLUMN_DIM;

void bench_layernorm(check *c)
{
    q_layernorm_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = LINE_ROWS;
    a.dim = LINE_DIM;
    a.eps = 1e-5f;
    a.weight = check_reals(c, a.dim, FILL_UNIT);
    a.bias = check_reals(c, a.dim, FILL_UNIT);
    a.x = check_rows(c, LINE_ROWS, a.dim, FILL_UNIT, &a.x_stride);
    a.y = check_rows(c, LINE_ROWS, a.dim, FILL_UNIT, &a.y_stride);
    a.stats = check_reals(c, 2 * LINE_ROWS, FILL_UNIT);
    CHECK_TIME(c, layernorm, &a, t);
    check_report(c, line_text, t, line_items, line_items * 8);
}

void bench_layernorm_grad(check *c)
{
    q_layernorm_grad_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = LINE_ROWS;
    a.dim = LINE_DIM;
    a.weight = check_reals(c, a.dim, FILL_UNIT);
    a.stats = check_reals(c, 2 * LINE_ROWS, FILL_UNIT);
    a.x = check_rows(c, LINE_ROWS, a.dim, FILL_UNIT, &a.x_stride);
    a.dy = check_rows(c, LINE_ROWS, a.dim, FILL_UNIT, &a.dy_stride);
    a.dx = check_rows(c, LINE_ROWS, a.dim, FILL_UNIT, &a.dx_stride);
    CHECK_TIME(c, layernorm_grad, &a, t);
    check_report(c, line_text, t, line_items, line_items * 12);
}

void bench_layernorm_grad_param(check *c)
{
    q_layernorm_grad_param_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = LINE_ROWS;
    a.dim = LINE_DIM;
    a.stats = check_reals(c, 2 * LINE_ROWS, FILL_UNIT);
    a.x = check_rows(c, LINE_ROWS, a.dim, FILL_UNIT, &a.x_stride);
    a.dy = check_rows(c, LINE_ROWS, a.dim, FILL_UNIT, &a.dy_stride);
    a.grad_weight = check_reals(c, a.dim, FILL_UNIT);
    a.grad_bias = check_reals(c, a.dim, FILL_UNIT);
    CHECK_TIME(c, layernorm_grad_param, &a, t);
    check_report(c, line_text, t, line_items, line_items * 8);
}

void bench_batchnorm_blocks(check *c)
{
    q_batchnorm_blocks_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = COLUMN_ROWS;
    a.dim = COLUMN_DIM;
    a.x = check_rows(c, COLUMN_ROWS, a.dim, FILL_UNIT, &a.x_stride);
    a.partial = check_reals(c, q_norm_blocks(COLUMN_ROWS) * 2 * a.dim, FILL_UNIT);
    CHECK_TIME(c, batchnorm_blocks, &a, t);
    check_report(c, column_text, t, column_items, column_items * 4);
}

void bench_batchnorm_join(check *c)
{
    q_batchnorm_join_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = COLUMN_ROWS;
    a.dim = COLUMN_DIM;
    a.eps = 1e-5f;
    a.momentum = 0.1f;
    a.partial = check_reals(c, q_norm_blocks(COLUMN_ROWS) * 2 * a.dim, FILL_UNIT);
    a.weight = check_reals(c, a.dim, FILL_UNIT);
    a.mean = check_reals(c, a.dim, FILL_UNIT);
    a.s = check_reals(c, a.dim, FILL_UNIT);
    a.scale = check_reals(c, a.dim, FILL_UNIT);
    a.running_mean = check_reals(c, a.dim, FILL_UNIT);
    a.running_var = check_reals(c, a.dim, FILL_UNIT);
    CHECK_TIME(c, batchnorm_join, &a, t);
    check_report(c, column_text, t, column_items / Q_NORM_BLOCK, column_items / Q_NORM_BLOCK * 8);
}

void bench_batchnorm_fold(check *c)
{
    q_batchnorm_fold_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.dim = LINE_DIM;
    a.eps = 1.5f; /* variances of any sign */
    a.weight = check_reals(c, a.dim, FILL_UNIT);
    a.bias = check_reals(c, a.dim, FILL_UNIT);
    a.mean = check_reals(c, a.dim, FILL_UNIT);
    a.var = check_reals(c, a.dim, FILL_UNIT);
    a.scale = check_reals(c, a.dim, FILL_UNIT);
    a.shift = check_reals(c, a.dim, FILL_UNIT);
    CHECK_TIME(c, batchnorm_fold, &a, t);
    check_report(c, "576", t, LINE_DIM, LINE_DIM * 24.0);
}

void bench_batchnorm(check *c)
{
    q_batchnorm_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = COLUMN_ROWS;
    a.dim = COLUMN_DIM;
    a.activation = Q_ACT_RELU;
    a.x = check_rows(c, COLUMN_ROWS, a.dim, FILL_UNIT, &a.x_stride);
    a.mean = check_reals(c, a.dim, FILL_UNIT);
    a.scale = check_reals(c, a.dim, FILL_UNIT);
    a.shift = check_reals(c, a.dim, FILL_UNIT);
    a.y = check_rows(c, COLUMN_ROWS, a.dim, FILL_UNIT, &a.y_stride);
    CHECK_TIME(c, batchnorm, &a, t);
    check_report(c, "12544 x 32, relu", t, column_items, column_items * 8);
}

static q_batchnorm_grad_args bench_grad_args(check *c)
{
    q_batchnorm_grad_args a;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = COLUMN_ROWS;
    a.dim = COLUMN_DIM;
    a.activation = Q_ACT_RELU;
    a.x = check_rows(c, COLUMN_ROWS, a.dim, FILL_UNIT, &a.x_stride);
    a.y = check_rows(c, COLUMN_ROWS, a.dim, FILL_UNIT, &a.y_stride);
    a.dy = check_rows(c, COLUMN_ROWS, a.dim, FILL_UNIT, &a.dy_stride);
    a.dx = check_rows(c, COLUMN_ROWS, a.dim, FILL_UNIT, &a.dx_stride);
    a.partial = check_reals(c, q_norm_blocks(COLUMN_ROWS) * 2 * a.dim, FILL_UNIT);
    a.mean = check_reals(c, a.dim, FILL_UNIT);
    a.s = check_reals(c, a.dim, FILL_UNIT);
    a.scale = check_reals(c, a.dim, FILL_UNIT);
    a.sums = check_reals(c, 2 * a.dim, FILL_UNIT);
    return a;
}

void bench_batchnorm_grad_blocks(check *c)
{
    q_batchnorm_grad_args a = bench_grad_args(c);
    double t;
    CHECK_TIME(c, batchnorm_grad_blocks, &a, t);
    check_report(c, "12544 x 32, relu", t, column_items, column_items * 12);
}

void bench_batchnorm_grad(check *c)
{
    q_batchnorm_grad_args a = bench_grad_args(c);
    double t;
    CHECK_TIME(c, batchnorm_grad, &a, t);
    check_report(c, "12544 x 32, relu", t, column_items, column_items * 16);
}
