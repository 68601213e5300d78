/* SPDX-License-Identifier: MIT */
/* data.h: what the parts of test_data share. */
#ifndef QORUS_TEST_DATA_H
#define QORUS_TEST_DATA_H

#include "qorus_types.h"

void check(bool ok, const char *what);

void test_arrays(void);
void test_csv(void);
void test_csv_classes(void);
void test_order(void);

#endif /* QORUS_TEST_DATA_H */
