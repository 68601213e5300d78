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

void q_recurrent_pack_columns(const q_work *work, const q_real *w, uint32_t n, uint32_t k, q_real *panels)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, (n + PANEL - 1) / PANEL, &begin, &end);
    for (uint32_t b = begin; b < end; b++) {
        q_real *to = panels + panel_reals(k) * b;
        uint32_t lanes = n - b * PANEL < PANEL ? n - b * PANEL : (uint32_t)PANEL;
        if (lanes < PANEL) {
            memset(to, 0, panel_reals(k) * sizeof(q_real));
        }
        for (uint32_t l = 0; l < lanes; l++) {
            const q_real *from = w + (size_t)(b * PANEL + l) * k;
            for (uint32_t p = 0; p < k; p++) {
                to[(size_t)p * PANEL + l] = from[p];
            }
        }
    }
}

void q_recurrent_pack_rows(const q_work *work, const q_real *w, uint32_t n, uint32_t k, q_real *panels)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, (n + PANEL - 1) / PANEL, &begin, &end);
    for (uint32_t b = begin; b < end; b++) {
        q_real *to = panels + panel_reals(k) * b;
        uint32_t lanes = n - b * PANEL < PANEL ? n - b * PANEL : (uint32_t)PANEL;
        for (uint32_t p = 0; p < k; p++) {
            memcpy(to + (size_t)p * PANEL, w + (size_t)p * n + b * PANEL, lanes * sizeof(q_real));
            memset(to + (size_t)p * PANEL + lanes, 0, (PANEL - lanes) * sizeof(q_real));
        }
    }
}
