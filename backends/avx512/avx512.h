/* SPDX-License-Identifier: MIT */
/*
 * avx512.h: what every file of this folder includes: the intrinsics and the masks of tails.
 *
 * Private to backends/avx512. Compiled with -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma
 * -mf16c -ffp-contract=off.
 */
#ifndef QORUS_BACKENDS_AVX512_AVX512_H
#define QORUS_BACKENDS_AVX512_AVX512_H

/* GCC's immintrin.h reaches for <stdlib.h> through mm_malloc.h; nothing here allocates. */
#ifndef _MM_MALLOC_H_INCLUDED
#define _MM_MALLOC_H_INCLUDED
#endif
#include <immintrin.h>

#include "qorus_types.h"

/* Mask of the first n of 16 lanes; n >= 16 gives all. */
static inline __mmask16 avx512_mask(uint32_t n)
{
    return (__mmask16)(n >= 16u ? 0xffffu : (1u << n) - 1u);
}

/* Sum of 16 lanes by the tree 8-4-2-1 of every backend. */
static inline float avx512_lane_sum(__m512 v)
{
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* Largest of 16 lanes by the tree; max_ps(a, b) is a > b ? a : b, the upper half first, as in the scalar backend: that
   settles the sign of a zero. */
static inline float avx512_lane_max(__m512 v)
{
    __m256 a = _mm256_max_ps(_mm512_extractf32x8_ps(v, 1), _mm512_castps512_ps256(v));
    __m128 s = _mm_max_ps(_mm256_extractf128_ps(a, 1), _mm256_castps256_ps128(a));
    s = _mm_max_ps(_mm_movehl_ps(s, s), s);
    return _mm_cvtss_f32(_mm_max_ss(_mm_movehdup_ps(s), s));
}

#endif /* QORUS_BACKENDS_AVX512_AVX512_H */
