/* SPDX-License-Identifier: MIT */
/*
 * check_attention.c: rope_table, rope, kv_store_* and attention_*. A chunk of a prompt must equal
 * its tokens one by one, and what lies in the cache beyond the last key must not matter.
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
        a.rows.n = rows;
        a.n_pairs = CHECK_PICK(c, 1, 3, 8, 16, 32);
        a.magnitude = check_below(c, 2) != 0 ? 1.0 : 1.25;
        c->run.position = CHECK_PICK(c, 0, 1, 100, 8191, 1000000);
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
        (void)snprintf(text, sizeof(text), "rows %u pairs %u position %u", rows, a.n_pairs,
                       c->run.position);
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

/* -- kv_store ---------------------------------------------------------------------------------- */

typedef void (*kv_kernel)(const q_work *work, const q_kv_store_args *a);

static void run_kv(check *c, kv_kernel kernel, const q_backend *b, const q_kv_store_args *a,
                   uint32_t n)
{
    for (uint32_t w = n; w-- > 0;) {
        q_work work = check_work(c, w, n, b);
        kernel(&work, a);
    }
}

static void check_kv_store(check *c, bool half, kv_kernel reference, kv_kernel tested)
{
    for (uint32_t i = 0; i < 80; i++) {
        char text[96];
        q_kv_store_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        uint32_t rows = CHECK_PICK(c, 1, 1, 2, 15, 16, 17, 40);
        memset(&a, 0, sizeof(a));
        a.rows.n = rows;
        a.kv_heads = CHECK_PICK(c, 1, 2, 3);
        a.head_dim = CHECK_PICK(c, 1, 7, 8, 12, 64, 72);
        a.capacity = CHECK_PICK(c, 64, 128);
        c->run.position = check_below(c, a.capacity - rows + 1);
        a.k = check_rows(c, rows, a.kv_heads * a.head_dim, fill, &a.k_stride);
        a.v = check_rows(c, rows, a.kv_heads * a.head_dim, fill, &a.v_stride);
        size_t bytes = (size_t)a.kv_heads * a.capacity * a.head_dim * (half ? 2u : 4u);
        q_kv_store_args b = a;
        a.k_cache = check_alloc(c, bytes, Q_ALIGN);
        a.v_cache = check_alloc(c, bytes, Q_ALIGN);
        b.k_cache = check_alloc(c, bytes, Q_ALIGN);
        b.v_cache = check_alloc(c, bytes, Q_ALIGN);
        (void)snprintf(text, sizeof(text), "rows %u heads %u dim %u position %u", rows, a.kv_heads,
                       a.head_dim, c->run.position);
        run_kv(c, reference, &c->reference, &a, 1);
        run_kv(c, tested, &c->tested, &b, c->n_workers);
        check_same(c, a.k_cache, b.k_cache, bytes, half ? ELEMENT_F16 : ELEMENT_F32, text);
        check_same(c, a.v_cache, b.v_cache, bytes, half ? ELEMENT_F16 : ELEMENT_F32, text);
        check_canaries(c, text);
    }
}

void check_kv_store_f32(check *c)
{
    check_kv_store(c, false, c->reference.kernels.kv_store_f32, c->tested.kernels.kv_store_f32);
}

void check_kv_store_f16(check *c)
{
    check_kv_store(c, true, c->reference.kernels.kv_store_f16, c->tested.kernels.kv_store_f16);
}

static void bench_kv_store(check *c, kv_kernel kernel, uint32_t rows)
{
    q_kv_store_args a;
    char text[64];
    double best = 1e9;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = rows;
    a.kv_heads = 3;
    a.head_dim = 64;
    a.capacity = 512;
    c->run.position = 100;
    a.k = check_rows(c, rows, 192, FILL_UNIT, &a.k_stride);
    a.v = check_rows(c, rows, 192, FILL_UNIT, &a.v_stride);
    a.k_cache = check_alloc(c, 3 * 512 * 64 * 4, Q_ALIGN);
    a.v_cache = check_alloc(c, 3 * 512 * 64 * 4, Q_ALIGN);
    for (uint32_t i = 0; i < 100; i++) {
        double t = check_seconds();
        run_kv(c, kernel, &c->tested, &a, 1);
        t = check_seconds() - t;
        best = t < best ? t : best;
    }
    (void)snprintf(text, sizeof(text), "rows %u, 3 heads of 64", rows);
    check_report(c, text, best, rows * 384.0, rows * 384.0 * 4);
}

void bench_kv_store_f32(check *c)
{
    bench_kv_store(c, c->tested.kernels.kv_store_f32, 1);
    bench_kv_store(c, c->tested.kernels.kv_store_f32, 256);
}

void bench_kv_store_f16(check *c)
{
    bench_kv_store(c, c->tested.kernels.kv_store_f16, 1);
    bench_kv_store(c, c->tested.kernels.kv_store_f16, 256);
}

/* -- attention --------------------------------------------------------------------------------- */

typedef void (*attention_kernel)(const q_work *work, const q_attention_args *a);

static void run_attention(check *c, attention_kernel kernel, const q_backend *b,
                          const q_attention_args *a, uint32_t n)
{
    for (uint32_t w = n; w-- > 0;) {
        q_work work = check_work(c, w, n, b);
        kernel(&work, a);
    }
}

/* Stores `keys` tokens of random K and V; slots never written keep bytes 0xA5 or, with `poison`,
   NaN. */
static void fill_cache(check *c, q_attention_args *a, bool half, uint32_t keys, check_fill fill,
                       bool poison)
{
    size_t bytes = (size_t)a->kv_heads * a->capacity * a->head_dim * (half ? 2u : 4u);
    q_kv_store_args s;
    memset(&s, 0, sizeof(s));
    s.rows.n = keys;
    s.kv_heads = a->kv_heads;
    s.head_dim = a->head_dim;
    s.capacity = a->capacity;
    s.k = check_rows(c, keys, a->kv_heads * a->head_dim, fill, &s.k_stride);
    s.v = check_rows(c, keys, a->kv_heads * a->head_dim, fill, &s.v_stride);
    s.k_cache = check_alloc(c, bytes, Q_ALIGN);
    s.v_cache = check_alloc(c, bytes, Q_ALIGN);
    if (poison) {
        memset(s.k_cache, 0xff, bytes);
        memset(s.v_cache, 0xff, bytes);
    }
    uint32_t position = c->run.position;
    c->run.position = 0;
    q_work work = check_work(c, 0, 1, &c->reference);
    if (half) {
        c->reference.kernels.kv_store_f16(&work, &s);
    } else {
        c->reference.kernels.kv_store_f32(&work, &s);
    }
    c->run.position = position;
    a->k_cache = s.k_cache;
    a->v_cache = s.v_cache;
}

/* Token by token, each at its own position, must give the bits of the chunk. */
static void check_one_by_one(check *c, attention_kernel kernel, const q_attention_args *a,
                             check_pair y, uint32_t rows, const char *text)
{
    float *again = (float *)check_alloc(c, y.size, sizeof(float));
    uint32_t position = c->run.position;
    q_attention_args one = *a;
    one.rows.n = 1;
    for (uint32_t r = 0; r < rows; r++) {
        c->run.position = position + r;
        one.q = (const float *)(const void *)((const uint8_t *)a->q + r * a->q_stride);
        one.out = (float *)(void *)((uint8_t *)again + r * y.stride);
        run_attention(c, kernel, &c->tested, &one, c->n_workers);
    }
    c->run.position = position;
    check_same(c, y.expected, again, y.size, ELEMENT_F32, text);
    check_canaries(c, text);
}

static void attention_case(check *c, bool half, attention_kernel reference, attention_kernel tested,
                           uint32_t rows, uint32_t position)
{
    char text[128];
    q_attention_args a;
    check_begin(c);
    check_fill fill = check_below(c, 6) == 0 ? check_fill_any(c) : FILL_UNIT;
    memset(&a, 0, sizeof(a));
    a.rows.n = rows;
    a.kv_heads = CHECK_PICK(c, 1, 2, 3);
    a.heads = a.kv_heads * CHECK_PICK(c, 1, 2, 3, 4, 13);
    a.head_dim = CHECK_PICK(c, 1, 6, 8, 16, 24, 36, 64);
    a.capacity = (position + rows + 63u) / 64u * 64u;
    a.window = check_below(c, 3) == 0 ? CHECK_PICK(c, 1, 5, 63, 64, 100, 256, 300) : 0;
    a.scale = check_below(c, 2) != 0 ? 0.125f : 3.0f;
    a.softcap = check_below(c, 4) == 0 ? 5.0f : 0.0f;
    c->run.position = position;
    fill_cache(c, &a, half, position + rows, fill, check_below(c, 2) != 0);
    a.q = check_rows(c, rows, a.heads * a.head_dim, fill, &a.q_stride);
    check_pair y = check_out(c, rows, a.heads * a.head_dim);
    a.out_stride = y.stride;
    q_attention_args b = a;
    a.out = y.expected;
    b.out = y.got;
    (void)snprintf(text, sizeof(text),
                   "rows %u position %u heads %u/%u dim %u window %u cap %g fill %d", rows,
                   position, a.heads, a.kv_heads, a.head_dim, a.window, (double)a.softcap,
                   (int)fill);
    run_attention(c, reference, &c->reference, &a, 1);
    run_attention(c, tested, &c->tested, &b, c->n_workers);
    check_pair_same(c, y, text);
    check_one_by_one(c, tested, &b, y, rows, text);
}

static void check_attention(check *c, bool half, attention_kernel reference,
                            attention_kernel tested)
{
    attention_case(c, half, reference, tested, 70, 470);
    attention_case(c, half, reference, tested, 1, 1100);
    for (uint32_t i = 0; i < 110; i++) {
        uint32_t rows = CHECK_PICK(c, 1, 1, 2, 3, 5, 9, 20);
        uint32_t position =
            CHECK_PICK(c, 0, 0, 1, 15, 16, 50, 63, 64, 130, 250, 255, 256, 300, 520);
        attention_case(c, half, reference, tested, rows, position);
    }
}

void check_attention_f32(check *c)
{
    check_attention(c, false, c->reference.kernels.attention_f32, c->tested.kernels.attention_f32);
}

void check_attention_f16(check *c)
{
    check_attention(c, true, c->reference.kernels.attention_f16, c->tested.kernels.attention_f16);
}

static void bench_attention(check *c, bool half, attention_kernel kernel, uint32_t rows,
                            uint32_t position)
{
    char text[64];
    q_attention_args a;
    double best = 1e9;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = rows;
    a.heads = 9;
    a.kv_heads = 3;
    a.head_dim = 64;
    a.capacity = (position + rows + 63u) / 64u * 64u;
    a.scale = 0.125f;
    c->run.position = position;
    fill_cache(c, &a, half, position + rows, FILL_UNIT, false);
    a.q = check_rows(c, rows, 576, FILL_UNIT, &a.q_stride);
    a.out = check_rows(c, rows, 576, FILL_UNIT, &a.out_stride);
    for (uint32_t i = 0; i < 10; i++) {
        double t = check_seconds();
        run_attention(c, kernel, &c->tested, &a, 1);
        t = check_seconds() - t;
        best = t < best ? t : best;
        if (t > 0.3) {
            break;
        }
    }
    double keys = (double)rows * position + (double)rows * (rows + 1) / 2;
    (void)snprintf(text, sizeof(text), "rows %u from %u, 9/3 heads of 64", rows, position);
    check_report(c, text, best, keys * 9 * 64 * 2,
                 (double)(position + rows) * 3 * 64 * 2 * (half ? 2 : 4));
}

void bench_attention_f32(check *c)
{
    bench_attention(c, false, c->tested.kernels.attention_f32, 1, 1023);
    bench_attention(c, false, c->tested.kernels.attention_f32, 256, 0);
}

void bench_attention_f16(check *c)
{
    bench_attention(c, true, c->tested.kernels.attention_f16, 1, 1023);
    bench_attention(c, true, c->tested.kernels.attention_f16, 256, 0);
}
