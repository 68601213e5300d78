/* SPDX-License-Identifier: MIT */
/* session.h: what a session consists of; private to core/model. */
#ifndef QORUS_CORE_MODEL_SESSION_H
#define QORUS_CORE_MODEL_SESSION_H

#include "barrier.h"
#include "plan.h"

typedef struct session_sequence {
    uint64_t listed; /* q_session.n_checks of the last step that had a span of it */
    uint32_t position;
    bool lost;       /* a step failed after a state that cannot go back had moved on */
} session_sequence;

/* Work of all workers besides steps of the plan. */
typedef void (*q_session_fn)(void *arg, const q_work *work);

/* Items of work below which a second worker costs more than it brings. */
enum { Q_SESSION_WORTH_WORKERS = 65536 };

struct q_session {
    const q_plan *plan;
    q_context context;
    q_session_config config;
    uint32_t n_workers; /* asked of the port */
    uint32_t granted;   /* in the last region */
    q_run run;
    session_sequence *sequences; /* [max.sequences] */
    q_span *spans;       /* [max.sequences] of the chunk that runs */
    uint64_t n_checks;   /* steps with spans so far */
    uint32_t first_span; /* of the step, in this chunk */
    uint32_t n_ended;    /* spans whose last row is in this chunk */
    uint64_t deadline;
    q_layer *layers;    /* [n_steps + n_again] */
    q_layer *back_layers; /* the same as backward sees them; training only */
    q_tensor *values;   /* [n_values] */
    q_tensor *grads;    /* [n_values], training only */
    q_tensor *params;   /* [model params] */
    q_tensor *param_grads; /* [model params], training only */
    q_tensor *use_grads;   /* [model param_refs] of second and later uses, training only */
    q_tensor *casts;       /* [model params] as steps see those that are used in another type, training only */
    uint32_t *selected; /* [max.selected] */
    uint64_t *ticks;    /* unused without an observer */
    uint8_t *workspaces;
    uint8_t *constants; /* of all steps */
    q_tensor *prepared; /* [devices * model params]; NULL without devices */
    uint8_t *base[Q_REGION_KINDS][Q_MAX_PLACES];
    bool accumulate;
    bool forward_done;
    bool saved;        /* what the last forward left for backward is still there */
    bool joined;       /* the gradients of a parameter's uses have been added up since the last backward */
    bool busy;         /* a step runs: its callbacks may not start another or move the position */

    /* of the region that runs now */
    q_session_fn fn; /* NULL: steps of the plan */
    void *fn_arg;
    uint32_t first_step;
    uint32_t end_step;
    bool backward;
    q_barrier barrier;
    q_error_code error;
    uint32_t error_step;
    const char *error_field;
    q_diag *diag;
};

/* Runs steps [first, end) forward, or backward from end - 1 down to first, on all workers. */
q_error_code q_session_run_steps(q_session *s, uint32_t first, uint32_t end, bool backward, q_diag *diag);

q_error_code q_session_config_check(const q_session_config *config, q_diag *diag);

/* Every state of a sequence as a fresh session has it. Errors: a device's, naming the step. */
q_error_code q_session_zero_states(const q_session *s, uint32_t sequence, q_diag *diag);

/* Where a sequence's state of step k begins; and the part of it that matters at a position, n = 0 where it has none. */
uint8_t *q_session_state(const q_session *s, uint32_t k, uint32_t sequence);
q_error_code q_session_extent(const q_session *s, uint32_t k, uint32_t position, q_state_extent *x, q_diag *diag);

/* Can a sequence be seen as it was at position n? At 0 always: then it is as new. */
q_error_code q_session_check_back(const q_session *s, uint32_t sequence, uint32_t n, const char *who, q_diag *diag);

/* Checks the spans of a step, or that sequence 0 has room, and fills whole->n_tokens. */
q_error_code q_session_check_spans(q_session *s, const q_step *step, q_run *whole, q_diag *diag);
/* The spans of the chunk of run.n_tokens rows from row `first` of the step on. */
void q_session_cut_spans(q_session *s, const q_step *step, uint32_t first, uint32_t n_whole);
/* Moves the positions on, or says that states were cut off. */
void q_session_end_spans(q_session *s, const q_step *step, uint32_t n_tokens, bool good);

/* Casts of the parameters as they are now. Q_ERR_NON_FINITE names one that does not fit its type. */
q_error_code q_session_cast(q_session *s, q_diag *diag);
/* This worker's share of rounding what a step has made, forward or backward; the step is over. */
void q_session_round(const q_session *s, uint32_t step, bool backward, const q_work *work);

/* Gradients of parameters start from zero. */
void q_session_zero_grads(const q_session *s);
/* Adds this worker's share of the gradients of a parameter's second and later uses to its first one's; whoever calls it on
   all workers then sets `joined`. Once after the last micro-batch. */
void q_session_join_grads(const q_session *s, const q_work *work);

/* Runs fn on the session's workers: on one alone where `items` of work, one multiply-add each, do not pay for more. */
void q_session_parallel(q_session *s, uint64_t items, q_session_fn fn, void *arg);
/* Within fn: waits for the other workers. */
void q_session_meet(q_session *s, const q_work *work);

#endif /* QORUS_CORE_MODEL_SESSION_H */
