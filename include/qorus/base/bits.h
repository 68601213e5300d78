/* SPDX-License-Identifier: MIT */
/*
 * bits.h: floating-point numbers seen as bit patterns, and the arithmetic the library takes for
 * granted.
 *
 * Everything assumes IEEE binary32 and binary64, each operation rounded to its own type, round to
 * nearest even, and subnormals kept (no FTZ, no DAZ). Where a compiler says otherwise, it stops
 * here.
 */
#ifndef QORUS_BASE_BITS_H
#define QORUS_BASE_BITS_H

#include "../../qorus_types.h"

#if defined(__FAST_MATH__)
#error "Qorus-IA needs IEEE arithmetic: compile without -ffast-math"
#endif
#if defined(__FLT_EVAL_METHOD__)
#if __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
#error "Qorus-IA needs float and double arithmetic: on 32-bit x86 use -msse2 -mfpmath=sse"
#endif
#endif

static inline uint32_t q_bits_f32(float x)
{
    union {
        float f;
        uint32_t u;
    } v;
    v.f = x;
    return v.u;
}

static inline float q_float_u32(uint32_t u)
{
    union {
        uint32_t u;
        float f;
    } v;
    v.u = u;
    return v.f;
}

static inline uint64_t q_bits_f64(double x)
{
    union {
        double f;
        uint64_t u;
    } v;
    v.f = x;
    return v.u;
}

static inline double q_double_u64(uint64_t u)
{
    union {
        uint64_t u;
        double f;
    } v;
    v.u = u;
    return v.f;
}

/* |x| and x with the sign of s; also right for zeros, infinities and NaN. */
static inline float q_abs_f32(float x)
{
    return q_float_u32(q_bits_f32(x) & 0x7fffffffu);
}

static inline double q_abs_f64(double x)
{
    return q_double_u64(q_bits_f64(x) & 0x7fffffffffffffffu);
}

static inline float q_copysign_f32(float x, float s)
{
    return q_float_u32((q_bits_f32(x) & 0x7fffffffu) | (q_bits_f32(s) & 0x80000000u));
}

static inline double q_copysign_f64(double x, double s)
{
    return q_double_u64((q_bits_f64(x) & 0x7fffffffffffffffu) |
                        (q_bits_f64(s) & 0x8000000000000000u));
}

/* High and low half of the exact product of two 64-bit numbers. */
static inline void q_mul_u64_wide(uint64_t a, uint64_t b, uint64_t *high, uint64_t *low)
{
    uint64_t a0 = a & 0xffffffffu;
    uint64_t a1 = a >> 32;
    uint64_t b0 = b & 0xffffffffu;
    uint64_t b1 = b >> 32;
    uint64_t p00 = a0 * b0;
    uint64_t p01 = a0 * b1;
    uint64_t p10 = a1 * b0;
    uint64_t mid = (p00 >> 32) + (p01 & 0xffffffffu) + (p10 & 0xffffffffu);
    *low = (mid << 32) | (p00 & 0xffffffffu);
    *high = a1 * b1 + (p01 >> 32) + (p10 >> 32) + (mid >> 32);
}

#endif /* QORUS_BASE_BITS_H */
