/* SPDX-License-Identifier: MIT */
/*
 * The audit of an update: what a gradient looks like and how far it moves the weights. Updates go element by element, so in
 * pieces, each compared with a copy of what it was, they make the bits that they make at once.
 */
#include "trainer.h"

enum { AUDIT_PIECE = 32 };

static bool audit_is_finite(q_real x)
{
    return x - x == 0;
}

static double audit_norm(const q_real *x, const q_real *minus, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double v = (double)x[i] - (minus != NULL ? (double)minus[i] : 0);
        sum = sum + (v - v == 0 ? v * v : 0);
    }
    return sum;
}

static void audit_gradient(const q_trainer *t, const trained *x, q_audit *a)
{
    for (size_t i = 0; i < x->n; i++) {
        double v = (double)x->grad[i] / t->count;
        double magnitude = v < 0 ? -v : v;
        a->zeros += v == 0 ? 1u : 0u;
        a->non_finite += audit_is_finite(x->grad[i]) ? 0u : 1u;
        a->max = audit_is_finite(x->grad[i]) && magnitude > a->max ? magnitude : a->max;
    }
    a->norm = q_sqrt_f64(audit_norm(x->grad, NULL, x->n)) / t->count;
    a->weight_norm = q_sqrt_f64(audit_norm(x->w, NULL, x->n));
}

/* The update; returns how far it went. */
static double audit_update(const q_trainer *t, const q_work *work, const trained *x)
{
    double sum = 0;
    for (size_t at = 0; at < x->n; at += AUDIT_PIECE) {
        size_t n = x->n - at < AUDIT_PIECE ? x->n - at : AUDIT_PIECE;
        q_update u = q_trainer_part(t, x, at, n);
        q_real before[AUDIT_PIECE];
        memcpy(before, x->w + at, n * sizeof(q_real));
        t->config.optimizer.cls->update(&t->session->context.backend->kernels, work, &u);
        sum = sum + audit_norm(x->w + at, before, n);
    }
    return q_sqrt_f64(sum);
}

void q_trainer_audited(const q_trainer *t, const q_work *work)
{
    q_work alone = *work;
    alone.n_workers = 1;
    for (uint32_t i = 0; i < t->n_trained; i++) {
        const trained *x = &t->list[i];
        q_audit a;
        memset(&a, 0, sizeof(a));
        a.name = x->name;
        a.param = x->param;
        a.group = x->group;
        a.n = x->n;
        audit_gradient(t, x, &a);
        a.update_norm = t->bad == NULL ? audit_update(t, &alone, x) : 0;
        t->audit(t->audit_user, &a);
    }
}
