/* SPDX-License-Identifier: MIT */
/*
 * attention_grad.c: dq, dk and dv of attention, one (span, kv head) after the other, block of keys by block of keys and
 * within it head by head and row by row: the order in which qorus/kernels_train.h defines the chains of dk and dv.
 */
#include "scalar.h"
#include "qorus/base/attention_grad.h"

/* One row of a head by a block of keys. */
typedef struct back_row {
    const q_real *q;
    const q_real *dout;
    q_real *dq; /* NULL: not wanted */
    q_real lse;
    q_real delta;
    q_real p[Q_ATTENTION_GRAD_BLOCK];
    q_real e[Q_ATTENTION_GRAD_BLOCK]; /* times scale */
} back_row;

static q_real back_dot(const q_real *a, const q_real *b, uint32_t n)
{
    q_real sum = 0;
    for (uint32_t d = 0; d < n; d++) {
        sum = q_fma(a[d], b[d], sum);
    }
    return sum;
}

static q_real back_delta(const q_real *dout, const q_real *out, uint32_t n)
{
    q_real lane[Q_LANES];
    scalar_lane_clear(lane);
    for (uint32_t d = 0; d < n; d++) {
        lane[d % Q_LANES] = q_fma(dout[d], out[d], lane[d % Q_LANES]);
    }
    return scalar_lane_sum(lane);
}

/* p and e of a visible key. */
static void back_weight(const q_attention_grad_args *a, back_row *t, uint32_t i, q_real dot, q_real dp)
{
    q_real s = dot * a->scale;
    q_real slope = 1;
    if (a->softcap > 0) {
        q_real tanh = q_tanh(s / a->softcap);
        s = a->softcap * tanh;
        slope = q_fma(-tanh, tanh, 1);
    }
    t->p[i] = q_exp(s - t->lse);
    t->e[i] = t->p[i] * (dp - t->delta);
    t->e[i] = a->softcap > 0 ? t->e[i] * slope : t->e[i];
    t->e[i] = t->e[i] * a->scale;
}

/* The keys j0 .. j1 - 1 of the unit's span, of which the row sees those of lo .. hi - 1. */
static void back_block(const q_attention_grad_args *a, const q_attention_grad_unit *u, back_row *t, uint32_t j0,
                       uint32_t j1, uint32_t lo, uint32_t hi)
{
    uint32_t dim = a->head_dim;
    size_t column = (size_t)u->kv_head * dim;
    for (uint32_t j = j0; j < j1; j++) {
        const q_real *k = scalar_row(a->k, a->k_stride, u->span.row + j) + column;
        const q_real *v = scalar_row(a->v, a->v_stride, u->span.row + j) + column;
        uint32_t i = j - j0;
        t->p[i] = 0;
        t->e[i] = 0;
        if (lo <= j && j < hi) {
            back_weight(a, t, i, back_dot(t->q, k, dim), back_dot(t->dout, v, dim));
        }
        for (uint32_t d = 0; t->dq != NULL && d < dim; d++) {
            t->dq[d] = q_fma(t->e[i], k[d], t->dq[d]);
        }
    }
    for (uint32_t j = j0; j < j1; j++) {
        uint32_t r = u->span.row + j;
        q_real *dk = a->dk != NULL ? scalar_row_out(a->dk, a->dk_stride, r) + column : NULL;
        q_real *dv = a->dv != NULL ? scalar_row_out(a->dv, a->dv_stride, r) + column : NULL;
        for (uint32_t d = 0; dk != NULL && d < dim; d++) {
            dk[d] = q_fma(t->e[j - j0], t->q[d], dk[d]);
        }
        for (uint32_t d = 0; dv != NULL && d < dim; d++) {
            dv[d] = q_fma(t->p[j - j0], t->dout[d], dv[d]);
        }
    }
}

/* Row i of the unit's span, head h. */
static back_row back_open(const q_attention_grad_args *a, const q_attention_grad_unit *u, uint32_t i, uint32_t h)
{
    uint32_t r = u->span.row + i;
    size_t column = (size_t)h * a->head_dim;
    back_row t;
    t.q = scalar_row(a->q, a->q_stride, r) + column;
    t.dout = scalar_row(a->dout, a->dout_stride, r) + column;
    t.dq = a->dq != NULL ? scalar_row_out(a->dq, a->dq_stride, r) + column : NULL;
    t.lse = a->lse[(size_t)r * a->heads + h];
    t.delta = a->delta[(size_t)r * a->heads + h];
    return t;
}

/* Where chains begin, and delta of every row and head. */
static void back_begin(const q_attention_grad_args *a, const q_attention_grad_unit *u)
{
    uint32_t group = a->heads / a->kv_heads;
    uint32_t dim = a->head_dim;
    q_attention_grad_clear(a, u);
    for (uint32_t i = 0; i < u->span.rows; i++) {
        uint32_t r = u->span.row + i;
        for (uint32_t h = u->kv_head * group; h < (u->kv_head + 1u) * group; h++) {
            a->delta[(size_t)r * a->heads + h] =
                back_delta(scalar_row(a->dout, a->dout_stride, r) + (size_t)h * dim,
                           scalar_row(a->out, a->out_stride, r) + (size_t)h * dim, dim);
        }
    }
}

static void back_unit(const q_attention_grad_args *a, const q_attention_grad_unit *u)
{
    q_attention_grad_pair p = {0, 0, 0, 0, 0, 0};
    uint32_t n = u->span.rows;
    back_begin(a, u);
    while (q_attention_grad_next_pair(a, u, &p)) {
        for (uint32_t i = p.i0; i < p.i0 + p.rows; i++) {
            back_row t = back_open(a, u, i, p.head);
            back_block(a, u, &t, p.j0, p.j0 + p.keys, q_attention_grad_first(a, i), q_attention_grad_end(a, n, i));
        }
    }
}

void q_attention_grad_scalar(const q_work *work, const q_attention_grad_args *a)
{
    q_attention_grad_unit u = q_attention_grad_begin(work, a);
    while (q_attention_grad_next(work, a, &u)) {
        back_unit(a, &u);
    }
}
