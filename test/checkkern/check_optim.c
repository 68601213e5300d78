/* SPDX-License-Identifier: MIT */
/*
 * check_optim.c: steps of optimizers, sums of squares, rescaling, averages.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"

static uint32_t some_length(check *c)
{
    return CHECK_PICK(c, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 1001, 1024, 2100);
}

/* Factors of every kind; the run of a step with it. */
static void fill_factors(check *c, q_optimizer_args *a, check_fill fill)
{
    memset(a, 0, sizeof(*a));
    a->n = some_length(c);
    a->grad_scale = 1.0f / (1.0f + (float)check_below(c, 64));
    a->limit = check_below(c, 3) == 0 ? 0.25f : 0.0f;
    a->decay = check_below(c, 3) == 0 ? 0.01f : 0.0f;
    a->keep = check_below(c, 2) == 0 ? 0.999f : 1.0f;
    a->rate = 1e-3f * (1.0f + (float)check_below(c, 100));
    a->beta1 = 0.9f;
    a->rest1 = 1.0f - 0.9f;
    a->beta2 = 0.99f;
    a->rest2 = 1.0f - 0.99f;
    a->eps = check_below(c, 2) == 0 ? 1e-8f : 1e-2f;
    a->correction = 1.0f + (float)check_below(c, 8);
    a->nesterov = check_below(c, 2);
    a->grad = check_reals(c, (uint32_t)a->n, fill);
}

typedef struct optim_pairs {
    check_pair w;
    check_pair m;
    check_pair v;
} optim_pairs;

static optim_pairs state_of(check *c, q_optimizer_args *a, q_optimizer_args *b, check_fill fill)
{
    optim_pairs p;
    uint32_t n = (uint32_t)a->n;
    p.w = check_in_out(c, 1, n, fill);
    p.m = check_in_out(c, 1, n, fill);
    p.v = check_in_out(c, 1, n, fill);
    *b = *a;
    a->w = p.w.expected;
    b->w = p.w.got;
    a->m = p.m.expected;
    b->m = p.m.got;
    a->v = p.v.expected;
    b->v = p.v.got;
    return p;
}

static void same_state(check *c, optim_pairs p, const q_optimizer_args *a)
{
    char text[96];
    (void)snprintf(text, sizeof(text), "n %u limit %g decay %g nesterov %u", (unsigned)a->n, (double)a->limit,
                   (double)a->decay, a->nesterov);
    check_pair_same(c, p.w, text);
    check_pair_same(c, p.m, text);
    check_pair_same(c, p.v, text);
}

void check_sgd(check *c)
{
    for (uint32_t i = 0; i < 120; i++) {
        q_optimizer_args a;
        q_optimizer_args b;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        fill_factors(c, &a, fill);
        optim_pairs p = state_of(c, &a, &b, fill);
        if (check_below(c, 2) == 0) {
            a.m = b.m = NULL;
        }
        CHECK_RUN(c, sgd, &a, &b);
        same_state(c, p, &a);
    }
}

void check_adam(check *c)
{
    for (uint32_t i = 0; i < 120; i++) {
        q_optimizer_args a;
        q_optimizer_args b;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        fill_factors(c, &a, fill);
        optim_pairs p = state_of(c, &a, &b, fill);
        CHECK_RUN(c, adam, &a, &b);
        same_state(c, p, &a);
    }
}

void check_lion(check *c)
{
    for (uint32_t i = 0; i < 120; i++) {
        q_optimizer_args a;
        q_optimizer_args b;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        fill_factors(c, &a, fill);
        optim_pairs p = state_of(c, &a, &b, fill);
        CHECK_RUN(c, lion, &a, &b);
        same_state(c, p, &a);
    }
}

void check_sum_squares(check *c)
{
    for (uint32_t i = 0; i < 80; i++) {
        q_sum_squares_args a;
        check_begin(c);
        memset(&a, 0, sizeof(a));
        a.n = some_length(c);
        a.x = check_reals(c, (uint32_t)a.n, check_fill_any(c));
        check_pair y = check_out(c, 1, (uint32_t)((a.n + Q_SUM_SQUARES_CHUNK - 1) / Q_SUM_SQUARES_CHUNK));
        q_sum_squares_args b = a;
        a.partial = y.expected;
        b.partial = y.got;
        CHECK_RUN(c, sum_squares, &a, &b);
        check_pair_same(c, y, "sums");
    }
}

void check_rescale(check *c)
{
    for (uint32_t i = 0; i < 80; i++) {
        q_rescale_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        memset(&a, 0, sizeof(a));
        a.n = some_length(c);
        a.factor = check_real(c, fill);
        check_pair y = check_in_out(c, 1, (uint32_t)a.n, fill);
        q_rescale_args b = a;
        a.x = y.expected;
        b.x = y.got;
        CHECK_RUN(c, rescale, &a, &b);
        check_pair_same(c, y, "x");
    }
}

void check_average(check *c)
{
    for (uint32_t i = 0; i < 80; i++) {
        q_average_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        memset(&a, 0, sizeof(a));
        a.n = some_length(c);
        a.share = 0.01f * (float)check_below(c, 101);
        a.x = check_reals(c, (uint32_t)a.n, fill);
        check_pair y = check_in_out(c, 1, (uint32_t)a.n, fill);
        q_average_args b = a;
        a.average = y.expected;
        b.average = y.got;
        CHECK_RUN(c, average, &a, &b);
        check_pair_same(c, y, "average");
    }
}

/* ---- Times ------------------------------------------------------------------------------------------------ */

enum { OPTIM_BENCH = 1 << 16 };

static q_optimizer_args bench_args(check *c)
{
    q_optimizer_args a;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.n = OPTIM_BENCH;
    a.grad_scale = a.keep = a.correction = 1.0f;
    a.rate = 1e-9f;
    a.beta1 = a.beta2 = 0.9f;
    a.rest1 = a.rest2 = 0.1f;
    a.eps = 1e-8f;
    a.grad = check_reals(c, OPTIM_BENCH, FILL_UNIT);
    a.w = check_reals(c, OPTIM_BENCH, FILL_UNIT);
    a.m = check_reals(c, OPTIM_BENCH, FILL_UNIT);
    a.v = check_reals(c, OPTIM_BENCH, FILL_UNIT);
    for (uint32_t i = 0; i < OPTIM_BENCH; i++) {
        a.v[i] = a.v[i] * a.v[i];
    }
    return a;
}

void bench_sgd(check *c)
{
    q_optimizer_args a = bench_args(c);
    double t;
    CHECK_TIME(c, sgd, &a, t);
    check_report(c, "65536, momentum", t, OPTIM_BENCH, OPTIM_BENCH * 20.0);
}

void bench_adam(check *c)
{
    q_optimizer_args a = bench_args(c);
    double t;
    CHECK_TIME(c, adam, &a, t);
    check_report(c, "65536", t, OPTIM_BENCH, OPTIM_BENCH * 28.0);
}

void bench_lion(check *c)
{
    q_optimizer_args a = bench_args(c);
    double t;
    CHECK_TIME(c, lion, &a, t);
    check_report(c, "65536", t, OPTIM_BENCH, OPTIM_BENCH * 20.0);
}

void bench_sum_squares(check *c)
{
    q_sum_squares_args a;
    double t;
    check_begin(c);
    a.n = OPTIM_BENCH;
    a.x = check_reals(c, OPTIM_BENCH, FILL_UNIT);
    a.partial = check_reals(c, OPTIM_BENCH / Q_SUM_SQUARES_CHUNK, FILL_UNIT);
    CHECK_TIME(c, sum_squares, &a, t);
    check_report(c, "65536", t, OPTIM_BENCH, OPTIM_BENCH * 4.0);
}

void bench_rescale(check *c)
{
    q_rescale_args a;
    double t;
    check_begin(c);
    a.n = OPTIM_BENCH;
    a.factor = 1.0f;
    a.x = check_reals(c, OPTIM_BENCH, FILL_UNIT);
    CHECK_TIME(c, rescale, &a, t);
    check_report(c, "65536", t, OPTIM_BENCH, OPTIM_BENCH * 8.0);
}

void bench_average(check *c)
{
    q_average_args a;
    double t;
    check_begin(c);
    a.n = OPTIM_BENCH;
    a.share = 0.001f;
    a.x = check_reals(c, OPTIM_BENCH, FILL_UNIT);
    a.average = check_reals(c, OPTIM_BENCH, FILL_UNIT);
    CHECK_TIME(c, average, &a, t);
    check_report(c, "65536", t, OPTIM_BENCH, OPTIM_BENCH * 12.0);
}
