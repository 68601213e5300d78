/* SPDX-License-Identifier: MIT */
/* What the layers of a network want of each other and of the data, and so what kind of data it is for. */
#include "train.h"

enum { DEFAULT_WINDOW = 64, DEFAULT_CONTEXT = 256 };

/* Does the layer stand between the braces of a residual, whatever is between? */
static bool is_within_residual(const train_settings *s, uint32_t layer)
{
    uint32_t closed = 0;
    while (layer-- != 0) {
        uint32_t op = s->layers[layer].op;
        bool opens = op == OP_RESIDUAL || op == OP_BLOCK;
        if (op == OP_RESIDUAL && closed == 0) {
            return true;
        }
        closed += op == OP_CLOSE ? 1u : 0u;
        closed -= opens && closed != 0 ? 1u : 0u;
    }
    return false;
}

/* What an attention asks of the data. */
static bool check_attention(const train_settings *s, uint32_t i, train_form form)
{
    const train_layer *l = &s->layers[i];
    if (l->heads == 0 || (l->kv_heads != 0 && l->heads % l->kv_heads != 0)) {
        return train_complain_layer(s, i, "attention: heads are wanted, and kv_heads that divide them");
    }
    if (l->full && form == FORM_TEXT) {
        return train_complain_layer(s, i, "attention: full would show a token those that it is to tell");
    }
    if (l->full && l->window != 0) {
        return train_complain_layer(s, i, "attention: full looks everywhere, window only back: one of them");
    }
    return !l->rope || form == FORM_TEXT ||
           train_complain_layer(s, i, "attention: rope turns by the place of a token in a text, and the data is none");
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

bool train_form_of(const train_settings *s, train_form *form, uint32_t *window)
{
    *form = FORM_SAMPLES;
    *window = s->window != 0 ? s->window : DEFAULT_WINDOW;
    if (s->model != NULL) {
        *form = FORM_TEXT;
        *window = s->window != 0 ? s->window : DEFAULT_CONTEXT;
    }
    for (uint32_t i = 0; i < s->n_layers; i++) {
        uint32_t op = s->layers[i].op;
        if (op == OP_DECODER && s->n_layers != 1) {
            return train_complain_layer(s, i, "decoder: a whole network: no other layers stand beside it");
        }
        if (op == OP_DECODER && !check_decoder(s)) {
            return false;
        }
        if (op == OP_EMBEDDING && i != 0) {
            return train_complain_layer(s, i, "embedding: only as the first layer, of the tokens of a text");
        }
        if (op == OP_LAST && *form == FORM_TEXT) {
            return train_complain_layer(s, i, "last: in a text every token is followed by one to be told");
        }
        if (op == OP_DROP_PATH && !is_within_residual(s, i)) {
            return train_complain_layer(s, i, "drop_path: only in a residual, whose part it drops");
        }
        if (op == OP_ATTENTION && !check_attention(s, i, *form)) {
            return false;
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
    if (*form == FORM_TEXT && s->targets != NULL) {
        return train_complain(s, "targets", "of a text they are its own next tokens");
    }
    return true;
}
