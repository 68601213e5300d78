/* SPDX-License-Identifier: MIT */
/*
 * elementary.h: the float functions of qorus/base/elementary_f32.h on the lanes of a vec.
 *
 * Same operations in the same order as there, where each is explained; vec_power is how an instruction set holds a power
 * of two. The bits are equal for all 2^32 inputs (test/elementary), except that a NaN may differ in sign and payload.
 */
#ifndef Q_X86_ELEMENTARY_H
#define Q_X86_ELEMENTARY_H

/* x clamped to [low, high]; NaN stays. */
static inline vec vec_clamp(vec x, float low, float high)
{
    x = vec_max(vec_set(low), x);
    return vec_min(vec_set(high), x);
}

static inline vec vec_fast_sum(vec a, vec b, vec *l)
{
    vec h = vec_add(a, b);
    *l = vec_sub(b, vec_sub(h, a));
    return h;
}

static inline void vec_exp_reduce(vec h, vec l, vec_power *n, vec *r, vec *t)
{
    vec magic = vec_set(0x1.8p+23f);
    vec shifted = vec_fma(h, vec_set(0x1.715476p+0f), magic);
    vec k = vec_sub(shifted, magic);
    vec a = vec_fma(k, vec_set(-0x1.62e43p-1f), h);
    vec b = vec_fma(k, vec_set(0x1.05c61p-29f), l);
    vec x = vec_fast_sum(a, b, &b);
    vec p = vec_set(0x1.6a4954p-10f);
    p = vec_fma(p, x, vec_set(0x1.12399ep-7f));
    p = vec_fma(p, x, vec_set(0x1.5558b4p-5f));
    p = vec_fma(p, x, vec_set(0x1.555492p-3f));
    p = vec_fma(p, x, vec_set(0x1.fffffcp-2f));
    *n = vec_power_of(k, shifted);
    *r = x;
    *t = vec_fma(vec_mul(x, x), p, b);
}

static inline vec vec_exp(vec x)
{
    vec_power n;
    vec r;
    vec t;
    vec e;
    x = vec_clamp(x, -104.0f, 89.0f);
    vec_exp_reduce(x, vec_zero(), &n, &r, &t);
    vec one = vec_fast_sum(vec_set(1.0f), r, &e);
    return vec_scale(vec_add(one, vec_add(e, t)), n);
}

static inline vec_power vec_logistic(vec h, vec l, vec *m, vec *c)
{
    vec_power n;
    vec r;
    vec t;
    vec e;
    vec pl;
    vec dl;
    vec unit = vec_set(1.0f);
    vec zero = vec_zero();
    vec_lanes negative = vec_below(h, zero);
    h = vec_choose(negative, h, vec_negate(h));
    l = vec_choose(negative, l, vec_negate(l));
    vec_exp_reduce(h, l, &n, &r, &t);
    vec one = vec_fast_sum(unit, r, &e);
    vec ph = vec_fast_sum(one, vec_add(e, t), &pl);
    vec dh = vec_fast_sum(unit, vec_scale(ph, n), &dl);
    dl = vec_add(dl, vec_scale(pl, n));
    vec inverse = vec_div(unit, dh);
    vec nh = vec_choose(negative, ph, unit);
    vec nl = vec_keep(negative, pl);
    vec q = vec_mul(nh, inverse);
    vec rest = vec_add(vec_fnma(q, dh, nh), vec_fnma(q, dl, nl));
    *m = q;
    *c = vec_mul(rest, inverse);
    return vec_power_keep(negative, n);
}

/* a * (m + c) * 2^n, or x itself beyond `top`, where the function is x to the last bit. */
static inline vec vec_gate(vec x, vec a, vec m, vec c, vec_power n, float top)
{
    vec y = vec_scale(vec_fma(a, m, vec_mul(a, c)), n);
    return vec_choose(vec_above(x, vec_set(top)), x, y);
}

static inline vec vec_sigmoid(vec x)
{
    vec m;
    vec c;
    vec_power n = vec_logistic(vec_clamp(x, -110.0f, 110.0f), vec_zero(), &m, &c);
    return vec_scale(vec_add(m, c), n);
}

static inline vec vec_silu(vec x)
{
    vec m;
    vec c;
    vec a = vec_clamp(x, -120.0f, 120.0f);
    vec_power n = vec_logistic(a, vec_zero(), &m, &c);
    return vec_gate(x, a, m, c, n, 120.0f);
}

static inline vec vec_gelu_tanh(vec x)
{
    vec m;
    vec c;
    vec bh = vec_set(0x1.2444f2p-4f);
    vec ah = vec_set(0x1.988454p+0f);
    vec a = vec_clamp(x, -12.0f, 12.0f);
    vec z = vec_mul(a, a);
    vec zl = vec_fms(a, a, z);
    vec b = vec_mul(z, bh);
    vec bl = vec_fms(z, bh, b);
    bl = vec_fma(zl, bh, vec_fma(z, vec_set(0x1.49b16ap-29f), bl));
    vec w = vec_add(b, ah);
    vec v = vec_sub(w, b);
    vec wl = vec_add(vec_sub(b, vec_sub(w, v)), vec_sub(ah, v));
    wl = vec_add(wl, vec_sub(bl, vec_set(0x1.857936p-25f)));
    vec h = vec_mul(a, w);
    vec hl = vec_fma(a, wl, vec_fms(a, w, h));
    vec_power n = vec_logistic(h, hl, &m, &c);
    return vec_gate(x, a, m, c, n, 12.0f);
}

static inline vec vec_tanh(vec x)
{
    vec_power n;
    vec r;
    vec t;
    vec el;
    vec dl;
    vec unit = vec_set(1.0f);
    vec a = vec_min(vec_set(10.0f), vec_abs(x));
    a = vec_mul(vec_set(-2.0f), a);
    vec_exp_reduce(a, vec_zero(), &n, &r, &t);
    vec s = vec_power_value(n);
    vec h = vec_fast_sum(r, t, &t);
    vec s1 = vec_sub(s, unit);
    vec sl = vec_sub(s, vec_add(s1, unit));
    vec eh = vec_fast_sum(s1, vec_mul(s, h), &el);
    el = vec_add(el, vec_fma(s, t, sl));
    vec dh = vec_fast_sum(vec_set(2.0f), eh, &dl);
    dl = vec_add(dl, el);
    vec inverse = vec_div(unit, dh);
    vec q = vec_mul(vec_negate(eh), inverse);
    vec rest = vec_sub(vec_fnms(q, dh, eh), el);
    rest = vec_sub(rest, vec_mul(q, dl));
    return vec_copysign(vec_fma(rest, inverse, q), x);
}

static inline vec_power vec_normal_tail(vec x, vec h, vec l, vec *m, vec *c)
{
    vec_power n;
    vec r;
    vec d;
    vec e;
    vec pl;
    vec unit = vec_set(1.0f);
    vec quarter = vec_set(0.25f);
    vec_exp_reduce(h, l, &n, &r, &d);
    vec one = vec_fast_sum(unit, r, &e);
    vec ph = vec_fast_sum(one, vec_add(e, d), &pl);
    vec dh = vec_fma(quarter, x, unit);
    vec v = vec_div(unit, dh);
    vec dl = vec_fma(quarter, x, vec_sub(unit, dh));
    vec vl = vec_mul(vec_fnma(v, dl, vec_fnma(v, dh, unit)), v);
    vec y = vec_fma(vec_set(2.0f), v, vec_set(-1.0f));
    vec g = vec_set(0x1.0af298p-15f);
    g = vec_fma(g, y, vec_set(0x1.896246p-15f));
    g = vec_fma(g, y, vec_set(-0x1.9b34bep-12f));
    g = vec_fma(g, y, vec_set(-0x1.cd6e76p-11f));
    g = vec_fma(g, y, vec_set(0x1.ed42d8p-10f));
    g = vec_fma(g, y, vec_set(0x1.eed93ep-7f));
    g = vec_fma(g, y, vec_set(0x1.7dffbep-5f));
    g = vec_fma(g, y, vec_set(0x1.8c6d8ap-4f));
    g = vec_fma(g, y, vec_set(0x1.373e3ap-3f));
    vec g0 = vec_set(0x1.82b4bcp-3f);
    vec w = vec_mul(y, g);
    vec gh = vec_add(w, g0);
    vec u = vec_sub(gh, w);
    vec lost = vec_add(vec_sub(w, vec_sub(gh, u)), vec_sub(g0, u));
    vec gl = vec_add(vec_fms(y, g, w), lost);
    vl = vec_mul(vl, vec_fma(vec_set(2.2f), v, unit));
    vec a = vec_mul(ph, v);
    vec al = vec_fma(pl, v, vec_mul(ph, vl));
    al = vec_add(vec_fms(ph, v, a), al);
    vec ml = vec_fma(al, gh, vec_mul(a, gl));
    *m = vec_mul(a, gh);
    *c = vec_add(vec_fms(a, gh, *m), ml);
    return n;
}

static inline vec vec_erf(vec x)
{
    vec m;
    vec c;
    vec a = vec_abs(x);
    vec z = vec_mul(x, x);
    vec p = vec_set(-0x1.3ca994p-11f);
    p = vec_fma(p, z, vec_set(0x1.47d446p-8f));
    p = vec_fma(p, z, vec_set(-0x1.b6a3b4p-6f));
    p = vec_fma(p, z, vec_set(0x1.ce1bfap-4f));
    p = vec_fma(p, z, vec_set(-0x1.8126eep-2f));
    p = vec_fma(p, z, vec_set(0x1.06eba6p-3f));
    vec small = vec_fma(x, p, x);
    vec_lanes near = vec_below(a, vec_set(0.875f));
    a = vec_min(vec_set(5.0f), a);
    vec h = vec_mul(a, a);
    vec l = vec_negate(vec_fms(a, a, h));
    vec t = vec_mul(a, vec_set(0x1.6a09e6p+0f));
    vec_power n = vec_normal_tail(t, vec_negate(h), l, &m, &c);
    n = vec_power_next(n);
    vec rest = vec_scale(vec_add(m, c), n);
    vec large = vec_copysign(vec_sub(vec_set(1.0f), rest), x);
    return vec_choose(near, small, large);
}

static inline vec vec_gelu_erf(vec x)
{
    vec m;
    vec c;
    vec el;
    vec minus_half = vec_set(-0.5f);
    vec a = vec_clamp(x, -15.0f, 15.0f);
    vec z = vec_mul(a, a);
    vec h = vec_mul(minus_half, z);
    vec l = vec_mul(minus_half, vec_fms(a, a, z));
    vec_power n = vec_normal_tail(vec_abs(a), h, l, &m, &c);
    vec_lanes negative = vec_below(a, vec_zero());
    vec tail = vec_scale(m, n);
    vec one = vec_fast_sum(vec_set(1.0f), vec_negate(tail), &el);
    el = vec_sub(el, vec_scale(c, n));
    m = vec_choose(negative, m, one);
    c = vec_choose(negative, c, el);
    n = vec_power_keep(negative, n);
    return vec_gate(x, a, m, c, n, 15.0f);
}

static inline vec vec_log(vec x)
{
    vec rest;
    vec zero = vec_zero();
    vec infinity = vec_of_bits(veci_set(0x7f800000));
    vec nan = vec_of_bits(veci_set(0x7fc00000));
    vec_lanes small = vec_below(x, vec_set(0x1p-126f));
    vec normal = vec_choose(small, vec_mul(x, vec_set(0x1p+25f)), x);
    veci u = vec_bits(normal);
    /* -0x3f2aaaab + 0x40000000 */
    veci above = veci_add(u, veci_set(0x00d55555));
    veci e = veci_sub(veci_down(above, 23), veci_set(128));
    veci mantissa = veci_sub(u, veci_up(e, 23));
    vec f = vec_sub(vec_of_bits(mantissa), vec_set(1.0f));
    veci down = veci_keep(small, veci_set(25));
    vec k = vec_of_int(veci_sub(e, down));
    vec p = vec_set(-0x1.07de08p-3f);
    p = vec_fma(p, f, vec_set(0x1.1e706p-3f));
    p = vec_fma(p, f, vec_set(-0x1.f32758p-4f));
    p = vec_fma(p, f, vec_set(0x1.1ed4ep-3f));
    p = vec_fma(p, f, vec_set(-0x1.559ccap-3f));
    p = vec_fma(p, f, vec_set(0x1.99d054p-3f));
    p = vec_fma(p, f, vec_set(-0x1.fffef8p-3f));
    p = vec_fma(p, f, vec_set(0x1.555506p-2f));
    p = vec_fma(p, f, vec_set(-0.5f));
    vec h = vec_fast_sum(vec_mul(k, vec_set(0x1.62e4p-1f)), f, &rest);
    rest = vec_fma(k, vec_set(0x1.7f7d1cp-20f), rest);
    vec y = vec_add(h, vec_fma(vec_mul(f, f), p, rest));
    y = vec_choose(vec_below(x, infinity), y, x);
    y = vec_choose(vec_equal(x, zero), vec_negate(infinity), y);
    return vec_choose(vec_below(x, zero), nan, y);
}

#endif /* Q_X86_ELEMENTARY_H */
