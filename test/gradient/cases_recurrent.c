/* SPDX-License-Identifier: MIT */
/*
 * Gradients of RNN, LSTM and GRU: samples of equal length and spans of different ones, with and without biases, each
 * parameter frozen in turn, two levels, dimensions around the sixteen columns of a panel, and so many units that three workers
 * share them.
 */
#include "cases.h"

#include <stdio.h>
#include <string.h>

enum { MANY_UNITS = 32 };

typedef struct kind {
    const q_layer_class *cls;
    const void *config;
    const char *name;
    uint32_t blocks;
} kind;

static const q_rnn_config with_tanh = {Q_ACT_TANH, 0};
static const q_rnn_config with_relu = {Q_ACT_RELU, 0};
static const kind kinds[] = {
    {&q_layer_rnn, &with_tanh, "rnn", 1},
    {&q_layer_rnn, &with_relu, "rnn of relu", 1},
    {&q_layer_lstm, NULL, "lstm", 4},
    {&q_layer_gru, NULL, "gru", 3},
};

static q_value_type samples_of(uint32_t steps, uint32_t columns)
{
    return rig_image(1, steps, columns);
}

static rig_layer layer_of(const kind *k, const char *name, uint32_t columns, uint32_t dim, uint32_t n_param)
{
    rig_layer layer;
    memset(&layer, 0, sizeof(layer));
    layer.name = name;
    layer.cls = k->cls;
    layer.config = k->config;
    layer.n_in = 1;
    layer.n_param = n_param;
    layer.param[0] = (rig_param){k->blocks * dim, columns, 0, 0, false};
    layer.param[1] = (rig_param){k->blocks * dim, dim, 0, 0, false};
    layer.param[2] = (rig_param){1, k->blocks * dim, 0, 0, false};
    layer.param[3] = layer.param[2];
    if (dim > MANY_UNITS) { /* a pre-activation is a sum of so many */
        layer.param[1].low = -0.1;
        layer.param[1].high = 0.1;
    }
    return layer;
}

static void check_samples(const kind *k, uint32_t batch, uint32_t steps, uint32_t columns, uint32_t dim,
                          uint32_t n_param)
{
    char name[80] = "";
    rig_layer layer = layer_of(k, name, columns, dim, n_param);
    (void)snprintf(name, sizeof(name), "%s %u-%u, %u x %u rows, %u parameters", k->name, columns, dim, batch, steps,
                   n_param);
    layer.in[0].type = samples_of(steps, columns);
    layer.param[1].frozen = steps == 1; /* h before is 0, and so is its gradient */
    layer.step.n_batch = batch;
    rig_check_layer(&layer);
}

static void check_spans(const kind *k, rig_step step, uint32_t columns, uint32_t dim, uint32_t n_param)
{
    char name[80] = "";
    rig_layer layer = layer_of(k, name, columns, dim, n_param);
    (void)snprintf(name, sizeof(name), "%s %u-%u, %u spans, %u parameters", k->name, columns, dim, step.n_spans, n_param);
    layer.in[0].type = rig_tokens(columns);
    layer.param[1].frozen = step.span_rows[0] == 1 && step.n_spans == 4;
    layer.step = step;
    layer.flags = step.n_spans == 7 ? RIG_TURNS : 0;
    rig_check_layer(&layer);
}

static void check_frozen(const kind *k)
{
    for (uint32_t i = 0; i < 5; i++) {
        char name[80] = "";
        rig_layer layer = layer_of(k, name, 3, 4, 4);
        (void)snprintf(name, sizeof(name), "%s, %s frozen", k->name, i < 4 ? "one parameter" : "input without gradient,");
        layer.in[0].type = samples_of(3, 3);
        layer.in[0].constant = i == 4;
        layer.param[i < 4 ? i : 2].frozen = true;
        layer.step.n_batch = 3;
        rig_check_layer(&layer);
    }
}

/* Two levels, as a deeper network is made. */
static void build_levels(q_graph *g, const void *user)
{
    const kind *k = (const kind *)user;
    rig_input in;
    q_node_desc d;
    q_value v;
    memset(&in, 0, sizeof(in));
    in.type = rig_tokens(3);
    v = rig_source(g, "x", &in);
    for (uint32_t level = 0; level < 2; level++) {
        static const char *const names[2][4] = {{"a.w_ih", "a.w_hh", "a.b_ih", "a.b_hh"}, {"b.w_ih", "b.w_hh", "b.b_ih", "b.b_hh"}};
        rig_layer shape = layer_of(k, "", level == 0 ? 3 : 5, level == 0 ? 5 : 4, 4);
        memset(&d, 0, sizeof(d));
        d.cls = k->cls;
        d.name = level == 0 ? "lower" : "upper";
        d.config = k->config;
        d.n_in = 1;
        d.in[0] = v;
        d.n_param = 4;
        for (uint32_t p = 0; p < 4; p++) {
            d.param[p] = rig_slot(g, names[level][p], &shape.param[p]);
        }
        v = q_graph_node(g, &d);
    }
    rig_probe(g, &v, 1);
}

void cases_recurrent(void)
{
    for (uint32_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const kind *k = &kinds[i];
        rig_graph levels;
        check_samples(k, 3, 4, 2, 3, 4);
        check_samples(k, 1, 5, 4, 2, 2);
        check_samples(k, 4, 1, 3, 5, 4);
        check_samples(k, 5, 3, 1, 1, 4);
        check_samples(k, 7, 2, 5, 17, 4);
        check_samples(k, 2, 6, 17, 16, 2);
        check_samples(k, 44, 13, 1, 2, 4); /* more rows than the gradients of weights take at a time */
        check_spans(k, (rig_step){.n_spans = 3, .span_rows = {4, 1, 6}}, 3, 4, 4);
        check_spans(k, (rig_step){.n_spans = 7, .span_rows = {2, 5, 5, 1, 3, 8, 2}, .split = 3}, 2, 6, 4);
        check_spans(k, (rig_step){.n_spans = 1, .span_rows = {9}}, 3, 3, 2);
        check_spans(k, (rig_step){.n_spans = 4, .span_rows = {1, 1, 1, 1}}, 2, 3, 4);
        if (k->blocks != 1) {
            check_spans(k, (rig_step){.n_spans = 7, .span_rows = {1, 1, 3, 1, 1, 2, 1}, .split = 3}, 2, 82, 4);
        }
        check_frozen(k);
        memset(&levels, 0, sizeof(levels));
        levels.name = k->name;
        levels.build = build_levels;
        levels.user = k;
        levels.step = (rig_step){.n_spans = 3, .span_rows = {3, 5, 2}};
        rig_check_graph(&levels);
    }
}
