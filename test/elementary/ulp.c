/* SPDX-License-Identifier: MIT */
/*
 * ulp.c: the elementary functions held against libm: error, monotony, symmetry, range, specials,
 * and equal bits from the software fma, the hardware fma and AVX2.
 *
 *   ulp             one input of 4099, and all inputs near the places where a function changes its
 * way
 *   ulp --full      all 2^32 inputs of each function: some minutes a function
 *   ulp NAME ...    only these functions (exp, gelu_erf, ...; fma_half, f64)
 *   ulp --seed N    of the random parts; printed in any case
 *
 * Build: cc -O2 -std=c11 -ffp-contract=off -Iinclude, eval_avx2.c with -mavx2 -mfma -mf16c on
 * x86-64, the rest without, link -lm. Host program: uses libc and libm.
 */
#include "ulp.h"

#include "qorus/base/elementary.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 4096 };

typedef float (*float_fn)(float);
typedef double (*reference_fn)(double);
typedef enum symmetry { NONE, ODD, EVEN } symmetry;

static double ref_sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static double ref_silu(double x)
{
    return x == -(double)INFINITY ? -0.0 : x / (1.0 + exp(-x));
}

static double ref_gelu_erf(double x)
{
    return x == -(double)INFINITY ? -0.0 : 0.5 * x * erfc(-x * 0.70710678118654752440);
}

static double ref_gelu_tanh(double x)
{
    double z = 1.5957691216057307118 * (x + 0.044715 * x * x * x);
    return x == -(double)INFINITY ? -0.0 : x / (1.0 + exp(-z));
}

/* One function: bound of its error, what else holds for it, and where its code changes its way. */
typedef struct function {
    const char *name;
    float_fn f;
    reference_fn reference;
    double bound;
    bool monotone;
    symmetry sym;
    float low; /* range of the results */
    float high;
    float edges[6];
} function;

static const function functions[FN_COUNT] = {
    {"exp", q_exp_f32, exp, 1.0, true, NONE, 0.0f, INFINITY,
     {-104.0f, -87.33654f, 88.72284f, 89.0f, 0.34657f, -0.34657f}},
    {"log", q_log_f32, log, 1.0, true, NONE, -INFINITY, INFINITY,
     {0x1p-126f, 1.0f, 0.6666667f, 1.3333334f, 2.6666667f, 0.0f}},
    {"sin", q_sin_f32, sin, 1.0, false, ODD, -1.0f, 1.0f,
     {0.7853982f, 1.5707964f, 3.1415927f, 524288.0f, 0x1p-27f, 1e30f}},
    {"cos", q_cos_f32, cos, 1.0, false, EVEN, -1.0f, 1.0f,
     {0.7853982f, 1.5707964f, 3.1415927f, 524288.0f, 0x1p-12f, 1e30f}},
    {"tanh", q_tanh_f32, tanh, 2.0, true, ODD, -1.0f, 1.0f,
     {0.17328f, 0.51986f, 9.0f, 10.0f, 0x1p-126f, 0.0f}},
    {"erf", q_erf_f32, erf, 2.0, true, ODD, -1.0f, 1.0f,
     {0.875f, 3.9f, 5.0f, 0x1p-126f, 0.0f, 2.0f}},
    {"sigmoid", q_sigmoid_f32, ref_sigmoid, 2.0, true, NONE, 0.0f, 1.0f,
     {0.0f, -0.34657f, 0.34657f, -87.33654f, -104.0f, 17.0f}},
    {"silu", q_silu_f32, ref_silu, 2.0, false, NONE, -0.2785f, INFINITY,
     {0.0f, -0.34657f, -87.33654f, -120.0f, 120.0f, -108.7f}},
    {"gelu_erf", q_gelu_erf_f32, ref_gelu_erf, 2.0, false, NONE, -0.1700f, INFINITY,
     {0.0f, -0.8325546f, -13.0f, -14.3f, -15.0f, 15.0f}},
    {"gelu_tanh", q_gelu_tanh_f32, ref_gelu_tanh, 2.0, false, NONE, -0.1701f, INFINITY,
     {0.0f, -0.21625f, -10.1f, -10.7f, -12.0f, 12.0f}},
};

/* What the walk over the inputs of one function has found. */
typedef struct findings {
    double worst;
    float worst_at;
    float last; /* result of the input before, for monotony */
    bool order_ok;
    bool symmetry_ok;
    bool range_ok;
    bool finite_ok;
    bool soft_ok;
    bool avx2_ok;
    bool avx2_seen;
    bool avx512_ok;
    bool avx512_seen;
    uint64_t inputs;
} findings;

void report(tally *t, bool ok, const char *group, const char *name)
{
    if (ok) {
        t->passed += 1;
    } else {
        t->failed += 1;
        printf("FAILED: %s: %s\n", group, name);
    }
}

static bool same_bits(float a, float b)
{
    return q_bits_f32(a) == q_bits_f32(b) || (a != a && b != b);
}

/* The k-th float in ascending order: negative NaN, -infinity .. -0, 0 .. infinity, NaN. */
static float float_in_order(uint32_t k)
{
    return q_float_u32((k & 0x80000000u) != 0 ? k ^ 0x80000000u : ~k);
}

static uint32_t order_of_float(float x)
{
    uint32_t u = q_bits_f32(x);
    return (u & 0x80000000u) != 0 ? ~u : u | 0x80000000u;
}

/*
 * |got - want| in units of the last place of a float at want, which is 2^-149 below 2^-126. A
 * result that overflowed counts as 2^128; beyond 2^128 only infinity will do.
 */
static double error_ulp(float got, double want)
{
    double a = fabs(want);
    double value = (double)got;
    if (want != want || got != got) {
        return want != want && got != got ? 0.0 : (double)INFINITY;
    }
    if (a >= 0x1p+128) {
        return value == copysign((double)INFINITY, want) ? 0.0 : (double)INFINITY;
    }
    if (got > 0x1.fffffep+127f || got < -0x1.fffffep+127f) {
        value = copysign(0x1p+128, value);
    }
    int e = (int)(q_bits_f64(a) >> 52) - 1023;
    e = e < -126 ? -126 : e;
    return fabs(value - want) * q_double_u64((uint64_t)(23 - e + 1023) << 52);
}

static void check_block(const function *fn, const float *x, const float *y, size_t n, findings *r)
{
    for (size_t i = 0; i < n; ++i) {
        if (x[i] != x[i]) {
            r->finite_ok = r->finite_ok && y[i] != y[i];
            continue;
        }
        /* The negative half of an odd or even function is held against the positive one
           elsewhere. */
        if (fn->sym == NONE || x[i] >= 0.0f) {
            double e = error_ulp(y[i], fn->reference((double)x[i]));
            if (!(e <= r->worst)) {
                r->worst = e;
                r->worst_at = x[i];
            }
        }
        if (y[i] == y[i]) {
            r->order_ok = r->order_ok && !(y[i] < r->last);
            r->last = y[i];
            r->range_ok = r->range_ok && y[i] >= fn->low && y[i] <= fn->high;
        }
    }
}

static void check_symmetry(const function *fn, const float *x, const float *y, size_t n,
                           findings *r)
{
    for (size_t i = 0; i < n; ++i) {
        float mirror = fn->f(-x[i]);
        mirror = fn->sym == ODD ? -mirror : mirror;
        r->symmetry_ok = r->symmetry_ok && same_bits(mirror, y[i]);
    }
}

static bool cpu_has_avx512(void)
{
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && eval_avx512_compiled();
#else
    return false;
#endif
}

static void compare_avx512(const function *fn, elementary_fn id, const float *x, const float *y, size_t n, findings *r)
{
    static float z[BLOCK];
    if (!cpu_has_avx512() || !eval_avx512(id, x, z, n)) {
        return;
    }
    r->avx512_seen = true;
    for (size_t i = 0; i < n; ++i) {
        if (!same_bits(y[i], z[i]) && r->avx512_ok) {
            printf("%s(%a): scalar %a, AVX-512 %a\n", fn->name, (double)x[i], (double)y[i], (double)z[i]);
            r->avx512_ok = false;
        }
    }
}

/* n inputs of function `id`; the software fma is tried where `soft` says so. */
static void run_block(elementary_fn id, const float *x, size_t n, bool cpu, bool soft,
                      findings *r)
{
    static float y[BLOCK];
    static float z[BLOCK];
    const function *fn = &functions[id];
    if (cpu) {
        eval_scalar_fma(id, x, y, n);
    }
    if (!cpu || soft) {
        for (size_t i = 0; i < n; ++i) {
            z[i] = fn->f(x[i]);
            r->soft_ok = r->soft_ok && (!cpu || same_bits(y[i], z[i]));
            y[i] = z[i];
        }
    }
    check_block(fn, x, y, n, r);
    if (fn->sym != NONE && (soft || x[0] < 0.0f)) {
        check_symmetry(fn, x, y, n, r);
    }
    if (cpu && eval_avx2(id, x, z, n)) {
        r->avx2_seen = true;
        for (size_t i = 0; i < n; ++i) {
            if (!same_bits(y[i], z[i]) && r->avx2_ok) {
                printf("%s(%a): scalar %a, AVX2 %a\n", fn->name, (double)x[i], (double)y[i],
                       (double)z[i]);
                r->avx2_ok = false;
            }
        }
    }
    compare_avx512(fn, id, x, y, n, r);
    r->inputs += n;
}

/* Every stride-th float in ascending order, from `first` on, `count` of them (a multiple of
   BLOCK). */
static void walk(elementary_fn id, uint32_t first, uint64_t count, uint64_t stride, bool cpu,
                 findings *r)
{
    static float x[BLOCK];
    r->last = -INFINITY;
    for (uint64_t done = 0; done < count; done += BLOCK) {
        for (uint64_t i = 0; i < BLOCK; ++i) {
            x[i] = float_in_order((uint32_t)(first + (done + i) * stride));
        }
        run_block(id, x, BLOCK, cpu, stride != 1 || count == BLOCK || done / BLOCK % 64 == 0, r);
    }
}

static void walk_edges(elementary_fn id, bool cpu, findings *r)
{
    static const float common[] = {0.0f, 0x1p-126f, -0x1p-126f, INFINITY, -INFINITY, 1.0f, -1.0f};
    const function *fn = &functions[id];
    for (size_t i = 0; i < sizeof common / sizeof common[0]; ++i) {
        walk(id, order_of_float(common[i]) - BLOCK / 2, BLOCK, 1, cpu, r);
    }
    for (size_t i = 0; i < sizeof fn->edges / sizeof fn->edges[0]; ++i) {
        walk(id, order_of_float(fn->edges[i]) - BLOCK / 2, BLOCK, 1, cpu, r);
        walk(id, order_of_float(-fn->edges[i]) - BLOCK / 2, BLOCK, 1, cpu, r);
    }
}

static void test_function(tally *t, elementary_fn id, bool full, bool cpu)
{
    const function *fn = &functions[id];
    findings r;
    memset(&r, 0, sizeof r);
    r.order_ok = r.symmetry_ok = r.range_ok = r.finite_ok = r.soft_ok = r.avx2_ok = r.avx512_ok = true;
    if (full) {
        walk(id, 0, 0x100000000u, 1, cpu, &r);
    } else {
        walk(id, 0, 0x100000000u / 4099u / BLOCK * BLOCK, 4099, cpu, &r);
        walk_edges(id, cpu, &r);
    }
    const char *order = fn->monotone && r.order_ok ? ", monotone" : "";
    const char *equal = !r.avx2_seen || !r.avx2_ok ? "" : r.avx512_seen && r.avx512_ok ? ", AVX2 and AVX-512 equal" : ", AVX2 equal";
    printf("  %-16s f32  %8.4f ULP of %g   at %a   %llu inputs%s%s\n", fn->name, r.worst, fn->bound,
           (double)r.worst_at, (unsigned long long)r.inputs, order, equal);
    fflush(stdout);
    report(t, r.worst <= fn->bound, fn->name, "error");
    report(t, r.range_ok, fn->name, "range");
    report(t, r.finite_ok, fn->name, "NaN gives NaN");
    if (fn->monotone) {
        report(t, r.order_ok, fn->name, "monotone");
    }
    if (fn->sym != NONE) {
        report(t, r.symmetry_ok, fn->name, "symmetry");
    }
    if (!cpu) {
        t->skipped += fn->sym != NONE && !fn->monotone ? 1 : 2;
        return;
    }
    if (r.avx512_seen) {
        report(t, r.avx512_ok, fn->name, "AVX-512 gives the bits of scalar");
    }
    report(t, r.soft_ok, fn->name, "software fma gives the bits of the hardware");
    if (r.avx2_seen) {
        report(t, r.avx2_ok, fn->name, "AVX2 gives the bits of scalar");
    }
}

typedef struct special_f32 {
    elementary_fn fn;
    float x;
    float want;
} special_f32;

static void test_specials(tally *t, elementary_fn id)
{
    static const special_f32 list[] = {
        {FN_EXP, 0.0f, 1.0f},          {FN_EXP, -0.0f, 1.0f},
        {FN_EXP, INFINITY, INFINITY},  {FN_EXP, -INFINITY, 0.0f},
        {FN_EXP, 1e30f, INFINITY},     {FN_EXP, -1e30f, 0.0f},
        {FN_LOG, 1.0f, 0.0f},          {FN_LOG, 0.0f, -INFINITY},
        {FN_LOG, -0.0f, -INFINITY},    {FN_LOG, INFINITY, INFINITY},
        {FN_LOG, -1.0f, NAN},          {FN_LOG, -INFINITY, NAN},
        {FN_SIN, 0.0f, 0.0f},          {FN_SIN, -0.0f, -0.0f},
        {FN_SIN, INFINITY, NAN},       {FN_SIN, -INFINITY, NAN},
        {FN_COS, 0.0f, 1.0f},          {FN_COS, INFINITY, NAN},
        {FN_TANH, 0.0f, 0.0f},         {FN_TANH, -0.0f, -0.0f},
        {FN_TANH, INFINITY, 1.0f},     {FN_TANH, -INFINITY, -1.0f},
        {FN_TANH, 0x1p-149f, 0x1p-149f}, {FN_ERF, 0.0f, 0.0f},
        {FN_ERF, -0.0f, -0.0f},        {FN_ERF, INFINITY, 1.0f},
        {FN_ERF, -INFINITY, -1.0f},    {FN_SIGMOID, 0.0f, 0.5f},
        {FN_SIGMOID, -0.0f, 0.5f},     {FN_SIGMOID, INFINITY, 1.0f},
        {FN_SIGMOID, -INFINITY, 0.0f}, {FN_SILU, 0.0f, 0.0f},
        {FN_SILU, -0.0f, -0.0f},       {FN_SILU, INFINITY, INFINITY},
        {FN_SILU, -INFINITY, -0.0f},   {FN_SILU, 0x1.fffffep+127f, 0x1.fffffep+127f},
        {FN_GELU_ERF, 0.0f, 0.0f},     {FN_GELU_ERF, -0.0f, -0.0f},
        {FN_GELU_ERF, INFINITY, INFINITY}, {FN_GELU_ERF, -INFINITY, -0.0f},
        {FN_GELU_TANH, 0.0f, 0.0f},    {FN_GELU_TANH, -0.0f, -0.0f},
        {FN_GELU_TANH, INFINITY, INFINITY}, {FN_GELU_TANH, -INFINITY, -0.0f},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; ++i) {
        if (list[i].fn == id) {
            float got = functions[id].f(list[i].x);
            char name[64];
            snprintf(name, sizeof name, "special: f(%g) = %g", (double)list[i].x, (double)got);
            report(t, same_bits(got, list[i].want), functions[id].name, name);
        }
    }
}

static bool cpu_has_avx2(void)
{
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && eval_avx2_compiled();
#else
    return false;
#endif
}

static bool wanted(int argc, char **argv, const char *name)
{
    bool any = false;
    for (int i = 1; i < argc; ++i) {
        if (strcmp(argv[i], "--seed") == 0) {
            i += 1;
        } else if (argv[i][0] != '-') {
            any = true;
            if (strcmp(argv[i], name) == 0) {
                return true;
            }
        }
    }
    return !any;
}

int main(int argc, char **argv)
{
    tally t = {0, 0, 0};
    bool full = false;
    uint64_t seed = 88172645463325252u;
    for (int i = 1; i < argc; ++i) {
        full = full || strcmp(argv[i], "--full") == 0;
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[i + 1], NULL, 0) | 1u;
        }
    }
    bool cpu = cpu_has_avx2();
    printf("elementary functions, %s, seed %llu, hardware fma and AVX2: %s\n",
           full ? "all inputs" : "a sample", (unsigned long long)seed,
           cpu ? "compared" : "UNAVAILABLE");
    for (int id = 0; id < FN_COUNT; ++id) {
        if (wanted(argc, argv, functions[id].name)) {
            test_specials(&t, (elementary_fn)id);
            test_function(&t, (elementary_fn)id, full, cpu);
        }
    }
    if (wanted(argc, argv, "f64")) {
        test_f64(&t, full, seed);
    }
    if (wanted(argc, argv, "fma_half")) {
        test_fma_half(&t, full, cpu, seed);
    }
    if (cpu) {
        report(&t, avx2_reductions_ok(seed), "avx2.h", "reductions");
    } else {
        t.skipped += 1;
    }
    if (cpu_has_avx512()) {
        report(&t, avx512_reductions_ok(seed), "avx512.h", "reductions");
    } else {
        t.skipped += 1;
    }
    printf("%lu passed, %lu failed, %lu skipped\n", t.passed, t.failed, t.skipped);
    return t.failed == 0 ? 0 : 1;
}
