/* SPDX-License-Identifier: MIT */
/*
 * recurrent.c: one time step of RNN, LSTM and GRU for a set of sequences, and its backward; lane = column.
 *
 * All blocks of a column are read before the first is written, so gates change in place.
 */
#include "elementary_avx2.h"
#include "kernels_avx2.h"

/* -- pieces ------------------------------------------------------------------------------------ */

/* Columns j .. j + n - 1 of block b of a row, n <= 8. */
static inline __m256 cell_load(const float *row, uint32_t dim, uint32_t b, uint32_t j, uint32_t n)
{
    return vec_load_n(row + (size_t)b * dim + j, n);
}

static inline void cell_store(float *row, uint32_t dim, uint32_t b, uint32_t j, uint32_t n, __m256 v)
{
    vec_store_n(row + (size_t)b * dim + j, n, v);
}

/* x part + h part. */
static inline __m256 cell_sum(const float *gates, const float *recurrent, uint32_t dim, uint32_t b, uint32_t j,
                           uint32_t n)
{
    return _mm256_add_ps(cell_load(gates, dim, b, j, n), cell_load(recurrent, dim, b, j, n));
}

/* 1 - t*t. */
static inline __m256 cell_slope_tanh(__m256 t)
{
    return _mm256_fnmadd_ps(t, t, _mm256_set1_ps(1.0f));
}

/* s*(1 - s). */
static inline __m256 cell_slope_sigmoid(__m256 s)
{
    return _mm256_mul_ps(s, _mm256_sub_ps(_mm256_set1_ps(1.0f), s));
}

/* -- forward ----------------------------------------------------------------------------------- */

/* Rows of one sequence. */
typedef struct cell_rows {
    float *gates;
    const float *recurrent;
    float *h;
    float *c;
    float *out;
    float *h_prev; /* NULL: not kept */
    float *c_prev;
} cell_rows;

static cell_rows cell_locate(const q_cell_args *a, uint32_t i)
{
    uint32_t r = a->row[i];
    cell_rows at;
    at.gates = x86_row_out(a->gates, a->gates_stride, r);
    at.recurrent = x86_row(a->recurrent, a->recurrent_stride, i);
    at.h = x86_row_out(a->h, a->state_stride, i);
    at.c = a->c != NULL ? x86_row_out(a->c, a->state_stride, i) : NULL;
    at.out = x86_row_out(a->out, a->out_stride, r);
    at.h_prev = a->h_prev != NULL ? x86_row_out(a->h_prev, a->prev_stride, r) : NULL;
    at.c_prev = a->c_prev != NULL ? x86_row_out(a->c_prev, a->prev_stride, r) : NULL;
    return at;
}

/* The state behind the step; the one before it where it is kept. */
static inline void cell_finish(const cell_rows *at, uint32_t j, uint32_t n, __m256 before, __m256 h)
{
    if (at->h_prev != NULL) {
        vec_store_n(at->h_prev + j, n, before);
    }
    vec_store_n(at->h + j, n, h);
    vec_store_n(at->out + j, n, h);
}

/* Column j of the rows of the next sequence, which lie elsewhere in memory: a row is too short for the processor to see
   where it leads. */
static inline void cell_fetch(const cell_rows *next, uint32_t dim, uint32_t blocks, uint32_t j)
{
    for (uint32_t b = 0; b < blocks; b++) {
        _mm_prefetch((const char *)(next->gates + (size_t)b * dim + j), _MM_HINT_T0);
    }
    _mm_prefetch((const char *)(next->out + j), _MM_HINT_T0);
    if (next->h_prev != NULL) {
        _mm_prefetch((const char *)(next->h_prev + j), _MM_HINT_T0);
    }
    if (next->c_prev != NULL) {
        _mm_prefetch((const char *)(next->c_prev + j), _MM_HINT_T0);
    }
}

static inline void rnn_columns(const cell_rows *at, uint32_t dim, uint32_t activation, uint32_t j, uint32_t n)
{
    __m256 a = cell_sum(at->gates, at->recurrent, dim, 0, j, n);
    __m256 h = activation == Q_ACT_RELU ? _mm256_max_ps(_mm256_setzero_ps(), a) : q_tanh_m256(a);
    cell_store(at->gates, dim, 0, j, n, h);
    cell_finish(at, j, n, vec_load_n(at->h + j, n), h);
}

/* All of a step but tanh(c): its wait would hold up the gates of the columns behind. */
X86_INLINE void lstm_columns(const cell_rows *at, uint32_t dim, uint32_t j, uint32_t n)
{
    __m256 i = q_sigmoid_m256(cell_sum(at->gates, at->recurrent, dim, 0, j, n));
    __m256 g = q_tanh_m256(cell_sum(at->gates, at->recurrent, dim, 2, j, n));
    __m256 f = q_sigmoid_m256(cell_sum(at->gates, at->recurrent, dim, 1, j, n));
    __m256 o = q_sigmoid_m256(cell_sum(at->gates, at->recurrent, dim, 3, j, n));
    __m256 before = vec_load_n(at->c + j, n);
    cell_store(at->gates, dim, 0, j, n, i);
    cell_store(at->gates, dim, 1, j, n, f);
    cell_store(at->gates, dim, 2, j, n, g);
    cell_store(at->gates, dim, 3, j, n, o);
    if (at->c_prev != NULL) {
        vec_store_n(at->c_prev + j, n, before);
    }
    vec_store_n(at->c + j, n, _mm256_fmadd_ps(f, before, _mm256_mul_ps(i, g)));
}

static inline void lstm_columns_out(const cell_rows *at, uint32_t dim, uint32_t j, uint32_t n)
{
    __m256 t = q_tanh_m256(vec_load_n(at->c + j, n));
    cell_finish(at, j, n, vec_load_n(at->h + j, n), _mm256_mul_ps(cell_load(at->gates, dim, 3, j, n), t));
}

X86_INLINE void gru_columns(const cell_rows *at, uint32_t dim, uint32_t j, uint32_t n)
{
    __m256 r = q_sigmoid_m256(cell_sum(at->gates, at->recurrent, dim, 0, j, n));
    __m256 z = q_sigmoid_m256(cell_sum(at->gates, at->recurrent, dim, 1, j, n));
    __m256 hn = cell_load(at->recurrent, dim, 2, j, n);
    __m256 v = q_tanh_m256(_mm256_fmadd_ps(r, hn, cell_load(at->gates, dim, 2, j, n)));
    __m256 before = vec_load_n(at->h + j, n);
    cell_store(at->gates, dim, 0, j, n, r);
    cell_store(at->gates, dim, 1, j, n, z);
    cell_store(at->gates, dim, 2, j, n, v);
    cell_store(at->gates, dim, 3, j, n, hn);
    cell_finish(at, j, n, before, _mm256_fmadd_ps(z, _mm256_sub_ps(before, v), v));
}

void q_rnn_cell_avx2(const q_work *work, const q_cell_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, a->n, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        cell_rows at = cell_locate(a, i);
        cell_rows next = cell_locate(a, i + 1u < end ? i + 1u : i);
        uint32_t j = 0;
        for (; j + 8u <= a->dim; j += 8) {
            cell_fetch(&next, a->dim, 1, j);
            rnn_columns(&at, a->dim, a->activation, j, 8);
        }
        if (j < a->dim) {
            rnn_columns(&at, a->dim, a->activation, j, a->dim - j);
        }
    }
}

void q_lstm_cell_avx2(const q_work *work, const q_cell_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, a->n, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        cell_rows at = cell_locate(a, i);
        cell_rows next = cell_locate(a, i + 1u < end ? i + 1u : i);
        uint32_t j = 0;
        for (; j + 8u <= a->dim; j += 8) {
            cell_fetch(&next, a->dim, 4, j);
            lstm_columns(&at, a->dim, j, 8);
        }
        if (j < a->dim) {
            lstm_columns(&at, a->dim, j, a->dim - j);
        }
        for (j = 0; j + 8u <= a->dim; j += 8) {
            lstm_columns_out(&at, a->dim, j, 8);
        }
        if (j < a->dim) {
            lstm_columns_out(&at, a->dim, j, a->dim - j);
        }
    }
}

void q_gru_cell_avx2(const q_work *work, const q_cell_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, a->n, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        cell_rows at = cell_locate(a, i);
        cell_rows next = cell_locate(a, i + 1u < end ? i + 1u : i);
        uint32_t j = 0;
        for (; j + 8u <= a->dim; j += 8) {
            cell_fetch(&next, a->dim, 4, j);
            gru_columns(&at, a->dim, j, 8);
        }
        if (j < a->dim) {
            gru_columns(&at, a->dim, j, a->dim - j);
        }
    }
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
    uint32_t r = a->row[i];
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
                                   __m256 v)
{
    cell_store(at->gates, dim, b, j, n, v);
    cell_store(at->recurrent, dim, b, j, n, v);
}

/* As cell_fetch. */
static inline void cell_grad_fetch(const cell_grad_rows *next, uint32_t dim, uint32_t blocks, uint32_t j)
{
    for (uint32_t b = 0; b < blocks; b++) {
        _mm_prefetch((const char *)(next->gates + (size_t)b * dim + j), _MM_HINT_T0);
    }
    _mm_prefetch((const char *)(next->dy + j), _MM_HINT_T0);
    if (next->h_prev != NULL) {
        _mm_prefetch((const char *)(next->h_prev + j), _MM_HINT_T0);
    }
    if (next->c_prev != NULL) {
        _mm_prefetch((const char *)(next->c_prev + j), _MM_HINT_T0);
    }
}

static inline void rnn_columns_grad(const cell_grad_rows *at, uint32_t dim, uint32_t activation, uint32_t j,
                                    uint32_t n)
{
    __m256 g = _mm256_add_ps(vec_load_n(at->dy + j, n), vec_load_n(at->dh + j, n));
    __m256 h = cell_load(at->gates, dim, 0, j, n);
    __m256 da = _mm256_mul_ps(g, cell_slope_tanh(h));
    if (activation == Q_ACT_RELU) {
        da = _mm256_and_ps(_mm256_cmp_ps(h, _mm256_setzero_ps(), _CMP_GT_OQ), g);
    }
    cell_store_both(at, dim, 0, j, n, da);
}

X86_INLINE void lstm_columns_grad(const cell_grad_rows *at, uint32_t dim, uint32_t j, uint32_t n)
{
    __m256 i = cell_load(at->gates, dim, 0, j, n);
    __m256 f = cell_load(at->gates, dim, 1, j, n);
    __m256 g = cell_load(at->gates, dim, 2, j, n);
    __m256 o = cell_load(at->gates, dim, 3, j, n);
    __m256 c = vec_load_n(at->c_prev + j, n);
    __m256 t = q_tanh_m256(_mm256_fmadd_ps(f, c, _mm256_mul_ps(i, g)));
    __m256 dh = _mm256_add_ps(vec_load_n(at->dy + j, n), vec_load_n(at->dh + j, n));
    __m256 dc = _mm256_fmadd_ps(_mm256_mul_ps(dh, o), cell_slope_tanh(t), vec_load_n(at->dc + j, n));
    cell_store_both(at, dim, 0, j, n, _mm256_mul_ps(_mm256_mul_ps(dc, g), cell_slope_sigmoid(i)));
    cell_store_both(at, dim, 1, j, n, _mm256_mul_ps(_mm256_mul_ps(dc, c), cell_slope_sigmoid(f)));
    cell_store_both(at, dim, 2, j, n, _mm256_mul_ps(_mm256_mul_ps(dc, i), cell_slope_tanh(g)));
    cell_store_both(at, dim, 3, j, n, _mm256_mul_ps(_mm256_mul_ps(dh, t), cell_slope_sigmoid(o)));
    vec_store_n(at->dc + j, n, _mm256_mul_ps(dc, f));
}

X86_INLINE void gru_columns_grad(const cell_grad_rows *at, uint32_t dim, uint32_t j, uint32_t n)
{
    __m256 r = cell_load(at->gates, dim, 0, j, n);
    __m256 z = cell_load(at->gates, dim, 1, j, n);
    __m256 v = cell_load(at->gates, dim, 2, j, n);
    __m256 hn = cell_load(at->gates, dim, 3, j, n);
    __m256 h = vec_load_n(at->h_prev + j, n);
    __m256 dh = _mm256_add_ps(vec_load_n(at->dy + j, n), vec_load_n(at->dh + j, n));
    __m256 dn = _mm256_mul_ps(_mm256_mul_ps(dh, _mm256_sub_ps(_mm256_set1_ps(1.0f), z)), cell_slope_tanh(v));
    __m256 dhn = _mm256_mul_ps(dn, r);
    cell_store_both(at, dim, 0, j, n, _mm256_mul_ps(_mm256_mul_ps(dn, hn), cell_slope_sigmoid(r)));
    cell_store_both(at, dim, 1, j, n, _mm256_mul_ps(_mm256_mul_ps(dh, _mm256_sub_ps(h, v)), cell_slope_sigmoid(z)));
    cell_store(at->gates, dim, 2, j, n, dn);
    cell_store(at->gates, dim, 3, j, n, dhn);
    cell_store(at->recurrent, dim, 2, j, n, dhn);
    vec_store_n(at->dh + j, n, _mm256_mul_ps(dh, z));
}

void q_rnn_cell_grad_avx2(const q_work *work, const q_cell_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, a->n, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        cell_grad_rows at = cell_grad_locate(a, i);
        cell_grad_rows next = cell_grad_locate(a, i + 1u < end ? i + 1u : i);
        uint32_t j = 0;
        for (; j + 8u <= a->dim; j += 8) {
            cell_grad_fetch(&next, a->dim, 1, j);
            rnn_columns_grad(&at, a->dim, a->activation, j, 8);
        }
        if (j < a->dim) {
            rnn_columns_grad(&at, a->dim, a->activation, j, a->dim - j);
        }
    }
}

void q_lstm_cell_grad_avx2(const q_work *work, const q_cell_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, a->n, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        cell_grad_rows at = cell_grad_locate(a, i);
        cell_grad_rows next = cell_grad_locate(a, i + 1u < end ? i + 1u : i);
        uint32_t j = 0;
        for (; j + 8u <= a->dim; j += 8) {
            cell_grad_fetch(&next, a->dim, 4, j);
            lstm_columns_grad(&at, a->dim, j, 8);
        }
        if (j < a->dim) {
            lstm_columns_grad(&at, a->dim, j, a->dim - j);
        }
    }
}

void q_gru_cell_grad_avx2(const q_work *work, const q_cell_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, a->n, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        cell_grad_rows at = cell_grad_locate(a, i);
        cell_grad_rows next = cell_grad_locate(a, i + 1u < end ? i + 1u : i);
        uint32_t j = 0;
        for (; j + 8u <= a->dim; j += 8) {
            cell_grad_fetch(&next, a->dim, 4, j);
            gru_columns_grad(&at, a->dim, j, 8);
        }
        if (j < a->dim) {
            gru_columns_grad(&at, a->dim, j, a->dim - j);
        }
    }
}
