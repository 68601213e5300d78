/* SPDX-License-Identifier: MIT */
/*
 * vec.h: the vector vocabulary on AVX-512, for the kernels that stand once, in backends/x86. avx2/vec.h spells the same
 * names.
 *
 *   vec        16 floats, one register: elementwise work         VEC of them
 *   vec16      the same: the 16 lanes of a sum, in every backend's order
 *   vec_lanes   a choice of lanes
 *   vec_tail   the first n lanes, in the form loads and stores want: made once, before a loop
 *   veci    16 integers;  vec_power: 16 integers n, as floats, that stand for 2^n
 *
 * No memory is touched beyond the n lanes of a load or store, or outside its mask; n may exceed the lanes.
 */
#ifndef QORUS_BACKENDS_AVX512_VEC_H
#define QORUS_BACKENDS_AVX512_VEC_H

#include "../x86/x86.h"
#include "avx512.h"
#include "qorus/base/elementary.h"

typedef __m512 vec;
typedef __mmask16 vec_lanes;
typedef __mmask16 vec_tail;
typedef __m512i veci;
typedef __m512 vec_power;

enum { VEC = 16 };

/* -- arithmetic -------------------------------------------------------------------------------- */

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

static inline vec vec_sqrt(vec a)
{
    return _mm512_sqrt_ps(a);
}

/* a*b + c, one rounding. */
static inline vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* a*b - c */
static inline vec vec_fms(vec a, vec b, vec c)
{
    return _mm512_fmsub_ps(a, b, c);
}

/* c - a*b */
static inline vec vec_fnma(vec a, vec b, vec c)
{
    return _mm512_fnmadd_ps(a, b, c);
}

/* -(a*b) - c */
static inline vec vec_fnms(vec a, vec b, vec c)
{
    return _mm512_fnmsub_ps(a, b, c);
}

/* a > b ? a : b; where one is NaN, b. */
static inline vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

/* a < b ? a : b; where one is NaN, b. */
static inline vec vec_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}

static inline vec vec_negate(vec x)
{
    return _mm512_xor_ps(x, _mm512_set1_ps(-0.0f));
}

static inline vec vec_abs(vec x)
{
    return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), x);
}

/* |x| with the sign of s. */
static inline vec vec_copysign(vec x, vec s)
{
    vec sign = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(sign, x), _mm512_and_ps(sign, s));
}

/* -- masks ------------------------------------------------------------------------------------- */

/* The first n lanes; n >= 16 gives all. */
static inline vec_lanes vec_first(uint32_t n)
{
    return avx512_mask(n);
}

/* False where one is NaN. */
static inline vec_lanes vec_above(vec a, vec b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}

static inline vec_lanes vec_below(vec a, vec b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}

static inline vec_lanes vec_equal(vec a, vec b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}

static inline vec_lanes vec_nan(vec a)
{
    return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
}

static inline vec_lanes vec_either(vec_lanes a, vec_lanes b)
{
    return (vec_lanes)(a | b);
}

static inline vec_lanes vec_both(vec_lanes a, vec_lanes b)
{
    return (vec_lanes)(a & b);
}

/* a without b. */
static inline vec_lanes vec_without(vec_lanes a, vec_lanes b)
{
    return (vec_lanes)(a & ~(uint32_t)b);
}

/* x in the lanes of m, else 0. */
static inline vec vec_keep(vec_lanes m, vec x)
{
    return _mm512_maskz_mov_ps(m, x);
}

/* yes in the lanes of m, else no. */
static inline vec vec_choose(vec_lanes m, vec yes, vec no)
{
    return _mm512_mask_blend_ps(m, no, yes);
}

/* -- memory ------------------------------------------------------------------------------------ */

static inline vec vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void vec_store(float *p, vec v)
{
    _mm512_storeu_ps(p, v);
}

/* The lanes of m, the rest 0. */
static inline vec vec_load_mask(const float *p, vec_lanes m)
{
    return _mm512_maskz_loadu_ps(m, p);
}

static inline void vec_store_mask(float *p, vec_lanes m, vec v)
{
    _mm512_mask_storeu_ps(p, m, v);
}

/* The first n lanes, the rest 0. */
static inline vec vec_load_n(const float *p, uint32_t n)
{
    return n >= 16u ? vec_load(p) : vec_load_mask(p, vec_first(n));
}

static inline void vec_store_n(float *p, uint32_t n, vec v)
{
    if (n >= 16u) {
        vec_store(p, v);
    } else {
        vec_store_mask(p, vec_first(n), v);
    }
}

static inline vec_tail vec_tail_of(uint32_t n)
{
    return avx512_mask(n);
}

static inline vec vec_load_tail(const float *p, vec_tail t)
{
    return vec_load_mask(p, t);
}

static inline void vec_store_tail(float *p, vec_tail t, vec v)
{
    vec_store_mask(p, t, v);
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

/* Asks for the cache line of p. */
static inline void vec_fetch(const float *p)
{
    _mm_prefetch((const char *)p, _MM_HINT_T0);
}

/* -- integers and powers of two ---------------------------------------------------------------- */

static inline veci vec_bits(vec x)
{
    return _mm512_castps_si512(x);
}

static inline vec vec_of_bits(veci i)
{
    return _mm512_castsi512_ps(i);
}

static inline vec vec_of_int(veci i)
{
    return _mm512_cvtepi32_ps(i);
}

static inline veci veci_set(int32_t i)
{
    return _mm512_set1_epi32(i);
}

static inline veci veci_add(veci a, veci b)
{
    return _mm512_add_epi32(a, b);
}

static inline veci veci_sub(veci a, veci b)
{
    return _mm512_sub_epi32(a, b);
}

/* Logical. */
X86_INLINE veci veci_down(veci a, int bits)
{
    return _mm512_srli_epi32(a, (unsigned)bits);
}

X86_INLINE veci veci_up(veci a, int bits)
{
    return _mm512_slli_epi32(a, (unsigned)bits);
}

static inline veci veci_keep(vec_lanes m, veci a)
{
    return _mm512_maskz_mov_epi32(m, a);
}

/* 2^k of an integer k, |k| < 256, and k + 1.5 * 2^23, the float whose low bits it is. */
static inline vec_power vec_power_of(vec k, vec shifted)
{
    (void)shifted;
    return k;
}

static inline vec_power vec_power_keep(vec_lanes m, vec_power n)
{
    return vec_keep(m, n);
}

/* n + 1 */
static inline vec_power vec_power_next(vec_power n)
{
    return _mm512_add_ps(n, _mm512_set1_ps(1.0f));
}

/* 2^n itself, n > -127. */
static inline vec vec_power_value(vec_power n)
{
    return _mm512_scalef_ps(_mm512_set1_ps(1.0f), n);
}

/* x * 2^n with the one rounding of q_scale_f32. */
static inline vec vec_scale(vec x, vec_power n)
{
    return _mm512_scalef_ps(x, n);
}

/* -- squares ----------------------------------------------------------------------------------- */

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

/* veci: a group of 4 columns by VEC rows: a byte each, or a nibble in the low half of one */

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

#include "../x86/elementary.h"
#include "vec16.h"

#endif /* QORUS_BACKENDS_AVX512_VEC_H */
