/* SPDX-License-Identifier: MIT */
/*
 * recurrent.h: one time step of RNN, LSTM and GRU for a set of sequences, and its backward; lane = column.
 *
 * All blocks of a column are read before the first is written, so gates change in place.
 */
#ifndef Q_X86_RECURRENT_H
#define Q_X86_RECURRENT_H

/* -- pieces ------------------------------------------------------------------------------------ */

/* Columns j .. j + n - 1 of block b of a row, n <= VEC. */
static inline vec cell_load(const float *row, uint32_t dim, uint32_t b, uint32_t j, uint32_t n)
{
    return vec_load_n(row + (size_t)b * dim + j, n);
}

static inline void cell_store(float *row, uint32_t dim, uint32_t b, uint32_t j, uint32_t n, vec v)
{
    vec_store_n(row + (size_t)b * dim + j, n, v);
}

/* x part + h part. */
static inline vec cell_sum(const float *gates, const float *recurrent, uint32_t dim, uint32_t b, uint32_t j,
                           uint32_t n)
{
    return vec_add(cell_load(gates, dim, b, j, n), cell_load(recurrent, dim, b, j, n));
}

/* 1 - t*t. */
static inline vec cell_slope_tanh(vec t)
{
    return vec_fnma(t, t, vec_set(1.0f));
}

/* s*(1 - s). */
static inline vec cell_slope_sigmoid(vec s)
{
    return vec_mul(s, vec_sub(vec_set(1.0f), s));
}

/* -- forward ----------------------------------------------------------------------------------- */

/* Rows of one sequence. */
typedef struct cell_rows {
    float *gates;
    const float *recurrent;
    const float *h;
    float *h_next;
    float *c;
    float *out;
    float *h_prev; /* NULL: not kept */
    float *c_prev;
} cell_rows;

static cell_rows cell_locate(const q_cell_args *a, uint32_t i)
{
    uint32_t r = a->row[i] + a->t;
    cell_rows at;
    at.gates = x86_row_out(a->gates, a->gates_stride, r);
    at.recurrent = x86_row(a->recurrent, a->recurrent_stride, i);
    at.h = x86_row(a->h, a->state_stride, i);
    at.h_next = x86_row_out(a->h_next, a->state_stride, i);
    at.c = a->c != NULL ? x86_row_out(a->c, a->state_stride, i) : NULL;
    at.out = x86_row_out(a->out, a->out_stride, r);
    at.h_prev = a->h_prev != NULL ? x86_row_out(a->h_prev, a->prev_stride, r) : NULL;
    at.c_prev = a->c_prev != NULL ? x86_row_out(a->c_prev, a->prev_stride, r) : NULL;
    return at;
}

/* The state behind the step; the one before it where it is kept. */
static inline void cell_finish(const cell_rows *at, uint32_t j, uint32_t n, vec before, vec h)
{
    if (at->h_prev != NULL) {
        vec_store_n(at->h_prev + j, n, before);
    }
    vec_store_n(at->h_next + j, n, h);
    vec_store_n(at->out + j, n, h);
}

/* Column j of the rows of the next sequence, which lie elsewhere in memory: a row is too short for the processor to see
   where it leads. */
static inline void cell_fetch(const cell_rows *next, uint32_t dim, uint32_t blocks, uint32_t j)
{
    for (uint32_t b = 0; b < blocks; b++) {
        vec_fetch(next->gates + (size_t)b * dim + j);
    }
    vec_fetch(next->out + j);
    if (next->h_prev != NULL) {
        vec_fetch(next->h_prev + j);
    }
    if (next->c_prev != NULL) {
        vec_fetch(next->c_prev + j);
    }
}

X86_INLINE void rnn_columns(const q_cell_args *a, const cell_rows *at, uint32_t j, uint32_t n)
{
    vec v = cell_sum(at->gates, at->recurrent, a->dim, 0, j, n);
    vec h = a->activation == Q_ACT_RELU ? vec_max(vec_zero(), v) : vec_tanh(v);
    cell_store(at->gates, a->dim, 0, j, n, h);
    cell_finish(at, j, n, vec_load_n(at->h + j, n), h);
}

/* All of a step but tanh(c): its wait would hold up the gates of the columns behind. */
X86_INLINE void lstm_columns(const q_cell_args *a, const cell_rows *at, uint32_t j, uint32_t n)
{
    const uint32_t dim = a->dim;
    vec i = vec_sigmoid(cell_sum(at->gates, at->recurrent, dim, 0, j, n));
    vec g = vec_tanh(cell_sum(at->gates, at->recurrent, dim, 2, j, n));
    vec f = vec_sigmoid(cell_sum(at->gates, at->recurrent, dim, 1, j, n));
    vec o = vec_sigmoid(cell_sum(at->gates, at->recurrent, dim, 3, j, n));
    vec before = vec_load_n(at->c + j, n);
    cell_store(at->gates, dim, 0, j, n, i);
    cell_store(at->gates, dim, 1, j, n, f);
    cell_store(at->gates, dim, 2, j, n, g);
    cell_store(at->gates, dim, 3, j, n, o);
    if (at->c_prev != NULL) {
        vec_store_n(at->c_prev + j, n, before);
    }
    vec_store_n(at->c + j, n, vec_fma(f, before, vec_mul(i, g)));
}

X86_INLINE void lstm_columns_out(const q_cell_args *a, const cell_rows *at, uint32_t j, uint32_t n)
{
    vec t = vec_tanh(vec_load_n(at->c + j, n));
    cell_finish(at, j, n, vec_load_n(at->h + j, n), vec_mul(cell_load(at->gates, a->dim, 3, j, n), t));
}

X86_INLINE void gru_columns(const q_cell_args *a, const cell_rows *at, uint32_t j, uint32_t n)
{
    const uint32_t dim = a->dim;
    vec r = vec_sigmoid(cell_sum(at->gates, at->recurrent, dim, 0, j, n));
    vec z = vec_sigmoid(cell_sum(at->gates, at->recurrent, dim, 1, j, n));
    vec hn = cell_load(at->recurrent, dim, 2, j, n);
    vec v = vec_tanh(vec_fma(r, hn, cell_load(at->gates, dim, 2, j, n)));
    vec before = vec_load_n(at->h + j, n);
    cell_store(at->gates, dim, 0, j, n, r);
    cell_store(at->gates, dim, 1, j, n, z);
    cell_store(at->gates, dim, 2, j, n, v);
    cell_store(at->gates, dim, 3, j, n, hn);
    cell_finish(at, j, n, before, vec_fma(z, vec_sub(before, v), v));
}

typedef void (*cell_columns)(const q_cell_args *a, const cell_rows *at, uint32_t j, uint32_t n);

/* This worker's sequences, each column by column: `first` over all of the call's columns, then `second`, where there is one. */
X86_INLINE void cell_walk(const q_work *work, const q_cell_args *a, uint32_t blocks, cell_columns first, cell_columns second)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, a->n, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        cell_rows at = cell_locate(a, i);
        cell_rows next = cell_locate(a, i + 1u < end ? i + 1u : i);
        uint32_t j = a->begin;
        for (; j + VEC <= a->end; j += VEC) {
            cell_fetch(&next, a->dim, blocks, j);
            first(a, &at, j, VEC);
        }
        if (j < a->end) {
            first(a, &at, j, a->end - j);
        }
        for (j = a->begin; second != NULL && j + VEC <= a->end; j += VEC) {
            second(a, &at, j, VEC);
        }
        if (second != NULL && j < a->end) {
            second(a, &at, j, a->end - j);
        }
    }
}

static void x86_rnn_cell(const q_work *work, const q_cell_args *a)
{
    cell_walk(work, a, 1, rnn_columns, NULL);
}

static void x86_lstm_cell(const q_work *work, const q_cell_args *a)
{
    cell_walk(work, a, 4, lstm_columns, lstm_columns_out);
}

static void x86_gru_cell(const q_work *work, const q_cell_args *a)
{
    cell_walk(work, a, 4, gru_columns, NULL);
}

/* -- backward ---------------------------------------------------------------------------------- */

typedef struct cell_grad_rows {
    float *gates;
    const float *h_prev;
    const float *c_prev;
    const float *dy;
    float *dh;
    float *dc;
    float *recurrent;
} cell_grad_rows;

static cell_grad_rows cell_grad_locate(const q_cell_grad_args *a, uint32_t i)
{
    uint32_t r = a->row[i] + a->t;
    cell_grad_rows at;
    at.gates = x86_row_out(a->gates, a->gates_stride, r);
    at.h_prev = a->h_prev != NULL ? x86_row(a->h_prev, a->prev_stride, r) : NULL;
    at.c_prev = a->c_prev != NULL ? x86_row(a->c_prev, a->prev_stride, r) : NULL;
    at.dy = x86_row(a->dy, a->dy_stride, r);
    at.dh = x86_row_out(a->dh, a->state_stride, i);
    at.dc = a->dc != NULL ? x86_row_out(a->dc, a->state_stride, i) : NULL;
    at.recurrent = x86_row_out(a->recurrent, a->recurrent_stride, i);
    return at;
}

/* Block b of both parts. */
static inline void cell_store_both(const cell_grad_rows *at, uint32_t dim, uint32_t b, uint32_t j, uint32_t n,
                                   vec v)
{
    cell_store(at->gates, dim, b, j, n, v);
    cell_store(at->recurrent, dim, b, j, n, v);
}

/* As cell_fetch. */
static inline void cell_grad_fetch(const cell_grad_rows *next, uint32_t dim, uint32_t blocks, uint32_t j)
{
    for (uint32_t b = 0; b < blocks; b++) {
        vec_fetch(next->gates + (size_t)b * dim + j);
    }
    vec_fetch(next->dy + j);
    if (next->h_prev != NULL) {
        vec_fetch(next->h_prev + j);
    }
    if (next->c_prev != NULL) {
        vec_fetch(next->c_prev + j);
    }
}

X86_INLINE void rnn_columns_grad(const q_cell_grad_args *a, const cell_grad_rows *at, uint32_t j, uint32_t n)
{
    const uint32_t dim = a->dim;
    vec g = vec_add(vec_load_n(at->dy + j, n), vec_load_n(at->dh + j, n));
    vec h = cell_load(at->gates, dim, 0, j, n);
    vec da = vec_mul(g, cell_slope_tanh(h));
    if (a->activation == Q_ACT_RELU) {
        da = vec_keep(vec_above(h, vec_zero()), g);
    }
    cell_store_both(at, dim, 0, j, n, da);
}

X86_INLINE void lstm_columns_grad(const q_cell_grad_args *a, const cell_grad_rows *at, uint32_t j, uint32_t n)
{
    const uint32_t dim = a->dim;
    vec i = cell_load(at->gates, dim, 0, j, n);
    vec f = cell_load(at->gates, dim, 1, j, n);
    vec g = cell_load(at->gates, dim, 2, j, n);
    vec o = cell_load(at->gates, dim, 3, j, n);
    vec c = vec_load_n(at->c_prev + j, n);
    vec t = vec_tanh(vec_fma(f, c, vec_mul(i, g)));
    vec dh = vec_add(vec_load_n(at->dy + j, n), vec_load_n(at->dh + j, n));
    vec dc = vec_fma(vec_mul(dh, o), cell_slope_tanh(t), vec_load_n(at->dc + j, n));
    cell_store_both(at, dim, 0, j, n, vec_mul(vec_mul(dc, g), cell_slope_sigmoid(i)));
    cell_store_both(at, dim, 1, j, n, vec_mul(vec_mul(dc, c), cell_slope_sigmoid(f)));
    cell_store_both(at, dim, 2, j, n, vec_mul(vec_mul(dc, i), cell_slope_tanh(g)));
    cell_store_both(at, dim, 3, j, n, vec_mul(vec_mul(dh, t), cell_slope_sigmoid(o)));
    vec_store_n(at->dc + j, n, vec_mul(dc, f));
}

X86_INLINE void gru_columns_grad(const q_cell_grad_args *a, const cell_grad_rows *at, uint32_t j, uint32_t n)
{
    const uint32_t dim = a->dim;
    vec r = cell_load(at->gates, dim, 0, j, n);
    vec z = cell_load(at->gates, dim, 1, j, n);
    vec v = cell_load(at->gates, dim, 2, j, n);
    vec hn = cell_load(at->gates, dim, 3, j, n);
    vec h = vec_load_n(at->h_prev + j, n);
    vec dh = vec_add(vec_load_n(at->dy + j, n), vec_load_n(at->dh + j, n));
    vec dn = vec_mul(vec_mul(dh, vec_sub(vec_set(1.0f), z)), cell_slope_tanh(v));
    vec dhn = vec_mul(dn, r);
    cell_store_both(at, dim, 0, j, n, vec_mul(vec_mul(dn, hn), cell_slope_sigmoid(r)));
    cell_store_both(at, dim, 1, j, n, vec_mul(vec_mul(dh, vec_sub(h, v)), cell_slope_sigmoid(z)));
    cell_store(at->gates, dim, 2, j, n, dn);
    cell_store(at->gates, dim, 3, j, n, dhn);
    cell_store(at->recurrent, dim, 2, j, n, dhn);
    vec_store_n(at->dh + j, n, vec_mul(dh, z));
}

typedef void (*cell_grad_columns)(const q_cell_grad_args *a, const cell_grad_rows *at, uint32_t j, uint32_t n);

X86_INLINE void cell_grad_walk(const q_work *work, const q_cell_grad_args *a, uint32_t blocks, cell_grad_columns columns)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, a->n, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        cell_grad_rows at = cell_grad_locate(a, i);
        cell_grad_rows next = cell_grad_locate(a, i + 1u < end ? i + 1u : i);
        uint32_t j = a->begin;
        for (; j + VEC <= a->end; j += VEC) {
            cell_grad_fetch(&next, a->dim, blocks, j);
            columns(a, &at, j, VEC);
        }
        if (j < a->end) {
            columns(a, &at, j, a->end - j);
        }
    }
}

static void x86_rnn_cell_grad(const q_work *work, const q_cell_grad_args *a)
{
    cell_grad_walk(work, a, 1, rnn_columns_grad);
}

static void x86_lstm_cell_grad(const q_work *work, const q_cell_grad_args *a)
{
    cell_grad_walk(work, a, 4, lstm_columns_grad);
}

static void x86_gru_cell_grad(const q_work *work, const q_cell_grad_args *a)
{
    cell_grad_walk(work, a, 4, gru_columns_grad);
}

#endif /* Q_X86_RECURRENT_H */
