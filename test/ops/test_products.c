/* SPDX-License-Identifier: MIT */
/*
 * test_products.c: products of matrices and what reads weights, against loops over elements.
 * Results are compared with all bytes around them: nothing else may be written.
 */
#include <string.h>

#include "values.h"
#include "qorus/base/fma.h"
#include "qorus/base/half.h"
#include "qorus/base/panel.h"
#include "qorus/quantize.h"

/* ---- Products of plain matrices -------------------------------------------------------------- */

static float element(const q_tensor *t, uint32_t b, uint32_t h, uint32_t r, uint32_t c)
{
    return values_row(t, b, h, r)[c];
}

static void check_matmul(const q_tensor *a, const q_tensor *b, q_tensor *c, uint32_t flags)
{
    q_tensor want = values_reference(c);
    uint32_t k = (flags & Q_OP_TRANSPOSE_A) != 0 ? a->ne[2] : a->ne[3];
    values_begin();
    for (uint32_t i = 0; i < c->ne[0] * c->ne[1] * c->ne[2] * c->ne[3]; i++) {
        uint32_t n = i % c->ne[3];
        uint32_t m = i / c->ne[3] % c->ne[2];
        uint32_t h = i / c->ne[3] / c->ne[2] % c->ne[1];
        uint32_t s = i / c->ne[3] / c->ne[2] / c->ne[1];
        float *to = &values_row(&want, s, h, m)[n];
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
    CHECK(values_right());
}

static void check_matmul_of(uint32_t m, uint32_t n, uint32_t k, uint32_t flags, lie how,
                            uint32_t shared)
{
    const bool ta = (flags & Q_OP_TRANSPOSE_A) != 0;
    const bool tb = (flags & Q_OP_TRANSPOSE_B) != 0;
    q_tensor a = values_view(0, how, (shared & 1) != 0 ? 1 : 2, 3, ta ? k : m, ta ? m : k);
    q_tensor b = values_view(1, how, 2, (shared & 2) != 0 ? 1 : 3, tb ? n : k, tb ? k : n);
    q_tensor c = values_view(OUT, (lie)((how + 1) % LIES), 2, 3, m, n);
    b.ne[0] = (shared & 2) != 0 ? 1 : 2;
    check_matmul(&a, &b, &c, flags);
}

/* The values of the output are random: accumulating starts from finite numbers. */
void ops_values_products(void)
{
    q_tensor a = values_view(0, CONTIGUOUS, 1, 1, 33, 65);
    q_tensor b = values_view(1, CONTIGUOUS, 1, 1, 65, 70);
    q_tensor c = values_view(OUT, ROWS_APART, 1, 1, 33, 70);
    values_fill(0);
    values_fill(1);
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
    q_tensor out = values_view(OUT, ROWS_APART, 1, 1, rows, k);
    q_tensor want = values_reference(&out);
    uint8_t *plain = ops_buffer(layout == Q_PLAIN ? 2 : 3);
    float *real = (float *)(void *)ops_buffer(0);
    values_begin();
    CHECK_EQ(q_dequantize(dtype, plain, rows, k, real, NULL), Q_OK);
    for (uint32_t r = 0; r < rows; r++) {
        memcpy(values_row(&want, 0, 0, r), real + (size_t)r * k, k * sizeof(float));
    }
    CHECK_EQ(q_op_dequantize(&ops_ctx, &w, &out, NULL), Q_OK);
    CHECK(values_right());
}

static void check_embedding(uint32_t dtype, uint32_t layout, uint32_t rows, uint32_t k)
{
    static int32_t ids[150];
    const uint32_t id_shape[4] = {1, 1, 3, 50};
    q_tensor w = weights_of(dtype, layout, rows, k);
    q_tensor id;
    q_tensor out = values_view(OUT, CONTIGUOUS, 3, 5, 10, k);
    q_tensor want = values_reference(&out);
    const float *real = (const float *)(const void *)ops_buffer(0);
    for (uint32_t i = 0; i < 150; i++) {
        ids[i] = (int32_t)(ops_random() % rows);
    }
    ids[149] = (int32_t)rows - 1;
    values_begin();
    CHECK_EQ(q_dequantize(dtype, ops_buffer(layout == Q_PLAIN ? 2 : 3), rows, k,
                          (float *)(void *)ops_buffer(0), NULL),
             Q_OK);
    for (uint32_t i = 0; i < 150; i++) {
        float *to = values_row(&want, i / 50, i / 10 % 5, i % 10);
        for (uint32_t c = 0; c < k; c++) {
            to[c] = real[(size_t)ids[i] * k + c] * 3.5f;
        }
    }
    CHECK_EQ(q_tensor_init(&id, ids, Q_I32, Q_PLAIN, id_shape, NULL), Q_OK);
    CHECK_EQ(q_op_embedding(&ops_ctx, &w, &id, 3.5f, &out, NULL), Q_OK);
    CHECK(values_right());
}

/* Exact product by the dequantised weights, one chain of fma from the bias. */
static void check_gemm(uint32_t dtype, uint32_t rows, uint32_t m, uint32_t k, lie how)
{
    q_tensor w = weights_of(dtype, Q_PANEL16, m, k);
    q_tensor x = values_view(0, how, 1, 2, rows, k);
    q_tensor bias = values_view(1, CONTIGUOUS, 1, 1, 1, m);
    q_tensor y = values_view(OUT, (lie)((how + 2) % LIES), 1, 2, rows, m);
    q_tensor want = values_reference(&y);
    static float real[64 * 512];
    values_begin();
    values_fill(0);
    CHECK((size_t)m * k <= sizeof(real) / sizeof(real[0]));
    CHECK_EQ(q_dequantize(dtype, ops_buffer(3), m, k, real, NULL), Q_OK);
    for (uint32_t i = 0; i < 2 * rows * m; i++) {
        const float *from = values_row(&x, 0, i / m / rows, i / m % rows);
        float acc = ((const float *)bias.data)[i % m];
        for (uint32_t p = 0; p < k; p++) {
            acc = q_fma(from[p], real[(size_t)(i % m) * k + p], acc);
        }
        values_row(&want, 0, i / m / rows, i / m % rows)[i % m] = acc;
    }
    CHECK_EQ(q_op_gemm(&ops_ctx, &x, &w, &bias, &y, NULL), Q_OK);
    CHECK(values_right());
}

static void check_gemv(uint32_t dtype, uint32_t m, uint32_t k)
{
    q_tensor w = weights_of(dtype, Q_PANEL16, m, k);
    q_tensor x = values_view(0, CONTIGUOUS, 1, 1, 1, k);
    q_tensor y = values_view(OUT, CONTIGUOUS, 1, 1, 1, m);
    q_tensor want = values_reference(&y);
    values_begin();
    CHECK_EQ(q_op_gemv(&ops_ctx, &x, &w, NULL, &y, NULL), Q_OK);
    memcpy(want.data, y.data, m * sizeof(float));
    CHECK(values_right());
    values_begin();
    CHECK_EQ(q_op_gemm(&ops_ctx, &x, &w, NULL, &y, NULL), Q_OK);
    memcpy(ops_buffer(REFERENCE), ops_buffer(OUT), OPS_BUFFER);
    CHECK_EQ(q_op_gemv(&ops_ctx, &x, &w, NULL, &y, NULL), Q_OK);
    CHECK(values_right());
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
    q_tensor x = values_view(0, how, 1, 2, rows, k);
    q_tensor a8;
    q_tensor y = values_view(OUT, how, 1, 2, rows, m);
    q_tensor want = values_reference(&y);
    values_begin();
    values_fill(0);
    CHECK_EQ(q_tensor_init(&a8, fast, Q_A8, Q_PLAIN, ne, NULL), Q_OK);
    CHECK(a8.nb[0] <= sizeof(fast));
    CHECK_EQ(q_op_quantize_activations(&ops_ctx, &x, &a8, NULL), Q_OK);
    for (uint32_t r = 0; r < 2 * rows; r++) {
        const float *from = values_row(&x, 0, r / rows, r % rows);
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
            values_row(&want, 0, r / rows, r % rows)[i] = fast_product(&w, to, i, 0);
        }
    }
    CHECK_EQ(q_op_gemm(&ops_ctx, &a8, &w, NULL, &y, NULL), Q_OK);
    CHECK(values_right());
}

void ops_values_weights(void)
{
    static const uint8_t dtypes[] = {Q_F32, Q_F16, Q_BF16, Q_Q8_0, Q_Q4_0, Q_Q4_1};
    values_fill(1);
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
