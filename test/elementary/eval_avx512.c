/* SPDX-License-Identifier: MIT */
/*
 * eval_avx512.c: what the elementary function test needs from a CPU with AVX-512 (F, DQ). Compiled without those flags
 * it says so, and the test skips the comparisons.
 */
#include "ulp.h"

#include <stdlib.h>

#if defined(__AVX512F__) && defined(__AVX512DQ__)

#include "../../backends/avx512/vec.h"
#include "qorus/base/bits.h"

bool eval_avx512_compiled(void)
{
    return true;
}

typedef __m512 (*vector16_fn)(__m512);

static const vector16_fn vector16_table[FN_COUNT] = {
    vec_exp, vec_log,     NULL,        NULL,            vec_tanh,
    vec_erf, vec_sigmoid, vec_silu, vec_gelu_erf, vec_gelu_tanh};

bool eval_avx512(elementary_fn fn, const float *x, float *y, size_t n)
{
    vector16_fn f = vector16_table[fn];
    if (f == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = avx512_mask((uint32_t)(n - i));
        _mm512_mask_storeu_ps(y + i, m, f(_mm512_maskz_loadu_ps(m, x + i)));
    }
    return true;
}

bool avx512_reductions_ok(uint64_t seed)
{
    for (int round = 0; round < 10000; ++round) {
        float v[16];
        float sum[16];
        float max[16];
        for (size_t i = 0; i < 16; ++i) {
            v[i] = (float)(int32_t)random_u64(&seed) * (round % 3 == 0 ? 0x1p-40f : 0x1p-31f);
            v[i] = round % 5 == 0 && i % 2 == 0 ? (i % 4 == 0 ? 0.0f : -0.0f) : v[i];
            v[i] = round % 7 == 0 ? (random_u64(&seed) % 2 == 0 ? 0.0f : -0.0f) : v[i];
            sum[i] = v[i];
            max[i] = v[i];
        }
        for (size_t width = 8; width > 0; width /= 2) {
            for (size_t i = 0; i < width; ++i) {
                sum[i] = sum[i] + sum[i + width];
                max[i] = max[i + width] > max[i] ? max[i + width] : max[i];
            }
        }
        __m512 x = _mm512_loadu_ps(v);
        if (q_bits_f32(avx512_lane_sum(x)) != q_bits_f32(sum[0]) ||
            q_bits_f32(avx512_lane_max(x)) != q_bits_f32(max[0])) {
            return false;
        }
    }
    return true;
}

#else

bool eval_avx512_compiled(void)
{
    return false;
}

bool eval_avx512(elementary_fn fn, const float *x, float *y, size_t n)
{
    (void)fn;
    (void)x;
    (void)y;
    (void)n;
    abort();
}

bool avx512_reductions_ok(uint64_t seed)
{
    (void)seed;
    return false;
}

#endif
