/* SPDX-License-Identifier: MIT */
/*
 * bench.c: what an op costs beyond the kernel it calls: the op's time on a tiny operand less that
 * of setting the control word, filling the arguments and calling the kernel. Best of many rounds.
 */
#include <stdio.h>
#include <string.h>

#include "core/ops/check.h"
#include "ops_test.h"

enum { ROUNDS = 200, CALLS = 2000 };

typedef struct bench_call {
    q_tensor x[4];
    q_work work;
    q_run run;
    q_op_call call;
    q_diag diag;
    q_error_code code;
    uint32_t turn; /* 0 or 2: the vector written next */
} bench_call;

static double now_ns(void)
{
    return (double)ops_port->ticks(ops_port->user) * (double)ops_port->ns_num /
           (double)ops_port->ns_den;
}

/* ---- add, three operands --------------------------------------------------------------------- */

static q_binary_args add_args(const bench_call *b)
{
    q_binary_args a = {{1, Q_SYM_ONE}, 16, NULL, 64, NULL, 64, NULL, 64};
    a.a = (const float *)b->x[0].data;
    a.b = (const float *)b->x[1].data;
    a.out = (float *)b->x[0].data;
    return a;
}

static void add_op(bench_call *b)
{
    b->code = q_op_add(&ops_ctx, &b->x[0], &b->x[1], &b->x[0], &b->diag);
}

static void add_run(bench_call *b)
{
    q_binary_args a = add_args(b);
    b->code = q_op_run(&b->call, Q_OP_KERNEL_add, &a, 0, 16);
}

static void add_kernel(bench_call *b)
{
    q_binary_args a = add_args(b);
    ops_ctx.context.backend->kernels.add(&b->work, &a);
}

/* ---- softmax, two operands ------------------------------------------------------------------- */

static q_softmax_args softmax_args(const bench_call *b)
{
    q_softmax_args a = {{1, Q_SYM_ONE}, 16, NULL, 64, NULL, 64, 1};
    a.x = (const float *)b->x[0].data;
    a.out = (float *)b->x[0].data;
    return a;
}

static void softmax_op(bench_call *b)
{
    b->code = q_op_softmax(&ops_ctx, &b->x[0], 1, &b->x[0], &b->diag);
}

static void softmax_run(bench_call *b)
{
    q_softmax_args a = softmax_args(b);
    b->code = q_op_run(&b->call, Q_OP_KERNEL_softmax, &a, 0, 16);
}

static void softmax_kernel(bench_call *b)
{
    q_softmax_args a = softmax_args(b);
    ops_ctx.context.backend->kernels.softmax(&b->work, &a);
}

/* ---- gemv, weights in panels and a bias ------------------------------------------------------ */

static q_gemm_args gemv_args(bench_call *b)
{
    q_gemm_args a;
    b->turn ^= 2;
    memset(&a, 0, sizeof(a));
    a.rows.n = 1;
    a.m = 16;
    a.k = 16;
    a.weights = b->x[3].data;
    a.x = b->x[2 - b->turn].data;
    a.x_stride = 64;
    a.y = (float *)b->x[b->turn].data;
    a.y_stride = 64;
    a.epilogue.bias = (const float *)b->x[1].data;
    return a;
}

static void gemv_op(bench_call *b)
{
    b->turn ^= 2;
    b->code = q_op_gemv(&ops_ctx, &b->x[2 - b->turn], &b->x[3], &b->x[1], &b->x[b->turn], &b->diag);
}

static void gemv_run(bench_call *b)
{
    q_gemm_args a = gemv_args(b);
    b->code = q_op_run(&b->call, Q_OP_KERNEL_gemm_f32, &a, 0, 256);
}

static void gemv_kernel(bench_call *b)
{
    q_gemm_args a = gemv_args(b);
    ops_ctx.context.backend->kernels.gemm_f32(&b->work, &a);
}

/* ---- Timing ---------------------------------------------------------------------------------- */

static double best(void (*fn)(bench_call *), bench_call *b)
{
    double least = 1e300;
    for (uint32_t r = 0; r < ROUNDS; r++) {
        double begin = now_ns();
        for (uint32_t i = 0; i < CALLS; i++) {
            fn(b);
        }
        double time = (now_ns() - begin) / CALLS;
        least = time < least ? time : least;
    }
    return least;
}

void ops_bench(void)
{
    static const struct {
        const char *name;
        void (*op)(bench_call *);
        void (*run)(bench_call *);
        void (*kernel)(bench_call *);
    } rows[] = {{"q_op_add", add_op, add_run, add_kernel},
                {"q_op_softmax", softmax_op, softmax_run, softmax_kernel},
                {"q_op_gemv", gemv_op, gemv_run, gemv_kernel}};
    const uint32_t ne[4] = {1, 1, 1, 16};
    const uint32_t weights[4] = {1, 1, 16, 16};
    bench_call b;
    memset(&b, 0, sizeof(b));
    if (!ops_use("avx2", 1) && !ops_use("scalar", 1)) {
        return;
    }
    b.work.n_workers = 1;
    b.work.run = &b.run;
    b.work.workspace = ops_ctx.workspace.base;
    b.work.workspace_size = ops_ctx.workspace.size;
    for (uint32_t i = 0; i < 4; i++) {
        (void)!q_tensor_init(&b.x[i], ops_buffer(i), Q_F32, i == 3 ? Q_PANEL16 : Q_PLAIN,
                             i == 3 ? weights : ne, NULL);
    }
    b.call.ctx = &ops_ctx;
    (void)printf("%-14s %9s %9s %9s %9s   ns a call, %s\n", "", "op", "run", "kernel", "checks",
                 ops_ctx.context.backend->name);
    for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        double kernel = best(rows[i].kernel, &b);
        double run = best(rows[i].run, &b);
        double op = best(rows[i].op, &b);
        (void)printf("%-14s %9.1f %9.1f %9.1f %9.1f\n", rows[i].name, op, run, kernel, op - run);
    }
}
