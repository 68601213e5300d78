/* SPDX-License-Identifier: MIT */
/* The graphs of the works, by the names train_torch.py gives their parameters. */
#include "works.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- Numbers ---------------------------------------------------------------------------------------------- */

static uint32_t name_hash(const char *name)
{
    uint32_t h = 2166136261u;
    for (; *name != '\0'; name++) {
        h = (h ^ (uint8_t)*name) * 16777619u;
    }
    return h;
}

static uint32_t scrambled(uint32_t h)
{
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    return h ^ h >> 16;
}

uint32_t work_number(const char *name, uint32_t i)
{
    return scrambled(name_hash(name) + i * 0x9e3779b9u);
}

void work_reals(const char *name, double scale, float *out, size_t n)
{
    uint32_t seed = name_hash(name);
    for (size_t i = 0; i < n; i++) {
        uint32_t u = scrambled(seed + (uint32_t)i * 0x9e3779b9u);
        out[i] = (float)(((double)(u >> 8) / 8388608.0 - 1.0) * scale);
    }
}

void work_parameter(const char *name, uint32_t rows, uint32_t columns, float *out)
{
    size_t n = (size_t)rows * columns;
    if (strstr(name, "norm") != NULL) {
        for (size_t i = 0; i < n; i++) {
            out[i] = 1;
        }
        return;
    }
    work_reals(name, rows == 1 ? 1.0 / 16 : 1.0 / sqrt((double)columns), out, n);
}

/* ---- Pieces of graphs ------------------------------------------------------------------------------------- */

typedef struct place {
    char text[48];
} place;

/* "layers.3.q", or "q" in the graph's own level. */
static place at(int layer, const char *part)
{
    place p;
    if (layer < 0) {
        (void)snprintf(p.text, sizeof(p.text), "%s", part);
    } else {
        (void)snprintf(p.text, sizeof(p.text), "layers.%d.%s", layer, part);
    }
    return p;
}

static q_param slot(q_graph *g, const char *name, uint32_t rows, uint32_t columns)
{
    q_param_desc d;
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.trainable = true;
    d.type.dtype = Q_REAL;
    d.type.ne[0] = d.type.ne[1] = 1;
    d.type.ne[2] = rows;
    d.type.ne[3] = columns;
    return q_graph_param(g, &d);
}

static q_value node(q_graph *g, const q_layer_class *cls, const char *name, const void *config, const q_value *in,
                    uint32_t n_in, const q_param *params, uint32_t n_params)
{
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = cls;
    d.name = name;
    d.config = config;
    d.n_in = n_in;
    d.n_param = n_params;
    memcpy(d.in, in, n_in * sizeof(*in));
    if (n_params != 0) {
        memcpy(d.param, params, n_params * sizeof(*params));
    }
    return q_graph_node(g, &d);
}

static q_value map(q_graph *g, const q_layer_class *cls, const char *name, const void *config, q_value x)
{
    return node(g, cls, name, config, &x, 1, NULL, 0);
}

static q_value both(q_graph *g, const q_layer_class *cls, const char *name, const void *config, q_value a, q_value b)
{
    const q_value in[2] = {a, b};
    return node(g, cls, name, config, in, 2, NULL, 0);
}

/* A product with weights NAME.w and a bias NAME.b. */
static q_value product(q_graph *g, const q_layer_class *cls, const char *name, const void *config, q_value x,
                       uint32_t rows, uint32_t columns)
{
    place w, b;
    q_param p[2];
    (void)snprintf(w.text, sizeof(w.text), "%s.w", name);
    (void)snprintf(b.text, sizeof(b.text), "%s.b", name);
    p[0] = slot(g, w.text, rows, columns);
    p[1] = slot(g, b.text, 1, rows);
    return node(g, cls, name, config, &x, 1, p, 2);
}

static q_value linear(q_graph *g, const char *name, uint32_t activation, q_value x, uint32_t rows, uint32_t columns)
{
    const q_linear_config c = {activation, 0};
    return product(g, &q_layer_linear, name, &c, x, rows, columns);
}

static q_value input(q_graph *g, const char *name, uint32_t limit, const q_count dim[Q_MAX_DIMS])
{
    q_input_desc d;
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.type.dtype = limit != 0 ? Q_I32 : Q_REAL;
    d.limit = limit;
    memcpy(d.type.dim, dim, sizeof(d.type.dim));
    return q_graph_input(g, &d);
}

/* ---- The works -------------------------------------------------------------------------------------------- */

static q_value draw_mlp(q_graph *g, const work *w, q_value x)
{
    x = linear(g, "first", Q_ACT_RELU, x, 256, w->columns);
    x = linear(g, "second", Q_ACT_RELU, x, 128, 256);
    return linear(g, "third", Q_ACT_NONE, x, w->classes, 128);
}

static q_value convolve(q_graph *g, const char *name, q_value x, uint32_t rows, uint32_t channels)
{
    static const q_conv2d_config c = {3, 3, 1, 1, 1, 1, 1, 1, 1, Q_ACT_NONE};
    static const q_activation_config relu = {Q_ACT_RELU, 0};
    static const q_pool2d_config halves = {Q_POOL_MAX, 2, 2, 2, 2, 0, 0, 0};
    place act, pool;
    (void)snprintf(act.text, sizeof(act.text), "%s.relu", name);
    (void)snprintf(pool.text, sizeof(pool.text), "%s.pool", name);
    x = product(g, &q_layer_conv2d, name, &c, x, rows, 9 * channels);
    x = map(g, &q_layer_activation, act.text, &relu, x);
    return map(g, &q_layer_pool2d, pool.text, &halves, x);
}

static q_value draw_cnn(q_graph *g, const work *w, q_value x)
{
    static const q_reshape_config flat = {{1, 1, 1, 0}, 0, 0};
    x = convolve(g, "conv1", x, 16, 1);
    x = convolve(g, "conv2", x, 32, 16);
    x = map(g, &q_layer_reshape, "flatten", &flat, x);
    x = linear(g, "first", Q_ACT_RELU, x, 128, 1568);
    return linear(g, "second", Q_ACT_NONE, x, w->classes, 128);
}

static q_value draw_lstm(q_graph *g, const work *w, q_value x)
{
    enum { HIDDEN = 256 };
    const q_param p[4] = {slot(g, "lstm.w_ih", 4 * HIDDEN, w->columns), slot(g, "lstm.w_hh", 4 * HIDDEN, HIDDEN),
                          slot(g, "lstm.b_ih", 1, 4 * HIDDEN), slot(g, "lstm.b_hh", 1, 4 * HIDDEN)};
    x = node(g, &q_layer_lstm, "lstm", NULL, &x, 1, p, 4);
    return linear(g, "head", Q_ACT_NONE, x, w->classes, HIDDEN);
}

static q_value weighted(q_graph *g, int layer, const char *part, q_value x, uint32_t rows, uint32_t columns)
{
    static const q_linear_config c = {Q_ACT_NONE, 0};
    const q_param w = slot(g, at(layer, part).text, rows, columns);
    return node(g, &q_layer_linear, at(layer, part).text, &c, &x, 1, &w, 1);
}

static q_value norm(q_graph *g, int layer, const char *part, q_value x, uint32_t columns)
{
    static const q_rmsnorm_config c = {1e-5f, 0, 0, 0};
    const q_param w = slot(g, at(layer, part).text, 1, columns);
    return node(g, &q_layer_rmsnorm, at(layer, part).text, &c, &x, 1, &w, 1);
}

static q_value attend(q_graph *g, const work *w, int layer, q_value h, q_value turns)
{
    const uint32_t head = w->width / w->heads;
    const q_attention_config c = {w->heads, w->heads, head, 0, (float)(1 / sqrt((double)head)), 0};
    const q_rope_config turn = {w->heads, head};
    q_value in[3];
    in[0] = weighted(g, layer, "q", h, w->width, w->width);
    in[1] = weighted(g, layer, "k", h, w->width, w->width);
    in[2] = weighted(g, layer, "v", h, w->width, w->width);
    in[0] = both(g, &q_layer_rope, at(layer, "q_rope").text, &turn, in[0], turns);
    in[1] = both(g, &q_layer_rope, at(layer, "k_rope").text, &turn, in[1], turns);
    return node(g, &q_layer_attention, at(layer, "attention").text, &c, in, 3, NULL, 0);
}

static q_value block(q_graph *g, const work *w, int layer, q_value x, q_value turns)
{
    q_value h = attend(g, w, layer, norm(g, layer, "attn_norm", x, w->width), turns);
    q_value gate;
    x = both(g, &q_layer_add, at(layer, "attn_add").text, NULL, x, weighted(g, layer, "o", h, w->width, w->width));
    h = norm(g, layer, "ffn_norm", x, w->width);
    gate = weighted(g, layer, "gate", h, w->ffn, w->width);
    h = both(g, &q_layer_silu_mul, at(layer, "silu_mul").text, NULL, gate, weighted(g, layer, "up", h, w->ffn, w->width));
    return both(g, &q_layer_add, at(layer, "ffn_add").text, NULL, x, weighted(g, layer, "down", h, w->width, w->ffn));
}

static q_value draw_lm(q_graph *g, const work *w, q_value tokens)
{
    static const q_embedding_config plain = {1, 0};
    const q_param embedding = slot(g, "embed", w->classes, w->width);
    q_rope_table_config turns;
    q_value table, x;
    memset(&turns, 0, sizeof(turns));
    turns.n_pairs = w->width / w->heads / 2;
    turns.base = 10000;
    turns.factor = turns.low = turns.high = turns.magnitude = 1;
    table = map(g, &q_layer_rope_table, "rope_table", &turns, tokens);
    x = node(g, &q_layer_embedding, "embed", &plain, &tokens, 1, &embedding, 1);
    for (uint32_t layer = 0; layer < w->layers; layer++) {
        x = block(g, w, (int)layer, x, table);
    }
    return weighted(g, -1, "output", norm(g, -1, "norm", x, w->width), w->classes, w->width);
}

void work_build(q_graph *g, const void *user)
{
    static const q_cross_entropy_config config = {-100, 0};
    const work *w = (const work *)user;
    const uint32_t sym = w->columns != 0 ? Q_SYM_BATCH : Q_SYM_TOKENS;
    const q_count one = {1, Q_SYM_ONE};
    const q_count samples[Q_MAX_DIMS] = {
        {1, Q_SYM_BATCH}, {w->height, Q_SYM_ONE}, {w->rows / w->height, Q_SYM_ONE}, {w->columns, Q_SYM_ONE}};
    const q_count ids[Q_MAX_DIMS] = {one, one, one, {sym == Q_SYM_BATCH ? w->labels : 1, sym}};
    const q_value x = sym == Q_SYM_BATCH ? input(g, "x", 0, samples) : input(g, "tokens", w->classes, ids);
    const q_value labels = input(g, "labels", w->classes, ids);
    const q_value logits = w->draw(g, w, x);
    const q_value loss = both(g, &q_layer_cross_entropy, "loss", &config, logits, labels);
    q_graph_output(g, "loss", loss);
    q_graph_output(g, "count", loss + 1);
    q_graph_output(g, "logits", logits);
}

/* Of a decoder: projections and, causal, half of the two products of attention. */
#define LM_PRODUCTS(layers, width, ffn, vocab, rows) \
    ((rows) * ((layers) * (4.0 * (width) * (width) + 3.0 * (width) * (ffn) + (width) * ((rows) + 1.0)) + (width) * (vocab)))

const work *work_find(const char *name)
{
    static const work works[] = {
        {"mlp", draw_mlp, 64, 1, 1, 784, 1, 10, 0, 0, 0, 0, 784 * 256 + 256 * 128 + 1280, 784 * 256},
        {"cnn", draw_cnn, 64, 784, 28, 1, 1, 10, 0, 0, 0, 0, 784 * 16 * 9 + 196 * 32 * 144 + 1568 * 128 + 1280, 784 * 16 * 9},
        {"lm-288", draw_lm, 4, 256, 1, 0, 256, 512, 6, 288, 6, 768, LM_PRODUCTS(6, 288, 768, 512, 256), 0},
        {"lm-128", draw_lm, 8, 128, 1, 0, 128, 512, 4, 128, 4, 384, LM_PRODUCTS(4, 128, 384, 512, 128), 0},
        {"lstm", draw_lstm, 32, 64, 1, 64, 64, 64, 0, 0, 0, 0, 64.0 * (1024 * 320 + 256 * 64), 64.0 * 64 * 1024},
    };
    for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++) {
        if (strcmp(works[i].name, name) == 0) {
            return &works[i];
        }
    }
    return NULL;
}

double work_operations(const work *w)
{
    return 2.0 * w->batch * (3 * w->forward - w->first);
}
