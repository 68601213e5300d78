/* SPDX-License-Identifier: MIT */
/*
 * conv2d.c: convolution of images and the gradient of its input: products of an unfolded image and the weights.
 *
 * 24 positions at a time are unfolded into the workspace, a slab of up to 288 columns (taps by channels), and meet 16
 * columns of weights, which were laid out behind one another before. A worker packs each slab of weights once and takes
 * all its positions through it; chains rest in the output from one slab to the next, or, where the output is also the
 * residual and so still to be read, in the workspace, and weights are packed again per group.
 */
#include "conv2d.h"

enum { CONV_COLUMNS = 16, CONV_GROUP = 24, CONV_SLAB = 288, CONV_PITCH = CONV_SLAB + 8 /* floats: no power of two */ };

typedef struct conv_space {
    float b[CONV_SLAB * CONV_COLUMNS];
    float acc[CONV_GROUP][CONV_COLUMNS];
    float a[CONV_GROUP * CONV_PITCH];
} conv_space;

Q_STATIC_ASSERT(sizeof(conv_space) <= Q_AVX2_WORKSPACE, "slab, chains and rows fit the workspace");

/* -- weights ---------------------------------------------------------------------------------------- */

/* b[p][l] = w[j + l][p0 + p] */
static void conv_lay_forward(const conv_job *x, uint32_t p0, uint32_t n, uint32_t j, uint32_t lanes, float *b)
{
    for (uint32_t l = 0; l < CONV_COLUMNS; l++) {
        const float *w = l < lanes ? x86_row(x->w, x->w_stride, j + l) + p0 : NULL;
        for (uint32_t p = 0; p < n; p++) {
            b[p * CONV_COLUMNS + l] = w != NULL ? w[p] : 0.0f;
        }
    }
}

/* b[(tap, co)][l] = w[co][(kernel place of the tap)*channels + j + l] */
static void conv_lay_back(const conv_job *x, uint32_t p0, uint32_t n, uint32_t j, uint32_t lanes, float *b)
{
    const q_conv_axis *h = &x->source.pass->h;
    const q_conv_axis *v = &x->source.pass->w;
    for (uint32_t p = p0; p < p0 + n; p++, b += CONV_COLUMNS) {
        uint32_t tap = p / x->source.channels;
        uint32_t place = (h->tap + tap / v->taps * h->tap_step) * x->kernel_w + v->tap + tap % v->taps * v->tap_step;
        const float *w = x86_row(x->w, x->w_stride, p % x->source.channels) + (size_t)place * x->w_channels + j;
        _mm256_store_ps(b, vec_load_n(w, lanes));
        _mm256_store_ps(b + 8, lanes > 8u ? vec_load_n(w + 8, lanes - 8u) : _mm256_setzero_ps());
    }
}

/* -- where chains begin, rest and end --------------------------------------------------------------- */

/* Row of the output of position r. */
static uint32_t conv_place_row(const q_conv_pass *pass, uint32_t r)
{
    uint32_t j = r % pass->w.positions;
    uint32_t i = r / pass->w.positions;
    uint32_t sample = i / pass->h.positions;
    i = i % pass->h.positions;
    return (sample * pass->h.to + pass->h.first + i * pass->h.step) * pass->w.to + pass->w.first + j * pass->w.step;
}

static void conv_begin(const conv_job *x, uint32_t r, uint32_t rows, uint32_t j, uint32_t lanes, bool from_to,
                      float acc[][CONV_COLUMNS])
{
    if (!from_to) {
        q_tile_start_avx2(rows, x->epilogue.bias, j, lanes, acc[0], Q_PANEL_ROWS);
        return;
    }
    for (uint32_t t = 0; t < rows; t++) {
        q_tile_start_avx2(1, x86_row(x->to, x->to_stride, conv_place_row(x->source.pass, r + t)), j, lanes, acc[t], Q_PANEL_ROWS);
    }
}

static void conv_end(const conv_job *x, uint32_t r, uint32_t rows, uint32_t j, uint32_t lanes, bool finished,
                       float acc[][CONV_COLUMNS])
{
    if (finished && !x->back) {
        q_tile_finish_avx2(&x->epilogue, r, rows, j, lanes, acc[0], Q_PANEL_ROWS, x->to, x->to_stride);
        return;
    }
    for (uint32_t t = 0; t < rows; t++) {
        float *to = x86_row_out(x->to, x->to_stride, conv_place_row(x->source.pass, r + t)) + j;
        vec_store_n(to, lanes, _mm256_load_ps(acc[t]));
        if (lanes > 8u) {
            vec_store_n(to + 8, lanes - 8u, _mm256_load_ps(acc[t] + 8));
        }
    }
}

/* -- loops ------------------------------------------------------------------------------------------ */

/* Positions [begin, end) by the columns from j. Where `end - begin` is at most a group, chains stay in the workspace. */
static void conv_group_run(const conv_job *x, uint32_t begin, uint32_t end, uint32_t j, uint32_t lanes,
                           conv_space *space)
{
    bool resting = end - begin <= CONV_GROUP;
    for (uint32_t p0 = 0; p0 < x->k || p0 == 0; p0 += CONV_SLAB) {
        uint32_t n = x->k - p0 < CONV_SLAB ? x->k - p0 : (uint32_t)CONV_SLAB;
        if (x->back) {
            conv_lay_back(x, p0, n, j, lanes, space->b);
        } else {
            conv_lay_forward(x, p0, n, j, lanes, space->b);
        }
        for (uint32_t r = begin; r < end; r += CONV_GROUP) {
            uint32_t rows = end - r < CONV_GROUP ? end - r : (uint32_t)CONV_GROUP;
            bool last = p0 + n == x->k;
            if (p0 == 0 || !resting) {
                conv_begin(x, r, rows, j, lanes, p0 != 0 || x->accumulate, space->acc);
            }
            q_conv_unfold_avx2(&x->source, r, rows, p0, n, space->a, CONV_PITCH);
            conv_tile_rows(rows, n, space->a, CONV_PITCH * sizeof(float), sizeof(float), space->b, space->acc[0]);
            if (last || !resting) {
                conv_end(x, r, rows, j, lanes, last, space->acc);
            }
        }
    }
}

/* Positions of the pass that are a worker's, or, where there are few, 16 columns at a time. */
static void conv_run(const q_work *work, const conv_job *x, uint32_t positions)
{
    uint32_t row0 = 0;
    uint32_t row1 = positions;
    uint32_t panel0 = 0;
    uint32_t panel1 = q_ceil_div_u32(x->n, 16);
    bool alias = x->epilogue.residual == x->to && x->k > CONV_SLAB;
    uint32_t chunk = alias ? CONV_GROUP : positions;
    if (positions >= 12u * work->n_workers) {
        q_share(work, positions, &row0, &row1);
    } else {
        q_share(work, panel1, &panel0, &panel1);
    }
    for (uint32_t j = panel0 * 16u; j < panel1 * 16u && j < x->n; j += CONV_COLUMNS) {
        uint32_t end = panel1 * 16u < x->n ? panel1 * 16u : x->n;
        uint32_t lanes = end - j < CONV_COLUMNS ? end - j : (uint32_t)CONV_COLUMNS;
        for (uint32_t r = row0; r < row1; r += chunk) {
            conv_group_run(x, r, row1 - r < chunk ? row1 : r + chunk, j, lanes, (conv_space *)work->workspace);
        }
    }
}

/* -- kernels ---------------------------------------------------------------------------------------- */

static inline void conv_choose(conv_job *x, const q_conv2d_args *a)
{
    (void)x;
    (void)a;
}

static inline void conv_depth_run(const q_work *work, const conv_depth *d)
{
    q_conv_depth_avx2(work, d);
}

#include "../x86/conv2d_passes.h"

void q_conv2d_avx2(const q_work *work, const q_conv2d_args *a)
{
    conv_forward(work, a);
}

void q_conv2d_grad_input_avx2(const q_work *work, const q_conv2d_grad_input_args *a)
{
    conv_back(work, a);
}
