/* SPDX-License-Identifier: MIT */
/* Saving a session's state: what belongs to it, and a file that appears whole or not at all. */
#include "snapshot_inner.h"

/* ---- What the session has to keep ----------------------------------------------------------- */

q_error_code q_snapshot_total(const q_session *s, uint32_t position, uint64_t *bytes, q_diag *diag)
{
    *bytes = 0;
    for (uint32_t k = 0; k < s->plan->n_steps; k++) {
        q_state_extent x;
        q_error_code e = q_session_extent(s, k, position, &x, diag);
        if (e != Q_OK) {
            return e;
        }
        *bytes += (uint64_t)x.used * x.n;
    }
    return Q_OK;
}

static void snapshot_hash_u64(q_sha256 *sha, uint64_t v)
{
    q_sha256_update(sha, &v, sizeof(v));
}

/* The layout: for every state its class and config, its node's name and its extent. */
static q_error_code snapshot_layout(const q_session *s, uint32_t position, snapshot_header *h,
                                    q_diag *diag)
{
    q_sha256 sha;
    q_sha256_init(&sha);
    h->n_states = 0;
    for (uint32_t k = 0; k < s->plan->n_steps; k++) {
        const plan_step *step = &s->plan->steps[k];
        size_t name = 0;
        q_state_extent x;
        q_error_code e = q_session_extent(s, k, position, &x, diag);
        if (e != Q_OK) {
            return e;
        }
        if (step->state.bytes == 0) {
            continue;
        }
        while (step->name[name] != '\0') {
            name++;
        }
        h->n_states++;
        snapshot_hash_u64(&sha, step->cls->id);
        snapshot_hash_u64(&sha, step->cls->config_version);
        snapshot_hash_u64(&sha, step->cls->config_size);
        q_sha256_update(&sha, step->config, step->cls->config_size);
        snapshot_hash_u64(&sha, name);
        q_sha256_update(&sha, step->name, name);
        snapshot_hash_u64(&sha, x.n);
        snapshot_hash_u64(&sha, x.used);
    }
    q_sha256_final(&sha, h->layout);
    return Q_OK;
}

/* Types that follow from the precision are written as such, whoever asked for them. */
static uint32_t snapshot_kv_type(const q_plan *plan)
{
    uint32_t usual = plan->config.precision == Q_PRECISION_EXACT ? Q_KV_REAL : Q_KV_F16;
    return plan->config.kv_type == usual ? Q_KV_BY_PRECISION : plan->config.kv_type;
}

q_error_code q_snapshot_describe(const q_session *s, const uint8_t *model, uint32_t position,
                               uint32_t n_ids, uint64_t counter, snapshot_header *h, q_diag *diag)
{
    q_error_code e;
    memset(h, 0, sizeof(*h));
    memcpy(h->magic, SNAPSHOT_MAGIC, sizeof(h->magic));
    h->version = Q_SNAPSHOT_VERSION;
    h->header_size = Q_SNAPSHOT_HEADER;
    h->counter = counter;
    h->precision = s->plan->config.precision;
    h->kv_type = snapshot_kv_type(s->plan);
    h->position = position;
    h->n_ids = n_ids;
    if (model != NULL) {
        memcpy(h->model, model, sizeof(h->model));
    }
    e = snapshot_layout(s, position, h, diag);
    if (e == Q_OK) {
        e = q_snapshot_total(s, position, &h->state_bytes, diag);
    }
    h->file_size =
        Q_SNAPSHOT_HEADER + (uint64_t)n_ids * sizeof(int32_t) + h->state_bytes + Q_SNAPSHOT_HASH;
    return e;
}

q_error_code q_snapshot_host_states(const q_session *s, q_diag *diag)
{
    for (uint32_t k = 0; k < s->plan->n_steps; k++) {
        if (s->plan->steps[k].state.bytes != 0 && s->plan->steps[k].place != 0) {
            return q_fail(diag, Q_ERR_UNSUPPORTED, s->plan->steps[k].name, "state on a device", 0,
                          s->plan->steps[k].place);
        }
    }
    return Q_OK;
}

q_error_code q_snapshot_args(const char *who, const q_session *s, const q_port *port,
                           const char *path, const uint8_t *model, const q_snapshot_info *info,
                           q_block work, q_diag *diag)
{
    size_t n = 0;
    if (s == NULL || path == NULL || model == NULL || info == NULL || work.base == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who,
                      s == NULL       ? "session"
                      : path == NULL  ? "path"
                      : model == NULL ? "model"
                      : info == NULL  ? "info"
                                      : "work",
                      1, 0);
    }
    if (!port_has_files(port)) {
        return q_fail(diag, Q_ERR_NOT_SUPPORTED, who, "port without files", 1, 0);
    }
    if (!host_is_little_endian()) {
        return q_fail(diag, Q_ERR_UNSUPPORTED, who, "byte order of the state", 0, 0);
    }
    if (q_snapshot_host_states(s, diag) != Q_OK) {
        return Q_ERR_UNSUPPORTED;
    }
    while (n <= Q_SNAPSHOT_MAX_PATH && path[n] != '\0') {
        n++;
    }
    if (n == 0 || n > Q_SNAPSHOT_MAX_PATH) {
        return q_fail(diag, Q_ERR_INVALID_SIZE, who, "path", Q_SNAPSHOT_MAX_PATH, n);
    }
    if (work.size < Q_SNAPSHOT_WORK) {
        return q_fail(diag, Q_ERR_NO_SPACE, who, "work", Q_SNAPSHOT_WORK, work.size);
    }
    return Q_OK;
}

/* The sequence exists, and the ids are none or one per position. */
static q_error_code snapshot_check_info(const char *who, const q_session *s,
                                        const q_snapshot_info *info, q_diag *diag)
{
    uint32_t position;
    if (info->sequence >= s->plan->config.max.sequences) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, "info.sequence", s->plan->config.max.sequences,
                      info->sequence);
    }
    position = q_sequence_position(s, info->sequence);
    if (info->n_ids != 0 && info->n_ids != position) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, "info.n_ids", position, info->n_ids);
    }
    return Q_OK;
}

q_error_code q_snapshot_size(const q_session *session, const q_snapshot_info *info, uint64_t *bytes,
                             q_diag *diag)
{
    const char *who = "q_snapshot_size";
    snapshot_header h;
    q_error_code e;
    if (session == NULL || info == NULL || bytes == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who,
                      session == NULL ? "session" : info == NULL ? "info" : "bytes", 1, 0);
    }
    e = snapshot_check_info(who, session, info, diag);
    if (e != Q_OK) {
        return e;
    }
    e = q_snapshot_describe(session, NULL, q_sequence_position(session, info->sequence),
                            info->n_ids, 0, &h, diag);
    if (e == Q_OK) {
        *bytes = h.file_size;
    }
    return e;
}

/* ---- Saving --------------------------------------------------------------------------------- */

typedef struct snapshot_writer {
    const q_port *port;
    q_port_file file;
    uint64_t at;
    q_sha256 sha;
} snapshot_writer;

static q_error_code snapshot_put(snapshot_writer *w, const void *bytes, size_t n)
{
    q_error_code e;
    if (n == 0) {
        return Q_OK;
    }
    PORT_CALL(e, w->port->file_write_at(w->port->user, w->file, w->at, bytes, n));
    q_sha256_update(&w->sha, bytes, n);
    w->at += n;
    return e;
}

static q_error_code snapshot_put_states(snapshot_writer *w, const q_session *s, uint32_t sequence)
{
    q_error_code e = Q_OK;
    for (uint32_t k = 0; k < s->plan->n_steps && e == Q_OK; k++) {
        q_state_extent x;
        e = q_session_extent(s, k, s->sequences[sequence].position, &x, NULL);
        for (uint32_t i = 0; i < x.n && e == Q_OK; i++) {
            e = snapshot_put(w, q_session_state(s, k, sequence) + i * x.strip, x.used);
        }
    }
    return e;
}

static q_error_code snapshot_write(const q_session *s, const q_port *port, q_port_file file,
                                   const snapshot_header *h, const q_snapshot_info *info)
{
    snapshot_writer w;
    uint8_t digest[Q_SNAPSHOT_HASH];
    q_error_code e;
    w.port = port;
    w.file = file;
    w.at = 0;
    q_sha256_init(&w.sha);
    e = snapshot_put(&w, h, sizeof(*h));
    if (e == Q_OK) {
        e = snapshot_put(&w, info->ids, (size_t)info->n_ids * sizeof(int32_t));
    }
    if (e == Q_OK) {
        e = snapshot_put_states(&w, s, info->sequence);
    }
    if (e == Q_OK) {
        q_sha256_final(&w.sha, digest);
        e = snapshot_put(&w, digest, sizeof(digest));
    }
    if (e == Q_OK) {
        PORT_CALL(e, port->file_sync(port->user, file));
    }
    return e;
}

/* The temporary name, in work. */
static const char *snapshot_temp(const char *path, q_block work)
{
    char *temp = (char *)work.base;
    size_t n = 0;
    while (path[n] != '\0') {
        temp[n] = path[n];
        n++;
    }
    memcpy(temp + n, Q_SNAPSHOT_TEMP, sizeof(Q_SNAPSHOT_TEMP));
    return temp;
}

static void snapshot_discard(const q_port *port, const char *temp)
{
    q_error_code gone;
    PORT_CALL(gone, port->file_remove(port->user, temp));
    (void)gone;
}

q_error_code q_snapshot_save(const q_session *session, const q_port *port, const char *path,
                             const uint8_t model[Q_SNAPSHOT_HASH], const q_snapshot_info *info,
                             q_block work, q_diag *diag)
{
    const char *who = "q_snapshot_save";
    const char *temp;
    snapshot_header h;
    q_port_file file = 0;
    q_error_code closed;
    q_error_code e = q_snapshot_args(who, session, port, path, model, info, work, diag);
    if (e != Q_OK) {
        return e;
    }
    if (session->busy) {
        return q_fail(diag, Q_ERR_INVALID_STATE, who, "a step is running", 0, 1);
    }
    e = snapshot_check_info(who, session, info, diag);
    if (e == Q_OK && info->n_ids != 0 && info->ids == NULL) {
        e = q_fail(diag, Q_ERR_INVALID_ARG, who, "info.ids", 1, 0);
    }
    if (e == Q_OK) {
        e = q_snapshot_describe(session, model, q_sequence_position(session, info->sequence),
                                info->n_ids, info->counter, &h, diag);
    }
    if (e != Q_OK) {
        return e;
    }
    temp = snapshot_temp(path, work);
    PORT_CALL(e, port->file_open(port->user, temp, Q_OPEN_CREATE_NEW, &file));
    if (e != Q_OK) {
        snapshot_discard(port, temp); /* a leftover, or nothing: opening tells */
        PORT_CALL(e, port->file_open(port->user, temp, Q_OPEN_CREATE_NEW, &file));
    }
    if (e != Q_OK) {
        return q_fail(diag, e, path, "open", 0, 0);
    }
    e = snapshot_write(session, port, file, &h, info);
    PORT_CALL(closed, port->file_close(port->user, file));
    e = e == Q_OK ? closed : e;
    if (e == Q_OK) {
        /* NOT_SUPPORTED: the file has its name, but the port cannot promise that a power cut keeps
         * it. */
        PORT_CALL(e, port->file_replace(port->user, temp, path));
        e = e == Q_ERR_NOT_SUPPORTED ? Q_OK : e;
    }
    if (e != Q_OK) {
        snapshot_discard(port, temp);
        return q_fail(diag, e, path, "write", 0, 0);
    }
    return Q_OK;
}
