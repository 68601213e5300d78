/* SPDX-License-Identifier: MIT */
/* recurrent.c: the kernels of x86/recurrent.h on 16 lanes. */
#include "kernels_avx512.h"
#include "../x86/recurrent.h"

void q_rnn_cell_avx512(const q_work *work, const q_cell_args *a)
{
    x86_rnn_cell(work, a);
}

void q_lstm_cell_avx512(const q_work *work, const q_cell_args *a)
{
    x86_lstm_cell(work, a);
}

void q_gru_cell_avx512(const q_work *work, const q_cell_args *a)
{
    x86_gru_cell(work, a);
}

void q_rnn_cell_grad_avx512(const q_work *work, const q_cell_grad_args *a)
{
    x86_rnn_cell_grad(work, a);
}

void q_lstm_cell_grad_avx512(const q_work *work, const q_cell_grad_args *a)
{
    x86_lstm_cell_grad(work, a);
}

void q_gru_cell_grad_avx512(const q_work *work, const q_cell_grad_args *a)
{
    x86_gru_cell_grad(work, a);
}
