/* SPDX-License-Identifier: MIT */
/*
 * check_rope.c: rope_table and rope.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"

void check_rope_table(check *c)
{
    for (uint32_t i = 0; i < 60; i++) {
        char text[96];
        q_rope_table_args a;
        check_begin(c);
        uint32_t rows = CHECK_PICK(c, 1, 2, 3, 9);
        memset(&a, 0, sizeof(a));
        a.n_pairs = CHECK_PICK(c, 1, 3, 8, 16, 32);
        a.magnitude = check_below(c, 2) != 0 ? 1.0 : 1.25;
        uint32_t first = CHECK_PICK(c, 0, 1, 100, 8191, 1000000);
        rows = check_spans(c, rows, first + 40u);
        a.rows.n = rows;
        double *f = (double *)check_alloc(c, a.n_pairs * sizeof(double), sizeof(double));
        for (uint32_t j = 0; j < a.n_pairs; j++) {
            f[j] = 1.0 / (1.0 + (double)check_below(c, 100000));
        }
        a.inv_freq = f;
        check_pair y = check_out(c, rows, 2 * a.n_pairs);
        a.table_stride = y.stride;
        q_rope_table_args b = a;
        a.table = y.expected;
        b.table = y.got;
        (void)snprintf(text, sizeof(text), "rows %u pairs %u spans %u", rows, a.n_pairs,
                       c->run.n_spans);
        CHECK_RUN(c, rope_table, &a, &b);
        check_pair_same(c, y, text);
    }
}

void bench_rope_table(check *c)
{
    q_rope_table_args a;
    double f[32];
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 256;
    a.n_pairs = 32;
    a.magnitude = 1;
    for (uint32_t j = 0; j < 32; j++) {
        f[j] = 1.0 / (1.0 + (double)(j * j * j));
    }
    a.inv_freq = f;
    a.table = check_rows(c, 256, 64, FILL_UNIT, &a.table_stride);
    CHECK_TIME(c, rope_table, &a, t);
    check_report(c, "256 x 32 pairs", t, 256.0 * 64, 256.0 * 64 * 4);
}

void check_rope(check *c)
{
    for (uint32_t i = 0; i < 120; i++) {
        char text[96];
        q_rope_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = CHECK_PICK(c, 1, 2, 3, 9);
        bool in_place = check_below(c, 2) != 0;
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.heads = CHECK_PICK(c, 1, 2, 3, 9);
        a.n_pairs = CHECK_PICK(c, 1, 3, 4, 8, 9, 16, 17, 32);
        a.head_dim = 2 * a.n_pairs + CHECK_PICK(c, 0, 0, 1, 7, 8, 16);
        a.table = check_rows(c, rows, 2 * a.n_pairs, fill, &a.table_stride);
        check_pair y = check_in_out(c, rows, a.heads * a.head_dim, fill);
        a.x = check_rows(c, rows, a.heads * a.head_dim, fill, &a.x_stride);
        a.out_stride = y.stride;
        q_rope_args b = a;
        a.out = y.expected;
        b.out = y.got;
        if (in_place) {
            a.x = a.out;
            b.x = b.out;
            a.x_stride = b.x_stride = y.stride;
        }
        (void)snprintf(text, sizeof(text), "rows %u heads %u dim %u pairs %u in place %d", rows,
                       a.heads, a.head_dim, a.n_pairs, in_place);
        CHECK_RUN(c, rope, &a, &b);
        check_pair_same(c, y, text);
    }
}

void bench_rope(check *c)
{
    q_rope_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 256;
    a.heads = 9;
    a.head_dim = 64;
    a.n_pairs = 32;
    a.table = check_rows(c, 256, 64, FILL_UNIT, &a.table_stride);
    a.x = check_rows(c, 256, 576, FILL_UNIT, &a.x_stride);
    a.out = check_rows(c, 256, 576, FILL_UNIT, &a.out_stride);
    CHECK_TIME(c, rope, &a, t);
    check_report(c, "256 x 9 heads of 64", t, 256.0 * 576, 256.0 * 576 * 8);
}
