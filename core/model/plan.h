/* SPDX-License-Identifier: MIT */
/* plan.h: what a plan consists of; private to core/model. */
#ifndef QORUS_CORE_MODEL_PLAN_H
#define QORUS_CORE_MODEL_PLAN_H

#include "graph.h"

/*
 * Time. Steps without a dependency between them share a group; a barrier stands between groups. Forward, group
 * g happens at time g; event i of backward at time n_groups + i. Memory is reused between times, never within one.
 */

/* A piece of a region with a lifetime. */
typedef struct plan_piece {
    size_t bytes;  /* 0: nothing */
    size_t offset;
    uint32_t first; /* time of the first write */
    uint32_t last;  /* time of the last use */
    uint8_t tag;
} plan_piece;

/* A value: first the model's, then those the plan itself adds (quantised twins). */
typedef struct plan_value {
    q_value_type type;
    const char *name;  /* of the node or input that makes it */
    uint32_t producer; /* step, or Q_NONE for an input */
    uint32_t root;     /* the value whose memory it takes: itself, or through in-place its operand */
    uint32_t a8;       /* its quantised twin, or Q_NONE; in training one with one plane, whose twin has the other number */
    uint32_t same;     /* the value itself; of a node left out because it changes nothing, the one that stands for it */
    uint32_t origin;   /* the value itself; of one made again for backward, the one that was made first: whose gradient
                          it shares */
    uint32_t again;    /* made again for backward, the value that holds it then, or Q_NONE */
    uint32_t copy;     /* the first of its copies on other places, from one to the next by this field, or Q_NONE */
    uint32_t n_uses;   /* steps reading it, outputs counted too */
    bool used;
    bool output;
    bool needs_grad;
    bool feeds_loss; /* training: the loss depends on it */
    bool grad_fed;   /* some step writes its gradient going backward */
    bool needed;     /* made again: something reads it */
    uint8_t place;   /* whose memory it lies in: 0 the CPU's, i device i - 1's */
    plan_piece data;
    plan_piece grad;
} plan_value;

typedef struct plan_step {
    const q_layer_class *cls;
    const char *name;
    const void *config;
    const uint32_t *params; /* [n_param] */
    uint32_t n_param;
    uint32_t n_in;
    uint32_t in[Q_MAX_INPUTS];
    uint32_t out;      /* first output value */
    uint32_t residual; /* value added in the epilogue, or Q_NONE */
    uint32_t addend[2]; /* values whose sum is in[0], which the step makes itself, or Q_NONE */
    uint32_t activation; /* q_activation of the epilogue: of the node itself, or of one fused into it */
    uint32_t saves;    /* what backward reads, as q_layer_class.saves; bit 8 + i: the i-th of q_plan_makes */
    uint32_t fold;     /* value with the epilogue's scale and shift, or Q_NONE */
    uint32_t group;
    bool tail;         /* below select_rows: repeated per window of selected rows */
    bool has_backward; /* some gradient passes through it */
    bool runs;         /* a copy: forward is run again, not only backward */
    uint32_t block;    /* computed again together, or 0 */
    uint32_t twin;     /* a copy: of which step; else Q_NONE */
    uint32_t backward_time;
    uint32_t accumulate; /* bit i: adds to the gradient of what it reads i-th (q_plan_reads) instead of storing */
    bool accumulate_sum; /* adds to the gradient of the sum that it makes */
    uint8_t rounds[2]; /* q_dtype that outputs and gradients are rounded to; Q_F32: none */
    uint8_t place;     /* what runs it, as of values; a transfer is run by the device it goes to or comes from */
    plan_piece constants; /* in the session's block of constants */
    plan_piece prepared;  /* PREPARED of its device: the constants again */
    plan_piece state;    /* of all sequences */
    size_t state_stride; /* of one */
    plan_piece scratch;
    plan_piece scratch_back; /* during backward */
    plan_piece saved;
} plan_step;

/* One thing that happens during backward, all workers meeting between two. */
typedef struct plan_event {
    uint32_t step;
    bool backward; /* or a forward that is run again */
} plan_event;

typedef struct plan_param {
    plan_piece slot;   /* PARAM region; 0 bytes for views */
    plan_piece grad;   /* TRAIN region */
    plan_piece moment; /* TRAIN region: config.moments tensors like grad, one behind the other */
    plan_piece cast;   /* TRAIN region: the parameter in the type it is used in; 0 bytes: used as it is */
    uint8_t cast_type; /* q_dtype */
    bool panels;       /* the cast is one of panels */
    bool used;
    bool grad_fed;     /* some step adds to grad */
} plan_param;

struct q_plan {
    q_plan_config config;
    const q_model *model;
    uint32_t n_steps;
    uint32_t n_body; /* steps before the tail */
    uint32_t n_values;
    uint32_t n_groups;
    uint32_t n_pruned; /* nodes left out */
    uint32_t n_fused;
    uint32_t kv_dtype;
    bool attends;  /* keeps state that grows with the position */
    bool rewinds;  /* every state can go back */
    plan_step *steps;
    plan_value *values;
    plan_param *params;
    bool *node_used;       /* [model nodes] */
    plan_piece **pieces;   /* placement's work list */
    uint32_t n_again;      /* steps behind the first n_steps: copies for backward */
    uint32_t n_events;
    plan_event *events;    /* backward, in order */
    plan_piece *uses;      /* [model param_refs] TRAIN region: the gradient of a parameter's second and later uses, so
                              that each is one sum over all micro-batches; 0 bytes for the first */
    uint32_t cap_steps;
    uint32_t cap_values;
    uint32_t cap_pieces;
    q_needs needs;
    size_t workspace_offset; /* SCRATCH, tag 0 */
    size_t constant_bytes;   /* of all steps */
    plan_piece cast_stage;   /* TRAIN region: what workers make casts in */
    size_t cast_stage_bytes; /* of one worker */
    plan_piece *prepared;    /* [devices * model params] PREPARED; NULL without devices */
    size_t device_workspace[Q_MAX_DEVICES]; /* offset in SCRATCH of the device */
};

static inline bool q_plan_trains(const q_plan_config *c)
{
    return Q_TRAINING(1) && c->mode == Q_PLAN_TRAIN;
}

static inline uint32_t q_plan_n_devices(const q_plan_config *c)
{
    return c->devices != NULL ? c->devices->n : 0;
}

/* Tag of memory of a place other than the CPU. */
static inline uint8_t q_place_tag(uint8_t place)
{
    return (uint8_t)(Q_MAX_TAGS + place - 1u);
}

/* Value v where it lies in memory of that place: itself or a copy, or Q_NONE. */
static inline uint32_t q_plan_value_on(const q_plan *plan, uint32_t v, uint8_t place)
{
    while (v != Q_NONE && plan->values[v].place != place) {
        v = plan->values[v].copy;
    }
    return v;
}

/* Output i in memory of the host. */
static inline uint32_t q_plan_output(const q_plan *plan, uint32_t i)
{
    return q_plan_value_on(plan, plan->model->outputs[i].value, 0);
}

/* The q_activation that a node's config asks for behind it. */
uint32_t q_plan_activation(const model_node *node);

/* True where the plan makes it a step of its own: in training, if its derivative does not follow from its result. */
static inline bool q_plan_unfolds(const q_plan_config *c, uint32_t activation)
{
    return q_plan_trains(c) && activation != Q_ACT_NONE && !q_activation_from_output(activation);
}

/* A step at the end of those there are. */
plan_step *q_plan_new_step(q_plan *plan, const q_layer_class *cls, const char *name);

/* Rows and columns of a value; rows of a kernel = product of the first three dimensions. */
q_count q_plan_rows(const q_value_type *type);
uint32_t q_plan_sym_max(const q_maxima *max, uint32_t sym);

/* Bytes of a value at the plan's maxima; false on overflow, which more than 2^32 - 1 elements are: 32-bit counts of
   rows, heads and elements of a step then cannot wrap. Rows of A8 are padded to Q_ALIGN. */
bool q_plan_value_bytes(const q_value_type *type, const q_maxima *max, size_t *bytes, size_t *row_bytes);

/* True for what a language model is: one input of ids along the tokens; output 0 one row per selected row. */
bool q_plan_reads_tokens(const q_plan *plan);
bool q_plan_writes_selected(const q_plan *plan);

/* What the caller says of that piece; no tag there is: 0. */
uint8_t q_plan_tag(const q_plan *plan, q_region_kind kind, const char *name);

/* Puts a piece behind those of its region and tag; false on overflow. */
bool q_plan_append(q_plan *plan, q_region_kind kind, plan_piece *piece);

/* What a step reads: its inputs, or the addends of the sum that is its input; its residual and its fold, as one list. Returns
   how many. */
uint32_t q_plan_reads(const plan_step *s, uint32_t reads[Q_MAX_INPUTS + 1]);

/* What a step makes: its outputs, and the sum that is its input. Returns how many. */
uint32_t q_plan_makes(const plan_step *s, uint32_t made[Q_MAX_OUTPUTS + 1]);

/* Steps from `first` on tell what they make who makes it. */
void q_plan_set_producers(q_plan *plan, uint32_t first);

static inline bool q_plan_sums(const plan_step *s)
{
    return s->addend[0] != Q_NONE;
}

/* How many of q_plan_reads are operands: all but residual and fold. */
static inline uint32_t q_plan_n_operands(const plan_step *s)
{
    return q_plan_sums(s) ? 2 : s->n_in;
}

/* The piece lives at that time too. */
void q_plan_touch(plan_piece *piece, uint32_t time);

/* plan_train.c: the parts that only plans for training have, in the order of their calls; the first before fusion. */
void q_plan_mark_loss(q_plan *plan);
q_error_code q_plan_mark_gradients(q_plan *plan, q_diag *diag);
void q_plan_order_backward(q_plan *plan);
void q_plan_live_backward(q_plan *plan);

/* cast.c: which parameters are used in another type (before shapes are inferred), and where the casts lie. */
q_error_code q_plan_cast(q_plan *plan, q_diag *diag);
q_error_code q_plan_place_casts(q_plan *plan, q_diag *diag);
/* What steps are to be rounded to, for each of them. */
q_error_code q_plan_round(q_plan *plan, q_diag *diag);

/* The passes, in order. */
q_error_code q_plan_infer(q_plan *plan, q_diag *diag);  /* prune, shapes, quantised inputs: fills steps */
void q_plan_fold(q_plan *plan); /* inference only: BatchNorm into products */
void q_plan_fuse(q_plan *plan);
q_error_code q_plan_order(q_plan *plan, q_diag *diag);  /* groups, in place, lifetimes */
q_error_code q_plan_place(q_plan *plan, q_diag *diag);  /* offsets and needs */

/* Describes step s to its class. types_in/types_out/params are the caller's arrays of the maxima's size. */
typedef struct plan_view {
    q_node_info info;
    q_value_type in[Q_MAX_INPUTS];
    q_value_type out[Q_MAX_OUTPUTS];
    q_param_type param[Q_MAX_PARAMS];
} plan_view;

void q_plan_view_step(const q_plan *plan, const plan_step *step, plan_view *view);

#endif /* QORUS_CORE_MODEL_PLAN_H */
