/* SPDX-License-Identifier: MIT */
/*
 * conv2d.h: what the convolutions of this backend share: an unfolded image, and products over it.
 */
#ifndef Q_AVX2_CONV2D_H
#define Q_AVX2_CONV2D_H

#include "kernels_avx2.h"
#include "qorus/base/conv.h"

/* Channels of an image, first at `from`, as the taps of a pass see it: column k of the unfolded image is channel
   k % channels of tap k / channels. */
typedef struct conv_source {
    const q_conv_pass *pass;
    const float *from;
    size_t stride;
    uint32_t channels;
} conv_source;

/* Positions r0 .. r0 + rows - 1 of the pass by columns k0 .. k0 + n - 1 of the unfolded image, to rows `pitch` floats
   apart; zeros where a tap is outside. */
void q_conv_unfold_avx2(const conv_source *x, uint32_t r0, uint32_t rows, uint32_t k0, uint32_t n, float *to,
                        size_t pitch);

/* Convolution channel by channel (groups = in_c = out_c) with few enough taps for the workspace. */
static inline bool conv_by_channel(const q_conv2d_shape *s)
{
    return s->groups > 1u && s->in_c == s->groups && s->out_c == s->groups && s->kernel_h * s->kernel_w <= 256u;
}

/* What depthwise convolution makes: to[p][c] = chain over taps from bias[c], 0 or to[p][c]. epilogue NULL: none. */
typedef struct conv_depth {
    conv_source source;
    const float *weights;
    size_t weights_stride;
    uint32_t kernel_w;
    uint32_t dim; /* channels */
    float *to;
    size_t to_stride;
    const q_epilogue *epilogue;
    uint32_t accumulate;
    uint32_t samples;
} conv_depth;

void q_conv_depth_avx2(const q_work *work, const conv_depth *x);
void q_conv_depth_weight_avx2(const q_work *work, const q_conv2d_grad_weight_args *a);

static inline const float *conv_bytes_on(const float *base, size_t bytes)
{
    return (const float *)(const void *)((const uint8_t *)(const void *)base + bytes);
}

/* Tiles of up to 6 rows over all rows of a group; acc [rows][16]. */
static inline void conv_tile_rows(uint32_t rows, uint32_t k, const float *a, size_t a_row, size_t a_step,
                                  const float *b, float *acc)
{
    for (uint32_t t = 0; t < rows; t += Q_AVX2_TILE_ROWS) {
        uint32_t n = rows - t < Q_AVX2_TILE_ROWS ? rows - t : (uint32_t)Q_AVX2_TILE_ROWS;
        q_tile_f32_avx2(n, k, conv_bytes_on(a, a_row * t), a_row, a_step, b, 16 * sizeof(float), acc + t * 16u);
    }
}

#endif /* Q_AVX2_CONV2D_H */
