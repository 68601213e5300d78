/* SPDX-License-Identifier: MIT */
/*
 * elementary_f64.h: exp, log, pow, tanh, erf, sigmoid, SiLU and GELU in double.
 *
 * For the double build and for hyper-parameters; sin and cos are in elementary_trig.h. Only + - * /
 * and integers, no fma, in one fixed order, so every target gives the same bits. Errors (what was
 * measured is in docs/NUMERICS.md): about 1 ULP for exp, log, pow, erf; below 4 ULP for the others.
 * Arguments near zero, results that underflow, infinities and NaN behave as in C's <math.h>. The
 * polynomials are minimax fits, made by test/elementary/coefficients.py.
 *
 * Numbers written (h, l) are unevaluated sums of two doubles, |l| below half an ULP of h.
 */
#ifndef QORUS_BASE_ELEMENTARY_F64_H
#define QORUS_BASE_ELEMENTARY_F64_H

#include "exact_f64.h"

/* ---- Scaling --------------------------------------------------------------------------------- */

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
 * log(x) = h + *l for finite x > 0, relative error of the sum below 2^-62. With x = 2^k m,
 * sqrt(1/2) <= m < sqrt(2), f = m - 1 and s = f / (2 + f): log(m) = 2s + 2/3 s^3 + s^5 R(s^2). All
 * but the last term, which is below 2^-13, are formed as sums of two numbers.
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
    double zl;
    double tl;
    double cl;
    double d = q_fast_sum_f64(2.0, f, &dl);
    double s = f / d;
    double p = q_product_f64(s, d, &pl);
    double sl = (((f - p) - pl) - s * dl) / d;
    double z = q_product_f64(s, s, &zl);
    double t = q_product_f64(s, z, &tl);
    tl += s * (zl + 2.0 * s * sl) + sl * z;
    double c = q_product_f64(t, 0x1.5555555555555p-1, &cl);
    cl += tl * 0x1.5555555555555p-1 + t * 0x1.5555555555555p-55;
    double r = 0x1.0e42c79c411f1p-3;
    r = r * z + 0x1.0f7fe74a6922dp-3;
    r = r * z + 0x1.3b1eec1d0de96p-3;
    r = r * z + 0x1.745ce9e322a8cp-3;
    r = r * z + 0x1.c71c722d66821p-3;
    r = r * z + 0x1.2492492457d61p-2;
    r = r * z + 0x1.9999999999b3p-2;
    double kd = (double)(k + e);
    double rest;
    double more;
    double h = q_fast_sum_f64(kd * 0x1.62e42fefa38p-1, 2.0 * s, &rest);
    h = q_fast_sum_f64(h, c, &more);
    rest = (rest + more) + (kd * 0x1.ef35793c7673p-45 + (2.0 * sl + cl)) + t * (z * r);
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

/* ---- Error function
   ---------------------------------------------------------------------------- */

/* sum of c[i] t^(n-1-i) as h + *l, to nearly twice the digits of a double (compensated Horner). */
static inline double q_horner_f64(const double *c, uint32_t n, double t, double *l)
{
    double h = c[0];
    double rest = 0.0;
    for (uint32_t i = 1; i < n; ++i) {
        double pl;
        double p = q_product_f64(h, t, &pl);
        h = p + c[i];
        double u = h - p; /* TwoSum */
        rest = rest * t + (pl + ((p - (h - u)) + (c[i] - u)));
    }
    return q_fast_sum_f64(h, rest, l);
}

/*
 * Probability beyond t of the normal distribution: (1 - erf(t / sqrt(2))) / 2 = y * 2^*n, where h +
 * l is -t^2/2. That is e^(-t^2/2) P(t)/Q(t); all coefficients are positive. 0 <= t <= 39.
 */
static inline double q_normal_tail_f64(double t, double h, double l, int32_t *n)
{
    static const double p[11] = {
        0x1.c1de6e30bca48p-23, 0x1.ba9d997481a72p-18, 0x1.aa9ab9f5a2713p-14, 0x1.063052dd4f8dfp-10,
        0x1.c427f52c1444cp-8, 0x1.1cc36d4b03747p-5, 0x1.09076a0f2ecadp-3, 0x1.68780143bf929p-2,
        0x1.58766f3350d36p-1, 0x1.a5ae81863faabp-1, 0.5};
    static const double q[12] = {
        0x1.19e9db9257827p-21, 0x1.155e42ed39579p-16, 0x1.0be2a163a6bdap-12, 0x1.4ac5964615997p-9,
        0x1.1f81b759c1bafp-6, 0x1.6f080d0048818p-4, 0x1.5d5b612101f6p-2, 0x1.ede90d08dd2cep-1,
        0x1.fa8c6c054d7b4p+0, 0x1.65f1feb21e9d5p+1, 0x1.38f8559270aeap+1, 1.0};
    double ph;
    double pl;
    double a0;
    double b0;
    double dl;
    double a = q_horner_f64(p, 11, t, &a0);
    double b = q_horner_f64(q, 12, t, &b0);
    double r = a / b;
    double d = q_product_f64(r, b, &dl);
    double rest = (((a - d) - dl) + (a0 - r * b0)) / b;
    q_exp_parts_f64(h, l, n, &ph, &pl);
    return ph * r + (pl * r + ph * rest);
}

static inline double q_erf_f64(double x)
{
    double a = q_abs_f64(x);
    if (a < 0.875) {
        double z = x * x;
        double e = 0x1.6783f9628f3fp-27;
        e = e * z - 0x1.4f7a2d1d307fap-23;
        e = e * z + 0x1.b7e84b79f89b8p-20;
        e = e * z - 0x1.f4aa4b00b8e5dp-17;
        e = e * z + 0x1.f9a11ea4f3c58p-14;
        e = e * z - 0x1.c02da2ffbe924p-11;
        e = e * z + 0x1.565bccb5af757p-8;
        e = e * z - 0x1.b82ce3106d82ep-6;
        e = e * z + 0x1.ce2f21a03c3b5p-4;
        e = e * z - 0x1.812746b03796dp-2;
        e = e * z + 0x1.06eba8214db68p-3;
        return x + x * e;
    }
    int32_t n;
    double l;
    a = a > 6.0 ? 6.0 : a;
    double h = q_product_f64(a, a, &l);
    double y = q_normal_tail_f64(a * 0x1.6a09e667f3bcdp+0, -h, -l, &n);
    return q_copysign_f64(1.0 - 2.0 * q_scale_f64(y, n), x);
}

/* x/2 (1 + erf(x / sqrt(2))); -0 for -infinity, the limit. */
static inline double q_gelu_erf_f64(double x)
{
    int32_t n;
    double l;
    if (x > 39.0) {
        return x;
    }
    x = x < -39.0 ? -39.0 : x;
    double t = q_abs_f64(x);
    double h = q_product_f64(t, t, &l);
    double y = q_normal_tail_f64(t, -0.5 * h, -0.5 * l, &n);
    if (x < 0.0) {
        return q_scale_f64(x * y, n);
    }
    return x - x * q_scale_f64(y, n);
}

#endif /* QORUS_BASE_ELEMENTARY_F64_H */
