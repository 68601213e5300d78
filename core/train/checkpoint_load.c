/* SPDX-License-Identifier: MIT */
/* Loading a checkpoint. What it says is compared with the session, never followed. */
#include "checkpoint_inner.h"

static const char *words_of(q_error_code e)
{
    return e == Q_ERR_NOT_FOUND   ? "no checkpoint"
           : e == Q_ERR_NOT_QORUS ? "magic"
           : e == Q_ERR_VERSION   ? "version"
           : e == Q_ERR_TRUNCATED ? "cut short"
           : e == Q_ERR_CORRUPT   ? "record"
           : e == Q_ERR_HASH      ? "payload"
                                  : "read";
}

/* Is a reserved byte not 0? */
static bool has_reserved(const checkpoint_head *h)
{
    uint32_t rest = h->reserved;
    for (uint32_t i = 0; i < sizeof(h->reserved_bytes); i++) {
        rest |= h->reserved_bytes[i];
    }
    return rest != 0;
}

/* The newest whole one, its head and what it says. */
static q_error_code find(q_checkpoint_place *p, q_block work, checkpoint_choice *c, checkpoint_head *h, q_diag *diag)
{
    const checkpoint_record *r;
    q_error_code e;
    if (p != NULL) {
        p->known = 0; /* what is loaded is read, whoever wrote it */
    }
    e = q_checkpoint_choose(p, work, c, diag);
    if (e == Q_OK && c->why != Q_OK) {
        bool version = c->why == Q_ERR_VERSION;
        e = q_checkpoint_fail(p, c->why, words_of(c->why), version ? Q_CHECKPOINT_VERSION : 0,
                              version ? c->slots[c->newest].record.version : 0, diag);
    }
    if (e != Q_OK) {
        return e;
    }
    r = &c->slots[c->newest].record;
    PORT_CALL(e, p->port->file_read_at(p->port->user, c->slots[c->newest].file, c->slots[c->newest].at + r->block, h,
                                       sizeof(*h)));
    if (e != Q_OK) {
        return q_checkpoint_fail(p, e, "read", 0, 0, diag);
    }
    if (h->note_bytes > r->bytes || h->values_bytes > r->bytes || h->best_bytes > r->bytes || h->states_bytes > r->bytes ||
        r->bytes > UINT64_MAX / 8 || checkpoint_payload(h) != r->bytes) {
        return q_checkpoint_fail(p, Q_ERR_CORRUPT, "sizes", r->bytes, checkpoint_payload(h), diag);
    }
    return has_reserved(h) ? q_checkpoint_fail(p, Q_ERR_CORRUPT, "reserved", 0, 1, diag) : Q_OK;
}

static void tell(const checkpoint_choice *c, const checkpoint_head *h, q_checkpoint_info *info)
{
    const checkpoint_slot *s = &c->slots[c->newest];
    const checkpoint_slot *other = &c->slots[1 - c->newest];
    memset(info, 0, sizeof(*info));
    info->newest = c->newest;
    info->n_params = h->n_params;
    info->n_moments = h->n_moments;
    info->real_bytes = h->real_bytes;
    memcpy(info->optimizer, h->optimizer, sizeof(info->optimizer) - 1);
    info->sequence = s->record.sequence;
    info->bytes = s->record.block + s->record.bytes;
    info->values_bytes = h->values_bytes;
    info->best_bytes = h->best_bytes;
    info->states_bytes = h->states_bytes;
    info->note_bytes = h->note_bytes;
    info->steps = h->steps;
    info->seed = h->seed;
    info->best_step = h->best_step;
    info->best = h->best;
    info->evaluations = h->evaluations;
    info->waiting = h->waiting;
    info->passed_over = other->code == Q_ERR_NOT_FOUND && c->newest == 0 ? Q_OK : other->code; /* none was there yet */
    memcpy(info->model, s->record.model, sizeof(info->model));
    memcpy(info->hash, s->record.hash, sizeof(info->hash));
}

/* ---- Without a training ------------------------------------------------------------------------------------- */

q_error_code q_checkpoint_look(q_checkpoint_place *place, q_checkpoint_info *info, void *note, size_t note_capacity,
                               q_block work, q_diag *diag)
{
    checkpoint_choice c;
    checkpoint_head h;
    q_error_code e;
    if (info == NULL || (note == NULL && note_capacity != 0)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_checkpoint_look", info == NULL ? "info" : "note", 1, 0);
    }
    e = find(place, work, &c, &h, diag);
    if (e == Q_OK) {
        const checkpoint_slot *s = &c.slots[c.newest];
        const size_t n = h.note_bytes < note_capacity ? (size_t)h.note_bytes : note_capacity;
        if (n != 0) {
            PORT_CALL(e, place->port->file_read_at(place->port->user, s->file, s->at + s->record.block + sizeof(h), note, n));
        }
        e = e == Q_OK ? Q_OK : q_checkpoint_fail(place, e, "read", 0, 0, diag);
    }
    if (e == Q_OK) {
        tell(&c, &h, info);
    }
    q_checkpoint_leave(place, &c);
    return e;
}

/* ---- Into a training ---------------------------------------------------------------------------------------- */

static q_error_code check_fit(const q_checkpoint_place *p, const q_checkpoint *c, const checkpoint_record *r,
                              const checkpoint_head *h, q_diag *diag)
{
    q_checkpoint bare = *c;
    checkpoint_head own;
    uint8_t model[Q_CHECKPOINT_HASH];
    bare.state.best_slots = NULL;
    q_checkpoint_describe(&bare, &own, model);
    if (h->real_bytes != own.real_bytes) {
        return q_checkpoint_fail(p, Q_ERR_MISMATCH, "type of numbers", own.real_bytes, h->real_bytes, diag);
    }
    if (memcmp(h->optimizer, own.optimizer, sizeof(own.optimizer)) != 0) {
        return q_checkpoint_fail(p, Q_ERR_MISMATCH, "optimizer", 0, 0, diag);
    }
    if (h->n_moments != own.n_moments) {
        return q_checkpoint_fail(p, Q_ERR_MISMATCH, "moments", own.n_moments, h->n_moments, diag);
    }
    if (memcmp(r->model, model, sizeof(model)) != 0 || h->n_params != own.n_params || h->values_bytes != own.values_bytes) {
        return q_checkpoint_fail(p, Q_ERR_MISMATCH, "model", own.n_params, h->n_params, diag);
    }
    if (h->best_bytes != 0 && h->best_bytes != q_fit_best_size(c->trainer->session)) {
        return q_checkpoint_fail(p, Q_ERR_CORRUPT, "best_bytes", q_fit_best_size(c->trainer->session), h->best_bytes, diag);
    }
    if (h->states_bytes != own.states_bytes) {
        return q_checkpoint_fail(p, Q_ERR_MISMATCH, "states of sequences", own.states_bytes, h->states_bytes, diag);
    }
    if (h->note_bytes > c->note_capacity || (h->note_bytes != 0 && c->note == NULL)) {
        return q_checkpoint_fail(p, Q_ERR_NO_SPACE, "note", h->note_bytes, c->note != NULL ? c->note_capacity : 0, diag);
    }
    if (h->best_bytes > c->best.size || (h->best_bytes != 0 && c->best.base == NULL)) {
        return q_checkpoint_fail(p, Q_ERR_NO_SPACE, "best", h->best_bytes, c->best.base != NULL ? c->best.size : 0, diag);
    }
    return Q_OK;
}

static q_error_code load_pass(const q_checkpoint_place *p, const q_checkpoint *c, const checkpoint_slot *s,
                              const checkpoint_head *h, checkpoint_pass pass, q_block work, q_diag *diag)
{
    checkpoint_stream in = q_checkpoint_stream(p->port, s->file, s->at + s->record.block, s->record.bytes, work);
    q_error_code e = q_checkpoint_run(&in, pass, c->trainer->session, h, c->note, c->best.base, diag);
    uint8_t hash[Q_CHECKPOINT_HASH];
    if (pass == CHECKPOINT_LOAD) {
        q_sha256_final(&in.sha, hash);
        e = e == Q_OK && memcmp(hash, s->record.hash, sizeof(hash)) != 0 ? Q_ERR_HASH : e;
        return e == Q_OK ? Q_OK : q_checkpoint_fail(p, e, "session undefined", 0, 0, diag);
    }
    return e == Q_OK || e == Q_ERR_NON_FINITE || e == Q_ERR_CORRUPT ? e : q_checkpoint_fail(p, e, "read", 0, 0, diag);
}

static void go_on(q_checkpoint *c, const checkpoint_head *h)
{
    c->trainer->steps = h->steps;
    c->trainer->config.seed = h->seed;
    c->note_bytes = (size_t)h->note_bytes;
    c->state.evaluations = h->evaluations;
    c->state.waiting = h->waiting;
    c->state.best = h->best;
    c->state.best_step = h->best_step;
    c->state.best_slots = h->best_bytes != 0 ? c->best.base : NULL;
}

q_error_code q_checkpoint_load(q_checkpoint_place *place, q_checkpoint *checkpoint, q_checkpoint_info *info, q_block work,
                               q_diag *diag)
{
    checkpoint_choice c;
    checkpoint_head h;
    const checkpoint_slot *s;
    q_error_code e = q_checkpoint_ready(checkpoint, "q_checkpoint_load", diag);
    if (e != Q_OK) {
        return e;
    }
    e = find(place, work, &c, &h, diag);
    s = &c.slots[c.newest & 1];
    if (e == Q_OK) {
        e = check_fit(place, checkpoint, &s->record, &h, diag);
    }
    if (e == Q_OK) {
        e = load_pass(place, checkpoint, s, &h, CHECKPOINT_CHECK, work, diag);
    }
    if (e == Q_OK) {
        e = load_pass(place, checkpoint, s, &h, CHECKPOINT_LOAD, work, diag);
    }
    if (e == Q_OK) {
        go_on(checkpoint, &h);
        if (info != NULL) {
            tell(&c, &h, info);
        }
    }
    q_checkpoint_leave(place, &c);
    return e;
}
