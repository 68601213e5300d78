/* SPDX-License-Identifier: MIT */
/*
 * loss.h: losses of pairs and cross-entropy, row by row, and their gradients; mean squared error.
 */
#ifndef Q_X86_LOSS_H
#define Q_X86_LOSS_H

/* -- pairs ------------------------------------------------------------------------------------- */

typedef struct pair_slopes {
    vec loss;
    vec dx;
    vec dt;
} pair_slopes;

static inline vec log_1_plus(vec e)
{
    vec u = vec_add(vec_set(1.0f), e);
    return vec_add(vec_log(u), vec_div(vec_sub(e, vec_sub(u, vec_set(1.0f))), u));
}

static inline pair_slopes huber_of(vec d, float width)
{
    const vec half = vec_set(0.5f);
    const vec delta = vec_set(width);
    vec size = vec_abs(d);
    vec far = vec_mul(delta, vec_sub(size, vec_mul(delta, half)));
    pair_slopes s;
    s.loss = vec_choose(vec_above(size, delta), far, vec_mul(vec_mul(d, half), d));
    s.dx = vec_clamp(d, -width, width);
    s.dt = vec_negate(s.dx);
    return s;
}

static inline pair_slopes bce_of(vec x, vec t, vec w)
{
    const vec one = vec_set(1.0f);
    vec_lanes negative = vec_below(x, vec_zero());
    vec more = vec_sub(w, one);
    vec wt = vec_mul(w, t);
    vec k = vec_fma(more, t, one);
    vec rest = log_1_plus(vec_exp(vec_choose(negative, x, vec_negate(x))));
    pair_slopes s;
    s.loss = vec_fma(vec_choose(negative, vec_negate(wt), vec_sub(one, t)), x, vec_mul(k, rest));
    s.dx = vec_fms(k, vec_sigmoid(x), wt);
    s.dt = vec_fma(vec_choose(negative, vec_negate(w), vec_set(-1.0f)), x, vec_mul(more, rest));
    return s;
}

/* d (+)= slope * scale. */
static inline void pair_put(float *at, uint32_t n, vec slope, float scale, uint32_t accumulate)
{
    vec v = vec_mul(slope, vec_set(scale));
    vec_store_n(at, n, accumulate != 0 ? vec_add(vec_load_n(at, n), v) : v);
}

/* A row of losses of one kind, a constant. */
X86_INLINE float pair_row(const uint32_t kind, const q_pair_loss_args *a, const float *x, const float *t, float *dx,
                          float *dt)
{
    vec lane[VEC16_PARTS];
    X86_UNROLL
    for (uint32_t h = 0; h < VEC16_PARTS; h++) {
        lane[h] = vec_zero();
    }
    for (uint32_t i = 0; i < a->dim; i += 16) {
        X86_UNROLL
        for (uint32_t h = 0; h < VEC16_PARTS; h++) {
            const uint32_t j = i + h * VEC;
            const uint32_t n = j < a->dim ? a->dim - j : 0;
            vec v = vec_load_n(x + j, n);
            vec target = vec_load_n(t + j, n);
            vec d = vec_sub(v, target);
            vec twice = vec_add(d, d);
            pair_slopes s = {d, twice, vec_negate(twice)};
            if (kind == Q_LOSS_HUBER) {
                s = huber_of(d, a->delta);
            } else if (kind == Q_LOSS_BCE) {
                s = bce_of(v, target, a->weight != NULL ? vec_load_n(a->weight + j, n) : vec_set(1.0f));
            }
            vec sum = kind == Q_LOSS_MSE ? vec_fma(d, d, lane[h]) : vec_add(lane[h], s.loss);
            lane[h] = vec_choose(vec_first(n), sum, lane[h]);
            if (dx != NULL) {
                pair_put(dx + j, n, s.dx, a->scale, a->accumulate & 1u);
            }
            if (dt != NULL) {
                pair_put(dt + j, n, s.dt, a->scale, a->accumulate & 2u);
            }
        }
    }
    return vec16_sum(vec16_join(lane));
}

X86_INLINE void pair_rows(const uint32_t kind, const q_work *work, const q_pair_loss_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        float sum = pair_row(kind, a, x86_row(a->x, a->x_stride, r), x86_row(a->t, a->t_stride, r),
                             a->dx != NULL ? x86_row_out(a->dx, a->dx_stride, r) : NULL,
                             a->dt != NULL ? x86_row_out(a->dt, a->dt_stride, r) : NULL);
        if (a->loss != NULL) {
            a->loss[r] = sum;
        }
    }
}

static void x86_pair_loss(const q_work *work, const q_pair_loss_args *a)
{
    switch (a->kind) {
    case Q_LOSS_MSE:
        pair_rows(Q_LOSS_MSE, work, a);
        break;
    case Q_LOSS_HUBER:
        pair_rows(Q_LOSS_HUBER, work, a);
        break;
    default:
        pair_rows(Q_LOSS_BCE, work, a);
        break;
    }
}

/* Differences of n <= 16 values, and their gradient. */
static inline vec16 mse_difference(const float *x, const float *target, float *grad, uint32_t i, uint32_t n)
{
    vec16 d = vec16_sub(vec16_load_n(x + i, n), vec16_load_n(target + i, n));
    if (grad != NULL) {
        vec16_store_n(grad + i, n, vec16_add(d, d));
    }
    return d;
}

static float mse_row(const float *x, const float *target, float *grad, uint32_t dim)
{
    vec16 lane = vec16_zero();
    uint32_t i = 0;
    for (; i + 16u <= dim; i += 16) {
        vec16 d = mse_difference(x, target, grad, i, 16);
        lane = vec16_fma(d, d, lane);
    }
    if (i < dim) {
        vec16 d = mse_difference(x, target, grad, i, dim - i);
        lane = vec16_fma(d, d, lane);
    }
    return vec16_sum(lane);
}

/* Rows ascending, by worker 0. */
static void x86_mse(const q_work *work, const q_mse_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    float sum = 0;
    if (work->worker != 0) {
        return;
    }
    for (uint32_t r = 0; r < rows; r++) {
        float *grad = a->grad != NULL ? x86_row_out(a->grad, a->grad_stride, r) : NULL;
        sum = sum + mse_row(x86_row(a->x, a->x_stride, r), x86_row(a->target, a->target_stride, r), grad, a->dim);
    }
    a->loss[0] = sum * (1 / ((float)rows * (float)a->dim));
}

/* -- cross-entropy ----------------------------------------------------------------------------- */

static inline float class_weight(const q_cross_entropy_args *a, uint32_t i)
{
    return a->weight != NULL ? a->weight[i] : 1;
}

/* Weights of n <= 16 classes from i. */
static inline vec16 class_weights(const q_cross_entropy_args *a, uint32_t i, uint32_t n)
{
    return a->weight != NULL ? vec16_load_n(a->weight + i, n) : vec16_set(1.0f);
}

/* Largest logit, NaN left out; of zeros the first, whose sign is kept. */
static float logit_top(const float *x, uint32_t classes)
{
    const vec low = vec_set(q_float_u32(0xff800000u));
    vec m = low;
    uint32_t i = 0;
    for (; i + VEC <= classes; i += VEC) {
        m = vec_max(vec_load(x + i), m);
    }
    if (i < classes) {
        m = vec_max(vec_choose(vec_first(classes - i), vec_load_n(x + i, classes - i), low), m);
    }
    float top = vec_top(m);
    for (i = 0; top == 0 && i < classes; i++) {
        if (x[i] == 0) {
            return x[i];
        }
    }
    return top;
}

static float log_sum(const float *x, uint32_t classes, float top_value)
{
    const vec16 top = vec16_set(top_value);
    vec16 lane = vec16_zero();
    uint32_t i = 0;
    for (; i + 16u <= classes; i += 16) {
        lane = vec16_add(lane, vec16_exp(vec16_sub(vec16_load(x + i), top)));
    }
    if (i < classes) {
        vec16 e = vec16_exp(vec16_sub(vec16_load_n(x + i, classes - i), top));
        lane = vec16_first(vec16_add(lane, e), classes - i, lane);
    }
    return q_log(vec16_sum(lane));
}

static float smooth_sum(const q_cross_entropy_args *a, const float *x, float top, float total)
{
    vec16 lane = vec16_zero();
    for (uint32_t i = 0; i < a->classes; i += 16) {
        uint32_t n = a->classes - i;
        vec16 u = vec16_sub(vec16_set(total), vec16_sub(vec16_load_n(x + i, n), vec16_set(top)));
        lane = vec16_first(vec16_fma(class_weights(a, i, n), u, lane), n, lane);
    }
    return vec16_sum(lane);
}

static void x86_cross_entropy(const q_work *work, const q_cross_entropy_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const float *x = x86_row(a->x, a->x_stride, r);
        float *lse = a->lse + 2 * (size_t)r;
        float top = logit_top(x, a->classes);
        float total = log_sum(x, a->classes, top);
        lse[0] = top;
        lse[1] = total;
        a->loss[r] = a->count[r] = 0;
        if (a->target[r] != a->ignore) {
            uint32_t y = (uint32_t)a->target[r];
            float w = class_weight(a, y);
            float own = w * (total - (x[y] - top));
            float share = a->smoothing / (float)a->classes;
            a->count[r] = w;
            a->loss[r] = a->smoothing > 0 ? q_fma(1 - a->smoothing, own, share * smooth_sum(a, x, top, total)) : own;
        }
    }
}

static float weight_sum(const q_cross_entropy_args *a)
{
    vec16 lane = vec16_zero();
    for (uint32_t i = 0; i < a->classes && a->weight != NULL; i += 16) {
        lane = vec16_add(lane, vec16_load_n(a->weight + i, a->classes - i));
    }
    return a->weight != NULL ? vec16_sum(lane) : (float)a->classes;
}

/* d of n <= VEC classes from i, none of them the target. */
static inline vec logit_slope(const q_cross_entropy_args *a, const float *x, const float *lse, uint32_t i, uint32_t n,
                              vec share, vec q)
{
    vec p = vec_exp(vec_sub(vec_sub(vec_load_n(x + i, n), vec_set(lse[0])), vec_set(lse[1])));
    vec h = a->weight != NULL ? vec_mul(share, vec_load_n(a->weight + i, n)) : share;
    return vec_mul(vec_fms(p, q, h), vec_set(a->scale));
}

/* The target's own slope needs what its place held before the others are stored: dx may be x. */
static void cross_entropy_grad_row(const q_cross_entropy_args *a, uint32_t r, float all, float *dx)
{
    const float *x = x86_row(a->x, a->x_stride, r);
    const float *lse = a->lse + 2 * (size_t)r;
    uint32_t y = (uint32_t)a->target[r];
    float share = a->smoothing / (float)a->classes;
    float own = (1 - a->smoothing) * class_weight(a, y);
    float q = own + share * all;
    float p = q_exp((x[y] - lse[0]) - lse[1]);
    float target = q_fma(p, q, -(share * class_weight(a, y) + own)) * a->scale;
    target = a->accumulate != 0 ? dx[y] + target : target;
    for (uint32_t i = 0; i < a->classes; i += VEC) {
        uint32_t n = a->classes - i;
        vec d = logit_slope(a, x, lse, i, n, vec_set(share), vec_set(q));
        vec_store_n(dx + i, n, a->accumulate != 0 ? vec_add(vec_load_n(dx + i, n), d) : d);
    }
    dx[y] = target;
}

static void x86_cross_entropy_grad(const q_work *work, const q_cross_entropy_args *a)
{
    float all = weight_sum(a);
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        float *dx = x86_row_out(a->dx, a->dx_stride, r);
        if (a->target[r] != a->ignore) {
            cross_entropy_grad_row(a, r, all, dx);
        } else if (a->accumulate == 0) {
            memset(dx, 0, a->classes * sizeof(float));
        }
    }
}

#endif /* Q_X86_LOSS_H */
