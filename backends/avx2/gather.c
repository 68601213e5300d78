/* SPDX-License-Identifier: MIT */
/*
 * gather.c: out[r][k] = scale * real(w[ids[r]][k]): embedding rows, and dequantisation where ids is
 * NULL.
 */
#include "kernels_avx2.h"

/* Where a row lies: element c of a float row is at base + c*step elements; block b of a quantised
   row has its scale at d + b*scale_step bytes and group g of 4 bytes at base + b*block_step +
   g*group_step. */
typedef struct gather_row_avx2 {
    const uint8_t *base;
    const uint8_t *d;
    const uint8_t *m; /* Q4_1 only */
    size_t step;
    size_t scale_step;
    size_t block_step;
    size_t group_step;
} gather_row_avx2;

static gather_row_avx2 gather_locate(const q_gather_args *a, uint32_t dtype, uint32_t row)
{
    const uint8_t *weights = (const uint8_t *)a->weights;
    gather_row_avx2 g;
    if (a->layout == Q_PANEL16) {
        uint32_t lane = row % Q_PANEL_ROWS;
        bool quantised = q_dtype_is_quantised(dtype);
        g.d = weights + a->weights_stride * (row / Q_PANEL_ROWS) + lane * 2u;
        g.m = g.d + (size_t)(a->k / Q_BLOCK) * Q_PANEL_ROWS * 2u;
        g.base = g.d - lane * 2u + q_panel_scale_bytes(dtype, a->k) +
                 (quantised ? lane * 4u : lane * q_dtype_block_bytes(dtype));
        g.step = Q_PANEL_ROWS;
        g.scale_step = Q_PANEL_ROWS * 2u;
        g.block_step = dtype == Q_Q8_0 ? 512u : 256u;
        g.group_step = 64;
        return g;
    }
    g.d = weights + a->weights_stride * row;
    g.m = g.d + 2;
    g.base = g.d + (dtype == Q_Q4_1 ? 4 : q_dtype_is_quantised(dtype) ? 2 : 0);
    g.step = 1;
    g.scale_step = q_dtype_block_bytes(dtype);
    g.block_step = g.scale_step;
    g.group_step = 4;
    return g;
}

static __m256 gather_half(const uint8_t *p)
{
    return _mm256_set1_ps(q_f32_from_f16((uint16_t)(p[0] | (uint32_t)p[1] << 8)));
}

static int32_t gather_i32(const uint8_t *p)
{
    int32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* Four groups of 4 bytes. */
static __m128i gather_bytes(const uint8_t *p, size_t step)
{
    return _mm_setr_epi32(gather_i32(p), gather_i32(p + step), gather_i32(p + 2 * step),
                          gather_i32(p + 3 * step));
}

/* 16 signed bytes under d, minimum min (-0 where there is none), times scale. */
static void gather_write(float *out, __m128i q, __m256 d, __m256 min, __m256 scale)
{
    __m256 lo = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q));
    __m256 hi = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(q, q)));
    lo = _mm256_add_ps(_mm256_mul_ps(d, lo), min);
    hi = _mm256_add_ps(_mm256_mul_ps(d, hi), min);
    _mm256_storeu_ps(out, _mm256_mul_ps(lo, scale));
    _mm256_storeu_ps(out + 8, _mm256_mul_ps(hi, scale));
}

static void gather_blocks(const gather_row_avx2 *g, uint32_t dtype, uint32_t k, float scale_value,
                          float *out)
{
    const __m256 scale = _mm256_set1_ps(scale_value);
    const __m128i nibble = _mm_set1_epi8(15);
    const __m128i zero = _mm_set1_epi8(dtype == Q_Q4_0 ? 8 : 0);
    for (uint32_t b = 0; b < k / Q_BLOCK; b++) {
        const uint8_t *q = g->base + b * g->block_step;
        __m256 d = gather_half(g->d + b * g->scale_step);
        __m256 min =
            dtype == Q_Q4_1 ? gather_half(g->m + b * g->scale_step) : _mm256_set1_ps(-0.0f);
        __m128i lo = gather_bytes(q, g->group_step);
        __m128i hi;
        if (dtype == Q_Q8_0) {
            hi = gather_bytes(q + 4 * g->group_step, g->group_step);
        } else {
            hi = _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(lo, 4), nibble), zero);
            lo = _mm_sub_epi8(_mm_and_si128(lo, nibble), zero);
        }
        gather_write(out + b * 32u, lo, d, min, scale);
        gather_write(out + b * 32u + 16u, hi, d, min, scale);
    }
}

/* n <= 8 elements from column c of a float row. */
static __m256 gather_floats(const gather_row_avx2 *g, uint32_t dtype, uint32_t c, uint32_t n)
{
    Q_ALIGNED(32) uint32_t v[8] = {0};
    for (uint32_t i = 0; i < n; i++) {
        size_t at = (size_t)(c + i) * g->step;
        if (dtype == Q_F32) {
            v[i] = ((const uint32_t *)(const void *)g->base)[at];
        } else {
            v[i] = ((const uint16_t *)(const void *)g->base)[at];
        }
    }
    __m256i bits = _mm256_load_si256((const __m256i *)(const void *)v);
    if (dtype == Q_F32) {
        return _mm256_castsi256_ps(bits);
    }
    if (dtype == Q_BF16) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
    }
    return _mm256_cvtph_ps(
        _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1)));
}

static void gather_elements(const gather_row_avx2 *g, uint32_t dtype, uint32_t k, float scale,
                            float *out)
{
    for (uint32_t c = 0; c < k; c += 8) {
        uint32_t n = k - c < 8u ? k - c : 8u;
        vec_store_n(out + c, n,
                     _mm256_mul_ps(gather_floats(g, dtype, c, n), _mm256_set1_ps(scale)));
    }
}

X86_INLINE void gather_rows(const uint32_t dtype, const q_work *work, const q_gather_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    for (uint32_t r = begin; r < end; r++) {
        gather_row_avx2 g = gather_locate(a, dtype, a->ids != NULL ? (uint32_t)a->ids[r] : r);
        float *out = x86_row_out(a->out, a->out_stride, r);
        if (q_dtype_is_quantised(dtype)) {
            gather_blocks(&g, dtype, a->k, a->scale, out);
        } else {
            gather_elements(&g, dtype, a->k, a->scale, out);
        }
    }
}

void q_gather_f32_avx2(const q_work *work, const q_gather_args *a)
{
    gather_rows(Q_F32, work, a);
}

void q_gather_f16_avx2(const q_work *work, const q_gather_args *a)
{
    gather_rows(Q_F16, work, a);
}

void q_gather_bf16_avx2(const q_work *work, const q_gather_args *a)
{
    gather_rows(Q_BF16, work, a);
}

void q_gather_q8_0_avx2(const q_work *work, const q_gather_args *a)
{
    gather_rows(Q_Q8_0, work, a);
}

void q_gather_q4_0_avx2(const q_work *work, const q_gather_args *a)
{
    gather_rows(Q_Q4_0, work, a);
}

void q_gather_q4_1_avx2(const q_work *work, const q_gather_args *a)
{
    gather_rows(Q_Q4_1, work, a);
}
