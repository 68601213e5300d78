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
        whole += q_attention_grad_cost(q_part_at(work->run, u.rows, a->per_sample, i)) * a->kv_heads;
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
        u->span = q_part_at(work->run, u->rows, a->per_sample, u->part);
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

#endif /* QORUS_BASE_ATTENTION_GRAD_H */
