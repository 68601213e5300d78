/* SPDX-License-Identifier: MIT */
/*
 * vec.h: the vector vocabulary on AVX2, for the kernels that stand once, in backends/x86. avx512/vec.h spells the same
 * names.
 *
 *   vec        8 floats, one register: elementwise work          VEC of them
 *   vec16      16 floats, two registers: the lanes of a sum, in every backend's order
 *   vec_lanes   a choice of lanes
 *   vec_tail   the first n lanes, in the form loads and stores want: made once, before a loop
 *   veci    8 integers;  vec_power: 8 integers n that stand for 2^n
 *
 * No memory is touched beyond the n lanes of a load or store, or outside its mask; n may exceed the lanes.
 */
#ifndef QORUS_BACKENDS_AVX2_VEC_H
#define QORUS_BACKENDS_AVX2_VEC_H

#include "../x86/x86.h"
#include "avx2.h"
#include "qorus/base/elementary.h"

typedef __m256 vec;
typedef __m256 vec_lanes;
typedef uint32_t vec_tail;
typedef __m256i veci;
typedef __m256i vec_power;

enum { VEC = 8 };

/* -- arithmetic -------------------------------------------------------------------------------- */

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

static inline vec vec_sqrt(vec a)
{
    return _mm256_sqrt_ps(a);
}

/* a*b + c, one rounding. */
static inline vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* a*b - c */
static inline vec vec_fms(vec a, vec b, vec c)
{
    return _mm256_fmsub_ps(a, b, c);
}

/* c - a*b */
static inline vec vec_fnma(vec a, vec b, vec c)
{
    return _mm256_fnmadd_ps(a, b, c);
}

/* -(a*b) - c */
static inline vec vec_fnms(vec a, vec b, vec c)
{
    return _mm256_fnmsub_ps(a, b, c);
}

/* a > b ? a : b; where one is NaN, b. */
static inline vec vec_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

/* a < b ? a : b; where one is NaN, b. */
static inline vec vec_min(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}

static inline vec vec_negate(vec x)
{
    return _mm256_xor_ps(x, _mm256_set1_ps(-0.0f));
}

static inline vec vec_abs(vec x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

/* |x| with the sign of s. */
static inline vec vec_copysign(vec x, vec s)
{
    vec sign = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(sign, x), _mm256_and_ps(sign, s));
}

/* -- masks ------------------------------------------------------------------------------------- */

/* Mask of the first n lanes of 8; n >= 8 gives all. */
static inline __m256i vec_mask(uint32_t n)
{
    return q_mask_first_m256i(n < 8u ? n : 8u);
}

/* The first n lanes; n >= 8 gives all. */
static inline vec_lanes vec_first(uint32_t n)
{
    return _mm256_castsi256_ps(vec_mask(n));
}

/* False where one is NaN. */
static inline vec_lanes vec_above(vec a, vec b)
{
    return _mm256_cmp_ps(a, b, _CMP_GT_OQ);
}

static inline vec_lanes vec_below(vec a, vec b)
{
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}

static inline vec_lanes vec_equal(vec a, vec b)
{
    return _mm256_cmp_ps(a, b, _CMP_EQ_OQ);
}

static inline vec_lanes vec_nan(vec a)
{
    return _mm256_cmp_ps(a, a, _CMP_UNORD_Q);
}

static inline vec_lanes vec_either(vec_lanes a, vec_lanes b)
{
    return _mm256_or_ps(a, b);
}

static inline vec_lanes vec_both(vec_lanes a, vec_lanes b)
{
    return _mm256_and_ps(a, b);
}

/* a without b. */
static inline vec_lanes vec_without(vec_lanes a, vec_lanes b)
{
    return _mm256_andnot_ps(b, a);
}

/* x in the lanes of m, else 0. */
static inline vec vec_keep(vec_lanes m, vec x)
{
    return _mm256_and_ps(m, x);
}

/* yes in the lanes of m, else no. */
static inline vec vec_choose(vec_lanes m, vec yes, vec no)
{
    return _mm256_blendv_ps(no, yes, m);
}

/* -- memory ------------------------------------------------------------------------------------ */

static inline vec vec_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline void vec_store(float *p, vec v)
{
    _mm256_storeu_ps(p, v);
}

/* The lanes of m, the rest 0. */
static inline vec vec_load_mask(const float *p, vec_lanes m)
{
    return _mm256_maskload_ps(p, _mm256_castps_si256(m));
}

static inline void vec_store_mask(float *p, vec_lanes m, vec v)
{
    _mm256_maskstore_ps(p, _mm256_castps_si256(m), v);
}

/* The first n lanes, the rest 0. */
static inline vec vec_load_n(const float *p, uint32_t n)
{
    return n >= 8u ? vec_load(p) : vec_load_mask(p, vec_first(n));
}

static inline void vec_store_n(float *p, uint32_t n, vec v)
{
    if (n >= 8u) {
        vec_store(p, v);
    } else {
        vec_store_mask(p, vec_first(n), v);
    }
}

static inline vec_tail vec_tail_of(uint32_t n)
{
    return n;
}

static inline vec vec_load_tail(const float *p, vec_tail t)
{
    return vec_load_n(p, t);
}

static inline void vec_store_tail(float *p, vec_tail t, vec v)
{
    vec_store_n(p, t, v);
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

/* Asks for the cache line of p. */
static inline void vec_fetch(const float *p)
{
    _mm_prefetch((const char *)p, _MM_HINT_T0);
}

/* -- integers and powers of two ---------------------------------------------------------------- */

static inline veci vec_bits(vec x)
{
    return _mm256_castps_si256(x);
}

static inline vec vec_of_bits(veci i)
{
    return _mm256_castsi256_ps(i);
}

static inline vec vec_of_int(veci i)
{
    return _mm256_cvtepi32_ps(i);
}

static inline veci veci_set(int32_t i)
{
    return _mm256_set1_epi32(i);
}

static inline veci veci_add(veci a, veci b)
{
    return _mm256_add_epi32(a, b);
}

static inline veci veci_sub(veci a, veci b)
{
    return _mm256_sub_epi32(a, b);
}

/* Logical. */
X86_INLINE veci veci_down(veci a, int bits)
{
    return _mm256_srli_epi32(a, bits);
}

X86_INLINE veci veci_up(veci a, int bits)
{
    return _mm256_slli_epi32(a, bits);
}

static inline veci veci_keep(vec_lanes m, veci a)
{
    return _mm256_and_si256(_mm256_castps_si256(m), a);
}

/* 2^k of an integer k, |k| < 256, and k + 1.5 * 2^23, the float whose low bits it is. */
static inline vec_power vec_power_of(vec k, vec shifted)
{
    (void)k;
    veci low = _mm256_add_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(256));
    low = _mm256_and_si256(low, _mm256_set1_epi32(511));
    return _mm256_sub_epi32(low, _mm256_set1_epi32(256));
}

static inline vec_power vec_power_keep(vec_lanes m, vec_power n)
{
    return veci_keep(m, n);
}

/* n + 1 */
static inline vec_power vec_power_next(vec_power n)
{
    return _mm256_add_epi32(n, _mm256_set1_epi32(1));
}

/* 2^n itself, n > -127. */
static inline vec vec_power_value(vec_power n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

/* x * 2^n by the two factors 2^floor(n/2) and 2^(n - floor(n/2)) of q_scale_f32. */
static inline vec vec_scale(vec x, vec_power n)
{
    veci sum = _mm256_add_epi32(n, _mm256_set1_epi32(254));
    veci n1 = _mm256_srli_epi32(sum, 1);
    veci n2 = _mm256_sub_epi32(sum, n1);
    x = _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(n1, 23)));
    return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(n2, 23)));
}

/* -- squares ----------------------------------------------------------------------------------- */

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

/* veci: a group of 4 columns by VEC rows: a byte each, or a nibble in the low half of one */

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

#include "../x86/elementary.h"
#include "vec16.h"

#endif /* QORUS_BACKENDS_AVX2_VEC_H */
