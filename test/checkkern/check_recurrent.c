/* SPDX-License-Identifier: MIT */
/*
 * check_recurrent.c: one time step of RNN, LSTM and GRU, and its backward.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"

typedef struct cell_shape {
    uint32_t n;
    uint32_t rows;
    uint32_t dim;
    uint32_t blocks;
    uint32_t kept;
    bool has_c;
    uint32_t activation;
    uint32_t begin; /* columns */
    uint32_t end;
    uint32_t t;
} cell_shape;

static cell_shape cell_random(check *c, uint32_t blocks, uint32_t kept, bool has_c)
{
    cell_shape s;
    s.n = CHECK_PICK(c, 0, 1, 2, 3, 5, 9);
    s.rows = s.n + check_below(c, 4);
    s.dim = CHECK_PICK(c, 1, 3, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 40, 64);
    s.begin = check_below(c, 2) * check_below(c, s.dim);
    s.end = check_below(c, 2) != 0 ? s.dim : s.begin + check_below(c, s.dim - s.begin + 1);
    s.t = check_below(c, s.rows - s.n + 1);
    s.blocks = blocks;
    s.kept = kept;
    s.has_c = has_c;
    s.activation = blocks != 1 ? Q_ACT_NONE : check_below(c, 2) != 0 ? Q_ACT_RELU : Q_ACT_TANH;
    return s;
}

/* Different rows, in no order, t before those they stand for. */
static const uint32_t *cell_rows(check *c, const cell_shape *s)
{
    uint32_t *row = (uint32_t *)check_alloc(c, s->n * sizeof(uint32_t), 4);
    uint32_t all[16];
    for (uint32_t i = 0; i < s->rows; i++) {
        all[i] = i;
    }
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t other = i + check_below(c, s->rows - s->t - i);
        row[i] = all[other];
        all[other] = all[i];
    }
    return row;
}

/* The rows behind the first n of a matrix: c behind h, in one pair. */
static float *cell_behind(float *base, size_t stride, uint32_t n)
{
    return (float *)(void *)((uint8_t *)(void *)base + stride * n);
}

typedef void (*cell_slot)(const q_work *work, const q_cell_args *a);
typedef void (*cell_grad_slot)(const q_work *work, const q_cell_grad_args *a);

static void cell_case(check *c, cell_shape s, cell_slot reference, cell_slot tested)
{
    char text[96];
    q_cell_args a;
    check_fill fill = check_fill_any(c);
    bool keep = check_below(c, 2) != 0;
    uint32_t next = check_below(c, 2) * 2 * s.n; /* h_next: h, or rows of its own */
    memset(&a, 0, sizeof(a));
    a.n = s.n;
    a.dim = s.dim;
    a.begin = s.begin;
    a.end = s.end;
    a.t = s.t;
    a.activation = s.activation;
    a.row = cell_rows(c, &s);
    a.recurrent = check_rows(c, s.n, s.blocks * s.dim, fill, &a.recurrent_stride);
    check_pair gates = check_in_out(c, s.rows, s.kept * s.dim, fill);
    check_pair state = check_in_out(c, 3 * s.n, s.dim, fill);
    check_pair out = check_in_out(c, s.rows, s.dim, fill);
    check_pair prev = check_in_out(c, 2 * s.rows, s.dim, fill);
    a.gates_stride = gates.stride;
    a.out_stride = out.stride;
    a.state_stride = state.stride;
    a.prev_stride = prev.stride;
    q_cell_args b = a;
    a.gates = gates.expected;
    b.gates = gates.got;
    a.h = state.expected;
    b.h = state.got;
    a.h_next = cell_behind(state.expected, a.state_stride, next);
    b.h_next = cell_behind(state.got, b.state_stride, next);
    a.c = s.has_c ? cell_behind(state.expected, a.state_stride, s.n) : NULL;
    b.c = s.has_c ? cell_behind(state.got, b.state_stride, s.n) : NULL;
    a.out = out.expected;
    b.out = out.got;
    a.h_prev = keep ? prev.expected : NULL;
    b.h_prev = keep ? prev.got : NULL;
    a.c_prev = keep && s.has_c ? cell_behind(prev.expected, prev.stride, s.rows) : NULL;
    b.c_prev = keep && s.has_c ? cell_behind(prev.got, prev.stride, s.rows) : NULL;
    (void)snprintf(text, sizeof(text), "n %u rows %u dim %u (%u..%u) t %u act %u keep %d fill %d", s.n, s.rows, s.dim, s.begin,
                   s.end, s.t, s.activation, keep, (int)fill);
    q_work one = check_work(c, 0, 1, &c->reference);
    reference(&one, &a);
    for (uint32_t w = c->n_workers; w-- > 0;) {
        q_work work = check_work(c, w, c->n_workers, &c->tested);
        tested(&work, &b);
    }
    check_pair_same(c, gates, text);
    check_pair_same(c, state, text);
    check_pair_same(c, out, text);
    check_pair_same(c, prev, text);
}

static void cell_grad_case(check *c, cell_shape s, cell_grad_slot reference, cell_grad_slot tested)
{
    char text[96];
    q_cell_grad_args a;
    check_fill fill = check_fill_any(c);
    memset(&a, 0, sizeof(a));
    a.n = s.n;
    a.dim = s.dim;
    a.begin = s.begin;
    a.end = s.end;
    a.t = s.t;
    a.activation = s.activation;
    a.row = cell_rows(c, &s);
    const float *prev = check_rows(c, s.rows, s.dim, fill, &a.prev_stride);
    a.h_prev = s.blocks == 3 ? prev : NULL;
    a.c_prev = s.has_c ? prev : NULL;
    a.dy = check_rows(c, s.rows, s.dim, fill, &a.dy_stride);
    check_pair gates = check_in_out(c, s.rows, s.kept * s.dim, fill);
    check_pair state = check_in_out(c, 2 * s.n, s.dim, fill);
    check_pair recurrent = check_in_out(c, s.n, s.blocks * s.dim, fill);
    a.gates_stride = gates.stride;
    a.state_stride = state.stride;
    a.recurrent_stride = recurrent.stride;
    q_cell_grad_args b = a;
    a.gates = gates.expected;
    b.gates = gates.got;
    a.dh = state.expected;
    b.dh = state.got;
    a.dc = s.has_c ? cell_behind(a.dh, a.state_stride, s.n) : NULL;
    b.dc = s.has_c ? cell_behind(b.dh, b.state_stride, s.n) : NULL;
    a.recurrent = recurrent.expected;
    b.recurrent = recurrent.got;
    (void)snprintf(text, sizeof(text), "n %u rows %u dim %u (%u..%u) t %u act %u fill %d", s.n, s.rows, s.dim, s.begin, s.end,
                   s.t, s.activation, (int)fill);
    q_work one = check_work(c, 0, 1, &c->reference);
    reference(&one, &a);
    for (uint32_t w = c->n_workers; w-- > 0;) {
        q_work work = check_work(c, w, c->n_workers, &c->tested);
        tested(&work, &b);
    }
    check_pair_same(c, gates, text);
    check_pair_same(c, state, text);
    check_pair_same(c, recurrent, text);
}

/* Nine sequences of 256 columns. */
static q_cell_args cell_bench(check *c, uint32_t blocks, uint32_t kept, bool has_c)
{
    cell_shape s = {9, 9, 256, blocks, kept, has_c, blocks == 1 ? Q_ACT_TANH : Q_ACT_NONE, 0, 256, 0};
    q_cell_args a;
    check_begin(c);
    memset(&a, 0, sizeof(a));
    a.n = s.n;
    a.dim = a.end = s.dim;
    a.activation = s.activation;
    a.row = cell_rows(c, &s);
    a.gates = check_rows(c, s.n, kept * s.dim, FILL_UNIT, &a.gates_stride);
    a.recurrent = check_rows(c, s.n, blocks * s.dim, FILL_UNIT, &a.recurrent_stride);
    a.h = a.h_next = check_rows(c, 2 * s.n, s.dim, FILL_UNIT, &a.state_stride);
    a.c = has_c ? cell_behind(a.h_next, a.state_stride, s.n) : NULL;
    a.out = check_rows(c, s.n, s.dim, FILL_UNIT, &a.out_stride);
    a.h_prev = check_rows(c, 2 * s.n, s.dim, FILL_UNIT, &a.prev_stride);
    a.c_prev = has_c ? cell_behind(a.h_prev, a.prev_stride, s.n) : NULL;
    return a;
}

static q_cell_grad_args cell_grad_bench(check *c, uint32_t blocks, uint32_t kept, bool has_c)
{
    q_cell_args f = cell_bench(c, blocks, kept, has_c);
    q_cell_grad_args a;
    memset(&a, 0, sizeof(a));
    a.n = f.n;
    a.dim = a.end = f.dim;
    a.activation = f.activation;
    a.row = f.row;
    a.gates = f.gates;
    a.gates_stride = f.gates_stride;
    a.h_prev = f.h_prev;
    a.c_prev = f.c_prev;
    a.prev_stride = f.prev_stride;
    a.dy = f.out;
    a.dy_stride = f.out_stride;
    a.dh = f.h_next;
    a.dc = f.c;
    a.state_stride = f.state_stride;
    a.recurrent = check_rows(c, f.n, blocks * f.dim, FILL_UNIT, &a.recurrent_stride);
    return a;
}

#define CHECK_CELL(slot, run_case, bench_args, args, blocks, kept, has_c)                                              \
    void check_##slot(check *c)                                                                                        \
    {                                                                                                                  \
        for (uint32_t i = 0; i < 120; i++) {                                                                           \
            check_begin(c);                                                                                            \
            run_case(c, cell_random(c, blocks, kept, has_c), c->reference.kernels.slot, c->tested.kernels.slot);       \
        }                                                                                                              \
    }                                                                                                                  \
    void bench_##slot(check *c)                                                                                        \
    {                                                                                                                  \
        args a = bench_args(c, blocks, kept, has_c);                                                                   \
        double t;                                                                                                      \
        CHECK_TIME(c, slot, &a, t);                                                                                    \
        check_report(c, "9 x 256", t, 9.0 * 256, 9.0 * 256 * 4 * (blocks + kept + 2));                                 \
    }

CHECK_CELL(rnn_cell, cell_case, cell_bench, q_cell_args, 1u, 1u, false)
CHECK_CELL(lstm_cell, cell_case, cell_bench, q_cell_args, 4u, 4u, true)
CHECK_CELL(gru_cell, cell_case, cell_bench, q_cell_args, 3u, 4u, false)
CHECK_CELL(rnn_cell_grad, cell_grad_case, cell_grad_bench, q_cell_grad_args, 1u, 1u, false)
CHECK_CELL(lstm_cell_grad, cell_grad_case, cell_grad_bench, q_cell_grad_args, 4u, 4u, true)
CHECK_CELL(gru_cell_grad, cell_grad_case, cell_grad_bench, q_cell_grad_args, 3u, 4u, false)
