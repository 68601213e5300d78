/* SPDX-License-Identifier: MIT */
/* test_posix_threads.c: parallel regions, nesting, two callers at once, sleeping on a word. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "posix_tests.h"

enum { REGIONS = 10000 };

typedef struct region_job {
    const q_port *port;
    uint32_t calls[Q_MAX_WORKERS]; /* plain: written by one worker each, read after the region */
    uint32_t n_seen[Q_MAX_WORKERS];
    _Atomic uint32_t inside;
    uint32_t nested_granted;
    uint32_t nested_calls;
} region_job;

/* ---- Regions --------------------------------------------------------------------------------- */

static void count_call(void *arg, uint32_t worker, uint32_t n_workers)
{
    region_job *job = (region_job *)arg;
    job->calls[worker]++;
    job->n_seen[worker] = n_workers;
}

/* The number asked for changes from region to region, so that workers sit some of them out. */
static void regions_of(uint32_t n_workers)
{
    static q_posix p;
    static region_job job;
    uint32_t expected[Q_MAX_WORKERS] = { 0 };
    memset(&job, 0, sizeof job);
    CHECK_EQ(q_posix_init(&p, n_workers, NULL), Q_OK);
    const q_port *port = q_posix_port(&p);
    for (uint32_t r = 0; r < REGIONS; r++) {
        uint32_t ask = r % 3 == 0 ? 1 + r % (n_workers + 2) : n_workers;
        uint32_t want = ask < n_workers ? ask : n_workers;
        uint32_t granted = port->parallel(port->user, ask, count_call, &job);
        CHECK_EQ(granted, want);
        for (uint32_t w = 0; w < granted; w++) {
            expected[w]++;
            CHECK_EQ(job.n_seen[w], granted);
        }
        if (check_now.faults > 10) {
            break;
        }
    }
    CHECK(memcmp(expected, job.calls, sizeof expected) == 0);
    q_posix_close(&p);
}

static void parallel_1_worker_10000_regions(void)
{
    regions_of(1);
}

static void parallel_2_workers_10000_regions(void)
{
    regions_of(2);
}

static void parallel_3_workers_10000_regions(void)
{
    regions_of(3);
}

static void parallel_7_workers_10000_regions(void)
{
    regions_of(7);
}

static void parallel_16_workers_10000_regions(void)
{
    regions_of(16);
}

/* Every worker waits until all are inside: hangs unless they truly run at once. */
static void meet_the_others(void *arg, uint32_t worker, uint32_t n_workers)
{
    region_job *job = (region_job *)arg;
    (void)worker;
    (void)atomic_fetch_add(&job->inside, 1);
    while (atomic_load(&job->inside) < n_workers) {
        (void)usleep(100);
    }
}

static void parallel_runs_at_once(void)
{
    static q_posix p;
    static region_job job;
    memset(&job, 0, sizeof job);
    CHECK_EQ(q_posix_init(&p, 16, NULL), Q_OK);
    CHECK_EQ(p.port.parallel(p.port.user, 16, meet_the_others, &job), 16);
    CHECK_EQ(atomic_load(&job.inside), 16);
    q_posix_close(&p);
}

static void count_nested(void *arg, uint32_t worker, uint32_t n_workers)
{
    region_job *job = (region_job *)arg;
    CHECK_EQ(worker, 0);
    CHECK_EQ(n_workers, 1);
    job->nested_calls++;
}

static void nest_in_worker_1(void *arg, uint32_t worker, uint32_t n_workers)
{
    region_job *job = (region_job *)arg;
    if (worker == n_workers - 1) {
        job->nested_granted = job->port->parallel(job->port->user, 2, count_nested, job);
    }
}

static void parallel_nested_runs_serially(void)
{
    static region_job job;
    memset(&job, 0, sizeof job);
    job.port = q_posix_port(&test_posix);
    CHECK_EQ(job.port->parallel(job.port->user, 2, nest_in_worker_1, &job), 2);
    CHECK_EQ(job.nested_granted, 1);
    CHECK_EQ(job.nested_calls, 1);
    CHECK_EQ(job.port->parallel(job.port->user, 2, count_call, &job), 2);
}

/* Regions after which every worker has fallen asleep: start-up goes through the wake path. */
static void parallel_wakes_sleepers(void)
{
    static region_job job;
    memset(&job, 0, sizeof job);
    const q_port *port = q_posix_port(&test_posix);
    for (int i = 0; i < 50; i++) {
        (void)usleep(2000);
        CHECK_EQ(port->parallel(port->user, 2, count_call, &job), 2);
    }
    CHECK_EQ(job.calls[0], 50);
    CHECK_EQ(job.calls[1], 50);
}

/* ---- Two callers ----------------------------------------------------------------------------- */

static void *second_caller(void *arg)
{
    region_job *job = (region_job *)arg;
    for (int i = 0; i < 2000; i++) {
        uint32_t granted = job->port->parallel(job->port->user, 2, count_call, job);
        job->nested_calls += granted;
    }
    return NULL;
}

static void parallel_two_callers_share_one_pool_x02(void)
{
    static region_job a;
    static region_job b;
    pthread_t other;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    a.port = b.port = q_posix_port(&test_posix);
    CHECK_EQ(pthread_create(&other, NULL, second_caller, &b), 0);
    (void)second_caller(&a);
    CHECK_EQ(pthread_join(other, NULL), 0);
    CHECK_EQ(a.calls[0], 2000);
    CHECK_EQ(b.calls[0], 2000);
    CHECK_EQ(a.calls[0] + a.calls[1], a.nested_calls);
    CHECK_EQ(b.calls[0] + b.calls[1], b.nested_calls);
}

/* ---- Sleeping on a word ---------------------------------------------------------------------- */

typedef struct ping_pong {
    const q_port *port;
    _Atomic uint32_t turn;
} ping_pong;

static void wait_for_turn(ping_pong *pp, uint32_t turn)
{
    uint32_t now;
    while ((now = atomic_load(&pp->turn)) != turn) {
        pp->port->wait(pp->port->user, (const uint32_t *)(const void *)&pp->turn, now);
    }
}

static void *pong(void *arg)
{
    ping_pong *pp = (ping_pong *)arg;
    for (uint32_t i = 0; i < 2000; i++) {
        wait_for_turn(pp, 2 * i + 1);
        atomic_store(&pp->turn, 2 * i + 2);
        pp->port->wake(pp->port->user, (const uint32_t *)(const void *)&pp->turn);
    }
    return NULL;
}

static void wait_and_wake_hand_over_4000_times(void)
{
    ping_pong pp;
    pthread_t other;
    pp.port = q_posix_port(&test_posix);
    atomic_init(&pp.turn, 0);
    CHECK_EQ(pthread_create(&other, NULL, pong, &pp), 0);
    for (uint32_t i = 0; i < 2000; i++) {
        atomic_store(&pp.turn, 2 * i + 1);
        pp.port->wake(pp.port->user, (const uint32_t *)(const void *)&pp.turn);
        wait_for_turn(&pp, 2 * i + 2);
    }
    CHECK_EQ(pthread_join(other, NULL), 0);
    CHECK_EQ(atomic_load(&pp.turn), 4000);
}

static void wait_returns_when_the_word_differs(void)
{
    const q_port *port = q_posix_port(&test_posix);
    uint32_t word = 5;
    port->wait(port->user, &word, 4);
    port->wake(port->user, &word);
    CHECK_EQ(word, 5);
}

typedef struct crowd {
    const q_port *port;
    _Atomic uint32_t open;
    _Atomic uint32_t through;
} crowd;

static void *one_of_the_crowd(void *arg)
{
    crowd *c = (crowd *)arg;
    while (atomic_load(&c->open) == 0) {
        c->port->wait(c->port->user, (const uint32_t *)(const void *)&c->open, 0);
    }
    (void)atomic_fetch_add(&c->through, 1);
    return NULL;
}

static void wake_releases_every_sleeper(void)
{
    crowd c;
    pthread_t threads[8];
    c.port = q_posix_port(&test_posix);
    atomic_init(&c.open, 0);
    atomic_init(&c.through, 0);
    for (int i = 0; i < 8; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, one_of_the_crowd, &c), 0);
    }
    (void)usleep(20000);
    CHECK_EQ(atomic_load(&c.through), 0);
    atomic_store(&c.open, 1);
    c.port->wake(c.port->user, (const uint32_t *)(const void *)&c.open);
    for (int i = 0; i < 8; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    CHECK_EQ(atomic_load(&c.through), 8);
}

void test_threads_all(void)
{
    RUN(parallel_1_worker_10000_regions);
    RUN(parallel_2_workers_10000_regions);
    RUN(parallel_3_workers_10000_regions);
    RUN(parallel_7_workers_10000_regions);
    RUN(parallel_16_workers_10000_regions);
    RUN(parallel_runs_at_once);
    RUN(parallel_nested_runs_serially);
    RUN(parallel_wakes_sleepers);
    RUN(parallel_two_callers_share_one_pool_x02);
    RUN(wait_and_wake_hand_over_4000_times);
    RUN(wait_returns_when_the_word_differs);
    RUN(wake_releases_every_sleeper);
}
