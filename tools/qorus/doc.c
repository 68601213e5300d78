/* SPDX-License-Identifier: MIT */
/* Writing the same facts as text or as JSON. */
#include "doc.h"

#include <stdlib.h>
#include <string.h>

enum { KEY_WIDTH = 24 };

/* ---- Pieces ----------------------------------------------------------------------------------------------- */

/* Bytes of the UTF-8 character at s[0, n), n > 0; 0 if it is none. */
static size_t character(const uint8_t *s, size_t n)
{
    size_t length = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if (length == 0 || length > n) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f)) {
        return 0;
    }
    return length;
}

/* Writes bytes escaped and returns how many columns that took. */
static int escaped(const doc *d, const uint8_t *s, size_t n)
{
    int columns = 0;
    for (size_t i = 0; i < n;) {
        size_t length = character(s + i, n - i);
        if (length == 0) {
            columns += fprintf(d->to, d->json ? "\\ufffd" : "\\x%02x", s[i]);
            length = 1;
        } else if (s[i] == '\\' || (d->json && s[i] == '"')) {
            columns += fprintf(d->to, "\\%c", s[i]);
        } else if (s[i] == '\n') {
            columns += fprintf(d->to, "\\n");
        } else if (s[i] < 0x20 || s[i] == 0x7f) {
            columns += fprintf(d->to, d->json ? "\\u%04x" : "\\x%02x", s[i]);
        } else {
            (void)fwrite(s + i, 1, length, d->to);
            columns++;
        }
        i += length;
    }
    return columns;
}

static void quoted(const doc *d, const char *s)
{
    (void)fputc('"', d->to);
    (void)escaped(d, (const uint8_t *)s, strlen(s));
    (void)fputc('"', d->to);
}

static void spaces(const doc *d, int n)
{
    for (; n > 0; n--) {
        (void)fputc(' ', d->to);
    }
}

/* Everything before a field's value. */
static void field(doc *d, const char *key)
{
    if (d->json) {
        (void)fputs(d->any ? "," : "", d->to);
        quoted(d, key);
        (void)fputc(':', d->to);
    } else if (d->row) {
        (void)fputs("  ", d->to);
    } else {
        (void)fprintf(d->to, "  %-*s", KEY_WIDTH, key);
    }
    d->any = true;
}

static void field_end(const doc *d)
{
    if (!d->json && !d->row) {
        (void)fputc('\n', d->to);
    }
}

/* A value that is written the same way in both forms. */
static void plain(doc *d, const char *key, const char *value, int width)
{
    int n = (int)strlen(value);
    bool cell = !d->json && d->row;
    field(d, key);
    spaces(d, cell && width < 0 ? -width - n : 0);
    (void)fputs(value, d->to);
    spaces(d, cell ? width - n : 0);
    field_end(d);
}

/* ---- Structure -------------------------------------------------------------------------------------------- */

void doc_begin(doc *d, FILE *to, bool json)
{
    memset(d, 0, sizeof(*d));
    d->to = to;
    d->json = json;
    (void)fputs(json ? "{" : "", to);
}

void doc_end(doc *d)
{
    (void)fputs(d->json ? "}\n" : "", d->to);
}

static void heading(doc *d, const char *key, const char *open)
{
    if (d->json) {
        (void)fputs(d->any ? ",\n" : "\n", d->to);
        quoted(d, key);
        (void)fprintf(d->to, ":%s", open);
    } else {
        (void)fprintf(d->to, "%s%s\n", d->any ? "\n" : "", key);
    }
    d->any = false;
}

void doc_group(doc *d, const char *key)
{
    heading(d, key, "{");
}

void doc_group_end(doc *d)
{
    (void)fputs(d->json ? "}" : "", d->to);
    d->any = true;
}

void doc_table(doc *d, const char *key, const char *titles)
{
    heading(d, key, "[");
    if (!d->json) {
        (void)fprintf(d->to, "  %s\n", titles);
    }
}

void doc_table_end(doc *d)
{
    (void)fputs(d->json ? "]" : "", d->to);
    d->any = true;
}

void doc_row(doc *d)
{
    if (d->json) {
        (void)fputs(d->any ? ",\n{" : "\n{", d->to);
    }
    d->any = false;
    d->row = true;
}

void doc_row_end(doc *d)
{
    (void)fputs(d->json ? "}" : "\n", d->to);
    d->any = true;
    d->row = false;
}

/* ---- Fields ----------------------------------------------------------------------------------------------- */

void doc_u64(doc *d, const char *key, uint64_t value, int width)
{
    char digits[24];
    (void)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)value);
    plain(d, key, digits, width);
}

void doc_bool(doc *d, const char *key, bool value)
{
    plain(d, key, d->json ? (value ? "true" : "false") : (value ? "yes" : "no"), 0);
}

void doc_double(doc *d, const char *key, double value)
{
    char digits[40];
    int precision = 6;
    do {
        (void)snprintf(digits, sizeof(digits), "%.*g", precision, value);
    } while (strtod(digits, NULL) != value && precision++ < 17);
    plain(d, key, digits, 0);
}

void doc_float(doc *d, const char *key, float value)
{
    char digits[40];
    int precision = 6;
    do {
        (void)snprintf(digits, sizeof(digits), "%.*g", precision, (double)value);
    } while (strtof(digits, NULL) != value && precision++ < 9);
    plain(d, key, digits, 0);
}

void doc_bytes(doc *d, const char *key, const void *bytes, size_t n, int width)
{
    int columns;
    field(d, key);
    (void)fputs(d->json ? "\"" : "", d->to);
    columns = escaped(d, (const uint8_t *)bytes, n);
    (void)fputs(d->json ? "\"" : "", d->to);
    spaces(d, !d->json && d->row ? width - columns : 0);
    field_end(d);
}

void doc_text(doc *d, const char *key, const char *text, int width)
{
    doc_bytes(d, key, text, strlen(text), width);
}

void doc_numbers(doc *d, const char *key, const uint32_t *values, size_t n, const char *between, int width)
{
    int columns = 0;
    field(d, key);
    (void)fputs(d->json ? "[" : "", d->to);
    for (size_t i = 0; i < n; i++) {
        columns += (int)strlen(i != 0 ? between : "");
        (void)fputs(i == 0 ? "" : d->json ? "," : between, d->to);
        columns += fprintf(d->to, "%u", values[i]);
    }
    (void)fputs(d->json ? "]" : "", d->to);
    spaces(d, !d->json && d->row ? width - columns : 0);
    field_end(d);
}
