/* SPDX-License-Identifier: MIT */
/*
 * bad_tokens.h: tokenizer sections that must be refused. Each case is small.qtok, accepted as it is, with one
 * defect: q_tokenizer_open must name its code, field and byte. Needs the core alone: no libc, no allocation, so it
 * runs on every port. Ids in names are those of the catalogue of bad inputs.
 */
#ifndef QORUS_TEST_BAD_TOKENS_H
#define QORUS_TEST_BAD_TOKENS_H

#include "qorus/tokenizer.h"

typedef struct bad_tokens_counts {
    uint32_t passed;
    uint32_t failed;
} bad_tokens_counts;

/* One line without its newline. */
typedef void (*bad_tokens_print)(void *user, const char *line, size_t n);

/*
 * Runs every case. section: small.qtok, at a multiple of 64. work: multiple of 64, at least size bytes; sections
 * under test end where it ends, so that a page behind it catches what is read past them. Prints a line per case
 * and adds to counts.
 */
void bad_tokens_run(const void *section, size_t size, void *work, size_t work_size,
                    bad_tokens_print print, void *user, bad_tokens_counts *counts);

#endif /* QORUS_TEST_BAD_TOKENS_H */
