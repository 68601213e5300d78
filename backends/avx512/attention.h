/* SPDX-License-Identifier: MIT */
/*
 * attention.h: what the three passes of attention share; see attention.c. kind: element type of the cache, a constant
 * wherever code is made for it.
 */
#ifndef Q_ATTENTION_AVX512_H
#define Q_ATTENTION_AVX512_H

#include "kernels_avx512.h"
#include "qorus/base/attention.h"

typedef struct attend_space {
    float p[Q_ATTENTION_SLOTS][Q_ATTENTION_CHUNK];
    q_attention_slot slot[Q_ATTENTION_TILES * Q_ATTENTION_SLOTS];
} attend_space;

Q_STATIC_ASSERT(sizeof(attend_space) <= Q_AVX512_WORKSPACE, "weights and slots fit the workspace");

/* Scores s = scale * q.k (capped) of all keys of the chunk, by n slots, into p. */
void q_attend_scores_avx512(uint32_t kind, const q_attention_keys *keys, const q_attention_slot *slot,
                            float (*p)[Q_ATTENTION_CHUNK], uint32_t n);

/* out = out*old + fresh * (sum of p_j * v_j over the chunk) of n slots. */
void q_attend_values_avx512(uint32_t kind, const q_attention_keys *keys, const q_attention_slot *slot,
                            const float (*p)[Q_ATTENTION_CHUNK], uint32_t n);

/* Sixteen i8 at p, times a scale. */
X86_INLINE __m512 attend_dequant(const uint8_t *p, __m512 scale)
{
    __m512i q = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(q), scale);
}

/* Bytes of an element, those of scales apart. */
X86_INLINE size_t attend_element(const uint32_t kind)
{
    return kind == Q_Q8_0 ? 1u : kind == Q_F16 ? sizeof(uint16_t) : sizeof(float);
}

/* Fetches the lines of n bytes, `from` bytes into one part of the cache, that will be read next in another part. */
X86_INLINE void attend_fetch(const uint8_t *part, size_t from, size_t n)
{
    X86_UNROLL
    for (size_t i = 0; i < n; i += 64) {
        _mm_prefetch((const char *)((uintptr_t)part + from + i), _MM_HINT_T1);
    }
}

#endif /* Q_ATTENTION_AVX512_H */
