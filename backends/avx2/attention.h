/* SPDX-License-Identifier: MIT */
/*
 * attention.h: what the three passes of attention share; see attention.c. kind: element type of the cache, a constant
 * wherever code is made for it.
 */
#ifndef Q_ATTENTION_AVX2_H
#define Q_ATTENTION_AVX2_H

#include "kernels_avx2.h"
#include "qorus/base/attention.h"

enum {
    FLASH_TILE = 6,
    FLASH_AHEAD = 4096, /* bytes */
};

typedef struct flash_space {
    float p[Q_ATTENTION_SLOTS][Q_ATTENTION_CHUNK];
    q_attention_slot slot[Q_ATTENTION_TILES * Q_ATTENTION_SLOTS];
} flash_space;

Q_STATIC_ASSERT(sizeof(flash_space) <= Q_AVX2_WORKSPACE, "weights and slots fit the workspace");

/* Scores s = scale * q.k (capped) of all keys of the chunk, by n slots, into p. */
void q_flash_scores_avx2(uint32_t kind, const q_attention_keys *keys, const q_attention_slot *slot,
                         float (*p)[Q_ATTENTION_CHUNK], uint32_t n);

/* out = out*old + fresh * (sum of p_j * v_j over the chunk) of n slots. */
void q_flash_values_avx2(uint32_t kind, const q_attention_keys *keys, const q_attention_slot *slot,
                         const float (*p)[Q_ATTENTION_CHUNK], uint32_t n);

/* Fetches what lies FLASH_AHEAD bytes behind p: with few slots a cache streams through faster than
   the CPU foresees. A prefetch of any address is harmless. */
X86_INLINE void flash_ahead(const uint8_t *p)
{
    _mm_prefetch((const char *)((uintptr_t)p + FLASH_AHEAD), _MM_HINT_T0);
}

/* Eight i8 at p, times a scale. */
X86_INLINE __m256 flash_dequant(const uint8_t *p, __m256 scale)
{
    __m256i q = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(q), scale);
}

#endif /* Q_ATTENTION_AVX2_H */
