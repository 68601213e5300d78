/* SPDX-License-Identifier: MIT */
/*
 * qvec.h: the .qvec container as structs, and what the parts of the runner share. vectors/README.md documents
 * the container; vectors/gen/qvec.py writes it.
 */
#ifndef QORUS_TEST_VECTORS_QVEC_H
#define QORUS_TEST_VECTORS_QVEC_H

#include "runner.h"

enum {
    VEC_PACK_MAGIC = 0x43455651, /* "QVEC" */
    VEC_CASE_MAGIC = 0x45534143, /* "CASE" */
    VEC_VERSION = 1,
    VEC_MAX_TENSORS = 12,
    VEC_MAX_SCALARS = 24,
    VEC_GUARD = 64,
    VEC_FILL = 0xA5, /* what output memory holds before a kernel runs */
    VEC_LINE = 200
};

typedef struct vec_pack {
    uint32_t magic;
    uint32_t version;
    uint32_t bytes; /* whole pack, multiple of 64 */
    uint32_t n_cases;
    char kernel[32];
    uint8_t zero[16];
} vec_pack;

typedef struct vec_case {
    uint32_t magic;
    uint32_t bytes; /* with scalars, records and payloads; multiple of 64 */
    uint32_t number;
    uint32_t n_tensors;
    uint32_t n_scalars;
    uint32_t n_batch;
    uint32_t n_tokens;
    uint32_t n_selected;
    uint32_t position;
    uint32_t training;
    uint64_t seed;
    uint64_t step;
    double learning_rate;
    char name[64];
} vec_case;

typedef enum vec_tolerance { VEC_T0 = 0, VEC_T1 = 1, VEC_T2 = 2 } vec_tolerance;

enum {
    VEC_SEED_GATE = 1, /* |d| <= 1e-5 + 1e-4*|ref| holds too */
    VEC_FREE_GAP = 2   /* bytes between rows may change */
};

typedef struct vec_tensor {
    uint16_t role;
    uint16_t output; /* 1: written by the kernel */
    uint16_t dtype;  /* q_dtype, or 255: bytes */
    uint16_t tolerance;
    uint32_t rows;
    uint32_t row_bytes;
    uint32_t stride;
    uint32_t shift;     /* of the first row from a multiple of 64 */
    uint32_t data;      /* from the start of the case: input rows, or expected rows without gaps */
    uint32_t data_bytes;
    uint32_t init;      /* rows an output starts with, without gaps; 0: VEC_FILL */
    uint32_t magnitude; /* T2: one f32 per element; else 0 */
    uint32_t flags;
    uint32_t zero;
    double parameter; /* T1: ULP; T2: c*u*sqrt(terms) */
    uint64_t zero2;
} vec_tensor;

Q_STATIC_ASSERT(sizeof(vec_pack) == 64, "layout of a pack header");
Q_STATIC_ASSERT(sizeof(vec_case) == 128, "layout of a case header");
Q_STATIC_ASSERT(sizeof(vec_tensor) == 64, "layout of a tensor record");

typedef enum vec_role {
    VEC_X, VEC_Y, VEC_WEIGHTS, VEC_BIAS, VEC_SCALE, VEC_SHIFT, VEC_GATE, VEC_RESIDUAL, VEC_A, VEC_B, VEC_IDS,
    VEC_SELECTED, VEC_TABLE, VEC_INV_FREQ, VEC_K, VEC_V, VEC_K_CACHE, VEC_V_CACHE, VEC_Q, VEC_TARGET, VEC_LOSS,
    VEC_GRAD, VEC_DY, VEC_SPANS, VEC_LSE, VEC_DX, VEC_OUT, VEC_DOUT, VEC_DQ, VEC_DK, VEC_DV, VEC_DA, VEC_DB, VEC_DW,
    VEC_GATES, VEC_RECURRENT, VEC_H, VEC_C, VEC_H_PREV, VEC_C_PREV, VEC_DH, VEC_DC, VEC_DELTA, VEC_ROLES
} vec_role;

/* A case on its way through the runner. */
typedef struct vec_run {
    const vec_case *head;
    const double *scalars;
    const vec_tensor *tensors;
    uint8_t *at[VEC_MAX_TENSORS]; /* output in work memory, NULL for inputs */
    uint32_t next_scalar;
    bool bad;                     /* a scalar or tensor the kernel needs is missing or out of range */
} vec_run;

/* ---- drive.c: arguments of a kernel from a case -------------------------------------------------------- */

/* Storage for the arguments of any kernel. */
typedef union vec_args {
    q_gemm_args gemm;
    q_matmul_args matmul;
    q_gather_args gather;
    q_quantize_a8_args quantize_a8;
    q_rmsnorm_args rmsnorm;
    q_binary_args binary;
    q_unary_args unary;
    q_activate_args activate;
    q_softmax_args softmax;
    q_causal_mask_args causal_mask;
    q_reduce_args reduce;
    q_select_rows_args select_rows;
    q_rope_table_args rope_table;
    q_rope_args rope;
    q_kv_store_args kv_store;
    q_attention_args attention;
    q_conv2d_args conv2d;
    q_conv2d_grad_input_args conv2d_grad_input;
    q_conv2d_grad_weight_args conv2d_grad_weight;
    q_pool2d_args pool2d;
    q_pool2d_grad_args pool2d_grad;
    q_mse_args mse;
    q_bias_grad_args bias_grad;
    q_optimizer_args optimizer;
    q_sum_squares_args sum_squares;
    q_rescale_args rescale;
    q_average_args average;
    q_cell_args cell;
    q_cell_grad_args cell_grad;
    q_gemm_grad_args gemm_grad;
    q_embedding_grad_args embedding_grad;
    q_select_rows_grad_args select_rows_grad;
    q_rmsnorm_grad_args rmsnorm_grad;
    q_binary_grad_args binary_grad;
    q_softmax_grad_args softmax_grad;
    q_rope_grad_args rope_grad;
    q_attention_grad_args attention_grad;
    q_activate_grad_args activate_grad;
    q_scale_args scale;
    q_dropout_args dropout;
    q_round_args round;
    q_pair_loss_args pair_loss;
    q_cross_entropy_args cross_entropy;
} vec_args;

typedef struct vec_driver {
    const char *kernel;
    void (*build)(vec_run *c, void *args);
    /* Calls the backend's slot; false if the slot is empty. */
    bool (*call)(const q_backend *b, const q_work *w, const void *args);
} vec_driver;

extern const vec_driver vec_drivers[Q_VECTORS_KERNELS];

/* Index of the first tensor of that role, or n_tensors. */
uint32_t vec_find(const vec_run *c, vec_role role);

/* ---- compare.c: an output against its reference -------------------------------------------------------- */

typedef struct vec_verdict {
    uint32_t max_ulp;   /* over T0 and T1 elements */
    double max_share;   /* largest error / gate, over T1, T2 and the seed gate */
    uint32_t tensor;    /* first failure: which tensor, row, element, bits; canary: byte */
    uint32_t row;
    uint32_t column;
    uint32_t got;
    uint32_t want;
    enum { VEC_FINE, VEC_WRONG, VEC_CANARY } kind;
} vec_verdict;

/* Bytes an output takes in work memory with its guards. */
size_t vec_output_bytes(const vec_tensor *t);

/* Fills output i of the case at c->at[i] and its guards. */
void vec_prepare_output(const vec_run *c, uint32_t i);

/* Compares output i and the bytes that had to stay untouched; keeps the first failure in v. */
void vec_check_output(const vec_run *c, uint32_t i, vec_verdict *v);

/* ---- text.c: lines without printf ------------------------------------------------------------------------ */

typedef struct vec_line {
    char text[VEC_LINE];
    size_t n;
} vec_line;

void vec_text(vec_line *l, const char *s);
void vec_text_n(vec_line *l, const char *s, size_t n);  /* up to n bytes or a terminator */
void vec_pad(vec_line *l, size_t column);
void vec_number(vec_line *l, uint32_t value, uint32_t width);
void vec_hex(vec_line *l, uint32_t value);
void vec_share(vec_line *l, double value); /* three decimals, ">999" if larger, "nan" */
const char *vec_role_name(uint32_t role);

#endif /* QORUS_TEST_VECTORS_QVEC_H */
