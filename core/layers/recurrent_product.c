/* SPDX-License-Identifier: MIT */
/* Products by W_hh and the panels they read. */
#include "recurrent_product.h"

enum { PANEL = RECURRENT_PANEL };

static size_t panel_reals(uint32_t k)
{
    return (size_t)k * PANEL;
}

q_matmul_args q_recurrent_product(const recurrent_pass *pass, uint32_t first, uint32_t n, uint32_t k)
{
    q_matmul_args x;
    memset(&x, 0, sizeof(x));
    x.n.n = n;
    x.k.n = k;
    x.b = pass->m.panels + panel_reals(k) * first;
    x.b_stride = panel_reals(k) * sizeof(q_real);
    x.transpose_b = Q_MATMUL_PANELS;
    return x;
}

/* One whole panel of b[p][l] = w[l*row + p*column]; one of the two steps is 1. */
static void pack_panel(const q_real *Q_RESTRICT w, size_t row, size_t column, uint32_t k, q_real *Q_RESTRICT to)
{
    for (uint32_t p = 0; p < k && row == 1; p++) {
        for (uint32_t l = 0; l < PANEL; l++) {
            to[(size_t)p * PANEL + l] = w[p * column + l];
        }
    }
    for (uint32_t l = 0; l < PANEL && row != 1; l += 4) { /* four rows side by side: one store */
        const q_real *from[4] = {w + l * row, w + (l + 1) * row, w + (l + 2) * row, w + (l + 3) * row};
        q_real *four = to + l;
        for (uint32_t p = 0; p < k; p++, four += PANEL) {
            four[0] = from[0][p];
            four[1] = from[1][p];
            four[2] = from[2][p];
            four[3] = from[3][p];
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

/* Of every block this worker's panels: those it reads where units are shared. */
static void recurrent_pack(const recurrent_pass *pass, uint32_t blocks, size_t row, size_t column, uint32_t k)
{
    const uint32_t n = pass->use.dim;
    const uint32_t each = recurrent_panels(n);
    uint32_t begin;
    uint32_t end;
    q_share(pass->work, each, &begin, &end);
    for (uint32_t i = 0; i < blocks * (end - begin); i++) {
        uint32_t block = i / (end - begin);
        uint32_t panel = begin + i % (end - begin);
        uint32_t lanes = n - panel * PANEL < PANEL ? n - panel * PANEL : (uint32_t)PANEL;
        const q_real *w = q_reals(pass->layer->param[1]) + row * ((size_t)block * n + (size_t)panel * PANEL);
        q_real *to = pass->m.panels + panel_reals(k) * (block * each + panel);
        if (lanes == PANEL) {
            pack_panel(w, row, column, k, to);
        } else {
            pack_part(w, row, column, lanes, k, to);
        }
    }
}

void q_recurrent_pack_columns(const recurrent_pass *pass)
{
    recurrent_pack(pass, pass->use.kind->blocks, pass->use.dim, 1, pass->use.dim);
}

void q_recurrent_pack_rows(const recurrent_pass *pass)
{
    recurrent_pack(pass, 1, 1, pass->use.dim, pass->use.kind->blocks * pass->use.dim);
}
