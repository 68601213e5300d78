/* SPDX-License-Identifier: MIT */
/* Gradients of activations, alone and folded into the product before them. */
#include "cases.h"

#include <string.h>

static const char *const act_names[Q_ACT_COUNT] = {"activation none", "activation relu", "activation silu", "activation gelu_tanh",
                                                  "activation gelu_erf", "activation sigmoid", "activation tanh"};

static void check_activations(void)
{
    for (uint32_t act = 0; act < Q_ACT_COUNT; act++) {
        const q_activation_config config = {act, 0};
        rig_layer c = {.name = act_names[act], .cls = &q_layer_activation, .config = &config, .n_in = 1};
        c.in[0] = (rig_input){.type = rig_rows(19), .low = -4, .high = 4};
        c.step.n_batch = 5;
        rig_check_layer(&c);
        c.in[0].type = rig_image(3, 2, 3);
        c.step.n_batch = 3;
        rig_check_layer(&c);
        c.in[0].type = rig_tokens(7);
        c.step = (rig_step){.n_spans = 3, .span_rows = {2, 5, 1}};
        rig_check_layer(&c);
    }
    {
        rig_layer c = {.name = "silu", .cls = &q_layer_silu, .n_in = 1, .step = {.n_batch = 4}};
        c.in[0] = (rig_input){.type = rig_rows(21), .low = -5, .high = 5};
        rig_check_layer(&c);
    }
}

/* ---- Folded into products ---------------------------------------------------------------------------------- */

typedef struct folded {
    uint32_t activation;
    bool conv;
    bool add;   /* something is added behind the activation */
    bool twice; /* the product has a second reader */
} folded;

static q_value product(q_graph *g, const folded *f, q_value x)
{
    static const q_linear_config linear = {Q_ACT_NONE, 0};
    static const q_conv2d_config conv = {3, 3, 1, 1, 1, 1, 1, 1, 1, 0};
    const rig_param w = {5, f->conv ? 27 : 6, 0, 0, false};
    const rig_param b = {1, 5, 0, 0, false};
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = f->conv ? &q_layer_conv2d : &q_layer_linear;
    d.name = "product";
    d.config = f->conv ? (const void *)&conv : (const void *)&linear;
    d.n_in = 1;
    d.in[0] = x;
    d.n_param = 2;
    d.param[0] = rig_slot(g, "w", &w);
    d.param[1] = rig_slot(g, "b", &b);
    return q_graph_node(g, &d);
}

static void build_folded(q_graph *g, const void *user)
{
    const folded *f = (const folded *)user;
    const q_activation_config config = {f->activation, 0};
    const rig_input in = {.type = f->conv ? rig_image(3, 4, 3) : rig_rows(6)};
    const rig_input other = {.type = f->conv ? rig_image(3, 4, 5) : rig_rows(5)};
    q_value x = rig_source(g, "x", &in);
    q_value z = f->add ? rig_source(g, "z", &other) : x;
    q_value out[2];
    q_node_desc d;
    out[1] = product(g, f, x);
    memset(&d, 0, sizeof(d));
    d.cls = &q_layer_activation;
    d.name = "activation";
    d.config = &config;
    d.n_in = 1;
    d.in[0] = out[1];
    out[0] = q_graph_node(g, &d);
    if (f->add) {
        d.cls = &q_layer_add;
        d.name = "add";
        d.config = NULL;
        d.n_in = 2;
        d.in[0] = z;
        d.in[1] = out[0];
        out[0] = q_graph_node(g, &d);
    }
    rig_probe(g, out, f->twice ? 2 : 1);
}

static void check_folded(void)
{
    for (uint32_t i = 0; i < Q_ACT_COUNT * 6u; i++) {
        const folded f = {i / 6, i % 2 != 0, i % 6 / 2 == 1, i % 6 / 2 == 2};
        rig_graph graph;
        memset(&graph, 0, sizeof(graph));
        graph.name = f.conv ? "activation behind a convolution" : "activation behind a product";
        graph.build = build_folded;
        graph.user = &f;
        graph.step.n_batch = 3;
        rig_check_graph(&graph);
    }
}

void cases_element(void)
{
    check_activations();
    check_folded();
}
