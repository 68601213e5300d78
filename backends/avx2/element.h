/* SPDX-License-Identifier: MIT */
/* element.h: how elementwise kernels are shared out: one row in pieces of 64 columns, several rows whole. */
#ifndef Q_AVX2_ELEMENT_H
#define Q_AVX2_ELEMENT_H

#include "kernels_avx2.h"

enum { ELEMENT_PIECE = 64 };

/* What one worker does: rows row0 .. row1 - 1, columns col0 .. col1 - 1. */
typedef struct element_part {
    uint32_t row0;
    uint32_t row1;
    uint32_t col0;
    uint32_t col1;
} element_part;

static inline element_part element_share(const q_work *work, uint32_t rows, uint32_t dim)
{
    element_part part = {0, rows, 0, dim};
    if (rows > 1) {
        q_share(work, rows, &part.row0, &part.row1);
        return part;
    }
    q_share(work, q_ceil_div_u32(dim, ELEMENT_PIECE), &part.col0, &part.col1);
    part.col0 *= ELEMENT_PIECE;
    part.col1 = part.col1 * ELEMENT_PIECE < dim ? part.col1 * ELEMENT_PIECE : dim;
    return part;
}

#endif /* Q_AVX2_ELEMENT_H */
