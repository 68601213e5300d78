/* SPDX-License-Identifier: MIT */
/*
 * product.c: matmul, gemm_grad and, for gemm.c, the exact products of many rows: x86/product_driver.h in this folder's
 * registers.
 *
 * Peak needs 2 FMAs a cycle, each waiting 4 cycles for its accumulator; 24 accumulators leave 8 registers, and a step of 24
 * FMAs (12 cycles) loads 14 values (7 cycles). Of what is left of the rows 16 go as two of 8; 8 accumulators, of 4 rows, only
 * just cover the wait. A slab is 64 KiB: 24 KiB of a tile of A stay in the first cache while it streams from the second.
 */
#include "kernels_avx512.h"

enum {
    PRODUCT_ROWS = 12, /* of A in a register tile */
    PRODUCT_MORE = 8,
    PRODUCT_LESS = 4,
    PRODUCT_SLAB = 512, /* rows of B */
    PRODUCT_GROUP = 96, /* rows of A that share a slab; multiple of the tile */
    PRODUCT_REST = 256  /* columns of chains in the workspace */
};

#include "../x86/product_driver.h"

Q_STATIC_ASSERT(sizeof(product_space) <= Q_AVX512_WORKSPACE, "slab, chains and rows fit the workspace");

void q_product_avx512(const q_work *work, product *x)
{
    product_all(work, x);
}

/* Apart from q_matmul_avx512, whose stack the deepest calls of the library share. */
static X86_NOINLINE void product_matmul(const q_work *work, const q_matmul_args *a)
{
    product x = product_of_matmul(work, a);
    product_all(work, &x);
}

void q_matmul_avx512(const q_work *work, const q_matmul_args *a)
{
    q_gemm_args few;
    if (product_streams(work, a, &few)) {
        q_gemm_f32_avx512(work, &few);
    } else {
        product_matmul(work, a);
    }
}

void q_gemm_grad_avx512(const q_work *work, const q_gemm_grad_args *a)
{
    const q_epilogue nothing = {NULL, NULL, NULL, NULL, NULL, 0, 0, Q_ACT_NONE, 0};
    product x = product_of_gemm_grad(work, a, &nothing);
    product_all(work, &x);
}
