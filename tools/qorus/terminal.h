/* SPDX-License-Identifier: MIT */
/* terminal.h: the terminal in raw mode, and the width of characters on it. */
#ifndef QORUS_TOOLS_TERMINAL_H
#define QORUS_TOOLS_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every byte typed is handed over as it comes; the end of the program or a signal undoes it. */
void terminal_raw(void);
void terminal_back(void);

/* Columns of the terminal on standard output, else of that on standard error; 80 if unknown. */
size_t terminal_columns(void);

/* All n bytes to standard output, past stdio. */
void terminal_write(const char *bytes, size_t n);

/* Bytes of the character at text[at]; 1, and U+FFFD, where it is no whole UTF-8 character. */
size_t utf8_character(const char *text, size_t at, size_t n, uint32_t *code);

/* Columns of a character: 0 for a mark on the one before, 2 for a wide one. */
size_t utf8_columns(uint32_t code);

/* Columns of text[from, to). */
size_t utf8_width(const char *text, size_t from, size_t to);

#endif /* QORUS_TOOLS_TERMINAL_H */
