/* SPDX-License-Identifier: MIT */
/*
 * elementary_f32.h: exp, log, sin, cos, tanh, erf, sigmoid, SiLU and GELU in float.
 *
 * One algorithm each, in one fixed order of + - * /, q_fma_f32 and integer operations, without
 * branches on the way to the result, so that vector forms of other backends give the same bits for
 * every input (a NaN may differ in sign and payload). sin and cos go through double. Errors over
 * all 2^32 inputs are in docs/NUMERICS.md: below 1 ULP, GELU-erf 1.65. exp, log, tanh, erf and
 * sigmoid are monotone. NaN gives NaN, nothing else does except log(x < 0), sin and cos of
 * infinities. The polynomials are minimax fits, made by test/elementary/coefficients.py.
 *
 * Numbers written (h, l) are unevaluated sums of two floats, |l| small beside |h|.
 */
#ifndef QORUS_BASE_ELEMENTARY_F32_H
#define QORUS_BASE_ELEMENTARY_F32_H

#include "elementary_trig.h"
#include "fma.h"

/* a + b exactly, as h + *l; needs |a| >= |b| or a == 0. */
static inline float q_fast_sum_f32(float a, float b, float *l)
{
    float h = a + b;
    *l = b - (h - a);
    return h;
}

/* x * 2^n with one rounding, |n| <= 252: the first product must be exact, as it is for |x| near
   1. */
static inline float q_scale_f32(float x, int32_t n)
{
    uint32_t n1 = (uint32_t)(n + 254) >> 1; /* 127 + floor(n / 2) */
    uint32_t n2 = (uint32_t)(n + 254) - n1;
    return x * q_float_u32(n1 << 23) * q_float_u32(n2 << 23);
}

/*
 * e^(h + l) = 2^*n * (1 + *r + *t), |*r| <= ln(2)/2 and a little, *t the remainder of e^r - 1
 * beyond r. For |h| <= 170. h - n ln2_high is exact: both are multiples of the same power of two
 * and cancel.
 */
static inline void q_exp_reduce_f32(float h, float l, int32_t *n, float *r, float *t)
{
    float shifted = q_fma_f32(h, 0x1.715476p+0f, 0x1.8p+23f);
    float k = shifted - 0x1.8p+23f;
    float a = q_fma_f32(k, -0x1.62e43p-1f, h);
    float b = q_fma_f32(k, 0x1.05c61p-29f, l);
    float x = q_fast_sum_f32(a, b, &b);
    float p = 0x1.6a4954p-10f;
    p = q_fma_f32(p, x, 0x1.12399ep-7f);
    p = q_fma_f32(p, x, 0x1.5558b4p-5f);
    p = q_fma_f32(p, x, 0x1.555492p-3f);
    p = q_fma_f32(p, x, 0x1.fffffcp-2f);
    /* The low 9 bits of the shifted number are k in two's complement; |k| < 256. */
    *n = (int32_t)((q_bits_f32(shifted) + 256u) & 511u) - 256;
    *r = x;
    *t = q_fma_f32(x * x, p, b);
}

static inline float q_exp_f32(float x)
{
    int32_t n;
    float r;
    float t;
    float e;
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    q_exp_reduce_f32(x, 0.0f, &n, &r, &t);
    float one = q_fast_sum_f32(1.0f, r, &e);
    return q_scale_f32(one + (e + t), n);
}

/*
 * 1 / (1 + e^-(h + l)) = (*m + *c) * 2^n, n returned, *c a correction of *m. For h < 0 the power of
 * two stays apart, so that a product with m can be formed before it underflows; else n = 0. |h| <=
 * 170. The quotient (1 or e^h) / (1 + e^-|h|) with numerator and denominator as sums of two floats.
 */
static inline int32_t q_logistic_f32(float h, float l, float *m, float *c)
{
    int32_t n;
    float r;
    float t;
    float e;
    float pl;
    float dl;
    bool negative = h < 0.0f;
    q_exp_reduce_f32(negative ? h : -h, negative ? l : -l, &n, &r, &t);
    float one = q_fast_sum_f32(1.0f, r, &e);
    float ph = q_fast_sum_f32(one, e + t, &pl);
    float dh = q_fast_sum_f32(1.0f, q_scale_f32(ph, n), &dl);
    dl = dl + q_scale_f32(pl, n);
    float inverse = 1.0f / dh;
    float nh = negative ? ph : 1.0f;
    float nl = negative ? pl : 0.0f;
    float q = nh * inverse;
    float rest = q_fma_f32(-q, dh, nh) + q_fma_f32(-q, dl, nl);
    *m = q;
    *c = rest * inverse;
    return negative ? n : 0;
}

/* 1 / (1 + e^-x), in [0, 1]. */
static inline float q_sigmoid_f32(float x)
{
    float m;
    float c;
    x = x < -110.0f ? -110.0f : x;
    x = x > 110.0f ? 110.0f : x;
    int32_t n = q_logistic_f32(x, 0.0f, &m, &c);
    return q_scale_f32(m + c, n);
}

/* x * sigmoid(x); -0 for -infinity, the limit. */
static inline float q_silu_f32(float x)
{
    float m;
    float c;
    float a = x < -120.0f ? -120.0f : x;
    a = a > 120.0f ? 120.0f : a;
    int32_t n = q_logistic_f32(a, 0.0f, &m, &c);
    float y = q_scale_f32(q_fma_f32(a, m, a * c), n);
    return x > 120.0f ? x : y;
}

/*
 * x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) = x * sigmoid(x (A + B x^2)), A = 2 sqrt(2/pi),
 * B = 0.044715 A. The argument is kept as a sum of two numbers: in the negative tail its error
 * becomes a relative one. -0 for -infinity.
 */
static inline float q_gelu_tanh_f32(float x)
{
    float m;
    float c;
    float wl;
    float a = x < -12.0f ? -12.0f : x;
    a = a > 12.0f ? 12.0f : a;
    float z = a * a;
    float zl = q_fma_f32(a, a, -z);
    float b = z * 0x1.2444f2p-4f;
    float bl = q_fma_f32(z, 0x1.2444f2p-4f, -b);
    bl = q_fma_f32(zl, 0x1.2444f2p-4f, q_fma_f32(z, 0x1.49b16ap-29f, bl));
    float w = b + 0x1.988454p+0f;
    float v = w - b; /* TwoSum: b may be the larger or the smaller */
    wl = (b - (w - v)) + (0x1.988454p+0f - v);
    wl = wl + (bl - 0x1.857936p-25f);
    float h = a * w;
    float hl = q_fma_f32(a, wl, q_fma_f32(a, w, -h));
    int32_t n = q_logistic_f32(h, hl, &m, &c);
    float y = q_scale_f32(q_fma_f32(a, m, a * c), n);
    return x > 12.0f ? x : y;
}

/*
 * With E = e^(-2|x|) - 1 as a sum of two floats: tanh|x| = -E / (2 + E). At 2^-25 and below s - 1
 * is rounded, and sl is what it lost.
 */
static inline float q_tanh_f32(float x)
{
    int32_t n;
    float r;
    float t;
    float el;
    float dl;
    float a = q_abs_f32(x);
    a = a > 10.0f ? 10.0f : a;
    q_exp_reduce_f32(-2.0f * a, 0.0f, &n, &r, &t);
    float s = q_float_u32((uint32_t)(n + 127) << 23);
    float h = q_fast_sum_f32(r, t, &t);
    float s1 = s - 1.0f;
    float sl = s - (s1 + 1.0f);
    float eh = q_fast_sum_f32(s1, s * h, &el);
    el = el + q_fma_f32(s, t, sl);
    float dh = q_fast_sum_f32(2.0f, eh, &dl);
    dl = dl + el;
    float inverse = 1.0f / dh;
    float q = -eh * inverse;
    float rest = (q_fma_f32(-q, dh, -eh) - el) - q * dl;
    return q_copysign_f32(q_fma_f32(rest, inverse, q), x);
}

/*
 * Probability beyond t of the normal distribution: (1 - erf(t / sqrt(2))) / 2 = (*m + *c) * 2^n, n
 * returned, where h + l is -t^2/2. That is e^(-t^2/2) v G(y), v = 1/(1 + t/4), y = 2v - 1. 0 <= t
 * <= 17.
 */
static inline int32_t q_normal_tail_f32(float t, float h, float l, float *m, float *c)
{
    int32_t n;
    float r;
    float d;
    float e;
    float pl;
    q_exp_reduce_f32(h, l, &n, &r, &d);
    float one = q_fast_sum_f32(1.0f, r, &e);
    float ph = q_fast_sum_f32(one, e + d, &pl);
    float dh = q_fma_f32(0.25f, t, 1.0f);
    float v = 1.0f / dh;
    float vl = q_fma_f32(-v, q_fma_f32(0.25f, t, 1.0f - dh), q_fma_f32(-v, dh, 1.0f)) * v;
    float y = q_fma_f32(2.0f, v, -1.0f);
    float g = 0x1.0af298p-15f;
    g = q_fma_f32(g, y, 0x1.896246p-15f);
    g = q_fma_f32(g, y, -0x1.9b34bep-12f);
    g = q_fma_f32(g, y, -0x1.cd6e76p-11f);
    g = q_fma_f32(g, y, 0x1.ed42d8p-10f);
    g = q_fma_f32(g, y, 0x1.eed93ep-7f);
    g = q_fma_f32(g, y, 0x1.7dffbep-5f);
    g = q_fma_f32(g, y, 0x1.8c6d8ap-4f);
    g = q_fma_f32(g, y, 0x1.373e3ap-3f);
    float w = y * g;
    float gh = w + 0x1.82b4bcp-3f;
    float u = gh - w; /* TwoSum: y G1(y) may be larger or smaller than the constant */
    float gl = q_fma_f32(y, g, -w) + ((w - (gh - u)) + (0x1.82b4bcp-3f - u));
    vl = vl * q_fma_f32(2.2f, v, 1.0f);
    float a = ph * v;
    float al = q_fma_f32(ph, v, -a) + q_fma_f32(pl, v, ph * vl);
    *m = a * gh;
    *c = q_fma_f32(a, gh, -*m) + q_fma_f32(al, gh, a * gl);
    return n;
}

/* Two algorithms joined at 7/8, both computed so that vectors need no branch. */
static inline float q_erf_f32(float x)
{
    float m;
    float c;
    float a = q_abs_f32(x);
    float z = x * x;
    float p = -0x1.3ca994p-11f;
    p = q_fma_f32(p, z, 0x1.47d446p-8f);
    p = q_fma_f32(p, z, -0x1.b6a3b4p-6f);
    p = q_fma_f32(p, z, 0x1.ce1bfap-4f);
    p = q_fma_f32(p, z, -0x1.8126eep-2f);
    p = q_fma_f32(p, z, 0x1.06eba6p-3f);
    float small = q_fma_f32(x, p, x);
    a = a > 5.0f ? 5.0f : a;
    float h = a * a;
    int32_t n = q_normal_tail_f32(a * 0x1.6a09e6p+0f, -h, -q_fma_f32(a, a, -h), &m, &c);
    float large = q_copysign_f32(1.0f - q_scale_f32(m + c, n + 1), x);
    return a < 0.875f ? small : large;
}

/* x/2 (1 + erf(x / sqrt(2))); -0 for -infinity, the limit. */
static inline float q_gelu_erf_f32(float x)
{
    float m;
    float c;
    float el;
    float a = x < -15.0f ? -15.0f : x;
    a = a > 15.0f ? 15.0f : a;
    float z = a * a;
    float zl = q_fma_f32(a, a, -z);
    int32_t n = q_normal_tail_f32(q_abs_f32(a), -0.5f * z, -0.5f * zl, &m, &c);
    bool negative = a < 0.0f;
    float one = q_fast_sum_f32(1.0f, -q_scale_f32(m, n), &el);
    el = el - q_scale_f32(c, n);
    m = negative ? m : one;
    c = negative ? c : el;
    float y = q_scale_f32(q_fma_f32(a, m, a * c), negative ? n : 0);
    return x > 15.0f ? x : y;
}

/*
 * With x = 2^k m, 2/3 <= m < 4/3, f = m - 1: log(x) = k ln2 + f + f^2 P(f). log(0) = -infinity,
 * log(x < 0) = NaN. k ln2_high is exact: 8 and 16 bits.
 */
static inline float q_log_f32(float x)
{
    bool small = x < 0x1p-126f;
    uint32_t u = q_bits_f32(small ? x * 0x1p+25f : x);
    uint32_t above = u - 0x3f2aaaabu + 0x40000000u;
    int32_t e = (int32_t)(above >> 23) - 128;
    float f = q_float_u32(u - ((uint32_t)e << 23)) - 1.0f;
    float k = (float)(small ? e - 25 : e);
    float p = -0x1.07de08p-3f;
    float rest;
    p = q_fma_f32(p, f, 0x1.1e706p-3f);
    p = q_fma_f32(p, f, -0x1.f32758p-4f);
    p = q_fma_f32(p, f, 0x1.1ed4ep-3f);
    p = q_fma_f32(p, f, -0x1.559ccap-3f);
    p = q_fma_f32(p, f, 0x1.99d054p-3f);
    p = q_fma_f32(p, f, -0x1.fffef8p-3f);
    p = q_fma_f32(p, f, 0x1.555506p-2f);
    p = q_fma_f32(p, f, -0.5f);
    float h = q_fast_sum_f32(k * 0x1.62e4p-1f, f, &rest);
    rest = q_fma_f32(k, 0x1.7f7d1cp-20f, rest);
    float y = h + q_fma_f32(f * f, p, rest);
    y = x < q_float_u32(0x7f800000u) ? y : x; /* infinity and NaN as they are */
    y = x == 0.0f ? q_float_u32(0xff800000u) : y;
    return x < 0.0f ? q_float_u32(0x7fc00000u) : y;
}

/* Any x; the reduction is exact enough for every float. Infinities give NaN. */
static inline float q_sin_f32(float x)
{
    return (float)q_sin_f64((double)x);
}

static inline float q_cos_f32(float x)
{
    return (float)q_cos_f64((double)x);
}

#endif /* QORUS_BASE_ELEMENTARY_F32_H */
