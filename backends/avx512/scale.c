/* SPDX-License-Identifier: MIT */
/*
 * scale.c: values times a factor, all of them or those that dropout keeps. Random numbers are drawn 16 blocks at a time.
 */
#include "qorus/base/random.h"
#include "kernels_avx512.h"

typedef struct dropout_bits {
    __m512i word[4];
} dropout_bits;

static inline dropout_bits dropout_same(uint32_t x)
{
    __m512i v = _mm512_set1_epi32((int)x);
    dropout_bits bits = {{v, v, v, v}};
    return bits;
}

/* Upper and lower halves of the products of 16 words with one. */
static inline void philox_multiply(__m512i x, uint32_t by, __m512i *high, __m512i *low)
{
    const __m512i factor = _mm512_set1_epi64((long long)by);
    __m512i even = _mm512_mul_epu32(x, factor);
    __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), factor);
    *high = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
    *low = _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
}

/* q_philox4x32 on 16 blocks: c[w] has word w of each. */
static inline void philox_rounds(const q_random_place *place, __m512i c[4])
{
    uint32_t k0 = (uint32_t)place->seed;
    uint32_t k1 = (uint32_t)(place->seed >> 32) ^ (uint32_t)(place->step >> 32);
    __m512i c0 = c[0];
    __m512i c1 = c[1];
    __m512i c2 = c[2];
    __m512i c3 = c[3];
    for (uint32_t round = 0; round < 10; round++) {
        __m512i ah;
        __m512i al;
        __m512i bh;
        __m512i bl;
        philox_multiply(c0, 0xD2511F53u, &ah, &al);
        philox_multiply(c2, 0xCD9E8D57u, &bh, &bl);
        c0 = _mm512_ternarylogic_epi32(bh, c1, _mm512_set1_epi32((int)k0), 0x96);
        c2 = _mm512_ternarylogic_epi32(ah, c3, _mm512_set1_epi32((int)k1), 0x96);
        c1 = bl;
        c3 = al;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    c[0] = c0;
    c[1] = c1;
    c[2] = c2;
    c[3] = c3;
}

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
