/* SPDX-License-Identifier: MIT */
/*
 * smp.c: the other processors: started once, then parked until `parallel` hands them work.
 *
 * A parked processor spins for a bounded time and then sleeps in HLT. Sleep and wake-up meet in
 * `sleeps_on`: the sleeper publishes the address and then looks at it; the waker changes it and
 * then looks at `sleeps_on`. Both pairs are sequentially consistent, so at least one of the two
 * sees the other, and an interrupt that arrives before HLT stays pending until STI.
 */
#include "internal.h"

enum {
    ICR_INIT = 0x4500,
    ICR_STARTUP = 0x4600,
    ICR_FIXED = 0x4000,
    SPIN_NS = 200000,
    SPIN_BATCH = 64,
    CPU_BLOCK_BYTES = PAGE_BYTES + Q_BARE_WORKER_STACK_BYTES + 3 * RING0_STACK_BYTES
};

#define START_LIMIT_NS 3000000000ull

/* One cache line each, so that processors do not disturb one another while they spin. */
typedef struct Q_ALIGNED(Q_ALIGN) bare_cpu {
    uint32_t go;   /* regions handed to this processor */
    uint32_t done; /* regions it has finished */
    const uint32_t *sleeps_on;
    uint32_t apic_id;
    uint32_t online;
    uint64_t stacks; /* first byte after its working stack: those of ring 0 */
} bare_cpu;

Q_STATIC_ASSERT(sizeof(bare_cpu) == Q_ALIGN, "a processor's mailbox is one cache line");

typedef struct bare_job {
    q_parallel_fn fn;
    void *arg;
    uint32_t n_workers;
} bare_job;

static bare_cpu smp_cpus[Q_MAX_WORKERS];
static bare_job smp_job;
static uint32_t smp_count = 1;
static bool smp_busy;

/* ---- Sleep and wake-up ----------------------------------------------------------------------- */

void q_bare_wait(void *user, const uint32_t *address, uint32_t expected)
{
    (void)user;
    if (smp_count == 1) {
        cpu_pause(); /* nobody could wake this processor */
        return;
    }
    bare_cpu *self = &smp_cpus[q_bare_cpu_index()];
    __atomic_store_n(&self->sleeps_on, address, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(address, __ATOMIC_SEQ_CST) == expected) {
        cpu_sleep();
    }
    __atomic_store_n(&self->sleeps_on, NULL, __ATOMIC_SEQ_CST);
}

void q_bare_wake(void *user, const uint32_t *address)
{
    (void)user;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < smp_count; i++) {
        if (__atomic_load_n(&smp_cpus[i].sleeps_on, __ATOMIC_SEQ_CST) == address) {
            q_bare_apic_send(smp_cpus[i].apic_id, ICR_FIXED | VECTOR_WAKE);
        }
    }
}

/* Returns once *word is no longer `old`. */
static void smp_await_change(const uint32_t *word, uint32_t old)
{
    const uint64_t start = q_bare_time_ns(NULL);
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == old) {
        for (uint32_t i = 0; i < SPIN_BATCH && __atomic_load_n(word, __ATOMIC_ACQUIRE) == old;
             i++) {
            cpu_pause();
        }
        if (q_bare_time_ns(NULL) - start > SPIN_NS) {
            q_bare_wait(NULL, word, old);
        }
    }
}

/* ---- Parallel regions ------------------------------------------------------------------------ */

/* A region inside a region, or started by another processor than the first, runs on its caller
   alone. */
uint32_t q_bare_parallel(void *user, uint32_t n_workers, q_parallel_fn fn, void *arg)
{
    (void)user;
    const bool alone = smp_count == 1 || n_workers <= 1 || q_bare_cpu_index() != 0 || smp_busy;
    if (alone) {
        fn(arg, 0, 1);
        return 1;
    }
    const uint32_t granted = n_workers < smp_count ? n_workers : smp_count;
    smp_busy = true;
    smp_job = (bare_job){fn, arg, granted};
    for (uint32_t i = 1; i < granted; i++) {
        __atomic_store_n(&smp_cpus[i].go, smp_cpus[i].go + 1, __ATOMIC_SEQ_CST);
        q_bare_wake(NULL, &smp_cpus[i].go);
    }
    fn(arg, 0, granted);
    for (uint32_t i = 1; i < granted; i++) {
        smp_await_change(&smp_cpus[i].done, smp_cpus[i].go - 1);
    }
    smp_busy = false;
    return granted;
}

uint64_t q_bare_smp_stacks(uint32_t cpu)
{
    return smp_cpus[cpu].stacks;
}

Q_NORETURN void q_bare_smp_enter(uint32_t cpu)
{
    bare_cpu *self = &smp_cpus[cpu];
    q_bare_apic_enable();
    self->apic_id = q_bare_apic_id();
    __atomic_store_n(&self->online, 1u, __ATOMIC_SEQ_CST);
    uint32_t seen = 0;
    for (;;) {
        smp_await_change(&self->go, seen);
        seen++;
        smp_job.fn(smp_job.arg, cpu, smp_job.n_workers);
        __atomic_store_n(&self->done, seen, __ATOMIC_SEQ_CST);
        q_bare_wake(NULL, &self->done);
    }
}

/* ---- Start ----------------------------------------------------------------------------------- */

static void smp_make_stacks(uint32_t expected)
{
    for (uint32_t i = 1; i < expected; i++) {
        const uint64_t block =
            (uint64_t)(uintptr_t)q_bare_memory_take_low(CPU_BLOCK_BYTES, PAGE_BYTES);
        q_bare_pages_guard(block);
        smp_cpus[i].stacks = block + PAGE_BYTES + Q_BARE_WORKER_STACK_BYTES;
        q_bare_ap_stack_tops[i] = smp_cpus[i].stacks;
    }
}

static void smp_send_all(const uint32_t *apic_ids, uint32_t n, uint32_t command)
{
    for (uint32_t i = 0; i < n; i++) {
        const bool reachable = q_bare_x2apic != 0 || apic_ids[i] < 255;
        if (reachable && apic_ids[i] != smp_cpus[0].apic_id) {
            q_bare_apic_send(apic_ids[i], command);
        }
    }
}

/* Processors 1, 2, ... up to the first that has not answered. */
static uint32_t smp_online(uint32_t expected)
{
    uint32_t n = 1;
    while (n < expected && __atomic_load_n(&smp_cpus[n].online, __ATOMIC_SEQ_CST) != 0) {
        n++;
    }
    return n;
}

static void smp_await_online(uint32_t expected, uint64_t limit_ns)
{
    const uint64_t start = q_bare_time_ns(NULL);
    while (smp_online(expected) < expected && q_bare_time_ns(NULL) - start < limit_ns) {
        cpu_pause();
    }
}

uint32_t q_bare_smp_start(uint64_t rsdp, uint64_t low_page)
{
    uint32_t apic_ids[Q_MAX_WORKERS];
    if (!q_bare_apic_init() || low_page == 0) {
        return 1;
    }
    smp_cpus[0].apic_id = q_bare_apic_id();
    const uint32_t expected = q_bare_acpi_cpus(rsdp, apic_ids, Q_MAX_WORKERS);
    if (expected < 2) {
        return 1;
    }
    smp_make_stacks(expected);
    q_bare_ap_expected = expected;
    const size_t bytes = (size_t)(q_bare_trampoline_end - q_bare_trampoline);
    for (size_t i = 0; i < bytes; i++) {
        ((volatile char *)(uintptr_t)low_page)[i] = q_bare_trampoline[i];
    }
    const uint32_t startup = ICR_STARTUP | (uint32_t)(low_page / PAGE_BYTES);
    smp_send_all(apic_ids, expected, ICR_INIT);
    q_bare_time_delay(10000000);
    smp_send_all(apic_ids, expected, startup);
    smp_await_online(expected, 1000000);
    if (smp_online(expected) < expected) {
        smp_send_all(apic_ids, expected, startup);
        smp_await_online(expected, START_LIMIT_NS);
    }
    smp_count = smp_online(expected);
    return smp_count;
}
