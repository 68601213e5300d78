/* SPDX-License-Identifier: MIT */
/* The sequences of a step of RNN, LSTM and GRU, and how workers share them. */
#include "recurrent.h"

/* Sharing by units pays while a time step waits for W_hh rather than for arithmetic, which is so below this many sequences
   for each worker, and takes so many panels of units for each that a meeting costs little beside them. */
enum { FEW_SEQUENCES = 8, LEAST_PANELS = 2 };

/* ---- Sequences of a step ---------------------------------------------------------------------------------- */

uint32_t q_recurrent_count(const recurrent_pass *pass)
{
    const q_run *run = pass->work->run;
    return pass->use.steps == 0 ? q_span_count(run) : q_count_value(run, pass->layer->in_rows[0]) / pass->use.steps;
}

static recurrent_rows rows_of_sequence(const recurrent_pass *pass, uint32_t i)
{
    uint32_t steps = pass->use.steps;
    recurrent_rows r = {i * steps, steps, 0};
    if (steps == 0) {
        q_span s = q_span_at(pass->work->run, q_count_value(pass->work->run, pass->layer->in_rows[0]), i);
        r.first = s.row;
        r.n = s.rows;
        r.sequence = s.sequence;
    }
    return r;
}

/* Shell's sort, longer ones first, of equal ones the earlier. */
void q_recurrent_order(const recurrent_pass *pass)
{
    uint32_t *order = pass->m.order;
    uint32_t n = q_recurrent_count(pass);
    for (uint32_t i = 0; i < n; i++) {
        order[i] = i;
    }
    for (uint32_t gap = pass->use.steps == 0 ? n / 2 : 0; gap != 0; gap /= 2) {
        for (uint32_t i = gap; i < n; i++) {
            uint32_t own = order[i];
            uint32_t rows = rows_of_sequence(pass, own).n;
            uint32_t j = i;
            for (; j >= gap; j -= gap) {
                uint32_t other = order[j - gap];
                uint32_t length = rows_of_sequence(pass, other).n;
                if (length > rows || (length == rows && other < own)) {
                    break;
                }
                order[j] = other;
            }
            order[j] = own;
        }
    }
}

/* ---- Shares ----------------------------------------------------------------------------------------------- */

static recurrent_share share_of_sequences(const recurrent_pass *pass)
{
    const q_work *work = pass->work;
    uint32_t n = q_recurrent_count(pass);
    uint32_t each = n / work->n_workers;
    uint32_t rest = n % work->n_workers;
    recurrent_share s;
    s.n = each + (work->worker < rest ? 1u : 0u);
    s.slot = each * work->worker + (work->worker < rest ? work->worker : rest);
    s.first = work->worker;
    s.every = work->n_workers;
    s.begin = 0;
    s.end = pass->use.dim;
    return s;
}

static recurrent_share share_of_units(const recurrent_pass *pass)
{
    recurrent_share s = {0, q_recurrent_count(pass), 0, 1, 0, 0};
    q_share(pass->work, recurrent_panels(pass->use.dim), &s.begin, &s.end);
    s.begin *= RECURRENT_PANEL;
    s.end = s.end * RECURRENT_PANEL < pass->use.dim ? s.end * RECURRENT_PANEL : pass->use.dim;
    return s;
}

static recurrent_use use_of_layer(const q_layer *layer, const recurrent_kind *kind)
{
    recurrent_use u;
    q_value_type in;
    memset(&in, 0, sizeof(in));
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        in.dim[d].n = layer->in[0]->ne[d]; /* at the maxima */
    }
    if (layer->in_rows[0].sym == Q_SYM_TOKENS) {
        in.dim[2].sym = Q_SYM_TOKENS;
    }
    u = q_recurrent_use(kind, &in, &layer->max, layer->param[1]->ne[3]);
    u.trains = layer->trains != 0;
    return u;
}

void q_recurrent_begin(recurrent_pass *pass, const q_layer *layer, const q_work *work, const recurrent_kind *kind)
{
    pass->layer = layer;
    pass->work = work;
    pass->alone = *work;
    pass->alone.worker = 0;
    pass->alone.n_workers = 1;
    pass->use = use_of_layer(layer, kind);
    pass->m = q_recurrent_memory(layer, &pass->use);
    pass->by_units = work->n_workers > 1 && q_recurrent_count(pass) < FEW_SEQUENCES * work->n_workers &&
                     recurrent_panels(pass->use.dim) >= LEAST_PANELS * work->n_workers;
    pass->mine = pass->by_units ? share_of_units(pass) : share_of_sequences(pass);
}

recurrent_rows q_recurrent_rows(const recurrent_pass *pass, uint32_t i)
{
    return rows_of_sequence(pass, pass->m.order[pass->mine.first + i * pass->mine.every]);
}

uint32_t q_recurrent_longest(const recurrent_pass *pass)
{
    return pass->mine.n == 0 ? 0 : q_recurrent_rows(pass, 0).n;
}

uint32_t q_recurrent_at(const recurrent_pass *pass, uint32_t t)
{
    uint32_t n = pass->mine.n;
    while (n != 0 && q_recurrent_rows(pass, n - 1).n <= t) {
        n--;
    }
    return n;
}

uint32_t q_recurrent_stages(const q_layer *layer, const q_work *work, const recurrent_kind *kind, bool backward)
{
    recurrent_pass pass;
    uint32_t steps = 1;
    q_recurrent_begin(&pass, layer, work, kind);
    for (uint32_t i = 0; pass.by_units && i < pass.mine.n; i++) {
        uint32_t rows = rows_of_sequence(&pass, i).n;
        steps = rows > steps ? rows : steps;
    }
    return steps + (backward ? 2u : 1u);
}
