/* SPDX-License-Identifier: MIT */
/*
 * kv_store.c: appends the keys and values of this step to one layer's cache.
 *
 * Token at position p of its sequence: K element d of head h goes to k_cache[h][p/16][d][p%16], V
 * to v_cache[h][p][d], both of that sequence; Q8_0 as qorus/base/kv.h has it. Workers take whole
 * panels of 16 positions of a head: they never write the same cache line of K.
 */
#include "kernels_avx2.h"
#include "qorus/base/kv.h"

/* Eight halves, rounded half to even. */
static __m128i kv_halves(__m256 v)
{
    return _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static void kv_token_f16(const float *k, const float *v, uint32_t dim, uint16_t *ko, uint16_t *vo)
{
    for (uint32_t d = 0; d < dim; d += 8) {
        Q_ALIGNED(16) uint16_t kh[8];
        Q_ALIGNED(16) uint16_t vh[8];
        uint32_t n = dim - d < 8u ? dim - d : 8u;
        _mm_store_si128((__m128i *)(void *)kh, kv_halves(vec_load_n(k + d, n)));
        _mm_store_si128((__m128i *)(void *)vh, kv_halves(vec_load_n(v + d, n)));
        for (uint32_t i = 0; i < n; i++) {
            ko[(size_t)(d + i) * 16u] = kh[i];
        }
        memcpy(vo + d, vh, n * sizeof(uint16_t));
    }
}

static void kv_token_f32(const float *k, const float *v, uint32_t dim, float *ko, float *vo)
{
    for (uint32_t d = 0; d < dim; d++) {
        ko[(size_t)d * 16u] = k[d];
    }
    for (uint32_t d = 0; d < dim; d += 8) {
        vec_store_n(vo + d, dim - d, vec_load_n(v + d, dim - d));
    }
}

/* Eight values to integers, half away from zero; NaN gives 0. |v| < 2^24 */
static inline __m256i kv_quants(__m256 v)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 a = _mm256_andnot_ps(sign, v);
    __m256 q = _mm256_round_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    __m256 up = _mm256_cmp_ps(_mm256_sub_ps(a, q), _mm256_set1_ps(0.5f), _CMP_GE_OQ);
    q = _mm256_add_ps(q, _mm256_and_ps(up, _mm256_set1_ps(1.0f)));
    q = _mm256_or_ps(q, _mm256_and_ps(sign, v));
    return _mm256_cvttps_epi32(_mm256_and_ps(q, _mm256_cmp_ps(v, v, _CMP_ORD_Q)));
}

static inline __m128i kv_shorts(__m256i q)
{
    return _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
}

/* One block of 32 values to bytes at q, 16-byte aligned; returns the scale. */
static uint16_t kv_block(const float *x, uint8_t *q)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 v[4];
    __m256 amax = _mm256_setzero_ps();
    for (uint32_t i = 0; i < 4; i++) {
        v[i] = _mm256_loadu_ps(x + i * 8u);
        amax = _mm256_max_ps(_mm256_andnot_ps(sign, v[i]), amax);
    }
    float d = q_hmax8_m256(amax) / 127.0f;
    float inverse = d > 0.0f ? 1.0f / d : 0.0f;
    __m256 factor = _mm256_set1_ps(inverse <= 0x1.fffffep127f ? inverse : 0.0f);
    for (uint32_t i = 0; i < 4; i += 2) {
        __m128i low = kv_shorts(kv_quants(_mm256_mul_ps(v[i], factor)));
        __m128i high = kv_shorts(kv_quants(_mm256_mul_ps(v[i + 1u], factor)));
        _mm_store_si128((__m128i *)(void *)(q + i * 8u), _mm_packs_epi16(low, high));
    }
    return q_f16_from_f32(d);
}

/* ko and vo: the groups of K and V. */
static void kv_token_q8_0(const float *k, const float *v, uint32_t dim, uint32_t p, uint8_t *ko,
                          uint8_t *vo)
{
    uint8_t *kq = ko + dim + p % 16u;
    uint8_t *vq = vo + dim + (size_t)(p % 16u) * dim;
    for (uint32_t d = 0; d < dim; d += Q_BLOCK) {
        Q_ALIGNED(16) uint8_t q[Q_BLOCK];
        size_t scale = q_kv_q8_0_scale(p, d) * sizeof(uint16_t);
        uint16_t half = kv_block(k + d, q);
        memcpy(ko + scale, &half, sizeof(half));
        for (uint32_t i = 0; i < Q_BLOCK; i++) {
            kq[(size_t)(d + i) * 16u] = q[i];
        }
        half = kv_block(v + d, q);
        memcpy(vo + scale, &half, sizeof(half));
        memcpy(vq + d, q, Q_BLOCK);
    }
}

/* Panels of 16 positions that the rows of a span touch. */
static inline uint32_t kv_span_panels(q_span span)
{
    return q_ceil_div_u32(span.position % 16u + span.rows, 16);
}

/* Rows of the span whose positions lie in its panel number `panel`, head h. */
X86_INLINE void kv_store_panel(const uint32_t dtype, const q_kv_store_args *a, q_span span,
                                  uint32_t panel, uint32_t h)
{
    size_t head = (size_t)q_kv_head_bytes(dtype, a->capacity, a->head_dim) * h;
    uint8_t *k_cache = (uint8_t *)a->k_cache + span.sequence * a->sequence_stride + head;
    uint8_t *v_cache = (uint8_t *)a->v_cache + span.sequence * a->sequence_stride + head;
    uint32_t skip = span.position % 16u;
    uint32_t first = panel * 16u;
    uint32_t end = first + 16u - skip < span.rows ? first + 16u - skip : span.rows;
    for (uint32_t i = first > skip ? first - skip : 0; i < end; i++) {
        uint32_t p = span.position + i;
        size_t k_at = (size_t)(p / 16u) * a->head_dim * 16u + p % 16u;
        size_t v_at = (size_t)p * a->head_dim;
        const float *k = x86_row(a->k, a->k_stride, span.row + i) + (size_t)h * a->head_dim;
        const float *v = x86_row(a->v, a->v_stride, span.row + i) + (size_t)h * a->head_dim;
        if (dtype == Q_Q8_0) {
            size_t group = q_kv_q8_0_group(a->head_dim, p);
            kv_token_q8_0(k, v, a->head_dim, p, k_cache + group, v_cache + group);
        } else if (dtype == Q_F16) {
            kv_token_f16(k, v, a->head_dim, (uint16_t *)(void *)k_cache + k_at,
                         (uint16_t *)(void *)v_cache + v_at);
        } else {
            kv_token_f32(k, v, a->head_dim, (float *)(void *)k_cache + k_at,
                         (float *)(void *)v_cache + v_at);
        }
    }
}

/* Units are (panel of a span, head), those of a panel together. */
X86_INLINE void kv_store_rows(const uint32_t dtype, const q_work *work, const q_kv_store_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t spans = q_parts_count(work->run, rows, a->per_sample);
    uint32_t panels = 0;
    uint32_t u;
    uint32_t end;
    for (uint32_t i = 0; i < spans; i++) {
        panels += kv_span_panels(q_part_at(work->run, rows, a->per_sample, i));
    }
    q_share(work, panels * a->kv_heads, &u, &end);
    uint32_t first = 0;
    for (uint32_t i = 0; i < spans && u < end; i++) {
        q_span span = q_part_at(work->run, rows, a->per_sample, i);
        uint32_t next = first + kv_span_panels(span);
        for (; u < end && u < next * a->kv_heads; u++) {
            kv_store_panel(dtype, a, span, u / a->kv_heads - first, u % a->kv_heads);
        }
        first = next;
    }
}

void q_kv_store_f32_avx2(const q_work *work, const q_kv_store_args *a)
{
    kv_store_rows(Q_F32, work, a);
}

void q_kv_store_f16_avx2(const q_work *work, const q_kv_store_args *a)
{
    kv_store_rows(Q_F16, work, a);
}

void q_kv_store_q8_0_avx2(const q_work *work, const q_kv_store_args *a)
{
    kv_store_rows(Q_Q8_0, work, a);
}
