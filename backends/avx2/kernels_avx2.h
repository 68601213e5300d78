/* SPDX-License-Identifier: MIT */
/*
 * kernels_avx2.h: what the files of the AVX2 backend share: its kernels, tails, and the pieces of a
 * tile.
 *
 * Every kernel gives the bits of the scalar one. A tail of fewer than 8 values goes through masked
 * loads and stores, so that nothing outside the operands is touched and tails take the same
 * instructions as the rest.
 */
#ifndef Q_KERNELS_AVX2_H
#define Q_KERNELS_AVX2_H

#include "qorus/backend.h"
#include "qorus/base/fma.h"
#include "qorus/base/half.h"
#include "qorus/base/mem.h"
#include "qorus/base/panel.h"
#ifdef __AVX2__ /* not in avx2.c, which runs on every CPU */
#include "avx2.h"
#endif

/* Loops over registers must be unrolled, or the registers would be memory. */
#if defined(__clang__)
#define Q_AVX2_UNROLL _Pragma("clang loop unroll(full)")
#else
#define Q_AVX2_UNROLL _Pragma("GCC unroll 16")
#endif

/* Pins a sum of integers to this place: compilers otherwise join a chain of them into a tree that
   needs more values than there are registers. */
#define Q_AVX2_KEEP(v) __asm__ volatile("" : "+x"(v))

/* For bodies instantiated with constant tile sizes: without it accumulators would live in memory.
   */
#define Q_AVX2_INLINE static inline __attribute__((always_inline))

enum {
    Q_AVX2_TILE_ROWS = 6,    /* rows of x in a register tile: 12 accumulators, 2 weights, 1 x */
    Q_AVX2_GROUP_ROWS = 96,  /* rows of x that share a decoded slab; multiple of every tile */
    Q_AVX2_SLAB = 256,       /* columns of a slab of f32 weights: 16 KiB */
    Q_AVX2_WORKSPACE = 114688 /* bytes of workspace of each worker */
};

/* -- kernels ----------------------------------------------------------------------------------- */

void q_gemm_f32_avx2(const q_work *work, const q_gemm_args *a);
void q_gemm_f16_avx2(const q_work *work, const q_gemm_args *a);
void q_gemm_bf16_avx2(const q_work *work, const q_gemm_args *a);
void q_gemm_q8_0_avx2(const q_work *work, const q_gemm_args *a);
void q_gemm_q4_0_avx2(const q_work *work, const q_gemm_args *a);
void q_gemm_q4_1_avx2(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q8_0_avx2(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q4_0_avx2(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q4_1_avx2(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q8_0_avx2vnni(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q4_0_avx2vnni(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q4_1_avx2vnni(const q_work *work, const q_gemm_args *a);
void q_matmul_avx2(const q_work *work, const q_matmul_args *a);

void q_gather_f32_avx2(const q_work *work, const q_gather_args *a);
void q_gather_f16_avx2(const q_work *work, const q_gather_args *a);
void q_gather_bf16_avx2(const q_work *work, const q_gather_args *a);
void q_gather_q8_0_avx2(const q_work *work, const q_gather_args *a);
void q_gather_q4_0_avx2(const q_work *work, const q_gather_args *a);
void q_gather_q4_1_avx2(const q_work *work, const q_gather_args *a);
void q_quantize_a8_avx2(const q_work *work, const q_quantize_a8_args *a);

void q_rmsnorm_avx2(const q_work *work, const q_rmsnorm_args *a);
void q_add_avx2(const q_work *work, const q_binary_args *a);
void q_mul_avx2(const q_work *work, const q_binary_args *a);
void q_silu_mul_avx2(const q_work *work, const q_binary_args *a);
void q_activate_avx2(const q_work *work, const q_activate_args *a);
void q_activate_grad_avx2(const q_work *work, const q_activate_grad_args *a);
void q_exp_avx2(const q_work *work, const q_unary_args *a);
void q_scale_avx2(const q_work *work, const q_scale_args *a);
void q_softmax_avx2(const q_work *work, const q_softmax_args *a);
void q_causal_mask_avx2(const q_work *work, const q_causal_mask_args *a);
void q_reduce_sum_avx2(const q_work *work, const q_reduce_args *a);
void q_reduce_max_avx2(const q_work *work, const q_reduce_args *a);

void q_rope_avx2(const q_work *work, const q_rope_args *a);
void q_kv_store_f32_avx2(const q_work *work, const q_kv_store_args *a);
void q_kv_store_f16_avx2(const q_work *work, const q_kv_store_args *a);
void q_kv_store_q8_0_avx2(const q_work *work, const q_kv_store_args *a);
void q_attention_f32_avx2(const q_work *work, const q_attention_args *a);
void q_attention_f16_avx2(const q_work *work, const q_attention_args *a);
void q_attention_q8_0_avx2(const q_work *work, const q_attention_args *a);
void q_embedding_grad_avx2(const q_work *work, const q_embedding_grad_args *a);
void q_rmsnorm_grad_avx2(const q_work *work, const q_rmsnorm_grad_args *a);
void q_rmsnorm_weight_grad_avx2(const q_work *work, const q_rmsnorm_grad_args *a);
void q_mul_grad_avx2(const q_work *work, const q_binary_grad_args *a);
void q_silu_mul_grad_avx2(const q_work *work, const q_binary_grad_args *a);
void q_softmax_grad_avx2(const q_work *work, const q_softmax_grad_args *a);
void q_rope_grad_avx2(const q_work *work, const q_rope_grad_args *a);
void q_gemm_grad_avx2(const q_work *work, const q_gemm_grad_args *a);
void q_attention_grad_avx2(const q_work *work, const q_attention_grad_args *a);

void q_bias_grad_avx2(const q_work *work, const q_bias_grad_args *a);
void q_sgd_avx2(const q_work *work, const q_optimizer_args *a);
void q_adam_avx2(const q_work *work, const q_optimizer_args *a);
void q_lion_avx2(const q_work *work, const q_optimizer_args *a);
void q_sum_squares_avx2(const q_work *work, const q_sum_squares_args *a);
void q_rescale_avx2(const q_work *work, const q_rescale_args *a);
void q_average_avx2(const q_work *work, const q_average_args *a);

void q_layernorm_avx2(const q_work *work, const q_layernorm_args *a);
void q_layernorm_grad_avx2(const q_work *work, const q_layernorm_grad_args *a);
void q_layernorm_grad_param_avx2(const q_work *work, const q_layernorm_grad_param_args *a);
void q_batchnorm_blocks_avx2(const q_work *work, const q_batchnorm_blocks_args *a);
void q_batchnorm_join_avx2(const q_work *work, const q_batchnorm_join_args *a);
void q_batchnorm_fold_avx2(const q_work *work, const q_batchnorm_fold_args *a);
void q_batchnorm_avx2(const q_work *work, const q_batchnorm_args *a);
void q_batchnorm_grad_blocks_avx2(const q_work *work, const q_batchnorm_grad_args *a);
void q_batchnorm_grad_avx2(const q_work *work, const q_batchnorm_grad_args *a);

void q_rnn_cell_avx2(const q_work *work, const q_cell_args *a);
void q_lstm_cell_avx2(const q_work *work, const q_cell_args *a);
void q_gru_cell_avx2(const q_work *work, const q_cell_args *a);
void q_rnn_cell_grad_avx2(const q_work *work, const q_cell_grad_args *a);
void q_lstm_cell_grad_avx2(const q_work *work, const q_cell_grad_args *a);
void q_gru_cell_grad_avx2(const q_work *work, const q_cell_grad_args *a);

void q_conv2d_avx2(const q_work *work, const q_conv2d_args *a);
void q_conv2d_grad_input_avx2(const q_work *work, const q_conv2d_grad_input_args *a);
void q_conv2d_grad_weight_avx2(const q_work *work, const q_conv2d_grad_weight_args *a);
void q_pool2d_avx2(const q_work *work, const q_pool2d_args *a);
void q_pool2d_grad_avx2(const q_work *work, const q_pool2d_grad_args *a);

/* -- pieces of a tile -------------------------------------------------------------------------- */

/*
 * acc[t][i] = fma(x[t][p], b[p][i], acc[t][i]) for p = 0 .. k - 1 ascending, t < rows <=
 * Q_AVX2_TILE_ROWS, i < 16. Strides in bytes: x[t][p] at x + t*x_row + p*x_step, b[p] at b +
 * p*b_step; acc is [rows][16], 32-byte aligned.
 */
void q_tile_f32_avx2(uint32_t rows, uint32_t k, const float *x, size_t x_row, size_t x_step,
                     const float *b, size_t b_step, float *acc);

/* acc[t][i] = bias[m0 + i] or 0, for t < rows, i < 16; lanes beyond `lanes` become 0. */
void q_tile_start_avx2(uint32_t rows, const float *bias, uint32_t m0, uint32_t lanes, float *acc);

/* Applies the epilogue to acc [rows][16] and stores lanes m0 .. m0 + lanes - 1 of rows r .. of y.
   */
void q_tile_finish_avx2(const q_epilogue *e, uint32_t r, uint32_t rows, uint32_t m0, uint32_t lanes,
                        const float *acc, float *y, size_t y_stride);

/* The part of a product [rows x panels] that is this worker's: whole panels where there are enough
   of them, else whole rows. */
typedef struct avx2_part {
    uint32_t row0;
    uint32_t row1;
    uint32_t panel0;
    uint32_t panel1;
} avx2_part;

static inline avx2_part avx2_share(const q_work *work, uint32_t rows, uint32_t panels)
{
    avx2_part part = {0, rows, 0, panels};
    if (panels >= 4u * work->n_workers || rows < 2u * work->n_workers) {
        q_share(work, panels, &part.panel0, &part.panel1);
    } else {
        q_share(work, rows, &part.row0, &part.row1);
    }
    return part;
}

#ifdef __AVX2__

/* -- addressing and tails ---------------------------------------------------------------------- */

static inline const float *avx2_row(const float *base, size_t stride, uint32_t r)
{
    return (const float *)(const void *)((const uint8_t *)(const void *)base + stride * r);
}

static inline float *avx2_row_out(float *base, size_t stride, uint32_t r)
{
    return (float *)(void *)((uint8_t *)(void *)base + stride * r);
}

/* Mask of the first n lanes of 8; n >= 8 gives all. */
static inline __m256i avx2_mask(uint32_t n)
{
    return q_mask_first_m256i(n < 8u ? n : 8u);
}

/* The first n <= 8 floats at p, the rest 0; memory beyond them is not touched. */
static inline __m256 avx2_load_n(const float *p, uint32_t n)
{
    return n >= 8u ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, avx2_mask(n));
}

static inline void avx2_store_n(float *p, uint32_t n, __m256 v)
{
    if (n >= 8u) {
        _mm256_storeu_ps(p, v);
    } else {
        _mm256_maskstore_ps(p, avx2_mask(n), v);
    }
}

/* 8 halves at p, any alignment. */
static inline __m256 avx2_load_f16(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline __m256 avx2_load_bf16(const uint16_t *p)
{
    __m256i v = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(v, 16));
}

/* Largest of 16 lanes by the tree; max_ps(a, b) is a > b ? a : b, the upper half first, as in the
   scalar backend: that settles the sign of a zero. */
static inline float avx2_lane_max(__m256 lo, __m256 hi)
{
    __m256 a = _mm256_max_ps(hi, lo);
    __m128 b = _mm_max_ps(_mm256_extractf128_ps(a, 1), _mm256_castps256_ps128(a));
    __m128 c = _mm_max_ps(_mm_movehl_ps(b, b), b);
    return _mm_cvtss_f32(_mm_max_ss(_mm_movehdup_ps(c), c));
}

/* v[i] lane l = former v[l] lane i. */
static inline void avx2_turn(__m256 v[8])
{
    __m256 t[8];
    Q_AVX2_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(v[2 * i], v[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(v[2 * i], v[2 * i + 1]);
    }
    Q_AVX2_UNROLL
    for (uint32_t i = 0; i < 2; i++) {
        v[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        v[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        v[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        v[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    Q_AVX2_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x31);
    }
    Q_AVX2_UNROLL
    for (uint32_t i = 0; i < 8; i++) {
        v[i] = t[i];
    }
}

#endif /* __AVX2__ */

#endif /* Q_KERNELS_AVX2_H */
