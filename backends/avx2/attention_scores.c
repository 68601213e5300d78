/* SPDX-License-Identifier: MIT */
/*
 * attention_scores.c: s = scale * q.k, softcap c*tanh(s/c), of a chunk of keys by up to 12 slots.
 *
 * K lies as [pos/16][head_dim][16]: lanes are keys, one fma chain over head_dim per score. Tiles of
 * 6 slots by 16 keys, 3 by 32 or 1 by 64 keep 8 to 12 chains at work. Q8_0 is made f32 on the way.
 */
#include "attention.h"

static inline __m256 flash_score(const q_attention_keys *keys, __m256 dot)
{
    __m256 s = _mm256_mul_ps(dot, _mm256_set1_ps(keys->scale));
    if (keys->softcap > 0) {
        __m256 c = _mm256_set1_ps(keys->softcap);
        s = _mm256_mul_ps(c, vec_tanh(_mm256_div_ps(s, c)));
    }
    return s;
}

/* Keys 8*i .. 8*i + 7 of the group at `g`, dimension d; scale: theirs, of the block of d, in Q8_0. */
X86_INLINE __m256 flash_key(const uint32_t kind, const uint8_t *g, uint32_t dim, uint32_t d,
                               uint32_t i, __m256 scale)
{
    size_t at = (size_t)d * 16u + i * 8u;
    if (kind == Q_Q8_0) {
        return flash_dequant(g + dim + at, scale);
    }
    return kind == Q_F16 ? vec_load_f16((const uint16_t *)(const void *)g + at)
                             : _mm256_loadu_ps((const float *)(const void *)g + at);
}

/* Scales of the block of dimension d for `panels` groups. */
X86_INLINE void flash_key_scales(const uint32_t kind, const uint32_t panels,
                                    const q_attention_keys *keys, const uint8_t *g, uint32_t d,
                                    __m256 scale[8])
{
    X86_UNROLL
    for (uint32_t i = 0; i < 2u * panels; i++) {
        const uint16_t *at = (const uint16_t *)(const void *)(g + i / 2u * keys->group);
        scale[i] = kind == Q_Q8_0 ? vec_load_f16(at + q_kv_q8_0_scale(0, d) + i % 2u * 8u)
                                      : _mm256_setzero_ps();
    }
}

/* Dimensions d .. to - 1, all of one block in Q8_0, of `slots` slots by the keys of `panels` groups. */
X86_INLINE void flash_score_block(const uint32_t kind, const uint32_t slots,
                                     const uint32_t panels, const q_attention_keys *keys,
                                     const q_attention_slot *slot, const uint8_t *g, uint32_t d,
                                     uint32_t to, __m256 c[FLASH_TILE][8])
{
    const float *q[FLASH_TILE];
    __m256 scale[8];
    flash_key_scales(kind, panels, keys, g, d, scale);
    X86_UNROLL
    for (uint32_t s = 0; s < slots; s++) {
        q[s] = slot[s].q;
    }
    for (; d < to; d++) {
        __m256 v[FLASH_TILE];
        __m256 k[8];
        X86_UNROLL
        for (uint32_t i = 0; i < panels && slots <= 3u; i++) {
            flash_ahead(g + i * keys->group + keys->group / keys->dim * d);
        }
        X86_UNROLL
        for (uint32_t s = 0; s < slots && slots <= 3u; s++) {
            v[s] = _mm256_broadcast_ss(q[s] + d);
        }
        X86_UNROLL
        for (uint32_t i = 0; i < 2u * panels; i++) {
            k[i] = flash_key(kind, g + i / 2u * keys->group, keys->dim, d, i % 2u, scale[i]);
            X86_UNROLL
            for (uint32_t s = 0; s < slots && slots <= 3u; s++) {
                c[s][i] = _mm256_fmadd_ps(v[s], k[i], c[s][i]);
            }
        }
        X86_UNROLL
        for (uint32_t s = 0; s < slots && slots > 3u; s++) {
            v[s] = _mm256_broadcast_ss(q[s] + d);
            X86_UNROLL
            for (uint32_t i = 0; i < 2u * panels; i++) {
                c[s][i] = _mm256_fmadd_ps(v[s], k[i], c[s][i]);
            }
        }
    }
}

/* Scores of `slots` slots by the 16 * `panels` keys from j, a multiple of 16. slots * panels <= 6. */
X86_INLINE void flash_score_tile(const uint32_t kind, const uint32_t slots,
                                    const uint32_t panels, const q_attention_keys *keys,
                                    const q_attention_slot *slot, float (*p)[Q_ATTENTION_CHUNK], uint32_t j)
{
    const uint8_t *g = keys->k + j / 16u * keys->group;
    uint32_t step = kind == Q_Q8_0 ? (uint32_t)Q_BLOCK : keys->dim;
    __m256 c[FLASH_TILE][8];
    X86_UNROLL
    for (uint32_t s = 0; s < slots; s++) {
        X86_UNROLL
        for (uint32_t i = 0; i < 2u * panels; i++) {
            c[s][i] = _mm256_setzero_ps();
        }
    }
    for (uint32_t d = 0; d < keys->dim; d += step) {
        flash_score_block(kind, slots, panels, keys, slot, g, d, d + step, c);
    }
    X86_UNROLL
    for (uint32_t s = 0; s < slots; s++) {
        X86_UNROLL
        for (uint32_t i = 0; i < 2u * panels; i++) {
            _mm256_store_ps(p[s] + j % Q_ATTENTION_CHUNK + i * 8u, flash_score(keys, c[s][i]));
        }
    }
}

/* Scores of `slots` slots by the keys of the chunk, `panels` panels at a time. */
X86_INLINE void flash_score_slots(const uint32_t kind, const uint32_t slots,
                                     const uint32_t panels, const q_attention_keys *keys,
                                     const q_attention_slot *slot, float (*p)[Q_ATTENTION_CHUNK])
{
    uint32_t j = keys->from / 16u * 16u;
    for (; j + 16u * (panels - 1u) < keys->to; j += 16u * panels) {
        flash_score_tile(kind, slots, panels, keys, slot, p, j);
    }
    for (; j < keys->to; j += 16u) {
        flash_score_tile(kind, slots, 1, keys, slot, p, j);
    }
}

X86_INLINE void flash_scores(const uint32_t kind, const q_attention_keys *keys,
                                const q_attention_slot *slot, float (*p)[Q_ATTENTION_CHUNK], uint32_t n)
{
    uint32_t s = 0;
    for (; s + 6u <= n; s += 6) {
        flash_score_slots(kind, 6, 1, keys, slot + s, p + s);
    }
    for (; s + 3u <= n; s += 3) {
        flash_score_slots(kind, 3, 2, keys, slot + s, p + s);
    }
    for (; s < n; s++) {
        flash_score_slots(kind, 1, 4, keys, slot + s, p + s);
    }
}

void q_flash_scores_avx2(uint32_t kind, const q_attention_keys *keys, const q_attention_slot *slot,
                         float (*p)[Q_ATTENTION_CHUNK], uint32_t n)
{
    if (kind == Q_Q8_0) {
        flash_scores(Q_Q8_0, keys, slot, p, n);
    } else if (kind == Q_F16) {
        flash_scores(Q_F16, keys, slot, p, n);
    } else {
        flash_scores(Q_F32, keys, slot, p, n);
    }
}
