/* SPDX-License-Identifier: MIT */
/* The graphs of the trajectories: as vectors/gen/trajectories.py says, with the sizes of the parameters in the file. */
#include <stdio.h>
#include <string.h>

#include "trajectory.h"

/* One graph being built. */
typedef struct drawing {
    q_graph *g;
    const trajectory *t;
} drawing;

/* Parameter `name`, or `name` + part. */
static q_param param(const drawing *d, const char *name, const char *part)
{
    char whole[48];
    record r;
    q_param_desc desc;
    (void)snprintf(whole, sizeof(whole), "%s%s", name, part);
    memset(&desc, 0, sizeof(desc));
    desc.name = whole;
    desc.trainable = trajectory_find(d->t, "param", whole, &r);
    if (!desc.trainable) {
        r = trajectory_need(d->t, "buffer", whole);
    }
    desc.type.dtype = Q_REAL;
    desc.type.ne[0] = desc.type.ne[1] = 1;
    desc.type.ne[2] = r.rows;
    desc.type.ne[3] = r.columns;
    return q_graph_param(d->g, &desc);
}

static q_value node(const drawing *d, const q_layer_class *cls, const char *name, const void *config, const q_value *in,
                    uint32_t n_in, const q_param *params, uint32_t n_params)
{
    q_node_desc desc;
    memset(&desc, 0, sizeof(desc));
    desc.cls = cls;
    desc.name = name;
    desc.config = config;
    desc.n_in = n_in;
    desc.n_param = n_params;
    memcpy(desc.in, in, n_in * sizeof(*in));
    if (n_params != 0) {
        memcpy(desc.param, params, n_params * sizeof(*params));
    }
    return q_graph_node(d->g, &desc);
}

static q_value map(const drawing *d, const q_layer_class *cls, const char *name, const void *config, q_value x)
{
    return node(d, cls, name, config, &x, 1, NULL, 0);
}

static q_value input(const drawing *d, const char *name, uint32_t sym, uint32_t h, uint32_t w, uint32_t columns)
{
    q_input_desc desc;
    memset(&desc, 0, sizeof(desc));
    desc.name = name;
    desc.type.dtype = Q_REAL;
    desc.type.dim[0] = (q_count){1, Q_SYM_ONE};
    desc.type.dim[1] = (q_count){h, Q_SYM_ONE};
    desc.type.dim[2] = (q_count){w, Q_SYM_ONE};
    desc.type.dim[3] = (q_count){columns, Q_SYM_ONE};
    desc.type.dim[sym == Q_SYM_BATCH ? 0 : 2].sym = sym;
    return q_graph_input(d->g, &desc);
}

static q_value ids(const drawing *d, const char *name, uint32_t sym, uint32_t limit)
{
    q_input_desc desc;
    memset(&desc, 0, sizeof(desc));
    desc.name = name;
    desc.type.dtype = Q_I32;
    desc.type.dim[0] = desc.type.dim[1] = desc.type.dim[2] = (q_count){1, Q_SYM_ONE};
    desc.type.dim[3] = (q_count){1, sym};
    desc.limit = limit;
    return q_graph_input(d->g, &desc);
}

/* Rows of a parameter: classes, words. */
static uint32_t rows_of(const drawing *d, const char *name)
{
    return trajectory_need(d->t, "param", name).rows;
}

/* With a bias where the file has one. */
static q_value product(const drawing *d, const q_layer_class *cls, const char *name, const void *config, q_value x)
{
    char bias[48];
    record r;
    q_param p[2];
    (void)snprintf(bias, sizeof(bias), "%s.b", name);
    p[0] = param(d, name, ".w");
    if (!trajectory_find(d->t, "param", bias, &r)) {
        return node(d, cls, name, config, &x, 1, p, 1);
    }
    p[1] = param(d, bias, "");
    return node(d, cls, name, config, &x, 1, p, 2);
}

static q_value linear(const drawing *d, const char *name, q_value x)
{
    static const q_linear_config plain = {Q_ACT_NONE, 0};
    return product(d, &q_layer_linear, name, &plain, x);
}

static q_value relu(const drawing *d, const char *name, q_value x)
{
    static const q_activation_config config = {Q_ACT_RELU, 0};
    return map(d, &q_layer_activation, name, &config, x);
}

static void cross_entropy(const drawing *d, uint32_t ignored, q_value logits, q_value labels)
{
    const q_cross_entropy_config config = {(int32_t)ignored, 0};
    q_value in[2];
    q_value loss;
    in[0] = logits;
    in[1] = labels;
    loss = node(d, &q_layer_cross_entropy, "loss", &config, in, 2, NULL, 0);
    q_graph_output(d->g, "loss", loss);
    q_graph_output(d->g, "count", loss + 1);
}

/* ---- MLP -------------------------------------------------------------------------------------------------- */

/* ReLU as a node, and within a product. */
static void build_mlp(q_graph *g, const void *user)
{
    static const q_linear_config with_relu = {Q_ACT_RELU, 0};
    const drawing d = {g, (const trajectory *)user};
    q_value x = input(&d, "x", Q_SYM_BATCH, 1, 1, trajectory_need(d.t, "data", "x").columns);
    q_value labels = ids(&d, "labels", Q_SYM_BATCH, rows_of(&d, "third.w") + 1);
    x = relu(&d, "first.relu", linear(&d, "first", x));
    x = product(&d, &q_layer_linear, "second", &with_relu, x);
    cross_entropy(&d, rows_of(&d, "third.w"), linear(&d, "third", x), labels);
}

/* ---- CNN -------------------------------------------------------------------------------------------------- */

static q_value convolve(const drawing *d, const char *name, uint32_t stride, uint32_t pad, q_value x)
{
    const q_conv2d_config config = {3, 3, stride, stride, pad, pad, 1, 1, 1, Q_ACT_NONE};
    return product(d, &q_layer_conv2d, name, &config, x);
}

static q_value normalise(const drawing *d, const char *name, uint32_t activation, q_value x)
{
    const q_batchnorm_config config = {1e-5f, 0.125f, activation, 0};
    q_param p[4];
    p[0] = param(d, name, ".w");
    p[1] = param(d, name, ".b");
    p[2] = param(d, name, ".mean");
    p[3] = param(d, name, ".var");
    return node(d, &q_layer_batchnorm, name, &config, &x, 1, p, 4);
}

static q_value pool(const drawing *d, const char *name, uint32_t kind, q_value x)
{
    const q_pool2d_config config = {kind, 2, 2, 0, 0, 0, 0, 0};
    return map(d, &q_layer_pool2d, name, &config, x);
}

/* ReLU before one BatchNorm and within the other. */
static void build_cnn(q_graph *g, const void *user)
{
    enum { SIDE = 10 };
    const q_reshape_config flat = {{1, 1, 1, 0}, 0, 0};
    const drawing d = {g, (const trajectory *)user};
    q_value x = input(&d, "x", Q_SYM_BATCH, SIDE, SIDE, trajectory_need(d.t, "data", "x").columns / (SIDE * SIDE));
    q_value labels = ids(&d, "labels", Q_SYM_BATCH, rows_of(&d, "head.w") + 1);
    x = relu(&d, "relu1", convolve(&d, "conv1", 1, 1, x));
    x = pool(&d, "pool1", Q_POOL_MAX, normalise(&d, "bn1", Q_ACT_NONE, x));
    x = normalise(&d, "bn2", Q_ACT_RELU, convolve(&d, "conv2", 2, 2, x));
    x = pool(&d, "pool2", Q_POOL_AVERAGE, x);
    x = map(&d, &q_layer_reshape, "flatten", &flat, x);
    cross_entropy(&d, rows_of(&d, "head.w"), linear(&d, "head", x), labels);
}

/* ---- LSTM ------------------------------------------------------------------------------------------------- */

static void build_lstm(q_graph *g, const void *user)
{
    const drawing d = {g, (const trajectory *)user};
    q_value x = input(&d, "x", Q_SYM_TOKENS, 1, 1, trajectory_need(d.t, "data", "x").columns);
    q_value labels = ids(&d, "labels", Q_SYM_TOKENS, rows_of(&d, "head.w") + 1);
    q_param p[4];
    p[0] = param(&d, "lstm.w_ih", "");
    p[1] = param(&d, "lstm.w_hh", "");
    p[2] = param(&d, "lstm.b_ih", "");
    p[3] = param(&d, "lstm.b_hh", "");
    x = node(&d, &q_layer_lstm, "lstm", NULL, &x, 1, p, 4);
    cross_entropy(&d, rows_of(&d, "head.w"), linear(&d, "head", x), labels);
}

/* ---- Transformer ------------------------------------------------------------------------------------------ */

enum { HEADS = 4, KV_HEADS = 2, HEAD_DIM = 16, LAYERS = 2 };

typedef struct layer_name {
    char text[32];
} layer_name;

static layer_name of_layer(uint32_t layer, const char *part)
{
    layer_name n;
    (void)snprintf(n.text, sizeof(n.text), "layers.%u.%s", layer, part);
    return n;
}

static q_value weighted(const drawing *d, const q_layer_class *cls, const char *name, const void *config, q_value x)
{
    q_param w = param(d, name, "");
    return node(d, cls, name, config, &x, 1, &w, 1);
}

static q_value project(const drawing *d, uint32_t layer, const char *part, q_value x)
{
    static const q_linear_config plain = {Q_ACT_NONE, 0};
    return weighted(d, &q_layer_linear, of_layer(layer, part).text, &plain, x);
}

static q_value norm(const drawing *d, const char *name, q_value x)
{
    static const q_rmsnorm_config config = {1e-5f, 0, 0, 0};
    return weighted(d, &q_layer_rmsnorm, name, &config, x);
}

static q_value both(const drawing *d, const q_layer_class *cls, uint32_t layer, const char *part, const void *config,
                    q_value a, q_value b)
{
    q_value in[2];
    in[0] = a;
    in[1] = b;
    return node(d, cls, of_layer(layer, part).text, config, in, 2, NULL, 0);
}

static q_value attend(const drawing *d, uint32_t layer, q_value table, q_value h)
{
    static const q_attention_config config = {HEADS, KV_HEADS, HEAD_DIM, 0, 0.25f, 0};
    static const q_rope_config turn[2] = {{HEADS, HEAD_DIM}, {KV_HEADS, HEAD_DIM}};
    q_value in[3];
    in[0] = project(d, layer, "q", h);
    in[1] = project(d, layer, "k", h);
    in[2] = project(d, layer, "v", h);
    in[0] = both(d, &q_layer_rope, layer, "q_rope", &turn[0], in[0], table);
    in[1] = both(d, &q_layer_rope, layer, "k_rope", &turn[1], in[1], table);
    return node(d, &q_layer_attention, of_layer(layer, "attention").text, &config, in, 3, NULL, 0);
}

static q_value block(const drawing *d, uint32_t layer, q_value table, q_value x)
{
    q_value h = attend(d, layer, table, norm(d, of_layer(layer, "attn_norm").text, x));
    q_value gate;
    x = both(d, &q_layer_add, layer, "attn_add", NULL, x, project(d, layer, "o", h));
    h = norm(d, of_layer(layer, "ffn_norm").text, x);
    gate = project(d, layer, "gate", h);
    h = both(d, &q_layer_silu_mul, layer, "silu_mul", NULL, gate, project(d, layer, "up", h));
    return both(d, &q_layer_add, layer, "ffn_add", NULL, x, project(d, layer, "down", h));
}

static q_value head(const drawing *d, q_value x, q_param embedding)
{
    static const q_linear_config plain = {Q_ACT_NONE, 0};
    record own;
    q_param w = trajectory_find(d->t, "param", "output", &own) ? param(d, "output", "") : embedding;
    return node(d, &q_layer_linear, "logits", &plain, &x, 1, &w, 1);
}

static void build_transformer(q_graph *g, const void *user)
{
    static const q_embedding_config plain = {1, 0};
    const drawing d = {g, (const trajectory *)user};
    uint32_t vocab = rows_of(&d, "embed");
    q_value tokens = ids(&d, "tokens", Q_SYM_TOKENS, vocab);
    q_value labels = ids(&d, "labels", Q_SYM_TOKENS, vocab + 1);
    q_param embedding = param(&d, "embed", "");
    q_rope_table_config turns;
    q_value table;
    q_value x;
    memset(&turns, 0, sizeof(turns));
    turns.n_pairs = HEAD_DIM / 2;
    turns.base = 10000;
    turns.factor = turns.low = turns.high = turns.magnitude = 1;
    table = map(&d, &q_layer_rope_table, "rope_table", &turns, tokens);
    x = node(&d, &q_layer_embedding, "embed", &plain, &tokens, 1, &embedding, 1);
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        q_graph_block(g, layer + 1);
        x = block(&d, layer, table, x);
    }
    q_graph_block(g, 0);
    cross_entropy(&d, vocab, head(&d, norm(&d, "norm", x), embedding), labels);
}

const network *network_at(uint32_t i)
{
    static const network networks[] = {
        {"mlp", build_mlp, {"x", "labels"}, 5, false, true, "adamw"},
        {"cnn", build_cnn, {"x", "labels"}, 4, false, false, "adamw"},
        {"lstm", build_lstm, {"x", "labels"}, 3, true, true, "adamw"},
        {"transformer", build_transformer, {"tokens", "labels"}, 40, true, true, "adamw"},
        {"untied", build_transformer, {"tokens", "labels"}, 40, true, true, "adamw"},
    };
    return i < sizeof(networks) / sizeof(networks[0]) ? &networks[i] : NULL;
}
