/* SPDX-License-Identifier: MIT */
/*
 * product.h: products of floats, c[i][j] = start + sum over p of A[i][p] * B[p][j], whatever B is kept as: the one
 * driver (product.c) of matmul and of the exact gemm, and the slabs of B it asks for (product_slab.c).
 */
#ifndef Q_PRODUCT_AVX512_H
#define Q_PRODUCT_AVX512_H

#include "kernels_avx512.h"

enum {
    PRODUCT_ROWS = 12,   /* rows of A in a register tile */
    PRODUCT_COLUMNS = 32, /* columns of B in it: two registers */
    PRODUCT_SLAB = 512,  /* k of a slab: 64 KiB of B */
    PRODUCT_GROUP = 96   /* rows that share a slab; multiple of the tile */
};

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

/* Rows p0 .. p0 + n - 1 of B from column j, 16 at each of at[0] and at[1], consecutive rows *step bytes apart: in place,
   or written to out [PRODUCT_SLAB][PRODUCT_COLUMNS]. Columns beyond the last are 0 or whatever follows in the panel.
   in_place: plain rows may be used where they are. */
void q_product_slab_avx512(const product *x, uint32_t j, uint32_t p0, uint32_t n, bool in_place, float *out,
                           const float *at[2], size_t *step);

/* Lines of memory that a slab is made of, one from each of b[0] and b[1] at a time, `step` bytes from the last. Tile t
   of a group fetches `n` from each, t * tile bytes on. */
typedef struct product_lines {
    const uint8_t *b[2];
    size_t step;
    size_t tile;
    uint32_t n;
} product_lines;

/* The lines of the slab of n rows p0 .. by the columns from j, for a group of `tiles` tiles. */
product_lines q_product_lines_avx512(const product *x, uint32_t j, uint32_t p0, uint32_t n, uint32_t tiles);

/* This worker's part of a product of `rows` rows. */
void q_product_avx512(const q_work *work, const product *x, uint32_t rows);

/* Column i of the group of 4 whose bytes are in q: 16 rows, sign-extended, as f32. */
X86_INLINE __m512 product_signed_column(__m512i q, const uint32_t i)
{
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(q, 24u - 8u * i), 24));
}

/* The same of nibbles already shifted to the low half of each byte. */
X86_INLINE __m512 product_nibble_column(__m512i q, const uint32_t i)
{
    return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(q, 8u * i), _mm512_set1_epi32(15)));
}

#endif /* Q_PRODUCT_AVX512_H */
