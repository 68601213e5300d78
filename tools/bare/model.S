/* SPDX-License-Identifier: MIT */
/* model.S: the file SHIPPED as constants of the image, for runs without a boot module. */
    .section .rodata
    .globl q_bare_model
    .globl q_bare_model_end
    .balign 4096
q_bare_model:
    .incbin SHIPPED
q_bare_model_end:
    .section .note.GNU-stack, "", @progbits
