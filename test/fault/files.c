/* SPDX-License-Identifier: MIT */
/* Faults in files: opening a model by mapping and by reading, saving and loading a conversation, starting up. */
#define _POSIX_C_SOURCE 200809L
#include "fault_suite.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qorus/snapshot.h"

static char own[256];  /* a copy of the model, which tests may change */
static char saved[256];

static void copy_file(const char *from, const char *to)
{
    static uint8_t bytes[1 << 20];
    FILE *in = fopen(from, "rb");
    FILE *out = fopen(to, "wb");
    size_t n = in != NULL ? fread(bytes, 1, sizeof(bytes), in) : 0;
    CHECK(out != NULL && n != 0 && fwrite(bytes, 1, n, out) == n && fclose(out) == 0 && fclose(in) == 0);
}

/* ---- Opening a model ---------------------------------------------------------------------------------------- */

typedef struct opening {
    q_posix posix;
    q_port inner;
    q_fault_port faults;
    bool read;
    uint32_t fell_back;
    uint32_t refused;
} opening;

static q_error_code get_model(opening *o, q_posix_model *m, q_diag *d)
{
    memset(d, 0, sizeof(*d));
    return o->read ? q_posix_read_model(&o->posix, suite_model, m, d)
                   : q_posix_open_model(&o->posix, suite_model, NULL, m, d);
}

/* What came of one fault: the model, or a code with its words and nothing left open. */
static void judge_model(opening *o, const suite_fault *fault)
{
    q_posix_model m;
    q_posix_model before;
    q_diag d;
    q_file file;
    q_error_code e;
    memset(&m, 0xA5, sizeof(m));
    before = m;
    e = get_model(o, &m, &d);
    CHECK_EQ(o->faults.opened, 0);
    if (e != Q_OK) {
        CHECK(e == Q_ERR_IO || e == Q_ERR_INTERRUPTED);
        CHECK(d.code == e && d.what[0] != '\0' && d.field[0] != '\0');
        CHECK(memcmp(&m, &before, sizeof(m)) == 0);
        o->refused++;
    } else {
        bool lied = fault->kind == Q_FAULT_SHORT || fault->kind == Q_FAULT_SILENT;
        e = q_file_open(&file, m.base, m.size, NULL, 0, &d);
        CHECK(e == Q_OK || (lied && (e == Q_ERR_TRUNCATED || e == Q_ERR_NOT_QORUS)));
        o->fell_back += !o->read && m.read ? 1u : 0u;
        q_posix_close_model(&o->posix, &m);
    }
    CHECK_EQ(o->faults.mapped, 0);
}

static uint64_t visit_opening(void *arg, const suite_fault *fault)
{
    opening *o = (opening *)arg;
    q_posix_model m;
    q_diag d;
    uint64_t fired;
    q_fault_init(&o->faults, &o->inner);
    o->posix.port = o->faults.port;
    CHECK(q_fault_add(&o->faults, fault->ops, fault->kind, fault->at, fault->forever));
    judge_model(o, fault);
    fired = q_fault_fired(&o->faults);
    q_fault_repower(&o->faults);
    CHECK_EQ(get_model(o, &m, &d), Q_OK);
    q_posix_close_model(&o->posix, &m);
    CHECK(o->faults.opened == 0 && o->faults.mapped == 0);
    return fired;
}

static void open_with_faults(bool read)
{
    static opening o;
    q_diag d;
    memset(&o, 0, sizeof(o));
    o.read = read;
    CHECK_EQ(q_posix_init(&o.posix, 1, &d), Q_OK);
    o.inner = o.posix.port;
    suite_walk(Q_FAULT_FILES | Q_FAULT_AT(Q_FAULT_MAP), UINT64_MAX, visit_opening, &o);
    CHECK(o.refused != 0 && (read || o.fell_back != 0));
    q_posix_close(&o.posix);
}

static void p01_p05_model_mapped_with_every_fault(void)
{
    open_with_faults(false);
}

static void p01_p05_model_read_with_every_fault(void)
{
    open_with_faults(true);
}

/* The file becomes longer or shorter once its size is known. */
typedef struct resize {
    off_t to;
    bool done;
} resize;

static void resize_after_size(void *arg, const q_fault_event *e)
{
    resize *r = (resize *)arg;
    if (e->op == Q_FAULT_SIZE && !r->done) {
        r->done = true;
        CHECK_EQ(truncate(own, r->to), 0);
    }
}

static q_error_code read_resized(q_posix *p, off_t change, q_diag *d)
{
    q_fault_port f;
    q_port inner = p->port;
    q_posix_model m;
    struct stat st;
    resize r;
    q_error_code e;
    copy_file(suite_model, own);
    CHECK_EQ(stat(own, &st), 0);
    r.to = st.st_size + change;
    r.done = false;
    q_fault_init(&f, &inner);
    f.record = resize_after_size;
    f.record_arg = &r;
    p->port = f.port;
    e = q_posix_read_model(p, own, &m, d);
    if (e == Q_OK) {
        q_file file;
        CHECK_EQ(m.size, st.st_size);
        CHECK_EQ(q_file_open(&file, m.base, m.size, NULL, 0, NULL), Q_OK);
        q_posix_close_model(p, &m);
    }
    CHECK(r.done && f.opened == 0);
    p->port = inner;
    return e;
}

static void p05_size_changes_between_size_and_read(void)
{
    static q_posix posix;
    q_diag d;
    CHECK_EQ(q_posix_init(&posix, 1, &d), Q_OK);
    CHECK_EQ(read_resized(&posix, 4096, &d), Q_OK);
    CHECK_EQ(read_resized(&posix, -1, &d), Q_ERR_IO);
    CHECK(strcmp(d.field, "end of file") == 0);
    CHECK_EQ(read_resized(&posix, -4096, &d), Q_ERR_IO);
    q_posix_close(&posix);
}

/* ---- A conversation saved and loaded ------------------------------------------------------------------------ */

static int32_t history_ids[256];
static uint8_t snapshot_work[Q_SNAPSHOT_WORK];

typedef struct keeping {
    suite_chat *chat;
    char expected[256]; /* what the conversation says next */
    char before[256];   /* what it says next after one turn less */
    uint32_t failures;
    uint32_t resets;
} keeping;

static q_error_code save_chat(suite_chat *c, q_diag *d)
{
    q_snapshot_info info;
    const q_block work = {snapshot_work, sizeof(snapshot_work)};
    const int32_t *ids;
    memset(&info, 0, sizeof(info));
    memset(d, 0, sizeof(*d));
    ids = q_generator_history(c->generator, &info.n_ids);
    memcpy(history_ids, ids, info.n_ids * sizeof(*ids));
    info.ids = history_ids;
    info.counter = q_generator_counter(c->generator);
    return q_snapshot_save(c->h.engine.session, c->h.port, saved, q_file_get_header(&c->h.engine.file)->tables_sha256,
                           &info, work, d);
}

static q_error_code load_chat(suite_chat *c, q_diag *d)
{
    q_snapshot_info info = {history_ids, 256, 0, 0, 0, 0};
    const q_block work = {snapshot_work, sizeof(snapshot_work)};
    q_error_code e;
    memset(d, 0, sizeof(*d));
    e = q_snapshot_load(c->h.engine.session, c->h.port, saved, q_file_get_header(&c->h.engine.file)->tables_sha256,
                        &info, work, d);
    if (e == Q_OK) {
        e = q_generator_restore(c->generator, history_ids, info.n_ids, d);
        q_generator_set_counter(c->generator, info.counter);
    }
    return e;
}

/* Goes on from where the generator stands, then puts it back there. */
static void goes_on_as(suite_chat *c, const char *expected)
{
    uint32_t n = 0;
    uint64_t counter = q_generator_counter(c->generator);
    (void)q_generator_history(c->generator, &n);
    CHECK_EQ(suite_talk(c), Q_OK);
    CHECK(strcmp(c->made, expected) == 0);
    CHECK_EQ(q_generator_rewind(c->generator, n, NULL), Q_OK);
    q_generator_set_counter(c->generator, counter);
}

static uint64_t visit_saving(void *arg, const suite_fault *fault)
{
    keeping *k = (keeping *)arg;
    suite_chat *c = k->chat;
    q_diag d;
    q_error_code e;
    uint64_t fired;
    q_fault_repower(&c->faults);
    CHECK(q_fault_add(&c->faults, fault->ops, fault->kind, fault->at, fault->forever));
    e = save_chat(c, &d);
    fired = q_fault_fired(&c->faults);
    k->failures += e != Q_OK ? 1u : 0u;
    CHECK(e == Q_OK || ((e == Q_ERR_IO || e == Q_ERR_INTERRUPTED) && d.code == e && d.field[0] != '\0'));
    q_fault_repower(&c->faults);
    CHECK_EQ(c->faults.opened, 0);
    goes_on_as(c, k->expected);
    CHECK_EQ(save_chat(c, &d), Q_OK);
    CHECK_EQ(load_chat(c, &d), Q_OK);
    return fired;
}

/* Loads a conversation over another one: it becomes the loaded one, stays what it was, or begins anew. */
static uint64_t visit_loading(void *arg, const suite_fault *fault)
{
    keeping *k = (keeping *)arg;
    suite_chat *c = k->chat;
    q_diag d;
    q_error_code e;
    uint64_t fired;
    q_fault_repower(&c->faults);
    CHECK_EQ(q_generator_rewind(c->generator, 0, &d), Q_OK);
    q_generator_set_counter(c->generator, 0);
    CHECK(q_fault_add(&c->faults, fault->ops, fault->kind, fault->at, fault->forever));
    e = load_chat(c, &d);
    fired = q_fault_fired(&c->faults);
    q_fault_repower(&c->faults);
    CHECK_EQ(c->faults.opened, 0);
    if (e == Q_OK) {
        goes_on_as(c, k->expected);
        return fired;
    }
    k->failures++;
    k->resets += strcmp(d.field, "session reset") == 0 ? 1u : 0u;
    CHECK(d.code == e && d.what[0] != '\0' && d.field[0] != '\0');
    CHECK_EQ(q_session_position(c->h.engine.session), 0);
    goes_on_as(c, k->before);
    return fired;
}

static void keep_with_faults(bool saves)
{
    static suite_chat c;
    static keeping k;
    q_diag d;
    memset(&k, 0, sizeof(k));
    k.chat = &c;
    suite_start(&c, 1);
    CHECK(suite_open(&c, suite_model, false));
    CHECK_EQ(suite_talk(&c), Q_OK);
    memcpy(k.before, c.made, sizeof(k.before));
    {
        uint32_t n = 0;
        uint64_t counter = q_generator_counter(c.generator);
        CHECK_EQ(save_chat(&c, &d), Q_OK);
        CHECK_EQ(load_chat(&c, &d), Q_OK);
        (void)q_generator_history(c.generator, &n);
        CHECK_EQ(suite_talk(&c), Q_OK);
        memcpy(k.expected, c.made, sizeof(k.expected));
        CHECK_EQ(q_generator_rewind(c.generator, n, &d), Q_OK);
        q_generator_set_counter(c.generator, counter);
    }
    suite_walk(Q_FAULT_FILES, 40, saves ? visit_saving : visit_loading, &k);
    CHECK(k.failures != 0 && strcmp(k.before, k.expected) != 0 && (saves || k.resets > 5));
    (void)unlink(saved);
    suite_stop(&c);
}

static void p06_p12_conversation_saved_with_every_fault(void)
{
    keep_with_faults(true);
}

static void p01_p05_conversation_loaded_with_every_fault(void)
{
    keep_with_faults(false);
}

/* An interrupted call did nothing: it is made again, and the conversation neither fails nor begins anew. */
static void p03_interrupted_calls_are_made_again(void)
{
    static suite_chat c;
    q_diag d;
    suite_start(&c, 1);
    CHECK(suite_open(&c, suite_model, false));
    CHECK_EQ(suite_talk(&c), Q_OK);
    for (uint64_t at = 1; at <= 12; at++) {
        q_fault_repower(&c.faults);
        CHECK(q_fault_add(&c.faults, Q_FAULT_FILES, Q_FAULT_INTERRUPT, at, false));
        CHECK_EQ(save_chat(&c, &d), Q_OK);
        q_fault_repower(&c.faults);
        CHECK(q_fault_add(&c.faults, Q_FAULT_FILES, Q_FAULT_INTERRUPT, at, false));
        CHECK_EQ(load_chat(&c, &d), Q_OK);
        CHECK_EQ(c.faults.opened, 0);
    }
    q_fault_repower(&c.faults);
    (void)unlink(saved);
    suite_stop(&c);
}

/* ---- Starting run and chat ---------------------------------------------------------------------------------- */

typedef struct starting {
    bool chat;
    bool no_mmap;
    bool pin;
    char expected[256];
    uint32_t refused;
} starting;

static uint64_t visit_start(void *arg, const suite_fault *fault)
{
    static suite_chat c;
    starting *s = (starting *)arg;
    uint64_t fired;
    suite_start(&c, SUITE_WORKERS);
    c.o.no_mmap = s->no_mmap;
    c.o.pin = s->pin;
    if (fault != NULL) {
        CHECK(q_fault_add(&c.faults, fault->ops, fault->kind, fault->at, fault->forever));
    }
    if (suite_open(&c, suite_model, s->chat)) {
        CHECK_EQ(suite_talk(&c), Q_OK);
        if (fault == NULL) {
            memcpy(s->expected, c.made, sizeof(s->expected));
        }
        CHECK(strcmp(c.made, s->expected) == 0);
    } else {
        s->refused++;
        CHECK(c.h.diag.code != Q_OK && c.h.diag.what[0] != '\0' && c.h.diag.field[0] != '\0');
    }
    fired = q_fault_fired(&c.faults);
    suite_stop(&c);
    return fired;
}

static void start_with_faults(bool chat, bool no_mmap, bool pin)
{
    static starting s;
    memset(&s, 0, sizeof(s));
    s.chat = chat;
    s.no_mmap = no_mmap;
    s.pin = pin;
    (void)visit_start(&s, NULL);
    CHECK(s.expected[0] != '\0');
    suite_walk(Q_FAULT_ALL & ~(Q_FAULT_AT(Q_FAULT_PARALLEL) | Q_FAULT_AT(Q_FAULT_WAIT) | Q_FAULT_AT(Q_FAULT_WAKE)), 12,
               visit_start, &s);
    CHECK(s.refused != 0);
}

static void p01_p26_run_started_with_every_fault(void)
{
    start_with_faults(false, false, true);
}

static void p01_p26_run_without_mmap_started_with_every_fault(void)
{
    start_with_faults(false, true, false);
}

static void p01_p26_chat_started_with_every_fault(void)
{
    start_with_faults(true, false, true);
}

void suite_files(void)
{
    const char *dir = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(own, sizeof(own), "%s/qorus-fault-%ld.qorus", dir, (long)getpid());
    (void)snprintf(saved, sizeof(saved), "%s/qorus-fault-%ld.kept", dir, (long)getpid());
    RUN(p01_p05_model_mapped_with_every_fault);
    RUN(p01_p05_model_read_with_every_fault);
    RUN(p05_size_changes_between_size_and_read);
    RUN(p06_p12_conversation_saved_with_every_fault);
    RUN(p01_p05_conversation_loaded_with_every_fault);
    RUN(p03_interrupted_calls_are_made_again);
    RUN(p01_p26_run_started_with_every_fault);
    RUN(p01_p26_run_without_mmap_started_with_every_fault);
    RUN(p01_p26_chat_started_with_every_fault);
    (void)unlink(own);
    (void)unlink(saved);
}
