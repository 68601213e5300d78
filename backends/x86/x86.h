/* SPDX-License-Identifier: MIT */
/*
 * x86.h: what the kernels of avx2/ and avx512/ have in common: addresses of rows, and how work is divided. The bodies of
 * kernels that both have stand beside it, one file per family, and are included by the file of that name in both folders;
 * their registers are those of the folder's own vec.h.
 */
#ifndef QORUS_BACKENDS_X86_X86_H
#define QORUS_BACKENDS_X86_X86_H

#include "qorus/backend.h"
#include "qorus/base/mem.h"
#include "qorus/base/panel.h"

/* Loops over registers must be unrolled, or the registers would be memory. */
#if defined(__clang__)
#define X86_UNROLL _Pragma("clang loop unroll(full)")
#else
#define X86_UNROLL _Pragma("GCC unroll 32")
#endif

/* For bodies instantiated with constant tile sizes: without it accumulators would live in memory. */
#define X86_INLINE static inline __attribute__((always_inline))
#define X86_NOINLINE __attribute__((noinline))

/* -- addresses --------------------------------------------------------------------------------- */

static inline const float *x86_row(const float *base, size_t stride, uint32_t r)
{
    return (const float *)(const void *)((const uint8_t *)(const void *)base + stride * r);
}

static inline float *x86_row_out(float *base, size_t stride, uint32_t r)
{
    return (float *)(void *)((uint8_t *)(void *)base + stride * r);
}

/* -- parts of a product ------------------------------------------------------------------------ */

/* Rows of panel p that a matrix of m rows has. */
static inline uint32_t x86_panel_lanes(uint32_t m, uint32_t p)
{
    uint32_t left = m - p * Q_PANEL_ROWS;
    return left < Q_PANEL_ROWS ? left : (uint32_t)Q_PANEL_ROWS;
}

/* The part of a product [rows x panels] that is this worker's: whole panels where there are enough of them, else
   whole rows. */
typedef struct x86_part {
    uint32_t row0;
    uint32_t row1;
    uint32_t panel0;
    uint32_t panel1;
} x86_part;

static inline x86_part x86_share(const q_work *work, uint32_t rows, uint32_t panels)
{
    x86_part part = {0, rows, 0, panels};
    if (panels >= 4u * work->n_workers || rows < 2u * work->n_workers) {
        q_share(work, panels, &part.panel0, &part.panel1);
    } else {
        q_share(work, rows, &part.row0, &part.row1);
    }
    return part;
}

/* -- parts of elementwise work ----------------------------------------------------------------- */

enum { X86_PIECE = 64 };

/* What one worker does: rows row0 .. row1 - 1, columns col0 .. col1 - 1. One row is shared in pieces of 64 columns,
   several rows whole. */
typedef struct x86_items {
    uint32_t row0;
    uint32_t row1;
    uint32_t col0;
    uint32_t col1;
} x86_items;

static inline x86_items x86_share_items(const q_work *work, uint32_t rows, uint32_t dim)
{
    x86_items part = {0, rows, 0, dim};
    if (rows > 1) {
        q_share(work, rows, &part.row0, &part.row1);
        return part;
    }
    q_share(work, q_ceil_div_u32(dim, X86_PIECE), &part.col0, &part.col1);
    part.col0 *= X86_PIECE;
    part.col1 = part.col1 * X86_PIECE < dim ? part.col1 * X86_PIECE : dim;
    return part;
}

#endif /* QORUS_BACKENDS_X86_X86_H */
