/* SPDX-License-Identifier: MIT */
/* Files of a training: the model, and the state that a stopped one goes on from, which lies beside it. */
#include "qorus/checkpoint.h"
#include "qorus/write.h"
#include "model_file.h"
#include "train.h"

#include <string.h>

/* ---- The model --------------------------------------------------------------------------------------------- */

static bool write_model(train_run *r, model_file *f, const q_write *w, void *work, size_t n)
{
    q_error_code e;
    if (!model_file_open(f, &r->h, train_model_path(r))) {
        return false;
    }
    e = q_write_run(w, work, n, &r->h.diag);
    if (e == Q_ERR_IO) {
        (void)model_file_failed(f);
    } else if (e != Q_OK) {
        (void)train_say_failure(&r->s, f->path, &r->h.diag);
    }
    return model_file_close(f, e == Q_OK) && e == Q_OK;
}

/* The graph the file will have: what trains has a loss, and all rows. The parameters have the same names. */
static const q_model *model_of_answers(train_run *r)
{
    train_network n = r->network;
    q_model *model = NULL;
    q_block block = {NULL, 0};
    n.answers = true;
    if (q_model_size(train_build, &n, &block.size, &r->h.diag) == Q_OK) {
        block.base = host_take(&r->h, block.size, "model");
    }
    if (block.base == NULL || q_model_init(&model, block, train_build, &n, &r->h.diag) != Q_OK) {
        (void)train_say_failure(&r->s, train_model_path(r), &r->h.diag);
        return NULL;
    }
    return model;
}

/* A file that qorus run --adapter takes. */
static void write_adapters_only(const train_run *r, q_write *w)
{
    static char note[ADAPTER_NOTE_BYTES];
    adapter_note(note, r->s.lora, r->s.lora_alpha);
    w->tokenizer = NULL;
    w->tokenizer_size = 0;
    w->arch = NULL;
    w->layer_kinds = NULL;
    w->meta = note;
    w->keeps = adapter_keeps;
}

bool save_is_possible(train_run *r)
{
    static model_file f;
    return model_file_open(&f, &r->h, train_model_path(r)) && model_file_close(&f, false);
}

/* What a file of the model takes: *w, and memory of *n bytes to write it with. */
static bool prepare(train_run *r, model_file *f, q_write *w, void **work, size_t *n)
{
    static const char *const logits[] = {"logits"};
    static const char *const values[] = {"values"};
    uint64_t bytes = 0;
    memset(w, 0, sizeof(*w));
    w->struct_size = sizeof(*w);
    w->dtype = train_type(r->s.type);
    w->model = model_of_answers(r);
    w->session = r->h.engine.session;
    w->outputs = r->s.loss == LOSS_CROSS_ENTROPY || r->s.loss == LOSS_BCE ? logits : values;
    w->n_outputs = 1;
    w->tokenizer = r->data.tokenizer;
    w->tokenizer_size = (uint32_t)r->data.tokenizer_size;
    w->meta = r->data.meta;
    w->arch = r->network.is_decoder ? &r->network.decoder.arch : NULL;
    w->layer_kinds = r->network.is_decoder ? r->network.decoder.kinds : NULL;
    w->user = f;
    w->write = model_file_write;
    if (r->s.lora != 0) {
        write_adapters_only(r, w);
    }
    if (w->model == NULL) {
        return false;
    }
    if (q_write_work_size(w, n, &r->h.diag) != Q_OK) {
        return train_say_failure(&r->s, train_model_path(r), &r->h.diag) == EXIT_DONE;
    }
    *work = host_take(&r->h, *n, "file");
    return *work != NULL && (q_write_size(w, *work, *n, &bytes, &r->h.diag) == Q_OK ||
                             train_say_failure(&r->s, train_model_path(r), &r->h.diag) == EXIT_DONE);
}

bool save_fits_type(train_run *r)
{
    static model_file f;
    q_write w;
    size_t n = 0;
    void *work;
    return r->s.type == 0 || prepare(r, &f, &w, &work, &n);
}

bool save_model(train_run *r)
{
    static model_file f;
    q_write w;
    size_t n = 0;
    void *work;
    return prepare(r, &f, &w, &work, &n) && write_model(r, &f, &w, work, n);
}

/* ---- The state --------------------------------------------------------------------------------------------- */

enum { STATE_WORK = 1 << 18, STATE_FIGURES = 96 };

/* OUT.state. Its note is a line of figures, then the settings. */
typedef struct state_file {
    char path[MODEL_FILE_PATH];
    q_checkpoint_place place;
    q_block work;
    char note[STATE_FIGURES + sizeof(((train_run *)0)->settings)];
} state_file;

/* NULL after saying why not. */
static state_file *state_of(train_run *r)
{
    static state_file f;
    if (f.work.base != NULL) {
        return &f;
    }
    if (snprintf(f.path, sizeof(f.path), "%s.state", r->s.out) > Q_CHECKPOINT_MAX_PATH) {
        say("%s: too long a name", r->s.out);
        return NULL;
    }
    f.place.struct_size = sizeof(f.place);
    f.place.port = r->h.port;
    f.place.path = f.path;
    f.work.size = STATE_WORK;
    f.work.base = host_take(&r->h, f.work.size, "state");
    return f.work.base != NULL ? &f : NULL;
}

static q_checkpoint state_with(const train_run *r, state_file *f)
{
    q_checkpoint c;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.trainer = r->trainer;
    c.state = r->state;
    c.note = f->note;
    c.note_capacity = sizeof(f->note);
    return c;
}

bool save_state(train_run *r)
{
    state_file *f = state_of(r);
    q_checkpoint c;
    q_error_code e;
    int n;
    if (f == NULL) {
        return false;
    }
    c = state_with(r, f);
    n = snprintf(f->note, STATE_FIGURES, "after %.3f seconds and %llu bytes of metrics\n",
                 r->before + host_seconds(&r->h) - r->begin, (unsigned long long)report_bytes(r));
    memcpy(f->note + n, r->settings, r->settings_bytes);
    c.note_bytes = (size_t)n + r->settings_bytes;
    e = q_checkpoint_save(&f->place, &c, f->work, &r->h.diag);
    /* NOT_SUPPORTED: it is written, but the file system cannot promise that a power cut keeps its name. */
    return e == Q_OK || e == Q_ERR_NOT_SUPPORTED || say_failure(f->path, &r->h.diag) == EXIT_DONE;
}

/* The option that asks for a state. */
static const char *asking(const train_run *r)
{
    return r->s.export_to != NULL ? "--export" : "--resume";
}

/* The first line that differs between what was and what is. */
static bool same_settings(const train_run *r, const char *was, size_t n)
{
    size_t i = 0;
    size_t line = 0;
    while (i < n && i < r->settings_bytes && was[i] == r->settings[i]) {
        i++;
        line = was[i - 1] == '\n' ? i : line;
    }
    if (i == n && i == r->settings_bytes) {
        return true;
    }
    say("%s: the training was begun with '%.*s', and now there is '%.*s'", asking(r), (int)strcspn(was + line, "\n"), was + line,
        (int)strcspn(r->settings + line, "\n"), r->settings + line);
    return false;
}

/* Looks at the state and takes its note apart. False after saying why it does not fit. */
static bool check_state(train_run *r, state_file *f, q_checkpoint_info *info, uint64_t *metrics)
{
    unsigned long long bytes = 0;
    q_error_code e = q_checkpoint_look(&f->place, info, f->note, sizeof(f->note) - 1, f->work, &r->h.diag);
    int n = 0;
    if (e == Q_ERR_NOT_FOUND) {
        say("%s: there is no %s: only a training that has not ended leaves one", asking(r), f->path);
        return false;
    }
    if (e != Q_OK) {
        return say_failure(f->path, &r->h.diag) == EXIT_DONE;
    }
    f->note[info->note_bytes < sizeof(f->note) ? (size_t)info->note_bytes : sizeof(f->note) - 1] = '\0';
    if (sscanf(f->note, "after %lf seconds and %llu bytes of metrics%n", &r->before, &bytes, &n) != 2 || f->note[n] != '\n') {
        say("%s: %s was not written by qorus train", asking(r), f->path);
        return false;
    }
    *metrics = bytes;
    if (info->newest != 0) {
        say("%s: %s; taking the one before it, of step %llu", f->path, q_strerror(info->passed_over),
            (unsigned long long)info->steps);
    }
    return same_settings(r, f->note + n + 1, strlen(f->note + n + 1));
}

bool resume_state(train_run *r, uint64_t *metrics)
{
    state_file *f = state_of(r);
    q_checkpoint_info info;
    q_checkpoint c;
    if (f == NULL || !check_state(r, f, &info, metrics)) {
        return false;
    }
    c = state_with(r, f);
    c.best.size = (size_t)info.best_bytes;
    c.best.base = c.best.size != 0 ? host_take(&r->h, c.best.size, "best weights") : NULL;
    if (c.best.size != 0 && c.best.base == NULL) {
        return false;
    }
    if (q_checkpoint_load(&f->place, &c, &info, f->work, &r->h.diag) != Q_OK) {
        return say_failure(f->path, &r->h.diag) == EXIT_DONE;
    }
    r->state = c.state;
    r->first_step = info.steps;
    return true;
}

void remove_state(train_run *r)
{
    static const char *const suffixes[] = {"", Q_CHECKPOINT_PREVIOUS, Q_CHECKPOINT_TEMP};
    state_file *f = state_of(r);
    char path[MODEL_FILE_PATH];
    for (uint32_t i = 0; f != NULL && i < 3; i++) {
        if (snprintf(path, sizeof(path), "%s%s", f->path, suffixes[i]) < (int)sizeof(path)) {
            (void)remove(path);
        }
    }
}
