/* SPDX-License-Identifier: MIT */
/* mutate.c: what the mutators of all targets share. */
#define _POSIX_C_SOURCE 200809L
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libFuzzer's own mutations, where it is linked. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max) __attribute__((weak));

uint32_t fuzz_next(fuzz_random *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}

uint32_t fuzz_below(fuzz_random *r, size_t n)
{
    return n == 0 ? 0 : (uint32_t)(fuzz_next(r) % n);
}

bool fuzz_once_in(fuzz_random *r, uint32_t n)
{
    return fuzz_below(r, n) == 0;
}

uint64_t fuzz_get(const uint8_t *at, uint32_t width)
{
    uint64_t value = 0;
    memcpy(&value, at, width);
    return value;
}

void fuzz_put(uint8_t *at, uint32_t width, uint64_t value)
{
    memcpy(at, &value, width);
}

/* A number worth trying. */
static uint64_t edge(fuzz_random *r)
{
    static const uint64_t edges[] = {
        0,          1,          2,          3,          4,           5,
        7,          8,          9,          16,         32,          63,
        64,         65,         127,        128,        255,         256,
        1023,       1024,       1025,       4096,       65535,       65536,
        65537,      0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff,  0x100000000,
        0x3f800000, 0x7f800000, 0x7fc00000, 0xbf800000, INT64_MAX,   UINT64_MAX,
        1u << 20,   1u << 21,   1u << 24,   1u << 26,   UINT64_MAX - 63,
    };
    uint64_t value = edges[fuzz_below(r, sizeof(edges) / sizeof(edges[0]))];
    return fuzz_once_in(r, 4) ? value + 1 - fuzz_below(r, 3) : value;
}

void fuzz_change(fuzz_random *r, uint8_t *bytes, size_t size, uint64_t at, uint32_t width)
{
    uint64_t value;
    if (at > size || width > size - at) {
        return;
    }
    value = fuzz_get(bytes + at, width);
    switch (fuzz_below(r, 8)) {
    case 0:
    case 1:
        value = edge(r);
        break;
    case 2:
        value++;
        break;
    case 3:
        value--;
        break;
    case 4:
        value ^= (uint64_t)1 << fuzz_below(r, width * 8u);
        break;
    case 5:
        value += (uint64_t)64 * (1 + fuzz_below(r, 4)) * (fuzz_once_in(r, 2) ? 1u : UINT64_MAX);
        break;
    case 6:
        value = fuzz_below(r, 32);
        break;
    default:
        value = (uint64_t)fuzz_next(r) << 32 | fuzz_next(r);
        break;
    }
    fuzz_put(bytes + at, width, value);
}

size_t fuzz_shift(uint8_t *bytes, size_t size, size_t max, uint64_t at, int64_t delta)
{
    size_t n = (size_t)(delta < 0 ? -delta : delta);
    if (at > size || (delta < 0 ? n > size - at : n > max - size)) {
        return size;
    }
    if (delta < 0) {
        memmove(bytes + at, bytes + at + n, size - (size_t)at - n);
        return size - n;
    }
    memmove(bytes + at + n, bytes + at, size - (size_t)at);
    memset(bytes + at, 0, n);
    return size + n;
}

size_t fuzz_bytes(uint8_t *bytes, size_t size, size_t max, fuzz_random *r)
{
    if (LLVMFuzzerMutate != NULL) {
        return LLVMFuzzerMutate(bytes, size, max);
    }
    switch (fuzz_below(r, 4)) {
    case 0:
        return fuzz_below(r, size + 1);
    case 1:
        return fuzz_shift(bytes, size, max, fuzz_below(r, size + 1), (int64_t)fuzz_below(r, 9) - 4);
    default:
        fuzz_change(r, bytes, size, fuzz_below(r, size), 1u << fuzz_below(r, 4));
        return size;
    }
}

void *fuzz_memory(size_t n)
{
    void *p = NULL;
    if (posix_memalign(&p, 128, n != 0 ? n : 1) != 0) {
        (void)printf("no memory for %zu bytes\n", n);
        exit(1);
    }
    memset(p, 0xA5, n);
    return p;
}

void fuzz_must(bool holds, const char *what)
{
    if (!holds) {
        (void)printf("FAIL %s\n", what);
        (void)fflush(stdout);
        abort();
    }
}

const fuzz_target *fuzz_find(const char *name)
{
    static const fuzz_target *const all[] = {&fuzz_file, &fuzz_tokenizer, &fuzz_snapshot};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (strcmp(all[i]->name, name) == 0) {
            return all[i];
        }
    }
    return NULL;
}
