/* SPDX-License-Identifier: MIT */
/*
 * conv2d_unfold.c: the unfolded image, a block at a time, and the gradient of the weights, the product of the output's
 * gradient and the unfolded image.
 */
#include "conv2d.h"
#include "../x86/conv2d_unfold.h"

void q_conv_unfold_avx2(const conv_source *x, uint32_t r0, uint32_t rows, uint32_t k0, uint32_t n, float *to,
                        size_t pitch)
{
    x86_conv_unfold(x, r0, rows, k0, n, to, pitch);
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
    if (conv_depthwise(s)) {
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
