/* SPDX-License-Identifier: MIT */
/* peaks_avx2.c: the loops of peaks.h in AVX2 and FMA. */
#include "peaks.h"

#include <immintrin.h>

static uint64_t fold(__m256i v)
{
    return (uint64_t)_mm256_extract_epi64(v, 0) ^ (uint64_t)_mm256_extract_epi64(v, 1) ^
           (uint64_t)_mm256_extract_epi64(v, 2) ^ (uint64_t)_mm256_extract_epi64(v, 3);
}

uint64_t peak_read_m256(const void *base, size_t n)
{
    const __m256i *p = (const __m256i *)base;
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (size_t i = 0; i < n / 32; i += 8) {
        a = _mm256_xor_si256(a, _mm256_xor_si256(_mm256_load_si256(p + i), _mm256_load_si256(p + i + 1)));
        b = _mm256_xor_si256(b, _mm256_xor_si256(_mm256_load_si256(p + i + 2), _mm256_load_si256(p + i + 3)));
        c = _mm256_xor_si256(c, _mm256_xor_si256(_mm256_load_si256(p + i + 4), _mm256_load_si256(p + i + 5)));
        d = _mm256_xor_si256(d, _mm256_xor_si256(_mm256_load_si256(p + i + 6), _mm256_load_si256(p + i + 7)));
    }
    return fold(_mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d)));
}

/* Four streams, each of a quarter, with a prefetch a few lines ahead. */
uint64_t peak_read_m256_streams(const void *base, size_t n)
{
    const __m256i *p = (const __m256i *)base;
    size_t quarter = n / 32 / 4;
    __m256i sum[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    for (size_t i = 0; i < quarter; i += 2) {
        for (size_t s = 0; s < 4; s++) {
            const __m256i *q = p + s * quarter + i;
            _mm_prefetch((const char *)(q + 32), _MM_HINT_T0);
            sum[s] = _mm256_xor_si256(sum[s], _mm256_xor_si256(_mm256_load_si256(q), _mm256_load_si256(q + 1)));
        }
    }
    return fold(_mm256_xor_si256(_mm256_xor_si256(sum[0], sum[1]), _mm256_xor_si256(sum[2], sum[3])));
}

uint64_t peak_fma_m256(uint64_t n)
{
    __m256 a = _mm256_set1_ps(1.0f - 1e-6f);
    __m256 b = _mm256_set1_ps(1e-6f);
    PEAK_DECLARE(__m256, a)
    for (uint64_t k = 0; k < n; k++) {
#define STEP(s) __asm__ volatile("vfmadd213ps %2, %1, %0" : "+x"(s) : "x"(a), "x"(b));
        PEAK_EACH(STEP)
#undef STEP
    }
    b = _mm256_setzero_ps();
#define SUM(s) b = _mm256_add_ps(b, s);
    PEAK_EACH(SUM)
#undef SUM
    return fold(_mm256_castps_si256(b));
}

/* What a processor without VNNI does for 32 products of bytes. */
uint64_t peak_int8_m256(uint64_t n)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i w = _mm256_set1_epi8(3);
    __m256i x = _mm256_set1_epi8(5);
    PEAK_DECLARE(__m256i, x)
    for (uint64_t k = 0; k < n; k++) {
        __m256i t;
#define STEP(s)                                                                                \
    __asm__ volatile("vpmaddubsw %3, %2, %1\n\tvpmaddwd %4, %1, %1\n\tvpaddd %1, %0, %0" \
                     : "+x"(s), "=&x"(t)                                                       \
                     : "x"(x), "x"(w), "x"(ones));
        PEAK_EACH(STEP)
#undef STEP
    }
#define SUM(s) x = _mm256_xor_si256(x, s);
    PEAK_EACH(SUM)
#undef SUM
    return fold(x);
}
