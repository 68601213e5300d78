/* SPDX-License-Identifier: MIT */
/* session.h: what a session consists of; private to core/model. */
#ifndef QORUS_CORE_MODEL_SESSION_H
#define QORUS_CORE_MODEL_SESSION_H

#include "barrier.h"
#include "plan.h"

struct q_session {
    const q_plan *plan;
    q_context context;
    q_session_config config;
    uint32_t n_workers; /* asked of the port */
    uint32_t granted;   /* in the last region */
    q_run run;
    uint32_t position;
    uint32_t last_row;  /* selection of one row, or the window of Q_SELECT_ALL starts here */
    uint64_t deadline;
    q_layer *layers;    /* [n_steps] */
    q_tensor *values;   /* [n_values] */
    q_tensor *grads;    /* [n_values], training only */
    q_tensor *params;   /* [model params] */
    q_tensor *param_grads; /* [model params], training only */
    uint32_t *selected; /* [max.selected] */
    uint64_t *ticks;    /* unused without an observer */
    uint8_t *workspaces;
    uint8_t *base[Q_REGION_KINDS][Q_MAX_TAGS];
    bool accumulate;
    bool forward_done;
    bool saved;        /* what the last forward left for backward is still there */
    bool state_lost;   /* a step failed after a state that cannot go back had moved on */
    bool busy;         /* a step runs: its callbacks may not start another or move the position */

    /* of the region that runs now */
    uint32_t first_step;
    uint32_t end_step;
    bool backward;
    q_barrier barrier;
    q_error_code error;
    uint32_t error_step;
    q_diag *diag;
};

/* Runs steps [first, end) forward, or backward from end - 1 down to first, on all workers. */
q_error_code q_session_run_steps(q_session *s, uint32_t first, uint32_t end, bool backward, q_diag *diag);

q_error_code q_session_config_check(const q_session_config *config, q_diag *diag);

/* Every state as a fresh session has it. */
void q_session_zero_states(const q_session *s);

/* Gradients of parameters start from zero. */
void q_session_zero_grads(const q_session *s);

#endif /* QORUS_CORE_MODEL_SESSION_H */
