/* SPDX-License-Identifier: MIT */
/* devices_inner.h: the session's half of the hooks, and what both halves look up. */
#ifndef QORUS_CORE_MODEL_DEVICES_INNER_H
#define QORUS_CORE_MODEL_DEVICES_INNER_H

#include "session.h"

static inline plan_piece *q_plan_prepared(const q_plan *plan, uint8_t place, uint32_t param)
{
    return &plan->prepared[(size_t)(place - 1u) * plan->model->n.params + param];
}

/* Input i of a step on a device, as it lies in host memory (ids that came from there): it lives on with the step. */
static inline uint32_t q_plan_host_side(const q_plan *plan, const plan_step *s, uint32_t i)
{
    const plan_value *v = &plan->values[s->in[i]];
    if (s->place == 0 || s->cls->id == Q_LAYER_TRANSFER || v->type.dtype != Q_I32 || v->producer == Q_NONE ||
        plan->steps[v->producer].cls->id != Q_LAYER_TRANSFER) {
        return Q_NONE;
    }
    return plan->steps[v->producer].in[0];
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
void q_devices_begin(q_session *s);
void q_devices_enter(const q_session *s, uint32_t step, q_work *w);
void q_devices_finish(q_session *s);
q_error_code q_devices_settle(const q_session *s, uint32_t step);

#endif /* QORUS_CORE_MODEL_DEVICES_INNER_H */
