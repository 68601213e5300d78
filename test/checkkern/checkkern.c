/* SPDX-License-Identifier: MIT */
/*
 * checkkern.c: every kernel of every CPU backend against the scalar one, bit for bit.
 *
 *   checkkern [--seed N] [--isa NAME[,NAME]] [--kernel NAME] [--bench] [--list]
 *
 *   --seed    of the random inputs (printed; default from the clock)
 *   --isa     backends to test; default: all, each with the slots it inherits. A backend this processor cannot run counts its
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
#include "tools/common/backends.h"

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

/* The slowest backend with the tested one's kernel in this slot: whom it is inherited from, or the tested one. */
static const char *source_of(const check *c, const kernel_check *k)
{
    q_backend b;
    for (uint32_t i = 0; backend_name(i) != NULL; i++) {
        if (backend_make(&b, backend_name(i), q_cpu_detect()) &&
            memcmp((const char *)&c->tested.kernels + k->slot, (const char *)&b.kernels + k->slot,
                   sizeof(void (*)(void))) == 0) {
            return backend_name(i);
        }
    }
    return c->tested.name;
}

static bool inherits(const check *c, const kernel_check *k)
{
    return strcmp(source_of(c, k), c->tested.name) != 0;
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
        if (!inherits(c, k)) {
            k->bench(c);
        }
        return;
    }
    /* every kernel has its own stream: --kernel does not change the inputs of one */
    c->rng = o->seed * 1000003u + k->slot;
    k->run(c);
    printf("  %-8s %-14s %4u cases  %s%s\n", c->tested.name, k->name, c->cases,
           c->failures == 0 ? "ok" : "FAILED",
           inherits(c, k) ? " (inherited)" : "");
    t->passed += c->failures == 0;
    t->failed += c->failures != 0;
}

/* The slots that are another backend's, one line for each of those. */
static void print_inherited(const check *c)
{
    for (uint32_t n = 0; backend_name(n) != NULL && strcmp(backend_name(n), c->tested.name) != 0; n++) {
        bool any = false;
        for (uint32_t i = 0; i < KERNELS; i++) {
            if (strcmp(source_of(c, &kernel_checks[i]), backend_name(n)) == 0) {
                if (!any) {
                    printf("  %s inherits from %s:", c->tested.name, backend_name(n));
                }
                printf(" %s", kernel_checks[i].name);
                any = true;
            }
        }
        if (any) {
            printf("\n");
        }
    }
}

static void run_backend(check *c, const options *o, const char *name, uint64_t features, totals *t)
{
    bool able = backend_make(&c->tested, name, features);
    if (!able) {
        printf("  %s: UNAVAILABLE on this processor\n", name);
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
        if (!o->bench) {
            print_inherited(c);
        }
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
    for (uint32_t i = 0; backend_name(i) != NULL; i++) {
        if (o.isa == NULL || in_list(o.isa, backend_name(i))) {
            run_backend(&c, &o, backend_name(i), q_cpu_detect(), &t);
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
