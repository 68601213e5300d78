/* SPDX-License-Identifier: MIT */
/*
 * fault_suite.h: what the fault suite shares: a chat model opened through a port that breaks calls, and the loop
 * that visits every call with every way to break it.
 */
#ifndef QORUS_TEST_FAULT_SUITE_H
#define QORUS_TEST_FAULT_SUITE_H

#include "../../tools/common/conversation.h"
#include "../../tools/qorus/host.h"
#include "../port/check.h"
#include "../port/fault_port.h"

enum { SUITE_KINDS = 6, SUITE_WORKERS = 3, SUITE_MADE = 12 };

extern const char *suite_model; /* path of a small language model with a chat format */
extern uint64_t suite_points;   /* faults that were really visited */

/* A whole command's worth of objects over a fault port, in memory of the suite's own. */
typedef struct suite_chat {
    host h;
    options o;
    q_port inner;
    q_fault_port faults;
    q_generate_config config;
    q_generator *generator;
    conversation talk;
    char made[256]; /* text generated so far */
    size_t n_made;
} suite_chat;

/* Starts the threads and puts the fault port between the tools and the POSIX port; rules come after. */
void suite_start(suite_chat *c, uint32_t threads);

/* What `run` (system NULL) and `chat` do before the first token. */
bool suite_open(suite_chat *c, const char *path, bool chat);

/* SUITE_MADE tokens from a prompt, into c->made. */
q_error_code suite_talk(suite_chat *c);

/* Gives everything back, and checks that nothing is left: files, mappings. */
void suite_stop(suite_chat *c);

/* Next fault of a walk: breaks call `at` with `kind`, once or from then on. */
typedef struct suite_fault {
    uint32_t ops;
    q_fault_kind kind;
    uint64_t at;
    bool forever;
} suite_fault;

/*
 * Calls visit for call 1, 2, 3 ... of `ops`, for every kind, once and for ever, until a fault no longer fires.
 * visit returns how many calls fired. Above `dense` only every 23rd call is taken.
 */
void suite_walk(uint32_t ops, uint64_t dense, uint64_t (*visit)(void *arg, const suite_fault *fault), void *arg);

void suite_files(void);
void suite_running(void);
void suite_memory(void);
void suite_under_the_map(void);

#endif /* QORUS_TEST_FAULT_SUITE_H */
