/* SPDX-License-Identifier: MIT */
/*
 * region.c: regions filled from a caller's allocator, and checked before use.
 */
#include "../core.h"

static q_error_code region_fail(q_diag *diag, q_error_code code, const char *field, size_t index, uint64_t need,
                                uint64_t have)
{
    q_error_code e = q_fail(diag, code, "regions", field, need, have);
    if (diag != NULL) {
        diag->offset = index;
    }
    return e;
}

/* ---- The caller's allocator ------------------------------------------------------------------------------- */

/* One region; on failure its base is NULL and nothing is held for it. */
static q_error_code region_fill(const q_allocator *allocator, q_region *region, size_t index, q_diag *diag)
{
    region->base = NULL;
    if (region->size == 0) {
        return Q_OK;
    }
    void *base = allocator->alloc(allocator->user, region->size, Q_ALIGN);
    if (base == NULL) {
        return region_fail(diag, Q_ERR_NO_SPACE, "size", index, region->size, 0);
    }
    if ((uintptr_t)base % Q_ALIGN != 0) {
        allocator->free(allocator->user, base, region->size);
        return region_fail(diag, Q_ERR_MISALIGNED, "base", index, Q_ALIGN, (uintptr_t)base % Q_ALIGN);
    }
    region->base = base;
    return Q_OK;
}

q_error_code q_regions_alloc(const q_allocator *allocator, q_region *regions, size_t n, q_diag *diag)
{
    if (allocator == NULL || allocator->alloc == NULL || allocator->free == NULL) {
        return region_fail(diag, Q_ERR_INVALID_ARG, "allocator", 0, 1, 0);
    }
    if (regions == NULL && n != 0) {
        return region_fail(diag, Q_ERR_INVALID_ARG, "regions", 0, n, 0);
    }
    for (size_t i = 0; i < n; i++) {
        q_error_code e = region_fill(allocator, &regions[i], i, diag);
        if (e != Q_OK) {
            q_regions_free(allocator, regions, i);
            for (size_t j = i; j < n; j++) {
                regions[j].base = NULL;
            }
            return e;
        }
    }
    return Q_OK;
}

void q_regions_free(const q_allocator *allocator, q_region *regions, size_t n)
{
    /* last taken, first given back: what a stack-like allocator needs */
    for (size_t i = n; i-- > 0;) {
        if (regions[i].base != NULL) {
            allocator->free(allocator->user, regions[i].base, regions[i].size);
            regions[i].base = NULL;
        }
    }
}

/* ---- Checking --------------------------------------------------------------------------------------------- */

q_error_code q_block_check(q_block memory, size_t align, size_t need, const char *who, q_diag *diag)
{
    uintptr_t base = (uintptr_t)memory.base;
    if (memory.base == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, "memory", need, 0);
    }
    if (base % align != 0) {
        return q_fail(diag, Q_ERR_MISALIGNED, who, "memory", align, base % align);
    }
    if (memory.size > UINTPTR_MAX - base) {
        return q_fail(diag, Q_ERR_OVERFLOW, who, "memory", UINTPTR_MAX - base, memory.size);
    }
    return memory.size < need ? q_fail(diag, Q_ERR_NO_SPACE, who, "memory", need, memory.size) : Q_OK;
}

static q_error_code region_check_one(const q_region *region, size_t index, q_diag *diag)
{
    if (region->kind >= Q_REGION_KINDS) {
        return region_fail(diag, Q_ERR_INVALID_ARG, "kind", index, Q_REGION_KINDS - 1, region->kind);
    }
    if (region->tag >= (region->device == Q_DEVICE_CPU ? Q_MAX_TAGS : Q_MAX_PLACES)) {
        return region_fail(diag, Q_ERR_INVALID_ARG, "tag", index, Q_MAX_TAGS - 1, region->tag);
    }
    if (region->base == NULL && region->size != 0) {
        return region_fail(diag, Q_ERR_INVALID_ARG, "base", index, region->size, 0);
    }
    if ((uintptr_t)region->base % Q_ALIGN != 0) {
        return region_fail(diag, Q_ERR_MISALIGNED, "base", index, Q_ALIGN, (uintptr_t)region->base % Q_ALIGN);
    }
    if (region->size > UINTPTR_MAX - (uintptr_t)region->base) {
        return region_fail(diag, Q_ERR_OVERFLOW, "size", index, UINTPTR_MAX - (uintptr_t)region->base,
                           region->size);
    }
    return Q_OK;
}

q_error_code q_regions_check(const q_region *regions, size_t n, q_diag *diag)
{
    if (regions == NULL && n != 0) {
        return region_fail(diag, Q_ERR_INVALID_ARG, "regions", 0, n, 0);
    }
    for (size_t i = 0; i < n; i++) {
        q_error_code e = region_check_one(&regions[i], i, diag);
        if (e != Q_OK) {
            return e;
        }
        for (size_t j = 0; j < i; j++) {
            bool apart = regions[i].device != regions[j].device;
            if (!apart && q_overlaps(regions[i].base, regions[i].size, regions[j].base, regions[j].size)) {
                return region_fail(diag, Q_ERR_ALIASING, "base", i, 0, j);
            }
        }
    }
    return Q_OK;
}
