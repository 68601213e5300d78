/* SPDX-License-Identifier: MIT */
/*
 * kernels_image.h: argument structs of the kernels of images (convolution, pooling), a part of kernels.h, where what
 * holds for all kernels is said. An image is [height, width, channels]; a row of a kernel is a pixel, its columns are the
 * channels. Pixels of a step: (sample, row of the image, place in the row), ascending.
 */
#include "kernels.h"

#ifndef QORUS_KERNELS_IMAGE_H
#define QORUS_KERNELS_IMAGE_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Sizes of a convolution or of pooling. Output (oh, ow) looks, by tap (kh, kw) of the kernel, at the input
 * (oh*stride_h + kh*dilation_h - pad_h, ow*stride_w + kw*dilation_w - pad_w). All sizes are at least 1 but pad_*, which may
 * be 0; in_* + 2*pad_* stays below 2^31 and out_* is such that every window lies within the padded input.
 */
typedef struct q_conv2d_shape {
    uint32_t in_h;
    uint32_t in_w;
    uint32_t in_c;
    uint32_t out_h;
    uint32_t out_w;
    uint32_t out_c;
    uint32_t kernel_h;
    uint32_t kernel_w;
    uint32_t stride_h;
    uint32_t stride_w;
    uint32_t pad_h;
    uint32_t pad_w;
    uint32_t dilation_h;
    uint32_t dilation_w;
    uint32_t groups; /* divides in_c and out_c: group g of outputs sees group g of inputs */
    uint32_t reserved;
} q_conv2d_shape;

/*
 * y[p][co] = sum over (kh, kw, ci) ascending of x[pixel of the tap][ci] * w[co][(kh*kernel_w + kw)*in_c/groups + ci], one
 * fma chain from the bias or 0, then the epilogue; ci counts from the first channel of co's group. A tap outside the
 * image is a real 0 that is multiplied and added like any other: the bits are those of a matrix product over the
 * unfolded image.
 */
typedef struct q_conv2d_args {
    q_count samples;
    q_conv2d_shape shape;
    const q_real *x; /* [samples*in_h*in_w][in_c] */
    size_t x_stride;
    const q_real *weights; /* [out_c][kernel_h*kernel_w*in_c/groups] */
    size_t weights_stride;
    q_real *y; /* [samples*out_h*out_w][out_c] */
    size_t y_stride;
    q_epilogue epilogue;
} q_conv2d_args;

/*
 * dx[p][ci] = (accumulate ? dx[p][ci] : 0) + sum of dy[pixel of the tap][co] * w[co][(kh*kernel_w + kw)*in_c/groups + ci],
 * one fma chain over (kh, kw, co) ascending. (kh, kw) runs over the taps by which some output, on a grid without ends,
 * sees pixel (ih, iw): ih + pad_h - kh*dilation_h is a multiple of stride_h, and likewise in the row; an output outside
 * 0 .. out - 1 is a real 0, multiplied and added. The other taps add nothing at all.
 */
typedef struct q_conv2d_grad_input_args {
    q_count samples;
    q_conv2d_shape shape;
    const q_real *dy;
    size_t dy_stride;
    const q_real *weights;
    size_t weights_stride;
    q_real *dx;
    size_t dx_stride;
    uint32_t accumulate;
    uint32_t reserved;
} q_conv2d_grad_input_args;

/* grad[co][k] = grad[co][k] + sum over output pixels, ascending, of dy[p][co] * x[pixel of the tap][ci], one fma chain,
   k = (kh*kernel_w + kw)*in_c/groups + ci; a tap outside the image is a real 0. */
typedef struct q_conv2d_grad_weight_args {
    q_count samples;
    q_conv2d_shape shape;
    const q_real *x;
    size_t x_stride;
    const q_real *dy;
    size_t dy_stride;
    q_real *grad;
    size_t grad_stride;
} q_conv2d_grad_weight_args;

typedef enum q_pool_kind { Q_POOL_MAX = 0, Q_POOL_AVERAGE = 1, Q_POOL_KINDS = 2 } q_pool_kind;

/*
 * Pooling of each channel by itself; shape has dilation 1, groups 1 and out_c = in_c; every window holds a pixel.
 *
 * max: the first of the largest values of the window, (kh, kw) ascending; padding is never chosen. A NaN counts as larger
 *   than all numbers.
 * average: 0 + x + x + ..., (kh, kw) ascending over the pixels of the window that lie in the image, divided by their
 *   number, or by kernel_h*kernel_w where include_pad is set.
 */
typedef struct q_pool2d_args {
    q_count samples;
    q_conv2d_shape shape;
    uint32_t kind; /* q_pool_kind */
    uint32_t include_pad;
    const q_real *x;
    size_t x_stride;
    q_real *y;
    size_t y_stride;
} q_pool2d_args;

/*
 * dx[p][c] = (accumulate ? dx[p][c] : 0) + dy + dy + ..., over output pixels ascending; max: those whose value pixel p is
 * (found again in x), average: those whose window holds it, dy then being dy divided as the output was.
 */
typedef struct q_pool2d_grad_args {
    q_count samples;
    q_conv2d_shape shape;
    uint32_t kind;
    uint32_t include_pad;
    const q_real *x; /* max; may be NULL for average */
    size_t x_stride;
    const q_real *dy;
    size_t dy_stride;
    q_real *dx;
    size_t dx_stride;
    uint32_t accumulate;
    uint32_t reserved;
} q_pool2d_grad_args;

#ifdef __cplusplus
}
#endif

#endif /* QORUS_KERNELS_IMAGE_H */
