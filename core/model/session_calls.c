/* SPDX-License-Identifier: MIT */
/* What can be asked of a session between steps, and told to it. */
#include "session.h"

q_error_code q_session_config_check(const q_session_config *config, q_diag *diag)
{
    if (config->struct_size != sizeof(*config)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_session_config", "struct_size", sizeof(*config),
                      config->struct_size);
    }
    if ((config->flags & ~(uint32_t)Q_SESSION_CHECK_FINITE) != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_session_config", "flags", 0, config->flags);
    }
    return Q_OK;
}

q_error_code q_session_configure(q_session *session, const q_session_config *config, q_diag *diag)
{
    if (session == NULL || config == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_session_configure", session == NULL ? "session" : "config", 1, 0);
    }
    if (q_session_config_check(config, diag) != Q_OK) {
        return Q_ERR_INVALID_ARG;
    }
    session->config = *config;
    return Q_OK;
}

q_error_code q_session_param(const q_session *session, q_param param, q_tensor *out, q_diag *diag)
{
    if (session == NULL || out == NULL || param >= session->plan->model->n.params) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_session_param", session == NULL ? "session" : out == NULL ? "out" : "param",
                      session != NULL ? session->plan->model->n.params : 1, param);
    }
    *out = session->params[param];
    return Q_OK;
}

q_error_code q_session_param_grad(q_session *session, q_param param, q_tensor *out, q_diag *diag)
{
    q_work alone;
    if (session == NULL || out == NULL || param >= session->plan->model->n.params) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_session_param_grad", "param",
                      session != NULL ? session->plan->model->n.params : 1, param);
    }
    if (session->param_grads == NULL || session->plan->params[param].grad.bytes == 0) {
        return q_fail(diag, Q_ERR_NOT_FOUND, session->plan->model->params[param].name, "gradient", 1, 0);
    }
    memset(&alone, 0, sizeof(alone));
    alone.n_workers = 1;
    q_session_join_grads(session, &alone);
    session->joined = true;
    *out = session->param_grads[param];
    return Q_OK;
}

q_error_code q_session_param_moment(const q_session *session, q_param param, uint32_t i, q_tensor *out, q_diag *diag)
{
    const plan_piece *moment;
    if (session == NULL || out == NULL || param >= session->plan->model->n.params) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_session_param_moment", "param",
                      session != NULL ? session->plan->model->n.params : 1, param);
    }
    moment = &session->plan->params[param].moment;
    if (moment->bytes == 0 || i >= session->plan->config.moments) {
        return q_fail(diag, Q_ERR_NOT_FOUND, session->plan->model->params[param].name, "moment",
                      session->plan->config.moments, i);
    }
    *out = session->params[param];
    out->data = session->base[Q_REGION_TRAIN][moment->tag] + moment->offset +
                moment->bytes / session->plan->config.moments * i;
    return Q_OK;
}

q_error_code q_session_output(const q_session *session, uint32_t i, q_tensor *out, q_diag *diag)
{
    const q_model *m;
    const plan_value *v;
    if (session == NULL || out == NULL || i >= session->plan->model->n.outputs) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_session_output", session == NULL ? "session" : out == NULL ? "out" : "i",
                      session != NULL ? session->plan->model->n.outputs : 1, i);
    }
    if (!session->forward_done) {
        return q_fail(diag, Q_ERR_INVALID_STATE, "q_session_output", "no step has run", 1, 0);
    }
    m = session->plan->model;
    v = &session->plan->values[m->outputs[i].value];
    if (v->producer != Q_NONE && session->plan->steps[v->producer].tail && session->run.n_selected == 0 &&
        q_plan_rows(&v->type).sym != Q_SYM_SELECTED) {
        return q_fail(diag, Q_ERR_INVALID_STATE, "q_session_output", "no row was selected", 1, 0);
    }
    *out = session->values[q_plan_output(session->plan, i)];
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        out->ne[d] = q_count_value(&session->run, v->type.dim[d]);
    }
    /* rows lie close together, however many a step has */
    out->nb[2] = v->type.dim[3].sym == Q_SYM_ONE ? out->nb[2] : out->nb[3] * out->ne[3];
    out->nb[1] = out->nb[2] * out->ne[2];
    out->nb[0] = out->nb[1] * out->ne[1];
    return Q_OK;
}

const q_plan *q_session_plan(const q_session *session)
{
    return session->plan;
}

const q_model *q_session_model(const q_session *session)
{
    return session->plan->model;
}

const q_context *q_session_context(const q_session *session)
{
    return &session->context;
}

bool q_session_trains(const q_session *session)
{
    return session->plan->config.mode == Q_PLAN_TRAIN;
}

uint32_t q_session_workers(const q_session *session)
{
    return session->granted;
}
