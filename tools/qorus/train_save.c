/* SPDX-License-Identifier: MIT */
/* Files of a training: the model, and the state that a stopped one goes on from, which lies beside it. */
#include "../common/checkpoint.h"
#include "qorus/write.h"
#include "train.h"

#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

/* A file being written under another name. */
typedef struct saving {
    host *h;
    q_port_file file;
    char temp[PATH_BYTES];
} saving;

static q_error_code write_piece(void *user, uint64_t offset, const void *bytes, size_t n)
{
    saving *s = (saving *)user;
    return s->h->port->file_write_at(s->h->port->user, s->file, offset, bytes, n);
}

static bool cannot_write(host *h, const char *path)
{
    const q_diag *last = q_posix_last(&h->posix);
    say("%s: cannot be written: %s", path, last->field[0] != '\0' ? last->field : q_strerror(last->code));
    return false;
}

static bool begin(saving *s, host *h, const char *path)
{
    s->h = h;
    if (snprintf(s->temp, sizeof(s->temp), "%s.%ld.part", path, (long)getpid()) >= (int)sizeof(s->temp)) {
        say("%s: too long a name", path);
        return false;
    }
    return h->port->file_open(h->port->user, s->temp, Q_OPEN_CREATE_NEW, &s->file) == Q_OK || cannot_write(h, path);
}

/* Takes the name `path` where all was well, so that the file there is always a whole one. */
static bool commit(saving *s, const char *path, q_error_code e)
{
    const q_port *port = s->h->port;
    bool ok = e == Q_OK && port->file_sync(port->user, s->file) == Q_OK;
    ok = port->file_close(port->user, s->file) == Q_OK && ok;
    if (ok) {
        e = port->file_replace(port->user, s->temp, path);
        ok = e == Q_OK || e == Q_ERR_NOT_SUPPORTED;
    }
    if (!ok) {
        (void)cannot_write(s->h, path);
        if (port->file_remove(port->user, s->temp) != Q_OK) {
            say("%s: cannot be removed", s->temp);
        }
    }
    return ok;
}

/* ---- The model --------------------------------------------------------------------------------------------- */

static bool write_model(train_run *r, saving *s, const q_write *w, void *work, size_t n)
{
    q_error_code e;
    if (!begin(s, &r->h, r->s.out)) {
        return false;
    }
    e = q_write_run(w, work, n, &r->h.diag);
    if (e != Q_OK && e != Q_ERR_IO) {
        (void)train_say_failure(&r->s, r->s.out, &r->h.diag);
    }
    return commit(s, r->s.out, e);
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
        (void)train_say_failure(&r->s, r->s.out, &r->h.diag);
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

bool save_model(train_run *r)
{
    static const uint32_t types[] = {Q_F32, Q_F16, Q_BF16, Q_Q8_0, Q_Q4_0, Q_Q4_1}; /* as the setting's choices */
    static saving s;
    const char *answers = r->s.loss == LOSS_CROSS_ENTROPY || r->s.loss == LOSS_BCE ? "logits" : "values";
    q_write w;
    uint64_t bytes = 0;
    size_t n = 0;
    void *work;
    memset(&w, 0, sizeof(w));
    w.struct_size = sizeof(w);
    w.dtype = types[r->s.type];
    w.model = model_of_answers(r);
    w.session = r->h.engine.session;
    w.outputs = &answers;
    w.n_outputs = 1;
    w.tokenizer = r->data.tokenizer;
    w.tokenizer_size = (uint32_t)r->data.tokenizer_size;
    w.meta = r->data.meta;
    w.arch = r->network.is_decoder ? &r->network.decoder.arch : NULL;
    w.layer_kinds = r->network.is_decoder ? r->network.decoder.kinds : NULL;
    w.user = &s;
    w.write = write_piece;
    if (r->s.lora != 0) {
        write_adapters_only(r, &w);
    }
    if (w.model == NULL) {
        return false;
    }
    if (q_write_work_size(&w, &n, &r->h.diag) != Q_OK) {
        return train_say_failure(&r->s, r->s.out, &r->h.diag) == EXIT_DONE;
    }
    work = host_take(&r->h, n, "file");
    if (work == NULL || q_write_size(&w, work, n, &bytes, &r->h.diag) != Q_OK) {
        return train_say_failure(&r->s, r->s.out, &r->h.diag) == EXIT_DONE;
    }
    return write_model(r, &s, &w, work, n);
}

/* ---- The state --------------------------------------------------------------------------------------------- */

static bool state_path(const train_run *r, char path[PATH_BYTES])
{
    if (snprintf(path, PATH_BYTES, "%s.state", r->s.out) >= PATH_BYTES) {
        say("%s: too long a name", r->s.out);
        return false;
    }
    return true;
}

bool save_state(train_run *r)
{
    static saving s;
    char path[PATH_BYTES];
    checkpoint c;
    memset(&c, 0, sizeof(c));
    c.session = r->h.engine.session;
    c.steps = q_trainer_steps(r->trainer);
    c.log_bytes = report_bytes(r);
    c.seconds = r->before + host_seconds(&r->h) - r->begin;
    c.state = r->state;
    c.settings = r->settings;
    c.settings_bytes = r->settings_bytes;
    return state_path(r, path) && begin(&s, &r->h, path) && commit(&s, path, checkpoint_save(&c, write_piece, &s));
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
    say("--resume: the training was begun with '%.*s', and now there is '%.*s'", (int)strcspn(was + line, "\n"), was + line,
        (int)strcspn(r->settings + line, "\n"), r->settings + line);
    return false;
}

bool resume_state(train_run *r)
{
    char path[PATH_BYTES];
    checkpoint c;
    size_t n = 0;
    const char *was = NULL;
    size_t length = 0;
    char *bytes;
    if (!state_path(r, path)) {
        return false;
    }
    if (access(path, R_OK) != 0) {
        say("--resume: there is no %s: only a stopped training leaves one", path);
        return false;
    }
    bytes = host_read(path, &n); /* the best weights stay in it */
    memset(&c, 0, sizeof(c));
    c.session = r->h.engine.session;
    if (bytes == NULL) {
        return false;
    }
    if (checkpoint_settings(bytes, n, &was, &length, &r->h.diag) != Q_OK) {
        return say_failure(path, &r->h.diag) == EXIT_DONE;
    }
    if (!same_settings(r, was, length)) {
        return false;
    }
    if (checkpoint_load(&c, bytes, n, &r->h.diag) != Q_OK) {
        return say_failure(path, &r->h.diag) == EXIT_DONE;
    }
    q_trainer_set_steps(r->trainer, c.steps);
    r->state = c.state;
    r->before = c.seconds;
    r->first_step = c.steps;
    return report_open(r, c.log_bytes);
}

void remove_state(const train_run *r)
{
    char path[PATH_BYTES];
    if (state_path(r, path) && access(path, F_OK) == 0) {
        (void)remove(path);
    }
}
