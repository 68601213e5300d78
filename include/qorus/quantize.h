/* SPDX-License-Identifier: MIT */
/*
 * quantize.h: weights from F32 to every weight type and back, and from plain rows to panels and
 * back.
 *
 * Plain rows of all types and panel16 are those of qorus/base/panel.h; sizes come from
 * q_matrix_bytes(). Each step of a quantiser is one IEEE single-precision operation, so the bytes
 * are the same on every machine and equal those of tools/qorus_py/quant.py. Per block of 32 x:
 *
 *   Q8_0  d = max|x| / 127;                        q = x * (1/d), rounded, halves away from zero
 *   Q4_0  d = (first x of largest magnitude) / -8; q = min(15, trunc(x * (1/d) + 8.5))
 *   Q4_1  m = min x, d = (max x - m) / 15;         q = min(15, trunc((x - m) * (1/d) + 0.5))
 *   F16, BF16  nearest, ties to even
 *
 * q is found with d and m in F32; then both are stored as F16. These are the semantics of GGUF's
 * reference; where it leaves a result to the machine, here 1/d counts as 0 if it is not finite, and
 * d and m of Q4_1 are never -0.
 *
 * All functions: rows and k >= 1; k a multiple of 32 for quantised types; buffers may not overlap.
 * Errors: Q_ERR_INVALID_ARG (a NULL), INVALID_DTYPE (not a weight type), INVALID_SIZE (k, or rows
 * by k too large), ALIASING.
 */
#ifndef QORUS_QUANTIZE_H
#define QORUS_QUANTIZE_H

#include "../qorus_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * x [rows][k] -> out, plain rows of dtype. Q_ERR_NON_FINITE: a value is NaN or infinite, or it, or
 * a scale, does not fit the type; diag.offset is the index of the block's first element. On an
 * error out is undefined. Cost: O(rows*k).
 */
Q_NODISCARD q_error_code q_quantize(uint32_t dtype, const float *x, size_t rows, size_t k,
                                    void *out, q_diag *diag);

/* Plain rows of dtype -> out [rows][k]. Q4_1 rounds d*q, then the sum with m. Cost: O(rows*k). */
Q_NODISCARD q_error_code q_dequantize(uint32_t dtype, const void *in, size_t rows, size_t k,
                                      float *out, q_diag *diag);

/* Plain rows -> ceil(rows/16) panels; rows missing in the last one are zero bytes. Cost: O(rows*k).
   With rows <= 16 it packs one panel, so a matrix can be streamed. */
Q_NODISCARD q_error_code q_panel_pack(uint32_t dtype, const void *in, size_t rows, size_t k,
                                      void *panels, q_diag *diag);

/* The inverse: the first `rows` rows of the panels. Cost: O(rows*k). */
Q_NODISCARD q_error_code q_panel_unpack(uint32_t dtype, const void *panels, size_t rows, size_t k,
                                        void *out, q_diag *diag);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_QUANTIZE_H */
