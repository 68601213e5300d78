/* SPDX-License-Identifier: MIT */
/*
 * avx2.h: what every file of this folder includes: the intrinsics, and reductions in the fixed
 * order.
 *
 * Private to backends/avx2. Compiled with -mavx2 -mfma -mf16c -ffp-contract=off.
 */
#ifndef QORUS_BACKENDS_AVX2_AVX2_H
#define QORUS_BACKENDS_AVX2_AVX2_H

/* GCC's immintrin.h reaches for <stdlib.h> through mm_malloc.h; nothing here allocates. */
#ifndef _MM_MALLOC_H_INCLUDED
#define _MM_MALLOC_H_INCLUDED
#endif
#include <immintrin.h>

#include "qorus_types.h"

/* The tree over lanes 0..7: i with i + 4, then 2, then 1. */
static inline float q_hsum8_m256(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    s = _mm_add_ss(s, _mm_movehdup_ps(s));
    return _mm_cvtss_f32(s);
}

/* Sum of 16 lanes, 0..7 in lo and 8..15 in hi, by the tree 8-4-2-1 of every backend. */
static inline float q_hsum16_m256(__m256 lo, __m256 hi)
{
    return q_hsum8_m256(_mm256_add_ps(lo, hi));
}

/*
 * Greatest of the lanes by the same trees, each step a > b ? a : b with a the lower lane: that
 * decides between zeros of different sign and lets a NaN through only as b.
 */
static inline float q_hmax8_m256(__m256 v)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    s = _mm_max_ss(s, _mm_movehdup_ps(s));
    return _mm_cvtss_f32(s);
}

static inline float q_hmax16_m256(__m256 lo, __m256 hi)
{
    return q_hmax8_m256(_mm256_max_ps(lo, hi));
}

/* Exact sum of eight 32-bit integers, wrapping. */
static inline int32_t q_hsum8_m256i(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

/* Mask for the first n of 8 lanes, 0 <= n <= 8, as _mm256_maskload_ps wants it. */
static inline __m256i q_mask_first_m256i(uint32_t n)
{
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)n), lane);
}

/* Largest of 16 lanes by the tree; max_ps(a, b) is a > b ? a : b, the upper half first, as in the
   scalar backend: that settles the sign of a zero. */
static inline float avx2_lane_max(__m256 lo, __m256 hi)
{
    __m256 a = _mm256_max_ps(hi, lo);
    __m128 b = _mm_max_ps(_mm256_extractf128_ps(a, 1), _mm256_castps256_ps128(a));
    __m128 c = _mm_max_ps(_mm_movehl_ps(b, b), b);
    return _mm_cvtss_f32(_mm_max_ss(_mm_movehdup_ps(c), c));
}

#endif /* QORUS_BACKENDS_AVX2_AVX2_H */
