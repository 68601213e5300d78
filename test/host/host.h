/* SPDX-License-Identifier: MIT */
/*
 * host.h: what the CMocka suites share. A suite is a function of test/host/test_<area>.c, named in main.c.
 */
#ifndef QORUS_TEST_HOST_H
#define QORUS_TEST_HOST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "qorus_types.h"

/* Runs the array `tests`, adding its length to *total; gives the number that failed. */
#define HOST_RUN(name, tests, total)                                                                      \
    (*(total) += (unsigned)(sizeof(tests) / sizeof((tests)[0])),                                          \
     cmocka_run_group_tests_name(name, tests, NULL, NULL))

int host_memory(unsigned *total);
int host_pool(unsigned *total);
int host_base(unsigned *total);
int host_text(unsigned *total);
int host_mem(unsigned *total);

/* Next of a sequence of 64-bit numbers (SplitMix64; Steele, Lea and Flood 2014). */
static inline uint64_t host_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

#endif /* QORUS_TEST_HOST_H */
