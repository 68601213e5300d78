/* SPDX-License-Identifier: MIT */
/* Describing a network: the library's layers, one thin function each. */
#include "qorus/kernels_element.h"

#include "net.h"

/* Uniform in +-1/sqrt(terms of an output's sum). */
static q_init net_even(uint32_t terms)
{
    q_init init = {Q_INIT_UNIFORM, 0, 0};
    init.value = 1 / q_sqrt_f64((double)(terms != 0 ? terms : 1));
    return init;
}

static q_init net_matrix_init(const q_net *n, q_init otherwise)
{
    return n->init.kind != Q_INIT_NONE ? n->init : otherwise;
}

/* NAME.w [rows, columns], and NAME.b where layers have a bias; how many. */
static uint32_t net_matrix_and_bias(q_net *n, const char *name, uint32_t rows, uint32_t columns, q_weight w[2])
{
    q_init init = net_even(columns);
    w[0] = q_net_part(n, name, ".w", rows, columns, net_matrix_init(n, init));
    if (!n->bias) {
        return 1;
    }
    w[1] = q_net_part(n, name, ".b", 1, rows, init);
    return 2;
}

static uint32_t net_columns(q_edge x)
{
    return x.type.dim[3].n;
}

/* ---- With parameters -------------------------------------------------------------------------------------- */

q_edge q_net_linear(q_net *n, const char *name, q_edge x, uint32_t columns, q_activation activation)
{
    const q_linear_config config = {activation, 0};
    q_weight w[2];
    uint32_t parts = net_matrix_and_bias(n, name, columns, net_columns(x), w);
    return q_net_map(n, &q_layer_linear, name, &config, x, w, parts);
}

q_edge q_net_project(q_net *n, const char *name, q_edge x, uint32_t columns)
{
    static const q_linear_config config = {Q_ACT_NONE, 0};
    q_weight w = q_net_weight(n, name, columns, net_columns(x), net_matrix_init(n, net_even(net_columns(x))));
    return q_net_map(n, &q_layer_linear, name, &config, x, &w, 1);
}

q_edge q_net_embedding(q_net *n, const char *name, q_edge ids, uint32_t vocab, uint32_t columns)
{
    static const q_embedding_config config = {1, 0};
    static const q_init normal = {Q_INIT_NORMAL, 0, 0.02};
    q_weight w = q_net_weight(n, name, vocab, columns, net_matrix_init(n, normal));
    return q_net_map(n, &q_layer_embedding, name, &config, ids, &w, 1);
}

/* a * b, but at least 1 and at most what a shape may say: beyond that the layer refuses its config, and names the field. */
static uint32_t net_product(uint32_t a, uint32_t b)
{
    uint64_t n = (uint64_t)a * b;
    return n == 0 ? 1 : n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

q_edge q_net_convolve(q_net *n, const char *name, q_edge x, uint32_t channels, const q_conv2d_config *config)
{
    uint32_t in = config->groups != 0 ? net_columns(x) / config->groups : 0;
    q_weight w[2];
    uint32_t parts = net_matrix_and_bias(n, name, channels, net_product(net_product(config->kernel_h, config->kernel_w), in), w);
    return q_net_map(n, &q_layer_conv2d, name, config, x, w, parts);
}

q_edge q_net_conv2d(q_net *n, const char *name, q_edge x, uint32_t channels, uint32_t kernel, uint32_t stride,
                    uint32_t pad)
{
    const q_conv2d_config config = {kernel, kernel, stride, stride, pad, pad, 1, 1, 1, Q_ACT_NONE};
    return q_net_convolve(n, name, x, channels, &config);
}

/* Backward finds the activation's derivative from its result; others are nodes of their own. */
q_edge q_net_batchnorm(q_net *n, const char *name, q_edge x, q_activation activation)
{
    bool within = q_activation_from_output(activation);
    const q_batchnorm_config config = {n->eps, n->momentum, within ? (uint32_t)activation : (uint32_t)Q_ACT_NONE, 0};
    q_weight w[4];
    w[0] = q_net_vector(n, name, ".w", net_columns(x), 1);
    w[1] = q_net_vector(n, name, ".b", net_columns(x), 0);
    w[2] = q_net_buffer(n, name, ".mean", net_columns(x), 0);
    w[3] = q_net_buffer(n, name, ".var", net_columns(x), 1);
    x = q_net_map(n, &q_layer_batchnorm, name, &config, x, w, 4);
    return within ? x : q_net_activate(n, x, activation);
}

q_edge q_net_layernorm(q_net *n, const char *name, q_edge x)
{
    const q_layernorm_config config = {n->eps, 0};
    q_weight w[2];
    w[0] = q_net_vector(n, name, ".w", net_columns(x), 1);
    if (n->bias) {
        w[1] = q_net_vector(n, name, ".b", net_columns(x), 0);
    }
    return q_net_map(n, &q_layer_layernorm, name, &config, x, w, n->bias ? 2 : 1);
}

q_edge q_net_rmsnorm(q_net *n, const char *name, q_edge x)
{
    const q_rmsnorm_config config = {n->eps, 0, 0, 0};
    q_weight w = q_net_vector(n, name, "", net_columns(x), 1);
    return q_net_map(n, &q_layer_rmsnorm, name, &config, x, &w, 1);
}

/* ---- Recurrent -------------------------------------------------------------------------------------------- */

static q_edge net_recurrent(q_net *n, const q_layer_class *cls, const char *name, const void *config, q_edge x,
                            uint32_t gates, uint32_t hidden)
{
    const uint32_t rows = net_product(gates, hidden);
    q_init init = net_even(hidden);
    q_weight w[4];
    w[0] = q_net_part(n, name, ".w_ih", rows, net_columns(x), net_matrix_init(n, init));
    w[1] = q_net_part(n, name, ".w_hh", rows, hidden, net_matrix_init(n, init));
    if (n->bias) {
        w[2] = q_net_part(n, name, ".b_ih", 1, rows, init);
        w[3] = q_net_part(n, name, ".b_hh", 1, rows, init);
    }
    return q_net_map(n, cls, name, config, x, w, n->bias ? 4 : 2);
}

q_edge q_net_rnn(q_net *n, const char *name, q_edge x, uint32_t hidden, q_activation activation)
{
    const q_rnn_config config = {activation, 0};
    return net_recurrent(n, &q_layer_rnn, name, &config, x, 1, hidden);
}

q_edge q_net_lstm(q_net *n, const char *name, q_edge x, uint32_t hidden)
{
    return net_recurrent(n, &q_layer_lstm, name, NULL, x, 4, hidden);
}

q_edge q_net_gru(q_net *n, const char *name, q_edge x, uint32_t hidden)
{
    return net_recurrent(n, &q_layer_gru, name, NULL, x, 3, hidden);
}

/* ---- Without ---------------------------------------------------------------------------------------------- */

q_edge q_net_activate(q_net *n, q_edge x, q_activation activation)
{
    const q_activation_config config = {activation, 0};
    return activation == Q_ACT_NONE ? x : q_net_map(n, &q_layer_activation, NULL, &config, x, NULL, 0);
}

q_edge q_net_softmax(q_net *n, q_edge x)
{
    static const q_softmax_config config = {1, 0};
    return q_net_map(n, &q_layer_softmax, NULL, &config, x, NULL, 0);
}

q_edge q_net_add(q_net *n, q_edge a, q_edge b)
{
    return q_net_join(n, &q_layer_add, NULL, a, b);
}

q_edge q_net_mul(q_net *n, q_edge a, q_edge b)
{
    return q_net_join(n, &q_layer_mul, NULL, a, b);
}

q_edge q_net_silu_mul(q_net *n, q_edge a, q_edge b)
{
    return q_net_join(n, &q_layer_silu_mul, NULL, a, b);
}

q_edge q_net_scale(q_net *n, q_edge x, float factor)
{
    const q_scale_config config = {factor, 0};
    return q_net_map(n, &q_layer_scale, NULL, &config, x, NULL, 0);
}

q_edge q_net_dropout(q_net *n, q_edge x, float rate)
{
    const q_dropout_config config = {rate, 0};
    return q_net_map(n, &q_layer_dropout, NULL, &config, x, NULL, 0);
}

q_edge q_net_drop_path(q_net *n, q_edge x, float rate)
{
    const q_dropout_config config = {rate, 0};
    return q_net_map(n, &q_layer_drop_path, NULL, &config, x, NULL, 0);
}

q_edge q_net_concat(q_net *n, const q_edge *x, uint32_t count)
{
    const q_net_layer_desc desc = {&q_layer_concat, NULL, NULL, x, NULL, count, 0, NULL};
    return q_net_layer(n, &desc);
}

static q_edge net_pool(q_net *n, q_edge x, q_pool_kind kind, uint32_t kernel)
{
    const q_pool2d_config config = {kind, kernel, kernel, 0, 0, 0, 0, 0};
    return q_net_map(n, &q_layer_pool2d, NULL, &config, x, NULL, 0);
}

q_edge q_net_max_pool(q_net *n, q_edge x, uint32_t kernel)
{
    return net_pool(n, x, Q_POOL_MAX, kernel);
}

q_edge q_net_average_pool(q_net *n, q_edge x, uint32_t kernel)
{
    return net_pool(n, x, Q_POOL_AVERAGE, kernel);
}

q_edge q_net_global_pool(q_net *n, q_edge x)
{
    return net_pool(n, x, Q_POOL_AVERAGE, 0);
}

/* The first dimension keeps what a sample has of it. */
q_edge q_net_reshape(q_net *n, q_edge x, uint32_t heads, uint32_t rows, uint32_t columns)
{
    const q_reshape_config config = {{x.type.dim[0].n, heads, rows, columns}, 0, 0};
    return q_net_map(n, &q_layer_reshape, NULL, &config, x, NULL, 0);
}

q_edge q_net_flatten(q_net *n, q_edge x)
{
    return q_net_reshape(n, x, 1, 1, 0);
}

q_edge q_net_select_rows(q_net *n, q_edge x)
{
    return q_net_map(n, &q_layer_select_rows, NULL, NULL, x, NULL, 0);
}

/* ---- Losses ----------------------------------------------------------------------------------------------- */

static void net_loss(q_net *n, const q_layer_class *cls, const void *config, q_edge x, q_edge target)
{
    const q_edge in[2] = {x, target};
    q_edge count = {Q_NONE, x.type};
    const q_net_layer_desc desc = {cls, NULL, config, in, NULL, 2, 0, &count};
    q_net_output(n, "loss", q_net_layer(n, &desc));
    q_net_output(n, "count", count);
}

void q_net_cross_entropy(q_net *n, q_edge x, q_edge labels)
{
    const q_cross_entropy_config config = {(int32_t)net_columns(x), n->label_smoothing};
    net_loss(n, &q_layer_cross_entropy, &config, x, labels);
}

void q_net_mse(q_net *n, q_edge x, q_edge target)
{
    net_loss(n, &q_layer_mse, NULL, x, target);
}

void q_net_huber(q_net *n, q_edge x, q_edge target, float delta)
{
    const q_huber_config config = {delta, 0};
    net_loss(n, &q_layer_huber, &config, x, target);
}

void q_net_bce(q_net *n, q_edge x, q_edge target)
{
    net_loss(n, &q_layer_bce, NULL, x, target);
}
