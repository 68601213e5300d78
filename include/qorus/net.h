/* SPDX-License-Identifier: MIT */
/*
 * net.h: describing a network. A layer is one call; values know their shapes, so parameters get their sizes, names, first
 * values and gradients by themselves. Within a builder (q_build_fn):
 *
 *     q_net n;
 *     q_net_begin(&n, graph);
 *     q_edge x = q_net_images(&n, "x", 28, 28, 1);
 *     q_edge labels = q_net_labels(&n, "labels", 10);
 *     x = q_net_conv2d(&n, "conv", x, 16, 3, 1, 1);
 *     x = q_net_batchnorm(&n, "bn", x, Q_ACT_RELU);
 *     x = q_net_max_pool(&n, x, 2);
 *     x = q_net_linear(&n, "head", q_net_flatten(&n, x), 10, Q_ACT_NONE);
 *     q_net_cross_entropy(&n, x, labels);
 *     q_net_output(&n, "logits", x);
 *
 * Parameters are named by the layer: NAME.w and NAME.b where a layer has several, NAME where it has one (project,
 * embedding, rmsnorm). A name used again is the same parameter, of the same shape: a matrix is tied by its name, and a
 * function that builds a part of a network, called twice within the same scope (q_net_enter), builds two parts of shared
 * weights; in another scope, its own. Nodes get names of their own: that of the layer, NAME#1, NAME#2 where it is used
 * again, and CLASS with a number for layers without parameters.
 *
 * Errors end the build and name the node, as those of q_graph_node do; later calls do nothing. All calls cost
 * O(parameters so far).
 */
#ifndef QORUS_NET_H
#define QORUS_NET_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An edge of the graph with its shape. */
typedef struct q_edge {
    q_value value;
    q_value_type type;
} q_edge;

/* A parameter with its shape. */
typedef struct q_weight {
    q_param param;
    q_param_type type;
} q_weight;

enum { Q_NET_PARAMS = 1024 /* most parameters of a network built by one q_net: then Q_ERR_LIMIT */ };

/* A network being described: 9 KiB, of which the first part may be set between calls, for those that follow. */
typedef struct q_net {
    q_graph *graph;
    bool bias;             /* linear, conv2d, recurrent layers and layernorm have one (default: true) */
    bool frozen;           /* parameters do not train (default: false) */
    float eps;             /* of norms (default: 1e-5) */
    float momentum;        /* of batchnorm: how far a step moves its running statistics (default: 0.1) */
    float label_smoothing; /* of cross_entropy (default: 0) */
    q_init init;           /* of matrices; Q_INIT_NONE, the default: what each layer says */
    /* (optional; default: all do) Does the parameter of that name train? Asked where it is not frozen. */
    bool (*trains)(void *user, const char *name);
    void *user;

    /* the builder's own */
    char scope[Q_CAP_NAME + 1];
    uint32_t scope_length;
    uint32_t n_blocks;
    uint32_t n_known;
    uint32_t hash[Q_NET_PARAMS]; /* of the names of parameters */
    q_param param[Q_NET_PARAMS];
    uint8_t uses[Q_NET_PARAMS]; /* nodes named after it */
} q_net;

/* Defaults; graph: the one a builder was called with. */
void q_net_begin(q_net *n, q_graph *graph);

/*
 * Names from now on begin with "NAME.", or "NAME.I." unless i is Q_NONE, behind those of the scopes around. Returns what
 * q_net_leave takes to end it. Inputs and outputs have no scope.
 */
uint32_t q_net_enter(q_net *n, const char *name, uint32_t i);
void q_net_leave(q_net *n, uint32_t outer);

/* ---- Inputs, before all layers, and outputs --------------------------------------------------------------- */

/* Of reals: of each sample `columns` numbers, an image, or `rows` rows of columns; or rows of texts, as many as a step has
   tokens. */
q_edge q_net_features(q_net *n, const char *name, uint32_t columns);
q_edge q_net_images(q_net *n, const char *name, uint32_t height, uint32_t width, uint32_t channels);
q_edge q_net_sequences(q_net *n, const char *name, uint32_t rows, uint32_t columns);
q_edge q_net_rows(q_net *n, const char *name, uint32_t columns);
/* Of numbers: token ids below vocab; the class of each sample, or of each token, where number `classes` itself says that
   the row does not count (q_net_cross_entropy). */
q_edge q_net_tokens(q_net *n, const char *name, uint32_t vocab);
q_edge q_net_labels(q_net *n, const char *name, uint32_t classes);
q_edge q_net_targets(q_net *n, const char *name, uint32_t classes);
/* Of each sample of q_net_sequences how many of its rows count, 1 .. rows: q_net_attention_config.lengths. */
q_edge q_net_lengths(q_net *n, const char *name, uint32_t rows);
/* Any other. */
q_edge q_net_input(q_net *n, const q_input_desc *desc);

/* Output 0 of a network that trains is its loss: call this after it. */
void q_net_output(q_net *n, const char *name, q_edge x);

/* ---- Layers with parameters -------------------------------------------------------------------------------- */

/* W uniform in +-1/sqrt(inputs of an output), b likewise; NAME.w [columns, in], NAME.b. The activation is the layer's own, one pass
   with the product wherever a plan can (docs/ARCHITECTURE.md). */
q_edge q_net_linear(q_net *n, const char *name, q_edge x, uint32_t columns, q_activation activation);
/* The product alone, its matrix NAME [columns, in]: that of an embedding, say. */
q_edge q_net_project(q_net *n, const char *name, q_edge x, uint32_t columns);
/* Rows of NAME [vocab, columns], normal of 0.02. */
q_edge q_net_embedding(q_net *n, const char *name, q_edge ids, uint32_t vocab, uint32_t columns);
/* Square kernel; NAME.w [channels, kernel*kernel*in], NAME.b, first values as linear. */
q_edge q_net_conv2d(q_net *n, const char *name, q_edge x, uint32_t channels, uint32_t kernel, uint32_t stride,
                    uint32_t pad);
/* Any, its activation among them: NAME.w [channels, kernel_h*kernel_w*in/groups]. */
q_edge q_net_convolve(q_net *n, const char *name, q_edge x, uint32_t channels, const q_conv2d_config *config);
/* NAME.w, NAME.b, and NAME.mean and NAME.var, which do not train. */
q_edge q_net_batchnorm(q_net *n, const char *name, q_edge x, q_activation activation);
q_edge q_net_layernorm(q_net *n, const char *name, q_edge x);
q_edge q_net_rmsnorm(q_net *n, const char *name, q_edge x);
/* NAME.w_ih, NAME.w_hh, NAME.b_ih, NAME.b_hh, uniform in +-1/sqrt(hidden). Activation of rnn: tanh or ReLU. */
q_edge q_net_rnn(q_net *n, const char *name, q_edge x, uint32_t hidden, q_activation activation);
q_edge q_net_lstm(q_net *n, const char *name, q_edge x, uint32_t hidden);
q_edge q_net_gru(q_net *n, const char *name, q_edge x, uint32_t hidden);

/* ---- Layers without ---------------------------------------------------------------------------------------- */

q_edge q_net_activate(q_net *n, q_edge x, q_activation activation);
q_edge q_net_softmax(q_net *n, q_edge x);
q_edge q_net_add(q_net *n, q_edge a, q_edge b); /* residual: q_net_add(n, x, f(x)) */
q_edge q_net_mul(q_net *n, q_edge a, q_edge b);
q_edge q_net_silu_mul(q_net *n, q_edge a, q_edge b); /* silu(a) * b */
q_edge q_net_scale(q_net *n, q_edge x, float factor);
/* Training: an element, or all of a sample, is 0 with probability `rate`; 0 <= rate < 1. */
q_edge q_net_dropout(q_net *n, q_edge x, float rate);
q_edge q_net_drop_path(q_net *n, q_edge x, float rate);
/* Columns side by side; 1 .. Q_MAX_INPUTS values. */
q_edge q_net_concat(q_net *n, const q_edge *x, uint32_t count);
/* Windows of kernel x kernel, side by side; the whole image. */
q_edge q_net_max_pool(q_net *n, q_edge x, uint32_t kernel);
q_edge q_net_average_pool(q_net *n, q_edge x, uint32_t kernel);
q_edge q_net_global_pool(q_net *n, q_edge x);
/* Each sample as one row; or as [head, row, column]. */
q_edge q_net_flatten(q_net *n, q_edge x);
q_edge q_net_reshape(q_net *n, q_edge x, uint32_t heads, uint32_t rows, uint32_t columns);
/* The rows of a step of tokens that are wanted: q_step.select. */
q_edge q_net_select_rows(q_net *n, q_edge x);

/* ---- Transformers ------------------------------------------------------------------------------------------ */

/* Cosines and sines for heads of head_dim, of the tokens' positions. */
q_edge q_net_rope_table(q_net *n, q_edge tokens, uint32_t head_dim, double base);

typedef struct q_net_attention_config {
    uint32_t heads;
    uint32_t kv_heads;    /* 0: heads */
    uint32_t head_dim;    /* 0: columns / heads */
    uint32_t window;      /* causal: rows a row looks back on, itself among them; 0: all */
    bool full;            /* every row looks at every row; else at those before it and itself */
    const q_edge *table;  /* (optional) turns queries and keys: q_net_rope_table */
    /* (optional, with full; default: all rows count) Of samples: q_net_lengths. Rows behind are padding, which no row looks at;
       attention makes 0 of them. Without `full` nobody looks at what is behind; texts of different lengths have a span each. */
    const q_edge *lengths;
} q_net_attention_config;

/* Rows of one text, or of one sample, to each other. Products q, k, v and o. */
q_edge q_net_attention(q_net *n, q_edge x, const q_net_attention_config *config);
/* (silu(x gate) * (x up)) down, of `width` within. */
q_edge q_net_swiglu(q_net *n, q_edge x, uint32_t width);

typedef struct q_net_transformer_config {
    uint32_t layers;
    uint32_t width; /* of SwiGLU */
    q_net_attention_config attention;
} q_net_transformer_config;

/* Layers NAME.0, NAME.1, ...: x += attention(attn_norm(x)); x += swiglu(ffn_norm(x)); each is a block for
   Q_PLAN_RECOMPUTE. The parameters are called as in a decoder's file; matrices begin normal of 0.02, those that enter the
   residual of 0.02/sqrt(2 layers). */
q_edge q_net_transformer(q_net *n, const char *name, q_edge x, const q_net_transformer_config *config);

/* ---- Losses: outputs "loss" and "count" -------------------------------------------------------------------- */

/* x: logits [rows, classes]; a label of `classes` does not count. */
void q_net_cross_entropy(q_net *n, q_edge x, q_edge labels);
void q_net_mse(q_net *n, q_edge x, q_edge target);
void q_net_huber(q_net *n, q_edge x, q_edge target, float delta);
void q_net_bce(q_net *n, q_edge x, q_edge target); /* x: logits */

/* ---- Any layer, and weights by hand ------------------------------------------------------------------------- */

typedef struct q_net_layer_desc {
    const q_layer_class *cls; /* the library's or the caller's */
    const char *name;         /* NULL: made from the class */
    const void *config;
    const q_edge *in;
    const q_weight *param;
    uint32_t n_in;
    uint32_t n_param;
    q_edge *more; /* (optional) gets outputs 1, 2, ... */
} q_net_layer_desc;

/* Output 0. */
q_edge q_net_layer(q_net *n, const q_net_layer_desc *desc);
/* A slot of reals [rows, columns], or the one that has this name already. */
q_weight q_net_weight(q_net *n, const char *name, uint32_t rows, uint32_t columns, q_init init);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_NET_H */
