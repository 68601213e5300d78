/* SPDX-License-Identifier: MIT */
/*
 * conv2d_passes.h: a convolution and the gradient of its input as passes, each over one group of channels. The including
 * file gives
 *
 *   conv_run(work, job, positions)  a pass
 *   conv_depth_run(work, depth)     channel by channel
 *   conv_choose(job, args)          sets plain and plane of a forward pass
 */
#ifndef Q_X86_CONV2D_PASSES_H
#define Q_X86_CONV2D_PASSES_H

#include "conv2d.h"

/* The epilogue of the columns from `first` on. */
static inline q_epilogue conv_epilogue_from(const q_epilogue *e, uint32_t first)
{
    q_epilogue g = *e;
    g.bias = g.bias != NULL ? g.bias + first : NULL;
    g.scale = g.scale != NULL ? g.scale + first : NULL;
    g.shift = g.shift != NULL ? g.shift + first : NULL;
    g.gate = g.gate != NULL ? g.gate + first : NULL;
    g.residual = g.residual != NULL ? g.residual + first : NULL;
    return g;
}

static inline void conv_forward(const q_work *work, const q_conv2d_args *a)
{
    const q_conv2d_shape *s = &a->shape;
    const q_conv_pass pass = q_conv_forward(s);
    uint32_t samples = q_count_value(work->run, a->samples);
    conv_job x;
    if (conv_depthwise(s)) {
        const conv_depth d = {{&pass, a->x, a->x_stride, s->in_c}, a->weights, a->weights_stride, s->kernel_w, s->in_c,
                              a->y, a->y_stride, &a->epilogue, 0, samples};
        conv_depth_run(work, &d);
        return;
    }
    memset(&x, 0, sizeof(x));
    x.source = (conv_source){&pass, a->x, a->x_stride, s->in_c / s->groups};
    x.k = s->kernel_h * s->kernel_w * x.source.channels;
    x.n = s->out_c / s->groups;
    x.w_stride = a->weights_stride;
    conv_choose(&x, a);
    x.to_stride = a->y_stride;
    for (uint32_t g = 0; g < s->groups; g++) {
        x.source.from = a->x + g * x.source.channels;
        x.w = x86_row(a->weights, a->weights_stride, g * x.n);
        x.to = a->y + g * x.n;
        x.epilogue = conv_epilogue_from(&a->epilogue, g * x.n);
        conv_run(work, &x, samples * s->out_h * s->out_w);
    }
}

static inline void conv_back_pass(const q_work *work, const q_conv2d_grad_input_args *a, const q_conv_pass *pass)
{
    const q_conv2d_shape *s = &a->shape;
    uint32_t samples = q_count_value(work->run, a->samples);
    conv_job x;
    if (conv_depthwise(s)) {
        const conv_depth d = {{pass, a->dy, a->dy_stride, s->in_c}, a->weights, a->weights_stride, s->kernel_w,
                              s->in_c, a->dx, a->dx_stride, NULL, a->accumulate, samples};
        conv_depth_run(work, &d);
        return;
    }
    memset(&x, 0, sizeof(x));
    x.source = (conv_source){pass, a->dy, a->dy_stride, s->out_c / s->groups};
    x.k = pass->h.taps * pass->w.taps * x.source.channels;
    x.n = x.w_channels = s->in_c / s->groups;
    x.kernel_w = s->kernel_w;
    x.w_stride = a->weights_stride;
    x.back = true;
    x.accumulate = a->accumulate != 0;
    x.to_stride = a->dx_stride;
    for (uint32_t g = 0; g < s->groups; g++) {
        x.source.from = a->dy + g * x.source.channels;
        x.w = x86_row(a->weights, a->weights_stride, g * x.source.channels);
        x.to = a->dx + g * x.n;
        conv_run(work, &x, samples * pass->h.positions * pass->w.positions);
    }
}

static inline void conv_back(const q_work *work, const q_conv2d_grad_input_args *a)
{
    for (uint32_t i = 0; i < a->shape.stride_h * a->shape.stride_w; i++) {
        const q_conv_pass pass = q_conv_back(&a->shape, i);
        conv_back_pass(work, a, &pass);
    }
}

#endif /* Q_X86_CONV2D_PASSES_H */
