/* SPDX-License-Identifier: MIT */
/*
 * layer.h: what a layer is. A q_layer_class says how shapes follow, how much memory is needed and how to go
 * forward and backward; a q_layer is one use of a class inside a session, with every tensor bound.
 *
 * A caller's class is a constant struct in the caller's code, with an id of Q_LAYER_USER or above. The core
 * treats it exactly as its own. examples/ has one.
 */
#ifndef QORUS_LAYER_H
#define QORUS_LAYER_H

#include "backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Q_NO_TRAINING builds a core that only runs models: plans for training are refused, and nothing that only backward needs
 * is linked. What this wraps is then 0, or a null pointer.
 */
#ifdef Q_NO_TRAINING
#define Q_TRAINING(x) 0
#else
#define Q_TRAINING(x) (x)
#endif

/* Ids of the library's own classes. They are in files and never change. */
typedef enum q_layer_id {
    Q_LAYER_LINEAR = 1,
    Q_LAYER_EMBEDDING = 2,
    Q_LAYER_RMSNORM = 3,
    Q_LAYER_ADD = 4,
    Q_LAYER_MUL = 5,
    Q_LAYER_SILU_MUL = 6,
    Q_LAYER_SILU = 7,
    Q_LAYER_SOFTMAX = 8,
    Q_LAYER_ROPE_TABLE = 9,
    Q_LAYER_ROPE = 10,
    Q_LAYER_ATTENTION = 11,
    Q_LAYER_SELECT_ROWS = 12,
    Q_LAYER_QUANTIZE = 13, /* inserted by plans, never in a file */
    Q_LAYER_MSE = 14,
    Q_LAYER_TRANSFER = 15, /* between the CPU and a device; inserted by plans, never in a file */
    Q_LAYER_ACTIVATION = 16,
    Q_LAYER_DROPOUT = 17,
    Q_LAYER_DROP_PATH = 18,
    Q_LAYER_LAYERNORM = 19,
    Q_LAYER_BATCHNORM = 20,
    Q_LAYER_CROSS_ENTROPY = 21,
    Q_LAYER_BCE = 22,
    Q_LAYER_HUBER = 23,
    Q_LAYER_CONV2D = 24,
    Q_LAYER_POOL2D = 25,
    Q_LAYER_RNN = 26,
    Q_LAYER_LSTM = 27,
    Q_LAYER_GRU = 28,
    Q_LAYER_CONCAT = 29,
    Q_LAYER_RESHAPE = 30,
    Q_LAYER_ATTENTION_FULL = 31,
    Q_LAYER_SCALE = 32,
    Q_LAYER_FAKE_QUANTIZE = 33,
    Q_LAYER_FOLD = 34, /* scale and shift of a BatchNorm that a product does; inserted by plans, never in a file */
    Q_LAYER_USER = 65536
} q_layer_id;

/* How activations enter products with quantised weights. */
typedef enum q_precision {
    Q_PRECISION_FAST = 0, /* quantised to 8 bits */
    Q_PRECISION_EXACT = 1 /* kept as reals */
} q_precision;

/* The largest step a plan can run: every count of a step is at most the one here. */
typedef struct q_maxima {
    uint32_t batch;
    uint32_t tokens;
    uint32_t selected;
    uint32_t kv;        /* positions of the KV cache of each sequence */
    uint32_t sequences; /* texts that live side by side, each with its own state; 0 means 1 */
} q_maxima;

/* What KV caches hold. */
typedef enum q_kv_type {
    Q_KV_BY_PRECISION = 0, /* F16 in fast mode, reals in exact mode */
    Q_KV_REAL = 1,
    Q_KV_F16 = 2,
    Q_KV_Q8_0 = 3, /* heads are whole blocks of 32 */
    Q_KV_COUNT = 4
} q_kv_type;

/* Type of a value that flows along an edge: [batch, head, row, column], each dimension n * value(sym). The
   column is a constant. Rows, of a kernel, are the product of the first three; at most one has a symbol. */
typedef struct q_value_type {
    uint32_t dtype; /* q_dtype: Q_REAL, Q_I32, Q_A8 or Q_A8X2 */
    uint32_t reserved;
    q_count dim[Q_MAX_DIMS];
} q_value_type;

/* Type of a parameter, as ne of q_tensor. */
typedef struct q_param_type {
    uint32_t dtype;
    uint32_t layout;
    uint32_t ne[Q_MAX_DIMS];
} q_param_type;

/* One node as the plan sees it, before any memory exists. */
typedef struct q_node_info {
    const void *config;
    uint32_t n_in;
    uint32_t n_out;
    uint32_t n_param;
    uint32_t precision; /* q_precision */
    const q_value_type *in;
    q_value_type *out; /* the shape rule fills it */
    const q_param_type *param;
    q_maxima max;
    uint32_t kv_dtype; /* q_dtype of KV caches: Q_REAL, Q_F16 or Q_Q8_0 */
    uint32_t trains;   /* 1: of a training plan */
} q_node_info;

/* What a class can do to its output 0 before it stores it (q_epilogue), where a plan fuses a node behind it; in training its
   backward hands grad_out on to grad_residual. And to its one input before it reads it, where a plan fuses the node before. */
enum {
    Q_EPILOGUE_RESIDUAL = 1u << 0,  /* q_layer.residual is added */
    Q_EPILOGUE_ACTIVATION = 1u << 1, /* q_layer.activation is applied, before the residual. Backward finds nothing of it:
                                        the plan has taken grad_out[0] through it, from output 0 */
    Q_EPILOGUE_SCALE_SHIFT = 1u << 2, /* inference: columns times row 0 of q_layer.fold, plus its row 1, before these */
    Q_PROLOGUE_SUM = 1u << 3 /* in[0] is the sum of q_layer.addend: forward makes and stores it, backward hands its gradient,
                                grad_in[0], on to grad_addend. Of inputs as large as output 0 */
};

/* Bytes a node needs besides its values; each piece is aligned to Q_ALIGN. */
typedef struct q_layer_sizes {
    size_t state;   /* of one sequence: persists between steps, starts as zero (STATE) */
    size_t scratch; /* during forward or backward (SCRATCH), shared by all workers */
    size_t saved;   /* from forward to backward (TRAIN) */
    size_t constants; /* made once per session from the config; with the session, and in PREPARED on devices */
} q_layer_sizes;

/* Which bytes of a state matter at a position: the first `used` of each of n strips of `strip` bytes that lie one
   behind the other from the start of the state. */
typedef struct q_state_extent {
    size_t strip;
    size_t used; /* at most strip; must not depend on max.kv */
    uint32_t n;  /* must not depend on max.kv */
    uint32_t reserved;
} q_state_extent;

typedef struct q_layer q_layer;
typedef struct q_layer_class q_layer_class;

/* Called by every worker (Q_LAYER_SHARED) or by worker 0 alone, once per stage, with a barrier between stages.
   An error stops the step; the first one is reported with the node's name. */
typedef q_error_code (*q_layer_fn)(const q_layer *layer, const q_work *work, uint32_t stage);

enum {
    Q_LAYER_SHARED = 1u << 0,    /* forward and backward share the work among all workers by q_share() */
    Q_LAYER_STATEFUL = 1u << 1,  /* keeps state between steps, where sizes asks for some */
    Q_LAYER_REWINDS = 1u << 2,   /* its state at position n is a prefix of later ones: rollback is free */
    Q_LAYER_SEQUENCES = 1u << 4, /* stateful, with a state per sequence: it goes by the spans of q_run. Without this flag
                                    a stateful class is refused in plans of several sequences. A class without state
                                    that looks at positions goes by the spans too. */
    Q_LAYER_DEVICE = 1u << 5     /* forward touches tensors, state, scratch and constants by kernels alone (and by
                                    host_in): it runs on devices */
};

struct q_layer_class {
    uint32_t struct_size; /* sizeof(q_layer_class) */
    uint32_t id;          /* q_layer_id, or Q_LAYER_USER and above */
    const char *name;     /* terminated, unique: "rmsnorm" */
    uint32_t config_size; /* bytes of its config struct: fixed-width fields only, multiple of 8; 0: none */
    uint32_t config_version;
    uint8_t min_in;
    uint8_t max_in;
    uint8_t n_out;
    uint8_t min_param;
    uint8_t max_param;
    uint8_t forward_stages;  /* >= 1 */
    uint8_t backward_stages; /* 0: no backward */
    uint8_t in_place;        /* bit i: output 0 may take the memory of input i */
    uint32_t flags;          /* Q_LAYER_SHARED ... */
    uint32_t saves;          /* what backward reads: bit i input i, bit 8+i output i */
    uint32_t buffers;        /* bit i: forward of a training step writes parameter i (running statistics), which must
                                be a slot of reals that is not trainable */

    /* Checks config, inputs and parameters, and fills info->out. Errors name the config field. */
    Q_NODISCARD q_error_code (*shape)(const q_node_info *info, q_diag *diag);
    /* (optional; default: nothing needed) Must not decrease when a maximum grows. */
    void (*sizes)(const q_node_info *info, q_layer_sizes *out);
    /* (optional; default: as it comes) The dtype input i should have: Q_A8 or Q_A8X2 asks the plan to quantise it; asked
       for both, it makes one Q_A8X2, whose first plane is the Q_A8. */
    uint32_t (*input_dtype)(const q_node_info *info, uint32_t i);
    /* (optional; default: saves) What backward of this node reads, a part of it where the config decides. */
    uint32_t (*reads)(const q_node_info *info);
    /* (optional; default: nothing) Q_EPILOGUE_* and Q_PROLOGUE_* that this node can take. */
    uint32_t (*epilogue)(const q_node_info *info);
    /* (optional, with epilogue and one output; default: Q_ACT_NONE) The q_activation that a config asks for behind output 0. Plans
       have it applied as Q_EPILOGUE_ACTIVATION; in training one whose slope does not follow from its result is a step of its own. */
    uint32_t (*activation)(const void *config);
    /* (optional; default: never) True where output 0 is input 0, bit by bit: a plan then leaves the node out. */
    bool (*identity)(const q_node_info *info);
    /* (optional; default: forward_stages, backward_stages) Stages of this run, the same for every worker; at least 1. */
    uint32_t (*stages)(const q_layer *layer, const q_work *work, bool backward);
    q_layer_fn forward;
    q_layer_fn backward; /* NULL where backward_stages is 0 */
    /* (optional; default: all of the state, as one strip) What a snapshot or a copy keeps of one sequence; layer has
       config, max, precision and kv_dtype. */
    void (*extent)(const q_layer *layer, uint32_t position, q_state_extent *out);
    /* (where sizes asks for constants) Makes them, in host memory; layer has config, max and precision. */
    void (*make_constants)(const q_layer *layer, void *out);
};

/* A layer at work. Tensors have ne at the plan's maxima; the rows of this step come from `*_rows`. */
struct Q_ALIGNED(Q_ALIGN) q_layer {
    q_layer_fn forward;
    q_layer_fn backward;
    const q_layer_class *cls;
    uint32_t type; /* cls->id */
    uint8_t n_in;
    uint8_t n_out;
    uint8_t n_param;
    uint8_t reserved;
    const void *config;
    const q_kernels *kernels;
    const char *name;
    void *state;         /* of sequence 0 */
    size_t state_stride; /* bytes from one sequence's state to the next one's */
    void *scratch;
    void *saved;
    const q_tensor *in[Q_MAX_INPUTS];
    const q_tensor *out[Q_MAX_OUTPUTS];
    const q_tensor *param[Q_MAX_PARAMS];
    const q_tensor *residual; /* added to output 0 in the epilogue, or NULL */
    const q_tensor *addend[2]; /* their sum is in[0], which the layer makes itself; or NULL */
    const q_tensor *fold;     /* [2][columns] scale and shift of output 0 in the epilogue, or NULL */
    q_count in_rows[Q_MAX_INPUTS];
    q_count out_rows[Q_MAX_OUTPUTS];
    q_maxima max;

    /* training only */
    const q_tensor *grad_in[Q_MAX_INPUTS];    /* where to put d loss / d in[i]; NULL: not needed */
    const q_tensor *grad_out[Q_MAX_OUTPUTS];  /* d loss / d out[i] */
    const q_tensor *grad_param[Q_MAX_PARAMS]; /* add d loss / d param[i] to it; NULL: frozen */
    const q_tensor *grad_residual; /* where to put d loss / d residual, which is grad_out[0]'s; NULL: not needed */
    const q_tensor *grad_addend[2]; /* where to put d loss / d addend[i], which is grad_in[0]'s; NULL: not needed */
    uint32_t accumulate; /* bit i: add to grad_in[i] instead of storing */
    uint32_t accumulate_residual; /* 1: add to grad_residual */
    uint32_t accumulate_addend; /* bit i: add to grad_addend[i] */
    uint32_t precision;
    uint32_t kv_dtype; /* as q_node_info */
    uint32_t key;      /* from the node's name: keeps its random numbers apart from other nodes' */
    uint32_t trains;   /* 1: of a training plan */
    uint32_t again;    /* 1: this forward was run before in this step and is run again for backward: buffers stay */

    uint32_t activation; /* q_activation of the epilogue: that of a product's config, or of a node fused into it */
    const q_backend *backend; /* where it runs: tensors whose device is not the CPU are this one's */
    const void *constants;
    /* On a device: input i of dtype Q_I32 as it lies in host memory, where it came from there; else NULL. */
    const q_tensor *host_in[Q_MAX_INPUTS];
};

/* ---- Configs of the library's classes (fixed-width, as in files) --------------------------------------- */

typedef struct q_embedding_config {
    float scale; /* on the gathered rows; 1 for none */
    uint32_t reserved;
} q_embedding_config;

typedef struct q_rmsnorm_config {
    float eps;      /* > 0, finite */
    float offset;   /* added to the weight; 0 or 1 */
    uint32_t group; /* 0: the whole row is one vector; else the row is split into vectors of this width */
    uint32_t reserved;
} q_rmsnorm_config;

typedef struct q_layernorm_config {
    float eps; /* > 0, finite */
    uint32_t reserved;
} q_layernorm_config;

typedef struct q_batchnorm_config {
    float eps;           /* > 0, finite */
    float momentum;      /* 0 .. 1: how far a training step moves the running statistics */
    uint32_t activation; /* q_activation of the result; in training none, relu, sigmoid or tanh */
    uint32_t reserved;
} q_batchnorm_config;

typedef struct q_linear_config {
    uint32_t activation; /* q_activation, applied after the bias */
    uint32_t planes;     /* of 8-bit activations in fast mode: 0 or 1: one; 2: what it leaves is quantised again */
} q_linear_config;

typedef struct q_activation_config {
    uint32_t activation; /* q_activation */
    uint32_t reserved;
} q_activation_config;

/* At most one dim is 0: it becomes what the others leave. The symbol of the input's rows, if it has one, goes to
   dim[symbol]. Flatten: {1, 1, 1, 0}, 0. */
typedef struct q_reshape_config {
    uint32_t dim[4]; /* of the output: [batch, head, row, column] */
    uint32_t symbol; /* 0 .. 2 */
    uint32_t reserved;
} q_reshape_config;

typedef struct q_scale_config {
    float factor; /* finite */
    uint32_t reserved;
} q_scale_config;

typedef struct q_dropout_config {
    float rate; /* 0 <= rate < 1: the share that is dropped */
    uint32_t reserved;
} q_dropout_config;

typedef struct q_fake_quantize_config {
    uint32_t planes; /* 1, or 2 where the product behind it has two (q_linear_config) */
    uint32_t reserved;
} q_fake_quantize_config;

typedef struct q_huber_config {
    float delta; /* > 0 */
    uint32_t reserved;
} q_huber_config;

typedef struct q_cross_entropy_config {
    int32_t ignore_index;  /* rows with this target do not count; PyTorch's default is -100 */
    float label_smoothing; /* 0 .. 1 */
} q_cross_entropy_config;

typedef struct q_softmax_config {
    float scale;
    uint32_t reserved;
} q_softmax_config;

typedef struct q_rope_table_config {
    uint32_t n_pairs; /* rotated values of a head / 2 */
    uint32_t scaling; /* q_rope_scaling */
    uint32_t original_context;
    uint32_t reserved;
    double base;
    double factor;
    double low;
    double high;
    double magnitude;
} q_rope_table_config;

typedef struct q_rope_config {
    uint32_t heads;
    uint32_t head_dim;
} q_rope_config;

typedef struct q_attention_config {
    uint32_t heads;
    uint32_t kv_heads;
    uint32_t head_dim;
    uint32_t window; /* 0 in attention_full */
    float scale;
    float softcap;
} q_attention_config;

typedef struct q_rnn_config {
    uint32_t activation; /* Q_ACT_TANH or Q_ACT_RELU */
    uint32_t reserved;
} q_rnn_config;

typedef struct q_conv2d_config {
    uint32_t kernel_h; /* >= 1 */
    uint32_t kernel_w;
    uint32_t stride_h; /* >= 1 */
    uint32_t stride_w;
    uint32_t pad_h; /* rows of zeros above and below */
    uint32_t pad_w;
    uint32_t dilation_h; /* >= 1: distance between two taps */
    uint32_t dilation_w;
    uint32_t groups;     /* >= 1, divides the channels of input and output; as many as channels: depthwise */
    uint32_t activation; /* q_activation, applied after the bias */
} q_conv2d_config;

typedef struct q_pool2d_config {
    uint32_t kind;     /* q_pool_kind */
    uint32_t kernel_h; /* kernel_h and kernel_w 0: the whole image, without padding */
    uint32_t kernel_w;
    uint32_t stride_h; /* 0: kernel_h */
    uint32_t stride_w;
    uint32_t pad_h; /* at most half of the kernel */
    uint32_t pad_w;
    uint32_t include_pad; /* average: 1 divides by the whole kernel where it overlaps padding */
} q_pool2d_config;

/* ---- The library's classes ----------------------------------------------------------------------------- */

/* y = x W^T + b, optional bias param[1], then activation. x [.., rows, in]; W [out, in]. */
extern const q_layer_class q_layer_linear;
/* ids [1,1,1,rows] (I32) -> rows of W [vocab, dim] times scale. */
extern const q_layer_class q_layer_embedding;
/* RMSNorm with weight param[0] [dim]. */
extern const q_layer_class q_layer_rmsnorm;
/* LayerNorm along the row; weight param[0] [dim], optional bias param[1] [dim]. */
extern const q_layer_class q_layer_layernorm;
/* BatchNorm of every column over all rows (of images: of every channel over all pixels). param: weight, bias, running mean
   and running variance, [dim] each, the last two not trainable; a new network's are 1, 0, 0 and 1. Training normalises by
   the step's own mean and variance, so that its bits depend on the micro-batch, and moves the running ones. */
extern const q_layer_class q_layer_batchnorm;
/* Inserted by plans: param as batchnorm -> [2 rows, dim]: scale, shift. */
extern const q_layer_class q_layer_fold;
/* Elementwise over two inputs of one shape; add also of one input and param[0] [columns], which goes to every row. */
extern const q_layer_class q_layer_add;
extern const q_layer_class q_layer_mul;
extern const q_layer_class q_layer_silu_mul;
/* f of every element; silu is the same without a config. */
extern const q_layer_class q_layer_activation;
extern const q_layer_class q_layer_silu;
extern const q_layer_class q_layer_softmax;
/* Token ids -> [rows, 2*n_pairs] cosines and sines of their positions. */
extern const q_layer_class q_layer_rope_table;
/* x, table -> x rotated. */
extern const q_layer_class q_layer_rope;
/* q, k, v -> causal attention: of tokens, over the KV cache it keeps; of samples [batch, 1, T, columns], within each. */
extern const q_layer_class q_layer_attention;
/* q, k, v -> attention of every row to every row of its span or sample; keeps nothing. Config: q_attention_config. Of samples with
   a fourth input, lengths [batch] (Q_I32), the first 1 .. T rows of each count: the others are padding, which no row sees, whose
   output is 0 and whose gradients are 0. Q_ERR_INVALID_SIZE: a length that is none. */
extern const q_layer_class q_layer_attention_full;
/* The same reals in the same order under other dimensions; in the input's memory where nobody else reads that. */
extern const q_layer_class q_layer_reshape;
/* Times a constant. */
extern const q_layer_class q_layer_scale;
/* Columns of all inputs side by side, in their order; the other dimensions are the same. */
extern const q_layer_class q_layer_concat;
/*
 * Training: every element (drop_path: every sample, whole) becomes 0 with probability `rate`, the others grow by
 * 1/(1 - rate). Its random numbers follow from seed, step, the node's name and the sample, not from micro-batches or
 * workers, and are drawn again where they are needed again; nothing is saved. Evaluation passes x on; plans for inference
 * leave the node out. x: rows of a batch, [batch, ..], or of tokens, where a sample is a span. Config of both:
 * q_dropout_config. Order of operations: qorus/kernels_element.h.
 */
extern const q_layer_class q_layer_dropout;
extern const q_layer_class q_layer_drop_path;
/*
 * Training: x rounded to 8-bit activations by the kernel that fast mode uses, and taken back; backward passes the gradient
 * straight through (Bengio et al. 2013, arXiv:1308.3432). Columns a multiple of 32. Plans for training in fast mode insert
 * it where those for inference quantise; those leave out the ones that a graph has. Of weights: q_plan_config.weight_type.
 */
extern const q_layer_class q_layer_fake_quantize;
/* Keeps the rows whose logits are wanted. */
extern const q_layer_class q_layer_select_rows;
extern const q_layer_class q_layer_quantize;
/*
 * Losses: output 0 [1] is the sum over all terms, output 1 [1, 2] their number as two reals whose sum it is. One gradient
 * of the sum goes back; the mean is the optimizer's. Formulas: qorus/kernels_loss.h. x, target of one shape (bce: logits,
 * and with param[0] [columns] the weight of positive targets; frozen); cross_entropy: logits [rows, classes] and one Q_I32
 * class number per row, param[0] [classes], if there, the weights of the classes, frozen: their sum over the rows is then
 * the number of terms. Q_ERR_INVALID_TOKEN: a target that is neither a class nor ignore_index.
 */
extern const q_layer_class q_layer_mse;
extern const q_layer_class q_layer_huber;
extern const q_layer_class q_layer_bce;
extern const q_layer_class q_layer_cross_entropy;
/*
 * Recurrent layers of one level: x [1, 1, tokens, F], whose rows belong to the sequences of the step's spans and
 * continue their state, or x [batch, 1, T, F], every sample a sequence of T rows from zero -> h of every row [.., H].
 * param: W_ih [G*H, F], W_hh [G*H, H] and, both or neither, b_ih, b_hh [G*H], as PyTorch's; G = 1 for rnn, 4 for lstm
 * (i, f, g, o), 3 for gru (r, z, n; b_hh of n inside r*(..)). Backward ends where the step began. Order of operations:
 * qorus/kernels_recurrent.h.
 */
extern const q_layer_class q_layer_rnn;
extern const q_layer_class q_layer_lstm;
extern const q_layer_class q_layer_gru;

/* Convolution of images: x [batch, height, width, in_c], W [out_c, kernel_h*kernel_w*in_c/groups] with k = (kh, kw, ci),
   optional bias param[1] [out_c] -> [batch, out height, out width, out_c], out = (in + 2*pad - dilation*(kernel - 1) -
   1)/stride + 1, rounded down. */
extern const q_layer_class q_layer_conv2d;
/* Maximum or average over windows of an image, or over all of it. */
extern const q_layer_class q_layer_pool2d;

/* The library's class of that id, or NULL. O(1). */
const q_layer_class *q_layer_builtin(uint32_t id);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_LAYER_H */
