/* SPDX-License-Identifier: MIT */
/*
 * pool2d.c: maximum and average over windows of an image, channel by channel, and their gradient.
 */
#include "scalar.h"

/* The part of an output's window that lies in the image: pixels [h0, h1) x [w0, w1) of a sample. */
typedef struct pool_window {
    uint32_t h0;
    uint32_t h1;
    uint32_t w0;
    uint32_t w1;
    uint32_t first; /* pixel (0, 0) of the sample */
} pool_window;

static void pool_clip(uint32_t at, uint32_t pad, uint32_t kernel, uint32_t size, uint32_t *begin, uint32_t *end)
{
    *begin = at > pad ? at - pad : 0;
    *end = at + kernel - pad < size ? at + kernel - pad : size;
}

static pool_window pool_window_of(const q_conv2d_shape *s, uint32_t p)
{
    pool_window v;
    pool_clip(p / s->out_w % s->out_h * s->stride_h, s->pad_h, s->kernel_h, s->in_h, &v.h0, &v.h1);
    pool_clip(p % s->out_w * s->stride_w, s->pad_w, s->kernel_w, s->in_w, &v.w0, &v.w1);
    v.first = p / s->out_w / s->out_h * s->in_h * s->in_w;
    return v;
}

/* Pixel of the first of the largest values of channel c; a NaN is larger than all numbers. */
static uint32_t pool_largest(const q_conv2d_shape *s, const q_real *x, size_t stride, pool_window v, uint32_t c)
{
    uint32_t best = v.first + v.h0 * s->in_w + v.w0;
    q_real m = scalar_row(x, stride, best)[c];
    for (uint32_t h = v.h0; h < v.h1; h++) {
        for (uint32_t w = v.w0; w < v.w1; w++) {
            uint32_t pixel = v.first + h * s->in_w + w;
            q_real value = scalar_row(x, stride, pixel)[c];
            if (value > m || (value != value && m == m)) {
                m = value;
                best = pixel;
            }
        }
    }
    return best;
}

static q_real pool_sum(const q_pool2d_args *a, pool_window v, uint32_t c)
{
    q_real sum = 0;
    for (uint32_t h = v.h0; h < v.h1; h++) {
        for (uint32_t w = v.w0; w < v.w1; w++) {
            sum = sum + scalar_row(a->x, a->x_stride, v.first + h * a->shape.in_w + w)[c];
        }
    }
    return sum;
}

/* What an average divides by. */
static q_real pool_count(const q_conv2d_shape *s, uint32_t include_pad, pool_window v)
{
    return (q_real)(include_pad != 0 ? s->kernel_h * s->kernel_w : (v.h1 - v.h0) * (v.w1 - v.w0));
}

void q_pool2d_scalar(const q_work *work, const q_pool2d_args *a)
{
    const q_conv2d_shape *s = &a->shape;
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->samples) * s->out_h * s->out_w, &begin, &end);
    for (uint32_t p = begin; p < end; p++) {
        pool_window v = pool_window_of(s, p);
        q_real *y = scalar_row_out(a->y, a->y_stride, p);
        for (uint32_t c = 0; c < s->in_c; c++) {
            if (a->kind == Q_POOL_MAX) {
                y[c] = scalar_row(a->x, a->x_stride, pool_largest(s, a->x, a->x_stride, v, c))[c];
            } else {
                y[c] = pool_sum(a, v, c) / pool_count(s, a->include_pad, v);
            }
        }
    }
}

/* What output p adds to the gradient of channel c. */
static void pool_spread(const q_pool2d_grad_args *a, uint32_t p, uint32_t c)
{
    pool_window v = pool_window_of(&a->shape, p);
    q_real dy = scalar_row(a->dy, a->dy_stride, p)[c];
    if (a->kind == Q_POOL_MAX) {
        q_real *dx = scalar_row_out(a->dx, a->dx_stride, pool_largest(&a->shape, a->x, a->x_stride, v, c));
        dx[c] = dx[c] + dy;
        return;
    }
    dy = dy / pool_count(&a->shape, a->include_pad, v);
    for (uint32_t h = v.h0; h < v.h1; h++) {
        for (uint32_t w = v.w0; w < v.w1; w++) {
            q_real *dx = scalar_row_out(a->dx, a->dx_stride, v.first + h * a->shape.in_w + w);
            dx[c] = dx[c] + dy;
        }
    }
}

/* Shared by channels of samples: windows may overlap. */
void q_pool2d_grad_scalar(const q_work *work, const q_pool2d_grad_args *a)
{
    const q_conv2d_shape *s = &a->shape;
    uint32_t in = s->in_h * s->in_w;
    uint32_t out = s->out_h * s->out_w;
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->samples) * s->in_c, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        uint32_t sample = i / s->in_c;
        uint32_t c = i % s->in_c;
        for (uint32_t p = 0; p < in && a->accumulate == 0; p++) {
            scalar_row_out(a->dx, a->dx_stride, sample * in + p)[c] = 0;
        }
        for (uint32_t p = 0; p < out; p++) {
            pool_spread(a, sample * out + p, c);
        }
    }
}
