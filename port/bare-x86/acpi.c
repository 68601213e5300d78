/* SPDX-License-Identifier: MIT */
/* acpi.c: finds the processors in firmware's tables; nothing else of ACPI is used. */
#include "internal.h"

enum {
    TABLE_HEADER = 36,
    TABLE_MAX = 1 << 20,
    MADT_ENTRIES = 44,
    MADT_LOCAL_APIC = 0,
    MADT_LOCAL_X2APIC = 9,
    RSDP_BYTES = 20,
    RSDP_BYTES_2 = 36
};

static const uint8_t *acpi_at(uint64_t address)
{
    return (const uint8_t *)(uintptr_t)address;
}

static uint32_t acpi_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t acpi_u64(const uint8_t *p)
{
    return acpi_u32(p) | (uint64_t)acpi_u32(p + 4) << 32;
}

static bool acpi_sum_is_zero(const uint8_t *p, uint32_t n)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += p[i];
    }
    return (sum & 0xFF) == 0;
}

static bool acpi_named(const uint8_t *p, const char *name, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (p[i] != (uint8_t)name[i]) {
            return false;
        }
    }
    return true;
}

/* Bytes of a mapped table whose checksum is right; 0 otherwise. */
static uint32_t acpi_table_bytes(uint64_t address)
{
    if (address < PAGE_BYTES || address > LOW_LIMIT - TABLE_HEADER) {
        return 0;
    }
    const uint32_t n = acpi_u32(acpi_at(address) + 4);
    if (n < TABLE_HEADER || n > TABLE_MAX || n > LOW_LIMIT - address) {
        return 0;
    }
    return acpi_sum_is_zero(acpi_at(address), n) ? n : 0;
}

static bool acpi_is_rsdp(uint64_t address)
{
    return address >= PAGE_BYTES && address <= LOW_LIMIT - RSDP_BYTES_2
           && acpi_named(acpi_at(address), "RSD PTR ", 8)
           && acpi_sum_is_zero(acpi_at(address), RSDP_BYTES);
}

/* Without a hint from the loader: on 16-byte borders in the BIOS area. */
static uint64_t acpi_find_rsdp(uint64_t hint)
{
    if (acpi_is_rsdp(hint)) {
        return hint;
    }
    for (uint64_t at = 0xE0000; at < 0x100000; at += 16) {
        if (acpi_is_rsdp(at)) {
            return at;
        }
    }
    return 0;
}

/* Address of the MADT, or 0. */
static uint64_t acpi_find_madt(uint64_t rsdp)
{
    const uint8_t *p = acpi_at(rsdp);
    const bool wide = p[15] >= 2 && acpi_u64(p + 24) != 0;
    const uint64_t root = wide ? acpi_u64(p + 24) : acpi_u32(p + 16);
    const uint32_t entry = wide ? 8 : 4;
    const uint32_t bytes = acpi_table_bytes(root);
    for (uint32_t at = TABLE_HEADER; at + entry <= bytes; at += entry) {
        const uint8_t *e = acpi_at(root) + at;
        const uint64_t table = wide ? acpi_u64(e) : acpi_u32(e);
        if (acpi_table_bytes(table) >= MADT_ENTRIES && acpi_named(acpi_at(table), "APIC", 4)) {
            return table;
        }
    }
    return 0;
}

/* True if the entry of n bytes is an enabled processor. */
static bool acpi_entry_cpu(const uint8_t *e, uint32_t n, uint32_t *apic_id)
{
    if (e[0] == MADT_LOCAL_APIC && n >= 8 && (acpi_u32(e + 4) & 1) != 0) {
        *apic_id = e[3];
        return true;
    }
    if (e[0] == MADT_LOCAL_X2APIC && n >= 16 && (acpi_u32(e + 8) & 1) != 0) {
        *apic_id = acpi_u32(e + 4);
        return true;
    }
    return false;
}

uint32_t q_bare_acpi_cpus(uint64_t rsdp, uint32_t *apic_ids, uint32_t max)
{
    rsdp = acpi_find_rsdp(rsdp);
    const uint64_t madt = rsdp != 0 ? acpi_find_madt(rsdp) : 0;
    if (madt == 0) {
        return 0;
    }
    const uint8_t *p = acpi_at(madt);
    const uint32_t bytes = acpi_u32(p + 4);
    uint32_t count = 0;
    uint32_t at = MADT_ENTRIES;
    while (at + 2 <= bytes && p[at + 1] >= 2 && p[at + 1] <= bytes - at && count < max) {
        count += acpi_entry_cpu(p + at, p[at + 1], &apic_ids[count]) ? 1 : 0;
        at += p[at + 1];
    }
    return count;
}
