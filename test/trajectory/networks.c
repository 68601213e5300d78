/* SPDX-License-Identifier: MIT */
/* The graphs of the trajectories: as vectors/gen/trajectories.py says, with the widths of the parameters in the file. */
#include "qorus/net.h"
#include "trajectory.h"

/* Rows of a parameter in the file: what its layer puts out, classes, words. */
static uint32_t rows(const trajectory *t, const char *name)
{
    return trajectory_need(t, "param", name).rows;
}

static uint32_t columns_of_data(const trajectory *t)
{
    return trajectory_need(t, "data", "x").columns;
}

/* ReLU as a node, and within a product. */
static void build_mlp(q_graph *g, const void *user)
{
    const trajectory *t = (const trajectory *)user;
    q_net n;
    q_edge x;
    q_edge labels;
    q_net_begin(&n, g);
    x = q_net_features(&n, "x", columns_of_data(t));
    labels = q_net_labels(&n, "labels", rows(t, "third.w"));
    x = q_net_activate(&n, q_net_linear(&n, "first", x, rows(t, "first.w"), Q_ACT_NONE), Q_ACT_RELU);
    x = q_net_linear(&n, "second", x, rows(t, "second.w"), Q_ACT_RELU);
    q_net_cross_entropy(&n, q_net_linear(&n, "third", x, rows(t, "third.w"), Q_ACT_NONE), labels);
}

/* ReLU before one BatchNorm and within the other; one convolution with a bias, one without. */
static void build_cnn(q_graph *g, const void *user)
{
    enum { SIDE = 10 };
    const trajectory *t = (const trajectory *)user;
    q_net n;
    q_edge x;
    q_edge labels;
    q_net_begin(&n, g);
    n.momentum = 0.125f;
    x = q_net_images(&n, "x", SIDE, SIDE, columns_of_data(t) / (SIDE * SIDE));
    labels = q_net_labels(&n, "labels", rows(t, "head.w"));
    x = q_net_activate(&n, q_net_conv2d(&n, "conv1", x, rows(t, "conv1.w"), 3, 1, 1), Q_ACT_RELU);
    x = q_net_max_pool(&n, q_net_batchnorm(&n, "bn1", x, Q_ACT_NONE), 2);
    n.bias = false;
    x = q_net_conv2d(&n, "conv2", x, rows(t, "conv2.w"), 3, 2, 2);
    n.bias = true;
    x = q_net_average_pool(&n, q_net_batchnorm(&n, "bn2", x, Q_ACT_RELU), 2);
    x = q_net_linear(&n, "head", q_net_flatten(&n, x), rows(t, "head.w"), Q_ACT_NONE);
    q_net_cross_entropy(&n, x, labels);
}

static void build_lstm(q_graph *g, const void *user)
{
    const trajectory *t = (const trajectory *)user;
    q_net n;
    q_edge x;
    q_edge labels;
    q_net_begin(&n, g);
    x = q_net_rows(&n, "x", columns_of_data(t));
    labels = q_net_targets(&n, "labels", rows(t, "head.w"));
    x = q_net_lstm(&n, "lstm", x, trajectory_need(t, "param", "lstm.w_hh").columns);
    q_net_cross_entropy(&n, q_net_linear(&n, "head", x, rows(t, "head.w"), Q_ACT_NONE), labels);
}

/* GQA, SwiGLU, RMSNorm, RoPE; the matrix of the logits is the embedding's where the file has no other. */
static void build_transformer(q_graph *g, const void *user)
{
    const trajectory *t = (const trajectory *)user;
    const uint32_t vocab = rows(t, "embed");
    q_net_transformer_config config = {2, rows(t, "layers.0.gate"), {.heads = 4, .kv_heads = 2, .head_dim = 16}};
    record own;
    q_net n;
    q_edge tokens;
    q_edge labels;
    q_edge table;
    q_edge x;
    q_net_begin(&n, g);
    tokens = q_net_tokens(&n, "tokens", vocab);
    labels = q_net_targets(&n, "labels", vocab);
    table = q_net_rope_table(&n, tokens, config.attention.head_dim, 10000);
    config.attention.table = &table;
    x = q_net_embedding(&n, "embed", tokens, vocab, trajectory_need(t, "param", "embed").columns);
    x = q_net_rmsnorm(&n, "norm", q_net_transformer(&n, "layers", x, &config));
    x = q_net_project(&n, trajectory_find(t, "param", "output", &own) ? "output" : "embed", x, vocab);
    q_net_cross_entropy(&n, x, labels);
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
