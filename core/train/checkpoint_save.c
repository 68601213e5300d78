/* SPDX-License-Identifier: MIT */
/* Saving a checkpoint. At every moment the newest whole one can be loaded. */
#include "checkpoint_inner.h"

/* One save. */
typedef struct checkpoint_saving {
    q_checkpoint_place *p;
    const q_checkpoint *c;
    q_block work;
    q_diag *diag;
    checkpoint_head head;
    checkpoint_record record;
} checkpoint_saving;

/* Failures of passes over numbers have their words already. */
static q_error_code say(const checkpoint_saving *s, q_error_code e, const char *field)
{
    return e == Q_OK || e == Q_ERR_NON_FINITE || e == Q_ERR_CORRUPT ? e : q_checkpoint_fail(s->p, e, field, 0, 0, s->diag);
}

static q_error_code save_pass(checkpoint_saving *s, checkpoint_pass pass, q_port_file file, uint64_t at)
{
    checkpoint_stream stream = q_checkpoint_stream(s->p->port, file, at + s->record.block, s->record.bytes, s->work);
    q_error_code e = q_checkpoint_run(&stream, pass, s->c->trainer->session, &s->head, s->c->note,
                                      (void *)(uintptr_t)s->c->state.best_slots, s->diag);
    if (pass == CHECKPOINT_PUT) {
        q_sha256_final(&stream.sha, s->record.hash);
        s->record.crc = q_checkpoint_crc(&s->record);
    }
    return say(s, e, pass == CHECKPOINT_PUT ? "write" : "read back");
}

static q_error_code write_record(checkpoint_saving *s, q_port_file file, uint64_t at, const checkpoint_record *r)
{
    q_error_code e;
    PORT_CALL(e, s->p->port->file_write_at(s->p->port->user, file, at, r, sizeof(*r)));
    return say(s, e, "write");
}

/* Is the record there what was written? */
static q_error_code compare_record(checkpoint_saving *s, q_port_file file, uint64_t at)
{
    checkpoint_record r;
    q_error_code e;
    PORT_CALL(e, s->p->port->file_read_at(s->p->port->user, file, at, &r, sizeof(r)));
    return say(s, e == Q_OK && memcmp(&r, &s->record, sizeof(r)) != 0 ? Q_ERR_HASH : e, "read back");
}

static q_error_code sync_file(checkpoint_saving *s, q_port_file file)
{
    q_error_code e;
    PORT_CALL(e, s->p->port->file_sync(s->p->port->user, file));
    return say(s, e, "sync");
}

/* The new one stands, and is known to be whole. */
static void keep_in_mind(const checkpoint_saving *s)
{
    memcpy(s->p->good, s->record.hash, sizeof(s->p->good));
    s->p->known = 1;
    s->p->failed = 0;
}

/* ---- Slots -------------------------------------------------------------------------------------------------- */

/* The one that is in doubt, else not the newest. One that cannot be read may be the only whole one. */
static q_error_code choose_target(const checkpoint_saving *s, const checkpoint_choice *c, uint32_t *target)
{
    if (s->p->failed != 0) {
        *target = s->p->failed - 1;
        return Q_OK;
    }
    *target = c->newest < 2 ? 1 - c->newest : 0;
    if (c->newest == 2 && (c->slots[0].code <= Q_ERR_IO || c->slots[1].code <= Q_ERR_IO)) {
        return q_checkpoint_fail(s->p, c->slots[0].code <= Q_ERR_IO ? c->slots[0].code : c->slots[1].code, "read", 0, 0,
                                 s->diag);
    }
    return Q_OK;
}

static q_error_code write_slot(checkpoint_saving *s, q_port_file file, uint64_t at)
{
    static const checkpoint_record none;
    q_error_code e = write_record(s, file, at, &none);
    if (e == Q_OK) {
        e = sync_file(s, file);
    }
    if (e == Q_OK) {
        e = save_pass(s, CHECKPOINT_PUT, file, at);
    }
    if (e == Q_OK) {
        e = sync_file(s, file);
    }
    if (e == Q_OK) {
        e = save_pass(s, CHECKPOINT_COMPARE, file, at);
    }
    if (e == Q_OK) {
        e = write_record(s, file, at, &s->record);
    }
    if (e == Q_OK) {
        e = sync_file(s, file);
    }
    return e == Q_OK ? compare_record(s, file, at) : e;
}

static q_error_code save_slot(checkpoint_saving *s, const checkpoint_choice *c)
{
    const uint64_t need = s->record.block + checkpoint_sectors(s->record.bytes);
    uint32_t target = 0;
    q_error_code e;
    if (need > c->slots[0].room) {
        return q_checkpoint_fail(s->p, Q_ERR_NO_SPACE, "slot_bytes", need, c->slots[0].room, s->diag);
    }
    e = choose_target(s, c, &target);
    if (e != Q_OK) {
        return e;
    }
    s->p->failed = target + 1;
    e = write_slot(s, s->p->file, c->slots[target].at);
    if (e == Q_OK) {
        keep_in_mind(s);
    }
    return e;
}

/* ---- Files -------------------------------------------------------------------------------------------------- */

static q_error_code open_temp(checkpoint_saving *s, const char *temp, q_port_file *file)
{
    const q_port *port = s->p->port;
    q_error_code e;
    PORT_CALL(e, port->file_open(port->user, temp, Q_OPEN_CREATE_NEW, file));
    if (e != Q_OK) { /* a leftover, or nothing: opening tells */
        PORT_CALL(e, port->file_remove(port->user, temp));
        PORT_CALL(e, port->file_open(port->user, temp, Q_OPEN_CREATE_NEW, file));
    }
    return say(s, e, "open");
}

static q_error_code write_temp(checkpoint_saving *s, const char *temp)
{
    const q_port *port = s->p->port;
    q_port_file file = 0;
    q_error_code closed;
    q_error_code e = open_temp(s, temp, &file);
    if (e != Q_OK) {
        return e;
    }
    e = save_pass(s, CHECKPOINT_PUT, file, 0);
    if (e == Q_OK) {
        e = write_record(s, file, 0, &s->record);
    }
    if (e == Q_OK) {
        e = sync_file(s, file);
    }
    PORT_CALL(closed, port->file_close(port->user, file));
    return e == Q_OK ? say(s, closed, "close") : e;
}

/* Is what has that name what was written? */
static q_error_code compare_file(checkpoint_saving *s, const char *name, bool payload)
{
    const q_port *port = s->p->port;
    q_port_file file = 0;
    q_error_code closed;
    q_error_code e;
    PORT_CALL(e, port->file_open(port->user, name, Q_OPEN_READ, &file));
    if (e != Q_OK) {
        return e == Q_ERR_NOT_FOUND ? say(s, Q_ERR_MISMATCH, "another writer") : say(s, e, "read back");
    }
    e = compare_record(s, file, 0);
    if (e == Q_OK && payload) {
        e = save_pass(s, CHECKPOINT_COMPARE, file, 0);
    }
    PORT_CALL(closed, port->file_close(port->user, file));
    (void)closed; /* nothing was written */
    return e;
}

/* PATH, where it is the newest whole one, becomes the one before; anything else there is replaced. */
static q_error_code rename_files(checkpoint_saving *s, bool keeps)
{
    const q_port *port = s->p->port;
    q_error_code e = Q_OK;
    bool durable = true;
    if (keeps) {
        PORT_CALL(e, port->file_replace(port->user, s->p->path, q_checkpoint_name(s->p, Q_CHECKPOINT_PREVIOUS, s->work)));
        durable = e == Q_OK;
        e = e == Q_ERR_NOT_SUPPORTED ? Q_OK : e;
    }
    if (e == Q_OK) {
        PORT_CALL(e, port->file_replace(port->user, q_checkpoint_name(s->p, Q_CHECKPOINT_TEMP, s->work), s->p->path));
        durable = durable && e == Q_OK;
        e = e == Q_ERR_NOT_SUPPORTED ? Q_OK : e;
    }
    if (e != Q_OK) {
        return say(s, e, "rename");
    }
    e = compare_file(s, s->p->path, false);
    if (e != Q_OK) {
        return e;
    }
    keep_in_mind(s);
    return durable ? Q_OK : say(s, Q_ERR_NOT_SUPPORTED, "durability unknown");
}

static q_error_code save_file(checkpoint_saving *s, const checkpoint_choice *c)
{
    const q_port *port = s->p->port;
    const char *temp = q_checkpoint_name(s->p, Q_CHECKPOINT_TEMP, s->work);
    q_error_code e = write_temp(s, temp);
    q_error_code gone = Q_OK;
    if (e == Q_OK) {
        e = compare_file(s, temp, true);
    }
    if (e == Q_OK) {
        e = rename_files(s, c->newest == 0);
    }
    if (e != Q_OK && e != Q_ERR_MISMATCH && e != Q_ERR_NOT_SUPPORTED) {
        PORT_CALL(gone, port->file_remove(port->user, q_checkpoint_name(s->p, Q_CHECKPOINT_TEMP, s->work)));
    }
    (void)gone;
    return e;
}

/* ---- Both --------------------------------------------------------------------------------------------------- */

static void begin_record(checkpoint_saving *s, const checkpoint_choice *c)
{
    memset(&s->record, 0, sizeof(s->record));
    q_checkpoint_describe(s->c, &s->head, s->record.model);
    memcpy(s->record.magic, Q_CHECKPOINT_MAGIC, sizeof(s->record.magic));
    s->record.version = Q_CHECKPOINT_VERSION;
    s->record.block = c->block;
    s->record.sequence = c->next;
    s->record.bytes = checkpoint_payload(&s->head);
}

/* A step failed half way through states that cannot go back: what the next one would refuse is not saved. */
static bool is_cut_off(const q_trainer *t)
{
    bool lost = false;
    for (uint32_t i = 0; i < t->session->plan->config.max.sequences; i++) {
        lost = lost || t->session->sequences[i].lost;
    }
    return lost && (t->config.flags & Q_TRAIN_KEEP_STATE) != 0;
}

q_error_code q_checkpoint_save(q_checkpoint_place *place, const q_checkpoint *checkpoint, q_block work, q_diag *diag)
{
    checkpoint_choice choice;
    checkpoint_saving s;
    q_error_code e = q_checkpoint_ready(checkpoint, "q_checkpoint_save", diag);
    if (e == Q_OK && checkpoint->note_bytes != 0 && checkpoint->note == NULL) {
        e = q_fail(diag, Q_ERR_INVALID_ARG, "q_checkpoint_save", "note", 1, 0);
    }
    if (e == Q_OK && is_cut_off(checkpoint->trainer)) {
        e = q_fail(diag, Q_ERR_INVALID_STATE, "q_checkpoint_save", "a layer's state was cut off", 0, 1);
    }
    if (e != Q_OK) {
        return e;
    }
    e = q_checkpoint_choose(place, work, &choice, diag);
    if (e == Q_OK) {
        s.p = place;
        s.c = checkpoint;
        s.work = work;
        s.diag = diag;
        begin_record(&s, &choice);
    }
    q_checkpoint_leave(place, &choice);
    if (e == Q_OK) {
        e = place->path != NULL ? save_file(&s, &choice) : save_slot(&s, &choice);
    }
    return e;
}
