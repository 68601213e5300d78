/* SPDX-License-Identifier: MIT */
/*
 * gemm.c: exact products y[r][m] = sum over k of x[r][k] * w[m][k], weights in panels made real on the fly: many rows
 * by product.c, few by gemm_stream.c.
 */
#include "gemm.h"

#include "product.h"

static void gemm_exact_avx512(const q_work *work, const q_gemm_args *a, uint32_t dtype)
{
    product x;
    avx512_part part =
        avx512_share(work, q_count_value(work->run, a->rows), q_ceil_div_u32(a->m, Q_PANEL_ROWS));
    if (part.row1 - part.row0 < GEMM_FEW_ROWS) {
        q_gemm_stream_avx512(a, dtype, part);
        return;
    }
    x.n = a->m;
    x.k = a->k;
    x.a = (const float *)a->x;
    x.a_row = a->x_stride;
    x.a_step = sizeof(float);
    x.b = (product_b){a->weights, 0, (size_t)q_panel_bytes(dtype, a->k), dtype, false};
    x.c = a->y;
    x.c_stride = a->y_stride;
    x.accumulate = false;
    x.epilogue = &a->epilogue;
    q_product_avx512(work, &x, part);
}

void q_gemm_f32_avx512(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx512(work, a, Q_F32);
}

void q_gemm_f16_avx512(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx512(work, a, Q_F16);
}

void q_gemm_bf16_avx512(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx512(work, a, Q_BF16);
}

void q_gemm_q8_0_avx512(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx512(work, a, Q_Q8_0);
}

void q_gemm_q4_0_avx512(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx512(work, a, Q_Q4_0);
}

void q_gemm_q4_1_avx512(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx512(work, a, Q_Q4_1);
}
