/* SPDX-License-Identifier: MIT */
/* A network as a graph: the lines in order, residuals, the loss; and whether it fits the data. */
#include "train_nodes.h"

#include <string.h>

#include "qorus/base/fma.h"

enum { DEFAULT_WINDOW = 64, DEFAULT_CONTEXT = 256 };

/* ---- What the layers want ---------------------------------------------------------------------------------- */

bool train_form_of(const train_settings *s, train_form *form, uint32_t *window)
{
    *form = FORM_SAMPLES;
    *window = s->window != 0 ? s->window : DEFAULT_WINDOW;
    for (uint32_t i = 0; i < s->n_layers; i++) {
        uint32_t op = s->layers[i].op;
        if (op == OP_DECODER && s->n_layers != 1) {
            return train_complain_layer(s, i, "decoder: a whole network: no other layers stand beside it");
        }
        if (op == OP_EMBEDDING && i != 0) {
            return train_complain_layer(s, i, "embedding: only as the first layer, of the tokens of a text");
        }
        if (op == OP_LAST && *form == FORM_TEXT) {
            return train_complain_layer(s, i, "last: in a text every token is followed by one to be told");
        }
        *form = op == OP_DECODER || op == OP_EMBEDDING ? FORM_TEXT : op == OP_LAST ? FORM_ROWS : *form;
        *window = op == OP_DECODER && s->window == 0 ? DEFAULT_CONTEXT : *window;
    }
    if (*form == FORM_ROWS && s->loss != LOSS_CROSS_ENTROPY) {
        return train_complain(s, "loss", "last goes with cross_entropy; for other losses make one row by globalpool or flatten");
    }
    if (*form == FORM_TEXT && s->loss != LOSS_CROSS_ENTROPY) {
        return train_complain(s, "loss", "a text is learnt by cross_entropy");
    }
    return true;
}

/* ---- The whole --------------------------------------------------------------------------------------------- */

/* Closes a residual: what its layers made plus what went in. */
static void close_residual(building *b, const flow *before, flow *x)
{
    q_value in[2];
    if (before->h != x->h || before->w != x->w || before->c != x->c || before->sym != x->sym) {
        (void)layer_misfit(b, "residual: its layers change the shape, so that there is nothing to add");
        return;
    }
    in[0] = before->value;
    in[1] = x->value;
    b->kind = "add";
    x->value = layer_node(b, &q_layer_add, "", NULL, in, 2, NULL, 0);
}

/* All lines in order; a text's rows are chosen before its last linear. */
static void add_layers(building *b, flow *x)
{
    const train_settings *s = b->n->settings;
    flow opened[TRAIN_MAX_DEPTH];
    uint32_t opener[TRAIN_MAX_DEPTH];
    uint32_t depth = 0;
    bool select = b->n->data->form == FORM_TEXT;
    for (uint32_t i = 0; i < s->n_layers && b->n->bad == NULL; i++) {
        uint32_t op = s->layers[i].op;
        b->index = i;
        b->layer = &s->layers[i];
        if (op == OP_RESIDUAL || op == OP_BLOCK) {
            q_graph_block(b->g, depth == 0 ? i + 1 : opener[0] + 1);
            opener[depth] = i;
            opened[depth++] = *x;
        } else if (op == OP_CLOSE) {
            depth--;
            b->index = opener[depth];
            if (s->layers[opener[depth]].op == OP_RESIDUAL) {
                close_residual(b, &opened[depth], x);
            }
            q_graph_block(b->g, depth == 0 ? 0 : opener[0] + 1);
        } else {
            b->kind = "select";
            if (select && i + 1 == s->n_layers && op == OP_LINEAR) {
                layer_select(b, x);
                select = false;
            }
            layer_add(b, x);
        }
    }
    if (select && b->n->bad == NULL) {
        b->kind = "select";
        layer_select(b, x);
    }
}

static q_value input(building *b, const char *name, uint32_t dtype, const uint32_t dim[4], uint32_t sym, uint32_t limit)
{
    q_input_desc d;
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.type.dtype = dtype;
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        d.type.dim[i] = (q_count){dim[i], Q_SYM_ONE};
    }
    d.type.dim[dtype == Q_I32 ? 3 : sym == Q_SYM_BATCH ? 0 : 2].sym = sym;
    d.limit = limit;
    return q_graph_input(b->g, &d);
}

static flow first_value(building *b)
{
    const train_data *d = b->n->data;
    const uint32_t sample[4] = {1, d->height, d->rows, d->columns};
    const uint32_t row[4] = {1, 1, 1, d->columns};
    const uint32_t one[4] = {1, 1, 1, 1};
    flow x = {0, d->height, d->rows, d->columns, Q_SYM_BATCH};
    if (d->form == FORM_SAMPLES) {
        x.value = input(b, "x", Q_REAL, sample, Q_SYM_BATCH, 0);
        return x;
    }
    x.sym = Q_SYM_TOKENS;
    x.w = 1;
    x.value = d->form == FORM_ROWS ? input(b, "x", Q_REAL, row, Q_SYM_TOKENS, 0)
                                   : input(b, "tokens", Q_I32, one, Q_SYM_TOKENS, d->classes);
    return x;
}

static q_value target_input(building *b)
{
    const train_data *d = b->n->data;
    bool samples = d->form == FORM_SAMPLES;
    bool labels = b->n->settings->loss == LOSS_CROSS_ENTROPY;
    const uint32_t dim[4] = {1, 1, 1, samples ? d->target_width : 1};
    return input(b, "targets", labels ? (uint32_t)Q_I32 : (uint32_t)Q_REAL, dim, samples ? Q_SYM_BATCH : Q_SYM_TOKENS,
                 !labels ? 0 : d->form == FORM_ROWS ? TRAIN_IGNORED + 1 : d->classes);
}

static void add_loss(building *b, q_value y, q_value targets)
{
    const train_settings *s = b->n->settings;
    const q_cross_entropy_config entropy = {TRAIN_IGNORED, (float)s->label_smoothing};
    const q_huber_config huber = {(float)s->delta, 0};
    static const q_layer_class *const classes[] = {&q_layer_cross_entropy, &q_layer_mse, &q_layer_huber, &q_layer_bce};
    const void *const configs[] = {&entropy, NULL, &huber, NULL}; /* as train_loss */
    q_node_desc d;
    q_value loss;
    memset(&d, 0, sizeof(d));
    d.cls = classes[s->loss];
    d.name = "loss";
    d.config = configs[s->loss];
    d.n_in = 2;
    d.in[0] = y;
    d.in[1] = targets;
    loss = q_graph_node(b->g, &d);
    q_graph_output(b->g, "loss", loss);
    q_graph_output(b->g, "count", loss + 1);
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

void train_build(q_graph *g, const void *network)
{
    train_network *n = (train_network *)(uintptr_t)network;
    building b = {g, n, NULL, 0, "", ""};
    q_value targets = Q_NONE;
    flow x = first_value(&b);
    if (!n->answers) {
        targets = target_input(&b);
    }
    if (n->is_decoder) {
        q_decoder_build d;
        memset(&d, 0, sizeof(d));
        d.struct_size = sizeof(d);
        d.flags = n->answers ? 0 : Q_DECODER_ALL_ROWS;
        d.arch = &n->decoder.arch;
        x.value = q_graph_decoder(g, &d, x.value);
        x.c = d.arch->n_vocab;
    } else {
        add_layers(&b, &x);
    }
    n->columns = x.c;
    n->rows = x.h * x.w;
    if (n->bad != NULL || x.value == Q_NONE) {
        return;
    }
    if (!n->answers && answers_fit(n)) {
        add_loss(&b, x.value, targets);
    }
    q_graph_output(g, n->settings->loss == LOSS_CROSS_ENTROPY || n->settings->loss == LOSS_BCE ? "logits" : "values", x.value);
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

static bool check_decoder(const train_settings *s)
{
    const train_layer *l = &s->layers[0];
    uint32_t head_dim;
    if (l->layers == 0 || l->size == 0 || l->heads == 0 || l->layers > Q_CAP_LAYERS) {
        return train_complain_layer(s, 0, "decoder: layers (up to %d), width and heads are wanted", (int)Q_CAP_LAYERS);
    }
    head_dim = l->size / l->heads;
    if (l->size % l->heads != 0 || head_dim % 8 != 0) {
        return train_complain_layer(s, 0, "decoder: a width of %u is not %u heads of a multiple of 8", l->size, l->heads);
    }
    if (l->kv_heads != 0 && l->heads % l->kv_heads != 0) {
        return train_complain_layer(s, 0, "decoder: %u kv_heads do not divide %u heads", l->kv_heads, l->heads);
    }
    return true;
}

static bool check_answers(const train_network *n)
{
    const train_settings *s = n->settings;
    const train_data *d = n->data;
    uint32_t last = s->n_layers - 1;
    if (answers_fit(n)) {
        return true;
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
    n->is_decoder = s->layers[0].op == OP_DECODER;
    if (n->is_decoder) {
        if (!check_decoder(s)) {
            return false;
        }
        make_arch(n);
    }
    if (q_model_size(train_build, n, &bytes, &diag) != Q_OK) {
        return n->bad != NULL ? train_complain_layer(s, n->bad_layer, "%s", n->bad)
                              : train_say_failure(s, "network", &diag) == EXIT_DONE;
    }
    return check_answers(n);
}
