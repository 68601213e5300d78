/* SPDX-License-Identifier: MIT */
/*
 * check.h: what ops share: the checks of their arguments, and running a kernel; private to
 * core/ops.
 *
 * An op begins with q_op_begin(), checks each operand by itself (which yields its span), then how
 * operands fit each other, then calls q_op_run(). Every check returns Q_OK or the code of a failure
 * that is already recorded.
 */
#ifndef QORUS_CORE_OPS_CHECK_H
#define QORUS_CORE_OPS_CHECK_H

#include "../core.h"

#include "qorus/ops.h"

/* Returns the code of the first check that fails. */
#define Q_OP_TRY(check)                                                                            \
    do {                                                                                           \
        q_error_code try_code = (check);                                                           \
        if (Q_UNLIKELY(try_code != Q_OK)) {                                                        \
            return try_code;                                                                       \
        }                                                                                          \
    } while (0)

/* One call of an op. */
typedef struct q_op_call {
    const q_op_context *ctx;
    q_diag *diag;
    const char *op; /* "q_op_add" */
    q_fp_state fp;  /* the caller's control word, read first: processors check operands meanwhile */
} q_op_call;

/* An operand that has passed its own checks, and the bytes it lies in: [begin, end). */
typedef struct q_op_span {
    const q_tensor *t; /* NULL: no tensor */
    const char *name;
    uintptr_t begin;
    uintptr_t end;
    bool flat; /* all rows are nb[2] apart, and there are at most 2^31 - 1 */
} q_op_span;

/* ---- Failing --------------------------------------------------------------------------------- */

/* A defect of `name`'s `field`. Debug builds panic here, if the port can. Returns code. */
q_error_code q_op_fail(const q_op_call *c, q_error_code code, const char *name, const char *field,
                       uint64_t need, uint64_t have);

/* A failure that a right program can meet: never panics. offset: index of the element concerned. */
q_error_code q_op_refuse(const q_op_call *c, q_error_code code, const char *name, const char *field,
                         uint64_t offset, uint64_t need, uint64_t have);

/* ---- One argument ---------------------------------------------------------------------------- */

q_error_code q_op_check_context(const q_op_call *c);

static inline q_error_code q_op_begin(q_op_call *c, const q_op_context *ctx, const char *op,
                                      q_diag *diag)
{
    c->ctx = ctx;
    c->diag = diag;
    c->op = op;
    c->fp = q_fp_save();
    return Q_UNLIKELY(ctx == NULL || ctx->mark != Q_OP_MARK) ? q_op_check_context(c) : Q_OK;
}

/* Plain reals of any shape; the second form, which the first falls back on, checks one by one. */
q_error_code q_op_check_real(const q_op_call *c, const char *name, const q_tensor *t,
                             q_op_span *out);
q_error_code q_op_check_real_fully(const q_op_call *c, const char *name, const q_tensor *t,
                                   q_op_span *out);

/* A vector [1, 1, 1, n] of reals. */
q_error_code q_op_check_vector(const q_op_call *c, const char *name, const q_tensor *t, uint32_t n,
                               q_op_span *out);

/* Rows of dtype Q_A8 or Q_A8X2. */
q_error_code q_op_check_a8(const q_op_call *c, const char *name, const q_tensor *t, q_op_span *out);

/* A weight matrix in either layout. */
q_error_code q_op_check_weights(const q_op_call *c, const char *name, const q_tensor *t,
                                q_op_span *out);

/* Plain elements of a given dtype (Q_I32, Q_F64), one behind the other, on a given device; *n: how
   many. */
q_error_code q_op_check_list(const q_op_call *c, const char *name, const q_tensor *t,
                             uint32_t dtype, uint32_t device, uint32_t *n, q_op_span *out);

/*
 * A number that is neither NaN nor infinite; one that is above 0, too. By its bits: between the
 * changes of the control word by two ops, a floating-point operation would cost more than all other
 * checks.
 */
q_error_code q_op_bad_number(const q_op_call *c, const char *name, bool finite);

static inline q_error_code q_op_check_finite_f64(const q_op_call *c, const char *name, double value)
{
    bool finite = (q_bits_f64(value) >> 52 & 0x7ffu) != 0x7ffu;
    return Q_UNLIKELY(!finite) ? q_op_bad_number(c, name, false) : Q_OK;
}

#ifdef Q_REAL_DOUBLE
static inline q_error_code q_op_check_finite(const q_op_call *c, const char *name, q_real value)
{
    return q_op_check_finite_f64(c, name, value);
}

static inline bool q_op_is_positive(q_real value)
{
    return (int64_t)q_bits_f64(value) > 0;
}
#else
static inline q_error_code q_op_check_finite(const q_op_call *c, const char *name, q_real value)
{
    bool finite = (q_bits_f32(value) >> 23 & 0xffu) != 0xffu;
    return Q_UNLIKELY(!finite) ? q_op_bad_number(c, name, false) : Q_OK;
}

static inline bool q_op_is_positive(q_real value)
{
    return (int32_t)q_bits_f32(value) > 0;
}
#endif

static inline q_error_code q_op_check_positive(const q_op_call *c, const char *name, q_real value)
{
    Q_OP_TRY(q_op_check_finite(c, name, value));
    return Q_UNLIKELY(!q_op_is_positive(value)) ? q_op_bad_number(c, name, true) : Q_OK;
}

/* ---- Arguments together ---------------------------------------------------------------------- */

/* ne[axis] of a tensor must be `need`. */
q_error_code q_op_check_axis(const q_op_call *c, const q_op_span *s, uint32_t axis, uint64_t need);

static inline q_error_code q_op_expect_axis(const q_op_call *c, const q_op_span *s, uint32_t axis,
                                            uint64_t need)
{
    return Q_UNLIKELY(s->t->ne[axis] != need) ? q_op_check_axis(c, s, axis, need) : Q_OK;
}

/* Batch, head and row of s are those of like; its columns too. */
q_error_code q_op_check_rows(const q_op_call *c, const q_op_span *s, const q_tensor *like);
q_error_code q_op_check_shape(const q_op_call *c, const q_op_span *s, const q_tensor *like);

/* "x" and "out" of one shape, where out may equal x; *flat: both are. */
q_error_code q_op_check_unary(const q_op_call *c, const q_tensor *x, const q_tensor *out,
                              bool *flat);

/* Rows must be evenly spaced. */
q_error_code q_op_check_flat(const q_op_call *c, const q_op_span *s);

/* Settles what the spans of an output and of another operand, which share a byte, mean. */
q_error_code q_op_check_overlap(const q_op_call *c, const q_op_span *out, const q_op_span *in,
                                bool may_equal);

static inline bool q_op_spans_meet(const q_op_span *a, const q_op_span *b)
{
    return a->begin < b->end && b->begin < a->end;
}

/* An output apart from an operand, or the same view. */
static inline q_error_code q_op_apart(const q_op_call *c, const q_op_span *out, const q_op_span *in)
{
    return Q_UNLIKELY(q_op_spans_meet(out, in)) ? q_op_check_overlap(c, out, in, false) : Q_OK;
}

static inline q_error_code q_op_apart_or_equal(const q_op_call *c, const q_op_span *out,
                                               const q_op_span *in)
{
    return q_op_spans_meet(out, in) ? q_op_check_overlap(c, out, in, true) : Q_OK;
}

/*
 * True if the operands are one plane of reals each, of one shape and row stride, where they may be,
 * out apart from each input or the same view: all checks of such operands pass. False says nothing.
 */
bool q_op_alike(const q_op_call *c, const q_tensor *x, const q_tensor *out);
bool q_op_all_alike(const q_op_call *c, const q_tensor *a, const q_tensor *b, const q_tensor *out);

/* ---- Planes ---------------------------------------------------------------------------------- */

/* The pieces a kernel is called for: n0 * n1 of `rows` rows each. */
typedef struct q_op_planes {
    uint32_t n0;
    uint32_t n1;
    uint32_t rows;
} q_op_planes;

/* A constant count. Kernels read it whole, so it is written whole. */
static inline q_count q_op_count(uint32_t n)
{
    q_count count;
    count.n = n;
    count.sym = Q_SYM_ONE;
    return count;
}

/* Of a tensor: one piece where all operands are flat, else one per batch and head. */
static inline q_op_planes q_op_split(const q_tensor *t, bool flat)
{
    q_op_planes p;
    p.n0 = flat ? 1 : t->ne[0];
    p.n1 = flat ? 1 : t->ne[1];
    p.rows = flat ? t->ne[0] * t->ne[1] * t->ne[2] : t->ne[2];
    return p;
}

/* Address of piece (i, j); an axis of length 1 serves every index. */
static inline void *q_op_plane(const q_tensor *t, uint32_t i, uint32_t j)
{
    size_t at = (t->ne[0] == 1 ? 0 : i * t->nb[0]) + (t->ne[1] == 1 ? 0 : j * t->nb[1]);
    return (uint8_t *)t->data + at;
}

/* True if the heads of a row lie side by side, as kernels over several heads take them. */
static inline bool q_op_heads_together(const q_tensor *t)
{
    return t->nb[1] == (size_t)t->ne[3] * sizeof(q_real);
}

/* ---- Running --------------------------------------------------------------------------------- */

/* Every kernel, in the order of kernels.inc. */
typedef enum q_op_kernel {
#define Q_KERNEL(slot, args) Q_OP_KERNEL_##slot,
#include "qorus/kernels.inc"
#undef Q_KERNEL
    Q_OP_KERNELS
} q_op_kernel;

/*
 * Calls a kernel of the backend with its args, the first row of the step at `position`, on one
 * worker or, if `work` is large, on all. Errors are the device's.
 */
q_error_code q_op_run(const q_op_call *c, q_op_kernel kernel, const void *args, uint32_t position,
                      uint64_t work);

/* a*b*c multiplications, or some number above every threshold if that does not fit. */
static inline uint64_t q_op_work(uint32_t a, uint32_t b, uint32_t c)
{
    uint64_t ab = (uint64_t)a * b;
    return ab > UINT32_MAX ? ab : ab * c;
}

/* Copies n <= 64 ids from index `first` of a checked list to the CPU. */
q_error_code q_op_read_ids(const q_op_call *c, const q_tensor *ids, uint32_t first, uint32_t n,
                           int32_t *to);

/* out[r] = scale * weights[ids[r]], ids NULL: weights[r]; operands have been checked. */
q_error_code q_op_gather(const q_op_call *call, const q_tensor *weights, const int32_t *ids,
                         q_real scale, const q_tensor *out);

#endif /* QORUS_CORE_OPS_CHECK_H */
