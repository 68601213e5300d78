/* SPDX-License-Identifier: MIT */
/* Memory, files and processors for trainings on POSIX; the double build has one worker and plain C. */
#include <stdio.h>
#include <stdlib.h>

#include "host.h"
#ifndef Q_REAL_DOUBLE
#include "port/posix/posix.h"
#endif

void host_fail(const char *what, const char *field, uint64_t need, uint64_t have)
{
    printf("%s: %s (need %llu, have %llu)\n", what, field, (unsigned long long)need, (unsigned long long)have);
    exit(1);
}

void *host_take(size_t bytes)
{
    void *p = aligned_alloc(128, (bytes + 255) / 128 * 128);
    if (p == NULL) {
        host_fail("memory", "bytes", bytes, 0);
    }
    return p;
}

void host_give(void *memory)
{
    free(memory);
}

const q_port *host_port(void)
{
#ifdef Q_REAL_DOUBLE
    return NULL;
#else
    enum { MOST_WORKERS = 7 };
    static q_posix posix;
    static bool ready;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    if (!ready && q_posix_init(&posix, MOST_WORKERS, &d) != Q_OK) {
        host_fail(d.what, d.field, d.need, d.have);
    }
    ready = true;
    return q_posix_port(&posix);
#endif
}

void *host_read(const char *path, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    void *memory = NULL;
    long size = 0;
    if (f == NULL || fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) <= 0 || fseek(f, 0, SEEK_SET) != 0) {
        host_fail(path, "cannot be read", 1, 0);
    } else {
        *bytes = (size_t)size;
        memory = host_take(*bytes);
        if (fread(memory, 1, *bytes, f) != *bytes) {
            host_fail(path, "cannot be read", *bytes, 0);
        }
        (void)fclose(f);
    }
    return memory;
}
