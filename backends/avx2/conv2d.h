/* SPDX-License-Identifier: MIT */
/*
 * conv2d.h: what the convolutions of this backend share: an unfolded image, and products over it.
 */
#ifndef Q_AVX2_CONV2D_H
#define Q_AVX2_CONV2D_H

#include "kernels_avx2.h"
#include "../x86/conv2d.h"

/* Positions r0 .. r0 + rows - 1 of the pass by columns k0 .. k0 + n - 1 of the unfolded image, to rows `pitch` floats
   apart; zeros where a tap is outside. */
void q_conv_unfold_avx2(const conv_source *x, uint32_t r0, uint32_t rows, uint32_t k0, uint32_t n, float *to,
                        size_t pitch);

void q_conv_depth_avx2(const q_work *work, const conv_depth *x);
void q_conv_depth_weight_avx2(const q_work *work, const q_conv2d_grad_weight_args *a);

/* Tiles of up to 6 rows over all rows of a group; acc [rows][16]. */
static inline void conv_tile_rows(uint32_t rows, uint32_t k, const float *a, size_t a_row, size_t a_step,
                                  const float *b, float *acc)
{
    for (uint32_t t = 0; t < rows; t += Q_AVX2_TILE_ROWS) {
        uint32_t n = rows - t < Q_AVX2_TILE_ROWS ? rows - t : (uint32_t)Q_AVX2_TILE_ROWS;
        q_tile_f32_avx2(n, k, conv_at(a, a_row * t), a_row, a_step, b, 16 * sizeof(float), acc + t * 16u);
    }
}

#endif /* Q_AVX2_CONV2D_H */
