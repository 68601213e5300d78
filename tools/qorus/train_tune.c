/* SPDX-License-Identifier: MIT */
/* Fine-tuning: the model in a file that a training begins from, and which of its parameters train or get adapters. */
#define _POSIX_C_SOURCE 200809L
#include "train.h"

#include <string.h>
#include <sys/stat.h>

/* ---- Patterns ---------------------------------------------------------------------------------------------- */

/* A pattern of n signs, '*' being any number of any, is the whole text. */
static bool is_like(const char *pattern, size_t n, const char *text)
{
    size_t p = 0;
    size_t star = SIZE_MAX;
    const char *again = text;
    while (*text != '\0') {
        if (p < n && pattern[p] == '*') {
            star = p++;
            again = text;
        } else if (p < n && pattern[p] == *text) {
            p++;
            text++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            text = ++again;
        } else {
            return false;
        }
    }
    while (p < n && pattern[p] == '*') {
        p++;
    }
    return p == n;
}

/* "q" of "layers.3.q"; the name itself for others. */
static const char *part_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot != NULL ? dot + 1 : name;
}

static bool chooses(const char *pattern, size_t n, const char *name)
{
    return is_like(pattern, n, name) || is_like(pattern, n, part_of(name));
}

/* The next of the patterns at *text, and how long it is; 0: there are no more. */
static size_t next_pattern(const char **text, const char **pattern)
{
    size_t n;
    *pattern = *text + strspn(*text, " \t,");
    n = strcspn(*pattern, " \t,");
    *text = *pattern + n;
    return n;
}

static bool chosen(const train_settings *s, const char *name)
{
    const char *text = s->tune;
    const char *pattern;
    size_t n;
    while ((n = next_pattern(&text, &pattern)) != 0) {
        if (chooses(pattern, n, name)) {
            return true;
        }
    }
    return false;
}

/* ---- What trains ------------------------------------------------------------------------------------------- */

static bool is_matrix(const q_file *file, const char *name)
{
    uint32_t index;
    return q_file_find(file, name, strlen(name), &index) == Q_OK && q_file_record(file, index)->layout == Q_PANEL16;
}

/* Adapters stand beside the products of layers, but for one whose kernel applies an activation too. */
static bool can_adapt(const q_file *file, const char *name)
{
    return strncmp(name, "layers.", 7) == 0 && is_matrix(file, name) &&
           (strcmp(part_of(name), "gate") != 0 || q_file_get_arch(file)->activation == Q_ACT_SILU);
}

bool tune_trains(void *network, const char *name)
{
    const train_network *n = (const train_network *)network;
    return n->settings->tune != NULL ? chosen(n->settings, name) : is_matrix(n->data->base, name);
}

bool tune_adapts(void *network, const char *name)
{
    const train_network *n = (const train_network *)network;
    return can_adapt(n->data->base, name) && (n->settings->tune == NULL || chosen(n->settings, name));
}

/* ---- Opening ----------------------------------------------------------------------------------------------- */

/* Every pattern must choose something. */
static bool check_patterns(const train_settings *s, const q_file *file)
{
    const char *text = s->tune != NULL ? s->tune : "";
    const char *pattern;
    size_t n;
    while ((n = next_pattern(&text, &pattern)) != 0) {
        bool found = false;
        for (uint32_t i = 0; i < q_file_n_tensors(file) && !found; i++) {
            const char *name = q_file_name(file, q_file_record(file, i)->name_offset);
            found = chooses(pattern, n, name) && (s->lora == 0 || can_adapt(file, name));
        }
        if (!found) {
            return train_complain(s, "tune", "'%.*s' is no %s of %s; qorus inspect lists its parameters", (int)n, pattern,
                                  s->lora != 0 ? "product" : "parameter", s->model);
        }
    }
    return s->tune == NULL || *(s->tune + strspn(s->tune, " \t,")) != '\0' || train_complain(s, "tune", "a name is missing");
}

static bool same_file(const char *a, const char *b)
{
    struct stat x;
    struct stat y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool tune_open(host *h, const train_settings *s, uint32_t *window)
{
    const q_file_arch *arch;
    if (!host_open(h, s->model)) {
        return false;
    }
    arch = q_file_get_arch(&h->engine.file);
    if (arch == NULL || arch->kind != Q_ARCH_DECODER) {
        return train_complain(s, "model", "%s is no language model: only decoders are fine-tuned", s->model);
    }
    if (!h->engine.has_tokenizer) {
        return train_complain(s, "model", "%s has no tokenizer to cut the text with", s->model);
    }
    if (*window > arch->n_context) {
        if (s->window != 0) {
            return train_complain(s, "window", "%u tokens, but the context of %s is %u", *window, s->model, arch->n_context);
        }
        *window = arch->n_context;
    }
    if (same_file(s->model, s->out)) {
        return train_complain(s, "out", "%s is the model itself", s->out);
    }
    return check_patterns(s, &h->engine.file);
}

bool tune_load(train_run *r)
{
    const q_file *file = r->data.base;
    return file == NULL || r->s.lora != 0 ||
           q_session_load_params(r->h.engine.session, file, NULL, &r->h.diag) == Q_OK ||
           say_failure(r->s.model, &r->h.diag) == EXIT_DONE;
}
