/* SPDX-License-Identifier: MIT */
/*
 * arena.c: the bump arena. base <= base + head <= base + high <= base + size, at all times; counting, the
 * same with base 0 and size SIZE_MAX.
 */
#include "../core.h"

q_error_code q_arena_init(q_arena *arena, void *base, size_t size)
{
    if (arena == NULL || (base == NULL && size != 0)) {
        return Q_ERR_INVALID_ARG;
    }
    if ((uintptr_t)base % Q_ALIGN != 0) {
        return Q_ERR_MISALIGNED;
    }
    if (size > UINTPTR_MAX - (uintptr_t)base) {
        return Q_ERR_OVERFLOW;
    }
    arena->base = (uint8_t *)base;
    arena->size = base == NULL ? SIZE_MAX : size;
    arena->head = 0;
    arena->high = 0;
    arena->short_by = 0;
    return Q_OK;
}

/* Remembers the first failure; `missing` is never 0. */
static void *arena_refuse(q_arena *arena, size_t missing)
{
    if (arena->short_by == 0) {
        arena->short_by = missing;
    }
    return NULL;
}

void *q_arena_alloc(q_arena *arena, size_t size, size_t align)
{
    size_t begin;
    size_t end;
    if (align > Q_ALIGN || !q_align_size(arena->head, align, &begin) || !q_add_size(begin, size, &end)) {
        return arena_refuse(arena, SIZE_MAX);
    }
    if (end > arena->size) {
        return arena_refuse(arena, end - arena->size);
    }
    arena->head = end;
    if (end > arena->high) {
        arena->high = end;
    }
    return arena->base == NULL ? NULL : arena->base + begin;
}

bool q_arena_ok(const q_arena *arena)
{
    return arena->short_by == 0;
}

void q_arena_reset(q_arena *arena)
{
    arena->head = 0;
}
