/* SPDX-License-Identifier: MIT */
/*
 * gemm.c: y = x * weights^T + bias, weights in panels.
 *
 *   x [b, h, r, k], weights [m, k], bias [m], y [b, h, r, m]
 *
 * x of reals takes the exact kernels, x of Q_A8 and Q_A8X2 the fast ones.
 */
#include "check.h"

typedef struct op_gemm_operands {
    const q_tensor *x;
    const q_tensor *weights;
    const q_tensor *bias; /* may be NULL */
    const q_tensor *y;
} op_gemm_operands;

static q_op_kernel op_pick_gemm(uint32_t weights, bool fast)
{
    switch (weights) {
    case Q_F16:
        return Q_OP_KERNEL_gemm_f16;
    case Q_BF16:
        return Q_OP_KERNEL_gemm_bf16;
    case Q_Q8_0:
        return fast ? Q_OP_KERNEL_gemm_a8_q8_0 : Q_OP_KERNEL_gemm_q8_0;
    case Q_Q4_0:
        return fast ? Q_OP_KERNEL_gemm_a8_q4_0 : Q_OP_KERNEL_gemm_q4_0;
    case Q_Q4_1:
        return fast ? Q_OP_KERNEL_gemm_a8_q4_1 : Q_OP_KERNEL_gemm_q4_1;
    default:
        return Q_OP_KERNEL_gemm_f32;
    }
}

static q_error_code op_gemm_check_bias(const q_op_call *call, const op_gemm_operands *o,
                                       const q_op_span *y)
{
    q_op_span bias;
    Q_OP_TRY(q_op_check_vector(call, "bias", o->bias, o->weights->ne[2], &bias));
    return q_op_apart(call, y, &bias);
}

static q_error_code op_gemm_check(const q_op_call *call, const op_gemm_operands *o, bool *flat)
{
    q_op_span x;
    q_op_span w;
    q_op_span y;
    bool fast = o->x != NULL && q_dtype_is_a8(o->x->dtype);
    Q_OP_TRY(fast ? q_op_check_a8(call, "x", o->x, &x) : q_op_check_real(call, "x", o->x, &x));
    Q_OP_TRY(q_op_check_weights(call, "weights", o->weights, &w));
    Q_OP_TRY(q_op_check_real(call, "y", o->y, &y));
    if (Q_UNLIKELY(o->weights->layout != Q_PANEL16)) {
        return q_op_fail(call, Q_ERR_INVALID_LAYOUT, "weights", "layout", Q_PANEL16,
                         o->weights->layout);
    }
    if (Q_UNLIKELY(fast && !q_dtype_is_quantised(o->weights->dtype))) {
        return q_op_fail(call, Q_ERR_INVALID_DTYPE, "weights", "dtype", Q_Q8_0, o->weights->dtype);
    }
    Q_OP_TRY(q_op_expect_axis(call, &x, 3, o->weights->ne[3]));
    Q_OP_TRY(q_op_check_rows(call, &y, o->x));
    Q_OP_TRY(q_op_expect_axis(call, &y, 3, o->weights->ne[2]));
    Q_OP_TRY(q_op_apart(call, &y, &x));
    Q_OP_TRY(q_op_apart(call, &y, &w));
    *flat = x.flat && y.flat;
    return o->bias == NULL ? Q_OK : op_gemm_check_bias(call, o, &y);
}

static q_error_code op_gemm(const q_op_call *call, const op_gemm_operands *o, bool flat)
{
    q_op_planes p = q_op_split(o->x, flat);
    q_op_kernel kernel = op_pick_gemm(o->weights->dtype, q_dtype_is_a8(o->x->dtype));
    q_gemm_args args;
    memset(&args, 0, sizeof(args));
    args.rows = q_op_count(p.rows);
    args.m = o->weights->ne[2];
    args.k = o->weights->ne[3];
    args.weights = o->weights->data;
    args.x_stride = o->x->nb[2];
    args.y_stride = o->y->nb[2];
    args.planes = o->x->dtype == Q_A8X2 ? 2 : 1;
    args.epilogue.bias = o->bias == NULL ? NULL : (const q_real *)o->bias->data;
    for (uint32_t i = 0; i < p.n0; i++) {
        for (uint32_t j = 0; j < p.n1; j++) {
            args.x = q_op_plane(o->x, i, j);
            args.y = (q_real *)q_op_plane(o->y, i, j);
            Q_OP_TRY(q_op_run(call, kernel, &args, 0, q_op_work(p.rows, args.m, args.k)));
        }
    }
    return Q_OK;
}

q_error_code q_op_gemm(const q_op_context *ctx, const q_tensor *x, const q_tensor *weights,
                       const q_tensor *bias, q_tensor *y, q_diag *diag)
{
    const op_gemm_operands o = {x, weights, bias, y};
    q_op_call call;
    bool flat = false;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_gemm", diag));
    Q_OP_TRY(op_gemm_check(&call, &o, &flat));
    return op_gemm(&call, &o, flat);
}

q_error_code q_op_gemv(const q_op_context *ctx, const q_tensor *x, const q_tensor *weights,
                       const q_tensor *bias, q_tensor *y, q_diag *diag)
{
    const op_gemm_operands o = {x, weights, bias, y};
    q_op_call call;
    bool flat = false;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_gemv", diag));
    Q_OP_TRY(op_gemm_check(&call, &o, &flat));
    if (Q_UNLIKELY((x->ne[0] | x->ne[1] | x->ne[2]) != 1)) {
        return q_op_fail(&call, Q_ERR_INVALID_SHAPE, "x", "rows", 1, (uint64_t)x->ne[1] * x->ne[2]);
    }
    return op_gemm(&call, &o, flat);
}
