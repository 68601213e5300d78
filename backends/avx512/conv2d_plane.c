/* SPDX-License-Identifier: MIT */
/*
 * conv2d_plane.c: convolution of images of one channel. Unfolded tap by tap, their rows are copies of pieces of image
 * rows, 16 pixels at once; and the gradient of the weights is the product of that and the output's gradient as it lies.
 */
#include "conv2d.h"

/* Pixels j .. j + rows - 1 of a row for one tap; from: the row of pixels it reads. Up to 15 floats behind them may be
   written too. */
static void plane_tap(const conv_source *x, const float *from, uint32_t off, uint32_t j, uint32_t rows, float *to)
{
    const q_conv_axis *w = &x->pass->w;
    uint32_t low;
    uint32_t high;
    q_conv_inside(w, off, j, j + rows, &low, &high);
    for (uint32_t t = 0; t < low - j; t += 16) {
        _mm512_storeu_ps(to + t, _mm512_setzero_ps());
    }
    if (low < high) {
        const float *at = conv_at(from, x->stride * (low * w->mul + off));
        float *out = to + (low - j);
        bool dense = x->stride * w->mul == sizeof(float);
        for (uint32_t t = 0; t < high - low && dense; t += 16) {
            _mm512_storeu_ps(out + t, vec_load_n(at + t, high - low - t));
        }
        for (uint32_t t = 0; t < high - low && !dense; t++) {
            out[t] = *conv_at(at, x->stride * w->mul * t);
        }
    }
    for (uint32_t t = high - j; t < rows; t += 16) {
        _mm512_storeu_ps(to + t, _mm512_setzero_ps());
    }
}

void q_conv_unfold_plane_avx512(const conv_source *x, uint32_t r0, uint32_t rows, uint32_t k0, uint32_t n, float *to)
{
    const q_conv_axis *h = &x->pass->h;
    const q_conv_axis *w = &x->pass->w;
    uint32_t i = r0 / w->positions;
    uint32_t j = r0 % w->positions;
    while (rows != 0 && n != 0) {
        uint32_t run = w->positions - j < rows ? w->positions - j : rows;
        uint32_t place = i % h->positions * h->mul + h->off;
        size_t sample = i / h->positions;
        for (uint32_t k = 0; k < n; k++) {
            uint32_t at = place + (k0 + k) / w->taps * h->delta;
            bool inside = at < h->from;
            const float *from = inside ? conv_at(x->from, x->stride * (sample * h->from + at) * w->from) : x->from;
            uint32_t off = inside ? w->off + (k0 + k) % w->taps * w->delta : 0;
            if (inside) {
                plane_tap(x, from, off, j, run, to + k * CONV_PLANE_PITCH);
            } else {
                for (uint32_t t = 0; t < run; t += 16) {
                    _mm512_storeu_ps(to + k * CONV_PLANE_PITCH + t, _mm512_setzero_ps());
                }
            }
        }
        to += run;
        rows -= run;
        i++;
        j = 0;
    }
}

/* -- gradient of the weights ------------------------------------------------------------------------ */

/* Chains of up to 48 taps by 32 output channels, over 128 pixels at a time. */
enum { PLANE_GROUP = 48, PLANE_SLAB = 128 };

typedef struct plane_space {
    float b[PLANE_SLAB * CONV_COLUMNS];
    float acc[PLANE_GROUP][CONV_COLUMNS];
    float a[PLANE_GROUP * CONV_PLANE_PITCH];
} plane_space;

Q_STATIC_ASSERT(sizeof(plane_space) <= Q_AVX512_WORKSPACE, "pixels, chains and taps fit the workspace");
Q_STATIC_ASSERT(PLANE_SLAB + 16 <= CONV_PLANE_PITCH, "a row of taps has room for what is written behind it");

static void plane_copy_dy(const q_conv2d_grad_weight_args *a, uint32_t p, uint32_t n, uint32_t c, uint32_t lanes, float *b)
{
    for (uint32_t t = 0; t < n; t++, b += CONV_COLUMNS) {
        const float *dy = x86_row(a->dy, a->dy_stride, p + t) + c;
        _mm512_store_ps(b, vec_load_n(dy, lanes));
        if (lanes > 16u) {
            _mm512_store_ps(b + 16, vec_load_n(dy + 16, lanes - 16u));
        }
    }
}

/* Taps k .. k + n - 1 of output channels c .. c + lanes - 1. */
static void plane_block(const q_conv2d_grad_weight_args *a, const conv_source *x, uint32_t pixels, uint32_t k, uint32_t n,
                        uint32_t c, uint32_t lanes, plane_space *space)
{
    memset(space->acc, 0, sizeof(space->acc));
    for (uint32_t l = 0; l < lanes; l++) {
        for (uint32_t t = 0; t < n; t++) {
            space->acc[t][l] = x86_row(a->grad, a->grad_stride, c + l)[k + t];
        }
    }
    for (uint32_t p = 0; p < pixels; p += PLANE_SLAB) {
        uint32_t rows = pixels - p < PLANE_SLAB ? pixels - p : (uint32_t)PLANE_SLAB;
        plane_copy_dy(a, p, rows, c, lanes, space->b);
        q_conv_unfold_plane_avx512(x, p, rows, k, n, space->a);
        conv_tiles(n, lanes, rows, space->a, CONV_PLANE_PITCH, 1, space->b, space->acc);
    }
    for (uint32_t l = 0; l < lanes; l++) {
        for (uint32_t t = 0; t < n; t++) {
            x86_row_out(a->grad, a->grad_stride, c + l)[k + t] = space->acc[t][l];
        }
    }
}

/* Shared by output channels, 16 at a time, or, where there are few, by taps. */
void q_conv_plane_weight_avx512(const q_work *work, const q_conv2d_grad_weight_args *a)
{
    const q_conv2d_shape *s = &a->shape;
    const q_conv_pass pass = q_conv_forward(s);
    const conv_source x = {&pass, a->x, a->x_stride, 1};
    x86_part part = {0, s->kernel_h * s->kernel_w, 0, q_ceil_div_u32(s->out_c, 16)};
    uint32_t pixels = q_count_value(work->run, a->samples) * s->out_h * s->out_w;
    if (part.panel1 >= work->n_workers) {
        q_share(work, part.panel1, &part.panel0, &part.panel1);
    } else {
        q_share(work, part.row1, &part.row0, &part.row1);
    }
    uint32_t end = part.panel1 * 16u < s->out_c ? part.panel1 * 16u : s->out_c;
    for (uint32_t k = part.row0; k < part.row1; k += PLANE_GROUP) {
        uint32_t n = part.row1 - k < PLANE_GROUP ? part.row1 - k : (uint32_t)PLANE_GROUP;
        for (uint32_t c = part.panel0 * 16u; c < end; c += CONV_COLUMNS) {
            uint32_t lanes = end - c < CONV_COLUMNS ? end - c : (uint32_t)CONV_COLUMNS;
            plane_block(a, &x, pixels, k, n, c, lanes, (plane_space *)work->workspace);
        }
    }
}
