/* SPDX-License-Identifier: MIT */
/*
 * quantize.c: the quantisers of weights, their inverse, and the permutation between plain rows and
 * panels.
 */
#include "../core.h"

#include "qorus/quantize.h"

static bool quantize_is_weight(uint32_t dtype)
{
    return dtype <= Q_BF16;
}

/* Checks shared by all functions. *plain and *panels become the bytes of the two forms. */
static q_error_code quantize_check(uint32_t dtype, const void *in, size_t rows, size_t k,
                                   const void *out, uint64_t *plain, uint64_t *panels, q_diag *diag)
{
    uint64_t values;
    if (in == NULL || out == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, in == NULL ? "in" : "out", "NULL", 0, 0);
    }
    if (!quantize_is_weight(dtype)) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, "quantize", "dtype", Q_BF16, dtype);
    }
    if (rows == 0 || k == 0 || k % q_dtype_block(dtype) != 0) {
        return q_fail(diag, Q_ERR_INVALID_SIZE, "quantize", rows == 0 ? "rows" : "k",
                      q_dtype_block(dtype), rows == 0 ? rows : k);
    }
    if (!q_mul_u64(rows, k, &values) || !q_mul_u64(values, sizeof(float), &values) ||
        values > SIZE_MAX / 2 || !q_matrix_bytes(dtype, Q_PLAIN, rows, k, plain) ||
        *plain > SIZE_MAX / 2 || !q_matrix_bytes(dtype, Q_PANEL16, rows, k, panels) ||
        *panels > SIZE_MAX / 2) {
        return q_fail(diag, Q_ERR_INVALID_SIZE, "quantize", "rows by k", 0, 0);
    }
    return Q_OK;
}

static q_error_code quantize_check_overlap(const void *in, uint64_t n_in, const void *out,
                                           uint64_t n_out, q_diag *diag)
{
    if (q_overlaps(in, (size_t)n_in, out, (size_t)n_out)) {
        return q_fail(diag, Q_ERR_ALIASING, "out", "overlaps in", 0, 0);
    }
    return Q_OK;
}

static void quantize_store_u16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
}

static uint16_t quantize_load_u16(const uint8_t *from)
{
    return (uint16_t)(from[0] | from[1] << 8);
}

static bool quantize_is_finite(float x)
{
    return (q_bits_f32(x) & 0x7f800000u) != 0x7f800000u;
}

/* Stores d as F16; false if it does not fit. */
static bool quantize_store_half(uint8_t *to, float d)
{
    uint16_t half = q_f16_from_f32(d);
    quantize_store_u16(to, half);
    return (half & 0x7c00u) != 0x7c00u;
}

static float quantize_inverse(float d)
{
    float inverse = d == 0.0f ? 0.0f : 1.0f / d;
    return quantize_is_finite(inverse) ? inverse : 0.0f;
}

static float quantize_abs(float x)
{
    return q_float_u32(q_bits_f32(x) & 0x7fffffffu);
}

/* |x| < 2^24 */
static int32_t quantize_round(float x)
{
    float a = quantize_abs(x);
    int32_t q = (int32_t)a;
    q += a - (float)q >= 0.5f ? 1 : 0;
    return x < 0.0f ? -q : q;
}

/* 0 <= x < 2^24 */
static uint8_t quantize_nibble(float x)
{
    int32_t q = (int32_t)x;
    return (uint8_t)(q < 15 ? q : 15);
}

/* The three block quantisers take finite values. Once d fits F16, |x| and differences of two x are
   below 2^20, so no quotient is NaN or leaves the range of the rounding functions. */
static bool quantize_q8_0(const float *x, uint8_t *block)
{
    float amax = 0.0f;
    float d;
    float inverse;
    for (uint32_t i = 0; i < Q_BLOCK; i++) {
        float a = quantize_abs(x[i]);
        amax = a > amax ? a : amax;
    }
    d = amax / 127.0f;
    inverse = quantize_inverse(d);
    if (!quantize_store_half(block, d)) {
        return false;
    }
    for (uint32_t i = 0; i < Q_BLOCK; i++) {
        block[2u + i] = (uint8_t)quantize_round(x[i] * inverse);
    }
    return true;
}

static bool quantize_q4_0(const float *x, uint8_t *block)
{
    float largest = x[0];
    float d;
    float inverse;
    for (uint32_t i = 1; i < Q_BLOCK; i++) {
        largest = quantize_abs(x[i]) > quantize_abs(largest) ? x[i] : largest;
    }
    d = largest / -8.0f;
    inverse = quantize_inverse(d);
    if (!quantize_store_half(block, d)) {
        return false;
    }
    for (uint32_t i = 0; i < Q_BLOCK / 2; i++) {
        uint8_t low = quantize_nibble(x[i] * inverse + 8.5f);
        uint8_t high = quantize_nibble(x[i + 16u] * inverse + 8.5f);
        block[2u + i] = (uint8_t)(low | high << 4);
    }
    return true;
}

static bool quantize_q4_1(const float *x, uint8_t *block)
{
    float low = x[0];
    float high = x[0];
    float d;
    float inverse;
    for (uint32_t i = 1; i < Q_BLOCK; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    low += 0.0f; /* -0 becomes +0, whichever zero the loop met last */
    high += 0.0f;
    d = (high - low) / 15.0f;
    inverse = quantize_inverse(d);
    if (!quantize_store_half(block, d) || !quantize_store_half(block + 2, low)) {
        return false;
    }
    for (uint32_t i = 0; i < Q_BLOCK / 2; i++) {
        uint8_t a = quantize_nibble((x[i] - low) * inverse + 0.5f);
        uint8_t b = quantize_nibble((x[i + 16u] - low) * inverse + 0.5f);
        block[4u + i] = (uint8_t)(a | b << 4);
    }
    return true;
}

/* One storage block, of q_dtype_block(dtype) values. False: it does not fit the type. */
static bool quantize_block(uint32_t dtype, const float *x, uint8_t *block)
{
    uint16_t half;
    switch (dtype) {
    case Q_Q8_0:
        return quantize_q8_0(x, block);
    case Q_Q4_0:
        return quantize_q4_0(x, block);
    case Q_Q4_1:
        return quantize_q4_1(x, block);
    case Q_F16:
        return quantize_store_half(block, *x);
    case Q_BF16:
        half = q_bf16_from_f32(*x);
        quantize_store_u16(block, half);
        return (half & 0x7f80u) != 0x7f80u;
    default:
        memcpy(block, x, sizeof(*x));
        return true;
    }
}

static bool quantize_all_finite(const float *x, uint32_t n)
{
    uint32_t i = 0;
    while (i < n && quantize_is_finite(x[i])) {
        i++;
    }
    return i == n;
}

q_error_code q_quantize(uint32_t dtype, const float *x, size_t rows, size_t k, void *out,
                        q_diag *diag)
{
    uint64_t plain = 0;
    uint64_t panels = 0;
    uint32_t n = q_dtype_block(dtype);
    uint32_t bytes = q_dtype_block_bytes(dtype);
    uint8_t *block = (uint8_t *)out;
    q_fp_state caller;
    q_error_code code = quantize_check(dtype, x, rows, k, out, &plain, &panels, diag);
    if (code == Q_OK) {
        code = quantize_check_overlap(x, (uint64_t)rows * k * sizeof(*x), out, plain, diag);
    }
    caller = q_fp_enter();
    for (size_t i = 0; code == Q_OK && i < rows * k; i += n, block += bytes) {
        if (!quantize_all_finite(x + i, n) || !quantize_block(dtype, x + i, block)) {
            code = q_fail(diag, Q_ERR_NON_FINITE, "quantize", "value or scale", 0, 0);
            if (diag != NULL) {
                diag->offset = i;
            }
        }
    }
    q_fp_leave(caller);
    return code;
}

/* ---- Back to F32 ----------------------------------------------------------------------------- */

static void dequantize_block(uint32_t dtype, const uint8_t *block, float *x)
{
    float d = q_f32_from_f16(quantize_load_u16(block));
    float m = dtype == Q_Q4_1 ? q_f32_from_f16(quantize_load_u16(block + 2)) : 0.0f;
    const uint8_t *q = block + (dtype == Q_Q4_1 ? 4 : 2);
    for (uint32_t i = 0; i < Q_BLOCK; i++) {
        int32_t nibble = i < 16u ? q[i % 16u] & 15 : q[i % 16u] >> 4;
        if (dtype == Q_Q8_0) {
            x[i] = d * (float)(q[i] < 128 ? (int32_t)q[i] : (int32_t)q[i] - 256);
        } else if (dtype == Q_Q4_0) {
            x[i] = d * (float)(nibble - 8);
        } else {
            float product = d * (float)nibble;
            x[i] = product + m;
        }
    }
}

q_error_code q_dequantize(uint32_t dtype, const void *in, size_t rows, size_t k, float *out,
                          q_diag *diag)
{
    uint64_t plain = 0;
    uint64_t panels = 0;
    uint32_t n = q_dtype_block(dtype);
    const uint8_t *block = (const uint8_t *)in;
    q_fp_state caller;
    q_error_code code = quantize_check(dtype, in, rows, k, out, &plain, &panels, diag);
    if (code == Q_OK) {
        code = quantize_check_overlap(in, plain, out, (uint64_t)rows * k * sizeof(*out), diag);
    }
    caller = q_fp_enter();
    for (size_t i = 0; code == Q_OK && i < rows * k; i += n, block += q_dtype_block_bytes(dtype)) {
        if (q_dtype_is_quantised(dtype)) {
            dequantize_block(dtype, block, out + i);
        } else if (dtype == Q_F32) {
            memcpy(out + i, block, sizeof(*out));
        } else {
            uint16_t half = quantize_load_u16(block);
            out[i] = dtype == Q_F16 ? q_f32_from_f16(half) : q_f32_from_bf16(half);
        }
    }
    q_fp_leave(caller);
    return code;
}

/* ---- Panels ---------------------------------------------------------------------------------- */

/* One run of equally wide units of a row that a panel interleaves: unit u of row r lies at
   (u*16 + r) * width within the run; in the plain row units come in groups of `group`, one group
   per block. */
typedef struct panel_run {
    size_t panel_at;   /* where the run begins in the panel */
    size_t plain_at;   /* where its first unit lies in a block */
    size_t plain_step; /* bytes from one block to the next */
    size_t n_blocks;
    size_t group; /* units of a block */
    size_t width; /* bytes of a unit */
} panel_run;

/* The runs of a type; returns how many there are. */
static uint32_t panel_runs(uint32_t dtype, size_t k, panel_run runs[3])
{
    size_t n = k / q_dtype_block(dtype);
    size_t step = q_dtype_block_bytes(dtype);
    size_t halves = dtype == Q_Q4_1 ? 2 : 1;
    if (!q_dtype_is_quantised(dtype)) {
        runs[0] = (panel_run){0, 0, step, n, 1, step};
        return 1;
    }
    for (size_t i = 0; i < halves; i++) {
        runs[i] = (panel_run){i * n * Q_PANEL_ROWS * 2u, 2u * i, step, n, 1, 2};
    }
    runs[halves] = (panel_run){(size_t)q_panel_scale_bytes(dtype, (uint32_t)k),
                               2u * halves,
                               step,
                               n,
                               (step - 2u * halves) / 4u,
                               4};
    return (uint32_t)halves + 1u;
}

/* Moves one row into (or out of) its place in a panel. */
static void panel_move_row(const panel_run *run, uint8_t *panel, uint8_t *plain, uint32_t row,
                           bool out)
{
    uint8_t *packed = panel + run->panel_at + row * run->width;
    for (size_t block = 0; block < run->n_blocks; block++) {
        uint8_t *unit = plain + block * run->plain_step + run->plain_at;
        for (size_t i = 0; i < run->group; i++) {
            memcpy(out ? unit : packed, out ? packed : unit, run->width);
            unit += run->width;
            packed += Q_PANEL_ROWS * run->width;
        }
    }
}

/* Both directions; only the side that `out` names is written. */
static void panel_move(uint32_t dtype, uint8_t *panels, uint8_t *plain, size_t rows, size_t k,
                       bool out)
{
    panel_run runs[3];
    uint32_t n_runs = panel_runs(dtype, k, runs);
    size_t panel_bytes = (size_t)q_panel_bytes(dtype, (uint32_t)k);
    size_t row_bytes = k / q_dtype_block(dtype) * q_dtype_block_bytes(dtype);
    for (size_t row = 0; row < rows; row++) {
        uint8_t *panel = panels + row / Q_PANEL_ROWS * panel_bytes;
        for (uint32_t i = 0; i < n_runs; i++) {
            panel_move_row(&runs[i], panel, plain + row * row_bytes, (uint32_t)(row % Q_PANEL_ROWS),
                           out);
        }
    }
}

q_error_code q_panel_pack(uint32_t dtype, const void *in, size_t rows, size_t k, void *panels,
                          q_diag *diag)
{
    uint64_t plain_bytes = 0;
    uint64_t panel_bytes = 0;
    q_error_code code =
        quantize_check(dtype, in, rows, k, panels, &plain_bytes, &panel_bytes, diag);
    if (code == Q_OK) {
        code = quantize_check_overlap(in, plain_bytes, panels, panel_bytes, diag);
    }
    if (code == Q_OK) {
        memset(panels, 0, (size_t)panel_bytes);
        panel_move(dtype, (uint8_t *)panels, (uint8_t *)(uintptr_t)in, rows, k, false);
    }
    return code;
}

q_error_code q_panel_unpack(uint32_t dtype, const void *panels, size_t rows, size_t k, void *out,
                            q_diag *diag)
{
    uint64_t plain_bytes = 0;
    uint64_t panel_bytes = 0;
    q_error_code code =
        quantize_check(dtype, panels, rows, k, out, &plain_bytes, &panel_bytes, diag);
    if (code == Q_OK) {
        code = quantize_check_overlap(panels, panel_bytes, out, plain_bytes, diag);
    }
    if (code == Q_OK) {
        panel_move(dtype, (uint8_t *)(uintptr_t)panels, (uint8_t *)out, rows, k, true);
    }
    return code;
}
