/* SPDX-License-Identifier: MIT */
/*
 * threads.c: persistent workers behind `parallel`, and sleeping on a word behind `wait` and `wake`.
 *
 * Starting a region: the caller stores {fn, arg, granted, remaining}, then raises `go` of each
 * worker it wants. A worker watches only its own `go`, so one that is not wanted never reads the
 * job and cannot miss a region. The caller writes the next job only after `remaining` reached 0,
 * when no worker reads the old one any more.
 *
 * Sleeping without a lost wake-up: the sleeper stores asleep = 1, then sleeps only if the word is
 * still unchanged; the waker changes the word, then loads asleep. All four are sequentially
 * consistent: either the waker sees asleep = 1 and wakes, or the sleeper's check sees the changed
 * word.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "internal.h"

#ifndef Q_POSIX_NO_FUTEX
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

enum {
    POSIX_STACK_BYTES = 1 << 20, /* per worker; sanitized debug builds need most of it */
    POSIX_SPINS_PER_LOOK = 32    /* pauses between two looks at the clock */
};

/* ---- Sleeping on a word ---------------------------------------------------------------------- */

#ifndef Q_POSIX_NO_FUTEX

static void posix_sleep(q_posix *p, const uint32_t *word, uint32_t expected)
{
    (void)p;
    /* every outcome (woken, word changed, signal) sends the caller back to look at the word */
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void posix_wake_all(q_posix *p, const uint32_t *word)
{
    (void)p;
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

#else

static q_posix_bucket *posix_bucket(q_posix *p, const uint32_t *word)
{
    return &p->buckets[((uintptr_t)word >> 6) % Q_POSIX_BUCKETS];
}

static void posix_sleep(q_posix *p, const uint32_t *word, uint32_t expected)
{
    q_posix_bucket *b = posix_bucket(p, word);
    (void)pthread_mutex_lock(&b->mutex);
    if (atomic_load(posix_atomic(word)) == expected) {
        (void)pthread_cond_wait(&b->changed, &b->mutex);
    }
    (void)pthread_mutex_unlock(&b->mutex);
}

/* Taking the lock orders this wake after the check of a sleeper that saw the old word. */
static void posix_wake_all(q_posix *p, const uint32_t *word)
{
    q_posix_bucket *b = posix_bucket(p, word);
    (void)pthread_mutex_lock(&b->mutex);
    (void)pthread_cond_broadcast(&b->changed);
    (void)pthread_mutex_unlock(&b->mutex);
}

#endif

static void posix_wake(void *user, const uint32_t *address)
{
    posix_wake_all((q_posix *)user, address);
}

/* ---- Watching a word ------------------------------------------------------------------------- */

static inline void posix_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/*
 * Watches the word for at most limit_ns; true once it differs from `seen`. Yields between looks at
 * the clock: where other processes hold the other CPUs, the thread that is to change the word may
 * be waiting for this one.
 */
static bool posix_watch(const uint32_t *word, uint32_t seen, uint64_t limit_ns)
{
    const _Atomic uint32_t *a = posix_atomic(word);
    if (limit_ns == 0) {
        return atomic_load(a) != seen;
    }
    uint64_t end = posix_now_ns() + limit_ns;
    do {
        for (int i = 0; i < POSIX_SPINS_PER_LOOK; i++) {
            if (atomic_load_explicit(a, memory_order_acquire) != seen) {
                return true;
            }
            posix_pause();
        }
        (void)sched_yield();
    } while (posix_now_ns() < end);
    return false;
}

static void posix_wait(void *user, const uint32_t *address, uint32_t expected)
{
    q_posix *p = (q_posix *)user;
    if (!posix_watch(address, expected, p->spin_ns)) {
        posix_sleep(p, address, expected);
    }
}

/* Returns once the word differs from `seen`. */
static void posix_await(q_posix *p, const uint32_t *word, uint32_t *asleep, uint32_t seen)
{
    if (posix_watch(word, seen, p->spin_ns)) {
        return;
    }
    atomic_store(posix_atomic(asleep), 1);
    while (atomic_load(posix_atomic(word)) == seen) {
        posix_sleep(p, word, seen);
    }
    atomic_store(posix_atomic(asleep), 0);
}

/* ---- Workers --------------------------------------------------------------------------------- */

static void posix_finish(q_posix *p)
{
    if (atomic_fetch_sub(posix_atomic(&p->remaining), 1) == 1 &&
        atomic_load(posix_atomic(&p->caller_asleep)) != 0) {
        posix_wake_all(p, &p->remaining);
    }
}

static void *posix_worker_main(void *arg)
{
    q_posix_worker *w = (q_posix_worker *)arg;
    q_posix *p = w->owner;
    for (uint32_t seen = 0;; seen++) {
        posix_await(p, &w->go, &w->asleep, seen);
        if (p->fn == NULL) {
            return NULL;
        }
        p->fn(p->arg, w->index, p->granted);
        posix_finish(p);
    }
}

static void posix_start_worker(q_posix *p, q_posix_worker *w)
{
    (void)atomic_fetch_add(posix_atomic(&w->go), 1);
    if (atomic_load(posix_atomic(&w->asleep)) != 0) {
        posix_wake_all(p, &w->go);
    }
}

static void posix_await_workers(q_posix *p)
{
    uint32_t left;
    while ((left = atomic_load(posix_atomic(&p->remaining))) != 0) {
        posix_await(p, &p->remaining, &p->caller_asleep, left);
    }
}

/* A region inside a region, or beside one of another thread, finds the pool busy: serial. */
static uint32_t posix_parallel(void *user, uint32_t n_workers, q_parallel_fn fn, void *arg)
{
    q_posix *p = (q_posix *)user;
    uint32_t granted = n_workers < p->n_workers ? n_workers : p->n_workers;
    if (granted <= 1 || atomic_exchange(posix_atomic(&p->busy), 1) != 0) {
        fn(arg, 0, 1);
        return 1;
    }
    p->fn = fn;
    p->arg = arg;
    p->granted = granted;
    atomic_store(posix_atomic(&p->remaining), granted - 1);
    for (uint32_t i = 1; i < granted; i++) {
        posix_start_worker(p, &p->workers[i]);
    }
    fn(arg, 0, granted);
    posix_await_workers(p);
    atomic_store(posix_atomic(&p->busy), 0);
    return granted;
}

/* ---- Start and end --------------------------------------------------------------------------- */

static void posix_buckets_init(q_posix *p)
{
    for (int i = 0; i < Q_POSIX_BUCKETS; i++) {
        (void)pthread_mutex_init(&p->buckets[i].mutex, NULL);
        (void)pthread_cond_init(&p->buckets[i].changed, NULL);
    }
}

/* Threads are born with every signal blocked. */
static int posix_create_all(q_posix *p, const pthread_attr_t *attr)
{
    sigset_t all;
    sigset_t before;
    int err = 0;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    for (uint32_t i = 1; i < p->n_workers && err == 0; i++) {
        q_posix_worker *w = &p->workers[i];
        w->index = i;
        w->owner = p;
        err = pthread_create(&w->thread, attr, posix_worker_main, w);
        p->n_threads += err == 0 ? 1u : 0u;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

q_error_code posix_threads_init(q_posix *p)
{
    pthread_attr_t attr;
    p->port.parallel = posix_parallel;
    p->port.wait = posix_wait;
    p->port.wake = posix_wake;
    posix_buckets_init(p);
    int err = pthread_attr_init(&attr);
    if (err == 0) {
        (void)pthread_attr_setstacksize(&attr, POSIX_STACK_BYTES);
        err = posix_create_all(p, &attr);
        (void)pthread_attr_destroy(&attr);
    }
    if (err != 0) {
        uint32_t running = p->n_threads;
        posix_threads_close(p);
        (void)posix_fail(p, Q_ERR_NO_DEVICE, "worker threads", NULL, err);
        p->last.need = p->n_workers - 1;
        p->last.have = running;
        return Q_ERR_NO_DEVICE;
    }
    return Q_OK;
}

/* A region without a function sends the workers home. */
void posix_threads_close(q_posix *p)
{
    p->fn = NULL;
    for (uint32_t i = 1; i <= p->n_threads; i++) {
        posix_start_worker(p, &p->workers[i]);
        (void)pthread_join(p->workers[i].thread, NULL);
    }
    p->n_threads = 0;
}
