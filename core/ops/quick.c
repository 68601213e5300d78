/* SPDX-License-Identifier: MIT */
/*
 * quick.c: the common case of operands in a few instructions and one branch. What is not accepted
 * here goes to the checks one by one, which accept all that is right and say what is wrong.
 */
#include "check.h"

/* Strides up to here times any number of rows below 2^31 fit 64 bits. */
#define QUICK_STRIDE (1u << 30)

/* 0: one plane of plain reals on the backend's device. */
static inline uint64_t quick_plane(const q_op_call *c, const q_tensor *t)
{
    uint64_t width = (uint64_t)t->ne[3] * sizeof(q_real);
    uint32_t odd = (t->dtype ^ (uint32_t)Q_REAL) | t->layout;
    odd |= t->device ^ c->ctx->context.backend->device;
    odd |= (t->ne[0] ^ 1u) | (t->ne[1] ^ 1u);
    odd |= (t->ne[2] | t->ne[3] | (t->ne[2] - 1) | (t->ne[3] - 1)) >> 31;
    odd |= (uint32_t)(t->nb[2] < width) | (uint32_t)(t->nb[2] > QUICK_STRIDE);
    return odd | (t->nb[3] ^ sizeof(q_real)) | (t->nb[2] & (sizeof(q_real) - 1));
}

/* 0: one plane like that of a. */
static inline uint64_t quick_differ(const q_tensor *a, const q_tensor *b)
{
    uint32_t odd = (uint32_t)((a->dtype ^ b->dtype) | (a->layout ^ b->layout));
    odd |= (uint32_t)(a->device ^ b->device);
    odd |= (a->ne[0] ^ b->ne[0]) | (a->ne[1] ^ b->ne[1]);
    odd |= (a->ne[2] ^ b->ne[2]) | (a->ne[3] ^ b->ne[3]);
    return odd | (a->nb[2] ^ b->nb[2]) | (a->nb[3] ^ b->nb[3]);
}

/* True if [a, a + na) and [b, b + nb) share a byte, or for empty ranges perhaps. */
static inline bool quick_meet(uint64_t a, uint64_t na, uint64_t b, uint64_t nb)
{
    return a < b + nb && b < a + na;
}

/* 0: addresses of n bytes are aligned, not NULL, and so low that no sum of two wraps. */
static inline uint64_t quick_address(uint64_t p, uint64_t n)
{
    return (p & (sizeof(q_real) - 1)) | (uint64_t)(p == 0) | ((p | n) >> (sizeof(size_t) * 8 - 2));
}

/* Bytes that a plane spans. */
static inline uint64_t quick_bytes(const q_tensor *t)
{
    return (uint64_t)(t->ne[2] - 1) * t->nb[2] + (uint64_t)t->ne[3] * sizeof(q_real);
}

q_error_code q_op_check_real(const q_op_call *c, const char *name, const q_tensor *t,
                             q_op_span *out)
{
    const q_block *w = &c->ctx->workspace;
    uint64_t begin;
    uint64_t n;
    uint64_t odd;
    if (t == NULL) {
        return q_op_check_real_fully(c, name, t, out);
    }
    begin = (uintptr_t)t->data;
    n = quick_bytes(t);
    odd = quick_plane(c, t) | quick_address(begin, n);
    odd |= (uint64_t)quick_meet(begin, n, (uintptr_t)w->base, w->size);
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

/* 0: out, on a plane like x, is where it may be: apart from x, or x itself. */
static inline uint64_t quick_pair(const q_op_call *c, const q_tensor *x, const q_tensor *out,
                                  uint64_t n)
{
    const q_block *w = &c->ctx->workspace;
    const uint64_t px = (uintptr_t)x->data;
    const uint64_t po = (uintptr_t)out->data;
    uint64_t odd = quick_address(px, n) | (uint64_t)(po != px && quick_meet(po, n, px, n));
    return odd | (uint64_t)quick_meet(px, n, (uintptr_t)w->base, w->size);
}

bool q_op_alike(const q_op_call *c, const q_tensor *x, const q_tensor *out)
{
    uint64_t n;
    uint64_t odd;
    if (x == NULL || out == NULL) {
        return false;
    }
    n = quick_bytes(x);
    odd = quick_plane(c, x) | quick_differ(x, out);
    return (odd | quick_pair(c, x, out, n) | quick_pair(c, out, out, n)) == 0;
}

bool q_op_all_alike(const q_op_call *c, const q_tensor *a, const q_tensor *b, const q_tensor *out)
{
    uint64_t n;
    uint64_t odd;
    if (a == NULL || b == NULL || out == NULL) {
        return false;
    }
    n = quick_bytes(a);
    odd = quick_plane(c, a) | quick_differ(a, b) | quick_differ(a, out);
    odd |= quick_pair(c, a, out, n) | quick_pair(c, b, out, n);
    return (odd | quick_pair(c, out, out, n)) == 0;
}
