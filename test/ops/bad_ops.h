/* SPDX-License-Identifier: MIT */
/*
 * bad_ops.h: calls of ops that must be refused. Each case is a call that is accepted as it is (its
 * twin) with one defect: the code, the argument and the field must name that defect, and no byte of
 * any operand may change. Needs the core alone: no libc, no allocation, so it runs on every port.
 */
#ifndef QORUS_TEST_BAD_OPS_H
#define QORUS_TEST_BAD_OPS_H

#include "qorus/ops.h"

typedef struct bad_ops_counts {
    uint32_t passed;
    uint32_t failed;
    uint32_t skipped;
} bad_ops_counts;

/* What the caller brings. */
typedef struct bad_ops_host {
    void *user;
    /* One line of n bytes, without its newline: a failed case; with `verdicts` every case. */
    void (*print)(void *user, const char *line, size_t n);
    bool verdicts;
    /* (optional; default: fn(arg)) Calls fn(arg); if that ended in the panic of the context's port,
       the diagnostics it was given, else NULL. */
    const q_diag *(*attempt)(void *user, void (*fn)(void *arg), void *arg);
    /* The core is a debug build and the context's port panics: broken contracts must end there. */
    bool panics;
} bad_ops_host;

/* Bytes of memory q_bad_ops_run() needs besides those of q_op_workspace_size(). */
#define Q_BAD_OPS_MEMORY ((size_t)160 * 1024)

/* Runs every case on a context (CPU backend). memory: multiple of Q_ALIGN. Stack: below 8 KiB. */
void q_bad_ops_run(const q_context *context, void *memory, size_t size, const bad_ops_host *host,
                   bad_ops_counts *counts);

#endif /* QORUS_TEST_BAD_OPS_H */
