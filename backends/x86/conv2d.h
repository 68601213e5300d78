/* SPDX-License-Identifier: MIT */
/*
 * conv2d.h: what the convolutions of both backends share: an unfolded image, and depthwise convolution.
 */
#ifndef Q_X86_CONV2D_H
#define Q_X86_CONV2D_H

#include "x86.h"
#include "qorus/base/conv.h"

/* Channels of an image, first at `from`, as the taps of a pass see it: column k of the unfolded image is channel
   k % channels of tap k / channels. */
typedef struct conv_source {
    const q_conv_pass *pass;
    const float *from;
    size_t stride;
    uint32_t channels;
} conv_source;

static inline const float *conv_at(const float *base, size_t bytes)
{
    return (const float *)(const void *)((const uint8_t *)(const void *)base + bytes);
}

/* Convolution channel by channel (groups = in_c = out_c): forward and gradient of the input, pass by pass, and gradient
   of the weights. */
static inline bool conv_depthwise(const q_conv2d_shape *s)
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

/* One pass over one group of channels. */
typedef struct conv_job {
    conv_source source;
    uint32_t k; /* columns of the unfolded image */
    uint32_t n; /* columns of the output */
    const float *w;
    size_t w_stride;
    uint32_t w_channels; /* channels of a tap in a row of the weights */
    uint32_t kernel_w;
    bool back; /* rows of the weights are channels of the unfolded image, not of the output */
    bool plain; /* forward, and the epilogue is ReLU or nothing behind the bias */
    bool plane; /* an image of one channel */
    bool accumulate;
    float *to;
    size_t to_stride;
    q_epilogue epilogue;
} conv_job;

#endif /* Q_X86_CONV2D_H */
