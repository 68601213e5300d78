/* SPDX-License-Identifier: MIT */
/* Reading the lines of a network: a name, its numbers in order, then words and named numbers. */
#include "train.h"

#include <stdarg.h>
#include <string.h>

/* What may stand behind a layer's name. */
enum {
    SIZE = 1u << 0,   /* first number */
    KERNEL = 1u << 1, /* next number */
    RATE = 1u << 2,   /* first number, a real */
    WINDOW = 1u << 3, /* stride, pad */
    DILATED = 1u << 4,
    GROUPED = 1u << 5,
    ACTIVATED = 1u << 6, /* the name of an activation */
    BIASED = 1u << 7,    /* nobias */
    MOMENTUM = 1u << 8,
    DECODER = 1u << 9,
    OPENS = 1u << 10,
    ATTENDS = 1u << 11
};

typedef struct layer_name {
    const char *name;
    uint32_t op;
    uint32_t takes;
    uint32_t activation;
} layer_name;

static const layer_name names[] = {
    {"linear", OP_LINEAR, SIZE | ACTIVATED | BIASED, 0},
    {"relu", OP_ACTIVATION, 0, Q_ACT_RELU},
    {"silu", OP_ACTIVATION, 0, Q_ACT_SILU},
    {"gelu", OP_ACTIVATION, 0, Q_ACT_GELU_ERF},
    {"gelu_tanh", OP_ACTIVATION, 0, Q_ACT_GELU_TANH},
    {"sigmoid", OP_ACTIVATION, 0, Q_ACT_SIGMOID},
    {"tanh", OP_ACTIVATION, 0, Q_ACT_TANH},
    {"conv2d", OP_CONV2D, SIZE | KERNEL | WINDOW | DILATED | GROUPED | ACTIVATED | BIASED, 0},
    {"maxpool", OP_MAX_POOL, KERNEL | WINDOW, 0},
    {"avgpool", OP_AVERAGE_POOL, KERNEL | WINDOW, 0},
    {"globalpool", OP_GLOBAL_POOL, 0, 0},
    {"batchnorm", OP_BATCHNORM, ACTIVATED | MOMENTUM, 0},
    {"layernorm", OP_LAYERNORM, 0, 0},
    {"rmsnorm", OP_RMSNORM, 0, 0},
    {"dropout", OP_DROPOUT, RATE, 0},
    {"drop_path", OP_DROP_PATH, RATE, 0},
    {"flatten", OP_FLATTEN, 0, 0},
    {"rnn", OP_RNN, SIZE | ACTIVATED | BIASED, 0},
    {"lstm", OP_LSTM, SIZE | BIASED, 0},
    {"gru", OP_GRU, SIZE | BIASED, 0},
    {"embedding", OP_EMBEDDING, SIZE, 0},
    {"last", OP_LAST, 0, 0},
    {"attention", OP_ATTENTION, ATTENDS, 0},
    {"decoder", OP_DECODER, DECODER, 0},
    {"residual", OP_RESIDUAL, OPENS, 0},
    {"block", OP_BLOCK, OPENS, 0},
};
enum { N_NAMES = sizeof(names) / sizeof(names[0]) };

/* A number with a name. */
typedef struct layer_option {
    const char *name;
    uint32_t takes;
    size_t offset;
    uint32_t low;
} layer_option;

static const layer_option options_of[] = {
    {"stride", WINDOW, offsetof(train_layer, stride), 1},     {"pad", WINDOW, offsetof(train_layer, pad), 0},
    {"dilation", DILATED, offsetof(train_layer, dilation), 1}, {"groups", GROUPED, offsetof(train_layer, groups), 1},
    {"layers", DECODER, offsetof(train_layer, layers), 1},     {"width", DECODER, offsetof(train_layer, size), 8},
    {"ffn", DECODER, offsetof(train_layer, ffn), 1},           {"window", ATTENDS, offsetof(train_layer, window), 1},
    {"heads", DECODER | ATTENDS, offsetof(train_layer, heads), 1},
    {"kv_heads", DECODER | ATTENDS, offsetof(train_layer, kv_heads), 1},
};
enum { N_OPTIONS = sizeof(options_of) / sizeof(options_of[0]), MOST = 1 << 20 };

/* A share with a name: above 0, up to 1, or from 0 to below 1. */
typedef struct layer_share {
    const char *name;
    uint32_t takes;
    size_t offset;
    bool whole;
} layer_share;

static const layer_share shares_of[] = {
    {"momentum", MOMENTUM, offsetof(train_layer, rate), true},
    {"dropout", DECODER, offsetof(train_layer, rate), false},
    {"drop_path", DECODER, offsetof(train_layer, path_rate), false},
};
enum { N_SHARES = sizeof(shares_of) / sizeof(shares_of[0]) };

/* A word that stands alone. */
typedef struct layer_flag {
    const char *name;
    uint32_t takes;
    size_t offset;
} layer_flag;

static const layer_flag flags_of[] = {
    {"nobias", BIASED, offsetof(train_layer, no_bias)},
    {"untied", DECODER, offsetof(train_layer, untied)},
    {"full", ATTENDS, offsetof(train_layer, full)},
    {"rope", ATTENDS, offsetof(train_layer, rope)},
};
enum { N_FLAGS = sizeof(flags_of) / sizeof(flags_of[0]) };

/* A layer being read. */
typedef struct reading {
    train_settings *s;
    train_layer *layer;
    const layer_name *name;
} reading;

static bool wrong(const reading *r, const char *format, const char *word)
{
    return train_complain_layer(r->s, (uint32_t)(r->layer - r->s->layers), format, r->name != NULL ? r->name->name : word, word);
}

static bool activation_named(const char *word, uint32_t *activation)
{
    for (uint32_t i = 0; i < N_NAMES; i++) {
        if (names[i].op == OP_ACTIVATION && strcmp(names[i].name, word) == 0) {
            *activation = names[i].activation;
            return true;
        }
    }
    return false;
}

static bool read_count(const reading *r, char *word, const char *what, uint32_t low, uint32_t *out)
{
    uint64_t v;
    if (word == NULL) {
        return wrong(r, "%s: its %s is missing", what);
    }
    if (!options_u64(word, &v) || v < low || v > MOST) {
        return train_complain_layer(r->s, (uint32_t)(r->layer - r->s->layers), "%s: %s is '%s', no whole number from %u to %d",
                                    r->name->name, what, word, low, MOST);
    }
    *out = (uint32_t)v;
    return true;
}

static bool read_share(const reading *r, const char *word, const char *what, bool whole, double *out)
{
    const char *range = whole ? "number above 0, up to 1" : "number from 0 to below 1";
    if (word != NULL && options_double(word, out) && (whole ? *out > 0 && *out <= 1 : *out >= 0 && *out < 1)) {
        return true;
    }
    return train_complain_layer(r->s, (uint32_t)(r->layer - r->s->layers), "%s: %s '%s' is no %s", r->name->name, what,
                                word != NULL ? word : "", range);
}

/* The numbers that come first. */
static bool read_numbers(const reading *r, char **text)
{
    uint32_t takes = r->name->takes;
    char *word;
    if ((takes & SIZE) != 0) {
        word = train_word(text);
        if (word != NULL && strcmp(word, "classes") == 0) {
            r->layer->size = TRAIN_CLASSES;
        } else if (!read_count(r, word, "size", 1, &r->layer->size)) {
            return false;
        }
    }
    if ((takes & KERNEL) != 0 && !read_count(r, train_word(text), "kernel", 1, &r->layer->kernel)) {
        return false;
    }
    return (takes & RATE) == 0 || read_share(r, train_word(text), "share", false, &r->layer->rate);
}

static bool read_option(const reading *r, const char *word, char **text)
{
    for (uint32_t i = 0; i < N_OPTIONS; i++) {
        const layer_option *o = &options_of[i];
        if ((o->takes & r->name->takes) != 0 && strcmp(o->name, word) == 0) {
            return read_count(r, train_word(text), o->name, o->low, (uint32_t *)(void *)((char *)r->layer + o->offset));
        }
    }
    for (uint32_t i = 0; i < N_SHARES; i++) {
        const layer_share *o = &shares_of[i];
        if ((o->takes & r->name->takes) != 0 && strcmp(o->name, word) == 0) {
            return read_share(r, train_word(text), o->name, o->whole, (double *)(void *)((char *)r->layer + o->offset));
        }
    }
    return wrong(r, "%s: what is '%s'?", word);
}

static bool read_flag(const reading *r, const char *word)
{
    for (uint32_t i = 0; i < N_FLAGS; i++) {
        if ((flags_of[i].takes & r->name->takes) != 0 && strcmp(flags_of[i].name, word) == 0) {
            *(bool *)((char *)r->layer + flags_of[i].offset) = true;
            return true;
        }
    }
    return false;
}

static bool read_words(const reading *r, char **text)
{
    uint32_t takes = r->name->takes;
    char *word;
    while ((word = train_word(text)) != NULL) {
        if (read_flag(r, word) || ((takes & ACTIVATED) != 0 && activation_named(word, &r->layer->activation))) {
            continue;
        }
        if ((takes & OPENS) != 0 && strcmp(word, "{") == 0 && train_word(text) == NULL) {
            return true;
        } else if (!read_option(r, word, text)) {
            return false;
        }
    }
    return (takes & OPENS) == 0 || wrong(r, "%s: '{' is missing", "");
}

static void layer_defaults(train_layer *l, uint32_t line)
{
    memset(l, 0, sizeof(*l));
    l->line = line;
    l->dilation = l->groups = 1;
}

/* One line that is not empty. *depth counts what is open; the brace that closes it all makes it -1. */
static bool read_line(train_settings *s, char *text, uint32_t line, int *depth)
{
    reading r = {s, &s->layers[s->n_layers], NULL};
    char *word;
    if (s->n_layers == TRAIN_MAX_LAYERS) {
        return train_complain(s, "network", "more than %d lines", (int)TRAIN_MAX_LAYERS);
    }
    layer_defaults(r.layer, line);
    s->n_layers++; /* complaints name its line */
    word = train_word(&text);
    if (strcmp(word, "}") == 0) {
        r.layer->op = OP_CLOSE;
        s->n_layers -= *depth == 0 ? 1 : 0;
        --*depth;
        return train_word(&text) == NULL || wrong(&r, "'}' stands on a line of its own", "");
    }
    for (uint32_t i = 0; i < N_NAMES && r.name == NULL; i++) {
        r.name = strcmp(names[i].name, word) == 0 ? &names[i] : NULL;
    }
    if (r.name == NULL) {
        return wrong(&r, "unknown layer '%s'; qorus train --help lists them", word);
    }
    r.layer->op = r.name->op;
    r.layer->activation = r.name->activation;
    r.layer->rate = (r.name->takes & MOMENTUM) != 0 ? 0.1 : 0;
    if (!read_numbers(&r, &text) || !read_words(&r, &text)) {
        return false;
    }
    *depth += (r.name->takes & OPENS) != 0 ? 1 : 0;
    return *depth <= TRAIN_MAX_DEPTH || wrong(&r, "%s: more than 8 within each other", "");
}

char *train_read_network(train_settings *s, char *text, uint32_t *line)
{
    uint32_t none = 0;
    bool file = line != NULL;
    int depth = 0;
    line = file ? line : &none;
    while (*text != '\0') {
        size_t n = strcspn(text, file ? "\n" : ";\n");
        char *next = text + n + (text[n] != '\0' ? 1 : 0);
        text[n] = '\0';
        *line += file ? 1 : 0;
        for (size_t i = 0; i < n; i++) {
            text[i] = text[i] == '#' || text[i] == '\r' ? '\0' : text[i];
        }
        text += strspn(text, " \t");
        if (*text != '\0' && !read_line(s, text, *line, &depth)) {
            return NULL;
        }
        if (depth < 0) {
            return file ? next : (train_complain(s, "network", "'}' closes nothing"), NULL);
        }
        text = next;
    }
    if (depth != 0 || file) {
        (void)train_complain(s, "network", "'}' is missing at the end");
        return NULL;
    }
    return text;
}
