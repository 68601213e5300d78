/* SPDX-License-Identifier: MIT */
/* Faults while a step runs: workers granted, waiting and waking, the clock, the log, members left out. */
#define _POSIX_C_SOURCE 200809L
#include "fault_suite.h"

#include <string.h>

#include "qorus/ops.h"

/* ---- Workers ------------------------------------------------------------------------------------------------ */

typedef struct working {
    suite_chat chat;
    char expected[256];
} working;

/* Workers that are granted less, wait badly or are woken late say what one worker says. */
static uint64_t visit_working(working *w, const suite_fault *fault)
{
    suite_chat *c = &w->chat;
    q_fault_repower(&c->faults);
    CHECK(q_fault_add(&c->faults, fault->ops, fault->kind, fault->at, fault->forever));
    CHECK_EQ(q_generator_rewind(c->generator, 0, NULL), Q_OK);
    q_generator_set_counter(c->generator, 0);
    CHECK_EQ(suite_talk(c), Q_OK);
    CHECK(strcmp(c->made, w->expected) == 0);
    return q_fault_fired(&c->faults);
}

static void p23_workers_refused_waits_and_wakes_broken(void)
{
    enum { REGION = Q_FAULT_AT(Q_FAULT_PARALLEL), WAIT = Q_FAULT_AT(Q_FAULT_WAIT), WAKE = Q_FAULT_AT(Q_FAULT_WAKE) };
    static const suite_fault faults[] = {
        {REGION, Q_FAULT_FAIL, 1, false}, {REGION, Q_FAULT_FAIL, 3, false}, {REGION, Q_FAULT_FAIL, 2, true},
        {REGION, Q_FAULT_SHORT, 1, false}, {REGION, Q_FAULT_SHORT, 3, false}, {REGION, Q_FAULT_SHORT, 2, true},
        {REGION, Q_FAULT_DENY, 1, false}, {REGION, Q_FAULT_DENY, 3, false}, {REGION, Q_FAULT_DENY, 2, true},
        {WAIT, Q_FAULT_FAIL, 1, false}, {WAIT, Q_FAULT_FAIL, 7, false}, {WAIT, Q_FAULT_FAIL, 1, true},
        {WAKE, Q_FAULT_FAIL, 1, false}, {WAKE, Q_FAULT_FAIL, 7, false}, {WAKE, Q_FAULT_FAIL, 1, true},
        {WAIT | WAKE | REGION, Q_FAULT_SHORT, 1, true}};
    static working w;
    suite_start(&w.chat, 1);
    CHECK(suite_open(&w.chat, suite_model, false));
    CHECK_EQ(suite_talk(&w.chat), Q_OK);
    memcpy(w.expected, w.chat.made, sizeof(w.expected));
    suite_stop(&w.chat);
    suite_start(&w.chat, SUITE_WORKERS);
    CHECK(suite_open(&w.chat, suite_model, false));
    for (uint32_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        suite_points += visit_working(&w, &faults[i]) != 0 ? 1u : 0u;
    }
    suite_stop(&w.chat);
}

/* A step on a port that refuses runs on the caller alone and says so. */
static void p23_refused_region_runs_on_the_caller(void)
{
    static suite_chat c;
    suite_start(&c, SUITE_WORKERS);
    CHECK(suite_open(&c, suite_model, false));
    CHECK_EQ(suite_talk(&c), Q_OK);
    CHECK(q_session_workers(c.h.engine.session) >= 2);
    CHECK(q_fault_add(&c.faults, Q_FAULT_AT(Q_FAULT_PARALLEL), Q_FAULT_DENY, 1, true));
    CHECK_EQ(suite_talk(&c), Q_OK);
    CHECK_EQ(q_session_workers(c.h.engine.session), 1);
    suite_stop(&c);
}

/* The same for an op, which is large enough to be shared. */
static void p23_refused_op_runs_on_the_caller(void)
{
    enum { N = 192 };
    static Q_ALIGNED(64) float a[N * N], b[N * N], product[2][N * N];
    static suite_chat c;
    const uint32_t ne[4] = {1, 1, N, N};
    q_context context;
    q_backend backend;
    q_op_context ops;
    q_diag d;
    suite_start(&c, SUITE_WORKERS);
    memset(&context, 0, sizeof(context));
    q_backend_scalar(&backend);
    context.port = c.h.port;
    context.backend = &backend;
    context.n_workers = SUITE_WORKERS;
    CHECK_EQ(q_op_init(&ops, &context, (q_block){NULL, 0}, &d), Q_OK);
    for (uint32_t i = 0; i < N * N; i++) {
        a[i] = (float)(i % 97) - 48.0f;
        b[i] = (float)(i % 89) - 44.0f;
    }
    for (uint32_t pass = 0; pass < 2; pass++) {
        q_tensor ta, tb, ty;
        CHECK_EQ(q_tensor_init(&ta, a, Q_REAL, Q_PLAIN, ne, &d), Q_OK);
        CHECK_EQ(q_tensor_init(&tb, b, Q_REAL, Q_PLAIN, ne, &d), Q_OK);
        CHECK_EQ(q_tensor_init(&ty, product[pass], Q_REAL, Q_PLAIN, ne, &d), Q_OK);
        CHECK(pass == 0 || q_fault_add(&c.faults, Q_FAULT_AT(Q_FAULT_PARALLEL), Q_FAULT_DENY, 1, true));
        CHECK_EQ(q_op_matmul(&ops, &ta, &tb, 0, &ty, &d), Q_OK);
    }
    CHECK(q_fault_fired(&c.faults) != 0);
    CHECK(memcmp(product[0], product[1], sizeof(product[0])) == 0);
    suite_stop(&c);
}

/* ---- Time --------------------------------------------------------------------------------------------------- */

/* A clock that follows a list. */
static uint64_t told[4];
static uint32_t told_at;

static uint64_t told_ticks(void *user)
{
    (void)user;
    return told[told_at < 3 ? told_at++ : 3];
}

typedef struct watching {
    uint32_t nodes;
    uint64_t longest;
} watching;

static q_error_code watch(void *user, const q_observation *seen)
{
    watching *w = (watching *)user;
    w->nodes++;
    w->longest = seen->ticks > w->longest ? seen->ticks : w->longest;
    return Q_OK;
}

static q_error_code step_until(suite_chat *c, uint64_t deadline, q_diag *d)
{
    const int32_t id = 1;
    const void *inputs[1] = {&id};
    q_step step;
    memset(&step, 0, sizeof(step));
    memset(d, 0, sizeof(*d));
    step.n_tokens = 1;
    step.inputs = inputs;
    step.select = Q_SELECT_LAST;
    step.deadline = deadline;
    return q_model_forward(c->h.engine.session, &step, d);
}

/* What an observer is told when the clock does what a clock should not. */
static void watched_step(suite_chat *c, uint64_t longest)
{
    watching w = {0, 0};
    q_session_config config;
    q_diag d;
    memset(&config, 0, sizeof(config));
    config.struct_size = sizeof(config);
    config.observe = watch;
    config.user = &w;
    CHECK_EQ(q_session_configure(c->h.engine.session, &config, &d), Q_OK);
    CHECK_EQ(step_until(c, 0, &d), Q_OK);
    CHECK(w.nodes > 5 && w.longest <= longest);
    config.observe = NULL;
    CHECK_EQ(q_session_configure(c->h.engine.session, &config, &d), Q_OK);
}

static void p20_clock_backwards_stuck_and_absent(void)
{
    static suite_chat c;
    uint64_t (*ticks)(void *user);
    q_port *port;
    q_diag d;
    uint32_t before;
    suite_start(&c, SUITE_WORKERS);
    CHECK(suite_open(&c, suite_model, false));
    port = &c.h.posix.port;
    ticks = port->ticks;
    watched_step(&c, UINT64_C(60000000000));
    for (uint32_t kind = 0; kind < 2; kind++) { /* back to 0 at every second look; standing */
        for (uint64_t at = 1; at <= 6; at++) {
            q_fault_repower(&c.faults);
            CHECK(q_fault_add(&c.faults, Q_FAULT_AT(Q_FAULT_TICKS), kind == 0 ? Q_FAULT_FAIL : Q_FAULT_SILENT, at,
                              kind == 1));
            watched_step(&c, port->ticks(port->user) + UINT64_C(60000000000));
            suite_points++;
        }
    }
    q_fault_repower(&c.faults);
    port->ticks = told_ticks;
    told[0] = 1000; /* backwards within a node: no time, not half of eternity */
    told[1] = 500;
    told[2] = 400;
    told[3] = 400;
    told_at = 0;
    watched_step(&c, 0);
    before = q_session_position(c.h.engine.session);
    told_at = 0;
    told[0] = told[1] = told[2] = told[3] = 2000;
    CHECK_EQ(step_until(&c, 1999, &d), Q_ERR_DEADLINE);
    CHECK_EQ(q_session_position(c.h.engine.session), before);
    CHECK_EQ(step_until(&c, 2000, &d), Q_OK); /* a clock that stands lets every step end */
    port->ticks = NULL;
    CHECK_EQ(step_until(&c, 1, &d), Q_OK); /* no clock: no deadlines */
    watched_step(&c, 0);
    port->ticks = ticks;
    suite_stop(&c);
}

/* ---- Members left out --------------------------------------------------------------------------------------- */

static void p26_optional_members_left_out(void)
{
    static suite_chat c;
    char expected[256];
    suite_start(&c, SUITE_WORKERS);
    CHECK(suite_open(&c, suite_model, false));
    CHECK_EQ(suite_talk(&c), Q_OK);
    memcpy(expected, c.made, sizeof(expected));
    suite_stop(&c);
    for (uint32_t leave = 0; leave < 5; leave++) {
        q_port *port;
        suite_start(&c, SUITE_WORKERS);
        port = &c.h.posix.port;
        port->log = leave == 0 || leave == 4 ? NULL : port->log;
        port->panic = leave == 0 || leave == 4 ? NULL : port->panic;
        port->cpu_features = leave == 1 || leave == 4 ? NULL : port->cpu_features;
        port->parallel = leave == 2 || leave == 4 ? NULL : port->parallel;
        port->wait = leave == 3 || leave == 4 ? NULL : port->wait; /* as a pair: barriers spin */
        port->wake = leave == 3 || leave == 4 ? NULL : port->wake;
        CHECK(suite_open(&c, suite_model, false));
        CHECK_EQ(suite_talk(&c), Q_OK);
        CHECK(strcmp(c.made, expected) == 0);
        suite_points++;
        suite_stop(&c);
    }
}

void suite_running(void)
{
    RUN(p23_workers_refused_waits_and_wakes_broken);
    RUN(p23_refused_region_runs_on_the_caller);
    RUN(p23_refused_op_runs_on_the_caller);
    RUN(p20_clock_backwards_stuck_and_absent);
    RUN(p26_optional_members_left_out);
}
