/* SPDX-License-Identifier: MIT */
/* host.h: what trainings of the tests have of where they run: host_posix.c, host_bare.c; and the hash of what they learnt. */
#ifndef TEST_TRAJECTORY_HOST_H
#define TEST_TRAJECTORY_HOST_H

#include "qorus/model.h"
#include "qorus/sha256.h"

/* NULL: memory alone. */
const q_port *host_port(void);
/* A multiple of 128, until it is given back; ends the program where there is none. */
void *host_take(size_t bytes);
void host_give(void *memory);
/* Says so and ends the program. */
Q_NORETURN void host_fail(const char *what, const char *field, uint64_t need, uint64_t have);
/* Where there are files: all of one, in memory that was taken. */
void *host_read(const char *path, size_t *bytes);
/* Where there is no operating system: before anything else. */
void host_begin(const q_port *port);

/* Of all parameters and buffers, in the model's order. */
void session_hash(const q_session *session, char hex[2 * Q_SHA256_BYTES + 1]);

#endif /* TEST_TRAJECTORY_HOST_H */
