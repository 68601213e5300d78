/* SPDX-License-Identifier: MIT */
/* Gradients of attention: causal and full, of tokens and of samples, padded ones too, with windows, softcaps and grouped heads. */
#include "cases.h"

#include <string.h>

typedef struct attention_case {
    const char *name;
    q_attention_config config;
    rig_step step;
    uint32_t rows; /* of a sample; 0: tokens */
    bool full;
    bool padded; /* not all rows of a sample count */
} attention_case;

static q_value_type sequence_of(const attention_case *c, uint32_t columns)
{
    q_value_type t = c->rows != 0 ? rig_rows(columns) : rig_tokens(columns);
    if (c->rows != 0) {
        t.dim[0] = (q_count){1, Q_SYM_BATCH};
        t.dim[2] = (q_count){c->rows, Q_SYM_ONE};
    }
    return t;
}

static void check_attention(const attention_case *c)
{
    rig_layer layer = {.name = c->name, .cls = c->full ? &q_layer_attention_full : &q_layer_attention,
                       .config = &c->config, .n_in = 3, .step = c->step};
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t heads = i == 0 ? c->config.heads : c->config.kv_heads;
        layer.in[i].type = sequence_of(c, heads * c->config.head_dim);
        layer.in[i].low = i == 0 ? -2 : -1;
        layer.in[i].high = i == 0 ? 2 : 1;
    }
    if (c->padded) {
        layer.n_in = 4;
        layer.in[3] = (rig_input){.type = rig_rows(1), .low = 1, .limit = c->rows + 1};
        layer.in[3].type.dtype = Q_I32;
    }
    rig_check_layer(&layer);
}

/* q, k and v are one value; or k and v. */
static void build_self(q_graph *g, const void *user)
{
    const q_attention_config config = {2, 2, 8, 0, 0.5f, 0};
    const rig_input in = {.type = rig_tokens(16)};
    q_node_desc d;
    q_value y;
    memset(&d, 0, sizeof(d));
    d.cls = &q_layer_attention;
    d.name = "attention";
    d.config = &config;
    d.n_in = 3;
    d.in[0] = d.in[1] = d.in[2] = rig_source(g, "x", &in);
    if (*(const bool *)user) {
        d.in[0] = rig_source(g, "q", &in);
    }
    y = q_graph_node(g, &d);
    rig_probe(g, &y, 1);
}

void cases_attention(void)
{
    static const attention_case cases[] = {
        {"attention", {2, 2, 8, 0, 0.5f, 0}, {.n_spans = 3, .span_rows = {5, 1, 4}}, 0, false, false},
        {"attention, grouped heads", {6, 2, 8, 0, 0.3f, 0}, {.n_spans = 2, .span_rows = {3, 6}}, 0, false, false},
        {"attention, heads beyond the lanes", {2, 1, 24, 0, 0.3f, 0}, {.n_spans = 2, .span_rows = {3, 4}}, 0, false, false},
        {"attention, window", {2, 1, 8, 3, 0.5f, 0}, {.n_spans = 2, .span_rows = {7, 9}}, 0, false, false},
        {"attention, softcap", {2, 1, 8, 0, 0.9f, 1.5f}, {.n_spans = 2, .span_rows = {4, 5}}, 0, false, false},
        {"attention over blocks", {2, 1, 8, 0, 0.5f, 0}, {.n_spans = 2, .span_rows = {66, 1}}, 0, false, false},
        {"attention over blocks, window", {1, 1, 8, 20, 0.5f, 0}, {.n_spans = 2, .span_rows = {70, 3}}, 0, false, false},
        {"attention of samples", {4, 2, 8, 0, 0.5f, 0}, {.n_batch = 3}, 5, false, false},
        {"attention of samples, window", {2, 2, 16, 2, 0.5f, 2}, {.n_batch = 3}, 6, false, false},
        {"full attention", {4, 2, 8, 0, 0.5f, 0}, {.n_spans = 3, .span_rows = {5, 1, 4}}, 0, true, false},
        {"full attention over blocks", {1, 1, 8, 0, 0.5f, 0}, {.n_spans = 2, .span_rows = {65, 2}}, 0, true, false},
        {"full attention of samples, softcap", {2, 1, 8, 0, 0.5f, 3}, {.n_batch = 4}, 5, true, false},
        {"full attention of padded samples", {4, 2, 8, 0, 0.5f, 0}, {.n_batch = 5}, 7, true, true},
        {"full attention of padded samples over blocks", {1, 1, 8, 0, 0.5f, 2}, {.n_batch = 3}, 67, true, true},
    };
    static const bool apart[] = {false, true};
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_attention(&cases[i]);
    }
    for (uint32_t i = 0; i < 2; i++) {
        const rig_graph self = {.name = i == 0 ? "one value as q, k and v" : "one value as k and v", .build = build_self,
                                .user = &apart[i], .step = {.n_spans = 2, .span_rows = {6, 3}}};
        rig_check_graph(&self);
    }
}
