/* SPDX-License-Identifier: MIT */
/*
 * unicode.c: reads UTF-8 strictly (Unicode, table 3-7) and looks up character classes.
 */
#include "unicode.h"

#include "unicode_table.h"

unicode_class q_unicode_class(uint32_t cp)
{
    uint32_t group;
    if (cp >= UNICODE_END) {
        return UNICODE_OTHER;
    }
    group = unicode_middle[(uint32_t)unicode_top[cp >> 8] * 8u + (cp >> 5 & 7u)];
    return (unicode_class)(unicode_leaf[group] >> (2u * (cp & 31u)) & 3u);
}

uint32_t q_utf8_length(uint8_t lead)
{
    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xC2) {
        return 0;
    }
    if (lead < 0xE0) {
        return 2;
    }
    if (lead < 0xF0) {
        return 3;
    }
    return lead < 0xF5 ? 4 : 0;
}

bool q_utf8_second_ok(uint8_t lead, uint8_t next)
{
    switch (lead) {
    case 0xE0: /* overlong below A0 */
        return next >= 0xA0 && next <= 0xBF;
    case 0xED: /* surrogates above 9F */
        return next >= 0x80 && next <= 0x9F;
    case 0xF0: /* overlong below 90 */
        return next >= 0x90 && next <= 0xBF;
    case 0xF4: /* above U+10FFFF past 8F */
        return next >= 0x80 && next <= 0x8F;
    default:
        return next >= 0x80 && next <= 0xBF;
    }
}

/* Length of the valid character at text[0], 0 if there is none within n bytes; *cp is set only
 * then. */
static uint32_t utf8_decode(const uint8_t *text, size_t n, uint32_t *cp)
{
    uint32_t length = q_utf8_length(text[0]);
    uint32_t value;
    if (length == 1) {
        *cp = text[0];
        return 1;
    }
    if (length == 0 || length > n || !q_utf8_second_ok(text[0], text[1])) {
        return 0;
    }
    value = (text[0] & (0xFFu >> (length + 1))) << 6 | (text[1] & 0x3Fu);
    for (uint32_t i = 2; i < length; i++) {
        if ((text[i] & 0xC0u) != 0x80u) {
            return 0;
        }
        value = value << 6 | (text[i] & 0x3Fu);
    }
    *cp = value;
    return length;
}

unicode_class q_utf8_class(const uint8_t *text, size_t n, uint32_t *length)
{
    uint32_t cp;
    uint32_t bytes = utf8_decode(text, n, &cp);
    if (bytes == 0) {
        *length = 1;
        return UNICODE_OTHER;
    }
    *length = bytes;
    return q_unicode_class(cp);
}

bool q_utf8_valid(const uint8_t *text, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint32_t cp;
        uint32_t bytes = utf8_decode(text + i, n - i, &cp);
        if (bytes == 0) {
            return false;
        }
        i += bytes;
    }
    return true;
}
