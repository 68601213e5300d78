/* SPDX-License-Identifier: MIT */
/*
 * attention_grad.h: gradients of attention, block of rows by block of keys (qorus/base/attention_grad.h). Five products
 * of 64 x 64 by head_dim meet in each pair:
 *
 *   s = q K^T, dp = dout V^T           lanes = keys, K and V turned
 *   dq += e K, dk += e^T q, dv += p^T dout    lanes = dimensions
 *
 * each a chain that continues from where it was stored, and between them p and e, by rows. Operands lie in the workspace
 * without gaps, up to RETRACE_DIMS dimensions at a time; longer heads go through them in parts.
 */
#ifndef Q_X86_ATTENTION_GRAD_H
#define Q_X86_ATTENTION_GRAD_H

#include "qorus/base/attention_grad.h"

/* The including file says RETRACE_DIMS, dimensions of a part of a head, and RETRACE_ROWS, of a register tile of
   RETRACE_ROWS by 2*VEC. */
enum { RETRACE_BLOCK = Q_ATTENTION_GRAD_BLOCK };

typedef struct retrace_space {
    float kt[RETRACE_DIMS][RETRACE_BLOCK];
    float vt[RETRACE_DIMS][RETRACE_BLOCK];
    float k[RETRACE_BLOCK][RETRACE_DIMS];
    float q[RETRACE_BLOCK][RETRACE_DIMS];
    float dout[RETRACE_BLOCK][RETRACE_DIMS];
    float p[RETRACE_BLOCK][RETRACE_BLOCK];
    float e[RETRACE_BLOCK][RETRACE_BLOCK]; /* dout.v, then e * scale */
} retrace_space;

/* c[i][0 .. n - 1] = (fresh ? 0 : c) + sum over p < k of a[i*a_row + p*a_step] * b[p*b_row ..], i < m; in floats. */
typedef struct retrace_product {
    uint32_t m;
    uint32_t n;
    uint32_t k;
    bool fresh;
    const float *a;
    size_t a_row;
    size_t a_step;
    const float *b;
    size_t b_row;
    float *c;
    size_t c_row;
} retrace_product;

/* -- products ---------------------------------------------------------------------------------- */

/* Rows i .. and columns j .. of a product, `halves` of VEC columns; the last may have fewer. */
X86_INLINE void retrace_tile(const uint32_t rows, const uint32_t halves, const retrace_product *x,
                             uint32_t i, uint32_t j)
{
    const float *a = x->a + x->a_row * i;
    const float *b = x->b + j;
    float *at = x->c + x->c_row * i + j;
    vec_tail mask[2];
    vec c[RETRACE_ROWS][2];
    mask[0] = vec_tail_of(x->n - j);
    mask[1] = vec_tail_of(halves > 1u ? x->n - j - VEC : 0);
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        X86_UNROLL
        for (uint32_t h = 0; h < halves; h++) {
            c[t][h] = x->fresh ? vec_zero() : vec_load_tail(at + x->c_row * t + h * VEC, mask[h]);
        }
    }
    for (uint32_t p = 0; p < x->k; p++) {
        vec w[2];
        X86_UNROLL
        for (uint32_t h = 0; h < halves; h++) {
            w[h] = vec_load(b + x->b_row * p + h * VEC);
        }
        X86_UNROLL
        for (uint32_t t = 0; t < rows; t++) {
            vec v = vec_set(a[x->a_row * t + x->a_step * p]);
            X86_UNROLL
            for (uint32_t h = 0; h < halves; h++) {
                c[t][h] = vec_fma(v, w[h], c[t][h]);
            }
        }
    }
    X86_UNROLL
    for (uint32_t t = 0; t < rows; t++) {
        X86_UNROLL
        for (uint32_t h = 0; h < halves; h++) {
            vec_store_tail(at + x->c_row * t + h * VEC, mask[h], c[t][h]);
        }
    }
}

X86_INLINE void retrace_columns(const uint32_t halves, const retrace_product *x, uint32_t j)
{
    uint32_t i = 0;
    for (; i + RETRACE_ROWS <= x->m; i += RETRACE_ROWS) {
        retrace_tile(RETRACE_ROWS, halves, x, i, j);
    }
    for (; i + 4u <= x->m; i += 4u) {
        retrace_tile(4, halves, x, i, j);
    }
    for (; i < x->m; i++) {
        retrace_tile(1, halves, x, i, j);
    }
}

static void retrace_multiply(const retrace_product *x)
{
    for (uint32_t j = 0; j < x->n; j += 2 * VEC) {
        if (x->n - j > VEC) {
            retrace_columns(2, x, j);
        } else {
            retrace_columns(1, x, j);
        }
    }
}

/* -- packing ----------------------------------------------------------------------------------- */

/* n values of each of `rows` rows, zeros up to a multiple of VEC. */
static void retrace_copy(const float *from, size_t stride, uint32_t rows, uint32_t n, float (*to)[RETRACE_DIMS])
{
    for (uint32_t i = 0; i < rows; i++) {
        const float *v = x86_row(from, stride, i);
        for (uint32_t d = 0; d < n; d += VEC) {
            vec_store(to[i] + d, vec_load_n(v + d, n - d));
        }
    }
}

/* The same turned: to[d][i]; columns up to a multiple of VEC beyond the last row become zeros. */
static void retrace_turn(const float *from, size_t stride, uint32_t rows, uint32_t n, float (*to)[RETRACE_BLOCK])
{
    for (uint32_t i = 0; i < rows; i += VEC) {
        for (uint32_t d = 0; d < n; d += VEC) {
            vec v[VEC];
            for (uint32_t l = 0; l < VEC; l++) {
                v[l] = i + l < rows ? vec_load_n(x86_row(from, stride, i + l) + d, n - d) : vec_zero();
            }
            vec_turn(v);
            for (uint32_t l = 0; l < VEC && d + l < n; l++) {
                vec_store(to[d + l] + i, v[l]);
            }
        }
    }
}

/* -- weights ----------------------------------------------------------------------------------- */

/* p and e of VEC keys, `seen` of which are visible. */
X86_INLINE void retrace_weight(const q_attention_grad_args *a, vec_lanes seen, float *p, float *e, vec lse,
                               vec delta)
{
    const vec scale = vec_set(a->scale);
    vec s = vec_mul(vec_load(p), scale);
    vec v = vec_sub(vec_load(e), delta);
    vec t = vec_zero();
    if (a->softcap > 0) {
        const vec cap = vec_set(a->softcap);
        t = vec_tanh(vec_div(s, cap));
        s = vec_mul(cap, t);
    }
    vec w = vec_keep(seen, vec_exp(vec_sub(s, lse)));
    v = vec_mul(w, v);
    if (a->softcap > 0) {
        v = vec_mul(v, vec_fnma(t, t, vec_set(1.0f)));
    }
    vec_store(p, w);
    vec_store(e, vec_keep(seen, vec_mul(v, scale)));
}

static void retrace_weights(const q_attention_grad_args *a, const q_attention_grad_unit *u,
                            const q_attention_grad_pair *x, retrace_space *space)
{
    for (uint32_t i = 0; i < x->rows; i++) {
        size_t at = (size_t)(u->span.row + x->i0 + i) * a->heads + x->head;
        const vec lse = vec_set(a->lse[at]);
        const vec delta = vec_set(a->delta[at]);
        uint32_t lo = q_attention_grad_first(a, x->i0 + i);
        uint32_t hi = q_attention_grad_end(a, u->span.rows, x->i0 + i);
        for (uint32_t j = 0; j < x->keys; j += VEC) {
            uint32_t key = x->j0 + j;
            uint32_t from = lo > key ? lo - key : 0;
            uint32_t to = hi > key ? hi - key : 0;
            retrace_weight(a, vec_without(vec_first(to), vec_first(from)), space->p[i] + j, space->e[i] + j, lse, delta);
        }
    }
}

static float retrace_delta(const float *dout, const float *out, uint32_t n)
{
    vec16 lane = vec16_zero();
    uint32_t d = 0;
    for (; d + 16u <= n; d += 16) {
        lane = vec16_fma(vec16_load(dout + d), vec16_load(out + d), lane);
    }
    if (d < n) {
        lane = vec16_first(vec16_fma(vec16_load_n(dout + d, n - d), vec16_load_n(out + d, n - d), lane), n - d, lane);
    }
    return vec16_sum(lane);
}

static void retrace_deltas(const q_attention_grad_args *a, const q_attention_grad_unit *u)
{
    uint32_t group = a->heads / a->kv_heads;
    for (uint32_t r = u->span.row; r < u->span.row + u->span.rows; r++) {
        const float *dout = x86_row(a->dout, a->dout_stride, r);
        const float *out = x86_row(a->out, a->out_stride, r);
        for (uint32_t h = u->kv_head * group; h < (u->kv_head + 1u) * group; h++) {
            size_t column = (size_t)h * a->head_dim;
            a->delta[(size_t)r * a->heads + h] = retrace_delta(dout + column, out + column, a->head_dim);
        }
    }
}

/* -- one pair ---------------------------------------------------------------------------------- */

/* Dimensions d0 .. d0 + n - 1 of the pair's operands. Keys stay from pair to pair where a head is one part. */
static void retrace_pack(const q_attention_grad_args *a, const q_attention_grad_unit *u,
                         const q_attention_grad_pair *x, uint32_t d0, uint32_t n, retrace_space *space)
{
    size_t key = (size_t)u->kv_head * a->head_dim + d0;
    size_t query = (size_t)x->head * a->head_dim + d0;
    uint32_t row = u->span.row;
    if (x->fresh != 0 || a->head_dim > RETRACE_DIMS) {
        const float *k = x86_row(a->k, a->k_stride, row + x->j0) + key;
        retrace_turn(k, a->k_stride, x->keys, n, space->kt);
        retrace_turn(x86_row(a->v, a->v_stride, row + x->j0) + key, a->v_stride, x->keys, n, space->vt);
        retrace_copy(k, a->k_stride, x->keys, n, space->k);
    }
    retrace_copy(x86_row(a->q, a->q_stride, row + x->i0) + query, a->q_stride, x->rows, n, space->q);
    retrace_copy(x86_row(a->dout, a->dout_stride, row + x->i0) + query, a->dout_stride, x->rows, n, space->dout);
}

static void retrace_scores(const q_attention_grad_pair *x, uint32_t d0, uint32_t n, retrace_space *space)
{
    uint32_t columns = (x->keys + VEC - 1u) / VEC * VEC;
    retrace_product s = {x->rows, columns, n, d0 == 0, space->q[0], RETRACE_DIMS, 1, space->kt[0], RETRACE_BLOCK,
                      space->p[0], RETRACE_BLOCK};
    retrace_multiply(&s);
    s.a = space->dout[0];
    s.b = space->vt[0];
    s.c = space->e[0];
    retrace_multiply(&s);
}

static void retrace_gradients(const q_attention_grad_args *a, const q_attention_grad_unit *u,
                              const q_attention_grad_pair *x, uint32_t d0, uint32_t n, retrace_space *space)
{
    size_t key = (size_t)u->kv_head * a->head_dim + d0;
    uint32_t row = u->span.row;
    if (a->dq != NULL) {
        float *to = x86_row_out(a->dq, a->dq_stride, row + x->i0) + (size_t)x->head * a->head_dim + d0;
        retrace_product dq = {x->rows, n, x->keys, false, space->e[0], RETRACE_BLOCK, 1, space->k[0], RETRACE_DIMS,
                           to, a->dq_stride / sizeof(float)};
        retrace_multiply(&dq);
    }
    if (a->dk != NULL) {
        float *to = x86_row_out(a->dk, a->dk_stride, row + x->j0) + key;
        retrace_product dk = {x->keys, n, x->rows, false, space->e[0], 1, RETRACE_BLOCK, space->q[0], RETRACE_DIMS,
                           to, a->dk_stride / sizeof(float)};
        retrace_multiply(&dk);
    }
    if (a->dv != NULL) {
        float *to = x86_row_out(a->dv, a->dv_stride, row + x->j0) + key;
        retrace_product dv = {x->keys, n, x->rows, false, space->p[0], 1, RETRACE_BLOCK, space->dout[0], RETRACE_DIMS,
                           to, a->dv_stride / sizeof(float)};
        retrace_multiply(&dv);
    }
}

static void retrace_pair(const q_attention_grad_args *a, const q_attention_grad_unit *u, const q_attention_grad_pair *x,
                         retrace_space *space)
{
    bool parts = a->head_dim > RETRACE_DIMS;
    for (uint32_t d = 0; d < a->head_dim; d += RETRACE_DIMS) {
        uint32_t n = a->head_dim - d < RETRACE_DIMS ? a->head_dim - d : (uint32_t)RETRACE_DIMS;
        retrace_pack(a, u, x, d, n, space);
        retrace_scores(x, d, n, space);
    }
    retrace_weights(a, u, x, space);
    for (uint32_t d = 0; d < a->head_dim; d += RETRACE_DIMS) {
        uint32_t n = a->head_dim - d < RETRACE_DIMS ? a->head_dim - d : (uint32_t)RETRACE_DIMS;
        if (parts) {
            retrace_pack(a, u, x, d, n, space);
        }
        retrace_gradients(a, u, x, d, n, space);
    }
}

static void x86_attention_grad(const q_work *work, const q_attention_grad_args *a)
{
    retrace_space *space = (retrace_space *)work->workspace;
    q_attention_grad_unit u = q_attention_grad_begin(work, a);
    while (q_attention_grad_next(work, a, &u)) {
        q_attention_grad_pair x = {0, 0, 0, 0, 0, 0};
        q_attention_grad_clear(a, &u);
        retrace_deltas(a, &u);
        while (q_attention_grad_next_pair(a, &u, &x)) {
            retrace_pair(a, &u, &x, space);
        }
    }
}

#endif /* Q_X86_ATTENTION_GRAD_H */
