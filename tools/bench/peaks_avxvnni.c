/* SPDX-License-Identifier: MIT */
/* peaks_avxvnni.c: products of bytes with the VNNI of 256 bits that needs no AVX-512. */
#include "peaks.h"

#include <immintrin.h>

uint64_t peak_int8_vnni256(uint64_t n)
{
    const __m256i w = _mm256_set1_epi8(3);
    __m256i x = _mm256_set1_epi8(5);
    PEAK_DECLARE(__m256i, x)
    for (uint64_t k = 0; k < n; k++) {
#define STEP(s) __asm__ volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s) : "x"(x), "x"(w));
        PEAK_EACH(STEP)
#undef STEP
    }
#define SUM(s) x = _mm256_xor_si256(x, s);
    PEAK_EACH(SUM)
#undef SUM
    return (uint64_t)_mm256_extract_epi64(x, 0);
}
