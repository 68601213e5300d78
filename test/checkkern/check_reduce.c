/* SPDX-License-Identifier: MIT */
/*
 * check_reduce.c: reduce_sum and reduce_max.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"

typedef void (*reduce_kernel)(const q_work *work, const q_reduce_args *a);

static void run_reduce(check *c, reduce_kernel kernel, const q_backend *b, const q_reduce_args *a,
                       uint32_t n)
{
    for (uint32_t w = n; w-- > 0;) {
        q_work work = check_work(c, w, n, b);
        kernel(&work, a);
    }
}

static void check_reduce(check *c, reduce_kernel reference, reduce_kernel tested)
{
    static const uint32_t edge[] = {0x80000000u, 0x00000000u, 0xff800000u, 0x7fc00000u};
    for (uint32_t i = 0; i < 120; i++) {
        char text[96];
        q_reduce_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = CHECK_PICK(c, 1, 1, 2, 3, 5, 8, 13);
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.dim = CHECK_PICK(c, 1, 2, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 65, 130, 1000);
        float *x = check_rows(c, rows, a.dim, fill, &a.x_stride);
        if (check_below(c, 4) == 0) {
            for (uint32_t j = 0; j < a.dim; j++) {
                x[j] = q_float_u32(edge[check_below(c, 4)]);
            }
        }
        a.x = x;
        check_pair y = check_out(c, 1, rows);
        q_reduce_args b = a;
        a.out = y.expected;
        b.out = y.got;
        (void)snprintf(text, sizeof(text), "rows %u dim %u fill %d", rows, a.dim, (int)fill);
        run_reduce(c, reference, &c->reference, &a, 1);
        run_reduce(c, tested, &c->tested, &b, c->n_workers);
        check_pair_same(c, y, text);
    }
}

void check_reduce_sum(check *c)
{
    check_reduce(c, c->reference.kernels.reduce_sum, c->tested.kernels.reduce_sum);
}

void check_reduce_max(check *c)
{
    check_reduce(c, c->reference.kernels.reduce_max, c->tested.kernels.reduce_max);
}

static q_reduce_args bench_reduce(check *c)
{
    q_reduce_args a;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 64;
    a.dim = 2048;
    a.x = check_rows(c, 64, a.dim, FILL_UNIT, &a.x_stride);
    a.out = check_reals(c, 64, FILL_UNIT);
    return a;
}

void bench_reduce_sum(check *c)
{
    double t;
    q_reduce_args a = bench_reduce(c);
    CHECK_TIME(c, reduce_sum, &a, t);
    check_report(c, "64 x 2048", t, 64.0 * 2048, 64.0 * 2048 * 4);
}

void bench_reduce_max(check *c)
{
    double t;
    q_reduce_args a = bench_reduce(c);
    CHECK_TIME(c, reduce_max, &a, t);
    check_report(c, "64 x 2048", t, 64.0 * 2048, 64.0 * 2048 * 4);
}
