/* SPDX-License-Identifier: MIT */
/*
 * Gradients of what language models are made of: embedding, rotary positions, norms, products of two values, softmax,
 * selected rows, products through frozen weights of every type; and a whole small decoder.
 */
#include "cases.h"

#include <stdio.h>
#include <string.h>

#include "qorus/base/panel.h"
#include "qorus/quantize.h"

static const rig_step spans = {.n_spans = 3, .span_rows = {5, 1, 4}};

static q_value node(q_graph *g, const q_layer_class *cls, const char *name, const void *config, const q_value *in,
                    uint32_t n_in, q_param param)
{
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = cls;
    d.name = name;
    d.config = config;
    d.n_in = n_in;
    memcpy(d.in, in, n_in * sizeof(*in));
    d.n_param = param == Q_NONE ? 0 : 1;
    d.param[0] = param;
    return q_graph_node(g, &d);
}

/* ---- One layer each --------------------------------------------------------------------------------------- */

static void check_two(const char *name, const q_layer_class *cls, double low, double high)
{
    rig_layer c = {.name = name, .cls = cls, .n_in = 2, .step = {.n_batch = 4}};
    c.in[0] = (rig_input){.type = rig_rows(19), .low = low, .high = high};
    c.in[1] = (rig_input){.type = rig_rows(19), .low = -2, .high = 2};
    rig_check_layer(&c);
    c.in[0].type = rig_tokens(5);
    c.in[1].type = rig_tokens(5);
    c.step = spans;
    rig_check_layer(&c);
}

static void build_square(q_graph *g, const void *user)
{
    const rig_input in = {.type = rig_rows(7)};
    q_value v[2];
    q_value y;
    v[0] = v[1] = rig_source(g, "x", &in);
    y = node(g, (const q_layer_class *)user, "square", NULL, v, 2, Q_NONE);
    rig_probe(g, &y, 1);
}

static void check_norms(void)
{
    static const q_rmsnorm_config configs[] = {{1e-5f, 0, 0, 0}, {1e-2f, 1, 0, 0}, {1e-6f, 0, 6, 0}, {1e-1f, 1, 3, 0}};
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t width = configs[i].group != 0 ? configs[i].group : 18;
        rig_layer c = {.name = "rmsnorm", .cls = &q_layer_rmsnorm, .config = &configs[i], .n_in = 1, .n_param = 1};
        c.in[0] = (rig_input){.type = rig_rows(18), .low = -2, .high = 2};
        c.param[0] = (rig_param){1, width, 0, 0, false};
        c.step.n_batch = 5;
        rig_check_layer(&c);
        c.param[0].frozen = true;
        c.in[0].type = rig_tokens(18);
        c.step = spans;
        rig_check_layer(&c);
    }
    for (uint32_t i = 0; i < 2; i++) {
        static const q_softmax_config scales[] = {{1, 0}, {-0.4f, 0}};
        rig_layer c = {.name = "softmax", .cls = &q_layer_softmax, .config = &scales[i], .n_in = 1, .step = {.n_batch = 4}};
        c.in[0] = (rig_input){.type = rig_rows(21), .low = -3, .high = 3};
        rig_check_layer(&c);
    }
}

static void check_rows(void)
{
    for (uint32_t i = 0; i < 2; i++) {
        static const q_embedding_config scales[] = {{1, 0}, {5.5f, 0}};
        rig_layer c = {.name = "embedding", .cls = &q_layer_embedding, .config = &scales[i], .n_in = 1, .n_param = 1};
        c.in[0] = (rig_input){.type = rig_ids(), .limit = 6};
        c.param[0] = (rig_param){6, 9, 0, 0, false};
        c.step = spans;
        rig_check_layer(&c);
    }
    {
        rig_layer c = {.name = "select_rows", .cls = &q_layer_select_rows, .n_in = 1, .step = spans};
        c.in[0].type = rig_tokens(4);
        rig_check_layer(&c);
    }
}

/* ---- Positions -------------------------------------------------------------------------------------------- */

static q_value positions(q_graph *g, q_value ids, uint32_t n_pairs)
{
    q_rope_table_config c;
    memset(&c, 0, sizeof(c));
    c.n_pairs = n_pairs;
    c.base = 100;
    c.magnitude = 1.25;
    return node(g, &q_layer_rope_table, "table", &c, &ids, 1, Q_NONE);
}

/* Six of eight values of each head turn. */
static void build_rope(q_graph *g, const void *user)
{
    const rig_input ids = {.type = rig_ids(), .limit = 9};
    const rig_input in = {.type = rig_tokens(16)};
    const q_rope_config c = {2, 8};
    q_value v[2];
    q_value y;
    (void)user;
    v[1] = positions(g, rig_source(g, "ids", &ids), 3);
    v[0] = rig_source(g, "x", &in);
    y = node(g, &q_layer_rope, "rope", &c, v, 2, Q_NONE);
    rig_probe(g, &y, 1);
}

/* ---- Frozen weights of every type --------------------------------------------------------------------------- */

enum { FROZEN_M = 21, FROZEN_K = 64 };

/* A matrix in panels of the type at `user`; it must be the same in every build. */
static q_param frozen_matrix(q_graph *g, uint32_t dtype)
{
    static _Alignas(128) uint8_t panels[Q_DTYPE_COUNT][2 * 16 * FROZEN_K * sizeof(float) + 4096];
    static uint8_t plain[FROZEN_M * FROZEN_K * sizeof(float)];
    static float w[FROZEN_M * FROZEN_K];
    q_tensor view;
    q_param_desc d;
    q_diag diag;
    for (uint32_t i = 0; i < FROZEN_M * FROZEN_K; i++) {
        w[i] = (float)((int32_t)(i * 2654435761u) >> 8) / 8388608.0f;
    }
    rig_expect(q_quantize(dtype, w, FROZEN_M, FROZEN_K, plain, &diag) == Q_OK &&
                   q_panel_pack(dtype, plain, FROZEN_M, FROZEN_K, panels[dtype], &diag) == Q_OK,
               "frozen weights", "packing");
    memset(&view, 0, sizeof(view));
    view.data = panels[dtype];
    view.dtype = (uint8_t)dtype;
    view.layout = Q_PANEL16;
    view.ne[0] = view.ne[1] = 1;
    view.ne[2] = FROZEN_M;
    view.ne[3] = FROZEN_K;
    view.nb[2] = (size_t)q_panel_bytes(dtype, FROZEN_K);
    memset(&d, 0, sizeof(d));
    d.name = "w";
    d.view = &view;
    d.type.dtype = dtype;
    d.type.layout = Q_PANEL16;
    memcpy(d.type.ne, view.ne, sizeof(view.ne));
    return q_graph_param(g, &d);
}

static void build_frozen(q_graph *g, const void *user)
{
    const q_linear_config c = {Q_ACT_NONE, 0};
    const rig_input in = {.type = rig_rows(FROZEN_K)};
    q_value x = rig_source(g, "x", &in);
    q_value y = node(g, &q_layer_linear, "linear", &c, &x, 1, frozen_matrix(g, *(const uint32_t *)user));
    rig_probe(g, &y, 1);
}

static void check_frozen(void)
{
    static const uint32_t types[] = {Q_F32, Q_F16, Q_BF16, Q_Q8_0, Q_Q4_0, Q_Q4_1};
    for (uint32_t i = 0; i < 6; i++) {
        const rig_graph c = {.name = "linear through frozen weights", .build = build_frozen, .user = &types[i],
                             .step = {.n_batch = 5}};
        rig_check_graph(&c);
    }
}

/* ---- A decoder ---------------------------------------------------------------------------------------------- */

enum { VOCAB = 11, DIM = 12, HEADS = 4, KV_HEADS = 2, HEAD_DIM = 8, HIDDEN = 10, LAYERS = 2 };

typedef struct decoder_case {
    bool tied;
    bool qk_norm;
} decoder_case;

static const char *part(uint32_t layer, const char *name)
{
    static char text[48];
    (void)snprintf(text, sizeof(text), "layers.%u.%s", layer, name);
    return text;
}

static q_value project(q_graph *g, uint32_t layer, const char *name, uint32_t rows, uint32_t columns, q_value x)
{
    static const q_linear_config c = {Q_ACT_NONE, 0};
    const rig_param w = {rows, columns, -0.5, 0.5, false};
    q_param p = rig_slot(g, part(layer, name), &w);
    return node(g, &q_layer_linear, part(layer, name), &c, &x, 1, p);
}

static q_value norm(q_graph *g, uint32_t layer, const char *name, uint32_t group, uint32_t width, q_value x)
{
    const q_rmsnorm_config c = {1e-5f, 0, group, 0};
    const rig_param w = {1, width, 0.5, 1.5, false};
    q_param p = rig_slot(g, part(layer, name), &w);
    return node(g, &q_layer_rmsnorm, part(layer, name), &c, &x, 1, p);
}

static q_value both(q_graph *g, const q_layer_class *cls, uint32_t layer, const char *name, q_value a, q_value b)
{
    const q_value in[2] = {a, b};
    return node(g, cls, part(layer, name), NULL, in, 2, Q_NONE);
}

static q_value attend(q_graph *g, const decoder_case *c, uint32_t layer, q_value table, q_value h)
{
    const q_attention_config config = {HEADS, KV_HEADS, HEAD_DIM, layer == 1 ? 3 : 0, 0.35f, layer == 1 ? 5.0f : 0};
    const q_rope_config turn[2] = {{HEADS, HEAD_DIM}, {KV_HEADS, HEAD_DIM}};
    q_value v[3];
    v[0] = project(g, layer, "q", HEADS * HEAD_DIM, DIM, h);
    v[1] = project(g, layer, "k", KV_HEADS * HEAD_DIM, DIM, h);
    v[2] = project(g, layer, "v", KV_HEADS * HEAD_DIM, DIM, h);
    for (uint32_t i = 0; i < 2; i++) {
        q_value in[2] = {v[i], table};
        if (c->qk_norm) {
            in[0] = norm(g, layer, i == 0 ? "q_norm" : "k_norm", HEAD_DIM, HEAD_DIM, v[i]);
        }
        v[i] = node(g, &q_layer_rope, part(layer, i == 0 ? "q_rope" : "k_rope"), &turn[i], in, 2, Q_NONE);
    }
    return node(g, &q_layer_attention, part(layer, "attention"), &config, v, 3, Q_NONE);
}

/* As core/model/decoder.c expands its record. */
static q_value block(q_graph *g, const decoder_case *c, uint32_t layer, q_value table, q_value x)
{
    q_value h = attend(g, c, layer, table, norm(g, layer, "attn_norm", 0, DIM, x));
    q_value gate;
    q_value up;
    x = both(g, &q_layer_add, layer, "attn_add", x, project(g, layer, "o", DIM, HEADS * HEAD_DIM, h));
    h = norm(g, layer, "ffn_norm", 0, DIM, x);
    gate = project(g, layer, "gate", HIDDEN, DIM, h);
    up = project(g, layer, "up", HIDDEN, DIM, h);
    h = both(g, &q_layer_silu_mul, layer, "silu_mul", gate, up);
    return both(g, &q_layer_add, layer, "ffn_add", x, project(g, layer, "down", DIM, HIDDEN, h));
}

static void build_decoder(q_graph *g, const void *user)
{
    static const q_linear_config plain = {Q_ACT_NONE, 0};
    static const q_embedding_config scale = {2, 0};
    const decoder_case *c = (const decoder_case *)user;
    const rig_input ids = {.type = rig_ids(), .limit = VOCAB};
    const rig_param matrix = {VOCAB, DIM, 0, 0, false};
    q_value tokens = rig_source(g, "tokens", &ids);
    q_value table = positions(g, tokens, HEAD_DIM / 2);
    q_param w = rig_slot(g, "embed", &matrix);
    q_value x = node(g, &q_layer_embedding, "embed", &scale, &tokens, 1, w);
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        q_graph_block(g, layer + 1);
        x = block(g, c, layer, table, x);
    }
    q_graph_block(g, 0);
    x = node(g, &q_layer_select_rows, "select", NULL, &x, 1, Q_NONE);
    x = norm(g, LAYERS, "norm", 0, DIM, x);
    w = c->tied ? w : rig_slot(g, "output", &matrix);
    x = node(g, &q_layer_linear, "logits", &plain, &x, 1, w);
    rig_probe(g, &x, 1);
}

static void check_decoders(void)
{
    static const decoder_case cases[] = {{true, false}, {false, true}};
    for (uint32_t i = 0; i < 2; i++) {
        const rig_graph c = {.name = i == 0 ? "decoder, tied" : "decoder, untied, norms of q and k",
                             .build = build_decoder, .user = &cases[i], .step = spans};
        rig_check_graph(&c);
    }
}

void cases_language(void)
{
    const rig_graph rope = {.name = "rope", .build = build_rope, .step = spans};
    const rig_graph square = {.name = "mul of a value by itself", .build = build_square, .user = &q_layer_mul,
                              .step = {.n_batch = 4}};
    const rig_graph silu = {.name = "silu_mul of a value by itself", .build = build_square, .user = &q_layer_silu_mul,
                            .step = {.n_batch = 4}};
    check_two("add", &q_layer_add, -1, 1);
    check_two("mul", &q_layer_mul, -1, 1);
    check_two("silu_mul", &q_layer_silu_mul, -4, 4);
    rig_check_graph(&square);
    rig_check_graph(&silu);
    check_norms();
    check_rows();
    rig_check_graph(&rope);
    check_frozen();
    check_decoders();
}
