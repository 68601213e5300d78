/* SPDX-License-Identifier: MIT */
/*
 * One step of the optimizer in one parallel region: gradients of several uses joined, the norm of them all, weights scaled
 * back, the update, the average. Sums of squares run over chunks of 1024 elements, chunks and parameters one after the
 * other, so that the number of workers changes no bit.
 */
#include "trainer.h"

static double squares(const q_trainer *t, const trained *x)
{
    double sum = 0;
    for (uint32_t c = 0; c < x->chunks; c++) {
        sum = sum + (double)t->partial[x->partial + c];
    }
    return sum;
}

static void sum_squares_of(const q_trainer *t, const q_work *work, bool weights)
{
    const q_kernels *kernels = &t->session->context.backend->kernels;
    for (uint32_t i = 0; i < t->n_trained; i++) {
        q_sum_squares_args a;
        a.n = t->list[i].n;
        a.x = weights ? t->list[i].w : t->list[i].grad;
        a.partial = t->partial + t->list[i].partial;
        kernels->sum_squares(work, &a);
    }
}

/* Worker 0: the norm of the mean gradient, and what clipping leaves of it. PyTorch's rule: norm + 1e-6 below. */
static void judge_gradient(q_trainer *t)
{
    double sum = 0;
    double share = 1;
    for (uint32_t i = 0; i < t->n_trained; i++) {
        double own = squares(t, &t->list[i]);
        if (t->bad == NULL && !(own - own == 0)) {
            t->bad = t->list[i].name;
        }
        sum = sum + own;
    }
    t->report.gradient_norm = q_sqrt_f64(sum) / t->count;
    if (t->config.clip_norm > 0 && t->report.gradient_norm > t->config.clip_norm) {
        t->report.clipped = 1;
        share = t->config.clip_norm / (t->report.gradient_norm + 1e-6);
    }
    t->grad_scale = share / t->count;
}

/* Worker 0: which weights have grown past the threshold. */
static void judge_weights(q_trainer *t)
{
    for (uint32_t i = 0; i < t->n_trained; i++) {
        double norm = q_sqrt_f64(squares(t, &t->list[i]));
        bool over = norm > t->config.weight_norm;
        t->list[i].factor = over ? t->config.weight_norm / norm : 1;
        t->report.rescaled += over ? 1u : 0u;
    }
}

static void rescale_weights(const q_trainer *t, const q_work *work)
{
    for (uint32_t i = 0; i < t->n_trained; i++) {
        if (t->list[i].factor != 1) {
            q_rescale_args a;
            a.n = t->list[i].n;
            a.x = t->list[i].w;
            a.factor = (q_real)t->list[i].factor;
            t->session->context.backend->kernels.rescale(work, &a);
        }
    }
}

q_update q_trainer_part(const q_trainer *t, const trained *x, size_t first, size_t n)
{
    q_update u;
    memset(&u, 0, sizeof(u));
    u.n = n;
    u.w = x->w + first;
    u.grad = x->grad + first;
    for (uint32_t i = 0; i < Q_MAX_MOMENTS; i++) {
        u.moment[i] = x->moment[i] != NULL ? x->moment[i] + first : NULL;
    }
    u.learning_rate = t->report.learning_rate * t->groups[x->group].rate_scale;
    u.weight_decay = t->config.optimizer.weight_decay * t->groups[x->group].decay_scale;
    u.grad_scale = t->grad_scale;
    u.limit = t->config.clip_value;
    u.step = t->steps;
    u.config = &t->config.optimizer;
    return u;
}

static void update_weights(const q_trainer *t, const q_work *work)
{
    for (uint32_t i = 0; i < t->n_trained && t->audit == NULL; i++) {
        q_update u = q_trainer_part(t, &t->list[i], 0, t->list[i].n);
        t->config.optimizer.cls->update(&t->session->context.backend->kernels, work, &u);
    }
    if (t->audit != NULL && work->worker == 0) {
        q_trainer_audited(t, work);
    }
}

static void average_weights(const q_trainer *t, const q_work *work)
{
    uint32_t own = t->config.optimizer.cls->moments(&t->config.optimizer);
    for (uint32_t i = 0; i < t->n_trained; i++) {
        q_average_args a;
        a.n = t->list[i].n;
        a.x = t->list[i].w;
        a.average = t->list[i].moment[own];
        a.share = (q_real)(1 - t->config.average);
        t->session->context.backend->kernels.average(work, &a);
    }
}

static void apply_worker(void *arg, const q_work *work)
{
    q_trainer *t = (q_trainer *)arg;
    q_session *s = t->session;
    q_session_join_grads(s, work);
    q_session_meet(s, work);
    sum_squares_of(t, work, false);
    q_session_meet(s, work);
    if (work->worker == 0) {
        judge_gradient(t);
    }
    q_session_meet(s, work);
    if (t->bad != NULL) {
        if (t->audit != NULL && work->worker == 0) {
            q_trainer_audited(t, work);
        }
        return;
    }
    if (t->config.weight_norm > 0) {
        sum_squares_of(t, work, true);
        q_session_meet(s, work);
        if (work->worker == 0) {
            judge_weights(t);
        }
        q_session_meet(s, work);
        rescale_weights(t, work);
        q_session_meet(s, work);
    }
    update_weights(t, work);
    if (t->config.average != 0) {
        q_session_meet(s, work);
        average_weights(t, work);
    }
}

bool q_trainer_apply(q_trainer *t)
{
    uint64_t items = 0;
    t->bad = NULL;
    for (uint32_t i = 0; i < t->n_trained; i++) {
        items += t->list[i].n;
    }
    q_session_parallel(t->session, items, apply_worker, t);
    t->session->joined = true;
    return t->bad == NULL;
}
