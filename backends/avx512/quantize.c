/* SPDX-License-Identifier: MIT */
/*
 * quantize.c: activations to 8 bits, one scale per block of 32; and values rounded to that, or to a half, and back.
 *
 *   amax = max |x|, NaN left out;  d = amax/127;  q = rint(x * (127/amax)) within +-127, NaN gives 0
 *
 * A second plane does the same to x - q*d. Four blocks at a time, so that their maxima, quotients and sums share one
 * register.
 */
#include "kernels_avx512.h"

enum { QUANTIZE_BLOCKS = 4 };

/* Lane b of the result: the largest lane of m[b]; no lane is NaN or below 0. */
static inline __m128 quantize_lane_max4(const __m512 m[QUANTIZE_BLOCKS])
{
    __m512 s = _mm512_max_ps(_mm512_unpacklo_ps(m[0], m[1]), _mm512_unpackhi_ps(m[0], m[1]));
    __m512 t = _mm512_max_ps(_mm512_unpacklo_ps(m[2], m[3]), _mm512_unpackhi_ps(m[2], m[3]));
    s = _mm512_max_ps(_mm512_shuffle_ps(s, t, 0x44), _mm512_shuffle_ps(s, t, 0xee));
    __m256 u = _mm256_max_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));
    return _mm_max_ps(_mm256_castps256_ps128(u), _mm256_extractf128_ps(u, 1));
}

/* Lane b of the result: the sum of the lanes of m[b]. */
static inline __m128i quantize_lane_sum4(const __m512i m[QUANTIZE_BLOCKS])
{
    __m512i s = _mm512_add_epi32(_mm512_unpacklo_epi32(m[0], m[1]), _mm512_unpackhi_epi32(m[0], m[1]));
    __m512i t = _mm512_add_epi32(_mm512_unpacklo_epi32(m[2], m[3]), _mm512_unpackhi_epi32(m[2], m[3]));
    s = _mm512_add_epi32(_mm512_unpacklo_epi64(s, t), _mm512_unpackhi_epi64(s, t));
    __m256i u = _mm256_add_epi32(_mm512_castsi512_si256(s), _mm512_extracti64x4_epi64(s, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(u), _mm256_extracti128_si256(u, 1));
}

/* Nearest integers, half to even, limited to +-127; NaN gives 0. */
static inline __m512i quantize_sixteen(__m512 v)
{
    v = _mm512_maskz_min_ps(_mm512_cmp_ps_mask(v, v, _CMP_ORD_Q), v, _mm512_set1_ps(127.0f));
    return _mm512_cvtps_epi32(_mm512_max_ps(v, _mm512_set1_ps(-127.0f)));
}

/* n <= 4 blocks from `block` into one plane of a row of k values; v becomes what the plane leaves. */
X86_INLINE void quantize_blocks_avx512(const uint32_t n, __m512 v[QUANTIZE_BLOCKS][2], uint8_t *plane, uint32_t k,
                                            uint32_t block)
{
    const __mmask8 blocks = (__mmask8)((1u << n) - 1u);
    float *d = (float *)(void *)(plane + k) + block;
    int32_t *sum = (int32_t *)(void *)(plane + k) + k / Q_BLOCK + block;
    __m512 m[QUANTIZE_BLOCKS];
    __m512i total[QUANTIZE_BLOCKS];
    X86_UNROLL
    for (uint32_t b = 0; b < QUANTIZE_BLOCKS; b++) {
        total[b] = _mm512_setzero_si512();
        m[b] = _mm512_setzero_ps();
        if (b < n) {
            m[b] = _mm512_max_ps(_mm512_abs_ps(v[b][0]), m[b]);
            m[b] = _mm512_max_ps(_mm512_abs_ps(v[b][1]), m[b]);
        }
    }
    __m128 amax = quantize_lane_max4(m);
    __m128 scale = _mm_div_ps(amax, _mm_set1_ps(127.0f));
    __mmask8 some = _mm_cmp_ps_mask(amax, _mm_setzero_ps(), _CMP_GT_OQ);
    __m128 inverse = _mm_maskz_div_ps(some, _mm_set1_ps(127.0f), amax);
    X86_UNROLL
    for (uint32_t b = 0; b < n; b++) {
        const __m512i lane = _mm512_set1_epi32((int)b);
        const __m512 d_b = _mm512_permutexvar_ps(lane, _mm512_castps128_ps512(scale));
        const __m512 inverse_b = _mm512_permutexvar_ps(lane, _mm512_castps128_ps512(inverse));
        X86_UNROLL
        for (uint32_t i = 0; i < 2; i++) {
            __m512i r = quantize_sixteen(_mm512_mul_ps(v[b][i], inverse_b));
            v[b][i] = _mm512_sub_ps(v[b][i], _mm512_mul_ps(_mm512_cvtepi32_ps(r), d_b));
            total[b] = _mm512_add_epi32(total[b], r);
            _mm_storeu_si128((__m128i *)(void *)(plane + (block + b) * 32u + i * 16u), _mm512_cvtepi32_epi8(r));
        }
    }
    _mm_mask_storeu_ps(d, blocks, scale);
    _mm_mask_storeu_epi32(sum, blocks, quantize_lane_sum4(total));
}

/* The n <= 4 blocks from `block` of one row, one plane or two. */
X86_INLINE void quantize_part(const uint32_t n, const q_quantize_a8_args *a, const float *x, uint8_t *out,
                                   uint32_t block)
{
    __m512 v[QUANTIZE_BLOCKS][2];
    X86_UNROLL
    for (uint32_t i = 0; i < 2u * n; i++) {
        v[i / 2u][i % 2u] = _mm512_loadu_ps(x + block * 32u + i * 16u);
    }
    quantize_blocks_avx512(n, v, out, a->k, block);
    if (a->planes == 2) {
        quantize_blocks_avx512(n, v, out + a->k / 4u * 5u, a->k, block);
    }
}

void q_quantize_a8_avx512(const q_work *work, const q_quantize_a8_args *a)
{
    uint32_t blocks = a->k / Q_BLOCK;
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const float *x = x86_row(a->x, a->x_stride, r);
        uint8_t *out = (uint8_t *)a->out + a->out_stride * r;
        uint32_t b = 0;
        for (; b + QUANTIZE_BLOCKS <= blocks; b += QUANTIZE_BLOCKS) {
            quantize_part(QUANTIZE_BLOCKS, a, x, out, b);
        }
        for (; b < blocks; b++) {
            quantize_part(1, a, x, out, b);
        }
    }
}

static inline void round_quantize(__m512 v[2], uint8_t *plane)
{
    __m512 block[QUANTIZE_BLOCKS][2];
    block[0][0] = v[0];
    block[0][1] = v[1];
    quantize_blocks_avx512(1, block, plane, Q_BLOCK, 0);
    v[0] = block[0][0];
    v[1] = block[0][1];
}

static inline __m512 round_quants(const uint8_t *q)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)q)));
}

static inline __m512 round_f16(__m512 x)
{
    return _mm512_cvtph_ps(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}

static inline __m512 round_bf16(__m512 x)
{
    __m512i u = _mm512_castps_si512(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i near = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
    __m512i quiet = _mm512_or_si512(u, _mm512_set1_epi32(0x400000));
    __m512i r = _mm512_mask_mov_epi32(near, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), quiet);
    return _mm512_castsi512_ps(_mm512_and_si512(r, _mm512_set1_epi32((int)0xffff0000u)));
}

#include "../x86/round.h"

void q_round_avx512(const q_work *work, const q_round_args *a)
{
    round_rows(work, a);
}
