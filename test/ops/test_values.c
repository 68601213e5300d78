/* SPDX-License-Identifier: MIT */
/*
 * test_values.c: every op against loops over elements, in every order of axes it takes. Results are
 * compared with all bytes around them: nothing else may be written.
 */
#include <string.h>

#include "ops_test.h"
#include "qorus/base/elementary.h"
#include "qorus/base/fma.h"
#include "qorus/base/half.h"
#include "qorus/base/panel.h"
#include "qorus/quantize.h"

/* How the axes of a tensor lie in memory. */
typedef enum lie { CONTIGUOUS, ROWS_APART, PLANES_APART, HEADS_INSIDE, LIES } lie;

enum { OUT = 4, REFERENCE = 5 }; /* buffers of the output and of what it should be */

static const uint32_t small[4] = {2, 3, 5, 37};
static const uint32_t large[4] = {1, 2, 40, 1024}; /* enough work for several workers */

static float random_real(void)
{
    return (float)((double)(ops_random() >> 40) / (1 << 21) - 4.0);
}

static void fill_reals(uint32_t buffer)
{
    float *to = (float *)(void *)ops_buffer(buffer);
    for (uint32_t i = 0; i < OPS_BUFFER / 4; i++) {
        to[i] = random_real();
    }
}

static q_tensor view(uint32_t buffer, lie how, uint32_t b, uint32_t h, uint32_t r, uint32_t c)
{
    q_tensor t;
    size_t row = c * sizeof(q_real) + (how == ROWS_APART ? 20 : 0);
    memset(&t, 0, sizeof(t));
    t.data = ops_buffer(buffer) + 64;
    t.dtype = Q_REAL;
    t.ne[0] = b;
    t.ne[1] = h;
    t.ne[2] = r;
    t.ne[3] = c;
    t.nb[3] = sizeof(q_real);
    t.nb[2] = how == HEADS_INSIDE ? row * h : row;
    t.nb[1] = how == HEADS_INSIDE ? row : row * r + (how == PLANES_APART ? 12 : 0);
    t.nb[0] = how == HEADS_INSIDE ? row * h * r : t.nb[1] * h + (how == PLANES_APART ? 28 : 0);
    return t;
}

static q_tensor like(uint32_t buffer, lie how, const uint32_t ne[4])
{
    return view(buffer, how, ne[0], ne[1], ne[2], ne[3]);
}

static float *row_at(const q_tensor *t, uint32_t b, uint32_t h, uint32_t r)
{
    b = t->ne[0] == 1 ? 0 : b;
    h = t->ne[1] == 1 ? 0 : h;
    return (float *)(void *)((uint8_t *)t->data + b * t->nb[0] + h * t->nb[1] + r * t->nb[2]);
}

/* The view of the reference that `out` has of the output. */
static q_tensor reference_of(const q_tensor *out)
{
    q_tensor t = *out;
    t.data = ops_buffer(REFERENCE) + ((uint8_t *)out->data - ops_buffer(OUT));
    return t;
}

static void begin_output(void)
{
    for (uint32_t i = 0; i < OPS_BUFFER; i++) {
        ops_buffer(OUT)[i] = (uint8_t)(i * 31u + 7u);
    }
    memcpy(ops_buffer(REFERENCE), ops_buffer(OUT), OPS_BUFFER);
}

static bool output_right(void)
{
    return memcmp(ops_buffer(REFERENCE), ops_buffer(OUT), OPS_BUFFER) == 0;
}

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
    begin_output();
    if (in_place) { /* out is a: its contents are a's */
        memcpy(ops_buffer(OUT), ops_buffer(0), OPS_BUFFER);
        memcpy(ops_buffer(REFERENCE), ops_buffer(0), OPS_BUFFER);
    }
    want = reference_of(&c->out);
    for (uint32_t i = 0; i < c->a.ne[0] * c->a.ne[1] * c->a.ne[2]; i++) {
        uint32_t r = i % c->a.ne[2];
        uint32_t h = i / c->a.ne[2] % c->a.ne[1];
        uint32_t b = i / c->a.ne[2] / c->a.ne[1];
        reference(c, row_at(&c->a, b, h, r), row_at(&c->b, b, h, r), row_at(&want, b, h, r));
    }
    if (in_place) {
        c->a.data = c->out.data;
    }
    CHECK_EQ(op(c), Q_OK);
    CHECK(output_right());
}

static void check_reductions(const uint32_t ne[4], lie how)
{
    q_tensor x = like(0, how, ne);
    for (uint32_t max = 0; max < 2; max++) {
        q_tensor out = view(OUT, how == HEADS_INSIDE || how == ROWS_APART ? CONTIGUOUS : how, ne[0],
                            ne[1], ne[2], 1);
        q_tensor want = reference_of(&out);
        q_backend scalar;
        q_run run;
        q_work work = scalar_work(&run);
        begin_output();
        memset(&run, 0, sizeof(run));
        q_backend_scalar(&scalar);
        for (uint32_t i = 0; i < ne[0] * ne[1] * ne[2]; i++) {
            uint32_t h = i / ne[2] % ne[1];
            q_reduce_args args = {{1, Q_SYM_ONE}, ne[3], NULL, 0, NULL};
            args.x = row_at(&x, i / ne[2] / ne[1], h, i % ne[2]);
            args.out = row_at(&want, i / ne[2] / ne[1], h, i % ne[2]);
            (max != 0 ? scalar.kernels.reduce_max : scalar.kernels.reduce_sum)(&work, &args);
        }
        CHECK_EQ(max != 0 ? q_op_reduce_max(&ops_ctx, &x, &out, NULL)
                          : q_op_reduce_sum(&ops_ctx, &x, &out, NULL),
                 Q_OK);
        CHECK(output_right());
    }
}

static void check_mask(const uint32_t ne[4], lie how, uint32_t position)
{
    q_tensor x = like(OUT, how, ne);
    q_tensor want = reference_of(&x);
    begin_output();
    for (uint32_t i = 0; i < ne[0] * ne[1] * ne[2]; i++) {
        float *row = row_at(&want, i / ne[2] / ne[1], i / ne[2] % ne[1], i % ne[2]);
        for (uint32_t c = 0; c < ne[3]; c++) {
            row[c] = c > i % ne[2] + position ? q_float_u32(0xff800000u) : row[c];
        }
    }
    CHECK_EQ(q_op_causal_mask(&ops_ctx, &x, position, NULL), Q_OK);
    CHECK(output_right());
}

static void check_mse(const uint32_t ne[4], lie how)
{
    q_tensor x = like(0, how, ne);
    q_tensor target = like(1, CONTIGUOUS, ne);
    q_tensor grad = like(OUT, how, ne);
    q_tensor want = reference_of(&grad);
    q_tensor loss = view(2, CONTIGUOUS, 1, 1, 1, 1);
    float losses[2];
    double sum = 0;
    begin_output();
    for (uint32_t i = 0; i < ne[0] * ne[1] * ne[2]; i++) {
        uint32_t h = i / ne[2] % ne[1];
        const float *a = row_at(&x, i / ne[2] / ne[1], h, i % ne[2]);
        const float *b = row_at(&target, i / ne[2] / ne[1], h, i % ne[2]);
        for (uint32_t c = 0; c < ne[3]; c++) {
            float d = a[c] - b[c];
            row_at(&want, i / ne[2] / ne[1], h, i % ne[2])[c] = 2 * d;
            sum += (double)d * (double)d;
        }
    }
    sum /= (double)ne[0] * ne[1] * ne[2] * ne[3];
    CHECK_EQ(q_op_mse(&ops_ctx, &x, &target, &loss, &grad, NULL), Q_OK);
    CHECK(output_right());
    losses[0] = *(float *)loss.data;
    CHECK((double)losses[0] > sum * (1 - 1e-5) && (double)losses[0] < sum * (1 + 1e-5));
    CHECK_EQ(q_op_mse(&ops_ctx, &x, &target, &loss, NULL, NULL), Q_OK);
    losses[1] = *(float *)loss.data;
    CHECK(memcmp(&losses[0], &losses[1], sizeof(losses[0])) == 0);
}

void ops_values_rows(void)
{
    fill_reals(0);
    fill_reals(1);
    for (uint32_t i = 0; i < sizeof(row_ops) / sizeof(row_ops[0]); i++) {
        for (uint32_t how = 0; how < LIES * LIES; how++) {
            rows_case c;
            c.a = like(0, (lie)(how % LIES), small);
            c.b = like(1, (lie)(how / LIES), small);
            c.out = like(OUT, (lie)((how + i) % LIES), small);
            c.weight = view(2, CONTIGUOUS, 1, 1, 1, small[3]);
            memcpy(c.weight.data, ops_buffer(1) + 64, small[3] * sizeof(float));
            check_row_op(row_ops[i].op, row_ops[i].reference, &c, false);
            c.out = like(OUT, (lie)(how % LIES), small);
            check_row_op(row_ops[i].op, row_ops[i].reference, &c, true);
        }
        rows_case c = {like(0, CONTIGUOUS, large), like(1, HEADS_INSIDE, large),
                       like(OUT, PLANES_APART, large), view(1, CONTIGUOUS, 1, 1, 1, large[3])};
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

/* ---- Products of plain matrices -------------------------------------------------------------- */

static float element(const q_tensor *t, uint32_t b, uint32_t h, uint32_t r, uint32_t c)
{
    return row_at(t, b, h, r)[c];
}

static void check_matmul(const q_tensor *a, const q_tensor *b, q_tensor *c, uint32_t flags)
{
    q_tensor want = reference_of(c);
    uint32_t k = (flags & Q_OP_TRANSPOSE_A) != 0 ? a->ne[2] : a->ne[3];
    begin_output();
    for (uint32_t i = 0; i < c->ne[0] * c->ne[1] * c->ne[2] * c->ne[3]; i++) {
        uint32_t n = i % c->ne[3];
        uint32_t m = i / c->ne[3] % c->ne[2];
        uint32_t h = i / c->ne[3] / c->ne[2] % c->ne[1];
        uint32_t s = i / c->ne[3] / c->ne[2] / c->ne[1];
        float *to = &row_at(&want, s, h, m)[n];
        float acc = (flags & Q_OP_ACCUMULATE) != 0 ? *to : 0;
        for (uint32_t p = 0; p < k; p++) {
            float x =
                (flags & Q_OP_TRANSPOSE_A) != 0 ? element(a, s, h, p, m) : element(a, s, h, m, p);
            float y =
                (flags & Q_OP_TRANSPOSE_B) != 0 ? element(b, s, h, n, p) : element(b, s, h, p, n);
            acc = q_fma(x, y, acc);
        }
        *to = acc;
    }
    CHECK_EQ(q_op_matmul(&ops_ctx, a, b, flags, c, NULL), Q_OK);
    CHECK(output_right());
}

static void check_matmul_of(uint32_t m, uint32_t n, uint32_t k, uint32_t flags, lie how,
                            uint32_t shared)
{
    const bool ta = (flags & Q_OP_TRANSPOSE_A) != 0;
    const bool tb = (flags & Q_OP_TRANSPOSE_B) != 0;
    q_tensor a = view(0, how, (shared & 1) != 0 ? 1 : 2, 3, ta ? k : m, ta ? m : k);
    q_tensor b = view(1, how, 2, (shared & 2) != 0 ? 1 : 3, tb ? n : k, tb ? k : n);
    q_tensor c = view(OUT, (lie)((how + 1) % LIES), 2, 3, m, n);
    b.ne[0] = (shared & 2) != 0 ? 1 : 2;
    check_matmul(&a, &b, &c, flags);
}

/* The values of the output are random: accumulating starts from finite numbers. */
void ops_values_products(void)
{
    q_tensor a = view(0, CONTIGUOUS, 1, 1, 33, 65);
    q_tensor b = view(1, CONTIGUOUS, 1, 1, 65, 70);
    q_tensor c = view(OUT, ROWS_APART, 1, 1, 33, 70);
    fill_reals(0);
    fill_reals(1);
    for (uint32_t flags = 0; flags < 8; flags++) {
        for (uint32_t how = 0; how < LIES; how++) {
            check_matmul_of(5, 19, 7, flags, (lie)how, how);
            check_matmul_of(1, 3, 40, flags, (lie)how, 0);
        }
    }
    check_matmul(&a, &b, &c, 0);
}

/* ---- Weights --------------------------------------------------------------------------------- */

/* rows by k weights of a dtype in buffer 2, made from buffer 1. */
static q_tensor weights_of(uint32_t dtype, uint32_t layout, uint32_t rows, uint32_t k)
{
    const uint32_t ne[4] = {1, 1, rows, k};
    q_tensor t;
    memset(&t, 0, sizeof(t));
    uint8_t *plain = ops_buffer(layout == Q_PLAIN ? 2 : 3);
    CHECK_EQ(q_quantize(dtype, (const float *)(void *)ops_buffer(1), rows, k, plain, NULL), Q_OK);
    if (layout == Q_PANEL16) {
        CHECK_EQ(q_panel_pack(dtype, plain, rows, k, ops_buffer(2), NULL), Q_OK);
    }
    CHECK_EQ(q_tensor_init(&t, ops_buffer(2), dtype, layout, ne, NULL), Q_OK);
    return t;
}

static void check_dequantize(uint32_t dtype, uint32_t layout, uint32_t rows, uint32_t k)
{
    q_tensor w = weights_of(dtype, layout, rows, k);
    q_tensor out = view(OUT, ROWS_APART, 1, 1, rows, k);
    q_tensor want = reference_of(&out);
    uint8_t *plain = ops_buffer(layout == Q_PLAIN ? 2 : 3);
    float *real = (float *)(void *)ops_buffer(0);
    begin_output();
    CHECK_EQ(q_dequantize(dtype, plain, rows, k, real, NULL), Q_OK);
    for (uint32_t r = 0; r < rows; r++) {
        memcpy(row_at(&want, 0, 0, r), real + (size_t)r * k, k * sizeof(float));
    }
    CHECK_EQ(q_op_dequantize(&ops_ctx, &w, &out, NULL), Q_OK);
    CHECK(output_right());
}

static void check_embedding(uint32_t dtype, uint32_t layout, uint32_t rows, uint32_t k)
{
    static int32_t ids[150];
    const uint32_t id_shape[4] = {1, 1, 3, 50};
    q_tensor w = weights_of(dtype, layout, rows, k);
    q_tensor id;
    q_tensor out = view(OUT, CONTIGUOUS, 3, 5, 10, k);
    q_tensor want = reference_of(&out);
    const float *real = (const float *)(const void *)ops_buffer(0);
    for (uint32_t i = 0; i < 150; i++) {
        ids[i] = (int32_t)(ops_random() % rows);
    }
    ids[149] = (int32_t)rows - 1;
    begin_output();
    CHECK_EQ(q_dequantize(dtype, ops_buffer(layout == Q_PLAIN ? 2 : 3), rows, k,
                          (float *)(void *)ops_buffer(0), NULL),
             Q_OK);
    for (uint32_t i = 0; i < 150; i++) {
        float *to = row_at(&want, i / 50, i / 10 % 5, i % 10);
        for (uint32_t c = 0; c < k; c++) {
            to[c] = real[(size_t)ids[i] * k + c] * 3.5f;
        }
    }
    CHECK_EQ(q_tensor_init(&id, ids, Q_I32, Q_PLAIN, id_shape, NULL), Q_OK);
    CHECK_EQ(q_op_embedding(&ops_ctx, &w, &id, 3.5f, &out, NULL), Q_OK);
    CHECK(output_right());
}

/* Exact product by the dequantised weights, one chain of fma from the bias. */
static void check_gemm(uint32_t dtype, uint32_t rows, uint32_t m, uint32_t k, lie how)
{
    q_tensor w = weights_of(dtype, Q_PANEL16, m, k);
    q_tensor x = view(0, how, 1, 2, rows, k);
    q_tensor bias = view(1, CONTIGUOUS, 1, 1, 1, m);
    q_tensor y = view(OUT, (lie)((how + 2) % LIES), 1, 2, rows, m);
    q_tensor want = reference_of(&y);
    static float real[64 * 512];
    begin_output();
    fill_reals(0);
    CHECK((size_t)m * k <= sizeof(real) / sizeof(real[0]));
    CHECK_EQ(q_dequantize(dtype, ops_buffer(3), m, k, real, NULL), Q_OK);
    for (uint32_t i = 0; i < 2 * rows * m; i++) {
        const float *from = row_at(&x, 0, i / m / rows, i / m % rows);
        float acc = ((const float *)bias.data)[i % m];
        for (uint32_t p = 0; p < k; p++) {
            acc = q_fma(from[p], real[(size_t)(i % m) * k + p], acc);
        }
        row_at(&want, 0, i / m / rows, i / m % rows)[i % m] = acc;
    }
    CHECK_EQ(q_op_gemm(&ops_ctx, &x, &w, &bias, &y, NULL), Q_OK);
    CHECK(output_right());
}

static void check_gemv(uint32_t dtype, uint32_t m, uint32_t k)
{
    q_tensor w = weights_of(dtype, Q_PANEL16, m, k);
    q_tensor x = view(0, CONTIGUOUS, 1, 1, 1, k);
    q_tensor y = view(OUT, CONTIGUOUS, 1, 1, 1, m);
    q_tensor want = reference_of(&y);
    begin_output();
    CHECK_EQ(q_op_gemv(&ops_ctx, &x, &w, NULL, &y, NULL), Q_OK);
    memcpy(want.data, y.data, m * sizeof(float));
    CHECK(output_right());
    begin_output();
    CHECK_EQ(q_op_gemm(&ops_ctx, &x, &w, NULL, &y, NULL), Q_OK);
    memcpy(ops_buffer(REFERENCE), ops_buffer(OUT), OPS_BUFFER);
    CHECK_EQ(q_op_gemv(&ops_ctx, &x, &w, NULL, &y, NULL), Q_OK);
    CHECK(output_right());
}

/* Fast product of one row by its definition in qorus/kernels.h; x is a row of quantize_a8. */
static float fast_product(const q_tensor *w, const uint8_t *x, uint32_t row, float acc)
{
    const uint32_t k = w->ne[3];
    const uint8_t *block = ops_buffer(3) + (size_t)row * (k / 32) * q_dtype_block_bytes(w->dtype);
    for (uint32_t b = 0; b < k / 32; b++, block += q_dtype_block_bytes(w->dtype)) {
        const uint8_t *q = block + (w->dtype == Q_Q4_1 ? 4 : 2);
        uint16_t half[2];
        float scale;
        int32_t total;
        int32_t dot = 0;
        memcpy(half, block, sizeof(half));
        memcpy(&scale, x + k + 4u * b, sizeof(scale));
        memcpy(&total, x + k + k / 8 + 4u * b, sizeof(total));
        for (int32_t i = 0; i < 32; i++) {
            int32_t nibble = i < 16 ? q[i] & 15 : q[i % 16] >> 4;
            int32_t value =
                w->dtype == Q_Q8_0 ? (int8_t)q[i] : nibble - (w->dtype == Q_Q4_0 ? 8 : 0);
            dot += value * (int8_t)x[32u * b + (uint32_t)i];
        }
        acc = acc + (float)dot * (q_f32_from_f16(half[0]) * scale);
        if (w->dtype == Q_Q4_1) {
            acc = acc + (q_f32_from_f16(half[1]) * scale) * (float)total;
        }
    }
    return acc;
}

static void check_gemm_fast(uint32_t dtype, uint32_t rows, uint32_t m, uint32_t k, lie how)
{
    static Q_ALIGNED(64) uint8_t fast[2 * 40 * 640];
    const uint32_t ne[4] = {1, 2, rows, k};
    q_tensor w = weights_of(dtype, Q_PANEL16, m, k);
    q_tensor x = view(0, how, 1, 2, rows, k);
    q_tensor a8;
    q_tensor y = view(OUT, how, 1, 2, rows, m);
    q_tensor want = reference_of(&y);
    begin_output();
    fill_reals(0);
    CHECK_EQ(q_tensor_init(&a8, fast, Q_A8, Q_PLAIN, ne, NULL), Q_OK);
    CHECK(a8.nb[0] <= sizeof(fast));
    CHECK_EQ(q_op_quantize_activations(&ops_ctx, &x, &a8, NULL), Q_OK);
    for (uint32_t r = 0; r < 2 * rows; r++) {
        const float *from = row_at(&x, 0, r / rows, r % rows);
        const uint8_t *to = fast + r * a8.nb[2];
        for (uint32_t b = 0; b < k / 32; b++) {
            float amax = 0;
            for (uint32_t i = 0; i < 32; i++) {
                float v = from[32 * b + i] < 0 ? -from[32 * b + i] : from[32 * b + i];
                amax = v > amax ? v : amax;
            }
            float d = amax / 127.0f;
            CHECK(memcmp(&d, to + k + 4u * b, sizeof(d)) == 0);
            for (uint32_t i = 0; i < 32; i++) {
                float error = (float)(int8_t)to[32 * b + i] * d - from[32 * b + i];
                CHECK(error <= d * 0.501f && error >= -d * 0.501f);
            }
        }
        for (uint32_t i = 0; i < m; i++) {
            row_at(&want, 0, r / rows, r % rows)[i] = fast_product(&w, to, i, 0);
        }
    }
    CHECK_EQ(q_op_gemm(&ops_ctx, &a8, &w, NULL, &y, NULL), Q_OK);
    CHECK(output_right());
}

void ops_values_weights(void)
{
    static const uint8_t dtypes[] = {Q_F32, Q_F16, Q_BF16, Q_Q8_0, Q_Q4_0, Q_Q4_1};
    fill_reals(1);
    for (uint32_t i = 0; i < sizeof(dtypes); i++) {
        for (uint32_t layout = 0; layout < 2; layout++) {
            check_dequantize(dtypes[i], layout, 21, 96);
            check_dequantize(dtypes[i], layout, 150, 512);
            check_embedding(dtypes[i], layout, 100, 64);
        }
        check_gemm(dtypes[i], 3, 21, 64, (lie)(i % LIES));
        check_gemm(dtypes[i], 5, 64, 512, CONTIGUOUS);
        check_gemv(dtypes[i], 33, 96);
        check_gemv(dtypes[i], 200, 512);
        if (q_dtype_is_quantised(dtypes[i])) {
            check_gemm_fast(dtypes[i], 3, 21, 64, (lie)(i % LIES));
            check_gemm_fast(dtypes[i], 40, 33, 512, CONTIGUOUS);
        }
    }
}
