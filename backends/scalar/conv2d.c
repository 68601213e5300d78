/* SPDX-License-Identifier: MIT */
/*
 * conv2d.c: convolution of images and its two gradients: one fma chain per output.
 */
#include "epilogue.h"

/* A place in a batch of images: sample, row, place in the row. */
typedef struct conv_place {
    uint32_t sample;
    uint32_t h;
    uint32_t w;
} conv_place;

static conv_place conv_place_of(uint32_t p, uint32_t height, uint32_t width)
{
    conv_place at;
    at.w = p % width;
    at.h = p / width % height;
    at.sample = p / width / height;
    return at;
}

/* Input pixel of tap (kh, kw) of an output; false if it lies outside the image. */
static bool conv_input(const q_conv2d_shape *s, conv_place out, uint32_t kh, uint32_t kw, uint32_t *pixel)
{
    uint32_t h = out.h * s->stride_h + kh * s->dilation_h - s->pad_h;
    uint32_t w = out.w * s->stride_w + kw * s->dilation_w - s->pad_w;
    *pixel = (out.sample * s->in_h + h) * s->in_w + w;
    return h < s->in_h && w < s->in_w;
}

static q_real conv_chain(const q_conv2d_args *a, conv_place out, uint32_t co)
{
    const q_conv2d_shape *s = &a->shape;
    const q_real *w = scalar_row(a->weights, a->weights_stride, co);
    uint32_t channels = s->in_c / s->groups;
    uint32_t first = co / (s->out_c / s->groups) * channels;
    q_real acc = a->epilogue.bias != NULL ? a->epilogue.bias[co] : 0;
    for (uint32_t tap = 0; tap < s->kernel_h * s->kernel_w; tap++, w += channels) {
        uint32_t pixel;
        bool inside = conv_input(s, out, tap / s->kernel_w, tap % s->kernel_w, &pixel);
        const q_real *x = inside ? scalar_row(a->x, a->x_stride, pixel) + first : NULL;
        for (uint32_t ci = 0; ci < channels; ci++) {
            acc = q_fma(inside ? x[ci] : 0, w[ci], acc);
        }
    }
    return acc;
}

void q_conv2d_scalar(const q_work *work, const q_conv2d_args *a)
{
    const q_conv2d_shape *s = &a->shape;
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->samples) * s->out_h * s->out_w, &begin, &end);
    for (uint32_t p = begin; p < end; p++) {
        conv_place out = conv_place_of(p, s->out_h, s->out_w);
        for (uint32_t co = 0; co < s->out_c; co++) {
            q_real y = conv_chain(a, out, co);
            scalar_row_out(a->y, a->y_stride, p)[co] = scalar_epilogue(&a->epilogue, p, co, y);
        }
    }
}

/* Output that sees input place h, along one axis, by tap k: true if the stride hits it; out of range is any number that
   is no place of the output. */
static bool conv_output(uint32_t h, uint32_t pad, uint32_t k, uint32_t dilation, uint32_t stride, uint32_t *out)
{
    uint32_t at = h + pad;
    if (at % stride != k * dilation % stride) {
        return false;
    }
    *out = at >= k * dilation ? (at - k * dilation) / stride : UINT32_MAX;
    return true;
}

/* The chain of one tap over the outputs' channels of a group; dy NULL: outside. */
static q_real conv_grad_tap(const q_conv2d_grad_input_args *a, const q_real *dy, uint32_t group, size_t column,
                            q_real acc)
{
    uint32_t n = a->shape.out_c / a->shape.groups;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t co = group * n + i;
        acc = q_fma(dy != NULL ? dy[co] : 0, scalar_row(a->weights, a->weights_stride, co)[column], acc);
    }
    return acc;
}

static q_real conv_grad_chain(const q_conv2d_grad_input_args *a, conv_place in, uint32_t c, q_real acc)
{
    const q_conv2d_shape *s = &a->shape;
    uint32_t channels = s->in_c / s->groups;
    for (uint32_t tap = 0; tap < s->kernel_h * s->kernel_w; tap++) {
        uint32_t oh;
        uint32_t ow;
        const q_real *dy = NULL;
        if (!conv_output(in.h, s->pad_h, tap / s->kernel_w, s->dilation_h, s->stride_h, &oh) ||
            !conv_output(in.w, s->pad_w, tap % s->kernel_w, s->dilation_w, s->stride_w, &ow)) {
            continue;
        }
        if (oh < s->out_h && ow < s->out_w) {
            dy = scalar_row(a->dy, a->dy_stride, (in.sample * s->out_h + oh) * s->out_w + ow);
        }
        acc = conv_grad_tap(a, dy, c / channels, (size_t)tap * channels + c % channels, acc);
    }
    return acc;
}

void q_conv2d_grad_input_scalar(const q_work *work, const q_conv2d_grad_input_args *a)
{
    const q_conv2d_shape *s = &a->shape;
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->samples) * s->in_h * s->in_w, &begin, &end);
    for (uint32_t p = begin; p < end; p++) {
        conv_place in = conv_place_of(p, s->in_h, s->in_w);
        q_real *dx = scalar_row_out(a->dx, a->dx_stride, p);
        for (uint32_t c = 0; c < s->in_c; c++) {
            dx[c] = conv_grad_chain(a, in, c, a->accumulate ? dx[c] : 0);
        }
    }
}

/* What output place `out`, number p, adds to the gradient of row co of the weights. */
static void conv_grad_row(const q_conv2d_grad_weight_args *a, conv_place out, uint32_t p, uint32_t co)
{
    const q_conv2d_shape *s = &a->shape;
    uint32_t channels = s->in_c / s->groups;
    uint32_t first = co / (s->out_c / s->groups) * channels;
    q_real dy = scalar_row(a->dy, a->dy_stride, p)[co];
    q_real *grad = scalar_row_out(a->grad, a->grad_stride, co);
    for (uint32_t tap = 0; tap < s->kernel_h * s->kernel_w; tap++, grad += channels) {
        uint32_t pixel;
        bool inside = conv_input(s, out, tap / s->kernel_w, tap % s->kernel_w, &pixel);
        const q_real *x = inside ? scalar_row(a->x, a->x_stride, pixel) + first : NULL;
        for (uint32_t ci = 0; ci < channels; ci++) {
            grad[ci] = q_fma(dy, inside ? x[ci] : 0, grad[ci]);
        }
    }
}

/* Shared by rows of the weights: chains run over all pixels. */
void q_conv2d_grad_weight_scalar(const q_work *work, const q_conv2d_grad_weight_args *a)
{
    const q_conv2d_shape *s = &a->shape;
    uint32_t pixels = q_count_value(work->run, a->samples) * s->out_h * s->out_w;
    uint32_t begin;
    uint32_t end;
    q_share(work, s->out_c, &begin, &end);
    for (uint32_t p = 0; p < pixels; p++) {
        conv_place out = conv_place_of(p, s->out_h, s->out_w);
        for (uint32_t co = begin; co < end; co++) {
            conv_grad_row(a, out, p, co);
        }
    }
}
