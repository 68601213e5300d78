/* SPDX-License-Identifier: MIT */
/*
 * fma_half.c: software fma and square root against the hardware or libm, halves against exhaustive
 * references.
 */
#include "ulp.h"

#include "qorus/base/fma.h"
#include "qorus/base/half.h"

#include <math.h>
#include <stdio.h>

/* Equal bits, or both NaN. */
static bool same_f32(float a, float b)
{
    return q_bits_f32(a) == q_bits_f32(b) || (a != a && b != b);
}

static bool same_f64(double a, double b)
{
    return q_bits_f64(a) == q_bits_f64(b) || (a != a && b != b);
}

/* A float of one of eight kinds: any bits, few bits set, near one, subnormal, special. */
static float odd_float(uint64_t *state)
{
    uint64_t r = random_u64(state);
    uint32_t u = (uint32_t)(r >> 32);
    switch (r & 7u) {
    case 0:
        return q_float_u32(u & 0xfff00000u);
    case 1:
        return q_float_u32((u & 0x80ffffffu) | 0x3f000000u);
    case 2:
        return q_float_u32(u & 0x807fffffu);
    case 3:
        return q_float_u32((u & 0xff800000u) | ((u & 0x7fffffu) >> 20));
    case 4:
        return q_float_u32((u & 0xbfffffffu) | 0x20000000u); /* products near the subnormals */
    default:
        return q_float_u32(u);
    }
}

static double odd_double(uint64_t *state)
{
    uint64_t kind = random_u64(state);
    uint64_t u = random_u64(state);
    switch (kind & 7u) {
    case 0:
        return q_double_u64(u & 0xffffff0000000000u);
    case 1:
        return q_double_u64((u & 0x801fffffffffffffu) | 0x3fe0000000000000u);
    case 2:
        return q_double_u64(u & 0x800fffffffffffffu);
    case 3:
        return q_double_u64(u & 0xfff0000000000003u);
    case 4:
        return q_double_u64((u & 0x9fffffffffffffffu) | 0x2000000000000000u);
    case 5:
        return q_double_u64((u & 0x807fffffffffffffu) | 0x3fc0000000000000u);
    default:
        return q_double_u64(u);
    }
}

/*
 * The third operand of adversarial cases: cancels the product up to a few units, or is half a unit
 * of it away from a tie, or lies far below it.
 */
static float against_product_f32(float a, float b, uint64_t *state)
{
    uint64_t r = random_u64(state);
    float p = (float)((double)a * (double)b);
    int few = (int)(r >> 8 & 7u) - 3;
    switch (r & 3u) {
    case 0:
        return -p * (1.0f + (float)few * 0x1p-23f);
    case 1:
        return ldexpf(p, -24 + few);
    case 2:
        return ldexpf(p, 24 + few);
    default:
        return -(float)((double)a * (double)b - (double)p);
    }
}

static double against_product_f64(double a, double b, uint64_t *state)
{
    uint64_t r = random_u64(state);
    double p = a * b;
    int few = (int)(r >> 8 & 7u) - 3;
    switch (r & 3u) {
    case 0:
        return -p * (1.0 + few * 0x1p-52);
    case 1:
        return ldexp(p, -53 + few);
    case 2:
        return ldexp(p, 53 + few);
    default:
        return ldexp(p, -106 + few);
    }
}

/* Products just off an odd multiple of 2^-150, on both sides, added to multiples of 2^-149. */
static bool fma_subnormal_ok(uint64_t n, bool hardware, uint64_t seed)
{
    for (uint64_t i = 0; i < n; ++i) {
        uint64_t r = random_u64(&seed);
        float few = (float)(r & 7u) * 0x1p-23f;
        float odd = (float)((r >> 3 & 0x3fu) * 2 + 1) * 0x1p-75f;
        float a = odd * (1.0f + few);
        float b = (r & 0x200u) != 0 ? 0x1p-75f * (1.0f - few) : 0x1p-75f * (1.0f + few);
        float c = q_float_u32((uint32_t)(r >> 32) & 0x81ffffffu);
        float want = hardware ? hardware_fma_f32(a, b, c) : fmaf(a, b, c);
        if (!same_f32(q_soft_fma_f32(a, b, c), want)) {
            printf("fma_f32(%a, %a, %a), not %a\n", (double)a, (double)b, (double)c,
                   (double)want);
            return false;
        }
    }
    return true;
}

static bool fma_f32_ok(uint64_t n, bool hardware, uint64_t seed)
{
    for (uint64_t i = 0; i < n; ++i) {
        float a = odd_float(&seed);
        float b = odd_float(&seed);
        float c = i % 2 == 0 ? odd_float(&seed) : against_product_f32(a, b, &seed);
        float want = hardware ? hardware_fma_f32(a, b, c) : fmaf(a, b, c);
        float got = q_soft_fma_f32(a, b, c);
        if (!same_f32(got, want) || !same_f32(q_soft_fma_odd_f32(a, b, c), want)) {
            printf("fma_f32(%a, %a, %a) = %a, not %a\n", (double)a, (double)b, (double)c,
                   (double)got, (double)want);
            return false;
        }
    }
    return true;
}

/* 16 lanes at once, of which one, several or none need care. */
static bool fma16_ok(uint64_t n, bool hardware, uint64_t seed)
{
    for (uint64_t k = 0; k < n; ++k) {
        float b[16];
        float acc[16];
        float want[16];
        float a = k % 2 == 0 ? odd_float(&seed) : (float)(int32_t)random_u64(&seed) * 0x1p-31f;
        for (size_t i = 0; i < 16; ++i) {
            bool odd = k % 2 == 0 || i == k % 32;
            b[i] = odd ? odd_float(&seed) : (float)(int32_t)random_u64(&seed) * 0x1p-31f;
            acc[i] = odd ? against_product_f32(a, b[i], &seed) : b[i] * 3.0f;
            want[i] = hardware ? hardware_fma_f32(a, b[i], acc[i]) : fmaf(a, b[i], acc[i]);
        }
        q_soft_fma16_f32(a, b, acc);
        for (size_t i = 0; i < 16; ++i) {
            if (!same_f32(acc[i], want[i])) {
                printf("fma16(%a, %a) = %a, not %a\n", (double)a, (double)b[i], (double)acc[i],
                       (double)want[i]);
                return false;
            }
        }
    }
    return true;
}

static bool fma_f64_ok(uint64_t n, bool hardware, uint64_t seed)
{
    for (uint64_t i = 0; i < n; ++i) {
        double a = odd_double(&seed);
        double b = odd_double(&seed);
        double c = i % 2 == 0 ? odd_double(&seed) : against_product_f64(a, b, &seed);
        double want = hardware ? hardware_fma_f64(a, b, c) : fma(a, b, c);
        double got = q_soft_fma_f64(a, b, c);
        if (!same_f64(got, want)) {
            printf("fma_f64(%a, %a, %a) = %a, not %a\n", a, b, c, got, want);
            return false;
        }
    }
    return true;
}

/* Every float, or one of each `stride`. */
static bool sqrt_f32_ok(uint64_t stride)
{
    for (uint64_t u = 0; u <= UINT32_MAX; u += stride) {
        float x = q_float_u32((uint32_t)u);
        if (!same_f32(q_soft_sqrt_f32(x), sqrtf(x)) || !same_f32(q_sqrt_f32(x), sqrtf(x))) {
            printf("sqrt_f32(%a) = %a\n", (double)x, (double)q_soft_sqrt_f32(x));
            return false;
        }
    }
    return true;
}

static bool sqrt_f64_ok(uint64_t n, uint64_t seed)
{
    for (uint64_t i = 0; i < n; ++i) {
        double x = odd_double(&seed);
        x = i % 8 == 0 ? x : q_abs_f64(x);
        x = i % 4 == 1 ? x * x : x; /* exact roots */
        if (!same_f64(q_soft_sqrt_f64(x), sqrt(x))) {
            printf("sqrt_f64(%a) = %a\n", x, q_soft_sqrt_f64(x));
            return false;
        }
    }
    return true;
}

/* Value of a finite f16, by arithmetic. */
static double value_f16(uint32_t h)
{
    int e = (int)(h >> 10 & 31u);
    int m = (int)(h & 1023u);
    double v = e == 0 ? ldexp(m, -24) : ldexp(1024 + m, e - 25);
    return (h & 0x8000u) != 0 ? -v : v;
}

static bool f32_from_f16_ok(bool hardware)
{
    for (uint32_t h = 0; h < 65536; ++h) {
        float got = q_f32_from_f16((uint16_t)h);
        bool special = (h & 0x7c00u) == 0x7c00u;
        uint32_t payload = (h & 0x3ffu) != 0 ? 0x400000u | (h & 0x3ffu) << 13 : 0;
        uint32_t want = q_bits_f32((float)(special ? 0.0 : value_f16(h)));
        want = special ? (h & 0x8000u) << 16 | 0x7f800000u | payload : want;
        if (q_bits_f32(got) != want) {
            return false;
        }
        if (hardware && q_bits_f32(got) != q_bits_f32(hardware_f32_from_f16((uint16_t)h))) {
            return false;
        }
        if (!special && q_f16_from_f32(got) != h) {
            return false;
        }
    }
    return true;
}

/* Rounding by distance: of the two f16 around |x|, the nearer, of equally near ones the even. */
static uint16_t reference_f16(float x)
{
    uint32_t sign = q_bits_f32(x) >> 16 & 0x8000u;
    double a = fabs((double)x);
    if (x != x) {
        return (uint16_t)(sign | 0x7e00u | (q_bits_f32(x) >> 13 & 0x3ffu));
    }
    if (a == 0.0 || a >= 65520.0) {
        return (uint16_t)(a == 0.0 ? sign : sign | 0x7c00u);
    }
    int e;
    double unit;
    frexp(a, &e);
    unit = ldexp(1.0, e < -13 ? -24 : e - 11);
    double below = floor(a / unit);
    double rest = a / unit - below;
    below += rest > 0.5 || (rest == 0.5 && fmod(below, 2.0) != 0.0) ? 1.0 : 0.0;
    uint32_t field = e < -13 ? 0 : (uint32_t)(e + 13); /* the implicit bit adds one */
    return (uint16_t)(sign | ((field << 10) + (uint32_t)below));
}

static bool f16_from_f32_ok(uint64_t stride, bool hardware)
{
    for (uint64_t u = 0; u <= UINT32_MAX; u += stride) {
        float x = q_float_u32((uint32_t)u);
        uint16_t got = q_f16_from_f32(x);
        uint16_t want = hardware ? hardware_f16_from_f32(x) : reference_f16(x);
        if (got != want || (u % 61 == 0 && got != reference_f16(x))) {
            printf("f16(%a) = %04x\n", (double)x, got);
            return false;
        }
    }
    return true;
}

/* Reference: the two neighbours by truncation, the nearer in double, ties to the even pattern. */
static uint16_t reference_bf16(float x)
{
    uint32_t u = q_bits_f32(x);
    if (x != x) {
        return (uint16_t)(u >> 16 | 0x40u);
    }
    if ((u & 0x7f800000u) == 0x7f800000u) {
        return (uint16_t)(u >> 16);
    }
    uint32_t low = u & 0xffff0000u;
    uint32_t rest = u - low;
    uint32_t up = rest > 0x8000u || (rest == 0x8000u && (low >> 16 & 1u) != 0) ? 1u : 0u;
    return (uint16_t)((low >> 16) + up);
}

static bool bf16_ok(uint64_t stride)
{
    for (uint64_t u = 0; u <= UINT32_MAX; u += stride) {
        float x = q_float_u32((uint32_t)u);
        if (q_bf16_from_f32(x) != reference_bf16(x)) {
            printf("bf16(%a) = %04x\n", (double)x, q_bf16_from_f32(x));
            return false;
        }
    }
    for (uint32_t b = 0; b < 65536; ++b) {
        float x = q_f32_from_bf16((uint16_t)b);
        if (q_bits_f32(x) != b << 16 || (x == x && q_bf16_from_f32(x) != b)) {
            return false;
        }
    }
    return true;
}

void test_fma_half(tally *t, bool full, bool hardware, uint64_t seed)
{
    uint64_t stride = full ? 1 : 641;
    report(t, fma_f32_ok(full ? 400000000 : 4000000, hardware, seed), "fma_f32", "software");
    report(t, fma_subnormal_ok(full ? 100000000 : 1000000, hardware, seed), "fma_f32", "subnormal");
    report(t, fma16_ok(full ? 20000000 : 200000, hardware, seed), "fma16_f32", "software");
    report(t, fma_f64_ok(full ? 200000000 : 2000000, hardware, seed), "fma_f64", "software");
    report(t, sqrt_f32_ok(stride), "sqrt_f32", "software");
    report(t, sqrt_f64_ok(full ? 50000000 : 500000, seed), "sqrt_f64", "software");
    report(t, f32_from_f16_ok(hardware), "half", "f32 from f16");
    report(t, f16_from_f32_ok(stride, hardware), "half", "f16 from f32");
    report(t, bf16_ok(stride), "half", "bf16");
}
