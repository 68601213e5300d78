/* SPDX-License-Identifier: MIT */
/*
 * check_element.c: activations and their derivatives.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"

static uint32_t element_rows(check *c)
{
    return CHECK_PICK(c, 1, 1, 2, 3, 5, 13);
}

static uint32_t element_dim(check *c)
{
    return CHECK_PICK(c, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 130, 1000);
}

/* Every exponent and sign of f32, many mantissas: where the branches of the functions lie. */
static float *every_exponent(check *c)
{
    float *x = check_reals(c, 512 * 64, FILL_BITS);
    for (uint32_t i = 0; i < 512 * 64; i++) {
        x[i] = q_float_u32((i / 64u) << 23 | check_u32(c) >> 9);
    }
    return x;
}

static void sweep_activation(check *c, uint32_t activation)
{
    q_activate_args a = {{512, Q_SYM_ONE}, 64, activation, 0, NULL, 256, NULL, 256};
    check_begin(c);
    a.x = every_exponent(c);
    q_activate_args b = a;
    a.out = (float *)check_alloc(c, 512 * 256, sizeof(float));
    b.out = (float *)check_alloc(c, 512 * 256, sizeof(float));
    CHECK_RUN(c, activate, &a, &b);
    check_same(c, a.out, b.out, 512 * 256, ELEMENT_F32, "sweep of all exponents");
    check_canaries(c, "sweep of all exponents");
}

void check_activate(check *c)
{
    for (uint32_t act = 0; act < Q_ACT_COUNT; act++) {
        sweep_activation(c, act);
        for (uint32_t i = 0; i < 30; i++) {
            char text[96];
            q_activate_args a;
            check_begin(c);
            check_fill fill = check_fill_any(c);
            uint32_t rows = element_rows(c);
            bool in_place = check_below(c, 2) != 0;
            memset(&a, 0, sizeof(a));
            a.rows.n = rows;
            a.dim = element_dim(c);
            a.activation = act;
            check_pair y = check_in_out(c, rows, a.dim, fill);
            a.out_stride = y.stride;
            a.x = check_rows(c, rows, a.dim, fill, &a.x_stride);
            q_activate_args b = a;
            a.out = y.expected;
            b.out = y.got;
            if (in_place) {
                a.x = a.out;
                b.x = b.out;
                a.x_stride = b.x_stride = y.stride;
            }
            (void)snprintf(text, sizeof(text), "activation %u rows %u dim %u fill %d in place %d", act, rows, a.dim,
                           (int)fill, in_place);
            CHECK_RUN(c, activate, &a, &b);
            check_pair_same(c, y, text);
        }
    }
}

static void sweep_activation_grad(check *c, uint32_t activation)
{
    q_activate_grad_args a = {{512, Q_SYM_ONE}, 64, activation, 0, NULL, 256, NULL, 256, NULL, 256};
    check_begin(c);
    a.v = every_exponent(c);
    a.dy = check_reals(c, 512 * 64, FILL_UNIT);
    q_activate_grad_args b = a;
    a.dx = (float *)check_alloc(c, 512 * 256, sizeof(float));
    b.dx = (float *)check_alloc(c, 512 * 256, sizeof(float));
    CHECK_RUN(c, activate_grad, &a, &b);
    check_same(c, a.dx, b.dx, 512 * 256, ELEMENT_F32, "sweep of all exponents");
    check_canaries(c, "sweep of all exponents");
}

void check_activate_grad(check *c)
{
    for (uint32_t act = 0; act < Q_ACT_COUNT; act++) {
        sweep_activation_grad(c, act);
        for (uint32_t i = 0; i < 30; i++) {
            char text[96];
            q_activate_grad_args a;
            check_begin(c);
            check_fill fill = check_fill_any(c);
            uint32_t rows = element_rows(c);
            bool in_place = check_below(c, 3) == 0;
            memset(&a, 0, sizeof(a));
            a.rows.n = rows;
            a.dim = element_dim(c);
            a.activation = act;
            a.accumulate = check_below(c, 2);
            check_pair dx = check_in_out(c, rows, a.dim, fill);
            a.dx_stride = dx.stride;
            a.v = check_rows(c, rows, a.dim, fill, &a.v_stride);
            a.dy = check_rows(c, rows, a.dim, fill, &a.dy_stride);
            q_activate_grad_args b = a;
            a.dx = dx.expected;
            b.dx = dx.got;
            if (in_place) {
                a.dy = a.dx;
                b.dy = b.dx;
                a.dy_stride = b.dy_stride = dx.stride;
            }
            (void)snprintf(text, sizeof(text), "activation %u rows %u dim %u fill %d accumulate %u in place %d", act, rows,
                           a.dim, (int)fill, a.accumulate, in_place);
            CHECK_RUN(c, activate_grad, &a, &b);
            check_pair_same(c, dx, text);
        }
    }
}

static void bench_one_activation(check *c, uint32_t activation, const char *shape)
{
    q_activate_args a = {{64, Q_SYM_ONE}, 1536, activation, 0, NULL, 0, NULL, 0};
    double t;
    check_begin(c);
    a.x = check_rows(c, 64, a.dim, FILL_UNIT, &a.x_stride);
    a.out = check_rows(c, 64, a.dim, FILL_UNIT, &a.out_stride);
    CHECK_TIME(c, activate, &a, t);
    check_report(c, shape, t, 64.0 * 1536, 64.0 * 1536 * 8);
}

void bench_activate(check *c)
{
    bench_one_activation(c, Q_ACT_RELU, "64 x 1536 relu");
    bench_one_activation(c, Q_ACT_SILU, "64 x 1536 silu");
    bench_one_activation(c, Q_ACT_GELU_ERF, "64 x 1536 gelu_erf");
}

static void bench_one_activation_grad(check *c, uint32_t activation, const char *shape)
{
    q_activate_grad_args a = {{64, Q_SYM_ONE}, 1536, activation, 0, NULL, 0, NULL, 0, NULL, 0};
    double t;
    check_begin(c);
    a.v = check_rows(c, 64, a.dim, FILL_UNIT, &a.v_stride);
    a.dy = check_rows(c, 64, a.dim, FILL_UNIT, &a.dy_stride);
    a.dx = check_rows(c, 64, a.dim, FILL_UNIT, &a.dx_stride);
    CHECK_TIME(c, activate_grad, &a, t);
    check_report(c, shape, t, 64.0 * 1536, 64.0 * 1536 * 12);
}

void bench_activate_grad(check *c)
{
    bench_one_activation_grad(c, Q_ACT_RELU, "64 x 1536 relu");
    bench_one_activation_grad(c, Q_ACT_SILU, "64 x 1536 silu");
    bench_one_activation_grad(c, Q_ACT_GELU_ERF, "64 x 1536 gelu_erf");
}
