/* SPDX-License-Identifier: MIT */
/* Gradients against central differences of the loss. */
#include "qorus/gradcheck.h"

#include "trainer.h"

/* The excess of what is no number. */
#define GRADCHECK_FAR 1e300

/* One call. */
typedef struct gradcheck {
    q_session *session;
    const q_step *step;
    const q_gradcheck_config *config;
    double loss; /* with all parameters as they are */
    q_diag *diag;
} gradcheck;

/* One element, moved up and down. */
typedef struct slopes {
    double central;
    double up;
    double down;
    double tolerance;
} slopes;

static double size_of(double x)
{
    return x < 0 ? -x : x;
}

q_gradcheck_config q_gradcheck_defaults(void)
{
    q_gradcheck_config c;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
#ifdef Q_REAL_DOUBLE
    c.eps = 1e-6;
    c.atol = 1e-5;
    c.rtol = 1e-3;
#else
    c.flags = Q_GRADCHECK_BETWEEN;
    c.eps = 0x1p-8;
    c.atol = 1e-3;
    c.rtol = 1e-2;
    c.rounding = 0x1p-21;
#endif
    return c;
}

static q_error_code gradcheck_config_check(const q_gradcheck_config *c, q_diag *diag)
{
    const char *who = "q_gradcheck_config";
    const char *bad;
    if (c == NULL || c->struct_size != sizeof(*c)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, "struct_size", sizeof(*c), c != NULL ? c->struct_size : 0);
    }
    bad = (c->flags & ~(uint32_t)Q_GRADCHECK_BETWEEN) != 0 ? "flags"
          : c->reserved != 0                               ? "reserved"
          : !(c->eps > 0 && c->eps <= 1)                   ? "eps"
          : !(c->atol >= 0)                                ? "atol"
          : !(c->rtol >= 0)                                ? "rtol"
          : !(c->rounding >= 0)                            ? "rounding"
                                                           : NULL;
    return bad == NULL ? Q_OK : q_fail(diag, Q_ERR_INVALID_ARG, who, bad, 0, 0);
}

static q_error_code loss_of(const gradcheck *c, double *loss)
{
    const q_session *s = c->session;
    q_error_code e = q_train_reset_sequences(c->session, c->step, c->diag);
    if (e == Q_OK) {
        e = q_model_forward(c->session, c->step, c->diag);
    }
    if (e != Q_OK) {
        return e;
    }
    *loss = (double)*(const q_real *)s->values[q_plan_output(s->plan, 0)].data;
    return *loss - *loss == 0 ? Q_OK
                              : q_fail(c->diag, Q_ERR_NON_FINITE, s->plan->model->outputs[0].name, "loss", 0, 0);
}

/* The steps are those that the element's type can hold. */
static q_error_code slopes_at(const gradcheck *c, q_real *at, slopes *s)
{
    const q_gradcheck_config *g = c->config;
    q_real keep = *at;
    q_real above = (q_real)((double)keep + g->eps);
    q_real below = (q_real)((double)keep - g->eps);
    double wide = (double)above - (double)below;
    double up = 0;
    double down = 0;
    q_error_code e;
    *at = above;
    e = loss_of(c, &up);
    *at = below;
    if (e == Q_OK) {
        e = loss_of(c, &down);
    }
    *at = keep;
    if (e == Q_OK && !(wide > 0)) {
        e = q_fail(c->diag, Q_ERR_INVALID_ARG, "q_gradcheck_config", "eps: lost beside a parameter", 0, 0);
    }
    if (e != Q_OK) {
        return e;
    }
    s->central = (up - down) / wide;
    s->up = (up - c->loss) / ((double)above - (double)keep);
    s->down = (c->loss - down) / ((double)keep - (double)below);
    s->tolerance = g->atol + g->rtol * size_of(s->central) +
                   g->rounding * (size_of(up) > size_of(down) ? size_of(up) : size_of(down)) / g->eps;
    return Q_OK;
}

/* How far from right, in units of the tolerance. */
static double excess_of(const gradcheck *c, const slopes *s, double g)
{
    double gap = size_of(g - s->central);
    double low = s->up < s->down ? s->up : s->down;
    double high = s->up < s->down ? s->down : s->up;
    if (!(gap - gap == 0)) {
        return GRADCHECK_FAR;
    }
    if ((c->config->flags & Q_GRADCHECK_BETWEEN) != 0) {
        double outside = g < low ? low - g : g > high ? g - high : 0;
        gap = outside < gap ? outside : gap;
    }
    return s->tolerance > 0 ? gap / s->tolerance : gap > 0 ? GRADCHECK_FAR : 0;
}

static void find_node(const q_model *m, q_gradcheck_param *found)
{
    for (uint32_t k = 0; k < m->n.nodes; k++) {
        for (uint32_t i = 0; i < m->nodes[k].n_param; i++) {
            if (m->param_refs[m->nodes[k].first_param + i] == found->param) {
                found->node = found->uses == 0 ? m->nodes[k].name : found->node;
                found->uses++;
            }
        }
    }
}

static q_error_code check_param(const gradcheck *c, q_gradcheck_param *found)
{
    uint32_t samples = c->config->samples;
    const q_tensor *w = &c->session->params[found->param];
    const q_tensor *grad = &c->session->param_grads[found->param];
    uint64_t stride;
    found->elements = (uint64_t)w->ne[0] * w->ne[1] * w->ne[2] * w->ne[3];
    stride = samples == 0 || found->elements <= samples ? 1 : found->elements / samples | 1u;
    for (uint64_t i = 0; i < found->elements; i += stride) {
        double g = (double)((const q_real *)grad->data)[i];
        slopes s;
        double excess;
        q_error_code e = slopes_at(c, (q_real *)w->data + i, &s);
        if (e != Q_OK) {
            return e;
        }
        excess = excess_of(c, &s, g);
        found->failed += !(excess <= 1) ? 1u : 0u;
        found->largest = size_of(s.central) > found->largest ? size_of(s.central) : found->largest;
        if (found->checked++ == 0 || excess > found->excess) {
            found->worst = i;
            found->excess = excess;
            found->backward = g;
            found->difference = s.central;
        }
    }
    return Q_OK;
}

static q_error_code check_params(const gradcheck *c, q_gradcheck_result *result)
{
    const q_model *m = c->session->plan->model;
    for (q_param p = 0; p < m->n.params; p++) {
        q_gradcheck_param found;
        q_error_code e;
        if (!q_train_has_gradient(c->session, p)) {
            continue;
        }
        memset(&found, 0, sizeof(found));
        found.param = p;
        found.name = m->params[p].name;
        find_node(m, &found);
        e = check_param(c, &found);
        if (e != Q_OK) {
            return e;
        }
        if (c->config->seen != NULL) {
            c->config->seen(c->config->user, &found);
        }
        if (result->params++ == 0 || found.excess > result->worst.excess) {
            result->worst = found;
        }
        result->checked += found.checked;
        result->failed += found.failed;
    }
    return Q_OK;
}

/* Gradients of the step, those of all uses of a parameter joined. */
static q_error_code run_backward(const gradcheck *c, q_param any)
{
    q_error_code e = q_model_backward(c->session, false, c->diag);
    q_tensor joined;
    return e == Q_OK ? q_session_param_grad(c->session, any, &joined, c->diag) : e;
}

q_error_code q_gradcheck(q_session *session, const q_step *step, const q_gradcheck_config *config,
                         q_gradcheck_result *result, q_diag *diag)
{
    gradcheck c = {session, step, config, 0, diag};
    q_param first = 0;
    q_error_code e = gradcheck_config_check(config, diag);
    if (e != Q_OK) {
        return e;
    }
    if (session == NULL || step == NULL || result == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_gradcheck",
                      session == NULL ? "session" : step == NULL ? "step" : "result", 1, 0);
    }
    if (session->plan->config.mode != Q_PLAN_TRAIN) {
        return q_fail(diag, Q_ERR_INVALID_STATE, "q_gradcheck", "the plan is not one for training", 1, 0);
    }
    while (first < session->plan->model->n.params && !q_train_has_gradient(session, first)) {
        first++;
    }
    if (first == session->plan->model->n.params) {
        return q_fail(diag, Q_ERR_NOT_FOUND, "q_gradcheck", "trainable parameters", 1, 0);
    }
    memset(result, 0, sizeof(*result));
    e = loss_of(&c, &c.loss);
    if (e == Q_OK) {
        e = run_backward(&c, first);
    }
    result->loss = c.loss;
    return e == Q_OK ? check_params(&c, result) : e;
}
