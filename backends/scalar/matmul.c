/* SPDX-License-Identifier: MIT */
/*
 * matmul.c: c[i][j] = start + sum over p of A[i][p]*B[p][j], plain matrices, either one transposed.
 *
 * start is c[i][j] when accumulating, else the bias or 0; one fma chain per output, p ascending.
 */
#include "epilogue.h"

enum { MATMUL_COLUMNS = 16 };

static q_real matmul_b(const q_matmul_args *a, uint32_t p, uint32_t j)
{
    if (a->transpose_b == Q_MATMUL_PANELS) {
        return scalar_row(a->b, a->b_stride, j / MATMUL_COLUMNS)[(size_t)p * MATMUL_COLUMNS + j % MATMUL_COLUMNS];
    }
    return a->transpose_b ? scalar_row(a->b, a->b_stride, j)[p]
                          : scalar_row(a->b, a->b_stride, p)[j];
}

static q_real matmul_a(const q_matmul_args *a, uint32_t i, uint32_t p)
{
    return a->transpose_a ? scalar_row(a->a, a->a_stride, p)[i]
                          : scalar_row(a->a, a->a_stride, i)[p];
}

static q_real matmul_start(const q_matmul_args *a, uint32_t i, uint32_t j)
{
    if (a->accumulate) {
        return scalar_row_out(a->c, a->c_stride, i)[j];
    }
    return a->epilogue.bias != NULL ? a->epilogue.bias[j] : 0;
}

/* Columns j0 .. j0 + n - 1 of row i of c. */
static void matmul_strip(const q_matmul_args *a, uint32_t i, uint32_t j0, uint32_t n, uint32_t k)
{
    q_real acc[MATMUL_COLUMNS];
    for (uint32_t j = 0; j < n; j++) {
        acc[j] = matmul_start(a, i, j0 + j);
    }
    for (uint32_t p = 0; p < k; p++) {
        q_real x = matmul_a(a, i, p);
        for (uint32_t j = 0; j < n; j++) {
            acc[j] = q_fma(x, matmul_b(a, p, j0 + j), acc[j]);
        }
    }
    for (uint32_t j = 0; j < n; j++) {
        scalar_row_out(a->c, a->c_stride, i)[j0 + j] =
            a->accumulate ? acc[j] : scalar_epilogue(&a->epilogue, i, j0 + j, acc[j]);
    }
}

void q_matmul_scalar(const q_work *work, const q_matmul_args *a)
{
    uint32_t m = q_count_value(work->run, a->m);
    uint32_t n = q_count_value(work->run, a->n);
    uint32_t k = q_count_value(work->run, a->k);
    uint32_t begin;
    uint32_t end;
    q_share(work, m, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        for (uint32_t j = 0; j < n; j += MATMUL_COLUMNS) {
            matmul_strip(a, i, j, n - j < MATMUL_COLUMNS ? n - j : (uint32_t)MATMUL_COLUMNS, k);
        }
    }
}
