/* SPDX-License-Identifier: MIT */
/* boot.c: reads what the loader left (PVH or multiboot2), brings the machine up, calls the
   application. */
#include "internal.h"

#define PVH_MAGIC 0x336EC578u
#define MB2_MAGIC 0x36D76289u

enum {
    MB2_END = 0,
    MB2_CMDLINE = 1,
    MB2_MODULE = 3,
    MB2_MEMORY_MAP = 6,
    MB2_ACPI_OLD = 14,
    MB2_ACPI_NEW = 15
};

/* The structures of the PVH boot protocol, version 1. */
typedef struct pvh_start_info {
    uint32_t magic;
    uint32_t version;
    uint32_t flags;
    uint32_t n_modules;
    uint64_t modules;
    uint64_t cmdline;
    uint64_t rsdp;
    uint64_t memory_map;
    uint32_t n_memory_map;
    uint32_t reserved;
} pvh_start_info;

typedef struct pvh_module {
    uint64_t address;
    uint64_t size;
    uint64_t cmdline;
    uint64_t reserved;
} pvh_module;

Q_STATIC_ASSERT(sizeof(pvh_start_info) == 56, "layout of the PVH protocol");
Q_STATIC_ASSERT(sizeof(pvh_module) == 32, "layout of the PVH protocol");
Q_STATIC_ASSERT(sizeof(q_bare_range) == 24, "the memory map entry of PVH and multiboot2");

/* Copies, so that the loader's own structures may lie anywhere. */
static q_bare_boot boot_info;
static q_bare_module boot_modules[Q_BARE_MAX_MODULES];
static q_bare_range boot_ranges[Q_BARE_MAX_RANGES];
static char boot_text[Q_BARE_MAX_CMDLINE];
static size_t boot_text_used;
static uint64_t boot_rsdp;
/* The tags of multiboot2: the ACPI pointer among them must stay readable until the processors are
   up. */
static uint64_t boot_tags;
static uint64_t boot_tags_bytes;
static q_port boot_port;

Q_NORETURN static void boot_fail(const char *why)
{
    q_bare_say("qorus: cannot boot: %s\n", why);
    q_bare_exit(Q_BARE_EXIT_BOOT);
}

/* ---- Copying the loader's information -------------------------------------------------------- */

static const char *boot_copy_text(uint64_t address)
{
    const char *from = (const char *)(uintptr_t)address;
    const char *copy = &boot_text[boot_text_used];
    for (size_t i = 0; address != 0 && address < LOW_LIMIT && from[i] != '\0'; i++) {
        if (boot_text_used + 1 >= sizeof(boot_text)) {
            boot_fail("the command lines are longer than 65535 bytes in all");
        }
        boot_text[boot_text_used++] = from[i];
    }
    boot_text[boot_text_used++] = '\0';
    if (boot_text_used >= sizeof(boot_text)) {
        boot_fail("the command lines are longer than 65535 bytes in all");
    }
    return copy;
}

static void boot_add_range(uint64_t base, uint64_t size, uint32_t kind)
{
    if (size == 0) {
        return;
    }
    if (boot_info.n_ranges == Q_BARE_MAX_RANGES) {
        boot_fail("the memory map has more than 128 entries");
    }
    boot_ranges[boot_info.n_ranges++] = (q_bare_range){base, size, kind, 0};
    boot_info.ram_bytes += kind == Q_BARE_RAM ? size : 0;
}

static void boot_add_module(uint64_t base, uint64_t size, uint64_t cmdline)
{
    if (boot_info.n_modules == Q_BARE_MAX_MODULES) {
        boot_fail("more than 16 modules");
    }
    if (base % PAGE_BYTES != 0) {
        boot_fail("a module does not begin at a multiple of 4096");
    }
    boot_modules[boot_info.n_modules++] =
        (q_bare_module){(const void *)(uintptr_t)base, (size_t)size, boot_copy_text(cmdline)};
}

static void boot_read_pvh(uint64_t info)
{
    const pvh_start_info *start = (const pvh_start_info *)(uintptr_t)info;
    if (start->magic != PVH_MAGIC) {
        boot_fail("the loader's start information has another magic number than PVH's");
    }
    if (start->version < 1 || start->n_memory_map == 0) {
        boot_fail("the loader's start information has no memory map");
    }
    boot_info.loader = "PVH";
    boot_info.cmdline = boot_copy_text(start->cmdline);
    boot_rsdp = start->rsdp;
    const q_bare_range *map = (const q_bare_range *)(uintptr_t)start->memory_map;
    for (uint32_t i = 0; i < start->n_memory_map; i++) {
        boot_add_range(map[i].base, map[i].size, map[i].kind);
    }
    const pvh_module *modules = (const pvh_module *)(uintptr_t)start->modules;
    for (uint32_t i = 0; i < start->n_modules; i++) {
        boot_add_module(modules[i].address, modules[i].size, modules[i].cmdline);
    }
}

static void boot_read_mb2_map(const uint32_t *tag)
{
    const uint64_t first = (uint64_t)(uintptr_t)tag + 16;
    const uint32_t entry = tag[2];
    const uint32_t n = entry >= sizeof(q_bare_range) ? (tag[1] - 16) / entry : 0;
    for (uint32_t i = 0; i < n; i++) {
        const q_bare_range *r = (const q_bare_range *)(uintptr_t)(first + (uint64_t)i * entry);
        boot_add_range(r->base, r->size, r->kind);
    }
}

static void boot_read_mb2_tag(const uint32_t *tag)
{
    const uint64_t at = (uint64_t)(uintptr_t)tag;
    switch (tag[0]) {
    case MB2_CMDLINE:
        boot_info.cmdline = boot_copy_text(at + 8);
        break;
    case MB2_MODULE:
        boot_add_module(tag[2], tag[3] - tag[2], at + 16);
        break;
    case MB2_MEMORY_MAP:
        boot_read_mb2_map(tag);
        break;
    case MB2_ACPI_OLD:
    case MB2_ACPI_NEW:
        boot_rsdp = at + 8; /* a copy of the pointer, inside the tag */
        break;
    default:
        break;
    }
}

static void boot_read_mb2(uint64_t info)
{
    boot_info.loader = "multiboot2";
    boot_info.cmdline = "";
    const uint64_t end = info + *(const uint32_t *)(uintptr_t)info;
    uint64_t at = info + 8;
    while (at + 8 <= end) {
        const uint32_t *tag = (const uint32_t *)(uintptr_t)at;
        if (tag[0] == MB2_END || tag[1] < 8) {
            break;
        }
        boot_read_mb2_tag(tag);
        at += (tag[1] + 7ull) & ~7ull;
    }
    boot_tags = info;
    boot_tags_bytes = end - info;
    if (boot_info.n_ranges == 0) {
        boot_fail("the loader gave no memory map");
    }
}

/* ---- Bringing the machine up ----------------------------------------------------------------- */

static void boot_claim_memory(void)
{
    const uint64_t image = (uint64_t)(uintptr_t)q_bare_image_start;
    q_bare_memory_reserve(image, (uint64_t)(uintptr_t)q_bare_image_end - image);
    q_bare_memory_reserve(boot_tags, boot_tags_bytes);
    for (uint32_t i = 0; i < boot_info.n_modules; i++) {
        q_bare_memory_reserve((uint64_t)(uintptr_t)boot_modules[i].base, boot_modules[i].size);
    }
    q_bare_pages_map_high(boot_ranges, boot_info.n_ranges);
    q_bare_pages_protect_image();
    for (uint32_t i = 0; i < boot_info.n_modules; i++) {
        q_bare_pages_protect_module((uint64_t)(uintptr_t)boot_modules[i].base,
                                    boot_modules[i].size);
    }
}

static bool boot_page_is_ram(uint64_t page)
{
    bool inside = false;
    for (uint32_t i = 0; i < boot_info.n_ranges; i++) {
        const q_bare_range *r = &boot_ranges[i];
        const bool ram = r->kind == Q_BARE_RAM;
        if (ram && r->base <= page && page + PAGE_BYTES <= r->base + r->size) {
            inside = true;
        }
        if (!ram && r->base < page + PAGE_BYTES && page < r->base + r->size) {
            return false;
        }
    }
    return inside;
}

static bool boot_page_in_module(uint64_t page)
{
    for (uint32_t i = 0; i < boot_info.n_modules; i++) {
        const uint64_t base = (uint64_t)(uintptr_t)boot_modules[i].base;
        if (base < page + PAGE_BYTES && page < base + boot_modules[i].size) {
            return true;
        }
    }
    return false;
}

/* A page for the start-up code of the other processors, clear of the BIOS's own data; 0 if there is
   none. */
static uint64_t boot_low_page(void)
{
    for (uint64_t page = 0x8000; page < 0x80000; page += PAGE_BYTES) {
        if (boot_page_is_ram(page) && !boot_page_in_module(page)) {
            return page;
        }
    }
    return 0;
}

static uint64_t boot_cpu_features(void *user)
{
    (void)user;
    return q_cpu_decode(&q_bare_cpu.leaves);
}

static void boot_fill_port(void)
{
    boot_port.struct_size = sizeof(boot_port);
    boot_port.ticks = boot_info.tsc_hz != 0 ? q_bare_time_ns : NULL;
    boot_port.ns_num = 1;
    boot_port.ns_den = 1;
    boot_port.cpu_features = boot_cpu_features;
    boot_port.parallel = q_bare_parallel;
    boot_port.wait = q_bare_wait;
    boot_port.wake = q_bare_wake;
    boot_port.log = q_bare_log;
    boot_port.panic = q_bare_panic;
    boot_info.port = &boot_port;
}

Q_NORETURN void q_bare_enter(uint64_t info, uint32_t kind)
{
    q_bare_serial_init();
    if (kind == 0) {
        boot_read_pvh(info);
    } else if (kind == MB2_MAGIC) {
        boot_read_mb2(info);
    } else {
        boot_fail("the loader is neither PVH nor multiboot2");
    }
    boot_info.modules = boot_modules;
    boot_info.ranges = boot_ranges;
    q_bare_memory_init(boot_ranges, boot_info.n_ranges);
    boot_claim_memory();
    boot_info.tsc_hz = q_bare_time_init(&boot_info.tsc_source);
    boot_info.n_cpus = q_bare_smp_start(boot_rsdp, boot_low_page());
    boot_fill_port();
    q_bare_exit(q_bare_main(&boot_info));
}
