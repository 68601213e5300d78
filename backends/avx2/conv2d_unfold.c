/* SPDX-License-Identifier: MIT */
/*
 * conv2d_unfold.c: the unfolded image, a block at a time, and the gradient of the weights, the product of the output's
 * gradient and the unfolded image.
 */
#include "conv2d.h"

/* -- unfolding -------------------------------------------------------------------------------------- */

/* Up to 8 channels of `rows` pixels, `from_step` bytes apart. */
static inline void lay_copy(const float *from, size_t from_step, uint32_t rows, uint32_t n, float *to, size_t pitch)
{
    const __m256i m = vec_mask(n);
    for (uint32_t t = 0; t < rows; t++) {
        if (n >= 8u) {
            _mm256_storeu_ps(to, _mm256_loadu_ps(from));
        } else {
            _mm256_maskstore_ps(to, m, _mm256_maskload_ps(from, m));
        }
        from = conv_bytes_on(from, from_step);
        to += pitch;
    }
}

static inline void lay_copy_one(const float *from, size_t from_step, uint32_t rows, float *to, size_t pitch)
{
    for (uint32_t t = 0; t < rows; t++) {
        *to = *from;
        from = conv_bytes_on(from, from_step);
        to += pitch;
    }
}

static void lay_zero(uint32_t rows, uint32_t n, float *to, size_t pitch)
{
    for (uint32_t t = 0; t < rows; t++, to += pitch) {
        for (uint32_t i = 0; i < n; i += 8) {
            vec_store_n(to + i, n - i, _mm256_setzero_ps());
        }
    }
}

/* One tap of positions j .. j + rows - 1 of a row; from: the row of pixels it reads. */
static void lay_tap(const conv_source *x, const float *from, uint32_t off, uint32_t j, uint32_t rows, uint32_t n,
                       float *to, size_t pitch)
{
    const q_conv_axis *w = &x->pass->w;
    uint32_t low;
    uint32_t high;
    q_conv_inside(w, off, j, j + rows, &low, &high);
    lay_zero(low - j, n, to, pitch);
    if (low < high) {
        const float *at = conv_bytes_on(from, x->stride * (low * w->mul + off));
        if (n == 1) {
            lay_copy_one(at, x->stride * w->mul, high - low, to + (low - j) * pitch, pitch);
        }
        for (uint32_t i = 0; i < n && n != 1; i += 8) {
            lay_copy(at + i, x->stride * w->mul, high - low, n - i, to + (low - j) * pitch + i, pitch);
        }
    }
    lay_zero(j + rows - high, n, to + (high - j) * pitch, pitch);
}

/* All taps of row a of the kernel at once, n columns that lie behind one another in the image too. */
static void lay_taps(const conv_source *x, const float *from, uint32_t j, uint32_t rows, uint32_t n, float *to,
                        size_t pitch)
{
    const q_conv_axis *w = &x->pass->w;
    uint32_t low;
    uint32_t high;
    uint32_t last_low;
    uint32_t last_high;
    q_conv_inside(w, w->off, j, j + rows, &low, &high);
    q_conv_inside(w, w->off + w->taps - 1u, j, j + rows, &last_low, &last_high);
    low = last_low > low ? last_low : low;
    high = last_high < high ? last_high : high;
    low = low < high ? low : high;
    for (uint32_t b = 0; b < w->taps; b++, to += x->channels) {
        lay_tap(x, from, w->off + b, j, low - j, x->channels, to, pitch);
        lay_tap(x, from, w->off + b, high, j + rows - high, x->channels, to + (high - j) * pitch, pitch);
    }
    to -= n;
    if (low < high) {
        lay_copy(conv_bytes_on(from, x->stride * (low * w->mul + w->off)), x->stride * w->mul, high - low, n,
                    to + (low - j) * pitch, pitch);
    }
}

/* True where the columns k0 .. k0 + n - 1 are whole rows of the kernel that lay_taps() can take. */
static bool lay_in_rows(const conv_source *x, uint32_t k0, uint32_t n)
{
    uint32_t row = x->pass->w.taps * x->channels;
    return row <= 8u && x->pass->w.delta == 1 && x->stride == x->channels * sizeof(float) && k0 % row == 0 &&
           n % row == 0;
}

/* Positions of one row, all columns. */
static void lay_row(const conv_source *x, uint32_t i, uint32_t j, uint32_t rows, uint32_t k0, uint32_t n, float *to,
                       size_t pitch)
{
    const q_conv_axis *h = &x->pass->h;
    const q_conv_axis *w = &x->pass->w;
    uint32_t sample = i / h->positions;
    uint32_t place = i % h->positions * h->mul + h->off;
    uint32_t first = k0 % x->channels; /* of the tap's channels */
    uint32_t a = k0 / x->channels / w->taps;
    uint32_t b = k0 / x->channels % w->taps;
    if (lay_in_rows(x, k0, n)) {
        uint32_t row = w->taps * x->channels;
        for (uint32_t k = 0; k < n; k += row, a++) {
            uint32_t at = place + a * h->delta;
            if (at < h->from) {
                lay_taps(x, conv_bytes_on(x->from, x->stride * ((size_t)sample * h->from + at) * w->from), j, rows, row, to + k,
                            pitch);
            } else {
                lay_zero(rows, row, to + k, pitch);
            }
        }
        return;
    }
    for (uint32_t k = 0; k < n;) {
        uint32_t channels = x->channels - first < n - k ? x->channels - first : n - k;
        uint32_t at = place + a * h->delta;
        if (at < h->from) {
            const float *from = conv_bytes_on(x->from + first, x->stride * ((size_t)sample * h->from + at) * w->from);
            lay_tap(x, from, w->off + b * w->delta, j, rows, channels, to + k, pitch);
        } else {
            lay_zero(rows, channels, to + k, pitch);
        }
        k += channels;
        first = 0;
        b++;
        if (b == w->taps) {
            b = 0;
            a++;
        }
    }
}

void q_conv_unfold_avx2(const conv_source *x, uint32_t r0, uint32_t rows, uint32_t k0, uint32_t n, float *to,
                          size_t pitch)
{
    uint32_t i = r0 / x->pass->w.positions;
    uint32_t j = r0 % x->pass->w.positions;
    while (rows != 0 && n != 0) {
        uint32_t run = x->pass->w.positions - j < rows ? x->pass->w.positions - j : rows;
        lay_row(x, i, j, run, k0, n, to, pitch);
        to += run * pitch;
        rows -= run;
        i++;
        j = 0;
    }
}

/* -- gradient of the weights ------------------------------------------------------------------------ */

enum { WEIGHT_GROUP = 96, WEIGHT_SLAB = 128, WEIGHT_COLUMNS = 16 };

/* Chains of up to 96 rows of weights by 16 columns, over 128 pixels of the unfolded image at a time. */
typedef struct weight_space {
    float b[WEIGHT_SLAB * WEIGHT_COLUMNS];
    float acc[WEIGHT_GROUP][WEIGHT_COLUMNS];
} weight_space;

Q_STATIC_ASSERT(sizeof(weight_space) <= Q_AVX2_WORKSPACE, "pixels and chains fit the workspace");

typedef struct weight_job {
    conv_source source;
    const float *dy;
    size_t dy_stride;
    float *grad;
    size_t grad_stride;
    uint32_t pixels;
} weight_job;

/* Rows m .. m + rows - 1 of the gradient by `lanes` columns from j. */
static void weight_tile(const weight_job *x, uint32_t m, uint32_t rows, uint32_t j, uint32_t lanes,
                        weight_space *space)
{
    for (uint32_t t = 0; t < rows; t++) {
        q_tile_start_avx2(1, x86_row(x->grad, x->grad_stride, m + t), j, lanes, space->acc[t], Q_PANEL_ROWS);
    }
    memset(space->b, 0, sizeof(space->b));
    for (uint32_t p = 0; p < x->pixels; p += WEIGHT_SLAB) {
        uint32_t n = x->pixels - p < WEIGHT_SLAB ? x->pixels - p : (uint32_t)WEIGHT_SLAB;
        q_conv_unfold_avx2(&x->source, p, n, j, lanes, space->b, WEIGHT_COLUMNS);
        conv_tile_rows(rows, n, x86_row(x->dy, x->dy_stride, p) + m, sizeof(float), x->dy_stride, space->b,
                       space->acc[0]);
    }
    for (uint32_t t = 0; t < rows; t++) {
        float *grad = x86_row_out(x->grad, x->grad_stride, m + t) + j;
        vec_store_n(grad, lanes, _mm256_load_ps(space->acc[t]));
        if (lanes > 8u) {
            vec_store_n(grad + 8, lanes - 8u, _mm256_load_ps(space->acc[t] + 8));
        }
    }
}

/* The m x n gradient of one group: shared by columns, which are unfolded once, or else by rows. */
static void weight_share_run(const q_work *work, const weight_job *x, uint32_t m, uint32_t n)
{
    x86_part part = x86_share(work, m, q_ceil_div_u32(n, 16));
    uint32_t end = part.panel1 * 16u < n ? part.panel1 * 16u : n;
    for (uint32_t i = part.row0; i < part.row1; i += WEIGHT_GROUP) {
        uint32_t rows = part.row1 - i < WEIGHT_GROUP ? part.row1 - i : (uint32_t)WEIGHT_GROUP;
        for (uint32_t j = part.panel0 * 16u; j < end; j += WEIGHT_COLUMNS) {
            uint32_t lanes = end - j < WEIGHT_COLUMNS ? end - j : (uint32_t)WEIGHT_COLUMNS;
            weight_tile(x, i, rows, j, lanes, (weight_space *)work->workspace);
        }
    }
}

void q_conv2d_grad_weight_avx2(const q_work *work, const q_conv2d_grad_weight_args *a)
{
    const q_conv2d_shape *s = &a->shape;
    const q_conv_pass pass = q_conv_forward(s);
    uint32_t channels = s->in_c / s->groups;
    uint32_t m = s->out_c / s->groups;
    if (conv_by_channel(s)) {
        q_conv_depth_weight_avx2(work, a);
        return;
    }
    for (uint32_t g = 0; g < s->groups; g++) {
        const weight_job x = {{&pass, a->x + g * channels, a->x_stride, channels},
                              a->dy + g * m,
                              a->dy_stride,
                              x86_row_out(a->grad, a->grad_stride, g * m),
                              a->grad_stride,
                              q_count_value(work->run, a->samples) * s->out_h * s->out_w};
        weight_share_run(work, &x, m, s->kernel_h * s->kernel_w * channels);
    }
}
