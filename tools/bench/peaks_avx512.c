/* SPDX-License-Identifier: MIT */
/* peaks_avx512.c: the loops of peaks.h in AVX-512 and its VNNI. */
#include "peaks.h"

#include <immintrin.h>

static uint64_t fold(__m512i v)
{
    return (uint64_t)_mm512_reduce_or_epi64(v);
}

uint64_t peak_read_m512(const void *base, size_t n)
{
    const char *p = (const char *)base;
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (size_t i = 0; i < n; i += 256) {
        _mm_prefetch(p + i + 2048, _MM_HINT_T0);
        a = _mm512_xor_si512(a, _mm512_load_si512(p + i));
        b = _mm512_xor_si512(b, _mm512_load_si512(p + i + 64));
        c = _mm512_xor_si512(c, _mm512_load_si512(p + i + 128));
        d = _mm512_xor_si512(d, _mm512_load_si512(p + i + 192));
    }
    return fold(_mm512_xor_si512(_mm512_xor_si512(a, b), _mm512_xor_si512(c, d)));
}

uint64_t peak_fma_m512(uint64_t n)
{
    __m512 a = _mm512_set1_ps(1.0f - 1e-6f);
    __m512 b = _mm512_set1_ps(1e-6f);
    PEAK_DECLARE(__m512, a)
    for (uint64_t k = 0; k < n; k++) {
#define STEP(s) __asm__ volatile("vfmadd213ps %2, %1, %0" : "+v"(s) : "v"(a), "v"(b));
        PEAK_EACH(STEP)
#undef STEP
    }
    b = _mm512_setzero_ps();
#define SUM(s) b = _mm512_add_ps(b, s);
    PEAK_EACH(SUM)
#undef SUM
    return fold(_mm512_castps_si512(b));
}

uint64_t peak_int8_vnni512(uint64_t n)
{
    const __m512i w = _mm512_set1_epi8(3);
    __m512i x = _mm512_set1_epi8(5);
    PEAK_DECLARE(__m512i, x)
    for (uint64_t k = 0; k < n; k++) {
#define STEP(s) __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(s) : "v"(x), "v"(w));
        PEAK_EACH(STEP)
#undef STEP
    }
#define SUM(s) x = _mm512_xor_si512(x, s);
    PEAK_EACH(SUM)
#undef SUM
    return fold(x);
}
