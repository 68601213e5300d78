/* SPDX-License-Identifier: MIT */
/*
 * conv.h: convolution as a product over an unfolded image, for backends: which pixel each tap of each position reads,
 * forward and for the gradient of the input, as one linear map.
 *
 * Positions (i, j) of a pass fill places (first_h + i*step_h, first_w + j*step_w) of the image that is made. Its taps (a, b),
 * of all the same number, read (i*mul_h + off_h + a*delta_h, ...) of the image that is read, modulo 2^32, where a place at or
 * beyond its end is outside; and weights of kernel place (tap_h + a*tap_step_h, ...). Forward is one pass; the gradient of
 * the input has stride_h*stride_w of them, one per remainder of the place, since the stride lets each see other taps.
 */
#ifndef QORUS_BASE_CONV_H
#define QORUS_BASE_CONV_H

#include "../kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct q_conv_axis {
    uint32_t positions;
    uint32_t first;
    uint32_t step;
    uint32_t to;   /* size of the image that is made */
    uint32_t from; /* size of the image that is read */
    uint32_t mul;
    uint32_t off;
    uint32_t delta;
    uint32_t taps;
    uint32_t tap;
    uint32_t tap_step;
} q_conv_axis;

typedef struct q_conv_pass {
    q_conv_axis h;
    q_conv_axis w;
} q_conv_pass;

static inline q_conv_axis q_conv_axis_forward(uint32_t in, uint32_t out, uint32_t kernel, uint32_t stride, uint32_t pad,
                                              uint32_t dilation)
{
    q_conv_axis x;
    x.positions = x.to = out;
    x.first = 0;
    x.step = 1;
    x.from = in;
    x.mul = stride;
    x.off = 0u - pad;
    x.delta = dilation;
    x.taps = kernel;
    x.tap = 0;
    x.tap_step = 1;
    return x;
}

static inline q_conv_pass q_conv_forward(const q_conv2d_shape *s)
{
    q_conv_pass p;
    p.h = q_conv_axis_forward(s->in_h, s->out_h, s->kernel_h, s->stride_h, s->pad_h, s->dilation_h);
    p.w = q_conv_axis_forward(s->in_w, s->out_w, s->kernel_w, s->stride_w, s->pad_w, s->dilation_w);
    return p;
}

/* Places first, first + stride, ... of the input: kernel place k sees them where k*dilation = first + pad modulo stride. */
static inline q_conv_axis q_conv_axis_back(uint32_t in, uint32_t out, uint32_t kernel, uint32_t stride, uint32_t pad,
                                           uint32_t dilation, uint32_t first)
{
    q_conv_axis x;
    uint32_t second = 0; /* the next kernel place after x.tap */
    x.positions = first < in ? (in - first - 1u) / stride + 1u : 0;
    x.first = first;
    x.step = stride;
    x.to = in;
    x.from = out;
    x.mul = 1;
    x.taps = x.tap = 0;
    for (uint32_t k = 0; k < kernel; k++) {
        if ((first + pad) % stride == k * dilation % stride) {
            x.tap = x.taps == 0 ? k : x.tap;
            second = x.taps == 1 ? k : second;
            x.taps++;
        }
    }
    x.tap_step = second > x.tap ? second - x.tap : 1;
    x.off = (uint32_t)(((int32_t)(first + pad) - (int32_t)(x.tap * dilation)) / (int32_t)stride);
    x.delta = 0u - x.tap_step * dilation / stride;
    return x;
}

/* Pass number i < stride_h*stride_w of the gradient of the input. */
static inline q_conv_pass q_conv_back(const q_conv2d_shape *s, uint32_t i)
{
    q_conv_pass p;
    p.h = q_conv_axis_back(s->in_h, s->out_h, s->kernel_h, s->stride_h, s->pad_h, s->dilation_h, i / s->stride_w);
    p.w = q_conv_axis_back(s->in_w, s->out_w, s->kernel_w, s->stride_w, s->pad_w, s->dilation_w, i % s->stride_w);
    return p;
}

/* Positions of the row [begin, end) whose tap at `off` reads a place inside: [*low, *high), which may be empty. */
static inline void q_conv_inside(const q_conv_axis *x, uint32_t off, uint32_t begin, uint32_t end, uint32_t *low,
                                 uint32_t *high)
{
    uint32_t a = begin;
    uint32_t b = end;
    if (x->mul == 1) {
        int64_t first = -(int64_t)(int32_t)off;
        int64_t last = first + (int64_t)x->from;
        a = first > (int64_t)a ? (first < (int64_t)end ? (uint32_t)first : end) : a;
        b = last < (int64_t)b ? (last > (int64_t)a ? (uint32_t)last : a) : b;
    } else {
        while (a < b && a * x->mul + off >= x->from) {
            a++;
        }
        while (b > a && (b - 1u) * x->mul + off >= x->from) {
            b--;
        }
    }
    *low = a;
    *high = b;
}

#ifdef __cplusplus
}
#endif

#endif /* QORUS_BASE_CONV_H */
