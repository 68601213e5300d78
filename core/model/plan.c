/* SPDX-License-Identifier: MIT */
/* Making a plan: checking its config, laying its arrays out, and running the passes in order. */
#include "devices.h"

q_count q_plan_rows(const q_value_type *type)
{
    q_count rows = {1, Q_SYM_ONE};
    for (uint32_t i = 0; i < 3; i++) {
        rows.n *= type->dim[i].n;
        rows.sym = type->dim[i].sym != Q_SYM_ONE ? type->dim[i].sym : rows.sym;
    }
    return rows;
}

uint32_t q_plan_sym_max(const q_maxima *max, uint32_t sym)
{
    switch (sym) {
    case Q_SYM_BATCH:
        return max->batch;
    case Q_SYM_TOKENS:
        return max->tokens;
    case Q_SYM_ROWS:
        return max->batch * max->tokens;
    case Q_SYM_SELECTED:
        return max->selected;
    default:
        return 1;
    }
}

bool q_plan_value_bytes(const q_value_type *type, const q_maxima *max, size_t *bytes, size_t *row_bytes)
{
    uint64_t elements = 1;
    uint64_t total;
    uint64_t row;
    if (type->dim[3].sym != Q_SYM_ONE) {
        /* a vector along a symbol (token ids): one row */
        uint64_t n;
        if (!q_mul_u64(type->dim[3].n, q_plan_sym_max(max, type->dim[3].sym), &n) ||
            !q_plain_row_bytes(type->dtype, n, &row)) {
            return false;
        }
    } else if (!q_plain_row_bytes(type->dtype, type->dim[3].n, &row)) {
        return false;
    }
    total = row;
    for (uint32_t i = 0; i < 3; i++) {
        if (!q_mul_u64(total, type->dim[i].n, &total) ||
            !q_mul_u64(total, q_plan_sym_max(max, type->dim[i].sym), &total)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        /* both factors stay below 2^32, so their product cannot wrap */
        elements *= (uint64_t)type->dim[i].n;
        if (elements > UINT32_MAX) {
            return false;
        }
        elements *= q_plan_sym_max(max, type->dim[i].sym);
        if (elements > UINT32_MAX) {
            return false;
        }
    }
    if (!q_align_u64(total, Q_ALIGN, &total) || total > SIZE_MAX / 4) {
        return false;
    }
    *bytes = (size_t)total;
    *row_bytes = (size_t)row;
    return true;
}

void q_plan_view_step(const q_plan *plan, const plan_step *step, plan_view *view)
{
    const q_model *m = plan->model;
    memset(view, 0, sizeof(*view));
    for (uint32_t i = 0; i < step->n_in; i++) {
        view->in[i] = plan->values[step->in[i]].type;
    }
    for (uint32_t i = 0; i < step->cls->n_out; i++) {
        view->out[i] = plan->values[step->out + i].type;
    }
    for (uint32_t i = 0; i < step->n_param; i++) {
        view->param[i] = m->params[step->params[i]].type;
        if (plan->params[step->params[i]].panels) {
            view->param[i].dtype = plan->params[step->params[i]].cast_type;
            view->param[i].layout = Q_PANEL16;
        }
    }
    view->info.config = step->config;
    view->info.n_in = step->n_in;
    view->info.n_out = step->cls->n_out;
    view->info.n_param = step->n_param;
    view->info.precision = plan->config.precision;
    view->info.in = view->in;
    view->info.out = view->out;
    view->info.param = view->param;
    view->info.max = plan->config.max;
    view->info.kv_dtype = plan->kv_dtype;
    view->info.trains = q_plan_trains(&plan->config) ? 1u : 0u;
}

static q_error_code check_maxima(const q_maxima *m, const char *what, q_diag *diag)
{
    static const char *const fields[] = {"max.batch", "max.tokens", "max.selected", "max.kv", "max.sequences"};
    const uint32_t values[] = {m->batch, m->tokens, m->selected, m->kv, m->sequences};
    for (uint32_t i = 0; i < 5; i++) {
        uint32_t most = i == 4 ? Q_CAP_SEQUENCES : Q_CAP_CONTEXT;
        if (i < 3 && values[i] == 0) {
            return q_fail(diag, Q_ERR_INVALID_ARG, what, fields[i], 1, 0);
        }
        if (values[i] > most) {
            return q_fail(diag, Q_ERR_LIMIT, what, fields[i], most, values[i]);
        }
    }
    if ((uint64_t)m->batch * m->tokens > UINT32_MAX) {
        return q_fail(diag, Q_ERR_LIMIT, what, "max.batch * max.tokens", UINT32_MAX, (uint64_t)m->batch * m->tokens);
    }
    return Q_OK;
}

static q_error_code config_check(const q_plan_config *c, q_diag *diag)
{
    const char *what = "q_plan_config";
    q_error_code e;
    if (c->struct_size != sizeof(*c)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, what, "struct_size", sizeof(*c), c->struct_size);
    }
    if (c->mode > Q_TRAINING(Q_PLAN_TRAIN)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, what, "mode", Q_TRAINING(Q_PLAN_TRAIN), c->mode);
    }
    if (c->precision > Q_PRECISION_EXACT) {
        return q_fail(diag, Q_ERR_INVALID_ARG, what, "precision", Q_PRECISION_EXACT, c->precision);
    }
    if ((c->flags & ~(uint32_t)(Q_PLAN_NO_FUSE | Q_PLAN_NO_IN_PLACE | Q_PLAN_RECOMPUTE)) != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, what, "flags", 0, c->flags);
    }
    if (c->reserved != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, what, "reserved", 0, c->reserved);
    }
    if (c->moments > Q_MAX_MOMENTS) {
        return q_fail(diag, Q_ERR_INVALID_ARG, what, "moments", Q_MAX_MOMENTS, c->moments);
    }
    e = check_maxima(&c->max, what, diag);
    if (e != Q_OK) {
        return e;
    }
    if (c->kv_type >= Q_KV_COUNT) {
        return q_fail(diag, Q_ERR_INVALID_ARG, what, "kv_type", Q_KV_COUNT - 1, c->kv_type);
    }
    if (c->n_workers == 0 || c->n_workers > Q_MAX_WORKERS) {
        return q_fail(diag, Q_ERR_INVALID_ARG, what, "n_workers", Q_MAX_WORKERS, c->n_workers);
    }
    if (c->workspace_size % Q_ALIGN != 0 || c->workspace_size > SIZE_MAX / 2 / Q_MAX_WORKERS) {
        return q_fail(diag, Q_ERR_INVALID_SIZE, what, "workspace_size", Q_ALIGN, c->workspace_size);
    }
    if (!q_plan_trains(c) && (c->weight_type != NULL || c->value_type != NULL)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, what, c->weight_type != NULL ? "weight_type" : "value_type", 0, 1);
    }
    return c->devices != NULL ? c->devices->hooks->check_config(c, diag) : Q_OK;
}

static uint32_t kv_dtype_of(const q_plan_config *c)
{
    static const uint8_t dtypes[Q_KV_COUNT] = {Q_F16, Q_REAL, Q_F16, Q_Q8_0};
    return c->kv_type == Q_KV_BY_PRECISION && c->precision == Q_PRECISION_EXACT ? Q_REAL : dtypes[c->kv_type];
}

/* Nodes whose activation becomes a step. */
static uint32_t count_unfolded(const q_model *m, const q_plan_config *c)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < m->n.nodes && q_plan_trains(c); k++) {
        n += q_plan_unfolds(c, q_plan_activation(&m->nodes[k])) ? 1u : 0u;
    }
    return n;
}

/* At most one quantised twin per value, two in training, a copy of both per device, one step per node, twin and copy, and four pieces per
   thing that has any. */
static void plan_layout(q_arena *arena, const q_model *m, q_plan *fill, q_plan **out)
{
    uint32_t n_devices = q_plan_n_devices(&fill->config);
    bool train = q_plan_trains(&fill->config);
    uint32_t runs = train && (fill->config.flags & Q_PLAN_RECOMPUTE) != 0 ? 2 : 1; /* of a step */
    uint32_t twins = train ? 2 : 1;
    uint32_t unfolded = count_unfolded(m, &fill->config);
    uint32_t values = (m->n.values * (1 + twins) + unfolded) * (runs + n_devices);
    uint32_t steps = (m->n.nodes + m->n.values * (twins + 2 * n_devices) + unfolded) * runs;
    *out = (q_plan *)q_arena_alloc(arena, sizeof(q_plan), Q_ALIGN);
    fill->cap_values = values;
    fill->cap_steps = steps;
    fill->cap_pieces = values * 2 + steps * 2;
    fill->steps = (plan_step *)q_arena_alloc(arena, steps * sizeof(plan_step), Q_ALIGN);
    fill->values = (plan_value *)q_arena_alloc(arena, values * sizeof(plan_value), Q_ALIGN);
    fill->params = (plan_param *)q_arena_alloc(arena, m->n.params * sizeof(plan_param), Q_ALIGN);
    fill->pieces = (plan_piece **)q_arena_alloc(arena, fill->cap_pieces * sizeof(plan_piece *), Q_ALIGN);
    if (train) {
        fill->events = (plan_event *)q_arena_alloc(arena, steps * 2 * sizeof(plan_event), Q_ALIGN);
        fill->uses = (plan_piece *)q_arena_alloc(arena, m->n.param_refs * sizeof(plan_piece), Q_ALIGN);
    }
    if (n_devices != 0) {
        size_t n = (size_t)n_devices * m->n.params;
        fill->prepared = (plan_piece *)q_arena_alloc(arena, n * sizeof(plan_piece), Q_ALIGN);
    }
    fill->node_used = (bool *)q_arena_alloc(arena, m->n.nodes * sizeof(bool), Q_ALIGN);
}

q_error_code q_plan_size(const q_model *model, const q_plan_config *config, size_t *bytes, q_diag *diag)
{
    q_arena arena;
    q_plan fill;
    q_plan *unused;
    q_error_code e;
    if (model == NULL || config == NULL || bytes == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_plan_size", model == NULL ? "model" : config == NULL ? "config" : "bytes", 1, 0);
    }
    e = config_check(config, diag);
    if (e != Q_OK) {
        return e;
    }
    arena = layout_arena(NULL, 0);
    fill.config = *config;
    plan_layout(&arena, model, &fill, &unused);
    *bytes = arena.high;
    return Q_OK;
}

q_error_code q_plan_init(q_plan **plan, q_block memory, const q_model *model, const q_plan_config *config,
                         q_diag *diag)
{
    q_arena arena;
    q_plan fill;
    q_plan *p;
    size_t need;
    q_error_code e;
    if (plan == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_plan_init", "plan", 1, 0);
    }
    e = q_plan_size(model, config, &need, diag);
    if (e == Q_OK) {
        e = q_block_check(memory, Q_ALIGN, need, "q_plan_init", diag);
    }
    if (e != Q_OK) {
        return e;
    }
    memset(memory.base, 0, need);
    arena = layout_arena(memory.base, memory.size);
    memset(&fill, 0, sizeof(fill));
    fill.config = *config;
    plan_layout(&arena, model, &fill, &p);
    *p = fill;
    p->config.max.sequences = config->max.sequences != 0 ? config->max.sequences : 1;
    p->kv_dtype = kv_dtype_of(config);
    p->model = model;
    e = q_plan_infer(p, diag);
    if (e == Q_OK && q_plan_trains(config) && config->value_type != NULL) {
        e = q_plan_round(p, diag);
    }
    if (e == Q_OK) {
        if (q_plan_trains(config)) {
            q_plan_mark_loss(p);
        }
        if ((config->flags & Q_PLAN_NO_FUSE) == 0 && config->value_type == NULL) {
            if (config->mode == Q_PLAN_INFER) {
                q_plan_fold(p);
            }
            q_plan_fuse(p);
        }
        e = q_plan_order(p, diag);
    }
    if (e == Q_OK) {
        e = q_plan_place(p, diag);
    }
    if (e == Q_OK) {
        *plan = p;
    }
    return e;
}

void q_plan_needs(const q_plan *plan, q_needs *needs)
{
    *needs = plan->needs;
}

q_maxima q_plan_maxima(const q_plan *plan)
{
    return plan->config.max;
}

uint32_t q_plan_output_columns(const q_plan *plan, uint32_t i)
{
    return i < plan->model->n.outputs ? plan->values[plan->model->outputs[i].value].type.dim[3].n : 0;
}

uint32_t q_plan_n_steps(const q_plan *plan)
{
    return plan->n_steps;
}

uint32_t q_plan_n_steps_again(const q_plan *plan)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < plan->n_events; i++) {
        n += plan->events[i].backward ? 0u : 1u;
    }
    return n;
}

bool q_plan_writes_selected(const q_plan *plan)
{
    const q_value_type *t = &plan->values[plan->model->outputs[0].value].type;
    q_count rows = q_plan_rows(t);
    return t->dtype == Q_REAL && rows.n == 1 && rows.sym == Q_SYM_SELECTED;
}

bool q_plan_reads_tokens(const q_plan *plan)
{
    const model_input *in = plan->model->inputs;
    return plan->model->n.inputs == 1 && in->type.dtype == Q_I32 && q_plan_rows(&in->type).n == 1 &&
           in->type.dim[3].n == 1 && in->type.dim[3].sym == Q_SYM_TOKENS;
}
