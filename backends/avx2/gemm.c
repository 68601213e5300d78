/* SPDX-License-Identifier: MIT */
/*
 * gemm.c: exact products y[r][m] = sum over k of x[r][k] * w[m][k], weights in panels made real on the fly: many rows by
 * product.c, few by gemm_stream.c.
 */
#include "gemm.h"

#include "../x86/product.h"

static void gemm_exact_avx2(const q_work *work, const q_gemm_args *a, uint32_t dtype)
{
    x86_part part = x86_share(work, q_count_value(work->run, a->rows), q_ceil_div_u32(a->m, Q_PANEL_ROWS));
    if (part.row1 - part.row0 < GEMM_FEW_ROWS) {
        q_gemm_stream_avx2(a, dtype, part);
        return;
    }
    product x = product_of_gemm(work, a, dtype);
    q_product_avx2(work, &x);
}

void q_gemm_f32_avx2(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx2(work, a, Q_F32);
}

void q_gemm_f16_avx2(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx2(work, a, Q_F16);
}

void q_gemm_bf16_avx2(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx2(work, a, Q_BF16);
}

void q_gemm_q8_0_avx2(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx2(work, a, Q_Q8_0);
}

void q_gemm_q4_0_avx2(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx2(work, a, Q_Q4_0);
}

void q_gemm_q4_1_avx2(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx2(work, a, Q_Q4_1);
}
