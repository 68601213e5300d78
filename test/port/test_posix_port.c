/* SPDX-License-Identifier: MIT */
/* test_posix_port.c: runs the tests of the POSIX and the fault port; init, clock, log, panic. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "posix_tests.h"

check_state check_now;
q_posix test_posix;

static char test_dir[256];

/* ---- Helpers --------------------------------------------------------------------------------- */

const char *test_path(const char *name)
{
    static char paths[4][512];
    static unsigned turn;
    char *to = paths[turn++ % 4];
    (void)snprintf(to, sizeof paths[0], "%s/%s", test_dir, name);
    return to;
}

const char *test_make_file(const char *name, size_t n)
{
    const char *path = test_path(name);
    FILE *f = fopen(path, "wb");
    for (size_t i = 0; f != NULL && i < n; i++) {
        (void)fputc((int)((i * 7 + 3) & 255), f);
    }
    CHECK(f != NULL && fclose(f) == 0);
    return path;
}

int test_count_entries(const char *dir)
{
    DIR *d = opendir(dir);
    int n = 0;
    if (d == NULL) {
        return -1;
    }
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        n += e->d_name[0] != '.';
    }
    (void)closedir(d);
    return n;
}

int test_count_fds(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++) {
        n += fcntl(fd, F_GETFD) != -1;
    }
    return n;
}

/* ---- Init ------------------------------------------------------------------------------------ */

static void init_refuses_bad_arguments(void)
{
    static q_posix p;
    q_diag d;
    memset(&d, 0, sizeof d);
    CHECK_EQ(q_posix_init(NULL, 1, &d), Q_ERR_INVALID_ARG);
    CHECK(strcmp(d.field, "p") == 0);
    CHECK_EQ(q_posix_init(&p, Q_MAX_WORKERS + 1, &d), Q_ERR_INVALID_ARG);
    CHECK(strcmp(d.field, "n_workers") == 0);
    CHECK_EQ(d.need, Q_MAX_WORKERS);
    CHECK_EQ(d.have, Q_MAX_WORKERS + 1);
    CHECK_EQ(q_posix_init(&p, Q_MAX_WORKERS + 1, NULL), Q_ERR_INVALID_ARG);
}

static void init_zero_means_every_cpu(void)
{
    static q_posix p;
    cpu_set_t set;
    cpu_set_t one;
    CHECK_EQ(q_posix_init(&p, 0, NULL), Q_OK);
    CHECK(p.n_workers == q_posix_cpus() || p.n_workers == Q_MAX_WORKERS);
    q_posix_close(&p);
    q_posix_close(&p);
    CHECK_EQ(sched_getaffinity(0, sizeof set, &set), 0);
    CPU_ZERO(&one);
    for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++) {
        if (CPU_ISSET(i, &set)) {
            CPU_SET(i, &one);
        }
    }
    CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    CHECK_EQ(q_posix_cpus(), 1);
    CHECK_EQ(sched_setaffinity(0, sizeof set, &set), 0);
}

#if !CHECK_SANITIZED

/* In a child with an address space too small for all the stacks. */
static int child_without_room(void)
{
    static q_posix p;
    struct rlimit room;
    q_diag d;
    memset(&d, 0, sizeof d);
    room.rlim_cur = room.rlim_max = (rlim_t)40 << 20;
    if (setrlimit(RLIMIT_AS, &room) != 0) {
        return 2;
    }
    if (q_posix_init(&p, Q_MAX_WORKERS, &d) != Q_ERR_NO_DEVICE) {
        return 3;
    }
    if (d.code != Q_ERR_NO_DEVICE || d.need != Q_MAX_WORKERS - 1 || d.have == 0 ||
        d.have >= d.need) {
        return 4;
    }
    q_posix_close(&p);
    /* the threads that had started are gone, so that a smaller pool fits */
    return q_posix_init(&p, 2, &d) == Q_OK ? 0 : 5;
}

#endif

static void init_refused_thread_leaves_none(void)
{
#if CHECK_SANITIZED
    SKIP("the sanitizer needs more address space than the test allows");
#else
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(child_without_room());
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
#endif
}

static void port_is_complete(void)
{
    const q_port *port = q_posix_port(&test_posix);
    CHECK_EQ(port->struct_size, sizeof(q_port));
    CHECK(port->file_open && port->file_size && port->file_read_at && port->file_write_at);
    CHECK(port->file_sync && port->file_replace && port->file_remove && port->file_close);
    CHECK(port->map && port->unmap && port->pin && port->unpin && port->ticks &&
          port->cpu_features);
    CHECK(port->parallel && port->wait && port->wake && port->log && port->panic);
    CHECK(port->block_facts == NULL);
    CHECK(port->ns_den != 0);
}

static void cpu_features_stay(void)
{
    const q_port *port = q_posix_port(&test_posix);
    const uint64_t known = ((uint64_t)Q_CPU_AMX_BF16 << 1) - 1;
    uint64_t f = port->cpu_features(port->user);
    CHECK_EQ(f & ~known, 0);
    CHECK_EQ(f, port->cpu_features(port->user));
#if !defined(__x86_64__) && !defined(__i386__)
    CHECK_EQ(f, 0);
#endif
}

/* ---- Clock ----------------------------------------------------------------------------------- */

static void clock_is_monotonic_in_ns(void)
{
    const q_port *port = q_posix_port(&test_posix);
    const struct timespec pause = { 0, 20000000 };
    uint64_t last = port->ticks(port->user);
    for (int i = 0; i < 10000; i++) {
        uint64_t now = port->ticks(port->user);
        CHECK(now >= last);
        last = now;
    }
    (void)nanosleep(&pause, NULL);
    uint64_t ns = (port->ticks(port->user) - last) * port->ns_num / port->ns_den;
    CHECK(ns >= 20000000u);
    CHECK(ns < 20000000000u);
}

/* ---- Log and panic --------------------------------------------------------------------------- */

/* Runs fn in a child whose stderr is read into text; returns the child's status. */
static int run_child(void (*fn)(const q_port *), char *text, size_t cap)
{
    int ends[2];
    int status = -1;
    size_t n = 0;
    CHECK_EQ(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit no_core = { 0, 0 };
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)dup2(ends[1], STDERR_FILENO);
        fn(q_posix_port(&test_posix));
        _exit(0);
    }
    (void)close(ends[1]);
    for (ssize_t got = 1; got > 0 && n + 1 < cap; n += got > 0 ? (size_t)got : 0) {
        got = read(ends[0], text + n, cap - 1 - n);
    }
    text[n] = '\0';
    (void)close(ends[0]);
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

static void child_logs(const q_port *port)
{
    port->log(port->user, Q_LOG_ERROR, "lost", 4);
    port->log(port->user, Q_LOG_WARN, "old file!", 8);
    port->log(port->user, Q_LOG_INFO, "ready", 5);
    port->log(port->user, Q_LOG_DEBUG, "hidden", 6);
    test_posix.log_level = Q_LOG_DEBUG;
    port->log(port->user, Q_LOG_DEBUG, "seen", 4);
}

static void log_writes_lines_up_to_its_level(void)
{
    char text[256];
    int status = run_child(child_logs, text, sizeof text);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(strcmp(text, "error: lost\nwarning: old file\nready\ndebug: seen\n") == 0);
}

static void child_logs_into_nothing(const q_port *port)
{
    (void)close(STDERR_FILENO);
    port->log(port->user, Q_LOG_ERROR, "lost", 4);
}

static void log_that_fails_is_no_failure_p26(void)
{
    char text[64];
    int status = run_child(child_logs_into_nothing, text, sizeof text);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void child_panics(const q_port *port)
{
    q_diag d;
    memset(&d, 0, sizeof d);
    d.code = Q_ERR_NON_FINITE;
    memcpy(d.what, "layer 3", 8);
    memcpy(d.field, "y", 2);
    d.offset = 17;
    port->panic(port->user, &d);
}

static void panic_prints_and_aborts(void)
{
    char text[512];
    int status = run_child(child_panics, text, sizeof text);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    CHECK(strstr(text, "code -43") != NULL);
    CHECK(strstr(text, "layer 3") != NULL);
    CHECK(strstr(text, "offset 17") != NULL);
}

/* ---- Main ------------------------------------------------------------------------------------ */

static void nothing_is_left_behind(void)
{
    CHECK_EQ(test_count_entries(test_dir), 0);
    CHECK_EQ(rmdir(test_dir), 0);
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(test_dir, sizeof test_dir, "%s/qorus-port-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(test_dir) == NULL || q_posix_init(&test_posix, 2, NULL) != Q_OK) {
        (void)fprintf(stderr, "cannot prepare the test\n");
        return 1;
    }
    int fds = test_count_fds();
    RUN(init_refuses_bad_arguments);
    RUN(init_zero_means_every_cpu);
    RUN(init_refused_thread_leaves_none);
    RUN(port_is_complete);
    RUN(cpu_features_stay);
    RUN(clock_is_monotonic_in_ns);
    RUN(log_writes_lines_up_to_its_level);
    RUN(log_that_fails_is_no_failure_p26);
    RUN(panic_prints_and_aborts);
    test_files_all();
    test_memory_all();
    test_threads_all();
    test_fault_all();
    RUN(nothing_is_left_behind);
    q_posix_close(&test_posix);
    if (test_count_fds() != fds) {
        (void)fprintf(stderr, "descriptors leaked: %d, not %d\n", test_count_fds(), fds);
        check_now.failed++;
    }
    return check_summary();
}
