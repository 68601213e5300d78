/* SPDX-License-Identifier: MIT */
/*
 * kv_store.c: appends the keys and values of this step to one layer's cache.
 *
 * Token at position p: K element d of head h goes to k_cache[h][p/16][d][p%16], V to
 * v_cache[h][p][d].
 */
#include "scalar.h"

static void kv_store_head_f32(const q_kv_store_args *a, uint32_t h, uint32_t p, const q_real *k,
                              const q_real *v)
{
    size_t head = (size_t)h * a->capacity * a->head_dim;
    q_real *ko = (q_real *)a->k_cache + head + (size_t)(p / 16u) * a->head_dim * 16u + p % 16u;
    q_real *vo = (q_real *)a->v_cache + head + (size_t)p * a->head_dim;
    for (uint32_t d = 0; d < a->head_dim; d++) {
        ko[(size_t)d * 16u] = k[d];
        vo[d] = v[d];
    }
}

static void kv_store_head_f16(const q_kv_store_args *a, uint32_t h, uint32_t p, const q_real *k,
                              const q_real *v)
{
    size_t head = (size_t)h * a->capacity * a->head_dim;
    uint16_t *ko = (uint16_t *)a->k_cache + head + (size_t)(p / 16u) * a->head_dim * 16u + p % 16u;
    uint16_t *vo = (uint16_t *)a->v_cache + head + (size_t)p * a->head_dim;
    for (uint32_t d = 0; d < a->head_dim; d++) {
        ko[(size_t)d * 16u] = q_f16_from_f32((float)k[d]);
        vo[d] = q_f16_from_f32((float)v[d]);
    }
}

static inline void kv_store(const q_work *work, const q_kv_store_args *a, bool half)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows) * a->kv_heads, &begin, &end);
    for (uint32_t u = begin; u < end; u++) {
        uint32_t r = u / a->kv_heads;
        uint32_t h = u % a->kv_heads;
        uint32_t p = work->run->position + r;
        const q_real *k = scalar_row(a->k, a->k_stride, r) + (size_t)h * a->head_dim;
        const q_real *v = scalar_row(a->v, a->v_stride, r) + (size_t)h * a->head_dim;
        if (half) {
            kv_store_head_f16(a, h, p, k, v);
        } else {
            kv_store_head_f32(a, h, p, k, v);
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
