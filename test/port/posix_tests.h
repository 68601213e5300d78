/* SPDX-License-Identifier: MIT */
/* posix_tests.h: what the files of the POSIX port's test share. */
#ifndef QORUS_TEST_PORT_POSIX_TESTS_H
#define QORUS_TEST_PORT_POSIX_TESTS_H

#include "../../port/posix/posix.h"
#include "check.h"

/* One port for the tests that need no other; made by main, 2 workers. */
extern q_posix test_posix;

/* Path of a name in the test's own directory; each call returns one of four buffers in turn. */
const char *test_path(const char *name);

/* Makes a file of n bytes (byte i is i * 7 + 3) and returns its path. */
const char *test_make_file(const char *name, size_t n);

/* Entries of a directory, dots left out; -1 if it cannot be read. */
int test_count_entries(const char *dir);

/* Descriptors this process has open. */
int test_count_fds(void);

void test_files_all(void);
void test_memory_all(void);
void test_threads_all(void);
void test_fault_all(void);

#endif /* QORUS_TEST_PORT_POSIX_TESTS_H */
