/* SPDX-License-Identifier: MIT */
/*
 * attention_scores.c: s = scale * q.k, softcap c*tanh(s/c), of a chunk of keys by up to 12 slots.
 *
 * K lies as [pos/16][head_dim][16]: a register is the 16 keys of a group, one fma chain over head_dim per score.
 * Tiles of 12 or 6 slots by 32 keys, 3 or 2 by 64, 1 by 128 keep 8 to 24 chains at work, and few streams of K open.
 * Q8_0 is made f32 on the way. Few slots fetch V of the same keys ahead, as values do K of the next chunk.
 */
#include "attention.h"

static inline __m512 attend_score(const q_attention_keys *keys, __m512 dot)
{
    __m512 s = _mm512_mul_ps(dot, _mm512_set1_ps(keys->scale));
    if (keys->softcap > 0) {
        __m512 c = _mm512_set1_ps(keys->softcap);
        s = _mm512_mul_ps(c, vec_tanh(_mm512_div_ps(s, c)));
    }
    return s;
}

/* The keys of the group at `g`, dimension d; scale: theirs, of the block of d, in Q8_0. */
X86_INLINE __m512 attend_key(const uint32_t kind, const uint8_t *g, uint32_t dim, uint32_t d, __m512 scale)
{
    size_t at = (size_t)d * 16u;
    if (kind == Q_Q8_0) {
        return attend_dequant(g + dim + at, scale);
    }
    return kind == Q_F16 ? vec_load_f16((const uint16_t *)(const void *)g + at)
                              : _mm512_loadu_ps((const float *)(const void *)g + at);
}

/* Scales of the block of dimension d for `panels` groups. */
X86_INLINE void attend_key_scales(const uint32_t kind, const uint32_t panels, const q_attention_keys *keys,
                                       const uint8_t *g, uint32_t d, __m512 scale[8])
{
    X86_UNROLL
    for (uint32_t i = 0; i < panels; i++) {
        const uint16_t *at = (const uint16_t *)(const void *)(g + i * keys->group);
        scale[i] = kind == Q_Q8_0 ? vec_load_f16(at + q_kv_q8_0_scale(0, d)) : _mm512_setzero_ps();
    }
}

/* Dimensions d .. to - 1, all of one block in Q8_0, of `slots` slots by the keys of `panels` groups. */
X86_INLINE void attend_score_block(const uint32_t kind, const uint32_t slots, const uint32_t panels,
                                        const q_attention_keys *keys, const q_attention_slot *slot,
                                        const uint8_t *g, uint32_t d, uint32_t to, __m512 c[Q_ATTENTION_SLOTS][8])
{
    __m512 scale[8];
    attend_key_scales(kind, panels, keys, g, d, scale);
    for (; d < to; d++) {
        __m512 k[8];
        if (slots <= 3u && panels > 1u) { /* few slots wait for memory: V of these keys comes next */
            size_t line = panels * 16u * attend_element(kind);
            attend_fetch(keys->v, (size_t)(g - keys->k) + d * line, line);
        }
        X86_UNROLL
        for (uint32_t i = 0; i < panels; i++) {
            k[i] = attend_key(kind, g + i * keys->group, keys->dim, d, scale[i]);
        }
        X86_UNROLL
        for (uint32_t s = 0; s < slots; s++) {
            __m512 v = _mm512_set1_ps(slot[s].q[d]);
            X86_UNROLL
            for (uint32_t i = 0; i < panels; i++) {
                c[s][i] = _mm512_fmadd_ps(v, k[i], c[s][i]);
            }
        }
    }
}

/* Scores of `slots` slots by the 16 * `panels` keys from j, a multiple of 16. slots * panels <= 24. */
X86_INLINE void attend_score_tile(const uint32_t kind, const uint32_t slots, const uint32_t panels,
                                       const q_attention_keys *keys, const q_attention_slot *slot,
                                       float (*p)[Q_ATTENTION_CHUNK], uint32_t j)
{
    const uint8_t *g = keys->k + j / 16u * keys->group;
    uint32_t step = kind == Q_Q8_0 ? (uint32_t)Q_BLOCK : keys->dim;
    __m512 c[Q_ATTENTION_SLOTS][8];
    X86_UNROLL
    for (uint32_t s = 0; s < slots; s++) {
        X86_UNROLL
        for (uint32_t i = 0; i < panels; i++) {
            c[s][i] = _mm512_setzero_ps();
        }
    }
    for (uint32_t d = 0; d < keys->dim; d += step) {
        attend_score_block(kind, slots, panels, keys, slot, g, d, d + step, c);
    }
    X86_UNROLL
    for (uint32_t s = 0; s < slots; s++) {
        X86_UNROLL
        for (uint32_t i = 0; i < panels; i++) {
            _mm512_store_ps(p[s] + j % Q_ATTENTION_CHUNK + i * 16u, attend_score(keys, c[s][i]));
        }
    }
}

/* Scores of `slots` slots by the keys of the chunk, `panels` groups at a time. */
X86_INLINE void attend_score_slots(const uint32_t kind, const uint32_t slots, const uint32_t panels,
                                        const q_attention_keys *keys, const q_attention_slot *slot,
                                        float (*p)[Q_ATTENTION_CHUNK])
{
    uint32_t j = keys->from / 16u * 16u;
    for (; j + 16u * (panels - 1u) < keys->to; j += 16u * panels) {
        attend_score_tile(kind, slots, panels, keys, slot, p, j);
    }
    for (; j < keys->to; j += 16u) {
        attend_score_tile(kind, slots, 1, keys, slot, p, j);
    }
}

X86_INLINE void attend_scores(const uint32_t kind, const q_attention_keys *keys, const q_attention_slot *slot,
                                   float (*p)[Q_ATTENTION_CHUNK], uint32_t n)
{
    uint32_t s = 0;
    for (; s + 12u <= n; s += 12) {
        attend_score_slots(kind, 12, 2, keys, slot + s, p + s);
    }
    for (; s + 6u <= n; s += 6) {
        attend_score_slots(kind, 6, 2, keys, slot + s, p + s);
    }
    for (; s + 3u <= n; s += 3) {
        attend_score_slots(kind, 3, 4, keys, slot + s, p + s);
    }
    for (; s + 2u <= n; s += 2) {
        attend_score_slots(kind, 2, 4, keys, slot + s, p + s);
    }
    for (; s < n; s++) {
        attend_score_slots(kind, 1, 8, keys, slot + s, p + s);
    }
}

void q_attend_scores_avx512(uint32_t kind, const q_attention_keys *keys, const q_attention_slot *slot,
                            float (*p)[Q_ATTENTION_CHUNK], uint32_t n)
{
    if (kind == Q_Q8_0) {
        attend_scores(Q_Q8_0, keys, slot, p, n);
    } else if (kind == Q_F16) {
        attend_scores(Q_F16, keys, slot, p, n);
    } else {
        attend_scores(Q_F32, keys, slot, p, n);
    }
}
