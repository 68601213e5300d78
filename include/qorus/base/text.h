/* SPDX-License-Identifier: MIT */
/*
 * text.h: formatting into a caller's buffer, for plans, profiles and messages where there is no printf.
 *
 * A q_text collects bytes. What does not fit is counted and dropped, so that `length` always says how long the
 * whole text is: a first run over an empty buffer is the size query. The buffer is terminated after every call
 * if it has a byte to spare for it. Widths are in bytes and pad on the left with spaces; 0 pads nothing.
 */
#ifndef QORUS_BASE_TEXT_H
#define QORUS_BASE_TEXT_H

#include "../../qorus_types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct q_text {
    char *at;      /* NULL only if size is 0 */
    size_t size;   /* bytes at `at`, terminator included */
    size_t length; /* bytes of the whole text, terminator left out; stays at SIZE_MAX once there */
} q_text;

/* An empty text over buffer[0, size); buffer may be NULL if size is 0. */
void q_text_init(q_text *text, char *buffer, size_t size);

/* True if nothing was dropped: length < size. */
bool q_text_fits(const q_text *text);

/* n bytes; n may be 0. O(n). */
void q_text_bytes(q_text *text, const char *bytes, size_t n);

/* A terminated string. */
void q_text_str(q_text *text, const char *string);

/* A terminated string, padded to width on the right (left-justified). */
void q_text_left(q_text *text, const char *string, uint32_t width);

/* n times the same byte. */
void q_text_repeat(q_text *text, char byte, size_t n);

/* Decimal. */
void q_text_u64(q_text *text, uint64_t value, uint32_t width);
void q_text_i64(q_text *text, int64_t value, uint32_t width);

/* Lower-case hexadecimal without prefix, at least `digits` digits (at most 16), zeros in front. */
void q_text_hex(q_text *text, uint64_t value, uint32_t digits);

/*
 * Decimal with exactly `decimals` digits (at most Q_TEXT_MAX_DECIMALS) behind the point, no point if 0. The
 * digits are those of the exact value, rounded half to even, as printf("%.*f") gives them; "nan", "inf",
 * "-inf" where there are none. Uses no floating-point operation.
 */
enum { Q_TEXT_MAX_DECIMALS = 17 };
void q_text_fixed(q_text *text, double value, uint32_t decimals, uint32_t width);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_BASE_TEXT_H */
