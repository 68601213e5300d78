/* SPDX-License-Identifier: MIT */
/* The graphs of the works, by the names train_torch.py gives their parameters. */
#include "works.h"

#include <math.h>
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

/* ---- The works -------------------------------------------------------------------------------------------- */

static q_edge draw_mlp(q_net *n, const work *w, q_edge x)
{
    x = q_net_linear(n, "first", x, 256, Q_ACT_RELU);
    x = q_net_linear(n, "second", x, 128, Q_ACT_RELU);
    return q_net_linear(n, "third", x, w->classes, Q_ACT_NONE);
}

static q_edge draw_cnn(q_net *n, const work *w, q_edge x)
{
    x = q_net_max_pool(n, q_net_activate(n, q_net_conv2d(n, "conv1", x, 16, 3, 1, 1), Q_ACT_RELU), 2);
    x = q_net_max_pool(n, q_net_activate(n, q_net_conv2d(n, "conv2", x, 32, 3, 1, 1), Q_ACT_RELU), 2);
    x = q_net_linear(n, "first", q_net_flatten(n, x), 128, Q_ACT_RELU);
    return q_net_linear(n, "second", x, w->classes, Q_ACT_NONE);
}

static q_edge draw_lstm(q_net *n, const work *w, q_edge x)
{
    return q_net_linear(n, "head", q_net_lstm(n, "lstm", x, 256), w->classes, Q_ACT_NONE);
}

static q_edge draw_lm(q_net *n, const work *w, q_edge tokens)
{
    const q_edge table = q_net_rope_table(n, tokens, w->width / w->heads, 10000);
    const q_net_transformer_config config = {w->layers, w->ffn, {.heads = w->heads, .table = &table}};
    q_edge x = q_net_embedding(n, "embed", tokens, w->classes, w->width);
    x = q_net_rmsnorm(n, "norm", q_net_transformer(n, "layers", x, &config));
    return q_net_project(n, "output", x, w->classes);
}

/* A tenth of what enters the residual stream dropped. */
static q_edge dropped(q_net *n, q_edge part)
{
    return q_net_dropout(n, part, 0.1f);
}

static q_edge normalised(q_net *n, q_edge part)
{
    return q_net_rmsnorm(n, "post_norm", part);
}

/* The same decoder, with a layer before each addition to the residual stream. */
static q_edge draw_stream(q_net *n, const work *w, q_edge tokens, q_edge (*enter)(q_net *n, q_edge part))
{
    const q_edge table = q_net_rope_table(n, tokens, w->width / w->heads, 10000);
    const q_net_attention_config attention = {.heads = w->heads, .table = &table};
    q_edge x = q_net_embedding(n, "embed", tokens, w->classes, w->width);
    for (uint32_t i = 0; i < w->layers; i++) {
        uint32_t outer = q_net_enter(n, "layers", i);
        q_edge part = q_net_attention(n, q_net_rmsnorm(n, "attn_norm", x), &attention);
        x = q_net_add(n, x, enter(n, part));
        part = q_net_swiglu(n, q_net_rmsnorm(n, "ffn_norm", x), w->ffn);
        x = q_net_add(n, x, enter(n, part));
        q_net_leave(n, outer);
    }
    return q_net_project(n, "output", q_net_rmsnorm(n, "norm", x), w->classes);
}

static q_edge draw_dropout(q_net *n, const work *w, q_edge tokens)
{
    return draw_stream(n, w, tokens, dropped);
}

static q_edge draw_post_norm(q_net *n, const work *w, q_edge tokens)
{
    return draw_stream(n, w, tokens, normalised);
}

/* One number of a class for each row of the logits. */
static q_edge labels_of(q_net *n, const work *w)
{
    q_input_desc d = {.name = "labels", .limit = w->classes + 1};
    if (w->columns == 0) {
        return q_net_targets(n, "labels", w->classes);
    }
    d.type.dtype = Q_I32;
    d.type.dim[0] = d.type.dim[1] = d.type.dim[2] = (q_count){1, Q_SYM_ONE};
    d.type.dim[3] = (q_count){w->labels, Q_SYM_BATCH};
    return q_net_input(n, &d);
}

void work_build(q_graph *g, const void *user)
{
    const work *w = (const work *)user;
    q_net n;
    q_edge x, labels;
    q_net_begin(&n, g);
    x = w->columns == 0 ? q_net_tokens(&n, "tokens", w->classes)
        : w->height > 1 ? q_net_images(&n, "x", w->height, w->rows / w->height, w->columns)
        : w->rows > 1   ? q_net_sequences(&n, "x", w->rows, w->columns)
                        : q_net_features(&n, "x", w->columns);
    labels = labels_of(&n, w);
    x = w->draw(&n, w, x);
    q_net_cross_entropy(&n, x, labels);
    q_net_output(&n, "logits", x);
}

/* Of a decoder: projections and, causal, half of the two products of attention. */
#define LM_PRODUCTS(layers, width, ffn, vocab, rows) \
    ((rows) * ((layers) * (4.0 * (width) * (width) + 3.0 * (width) * (ffn) + (width) * ((rows) + 1.0)) + (width) * (vocab)))

const work *work_find(const char *name)
{
    static const work works[] = {
        {"mlp", draw_mlp, 64, 1, 1, 784, 1, 10, 0, 0, 0, 0, 784 * 256 + 256 * 128 + 1280, 784 * 256},
        {"cnn", draw_cnn, 64, 784, 28, 1, 1, 10, 0, 0, 0, 0, 784 * 16 * 9 + 196 * 32 * 144 + 1568 * 128 + 1280,
         784 * 16 * 9},
        {"lm-288", draw_lm, 4, 256, 1, 0, 256, 512, 6, 288, 6, 768, LM_PRODUCTS(6, 288, 768, 512, 256), 0},
        {"lm-128", draw_lm, 8, 128, 1, 0, 128, 512, 4, 128, 4, 384, LM_PRODUCTS(4, 128, 384, 512, 128), 0},
        {"lm-128-dropout", draw_dropout, 8, 128, 1, 0, 128, 512, 4, 128, 4, 384, LM_PRODUCTS(4, 128, 384, 512, 128), 0},
        {"lm-192-dropout", draw_dropout, 8, 128, 1, 0, 128, 512, 6, 192, 6, 512, LM_PRODUCTS(6, 192, 512, 512, 128), 0},
        {"lm-128-post", draw_post_norm, 8, 128, 1, 0, 128, 512, 4, 128, 4, 384, LM_PRODUCTS(4, 128, 384, 512, 128), 0},
        {"lm-192-post", draw_post_norm, 8, 128, 1, 0, 128, 512, 6, 192, 6, 512, LM_PRODUCTS(6, 192, 512, 512, 128), 0},
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
