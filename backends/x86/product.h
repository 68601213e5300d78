/* SPDX-License-Identifier: MIT */
/*
 * product.h: products of floats, c[i][j] = start + sum over p of A[i][p] * B[p][j], whatever B is kept as: one driver
 * (product_driver.h) for matmul, gemm_grad and the exact gemm of many rows, and the slabs of B it asks for (product_slab.h).
 */
#ifndef QORUS_BACKENDS_X86_PRODUCT_H
#define QORUS_BACKENDS_X86_PRODUCT_H

#include "x86.h"

/* What B is. */
typedef struct product_b {
    const void *data;
    size_t stride;  /* plain matrices: bytes between rows */
    size_t panel;   /* panel16: bytes of a panel */
    uint32_t dtype; /* panel16: of the weights; plain: Q_DTYPE_COUNT */
    bool transposed; /* plain: B^T lies there; panel16: the panels hold rows of B, not of B^T */
    uint32_t columns; /* panels of rows of B: their columns, of which a worker may have a part */
} product_b;

typedef struct product {
    uint32_t m;
    uint32_t n;
    uint32_t k;
    const float *a;
    size_t a_row;  /* bytes from A[i][p] to A[i + 1][p] */
    size_t a_step; /* and to A[i][p + 1] */
    product_b b;
    float *c;
    size_t c_stride;
    bool accumulate;
    const q_epilogue *epilogue;
} product;

/* This worker's part, to which it narrows *x. */
void q_product_avx2(const q_work *work, product *x);
void q_product_avx512(const q_work *work, product *x);

/* y = x * W^T, exact. */
static inline product product_of_gemm(const q_work *work, const q_gemm_args *a, uint32_t dtype)
{
    product x;
    x.m = q_count_value(work->run, a->rows);
    x.n = a->m;
    x.k = a->k;
    x.a = (const float *)a->x;
    x.a_row = a->x_stride;
    x.a_step = sizeof(float);
    x.b = (product_b){a->weights, 0, (size_t)q_panel_bytes(dtype, a->k), dtype, false, 0};
    x.c = a->y;
    x.c_stride = a->y_stride;
    x.accumulate = false;
    x.epilogue = &a->epilogue;
    return x;
}

/* Plain matrices, either one transposed: a transposed A differs only in its two strides. */
static inline product product_of_matmul(const q_work *work, const q_matmul_args *a)
{
    product x;
    x.m = q_count_value(work->run, a->m);
    x.n = q_count_value(work->run, a->n);
    x.k = q_count_value(work->run, a->k);
    x.a = a->a;
    x.a_row = a->transpose_a ? sizeof(float) : a->a_stride;
    x.a_step = a->transpose_a ? a->a_stride : sizeof(float);
    x.b = (product_b){a->b, a->b_stride, 0, Q_DTYPE_COUNT, a->transpose_b != 0, 0};
    if (a->transpose_b == Q_MATMUL_PANELS) {
        x.b = (product_b){a->b, 0, a->b_stride, Q_F32, false, 0};
    }
    x.c = a->c;
    x.c_stride = a->c_stride;
    x.accumulate = a->accumulate != 0;
    x.epilogue = &a->epilogue;
    return x;
}

/* A matmul of one or two rows by panels is a gemm, which streams them; false: it is not one. */
static inline bool product_streams(const q_work *work, const q_matmul_args *a, q_gemm_args *g)
{
    uint32_t rows = q_count_value(work->run, a->m);
    uint32_t k = q_count_value(work->run, a->k);
    *g = (q_gemm_args){.rows = {rows, Q_SYM_ONE},
                       .m = q_count_value(work->run, a->n),
                       .k = k,
                       .weights = a->b,
                       .x = a->a,
                       .x_stride = a->a_stride,
                       .y = a->c,
                       .y_stride = a->c_stride,
                       .epilogue = a->epilogue};
    return rows <= 2 && a->transpose_b == Q_MATMUL_PANELS && a->transpose_a == 0 && a->accumulate == 0 &&
           a->b_stride == (size_t)q_panel_bytes(Q_F32, k);
}

/* dx (+)= dy * W; *nothing is an epilogue that lives as long as the product. */
static inline product product_of_gemm_grad(const q_work *work, const q_gemm_grad_args *a, const q_epilogue *nothing)
{
    product x;
    x.m = q_count_value(work->run, a->rows);
    x.n = a->k;
    x.k = a->m;
    x.a = a->dy;
    x.a_row = a->dy_stride;
    x.a_step = sizeof(float);
    x.b = (product_b){a->weights, 0, (size_t)q_panel_bytes(a->dtype, a->k), a->dtype, true, a->k};
    x.c = a->dx;
    x.c_stride = a->dx_stride;
    x.accumulate = a->accumulate != 0;
    x.epilogue = nothing;
    return x;
}

#endif /* QORUS_BACKENDS_X86_PRODUCT_H */
