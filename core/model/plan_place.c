/* SPDX-License-Identifier: MIT */
/*
 * Pass five: an offset for every piece. Pieces whose times overlap may not share bytes; each goes, largest first,
 * to the lowest offset that is free during its life (first fit by decreasing size; ties by order of creation, so
 * the result is the same on every machine).
 */
#include "devices.h"

/* True if a must be placed before b. Sizes fall; equal ones keep their order because the sort is stable. */
static bool larger(const plan_piece *a, const plan_piece *b)
{
    return a->bytes > b->bytes;
}

/* Shell sort would lose the order of equals; a binary insertion keeps it. O(n log n) compares, O(n^2) moves. */
static void insert_by_size(plan_piece **pieces, uint32_t n, plan_piece *piece)
{
    uint32_t low = 0;
    uint32_t high = n;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (larger(piece, pieces[mid])) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    memmove(pieces + low + 1, pieces + low, (n - low) * sizeof(*pieces));
    pieces[low] = piece;
}

static bool lives_with(const plan_piece *a, const plan_piece *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Places pieces[at] among pieces[0..at), which are placed and ascend by offset, and keeps that order. */
static bool place_one(plan_piece **pieces, uint32_t at, size_t *high)
{
    plan_piece *piece = pieces[at];
    size_t offset = 0;
    size_t end;
    uint32_t slot = 0;
    for (uint32_t i = 0; i < at; i++) {
        const plan_piece *p = pieces[i];
        if (!lives_with(piece, p) || p->offset + p->bytes <= offset) {
            continue;
        }
        if (p->offset >= offset && p->offset - offset >= piece->bytes) {
            break;
        }
        offset = p->offset + p->bytes;
    }
    if (!q_add_size(offset, piece->bytes, &end)) {
        return false;
    }
    piece->offset = offset;
    *high = end > *high ? end : *high;
    while (slot < at && pieces[slot]->offset <= offset) {
        slot++;
    }
    memmove(pieces + slot + 1, pieces + slot, (at - slot) * sizeof(*pieces));
    pieces[slot] = piece;
    return true;
}

/* ---- SCRATCH --------------------------------------------------------------------------------------------- */

static uint32_t collect_scratch(q_plan *plan, uint32_t tag)
{
    uint32_t n = 0;
    for (uint32_t v = 0; v < plan->n_values; v++) {
        plan_value *value = &plan->values[v];
        if (value->used && value->root == v && value->data.bytes != 0 && value->data.tag == tag) {
            insert_by_size(plan->pieces, n++, &value->data);
        }
        if (Q_TRAINING(value->grad.bytes) != 0 && value->grad.tag == tag && value->grad.first <= value->grad.last) {
            insert_by_size(plan->pieces, n++, &value->grad);
        }
    }
    for (uint32_t k = 0; k < plan->n_steps + plan->n_again; k++) {
        plan_step *s = &plan->steps[k];
        if (s->scratch.bytes != 0 && s->scratch.tag == tag && (s->twin == Q_NONE || s->runs)) {
            insert_by_size(plan->pieces, n++, &s->scratch);
        }
        if (Q_TRAINING(s->scratch_back.bytes) != 0 && s->scratch.tag == tag) {
            insert_by_size(plan->pieces, n++, &s->scratch_back);
        }
    }
    return n;
}

static q_error_code place_scratch(q_plan *plan, q_diag *diag)
{
    size_t workspaces = plan->config.workspace_size * plan->config.n_workers;
    for (uint32_t tag = 0; tag < Q_MAX_PLACES; tag++) {
        uint32_t n = collect_scratch(plan, tag);
        size_t high = 0;
        for (uint32_t i = 0; i < n; i++) {
            if (!place_one(plan->pieces, i, &high)) {
                return q_fail(diag, Q_ERR_OVERFLOW, "plan", "scratch", 0, 0);
            }
        }
        if (tag == 0) {
            plan->workspace_offset = high;
            if (!q_add_size(high, workspaces, &high)) {
                return q_fail(diag, Q_ERR_OVERFLOW, "plan", "workspaces", 0, 0);
            }
        }
        plan->needs.bytes[Q_REGION_SCRATCH][tag] = high;
    }
    if (plan->config.devices != NULL && !plan->config.devices->hooks->place_workspaces(plan)) {
        return q_fail(diag, Q_ERR_OVERFLOW, "plan", "workspaces", 0, 0);
    }
    for (uint32_t v = 0; v < plan->n_values; v++) {
        plan_value *value = &plan->values[v];
        value->data.offset = plan->values[value->root].data.offset;
    }
    return Q_OK;
}

/* ---- The regions in which everything lives for ever: one after the other --------------------------------- */

bool q_plan_append(q_plan *plan, q_region_kind kind, plan_piece *piece)
{
    size_t *end = &plan->needs.bytes[kind][piece->tag];
    piece->offset = *end;
    return q_add_size(*end, piece->bytes, end);
}

static q_error_code place_params(q_plan *plan, q_diag *diag)
{
    const q_model *m = plan->model;
    for (uint32_t i = 0; i < m->n.params; i++) {
        const model_param *p = &m->params[i];
        plan_param *slot = &plan->params[i];
        uint64_t rows = (uint64_t)p->type.ne[0] * p->type.ne[1] * p->type.ne[2];
        uint64_t bytes;
        if (p->view.data != NULL) {
            continue;
        }
        if (!q_matrix_bytes(p->type.dtype, p->type.layout, rows, p->type.ne[3], &bytes) ||
            !q_align_u64(bytes, Q_ALIGN, &bytes)) {
            return q_fail(diag, Q_ERR_OVERFLOW, p->name, "bytes", 0, 0);
        }
        slot->slot.bytes = (size_t)bytes;
        slot->slot.tag = q_plan_tag(plan, Q_REGION_PARAM, p->name);
        if (!q_plan_append(plan, Q_REGION_PARAM, &slot->slot)) {
            return q_fail(diag, Q_ERR_OVERFLOW, p->name, "bytes", 0, 0);
        }
        if (q_plan_trains(&plan->config) && p->trainable && slot->used) {
            slot->grad.bytes = slot->slot.bytes;
            slot->grad.tag = slot->moment.tag = slot->slot.tag;
            if (!q_mul_size(slot->slot.bytes, plan->config.moments, &slot->moment.bytes) ||
                !q_plan_append(plan, Q_REGION_TRAIN, &slot->grad) || !q_plan_append(plan, Q_REGION_TRAIN, &slot->moment)) {
                return q_fail(diag, Q_ERR_OVERFLOW, p->name, "gradient bytes", 0, 0);
            }
        }
    }
    for (uint32_t i = 0; plan->uses != NULL && i < m->n.param_refs; i++) {
        plan_piece *use = &plan->uses[i];
        if (use->bytes != 0) {
            use->bytes = plan->params[m->param_refs[i]].grad.bytes;
            use->tag = plan->params[m->param_refs[i]].grad.tag;
            if (!q_plan_append(plan, Q_REGION_TRAIN, use)) {
                return q_fail(diag, Q_ERR_OVERFLOW, m->params[m->param_refs[i]].name, "gradient bytes", 0, 0);
            }
        }
    }
    return Q_OK;
}

q_error_code q_plan_place(q_plan *plan, q_diag *diag)
{
    q_error_code e = place_scratch(plan, diag);
    if (e == Q_OK) {
        e = place_params(plan, diag);
    }
    if (e == Q_OK && q_plan_trains(&plan->config)) {
        e = q_plan_place_casts(plan, diag);
    }
    if (e == Q_OK && plan->config.devices != NULL) {
        e = plan->config.devices->hooks->place_prepared(plan, diag);
    }
    for (uint32_t k = 0; e == Q_OK && k < plan->n_steps; k++) {
        plan_step *s = &plan->steps[k];
        if (!q_plan_append(plan, Q_REGION_STATE, &s->state) || !q_plan_append(plan, Q_REGION_TRAIN, &s->saved) ||
            !q_plan_append(plan, Q_REGION_PREPARED, &s->prepared)) {
            e = q_fail(diag, Q_ERR_OVERFLOW, s->name, "state", 0, 0);
        }
    }
    for (uint32_t k = plan->n_steps; k < plan->n_steps + Q_TRAINING(plan->n_again); k++) {
        plan_step *s = &plan->steps[k];
        s->state = plan->steps[s->twin].state;
        s->saved = plan->steps[s->twin].saved;
    }
    return e;
}
