/* SPDX-License-Identifier: MIT */
/*
 * elementary_avx2.h: the float functions of qorus/base/elementary_f32.h on eight lanes.
 *
 * Same operations in the same order as there, where each is explained; the bits are equal for all
 * 2^32 inputs (test/elementary), except that a NaN may differ in sign and payload.
 */
#ifndef QORUS_BACKENDS_AVX2_ELEMENTARY_AVX2_H
#define QORUS_BACKENDS_AVX2_ELEMENTARY_AVX2_H

#include "avx2.h"

static inline __m256 q_negate_m256(__m256 x)
{
    return _mm256_xor_ps(x, _mm256_set1_ps(-0.0f));
}

static inline __m256 q_abs_m256(__m256 x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

static inline __m256 q_copysign_m256(__m256 x, __m256 s)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(sign, x), _mm256_and_ps(sign, s));
}

/* x clamped to [low, high]; NaN stays. */
static inline __m256 q_clamp_m256(__m256 x, float low, float high)
{
    x = _mm256_max_ps(_mm256_set1_ps(low), x);
    return _mm256_min_ps(_mm256_set1_ps(high), x);
}

static inline __m256 q_fast_sum_m256(__m256 a, __m256 b, __m256 *l)
{
    __m256 h = _mm256_add_ps(a, b);
    *l = _mm256_sub_ps(b, _mm256_sub_ps(h, a));
    return h;
}

/* The two factors 2^floor(n/2) and 2^(n - floor(n/2)) of q_scale_f32. */
static inline void q_scale_factors_m256(__m256i n, __m256 *s1, __m256 *s2)
{
    __m256i sum = _mm256_add_epi32(n, _mm256_set1_epi32(254));
    __m256i n1 = _mm256_srli_epi32(sum, 1);
    __m256i n2 = _mm256_sub_epi32(sum, n1);
    *s1 = _mm256_castsi256_ps(_mm256_slli_epi32(n1, 23));
    *s2 = _mm256_castsi256_ps(_mm256_slli_epi32(n2, 23));
}

static inline __m256 q_scale_m256(__m256 x, __m256i n)
{
    __m256 s1;
    __m256 s2;
    q_scale_factors_m256(n, &s1, &s2);
    return _mm256_mul_ps(_mm256_mul_ps(x, s1), s2);
}

static inline void q_exp_reduce_m256(__m256 h, __m256 l, __m256i *n, __m256 *r, __m256 *t)
{
    __m256 magic = _mm256_set1_ps(0x1.8p+23f);
    __m256 shifted = _mm256_fmadd_ps(h, _mm256_set1_ps(0x1.715476p+0f), magic);
    __m256 k = _mm256_sub_ps(shifted, magic);
    __m256 a = _mm256_fmadd_ps(k, _mm256_set1_ps(-0x1.62e43p-1f), h);
    __m256 b = _mm256_fmadd_ps(k, _mm256_set1_ps(0x1.05c61p-29f), l);
    __m256 x = q_fast_sum_m256(a, b, &b);
    __m256 p = _mm256_set1_ps(0x1.6a4954p-10f);
    p = _mm256_fmadd_ps(p, x, _mm256_set1_ps(0x1.12399ep-7f));
    p = _mm256_fmadd_ps(p, x, _mm256_set1_ps(0x1.5558b4p-5f));
    p = _mm256_fmadd_ps(p, x, _mm256_set1_ps(0x1.555492p-3f));
    p = _mm256_fmadd_ps(p, x, _mm256_set1_ps(0x1.fffffcp-2f));
    __m256i low = _mm256_add_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(256));
    low = _mm256_and_si256(low, _mm256_set1_epi32(511));
    *n = _mm256_sub_epi32(low, _mm256_set1_epi32(256));
    *r = x;
    *t = _mm256_fmadd_ps(_mm256_mul_ps(x, x), p, b);
}

static inline __m256 q_exp_m256(__m256 x)
{
    __m256i n;
    __m256 r;
    __m256 t;
    __m256 e;
    x = q_clamp_m256(x, -104.0f, 89.0f);
    q_exp_reduce_m256(x, _mm256_setzero_ps(), &n, &r, &t);
    __m256 one = q_fast_sum_m256(_mm256_set1_ps(1.0f), r, &e);
    return q_scale_m256(_mm256_add_ps(one, _mm256_add_ps(e, t)), n);
}

static inline __m256i q_logistic_m256(__m256 h, __m256 l, __m256 *m, __m256 *c)
{
    __m256i n;
    __m256 r;
    __m256 t;
    __m256 e;
    __m256 pl;
    __m256 dl;
    __m256 unit = _mm256_set1_ps(1.0f);
    __m256 zero = _mm256_setzero_ps();
    __m256 negative = _mm256_cmp_ps(h, zero, _CMP_LT_OQ);
    h = _mm256_blendv_ps(q_negate_m256(h), h, negative);
    l = _mm256_blendv_ps(q_negate_m256(l), l, negative);
    q_exp_reduce_m256(h, l, &n, &r, &t);
    __m256 one = q_fast_sum_m256(unit, r, &e);
    __m256 ph = q_fast_sum_m256(one, _mm256_add_ps(e, t), &pl);
    __m256 s1;
    __m256 s2;
    q_scale_factors_m256(n, &s1, &s2);
    __m256 dh = q_fast_sum_m256(unit, _mm256_mul_ps(_mm256_mul_ps(ph, s1), s2), &dl);
    dl = _mm256_add_ps(dl, _mm256_mul_ps(_mm256_mul_ps(pl, s1), s2));
    __m256 inverse = _mm256_div_ps(unit, dh);
    __m256 nh = _mm256_blendv_ps(unit, ph, negative);
    __m256 nl = _mm256_and_ps(pl, negative);
    __m256 q = _mm256_mul_ps(nh, inverse);
    __m256 rest = _mm256_add_ps(_mm256_fnmadd_ps(q, dh, nh), _mm256_fnmadd_ps(q, dl, nl));
    *m = q;
    *c = _mm256_mul_ps(rest, inverse);
    return _mm256_and_si256(n, _mm256_castps_si256(negative));
}

/* a * (m + c) * 2^n, or x itself beyond `top`, where the function is x to the last bit. */
static inline __m256 q_gate_m256(__m256 x, __m256 a, __m256 m, __m256 c, __m256i n, float top)
{
    __m256 y = q_scale_m256(_mm256_fmadd_ps(a, m, _mm256_mul_ps(a, c)), n);
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(x, _mm256_set1_ps(top), _CMP_GT_OQ));
}

static inline __m256 q_sigmoid_m256(__m256 x)
{
    __m256 m;
    __m256 c;
    __m256i n = q_logistic_m256(q_clamp_m256(x, -110.0f, 110.0f), _mm256_setzero_ps(), &m, &c);
    return q_scale_m256(_mm256_add_ps(m, c), n);
}

static inline __m256 q_silu_m256(__m256 x)
{
    __m256 m;
    __m256 c;
    __m256 a = q_clamp_m256(x, -120.0f, 120.0f);
    __m256i n = q_logistic_m256(a, _mm256_setzero_ps(), &m, &c);
    return q_gate_m256(x, a, m, c, n, 120.0f);
}

static inline __m256 q_gelu_tanh_m256(__m256 x)
{
    __m256 m;
    __m256 c;
    __m256 bh = _mm256_set1_ps(0x1.2444f2p-4f);
    __m256 ah = _mm256_set1_ps(0x1.988454p+0f);
    __m256 a = q_clamp_m256(x, -12.0f, 12.0f);
    __m256 z = _mm256_mul_ps(a, a);
    __m256 zl = _mm256_fmsub_ps(a, a, z);
    __m256 b = _mm256_mul_ps(z, bh);
    __m256 bl = _mm256_fmsub_ps(z, bh, b);
    bl = _mm256_fmadd_ps(zl, bh, _mm256_fmadd_ps(z, _mm256_set1_ps(0x1.49b16ap-29f), bl));
    __m256 w = _mm256_add_ps(b, ah);
    __m256 v = _mm256_sub_ps(w, b);
    __m256 wl = _mm256_add_ps(_mm256_sub_ps(b, _mm256_sub_ps(w, v)), _mm256_sub_ps(ah, v));
    wl = _mm256_add_ps(wl, _mm256_sub_ps(bl, _mm256_set1_ps(0x1.857936p-25f)));
    __m256 h = _mm256_mul_ps(a, w);
    __m256 hl = _mm256_fmadd_ps(a, wl, _mm256_fmsub_ps(a, w, h));
    __m256i n = q_logistic_m256(h, hl, &m, &c);
    return q_gate_m256(x, a, m, c, n, 12.0f);
}

static inline __m256 q_tanh_m256(__m256 x)
{
    __m256i n;
    __m256 r;
    __m256 t;
    __m256 el;
    __m256 dl;
    __m256 unit = _mm256_set1_ps(1.0f);
    __m256 a = _mm256_min_ps(_mm256_set1_ps(10.0f), q_abs_m256(x));
    a = _mm256_mul_ps(_mm256_set1_ps(-2.0f), a);
    q_exp_reduce_m256(a, _mm256_setzero_ps(), &n, &r, &t);
    n = _mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23);
    __m256 s = _mm256_castsi256_ps(n);
    __m256 h = q_fast_sum_m256(r, t, &t);
    __m256 s1 = _mm256_sub_ps(s, unit);
    __m256 sl = _mm256_sub_ps(s, _mm256_add_ps(s1, unit));
    __m256 eh = q_fast_sum_m256(s1, _mm256_mul_ps(s, h), &el);
    el = _mm256_add_ps(el, _mm256_fmadd_ps(s, t, sl));
    __m256 dh = q_fast_sum_m256(_mm256_set1_ps(2.0f), eh, &dl);
    dl = _mm256_add_ps(dl, el);
    __m256 inverse = _mm256_div_ps(unit, dh);
    __m256 q = _mm256_mul_ps(q_negate_m256(eh), inverse);
    __m256 rest = _mm256_sub_ps(_mm256_fnmsub_ps(q, dh, eh), el);
    rest = _mm256_sub_ps(rest, _mm256_mul_ps(q, dl));
    return q_copysign_m256(_mm256_fmadd_ps(rest, inverse, q), x);
}

static inline __m256i q_normal_tail_m256(__m256 x, __m256 h, __m256 l, __m256 *m, __m256 *c)
{
    __m256i n;
    __m256 r;
    __m256 d;
    __m256 e;
    __m256 pl;
    __m256 unit = _mm256_set1_ps(1.0f);
    __m256 quarter = _mm256_set1_ps(0.25f);
    q_exp_reduce_m256(h, l, &n, &r, &d);
    __m256 one = q_fast_sum_m256(unit, r, &e);
    __m256 ph = q_fast_sum_m256(one, _mm256_add_ps(e, d), &pl);
    __m256 dh = _mm256_fmadd_ps(quarter, x, unit);
    __m256 v = _mm256_div_ps(unit, dh);
    __m256 dl = _mm256_fmadd_ps(quarter, x, _mm256_sub_ps(unit, dh));
    __m256 vl = _mm256_mul_ps(_mm256_fnmadd_ps(v, dl, _mm256_fnmadd_ps(v, dh, unit)), v);
    __m256 y = _mm256_fmadd_ps(_mm256_set1_ps(2.0f), v, _mm256_set1_ps(-1.0f));
    __m256 g = _mm256_set1_ps(0x1.0af298p-15f);
    g = _mm256_fmadd_ps(g, y, _mm256_set1_ps(0x1.896246p-15f));
    g = _mm256_fmadd_ps(g, y, _mm256_set1_ps(-0x1.9b34bep-12f));
    g = _mm256_fmadd_ps(g, y, _mm256_set1_ps(-0x1.cd6e76p-11f));
    g = _mm256_fmadd_ps(g, y, _mm256_set1_ps(0x1.ed42d8p-10f));
    g = _mm256_fmadd_ps(g, y, _mm256_set1_ps(0x1.eed93ep-7f));
    g = _mm256_fmadd_ps(g, y, _mm256_set1_ps(0x1.7dffbep-5f));
    g = _mm256_fmadd_ps(g, y, _mm256_set1_ps(0x1.8c6d8ap-4f));
    g = _mm256_fmadd_ps(g, y, _mm256_set1_ps(0x1.373e3ap-3f));
    __m256 g0 = _mm256_set1_ps(0x1.82b4bcp-3f);
    __m256 w = _mm256_mul_ps(y, g);
    __m256 gh = _mm256_add_ps(w, g0);
    __m256 u = _mm256_sub_ps(gh, w);
    __m256 lost = _mm256_add_ps(_mm256_sub_ps(w, _mm256_sub_ps(gh, u)), _mm256_sub_ps(g0, u));
    __m256 gl = _mm256_add_ps(_mm256_fmsub_ps(y, g, w), lost);
    vl = _mm256_mul_ps(vl, _mm256_fmadd_ps(_mm256_set1_ps(2.2f), v, unit));
    __m256 a = _mm256_mul_ps(ph, v);
    __m256 al = _mm256_fmadd_ps(pl, v, _mm256_mul_ps(ph, vl));
    al = _mm256_add_ps(_mm256_fmsub_ps(ph, v, a), al);
    __m256 ml = _mm256_fmadd_ps(al, gh, _mm256_mul_ps(a, gl));
    *m = _mm256_mul_ps(a, gh);
    *c = _mm256_add_ps(_mm256_fmsub_ps(a, gh, *m), ml);
    return n;
}

static inline __m256 q_erf_m256(__m256 x)
{
    __m256 m;
    __m256 c;
    __m256 a = q_abs_m256(x);
    __m256 z = _mm256_mul_ps(x, x);
    __m256 p = _mm256_set1_ps(-0x1.3ca994p-11f);
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(0x1.47d446p-8f));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(-0x1.b6a3b4p-6f));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(0x1.ce1bfap-4f));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(-0x1.8126eep-2f));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(0x1.06eba6p-3f));
    __m256 small = _mm256_fmadd_ps(x, p, x);
    __m256 near = _mm256_cmp_ps(a, _mm256_set1_ps(0.875f), _CMP_LT_OQ);
    a = _mm256_min_ps(_mm256_set1_ps(5.0f), a);
    __m256 h = _mm256_mul_ps(a, a);
    __m256 l = q_negate_m256(_mm256_fmsub_ps(a, a, h));
    __m256 t = _mm256_mul_ps(a, _mm256_set1_ps(0x1.6a09e6p+0f));
    __m256i n = q_normal_tail_m256(t, q_negate_m256(h), l, &m, &c);
    n = _mm256_add_epi32(n, _mm256_set1_epi32(1));
    __m256 rest = q_scale_m256(_mm256_add_ps(m, c), n);
    __m256 large = q_copysign_m256(_mm256_sub_ps(_mm256_set1_ps(1.0f), rest), x);
    return _mm256_blendv_ps(large, small, near);
}

static inline __m256 q_gelu_erf_m256(__m256 x)
{
    __m256 m;
    __m256 c;
    __m256 el;
    __m256 s1;
    __m256 s2;
    __m256 minus_half = _mm256_set1_ps(-0.5f);
    __m256 a = q_clamp_m256(x, -15.0f, 15.0f);
    __m256 z = _mm256_mul_ps(a, a);
    __m256 h = _mm256_mul_ps(minus_half, z);
    __m256 l = _mm256_mul_ps(minus_half, _mm256_fmsub_ps(a, a, z));
    __m256i n = q_normal_tail_m256(q_abs_m256(a), h, l, &m, &c);
    __m256 negative = _mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_LT_OQ);
    q_scale_factors_m256(n, &s1, &s2);
    __m256 tail = _mm256_mul_ps(_mm256_mul_ps(m, s1), s2);
    __m256 one = q_fast_sum_m256(_mm256_set1_ps(1.0f), q_negate_m256(tail), &el);
    el = _mm256_sub_ps(el, _mm256_mul_ps(_mm256_mul_ps(c, s1), s2));
    m = _mm256_blendv_ps(one, m, negative);
    c = _mm256_blendv_ps(el, c, negative);
    n = _mm256_and_si256(n, _mm256_castps_si256(negative));
    return q_gate_m256(x, a, m, c, n, 15.0f);
}

static inline __m256 q_log_m256(__m256 x)
{
    __m256 rest;
    __m256 zero = _mm256_setzero_ps();
    __m256 infinity = _mm256_castsi256_ps(_mm256_set1_epi32(0x7f800000));
    __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
    __m256 small = _mm256_cmp_ps(x, _mm256_set1_ps(0x1p-126f), _CMP_LT_OQ);
    __m256 normal = _mm256_blendv_ps(x, _mm256_mul_ps(x, _mm256_set1_ps(0x1p+25f)), small);
    __m256i u = _mm256_castps_si256(normal);
    /* -0x3f2aaaab + 0x40000000 */
    __m256i above = _mm256_add_epi32(u, _mm256_set1_epi32(0x00d55555));
    __m256i e = _mm256_sub_epi32(_mm256_srli_epi32(above, 23), _mm256_set1_epi32(128));
    __m256i mantissa = _mm256_sub_epi32(u, _mm256_slli_epi32(e, 23));
    __m256 f = _mm256_sub_ps(_mm256_castsi256_ps(mantissa), _mm256_set1_ps(1.0f));
    __m256i down = _mm256_and_si256(_mm256_castps_si256(small), _mm256_set1_epi32(25));
    __m256 k = _mm256_cvtepi32_ps(_mm256_sub_epi32(e, down));
    __m256 p = _mm256_set1_ps(-0x1.07de08p-3f);
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0x1.1e706p-3f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(-0x1.f32758p-4f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0x1.1ed4ep-3f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(-0x1.559ccap-3f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0x1.99d054p-3f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(-0x1.fffef8p-3f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0x1.555506p-2f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(-0.5f));
    __m256 h = q_fast_sum_m256(_mm256_mul_ps(k, _mm256_set1_ps(0x1.62e4p-1f)), f, &rest);
    rest = _mm256_fmadd_ps(k, _mm256_set1_ps(0x1.7f7d1cp-20f), rest);
    __m256 y = _mm256_add_ps(h, _mm256_fmadd_ps(_mm256_mul_ps(f, f), p, rest));
    y = _mm256_blendv_ps(x, y, _mm256_cmp_ps(x, infinity, _CMP_LT_OQ));
    y = _mm256_blendv_ps(y, q_negate_m256(infinity), _mm256_cmp_ps(x, zero, _CMP_EQ_OQ));
    return _mm256_blendv_ps(y, nan, _mm256_cmp_ps(x, zero, _CMP_LT_OQ));
}

#endif /* QORUS_BACKENDS_AVX2_ELEMENTARY_AVX2_H */
