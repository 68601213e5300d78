/* SPDX-License-Identifier: MIT */
/*
 * gemm_a8.h: the loops of the fast products, y[r][m] = sum over k of x[r][k] * w[m][k], x as 8-bit rows of
 * quantize_a8; included by each file that defines how bytes are multiplied (gemm_a8.c, gemm_a8_vnni.c):
 *
 *   a8_step_q4(s, w, x)     s plus the products of nibbles w by bytes x, 4 columns of 8 rows
 *   a8_total_q4(s)          the sums of a block, one 32-bit lane a row
 *   a8_operand_q8(w)        what a8_step_q8 wants of w besides
 *   a8_step_q8(s, o, w, x)  32-bit lanes s plus the products of bytes w by bytes x
 *   a8_excess(dtype)        n if those sums are 2^n * (sum of q_x) too large, or 0
 *
 * Per block of 32 columns, ascending, and per plane of x: i = sum of q_x*q_w, exact;
 * acc = acc + f32(i) * (d_w*d_x), operations apart; Q4_1 then acc = acc + (m_w*d_x) * f32(sum of q_x).
 *
 * Lane = row of the panel, in two halves of 8; a 32-bit lane holds 4 columns of one row.
 *
 * Few rows (decode): each panel is streamed once per row and unpacked in registers. Many rows
 * (prefill): up to 96 rows share a slab of 512 columns whose nibbles and scales lie unpacked in the
 * workspace, and a register tile holds 16 columns of y by 4 rows.
 */
#ifndef Q_GEMM_A8_AVX2_H
#define Q_GEMM_A8_AVX2_H

#include "kernels_avx2.h"

enum {
    A8_SLAB = 512, /* columns */
    A8_SLAB_BLOCKS = A8_SLAB / 32,
    A8_FEW_ROWS = 4, /* below: the streaming form */
    A8_TILE = 4,     /* rows of x in a register tile */
    A8_FETCHES = 4, /* times the streaming form asks for a cache line */
    A8_FETCH_STEP = 3072 /* bytes between two requests, the last of which comes as far ahead of the use */
};

/* Workspace of the many-rows form. */
typedef struct a8_space {
    uint8_t quants[A8_SLAB * Q_PANEL_ROWS]; /* Q4: one nibble a byte, laid out as Q8_0 */
    float d[A8_SLAB_BLOCKS][Q_PANEL_ROWS];
    float m[A8_SLAB_BLOCKS][Q_PANEL_ROWS];
    float acc[Q_AVX2_GROUP_ROWS][Q_PANEL_ROWS];
} a8_space;

Q_STATIC_ASSERT(sizeof(a8_space) <= Q_AVX2_WORKSPACE, "slab and chains fit the workspace");

/* One row of x as quantize_a8 lays it out, from some block on. */
typedef struct a8_x {
    const int8_t *q;    /* [k] */
    const float *d;     /* [k/32] */
    const int32_t *sum; /* [k/32] */
} a8_x;

/* The same part of the row's plane that lies `bytes` further on. */
static inline a8_x a8_x_plane(a8_x x, size_t bytes)
{
    x.q += bytes;
    x.d = (const float *)(const void *)((const uint8_t *)x.d + bytes);
    x.sum = (const int32_t *)(const void *)((const uint8_t *)x.sum + bytes);
    return x;
}

/* Bytes from the first plane of x to the second; 0: the product uses one. */
static inline size_t a8_second_plane(const q_gemm_args *a)
{
    return a->planes == 2 ? (size_t)(a->k / 4u) * 5u : 0;
}

/* A panel of k columns. */
typedef struct a8_panel {
    const uint8_t *q;
    const uint16_t *d; /* [k/32][16] */
    const uint16_t *m; /* [k/32][16], Q4_1 only */
} a8_panel;

static inline a8_x a8_x_at(const q_gemm_args *a, uint32_t r, uint32_t block)
{
    const uint8_t *base = (const uint8_t *)a->x + a->x_stride * r;
    a8_x x;
    x.q = (const int8_t *)base + (size_t)block * Q_BLOCK;
    x.d = (const float *)(const void *)(base + a->k) + block;
    x.sum = (const int32_t *)(const void *)(base + a->k) + a->k / Q_BLOCK + block;
    return x;
}

static inline a8_panel a8_panel_at(const q_gemm_args *a, uint32_t dtype, uint32_t p)
{
    const uint8_t *base = (const uint8_t *)a->weights + p * (size_t)q_panel_bytes(dtype, a->k);
    a8_panel w;
    w.q = base + (size_t)q_panel_scale_bytes(dtype, a->k);
    w.d = (const uint16_t *)(const void *)base;
    w.m = w.d + (size_t)(a->k / Q_BLOCK) * Q_PANEL_ROWS;
    return w;
}

static inline __m256i a8_load(const void *p)
{
    return _mm256_load_si256((const __m256i *)p);
}

/* 4 bytes of x in each lane. */
static inline __m256i a8_broadcast(const int8_t *x)
{
    return _mm256_castps_si256(_mm256_broadcast_ss((const float *)(const void *)x));
}

/* acc + f32(i) * (d*dx), and for Q4_1 + (m*dx)*sum. */
X86_INLINE __m256 a8_add_block(const uint32_t dtype, __m256 acc, __m256i i, __m256 d, __m256 m,
                                  __m256 dx, __m256i sum)
{
    if (a8_excess(dtype) != 0) {
        i = _mm256_sub_epi32(i, _mm256_slli_epi32(sum, a8_excess(dtype)));
    }
    acc = _mm256_add_ps(acc, _mm256_mul_ps(_mm256_cvtepi32_ps(i), _mm256_mul_ps(d, dx)));
    if (dtype == Q_Q4_1) {
        acc = _mm256_add_ps(acc, _mm256_mul_ps(_mm256_mul_ps(m, dx), _mm256_cvtepi32_ps(sum)));
    }
    return acc;
}

/* -- few rows ---------------------------------------------------------------------------------- */

/* Fetches cache lines ahead: scales and quants of all panels form one stream, of which the
   processor's own prefetchers lose track. A processor that has as many lines under way as it can
   drops requests without a word, so each line is asked for again as its use draws nearer. It cannot
   fault: past the last panel it fetches for nothing. */
X86_INLINE void a8_prefetch(const uint8_t *q)
{
    X86_UNROLL
    for (uint32_t i = A8_FETCHES; i > 0; i--) {
        _mm_prefetch((const char *)((uintptr_t)q + i * A8_FETCH_STEP), _MM_HINT_T0);
    }
}

/* The start of the stream, which no earlier block has fetched. */
static inline void a8_prefetch_start(const void *weights)
{
    for (uint32_t i = 0; i < A8_FETCHES * A8_FETCH_STEP; i += 64) {
        _mm_prefetch((const char *)((uintptr_t)weights + i), _MM_HINT_T0);
    }
}

/* The integer dots of one block by one row, per plane: rows 0..7, then 8..15. */
X86_INLINE void a8_stream_q4(const uint32_t planes, const uint8_t *q, const int8_t *const x[2],
                                __m256i s[2][2])
{
    const __m256i nibble = _mm256_set1_epi8(15);
    X86_UNROLL
    for (uint32_t g = 0; g < 4; g++) {
        __m256i w0 = a8_load(q + g * 64u);
        __m256i w1 = a8_load(q + g * 64u + 32u);
        a8_prefetch(q + g * 64u);
        __m256i h0 = _mm256_and_si256(_mm256_srli_epi16(w0, 4), nibble);
        __m256i h1 = _mm256_and_si256(_mm256_srli_epi16(w1, 4), nibble);
        w0 = _mm256_and_si256(w0, nibble);
        w1 = _mm256_and_si256(w1, nibble);
        X86_UNROLL
        for (uint32_t p = 0; p < planes; p++) {
            __m256i xl = a8_broadcast(x[p] + g * 4u);
            __m256i xh = a8_broadcast(x[p] + g * 4u + 16u);
            s[p][0] = a8_step_q4(s[p][0], w0, xl);
            s[p][1] = a8_step_q4(s[p][1], w1, xl);
            s[p][0] = a8_step_q4(s[p][0], h0, xh);
            s[p][1] = a8_step_q4(s[p][1], h1, xh);
        }
    }
    X86_UNROLL
    for (uint32_t p = 0; p < planes; p++) {
        s[p][0] = a8_total_q4(s[p][0]);
        s[p][1] = a8_total_q4(s[p][1]);
    }
}

X86_INLINE void a8_stream_q8(const uint32_t planes, const uint8_t *q, const int8_t *const x[2],
                                __m256i s[2][2])
{
    X86_UNROLL
    for (uint32_t g = 0; g < 8; g++) {
        __m256i w0 = a8_load(q + g * 64u);
        __m256i w1 = a8_load(q + g * 64u + 32u);
        __m256i a0 = a8_operand_q8(w0);
        __m256i a1 = a8_operand_q8(w1);
        a8_prefetch(q + g * 64u);
        X86_UNROLL
        for (uint32_t p = 0; p < planes; p++) {
            __m256i v = a8_broadcast(x[p] + g * 4u);
            s[p][0] = a8_step_q8(s[p][0], a0, w0, v);
            s[p][1] = a8_step_q8(s[p][1], a1, w1, v);
        }
    }
}

/* Block b of one row, whose planes are x, by one panel. */
X86_INLINE void a8_stream_block(const uint32_t dtype, const uint32_t planes, a8_panel w,
                                   const a8_x x[2], uint32_t b, __m256 c[2])
{
    const int8_t *const q[2] = {x[0].q + b * 32u, x[1].q + b * 32u};
    const __m256i zero = _mm256_setzero_si256();
    __m256i s[2][2] = {{zero, zero}, {zero, zero}};
    if (dtype == Q_Q8_0) {
        a8_stream_q8(planes, w.q + (size_t)b * 512u, q, s);
    } else {
        a8_stream_q4(planes, w.q + (size_t)b * 256u, q, s);
    }
    X86_UNROLL
    for (uint32_t half = 0; half < 2; half++) {
        __m256 d = vec_load_f16(w.d + b * 16u + half * 8u);
        __m256 m = dtype == Q_Q4_1 ? vec_load_f16(w.m + b * 16u + half * 8u) : d;
        X86_UNROLL
        for (uint32_t p = 0; p < planes; p++) {
            c[half] = a8_add_block(dtype, c[half], s[p][half], d, m, _mm256_broadcast_ss(x[p].d + b),
                                   _mm256_set1_epi32(x[p].sum[b]));
        }
    }
}

/* One row by one panel; acc [16] begins as the bias. */
X86_INLINE void a8_stream(const uint32_t dtype, const uint32_t planes, a8_panel w, a8_x x,
                             size_t second, uint32_t blocks, float *acc)
{
    const a8_x both[2] = {x, a8_x_plane(x, second)};
    __m256 c[2] = {_mm256_load_ps(acc), _mm256_load_ps(acc + 8)};
    for (uint32_t b = 0; b < blocks; b++) {
        a8_stream_block(dtype, planes, w, both, b, c);
    }
    _mm256_store_ps(acc, c[0]);
    _mm256_store_ps(acc + 8, c[1]);
}

X86_INLINE void a8_few_rows(const uint32_t dtype, const q_gemm_args *a, x86_part part)
{
    Q_ALIGNED(32) float acc[Q_PANEL_ROWS];
    size_t second = a8_second_plane(a);
    if (part.panel0 < part.panel1) {
        a8_prefetch_start(a8_panel_at(a, dtype, part.panel0).d);
    }
    for (uint32_t p = part.panel0; p < part.panel1; p++) {
        uint32_t m0 = p * Q_PANEL_ROWS;
        uint32_t lanes = a->m - m0 < Q_PANEL_ROWS ? a->m - m0 : (uint32_t)Q_PANEL_ROWS;
        a8_panel w = a8_panel_at(a, dtype, p);
        for (uint32_t r = part.row0; r < part.row1; r++) {
            q_tile_start_avx2(1, a->epilogue.bias, m0, lanes, acc, Q_PANEL_ROWS);
            if (second == 0) {
                a8_stream(dtype, 1, w, a8_x_at(a, r, 0), 0, a->k / Q_BLOCK, acc);
            } else {
                a8_stream(dtype, 2, w, a8_x_at(a, r, 0), second, a->k / Q_BLOCK, acc);
            }
            q_tile_finish_avx2(&a->epilogue, r, 1, m0, lanes, acc, Q_PANEL_ROWS, a->y, a->y_stride);
        }
    }
}

/* -- many rows --------------------------------------------------------------------------------- */

static inline void a8_unpack_q4(const uint8_t *q, uint32_t blocks, uint8_t *out)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    for (uint32_t i = 0; i < blocks * 8u; i++) {
        __m256i w = a8_load(q + (size_t)i * 32u);
        uint8_t *o = out + (size_t)(i / 8u) * 512u + i % 8u * 32u;
        _mm256_store_si256((__m256i *)(void *)o, _mm256_and_si256(w, nibble));
        _mm256_store_si256((__m256i *)(void *)(o + 256),
                           _mm256_and_si256(_mm256_srli_epi16(w, 4), nibble));
    }
}

static inline void a8_unpack_scales(const uint16_t *h, uint32_t blocks, float *out)
{
    for (uint32_t i = 0; i < blocks * Q_PANEL_ROWS; i += 8u) {
        _mm256_store_ps(out + i, vec_load_f16(h + i));
    }
}

/* Integer dots of one block (laid out as Q8_0) by `rows` rows of x. */
X86_INLINE void a8_tile_dot(const uint32_t dtype, const uint32_t rows, const uint8_t *q,
                               const a8_x *x, uint32_t b, __m256i s[A8_TILE][2])
{
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        s[t][0] = _mm256_setzero_si256();
        s[t][1] = _mm256_setzero_si256();
    }
    X86_UNROLL
    for (uint32_t g = 0; g < 8; g++) {
        __m256i w0 = a8_load(q + g * 64u);
        __m256i w1 = a8_load(q + g * 64u + 32u);
        __m256i a0 = a8_operand_q8(w0);
        __m256i a1 = a8_operand_q8(w1);
        X86_UNROLL
        for (uint32_t t = 0; t < rows; t++) {
            __m256i v = a8_broadcast(x[t].q + b * 32u + g * 4u);
            if (dtype == Q_Q8_0) {
                s[t][0] = a8_step_q8(s[t][0], a0, w0, v);
                s[t][1] = a8_step_q8(s[t][1], a1, w1, v);
            } else {
                s[t][0] = a8_step_q4(s[t][0], w0, v);
                s[t][1] = a8_step_q4(s[t][1], w1, v);
            }
            Q_AVX2_KEEP(s[t][0]);
            Q_AVX2_KEEP(s[t][1]);
        }
    }
}

/* acc [rows][16] += block b of a slab, whose quants are at q, by `rows` rows of x. */
X86_INLINE void a8_tile_block(const uint32_t dtype, const uint32_t rows, const a8_space *space,
                                 const uint8_t *q, uint32_t b, const a8_x *x, float *acc)
{
    __m256i s[A8_TILE][2];
    a8_tile_dot(dtype, rows, q, x, b, s);
    __m256 d0 = _mm256_load_ps(space->d[b]);
    __m256 d1 = _mm256_load_ps(space->d[b] + 8);
    __m256 m0 = dtype == Q_Q4_1 ? _mm256_load_ps(space->m[b]) : d0;
    __m256 m1 = dtype == Q_Q4_1 ? _mm256_load_ps(space->m[b] + 8) : d1;
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        float *c = acc + t * 16u;
        __m256 dx = _mm256_broadcast_ss(x[t].d + b);
        __m256i sum = _mm256_set1_epi32(x[t].sum[b]);
        __m256i i0 = dtype == Q_Q8_0 ? s[t][0] : a8_total_q4(s[t][0]);
        __m256i i1 = dtype == Q_Q8_0 ? s[t][1] : a8_total_q4(s[t][1]);
        _mm256_store_ps(c, a8_add_block(dtype, _mm256_load_ps(c), i0, d0, m0, dx, sum));
        _mm256_store_ps(c + 8, a8_add_block(dtype, _mm256_load_ps(c + 8), i1, d1, m1, dx, sum));
    }
}

/* acc [rows][16] += blocks of a slab by `rows` rows of x, whose second planes lie `second` bytes
   on. */
X86_INLINE void a8_tile(const uint32_t dtype, const uint32_t rows, const a8_space *space,
                           const uint8_t *q, uint32_t blocks, const a8_x *x, size_t second,
                           float *acc)
{
    a8_x rest[A8_TILE];
    for (uint32_t t = 0; t < rows; t++) {
        rest[t] = a8_x_plane(x[t], second);
    }
    for (uint32_t b = 0; b < blocks; b++) {
        a8_tile_block(dtype, rows, space, q + (size_t)b * 512u, b, x, acc);
        if (second != 0) {
            a8_tile_block(dtype, rows, space, q + (size_t)b * 512u, b, rest, acc);
        }
    }
}

/* Rows r .. r + rows - 1 by a slab of `blocks` blocks from block `first`. */
X86_INLINE void a8_slab_rows(const uint32_t dtype, const q_gemm_args *a, a8_space *space,
                                const uint8_t *q, uint32_t first, uint32_t blocks, uint32_t r,
                                uint32_t rows)
{
    a8_x x[A8_TILE];
    uint32_t t = 0;
    for (; t + A8_TILE <= rows; t += A8_TILE) {
        for (uint32_t i = 0; i < A8_TILE; i++) {
            x[i] = a8_x_at(a, r + t + i, first);
        }
        a8_tile(dtype, A8_TILE, space, q, blocks, x, a8_second_plane(a), space->acc[t]);
    }
    for (; t < rows; t++) {
        x[0] = a8_x_at(a, r + t, first);
        a8_tile(dtype, 1, space, q, blocks, x, a8_second_plane(a), space->acc[t]);
    }
}

/* Rows r .. r + rows - 1, at most a group, by panel p. */
X86_INLINE void a8_panel_rows(const uint32_t dtype, const q_gemm_args *a, a8_space *space,
                                 uint32_t p, uint32_t r, uint32_t rows)
{
    uint32_t m0 = p * Q_PANEL_ROWS;
    uint32_t lanes = a->m - m0 < Q_PANEL_ROWS ? a->m - m0 : (uint32_t)Q_PANEL_ROWS;
    uint32_t all = a->k / Q_BLOCK;
    a8_panel w = a8_panel_at(a, dtype, p);
    q_tile_start_avx2(rows, a->epilogue.bias, m0, lanes, space->acc[0], Q_PANEL_ROWS);
    for (uint32_t b = 0; b < all; b += A8_SLAB_BLOCKS) {
        uint32_t n = all - b < A8_SLAB_BLOCKS ? all - b : (uint32_t)A8_SLAB_BLOCKS;
        const uint8_t *q = dtype == Q_Q8_0 ? w.q + (size_t)b * 512u : space->quants;
        a8_unpack_scales(w.d + (size_t)b * 16u, n, space->d[0]);
        if (dtype == Q_Q4_1) {
            a8_unpack_scales(w.m + (size_t)b * 16u, n, space->m[0]);
        }
        if (dtype != Q_Q8_0) {
            a8_unpack_q4(w.q + (size_t)b * 256u, n, space->quants);
        }
        a8_slab_rows(dtype, a, space, q, b, n, r, rows);
    }
    q_tile_finish_avx2(&a->epilogue, r, rows, m0, lanes, space->acc[0], Q_PANEL_ROWS, a->y, a->y_stride);
}

X86_INLINE void a8_gemm(const uint32_t dtype, const q_work *work, const q_gemm_args *a)
{
    x86_part part =
        x86_share(work, q_count_value(work->run, a->rows), q_ceil_div_u32(a->m, Q_PANEL_ROWS));
    if (part.row1 - part.row0 < A8_FEW_ROWS) {
        a8_few_rows(dtype, a, part);
        return;
    }
    for (uint32_t r = part.row0; r < part.row1; r += Q_AVX2_GROUP_ROWS) {
        uint32_t n =
            part.row1 - r < Q_AVX2_GROUP_ROWS ? part.row1 - r : (uint32_t)Q_AVX2_GROUP_ROWS;
        for (uint32_t p = part.panel0; p < part.panel1; p++) {
            a8_panel_rows(dtype, a, (a8_space *)work->workspace, p, r, n);
        }
    }
}

#endif /* Q_GEMM_A8_AVX2_H */
