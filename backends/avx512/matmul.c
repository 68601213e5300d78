/* SPDX-License-Identifier: MIT */
/*
 * matmul.c: c[i][j] = start + sum over p of A[i][p]*B[p][j], plain matrices, either one transposed: product.c with
 * the strides of each. A transposed A differs only in its two strides.
 */
#include "product.h"

void q_matmul_avx512(const q_work *work, const q_matmul_args *a)
{
    product x;
    uint32_t m = q_count_value(work->run, a->m);
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
    q_product_avx512(work, &x, m);
}
