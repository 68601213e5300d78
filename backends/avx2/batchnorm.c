/* SPDX-License-Identifier: MIT */
/*
 * batchnorm.c: BatchNorm down the columns, forward and backward.
 *
 * A column is a lane, and 8 columns of a block of rows are one task; workers share the tasks. A chain of sums waits for
 * each of its steps: four tasks of whole blocks run side by side.
 */
#include "activation.h"

enum { NORM_TASKS = 4 };

static uint32_t norm_groups(uint32_t dim)
{
    return q_ceil_div_u32(dim, 8);
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
    uint32_t left[NORM_TASKS];
    __m256 mean[NORM_TASKS];
    __m256 squares[NORM_TASKS];
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        uint32_t column = (task + t) % groups * 8u;
        left[t] = a->dim - column;
        x[t] = x86_row(a->x, a->x_stride, (task + t) / groups * Q_NORM_BLOCK) + column;
        mean[t] = squares[t] = _mm256_setzero_ps();
    }
    for (uint32_t r = 0; r < rows; r++) {
        X86_UNROLL
        for (uint32_t t = 0; t < n; t++) {
            mean[t] = _mm256_add_ps(mean[t], vec_load_n(x86_row(x[t], a->x_stride, r), left[t]));
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        mean[t] = _mm256_div_ps(mean[t], _mm256_set1_ps((float)rows));
    }
    for (uint32_t r = 0; r < rows; r++) {
        X86_UNROLL
        for (uint32_t t = 0; t < n; t++) {
            __m256 d = _mm256_sub_ps(vec_load_n(x86_row(x[t], a->x_stride, r), left[t]), mean[t]);
            squares[t] = _mm256_fmadd_ps(d, d, squares[t]);
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        float *out = a->partial + (size_t)((task + t) / groups) * 2u * a->dim + (task + t) % groups * 8u;
        vec_store_n(out, left[t], mean[t]);
        vec_store_n(out + a->dim, left[t], squares[t]);
    }
}

void q_batchnorm_blocks_avx2(const q_work *work, const q_batchnorm_blocks_args *a)
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

/* Columns i .. i + 7. */
static void norm_join(const q_batchnorm_join_args *a, uint32_t rows, uint32_t i)
{
    uint32_t left = a->dim - i;
    const __m256 all = _mm256_set1_ps((float)rows);
    const float *p = a->partial + i;
    const size_t step = 2u * (size_t)a->dim;
    uint32_t blocks = q_norm_blocks(rows);
    __m256 sum = _mm256_setzero_ps();
    for (uint32_t b = 0; b < blocks; b++) {
        sum = _mm256_fmadd_ps(_mm256_set1_ps((float)norm_rows_of(rows, b)), vec_load_n(p + b * step, left), sum);
    }
    const __m256 mean = _mm256_div_ps(sum, all);
    sum = _mm256_setzero_ps();
    for (uint32_t b = 0; b < blocks; b++) {
        __m256 e = _mm256_sub_ps(vec_load_n(p + b * step, left), mean);
        sum = _mm256_add_ps(sum, vec_load_n(p + b * step + a->dim, left));
        sum = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_set1_ps((float)norm_rows_of(rows, b)), e), e, sum);
    }
    __m256 s = _mm256_sqrt_ps(_mm256_add_ps(_mm256_div_ps(sum, all), _mm256_set1_ps(a->eps)));
    s = _mm256_div_ps(_mm256_set1_ps(1.0f), s);
    vec_store_n(a->mean + i, left, mean);
    vec_store_n(a->s + i, left, s);
    vec_store_n(a->scale + i, left, _mm256_mul_ps(vec_load_n(a->weight + i, left), s));
    if (a->running_mean != NULL) {
        const __m256 momentum = _mm256_set1_ps(a->momentum);
        __m256 var = _mm256_div_ps(sum, _mm256_set1_ps((float)(rows > 1u ? rows - 1u : 1u)));
        __m256 old = vec_load_n(a->running_mean + i, left);
        vec_store_n(a->running_mean + i, left, _mm256_fmadd_ps(momentum, _mm256_sub_ps(mean, old), old));
        old = vec_load_n(a->running_var + i, left);
        vec_store_n(a->running_var + i, left, _mm256_fmadd_ps(momentum, _mm256_sub_ps(var, old), old));
    }
}

void q_batchnorm_join_avx2(const q_work *work, const q_batchnorm_join_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t group;
    uint32_t end;
    q_share(work, norm_groups(a->dim), &group, &end);
    for (; group < end; group++) {
        norm_join(a, rows, group * 8u);
    }
}

void q_batchnorm_fold_avx2(const q_work *work, const q_batchnorm_fold_args *a)
{
    uint32_t group;
    uint32_t end;
    q_share(work, norm_groups(a->dim), &group, &end);
    for (uint32_t i = group * 8u; i < end * 8u && i < a->dim; i += 8) {
        uint32_t left = a->dim - i;
        __m256 root = _mm256_sqrt_ps(_mm256_add_ps(vec_load_n(a->var + i, left), _mm256_set1_ps(a->eps)));
        __m256 scale = _mm256_div_ps(vec_load_n(a->weight + i, left), root);
        __m256 moved = _mm256_mul_ps(vec_load_n(a->mean + i, left), scale);
        vec_store_n(a->scale + i, left, scale);
        vec_store_n(a->shift + i, left, _mm256_sub_ps(vec_load_n(a->bias + i, left), moved));
    }
}

void q_batchnorm_avx2(const q_work *work, const q_batchnorm_args *a)
{
    uint32_t r;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &r, &end);
    for (; r < end; r++) {
        const float *x = x86_row(a->x, a->x_stride, r);
        float *y = x86_row_out(a->y, a->y_stride, r);
        for (uint32_t i = 0; i < a->dim; i += 8) {
            uint32_t left = a->dim - i;
            __m256 v = vec_load_n(x + i, left);
            v = a->mean != NULL ? _mm256_sub_ps(v, vec_load_n(a->mean + i, left)) : v;
            v = _mm256_mul_ps(v, vec_load_n(a->scale + i, left));
            v = _mm256_add_ps(v, vec_load_n(a->shift + i, left));
            vec_store_n(y + i, left, vec_activation(a->activation, v));
        }
    }
}

/* ---- Backward --------------------------------------------------------------------------------------------- */

/* g of n <= 8 columns of row r. */
static inline __m256 norm_g(const q_batchnorm_grad_args *a, uint32_t r, uint32_t i, uint32_t left)
{
    __m256 dy = vec_load_n(x86_row(a->dy, a->dy_stride, r) + i, left);
    if (a->activation == Q_ACT_NONE) {
        return dy;
    }
    return vec_through(a->activation, vec_load_n(x86_row(a->y, a->y_stride, r) + i, left), dy);
}

static inline __m256 norm_h(const q_batchnorm_grad_args *a, uint32_t r, uint32_t i, uint32_t left)
{
    __m256 d = vec_load_n(x86_row(a->x, a->x_stride, r) + i, left);
    d = _mm256_sub_ps(d, vec_load_n(a->mean + i, left));
    return _mm256_mul_ps(d, vec_load_n(a->s + i, left));
}

/* Tasks task .. task + n - 1, all of blocks with `rows` rows. */
X86_INLINE void norm_grad_sums(const uint32_t n, const q_batchnorm_grad_args *a, uint32_t task, uint32_t rows)
{
    uint32_t groups = norm_groups(a->dim);
    uint32_t row[NORM_TASKS];
    uint32_t column[NORM_TASKS];
    uint32_t left[NORM_TASKS];
    __m256 sum[NORM_TASKS];
    __m256 sum_h[NORM_TASKS];
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        column[t] = (task + t) % groups * 8u;
        row[t] = (task + t) / groups * Q_NORM_BLOCK;
        left[t] = a->dim - column[t];
        sum[t] = sum_h[t] = _mm256_setzero_ps();
    }
    for (uint32_t r = 0; r < rows; r++) {
        X86_UNROLL
        for (uint32_t t = 0; t < n; t++) {
            __m256 g = norm_g(a, row[t] + r, column[t], left[t]);
            sum[t] = _mm256_add_ps(sum[t], g);
            sum_h[t] = _mm256_fmadd_ps(g, norm_h(a, row[t] + r, column[t], left[t]), sum_h[t]);
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        float *out = a->partial + (size_t)(row[t] / Q_NORM_BLOCK) * 2u * a->dim + column[t];
        vec_store_n(out, left[t], sum[t]);
        vec_store_n(out + a->dim, left[t], sum_h[t]);
    }
}

void q_batchnorm_grad_blocks_avx2(const q_work *work, const q_batchnorm_grad_args *a)
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

void q_batchnorm_grad_avx2(const q_work *work, const q_batchnorm_grad_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    const __m256 n = _mm256_set1_ps(1.0f / (float)rows);
    uint32_t r;
    uint32_t end;
    q_share(work, rows, &r, &end);
    for (; r < end; r++) {
        float *dx = x86_row_out(a->dx, a->dx_stride, r);
        for (uint32_t i = 0; i < a->dim; i += 8) {
            uint32_t left = a->dim - i;
            __m256 mean = _mm256_mul_ps(vec_load_n(a->sums + i, left), n);
            __m256 mean_h = _mm256_mul_ps(vec_load_n(a->sums + a->dim + i, left), n);
            __m256 d = _mm256_sub_ps(norm_g(a, r, i, left), mean);
            d = _mm256_sub_ps(d, _mm256_mul_ps(norm_h(a, r, i, left), mean_h));
            d = _mm256_mul_ps(d, vec_load_n(a->scale + i, left));
            d = a->accumulate != 0 ? _mm256_add_ps(vec_load_n(dx + i, left), d) : d;
            vec_store_n(dx + i, left, d);
        }
    }
}
