/* SPDX-License-Identifier: MIT */
/* fit.h: the tests of whole trainings. */
#ifndef QORUS_TEST_TRAIN_FIT_H
#define QORUS_TEST_TRAIN_FIT_H

void test_fit(void);

#endif /* QORUS_TEST_TRAIN_FIT_H */
