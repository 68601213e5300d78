/* SPDX-License-Identifier: MIT */
/*
 * gemm_grad.c: dx[r][k] = start + sum over m of dy[r][m] * real(w[m][k]): product.c, its slabs made of the weights'
 * panels, 16 rows by 16 columns at a time.
 */
#include "product.h"

void q_gemm_grad_avx512(const q_work *work, const q_gemm_grad_args *a)
{
    const q_epilogue nothing = {NULL, NULL, NULL, NULL, NULL, 0, 0, Q_ACT_NONE, 0};
    product x;
    x.n = a->k;
    x.k = a->m;
    x.a = a->dy;
    x.a_row = a->dy_stride;
    x.a_step = sizeof(float);
    x.b = (product_b){a->weights, 0, (size_t)q_panel_bytes(a->dtype, a->k), a->dtype, true, a->k};
    x.c = a->dx;
    x.c_stride = a->dx_stride;
    x.accumulate = a->accumulate != 0;
    x.epilogue = &nothing;
    q_product_avx512(work, &x, q_count_value(work->run, a->rows));
}
