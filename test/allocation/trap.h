/* SPDX-License-Identifier: MIT */
/*
 * trap.h: kills the process at any call that could get memory: brk, mmap, mremap, munmap, madvise, clone. malloc and its
 * kin are wrapped by the linker and counted.
 */
#ifndef TEST_ALLOCATION_TRAP_H
#define TEST_ALLOCATION_TRAP_H

#include <stdbool.h>

/* What trap_work returns where there is no such filter. */
enum { TRAP_NONE = 3 };

/* In a child: makes ready, sets the trap, works, ends by trap_end(). Returns only if that fails: 1, or TRAP_NONE. */
typedef int (*trap_work)(const char *path, bool provoke);

/* From now on the process dies at such a call, in any thread. */
bool trap_set(void);
/* Ends the child: good work without an allocation is its success. provoke: asks for memory first, and must die. */
void trap_end(bool good, bool provoke);
/* Runs the work twice, the second time provoked, and prints the summary. Returns main's status. */
int trap_test(trap_work work, const char *path, const char *what);

#endif /* TEST_ALLOCATION_TRAP_H */
