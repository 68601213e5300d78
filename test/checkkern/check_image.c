/* SPDX-License-Identifier: MIT */
/*
 * check_image.c: conv2d, its two gradients, pool2d and its gradient, over random shapes.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"

enum { IMAGE_CASES = 150 };

static uint32_t image_windows(uint32_t size, uint32_t pad, uint32_t kernel, uint32_t dilation, uint32_t stride)
{
    return (size + 2u * pad - dilation * (kernel - 1u) - 1u) / stride + 1u;
}

/* One axis: a size, and a kernel that fits it. */
static void image_axis(check *c, uint32_t *size, uint32_t *kernel, uint32_t *stride, uint32_t *pad, uint32_t *dilation)
{
    *kernel = CHECK_PICK(c, 1, 2, 3, 3, 3, 5);
    *dilation = CHECK_PICK(c, 1, 1, 1, 2, 3);
    *stride = CHECK_PICK(c, 1, 1, 1, 2, 3, 4);
    *pad = check_below(c, *kernel + 1u);
    uint32_t extent = *dilation * (*kernel - 1u) + 1u;
    uint32_t least = extent > 2u * *pad ? extent - 2u * *pad : 1u;
    *size = least + check_below(c, CHECK_PICK(c, 2, 9, 20));
}

static q_conv2d_shape image_shape(check *c)
{
    q_conv2d_shape s;
    uint32_t each = CHECK_PICK(c, 1, 1, 2, 3, 16, 17);
    memset(&s, 0, sizeof(s));
    image_axis(c, &s.in_h, &s.kernel_h, &s.stride_h, &s.pad_h, &s.dilation_h);
    image_axis(c, &s.in_w, &s.kernel_w, &s.stride_w, &s.pad_w, &s.dilation_w);
    switch (check_below(c, 4)) {
    case 0: /* depthwise */
        s.groups = s.in_c = s.out_c = CHECK_PICK(c, 2, 7, 8, 9, 16, 19, 33);
        break;
    case 1:
        s.groups = CHECK_PICK(c, 2, 3);
        s.in_c = s.groups * each;
        s.out_c = s.groups * CHECK_PICK(c, 1, 2, 9, 17);
        break;
    default:
        s.groups = 1;
        s.in_c = CHECK_PICK(c, 1, 1, 2, 3, 8, 16, 19, 33, 70);
        s.out_c = CHECK_PICK(c, 1, 3, 8, 15, 16, 17, 32, 33, 50);
        break;
    }
    s.out_h = image_windows(s.in_h, s.pad_h, s.kernel_h, s.dilation_h, s.stride_h);
    s.out_w = image_windows(s.in_w, s.pad_w, s.kernel_w, s.dilation_w, s.stride_w);
    return s;
}

static void image_text(char *text, size_t n, const q_conv2d_shape *s, uint32_t samples)
{
    (void)snprintf(text, n, "%u of %ux%ux%u -> %ux%ux%u kernel %ux%u stride %ux%u pad %ux%u dilation %ux%u groups %u",
                   samples, s->in_h, s->in_w, s->in_c, s->out_h, s->out_w, s->out_c, s->kernel_h, s->kernel_w,
                   s->stride_h, s->stride_w, s->pad_h, s->pad_w, s->dilation_h, s->dilation_w, s->groups);
}

static uint32_t image_k(const q_conv2d_shape *s)
{
    return s->kernel_h * s->kernel_w * (s->in_c / s->groups);
}

static void image_epilogue(check *c, q_epilogue *e, uint32_t rows, uint32_t m, check_fill fill)
{
    memset(e, 0, sizeof(*e));
    e->bias = check_below(c, 2) != 0 ? check_reals(c, m, fill) : NULL;
    e->scale = check_below(c, 3) == 0 ? check_reals(c, m, fill) : NULL;
    e->shift = check_below(c, 3) == 0 ? check_reals(c, m, fill) : NULL;
    e->gate = check_below(c, 4) == 0 ? check_rows(c, rows, m, fill, &e->gate_stride) : NULL;
    e->residual = check_below(c, 3) == 0 ? check_rows(c, rows, m, fill, &e->residual_stride) : NULL;
    e->activation = check_below(c, 2) != 0 ? check_below(c, Q_ACT_COUNT) : (uint32_t)Q_ACT_NONE;
}

void check_conv2d(check *c)
{
    for (uint32_t i = 0; i < IMAGE_CASES; i++) {
        char text[192];
        q_conv2d_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        memset(&a, 0, sizeof(a));
        a.samples.n = CHECK_PICK(c, 1, 2, 3);
        a.shape = image_shape(c);
        uint32_t out = a.samples.n * a.shape.out_h * a.shape.out_w;
        a.x = check_rows(c, a.samples.n * a.shape.in_h * a.shape.in_w, a.shape.in_c, fill, &a.x_stride);
        a.weights = check_rows(c, a.shape.out_c, image_k(&a.shape), fill, &a.weights_stride);
        image_epilogue(c, &a.epilogue, out, a.shape.out_c, fill);
        bool in_place = check_below(c, 4) == 0;
        check_pair y = in_place ? check_in_out(c, out, a.shape.out_c, fill) : check_out(c, out, a.shape.out_c);
        a.y_stride = y.stride;
        q_conv2d_args b = a;
        a.y = y.expected;
        b.y = y.got;
        if (in_place) {
            a.epilogue.residual = a.y;
            b.epilogue.residual = b.y;
            a.epilogue.residual_stride = b.epilogue.residual_stride = y.stride;
        }
        image_text(text, sizeof(text), &a.shape, a.samples.n);
        CHECK_RUN(c, conv2d, &a, &b);
        check_pair_same(c, y, text);
    }
}

void check_conv2d_grad_input(check *c)
{
    for (uint32_t i = 0; i < IMAGE_CASES; i++) {
        char text[192];
        q_conv2d_grad_input_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        memset(&a, 0, sizeof(a));
        a.samples.n = CHECK_PICK(c, 1, 2, 3);
        a.shape = image_shape(c);
        a.accumulate = check_below(c, 2);
        a.dy = check_rows(c, a.samples.n * a.shape.out_h * a.shape.out_w, a.shape.out_c, fill, &a.dy_stride);
        a.weights = check_rows(c, a.shape.out_c, image_k(&a.shape), fill, &a.weights_stride);
        check_pair dx = check_in_out(c, a.samples.n * a.shape.in_h * a.shape.in_w, a.shape.in_c, fill);
        a.dx_stride = dx.stride;
        q_conv2d_grad_input_args b = a;
        a.dx = dx.expected;
        b.dx = dx.got;
        image_text(text, sizeof(text), &a.shape, a.samples.n);
        CHECK_RUN(c, conv2d_grad_input, &a, &b);
        check_pair_same(c, dx, text);
    }
}

void check_conv2d_grad_weight(check *c)
{
    for (uint32_t i = 0; i < IMAGE_CASES; i++) {
        char text[192];
        q_conv2d_grad_weight_args a;
        check_begin(c);
        check_fill fill = check_fill_any(c);
        memset(&a, 0, sizeof(a));
        a.samples.n = CHECK_PICK(c, 1, 2, 3);
        a.shape = image_shape(c);
        a.x = check_rows(c, a.samples.n * a.shape.in_h * a.shape.in_w, a.shape.in_c, fill, &a.x_stride);
        a.dy = check_rows(c, a.samples.n * a.shape.out_h * a.shape.out_w, a.shape.out_c, fill, &a.dy_stride);
        check_pair grad = check_in_out(c, a.shape.out_c, image_k(&a.shape), fill);
        a.grad_stride = grad.stride;
        q_conv2d_grad_weight_args b = a;
        a.grad = grad.expected;
        b.grad = grad.got;
        image_text(text, sizeof(text), &a.shape, a.samples.n);
        CHECK_RUN(c, conv2d_grad_weight, &a, &b);
        check_pair_same(c, grad, text);
    }
}

/* Windows that cover the image, each pixel in one: most networks pool so, and random shapes seldom. */
static void pool_covers(check *c, q_conv2d_shape *s)
{
    s->stride_h = s->kernel_h = CHECK_PICK(c, 2, 2, 3);
    s->stride_w = s->kernel_w = CHECK_PICK(c, 2, 2, 3);
    s->pad_h = s->pad_w = 0;
    s->in_h = s->kernel_h * CHECK_PICK(c, 1, 2, 5);
    s->in_w = s->kernel_w * CHECK_PICK(c, 1, 3, 4);
}

/* A shape of pooling: no dilation, channels by themselves, padding at most half of the kernel. */
static q_conv2d_shape pool_shape(check *c)
{
    q_conv2d_shape s = image_shape(c);
    s.dilation_h = s.dilation_w = s.groups = 1;
    s.pad_h = s.pad_h < s.kernel_h / 2u ? s.pad_h : s.kernel_h / 2u;
    s.pad_w = s.pad_w < s.kernel_w / 2u ? s.pad_w : s.kernel_w / 2u;
    s.in_h += s.kernel_h;
    s.in_w += s.kernel_w;
    s.out_c = s.in_c;
    if (check_below(c, 2) == 0) {
        pool_covers(c, &s);
    }
    s.out_h = image_windows(s.in_h, s.pad_h, s.kernel_h, 1, s.stride_h);
    s.out_w = image_windows(s.in_w, s.pad_w, s.kernel_w, 1, s.stride_w);
    return s;
}

/* Reals, or small integers, of which windows hold several equal ones. */
static const float *pool_image(check *c, uint32_t rows, uint32_t n, size_t *stride)
{
    float *x = check_rows(c, rows, n, check_fill_any(c), stride);
    if (check_below(c, 2) == 0) {
        for (uint32_t r = 0; r < rows; r++) {
            for (uint32_t i = 0; i < n; i++) {
                x[r * (*stride / sizeof(float)) + i] = (float)check_below(c, 3) - 1.0f;
            }
        }
    }
    return x;
}

void check_pool2d(check *c)
{
    for (uint32_t i = 0; i < IMAGE_CASES; i++) {
        char text[192];
        q_pool2d_args a;
        check_begin(c);
        memset(&a, 0, sizeof(a));
        a.samples.n = CHECK_PICK(c, 1, 2, 3);
        a.shape = pool_shape(c);
        a.kind = check_below(c, Q_POOL_KINDS);
        a.include_pad = check_below(c, 2);
        a.x = pool_image(c, a.samples.n * a.shape.in_h * a.shape.in_w, a.shape.in_c, &a.x_stride);
        check_pair y = check_out(c, a.samples.n * a.shape.out_h * a.shape.out_w, a.shape.in_c);
        a.y_stride = y.stride;
        q_pool2d_args b = a;
        a.y = y.expected;
        b.y = y.got;
        image_text(text, sizeof(text), &a.shape, a.samples.n);
        CHECK_RUN(c, pool2d, &a, &b);
        check_pair_same(c, y, text);
    }
}

void check_pool2d_grad(check *c)
{
    for (uint32_t i = 0; i < 2 * IMAGE_CASES; i++) {
        char text[192];
        q_pool2d_grad_args a;
        check_begin(c);
        memset(&a, 0, sizeof(a));
        a.samples.n = CHECK_PICK(c, 1, 2, 3);
        a.shape = pool_shape(c);
        a.kind = check_below(c, Q_POOL_KINDS);
        a.include_pad = check_below(c, 2);
        a.accumulate = check_below(c, 2);
        a.x = pool_image(c, a.samples.n * a.shape.in_h * a.shape.in_w, a.shape.in_c, &a.x_stride);
        a.dy = check_rows(c, a.samples.n * a.shape.out_h * a.shape.out_w, a.shape.in_c, check_fill_any(c), &a.dy_stride);
        check_pair dx = check_in_out(c, a.samples.n * a.shape.in_h * a.shape.in_w, a.shape.in_c, check_fill_any(c));
        a.dx_stride = dx.stride;
        q_pool2d_grad_args b = a;
        a.dx = dx.expected;
        b.dx = dx.got;
        image_text(text, sizeof(text), &a.shape, a.samples.n);
        CHECK_RUN(c, pool2d_grad, &a, &b);
        check_pair_same(c, dx, text);
    }
}
