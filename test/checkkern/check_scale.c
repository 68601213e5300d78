/* SPDX-License-Identifier: MIT */
/*
 * check_scale.c: values times a factor, all of them or those that dropout keeps; values rounded to narrower types.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"

static uint32_t scale_rows(check *c)
{
    return CHECK_PICK(c, 1, 1, 2, 3, 5, 13);
}

static uint32_t scale_dim(check *c)
{
    return CHECK_PICK(c, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 130, 1000);
}

void check_scale(check *c)
{
    for (uint32_t i = 0; i < 300; i++) {
        char text[96];
        q_scale_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = scale_rows(c);
        bool in_place = check_below(c, 3) == 0;
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.dim = scale_dim(c);
        a.accumulate = check_below(c, 2);
        a.factor = *check_reals(c, 1, fill);
        check_pair y = check_in_out(c, rows, a.dim, fill);
        a.out_stride = y.stride;
        a.x = check_rows(c, rows, a.dim, fill, &a.x_stride);
        q_scale_args b = a;
        a.out = y.expected;
        b.out = y.got;
        if (in_place) {
            a.x = a.out;
            b.x = b.out;
            a.x_stride = b.x_stride = y.stride;
        }
        (void)snprintf(text, sizeof(text), "rows %u dim %u fill %d accumulate %u in place %d", rows, a.dim, (int)fill,
                       a.accumulate, in_place);
        CHECK_RUN(c, scale, &a, &b);
        check_pair_same(c, y, text);
    }
}

void bench_scale(check *c)
{
    q_scale_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 64;
    a.dim = 1536;
    a.factor = 0.5f;
    a.x = check_rows(c, 64, a.dim, FILL_UNIT, &a.x_stride);
    a.out = check_rows(c, 64, a.dim, FILL_UNIT, &a.out_stride);
    CHECK_TIME(c, scale, &a, t);
    check_report(c, "64 x 1536", t, 64.0 * 1536, 64.0 * 1536 * 8);
}

void check_dropout(check *c)
{
    for (uint32_t i = 0; i < 300; i++) {
        char text[128];
        q_dropout_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = scale_rows(c);
        bool in_place = check_below(c, 3) == 0;
        memset(&a, 0, sizeof(a));
        a.per_sample = check_below(c, 4);
        rows = a.per_sample == 0 ? check_spans(c, rows, 100) : rows;
        a.rows.n = rows;
        a.dim = scale_dim(c);
        a.whole = check_below(c, 4) == 0;
        a.node = check_u32(c);
        a.threshold = CHECK_PICK(c, 0, 1, 1u << 22, 1u << 23, 15u << 20, 1u << 24);
        uint32_t adds = check_below(c, 3); /* nothing, to what is there, to a residual */
        a.factor = *check_reals(c, 1, fill);
        c->run.seed = (uint64_t)check_u32(c) << 32 | check_u32(c);
        c->run.step = (uint64_t)check_below(c, 2) << 32 | check_below(c, 100);
        c->run.first_sample = check_below(c, 3) * 5u;
        check_pair y = check_in_out(c, rows, a.dim, fill);
        a.out_stride = y.stride;
        a.x = check_rows(c, rows, a.dim, fill, &a.x_stride);
        q_dropout_args b = a;
        a.out = y.expected;
        b.out = y.got;
        if (in_place) {
            a.x = a.out;
            b.x = b.out;
            a.x_stride = b.x_stride = y.stride;
        }
        if (adds == 1) {
            a.residual = a.out;
            b.residual = b.out;
            a.residual_stride = b.residual_stride = y.stride;
        } else if (adds == 2) {
            a.residual = check_rows(c, rows, a.dim, fill, &a.residual_stride);
            b.residual = a.residual;
            b.residual_stride = a.residual_stride;
        }
        (void)snprintf(text, sizeof(text), "rows %u dim %u per sample %u whole %u fill %d adds %u in place %d", rows,
                       a.dim, a.per_sample, a.whole, (int)fill, adds, in_place);
        CHECK_RUN(c, dropout, &a, &b);
        check_pair_same(c, y, text);
    }
}

void bench_dropout(check *c)
{
    q_dropout_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 64;
    a.dim = 1536;
    a.per_sample = 1;
    a.threshold = 1u << 22;
    a.factor = 2.0f;
    a.x = check_rows(c, 64, a.dim, FILL_UNIT, &a.x_stride);
    a.out = check_rows(c, 64, a.dim, FILL_UNIT, &a.out_stride);
    CHECK_TIME(c, dropout, &a, t);
    check_report(c, "64 x 1536", t, 64.0 * 1536, 64.0 * 1536 * 8);
}

void check_round(check *c)
{
    for (uint32_t i = 0; i < 400; i++) {
        char text[96];
        q_round_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = scale_rows(c);
        bool in_place = check_below(c, 3) == 0;
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.dtype = CHECK_PICK(c, Q_F16, Q_BF16, Q_A8, Q_A8X2);
        a.dim = a.dtype == Q_F16 || a.dtype == Q_BF16 ? scale_dim(c) : Q_BLOCK * (1u + check_below(c, 7));
        check_pair y = check_in_out(c, rows, a.dim, fill);
        a.out_stride = y.stride;
        a.x = check_rows(c, rows, a.dim, fill, &a.x_stride);
        q_round_args b = a;
        a.out = y.expected;
        b.out = y.got;
        if (in_place) {
            a.x = a.out;
            b.x = b.out;
            a.x_stride = b.x_stride = y.stride;
        }
        (void)snprintf(text, sizeof(text), "rows %u dim %u dtype %u fill %d in place %d", rows, a.dim, a.dtype, (int)fill,
                       in_place);
        CHECK_RUN(c, round, &a, &b);
        check_pair_same(c, y, text);
    }
}

void bench_round(check *c)
{
    q_round_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 64;
    a.dim = 1536;
    a.dtype = Q_BF16;
    a.x = check_rows(c, 64, a.dim, FILL_UNIT, &a.x_stride);
    a.out = check_rows(c, 64, a.dim, FILL_UNIT, &a.out_stride);
    CHECK_TIME(c, round, &a, t);
    check_report(c, "64 x 1536 to BF16", t, 64.0 * 1536, 64.0 * 1536 * 8);
}
