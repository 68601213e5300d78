/* SPDX-License-Identifier: MIT */
/*
 * fma.h: fused multiply-add and square root, correctly rounded on every target.
 *
 *   q_fma_f32, q_fma_f64, q_fma      a*b + c rounded once
 *   q_fma16_f32, q_fma16             the same on 16 lanes: acc[i] = a*b[i] + acc[i]
 *   q_sqrt_f32, q_sqrt_f64, q_sqrt   square root rounded once
 *
 * One instruction where the target has it, else software with the same bits; no libm symbol is ever
 * referenced. The software forms (q_soft_*) are always there, so that tests can hold them against
 * the hardware. What software costs: fma f32 a conversion, a product, a sum and two tests of the
 * result in double, on 16 lanes less; fma f64 and the square roots 50 to 200 operations.
 */
#ifndef QORUS_BASE_FMA_H
#define QORUS_BASE_FMA_H

#include "bits.h"

/* ---- What the target has --------------------------------------------------------------------- */

#if defined(__GNUC__) || defined(__clang__)
#if defined(__FMA__) || defined(__aarch64__)
#define Q_HAS_FMA_F32 1
#define Q_HAS_FMA_F64 1
#elif defined(__riscv_flen)
#if __riscv_flen >= 32
#define Q_HAS_FMA_F32 1
#endif
#if __riscv_flen >= 64
#define Q_HAS_FMA_F64 1
#endif
#elif defined(__ARM_FEATURE_FMA) && defined(__ARM_FP)
#if (__ARM_FP & 0x4) != 0
#define Q_HAS_FMA_F32 1
#endif
#if (__ARM_FP & 0x8) != 0
#define Q_HAS_FMA_F64 1
#endif
#endif

#if defined(__SSE2__) || defined(__aarch64__)
#define Q_HAS_SQRT_F32 1
#define Q_HAS_SQRT_F64 1
#elif defined(__riscv_flen) && defined(__riscv_fdiv)
#if __riscv_flen >= 32
#define Q_HAS_SQRT_F32 1
#endif
#if __riscv_flen >= 64
#define Q_HAS_SQRT_F64 1
#endif
#elif defined(__ARM_FP)
#if (__ARM_FP & 0x4) != 0
#define Q_HAS_SQRT_F32 1
#endif
#if (__ARM_FP & 0x8) != 0
#define Q_HAS_SQRT_F64 1
#endif
#endif
#endif

#ifndef Q_HAS_FMA_F32
#define Q_HAS_FMA_F32 0
#endif
#ifndef Q_HAS_FMA_F64
#define Q_HAS_FMA_F64 0
#endif
#ifndef Q_HAS_SQRT_F32
#define Q_HAS_SQRT_F32 0
#endif
#ifndef Q_HAS_SQRT_F64
#define Q_HAS_SQRT_F64 0
#endif

/* ---- Fused multiply-add, f32 ----------------------------------------------------------------- */

/*
 * The product of two floats is exact in double. The sum s is then made "round to odd": where it is
 * inexact (err, found exactly by TwoSum, is not 0) and its last bit is even, the neighbour towards
 * the true value is taken, whose last bit is odd. A double so rounded carries 53 >= 24 + 2 bits,
 * hence the conversion to float gives the rounding of the true value, subnormals included (Boldo
 * and Melquiond 2008). err is NaN where s is infinite or NaN; both comparisons are then false and s
 * stays. Without a branch.
 */
static inline float q_soft_fma_odd_f32(float a, float b, float c)
{
    double p = (double)a * (double)b;
    double z = (double)c;
    double s = p + z;
    double t = s - p;
    double err = (p - (s - t)) + (z - t);
    uint64_t u = q_bits_f64(s);
    uint64_t inexact = (uint64_t)(err < 0.0) | (uint64_t)(err > 0.0);
    uint64_t step = inexact & ~u;
    uint64_t inward = (u ^ q_bits_f64(err)) >> 63;
    u = u + step - ((step & inward) << 1);
    return (float)q_double_u64(u);
}

/*
 * True where rounding the double s once more, to float, may differ from rounding the true value: s
 * lies halfway between two floats, or below 2^-126, where halfway patterns are others.
 */
static inline uint32_t q_soft_fma_doubtful(double s)
{
    uint64_t u = q_bits_f64(s);
    uint32_t low = (uint32_t)u & 0x1fffffffu;
    uint32_t high = (uint32_t)(u >> 32) & 0x7fffffffu;
    return (uint32_t)(low == 0x10000000u) | (uint32_t)(high < 0x38100000u);
}

static inline float q_soft_fma_f32(float a, float b, float c)
{
    double s = (double)a * (double)b + (double)c;
    if (Q_UNLIKELY(q_soft_fma_doubtful(s) != 0)) {
        return q_soft_fma_odd_f32(a, b, c);
    }
    return (float)s;
}

static inline float q_fma_f32(float a, float b, float c)
{
#if Q_HAS_FMA_F32
    return __builtin_fmaf(a, b, c);
#else
    return q_soft_fma_f32(a, b, c);
#endif
}

/* acc[i] = fma(a, b[i], acc[i]) for 16 lanes in software; the doubt is looked at once for all. */
static inline void q_soft_fma16_f32(float a, const float *Q_RESTRICT b, float *Q_RESTRICT acc)
{
    double s[16];
    uint32_t doubt = 0;
    for (uint32_t i = 0; i < 16; ++i) {
        s[i] = (double)a * (double)b[i] + (double)acc[i];
    }
    for (uint32_t i = 0; i < 16; ++i) {
        doubt |= q_soft_fma_doubtful(s[i]);
    }
    if (Q_UNLIKELY(doubt != 0)) {
        for (uint32_t i = 0; i < 16; ++i) {
            acc[i] = q_soft_fma_odd_f32(a, b[i], acc[i]);
        }
        return;
    }
    for (uint32_t i = 0; i < 16; ++i) {
        acc[i] = (float)s[i];
    }
}

/* acc[i] = fma(a, b[i], acc[i]) for 16 lanes: the inner loop of a product, lane = output. */
static inline void q_fma16_f32(float a, const float *Q_RESTRICT b, float *Q_RESTRICT acc)
{
#if Q_HAS_FMA_F32
    for (uint32_t i = 0; i < 16; ++i) {
        acc[i] = __builtin_fmaf(a, b[i], acc[i]);
    }
#else
    q_soft_fma16_f32(a, b, acc);
#endif
}

/* ---- Fused multiply-add, f64 ----------------------------------------------------------------- */

typedef struct q_u128 {
    uint64_t hi;
    uint64_t lo;
} q_u128;

/* a >> n, with the lowest bit set if any bit fell out. */
static inline q_u128 q_u128_shift_sticky(q_u128 a, uint32_t n)
{
    q_u128 r = a;
    uint64_t lost = 0;
    if (n >= 128) {
        r.hi = 0;
        r.lo = (a.hi | a.lo) != 0;
        return r;
    }
    if (n >= 64) {
        lost = r.lo;
        r.lo = r.hi;
        r.hi = 0;
        n -= 64;
    }
    if (n != 0) {
        lost |= r.lo << (64 - n);
        r.lo = (r.lo >> n) | (r.hi << (64 - n));
        r.hi >>= n;
    }
    r.lo |= (uint64_t)(lost != 0);
    return r;
}

static inline q_u128 q_u128_shift_left(q_u128 a, uint32_t n)
{
    if (n >= 64) {
        a.hi = a.lo;
        a.lo = 0;
        n -= 64;
    }
    if (n != 0) {
        a.hi = (a.hi << n) | (a.lo >> (64 - n));
        a.lo <<= n;
    }
    return a;
}

static inline q_u128 q_u128_add(q_u128 a, q_u128 b)
{
    q_u128 r;
    r.lo = a.lo + b.lo;
    r.hi = a.hi + b.hi + (uint64_t)(r.lo < a.lo);
    return r;
}

/* a - b, a >= b. */
static inline q_u128 q_u128_sub(q_u128 a, q_u128 b)
{
    q_u128 r;
    r.lo = a.lo - b.lo;
    r.hi = a.hi - b.hi - (uint64_t)(a.lo < b.lo);
    return r;
}

static inline bool q_u128_less(q_u128 a, q_u128 b)
{
    return a.hi < b.hi || (a.hi == b.hi && a.lo < b.lo);
}

/* Finite x != 0 as mantissa * 2^exponent, 2^52 <= mantissa < 2^53. */
static inline uint64_t q_unpack_f64(double x, int32_t *exponent)
{
    uint64_t u = q_bits_f64(x);
    uint64_t m = u & 0xfffffffffffffu;
    int32_t e = (int32_t)((u >> 52) & 0x7ff);
    if (e == 0) {
        e = 1;
        while ((m >> 52) == 0) {
            m <<= 1;
            e -= 1;
        }
    }
    *exponent = e - 1075;
    return m | 0x10000000000000u;
}

/* (-1)^sign * m * 2^e rounded to double; m != 0, its lowest bit may be sticky if m >= 2^64. */
static inline double q_pack_f64(uint32_t sign, q_u128 m, int32_t e)
{
    uint64_t top = (uint64_t)sign << 63;
    while ((m.hi >> 63) == 0) {
        uint32_t n = m.hi == 0 ? 64u : 1u;
        m = q_u128_shift_left(m, n);
        e -= (int32_t)n;
    }
    /* value = m * 2^e with m in [2^127, 2^128); the last bit kept is worth 2^(e + drop) */
    int32_t drop = e + 75 < -1074 ? -1074 - e : 75;
    if (e + drop > 971) {
        return q_double_u64(top | 0x7ff0000000000000u);
    }
    q_u128 r = q_u128_shift_sticky(m, (uint32_t)drop - 2u);
    uint64_t kept = r.lo >> 2;
    uint64_t rest = r.lo & 3u;
    kept += (uint64_t)(rest > 2u || (rest == 2u && (kept & 1u) != 0));
    return q_double_u64(top | (((uint64_t)(e + drop + 1074) << 52) + kept));
}

/* Sum of the product P (< 2^106) * 2^ep and C (< 2^53) * 2^ec, each with its sign, rounded to
   double. */
static inline double q_fma_sum_f64(uint32_t sp, q_u128 p, int32_t ep, uint32_t sc, uint64_t mc,
                                   int32_t ec)
{
    q_u128 c;
    p = q_u128_shift_left(p, 20);
    ep -= 20;
    c.hi = mc << 9;
    c.lo = 0;
    ec -= 73;
    /* Both lie in [2^124, 2^126). Bits fall out only of the smaller one, more than 18 places
       below the leading bit of the other, whose lowest bit is 0: the sticky bit survives a
       subtraction. */
    if (ep >= ec) {
        c = q_u128_shift_sticky(c, (uint32_t)(ep - ec));
        ec = ep;
    } else {
        p = q_u128_shift_sticky(p, (uint32_t)(ec - ep));
    }
    if (sp == sc) {
        return q_pack_f64(sp, q_u128_add(p, c), ec);
    }
    if (q_u128_less(p, c)) {
        return q_pack_f64(sc, q_u128_sub(c, p), ec);
    }
    p = q_u128_sub(p, c);
    if ((p.hi | p.lo) == 0) {
        return 0.0;
    }
    return q_pack_f64(sp, p, ec);
}

static inline double q_soft_fma_f64(double a, double b, double c)
{
    const uint64_t infinity = 0x7ff0000000000000u;
    uint64_t ua = q_bits_f64(a);
    uint64_t ub = q_bits_f64(b);
    uint64_t uc = q_bits_f64(c);
    bool finite = (ua & infinity) != infinity && (ub & infinity) != infinity;
    if (!finite || (ua << 1) == 0 || (ub << 1) == 0) {
        return a * b + c; /* the product is exact */
    }
    if ((uc & infinity) == infinity) {
        return c + c;
    }
    if ((uc << 1) == 0) {
        return a * b;
    }
    int32_t ea;
    int32_t eb;
    int32_t ec;
    uint64_t ma = q_unpack_f64(a, &ea);
    uint64_t mb = q_unpack_f64(b, &eb);
    uint64_t mc = q_unpack_f64(c, &ec);
    q_u128 p;
    q_mul_u64_wide(ma, mb, &p.hi, &p.lo);
    return q_fma_sum_f64((uint32_t)((ua ^ ub) >> 63), p, ea + eb, (uint32_t)(uc >> 63), mc, ec);
}

static inline double q_fma_f64(double a, double b, double c)
{
#if Q_HAS_FMA_F64
    return __builtin_fma(a, b, c);
#else
    return q_soft_fma_f64(a, b, c);
#endif
}

/* ---- Square root ----------------------------------------------------------------------------- */

/* One digit of the root of a radicand whose next two bits are `next`; rem <= 2 root throughout. */
static inline void q_sqrt_digit(uint64_t *root, uint64_t *rem, uint64_t next)
{
    uint64_t r = (*rem << 2) | next;
    uint64_t t = (*root << 2) | 1u;
    bool one = r >= t;
    *rem = one ? r - t : r;
    *root = (*root << 1) | (uint64_t)one;
}

/* Digit by digit; the bit after the last one rounds, since no root lies halfway between two
   floats. */
static inline float q_soft_sqrt_f32(float x)
{
    uint32_t u = q_bits_f32(x);
    int32_t e = (int32_t)(u >> 23);
    uint64_t m = u & 0x7fffffu;
    uint64_t root = 0;
    uint64_t rem = 0;
    if ((u << 1) == 0 || e >= 0xff) {
        return (u << 1) == 0 || u == 0x7f800000u ? x : (x - x) / (x - x);
    }
    if (e == 0) {
        e = 1;
        while ((m >> 23) == 0) {
            m <<= 1;
            e -= 1;
        }
    }
    m |= 0x800000u;
    e -= 150;
    if ((e & 1) == 0) {
        m <<= 1;
        e -= 1;
    }
    /* x = m * 2^e, e odd, m in [2^23, 2^25): sqrt(x) = sqrt(2m * 2^24) * 2^((e - 25)/2) */
    for (uint32_t i = 0; i < 25; ++i) {
        q_sqrt_digit(&root, &rem, i < 13 ? ((m << 1) >> (24u - 2u * i)) & 3u : 0u);
    }
    root = (root + 1u) / 2u;
    return q_float_u32(((uint32_t)((e - 25) / 2 + 1 + 149) << 23) + (uint32_t)root);
}

static inline double q_soft_sqrt_f64(double x)
{
    uint64_t u = q_bits_f64(x);
    int32_t e;
    uint64_t m;
    uint64_t root = 0;
    uint64_t rem = 0;
    if ((u << 1) == 0 || (u >> 52) >= 0x7ff) {
        return (u << 1) == 0 || u == 0x7ff0000000000000u ? x : (x - x) / (x - x);
    }
    m = q_unpack_f64(x, &e);
    if ((e & 1) != 0) {
        m <<= 1;
        e -= 1;
    }
    /* x = m * 2^e, e even, m in [2^52, 2^54): sqrt(x) = sqrt(m * 2^54) * 2^(e/2 - 27) */
    for (uint32_t i = 0; i < 54; ++i) {
        q_sqrt_digit(&root, &rem, i < 27 ? (m >> (52u - 2u * i)) & 3u : 0u);
    }
    root = (root + 1u) / 2u;
    return q_double_u64(((uint64_t)(e / 2 - 26 + 1074) << 52) + root);
}

static inline float q_sqrt_f32(float x)
{
#if Q_HAS_SQRT_F32
    return __builtin_sqrtf(x);
#else
    return q_soft_sqrt_f32(x);
#endif
}

static inline double q_sqrt_f64(double x)
{
#if Q_HAS_SQRT_F64
    return __builtin_sqrt(x);
#else
    return q_soft_sqrt_f64(x);
#endif
}

/* ---- By the real type ------------------------------------------------------------------------ */

#ifdef Q_REAL_DOUBLE
static inline q_real q_fma(q_real a, q_real b, q_real c)
{
    return q_fma_f64(a, b, c);
}

static inline void q_fma16(q_real a, const q_real *Q_RESTRICT b, q_real *Q_RESTRICT acc)
{
    for (uint32_t i = 0; i < 16; ++i) {
        acc[i] = q_fma_f64(a, b[i], acc[i]);
    }
}

static inline q_real q_sqrt(q_real x)
{
    return q_sqrt_f64(x);
}
#else
static inline q_real q_fma(q_real a, q_real b, q_real c)
{
    return q_fma_f32(a, b, c);
}

static inline void q_fma16(q_real a, const q_real *Q_RESTRICT b, q_real *Q_RESTRICT acc)
{
    q_fma16_f32(a, b, acc);
}

static inline q_real q_sqrt(q_real x)
{
    return q_sqrt_f32(x);
}
#endif

#endif /* QORUS_BASE_FMA_H */
