/* SPDX-License-Identifier: MIT */
/*
 * gemm.c: exact products y[r][m] = sum over k of x[r][k] * w[m][k], weights in panels made real on the fly.
 *
 * Many rows: product.c. Few rows (decode): weights become real in registers and are used once. A chain waits 4 cycles for
 * each fma, so two panels run side by side: 4 chains of 8 rows; weights are fetched ahead of their use, see gemm_a8.c.
 */
#include "kernels_avx2.h"

#include "../x86/product.h"

enum {
    GEMM_FEW_ROWS = 3, /* below: weights are streamed */
    STREAM_PANELS = 2,
    STREAM_AHEAD = 4096 /* bytes */
};

/* Panels p .. p + n - 1 of a, n <= STREAM_PANELS. */
typedef struct stream_panels {
    const uint8_t *base[STREAM_PANELS];
    const uint8_t *q[STREAM_PANELS];
    const uint16_t *d[STREAM_PANELS];
    const uint16_t *m[STREAM_PANELS];
} stream_panels;

static stream_panels stream_locate(const q_gemm_args *a, uint32_t dtype, uint32_t p, uint32_t n)
{
    stream_panels w = {{NULL}, {NULL}, {NULL}, {NULL}};
    size_t panel = (size_t)q_panel_bytes(dtype, a->k);
    for (uint32_t i = 0; i < n; i++) {
        w.base[i] = (const uint8_t *)a->weights + (p + i) * panel;
        w.q[i] = w.base[i] + (size_t)q_panel_scale_bytes(dtype, a->k);
        w.d[i] = (const uint16_t *)(const void *)w.base[i];
        w.m[i] = w.d[i] + (size_t)(a->k / Q_BLOCK) * Q_PANEL_ROWS;
    }
    return w;
}

/* It cannot fault: past the last panel it fetches for nothing. */
X86_INLINE void stream_prefetch(const stream_panels *w, const uint32_t n, size_t at)
{
    X86_UNROLL
    for (uint32_t i = 0; i < n; i++) {
        _mm_prefetch((const char *)((uintptr_t)w->q[i] + at + STREAM_AHEAD), _MM_HINT_T0);
    }
}

/* Scales of one block: d, and m (Q4_1) or -0, which changes no bits when added. */
typedef struct stream_scales {
    __m256 d[STREAM_PANELS][2];
    __m256 m[STREAM_PANELS][2];
} stream_scales;

X86_INLINE void stream_load_scales(const uint32_t dtype, const uint32_t n,
                                      const stream_panels *w, uint32_t block, stream_scales *s)
{
    X86_UNROLL
    for (uint32_t i = 0; i < 2u * n; i++) {
        size_t at = (size_t)block * Q_PANEL_ROWS + i % 2u * 8u;
        s->d[i / 2u][i % 2u] = vec_load_f16(w->d[i / 2u] + at);
        s->m[i / 2u][i % 2u] =
            dtype == Q_Q4_1 ? vec_load_f16(w->m[i / 2u] + at) : _mm256_set1_ps(-0.0f);
    }
}

/* Column c of a group of 4: 8 rows of d*q, d*(q-8) or d*q + m. */
X86_INLINE __m256 stream_weight(const uint32_t dtype, const uint32_t c, __m256i q, __m256 d,
                                   __m256 m)
{
    if (dtype == Q_Q8_0) {
        return _mm256_mul_ps(d, veci_signed_column(q, c));
    }
    if (dtype == Q_Q4_0) {
        return _mm256_mul_ps(d, _mm256_sub_ps(veci_nibble_column(q, c), _mm256_set1_ps(8.0f)));
    }
    return _mm256_add_ps(_mm256_mul_ps(d, veci_nibble_column(q, c)), m);
}

/* Four columns, whose bytes are at q + `at` of each panel, nibbles `shift` bits up, by 4 values of
   x. */
X86_INLINE void stream_group(const uint32_t dtype, const uint32_t n, const uint32_t shift,
                                const stream_panels *w, size_t at, const stream_scales *s,
                                const float *x, __m256 acc[STREAM_PANELS][2])
{
    __m256i q[STREAM_PANELS][2];
    X86_UNROLL
    for (uint32_t i = 0; i < 2u * n; i++) {
        const void *p = w->q[i / 2u] + at + i % 2u * 32u;
        __m256i v = _mm256_load_si256((const __m256i *)p);
        q[i / 2u][i % 2u] = shift != 0 ? _mm256_srli_epi32(v, (int)shift) : v;
    }
    X86_UNROLL
    for (uint32_t c = 0; c < 4; c++) {
        __m256 v = _mm256_broadcast_ss(x + c);
        X86_UNROLL
        for (uint32_t i = 0; i < 2u * n; i++) {
            __m256 weight = stream_weight(dtype, c, q[i / 2u][i % 2u], s->d[i / 2u][i % 2u],
                                          s->m[i / 2u][i % 2u]);
            acc[i / 2u][i % 2u] = _mm256_fmadd_ps(v, weight, acc[i / 2u][i % 2u]);
        }
    }
}

/* The 32 columns of one block, ascending. */
X86_INLINE void stream_block(const uint32_t dtype, const uint32_t n, const stream_panels *w,
                                uint32_t block, const float *x, __m256 acc[STREAM_PANELS][2])
{
    stream_scales s;
    size_t at = (size_t)block * (dtype == Q_Q8_0 ? 512u : 256u);
    stream_load_scales(dtype, n, w, block, &s);
    for (uint32_t g = 0; g < (dtype == Q_Q8_0 ? 8u : 4u); g++) {
        stream_prefetch(w, n, at + g * 64u);
        stream_group(dtype, n, 0, w, at + g * 64u, &s, x + g * 4u, acc);
    }
    for (uint32_t g = 0; g < 4u && dtype != Q_Q8_0; g++) {
        stream_group(dtype, n, 4, w, at + g * 64u, &s, x + 16u + g * 4u, acc);
    }
}

X86_INLINE __m256 stream_float(const uint32_t dtype, const uint8_t *panel, size_t i)
{
    if (dtype == Q_F32) {
        return _mm256_load_ps((const float *)(const void *)panel + i);
    }
    const uint16_t *half = (const uint16_t *)(const void *)panel + i;
    return dtype == Q_F16 ? vec_load_f16(half) : vec_load_bf16(half);
}

/* All columns of n float panels. */
X86_INLINE void stream_columns(const uint32_t dtype, const uint32_t n, const stream_panels *w,
                                  uint32_t k, const float *x, __m256 acc[STREAM_PANELS][2])
{
    for (uint32_t c = 0; c < k; c++) {
        __m256 v = _mm256_broadcast_ss(x + c);
        stream_prefetch(w, n, (size_t)c * (dtype == Q_F32 ? 64u : 32u));
        X86_UNROLL
        for (uint32_t i = 0; i < 2u * n; i++) {
            __m256 weight = stream_float(dtype, w->base[i / 2u], (size_t)c * 16u + i % 2u * 8u);
            acc[i / 2u][i % 2u] = _mm256_fmadd_ps(v, weight, acc[i / 2u][i % 2u]);
        }
    }
}

/* Row r by panels p .. p + n - 1. */
X86_INLINE void stream_row(const uint32_t dtype, const uint32_t n, const q_gemm_args *a,
                              uint32_t p, uint32_t r)
{
    Q_ALIGNED(32) float out[STREAM_PANELS][Q_PANEL_ROWS];
    uint32_t lanes[STREAM_PANELS];
    __m256 acc[STREAM_PANELS][2];
    const float *x = x86_row((const float *)a->x, a->x_stride, r);
    stream_panels w = stream_locate(a, dtype, p, n);
    X86_UNROLL
    for (uint32_t i = 0; i < n; i++) {
        uint32_t m0 = (p + i) * Q_PANEL_ROWS;
        lanes[i] = a->m - m0 < Q_PANEL_ROWS ? a->m - m0 : (uint32_t)Q_PANEL_ROWS;
        q_tile_start_avx2(1, a->epilogue.bias, m0, lanes[i], out[i], Q_PANEL_ROWS);
        acc[i][0] = _mm256_load_ps(out[i]);
        acc[i][1] = _mm256_load_ps(out[i] + 8);
    }
    if (q_dtype_is_quantised(dtype)) {
        for (uint32_t b = 0; b < a->k / Q_BLOCK; b++) {
            stream_block(dtype, n, &w, b, x + b * Q_BLOCK, acc);
        }
    } else {
        stream_columns(dtype, n, &w, a->k, x, acc);
    }
    X86_UNROLL
    for (uint32_t i = 0; i < n; i++) {
        _mm256_store_ps(out[i], acc[i][0]);
        _mm256_store_ps(out[i] + 8, acc[i][1]);
        q_tile_finish_avx2(&a->epilogue, r, 1, (p + i) * Q_PANEL_ROWS, lanes[i], out[i], Q_PANEL_ROWS, a->y,
                           a->y_stride);
    }
}

X86_INLINE void stream_part(const uint32_t dtype, const q_gemm_args *a, x86_part part)
{
    for (uint32_t p = part.panel0; p < part.panel1;) {
        uint32_t n = part.panel1 - p < STREAM_PANELS ? part.panel1 - p : (uint32_t)STREAM_PANELS;
        for (uint32_t r = part.row0; r < part.row1; r++) {
            if (n == STREAM_PANELS) {
                stream_row(dtype, STREAM_PANELS, a, p, r);
            } else {
                stream_row(dtype, 1, a, p, r);
            }
        }
        p += n;
    }
}

static void gemm_stream_avx2(const q_gemm_args *a, uint32_t dtype, x86_part part)
{
    switch (dtype) {
    case Q_F32:
        stream_part(Q_F32, a, part);
        break;
    case Q_F16:
        stream_part(Q_F16, a, part);
        break;
    case Q_BF16:
        stream_part(Q_BF16, a, part);
        break;
    case Q_Q8_0:
        stream_part(Q_Q8_0, a, part);
        break;
    case Q_Q4_0:
        stream_part(Q_Q4_0, a, part);
        break;
    default:
        stream_part(Q_Q4_1, a, part);
        break;
    }
}

static void gemm_exact_avx2(const q_work *work, const q_gemm_args *a, uint32_t dtype)
{
    x86_part part = x86_share(work, q_count_value(work->run, a->rows), q_ceil_div_u32(a->m, Q_PANEL_ROWS));
    if (part.row1 - part.row0 < GEMM_FEW_ROWS) {
        gemm_stream_avx2(a, dtype, part);
        return;
    }
    product x = product_of_gemm(work, a, dtype);
    q_product_avx2(work, &x);
}

void q_gemm_f32_avx2(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx2(work, a, Q_F32);
}

void q_gemm_f16_avx2(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx2(work, a, Q_F16);
}

void q_gemm_bf16_avx2(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx2(work, a, Q_BF16);
}

void q_gemm_q8_0_avx2(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx2(work, a, Q_Q8_0);
}

void q_gemm_q4_0_avx2(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx2(work, a, Q_Q4_0);
}

void q_gemm_q4_1_avx2(const q_work *work, const q_gemm_args *a)
{
    gemm_exact_avx2(work, a, Q_Q4_1);
}
