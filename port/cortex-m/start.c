/* SPDX-License-Identifier: MIT */
/*
 * start.c: a Cortex-M4F from reset to board_main: vectors, FPU, cleared memory; text and exit by semihosting, which
 * QEMU and debuggers answer. Link with board.ld; what is in flash here is loaded in place, so no data are copied.
 */
#include "board.h"

enum { SYS_WRITEC = 0x03, SYS_EXIT_EXTENDED = 0x20, STOPPED_APPLICATION = 0x20026 };

#define CPACR 0xe000ed88u

extern uint32_t board_bss[];
extern uint32_t board_bss_end[];
extern uint32_t board_stack_top[];

void board_reset(void);

static void semihost(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void board_print(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        semihost(SYS_WRITEC, text + i);
    }
}

_Noreturn void board_exit(uint32_t status)
{
    const uint32_t reason[2] = {STOPPED_APPLICATION, status};
    semihost(SYS_EXIT_EXTENDED, reason);
    for (;;) {
    }
}

/* An interrupt nobody asked for, or a fault. */
static void board_fault(void)
{
    static const char text[] = "fault\n";
    board_print(text, sizeof(text) - 1);
    board_exit(3);
}

/* Full access to coprocessors 10 and 11, the FPU, before any function that uses its registers. */
void board_reset(void)
{
    *(volatile uint32_t *)CPACR |= 0xfu << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    for (volatile uint32_t *p = board_bss; p != board_bss_end; p++) {
        *p = 0;
    }
    board_exit(board_main());
}

typedef union board_vector {
    void *stack;
    void (*handler)(void);
} board_vector;

extern const board_vector board_vectors[16];
__attribute__((section(".vectors"), used)) const board_vector board_vectors[16] = {
    {.stack = board_stack_top}, {.handler = board_reset}, {.handler = board_fault}, {.handler = board_fault},
    {.handler = board_fault}, {.handler = board_fault}, {.handler = board_fault}};
