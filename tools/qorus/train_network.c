/* SPDX-License-Identifier: MIT */
/* The lines of a network as a graph, layer by layer (qorus/net.h), the loss behind it; and whether it fits the data. */
#include "train.h"

#include <stdlib.h>
#include <string.h>

#include "qorus/base/fma.h"
#include "qorus/net.h"

/* ---- Layers ------------------------------------------------------------------------------------------------ */

/* A graph being built from the lines of a network. Line i is the scope "i", counted from 1: "3.conv2d.w". */
typedef struct building {
    q_net net;
    const train_network *n;
    q_edge x; /* what goes in: tokens, samples */
} building;

static uint32_t size_of(const building *b, const train_layer *l)
{
    if (l->size != TRAIN_CLASSES) {
        return l->size;
    }
    return b->n->settings->loss == LOSS_CROSS_ENTROPY ? b->n->data->classes : b->n->data->target_width;
}

/* A layer of one input, without parameters. */
static q_edge plain(building *b, const q_layer_class *cls, const char *name, const void *config, q_edge x)
{
    const q_net_layer_desc desc = {cls, name, config, &x, NULL, 1, 0, NULL};
    return q_net_layer(&b->net, &desc);
}

static q_edge conv2d(building *b, const train_layer *l, q_edge x)
{
    uint32_t stride = l->stride != 0 ? l->stride : 1;
    const q_conv2d_config config = {l->kernel, l->kernel,   stride,      stride,    l->pad,
                                    l->pad,    l->dilation, l->dilation, l->groups, l->activation};
    if (x.value != Q_NONE && (x.type.dim[3].n % l->groups != 0 || size_of(b, l) % l->groups != 0)) {
        char name[Q_CAP_NAME + 8];
        (void)snprintf(name, sizeof(name), "%sconv2d", b->net.scope);
        q_graph_fail(b->net.graph, Q_ERR_INVALID_ARG, name, "groups must divide the channels before and behind it");
    }
    return q_net_convolve(&b->net, "conv2d", x, size_of(b, l), &config);
}

static q_edge pool(building *b, const train_layer *l, q_edge x)
{
    uint32_t kind = l->op == OP_MAX_POOL ? Q_POOL_MAX : Q_POOL_AVERAGE;
    const q_pool2d_config config = {kind, l->kernel, l->kernel, l->stride, l->stride, l->pad, l->pad, 0};
    return plain(b, &q_layer_pool2d, "pool", &config, x);
}

static q_edge batchnorm(building *b, const train_layer *l, q_edge x)
{
    b->net.momentum = (float)l->rate;
    return q_net_batchnorm(&b->net, "batchnorm", x, (q_activation)l->activation);
}

static q_edge dropout(building *b, const train_layer *l, q_edge x)
{
    const q_dropout_config config = {(float)l->rate, 0};
    return l->op == OP_DROPOUT ? plain(b, &q_layer_dropout, "dropout", &config, x)
                               : plain(b, &q_layer_drop_path, "drop_path", &config, x);
}

static q_edge attention(building *b, const train_layer *l, q_edge x)
{
    uint32_t columns = x.type.dim[3].n;
    uint32_t outer = q_net_enter(&b->net, "attention", Q_NONE);
    q_net_attention_config config = {.heads = l->heads, .kv_heads = l->kv_heads, .window = l->window, .full = l->full};
    q_edge table;
    if (x.value != Q_NONE && columns % l->heads != 0) {
        char name[Q_CAP_NAME + 8];
        (void)snprintf(name, sizeof(name), "%sheads", b->net.scope);
        q_graph_fail(b->net.graph, Q_ERR_INVALID_ARG, name, "heads must divide the columns before it");
    }
    if (l->rope) {
        table = q_net_rope_table(&b->net, b->x, columns / l->heads, 10000);
        config.table = &table;
    }
    x = q_net_attention(&b->net, x, &config);
    q_net_leave(&b->net, outer);
    return x;
}

static q_edge rnn(building *b, const train_layer *l, q_edge x)
{
    return q_net_rnn(&b->net, "rnn", x, size_of(b, l), l->activation != Q_ACT_NONE ? (q_activation)l->activation : Q_ACT_TANH);
}

static q_edge embedding(building *b, const train_layer *l, q_edge x)
{
    const q_init normal = {Q_INIT_NORMAL, 0, 1};
    b->net.init = normal;
    x = q_net_embedding(&b->net, "embedding", x, b->n->data->classes, size_of(b, l));
    memset(&b->net.init, 0, sizeof(b->net.init));
    return x;
}

/* Which rows are wanted. While training all of them are there, and targets that are to be ignored leave rows out. */
static q_edge select_rows(building *b, q_edge x)
{
    return b->n->answers ? q_net_select_rows(&b->net, x) : x;
}

static q_edge add_layer(building *b, const train_layer *l, q_edge x)
{
    b->net.bias = !l->no_bias;
    switch (l->op) {
    case OP_LINEAR:
        return q_net_linear(&b->net, "linear", x, size_of(b, l), (q_activation)l->activation);
    case OP_ACTIVATION:
        return q_net_activate(&b->net, x, (q_activation)l->activation);
    case OP_CONV2D:
        return conv2d(b, l, x);
    case OP_MAX_POOL:
    case OP_AVERAGE_POOL:
    case OP_GLOBAL_POOL:
        return pool(b, l, x);
    case OP_BATCHNORM:
        return batchnorm(b, l, x);
    case OP_LAYERNORM:
        return q_net_layernorm(&b->net, "layernorm", x);
    case OP_RMSNORM:
        return q_net_rmsnorm(&b->net, "rmsnorm", x);
    case OP_DROPOUT:
    case OP_DROP_PATH:
        return dropout(b, l, x);
    case OP_ATTENTION:
        return attention(b, l, x);
    case OP_FLATTEN:
        return q_net_flatten(&b->net, x);
    case OP_EMBEDDING:
        return embedding(b, l, x);
    case OP_LAST:
        return select_rows(b, x);
    case OP_RNN:
        return rnn(b, l, x);
    case OP_LSTM:
        return q_net_lstm(&b->net, "lstm", x, size_of(b, l));
    default:
        return q_net_gru(&b->net, "gru", x, size_of(b, l));
    }
}

/* ---- The whole --------------------------------------------------------------------------------------------- */

/* All lines in order; what is open within what, and the value that went in there. A text's rows are chosen before its last
   linear. */
static q_edge add_layers(building *b, q_edge x)
{
    const train_settings *s = b->n->settings;
    q_edge before[TRAIN_MAX_DEPTH];
    uint32_t opener[TRAIN_MAX_DEPTH];
    uint32_t depth = 0;
    bool select = b->n->data->form == FORM_TEXT;
    for (uint32_t i = 0; i < s->n_layers; i++) {
        const train_layer *l = &s->layers[i];
        bool closes = l->op == OP_CLOSE;
        uint32_t line = closes ? opener[depth - 1] : i;
        char scope[12];
        uint32_t outer;
        (void)snprintf(scope, sizeof(scope), "%u", line + 1);
        outer = q_net_enter(&b->net, scope, Q_NONE);
        if (l->op == OP_RESIDUAL || l->op == OP_BLOCK) {
            opener[depth] = i;
            before[depth++] = x;
            q_graph_block(b->net.graph, opener[0] + 1);
        } else if (closes) {
            depth--;
            x = s->layers[line].op == OP_RESIDUAL ? q_net_add(&b->net, before[depth], x) : x;
            q_graph_block(b->net.graph, depth == 0 ? 0 : opener[0] + 1);
        } else {
            if (select && i + 1 == s->n_layers && l->op == OP_LINEAR) {
                x = select_rows(b, x);
                select = false;
            }
            x = add_layer(b, l, x);
        }
        q_net_leave(&b->net, outer);
    }
    return select ? select_rows(b, x) : x;
}

static q_edge first_value(building *b)
{
    const train_data *d = b->n->data;
    if (d->form == FORM_TEXT) {
        return q_net_tokens(&b->net, "tokens", d->classes);
    }
    return d->form == FORM_ROWS ? q_net_rows(&b->net, "x", d->columns)
                                : q_net_images(&b->net, "x", d->height, d->rows, d->columns);
}

static q_edge target_input(building *b)
{
    const train_data *d = b->n->data;
    bool samples = d->form == FORM_SAMPLES;
    q_input_desc desc;
    if (b->n->settings->loss != LOSS_CROSS_ENTROPY) {
        return q_net_features(&b->net, "targets", d->target_width);
    }
    memset(&desc, 0, sizeof(desc));
    desc.name = "targets";
    desc.type.dtype = Q_I32;
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        desc.type.dim[i].n = 1;
    }
    desc.type.dim[3].n = samples ? d->target_width : 1;
    desc.type.dim[3].sym = samples ? Q_SYM_BATCH : Q_SYM_TOKENS;
    desc.limit = d->form == FORM_ROWS ? TRAIN_IGNORED + 1 : d->classes;
    return q_net_input(&b->net, &desc);
}

/* The weights of the classes, where there are some for all of them: train_network_open says if not. */
static uint32_t add_class_weights(building *b, uint32_t columns, q_weight *w)
{
    const train_network *n = b->n;
    q_param_desc desc;
    q_tensor view;
    if (n->n_class_weights == 0 || n->n_class_weights != columns) {
        return 0;
    }
    memset(&desc, 0, sizeof(desc));
    desc.name = "class_weights";
    desc.type.dtype = Q_REAL;
    desc.type.ne[0] = desc.type.ne[1] = desc.type.ne[2] = 1;
    desc.type.ne[3] = columns;
    memset(&view, 0, sizeof(view));
    view.data = n->class_weights;
    view.dtype = Q_REAL;
    memcpy(view.ne, desc.type.ne, sizeof(view.ne));
    desc.view = &view;
    *w = (q_weight){q_graph_param(b->net.graph, &desc), desc.type};
    return 1;
}

static void add_loss(building *b, q_edge y, q_edge targets)
{
    static const q_layer_class *const classes[] = {&q_layer_cross_entropy, &q_layer_mse, &q_layer_huber, &q_layer_bce};
    const train_settings *s = b->n->settings;
    const q_cross_entropy_config entropy = {TRAIN_IGNORED, (float)s->label_smoothing};
    const q_huber_config huber = {(float)s->delta, 0};
    const void *const configs[] = {&entropy, NULL, &huber, NULL}; /* as train_loss */
    const q_edge in[2] = {y, targets};
    q_edge count = y;
    q_weight weights;
    uint32_t n_weights = add_class_weights(b, y.type.dim[3].n, &weights);
    const q_net_layer_desc desc = {classes[s->loss], "loss", configs[s->loss], in, &weights, 2, n_weights, &count};
    q_net_output(&b->net, "loss", q_net_layer(&b->net, &desc));
    q_net_output(&b->net, "count", count);
}

/* Where the answers do not fit the targets there is no loss, and train_network_open says why. */
static bool answers_fit(const train_network *n)
{
    const train_data *d = n->data;
    if (n->settings->loss == LOSS_CROSS_ENTROPY) {
        return n->columns >= d->classes && (d->form != FORM_SAMPLES || n->rows == d->target_width);
    }
    return n->rows == 1 && n->columns == d->target_width;
}

static q_edge add_decoder(building *b, q_edge tokens)
{
    q_decoder_build d;
    q_edge logits = tokens;
    memset(&d, 0, sizeof(d));
    d.struct_size = sizeof(d);
    d.flags = b->n->answers ? 0 : Q_DECODER_ALL_ROWS;
    d.arch = &b->n->decoder.arch;
    d.file = b->n->data->base;
    d.user = (void *)(uintptr_t)b->n;
    if (d.file == NULL && !b->n->answers) {
        d.dropout = (float)b->n->settings->layers[0].rate;
        d.drop_path = (float)b->n->settings->layers[0].path_rate;
    }
    if (d.file != NULL && b->n->settings->lora != 0) {
        d.adapts = tune_adapts;
        d.lora_rank = b->n->settings->lora;
        d.lora_alpha = b->n->settings->lora_alpha;
    } else if (d.file != NULL) {
        d.trains = tune_trains;
    }
    logits.value = q_graph_decoder(b->net.graph, &d, tokens.value);
    logits.type.dtype = Q_REAL;
    logits.type.dim[2] = (q_count){1, b->n->answers ? Q_SYM_SELECTED : Q_SYM_TOKENS};
    logits.type.dim[3] = (q_count){d.arch->n_vocab, Q_SYM_ONE};
    return logits;
}

void train_build(q_graph *g, const void *network)
{
    train_network *n = (train_network *)(uintptr_t)network;
    building b;
    q_edge x;
    q_edge targets;
    b.n = n;
    q_net_begin(&b.net, g);
    x = b.x = first_value(&b);
    targets = n->answers ? x : target_input(&b);
    x = n->is_decoder ? add_decoder(&b, x) : add_layers(&b, x);
    n->columns = x.type.dim[3].n;
    n->rows = x.type.dim[1].n * x.type.dim[2].n;
    if (!n->answers && answers_fit(n)) {
        add_loss(&b, x, targets);
    }
    q_net_output(&b.net, n->settings->loss == LOSS_CROSS_ENTROPY || n->settings->loss == LOSS_BCE ? "logits" : "values", x);
}

/* ---- Checks ------------------------------------------------------------------------------------------------ */

static void make_arch(train_network *n)
{
    const train_layer *l = &n->settings->layers[0];
    q_file_arch *a = &n->decoder.arch;
    a->kind = Q_ARCH_DECODER;
    a->flags = l->untied ? 0 : Q_ARCH_TIED;
    a->n_layers = l->layers;
    a->d_model = l->size;
    a->n_heads = l->heads;
    a->n_kv_heads = l->kv_heads != 0 ? l->kv_heads : l->heads;
    a->head_dim = l->size / l->heads;
    a->d_ffn = l->ffn != 0 ? l->ffn : (l->size * 8 / 3 + 31) / 32 * 32;
    a->n_vocab = n->data->classes;
    a->n_context = n->data->rows;
    a->activation = Q_ACT_SILU;
    a->norm_eps = 1e-5f;
    a->embed_scale = a->residual_scale = a->logit_scale = 1;
    a->attn_scale = (float)(1 / q_sqrt_f64((double)a->head_dim));
    a->rope_dims = a->head_dim;
    a->rope_pairing = 1;
    a->rope_base = 10000;
    a->rope_magnitude = 1;
}

static bool check_answers(const train_network *n)
{
    const train_settings *s = n->settings;
    const train_data *d = n->data;
    uint32_t last = s->n_layers - 1;
    if (n->n_class_weights != 0 && n->n_class_weights != n->columns) {
        return train_complain(s, "class_weights", "%u numbers, but %u outputs", n->n_class_weights, n->columns);
    }
    if (answers_fit(n)) {
        return true;
    }
    if (d->base != NULL) {
        return train_complain(s, "model", "its vocabulary has %u tokens, but it answers with %u", d->classes, n->columns);
    }
    if (s->loss == LOSS_CROSS_ENTROPY && n->columns < d->classes) {
        return train_complain_layer(s, last, "%u outputs, but the data has %u classes", n->columns, d->classes);
    }
    if (s->loss == LOSS_CROSS_ENTROPY) {
        return train_complain_layer(s, last, "%u rows of outputs, but %u labels for a sample (globalpool, flatten or last make one row)",
                                    n->rows, d->target_width);
    }
    return train_complain_layer(s, last, "%u rows of %u outputs, but %u targets for a sample", n->rows, n->columns, d->target_width);
}

/* "X X ...", of at most as many classes as fit. */
static bool read_class_weights(train_network *n)
{
    const train_settings *s = n->settings;
    const char *text = s->class_weights;
    size_t room = (strlen(text) / 2 + 1) * sizeof(q_real);
    n->class_weights = (q_real *)aligned_alloc(Q_ALIGN, (room + Q_ALIGN - 1) / Q_ALIGN * Q_ALIGN);
    while (n->class_weights != NULL && *(text += strspn(text, " \t")) != '\0') {
        char word[32];
        double value;
        size_t length = strcspn(text, " \t");
        (void)snprintf(word, sizeof(word), "%.*s", (int)(length < sizeof(word) ? length : sizeof(word) - 1), text);
        if (!options_double(word, &value) || !(value >= 0 && value <= 1e9)) {
            return train_complain(s, "class_weights", "'%s' is no number from 0 to 1e9", word);
        }
        n->class_weights[n->n_class_weights++] = (q_real)value;
        text += length;
    }
    return n->class_weights != NULL || train_complain(s, "class_weights", "out of memory");
}

int train_say_failure(const train_settings *s, const char *what, const q_diag *diag)
{
    char line[256];
    uint32_t layer = 0;
    engine_explain(diag, line, sizeof(line));
    for (const char *c = diag->what; *c >= '0' && *c <= '9' && layer <= TRAIN_MAX_LAYERS; c++) {
        layer = layer * 10 + (uint32_t)(*c - '0');
    }
    if (layer >= 1 && layer <= s->n_layers) {
        (void)train_complain_layer(s, layer - 1, "%s", line);
    } else {
        say("%s: %s", what, line);
    }
    return EXIT_FAILED;
}

bool train_network_open(train_network *n, const train_settings *s, const train_data *d)
{
    q_diag diag;
    size_t bytes;
    memset(n, 0, sizeof(*n));
    n->settings = s;
    n->data = d;
    if (s->class_weights != NULL && !read_class_weights(n)) {
        return false;
    }
    n->is_decoder = d->base != NULL || s->layers[0].op == OP_DECODER;
    if (d->base != NULL) {
        const q_file_arch *arch = q_file_get_arch(d->base);
        n->decoder.arch = *arch;
        memcpy(n->decoder.kinds, arch + 1, arch->n_layers);
    } else if (n->is_decoder) {
        make_arch(n);
    }
    if (q_model_size(train_build, n, &bytes, &diag) != Q_OK) {
        return train_say_failure(s, "network", &diag) == EXIT_DONE;
    }
    return check_answers(n);
}
