/* SPDX-License-Identifier: MIT */
/* fake_device.h: a device that lies in the host's memory, computes as the scalar backend does, and fails when told to. No libc. */
#ifndef QORUS_TEST_FAKE_DEVICE_H
#define QORUS_TEST_FAKE_DEVICE_H

#include "qorus/ops.h"

typedef struct fake_device {
    q_backend backend;
    q_error_code finish;   /* what its calls answer */
    q_error_code download;
    size_t downloaded;     /* bytes */
} fake_device;

/* A context for ops on it; its tensors have device Q_DEVICE_MOCK. */
q_error_code fake_device_open(fake_device *d, const q_port *port, q_op_context *ctx);

#endif /* QORUS_TEST_FAKE_DEVICE_H */
