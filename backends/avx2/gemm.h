/* SPDX-License-Identifier: MIT */
/*
 * gemm.h: what the two forms of the exact products share: many rows (gemm.c), few rows
 * (gemm_stream.c).
 */
#ifndef Q_GEMM_AVX2_H
#define Q_GEMM_AVX2_H

#include "kernels_avx2.h"

enum { GEMM_FEW_ROWS = 3 }; /* below: the streaming form */

/* The rows and panels of `part`, row by row, each panel streamed once per row. */
void q_gemm_stream_avx2(const q_gemm_args *a, uint32_t dtype, x86_part part);

/* Column i of the group of 4 whose bytes are in q: 8 rows, sign-extended, as f32. */
X86_INLINE __m256 gemm_signed_column(__m256i q, const int i)
{
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(q, 24 - 8 * i), 24));
}

/* The same of nibbles already shifted to the low half of each byte. */
X86_INLINE __m256 gemm_nibble_column(__m256i q, const int i)
{
    return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(q, 8 * i), _mm256_set1_epi32(15)));
}

#endif /* Q_GEMM_AVX2_H */
