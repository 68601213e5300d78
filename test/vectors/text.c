/* SPDX-License-Identifier: MIT */
/* text.c: lines of the vector runner, cut to VEC_LINE bytes. */
#include "qvec.h"

void vec_text_n(vec_line *l, const char *s, size_t n)
{
    for (size_t i = 0; i < n && s[i] != '\0' && l->n < VEC_LINE; i++) {
        l->text[l->n++] = s[i];
    }
}

void vec_text(vec_line *l, const char *s)
{
    vec_text_n(l, s, SIZE_MAX);
}

void vec_pad(vec_line *l, size_t column)
{
    while (l->n < column && l->n < VEC_LINE) {
        l->text[l->n++] = ' ';
    }
}

void vec_number(vec_line *l, uint32_t value, uint32_t width)
{
    char digits[10];
    uint32_t n = 0;
    do {
        digits[n++] = (char)('0' + value % 10u);
        value /= 10u;
    } while (value != 0);
    for (uint32_t i = n; i < width; i++) {
        vec_text(l, " ");
    }
    while (n != 0) {
        vec_text_n(l, &digits[--n], 1);
    }
}

void vec_hex(vec_line *l, uint32_t value)
{
    vec_text(l, "0x");
    for (uint32_t shift = 32; shift != 0; shift -= 4) {
        vec_text_n(l, &"0123456789abcdef"[(value >> (shift - 4)) & 15u], 1);
    }
}

void vec_share(vec_line *l, double value)
{
    uint32_t milli;
    if (!(value < 1000.0)) {
        vec_text(l, value >= 1000.0 ? ">999" : "nan");
        return;
    }
    milli = (uint32_t)(value * 1000.0 + 0.5);
    vec_number(l, milli / 1000u, 1);
    vec_text(l, ".");
    vec_number(l, milli / 100u % 10u, 1);
    vec_number(l, milli / 10u % 10u, 1);
    vec_number(l, milli % 10u, 1);
}

const char *vec_role_name(uint32_t role)
{
    static const char names[VEC_ROLES][10] = {
        "x", "y", "weights", "bias", "scale", "shift", "gate", "residual", "a", "b", "ids",
        "selected", "table", "inv_freq", "k", "v", "k_cache", "v_cache", "q", "target", "loss",
        "grad", "dy", "spans", "lse", "dx", "out", "dout", "dq", "dk", "dv", "da", "db", "dw",
        "gates", "recurrent", "h", "c", "h_prev", "c_prev", "dh", "dc",
    };
    return role < VEC_ROLES ? names[role] : "?";
}
