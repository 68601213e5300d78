/* SPDX-License-Identifier: MIT */
/*
 * tok_test.h: what the tokenizer's tests share: counting, guarded memory, and the vector files.
 */
#ifndef QORUS_TEST_TOKENIZER_TOK_TEST_H
#define QORUS_TEST_TOKENIZER_TOK_TEST_H

#include <stdio.h>

#include "qorus/tokenizer.h"

/* ---- Counting -------------------------------------------------------------------------------- */

typedef struct tok_tally {
    unsigned passed, failed, skipped;
} tok_tally;

extern tok_tally tally;

/* Counts one check; a failure prints its place and the message. Returns ok. */
bool tok_check(bool ok, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define CHECK(ok, ...) tok_check((ok), __FILE__, __LINE__, __VA_ARGS__)

void tok_skip(const char *what, const char *why);

/* ---- Memory between pages that cannot be touched --------------------------------------------- */

/* size bytes that end where an unreadable page begins (at_end false: begin where one ends). */
void *guard_new(size_t size, bool at_end);

/* Forbids writing; for memory of guard_new only. */
void guard_seal(void *p, size_t size);

void guard_free(void *p, size_t size);

/* ---- Files ----------------------------------------------------------------------------------- */

typedef struct tok_bytes {
    unsigned char *data;
    size_t n;
} tok_bytes;

/* The whole file; data NULL if it cannot be read. */
tok_bytes tok_read(const char *path);

/* A section of a file, alone between guard pages and read-only, opened; false (and counted) if it
 * fails. */
bool tok_open_file(const char *path, q_tokenizer *t, tok_bytes *section);

/* strings.bin */
typedef struct tok_strings {
    tok_bytes file;
    uint32_t n, n_valid;
    const unsigned char **text;
    size_t *length;
} tok_strings;

bool tok_strings_load(tok_strings *s, const char *path);

/* NAME.ids: ids[i] has count[i] elements. */
typedef struct tok_ids {
    tok_bytes file;
    uint32_t n;
    int32_t *all;
    const int32_t **ids;
    size_t *count;
} tok_ids;

/* base: the file that a count of 65535 refers to, or NULL. */
bool tok_ids_load(tok_ids *out, const char *path, const tok_ids *base);

void tok_strings_free(tok_strings *s);
void tok_ids_free(tok_ids *ids);

/* Digest and count of a line of hashes.txt; false if there is no such line. */
bool tok_hash_line(const char *path, const char *name, char hex[65], size_t *count);

/* ---- Suites ---------------------------------------------------------------------------------- */

/* Bad sections; section is that of small.qtok. thorough: every value of
 * every byte. */
void tok_test_bad(const tok_bytes *section, bool thorough);

/* Bad arguments and capacities; t is small.qtok. */
void tok_test_calls(const q_tokenizer *t);

/* Tokens, lookup, merges, the byte tokenizer. */
void tok_test_tokens(const q_tokenizer *t, const tok_bytes *section, const char *byte_path);

/* Streaming decode of the strings with any split. */
void tok_test_stream(const q_tokenizer *t, const tok_strings *s, const tok_ids *ids);

#endif /* QORUS_TEST_TOKENIZER_TOK_TEST_H */
