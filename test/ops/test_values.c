/* SPDX-License-Identifier: MIT */
/*
 * test_values.c: every op over rows against loops over elements, in every order of axes it takes.
 * Results are compared with all bytes around them: nothing else may be written.
 */
#include <string.h>

#include "values.h"
#include "qorus/base/elementary.h"

static const uint32_t small[4] = {2, 3, 5, 37};
static const uint32_t large[4] = {1, 2, 40, 1024}; /* enough work for several workers */

/* ---- Rows ------------------------------------------------------------------------------------ */

typedef struct rows_case {
    q_tensor a;
    q_tensor b;
    q_tensor out;
    q_tensor weight;
} rows_case;

typedef void (*row_reference)(const rows_case *c, const float *a, const float *b, float *out);
typedef q_error_code (*row_op)(rows_case *c);

static q_work scalar_work(const q_run *run)
{
    q_work work;
    memset(&work, 0, sizeof(work));
    work.n_workers = 1;
    work.run = run;
    return work;
}

static void add_row(const rows_case *c, const float *a, const float *b, float *out)
{
    for (uint32_t i = 0; i < c->a.ne[3]; i++) {
        out[i] = a[i] + b[i];
    }
}

static void mul_row(const rows_case *c, const float *a, const float *b, float *out)
{
    for (uint32_t i = 0; i < c->a.ne[3]; i++) {
        out[i] = a[i] * b[i];
    }
}

static void silu_mul_row(const rows_case *c, const float *a, const float *b, float *out)
{
    for (uint32_t i = 0; i < c->a.ne[3]; i++) {
        out[i] = q_silu(a[i]) * b[i];
    }
}

static void silu_row(const rows_case *c, const float *a, const float *b, float *out)
{
    (void)b;
    for (uint32_t i = 0; i < c->a.ne[3]; i++) {
        out[i] = q_silu(a[i]);
    }
}

static void exp_row(const rows_case *c, const float *a, const float *b, float *out)
{
    (void)b;
    for (uint32_t i = 0; i < c->a.ne[3]; i++) {
        out[i] = q_exp(a[i]);
    }
}

/* Sums run over 16 lanes and a tree: those kernels are called one row at a time. */
static void softmax_row(const rows_case *c, const float *a, const float *b, float *out)
{
    q_softmax_args args;
    q_backend scalar;
    q_run run;
    q_work work = scalar_work(&run);
    (void)b;
    memset(&run, 0, sizeof(run));
    memset(&args, 0, sizeof(args));
    args.rows.n = 1;
    args.dim = c->a.ne[3];
    args.x = a;
    args.out = out;
    args.scale = 0.75f;
    q_backend_scalar(&scalar);
    scalar.kernels.softmax(&work, &args);
}

static void rmsnorm_row(const rows_case *c, const float *a, const float *b, float *out)
{
    q_rmsnorm_args args;
    q_backend scalar;
    q_run run;
    q_work work = scalar_work(&run);
    (void)b;
    memset(&run, 0, sizeof(run));
    memset(&args, 0, sizeof(args));
    args.rows.n = 1;
    args.dim = c->a.ne[3];
    args.x = a;
    args.y = out;
    args.weight = (const float *)c->weight.data;
    args.eps = 1e-5f;
    args.offset = 1;
    q_backend_scalar(&scalar);
    scalar.kernels.rmsnorm(&work, &args);
}

static q_error_code run_add(rows_case *c)
{
    return q_op_add(&ops_ctx, &c->a, &c->b, &c->out, NULL);
}

static q_error_code run_mul(rows_case *c)
{
    return q_op_mul(&ops_ctx, &c->a, &c->b, &c->out, NULL);
}

static q_error_code run_silu_mul(rows_case *c)
{
    return q_op_silu_mul(&ops_ctx, &c->a, &c->b, &c->out, NULL);
}

static q_error_code run_silu(rows_case *c)
{
    return q_op_silu(&ops_ctx, &c->a, &c->out, NULL);
}

static q_error_code run_exp(rows_case *c)
{
    return q_op_exp(&ops_ctx, &c->a, &c->out, NULL);
}

static q_error_code run_softmax(rows_case *c)
{
    return q_op_softmax(&ops_ctx, &c->a, 0.75f, &c->out, NULL);
}

static q_error_code run_rmsnorm(rows_case *c)
{
    return q_op_rmsnorm(&ops_ctx, &c->a, &c->weight, 1e-5f, 1, &c->out, NULL);
}

static const struct {
    row_op op;
    row_reference reference;
} row_ops[] = {{run_add, add_row},        {run_mul, mul_row}, {run_silu_mul, silu_mul_row},
               {run_silu, silu_row},      {run_exp, exp_row}, {run_softmax, softmax_row},
               {run_rmsnorm, rmsnorm_row}};

static void check_row_op(row_op op, row_reference reference, rows_case *c, bool in_place)
{
    q_tensor want;
    values_begin();
    if (in_place) { /* out is a: its contents are a's */
        memcpy(ops_buffer(OUT), ops_buffer(0), OPS_BUFFER);
        memcpy(ops_buffer(REFERENCE), ops_buffer(0), OPS_BUFFER);
    }
    want = values_reference(&c->out);
    for (uint32_t i = 0; i < c->a.ne[0] * c->a.ne[1] * c->a.ne[2]; i++) {
        uint32_t r = i % c->a.ne[2];
        uint32_t h = i / c->a.ne[2] % c->a.ne[1];
        uint32_t b = i / c->a.ne[2] / c->a.ne[1];
        reference(c, values_row(&c->a, b, h, r), values_row(&c->b, b, h, r), values_row(&want, b, h, r));
    }
    if (in_place) {
        c->a.data = c->out.data;
    }
    CHECK_EQ(op(c), Q_OK);
    CHECK(values_right());
}

static void check_reductions(const uint32_t ne[4], lie how)
{
    q_tensor x = values_like(0, how, ne);
    for (uint32_t max = 0; max < 2; max++) {
        q_tensor out = values_view(OUT, how == HEADS_INSIDE || how == ROWS_APART ? CONTIGUOUS : how, ne[0],
                            ne[1], ne[2], 1);
        q_tensor want = values_reference(&out);
        q_backend scalar;
        q_run run;
        q_work work = scalar_work(&run);
        values_begin();
        memset(&run, 0, sizeof(run));
        q_backend_scalar(&scalar);
        for (uint32_t i = 0; i < ne[0] * ne[1] * ne[2]; i++) {
            uint32_t h = i / ne[2] % ne[1];
            q_reduce_args args = {{1, Q_SYM_ONE}, ne[3], NULL, 0, NULL};
            args.x = values_row(&x, i / ne[2] / ne[1], h, i % ne[2]);
            args.out = values_row(&want, i / ne[2] / ne[1], h, i % ne[2]);
            (max != 0 ? scalar.kernels.reduce_max : scalar.kernels.reduce_sum)(&work, &args);
        }
        CHECK_EQ(max != 0 ? q_op_reduce_max(&ops_ctx, &x, &out, NULL)
                          : q_op_reduce_sum(&ops_ctx, &x, &out, NULL),
                 Q_OK);
        CHECK(values_right());
    }
}

static void check_mask(const uint32_t ne[4], lie how, uint32_t position)
{
    q_tensor x = values_like(OUT, how, ne);
    q_tensor want = values_reference(&x);
    values_begin();
    for (uint32_t i = 0; i < ne[0] * ne[1] * ne[2]; i++) {
        float *row = values_row(&want, i / ne[2] / ne[1], i / ne[2] % ne[1], i % ne[2]);
        for (uint32_t c = 0; c < ne[3]; c++) {
            row[c] = c > i % ne[2] + position ? q_float_u32(0xff800000u) : row[c];
        }
    }
    CHECK_EQ(q_op_causal_mask(&ops_ctx, &x, position, NULL), Q_OK);
    CHECK(values_right());
}

static void check_mse(const uint32_t ne[4], lie how)
{
    q_tensor x = values_like(0, how, ne);
    q_tensor target = values_like(1, CONTIGUOUS, ne);
    q_tensor grad = values_like(OUT, how, ne);
    q_tensor want = values_reference(&grad);
    q_tensor loss = values_view(2, CONTIGUOUS, 1, 1, 1, 1);
    float losses[2];
    double sum = 0;
    values_begin();
    for (uint32_t i = 0; i < ne[0] * ne[1] * ne[2]; i++) {
        uint32_t h = i / ne[2] % ne[1];
        const float *a = values_row(&x, i / ne[2] / ne[1], h, i % ne[2]);
        const float *b = values_row(&target, i / ne[2] / ne[1], h, i % ne[2]);
        for (uint32_t c = 0; c < ne[3]; c++) {
            float d = a[c] - b[c];
            values_row(&want, i / ne[2] / ne[1], h, i % ne[2])[c] = 2 * d;
            sum += (double)d * (double)d;
        }
    }
    sum /= (double)ne[0] * ne[1] * ne[2] * ne[3];
    CHECK_EQ(q_op_mse(&ops_ctx, &x, &target, &loss, &grad, NULL), Q_OK);
    CHECK(values_right());
    losses[0] = *(float *)loss.data;
    CHECK((double)losses[0] > sum * (1 - 1e-5) && (double)losses[0] < sum * (1 + 1e-5));
    CHECK_EQ(q_op_mse(&ops_ctx, &x, &target, &loss, NULL, NULL), Q_OK);
    losses[1] = *(float *)loss.data;
    CHECK(memcmp(&losses[0], &losses[1], sizeof(losses[0])) == 0);
}

void ops_values_rows(void)
{
    values_fill(0);
    values_fill(1);
    for (uint32_t i = 0; i < sizeof(row_ops) / sizeof(row_ops[0]); i++) {
        for (uint32_t how = 0; how < LIES * LIES; how++) {
            rows_case c;
            c.a = values_like(0, (lie)(how % LIES), small);
            c.b = values_like(1, (lie)(how / LIES), small);
            c.out = values_like(OUT, (lie)((how + i) % LIES), small);
            c.weight = values_view(2, CONTIGUOUS, 1, 1, 1, small[3]);
            memcpy(c.weight.data, ops_buffer(1) + 64, small[3] * sizeof(float));
            check_row_op(row_ops[i].op, row_ops[i].reference, &c, false);
            c.out = values_like(OUT, (lie)(how % LIES), small);
            check_row_op(row_ops[i].op, row_ops[i].reference, &c, true);
        }
        rows_case c = {values_like(0, CONTIGUOUS, large), values_like(1, HEADS_INSIDE, large),
                       values_like(OUT, PLANES_APART, large), values_view(1, CONTIGUOUS, 1, 1, 1, large[3])};
        check_row_op(row_ops[i].op, row_ops[i].reference, &c, false);
    }
    for (uint32_t how = 0; how < LIES; how++) {
        check_reductions(small, (lie)how);
        check_mask(small, (lie)how, how * 3);
    }
    check_reductions(large, CONTIGUOUS);
    check_mask(large, CONTIGUOUS, 700);
    check_mse(small, CONTIGUOUS);
    check_mse(small, ROWS_APART);
    check_mse(large, CONTIGUOUS);
}
