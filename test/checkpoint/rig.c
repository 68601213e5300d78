/* SPDX-License-Identifier: MIT */
/* A small training and all its states. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Slots and moments after every step. */
static uint8_t states[RIG_STEPS][RIG_STATE];
static bool have_states;

Q_ALIGNED(64) static uint8_t work_bytes[Q_CHECKPOINT_WORK];
const q_block rig_work = {work_bytes, sizeof(work_bytes)};

q_train_config rig_config(void)
{
    q_train_config c = plain_config(&q_optimizer_adam);
    c.average = 0.75;
    c.seed = 77;
    return c;
}

void rig_open(rig *r, const q_train_config *config)
{
    const bench_options o = {NULL, 0, 0, 0, false};
    memset(r, 0, sizeof(*r));
    bench_open(&r->b, &o, config);
    r->c.struct_size = sizeof(r->c);
    r->c.trainer = r->b.trainer;
    r->c.best = (q_block){r->best, sizeof(r->best)};
    r->c.note = r->note;
    r->c.note_capacity = sizeof(r->note);
}

void rig_close(rig *r)
{
    bench_close(&r->b);
}

/* Copies what a training is between a session and a row of bytes; returns how many. */
static size_t move_state(const rig *r, uint8_t *bytes, bool out)
{
    size_t at = 0;
    for (q_param p = 0; p < q_model_n_params(r->b.model); p++) {
        q_tensor t;
        q_diag d;
        q_error_code e = q_session_param(r->b.session, p, &t, &d);
        for (uint32_t i = 0; e == Q_OK; i++) {
            size_t n = (size_t)t.ne[2] * t.ne[3] * sizeof(q_real);
            if (at + n > RIG_STATE) {
                exit(1);
            }
            memcpy(out ? bytes + at : (uint8_t *)t.data, out ? (uint8_t *)t.data : bytes + at, n);
            at += n;
            e = q_session_param_moment(r->b.session, p, i, &t, &d);
        }
    }
    return at;
}

static uint8_t best_byte(uint32_t step, size_t i)
{
    return (uint8_t)(step * 31 + i * 7);
}

static int note_of(uint32_t step, char *note)
{
    return snprintf(note, RIG_NOTE, "note of step %u%.*s", (unsigned)step, (int)step, "........");
}

static void make_states(void)
{
    q_train_config config = rig_config();
    rig r;
    have_states = true;
    rig_open(&r, &config);
    for (uint32_t i = 0; i < RIG_STEPS; i++) {
        (void)move_state(&r, states[i], true);
        (void)bench_step(&r.b, 8);
    }
    rig_close(&r);
}

/* What lies beside the training after `step` steps. */
static void set_rest(rig *r, uint32_t step)
{
    r->c.note_bytes = (size_t)note_of(step, r->note);
    for (size_t i = 0; i < sizeof(r->best); i++) {
        r->best[i] = best_byte(step, i);
    }
    r->c.state.evaluations = step + 1;
    r->c.state.waiting = step % 3;
    r->c.state.best = 1.0 / (step + 3);
    r->c.state.best_step = step / 2;
    r->c.state.best_slots = r->best;
}

void rig_set(rig *r, uint32_t step)
{
    if (!have_states) {
        make_states();
    }
    (void)move_state(r, states[step], false);
    q_trainer_set_steps(r->b.trainer, step);
    set_rest(r, step);
}

int rig_advance(rig *r)
{
    uint32_t step;
    (void)bench_step(&r->b, 8);
    step = (uint32_t)q_trainer_steps(r->b.trainer);
    set_rest(r, step);
    return rig_step(r);
}

int rig_step(const rig *r)
{
    const uint64_t step = q_trainer_steps(r->b.trainer);
    uint8_t now[RIG_STATE];
    char note[RIG_NOTE];
    size_t n;
    bool same;
    if (step >= RIG_STEPS) {
        return RIG_NONE;
    }
    n = move_state(r, now, true);
    same = memcmp(now, states[step], n) == 0 && r->c.note_bytes == (size_t)note_of((uint32_t)step, note) &&
           memcmp(note, r->note, r->c.note_bytes) == 0 && r->c.state.evaluations == step + 1 &&
           r->c.state.waiting == step % 3 && r->c.state.best == 1.0 / ((double)step + 3) &&
           r->c.state.best_step == step / 2 && r->c.state.best_slots == r->best;
    for (size_t i = 0; i < q_fit_best_size(r->b.session); i++) {
        same = same && r->best[i] == best_byte((uint32_t)step, i);
    }
    return same ? (int)step : RIG_NONE;
}

void rig_wipe(rig *r)
{
    uint8_t pattern[RIG_STATE];
    memset(pattern, 0x5a, sizeof(pattern));
    (void)move_state(r, pattern, false);
    memset(&r->c.state, 0, sizeof(r->c.state));
    memset(r->note, 0x5a, sizeof(r->note));
    memset(r->best, 0x5a, sizeof(r->best));
    r->c.note_bytes = 0;
    q_trainer_set_steps(r->b.trainer, 12345);
}

bool rig_wiped(const rig *r)
{
    uint8_t now[RIG_STATE];
    size_t n = move_state(r, now, true);
    bool same = q_trainer_steps(r->b.trainer) == 12345 && r->c.state.evaluations == 0;
    for (size_t i = 0; i < n; i++) {
        same = same && now[i] == 0x5a;
    }
    return same;
}

q_error_code rig_save(rig *r, q_checkpoint_place *p)
{
    q_diag d;
    return q_checkpoint_save(p, &r->c, rig_work, &d);
}

q_error_code rig_load(rig *r, q_checkpoint_place *p, q_checkpoint_info *info, q_diag *d)
{
    memset(d, 0, sizeof(*d));
    return q_checkpoint_load(p, &r->c, info, rig_work, d);
}
