/* SPDX-License-Identifier: MIT */
/* Devices of a session: filling their memory, and what worker 0 does around their kernels. */
#include "devices_inner.h"

/* ---- Binding ---------------------------------------------------------------------------------------------- */

static uint8_t *device_piece(const q_session *s, uint32_t kind, const plan_piece *piece)
{
    return s->base[kind][piece->tag] + piece->offset;
}

static void bind_prepared(q_session *s, uint8_t place)
{
    for (uint32_t p = 0; p < s->plan->model->n.params; p++) {
        const plan_piece *piece = q_plan_prepared(s->plan, place, p);
        q_tensor *t = &s->prepared[(size_t)(place - 1u) * s->plan->model->n.params + p];
        *t = s->params[p];
        t->device = (uint8_t)s->plan->config.devices->backend[place - 1]->device;
        t->scales = NULL;
        t->data = piece->bytes == 0 ? NULL : device_piece(s, Q_REGION_PREPARED, piece);
    }
}

void q_devices_bind(q_session *s)
{
    const q_plan *plan = s->plan;
    for (uint8_t place = 1; place <= plan->config.devices->n; place++) {
        bind_prepared(s, place);
    }
    for (uint32_t k = 0; k < plan->n_steps; k++) {
        const plan_step *step = &plan->steps[k];
        q_layer *layer = &s->layers[k];
        if (step->place == 0) {
            continue;
        }
        layer->backend = q_step_backend(s, k);
        layer->kernels = &layer->backend->kernels;
        if (step->prepared.bytes != 0) {
            layer->constants = device_piece(s, Q_REGION_PREPARED, &step->prepared);
        }
        for (uint32_t i = 0; i < step->n_param; i++) {
            layer->param[i] = &s->prepared[(size_t)(step->place - 1u) * plan->model->n.params + step->params[i]];
        }
        for (uint32_t i = 0; i < step->n_in; i++) {
            uint32_t host = q_plan_host_side(plan, step, i);
            layer->host_in[i] = host != Q_NONE ? &s->values[host] : NULL;
        }
    }
}

/* The last step of a device, or 0. */
static uint32_t last_step_of(const q_plan *plan, uint32_t place)
{
    for (uint32_t k = plan->n_steps; k-- > 0;) {
        if (plan->steps[k].place == place) {
            return k;
        }
    }
    return 0;
}

/* Every device is waited for, whatever happened on another. */
static q_error_code finish_all(const q_session *s, uint32_t *step)
{
    const q_devices *d = s->plan->config.devices;
    q_error_code first = Q_OK;
    for (uint32_t i = 0; i < d->n; i++) {
        q_error_code e = d->backend[i]->finish(d->backend[i]->state);
        if (e != Q_OK && first == Q_OK) {
            first = e;
            *step = last_step_of(s->plan, i + 1);
        }
    }
    return first;
}

/* ---- Filling ---------------------------------------------------------------------------------------------- */

static q_error_code fill_prepared(const q_session *s, uint8_t place, q_diag *diag)
{
    const q_backend *b = s->plan->config.devices->backend[place - 1];
    for (uint32_t p = 0; p < s->plan->model->n.params; p++) {
        const plan_piece *piece = q_plan_prepared(s->plan, place, p);
        const model_param *param = &s->plan->model->params[p];
        q_error_code e = Q_OK;
        if (piece->bytes != 0) {
            e = b->prepare(b->state, device_piece(s, Q_REGION_PREPARED, piece), &s->params[p], q_view_bytes(param));
        }
        if (e != Q_OK) {
            return q_fail(diag, e, param->name, "prepare", 0, 0);
        }
    }
    return Q_OK;
}

q_error_code q_devices_fill(q_session *s, q_diag *diag)
{
    const q_plan *plan = s->plan;
    uint32_t at = 0;
    q_error_code e = Q_OK;
    for (uint8_t place = 1; e == Q_OK && place <= plan->config.devices->n; place++) {
        e = fill_prepared(s, place, diag);
    }
    for (uint32_t k = 0; e == Q_OK && k < plan->n_steps; k++) {
        const plan_step *step = &plan->steps[k];
        if (step->prepared.bytes != 0) {
            const q_backend *b = q_step_backend(s, k);
            e = b->upload(b->state, device_piece(s, Q_REGION_PREPARED, &step->prepared),
                          s->constants + step->constants.offset, step->constants.bytes);
            if (e != Q_OK) {
                return q_fail(diag, e, step->name, "constants", 0, 0);
            }
        }
    }
    if (e == Q_OK) {
        e = finish_all(s, &at);
        if (e != Q_OK) {
            return q_fail(diag, e, plan->steps[at].name, "finish", 0, 0);
        }
    }
    return e;
}

q_error_code q_devices_zero_state(const q_session *s, uint32_t step, uint32_t sequence)
{
    const q_backend *b = q_step_backend(s, step);
    return b->fill_zero(b->state, q_session_state(s, step, sequence), s->layers[step].state_stride);
}

/* ---- Running ---------------------------------------------------------------------------------------------- */

static void record_device_error(q_session *s, q_error_code e, uint32_t step, const char *field)
{
    if (e != Q_OK && q_barrier_trouble(&s->barrier)) {
        s->error = e;
        s->error_step = step;
        s->error_field = field;
    }
}

void q_devices_begin(q_session *s)
{
    const q_devices *d = s->plan->config.devices;
    for (uint32_t i = 0; i < d->n; i++) {
        record_device_error(s, d->backend[i]->begin(d->backend[i]->state, &s->run), last_step_of(s->plan, i + 1), "begin");
    }
}

void q_devices_enter(const q_session *s, uint32_t step, q_work *w)
{
    const q_backend *b = q_step_backend(s, step);
    uint32_t i = s->plan->steps[step].place - 1u;
    w->n_workers = 1;
    w->state = b->state;
    w->workspace_size = b->workspace_size;
    w->workspace = b->workspace_size == 0 ? NULL
                                          : s->base[Q_REGION_SCRATCH][Q_MAX_TAGS + i] + s->plan->device_workspace[i];
}

void q_devices_finish(q_session *s)
{
    uint32_t step = 0;
    q_error_code e = finish_all(s, &step);
    record_device_error(s, e, step, "finish");
}

/* The first `rows` rows of a tensor on a device, piece by piece. */
static q_error_code look_at_rows(const q_backend *b, const q_tensor *t, uint32_t rows)
{
    q_real part[32];
    uint32_t at = 0;
    for (uint32_t r = 0; r < rows; r = at == 0 ? r + 1 : r) {
        uint32_t n = t->ne[3] - at < 32 ? t->ne[3] - at : 32;
        const uint8_t *row = (const uint8_t *)t->data + r * t->nb[2];
        q_error_code e = b->download(b->state, part, row + at * sizeof(q_real), n * sizeof(q_real));
        if (e != Q_OK) {
            return e;
        }
        for (uint32_t i = 0; i < n; i++) {
            if (!(part[i] - part[i] == 0)) {
                return Q_ERR_NON_FINITE;
            }
        }
        at = at + n == t->ne[3] ? 0 : at + n;
    }
    return Q_OK;
}

q_error_code q_devices_settle(const q_session *s, uint32_t step)
{
    const q_backend *b = q_step_backend(s, step);
    const q_layer *layer = &s->layers[step];
    q_error_code e = b->finish(b->state);
    for (uint32_t o = 0; e == Q_OK && o < layer->n_out; o++) {
        const q_tensor *t = layer->out[o];
        if ((s->config.flags & Q_SESSION_CHECK_FINITE) != 0 && t->device != Q_DEVICE_CPU && t->dtype == Q_REAL) {
            e = look_at_rows(b, t, q_count_value(&s->run, layer->out_rows[o]));
        }
    }
    return e;
}
