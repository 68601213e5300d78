/* SPDX-License-Identifier: MIT */
/* A training that saves itself. Needs no libc. */
#include "durable.h"

#include "qorus/base/mem.h"
#include "qorus/base/text.h"
#include "../../tools/common/backends.h"

enum { LINE = 200 };

static uint8_t work_bytes[Q_CHECKPOINT_WORK];
static const q_block work = {work_bytes, sizeof(work_bytes)};

/* ---- Lines ------------------------------------------------------------------------------------------------ */

/* "WORD SEQUENCE STEP HASH" of a training as it is; a sequence of 0 is left out. */
static void say_state(const char *word, const bench *b, uint64_t sequence)
{
    char hex[2 * Q_SHA256_BYTES + 1];
    char line[LINE];
    q_text t;
    session_hash(b->session, hex);
    q_text_init(&t, line, sizeof(line));
    q_text_str(&t, word);
    if (sequence != 0) {
        q_text_u64(&t, sequence, 0);
        q_text_str(&t, " ");
    }
    q_text_u64(&t, q_trainer_steps(b->trainer), 0);
    q_text_str(&t, " ");
    q_text_str(&t, hex);
    durable_say(line);
}

/* "WORD none" or "WORD error CODE". */
static void say_none(const char *word, q_error_code e)
{
    char line[LINE];
    q_text t;
    q_text_init(&t, line, sizeof(line));
    q_text_str(&t, word);
    q_text_str(&t, e == Q_ERR_NOT_FOUND ? "none" : "error ");
    if (e != Q_ERR_NOT_FOUND) {
        q_text_i64(&t, e, 0);
    }
    durable_say(line);
}

static void say_call(const q_fault_event *e)
{
    char line[LINE];
    q_text t;
    q_text_init(&t, line, sizeof(line));
    q_text_str(&t, e->op == Q_FAULT_WRITE ? "write" : e->op == Q_FAULT_READ ? "read" : "sync");
    if (e->op != Q_FAULT_SYNC) {
        q_text_str(&t, " ");
        q_text_u64(&t, e->offset, 0);
        q_text_str(&t, " ");
        q_text_u64(&t, e->n, 0);
    }
    durable_say(line);
}

/* ---- Calls ------------------------------------------------------------------------------------------------ */

typedef struct listener {
    uint64_t calls;
    uint64_t hold;
} listener;

/* Hears every call of the port that has ended. */
static void heard(void *arg, const q_fault_event *e)
{
    listener *l = (listener *)arg;
    if (e->op != Q_FAULT_WRITE && e->op != Q_FAULT_READ && e->op != Q_FAULT_SYNC) {
        return;
    }
    say_call(e);
    if (++l->calls == l->hold) {
        for (;;) {
        }
    }
}

/* ---- Slots ------------------------------------------------------------------------------------------------ */

/* The two slots; ends the program if it cannot be opened. */
static q_checkpoint_place place_of(const char *path, q_open_mode mode)
{
    const q_port *port = host_port();
    q_checkpoint_place place;
    memset(&place, 0, sizeof(place));
    place.struct_size = sizeof(place);
    place.port = port;
    place.slot_bytes = DURABLE_SLOT;
    if (port->file_open(port->user, path, mode, &place.file) != Q_OK) {
        host_fail(path, "cannot be opened", 1, 0);
    }
    return place;
}

static void place_close(const q_checkpoint_place *place)
{
    const q_port *port = host_port();
    if (port->file_close(port->user, place->file) != Q_OK) {
        host_fail("file", "cannot be closed", 1, 0);
    }
}

static q_checkpoint of_training(const bench *b)
{
    q_checkpoint c;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.trainer = b->trainer;
    return c;
}

/* A line of what there is, "none" or the error. */
static q_error_code load(const char *word, q_checkpoint_place *place, const bench *b)
{
    q_checkpoint c = of_training(b);
    q_checkpoint_info info;
    q_diag d;
    const q_error_code e = q_checkpoint_load(place, &c, &info, work, &d);
    if (e == Q_OK) {
        say_state(word, b, info.sequence);
    } else {
        say_none(word, e);
    }
    return e;
}

static q_error_code save(q_checkpoint_place *place, const q_port *heard_port, const bench *b)
{
    const q_checkpoint c = of_training(b);
    q_checkpoint_info info;
    q_diag d;
    place->port = heard_port;
    q_error_code e = q_checkpoint_save(place, &c, work, &d);
    place->port = host_port();
    e = e == Q_OK ? q_checkpoint_look(place, &info, NULL, 0, work, &d) : e;
    if (e == Q_OK) {
        say_state("saved ", b, info.sequence);
    } else {
        say_none("failed ", e);
    }
    return e;
}

/* ---- Training --------------------------------------------------------------------------------------------- */

/* Steps and saves from where it stands. */
static q_error_code go_on(const durable_options *o, bench *b, q_checkpoint_place *place)
{
    listener l = {0, o->hold};
    q_fault_port port;
    q_error_code e = Q_OK;
    q_fault_init(&port, host_port());
    port.record = heard;
    port.record_arg = &l;
    for (uint32_t i = 0; i < o->n_lost; i++) {
        (void)q_fault_add(&port, Q_FAULT_AT(Q_FAULT_SYNC), Q_FAULT_SILENT, o->lost[i], false);
    }
    for (uint32_t step = (uint32_t)q_trainer_steps(b->trainer); step < o->steps && e == Q_OK; step++) {
        (void)bench_step(b, step);
        if ((step + 1) % o->every == 0) {
            e = save(place, &port.port, b);
        }
    }
    return e;
}

int durable_train(const durable_options *o, const trajectory *t)
{
    q_checkpoint_place place = place_of(o->path, Q_OPEN_READ_WRITE);
    q_error_code e;
    bench b;
    durable_open(&b, o->network, t);
    e = load("start ", &place, &b);
    if (e == Q_OK || e == Q_ERR_NOT_FOUND) {
        e = go_on(o, &b, &place);
    }
    if (e == Q_OK) {
        say_state("end ", &b, 0);
    }
    bench_close(&b);
    place_close(&place);
    return e == Q_OK ? 0 : 1;
}

void durable_open(bench *b, const char *network_name, const trajectory *t)
{
    for (uint32_t i = 0; network_at(i) != NULL; i++) {
        if (backend_is(network_at(i)->name, network_name)) {
            const bench_options plain = {NULL, 1, 0, 0};
            bench_open(b, network_at(i), t, network_at(i)->hashed, &plain);
            return;
        }
    }
    host_fail(network_name, "is no network", 1, 0);
}

void durable_look(const char *path, const bench *b)
{
    q_checkpoint_place place = place_of(path, Q_OPEN_READ);
    (void)load("", &place, b);
    place_close(&place);
}

/* ---- Words ------------------------------------------------------------------------------------------------ */

/* The number behind `name`, and nothing behind that. */
static bool number(const char *word, const char *name, uint64_t *value)
{
    while (*name != '\0' && *name == *word) {
        name++;
        word++;
    }
    if (*name != '\0' || *word == '\0') {
        return false;
    }
    *value = 0;
    while (*word >= '0' && *word <= '9' && *value < UINT32_MAX) {
        *value = *value * 10 + (uint64_t)(*word++ - '0');
    }
    return *word == '\0';
}

bool durable_read(durable_options *o, const char *const *words, uint32_t n)
{
    uint64_t steps = 0;
    uint64_t every = 0;
    memset(o, 0, sizeof(*o));
    if (n < 3 || !number(words[1], "", &steps) || !number(words[2], "", &every) || every == 0) {
        return false;
    }
    o->network = words[0];
    o->steps = (uint32_t)steps;
    o->every = (uint32_t)every;
    for (uint32_t i = 3; i < n; i++) {
        uint64_t value = 0;
        if (number(words[i], "hold=", &value)) {
            o->hold = value;
        } else if (number(words[i], "lost=", &value) && o->n_lost < Q_FAULT_RULES) {
            o->lost[o->n_lost++] = value;
        } else {
            return false;
        }
    }
    return true;
}
