/* SPDX-License-Identifier: MIT */
/*
 * diag.c: details of a failure, copied into the caller's q_diag.
 */
#include "../core.h"

/* Copies text into room bytes, terminator included. A cut falls between two UTF-8 characters. */
static void diag_copy(char *to, const char *text, size_t room)
{
    size_t n = 0;
    while (text != NULL && text[n] != '\0' && n < room - 1) {
        to[n] = text[n];
        n++;
    }
    if (text != NULL && text[n] != '\0') {
        while (n != 0 && ((unsigned char)text[n] & 0xc0u) == 0x80u) {
            n--;
        }
    }
    to[n] = '\0';
}

q_error_code q_fail(q_diag *diag, q_error_code code, const char *what, const char *field, uint64_t need,
                    uint64_t have)
{
    if (diag != NULL) {
        diag->code = code;
        diag_copy(diag->what, what, sizeof(diag->what));
        diag_copy(diag->field, field, sizeof(diag->field));
        diag->offset = 0;
        diag->need = need;
        diag->have = have;
    }
    return code;
}

q_error_code q_diag_node(q_diag *diag, q_error_code code, const char *name)
{
    if (diag != NULL) {
        diag->code = code;
        diag_copy(diag->what, name, sizeof(diag->what));
    }
    return code;
}

bool q_names_equal(const char *a, const char *b)
{
    size_t i = 0;
    while (a[i] != '\0' && a[i] == b[i]) {
        i++;
    }
    return a[i] == b[i];
}
