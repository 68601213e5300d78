/* SPDX-License-Identifier: MIT */
/*
 * kv_store.c: appends the keys and values of this step to one layer's cache.
 *
 * Token at position p: K element d of head h goes to k_cache[h][p/16][d][p%16], V to
 * v_cache[h][p][d]. Workers take whole panels of 16 positions of a head: they never write the same
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

/* Rows r0 .. r1 - 1 of head h. */
Q_AVX2_INLINE void kv_head_rows(const bool half, const q_work *work, const q_kv_store_args *a,
                                uint32_t h, uint32_t r0, uint32_t r1)
{
    size_t head = (size_t)h * a->capacity * a->head_dim;
    for (uint32_t r = r0; r < r1; r++) {
        uint32_t p = work->run->position + r;
        size_t k_at = head + (size_t)(p / 16u) * a->head_dim * 16u + p % 16u;
        size_t v_at = head + (size_t)p * a->head_dim;
        const float *k = avx2_row(a->k, a->k_stride, r) + (size_t)h * a->head_dim;
        const float *v = avx2_row(a->v, a->v_stride, r) + (size_t)h * a->head_dim;
        if (half) {
            kv_token_f16(k, v, a->head_dim, (uint16_t *)a->k_cache + k_at,
                         (uint16_t *)a->v_cache + v_at);
        } else {
            kv_token_f32(k, v, a->head_dim, (float *)a->k_cache + k_at, (float *)a->v_cache + v_at);
        }
    }
}

Q_AVX2_INLINE void kv_store_rows(const bool half, const q_work *work, const q_kv_store_args *a)
{
    uint32_t rows = q_count_value(work->run, a->rows);
    uint32_t skip = work->run->position % 16u;
    uint32_t panels = q_ceil_div_u32(skip + rows, 16);
    uint32_t begin;
    uint32_t end;
    q_share(work, panels * a->kv_heads, &begin, &end);
    for (uint32_t u = begin; u < end; u++) {
        uint32_t first = u % panels * 16u;
        uint32_t r0 = first > skip ? first - skip : 0;
        uint32_t r1 = first + 16u - skip < rows ? first + 16u - skip : rows;
        kv_head_rows(half, work, a, u / panels, r0, r1);
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
