/* SPDX-License-Identifier: MIT */
/*
 * batchnorm.c: BatchNorm down the columns, forward and backward.
 */
#include "epilogue.h"

/* Rows of block b. */
static uint32_t norm_block_rows(uint32_t rows, uint32_t b)
{
    uint32_t left = rows - b * Q_NORM_BLOCK;
    return left < Q_NORM_BLOCK ? left : (uint32_t)Q_NORM_BLOCK;
}

void q_batchnorm_blocks_scalar(const q_work *work, const q_batchnorm_blocks_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, q_norm_blocks(rows), &begin, &end);
    for (uint32_t b = begin; b < end; b++) {
        uint32_t n = norm_block_rows(rows, b);
        q_real *mean = a->partial + (size_t)b * 2u * a->dim;
        q_real *squares = mean + a->dim;
        for (uint32_t i = 0; i < a->dim; i++) {
            mean[i] = squares[i] = 0;
        }
        for (uint32_t r = 0; r < n; r++) {
            const q_real *x = scalar_row(a->x, a->x_stride, b * Q_NORM_BLOCK + r);
            for (uint32_t i = 0; i < a->dim; i++) {
                mean[i] = mean[i] + x[i];
            }
        }
        for (uint32_t i = 0; i < a->dim; i++) {
            mean[i] = mean[i] / (q_real)n;
        }
        for (uint32_t r = 0; r < n; r++) {
            const q_real *x = scalar_row(a->x, a->x_stride, b * Q_NORM_BLOCK + r);
            for (uint32_t i = 0; i < a->dim; i++) {
                q_real d = x[i] - mean[i];
                squares[i] = q_fma(d, d, squares[i]);
            }
        }
    }
}

/* The sum of squares around the mean of column i, which it finds. */
static q_real batchnorm_join_column(const q_batchnorm_join_args *a, uint32_t rows, uint32_t i, q_real *mean)
{
    uint32_t blocks = q_norm_blocks(rows);
    q_real sum = 0;
    for (uint32_t b = 0; b < blocks; b++) {
        sum = q_fma((q_real)norm_block_rows(rows, b), a->partial[(size_t)b * 2u * a->dim + i], sum);
    }
    *mean = sum / (q_real)rows;
    sum = 0;
    for (uint32_t b = 0; b < blocks; b++) {
        const q_real *p = a->partial + (size_t)b * 2u * a->dim + i;
        q_real e = p[0] - *mean;
        sum = q_fma((q_real)norm_block_rows(rows, b) * e, e, sum + p[a->dim]);
    }
    return sum;
}

void q_batchnorm_join_scalar(const q_work *work, const q_batchnorm_join_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, a->dim, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        q_real mean;
        q_real sum = batchnorm_join_column(a, rows, i, &mean);
        q_real s = 1 / q_sqrt(sum / (q_real)rows + a->eps);
        a->mean[i] = mean;
        a->s[i] = s;
        a->scale[i] = a->weight[i] * s;
        if (a->running_mean != NULL) {
            q_real var = sum / (q_real)(rows > 1u ? rows - 1u : 1u);
            a->running_mean[i] = q_fma(a->momentum, mean - a->running_mean[i], a->running_mean[i]);
            a->running_var[i] = q_fma(a->momentum, var - a->running_var[i], a->running_var[i]);
        }
    }
}

void q_batchnorm_fold_scalar(const q_work *work, const q_batchnorm_fold_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, a->dim, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        q_real scale = a->weight[i] / q_sqrt(a->var[i] + a->eps);
        a->scale[i] = scale;
        a->shift[i] = a->bias[i] - a->mean[i] * scale;
    }
}

void q_batchnorm_scalar(const q_work *work, const q_batchnorm_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *x = scalar_row(a->x, a->x_stride, r);
        q_real *y = scalar_row_out(a->y, a->y_stride, r);
        for (uint32_t i = 0; i < a->dim; i++) {
            q_real d = a->mean != NULL ? x[i] - a->mean[i] : x[i];
            y[i] = scalar_activation(a->activation, d * a->scale[i] + a->shift[i]);
        }
    }
}

/* ---- Backward --------------------------------------------------------------------------------------------- */

static q_real batchnorm_through(const q_batchnorm_grad_args *a, uint32_t r, uint32_t i)
{
    q_real dy = scalar_row(a->dy, a->dy_stride, r)[i];
    q_real y = a->activation != Q_ACT_NONE ? scalar_row(a->y, a->y_stride, r)[i] : 0;
    switch (a->activation) {
    case Q_ACT_RELU:
        return y > 0 ? dy : 0;
    case Q_ACT_SIGMOID:
        return dy * (y * (1 - y));
    case Q_ACT_TANH:
        return dy * q_fma(-y, y, 1);
    default:
        return dy;
    }
}

void q_batchnorm_grad_blocks_scalar(const q_work *work, const q_batchnorm_grad_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, q_norm_blocks(rows), &begin, &end);
    for (uint32_t b = begin; b < end; b++) {
        uint32_t n = norm_block_rows(rows, b);
        q_real *sum = a->partial + (size_t)b * 2u * a->dim;
        for (uint32_t i = 0; i < 2u * a->dim; i++) {
            sum[i] = 0;
        }
        for (uint32_t r = b * Q_NORM_BLOCK; r < b * Q_NORM_BLOCK + n; r++) {
            const q_real *x = scalar_row(a->x, a->x_stride, r);
            for (uint32_t i = 0; i < a->dim; i++) {
                q_real g = batchnorm_through(a, r, i);
                q_real h = (x[i] - a->mean[i]) * a->s[i];
                sum[i] = sum[i] + g;
                sum[a->dim + i] = q_fma(g, h, sum[a->dim + i]);
            }
        }
    }
}

void q_batchnorm_grad_scalar(const q_work *work, const q_batchnorm_grad_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_real n = 1 / (q_real)rows;
    q_share(work, rows, &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const q_real *x = scalar_row(a->x, a->x_stride, r);
        q_real *dx = scalar_row_out(a->dx, a->dx_stride, r);
        for (uint32_t i = 0; i < a->dim; i++) {
            q_real g = batchnorm_through(a, r, i);
            q_real h = (x[i] - a->mean[i]) * a->s[i];
            q_real d = ((g - a->sums[i] * n) - h * (a->sums[a->dim + i] * n)) * a->scale[i];
            dx[i] = a->accumulate != 0 ? dx[i] + d : d;
        }
    }
}
