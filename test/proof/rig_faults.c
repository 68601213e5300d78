/* SPDX-License-Identifier: MIT */
/*
 * Faults of a port, met by a session's snapshot: a port whose files lie in memory, wrapped by the one that breaks
 * calls. The same codes and fields with and without an operating system.
 */
#include "memory_files.h"
#include "rig.h"

#include "../port/fault_port.h"

#include "qorus/base/mem.h"
#include "qorus/base/text.h"
#include "qorus/snapshot.h"

/* ---- Cases -------------------------------------------------------------------------------------------------- */

typedef struct fault_case {
    const char *id;
    bool saves;
    uint32_t op; /* q_fault_op */
    uint32_t kind;
    uint64_t at;
    bool forever;
    q_error_code code;
    const char *field;
    bool replaced; /* saving: the new file has the name */
    bool reset;    /* loading: the session is at position 0 */
} fault_case;

#define SAVE(id, op, kind, at, forever, code, field, replaced) \
    {id, true, op, kind, at, forever, code, field, replaced, false}
#define LOAD(id, op, kind, at, forever, code, field, reset) {id, false, op, kind, at, forever, code, field, false, reset}

static const fault_case fault_cases[] = {
    LOAD("P01_load_accepted_twin", Q_FAULT_OPEN, Q_FAULT_FAIL, UINT64_MAX, false, Q_OK, "", false),
    LOAD("P01_load_open_fails", Q_FAULT_OPEN, Q_FAULT_FAIL, 1, false, Q_ERR_IO, "open", false),
    LOAD("P02_load_first_read_is_short", Q_FAULT_READ, Q_FAULT_SHORT, 1, false, Q_ERR_IO, "read", false),
    LOAD("P02_load_read_is_short_for_ever", Q_FAULT_READ, Q_FAULT_SHORT, 2, true, Q_ERR_IO, "read", false),
    LOAD("P03_load_open_interrupted", Q_FAULT_OPEN, Q_FAULT_INTERRUPT, 1, false, Q_OK, "", false),
    LOAD("P03_load_read_interrupted", Q_FAULT_READ, Q_FAULT_INTERRUPT, 1, false, Q_OK, "", false),
    LOAD("P03_load_close_interrupted", Q_FAULT_CLOSE, Q_FAULT_INTERRUPT, 1, false, Q_OK, "", false),
    LOAD("P03_load_read_interrupted_for_ever", Q_FAULT_READ, Q_FAULT_INTERRUPT, 1, true, Q_ERR_INTERRUPTED, "read",
         false),
    LOAD("P04_load_first_read_fails", Q_FAULT_READ, Q_FAULT_FAIL, 1, false, Q_ERR_IO, "read", false),
    LOAD("P04_load_second_read_fails", Q_FAULT_READ, Q_FAULT_FAIL, 2, false, Q_ERR_IO, "read", false),
    LOAD("P04_load_second_reading_fails", Q_FAULT_READ, Q_FAULT_FAIL, 12, false, Q_ERR_IO, "session reset", true),
    LOAD("P04_load_header_reads_as_zeros", Q_FAULT_READ, Q_FAULT_SILENT, 1, false, Q_ERR_NOT_QORUS, "magic", false),
    LOAD("P04_load_state_reads_as_zeros", Q_FAULT_READ, Q_FAULT_SILENT, 3, false, Q_ERR_HASH, "sha256", false),
    LOAD("P04_load_other_zeros_the_second_time", Q_FAULT_READ, Q_FAULT_SILENT, 12, false, Q_ERR_HASH, "session reset",
         true),
    LOAD("P05_load_size_query_fails", Q_FAULT_SIZE, Q_FAULT_FAIL, 1, false, Q_ERR_IO, "size", false),
    LOAD("P05_load_size_query_lies_by_one", Q_FAULT_SIZE, Q_FAULT_SHORT, 1, false, Q_ERR_TRUNCATED, "file_size",
         false),
    LOAD("P10_load_close_fails_accepted", Q_FAULT_CLOSE, Q_FAULT_FAIL, 1, false, Q_OK, "", false),
    SAVE("P01_save_accepted_twin", Q_FAULT_OPEN, Q_FAULT_FAIL, UINT64_MAX, false, Q_OK, "", true),
    SAVE("P01_save_open_fails_once_accepted", Q_FAULT_OPEN, Q_FAULT_FAIL, 1, false, Q_OK, "", true),
    SAVE("P01_save_open_fails_for_ever", Q_FAULT_OPEN, Q_FAULT_FAIL, 1, true, Q_ERR_IO, "open", false),
    SAVE("P03_save_write_interrupted", Q_FAULT_WRITE, Q_FAULT_INTERRUPT, 2, false, Q_OK, "", true),
    SAVE("P03_save_sync_interrupted", Q_FAULT_SYNC, Q_FAULT_INTERRUPT, 1, false, Q_OK, "", true),
    SAVE("P03_save_close_interrupted", Q_FAULT_CLOSE, Q_FAULT_INTERRUPT, 1, false, Q_OK, "", true),
    SAVE("P06_save_first_write_is_short", Q_FAULT_WRITE, Q_FAULT_SHORT, 1, false, Q_ERR_IO, "write", false),
    SAVE("P07_save_no_space_from_the_third_write", Q_FAULT_WRITE, Q_FAULT_SHORT, 3, true, Q_ERR_IO, "write", false),
    SAVE("P08_save_write_fails", Q_FAULT_WRITE, Q_FAULT_FAIL, 2, false, Q_ERR_IO, "write", false),
    SAVE("P08_save_write_happens_and_is_denied", Q_FAULT_WRITE, Q_FAULT_DENY, 2, false, Q_ERR_IO, "write", false),
    SAVE("P09_save_sync_fails_once", Q_FAULT_SYNC, Q_FAULT_FAIL, 1, false, Q_ERR_IO, "write", false),
    SAVE("P10_save_close_fails", Q_FAULT_CLOSE, Q_FAULT_FAIL, 1, false, Q_ERR_IO, "write", false),
    SAVE("P11_save_replace_fails", Q_FAULT_REPLACE, Q_FAULT_FAIL, 1, false, Q_ERR_IO, "write", false),
    SAVE("P12_save_replace_happens_and_is_denied", Q_FAULT_REPLACE, Q_FAULT_DENY, 1, false, Q_ERR_IO, "write", true),
    SAVE("P13_save_directory_cannot_be_flushed", Q_FAULT_OPS, 0, 1, false, Q_OK, "", true),
    SAVE("P14_save_leftover_cannot_be_removed", Q_FAULT_REMOVE, Q_FAULT_FAIL, 1, true, Q_ERR_IO, "open", false),
};

/* ---- Running them ------------------------------------------------------------------------------------------- */

typedef struct fault_run {
    rig *r;
    memory_port files;
    q_port inner;
    q_fault_port faults;
    uint8_t *work;
    uint8_t old[64];
} fault_run;

static const char kept[] = "kept";
static const char temporary[] = "kept" Q_SNAPSHOT_TEMP;
static const uint8_t model_hash[Q_SNAPSHOT_HASH] = {7};

static void fault_ports(fault_run *f)
{
    f->inner = memory_files(&f->files);
    q_fault_init(&f->faults, &f->inner);
}

static q_error_code fault_save(fault_run *f, const q_port *port)
{
    q_block work = {f->work, Q_SNAPSHOT_WORK};
    q_snapshot_info info = {f->r->args.ids, 0, 0, 99, 0, 0};
    info.n_ids = q_session_position(f->r->session);
    return q_snapshot_save(f->r->session, port, kept, model_hash, &info, work, &f->r->diag);
}

static q_error_code fault_load(fault_run *f, const q_port *port)
{
    int32_t ids[RIG_KV];
    q_block work = {f->work, Q_SNAPSHOT_WORK};
    q_snapshot_info info = {ids, RIG_KV, 0, 0, 0, 0};
    return q_snapshot_load(f->r->session, port, kept, model_hash, &info, work, &f->r->diag);
}

/* A file of other bytes under the name; a leftover of another attempt beside it. */
static void fault_old_file(fault_run *f, bool leftover)
{
    q_port_file file = 0;
    bool good = true;
    (void)(f->inner.file_remove(&f->files, kept) == Q_OK);
    (void)(f->inner.file_remove(&f->files, temporary) == Q_OK);
    good = f->inner.file_open(&f->files, kept, Q_OPEN_CREATE_NEW, &file) == Q_OK;
    good = good && f->inner.file_write_at(&f->files, file, 0, f->old, sizeof(f->old)) == Q_OK;
    good = good && (!leftover || f->inner.file_open(&f->files, temporary, Q_OPEN_CREATE_NEW, &file) == Q_OK);
    if (!good) {
        rig_report(f->r, false, "P01_files_in_memory", Q_ERR_IO, NULL);
    }
}

static bool fault_saved(fault_run *f, const fault_case *c, q_error_code *e)
{
    uint32_t i;
    bool good;
    bool is_new;
    fault_old_file(f, c->op == Q_FAULT_REMOVE);
    f->files.replace_unsure = c->op == Q_FAULT_OPS;
    *e = fault_save(f, &f->faults.port);
    f->files.replace_unsure = false;
    i = memory_find(&f->files, kept);
    is_new = i != MEMORY_FILES && f->files.file[i].size > sizeof(f->old);
    good = *e == c->code && i != MEMORY_FILES && is_new == c->replaced;
    good = good && (is_new || memcmp(f->files.file[i].bytes, f->old, sizeof(f->old)) == 0);
    return good && q_session_position(f->r->session) == 20 && fault_save(f, &f->inner) == Q_OK;
}

static bool fault_loaded(fault_run *f, const fault_case *c, q_error_code *e)
{
    uint32_t expected = c->code == Q_OK ? 20 : c->reset ? 0 : 3;
    bool good = q_session_rewind(f->r->session, 3, NULL) == Q_OK;
    *e = fault_load(f, &f->faults.port);
    good = good && *e == c->code && q_session_position(f->r->session) == expected;
    return good && fault_load(f, &f->inner) == Q_OK && q_session_position(f->r->session) == 20;
}

static void fault_one(fault_run *f, const fault_case *c)
{
    static const char none[] = "";
    q_error_code e = Q_OK;
    q_diag seen;
    bool good;
    q_fault_repower(&f->faults);
    memset(&f->r->diag, 0, sizeof(f->r->diag));
    good = c->op == Q_FAULT_OPS ||
           q_fault_add(&f->faults, Q_FAULT_AT(c->op), (q_fault_kind)c->kind, c->at, c->forever);
    good = (c->saves ? fault_saved(f, c, &e) : fault_loaded(f, c, &e)) && good;
    good = good && f->faults.opened == 0;
    good = good && (c->op == Q_FAULT_OPS || c->at == UINT64_MAX || q_fault_fired(&f->faults) != 0);
    seen = f->r->diag;
    for (size_t i = 0; e != Q_OK; i++) {
        if (c->field[i] != seen.field[i]) {
            good = false;
        }
        if (c->field[i] == none[0] || seen.field[i] == none[0]) {
            break;
        }
    }
    rig_report(f->r, good, c->id, e, &seen);
}

/* From a callback, half way through a step: neither saved nor loaded. */
typedef struct busy_files {
    fault_run *f;
    q_error_code saved;
    q_error_code loaded;
} busy_files;

static q_error_code rows_that_save(void *user, uint32_t first, uint32_t n, const q_tensor *rows)
{
    busy_files *b = (busy_files *)user;
    (void)first;
    (void)n;
    (void)rows;
    b->saved = fault_save(b->f, &b->f->inner);
    b->loaded = fault_load(b->f, &b->f->inner);
    return Q_OK;
}

static void check_busy(fault_run *f)
{
    busy_files b = {f, Q_OK, Q_OK};
    q_step step;
    q_error_code e = q_session_rewind(f->r->session, 3, NULL);
    memset(&step, 0, sizeof(step));
    step.n_tokens = 2;
    step.inputs = f->r->args.inputs;
    step.select = Q_SELECT_ALL;
    step.rows = rows_that_save;
    step.rows_user = &b;
    e = e == Q_OK ? q_model_forward(f->r->session, &step, &f->r->diag) : e;
    rig_report(f->r, e == Q_OK && b.saved == Q_ERR_INVALID_STATE, "X06_save_while_stepping", b.saved, NULL);
    rig_report(f->r, e == Q_OK && b.loaded == Q_ERR_INVALID_STATE && q_session_position(f->r->session) == 5,
               "X06_load_while_stepping", b.loaded, NULL);
}

void rig_faults(rig *r)
{
    fault_run *f = (fault_run *)rig_take(r, sizeof(*f));
    q_error_code e;
    bool good = f != NULL;
    if (good) {
        memset(f, 0, sizeof(*f));
        f->r = r;
        f->work = (uint8_t *)rig_take(r, Q_SNAPSHOT_WORK);
        for (uint32_t i = 0; i < MEMORY_FILES; i++) {
            f->files.file[i].bytes = (uint8_t *)rig_take(r, MEMORY_ROOM);
        }
        good = f->files.file[MEMORY_FILES - 1].bytes != NULL;
    }
    if (!good) {
        rig_report(r, false, "P01_memory_for_files", Q_ERR_NO_SPACE, NULL);
        return;
    }
    fault_ports(f);
    (void)rig_hash(r, r->session, 20, &e);
    if (e != Q_OK || fault_save(f, &f->inner) != Q_OK) {
        rig_report(r, false, "P01_snapshot_in_memory", e, &r->diag);
        return;
    }
    for (size_t i = 0; i < sizeof(fault_cases) / sizeof(fault_cases[0]); i++) {
        fault_one(f, &fault_cases[i]);
    }
    check_busy(f);
}
