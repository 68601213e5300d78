/* SPDX-License-Identifier: MIT */
/*
 * elementary_f64.h: exp, log, pow, sin, cos, tanh and sigmoid forms in double.
 *
 * For the double build, tables (RoPE) and hyper-parameters. Only + - * / and integers, no fma, in
 * one fixed order, so every target gives the same bits. Errors (docs/NUMERICS.md has what was
 * measured): about 1 ULP for exp, log, sin, cos, pow; at most 4 ULP for the others. Arguments near
 * zero, results that underflow, infinities and NaN behave as in C's <math.h>. The polynomials are
 * minimax fits, made by test/elementary/coefficients.py.
 *
 * Numbers written (h, l) are unevaluated sums of two doubles, |l| below half an ULP of h.
 */
#ifndef QORUS_BASE_ELEMENTARY_F64_H
#define QORUS_BASE_ELEMENTARY_F64_H

#include "bits.h"

/* ---- Exact sums, products and scaling -------------------------------------------------------- */

/* a + b exactly, as h + *l; needs |a| >= |b| or a == 0. */
static inline double q_fast_sum_f64(double a, double b, double *l)
{
    double h = a + b;
    *l = b - (h - a);
    return h;
}

/* a * b exactly, as h + *l (Veltkamp, Dekker); |a|, |b| < 2^990 and no underflow. */
static inline double q_product_f64(double a, double b, double *l)
{
    double ta = a * 134217729.0;
    double tb = b * 134217729.0;
    double a1 = ta - (ta - a);
    double b1 = tb - (tb - b);
    double a0 = a - a1;
    double b0 = b - b1;
    double h = a * b;
    *l = ((a1 * b1 - h) + a1 * b0 + a0 * b1) + a0 * b0;
    return h;
}

/* x * 2^n with one rounding, -2000 <= n <= 1030: the first product must be exact, as it is for
   2^-20 < |x| < 2^20 and for n == 0. */
static inline double q_scale_f64(double x, int32_t n)
{
    int32_t n1 = n / 2;
    int32_t n2 = n - n1;
    double s1 = q_double_u64((uint64_t)(n1 + 1023) << 52);
    double s2 = q_double_u64((uint64_t)(n2 + 1023) << 52);
    return x * s1 * s2;
}

/* ---- Exponential ----------------------------------------------------------------------------- */

/*
 * e^(h + l) = 2^*n * (1 + *r + *t), |*r| <= ln(2)/2, *t the remainder of e^r - 1 beyond r. For
 * |h| <= 1400; NaN gives NaN and any n in range.
 */
static inline void q_exp_reduce_f64(double h, double l, int32_t *n, double *r, double *t)
{
    double shifted = h * 0x1.71547652b82fep+0 + 0x1.8p+52;
    double k = shifted - 0x1.8p+52;
    double a = h - k * 0x1.62e42fefa38p-1; /* exact: 42 and 11 bits */
    double b = l - k * 0x1.ef35793c7673p-45;
    double x = a + b;
    double rest = b - (x - a);
    double p = 0x1.ad97ca1bdc87bp-26;
    p = p * x + 0x1.28adb51b89e62p-22;
    p = p * x + 0x1.71df12e44c6c3p-19;
    p = p * x + 0x1.a01999b90703p-16;
    p = p * x + 0x1.a01a0134a7bdbp-13;
    p = p * x + 0x1.6c16c18453048p-10;
    p = p * x + 0x1.11111111253b7p-7;
    p = p * x + 0x1.555555555074ep-5;
    p = p * x + 0x1.5555555555508p-3;
    p = p * x + 0x1.000000000000ap-1;
    /* The low 12 bits of the shifted number are k in two's complement; |k| < 2048. */
    *n = (int32_t)((uint32_t)(q_bits_f64(shifted) + 2048u) & 4095u) - 2048;
    *r = x;
    *t = x * x * p + rest;
}

/* e^(h + l) = (*ph + *pl) * 2^*n, 0.7 < *ph < 1.42. */
static inline void q_exp_parts_f64(double h, double l, int32_t *n, double *ph, double *pl)
{
    double r;
    double t;
    double e;
    q_exp_reduce_f64(h, l, n, &r, &t);
    double one = q_fast_sum_f64(1.0, r, &e);
    *ph = q_fast_sum_f64(one, e + t, pl);
}

static inline double q_exp_f64(double x)
{
    int32_t n;
    double r;
    double t;
    double e;
    x = x < -760.0 ? -760.0 : x;
    x = x > 720.0 ? 720.0 : x;
    q_exp_reduce_f64(x, 0.0, &n, &r, &t);
    double one = q_fast_sum_f64(1.0, r, &e);
    return q_scale_f64(one + (e + t), n);
}

/* ---- Logarithm and power --------------------------------------------------------------------- */

/*
 * log(x) = h + *l for finite x > 0, relative error of the sum below 2^-58. With x = 2^k m,
 * sqrt(1/2) <= m < sqrt(2), f = m - 1 and s = f / (2 + f): log(m) = 2s + s z R(z), z = s^2.
 */
static inline double q_log_parts_f64(double x, double *l)
{
    uint64_t u = q_bits_f64(x);
    int32_t k = 0;
    if ((u >> 52) == 0) {
        u = q_bits_f64(x * 0x1p+54);
        k = -54;
    }
    uint64_t above = u - 0x3fe6a09e667f3bcdu + 0x4000000000000000u; /* sqrt(1/2); kept positive */
    int32_t e = (int32_t)(above >> 52) - 1024;
    double f = q_double_u64(u - ((uint64_t)(int64_t)e << 52)) - 1.0;
    double dl;
    double pl;
    double d = q_fast_sum_f64(2.0, f, &dl);
    double s = f / d;
    double p = q_product_f64(s, d, &pl);
    double sl = (((f - p) - pl) - s * dl) / d;
    double z = s * s;
    double c = 0x1.0f0d81fc7ed78p-3;
    c = c * z + 0x1.0f674beec248ap-3;
    c = c * z + 0x1.3b2024384ad7bp-3;
    c = c * z + 0x1.745ce1ca08bb3p-3;
    c = c * z + 0x1.c71c724b644f7p-3;
    c = c * z + 0x1.2492492439808p-2;
    c = c * z + 0x1.9999999999d11p-2;
    c = c * z + 0x1.5555555555555p-1;
    double kd = (double)(k + e);
    double rest;
    double h = q_fast_sum_f64(kd * 0x1.62e42fefa38p-1, 2.0 * s, &rest);
    rest = rest + (kd * 0x1.ef35793c7673p-45 + (2.0 * sl + s * z * c));
    return q_fast_sum_f64(h, rest, l);
}

/* log(0) = -infinity, log(x < 0) = NaN. */
static inline double q_log_f64(double x)
{
    double l;
    if (!(x > 0.0) || q_bits_f64(x) == 0x7ff0000000000000u) {
        return x == 0.0 ? -1.0 / (x * x) : (x < 0.0 ? (x - x) / (x - x) : x);
    }
    double h = q_log_parts_f64(x, &l);
    return h + l;
}

/*
 * x^y for x >= 0; x < 0 gives NaN unless y == 0. x^0 = 1^y = 1 for every other argument, as in C.
 * Error 1 ULP while |y log x| < 100, and 4 ULP up to the ends of the range.
 */
static inline double q_pow_f64(double x, double y)
{
    double l;
    double e;
    double hi;
    double lo;
    int32_t n;
    if (y == 0.0 || x == 1.0) {
        return 1.0;
    }
    if (!(x >= 0.0) || y != y) {
        return (x - x) / (x - x) + y;
    }
    if (x == 0.0 || q_bits_f64(x) == 0x7ff0000000000000u) {
        return (x == 0.0) == (y < 0.0) ? q_double_u64(0x7ff0000000000000u) : 0.0;
    }
    double h = q_log_parts_f64(x, &l);
    double p = y * h;
    if (p > 720.0 || p < -760.0) {
        return q_exp_f64(p);
    }
    h = q_product_f64(y, h, &e);
    q_exp_parts_f64(h, e + y * l, &n, &hi, &lo);
    return q_scale_f64(hi + lo, n);
}

/* ---- Sine and cosine ------------------------------------------------------------------------- */

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
    double a = (double)(f0 >> 11) * 0x1p-53;
    double b = (double)(((f0 & 0x7ffu) << 53) | (f1 >> 11)) * 0x1p-117;
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
    double c = 0x1.9c32461625c58p-45;
    c = c * z - 0x1.93713a8d816efp-37;
    c = c * z + 0x1.1eed6d0398951p-29;
    c = c * z - 0x1.27e4fb58371eap-22;
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

/* ---- Hyperbolic tangent and logistic forms --------------------------------------------------- */

/* With E = e^(-2|x|) - 1: tanh|x| = -E / (2 + E). */
static inline double q_tanh_f64(double x)
{
    int32_t n;
    double r;
    double t;
    double e;
    double a = q_abs_f64(x);
    a = a > 20.0 ? 20.0 : a;
    q_exp_reduce_f64(-2.0 * a, 0.0, &n, &r, &t);
    double s = q_double_u64((uint64_t)(n + 1023) << 52);
    double h = q_fast_sum_f64(s - 1.0, s * r, &e);
    e = h + (s * t + e);
    return q_copysign_f64(-e / (2.0 + e), x);
}

/*
 * 1 / (1 + e^-(h + l)) = m * 2^*n. For h < 0 the power of two stays apart, so that a product with m
 * can be formed before it underflows. |h| <= 1400.
 */
static inline double q_logistic_f64(double h, double l, int32_t *n)
{
    double ph;
    double pl;
    double a = q_abs_f64(h);
    q_exp_parts_f64(-a, h < 0.0 ? l : -l, n, &ph, &pl);
    double d = 1.0 + q_scale_f64(ph, *n);
    if (h < 0.0) {
        return ph / d;
    }
    *n = 0;
    return 1.0 / d;
}

static inline double q_sigmoid_f64(double x)
{
    int32_t n;
    x = x < -800.0 ? -800.0 : x;
    x = x > 800.0 ? 800.0 : x;
    double m = q_logistic_f64(x, 0.0, &n);
    return q_scale_f64(m, n);
}

/* x * sigmoid(x); -0 for -infinity, the limit. */
static inline double q_silu_f64(double x)
{
    int32_t n;
    x = x < -800.0 ? -800.0 : x;
    if (x > 800.0) {
        return x;
    }
    double m = q_logistic_f64(x, 0.0, &n);
    return q_scale_f64(x * m, n);
}

/*
 * x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) = x * sigmoid(x (A + B x^2)), A = 2 sqrt(2/pi),
 * B = 0.044715 A. The argument is kept as a sum of two numbers: in the negative tail its error
 * becomes a relative one. -0 for -infinity.
 */
static inline double q_gelu_tanh_f64(double x)
{
    int32_t n;
    double zl;
    double bl;
    double wl;
    double hl;
    x = x < -26.0 ? -26.0 : x;
    if (x > 26.0) {
        return x;
    }
    double z = q_product_f64(x, x, &zl);
    double b = q_product_f64(z, 0x1.2444f2a4d8b4bp-4, &bl);
    bl += zl * 0x1.2444f2a4d8b4bp-4 + z * -0x1.6c843a29d1c7p-61;
    double w = b + 0x1.9884533d43651p+0;
    double v = w - b; /* TwoSum: b may be the larger or the smaller */
    wl = (b - (w - v)) + (0x1.9884533d43651p+0 - v);
    wl += bl + -0x1.cbc0d30ebfd15p-54;
    double h = q_product_f64(x, w, &hl);
    h = q_fast_sum_f64(h, hl + x * wl, &hl);
    double m = q_logistic_f64(h, hl, &n);
    return q_scale_f64(x * m, n);
}

#endif /* QORUS_BASE_ELEMENTARY_F64_H */
