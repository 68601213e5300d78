/* SPDX-License-Identifier: MIT */
/*
 * kv_store.c: appends the keys and values of this step to one layer's cache.
 *
 * Token at position p of its sequence: K element d of head h goes to k_cache[h][p/16][d][p%16], V to
 * v_cache[h][p][d], both of that sequence.
 */
#include "scalar.h"

/* One head of one token: its values and where they go. */
typedef struct kv_token {
    const q_real *k; /* [head_dim] */
    const q_real *v;
    void *k_cache; /* of the sequence */
    void *v_cache;
    size_t k_at; /* element of dimension 0; the next one lies 16 on */
    size_t v_at; /* element of dimension 0 */
} kv_token;

static void kv_store_head_f32(const kv_token *t, uint32_t head_dim)
{
    q_real *ko = (q_real *)t->k_cache + t->k_at;
    q_real *vo = (q_real *)t->v_cache + t->v_at;
    for (uint32_t d = 0; d < head_dim; d++) {
        ko[(size_t)d * 16u] = t->k[d];
        vo[d] = t->v[d];
    }
}

static void kv_store_head_f16(const kv_token *t, uint32_t head_dim)
{
    uint16_t *ko = (uint16_t *)t->k_cache + t->k_at;
    uint16_t *vo = (uint16_t *)t->v_cache + t->v_at;
    for (uint32_t d = 0; d < head_dim; d++) {
        ko[(size_t)d * 16u] = q_f16_from_f32((float)t->k[d]);
        vo[d] = q_f16_from_f32((float)t->v[d]);
    }
}

static inline void kv_store(const q_work *work, const q_kv_store_args *a, bool half)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, rows * a->kv_heads, &begin, &end);
    for (uint32_t u = begin; u < end; u++) {
        uint32_t r = u / a->kv_heads;
        uint32_t h = u % a->kv_heads;
        q_span span = q_span_of_row(work->run, rows, r);
        uint32_t p = span.position + (r - span.row);
        size_t head = (size_t)h * a->capacity * a->head_dim;
        kv_token t;
        t.k = scalar_row(a->k, a->k_stride, r) + (size_t)h * a->head_dim;
        t.v = scalar_row(a->v, a->v_stride, r) + (size_t)h * a->head_dim;
        t.k_cache = (uint8_t *)a->k_cache + span.sequence * a->sequence_stride;
        t.v_cache = (uint8_t *)a->v_cache + span.sequence * a->sequence_stride;
        t.k_at = head + (size_t)(p / 16u) * a->head_dim * 16u + p % 16u;
        t.v_at = head + (size_t)p * a->head_dim;
        if (half) {
            kv_store_head_f16(&t, a->head_dim);
        } else {
            kv_store_head_f32(&t, a->head_dim);
        }
    }
}

void q_kv_store_f32_scalar(const q_work *work, const q_kv_store_args *a)
{
    kv_store(work, a, false);
}

void q_kv_store_f16_scalar(const q_work *work, const q_kv_store_args *a)
{
    kv_store(work, a, true);
}
