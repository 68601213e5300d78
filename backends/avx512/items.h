/* SPDX-License-Identifier: MIT */
/* items.h: how elementwise kernels are shared out: one row in pieces of 64 columns, several rows whole. */
#ifndef Q_AVX512_ITEMS_H
#define Q_AVX512_ITEMS_H

#include "kernels_avx512.h"

enum { ITEM_PIECE = 64 };

/* What one worker does: rows row0 .. row1 - 1, columns col0 .. col1 - 1. */
typedef struct item_part {
    uint32_t row0;
    uint32_t row1;
    uint32_t col0;
    uint32_t col1;
} item_part;

static inline item_part item_share(const q_work *work, uint32_t rows, uint32_t dim)
{
    item_part part = {0, rows, 0, dim};
    if (rows > 1) {
        q_share(work, rows, &part.row0, &part.row1);
        return part;
    }
    q_share(work, q_ceil_div_u32(dim, ITEM_PIECE), &part.col0, &part.col1);
    part.col0 *= ITEM_PIECE;
    part.col1 = part.col1 * ITEM_PIECE < dim ? part.col1 * ITEM_PIECE : dim;
    return part;
}

#endif /* Q_AVX512_ITEMS_H */
