/* SPDX-License-Identifier: MIT */
/* The payload of a checkpoint: what belongs to it, and its way through a bounded buffer. */
#include "checkpoint_inner.h"

/* ---- Parts -------------------------------------------------------------------------------------------------- */

typedef struct checkpoint_part {
    const char *name; /* of the parameter */
    uint8_t *data;
    uint64_t bytes;
    bool reals;
    bool squares;     /* none is below zero */
    bool position;
    uint32_t most;    /* that a position may be */
} checkpoint_part;

static bool has_squares(const char *optimizer, uint32_t moment)
{
    return moment == 1 && (q_names_equal(optimizer, "adam") || q_names_equal(optimizer, "adamw"));
}

/* Tensor i of parameter p: its slot (0), then its moments; false: there are no more. A view has 0 bytes. */
static bool part_of_param(const q_session *s, const char *optimizer, q_param p, uint32_t i, checkpoint_part *out)
{
    q_tensor t = s->params[p];
    if (i > s->plan->config.moments || (i != 0 && q_session_param_moment(s, p, i - 1, &t, NULL) != Q_OK)) {
        return false;
    }
    memset(out, 0, sizeof(*out));
    out->name = s->plan->model->params[p].name;
    out->data = (uint8_t *)t.data;
    out->reals = t.dtype == Q_REAL;
    out->squares = i != 0 && has_squares(optimizer, i - 1);
    if (s->plan->params[p].slot.bytes != 0) {
        (void)q_matrix_bytes(t.dtype, t.layout, (uint64_t)t.ne[0] * t.ne[1] * t.ne[2], t.ne[3], &out->bytes); /* as planned */
    }
    return true;
}

static void hash_u32(q_sha256 *sha, uint32_t v)
{
    q_sha256_update(sha, &v, sizeof(v));
}

static void hash_name(q_sha256 *sha, const char *name)
{
    size_t n = 0;
    while (name[n] != '\0') {
        n++;
    }
    q_sha256_update(sha, name, n + 1);
}

/* Names, types, shapes and number of tensors of all parameters. */
static uint64_t measure_values(const q_session *s, const char *optimizer, uint8_t model[Q_CHECKPOINT_HASH])
{
    uint64_t sum = 0;
    q_sha256 sha;
    q_sha256_init(&sha);
    for (q_param p = 0; p < s->plan->model->n.params; p++) {
        const q_param_type *type = &s->plan->model->params[p].type;
        checkpoint_part part;
        uint32_t n = 0;
        hash_name(&sha, s->plan->model->params[p].name);
        hash_u32(&sha, type->dtype);
        for (uint32_t i = 0; i < 4; i++) {
            hash_u32(&sha, type->ne[i]);
        }
        for (; part_of_param(s, optimizer, p, n, &part); n++) {
            hash_u32(&sha, part.bytes != 0);
            sum += checkpoint_padded(part.bytes);
        }
        hash_u32(&sha, n);
    }
    q_sha256_final(&sha, model);
    return sum;
}

/* Positions of all sequences, and the states of every step. */
static uint64_t measure_states(const q_session *s)
{
    uint64_t sum = checkpoint_padded(sizeof(uint32_t)) * s->plan->config.max.sequences;
    for (uint32_t k = 0; k < s->plan->n_steps; k++) {
        sum += checkpoint_padded(s->plan->steps[k].state.bytes);
    }
    return sum;
}

void q_checkpoint_describe(const q_checkpoint *c, checkpoint_head *h, uint8_t model[Q_CHECKPOINT_HASH])
{
    const q_trainer *t = c->trainer;
    const char *name = t->config.optimizer.cls->name;
    memset(h, 0, sizeof(*h));
    for (size_t i = 0; i + 1 < sizeof(h->optimizer) && name[i] != '\0'; i++) {
        h->optimizer[i] = name[i];
    }
    h->steps = t->steps;
    h->seed = t->config.seed;
    h->note_bytes = c->note_bytes;
    h->values_bytes = measure_values(t->session, h->optimizer, model);
    h->best_bytes = c->state.best_slots != NULL ? q_fit_best_size(t->session) : 0;
    h->best_step = c->state.best_step;
    h->best = c->state.best;
    h->evaluations = c->state.evaluations;
    h->waiting = c->state.waiting;
    h->n_params = t->session->plan->model->n.params;
    h->n_moments = t->session->plan->config.moments;
    h->real_bytes = sizeof(q_real);
    h->states_bytes = (t->config.flags & Q_TRAIN_KEEP_STATE) != 0 ? measure_states(t->session) : 0;
}

q_error_code q_checkpoint_ready(const q_checkpoint *c, const char *who, q_diag *diag)
{
    const q_trainer *t = c != NULL ? c->trainer : NULL;
    if (c == NULL || c->struct_size != sizeof(*c) || c->reserved != 0 || t == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who,
                      c == NULL                          ? "checkpoint"
                      : c->struct_size != sizeof(*c) ? "struct_size"
                      : t == NULL                    ? "trainer"
                                                     : "reserved",
                      sizeof(*c), c != NULL ? c->struct_size : 0);
    }
    if (t->samples != 0 || t->session->busy || t->exchanged) {
        return q_fail(diag, Q_ERR_INVALID_STATE, who,
                      t->samples != 0      ? "between micro-batches of a step"
                      : t->session->busy ? "a step is running"
                                         : "averages are in the parameters' place",
                      0, 1);
    }
    return host_is_little_endian() ? Q_OK : q_fail(diag, Q_ERR_UNSUPPORTED, who, "byte order", 0, 1);
}

q_error_code q_checkpoint_size(const q_checkpoint *checkpoint, const q_block_facts *facts, uint64_t *bytes, q_diag *diag)
{
    const char *who = "q_checkpoint_size";
    uint32_t block = q_checkpoint_block(facts);
    uint8_t model[Q_CHECKPOINT_HASH];
    checkpoint_head h;
    if (bytes == NULL || checkpoint == NULL || checkpoint->struct_size != sizeof(*checkpoint) || checkpoint->trainer == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, bytes == NULL ? "bytes" : "checkpoint", 1, 0);
    }
    if (block == 0) {
        return q_fail(diag, Q_ERR_INVALID_SIZE, who, "facts", CHECKPOINT_MAX_BLOCK, 0);
    }
    q_checkpoint_describe(checkpoint, &h, model);
    *bytes = block + (checkpoint_payload(&h) + block - 1) / block * block;
    return Q_OK;
}

/* ---- The buffer --------------------------------------------------------------------------------------------- */

checkpoint_stream q_checkpoint_stream(const q_port *port, q_port_file file, uint64_t at, uint64_t bytes, q_block work)
{
    checkpoint_stream s;
    memset(&s, 0, sizeof(s));
    s.port = port;
    s.file = file;
    s.at = at;
    s.end = bytes;
    s.buffer = (uint8_t *)work.base + CHECKPOINT_NAME;
    s.size = (work.size - CHECKPOINT_NAME) / CHECKPOINT_SECTOR * CHECKPOINT_SECTOR;
    q_sha256_init(&s.sha);
    return s;
}

/* Writes what the buffer holds, filled up with zeros to a sector. */
static q_error_code stream_flush(checkpoint_stream *s)
{
    size_t n = (size_t)checkpoint_sectors(s->used);
    q_error_code e = Q_OK;
    if (n != 0) {
        memset(s->buffer + s->used, 0, n - s->used);
        q_sha256_update(&s->sha, s->buffer, s->used);
        PORT_CALL(e, s->port->file_write_at(s->port->user, s->file, s->at + s->done, s->buffer, n));
    }
    s->done += s->used;
    s->used = 0;
    return e;
}

/* Takes all n bytes into the buffer, or as many as it has room for; data NULL: zeros. */
static q_error_code stream_put(checkpoint_stream *s, const uint8_t *data, uint64_t n, size_t *got)
{
    size_t room = s->size - s->used;
    *got = n < room ? (size_t)n : room;
    if (data != NULL) {
        memcpy(s->buffer + s->used, data, *got);
    } else {
        memset(s->buffer + s->used, 0, *got);
    }
    s->used += *got;
    return s->used == s->size ? stream_flush(s) : Q_OK;
}

q_error_code q_checkpoint_take(checkpoint_stream *s, uint64_t n, const uint8_t **bytes, size_t *got)
{
    q_error_code e = Q_OK;
    if (s->used == s->have) {
        s->done += s->have;
        s->used = 0;
        s->have = s->end - s->done < s->size ? (size_t)(s->end - s->done) : s->size;
        PORT_CALL(e, s->port->file_read_at(s->port->user, s->file, s->at + s->done, s->buffer, s->have));
        if (e != Q_OK) {
            s->have = 0;
            return e;
        }
    }
    *got = n < s->have - s->used ? (size_t)n : s->have - s->used;
    *bytes = s->buffer + s->used;
    s->used += *got;
    return e;
}

/* ---- Passes ------------------------------------------------------------------------------------------------- */

/* A broken training's numbers. n is a multiple of the size of one. */
static q_error_code check_numbers(const checkpoint_part *part, const uint8_t *bytes, size_t n, q_diag *diag)
{
    bool broken = false;
    bool negative = false;
    for (size_t i = 0; part->reals && i + sizeof(q_real) <= n; i += sizeof(q_real)) {
        q_real x;
        memcpy(&x, bytes + i, sizeof(x));
        broken = broken || x != x;
        negative = negative || x < 0;
    }
    if (broken) {
        return q_fail(diag, Q_ERR_NON_FINITE, part->name, "checkpoint", 0, 0);
    }
    return part->squares && negative ? q_fail(diag, Q_ERR_CORRUPT, part->name, "second moment", 0, 0) : Q_OK;
}

static q_error_code check_position(const checkpoint_part *part, const uint8_t *bytes, q_diag *diag)
{
    uint32_t position;
    memcpy(&position, bytes, sizeof(position)); /* parts begin at multiples of 8 of a buffer of sectors: it is not cut */
    return position <= part->most ? Q_OK : q_fail(diag, Q_ERR_CORRUPT, part->name, "position", part->most, position);
}

static q_error_code check_part(const checkpoint_part *part, const uint8_t *bytes, size_t n, q_diag *diag)
{
    return part->position ? check_position(part, bytes, diag) : check_numbers(part, bytes, n, diag);
}

static bool all_zero(const uint8_t *bytes, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++) {
        any |= bytes[i];
    }
    return any == 0;
}

/* n bytes of a part at most, of which *got are done. data NULL: padding. */
static q_error_code run_piece(checkpoint_stream *s, checkpoint_pass pass, const checkpoint_part *part, uint8_t *data,
                              uint64_t n, size_t *got, q_diag *diag)
{
    const uint8_t *bytes = NULL;
    q_error_code e;
    if (pass == CHECKPOINT_PUT) {
        e = stream_put(s, data, n, got);
        return e == Q_OK && data != NULL ? check_part(part, data, *got, diag) : e;
    }
    e = q_checkpoint_take(s, n, &bytes, got);
    if (e != Q_OK) {
        return e;
    }
    if (pass == CHECKPOINT_COMPARE) {
        bool same = data != NULL ? memcmp(bytes, data, *got) == 0 : all_zero(bytes, *got);
        return same ? Q_OK : Q_ERR_HASH;
    }
    if (pass == CHECKPOINT_CHECK) {
        return data != NULL ? check_part(part, bytes, *got, diag) : Q_OK;
    }
    q_sha256_update(&s->sha, bytes, *got);
    if (data != NULL) {
        memcpy(data, bytes, *got);
    }
    return Q_OK;
}

static q_error_code run_part(checkpoint_stream *s, checkpoint_pass pass, const checkpoint_part *part, q_diag *diag)
{
    const uint64_t end = checkpoint_padded(part->bytes);
    q_error_code e = Q_OK;
    size_t got = 0;
    for (uint64_t at = 0; at < end && e == Q_OK; at += got) {
        bool inside = at < part->bytes;
        e = run_piece(s, pass, part, inside ? part->data + at : NULL, (inside ? part->bytes : end) - at, &got, diag);
    }
    return e;
}

static q_error_code run_bytes(checkpoint_stream *s, checkpoint_pass pass, void *data, uint64_t n, q_diag *diag)
{
    checkpoint_part part;
    memset(&part, 0, sizeof(part));
    part.data = (uint8_t *)data;
    part.bytes = n;
    return run_part(s, pass, &part, diag);
}

/* A position that is read must not lead out of a state, whatever stands there now. */
static q_error_code run_position(checkpoint_stream *s, checkpoint_pass pass, session_sequence *q, uint32_t most, q_diag *diag)
{
    uint32_t position = q->position;
    checkpoint_part part = {"sequences", (uint8_t *)&position, sizeof(position), false, false, true, most};
    q_error_code e = run_part(s, pass, &part, diag);
    if (e == Q_OK && pass == CHECKPOINT_LOAD) {
        q->position = position <= most ? position : 0;
        q->lost = false;
    }
    return e;
}

static q_error_code run_states(checkpoint_stream *s, checkpoint_pass pass, const q_session *session, q_diag *diag)
{
    const q_plan *plan = session->plan;
    q_error_code e = Q_OK;
    for (uint32_t i = 0; i < plan->config.max.sequences && e == Q_OK; i++) {
        e = run_position(s, pass, &session->sequences[i], plan->config.max.kv, diag);
    }
    for (uint32_t k = 0; k < plan->n_steps && e == Q_OK; k++) {
        e = run_bytes(s, pass, session->layers[k].state, plan->steps[k].state.bytes, diag);
    }
    return e;
}

q_error_code q_checkpoint_run(checkpoint_stream *s, checkpoint_pass pass, const q_session *session, const checkpoint_head *h,
                              void *note, void *best, q_diag *diag)
{
    checkpoint_head head = *h;
    q_error_code e = run_bytes(s, pass, &head, sizeof(head), diag);
    if (e == Q_OK) {
        e = run_bytes(s, pass, note, h->note_bytes, diag);
    }
    for (q_param p = 0; p < session->plan->model->n.params && e == Q_OK; p++) {
        checkpoint_part part;
        for (uint32_t i = 0; e == Q_OK && part_of_param(session, h->optimizer, p, i, &part); i++) {
            e = run_part(s, pass, &part, diag);
        }
    }
    if (e == Q_OK) {
        e = run_bytes(s, pass, best, h->best_bytes, diag);
    }
    if (e == Q_OK && h->states_bytes != 0) {
        e = run_states(s, pass, session, diag);
    }
    return e == Q_OK && pass == CHECKPOINT_PUT ? stream_flush(s) : e;
}
