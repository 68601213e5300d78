/* SPDX-License-Identifier: MIT */
/*
 * pool.c: first fit over pieces that lie one behind the other and tell their size and that of the piece before. Two free
 * pieces never lie side by side. A piece's head is Q_ALIGN bytes, so that what follows it is aligned.
 */
#include "../core.h"
#include "qorus/pool.h"

typedef struct pool_piece {
    size_t size;   /* with this head */
    size_t before; /* size of the piece before; 0: the first */
    uint32_t mark;
} pool_piece;

enum { POOL_FREE = 0x46726565, POOL_TAKEN = 0x54616b65 };

Q_STATIC_ASSERT(sizeof(pool_piece) <= Q_ALIGN, "a head fits its place");

static pool_piece *piece_at_offset(const q_pool *pool, size_t offset)
{
    return (pool_piece *)(void *)(pool->base + offset);
}

/* The piece behind, or NULL at the end. */
static pool_piece *piece_behind(const q_pool *pool, const pool_piece *p)
{
    size_t end = (size_t)((const uint8_t *)p - pool->base) + p->size;
    return end < pool->size ? piece_at_offset(pool, end) : NULL;
}

q_error_code q_pool_bytes(uint32_t dtype, const uint32_t ne[Q_MAX_DIMS], size_t *bytes, q_diag *diag)
{
    static uint8_t Q_ALIGNED(Q_ALIGN) const nothing[Q_ALIGN] = {0};
    q_tensor t;
    size_t n;
    q_error_code e = bytes == NULL ? q_fail(diag, Q_ERR_INVALID_ARG, "q_pool_bytes", "bytes", 1, 0)
                                   : q_tensor_init(&t, (void *)(uintptr_t)nothing, dtype, Q_PLAIN, ne, diag);
    if (e != Q_OK) {
        return e;
    }
    if (!q_mul_size(t.nb[0], ne[0], &n) || !q_add_size(n, Q_ALIGN, &n) || !q_align_size(n, Q_ALIGN, bytes)) {
        return q_fail(diag, Q_ERR_OVERFLOW, "q_pool_bytes", "bytes", SIZE_MAX / 2, 0);
    }
    return Q_OK;
}

q_error_code q_pool_init(q_pool *pool, q_block memory, q_diag *diag)
{
    pool_piece *all;
    q_error_code e;
    if (pool == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_pool_init", "pool", 1, 0);
    }
    e = q_block_check(memory, Q_ALIGN, Q_ALIGN, "q_pool_init", diag);
    if (e != Q_OK) {
        return e;
    }
    memset(pool, 0, sizeof(*pool));
    pool->base = (uint8_t *)memory.base;
    pool->size = memory.size / Q_ALIGN * Q_ALIGN;
    all = piece_at_offset(pool, 0);
    all->size = pool->size;
    all->before = 0;
    all->mark = POOL_FREE;
    return Q_OK;
}

/* The first free piece of that size, or NULL; *largest is then the largest free one. */
static pool_piece *find_free(const q_pool *pool, size_t size, size_t *largest)
{
    *largest = 0;
    for (pool_piece *p = piece_at_offset(pool, 0); p != NULL; p = piece_behind(pool, p)) {
        if (p->mark == POOL_FREE && p->size >= size) {
            return p;
        }
        *largest = p->mark == POOL_FREE && p->size > *largest ? p->size : *largest;
    }
    return NULL;
}

/* Cuts what is beyond size off into a free piece of its own. */
static void cut(const q_pool *pool, pool_piece *p, size_t size)
{
    size_t rest = p->size - size;
    pool_piece *behind = piece_behind(pool, p);
    pool_piece *free;
    if (rest == 0) {
        return;
    }
    p->size = size;
    free = piece_behind(pool, p);
    free->size = rest;
    free->before = size;
    free->mark = POOL_FREE;
    if (behind != NULL) {
        behind->before = rest;
    }
}

q_error_code q_pool_take(q_pool *pool, q_tensor *out, uint32_t dtype, const uint32_t ne[Q_MAX_DIMS], q_diag *diag)
{
    size_t size = 0;
    size_t largest;
    pool_piece *p;
    q_error_code e;
    if (pool == NULL || out == NULL || pool->base == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_pool_take", out == NULL ? "out" : "pool", 1, 0);
    }
    e = q_pool_bytes(dtype, ne, &size, diag);
    if (e != Q_OK) {
        return e;
    }
    p = find_free(pool, size, &largest);
    if (p == NULL) {
        return q_fail(diag, Q_ERR_NO_SPACE, "q_pool_take", "pool", size, largest);
    }
    cut(pool, p, size);
    p->mark = POOL_TAKEN;
    pool->taken++;
    pool->used += p->size;
    pool->high = pool->used > pool->high ? pool->used : pool->high;
    return q_tensor_init(out, (uint8_t *)p + Q_ALIGN, dtype, Q_PLAIN, ne, diag);
}

/* Makes p and the free piece behind it one. */
static void join_behind(const q_pool *pool, pool_piece *p)
{
    pool_piece *next = piece_behind(pool, p);
    if (next == NULL || next->mark != POOL_FREE) {
        return;
    }
    p->size += next->size;
    next = piece_behind(pool, p);
    if (next != NULL) {
        next->before = p->size;
    }
}

/* The taken piece whose tensor lies at data, or NULL. */
static pool_piece *piece_of(const q_pool *pool, const void *data)
{
    uintptr_t at = (uintptr_t)data;
    uintptr_t base = (uintptr_t)pool->base;
    pool_piece *p;
    if (at < base + Q_ALIGN || at - base >= pool->size || (at - base) % Q_ALIGN != 0) {
        return NULL;
    }
    p = piece_at_offset(pool, at - base - Q_ALIGN);
    return p->mark == POOL_TAKEN && p->size >= 2 * Q_ALIGN && p->size <= pool->size ? p : NULL;
}

q_error_code q_pool_give(q_pool *pool, q_tensor *tensor, q_diag *diag)
{
    pool_piece *p = pool != NULL && tensor != NULL && pool->base != NULL ? piece_of(pool, tensor->data) : NULL;
    if (p == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_pool_give", pool == NULL ? "pool" : "tensor", 1, 0);
    }
    p->mark = POOL_FREE;
    pool->taken--;
    pool->used -= p->size;
    tensor->data = NULL;
    join_behind(pool, p);
    if (p->before != 0) {
        pool_piece *before = (pool_piece *)(void *)((uint8_t *)p - p->before);
        if (before->mark == POOL_FREE) {
            join_behind(pool, before);
        }
    }
    return Q_OK;
}
