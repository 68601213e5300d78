/* SPDX-License-Identifier: MIT */
/*
 * barrier.h: where the workers of one parallel region meet. Spins for a bounded time, then sleeps through the
 * port's wait/wake if there is one. Q_NO_THREADS builds it away.
 */
#ifndef QORUS_CORE_MODEL_BARRIER_H
#define QORUS_CORE_MODEL_BARRIER_H

#include "../core.h"

#ifndef Q_NO_THREADS
#include <stdatomic.h>
typedef _Atomic uint32_t barrier_word;
#else
typedef uint32_t barrier_word;
#endif

typedef struct q_barrier {
    barrier_word arrived;    /* workers waiting */
    barrier_word generation; /* meetings so far */
    barrier_word sleepers;   /* workers inside the port's wait */
    barrier_word trouble;    /* set by any worker, at any time: stop */
    uint32_t stop;           /* trouble as all workers see it after this meeting */
} q_barrier;

void q_barrier_reset(q_barrier *b);

/* Asks everyone to stop at the next meeting. True for the first to ask. */
bool q_barrier_trouble(q_barrier *b);

/* Meets n workers. Returns false, for all alike, if somebody was in trouble before the last one arrived. */
bool q_barrier_meet(q_barrier *b, uint32_t n, const q_port *port);

#endif /* QORUS_CORE_MODEL_BARRIER_H */
