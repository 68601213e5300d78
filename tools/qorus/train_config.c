/* SPDX-License-Identifier: MIT */
/* Reading the settings of qorus train: a config file, the command line, and what they must say together. */
#include "train_settings.h"

#include <stdlib.h>
#include <string.h>

#include "qorus/base/panel.h"

/* ---- The file ---------------------------------------------------------------------------------------------- */

/* Ends a line at its comment and its last sign that is no space. */
static void trim(char *line)
{
    size_t n;
    for (n = 0; line[n] != '\0' && !(line[n] == '#' && (n == 0 || line[n - 1] == ' ' || line[n - 1] == '\t')); n++) {
    }
    while (n != 0 && (line[n - 1] == ' ' || line[n - 1] == '\t' || line[n - 1] == '\r')) {
        n--;
    }
    line[n] = '\0';
}

static bool complain_line(const train_settings *s, uint32_t line, const char *what, const char *word)
{
    say("%s:%u: %s%s", s->config, line, what, word);
    return false;
}

/* "key = value" */
static bool read_setting(train_settings *s, char *text, uint32_t line)
{
    char *equals = strchr(text, '=');
    char *key = text;
    const setting *k;
    if (equals == NULL) {
        return complain_line(s, line, "neither 'key = value' nor 'network {': ", text);
    }
    *equals = '\0';
    trim(key);
    k = setting_find(key);
    if (k == NULL || k->kind == SET_FLAG || k->kind == SET_NETWORK) {
        return complain_line(s, line, "unknown setting; qorus train --help lists them: ", key);
    }
    return setting_set(s, k, equals + 1 + strspn(equals + 1, " \t"), line);
}

/* "network {" of a file: its lines up to the brace that closes it. */
static char *read_braces(train_settings *s, char *text, uint32_t *line)
{
    uint32_t *given = setting_line(s, setting_find("network"));
    if (s->n_layers != 0) {
        (void)complain_line(s, *line, "network: already given", "");
        return NULL;
    }
    *given = *given != 0 ? *given : *line;
    return train_read_network(s, text, line);
}

static bool is_network(char *text)
{
    size_t n = strlen("network");
    return strncmp(text, "network", n) == 0 && strcmp(text + n + strspn(text + n, " \t"), "{") == 0;
}

static bool read_file(train_settings *s, char *text)
{
    uint32_t line = 0;
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");
        char *next = text + n + (text[n] != '\0' ? 1 : 0);
        text[n] = '\0';
        line++;
        text += strspn(text, " \t");
        trim(text);
        if (is_network(text)) {
            next = read_braces(s, next, &line);
            if (next == NULL) {
                return false;
            }
        } else if (*text != '\0' && !read_setting(s, text, line)) {
            return false;
        }
        text = next;
    }
    return true;
}

/* ---- Both -------------------------------------------------------------------------------------------------- */

/* Of a copy, which settings that are texts or networks keep. */
static bool set_option(train_settings *s, const setting *k, const char *word)
{
    size_t n = strlen(word) + 1;
    char *value = (char *)malloc(n);
    bool ok;
    if (value == NULL) {
        say("out of memory");
        return false;
    }
    memcpy(value, word, n);
    ok = setting_set(s, k, value, GIVEN_BY_OPTION);
    if (!ok || (k->kind != SET_TEXT && k->kind != SET_NETWORK)) {
        free(value);
    }
    return ok;
}

static bool read_options(train_settings *s, const char *const *words, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const setting *k;
        if (strncmp(words[i], "--", 2) != 0) {
            if (s->config != NULL || words[i][0] == '-') {
                say("train takes one config file and --key value: what is '%s'? --help lists the keys", words[i]);
                return false;
            }
            s->config = words[i];
            continue;
        }
        k = setting_find(words[i] + 2);
        if (k == NULL) {
            say("unknown option %s; --help lists them", words[i]);
            return false;
        }
        if (k->kind != SET_FLAG && i + 1 == n) {
            *setting_line(s, k) = GIVEN_BY_OPTION;
            return train_complain(s, k->name, "a value is missing");
        }
        if (!set_option(s, k, k->kind != SET_FLAG ? words[++i] : "")) {
            return false;
        }
    }
    return true;
}

static void defaults(train_settings *s)
{
    memset(s, 0, sizeof(*s));
    s->delta = 1;
    s->learning_rate = 1e-3;
    s->factor = 0.1;
    s->batch = 32;
    s->keep_best = true;
    s->out = "model.qorus";
    s->log_every = 1;
    s->sample_tokens = 64;
    s->sample_temperature = 0.8;
    s->save_every = 300;
}

/* What a model to begin from asks of other settings. */
static bool check_model(train_settings *s)
{
    if (s->model == NULL) {
        const char *alone = s->lora != 0 ? "lora" : s->lora_alpha != 0 ? "lora_alpha" : s->tune != NULL ? "tune" : NULL;
        return alone == NULL || train_complain(s, alone, "there is no model to fine-tune: give model = FILE");
    }
    if (s->n_layers != 0) {
        return train_complain(s, "network", "it is that of %s: a model and a network exclude each other", s->model);
    }
    if (s->vocab != NULL) {
        return train_complain(s, "vocab", "it is that of %s: a model and a vocabulary exclude each other", s->model);
    }
    if (s->lora == 0 && s->lora_alpha != 0) {
        return train_complain(s, "lora_alpha", "there are no adapters: give lora = RANK");
    }
    if (s->lora != 0 && s->type != 0) {
        return train_complain(s, "type", "adapters are f32");
    }
    if (s->lora != 0 && s->quantise != 0) {
        return train_complain(s, "quantise", "adapters are f32, and the matrices beside them keep the model's types");
    }
    s->micro_batch = s->micro_batch == 0 ? 1 : s->micro_batch; /* such models are large, and the bits are the same */
    s->lora_alpha = s->lora_alpha == 0 ? s->lora : (double)(uint64_t)(s->lora_alpha * 1e6 + 0.5) / 1e6; /* as files note it */
    return true;
}

/* What settings say together. */
static bool check(train_settings *s)
{
    if (s->data == NULL) {
        return train_complain(s, "data", "a file is missing: data = FILE in a config file, or --data FILE; see qorus train --help");
    }
    if (!check_model(s)) {
        return false;
    }
    if (s->n_layers == 0 && s->model == NULL) {
        return train_complain(s, "network", "layers are missing: network { ... } in a config file, or --network; or a model");
    }
    if (s->validate != 0 && s->validate_data != NULL) {
        return train_complain(s, "validate", "a share and validate_data exclude each other");
    }
    if (s->validate_targets != NULL && s->validate_data == NULL) {
        return train_complain(s, "validate_targets", "there is no validate_data");
    }
    if (s->label != NULL && s->targets != NULL) {
        return train_complain(s, "label", "a label column and targets exclude each other");
    }
    if (s->micro_batch > s->batch) {
        return train_complain(s, "micro_batch", "%u is more than the batch of %u", s->micro_batch, s->batch);
    }
    if (s->patience != 0 && s->validate == 0 && s->validate_data == NULL) {
        return train_complain(s, "patience", "nothing is held out to evaluate: give validate or validate_data");
    }
    if (s->nesterov && s->momentum == 0) {
        return train_complain(s, "nesterov", "needs momentum");
    }
    if (s->schedule == Q_SCHEDULE_STEP && s->every == 0) {
        return train_complain(s, "schedule", "step needs every = STEPS");
    }
    if (s->schedule == Q_SCHEDULE_WSD && s->decay == 0) {
        return train_complain(s, "schedule", "wsd needs decay = STEPS");
    }
    if (s->class_weights != NULL && s->loss != LOSS_CROSS_ENTROPY) {
        return train_complain(s, "class_weights", "only cross_entropy has classes");
    }
    if (s->precision != 0 && q_dtype_block(train_type(s->quantise)) == 1) {
        return train_complain(s, "precision", "fast is for quantised matrices: give quantise = q8_0, q4_0 or q4_1");
    }
    if (s->audit && s->metrics == NULL) {
        return train_complain(s, "audit", "its figures go into metrics: give a file");
    }
    s->type = *setting_line(s, setting_find("type")) != 0 ? s->type : s->quantise;
    s->epochs = s->epochs == 0 && s->steps == 0 ? 10 : s->epochs;
    if (s->export_to != NULL) { /* a training that goes on and is over at once */
        s->resume = true;
        s->sample_every = 0;
    }
    return true;
}

static bool read_config(train_settings *s)
{
    size_t size;
    s->text = host_read(s->config, &size);
    if (s->text == NULL) {
        return false;
    }
    if (strlen(s->text) != size) {
        say("%s: byte %zu is 0: is it a text?", s->config, strlen(s->text));
        return false;
    }
    return read_file(s, s->text);
}

bool train_read(train_settings *s, const char *const *words, uint32_t n)
{
    defaults(s);
    if (!read_options(s, words, n) || (s->config != NULL && !read_config(s))) {
        return false;
    }
    if (s->network != NULL) {
        s->n_layers = 0;
        if (train_read_network(s, s->network, NULL) == NULL) {
            return false;
        }
    }
    return check(s);
}
