/* SPDX-License-Identifier: MIT */
/*
 * Training as if in narrower types: parameters used in the type they will have in a file (casts), and values and gradients
 * rounded after every step. A cast is made anew from its slot before every forward; gradients belong to the slot.
 */
#include "qorus/quantize.h"
#include "session.h"

/* ---- Plan ------------------------------------------------------------------------------------------------- */

/* A parameter is a matrix for files until a node of the plan reads it as something else. */
static void find_matrices(q_plan *plan)
{
    const q_model *m = plan->model;
    for (uint32_t i = 0; i < m->n.params; i++) {
        plan->params[i].panels = plan->params[i].used;
    }
    for (uint32_t k = 0; k < m->n.nodes; k++) {
        const model_node *node = &m->nodes[k];
        for (uint32_t i = 0; plan->node_used[k] && i < node->n_param; i++) {
            plan_param *p = &plan->params[m->param_refs[node->first_param + i]];
            p->panels = p->panels && q_reads_matrix(node, i);
        }
    }
}

static q_error_code cast_matrix(q_plan *plan, uint32_t i, q_diag *diag)
{
    const model_param *p = &plan->model->params[i];
    plan_param *slot = &plan->params[i];
    uint32_t type = slot->cast_type;
    uint64_t stage;
    uint64_t row;
    uint64_t bytes;
    if (p->type.ne[3] % q_dtype_block(type) != 0) {
        return q_fail(diag, Q_ERR_INVALID_SIZE, p->name, "columns", q_dtype_block(type), p->type.ne[3]);
    }
    if (!q_matrix_bytes(type, Q_PANEL16, p->type.ne[2], p->type.ne[3], &bytes) || !q_align_u64(bytes, Q_ALIGN, &bytes) ||
        !q_matrix_bytes(type, Q_PLAIN, Q_PANEL_ROWS, p->type.ne[3], &stage) ||
        !q_matrix_bytes(Q_F32, Q_PLAIN, 1, p->type.ne[3], &row) || stage + row > SIZE_MAX / 4 || bytes > SIZE_MAX / 4) {
        return q_fail(diag, Q_ERR_OVERFLOW, p->name, "bytes", 0, 0);
    }
    (void)q_align_u64(stage + row, Q_ALIGN, &stage);
    slot->cast.bytes = (size_t)bytes;
    plan->cast_stage_bytes = stage > plan->cast_stage_bytes ? (size_t)stage : plan->cast_stage_bytes;
    return Q_OK;
}

static q_error_code cast_param(q_plan *plan, uint32_t i, q_diag *diag)
{
    const model_param *p = &plan->model->params[i];
    plan_param *slot = &plan->params[i];
    uint32_t type = plan->config.weight_type(plan->config.type_user, p->name, &p->type);
    if (type > Q_BF16) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, p->name, "weight_type", Q_BF16, type);
    }
    slot->panels = slot->panels && type != Q_F32;
    slot->cast_type = (uint8_t)type;
    if (slot->panels) {
        return cast_matrix(plan, i, diag);
    }
    if (p->trainable && (type == Q_F16 || type == Q_BF16)) {
        slot->cast.bytes = sizeof(q_real); /* as many as the slot once that is placed */
    }
    return Q_OK;
}

q_error_code q_plan_cast(q_plan *plan, q_diag *diag)
{
    q_error_code e = Q_OK;
    find_matrices(plan);
    for (uint32_t i = 0; e == Q_OK && i < plan->model->n.params; i++) {
        const model_param *p = &plan->model->params[i];
        bool slot = p->view.data == NULL && p->type.dtype == Q_REAL && p->type.layout == Q_PLAIN && plan->params[i].used;
        if (slot && plan->config.weight_type != NULL) {
            e = cast_param(plan, i, diag);
        } else {
            plan->params[i].panels = false;
        }
    }
    return e;
}

q_error_code q_plan_place_casts(q_plan *plan, q_diag *diag)
{
    bool fits = q_mul_size(plan->cast_stage_bytes, plan->config.n_workers, &plan->cast_stage.bytes) &&
                q_plan_append(plan, Q_REGION_TRAIN, &plan->cast_stage);
    for (uint32_t i = 0; fits && i < plan->model->n.params; i++) {
        plan_param *p = &plan->params[i];
        if (p->cast.bytes != 0) {
            p->cast.bytes = p->panels ? p->cast.bytes : p->slot.bytes;
            p->cast.tag = p->slot.tag;
            fits = q_plan_append(plan, Q_REGION_TRAIN, &p->cast);
        }
    }
    return fits ? Q_OK : q_fail(diag, Q_ERR_OVERFLOW, "plan", "weight_type", 0, 0);
}

q_error_code q_plan_round(q_plan *plan, q_diag *diag)
{
    uint32_t loss = plan->values[plan->model->outputs[0].value].producer;
    for (uint32_t k = 0; k < plan->n_steps; k++) {
        plan_step *s = &plan->steps[k];
        for (uint32_t backward = k == loss ? 1 : 0; backward < 2; backward++) {
            uint32_t type = plan->config.value_type(plan->config.type_user, s->name, backward != 0);
            if (type != Q_F32 && type != Q_F16 && type != Q_BF16) {
                return q_fail(diag, Q_ERR_INVALID_DTYPE, s->name, "value_type", Q_BF16, type);
            }
            s->rounds[backward] = (uint8_t)type;
        }
    }
    return Q_OK;
}

/* ---- Session ---------------------------------------------------------------------------------------------- */

static void round_tensor(const q_session *s, const q_work *work, const q_tensor *from, const q_tensor *to, q_count rows,
                         uint32_t type)
{
    q_round_args a;
    a.rows = rows;
    a.dim = to->ne[3];
    a.dtype = type;
    a.reserved = 0;
    a.x = (const q_real *)from->data;
    a.x_stride = from->nb[2];
    a.out = (q_real *)to->data;
    a.out_stride = to->nb[2];
    s->context.backend->kernels.round(work, &a);
}

static q_count rows_of(const q_tensor *t)
{
    q_count rows = {t->ne[0] * t->ne[1] * t->ne[2], Q_SYM_ONE};
    return rows;
}

void q_session_round(const q_session *s, uint32_t step, bool backward, const q_work *work)
{
    const q_layer *layer = backward ? &s->back_layers[step] : &s->layers[step];
    uint32_t type = s->plan->steps[step].rounds[backward ? 1 : 0];
    for (uint32_t i = 0; !backward && i < layer->n_out; i++) {
        if (layer->out[i]->dtype == Q_REAL) {
            round_tensor(s, work, layer->out[i], layer->out[i], layer->out_rows[i], type);
        }
    }
    for (uint32_t i = 0; backward && i < layer->n_in; i++) {
        if (layer->grad_in[i] != NULL) {
            round_tensor(s, work, layer->grad_in[i], layer->grad_in[i], layer->in_rows[i], type);
        }
    }
    for (uint32_t i = 0; backward && i < layer->n_param; i++) {
        if (layer->grad_param[i] != NULL) {
            round_tensor(s, work, layer->grad_param[i], layer->grad_param[i], rows_of(layer->grad_param[i]), type);
        }
    }
}

/* Rows of a slot, sixteen at a time, as q_write_run packs them. */
static q_error_code pack_matrix(const q_tensor *from, const q_tensor *to, uint8_t *stage)
{
    size_t k = from->ne[3];
    size_t row_bytes = k / q_dtype_block(to->dtype) * q_dtype_block_bytes(to->dtype);
    float *reals = (float *)(void *)stage;
    uint8_t *plain = stage + k * sizeof(float);
    q_error_code e = Q_OK;
    for (uint32_t row = 0; e == Q_OK && row < from->ne[2]; row += Q_PANEL_ROWS) {
        uint32_t n = from->ne[2] - row < Q_PANEL_ROWS ? from->ne[2] - row : Q_PANEL_ROWS;
        for (uint32_t r = 0; e == Q_OK && r < n; r++) {
            const uint8_t *base = (const uint8_t *)from->data + (size_t)(row + r) * from->nb[2];
            const q_real *x = (const q_real *)(const void *)base;
            for (size_t i = 0; i < k; i++) {
                reals[i] = (float)x[i];
            }
            e = q_quantize(to->dtype, reals, 1, k, plain + r * row_bytes, NULL);
        }
        if (e == Q_OK) {
            e = q_panel_pack(to->dtype, plain, n, k, (uint8_t *)to->data + (size_t)(row / Q_PANEL_ROWS) * to->nb[2], NULL);
        }
    }
    return e;
}

/* Worker w makes every n-th cast, whole. */
static void cast_worker(void *arg, const q_work *work)
{
    q_session *s = (q_session *)arg;
    const q_plan *plan = s->plan;
    uint8_t *stages = s->base[Q_REGION_TRAIN][plan->cast_stage.tag] + plan->cast_stage.offset;
    q_work alone = *work;
    uint32_t n = 0;
    alone.n_workers = 1;
    alone.worker = 0;
    for (uint32_t i = 0; i < plan->model->n.params; i++) {
        const q_tensor *from = &s->params[i];
        q_error_code e = Q_OK;
        if (plan->params[i].cast.bytes == 0 || n++ % work->n_workers != work->worker) {
            continue;
        }
        if (plan->params[i].panels) {
            e = pack_matrix(from, &s->casts[i], stages + work->worker * plan->cast_stage_bytes);
        } else {
            round_tensor(s, &alone, from, &s->casts[i], rows_of(from), plan->params[i].cast_type);
        }
        if (e != Q_OK && q_barrier_trouble(&s->barrier)) {
            s->error = e;
            s->error_step = i;
        }
    }
}

q_error_code q_session_cast(q_session *s, q_diag *diag)
{
    uint64_t items = 0;
    for (uint32_t i = 0; i < s->plan->model->n.params; i++) {
        items += s->plan->params[i].cast.bytes;
    }
    if (items == 0) {
        return Q_OK;
    }
    s->error = Q_OK;
    q_session_parallel(s, items, cast_worker, s);
    return s->error == Q_OK
               ? Q_OK
               : q_fail(diag, s->error, s->plan->model->params[s->error_step].name, "value or scale", 0, 0);
}
