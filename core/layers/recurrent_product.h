/* SPDX-License-Identifier: MIT */
/*
 * recurrent_product.h: products of the rows of a time step by W_hh [G*H, H]; private to core/layers.
 *
 * Every time step reads all of W_hh, so that a pass lays it out once as matmul reads it best: panels of 16 columns of
 * the second factor, [ceil(n/16)][k][16].
 */
#ifndef QORUS_CORE_LAYERS_RECURRENT_PRODUCT_H
#define QORUS_CORE_LAYERS_RECURRENT_PRODUCT_H

#include "recurrent.h"

/* Where the second factor is. */
typedef enum recurrent_factor {
    RECURRENT_COLUMNS = 0, /* W_hh of the layer, its rows as columns */
    RECURRENT_PANELS = 1
} recurrent_factor;

typedef struct recurrent_product {
    const q_layer *layer;
    const q_real *panels;
    uint32_t n; /* columns of the result */
    uint32_t k;
    uint32_t factor; /* recurrent_factor */
} recurrent_product;

/* c[i][j] = (accumulate ? c[i][j] : bias[j] or 0) + sum over p of a[i][p]*b[p][j], one chain, p ascending; the rows of c lie
   recurrent_stride(n) apart. By one worker. */
void q_recurrent_multiply(const recurrent_product *product, const q_work *alone, uint32_t rows, const q_real *a,
                          size_t a_stride, q_real *c, const q_real *bias, bool accumulate);

/* b[p][j] = w[j][p], w [n, k]: for forward. Shared among all workers. */
void q_recurrent_pack_columns(const q_work *work, const q_real *w, uint32_t n, uint32_t k, q_real *panels);
/* b[p][j] = w[p][j], w [k, n]: for backward. */
void q_recurrent_pack_rows(const q_work *work, const q_real *w, uint32_t n, uint32_t k, q_real *panels);

#endif /* QORUS_CORE_LAYERS_RECURRENT_PRODUCT_H */
