/* SPDX-License-Identifier: MIT */
/*
 * f64.c: the double functions against long double, where that has more digits.
 */
#include "ulp.h"

#include "qorus/base/elementary.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

typedef double (*double_fn)(double);
typedef long double (*wide_fn)(long double);

static long double wide_sigmoid(long double x)
{
    return 1.0L / (1.0L + expl(-x));
}

static long double wide_silu(long double x)
{
    return x / (1.0L + expl(-x));
}

static long double wide_gelu_erf(long double x)
{
    return 0.5L * x * erfcl(-x * 0.707106781186547524400844362104849L);
}

static long double wide_gelu_tanh(long double x)
{
    long double z = 1.595769121605730711759784239737473L * (x + 0.044715L * x * x * x);
    return x / (1.0L + expl(-z));
}

/* The bound is asked for on [low, high]. */
typedef struct case_f64 {
    const char *name;
    double_fn f;
    wide_fn reference;
    double low;
    double high;
    double bound;
} case_f64;

static const case_f64 cases[] = {
    {"exp", q_exp_f64, expl, -745.0, 709.7, 1.0},
    {"log", q_log_f64, logl, 0.0, DBL_MAX, 1.0},
    {"log near 1", q_log_f64, logl, 0.5, 2.0, 1.0},
    {"sin", q_sin_f64, sinl, -8e307, 8e307, 1.0},
    {"sin small", q_sin_f64, sinl, -100.0, 100.0, 1.0},
    {"cos", q_cos_f64, cosl, -8e307, 8e307, 1.0},
    {"cos small", q_cos_f64, cosl, -100.0, 100.0, 1.0},
    {"tanh", q_tanh_f64, tanhl, -20.0, 20.0, 4.0},
    {"erf", q_erf_f64, erfl, -6.0, 6.0, 2.0},
    {"sigmoid", q_sigmoid_f64, wide_sigmoid, -745.0, 40.0, 4.0},
    {"sigmoid small", q_sigmoid_f64, wide_sigmoid, -8.0, 8.0, 4.0},
    {"silu", q_silu_f64, wide_silu, -745.0, 40.0, 4.0},
    {"silu small", q_silu_f64, wide_silu, -8.0, 8.0, 4.0},
    {"gelu_erf", q_gelu_erf_f64, wide_gelu_erf, -37.0, 9.0, 4.0},
    {"gelu_erf small", q_gelu_erf_f64, wide_gelu_erf, -4.0, 4.0, 4.0},
    {"gelu_tanh", q_gelu_tanh_f64, wide_gelu_tanh, -21.0, 9.0, 4.0},
    {"gelu_tanh small", q_gelu_tanh_f64, wide_gelu_tanh, -4.0, 4.0, 4.0},
};

/* |got - want| in units of the last place of want; the smallest subnormal where that is larger. */
static double error_ulp(double got, long double want)
{
    int e;
    long double a = fabsl(want);
    double unit = 0x1p-1074;
    if (a >= 0x1p-1022L) {
        frexpl(a, &e);
        unit = ldexp(1.0, e - 53);
    }
    return (double)(fabsl((long double)got - want) / (long double)unit);
}

static double between(double low, double high, uint64_t *seed)
{
    return low + (high - low) * ((double)(random_u64(seed) >> 11) * 0x1p-53);
}

static void measure(tally *t, const case_f64 *c, uint64_t n, uint64_t seed)
{
    double worst = 0.0;
    double where = 0.0;
    for (uint64_t i = 0; i < n; ++i) {
        double x = i % 2 == 0 ? between(c->low, c->high, &seed) : q_double_u64(random_u64(&seed));
        if (!(x >= c->low && x <= c->high)) {
            continue;
        }
        double e = error_ulp(c->f(x), c->reference((long double)x));
        if (!(e <= worst)) {
            worst = e;
            where = x;
        }
    }
    printf("  %-16s f64  %8.4f ULP of %g   at %a\n", c->name, worst, c->bound, where);
    report(t, worst <= c->bound, c->name, "error, f64");
}

static void measure_pow(tally *t, uint64_t n, uint64_t seed)
{
    double worst = 0.0;
    double where[2] = {0.0, 0.0};
    for (uint64_t i = 0; i < n; ++i) {
        double x = pow(10.0, between(-6.0, 6.0, &seed) * (i % 4 == 0 ? 50.0 : 1.0));
        double y = between(-708.0, 709.0, &seed) / fabs(log(x));
        y = i % 2 == 0 ? y / 50.0 : y;
        long double want = powl((long double)x, (long double)y);
        if (x == 1.0 || !(want < (long double)DBL_MAX) || want < 0x1p-1022L) {
            continue;
        }
        double e = error_ulp(q_pow_f64(x, y), want);
        if (!(e <= worst)) {
            worst = e;
            where[0] = x;
            where[1] = y;
        }
    }
    printf("  %-16s f64  %8.4f ULP of %g   at %a, %a\n", "pow", worst, 1.5, where[0], where[1]);
    report(t, worst <= 1.5, "pow", "error, f64");
}

typedef struct special_f64 {
    const char *name;
    double got;
    double want;
} special_f64;

static bool same(double a, double b)
{
    return q_bits_f64(a) == q_bits_f64(b) || (a != a && b != b);
}

static void specials(tally *t)
{
    const double inf = (double)INFINITY;
    const double nan = (double)NAN;
    const special_f64 list[] = {
        {"exp(0)", q_exp_f64(0.0), 1.0},
        {"exp(-inf)", q_exp_f64(-inf), 0.0},
        {"exp(inf)", q_exp_f64(inf), inf},
        {"exp(nan)", q_exp_f64(nan), nan},
        {"log(1)", q_log_f64(1.0), 0.0},
        {"log(0)", q_log_f64(0.0), -inf},
        {"log(-0)", q_log_f64(-0.0), -inf},
        {"log(-1)", q_log_f64(-1.0), nan},
        {"log(inf)", q_log_f64(inf), inf},
        {"log(nan)", q_log_f64(nan), nan},
        {"sin(-0)", q_sin_f64(-0.0), -0.0},
        {"sin(inf)", q_sin_f64(inf), nan},
        {"cos(0)", q_cos_f64(0.0), 1.0},
        {"cos(-inf)", q_cos_f64(-inf), nan},
        {"tanh(-0)", q_tanh_f64(-0.0), -0.0},
        {"tanh(-inf)", q_tanh_f64(-inf), -1.0},
        {"tanh(nan)", q_tanh_f64(nan), nan},
        {"erf(-0)", q_erf_f64(-0.0), -0.0},
        {"erf(inf)", q_erf_f64(inf), 1.0},
        {"erf(nan)", q_erf_f64(nan), nan},
        {"sigmoid(0)", q_sigmoid_f64(0.0), 0.5},
        {"sigmoid(-inf)", q_sigmoid_f64(-inf), 0.0},
        {"sigmoid(inf)", q_sigmoid_f64(inf), 1.0},
        {"silu(inf)", q_silu_f64(inf), inf},
        {"silu(-inf)", q_silu_f64(-inf), -0.0},
        {"gelu_erf(inf)", q_gelu_erf_f64(inf), inf},
        {"gelu_erf(-inf)", q_gelu_erf_f64(-inf), -0.0},
        {"gelu_tanh(inf)", q_gelu_tanh_f64(inf), inf},
        {"gelu_tanh(-inf)", q_gelu_tanh_f64(-inf), -0.0},
        {"gelu_tanh(nan)", q_gelu_tanh_f64(nan), nan},
        {"pow(0, 2)", q_pow_f64(0.0, 2.0), 0.0},
        {"pow(0, -2)", q_pow_f64(0.0, -2.0), inf},
        {"pow(inf, -1)", q_pow_f64(inf, -1.0), 0.0},
        {"pow(5, 0)", q_pow_f64(5.0, 0.0), 1.0},
        {"pow(-5, 2)", q_pow_f64(-5.0, 2.0), nan},
        {"pow(2, 10)", q_pow_f64(2.0, 10.0), 1024.0},
        {"pow(10, -300)", q_pow_f64(10.0, -300.0), 1e-300},
        {"pow(2, inf)", q_pow_f64(2.0, inf), inf},
        {"pow(0.5, inf)", q_pow_f64(0.5, inf), 0.0},
        {"pow(nan, 1)", q_pow_f64(nan, 1.0), nan},
        {"pow(2, -1080)", q_pow_f64(2.0, -1080.0), 0.0},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; ++i) {
        report(t, same(list[i].got, list[i].want), list[i].name, "special, f64");
    }
}

void test_f64(tally *t, bool full, uint64_t seed)
{
    uint64_t n = full ? 20000000 : 100000;
    specials(t);
    if (LDBL_MANT_DIG < 64) {
        t->skipped += sizeof cases / sizeof cases[0] + 1;
        return;
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        measure(t, &cases[i], n, seed + i);
    }
    measure_pow(t, n, seed);
}
