/* SPDX-License-Identifier: MIT */
/* Devices of a plan: which place runs a node, copies of values on other places, parameters in the device's layout. */
#include "devices.h"
#include "devices_inner.h"

/* ---- The step between two places -------------------------------------------------------------------------- */

static q_error_code transfer_shape(const q_node_info *info, q_diag *diag)
{
    (void)diag;
    info->out[0] = info->in[0];
    return Q_OK;
}

/* Rows lie close together; a row is copied whole, however much of it a step uses. */
static q_error_code transfer_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const q_tensor *from = layer->in[0];
    const q_tensor *to = layer->out[0];
    const q_backend *b = layer->backend;
    size_t bytes = q_count_value(work->run, layer->in_rows[0]) * from->nb[2];
    (void)stage;
    if (bytes == 0) {
        return Q_OK;
    }
    return from->device == Q_DEVICE_CPU ? b->upload(b->state, to->data, from->data, bytes)
                                        : b->download(b->state, to->data, from->data, bytes);
}

static const q_layer_class transfer_class = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_TRANSFER,
    .name = "transfer",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .flags = Q_LAYER_DEVICE,
    .shape = transfer_shape,
    .forward = transfer_forward,
};

/* ---- Copies of values ------------------------------------------------------------------------------------- */

/* A copy of value `from`, made by a transfer; it joins the copies of `origin`. */
static uint32_t make_copy(q_plan *plan, uint32_t origin, uint32_t from, uint8_t place)
{
    uint32_t c = plan->n_values++;
    plan_value *copy = &plan->values[c];
    plan_step *s;
    copy->type = plan->values[from].type;
    copy->name = plan->values[from].name;
    copy->producer = plan->n_steps;
    copy->used = true;
    copy->place = place;
    copy->copy = plan->values[origin].copy;
    plan->values[origin].copy = c;
    s = q_plan_new_step(plan, &transfer_class, copy->name);
    s->place = place != 0 ? place : plan->values[from].place;
    s->n_in = 1;
    s->in[0] = from;
    s->out = c;
    return c;
}

/* From one device to another the way leads through the host. */
static uint32_t copy_on(q_plan *plan, uint32_t v, uint8_t place)
{
    uint32_t c = q_plan_value_on(plan, v, place);
    uint32_t from = v;
    if (c != Q_NONE) {
        return c;
    }
    if (plan->values[v].place != 0 && place != 0) {
        from = q_plan_value_on(plan, v, 0);
        from = from != Q_NONE ? from : make_copy(plan, v, v, 0);
    }
    return make_copy(plan, v, from, place);
}

/* ---- Nodes and parameters --------------------------------------------------------------------------------- */

static q_error_code choose_place(const q_plan *plan, plan_step *node, q_diag *diag)
{
    const q_devices *d = plan->config.devices;
    bool can = (node->cls->flags & Q_LAYER_DEVICE) != 0;
    uint32_t place = d->place != NULL ? d->place(d->user, node->name) : can ? 1u : 0u;
    if (place > d->n) {
        return q_fail(diag, Q_ERR_INVALID_DEVICE, node->name, "place", d->n, place);
    }
    if (place != 0 && !can) {
        return q_fail(diag, Q_ERR_UNSUPPORTED, node->name, "its class on a device", Q_LAYER_DEVICE, node->cls->flags);
    }
    node->place = (uint8_t)place;
    return Q_OK;
}

/* Asks the device once for the bytes of a parameter that a node on it reads. */
static q_error_code need_param(q_plan *plan, uint32_t param, uint8_t place, q_diag *diag)
{
    const model_param *p = &plan->model->params[param];
    const q_backend *b = plan->config.devices->backend[place - 1];
    plan_piece *piece = q_plan_prepared(plan, place, param);
    size_t bytes = 0;
    q_error_code e;
    if (piece->bytes != 0) {
        return Q_OK;
    }
    if (p->view.data == NULL) {
        return q_fail(diag, Q_ERR_UNSUPPORTED, p->name, "a slot of PARAM read on a device", 0, place);
    }
    e = b->prepare_size(b->state, &p->view, q_view_bytes(p), &bytes);
    if (e != Q_OK) {
        return q_fail(diag, e, p->name, "prepare_size", 0, 0);
    }
    if (bytes == 0 || !q_align_size(bytes, Q_ALIGN, &piece->bytes)) {
        return q_fail(diag, Q_ERR_OVERFLOW, p->name, "prepared bytes", 0, bytes);
    }
    piece->tag = q_place_tag(place);
    return Q_OK;
}

static q_error_code devices_place_node(q_plan *plan, plan_step *node, q_diag *diag)
{
    q_error_code e = choose_place(plan, node, diag);
    for (uint32_t i = 0; e == Q_OK && node->place != 0 && i < node->n_param; i++) {
        e = need_param(plan, node->params[i], node->place, diag);
    }
    for (uint32_t i = 0; e == Q_OK && i < node->n_in; i++) {
        node->in[i] = copy_on(plan, node->in[i], node->place);
    }
    return e;
}

static void devices_place_outputs(q_plan *plan)
{
    const q_model *m = plan->model;
    for (uint32_t i = 0; i < m->n.outputs; i++) {
        uint32_t v = m->outputs[i].value;
        if (plan->values[v].place != 0) {
            uint32_t c = copy_on(plan, v, 0);
            plan->values[v].output = false;
            plan->values[v].n_uses--;
            plan->values[c].output = true;
            plan->values[c].n_uses++;
        }
    }
}

static q_error_code devices_check_config(const q_plan_config *c, q_diag *diag)
{
    if (c->devices->struct_size != sizeof(q_devices)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_plan_config", "devices.struct_size", sizeof(q_devices),
                      c->devices->struct_size);
    }
    return c->mode == Q_PLAN_INFER ? Q_OK : q_fail(diag, Q_ERR_UNSUPPORTED, "q_plan_config", "devices: training", 0, c->mode);
}

static void devices_extend(q_plan *plan)
{
    for (uint32_t k = 0; k < plan->n_steps; k++) {
        const plan_step *s = &plan->steps[k];
        for (uint32_t i = 0; i < s->n_in; i++) {
            uint32_t host = q_plan_host_side(plan, s, i);
            if (host != Q_NONE) {
                plan_piece *piece = &plan->values[host].data;
                uint32_t last = s->tail ? plan->n_groups : s->group + 1;
                piece->last = piece->last > last ? piece->last : last;
            }
        }
    }
}

static bool devices_place_workspaces(q_plan *plan)
{
    const q_devices *d = plan->config.devices;
    for (uint32_t i = 0; i < d->n; i++) {
        size_t *end = &plan->needs.bytes[Q_REGION_SCRATCH][Q_MAX_TAGS + i];
        plan->device_workspace[i] = *end;
        if (!q_add_size(*end, d->backend[i]->workspace_size, end)) {
            return false;
        }
    }
    return true;
}

static q_error_code devices_place_prepared(q_plan *plan, q_diag *diag)
{
    for (uint8_t place = 1; place <= plan->config.devices->n; place++) {
        for (uint32_t p = 0; p < plan->model->n.params; p++) {
            if (!q_plan_append(plan, Q_REGION_PREPARED, q_plan_prepared(plan, place, p))) {
                return q_fail(diag, Q_ERR_OVERFLOW, plan->model->params[p].name, "prepared bytes", 0, 0);
            }
        }
    }
    return Q_OK;
}

/* ---- The list of devices ---------------------------------------------------------------------------------- */

const q_device_hooks q_device_hooks_all = {
    .place_node = devices_place_node,
    .place_outputs = devices_place_outputs,
    .place_workspaces = devices_place_workspaces,
    .place_prepared = devices_place_prepared,
    .bind = q_devices_bind,
    .fill = q_devices_fill,
    .zero_state = q_devices_zero_state,
    .check_config = devices_check_config,
    .extend = devices_extend,
    .begin = q_devices_begin,
    .enter = q_devices_enter,
    .finish = q_devices_finish,
    .settle = q_devices_settle,
};

static q_error_code device_check(const q_backend *b, uint32_t i, q_diag *diag)
{
    q_error_code e = Q_OK;
    if (b == NULL || b->struct_size != sizeof(*b)) {
        e = q_fail(diag, Q_ERR_INVALID_ARG, "q_devices_init", b == NULL ? "backends" : "backend.struct_size",
                   sizeof(*b), b == NULL ? 0 : b->struct_size);
    } else if (b->device == Q_DEVICE_CPU || b->device > UINT8_MAX) {
        e = q_fail(diag, Q_ERR_INVALID_DEVICE, b->name, "device", 1, b->device);
    } else if (b->upload == NULL || b->download == NULL || b->fill_zero == NULL || b->finish == NULL ||
               b->begin == NULL || b->prepare_size == NULL || b->prepare == NULL) {
        e = q_fail(diag, Q_ERR_INVALID_ARG, b->name, "buffer operations", 1, 0);
    } else if (b->workspace_size % Q_ALIGN != 0) {
        e = q_fail(diag, Q_ERR_MISALIGNED, b->name, "workspace_size", Q_ALIGN, b->workspace_size);
    }
    if (e != Q_OK && diag != NULL) {
        diag->offset = i;
    }
    return e;
}

q_error_code q_devices_init(q_devices *out, const q_backend *const *backends, uint32_t n,
                            uint32_t (*place)(void *user, const char *node), void *user, q_diag *diag)
{
    if (out == NULL || backends == NULL || n == 0 || n > Q_MAX_DEVICES) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_devices_init", out == NULL ? "out" : backends == NULL ? "backends" : "n",
                      Q_MAX_DEVICES, n);
    }
    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < n; i++) {
        q_error_code e = device_check(backends[i], i, diag);
        if (e != Q_OK) {
            return e;
        }
        out->backend[i] = backends[i];
    }
    out->struct_size = (uint32_t)sizeof(*out);
    out->n = n;
    out->place = place;
    out->user = user;
    out->hooks = &q_device_hooks_all;
    return Q_OK;
}
