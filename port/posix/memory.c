/* SPDX-License-Identifier: MIT */
/* memory.c: the POSIX port's memory: mapped files, pinned ranges, page-level regions. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "internal.h"
#include "../../include/qorus/base/checked.h"

#define POSIX_HUGE_PAGE ((size_t)2 << 20)

static size_t posix_page(void)
{
    long n = sysconf(_SC_PAGESIZE);
    return n > 0 ? (size_t)n : 4096u;
}

/* ---- Mapped files ---------------------------------------------------------------------------- */

static q_error_code posix_map(void *user, q_port_file file, const void **base, size_t *size)
{
    q_posix *p = (q_posix *)user;
    uint64_t bytes = 0;
    q_error_code rc = p->port.file_size(p->port.user, file, &bytes);
    if (rc != Q_OK) {
        return rc;
    }
    if (bytes == 0) {
        return posix_fail_file(p, Q_ERR_INVALID_SIZE, file, "empty file", 0, 0);
    }
    if (bytes > SIZE_MAX) {
        return posix_fail_file(p, Q_ERR_IO, file, "too large for this address space", 0, 0);
    }
    void *at = mmap(NULL, (size_t)bytes, PROT_READ, MAP_PRIVATE, (int)file, 0);
    if (at == MAP_FAILED) {
        return posix_fail_file(p, Q_ERR_IO, file, NULL, errno, 0);
    }
#ifdef MADV_HUGEPAGE
    /* Pages that are not in memory yet come in huge ones, where the file system has them: few faults, now and later. */
    (void)madvise(at, (size_t)bytes, MADV_HUGEPAGE);
#endif
    *base = at;
    *size = (size_t)bytes;
    return Q_OK;
}

static void posix_unmap(void *user, const void *base, size_t size)
{
    (void)user;
    if (base != NULL && size != 0) {
        (void)munmap((void *)(uintptr_t)base, size);
    }
}

/* ---- Pinned ranges --------------------------------------------------------------------------- */

/* Widens [base, base + size) to whole pages. */
static const void *posix_whole_pages(const void *base, size_t *size)
{
    size_t inside = (size_t)((uintptr_t)base & (posix_page() - 1));
    *size += inside;
    return (const char *)base - inside;
}

static q_error_code posix_pin_failed(q_posix *p, size_t size, int err)
{
    struct rlimit limit = { 0, 0 };
    if (err != ENOMEM && err != EPERM && err != EAGAIN) {
        return posix_fail(p, Q_ERR_IO, "pin", NULL, err);
    }
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    (void)posix_fail(p, Q_ERR_NOT_SUPPORTED, "pin: raise RLIMIT_MEMLOCK (ulimit -l)", NULL, err);
    p->last.need = size;
    p->last.have = (uint64_t)limit.rlim_cur;
    return Q_ERR_NOT_SUPPORTED;
}

static q_error_code posix_pin(void *user, const void *base, size_t size)
{
    q_posix *p = (q_posix *)user;
    if (size > SIZE_MAX - posix_page()) {
        return posix_fail(p, Q_ERR_IO, "pin", "size too large", 0);
    }
    const void *start = posix_whole_pages(base, &size);
    return p->calls.mlock(start, size) == 0 ? Q_OK : posix_pin_failed(p, size, errno);
}

static void posix_unpin(void *user, const void *base, size_t size)
{
    (void)user;
    if (size <= SIZE_MAX - posix_page()) {
        const void *start = posix_whole_pages(base, &size);
        (void)munlock(start, size);
    }
}

void posix_memory_init(q_posix *p)
{
    p->port.map = posix_map;
    p->port.unmap = posix_unmap;
    p->port.pin = posix_pin;
    p->port.unpin = posix_unpin;
    p->calls.mlock = mlock;
}

/* ---- Regions --------------------------------------------------------------------------------- */

static q_error_code posix_region_fail(q_diag *diag, q_error_code code, const char *field,
                                      size_t need)
{
    if (diag != NULL) {
        memset(diag, 0, sizeof *diag);
        diag->code = code;
        memcpy(diag->what, "q_posix_region_alloc", sizeof "q_posix_region_alloc");
        memcpy(diag->field, field, strlen(field) + 1);
        diag->need = need;
    }
    return code;
}

/* Maps 2 MiB too much and gives back both ends, so that `bytes` remain at a multiple of 2 MiB. */
static void *posix_map_aligned(size_t bytes)
{
    size_t span = bytes + POSIX_HUGE_PAGE;
    char *at = (char *)mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if ((void *)at == MAP_FAILED) {
        return NULL;
    }
    size_t head = (size_t)(-(uintptr_t)at & (POSIX_HUGE_PAGE - 1));
    if (head != 0) {
        (void)munmap(at, head);
    }
    if (head != POSIX_HUGE_PAGE) {
        (void)munmap(at + head + bytes, POSIX_HUGE_PAGE - head);
    }
    return at + head;
}

static void posix_touch(volatile char *base, size_t bytes)
{
    const size_t page = posix_page();
#ifdef MADV_POPULATE_WRITE
    if (madvise((void *)(uintptr_t)base, bytes, MADV_POPULATE_WRITE) == 0) {
        return;
    }
#endif
    for (size_t i = 0; i < bytes; i += page) {
        base[i] = 0;
    }
}

q_error_code q_posix_region_alloc(size_t size, uint32_t flags, void **base, q_diag *diag)
{
    size_t bytes = 0;
    if (base == NULL || (flags & ~(uint32_t)(Q_POSIX_HUGE | Q_POSIX_TOUCH)) != 0) {
        return posix_region_fail(diag, Q_ERR_INVALID_ARG, base == NULL ? "base" : "flags", 0);
    }
    if (size == 0) {
        return posix_region_fail(diag, Q_ERR_INVALID_SIZE, "size", 1);
    }
    if (!q_align_size(size, posix_page(), &bytes) || bytes > SIZE_MAX - POSIX_HUGE_PAGE) {
        return posix_region_fail(diag, Q_ERR_OVERFLOW, "size", size);
    }
    void *at = posix_map_aligned(bytes);
    if (at == NULL) {
        return posix_region_fail(diag, Q_ERR_NO_SPACE, "memory of this machine", bytes);
    }
#ifdef MADV_HUGEPAGE
    if ((flags & Q_POSIX_HUGE) != 0) {
        (void)madvise(at, bytes, MADV_HUGEPAGE);
    }
#endif
    if ((flags & Q_POSIX_TOUCH) != 0) {
        posix_touch((volatile char *)at, bytes);
    }
    *base = at;
    return Q_OK;
}

void q_posix_region_free(void *base, size_t size)
{
    size_t bytes = 0;
    if (base != NULL && q_align_size(size, posix_page(), &bytes)) {
        (void)munmap(base, bytes);
    }
}
