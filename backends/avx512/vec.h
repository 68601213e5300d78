/* SPDX-License-Identifier: MIT */
/*
 * vec.h: a register of 16 floats, under the names that avx2/vec.h gives to one of 8. Bodies in backends/x86 are written in
 * them.
 */
#ifndef QORUS_BACKENDS_AVX512_VEC_H
#define QORUS_BACKENDS_AVX512_VEC_H

#include "../x86/x86.h"
#include "avx512.h"

enum { VEC = 16 }; /* lanes */

typedef __m512 vec;

static inline vec vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void vec_store(float *p, vec v)
{
    _mm512_storeu_ps(p, v);
}

/* The first n <= 16 floats at p, the rest 0; memory beyond them is not touched. */
static inline vec vec_load_n(const float *p, uint32_t n)
{
    return n >= 16u ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(avx512_mask(n), p);
}

static inline void vec_store_n(float *p, uint32_t n, vec v)
{
    if (n >= 16u) {
        _mm512_storeu_ps(p, v);
    } else {
        _mm512_mask_storeu_ps(p, avx512_mask(n), v);
    }
}

/* 16 halves at p, any alignment. */
static inline vec vec_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static inline vec vec_load_bf16(const uint16_t *p)
{
    __m512i v = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
}

static inline vec vec_zero(void)
{
    return _mm512_setzero_ps();
}

static inline vec vec_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

static inline vec vec_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}

static inline vec vec_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

static inline vec vec_div(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}

/* a*b + c, rounded once. */
static inline vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* a > b ? a : b. */
static inline vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

/* v[i] lane l = former v[l] lane i. */
X86_INLINE void vec_turn(vec v[VEC])
{
    __m512 t[16];
    X86_UNROLL
    for (uint32_t i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]);
    }
    X86_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        v[4 * i] = _mm512_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        v[4 * i + 1] = _mm512_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        v[4 * i + 2] = _mm512_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        v[4 * i + 3] = _mm512_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    X86_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0xdd);
    }
    X86_UNROLL
    for (uint32_t i = 0; i < 8; i++) {
        v[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        v[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    }
}

/* -- packed weights ---------------------------------------------------------------------------- */

typedef __m512i veci; /* a group of 4 columns by VEC rows: a byte each, or a nibble in the low half of one */

static inline veci veci_load(const uint8_t *p)
{
    return _mm512_load_si512((const __m512i *)(const void *)p);
}

static inline veci veci_high_nibbles(veci q)
{
    return _mm512_srli_epi32(q, 4);
}

/* Column i of the group, sign-extended, as floats. */
X86_INLINE vec veci_signed_column(veci q, const uint32_t i)
{
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(q, (24u - 8u * i)), 24));
}

X86_INLINE vec veci_nibble_column(veci q, const uint32_t i)
{
    return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(q, (8u * i)), _mm512_set1_epi32(15)));
}

#endif /* QORUS_BACKENDS_AVX512_VEC_H */
