/* SPDX-License-Identifier: MIT */
/*
 * pool2d.h: maximum and average over windows of an image, and their gradient: lanes are channels.
 */
#ifndef Q_X86_POOL2D_H
#define Q_X86_POOL2D_H

/* The part of an output's window that lies in the image: pixels [h0, h1) x [w0, w1) of a sample. */
typedef struct pool_window {
    uint32_t h0;
    uint32_t h1;
    uint32_t w0;
    uint32_t w1;
    uint32_t first; /* pixel (0, 0) of the sample */
} pool_window;

static inline void pool_clip(uint32_t at, uint32_t pad, uint32_t kernel, uint32_t size, uint32_t *begin,
                             uint32_t *end)
{
    *begin = at > pad ? at - pad : 0;
    *end = at + kernel - pad < size ? at + kernel - pad : size;
}

/* Windows of a row of outputs, number `row` of the batch; columns by pool_window_at. */
static pool_window pool_window_of(const q_conv2d_shape *s, uint32_t row)
{
    pool_window v;
    pool_clip(row % s->out_h * s->stride_h, s->pad_h, s->kernel_h, s->in_h, &v.h0, &v.h1);
    v.first = row / s->out_h * s->in_h * s->in_w;
    v.w0 = v.w1 = 0;
    return v;
}

static inline void pool_window_at(const q_conv2d_shape *s, uint32_t w, pool_window *v)
{
    pool_clip(w * s->stride_w, s->pad_w, s->kernel_w, s->in_w, &v->w0, &v->w1);
}

/* Largest value of each of n <= VEC channels; the first of equal ones; a NaN is larger than all numbers. */
X86_INLINE vec pool_largest(const q_conv2d_shape *s, const float *x, size_t stride, pool_window v,
                            uint32_t n)
{
    const float *row = x86_row(x, stride, v.first + v.h0 * s->in_w + v.w0);
    vec best = vec_load_n(row, n);
    for (uint32_t h = v.h0; h < v.h1; h++) {
        const float *at = row;
        for (uint32_t w = v.w0; w < v.w1; w++) {
            vec value = vec_load_n(at, n);
            best = vec_choose(vec_either(vec_above(value, best), vec_nan(value)), value, best);
            at = x86_row(at, stride, 1);
        }
        row = x86_row(row, stride, s->in_w);
    }
    return best;
}

X86_INLINE vec pool_mean(const q_pool2d_args *a, pool_window v, uint32_t c, uint32_t n)
{
    const q_conv2d_shape *s = &a->shape;
    uint32_t count = a->include_pad != 0 ? s->kernel_h * s->kernel_w : (v.h1 - v.h0) * (v.w1 - v.w0);
    vec sum = vec_zero();
    for (uint32_t h = v.h0; h < v.h1; h++) {
        for (uint32_t w = v.w0; w < v.w1; w++) {
            const float *x = x86_row(a->x, a->x_stride, v.first + h * s->in_w + w) + c;
            sum = vec_add(sum, vec_load_n(x, n));
        }
    }
    return vec_div(sum, vec_set((float)count));
}

/* -- maxima of 2 x 2, side by side ------------------------------------------------------------- */

/* Windows of four pixels that cover the image, as most networks pool it: (0,0), (0,1), (1,0), (1,1). */
typedef struct pool_four {
    vec x[4];
    vec best;
} pool_four;

/* True where every pixel lies in one window, and every window in the image. */
static inline bool pool_tiles(const q_conv2d_shape *s)
{
    return s->stride_h == s->kernel_h && s->stride_w == s->kernel_w && s->pad_h == 0 && s->pad_w == 0 &&
           s->in_h == s->out_h * s->kernel_h && s->in_w == s->out_w * s->kernel_w;
}

static inline bool pool_is_four(const q_conv2d_shape *s, uint32_t kind)
{
    return kind == Q_POOL_MAX && s->kernel_h == 2 && s->kernel_w == 2 && pool_tiles(s);
}

/* n channels of a window, its first pixel at x; bytes between pixels and between rows. Which is the largest: as
   pool_largest. */
X86_INLINE pool_four pool_look(const float *x, size_t pixel, size_t row, vec_tail n)
{
    pool_four v;
    v.best = vec_zero();
    X86_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        v.x[i] = vec_load_tail(x86_row(x, i / 2u * row + i % 2u * pixel, 1), n);
        v.best = i == 0 ? v.x[0] : vec_choose(vec_either(vec_above(v.x[i], v.best), vec_nan(v.x[i])), v.x[i], v.best);
    }
    return v;
}

/* Row `row` of the batch's outputs, VEC channels from c. */
static void pool_row_of_four(const q_pool2d_args *a, uint32_t row, uint32_t c)
{
    const q_conv2d_shape *s = &a->shape;
    const vec_tail n = vec_tail_of(s->in_c - c);
    const float *x = x86_row(a->x, a->x_stride, row * 2u * s->in_w) + c;
    float *y = x86_row_out(a->y, a->y_stride, row * s->out_w) + c;
    for (uint32_t w = 0; w < s->out_w; w++) {
        const pool_four v = pool_look(x, a->x_stride, a->x_stride * s->in_w, n);
        vec_store_tail(y, n, v.best);
        x = x86_row(x, a->x_stride, 2);
        y = x86_row_out(y, a->y_stride, 1);
    }
}

/* One output, all channels. */
static inline void pool_output(const q_pool2d_args *a, pool_window v, float *y)
{
    for (uint32_t c = 0; c < a->shape.in_c; c += VEC) {
        uint32_t n = a->shape.in_c - c;
        if (a->kind == Q_POOL_MAX) {
            vec_store_n(y + c, n, pool_largest(&a->shape, a->x + c, a->x_stride, v, n));
        } else {
            vec_store_n(y + c, n, pool_mean(a, v, c, n));
        }
    }
}

static void x86_pool2d(const q_work *work, const q_pool2d_args *a)
{
    const q_conv2d_shape *s = &a->shape;
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->samples) * s->out_h, &begin, &end);
    for (uint32_t row = begin; row < end; row++) {
        if (pool_is_four(s, a->kind)) {
            for (uint32_t c = 0; c < s->in_c; c += VEC) {
                pool_row_of_four(a, row, c);
            }
            continue;
        }
        pool_window v = pool_window_of(s, row);
        for (uint32_t w = 0; w < s->out_w; w++) {
            pool_window_at(s, w, &v);
            pool_output(a, v, x86_row_out(a->y, a->y_stride, row * s->out_w + w));
        }
    }
}

/* -- gradient --------------------------------------------------------------------------------------- */

/* dy of one output to the pixels of its window: all of them, or only the first that equals `best`, of each channel.
   tiled: what was there does not count. */
X86_INLINE void pool_spread(const q_pool2d_grad_args *a, pool_window v, uint32_t c, vec dy, const vec *best,
                            bool tiled)
{
    const q_conv2d_shape *s = &a->shape;
    const vec_tail n = vec_tail_of(s->in_c - c);
    vec_lanes left = vec_first(s->in_c - c);
    for (uint32_t h = v.h0; h < v.h1; h++) {
        for (uint32_t w = v.w0; w < v.w1; w++) {
            uint32_t pixel = v.first + h * s->in_w + w;
            float *dx = x86_row_out(a->dx, a->dx_stride, pixel) + c;
            vec_lanes hit = left;
            if (best != NULL) {
                const vec x = vec_load_tail(x86_row(a->x, a->x_stride, pixel) + c, n);
                hit = vec_both(vec_either(vec_equal(x, *best), vec_nan(x)), left);
                left = vec_without(left, hit);
            }
            if (tiled) {
                vec_store_tail(dx, n, vec_keep(hit, vec_add(vec_zero(), dy)));
            } else {
                vec_store_mask(dx, hit, vec_add(vec_load_mask(dx, hit), dy));
            }
        }
    }
}

static void pool_grad_output(const q_pool2d_grad_args *a, pool_window v, uint32_t p, uint32_t c, bool tiled)
{
    const q_conv2d_shape *s = &a->shape;
    uint32_t n = s->in_c - c;
    vec dy = vec_load_n(x86_row(a->dy, a->dy_stride, p) + c, n);
    if (a->kind == Q_POOL_MAX) {
        const vec best = pool_largest(s, a->x + c, a->x_stride, v, n);
        pool_spread(a, v, c, dy, &best, tiled);
        return;
    }
    uint32_t count = a->include_pad != 0 ? s->kernel_h * s->kernel_w : (v.h1 - v.h0) * (v.w1 - v.w0);
    pool_spread(a, v, c, vec_div(dy, vec_set((float)count)), NULL, tiled);
}

/* Row `row` of the batch's outputs, VEC channels from c, to pixels whose gradient is not there yet. */
static void pool_grad_of_four(const q_pool2d_grad_args *a, uint32_t row, uint32_t c)
{
    const q_conv2d_shape *s = &a->shape;
    const vec_tail n = vec_tail_of(s->in_c - c);
    const float *x = x86_row(a->x, a->x_stride, row * 2u * s->in_w) + c;
    const float *dy = x86_row(a->dy, a->dy_stride, row * s->out_w) + c;
    float *dx = x86_row_out(a->dx, a->dx_stride, row * 2u * s->in_w) + c;
    for (uint32_t w = 0; w < s->out_w; w++) {
        const pool_four v = pool_look(x, a->x_stride, a->x_stride * s->in_w, n);
        const vec d = vec_add(vec_zero(), vec_load_tail(dy, n));
        vec_lanes left = vec_first(VEC);
        X86_UNROLL
        for (uint32_t i = 0; i < 4; i++) {
            const vec_lanes hit = vec_both(vec_either(vec_equal(v.x[i], v.best), vec_nan(v.x[i])), left);
            left = vec_without(left, hit);
            vec_store_tail(x86_row_out(dx, a->dx_stride, i / 2u * s->in_w + i % 2u), n, vec_keep(hit, d));
        }
        x = x86_row(x, a->x_stride, 2);
        dy = x86_row(dy, a->dy_stride, 1);
        dx = x86_row_out(dx, a->dx_stride, 2);
    }
}

/* Shared by VEC channels of samples: windows may overlap. */
static void x86_pool2d_grad(const q_work *work, const q_pool2d_grad_args *a)
{
    const q_conv2d_shape *s = &a->shape;
    const bool tiled = a->accumulate == 0 && pool_tiles(s);
    const bool four = tiled && pool_is_four(s, a->kind);
    uint32_t blocks = q_ceil_div_u32(s->in_c, VEC);
    uint32_t in = s->in_h * s->in_w;
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->samples) * blocks, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        uint32_t sample = i / blocks;
        uint32_t c = i % blocks * VEC;
        for (uint32_t p = 0; p < in && a->accumulate == 0 && !tiled; p++) {
            vec_store_n(x86_row_out(a->dx, a->dx_stride, sample * in + p) + c, s->in_c - c, vec_zero());
        }
        for (uint32_t row = sample * s->out_h; row < (sample + 1u) * s->out_h; row++) {
            if (four) {
                pool_grad_of_four(a, row, c);
                continue;
            }
            pool_window v = pool_window_of(s, row);
            for (uint32_t w = 0; w < s->out_w; w++) {
                pool_window_at(s, w, &v);
                pool_grad_output(a, v, row * s->out_w + w, c, tiled);
            }
        }
    }
}

#endif /* Q_X86_POOL2D_H */
