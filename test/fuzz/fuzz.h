/* SPDX-License-Identifier: MIT */
/*
 * fuzz.h: parsers fed with bytes of any kind. A target runs one input and says what became of it; its mutator
 * knows the structure of its inputs, changes fields of it, and makes hashes right again, so that what it makes
 * gets past them.
 *
 * Two programs run the targets: `fuzz` (fuzz.c) replays the corpora and makes mutants of them from a seed, with
 * any compiler; `fuzz_lib` (libfuzzer.c) is driven by libFuzzer.
 */
#ifndef QORUS_TEST_FUZZ_H
#define QORUS_TEST_FUZZ_H

#include "qorus_types.h"

enum {
    FUZZ_MAX_INPUT = 16384,
    FUZZ_MAX_MEMORY = 1 << 20 /* a model that needs more in one piece is not run */
};

/* Random numbers: the same seed, the same numbers. */
typedef struct fuzz_random {
    uint64_t state;
} fuzz_random;

uint32_t fuzz_next(fuzz_random *r);
/* A number below n; 0 for n = 0. */
uint32_t fuzz_below(fuzz_random *r, size_t n);
bool fuzz_once_in(fuzz_random *r, uint32_t n);

/* Little-endian numbers of width 1, 2, 4 or 8 at any address. */
uint64_t fuzz_get(const uint8_t *at, uint32_t width);
void fuzz_put(uint8_t *at, uint32_t width, uint64_t value);

/* Changes the number at bytes[at]: to an edge of its range, a neighbour, a bit less or more, anything. Nothing
   where it does not lie within the first size bytes. */
void fuzz_change(fuzz_random *r, uint8_t *bytes, size_t size, uint64_t at, uint32_t width);

/* Makes room for, or removes, bytes at `at`: what follows moves by delta; new bytes are zero. Returns the new
   size, or the old one where the result would not fit into [at, max]. */
size_t fuzz_shift(uint8_t *bytes, size_t size, size_t max, uint64_t at, int64_t delta);

/* Plain changes of bytes, without structure; libFuzzer's where it is linked. */
size_t fuzz_bytes(uint8_t *bytes, size_t size, size_t max, fuzz_random *r);

/* Memory of exactly n bytes at a multiple of 64 or 128; ends the program if there is none. */
void *fuzz_memory(size_t n);

/* Ends the program if a property does not hold. */
void fuzz_must(bool holds, const char *what);

/* One parser. */
typedef struct fuzz_target {
    char name[12];
    /* Runs one input. diag->code, field and offset are the verdict, which depends on the bytes alone. */
    void (*run)(const uint8_t *bytes, size_t size, q_diag *diag);
    /* Changes an input; returns its new size, at most max. */
    size_t (*mutate)(uint8_t *bytes, size_t size, size_t max, fuzz_random *r);
} fuzz_target;

extern const fuzz_target fuzz_file;
extern const fuzz_target fuzz_tokenizer;
extern const fuzz_target fuzz_snapshot;

/* The target of that name, or NULL. */
const fuzz_target *fuzz_find(const char *name);

/* What the tokenizer target does with an open tokenizer and a text, for the file target too. */
struct q_tokenizer;
void fuzz_use_tokenizer(const struct q_tokenizer *t, const uint8_t *text, size_t n);

#endif /* QORUS_TEST_FUZZ_H */
