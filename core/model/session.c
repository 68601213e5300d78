/* SPDX-License-Identifier: MIT */
/* A session: binding a plan to memory. */
#include "devices.h"

/* ---- Size and layout -------------------------------------------------------------------------------------- */

static void session_layout(q_arena *arena, const q_plan *plan, q_session *fill, q_session **out)
{
    bool train = q_plan_trains(&plan->config);
    uint32_t n_params = plan->model->n.params;
    *out = (q_session *)q_arena_alloc(arena, sizeof(q_session), Q_ALIGN);
    fill->layers = (q_layer *)q_arena_alloc(arena, (plan->n_steps + plan->n_again) * sizeof(q_layer), Q_ALIGN);
    fill->values = (q_tensor *)q_arena_alloc(arena, plan->n_values * sizeof(q_tensor), Q_ALIGN);
    fill->params = (q_tensor *)q_arena_alloc(arena, n_params * sizeof(q_tensor), Q_ALIGN);
    fill->selected = (uint32_t *)q_arena_alloc(arena, plan->config.max.selected * sizeof(uint32_t), Q_ALIGN);
    fill->spans = (q_span *)q_arena_alloc(arena, plan->config.max.sequences * sizeof(q_span), Q_ALIGN);
    fill->sequences = (session_sequence *)q_arena_alloc(
        arena, plan->config.max.sequences * sizeof(session_sequence), Q_ALIGN);
    fill->constants = (uint8_t *)q_arena_alloc(arena, plan->constant_bytes, Q_ALIGN);
    fill->prepared = (q_tensor *)q_arena_alloc(arena, q_plan_n_devices(&plan->config) * n_params * sizeof(q_tensor),
                                                Q_ALIGN);
    if (train) {
        fill->grads = (q_tensor *)q_arena_alloc(arena, plan->n_values * sizeof(q_tensor), Q_ALIGN);
        fill->param_grads = (q_tensor *)q_arena_alloc(arena, n_params * sizeof(q_tensor), Q_ALIGN);
        fill->casts = (q_tensor *)q_arena_alloc(arena, n_params * sizeof(q_tensor), Q_ALIGN);
        fill->use_grads = (q_tensor *)q_arena_alloc(arena, plan->model->n.param_refs * sizeof(q_tensor), Q_ALIGN);
        fill->back_layers = (q_layer *)q_arena_alloc(arena, (plan->n_steps + plan->n_again) * sizeof(q_layer), Q_ALIGN);
    }
}

q_error_code q_session_size(const q_plan *plan, size_t *bytes, q_diag *diag)
{
    q_arena arena;
    q_session fill;
    q_session *unused;
    if (plan == NULL || bytes == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_session_size", plan == NULL ? "plan" : "bytes", 1, 0);
    }
    arena = layout_arena(NULL, 0);
    session_layout(&arena, plan, &fill, &unused);
    *bytes = arena.high;
    return Q_OK;
}

/* ---- Regions ---------------------------------------------------------------------------------------------- */

static const char *const region_names[Q_REGION_KINDS] = {"FILE", "PARAM", "PREPARED", "STATE", "SCRATCH", "TRAIN"};

static q_error_code find_region(q_session *s, const q_region *regions, size_t n, uint32_t kind, uint32_t tag,
                                q_diag *diag)
{
    size_t need = s->plan->needs.bytes[kind][tag];
    size_t have = 0;
    if (need == 0) {
        return Q_OK;
    }
    for (size_t i = 0; i < n; i++) {
        if (regions[i].kind == kind && regions[i].tag == tag) {
            have = regions[i].size;
            if (have >= need) {
                s->base[kind][tag] = (uint8_t *)regions[i].base;
                return Q_OK;
            }
        }
    }
    (void)q_fail(diag, Q_ERR_NO_SPACE, region_names[kind], "region", need, have);
    if (diag != NULL) {
        diag->offset = tag;
    }
    return Q_ERR_NO_SPACE;
}

static uint32_t device_of_tag(const q_plan *plan, uint32_t tag)
{
    bool known = tag >= Q_MAX_TAGS && tag - Q_MAX_TAGS < q_plan_n_devices(&plan->config);
    return known ? plan->config.devices->backend[tag - Q_MAX_TAGS]->device : Q_DEVICE_CPU;
}

static q_error_code bind_regions(q_session *s, q_block memory, const q_region *regions, size_t n, q_diag *diag)
{
    q_error_code e = q_regions_check(regions, n, diag);
    if (e != Q_OK) {
        return e;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t device = device_of_tag(s->plan, regions[i].tag);
        if (regions[i].device != device) {
            return q_fail(diag, Q_ERR_INVALID_DEVICE, region_names[regions[i].kind], "device", device, regions[i].device);
        }
        if (q_overlaps(regions[i].base, regions[i].size, memory.base, memory.size)) {
            return q_fail(diag, Q_ERR_ALIASING, region_names[regions[i].kind], "session memory", 0, i);
        }
        for (uint32_t p = 0; p < s->plan->model->n.params; p++) {
            const model_param *param = &s->plan->model->params[p];
            if (param->view.data != NULL && regions[i].kind != Q_REGION_FILE &&
                q_overlaps(regions[i].base, regions[i].size, param->view.data, q_view_bytes(param))) {
                return q_fail(diag, Q_ERR_ALIASING, region_names[regions[i].kind], param->name, 0, i);
            }
        }
    }
    for (uint32_t kind = Q_REGION_PARAM; kind < Q_REGION_KINDS; kind++) {
        for (uint32_t tag = 0; tag < Q_MAX_PLACES; tag++) {
            e = find_region(s, regions, n, kind, tag, diag);
            if (e != Q_OK) {
                return e;
            }
        }
    }
    return Q_OK;
}

/* ---- Binding ---------------------------------------------------------------------------------------------- */

static void copy_name(q_tensor *t, const char *name)
{
    size_t i = 0;
    for (; i + 1 < Q_MAX_NAME && name[i] != '\0'; i++) {
        t->name[i] = name[i];
    }
    t->name[i] = '\0';
}

static uint8_t *piece_at(const q_session *s, uint32_t kind, const plan_piece *piece)
{
    return piece->bytes == 0 ? NULL : s->base[kind][piece->tag] + piece->offset;
}

static void bind_value(const q_session *s, const plan_value *v, const plan_piece *piece, q_tensor *t)
{
    const q_maxima *max = &s->plan->config.max;
    size_t bytes;
    size_t row;
    memset(t, 0, sizeof(*t));
    if (!v->used || !q_plan_value_bytes(&v->type, max, &bytes, &row)) {
        return;
    }
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        t->ne[i] = v->type.dim[i].n * q_plan_sym_max(max, v->type.dim[i].sym);
    }
    t->nb[3] = q_dtype_block_bytes(v->type.dtype);
    t->nb[2] = row;
    t->nb[1] = row * t->ne[2];
    t->nb[0] = t->nb[1] * t->ne[1];
    t->data = piece_at(s, Q_REGION_SCRATCH, piece);
    t->dtype = (uint8_t)v->type.dtype;
    t->device = (uint8_t)(v->place == 0 ? Q_DEVICE_CPU : device_of_tag(s->plan, q_place_tag(v->place)));
    copy_name(t, v->name);
}

static void bind_param(const model_param *p, uint8_t *data, q_tensor *t)
{
    uint64_t row = 0;
    if (p->view.data != NULL) {
        *t = p->view;
        return;
    }
    memset(t, 0, sizeof(*t));
    memcpy(t->ne, p->type.ne, sizeof(t->ne));
    t->dtype = (uint8_t)p->type.dtype;
    t->layout = (uint8_t)p->type.layout;
    t->nb[3] = q_dtype_block_bytes(p->type.dtype);
    if (p->type.layout == Q_PANEL16) {
        row = q_panel_bytes(p->type.dtype, p->type.ne[3]);
    } else {
        (void)q_plain_row_bytes(p->type.dtype, p->type.ne[3], &row);
    }
    t->nb[2] = (size_t)row;
    t->nb[1] = (size_t)row * t->ne[2];
    t->nb[0] = t->nb[1] * t->ne[1];
    t->data = data;
    copy_name(t, p->name);
}

/* A parameter in the type it is used in. */
static void bind_cast(const q_session *s, uint32_t i)
{
    const plan_param *slot = &s->plan->params[i];
    model_param p = s->plan->model->params[i];
    if (slot->panels) {
        p.type.dtype = slot->cast_type;
        p.type.layout = Q_PANEL16;
    }
    bind_param(&p, piece_at(s, Q_REGION_TRAIN, &slot->cast), &s->casts[i]);
}

static void bind_tensors(q_session *s)
{
    const q_plan *plan = s->plan;
    for (uint32_t v = 0; v < plan->n_values; v++) {
        bind_value(s, &plan->values[v], &plan->values[v].data, &s->values[v]);
        if (Q_TRAINING(s->grads) != NULL) {
            bind_value(s, &plan->values[v], &plan->values[v].grad, &s->grads[v]);
        }
    }
    for (uint32_t i = 0; i < plan->model->n.params; i++) {
        const model_param *p = &plan->model->params[i];
        const plan_param *slot = &plan->params[i];
        bind_param(p, piece_at(s, Q_REGION_PARAM, &slot->slot), &s->params[i]);
        if (Q_TRAINING(s->param_grads) != NULL) {
            bind_param(p, piece_at(s, Q_REGION_TRAIN, &slot->grad), &s->param_grads[i]);
            bind_cast(s, i);
        }
    }
    for (uint32_t i = 0; Q_TRAINING(s->use_grads) != NULL && i < plan->model->n.param_refs; i++) {
        const model_param *p = &plan->model->params[plan->model->param_refs[i]];
        bind_param(p, piece_at(s, Q_REGION_TRAIN, &plan->uses[i]), &s->use_grads[i]);
    }
}

/* The gradient of a value that a step reads or makes. */
static const q_tensor *grad_of(const q_session *s, uint32_t value)
{
    return &s->grads[s->plan->values[value].origin];
}

/* The same, or NULL where nobody asks for it. */
static const q_tensor *needed_grad(const q_session *s, uint32_t value)
{
    return s->plan->values[s->plan->values[value].origin].needs_grad ? grad_of(s, value) : NULL;
}

static void bind_training(const q_session *s, const plan_step *step, q_layer *layer)
{
    const q_plan *plan = s->plan;
    layer->saved = piece_at(s, Q_REGION_TRAIN, &step->saved);
    if (!step->has_backward) {
        return;
    }
    for (uint32_t i = 0; i < step->n_in; i++) {
        layer->grad_in[i] = needed_grad(s, step->in[i]);
    }
    if (step->residual != Q_NONE) {
        layer->grad_residual = needed_grad(s, step->residual);
    }
    for (uint32_t i = 0; i < 2 && q_plan_sums(step); i++) {
        layer->grad_addend[i] = needed_grad(s, step->addend[i]);
        layer->accumulate_addend |= step->accumulate & 1u << i;
    }
    layer->accumulate = q_plan_sums(step) ? step->accumulate_sum : step->accumulate & ((1u << step->n_in) - 1u);
    layer->accumulate_residual = step->accumulate >> q_plan_n_operands(step) & 1u;
    for (uint32_t i = 0; i < step->cls->n_out; i++) {
        layer->grad_out[i] = grad_of(s, step->out + i);
    }
    for (uint32_t i = 0; i < step->n_param; i++) {
        size_t use = (size_t)(step->params - plan->model->param_refs) + i;
        if (plan->params[step->params[i]].grad.bytes != 0) {
            layer->grad_param[i] = plan->uses[use].bytes != 0 ? &s->use_grads[use] : &s->param_grads[step->params[i]];
        }
    }
}

static void bind_layer(const q_session *s, const plan_step *step, q_layer *layer)
{
    memset(layer, 0, sizeof(*layer));
    layer->forward = step->cls->forward;
    layer->backward = step->cls->backward;
    layer->cls = step->cls;
    layer->type = step->cls->id;
    layer->n_in = (uint8_t)step->n_in;
    layer->n_out = step->cls->n_out;
    layer->n_param = (uint8_t)step->n_param;
    layer->config = step->config;
    layer->backend = s->context.backend;
    layer->kernels = &s->context.backend->kernels;
    layer->name = step->name;
    layer->max = s->plan->config.max;
    layer->precision = s->plan->config.precision;
    layer->kv_dtype = s->plan->kv_dtype;
    layer->key = q_graph_name_key(step->name);
    layer->trains = q_plan_trains(&s->plan->config) ? 1u : 0u;
    layer->state = piece_at(s, Q_REGION_STATE, &step->state);
    layer->state_stride = step->state_stride;
    layer->scratch = piece_at(s, Q_REGION_SCRATCH, &step->scratch);
    for (uint32_t i = 0; i < step->n_in; i++) {
        layer->in[i] = &s->values[step->in[i]];
        layer->in_rows[i] = q_plan_rows(&s->plan->values[step->in[i]].type);
    }
    for (uint32_t i = 0; i < step->cls->n_out; i++) {
        layer->out[i] = &s->values[step->out + i];
        layer->out_rows[i] = q_plan_rows(&s->plan->values[step->out + i].type);
    }
    for (uint32_t i = 0; i < step->n_param; i++) {
        bool cast = Q_TRAINING(s->plan->params[step->params[i]].cast.bytes) != 0;
        layer->param[i] = cast ? &s->casts[step->params[i]] : &s->params[step->params[i]];
    }
    layer->activation = step->activation;
    layer->fold = step->fold == Q_NONE ? NULL : &s->values[step->fold];
    layer->residual = step->residual == Q_NONE ? NULL : &s->values[step->residual];
    for (uint32_t i = 0; i < 2 && q_plan_sums(step); i++) {
        layer->addend[i] = &s->values[step->addend[i]];
    }
    layer->again = step->twin != Q_NONE ? 1u : 0u;
    if (layer->trains != 0) {
        bind_training(s, step, layer);
    }
    if (step->constants.bytes != 0) {
        q_fp_state fp = q_fp_enter();
        layer->constants = s->constants + step->constants.offset;
        step->cls->make_constants(layer, s->constants + step->constants.offset);
        q_fp_leave(fp);
    }
}

static void bind_layers(q_session *s)
{
    const q_plan *plan = s->plan;
    for (uint32_t k = 0; k < plan->n_steps + plan->n_again; k++) {
        bind_layer(s, &plan->steps[k], &s->layers[k]);
        if (Q_TRAINING(s->back_layers) != NULL) {
            s->back_layers[k] = s->layers[k];
            s->back_layers[k].scratch = piece_at(s, Q_REGION_SCRATCH, &plan->steps[k].scratch_back);
        }
    }
}

q_error_code q_session_zero_states(const q_session *s, uint32_t sequence, q_diag *diag)
{
    for (uint32_t k = 0; k < s->plan->n_steps; k++) {
        q_error_code e = Q_OK;
        if (s->layers[k].state_stride != 0 && s->plan->steps[k].place == 0) {
            memset(q_session_state(s, k, sequence), 0, s->layers[k].state_stride);
        } else if (s->layers[k].state_stride != 0) {
            e = s->plan->config.devices->hooks->zero_state(s, k, sequence);
        }
        if (e != Q_OK) {
            return q_fail(diag, e, s->plan->steps[k].name, "state", 0, 0);
        }
    }
    return Q_OK;
}

void q_session_zero_grads(const q_session *s)
{
    for (uint32_t i = 0; i < s->plan->model->n.params && s->param_grads != NULL; i++) {
        if (s->plan->params[i].grad.bytes != 0) {
            memset(s->param_grads[i].data, 0, s->plan->params[i].grad.bytes);
        }
    }
    for (uint32_t i = 0; i < s->plan->model->n.param_refs && s->use_grads != NULL; i++) {
        if (s->plan->uses[i].bytes != 0) {
            memset(s->use_grads[i].data, 0, s->plan->uses[i].bytes);
        }
    }
}

void q_session_join_grads(const q_session *s, const q_work *work)
{
    const q_model *m = s->plan->model;
    for (uint32_t i = 0; i < m->n.param_refs && !s->joined; i++) {
        const q_tensor *sum = &s->param_grads[m->param_refs[i]];
        size_t j;
        size_t end;
        if (s->plan->uses[i].bytes != 0) {
            q_real *to = (q_real *)sum->data;
            q_real *from = (q_real *)s->use_grads[i].data;
            q_share_elements(work, (size_t)sum->ne[0] * sum->ne[1] * sum->ne[2] * sum->ne[3], &j, &end);
            for (; j < end; j++) {
                to[j] = to[j] + from[j];
                from[j] = 0;
            }
        }
    }
}

static void zero_moments(const q_session *s)
{
    for (uint32_t i = 0; i < s->plan->model->n.params; i++) {
        const plan_piece *moment = &s->plan->params[i].moment;
        if (moment->bytes != 0) {
            memset(piece_at(s, Q_REGION_TRAIN, moment), 0, moment->bytes);
        }
    }
}

static bool states_zeroed(const q_region *regions, size_t n)
{
    bool zeroed = true;
    for (size_t i = 0; i < n; i++) {
        zeroed = zeroed && (regions[i].kind != Q_REGION_STATE || regions[i].zeroed != 0);
    }
    return zeroed;
}

static q_error_code session_args(const q_plan *plan, const q_context *context, const q_region *regions,
                                 size_t n_regions, const q_session_config *config, q_diag *diag)
{
    const char *who = "q_session_init";
    if (plan == NULL || context == NULL || context->backend == NULL ||
        (regions == NULL && n_regions != 0)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who,
                      plan == NULL ? "plan" : context == NULL ? "context" : context->backend == NULL ? "context.backend" : "regions", 1, 0);
    }
    if (context->backend->struct_size != sizeof(q_backend)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_backend", "struct_size", sizeof(q_backend),
                      context->backend->struct_size);
    }
    if (context->port != NULL && context->port->struct_size != sizeof(q_port)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_port", "struct_size", sizeof(q_port), context->port->struct_size);
    }
    if (config != NULL && q_session_config_check(config, diag) != Q_OK) {
        return Q_ERR_INVALID_ARG;
    }
    if (context->backend->device != Q_DEVICE_CPU) { /* devices are the plan's */
        return q_fail(diag, Q_ERR_INVALID_DEVICE, context->backend->name, "context.backend", Q_DEVICE_CPU,
                      context->backend->device);
    }
    if (context->backend->workspace_size > plan->config.workspace_size) {
        return q_fail(diag, Q_ERR_MISMATCH, context->backend->name, "workspace_size", context->backend->workspace_size,
                      plan->config.workspace_size);
    }
    if (context->n_workers > plan->config.n_workers) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_context", "n_workers", plan->config.n_workers, context->n_workers);
    }
    return Q_OK;
}

/* A session of checked arguments in memory of the right size. Apart from q_session_init, whose other calls then do not lie
   on top of `fill`: stacks are to stay below 4 KiB. */
static q_error_code make_session(q_session **session, q_block memory, const q_plan *plan, const q_context *context,
                                 const q_region *regions, size_t n_regions, const q_session_config *config, q_diag *diag)
{
    q_session fill;
    q_session *s;
    q_arena arena;
    q_error_code e;
    memset(&fill, 0, sizeof(fill));
    fill.plan = plan;
    fill.context = *context;
    fill.n_workers = context->n_workers != 0 ? context->n_workers : plan->config.n_workers;
    if (context->port == NULL || context->port->parallel == NULL) {
        fill.n_workers = 1;
    }
    if (config != NULL) {
        fill.config = *config;
    }
    e = bind_regions(&fill, memory, regions, n_regions, diag);
    if (e != Q_OK) {
        return e;
    }
    arena = layout_arena(memory.base, memory.size);
    session_layout(&arena, plan, &fill, &s);
    *s = fill;
    *session = s;
    return Q_OK;
}

q_error_code q_session_init(q_session **session, q_block memory, const q_plan *plan, const q_context *context,
                            const q_region *regions, size_t n_regions, const q_session_config *config, q_diag *diag)
{
    q_session *s = NULL;
    size_t need = 0;
    q_error_code e;
    if (session == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_session_init", "session", 1, 0);
    }
    e = session_args(plan, context, regions, n_regions, config, diag);
    if (e == Q_OK) {
        e = q_session_size(plan, &need, diag);
    }
    if (e == Q_OK) {
        e = q_block_check(memory, Q_ALIGN, need, "q_session_init", diag);
    }
    if (e == Q_OK) {
        memory.size = need;
        e = make_session(&s, memory, plan, context, regions, n_regions, config, diag);
    }
    if (e != Q_OK) {
        return e;
    }
    s->workspaces = s->base[Q_REGION_SCRATCH][0] == NULL ? NULL : s->base[Q_REGION_SCRATCH][0] + plan->workspace_offset;
    bind_tensors(s);
    bind_layers(s);
    memset(s->sequences, 0, plan->config.max.sequences * sizeof(*s->sequences));
    if (plan->config.devices != NULL) {
        plan->config.devices->hooks->bind(s);
        e = plan->config.devices->hooks->fill(s, diag);
    }
    for (uint32_t i = 0; e == Q_OK && i < plan->config.max.sequences && !states_zeroed(regions, n_regions); i++) {
        e = q_session_zero_states(s, i, diag);
    }
    if (Q_TRAINING(1)) {
        q_session_zero_grads(s);
        zero_moments(s);
    }
    *session = e == Q_OK ? s : *session;
    return e;
}
