/* SPDX-License-Identifier: MIT */
/* One layer of a network as nodes of a graph: shapes followed, parameters named and drawn as PyTorch draws them. */
#include "train_nodes.h"

#include <string.h>

#include "qorus/base/fma.h"
#include "qorus/kernels_element.h"

q_value layer_misfit(building *b, const char *text)
{
    if (b->n->bad == NULL) {
        b->n->bad = text;
        b->n->bad_layer = b->index;
    }
    q_graph_fail(b->g, Q_ERR_INVALID_SHAPE, "network", text);
    return Q_NONE;
}

/* "3.conv2d" or "3.conv2d.weight" */
static const char *name_of(building *b, const char *part)
{
    (void)snprintf(b->name, sizeof(b->name), "%u.%s%s%s", b->index + 1, b->kind, *part != '\0' ? "." : "", part);
    return b->name;
}

static q_param param(building *b, const char *part, uint32_t rows, uint32_t columns, q_init init, bool trainable)
{
    q_param_desc d;
    memset(&d, 0, sizeof(d));
    d.name = name_of(b, part);
    d.type.dtype = Q_REAL;
    d.type.ne[0] = d.type.ne[1] = 1;
    d.type.ne[2] = rows;
    d.type.ne[3] = columns;
    d.trainable = trainable;
    d.init = init;
    return q_graph_param(b->g, &d);
}

static q_param vector(building *b, const char *part, uint32_t columns, double value, bool trainable)
{
    return param(b, part, 1, columns, (q_init){Q_INIT_CONSTANT, 0, value}, trainable);
}

/* Evenly within one over the root of `fan`. */
static q_param drawn(building *b, const char *part, uint32_t rows, uint32_t columns, uint32_t fan)
{
    return param(b, part, rows, columns, (q_init){Q_INIT_UNIFORM, 0, 1 / q_sqrt_f64((double)fan)}, true);
}

q_value layer_node(building *b, const q_layer_class *cls, const char *part, const void *config, const q_value *in, uint32_t n_in,
                    const q_param *params, uint32_t n_params)
{
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = cls;
    d.name = name_of(b, part);
    d.config = config;
    d.n_in = n_in;
    d.n_param = n_params;
    memcpy(d.in, in, n_in * sizeof(*in));
    if (n_params != 0) {
        memcpy(d.param, params, n_params * sizeof(*params));
    }
    return q_graph_node(b->g, &d);
}

static q_value map(building *b, const q_layer_class *cls, const char *part, const void *config, q_value x)
{
    return layer_node(b, cls, part, config, &x, 1, NULL, 0);
}

static q_value activate(building *b, uint32_t activation, q_value x)
{
    const q_activation_config config = {activation, 0};
    return activation == Q_ACT_NONE ? x : map(b, &q_layer_activation, "activation", &config, x);
}

/* ---- Layers ------------------------------------------------------------------------------------------------ */

static uint32_t size_of(const building *b)
{
    const train_network *n = b->n;
    if (b->layer->size != TRAIN_CLASSES) {
        return b->layer->size;
    }
    return n->settings->loss == LOSS_CROSS_ENTROPY ? n->data->classes : n->data->target_width;
}

static void linear(building *b, flow *x)
{
    bool within = b->layer->activation == Q_ACT_NONE || q_activation_from_output(b->layer->activation);
    const q_linear_config config = {within ? b->layer->activation : (uint32_t)Q_ACT_NONE, 0};
    uint32_t out = size_of(b);
    q_param p[2];
    p[0] = drawn(b, "weight", out, x->c, x->c);
    p[1] = b->layer->no_bias ? Q_NONE : drawn(b, "bias", 1, out, x->c);
    x->value = layer_node(b, &q_layer_linear, "", &config, &x->value, 1, p, b->layer->no_bias ? 1 : 2);
    x->value = within ? x->value : activate(b, b->layer->activation, x->value);
    x->c = out;
}

/* Steps of a window along an axis; 0: it does not fit. */
static uint32_t steps_of(uint32_t in, uint32_t kernel, uint32_t stride, uint32_t pad, uint32_t dilation)
{
    uint64_t span = (uint64_t)dilation * (kernel - 1) + 1;
    uint64_t room = (uint64_t)in + 2 * (uint64_t)pad;
    return span > room ? 0 : (uint32_t)((room - span) / stride + 1);
}

static bool window(building *b, flow *x, uint32_t stride)
{
    const train_layer *l = b->layer;
    uint32_t h = steps_of(x->h, l->kernel, stride, l->pad, l->dilation);
    uint32_t w = steps_of(x->w, l->kernel, stride, l->pad, l->dilation);
    if (x->sym != Q_SYM_BATCH || h == 0 || w == 0) {
        (void)layer_misfit(b, x->sym != Q_SYM_BATCH ? "an image is wanted here" : "its kernel is larger than the image that reaches it");
        return false;
    }
    x->h = h;
    x->w = w;
    return true;
}

static void conv2d(building *b, flow *x)
{
    const train_layer *l = b->layer;
    uint32_t stride = l->stride != 0 ? l->stride : 1;
    const q_conv2d_config config = {l->kernel, l->kernel, stride,      stride,    l->pad,
                                    l->pad,    l->dilation, l->dilation, l->groups, Q_ACT_NONE};
    uint32_t out = size_of(b);
    uint32_t fan;
    q_param p[2];
    if (x->c % l->groups != 0 || out % l->groups != 0) {
        (void)layer_misfit(b, "groups must divide the channels before and behind it");
        return;
    }
    if (!window(b, x, stride)) {
        return;
    }
    fan = l->kernel * l->kernel * (x->c / l->groups);
    p[0] = drawn(b, "weight", out, fan, fan);
    p[1] = l->no_bias ? Q_NONE : drawn(b, "bias", 1, out, fan);
    x->value = layer_node(b, &q_layer_conv2d, "", &config, &x->value, 1, p, l->no_bias ? 1 : 2);
    x->value = activate(b, l->activation, x->value);
    x->c = out;
}

static void pool(building *b, flow *x)
{
    const train_layer *l = b->layer;
    bool global = l->op == OP_GLOBAL_POOL;
    uint32_t stride = l->stride != 0 ? l->stride : l->kernel;
    const q_pool2d_config config = {l->op == OP_MAX_POOL ? Q_POOL_MAX : Q_POOL_AVERAGE, l->kernel, l->kernel, global ? 0 : stride,
                                    global ? 0 : stride, l->pad, l->pad, 0};
    if (global && x->sym != Q_SYM_BATCH) {
        (void)layer_misfit(b, "an image is wanted here");
        return;
    }
    if (!global && !window(b, x, stride)) {
        return;
    }
    x->h = global ? 1 : x->h;
    x->w = global ? 1 : x->w;
    x->value = map(b, &q_layer_pool2d, "", &config, x->value);
}

static void batchnorm(building *b, flow *x)
{
    bool within = b->layer->activation == Q_ACT_NONE || q_activation_from_output(b->layer->activation);
    const q_batchnorm_config config = {1e-5f, (float)b->layer->rate, within ? b->layer->activation : (uint32_t)Q_ACT_NONE, 0};
    q_param p[4];
    p[0] = vector(b, "weight", x->c, 1, true);
    p[1] = vector(b, "bias", x->c, 0, true);
    p[2] = vector(b, "mean", x->c, 0, false);
    p[3] = vector(b, "variance", x->c, 1, false);
    x->value = layer_node(b, &q_layer_batchnorm, "", &config, &x->value, 1, p, 4);
    x->value = within ? x->value : activate(b, b->layer->activation, x->value);
}

static void norm(building *b, flow *x)
{
    static const q_layernorm_config layernorm = {1e-5f, 0};
    static const q_rmsnorm_config rmsnorm = {1e-5f, 0, 0, 0};
    q_param p[2];
    p[0] = vector(b, "weight", x->c, 1, true);
    if (b->layer->op == OP_RMSNORM) {
        x->value = layer_node(b, &q_layer_rmsnorm, "", &rmsnorm, &x->value, 1, p, 1);
        return;
    }
    p[1] = vector(b, "bias", x->c, 0, true);
    x->value = layer_node(b, &q_layer_layernorm, "", &layernorm, &x->value, 1, p, 2);
}

static void flatten(building *b, flow *x)
{
    static const q_reshape_config config = {{1, 1, 1, 0}, 0, 0};
    if (x->sym != Q_SYM_BATCH) {
        (void)layer_misfit(b, "samples are wanted here, not rows of a sequence");
        return;
    }
    x->value = map(b, &q_layer_reshape, "", &config, x->value);
    x->c *= x->h * x->w;
    x->h = x->w = 1;
}

static void dropout(building *b, flow *x)
{
    const q_dropout_config config = {(float)b->layer->rate, 0};
    x->value = map(b, &q_layer_dropout, "", &config, x->value);
}

static void recurrent(building *b, flow *x)
{
    const train_layer *l = b->layer;
    const q_rnn_config plain = {l->activation != Q_ACT_NONE ? l->activation : (uint32_t)Q_ACT_TANH, 0};
    uint32_t gates = l->op == OP_LSTM ? 4 : l->op == OP_GRU ? 3 : 1;
    const q_layer_class *cls = l->op == OP_LSTM ? &q_layer_lstm : l->op == OP_GRU ? &q_layer_gru : &q_layer_rnn;
    uint32_t units = size_of(b);
    q_param p[4];
    if (x->h != 1) {
        (void)layer_misfit(b, "a sequence is wanted here: samples of rows and columns");
        return;
    }
    p[0] = drawn(b, "w_ih", gates * units, x->c, units);
    p[1] = drawn(b, "w_hh", gates * units, units, units);
    p[2] = l->no_bias ? Q_NONE : drawn(b, "b_ih", 1, gates * units, units);
    p[3] = l->no_bias ? Q_NONE : drawn(b, "b_hh", 1, gates * units, units);
    x->value = layer_node(b, cls, "", l->op == OP_RNN ? &plain : NULL, &x->value, 1, p, l->no_bias ? 2 : 4);
    x->c = units;
}

static void embedding(building *b, flow *x)
{
    static const q_embedding_config plain = {1, 0};
    uint32_t columns = size_of(b);
    q_param w = param(b, "weight", b->n->data->classes, columns, (q_init){Q_INIT_NORMAL, 0, 1}, true);
    x->value = layer_node(b, &q_layer_embedding, "", &plain, &x->value, 1, &w, 1);
    x->c = columns;
}

void layer_select(building *b, flow *x)
{
    if (!b->n->answers) {
        return;
    }
    x->value = map(b, &q_layer_select_rows, "select", NULL, x->value);
    x->sym = Q_SYM_SELECTED;
}

void layer_add(building *b, flow *x)
{
    static const char *const kinds[] = {"linear",  "activation", "conv2d", "maxpool", "avgpool", "globalpool",
                                        "batchnorm", "layernorm", "rmsnorm", "dropout", "flatten", "rnn",
                                        "lstm",    "gru",        "embedding", "last"};
    b->kind = kinds[b->layer->op];
    switch (b->layer->op) {
    case OP_LINEAR:
        linear(b, x);
        break;
    case OP_ACTIVATION:
        x->value = activate(b, b->layer->activation, x->value);
        break;
    case OP_CONV2D:
        conv2d(b, x);
        break;
    case OP_MAX_POOL:
    case OP_AVERAGE_POOL:
    case OP_GLOBAL_POOL:
        pool(b, x);
        break;
    case OP_BATCHNORM:
        batchnorm(b, x);
        break;
    case OP_LAYERNORM:
    case OP_RMSNORM:
        norm(b, x);
        break;
    case OP_DROPOUT:
        dropout(b, x);
        break;
    case OP_FLATTEN:
        flatten(b, x);
        break;
    case OP_EMBEDDING:
        embedding(b, x);
        break;
    case OP_LAST:
        layer_select(b, x);
        break;
    default:
        recurrent(b, x);
        break;
    }
}
