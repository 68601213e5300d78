/* SPDX-License-Identifier: MIT */
/*
 * quick.c: the common case of operands in a few instructions and one branch. What is not accepted
 * here goes to the checks one by one, which accept all that is right and say what is wrong.
 */
#include "check.h"

/* Strides up to here times any number of rows below 2^31 fit 64 bits. */
#define QUICK_STRIDE (1u << 30)

/* Type, layout and device in one number; with the byte behind them compilers load it as one word. */
static inline uint32_t quick_kind(const q_tensor *t)
{
    return t->dtype | (uint32_t)t->layout << 8 | (uint32_t)t->device << 16 |
           (uint32_t)t->reserved[0] << 24;
}

/* ne[axis] and ne[axis + 1], loaded as one word. */
static inline uint64_t quick_pair(const q_tensor *t, uint32_t axis)
{
    return t->ne[axis] | (uint64_t)t->ne[axis + 1] << 32;
}

#define QUICK_ONE_EACH ((uint64_t)1 << 32 | 1)

/* 0: one plane of plain reals on the backend's device. */
static inline uint64_t quick_plane(const q_op_call *c, const q_tensor *t)
{
    const uint64_t width = (uint64_t)t->ne[3] * sizeof(q_real);
    const uint64_t kind = Q_REAL | (uint64_t)c->ctx->context.backend->device << 16;
    const uint64_t sizes = quick_pair(t, 2);
    uint64_t odd = (quick_kind(t) ^ kind) | (quick_pair(t, 0) ^ QUICK_ONE_EACH);
    odd |= (sizes | (sizes - QUICK_ONE_EACH)) & QUICK_ONE_EACH << 31;
    odd |= (uint64_t)(t->nb[2] < width) | (uint64_t)(t->nb[2] > QUICK_STRIDE);
    return odd | (t->nb[3] ^ sizeof(q_real)) | (t->nb[2] & (sizeof(q_real) - 1));
}

/* 0: one plane like that of a. */
static inline uint64_t quick_differ(const q_tensor *a, const q_tensor *b)
{
    uint64_t odd = quick_kind(a) ^ quick_kind(b);
    odd |= (quick_pair(a, 0) ^ quick_pair(b, 0)) | (quick_pair(a, 2) ^ quick_pair(b, 2));
    return odd | (a->nb[2] ^ b->nb[2]) | (a->nb[3] ^ b->nb[3]);
}

/* Bytes that a plane spans. */
static inline uint64_t quick_bytes(const q_tensor *t)
{
    return (uint64_t)(t->ne[2] - 1) * t->nb[2] + (uint64_t)t->ne[3] * sizeof(q_real);
}

/*
 * Addresses are numbers modulo 2^64 here: b lies in [a, a + n) if b - a < n. Two ranges share a byte if one begins
 * in the other.
 */

/* 0: n bytes at p are aligned, not NULL, so low that no sum of two wraps, and apart from the workspace. */
static inline uint64_t quick_place(const q_op_call *c, uint64_t p, uint64_t n)
{
    const q_block *w = &c->ctx->workspace;
    const uint64_t begin = (uintptr_t)w->base;
    uint64_t odd = (p | n | (p - 1)) >> (sizeof(size_t) * 8 - 2);
    odd |= (uint64_t)(begin - p < n) | (uint64_t)(p - begin < w->size);
    return odd | (p & (sizeof(q_real) - 1));
}

/* 0: out is x, or shares none of its n bytes with those of x. */
static inline uint64_t quick_meet(uint64_t x, uint64_t out, uint64_t n)
{
    return (uint64_t)(out != x) & (uint64_t)(out - x + (n - 1) < 2 * n - 1);
}

q_error_code q_op_check_real(const q_op_call *c, const char *name, const q_tensor *t,
                             q_op_span *out)
{
    uint64_t begin;
    uint64_t n;
    uint64_t odd;
    if (t == NULL) {
        return q_op_check_real_fully(c, name, t, out);
    }
    begin = (uintptr_t)t->data;
    n = quick_bytes(t);
    odd = quick_plane(c, t) | quick_place(c, begin, n);
    if (Q_UNLIKELY(odd != 0)) {
        return q_op_check_real_fully(c, name, t, out);
    }
    out->t = t;
    out->name = name;
    out->begin = (uintptr_t)begin;
    out->end = (uintptr_t)(begin + n);
    out->flat = true;
    return Q_OK;
}

bool q_op_alike(const q_op_call *c, const q_tensor *x, const q_tensor *out)
{
    uint64_t px;
    uint64_t po;
    uint64_t n;
    uint64_t odd;
    if (x == NULL || out == NULL) {
        return false;
    }
    px = (uintptr_t)x->data;
    po = (uintptr_t)out->data;
    n = quick_bytes(x);
    odd = quick_plane(c, x) | quick_differ(x, out);
    odd |= quick_place(c, px, n) | quick_place(c, po, n);
    return (odd | quick_meet(px, po, n)) == 0;
}

bool q_op_all_alike(const q_op_call *c, const q_tensor *a, const q_tensor *b, const q_tensor *out)
{
    uint64_t pa;
    uint64_t pb;
    uint64_t po;
    uint64_t n;
    uint64_t odd;
    if (a == NULL || b == NULL || out == NULL) {
        return false;
    }
    pa = (uintptr_t)a->data;
    pb = (uintptr_t)b->data;
    po = (uintptr_t)out->data;
    n = quick_bytes(a);
    odd = quick_plane(c, a) | quick_differ(a, b) | quick_differ(a, out);
    odd |= quick_place(c, pa, n) | quick_place(c, pb, n) | quick_place(c, po, n);
    return (odd | quick_meet(pa, po, n) | quick_meet(pb, po, n)) == 0;
}
