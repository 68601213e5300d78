/* SPDX-License-Identifier: MIT */
/*
 * scale.c: values times a factor, all of them or those that dropout keeps. Random numbers are drawn 8 blocks at a time.
 */
#include "qorus/base/random.h"
#include "kernels_avx2.h"

typedef __m256i words; /* 8 of 32 bits */

typedef struct dropout_bits {
    words word[4];
} dropout_bits;

static inline dropout_bits dropout_same(uint32_t x)
{
    __m256i v = _mm256_set1_epi32((int)x);
    dropout_bits bits = {{v, v, v, v}};
    return bits;
}

static inline void philox_multiply(words x, uint32_t by, words *high, words *low)
{
    const __m256i factor = _mm256_set1_epi64x((long long)by);
    __m256i even = _mm256_mul_epu32(x, factor);
    __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), factor);
    *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    *low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
}

static inline words philox_mix(words a, words b, uint32_t key)
{
    return _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_set1_epi32((int)key));
}

#include "../x86/philox.h"

/* Blocks are given to lanes so that unpacking the words leaves 2 neighbours in each register. */
static inline dropout_bits dropout_draw(const q_random_place *place, uint32_t block)
{
    const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    __m256i c[4];
    dropout_bits bits;
    c[0] = _mm256_add_epi32(_mm256_set1_epi32((int)block), order);
    c[1] = _mm256_set1_epi32((int)place->sample);
    c[2] = _mm256_set1_epi32((int)place->node);
    c[3] = _mm256_set1_epi32((int)(uint32_t)place->step);
    philox_rounds(place, c);
    {
        __m256i t0 = _mm256_unpacklo_epi32(c[0], c[1]);
        __m256i t1 = _mm256_unpackhi_epi32(c[0], c[1]);
        __m256i t2 = _mm256_unpacklo_epi32(c[2], c[3]);
        __m256i t3 = _mm256_unpackhi_epi32(c[2], c[3]);
        bits.word[0] = _mm256_unpacklo_epi64(t0, t2);
        bits.word[1] = _mm256_unpackhi_epi64(t0, t2);
        bits.word[2] = _mm256_unpacklo_epi64(t1, t3);
        bits.word[3] = _mm256_unpackhi_epi64(t1, t3);
    }
    return bits;
}

/* Both numbers are below 2^31. */
static inline vec dropout_keep(__m256i bits, uint32_t threshold, vec y)
{
    __m256i dropped = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)threshold), _mm256_srli_epi32(bits, 8));
    return _mm256_andnot_ps(_mm256_castsi256_ps(dropped), y);
}

#include "../x86/scale.h"

void q_scale_avx2(const q_work *work, const q_scale_args *a)
{
    scale_rows(work, a);
}

void q_dropout_avx2(const q_work *work, const q_dropout_args *a)
{
    dropout_rows(work, a);
}
