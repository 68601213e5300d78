/* SPDX-License-Identifier: MIT */
/*
 * attention_scores.c: s = scale * q.k, softcap c*tanh(s/c), of a chunk of keys by up to 12 slots.
 *
 * K lies as [pos/16][head_dim][16]: lanes are keys, one fma chain over head_dim per score. Tiles of
 * 6 slots by 16 keys, 3 by 32 or 1 by 64 keep 8 to 12 chains at work.
 */
#include "attention.h"
#include "elementary_avx2.h"

static inline __m256 flash_score(const flash_keys *keys, __m256 dot)
{
    __m256 s = _mm256_mul_ps(dot, _mm256_set1_ps(keys->scale));
    if (keys->softcap > 0) {
        __m256 c = _mm256_set1_ps(keys->softcap);
        s = _mm256_mul_ps(c, q_tanh_m256(_mm256_div_ps(s, c)));
    }
    return s;
}

/* Scores of `slots` slots by the 16 * `panels` keys from j, a multiple of 16. slots * panels <= 6.
   */
Q_AVX2_INLINE void flash_score_tile(const bool half, const uint32_t slots, const uint32_t panels,
                                    const flash_keys *keys, flash_space *space, uint32_t s0,
                                    uint32_t j)
{
    size_t stride = (size_t)keys->dim * 16u;
    size_t at = j / 16u * stride;
    const float *q[FLASH_TILE];
    __m256 c[FLASH_TILE][8];
    Q_AVX2_UNROLL
    for (uint32_t s = 0; s < slots; s++) {
        q[s] = space->slot[s0 + s].q;
        Q_AVX2_UNROLL
        for (uint32_t i = 0; i < 2u * panels; i++) {
            c[s][i] = _mm256_setzero_ps();
        }
    }
    for (uint32_t d = 0; d < keys->dim; d++) {
        __m256 k[8];
        Q_AVX2_UNROLL
        for (uint32_t i = 0; i < 2u * panels; i++) {
            k[i] = flash_load(half, keys->k, at + i / 2u * stride + i % 2u * 8u);
        }
        Q_AVX2_UNROLL
        for (uint32_t s = 0; s < slots; s++) {
            __m256 v = _mm256_broadcast_ss(q[s] + d);
            Q_AVX2_UNROLL
            for (uint32_t i = 0; i < 2u * panels; i++) {
                c[s][i] = _mm256_fmadd_ps(v, k[i], c[s][i]);
            }
        }
        at += 16;
    }
    Q_AVX2_UNROLL
    for (uint32_t s = 0; s < slots; s++) {
        Q_AVX2_UNROLL
        for (uint32_t i = 0; i < 2u * panels; i++) {
            _mm256_store_ps(space->p[s0 + s] + j % FLASH_CHUNK + i * 8u,
                            flash_score(keys, c[s][i]));
        }
    }
}

/* Scores of `slots` slots from s0 by the keys of the chunk, `panels` panels at a time. */
Q_AVX2_INLINE void flash_score_slots(const bool half, const uint32_t slots, const uint32_t panels,
                                     const flash_keys *keys, flash_space *space, uint32_t s0)
{
    uint32_t j = keys->from / 16u * 16u;
    for (; j + 16u * (panels - 1u) < keys->to; j += 16u * panels) {
        flash_score_tile(half, slots, panels, keys, space, s0, j);
    }
    for (; j < keys->to; j += 16u) {
        flash_score_tile(half, slots, 1, keys, space, s0, j);
    }
}

Q_AVX2_INLINE void flash_scores(const bool half, const flash_keys *keys, flash_space *space,
                                uint32_t n)
{
    uint32_t s = 0;
    for (; s + 6u <= n; s += 6) {
        flash_score_slots(half, 6, 1, keys, space, s);
    }
    for (; s + 3u <= n; s += 3) {
        flash_score_slots(half, 3, 2, keys, space, s);
    }
    for (; s < n; s++) {
        flash_score_slots(half, 1, 4, keys, space, s);
    }
}

void q_flash_scores_f32_avx2(const flash_keys *keys, flash_space *space, uint32_t n)
{
    flash_scores(false, keys, space, n);
}

void q_flash_scores_f16_avx2(const flash_keys *keys, flash_space *space, uint32_t n)
{
    flash_scores(true, keys, space, n);
}
