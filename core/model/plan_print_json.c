/* SPDX-License-Identifier: MIT */
/* A plan as JSON: everything it knows, each list on lines of its own. docs: the names of the fields are those of
   plan.h; numbers are decimal, absent things are null. */
#include "plan_print.h"

static void json_field(plan_out *out, const char *name, uint64_t value)
{
    q_print_str(out, ",\"");
    q_print_str(out, name);
    q_print_count(out, "\":", value, "");
}

static void json_text(plan_out *out, const char *name, const char *value)
{
    q_print_str(out, ",\"");
    q_print_str(out, name);
    q_print_str(out, "\":");
    q_print_quoted(out, value);
}

static void json_bool(plan_out *out, const char *name, bool value)
{
    q_print_str(out, ",\"");
    q_print_str(out, name);
    q_print_str(out, value ? "\":true" : "\":false");
}

/* A value's or parameter's number, or null. */
static void json_index(plan_out *out, const char *name, uint32_t index)
{
    if (index != Q_NONE) {
        json_field(out, name, index);
        return;
    }
    q_print_str(out, ",\"");
    q_print_str(out, name);
    q_print_str(out, "\":null");
}

/* A piece of a region; null if it has no bytes. */
static void json_piece(plan_out *out, const char *name, const plan_piece *piece, bool lives)
{
    q_print_str(out, ",\"");
    q_print_str(out, name);
    if (piece->bytes == 0) {
        q_print_str(out, "\":null");
        return;
    }
    q_print_count(out, "\":{\"tag\":", piece->tag, "");
    json_field(out, "offset", piece->offset);
    json_field(out, "bytes", piece->bytes);
    if (lives) {
        json_field(out, "first", piece->first);
        json_field(out, "last", piece->last);
    }
    q_print_str(out, "}");
}

static void json_list(plan_out *out, const char *name, const uint32_t *items, uint32_t n)
{
    q_print_str(out, ",\"");
    q_print_str(out, name);
    q_print_str(out, "\":[");
    for (uint32_t i = 0; i < n; i++) {
        q_print_count(out, i == 0 ? "" : ",", items[i], "");
    }
    q_print_str(out, "]");
}

static void json_head(plan_out *out)
{
    const q_plan *p = out->plan;
    const q_plan_config *c = &p->config;
    q_print_str(out, "{\"mode\":");
    q_print_quoted(out, q_print_mode(p));
    json_text(out, "precision", q_print_precision(p));
    json_text(out, "kv_dtype", q_print_dtype(p->kv_dtype));
    q_print_count(out, ",\"max\":{\"batch\":", c->max.batch, "");
    json_field(out, "tokens", c->max.tokens);
    json_field(out, "selected", c->max.selected);
    json_field(out, "kv", c->max.kv);
    json_field(out, "sequences", c->max.sequences);
    q_print_str(out, "}");
    json_field(out, "workers", c->n_workers);
    json_field(out, "workspace_bytes", c->workspace_size);
    json_field(out, "workspace_offset", p->workspace_offset);
    json_bool(out, "fuse", (c->flags & Q_PLAN_NO_FUSE) == 0);
    json_bool(out, "in_place", (c->flags & Q_PLAN_NO_IN_PLACE) == 0);
    if (c->mode == Q_PLAN_TRAIN) {
        json_bool(out, "recompute", (c->flags & Q_PLAN_RECOMPUTE) != 0);
        json_field(out, "moments", c->moments);
    }
    json_field(out, "nodes", p->model->n.nodes);
    json_field(out, "body_steps", p->n_body);
    json_field(out, "groups", p->n_groups);
    json_field(out, "pruned", p->n_pruned);
    json_field(out, "fused", p->n_fused);
}

static void json_regions(plan_out *out)
{
    bool any = false;
    q_print_str(out, ",\n\"regions\":[");
    for (uint32_t kind = 0; kind < Q_REGION_KINDS; kind++) {
        for (uint32_t tag = 0; tag < Q_MAX_PLACES; tag++) {
            if (out->plan->needs.bytes[kind][tag] == 0) {
                continue;
            }
            q_print_str(out, any ? ",\n{\"kind\":" : "\n{\"kind\":");
            q_print_quoted(out, q_print_region(kind));
            json_field(out, "tag", tag);
            json_field(out, "bytes", out->plan->needs.bytes[kind][tag]);
            q_print_str(out, "}");
            any = true;
        }
    }
    q_print_str(out, "]");
}

static void json_step(plan_out *out, uint32_t k)
{
    const plan_step *s = &out->plan->steps[k];
    uint32_t reads[Q_MAX_INPUTS + 1];
    uint32_t made[Q_MAX_OUTPUTS + 1];
    uint32_t n_made = q_plan_makes(s, made);
    (void)q_plan_reads(s, reads);
    q_print_count(out, "\n{\"step\":", k, "");
    json_field(out, "group", s->group);
    if (out->plan->config.devices != NULL) {
        json_field(out, "place", s->place);
    }
    json_text(out, "class", s->cls->name);
    json_text(out, "name", s->name);
    json_list(out, "in", reads, q_plan_n_operands(s));
    json_list(out, "out", made, n_made);
    if (q_plan_sums(s)) {
        json_index(out, "sum", s->in[0]);
    }
    json_list(out, "params", s->params, s->n_param);
    json_index(out, "residual", s->residual);
    if (s->fold != Q_NONE) {
        json_index(out, "fold", s->fold);
    }
    if (s->activation != Q_ACT_NONE) {
        json_text(out, "activation", q_print_activation(s->activation));
    }
    if (s->block != 0) {
        json_field(out, "block", s->block);
    }
    json_bool(out, "tail", s->tail);
    json_bool(out, "backward", s->has_backward);
    if (s->twin != Q_NONE) {
        json_field(out, "twin", s->twin);
        json_bool(out, "runs", s->runs);
    }
    json_field(out, "saves", s->saves);
    json_piece(out, "state", &s->state, false);
    json_piece(out, "scratch", &s->scratch, true);
    if (s->has_backward) {
        json_piece(out, "scratch_back", &s->scratch_back, true);
    }
    json_piece(out, "saved", &s->saved, false);
    q_print_str(out, "}");
}

static void json_steps(plan_out *out, const char *name, uint32_t first, uint32_t end)
{
    q_print_str(out, ",\n\"");
    q_print_str(out, name);
    q_print_str(out, "\":[");
    for (uint32_t k = first; k < end; k++) {
        q_print_str(out, k == first ? "" : ",");
        json_step(out, k);
    }
    q_print_str(out, "]");
}

/* What backward does, and the gradients of parameters' second and later uses. */
static void json_backward(plan_out *out)
{
    const q_plan *p = out->plan;
    bool any = false;
    json_steps(out, "again", p->n_steps, p->n_steps + p->n_again);
    q_print_str(out, ",\n\"events\":[");
    for (uint32_t i = 0; i < p->n_events; i++) {
        q_print_count(out, i == 0 ? "{\"step\":" : ",{\"step\":", p->events[i].step, "");
        json_bool(out, "backward", p->events[i].backward);
        q_print_str(out, "}");
    }
    q_print_str(out, "],\n\"uses\":[");
    for (uint32_t i = 0; i < p->model->n.param_refs; i++) {
        if (p->uses[i].bytes != 0) {
            q_print_count(out, any ? ",{\"param\":" : "{\"param\":", p->model->param_refs[i], "");
            json_piece(out, "grad", &p->uses[i], false);
            q_print_str(out, "}");
            any = true;
        }
    }
    q_print_str(out, "]");
}

static void json_shape(plan_out *out, const q_value_type *type)
{
    q_print_str(out, ",\"shape\":[");
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        q_print_count(out, i == 0 ? "[" : ",[", type->dim[i].n, ",");
        q_print_quoted(out, q_print_sym(type->dim[i].sym));
        q_print_str(out, "]");
    }
    q_print_str(out, "]");
}

static void json_values(plan_out *out)
{
    const q_plan *p = out->plan;
    bool any = false;
    q_print_str(out, ",\n\"values\":[");
    for (uint32_t v = 0; v < p->n_values; v++) {
        const plan_value *value = &p->values[v];
        if (!value->used) {
            continue;
        }
        q_print_count(out, any ? ",\n{\"value\":" : "\n{\"value\":", v, "");
        any = true;
        json_text(out, "name", value->name);
        json_index(out, "producer", value->producer);
        json_text(out, "dtype", q_print_dtype(value->type.dtype));
        json_shape(out, &value->type);
        json_field(out, "root", value->root);
        if (value->origin != v) {
            json_field(out, "origin", value->origin);
        }
        json_bool(out, "output", value->output);
        json_piece(out, "data", &value->data, true);
        json_piece(out, "grad", &value->grad, true);
        q_print_str(out, "}");
    }
    q_print_str(out, "]");
}

static void json_params(plan_out *out)
{
    const q_model *m = out->plan->model;
    q_print_str(out, ",\n\"params\":[");
    for (uint32_t i = 0; i < m->n.params; i++) {
        const model_param *param = &m->params[i];
        const plan_param *slot = &out->plan->params[i];
        q_print_count(out, i == 0 ? "\n{\"param\":" : ",\n{\"param\":", i, "");
        json_text(out, "name", param->name);
        json_text(out, "dtype", q_print_dtype(param->type.dtype));
        json_text(out, "layout", q_print_layout(param->type.layout));
        json_list(out, "ne", param->type.ne, Q_MAX_DIMS);
        json_field(out, "bytes", q_print_param_bytes(param));
        json_bool(out, "view", param->view.data != NULL);
        json_bool(out, "trainable", param->trainable);
        json_bool(out, "used", slot->used);
        json_piece(out, "slot", &slot->slot, false);
        json_piece(out, "grad", &slot->grad, false);
        if (slot->moment.bytes != 0) {
            json_piece(out, "moment", &slot->moment, false);
        }
        q_print_str(out, "}");
    }
    q_print_str(out, "]");
}

static void json_ends(plan_out *out)
{
    const q_model *m = out->plan->model;
    q_print_str(out, ",\n\"inputs\":[");
    for (uint32_t i = 0; i < m->n.inputs; i++) {
        q_print_str(out, i == 0 ? "{\"name\":" : ",{\"name\":");
        q_print_quoted(out, m->inputs[i].name);
        json_field(out, "value", i);
        q_print_str(out, "}");
    }
    q_print_str(out, "],\n\"outputs\":[");
    for (uint32_t i = 0; i < m->n.outputs; i++) {
        q_print_str(out, i == 0 ? "{\"name\":" : ",{\"name\":");
        q_print_quoted(out, m->outputs[i].name);
        json_field(out, "value", q_plan_output(out->plan, i));
        q_print_str(out, "}");
    }
    q_print_str(out, "]");
}

void q_print_plan_json(plan_out *out)
{
    json_head(out);
    json_regions(out);
    json_ends(out);
    json_steps(out, "steps", 0, out->plan->n_steps);
    if (out->plan->config.mode == Q_PLAN_TRAIN) {
        json_backward(out);
    }
    json_values(out);
    json_params(out);
    q_print_str(out, "}\n");
}
