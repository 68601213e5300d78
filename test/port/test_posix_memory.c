/* SPDX-License-Identifier: MIT */
/* test_posix_memory.c: mapped files, pinning and its limit, models on FUSE, page-level regions. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "posix_tests.h"

#define PORT (&test_posix.port)

static bool bytes_right(const void *base, size_t n)
{
    const uint8_t *b = (const uint8_t *)base;
    for (size_t i = 0; i < n; i++) {
        if (b[i] != (uint8_t)(i * 7 + 3)) {
            return false;
        }
    }
    return true;
}

/* ---- Mapping --------------------------------------------------------------------------------- */

static void map_outlives_close(void)
{
    const char *path = test_make_file("mapped", 10001);
    const void *base = NULL;
    size_t size = 0;
    q_port_file f = 0;
    CHECK_EQ(PORT->file_open(PORT->user, path, Q_OPEN_READ, &f), Q_OK);
    CHECK_EQ(PORT->map(PORT->user, f, &base, &size), Q_OK);
    CHECK_EQ(PORT->file_close(PORT->user, f), Q_OK);
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(size, 10001);
    CHECK_EQ((uintptr_t)base % 4096, 0);
    CHECK(bytes_right(base, size));
    PORT->unmap(PORT->user, base, size);
    PORT->unmap(PORT->user, NULL, 0);
    CHECK_EQ(msync((void *)(uintptr_t)base, 4096, MS_ASYNC), -1);
}

static void map_is_read_only(void)
{
    const char *path = test_make_file("readonly", 100);
    q_posix_model m;
    int status = 0;
    CHECK_EQ(q_posix_open_model(&test_posix, path, NULL, &m, NULL), Q_OK);
    pid_t pid = fork();
    if (pid == 0) {
        (void)signal(SIGSEGV, SIG_DFL);
        *(volatile char *)(uintptr_t)m.base = 1;
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    q_posix_close_model(&test_posix, &m);
    CHECK_EQ(unlink(path), 0);
}

static void map_refuses_an_empty_file_m01(void)
{
    const char *path = test_make_file("empty", 0);
    const void *base = &path;
    size_t size = 7;
    q_port_file f = 0;
    q_posix_model m = { &path, 9, false, false, { 0 } };
    q_diag d;
    CHECK_EQ(PORT->file_open(PORT->user, path, Q_OPEN_READ, &f), Q_OK);
    CHECK_EQ(PORT->map(PORT->user, f, &base, &size), Q_ERR_INVALID_SIZE);
    CHECK(base == &path && size == 7);
    CHECK_EQ(PORT->file_close(PORT->user, f), Q_OK);
    CHECK_EQ(q_posix_open_model(&test_posix, path, NULL, &m, &d), Q_ERR_INVALID_SIZE);
    CHECK(strstr(d.what, "empty") != NULL);
    CHECK(m.base == &path && m.size == 9);
    CHECK_EQ(unlink(path), 0);
}

/* ---- Pinning --------------------------------------------------------------------------------- */

static void pin_any_address(void)
{
    void *base = NULL;
    CHECK_EQ(q_posix_region_alloc(16384, 0, &base, NULL), Q_OK);
    if (PORT->pin(PORT->user, (const char *)base + 100, 5000) == Q_ERR_NOT_SUPPORTED) {
        q_posix_region_free(base, 16384);
        SKIP("this process may not pin 8 KiB");
    }
    PORT->unpin(PORT->user, (const char *)base + 100, 5000);
    CHECK_EQ(PORT->pin(PORT->user, base, SIZE_MAX), Q_ERR_IO);
    q_posix_region_free(base, 16384);
}

#if !CHECK_SANITIZED

/* Without privileges and with a limit of one page, as nobody. */
static int child_pins(void)
{
    const struct rlimit limit = { 4096, 4096 };
    void *base = NULL;
    if (q_posix_region_alloc(65536, 0, &base, NULL) != Q_OK ||
        setrlimit(RLIMIT_MEMLOCK, &limit) != 0) {
        return 2;
    }
    if (getuid() == 0 && setresuid(65534, 65534, 65534) != 0) {
        return 3;
    }
    if (PORT->pin(PORT->user, base, 65536) != Q_ERR_NOT_SUPPORTED) {
        return 4;
    }
    if (strstr(test_posix.last.what, "RLIMIT_MEMLOCK") == NULL || test_posix.last.have != 4096) {
        return 5;
    }
    return test_posix.last.need == 65536 ? 0 : 6;
}

#endif

static void pin_names_the_limit(void)
{
#if CHECK_SANITIZED
    SKIP("sanitizers replace mlock by nothing");
#else
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(child_pins());
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
#endif
}

static int broken_mlock(const void *base, size_t size)
{
    (void)base;
    (void)size;
    errno = EINVAL;
    return -1;
}

static void pin_other_failures_are_io(void)
{
    const q_posix_calls real = test_posix.calls;
    test_posix.calls.mlock = broken_mlock;
    CHECK_EQ(PORT->pin(PORT->user, &real, 100), Q_ERR_IO);
    test_posix.calls = real;
}

/* ---- Models ---------------------------------------------------------------------------------- */

static char fuse_source[512];

/* Says yes for the file at fuse_source, no for everything else. */
static int source_is_fuse(int fd)
{
    struct stat a;
    struct stat b;
    return fstat(fd, &a) == 0 && stat(fuse_source, &b) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
}

static int all_is_fuse(int fd)
{
    (void)fd;
    return 1;
}

static int no_nameless(const char *dir)
{
    (void)dir;
    errno = EOPNOTSUPP;
    return -1;
}

static ssize_t no_room(int fd, const void *from, size_t n, off_t at)
{
    (void)fd;
    (void)from;
    (void)n;
    (void)at;
    errno = ENOSPC;
    return -1;
}

static const char *make_fuse_file(const char *name, size_t n)
{
    const char *path = test_make_file(name, n);
    (void)snprintf(fuse_source, sizeof fuse_source, "%s", path);
    test_posix.calls.is_fuse = source_is_fuse;
    return path;
}

static void model_is_mapped_in_place(void)
{
    const char *path = test_make_file("model", 5000);
    q_posix_model m;
    CHECK_EQ(q_posix_open_model(&test_posix, path, NULL, &m, NULL), Q_OK);
    CHECK(!m.copied);
    CHECK(m.size == 5000 && bytes_right(m.base, m.size));
    q_posix_close_model(&test_posix, &m);
    CHECK(m.base == NULL && m.size == 0);
    q_posix_close_model(&test_posix, &m);
    CHECK_EQ(unlink(path), 0);
}

static void model_missing_or_bad_arguments(void)
{
    q_posix_model m = { NULL, 9, false, false, { 0 } };
    q_diag d;
    CHECK_EQ(q_posix_open_model(&test_posix, test_path("absent"), NULL, &m, &d), Q_ERR_NOT_FOUND);
    CHECK(d.code == Q_ERR_NOT_FOUND && strstr(d.what, "absent") != NULL);
    CHECK_EQ(q_posix_open_model(NULL, "x", NULL, &m, &d), Q_ERR_INVALID_ARG);
    CHECK_EQ(q_posix_open_model(&test_posix, NULL, NULL, &m, &d), Q_ERR_INVALID_ARG);
    CHECK(strcmp(d.field, "path") == 0);
    CHECK_EQ(q_posix_open_model(&test_posix, "x", NULL, NULL, &d), Q_ERR_INVALID_ARG);
    CHECK(strcmp(d.field, "out") == 0);
    CHECK_EQ(q_posix_open_model(&test_posix, "/tmp", NULL, &m, &d), Q_ERR_IO);
    CHECK_EQ(m.size, 9);
}

/* The bytes are right, the cache directory is empty, and the copy is another file. */
static void copy_once(size_t n)
{
    const q_posix_calls real = test_posix.calls;
    const char *path = make_fuse_file("onfuse", n);
    const char *cache = test_path("cache");
    q_posix_model m;
    CHECK_EQ(mkdir(cache, 0700), 0);
    CHECK_EQ(q_posix_open_model(&test_posix, path, cache, &m, NULL), Q_OK);
    CHECK(m.copied);
    CHECK_EQ(test_count_entries(cache), 0);
    FILE *f = fopen(path, "r+b");
    CHECK(f != NULL && fputc('!', f) == '!' && fclose(f) == 0);
    CHECK(m.size == n && bytes_right(m.base, n));
    q_posix_close_model(&test_posix, &m);
    CHECK_EQ(rmdir(cache), 0);
    CHECK_EQ(unlink(path), 0);
    test_posix.calls = real;
}

static void model_on_fuse_is_copied_a6(void)
{
    copy_once(1);
    copy_once(((size_t)1 << 20) + 12345);
}

static void model_copy_without_nameless_files(void)
{
    const q_posix_calls real = test_posix.calls;
    test_posix.calls.open_nameless = no_nameless;
    copy_once(70000);
    test_posix.calls = real;
}

static void model_copy_goes_on_to_the_next_directory(void)
{
    const q_posix_calls real = test_posix.calls;
    const char *path = make_fuse_file("onfuse", 3000);
    const char *tmp = getenv("TMPDIR");
    char before[256];
    q_posix_model m;
    (void)snprintf(before, sizeof before, "%s", tmp != NULL ? tmp : "");
    CHECK_EQ(setenv("TMPDIR", "/nonexistent/too", 1), 0);
    CHECK_EQ(q_posix_open_model(&test_posix, path, "/nonexistent", &m, NULL), Q_OK);
    CHECK(m.copied && m.size == 3000 && bytes_right(m.base, m.size));
    q_posix_close_model(&test_posix, &m);
    CHECK_EQ(tmp != NULL ? setenv("TMPDIR", before, 1) : unsetenv("TMPDIR"), 0);
    CHECK_EQ(unlink(path), 0);
    test_posix.calls = real;
}

static void model_copy_failures(void)
{
    const q_posix_calls real = test_posix.calls;
    const char *path = make_fuse_file("onfuse", 3000);
    const char *empty = test_make_file("hollow", 0);
    q_posix_model m = { NULL, 9, false, false, { 0 } };
    q_diag d;
    int fds = test_count_fds();
    test_posix.calls.pwrite = no_room;
    CHECK_EQ(q_posix_open_model(&test_posix, path, NULL, &m, &d), Q_ERR_IO);
    CHECK(strcmp(d.field, strerror(ENOSPC)) == 0);
    test_posix.calls.pwrite = real.pwrite;
    test_posix.calls.is_fuse = all_is_fuse;
    CHECK_EQ(q_posix_open_model(&test_posix, path, NULL, &m, &d), Q_ERR_IO);
    CHECK(strcmp(d.field, "not local storage either") == 0);
    CHECK_EQ(q_posix_open_model(&test_posix, empty, NULL, &m, &d), Q_ERR_INVALID_SIZE);
    CHECK_EQ(m.size, 9);
    CHECK_EQ(test_count_fds(), fds);
    test_posix.calls = real;
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(unlink(empty), 0);
}

/* ---- Regions --------------------------------------------------------------------------------- */

static void region_is_aligned_zero_and_writable(void)
{
    const size_t sizes[4] = { 1, 4096, 4097, ((size_t)5 << 20) + 1 };
    for (int i = 0; i < 4; i++) {
        void *base = NULL;
        uint32_t flags =
            i % 2 == 0 ? (uint32_t)Q_POSIX_HUGE : (uint32_t)(Q_POSIX_HUGE | Q_POSIX_TOUCH);
        CHECK_EQ(q_posix_region_alloc(sizes[i], flags, &base, NULL), Q_OK);
        CHECK_EQ((uintptr_t)base % ((uintptr_t)2 << 20), 0);
        char *b = (char *)base;
        CHECK(b[0] == 0 && b[sizes[i] - 1] == 0);
        memset(b, 0x5A, sizes[i]);
        q_posix_region_free(base, sizes[i]);
        CHECK_EQ(msync(base, 4096, MS_ASYNC), -1);
    }
    q_posix_region_free(NULL, 5);
}

static void region_refuses_bad_arguments(void)
{
    void *base = &base;
    q_diag d;
    CHECK_EQ(q_posix_region_alloc(0, 0, &base, &d), Q_ERR_INVALID_SIZE);
    CHECK(strcmp(d.field, "size") == 0);
    CHECK_EQ(q_posix_region_alloc(100, 4, &base, &d), Q_ERR_INVALID_ARG);
    CHECK(strcmp(d.field, "flags") == 0);
    CHECK_EQ(q_posix_region_alloc(100, 0, NULL, &d), Q_ERR_INVALID_ARG);
    CHECK_EQ(q_posix_region_alloc(SIZE_MAX, 0, &base, &d), Q_ERR_OVERFLOW);
    CHECK_EQ(q_posix_region_alloc(SIZE_MAX - 4096, 0, &base, &d), Q_ERR_OVERFLOW);
    CHECK_EQ(q_posix_region_alloc(SIZE_MAX / 2, 0, &base, &d), Q_ERR_NO_SPACE);
    CHECK(base == &base);
}

void test_memory_all(void)
{
    RUN(map_outlives_close);
    RUN(map_is_read_only);
    RUN(map_refuses_an_empty_file_m01);
    RUN(pin_any_address);
    RUN(pin_names_the_limit);
    RUN(pin_other_failures_are_io);
    RUN(model_is_mapped_in_place);
    RUN(model_missing_or_bad_arguments);
    RUN(model_on_fuse_is_copied_a6);
    RUN(model_copy_without_nameless_files);
    RUN(model_copy_goes_on_to_the_next_directory);
    RUN(model_copy_failures);
    RUN(region_is_aligned_zero_and_writable);
    RUN(region_refuses_bad_arguments);
}
