/* SPDX-License-Identifier: MIT */
/*
 * test_format.c: host tests of .qorus files: SHA-256, sample files that must open for ever, bad
 * files, cuts and flips, guard pages, quantisers.
 *
 *   test_format [-v] [FOLDER of the sample files]
 *   test_format --open FILE    exit code 0 if the file opens and every hash is right
 */
#define _DEFAULT_SOURCE

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bad_files.h"
#include "limits.h"
#include "qorus/sha256.h"
#include "quantize_cases.h"

static bool verbose;

static void print_line(void *user, const char *line, size_t n)
{
    (void)user;
    if (verbose || strncmp(line, "FAIL", 4) == 0) {
        (void)printf("%.*s\n", (int)n, line);
    }
}

static void tell(bad_counts *counts, const char *name, bool good)
{
    char line[128];
    int n = snprintf(line, sizeof(line), "%s %s", good ? "ok  " : "FAIL", name);
    print_line(NULL, line, (size_t)n);
    counts->passed += good ? 1u : 0u;
    counts->failed += good ? 0u : 1u;
}

/* ---- SHA-256 --------------------------------------------------------------------------------- */

static bool hash_is(const void *data, size_t n, const char *hex)
{
    uint8_t digest[Q_SHA256_BYTES];
    char text[2 * Q_SHA256_BYTES + 1];
    q_sha256_of(data, n, digest);
    for (size_t i = 0; i < sizeof(digest); i++) {
        (void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
    }
    return strcmp(text, hex) == 0;
}

/* The digest of the digests of the first 0 .. 130 bytes of 3, 10, 17 ..., each taken in every split
   in two. */
static bool hash_lengths(void)
{
    uint8_t data[131];
    uint8_t all[131 * Q_SHA256_BYTES];
    bool good = true;
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(3 + 7 * i);
    }
    for (size_t n = 0; n <= 130; n++) {
        q_sha256_of(data, n, all + n * Q_SHA256_BYTES);
        for (size_t split = 0; split <= n; split++) {
            uint8_t digest[Q_SHA256_BYTES];
            q_sha256 hash;
            q_sha256_init(&hash);
            q_sha256_update(&hash, data, split);
            q_sha256_update(&hash, data + split, n - split);
            q_sha256_final(&hash, digest);
            good = good && memcmp(digest, all + n * Q_SHA256_BYTES, sizeof(digest)) == 0;
        }
    }
    return good && hash_is(all, sizeof(all),
                           "b3d31aa6b4f0810cff11dc15fd1017d7ba047ad10e757b0e36ed68897e6d1851");
}

static void test_sha256(bad_counts *counts)
{
    static char million[1000000];
    const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    const char *four = "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjkl"
                       "mnopqklmnopqrlmnopqrs"
                       "mnopqrstnopqrstu";
    memset(million, 'a', sizeof(million));
    tell(counts, "sha256_empty",
         hash_is(NULL, 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    tell(counts, "sha256_abc",
         hash_is("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    tell(counts, "sha256_448_bits",
         hash_is(two, 56, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"));
    tell(counts, "sha256_896_bits",
         hash_is(four, 112, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"));
    tell(counts, "sha256_million_a",
         hash_is(million, sizeof(million),
                 "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"));
    tell(counts, "sha256_lengths_0_to_130", hash_lengths());
}

/* ---- Files ----------------------------------------------------------------------------------- */

typedef struct sample {
    uint8_t *data; /* multiple of 4096; read-only */
    size_t size;
} sample;

static bool load(const char *folder, const char *name, sample *out)
{
    char path[1024];
    struct stat facts;
    void *map = MAP_FAILED;
    int file;
    (void)snprintf(path, sizeof(path), "%s%s%s", name[0] == '/' ? "" : folder,
                   name[0] == '/' ? "" : "/", name);
    file = open(path, O_RDONLY);
    if (file >= 0 && fstat(file, &facts) == 0 && facts.st_size > 0) {
        map = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    }
    if (file >= 0) {
        (void)close(file);
    }
    if (map == MAP_FAILED) {
        (void)fprintf(stderr, "test_format: cannot read %s\n", path);
        return false;
    }
    out->data = map;
    out->size = (size_t)facts.st_size;
    return true;
}

static bool opens_intact(const sample *s)
{
    q_file file;
    q_diag diag;
    bool good = q_file_open(&file, s->data, s->size, NULL, 0, &diag) == Q_OK;
    good = good && q_file_verify(&file, UINT32_MAX, &diag) == Q_OK;
    for (uint32_t i = 0; good && i < q_file_n_tensors(&file); i++) {
        const q_file_tensor_record *r = q_file_record(&file, i);
        const char *name = q_file_name(&file, r->name_offset);
        uint32_t found;
        q_tensor t;
        q_file_tensor(&file, i, &t);
        good = q_file_verify(&file, i, &diag) == Q_OK && t.nb[0] * t.ne[0] == r->size.v &&
               q_file_find(&file, name, r->name_length, &found) == Q_OK && found == i &&
               t.data == s->data + r->offset.v &&
               (t.scales == t.data) ==
                   (t.layout == Q_PANEL16 && t.dtype >= Q_Q8_0 && t.dtype <= Q_Q4_1);
    }
    if (!good) {
        (void)printf("     %d %s %s at %llu\n", diag.code, diag.what, diag.field,
                     (unsigned long long)diag.offset);
    }
    return good;
}

static void test_contents(bad_counts *counts, const sample *decoder, const sample *mlp,
                          const sample *tensors)
{
    q_file file;
    q_file_graph_view graph;
    uint32_t index;
    size_t size;
    bool good = q_file_open(&file, decoder->data, decoder->size, NULL, 0, NULL) == Q_OK;
    good = good && q_file_get_arch(&file)->n_vocab == 259 &&
           q_file_layer_kinds(&file)[1] == Q_LAYER_WINDOW && q_file_get_graph(&file) == NULL &&
           !q_file_graph_arrays(&file, &graph);
    tell(counts, "contents_decoder",
         good && q_file_section_data(&file, Q_SECTION_TOKENIZER, &size) != NULL);
    good = q_file_open(&file, mlp->data, mlp->size, NULL, 0, NULL) == Q_OK &&
           q_file_get_arch(&file) == NULL && q_file_layer_kinds(&file) == NULL &&
           q_file_graph_arrays(&file, &graph) && graph.head->n_nodes == 2 &&
           graph.nodes[1].class_id == 1 && graph.edges[1] == 1 && graph.params[3] == 3 &&
           graph.configs + 16 == (const uint8_t *)graph.head + 200 && graph.outputs[0].value == 2;
    tell(counts, "contents_graph",
         good && strcmp(q_file_name(&file, graph.nodes[0].class_name_offset), "linear") == 0);
    good = q_file_open(&file, tensors->data, tensors->size, NULL, 0, NULL) == Q_OK &&
           q_file_find(&file, "no such tensor", 14, &index) == Q_ERR_NOT_FOUND &&
           q_file_find(&file, "ids", 2, &index) == Q_ERR_NOT_FOUND &&
           q_file_find(&file, "ids", 3, &index) == Q_OK &&
           q_file_section_data(&file, Q_SECTION_TOKENIZER, &size) == NULL && size == 0;
    tell(counts, "contents_tensors", good);
}

/* ---- Guard pages ----------------------------------------------------------------------------- */

/* `bytes` of memory, whole pages, with an unreadable page before and after. */
static uint8_t *guarded(size_t bytes, size_t page)
{
    uint8_t *map =
        mmap(NULL, bytes + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map, page, PROT_NONE) != 0 ||
        mprotect(map + page + bytes, page, PROT_NONE) != 0) {
        return NULL;
    }
    return map + page;
}

/* Opens a file cut at each multiple of 64 with its last, then its first byte at a guard page; the
   same for the copy of the tables, which has exactly the bytes that are asked for. */
static bool guard_pages(const sample *s)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (s->size + page - 1) / page * page;
    uint8_t *file_area = guarded(room, page);
    uint8_t *copy_area = guarded(room, page);
    bool good = file_area != NULL && copy_area != NULL;
    size_t tables = 0;
    good = good && q_file_tables_size(s->data, s->size, &tables, NULL) == Q_OK;
    for (size_t n = 0; good && n <= s->size; n += n < tables ? 64 : s->size - tables) {
        for (int right = 0; good && right < 2; right++) {
            uint8_t *base = right != 0 ? file_area + room - n : file_area;
            uint8_t *copy = right != 0 ? copy_area + room - tables : copy_area;
            q_file file;
            q_error_code want = n == s->size ? Q_OK : Q_ERR_TRUNCATED;
            memcpy(base, s->data, n);
            good = q_file_open(&file, base, n, NULL, 0, NULL) == want;
            good = good && q_file_open(&file, base, n, copy, tables, NULL) == want;
        }
    }
    if (good) {
        (void)munmap(file_area - page, room + 2 * page);
        (void)munmap(copy_area - page, room + 2 * page);
    }
    return good;
}

static void run_suite(bad_counts *counts, const char *name, const sample *s, bool table,
                      uint32_t step)
{
    size_t work_size = 3 * s->size + 4096;
    void *work = aligned_alloc(64, (work_size + 63) / 64 * 64);
    char title[64];
    if (work == NULL) {
        tell(counts, "memory", false);
        return;
    }
    if (table) {
        bad_files_run(s->data, s->size, work, work_size, print_line, NULL, counts);
    }
    bad_files_arguments(s->data, s->size, work, work_size, print_line, NULL, counts);
    limits_calls(s->data, s->size, work, print_line, NULL, counts);
    if (strcmp(name, "decoder") == 0) {
        limits_run(s->data, s->size, work, print_line, NULL, counts);
    }
    bad_files_sweep(s->data, s->size, step, work, work_size, print_line, NULL, counts);
    (void)snprintf(title, sizeof(title), "M03_guard_pages_%s", name);
    tell(counts, title, guard_pages(s));
    free(work);
}

int main(int argc, char **argv)
{
    static const char names[][12] = {"decoder", "llama", "mlp", "tensors", "graph", "limits"};
    enum { FILES = sizeof(names) / sizeof(names[0]) };
    bad_counts counts = {0, 0, 0, 0};
    sample files[FILES];
    sample vectors;
    const char *folder;
    void *work = aligned_alloc(64, 65536);
    if (argc == 3 && strcmp(argv[1], "--open") == 0) {
        return load(".", argv[2], &files[0]) && opens_intact(&files[0]) ? 0 : 1;
    }
    verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
    folder = argc > (verbose ? 2 : 1) ? argv[verbose ? 2 : 1] : "vectors/files";
    test_sha256(&counts);
    for (size_t i = 0; i < FILES; i++) {
        char name[80];
        (void)snprintf(name, sizeof(name), "%s.qorus", names[i]);
        if (!load(folder, name, &files[i])) {
            return 1;
        }
        tell(&counts, name, opens_intact(&files[i]));
    }
    test_contents(&counts, &files[0], &files[2], &files[3]);
    for (size_t i = 0; i < FILES; i++) {
        run_suite(&counts, names[i], &files[i], i != 1 && i != 3 && i != 5, i == 1 || i == 5 ? 5 : 1);
    }
    if (work == NULL || !load(folder, "quantize.bin", &vectors)) {
        return 1;
    }
    quantize_cases_run(vectors.data, vectors.size, work, 65536, print_line, NULL, &counts);
    free(work);
    tell(&counts, "malformed_files_tried_at_least_100000", counts.tried >= 100000);
    (void)printf("%llu malformed files tried\n", (unsigned long long)counts.tried);
    (void)printf("%u passed, %u failed, %u skipped\n", counts.passed, counts.failed,
                 counts.skipped);
    return counts.failed == 0 ? 0 : 1;
}
