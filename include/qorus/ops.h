/* SPDX-License-Identifier: MIT */
/*
 * ops.h: the kernels as functions that check their arguments, for code that computes without a
 * graph.
 *
 * Every op is called as q_op_<name>(ctx, operands..., diag). It checks all of its arguments in
 * every build, picks the kernel of ctx's backend by dtype and layout, runs it, and returns Q_OK or
 * the first defect found; on a defect nothing was written. q_diag (optional) then holds: what =
 * "q_op_add: a", field = "nb[2]", need and have. Debug builds (Q_DEBUG) hand the same q_diag to
 * port->panic first, where the port has one: a broken contract stops there. A full cache, an id or
 * position out of range, and errors of the device, which a right program can meet, are only
 * returned. The mathematics and the order of operations are those of the kernels (qorus/kernels.h).
 *
 * Operands are q_tensor views [batch, head, row, column], which the op reads during the call only:
 *
 *   numbers     dtype Q_REAL unless stated, layout Q_PLAIN, every ne in 1 .. 2^31 - 1
 *   strides     columns contiguous (nb[3] is the element's size); rows at least as far apart as
 *               they are wide; head and row axis in either order in memory, batch outermost; a
 *               stride whose axis has length 1 is not looked at, except nb[2]
 *   alignment   data and strides: multiples of the element's size; panels and Q_A8: of 64 (Q_ALIGN)
 *   device      that of the backend
 *   aliasing    an output may share no byte with an operand, or with the workspace; where "may
 *               equal" is stated, it may be the very same view. Views of different columns of one
 *               buffer share no byte.
 *
 * Cost: the kernel's, plus some 10 ns of checks (ids and positions: plus one look at each).
 * Stack: below 4 KiB. Threads: any number at once, each with a q_op_context and workspace of its
 * own.
 */
#ifndef QORUS_OPS_H
#define QORUS_OPS_H

#include "memory.h"
#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Where ops run --------------------------------------------------------------------------- */

/* Filled by q_op_init(); the caller reads it at most. Keeps the pointers of q_context and the
   workspace. */
typedef struct q_op_context {
    uint32_t mark;      /* Q_OP_MARK once initialised */
    uint32_t n_workers; /* workers an op with much work uses */
    q_context context;
    q_block workspace;
} q_op_context;

#define Q_OP_MARK 0x51704f70u

/*
 * Bytes of workspace q_op_init() needs: those of the backend, for each worker. 0 workers in the
 * context mean 1. Errors: as of q_op_init().
 */
Q_NODISCARD q_error_code q_op_workspace_size(const q_context *context, size_t *bytes, q_diag *diag);

/*
 * Prepares ops for a context. workspace.base: multiple of Q_ALIGN; contents do not matter. Ops with
 * more than 65536 multiplications (elements, where nothing is multiplied) use context->n_workers
 * workers of port->parallel, the others one. Errors: Q_ERR_INVALID_ARG, Q_ERR_MISALIGNED,
 * Q_ERR_OVERFLOW, Q_ERR_NO_SPACE.
 */
Q_NODISCARD q_error_code q_op_init(q_op_context *out, const q_context *context, q_block workspace,
                                   q_diag *diag);

/* ---- Making views ---------------------------------------------------------------------------- */

/*
 * A contiguous view of data as ne[0..3] = [batch, head, row, column], on the CPU; for Q_PANEL16
 * ne[2] rows in panels. Errors: Q_ERR_INVALID_ARG (NULL), INVALID_DTYPE, INVALID_LAYOUT,
 * INVALID_SIZE (a zero, above 2^31 - 1, columns not a multiple of the block), OVERFLOW.
 */
Q_NODISCARD q_error_code q_tensor_init(q_tensor *out, void *data, uint32_t dtype, uint32_t layout,
                                       const uint32_t ne[Q_MAX_DIMS], q_diag *diag);

/*
 * rows [b, 1, r, heads*d] seen as [b, heads, r, d], the form rope, kv_store and attention take. out
 * may be rows. Errors: Q_ERR_INVALID_ARG, INVALID_DTYPE (quantised columns), INVALID_SHAPE (more
 * than one head, or columns not a multiple of heads).
 */
Q_NODISCARD q_error_code q_tensor_heads(q_tensor *out, const q_tensor *rows, uint32_t heads,
                                        q_diag *diag);

/* ---- Weights --------------------------------------------------------------------------------- */

/*
 * A weight matrix is [1, 1, m, k] of dtype Q_F32, F16, BF16, Q8_0, Q4_0 or Q4_1, k a multiple of 32
 * for the last three; Q_PLAIN with nb[3] the bytes of an element or block, or Q_PANEL16 with nb[2]
 * = q_panel_bytes().
 */

/* out = weights as reals. out [1, 1, m, k]. */
Q_NODISCARD q_error_code q_op_dequantize(const q_op_context *ctx, const q_tensor *weights,
                                         q_tensor *out, q_diag *diag);

/*
 * out[r] = scale * weights[ids[r]]. ids: Q_I32, contiguous, one per row of out; out [b, h, r, k]
 * with b*h*r = number of ids, rows evenly spaced. scale finite. Q_ERR_INVALID_TOKEN: an id is not
 * in 0 .. m - 1, diag.offset says which.
 */
Q_NODISCARD q_error_code q_op_embedding(const q_op_context *ctx, const q_tensor *weights,
                                        const q_tensor *ids, q_real scale, q_tensor *out,
                                        q_diag *diag);

/* out = x as 8-bit activations. out: Q_A8 or Q_A8X2 of x's shape, nb[2] >= the bytes of a row; columns a
   multiple of 32. */
Q_NODISCARD q_error_code q_op_quantize_activations(const q_op_context *ctx, const q_tensor *x,
                                                   q_tensor *out, q_diag *diag);

/* ---- Products -------------------------------------------------------------------------------- */

/*
 * y = x * weights^T + bias. x [b, h, r, k], weights [1, 1, m, k] in panels, bias [1, 1, 1, m] or
 * NULL, y [b, h, r, m]. x of reals takes the exact kernel of the weights' dtype; x of Q_A8 the fast
 * one, for Q8_0, Q4_0 and Q4_1.
 */
Q_NODISCARD q_error_code q_op_gemm(const q_op_context *ctx, const q_tensor *x,
                                   const q_tensor *weights, const q_tensor *bias, q_tensor *y,
                                   q_diag *diag);

/* q_op_gemm() of exactly one row. */
Q_NODISCARD q_error_code q_op_gemv(const q_op_context *ctx, const q_tensor *x,
                                   const q_tensor *weights, const q_tensor *bias, q_tensor *y,
                                   q_diag *diag);

enum {
    Q_OP_TRANSPOSE_A = 1u << 0, /* a is given as [.., k, m] */
    Q_OP_TRANSPOSE_B = 1u << 1, /* b is given as [.., n, k] */
    Q_OP_ACCUMULATE = 1u << 2   /* c is added to, not overwritten */
};

/*
 * c = a * b for every (batch, head). a [.., m, k], b [.., k, n], c [.., m, n], all plain reals;
 * batch and head of a and of b are those of c, or 1, which then serves all.
 */
Q_NODISCARD q_error_code q_op_matmul(const q_op_context *ctx, const q_tensor *a, const q_tensor *b,
                                     uint32_t flags, q_tensor *c, q_diag *diag);

/* ---- Elementwise ----------------------------------------------------------------------------- */

/* out = a + b, a * b, silu(a) * b. All of one shape; out may equal a or b. */
Q_NODISCARD q_error_code q_op_add(const q_op_context *ctx, const q_tensor *a, const q_tensor *b,
                                  q_tensor *out, q_diag *diag);
Q_NODISCARD q_error_code q_op_mul(const q_op_context *ctx, const q_tensor *a, const q_tensor *b,
                                  q_tensor *out, q_diag *diag);
Q_NODISCARD q_error_code q_op_silu_mul(const q_op_context *ctx, const q_tensor *a,
                                       const q_tensor *b, q_tensor *out, q_diag *diag);

/* out = silu(x), exp(x). Of one shape; out may equal x. */
Q_NODISCARD q_error_code q_op_silu(const q_op_context *ctx, const q_tensor *x, q_tensor *out,
                                   q_diag *diag);
Q_NODISCARD q_error_code q_op_exp(const q_op_context *ctx, const q_tensor *x, q_tensor *out,
                                  q_diag *diag);

/* ---- Rows ------------------------------------------------------------------------------------ */

/* out = softmax(scale * x) along the columns; scale finite. out may equal x. */
Q_NODISCARD q_error_code q_op_softmax(const q_op_context *ctx, const q_tensor *x, q_real scale,
                                      q_tensor *out, q_diag *diag);

/* out = x / sqrt(mean(x^2) + eps) * (weight + offset). weight [1, 1, 1, columns]; eps > 0 and
   offset finite. out may equal x. */
Q_NODISCARD q_error_code q_op_rmsnorm(const q_op_context *ctx, const q_tensor *x,
                                      const q_tensor *weight, q_real eps, q_real offset,
                                      q_tensor *out, q_diag *diag);

/* x[b][h][r][c] = -infinity where c > position + r. In place. position + rows must fit 32 bits. */
Q_NODISCARD q_error_code q_op_causal_mask(const q_op_context *ctx, q_tensor *x, uint32_t position,
                                          q_diag *diag);

/* out[b][h][r][0] = sum, or maximum, of x[b][h][r]. out [b, h, r, 1] with nb[2] = sizeof(q_real).
   */
Q_NODISCARD q_error_code q_op_reduce_sum(const q_op_context *ctx, const q_tensor *x, q_tensor *out,
                                         q_diag *diag);
Q_NODISCARD q_error_code q_op_reduce_max(const q_op_context *ctx, const q_tensor *x, q_tensor *out,
                                         q_diag *diag);

/* ---- Positions and attention ----------------------------------------------------------------- */

/* table[r] = cos, then sin, of (position + r) * inv_freq[i], times magnitude. inv_freq [1, 1, 1, n]
   of Q_F64, table [1, 1, rows, 2n]; magnitude finite. position + rows must fit 32 bits. */
Q_NODISCARD q_error_code q_op_rope_table(const q_op_context *ctx, const q_tensor *inv_freq,
                                         double magnitude, uint32_t position, q_tensor *table,
                                         q_diag *diag);

/*
 * Rotates x [b, h, r, d] by rows of a table [1, 1, p, 2n], 2n <= d. positions NULL: row r takes
 * table row r (p >= r); else Q_I32, contiguous, on the CPU, one per row: row r takes table row
 * positions[r]. out may equal x. Q_ERR_INVALID_ARG with field "position": one is not in 0 .. p - 1,
 * diag.offset says which.
 */
Q_NODISCARD q_error_code q_op_rope(const q_op_context *ctx, const q_tensor *x,
                                   const q_tensor *table, const q_tensor *positions, q_tensor *out,
                                   q_diag *diag);

/* One layer's KV cache of one sequence, in memory of the caller. */
typedef struct q_kv {
    uint32_t struct_size; /* sizeof(q_kv) */
    uint8_t dtype;        /* Q_F16, Q_REAL, or Q_Q8_0: head_dim a multiple of 32 */
    uint8_t device;
    uint8_t reserved[2]; /* 0 */
    uint32_t kv_heads;   /* 1 .. Q_CAP_HEADS */
    uint32_t head_dim;   /* multiple of 8, <= Q_CAP_HEAD_DIM */
    uint32_t capacity;   /* positions, a multiple of 64, <= Q_CAP_CONTEXT */
    void *k;             /* [kv_heads] heads as in qorus/base/kv.h, multiple of Q_ALIGN */
    void *v;             /* the same */
} q_kv;

/* Bytes of k, and of v. Errors: those of the fields, Q_ERR_OVERFLOW. The pointers are not looked
   at. */
Q_NODISCARD q_error_code q_kv_bytes(const q_kv *kv, size_t *bytes, q_diag *diag);

/* Puts k and v [1, kv_heads, r, head_dim] at position, position + 1, ... of the cache.
   Q_ERR_CONTEXT_FULL: position + r is above the capacity. */
Q_NODISCARD q_error_code q_op_kv_store(const q_op_context *ctx, const q_tensor *k,
                                       const q_tensor *v, uint32_t position, const q_kv *kv,
                                       q_diag *diag);

typedef struct q_op_attention_config {
    uint32_t struct_size; /* sizeof(q_op_attention_config) */
    uint32_t position;    /* of row 0; row r sees the keys 0 .. position + r */
    uint32_t window;      /* of those, only the last `window`; 0: all */
    q_real scale;         /* finite, > 0 */
    q_real softcap;       /* finite; 0: none */
} q_op_attention_config;

/* out = softmax(scale * q.k) * v over the cache. q and out [1, h, r, head_dim], h a multiple of
   kv_heads; the keys up to position + r - 1 have been stored. Q_ERR_CONTEXT_FULL as in
   q_op_kv_store(). */
Q_NODISCARD q_error_code q_op_attention(const q_op_context *ctx, const q_tensor *q, const q_kv *kv,
                                        const q_op_attention_config *config, q_tensor *out,
                                        q_diag *diag);

/* ---- Loss ------------------------------------------------------------------------------------ */

/* loss [1, 1, 1, 1] = mean((x - target)^2); grad, where given, = 2*(x - target) (the optimizer
   applies the 1/n). x, target and grad of one shape, rows evenly spaced. */
Q_NODISCARD q_error_code q_op_mse(const q_op_context *ctx, const q_tensor *x,
                                  const q_tensor *target, q_tensor *loss, q_tensor *grad,
                                  q_diag *diag);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_OPS_H */
