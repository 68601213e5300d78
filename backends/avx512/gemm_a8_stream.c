/* SPDX-License-Identifier: MIT */
/*
 * gemm_a8_stream.c: fast products of few rows (decode): each panel is read once from memory, unpacked in registers and
 * meets all rows, and both planes of each, at once.
 */
#include "gemm_a8.h"

enum {
    A8_FETCHES = 6,    /* times each cache line is asked for */
    A8_STREAM_TILE = 8 /* chains of integers at once: rows by planes by panels */
};

/* Bytes between two requests for a line, the last of which comes as far ahead of its use: as far as the processor needs
   to have enough lines under way, farther for types with more instructions per line. */
X86_INLINE uint32_t a8_fetch_step(const uint32_t dtype)
{
    return dtype == Q_Q8_0 ? 1792u : 2304u;
}

/* Fetches cache lines ahead: scales and quants of all panels form one stream, of which the processor's own prefetchers
   lose track. A processor that has as many lines under way as it can drops requests without a word, so each line is
   asked for again as its use draws nearer. It cannot fault: past the last panel it fetches for nothing. */
X86_INLINE void a8_prefetch(const uint32_t dtype, const void *q)
{
    X86_UNROLL
    for (uint32_t i = A8_FETCHES; i > 0; i--) {
        _mm_prefetch((const char *)((uintptr_t)q + i * a8_fetch_step(dtype)), _MM_HINT_T0);
    }
}

/* The start of the stream, which no earlier block has fetched. */
static void a8_prefetch_start(const void *weights, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i += 64) {
        _mm_prefetch((const char *)((uintptr_t)weights + i), _MM_HINT_T0);
    }
}

/* Chains of one block: rows of x, planes of each, panels. */
typedef __m512i a8_dots[A8_STREAM_TILE];

/* Workspace of a tile. */
typedef struct a8_stream_space {
    Q_ALIGNED(64) float out[A8_STREAM_TILE][Q_PANEL_ROWS]; /* where chains begin and end */
    a8_x x[A8_STREAM_TILE];
} a8_stream_space;

/* The integer dots of one block of Q4 panels by n planes of x, onto s. */
X86_INLINE void a8_stream_q4(const uint32_t n, const uint32_t panels, const a8_panel *w, const a8_x *x,
                                  uint32_t b, a8_dots s)
{
    const __m512i nibble = _mm512_set1_epi8(15);
    X86_UNROLL
    for (uint32_t g = 0; g < 4; g++) {
        X86_UNROLL
        for (uint32_t i = 0; i < panels; i++) {
            const uint8_t *q = w[i].q + (size_t)b * 256u + g * 64u;
            __m512i v = _mm512_load_si512(q);
            __m512i lo = _mm512_and_si512(v, nibble);
            __m512i hi = _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble);
            a8_prefetch(Q_Q4_0, q);
            X86_UNROLL
            for (uint32_t t = 0; t < n; t++) {
                __m512i *dot = &s[t * panels + i];
                *dot = _mm512_dpbusd_epi32(*dot, lo, a8_broadcast(x[t].q + b * 32u + g * 4u));
                *dot = _mm512_dpbusd_epi32(*dot, hi, a8_broadcast(x[t].q + b * 32u + g * 4u + 16u));
            }
        }
    }
}

X86_INLINE void a8_stream_q8(const uint32_t n, const uint32_t panels, const a8_panel *w, const a8_x *x,
                                  uint32_t b, a8_dots s)
{
    const __m512i sign = _mm512_set1_epi8((char)-128);
    X86_UNROLL
    for (uint32_t g = 0; g < 8; g++) {
        X86_UNROLL
        for (uint32_t i = 0; i < panels; i++) {
            const uint8_t *q = w[i].q + (size_t)b * 512u + g * 64u;
            __m512i v = _mm512_xor_si512(_mm512_load_si512(q), sign);
            a8_prefetch(Q_Q8_0, q);
            X86_UNROLL
            for (uint32_t t = 0; t < n; t++) {
                s[t * panels + i] =
                    _mm512_dpbusd_epi32(s[t * panels + i], v, a8_broadcast(x[t].q + b * 32u + g * 4u));
            }
        }
    }
}

/* One block by `rows` rows of `planes` planes and by `panels` panels. */
X86_INLINE void a8_stream_block(const uint32_t dtype, const uint32_t rows, const uint32_t planes,
                                     const uint32_t panels, const a8_panel *w, const a8_x *x, uint32_t b, __m512 *acc)
{
    a8_dots s;
    X86_UNROLL
    for (uint32_t j = 0; j < rows * planes * panels; j++) {
        s[j] = dtype == Q_Q4_1 ? _mm512_setzero_si512() : _mm512_set1_epi32(-a8_zero(dtype) * x[j / panels].sum[b]);
    }
    if (dtype == Q_Q8_0) {
        a8_stream_q8(rows * planes, panels, w, x, b, s);
    } else {
        a8_stream_q4(rows * planes, panels, w, x, b, s);
    }
    X86_UNROLL
    for (uint32_t i = 0; i < panels; i++) {
        __m512 d = vec_load_f16(w[i].d + b * 16u);
        __m512 m = dtype == Q_Q4_1 ? vec_load_f16(w[i].m + b * 16u) : d;
        a8_prefetch(dtype, w[i].d + b * 16u);
        if (dtype == Q_Q4_1) {
            a8_prefetch(dtype, w[i].m + b * 16u);
        }
        X86_UNROLL
        for (uint32_t t = 0; t < rows * planes; t++) {
            __m512 sum = _mm512_cvtepi32_ps(_mm512_set1_epi32(x[t].sum[b]));
            __m512 *c = &acc[t / planes * panels + i];
            *c = a8_add_block(dtype, *c, s[t * panels + i], d, m, _mm512_set1_ps(x[t].d[b]), sum);
        }
    }
}

/* Rows r .. r + rows - 1 by panels p .. p + panels - 1. */
X86_INLINE void a8_stream_tile(const uint32_t dtype, const uint32_t rows, const uint32_t planes,
                                    const uint32_t panels, const q_gemm_args *a, a8_stream_space *space, uint32_t p,
                                    uint32_t r)
{
    float(*out)[Q_PANEL_ROWS] = space->out;
    __m512 acc[A8_STREAM_TILE];
    a8_panel w[A8_STREAM_TILE];
    X86_UNROLL
    for (uint32_t i = 0; i < panels; i++) {
        w[i] = a8_panel_at(a, dtype, p + i);
        q_tile_start_avx512(1, a->epilogue.bias, (p + i) * Q_PANEL_ROWS, x86_panel_lanes(a->m, p + i), out[i], Q_PANEL_ROWS);
    }
    X86_UNROLL
    for (uint32_t j = 0; j < rows * panels; j++) {
        acc[j] = _mm512_load_ps(out[j % panels]);
    }
    for (uint32_t b = 0; b < a->k / Q_BLOCK; b++) {
        a8_stream_block(dtype, rows, planes, panels, w, space->x, b, acc);
    }
    X86_UNROLL
    for (uint32_t j = 0; j < rows * panels; j++) {
        _mm512_store_ps(out[j], acc[j]);
    }
    for (uint32_t i = 0; i < panels; i++) {
        q_tile_finish_avx512(&a->epilogue, r, rows, (p + i) * Q_PANEL_ROWS, x86_panel_lanes(a->m, p + i), out[i],
                             panels * Q_PANEL_ROWS, a->y, a->y_stride);
    }
}

/* The rows of a part, which are `rows`, by its panels. */
X86_INLINE void a8_stream_rows(const uint32_t dtype, const uint32_t rows, const uint32_t planes,
                                    const q_gemm_args *a, x86_part part, a8_stream_space *space)
{
    for (uint32_t t = 0; t < rows * planes; t++) {
        space->x[t] = a8_x_at(a, part.row0 + t / planes, t % planes, 0);
    }
    for (uint32_t p = part.panel0; p < part.panel1; p++) {
        a8_stream_tile(dtype, rows, planes, 1, a, space, p, part.row0);
    }
}

X86_INLINE void a8_stream_part(const uint32_t dtype, const uint32_t planes, const q_gemm_args *a,
                                    x86_part part, a8_stream_space *space)
{
    if (part.panel0 < part.panel1) {
        a8_prefetch_start(a8_panel_at(a, dtype, part.panel0).d, A8_FETCHES * a8_fetch_step(dtype));
    }
    switch (part.row1 - part.row0) {
    case 0:
        break;
    case 1:
        a8_stream_rows(dtype, 1, planes, a, part, space);
        break;
    case 2:
        a8_stream_rows(dtype, 2, planes, a, part, space);
        break;
    case 3:
        a8_stream_rows(dtype, 3, planes, a, part, space);
        break;
    default:
        a8_stream_rows(dtype, 4, planes, a, part, space);
        break;
    }
}

X86_INLINE void a8_stream_planes(const uint32_t dtype, const q_gemm_args *a, x86_part part,
                                      a8_stream_space *space)
{
    if (a8_planes(a) == 1) {
        a8_stream_part(dtype, 1, a, part, space);
    } else {
        a8_stream_part(dtype, 2, a, part, space);
    }
}

void q_gemm_a8_stream_avx512(const q_work *work, const q_gemm_args *a, uint32_t dtype, x86_part part)
{
    a8_stream_space *space = (a8_stream_space *)work->workspace;
    switch (dtype) {
    case Q_Q8_0:
        a8_stream_planes(Q_Q8_0, a, part, space);
        break;
    case Q_Q4_0:
        a8_stream_planes(Q_Q4_0, a, part, space);
        break;
    default:
        a8_stream_planes(Q_Q4_1, a, part, space);
        break;
    }
}
