/* SPDX-License-Identifier: MIT */
/*
 * elementary_trig.h: sine and cosine in double, for every argument.
 *
 * Error below 1 ULP however large the argument is (measured in docs/NUMERICS.md). Only + - * / and
 * integers, in one fixed order, so every target gives the same bits. The float forms round these.
 */
#ifndef QORUS_BASE_ELEMENTARY_TRIG_H
#define QORUS_BASE_ELEMENTARY_TRIG_H

#include "exact_f64.h"

/* 192 bits of 2/pi behind 64 zeros, from bit `first` on (1 is the first of the zeros); first <=
   1034. */
static inline void q_two_over_pi(uint32_t first, uint64_t w[3])
{
    static const uint64_t bits[20] = {
        0, 0xa2f9836e4e441529u, 0xfc2757d1f534ddc0u, 0xdb6295993c439041u, 0xfe5163abdebbc561u,
        0xb7246e3a424dd2e0u, 0x06492eea09d1921cu, 0xfe1deb1cb129a73eu, 0xe88235f52ebb4484u,
        0xe99c7026b45f7e41u, 0x3991d639835339f4u, 0x9c845f8bbdf9283bu, 0x1ff897ffde05980fu,
        0xef2f118b5a0a6d1fu, 0x6d367ecf27cb09b7u, 0x4f463f669e5fea2du, 0x7527bac7ebe5f17bu,
        0x3d0739f78a5292eau, 0x6bfb5fb11f8d5d08u, 0x56033046fc7b6babu};
    uint32_t word = (first - 1u) / 64u;
    uint32_t shift = (first - 1u) % 64u;
    for (uint32_t i = 0; i < 3; ++i) {
        uint64_t next = shift == 0 ? 0 : bits[word + i + 1] >> (64u - shift);
        w[i] = (bits[word + i] << shift) | next;
    }
}

/* The number u rounded to double, by halves: 32-bit targets have no instruction for the whole. */
static inline double q_double_from_u64(uint64_t u)
{
    return (double)(uint32_t)(u >> 32) * 0x1p+32 + (double)(uint32_t)(u & 0xffffffffu);
}

/* The fraction |f| <= 1/2 of a turn by pi/2, in units of 2^-192, times pi/2 as h + *l. f != 0. */
static inline double q_trig_fraction_f64(uint64_t f0, uint64_t f1, uint64_t f2, double *l)
{
    double unit = 1.0;
    while ((f0 >> 63) == 0) {
        f0 = (f0 << 1) | (f1 >> 63);
        f1 = (f1 << 1) | (f2 >> 63);
        f2 <<= 1;
        unit *= 0.5;
    }
    double e;
    double a = q_double_from_u64(f0 >> 11) * 0x1p-53;
    double b = q_double_from_u64(((f0 & 0x7ffu) << 53) | (f1 >> 11)) * 0x1p-117;
    double h = q_product_f64(a, 0x1.921fb54442d18p+0, &e);
    e += a * 0x1.1a62633145c07p-54 + b * 0x1.921fb54442d18p+0;
    h = q_fast_sum_f64(h, e, l);
    *l *= unit;
    return h * unit;
}

/*
 * Payne and Hanek, finite x >= 1: x = m * 2^e times the bits of 2/pi that matter modulo 4, as a
 * 192-bit integer whose top two bits are the quadrant. What the cut bits are worth is below 2^-136;
 * no double is nearer than 2^-62 to a multiple of pi/2.
 */
static inline uint32_t q_trig_reduce_large_f64(double x, double *h, double *l)
{
    uint64_t u = q_bits_f64(x);
    uint64_t m = (u & 0xfffffffffffffu) | 0x10000000000000u;
    uint64_t w[3];
    uint64_t p0;
    uint64_t p1;
    uint64_t p2;
    uint64_t carry;
    q_two_over_pi((uint32_t)(u >> 52) - 1075u - 1u + 64u, w); /* first bit: weight 2^1 */
    q_mul_u64_wide(m, w[2], &carry, &p2);
    q_mul_u64_wide(m, w[1], &p0, &p1);
    p1 += carry;
    p0 += m * w[0] + (uint64_t)(p1 < carry);
    uint32_t quadrant = (uint32_t)(p0 >> 62);
    p0 = (p0 << 2) | (p1 >> 62);
    p1 = (p1 << 2) | (p2 >> 62);
    p2 <<= 2;
    if ((p0 >> 63) == 0) {
        *h = q_trig_fraction_f64(p0, p1, p2, l);
        return quadrant;
    }
    p2 = ~p2 + 1u;
    p1 = ~p1 + (uint64_t)(p2 == 0);
    p0 = ~p0 + (uint64_t)(p2 == 0 && p1 == 0);
    *h = -q_trig_fraction_f64(p0, p1, p2, l);
    *l = -*l;
    return quadrant + 1u;
}

/*
 * Finite x >= 0 as quadrant * pi/2 + *h + *l, |*h| <= pi/4 and a little. Cody and Waite below 2^19:
 * k has 19 bits and each of the first two parts of pi/2 has 33, so their products are exact, as is
 * the first difference. Where much cancels, the bits of the third part do not suffice.
 */
static inline uint32_t q_trig_reduce_f64(double x, double *h, double *l)
{
    if (x <= 0x1.921fb54442d18p-1) {
        *h = x;
        *l = 0.0;
        return 0;
    }
    if (x < 0x1p+19) {
        double shifted = x * 0x1.45f306dc9c883p-1 + 0x1.8p+52;
        double k = shifted - 0x1.8p+52;
        double a = x - k * 0x1.921fb544p+0;
        double b = k * 0x1.0b4611a6p-34;
        double r = a - b;
        double t = a - r;
        double rest = (t - b) + (a - (r + t)); /* TwoSum: a - b = r + rest */
        *h = r + (rest - k * 0x1.3198a2e037073p-69);
        *l = (r - *h) + (rest - k * 0x1.3198a2e037073p-69);
        if (q_abs_f64(*h) > 0x1p-20) {
            return (uint32_t)q_bits_f64(shifted) & 3u;
        }
    }
    return q_trig_reduce_large_f64(x, h, l) & 3u;
}

static inline double q_sin_core_f64(double h, double l)
{
    double z = h * h;
    double s = -0x1.9f6b3b10f2772p-41;
    s = s * z + 0x1.6108ab40cffc4p-33;
    s = s * z - 0x1.ae642acd3dc06p-26;
    s = s * z + 0x1.71de3a32a5b7fp-19;
    s = s * z - 0x1.a01a019ffdb94p-13;
    s = s * z + 0x1.1111111111067p-7;
    s = s * z - 0x1.5555555555555p-3;
    return h + (l * (1.0 - 0.5 * z) + h * z * s);
}

static inline double q_cos_core_f64(double h, double l)
{
    double z = h * h;
    double half = 0.5 * z;
    double one = 1.0 - half;
    double c = 0x1.9c3246a100828p-45;
    c = c * z - 0x1.93713a8e4f134p-37;
    c = c * z + 0x1.1eed6d0398f93p-29;
    c = c * z - 0x1.27e4fb58371ecp-22;
    c = c * z + 0x1.a01a019ffb54bp-16;
    c = c * z - 0x1.6c16c16c16b2ap-10;
    c = c * z + 0x1.5555555555555p-5;
    return one + (((1.0 - one) - half) + (z * z * c - h * l));
}

/* sin(quadrant * pi/2 + h + l). */
static inline double q_sin_quadrant_f64(uint32_t quadrant, double h, double l)
{
    double y = (quadrant & 1u) != 0 ? q_cos_core_f64(h, l) : q_sin_core_f64(h, l);
    return (quadrant & 2u) != 0 ? -y : y;
}

/* Any x: the reduction is exact enough for every double. Infinities give NaN. */
static inline double q_sin_f64(double x)
{
    double h;
    double l;
    double a = q_abs_f64(x);
    if ((q_bits_f64(a) >> 52) == 0x7ff) {
        return x - x;
    }
    if (a < 0x1p-27) {
        return x;
    }
    uint32_t quadrant = q_trig_reduce_f64(a, &h, &l);
    double y = q_sin_quadrant_f64(quadrant, h, l);
    return x < 0.0 ? -y : y;
}

static inline double q_cos_f64(double x)
{
    double h;
    double l;
    double a = q_abs_f64(x);
    if ((q_bits_f64(a) >> 52) == 0x7ff) {
        return x - x;
    }
    uint32_t quadrant = q_trig_reduce_f64(a, &h, &l);
    return q_sin_quadrant_f64(quadrant + 1u, h, l);
}

#endif /* QORUS_BASE_ELEMENTARY_TRIG_H */
