/* SPDX-License-Identifier: MIT */
/* Stochastic gradient descent, one parameter after the other, shared by all workers. */
#include "../core.h"
#include "qorus/optim.h"

static q_error_code rate_check(double value, const char *field, q_diag *diag)
{
    if (!(value >= 0) || !(value - value == 0)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_sgd_step", field, 0, 0);
    }
    return Q_OK;
}

q_error_code q_sgd_step(q_session *session, double learning_rate, double grad_scale, q_diag *diag)
{
    const q_model *model;
    q_run run;
    q_work work;
    if (session == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_sgd_step", "session", 1, 0);
    }
    if (rate_check(learning_rate, "learning_rate", diag) != Q_OK || rate_check(grad_scale, "grad_scale", diag) != Q_OK) {
        return Q_ERR_INVALID_ARG;
    }
    if (!q_session_trains(session)) {
        return q_fail(diag, Q_ERR_INVALID_STATE, "q_sgd_step", "the plan is not one for training", 1, 0);
    }
    memset(&run, 0, sizeof(run));
    memset(&work, 0, sizeof(work));
    run.learning_rate = learning_rate;
    work.n_workers = 1;
    work.run = &run;
    model = q_session_model(session);
    for (uint32_t i = 0; i < q_model_n_params(model); i++) {
        q_tensor w;
        q_tensor g;
        q_optimizer_args a;
        q_fp_state caller;
        if (q_session_param_grad(session, i, &g, NULL) != Q_OK || q_session_param(session, i, &w, diag) != Q_OK) {
            continue; /* frozen */
        }
        memset(&a, 0, sizeof(a));
        a.n = (size_t)w.ne[0] * w.ne[1] * w.ne[2] * w.ne[3];
        a.w = (q_real *)w.data;
        a.grad = (const q_real *)g.data;
        a.grad_scale = (q_real)grad_scale;
        a.rate = (q_real)learning_rate;
        a.keep = 1;
        caller = q_fp_enter();
        q_session_context(session)->backend->kernels.sgd(&work, &a);
        q_fp_leave(caller);
    }
    return Q_OK;
}
