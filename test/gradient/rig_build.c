/* SPDX-License-Identifier: MIT */
/* A case as a graph: its inputs behind sources whose gradients are checked, the probe at its end. */
#include "rig_inner.h"

#include <stdio.h>
#include <string.h>

rig_named *rig_find(const char *name)
{
    rig_named *n;
    for (uint32_t i = 0; i < rig_now.n_named; i++) {
        if (strcmp(rig_now.named[i].name, name) == 0) {
            return &rig_now.named[i];
        }
    }
    n = &rig_now.named[rig_now.n_named++];
    memset(n, 0, sizeof(*n));
    (void)snprintf(n->name, sizeof(n->name), "%s", name);
    return n;
}

static void keep_range(rig_named *n, double low, double high)
{
    n->low = low;
    n->high = high;
    if (low == 0 && high == 0) {
        n->low = -1;
        n->high = 1;
    }
}

static q_value_type type_of(uint32_t sym, uint32_t n0, uint32_t n1, uint32_t n2, uint32_t columns)
{
    q_value_type t;
    memset(&t, 0, sizeof(t));
    t.dtype = Q_REAL;
    t.dim[0].n = n0;
    t.dim[1].n = n1;
    t.dim[2].n = n2;
    t.dim[3].n = columns;
    t.dim[sym == Q_SYM_BATCH ? 0 : 2].sym = sym;
    return t;
}

q_value_type rig_rows(uint32_t columns)
{
    return type_of(Q_SYM_BATCH, 1, 1, 1, columns);
}

q_value_type rig_image(uint32_t height, uint32_t width, uint32_t channels)
{
    return type_of(Q_SYM_BATCH, 1, height, width, channels);
}

q_value_type rig_tokens(uint32_t columns)
{
    return type_of(Q_SYM_TOKENS, 1, 1, 1, columns);
}

q_value_type rig_ids(void)
{
    q_value_type t = rig_tokens(1);
    t.dtype = Q_I32;
    t.dim[2].sym = Q_SYM_ONE;
    t.dim[3].sym = Q_SYM_TOKENS;
    return t;
}

uint32_t rig_rows_of_case(const q_value_type *t)
{
    uint32_t rows = 1;
    for (uint32_t d = 0; d < Q_MAX_DIMS - 1; d++) {
        uint32_t sym = t->dim[d].sym;
        rows *= t->dim[d].n * (sym == Q_SYM_BATCH                          ? rig_now.max.batch
                               : sym == Q_SYM_TOKENS || sym == Q_SYM_ROWS  ? rig_now.max.tokens
                               : sym == Q_SYM_SELECTED                     ? rig_now.max.selected
                                                                           : 1);
    }
    return rows;
}

/* Elements of one sample (BATCH) or token, or of the whole value. */
size_t rig_unit_of(const q_value_type *t)
{
    return (size_t)t->dim[0].n * t->dim[1].n * t->dim[2].n * t->dim[3].n;
}

static q_value constant_input(q_graph *g, const char *name, const rig_input *in)
{
    q_input_desc d;
    rig_named *n = rig_find(name);
    keep_range(n, in->low, in->high);
    n->constant = true;
    n->type = in->type;
    n->limit = in->limit;
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.type = in->type;
    d.limit = in->limit;
    return q_graph_input(g, &d);
}

q_value rig_source(q_graph *g, const char *name, const rig_input *in)
{
    rig_source_config c;
    rig_param p;
    q_node_desc d;
    char slot[72];
    if (in->constant || in->type.dtype == Q_I32) {
        return constant_input(g, name, in);
    }
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        c.n[i] = in->type.dim[i].n;
        c.sym[i] = in->type.dim[i].sym;
    }
    memset(&p, 0, sizeof(p));
    p.rows = rig_rows_of_case(&in->type);
    p.columns = in->type.dim[3].n;
    p.low = in->low;
    p.high = in->high;
    (void)snprintf(slot, sizeof(slot), "d %s", name);
    memset(&d, 0, sizeof(d));
    d.cls = &rig_source_class;
    d.name = name;
    d.config = &c;
    d.n_param = 1;
    d.param[0] = rig_slot(g, slot, &p);
    if (rig_now.n_sources < Q_MAX_INPUTS) {
        rig_now.sources[rig_now.n_sources] = q_graph_node(g, &d);
        return rig_now.sources[rig_now.n_sources++];
    }
    return q_graph_node(g, &d);
}

q_param rig_slot(q_graph *g, const char *name, const rig_param *param)
{
    q_param_desc d;
    keep_range(rig_find(name), param->low, param->high);
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.type.dtype = Q_REAL;
    d.type.ne[0] = d.type.ne[1] = 1;
    d.type.ne[2] = param->rows;
    d.type.ne[3] = param->columns;
    d.trainable = !param->frozen;
    return q_graph_param(g, &d);
}

void rig_probe(q_graph *g, const q_value *values, uint32_t n)
{
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    q_graph_block(g, 0);
    d.cls = &rig_probe_class;
    d.name = "probe";
    for (uint32_t i = 0; i < n; i++) {
        d.in[d.n_in++] = values[i];
    }
    for (uint32_t i = 0; rig_now.feeding && i < rig_now.n_sources && d.n_in < Q_MAX_INPUTS; i++) {
        d.in[d.n_in++] = rig_now.sources[i];
    }
    q_graph_output(g, "loss", q_graph_node(g, &d));
}

void rig_build(q_graph *g, const void *unused)
{
    (void)unused;
    rig_now.n_sources = 0;
    q_graph_block(g, 1);
    rig_now.graph->build(g, rig_now.graph->user);
}

/* ---- One layer -------------------------------------------------------------------------------------------- */

static void build_layer(q_graph *g, const void *user)
{
    const rig_layer *layer = (const rig_layer *)user;
    uint32_t n_out = (layer->flags & RIG_FIRST_OUTPUT) != 0 ? 1 : layer->cls->n_out;
    q_value out[Q_MAX_OUTPUTS];
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = layer->cls;
    d.name = "layer";
    d.config = layer->config;
    d.n_in = layer->n_in;
    d.n_param = layer->n_param;
    for (uint32_t i = 0; i < 2u * layer->n_in; i++) { /* inputs of the graph come before its nodes */
        const rig_input *in = &layer->in[i % layer->n_in];
        char name[24];
        (void)snprintf(name, sizeof(name), "in %u", i % layer->n_in);
        if ((in->constant || in->type.dtype == Q_I32) == (i < layer->n_in)) {
            d.in[i % layer->n_in] = rig_source(g, name, in);
        }
    }
    for (uint32_t i = 0; i < layer->n_param; i++) {
        char name[24];
        (void)snprintf(name, sizeof(name), "param %u", i);
        d.param[i] = rig_slot(g, name, &layer->param[i]);
    }
    out[0] = q_graph_node(g, &d);
    for (uint32_t i = 1; i < n_out; i++) {
        out[i] = out[0] + i;
    }
    rig_probe(g, out, n_out);
}

void rig_check_layer(const rig_layer *layer)
{
    rig_graph graph;
    memset(&graph, 0, sizeof(graph));
    graph.name = layer->name;
    graph.build = build_layer;
    graph.user = layer;
    graph.step = layer->step;
    graph.flags = layer->flags;
    rig_check_graph(&graph);
}
