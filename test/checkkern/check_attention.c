/* SPDX-License-Identifier: MIT */
/*
 * check_attention.c: attention_*. Spans must equal their tokens one by one, each alone, and what lies in the
 * cache beyond the last key or in other sequences must not matter.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"

typedef void (*attention_kernel)(const q_work *work, const q_attention_args *a);

/* One of the attention kernels at work. */
typedef struct attention_check {
    uint32_t dtype; /* of the cache */
    attention_kernel reference;
    attention_kernel tested;
} attention_check;

static void run_attention(check *c, attention_kernel kernel, const q_backend *b,
                          const q_attention_args *a, uint32_t n)
{
    for (uint32_t w = n; w-- > 0;) {
        q_work work = check_work(c, w, n, b);
        kernel(&work, a);
    }
}

/* Stores `keys` tokens of random K and V in one sequence's cache. */
static void fill_sequence(check *c, const q_attention_args *a, uint32_t dtype, uint32_t sequence,
                          uint32_t keys, check_fill fill)
{
    const q_run run = c->run;
    size_t at = sequence * a->sequence_stride;
    q_kv_store_args s;
    memset(&s, 0, sizeof(s));
    s.rows.n = keys;
    s.kv_heads = a->kv_heads;
    s.head_dim = a->head_dim;
    s.capacity = a->capacity;
    s.k = check_rows(c, keys, a->kv_heads * a->head_dim, fill, &s.k_stride);
    s.v = check_rows(c, keys, a->kv_heads * a->head_dim, fill, &s.v_stride);
    s.k_cache = (void *)((uintptr_t)a->k_cache + at);
    s.v_cache = (void *)((uintptr_t)a->v_cache + at);
    c->run.position = 0;
    c->run.n_spans = 0;
    q_work work = check_work(c, 0, 1, &c->reference);
    if (dtype == Q_Q8_0) {
        c->reference.kernels.kv_store_q8_0(&work, &s);
    } else if (dtype == Q_F16) {
        c->reference.kernels.kv_store_f16(&work, &s);
    } else {
        c->reference.kernels.kv_store_f32(&work, &s);
    }
    c->run = run;
}

/* Caches whose sequences hold what the spans see; the rest is bytes 0xA5 or, with `poison`, NaN. */
static void fill_caches(check *c, q_attention_args *a, uint32_t dtype, uint32_t rows,
                        check_fill fill, bool poison)
{
    size_t bytes = (size_t)q_kv_head_bytes(dtype, a->capacity, a->head_dim) * a->kv_heads;
    a->sequence_stride = bytes + check_below(c, 3) * Q_ALIGN;
    bytes += a->sequence_stride * (c->run.n_spans != 0 ? CHECK_SEQUENCES - 1u : 0u);
    void *k = check_alloc(c, bytes, Q_ALIGN);
    void *v = check_alloc(c, bytes, Q_ALIGN);
    if (poison) {
        memset(k, 0xff, bytes);
        memset(v, 0xff, bytes);
    }
    a->k_cache = k;
    a->v_cache = v;
    for (uint32_t i = 0; i < q_span_count(&c->run); i++) {
        q_span span = q_span_at(&c->run, rows, i);
        fill_sequence(c, a, dtype, span.sequence, span.position + span.rows, fill);
    }
}

/* Token by token, each alone in its sequence, must give the bits of the step. */
static void check_one_by_one(check *c, attention_kernel kernel, const q_attention_args *a,
                             check_pair y, uint32_t rows, const char *text)
{
    const q_run run = c->run;
    float *again = (float *)check_alloc(c, y.size, sizeof(float));
    for (uint32_t r = 0; r < rows; r++) {
        q_span span = q_span_of_row(&run, rows, r);
        q_attention_args one = *a;
        one.rows.n = 1;
        one.k_cache = (const uint8_t *)a->k_cache + span.sequence * a->sequence_stride;
        one.v_cache = (const uint8_t *)a->v_cache + span.sequence * a->sequence_stride;
        one.q = (const float *)(const void *)((const uint8_t *)a->q + r * a->q_stride);
        one.out = (float *)(void *)((uint8_t *)again + r * y.stride);
        c->run.n_spans = 0;
        c->run.position = span.position + (r - span.row);
        run_attention(c, kernel, &c->tested, &one, c->n_workers);
    }
    c->run = run;
    check_same(c, y.expected, again, y.size, ELEMENT_F32, text);
    check_canaries(c, text);
}

/* Logarithms of the sums, in one case of two. */
static float *want_lse(check *c, q_attention_args *a, q_attention_args *b, uint32_t rows)
{
    size_t bytes = (size_t)rows * a->heads * sizeof(float);
    if (check_below(c, 2) != 0) {
        a->lse = (float *)check_alloc(c, bytes, sizeof(float));
        b->lse = (float *)check_alloc(c, bytes, sizeof(float));
    }
    return b->lse;
}

/* A step whose spans the run block has, by heads, window and values at random. samples: its spans are samples of as
   many rows each, and the run block is not to be asked. */
static void attention_case(check *c, const attention_check *k, uint32_t rows, uint32_t room, bool samples)
{
    char text[128];
    q_attention_args a;
    check_fill fill = check_below(c, 6) == 0 ? check_fill_any(c) : FILL_UNIT;
    memset(&a, 0, sizeof(a));
    a.rows.n = rows;
    a.kv_heads = CHECK_PICK(c, 1, 2, 3);
    a.heads = a.kv_heads * CHECK_PICK(c, 1, 2, 3, 4, 13);
    a.head_dim =
        k->dtype == Q_Q8_0 ? CHECK_PICK(c, 32, 64, 96) : CHECK_PICK(c, 1, 6, 8, 16, 24, 36, 64);
    a.capacity = (room + 63u) / 64u * 64u;
    a.window = check_below(c, 3) == 0 ? CHECK_PICK(c, 1, 5, 63, 64, 100, 256, 300) : 0;
    a.scale = check_below(c, 2) != 0 ? 0.125f : 3.0f;
    a.softcap = check_below(c, 4) == 0 ? 5.0f : 0.0f;
    a.full = check_below(c, 4) == 0 ? 1 : 0;
    a.window = a.full != 0 ? 0 : a.window;
    fill_caches(c, &a, k->dtype, rows, fill, check_below(c, 2) != 0);
    a.q = check_rows(c, rows, a.heads * a.head_dim, fill, &a.q_stride);
    check_pair y = check_out(c, rows, a.heads * a.head_dim);
    a.out_stride = y.stride;
    q_attention_args b = a;
    a.out = y.expected;
    b.out = y.got;
    float *lse = want_lse(c, &a, &b, rows);
    (void)snprintf(text, sizeof(text),
                   "rows %u spans %u position %u heads %u/%u dim %u window %u cap %g fill %d", rows,
                   c->run.n_spans, q_span_at(&c->run, rows, 0).position, a.heads, a.kv_heads,
                   a.head_dim, a.window, (double)a.softcap, (int)fill);
    const q_run run = c->run;
    if (samples) {
        a.per_sample = b.per_sample = run.spans[0].rows;
        a.lengths = b.lengths = check_lengths(c, run.n_spans, a.per_sample);
        c->run.n_spans = 0;
        c->run.position = 1000003;
    }
    run_attention(c, k->reference, &c->reference, &a, 1);
    run_attention(c, k->tested, &c->tested, &b, c->n_workers);
    check_pair_same(c, y, text);
    if (lse != NULL) {
        check_same(c, a.lse, lse, (size_t)rows * a.heads * sizeof(float), ELEMENT_F32, text);
    }
    c->run = run;
    a.lse = b.lse = NULL;
    a.per_sample = b.per_sample = 0;
    if (a.full == 0 && a.lengths == NULL) {
        check_one_by_one(c, k->tested, &b, y, rows, text);
    }
}

static void attention_at(check *c, const attention_check *k, uint32_t rows, uint32_t position)
{
    check_begin(c);
    c->run.position = position;
    attention_case(c, k, rows, position + rows, false);
}

static void attention_samples(check *c, const attention_check *k)
{
    q_span spans[CHECK_SEQUENCES];
    uint32_t n = 1 + check_below(c, CHECK_SEQUENCES);
    uint32_t each = CHECK_PICK(c, 1, 2, 7, 16, 30, 66);
    check_begin(c);
    for (uint32_t i = 0; i < n; i++) {
        spans[i] = (q_span){i, 0, i * each, each};
    }
    c->run.n_spans = n;
    c->run.spans = spans;
    attention_case(c, k, n * each, each, true);
}

static void check_attention(check *c, const attention_check *k)
{
    attention_at(c, k, 70, 470);
    attention_at(c, k, 1, 1100);
    for (uint32_t i = 0; i < 60; i++) {
        uint32_t rows = CHECK_PICK(c, 1, 1, 2, 3, 5, 9, 20);
        attention_at(c, k, rows,
                     CHECK_PICK(c, 0, 0, 1, 15, 16, 50, 63, 64, 130, 250, 255, 256, 300, 520));
    }
    for (uint32_t i = 0; i < 60; i++) {
        uint32_t room = CHECK_PICK(c, 40, 64, 128, 300, 540);
        check_begin(c);
        attention_case(c, k, check_spans(c, CHECK_PICK(c, 1, 2, 5, 9, 16), room), room, false);
    }
    for (uint32_t i = 0; i < 20; i++) {
        attention_samples(c, k);
    }
}

/* -- timing ------------------------------------------------------------------------------------ */

/* `sequences` sequences, `rows` rows of each from `position`. */
static void bench_attention(check *c, const attention_check *k, uint32_t sequences, uint32_t rows,
                            uint32_t position)
{
    char text[64];
    q_span spans[8];
    q_attention_args a;
    double best = 1e9;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.rows.n = sequences * rows;
    a.heads = 9;
    a.kv_heads = 3;
    a.head_dim = 64;
    a.capacity = (position + rows + 63u) / 64u * 64u;
    a.scale = 0.125f;
    for (uint32_t i = 0; i < sequences; i++) {
        spans[i] = (q_span){i, position, i * rows, rows};
    }
    c->run.n_spans = sequences;
    c->run.spans = spans;
    fill_caches(c, &a, k->dtype, a.rows.n, FILL_UNIT, false);
    a.q = check_rows(c, a.rows.n, 576, FILL_UNIT, &a.q_stride);
    a.out = check_rows(c, a.rows.n, 576, FILL_UNIT, &a.out_stride);
    for (uint32_t i = 0; i < 10; i++) {
        double t = check_seconds();
        run_attention(c, k->tested, &c->tested, &a, 1);
        t = check_seconds() - t;
        best = t < best ? t : best;
        if (t > 0.3) {
            break;
        }
    }
    double keys = (double)rows * position + (double)rows * (rows + 1) / 2;
    (void)snprintf(text, sizeof(text), "%u x %u rows from %u, 9/3 of 64", sequences, rows, position);
    check_report(c, text, best, sequences * keys * 9 * 64 * 2,
                 (double)sequences * (double)q_kv_head_bytes(k->dtype, a.capacity, 64) * 6);
}

static void bench_attention_all(check *c, const attention_check *k)
{
    static const uint32_t context[] = {512, 2048, 8192};
    for (uint32_t i = 0; i < 3; i++) {
        bench_attention(c, k, 1, 1, context[i] - 1u);
    }
    bench_attention(c, k, 8, 1, 511);
    bench_attention(c, k, 1, 256, 0);
    bench_attention(c, k, 1, 128, 8192u - 128u);
}

#define ATTENTION_CHECK(suffix, dtype)                                                        \
    void check_attention_##suffix(check *c)                                                   \
    {                                                                                         \
        const attention_check k = {dtype, c->reference.kernels.attention_##suffix,            \
                                   c->tested.kernels.attention_##suffix};                     \
        check_attention(c, &k);                                                               \
    }                                                                                         \
    void bench_attention_##suffix(check *c)                                                   \
    {                                                                                         \
        const attention_check k = {dtype, c->reference.kernels.attention_##suffix,            \
                                   c->tested.kernels.attention_##suffix};                     \
        bench_attention_all(c, &k);                                                           \
    }

ATTENTION_CHECK(f32, Q_F32)
ATTENTION_CHECK(f16, Q_F16)
ATTENTION_CHECK(q8_0, Q_Q8_0)
