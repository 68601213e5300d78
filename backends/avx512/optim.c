/* SPDX-License-Identifier: MIT */
/*
 * optim.c: steps of optimizers, norms of gradients, averages of weights. The formulas are those of q_optimizer_args.
 */
#include "kernels_avx512.h"

/* The factors of a step in every lane. */
typedef struct optim_factors_avx512 {
    __m512 grad_scale;
    __m512 low;
    __m512 high;
    __m512 decay;
    __m512 keep;
    __m512 rate; /* negative */
    __m512 beta1;
    __m512 rest1;
    __m512 beta2;
    __m512 rest2;
    __m512 eps;
    __m512 correction;
} optim_factors_avx512;

static inline optim_factors_avx512 optim_factors_of_avx512(const q_optimizer_args *a)
{
    optim_factors_avx512 f;
    f.grad_scale = _mm512_set1_ps(a->grad_scale);
    f.low = _mm512_set1_ps(-a->limit);
    f.high = _mm512_set1_ps(a->limit);
    f.decay = _mm512_set1_ps(a->decay);
    f.keep = _mm512_set1_ps(a->keep);
    f.rate = _mm512_set1_ps(-a->rate);
    f.beta1 = _mm512_set1_ps(a->beta1);
    f.rest1 = _mm512_set1_ps(a->rest1);
    f.beta2 = _mm512_set1_ps(a->beta2);
    f.rest2 = _mm512_set1_ps(a->rest2);
    f.eps = _mm512_set1_ps(a->eps);
    f.correction = _mm512_set1_ps(a->correction);
    return f;
}

/* Of n <= 16 values. min and max give their second operand where one is NaN. */
static inline __m512 optim_gradient_avx512(const q_optimizer_args *a, const optim_factors_avx512 *f, size_t i, uint32_t n, __m512 w)
{
    __m512 g = _mm512_mul_ps(vec_load_n(a->grad + i, n), f->grad_scale);
    if (a->limit > 0) {
        g = _mm512_min_ps(f->high, _mm512_max_ps(f->low, g));
    }
    return a->decay > 0 ? _mm512_fmadd_ps(f->decay, w, g) : g;
}

static inline uint32_t optim_left_avx512(size_t i, size_t end)
{
    return end - i < 16u ? (uint32_t)(end - i) : 16u;
}

void q_sgd_avx512(const q_work *work, const q_optimizer_args *a)
{
    const optim_factors_avx512 f = optim_factors_of_avx512(a);
    size_t i;
    size_t end;
    q_share_elements(work, a->n, &i, &end);
    for (; i < end; i += 16) {
        uint32_t n = optim_left_avx512(i, end);
        __m512 w = vec_load_n(a->w + i, n);
        __m512 g = optim_gradient_avx512(a, &f, i, n, w);
        if (a->m != NULL) {
            __m512 m = _mm512_fmadd_ps(f.beta1, vec_load_n(a->m + i, n), g);
            vec_store_n(a->m + i, n, m);
            g = a->nesterov != 0 ? _mm512_fmadd_ps(f.beta1, m, g) : m;
        }
        vec_store_n(a->w + i, n, _mm512_fmadd_ps(f.rate, g, _mm512_mul_ps(w, f.keep)));
    }
}

void q_adam_avx512(const q_work *work, const q_optimizer_args *a)
{
    const optim_factors_avx512 f = optim_factors_of_avx512(a);
    size_t i;
    size_t end;
    q_share_elements(work, a->n, &i, &end);
    for (; i < end; i += 16) {
        uint32_t n = optim_left_avx512(i, end);
        __m512 w = vec_load_n(a->w + i, n);
        __m512 g = optim_gradient_avx512(a, &f, i, n, w);
        __m512 m = _mm512_fmadd_ps(f.beta1, vec_load_n(a->m + i, n), _mm512_mul_ps(f.rest1, g));
        __m512 v = _mm512_fmadd_ps(f.beta2, vec_load_n(a->v + i, n), _mm512_mul_ps(_mm512_mul_ps(f.rest2, g), g));
        __m512 d = _mm512_fmadd_ps(_mm512_sqrt_ps(v), f.correction, f.eps);
        vec_store_n(a->m + i, n, m);
        vec_store_n(a->v + i, n, v);
        vec_store_n(a->w + i, n, _mm512_fmadd_ps(f.rate, _mm512_div_ps(m, d), _mm512_mul_ps(w, f.keep)));
    }
}

void q_lion_avx512(const q_work *work, const q_optimizer_args *a)
{
    const optim_factors_avx512 f = optim_factors_of_avx512(a);
    const __m512 zero = _mm512_setzero_ps();
    size_t i;
    size_t end;
    q_share_elements(work, a->n, &i, &end);
    for (; i < end; i += 16) {
        uint32_t n = optim_left_avx512(i, end);
        __m512 w = vec_load_n(a->w + i, n);
        __m512 m = vec_load_n(a->m + i, n);
        __m512 g = optim_gradient_avx512(a, &f, i, n, w);
        __m512 u = _mm512_fmadd_ps(f.beta1, m, _mm512_mul_ps(f.rest1, g));
        __m512 sign = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(u, zero, _CMP_GT_OQ), _mm512_set1_ps(1.0f));
        sign = _mm512_mask_mov_ps(sign, _mm512_cmp_ps_mask(u, zero, _CMP_LT_OQ), _mm512_set1_ps(-1.0f));
        vec_store_n(a->w + i, n, _mm512_fmadd_ps(f.rate, sign, _mm512_mul_ps(w, f.keep)));
        vec_store_n(a->m + i, n, _mm512_fmadd_ps(f.beta2, m, _mm512_mul_ps(f.rest2, g)));
    }
}

void q_sum_squares_avx512(const q_work *work, const q_sum_squares_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, (uint32_t)((a->n + Q_SUM_SQUARES_CHUNK - 1) / Q_SUM_SQUARES_CHUNK), &begin, &end);
    for (uint32_t c = begin; c < end; c++) {
        size_t first = (size_t)c * Q_SUM_SQUARES_CHUNK;
        size_t last = a->n - first < Q_SUM_SQUARES_CHUNK ? a->n : first + Q_SUM_SQUARES_CHUNK;
        __m512 lane = _mm512_setzero_ps();
        for (size_t i = first; i < last; i += 16) {
            __m512 x = vec_load_n(a->x + i, (uint32_t)(last - i));
            lane = _mm512_fmadd_ps(x, x, lane);
        }
        a->partial[c] = avx512_lane_sum(lane);
    }
}

void q_rescale_avx512(const q_work *work, const q_rescale_args *a)
{
    const __m512 factor = _mm512_set1_ps(a->factor);
    size_t i;
    size_t end;
    q_share_elements(work, a->n, &i, &end);
    for (; i < end; i += 16) {
        uint32_t n = optim_left_avx512(i, end);
        vec_store_n(a->x + i, n, _mm512_mul_ps(vec_load_n(a->x + i, n), factor));
    }
}

void q_average_avx512(const q_work *work, const q_average_args *a)
{
    const __m512 share = _mm512_set1_ps(a->share);
    size_t i;
    size_t end;
    q_share_elements(work, a->n, &i, &end);
    for (; i < end; i += 16) {
        uint32_t n = optim_left_avx512(i, end);
        __m512 e = vec_load_n(a->average + i, n);
        vec_store_n(a->average + i, n, _mm512_fmadd_ps(share, _mm512_sub_ps(vec_load_n(a->x + i, n), e), e));
    }
}
