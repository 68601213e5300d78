/* SPDX-License-Identifier: MIT */
/* files.c: the POSIX port's files: exact reads and writes, durable replacement. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/vfs.h>
#endif

#include "internal.h"

/* Largest piece handed to one system call: below every system's cap, a multiple of any block. */
#define POSIX_IO_MAX ((size_t)1 << 30)

static int posix_fd(q_port_file file)
{
    return file <= (q_port_file)INT_MAX ? (int)file : -1;
}

/* ---- Opening --------------------------------------------------------------------------------- */

static const char *posix_why_not_a_file(mode_t mode)
{
    if (S_ISDIR(mode)) {
        return "is a directory";
    }
    if (S_ISFIFO(mode)) {
        return "is a FIFO";
    }
    if (S_ISSOCK(mode)) {
        return "is a socket";
    }
    return S_ISREG(mode) || S_ISBLK(mode) ? NULL : "is a character device";
}

static q_error_code posix_open_failed(q_posix *p, const char *path, int err)
{
    bool absent = err == ENOENT || err == ENOTDIR;
    return posix_fail(p, absent ? Q_ERR_NOT_FOUND : Q_ERR_IO, path, NULL, err);
}

/* O_NONBLOCK lets a FIFO be opened, and so refused, without waiting for its other end. */
static int posix_open_flags(q_open_mode mode)
{
    const int common = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    switch (mode) {
    case Q_OPEN_READ: return common | O_RDONLY;
    case Q_OPEN_CREATE_NEW: return common | O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
    case Q_OPEN_READ_WRITE: return common | O_RDWR;
    default: return -1;
    }
}

static q_error_code posix_file_open(void *user, const char *path, q_open_mode mode,
                                    q_port_file *out)
{
    q_posix *p = (q_posix *)user;
    struct stat st;
    int flags = posix_open_flags(mode);
    if (flags < 0) {
        return posix_fail(p, Q_ERR_INVALID_ARG, path, "unknown open mode", 0);
    }
    int fd;
    do {
        fd = open(path, flags, 0666);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return posix_open_failed(p, path, errno);
    }
    const char *reason =
        fstat(fd, &st) == 0 ? posix_why_not_a_file(st.st_mode) : "cannot be examined";
    if (reason == NULL && fcntl(fd, F_SETFL, 0) != 0) {
        reason = "cannot be made to wait";
    }
    if (reason != NULL) {
        (void)close(fd);
        return posix_fail(p, Q_ERR_IO, path, reason, 0);
    }
    *out = (q_port_file)fd;
    return Q_OK;
}

/* A block device has no st_size; seeking to its end works for both. */
static q_error_code posix_file_size(void *user, q_port_file file, uint64_t *bytes)
{
    off_t end = lseek(posix_fd(file), 0, SEEK_END);
    if (end < 0) {
        return posix_fail_file((q_posix *)user, Q_ERR_IO, file, NULL, errno, 0);
    }
    *bytes = (uint64_t)end;
    return Q_OK;
}

/* ---- Reading and writing --------------------------------------------------------------------- */

/* True if [offset, offset + n) fits off_t, which is 64 bits wide or 32. */
static bool posix_offsets_fit(uint64_t offset, size_t n)
{
    const uint64_t last = sizeof(off_t) == 8 ? (uint64_t)INT64_MAX : (uint64_t)INT32_MAX;
    return offset <= last && n <= last - offset;
}

static q_error_code posix_file_read_at(void *user, q_port_file file, uint64_t offset, void *to,
                                       size_t n)
{
    q_posix *p = (q_posix *)user;
    if (!posix_offsets_fit(offset, n)) {
        return posix_fail_file(p, Q_ERR_IO, file, "offset too large", 0, offset);
    }
    for (size_t done = 0; done < n;) {
        size_t piece = n - done < POSIX_IO_MAX ? n - done : POSIX_IO_MAX;
        ssize_t got =
            p->calls.pread(posix_fd(file), (char *)to + done, piece, (off_t)(offset + done));
        if (got > 0) {
            done += (size_t)got;
        } else if (got == 0) {
            return posix_fail_file(p, Q_ERR_IO, file, "end of file", 0, offset + done);
        } else if (errno != EINTR) {
            return posix_fail_file(p, Q_ERR_IO, file, NULL, errno, offset + done);
        }
    }
    return Q_OK;
}

static q_error_code posix_file_write_at(void *user, q_port_file file, uint64_t offset,
                                        const void *from, size_t n)
{
    q_posix *p = (q_posix *)user;
    if (!posix_offsets_fit(offset, n)) {
        return posix_fail_file(p, Q_ERR_IO, file, "offset too large", 0, offset);
    }
    for (size_t done = 0; done < n;) {
        size_t piece = n - done < POSIX_IO_MAX ? n - done : POSIX_IO_MAX;
        ssize_t put = p->calls.pwrite(posix_fd(file), (const char *)from + done, piece,
                                      (off_t)(offset + done));
        if (put > 0) {
            done += (size_t)put;
        } else if (put == 0) {
            return posix_fail_file(p, Q_ERR_IO, file, "wrote nothing", 0, offset + done);
        } else if (errno != EINTR) {
            return posix_fail_file(p, Q_ERR_IO, file, NULL, errno, offset + done);
        }
    }
    return Q_OK;
}

/* ---- Making durable -------------------------------------------------------------------------- */

static int posix_fsync(int fd)
{
#ifdef F_FULLFSYNC
    if (fcntl(fd, F_FULLFSYNC) == 0) {
        return 0;
    }
#endif
    return fsync(fd);
}

static int posix_fsync_again(q_posix *p, int fd)
{
    int rc;
    do {
        rc = p->calls.fsync(fd);
    } while (rc != 0 && errno == EINTR);
    return rc;
}

static q_error_code posix_file_sync(void *user, q_port_file file)
{
    q_posix *p = (q_posix *)user;
    if (posix_fsync_again(p, posix_fd(file)) != 0) {
        return posix_fail_file(p, Q_ERR_IO, file, NULL, errno, 0);
    }
    return Q_OK;
}

/* Length of the directory part of a path, the slash included; 0 if there is none. */
static size_t posix_dir_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? (size_t)(slash - path) + 1 : 0;
}

/* Flushes the directory a path lies in; 0 or an errno. The path is shorter than Q_POSIX_PATH. */
static int posix_sync_dir_of(q_posix *p, const char *path)
{
    size_t n = posix_dir_length(path);
    memcpy(p->path, n != 0 ? path : ".", n != 0 ? n : 1);
    p->path[n != 0 ? n : 1] = '\0';
    int fd = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    int err = posix_fsync_again(p, fd) != 0 ? errno : 0;
    (void)close(fd);
    return err;
}

static q_error_code posix_file_replace(void *user, const char *from, const char *to)
{
    q_posix *p = (q_posix *)user;
    size_t n = posix_dir_length(to);
    int rc;
    if (n >= Q_POSIX_PATH || posix_dir_length(from) >= Q_POSIX_PATH) {
        return posix_fail(p, Q_ERR_IO, to, NULL, ENAMETOOLONG);
    }
    do {
        rc = p->calls.rename(from, to);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0) {
        return posix_open_failed(p, errno == ENOENT ? from : to, errno);
    }
    int err = posix_sync_dir_of(p, to);
    if (err == 0 && (posix_dir_length(from) != n || memcmp(from, to, n) != 0)) {
        err = posix_sync_dir_of(p, from);
    }
    if (err != 0) {
        (void)posix_fail(p, Q_ERR_NOT_SUPPORTED, to, "replaced, but directory not flushed", err);
        p->last.have = (uint64_t)err;
        return Q_ERR_NOT_SUPPORTED;
    }
    return Q_OK;
}

static q_error_code posix_file_remove(void *user, const char *path)
{
    return unlink(path) == 0 ? Q_OK : posix_open_failed((q_posix *)user, path, errno);
}

/* The descriptor is gone even where close was interrupted, so it is never called twice. */
static q_error_code posix_file_close(void *user, q_port_file file)
{
    q_posix *p = (q_posix *)user;
    if (p->calls.close(posix_fd(file)) != 0 && errno != EINTR) {
        return posix_fail_file(p, Q_ERR_IO, file, NULL, errno, 0);
    }
    return Q_OK;
}

/* ---- Local storage --------------------------------------------------------------------------- */

static int posix_is_fuse(int fd)
{
#ifdef __linux__
    const unsigned long fuse_magic = 0x65735546ul;
    struct statfs s;
    return fstatfs(fd, &s) == 0 && ((unsigned long)s.f_type & 0xfffffffful) == fuse_magic ? 1 : 0;
#else
    (void)fd;
    return 0;
#endif
}

static int posix_open_nameless(const char *dir)
{
#ifdef O_TMPFILE
    return open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
#else
    (void)dir;
    errno = EOPNOTSUPP;
    return -1;
#endif
}

void posix_files_init(q_posix *p)
{
    q_port *port = &p->port;
    port->file_open = posix_file_open;
    port->file_size = posix_file_size;
    port->file_read_at = posix_file_read_at;
    port->file_write_at = posix_file_write_at;
    port->file_sync = posix_file_sync;
    port->file_replace = posix_file_replace;
    port->file_remove = posix_file_remove;
    port->file_close = posix_file_close;
    p->calls.pread = pread;
    p->calls.pwrite = pwrite;
    p->calls.fsync = posix_fsync;
    p->calls.rename = rename;
    p->calls.close = close;
    p->calls.open_nameless = posix_open_nameless;
    p->calls.is_fuse = posix_is_fuse;
}
