/* SPDX-License-Identifier: MIT */
/*
 * embedding.c: out[r] = scale * weights[ids[r]].
 *
 *   ids [n], weights [m, k], out [b, h, r, k], b*h*r = n
 *
 * All ids are looked at before the first row is written.
 */
#include "check.h"

enum { EMBEDDING_IDS = 64 };

/* The shapes and the bytes of all operands. */
static q_error_code op_embedding_check(const q_op_call *call, const q_tensor *weights,
                                       const q_tensor *ids, const q_tensor *out, uint32_t *n_ids)
{
    q_op_span sw;
    q_op_span si;
    q_op_span so;
    Q_OP_TRY(q_op_check_weights(call, "weights", weights, &sw));
    Q_OP_TRY(
        q_op_check_list(call, "ids", ids, Q_I32, call->ctx->context.backend->device, n_ids, &si));
    Q_OP_TRY(q_op_check_real(call, "out", out, &so));
    Q_OP_TRY(q_op_expect_axis(call, &so, 3, weights->ne[3]));
    Q_OP_TRY(q_op_check_flat(call, &so));
    if (q_op_split(out, true).rows != *n_ids) {
        return q_op_fail(call, Q_ERR_INVALID_SHAPE, "out", "rows", *n_ids,
                         q_op_split(out, true).rows);
    }
    Q_OP_TRY(q_op_apart(call, &so, &sw));
    return q_op_apart(call, &so, &si);
}

static q_error_code op_embedding_ids(const q_op_call *call, const q_tensor *ids, uint32_t n,
                                     uint32_t limit)
{
    int32_t part[EMBEDDING_IDS];
    for (uint32_t first = 0; first < n; first += EMBEDDING_IDS) {
        uint32_t count = n - first < EMBEDDING_IDS ? n - first : (uint32_t)EMBEDDING_IDS;
        Q_OP_TRY(q_op_read_ids(call, ids, first, count, part));
        for (uint32_t i = 0; i < count; i++) {
            if (part[i] < 0 || (uint32_t)part[i] >= limit) {
                return q_op_refuse(call, Q_ERR_INVALID_TOKEN, "ids", "id", first + i, limit,
                                   (uint64_t)(int64_t)part[i]);
            }
        }
    }
    return Q_OK;
}

q_error_code q_op_embedding(const q_op_context *ctx, const q_tensor *weights, const q_tensor *ids,
                            q_real scale, q_tensor *out, q_diag *diag)
{
    q_op_call call;
    uint32_t n = 0;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_embedding", diag));
    Q_OP_TRY(op_embedding_check(&call, weights, ids, out, &n));
    Q_OP_TRY(q_op_check_finite(&call, "scale", scale));
    Q_OP_TRY(op_embedding_ids(&call, ids, n, weights->ne[2]));
    return q_op_gather(&call, weights, (const int32_t *)ids->data, scale, out);
}
