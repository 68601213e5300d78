/* SPDX-License-Identifier: MIT */
/*
 * unicode.h: the UTF-8 characters of any byte string, and the classes pre-tokenizers ask for.
 */
#ifndef QORUS_CORE_TEXT_UNICODE_H
#define QORUS_CORE_TEXT_UNICODE_H

#include "qorus_types.h"

/* Class of a character, Unicode 16.0: general category L*, N*, property White_Space, or none of
 * these. */
typedef enum unicode_class {
    UNICODE_OTHER = 0,
    UNICODE_LETTER = 1,
    UNICODE_NUMBER = 2,
    UNICODE_SPACE = 3
} unicode_class;

/* Class of a code point; numbers above U+10FFFF are of class other. O(1). */
unicode_class q_unicode_class(uint32_t cp);

/* Bytes that a UTF-8 character beginning with this byte has; 0 if none begins with it. */
uint32_t q_utf8_length(uint8_t lead);

/* True if `next` can be the second byte after `lead` (Unicode, table 3-7); lead begins 2 to 4
 * bytes. */
bool q_utf8_second_ok(uint8_t lead, uint8_t next);

/*
 * Class and length (1 to 4) of the character at text[0]; n >= 1 bytes may be read. A byte that
 * begins no valid character within n bytes is one character of class other.
 */
unicode_class q_utf8_class(const uint8_t *text, size_t n, uint32_t *length);

/* True if n bytes are valid UTF-8. text may be NULL if n is 0. */
bool q_utf8_valid(const uint8_t *text, size_t n);

#endif /* QORUS_CORE_TEXT_UNICODE_H */
