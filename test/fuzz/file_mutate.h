/* SPDX-License-Identifier: MIT */
/* file_mutate.h: mutants of .qorus files. */
#ifndef QORUS_TEST_FUZZ_FILE_MUTATE_H
#define QORUS_TEST_FUZZ_FILE_MUTATE_H

#include "fuzz.h"

/* Changes fields, names, sizes of sections and tensors, then most often makes the hashes right. */
size_t file_mutate(uint8_t *bytes, size_t size, size_t max, fuzz_random *r);

#endif /* QORUS_TEST_FUZZ_FILE_MUTATE_H */
