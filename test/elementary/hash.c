/* SPDX-License-Identifier: MIT */
/*
 * hash.c: one number over the results of every elementary function, the same on every target.
 *
 * main returns 0 if the bits are those of the first target. Uses no library, so that it also runs
 * where there is none (qemu-user, bare boards); any NaN counts as one value.
 */
#include "qorus/base/elementary.h"
#include "qorus/base/half.h"

enum { STEP = 40009 };

static uint64_t mix(uint64_t hash, uint64_t bits)
{
    hash = (hash ^ (bits & 0xffffffffu)) * 0x100000001b3u;
    return (hash ^ (bits >> 32)) * 0x100000001b3u;
}

static uint64_t mix_f32(uint64_t hash, float y)
{
    return mix(hash, y == y ? q_bits_f32(y) : 0x7fc00000u);
}

static uint64_t mix_f64(uint64_t hash, double y)
{
    return mix(hash, y == y ? q_bits_f64(y) : 0x7ff8000000000000u);
}

static uint64_t hash_f32(uint64_t hash, float x, float z)
{
    hash = mix_f32(hash, q_exp_f32(x));
    hash = mix_f32(hash, q_log_f32(x));
    hash = mix_f32(hash, q_sin_f32(x));
    hash = mix_f32(hash, q_cos_f32(x));
    hash = mix_f32(hash, q_tanh_f32(x));
    hash = mix_f32(hash, q_erf_f32(x));
    hash = mix_f32(hash, q_sigmoid_f32(x));
    hash = mix_f32(hash, q_silu_f32(x));
    hash = mix_f32(hash, q_gelu_erf_f32(x));
    hash = mix_f32(hash, q_gelu_tanh_f32(x));
    hash = mix_f32(hash, q_sqrt_f32(x));
    hash = mix_f32(hash, q_fma_f32(x, z, -x));
    hash = mix(hash, x == x ? q_f16_from_f32(x) : 0u);
    return mix(hash, x == x ? q_bf16_from_f32(x) : 0u);
}

static uint64_t hash_f64(uint64_t hash, double x, double z)
{
    hash = mix_f64(hash, q_exp_f64(x));
    hash = mix_f64(hash, q_log_f64(x));
    hash = mix_f64(hash, q_sin_f64(x));
    hash = mix_f64(hash, q_cos_f64(x));
    hash = mix_f64(hash, q_tanh_f64(x));
    hash = mix_f64(hash, q_erf_f64(x));
    hash = mix_f64(hash, q_sigmoid_f64(x));
    hash = mix_f64(hash, q_silu_f64(x));
    hash = mix_f64(hash, q_gelu_erf_f64(x));
    hash = mix_f64(hash, q_gelu_tanh_f64(x));
    hash = mix_f64(hash, q_sqrt_f64(x));
    hash = mix_f64(hash, q_pow_f64(q_abs_f64(x), z));
    return mix_f64(hash, q_fma_f64(x, z, -x));
}

uint64_t elementary_hash(void);

uint64_t elementary_hash(void)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (uint64_t i = 0; i <= UINT32_MAX; i += STEP) {
        float x = q_float_u32((uint32_t)i);
        float z = q_float_u32((uint32_t)(i * 2654435761u));
        hash = hash_f32(hash, x, z);
        /* doubles with all digits, in the range of floats and beyond it */
        hash = hash_f64(hash, (double)x * 0x1.23456789abcdfp+0, (double)z);
        hash = hash_f64(hash, q_double_u64(i * 0x9e3779b97f4a7c15u), (double)x);
    }
    return hash;
}

int main(void)
{
    const uint64_t expected = 0xb38c8fef446085c7u;
    return elementary_hash() == expected ? 0 : 1;
}
