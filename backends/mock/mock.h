/* SPDX-License-Identifier: MIT */
/*
 * mock.h: a device that is none, for tests of the core.
 *
 * Its memory is one block of the host's that its creator keeps unreadable; only the device's own operations open it,
 * each for as long as it runs. Parameters lie in it backwards and scrambled, so that the host's layout reads as
 * nonsense. Its kernels put them right and call the scalar ones: the bits are those of scalar. Operation number n fails
 * on demand, at once for buffer operations, at the next finish or download for kernels.
 */
#ifndef QORUS_BACKENDS_MOCK_H
#define QORUS_BACKENDS_MOCK_H

#include "qorus/backend.h"

typedef enum q_mock_operation {
    Q_MOCK_UPLOAD = 0,
    Q_MOCK_DOWNLOAD = 1,
    Q_MOCK_FILL_ZERO = 2,
    Q_MOCK_FINISH = 3,
    Q_MOCK_BEGIN = 4,
    Q_MOCK_PREPARE_SIZE = 5,
    Q_MOCK_PREPARE = 6,
    Q_MOCK_KERNEL = 7,
    Q_MOCK_OPERATIONS = 8
} q_mock_operation;

typedef struct q_mock {
    /* given by the creator */
    uint8_t *base; /* all memory of the device, multiple of Q_ALIGN; the first `reserve` bytes are the device's own */
    size_t size;
    size_t reserve;   /* for a run block: its selected rows and spans, and 256 bytes */
    size_t workspace; /* bytes, multiple of Q_ALIGN: at least those of the largest parameter */
    void (*protect)(void *user, void *base, size_t size, bool open);
    void *user;
    uint64_t fail_at;       /* the operation that fails, counted from 1; 0: none */
    q_error_code fail_code; /* how */

    /* told by the device */
    uint64_t n;                        /* operations since the creator last set it to 0 */
    uint64_t counts[Q_MOCK_OPERATIONS]; /* of each */
    uint32_t failed;                   /* q_mock_operation that failed last */

    /* its own */
    q_kernels scalar;
    q_error_code pending; /* of a kernel, not told yet */
    uint32_t depth;
} q_mock;

/* Fills a backend of device Q_DEVICE_MOCK over `mock`, which it keeps; the creator's fields are set before. */
void q_backend_mock(q_backend *out, q_mock *mock);

#endif /* QORUS_BACKENDS_MOCK_H */
