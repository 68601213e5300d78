/* SPDX-License-Identifier: MIT */
/* posix.c: the POSIX port's object: start, end, clock, CPU facts, log and panic. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#endif

#include "internal.h"

#if defined(__x86_64__) || defined(__i386__)
#include "../x86/cpu_detect.h"
#endif

/* A worker watches its word this long before it sleeps. */
enum { POSIX_SPIN_NS = 30000 };

/* ---- Failures -------------------------------------------------------------------------------- */

/* The end of a path says more than its beginning. */
static void posix_copy_tail(char *to, size_t cap, const char *from)
{
    size_t n = strlen(from);
    const char *start = n >= cap ? from + (n - (cap - 1)) : from;
    memcpy(to, start, strlen(start) + 1);
}

static void posix_copy_head(char *to, size_t cap, const char *from)
{
    size_t n = strlen(from);
    n = n >= cap ? cap - 1 : n;
    memcpy(to, from, n);
    to[n] = '\0';
}

q_error_code posix_fail(q_posix *p, q_error_code code, const char *what, const char *reason,
                        int err)
{
    memset(&p->last, 0, sizeof p->last);
    p->last.code = code;
    posix_copy_tail(p->last.what, sizeof p->last.what, what);
    posix_copy_head(p->last.field, sizeof p->last.field, reason != NULL ? reason : strerror(err));
    return code;
}

q_error_code posix_fail_file(q_posix *p, q_error_code code, q_port_file file, const char *reason,
                             int err, uint64_t offset)
{
    char what[32];
    (void)snprintf(what, sizeof what, "file %llu", (unsigned long long)file);
    (void)posix_fail(p, code, what, reason, err);
    p->last.offset = offset;
    return code;
}

q_error_code posix_report(const q_posix *p, q_diag *diag)
{
    if (diag != NULL) {
        *diag = p->last;
    }
    return p->last.code;
}

const q_diag *q_posix_last(const q_posix *p)
{
    return &p->last;
}

/* ---- Time ------------------------------------------------------------------------------------ */

uint64_t posix_now_ns(void)
{
    struct timespec t = { 0, 0 };
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t posix_ticks(void *user)
{
    (void)user;
    return posix_now_ns();
}

/* ---- Processor ------------------------------------------------------------------------------- */

uint32_t q_posix_cpus(void)
{
#ifdef __linux__
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) {
        return (uint32_t)CPU_COUNT(&set);
    }
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 && n < 65536 ? (uint32_t)n : 1u;
}

/* AMX registers exist for a process only after it has asked Linux for them. */
static bool posix_request_amx(void)
{
#if defined(__linux__) && defined(__x86_64__)
    const long request_permission = 0x1023; /* ARCH_REQ_XCOMP_PERM */
    const long tile_data = 18;              /* XFEATURE_XTILEDATA */
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return false;
#endif
}

static uint64_t posix_detect(void)
{
#if defined(__x86_64__) || defined(__i386__)
    const uint64_t amx = (uint64_t)Q_CPU_AMX_INT8 | (uint64_t)Q_CPU_AMX_BF16;
    uint64_t features = q_cpu_detect();
    if ((features & amx) != 0 && !posix_request_amx()) {
        features &= ~amx;
    }
    return features;
#else
    (void)posix_request_amx;
    return 0;
#endif
}

static uint64_t posix_cpu_features(void *user)
{
    return ((const q_posix *)user)->features;
}

/* ---- Words ----------------------------------------------------------------------------------- */

static const char *posix_level_prefix(q_log_level level)
{
    switch (level) {
    case Q_LOG_ERROR: return "error: ";
    case Q_LOG_WARN: return "warning: ";
    case Q_LOG_DEBUG: return "debug: ";
    default: return "";
    }
}

/* One writev per line: lines of several threads do not mix. A log that fails is no failure. */
static void posix_log(void *user, q_log_level level, const char *text, size_t n)
{
    const char *prefix = posix_level_prefix(level);
    struct iovec parts[3];
    if (level > ((const q_posix *)user)->log_level) {
        return;
    }
    parts[0].iov_base = (void *)(uintptr_t)prefix;
    parts[0].iov_len = strlen(prefix);
    parts[1].iov_base = (void *)(uintptr_t)text;
    parts[1].iov_len = n;
    parts[2].iov_base = (void *)(uintptr_t) "\n";
    parts[2].iov_len = 1;
    if (writev(STDERR_FILENO, parts, 3) < 0) {
        return;
    }
}

static void posix_panic(void *user, const q_diag *diag)
{
    char line[256];
    (void)user;
    int n = snprintf(line, sizeof line,
                     "panic: code %d, what '%.51s', field '%.39s', offset %llu, need %llu, "
                     "have %llu\n",
                     (int)diag->code, diag->what, diag->field, (unsigned long long)diag->offset,
                     (unsigned long long)diag->need, (unsigned long long)diag->have);
    if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0) {
        abort();
    }
    abort();
}

/* ---- Start and end --------------------------------------------------------------------------- */

static void posix_words_init(q_posix *p)
{
    q_port *port = &p->port;
    port->struct_size = (uint32_t)sizeof *port;
    port->user = p;
    port->ticks = posix_ticks;
    port->ns_num = 1;
    port->ns_den = 1;
    port->cpu_features = posix_cpu_features;
    port->log = posix_log;
    port->panic = posix_panic;
    p->log_level = Q_LOG_INFO;
}

q_error_code q_posix_init(q_posix *p, uint32_t n_workers, q_diag *diag)
{
    if (p == NULL || n_workers > Q_MAX_WORKERS) {
        if (diag != NULL) {
            memset(diag, 0, sizeof *diag);
            diag->code = Q_ERR_INVALID_ARG;
            posix_copy_head(diag->what, sizeof diag->what, "q_posix_init");
            posix_copy_head(diag->field, sizeof diag->field, p == NULL ? "p" : "n_workers");
            diag->need = Q_MAX_WORKERS;
            diag->have = n_workers;
        }
        return Q_ERR_INVALID_ARG;
    }
    memset(p, 0, sizeof *p);
    posix_words_init(p);
    posix_files_init(p);
    posix_memory_init(p);
    p->features = posix_detect();
    p->n_cpus = q_posix_cpus();
    p->n_workers = n_workers != 0 ? n_workers : p->n_cpus;
    p->n_workers = p->n_workers > Q_MAX_WORKERS ? Q_MAX_WORKERS : p->n_workers;
    p->spin_ns = p->n_workers <= p->n_cpus ? POSIX_SPIN_NS : 0;
    if (posix_threads_init(p) != Q_OK) {
        return posix_report(p, diag);
    }
    return Q_OK;
}

void q_posix_close(q_posix *p)
{
    posix_threads_close(p);
}

const q_port *q_posix_port(q_posix *p)
{
    return &p->port;
}
