/* SPDX-License-Identifier: MIT */
/*
 * test_runner.c: the vector runner must notice what it exists to notice.
 *
 *   test_runner PACK...
 *
 * Every pack is cut short at every multiple of 64 bytes in front of a guard page; has each reference and each
 * magnitude of its cases spoilt; meets a backend without its kernel, one that writes outside its rows, and work
 * memory that is too small. Each must count as a failure. Ends with "N passed, N failed, N skipped".
 */
#define _DEFAULT_SOURCE

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qvec.h"

enum { TEST_PAGE = 4096, TEST_WORK = 4 << 20 };

typedef struct test_state {
    uint32_t passed;
    uint32_t failed;
    q_backend scalar;
    unsigned char *work;
    unsigned char *buffer; /* capacity bytes, then a page that may not be touched */
    size_t capacity;
} test_state;

static void test_expect(test_state *t, bool fine, const char *path, const char *what)
{
    if (fine) {
        t->passed++;
    } else {
        t->failed++;
        (void)printf("FAIL %s: %s\n", path, what);
    }
}

static void test_silent(void *user, const char *line, size_t n)
{
    (void)user;
    (void)line;
    (void)n;
}

static q_vectors_result test_run(test_state *t, const q_backend *b, const void *pack, size_t size, size_t work)
{
    q_vectors_result result;
    memset(&result, 0, sizeof(result));
    q_vectors_run(b, pack, size, t->work, work, test_silent, NULL, &result);
    return result;
}

static vec_tensor *test_tensors(vec_case *c)
{
    return (vec_tensor *)(void *)((unsigned char *)(c + 1) + ((c->n_scalars * 8u + 63u) & ~63u));
}

/* Flips a bit in the last reference byte (the exponent or sign of a float) of one output of each case that has
   one; returns the cases concerned. */
static uint32_t test_spoil(unsigned char *pack)
{
    vec_pack *p = (vec_pack *)(void *)pack;
    size_t at = sizeof(*p);
    uint32_t spoilt = 0;
    for (uint32_t i = 0; i < p->n_cases; i++) {
        vec_case *c = (vec_case *)(void *)(pack + at);
        vec_tensor *t = test_tensors(c);
        for (uint32_t j = 0; j < c->n_tensors; j++) {
            if (t[j].output != 0 && t[j].data_bytes != 0) {
                unsigned char *last = (unsigned char *)c + t[j].data + t[j].data_bytes - 1;
                *last = (unsigned char)(*last ^ 0x60);
                spoilt++;
                break;
            }
        }
        at += c->bytes;
    }
    return spoilt;
}

/* Copy of the pack, of n bytes, that ends where the guard page begins; aligned as n allows. */
static unsigned char *test_copy(test_state *t, const void *pack, size_t n)
{
    unsigned char *to = t->buffer + t->capacity - n;
    memcpy(to, pack, n);
    return to;
}

static void test_cuts(test_state *t, const char *path, const unsigned char *pack, size_t size)
{
    size_t step = (size / 64u / 200u + 1u) * 64u;
    bool seen = true;
    for (size_t n = 64; n < size; n += step) {
        seen = seen && test_run(t, &t->scalar, test_copy(t, pack, n), n, TEST_WORK).failed != 0;
    }
    test_expect(t, seen, path, "a pack cut short went unnoticed");
}

static void test_damage(test_state *t, const char *path, const unsigned char *pack, size_t size)
{
    unsigned char *copy = test_copy(t, pack, size);
    uint32_t spoilt = test_spoil(copy);
    q_vectors_result result = test_run(t, &t->scalar, copy, size, TEST_WORK);
    test_expect(t, spoilt != 0 && result.failed == spoilt, path, "a wrong reference went unnoticed");
    copy = test_copy(t, pack, size);
    copy[0] = 'q';
    test_expect(t, test_run(t, &t->scalar, copy, size, TEST_WORK).failed == 1, path, "another magic number passed");
    copy[0] = 'Q';
    copy[4] = 2;
    test_expect(t, test_run(t, &t->scalar, copy, size, TEST_WORK).failed == 1, path, "another version passed");
    copy[4] = 1;
    copy[16] = '_';
    test_expect(t, test_run(t, &t->scalar, copy, size, TEST_WORK).failed == 1, path, "an unknown kernel passed");
}

static void test_conditions(test_state *t, const char *path, const unsigned char *pack, size_t size)
{
    const unsigned char *copy = test_copy(t, pack, size);
    q_vectors_result result = test_run(t, &t->scalar, copy, size, TEST_WORK);
    q_backend empty = t->scalar;
    uint32_t cases = result.passed;
    test_expect(t, result.failed == 0 && cases != 0, path, "the pack itself does not pass");
    test_expect(t, !q_vectors_finish(test_silent, NULL, &result), path, "kernels without vectors passed");
    memset(&empty.kernels, 0, sizeof(empty.kernels));
    result = test_run(t, &empty, copy, size, TEST_WORK);
    test_expect(t, result.failed == cases && result.passed == 0, path, "a backend without the kernel passed");
    result = test_run(t, &t->scalar, copy, size, 64);
    test_expect(t, result.failed == cases && result.passed == 0, path, "work memory of 64 bytes was enough");
}

/* Adds, but also writes behind every row. */
static void test_add_beyond(const q_work *work, const q_binary_args *a)
{
    q_backend scalar;
    q_backend_scalar(&scalar);
    scalar.kernels.add(work, a);
    for (uint32_t r = 0; r < q_count_value(work->run, a->rows); r++) {
        ((unsigned char *)a->out + r * a->out_stride)[a->dim * sizeof(q_real)] = 0;
    }
}

/* Adds with worker 0 alone, whatever the number of workers. */
static void test_add_alone(const q_work *work, const q_binary_args *a)
{
    q_backend scalar;
    q_backend_scalar(&scalar);
    if (work->worker == 0) {
        scalar.kernels.add(work, a);
    }
}

static void test_bad_kernels(test_state *t, const char *path, const unsigned char *pack, size_t size)
{
    const unsigned char *copy = test_copy(t, pack, size);
    q_backend bad = t->scalar;
    if (strcmp((const char *)pack + 16, "add") != 0) {
        return;
    }
    bad.kernels.add = test_add_beyond;
    test_expect(t, test_run(t, &bad, copy, size, TEST_WORK).passed <= 1, path, "a write beyond the row passed");
    bad.kernels.add = test_add_alone;
    test_expect(t, test_run(t, &bad, copy, size, TEST_WORK).failed > 10, path, "a share left undone passed");
}

static bool test_file(test_state *t, const char *path)
{
    struct stat st;
    unsigned char *pack;
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        return false;
    }
    if (fstat(fd, &st) != 0 || (size_t)st.st_size > t->capacity || st.st_size < 64) {
        (void)close(fd);
        return false;
    }
    pack = (unsigned char *)mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    (void)close(fd);
    if (pack == (unsigned char *)MAP_FAILED) {
        return false;
    }
    test_conditions(t, path, pack, (size_t)st.st_size);
    test_damage(t, path, pack, (size_t)st.st_size);
    test_bad_kernels(t, path, pack, (size_t)st.st_size);
    test_cuts(t, path, pack, (size_t)st.st_size);
    (void)munmap(pack, (size_t)st.st_size);
    return true;
}

int main(int argc, char **argv)
{
    static unsigned char work[TEST_WORK] Q_ALIGNED(4096);
    test_state t;
    memset(&t, 0, sizeof(t));
    q_backend_scalar(&t.scalar);
    t.work = work;
    t.capacity = (size_t)4 << 20;
    t.buffer = (unsigned char *)mmap(NULL, t.capacity + TEST_PAGE, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (t.buffer == (unsigned char *)MAP_FAILED || mprotect(t.buffer + t.capacity, TEST_PAGE, PROT_NONE) != 0) {
        (void)fprintf(stderr, "test_runner: no memory\n");
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        if (!test_file(&t, argv[i])) {
            (void)fprintf(stderr, "test_runner: cannot read %s\n", argv[i]);
            return 2;
        }
    }
    (void)printf("%u passed, %u failed, 0 skipped\n", (unsigned)t.passed, (unsigned)t.failed);
    return t.failed == 0 && t.passed != 0 ? 0 : 1;
}
