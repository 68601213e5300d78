/* SPDX-License-Identifier: MIT */
/*
 * pool2d.c: maximum and average over windows of an image, and their gradient: 8 channels are the lanes.
 */
#include "kernels_avx2.h"

/* The part of an output's window that lies in the image: pixels [h0, h1) x [w0, w1) of a sample. */
typedef struct pool_window {
    uint32_t h0;
    uint32_t h1;
    uint32_t w0;
    uint32_t w1;
    uint32_t first; /* pixel (0, 0) of the sample */
} pool_window;

static inline void pool_clip_avx2(uint32_t at, uint32_t pad, uint32_t kernel, uint32_t size, uint32_t *begin,
                                    uint32_t *end)
{
    *begin = at > pad ? at - pad : 0;
    *end = at + kernel - pad < size ? at + kernel - pad : size;
}

/* Windows of a row of outputs, number `row` of the batch; columns by pool_window_at_avx2. */
static pool_window pool_window_of_avx2(const q_conv2d_shape *s, uint32_t row)
{
    pool_window v;
    pool_clip_avx2(row % s->out_h * s->stride_h, s->pad_h, s->kernel_h, s->in_h, &v.h0, &v.h1);
    v.first = row / s->out_h * s->in_h * s->in_w;
    v.w0 = v.w1 = 0;
    return v;
}

static inline void pool_window_at_avx2(const q_conv2d_shape *s, uint32_t w, pool_window *v)
{
    pool_clip_avx2(w * s->stride_w, s->pad_w, s->kernel_w, s->in_w, &v->w0, &v->w1);
}

/* Largest value of each of n channels, the first of equal ones; a NaN is larger than all numbers. */
static __m256 pool_largest_avx2(const q_conv2d_shape *s, const float *x, size_t stride, pool_window v, uint32_t n)
{
    __m256 best = vec_load_n(x86_row(x, stride, v.first + v.h0 * s->in_w + v.w0), n);
    for (uint32_t h = v.h0; h < v.h1; h++) {
        for (uint32_t w = v.w0; w < v.w1; w++) {
            __m256 value = vec_load_n(x86_row(x, stride, v.first + h * s->in_w + w), n);
            __m256 more = _mm256_cmp_ps(value, best, _CMP_GT_OQ);
            more = _mm256_or_ps(more, _mm256_cmp_ps(value, value, _CMP_UNORD_Q));
            best = _mm256_blendv_ps(best, value, more);
        }
    }
    return best;
}

static __m256 pool_mean_avx2(const q_pool2d_args *a, pool_window v, uint32_t c, uint32_t n)
{
    const q_conv2d_shape *s = &a->shape;
    uint32_t count = a->include_pad != 0 ? s->kernel_h * s->kernel_w : (v.h1 - v.h0) * (v.w1 - v.w0);
    __m256 sum = _mm256_setzero_ps();
    for (uint32_t h = v.h0; h < v.h1; h++) {
        for (uint32_t w = v.w0; w < v.w1; w++) {
            const float *x = x86_row(a->x, a->x_stride, v.first + h * s->in_w + w) + c;
            sum = _mm256_add_ps(sum, vec_load_n(x, n));
        }
    }
    return _mm256_div_ps(sum, _mm256_set1_ps((float)count));
}

/* One output, all channels. */
static inline void pool_output_avx2(const q_pool2d_args *a, pool_window v, float *y)
{
    for (uint32_t c = 0; c < a->shape.in_c; c += 8) {
        uint32_t n = a->shape.in_c - c;
        if (a->kind == Q_POOL_MAX) {
            vec_store_n(y + c, n, pool_largest_avx2(&a->shape, a->x + c, a->x_stride, v, n));
        } else {
            vec_store_n(y + c, n, pool_mean_avx2(a, v, c, n));
        }
    }
}

void q_pool2d_avx2(const q_work *work, const q_pool2d_args *a)
{
    const q_conv2d_shape *s = &a->shape;
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->samples) * s->out_h, &begin, &end);
    for (uint32_t row = begin; row < end; row++) {
        pool_window v = pool_window_of_avx2(s, row);
        for (uint32_t w = 0; w < s->out_w; w++) {
            pool_window_at_avx2(s, w, &v);
            pool_output_avx2(a, v, x86_row_out(a->y, a->y_stride, row * s->out_w + w));
        }
    }
}

/* -- gradient --------------------------------------------------------------------------------------- */

/* dy of one output to the pixels of its window: all of them, or only the first that equals `best`, of each channel.
   tiled: what was there does not count. */
static void pool_spread_avx2(const q_pool2d_grad_args *a, pool_window v, uint32_t c, __m256 dy, const __m256 *best,
                             bool tiled)
{
    const q_conv2d_shape *s = &a->shape;
    const uint32_t n = s->in_c - c;
    __m256 left = _mm256_castsi256_ps(vec_mask(n));
    for (uint32_t h = v.h0; h < v.h1; h++) {
        for (uint32_t w = v.w0; w < v.w1; w++) {
            uint32_t pixel = v.first + h * s->in_w + w;
            float *dx = x86_row_out(a->dx, a->dx_stride, pixel) + c;
            __m256 hit = left;
            if (best != NULL) {
                const __m256 x = vec_load_n(x86_row(a->x, a->x_stride, pixel) + c, n);
                hit = _mm256_or_ps(_mm256_cmp_ps(x, *best, _CMP_EQ_OQ), _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
                hit = _mm256_and_ps(hit, left);
                left = _mm256_andnot_ps(hit, left);
            }
            const __m256i m = _mm256_castps_si256(hit);
            if (tiled) {
                vec_store_n(dx, n, _mm256_and_ps(hit, _mm256_add_ps(_mm256_setzero_ps(), dy)));
            } else {
                _mm256_maskstore_ps(dx, m, _mm256_add_ps(_mm256_maskload_ps(dx, m), dy));
            }
        }
    }
}

static void pool_grad_of(const q_pool2d_grad_args *a, pool_window v, uint32_t p, uint32_t c, bool tiled)
{
    const q_conv2d_shape *s = &a->shape;
    uint32_t n = s->in_c - c;
    __m256 dy = vec_load_n(x86_row(a->dy, a->dy_stride, p) + c, n);
    if (a->kind == Q_POOL_MAX) {
        const __m256 best = pool_largest_avx2(s, a->x + c, a->x_stride, v, n);
        pool_spread_avx2(a, v, c, dy, &best, tiled);
        return;
    }
    uint32_t count = a->include_pad != 0 ? s->kernel_h * s->kernel_w : (v.h1 - v.h0) * (v.w1 - v.w0);
    pool_spread_avx2(a, v, c, _mm256_div_ps(dy, _mm256_set1_ps((float)count)), NULL, tiled);
}

/* True where every pixel lies in one window: its gradient is stored at once. */
static bool pool_tiles_avx2(const q_conv2d_shape *s)
{
    return s->stride_h == s->kernel_h && s->stride_w == s->kernel_w && s->pad_h == 0 && s->pad_w == 0 &&
           s->in_h == s->out_h * s->kernel_h && s->in_w == s->out_w * s->kernel_w;
}

/* Shared by 8 channels of samples: windows may overlap. */
void q_pool2d_grad_avx2(const q_work *work, const q_pool2d_grad_args *a)
{
    const q_conv2d_shape *s = &a->shape;
    const bool tiled = a->accumulate == 0 && pool_tiles_avx2(s);
    uint32_t blocks = q_ceil_div_u32(s->in_c, 8);
    uint32_t in = s->in_h * s->in_w;
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->samples) * blocks, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        uint32_t sample = i / blocks;
        uint32_t c = i % blocks * 8u;
        for (uint32_t p = 0; p < in && a->accumulate == 0 && !tiled; p++) {
            vec_store_n(x86_row_out(a->dx, a->dx_stride, sample * in + p) + c, s->in_c - c, _mm256_setzero_ps());
        }
        for (uint32_t row = sample * s->out_h; row < (sample + 1u) * s->out_h; row++) {
            pool_window v = pool_window_of_avx2(s, row);
            for (uint32_t w = 0; w < s->out_w; w++) {
                pool_window_at_avx2(s, w, &v);
                pool_grad_of(a, v, row * s->out_w + w, c, tiled);
            }
        }
    }
}
