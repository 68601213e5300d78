/* SPDX-License-Identifier: MIT */
/* memory.c: the RAM nobody else uses, handed out from the front of each free range and never taken
   back. */
#include "internal.h"

/* Free ranges: sorted by address, disjoint, none empty, borders at pages until something is handed
   out. */
typedef struct free_range {
    uint64_t from;
    uint64_t to;
} free_range;

enum {
    FREE_MAX = 2 * Q_BARE_MAX_RANGES,
    LOWEST = 0x100000 /* the first MiB belongs to firmware, loaders and the start-up page */
};

static free_range free_ranges[FREE_MAX];
static uint32_t free_count;

static uint64_t range_end(uint64_t base, uint64_t size)
{
    return size > UINT64_MAX - base ? UINT64_MAX : base + size;
}

static void free_remove(uint32_t at)
{
    free_count--;
    for (uint32_t i = at; i < free_count; i++) {
        free_ranges[i] = free_ranges[i + 1];
    }
}

/* Keeps the order. A full table loses the range: less RAM, never wrong RAM. */
static void free_insert(uint64_t from, uint64_t to)
{
    if (from >= to || free_count == FREE_MAX) {
        return;
    }
    uint32_t at = free_count;
    while (at > 0 && free_ranges[at - 1].from > from) {
        free_ranges[at] = free_ranges[at - 1];
        at--;
    }
    free_ranges[at] = (free_range){from, to};
    free_count++;
}

static void free_cut(uint64_t from, uint64_t to)
{
    uint32_t i = 0;
    while (i < free_count) {
        const free_range r = free_ranges[i];
        if (r.to <= from || to <= r.from) {
            i++;
            continue;
        }
        free_remove(i);
        if (to < r.to) {
            free_insert(to, r.to);
        }
        if (r.from < from) {
            free_insert(r.from, from);
        }
        i = 0;
    }
}

void q_bare_memory_reserve(uint64_t base, uint64_t size)
{
    const uint64_t to = range_end(base, size);
    const uint64_t page_to =
        to > UINT64_MAX - PAGE_BYTES ? UINT64_MAX : (to + PAGE_BYTES - 1) & ~0xFFFull;
    if (size != 0) {
        free_cut(base & ~0xFFFull, page_to);
    }
}

void q_bare_memory_init(const q_bare_range *ranges, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (ranges[i].kind == Q_BARE_RAM) {
            const uint64_t to = range_end(ranges[i].base, ranges[i].size) & ~0xFFFull;
            uint64_t from = ranges[i].base;
            from = from > UINT64_MAX - PAGE_BYTES ? to : (from + PAGE_BYTES - 1) & ~0xFFFull;
            from = from < LOWEST ? LOWEST : from;
            if (from < to) {
                free_cut(from, to); /* maps may list the same RAM twice */
                free_insert(from, to);
            }
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        if (ranges[i].kind != Q_BARE_RAM) {
            q_bare_memory_reserve(ranges[i].base, ranges[i].size);
        }
    }
}

/* First aligned address in r, or UINT64_MAX. */
static uint64_t free_aligned(free_range r, uint64_t align)
{
    if (r.from > UINT64_MAX - (align - 1)) {
        return UINT64_MAX;
    }
    return (r.from + align - 1) & ~(align - 1);
}

/* What skipping to an aligned address leaves behind stays free. */
static void *free_take(uint64_t size, uint64_t align, uint64_t limit)
{
    for (uint32_t i = 0; i < free_count; i++) {
        const free_range r = free_ranges[i];
        const uint64_t at = free_aligned(r, align);
        const uint64_t to = r.to < limit ? r.to : limit;
        if (at < to && size <= to - at) {
            free_remove(i);
            free_insert(r.from, at);
            free_insert(at + size, r.to);
            return (void *)(uintptr_t)at;
        }
    }
    return NULL;
}

static uint64_t free_largest(uint64_t align, uint64_t limit)
{
    uint64_t largest = 0;
    for (uint32_t i = 0; i < free_count; i++) {
        const uint64_t at = free_aligned(free_ranges[i], align);
        const uint64_t to = free_ranges[i].to < limit ? free_ranges[i].to : limit;
        if (at < to && to - at > largest) {
            largest = to - at;
        }
    }
    return largest;
}

static void *free_take_or_exit(uint64_t size, uint64_t align, uint64_t limit)
{
    void *block = free_take(size, align, limit);
    if (block == NULL) {
        const uint64_t largest = free_largest(align, limit);
        q_bare_say(
            "qorus: too little memory: %lu bytes are missing (%lu needed in one block, %lu free); "
            "give the machine at least %lu MiB more\n",
            size - largest, size, largest, (size - largest) / 1048576 + 1);
        q_bare_exit(Q_BARE_EXIT_NO_MEMORY);
    }
    return block;
}

uint64_t q_bare_memory_largest(uint64_t align)
{
    return free_largest(align, UINT64_MAX);
}

void *q_bare_memory_try(uint64_t size, uint64_t align)
{
    return free_take(size, align, UINT64_MAX);
}

void *q_bare_memory_take(uint64_t size, uint64_t align)
{
    return free_take_or_exit(size, align, UINT64_MAX);
}

void *q_bare_memory_take_low(uint64_t size, uint64_t align)
{
    return free_take_or_exit(size, align, LOW_LIMIT);
}

void *q_bare_page_take(void)
{
    uint64_t *page = q_bare_memory_take_low(PAGE_BYTES, PAGE_BYTES);
    for (size_t i = 0; i < PAGE_BYTES / sizeof(*page); i++) {
        page[i] = 0;
    }
    return page;
}
