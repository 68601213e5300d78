/* SPDX-License-Identifier: MIT */
/*
 * scale.c: values times a factor, all of them or those that dropout keeps. Random numbers are drawn 16 blocks at a time.
 */
#include "qorus/base/random.h"
#include "kernels_avx512.h"

typedef __m512i words; /* 16 of 32 bits */

typedef struct dropout_bits {
    words word[4];
} dropout_bits;

static inline dropout_bits dropout_same(uint32_t x)
{
    __m512i v = _mm512_set1_epi32((int)x);
    dropout_bits bits = {{v, v, v, v}};
    return bits;
}

static inline void philox_multiply(words x, uint32_t by, words *high, words *low)
{
    const __m512i factor = _mm512_set1_epi64((long long)by);
    __m512i even = _mm512_mul_epu32(x, factor);
    __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), factor);
    *high = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
    *low = _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
}

static inline words philox_mix(words a, words b, uint32_t key)
{
    return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi32((int)key), 0x96);
}

#include "../x86/philox.h"

/* Blocks are given to lanes so that unpacking the words leaves 4 neighbours in each register. */
static inline dropout_bits dropout_draw(const q_random_place *place, uint32_t block)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i c[4];
    dropout_bits bits;
    c[0] = _mm512_add_epi32(_mm512_set1_epi32((int)block), order);
    c[1] = _mm512_set1_epi32((int)place->sample);
    c[2] = _mm512_set1_epi32((int)place->node);
    c[3] = _mm512_set1_epi32((int)(uint32_t)place->step);
    philox_rounds(place, c);
    {
        __m512i t0 = _mm512_unpacklo_epi32(c[0], c[1]);
        __m512i t1 = _mm512_unpackhi_epi32(c[0], c[1]);
        __m512i t2 = _mm512_unpacklo_epi32(c[2], c[3]);
        __m512i t3 = _mm512_unpackhi_epi32(c[2], c[3]);
        bits.word[0] = _mm512_unpacklo_epi64(t0, t2);
        bits.word[1] = _mm512_unpackhi_epi64(t0, t2);
        bits.word[2] = _mm512_unpacklo_epi64(t1, t3);
        bits.word[3] = _mm512_unpackhi_epi64(t1, t3);
    }
    return bits;
}

static inline vec dropout_keep(__m512i bits, uint32_t threshold, vec y)
{
    __mmask16 kept = _mm512_cmpge_epu32_mask(_mm512_srli_epi32(bits, 8), _mm512_set1_epi32((int)threshold));
    return _mm512_maskz_mov_ps(kept, y);
}

#include "../x86/scale.h"

void q_scale_avx512(const q_work *work, const q_scale_args *a)
{
    scale_rows(work, a);
}

void q_dropout_avx512(const q_work *work, const q_dropout_args *a)
{
    dropout_rows(work, a);
}
