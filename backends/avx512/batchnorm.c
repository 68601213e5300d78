/* SPDX-License-Identifier: MIT */
/*
 * batchnorm.c: BatchNorm down the columns, forward and backward.
 *
 * A column is a lane, and 16 columns of a block of rows are one task; workers share the tasks. A chain of sums waits for
 * each of its steps: four tasks of whole blocks run side by side.
 */
#include "activation.h"

enum { NORM_TASKS = 4 };

static uint32_t norm_groups(uint32_t dim)
{
    return q_ceil_div_u32(dim, 16);
}

static uint32_t norm_rows_of(uint32_t rows, uint32_t b)
{
    uint32_t left = rows - b * Q_NORM_BLOCK;
    return left < Q_NORM_BLOCK ? left : (uint32_t)Q_NORM_BLOCK;
}

/* Tasks task .. task + n - 1, all of blocks with `rows` rows. */
X86_INLINE void norm_measure(const uint32_t n, const q_batchnorm_blocks_args *a, uint32_t task, uint32_t rows)
{
    uint32_t groups = norm_groups(a->dim);
    const float *x[NORM_TASKS];
    __mmask16 m[NORM_TASKS];
    __m512 mean[NORM_TASKS];
    __m512 squares[NORM_TASKS];
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        uint32_t column = (task + t) % groups * 16u;
        m[t] = avx512_mask(a->dim - column);
        x[t] = x86_row(a->x, a->x_stride, (task + t) / groups * Q_NORM_BLOCK) + column;
        mean[t] = squares[t] = _mm512_setzero_ps();
    }
    for (uint32_t r = 0; r < rows; r++) {
        X86_UNROLL
        for (uint32_t t = 0; t < n; t++) {
            mean[t] = _mm512_add_ps(mean[t], _mm512_maskz_loadu_ps(m[t], x86_row(x[t], a->x_stride, r)));
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        mean[t] = _mm512_div_ps(mean[t], _mm512_set1_ps((float)rows));
    }
    for (uint32_t r = 0; r < rows; r++) {
        X86_UNROLL
        for (uint32_t t = 0; t < n; t++) {
            __m512 d = _mm512_sub_ps(_mm512_maskz_loadu_ps(m[t], x86_row(x[t], a->x_stride, r)), mean[t]);
            squares[t] = _mm512_fmadd_ps(d, d, squares[t]);
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        float *out = a->partial + (size_t)((task + t) / groups) * 2u * a->dim + (task + t) % groups * 16u;
        _mm512_mask_storeu_ps(out, m[t], mean[t]);
        _mm512_mask_storeu_ps(out + a->dim, m[t], squares[t]);
    }
}

void q_batchnorm_blocks_avx512(const q_work *work, const q_batchnorm_blocks_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t groups = norm_groups(a->dim);
    uint32_t whole = rows / Q_NORM_BLOCK * groups; /* tasks of whole blocks */
    uint32_t task;
    uint32_t end;
    q_share(work, q_norm_blocks(rows) * groups, &task, &end);
    for (; task + NORM_TASKS <= end && task + NORM_TASKS <= whole; task += NORM_TASKS) {
        norm_measure(NORM_TASKS, a, task, Q_NORM_BLOCK);
    }
    for (; task < end; task++) {
        norm_measure(1, a, task, norm_rows_of(rows, task / groups));
    }
}

/* Columns i .. i + 15. */
static void norm_join(const q_batchnorm_join_args *a, uint32_t rows, uint32_t i)
{
    const __mmask16 m = avx512_mask(a->dim - i);
    const __m512 all = _mm512_set1_ps((float)rows);
    const float *p = a->partial + i;
    const size_t step = 2u * (size_t)a->dim;
    uint32_t blocks = q_norm_blocks(rows);
    __m512 sum = _mm512_setzero_ps();
    for (uint32_t b = 0; b < blocks; b++) {
        sum = _mm512_fmadd_ps(_mm512_set1_ps((float)norm_rows_of(rows, b)), _mm512_maskz_loadu_ps(m, p + b * step), sum);
    }
    const __m512 mean = _mm512_div_ps(sum, all);
    sum = _mm512_setzero_ps();
    for (uint32_t b = 0; b < blocks; b++) {
        __m512 e = _mm512_sub_ps(_mm512_maskz_loadu_ps(m, p + b * step), mean);
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(m, p + b * step + a->dim));
        sum = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_set1_ps((float)norm_rows_of(rows, b)), e), e, sum);
    }
    __m512 s = _mm512_sqrt_ps(_mm512_add_ps(_mm512_div_ps(sum, all), _mm512_set1_ps(a->eps)));
    s = _mm512_div_ps(_mm512_set1_ps(1.0f), s);
    _mm512_mask_storeu_ps(a->mean + i, m, mean);
    _mm512_mask_storeu_ps(a->s + i, m, s);
    _mm512_mask_storeu_ps(a->scale + i, m, _mm512_mul_ps(_mm512_maskz_loadu_ps(m, a->weight + i), s));
    if (a->running_mean != NULL) {
        const __m512 momentum = _mm512_set1_ps(a->momentum);
        __m512 var = _mm512_div_ps(sum, _mm512_set1_ps((float)(rows > 1u ? rows - 1u : 1u)));
        __m512 old = _mm512_maskz_loadu_ps(m, a->running_mean + i);
        _mm512_mask_storeu_ps(a->running_mean + i, m, _mm512_fmadd_ps(momentum, _mm512_sub_ps(mean, old), old));
        old = _mm512_maskz_loadu_ps(m, a->running_var + i);
        _mm512_mask_storeu_ps(a->running_var + i, m, _mm512_fmadd_ps(momentum, _mm512_sub_ps(var, old), old));
    }
}

void q_batchnorm_join_avx512(const q_work *work, const q_batchnorm_join_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t group;
    uint32_t end;
    q_share(work, norm_groups(a->dim), &group, &end);
    for (; group < end; group++) {
        norm_join(a, rows, group * 16u);
    }
}

void q_batchnorm_fold_avx512(const q_work *work, const q_batchnorm_fold_args *a)
{
    uint32_t group;
    uint32_t end;
    q_share(work, norm_groups(a->dim), &group, &end);
    for (uint32_t i = group * 16u; i < end * 16u && i < a->dim; i += 16) {
        const __mmask16 m = avx512_mask(a->dim - i);
        __m512 root = _mm512_sqrt_ps(_mm512_add_ps(_mm512_maskz_loadu_ps(m, a->var + i), _mm512_set1_ps(a->eps)));
        __m512 scale = _mm512_div_ps(_mm512_maskz_loadu_ps(m, a->weight + i), root);
        __m512 moved = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, a->mean + i), scale);
        _mm512_mask_storeu_ps(a->scale + i, m, scale);
        _mm512_mask_storeu_ps(a->shift + i, m, _mm512_sub_ps(_mm512_maskz_loadu_ps(m, a->bias + i), moved));
    }
}

void q_batchnorm_avx512(const q_work *work, const q_batchnorm_args *a)
{
    uint32_t r;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &r, &end);
    for (; r < end; r++) {
        const float *x = x86_row(a->x, a->x_stride, r);
        float *y = x86_row_out(a->y, a->y_stride, r);
        for (uint32_t i = 0; i < a->dim; i += 16) {
            const __mmask16 m = avx512_mask(a->dim - i);
            __m512 v = _mm512_maskz_loadu_ps(m, x + i);
            v = a->mean != NULL ? _mm512_sub_ps(v, _mm512_maskz_loadu_ps(m, a->mean + i)) : v;
            v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(m, a->scale + i));
            v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, a->shift + i));
            _mm512_mask_storeu_ps(y + i, m, vec_activation(a->activation, v));
        }
    }
}

/* ---- Backward --------------------------------------------------------------------------------------------- */

/* g of n <= 16 columns of row r. */
static inline __m512 norm_g(const q_batchnorm_grad_args *a, uint32_t r, uint32_t i, __mmask16 m)
{
    __m512 dy = _mm512_maskz_loadu_ps(m, x86_row(a->dy, a->dy_stride, r) + i);
    if (a->activation == Q_ACT_NONE) {
        return dy;
    }
    return vec_through(a->activation, _mm512_maskz_loadu_ps(m, x86_row(a->y, a->y_stride, r) + i), dy);
}

static inline __m512 norm_h(const q_batchnorm_grad_args *a, uint32_t r, uint32_t i, __mmask16 m)
{
    __m512 d = _mm512_maskz_loadu_ps(m, x86_row(a->x, a->x_stride, r) + i);
    d = _mm512_sub_ps(d, _mm512_maskz_loadu_ps(m, a->mean + i));
    return _mm512_mul_ps(d, _mm512_maskz_loadu_ps(m, a->s + i));
}

/* Tasks task .. task + n - 1, all of blocks with `rows` rows. */
X86_INLINE void norm_grad_sums(const uint32_t n, const q_batchnorm_grad_args *a, uint32_t task, uint32_t rows)
{
    uint32_t groups = norm_groups(a->dim);
    uint32_t row[NORM_TASKS];
    uint32_t column[NORM_TASKS];
    __mmask16 m[NORM_TASKS];
    __m512 sum[NORM_TASKS];
    __m512 sum_h[NORM_TASKS];
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        column[t] = (task + t) % groups * 16u;
        row[t] = (task + t) / groups * Q_NORM_BLOCK;
        m[t] = avx512_mask(a->dim - column[t]);
        sum[t] = sum_h[t] = _mm512_setzero_ps();
    }
    for (uint32_t r = 0; r < rows; r++) {
        X86_UNROLL
        for (uint32_t t = 0; t < n; t++) {
            __m512 g = norm_g(a, row[t] + r, column[t], m[t]);
            sum[t] = _mm512_add_ps(sum[t], g);
            sum_h[t] = _mm512_fmadd_ps(g, norm_h(a, row[t] + r, column[t], m[t]), sum_h[t]);
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        float *out = a->partial + (size_t)(row[t] / Q_NORM_BLOCK) * 2u * a->dim + column[t];
        _mm512_mask_storeu_ps(out, m[t], sum[t]);
        _mm512_mask_storeu_ps(out + a->dim, m[t], sum_h[t]);
    }
}

void q_batchnorm_grad_blocks_avx512(const q_work *work, const q_batchnorm_grad_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t groups = norm_groups(a->dim);
    uint32_t whole = rows / Q_NORM_BLOCK * groups;
    uint32_t task;
    uint32_t end;
    q_share(work, q_norm_blocks(rows) * groups, &task, &end);
    for (; task + NORM_TASKS <= end && task + NORM_TASKS <= whole; task += NORM_TASKS) {
        norm_grad_sums(NORM_TASKS, a, task, Q_NORM_BLOCK);
    }
    for (; task < end; task++) {
        norm_grad_sums(1, a, task, norm_rows_of(rows, task / groups));
    }
}

void q_batchnorm_grad_avx512(const q_work *work, const q_batchnorm_grad_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    const __m512 n = _mm512_set1_ps(1.0f / (float)rows);
    uint32_t r;
    uint32_t end;
    q_share(work, rows, &r, &end);
    for (; r < end; r++) {
        float *dx = x86_row_out(a->dx, a->dx_stride, r);
        for (uint32_t i = 0; i < a->dim; i += 16) {
            const __mmask16 m = avx512_mask(a->dim - i);
            __m512 mean = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, a->sums + i), n);
            __m512 mean_h = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, a->sums + a->dim + i), n);
            __m512 d = _mm512_sub_ps(norm_g(a, r, i, m), mean);
            d = _mm512_sub_ps(d, _mm512_mul_ps(norm_h(a, r, i, m), mean_h));
            d = _mm512_mul_ps(d, _mm512_maskz_loadu_ps(m, a->scale + i));
            d = a->accumulate != 0 ? _mm512_add_ps(_mm512_maskz_loadu_ps(m, dx + i), d) : d;
            _mm512_mask_storeu_ps(dx + i, m, d);
        }
    }
}
