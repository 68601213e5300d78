/* SPDX-License-Identifier: MIT */
/*
 * recurrent.c: one time step of RNN, LSTM and GRU for a set of sequences, and its backward.
 *
 * Every value of a block is read before the first one of the same column is written, so gates change in place.
 */
#include "scalar.h"

/* -- forward ----------------------------------------------------------------------------------- */

/* Rows of one sequence. */
typedef struct cell_at {
    q_real *gates;
    const q_real *recurrent;
    const q_real *h;
    q_real *h_next;
    q_real *c;
    q_real *out;
    q_real *h_prev; /* NULL: not kept */
    q_real *c_prev;
} cell_at;

static cell_at cell_locate(const q_cell_args *a, uint32_t i)
{
    uint32_t r = a->row[i] + a->t;
    cell_at at;
    at.gates = scalar_row_out(a->gates, a->gates_stride, r);
    at.recurrent = scalar_row(a->recurrent, a->recurrent_stride, i);
    at.h = scalar_row(a->h, a->state_stride, i);
    at.h_next = scalar_row_out(a->h_next, a->state_stride, i);
    at.c = a->c != NULL ? scalar_row_out(a->c, a->state_stride, i) : NULL;
    at.out = scalar_row_out(a->out, a->out_stride, r);
    at.h_prev = a->h_prev != NULL ? scalar_row_out(a->h_prev, a->prev_stride, r) : NULL;
    at.c_prev = a->c_prev != NULL ? scalar_row_out(a->c_prev, a->prev_stride, r) : NULL;
    return at;
}

static void cell_keep(const cell_at *at, const q_cell_args *a)
{
    const size_t bytes = (a->end - a->begin) * sizeof(q_real);
    if (at->h_prev != NULL) {
        memcpy(at->h_prev + a->begin, at->h + a->begin, bytes);
    }
    if (at->c_prev != NULL && at->c != NULL) {
        memcpy(at->c_prev + a->begin, at->c + a->begin, bytes);
    }
}

void q_rnn_cell_scalar(const q_work *work, const q_cell_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, a->n, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        cell_at at = cell_locate(a, i);
        cell_keep(&at, a);
        for (uint32_t j = a->begin; j < a->end; j++) {
            q_real x = at.gates[j] + at.recurrent[j];
            q_real h = a->activation == Q_ACT_RELU ? scalar_max(0, x) : q_tanh(x);
            at.gates[j] = h;
            at.h_next[j] = h;
            at.out[j] = h;
        }
    }
}

void q_lstm_cell_scalar(const q_work *work, const q_cell_args *a)
{
    const uint32_t dim = a->dim;
    uint32_t begin;
    uint32_t end;
    q_share(work, a->n, &begin, &end);
    for (uint32_t s = begin; s < end; s++) {
        cell_at at = cell_locate(a, s);
        q_real *gate = at.gates;
        cell_keep(&at, a);
        for (uint32_t j = a->begin; j < a->end; j++) {
            q_real i = q_sigmoid(gate[j] + at.recurrent[j]);
            q_real f = q_sigmoid(gate[dim + j] + at.recurrent[dim + j]);
            q_real g = q_tanh(gate[2 * dim + j] + at.recurrent[2 * dim + j]);
            q_real o = q_sigmoid(gate[3 * dim + j] + at.recurrent[3 * dim + j]);
            q_real c = q_fma(f, at.c[j], i * g);
            q_real h = o * q_tanh(c);
            gate[j] = i;
            gate[dim + j] = f;
            gate[2 * dim + j] = g;
            gate[3 * dim + j] = o;
            at.c[j] = c;
            at.h_next[j] = h;
            at.out[j] = h;
        }
    }
}

void q_gru_cell_scalar(const q_work *work, const q_cell_args *a)
{
    const uint32_t dim = a->dim;
    uint32_t begin;
    uint32_t end;
    q_share(work, a->n, &begin, &end);
    for (uint32_t s = begin; s < end; s++) {
        cell_at at = cell_locate(a, s);
        q_real *gate = at.gates;
        cell_keep(&at, a);
        for (uint32_t j = a->begin; j < a->end; j++) {
            q_real r = q_sigmoid(gate[j] + at.recurrent[j]);
            q_real z = q_sigmoid(gate[dim + j] + at.recurrent[dim + j]);
            q_real hn = at.recurrent[2 * dim + j];
            q_real n = q_tanh(q_fma(r, hn, gate[2 * dim + j]));
            q_real h = q_fma(z, at.h[j] - n, n);
            gate[j] = r;
            gate[dim + j] = z;
            gate[2 * dim + j] = n;
            gate[3 * dim + j] = hn;
            at.h_next[j] = h;
            at.out[j] = h;
        }
    }
}

/* -- backward ---------------------------------------------------------------------------------- */

typedef struct cell_grad_at {
    q_real *gates;
    const q_real *h_prev;
    const q_real *c_prev;
    const q_real *dy;
    q_real *dh;
    q_real *dc;
    q_real *recurrent;
} cell_grad_at;

static cell_grad_at cell_grad_locate(const q_cell_grad_args *a, uint32_t i)
{
    uint32_t r = a->row[i] + a->t;
    cell_grad_at at;
    at.gates = scalar_row_out(a->gates, a->gates_stride, r);
    at.h_prev = a->h_prev != NULL ? scalar_row(a->h_prev, a->prev_stride, r) : NULL;
    at.c_prev = a->c_prev != NULL ? scalar_row(a->c_prev, a->prev_stride, r) : NULL;
    at.dy = scalar_row(a->dy, a->dy_stride, r);
    at.dh = scalar_row_out(a->dh, a->state_stride, i);
    at.dc = a->dc != NULL ? scalar_row_out(a->dc, a->state_stride, i) : NULL;
    at.recurrent = scalar_row_out(a->recurrent, a->recurrent_stride, i);
    return at;
}

/* Slope of tanh by its value. */
static q_real cell_slope_tanh(q_real t)
{
    return q_fma(-t, t, 1);
}

static q_real cell_slope_sigmoid(q_real s)
{
    return s * (1 - s);
}

void q_rnn_cell_grad_scalar(const q_work *work, const q_cell_grad_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, a->n, &begin, &end);
    for (uint32_t i = begin; i < end; i++) {
        cell_grad_at at = cell_grad_locate(a, i);
        for (uint32_t j = a->begin; j < a->end; j++) {
            q_real g = at.dy[j] + at.dh[j];
            q_real h = at.gates[j];
            q_real da = g * cell_slope_tanh(h);
            if (a->activation == Q_ACT_RELU) {
                da = h > 0 ? g : 0;
            }
            at.gates[j] = da;
            at.recurrent[j] = da;
        }
    }
}

void q_lstm_cell_grad_scalar(const q_work *work, const q_cell_grad_args *a)
{
    const uint32_t dim = a->dim;
    uint32_t begin;
    uint32_t end;
    q_share(work, a->n, &begin, &end);
    for (uint32_t s = begin; s < end; s++) {
        cell_grad_at at = cell_grad_locate(a, s);
        for (uint32_t j = a->begin; j < a->end; j++) {
            q_real i = at.gates[j];
            q_real f = at.gates[dim + j];
            q_real g = at.gates[2 * dim + j];
            q_real o = at.gates[3 * dim + j];
            q_real c = at.c_prev[j];
            q_real t = q_tanh(q_fma(f, c, i * g));
            q_real dh = at.dy[j] + at.dh[j];
            q_real dc = q_fma(dh * o, cell_slope_tanh(t), at.dc[j]);
            at.gates[j] = (dc * g) * cell_slope_sigmoid(i);
            at.gates[dim + j] = (dc * c) * cell_slope_sigmoid(f);
            at.gates[2 * dim + j] = (dc * i) * cell_slope_tanh(g);
            at.gates[3 * dim + j] = (dh * t) * cell_slope_sigmoid(o);
            for (uint32_t b = 0; b < 4; b++) {
                at.recurrent[b * dim + j] = at.gates[b * dim + j];
            }
            at.dc[j] = dc * f;
        }
    }
}

void q_gru_cell_grad_scalar(const q_work *work, const q_cell_grad_args *a)
{
    const uint32_t dim = a->dim;
    uint32_t begin;
    uint32_t end;
    q_share(work, a->n, &begin, &end);
    for (uint32_t s = begin; s < end; s++) {
        cell_grad_at at = cell_grad_locate(a, s);
        for (uint32_t j = a->begin; j < a->end; j++) {
            q_real r = at.gates[j];
            q_real z = at.gates[dim + j];
            q_real n = at.gates[2 * dim + j];
            q_real hn = at.gates[3 * dim + j];
            q_real dh = at.dy[j] + at.dh[j];
            q_real dn = (dh * (1 - z)) * cell_slope_tanh(n);
            q_real dr = (dn * hn) * cell_slope_sigmoid(r);
            q_real dz = (dh * (at.h_prev[j] - n)) * cell_slope_sigmoid(z);
            at.gates[j] = dr;
            at.gates[dim + j] = dz;
            at.gates[2 * dim + j] = dn;
            at.gates[3 * dim + j] = dn * r;
            at.recurrent[j] = dr;
            at.recurrent[dim + j] = dz;
            at.recurrent[2 * dim + j] = dn * r;
            at.dh[j] = dh * z;
        }
    }
}
