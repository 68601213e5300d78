/* SPDX-License-Identifier: MIT */
/*
 * attention_values.c: o = sum of p_j * v_j over a chunk of keys, and its merge into out.
 *
 * V lies as [pos][head_dim]: lanes are dimensions, j ascending, o in registers through the whole
 * chunk and rescaled before each block. Tiles of 6 slots by 16 dimensions, 3 by 32 or 1 by 64.
 */
#include "attention.h"

/* Values of consecutive keys, dimensions d .. of each; in Q8_0 all of one group. */
typedef struct flash_rows {
    const uint8_t *at; /* of the next key */
    size_t step;
    Q_ALIGNED(32) float scale[2][16]; /* Q8_0: of (block, position), 4 vectors to a block */
} flash_rows;

/* Opens the values from key j on. In Q8_0, head_dim is a multiple of 32 and d of 8*vectors, so that 4 vectors never
   lie in two blocks. */
X86_INLINE void flash_open_rows(const uint32_t kind, const uint32_t vectors,
                                   const q_attention_keys *keys, uint32_t j, uint32_t d, flash_rows *rows)
{
    if (kind != Q_Q8_0) {
        size_t element = kind == Q_F16 ? sizeof(uint16_t) : sizeof(float);
        rows->step = keys->dim * element;
        rows->at = keys->v + j * rows->step + d * element;
        return;
    }
    const uint8_t *g = keys->v + j / 16u * keys->group;
    rows->step = keys->dim;
    rows->at = g + (1u + j % 16u) * rows->step + d;
    X86_UNROLL
    for (uint32_t i = 0; i < vectors; i += 4u) {
        const uint16_t *scale = (const uint16_t *)(const void *)g + q_kv_q8_0_scale(0, d + i * 8u);
        _mm256_store_ps(rows->scale[i / 4u], vec_load_f16(scale));
        _mm256_store_ps(rows->scale[i / 4u] + 8, vec_load_f16(scale + 8));
    }
}

/* n < 8 values at p, of reals or halves. */
X86_INLINE __m256 flash_load_tail(const uint32_t kind, const uint8_t *p, uint32_t n)
{
    if (kind == Q_F16) {
        Q_ALIGNED(16) uint16_t h[8] = {0};
        memcpy(h, p, n * sizeof(uint16_t));
        return vec_load_f16(h);
    }
    return vec_load_n((const float *)(const void *)p, n);
}

/* Vector i of the next key, number j; n < 8 only in a tile of one vector. */
X86_INLINE __m256 flash_row_vector(const uint32_t kind, const flash_rows *rows, uint32_t j,
                                      const uint32_t i, uint32_t n)
{
    if (kind == Q_Q8_0) {
        return flash_dequant(rows->at + i * 8u, _mm256_broadcast_ss(&rows->scale[i / 4u][j % 16u]));
    }
    if (i == 0 && n < 8u) {
        return flash_load_tail(kind, rows->at, n);
    }
    return kind == Q_F16 ? vec_load_f16((const uint16_t *)(const void *)rows->at + i * 8u)
                             : _mm256_loadu_ps((const float *)(const void *)rows->at + i * 8u);
}

/* Keys j0 .. j1 - 1 by slots which all see them, or with `ragged` may not; in Q8_0 group by group. */
X86_INLINE void flash_add_values(const uint32_t kind, const uint32_t slots,
                                    const uint32_t vectors, const bool ragged,
                                    const q_attention_keys *keys, const q_attention_slot *slot,
                                    const float (*p)[Q_ATTENTION_CHUNK], uint32_t j0, uint32_t j1,
                                    uint32_t d, uint32_t n, __m256 c[FLASH_TILE][8])
{
    flash_rows rows;
    while (j0 < j1) {
        uint32_t end = kind == Q_Q8_0 ? q_attention_clamp((j0 / 16u + 1u) * 16u, j0, j1) : j1;
        flash_open_rows(kind, vectors, keys, j0, d, &rows);
        for (; j0 < end; j0++) {
            __m256 v[8];
            __m256 w[FLASH_TILE];
            const bool few = slots <= 3u && !ragged;
            X86_UNROLL
            for (uint32_t s = 0; s < slots && few; s++) {
                w[s] = _mm256_broadcast_ss(&p[s][j0 % Q_ATTENTION_CHUNK]);
            }
            X86_UNROLL
            for (uint32_t i = 0; i < vectors; i++) {
                v[i] = flash_row_vector(kind, &rows, j0, i, n);
                X86_UNROLL
                for (uint32_t s = 0; s < slots && few; s++) {
                    c[s][i] = _mm256_fmadd_ps(w[s], v[i], c[s][i]);
                }
            }
            X86_UNROLL
            for (uint32_t s = 0; s < slots && !few; s++) {
                if (!ragged || (slot[s].from <= j0 && j0 < slot[s].to)) {
                    w[s] = _mm256_broadcast_ss(&p[s][j0 % Q_ATTENTION_CHUNK]);
                    X86_UNROLL
                    for (uint32_t i = 0; i < vectors; i++) {
                        c[s][i] = _mm256_fmadd_ps(w[s], v[i], c[s][i]);
                    }
                }
            }
            if (slots <= 3u) {
                flash_ahead(rows.at);
            }
            rows.at += rows.step;
        }
    }
}

/* out = out*old + o*fresh, n <= 8 values; the first chunk of a slot is stored. */
static inline void flash_merge(const q_attention_slot *t, uint32_t d, uint32_t n, __m256 o)
{
    if (t->from >= t->to) {
        return;
    }
    if (t->from != t->lo) {
        __m256 before = _mm256_mul_ps(vec_load_n(t->out + d, n), _mm256_set1_ps(t->old));
        o = _mm256_add_ps(before, _mm256_mul_ps(o, _mm256_set1_ps(t->fresh)));
    }
    vec_store_n(t->out + d, n, o);
}

/*
 * Dimensions d .. d + 8*vectors - 1 (or + n - 1 where vectors is 1) of `slots` slots through the
 * chunk. A slot without a key in it collects values that are dropped.
 */
X86_INLINE void flash_value_tile(const uint32_t kind, const uint32_t slots,
                                    const uint32_t vectors, const q_attention_keys *keys,
                                    const q_attention_slot *slot, const float (*p)[Q_ATTENTION_CHUNK],
                                    uint32_t d, uint32_t n)
{
    uint32_t from;
    uint32_t to;
    __m256 c[FLASH_TILE][8];
    q_attention_common(slot, slots, &from, &to);
    X86_UNROLL
    for (uint32_t s = 0; s < slots; s++) {
        X86_UNROLL
        for (uint32_t i = 0; i < vectors; i++) {
            c[s][i] = _mm256_setzero_ps();
        }
    }
    for (uint32_t j = keys->from; j < keys->to;) {
        uint32_t block = j % Q_ATTENTION_CHUNK / Q_ATTENTION_BLOCK;
        uint32_t end = q_attention_clamp((j / Q_ATTENTION_BLOCK + 1u) * Q_ATTENTION_BLOCK, j, keys->to);
        uint32_t c0 = q_attention_clamp(from, j, end);
        uint32_t c1 = q_attention_clamp(to, c0, end);
        X86_UNROLL
        for (uint32_t s = 0; s < slots; s++) {
            __m256 factor = _mm256_broadcast_ss(&slot[s].rescale[block]);
            X86_UNROLL
            for (uint32_t i = 0; i < vectors; i++) {
                c[s][i] = _mm256_mul_ps(c[s][i], factor);
            }
        }
        flash_add_values(kind, slots, vectors, true, keys, slot, p, j, c0, d, n, c);
        flash_add_values(kind, slots, vectors, false, keys, slot, p, c0, c1, d, n, c);
        flash_add_values(kind, slots, vectors, true, keys, slot, p, c1, end, d, n, c);
        j = end;
    }
    X86_UNROLL
    for (uint32_t s = 0; s < slots; s++) {
        X86_UNROLL
        for (uint32_t i = 0; i < vectors; i++) {
            flash_merge(&slot[s], d + i * 8u, vectors == 1 ? n : 8u, c[s][i]);
        }
    }
}

/* All dimensions of `slots` slots, `vectors` vectors at a time. */
X86_INLINE void flash_value_slots(const uint32_t kind, const uint32_t slots,
                                     const uint32_t vectors, const q_attention_keys *keys,
                                     const q_attention_slot *slot, const float (*p)[Q_ATTENTION_CHUNK])
{
    uint32_t d = 0;
    for (; d + 8u * vectors <= keys->dim; d += 8u * vectors) {
        flash_value_tile(kind, slots, vectors, keys, slot, p, d, 8);
    }
    for (; d < keys->dim; d += 8u) {
        uint32_t n = keys->dim - d < 8u ? keys->dim - d : 8u;
        flash_value_tile(kind, slots, 1, keys, slot, p, d, n);
    }
}

X86_INLINE void flash_values(const uint32_t kind, const q_attention_keys *keys,
                                const q_attention_slot *slot, const float (*p)[Q_ATTENTION_CHUNK], uint32_t n)
{
    uint32_t s = 0;
    for (; s + 6u <= n; s += 6) {
        flash_value_slots(kind, 6, 2, keys, slot + s, p + s);
    }
    for (; s + 3u <= n; s += 3) {
        flash_value_slots(kind, 3, 4, keys, slot + s, p + s);
    }
    for (; s < n; s++) {
        flash_value_slots(kind, 1, 8, keys, slot + s, p + s);
    }
}

void q_flash_values_avx2(uint32_t kind, const q_attention_keys *keys, const q_attention_slot *slot,
                         const float (*p)[Q_ATTENTION_CHUNK], uint32_t n)
{
    if (kind == Q_Q8_0) {
        flash_values(Q_Q8_0, keys, slot, p, n);
    } else if (kind == Q_F16) {
        flash_values(Q_F16, keys, slot, p, n);
    } else {
        flash_values(Q_F32, keys, slot, p, n);
    }
}
