/* SPDX-License-Identifier: MIT */
/* fault_port.c: a port around a port that breaks chosen calls. */
#include "fault_port.h"

#include <stdatomic.h>

#include "../../include/qorus/base/mem.h"

/* Verdict on one call: `broken` false means that it passes through. */
typedef struct fault_verdict {
    bool broken;
    q_fault_kind kind;
} fault_verdict;

static uint64_t fault_count(uint64_t *counter)
{
    return atomic_fetch_add((_Atomic uint64_t *)counter, 1) + 1;
}

/* Every rule counts every call it concerns; the first that fires decides. */
static fault_verdict fault_judge(q_fault_port *f, q_fault_op op)
{
    fault_verdict v = { false, Q_FAULT_FAIL };
    (void)fault_count(&f->calls[op]);
    (void)fault_count(&f->total);
    for (uint32_t i = 0; i < f->n_rules; i++) {
        q_fault_rule *r = &f->rules[i];
        if ((r->ops & Q_FAULT_AT(op)) == 0) {
            continue;
        }
        uint64_t seen = fault_count(&r->seen);
        if (!v.broken && (seen == r->at || (r->forever && seen > r->at))) {
            (void)fault_count(&r->fired);
            v.broken = true;
            v.kind = r->kind;
        }
    }
    if (f->cut && op <= Q_FAULT_BLOCK_FACTS) {
        v.broken = true;
        v.kind = Q_FAULT_FAIL;
    }
    f->cut = f->cut || (v.broken && v.kind == Q_FAULT_CUT);
    return v;
}

static q_error_code fault_end(q_fault_port *f, q_fault_event *e, q_error_code result)
{
    e->index = f->total;
    e->result = result;
    if (f->record != NULL) {
        f->record(f->record_arg, e);
    }
    return result;
}

static q_fault_event fault_event(q_fault_op op, q_port_file file)
{
    q_fault_event e;
    memset(&e, 0, sizeof e);
    e.op = op;
    e.file = file;
    return e;
}

/* Result of a call that was broken so that nothing happened. */
static q_error_code fault_nothing(q_fault_kind kind)
{
    return kind == Q_FAULT_INTERRUPT ? Q_ERR_INTERRUPTED : Q_ERR_IO;
}

/* True if the inner port is to be called. */
static bool fault_happens(fault_verdict v)
{
    return !v.broken || v.kind == Q_FAULT_DENY;
}

/* Result of a call that reached the inner port. */
static q_error_code fault_after(fault_verdict v, q_fault_event *e, q_error_code rc)
{
    e->happened = rc == Q_OK;
    return v.broken && rc == Q_OK ? Q_ERR_IO : rc;
}

/* ---- Files ----------------------------------------------------------------------------------- */

static q_error_code fault_open(void *user, const char *path, q_open_mode mode, q_port_file *out)
{
    q_fault_port *f = (q_fault_port *)user;
    fault_verdict v = fault_judge(f, Q_FAULT_OPEN);
    q_fault_event e = fault_event(Q_FAULT_OPEN, 0);
    q_port_file file = 0;
    e.path = path;
    e.mode = mode;
    if (!fault_happens(v)) {
        return fault_end(f, &e, fault_nothing(v.kind));
    }
    q_error_code rc = f->inner->file_open(f->inner->user, path, mode, &file);
    if (v.broken && rc == Q_OK) {
        /* nobody else knows this descriptor */
        q_error_code ignored = f->inner->file_close(f->inner->user, file);
        (void)ignored;
    }
    rc = fault_after(v, &e, rc);
    if (rc == Q_OK) {
        *out = file;
        e.file = file;
        f->opened++;
    }
    return fault_end(f, &e, rc);
}

static q_error_code fault_size(void *user, q_port_file file, uint64_t *bytes)
{
    q_fault_port *f = (q_fault_port *)user;
    fault_verdict v = fault_judge(f, Q_FAULT_SIZE);
    q_fault_event e = fault_event(Q_FAULT_SIZE, file);
    bool lies = v.broken && v.kind == Q_FAULT_SHORT;
    uint64_t got = 0;
    if (!fault_happens(v) && !lies) {
        return fault_end(f, &e, fault_nothing(v.kind));
    }
    q_error_code rc = f->inner->file_size(f->inner->user, file, &got);
    if (lies) {
        got -= got != 0 ? 1u : 0u;
        e.happened = rc == Q_OK;
    } else {
        rc = fault_after(v, &e, rc);
    }
    if (rc == Q_OK) {
        *bytes = got;
    }
    return fault_end(f, &e, rc);
}

/* Bytes a broken read or write still moves. */
static size_t fault_part(const q_fault_port *f, fault_verdict v, size_t n)
{
    if (!v.broken || v.kind == Q_FAULT_DENY) {
        return n;
    }
    if (v.kind != Q_FAULT_SHORT && v.kind != Q_FAULT_CUT) {
        return 0;
    }
    size_t part = f->keep == SIZE_MAX ? n / 2 : f->keep;
    return part < n ? part : n;
}

static q_error_code fault_read_at(void *user, q_port_file file, uint64_t offset, void *to, size_t n)
{
    q_fault_port *f = (q_fault_port *)user;
    fault_verdict v = fault_judge(f, Q_FAULT_READ);
    q_fault_event e = fault_event(Q_FAULT_READ, file);
    size_t part = fault_part(f, v, n);
    q_error_code rc = Q_OK;
    e.offset = offset;
    e.n = n;
    if (v.broken && v.kind == Q_FAULT_SILENT) {
        memset(to, 0, n);
        return fault_end(f, &e, Q_OK);
    }
    if (part != 0) {
        rc = f->inner->file_read_at(f->inner->user, file, offset, to, part);
        e.done = rc == Q_OK ? part : 0;
        rc = fault_after(v, &e, rc);
    } else {
        rc = fault_nothing(v.kind);
    }
    return fault_end(f, &e, rc);
}

static q_error_code fault_write_at(void *user, q_port_file file, uint64_t offset, const void *from,
                                   size_t n)
{
    q_fault_port *f = (q_fault_port *)user;
    fault_verdict v = fault_judge(f, Q_FAULT_WRITE);
    q_fault_event e = fault_event(Q_FAULT_WRITE, file);
    size_t part = fault_part(f, v, n);
    q_error_code rc = Q_OK;
    e.offset = offset;
    e.bytes = from;
    e.n = n;
    if (v.broken && v.kind == Q_FAULT_SILENT) {
        return fault_end(f, &e, Q_OK);
    }
    if (part != 0) {
        rc = f->inner->file_write_at(f->inner->user, file, offset, from, part);
        e.done = rc == Q_OK ? part : 0;
        rc = fault_after(v, &e, rc);
    } else {
        rc = fault_nothing(v.kind);
    }
    return fault_end(f, &e, rc);
}

/* The way of every member that either happens or does not, before its call: true if it is over. */
static bool fault_over(q_fault_port *f, fault_verdict v, q_fault_event *e, q_error_code *rc)
{
    if (fault_happens(v)) {
        return false;
    }
    *rc = fault_end(f, e, v.kind == Q_FAULT_SILENT ? Q_OK : fault_nothing(v.kind));
    return true;
}

static q_error_code fault_sync(void *user, q_port_file file)
{
    q_fault_port *f = (q_fault_port *)user;
    fault_verdict v = fault_judge(f, Q_FAULT_SYNC);
    q_fault_event e = fault_event(Q_FAULT_SYNC, file);
    q_error_code rc = Q_OK;
    if (fault_over(f, v, &e, &rc)) {
        return rc;
    }
    rc = f->inner->file_sync(f->inner->user, file);
    return fault_end(f, &e, fault_after(v, &e, rc));
}

static q_error_code fault_replace(void *user, const char *from, const char *to)
{
    q_fault_port *f = (q_fault_port *)user;
    fault_verdict v = fault_judge(f, Q_FAULT_REPLACE);
    q_fault_event e = fault_event(Q_FAULT_REPLACE, 0);
    q_error_code rc = Q_OK;
    e.path = from;
    e.to = to;
    if (fault_over(f, v, &e, &rc)) {
        return rc;
    }
    rc = f->inner->file_replace(f->inner->user, from, to);
    return fault_end(f, &e, fault_after(v, &e, rc));
}

static q_error_code fault_remove(void *user, const char *path)
{
    q_fault_port *f = (q_fault_port *)user;
    fault_verdict v = fault_judge(f, Q_FAULT_REMOVE);
    q_fault_event e = fault_event(Q_FAULT_REMOVE, 0);
    q_error_code rc = Q_OK;
    e.path = path;
    if (fault_over(f, v, &e, &rc)) {
        return rc;
    }
    rc = f->inner->file_remove(f->inner->user, path);
    return fault_end(f, &e, fault_after(v, &e, rc));
}

/* A close frees the descriptor, as on POSIX; only an interrupted one is to be called again. */
static q_error_code fault_close(void *user, q_port_file file)
{
    q_fault_port *f = (q_fault_port *)user;
    fault_verdict v = fault_judge(f, Q_FAULT_CLOSE);
    q_fault_event e = fault_event(Q_FAULT_CLOSE, file);
    if (v.broken && v.kind == Q_FAULT_INTERRUPT) {
        return fault_end(f, &e, Q_ERR_INTERRUPTED);
    }
    q_error_code rc = f->inner->file_close(f->inner->user, file);
    f->opened--;
    e.happened = rc == Q_OK;
    if (v.broken && v.kind != Q_FAULT_SILENT && rc == Q_OK) {
        rc = Q_ERR_IO;
    }
    return fault_end(f, &e, rc);
}

static q_error_code fault_block_facts(void *user, q_port_file file, q_block_facts *out)
{
    q_fault_port *f = (q_fault_port *)user;
    fault_verdict v = fault_judge(f, Q_FAULT_BLOCK_FACTS);
    q_fault_event e = fault_event(Q_FAULT_BLOCK_FACTS, file);
    if (v.broken) {
        return fault_end(f, &e, fault_nothing(v.kind));
    }
    q_error_code rc = f->inner->block_facts(f->inner->user, file, out);
    return fault_end(f, &e, fault_after(v, &e, rc));
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static q_error_code fault_map(void *user, q_port_file file, const void **base, size_t *size)
{
    q_fault_port *f = (q_fault_port *)user;
    fault_verdict v = fault_judge(f, Q_FAULT_MAP);
    q_fault_event e = fault_event(Q_FAULT_MAP, file);
    if (v.broken) {
        return fault_end(f, &e, fault_nothing(v.kind));
    }
    q_error_code rc = f->inner->map(f->inner->user, file, base, size);
    f->mapped += rc == Q_OK ? 1u : 0u;
    return fault_end(f, &e, fault_after(v, &e, rc));
}

static void fault_unmap(void *user, const void *base, size_t size)
{
    q_fault_port *f = (q_fault_port *)user;
    (void)fault_judge(f, Q_FAULT_UNMAP);
    f->mapped--;
    f->inner->unmap(f->inner->user, base, size);
}

static q_error_code fault_pin(void *user, const void *base, size_t size)
{
    q_fault_port *f = (q_fault_port *)user;
    fault_verdict v = fault_judge(f, Q_FAULT_PIN);
    q_fault_event e = fault_event(Q_FAULT_PIN, 0);
    e.n = size;
    if (v.broken) {
        return fault_end(f, &e,
                         v.kind == Q_FAULT_FAIL ? Q_ERR_NOT_SUPPORTED : fault_nothing(v.kind));
    }
    q_error_code rc = f->inner->pin(f->inner->user, base, size);
    f->pinned += rc == Q_OK ? 1u : 0u;
    return fault_end(f, &e, fault_after(v, &e, rc));
}

static void fault_unpin(void *user, const void *base, size_t size)
{
    q_fault_port *f = (q_fault_port *)user;
    (void)fault_judge(f, Q_FAULT_UNPIN);
    f->pinned--;
    f->inner->unpin(f->inner->user, base, size);
}

/* ---- Time, processor, words ------------------------------------------------------------------ */

static uint64_t fault_ticks(void *user)
{
    q_fault_port *f = (q_fault_port *)user;
    fault_verdict v = fault_judge(f, Q_FAULT_TICKS);
    if (v.broken) {
        return v.kind == Q_FAULT_SILENT ? f->last_ticks : 0;
    }
    f->last_ticks = f->inner->ticks(f->inner->user);
    return f->last_ticks;
}

static uint64_t fault_cpu_features(void *user)
{
    q_fault_port *f = (q_fault_port *)user;
    return fault_judge(f, Q_FAULT_CPU).broken ? 0 : f->inner->cpu_features(f->inner->user);
}

static uint32_t fault_parallel(void *user, uint32_t n_workers, q_parallel_fn fn, void *arg)
{
    q_fault_port *f = (q_fault_port *)user;
    fault_verdict v = fault_judge(f, Q_FAULT_PARALLEL);
    if (v.broken && v.kind == Q_FAULT_DENY) {
        return 0;
    }
    if (v.broken && (v.kind != Q_FAULT_SHORT || n_workers <= 2)) {
        fn(arg, 0, 1);
        return 1;
    }
    n_workers -= v.broken ? 1u : 0u;
    return f->inner->parallel(f->inner->user, n_workers, fn, arg);
}

static void fault_wait(void *user, const uint32_t *address, uint32_t expected)
{
    q_fault_port *f = (q_fault_port *)user;
    if (!fault_judge(f, Q_FAULT_WAIT).broken) {
        f->inner->wait(f->inner->user, address, expected);
    }
}

/* Long enough for a sleeper to be asleep by then. */
static void fault_dawdle(const uint32_t *address)
{
    for (uint32_t i = 0; i < 200000; i++) {
        (void)atomic_load((const _Atomic uint32_t *)address);
    }
}

static void fault_wake(void *user, const uint32_t *address)
{
    q_fault_port *f = (q_fault_port *)user;
    if (fault_judge(f, Q_FAULT_WAKE).broken) {
        fault_dawdle(address);
    }
    f->inner->wake(f->inner->user, address);
}

static void fault_log(void *user, q_log_level level, const char *text, size_t n)
{
    q_fault_port *f = (q_fault_port *)user;
    if (!fault_judge(f, Q_FAULT_LOG).broken) {
        f->inner->log(f->inner->user, level, text, n);
    }
}

static void fault_panic(void *user, const q_diag *diag)
{
    const q_fault_port *f = (const q_fault_port *)user;
    f->inner->panic(f->inner->user, diag);
}

/* ---- Public ---------------------------------------------------------------------------------- */

/* Wraps a member, unless the inner port has none. */
#define FAULT_WRAP(member, wrapper) (f->port.member = inner->member != NULL ? (wrapper) : NULL)

void q_fault_init(q_fault_port *f, const q_port *inner)
{
    memset(f, 0, sizeof *f);
    f->inner = inner;
    f->keep = SIZE_MAX;
    f->port.struct_size = (uint32_t)sizeof f->port;
    f->port.user = f;
    FAULT_WRAP(file_open, fault_open);
    FAULT_WRAP(file_size, fault_size);
    FAULT_WRAP(file_read_at, fault_read_at);
    FAULT_WRAP(file_write_at, fault_write_at);
    FAULT_WRAP(file_sync, fault_sync);
    FAULT_WRAP(file_replace, fault_replace);
    FAULT_WRAP(file_remove, fault_remove);
    FAULT_WRAP(file_close, fault_close);
    FAULT_WRAP(block_facts, fault_block_facts);
    FAULT_WRAP(map, fault_map);
    FAULT_WRAP(unmap, fault_unmap);
    FAULT_WRAP(pin, fault_pin);
    FAULT_WRAP(unpin, fault_unpin);
    FAULT_WRAP(ticks, fault_ticks);
    FAULT_WRAP(cpu_features, fault_cpu_features);
    FAULT_WRAP(parallel, fault_parallel);
    FAULT_WRAP(wait, fault_wait);
    FAULT_WRAP(wake, fault_wake);
    FAULT_WRAP(log, fault_log);
    FAULT_WRAP(panic, fault_panic);
    f->port.ns_num = inner->ns_num;
    f->port.ns_den = inner->ns_den;
}

bool q_fault_add(q_fault_port *f, uint32_t ops, q_fault_kind kind, uint64_t at, bool forever)
{
    if (f->n_rules == Q_FAULT_RULES || at == 0) {
        return false;
    }
    q_fault_rule *r = &f->rules[f->n_rules++];
    memset(r, 0, sizeof *r);
    r->ops = ops;
    r->kind = kind;
    r->at = at;
    r->forever = forever;
    return true;
}

void q_fault_repower(q_fault_port *f)
{
    f->n_rules = 0;
    f->cut = false;
}

uint64_t q_fault_fired(const q_fault_port *f)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < f->n_rules; i++) {
        n += f->rules[i].fired;
    }
    return n;
}
