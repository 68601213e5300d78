/* SPDX-License-Identifier: MIT */
/*
 * attention.c: out = softmax(scale * q.k) * v over a KV cache, and filling that cache.
 *
 *   q, out [1, h, r, d];  k, v [1, kv_heads, r, d];  head i reads kv head i / (h / kv_heads)
 */
#include "check.h"

#include "qorus/base/kv.h"

/* ---- The cache ------------------------------------------------------------------------------- */

static q_error_code op_kv_fields(const q_op_call *call, const q_kv *kv)
{
    if (kv == NULL) {
        return q_op_fail(call, Q_ERR_INVALID_ARG, "kv", "NULL", 0, 0);
    }
    if (kv->struct_size != sizeof(q_kv)) {
        return q_op_fail(call, Q_ERR_INVALID_ARG, "kv", "struct_size", sizeof(q_kv),
                         kv->struct_size);
    }
    if (kv->reserved[0] != 0 || kv->reserved[1] != 0) {
        return q_op_fail(call, Q_ERR_INVALID_ARG, "kv", "reserved", 0, 1);
    }
    if (kv->dtype != Q_F16 && kv->dtype != Q_REAL && kv->dtype != Q_Q8_0) {
        return q_op_fail(call, Q_ERR_INVALID_DTYPE, "kv", "dtype", Q_F16, kv->dtype);
    }
    if (kv->kv_heads == 0 || kv->kv_heads > Q_CAP_HEADS) {
        return q_op_fail(call, Q_ERR_INVALID_SIZE, "kv", "kv_heads", Q_CAP_HEADS, kv->kv_heads);
    }
    if (kv->head_dim == 0 || kv->head_dim % 8 != 0 || kv->head_dim > Q_CAP_HEAD_DIM ||
        !q_kv_fits(kv->dtype, kv->head_dim)) {
        return q_op_fail(call, Q_ERR_INVALID_SIZE, "kv", "head_dim", Q_CAP_HEAD_DIM, kv->head_dim);
    }
    if (kv->capacity == 0 || kv->capacity % Q_KV_ROUND != 0 || kv->capacity > Q_CAP_CONTEXT) {
        return q_op_fail(call, Q_ERR_INVALID_SIZE, "kv", "capacity", Q_CAP_CONTEXT, kv->capacity);
    }
    return Q_OK;
}

/* At most 2^10 * 2^10 * 2^24 * 8 bytes: fits 64 bits. */
static uint64_t op_kv_bytes(const q_kv *kv)
{
    return q_kv_head_bytes(kv->dtype, kv->capacity, kv->head_dim) * kv->kv_heads;
}

q_error_code q_kv_bytes(const q_kv *kv, size_t *bytes, q_diag *diag)
{
    const q_op_call call = {.diag = diag, .op = "q_kv_bytes"};
    Q_OP_TRY(op_kv_fields(&call, kv));
    if (bytes == NULL) {
        return q_op_fail(&call, Q_ERR_INVALID_ARG, "bytes", "NULL", 0, 0);
    }
    if (op_kv_bytes(kv) > SIZE_MAX / 2) {
        return q_op_fail(&call, Q_ERR_OVERFLOW, "kv", "bytes", SIZE_MAX / 2, op_kv_bytes(kv));
    }
    *bytes = (size_t)op_kv_bytes(kv);
    return Q_OK;
}

/* The span of one half of the cache. */
static q_error_code op_kv_half(const q_op_call *call, const q_kv *kv, const void *data,
                               const char *name, q_op_span *out)
{
    const q_block *w = &call->ctx->workspace;
    uint64_t bytes = op_kv_bytes(kv);
    uintptr_t begin = (uintptr_t)data;
    if (data == NULL) {
        return q_op_fail(call, Q_ERR_INVALID_ARG, name, "NULL", 0, 0);
    }
    if (begin % Q_ALIGN != 0) {
        return q_op_fail(call, Q_ERR_MISALIGNED, name, "data", Q_ALIGN, begin % Q_ALIGN);
    }
    if (bytes > UINTPTR_MAX - begin) {
        return q_op_fail(call, Q_ERR_OVERFLOW, name, "bytes", UINTPTR_MAX - begin, bytes);
    }
    out->t = NULL;
    out->name = name;
    out->begin = begin;
    out->end = begin + (uintptr_t)bytes;
    out->flat = false;
    if (begin < (uintptr_t)w->base + w->size && (uintptr_t)w->base < out->end) {
        return q_op_fail(call, Q_ERR_ALIASING, name, "workspace", 0, 0);
    }
    return Q_OK;
}

static q_error_code op_kv_check(const q_op_call *call, const q_kv *kv, q_op_span *k, q_op_span *v)
{
    uint32_t device = call->ctx->context.backend->device;
    Q_OP_TRY(op_kv_fields(call, kv));
    if (kv->device != device) {
        return q_op_fail(call, Q_ERR_INVALID_DEVICE, "kv", "device", device, kv->device);
    }
    Q_OP_TRY(op_kv_half(call, kv, kv->k, "kv.k", k));
    Q_OP_TRY(op_kv_half(call, kv, kv->v, "kv.v", v));
    return q_op_apart(call, v, k);
}

/* Rows at position, position + 1, ... lie within the capacity. */
static q_error_code op_kv_room(const q_op_call *call, const q_kv *kv, uint32_t position,
                               uint32_t rows)
{
    if (Q_UNLIKELY(!q_range_ok(position, rows, kv->capacity))) {
        return q_op_refuse(call, Q_ERR_CONTEXT_FULL, "kv", "capacity", position,
                           (uint64_t)position + rows, kv->capacity);
    }
    return Q_OK;
}

/* Part of the cache that belongs to one kv head. */
static void *op_kv_head(const q_kv *kv, void *half, uint32_t head)
{
    return (uint8_t *)half + (size_t)(op_kv_bytes(kv) / kv->kv_heads) * head;
}

/* ---- Storing --------------------------------------------------------------------------------- */

static q_error_code op_kv_store_check(const q_op_call *call, const q_tensor *k, const q_tensor *v,
                                      uint32_t position, const q_kv *kv)
{
    q_op_span sk;
    q_op_span sv;
    q_op_span k_cache;
    q_op_span v_cache;
    Q_OP_TRY(q_op_check_real(call, "k", k, &sk));
    Q_OP_TRY(q_op_check_real(call, "v", v, &sv));
    Q_OP_TRY(op_kv_check(call, kv, &k_cache, &v_cache));
    Q_OP_TRY(q_op_expect_axis(call, &sk, 0, 1));
    Q_OP_TRY(q_op_expect_axis(call, &sk, 1, kv->kv_heads));
    Q_OP_TRY(q_op_expect_axis(call, &sk, 3, kv->head_dim));
    Q_OP_TRY(q_op_check_shape(call, &sv, k));
    Q_OP_TRY(q_op_apart(call, &k_cache, &sk));
    Q_OP_TRY(q_op_apart(call, &k_cache, &sv));
    Q_OP_TRY(q_op_apart(call, &v_cache, &sk));
    Q_OP_TRY(q_op_apart(call, &v_cache, &sv));
    /* with the capacity's cap, rows * kv_heads < 2^35; the kernels count them in 32 bits */
    Q_OP_TRY(op_kv_room(call, kv, position, k->ne[2]));
    if ((uint64_t)k->ne[2] * kv->kv_heads > INT32_MAX) {
        return q_op_fail(call, Q_ERR_OVERFLOW, "k", "rows by heads", INT32_MAX,
                         (uint64_t)k->ne[2] * kv->kv_heads);
    }
    return Q_OK;
}

q_error_code q_op_kv_store(const q_op_context *ctx, const q_tensor *k, const q_tensor *v,
                           uint32_t position, const q_kv *kv, q_diag *diag)
{
    q_op_call call;
    q_kv_store_args args;
    q_op_kernel kernel;
    bool together;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_kv_store", diag));
    Q_OP_TRY(op_kv_store_check(&call, k, v, position, kv));
    kernel = kv->dtype == Q_Q8_0  ? Q_OP_KERNEL_kv_store_q8_0
             : kv->dtype == Q_F16 ? Q_OP_KERNEL_kv_store_f16
                                  : Q_OP_KERNEL_kv_store_f32;
    together = q_op_heads_together(k) && q_op_heads_together(v);
    args.rows = q_op_count(k->ne[2]);
    args.kv_heads = together ? kv->kv_heads : 1;
    args.head_dim = kv->head_dim;
    args.capacity = kv->capacity;
    args.k_stride = k->nb[2];
    args.v_stride = v->nb[2];
    args.per_sample = 0;
    args.reserved = 0;
    for (uint32_t j = 0; j < kv->kv_heads; j += args.kv_heads) {
        args.k = (const q_real *)q_op_plane(k, 0, j);
        args.v = (const q_real *)q_op_plane(v, 0, j);
        args.k_cache = op_kv_head(kv, kv->k, j);
        args.v_cache = op_kv_head(kv, kv->v, j);
        args.sequence_stride = 0;
        Q_OP_TRY(q_op_run(&call, kernel, &args, position,
                          q_op_work(args.rows.n, args.kv_heads, args.head_dim)));
    }
    return Q_OK;
}

/* ---- Attending ------------------------------------------------------------------------------- */

static q_error_code op_attention_config(const q_op_call *call, const q_op_attention_config *config)
{
    if (config == NULL) {
        return q_op_fail(call, Q_ERR_INVALID_ARG, "config", "NULL", 0, 0);
    }
    if (config->struct_size != sizeof(*config)) {
        return q_op_fail(call, Q_ERR_INVALID_ARG, "config", "struct_size", sizeof(*config),
                         config->struct_size);
    }
    Q_OP_TRY(q_op_check_positive(call, "config.scale", config->scale));
    Q_OP_TRY(q_op_check_finite(call, "config.softcap", config->softcap));
    if (config->softcap < 0) {
        return q_op_fail(call, Q_ERR_INVALID_ARG, "config.softcap", "negative", 0, 0);
    }
    return Q_OK;
}

static q_error_code op_attention_check(const q_op_call *call, const q_tensor *q, const q_kv *kv,
                                       const q_op_attention_config *config, const q_tensor *out)
{
    q_op_span sq;
    q_op_span so;
    q_op_span k_cache;
    q_op_span v_cache;
    Q_OP_TRY(q_op_check_real(call, "q", q, &sq));
    Q_OP_TRY(q_op_check_real(call, "out", out, &so));
    Q_OP_TRY(op_kv_check(call, kv, &k_cache, &v_cache));
    Q_OP_TRY(op_attention_config(call, config));
    Q_OP_TRY(q_op_expect_axis(call, &sq, 0, 1));
    if (Q_UNLIKELY(q->ne[1] % kv->kv_heads != 0 || q->ne[1] > Q_CAP_HEADS)) {
        return q_op_fail(call, Q_ERR_INVALID_SHAPE, "q", "ne[1]", kv->kv_heads, q->ne[1]);
    }
    Q_OP_TRY(q_op_expect_axis(call, &sq, 3, kv->head_dim));
    Q_OP_TRY(q_op_check_shape(call, &so, q));
    Q_OP_TRY(q_op_apart(call, &so, &sq));
    Q_OP_TRY(q_op_apart(call, &so, &k_cache));
    Q_OP_TRY(q_op_apart(call, &so, &v_cache));
    Q_OP_TRY(op_kv_room(call, kv, config->position, q->ne[2]));
    if ((uint64_t)q->ne[2] * q->ne[1] > INT32_MAX) {
        return q_op_fail(call, Q_ERR_OVERFLOW, "q", "rows by heads", INT32_MAX,
                         (uint64_t)q->ne[2] * q->ne[1]);
    }
    return Q_OK;
}

q_error_code q_op_attention(const q_op_context *ctx, const q_tensor *q, const q_kv *kv,
                            const q_op_attention_config *config, q_tensor *out, q_diag *diag)
{
    q_op_call call;
    q_attention_args args;
    q_op_kernel kernel;
    bool together;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_attention", diag));
    Q_OP_TRY(op_attention_check(&call, q, kv, config, out));
    kernel = kv->dtype == Q_Q8_0  ? Q_OP_KERNEL_attention_q8_0
             : kv->dtype == Q_F16 ? Q_OP_KERNEL_attention_f16
                                  : Q_OP_KERNEL_attention_f32;
    together = q_op_heads_together(q) && q_op_heads_together(out);
    args.rows = q_op_count(q->ne[2]);
    args.heads = together ? q->ne[1] : 1;
    args.kv_heads = together ? kv->kv_heads : 1;
    args.head_dim = kv->head_dim;
    args.capacity = kv->capacity;
    args.window = config->window;
    args.scale = config->scale;
    args.softcap = config->softcap;
    args.q_stride = q->nb[2];
    args.out_stride = out->nb[2];
    args.lse = NULL;
    args.full = 0;
    args.per_sample = 0;
    args.lengths = NULL;
    for (uint32_t j = 0; j < q->ne[1]; j += args.heads) {
        uint32_t head = j / (q->ne[1] / kv->kv_heads);
        args.q = (const q_real *)q_op_plane(q, 0, j);
        args.k_cache = op_kv_head(kv, kv->k, head);
        args.v_cache = op_kv_head(kv, kv->v, head);
        args.sequence_stride = 0;
        args.out = (q_real *)q_op_plane(out, 0, j);
        Q_OP_TRY(q_op_run(
            &call, kernel, &args, config->position,
            q_op_work(args.rows.n, args.heads * args.head_dim, config->position + args.rows.n)));
    }
    return Q_OK;
}
