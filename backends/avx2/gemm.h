/* SPDX-License-Identifier: MIT */
/* gemm.h: the exact products of few rows. */
#ifndef Q_GEMM_AVX2_H
#define Q_GEMM_AVX2_H

#include "kernels_avx2.h"

enum { GEMM_FEW_ROWS = 3 }; /* below: the streaming form */

/* The rows and panels of `part`, row by row, each panel streamed once per row. */
void q_gemm_stream_avx2(const q_gemm_args *a, uint32_t dtype, x86_part part);

#endif /* Q_GEMM_AVX2_H */
