/* SPDX-License-Identifier: MIT */
/* model.c: opening a model file in place, or through a local copy if it lies on FUSE. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

#define POSIX_COPY_BYTES ((size_t)1 << 20)

enum { POSIX_NAME_TRIES = 100, POSIX_CLOSE_TRIES = 100 };

/* ---- A file without a name ------------------------------------------------------------------- */

/* Where there are no nameless files: a new name, removed before anything is written under it. */
static int posix_open_unlinked(q_posix *p, const char *dir)
{
    for (unsigned i = 0; i < POSIX_NAME_TRIES; i++) {
        int n = snprintf(p->path, sizeof p->path, "%s/qorus-copy-%ld-%llx-%u", dir, (long)getpid(),
                         (unsigned long long)posix_now_ns(), i);
        if (n < 0 || (size_t)n >= sizeof p->path) {
            errno = ENAMETOOLONG;
            return -1;
        }
        int fd = open(p->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0) {
            (void)unlink(p->path);
            return fd;
        }
        if (errno != EEXIST && errno != EINTR) {
            return -1;
        }
    }
    return -1;
}

static int posix_open_temporary(q_posix *p, const char *dir)
{
    int fd = p->calls.open_nameless(dir);
    return fd >= 0 ? fd : posix_open_unlinked(p, dir);
}

/* ---- Copying --------------------------------------------------------------------------------- */

static q_error_code posix_copy_bytes(q_posix *p, q_port_file from, q_port_file to, uint64_t bytes,
                                     void *buffer)
{
    for (uint64_t at = 0; at < bytes;) {
        size_t n = bytes - at < POSIX_COPY_BYTES ? (size_t)(bytes - at) : POSIX_COPY_BYTES;
        q_error_code rc = p->port.file_read_at(p->port.user, from, at, buffer, n);
        if (rc == Q_OK) {
            rc = p->port.file_write_at(p->port.user, to, at, buffer, n);
        }
        if (rc != Q_OK) {
            return rc;
        }
        at += n;
    }
    return Q_OK;
}

/* A descriptor of the copy in that directory, or -1 with the reason in p->last. */
static int posix_copy_into(q_posix *p, q_port_file from, uint64_t bytes, const char *dir,
                           void *buffer)
{
    int fd = posix_open_temporary(p, dir);
    if (fd < 0) {
        (void)posix_fail(p, Q_ERR_IO, dir, NULL, errno);
        return -1;
    }
    if (p->calls.is_fuse(fd) != 0) {
        (void)posix_fail(p, Q_ERR_IO, dir, "not local storage either", 0);
    } else if (posix_copy_bytes(p, from, (q_port_file)fd, bytes, buffer) == Q_OK) {
        return fd;
    }
    (void)close(fd);
    return -1;
}

static int posix_copy_anywhere(q_posix *p, q_port_file from, uint64_t bytes, const char *cache_dir,
                               void *buffer)
{
    const char *const dirs[4] = { cache_dir, getenv("TMPDIR"), "/var/tmp", "/tmp" };
    int fd = -1;
    for (size_t i = 0; i < 4 && fd < 0; i++) {
        if (dirs[i] != NULL && dirs[i][0] != '\0') {
            fd = posix_copy_into(p, from, bytes, dirs[i], buffer);
        }
    }
    return fd;
}

static q_error_code posix_map_copy(q_posix *p, q_port_file from, const char *cache_dir,
                                   q_posix_model *m)
{
    uint64_t bytes = 0;
    q_error_code rc = p->port.file_size(p->port.user, from, &bytes);
    if (rc != Q_OK || bytes == 0) {
        return rc != Q_OK ? rc : posix_fail_file(p, Q_ERR_INVALID_SIZE, from, "empty file", 0, 0);
    }
    void *buffer =
        mmap(NULL, POSIX_COPY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer == MAP_FAILED) {
        return posix_fail(p, Q_ERR_IO, "copy buffer", NULL, errno);
    }
    int fd = posix_copy_anywhere(p, from, bytes, cache_dir, buffer);
    (void)munmap(buffer, POSIX_COPY_BYTES);
    if (fd < 0) {
        return p->last.code;
    }
    rc = p->port.map(p->port.user, (q_port_file)fd, &m->base, &m->size);
    (void)close(fd);
    m->copied = rc == Q_OK;
    return rc;
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* The file at the length it has now: one that grows is cut here, one that shrinks fails to be read. */
static q_error_code posix_read_whole(q_posix *p, q_port_file file, q_posix_model *m)
{
    uint64_t bytes = 0;
    q_error_code rc = p->port.file_size(p->port.user, file, &bytes);
    if (rc != Q_OK || bytes == 0) {
        return rc != Q_OK ? rc : posix_fail_file(p, Q_ERR_INVALID_SIZE, file, "empty file", 0, 0);
    }
    void *at = MAP_FAILED;
    if (bytes <= SIZE_MAX) {
        at = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    if (at == MAP_FAILED) {
        (void)posix_fail_file(p, Q_ERR_NO_SPACE, file, "memory of this machine", 0, 0);
        p->last.need = bytes;
        return Q_ERR_NO_SPACE;
    }
    rc = p->port.file_read_at(p->port.user, file, 0, at, (size_t)bytes);
    if (rc == Q_OK && mprotect(at, (size_t)bytes, PROT_READ) != 0) {
        rc = posix_fail_file(p, Q_ERR_IO, file, NULL, errno, 0);
    }
    if (rc != Q_OK) {
        (void)munmap(at, (size_t)bytes);
        return rc;
    }
    m->base = at;
    m->size = (size_t)bytes;
    m->read = true;
    return Q_OK;
}

/* ---- Public ---------------------------------------------------------------------------------- */

static q_error_code posix_map_model(q_posix *p, q_port_file file, const char *cache_dir,
                                    q_posix_model *m)
{
    q_error_code rc;
    if (p->calls.is_fuse((int)file) != 0) {
        return posix_map_copy(p, file, cache_dir, m);
    }
    rc = p->port.map(p->port.user, file, &m->base, &m->size);
    return rc == Q_ERR_IO ? posix_read_whole(p, file, m) : rc;
}

/* Nothing was written, so a close that fails has lost nothing. */
static void posix_close_reader(q_posix *p, q_port_file file)
{
    for (int i = 0; i < POSIX_CLOSE_TRIES; i++) {
        if (p->port.file_close(p->port.user, file) != Q_ERR_INTERRUPTED) {
            return;
        }
    }
}

/* Fills *out from path, by mapping or by reading. A wrapper around a member may fail without p->last. */
static q_error_code posix_get_model(q_posix *p, const char *path, const char *cache_dir, bool read,
                                    q_posix_model *out, q_diag *diag)
{
    q_posix_model m;
    q_port_file file = 0;
    q_error_code rc;
    memset(&m, 0, sizeof m);
    p->last.code = Q_OK;
    rc = p->port.file_open(p->port.user, path, Q_OPEN_READ, &file);
    if (rc == Q_OK) {
        rc = read ? posix_read_whole(p, file, &m) : posix_map_model(p, file, cache_dir, &m);
        posix_close_reader(p, file);
    }
    if (rc == Q_ERR_INVALID_SIZE) {
        (void)posix_fail(p, rc, path, "empty file", 0);
    } else if (rc != Q_OK && p->last.code != rc) {
        (void)posix_fail(p, rc, path, "cannot be read", 0);
    }
    if (rc != Q_OK) {
        return posix_report(p, diag);
    }
    *out = m;
    return Q_OK;
}

static bool posix_model_args(q_posix *p, const char *who, const char *path, const q_posix_model *out)
{
    if (path != NULL && out != NULL) {
        return true;
    }
    (void)posix_fail(p, Q_ERR_INVALID_ARG, who, path == NULL ? "path" : "out", 0);
    return false;
}

q_error_code q_posix_open_model(q_posix *p, const char *path, const char *cache_dir,
                                q_posix_model *out, q_diag *diag)
{
    if (p == NULL) {
        return Q_ERR_INVALID_ARG;
    }
    return posix_model_args(p, "q_posix_open_model", path, out)
               ? posix_get_model(p, path, cache_dir, false, out, diag)
               : posix_report(p, diag);
}

q_error_code q_posix_read_model(q_posix *p, const char *path, q_posix_model *out, q_diag *diag)
{
    if (p == NULL) {
        return Q_ERR_INVALID_ARG;
    }
    return posix_model_args(p, "q_posix_read_model", path, out)
               ? posix_get_model(p, path, NULL, true, out, diag)
               : posix_report(p, diag);
}

void q_posix_close_model(q_posix *p, q_posix_model *model)
{
    if (model->read) {
        (void)munmap((void *)(uintptr_t)model->base, model->size);
    } else {
        p->port.unmap(p->port.user, model->base, model->size);
    }
    memset(model, 0, sizeof *model);
}
