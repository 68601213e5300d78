/* SPDX-License-Identifier: MIT */
/*
 * kv_store.c: appends the keys and values of this step to one layer's cache.
 *
 * Token at position p of its sequence: K element d of head h goes to k_cache[h][p/16][d][p%16], V to
 * v_cache[h][p][d], both of that sequence. Workers take whole panels of 16 positions of a head: they never write the same
 * cache line of K.
 */
#include "kernels_avx2.h"

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
        _mm_store_si128((__m128i *)(void *)kh, kv_halves(avx2_load_n(k + d, n)));
        _mm_store_si128((__m128i *)(void *)vh, kv_halves(avx2_load_n(v + d, n)));
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
        avx2_store_n(vo + d, dim - d, avx2_load_n(v + d, dim - d));
    }
}

/* Panels of 16 positions that the rows of a span touch. */
static inline uint32_t kv_span_panels(q_span span)
{
    return q_ceil_div_u32(span.position % 16u + span.rows, 16);
}

/* Rows of the span whose positions lie in its panel number `panel`, head h. */
Q_AVX2_INLINE void kv_store_panel(const bool half, const q_kv_store_args *a, q_span span,
                                  uint32_t panel, uint32_t h)
{
    size_t head = (size_t)h * a->capacity * a->head_dim;
    uint8_t *k_cache = (uint8_t *)a->k_cache + span.sequence * a->sequence_stride;
    uint8_t *v_cache = (uint8_t *)a->v_cache + span.sequence * a->sequence_stride;
    uint32_t skip = span.position % 16u;
    uint32_t first = panel * 16u;
    uint32_t end = first + 16u - skip < span.rows ? first + 16u - skip : span.rows;
    for (uint32_t i = first > skip ? first - skip : 0; i < end; i++) {
        uint32_t p = span.position + i;
        size_t k_at = head + (size_t)(p / 16u) * a->head_dim * 16u + p % 16u;
        size_t v_at = head + (size_t)p * a->head_dim;
        const float *k = avx2_row(a->k, a->k_stride, span.row + i) + (size_t)h * a->head_dim;
        const float *v = avx2_row(a->v, a->v_stride, span.row + i) + (size_t)h * a->head_dim;
        if (half) {
            kv_token_f16(k, v, a->head_dim, (uint16_t *)(void *)k_cache + k_at,
                         (uint16_t *)(void *)v_cache + v_at);
        } else {
            kv_token_f32(k, v, a->head_dim, (float *)(void *)k_cache + k_at,
                         (float *)(void *)v_cache + v_at);
        }
    }
}

/* Units are (panel of a span, head), those of a panel together. */
Q_AVX2_INLINE void kv_store_rows(const bool half, const q_work *work, const q_kv_store_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t spans = q_span_count(work->run);
    uint32_t panels = 0;
    uint32_t u;
    uint32_t end;
    for (uint32_t i = 0; i < spans; i++) {
        panels += kv_span_panels(q_span_at(work->run, rows, i));
    }
    q_share(work, panels * a->kv_heads, &u, &end);
    uint32_t first = 0;
    for (uint32_t i = 0; i < spans && u < end; i++) {
        q_span span = q_span_at(work->run, rows, i);
        uint32_t next = first + kv_span_panels(span);
        for (; u < end && u < next * a->kv_heads; u++) {
            kv_store_panel(half, a, span, u / a->kv_heads - first, u % a->kv_heads);
        }
        first = next;
    }
}

void q_kv_store_f32_avx2(const q_work *work, const q_kv_store_args *a)
{
    kv_store_rows(false, work, a);
}

void q_kv_store_f16_avx2(const q_work *work, const q_kv_store_args *a)
{
    kv_store_rows(true, work, a);
}
