/* SPDX-License-Identifier: MIT */
/*
 * batchnorm.h: BatchNorm down the columns, forward and backward.
 *
 * A column is a lane, and VEC columns of a block of rows are one task; workers share the tasks. A chain of sums waits for
 * each of its steps: four tasks of whole blocks run side by side.
 */
#ifndef Q_X86_BATCHNORM_H
#define Q_X86_BATCHNORM_H

enum { NORM_TASKS = 4 };

static uint32_t norm_groups(uint32_t dim)
{
    return q_ceil_div_u32(dim, VEC);
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
    vec_tail m[NORM_TASKS];
    vec mean[NORM_TASKS];
    vec squares[NORM_TASKS];
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        uint32_t column = (task + t) % groups * VEC;
        m[t] = vec_tail_of(a->dim - column);
        x[t] = x86_row(a->x, a->x_stride, (task + t) / groups * Q_NORM_BLOCK) + column;
        mean[t] = squares[t] = vec_zero();
    }
    for (uint32_t r = 0; r < rows; r++) {
        X86_UNROLL
        for (uint32_t t = 0; t < n; t++) {
            mean[t] = vec_add(mean[t], vec_load_tail(x86_row(x[t], a->x_stride, r), m[t]));
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        mean[t] = vec_div(mean[t], vec_set((float)rows));
    }
    for (uint32_t r = 0; r < rows; r++) {
        X86_UNROLL
        for (uint32_t t = 0; t < n; t++) {
            vec d = vec_sub(vec_load_tail(x86_row(x[t], a->x_stride, r), m[t]), mean[t]);
            squares[t] = vec_fma(d, d, squares[t]);
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        float *out = a->partial + (size_t)((task + t) / groups) * 2u * a->dim + (task + t) % groups * VEC;
        vec_store_tail(out, m[t], mean[t]);
        vec_store_tail(out + a->dim, m[t], squares[t]);
    }
}

static void x86_batchnorm_blocks(const q_work *work, const q_batchnorm_blocks_args *a)
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

/* Columns i .. i + VEC - 1. */
static void norm_join(const q_batchnorm_join_args *a, uint32_t rows, uint32_t i)
{
    const vec_tail m = vec_tail_of(a->dim - i);
    const vec all = vec_set((float)rows);
    const float *p = a->partial + i;
    const size_t step = 2u * (size_t)a->dim;
    uint32_t blocks = q_norm_blocks(rows);
    vec sum = vec_zero();
    for (uint32_t b = 0; b < blocks; b++) {
        sum = vec_fma(vec_set((float)norm_rows_of(rows, b)), vec_load_tail(p + b * step, m), sum);
    }
    const vec mean = vec_div(sum, all);
    sum = vec_zero();
    for (uint32_t b = 0; b < blocks; b++) {
        vec e = vec_sub(vec_load_tail(p + b * step, m), mean);
        sum = vec_add(sum, vec_load_tail(p + b * step + a->dim, m));
        sum = vec_fma(vec_mul(vec_set((float)norm_rows_of(rows, b)), e), e, sum);
    }
    vec s = vec_sqrt(vec_add(vec_div(sum, all), vec_set(a->eps)));
    s = vec_div(vec_set(1.0f), s);
    vec_store_tail(a->mean + i, m, mean);
    vec_store_tail(a->s + i, m, s);
    vec_store_tail(a->scale + i, m, vec_mul(vec_load_tail(a->weight + i, m), s));
    if (a->running_mean != NULL) {
        const vec momentum = vec_set(a->momentum);
        vec var = vec_div(sum, vec_set((float)(rows > 1u ? rows - 1u : 1u)));
        vec old = vec_load_tail(a->running_mean + i, m);
        vec_store_tail(a->running_mean + i, m, vec_fma(momentum, vec_sub(mean, old), old));
        old = vec_load_tail(a->running_var + i, m);
        vec_store_tail(a->running_var + i, m, vec_fma(momentum, vec_sub(var, old), old));
    }
}

static void x86_batchnorm_join(const q_work *work, const q_batchnorm_join_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t group;
    uint32_t end;
    q_share(work, norm_groups(a->dim), &group, &end);
    for (; group < end; group++) {
        norm_join(a, rows, group * VEC);
    }
}

static void x86_batchnorm_fold(const q_work *work, const q_batchnorm_fold_args *a)
{
    uint32_t group;
    uint32_t end;
    q_share(work, norm_groups(a->dim), &group, &end);
    for (uint32_t i = group * VEC; i < end * VEC && i < a->dim; i += VEC) {
        const vec_tail m = vec_tail_of(a->dim - i);
        vec root = vec_sqrt(vec_add(vec_load_tail(a->var + i, m), vec_set(a->eps)));
        vec scale = vec_div(vec_load_tail(a->weight + i, m), root);
        vec moved = vec_mul(vec_load_tail(a->mean + i, m), scale);
        vec_store_tail(a->scale + i, m, scale);
        vec_store_tail(a->shift + i, m, vec_sub(vec_load_tail(a->bias + i, m), moved));
    }
}

static void x86_batchnorm(const q_work *work, const q_batchnorm_args *a)
{
    uint32_t r;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &r, &end);
    for (; r < end; r++) {
        const float *x = x86_row(a->x, a->x_stride, r);
        float *y = x86_row_out(a->y, a->y_stride, r);
        for (uint32_t i = 0; i < a->dim; i += VEC) {
            const vec_tail m = vec_tail_of(a->dim - i);
            vec v = vec_load_tail(x + i, m);
            v = a->mean != NULL ? vec_sub(v, vec_load_tail(a->mean + i, m)) : v;
            v = vec_mul(v, vec_load_tail(a->scale + i, m));
            v = vec_add(v, vec_load_tail(a->shift + i, m));
            vec_store_tail(y + i, m, vec_activation(a->activation, v));
        }
    }
}

/* ---- Backward --------------------------------------------------------------------------------------------- */

/* g of n <= VEC columns of row r. */
static inline vec norm_g(const q_batchnorm_grad_args *a, uint32_t r, uint32_t i, vec_tail m)
{
    vec dy = vec_load_tail(x86_row(a->dy, a->dy_stride, r) + i, m);
    if (a->activation == Q_ACT_NONE) {
        return dy;
    }
    return vec_through(a->activation, vec_load_tail(x86_row(a->y, a->y_stride, r) + i, m), dy);
}

static inline vec norm_h(const q_batchnorm_grad_args *a, uint32_t r, uint32_t i, vec_tail m)
{
    vec d = vec_load_tail(x86_row(a->x, a->x_stride, r) + i, m);
    d = vec_sub(d, vec_load_tail(a->mean + i, m));
    return vec_mul(d, vec_load_tail(a->s + i, m));
}

/* Tasks task .. task + n - 1, all of blocks with `rows` rows. */
X86_INLINE void norm_grad_sums(const uint32_t n, const q_batchnorm_grad_args *a, uint32_t task, uint32_t rows)
{
    uint32_t groups = norm_groups(a->dim);
    uint32_t row[NORM_TASKS];
    uint32_t column[NORM_TASKS];
    vec_tail m[NORM_TASKS];
    vec sum[NORM_TASKS];
    vec sum_h[NORM_TASKS];
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        column[t] = (task + t) % groups * VEC;
        row[t] = (task + t) / groups * Q_NORM_BLOCK;
        m[t] = vec_tail_of(a->dim - column[t]);
        sum[t] = sum_h[t] = vec_zero();
    }
    for (uint32_t r = 0; r < rows; r++) {
        X86_UNROLL
        for (uint32_t t = 0; t < n; t++) {
            vec g = norm_g(a, row[t] + r, column[t], m[t]);
            sum[t] = vec_add(sum[t], g);
            sum_h[t] = vec_fma(g, norm_h(a, row[t] + r, column[t], m[t]), sum_h[t]);
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < n; t++) {
        float *out = a->partial + (size_t)(row[t] / Q_NORM_BLOCK) * 2u * a->dim + column[t];
        vec_store_tail(out, m[t], sum[t]);
        vec_store_tail(out + a->dim, m[t], sum_h[t]);
    }
}

static void x86_batchnorm_grad_blocks(const q_work *work, const q_batchnorm_grad_args *a)
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

static void x86_batchnorm_grad(const q_work *work, const q_batchnorm_grad_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    const vec n = vec_set(1.0f / (float)rows);
    uint32_t r;
    uint32_t end;
    q_share(work, rows, &r, &end);
    for (; r < end; r++) {
        float *dx = x86_row_out(a->dx, a->dx_stride, r);
        for (uint32_t i = 0; i < a->dim; i += VEC) {
            const vec_tail m = vec_tail_of(a->dim - i);
            vec mean = vec_mul(vec_load_tail(a->sums + i, m), n);
            vec mean_h = vec_mul(vec_load_tail(a->sums + a->dim + i, m), n);
            vec d = vec_sub(norm_g(a, r, i, m), mean);
            d = vec_sub(d, vec_mul(norm_h(a, r, i, m), mean_h));
            d = vec_mul(d, vec_load_tail(a->scale + i, m));
            d = a->accumulate != 0 ? vec_add(vec_load_tail(dx + i, m), d) : d;
            vec_store_tail(dx + i, m, d);
        }
    }
}

#endif /* Q_X86_BATCHNORM_H */
