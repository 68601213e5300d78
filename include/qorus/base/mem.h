/* SPDX-License-Identifier: MIT */
/*
 * mem.h: the four functions a C compiler may call on its own, the only ones the core leaves undefined. A hosted
 * port takes them from its libc; core/base/mem.c offers them to a port that has none.
 */
#ifndef QORUS_BASE_MEM_H
#define QORUS_BASE_MEM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_BASE_MEM_H */
