/* SPDX-License-Identifier: MIT */
/*
 * check_kv_store.c: kv_store_*: a token must go to its place, whatever its values, and no other byte of any
 * sequence may change.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"

typedef void (*kv_kernel)(const q_work *work, const q_kv_store_args *a);

static void run_kv(check *c, kv_kernel kernel, const q_backend *b, const q_kv_store_args *a,
                   uint32_t n)
{
    for (uint32_t w = n; w-- > 0;) {
        q_work work = check_work(c, w, n, b);
        kernel(&work, a);
    }
}

static uint32_t any_head_dim(check *c, uint32_t dtype)
{
    return dtype == Q_Q8_0 ? CHECK_PICK(c, 32, 64, 96) : CHECK_PICK(c, 1, 7, 8, 12, 64, 72);
}

static void check_kv_store(check *c, uint32_t dtype, kv_kernel reference, kv_kernel tested)
{
    const check_element e = dtype == Q_F32   ? ELEMENT_F32
                            : dtype == Q_F16 ? ELEMENT_F16
                                             : ELEMENT_BYTE;
    for (uint32_t i = 0; i < 100; i++) {
        char text[96];
        q_kv_store_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        memset(&a, 0, sizeof(a));
        a.capacity = CHECK_PICK(c, 64, 128, 320);
        a.rows.n = check_spans(c, CHECK_PICK(c, 1, 1, 2, 15, 16, 17, 30), a.capacity);
        a.kv_heads = CHECK_PICK(c, 1, 2, 3);
        a.head_dim = any_head_dim(c, dtype);
        a.k = check_rows(c, a.rows.n, a.kv_heads * a.head_dim, fill, &a.k_stride);
        a.v = check_rows(c, a.rows.n, a.kv_heads * a.head_dim, fill, &a.v_stride);
        size_t bytes = (size_t)q_kv_head_bytes(dtype, a.capacity, a.head_dim) * a.kv_heads;
        a.sequence_stride = bytes + check_below(c, 3) * Q_ALIGN;
        bytes += a.sequence_stride * (c->run.n_spans != 0 ? CHECK_SEQUENCES - 1u : 0u);
        q_kv_store_args b = a;
        a.k_cache = check_alloc(c, bytes, Q_ALIGN);
        a.v_cache = check_alloc(c, bytes, Q_ALIGN);
        b.k_cache = check_alloc(c, bytes, Q_ALIGN);
        b.v_cache = check_alloc(c, bytes, Q_ALIGN);
        (void)snprintf(text, sizeof(text), "rows %u heads %u dim %u spans %u fill %d", a.rows.n,
                       a.kv_heads, a.head_dim, c->run.n_spans, (int)fill);
        run_kv(c, reference, &c->reference, &a, 1);
        run_kv(c, tested, &c->tested, &b, c->n_workers);
        check_same(c, a.k_cache, b.k_cache, bytes, e, text);
        check_same(c, a.v_cache, b.v_cache, bytes, e, text);
        check_canaries(c, text);
    }
}

static void bench_kv_store(check *c, uint32_t dtype, kv_kernel kernel, uint32_t rows)
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
    size_t bytes = (size_t)q_kv_head_bytes(dtype, 512, 64) * 3u;
    a.k_cache = check_alloc(c, bytes, Q_ALIGN);
    a.v_cache = check_alloc(c, bytes, Q_ALIGN);
    for (uint32_t i = 0; i < 100; i++) {
        double t = check_seconds();
        run_kv(c, kernel, &c->tested, &a, 1);
        t = check_seconds() - t;
        best = t < best ? t : best;
    }
    (void)snprintf(text, sizeof(text), "rows %u, 3 heads of 64", rows);
    check_report(c, text, best, rows * 384.0, rows * 384.0 * 4);
}

#define KV_CHECK(slot, dtype)                                                                 \
    void check_##slot(check *c)                                                               \
    {                                                                                         \
        check_kv_store(c, dtype, c->reference.kernels.slot, c->tested.kernels.slot);          \
    }                                                                                         \
    void bench_##slot(check *c)                                                               \
    {                                                                                         \
        bench_kv_store(c, dtype, c->tested.kernels.slot, 1);                                  \
        bench_kv_store(c, dtype, c->tested.kernels.slot, 256);                                \
    }

KV_CHECK(kv_store_f32, Q_F32)
KV_CHECK(kv_store_f16, Q_F16)
KV_CHECK(kv_store_q8_0, Q_Q8_0)
