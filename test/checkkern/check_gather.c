/* SPDX-License-Identifier: MIT */
/*
 * check_gather.c: gather_* in both layouts, with and without ids, and quantize_a8.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"

typedef void (*gather_kernel)(const q_work *work, const q_gather_args *a);

static void run_gather(check *c, gather_kernel kernel, const q_backend *b, const q_gather_args *a,
                       uint32_t n)
{
    for (uint32_t w = n; w-- > 0;) {
        q_work work = check_work(c, w, n, b);
        kernel(&work, a);
    }
}

static void gather_inputs(check *c, q_gather_args *a, uint32_t dtype, uint32_t rows, uint32_t table)
{
    check_fill fill = check_fill_any(c);
    if (a->layout == Q_PANEL16) {
        a->weights = check_panels(c, dtype, table, a->k, fill);
        a->weights_stride = (size_t)q_panel_bytes(dtype, a->k);
    } else {
        a->weights = check_plain(c, dtype, table, a->k, fill, &a->weights_stride);
    }
    if (rows <= table && check_below(c, 3) == 0) {
        return;
    }
    int32_t *ids = (int32_t *)check_alloc(c, rows * sizeof(int32_t), sizeof(int32_t));
    for (uint32_t r = 0; r < rows; r++) {
        ids[r] = (int32_t)check_below(c, table);
    }
    a->ids = ids;
}

static void check_gather(check *c, uint32_t dtype, gather_kernel reference, gather_kernel tested)
{
    for (uint32_t i = 0; i < 80; i++) {
        char text[96];
        q_gather_args a;
        check_begin(c);
        memset(&a, 0, sizeof(a));
        uint32_t rows = CHECK_PICK(c, 1, 2, 3, 8, 19);
        a.rows.n = rows;
        a.k = q_dtype_is_quantised(dtype) ? CHECK_PICK(c, 32, 64, 96, 576)
                                          : CHECK_PICK(c, 1, 2, 7, 8, 9, 16, 23, 64, 77);
        a.layout = check_below(c, 2) != 0 ? Q_PANEL16 : Q_PLAIN;
        a.scale = check_below(c, 2) != 0 ? 1.0f : check_real(c, FILL_WIDE);
        gather_inputs(c, &a, dtype, rows, CHECK_PICK(c, 1, 15, 16, 17, 40));
        check_pair y = check_out(c, rows, a.k);
        a.out_stride = y.stride;
        q_gather_args b = a;
        a.out = y.expected;
        b.out = y.got;
        (void)snprintf(text, sizeof(text), "rows %u k %u layout %u ids %d", rows, a.k, a.layout,
                       a.ids != NULL);
        run_gather(c, reference, &c->reference, &a, 1);
        run_gather(c, tested, &c->tested, &b, c->n_workers);
        check_pair_same(c, y, text);
    }
}

static void bench_gather(check *c, uint32_t dtype, gather_kernel kernel)
{
    q_gather_args a;
    double best = 1e9;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 256;
    a.k = 576;
    a.layout = Q_PANEL16;
    a.scale = 1;
    a.weights = check_panels(c, dtype, 1024, a.k, FILL_UNIT);
    a.weights_stride = (size_t)q_panel_bytes(dtype, a.k);
    a.out = check_rows(c, 256, a.k, FILL_UNIT, &a.out_stride);
    for (uint32_t i = 0; i < 20; i++) {
        double t = check_seconds();
        run_gather(c, kernel, &c->tested, &a, 1);
        t = check_seconds() - t;
        best = t < best ? t : best;
    }
    check_report(c, "256 of 1024 rows, k 576, panels", best, 256.0 * 576, 256.0 * 576 * 4);
}

void check_gather_f32(check *c)
{
    check_gather(c, Q_F32, c->reference.kernels.gather_f32, c->tested.kernels.gather_f32);
}

void check_gather_f16(check *c)
{
    check_gather(c, Q_F16, c->reference.kernels.gather_f16, c->tested.kernels.gather_f16);
}

void check_gather_bf16(check *c)
{
    check_gather(c, Q_BF16, c->reference.kernels.gather_bf16, c->tested.kernels.gather_bf16);
}

void check_gather_q8_0(check *c)
{
    check_gather(c, Q_Q8_0, c->reference.kernels.gather_q8_0, c->tested.kernels.gather_q8_0);
}

void check_gather_q4_0(check *c)
{
    check_gather(c, Q_Q4_0, c->reference.kernels.gather_q4_0, c->tested.kernels.gather_q4_0);
}

void check_gather_q4_1(check *c)
{
    check_gather(c, Q_Q4_1, c->reference.kernels.gather_q4_1, c->tested.kernels.gather_q4_1);
}

void bench_gather_f32(check *c)
{
    bench_gather(c, Q_F32, c->tested.kernels.gather_f32);
}

void bench_gather_f16(check *c)
{
    bench_gather(c, Q_F16, c->tested.kernels.gather_f16);
}

void bench_gather_bf16(check *c)
{
    bench_gather(c, Q_BF16, c->tested.kernels.gather_bf16);
}

void bench_gather_q8_0(check *c)
{
    bench_gather(c, Q_Q8_0, c->tested.kernels.gather_q8_0);
}

void bench_gather_q4_0(check *c)
{
    bench_gather(c, Q_Q4_0, c->tested.kernels.gather_q4_0);
}

void bench_gather_q4_1(check *c)
{
    bench_gather(c, Q_Q4_1, c->tested.kernels.gather_q4_1);
}

/* -- quantize_a8 ------------------------------------------------------------------------------- */

/* Blocks whose largest magnitude is subnormal, tiny, an exact multiple, infinite, or absent. */
static void quantize_edges(check *c, float *x, uint32_t k)
{
    static const uint32_t top[] = {0x00000000u, 0x00000001u, 0x00000080u, 0x00400000u,
                                   0x02000000u, 0x04ffffffu, 0x3f800000u, 0x42fe0000u,
                                   0x437e0000u, 0x7f7fffffu, 0x7f800000u, 0x7fc00000u};
    for (uint32_t b = 0; b < k; b += Q_BLOCK) {
        float amax = q_float_u32(top[check_below(c, 12)]);
        for (uint32_t i = 0; i < Q_BLOCK; i++) {
            float part = (float)(int32_t)check_below(c, 509) - 254.0f;
            x[b + i] = check_below(c, 6) == 0 ? 0.0f : amax * (part / 254.0f);
        }
        x[b + check_below(c, Q_BLOCK)] = check_below(c, 2) != 0 ? amax : -amax;
    }
}

static void quantize_case(check *c, uint32_t rows, uint32_t k)
{
    char text[96];
    q_quantize_a8_args a;
    uint64_t bytes = 0;
    check_begin(c);
    check_fill fill = check_fill_any(c);
    memset(&a, 0, sizeof(a));
    a.planes = CHECK_PICK(c, 1, 2);
    a.rows.n = q_plain_row_bytes(a.planes == 2 ? Q_A8X2 : Q_A8, k, &bytes) ? rows : 0;
    a.k = k;
    float *x = check_rows(c, rows, k, fill, &a.x_stride);
    if (check_below(c, 2) != 0) {
        quantize_edges(c, x, k);
    }
    a.x = x;
    a.out_stride = (size_t)bytes;
    q_quantize_a8_args b = a;
    a.out = check_alloc(c, rows * a.out_stride, Q_ALIGN);
    b.out = check_alloc(c, rows * a.out_stride, Q_ALIGN);
    (void)snprintf(text, sizeof(text), "rows %u k %u planes %u fill %d", rows, k, a.planes,
                   (int)fill);
    CHECK_RUN(c, quantize_a8, &a, &b);
    check_same(c, a.out, b.out, rows * a.out_stride, ELEMENT_BYTE, text);
    check_canaries(c, text);
}

void check_quantize_a8(check *c)
{
    for (uint32_t i = 0; i < 400; i++) {
        uint32_t rows = CHECK_PICK(c, 1, 2, 3, 9);
        quantize_case(c, rows, CHECK_PICK(c, 32, 64, 96, 160, 576));
    }
}

void bench_quantize_a8(check *c)
{
    q_quantize_a8_args a;
    double t;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = 256;
    a.k = 576;
    a.x = check_rows(c, 256, a.k, FILL_UNIT, &a.x_stride);
    a.out_stride = 768;
    a.out = check_alloc(c, 256 * a.out_stride, Q_ALIGN);
    CHECK_TIME(c, quantize_a8, &a, t);
    check_report(c, "256 x 576", t, 256.0 * 576, 256.0 * 576 * 5);
}
