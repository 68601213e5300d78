/* SPDX-License-Identifier: MIT */
/*
 * product_slab.h: slabs of B for products of floats, [k][PRODUCT_COLUMNS]: plain rows copied, transposed ones turned, panels
 * of weights made real. Q8_0: d*q, Q4_0: d*(q-8), both exact; Q4_1: d*q, exact, + m, rounded once.
 *
 * A panel's row is 16 / VEC registers; a slab's is two.
 */
#ifndef QORUS_BACKENDS_X86_PRODUCT_SLAB_H
#define QORUS_BACKENDS_X86_PRODUCT_SLAB_H

#include "product.h"

/* -- panels of weights --------------------------------------------------------------------------- */

X86_INLINE void slab_floats(const uint32_t dtype, const uint16_t *w, uint32_t n, float *out)
{
    for (uint32_t p = 0; p < n; p++) {
        const uint16_t *row = w + (size_t)p * Q_PANEL_ROWS;
        X86_UNROLL
        for (uint32_t l = 0; l < Q_PANEL_ROWS; l += VEC) {
            vec_store(out + p * PRODUCT_COLUMNS + l, dtype == Q_F16 ? vec_load_f16(row + l) : vec_load_bf16(row + l));
        }
    }
}

/* Scales and minima of VEC rows of a block: d*(q - zero) + m; adding m = -0 changes no bits of Q4_0. */
typedef struct slab_scale {
    vec d;
    vec zero;
    vec m;
} slab_scale;

X86_INLINE slab_scale slab_scales(const uint32_t dtype, const uint8_t *panel, uint32_t k, uint32_t block, uint32_t l)
{
    const uint16_t *d = (const uint16_t *)(const void *)panel + (size_t)block * Q_PANEL_ROWS + l;
    slab_scale s;
    s.d = vec_load_f16(d);
    s.zero = vec_set(dtype == Q_Q4_0 ? 8.0f : 0.0f);
    s.m = dtype == Q_Q4_1 ? vec_load_f16(d + (size_t)(k / Q_BLOCK) * Q_PANEL_ROWS) : vec_set(-0.0f);
    return s;
}

/* Column i of the group of 4 whose bytes are in q. */
X86_INLINE vec slab_weight(const uint32_t dtype, veci q, const uint32_t i, slab_scale s)
{
    if (dtype == Q_Q8_0) {
        return vec_mul(s.d, veci_signed_column(q, i));
    }
    return vec_add(vec_mul(s.d, vec_sub(veci_nibble_column(q, i), s.zero)), s.m);
}

X86_INLINE void slab_group(const uint32_t dtype, veci q, slab_scale s, float *out)
{
    X86_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        vec_store(out + i * PRODUCT_COLUMNS, slab_weight(dtype, q, i, s));
    }
}

/* Columns p0 .. p0 + n - 1 of a quantised panel of k; p0 and n are multiples of 32. */
X86_INLINE void slab_quantised(const uint32_t dtype, const uint8_t *panel, uint32_t k, uint32_t p0, uint32_t n, float *out)
{
    const uint8_t *quants = panel + (size_t)q_panel_scale_bytes(dtype, k);
    for (uint32_t b = p0 / Q_BLOCK; b < (p0 + n) / Q_BLOCK; b++, out += Q_BLOCK * PRODUCT_COLUMNS) {
        for (uint32_t l = 0; l < Q_PANEL_ROWS; l += VEC) {
            slab_scale s = slab_scales(dtype, panel, k, b, l);
            if (dtype == Q_Q8_0) {
                for (uint32_t g = 0; g < 8; g++) {
                    slab_group(dtype, veci_load(quants + (size_t)b * 512u + g * 64u + l * 4u), s,
                               out + g * 4u * PRODUCT_COLUMNS + l);
                }
                continue;
            }
            for (uint32_t g = 0; g < 4; g++) {
                veci q = veci_load(quants + (size_t)b * 256u + g * 64u + l * 4u);
                slab_group(dtype, q, s, out + g * 4u * PRODUCT_COLUMNS + l);
                slab_group(dtype, veci_high_nibbles(q), s, out + (g + 4u) * 4u * PRODUCT_COLUMNS + l);
            }
        }
    }
}

/* 16 columns of the slab. */
static void slab_panel(uint32_t dtype, const uint8_t *panel, uint32_t k, uint32_t p0, uint32_t n, float *out)
{
    const uint16_t *halves = (const uint16_t *)(const void *)panel + (size_t)p0 * Q_PANEL_ROWS;
    switch (dtype) {
    case Q_F16:
        slab_floats(Q_F16, halves, n, out);
        break;
    case Q_BF16:
        slab_floats(Q_BF16, halves, n, out);
        break;
    case Q_Q8_0:
        slab_quantised(Q_Q8_0, panel, k, p0, n, out);
        break;
    case Q_Q4_0:
        slab_quantised(Q_Q4_0, panel, k, p0, n, out);
        break;
    default:
        slab_quantised(Q_Q4_1, panel, k, p0, n, out);
        break;
    }
}

/* -- plain matrices ------------------------------------------------------------------------------ */

/* Of VEC columns from j, how many there are. */
static inline uint32_t slab_lanes(const product *x, uint32_t j)
{
    return j >= x->n ? 0 : x->n - j < VEC ? x->n - j : (uint32_t)VEC;
}

static void slab_copy(const product *x, uint32_t j, uint32_t p0, uint32_t n, float *out)
{
    const float *b = x86_row((const float *)x->b.data, x->b.stride, p0) + j;
    uint32_t low = slab_lanes(x, j);
    uint32_t high = slab_lanes(x, j + VEC);
    uint32_t p = 0;
    for (; p < n && high == VEC; p++, b = x86_row(b, x->b.stride, 1), out += PRODUCT_COLUMNS) {
        vec v = vec_load(b);
        vec_store(out + VEC, vec_load(b + VEC));
        vec_store(out, v);
    }
    for (; p < n; p++, b = x86_row(b, x->b.stride, 1), out += PRODUCT_COLUMNS) {
        vec_store(out, vec_load_n(b, low));
        vec_store(out + VEC, high != 0 ? vec_load_n(b + VEC, high) : vec_zero());
    }
}

/* The first n of VEC registers, each a row of the slab. Every index is known when this is compiled: they stay registers. */
X86_INLINE void slab_store(const vec v[VEC], uint32_t n, float *out)
{
    X86_UNROLL
    for (uint32_t l = 0; l < VEC; l++) {
        if (l < n) {
            vec_store(out + l * PRODUCT_COLUMNS, v[l]);
        }
    }
}

/* VEC columns of B from j, which are rows where it lies; those beyond the last become 0. */
static void slab_transpose(const product *x, uint32_t j, uint32_t p0, uint32_t n, float *out)
{
    for (uint32_t p = 0; p < n; p += VEC) {
        vec v[VEC];
        X86_UNROLL
        for (uint32_t l = 0; l < VEC; l++) {
            v[l] = j + l < x->n ? vec_load_n(x86_row((const float *)x->b.data, x->b.stride, j + l) + p0 + p, n - p)
                                : vec_zero();
        }
        vec_turn(v);
        slab_store(v, n - p, out + p * PRODUCT_COLUMNS);
    }
}

/* -- panels across ------------------------------------------------------------------------------- */

/* VEC columns from c, a multiple of VEC, of rows l .. of a quantised panel of k: v[i] = column c + i. */
X86_INLINE void slab_quantised_columns(const uint32_t dtype, const uint8_t *panel, uint32_t k, uint32_t c, uint32_t l,
                                       vec v[VEC])
{
    const uint8_t *quants = panel + (size_t)q_panel_scale_bytes(dtype, k) + l * 4u;
    slab_scale s = slab_scales(dtype, panel, k, c / Q_BLOCK, l);
    quants += dtype == Q_Q8_0 ? (size_t)c * Q_PANEL_ROWS : (size_t)(c / Q_BLOCK) * 256u + c % 16u * Q_PANEL_ROWS;
    X86_UNROLL
    for (uint32_t g = 0; g < VEC / 4; g++) {
        veci q = veci_load(quants + g * 64u);
        q = dtype != Q_Q8_0 && c % Q_BLOCK >= 16u ? veci_high_nibbles(q) : q;
        X86_UNROLL
        for (uint32_t i = 0; i < 4; i++) {
            v[g * 4u + i] = slab_weight(dtype, q, i, s);
        }
    }
}

/* The same of a panel of floats; columns beyond k are 0. */
X86_INLINE void slab_float_columns(const uint32_t dtype, const uint8_t *panel, uint32_t k, uint32_t c, uint32_t l,
                                   vec v[VEC])
{
    const uint16_t *halves = (const uint16_t *)(const void *)panel;
    X86_UNROLL
    for (uint32_t i = 0; i < VEC; i++) {
        size_t at = (size_t)(c + i) * Q_PANEL_ROWS + l;
        v[i] = c + i >= k         ? vec_zero()
               : dtype == Q_F32   ? vec_load((const float *)(const void *)panel + at)
               : dtype == Q_F16   ? vec_load_f16(halves + at)
                                  : vec_load_bf16(halves + at);
    }
}

/* VEC columns from j of rows p0 .. p0 + n - 1 of a matrix that lies in panels of 16 rows. */
X86_INLINE void slab_across_of(const uint32_t dtype, const product *x, uint32_t j, uint32_t p0, uint32_t n, float *out)
{
    for (uint32_t p = 0; p < n && j < x->n; p += VEC) {
        const uint8_t *panel = (const uint8_t *)x->b.data + (p0 + p) / Q_PANEL_ROWS * x->b.panel;
        vec v[VEC];
        if (dtype == Q_F32 || dtype == Q_F16 || dtype == Q_BF16) {
            slab_float_columns(dtype, panel, x->b.columns, j, (p0 + p) % Q_PANEL_ROWS, v);
        } else {
            slab_quantised_columns(dtype, panel, x->b.columns, j, (p0 + p) % Q_PANEL_ROWS, v);
        }
        vec_turn(v);
        slab_store(v, n - p, out + p * PRODUCT_COLUMNS);
    }
}

static void slab_across(const product *x, uint32_t j, uint32_t p0, uint32_t n, float *out)
{
    switch (x->b.dtype) {
    case Q_Q8_0:
        slab_across_of(Q_Q8_0, x, j, p0, n, out);
        return;
    case Q_Q4_0:
        slab_across_of(Q_Q4_0, x, j, p0, n, out);
        return;
    case Q_Q4_1:
        slab_across_of(Q_Q4_1, x, j, p0, n, out);
        return;
    case Q_F16:
        slab_across_of(Q_F16, x, j, p0, n, out);
        return;
    case Q_BF16:
        slab_across_of(Q_BF16, x, j, p0, n, out);
        return;
    default:
        slab_across_of(Q_F32, x, j, p0, n, out);
        return;
    }
}

/* -- choice -------------------------------------------------------------------------------------- */

/* The panel with column j of the product, or the one before where there is none. */
static inline const uint8_t *slab_panel_at(const product *x, uint32_t j)
{
    return (const uint8_t *)x->b.data + (j < x->n ? j : x->n - 1u) / Q_PANEL_ROWS * x->b.panel;
}

/* Rows p0 .. p0 + n - 1 of B from column j, VEC at each of at[0] and at[1], consecutive rows *step bytes apart: in place,
   or written to out [PRODUCT_SLAB][PRODUCT_COLUMNS]. Columns beyond the last are 0 or whatever follows in the panel.
   in_place: plain rows may be used where they are. */
static void product_slab(const product *x, uint32_t j, uint32_t p0, uint32_t n, bool in_place, float *out,
                         const float *at[2], size_t *step)
{
    const bool panels = x->b.dtype != Q_DTYPE_COUNT;
    at[0] = out;
    at[1] = out + VEC;
    *step = PRODUCT_COLUMNS * sizeof(float);
    if (panels && !x->b.transposed && x->b.dtype == Q_F32) {
        for (uint32_t h = 0; h < 2; h++) {
            at[h] = (const float *)(const void *)slab_panel_at(x, j + h * VEC) + (size_t)p0 * Q_PANEL_ROWS + h * VEC % Q_PANEL_ROWS;
        }
        *step = Q_PANEL_ROWS * sizeof(float);
    } else if (panels && !x->b.transposed) {
        for (uint32_t l = 0; l < PRODUCT_COLUMNS; l += Q_PANEL_ROWS) {
            slab_panel(x->b.dtype, slab_panel_at(x, j + l), x->k, p0, n, out + l);
        }
    } else if (!panels && !x->b.transposed && in_place && x->n - j >= PRODUCT_COLUMNS) {
        at[0] = x86_row((const float *)x->b.data, x->b.stride, p0) + j;
        at[1] = at[0] + VEC;
        *step = x->b.stride;
    } else if (!panels && !x->b.transposed) {
        slab_copy(x, j, p0, n, out);
    } else if (panels) {
        slab_across(x, j, p0, n, out);
        slab_across(x, j + VEC, p0, n, out + VEC);
    } else {
        slab_transpose(x, j, p0, n, out);
        slab_transpose(x, j + VEC, p0, n, out + VEC);
    }
}

/* Lines of memory that a slab is made of, one from each of b[0] and b[1] at a time, `step` bytes from the last. Tile t
   of a group fetches `n` from each, t * tile bytes on. */
typedef struct product_lines {
    const uint8_t *b[2];
    size_t step;
    size_t tile;
    uint32_t n;
} product_lines;

/* `rows` consecutive pieces of a slab, `step` bytes apart: of each both halves if they are lines of their own, else of two. */
static inline void slab_lines_of(product_lines *lines, const uint8_t *at, size_t half, size_t step, uint32_t rows, uint32_t tiles)
{
    const bool wide = PRODUCT_COLUMNS > 16;
    lines->b[0] = at;
    lines->b[1] = at + (wide ? half : step);
    lines->step = wide ? step : 2u * step;
    lines->n = q_ceil_div_u32(wide ? rows : q_ceil_div_u32(rows, 2), tiles);
    lines->tile = lines->step * lines->n;
}

/* The lines of the slab of n rows p0 .. by the columns from j, for a group of `tiles` tiles. Panels and plain matrices row by
   row, transposed ones all columns at a time; quantised ones are short and fetched when they are read. */
static product_lines product_slab_lines(const product *x, uint32_t j, uint32_t p0, uint32_t n, uint32_t tiles)
{
    const uint8_t *data = (const uint8_t *)x->b.data;
    product_lines lines = {{data, data}, 0, 0, 0};
    if (x->b.dtype == Q_F32 || x->b.dtype == Q_F16 || x->b.dtype == Q_BF16) {
        size_t row = Q_PANEL_ROWS * (x->b.dtype == Q_F32 ? sizeof(float) : sizeof(uint16_t));
        const uint8_t *panel = slab_panel_at(x, j);
        if (!x->b.transposed) {
            slab_lines_of(&lines, panel + p0 * row, (size_t)(slab_panel_at(x, j + VEC) - panel), 64, (uint32_t)(n * row / 64u),
                          tiles);
        }
    } else if (x->b.dtype == Q_DTYPE_COUNT && !x->b.transposed) {
        slab_lines_of(&lines, data + x->b.stride * p0 + j * sizeof(float), x->n - j > VEC ? VEC * sizeof(float) : 0,
                      x->b.stride, n, tiles);
    } else if (x->b.dtype == Q_DTYPE_COUNT) {
        lines.b[0] = data + x->b.stride * j + p0 * sizeof(float);
        lines.b[1] = lines.b[0] + 64;
        lines.n = x->n - j < PRODUCT_COLUMNS ? x->n - j : (uint32_t)PRODUCT_COLUMNS;
        lines.step = x->b.stride;
        lines.tile = 128;
    }
    return lines;
}

#endif /* QORUS_BACKENDS_X86_PRODUCT_SLAB_H */
