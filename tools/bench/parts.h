/* SPDX-License-Identifier: MIT */
/*
 * parts.h: what the parts of the benchmark house share: the port, memory, the clock, series of figures and JSON lines.
 *
 * A part is a subcommand of build/bench/parts. It prints one JSON object a line on stdout and exits 0; a part this
 * machine cannot run prints {"part":..., "unavailable": WHY}.
 */
#ifndef QORUS_TOOLS_BENCH_PARTS_H
#define QORUS_TOOLS_BENCH_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../port/posix/posix.h"

enum { PARTS_SERIES = 4096 };

/* Figures of one measurement; ascending once series_sort() was called. */
typedef struct series {
    double value[PARTS_SERIES];
    uint32_t n;
} series;

void series_add(series *s, double value); /* beyond PARTS_SERIES: dropped */
void series_sort(series *s);
double series_median(const series *s); /* of a sorted one */
/* Prints "NAME":median,"NAME_min":...,"NAME_max":... of a sorted series, a comma in front. */
void series_print(const series *s, const char *name);

/* Seconds since some fixed time. */
double parts_seconds(void);
/* The port with n workers, started once for each n; exits on failure. */
const q_port *parts_port(uint32_t n_workers);
/* Memory at a multiple of 4096, zeroed, huge pages where there are any; exits where there is none. */
void *parts_take(size_t size);
/* Ends the program with a line on stderr. */
_Noreturn void parts_fail(const char *what);
/* A number of the command line: 1 .. limit; exits otherwise. */
uint32_t parts_number(const char *word, uint32_t limit);

/* Subcommands; words do not include the name. */
int part_read(const char *const *words, int n);
int part_peak(const char *const *words, int n);
int part_dispatch(const char *const *words, int n);
int part_sampler(const char *const *words, int n);
int part_gemm(const char *const *words, int n);
int part_start(const char *const *words, int n);
int part_train(const char *const *words, int n);
int part_fusion(const char *const *words, int n);
int part_forward(const char *const *words, int n);

#endif /* QORUS_TOOLS_BENCH_PARTS_H */
