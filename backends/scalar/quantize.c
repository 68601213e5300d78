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
 *
 * A second plane does the same to x - q*d.
 *
 * round takes values there, or to a half, and back.
 */
#include "qorus/base/half.h"
#include "scalar.h"

static float quantize_magnitude(float x)
{
    return x < 0 ? -x : x;
}

static float quantize_amax(const float *x)
{
    float amax = 0;
    for (uint32_t i = 0; i < Q_BLOCK; i++) {
        float v = quantize_magnitude(x[i]);
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

/* One block into one plane of a row of k values; v becomes what the plane leaves. */
static void quantize_plane(float v[Q_BLOCK], uint8_t *plane, uint32_t k, uint32_t block)
{
    int8_t *q = (int8_t *)plane + (size_t)block * Q_BLOCK;
    float *d = (float *)(void *)(plane + k);
    int32_t *sum = (int32_t *)(void *)(d + k / Q_BLOCK);
    float amax = quantize_amax(v);
    float inverse = amax > 0 ? 127.0f / amax : 0.0f;
    int32_t total = 0;
    d[block] = amax / 127.0f;
    for (uint32_t i = 0; i < Q_BLOCK; i++) {
        int32_t r = quantize_round_a8(v[i] * inverse);
        q[i] = (int8_t)r;
        total += r;
        v[i] = v[i] - (float)r * d[block];
    }
    sum[block] = total;
}

static void quantize_row(const q_quantize_a8_args *a, uint32_t r)
{
    const q_real *x = scalar_row(a->x, a->x_stride, r);
    uint8_t *out = (uint8_t *)a->out + a->out_stride * r;
    float v[Q_BLOCK];
    for (uint32_t block = 0; block < a->k / Q_BLOCK; block++) {
        for (uint32_t i = 0; i < Q_BLOCK; i++) {
            v[i] = (float)x[block * Q_BLOCK + i];
        }
        quantize_plane(v, out, a->k, block);
        if (a->planes == 2) {
            quantize_plane(v, out + a->k / 4u * 5u, a->k, block);
        }
    }
}

void q_quantize_a8_scalar(const q_work *work, const q_quantize_a8_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        quantize_row(a, r);
    }
}

/* A block of its own is a row of 32 values. */
static void round_block(uint32_t planes, const q_real *x, q_real *out)
{
    Q_ALIGNED(Q_ALIGN) uint8_t plane[Q_ALIGN];
    float v[Q_BLOCK];
    float y[Q_BLOCK];
    for (uint32_t i = 0; i < Q_BLOCK; i++) {
        v[i] = (float)x[i];
    }
    for (uint32_t p = 0; p < planes; p++) {
        quantize_plane(v, plane, Q_BLOCK, 0);
        for (uint32_t i = 0; i < Q_BLOCK; i++) {
            float t = (float)(int8_t)plane[i] * *(const float *)(const void *)(plane + Q_BLOCK);
            y[i] = p == 0 ? t : y[i] + t;
        }
    }
    for (uint32_t i = 0; i < Q_BLOCK; i++) {
        out[i] = (q_real)y[i];
    }
}

static void round_row(const q_round_args *a, const q_real *x, q_real *out)
{
    if (a->dtype == Q_A8 || a->dtype == Q_A8X2) {
        for (uint32_t i = 0; i < a->dim; i += Q_BLOCK) {
            round_block(a->dtype == Q_A8X2 ? 2 : 1, x + i, out + i);
        }
        return;
    }
    for (uint32_t i = 0; i < a->dim; i++) {
        float v = (float)x[i];
        out[i] = (q_real)(a->dtype == Q_F16 ? q_f32_from_f16(q_f16_from_f32(v)) : q_f32_from_bf16(q_bf16_from_f32(v)));
    }
}

void q_round_scalar(const q_work *work, const q_round_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        round_row(a, scalar_row(a->x, a->x_stride, r), scalar_row_out(a->out, a->out_stride, r));
    }
}
