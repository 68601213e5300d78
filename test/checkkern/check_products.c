/* SPDX-License-Identifier: MIT */
/*
 * check_products.c: gemm_*, gemm_a8_* and matmul. A product of n rows must also equal n products of
 * one row.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"

enum { PRODUCT_CASES = 70 };

/* A random epilogue for rows x m; residual may be y itself, then given by `in_place`. */
static q_epilogue random_epilogue(check *c, uint32_t rows, uint32_t m, check_fill fill,
                                  bool *in_place)
{
    q_epilogue e;
    memset(&e, 0, sizeof(e));
    *in_place = false;
    if (check_below(c, 3) == 0) {
        return e;
    }
    e.bias = check_below(c, 2) != 0 ? check_reals(c, m, fill) : NULL;
    e.scale = check_below(c, 3) == 0 ? check_reals(c, m, fill) : NULL;
    e.shift = check_below(c, 3) == 0 ? check_reals(c, m, fill) : NULL;
    e.gate = check_below(c, 3) == 0 ? check_rows(c, rows, m, fill, &e.gate_stride) : NULL;
    e.activation = check_below(c, 2) != 0 ? check_below(c, Q_ACT_COUNT) : (uint32_t)Q_ACT_NONE;
    if (check_below(c, 2) != 0) {
        e.residual = check_rows(c, rows, m, fill, &e.residual_stride);
        *in_place = check_below(c, 2) != 0;
    }
    return e;
}

typedef void (*gemm_kernel)(const q_work *work, const q_gemm_args *a);

static void run_gemm(check *c, gemm_kernel kernel, const q_backend *b, const q_gemm_args *a,
                     uint32_t n)
{
    for (uint32_t w = n; w-- > 0;) {
        q_work work = check_work(c, w, n, b);
        kernel(&work, a);
    }
}

/* The same product row by row must give the same bits. */
static void check_gemm_rows(check *c, gemm_kernel kernel, const q_gemm_args *a, check_pair y,
                            uint32_t rows)
{
    float *again = (float *)check_alloc(c, y.size, sizeof(float));
    q_gemm_args one = *a;
    one.rows.n = 1;
    one.rows.sym = Q_SYM_ONE;
    for (uint32_t r = 0; r < rows; r++) {
        one.x = (const uint8_t *)a->x + r * a->x_stride;
        one.y = (float *)(void *)((uint8_t *)again + r * y.stride);
        if (a->epilogue.gate != NULL) {
            one.epilogue.gate = (const float *)(const void *)((const uint8_t *)a->epilogue.gate +
                                                              r * a->epilogue.gate_stride);
        }
        if (a->epilogue.residual != NULL) {
            one.epilogue.residual =
                (const float *)(const void *)((const uint8_t *)a->epilogue.residual +
                                              r * a->epilogue.residual_stride);
        }
        run_gemm(c, kernel, &c->tested, &one, c->n_workers);
    }
    check_same(c, y.expected, again, y.size, ELEMENT_F32, "row by row");
}

static void gemm_case(check *c, uint32_t dtype, bool a8, gemm_kernel reference, gemm_kernel tested,
                      uint32_t rows, uint32_t m, uint32_t k)
{
    char text[96];
    q_gemm_args a;
    bool in_place;
    check_begin(c);
    check_fill fill = check_fill_any(c);
    memset(&a, 0, sizeof(a));
    c->run.n_tokens = rows;
    a.rows.n = 1;
    a.rows.sym = Q_SYM_TOKENS;
    a.m = m;
    a.k = k;
    a.planes = a8 ? CHECK_PICK(c, 1, 1, 2) : 1;
    a.weights = check_panels(c, dtype, m, k, fill);
    a.x = a8 ? check_a8(c, rows, k, fill, &a.x_stride, a.planes)
             : (const void *)check_rows(c, rows, k, fill, &a.x_stride);
    a.epilogue = random_epilogue(c, rows, m, fill, &in_place);
    check_pair y = check_in_out(c, rows, m, fill);
    a.y_stride = y.stride;
    q_gemm_args b = a;
    a.y = y.expected;
    b.y = y.got;
    if (in_place) {
        a.epilogue.residual = y.expected;
        b.epilogue.residual = y.got;
        a.epilogue.residual_stride = y.stride;
        b.epilogue.residual_stride = y.stride;
    }
    (void)snprintf(text, sizeof(text), "rows %u m %u k %u planes %u fill %d act %u", rows, m, k,
                   a.planes, (int)fill, a.epilogue.activation);
    run_gemm(c, reference, &c->reference, &a, 1);
    run_gemm(c, tested, &c->tested, &b, c->n_workers);
    check_pair_same(c, y, text);
    if (!in_place) {
        check_gemm_rows(c, tested, &b, y, rows);
    }
}

static void check_gemm(check *c, uint32_t dtype, bool a8, gemm_kernel reference, gemm_kernel tested)
{
    bool blocks = q_dtype_is_quantised(dtype);
    gemm_case(c, dtype, a8, reference, tested, 100, 80, blocks ? 544 : 300);
    gemm_case(c, dtype, a8, reference, tested, 1, 576, 576);
    for (uint32_t i = 0; i < PRODUCT_CASES; i++) {
        uint32_t rows = CHECK_PICK(c, 1, 1, 2, 3, 4, 5, 6, 7, 8, 11, 13, 31);
        uint32_t m = CHECK_PICK(c, 1, 3, 7, 8, 9, 15, 16, 17, 24, 31, 33, 48, 130);
        uint32_t k = blocks ? CHECK_PICK(c, 32, 64, 96, 256, 288, 512, 544)
                            : CHECK_PICK(c, 1, 2, 3, 7, 8, 31, 33, 255, 256, 257, 300);
        gemm_case(c, dtype, a8, reference, tested, rows, m, k);
    }
}

static void bench_gemm_shape(check *c, uint32_t dtype, bool a8, gemm_kernel kernel, uint32_t rows,
                             uint32_t m, uint32_t k)
{
    char text[64];
    q_gemm_args a;
    double best = 1e9;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    c->run.n_tokens = rows;
    a.rows.n = 1;
    a.rows.sym = Q_SYM_TOKENS;
    a.m = m;
    a.k = k;
    a.weights = check_panels(c, dtype, m, k, FILL_UNIT);
    a.x = a8 ? check_a8(c, rows, k, FILL_UNIT, &a.x_stride, 1)
             : (const void *)check_rows(c, rows, k, FILL_UNIT, &a.x_stride);
    a.y = check_rows(c, rows, m, FILL_UNIT, &a.y_stride);
    double begin = check_seconds();
    for (uint32_t i = 0; i < 2 || (check_seconds() - begin < 0.4 && i < 1000); i++) {
        double t = check_seconds();
        run_gemm(c, kernel, &c->tested, &a, 1);
        t = check_seconds() - t;
        best = t < best ? t : best;
        if (t > 0.4) {
            break;
        }
    }
    (void)snprintf(text, sizeof(text), "rows %u m %u k %u", rows, m, k);
    check_report(c, text, best, (double)rows * m * k,
                 (double)q_panel_bytes(dtype, k) * q_ceil_div_u32(m, Q_PANEL_ROWS));
}

/* Decode from memory (the head of a 49,152-token vocabulary), decode from cache, prefill. */
static void bench_gemm(check *c, uint32_t dtype, bool a8, gemm_kernel kernel)
{
    bool wide = q_dtype_is_quantised(dtype);
    bench_gemm_shape(c, dtype, a8, kernel, 1, wide ? 49152 * 2 : 32768, 576);
    bench_gemm_shape(c, dtype, a8, kernel, 1, 576, 576);
    bench_gemm_shape(c, dtype, a8, kernel, 256, 1536, 576);
    bench_gemm_shape(c, dtype, a8, kernel, 256, 576, 1536);
}

void check_gemm_f32(check *c)
{
    check_gemm(c, Q_F32, false, c->reference.kernels.gemm_f32, c->tested.kernels.gemm_f32);
}

void check_gemm_f16(check *c)
{
    check_gemm(c, Q_F16, false, c->reference.kernels.gemm_f16, c->tested.kernels.gemm_f16);
}

void check_gemm_bf16(check *c)
{
    check_gemm(c, Q_BF16, false, c->reference.kernels.gemm_bf16, c->tested.kernels.gemm_bf16);
}

void check_gemm_q8_0(check *c)
{
    check_gemm(c, Q_Q8_0, false, c->reference.kernels.gemm_q8_0, c->tested.kernels.gemm_q8_0);
}

void check_gemm_q4_0(check *c)
{
    check_gemm(c, Q_Q4_0, false, c->reference.kernels.gemm_q4_0, c->tested.kernels.gemm_q4_0);
}

void check_gemm_q4_1(check *c)
{
    check_gemm(c, Q_Q4_1, false, c->reference.kernels.gemm_q4_1, c->tested.kernels.gemm_q4_1);
}

void check_gemm_a8_q8_0(check *c)
{
    check_gemm(c, Q_Q8_0, true, c->reference.kernels.gemm_a8_q8_0, c->tested.kernels.gemm_a8_q8_0);
}

void check_gemm_a8_q4_0(check *c)
{
    check_gemm(c, Q_Q4_0, true, c->reference.kernels.gemm_a8_q4_0, c->tested.kernels.gemm_a8_q4_0);
}

void check_gemm_a8_q4_1(check *c)
{
    check_gemm(c, Q_Q4_1, true, c->reference.kernels.gemm_a8_q4_1, c->tested.kernels.gemm_a8_q4_1);
}

void bench_gemm_f32(check *c)
{
    bench_gemm(c, Q_F32, false, c->tested.kernels.gemm_f32);
}

void bench_gemm_f16(check *c)
{
    bench_gemm(c, Q_F16, false, c->tested.kernels.gemm_f16);
}

void bench_gemm_bf16(check *c)
{
    bench_gemm(c, Q_BF16, false, c->tested.kernels.gemm_bf16);
}

void bench_gemm_q8_0(check *c)
{
    bench_gemm(c, Q_Q8_0, false, c->tested.kernels.gemm_q8_0);
}

void bench_gemm_q4_0(check *c)
{
    bench_gemm(c, Q_Q4_0, false, c->tested.kernels.gemm_q4_0);
}

void bench_gemm_q4_1(check *c)
{
    bench_gemm(c, Q_Q4_1, false, c->tested.kernels.gemm_q4_1);
}

void bench_gemm_a8_q8_0(check *c)
{
    bench_gemm(c, Q_Q8_0, true, c->tested.kernels.gemm_a8_q8_0);
}

void bench_gemm_a8_q4_0(check *c)
{
    bench_gemm(c, Q_Q4_0, true, c->tested.kernels.gemm_a8_q4_0);
}

void bench_gemm_a8_q4_1(check *c)
{
    bench_gemm(c, Q_Q4_1, true, c->tested.kernels.gemm_a8_q4_1);
}

/* -- matmul ------------------------------------------------------------------------------------ */

/* B in panels of 16 columns. */
static const float *matmul_panels(check *c, uint32_t n, uint32_t k, check_fill fill, size_t *stride)
{
    uint32_t count = (n + 15u) / 16u;
    float *b = (float *)check_alloc(c, (size_t)count * k * 64u, 64);
    for (uint32_t i = 0; i < count * k * 16u; i++) {
        b[i] = check_real(c, fill);
    }
    *stride = (size_t)k * 64u;
    return b;
}

static void matmul_case(check *c, uint32_t m, uint32_t n, uint32_t k)
{
    char text[96];
    q_matmul_args a;
    bool in_place = false;
    check_begin(c);
    check_fill fill = check_fill_any(c);
    memset(&a, 0, sizeof(a));
    a.m.n = m;
    a.n.n = n;
    a.k.n = k;
    a.transpose_a = (uint8_t)check_below(c, 2);
    a.transpose_b = (uint8_t)check_below(c, 3);
    a.accumulate = (uint8_t)check_below(c, 2);
    a.a = check_rows(c, a.transpose_a ? k : m, a.transpose_a ? m : k, fill, &a.a_stride);
    if (a.transpose_b == Q_MATMUL_PANELS) {
        a.b = matmul_panels(c, n, k, fill, &a.b_stride);
    } else {
        a.b = check_rows(c, a.transpose_b ? n : k, a.transpose_b ? k : n, fill, &a.b_stride);
    }
    if (!a.accumulate) {
        a.epilogue = random_epilogue(c, m, n, fill, &in_place);
    }
    check_pair y = check_in_out(c, m, n, fill);
    a.c_stride = y.stride;
    q_matmul_args b = a;
    a.c = y.expected;
    b.c = y.got;
    if (in_place) {
        a.epilogue.residual = y.expected;
        b.epilogue.residual = y.got;
        a.epilogue.residual_stride = y.stride;
        b.epilogue.residual_stride = y.stride;
    }
    (void)snprintf(text, sizeof(text), "m %u n %u k %u ta %u tb %u acc %u fill %d", m, n, k,
                   a.transpose_a, a.transpose_b, a.accumulate, (int)fill);
    CHECK_RUN(c, matmul, &a, &b);
    check_pair_same(c, y, text);
}

void check_matmul(check *c)
{
    matmul_case(c, 100, 40, 300);
    for (uint32_t i = 0; i < 6; i++) {
        matmul_case(c, 100, 130, 600); /* several groups, slabs and columns of a block */
        matmul_case(c, 26, 300, 530);  /* more columns than chains rest for at once */
        matmul_case(c, 110, 16, 40);   /* whole tiles of rows to each worker */
    }
    for (uint32_t i = 0; i < 30; i++) {
        matmul_case(c, 1 + i % 3, 130, 40); /* few rows by several panels */
    }
    for (uint32_t i = 0; i < 150; i++) {
        uint32_t m = CHECK_PICK(c, 1, 2, 5, 6, 7, 12, 13, 32);
        uint32_t n = CHECK_PICK(c, 1, 4, 7, 8, 9, 15, 16, 17, 32, 40);
        uint32_t k = CHECK_PICK(c, 1, 2, 7, 8, 9, 16, 33, 256, 259);
        matmul_case(c, m, n, k);
    }
}

void bench_matmul(check *c)
{
    for (uint32_t form = 0; form < 5; form++) {
        q_matmul_args a;
        char text[64];
        double t;
        check_begin(c);
        memset(&a, 0, sizeof(a));
        a.m.n = 256;
        a.n.n = 512;
        a.k.n = 512;
        a.transpose_a = (uint8_t)(form & 1u);
        a.transpose_b = (uint8_t)(form >> 1);
        a.a = check_rows(c, 512, 512, FILL_UNIT, &a.a_stride);
        if (a.transpose_b == Q_MATMUL_PANELS) {
            a.b = matmul_panels(c, 512, 512, FILL_UNIT, &a.b_stride);
        } else {
            a.b = check_rows(c, 512, 512, FILL_UNIT, &a.b_stride);
        }
        a.c = check_rows(c, 256, 512, FILL_UNIT, &a.c_stride);
        CHECK_TIME(c, matmul, &a, t);
        (void)snprintf(text, sizeof(text), "256 x 512 x 512%s%s", a.transpose_a ? " A'" : "",
                       a.transpose_b == Q_MATMUL_PANELS ? " B in panels" : a.transpose_b ? " B'" : "");
        check_report(c, text, t, 256.0 * 512 * 512, 4.0 * (256 * 512 * 2 + 512 * 512));
    }
}
