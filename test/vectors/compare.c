/* SPDX-License-Identifier: MIT */
/*
 * compare.c: outputs of a kernel against golden references, and the bytes around them.
 *
 * Tolerance classes (docs/NUMERICS.md): T0 same bits, T1 ULP, T2 |d| <= parameter * magnitude. In all of them
 * a NaN is any NaN, an infinity is that infinity; T1 and T2 do not tell +0 from -0.
 */
#include "qvec.h"

typedef union vec_bits {
    uint32_t u;
    float f;
} vec_bits;

static uint32_t vec_load(const uint8_t *p, uint32_t n)
{
    uint32_t v = 0;
    for (uint32_t i = 0; i < n; i++) {
        v |= (uint32_t)p[i] << (8u * i);
    }
    return v;
}

static float vec_float(uint32_t bits)
{
    vec_bits b;
    b.u = bits;
    return b.f;
}

/* Position among the floats in order; both zeros at 0. */
static int64_t vec_order(uint32_t bits)
{
    int64_t magnitude = (int64_t)(bits & 0x7FFFFFFFu);
    return (bits >> 31) != 0 ? -magnitude : magnitude;
}

static bool vec_is_nan(uint32_t bits, uint32_t dtype)
{
    return dtype == Q_F16 ? (bits & 0x7FFFu) > 0x7C00u : (bits & 0x7FFFFFFFu) > 0x7F800000u;
}

static bool vec_is_finite(uint32_t bits)
{
    return (bits & 0x7F800000u) != 0x7F800000u;
}

static bool vec_note_share(vec_verdict *v, double error, double gate)
{
    double share = error == 0.0 ? 0.0 : error / gate; /* gate 0 with an error: infinite */
    if (share > v->max_share) {
        v->max_share = share;
    }
    return error <= gate;
}

static bool vec_within_ulp(const vec_tensor *t, uint32_t got, uint32_t want, vec_verdict *v)
{
    int64_t d = vec_order(got) - vec_order(want);
    uint32_t ulp = (uint32_t)(d < 0 ? -d : d);
    if (ulp > v->max_ulp) {
        v->max_ulp = ulp;
    }
    return vec_note_share(v, (double)ulp, t->parameter);
}

/* Both finite. */
static bool vec_within_gates(const vec_tensor *t, uint32_t got, uint32_t want, float magnitude, vec_verdict *v)
{
    double reference = (double)vec_float(want);
    double error = (double)vec_float(got) - reference;
    bool fine;
    error = error < 0.0 ? -error : error;
    reference = reference < 0.0 ? -reference : reference;
    fine = t->tolerance == VEC_T1 ? vec_within_ulp(t, got, want, v)
                                  : vec_note_share(v, error, t->parameter * (double)magnitude);
    if ((t->flags & VEC_SEED_GATE) != 0) {
        fine = vec_note_share(v, error, 1e-5 + 1e-4 * reference) && fine;
    }
    return fine;
}

static bool vec_element_fine(const vec_tensor *t, uint32_t got, uint32_t want, float magnitude, vec_verdict *v)
{
    bool real = t->dtype == Q_F32 || t->dtype == Q_F16;
    if (real && vec_is_nan(want, t->dtype)) {
        return vec_is_nan(got, t->dtype);
    }
    if (t->tolerance == VEC_T0 || t->dtype != Q_F32 || got == want) {
        return got == want;
    }
    return vec_is_finite(want) && vec_is_finite(got) && vec_within_gates(t, got, want, magnitude, v);
}

static void vec_fail(vec_verdict *v, int kind, uint32_t tensor, uint32_t row, uint32_t column)
{
    if (v->kind == VEC_FINE) {
        v->kind = kind == VEC_WRONG ? VEC_WRONG : VEC_CANARY;
        v->tensor = tensor;
        v->row = row;
        v->column = column;
    }
}

static void vec_check_row(const vec_run *c, uint32_t i, uint32_t row, vec_verdict *v)
{
    const vec_tensor *t = &c->tensors[i];
    const uint8_t *base = (const uint8_t *)c->head;
    const uint8_t *got = c->at[i] + (size_t)row * t->stride;
    const uint8_t *want = base + t->data + (size_t)row * t->row_bytes;
    const uint8_t *magnitude = base + t->magnitude + (size_t)row * t->row_bytes;
    uint32_t width = t->dtype == Q_F32 || t->dtype == Q_I32 ? 4u : t->dtype == Q_F16 ? 2u : 1u;
    for (uint32_t at = 0; at < t->row_bytes; at += width) {
        uint32_t g = vec_load(got + at, width);
        uint32_t w = vec_load(want + at, width);
        float s = t->tolerance == VEC_T2 ? vec_float(vec_load(magnitude + at, 4)) : 0.0f;
        if (!vec_element_fine(t, g, w, s, v)) {
            if (v->kind == VEC_FINE) {
                v->got = g;
                v->want = w;
            }
            vec_fail(v, VEC_WRONG, i, row, at / width);
        }
    }
}

/* Rows with the gaps between them: the gap behind the last row belongs to the guard. */
static size_t vec_span(const vec_tensor *t)
{
    return t->rows == 0 ? 0 : (size_t)(t->rows - 1) * t->stride + t->row_bytes;
}

size_t vec_output_bytes(const vec_tensor *t)
{
    return ((size_t)2 * VEC_GUARD + t->shift + vec_span(t) + (Q_ALIGN - 1)) & ~(size_t)(Q_ALIGN - 1);
}

void vec_prepare_output(const vec_run *c, uint32_t i)
{
    const vec_tensor *t = &c->tensors[i];
    uint8_t *area = c->at[i] - t->shift - VEC_GUARD;
    size_t n = vec_output_bytes(t);
    for (size_t j = 0; j < n; j++) {
        area[j] = VEC_FILL;
    }
    for (uint32_t row = 0; t->init != 0 && row < t->rows; row++) {
        const uint8_t *from = (const uint8_t *)c->head + t->init + (size_t)row * t->row_bytes;
        for (uint32_t j = 0; j < t->row_bytes; j++) {
            c->at[i][(size_t)row * t->stride + j] = from[j];
        }
    }
}

static void vec_check_untouched(uint32_t i, const uint8_t *from, const uint8_t *to, uint32_t row, vec_verdict *v)
{
    for (const uint8_t *p = from; p < to; p++) {
        if (*p != VEC_FILL) {
            vec_fail(v, VEC_CANARY, i, row, (uint32_t)(p - from));
            return;
        }
    }
}

void vec_check_output(const vec_run *c, uint32_t i, vec_verdict *v)
{
    const vec_tensor *t = &c->tensors[i];
    const uint8_t *area = c->at[i] - t->shift - VEC_GUARD;
    size_t free_tail = (t->flags & VEC_FREE_GAP) != 0 && t->rows != 0 ? t->stride - t->row_bytes : 0;
    for (uint32_t row = 0; row < t->rows; row++) {
        const uint8_t *end = c->at[i] + (size_t)row * t->stride + t->row_bytes;
        vec_check_row(c, i, row, v);
        if (row + 1 < t->rows && (t->flags & VEC_FREE_GAP) == 0) {
            vec_check_untouched(i, end, end + (t->stride - t->row_bytes), row, v);
        }
    }
    vec_check_untouched(i, area, c->at[i], 0, v);
    vec_check_untouched(i, c->at[i] + vec_span(t) + free_tail, area + vec_output_bytes(t), t->rows, v);
}
