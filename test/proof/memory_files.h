/* SPDX-License-Identifier: MIT */
/* memory_files.h: a port whose few files lie in memory. */
#ifndef QORUS_TEST_PROOF_MEMORY_FILES_H
#define QORUS_TEST_PROOF_MEMORY_FILES_H

#include "qorus/port.h"

enum { MEMORY_FILES = 3, MEMORY_ROOM = 1 << 18, MEMORY_NAME = 48 };

typedef struct memory_file {
    char name[MEMORY_NAME]; /* "": none */
    uint8_t *bytes;         /* the caller's: MEMORY_ROOM of them */
    uint64_t size;
} memory_file;

typedef struct memory_port {
    memory_file file[MEMORY_FILES];
    bool replace_unsure; /* replaced, but not durable */
} memory_port;

q_port memory_files(memory_port *files);
/* Which file has that name; MEMORY_FILES: none. */
uint32_t memory_find(const memory_port *p, const char *name);

#endif /* QORUS_TEST_PROOF_MEMORY_FILES_H */
