/* SPDX-License-Identifier: MIT */
/* A training's memory as bytes, and back. */
#include "checkpoint.h"

#include "qorus/base/mem.h"
#include "qorus/base/text.h"
#include "qorus/sha256.h"

typedef struct checkpoint_head {
    uint8_t magic[8];
    uint32_t version;
    uint32_t n_params;
    uint64_t bytes;      /* of the file */
    uint64_t steps;
    uint64_t log_bytes;
    uint64_t settings_bytes;
    uint64_t values_bytes; /* slots and moments */
    uint64_t best_bytes;
    uint64_t model_key;  /* of names and sizes of all that is saved */
    double seconds;
    double best;
    uint64_t best_step;
    uint32_t evaluations;
    uint32_t waiting;
} checkpoint_head;

Q_STATIC_ASSERT(sizeof(checkpoint_head) == 104, "on-disk layout");

static const uint8_t magic[8] = {'Q', 'T', 'R', 'A', 'I', 'N', '\n', 26};
enum { VERSION = 1 };

static q_error_code refuse(q_diag *diag, q_error_code code, const char *field, uint64_t need, uint64_t have)
{
    q_text t;
    memset(diag, 0, sizeof(*diag));
    diag->code = code;
    q_text_init(&t, diag->what, sizeof(diag->what));
    q_text_str(&t, "checkpoint");
    q_text_init(&t, diag->field, sizeof(diag->field));
    q_text_str(&t, field);
    diag->need = need;
    diag->have = have;
    return code;
}

/* Tensor i of what is saved of parameter p: its values, then its moments; false: there are no more. */
static bool piece(const q_session *s, q_param p, uint32_t i, q_tensor *out, size_t *bytes)
{
    q_diag diag;
    q_tensor w;
    if (!q_model_param_is_slot(q_session_model(s), p) || q_session_param(s, p, &w, &diag) != Q_OK || w.dtype != Q_REAL || w.layout != Q_PLAIN) {
        return false;
    }
    *bytes = (size_t)w.ne[0] * w.ne[1] * w.ne[2] * w.ne[3] * sizeof(q_real);
    *out = w;
    return i == 0 || q_session_param_moment(s, p, i - 1, out, &diag) == Q_OK;
}

/* Names and sizes, as one number. */
static void measure(const q_session *s, checkpoint_head *h)
{
    const q_model *m = q_session_model(s);
    uint64_t key = 14695981039346656037u;
    h->n_params = q_model_n_params(m);
    h->values_bytes = 0;
    for (q_param p = 0; p < h->n_params; p++) {
        q_tensor t;
        size_t bytes = 0;
        for (const char *c = q_model_param_name(m, p); *c != '\0'; c++) {
            key = (key ^ (uint8_t)*c) * 1099511628211u;
        }
        for (uint32_t i = 0; piece(s, p, i, &t, &bytes); i++) {
            key = (key ^ bytes) * 1099511628211u;
            h->values_bytes += bytes;
        }
    }
    h->model_key = key;
}

/* ---- Saving ------------------------------------------------------------------------------------------------ */

typedef struct sink {
    checkpoint_write write;
    void *user;
    uint64_t at;
    q_sha256 sha;
    q_error_code code;
} sink;

static void put(sink *s, const void *bytes, size_t n)
{
    if (s->code == Q_OK && n != 0) {
        q_sha256_update(&s->sha, bytes, n);
        s->code = s->write(s->user, s->at, bytes, n);
        s->at += n;
    }
}

q_error_code checkpoint_save(const checkpoint *c, checkpoint_write write, void *user)
{
    sink s;
    checkpoint_head h;
    uint8_t hash[Q_SHA256_BYTES];
    memset(&h, 0, sizeof(h));
    memset(&s, 0, sizeof(s));
    s.write = write;
    s.user = user;
    q_sha256_init(&s.sha);
    memcpy(h.magic, magic, sizeof(magic));
    h.version = VERSION;
    measure(c->session, &h);
    h.steps = c->steps;
    h.log_bytes = c->log_bytes;
    h.settings_bytes = c->settings_bytes;
    h.best_bytes = c->state.best_slots != NULL && c->state.evaluations != 0 ? q_fit_best_size(c->session) : 0;
    h.seconds = c->seconds;
    h.best = c->state.best;
    h.best_step = c->state.best_step;
    h.evaluations = c->state.evaluations;
    h.waiting = c->state.waiting;
    h.bytes = sizeof(h) + h.settings_bytes + h.values_bytes + h.best_bytes + sizeof(hash);
    put(&s, &h, sizeof(h));
    put(&s, c->settings, c->settings_bytes);
    for (q_param p = 0; p < h.n_params; p++) {
        q_tensor t;
        size_t bytes = 0;
        for (uint32_t i = 0; piece(c->session, p, i, &t, &bytes); i++) {
            put(&s, t.data, bytes);
        }
    }
    put(&s, c->state.best_slots, (size_t)h.best_bytes);
    q_sha256_final(&s.sha, hash);
    return s.code != Q_OK ? s.code : write(user, s.at, hash, sizeof(hash));
}

/* ---- Loading ----------------------------------------------------------------------------------------------- */

static q_error_code read_head(checkpoint_head *h, const void *bytes, size_t n, q_diag *diag)
{
    uint8_t hash[Q_SHA256_BYTES];
    uint64_t rest;
    if (n < sizeof(*h) + sizeof(hash) || memcmp(bytes, magic, sizeof(magic)) != 0) {
        return refuse(diag, Q_ERR_NOT_QORUS, "no file of a training", 0, 0);
    }
    memcpy(h, bytes, sizeof(*h));
    if (h->version != VERSION) {
        return refuse(diag, Q_ERR_VERSION, "version", VERSION, h->version);
    }
    if (h->bytes != n) {
        return refuse(diag, Q_ERR_TRUNCATED, "bytes", h->bytes, n);
    }
    q_sha256_of(bytes, n - sizeof(hash), hash);
    if (memcmp(hash, (const uint8_t *)bytes + n - sizeof(hash), sizeof(hash)) != 0) {
        return refuse(diag, Q_ERR_CORRUPT, "its SHA-256 is another", 0, 0);
    }
    rest = n - sizeof(*h) - sizeof(hash);
    if (h->settings_bytes > rest || h->values_bytes > rest - h->settings_bytes ||
        h->best_bytes != rest - h->settings_bytes - h->values_bytes) {
        return refuse(diag, Q_ERR_CORRUPT, "sizes", rest, h->settings_bytes);
    }
    return Q_OK;
}

q_error_code checkpoint_settings(const void *bytes, size_t n, const char **text, size_t *length, q_diag *diag)
{
    checkpoint_head h;
    q_error_code e = read_head(&h, bytes, n, diag);
    if (e == Q_OK) {
        *text = (const char *)bytes + sizeof(h);
        *length = (size_t)h.settings_bytes;
    }
    return e;
}

q_error_code checkpoint_load(checkpoint *c, const void *bytes, size_t n, q_diag *diag)
{
    checkpoint_head h;
    checkpoint_head mine;
    const uint8_t *at;
    q_error_code e = read_head(&h, bytes, n, diag);
    if (e != Q_OK) {
        return e;
    }
    measure(c->session, &mine);
    if (mine.n_params != h.n_params || mine.values_bytes != h.values_bytes || mine.model_key != h.model_key ||
        (h.best_bytes != 0 && h.best_bytes != q_fit_best_size(c->session))) {
        return refuse(diag, Q_ERR_MISMATCH, "it is of another model", mine.values_bytes, h.values_bytes);
    }
    c->settings = (const char *)bytes + sizeof(h);
    c->settings_bytes = (size_t)h.settings_bytes;
    at = (const uint8_t *)bytes + sizeof(h) + h.settings_bytes;
    for (q_param p = 0; p < h.n_params; p++) {
        q_tensor t;
        size_t size = 0;
        for (uint32_t i = 0; piece(c->session, p, i, &t, &size); i++) {
            memcpy(t.data, at, size);
            at += size;
        }
    }
    c->steps = h.steps;
    c->log_bytes = h.log_bytes;
    c->seconds = h.seconds;
    c->state.evaluations = h.evaluations;
    c->state.waiting = h.waiting;
    c->state.best = h.best;
    c->state.best_step = h.best_step;
    c->state.best_slots = h.best_bytes != 0 ? at : NULL;
    return Q_OK;
}
