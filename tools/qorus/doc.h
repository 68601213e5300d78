/* SPDX-License-Identifier: MIT */
/* doc.h: one description of some facts, written as indented text for people or as JSON for programs. */
#ifndef QORUS_TOOLS_DOC_H
#define QORUS_TOOLS_DOC_H

#include <stdio.h>

#include "qorus_types.h"

typedef struct doc {
    FILE *to;
    bool json;
    bool any; /* something stands before the next member */
    bool row; /* text: fields of one line */
} doc;

/* The whole. */
void doc_begin(doc *d, FILE *to, bool json);
void doc_end(doc *d);

/* A group of fields under a heading; groups do not nest. */
void doc_group(doc *d, const char *key);
void doc_group_end(doc *d);

/* A table under a heading, and its rows. titles: the heading of the columns, text only. */
void doc_table(doc *d, const char *key, const char *titles);
void doc_table_end(doc *d);
void doc_row(doc *d);
void doc_row_end(doc *d);

/* Fields. In a row of text they are columns `width` characters wide (negative: to the right), elsewhere lines. */
void doc_u64(doc *d, const char *key, uint64_t value, int width);
void doc_bool(doc *d, const char *key, bool value);
/* The shortest decimal that reads back as the same float or double. */
void doc_float(doc *d, const char *key, float value);
void doc_double(doc *d, const char *key, double value);
/* n bytes of text; what is no text is escaped: \xNN, in JSON U+FFFD. */
void doc_bytes(doc *d, const char *key, const void *bytes, size_t n, int width);
void doc_text(doc *d, const char *key, const char *text, int width);
/* Numbers between `between`, in JSON an array. */
void doc_numbers(doc *d, const char *key, const uint32_t *values, size_t n, const char *between, int width);

#endif /* QORUS_TOOLS_DOC_H */
