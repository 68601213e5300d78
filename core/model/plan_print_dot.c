/* SPDX-License-Identifier: MIT */
/* A plan as a Graphviz graph: a box for each step, an edge for each value a step reads, labelled with its shape. */
#include "plan_print.h"

/* The end of a value that makes it: a step, or an input. */
static void dot_source(plan_out *out, uint32_t value)
{
    uint32_t producer = out->plan->values[value].producer;
    q_print_count(out, producer == Q_NONE ? "    i" : "    s", producer == Q_NONE ? value : producer, " -> ");
}

static void dot_label(plan_out *out, uint32_t value, const char *style)
{
    const plan_value *v = &out->plan->values[value];
    char shape[PLAN_SHAPE];
    q_print_shape(shape, &v->type);
    q_print_str(out, " [label=\"");
    q_print_str(out, shape);
    q_print_str(out, " ");
    q_print_str(out, q_print_dtype(v->type.dtype));
    q_print_str(out, "\"");
    q_print_str(out, style);
    q_print_str(out, "];\n");
}

static void dot_node(plan_out *out, const char *kind, uint32_t number, const char *first, const char *second,
                     const char *style)
{
    q_print_count(out, kind, number, " [label=\"");
    q_print_escaped(out, first);
    q_print_str(out, "\\n");
    q_print_escaped(out, second);
    q_print_str(out, "\"");
    q_print_str(out, style);
    q_print_str(out, "];\n");
}

static void dot_step(plan_out *out, uint32_t k)
{
    const plan_step *s = &out->plan->steps[k];
    dot_node(out, "    s", k, s->cls->name, s->name, s->place != 0 ? ", peripheries=2" : s->tail ? ", style=rounded" : "");
    for (uint32_t i = 0; i < s->n_in; i++) {
        dot_source(out, s->in[i]);
        q_print_count(out, "s", k, "");
        dot_label(out, s->in[i], "");
    }
    if (s->residual != Q_NONE) {
        dot_source(out, s->residual);
        q_print_count(out, "s", k, "");
        dot_label(out, s->residual, ", style=dashed");
    }
    if (s->fold != Q_NONE) {
        dot_source(out, s->fold);
        q_print_count(out, "s", k, "");
        dot_label(out, s->fold, ", style=dotted");
    }
}

void q_print_plan_dot(plan_out *out)
{
    const q_plan *p = out->plan;
    const q_model *m = p->model;
    q_print_str(out, "digraph plan {\n    node [shape=box];\n");
    for (uint32_t i = 0; i < m->n.inputs; i++) {
        dot_node(out, "    i", i, "input", m->inputs[i].name, ", shape=ellipse");
    }
    for (uint32_t k = 0; k < p->n_steps; k++) {
        dot_step(out, k);
    }
    for (uint32_t i = 0; i < m->n.outputs; i++) {
        dot_node(out, "    o", i, "output", m->outputs[i].name, ", shape=ellipse");
        dot_source(out, q_plan_output(p, i));
        q_print_count(out, "o", i, "");
        dot_label(out, q_plan_output(p, i), "");
    }
    q_print_str(out, "}\n");
}
