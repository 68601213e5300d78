/* SPDX-License-Identifier: MIT */
/*
 * eval_avx2.c: what the elementary function test needs from a CPU with AVX2, FMA and F16C. Compiled
 * without those flags it says so, and the test skips the comparisons.
 */
#include "ulp.h"

#include <stdlib.h>

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include "../../backends/avx2/vec.h"
#include "qorus/base/elementary.h"

bool eval_avx2_compiled(void)
{
    return true;
}

typedef float (*scalar_fn)(float);
typedef __m256 (*vector_fn)(__m256);

static const scalar_fn scalar_table[FN_COUNT] = {
    q_exp_f32, q_log_f32,     q_sin_f32,  q_cos_f32,      q_tanh_f32,
    q_erf_f32, q_sigmoid_f32, q_silu_f32, q_gelu_erf_f32, q_gelu_tanh_f32};

static const vector_fn vector_table[FN_COUNT] = {
    vec_exp, vec_log,     NULL,        NULL,            vec_tanh,
    vec_erf, vec_sigmoid, vec_silu, vec_gelu_erf, vec_gelu_tanh};

void eval_scalar_fma(elementary_fn fn, const float *x, float *y, size_t n)
{
    scalar_fn f = scalar_table[fn];
    for (size_t i = 0; i < n; ++i) {
        y[i] = f(x[i]);
    }
}

bool eval_avx2(elementary_fn fn, const float *x, float *y, size_t n)
{
    vector_fn f = vector_table[fn];
    if (f == NULL) {
        return false;
    }
    for (size_t i = 0; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(y + i, f(_mm256_loadu_ps(x + i)));
    }
    return true;
}

float hardware_fma_f32(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}

double hardware_fma_f64(double a, double b, double c)
{
    return __builtin_fma(a, b, c);
}

uint16_t hardware_f16_from_f32(float x)
{
    __m128i h = _mm_cvtps_ph(_mm_set_ss(x), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return (uint16_t)_mm_extract_epi16(h, 0);
}

float hardware_f32_from_f16(uint16_t h)
{
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_set1_epi16((short)h)));
}

static bool reductions_match(const float v[16], const int32_t k[8])
{
    float sum[16];
    float max[16];
    uint32_t whole = 0;
    for (size_t i = 0; i < 16; ++i) {
        sum[i] = v[i];
        max[i] = v[i];
    }
    for (size_t width = 8; width > 0; width /= 2) {
        for (size_t i = 0; i < width; ++i) {
            sum[i] = sum[i] + sum[i + width];
            max[i] = max[i] > max[i + width] ? max[i] : max[i + width];
        }
    }
    for (size_t i = 0; i < 8; ++i) {
        whole += (uint32_t)k[i];
    }
    __m256 lo = _mm256_loadu_ps(v);
    __m256 hi = _mm256_loadu_ps(v + 8);
    return q_bits_f32(q_hsum16_m256(lo, hi)) == q_bits_f32(sum[0]) &&
           q_bits_f32(q_hmax16_m256(lo, hi)) == q_bits_f32(max[0]) &&
           (uint32_t)q_hsum8_m256i(_mm256_loadu_si256((const void *)k)) == whole;
}

bool avx2_reductions_ok(uint64_t seed)
{
    for (int round = 0; round < 10000; ++round) {
        float v[16];
        int32_t k[8];
        for (size_t i = 0; i < 16; ++i) {
            v[i] = (float)(int32_t)random_u64(&seed) * (round % 3 == 0 ? 0x1p-40f : 0x1p-31f);
            v[i] = round % 5 == 0 && i % 2 == 0 ? (i % 4 == 0 ? 0.0f : -0.0f) : v[i];
        }
        for (size_t i = 0; i < 8; ++i) {
            k[i] = (int32_t)random_u64(&seed);
        }
        if (!reductions_match(v, k)) {
            return false;
        }
    }
    for (uint32_t n = 0; n <= 8; ++n) {
        int mask = _mm256_movemask_ps(_mm256_castsi256_ps(q_mask_first_m256i(n)));
        if (mask != (1 << n) - 1) {
            return false;
        }
    }
    return true;
}

#else

bool eval_avx2_compiled(void)
{
    return false;
}

void eval_scalar_fma(elementary_fn fn, const float *x, float *y, size_t n)
{
    (void)fn;
    (void)x;
    (void)y;
    (void)n;
    abort();
}

bool eval_avx2(elementary_fn fn, const float *x, float *y, size_t n)
{
    eval_scalar_fma(fn, x, y, n);
    return false;
}

float hardware_fma_f32(float a, float b, float c)
{
    (void)a;
    (void)b;
    (void)c;
    abort();
}

double hardware_fma_f64(double a, double b, double c)
{
    (void)a;
    (void)b;
    (void)c;
    abort();
}

uint16_t hardware_f16_from_f32(float x)
{
    (void)x;
    abort();
}

float hardware_f32_from_f16(uint16_t h)
{
    (void)h;
    abort();
}

bool avx2_reductions_ok(uint64_t seed)
{
    (void)seed;
    return false;
}

#endif
