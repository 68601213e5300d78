/* SPDX-License-Identifier: MIT */
/*
 * mse.c: loss = mean((x - target)^2); grad = 2*(x - target).
 *
 *   x, target, grad of one shape, loss [1, 1, 1, 1]
 */
#include "check.h"

typedef struct op_mse_operands {
    const q_tensor *x;
    const q_tensor *target;
    const q_tensor *loss;
    const q_tensor *grad; /* may be NULL */
} op_mse_operands;

static q_error_code op_mse_check_grad(const q_op_call *call, const op_mse_operands *o,
                                      const q_op_span *x, const q_op_span *target,
                                      const q_op_span *loss)
{
    q_op_span grad;
    Q_OP_TRY(q_op_check_real(call, "grad", o->grad, &grad));
    Q_OP_TRY(q_op_check_shape(call, &grad, o->x));
    Q_OP_TRY(q_op_check_flat(call, &grad));
    Q_OP_TRY(q_op_apart(call, &grad, x));
    Q_OP_TRY(q_op_apart(call, &grad, target));
    return q_op_apart(call, &grad, loss);
}

static q_error_code op_mse_check(const q_op_call *call, const op_mse_operands *o)
{
    q_op_span x;
    q_op_span target;
    q_op_span loss;
    Q_OP_TRY(q_op_check_real(call, "x", o->x, &x));
    Q_OP_TRY(q_op_check_real(call, "target", o->target, &target));
    Q_OP_TRY(q_op_check_vector(call, "loss", o->loss, 1, &loss));
    Q_OP_TRY(q_op_check_shape(call, &target, o->x));
    Q_OP_TRY(q_op_check_flat(call, &x));
    Q_OP_TRY(q_op_check_flat(call, &target));
    Q_OP_TRY(q_op_apart(call, &loss, &x));
    Q_OP_TRY(q_op_apart(call, &loss, &target));
    return o->grad == NULL ? Q_OK : op_mse_check_grad(call, o, &x, &target, &loss);
}

q_error_code q_op_mse(const q_op_context *ctx, const q_tensor *x, const q_tensor *target,
                      q_tensor *loss, q_tensor *grad, q_diag *diag)
{
    const op_mse_operands o = {x, target, loss, grad};
    q_op_call call;
    q_mse_args args;
    Q_OP_TRY(q_op_begin(&call, ctx, "q_op_mse", diag));
    Q_OP_TRY(op_mse_check(&call, &o));
    args.rows = q_op_count(q_op_split(x, true).rows);
    args.dim = x->ne[3];
    args.x = (const q_real *)x->data;
    args.x_stride = x->nb[2];
    args.target = (const q_real *)target->data;
    args.target_stride = target->nb[2];
    args.loss = (q_real *)loss->data;
    args.grad = grad == NULL ? NULL : (q_real *)grad->data;
    args.grad_stride = grad == NULL ? 0 : grad->nb[2];
    return q_op_run(&call, Q_OP_KERNEL_mse, &args, 0, 0);
}
