/* SPDX-License-Identifier: MIT */
/*
 * mem.c: memcpy, memmove, memset and memcmp for ports that have no libc.
 *
 * platform.mk compiles this file so that no compiler turns a loop into a call of the function it stands in,
 * and, on x86, without vector registers, so that boot code may call it before those are switched on.
 */
#include "qorus/base/mem.h"

#include <stdbool.h>
#include <stdint.h>

/* A register's worth of the bytes of any object. */
#if defined(__GNUC__) || defined(__clang__)
typedef size_t __attribute__((__may_alias__)) mem_word;
#else
typedef unsigned char mem_word;
#endif

#define MEM_MASK (sizeof(mem_word) - 1)

/* True if both addresses reach a word boundary after the same number of bytes. */
static bool mem_in_step(const unsigned char *a, const unsigned char *b)
{
    return (((uintptr_t)a ^ (uintptr_t)b) & MEM_MASK) == 0;
}

/* Lowest address first: right where `to` lies below `from`, or where the two do not overlap. */
static void mem_copy_up(unsigned char *to, const unsigned char *from, size_t n)
{
    if (mem_in_step(to, from)) {
        for (; n != 0 && ((uintptr_t)to & MEM_MASK) != 0; n--) {
            *to++ = *from++;
        }
        for (; n >= sizeof(mem_word); n -= sizeof(mem_word)) {
            *(mem_word *)(void *)to = *(const mem_word *)(const void *)from;
            to += sizeof(mem_word);
            from += sizeof(mem_word);
        }
    }
    for (; n != 0; n--) {
        *to++ = *from++;
    }
}

/* Highest address first: right where `to` lies above `from`. */
static void mem_copy_down(unsigned char *to, const unsigned char *from, size_t n)
{
    if (mem_in_step(to, from)) {
        for (; n != 0 && ((uintptr_t)(to + n) & MEM_MASK) != 0; n--) {
            to[n - 1] = from[n - 1];
        }
        for (; n >= sizeof(mem_word); n -= sizeof(mem_word)) {
            *(mem_word *)(void *)(to + n - sizeof(mem_word)) =
                *(const mem_word *)(const void *)(from + n - sizeof(mem_word));
        }
    }
    for (; n != 0; n--) {
        to[n - 1] = from[n - 1];
    }
}

void *memcpy(void *to, const void *from, size_t n)
{
    mem_copy_up((unsigned char *)to, (const unsigned char *)from, n);
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    /* unsigned distance: below n only where `to` lies inside [from, from + n) */
    if ((uintptr_t)to - (uintptr_t)from < n) {
        mem_copy_down((unsigned char *)to, (const unsigned char *)from, n);
    } else {
        mem_copy_up((unsigned char *)to, (const unsigned char *)from, n);
    }
    return to;
}

void *memset(void *to, int byte, size_t n)
{
    unsigned char *p = (unsigned char *)to;
    unsigned char b = (unsigned char)byte;
    mem_word word = (mem_word)((mem_word)-1 / 255u * b);
    for (; n != 0 && ((uintptr_t)p & MEM_MASK) != 0; n--) {
        *p++ = b;
    }
    for (; n >= sizeof(mem_word); n -= sizeof(mem_word)) {
        *(mem_word *)(void *)p = word;
        p += sizeof(mem_word);
    }
    for (; n != 0; n--) {
        *p++ = b;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *p = (const unsigned char *)a;
    const unsigned char *q = (const unsigned char *)b;
    for (; n != 0 && *p == *q; n--) {
        p++;
        q++;
    }
    return n == 0 ? 0 : (int)*p - (int)*q;
}
