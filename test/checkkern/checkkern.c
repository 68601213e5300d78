/* SPDX-License-Identifier: MIT */
/*
 * checkkern.c: every kernel of every CPU backend against the scalar one, bit for bit.
 *
 *   checkkern [--seed N] [--isa NAME[,NAME]] [--kernel NAME] [--bench] [--list]
 *
 *   --seed    of the random inputs (printed; default from the clock)
 *   --isa     backends to test; default: all. A backend this processor cannot run counts its
 *   kernels as skipped --kernel  only kernels whose name contains NAME
 *   --bench   times instead of tests: multiply-adds or values per second, bytes per second, one
 *   worker
 *
 * The scalar backend is tested against itself with several workers, row by row and token by token.
 * Ends with "N passed, N failed, N skipped", one count per kernel and backend; exit 0 if none
 * failed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "port/x86/cpu_detect.h"

typedef struct kernel_check {
    const char *name;
    void (*run)(check *c);
    void (*bench)(check *c);
    size_t slot; /* offset in q_kernels */
} kernel_check;

static const kernel_check kernel_checks[] = {
#define Q_KERNEL(slot, args) {#slot, check_##slot, bench_##slot, offsetof(q_kernels, slot)},
#include "qorus/kernels.inc"
#undef Q_KERNEL
};

enum { KERNELS = sizeof(kernel_checks) / sizeof(kernel_checks[0]) };

typedef struct options {
    uint64_t seed;
    const char *isa;
    const char *kernel;
    bool bench;
} options;

typedef struct totals {
    uint32_t passed;
    uint32_t failed;
    uint32_t skipped;
} totals;

static bool make_scalar(q_backend *b, uint64_t features)
{
    (void)features;
    q_backend_scalar(b);
    return true;
}

#if defined(__x86_64__) && !defined(Q_REAL_DOUBLE)
static bool make_avx2(q_backend *b, uint64_t features)
{
    return q_backend_avx2(b, features);
}
#endif

typedef struct backend_entry {
    const char *name;
    bool (*make)(q_backend *b, uint64_t features);
} backend_entry;

static const backend_entry backend_entries[] = {
    {"scalar", make_scalar},
#if defined(__x86_64__) && !defined(Q_REAL_DOUBLE)
    {"avx2", make_avx2},
#endif
};

/* True if `name` is one of the comma-separated words of list. */
static bool in_list(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = list; p != NULL; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, name, n) == 0 && (p[n] == ',' || p[n] == '\0')) {
            return true;
        }
    }
    return false;
}

static bool inherits(const check *c, const kernel_check *k)
{
    return memcmp((const char *)&c->tested.kernels + k->slot,
                  (const char *)&c->reference.kernels + k->slot, sizeof(void (*)(void))) == 0;
}

static bool wanted(const options *o, const kernel_check *k)
{
    return o->kernel == NULL || strstr(k->name, o->kernel) != NULL;
}

static void run_kernel(check *c, const options *o, const kernel_check *k, totals *t)
{
    c->kernel = k->name;
    c->cases = 0;
    c->failures = 0;
    if (o->bench) {
        if (strcmp(c->tested.name, "scalar") == 0 || !inherits(c, k)) {
            k->bench(c);
        }
        return;
    }
    /* every kernel has its own stream: --kernel does not change the inputs of one */
    c->rng = o->seed * 1000003u + k->slot;
    k->run(c);
    printf("  %-8s %-14s %4u cases  %s%s\n", c->tested.name, k->name, c->cases,
           c->failures == 0 ? "ok" : "FAILED",
           inherits(c, k) && strcmp(c->tested.name, "scalar") != 0 ? " (inherited)" : "");
    t->passed += c->failures == 0;
    t->failed += c->failures != 0;
}

static void run_backend(check *c, const options *o, const backend_entry *e, uint64_t features,
                        totals *t)
{
    bool able = e->make(&c->tested, features);
    if (!able) {
        printf("  %s: UNAVAILABLE on this processor\n", e->name);
    } else {
        c->workspace = aligned_alloc(Q_ALIGN, c->tested.workspace_size + Q_ALIGN);
        if (c->workspace == NULL) {
            fprintf(stderr, "checkkern: no memory for the workspace\n");
            exit(2);
        }
    }
    for (uint32_t i = 0; i < KERNELS; i++) {
        if (wanted(o, &kernel_checks[i]) && able) {
            run_kernel(c, o, &kernel_checks[i], t);
        } else if (wanted(o, &kernel_checks[i])) {
            t->skipped++;
        }
    }
    if (able) {
        free(c->workspace);
    }
}

static void usage(void)
{
    fprintf(stderr,
            "usage: checkkern [--seed N] [--isa NAME[,NAME]] [--kernel NAME] [--bench] [--list]\n");
    exit(2);
}

static void list_kernels(void)
{
    for (uint32_t i = 0; i < KERNELS; i++) {
        printf("%s\n", kernel_checks[i].name);
    }
    exit(0);
}

static options parse(int argc, char **argv)
{
    options o = {(uint64_t)time(NULL), NULL, NULL, false};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--bench") == 0) {
            o.bench = true;
        } else if (strcmp(argv[i], "--list") == 0) {
            list_kernels();
        } else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0) {
            o.seed = strtoull(argv[++i], NULL, 0);
        } else if (i + 1 < argc && strcmp(argv[i], "--isa") == 0) {
            o.isa = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--kernel") == 0) {
            o.kernel = argv[++i];
        } else {
            usage();
        }
    }
    return o;
}

int main(int argc, char **argv)
{
    static check c;
    options o = parse(argc, argv);
    totals t = {0, 0, 0};
    uint32_t ran = 0;
    q_backend_scalar(&c.reference);
    printf("checkkern: seed %llu\n", (unsigned long long)o.seed);
    for (uint32_t i = 0; i < sizeof(backend_entries) / sizeof(backend_entries[0]); i++) {
        if (o.isa == NULL || in_list(o.isa, backend_entries[i].name)) {
            run_backend(&c, &o, &backend_entries[i], q_cpu_detect(), &t);
            ran++;
        }
    }
    if (ran == 0) {
        fprintf(stderr, "checkkern: no backend of that name is built in\n");
        return 2;
    }
    printf("%u passed, %u failed, %u skipped\n", t.passed, t.failed, t.skipped);
    return t.failed == 0 ? 0 : 1;
}
