/* SPDX-License-Identifier: MIT */
/*
 * gemm_a8_vnni.c: fast products with vpdpbusd of AVX-VNNI, for processors that have it; the loops are in gemm_a8.h.
 * Compiled with -mavxvnni besides this folder's flags.
 *
 * vpdpbusd adds the products of 4 unsigned bytes by 4 signed ones to each 32-bit lane, exactly. Nibbles are the
 * unsigned side (Q4_0 then subtracts 8 * (sum of q_x)); so are bytes of Q8_0 plus 128, which is q_w ^ 0x80
 * (then 128 * (sum of q_x) is subtracted).
 */
#include "kernels_avx2.h"

X86_INLINE __m256i a8_total_q4(__m256i s)
{
    return s;
}

X86_INLINE __m256i a8_step_q4(__m256i s, __m256i w, __m256i x)
{
    return _mm256_dpbusd_avx_epi32(s, w, x);
}

X86_INLINE __m256i a8_operand_q8(__m256i w)
{
    return _mm256_xor_si256(w, _mm256_set1_epi8((char)-128));
}

X86_INLINE __m256i a8_step_q8(__m256i s, __m256i above, __m256i w, __m256i x)
{
    (void)w;
    return _mm256_dpbusd_avx_epi32(s, above, x);
}

X86_INLINE int a8_excess(const uint32_t dtype)
{
    return dtype == Q_Q4_0 ? 3 : dtype == Q_Q8_0 ? 7 : 0;
}

#include "gemm_a8.h"

void q_gemm_a8_q8_0_avx2vnni(const q_work *work, const q_gemm_args *a)
{
    a8_gemm(Q_Q8_0, work, a);
}

void q_gemm_a8_q4_0_avx2vnni(const q_work *work, const q_gemm_args *a)
{
    a8_gemm(Q_Q4_0, work, a);
}

void q_gemm_a8_q4_1_avx2vnni(const q_work *work, const q_gemm_args *a)
{
    a8_gemm(Q_Q4_1, work, a);
}
