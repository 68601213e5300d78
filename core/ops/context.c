/* SPDX-License-Identifier: MIT */
/*
 * context.c: where ops run, and how: one kernel on one worker, or shared out over the port's.
 */
#include "check.h"

/* Work below which waking other workers costs more than it saves. */
enum { OP_PARALLEL_WORK = 65536 };

/* ---- The context ----------------------------------------------------------------------------- */

static uint32_t op_workers(const q_context *context)
{
    bool parallel = context->port != NULL && context->port->parallel != NULL &&
                    context->backend->device == Q_DEVICE_CPU;
    return parallel && context->n_workers != 0 ? context->n_workers : 1;
}

static q_error_code op_check_backend(const q_backend *b, q_diag *diag)
{
    if (b == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_op_init: context", "backend", 0, 0);
    }
    if (b->struct_size != sizeof(q_backend)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_op_init: context", "backend.struct_size",
                      sizeof(q_backend), b->struct_size);
    }
    if (b->device != Q_DEVICE_CPU && b->download == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_op_init: context", "backend.download", 0, 0);
    }
    if (b->workspace_size % Q_ALIGN != 0) {
        return q_fail(diag, Q_ERR_MISALIGNED, "q_op_init: context", "backend.workspace_size",
                      Q_ALIGN, b->workspace_size);
    }
    return Q_OK;
}

q_error_code q_op_workspace_size(const q_context *context, size_t *bytes, q_diag *diag)
{
    if (context == NULL || bytes == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_op_init", context == NULL ? "context" : "bytes",
                      0, 0);
    }
    Q_OP_TRY(op_check_backend(context->backend, diag));
    if (context->port != NULL && context->port->struct_size != sizeof(q_port)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_op_init: context", "port.struct_size",
                      sizeof(q_port), context->port->struct_size);
    }
    if (context->n_workers > Q_MAX_WORKERS) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_op_init: context", "n_workers", Q_MAX_WORKERS,
                      context->n_workers);
    }
    if (context->reserved != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_op_init: context", "reserved", 0,
                      context->reserved);
    }
    if (!q_mul_size(context->backend->workspace_size, op_workers(context), bytes)) {
        return q_fail(diag, Q_ERR_OVERFLOW, "q_op_init: context", "workspace", SIZE_MAX, 0);
    }
    return Q_OK;
}

q_error_code q_op_init(q_op_context *out, const q_context *context, q_block workspace, q_diag *diag)
{
    size_t bytes = 0;
    if (out == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_op_init", "out", 0, 0);
    }
    Q_OP_TRY(q_op_workspace_size(context, &bytes, diag));
    if (workspace.size < bytes) {
        return q_fail(diag, Q_ERR_NO_SPACE, "q_op_init", "workspace.size", bytes, workspace.size);
    }
    if (workspace.base == NULL && workspace.size != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_op_init", "workspace.base", 0, 0);
    }
    if ((uintptr_t)workspace.base % Q_ALIGN != 0) {
        return q_fail(diag, Q_ERR_MISALIGNED, "q_op_init", "workspace.base", Q_ALIGN,
                      (uintptr_t)workspace.base % Q_ALIGN);
    }
    if (workspace.size > UINTPTR_MAX - (uintptr_t)workspace.base) {
        return q_fail(diag, Q_ERR_OVERFLOW, "q_op_init", "workspace.size",
                      UINTPTR_MAX - (uintptr_t)workspace.base, workspace.size);
    }
    out->mark = Q_OP_MARK;
    out->n_workers = op_workers(context);
    out->context = *context;
    out->workspace.base = workspace.base;
    out->workspace.size = bytes;
    return Q_OK;
}

/* ---- Running --------------------------------------------------------------------------------- */

typedef struct op_job {
    const q_op_context *ctx;
    const void *args;
    const q_run *run;
    q_op_kernel kernel;
} op_job;

static void op_call_kernel(const q_kernels *kernels, q_op_kernel kernel, const q_work *work,
                           const void *args)
{
    switch (kernel) {
#define Q_KERNEL(slot, type)                                                                       \
    case Q_OP_KERNEL_##slot:                                                                       \
        kernels->slot(work, (const type *)args);                                                   \
        break;
#include "qorus/kernels.inc"
#undef Q_KERNEL
    default:
        break;
    }
}

static inline void op_work(const q_op_context *ctx, q_op_kernel kernel, const void *args,
                           const q_run *run, uint32_t worker, uint32_t n_workers)
{
    const q_backend *b = ctx->context.backend;
    q_work work;
    work.worker = worker;
    work.n_workers = n_workers;
    work.run = run;
    work.workspace = b->workspace_size == 0
                         ? NULL
                         : (uint8_t *)ctx->workspace.base + worker * b->workspace_size;
    work.workspace_size = b->workspace_size;
    work.state = b->state;
    op_call_kernel(&b->kernels, kernel, &work, args);
}

static void op_worker(void *arg, uint32_t worker, uint32_t n_workers)
{
    const op_job *job = (const op_job *)arg;
    q_fp_state caller = q_fp_enter();
    op_work(job->ctx, job->kernel, job->args, job->run, worker, n_workers);
    q_fp_leave(caller);
}

/* False if the port granted no worker. */
static bool op_share(const q_op_context *ctx, q_op_kernel kernel, const void *args,
                     const q_run *run)
{
    const q_port *port = ctx->context.port;
    op_job job = {ctx, args, run, kernel};
    return port->parallel(port->user, ctx->n_workers, op_worker, &job) != 0;
}

q_error_code q_op_run(const q_op_call *c, q_op_kernel kernel, const void *args, uint32_t position,
                      uint64_t work)
{
    const q_backend *b = c->ctx->context.backend;
    const q_run run = {.position = position};
    bool shared = work > OP_PARALLEL_WORK && c->ctx->n_workers > 1;
    if (!shared || !op_share(c->ctx, kernel, args, &run)) {
        q_fp_use();
        op_work(c->ctx, kernel, args, &run, 0, 1);
        q_fp_leave(c->fp);
    }
    if (b->finish != NULL) {
        q_error_code code = b->finish(b->state);
        return code == Q_OK ? Q_OK : q_op_refuse(c, code, b->name, "finish", 0, 0, 0);
    }
    return Q_OK;
}

q_error_code q_op_read_ids(const q_op_call *c, const q_tensor *ids, uint32_t first, uint32_t n,
                           int32_t *to)
{
    const q_backend *b = c->ctx->context.backend;
    const int32_t *from = (const int32_t *)ids->data + first;
    if (ids->device == Q_DEVICE_CPU) {
        memcpy(to, from, n * sizeof(*to));
    } else {
        q_error_code code = b->download(b->state, to, from, n * sizeof(*to));
        return code == Q_OK ? Q_OK : q_op_refuse(c, code, "ids", "download", first, 0, 0);
    }
    return Q_OK;
}
