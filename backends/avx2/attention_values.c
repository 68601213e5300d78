/* SPDX-License-Identifier: MIT */
/*
 * attention_values.c: o = sum of p_j * v_j over a chunk of keys, and its merge into out.
 *
 * V lies as [pos][head_dim]: lanes are dimensions, j ascending, o in registers through the whole
 * chunk and rescaled before each block. Tiles of 6 slots by 16 dimensions, 3 by 32 or 1 by 64.
 */
#include "attention.h"

/* n <= 8 values from element i of the V cache. */
Q_AVX2_INLINE __m256 flash_load_tail(const bool half, const void *v, size_t i, uint32_t n)
{
    if (half) {
        Q_ALIGNED(16) uint16_t h[8] = {0};
        memcpy(h, (const uint16_t *)v + i, n * sizeof(uint16_t));
        return avx2_load_f16(h);
    }
    return avx2_load_n((const float *)v + i, n);
}

/* The vectors of one key's dimensions d .. ; n < 8 only where vectors is 1. */
Q_AVX2_INLINE void flash_load_value(const bool half, const uint32_t vectors, const flash_keys *keys,
                                    uint32_t j, uint32_t d, uint32_t n, __m256 v[8])
{
    size_t at = (size_t)j * keys->dim + d;
    if (vectors == 1 && n < 8u) {
        v[0] = flash_load_tail(half, keys->v, at, n);
        return;
    }
    Q_AVX2_UNROLL
    for (uint32_t i = 0; i < vectors; i++) {
        v[i] = flash_load(half, keys->v, at + i * 8u);
    }
}

/* Keys j0 .. j1 - 1 by slots which do not all see them. */
Q_AVX2_INLINE void flash_ragged(const bool half, const uint32_t slots, const uint32_t vectors,
                                const flash_keys *keys, const flash_slot *slot,
                                const float (*p)[FLASH_CHUNK], uint32_t j0, uint32_t j1, uint32_t d,
                                uint32_t n, __m256 c[FLASH_TILE][8])
{
    for (uint32_t j = j0; j < j1; j++) {
        __m256 v[8];
        flash_load_value(half, vectors, keys, j, d, n, v);
        Q_AVX2_UNROLL
        for (uint32_t s = 0; s < slots; s++) {
            if (slot[s].from <= j && j < slot[s].to) {
                __m256 w = _mm256_broadcast_ss(&p[s][j % FLASH_CHUNK]);
                Q_AVX2_UNROLL
                for (uint32_t i = 0; i < vectors; i++) {
                    c[s][i] = _mm256_fmadd_ps(w, v[i], c[s][i]);
                }
            }
        }
    }
}

/* Keys j0 .. j1 - 1, seen by every slot that takes part in this chunk. */
Q_AVX2_INLINE void flash_common(const bool half, const uint32_t slots, const uint32_t vectors,
                                const flash_keys *keys, const float (*p)[FLASH_CHUNK], uint32_t j0,
                                uint32_t j1, uint32_t d, uint32_t n, __m256 c[FLASH_TILE][8])
{
    for (uint32_t j = j0; j < j1; j++) {
        __m256 v[8];
        flash_load_value(half, vectors, keys, j, d, n, v);
        Q_AVX2_UNROLL
        for (uint32_t s = 0; s < slots; s++) {
            __m256 w = _mm256_broadcast_ss(&p[s][j % FLASH_CHUNK]);
            Q_AVX2_UNROLL
            for (uint32_t i = 0; i < vectors; i++) {
                c[s][i] = _mm256_fmadd_ps(w, v[i], c[s][i]);
            }
        }
    }
}

/* out = out*old + o*fresh, n <= 8 values; the first chunk of a slot is stored. */
static inline void flash_merge(const flash_slot *t, uint32_t d, uint32_t n, __m256 o)
{
    if (t->from >= t->to) {
        return;
    }
    if (t->from != t->lo) {
        __m256 before = _mm256_mul_ps(avx2_load_n(t->out + d, n), _mm256_set1_ps(t->old));
        o = _mm256_add_ps(before, _mm256_mul_ps(o, _mm256_set1_ps(t->fresh)));
    }
    avx2_store_n(t->out + d, n, o);
}

/* The keys of the chunk that every slot with a part in it sees; empty ranges come out as from >=
   to. */
static void flash_common_range(const flash_slot *slot, uint32_t slots, uint32_t *from, uint32_t *to)
{
    *from = 0;
    *to = UINT32_MAX;
    for (uint32_t s = 0; s < slots; s++) {
        if (slot[s].from < slot[s].to) {
            *from = slot[s].from > *from ? slot[s].from : *from;
            *to = slot[s].to < *to ? slot[s].to : *to;
        }
    }
}

/*
 * Dimensions d .. d + 8*vectors - 1 (or + n - 1 where vectors is 1) of `slots` slots through the
 * chunk. A slot without a key in it collects values that are dropped.
 */
Q_AVX2_INLINE void flash_value_tile(const bool half, const uint32_t slots, const uint32_t vectors,
                                    const flash_keys *keys, const flash_space *space, uint32_t s0,
                                    uint32_t d, uint32_t n)
{
    const flash_slot *slot = &space->slot[s0];
    const float(*p)[FLASH_CHUNK] = &space->p[s0];
    uint32_t from;
    uint32_t to;
    __m256 c[FLASH_TILE][8];
    flash_common_range(slot, slots, &from, &to);
    Q_AVX2_UNROLL
    for (uint32_t s = 0; s < slots; s++) {
        Q_AVX2_UNROLL
        for (uint32_t i = 0; i < vectors; i++) {
            c[s][i] = _mm256_setzero_ps();
        }
    }
    for (uint32_t j = keys->from; j < keys->to;) {
        uint32_t block = j % FLASH_CHUNK / FLASH_BLOCK;
        uint32_t end = flash_clamp((j / FLASH_BLOCK + 1u) * FLASH_BLOCK, j, keys->to);
        uint32_t c0 = flash_clamp(from, j, end);
        uint32_t c1 = flash_clamp(to, c0, end);
        Q_AVX2_UNROLL
        for (uint32_t s = 0; s < slots; s++) {
            __m256 factor = _mm256_broadcast_ss(&slot[s].rescale[block]);
            Q_AVX2_UNROLL
            for (uint32_t i = 0; i < vectors; i++) {
                c[s][i] = _mm256_mul_ps(c[s][i], factor);
            }
        }
        flash_ragged(half, slots, vectors, keys, slot, p, j, c0, d, n, c);
        flash_common(half, slots, vectors, keys, p, c0, c1, d, n, c);
        flash_ragged(half, slots, vectors, keys, slot, p, c1, end, d, n, c);
        j = end;
    }
    Q_AVX2_UNROLL
    for (uint32_t s = 0; s < slots; s++) {
        Q_AVX2_UNROLL
        for (uint32_t i = 0; i < vectors; i++) {
            flash_merge(&slot[s], d + i * 8u, vectors == 1 ? n : 8u, c[s][i]);
        }
    }
}

/* All dimensions of `slots` slots, `vectors` vectors at a time. */
Q_AVX2_INLINE void flash_value_slots(const bool half, const uint32_t slots, const uint32_t vectors,
                                     const flash_keys *keys, const flash_space *space, uint32_t s0)
{
    uint32_t d = 0;
    for (; d + 8u * vectors <= keys->dim; d += 8u * vectors) {
        flash_value_tile(half, slots, vectors, keys, space, s0, d, 8);
    }
    for (; d < keys->dim; d += 8u) {
        uint32_t n = keys->dim - d < 8u ? keys->dim - d : 8u;
        flash_value_tile(half, slots, 1, keys, space, s0, d, n);
    }
}

Q_AVX2_INLINE void flash_values(const bool half, const flash_keys *keys, const flash_space *space,
                                uint32_t n)
{
    uint32_t s = 0;
    for (; s + 6u <= n; s += 6) {
        flash_value_slots(half, 6, 2, keys, space, s);
    }
    for (; s + 3u <= n; s += 3) {
        flash_value_slots(half, 3, 4, keys, space, s);
    }
    for (; s < n; s++) {
        flash_value_slots(half, 1, 8, keys, space, s);
    }
}

void q_flash_values_f32_avx2(const flash_keys *keys, const flash_space *space, uint32_t n)
{
    flash_values(false, keys, space, n);
}

void q_flash_values_f16_avx2(const flash_keys *keys, const flash_space *space, uint32_t n)
{
    flash_values(true, keys, space, n);
}
