/* SPDX-License-Identifier: MIT */
/*
 * vec.h: a register of 8 floats, under the names that avx512/vec.h gives to one of 16. Bodies in backends/x86 are written
 * in them.
 */
#ifndef QORUS_BACKENDS_AVX2_VEC_H
#define QORUS_BACKENDS_AVX2_VEC_H

#include "../x86/x86.h"
#include "avx2.h"

enum { VEC = 8 }; /* lanes */

typedef __m256 vec;

/* Mask of the first n lanes of 8; n >= 8 gives all. */
static inline __m256i vec_mask(uint32_t n)
{
    return q_mask_first_m256i(n < 8u ? n : 8u);
}

static inline vec vec_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline void vec_store(float *p, vec v)
{
    _mm256_storeu_ps(p, v);
}

/* The first n <= 8 floats at p, the rest 0; memory beyond them is not touched. */
static inline vec vec_load_n(const float *p, uint32_t n)
{
    return n >= 8u ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, vec_mask(n));
}

static inline void vec_store_n(float *p, uint32_t n, vec v)
{
    if (n >= 8u) {
        _mm256_storeu_ps(p, v);
    } else {
        _mm256_maskstore_ps(p, vec_mask(n), v);
    }
}

/* 8 halves at p, any alignment. */
static inline vec vec_load_f16(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline vec vec_load_bf16(const uint16_t *p)
{
    __m256i v = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(v, 16));
}

static inline vec vec_zero(void)
{
    return _mm256_setzero_ps();
}

static inline vec vec_set(float x)
{
    return _mm256_set1_ps(x);
}

static inline vec vec_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

static inline vec vec_sub(vec a, vec b)
{
    return _mm256_sub_ps(a, b);
}

static inline vec vec_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}

static inline vec vec_div(vec a, vec b)
{
    return _mm256_div_ps(a, b);
}

/* a*b + c, rounded once. */
static inline vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* a > b ? a : b. */
static inline vec vec_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

/* v[i] lane l = former v[l] lane i. */
static inline void vec_turn(vec v[VEC])
{
    __m256 t[8];
    X86_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(v[2 * i], v[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(v[2 * i], v[2 * i + 1]);
    }
    X86_UNROLL
    for (uint32_t i = 0; i < 2; i++) {
        v[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        v[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        v[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        v[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    X86_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x31);
    }
    X86_UNROLL
    for (uint32_t i = 0; i < 8; i++) {
        v[i] = t[i];
    }
}

/* -- packed weights ---------------------------------------------------------------------------- */

typedef __m256i veci; /* a group of 4 columns by VEC rows: a byte each, or a nibble in the low half of one */

static inline veci veci_load(const uint8_t *p)
{
    return _mm256_load_si256((const __m256i *)(const void *)p);
}

static inline veci veci_high_nibbles(veci q)
{
    return _mm256_srli_epi32(q, 4);
}

/* Column i of the group, sign-extended, as floats. */
X86_INLINE vec veci_signed_column(veci q, const uint32_t i)
{
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(q, (int)(24u - 8u * i)), 24));
}

X86_INLINE vec veci_nibble_column(veci q, const uint32_t i)
{
    return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(q, (int)(8u * i)), _mm256_set1_epi32(15)));
}

#endif /* QORUS_BACKENDS_AVX2_VEC_H */
