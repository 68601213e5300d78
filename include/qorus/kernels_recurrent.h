/* SPDX-License-Identifier: MIT */
/*
 * kernels_recurrent.h: argument structs of the pointwise kernels of RNN, LSTM and GRU; a part of kernels.h.
 *
 * A kernel takes time step t of n sequences. Sequence i is row row[i] + t of the matrices that have a row per row of the
 * step (gates, out, h_prev, c_prev, dy) and row i of the dense ones (recurrent, h, c, dh, dc), which hold the running
 * state. Matrices with gates have blocks of dim columns, one block per gate. Of every block, and of the matrices of dim
 * columns, a call reads and writes the columns begin .. end - 1.
 *
 * Weights and gates lie as PyTorch's. The products around the kernels fix the order of a pre-activation:
 *   x part: one chain b_ih[j] + sum over k of x[k]*W_ih[j][k], k ascending
 *   h part: one chain b_hh[j] + sum over k of h[k]*W_hh[j][k], k ascending
 *   a = x part + h part, rounded once
 */
#ifndef QORUS_KERNELS_RECURRENT_H
#define QORUS_KERNELS_RECURRENT_H

#include "../qorus_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Forward. On entry gates holds the x part, recurrent the h part, h and c the state before; on return gates what
 * backward reads, h_next and c the state behind, out[row[i] + t] = h_next; h_prev and c_prev, where given, the state before.
 *
 * rnn_cell: h' = f(a), f = tanh or max(a, 0).                                        gates (h')
 * lstm_cell, blocks i f g o: i = sigmoid(a_i), f = sigmoid(a_f), g = tanh(a_g), o = sigmoid(a_o);
 *   c' = fma(f, c, i*g); h' = o * tanh(c').                                          gates (i, f, g, o)
 * gru_cell, blocks r z n: r = sigmoid(a_r), z = sigmoid(a_z), n = tanh(fma(r, hn, xn)), xn and hn the x and h part of
 *   block n; h' = fma(z, h - n, n) = (1 - z)*n + z*h.                                gates (r, z, n, hn)
 * LSTM: Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; GRU: Cho et al. 2014, arXiv:1406.1078.
 */
typedef struct q_cell_args {
    uint32_t n;
    uint32_t dim;
    uint32_t begin; /* columns */
    uint32_t end;
    uint32_t t;
    uint32_t activation; /* of rnn_cell: Q_ACT_TANH or Q_ACT_RELU */
    const uint32_t *row; /* [n], no two equal */
    q_real *gates;       /* [..][1, 4 or 4 blocks]; gru_cell: three of them on entry */
    size_t gates_stride;
    const q_real *recurrent; /* [n][1, 4 or 3 blocks] */
    size_t recurrent_stride;
    const q_real *h; /* [n][dim] */
    q_real *h_next;  /* [n][dim]; may be h */
    q_real *c;       /* [n][dim]; lstm_cell only */
    size_t state_stride;
    q_real *out; /* [..][dim] */
    size_t out_stride;
    q_real *h_prev; /* (optional) [..][dim] */
    q_real *c_prev; /* (optional, lstm_cell) [..][dim] */
    size_t prev_stride;
} q_cell_args;

/*
 * Backward of the same step. On entry gates, h_prev, c_prev as forward left them, dy the gradient of out, dh and dc that
 * of the state behind the step as later steps see it. On return gates holds the gradient of the x part, recurrent that
 * of the h part, dc that of the state before; dh what reaches the state before past the h part (gru_cell_grad) or
 * what it held (the others): the caller adds the h part's. g = dy + dh; 1 - t*t is fma(-t, t, 1).
 *
 * rnn_cell_grad: da = tanh: g * (1 - h'*h'); relu: h' > 0 ? g : 0.                      gates (da), recurrent (da)
 * lstm_cell_grad: t = tanh(fma(f, c, i*g_)), g_ the gate g; dc = fma(g*o, 1 - t*t, dc);
 *   da_i = (dc*g_) * (i*(1 - i)); da_f = (dc*c) * (f*(1 - f)); da_g = (dc*i) * (1 - g_*g_);
 *   da_o = (g*t) * (o*(1 - o)); dc = dc*f.                             gates, recurrent (da_i, da_f, da_g, da_o)
 * gru_cell_grad: da_n = (g*(1 - z)) * (1 - n*n); da_r = (da_n*hn) * (r*(1 - r)); da_z = (g*(h - n)) * (z*(1 - z));
 *   dhn = da_n*r; dh = g*z.                           gates (da_r, da_z, da_n, dhn), recurrent (da_r, da_z, dhn)
 */
typedef struct q_cell_grad_args {
    uint32_t n;
    uint32_t dim;
    uint32_t begin; /* columns */
    uint32_t end;
    uint32_t t;
    uint32_t activation; /* of rnn_cell_grad */
    const uint32_t *row; /* [n], no two equal */
    q_real *gates;       /* [..][1, 4 or 4 blocks] */
    size_t gates_stride;
    const q_real *h_prev; /* [..][dim]; gru_cell_grad only */
    const q_real *c_prev; /* [..][dim]; lstm_cell_grad only */
    size_t prev_stride;
    const q_real *dy; /* [..][dim] */
    size_t dy_stride;
    q_real *dh; /* [n][dim] */
    q_real *dc; /* [n][dim]; lstm_cell_grad only */
    size_t state_stride;
    q_real *recurrent; /* [n][1, 4 or 3 blocks] */
    size_t recurrent_stride;
} q_cell_grad_args;

#ifdef __cplusplus
}
#endif

#endif /* QORUS_KERNELS_RECURRENT_H */
