/* SPDX-License-Identifier: MIT */
/* paging.c: the one-to-one map: RAM above 4 GiB, and the rights of single pages below. */
#include "internal.h"

enum {
    PRESENT = 1,
    WRITABLE = 2,
    USER = 4,
    READABLE = PRESENT | USER,
    UNCACHED = 0x18, /* PCD and PWT */
    LARGE = 0x80,
    FULL = PRESENT | WRITABLE | USER
};

#define MIB2 0x200000ull
#define GIB 0x40000000ull
#define ADDRESS_BITS 0x000FFFFFFFFFF000ull

static void pages_flush(void)
{
    (void)q_bare_ask_ring0(SERVICE_FLUSH, 0, 0);
}

/* ---- Above 4 GiB ----------------------------------------------------------------------------- */

static void pages_map_gib(uint64_t gib)
{
    if (q_bare_pdpt[gib] != 0) {
        return;
    }
    if (q_bare_cpu.gib_pages) {
        q_bare_pdpt[gib] = gib * GIB | FULL | LARGE;
        return;
    }
    uint64_t *directory = q_bare_page_take();
    for (uint64_t i = 0; i < 512; i++) {
        directory[i] = (gib * GIB + i * MIB2) | FULL | LARGE;
    }
    q_bare_pdpt[gib] = (uint64_t)(uintptr_t)directory | FULL;
}

void q_bare_pages_map_high(const q_bare_range *ranges, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t from = ranges[i].base;
        const uint64_t size = ranges[i].size;
        if (ranges[i].kind != Q_BARE_RAM || size == 0 || from >= 512 * GIB) {
            continue;
        }
        const uint64_t last = size - 1 > 512 * GIB - 1 - from ? 512 * GIB - 1 : from + size - 1;
        for (uint64_t gib = from / GIB; gib <= last / GIB; gib++) {
            pages_map_gib(gib);
        }
    }
    pages_flush();
}

/* ---- Below 4 GiB ----------------------------------------------------------------------------- */

/* The table of 4 KiB pages that holds `address`; splits a 2 MiB page. */
static uint64_t *pages_split(uint64_t address)
{
    uint64_t *entry = &q_bare_pd[address / MIB2];
    if ((*entry & LARGE) != 0) {
        uint64_t *table = q_bare_page_take();
        for (uint64_t i = 0; i < 512; i++) {
            table[i] = (address / MIB2 * MIB2 + i * PAGE_BYTES) | FULL;
        }
        *entry = (uint64_t)(uintptr_t)table | FULL;
    }
    return (uint64_t *)(uintptr_t)(*entry & ADDRESS_BITS);
}

/* from and to are multiples of the page size, to <= 4 GiB. */
static void pages_set(uint64_t from, uint64_t to, uint64_t bits)
{
    while (from < to) {
        uint64_t *entry = &q_bare_pd[from / MIB2];
        if (from % MIB2 == 0 && to - from >= MIB2 && (*entry & LARGE) != 0) {
            *entry = from | bits | LARGE;
            from += MIB2;
        } else {
            pages_split(from)[from % MIB2 / PAGE_BYTES] = from | bits;
            from += PAGE_BYTES;
        }
    }
    pages_flush();
}

static uint64_t symbol_address(const char *symbol)
{
    return (uint64_t)(uintptr_t)symbol;
}

void q_bare_pages_protect_image(void)
{
    const uint64_t nx = q_bare_cpu.nx;
    const uint64_t text = symbol_address(q_bare_text_start);
    const uint64_t rodata = symbol_address(q_bare_text_end);
    const uint64_t data = symbol_address(q_bare_rodata_end);
    pages_set(text, rodata, READABLE);
    pages_set(rodata, data, READABLE | nx);
    pages_set(data, symbol_address(q_bare_image_end), FULL | nx);
    pages_set(0, PAGE_BYTES, 0);
    q_bare_pages_guard(symbol_address(q_bare_boot_stack));
}

void q_bare_pages_protect_module(uint64_t base, uint64_t size)
{
    const uint64_t from = (base + PAGE_BYTES - 1) & ~0xFFFull;
    const uint64_t to = (base + size) & ~0xFFFull;
    if (from < to && to <= LOW_LIMIT) {
        pages_set(from, to, READABLE);
    }
}

void q_bare_pages_guard(uint64_t page)
{
    pages_set(page, page + PAGE_BYTES, 0);
}

void q_bare_pages_device(uint64_t page)
{
    if (page < LOW_LIMIT) {
        pages_set(page, page + PAGE_BYTES, FULL | UNCACHED);
    }
}
