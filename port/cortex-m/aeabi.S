/* SPDX-License-Identifier: MIT */
/* aeabi.S: the names by which clang calls memory functions for *-none-eabi, over those of core/base/mem.c. */
        .syntax unified
        .thumb
        .text

        .macro entry name
        .globl \name, \name\()4, \name\()8
        .thumb_func
\name:
        .thumb_func
\name\()4:
        .thumb_func
\name\()8:
        .endm

        entry __aeabi_memcpy
        b.w     memcpy
        entry __aeabi_memmove
        b.w     memmove
        entry __aeabi_memset            /* (to, bytes, value) */
        mov     r3, r1
        mov     r1, r2
        mov     r2, r3
        b.w     memset
        entry __aeabi_memclr            /* (to, bytes) */
        mov     r2, r1
        movs    r1, #0
        b.w     memset
