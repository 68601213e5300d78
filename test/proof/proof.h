/* SPDX-License-Identifier: MIT */
/*
 * proof.h: what must come out alike on every port: golden vectors on each backend, bad files, tokenizer sections,
 * calls and memory by name and place, and the sampler's and the quantisers' cases. Needs no libc, files or
 * allocation. The host's program and the boot image print the same lines, which a script compares.
 */
#ifndef QORUS_TEST_PROOF_H
#define QORUS_TEST_PROOF_H

#include "qorus/port.h"

enum { PROOF_WORK = 16 << 20 /* bytes, multiple-of-64 address */ };

typedef struct proof_host {
    const q_port *port; /* its CPU features decide about backends; may be NULL: scalar alone */
    void *work;
    void (*print)(void *user, const char *line, size_t n); /* one line without its newline */
    void *user;
    uint32_t passed;
    uint32_t failed;
    uint32_t skipped;
} proof_host;

/* Runs what one blob is for, told by its first bytes: a pack of vectors, a .qorus file as a twin of bad ones (or, if
   it is a language model with a chat format, of bad calls and bad memory), a tokenizer section as a twin
   of bad ones, vectors of the weight quantisers. */
void proof_blob(proof_host *h, const void *blob, size_t size);

/* Bad calls of ops; proof_finish runs it. */
void proof_ops(proof_host *h);

/* Bad sections over small.qtok. */
void proof_tokens(proof_host *h, const void *section, size_t size);

/* Bad calls of models, sessions, generators and tokenizers, and bad memory for them, over a language model. */
void proof_sessions(proof_host *h, const void *file, size_t size);

/* Runs what needs no blob, then prints "N passed, N failed, N skipped". True if nothing failed. */
bool proof_finish(proof_host *h);

#endif /* QORUS_TEST_PROOF_H */
