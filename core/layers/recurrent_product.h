/* SPDX-License-Identifier: MIT */
/*
 * recurrent_product.h: products of the rows of a time step by W_hh [G*H, H]; private to core/layers.
 *
 * Every time step reads all of W_hh, so that a pass lays it out once as matmul reads it best: panels of 16 columns of
 * the second factor, [panels][k][16].
 */
#ifndef QORUS_CORE_LAYERS_RECURRENT_PRODUCT_H
#define QORUS_CORE_LAYERS_RECURRENT_PRODUCT_H

#include "recurrent.h"

/* A product by n columns of the panels from `first` on, but for its rows and results. */
q_matmul_args q_recurrent_product(const recurrent_pass *pass, uint32_t first, uint32_t n, uint32_t k);

/* For forward: column j of block g is row g*H + j of W_hh; every block begins a panel. Shared among all workers. */
void q_recurrent_pack_columns(const recurrent_pass *pass);
/* For backward: W_hh as it is, k = G*H. Shared among all workers. */
void q_recurrent_pack_rows(const recurrent_pass *pass);

#endif /* QORUS_CORE_LAYERS_RECURRENT_PRODUCT_H */
