/* SPDX-License-Identifier: MIT */
/* output.h: files that are there whole or not at all. */
#ifndef QORUS_TOOLS_OUTPUT_H
#define QORUS_TOOLS_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

/* Collected under another name until it is complete. What is not an ordinary file, a pipe or a device, is written as it is. */
typedef struct output {
    FILE *file; /* NULL: not open */
    const char *path;
    bool in_place;
    char part[4096];
} output;

/* False after saying why not. */
bool output_open(output *out, const char *path);

/* Keeps the file, or leaves what was there before; nothing if it is not open. False after saying what went wrong. */
bool output_close(output *out, bool keep);

#endif /* QORUS_TOOLS_OUTPUT_H */
