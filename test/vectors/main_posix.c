/* SPDX-License-Identifier: MIT */
/*
 * main_posix.c: golden vectors on a host.
 *
 *   run_vectors BACKEND PACK...     BACKEND: a name of tools/common/backends.h
 *
 * Packs are mapped read-only, so that a kernel that writes to an input stops at once. Exit: 0 all right, 1 a
 * case failed, 2 bad usage.
 */
#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "port/x86/cpu_detect.h"
#include "runner.h"
#include "tools/common/backends.h"

enum { VECTORS_WORK = 4 << 20 };

static unsigned char vectors_work[VECTORS_WORK] Q_ALIGNED(4096);

static void vectors_print(void *user, const char *line, size_t n)
{
    (void)user;
    (void)fwrite(line, 1, n, stdout);
    (void)fputc('\n', stdout);
}

/* Runs one file; false if it cannot be read. */
static bool vectors_file(const q_backend *b, const char *path, q_vectors_result *result)
{
    struct stat st;
    void *pack;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size <= 0) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return false;
    }
    pack = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    (void)close(fd);
    if (pack == MAP_FAILED) {
        return false;
    }
    q_vectors_run(b, pack, (size_t)st.st_size, vectors_work, sizeof(vectors_work), vectors_print, NULL, result);
    (void)munmap(pack, (size_t)st.st_size);
    return true;
}

int main(int argc, char **argv)
{
    q_vectors_result result;
    q_backend b;
    if (argc < 3) {
        (void)fprintf(stderr, "usage: run_vectors BACKEND PACK...\n");
        return 2;
    }
    memset(&result, 0, sizeof(result));
    memset(&b, 0, sizeof(b));
    if (!backend_make(&b, argv[1], q_cpu_detect())) {
        (void)fprintf(stderr, "run_vectors: no backend \"%s\" on this machine\n", argv[1]);
        return 2;
    }
    (void)printf("vectors on %s\n", argv[1]);
    for (int i = 2; i < argc; i++) {
        if (!vectors_file(&b, argv[i], &result)) {
            (void)fprintf(stderr, "run_vectors: cannot read %s\n", argv[i]);
            return 2;
        }
    }
    return q_vectors_finish(vectors_print, NULL, &result) ? 0 : 1;
}
