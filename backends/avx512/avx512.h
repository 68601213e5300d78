/* SPDX-License-Identifier: MIT */
/*
 * avx512.h: what every file of this folder includes: the intrinsics and the masks of tails.
 *
 * Private to backends/avx512. Compiled with -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma
 * -mf16c -ffp-contract=off.
 */
#ifndef QORUS_BACKENDS_AVX512_AVX512_H
#define QORUS_BACKENDS_AVX512_AVX512_H

/* GCC's immintrin.h reaches for <stdlib.h> through mm_malloc.h; nothing here allocates. */
#ifndef _MM_MALLOC_H_INCLUDED
#define _MM_MALLOC_H_INCLUDED
#endif
#include <immintrin.h>

#include "qorus_types.h"

/* Mask of the first n of 16 lanes; n >= 16 gives all. */
static inline __mmask16 avx512_mask(uint32_t n)
{
    return n >= 16u ? (__mmask16)0xffff : (__mmask16)((1u << n) - 1u);
}

#endif /* QORUS_BACKENDS_AVX512_AVX512_H */
