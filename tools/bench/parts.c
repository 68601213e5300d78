/* SPDX-License-Identifier: MIT */
/*
 * parts.c: the measuring program of `make bench` for everything that is not a model or a kernel.
 *
 *   parts read FILE THREADS                   rate of reading as many bytes as FILE has
 *   parts peak THREADS                        f32 FMA and int8 rates of each instruction set
 *   parts dispatch MLP.qorus                  a forward, an operation, a training step, and with kernels that do nothing
 *   parts sampler N_VOCAB                     one draw with top-k, top-p and min-p
 *   parts gemm BACKEND THREADS M N K          y[M][N] = x[M][K] * w[N][K]^T in f32
 *   parts backends                            names of the backends built in, and which run here
 *   parts train WORK BACKEND THREADS          steps of a training of works.h
 *   parts fusion WORK BACKEND THREADS         such steps with fused layers and without, in turn; their losses are the same
 *   parts forward WORK BACKEND THREADS        one sample of its network forward, from a .qorus file
 *   parts start REPETITIONS COMMAND WORD...   from the start of a process to its first byte on stdout
 */
#define _POSIX_C_SOURCE 200809L
#include "parts.h"

#include "../common/backends.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void series_add(series *s, double value)
{
    if (s->n < PARTS_SERIES) {
        s->value[s->n++] = value;
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

void series_sort(series *s)
{
    qsort(s->value, s->n, sizeof(s->value[0]), ascending);
}

double series_median(const series *s)
{
    return s->n == 0 ? 0 : (s->value[(s->n - 1) / 2] + s->value[s->n / 2]) / 2;
}

void series_print(const series *s, const char *name)
{
    (void)printf(",\"%s\":%.6g,\"%s_min\":%.6g,\"%s_max\":%.6g", name, series_median(s), name, s->value[0], name,
                 s->value[s->n - 1]);
}

double parts_seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void parts_fail(const char *what)
{
    (void)fprintf(stderr, "parts: %s\n", what);
    exit(1);
}

const q_port *parts_port(uint32_t n_workers)
{
    static q_posix posix;
    static uint32_t have;
    q_diag diag;
    if (have != n_workers) {
        if (have != 0) {
            q_posix_close(&posix);
        }
        if (q_posix_init(&posix, n_workers, &diag) != Q_OK) {
            parts_fail("no threads");
        }
        have = n_workers;
    }
    return q_posix_port(&posix);
}

void *parts_take(size_t size)
{
    void *base = NULL;
    q_diag diag;
    if (q_posix_region_alloc(size, size >= (size_t)1 << 21 ? Q_POSIX_HUGE : 0u, &base, &diag) != Q_OK) {
        parts_fail("no memory");
    }
    return base;
}

uint32_t parts_number(const char *word, uint32_t limit)
{
    char *end;
    unsigned long long v = strtoull(word, &end, 10);
    if (*end != '\0' || end == word || v == 0 || v > limit) {
        (void)fprintf(stderr, "parts: %s is no number from 1 to %u\n", word, limit);
        exit(2);
    }
    return (uint32_t)v;
}

static int part_backends(const char *const *words, int n)
{
    const q_port *port = parts_port(1);
    (void)words;
    (void)n;
    for (uint32_t i = 0; backend_name(i) != NULL; i++) {
        static q_backend b;
        bool runs = backend_make(&b, backend_name(i), port->cpu_features(port->user));
        (void)printf("{\"part\":\"backend\",\"name\":\"%s\",\"runs\":%s}\n", backend_name(i), runs ? "true" : "false");
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct part {
        const char *name;
        int n_words; /* negative: at least so many */
        int (*run)(const char *const *words, int n);
    } parts[] = {{"read", 2, part_read},         {"peak", 1, part_peak}, {"dispatch", 1, part_dispatch},
                 {"sampler", 1, part_sampler},   {"gemm", 5, part_gemm}, {"start", -2, part_start},
                 {"train", 3, part_train},       {"fusion", 3, part_fusion}, {"forward", 3, part_forward},
                 {"backends", 0, part_backends}};
    int n = argc - 2;
    for (size_t i = 0; argc > 1 && i < sizeof(parts) / sizeof(parts[0]); i++) {
        bool fits = parts[i].n_words >= 0 ? n == parts[i].n_words : n >= -parts[i].n_words;
        if (strcmp(argv[1], parts[i].name) == 0 && fits) {
            return parts[i].run((const char *const *)(argv + 2), n);
        }
    }
    (void)fprintf(stderr, "usage: parts read FILE THREADS | peak THREADS | dispatch MLP.qorus | sampler N_VOCAB |\n"
                          "             gemm BACKEND THREADS M N K | train WORK BACKEND THREADS |\n"
                          "             fusion WORK BACKEND THREADS | forward WORK BACKEND THREADS | backends |\n"
                          "             start REPETITIONS COMMAND WORD...\n");
    return 2;
}
