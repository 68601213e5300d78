/* SPDX-License-Identifier: MIT */
/*
 * test_tokenizer.c: the tokenizer against the vectors of vectors/gen/tokenizer_vectors.py.
 *
 * Usage: test_tokenizer VECTORS [MODEL.qtok | -] [SHAKESPEARE | -] [--thorough]
 */
#include "tok_test.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "qorus/sha256.h"

enum {
    MIXED_BYTES = 1 << 20
};

/* Time of this process, so that others on the machine do not count. */
static double now_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static const char *in_folder(const char *folder, const char *name, const char *suffix)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s%s", folder, name, suffix);
    return path;
}

/* ---- One string ------------------------------------------------------------------------------ */

/* Encodes between guard pages: text, work and ids each exactly as large as they must be. */
static bool encode_guarded(const q_tokenizer *t, const unsigned char *text, size_t n,
                           uint32_t flags, const int32_t *expected, size_t count, size_t cap)
{
    size_t need = q_tokenizer_encode_work_need(t, (const char *)text, n, flags);
    char *copy = (char *)guard_new(n, true);
    void *work = need != 0 ? guard_new(need, true) : NULL;
    int32_t *ids = (int32_t *)guard_new(cap * sizeof *ids, true);
    size_t got = SIZE_MAX;
    bool ok;
    memcpy(copy, text, n);
    guard_seal(copy, n);
    ok = q_tokenizer_encode(t, copy, n, flags, work, need, ids, cap, &got, NULL) == Q_OK &&
         got == count && memcmp(ids, expected, count * sizeof *ids) == 0;
    guard_free(copy, n);
    guard_free(ids, cap * sizeof *ids);
    if (work != NULL) {
        guard_free(work, need);
    }
    return ok;
}

/* The text without the bytes the vocabulary lacks. */
static size_t known_bytes(const q_tokenizer *t, const unsigned char *text, size_t n,
                          unsigned char *out)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t id;
        if (q_tokenizer_find(t, &text[i], 1, &id)) {
            out[count++] = text[i];
        }
    }
    return count;
}

/* ids decode to the text; STRICT refuses it exactly where a byte is missing. */
static bool round_trip(const q_tokenizer *t, const unsigned char *text, size_t n,
                       const int32_t *ids, size_t count)
{
    unsigned char expected[4096] = {0};
    char *out = (char *)guard_new(n, true);
    size_t kept = known_bytes(t, text, n, expected);
    size_t got = 0;
    size_t n_ids;
    q_diag diag = {0};
    char work[4096 * 8] __attribute__((aligned(8)));
    q_error_code strict = q_tokenizer_encode(t, (const char *)text, n, Q_ENCODE_STRICT, work,
                                             sizeof work, NULL, 0, &n_ids, &diag);
    bool ok = q_tokenizer_decode(t, ids, count, 0, out, n, &got, NULL) == Q_OK && got == kept &&
              memcmp(out, expected, kept) == 0;
    size_t first = 0;
    while (first < n && first < kept && text[first] == expected[first]) {
        first++;
    }
    ok = ok && (kept == n ? strict == Q_OK && n_ids == count
                          : strict == Q_ERR_NOT_FOUND && diag.offset == first);
    guard_free(out, n);
    return ok;
}

/* ---- The vector files ------------------------------------------------------------------------ */

static void test_ids(const q_tokenizer *t, const char *name, const tok_strings *s,
                     const tok_ids *ids, uint32_t flags)
{
    unsigned before = tally.failed;
    for (uint32_t i = 0; i < s->n; i++) {
        CHECK(encode_guarded(t, s->text[i], s->length[i], flags, ids->ids[i], ids->count[i],
                             ids->count[i]),
              "%s: string %u, exact capacity", name, i);
        CHECK(encode_guarded(t, s->text[i], s->length[i], flags, ids->ids[i], ids->count[i],
                             s->length[i] + 2),
              "%s: string %u, full capacity", name, i);
        if (flags == 0) {
            CHECK(round_trip(t, s->text[i], s->length[i], ids->ids[i], ids->count[i]),
                  "%s: string %u decoded", name, i);
        }
    }
    printf("%-14s %u strings, %u failures\n", name, s->n, tally.failed - before);
}

/* ---- Long texts ------------------------------------------------------------------------------ */

/* Hash of the ids of a text, and their number, against a line of hashes.txt; seconds taken, or 0.
 */
static double test_hash(const q_tokenizer *t, const char *folder, const char *name,
                        const unsigned char *text, size_t n)
{
    char expected[65];
    char hex[65];
    unsigned char digest[Q_SHA256_BYTES];
    size_t expected_count;
    size_t work_size = q_tokenizer_encode_work_need(t, (const char *)text, n, 0);
    void *work = malloc(work_size + 8);
    int32_t *ids = (int32_t *)malloc((n + 2) * sizeof *ids);
    size_t count = 0;
    double start = now_seconds();
    q_error_code code =
        q_tokenizer_encode(t, (const char *)text, n, 0, work, work_size, ids, n + 2, &count, NULL);
    double taken = now_seconds() - start;
    q_sha256_of(ids, count * sizeof *ids, digest);
    for (size_t i = 0; i < Q_SHA256_BYTES; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
    if (CHECK(tok_hash_line(in_folder(folder, "hashes.txt", ""), name, expected, &expected_count),
              "hashes.txt has no line %s", name)) {
        CHECK(code == Q_OK && count == expected_count && strcmp(hex, expected) == 0,
              "%s: code %d, %zu ids, expected %zu", name, code, count, expected_count);
    }
    printf("%-24s %8zu bytes %8zu ids %8zu work %7.1f ms %6.1f MB/s\n", name, n, count, work_size,
           taken * 1e3, (double)n / taken * 1e-6);
    free(work);
    free(ids);
    return taken;
}

/* Strings in the order of the generator's random numbers, until MIXED_BYTES are reached. */
static tok_bytes mixed_text(const tok_strings *s)
{
    uint64_t state = 7;
    tok_bytes out = {(unsigned char *)malloc(MIXED_BYTES + 65536), 0};
    while (out.n < MIXED_BYTES) {
        uint32_t i;
        state = state * 6364136223846793005u + 1442695040888963407u;
        i = (uint32_t)((state >> 33) % s->n_valid);
        memcpy(out.data + out.n, s->text[i], s->length[i]);
        out.n += s->length[i];
    }
    return out;
}

static void fill_pattern(unsigned char *to, size_t n, const char *pattern)
{
    size_t period = strlen(pattern);
    for (size_t i = 0; i < n; i++) {
        to[i] = (unsigned char)pattern[i % period];
    }
}

static double best_time(const q_tokenizer *t, const unsigned char *text, size_t n, uint32_t flags,
                        void *work, size_t work_size, int32_t *ids)
{
    double best = 1e9;
    for (int i = 0; i < 3; i++) {
        size_t count;
        double start = now_seconds();
        q_error_code code = q_tokenizer_encode(t, (const char *)text, n, flags, work, work_size,
                                               ids, n + 2, &count, NULL);
        double taken = now_seconds() - start;
        CHECK(code == Q_OK && count <= n, "pattern of %zu bytes: code %d", n, code);
        best = taken < best ? taken : best;
    }
    return best;
}

/* T28: four times the text takes less than eight times as long (a quadratic one would take sixteen
 * times). */
static void test_near_linear(const q_tokenizer *t, const char *name)
{
    static const char *const patterns[] = {"a",     " ",   "er", "<",   "<|im_start",
                                           "<user", "' s", "9",  "ent", "\xf0\x9f\x98"};
    const size_t n = 1 << 20;
    size_t work_size = q_tokenizer_encode_work_size(t, n);
    unsigned char *text = (unsigned char *)malloc(n);
    void *work = malloc(work_size);
    int32_t *ids = (int32_t *)malloc((n + 2) * sizeof *ids);
    for (size_t p = 0; p < sizeof patterns / sizeof patterns[0]; p++) {
        double quarter, whole;
        fill_pattern(text, n, patterns[p]);
        quarter = best_time(t, text, n / 4, Q_ENCODE_PARSE_SPECIAL, work, work_size, ids);
        whole = best_time(t, text, n, Q_ENCODE_PARSE_SPECIAL, work, work_size, ids);
        CHECK(whole < 8 * quarter + 0.01, "T28 %s: pattern %zu takes %g s for n, %g s for n/4",
              name, p, whole, quarter);
        printf("T28 %-6s pattern %zu: 256 KiB %6.1f ms, 1 MiB %6.1f ms\n", name, p, quarter * 1e3,
               whole * 1e3);
    }
    free(text);
    free(work);
    free(ids);
}

static void test_long(const q_tokenizer *t, const char *folder, const char *name,
                      const tok_bytes *mixed, const tok_bytes *shakespeare)
{
    static const struct {
        const char *name;
        const char *pattern;
    } repeated[] = {{"a", "a"}, {"space", " "}, {"er", "er"}};
    char line[64];
    unsigned char *text = (unsigned char *)malloc(1 << 20);
    snprintf(line, sizeof line, "%s_mixed", name);
    test_hash(t, folder, line, mixed->data, mixed->n);
    for (size_t i = 0; i < 3; i++) {
        fill_pattern(text, 1 << 20, repeated[i].pattern);
        snprintf(line, sizeof line, "%s_%s", name, repeated[i].name);
        test_hash(t, folder, line, text, 1 << 20);
    }
    if (shakespeare->data != NULL) {
        snprintf(line, sizeof line, "%s_shakespeare", name);
        test_hash(t, folder, line, shakespeare->data, shakespeare->n);
    } else {
        tok_skip(name, "no shakespeare text");
    }
    free(text);
}

/* ---- One tokenizer, both pre-tokenizers ------------------------------------------------------ */

static void test_one(const q_tokenizer *t, const char *folder, const char *name,
                     const tok_strings *s, const tok_bytes *mixed, const tok_bytes *shakespeare)
{
    q_tokenizer gpt2 = *t;
    tok_ids base = {0}, other = {0}, special = {0};
    char line[64];
    bool ok;
    gpt2.pretokenizer = Q_PRETOKENIZER_GPT2;
    snprintf(line, sizeof line, "%s_smollm", name);
    ok = CHECK(tok_ids_load(&base, in_folder(folder, line, ".ids"), NULL) && base.n == s->n,
               "%s.ids", line);
    if (ok) {
        test_ids(t, line, s, &base, 0);
        tok_test_stream(t, s, &base);
        test_long(t, folder, line, mixed, shakespeare);
    }
    snprintf(line, sizeof line, "%s_gpt2", name);
    if (ok && CHECK(tok_ids_load(&other, in_folder(folder, line, ".ids"), &base), "%s.ids", line)) {
        test_ids(&gpt2, line, s, &other, 0);
        test_long(&gpt2, folder, line, mixed, shakespeare);
    }
    snprintf(line, sizeof line, "%s_special", name);
    if (ok &&
        CHECK(tok_ids_load(&special, in_folder(folder, line, ".ids"), &base), "%s.ids", line)) {
        tok_strings valid = *s;
        valid.n = s->n_valid; /* invalid UTF-8 has no reference with parsed tokens */
        test_ids(t, line, &valid, &special, Q_ENCODE_PARSE_SPECIAL);
    }
    test_near_linear(t, name);
    tok_ids_free(&base);
    tok_ids_free(&other);
    tok_ids_free(&special);
}

static void check_mixed(const char *folder, const tok_bytes *mixed)
{
    char expected[65];
    char hex[65];
    unsigned char digest[Q_SHA256_BYTES];
    size_t n = 0;
    q_sha256_of(mixed->data, mixed->n, digest);
    for (size_t i = 0; i < Q_SHA256_BYTES; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
    CHECK(tok_hash_line(in_folder(folder, "hashes.txt", ""), "mixed_text", expected, &n) &&
              n == mixed->n && strcmp(hex, expected) == 0,
          "the mixed text is not the generator's");
}

/* True if a path is given and the file can be read. */
static bool readable(const char *path)
{
    FILE *file = path != NULL && strcmp(path, "-") != 0 ? fopen(path, "rb") : NULL;
    if (file != NULL) {
        fclose(file);
    }
    return file != NULL;
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : "vectors/tokenizer";
    const char *big_path = argc > 2 ? argv[2] : NULL;
    const char *text_path = argc > 3 ? argv[3] : NULL;
    bool thorough = argc > 4 && strcmp(argv[4], "--thorough") == 0;
    tok_strings strings = {0};
    tok_bytes small_section, big_section, mixed;
    tok_bytes shakespeare = {NULL, 0};
    q_tokenizer small, big;
    if (readable(text_path)) {
        shakespeare = tok_read(text_path);
    }
    if (CHECK(tok_strings_load(&strings, in_folder(folder, "strings", ".bin")), "strings.bin") &&
        tok_open_file(in_folder(folder, "small", ".qtok"), &small, &small_section)) {
        mixed = mixed_text(&strings);
        check_mixed(folder, &mixed);
        tok_test_tokens(&small, &small_section, in_folder(folder, "byte", ".qtok"));
        test_one(&small, folder, "small", &strings, &mixed, &shakespeare);
        tok_test_calls(&small);
        tok_test_bad(&small_section, thorough);
        if (!readable(big_path)) {
            tok_skip("big", "no tokenizer section of the model");
        } else if (tok_open_file(big_path, &big, &big_section)) {
            double start = now_seconds();
            for (int i = 0; i < 10; i++) {
                CHECK(q_tokenizer_open(&big, big_section.data, big_section.n, NULL) == Q_OK,
                      "open again");
            }
            printf("open of %zu bytes: %.2f ms\n", big_section.n, (now_seconds() - start) * 100);
            test_one(&big, folder, "big", &strings, &mixed, &shakespeare);
        }
        free(mixed.data);
    }
    tok_strings_free(&strings);
    free(shakespeare.data);
    printf("%u passed, %u failed, %u skipped\n", tally.passed, tally.failed, tally.skipped);
    return tally.failed == 0 ? 0 : 1;
}
