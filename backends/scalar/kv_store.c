/* SPDX-License-Identifier: MIT */
/*
 * kv_store.c: appends the keys and values of this step to one layer's cache.
 *
 * Token at position p of its sequence: K element d of head h goes to k_cache[h][p/16][d][p%16], V to
 * v_cache[h][p][d], both of that sequence; Q8_0 lies in groups of 16 positions, qorus/base/kv.h.
 */
#include "qorus/base/kv.h"
#include "scalar.h"

/* One head of one token: its values and where they go. */
typedef struct kv_token {
    const q_real *k; /* [head_dim] */
    const q_real *v;
    uint8_t *k_cache; /* of the head */
    uint8_t *v_cache;
    uint32_t position;
    uint32_t head_dim;
} kv_token;

/* Element of dimension 0 of K, the next one lies 16 on. */
static inline size_t kv_key_at(const kv_token *t)
{
    return (size_t)(t->position / 16u) * t->head_dim * 16u + t->position % 16u;
}

static void kv_token_real(const kv_token *t)
{
    q_real *ko = (q_real *)(void *)t->k_cache + kv_key_at(t);
    q_real *vo = (q_real *)(void *)t->v_cache + (size_t)t->position * t->head_dim;
    for (uint32_t d = 0; d < t->head_dim; d++) {
        ko[(size_t)d * 16u] = t->k[d];
        vo[d] = t->v[d];
    }
}

static void kv_token_half(const kv_token *t)
{
    uint16_t *ko = (uint16_t *)(void *)t->k_cache + kv_key_at(t);
    uint16_t *vo = (uint16_t *)(void *)t->v_cache + (size_t)t->position * t->head_dim;
    for (uint32_t d = 0; d < t->head_dim; d++) {
        ko[(size_t)d * 16u] = q_f16_from_f32((float)t->k[d]);
        vo[d] = q_f16_from_f32((float)t->v[d]);
    }
}

static float kv_abs(float x)
{
    return q_float_u32(q_bits_f32(x) & 0x7fffffffu);
}

/* v to an integer, half away from zero; NaN gives 0. |v| < 2^24 */
static int8_t kv_quant(float v)
{
    float a = kv_abs(v);
    if (!(v == v)) {
        return 0;
    }
    int32_t q = (int32_t)a;
    q += a - (float)q >= 0.5f ? 1 : 0;
    return (int8_t)(v < 0.0f ? -q : q);
}

/* One block of 32 values; quant i goes to q[i * step]. */
static void kv_block(const q_real *x, uint16_t *scale, uint8_t *q, size_t step)
{
    float amax = 0.0f;
    for (uint32_t i = 0; i < Q_BLOCK; i++) {
        float v = kv_abs((float)x[i]);
        amax = v > amax ? v : amax;
    }
    float d = amax / 127.0f;
    float inverse = d > 0.0f ? 1.0f / d : 0.0f;
    inverse = kv_abs(inverse) <= 0x1.fffffep127f ? inverse : 0.0f;
    *scale = q_f16_from_f32(d);
    for (uint32_t i = 0; i < Q_BLOCK; i++) {
        q[step * i] = (uint8_t)kv_quant((float)x[i] * inverse);
    }
}

static void kv_token_q8_0(const kv_token *t)
{
    size_t group = q_kv_q8_0_group(t->head_dim, t->position);
    uint32_t i = t->position % Q_KV_GROUP;
    uint16_t *ks = (uint16_t *)(void *)(t->k_cache + group);
    uint16_t *vs = (uint16_t *)(void *)(t->v_cache + group);
    uint8_t *kq = t->k_cache + group + t->head_dim + i;
    uint8_t *vq = t->v_cache + group + t->head_dim + (size_t)i * t->head_dim;
    for (uint32_t d = 0; d < t->head_dim; d += Q_BLOCK) {
        size_t at = q_kv_q8_0_scale(t->position, d);
        kv_block(t->k + d, ks + at, kq + (size_t)d * Q_KV_GROUP, Q_KV_GROUP);
        kv_block(t->v + d, vs + at, vq + d, 1);
    }
}

/* Units are (row, head). */
static inline void kv_store(const q_work *work, const q_kv_store_args *a, uint32_t dtype)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    size_t head = (size_t)q_kv_head_bytes(dtype, a->capacity, a->head_dim);
    uint32_t begin;
    uint32_t end;
    q_share(work, rows * a->kv_heads, &begin, &end);
    for (uint32_t u = begin; u < end; u++) {
        uint32_t r = u / a->kv_heads;
        uint32_t h = u % a->kv_heads;
        q_span span = q_part_of_row(work->run, rows, a->per_sample, r);
        kv_token t;
        t.k = scalar_row(a->k, a->k_stride, r) + (size_t)h * a->head_dim;
        t.v = scalar_row(a->v, a->v_stride, r) + (size_t)h * a->head_dim;
        t.k_cache = (uint8_t *)a->k_cache + span.sequence * a->sequence_stride + h * head;
        t.v_cache = (uint8_t *)a->v_cache + span.sequence * a->sequence_stride + h * head;
        t.position = span.position + (r - span.row);
        t.head_dim = a->head_dim;
        if (dtype == Q_Q8_0) {
            kv_token_q8_0(&t);
        } else if (dtype == Q_F16) {
            kv_token_half(&t);
        } else {
            kv_token_real(&t);
        }
    }
}

void q_kv_store_f32_scalar(const q_work *work, const q_kv_store_args *a)
{
    kv_store(work, a, Q_REAL);
}

void q_kv_store_f16_scalar(const q_work *work, const q_kv_store_args *a)
{
    kv_store(work, a, Q_F16);
}

void q_kv_store_q8_0_scalar(const q_work *work, const q_kv_store_args *a)
{
    kv_store(work, a, Q_Q8_0);
}
