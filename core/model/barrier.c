/* SPDX-License-Identifier: MIT */
/* The meeting point of a parallel region's workers. */
#include "barrier.h"

/* Turns of the spin loop before a waiter asks the port to wait: a few microseconds, about a node's imbalance. Where
   other processes hold the CPUs the port knows better than to spin on. */
enum { SPIN_TURNS = 300 };

#ifndef Q_NO_THREADS

static void spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

void q_barrier_reset(q_barrier *b)
{
    atomic_store_explicit(&b->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&b->generation, 0, memory_order_relaxed);
    atomic_store_explicit(&b->sleepers, 0, memory_order_relaxed);
    atomic_store_explicit(&b->trouble, 0, memory_order_relaxed);
    b->stop = 0;
}

bool q_barrier_trouble(q_barrier *b)
{
    return atomic_exchange_explicit(&b->trouble, 1, memory_order_acq_rel) == 0;
}

/* Atomics of 32 bits are lock-free wherever the core runs, so their address is that of the number. */
static const uint32_t *generation_address(const q_barrier *b)
{
    return (const uint32_t *)(const void *)&b->generation;
}

static void wait_for_next(q_barrier *b, uint32_t generation, const q_port *port)
{
    bool sleeps = port != NULL && port->wait != NULL && port->wake != NULL;
    for (uint32_t turn = 0;; turn++) {
        if (atomic_load_explicit(&b->generation, memory_order_acquire) != generation) {
            return;
        }
        if (turn >= SPIN_TURNS && sleeps) {
            /* the releaser moves the generation before it looks for sleepers, and wait() looks at the generation
               after this count, so one of the two sees the other */
            atomic_fetch_add_explicit(&b->sleepers, 1, memory_order_seq_cst);
            port->wait(port->user, generation_address(b), generation);
            atomic_fetch_sub_explicit(&b->sleepers, 1, memory_order_relaxed);
        } else {
            spin_pause();
        }
    }
}

bool q_barrier_meet(q_barrier *b, uint32_t n, const q_port *port)
{
    uint32_t generation;
    if (n == 1) {
        return atomic_load_explicit(&b->trouble, memory_order_relaxed) == 0;
    }
    generation = atomic_load_explicit(&b->generation, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&b->arrived, 1, memory_order_acq_rel) + 1 == n) {
        /* everyone else waits, so `stop` and `arrived` are this worker's until the generation moves */
        b->stop = atomic_load_explicit(&b->trouble, memory_order_acquire);
        atomic_store_explicit(&b->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&b->generation, generation + 1, memory_order_seq_cst);
        if (atomic_load_explicit(&b->sleepers, memory_order_seq_cst) != 0) {
            port->wake(port->user, generation_address(b));
        }
    } else {
        wait_for_next(b, generation, port);
    }
    return b->stop == 0;
}

#else

void q_barrier_reset(q_barrier *b)
{
    b->arrived = 0;
    b->generation = 0;
    b->sleepers = 0;
    b->trouble = 0;
    b->stop = 0;
}

bool q_barrier_trouble(q_barrier *b)
{
    bool first = b->trouble == 0;
    b->trouble = 1;
    return first;
}

bool q_barrier_meet(q_barrier *b, uint32_t n, const q_port *port)
{
    (void)n;
    (void)port;
    return b->trouble == 0;
}

#endif
