/* SPDX-License-Identifier: MIT */
/*
 * product_slab.c: slabs of B for products of floats, [k][32]: plain rows copied, transposed ones turned 16 by 16, panels
 * of weights made real. Q8_0: d*q, Q4_0: d*(q-8), both exact; Q4_1: d*q, exact, + m, rounded once.
 */
#include "product.h"

/* -- panels of weights --------------------------------------------------------------------------- */

X86_INLINE void slab_floats(const uint32_t dtype, const uint16_t *w, uint32_t n, float *out)
{
    for (uint32_t p = 0; p < n; p++) {
        const uint16_t *row = w + (size_t)p * Q_PANEL_ROWS;
        _mm512_store_ps(out + p * PRODUCT_COLUMNS, dtype == Q_F16 ? vec_load_f16(row) : vec_load_bf16(row));
    }
}

/* Four columns of signed bytes. */
X86_INLINE void slab_group_q8(__m512i v, __m512 d, float *out)
{
    X86_UNROLL
    for (uint32_t c = 0; c < 4; c++) {
        _mm512_store_ps(out + c * PRODUCT_COLUMNS, _mm512_mul_ps(d, product_signed_column(v, c)));
    }
}

/* Four columns of nibbles: d*(q - zero) + m; adding m = -0 changes no bits of Q4_0. */
X86_INLINE void slab_group_q4(__m512i v, __m512 d, __m512 zero, __m512 m, float *out)
{
    X86_UNROLL
    for (uint32_t c = 0; c < 4; c++) {
        __m512 q = _mm512_sub_ps(product_nibble_column(v, c), zero);
        _mm512_store_ps(out + c * PRODUCT_COLUMNS, _mm512_add_ps(_mm512_mul_ps(d, q), m));
    }
}

/* Columns p0 .. p0 + n - 1 of a quantised panel of k; p0 and n are multiples of 32. */
X86_INLINE void slab_quantised(const uint32_t dtype, const uint8_t *panel, uint32_t k, uint32_t p0, uint32_t n,
                                    float *out)
{
    const uint8_t *quants = panel + (size_t)q_panel_scale_bytes(dtype, k);
    const uint16_t *scales = (const uint16_t *)(const void *)panel;
    const __m512 zero = _mm512_set1_ps(dtype == Q_Q4_0 ? 8.0f : 0.0f);
    for (uint32_t b = p0 / Q_BLOCK; b < (p0 + n) / Q_BLOCK; b++, out += Q_BLOCK * PRODUCT_COLUMNS) {
        __m512 d = vec_load_f16(scales + (size_t)b * Q_PANEL_ROWS);
        __m512 m = dtype == Q_Q4_1 ? vec_load_f16(scales + ((size_t)k / Q_BLOCK + b) * Q_PANEL_ROWS)
                                   : _mm512_set1_ps(-0.0f);
        if (dtype == Q_Q8_0) {
            for (uint32_t g = 0; g < 8; g++) {
                slab_group_q8(_mm512_load_si512(quants + (size_t)b * 512u + g * 64u), d,
                              out + g * 4u * PRODUCT_COLUMNS);
            }
            continue;
        }
        for (uint32_t g = 0; g < 4; g++) {
            __m512i v = _mm512_load_si512(quants + (size_t)b * 256u + g * 64u);
            slab_group_q4(v, d, zero, m, out + g * 4u * PRODUCT_COLUMNS);
            slab_group_q4(_mm512_srli_epi32(v, 4), d, zero, m, out + (g + 4u) * 4u * PRODUCT_COLUMNS);
        }
    }
}

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

static void slab_copy(const product *x, uint32_t j, uint32_t p0, uint32_t n, float *out)
{
    __mmask16 lo = avx512_mask(x->n - j);
    __mmask16 hi = avx512_mask(x->n - j < 16u ? 0 : x->n - j - 16u);
    for (uint32_t p = 0; p < n; p++) {
        const float *b = x86_row((const float *)x->b.data, x->b.stride, p0 + p) + j;
        _mm512_store_ps(out + p * PRODUCT_COLUMNS, _mm512_maskz_loadu_ps(lo, b));
        _mm512_store_ps(out + p * PRODUCT_COLUMNS + 16u, _mm512_maskz_loadu_ps(hi, b + (hi != 0 ? 16 : 0)));
    }
}

/* The first n of 16 registers, each a row of the slab. Every index is known when this is compiled: they stay registers. */
X86_INLINE void slab_store(const __m512 v[16], uint32_t n, float *out)
{
    X86_UNROLL
    for (uint32_t l = 0; l < 16; l++) {
        if (l < n) {
            _mm512_store_ps(out + l * PRODUCT_COLUMNS, v[l]);
        }
    }
}

/* 16 columns of B from j, which are rows where it lies; those beyond the last become 0. */
static void slab_transpose(const product *x, uint32_t j, uint32_t p0, uint32_t n, float *out)
{
    for (uint32_t p = 0; p < n; p += 16u) {
        __mmask16 mask = avx512_mask(n - p);
        __m512 v[16];
        X86_UNROLL
        for (uint32_t l = 0; l < 16; l++) {
            uint32_t row = j + l < x->n ? j + l : x->n - 1u;
            const float *b = x86_row((const float *)x->b.data, x->b.stride, row) + p0 + p;
            v[l] = _mm512_maskz_loadu_ps(j + l < x->n ? mask : (__mmask16)0, b);
        }
        vec_turn(v);
        slab_store(v, n - p, out + p * PRODUCT_COLUMNS);
    }
}

/* -- panels across ------------------------------------------------------------------------------- */

/* 16 columns from c, a multiple of 16, of a quantised panel of k: v[l] = column c + l, a lane to each of its rows. */
X86_INLINE void slab_quantised_columns(const uint32_t dtype, const uint8_t *panel, uint32_t k, uint32_t c,
                                            __m512 v[16])
{
    const uint16_t *scales = (const uint16_t *)(const void *)panel + (size_t)(c / Q_BLOCK) * Q_PANEL_ROWS;
    const uint8_t *quants = panel + (size_t)q_panel_scale_bytes(dtype, k);
    const __m512 zero = _mm512_set1_ps(dtype == Q_Q4_0 ? 8.0f : 0.0f);
    __m512 d = vec_load_f16(scales);
    __m512 m = dtype == Q_Q4_1 ? vec_load_f16(scales + (size_t)(k / Q_BLOCK) * Q_PANEL_ROWS) : _mm512_set1_ps(-0.0f);
    quants += dtype == Q_Q8_0 ? (size_t)c * Q_PANEL_ROWS : (size_t)(c / Q_BLOCK) * 256u;
    X86_UNROLL
    for (uint32_t g = 0; g < 4; g++) {
        __m512i q = _mm512_load_si512(quants + g * 64u);
        q = dtype != Q_Q8_0 && c % Q_BLOCK != 0 ? _mm512_srli_epi32(q, 4) : q;
        X86_UNROLL
        for (uint32_t i = 0; i < 4; i++) {
            if (dtype == Q_Q8_0) {
                v[g * 4u + i] = _mm512_mul_ps(d, product_signed_column(q, i));
            } else {
                __m512 n = _mm512_mul_ps(d, _mm512_sub_ps(product_nibble_column(q, i), zero));
                v[g * 4u + i] = _mm512_add_ps(n, m);
            }
        }
    }
}

/* The same of a panel of floats; columns beyond k are 0. */
X86_INLINE void slab_float_columns(const uint32_t dtype, const uint8_t *panel, uint32_t k, uint32_t c, __m512 v[16])
{
    const uint16_t *halves = (const uint16_t *)(const void *)panel;
    X86_UNROLL
    for (uint32_t l = 0; l < 16; l++) {
        size_t at = (size_t)(c + l) * Q_PANEL_ROWS;
        v[l] = c + l >= k         ? _mm512_setzero_ps()
               : dtype == Q_F32   ? _mm512_load_ps((const float *)(const void *)panel + at)
               : dtype == Q_F16   ? vec_load_f16(halves + at)
                                  : vec_load_bf16(halves + at);
    }
}

/* 16 columns from j of rows p0 .. p0 + n - 1 of a matrix that lies in panels of 16 rows. */
X86_INLINE void slab_across_of(const uint32_t dtype, const product *x, uint32_t j, uint32_t p0, uint32_t n, float *out)
{
    for (uint32_t p = 0; p < n && j < x->n; p += 16u) {
        const uint8_t *panel = (const uint8_t *)x->b.data + (p0 + p) / 16u * x->b.panel;
        __m512 v[16];
        if (dtype == Q_F32 || dtype == Q_F16 || dtype == Q_BF16) {
            slab_float_columns(dtype, panel, x->b.columns, j, v);
        } else {
            slab_quantised_columns(dtype, panel, x->b.columns, j, v);
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

void q_product_slab_avx512(const product *x, uint32_t j, uint32_t p0, uint32_t n, bool in_place, float *out,
                           const float *at[2], size_t *step)
{
    at[0] = out;
    at[1] = out + 16;
    *step = PRODUCT_COLUMNS * sizeof(float);
    if (x->b.dtype != Q_DTYPE_COUNT && x->b.transposed) {
        slab_across(x, j, p0, n, out);
        slab_across(x, j + 16u, p0, n, out + 16);
    } else if (x->b.dtype != Q_DTYPE_COUNT) {
        const uint8_t *panel = (const uint8_t *)x->b.data + j / 16u * x->b.panel;
        const uint8_t *next = j + 16u < x->n ? panel + x->b.panel : panel;
        if (x->b.dtype == Q_F32) {
            at[0] = (const float *)(const void *)panel + (size_t)p0 * Q_PANEL_ROWS;
            at[1] = (const float *)(const void *)next + (size_t)p0 * Q_PANEL_ROWS;
            *step = Q_PANEL_ROWS * sizeof(float);
        } else {
            slab_panel(x->b.dtype, panel, x->k, p0, n, out);
            slab_panel(x->b.dtype, next, x->k, p0, n, out + 16);
        }
    } else if (x->b.transposed) {
        slab_transpose(x, j, p0, n, out);
        slab_transpose(x, j + 16u, p0, n, out + 16);
    } else if (in_place && x->n - j >= PRODUCT_COLUMNS) {
        at[0] = x86_row((const float *)x->b.data, x->b.stride, p0) + j;
        at[1] = at[0] + 16;
        *step = x->b.stride;
    } else {
        slab_copy(x, j, p0, n, out);
    }
}

/* Panels and plain matrices row by row, transposed ones 16 columns of B at a time; quantised ones are short and
   fetched when they are read. */
product_lines q_product_lines_avx512(const product *x, uint32_t j, uint32_t p0, uint32_t n, uint32_t tiles)
{
    const uint8_t *data = (const uint8_t *)x->b.data;
    product_lines lines = {{data, data}, 0, 0, 0};
    if (x->b.dtype != Q_DTYPE_COUNT && x->b.transposed) {
        return lines;
    }
    if (x->b.dtype == Q_F32 || x->b.dtype == Q_F16 || x->b.dtype == Q_BF16) {
        size_t row = Q_PANEL_ROWS * (x->b.dtype == Q_F32 ? sizeof(float) : sizeof(uint16_t));
        lines.b[0] = data + j / 16u * x->b.panel + p0 * row;
        lines.b[1] = lines.b[0] + (j + 16u < x->n ? x->b.panel : 0);
        lines.n = q_ceil_div_u32((uint32_t)(n * row / 64u), tiles);
        lines.step = 64;
    } else if (x->b.dtype == Q_DTYPE_COUNT && !x->b.transposed) {
        lines.b[0] = data + x->b.stride * p0 + j * sizeof(float);
        lines.b[1] = lines.b[0] + (x->n - j > 16u ? 64 : 0);
        lines.n = q_ceil_div_u32(n, tiles);
        lines.step = x->b.stride;
    } else if (x->b.dtype == Q_DTYPE_COUNT) {
        lines.b[0] = data + x->b.stride * j + p0 * sizeof(float);
        lines.b[1] = lines.b[0] + 64;
        lines.n = x->n - j < PRODUCT_COLUMNS ? x->n - j : (uint32_t)PRODUCT_COLUMNS;
        lines.step = x->b.stride;
        lines.tile = 128;
        return lines;
    }
    lines.tile = lines.step * lines.n;
    return lines;
}
