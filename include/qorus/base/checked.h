/* SPDX-License-Identifier: MIT */
/*
 * checked.h: arithmetic on sizes that cannot wrap, and a type of its own for numbers read from a file.
 *
 * Each helper returns false when the mathematical result does not fit; *out is then untouched.
 */
#ifndef QORUS_BASE_CHECKED_H
#define QORUS_BASE_CHECKED_H

#include "../../qorus_types.h"

/* A number read from an untrusted file. A struct, so that a bare + or * on it does not compile. */
typedef struct q_file_u64 {
    uint64_t v;
} q_file_u64;

static inline bool q_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    if (a > UINT64_MAX - b) {
        return false;
    }
    *out = a + b;
    return true;
}

static inline bool q_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    if (a != 0 && b > UINT64_MAX / a) {
        return false;
    }
    *out = a * b;
    return true;
}

/* Rounds up to a multiple of `align`, a power of two. */
static inline bool q_align_u64(uint64_t a, uint64_t align, uint64_t *out)
{
    if (align == 0 || (align & (align - 1)) != 0 || a > UINT64_MAX - (align - 1)) {
        return false;
    }
    *out = (a + (align - 1)) & ~(align - 1);
    return true;
}

/* True if [offset, offset + length) lies within [0, total). Never wraps. */
static inline bool q_range_ok(uint64_t offset, uint64_t length, uint64_t total)
{
    return offset <= total && length <= total - offset;
}

static inline bool q_add_size(size_t a, size_t b, size_t *out)
{
    if (a > SIZE_MAX - b) {
        return false;
    }
    *out = a + b;
    return true;
}

static inline bool q_mul_size(size_t a, size_t b, size_t *out)
{
    if (a != 0 && b > SIZE_MAX / a) {
        return false;
    }
    *out = a * b;
    return true;
}

static inline bool q_align_size(size_t a, size_t align, size_t *out)
{
    if (align == 0 || (align & (align - 1)) != 0 || a > SIZE_MAX - (align - 1)) {
        return false;
    }
    *out = (a + (align - 1)) & ~(align - 1);
    return true;
}

/* Number of groups of `n` that hold `a` elements; n > 0. Cannot wrap. */
static inline uint32_t q_ceil_div_u32(uint32_t a, uint32_t n)
{
    return a / n + (a % n != 0 ? 1u : 0u);
}

/* True if the byte ranges [a, a+na) and [b, b+nb) share a byte. Ranges must not wrap. */
static inline bool q_overlaps(const void *a, size_t na, const void *b, size_t nb)
{
    uintptr_t pa = (uintptr_t)a;
    uintptr_t pb = (uintptr_t)b;
    return na != 0 && nb != 0 && pa < pb + nb && pb < pa + na;
}

#endif /* QORUS_BASE_CHECKED_H */
