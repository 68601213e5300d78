/* SPDX-License-Identifier: MIT */
/*
 * Checkpoints whose saves are cut, torn, lost or led astray, whose files are cut or changed, and trainings that go on behind
 * them. Whatever happens, the checkpoint before or the new one is loaded, and the step after it is that of a training that was
 * never stopped. The same with files and with slots, with and without an operating system.
 */
#include "memory_files.h"
#include "rig_training.h"

#include "../port/fault_port.h"

#include "qorus/base/mem.h"
#include "qorus/checkpoint.h"

enum { SLOT = 4096, SECTOR = 512, BEFORE = 2 /* steps of the newest checkpoint that stands */, STEPS = 5, MOST_CALLS = 64 };

#define PATH "t"

typedef struct save_calls {
    uint32_t n;
    struct {
        uint32_t op;
        uint64_t offset;
        size_t bytes;
    } call[MOST_CALLS];
} save_calls;

typedef struct saves {
    memory_port now; /* first: calls of its port find the rest */
    rig *r;
    training t;
    uint8_t *mark; /* the rig's memory before the training */
    size_t mark_size;
    bool named;    /* files, not slots */
    memory_port stands; /* checkpoints after BEFORE - 1 and BEFORE steps */
    q_port port;        /* of what there is now */
    q_fault_port faults;
    q_block work;
    uint64_t hash[STEPS + 2]; /* after so many steps */
    save_calls calls;         /* of a save that nothing disturbs */
    uint32_t stray_at;        /* this write lands a sector further on */
    uint32_t writes;
    training other;           /* a second writer, two steps ahead, who saves at call other_at of the first */
    q_block other_work;
    uint64_t other_at;
} saves;

/* ---- Trainings ---------------------------------------------------------------------------------------------- */

static q_error_code advance(saves *s)
{
    q_error_code e = q_trainer_backward(s->t.trainer, &s->t.step, NULL, &s->r->diag);
    return e == Q_OK ? q_trainer_update(s->t.trainer, NULL, &s->r->diag) : e;
}

/* A training after `steps` steps, in the place of the one before. */
static q_error_code training_at(saves *s, uint32_t steps)
{
    const q_train_config config = training_config(&q_optimizer_adam);
    q_error_code e;
    s->r->memory = s->mark;
    s->r->memory_size = s->mark_size;
    e = training_open(&s->t, s->r, &config);
    for (uint32_t i = 0; i < steps && e == Q_OK; i++) {
        e = advance(s);
    }
    return e;
}

static q_checkpoint_place place_on(const saves *s, const q_port *port)
{
    q_checkpoint_place p;
    memset(&p, 0, sizeof(p));
    p.struct_size = sizeof(p);
    p.port = port;
    p.path = s->named ? PATH : NULL;
    p.slot_bytes = s->named ? 0 : SLOT; /* file 0 */
    return p;
}

static q_checkpoint checkpoint_of(const saves *s)
{
    q_checkpoint c;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.trainer = s->t.trainer;
    return c;
}

static q_error_code save(saves *s, const q_port *port)
{
    q_checkpoint_place p = place_on(s, port);
    const q_checkpoint c = checkpoint_of(s);
    return q_checkpoint_save(&p, &c, s->work, &s->r->diag);
}

/* Into a fresh training. */
static q_error_code load(saves *s)
{
    q_checkpoint_place p = place_on(s, &s->port);
    q_error_code e = training_at(s, 0);
    q_checkpoint c = checkpoint_of(s);
    return e == Q_OK ? q_checkpoint_load(&p, &c, NULL, s->work, &s->r->diag) : e;
}

/* Which step was loaded, bit for bit, with the step after it right too; STEPS: neither. */
static uint32_t loaded(saves *s)
{
    uint64_t step;
    if (load(s) != Q_OK) {
        return STEPS;
    }
    step = q_trainer_steps(s->t.trainer);
    return step < STEPS && training_hash(&s->t) == s->hash[step] && advance(s) == Q_OK &&
                   training_hash(&s->t) == s->hash[step + 1]
               ? (uint32_t)step
               : STEPS;
}

/* ---- Media -------------------------------------------------------------------------------------------------- */

static void copy_files(memory_port *to, const memory_port *from)
{
    for (uint32_t i = 0; i < MEMORY_FILES; i++) {
        memcpy(to->file[i].name, from->file[i].name, MEMORY_NAME);
        memcpy(to->file[i].bytes, from->file[i].bytes, 2 * SLOT);
        to->file[i].size = from->file[i].size;
    }
}

/* As it stood; the training is one step further. */
static q_error_code begin(saves *s)
{
    copy_files(&s->now, &s->stands);
    q_fault_init(&s->faults, &s->port);
    s->writes = s->stray_at = 0;
    return training_at(s, BEFORE + 1);
}

static void remember(void *user, const q_fault_event *e)
{
    saves *s = (saves *)user;
    if (s->calls.n < MOST_CALLS) {
        s->calls.call[s->calls.n].op = e->op;
        s->calls.call[s->calls.n].offset = e->offset;
        s->calls.call[s->calls.n++].bytes = e->n;
    }
}

static q_error_code stray_write(void *user, q_port_file file, uint64_t offset, const void *from, size_t n)
{
    saves *s = (saves *)user;
    return memory_files(&s->now).file_write_at(&s->now, file, offset + (++s->writes == s->stray_at ? SECTOR : 0), from, n);
}

/* Blank files, then a checkpoint after each of BEFORE steps, and what one more does. */
static q_error_code open_media(saves *s, bool named)
{
    q_error_code e = Q_OK;
    s->named = named;
    for (uint32_t i = 0; i < MEMORY_FILES; i++) {
        s->now.file[i].name[0] = '\0';
        s->now.file[i].size = i == 0 && !named ? 2 * SLOT : 0;
        memset(s->now.file[i].bytes, 0, 2 * SLOT);
    }
    for (uint32_t step = 1; step <= BEFORE && e == Q_OK; step++) {
        e = training_at(s, step);
        e = e == Q_OK ? save(s, &s->port) : e;
    }
    copy_files(&s->stands, &s->now);
    e = e == Q_OK ? begin(s) : e;
    s->calls.n = 0;
    s->faults.record = remember;
    s->faults.record_arg = s;
    return e == Q_OK ? save(s, &s->faults.port) : e;
}

static bool saves_open(saves *s, rig *r)
{
    q_error_code e = Q_OK;
    memset(s, 0, sizeof(*s));
    s->r = r;
    s->work = (q_block){rig_take(r, Q_CHECKPOINT_WORK), Q_CHECKPOINT_WORK};
    s->other_work = (q_block){rig_take(r, Q_CHECKPOINT_WORK), Q_CHECKPOINT_WORK};
    s->port = memory_files(&s->now);
    for (uint32_t i = 0; i < MEMORY_FILES; i++) {
        s->now.file[i].bytes = (uint8_t *)rig_take(r, MEMORY_ROOM);
        s->stands.file[i].bytes = (uint8_t *)rig_take(r, MEMORY_ROOM);
    }
    s->mark = r->memory;
    s->mark_size = r->memory_size;
    if (s->work.base == NULL || s->stands.file[MEMORY_FILES - 1].bytes == NULL) {
        return false;
    }
    for (uint32_t step = 0; step < STEPS + 2 && e == Q_OK; step++) {
        e = training_at(s, step);
        s->hash[step] = training_hash(&s->t);
    }
    return e == Q_OK;
}

/* ---- P15 .. P18: a save that is disturbed ------------------------------------------------------------------- */

/* Saves under the rules of s->faults; false: what is loaded then is neither the one before nor the new one, or a save that
   ended well is not there. */
static bool survives(saves *s)
{
    const q_error_code e = save(s, &s->faults.port);
    uint32_t step;
    q_fault_repower(&s->faults);
    step = loaded(s);
    return step == BEFORE + 1 || (step == BEFORE && e != Q_OK);
}

/* The power goes at every call, with the first `keep` bytes of a write on the medium. */
static bool cut_everywhere(saves *s, size_t keep)
{
    bool good = true;
    for (uint32_t at = 1; good && at <= s->calls.n; at++) {
        good = begin(s) == Q_OK && q_fault_add(&s->faults, Q_FAULT_FILES, Q_FAULT_CUT, at, false);
        s->faults.keep = keep;
        good = good && survives(s);
    }
    return good;
}

/* Every write that was not flushed is lost, and the power goes before the flush, or with no power cut: then reading tells. */
static bool lose_each_write(saves *s, bool cut)
{
    bool good = true;
    uint32_t write = 0;
    uint32_t sync = 1;
    for (uint32_t i = 0; good && i < s->calls.n; i++) {
        sync += s->calls.call[i].op == Q_FAULT_SYNC ? 1u : 0u;
        if (s->calls.call[i].op == Q_FAULT_WRITE) {
            good = begin(s) == Q_OK && q_fault_add(&s->faults, Q_FAULT_AT(Q_FAULT_WRITE), Q_FAULT_SILENT, ++write, false) &&
                   (!cut || q_fault_add(&s->faults, Q_FAULT_AT(Q_FAULT_SYNC), Q_FAULT_CUT, sync, false));
            good = good && survives(s);
        }
    }
    return good && write != 0;
}

static bool stray_each_write(saves *s)
{
    bool good = true;
    uint32_t writes = 0;
    for (uint32_t i = 0; i < s->calls.n; i++) {
        writes += s->calls.call[i].op == Q_FAULT_WRITE ? 1u : 0u;
    }
    for (uint32_t at = 1; good && at <= writes; at++) {
        q_port stray = s->port;
        good = begin(s) == Q_OK;
        stray.file_write_at = stray_write;
        q_fault_init(&s->faults, &stray);
        s->stray_at = at;
        good = good && survives(s);
    }
    return good && writes != 0;
}

static void report(saves *s, bool good, const char *slots, const char *files)
{
    rig_report(s->r, good, s->named ? files : slots, Q_OK, NULL);
}

static void check_saves(saves *s)
{
    bool torn = true;
    report(s, cut_everywhere(s, SIZE_MAX), "P15_slots_power_cut_at_each_call", "P15_files_power_cut_at_each_call");
    for (size_t keep = 0; keep <= 2 * SECTOR; keep += SECTOR) {
        torn = torn && cut_everywhere(s, keep);
    }
    torn = torn && cut_everywhere(s, 1) && cut_everywhere(s, SECTOR - 1);
    report(s, torn, "P16_slots_writes_torn_at_each_sector", "P16_files_writes_torn_at_each_sector");
    report(s, lose_each_write(s, true), "P17_slots_each_write_overtaken_by_a_power_cut",
           "P17_files_each_write_overtaken_by_a_power_cut");
    report(s, lose_each_write(s, false), "P17_slots_each_write_lost", "P17_files_each_write_lost");
    report(s, stray_each_write(s), "P18_slots_each_write_a_sector_too_far", "P18_files_each_write_a_sector_too_far");
}

/* ---- C01, C02, C16 .. C19 ----------------------------------------------------------------------------------- */

/* Steps of the newest whole checkpoint; STEPS: none. */
static uint64_t newest(const saves *s)
{
    q_checkpoint_place p = place_on(s, &s->port);
    q_checkpoint_info info;
    q_diag d;
    return q_checkpoint_look(&p, &info, NULL, 0, s->work, &d) == Q_OK ? info.steps : STEPS;
}

/* The newer file, cut and changed at every byte: the one before. */
static void check_bytes(saves *s)
{
    bool cut = begin(s) == Q_OK;
    bool changed = cut;
    memory_file *f = &s->now.file[memory_find(&s->now, PATH)];
    const uint64_t size = f->size;
    uint64_t payload;
    memcpy(&payload, f->bytes + 24, sizeof(payload));
    for (f->size = 0; f->size < size; f->size++) {
        cut = cut && newest(s) == BEFORE - 1;
    }
    for (uint64_t n = 0; n < SECTOR + payload; n++) {
        f->bytes[n] ^= (uint8_t)(1u << n % 8);
        changed = changed && newest(s) == BEFORE - 1;
        f->bytes[n] ^= (uint8_t)(1u << n % 8);
    }
    rig_report(s->r, cut, "C01_cut_at_every_byte", Q_OK, NULL);
    rig_report(s->r, changed && newest(s) == BEFORE, "C02_a_bit_of_every_byte", Q_OK, NULL);
}

/* What stands at the names of the protocol. */
static void check_names(saves *s)
{
    static const struct {
        const char *id;
        q_fault_op op;
        const char *field;
    } cases[] = {{"C17_a_name_that_is_no_file", Q_FAULT_OPEN, "open"}, {"C17_a_medium_that_is_read_only", Q_FAULT_WRITE, "write"},
                 {"C17_a_directory_that_is_read_only", Q_FAULT_REPLACE, "rename"}};
    q_port_file file = 0;
    q_error_code e = begin(s);
    e = e == Q_OK ? s->port.file_open(&s->now, PATH Q_CHECKPOINT_TEMP, Q_OPEN_CREATE_NEW, &file) : e;
    e = e == Q_OK ? s->port.file_write_at(&s->now, file, 0, "left over", 9) : e;
    e = e == Q_OK ? save(s, &s->port) : e;
    rig_report(s->r, e == Q_OK && memory_find(&s->now, PATH Q_CHECKPOINT_TEMP) == MEMORY_FILES && loaded(s) == BEFORE + 1,
               "C16_a_temporary_file_left_over", e, &s->r->diag);
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        q_diag d;
        e = begin(s);
        (void)q_fault_add(&s->faults, Q_FAULT_AT(cases[i].op), Q_FAULT_FAIL, 1, true);
        e = e == Q_OK ? save(s, &s->faults.port) : e;
        d = s->r->diag;
        rig_report(s->r, e == Q_ERR_IO && rig_same_text(d.field, cases[i].field) && loaded(s) == BEFORE, cases[i].id, e, &d);
    }
}

static void save_of_other(void *user, const q_fault_event *e)
{
    saves *s = (saves *)user;
    if (e->index == s->other_at) {
        q_checkpoint_place p = place_on(s, &s->port);
        q_checkpoint c = checkpoint_of(s);
        q_diag d;
        q_error_code saved;
        c.trainer = s->other.trainer;
        saved = q_checkpoint_save(&p, &c, s->other_work, &d);
        (void)saved; /* whether or not: what is loaded is whole */
    }
}

static void check_two_writers(saves *s)
{
    const q_train_config config = training_config(&q_optimizer_adam);
    bool good = true;
    for (s->other_at = 1; good && s->other_at <= s->calls.n; s->other_at++) {
        q_error_code e = begin(s);
        uint32_t step;
        e = e == Q_OK ? training_open(&s->other, s->r, &config) : e;
        for (uint32_t i = 0; i <= BEFORE + 1 && e == Q_OK; i++) {
            e = q_trainer_backward(s->other.trainer, &s->other.step, NULL, &s->r->diag);
            e = e == Q_OK ? q_trainer_update(s->other.trainer, NULL, &s->r->diag) : e;
        }
        s->faults.record = save_of_other;
        s->faults.record_arg = s;
        good = e == Q_OK;
        e = save(s, &s->faults.port);
        step = loaded(s);
        good = good && (step == BEFORE + 1 || step == BEFORE + 2 || (step == BEFORE && e != Q_OK));
    }
    rig_report(s->r, good, "C18_two_writers", Q_OK, NULL);
}

/* Stopped after each step, gone on with to the end. */
static void check_going_on(saves *s)
{
    bool good = true;
    for (uint32_t step = 0; step < STEPS && good; step++) {
        good = training_at(s, step) == Q_OK && save(s, &s->port) == Q_OK && load(s) == Q_OK;
        for (uint32_t i = step; i < STEPS && good; i++) {
            good = advance(s) == Q_OK;
        }
        good = good && training_hash(&s->t) == s->hash[STEPS];
    }
    report(s, good, "C19_slots_gone_on_with_like_never_stopped", "C19_files_gone_on_with_like_never_stopped");
}

void rig_saves(rig *r)
{
    saves *s = (saves *)rig_take(r, sizeof(*s));
    bool good = s != NULL && saves_open(s, r);
    for (uint32_t named = 0; named < 2 && good; named++) {
        good = open_media(s, named != 0) == Q_OK;
        check_saves(s);
        check_going_on(s);
    }
    if (good) {
        check_bytes(s);
        check_names(s);
        check_two_writers(s);
    } else {
        rig_report(r, false, "rig_of_saves_is_built", Q_ERR_INVALID_STATE, &r->diag);
    }
}
