/* SPDX-License-Identifier: MIT */
/* A device that fails when told to: see fake_device.h. */
#include "fake_device.h"

#include "qorus/base/mem.h"

static q_error_code fake_finish(void *state)
{
    return ((fake_device *)state)->finish;
}

static q_error_code fake_download(void *state, void *to, const void *from, size_t n)
{
    fake_device *d = (fake_device *)state;
    d->downloaded += n;
    memcpy(to, from, n);
    return d->download;
}

q_error_code fake_device_open(fake_device *d, const q_port *port, q_op_context *ctx)
{
    const q_block none = {NULL, 0};
    q_context context;
    memset(d, 0, sizeof(*d));
    memset(&context, 0, sizeof(context));
    q_backend_scalar(&d->backend);
    d->backend.device = Q_DEVICE_MOCK;
    d->backend.name = "fake";
    d->backend.state = d;
    d->backend.finish = fake_finish;
    d->backend.download = fake_download;
    context.backend = &d->backend;
    context.port = port;
    context.n_workers = 3;
    return q_op_init(ctx, &context, none, NULL);
}
