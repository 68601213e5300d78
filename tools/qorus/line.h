/* SPDX-License-Identifier: MIT */
/*
 * line.h: one line of text from standard input: edited in a terminal, plain otherwise.
 *
 * In a terminal: left, right, home, end, backspace, delete, up and down through earlier lines, and
 * Ctrl-A E B F P N (the same by letters), Ctrl-U (erase to the beginning), K (to the end), W (the
 * word before), L (clear), Z (suspend). The terminal is in raw mode only while a line is read, and
 * is put back when a signal ends the program.
 */
#ifndef QORUS_TOOLS_LINE_H
#define QORUS_TOOLS_LINE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum line_result {
    LINE_DONE = 0,
    LINE_END = 1,       /* Ctrl-D on an empty line, or the end of the input */
    LINE_INTERRUPT = 2, /* Ctrl-C */
    LINE_TOO_LONG = 3   /* the line did not fit and has been skipped */
} line_result;

/* True if lines are edited: input and output are a terminal that can do it. */
bool line_edits(void);

/* Reads a line without its newline into to[0, cap), terminated; *n its bytes. prompt is shown in a
   terminal only. cap >= 2. */
line_result line_read(const char *prompt, char *to, size_t cap, size_t *n);

#endif /* QORUS_TOOLS_LINE_H */
