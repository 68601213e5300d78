/* SPDX-License-Identifier: MIT */
/* gemm.h: where the exact products change from one form (product.c) to the other (gemm_stream.c). */
#ifndef Q_GEMM_AVX512_H
#define Q_GEMM_AVX512_H

#include "kernels_avx512.h"

enum { GEMM_FEW_ROWS = 3 }; /* below: the streaming form */

/* The rows and panels of `part`, row by row, each panel streamed once per row. */
void q_gemm_stream_avx512(const q_gemm_args *a, uint32_t dtype, avx512_part part);

#endif /* Q_GEMM_AVX512_H */
