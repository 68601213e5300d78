/* SPDX-License-Identifier: MIT */
/*
 * gemm.c: exact products y[r][m] = sum over k of x[r][k] * w[m][k], weights in panels made real on the fly.
 *
 * Many rows: product.c. Few rows (decode): weights become real in registers and are used once. A chain waits 4 cycles
 * for each fma, so several panels run side by side; weights are fetched ahead of their use, see gemm_a8_stream.c.
 */
#include "kernels_avx512.h"

#include "../x86/product.h"

enum {
    GEMM_FEW_ROWS = 3, /* below: weights are streamed */
    STREAM_PANELS = 4,
    STREAM_AHEAD = 2048 /* bytes, of each panel */
};

/* Workspace: panels p .. p + n - 1 of a, n <= STREAM_PANELS. */
typedef struct stream_panels {
    const uint8_t *base[STREAM_PANELS];
    const uint8_t *q[STREAM_PANELS];
    const uint16_t *d[STREAM_PANELS];
    const uint16_t *m[STREAM_PANELS];
    Q_ALIGNED(64) float out[STREAM_PANELS][Q_PANEL_ROWS]; /* where their chains begin and end */
} stream_panels;

static inline void stream_locate_avx512(const q_gemm_args *a, uint32_t dtype, uint32_t p, uint32_t n,
                                        stream_panels *w)
{
    size_t panel = (size_t)q_panel_bytes(dtype, a->k);
    for (uint32_t i = 0; i < n; i++) {
        w->base[i] = (const uint8_t *)a->weights + (p + i) * panel;
        w->q[i] = w->base[i] + (size_t)q_panel_scale_bytes(dtype, a->k);
        w->d[i] = (const uint16_t *)(const void *)w->base[i];
        w->m[i] = w->d[i] + (size_t)(a->k / Q_BLOCK) * Q_PANEL_ROWS;
    }
}

/* It cannot fault: past the last panel it fetches for nothing. */
X86_INLINE void stream_fetch(const void *p)
{
    _mm_prefetch((const char *)((uintptr_t)p + STREAM_AHEAD), _MM_HINT_T0);
}

/* Column c of a group of 4: 16 rows of d*q, d*(q-8) or d*q + m. */
X86_INLINE __m512 stream_weight_avx512(const uint32_t dtype, const uint32_t c, __m512i q, __m512 d, __m512 m)
{
    if (dtype == Q_Q8_0) {
        return _mm512_mul_ps(d, veci_signed_column(q, c));
    }
    if (dtype == Q_Q4_0) {
        return _mm512_mul_ps(d, _mm512_sub_ps(veci_nibble_column(q, c), _mm512_set1_ps(8.0f)));
    }
    return _mm512_add_ps(_mm512_mul_ps(d, veci_nibble_column(q, c)), m);
}

/* Four columns, whose bytes are at q + `at` of each panel, nibbles `shift` bits up, by 4 values of x. */
X86_INLINE void stream_group_avx512(const uint32_t dtype, const uint32_t n, const uint32_t shift,
                                         const stream_panels *w, size_t at, const __m512 *d, const __m512 *m,
                                         const float *x, __m512 *acc)
{
    __m512i q[STREAM_PANELS];
    X86_UNROLL
    for (uint32_t i = 0; i < n; i++) {
        __m512i v = _mm512_load_si512(w->q[i] + at);
        q[i] = shift != 0 ? _mm512_srli_epi32(v, shift) : v;
    }
    X86_UNROLL
    for (uint32_t c = 0; c < 4; c++) {
        __m512 v = _mm512_set1_ps(x[c]);
        X86_UNROLL
        for (uint32_t i = 0; i < n; i++) {
            acc[i] = _mm512_fmadd_ps(v, stream_weight_avx512(dtype, c, q[i], d[i], m[i]), acc[i]);
        }
    }
}

/* The 32 columns of one block, ascending. */
X86_INLINE void stream_block_avx512(const uint32_t dtype, const uint32_t n, const stream_panels *w,
                                         uint32_t block, const float *x, __m512 *acc)
{
    __m512 d[STREAM_PANELS];
    __m512 m[STREAM_PANELS];
    size_t at = (size_t)block * (dtype == Q_Q8_0 ? 512u : 256u);
    X86_UNROLL
    for (uint32_t i = 0; i < n; i++) {
        d[i] = vec_load_f16(w->d[i] + (size_t)block * Q_PANEL_ROWS);
        m[i] = dtype == Q_Q4_1 ? vec_load_f16(w->m[i] + (size_t)block * Q_PANEL_ROWS) : d[i];
    }
    for (uint32_t g = 0; g < (dtype == Q_Q8_0 ? 8u : 4u); g++) {
        X86_UNROLL
        for (uint32_t i = 0; i < n; i++) {
            stream_fetch(w->q[i] + at + g * 64u);
        }
        stream_group_avx512(dtype, n, 0, w, at + g * 64u, d, m, x + g * 4u, acc);
    }
    for (uint32_t g = 0; g < 4u && dtype != Q_Q8_0; g++) {
        stream_group_avx512(dtype, n, 4, w, at + g * 64u, d, m, x + 16u + g * 4u, acc);
    }
}

X86_INLINE __m512 stream_float_avx512(const uint32_t dtype, const uint8_t *panel, size_t i)
{
    if (dtype == Q_F32) {
        return _mm512_load_ps((const float *)(const void *)panel + i);
    }
    const uint16_t *half = (const uint16_t *)(const void *)panel + i;
    return dtype == Q_F16 ? vec_load_f16(half) : vec_load_bf16(half);
}

/* All columns of n float panels. Those of F32 come by whole lines one behind the other, which the processor sees itself: to
   fetch them would take as many loads again. */
X86_INLINE void stream_columns_avx512(const uint32_t dtype, const uint32_t n, const stream_panels *w, uint32_t k,
                                           const float *x, __m512 *acc)
{
    for (uint32_t c = 0; c < k; c++) {
        __m512 v = _mm512_set1_ps(x[c]);
        X86_UNROLL
        for (uint32_t i = 0; i < n; i++) {
            if (dtype != Q_F32) {
                stream_fetch(w->base[i] + (size_t)c * 32u);
            }
            acc[i] = _mm512_fmadd_ps(v, stream_float_avx512(dtype, w->base[i], (size_t)c * 16u), acc[i]);
        }
    }
}

/* Row r by panels p .. p + n - 1. */
X86_INLINE void stream_row_avx512(const uint32_t dtype, const uint32_t n, const q_gemm_args *a, uint32_t p,
                                       uint32_t r, stream_panels *w)
{
    __m512 acc[STREAM_PANELS];
    const float *x = x86_row((const float *)a->x, a->x_stride, r);
    stream_locate_avx512(a, dtype, p, n, w);
    X86_UNROLL
    for (uint32_t i = 0; i < n; i++) {
        q_tile_start_avx512(1, a->epilogue.bias, (p + i) * Q_PANEL_ROWS, x86_panel_lanes(a->m, p + i), w->out[i],
                            Q_PANEL_ROWS);
        acc[i] = _mm512_load_ps(w->out[i]);
    }
    if (q_dtype_is_quantised(dtype)) {
        for (uint32_t b = 0; b < a->k / Q_BLOCK; b++) {
            stream_block_avx512(dtype, n, w, b, x + b * Q_BLOCK, acc);
        }
    } else {
        stream_columns_avx512(dtype, n, w, a->k, x, acc);
    }
    X86_UNROLL
    for (uint32_t i = 0; i < n; i++) {
        _mm512_store_ps(w->out[i], acc[i]);
        q_tile_finish_avx512(&a->epilogue, r, 1, (p + i) * Q_PANEL_ROWS, x86_panel_lanes(a->m, p + i), w->out[i],
                             Q_PANEL_ROWS, a->y, a->y_stride);
    }
}

X86_INLINE void stream_part_avx512(const uint32_t dtype, const q_gemm_args *a, x86_part part, stream_panels *w)
{
    uint32_t p = part.panel0;
    for (; p + STREAM_PANELS <= part.panel1; p += STREAM_PANELS) {
        for (uint32_t r = part.row0; r < part.row1; r++) {
            stream_row_avx512(dtype, STREAM_PANELS, a, p, r, w);
        }
    }
    for (; p < part.panel1; p++) {
        for (uint32_t r = part.row0; r < part.row1; r++) {
            stream_row_avx512(dtype, 1, a, p, r, w);
        }
    }
}

static void gemm_stream_avx512(const q_work *work, const q_gemm_args *a, uint32_t dtype, x86_part part)
{
    stream_panels *w = (stream_panels *)work->workspace;
    switch (dtype) {
    case Q_F32:
        stream_part_avx512(Q_F32, a, part, w);
        break;
    case Q_F16:
        stream_part_avx512(Q_F16, a, part, w);
        break;
    case Q_BF16:
        stream_part_avx512(Q_BF16, a, part, w);
        break;
    case Q_Q8_0:
        stream_part_avx512(Q_Q8_0, a, part, w);
        break;
    case Q_Q4_0:
        stream_part_avx512(Q_Q4_0, a, part, w);
        break;
    default:
        stream_part_avx512(Q_Q4_1, a, part, w);
        break;
    }
}

static void gemm_exact_avx512(const q_work *work, const q_gemm_args *a, uint32_t dtype)
{
    x86_part part = x86_share(work, q_count_value(work->run, a->rows), q_ceil_div_u32(a->m, Q_PANEL_ROWS));
    if (part.row1 - part.row0 < GEMM_FEW_ROWS) {
        gemm_stream_avx512(work, a, dtype, part);
        return;
    }
    product x = product_of_gemm(work, a, dtype);
    q_product_avx512(work, &x);
}

void q_gemm_f32_avx512(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx512(work, a, Q_F32);
}

void q_gemm_f16_avx512(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx512(work, a, Q_F16);
}

void q_gemm_bf16_avx512(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx512(work, a, Q_BF16);
}

void q_gemm_q8_0_avx512(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx512(work, a, Q_Q8_0);
}

void q_gemm_q4_0_avx512(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx512(work, a, Q_Q4_0);
}

void q_gemm_q4_1_avx512(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx512(work, a, Q_Q4_1);
}
