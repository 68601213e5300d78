/* SPDX-License-Identifier: MIT */
/* The part of a sequence's state that matters at a position, and its way into another sequence. */
#include "snapshot_inner.h"

q_error_code q_session_extent(const q_session *s, uint32_t k, uint32_t position, q_state_extent *x, q_diag *diag)
{
    const plan_step *step = &s->plan->steps[k];
    memset(x, 0, sizeof(*x));
    if (step->state_stride == 0) {
        return Q_OK;
    }
    if (step->cls->extent == NULL) {
        x->strip = x->used = step->state_stride;
        x->n = 1;
        return Q_OK;
    }
    step->cls->extent(&s->layers[k], position, x);
    if (x->used > x->strip || (x->strip != 0 && x->n > step->state_stride / x->strip)) {
        return q_fail(diag, Q_ERR_INVALID_SIZE, step->name, "extent", step->state_stride, x->used);
    }
    return Q_OK;
}

q_error_code q_sequence_copy(q_session *session, uint32_t to, uint32_t from, uint32_t n, q_diag *diag)
{
    const char *who = "q_sequence_copy";
    q_state_extent x;
    q_error_code e = q_session_check_back(session, from, n, who, diag);
    if (e == Q_OK) {
        e = q_session_check_back(session, to, 0, who, diag);
    }
    if (e == Q_OK) {
        e = q_snapshot_host_states(session, diag);
    }
    for (uint32_t k = 0; e == Q_OK && k < session->plan->n_steps; k++) {
        e = q_session_extent(session, k, n, &x, diag);
    }
    if (e != Q_OK || to == from || n == 0) {
        return e != Q_OK ? e : q_sequence_rewind(session, to, n, diag);
    }
    for (uint32_t k = 0; k < session->plan->n_steps; k++) {
        (void)q_session_extent(session, k, n, &x, NULL);
        for (uint32_t i = 0; i < x.n; i++) {
            memcpy(q_session_state(session, k, to) + i * x.strip, q_session_state(session, k, from) + i * x.strip,
                   x.used);
        }
    }
    session->sequences[to].position = n;
    session->sequences[to].lost = false;
    return Q_OK;
}
