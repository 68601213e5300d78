/* SPDX-License-Identifier: MIT */
/* test_posix_files.c: the POSIX port's files, on real files and under failing system calls. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "posix_tests.h"

#define PORT (&test_posix.port)

static bool last_says(const char *field)
{
    return strcmp(test_posix.last.field, field) == 0;
}

static q_port_file open_ok(const char *path, q_open_mode mode)
{
    q_port_file f = 0;
    CHECK_EQ(PORT->file_open(PORT->user, path, mode, &f), Q_OK);
    return f;
}

static void close_ok(q_port_file f)
{
    CHECK_EQ(PORT->file_close(PORT->user, f), Q_OK);
}

/* ---- Opening --------------------------------------------------------------------------------- */

static void open_missing_file_p01(void)
{
    q_port_file f = 77;
    CHECK_EQ(PORT->file_open(PORT->user, test_path("absent"), Q_OPEN_READ, &f), Q_ERR_NOT_FOUND);
    CHECK_EQ(f, 77);
    CHECK_EQ(test_posix.last.code, Q_ERR_NOT_FOUND);
    CHECK(strstr(test_posix.last.what, "absent") != NULL);
    CHECK_EQ(PORT->file_open(PORT->user, test_path("absent"), Q_OPEN_READ_WRITE, &f),
             Q_ERR_NOT_FOUND);
    CHECK_EQ(PORT->file_open(PORT->user, test_path("absent"), (q_open_mode)9, &f),
             Q_ERR_INVALID_ARG);
}

static void refuse(const char *path, const char *why)
{
    q_port_file f = 77;
    CHECK_EQ(PORT->file_open(PORT->user, path, Q_OPEN_READ, &f), Q_ERR_IO);
    CHECK_EQ(f, 77);
    CHECK(last_says(why));
}

static void open_refuses_what_is_no_file_c17(void)
{
    const char *fifo = test_path("fifo");
    const char *dir = test_path("dir");
    q_port_file f = 77;
    CHECK_EQ(mkfifo(fifo, 0600), 0);
    CHECK_EQ(mkdir(dir, 0700), 0);
    refuse(dir, "is a directory");
    refuse(fifo, "is a FIFO");
    refuse("/dev/null", "is a character device");
    CHECK_EQ(PORT->file_open(PORT->user, fifo, Q_OPEN_READ_WRITE, &f), Q_ERR_IO);
    CHECK(last_says("is a FIFO"));
    CHECK_EQ(PORT->file_open(PORT->user, dir, Q_OPEN_READ_WRITE, &f), Q_ERR_IO);
    CHECK_EQ(unlink(fifo), 0);
    CHECK_EQ(rmdir(dir), 0);
}

static void open_create_new_is_exclusive(void)
{
    const char *path = test_make_file("there", 3);
    const char *dangling = test_path("link");
    const char *target = test_path("target");
    q_port_file f = 77;
    CHECK_EQ(PORT->file_open(PORT->user, path, Q_OPEN_CREATE_NEW, &f), Q_ERR_IO);
    CHECK_EQ(symlink(target, dangling), 0);
    CHECK_EQ(PORT->file_open(PORT->user, dangling, Q_OPEN_CREATE_NEW, &f), Q_ERR_IO);
    CHECK_EQ(access(target, F_OK), -1);
    CHECK_EQ(f, 77);
    CHECK_EQ(unlink(dangling), 0);
    CHECK_EQ(unlink(path), 0);
}

static void open_sets_close_on_exec(void)
{
    const char *path = test_path("new");
    q_port_file f = open_ok(path, Q_OPEN_CREATE_NEW);
    CHECK((fcntl((int)f, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK_EQ(fcntl((int)f, F_GETFL) & O_NONBLOCK, 0);
    close_ok(f);
    CHECK_EQ(PORT->file_remove(PORT->user, path), Q_OK);
    CHECK_EQ(PORT->file_remove(PORT->user, path), Q_ERR_NOT_FOUND);
}

/* ---- Reading and writing --------------------------------------------------------------------- */

static void write_read_size_round_trip(void)
{
    const char *path = test_path("data");
    char got[8] = { 0 };
    uint64_t size = 0;
    q_port_file f = open_ok(path, Q_OPEN_CREATE_NEW);
    CHECK_EQ(PORT->file_write_at(PORT->user, f, 0, "abcdef", 6), Q_OK);
    CHECK_EQ(PORT->file_write_at(PORT->user, f, 10, "xy", 2), Q_OK);
    CHECK_EQ(PORT->file_sync(PORT->user, f), Q_OK);
    CHECK_EQ(PORT->file_size(PORT->user, f, &size), Q_OK);
    CHECK_EQ(size, 12);
    close_ok(f);
    f = open_ok(path, Q_OPEN_READ_WRITE);
    CHECK_EQ(PORT->file_write_at(PORT->user, f, 2, "C", 1), Q_OK);
    CHECK_EQ(PORT->file_read_at(PORT->user, f, 1, got, 4), Q_OK);
    CHECK(memcmp(got, "bCde", 4) == 0);
    CHECK_EQ(PORT->file_read_at(PORT->user, f, 5, got, 7), Q_OK);
    CHECK(memcmp(got, "f\0\0\0\0xy", 7) == 0);
    close_ok(f);
    CHECK_EQ(PORT->file_remove(PORT->user, path), Q_OK);
}

static void read_past_the_end_fails(void)
{
    const char *path = test_make_file("short", 10);
    char got[16];
    q_port_file f = open_ok(path, Q_OPEN_READ);
    CHECK_EQ(PORT->file_read_at(PORT->user, f, 4, got, 6), Q_OK);
    CHECK_EQ(PORT->file_read_at(PORT->user, f, 4, got, 7), Q_ERR_IO);
    CHECK(last_says("end of file"));
    CHECK_EQ(test_posix.last.offset, 10);
    CHECK_EQ(PORT->file_read_at(PORT->user, f, UINT64_MAX, got, 1), Q_ERR_IO);
    CHECK(last_says("offset too large"));
    CHECK_EQ(PORT->file_read_at(PORT->user, f, INT64_MAX, got, 1), Q_ERR_IO);
    CHECK_EQ(PORT->file_write_at(PORT->user, f, 0, "a", 1), Q_ERR_IO);
    CHECK_EQ(PORT->file_write_at(PORT->user, f, UINT64_MAX - 3, "a", 1), Q_ERR_IO);
    close_ok(f);
    CHECK_EQ(unlink(path), 0);
}

static void calls_on_a_closed_file_fail(void)
{
    const q_port_file bad[2] = { 199, UINT64_MAX };
    for (int i = 0; i < 2; i++) {
        uint64_t size = 7;
        char c = 0;
        const void *base = &c;
        CHECK_EQ(PORT->file_size(PORT->user, bad[i], &size), Q_ERR_IO);
        CHECK_EQ(PORT->file_read_at(PORT->user, bad[i], 0, &c, 1), Q_ERR_IO);
        CHECK_EQ(PORT->file_write_at(PORT->user, bad[i], 0, &c, 1), Q_ERR_IO);
        CHECK_EQ(PORT->file_sync(PORT->user, bad[i]), Q_ERR_IO);
        CHECK_EQ(PORT->file_close(PORT->user, bad[i]), Q_ERR_IO);
        size_t n = 7;
        CHECK_EQ(PORT->map(PORT->user, bad[i], &base, &n), Q_ERR_IO);
        CHECK(size == 7 && base == &c && n == 7);
    }
}

/* ---- Failing system calls -------------------------------------------------------------------- */

static unsigned stutter_turn;
static size_t full_after;

/* Interrupted, then one byte, in turn. */
static ssize_t stutter_read(int fd, void *to, size_t n, off_t at)
{
    if (stutter_turn++ % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    return pread(fd, to, n > 1 ? 1 : n, at);
}

static ssize_t stutter_write(int fd, const void *from, size_t n, off_t at)
{
    if (stutter_turn++ % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    return pwrite(fd, from, n > 1 ? 1 : n, at);
}

static ssize_t full_write(int fd, const void *from, size_t n, off_t at)
{
    size_t room = full_after > (size_t)at ? full_after - (size_t)at : 0;
    if (room == 0) {
        errno = ENOSPC;
        return -1;
    }
    return pwrite(fd, from, n < room ? n : room, at);
}

static ssize_t broken_read(int fd, void *to, size_t n, off_t at)
{
    (void)fd;
    (void)to;
    (void)n;
    (void)at;
    errno = EIO;
    return -1;
}

static int broken_sync(int fd)
{
    (void)fd;
    errno = EIO;
    return -1;
}

static int interrupted_sync(int fd)
{
    if (stutter_turn++ % 3 != 2) {
        errno = EINTR;
        return -1;
    }
    return fsync(fd);
}

static int other_device_rename(const char *from, const char *to)
{
    (void)from;
    (void)to;
    errno = EXDEV;
    return -1;
}

static int broken_close(int fd)
{
    (void)close(fd);
    errno = EIO;
    return -1;
}

static int interrupted_close(int fd)
{
    (void)close(fd);
    errno = EINTR;
    return -1;
}

static void read_and_write_survive_stutter_p02_p03_p06(void)
{
    const char *path = test_path("stutter");
    const q_posix_calls real = test_posix.calls;
    char got[33] = { 0 };
    test_posix.calls.pread = stutter_read;
    test_posix.calls.pwrite = stutter_write;
    q_port_file f = open_ok(path, Q_OPEN_CREATE_NEW);
    CHECK_EQ(PORT->file_write_at(PORT->user, f, 5, "the quick brown fox jumps over it", 33), Q_OK);
    CHECK_EQ(PORT->file_read_at(PORT->user, f, 5, got, 33), Q_OK);
    CHECK(memcmp(got, "the quick brown fox jumps over it", 33) == 0);
    test_posix.calls = real;
    close_ok(f);
    CHECK_EQ(unlink(path), 0);
}

static void read_and_write_errors_say_where_p04_p07(void)
{
    const char *path = test_path("full");
    const q_posix_calls real = test_posix.calls;
    char c;
    q_port_file f = open_ok(path, Q_OPEN_CREATE_NEW);
    test_posix.calls.pwrite = full_write;
    full_after = 7;
    CHECK_EQ(PORT->file_write_at(PORT->user, f, 2, "0123456789", 10), Q_ERR_IO);
    CHECK_EQ(test_posix.last.offset, 7);
    CHECK(last_says(strerror(ENOSPC)));
    test_posix.calls.pread = broken_read;
    CHECK_EQ(PORT->file_read_at(PORT->user, f, 3, &c, 1), Q_ERR_IO);
    CHECK_EQ(test_posix.last.offset, 3);
    CHECK(last_says(strerror(EIO)));
    test_posix.calls = real;
    close_ok(f);
    CHECK_EQ(unlink(path), 0);
}

static void sync_and_close_errors_p09_p10(void)
{
    const char *path = test_path("sync");
    const q_posix_calls real = test_posix.calls;
    q_port_file f = open_ok(path, Q_OPEN_CREATE_NEW);
    test_posix.calls.fsync = broken_sync;
    CHECK_EQ(PORT->file_sync(PORT->user, f), Q_ERR_IO);
    test_posix.calls.fsync = interrupted_sync;
    stutter_turn = 0;
    CHECK_EQ(PORT->file_sync(PORT->user, f), Q_OK);
    CHECK_EQ(stutter_turn, 3);
    test_posix.calls.close = broken_close;
    CHECK_EQ(PORT->file_close(PORT->user, f), Q_ERR_IO);
    f = open_ok(path, Q_OPEN_READ);
    test_posix.calls.close = interrupted_close;
    CHECK_EQ(PORT->file_close(PORT->user, f), Q_OK);
    test_posix.calls = real;
    CHECK_EQ(unlink(path), 0);
}

/* ---- Replacing ------------------------------------------------------------------------------- */

static char first_byte(const char *path)
{
    char c = 0;
    q_port_file f = open_ok(path, Q_OPEN_READ);
    CHECK_EQ(PORT->file_read_at(PORT->user, f, 0, &c, 1), Q_OK);
    close_ok(f);
    return c;
}

static void make_byte(const char *path, char c)
{
    q_port_file f = open_ok(path, Q_OPEN_CREATE_NEW);
    CHECK_EQ(PORT->file_write_at(PORT->user, f, 0, &c, 1), Q_OK);
    CHECK_EQ(PORT->file_sync(PORT->user, f), Q_OK);
    close_ok(f);
}

static void replace_takes_the_name(void)
{
    const char *from = test_path("from");
    const char *to = test_path("to");
    make_byte(from, 'n');
    CHECK_EQ(PORT->file_replace(PORT->user, from, to), Q_OK);
    CHECK_EQ(first_byte(to), 'n');
    make_byte(from, 'm');
    CHECK_EQ(PORT->file_replace(PORT->user, from, to), Q_OK);
    CHECK_EQ(first_byte(to), 'm');
    CHECK_EQ(access(from, F_OK), -1);
    CHECK_EQ(PORT->file_replace(PORT->user, from, to), Q_ERR_NOT_FOUND);
    CHECK_EQ(first_byte(to), 'm');
    CHECK_EQ(unlink(to), 0);
}

static void replace_across_directories_and_links(void)
{
    const char *dir = test_path("sub");
    const char *from = test_path("sub/from");
    const char *to = test_path("to");
    CHECK_EQ(mkdir(dir, 0700), 0);
    make_byte(from, 'd');
    CHECK_EQ(symlink("elsewhere", to), 0);
    CHECK_EQ(PORT->file_replace(PORT->user, from, to), Q_OK);
    CHECK_EQ(first_byte(to), 'd');
    CHECK_EQ(PORT->file_replace(PORT->user, to, dir), Q_ERR_IO);
    CHECK_EQ(first_byte(to), 'd');
    CHECK_EQ(unlink(to), 0);
    CHECK_EQ(rmdir(dir), 0);
}

static void replace_failures_are_distinct_p11_p13(void)
{
    const char *from = test_path("from");
    const char *to = test_path("to");
    const q_posix_calls real = test_posix.calls;
    make_byte(from, 'n');
    make_byte(to, 'o');
    test_posix.calls.rename = other_device_rename;
    CHECK_EQ(PORT->file_replace(PORT->user, from, to), Q_ERR_IO);
    test_posix.calls = real;
    CHECK_EQ(first_byte(to), 'o');
    CHECK_EQ(first_byte(from), 'n');
    test_posix.calls.fsync = broken_sync;
    CHECK_EQ(PORT->file_replace(PORT->user, from, to), Q_ERR_NOT_SUPPORTED);
    test_posix.calls = real;
    CHECK(last_says("replaced, but directory not flushed"));
    CHECK_EQ(test_posix.last.have, EIO);
    CHECK_EQ(first_byte(to), 'n');
    CHECK_EQ(access(from, F_OK), -1);
    CHECK_EQ(unlink(to), 0);
}

static void replace_refuses_endless_names(void)
{
    static char path[Q_POSIX_PATH + 16];
    memset(path, 'a', sizeof path - 1);
    path[0] = '/';
    path[Q_POSIX_PATH + 3] = '/';
    CHECK_EQ(PORT->file_replace(PORT->user, test_path("x"), path), Q_ERR_IO);
    CHECK(last_says(strerror(ENAMETOOLONG)));
    CHECK_EQ(PORT->file_replace(PORT->user, path, test_path("x")), Q_ERR_IO);
}

void test_files_all(void)
{
    RUN(open_missing_file_p01);
    RUN(open_refuses_what_is_no_file_c17);
    RUN(open_create_new_is_exclusive);
    RUN(open_sets_close_on_exec);
    RUN(write_read_size_round_trip);
    RUN(read_past_the_end_fails);
    RUN(calls_on_a_closed_file_fail);
    RUN(read_and_write_survive_stutter_p02_p03_p06);
    RUN(read_and_write_errors_say_where_p04_p07);
    RUN(sync_and_close_errors_p09_p10);
    RUN(replace_takes_the_name);
    RUN(replace_across_directories_and_links);
    RUN(replace_failures_are_distinct_p11_p13);
    RUN(replace_refuses_endless_names);
}
