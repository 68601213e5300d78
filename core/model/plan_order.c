/* SPDX-License-Identifier: MIT */
/* Pass four: groups of independent steps, in-place operands, and the time each piece of memory lives. */
#include "devices.h"

/* Only a step with room for one more input has a fold. */
uint32_t q_plan_reads(const plan_step *s, uint32_t reads[Q_MAX_INPUTS + 1])
{
    uint32_t n = q_plan_n_operands(s);
    memcpy(reads, q_plan_sums(s) ? s->addend : s->in, n * sizeof(uint32_t));
    if (s->residual != Q_NONE) {
        reads[n++] = s->residual;
    }
    if (s->fold != Q_NONE) {
        reads[n++] = s->fold;
    }
    return n;
}

uint32_t q_plan_makes(const plan_step *s, uint32_t made[Q_MAX_OUTPUTS + 1])
{
    uint32_t n = 0;
    while (n < s->cls->n_out) {
        made[n] = s->out + n;
        n++;
    }
    if (q_plan_sums(s)) {
        made[n++] = s->in[0];
    }
    return n;
}

void q_plan_set_producers(q_plan *plan, uint32_t first)
{
    for (uint32_t k = first; k < plan->n_steps; k++) {
        uint32_t made[Q_MAX_OUTPUTS + 1];
        uint32_t n = q_plan_makes(&plan->steps[k], made);
        for (uint32_t i = 0; i < n; i++) {
            plan->values[made[i]].producer = k;
        }
    }
}

static bool reads_from_group(const q_plan *plan, const plan_step *s, uint32_t group)
{
    uint32_t reads[Q_MAX_INPUTS + 1];
    uint32_t n = q_plan_reads(s, reads);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t p = plan->values[reads[i]].producer;
        if (p != Q_NONE && plan->steps[p].group == group) {
            return true;
        }
    }
    return false;
}

static void make_groups(q_plan *plan)
{
    uint32_t group = 0;
    for (uint32_t k = 0; k < plan->n_steps; k++) {
        plan_step *s = &plan->steps[k];
        s->group = UINT32_MAX;
        if (k != 0 && (k == plan->n_body || reads_from_group(plan, s, group))) {
            group++;
        }
        s->group = group;
    }
    plan->n_groups = group + 1;
}

/* ---- Lifetimes ------------------------------------------------------------------------------------------ */

void q_plan_touch(plan_piece *piece, uint32_t time)
{
    piece->first = time < piece->first ? time : piece->first;
    piece->last = time > piece->last ? time : piece->last;
}

static void live_forward(q_plan *plan)
{
    uint32_t end = plan->n_groups + plan->n_events - 1;
    for (uint32_t v = 0; v < plan->n_values; v++) {
        plan_value *value = &plan->values[v];
        if (value->origin != v) {
            value->data.first = UINT32_MAX; /* made during backward */
            continue;
        }
        value->data.first = value->producer == Q_NONE ? 0 : plan->steps[value->producer].group;
        value->data.last = value->output ? end : value->data.first;
    }
    for (uint32_t k = 0; k < plan->n_steps; k++) {
        const plan_step *s = &plan->steps[k];
        uint32_t reads[Q_MAX_INPUTS + 1];
        uint32_t n = q_plan_reads(s, reads);
        for (uint32_t i = 0; i < n; i++) {
            plan_value *v = &plan->values[reads[i]];
            bool from_body = v->producer == Q_NONE || !plan->steps[v->producer].tail;
            /* the tail repeats: what the body hands it lives to the end */
            q_plan_touch(&v->data, s->tail && from_body ? end : s->group);
        }
    }
}

/* ---- In place -------------------------------------------------------------------------------------------- */

static bool read_elsewhere_in_group(const q_plan *plan, uint32_t k, uint32_t value)
{
    uint32_t group = plan->steps[k].group;
    uint32_t root = plan->values[value].root;
    for (uint32_t j = 0; j < plan->n_steps; j++) {
        uint32_t reads[Q_MAX_INPUTS + 1];
        uint32_t n;
        if (j == k || plan->steps[j].group != group) {
            continue;
        }
        n = q_plan_reads(&plan->steps[j], reads);
        for (uint32_t i = 0; i < n; i++) {
            if (plan->values[reads[i]].root == root) {
                return true;
            }
        }
    }
    return false;
}

/* What step k makes, `made`, in the memory of `value`, which it reads, or which is its sum. */
static bool may_take(const q_plan *plan, uint32_t k, uint32_t made, uint32_t value)
{
    const plan_step *s = &plan->steps[k];
    const plan_value *v = &plan->values[value];
    const plan_value *root = &plan->values[v->root];
    const plan_value *out = &plan->values[made];
    uint32_t reads[Q_MAX_INPUTS + 1];
    uint32_t n = q_plan_reads(s, reads);
    uint32_t same = 0;
    for (uint32_t i = 0; i < n; i++) {
        same += plan->values[reads[i]].root == v->root ? 1u : 0u;
    }
    return root->data.last == s->group && !v->output && v->type.dtype == out->type.dtype &&
           v->data.bytes == out->data.bytes && v->data.tag == out->data.tag && same <= 1 &&
           (v->producer == Q_NONE ? !s->tail : plan->steps[v->producer].tail == s->tail) &&
           !read_elsewhere_in_group(plan, k, value);
}

static bool take(q_plan *plan, uint32_t k, uint32_t made, uint32_t value)
{
    plan_value *out = &plan->values[made];
    if (!may_take(plan, k, made, value)) {
        return false;
    }
    out->root = plan->values[value].root;
    q_plan_touch(&plan->values[out->root].data, out->data.last);
    return true;
}

/* The sum takes an addend, which is read before it is written, row by row; the output the sum, or an addend that the sum has
   not taken. */
static void sum_in_place(q_plan *plan, uint32_t k)
{
    const plan_step *s = &plan->steps[k];
    bool taken;
    if (!take(plan, k, s->in[0], s->addend[0])) {
        (void)take(plan, k, s->in[0], s->addend[1]);
    }
    taken = (s->cls->in_place & 1u) == 0 || take(plan, k, s->out, s->in[0]);
    for (uint32_t i = 0; i < 2 && !taken; i++) {
        taken = plan->values[s->addend[i]].root != plan->values[s->in[0]].root && take(plan, k, s->out, s->addend[i]);
    }
}

static void make_in_place(q_plan *plan)
{
    if ((plan->config.flags & Q_PLAN_NO_IN_PLACE) != 0) {
        return;
    }
    for (uint32_t k = 0; k < plan->n_steps; k++) {
        plan_step *s = &plan->steps[k];
        bool taken = s->residual != Q_NONE && take(plan, k, s->out, s->residual);
        if (q_plan_sums(s)) {
            sum_in_place(plan, k);
            continue;
        }
        for (uint32_t i = 0; i < s->n_in && !taken; i++) {
            taken = (s->cls->in_place >> i & 1u) != 0 && take(plan, k, s->out, s->in[i]);
        }
    }
}

/* ---- Sizes ----------------------------------------------------------------------------------------------- */

uint8_t q_plan_tag(const q_plan *plan, q_region_kind kind, const char *name)
{
    uint8_t tag = plan->config.tag != NULL ? plan->config.tag(plan->config.tag_user, kind, name) : 0;
    return tag < Q_MAX_TAGS ? tag : 0;
}

static uint8_t piece_tag(const q_plan *plan, q_region_kind kind, const char *name, uint8_t place)
{
    uint8_t tag = q_plan_tag(plan, kind, name);
    return place != 0 ? q_place_tag(place) : tag;
}

static q_error_code size_values(q_plan *plan, q_diag *diag)
{
    for (uint32_t v = 0; v < plan->n_values; v++) {
        plan_value *value = &plan->values[v];
        size_t row;
        if (!value->used) {
            continue;
        }
        if (!q_plan_value_bytes(&value->type, &plan->config.max, &value->data.bytes, &row)) {
            return q_fail(diag, Q_ERR_OVERFLOW, value->name, "bytes of its output", 0, 0);
        }
        value->data.tag = piece_tag(plan, Q_REGION_SCRATCH, value->name, value->place);
        value->grad = value->data;
        value->grad.bytes = value->needs_grad ? value->data.bytes : 0;
        value->grad.first = UINT32_MAX;
        value->grad.last = 0;
    }
    return Q_OK;
}

static q_error_code size_steps(q_plan *plan, q_diag *diag)
{
    plan->rewinds = true;
    for (uint32_t k = 0; k < plan->n_steps; k++) {
        plan_step *s = &plan->steps[k];
        q_layer_sizes need = {0, 0, 0, 0};
        plan_view view;
        q_plan_view_step(plan, s, &view);
        if (s->cls->sizes != NULL) {
            s->cls->sizes(&view.info, &need);
        }
        if (!q_align_size(need.state, Q_ALIGN, &s->state_stride) ||
            !q_mul_size(s->state_stride, plan->config.max.sequences, &s->state.bytes) ||
            !q_align_size(need.scratch, Q_ALIGN, &s->scratch.bytes) ||
            !q_align_size(q_plan_trains(&plan->config) ? need.saved : 0, Q_ALIGN, &s->saved.bytes) ||
            !q_align_size(s->cls->make_constants != NULL ? need.constants : 0, Q_ALIGN, &s->constants.bytes) ||
            !q_add_size(plan->constant_bytes, s->constants.bytes, &plan->constant_bytes)) {
            return q_fail(diag, Q_ERR_OVERFLOW, s->name, "sizes", 0, 0);
        }
        s->constants.offset = plan->constant_bytes - s->constants.bytes;
        s->prepared.bytes = s->place != 0 ? s->constants.bytes : 0;
        s->prepared.tag = s->place != 0 ? q_place_tag(s->place) : 0;
        s->state.tag = piece_tag(plan, Q_REGION_STATE, s->name, s->place);
        s->scratch.tag = piece_tag(plan, Q_REGION_SCRATCH, s->name, s->place);
        s->saved.tag = piece_tag(plan, Q_REGION_TRAIN, s->name, s->place);
        s->scratch.first = s->scratch.last = s->group;
        s->scratch_back = s->scratch;
        s->scratch_back.bytes = s->has_backward ? s->scratch.bytes : 0;
        if ((s->cls->flags & Q_LAYER_STATEFUL) != 0 && need.state != 0) {
            if (plan->config.max.sequences > 1 && (s->cls->flags & Q_LAYER_SEQUENCES) == 0) {
                return q_fail(diag, Q_ERR_UNSUPPORTED, s->name, "one state for several sequences", 1,
                              plan->config.max.sequences);
            }
            plan->attends = true;
            plan->rewinds = plan->rewinds && (s->cls->flags & Q_LAYER_REWINDS) != 0;
        }
    }
    return Q_OK;
}

/* An activation of the epilogue goes back from the output; a sum that the step makes is one. */
static void find_reads(q_plan *plan)
{
    for (uint32_t k = 0; k < plan->n_steps; k++) {
        plan_step *s = &plan->steps[k];
        plan_view view;
        q_plan_view_step(plan, s, &view);
        s->saves = s->cls->reads != NULL ? s->cls->reads(&view.info) : s->cls->saves;
        s->saves |= s->activation != Q_ACT_NONE ? 1u << 8 : 0u;
        if (q_plan_sums(s)) {
            s->saves = (s->saves & ~1u) | (s->saves & 1u) << (8u + s->cls->n_out);
        }
    }
}

q_error_code q_plan_order(q_plan *plan, q_diag *diag)
{
    bool train = q_plan_trains(&plan->config);
    q_error_code e = Q_OK;
    make_groups(plan);
    if (train) {
        find_reads(plan);
        e = q_plan_mark_gradients(plan, diag);
    }
    if (e == Q_OK) {
        e = size_steps(plan, diag);
    }
    if (e == Q_OK && train) {
        q_plan_order_backward(plan);
    }
    if (e == Q_OK) {
        e = size_values(plan, diag);
    }
    if (e != Q_OK) {
        return e;
    }
    live_forward(plan);
    if (train) {
        q_plan_live_backward(plan);
    }
    if (plan->config.devices != NULL) {
        plan->config.devices->hooks->extend(plan);
    }
    make_in_place(plan);
    return Q_OK;
}
