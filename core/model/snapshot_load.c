/* SPDX-License-Identifier: MIT */
/*
 * Loading a session's state. Every length used here comes from the session; what a file says is
 * compared with it, never followed. The file is read twice: first to hash and check it, then into
 * STATE.
 */
#include "snapshot_inner.h"

typedef struct snapshot_reader {
    const q_port *port;
    q_port_file file;
    q_block work;
    q_sha256 sha;
    uint64_t at;
} snapshot_reader;

static q_error_code snapshot_get(snapshot_reader *r, void *to, size_t n)
{
    q_error_code e;
    if (n == 0) {
        return Q_OK;
    }
    PORT_CALL(e, r->port->file_read_at(r->port->user, r->file, r->at, to, n));
    if (e == Q_OK) {
        q_sha256_update(&r->sha, to, n);
        r->at += n;
    }
    return e;
}

/* What can be said of a header without a session's help. */
static q_error_code snapshot_check_form(const snapshot_header *h, uint64_t size, const char *path,
                                        q_diag *diag)
{
    if (memcmp(h->magic, SNAPSHOT_MAGIC, sizeof(h->magic)) != 0) {
        return q_fail(diag, Q_ERR_NOT_QORUS, path, "magic", 0, 0);
    }
    if (h->version != Q_SNAPSHOT_VERSION) {
        return q_fail(diag, Q_ERR_VERSION, path, "version", Q_SNAPSHOT_VERSION, h->version);
    }
    if (h->header_size != Q_SNAPSHOT_HEADER) {
        return q_fail(diag, Q_ERR_CORRUPT, path, "header_size", Q_SNAPSHOT_HEADER, h->header_size);
    }
    if (h->file_size > size) {
        return q_fail(diag, Q_ERR_TRUNCATED, path, "file_size", h->file_size, size);
    }
    if (h->file_size != size) {
        return q_fail(diag, Q_ERR_CORRUPT, path, "file_size", size, h->file_size);
    }
    return Q_OK;
}

/* Against the session. `own` is what it would write itself. Only after this may lengths be taken
   from *h: they equal the session's. */
static q_error_code snapshot_check_fit(const q_session *s, const snapshot_header *h,
                                       const snapshot_header *own, const q_snapshot_info *info,
                                       const char *path, q_diag *diag)
{
    if (memcmp(h->model, own->model, sizeof(h->model)) != 0) {
        return q_fail(diag, Q_ERR_MISMATCH, path, "model", 0, 0);
    }
    if (h->precision != own->precision) {
        return q_fail(diag, Q_ERR_MISMATCH, path, "precision", own->precision, h->precision);
    }
    if (h->kv_type != own->kv_type) {
        return q_fail(diag, Q_ERR_MISMATCH, path, "kv type", own->kv_type, h->kv_type);
    }
    if (h->position > s->plan->config.max.kv) {
        return q_fail(diag, Q_ERR_CONTEXT_FULL, path, "position", h->position,
                      s->plan->config.max.kv);
    }
    if (h->n_states != own->n_states || memcmp(h->layout, own->layout, sizeof(h->layout)) != 0) {
        return q_fail(diag, Q_ERR_MISMATCH, path, "layout", own->n_states, h->n_states);
    }
    if (h->n_ids != 0 && h->n_ids != h->position) {
        return q_fail(diag, Q_ERR_CORRUPT, path, "n_ids", h->position, h->n_ids);
    }
    if (h->state_bytes != own->state_bytes || h->file_size != own->file_size) {
        return q_fail(diag, Q_ERR_CORRUPT, path, "state_bytes", own->state_bytes, h->state_bytes);
    }
    if (h->n_ids > info->capacity || (h->n_ids != 0 && info->ids == NULL)) {
        return q_fail(diag, Q_ERR_NO_SPACE, path, "ids", h->n_ids, info->capacity);
    }
    for (uint32_t i = 0; i < sizeof(h->reserved); i++) {
        if (h->reserved[i] != 0) {
            return q_fail(diag, Q_ERR_CORRUPT, path, "reserved", 0, h->reserved[i]);
        }
    }
    return Q_OK;
}

static q_error_code snapshot_compare(const q_session *s, const snapshot_header *h,
                                     const uint8_t *model, const q_snapshot_info *info,
                                     const char *path, q_diag *diag)
{
    uint32_t kv = s->plan->config.max.kv;
    snapshot_header own;
    q_error_code e = q_snapshot_describe(s, model, h->position <= kv ? h->position : kv, h->n_ids,
                                         h->counter, &own, diag);
    return e == Q_OK ? snapshot_check_fit(s, h, &own, info, path, diag) : e;
}

/* The most bytes a file for this session can have, whatever its position. */
static q_error_code snapshot_bound(const q_session *s, uint64_t *bytes, q_diag *diag)
{
    uint32_t kv = s->plan->config.max.kv;
    q_error_code e = q_snapshot_total(s, kv, bytes, diag);
    *bytes += Q_SNAPSHOT_HEADER + (uint64_t)kv * sizeof(int32_t) + Q_SNAPSHOT_HASH;
    return e;
}

static q_error_code snapshot_check_ids(const q_session *s, const uint8_t *bytes, size_t n,
                                       const char *path, q_diag *diag)
{
    const q_model *m = s->plan->model;
    uint32_t limit = m->n.inputs != 0 && m->inputs[0].type.dtype == Q_I32 ? m->inputs[0].limit
                                                                          : (uint32_t)INT32_MAX;
    for (size_t i = 0; i < n; i += sizeof(int32_t)) {
        int32_t id;
        memcpy(&id, bytes + i, sizeof(id));
        if (id < 0 || (limit != 0 && (uint32_t)id >= limit)) { /* limit 0: the model checks none */
            return q_fail(diag, Q_ERR_INVALID_TOKEN, path, "ids", limit, (uint64_t)(int64_t)id);
        }
    }
    return Q_OK;
}

/* Hashes [at, end) through work; ids end at `ids_end` and begin where reading stands. */
static q_error_code snapshot_hash_rest(snapshot_reader *r, const q_session *s, uint64_t ids_end,
                                       uint64_t end, bool *ids_good, q_diag *ids_diag,
                                       const char *path)
{
    size_t chunk = r->work.size / 64 * 64;
    *ids_good = true;
    while (r->at < end) {
        uint64_t first = r->at;
        uint64_t stop = first < ids_end ? ids_end : end;
        size_t n = stop - first < chunk ? (size_t)(stop - first) : chunk;
        q_error_code e = snapshot_get(r, r->work.base, n);
        if (e != Q_OK) {
            return e;
        }
        if (first < ids_end && *ids_good) {
            *ids_good =
                snapshot_check_ids(s, (const uint8_t *)r->work.base, n, path, ids_diag) == Q_OK;
        }
    }
    return Q_OK;
}

/* First reading: everything is checked, nothing is kept but header and hash. The hash speaks before
   the fields it covers, so that damage is called damage. */
static q_error_code snapshot_check(snapshot_reader *r, const q_session *s, const uint8_t *model,
                                   const q_snapshot_info *info, snapshot_header *h, uint8_t *hash,
                                   const char *path, q_diag *diag)
{
    q_diag ids_diag;
    uint8_t digest[Q_SNAPSHOT_HASH];
    uint64_t size = 0;
    uint64_t bound = 0;
    uint64_t ids_end;
    bool ids_good = true;
    q_error_code e;
    PORT_CALL(e, r->port->file_size(r->port->user, r->file, &size));
    if (e != Q_OK) {
        return q_fail(diag, e, path, "size", 0, 0);
    }
    if (size < Q_SNAPSHOT_HEADER + Q_SNAPSHOT_HASH) {
        return q_fail(diag, Q_ERR_TRUNCATED, path, "header", Q_SNAPSHOT_HEADER + Q_SNAPSHOT_HASH,
                      size);
    }
    e = snapshot_get(r, h, sizeof(*h));
    if (e != Q_OK) {
        return q_fail(diag, e, path, "read", 0, 0);
    }
    e = snapshot_check_form(h, size, path, diag);
    if (e == Q_OK) {
        e = snapshot_bound(s, &bound, diag);
    }
    if (e != Q_OK) {
        return e;
    }
    if (size > bound) { /* not worth reading: the fields alone say why it does not fit */
        return snapshot_compare(s, h, model, info, path, diag);
    }
    size -= Q_SNAPSHOT_HASH;
    ids_end = h->n_ids > (size - Q_SNAPSHOT_HEADER) / sizeof(int32_t)
                  ? Q_SNAPSHOT_HEADER
                  : Q_SNAPSHOT_HEADER + (uint64_t)h->n_ids * sizeof(int32_t);
    e = snapshot_hash_rest(r, s, ids_end, size, &ids_good, &ids_diag, path);
    if (e == Q_OK) {
        q_sha256_final(&r->sha, digest);
        PORT_CALL(e, r->port->file_read_at(r->port->user, r->file, size, hash, Q_SNAPSHOT_HASH));
    }
    if (e != Q_OK) {
        return q_fail(diag, e, path, "read", 0, 0);
    }
    if (memcmp(digest, hash, Q_SNAPSHOT_HASH) != 0) {
        return q_fail(diag, Q_ERR_HASH, path, "sha256", 0, 0);
    }
    e = snapshot_compare(s, h, model, info, path, diag);
    if (e == Q_OK && !ids_good) {
        e = Q_ERR_INVALID_TOKEN;
        if (diag != NULL) {
            *diag = ids_diag;
        }
    }
    return e;
}

/* Second reading: into ids and STATE. */
static q_error_code snapshot_read(snapshot_reader *r, q_session *s, const snapshot_header *h,
                                  const uint8_t *hash, const q_snapshot_info *info)
{
    snapshot_header again;
    uint8_t digest[Q_SNAPSHOT_HASH];
    q_error_code e;
    r->at = 0;
    q_sha256_init(&r->sha);
    e = snapshot_get(r, &again, sizeof(again));
    if (e == Q_OK) {
        e = snapshot_get(r, info->ids, (size_t)h->n_ids * sizeof(int32_t));
    }
    for (uint32_t k = 0; k < s->plan->n_steps && e == Q_OK; k++) {
        q_state_extent x;
        e = q_session_extent(s, k, h->position, &x, NULL);
        for (uint32_t i = 0; i < x.n && e == Q_OK; i++) {
            e = snapshot_get(r, q_session_state(s, k, info->sequence) + i * x.strip, x.used);
        }
    }
    q_sha256_final(&r->sha, digest);
    return e == Q_OK && memcmp(digest, hash, sizeof(digest)) != 0 ? Q_ERR_HASH : e;
}

q_error_code q_snapshot_load(q_session *session, const q_port *port, const char *path,
                             const uint8_t model[Q_SNAPSHOT_HASH], q_snapshot_info *info,
                             q_block work, q_diag *diag)
{
    snapshot_reader r;
    snapshot_header h;
    uint8_t hash[Q_SNAPSHOT_HASH];
    q_error_code closed;
    q_error_code e =
        q_snapshot_args("q_snapshot_load", session, port, path, model, info, work, diag);
    if (e == Q_OK && session->busy) {
        e = q_fail(diag, Q_ERR_INVALID_STATE, "q_snapshot_load", "a step is running", 0, 1);
    }
    if (e == Q_OK && info->sequence >= session->plan->config.max.sequences) {
        e = q_fail(diag, Q_ERR_INVALID_ARG, "q_snapshot_load", "info.sequence",
                   session->plan->config.max.sequences, info->sequence);
    }
    if (e != Q_OK) {
        return e;
    }
    memset(&r, 0, sizeof(r));
    r.port = port;
    r.work = work;
    q_sha256_init(&r.sha);
    PORT_CALL(e, port->file_open(port->user, path, Q_OPEN_READ, &r.file));
    if (e != Q_OK) {
        return q_fail(diag, e, path, "open", 0, 0);
    }
    e = snapshot_check(&r, session, model, info, &h, hash, path, diag);
    if (e == Q_OK) {
        e = snapshot_read(&r, session, &h, hash, info);
        session->sequences[info->sequence].position = e == Q_OK ? h.position : 0;
        session->sequences[info->sequence].lost = false;
        session->forward_done = false;
        if (e != Q_OK) {
            (void)q_session_zero_states(session, info->sequence, NULL); /* of the host: q_snapshot_args */
            (void)q_fail(diag, e, path, "session reset", 0, 0);
        }
    }
    PORT_CALL(closed, port->file_close(port->user, r.file));
    (void)closed; /* nothing was written */
    if (e == Q_OK) {
        info->n_ids = h.n_ids;
        info->counter = h.counter;
    }
    return e;
}
