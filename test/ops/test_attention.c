/* SPDX-License-Identifier: MIT */
/*
 * test_attention.c: rotary positions and attention over a KV cache, against loops in double
 * precision and against the kernels on plain rows.
 */
#include <string.h>

#include "ops_test.h"
#include "qorus/base/elementary.h"
#include "qorus/base/fma.h"
#include "qorus/base/half.h"

enum { HEADS = 4, KV_HEADS = 2, DIM = 24, MOST_DIM = 32, TOKENS = 90, CAPACITY = 128 };

static void fill(uint32_t buffer)
{
    float *to = (float *)(void *)ops_buffer(buffer);
    for (uint32_t i = 0; i < OPS_BUFFER / 4; i++) {
        to[i] = (float)((double)(ops_random() >> 40) / (1 << 23) - 1.0);
    }
}

/* [b, heads, rows, dim], heads of a row side by side or one after the other. */
static q_tensor heads_view(void *data, bool inside, uint32_t b, uint32_t h, uint32_t r, uint32_t d)
{
    const uint32_t ne[4] = {b, h, r, d};
    q_tensor t;
    memset(&t, 0, sizeof(t));
    CHECK_EQ(q_tensor_init(&t, data, Q_REAL, Q_PLAIN, ne, NULL), Q_OK);
    if (inside) {
        t.nb[1] = d * sizeof(float);
        t.nb[2] = t.nb[1] * h;
    }
    return t;
}

static float *head_row(const q_tensor *t, uint32_t b, uint32_t h, uint32_t r)
{
    return (float *)(void *)((uint8_t *)t->data + b * t->nb[0] + h * t->nb[1] + r * t->nb[2]);
}

/* ---- Rotary positions ------------------------------------------------------------------------ */

static const double frequencies[8] = {1, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01, 0.001};

static void check_rope_table(uint32_t position, q_tensor *table)
{
    static Q_ALIGNED(64) double inv_freq[8];
    const uint32_t ne[4] = {1, 1, 1, 8};
    q_tensor f;
    memcpy(inv_freq, frequencies, sizeof(inv_freq));
    CHECK_EQ(q_tensor_init(&f, inv_freq, Q_F64, Q_PLAIN, ne, NULL), Q_OK);
    CHECK_EQ(q_op_rope_table(&ops_ctx, &f, 1.25, position, table, NULL), Q_OK);
    for (uint32_t r = 0; r < table->ne[2]; r++) {
        const float *row = head_row(table, 0, 0, r);
        for (uint32_t i = 0; i < 8; i++) {
            double t = (double)(position + r) * frequencies[i];
            CHECK(row[i] == (float)(q_cos_f64(t) * 1.25));
            CHECK(row[8 + i] == (float)(q_sin_f64(t) * 1.25));
        }
    }
}

static void rotate_reference(const float *x, const float *table, float *out)
{
    memcpy(out, x, DIM * sizeof(float));
    for (uint32_t i = 0; i < 8; i++) {
        out[i] = q_fma(x[i], table[i], -(x[i + 8] * table[i + 8]));
        out[i + 8] = q_fma(x[i + 8], table[i], x[i] * table[i + 8]);
    }
}

static void check_rope(const q_tensor *table, const int32_t *positions, uint32_t how)
{
    static int32_t list[TOKENS];
    const uint32_t ne[4] = {1, 1, 1, 20};
    q_tensor x = heads_view(ops_buffer(0), (how & 1) != 0, 2, 3, 20, DIM);
    q_tensor out = heads_view(ops_buffer(1), (how & 2) != 0, 2, 3, 20, DIM);
    q_tensor id;
    if (positions != NULL) {
        memcpy(list, positions, 20 * sizeof(*list));
        CHECK_EQ(q_tensor_init(&id, list, Q_I32, Q_PLAIN, ne, NULL), Q_OK);
    }
    CHECK_EQ(q_op_rope(&ops_ctx, &x, table, positions != NULL ? &id : NULL, &out, NULL), Q_OK);
    for (uint32_t i = 0; i < 2 * 3 * 20; i++) {
        uint32_t r = i % 20;
        uint32_t at = positions != NULL ? (uint32_t)positions[r] : r;
        float want[DIM];
        rotate_reference(head_row(&x, i / 60, i / 20 % 3, r), head_row(table, 0, 0, at), want);
        CHECK(memcmp(want, head_row(&out, i / 60, i / 20 % 3, r), sizeof(want)) == 0);
    }
    q_tensor place = heads_view(ops_buffer(0), (how & 1) != 0, 2, 3, 20, DIM);
    CHECK_EQ(q_op_rope(&ops_ctx, &place, table, positions != NULL ? &id : NULL, &place, NULL),
             Q_OK);
    for (uint32_t i = 0; i < 2 * 3 * 20; i++) {
        CHECK(memcmp(head_row(&place, i / 60, i / 20 % 3, i % 20),
                     head_row(&out, i / 60, i / 20 % 3, i % 20), DIM * sizeof(float)) == 0);
    }
}

static void rope_values(void)
{
    static Q_ALIGNED(64) float rows[40 * 16];
    static const int32_t jumps[20] = {39, 0, 1,  2,  3,  7, 7, 7,  8,  9,
                                      5,  4, 30, 31, 32, 0, 1, 20, 19, 18};
    q_tensor table = heads_view(rows, false, 1, 1, 40, 16);
    check_rope_table(0, &table);
    check_rope_table(123456, &table);
    for (uint32_t how = 0; how < 4; how++) {
        fill(0);
        check_rope(&table, NULL, how);
        fill(0);
        check_rope(&table, jumps, how);
    }
}

/* ---- Attention ------------------------------------------------------------------------------- */

/* What one query sees, in double precision. */
static void attend_reference(const float *q, const q_tensor *k, const q_tensor *v, uint32_t head,
                             uint32_t lo, uint32_t hi, float scale, double *out)
{
    static double p[TOKENS];
    const uint32_t dim = k->ne[3];
    double max = -1e300;
    double sum = 0;
    for (uint32_t j = lo; j < hi; j++) {
        p[j] = 0;
        for (uint32_t d = 0; d < dim; d++) {
            p[j] += (double)q[d] * (double)head_row(k, 0, head, j)[d];
        }
        p[j] *= (double)scale;
        max = p[j] > max ? p[j] : max;
    }
    memset(out, 0, dim * sizeof(*out));
    for (uint32_t j = lo; j < hi; j++) {
        p[j] = q_exp_f64(p[j] - max);
        sum += p[j];
        for (uint32_t d = 0; d < dim; d++) {
            out[d] += p[j] * (double)head_row(v, 0, head, j)[d];
        }
    }
    for (uint32_t d = 0; d < dim; d++) {
        out[d] /= sum;
    }
}

static q_tensor rows_of(const q_tensor *t, uint32_t first, uint32_t n)
{
    q_tensor part = *t;
    part.data = head_row(t, 0, 0, first);
    part.ne[2] = n;
    return part;
}

/* Stores and attends in steps of `step` tokens. */
static void run_attention(const q_kv *kv, q_op_attention_config *config, const q_tensor x[4],
                          uint32_t step)
{
    for (uint32_t at = 0; at < TOKENS; at += step) {
        uint32_t n = TOKENS - at < step ? TOKENS - at : step;
        q_tensor q = rows_of(&x[0], at, n);
        q_tensor k = rows_of(&x[1], at, n);
        q_tensor v = rows_of(&x[2], at, n);
        q_tensor out = rows_of(&x[3], at, n);
        config->position = at;
        CHECK_EQ(q_op_kv_store(&ops_ctx, &k, &v, at, kv, NULL), Q_OK);
        CHECK_EQ(q_op_attention(&ops_ctx, &q, kv, config, &out, NULL), Q_OK);
    }
}

static void check_close(const q_tensor x[4], const q_op_attention_config *config, double tolerance)
{
    const uint32_t dim = x[0].ne[3];
    for (uint32_t i = 0; i < HEADS * TOKENS; i++) {
        uint32_t h = i / TOKENS;
        uint32_t r = i % TOKENS;
        uint32_t lo = config->window != 0 && r + 1 > config->window ? r + 1 - config->window : 0;
        double want[MOST_DIM];
        attend_reference(head_row(&x[0], 0, h, r), &x[1], &x[2], h / (HEADS / KV_HEADS), lo, r + 1,
                         config->scale, want);
        for (uint32_t d = 0; d < dim; d++) {
            double error = (double)head_row(&x[3], 0, h, r)[d] - want[d];
            CHECK(error < tolerance && error > -tolerance);
        }
    }
}

/* Layout bits: q, k and v, out with heads inside the rows. The first run is checked by value, the
   others must have its bits. */
static void check_attention(uint32_t dtype, uint32_t dim, uint32_t window, double tolerance)
{
    static Q_ALIGNED(64) uint8_t caches[2][CAPACITY * KV_HEADS * MOST_DIM * 4];
    static float first[HEADS][TOKENS][MOST_DIM];
    q_op_attention_config config = {sizeof(config), 0, 0, 0.2f, 0};
    q_kv kv;
    size_t bytes = 0;
    memset(&kv, 0, sizeof(kv));
    kv.struct_size = sizeof(kv);
    kv.dtype = (uint8_t)dtype;
    kv.kv_heads = KV_HEADS;
    kv.head_dim = dim;
    kv.capacity = CAPACITY;
    kv.k = caches[0];
    kv.v = caches[1];
    config.window = window;
    CHECK_EQ(q_kv_bytes(&kv, &bytes, NULL), Q_OK);
    CHECK(bytes == (size_t)CAPACITY * KV_HEADS * dim / 16 * (dtype == Q_Q8_0  ? 17
                                                             : dtype == Q_F16 ? 32
                                                                              : 64));
    for (uint32_t how = 0; how < 8; how++) {
        q_tensor x[4];
        uint32_t heads[4] = {HEADS, KV_HEADS, KV_HEADS, HEADS};
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t bit = i == 0 ? 1 : i == 3 ? 4 : 2;
            x[i] = heads_view(ops_buffer(i), (how & bit) != 0, 1, heads[i], TOKENS, dim);
            for (uint32_t e = 0; i < 3 && e < heads[i] * TOKENS * dim; e++) {
                float v = (float)((e * 7919u + i * 31u) % 1009u) / 504.5f - 1.0f;
                head_row(&x[i], 0, e / dim / TOKENS, e / dim % TOKENS)[e % dim] = v;
            }
        }
        memset(caches, 0xff, sizeof(caches));
        run_attention(&kv, &config, x, how == 0 ? TOKENS : 1 + how * 13);
        if (how == 0) {
            check_close(x, &config, tolerance);
        }
        for (uint32_t i = 0; i < HEADS * TOKENS; i++) {
            float *row = head_row(&x[3], 0, i / TOKENS, i % TOKENS);
            if (how == 0) {
                memcpy(first[i / TOKENS][i % TOKENS], row, dim * sizeof(float));
            }
            CHECK(memcmp(first[i / TOKENS][i % TOKENS], row, dim * sizeof(float)) == 0);
        }
    }
}

/* A Q8_0 value of [-1, 1] is off by up to 1/254, and so is a score by a few thousandths. */
void ops_values_attention(void)
{
    rope_values();
    check_attention(Q_REAL, 24, 0, 1e-5);
    check_attention(Q_REAL, 24, 17, 1e-5);
    check_attention(Q_F16, 24, 0, 1e-3);
    check_attention(Q_F16, 24, 40, 1e-3);
    check_attention(Q_Q8_0, 32, 0, 1e-2);
    check_attention(Q_Q8_0, 32, 40, 1e-2);
}
