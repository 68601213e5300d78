/* SPDX-License-Identifier: MIT */
/*
 * Gradients of whole models down to their losses: MLP, CNN with BatchNorm, heads on RNN, LSTM and GRU, an encoder of
 * attention blocks; shared weights, values read several times, outputs that nobody reads, frozen layers. (A whole decoder:
 * cases_language.c.)
 */
#include "cases.h"

#include <stdio.h>
#include <string.h>

/* ---- Parts ---------------------------------------------------------------------------------------------------- */

static q_value node(q_graph *g, const q_layer_class *cls, const char *name, const void *config, const q_value *in,
                    uint32_t n_in, const q_param *param, uint32_t n_param)
{
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = cls;
    d.name = name;
    d.config = config;
    d.n_in = n_in;
    d.n_param = n_param;
    memcpy(d.in, in, n_in * sizeof(*in));
    for (uint32_t i = 0; i < n_param; i++) {
        d.param[i] = param[i];
    }
    return q_graph_node(g, &d);
}

static q_param matrix(q_graph *g, const char *node_name, const char *what, uint32_t rows, uint32_t columns, bool frozen)
{
    const rig_param p = {rows, columns, -0.6, 0.6, frozen};
    char name[48];
    (void)snprintf(name, sizeof(name), "%s.%s", node_name, what);
    return rig_slot(g, name, &p);
}

static q_value linear(q_graph *g, const char *name, q_value x, uint32_t in, uint32_t out, bool frozen)
{
    static const q_linear_config config = {Q_ACT_NONE, 0};
    const q_param p[2] = {matrix(g, name, "w", out, in, frozen), matrix(g, name, "b", 1, out, frozen)};
    return node(g, &q_layer_linear, name, &config, &x, 1, p, 2);
}

static q_value activate(q_graph *g, const char *name, uint32_t activation, q_value x)
{
    const q_activation_config config = {activation, 0};
    return node(g, &q_layer_activation, name, &config, &x, 1, NULL, 0);
}

static q_value join(q_graph *g, const q_layer_class *cls, const char *name, q_value a, q_value b)
{
    const q_value in[2] = {a, b};
    return node(g, cls, name, NULL, in, 2, NULL, 0);
}

/* The sum alone is read; how many terms it has is an output without a reader. */
static void end_in_entropy(q_graph *g, q_value logits, q_value targets)
{
    static const q_cross_entropy_config config = {-100, 0.1f};
    const q_value in[2] = {logits, targets};
    q_value loss = node(g, &q_layer_cross_entropy, "loss", &config, in, 2, NULL, 0);
    rig_probe(g, &loss, 1);
}

static q_value classes_of_rows(q_graph *g, uint32_t classes)
{
    rig_input in = {.type = rig_rows(1), .limit = classes};
    in.type.dtype = Q_I32;
    return rig_source(g, "target", &in);
}

static q_value constant(q_graph *g, const char *name, q_value_type type)
{
    const rig_input in = {.type = type, .constant = true};
    return rig_source(g, name, &in);
}

static q_value source(q_graph *g, q_value_type type)
{
    const rig_input in = {.type = type};
    return rig_source(g, "x", &in);
}

/* ---- Networks ------------------------------------------------------------------------------------------------- */

static void build_mlp(q_graph *g, const void *user)
{
    static const q_layernorm_config config = {1e-5f, 0};
    q_value target = classes_of_rows(g, 5);
    q_value x = linear(g, "first", source(g, rig_rows(9)), 9, 11, false);
    q_param p[2];
    (void)user;
    p[0] = matrix(g, "norm", "w", 1, 11, false);
    p[1] = matrix(g, "norm", "b", 1, 11, false);
    x = node(g, &q_layer_layernorm, "norm", &config, &x, 1, p, 2);
    q_graph_block(g, 2);
    x = activate(g, "gelu", Q_ACT_GELU_ERF, x);
    x = linear(g, "second", x, 11, 7, false);
    x = activate(g, "silu", Q_ACT_SILU, x);
    q_graph_block(g, 0);
    end_in_entropy(g, linear(g, "logits", x, 7, 5, false), target);
}

static q_value conv_block(q_graph *g, const char *name, uint32_t in, uint32_t out, q_value x)
{
    const q_conv2d_config conv = {3, 3, 1, 1, 1, 1, 1, 1, 1, 0};
    const q_batchnorm_config norm = {1e-3f, 0.1f, Q_ACT_NONE, 0};
    const rig_param variance = {1, out, 0.5, 1.5, true};
    char part[48];
    q_param p[4];
    p[0] = matrix(g, name, "w", out, 9 * in, false);
    x = node(g, &q_layer_conv2d, name, &conv, &x, 1, p, 1);
    p[0] = matrix(g, name, "scale", 1, out, false);
    p[1] = matrix(g, name, "shift", 1, out, false);
    p[2] = matrix(g, name, "mean", 1, out, true);
    (void)snprintf(part, sizeof(part), "%s.var", name);
    p[3] = rig_slot(g, part, &variance);
    (void)snprintf(part, sizeof(part), "%s norm", name);
    x = node(g, &q_layer_batchnorm, part, &norm, &x, 1, p, 4);
    (void)snprintf(part, sizeof(part), "%s act", name);
    return activate(g, part, Q_ACT_SILU, x);
}

/* With a way round the second block. */
static void build_cnn(q_graph *g, const void *user)
{
    static const q_pool2d_config pool = {Q_POOL_MAX, 2, 2, 0, 0, 0, 0, 0};
    static const q_reshape_config flat = {{1, 1, 1, 0}, 0, 0};
    q_value target = classes_of_rows(g, 3);
    q_value x = conv_block(g, "first", 2, 4, source(g, rig_image(6, 4, 2)));
    (void)user;
    x = node(g, &q_layer_pool2d, "pool", &pool, &x, 1, NULL, 0);
    q_graph_block(g, 2);
    x = join(g, &q_layer_add, "around", x, conv_block(g, "second", 4, 4, x));
    q_graph_block(g, 0);
    x = node(g, &q_layer_reshape, "flat", &flat, &x, 1, NULL, 0);
    end_in_entropy(g, linear(g, "logits", x, 24, 3, false), target);
}

typedef struct recurrent {
    const q_layer_class *cls;
    const char *name;
    uint32_t blocks;
} recurrent;

static void build_recurrent(q_graph *g, const void *user)
{
    static const q_rnn_config with_tanh = {Q_ACT_TANH, 0};
    static const q_reshape_config flat = {{1, 1, 1, 0}, 0, 0};
    const recurrent *r = (const recurrent *)user;
    q_value target = constant(g, "target", rig_rows(3));
    q_value x = source(g, rig_image(1, 4, 3));
    q_param p[4];
    p[0] = matrix(g, "cell", "w_ih", r->blocks * 5, 3, false);
    p[1] = matrix(g, "cell", "w_hh", r->blocks * 5, 5, false);
    p[2] = matrix(g, "cell", "b_ih", 1, r->blocks * 5, false);
    p[3] = matrix(g, "cell", "b_hh", 1, r->blocks * 5, false);
    x = node(g, r->cls, "cell", r->blocks == 1 ? &with_tanh : NULL, &x, 1, p, 4);
    x = node(g, &q_layer_reshape, "flat", &flat, &x, 1, NULL, 0);
    x = join(g, &q_layer_mse, "loss", linear(g, "head", x, 20, 3, false), target);
    rig_probe(g, &x, 1);
}

static q_value encoder_norm(q_graph *g, const char *name, q_value x)
{
    static const q_layernorm_config config = {1e-5f, 0};
    const q_param p[2] = {matrix(g, name, "w", 1, 8, false), matrix(g, name, "b", 1, 8, false)};
    return node(g, &q_layer_layernorm, name, &config, &x, 1, p, 2);
}

/* One block of attention to every position and a feed-forward part, norms before both; its input is read four times. */
static void build_encoder(q_graph *g, const void *user)
{
    static const q_attention_config config = {2, 1, 8, 0, 0.35f, 0};
    const rig_input ids = {.type = rig_ids(), .limit = 5};
    q_value target = rig_source(g, "target", &ids);
    q_value x = source(g, rig_tokens(8));
    q_value v[3];
    q_value h;
    (void)user;
    q_graph_block(g, 2);
    h = encoder_norm(g, "norm 1", x);
    v[0] = linear(g, "q", h, 8, 16, false);
    v[1] = linear(g, "k", h, 8, 8, false);
    v[2] = linear(g, "v", h, 8, 8, false);
    h = node(g, &q_layer_attention_full, "attention", &config, v, 3, NULL, 0);
    x = join(g, &q_layer_add, "add 1", x, linear(g, "o", h, 16, 8, false));
    h = linear(g, "up", encoder_norm(g, "norm 2", x), 8, 12, false);
    x = join(g, &q_layer_add, "add 2", x, linear(g, "down", activate(g, "gelu", Q_ACT_GELU_TANH, h), 12, 8, false));
    q_graph_block(g, 0);
    end_in_entropy(g, linear(g, "logits", x, 8, 5, false), target);
}

/* ---- Uses of values and parameters ---------------------------------------------------------------------------- */

/* One matrix in two places and one value in four, once twice by the same node; a branch without a reader. */
static void build_shared(q_graph *g, const void *user)
{
    static const q_linear_config plain = {Q_ACT_NONE, 0};
    q_value x = source(g, rig_rows(5));
    q_param w = matrix(g, "both", "w", 5, 5, false);
    q_value h = node(g, &q_layer_linear, "one", &plain, &x, 1, &w, 1);
    q_value y;
    (void)user;
    (void)linear(g, "nobody reads this", h, 5, 3, false);
    y = join(g, &q_layer_mul, "square", h, h);
    y = join(g, &q_layer_add, "again", y, h);
    y = join(g, &q_layer_silu_mul, "gate", h, y);
    y = node(g, &q_layer_linear, "two", &plain, &y, 1, &w, 1);
    rig_probe(g, &y, 1);
}

/* input -> frozen -> frozen -> trained -> frozen -> trained: backward ends at the first trained one. */
static void build_frozen(q_graph *g, const void *user)
{
    q_value target = constant(g, "target", rig_rows(3));
    q_value x = constant(g, "x", rig_rows(6));
    (void)user;
    x = linear(g, "a", x, 6, 6, true);
    x = activate(g, "act a", Q_ACT_TANH, x);
    x = linear(g, "b", x, 6, 5, true);
    x = linear(g, "c", x, 5, 5, false);
    x = activate(g, "act c", Q_ACT_TANH, x);
    x = linear(g, "d", x, 5, 4, true);
    x = linear(g, "e", x, 4, 3, false);
    x = join(g, &q_layer_mse, "loss", x, target);
    rig_probe(g, &x, 1);
}

void cases_models(void)
{
    static const recurrent kinds[] = {{&q_layer_rnn, "model: head on rnn", 1}, {&q_layer_lstm, "model: head on lstm", 4},
                                      {&q_layer_gru, "model: head on gru", 3}};
    static const rig_graph models[] = {
        {.name = "model: mlp", .build = build_mlp, .step = {.n_batch = 6}},
        {.name = "model: cnn", .build = build_cnn, .step = {.n_batch = 4}, .flags = RIG_NO_SPLIT},
        {.name = "model: encoder", .build = build_encoder, .step = {.n_spans = 3, .span_rows = {5, 1, 4}}},
        {.name = "model: shared weights and values", .build = build_shared, .step = {.n_batch = 4}},
        /* probe, loss, e, d, act c, c */
        {.name = "model: frozen layers", .build = build_frozen, .step = {.n_batch = 4}, .backward_steps = 6},
    };
    for (uint32_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const rig_graph head = {.name = kinds[i].name, .build = build_recurrent, .user = &kinds[i], .step = {.n_batch = 3}};
        rig_check_graph(&head);
    }
    for (uint32_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        rig_check_graph(&models[i]);
    }
}
