/* SPDX-License-Identifier: MIT */
/*
 * digits.h: the training of examples/train/digits-cnn.train in C, with an operating system and without: data, network and
 * recipe as there, so that the parameters are those of `qorus train`, bit for bit.
 */
#ifndef TEST_DIGITS_H
#define TEST_DIGITS_H

#include "../trajectory/host.h"

typedef struct digits_outcome {
    char hex[2 * Q_SHA256_BYTES + 1]; /* of the parameters */
    uint32_t right;
    uint32_t images;                  /* held out */
    uint32_t workers;
} digits_outcome;

/*
 * pack: train-images.idx, train-labels.idx, test-images.idx and test-labels.idx of tools/make_digits.py, one behind the
 * other. trained: a model of that training, which is looked at instead; NULL: trains. Ends the program on any error.
 */
digits_outcome digits_train(const void *pack, size_t size, const q_backend *backend, uint32_t workers,
                            const q_file *trained);

#endif /* TEST_DIGITS_H */
