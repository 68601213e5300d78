/* SPDX-License-Identifier: MIT */
/*
 * gradients.c: gradients of norms, softmax, RoPE, embedding and products of two values, on 16 lanes. Each is made as in
 * scalar and then stored, or added to what is there.
 */
#include "elementary_avx512.h"
#include "kernels_avx512.h"

/* Gradient of n <= 16 values. */
static inline void tangent_put(float *at, uint32_t n, __m512 v, uint32_t accumulate)
{
    vec_store_n(at, n, accumulate != 0 ? _mm512_add_ps(vec_load_n(at, n), v) : v);
}

/* acc = fma(x, y, acc) of the first n of 16 lanes. */
static inline __m512 tangent_fma(__m512 x, __m512 y, uint32_t n, __m512 acc)
{
    return _mm512_mask3_fmadd_ps(x, y, acc, avx512_mask(n));
}

static float tangent_dot(const float *x, const float *y, uint32_t dim)
{
    __m512 lane = _mm512_setzero_ps();
    for (uint32_t i = 0; i < dim; i += 16u) {
        lane = tangent_fma(vec_load_n(x + i, dim - i), vec_load_n(y + i, dim - i), dim - i, lane);
    }
    return avx512_lane_sum(lane);
}

/* -- norms ------------------------------------------------------------------------------------- */

static inline __m512 tangent_weight(const q_rmsnorm_grad_args *a, uint32_t i, uint32_t n)
{
    __m512 w = vec_load_n(a->weight + i, n);
    return a->offset == 0 ? w : _mm512_add_ps(w, _mm512_set1_ps(a->offset));
}

/* s of a row, as rmsnorm has it, and *dot = sum of dy*w'*x. */
static float tangent_rmsnorm_sums(const q_rmsnorm_grad_args *a, const float *x, const float *dy, float *dot)
{
    __m512 square = _mm512_setzero_ps();
    __m512 lane = _mm512_setzero_ps();
    for (uint32_t i = 0; i < a->dim; i += 16u) {
        uint32_t n = a->dim - i;
        __m512 v = vec_load_n(x + i, n);
        __m512 g = _mm512_mul_ps(vec_load_n(dy + i, n), tangent_weight(a, i, n));
        square = _mm512_fmadd_ps(v, v, square);
        lane = tangent_fma(g, v, n, lane);
    }
    *dot = avx512_lane_sum(lane);
    return 1 / q_sqrt_f32(avx512_lane_sum(square) / (float)a->dim + a->eps);
}

void q_rmsnorm_grad_avx512(const q_work *work, const q_rmsnorm_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const float *x = x86_row(a->x, a->x_stride, r);
        const float *dy = x86_row(a->dy, a->dy_stride, r);
        float dot;
        float s = tangent_rmsnorm_sums(a, x, dy, &dot);
        const __m512 c = _mm512_set1_ps(((dot / (float)a->dim) * s) * s);
        const __m512 root = _mm512_set1_ps(s);
        float *dx = a->dx != NULL ? x86_row_out(a->dx, a->dx_stride, r) : NULL;
        a->s[r] = s;
        for (uint32_t i = 0; dx != NULL && i < a->dim; i += 16u) {
            uint32_t n = a->dim - i;
            __m512 g = _mm512_mul_ps(vec_load_n(dy + i, n), tangent_weight(a, i, n));
            tangent_put(dx + i, n, _mm512_mul_ps(_mm512_fnmadd_ps(vec_load_n(x + i, n), c, g), root), a->accumulate);
        }
    }
}

/* Shared by columns, 16 at a time through all rows. */
void q_rmsnorm_weight_grad_avx512(const q_work *work, const q_rmsnorm_grad_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, q_ceil_div_u32(a->dim, 16u), &begin, &end);
    for (uint32_t i = begin * 16u; i < end * 16u && i < a->dim; i += 16u) {
        uint32_t n = a->dim - i;
        __m512 sum = vec_load_n(a->grad + i, n);
        for (uint32_t r = 0; r < rows; r++) {
            __m512 x = _mm512_mul_ps(vec_load_n(x86_row(a->x, a->x_stride, r) + i, n), _mm512_set1_ps(a->s[r]));
            sum = _mm512_fmadd_ps(vec_load_n(x86_row(a->dy, a->dy_stride, r) + i, n), x, sum);
        }
        vec_store_n(a->grad + i, n, sum);
    }
}

void q_softmax_grad_avx512(const q_work *work, const q_softmax_grad_args *a)
{
    const __m512 scale = _mm512_set1_ps(a->scale);
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const float *y = x86_row(a->y, a->y_stride, r);
        const float *dy = x86_row(a->dy, a->dy_stride, r);
        float *dx = x86_row_out(a->dx, a->dx_stride, r);
        const __m512 dot = _mm512_set1_ps(tangent_dot(y, dy, a->dim));
        for (uint32_t i = 0; i < a->dim; i += 16u) {
            uint32_t n = a->dim - i;
            __m512 v = _mm512_mul_ps(vec_load_n(y + i, n), _mm512_sub_ps(vec_load_n(dy + i, n), dot));
            tangent_put(dx + i, n, _mm512_mul_ps(v, scale), a->accumulate);
        }
    }
}

/* -- rows -------------------------------------------------------------------------------------- */

void q_embedding_grad_avx512(const q_work *work, const q_embedding_grad_args *a)
{
    const __m512 scale = _mm512_set1_ps(a->scale);
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t begin;
    uint32_t end;
    q_share(work, q_ceil_div_u32(a->dim, 16u), &begin, &end);
    end = end * 16u < a->dim ? end * 16u : a->dim;
    for (uint32_t r = 0; r < rows; r++) {
        const float *dy = x86_row(a->dy, a->dy_stride, r);
        float *grad = x86_row_out(a->grad, a->grad_stride, (uint32_t)a->ids[r]);
        for (uint32_t i = begin * 16u; i < end; i += 16u) {
            __m512 v = vec_load_n(dy + i, end - i);
            tangent_put(grad + i, end - i, a->scale == 1 ? v : _mm512_mul_ps(v, scale), 1);
        }
    }
}

static void tangent_rope_head(const q_rope_grad_args *a, const float *dy, const float *table, float *dx)
{
    uint32_t pairs = a->n_pairs;
    for (uint32_t i = 0; i < pairs; i += 16u) {
        uint32_t n = pairs - i;
        __m512 cos = vec_load_n(table + i, n);
        __m512 sin = vec_load_n(table + pairs + i, n);
        __m512 di = vec_load_n(dy + i, n);
        __m512 dj = vec_load_n(dy + pairs + i, n);
        tangent_put(dx + i, n, _mm512_fmadd_ps(di, cos, _mm512_mul_ps(dj, sin)), a->accumulate);
        tangent_put(dx + pairs + i, n, _mm512_fmsub_ps(dj, cos, _mm512_mul_ps(di, sin)), a->accumulate);
    }
    for (uint32_t i = 2 * pairs; i < a->head_dim; i += 16u) {
        tangent_put(dx + i, a->head_dim - i, vec_load_n(dy + i, a->head_dim - i), a->accumulate);
    }
}

void q_rope_grad_avx512(const q_work *work, const q_rope_grad_args *a)
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
    for (uint32_t i = 0; i < a->dim; i += 16u) {
        uint32_t n = a->dim - i;
        __m512 v = vec_load_n(x + i, n);
        __m512 d = vec_load_n(dy + i, n);
        if (da != NULL) {
            __m512 to_a = _mm512_mul_ps(d, vec_load_n(y + i, n));
            if (silu) {
                const __m512 one = _mm512_set1_ps(1.0f);
                __m512 g = q_sigmoid_m512(v);
                to_a = _mm512_mul_ps(to_a, _mm512_mul_ps(g, _mm512_fmadd_ps(v, _mm512_sub_ps(one, g), one)));
            }
            tangent_put(da + i, n, to_a, a->accumulate & 1u);
        }
        if (db != NULL) {
            tangent_put(db + i, n, _mm512_mul_ps(d, silu ? q_silu_m512(v) : v), a->accumulate & 2u);
        }
    }
}

void q_mul_grad_avx512(const q_work *work, const q_binary_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        tangent_binary_row(false, a, r);
    }
}

void q_silu_mul_grad_avx512(const q_work *work, const q_binary_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        tangent_binary_row(true, a, r);
    }
}
