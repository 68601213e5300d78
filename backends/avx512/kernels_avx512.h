/* SPDX-License-Identifier: MIT */
/*
 * kernels_avx512.h: what the files of the AVX-512 backend share: its kernels, addressing and tails.
 *
 * Every kernel gives the bits of the scalar one. A tail of fewer than 16 values goes through masked loads and
 * stores, so that nothing outside the operands is touched and tails take the same instructions as the rest.
 */
#ifndef Q_KERNELS_AVX512_H
#define Q_KERNELS_AVX512_H

#include "qorus/backend.h"
#include "qorus/base/fma.h"
#include "qorus/base/half.h"
#include "qorus/base/mem.h"
#include "qorus/base/panel.h"
#ifdef __AVX512F__ /* not in avx512.c, which runs on every CPU */
#include "avx512.h"
#endif

/* Loops over registers must be unrolled, or the registers would be memory. */
#if defined(__clang__)
#define Q_AVX512_UNROLL _Pragma("clang loop unroll(full)")
#else
#define Q_AVX512_UNROLL _Pragma("GCC unroll 32")
#endif

/* For bodies instantiated with constant tile sizes: without it accumulators would live in memory. */
#define Q_AVX512_INLINE static inline __attribute__((always_inline))
#define Q_AVX512_NOINLINE __attribute__((noinline))

enum {
    Q_AVX512_WORKSPACE = 376832 /* bytes of workspace of each worker */
};

/* -- kernels ----------------------------------------------------------------------------------- */

void q_gemm_f32_avx512(const q_work *work, const q_gemm_args *a);
void q_gemm_f16_avx512(const q_work *work, const q_gemm_args *a);
void q_gemm_bf16_avx512(const q_work *work, const q_gemm_args *a);
void q_gemm_q8_0_avx512(const q_work *work, const q_gemm_args *a);
void q_gemm_q4_0_avx512(const q_work *work, const q_gemm_args *a);
void q_gemm_q4_1_avx512(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q8_0_avx512(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q4_0_avx512(const q_work *work, const q_gemm_args *a);
void q_gemm_a8_q4_1_avx512(const q_work *work, const q_gemm_args *a);
void q_matmul_avx512(const q_work *work, const q_matmul_args *a);

void q_quantize_a8_avx512(const q_work *work, const q_quantize_a8_args *a);
void q_rmsnorm_avx512(const q_work *work, const q_rmsnorm_args *a);
void q_add_avx512(const q_work *work, const q_binary_args *a);
void q_mul_avx512(const q_work *work, const q_binary_args *a);
void q_silu_mul_avx512(const q_work *work, const q_binary_args *a);
void q_activate_avx512(const q_work *work, const q_activate_args *a);
void q_activate_grad_avx512(const q_work *work, const q_activate_grad_args *a);
void q_exp_avx512(const q_work *work, const q_unary_args *a);
void q_scale_avx512(const q_work *work, const q_scale_args *a);
void q_softmax_avx512(const q_work *work, const q_softmax_args *a);
void q_reduce_sum_avx512(const q_work *work, const q_reduce_args *a);
void q_reduce_max_avx512(const q_work *work, const q_reduce_args *a);
void q_rope_avx512(const q_work *work, const q_rope_args *a);
void q_mse_avx512(const q_work *work, const q_mse_args *a);
void q_bias_grad_avx512(const q_work *work, const q_bias_grad_args *a);
void q_sgd_avx512(const q_work *work, const q_optimizer_args *a);
void q_adam_avx512(const q_work *work, const q_optimizer_args *a);
void q_lion_avx512(const q_work *work, const q_optimizer_args *a);
void q_sum_squares_avx512(const q_work *work, const q_sum_squares_args *a);
void q_rescale_avx512(const q_work *work, const q_rescale_args *a);
void q_average_avx512(const q_work *work, const q_average_args *a);
void q_attention_f32_avx512(const q_work *work, const q_attention_args *a);
void q_attention_f16_avx512(const q_work *work, const q_attention_args *a);
void q_attention_q8_0_avx512(const q_work *work, const q_attention_args *a);
void q_embedding_grad_avx512(const q_work *work, const q_embedding_grad_args *a);
void q_rmsnorm_grad_avx512(const q_work *work, const q_rmsnorm_grad_args *a);
void q_rmsnorm_weight_grad_avx512(const q_work *work, const q_rmsnorm_grad_args *a);
void q_mul_grad_avx512(const q_work *work, const q_binary_grad_args *a);
void q_silu_mul_grad_avx512(const q_work *work, const q_binary_grad_args *a);
void q_softmax_grad_avx512(const q_work *work, const q_softmax_grad_args *a);
void q_rope_grad_avx512(const q_work *work, const q_rope_grad_args *a);
void q_gemm_grad_avx512(const q_work *work, const q_gemm_grad_args *a);
void q_attention_grad_avx512(const q_work *work, const q_attention_grad_args *a);

void q_layernorm_avx512(const q_work *work, const q_layernorm_args *a);
void q_layernorm_grad_avx512(const q_work *work, const q_layernorm_grad_args *a);
void q_layernorm_grad_param_avx512(const q_work *work, const q_layernorm_grad_param_args *a);
void q_batchnorm_blocks_avx512(const q_work *work, const q_batchnorm_blocks_args *a);
void q_batchnorm_join_avx512(const q_work *work, const q_batchnorm_join_args *a);
void q_batchnorm_fold_avx512(const q_work *work, const q_batchnorm_fold_args *a);
void q_batchnorm_avx512(const q_work *work, const q_batchnorm_args *a);
void q_batchnorm_grad_blocks_avx512(const q_work *work, const q_batchnorm_grad_args *a);
void q_batchnorm_grad_avx512(const q_work *work, const q_batchnorm_grad_args *a);

void q_rnn_cell_avx512(const q_work *work, const q_cell_args *a);
void q_lstm_cell_avx512(const q_work *work, const q_cell_args *a);
void q_gru_cell_avx512(const q_work *work, const q_cell_args *a);
void q_rnn_cell_grad_avx512(const q_work *work, const q_cell_grad_args *a);
void q_lstm_cell_grad_avx512(const q_work *work, const q_cell_grad_args *a);
void q_gru_cell_grad_avx512(const q_work *work, const q_cell_grad_args *a);
void q_conv2d_avx512(const q_work *work, const q_conv2d_args *a);
void q_conv2d_grad_input_avx512(const q_work *work, const q_conv2d_grad_input_args *a);
void q_conv2d_grad_weight_avx512(const q_work *work, const q_conv2d_grad_weight_args *a);
void q_pool2d_avx512(const q_work *work, const q_pool2d_args *a);
void q_pool2d_grad_avx512(const q_work *work, const q_pool2d_grad_args *a);

/* -- ends of a tile ---------------------------------------------------------------------------- */

/* acc[t][i] = bias[m0 + i] or 0, for t < rows, i < 16; lanes beyond `lanes` become 0. Rows of acc lie acc_row floats
   apart, each 64-byte aligned. */
void q_tile_start_avx512(uint32_t rows, const float *bias, uint32_t m0, uint32_t lanes, float *acc, size_t acc_row);

/* Applies the epilogue to acc and stores lanes m0 .. m0 + lanes - 1 of rows r .. of y. */
void q_tile_finish_avx512(const q_epilogue *e, uint32_t r, uint32_t rows, uint32_t m0, uint32_t lanes,
                          const float *acc, size_t acc_row, float *y, size_t y_stride);

/* Rows of panel p that a matrix of m rows has. */
static inline uint32_t avx512_panel_lanes(uint32_t m, uint32_t p)
{
    uint32_t left = m - p * Q_PANEL_ROWS;
    return left < Q_PANEL_ROWS ? left : (uint32_t)Q_PANEL_ROWS;
}

/* The part of a product [rows x panels] that is this worker's: whole panels where there are enough of them, else
   whole rows. */
typedef struct avx512_part {
    uint32_t row0;
    uint32_t row1;
    uint32_t panel0;
    uint32_t panel1;
} avx512_part;

static inline avx512_part avx512_share(const q_work *work, uint32_t rows, uint32_t panels)
{
    avx512_part part = {0, rows, 0, panels};
    if (panels >= 4u * work->n_workers || rows < 2u * work->n_workers) {
        q_share(work, panels, &part.panel0, &part.panel1);
    } else {
        q_share(work, rows, &part.row0, &part.row1);
    }
    return part;
}

#ifdef __AVX512F__

/* -- addressing -------------------------------------------------------------------------------- */

static inline const float *avx512_row(const float *base, size_t stride, uint32_t r)
{
    return (const float *)(const void *)((const uint8_t *)(const void *)base + stride * r);
}

static inline float *avx512_row_out(float *base, size_t stride, uint32_t r)
{
    return (float *)(void *)((uint8_t *)(void *)base + stride * r);
}

/* The first n <= 16 floats at p, the rest 0; memory beyond them is not touched. */
static inline __m512 avx512_load_n(const float *p, uint32_t n)
{
    return n >= 16u ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(avx512_mask(n), p);
}

static inline void avx512_store_n(float *p, uint32_t n, __m512 v)
{
    if (n >= 16u) {
        _mm512_storeu_ps(p, v);
    } else {
        _mm512_mask_storeu_ps(p, avx512_mask(n), v);
    }
}

/* 16 halves at p, any alignment. */
static inline __m512 avx512_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static inline __m512 avx512_load_bf16(const uint16_t *p)
{
    __m512i v = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
}

/* v[i] lane l = former v[l] lane i. */
Q_AVX512_INLINE void avx512_turn(__m512 v[16])
{
    __m512 t[16];
    Q_AVX512_UNROLL
    for (uint32_t i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]);
    }
    Q_AVX512_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        v[4 * i] = _mm512_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        v[4 * i + 1] = _mm512_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        v[4 * i + 2] = _mm512_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        v[4 * i + 3] = _mm512_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    Q_AVX512_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0xdd);
    }
    Q_AVX512_UNROLL
    for (uint32_t i = 0; i < 8; i++) {
        v[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        v[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    }
}

#endif /* __AVX512F__ */

#endif /* Q_KERNELS_AVX512_H */
