/* SPDX-License-Identifier: MIT */
/* Trainings whose sequences go on from step to step (Q_TRAIN_KEEP_STATE): their states are saved, and go on too. */
#include "medium.h"

#include <string.h>

#include "examples/training.h"

enum { VOCAB = 7, WIDTH = 8, TEXTS = 2, ROWS = 3, STEPS = 6, KV = 20 };

/* What is between embedding and head; attention trains with whole sequences alone. */
typedef enum middle { RNN, LSTM, GRU } middle;

static void build(q_graph *g, const void *middle_of)
{
    const middle m = *(const middle *)middle_of;
    q_net n;
    q_edge x;
    q_edge targets;
    q_net_begin(&n, g);
    x = q_net_tokens(&n, "tokens", VOCAB);
    targets = q_net_targets(&n, "targets", VOCAB);
    x = q_net_embedding(&n, "embed", x, VOCAB, WIDTH);
    x = m == RNN ? q_net_rnn(&n, "rnn", x, WIDTH, Q_ACT_TANH) : m == LSTM ? q_net_lstm(&n, "lstm", x, WIDTH) : q_net_gru(&n, "gru", x, WIDTH);
    q_net_cross_entropy(&n, q_net_linear(&n, "head", x, VOCAB, Q_ACT_NONE), targets);
}

static void open(training *t, middle m, uint32_t flags)
{
    q_train_config config = plain_config(&q_optimizer_adam);
    q_diag d;
    config.flags = flags;
    must(training_open(t, build, &m, &config, (q_maxima){1, TEXTS * ROWS, 1, KV, TEXTS}, &d), &d);
}

/* The next rows of both texts. */
static q_error_code backward(const training *t, q_diag *d)
{
    static const q_step_span spans[TEXTS] = {{0, ROWS}, {1, ROWS}};
    const uint32_t step = (uint32_t)q_trainer_steps(t->trainer);
    int32_t ids[2][TEXTS * ROWS];
    const void *inputs[2] = {ids[0], ids[1]};
    const q_step s = {.inputs = inputs, .n_spans = TEXTS, .spans = spans};
    for (uint32_t i = 0; i < TEXTS * ROWS; i++) {
        ids[0][i] = (int32_t)((step * ROWS + i * i + i / ROWS) % VOCAB);
        ids[1][i] = (int32_t)((step + i * 3) % VOCAB);
    }
    return q_trainer_backward(t->trainer, &s, NULL, d);
}

static double advance(const training *t)
{
    q_train_report report;
    q_diag d;
    must(backward(t, &d), &d);
    must(q_trainer_update(t->trainer, &report, &d), &d);
    return report.loss;
}

static q_error_code save(const training *t, q_diag *d)
{
    const q_checkpoint c = {.struct_size = sizeof(c), .trainer = t->trainer};
    q_checkpoint_place p = medium_start(true, 0);
    return q_checkpoint_save(&p, &c, rig_work, d);
}

static q_error_code load(const training *t, q_diag *d)
{
    q_checkpoint c = {.struct_size = sizeof(c), .trainer = t->trainer};
    q_checkpoint_place p = medium_place(&medium.port, true);
    return q_checkpoint_load(&p, &c, NULL, rig_work, d);
}

/* Stopped after each step: every later loss and the parameters are those of the training that never stopped. */
static void stop_and_go_on(middle m)
{
    for (uint32_t cut = 1; cut < STEPS; cut++) {
        training whole;
        training again;
        q_diag d;
        training_used = 0;
        open(&whole, m, Q_TRAIN_KEEP_STATE);
        open(&again, m, Q_TRAIN_KEEP_STATE);
        for (uint32_t step = 0; step < cut; step++) {
            (void)advance(&whole);
        }
        (void)advance(&again); /* a state of its own, which goes */
        CHECK_EQ(save(&whole, &d), Q_OK);
        CHECK_EQ(load(&again, &d), Q_OK);
        CHECK_EQ(q_sequence_position(again.session, 1), cut * ROWS);
        for (uint32_t step = cut; step < STEPS; step++) {
            CHECK(advance(&whole) == advance(&again));
        }
        CHECK(training_same(&whole, &again));
    }
}

static void C19_sequences_that_go_on(void)
{
    stop_and_go_on(RNN);
    stop_and_go_on(LSTM);
    stop_and_go_on(GRU);
}

static void said(q_error_code e, q_error_code code, const q_diag *d, const char *field)
{
    CHECK_EQ(e, code);
    CHECK(strcmp(d->field, field) == 0);
}

/* Neither kind of training takes the other's checkpoint. */
static void C06_sequences_that_begin_anew(void)
{
    for (uint32_t keeps = 0; keeps < 2; keeps++) {
        training one;
        training other;
        q_diag d;
        training_used = 0;
        open(&one, LSTM, keeps != 0 ? Q_TRAIN_KEEP_STATE : 0);
        open(&other, LSTM, keeps != 0 ? 0 : Q_TRAIN_KEEP_STATE);
        (void)advance(&one);
        CHECK_EQ(save(&one, &d), Q_OK);
        said(load(&other, &d), Q_ERR_MISMATCH, &d, "states of sequences");
        CHECK_EQ(q_trainer_steps(other.trainer), 0);
    }
}

/* The states come last, the positions first of them. */
static void C03_a_position_beyond_the_last(void)
{
    training t;
    uint8_t *file;
    uint64_t bytes;
    uint64_t states;
    q_diag d;
    training_used = 0;
    open(&t, LSTM, Q_TRAIN_KEEP_STATE);
    (void)advance(&t);
    CHECK_EQ(save(&t, &d), Q_OK);
    file = medium_bytes(true, 0);
    memcpy(&bytes, file + 24, sizeof(bytes));
    memcpy(&states, file + 512 + 104, sizeof(states));
    CHECK_EQ(file[512 + bytes - states + 8], ROWS); /* of the second sequence */
    file[512 + bytes - states + 8] = KV;
    medium_seal(file);
    CHECK_EQ(load(&t, &d), Q_OK);
    file[512 + bytes - states + 8] = KV + 1;
    medium_seal(file);
    said(load(&t, &d), Q_ERR_CORRUPT, &d, "position");
    CHECK_EQ(q_sequence_position(t.session, 1), KV);
}

static q_error_code fail_behind_state(void *user, const q_observation *seen)
{
    (void)user;
    return seen->layer->state_stride != 0 ? Q_ERR_IO : Q_OK;
}

/* A step that failed behind the LSTM has moved its state on. */
static void a_state_cut_off_is_not_saved(void)
{
    const q_session_config failing = {.struct_size = sizeof(failing), .observe = fail_behind_state};
    const q_session_config plain = {.struct_size = sizeof(plain)};
    q_checkpoint_place p;
    q_checkpoint c = {.struct_size = sizeof(c)};
    training t;
    q_diag d;
    training_used = 0;
    open(&t, LSTM, Q_TRAIN_KEEP_STATE);
    c.trainer = t.trainer;
    (void)advance(&t);
    CHECK_EQ(save(&t, &d), Q_OK);
    p = medium_place(&medium.port, true);
    CHECK_EQ(q_session_configure(t.session, &failing, &d), Q_OK);
    CHECK_EQ(backward(&t, &d), Q_ERR_IO);
    CHECK_EQ(q_session_configure(t.session, &plain, &d), Q_OK);
    said(q_checkpoint_save(&p, &c, rig_work, &d), Q_ERR_INVALID_STATE, &d, "a layer's state was cut off");
    CHECK_EQ(load(&t, &d), Q_OK); /* the one before */
    CHECK_EQ(backward(&t, &d), Q_OK);
}

void checkpoint_states(void)
{
    RUN(C19_sequences_that_go_on);
    RUN(C06_sequences_that_begin_anew);
    RUN(C03_a_position_beyond_the_last);
    RUN(a_state_cut_off_is_not_saved);
}
