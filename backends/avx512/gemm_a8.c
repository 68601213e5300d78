/* SPDX-License-Identifier: MIT */
/*
 * gemm_a8.c: fast products y[r][m] = sum over k of x[r][k] * w[m][k], x as 8-bit rows of quantize_a8.
 *
 * Per block of 32 columns, ascending, and per plane of x: i = sum of q_x*q_w, exact (gemm_a8.h); acc = acc + f32(i) * (d_w*d_x),
 * operations apart; Q4_1 then acc = acc + (m_w*d_x) * f32(sum of q_x).
 *
 * Register tile: 6 rows of x by 2 panels: 12 chains of integers, of which 8 cover the wait of vpdpbusd, and 12 of floats
 * leave 8 registers. Meanwhile the weights of the next two panels are fetched.
 */
#include "gemm_a8.h"

enum {
    A8_SLAB_BLOCKS = 24, /* 768 columns */
    A8_GROUP = 96,       /* rows of x that share an unpacked slab */
    A8_TILE = 6,         /* rows of x in a register tile */
    A8_PANELS = 2        /* panels in a register tile */
};

/* Workspace: a slab, panels side by side, and what belongs to its rows. */
typedef struct a8_space {
    uint8_t q[A8_SLAB_BLOCKS][8][A8_PANELS][64]; /* the unsigned side, one byte a column */
    float d[A8_SLAB_BLOCKS][A8_PANELS][Q_PANEL_ROWS];
    float m[A8_SLAB_BLOCKS][A8_PANELS][Q_PANEL_ROWS];
    float acc[A8_GROUP][A8_PANELS][Q_PANEL_ROWS];
    a8_x x[2][A8_TILE]; /* the planes of a tile's rows */
    int32_t start[2][A8_GROUP][A8_SLAB_BLOCKS]; /* of the chains of integers, per plane */
    uintptr_t ahead; /* the weights of the next panels, not yet fetched */
    uintptr_t ahead_end;
} a8_space;

Q_STATIC_ASSERT(sizeof(a8_space) <= Q_AVX512_WORKSPACE, "slab and chains fit the workspace");

/* -- unpacking ---------------------------------------------------------------------------------- */

static void a8_unpack_q4(const uint8_t *q, uint8_t out[8][A8_PANELS][64])
{
    const __m512i nibble = _mm512_set1_epi8(15);
    for (uint32_t g = 0; g < 4; g++) {
        __m512i w = _mm512_load_si512(q + g * 64u);
        _mm512_store_si512(out[g][0], _mm512_and_si512(w, nibble));
        _mm512_store_si512(out[g + 4][0], _mm512_and_si512(_mm512_srli_epi16(w, 4), nibble));
    }
}

static void a8_unpack_q8(const uint8_t *q, uint8_t out[8][A8_PANELS][64])
{
    const __m512i sign = _mm512_set1_epi8((char)-128);
    for (uint32_t g = 0; g < 8; g++) {
        _mm512_store_si512(out[g][0], _mm512_xor_si512(_mm512_load_si512(q + g * 64u), sign));
    }
}

/* Blocks first .. first + n - 1 of a panel, as panel i of the slab. */
X86_INLINE void a8_unpack(const uint32_t dtype, a8_panel w, uint32_t first, uint32_t n, uint32_t i,
                               a8_space *space)
{
    for (uint32_t b = 0; b < n; b++) {
        size_t at = (size_t)first + b;
        _mm512_store_ps(space->d[b][i], vec_load_f16(w.d + at * 16u));
        if (dtype == Q_Q4_1) {
            _mm512_store_ps(space->m[b][i], vec_load_f16(w.m + at * 16u));
        }
        if (dtype == Q_Q8_0) {
            a8_unpack_q8(w.q + at * 512u, (uint8_t(*)[A8_PANELS][64])(void *)space->q[b][0][i]);
        } else {
            a8_unpack_q4(w.q + at * 256u, (uint8_t(*)[A8_PANELS][64])(void *)space->q[b][0][i]);
        }
    }
}

/* Where the chains of integers of `rows` rows from r start in blocks first .. first + n - 1. */
X86_INLINE void a8_starts(const uint32_t dtype, const q_gemm_args *a, uint32_t r, uint32_t rows, uint32_t first,
                               uint32_t n, a8_space *space)
{
    for (uint32_t t = 0; t < rows * a8_planes(a) && dtype != Q_Q4_1; t++) {
        uint32_t plane = t / rows;
        const int32_t *sum = a8_x_at(a, r + t % rows, plane, first).sum;
        for (uint32_t b = 0; b < n; b += 16u) {
            __mmask16 mask = avx512_mask(n - b);
            __m512i v = _mm512_maskz_loadu_epi32(mask, sum + b);
            v = _mm512_slli_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), v), dtype == Q_Q8_0 ? 7 : 3);
            _mm512_mask_storeu_epi32(space->start[plane][t % rows] + b, mask, v);
        }
    }
}

/* -- the register tile -------------------------------------------------------------------------- */

/* Integer dots of block b of the slab by one plane of `rows` rows of x. */
X86_INLINE void a8_tile_dot(const uint32_t dtype, const uint32_t rows,
                                 const a8_space *space, int32_t (*start)[A8_SLAB_BLOCKS], const a8_x *x,
                                 uint32_t b, __m512i s[A8_TILE][A8_PANELS])
{
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        __m512i v = dtype == Q_Q4_1 ? _mm512_setzero_si512() : _mm512_set1_epi32(start[t][b]);
        X86_UNROLL
        for (uint32_t i = 0; i < A8_PANELS; i++) {
            s[t][i] = v;
        }
    }
    X86_UNROLL
    for (uint32_t g = 0; g < 8; g++) {
        __m512i w[A8_PANELS];
        X86_UNROLL
        for (uint32_t i = 0; i < A8_PANELS; i++) {
            w[i] = _mm512_load_si512(space->q[b][g][i]);
        }
        X86_UNROLL
        for (uint32_t t = 0; t < rows; t++) {
            __m512i v = a8_broadcast(x[t].q + b * 32u + g * 4u);
            X86_UNROLL
            for (uint32_t i = 0; i < A8_PANELS; i++) {
                s[t][i] = _mm512_dpbusd_epi32(s[t][i], w[i], v);
            }
        }
    }
}

/* acc += block b of the slab by one plane of `rows` rows of x. */
X86_INLINE void a8_tile_block(const uint32_t dtype, const uint32_t rows,
                                   const a8_space *space, int32_t (*start)[A8_SLAB_BLOCKS], const a8_x *x,
                                   uint32_t b, __m512 acc[A8_TILE][A8_PANELS])
{
    __m512i s[A8_TILE][A8_PANELS];
    a8_tile_dot(dtype, rows, space, start, x, b, s);
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        __m512 dx = _mm512_set1_ps(x[t].d[b]);
        __m512 sum = _mm512_cvtepi32_ps(_mm512_set1_epi32(x[t].sum[b]));
        X86_UNROLL
        for (uint32_t i = 0; i < A8_PANELS; i++) {
            __m512 d = _mm512_load_ps(space->d[b][i]);
            __m512 m = dtype == Q_Q4_1 ? _mm512_load_ps(space->m[b][i]) : d;
            acc[t][i] = a8_add_block(dtype, acc[t][i], s[t][i], d, m, dx, sum);
        }
    }
}

/* Asks for two lines of the next panels, to wait in the second cache. */
static inline void a8_fetch_ahead(a8_space *space)
{
    if (space->ahead < space->ahead_end) {
        _mm_prefetch((const char *)space->ahead, _MM_HINT_T1);
        _mm_prefetch((const char *)(space->ahead + 64u), _MM_HINT_T1);
        space->ahead += 128u;
    }
}

/* Rows t .. t + rows - 1 of the group that begins at row r, by n blocks of the slab from block `first`. */
X86_INLINE void a8_tile(const uint32_t dtype, const uint32_t rows, const uint32_t planes,
                             const q_gemm_args *a, a8_space *space, uint32_t r, uint32_t t, uint32_t first, uint32_t n)
{
    __m512 acc[A8_TILE][A8_PANELS];
    a8_x(*x)[A8_TILE] = space->x;
    for (uint32_t j = 0; j < rows * planes; j++) {
        x[j / rows][j % rows] = a8_x_at(a, r + t + j % rows, j / rows, first);
    }
    X86_UNROLL
    for (uint32_t j = 0; j < rows * A8_PANELS; j++) {
        acc[j / A8_PANELS][j % A8_PANELS] = _mm512_load_ps(space->acc[t + j / A8_PANELS][j % A8_PANELS]);
    }
    for (uint32_t b = 0; b < n; b++) {
        a8_fetch_ahead(space);
        for (uint32_t plane = 0; plane < planes; plane++) {
            a8_tile_block(dtype, rows, space, space->start[plane] + t, x[plane], b, acc);
        }
    }
    X86_UNROLL
    for (uint32_t j = 0; j < rows * A8_PANELS; j++) {
        _mm512_store_ps(space->acc[t + j / A8_PANELS][j % A8_PANELS], acc[j / A8_PANELS][j % A8_PANELS]);
    }
}

/* All rows of a group by n blocks from block `first`. */
X86_INLINE void a8_slab(const uint32_t dtype, const uint32_t planes, const q_gemm_args *a,
                             a8_space *space, uint32_t r, uint32_t rows, uint32_t first, uint32_t n)
{
    const uint32_t tile = planes == 1 ? (uint32_t)A8_TILE : 4u; /* two planes: less stack */
    uint32_t t = 0;
    for (; t + tile <= rows; t += tile) {
        a8_tile(dtype, tile, planes, a, space, r, t, first, n);
    }
    for (; t + 2u <= rows; t += 2u) {
        a8_tile(dtype, 2, planes, a, space, r, t, first, n);
    }
    for (; t < rows; t++) {
        a8_tile(dtype, 1, planes, a, space, r, t, first, n);
    }
}

/* Rows r .. r + rows - 1, at most a group, by panels p and p + 1, of which `panels` count: where
   that is 1, panel p is taken twice. */
X86_INLINE void a8_panels(const uint32_t dtype, const uint32_t planes, uint32_t panels, const q_gemm_args *a,
                               a8_space *space, uint32_t p, uint32_t r, uint32_t rows)
{
    uint32_t blocks = a->k / Q_BLOCK;
    for (uint32_t i = 0; i < A8_PANELS; i++) {
        uint32_t at = i < panels ? p + i : p;
        q_tile_start_avx512(rows, a->epilogue.bias, at * Q_PANEL_ROWS, x86_panel_lanes(a->m, at), space->acc[0][i],
                            A8_PANELS * Q_PANEL_ROWS);
    }
    for (uint32_t b = 0; b < blocks; b += A8_SLAB_BLOCKS) {
        uint32_t n = blocks - b < A8_SLAB_BLOCKS ? blocks - b : (uint32_t)A8_SLAB_BLOCKS;
        for (uint32_t i = 0; i < A8_PANELS; i++) {
            a8_unpack(dtype, a8_panel_at(a, dtype, i < panels ? p + i : p), b, n, i, space);
        }
        a8_starts(dtype, a, r, rows, b, n, space);
        a8_slab(dtype, planes, a, space, r, rows, b, n);
    }
    for (uint32_t i = 0; i < panels; i++) {
        q_tile_finish_avx512(&a->epilogue, r, rows, (p + i) * Q_PANEL_ROWS, x86_panel_lanes(a->m, p + i), space->acc[0][i],
                             A8_PANELS * Q_PANEL_ROWS, a->y, a->y_stride);
    }
}

X86_INLINE void a8_many_rows(const uint32_t dtype, const uint32_t planes, const q_gemm_args *a, a8_space *space,
                                  x86_part part)
{
    for (uint32_t r = part.row0; r < part.row1; r += A8_GROUP) {
        uint32_t rows = part.row1 - r < A8_GROUP ? part.row1 - r : (uint32_t)A8_GROUP;
        for (uint32_t p = part.panel0; p < part.panel1; p += A8_PANELS) {
            uint32_t left = part.panel1 - p;
            uint32_t panels = left < A8_PANELS ? left : (uint32_t)A8_PANELS;
            uint32_t after = left < 2u * A8_PANELS ? left : 2u * A8_PANELS;
            space->ahead = (uintptr_t)a8_panel_at(a, dtype, p + panels).d;
            space->ahead_end = (uintptr_t)a8_panel_at(a, dtype, p + after).d;
            a8_panels(dtype, planes, panels, a, space, p, r, rows);
        }
    }
}

/* Apart, so that their stack is not below the other form's; the planes a constant, so that no loop over them keeps a
   slab's registers from the chains. */
static X86_NOINLINE void a8_many_q8_0_1(const q_gemm_args *a, a8_space *space, x86_part part)
{
    a8_many_rows(Q_Q8_0, 1, a, space, part);
}

static X86_NOINLINE void a8_many_q8_0_2(const q_gemm_args *a, a8_space *space, x86_part part)
{
    a8_many_rows(Q_Q8_0, 2, a, space, part);
}

static X86_NOINLINE void a8_many_q4_0_1(const q_gemm_args *a, a8_space *space, x86_part part)
{
    a8_many_rows(Q_Q4_0, 1, a, space, part);
}

static X86_NOINLINE void a8_many_q4_0_2(const q_gemm_args *a, a8_space *space, x86_part part)
{
    a8_many_rows(Q_Q4_0, 2, a, space, part);
}

static X86_NOINLINE void a8_many_q4_1_1(const q_gemm_args *a, a8_space *space, x86_part part)
{
    a8_many_rows(Q_Q4_1, 1, a, space, part);
}

static X86_NOINLINE void a8_many_q4_1_2(const q_gemm_args *a, a8_space *space, x86_part part)
{
    a8_many_rows(Q_Q4_1, 2, a, space, part);
}

static void a8_gemm_avx512(const q_work *work, const q_gemm_args *a, uint32_t dtype)
{
    const bool one = a8_planes(a) == 1;
    x86_part part =
        x86_share(work, q_count_value(work->run, a->rows), q_ceil_div_u32(a->m, Q_PANEL_ROWS));
    a8_space *space = (a8_space *)work->workspace;
    if (part.row1 - part.row0 < A8_FEW_ROWS) {
        q_gemm_a8_stream_avx512(work, a, dtype, part);
    } else if (dtype == Q_Q8_0) {
        one ? a8_many_q8_0_1(a, space, part) : a8_many_q8_0_2(a, space, part);
    } else if (dtype == Q_Q4_0) {
        one ? a8_many_q4_0_1(a, space, part) : a8_many_q4_0_2(a, space, part);
    } else {
        one ? a8_many_q4_1_1(a, space, part) : a8_many_q4_1_2(a, space, part);
    }
}

void q_gemm_a8_q8_0_avx512(const q_work *work, const q_gemm_args *a)
{
    a8_gemm_avx512(work, a, Q_Q8_0);
}

void q_gemm_a8_q4_0_avx512(const q_work *work, const q_gemm_args *a)
{
    a8_gemm_avx512(work, a, Q_Q4_0);
}

void q_gemm_a8_q4_1_avx512(const q_work *work, const q_gemm_args *a)
{
    a8_gemm_avx512(work, a, Q_Q4_1);
}
