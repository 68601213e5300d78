/* SPDX-License-Identifier: MIT */
/*
 * attention_grad.h: how the gradient of attention is cut into work: which (span, kv head) is whose, and which blocks of
 * rows and keys meet. Arithmetic stays with the backend.
 *
 *   q_attention_grad_unit u = q_attention_grad_begin(work, a);
 *   while (q_attention_grad_next(work, a, &u)) {
 *       kv head u.kv_head of u.span
 *   }
 *
 * A unit costs the square of its span's rows; each worker takes those that begin in its part of the whole.
 */
#ifndef QORUS_BASE_ATTENTION_GRAD_H
#define QORUS_BASE_ATTENTION_GRAD_H

#include "../kernels.h"
#include "mem.h"

enum { Q_ATTENTION_GRAD_BLOCK = 64 }; /* rows, and keys, of a block */

typedef struct q_attention_grad_unit {
    q_span span;
    uint32_t kv_head;
    uint32_t part;    /* index of the span */
    uint32_t rows;    /* of the step */
    uint32_t started; /* 0: before the first unit */
    uint64_t at;      /* cost before this unit */
    uint64_t begin;   /* this worker's part */
    uint64_t end;
} q_attention_grad_unit;

static inline uint64_t q_attention_grad_cost(q_span span)
{
    return (uint64_t)span.rows * span.rows;
}

static inline q_attention_grad_unit q_attention_grad_begin(const q_work *work, const q_attention_grad_args *a)
{
    q_attention_grad_unit u;
    uint64_t whole = 0;
    u.rows = q_count_value(work->run, a->rows);
    u.kv_head = 0;
    u.part = 0;
    u.started = 0;
    u.at = 0;
    u.span.sequence = u.span.position = u.span.row = u.span.rows = 0;
    for (uint32_t i = 0; i < q_parts_count(work->run, u.rows, a->per_sample); i++) {
        whole += q_attention_grad_cost(q_counted_part_at(work->run, u.rows, a->per_sample, a->lengths, i)) * a->kv_heads;
    }
    u.begin = whole * work->worker / work->n_workers;
    u.end = whole * (work->worker + 1u) / work->n_workers;
    return u;
}

/* This worker's next unit; false if there are no more. */
static inline bool q_attention_grad_next(const q_work *work, const q_attention_grad_args *a, q_attention_grad_unit *u)
{
    uint32_t parts = u->rows != 0 ? q_parts_count(work->run, u->rows, a->per_sample) : 0;
    for (;;) {
        if (u->started != 0) {
            u->at += q_attention_grad_cost(u->span);
            u->kv_head++;
            if (u->kv_head == a->kv_heads) {
                u->kv_head = 0;
                u->part++;
            }
        }
        u->started = 1;
        if (u->part >= parts || u->at >= u->end) {
            return false;
        }
        u->span = q_counted_part_at(work->run, u->rows, a->per_sample, a->lengths, u->part);
        if (u->at >= u->begin) {
            return true;
        }
    }
}

/* The keys first <= j < end that row i of a span of n rows sees. */
static inline uint32_t q_attention_grad_first(const q_attention_grad_args *a, uint32_t i)
{
    return a->full == 0 && a->window != 0 && i >= a->window ? i + 1u - a->window : 0;
}

static inline uint32_t q_attention_grad_end(const q_attention_grad_args *a, uint32_t n, uint32_t i)
{
    return a->full != 0 ? n : i + 1u;
}

/* True if any row of the block that begins at row i0 sees any key of the one that begins at key j0. */
static inline bool q_attention_grad_meets(const q_attention_grad_args *a, uint32_t n, uint32_t i0, uint32_t j0)
{
    uint32_t i1 = n - i0 < Q_ATTENTION_GRAD_BLOCK ? n : i0 + (uint32_t)Q_ATTENTION_GRAD_BLOCK;
    uint32_t j1 = n - j0 < Q_ATTENTION_GRAD_BLOCK ? n : j0 + (uint32_t)Q_ATTENTION_GRAD_BLOCK;
    return j0 < q_attention_grad_end(a, n, i1 - 1u) && q_attention_grad_first(a, i0) < j1;
}

/* A block of rows of one query head by a block of keys; counted from the first row of the span. */
typedef struct q_attention_grad_pair {
    uint32_t head;
    uint32_t i0;
    uint32_t rows;
    uint32_t j0;
    uint32_t keys;  /* 0: before the first pair */
    uint32_t fresh; /* 1: the first pair with these keys */
} q_attention_grad_pair;

static inline uint32_t q_attention_grad_part(uint32_t n, uint32_t from)
{
    return n - from < Q_ATTENTION_GRAD_BLOCK ? n - from : (uint32_t)Q_ATTENTION_GRAD_BLOCK;
}

/* The next pair of the unit that meets, in the order of the chains: keys, heads, rows; p begins as zeros. False if there are
   no more. */
static inline bool q_attention_grad_next_pair(const q_attention_grad_args *a, const q_attention_grad_unit *u,
                                              q_attention_grad_pair *p)
{
    uint32_t group = a->heads / a->kv_heads;
    uint32_t n = u->span.rows;
    if (p->keys == 0) {
        p->head = u->kv_head * group;
        p->fresh = 1;
    } else {
        p->i0 += Q_ATTENTION_GRAD_BLOCK;
        p->fresh = 0;
    }
    for (;;) {
        if (p->i0 >= n) {
            p->i0 = 0;
            p->head++;
        }
        if (p->head == (u->kv_head + 1u) * group) {
            p->head = u->kv_head * group;
            p->j0 += Q_ATTENTION_GRAD_BLOCK;
            p->fresh = 1;
        }
        if (p->j0 >= n) {
            return false;
        }
        p->rows = q_attention_grad_part(n, p->i0);
        p->keys = q_attention_grad_part(n, p->j0);
        if (q_attention_grad_meets(a, n, p->i0, p->j0)) {
            return true;
        }
        p->i0 += Q_ATTENTION_GRAD_BLOCK;
    }
}

static inline void q_attention_grad_clear_rows(q_real *grad, size_t stride, const q_attention_grad_unit *u, uint32_t rows,
                                               size_t column, size_t n)
{
    for (uint32_t i = 0; grad != NULL && i < rows; i++) {
        uint8_t *row = (uint8_t *)(void *)grad + stride * (u->span.row + i);
        memset((q_real *)(void *)row + column, 0, n * sizeof(q_real));
    }
}

/* Where the unit's chains begin with 0, it is stored; padding too. */
static inline void q_attention_grad_clear(const q_attention_grad_args *a, const q_attention_grad_unit *u)
{
    size_t dim = a->head_dim;
    size_t wide = a->heads / a->kv_heads * dim;
    uint32_t rows = a->per_sample != 0 ? a->per_sample : u->span.rows;
    if ((a->accumulate & 1u) == 0) {
        q_attention_grad_clear_rows(a->dq, a->dq_stride, u, rows, u->kv_head * wide, wide);
    }
    if ((a->accumulate & 2u) == 0) {
        q_attention_grad_clear_rows(a->dk, a->dk_stride, u, rows, u->kv_head * dim, dim);
    }
    if ((a->accumulate & 4u) == 0) {
        q_attention_grad_clear_rows(a->dv, a->dv_stride, u, rows, u->kv_head * dim, dim);
    }
}

#endif /* QORUS_BASE_ATTENTION_GRAD_H */
