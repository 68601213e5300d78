/* SPDX-License-Identifier: MIT */
/*
 * product.c: matmul, gemm_grad and, for gemm.c, the exact products of many rows: x86/product_driver.h in this folder's
 * registers.
 *
 * Peak needs 2 FMAs a cycle, each waiting 4 to 5 cycles for its accumulator: 12 accumulators keep both units busy and
 * leave 4 registers for two columns of B and the broadcast. A slab is 16 KiB, so that it and a tile of A share the first
 * cache.
 */
#include "kernels_avx2.h"

enum {
    PRODUCT_ROWS = 6, /* of A in a register tile */
    PRODUCT_MORE = 4,
    PRODUCT_LESS = 2,
    PRODUCT_SLAB = 256, /* rows of B */
    PRODUCT_GROUP = 96, /* rows of A that share a slab; multiple of the tile */
    PRODUCT_REST = 128  /* columns of chains in the workspace */
};

#include "../x86/product_driver.h"

Q_STATIC_ASSERT(sizeof(product_space) <= Q_AVX2_WORKSPACE, "slab, chains and rows fit the workspace");

void q_product_avx2(const q_work *work, product *x)
{
    product_all(work, x);
}

/* Apart from q_matmul_avx2, whose stack the deepest calls of the library share. */
static X86_NOINLINE void product_matmul(const q_work *work, const q_matmul_args *a)
{
    product x = product_of_matmul(work, a);
    product_all(work, &x);
}

void q_matmul_avx2(const q_work *work, const q_matmul_args *a)
{
    q_gemm_args few;
    if (product_streams(work, a, &few)) {
        q_gemm_f32_avx2(work, &few);
    } else {
        product_matmul(work, a);
    }
}

void q_gemm_grad_avx2(const q_work *work, const q_gemm_grad_args *a)
{
    const q_epilogue nothing = {NULL, NULL, NULL, NULL, NULL, 0, 0, Q_ACT_NONE, 0};
    product x = product_of_gemm_grad(work, a, &nothing);
    product_all(work, &x);
}
