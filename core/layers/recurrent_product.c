/* SPDX-License-Identifier: MIT */
/* Products by W_hh and the panels they read. */
#include "recurrent_product.h"

enum { PANEL = 16 };

static size_t panel_reals(uint32_t k)
{
    return (size_t)k * PANEL;
}

void q_recurrent_multiply(const recurrent_product *product, const q_work *alone, uint32_t rows, const q_real *a,
                          size_t a_stride, q_real *c, const q_real *bias, bool accumulate)
{
    const q_tensor *w = product->layer->param[1];
    q_matmul_args x;
    memset(&x, 0, sizeof(x));
    x.m.n = rows;
    x.n.n = product->n;
    x.k.n = product->k;
    x.a = a;
    x.a_stride = a_stride;
    x.b = q_reals(w);
    x.b_stride = w->nb[2];
    x.transpose_b = 1;
    if (product->factor == RECURRENT_PANELS) {
        x.b = product->panels;
        x.b_stride = panel_reals(product->k) * sizeof(q_real);
        x.transpose_b = Q_MATMUL_PANELS;
    }
    x.c = c;
    x.c_stride = recurrent_stride(product->n);
    x.accumulate = accumulate;
    x.epilogue.bias = bias;
    product->layer->kernels->matmul(alone, &x);
}

/* One whole panel of b[p][l] = w[l*row + p*column]; one of the two steps is 1. */
static void pack_panel(const q_real *Q_RESTRICT w, size_t row, size_t column, uint32_t k, q_real *Q_RESTRICT to)
{
    for (uint32_t p = 0; p < k && row == 1; p++) {
        for (uint32_t l = 0; l < PANEL; l++) {
            to[(size_t)p * PANEL + l] = w[p * column + l];
        }
    }
    for (uint32_t l = 0; l < PANEL && row != 1; l++) {
        for (uint32_t p = 0; p < k; p++) {
            to[(size_t)p * PANEL + l] = w[l * row + p];
        }
    }
}

static void pack_part(const q_real *w, size_t row, size_t column, uint32_t lanes, uint32_t k, q_real *to)
{
    memset(to, 0, panel_reals(k) * sizeof(q_real));
    for (uint32_t p = 0; p < k; p++) {
        for (uint32_t l = 0; l < lanes; l++) {
            to[(size_t)p * PANEL + l] = w[l * row + p * column];
        }
    }
}

static void recurrent_pack(const q_work *work, const q_real *w, size_t row, size_t column, uint32_t n, uint32_t k, q_real *panels)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, (n + PANEL - 1) / PANEL, &begin, &end);
    for (uint32_t b = begin; b < end; b++) {
        uint32_t lanes = n - b * PANEL < PANEL ? n - b * PANEL : (uint32_t)PANEL;
        if (lanes == PANEL) {
            pack_panel(w + row * b * PANEL, row, column, k, panels + panel_reals(k) * b);
        } else {
            pack_part(w + row * b * PANEL, row, column, lanes, k, panels + panel_reals(k) * b);
        }
    }
}

void q_recurrent_pack_columns(const q_work *work, const q_real *w, uint32_t n, uint32_t k, q_real *panels)
{
    recurrent_pack(work, w, k, 1, n, k, panels);
}

void q_recurrent_pack_rows(const q_work *work, const q_real *w, uint32_t n, uint32_t k, q_real *panels)
{
    recurrent_pack(work, w, 1, n, n, k, panels);
}
