/* SPDX-License-Identifier: MIT */
/* Settings of qorus train: one table of names, kinds and bounds; what is said about them. */
#include "train_settings.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(train_settings, field)
static const setting table[] = {
    {"data", NULL, NULL, 0, 0, 0, 0, 0},
    {"data", "FILE", "what to learn from: IDX, .npy, CSV or text", AT(data), SET_TEXT, 0, 0, 0},
    {"targets", "FILE", "labels or values of the samples: IDX, .npy or CSV", AT(targets), SET_TEXT, 0, 0, 0},
    {"label", "COLUMN", "of a CSV file: name, number from 1, or last", AT(label), SET_TEXT, 0, 0, 0},
    {"format", "auto idx npy csv text", "of the data (auto)", AT(format), SET_CHOICE, 0, 0, 0},
    {"shape", "N N N", "of a sample: columns; rows columns; height width channels", AT(shape), SET_SHAPE, 0, 0, 0},
    {"normalise", "none unit standard global", "values, by those that train (none)", AT(normalise), SET_CHOICE, 0, 0, 0},
    {"classes", "NAMES", "names of the classes, in order (those of the CSV, sorted)", AT(classes), SET_TEXT, 0, 0, 0},
    {"vocab", "N|char|byte", "tokens of a text: BPE of N, characters, bytes (512)", AT(vocab), SET_TEXT, 0, 0, 0},
    {"window", "N", "tokens of a text seen at once (decoder: its context; else 64)", AT(window), SET_COUNT, 0, 1, 1 << 20},
    {"stride", "N", "tokens from one window to the next (window)", AT(stride), SET_COUNT, 0, 1, 1 << 20},
    {"validate", "SHARE", "of the samples, or of a text its end, held out (0)", AT(validate), SET_REAL, 0, 0, 0.9},
    {"validate_data", "FILE", "held-out samples in a file of their own", AT(validate_data), SET_TEXT, 0, 0, 0},
    {"validate_targets", "FILE", "and their targets", AT(validate_targets), SET_TEXT, 0, 0, 0},
    {"fine-tuning", NULL, NULL, 0, 0, 0, 0, 0},
    {"model", "FILE", "a .qorus language model to begin from, instead of a network", AT(model), SET_TEXT, 0, 0, 0},
    {"lora", "RANK", "train adapters of that rank beside it; out is a file of them (0)", AT(lora), SET_COUNT, 0, 0, Q_CAP_WIDTH},
    {"lora_alpha", "X", "they are scaled by X/RANK (RANK)", AT(lora_alpha), SET_REAL, 0, 1e-3, 1e6},
    {"tune", "NAMES", "what trains: 'q v', 'layers.7.*', '*norm' (all matrices)", AT(tune), SET_TEXT, 0, 0, 0},
    {"network and loss", NULL, NULL, 0, 0, 0, 0, 0},
    {"network", "LINES", "layers, ';' between them; in a config file network { ... }", AT(network), SET_NETWORK, 0, 0, 0},
    {"loss", "cross_entropy mse huber bce", "(cross_entropy)", AT(loss), SET_CHOICE, 0, 0, 0},
    {"label_smoothing", "X", "of cross_entropy (0)", AT(label_smoothing), SET_REAL, 0, 0, 1},
    {"class_weights", "X X ...", "of cross_entropy: what a sample of each class counts (1 each)", AT(class_weights), SET_TEXT, 0, 0, 0},
    {"delta", "X", "of huber (1)", AT(delta), SET_REAL, 0, 1e-9, 1e9},
    {"optimizer", NULL, NULL, 0, 0, 0, 0, 0},
    {"optimizer", "adamw adam sgd lion", "(adamw)", AT(optimizer), SET_CHOICE, 0, 0, 0},
    {"learning_rate", "X", "(0.001)", AT(learning_rate), SET_REAL, 0, 0, 1000},
    {"weight_decay", "X", "of matrices (0)", AT(weight_decay), SET_REAL, 0, 0, 1000},
    {"momentum", "X", "of sgd (0)", AT(momentum), SET_REAL, 0, 0, 0.999999},
    {"nesterov", "yes no", "with momentum (no)", AT(nesterov), SET_YES, 0, 0, 0},
    {"beta1", "X", "(0.9)", AT(beta1), SET_REAL, 0, 1e-9, 0.999999},
    {"beta2", "X", "(0.999; lion 0.99)", AT(beta2), SET_REAL, 0, 1e-9, 0.99999999},
    {"eps", "X", "of adam and adamw (1e-8)", AT(eps), SET_REAL, 0, 1e-18, 1},
    {"schedule", "constant step cosine linear wsd", "of the learning rate (constant)", AT(schedule), SET_CHOICE, 0, 0, 0},
    {"warmup", "STEPS", "of rising rate, before any schedule (0)", AT(warmup), SET_LONG, 0, 0, 1e15},
    {"every", "STEPS", "of schedule step: between two falls", AT(every), SET_LONG, 0, 1, 1e15},
    {"factor", "X", "of schedule step (0.1)", AT(factor), SET_REAL, 0, 1e-9, 1},
    {"decay", "STEPS", "of schedule wsd: the last ones", AT(decay), SET_LONG, 0, 0, 1e15},
    {"last", "X", "share of the rate at the end: cosine, linear, wsd (0)", AT(last), SET_REAL, 0, 0, 1},
    {"clip_norm", "X", "most norm of all gradients together (0: any)", AT(clip_norm), SET_REAL, 0, 0, 1e9},
    {"clip_value", "X", "most of each gradient (0: any)", AT(clip_value), SET_REAL, 0, 0, 1e9},
    {"weight_norm", "X", "most norm of each parameter (0: any)", AT(weight_norm), SET_REAL, 0, 0, 1e9},
    {"average", "X", "weights averaged over the steps (EMA), this share kept; 0: not", AT(average), SET_REAL, 0, 0, 0.999999},
    {"narrow types", NULL, NULL, 0, 0, 0, 0, 0},
    {"quantise", "f32 f16 bf16 q8_0 q4_0 q4_1", "matrices used as they will be in the file (f32)", AT(quantise), SET_CHOICE, 0, 0, 0},
    {"precision", "exact fast", "fast: quantised products of activations of 8 bits (exact)", AT(precision), SET_CHOICE, 0, 0, 0},
    {"simulate", "f32 f16 bf16", "values and gradients rounded after every layer (f32)", AT(simulate), SET_CHOICE, 0, 0, 0},
    {"run", NULL, NULL, 0, 0, 0, 0, 0},
    {"batch", "N", "samples or windows of a step (32)", AT(batch), SET_COUNT, 0, 1, 1 << 20},
    {"micro_batch", "N", "of them run at once: less memory, same bits (batch; of a model 1)", AT(micro_batch), SET_COUNT, 0, 1, 1 << 20},
    {"epochs", "N", "(10, where steps is not given)", AT(epochs), SET_LONG, 0, 1, 1e15},
    {"steps", "N", "most steps", AT(steps), SET_LONG, 0, 1, 1e15},
    {"seed", "N", "of everything random (0)", AT(seed), SET_LONG, 0, 0, 1.8e19},
    {"in_order", "yes no", "samples as they come, not shuffled (no)", AT(in_order), SET_YES, 0, 0, 0},
    {"evaluate_every", "STEPS", "(an epoch)", AT(evaluate_every), SET_LONG, 0, 1, 1e15},
    {"patience", "N", "evaluations without a better loss that end it (0: none)", AT(patience), SET_COUNT, 0, 0, 1 << 30},
    {"min_delta", "X", "by which a loss is better (0)", AT(min_delta), SET_REAL, 0, 0, 1e9},
    {"keep_best", "yes no", "end with the weights of the best evaluation (yes)", AT(keep_best), SET_YES, 0, 0, 0},
    {"recompute", "yes no", "less memory, more work, the same bits (no)", AT(recompute), SET_YES, FREE, 0, 0},
    {"threads", "N", "(all CPUs)", AT(threads), SET_COUNT, FREE, 1, Q_MAX_WORKERS},
    {"backend", "NAME", "(the best this CPU runs)", AT(backend), SET_TEXT, FREE, 0, 0},
    {"pin", "yes no", "keep what training works in in physical memory (no)", AT(pin), SET_YES, FREE, 0, 0},
    {"output", NULL, NULL, 0, 0, 0, 0, 0},
    {"out", "FILE", "the model (model.qorus)", AT(out), SET_TEXT, FREE, 0, 0},
    {"type", "f32 f16 bf16 q8_0 q4_0 q4_1", "of its matrices (quantise)", AT(type), SET_CHOICE, FREE, 0, 0},
    {"metrics", "FILE", "figures of the run: .csv, or .jsonl", AT(metrics), SET_TEXT, FREE, 0, 0},
    {"log_every", "STEPS", "between two lines of metrics (1)", AT(log_every), SET_LONG, FREE, 1, 1e15},
    {"audit", "yes no", "metrics of every parameter: gradient, update, zeros, norm (no)", AT(audit), SET_YES, 0, 0, 0},
    {"sample_every", "STEPS", "text the model makes on the way (0: none)", AT(sample_every), SET_LONG, FREE, 0, 1e15},
    {"sample", "TEXT", "how it begins (the data's first words)", AT(sample), SET_TEXT, FREE, 0, 0},
    {"sample_tokens", "N", "how long it is (64)", AT(sample_tokens), SET_COUNT, FREE, 1, 1 << 20},
    {"sample_temperature", "X", "0 is greedy (0.8)", AT(sample_temperature), SET_REAL, FREE, 0, 100},
    {"save_every", "SECONDS", "between two files to go on from (300)", AT(save_every), SET_COUNT, FREE, 0, 1 << 30},
    {"resume", "", "go on where the last run stopped", AT(resume), SET_FLAG, FREE, 0, 0},
    {"export", "FILE", "write the state of a stopped or running training as a model; train nothing", AT(export_to), SET_TEXT, FREE, 0, 0},
    {"plan", "", "print what training needs, step by step, and train nothing", AT(plan), SET_FLAG, FREE, 0, 0},
};
enum { N_TABLE = sizeof(table) / sizeof(table[0]) };
Q_STATIC_ASSERT(sizeof(table) / sizeof(table[0]) <= TRAIN_MAX_SETTINGS, "a line for each setting");

/* ---- Complaints -------------------------------------------------------------------------------------------- */

/* Names are equal where '-' counts as '_'. */
const setting *setting_find(const char *name)
{
    for (const setting *s = table; s < table + N_TABLE; s++) {
        size_t i = 0;
        while (name[i] != '\0' && (name[i] == s->name[i] || (name[i] == '-' && s->name[i] == '_'))) {
            i++;
        }
        if (s->help != NULL && name[i] == '\0' && s->name[i] == '\0') {
            return s;
        }
    }
    return NULL;
}

uint32_t *setting_line(train_settings *s, const setting *k)
{
    return &s->line[k - table];
}

static bool complain_at(const train_settings *s, uint32_t line, const char *key, const char *format, va_list args)
{
    char text[512];
    (void)vsnprintf(text, sizeof(text), format, args);
    if (line == GIVEN_BY_OPTION) {
        char option[32];
        (void)snprintf(option, sizeof(option), "%s", key);
        for (char *c = option; *c != '\0'; c++) {
            *c = *c == '_' ? '-' : *c;
        }
        say("--%s: %s", option, text);
    } else if (line != 0) {
        say("%s:%u: %s%s%s", s->config, line, key, *key != '\0' ? ": " : "", text);
    } else {
        say("%s: %s", key, text);
    }
    return false;
}

bool train_complain(const train_settings *s, const char *key, const char *format, ...)
{
    const setting *at = setting_find(key);
    va_list args;
    va_start(args, format);
    (void)complain_at(s, at != NULL ? s->line[at - table] : 0, key, format, args);
    va_end(args);
    return false;
}

bool train_complain_layer(const train_settings *s, uint32_t layer, const char *format, ...)
{
    uint32_t line = layer < s->n_layers ? s->layers[layer].line : 0;
    va_list args;
    va_start(args, format);
    (void)complain_at(s, line != 0 ? line : GIVEN_BY_OPTION, line != 0 ? "" : "network", format, args);
    va_end(args);
    return false;
}

/* ---- Values ------------------------------------------------------------------------------------------------ */

/* The choice of that number, and how long it is; 0: there are not so many. */
static size_t choice_at(const char *choices, uint32_t i, const char **word)
{
    while (i-- != 0) {
        choices += strcspn(choices, " ");
        choices += strspn(choices, " ");
    }
    *word = choices;
    return strcspn(choices, " ");
}

static bool read_choice(const char *choices, const char *value, uint32_t *choice)
{
    const char *word;
    size_t n;
    for (*choice = 0; (n = choice_at(choices, *choice, &word)) != 0; ++*choice) {
        if (strlen(value) == n && memcmp(word, value, n) == 0) {
            return true;
        }
    }
    return false;
}

char *train_word(char **text)
{
    char *begin = *text + strspn(*text, " \t");
    char *end = begin + strcspn(begin, " \t");
    if (begin == end) {
        return NULL;
    }
    *text = *end != '\0' ? end + 1 : end;
    *end = '\0';
    return begin;
}

static bool read_shape(train_settings *s, char *value)
{
    char *word;
    s->n_shape = 0;
    while ((word = train_word(&value)) != NULL) {
        uint64_t v;
        if (s->n_shape == TRAIN_MAX_SHAPE || !options_u64(word, &v) || v == 0 || v > 1 << 20) {
            return false;
        }
        s->shape[s->n_shape++] = (uint32_t)v;
    }
    return s->n_shape != 0;
}

static bool read_number(const setting *k, void *at, const char *value)
{
    uint64_t whole;
    double real;
    if (k->kind == SET_REAL) {
        if (!options_double(value, &real) || !(real >= k->low && real <= k->high)) {
            return false;
        }
        memcpy(at, &real, sizeof(real));
        return true;
    }
    if (!options_u64(value, &whole) || (double)whole < k->low || (double)whole > k->high) {
        return false;
    }
    if (k->kind == SET_LONG) {
        memcpy(at, &whole, sizeof(whole));
    } else {
        uint32_t narrow = (uint32_t)whole;
        memcpy(at, &narrow, sizeof(narrow));
    }
    return true;
}

/* What a value should have been. */
static bool expected(const train_settings *s, const setting *k, const char *value)
{
    switch (k->kind) {
    case SET_CHOICE:
    case SET_YES:
        return train_complain(s, k->name, "'%s' is none of: %s", value, k->value);
    case SET_SHAPE:
        return train_complain(s, k->name, "one to three whole numbers from 1 are wanted, with spaces between them");
    case SET_REAL:
        return train_complain(s, k->name, "'%s' is no number from %g to %g", value, k->low, k->high);
    default:
        return train_complain(s, k->name, "'%s' is no whole number from %.0f to %.0f", value, k->low, k->high);
    }
}

bool setting_set(train_settings *s, const setting *k, char *value, uint32_t line)
{
    void *at = (char *)s + k->offset;
    uint32_t *given = setting_line(s, k);
    uint32_t choice;
    if (*given != 0 && (line == GIVEN_BY_OPTION) == (*given == GIVEN_BY_OPTION)) {
        uint32_t first = *given;
        *given = line;
        return first == GIVEN_BY_OPTION ? train_complain(s, k->name, "given twice")
                                        : train_complain(s, k->name, "already given in line %u", first);
    }
    if (*given != 0) {
        return true; /* options go first */
    }
    *given = line;
    if (*value == '\0' && k->kind != SET_FLAG) {
        return train_complain(s, k->name, "a value is missing");
    }
    switch (k->kind) {
    case SET_TEXT:
    case SET_NETWORK:
        memcpy(at, &value, sizeof(value));
        return true;
    case SET_FLAG:
        *(bool *)at = true;
        return true;
    case SET_YES:
    case SET_CHOICE:
        if (!read_choice(k->value, value, &choice)) {
            return expected(s, k, value);
        }
        if (k->kind == SET_YES) {
            *(bool *)at = choice == 0;
        } else {
            *(uint32_t *)at = choice;
        }
        return true;
    case SET_SHAPE:
        return read_shape(s, value) || expected(s, k, value);
    default:
        return read_number(k, at, value) || expected(s, k, value);
    }
}

/* ---- Telling ----------------------------------------------------------------------------------------------- */

enum { HELP_COLUMN = 22 };

void train_help(void)
{
    (void)printf("A config file has lines 'key = value', the lines of the network in network { ... }, and # comments; every key is\n"
                 "an option too, and an option goes before the file. Layers: linear N [activation], relu gelu gelu_tanh silu\n"
                 "sigmoid tanh, conv2d N K [stride S] [pad P] [dilation D] [groups G], maxpool K, avgpool K, globalpool,\n"
                 "batchnorm, layernorm, rmsnorm, dropout P, drop_path P, flatten, rnn N, lstm N, gru N, last, embedding N,\n"
                 "attention heads N [kv_heads N] [window N] [full] [rope], residual { }, block { };\n"
                 "decoder layers N width N heads N [kv_heads N] [ffn N] [untied] [dropout P] [drop_path P].\n"
                 "N may be 'classes'. docs/TRAINING.md has them all.\n");
    for (const setting *k = table; k < table + N_TABLE; k++) {
        char left[80];
        if (k->help == NULL) {
            (void)printf("\n%s:\n", k->name);
            continue;
        }
        (void)snprintf(left, sizeof(left), "%s %s", k->name, k->value);
        for (char *c = left; *c != '\0' && *c != ' '; c++) {
            *c = *c == '_' ? '-' : *c;
        }
        if (strlen(left) > HELP_COLUMN) {
            (void)printf("  --%s\n    %*s %s\n", left, HELP_COLUMN, "", k->help);
        } else {
            (void)printf("  --%-*s %s\n", HELP_COLUMN, left, k->help);
        }
    }
}

static size_t describe_one(const train_settings *s, const setting *k, char *text, size_t size)
{
    const char *at = (const char *)s + k->offset;
    const char *word;
    size_t n;
    switch (k->kind) {
    case SET_TEXT:
        memcpy(&word, at, sizeof(word));
        return (size_t)snprintf(text, size, "%s = %s\n", k->name, word != NULL ? word : "");
    case SET_CHOICE:
        n = choice_at(k->value, *(const uint32_t *)(const void *)at, &word);
        return (size_t)snprintf(text, size, "%s = %.*s\n", k->name, (int)n, word);
    case SET_COUNT:
        return (size_t)snprintf(text, size, "%s = %u\n", k->name, *(const uint32_t *)(const void *)at);
    case SET_LONG:
        return (size_t)snprintf(text, size, "%s = %llu\n", k->name, (unsigned long long)*(const uint64_t *)(const void *)at);
    case SET_REAL:
        return (size_t)snprintf(text, size, "%s = %.17g\n", k->name, *(const double *)(const void *)at);
    case SET_YES:
        return (size_t)snprintf(text, size, "%s = %s\n", k->name, *(const bool *)at ? "yes" : "no");
    case SET_SHAPE:
        return (size_t)snprintf(text, size, "%s = %u %u %u\n", k->name, s->shape[0], s->shape[1], s->shape[2]);
    default:
        return 0;
    }
}

size_t train_describe(const train_settings *s, char *text, size_t size)
{
    size_t n = 0;
    bool total_matters = s->schedule > Q_SCHEDULE_STEP;
    for (const setting *k = table; k < table + N_TABLE && n < size; k++) {
        bool is_length = strcmp(k->name, "epochs") == 0 || strcmp(k->name, "steps") == 0;
        if (k->help != NULL && (k->flags & FREE) == 0 && (!is_length || total_matters)) {
            n += describe_one(s, k, text + n, size - n);
        }
    }
    for (uint32_t i = 0; i < s->n_layers && n < size; i++) {
        const train_layer *l = &s->layers[i];
        n += (size_t)snprintf(text + n, size - n, "layer %u = %u: %u %u %u %u %u %u %u %d %d %u %u %u %u %u %d %d %.17g %.17g\n", i + 1, l->op,
                              l->size, l->kernel, l->stride, l->pad, l->dilation, l->groups, l->activation, l->no_bias,
                              l->untied, l->layers, l->heads, l->kv_heads, l->ffn, l->window, l->full, l->rope, l->rate, l->path_rate);
    }
    return n < size ? n : size - 1;
}
