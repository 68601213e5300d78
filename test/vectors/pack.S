/* SPDX-License-Identifier: MIT */
/* pack.S: the vectors inside an image; Q_VECTORS_PACK names the file (the packs one after another). */
        .section .rodata
        .balign 64
        .globl vectors_pack
        .globl vectors_pack_end
vectors_pack:
        .incbin Q_VECTORS_PACK
vectors_pack_end:
        .byte   0

#if defined(__arm__)
        .section .note.GNU-stack, "", %progbits
#else
        .section .note.GNU-stack, "", @progbits
#endif
