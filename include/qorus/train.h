/* SPDX-License-Identifier: MIT */
/*
 * train.h: a trainer: steps of an optimizer over a training session.
 *
 *     q_plan_config pc = {... .mode = Q_PLAN_TRAIN, .moments = q_train_moments(&config)};
 *     ...
 *     q_trainer_backward(trainer, &micro_batch, NULL, &diag);     once or several times
 *     q_trainer_update(trainer, &report, &diag);                  one step of the optimizer
 *
 * The graph's output 0 is the loss, a sum over samples; an output named "count", where there is one, tells how many terms
 * that sum has as two reals whose sum it is, otherwise every sample of the batch (every span) counts as one. Gradients are
 * divided by the count of all micro-batches together, once, before clipping: any cut of a batch into micro-batches gives
 * the same bits.
 */
#ifndef QORUS_TRAIN_H
#define QORUS_TRAIN_H

#include "optim.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct q_trainer q_trainer;

/* Parameters that are treated alike. */
typedef struct q_param_group {
    double rate_scale;  /* times the learning rate */
    double decay_scale; /* times the weight decay */
} q_param_group;

enum {
    Q_TRAIN_KEEP_STATE = 1u << 0 /* states of sequences are not reset before a micro-batch: it continues them */
};

typedef struct q_train_config {
    uint32_t struct_size; /* sizeof(q_train_config) */
    uint32_t flags;       /* Q_TRAIN_* */
    q_optimizer_config optimizer;
    q_schedule schedule;
    double clip_norm;     /* of all gradients together, Pascanu et al. 2012, arXiv:1211.5063; 0: none */
    double clip_value;    /* of each element of the mean gradient, after clipping by norm; 0: none */
    double weight_norm;   /* a parameter whose norm is above is scaled back to it, before clipping; 0: none */
    double average;       /* share of the old average of the weights kept in each step (EMA), 0 .. 1; 0: no average */
    uint64_t seed;        /* of everything random in a step */
    /* (optional; default: matrices are group 0, vectors (biases, norms) group 1) Which group a parameter is of. */
    uint32_t (*group)(void *user, const char *name, const q_param_type *type);
    void *user;
    const q_param_group *groups; /* copied; NULL: {1, 1} for group 0 and {1, 0}, no decay, for group 1 */
    uint32_t n_groups;           /* 1 .. Q_MAX_GROUPS, or 0 with NULL */
    uint32_t reserved;           /* 0 */
} q_train_config;

enum { Q_MAX_GROUPS = 8 };

/* What came of a step. */
typedef struct q_train_report {
    uint64_t step;        /* number of the step just made, from 0 */
    double loss;          /* mean over the counted terms */
    double count;
    double gradient_norm; /* of the mean gradient, before clipping */
    double learning_rate;
    uint32_t clipped;     /* 1: the norm was above clip_norm */
    uint32_t rescaled;    /* parameters brought back to weight_norm */
} q_train_report;

/* What a forward pass told. */
typedef struct q_train_part {
    double loss; /* sum */
    double count;
} q_train_part;

/* q_plan_config.moments for this training. */
uint32_t q_train_moments(const q_train_config *config);

/* Bytes of a trainer. Errors: those of the config, naming the field; Q_ERR_INVALID_STATE: not a training session, or its
   plan has too few moments; Q_ERR_NOT_FOUND: nothing is trainable. */
Q_NODISCARD q_error_code q_trainer_size(const q_session *session, const q_train_config *config, size_t *bytes,
                                        q_diag *diag);
/* memory.base: a multiple of Q_ALIGN. Keeps pointers to the session, which only the trainer steps from now on. */
Q_NODISCARD q_error_code q_trainer_init(q_trainer **trainer, q_block memory, q_session *session,
                                        const q_train_config *config, q_diag *diag);

/*
 * Forward and backward of one micro-batch; its gradients are added to those since the last update. seed, index and
 * first_sample of the step are set here; sequences named by spans start anew. Q_ERR_NON_FINITE, before backward: the loss
 * is infinite or no number; the micro-batches since the last update are forgotten. part may be NULL.
 */
Q_NODISCARD q_error_code q_trainer_backward(q_trainer *trainer, const q_step *step, q_train_part *part, q_diag *diag);

/*
 * One step of the optimizer: norm, weight scaling, clipping, update, average. report may be NULL. Q_ERR_INVALID_STATE: no
 * micro-batch, or none of whose terms one counted; a step is running; averages are in the parameters' place: all stays as it
 * is. Q_ERR_NON_FINITE: a gradient, or the sum of its squares, is infinite or no number: parameters and moments are
 * untouched, and the micro-batches forgotten. Cost: one pass over parameters, gradients and moments, shared
 * by all workers.
 */
Q_NODISCARD q_error_code q_trainer_update(q_trainer *trainer, q_train_report *report, q_diag *diag);

/* What an audited update says of a parameter: the mean gradient before clipping, the weights before the update, and how far
   the update moves them: update_norm / weight_norm is the ratio to watch. Sums of finite elements alone. */
typedef struct q_audit {
    const char *name;
    q_param param;
    uint32_t group;
    uint64_t n;          /* elements */
    uint64_t zeros;      /* of the gradient */
    uint64_t non_finite; /* of the gradient */
    double norm;
    double max;          /* largest magnitude */
    double weight_norm;
    double update_norm;  /* 0 where a gradient that is not finite stops the update */
} q_audit;

/* From the next update on `seen` hears of every trainable parameter, within q_trainer_update, which then runs on one worker and
   makes the same bits; NULL ends that. Cost: one more pass over gradients and weights. */
void q_trainer_audit(q_trainer *trainer, void (*seen)(void *user, const q_audit *audit), void *user);

/* The loss of a batch with the parameters as they are; nothing is dropped, nothing changes but, with Q_TRAIN_KEEP_STATE, the
   states of sequences. */
Q_NODISCARD q_error_code q_trainer_evaluate(q_trainer *trainer, const q_step *step, q_train_part *part, q_diag *diag);

/* Exchanges parameters and their averages, for evaluation or export; called again it puts them back. Update and backward
   are refused in between. Q_ERR_INVALID_STATE: no average is kept. */
Q_NODISCARD q_error_code q_trainer_exchange_average(q_trainer *trainer, q_diag *diag);

/* Steps made; and how to go on where an earlier training ended (its parameters and moments in place). */
uint64_t q_trainer_steps(const q_trainer *trainer);
void q_trainer_set_steps(q_trainer *trainer, uint64_t steps);
q_session *q_trainer_session(const q_trainer *trainer);

/* ---- A whole training ------------------------------------------------------------------------------------ */

/* Samples by number. */
typedef struct q_dataset {
    uint32_t struct_size; /* sizeof(q_dataset) */
    uint32_t n;           /* samples, >= 1 */
    /* Puts samples ids[0 .. n) into *step: inputs, n_batch or spans, select; the rest is zero. What the step points to stays
       until the next call. An error ends the training. */
    q_error_code (*load)(void *user, const uint32_t *ids, uint32_t n, q_step *step);
    void *user;
} q_dataset;

/* Samples that lie one behind the other in memory, one array per input of the graph, as a dataset: sample i of input k is
   the `bytes[k]` bytes at data[k] + i*bytes[k]. Batches are gathered in `buffer`, which has room for `batch` samples of
   all inputs, each input's part aligned to Q_ALIGN (q_table_bytes). */
enum { Q_TABLE_INPUTS = 8 };
typedef struct q_table {
    uint32_t n;
    uint32_t n_inputs; /* 1 .. Q_TABLE_INPUTS */
    const void *data[Q_TABLE_INPUTS];
    size_t bytes[Q_TABLE_INPUTS];
    void *buffer; /* multiple of Q_ALIGN */
    size_t size;
    const void *inputs[Q_TABLE_INPUTS]; /* the table's own */
} q_table;

size_t q_table_bytes(const q_table *table, uint32_t batch);
q_dataset q_table_dataset(q_table *table);

/*
 * Windows of a text of tokens, as a dataset for a language model with inputs (tokens, targets): window i are the tokens
 * [i*stride, i*stride + window) and, as targets, those one further on. Each becomes a span. `tokens` and `targets` have room
 * for batch*window ids, `spans` for batch.
 */
typedef struct q_windows {
    const int32_t *text;
    uint64_t n;      /* tokens of the text, > window */
    uint32_t window; /* >= 1 */
    uint32_t stride; /* >= 1: window for windows without overlap */
    uint32_t batch;
    uint32_t reserved;
    int32_t *tokens;
    int32_t *targets;
    q_step_span *spans;
    const void *inputs[2]; /* the windows' own */
} q_windows;

q_dataset q_windows_dataset(q_windows *windows);

/* What callers of a training hear after every step of the optimizer, and after every evaluation. */
typedef struct q_fit_progress {
    q_train_report report;   /* of the last step */
    uint64_t epoch;          /* from 0 */
    uint64_t steps;          /* of the whole training */
    uint64_t samples;        /* seen by this call so far */
    double validation;       /* mean loss of the last evaluation, where there was one; else 0 */
    uint32_t evaluated;      /* 1: this call follows an evaluation */
    uint32_t improved;       /* 1: the best so far */
} q_fit_progress;

/* What evaluations so far have left behind. All zero before a training; what one call leaves, given to the next, lets early
   stopping and the best weights go on too. */
typedef struct q_fit_state {
    uint32_t evaluations;
    uint32_t waiting;   /* evaluations since the best one */
    double best;        /* lowest mean loss of an evaluation */
    uint64_t best_step;
    /* Q_FIT_KEEP_BEST: slots of the session, one behind the other in the order of the parameters, as they were at the best
       evaluation: q_fit_best_size bytes. Read when a call begins, where evaluations > 0; then it points into the memory of
       that call. */
    const void *best_slots;
} q_fit_state;

typedef struct q_fit_config {
    uint32_t struct_size; /* sizeof(q_fit_config) */
    uint32_t flags;       /* Q_FIT_* */
    uint32_t batch;       /* samples of a step of the optimizer, >= 1; the last one of an epoch may have fewer */
    uint32_t micro_batch; /* samples run at once; 0: batch */
    uint64_t epochs;      /* 0: until max_steps */
    uint64_t max_steps;   /* 0: until the epochs are over; counts steps made before this call too */
    uint64_t evaluate_every; /* steps; 0: after every epoch */
    uint32_t patience;    /* evaluations without a better loss after which training stops; 0: never */
    uint32_t reserved;    /* 0 */
    double min_delta;     /* how much lower counts as better, >= 0 */
    /* (optional) Between steps, on the calling thread. False stops: everything is as after that step. */
    bool (*progress)(void *user, const q_fit_progress *progress);
    /* (optional) After every evaluated or trained micro-batch: outputs of the session may be read, for metrics. */
    void (*seen)(void *user, const q_step *step, const q_train_part *part, bool evaluated);
    void *user;
    q_fit_state *state; /* (optional; default: evaluations of this call alone count) */
} q_fit_config;

enum {
    Q_FIT_IN_ORDER = 1u << 0,  /* samples as they come; otherwise shuffled anew for every epoch (Fisher and Yates) by the
                                  trainer's seed and the epoch's number */
    Q_FIT_KEEP_BEST = 1u << 1, /* ends with the parameters of the best evaluation instead of the last ones */
    Q_FIT_AVERAGE = 1u << 2    /* evaluates the average of the weights, where the trainer keeps one */
};

/* Why a training ended. */
typedef enum q_fit_end { Q_FIT_DONE = 0, Q_FIT_PATIENCE = 1, Q_FIT_STOPPED = 2 } q_fit_end;

typedef struct q_fit_result {
    uint32_t end; /* q_fit_end */
    uint32_t evaluations;
    uint64_t steps;
    uint64_t epochs; /* completed */
    double loss;     /* of the last step */
    double validation;
    double best;     /* lowest mean loss of an evaluation */
    uint64_t best_step;
} q_fit_result;

/* Bytes that q_model_train works in: the order of an epoch and, to keep the best, one copy of the parameters. */
Q_NODISCARD q_error_code q_fit_size(const q_trainer *trainer, const q_fit_config *config, const q_dataset *train,
                                    size_t *bytes, q_diag *diag);

/* Bytes of q_fit_state.best_slots. */
size_t q_fit_best_size(const q_session *session);

/*
 * Epochs of steps over `train`, evaluations over `validate` (may be NULL), until something ends it. It begins where the
 * trainer's count of steps says: with the same datasets, config and state a training that was stopped and goes on makes the
 * same steps as one that never stopped. Errors: of the config, naming the field; of load, forward, backward and update, after which
 * the parameters are those of the last complete step (Q_ERR_NON_FINITE among them).
 */
Q_NODISCARD q_error_code q_model_train(q_trainer *trainer, q_block memory, const q_fit_config *config,
                                       const q_dataset *train, const q_dataset *validate, q_fit_result *result,
                                       q_diag *diag);

/* Mean loss over a dataset, `batch` samples at once, whose numbers are put into ids[batch]. seen: as in q_fit_config, may be
   NULL. */
Q_NODISCARD q_error_code q_model_evaluate(q_trainer *trainer, const q_dataset *dataset, uint32_t *ids, uint32_t batch,
                                          void (*seen)(void *user, const q_step *step, const q_train_part *part,
                                                       bool evaluated),
                                          void *user, double *loss, q_diag *diag);

/* ---- Metrics of classifiers ------------------------------------------------------------------------------ */

/* Counts of (target, answer) pairs, in memory of the caller: count[target * classes + answer], zero at first. */
typedef struct q_confusion {
    uint32_t classes;
    uint32_t reserved;
    uint64_t *count; /* [classes * classes] */
} q_confusion;

/* Adds rows of logits [rows, classes]: the answer is the largest, the lowest class among equals. Targets outside
   0 .. classes - 1 are left out. */
void q_confusion_add(q_confusion *c, const q_tensor *logits, const int32_t *targets, uint32_t rows);
double q_confusion_accuracy(const q_confusion *c);
/* Mean of the classes' F1 = 2*hits / (answers + targets), over classes that occur. */
double q_confusion_f1(const q_confusion *c);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_TRAIN_H */
