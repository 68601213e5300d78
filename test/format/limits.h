/* SPDX-License-Identifier: MIT */
/* limits.h: .qorus files at the very edge of what is accepted, each beside its refused neighbour. */
#ifndef QORUS_TEST_LIMITS_H
#define QORUS_TEST_LIMITS_H

#include "bad_files.h"

/*
 * The decoder sample with single fields and texts at their limits, and one beyond; every number of a diagnosis that says
 * what was wanted. work: multiple of 64, at least 2 * size bytes.
 */
void limits_run(const void *decoder, size_t size, void *work, bad_print print, void *user, bad_counts *counts);

/* What the calls say of arguments they refuse, number by number; what they tell of a file they accept, tensor by tensor. */
void limits_calls(const void *twin, size_t size, void *work, bad_print print, void *user, bad_counts *counts);

#endif /* QORUS_TEST_LIMITS_H */
