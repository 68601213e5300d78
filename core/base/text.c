/* SPDX-License-Identifier: MIT */
/*
 * text.c: bounded formatting. Fixed-point digits come from integer arithmetic on the double's bits:
 * value = mantissa * 2^exponent; the integer part is a big number divided by 10^9 again and again, the
 * fraction a 128-bit binary fraction multiplied by 10 again and again. Both are exact.
 */
#include "../core.h"

void q_text_init(q_text *text, char *buffer, size_t size)
{
    text->at = buffer;
    text->size = size;
    text->length = 0;
    if (size != 0) {
        buffer[0] = '\0';
    }
}

bool q_text_fits(const q_text *text)
{
    return text->length < text->size;
}

/* Bytes that may still be stored if n are wanted; a byte is kept for the terminator. */
static size_t text_room(const q_text *text, size_t n)
{
    size_t room = q_text_fits(text) ? text->size - 1 - text->length : 0;
    return n < room ? n : room;
}

static void text_advance(q_text *text, size_t stored, size_t n)
{
    if (q_text_fits(text)) {
        text->at[text->length + stored] = '\0';
    }
    text->length = n > SIZE_MAX - text->length ? SIZE_MAX : text->length + n;
}

void q_text_bytes(q_text *text, const char *bytes, size_t n)
{
    size_t stored = text_room(text, n);
    if (stored != 0) {
        memcpy(text->at + text->length, bytes, stored);
    }
    text_advance(text, stored, n);
}

void q_text_repeat(q_text *text, char byte, size_t n)
{
    size_t stored = text_room(text, n);
    if (stored != 0) {
        memset(text->at + text->length, byte, stored);
    }
    text_advance(text, stored, n);
}

static size_t text_string_length(const char *string)
{
    size_t n = 0;
    while (string[n] != '\0') {
        n++;
    }
    return n;
}

void q_text_str(q_text *text, const char *string)
{
    q_text_bytes(text, string, text_string_length(string));
}

void q_text_left(q_text *text, const char *string, uint32_t width)
{
    size_t n = text_string_length(string);
    q_text_bytes(text, string, n);
    q_text_repeat(text, ' ', n < width ? width - n : 0);
}

/* Bytes [first, end) of digits, right-justified. */
static void text_right(q_text *text, const char *digits, size_t n, uint32_t width)
{
    q_text_repeat(text, ' ', n < width ? width - n : 0);
    q_text_bytes(text, digits, n);
}

/* Writes value's digits so that they end at `end`; returns where they begin. At least one digit. */
static char *text_digits(char *end, uint64_t value)
{
    while (value > UINT32_MAX) {
        *--end = (char)('0' + value % 10u);
        value /= 10u;
    }
    uint32_t low = (uint32_t)value;
    do {
        *--end = (char)('0' + low % 10u);
        low /= 10u;
    } while (low != 0);
    return end;
}

void q_text_u64(q_text *text, uint64_t value, uint32_t width)
{
    char digits[20]; /* 2^64 has 20 */
    char *end = digits + sizeof(digits);
    char *first = text_digits(end, value);
    text_right(text, first, (size_t)(end - first), width);
}

void q_text_i64(q_text *text, int64_t value, uint32_t width)
{
    char digits[20];
    char *end = digits + sizeof(digits);
    char *first = text_digits(end, value < 0 ? 0u - (uint64_t)value : (uint64_t)value);
    if (value < 0) {
        *--first = '-'; /* 2^63 has 19 digits */
    }
    text_right(text, first, (size_t)(end - first), width);
}

void q_text_hex(q_text *text, uint64_t value, uint32_t digits)
{
    char hex[16];
    uint32_t n = 0;
    uint32_t least = digits > 16 ? 16 : digits;
    do {
        uint32_t digit = (uint32_t)value & 15u;
        hex[15 - n] = (char)(digit < 10 ? '0' + digit : 'a' + (digit - 10));
        value >>= 4;
        n++;
    } while (n < 16 && (value != 0 || n < least));
    q_text_bytes(text, hex + (16 - n), n);
}

/* ---- Fixed point ------------------------------------------------------------------------------------------ */

/* Integer digits of the largest double, a sign, a point and the decimals. */
enum { TEXT_LIMBS = 33, TEXT_FIXED = 309 + 2 + Q_TEXT_MAX_DECIMALS + 1 };

/* An unsigned fixed-point number: whole as little-endian limbs, fraction as frac_hi.frac_lo / 2^128. A value
   below 2^-75 loses bits of frac_lo, none of which can reach 17 decimals. */
typedef struct text_number {
    uint32_t whole[TEXT_LIMBS];
    uint32_t n;
    uint64_t frac_hi;
    uint64_t frac_lo;
} text_number;

/* whole = mantissa << shift, shift <= 971. */
static void text_set_whole(text_number *x, uint64_t mantissa, uint32_t shift)
{
    uint32_t limb = shift / 32u;
    uint32_t bit = shift % 32u;
    uint64_t low = mantissa << bit;
    uint64_t high = bit == 0 ? 0 : mantissa >> (64u - bit);
    for (uint32_t i = 0; i < TEXT_LIMBS; i++) {
        x->whole[i] = 0;
    }
    x->whole[limb] = (uint32_t)low;
    x->whole[limb + 1] = (uint32_t)(low >> 32);
    x->whole[limb + 2] = (uint32_t)high;
    x->n = limb + 3;
}

/* fraction = mantissa / 2^down, mantissa < 2^down. */
static void text_set_fraction(text_number *x, uint64_t mantissa, uint32_t down)
{
    x->frac_hi = 0;
    x->frac_lo = 0;
    if (down == 0 || down >= 192) {
        return;
    }
    if (down <= 64) {
        x->frac_hi = mantissa << (64u - down);
    } else {
        x->frac_hi = down < 128 ? mantissa >> (down - 64u) : 0;
        x->frac_lo = down <= 128 ? mantissa << (128u - down) : mantissa >> (down - 128u);
    }
}

static void text_split(text_number *x, uint64_t bits)
{
    uint64_t mantissa = bits & 0xfffffffffffffu;
    uint32_t exponent = (uint32_t)(bits >> 52) & 0x7ffu;
    if (exponent != 0) {
        mantissa |= 0x10000000000000u;
    } else {
        exponent = 1;
    }
    /* value = mantissa * 2^(exponent - 1075) */
    if (exponent >= 1075) {
        text_set_whole(x, mantissa, exponent - 1075u);
        text_set_fraction(x, 0, 0);
        return;
    }
    uint32_t down = 1075u - exponent;
    uint64_t whole = down < 64 ? mantissa >> down : 0;
    text_set_whole(x, whole, 0);
    text_set_fraction(x, down < 64 ? mantissa - (whole << down) : mantissa, down);
}

/* fraction *= 10; returns the digit that leaves it. */
static uint32_t text_next_decimal(text_number *x)
{
    uint64_t part[4] = {x->frac_lo & UINT32_MAX, x->frac_lo >> 32, x->frac_hi & UINT32_MAX, x->frac_hi >> 32};
    uint64_t carry = 0;
    for (uint32_t i = 0; i < 4; i++) {
        part[i] = part[i] * 10u + carry;
        carry = part[i] >> 32;
        part[i] &= UINT32_MAX;
    }
    x->frac_lo = part[1] << 32 | part[0];
    x->frac_hi = part[3] << 32 | part[2];
    return (uint32_t)carry;
}

/* whole /= 10^9; returns the remainder. */
static uint32_t text_next_nine(text_number *x)
{
    uint64_t rest = 0;
    while (x->n != 0 && x->whole[x->n - 1] == 0) {
        x->n--;
    }
    for (uint32_t i = x->n; i-- > 0;) {
        rest = rest << 32 | x->whole[i];
        x->whole[i] = (uint32_t)(rest / 1000000000u);
        rest %= 1000000000u;
    }
    while (x->n != 0 && x->whole[x->n - 1] == 0) {
        x->n--;
    }
    return (uint32_t)rest;
}

/* Digits of whole ending at `end`, one for zero; returns where they begin. */
static char *text_whole_digits(char *end, text_number *x)
{
    for (;;) {
        uint32_t nine = text_next_nine(x);
        if (x->n == 0) {
            return text_digits(end, nine);
        }
        for (uint32_t i = 0; i < 9; i++) {
            *--end = (char)('0' + nine % 10u);
            nine /= 10u;
        }
    }
}

/* Adds 1 to the last of the decimal digits [first, end), skipping the point; returns the new first. */
static char *text_round_up(char *first, char *end)
{
    char *p = end;
    while (p != first) {
        p--;
        if (*p == '9') {
            *p = '0';
        } else if (*p != '.') {
            (*p)++;
            return first;
        }
    }
    *--first = '1';
    return first;
}

/* Digits of |value|, finite, into out[TEXT_FIXED]; returns where they begin and sets *end. */
static char *text_fixed_digits(char *out, uint64_t bits, uint32_t decimals, char **end)
{
    text_number x;
    char *point = out + (TEXT_FIXED - Q_TEXT_MAX_DECIMALS - 1);
    char *p = point;
    text_split(&x, bits);
    bool odd = (x.whole[0] & 1u) != 0;
    char *first = text_whole_digits(point, &x);
    if (decimals != 0) {
        *p++ = '.';
    }
    for (uint32_t i = 0; i < decimals; i++) {
        uint32_t digit = text_next_decimal(&x);
        odd = (digit & 1u) != 0;
        *p++ = (char)('0' + digit);
    }
    *end = p;
    const uint64_t half = (uint64_t)1 << 63;
    if (x.frac_hi > half || (x.frac_hi == half && (x.frac_lo != 0 || odd))) {
        first = text_round_up(first, p);
    }
    return first;
}

void q_text_fixed(q_text *text, double value, uint32_t decimals, uint32_t width)
{
    char out[TEXT_FIXED];
    char *end;
    uint64_t bits = q_bits_f64(value);
    bool negative = bits >> 63 != 0;
    bits &= INT64_MAX;
    if (bits > 0x7ff0000000000000u) {
        text_right(text, "nan", 3, width);
        return;
    }
    if (bits == 0x7ff0000000000000u) {
        text_right(text, negative ? "-inf" : "inf", negative ? 4 : 3, width);
        return;
    }
    if (decimals > Q_TEXT_MAX_DECIMALS) {
        decimals = Q_TEXT_MAX_DECIMALS;
    }
    char *first = text_fixed_digits(out, bits, decimals, &end);
    if (negative) {
        *--first = '-';
    }
    text_right(text, first, (size_t)(end - first), width);
}
