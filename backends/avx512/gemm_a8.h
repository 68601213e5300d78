/* SPDX-License-Identifier: MIT */
/*
 * gemm_a8.h: what the two forms of the fast products share: many rows (gemm_a8.c), few rows (gemm_a8_stream.c).
 *
 * One register = one group of a panel: 16 rows of the weight matrix by 4 columns, one row to a 32-bit lane.
 * vpdpbusd multiplies 4 unsigned bytes of each lane by 4 signed ones and adds the sum to the lane, exactly:
 *   Q4    nibbles 0..15 are the unsigned side, q_x the signed one; Q4_0 then lacks -8 * (sum of q_x).
 *   Q8_0  q_w + 128, which is q_w ^ 0x80, is the unsigned side; what is too much is 128 * (sum of q_x).
 * That constant of a row and block of x is where the chain of integers starts.
 */
#ifndef Q_GEMM_A8_AVX512_H
#define Q_GEMM_A8_AVX512_H

#include "kernels_avx512.h"

enum { A8_FEW_ROWS = 5 }; /* below: the streaming form */

/* One plane of a row of x as quantize_a8 lays it out, from some block on. */
typedef struct a8_x {
    const int8_t *q;    /* [k] */
    const float *d;     /* [k/32] */
    const int32_t *sum; /* [k/32] */
} a8_x;

/* A panel of k columns. */
typedef struct a8_panel {
    const uint8_t *q;
    const uint16_t *d; /* [k/32][16] */
    const uint16_t *m; /* [k/32][16], Q4_1 only */
} a8_panel;

static inline uint32_t a8_planes(const q_gemm_args *a)
{
    return a->planes == 2 ? 2 : 1;
}

static inline a8_x a8_x_at(const q_gemm_args *a, uint32_t r, uint32_t plane, uint32_t block)
{
    const uint8_t *base = (const uint8_t *)a->x + a->x_stride * r + (size_t)(a->k / 4u) * 5u * plane;
    a8_x x;
    x.q = (const int8_t *)base + (size_t)block * Q_BLOCK;
    x.d = (const float *)(const void *)(base + a->k) + block;
    x.sum = (const int32_t *)(const void *)(base + a->k) + a->k / Q_BLOCK + block;
    return x;
}

static inline a8_panel a8_panel_at(const q_gemm_args *a, uint32_t dtype, uint32_t p)
{
    const uint8_t *base = (const uint8_t *)a->weights + p * (size_t)q_panel_bytes(dtype, a->k);
    a8_panel w;
    w.q = base + (size_t)q_panel_scale_bytes(dtype, a->k);
    w.d = (const uint16_t *)(const void *)base;
    w.m = w.d + (size_t)(a->k / Q_BLOCK) * Q_PANEL_ROWS;
    return w;
}

/* What the unsigned side of the weights is above the weights themselves. */
X86_INLINE int32_t a8_zero(const uint32_t dtype)
{
    return dtype == Q_Q8_0 ? 128 : dtype == Q_Q4_0 ? 8 : 0;
}

/* 4 bytes of x in each lane. */
static inline __m512i a8_broadcast(const int8_t *x)
{
    return _mm512_set1_epi32(*(const int32_t *)(const void *)x);
}

/* acc + f32(i) * (d*dx), and for Q4_1 + (m*dx)*f32(sum). */
X86_INLINE __m512 a8_add_block(const uint32_t dtype, __m512 acc, __m512i i, __m512 d, __m512 m, __m512 dx,
                                    __m512 sum)
{
    acc = _mm512_add_ps(acc, _mm512_mul_ps(_mm512_cvtepi32_ps(i), _mm512_mul_ps(d, dx)));
    return dtype == Q_Q4_1 ? _mm512_add_ps(acc, _mm512_mul_ps(_mm512_mul_ps(m, dx), sum)) : acc;
}

/* The rows and panels of `part`, each panel streamed once. */
void q_gemm_a8_stream_avx512(const q_work *work, const q_gemm_args *a, uint32_t dtype, x86_part part);

#endif /* Q_GEMM_A8_AVX512_H */
