/* SPDX-License-Identifier: MIT */
/*
 * test_rewrite FILE.qorus...: q_rewrite as a caller uses it: exact work between canaries, every byte of the new file
 * written once, the result opens and verifies; refused arguments; errors of the writer come back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qorus/rewrite.h"

enum { CANARY = 64, CANARY_BYTE = 0x5a, N_TYPES = 6 };

static int passed;
static int failed;

static void check(bool ok, const char *what, const char *detail)
{
    passed += ok ? 1 : 0;
    failed += ok ? 0 : 1;
    if (!ok) {
        (void)printf("FAIL %s (%s)\n", what, detail);
    }
}

static void *take(size_t size)
{
    void *p = aligned_alloc(64, (size + 63) / 64 * 64 + 64);
    if (p == NULL) {
        (void)printf("FAIL out of memory\n");
        exit(1);
    }
    return p;
}

/* Where the new file goes. */
typedef struct sink {
    uint8_t *bytes;
    uint8_t *seen; /* how often each byte was written */
    uint64_t size;
    uint32_t calls;
    uint32_t fail_at; /* call that fails; 0: none */
    uint32_t last_done;
    uint32_t last_all;
    bool outside;
} sink;

static q_error_code put(void *user, uint64_t offset, const void *bytes, size_t n)
{
    sink *s = (sink *)user;
    if (++s->calls == s->fail_at) {
        return Q_ERR_IO;
    }
    if (offset > s->size || n > s->size - offset) {
        s->outside = true;
        return Q_ERR_IO;
    }
    memcpy(s->bytes + offset, bytes, n);
    for (size_t i = 0; i < n; i++) {
        s->seen[offset + i]++;
    }
    return Q_OK;
}

static void progress(void *user, uint32_t done, uint32_t all)
{
    sink *s = (sink *)user;
    s->last_done = done;
    s->last_all = all;
}

static q_rewrite rewrite_of(const q_file *file, uint32_t dtype, sink *s)
{
    q_rewrite w;
    memset(&w, 0, sizeof(w));
    w.struct_size = sizeof(w);
    w.dtype = dtype;
    w.file = file;
    w.note = "a note";
    w.user = s;
    w.write = put;
    w.progress = progress;
    return w;
}

static bool intact(const uint8_t *canary)
{
    for (int i = 0; i < CANARY; i++) {
        if (canary[i] != CANARY_BYTE) {
            return false;
        }
    }
    return true;
}

static bool verifies(const uint8_t *bytes, uint64_t size)
{
    q_file file;
    bool ok = q_file_open(&file, bytes, (size_t)size, NULL, 0, NULL) == Q_OK &&
              q_file_verify(&file, UINT32_MAX, NULL) == Q_OK;
    for (uint32_t i = 0; ok && i < q_file_n_tensors(&file); i++) {
        ok = q_file_verify(&file, i, NULL) == Q_OK;
    }
    return ok;
}

static bool all_once(const sink *s)
{
    for (uint64_t i = 0; i < s->size; i++) {
        if (s->seen[i] != 1) {
            return false;
        }
    }
    return true;
}

/* One type: exactly the work asked for, then one byte less, then a writer that fails at every call. */
static void test_type(const q_file *file, uint32_t dtype, const char *path)
{
    sink s;
    q_diag d;
    size_t n = 0;
    q_rewrite w = rewrite_of(file, dtype, &s);
    uint8_t *work;
    uint32_t calls;
    memset(&s, 0, sizeof(s));
    if (q_rewrite_size(&w, &s.size, &n, &d) != Q_OK) {
        check(d.code == Q_ERR_INVALID_SIZE && d.need == 32 && d.have % 32 != 0, "refused for its columns only", path);
        return;
    }
    work = (uint8_t *)take(n + CANARY);
    s.bytes = (uint8_t *)take((size_t)s.size);
    s.seen = (uint8_t *)calloc((size_t)s.size, 1);
    memset(work + n, CANARY_BYTE, CANARY);
    check(q_rewrite_run(&w, work, n, &d) == Q_OK, "runs in the work asked for", path);
    check(intact(work + n), "no byte behind work is touched", path);
    check(!s.outside && all_once(&s), "every byte is written once", path);
    check(s.last_done == q_file_n_tensors(file) && s.last_all == s.last_done, "progress ends at the end", path);
    check(verifies(s.bytes, s.size), "the new file opens and verifies", path);
    calls = s.calls;
    s.calls = 0;
    check(q_rewrite_run(&w, work, n - 1, &d) == Q_ERR_NO_SPACE && d.need == n && d.have == n - 1 && s.calls == 0,
          "one byte less is refused before anything is written", path);
    for (uint32_t i = 1; i <= calls; i++) {
        s.calls = 0;
        s.fail_at = i;
        check(q_rewrite_run(&w, work, n, &d) == Q_ERR_IO && s.calls == i && strcmp(d.field, "write") == 0,
              "an error of the writer ends it", path);
    }
    free(work);
    free(s.bytes);
    free(s.seen);
}

static void test_arguments(const q_file *file, const char *path)
{
    static char long_note[Q_CAP_META + 2];
    sink s;
    q_diag d;
    size_t n;
    uint8_t *work;
    q_rewrite good = rewrite_of(file, Q_BF16, &s);
    q_rewrite w = good;
    memset(&s, 0, sizeof(s));
    if (q_rewrite_size(&good, NULL, &n, NULL) != Q_OK) {
        check(false, "the twin is accepted", path);
        return;
    }
    work = (uint8_t *)take(n + 64);
    check(q_rewrite_size(NULL, NULL, NULL, &d) == Q_ERR_INVALID_ARG, "rewrite NULL", path);
    w.struct_size--;
    check(q_rewrite_size(&w, NULL, NULL, &d) == Q_ERR_INVALID_ARG && strcmp(d.field, "struct_size") == 0, "size", path);
    w = good;
    w.file = NULL;
    check(q_rewrite_size(&w, NULL, NULL, &d) == Q_ERR_INVALID_ARG && strcmp(d.field, "file") == 0, "file", path);
    w = good;
    w.write = NULL;
    check(q_rewrite_size(&w, NULL, NULL, &d) == Q_ERR_INVALID_ARG && strcmp(d.field, "write") == 0, "write", path);
    w = good;
    w.dtype = Q_I32;
    check(q_rewrite_size(&w, NULL, NULL, &d) == Q_ERR_INVALID_DTYPE && d.have == Q_I32, "dtype", path);
    w = good;
    memset(long_note, 'x', sizeof(long_note) - 1);
    w.note = long_note;
    check(q_rewrite_size(&w, NULL, NULL, &d) == Q_ERR_LIMIT && strcmp(d.field, "note") == 0, "note", path);
    w.note = long_note + 2;
    check(q_rewrite_size(&w, NULL, NULL, &d) == Q_ERR_LIMIT && strcmp(d.what, "meta") == 0, "note and meta", path);
    check(q_rewrite_run(&good, NULL, n, &d) == Q_ERR_INVALID_ARG, "work NULL", path);
    check(q_rewrite_run(&good, work + 1, n, &d) == Q_ERR_MISALIGNED, "work misaligned", path);
    check(s.calls == 0, "nothing was written", path);
    free(work);
}

static void test_file(const char *path)
{
    q_file file;
    FILE *f = fopen(path, "rb");
    long size = 0;
    void *bytes;
    if (f == NULL || fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) <= 0 || fseek(f, 0, SEEK_SET) != 0) {
        check(false, "the sample can be read", path);
        return;
    }
    bytes = take((size_t)size);
    if (fread(bytes, 1, (size_t)size, f) == (size_t)size && fclose(f) == 0 &&
        q_file_open(&file, bytes, (size_t)size, NULL, 0, NULL) == Q_OK) {
        for (uint32_t dtype = 0; dtype < N_TYPES; dtype++) {
            test_type(&file, dtype, path);
        }
        test_arguments(&file, path);
    } else {
        check(false, "the sample opens", path);
    }
    free(bytes);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        test_file(argv[i]);
    }
    (void)printf("%d passed, %d failed, 0 skipped\n", passed, failed);
    return failed == 0 && argc > 1 ? 0 : 1;
}
