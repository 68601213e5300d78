/* SPDX-License-Identifier: MIT */
/*
 * A plan as a Graphviz graph: a box for each step, with what is fused into it, and an edge for each value a step reads,
 * labelled with its shape; thick where the step's output takes the value's memory. Steps of a block stand in a frame;
 * of blocks that are alike, one behind the other, the first is drawn and the others are one box.
 */
#include "plan_print.h"

/* ---- Blocks ----------------------------------------------------------------------------------------------- */

enum { DOT_FEWEST_HIDDEN = 2 };

/* The block a step is drawn in: a step that the plan put before a node goes with the node. */
static uint32_t block_at(const q_plan *p, uint32_t k)
{
    while (k + 1 < p->n_steps && (p->steps[k].cls->id == Q_LAYER_QUANTIZE || p->steps[k].cls->id == Q_LAYER_FAKE_QUANTIZE) &&
           p->steps[k].block == 0) {
        k++;
    }
    return p->steps[k].block;
}

/* The end of the steps of k's block that follow one another from k on; k + 1 where it is in none. */
static uint32_t block_end(const q_plan *p, uint32_t k)
{
    uint32_t block = block_at(p, k);
    uint32_t end = k + 1;
    while (block != 0 && end < p->n_steps && block_at(p, end) == block) {
        end++;
    }
    return end;
}

static bool same_type(const q_value_type *a, const q_value_type *b)
{
    bool same = a->dtype == b->dtype;
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        same = same && a->dim[i].n == b->dim[i].n && a->dim[i].sym == b->dim[i].sym;
    }
    return same;
}

static bool steps_alike(const q_plan *p, const plan_step *a, const plan_step *b)
{
    uint32_t read_a[Q_MAX_INPUTS + 1];
    uint32_t read_b[Q_MAX_INPUTS + 1];
    uint32_t n = q_plan_reads(a, read_a);
    bool same = a->cls == b->cls && a->activation == b->activation && (a->residual == Q_NONE) == (b->residual == Q_NONE) &&
                (a->fold == Q_NONE) == (b->fold == Q_NONE) && q_plan_sums(a) == q_plan_sums(b) && a->tail == b->tail &&
                a->place == b->place && n == q_plan_reads(b, read_b) && same_type(&p->values[a->out].type, &p->values[b->out].type);
    for (uint32_t i = 0; same && i < n; i++) {
        same = same_type(&p->values[read_a[i]].type, &p->values[read_b[i]].type);
    }
    return same;
}

/* The end of the blocks that follow the one from `begin` to `end` and are like it; n: how many. */
static uint32_t alike_end(const q_plan *p, uint32_t begin, uint32_t end, uint32_t *n)
{
    uint32_t length = end - begin;
    uint32_t at = end;
    *n = 0;
    while (length > 1 && at < p->n_steps && block_end(p, at) == at + length) {
        for (uint32_t i = 0; i < length; i++) {
            if (!steps_alike(p, &p->steps[begin + i], &p->steps[at + i])) {
                return at;
            }
        }
        at += length;
        ++*n;
    }
    return at;
}

/* What is drawn for step k: itself, or the first of the blocks that are one box. O(steps) */
static uint32_t drawn_as(const q_plan *p, uint32_t k)
{
    for (uint32_t at = 0; at <= k;) {
        uint32_t end = block_end(p, at);
        uint32_t n;
        uint32_t alike = alike_end(p, at, end, &n);
        if (n >= DOT_FEWEST_HIDDEN && k >= end && k < alike) {
            return end;
        }
        at = n >= DOT_FEWEST_HIDDEN ? alike : end;
    }
    return k;
}

/* What the names of a block's steps begin with, up to a point: "layers.0". */
static void dot_block_name(plan_out *out, uint32_t begin, uint32_t end)
{
    const plan_step *steps = out->plan->steps;
    char name[Q_CAP_NAME + 1];
    uint32_t same = UINT32_MAX;
    uint32_t n = 0;
    for (uint32_t k = begin + 1; k < end; k++) {
        uint32_t i = 0;
        while (i < same && steps[k].name[i] != '\0' && steps[k].name[i] == steps[begin].name[i]) {
            i++;
        }
        same = i;
    }
    for (uint32_t i = 0; i < same && i < Q_CAP_NAME; i++) {
        name[i] = steps[begin].name[i];
        n = name[i] == '.' ? i : n;
    }
    name[n] = '\0';
    if (n == 0) {
        q_print_count(out, "block ", block_at(out->plan, begin), "");
    }
    q_print_escaped(out, name);
}

/* ---- Edges ------------------------------------------------------------------------------------------------ */

/* From what makes a value, a step or an input. */
static void dot_edge(plan_out *out, uint32_t value, const char *to, uint32_t number, bool taken, const char *style)
{
    const plan_value *v = &out->plan->values[value];
    bool input = v->producer == Q_NONE;
    char shape[PLAN_SHAPE];
    q_print_count(out, input ? "    i" : "    s", input ? value : drawn_as(out->plan, v->producer), " -> ");
    q_print_count(out, to, number, " [label=\"");
    q_print_shape(shape, &v->type);
    q_print_str(out, shape);
    q_print_str(out, " ");
    q_print_str(out, q_print_dtype(v->type.dtype));
    q_print_str(out, taken ? "\\nin place\", color=\"#c8742a\", penwidth=2" : "\"");
    q_print_str(out, style);
    q_print_str(out, "];\n");
}

static bool is_read_before(const q_plan *p, uint32_t begin, uint32_t end, uint32_t value)
{
    for (uint32_t k = begin; k < end; k++) {
        uint32_t reads[Q_MAX_INPUTS + 1];
        uint32_t n = q_plan_reads(&p->steps[k], reads);
        for (uint32_t i = 0; i < n; i++) {
            if (reads[i] == value) {
                return true;
            }
        }
    }
    return false;
}

/* True if something that step s makes takes the memory of `value`. */
static bool is_taken(const q_plan *p, const plan_step *s, uint32_t value)
{
    uint32_t made[Q_MAX_OUTPUTS + 1];
    uint32_t n = q_plan_makes(s, made);
    bool taken = false;
    for (uint32_t i = 0; i < n; i++) {
        taken = taken || (p->values[made[i]].root != made[i] && p->values[made[i]].root == p->values[value].root);
    }
    return taken;
}

/* What step k reads; a value whose memory something takes that the step makes stands out. */
static void dot_reads(plan_out *out, uint32_t k)
{
    const q_plan *p = out->plan;
    const plan_step *s = &p->steps[k];
    uint32_t reads[Q_MAX_INPUTS + 1];
    uint32_t n = q_plan_reads(s, reads);
    for (uint32_t i = 0; i < n; i++) {
        bool fold = i == n - 1 && s->fold != Q_NONE;
        dot_edge(out, reads[i], "s", k, is_taken(p, s, reads[i]),
                 i < q_plan_n_operands(s) ? "" : fold ? ", style=dotted" : ", style=dashed");
    }
}

/* Blocks that are one box, and what they read from before them: the first of them stands for all. */
static void dot_hidden(plan_out *out, uint32_t begin, uint32_t end, uint32_t n)
{
    const q_plan *p = out->plan;
    uint32_t length = (end - begin) / n;
    q_print_count(out, "    s", begin, " [label=\"");
    dot_block_name(out, begin, begin + length);
    q_print_str(out, " \xe2\x80\xa6 ");
    dot_block_name(out, end - length, end);
    q_print_count(out, "\\n", n, " blocks like the one before\", peripheries=3];\n");
    for (uint32_t k = begin; k < begin + length; k++) {
        uint32_t reads[Q_MAX_INPUTS + 1];
        uint32_t n_reads = q_plan_reads(&p->steps[k], reads);
        for (uint32_t i = 0; i < n_reads; i++) {
            uint32_t producer = p->values[reads[i]].producer;
            if ((producer == Q_NONE || producer < begin) && !is_read_before(p, begin, k, reads[i])) {
                dot_edge(out, reads[i], "s", begin, false, "");
            }
        }
    }
}

/* ---- Nodes ------------------------------------------------------------------------------------------------ */

static void dot_end(plan_out *out, const char *kind, uint32_t number, const char *what, const char *name)
{
    q_print_count(out, kind, number, " [label=\"");
    q_print_str(out, what);
    q_print_str(out, "\\n");
    q_print_escaped(out, name);
    q_print_str(out, "\", shape=ellipse, fillcolor=\"#eeeeee\"];\n");
}

/* "conv2d + batchnorm + relu" or "add + rmsnorm", then its name. Steps with parameters are tinted. */
static void dot_step(plan_out *out, uint32_t k)
{
    const plan_step *s = &out->plan->steps[k];
    q_print_count(out, "    s", k, q_plan_sums(s) ? " [label=\"add + " : " [label=\"");
    q_print_escaped(out, s->cls->name);
    q_print_str(out, s->fold != Q_NONE ? " + batchnorm" : "");
    if (s->activation != Q_ACT_NONE) {
        q_print_str(out, " + ");
        q_print_str(out, q_print_activation(s->activation));
    }
    q_print_str(out, s->residual != Q_NONE ? " + add\\n" : "\\n");
    q_print_escaped(out, s->name);
    q_print_str(out, s->n_param != 0 ? "\", fillcolor=\"#dbe7f3\"" : "\"");
    q_print_str(out, s->tail ? ", style=\"filled,rounded\"" : "");
    q_print_str(out, s->place != 0 ? ", peripheries=2];\n" : "];\n");
}

/* Steps of one block in a frame; edges outside it, or their ends would be drawn into it. */
static void dot_block(plan_out *out, uint32_t begin, uint32_t end)
{
    if (end - begin > 1) {
        q_print_count(out, "    subgraph cluster_", begin, " {\n    label=\"");
        dot_block_name(out, begin, end);
        q_print_str(out, "\";\n");
    }
    for (uint32_t k = begin; k < end; k++) {
        dot_step(out, k);
    }
    q_print_str(out, end - begin > 1 ? "    }\n" : "");
    for (uint32_t k = begin; k < end; k++) {
        dot_reads(out, k);
    }
}

void q_print_plan_dot(plan_out *out)
{
    const q_plan *p = out->plan;
    const q_model *m = p->model;
    q_print_str(out, "digraph plan {\n"
                     "    graph [color=\"#aaaaaa\", fontname=\"sans-serif\", fontsize=11, labeljust=l];\n"
                     "    node [shape=box, style=filled, fillcolor=white, "
                     "color=\"#666666\", fontname=\"sans-serif\", fontsize=11];\n"
                     "    edge [color=\"#666666\", fontcolor=\"#444444\", fontname=\"sans-serif\", fontsize=9];\n");
    for (uint32_t i = 0; i < m->n.inputs; i++) {
        dot_end(out, "    i", i, "input", m->inputs[i].name);
    }
    for (uint32_t k = 0; k < p->n_steps;) {
        uint32_t end = block_end(p, k);
        uint32_t n;
        uint32_t alike = alike_end(p, k, end, &n);
        dot_block(out, k, end);
        if (n >= DOT_FEWEST_HIDDEN) {
            dot_hidden(out, end, alike, n);
        }
        k = n >= DOT_FEWEST_HIDDEN ? alike : end;
    }
    for (uint32_t i = 0; i < m->n.outputs; i++) {
        dot_end(out, "    o", i, "output", m->outputs[i].name);
        dot_edge(out, q_plan_output(p, i), "o", i, false, "");
    }
    q_print_str(out, "}\n");
}
