/* SPDX-License-Identifier: MIT */
/*
 * profile.h: where the time of a session goes: an observer sums every step of the plan, and a table
 * shows classes and the slowest nodes. Observed nodes run one after the other, each between two
 * meetings of all workers, so their sum exceeds the time of an unobserved run.
 */
#ifndef QORUS_TOOLS_PROFILE_H
#define QORUS_TOOLS_PROFILE_H

#include "host.h"

typedef struct profile_node {
    char name[Q_CAP_NAME + 1];
    const char *cls; /* NULL: not seen yet */
    uint64_t calls;
    uint64_t ticks;
    double weights; /* bytes of parameters read */
    double moved;   /* bytes of values and state read and written */
    double flops;   /* of products and attention; others count none */
} profile_node;

typedef struct profile {
    profile_node *nodes; /* [n] by step of the plan */
    uint32_t n;
} profile;

/* q_session_config.observe; user is a profile that began as zeros. */
q_error_code profile_see(void *user, const q_observation *seen);

/* Bytes of parameters read since it was empty. */
double profile_weights(const profile *p);

/* Prints the table. */
void profile_print(const profile *p, const host *h, FILE *to);

/* Gives its memory back and begins anew. */
void profile_clear(profile *p);

#endif /* QORUS_TOOLS_PROFILE_H */
