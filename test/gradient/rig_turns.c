/* SPDX-License-Identifier: MIT */
/* Recurrent cells that sleep behind every time step, and products of which every second one sleeps first, so that workers pass
   each other within a stage: memory that two of them wrongly share is then overwritten however many processors there are. */
#define _POSIX_C_SOURCE 200809L
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "rig_inner.h"

static q_kernels prompt; /* the kernels themselves */

static void let_others_pass(void)
{
    const struct timespec pause = {0, 50000};
    (void)nanosleep(&pause, NULL);
}

#define SLOW(kernel, args)                                  \
    static void slow_##kernel(const q_work *w, const args *a) \
    {                                                       \
        prompt.kernel(w, a);                                \
        let_others_pass();                                  \
    }

SLOW(rnn_cell, q_cell_args)
SLOW(lstm_cell, q_cell_args)
SLOW(gru_cell, q_cell_args)
SLOW(rnn_cell_grad, q_cell_grad_args)
SLOW(lstm_cell_grad, q_cell_grad_args)
SLOW(gru_cell_grad, q_cell_grad_args)

static void slow_matmul(const q_work *w, const q_matmul_args *a)
{
    static atomic_uint calls;
    if (atomic_fetch_add(&calls, 1) % 2 != 0) {
        let_others_pass();
    }
    prompt.matmul(w, a);
}

void rig_take_turns(q_kernels *k)
{
    prompt = *k;
    k->matmul = slow_matmul;
    k->rnn_cell = slow_rnn_cell;
    k->lstm_cell = slow_lstm_cell;
    k->gru_cell = slow_gru_cell;
    k->rnn_cell_grad = slow_rnn_cell_grad;
    k->lstm_cell_grad = slow_lstm_cell_grad;
    k->gru_cell_grad = slow_gru_cell_grad;
}
