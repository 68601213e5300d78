/* SPDX-License-Identifier: MIT */
/*
 * elementary_avx512.h: the float functions of qorus/base/elementary_f32.h on sixteen lanes.
 *
 * Same operations in the same order as there, where each is explained; the power of two stays a float, and vscalefps
 * multiplies by it. The bits are equal for all 2^32 inputs (test/elementary), except that a NaN may differ in sign and
 * payload.
 */
#ifndef QORUS_BACKENDS_AVX512_ELEMENTARY_AVX512_H
#define QORUS_BACKENDS_AVX512_ELEMENTARY_AVX512_H

#include "avx512.h"

static inline __m512 q_negate_m512(__m512 x)
{
    return _mm512_xor_ps(x, _mm512_set1_ps(-0.0f));
}

static inline __m512 q_abs_m512(__m512 x)
{
    return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), x);
}

static inline __m512 q_copysign_m512(__m512 x, __m512 s)
{
    __m512 sign = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(sign, x), _mm512_and_ps(sign, s));
}

/* x clamped to [low, high]; NaN stays. */
static inline __m512 q_clamp_m512(__m512 x, float low, float high)
{
    x = _mm512_max_ps(_mm512_set1_ps(low), x);
    return _mm512_min_ps(_mm512_set1_ps(high), x);
}

static inline __m512 q_fast_sum_m512(__m512 a, __m512 b, __m512 *l)
{
    __m512 h = _mm512_add_ps(a, b);
    *l = _mm512_sub_ps(b, _mm512_sub_ps(h, a));
    return h;
}

/* x * 2^n, n an integer, with the one rounding of q_scale_f32. */
static inline __m512 q_scale_m512(__m512 x, __m512 n)
{
    return _mm512_scalef_ps(x, n);
}

static inline void q_exp_reduce_m512(__m512 h, __m512 l, __m512 *n, __m512 *r, __m512 *t)
{
    __m512 magic = _mm512_set1_ps(0x1.8p+23f);
    __m512 shifted = _mm512_fmadd_ps(h, _mm512_set1_ps(0x1.715476p+0f), magic);
    __m512 k = _mm512_sub_ps(shifted, magic);
    __m512 a = _mm512_fmadd_ps(k, _mm512_set1_ps(-0x1.62e43p-1f), h);
    __m512 b = _mm512_fmadd_ps(k, _mm512_set1_ps(0x1.05c61p-29f), l);
    __m512 x = q_fast_sum_m512(a, b, &b);
    __m512 p = _mm512_set1_ps(0x1.6a4954p-10f);
    p = _mm512_fmadd_ps(p, x, _mm512_set1_ps(0x1.12399ep-7f));
    p = _mm512_fmadd_ps(p, x, _mm512_set1_ps(0x1.5558b4p-5f));
    p = _mm512_fmadd_ps(p, x, _mm512_set1_ps(0x1.555492p-3f));
    p = _mm512_fmadd_ps(p, x, _mm512_set1_ps(0x1.fffffcp-2f));
    *n = k;
    *r = x;
    *t = _mm512_fmadd_ps(_mm512_mul_ps(x, x), p, b);
}

static inline __m512 q_exp_m512(__m512 x)
{
    __m512 n;
    __m512 r;
    __m512 t;
    __m512 e;
    x = q_clamp_m512(x, -104.0f, 89.0f);
    q_exp_reduce_m512(x, _mm512_setzero_ps(), &n, &r, &t);
    __m512 one = q_fast_sum_m512(_mm512_set1_ps(1.0f), r, &e);
    return q_scale_m512(_mm512_add_ps(one, _mm512_add_ps(e, t)), n);
}

static inline __m512 q_logistic_m512(__m512 h, __m512 l, __m512 *m, __m512 *c)
{
    __m512 n;
    __m512 r;
    __m512 t;
    __m512 e;
    __m512 pl;
    __m512 dl;
    __m512 unit = _mm512_set1_ps(1.0f);
    __m512 zero = _mm512_setzero_ps();
    __mmask16 negative = _mm512_cmp_ps_mask(h, zero, _CMP_LT_OQ);
    h = _mm512_mask_blend_ps(negative, q_negate_m512(h), h);
    l = _mm512_mask_blend_ps(negative, q_negate_m512(l), l);
    q_exp_reduce_m512(h, l, &n, &r, &t);
    __m512 one = q_fast_sum_m512(unit, r, &e);
    __m512 ph = q_fast_sum_m512(one, _mm512_add_ps(e, t), &pl);
    __m512 dh = q_fast_sum_m512(unit, q_scale_m512(ph, n), &dl);
    dl = _mm512_add_ps(dl, q_scale_m512(pl, n));
    __m512 inverse = _mm512_div_ps(unit, dh);
    __m512 nh = _mm512_mask_blend_ps(negative, unit, ph);
    __m512 nl = _mm512_maskz_mov_ps(negative, pl);
    __m512 q = _mm512_mul_ps(nh, inverse);
    __m512 rest = _mm512_add_ps(_mm512_fnmadd_ps(q, dh, nh), _mm512_fnmadd_ps(q, dl, nl));
    *m = q;
    *c = _mm512_mul_ps(rest, inverse);
    return _mm512_maskz_mov_ps(negative, n);
}

/* a * (m + c) * 2^n, or x itself beyond `top`, where the function is x to the last bit. */
static inline __m512 q_gate_m512(__m512 x, __m512 a, __m512 m, __m512 c, __m512 n, float top)
{
    __m512 y = q_scale_m512(_mm512_fmadd_ps(a, m, _mm512_mul_ps(a, c)), n);
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(top), _CMP_GT_OQ), y, x);
}

static inline __m512 q_sigmoid_m512(__m512 x)
{
    __m512 m;
    __m512 c;
    __m512 n = q_logistic_m512(q_clamp_m512(x, -110.0f, 110.0f), _mm512_setzero_ps(), &m, &c);
    return q_scale_m512(_mm512_add_ps(m, c), n);
}

static inline __m512 q_silu_m512(__m512 x)
{
    __m512 m;
    __m512 c;
    __m512 a = q_clamp_m512(x, -120.0f, 120.0f);
    __m512 n = q_logistic_m512(a, _mm512_setzero_ps(), &m, &c);
    return q_gate_m512(x, a, m, c, n, 120.0f);
}

static inline __m512 q_gelu_tanh_m512(__m512 x)
{
    __m512 m;
    __m512 c;
    __m512 bh = _mm512_set1_ps(0x1.2444f2p-4f);
    __m512 ah = _mm512_set1_ps(0x1.988454p+0f);
    __m512 a = q_clamp_m512(x, -12.0f, 12.0f);
    __m512 z = _mm512_mul_ps(a, a);
    __m512 zl = _mm512_fmsub_ps(a, a, z);
    __m512 b = _mm512_mul_ps(z, bh);
    __m512 bl = _mm512_fmsub_ps(z, bh, b);
    bl = _mm512_fmadd_ps(zl, bh, _mm512_fmadd_ps(z, _mm512_set1_ps(0x1.49b16ap-29f), bl));
    __m512 w = _mm512_add_ps(b, ah);
    __m512 v = _mm512_sub_ps(w, b);
    __m512 wl = _mm512_add_ps(_mm512_sub_ps(b, _mm512_sub_ps(w, v)), _mm512_sub_ps(ah, v));
    wl = _mm512_add_ps(wl, _mm512_sub_ps(bl, _mm512_set1_ps(0x1.857936p-25f)));
    __m512 h = _mm512_mul_ps(a, w);
    __m512 hl = _mm512_fmadd_ps(a, wl, _mm512_fmsub_ps(a, w, h));
    __m512 n = q_logistic_m512(h, hl, &m, &c);
    return q_gate_m512(x, a, m, c, n, 12.0f);
}

static inline __m512 q_tanh_m512(__m512 x)
{
    __m512 n;
    __m512 r;
    __m512 t;
    __m512 el;
    __m512 dl;
    __m512 unit = _mm512_set1_ps(1.0f);
    __m512 a = _mm512_min_ps(_mm512_set1_ps(10.0f), q_abs_m512(x));
    a = _mm512_mul_ps(_mm512_set1_ps(-2.0f), a);
    q_exp_reduce_m512(a, _mm512_setzero_ps(), &n, &r, &t);
    __m512 s = q_scale_m512(unit, n);
    __m512 h = q_fast_sum_m512(r, t, &t);
    __m512 s1 = _mm512_sub_ps(s, unit);
    __m512 sl = _mm512_sub_ps(s, _mm512_add_ps(s1, unit));
    __m512 eh = q_fast_sum_m512(s1, _mm512_mul_ps(s, h), &el);
    el = _mm512_add_ps(el, _mm512_fmadd_ps(s, t, sl));
    __m512 dh = q_fast_sum_m512(_mm512_set1_ps(2.0f), eh, &dl);
    dl = _mm512_add_ps(dl, el);
    __m512 inverse = _mm512_div_ps(unit, dh);
    __m512 q = _mm512_mul_ps(q_negate_m512(eh), inverse);
    __m512 rest = _mm512_sub_ps(_mm512_fnmsub_ps(q, dh, eh), el);
    rest = _mm512_sub_ps(rest, _mm512_mul_ps(q, dl));
    return q_copysign_m512(_mm512_fmadd_ps(rest, inverse, q), x);
}

static inline __m512 q_normal_tail_m512(__m512 x, __m512 h, __m512 l, __m512 *m, __m512 *c)
{
    __m512 n;
    __m512 r;
    __m512 d;
    __m512 e;
    __m512 pl;
    __m512 unit = _mm512_set1_ps(1.0f);
    __m512 quarter = _mm512_set1_ps(0.25f);
    q_exp_reduce_m512(h, l, &n, &r, &d);
    __m512 one = q_fast_sum_m512(unit, r, &e);
    __m512 ph = q_fast_sum_m512(one, _mm512_add_ps(e, d), &pl);
    __m512 dh = _mm512_fmadd_ps(quarter, x, unit);
    __m512 v = _mm512_div_ps(unit, dh);
    __m512 dl = _mm512_fmadd_ps(quarter, x, _mm512_sub_ps(unit, dh));
    __m512 vl = _mm512_mul_ps(_mm512_fnmadd_ps(v, dl, _mm512_fnmadd_ps(v, dh, unit)), v);
    __m512 y = _mm512_fmadd_ps(_mm512_set1_ps(2.0f), v, _mm512_set1_ps(-1.0f));
    __m512 g = _mm512_set1_ps(0x1.0af298p-15f);
    g = _mm512_fmadd_ps(g, y, _mm512_set1_ps(0x1.896246p-15f));
    g = _mm512_fmadd_ps(g, y, _mm512_set1_ps(-0x1.9b34bep-12f));
    g = _mm512_fmadd_ps(g, y, _mm512_set1_ps(-0x1.cd6e76p-11f));
    g = _mm512_fmadd_ps(g, y, _mm512_set1_ps(0x1.ed42d8p-10f));
    g = _mm512_fmadd_ps(g, y, _mm512_set1_ps(0x1.eed93ep-7f));
    g = _mm512_fmadd_ps(g, y, _mm512_set1_ps(0x1.7dffbep-5f));
    g = _mm512_fmadd_ps(g, y, _mm512_set1_ps(0x1.8c6d8ap-4f));
    g = _mm512_fmadd_ps(g, y, _mm512_set1_ps(0x1.373e3ap-3f));
    __m512 g0 = _mm512_set1_ps(0x1.82b4bcp-3f);
    __m512 w = _mm512_mul_ps(y, g);
    __m512 gh = _mm512_add_ps(w, g0);
    __m512 u = _mm512_sub_ps(gh, w);
    __m512 lost = _mm512_add_ps(_mm512_sub_ps(w, _mm512_sub_ps(gh, u)), _mm512_sub_ps(g0, u));
    __m512 gl = _mm512_add_ps(_mm512_fmsub_ps(y, g, w), lost);
    vl = _mm512_mul_ps(vl, _mm512_fmadd_ps(_mm512_set1_ps(2.2f), v, unit));
    __m512 a = _mm512_mul_ps(ph, v);
    __m512 al = _mm512_fmadd_ps(pl, v, _mm512_mul_ps(ph, vl));
    al = _mm512_add_ps(_mm512_fmsub_ps(ph, v, a), al);
    __m512 ml = _mm512_fmadd_ps(al, gh, _mm512_mul_ps(a, gl));
    *m = _mm512_mul_ps(a, gh);
    *c = _mm512_add_ps(_mm512_fmsub_ps(a, gh, *m), ml);
    return n;
}

static inline __m512 q_erf_m512(__m512 x)
{
    __m512 m;
    __m512 c;
    __m512 a = q_abs_m512(x);
    __m512 z = _mm512_mul_ps(x, x);
    __m512 p = _mm512_set1_ps(-0x1.3ca994p-11f);
    p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(0x1.47d446p-8f));
    p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(-0x1.b6a3b4p-6f));
    p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(0x1.ce1bfap-4f));
    p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(-0x1.8126eep-2f));
    p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(0x1.06eba6p-3f));
    __m512 small = _mm512_fmadd_ps(x, p, x);
    __mmask16 near = _mm512_cmp_ps_mask(a, _mm512_set1_ps(0.875f), _CMP_LT_OQ);
    a = _mm512_min_ps(_mm512_set1_ps(5.0f), a);
    __m512 h = _mm512_mul_ps(a, a);
    __m512 l = q_negate_m512(_mm512_fmsub_ps(a, a, h));
    __m512 t = _mm512_mul_ps(a, _mm512_set1_ps(0x1.6a09e6p+0f));
    __m512 n = q_normal_tail_m512(t, q_negate_m512(h), l, &m, &c);
    n = _mm512_add_ps(n, _mm512_set1_ps(1.0f));
    __m512 rest = q_scale_m512(_mm512_add_ps(m, c), n);
    __m512 large = q_copysign_m512(_mm512_sub_ps(_mm512_set1_ps(1.0f), rest), x);
    return _mm512_mask_blend_ps(near, large, small);
}

static inline __m512 q_gelu_erf_m512(__m512 x)
{
    __m512 m;
    __m512 c;
    __m512 el;
    __m512 minus_half = _mm512_set1_ps(-0.5f);
    __m512 a = q_clamp_m512(x, -15.0f, 15.0f);
    __m512 z = _mm512_mul_ps(a, a);
    __m512 h = _mm512_mul_ps(minus_half, z);
    __m512 l = _mm512_mul_ps(minus_half, _mm512_fmsub_ps(a, a, z));
    __m512 n = q_normal_tail_m512(q_abs_m512(a), h, l, &m, &c);
    __mmask16 negative = _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_LT_OQ);
    __m512 tail = q_scale_m512(m, n);
    __m512 one = q_fast_sum_m512(_mm512_set1_ps(1.0f), q_negate_m512(tail), &el);
    el = _mm512_sub_ps(el, q_scale_m512(c, n));
    m = _mm512_mask_blend_ps(negative, one, m);
    c = _mm512_mask_blend_ps(negative, el, c);
    n = _mm512_maskz_mov_ps(negative, n);
    return q_gate_m512(x, a, m, c, n, 15.0f);
}

static inline __m512 q_log_m512(__m512 x)
{
    __m512 rest;
    __m512 zero = _mm512_setzero_ps();
    __m512 infinity = _mm512_castsi512_ps(_mm512_set1_epi32(0x7f800000));
    __m512 nan = _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000));
    __mmask16 small = _mm512_cmp_ps_mask(x, _mm512_set1_ps(0x1p-126f), _CMP_LT_OQ);
    __m512 normal = _mm512_mask_blend_ps(small, x, _mm512_mul_ps(x, _mm512_set1_ps(0x1p+25f)));
    __m512i u = _mm512_castps_si512(normal);
    /* -0x3f2aaaab + 0x40000000 */
    __m512i above = _mm512_add_epi32(u, _mm512_set1_epi32(0x00d55555));
    __m512i e = _mm512_sub_epi32(_mm512_srli_epi32(above, 23), _mm512_set1_epi32(128));
    __m512i mantissa = _mm512_sub_epi32(u, _mm512_slli_epi32(e, 23));
    __m512 f = _mm512_sub_ps(_mm512_castsi512_ps(mantissa), _mm512_set1_ps(1.0f));
    __m512i down = _mm512_maskz_set1_epi32(small, 25);
    __m512 k = _mm512_cvtepi32_ps(_mm512_sub_epi32(e, down));
    __m512 p = _mm512_set1_ps(-0x1.07de08p-3f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.1e706p-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(-0x1.f32758p-4f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.1ed4ep-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(-0x1.559ccap-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.99d054p-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(-0x1.fffef8p-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.555506p-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(-0.5f));
    __m512 h = q_fast_sum_m512(_mm512_mul_ps(k, _mm512_set1_ps(0x1.62e4p-1f)), f, &rest);
    rest = _mm512_fmadd_ps(k, _mm512_set1_ps(0x1.7f7d1cp-20f), rest);
    __m512 y = _mm512_add_ps(h, _mm512_fmadd_ps(_mm512_mul_ps(f, f), p, rest));
    y = _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, infinity, _CMP_LT_OQ), x, y);
    y = _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, zero, _CMP_EQ_OQ), y, q_negate_m512(infinity));
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, zero, _CMP_LT_OQ), y, nan);
}

#endif /* QORUS_BACKENDS_AVX512_ELEMENTARY_AVX512_H */
