/* SPDX-License-Identifier: MIT */
/* Gradients of Linear: with and without bias and activation, rows of a batch, of images and of tokens. */
#include <string.h>

#include "cases.h"

static q_value linear(q_graph *g, const char *name, q_value x, q_param w)
{
    static const q_linear_config config = {Q_ACT_NONE, 0};
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = &q_layer_linear;
    d.name = name;
    d.config = &config;
    d.n_in = d.n_param = 1;
    d.in[0] = x;
    d.param[0] = w;
    return q_graph_node(g, &d);
}

/* One weight used three times, in two blocks; every value feeds the probe as well. */
static void build_shared(q_graph *g, const void *user)
{
    const rig_input in = {.type = rig_rows(6)};
    const rig_param square = {.rows = 6, .columns = 6, .low = -0.5, .high = 0.5};
    q_value v[4];
    q_param w;
    (void)user;
    v[0] = rig_source(g, "x", &in);
    w = rig_slot(g, "w", &square);
    v[1] = linear(g, "first", v[0], w);
    v[2] = linear(g, "second", v[1], w);
    q_graph_block(g, 2);
    v[3] = linear(g, "third", v[2], w);
    rig_probe(g, v + 1, 3);
}

typedef struct activated {
    const q_layer_class *cls;
    q_linear_config config;
} activated;

/* Two layers that each have the activation of their own, in one block, the second with a residual to the first. */
static void build_activated(q_graph *g, const void *user)
{
    const activated *a = (const activated *)user;
    const rig_input in = {.type = rig_rows(6)};
    const rig_param square = {.rows = 6, .columns = 6, .low = -0.5, .high = 0.5};
    q_node_desc d;
    q_value v[3];
    memset(&d, 0, sizeof(d));
    d.cls = a->cls;
    d.config = &a->config;
    d.n_in = d.n_param = 1;
    d.in[0] = rig_source(g, "x", &in);
    d.param[0] = rig_slot(g, "w", &square);
    d.name = "first";
    q_graph_block(g, 3);
    v[0] = d.in[0] = q_graph_node(g, &d);
    d.name = "second";
    d.param[0] = rig_slot(g, "u", &square);
    v[1] = q_graph_node(g, &d);
    memset(&d, 0, sizeof(d));
    d.cls = &q_layer_add;
    d.name = "sum";
    d.n_in = 2;
    d.in[0] = v[0];
    d.in[1] = v[1];
    v[2] = q_graph_node(g, &d);
    q_graph_block(g, 0);
    rig_probe(g, v + 2, 1);
}

void cases_linear(void)
{
    static const q_linear_config plain = {Q_ACT_NONE, 0};
    rig_layer rows = {
        .name = "linear", .cls = &q_layer_linear, .config = &plain, .n_in = 1, .n_param = 2, .step = {.n_batch = 5}};
    rows.in[0].type = rig_rows(7);
    rows.param[0] = (rig_param){3, 7, 0, 0, false};
    rows.param[1] = (rig_param){1, 3, 0, 0, false};
    rig_check_layer(&rows);
    rows.name = "linear without bias, of an image";
    rows.n_param = 1;
    rows.in[0].type = rig_image(2, 3, 7);
    rig_check_layer(&rows);
    rows.name = "linear, weight frozen";
    rows.n_param = 2;
    rows.param[0].frozen = true;
    rig_check_layer(&rows);
    for (uint32_t act = Q_ACT_RELU; act < Q_ACT_COUNT; act++) {
        const q_linear_config own = {act, 0};
        rows.name = "linear with an activation of its own";
        rows.config = &own;
        rows.param[0].frozen = act == Q_ACT_TANH || act == Q_ACT_SILU;
        rig_check_layer(&rows);
    }
    rows.config = &plain;
    rows.name = "linear of tokens";
    rows.param[0].frozen = false;
    rows.in[0].type = rig_tokens(7);
    rows.step = (rig_step){.n_spans = 3, .span_rows = {4, 1, 6}};
    rig_check_layer(&rows);
    {
        q_layer_class product = q_layer_linear;
        static const uint32_t acts[] = {Q_ACT_TANH, Q_ACT_SILU, Q_ACT_GELU_TANH, Q_ACT_GELU_ERF};
        product.id = Q_LAYER_USER + 30;
        product.name = "a caller's product";
        for (uint32_t i = 0; i < 8; i++) {
            const activated user = {i < 4 ? &q_layer_linear : &product, {acts[i % 4], 0}};
            const rig_graph graph = {.name = i < 4 ? "activations of their own in a block" : "a caller's product with an activation",
                                     .build = build_activated,
                                     .user = &user,
                                     .backward_steps = acts[i % 4] == Q_ACT_TANH ? 5 : 7,
                                     .step = {.n_batch = 5}};
            rig_check_graph(&graph);
        }
    }
    {
        const rig_graph shared = {.name = "a weight used three times", .build = build_shared, .step = {.n_batch = 5}};
        rig_check_graph(&shared);
    }
}
