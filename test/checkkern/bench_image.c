/* SPDX-License-Identifier: MIT */
/*
 * bench_image.c: times of the kernels of images: the layers of a small network for digits, 3x3 over more channels, and
 * depthwise.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"

typedef struct image_bench {
    const char *name;
    uint32_t samples;
    uint32_t side;
    uint32_t in_c;
    uint32_t out_c;
    uint32_t groups;
    uint32_t stride;
} image_bench;

static const image_bench image_benches[] = {
    {"64 of 28x28x1 -> 16", 64, 28, 1, 16, 1, 1},    {"64 of 14x14x16 -> 32", 64, 14, 16, 32, 1, 1},
    {"8 of 14x14x64 -> 64", 8, 14, 64, 64, 1, 1},    {"8 of 28x28x32 -> 64 /2", 8, 28, 32, 64, 1, 2},
    {"8 of 28x28x64 depthwise", 8, 28, 64, 64, 64, 1},
};

enum { IMAGE_BENCHES = sizeof(image_benches) / sizeof(image_benches[0]) };

static q_conv2d_shape bench_shape(const image_bench *b)
{
    q_conv2d_shape s;
    memset(&s, 0, sizeof(s));
    s.in_h = s.in_w = b->side;
    s.in_c = b->in_c;
    s.out_c = b->out_c;
    s.kernel_h = s.kernel_w = 3;
    s.stride_h = s.stride_w = b->stride;
    s.pad_h = s.pad_w = 1;
    s.dilation_h = s.dilation_w = 1;
    s.groups = b->groups;
    s.out_h = s.out_w = (b->side - 1u) / b->stride + 1u;
    return s;
}

static uint32_t bench_in(const image_bench *b)
{
    return b->samples * b->side * b->side;
}

static uint32_t bench_out(const image_bench *b, const q_conv2d_shape *s)
{
    return b->samples * s->out_h * s->out_w;
}

static void bench_report(check *c, const image_bench *b, const q_conv2d_shape *s, double t)
{
    double k = 9.0 * (double)(s->in_c / s->groups);
    double bytes = 4.0 * ((double)bench_in(b) * s->in_c + (double)bench_out(b, s) * s->out_c);
    check_report(c, b->name, t, (double)bench_out(b, s) * s->out_c * k, bytes);
}

void bench_conv2d(check *c)
{
    for (uint32_t i = 0; i < IMAGE_BENCHES; i++) {
        const image_bench *b = &image_benches[i];
        q_conv2d_args a;
        double t;
        check_begin(c);
        memset(&a, 0, sizeof(a));
        a.samples.n = b->samples;
        a.shape = bench_shape(b);
        a.x = check_rows(c, bench_in(b), b->in_c, FILL_UNIT, &a.x_stride);
        a.weights = check_rows(c, b->out_c, 9 * b->in_c / b->groups, FILL_UNIT, &a.weights_stride);
        a.epilogue.bias = check_reals(c, b->out_c, FILL_UNIT);
        a.epilogue.activation = Q_ACT_RELU;
        a.y = check_rows(c, bench_out(b, &a.shape), b->out_c, FILL_UNIT, &a.y_stride);
        CHECK_TIME(c, conv2d, &a, t);
        bench_report(c, b, &a.shape, t);
    }
}

void bench_conv2d_grad_input(check *c)
{
    for (uint32_t i = 0; i < IMAGE_BENCHES; i++) {
        const image_bench *b = &image_benches[i];
        q_conv2d_grad_input_args a;
        double t;
        check_begin(c);
        memset(&a, 0, sizeof(a));
        a.samples.n = b->samples;
        a.shape = bench_shape(b);
        a.dy = check_rows(c, bench_out(b, &a.shape), b->out_c, FILL_UNIT, &a.dy_stride);
        a.weights = check_rows(c, b->out_c, 9 * b->in_c / b->groups, FILL_UNIT, &a.weights_stride);
        a.dx = check_rows(c, bench_in(b), b->in_c, FILL_UNIT, &a.dx_stride);
        CHECK_TIME(c, conv2d_grad_input, &a, t);
        bench_report(c, b, &a.shape, t);
    }
}

void bench_conv2d_grad_weight(check *c)
{
    for (uint32_t i = 0; i < IMAGE_BENCHES; i++) {
        const image_bench *b = &image_benches[i];
        q_conv2d_grad_weight_args a;
        double t;
        check_begin(c);
        memset(&a, 0, sizeof(a));
        a.samples.n = b->samples;
        a.shape = bench_shape(b);
        a.x = check_rows(c, bench_in(b), b->in_c, FILL_UNIT, &a.x_stride);
        a.dy = check_rows(c, bench_out(b, &a.shape), b->out_c, FILL_UNIT, &a.dy_stride);
        a.grad = check_rows(c, b->out_c, 9 * b->in_c / b->groups, FILL_UNIT, &a.grad_stride);
        CHECK_TIME(c, conv2d_grad_weight, &a, t);
        bench_report(c, b, &a.shape, t);
    }
}

static q_conv2d_shape bench_pool_shape(void)
{
    static const image_bench image = {"", 64, 28, 16, 16, 1, 2};
    q_conv2d_shape s = bench_shape(&image);
    s.kernel_h = s.kernel_w = 2;
    s.pad_h = s.pad_w = 0;
    return s;
}

void bench_pool2d(check *c)
{
    for (uint32_t kind = 0; kind < Q_POOL_KINDS; kind++) {
        q_pool2d_args a;
        double t;
        check_begin(c);
        memset(&a, 0, sizeof(a));
        a.samples.n = 64;
        a.shape = bench_pool_shape();
        a.kind = kind;
        a.x = check_rows(c, 64 * 28 * 28, 16, FILL_UNIT, &a.x_stride);
        a.y = check_rows(c, 64 * 14 * 14, 16, FILL_UNIT, &a.y_stride);
        CHECK_TIME(c, pool2d, &a, t);
        check_report(c, kind == Q_POOL_MAX ? "max 2x2, 64 of 28x28x16" : "average", t, 64.0 * 784 * 16, 64.0 * 784 * 80);
    }
}

void bench_pool2d_grad(check *c)
{
    for (uint32_t kind = 0; kind < Q_POOL_KINDS; kind++) {
        q_pool2d_grad_args a;
        double t;
        check_begin(c);
        memset(&a, 0, sizeof(a));
        a.samples.n = 64;
        a.shape = bench_pool_shape();
        a.kind = kind;
        a.x = check_rows(c, 64 * 28 * 28, 16, FILL_UNIT, &a.x_stride);
        a.dy = check_rows(c, 64 * 14 * 14, 16, FILL_UNIT, &a.dy_stride);
        a.dx = check_rows(c, 64 * 28 * 28, 16, FILL_UNIT, &a.dx_stride);
        CHECK_TIME(c, pool2d_grad, &a, t);
        check_report(c, kind == Q_POOL_MAX ? "max 2x2, 64 of 28x28x16" : "average", t, 64.0 * 784 * 16, 64.0 * 784 * 144);
    }
}
