/* SPDX-License-Identifier: MIT */
/*
 * optim.h: steps of optimizers, norms of gradients, averages of weights. The formulas are those of q_optimizer_args.
 */
#ifndef Q_X86_OPTIM_H
#define Q_X86_OPTIM_H

/* The factors of a step in every lane. */
typedef struct optim_factors {
    vec grad_scale;
    vec low;
    vec high;
    vec decay;
    vec keep;
    vec rate; /* negative */
    vec beta1;
    vec rest1;
    vec beta2;
    vec rest2;
    vec eps;
    vec correction;
} optim_factors;

static inline optim_factors optim_factors_of(const q_optimizer_args *a)
{
    optim_factors f;
    f.grad_scale = vec_set(a->grad_scale);
    f.low = vec_set(-a->limit);
    f.high = vec_set(a->limit);
    f.decay = vec_set(a->decay);
    f.keep = vec_set(a->keep);
    f.rate = vec_set(-a->rate);
    f.beta1 = vec_set(a->beta1);
    f.rest1 = vec_set(a->rest1);
    f.beta2 = vec_set(a->beta2);
    f.rest2 = vec_set(a->rest2);
    f.eps = vec_set(a->eps);
    f.correction = vec_set(a->correction);
    return f;
}

/* Of n <= VEC values. min and max give their second operand where one is NaN. */
static inline vec optim_gradient(const q_optimizer_args *a, const optim_factors *f, size_t i, uint32_t n, vec w)
{
    vec g = vec_mul(vec_load_n(a->grad + i, n), f->grad_scale);
    if (a->limit > 0) {
        g = vec_min(f->high, vec_max(f->low, g));
    }
    return a->decay > 0 ? vec_fma(f->decay, w, g) : g;
}

static inline uint32_t optim_left(size_t i, size_t end)
{
    return end - i < VEC ? (uint32_t)(end - i) : (uint32_t)VEC;
}

static void x86_sgd(const q_work *work, const q_optimizer_args *a)
{
    const optim_factors f = optim_factors_of(a);
    size_t i;
    size_t end;
    q_share_elements(work, a->n, &i, &end);
    for (; i < end; i += VEC) {
        uint32_t n = optim_left(i, end);
        vec w = vec_load_n(a->w + i, n);
        vec g = optim_gradient(a, &f, i, n, w);
        if (a->m != NULL) {
            vec m = vec_fma(f.beta1, vec_load_n(a->m + i, n), g);
            vec_store_n(a->m + i, n, m);
            g = a->nesterov != 0 ? vec_fma(f.beta1, m, g) : m;
        }
        vec_store_n(a->w + i, n, vec_fma(f.rate, g, vec_mul(w, f.keep)));
    }
}

static void x86_adam(const q_work *work, const q_optimizer_args *a)
{
    const optim_factors f = optim_factors_of(a);
    size_t i;
    size_t end;
    q_share_elements(work, a->n, &i, &end);
    for (; i < end; i += VEC) {
        uint32_t n = optim_left(i, end);
        vec w = vec_load_n(a->w + i, n);
        vec g = optim_gradient(a, &f, i, n, w);
        vec m = vec_fma(f.beta1, vec_load_n(a->m + i, n), vec_mul(f.rest1, g));
        vec v = vec_fma(f.beta2, vec_load_n(a->v + i, n), vec_mul(vec_mul(f.rest2, g), g));
        vec d = vec_fma(vec_sqrt(v), f.correction, f.eps);
        vec_store_n(a->m + i, n, m);
        vec_store_n(a->v + i, n, v);
        vec_store_n(a->w + i, n, vec_fma(f.rate, vec_div(m, d), vec_mul(w, f.keep)));
    }
}

static void x86_lion(const q_work *work, const q_optimizer_args *a)
{
    const optim_factors f = optim_factors_of(a);
    const vec zero = vec_zero();
    size_t i;
    size_t end;
    q_share_elements(work, a->n, &i, &end);
    for (; i < end; i += VEC) {
        uint32_t n = optim_left(i, end);
        vec w = vec_load_n(a->w + i, n);
        vec m = vec_load_n(a->m + i, n);
        vec g = optim_gradient(a, &f, i, n, w);
        vec u = vec_fma(f.beta1, m, vec_mul(f.rest1, g));
        /* 1, -1, or 0 for zeros and NaN */
        vec sign = vec_keep(vec_above(u, zero), vec_set(1.0f));
        sign = vec_choose(vec_below(u, zero), vec_set(-1.0f), sign);
        vec_store_n(a->w + i, n, vec_fma(f.rate, sign, vec_mul(w, f.keep)));
        vec_store_n(a->m + i, n, vec_fma(f.beta2, m, vec_mul(f.rest2, g)));
    }
}

static void x86_sum_squares(const q_work *work, const q_sum_squares_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, (uint32_t)((a->n + Q_SUM_SQUARES_CHUNK - 1) / Q_SUM_SQUARES_CHUNK), &begin, &end);
    for (uint32_t c = begin; c < end; c++) {
        size_t first = (size_t)c * Q_SUM_SQUARES_CHUNK;
        size_t last = a->n - first < Q_SUM_SQUARES_CHUNK ? a->n : first + Q_SUM_SQUARES_CHUNK;
        vec16 lane = vec16_zero();
        for (size_t i = first; i < last; i += 16) {
            vec16 x = vec16_load_n(a->x + i, (uint32_t)(last - i));
            lane = vec16_fma(x, x, lane);
        }
        a->partial[c] = vec16_sum(lane);
    }
}

static void x86_rescale(const q_work *work, const q_rescale_args *a)
{
    const vec factor = vec_set(a->factor);
    size_t i;
    size_t end;
    q_share_elements(work, a->n, &i, &end);
    for (; i < end; i += VEC) {
        uint32_t n = optim_left(i, end);
        vec_store_n(a->x + i, n, vec_mul(vec_load_n(a->x + i, n), factor));
    }
}

static void x86_average(const q_work *work, const q_average_args *a)
{
    const vec share = vec_set(a->share);
    size_t i;
    size_t end;
    q_share_elements(work, a->n, &i, &end);
    for (; i < end; i += VEC) {
        uint32_t n = optim_left(i, end);
        vec e = vec_load_n(a->average + i, n);
        vec_store_n(a->average + i, n, vec_fma(share, vec_sub(vec_load_n(a->x + i, n), e), e));
    }
}

#endif /* Q_X86_OPTIM_H */
