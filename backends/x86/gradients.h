/* SPDX-License-Identifier: MIT */
/*
 * gradients.h: gradients of norms, softmax, RoPE, embedding and products of two values. Each is made as in scalar
 * and then stored, or added to what is there.
 */
#ifndef Q_X86_GRADIENTS_H
#define Q_X86_GRADIENTS_H

#include "sum.h"

/* Gradient of n <= VEC values. */
static inline void tangent_put(float *at, uint32_t n, vec v, uint32_t accumulate)
{
    vec_store_n(at, n, accumulate != 0 ? vec_add(vec_load_n(at, n), v) : v);
}

static float tangent_dot(const float *x, const float *y, uint32_t dim)
{
    vec16 lane = vec16_zero();
    uint32_t i = 0;
    for (; i + 16u <= dim; i += 16) {
        lane = vec16_fma(vec16_load(x + i), vec16_load(y + i), lane);
    }
    if (i < dim) {
        vec16 sum = vec16_fma(vec16_load_n(x + i, dim - i), vec16_load_n(y + i, dim - i), lane);
        lane = vec16_first(sum, dim - i, lane);
    }
    return vec16_sum(lane);
}

/* -- norms ------------------------------------------------------------------------------------- */

static inline vec tangent_weight(const q_rmsnorm_grad_args *a, uint32_t i, uint32_t n)
{
    vec w = vec_load_n(a->weight + i, n);
    return a->offset == 0 ? w : vec_add(w, vec_set(a->offset));
}

/* n <= 16 terms of the two sums of a row. */
X86_INLINE void tangent_rmsnorm_terms(const q_rmsnorm_grad_args *a, const float *x, const float *dy, uint32_t i,
                                      uint32_t n, vec16 *square, vec16 *lane)
{
    vec16 v = vec16_load_n(x + i, n);
    vec16 w = vec16_load_n(a->weight + i, n);
    vec16 g = vec16_mul(vec16_load_n(dy + i, n), a->offset == 0 ? w : vec16_add(w, vec16_set(a->offset)));
    *square = vec16_fma(v, v, *square);
    *lane = vec16_first(vec16_fma(g, v, *lane), n, *lane);
}

/* s of a row, as rmsnorm has it, and *dot = sum of dy*w'*x. */
static float tangent_rmsnorm_sums(const q_rmsnorm_grad_args *a, const float *x, const float *dy, float *dot)
{
    vec16 square = vec16_zero();
    vec16 lane = vec16_zero();
    uint32_t i = 0;
    for (; i + 16u <= a->dim; i += 16) {
        tangent_rmsnorm_terms(a, x, dy, i, 16, &square, &lane);
    }
    if (i < a->dim) {
        tangent_rmsnorm_terms(a, x, dy, i, a->dim - i, &square, &lane);
    }
    *dot = vec16_sum(lane);
    return 1 / q_sqrt_f32(vec16_sum(square) / (float)a->dim + a->eps);
}

static void x86_rmsnorm_grad(const q_work *work, const q_rmsnorm_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const float *x = x86_row(a->x, a->x_stride, r);
        const float *dy = x86_row(a->dy, a->dy_stride, r);
        float dot;
        float s = tangent_rmsnorm_sums(a, x, dy, &dot);
        const vec c = vec_set(((dot / (float)a->dim) * s) * s);
        const vec root = vec_set(s);
        float *dx = a->dx != NULL ? x86_row_out(a->dx, a->dx_stride, r) : NULL;
        a->s[r] = s;
        for (uint32_t i = 0; dx != NULL && i < a->dim; i += VEC) {
            uint32_t n = a->dim - i;
            vec g = vec_mul(vec_load_n(dy + i, n), tangent_weight(a, i, n));
            tangent_put(dx + i, n, vec_mul(vec_fnma(vec_load_n(x + i, n), c, g), root), a->accumulate);
        }
        if (dx != NULL) {
            sum_pass(&a->pass, dx, a->dim, r);
        }
    }
}

/* Shared by columns, VEC at a time through all rows. */
static void x86_rmsnorm_weight_grad(const q_work *work, const q_rmsnorm_grad_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, q_ceil_div_u32(a->dim, VEC), &begin, &end);
    for (uint32_t i = begin * VEC; i < end * VEC && i < a->dim; i += VEC) {
        uint32_t n = a->dim - i;
        vec sum = vec_load_n(a->grad + i, n);
        for (uint32_t r = 0; r < rows; r++) {
            vec x = vec_mul(vec_load_n(x86_row(a->x, a->x_stride, r) + i, n), vec_set(a->s[r]));
            sum = vec_fma(vec_load_n(x86_row(a->dy, a->dy_stride, r) + i, n), x, sum);
        }
        vec_store_n(a->grad + i, n, sum);
    }
}

static void x86_softmax_grad(const q_work *work, const q_softmax_grad_args *a)
{
    const vec scale = vec_set(a->scale);
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const float *y = x86_row(a->y, a->y_stride, r);
        const float *dy = x86_row(a->dy, a->dy_stride, r);
        float *dx = x86_row_out(a->dx, a->dx_stride, r);
        const vec dot = vec_set(tangent_dot(y, dy, a->dim));
        for (uint32_t i = 0; i < a->dim; i += VEC) {
            uint32_t n = a->dim - i;
            vec v = vec_mul(vec_load_n(y + i, n), vec_sub(vec_load_n(dy + i, n), dot));
            tangent_put(dx + i, n, vec_mul(v, scale), a->accumulate);
        }
    }
}

/* -- rows -------------------------------------------------------------------------------------- */

static void x86_embedding_grad(const q_work *work, const q_embedding_grad_args *a)
{
    const vec scale = vec_set(a->scale);
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, q_ceil_div_u32(a->dim, VEC), &begin, &end);
    end = end * VEC < a->dim ? end * VEC : a->dim;
    for (uint32_t r = 0; r < rows; r++) {
        const float *dy = x86_row(a->dy, a->dy_stride, r);
        float *grad = x86_row_out(a->grad, a->grad_stride, (uint32_t)a->ids[r]);
        for (uint32_t i = begin * VEC; i < end; i += VEC) {
            vec v = vec_load_n(dy + i, end - i);
            tangent_put(grad + i, end - i, a->scale == 1 ? v : vec_mul(v, scale), 1);
        }
    }
}

static void tangent_rope_head(const q_rope_grad_args *a, const float *dy, const float *table, float *dx)
{
    uint32_t pairs = a->n_pairs;
    for (uint32_t i = 0; i < pairs; i += VEC) {
        uint32_t n = pairs - i;
        vec cos = vec_load_n(table + i, n);
        vec sin = vec_load_n(table + pairs + i, n);
        vec di = vec_load_n(dy + i, n);
        vec dj = vec_load_n(dy + pairs + i, n);
        tangent_put(dx + i, n, vec_fma(di, cos, vec_mul(dj, sin)), a->accumulate);
        tangent_put(dx + pairs + i, n, vec_fms(dj, cos, vec_mul(di, sin)), a->accumulate);
    }
    for (uint32_t i = 2 * pairs; i < a->head_dim; i += VEC) {
        tangent_put(dx + i, a->head_dim - i, vec_load_n(dy + i, a->head_dim - i), a->accumulate);
    }
}

static void x86_rope_grad(const q_work *work, const q_rope_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const float *table = x86_row(a->table, a->table_stride, r);
        for (uint32_t h = 0; h < a->heads; h++) {
            size_t at = (size_t)h * a->head_dim;
            tangent_rope_head(a, x86_row(a->dy, a->dy_stride, r) + at, table, x86_row_out(a->dx, a->dx_stride, r) + at);
        }
    }
}

/* -- products of two values ---------------------------------------------------------------------- */

/* Row r; silu: the first value goes through silu. */
X86_INLINE void tangent_binary_row(const bool silu, const q_binary_grad_args *a, uint32_t r)
{
    const float *x = x86_row(a->a, a->a_stride, r);
    const float *y = x86_row(a->b, a->b_stride, r);
    const float *dy = x86_row(a->dy, a->dy_stride, r);
    float *da = a->da != NULL ? x86_row_out(a->da, a->da_stride, r) : NULL;
    float *db = a->db != NULL ? x86_row_out(a->db, a->db_stride, r) : NULL;
    for (uint32_t i = 0; i < a->dim; i += VEC) {
        uint32_t n = a->dim - i;
        vec v = vec_load_n(x + i, n);
        vec d = vec_load_n(dy + i, n);
        if (da != NULL) {
            vec to_a = vec_mul(d, vec_load_n(y + i, n));
            if (silu) {
                const vec one = vec_set(1.0f);
                vec g = vec_sigmoid(v);
                to_a = vec_mul(to_a, vec_mul(g, vec_fma(v, vec_sub(one, g), one)));
            }
            tangent_put(da + i, n, to_a, a->accumulate & 1u);
        }
        if (db != NULL) {
            tangent_put(db + i, n, vec_mul(d, silu ? vec_silu(v) : v), a->accumulate & 2u);
        }
    }
}

static void x86_mul_grad(const q_work *work, const q_binary_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        tangent_binary_row(false, a, r);
    }
}

static void x86_silu_mul_grad(const q_work *work, const q_binary_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        tangent_binary_row(true, a, r);
    }
}

#endif /* Q_X86_GRADIENTS_H */
