/* SPDX-License-Identifier: MIT */
/* board.h: what a program for the board brings, and what it gets. There is no port object: a context has port = NULL. */
#ifndef QORUS_PORT_CORTEX_M_BOARD_H
#define QORUS_PORT_CORTEX_M_BOARD_H

#include <stddef.h>
#include <stdint.h>

/* The program; its status leaves the emulator. */
uint32_t board_main(void);

void board_print(const char *text, size_t n);
_Noreturn void board_exit(uint32_t status);

#endif /* QORUS_PORT_CORTEX_M_BOARD_H */
