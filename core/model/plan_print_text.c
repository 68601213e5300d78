/* SPDX-License-Identifier: MIT */
/* A plan as a table for people: sizes first, then step by step what is read and written where and how long it
   lives, then the parameters, then totals. */
#include "plan_print.h"

/* Left-justified; a character of several bytes counts as one. */
static void table_cell(plan_out *out, const char *s, uint32_t width)
{
    uint32_t n = 0;
    for (const char *p = s; *p != '\0'; p++) {
        n += ((uint8_t)*p & 0xc0u) != 0x80u ? 1u : 0u;
    }
    q_print_str(out, s);
    q_print_str(out, " ");
    for (; n < width; n++) {
        q_print_str(out, " ");
    }
}

/* Right-justified, width at most 20. */
static void table_number(plan_out *out, uint64_t value, uint32_t width)
{
    char digits[24];
    q_text t;
    q_text_init(&t, digits, sizeof(digits));
    q_text_u64(&t, value, width);
    q_print_str(out, digits);
}

static void table_head(plan_out *out)
{
    const q_plan *p = out->plan;
    const q_plan_config *c = &p->config;
    q_print_str(out, "plan       ");
    q_print_str(out, q_print_mode(p));
    q_print_str(out, ", ");
    q_print_str(out, q_print_precision(p));
    q_print_count(out, "\nmaxima     batch ", c->max.batch, "");
    q_print_count(out, ", tokens ", c->max.tokens, "");
    q_print_count(out, ", selected ", c->max.selected, "");
    q_print_count(out, ", kv ", c->max.kv, " of ");
    q_print_str(out, q_print_dtype(p->kv_dtype));
    q_print_count(out, ", sequences ", c->max.sequences, "");
    q_print_count(out, "\nworkers    ", c->n_workers, "");
    q_print_count(out, ", each with a workspace of ", c->workspace_size, " bytes");
    for (uint32_t i = 0; i < q_plan_n_devices(c); i++) {
        q_print_count(out, "\ndevice ", i, "   ");
        q_print_str(out, c->devices->backend[i]->name);
        q_print_count(out, ", memory of tag ", Q_MAX_TAGS + i, "");
    }
    q_print_count(out, "\nsteps      ", p->n_steps, "");
    q_print_count(out, " in ", p->n_groups, " groups");
    q_print_count(out, "; ", p->n_steps - p->n_body, " of them once per window of selected rows");
    q_print_count(out, "\nnodes      ", p->model->n.nodes, "");
    q_print_count(out, ", ", p->n_pruned, " pruned");
    q_print_count(out, ", ", p->n_fused, " fused\n");
    if (c->mode == Q_PLAN_TRAIN) {
        q_print_count(out, "backward   ", p->n_events, " events");
        q_print_count(out, ", ", q_plan_n_steps_again(p), " of them steps run again\n");
    }
}

static void table_regions(plan_out *out)
{
    q_print_str(out, "\nregion    tag                bytes\n");
    for (uint32_t kind = 0; kind < Q_REGION_KINDS; kind++) {
        for (uint32_t tag = 0; tag < Q_MAX_PLACES; tag++) {
            size_t bytes = out->plan->needs.bytes[kind][tag];
            if (bytes != 0) {
                table_cell(out, q_print_region(kind), 9);
                table_number(out, tag, 3);
                table_number(out, bytes, 21);
                q_print_str(out, "\n");
            }
        }
    }
}

/* Where a piece lies; nothing where it has no bytes. */
static void table_piece(plan_out *out, const char *region, const plan_piece *piece)
{
    q_print_str(out, region);
    if (piece->tag != 0) {
        q_print_count(out, "/", piece->tag, "");
    }
    q_print_count(out, " +", piece->offset, "");
    q_print_count(out, ", ", piece->bytes, " bytes");
}

/* "v12", left-justified. */
static void table_index(plan_out *out, uint32_t value)
{
    char name[16];
    q_text t;
    q_text_init(&t, name, sizeof(name));
    q_text_str(&t, "v");
    q_text_u64(&t, value, 0);
    table_cell(out, name, 5);
}

static void table_value(plan_out *out, const char *role, uint32_t index)
{
    const plan_value *v = &out->plan->values[index];
    char shape[PLAN_SHAPE];
    q_print_shape(shape, &v->type);
    q_print_str(out, "      ");
    table_cell(out, role, 8);
    table_index(out, index);
    table_cell(out, q_print_dtype(v->type.dtype), 3);
    table_cell(out, shape, 16);
    table_piece(out, "scratch", &v->data);
    q_print_count(out, ", live [", v->data.first, ",");
    q_print_count(out, "", v->data.last, "]");
    if (v->root != index) {
        q_print_count(out, ", in place of v", v->root, "");
    }
    if (v->grad.bytes != 0 && v->grad.first <= v->grad.last) {
        table_piece(out, "; gradient scratch", &v->grad);
        q_print_count(out, ", live [", v->grad.first, ",");
        q_print_count(out, "", v->grad.last, "]");
    }
    q_print_str(out, v->output ? ", output\n" : "\n");
}

static void table_extra(plan_out *out, const char *role, const char *region, const plan_piece *piece)
{
    if (piece->bytes != 0) {
        q_print_str(out, "      ");
        table_cell(out, role, 8);
        table_piece(out, region, piece);
        q_print_str(out, "\n");
    }
}

static void table_step(plan_out *out, uint32_t k)
{
    const q_plan *p = out->plan;
    const plan_step *s = &p->steps[k];
    uint32_t reads[Q_MAX_INPUTS + 1];
    table_number(out, k, 5);
    table_number(out, s->group, 6);
    q_print_str(out, " ");
    table_cell(out, s->cls->name, 12);
    q_print_str(out, s->name);
    if (s->place != 0) {
        q_print_str(out, " on ");
        q_print_str(out, p->config.devices->backend[s->place - 1]->name);
        q_print_count(out, " (device ", s->place - 1u, ")");
    }
    q_print_str(out, s->tail ? " (per window)\n" : "\n");
    (void)q_plan_reads(s, reads);
    for (uint32_t i = 0; i < q_plan_n_operands(s); i++) {
        table_value(out, "in", reads[i]);
    }
    if (q_plan_sums(s)) {
        table_value(out, "sum", s->in[0]);
    }
    if (s->residual != Q_NONE) {
        table_value(out, "residual", s->residual);
    }
    if (s->fold != Q_NONE) {
        table_value(out, "fold", s->fold);
    }
    for (uint32_t i = 0; i < s->cls->n_out; i++) {
        table_value(out, "out", s->out + i);
    }
    table_extra(out, "state", "state", &s->state);
    table_extra(out, "scratch", "scratch", &s->scratch);
    table_extra(out, "back", "scratch", &s->scratch_back);
    table_extra(out, "saved", "train", &s->saved);
    table_extra(out, "constants", "prepared", &s->prepared);
}

static void table_steps(plan_out *out)
{
    const q_plan *p = out->plan;
    q_print_str(out, "\n step group class        name\n");
    for (uint32_t i = 0; i < p->model->n.inputs; i++) {
        q_print_str(out, "           input        ");
        q_print_str(out, p->model->inputs[i].name);
        q_print_str(out, "\n");
        table_value(out, "out", i);
    }
    for (uint32_t k = 0; k < p->n_steps; k++) {
        table_step(out, k);
    }
}

/* Steps that run again for backward, in the order in which they do. */
static void table_again(plan_out *out)
{
    const q_plan *p = out->plan;
    if (p->n_again == 0) {
        return;
    }
    q_print_str(out, "\nagain  time class        name\n");
    for (uint32_t i = 0; i < p->n_events; i++) {
        if (!p->events[i].backward) {
            table_step(out, p->events[i].step);
        }
    }
}

static void table_param(plan_out *out, uint32_t i)
{
    const model_param *param = &out->plan->model->params[i];
    const plan_param *slot = &out->plan->params[i];
    char shape[PLAN_SHAPE];
    q_value_type type;
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        type.dim[d].n = param->type.ne[d];
        type.dim[d].sym = Q_SYM_ONE;
    }
    table_number(out, i, 5);
    q_print_str(out, " ");
    table_cell(out, q_print_dtype(param->type.dtype), 4);
    table_cell(out, q_print_layout(param->type.layout), 7);
    table_number(out, q_print_param_bytes(param), 14);
    q_print_str(out, " ");
    q_print_str(out, param->name);
    q_print_str(out, " ");
    q_print_shape(shape, &type);
    q_print_str(out, shape);
    if (param->view.data != NULL) {
        q_print_str(out, ", view");
    } else {
        table_piece(out, ", param", &slot->slot);
    }
    if (slot->grad.bytes != 0) {
        table_piece(out, ", gradient train", &slot->grad);
    }
    if (slot->moment.bytes != 0) {
        table_piece(out, ", moments train", &slot->moment);
    }
    for (uint32_t d = 0; d < q_plan_n_devices(&out->plan->config); d++) {
        const plan_piece *piece = &out->plan->prepared[(size_t)d * out->plan->model->n.params + i];
        if (piece->bytes != 0) {
            table_piece(out, ", prepared", piece);
        }
    }
    q_print_str(out, slot->used ? "\n" : ", unused\n");
}

static void table_totals(plan_out *out)
{
    const q_plan *p = out->plan;
    uint64_t views = 0;
    uint64_t needs = 0;
    uint32_t n_views = 0;
    for (uint32_t i = 0; i < p->model->n.params; i++) {
        if (p->model->params[i].view.data != NULL) {
            views += q_print_param_bytes(&p->model->params[i]);
            n_views++;
        }
    }
    for (uint32_t kind = Q_REGION_PARAM; kind < Q_REGION_KINDS; kind++) {
        for (uint32_t tag = 0; tag < Q_MAX_PLACES; tag++) {
            needs += p->needs.bytes[kind][tag];
        }
    }
    q_print_count(out, "\nviews      ", n_views, " parameters used where they lie");
    q_print_count(out, ", ", views, " bytes");
    q_print_count(out, "\nregions    ", needs, " bytes\n");
}

void q_print_plan_text(plan_out *out)
{
    table_head(out);
    table_regions(out);
    table_steps(out);
    table_again(out);
    q_print_str(out, "\nparam type layout           bytes name\n");
    for (uint32_t i = 0; i < out->plan->model->n.params; i++) {
        table_param(out, i);
    }
    table_totals(out);
}
