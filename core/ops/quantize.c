/* SPDX-License-Identifier: MIT */
/*
 * quantize.c: weights as reals, and activations as 8 bits.
 *
 *   w, x, out [.., r, c]
 */
#include "check.h"

static q_op_kernel op_pick_gather(uint32_t dtype)
{
    switch (dtype) {
    case Q_F16:
        return Q_OP_KERNEL_gather_f16;
    case Q_BF16:
        return Q_OP_KERNEL_gather_bf16;
    case Q_Q8_0:
        return Q_OP_KERNEL_gather_q8_0;
    case Q_Q4_0:
        return Q_OP_KERNEL_gather_q4_0;
    case Q_Q4_1:
        return Q_OP_KERNEL_gather_q4_1;
    default:
        return Q_OP_KERNEL_gather_f32;
    }
}

q_error_code q_op_gather(const q_op_call *call, const q_tensor *weights, const int32_t *ids,
                         q_real scale, const q_tensor *out)
{
    q_gather_args args;
    args.rows = q_op_count(q_op_split(out, true).rows);
    args.k = weights->ne[3];
    args.layout = weights->layout;
    args.weights = weights->data;
    args.weights_stride = weights->nb[2];
    args.ids = ids;
    args.out = (q_real *)out->data;
    args.out_stride = out->nb[2];
    args.scale = scale;
    return q_op_run(call, op_pick_gather(weights->dtype), &args, 0,
                    q_op_work(args.rows.n, args.k, 1));
}

q_error_code q_op_dequantize(const q_op_context *ctx, const q_tensor *weights, q_tensor *out,
                             q_diag *diag)
{
    q_op_call call;
    q_op_span sw;
    q_op_span so;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_dequantize", diag));
    Q_OP_TRY(q_op_check_weights(&call, "weights", weights, &sw));
    Q_OP_TRY(q_op_check_real(&call, "out", out, &so));
    Q_OP_TRY(q_op_check_shape(&call, &so, weights));
    Q_OP_TRY(q_op_apart(&call, &so, &sw));
    return q_op_gather(&call, weights, NULL, 1, out);
}

q_error_code q_op_quantize_activations(const q_op_context *ctx, const q_tensor *x, q_tensor *out,
                                       q_diag *diag)
{
    q_op_call call;
    q_op_span sx;
    q_op_span so;
    q_op_planes p;
    q_quantize_a8_args args;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_quantize_activations", diag));
    Q_OP_TRY(q_op_check_real(&call, "x", x, &sx));
    Q_OP_TRY(q_op_check_a8(&call, "out", out, &so));
    Q_OP_TRY(q_op_check_shape(&call, &so, x));
    Q_OP_TRY(q_op_apart(&call, &so, &sx));
    p = q_op_split(x, sx.flat && so.flat);
    args.rows = q_op_count(p.rows);
    args.k = x->ne[3];
    args.x_stride = x->nb[2];
    args.out_stride = out->nb[2];
    args.planes = out->dtype == Q_A8X2 ? 2 : 1;
    args.reserved = 0;
    for (uint32_t i = 0; i < p.n0; i++) {
        for (uint32_t j = 0; j < p.n1; j++) {
            args.x = (const q_real *)q_op_plane(x, i, j);
            args.out = q_op_plane(out, i, j);
            Q_OP_TRY(
                q_op_run(&call, Q_OP_KERNEL_quantize_a8, &args, 0, q_op_work(p.rows, args.k, 1)));
        }
    }
    return Q_OK;
}
