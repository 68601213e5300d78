/* SPDX-License-Identifier: MIT */
/*
 * quantize.c: activations to 8 bits, one scale per block of 32; in f32 whatever q_real is.
 *
 *   amax = max |x|, NaN left out;  d = amax/127;  q = rint(x * (127/amax)), half to even, NaN gives
 *   0
 *
 * Where 127/amax overflows (amax below 2^-121), products are +-infinity and the limit +-127
 * applies: those values are wrong by less than amax itself. An infinity makes 127/amax zero: finite
 * values give 0 and it gives 0*infinity, which is NaN, hence 0; d = infinity then carries it on.
 */
#include "scalar.h"

static float quantize_magnitude(float x)
{
    return x < 0 ? -x : x;
}

static float quantize_amax(const q_real *x)
{
    float amax = 0;
    for (uint32_t i = 0; i < Q_BLOCK; i++) {
        float v = quantize_magnitude((float)x[i]);
        amax = v > amax ? v : amax;
    }
    return amax;
}

/* Nearest integer, half to even, of |v| <= 127; beyond, +-127; NaN: 0. Adding 1.5*2^23 leaves no
   fraction bits. */
static int32_t quantize_round_a8(float v)
{
    const float shift = 12582912.0f;
    if (!(v == v)) {
        return 0;
    }
    v = v > 127.0f ? 127.0f : v;
    v = v < -127.0f ? -127.0f : v;
    return (int32_t)((v + shift) - shift);
}

static void quantize_row(const q_real *x, uint32_t k, int8_t *q, float *d, int32_t *sum)
{
    for (uint32_t block = 0; block < k / Q_BLOCK; block++) {
        const q_real *v = x + (size_t)block * Q_BLOCK;
        float amax = quantize_amax(v);
        float inverse = amax > 0 ? 127.0f / amax : 0.0f;
        int32_t total = 0;
        for (uint32_t i = 0; i < Q_BLOCK; i++) {
            int32_t r = quantize_round_a8((float)v[i] * inverse);
            q[block * Q_BLOCK + i] = (int8_t)r;
            total += r;
        }
        d[block] = amax / 127.0f;
        sum[block] = total;
    }
}

void q_quantize_a8_scalar(const q_work *work, const q_quantize_a8_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        uint8_t *out = (uint8_t *)a->out + a->out_stride * r;
        float *d = (float *)(void *)(out + a->k);
        int32_t *sum = (int32_t *)(void *)(d + a->k / Q_BLOCK);
        quantize_row(scalar_row(a->x, a->x_stride, r), a->k, (int8_t *)out, d, sum);
    }
}
