/* SPDX-License-Identifier: MIT */
/*
 * quantize_cases.h: the weight quantisers against vectors/files/quantize.bin, on any port.
 */
#ifndef QORUS_TEST_QUANTIZE_CASES_H
#define QORUS_TEST_QUANTIZE_CASES_H

#include "bad_files.h"

/* Runs every case; work holds the largest result (64 KiB). All bytes must be equal. */
void quantize_cases_run(const void *vectors, size_t size, void *work, size_t work_size,
                        bad_print print, void *user, bad_counts *counts);

#endif /* QORUS_TEST_QUANTIZE_CASES_H */
