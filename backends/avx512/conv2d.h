/* SPDX-License-Identifier: MIT */
/*
 * conv2d.h: what the convolutions of this backend share: an unfolded image, and the register tile over it.
 */
#ifndef Q_AVX512_CONV2D_H
#define Q_AVX512_CONV2D_H

#include "kernels_avx512.h"
#include "../x86/conv2d.h"

enum {
    CONV_COLUMNS = 32,      /* of a register tile */
    CONV_PLANE_PITCH = 144, /* floats from one tap of an image of one channel to the next */
    CONV_PLANE_TAPS = 128   /* the most that unfold so */
};

#ifdef __AVX512F__

/* Positions r0 .. r0 + rows - 1 of the pass by columns k0 .. k0 + n - 1 of the unfolded image, to rows `pitch` floats
   apart; zeros where a tap is outside. */
void q_conv_unfold_avx512(const conv_source *x, uint32_t r0, uint32_t rows, uint32_t k0, uint32_t n, float *to,
                          size_t pitch);

/* The same of an image of one channel, transposed: taps k0 .. k0 + n - 1, CONV_PLANE_PITCH floats apart, of at most 128
   positions each. What lies behind them in each row may be overwritten. */
void q_conv_unfold_plane_avx512(const conv_source *x, uint32_t r0, uint32_t rows, uint32_t k0, uint32_t n, float *to);

/* acc[t][0 .. 16*halves - 1] = fma(A[t][p], B[p][..], acc) for p = 0 .. k - 1, t < rows; rows and halves constant. A[t][p]
   lies at a + t*a_row + p*a_step floats; rows of B and of acc are CONV_COLUMNS floats. */
X86_INLINE void conv_tile(const uint32_t rows, const uint32_t halves, uint32_t k, const float *a, size_t a_row,
                               size_t a_step, const float *b, float acc[][CONV_COLUMNS])
{
    __m512 c[24][2];
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        X86_UNROLL
        for (uint32_t h = 0; h < halves; h++) {
            c[t][h] = _mm512_load_ps(acc[t] + h * 16u);
        }
    }
    for (uint32_t p = 0; p < k; p++, a += a_step, b += CONV_COLUMNS) {
        __m512 w[2];
        X86_UNROLL
        for (uint32_t h = 0; h < halves; h++) {
            w[h] = _mm512_load_ps(b + h * 16u);
        }
        X86_UNROLL
        for (uint32_t t = 0; t < rows; t++) {
            __m512 v = _mm512_set1_ps(a[t * a_row]);
            X86_UNROLL
            for (uint32_t h = 0; h < halves; h++) {
                c[t][h] = _mm512_fmadd_ps(v, w[h], c[t][h]);
            }
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        X86_UNROLL
        for (uint32_t h = 0; h < halves; h++) {
            _mm512_store_ps(acc[t] + h * 16u, c[t][h]);
        }
    }
}

/* All rows of a group: tiles of 24 accumulators, then smaller ones. */
X86_INLINE void conv_tiles(uint32_t rows, uint32_t lanes, uint32_t k, const float *a, size_t a_row, size_t a_step,
                                const float *b, float acc[][CONV_COLUMNS])
{
    uint32_t t = 0;
    if (lanes > 16u) {
        for (; t + 12u <= rows; t += 12u) {
            conv_tile(12, 2, k, a + t * a_row, a_row, a_step, b, acc + t);
        }
        for (; t + 4u <= rows; t += 4u) {
            conv_tile(4, 2, k, a + t * a_row, a_row, a_step, b, acc + t);
        }
        for (; t < rows; t++) {
            conv_tile(1, 2, k, a + t * a_row, a_row, a_step, b, acc + t);
        }
        return;
    }
    for (; t + 24u <= rows; t += 24u) {
        conv_tile(24, 1, k, a + t * a_row, a_row, a_step, b, acc + t);
    }
    if (rows - t == 9u) {
        conv_tile(9, 1, k, a + t * a_row, a_row, a_step, b, acc + t);
        return;
    }
    for (; t + 8u <= rows; t += 8u) {
        conv_tile(8, 1, k, a + t * a_row, a_row, a_step, b, acc + t);
    }
    for (; t < rows; t++) {
        conv_tile(1, 1, k, a + t * a_row, a_row, a_step, b, acc + t);
    }
}

#endif /* __AVX512F__ */

static inline bool conv_plane(const q_conv2d_shape *s)
{
    return s->in_c == 1u && s->kernel_h * s->kernel_w <= CONV_PLANE_TAPS;
}

/* Gradient of the weights for images of one channel. */
void q_conv_plane_weight_avx512(const q_work *work, const q_conv2d_grad_weight_args *a);

void q_conv_depth_avx512(const q_work *work, const conv_depth *x);
void q_conv_depth_weight_avx512(const q_work *work, const q_conv2d_grad_weight_args *a);

#endif /* Q_AVX512_CONV2D_H */
