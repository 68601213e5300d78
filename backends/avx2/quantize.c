/* SPDX-License-Identifier: MIT */
/*
 * quantize.c: activations to 8 bits, one scale per block of 32; and values rounded to that, or to a half, and back.
 *
 *   amax = max |x|, NaN left out;  d = amax/127;  q = rint(x * (127/amax)) within +-127, NaN gives
 *   0
 *
 * A second plane does the same to x - q*d.
 */
#include "kernels_avx2.h"

static float quantize_block_amax(const __m256 v[4])
{
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    __m256 m = _mm256_setzero_ps();
    X86_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        m = _mm256_max_ps(_mm256_and_ps(v[i], magnitude), m);
    }
    return avx2_lane_max(m, m);
}

/* Nearest integers, half to even, limited to +-127; NaN gives 0. */
static __m256i quantize_eight(__m256 v)
{
    v = _mm256_and_ps(v, _mm256_cmp_ps(v, v, _CMP_ORD_Q));
    v = _mm256_min_ps(v, _mm256_set1_ps(127.0f));
    v = _mm256_max_ps(v, _mm256_set1_ps(-127.0f));
    return _mm256_cvtps_epi32(v);
}

/* One block into one plane of a row of k values; v becomes what the plane leaves. */
static inline void quantize_block_avx2(__m256 v[4], uint8_t *plane, uint32_t k, uint32_t block)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    float *d = (float *)(void *)(plane + k) + block;
    int32_t *sum = (int32_t *)(void *)(plane + k) + k / Q_BLOCK + block;
    __m256i r[4];
    float amax = quantize_block_amax(v);
    __m256 scale = _mm256_set1_ps(amax / 127.0f);
    __m256 inverse = _mm256_set1_ps(amax > 0 ? 127.0f / amax : 0.0f);
    X86_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        r[i] = quantize_eight(_mm256_mul_ps(v[i], inverse));
        v[i] = _mm256_sub_ps(v[i], _mm256_mul_ps(_mm256_cvtepi32_ps(r[i]), scale));
    }
    __m256i bytes =
        _mm256_packs_epi16(_mm256_packs_epi32(r[0], r[1]), _mm256_packs_epi32(r[2], r[3]));
    _mm256_storeu_si256((__m256i *)(void *)(plane + (size_t)block * Q_BLOCK),
                        _mm256_permutevar8x32_epi32(bytes, order));
    *d = _mm256_cvtss_f32(scale);
    *sum =
        q_hsum8_m256i(_mm256_add_epi32(_mm256_add_epi32(r[0], r[1]), _mm256_add_epi32(r[2], r[3])));
}

void q_quantize_a8_avx2(const q_work *work, const q_quantize_a8_args *a)
{
    uint32_t blocks = a->k / Q_BLOCK;
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        const float *x = x86_row(a->x, a->x_stride, r);
        uint8_t *out = (uint8_t *)a->out + a->out_stride * r;
        for (uint32_t b = 0; b < blocks; b++) {
            __m256 v[4];
            X86_UNROLL
            for (uint32_t i = 0; i < 4; i++) {
                v[i] = _mm256_loadu_ps(x + b * 32u + i * 8u);
            }
            quantize_block_avx2(v, out, a->k, b);
            if (a->planes == 2) {
                quantize_block_avx2(v, out + a->k / 4u * 5u, a->k, b);
            }
        }
    }
}

static inline void round_quantize(__m256 v[4], uint8_t *plane)
{
    quantize_block_avx2(v, plane, Q_BLOCK, 0);
}

static inline __m256 round_quants(const uint8_t *q)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)q)));
}

static inline __m256 round_f16(__m256 x)
{
    return _mm256_cvtph_ps(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}

static inline __m256 round_bf16(__m256 x)
{
    const __m256i upper = _mm256_set1_epi32((int)0xffff0000u);
    __m256i u = _mm256_castps_si256(x);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i near = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    __m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
    __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    return _mm256_blendv_ps(_mm256_castsi256_ps(_mm256_and_si256(near, upper)),
                            _mm256_castsi256_ps(_mm256_and_si256(quiet, upper)), nan);
}

#include "../x86/round.h"

void q_round_avx2(const q_work *work, const q_round_args *a)
{
    round_rows(work, a);
}
