/* SPDX-License-Identifier: MIT */
/* internal.h: what the files of the POSIX port share; not for callers. */
#ifndef QORUS_PORT_POSIX_INTERNAL_H
#define QORUS_PORT_POSIX_INTERNAL_H

#include <stdatomic.h>

#include "posix.h"

#if !defined(__linux__) && !defined(Q_POSIX_NO_FUTEX)
#define Q_POSIX_NO_FUTEX 1
#endif

/* Words shared between threads are plain uint32_t in posix.h, for C++, and atomic here. */
static inline _Atomic uint32_t *posix_atomic(const uint32_t *word)
{
    return (_Atomic uint32_t *)(uintptr_t)word;
}

/* Fill q_posix.last and return code. `reason` NULL: the text of the errno value `err`. */
q_error_code posix_fail(q_posix *p, q_error_code code, const char *what, const char *reason,
                        int err);
q_error_code posix_fail_file(q_posix *p, q_error_code code, q_port_file file, const char *reason,
                             int err, uint64_t offset);

/* Copies last to diag, if there is one, and returns its code. */
q_error_code posix_report(const q_posix *p, q_diag *diag);

void posix_files_init(q_posix *p);
void posix_memory_init(q_posix *p);
q_error_code posix_threads_init(q_posix *p);
void posix_threads_close(q_posix *p);

uint64_t posix_now_ns(void);

#endif /* QORUS_PORT_POSIX_INTERNAL_H */
