/* SPDX-License-Identifier: MIT */
/*
 * model.h: from a graph of layers to something that runs.
 *
 *   q_model    graph and parameters; constant once built        q_model_size / q_model_init
 *   q_plan     a model made executable for stated maxima        q_plan_size / q_plan_init, q_plan_needs
 *   q_session  a plan at work: state, scratch, position         q_session_size / q_session_init
 *
 * Each lives in memory the caller gives (multiple of 128 bytes for q_model, Q_ALIGN for the others), keeps
 * pointers into it and into what it was built from, so neither may move or go away before it. Nothing is ever
 * freed: forget the object and its memory is yours again. A model serves any number of plans and a plan any
 * number of sessions, at the same time; one session is used by one thread at a time.
 */
#ifndef QORUS_MODEL_H
#define QORUS_MODEL_H

#include "format.h"
#include "layer.h"
#include "memory.h"
#include "port.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Building a graph ---------------------------------------------------------------------------------- */

typedef struct q_model q_model;
typedef struct q_graph q_graph;

typedef uint32_t q_value; /* an edge of the graph */
typedef uint32_t q_param; /* a parameter */

#define Q_NONE UINT32_MAX

typedef struct q_input_desc {
    const char *name; /* terminated, as all names here; 1 .. Q_CAP_NAME bytes, unique among inputs */
    q_value_type type;
    uint32_t limit; /* Q_I32: values of every step are checked to lie in [0, limit) */
} q_input_desc;

/* What a slot holds before training: see q_session_init_params. */
typedef enum q_init_kind {
    Q_INIT_NONE = 0,     /* whatever its memory holds */
    Q_INIT_CONSTANT = 1, /* value */
    Q_INIT_UNIFORM = 2,  /* evenly in [-value, value) */
    Q_INIT_NORMAL = 3    /* normally, of standard deviation value */
} q_init_kind;

typedef struct q_init {
    uint32_t kind; /* q_init_kind */
    uint32_t reserved;
    double value;
} q_init;

typedef struct q_param_desc {
    const char *name; /* stable path, unique: "layers.3.attn_norm" */
    q_param_type type;
    /* Where it lies: a view of a file or of any constant memory, or NULL: a slot of the PARAM region, which
       q_session_param() gives access to. */
    const q_tensor *view;
    bool trainable; /* only slots of dtype Q_REAL can be */
    q_init init;    /* of slots of dtype Q_REAL */
} q_param_desc;

typedef struct q_node_desc {
    const q_layer_class *cls;
    const char *name;   /* unique among nodes */
    const void *config; /* cls->config_size bytes, copied; NULL if that is 0 */
    uint32_t n_in;
    uint32_t n_param;
    q_value in[Q_MAX_INPUTS];
    q_param param[Q_MAX_PARAMS];
} q_node_desc;

/*
 * A builder calls these. It runs twice, once to count and once to place, and must do the same both times. The
 * first error is kept and ends the build; later calls return Q_NONE and do nothing.
 */
q_value q_graph_input(q_graph *g, const q_input_desc *desc);
q_param q_graph_param(q_graph *g, const q_param_desc *desc);
/* Returns the first output; output i is that plus i. */
q_value q_graph_node(q_graph *g, const q_node_desc *desc);
void q_graph_output(q_graph *g, const char *name, q_value value);
/* Nodes added from now on belong to that block (0: none), until the next call: see Q_PLAN_RECOMPUTE. */
void q_graph_block(q_graph *g, uint32_t block);
/* Ends the build with an error of the builder's own. */
void q_graph_fail(q_graph *g, q_error_code code, const char *what, const char *field);

/* Builds a graph by the functions above; `user` is whatever it needs. */
typedef void (*q_build_fn)(q_graph *g, const void *user);

/* Bytes of a model. */
Q_NODISCARD q_error_code q_model_size(q_build_fn build, const void *user, size_t *bytes, q_diag *diag);
/* Builds it at memory.base, a multiple of 128. Errors: those of the graph, Q_ERR_NO_SPACE with the shortfall. */
Q_NODISCARD q_error_code q_model_init(q_model **model, q_block memory, q_build_fn build, const void *user,
                                      q_diag *diag);

typedef struct q_class_swap {
    uint32_t id;              /* a library class the builder would use ... */
    const q_layer_class *cls; /* ... and the class to use instead: same inputs and parameters; its config is
                                 the replaced class's where config_size agrees, otherwise `config` */
    const void *config;
} q_class_swap;

/*
 * A model in a file: language models from their architecture record, others from their graph records. To train it on:
 *
 *   trains    parameters it says yes to become slots of reals: trainable, of the file's values once q_session_load_params
 *             has run. So do, frozen and unasked, the parameters that forward of a training step writes (running statistics)
 */
typedef struct q_file_build {
    const q_file *file;
    const q_layer_class *const *classes; /* the caller's classes that graph records may name */
    size_t n_classes;
    const q_class_swap *swaps;
    size_t n_swaps;
    /* (optional; default: every parameter is used in place) Does the parameter of that name train? */
    bool (*trains)(void *user, const char *name);
    void *user;
} q_file_build;

void q_build_from_file(q_graph *g, const void *file_build);
/* The same as a part of a builder of the caller's, with a loss behind it, say: adds the file's inputs, parameters and nodes
   and returns the output of that name. Only graph records (a decoder: q_graph_decoder). Q_NONE: the build has failed. */
q_value q_graph_file(q_graph *g, const q_file_build *build, const char *output);

enum {
    Q_DECODER_ALL_ROWS = 1u << 0 /* logits [TOKENS, vocabulary] of every row, whatever a step selects: what a loss wants */
};

/*
 * A decoder-only language model from its architecture record: of a file, or one made by the program, which then has no
 * weights yet. With training in mind:
 *
 *   trains    parameters it says yes to become slots of reals: trainable, of the file's values once q_session_load_params
 *             has run, or of usual initial ones (normal of 0.02, of 0.02/sqrt(2 layers) before the residual; norms 1)
 *             once q_session_init_params has
 *   adapts    products it says yes to ("layers.3.q", "layers.3.down") become W x + (alpha/rank) B (A x), with A and B slots
 *             that train: "<product>.lora_a" [rank, columns] (normal of 1/sqrt(columns)) and "<product>.lora_b" [rows, rank]
 *             (0). W may be quantised and stays as it is. Hu et al. 2021, arXiv:2106.09685 (LoRA)
 *   adapters  a file with such A and B (q_write.keeps): used in place, nothing trains. Which products and which rank follow
 *             from its tensors; alpha is not in it
 *
 * Each layer is a block of its own for Q_PLAN_RECOMPUTE.
 */
typedef struct q_decoder_build {
    uint32_t struct_size;     /* sizeof(q_decoder_build) */
    uint32_t flags;           /* Q_DECODER_* */
    const q_file *file;       /* whose tensors are used in place; NULL: none, every parameter is a slot that trains */
    const q_file_arch *arch;  /* NULL: the file's; else followed by one q_layer_kind byte per layer */
    const q_class_swap *swaps;
    size_t n_swaps;
    /* (optional; default: nothing, or without a file everything) Does the parameter of that name train? */
    bool (*trains)(void *user, const char *name);
    /* (optional; default: none) Does the product of that name get an adapter? Not with an activation behind it. */
    bool (*adapts)(void *user, const char *name);
    void *user;
    const q_file *adapters; /* (optional) instead of adapts, over a model in a file */
    double lora_alpha;      /* with either: finite, not 0 */
    uint32_t lora_rank;     /* with adapts: 1 .. Q_CAP_WIDTH */
    float dropout;          /* 0 <= share < 1 of what training drops of the embeddings and of what enters the residual stream */
    float drop_path;        /* 0 <= share < 1 of the sequences that pass by the last layer's two parts, less before: Huang et al.
                               2016, arXiv:1603.09382 (stochastic depth); both are nothing in inference */
    uint32_t reserved;      /* 0 */
} q_decoder_build;

void q_build_decoder(q_graph *g, const void *decoder_build);
/* The same as a part of a builder of the caller's, with a loss behind it, say: ids [TOKENS] below the vocabulary's size ->
   logits [SELECTED or TOKENS, vocabulary]. Q_NONE: the build has failed. */
q_value q_graph_decoder(q_graph *g, const q_decoder_build *build, q_value tokens);

/* ---- Looking at a model -------------------------------------------------------------------------------- */

uint32_t q_model_n_nodes(const q_model *model);
uint32_t q_model_n_params(const q_model *model);
uint32_t q_model_n_inputs(const q_model *model);
uint32_t q_model_n_outputs(const q_model *model);
const char *q_model_node_name(const q_model *model, uint32_t node);
const char *q_model_param_name(const q_model *model, q_param param);
/* True: memory of the session, which is saved and loaded with it. False: used in place where it lies, in a file say. */
bool q_model_param_is_slot(const q_model *model, q_param param);
/* True: linear and embedding layers alone read it, as their matrix, which is what files quantise (q_write). */
bool q_model_param_is_matrix(const q_model *model, q_param param);
/* The parameter of that name, or Q_NONE. O(n). */
q_param q_model_find_param(const q_model *model, const char *name);

/* ---- Plan ---------------------------------------------------------------------------------------------- */

typedef struct q_plan q_plan;

typedef enum q_plan_mode { Q_PLAN_INFER = 0, Q_PLAN_TRAIN = 1 } q_plan_mode;

enum {
    Q_PLAN_NO_FUSE = 1u << 0,    /* one kernel per node; the bits stay */
    Q_PLAN_NO_IN_PLACE = 1u << 1,
    Q_PLAN_RECOMPUTE = 1u << 2 /* training: what lies within a block (q_graph_block) is not kept for backward but computed
                                  again: fewer bytes, up to one more forward; the bits stay. A step whose state cannot go
                                  back is kept. */
};

enum { Q_MAX_MOMENTS = 4 };

/*
 * Devices beside the CPU, made by q_devices_init; constant while plans and their sessions use it. A program that never
 * calls it links nothing of what devices need.
 */
typedef struct q_devices {
    uint32_t struct_size; /* sizeof(q_devices) */
    uint32_t n;
    const q_backend *backend[Q_MAX_DEVICES];
    /* (optional; default: 1 for every class that has Q_LAYER_DEVICE, 0 for the others) Which place runs a node: 0 the
       CPU, i device i - 1. */
    uint32_t (*place)(void *user, const char *node);
    void *user;
    const struct q_device_hooks *hooks;
} q_devices;

/* Errors: Q_ERR_INVALID_ARG, INVALID_DEVICE for a backend of the CPU, MISALIGNED workspace; diag.offset is the index. */
Q_NODISCARD q_error_code q_devices_init(q_devices *out, const q_backend *const *backends, uint32_t n,
                                        uint32_t (*place)(void *user, const char *node), void *user, q_diag *diag);

typedef struct q_plan_config {
    uint32_t struct_size; /* sizeof(q_plan_config) */
    uint32_t mode;        /* q_plan_mode */
    uint32_t precision;   /* q_precision */
    uint32_t flags;       /* Q_PLAN_* */
    q_maxima max;         /* each >= 1, except kv, which may be 0 where nothing attends */
    uint32_t n_workers;   /* 1 .. Q_MAX_WORKERS: most workers a session of this plan will use */
    uint32_t kv_type;     /* q_kv_type */
    uint32_t moments;     /* training: tensors of its size kept for each trainable parameter: an optimizer's state */
    uint32_t reserved;    /* 0 */
    size_t workspace_size; /* q_backend.workspace_size of the backend that will run it */
    /* (optional; default: tag 0, as for a tag of Q_MAX_TAGS or more) Which of the memories a piece goes to. name is a value,
       node or parameter. */
    uint8_t (*tag)(void *user, q_region_kind kind, const char *name);
    void *tag_user;
    /* (optional; default: everything on the CPU) Values that one place makes and another reads are copied by steps of
       class `transfer`; inputs come from and outputs go to host memory; parameters are laid out in PREPARED of every
       device that reads them. Refused: training plans, nodes of classes without Q_LAYER_DEVICE, parameters in slots. */
    const q_devices *devices;
    /*
     * (optional; training) The type in which a parameter in a slot of reals is used: q_write.type, of the same meaning, may
     * be the same function. What linear and embedding layers alone read as their matrix is quantised and packed before
     * every forward by the code that writes files, and then goes through the kernels that run files: products of a file of
     * that type have the bits of the training's. Other trainable parameters can be rounded to Q_F16 or Q_BF16, which files
     * do not do, and stay as they are for any other answer. Gradients pass straight through to the slot, which keeps its
     * precision. In fast mode activations are rounded too (q_layer_fake_quantize). Q_F32: as it is.
     */
    uint32_t (*weight_type)(void *user, const char *name, const q_param_type *type);
    /*
     * (optional; training) Simulation of narrow types: what a node makes is rounded to Q_F16 or Q_BF16 as soon as it has run:
     * its outputs or, with `gradient`, what its backward stores or adds to, gradients of parameters too. Nothing is fused.
     * Q_F32: kept. Not asked: outputs of the node that makes the loss.
     */
    uint32_t (*value_type)(void *user, const char *node, bool gradient);
    void *type_user;
} q_plan_config;

/* Bytes a session needs of each region kind, per tag; tag Q_MAX_TAGS + i is memory of device i. FILE is what the model's
   views refer to. */
typedef struct q_needs {
    size_t bytes[Q_REGION_KINDS][Q_MAX_PLACES];
} q_needs;

/* Bytes of a plan: follows from the model's counts, the number of devices, mode, Q_PLAN_RECOMPUTE, and in training how many
   activations become steps. */
Q_NODISCARD q_error_code q_plan_size(const q_model *model, const q_plan_config *config, size_t *bytes, q_diag *diag);
/* Shape inference, pruning, fusion, order, in place, placement. Deterministic. Cost: O(n^2) in values, worst. */
Q_NODISCARD q_error_code q_plan_init(q_plan **plan, q_block memory, const q_model *model,
                                     const q_plan_config *config, q_diag *diag);
void q_plan_needs(const q_plan *plan, q_needs *needs);
/* The maxima it was made for, and the columns of output i (for a language model its vocabulary). */
q_maxima q_plan_maxima(const q_plan *plan);
uint32_t q_plan_output_columns(const q_plan *plan, uint32_t i);
/* Steps of a forward pass, and how many of them a training step runs once more for backward (Q_PLAN_RECOMPUTE): the time that
   its bytes are bought with. */
uint32_t q_plan_n_steps(const q_plan *plan);
uint32_t q_plan_n_steps_again(const q_plan *plan);

typedef enum q_plan_format {
    Q_PLAN_TEXT = 0,
    Q_PLAN_DOT = 1,  /* the steps as a graph for Graphviz; blocks that are alike are drawn once */
    Q_PLAN_JSON = 2, /* all there is */
    Q_PLAN_SVG = 3   /* a picture of SCRATCH: a rectangle for each piece, from its first to its last time, where it lies */
} q_plan_format;

/* Prints the plan piece by piece through `emit`. The same plan prints the same bytes on every machine. Cost: O(n) for TEXT and
   JSON, O(n^2) in steps for DOT, in pieces times their times for SVG, which takes some 150 bytes for each piece. */
typedef void (*q_emit_fn)(void *user, const char *text, size_t n);
void q_plan_print(const q_plan *plan, q_plan_format format, q_emit_fn emit, void *user);

/* ---- Session ------------------------------------------------------------------------------------------- */

typedef struct q_session q_session;

/* Where things run. */
typedef struct q_context {
    const q_port *port;       /* NULL: memory only, one worker, no clock */
    const q_backend *backend; /* of the CPU; ops run on one of a device too */
    uint32_t n_workers;       /* 0: as many as the plan allows */
    uint32_t reserved;
} q_context;

/* What an observer is told after a node has run; called by worker 0 while the others wait. */
typedef struct q_observation {
    const q_layer *layer; /* on a device: read its tensors by layer->backend->download */
    const q_run *run;
    uint64_t ticks;   /* this node's time, all stages; 0 without a clock */
    uint32_t node;    /* index of the step in the plan */
    uint32_t backward;
} q_observation;

typedef struct q_session_config {
    uint32_t struct_size; /* sizeof(q_session_config) */
    uint32_t flags;       /* Q_SESSION_* */
    /* (optional) Asked between nodes, on the calling thread: true stops the step with Q_ERR_CANCELLED. Bound on
       the work between two questions: one node over max.tokens rows. */
    bool (*should_stop)(void *user);
    /* (optional) Called after every node. An error stops the step. */
    q_error_code (*observe)(void *user, const q_observation *seen);
    void *user;
} q_session_config;

enum {
    Q_SESSION_CHECK_FINITE = 1u << 0 /* every output is looked at: Q_ERR_NON_FINITE names the node */
};

Q_NODISCARD q_error_code q_session_size(const q_plan *plan, size_t *bytes, q_diag *diag);
/*
 * regions: any order; each (kind, tag) the plan needs must be there with at least those bytes, on the CPU or, from tag
 * Q_MAX_TAGS on, on the device of that tag. STATE is zeroed, unless its regions say that they are, and PREPARED filled;
 * the other contents do not matter and never change a result. Sessions that share a device take turns. Errors of a
 * device: its own, naming the piece.
 */
Q_NODISCARD q_error_code q_session_init(q_session **session, q_block memory, const q_plan *plan,
                                        const q_context *context, const q_region *regions, size_t n_regions,
                                        const q_session_config *config, q_diag *diag);

/* Another configuration from the next step on, for example with an observer or without. Q_ERR_INVALID_ARG. */
Q_NODISCARD q_error_code q_session_configure(q_session *session, const q_session_config *config, q_diag *diag);

/* A parameter that lives in the PARAM region (write it before the first step), or a view of a file's. */
Q_NODISCARD q_error_code q_session_param(const q_session *session, q_param param, q_tensor *out, q_diag *diag);
/* Fills every slot that says how (q_param_desc.init) with numbers keyed by seed, the parameter's name and the element: the
   same on every machine, whatever else the model holds. */
Q_NODISCARD q_error_code q_session_init_params(q_session *session, uint64_t seed, q_diag *diag);
/* Makes a slot of reals the values of a tensor of any dtype and layout and of its rows and columns: weights of a file,
   say. Q_ERR_INVALID_ARG: not such a slot; INVALID_SHAPE, INVALID_DTYPE. */
Q_NODISCARD q_error_code q_session_load_param(q_session *session, q_param param, const q_tensor *from, q_diag *diag);
/* The same for all slots whose names a file has; at least one must. n: how many, may be NULL. */
Q_NODISCARD q_error_code q_session_load_params(q_session *session, const q_file *file, uint32_t *n, q_diag *diag);
/* Its gradient, summed over micro-batches; training plans only. Q_ERR_NOT_FOUND: it has none. Where a parameter is used
   more than once the sums of its uses are joined first: ask after the last micro-batch. */
Q_NODISCARD q_error_code q_session_param_grad(q_session *session, q_param param, q_tensor *out, q_diag *diag);
/* Moment i of a trainable parameter, zero at first; Q_ERR_NOT_FOUND: it is frozen, or the plan has fewer. */
Q_NODISCARD q_error_code q_session_param_moment(const q_session *session, q_param param, uint32_t i, q_tensor *out,
                                                q_diag *diag);

/* Which rows of a step get through the part of the graph below select_rows. */
typedef enum q_select { Q_SELECT_NONE = 0, Q_SELECT_LAST = 1, Q_SELECT_LIST = 2, Q_SELECT_ALL = 3 } q_select;

/* Receives output 0 of `n` rows that begin at row `first` of the step's tokens (Q_SELECT_ALL), of its list or, for
   Q_SELECT_LAST, of its spans. An error stops the step. */
typedef q_error_code (*q_rows_fn)(void *user, uint32_t first, uint32_t n, const q_tensor *rows);

/* Tokens of a step that continue one sequence. */
typedef struct q_step_span {
    uint32_t sequence; /* 0 .. max.sequences - 1, at most once in a step */
    uint32_t n_tokens; /* >= 1 */
} q_step_span;

typedef struct q_step {
    uint32_t n_batch;           /* 0 means 1 */
    uint32_t n_tokens;          /* 0 means 1, or with spans their sum */
    const void *const *inputs;  /* per graph input, contiguous; copied */
    uint32_t select;            /* q_select */
    uint32_t n_selected;        /* Q_SELECT_LIST */
    const uint32_t *selected;   /* ascending, each < n_tokens */
    q_rows_fn rows;             /* needed where more rows are selected than max.selected */
    void *rows_user;
    uint64_t deadline;          /* port ticks after which Q_ERR_DEADLINE stops the step; 0: none */
    uint32_t n_spans;           /* 0: all tokens continue sequence 0 */
    const q_step_span *spans;   /* whose tokens the step's are, in this order; one batch */

    /* training plans */
    uint32_t flags;             /* Q_STEP_* */
    uint32_t first_sample;      /* samples in the micro-batches of this optimizer step before this one */
    uint64_t seed;              /* of dropout and its kind, with the step's number: the same two, the same numbers */
    uint64_t index;             /* number of the optimizer step */
} q_step;

enum {
    Q_STEP_EVALUATE = 1u << 0 /* as in inference: nothing is dropped, running statistics are used and stay; no backward */
};

/*
 * Runs the graph forward once. n_tokens above max.tokens is split into chunks of max.tokens: the bits are those
 * of any other split, and those of every sequence alone. Q_SELECT_LAST selects the last row of every span. On an error
 * every position is the one before the call (rows already handed out stand).
 * Errors: Q_ERR_INVALID_ARG, INVALID_TOKEN, CONTEXT_FULL, CANCELLED, DEADLINE, NON_FINITE, or a layer's own.
 */
Q_NODISCARD q_error_code q_model_forward(q_session *session, const q_step *step, q_diag *diag);

/*
 * Backward from output 0 (a loss) of the last forward. accumulate: add to the gradients already there, so that
 * micro-batches sum up. Training plans only.
 */
Q_NODISCARD q_error_code q_model_backward(q_session *session, bool accumulate, q_diag *diag);

/* Output i of the last step: in SCRATCH of the host, valid until the next step; ne has the step's rows. */
Q_NODISCARD q_error_code q_session_output(const q_session *session, uint32_t i, q_tensor *out, q_diag *diag);

/* Tokens in the KV cache of a sequence; 0 for a sequence out of range. */
uint32_t q_sequence_position(const q_session *session, uint32_t sequence);
/* Forgets everything from position n on. Q_ERR_INVALID_ARG if n is ahead; Q_ERR_UNSUPPORTED if a layer's state
   cannot go back, except to 0, which resets the sequence's states. */
Q_NODISCARD q_error_code q_sequence_rewind(q_session *session, uint32_t sequence, uint32_t n, q_diag *diag);
/* The STATE bytes a saved sequence consists of; and after putting them back, its position. */
Q_NODISCARD q_error_code q_sequence_set_position(q_session *session, uint32_t sequence, uint32_t n, q_diag *diag);
/* Makes sequence `to` what `from` was at position n: a prefix read once serves many. What `to` held is forgotten.
   Errors: as rewind of `from`; Q_ERR_UNSUPPORTED where the state is not on the CPU. Cost: the bytes of n positions. */
Q_NODISCARD q_error_code q_sequence_copy(q_session *session, uint32_t to, uint32_t from, uint32_t n, q_diag *diag);

/* The same of sequence 0, the only one of most plans. */
uint32_t q_session_position(const q_session *session);
Q_NODISCARD q_error_code q_session_rewind(q_session *session, uint32_t n, q_diag *diag);
Q_NODISCARD q_error_code q_session_set_position(q_session *session, uint32_t n, q_diag *diag);

const q_plan *q_session_plan(const q_session *session);
const q_model *q_session_model(const q_session *session);
const q_context *q_session_context(const q_session *session);
/* True if its plan is one for training. */
bool q_session_trains(const q_session *session);
/* Workers the last step really used. */
uint32_t q_session_workers(const q_session *session);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_MODEL_H */
