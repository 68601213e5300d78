/* SPDX-License-Identifier: MIT */
/*
 * half.h: binary16 and bfloat16 from and to binary32, in integer arithmetic.
 *
 * To a half: round to nearest even, overflow to infinity, subnormals rounded like any other value.
 * A NaN stays a NaN: the upper bits of its payload are kept and it is made quiet. To a float:
 * exact; a NaN of binary16 is made quiet, one of bfloat16 keeps all its bits. The binary16 forms
 * give the bits of the F16C instructions.
 */
#ifndef QORUS_BASE_HALF_H
#define QORUS_BASE_HALF_H

#include "bits.h"

static inline float q_f32_from_f16(uint16_t h)
{
    uint32_t sign = ((uint32_t)h & 0x8000u) << 16;
    uint32_t e = ((uint32_t)h >> 10) & 0x1fu;
    uint32_t m = (uint32_t)h & 0x3ffu;
    if (e == 0x1fu) {
        return q_float_u32(sign | 0x7f800000u | (m << 13) | (m != 0 ? 0x400000u : 0u));
    }
    if (e != 0) {
        return q_float_u32(sign | ((e + 112u) << 23) | (m << 13));
    }
    if (m == 0) {
        return q_float_u32(sign);
    }
    /* m * 2^-24, m < 2^10: shift until the leading bit becomes the implicit one */
    e = 113;
    while ((m & 0x400u) == 0) {
        m <<= 1;
        e -= 1u;
    }
    return q_float_u32(sign | (e << 23) | ((m & 0x3ffu) << 13));
}

static inline uint16_t q_f16_from_f32(float x)
{
    uint32_t u = q_bits_f32(x);
    uint32_t sign = (u >> 16) & 0x8000u;
    uint32_t a = u & 0x7fffffffu;
    uint32_t r;
    if (a > 0x7f800000u) {
        r = 0x7e00u | ((a >> 13) & 0x3ffu);
    } else if (a >= 0x477ff000u) { /* 65520, halfway between the largest f16 and 2^16 */
        r = 0x7c00u;
    } else if (a >= 0x38800000u) { /* 2^-14, the smallest normal f16 */
        r = (a - 0x38000000u + 0xfffu + ((a >> 13) & 1u)) >> 13;
    } else if (a <= 0x33000000u) { /* 2^-25, halfway to the smallest subnormal; ties to zero */
        r = 0;
    } else {
        /* x = m * 2^(e - 150) in units of 2^-24: m >> (126 - e), 14 <= shift <= 24 */
        uint32_t m = (a & 0x7fffffu) | 0x800000u;
        uint32_t shift = 126u - (a >> 23);
        uint32_t rest = m & ((1u << shift) - 1u);
        uint32_t half = 1u << (shift - 1u);
        r = m >> shift;
        r += (rest > half || (rest == half && (r & 1u) != 0)) ? 1u : 0u;
    }
    return (uint16_t)(sign | r);
}

static inline float q_f32_from_bf16(uint16_t b)
{
    return q_float_u32((uint32_t)b << 16);
}

static inline uint16_t q_bf16_from_f32(float x)
{
    uint32_t u = q_bits_f32(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)((u >> 16) | 0x40u);
    }
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

#endif /* QORUS_BASE_HALF_H */
