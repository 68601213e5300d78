/* SPDX-License-Identifier: MIT */
/*
 * gemm_a8.c: fast products with the 16-bit pairs of AVX2; the loops are in gemm_a8.h.
 *
 *   Q4    vpmaddubsw of nibbles (0..15) by q_x: a pair is at most 2*15*127 = 3810, so the 8 pairs
 *         of a block add up in 16 bits (30480 < 2^15), and one vpmaddwd by ones per block makes
 *         them i32. Q4_0 then subtracts 8 * (sum of q_x).
 *   Q8_0  vpmaddubsw of |q_w| (at most 128) by q_x with the sign of q_w: a pair is at most
 *         2*128*127 = 32512; widened at once. q_x is never -128, so its sign can be changed.
 */
#include "kernels_avx2.h"

/* 16-bit pairs to 32-bit lanes. */
X86_INLINE __m256i a8_total_q4(__m256i pairs)
{
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

X86_INLINE __m256i a8_step_q4(__m256i s, __m256i w, __m256i x)
{
    return _mm256_add_epi16(s, _mm256_maddubs_epi16(w, x));
}

X86_INLINE __m256i a8_operand_q8(__m256i w)
{
    return _mm256_abs_epi8(w);
}

X86_INLINE __m256i a8_step_q8(__m256i s, __m256i magnitude, __m256i w, __m256i x)
{
    return _mm256_add_epi32(s, a8_total_q4(_mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(x, w))));
}

X86_INLINE int a8_excess(const uint32_t dtype)
{
    return dtype == Q_Q4_0 ? 3 : 0;
}

#include "gemm_a8.h"

void q_gemm_a8_q8_0_avx2(const q_work *work, const q_gemm_args *a)
{
    a8_gemm(Q_Q8_0, work, a);
}

void q_gemm_a8_q4_0_avx2(const q_work *work, const q_gemm_args *a)
{
    a8_gemm(Q_Q4_0, work, a);
}

void q_gemm_a8_q4_1_avx2(const q_work *work, const q_gemm_args *a)
{
    a8_gemm(Q_Q4_1, work, a);
}
