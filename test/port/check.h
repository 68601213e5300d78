/* SPDX-License-Identifier: MIT */
/*
 * check.h: a test harness of one page. CHECK counts failures and goes on; RUN runs a test function;
 * check_summary prints the line scripts look for and returns the exit status.
 */
#ifndef QORUS_TEST_PORT_CHECK_H
#define QORUS_TEST_PORT_CHECK_H

#include <stdio.h>

/* 1 under a sanitizer, which needs address space of its own and replaces mlock by nothing. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CHECK_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define CHECK_SANITIZED 1
#endif
#endif
#ifndef CHECK_SANITIZED
#define CHECK_SANITIZED 0
#endif

typedef struct check_state {
    unsigned passed;
    unsigned failed;
    unsigned skipped;
    unsigned faults;  /* failed checks of the test that is running */
    const char *skip; /* reason, if the running test asked to be skipped */
} check_state;

extern check_state check_now;

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            check_now.faults++;                                                                    \
            (void)fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #cond);             \
        }                                                                                          \
    } while (0)

#define CHECK_EQ(a, b)                                                                             \
    do {                                                                                           \
        long long check_a = (long long)(a);                                                        \
        long long check_b = (long long)(b);                                                        \
        if (check_a != check_b) {                                                                  \
            check_now.faults++;                                                                    \
            (void)fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #a,         \
                          check_a, check_b);                                                       \
        }                                                                                          \
    } while (0)

#define SKIP(reason)                                                                               \
    do {                                                                                           \
        check_now.skip = (reason);                                                                 \
        return;                                                                                    \
    } while (0)

#define RUN(test) check_run(#test, test)

static inline void check_run(const char *name, void (*test)(void))
{
    check_now.faults = 0;
    check_now.skip = NULL;
    test();
    if (check_now.skip != NULL) {
        check_now.skipped++;
        (void)printf("skip %s: %s\n", name, check_now.skip);
    } else if (check_now.faults != 0) {
        check_now.failed++;
        (void)printf("FAIL %s\n", name);
    } else {
        check_now.passed++;
        (void)printf("ok   %s\n", name);
    }
    (void)fflush(stdout);
}

static inline int check_summary(void)
{
    (void)printf("%u passed, %u failed, %u skipped\n", check_now.passed, check_now.failed,
                 check_now.skipped);
    return check_now.failed != 0 ? 1 : 0;
}

#endif /* QORUS_TEST_PORT_CHECK_H */
