/* SPDX-License-Identifier: MIT */
/* start.S: first instruction of a Linux process without libc: aligns the stack and calls vectors_start(). */
        .text
        .globl _start
_start:
#if defined(__x86_64__)
        xorl    %ebp, %ebp
        andq    $-16, %rsp
        call    vectors_start
        hlt
#elif defined(__i386__)
        xorl    %ebp, %ebp
        andl    $-16, %esp
        call    vectors_start
        hlt
#elif defined(__aarch64__)
        mov     x29, xzr
        mov     x30, xzr
        bl      vectors_start
        brk     #0
#elif defined(__arm__)
        mov     fp, #0
        bic     sp, sp, #7
        bl      vectors_start
        udf     #0
#elif defined(__riscv)
        .option push
        .option norelax
        la      gp, __global_pointer$
        .option pop
        mv      s0, zero
        andi    sp, sp, -16
        call    vectors_start
        ebreak
#else
#error "no start code for this processor"
#endif

#if defined(__arm__)
        .section .note.GNU-stack, "", %progbits
#else
        .section .note.GNU-stack, "", @progbits
#endif
