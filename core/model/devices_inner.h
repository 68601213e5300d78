/* SPDX-License-Identifier: MIT */
/* devices_inner.h: the session's half of the hooks, and what both halves look up. */
#ifndef QORUS_CORE_MODEL_DEVICES_INNER_H
#define QORUS_CORE_MODEL_DEVICES_INNER_H

#include "session.h"

static inline plan_piece *q_plan_prepared(const q_plan *plan, uint8_t place, uint32_t param)
{
    return &plan->prepared[(size_t)(place - 1u) * plan->model->n.params + param];
}

/* The device of a step, place != 0. */
static inline const q_backend *q_step_backend(const q_session *s, uint32_t step)
{
    return s->plan->config.devices->backend[s->plan->steps[step].place - 1];
}

/* As in devices.h. */
void q_devices_bind(q_session *s);
q_error_code q_devices_fill(q_session *s, q_diag *diag);
q_error_code q_devices_zero_state(const q_session *s, uint32_t step, uint32_t sequence);
q_error_code q_devices_begin(const q_session *s, uint32_t *step);
void q_devices_enter(const q_session *s, uint32_t step, q_work *w);
q_error_code q_devices_finish(const q_session *s, uint32_t *step);
q_error_code q_devices_look(const q_session *s, uint32_t step, const q_tensor *t, uint32_t rows, bool *finite);

#endif /* QORUS_CORE_MODEL_DEVICES_INNER_H */
