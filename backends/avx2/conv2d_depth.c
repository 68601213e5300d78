/* SPDX-License-Identifier: MIT */
/*
 * conv2d_depth.c: depthwise convolution and its gradients: 8 channels are the lanes, a tap is one load and one FMA.
 */
#include "conv2d.h"

enum { DEPTH_TILE = 8 };

typedef struct depth_space {
    float w[256][8]; /* of a tap, 8 channels */
    float acc[DEPTH_TILE][16];
} depth_space;

Q_STATIC_ASSERT(sizeof(depth_space) <= Q_AVX2_WORKSPACE, "taps fit the workspace");

/* 8 channels of a pass at work. */
typedef struct depth_lanes {
    const conv_depth *x;
    uint32_t c; /* first channel */
    uint32_t lanes;
    uint32_t low; /* positions [low, high) of a row whose taps are all within it */
    uint32_t high;
    depth_space *space;
} depth_lanes;

static void depth_prepare(depth_lanes *k)
{
    const q_conv_axis *h = &k->x->source.pass->h;
    const q_conv_axis *w = &k->x->source.pass->w;
    k->low = 0;
    k->high = w->positions;
    for (uint32_t b = 0; b < w->taps; b++) {
        uint32_t low;
        uint32_t high;
        q_conv_inside(w, w->off + b * w->delta, 0, w->positions, &low, &high);
        k->low = low > k->low ? low : k->low;
        k->high = high < k->high ? high : k->high;
    }
    for (uint32_t tap = 0; tap < h->taps * w->taps; tap++) {
        uint32_t place = (h->tap + tap / w->taps * h->tap_step) * k->x->kernel_w + w->tap + tap % w->taps * w->tap_step;
        for (uint32_t l = 0; l < 8u; l++) {
            k->space->w[tap][l] = l < k->lanes ? x86_row(k->x->weights, k->x->weights_stride, k->c + l)[place] : 0.0f;
        }
    }
}

/* Chains of n positions from (sample and row `at`, j); n constant; all taps lie within the row, or n is 1. */
X86_INLINE void depth_chains(const uint32_t n, const depth_lanes *k, uint32_t at, uint32_t j)
{
    const conv_source *s = &k->x->source;
    const q_conv_axis *h = &s->pass->h;
    const q_conv_axis *w = &s->pass->w;
    const float *weights = k->space->w[0];
    uint32_t sample = at / h->positions;
    __m256 acc[DEPTH_TILE];
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        acc[t] = _mm256_load_ps(k->space->acc[t]);
    }
    for (uint32_t a = 0; a < h->taps; a++) {
        uint32_t place = at % h->positions * h->mul + h->off + a * h->delta;
        for (uint32_t b = 0; b < w->taps; b++, weights += 8) {
            uint32_t first = j * w->mul + w->off + b * w->delta;
            bool inside = place < h->from && first < w->from;
            const __m256i seen = vec_mask(inside ? k->lanes : 0);
            size_t pixel = inside ? ((size_t)sample * h->from + place) * w->from + first : 0;
            const float *from = conv_bytes_on(s->from + k->c, s->stride * pixel);
            const __m256 v = _mm256_load_ps(weights);
            X86_UNROLL
            for (uint32_t t = 0; t < n; t++) {
                const float *p = conv_bytes_on(from, inside ? s->stride * w->mul * t : 0);
                acc[t] = _mm256_fmadd_ps(_mm256_maskload_ps(p, seen), v, acc[t]);
            }
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        _mm256_store_ps(k->space->acc[t], acc[t]);
    }
}

/* Row of the output of position j of row `at`. */
static uint32_t depth_row_of(const q_conv_pass *p, uint32_t at, uint32_t j)
{
    uint32_t i = at / p->h.positions * p->h.to + p->h.first + at % p->h.positions * p->h.step;
    return i * p->w.to + p->w.first + j * p->w.step;
}

static void depth_run(const depth_lanes *k, uint32_t at, uint32_t j, uint32_t n)
{
    const conv_depth *x = k->x;
    depth_space *space = k->space;
    uint32_t row = depth_row_of(x->source.pass, at, j);
    uint32_t step = x->source.pass->w.step;
    q_tile_start_avx2(n, x->epilogue != NULL ? x->epilogue->bias : NULL, k->c, k->lanes, space->acc[0], Q_PANEL_ROWS);
    for (uint32_t t = 0; t < n && x->accumulate != 0; t++) {
        _mm256_store_ps(space->acc[t], vec_load_n(x86_row(x->to, x->to_stride, row + t * step) + k->c, k->lanes));
    }
    if (n == DEPTH_TILE) {
        depth_chains(DEPTH_TILE, k, at, j);
    } else {
        depth_chains(1, k, at, j);
    }
    if (x->epilogue != NULL) {
        q_tile_finish_avx2(x->epilogue, row, n, k->c, k->lanes, space->acc[0], Q_PANEL_ROWS, x->to, x->to_stride);
        return;
    }
    for (uint32_t t = 0; t < n; t++) {
        vec_store_n(x86_row_out(x->to, x->to_stride, row + t * step) + k->c, k->lanes,
                     _mm256_load_ps(space->acc[t]));
    }
}

void q_conv_depth_avx2(const q_work *work, const conv_depth *x)
{
    const q_conv_pass *pass = x->source.pass;
    uint32_t begin;
    uint32_t end;
    q_share(work, x->samples * pass->h.positions, &begin, &end);
    for (uint32_t c = 0; c < x->dim; c += 8) {
        depth_lanes k = {x, c, x->dim - c < 8u ? x->dim - c : 8u, 0, 0, (depth_space *)work->workspace};
        depth_prepare(&k);
        for (uint32_t at = begin; at < end; at++) {
            for (uint32_t j = 0; j < pass->w.positions;) {
                uint32_t n = j >= k.low && j + DEPTH_TILE <= k.high ? DEPTH_TILE : 1u;
                depth_run(&k, at, j, n);
                j += n;
            }
        }
    }
}

/* -- gradient of the weights ------------------------------------------------------------------- */

/* Chains of n taps, a constant, from `tap` on, over all pixels. */
X86_INLINE void depth_grad_taps(const uint32_t n, const q_conv2d_grad_weight_args *a, uint32_t samples, uint32_t c,
                                   uint32_t tap, float acc[][8])
{
    const q_conv2d_shape *s = &a->shape;
    const __m256i m = vec_mask(s->in_c - c);
    const float *dy = a->dy + c;
    __m256 sum[9];
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        sum[t] = _mm256_load_ps(acc[t]);
    }
    for (uint32_t i = 0; i < samples * s->out_h; i++) {
        const float *image = x86_row(a->x, a->x_stride * s->in_h * s->in_w, i / s->out_h) + c;
        for (uint32_t j = 0; j < s->out_w; j++, dy = conv_bytes_on(dy, a->dy_stride)) {
            const __m256 g = _mm256_maskload_ps(dy, m);
            X86_UNROLL
            for (uint32_t t = 0; t < n; t++) {
                uint32_t h = i % s->out_h * s->stride_h + (tap + t) / s->kernel_w * s->dilation_h - s->pad_h;
                uint32_t w = j * s->stride_w + (tap + t) % s->kernel_w * s->dilation_w - s->pad_w;
                bool inside = h < s->in_h && w < s->in_w;
                const float *x = conv_bytes_on(image, inside ? a->x_stride * ((size_t)h * s->in_w + w) : 0);
                sum[t] = _mm256_fmadd_ps(g, inside ? _mm256_maskload_ps(x, m) : _mm256_setzero_ps(), sum[t]);
            }
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        _mm256_store_ps(acc[t], sum[t]);
    }
}

/* 8 channels from c. */
static void depth_grad_lanes(const q_conv2d_grad_weight_args *a, uint32_t samples, uint32_t c, float acc[][8])
{
    uint32_t taps = a->shape.kernel_h * a->shape.kernel_w;
    uint32_t lanes = a->shape.in_c - c < 8u ? a->shape.in_c - c : 8u;
    uint32_t tap = 0;
    for (uint32_t t = 0; t < taps; t++) {
        for (uint32_t l = 0; l < 8u; l++) {
            acc[t][l] = l < lanes ? x86_row(a->grad, a->grad_stride, c + l)[t] : 0.0f;
        }
    }
    for (; tap + 9u <= taps; tap += 9u) {
        depth_grad_taps(9, a, samples, c, tap, acc + tap);
    }
    for (; tap + 3u <= taps; tap += 3u) {
        depth_grad_taps(3, a, samples, c, tap, acc + tap);
    }
    for (; tap < taps; tap++) {
        depth_grad_taps(1, a, samples, c, tap, acc + tap);
    }
    for (uint32_t t = 0; t < taps; t++) {
        for (uint32_t l = 0; l < lanes; l++) {
            x86_row_out(a->grad, a->grad_stride, c + l)[t] = acc[t][l];
        }
    }
}

void q_conv_depth_weight_avx2(const q_work *work, const q_conv2d_grad_weight_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_ceil_div_u32(a->shape.in_c, 8), &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        depth_grad_lanes(a, q_count_value(work->run, a->samples), i * 8u, ((depth_space *)work->workspace)->w);
    }
}
