/* SPDX-License-Identifier: MIT */
/* bad_inner.h: what the files of the bad-ops table share. */
#ifndef QORUS_TEST_BAD_INNER_H
#define QORUS_TEST_BAD_INNER_H

#include "bad_ops.h"

#include "qorus/base/bits.h"
#include "qorus/base/mem.h"
#include "qorus/base/panel.h"
#include "qorus/base/text.h"

/* ---- The parts of the table ------------------------------------------------------------------ */

enum { BAD_TENSORS = 4, BAD_SLOT = 16384 };

typedef enum bad_op_id {
    BAD_DEQUANTIZE,
    BAD_DEQUANTIZE_PANEL,
    BAD_EMBEDDING,
    BAD_EMBEDDING_PLAIN,
    BAD_QUANTIZE,
    BAD_GEMM,
    BAD_GEMM_A8,
    BAD_GEMV,
    BAD_MATMUL,
    BAD_ADD,
    BAD_MUL,
    BAD_SILU_MUL,
    BAD_SILU,
    BAD_EXP,
    BAD_SOFTMAX,
    BAD_RMSNORM,
    BAD_CAUSAL_MASK,
    BAD_REDUCE_SUM,
    BAD_REDUCE_MAX,
    BAD_ROPE_TABLE,
    BAD_ROPE,
    BAD_KV_STORE,
    BAD_ATTENTION,
    BAD_MSE,
    /* the same ops on a single plane, the shape most calls have */
    BAD_MATMUL_SQUARE,
    BAD_ADD_PLANE,
    BAD_SILU_PLANE,
    BAD_SOFTMAX_PLANE,
    BAD_RMSNORM_ROW,
    BAD_CAUSAL_MASK_PLANE,
    BAD_REDUCE_COLUMN,
    BAD_ROPE_PLANE,
    BAD_MSE_ROW,
    BAD_OPS
} bad_op_id;

/* Everything an op can be called with, and what it answered. */
typedef struct bad_call {
    const struct bad_op *op;
    q_op_context ctx;
    const q_op_context *ctx_arg;
    q_tensor tensor[BAD_TENSORS];
    q_tensor *arg[BAD_TENSORS];
    q_kv kv;
    const q_kv *kv_arg;
    q_op_attention_config config;
    const q_op_attention_config *config_arg;
    uint32_t flags;
    uint32_t position;
    q_real scalar;
    q_real second;
    double magnitude;
    q_diag diag;
    q_error_code code;
} bad_call;

/* One operand of a twin. dtype BAD_NONE ends the list. */
typedef struct bad_operand {
    const char *name;
    uint8_t dtype;
    uint8_t layout;
    bool output;
    bool optional;
    uint8_t equals; /* bit j: may be the very same view as operand j */
    uint32_t ne[Q_MAX_DIMS];
} bad_operand;

#define BAD_NONE 255

typedef struct bad_op {
    const char *name; /* "q_op_add" */
    void (*call)(bad_call *b);
    bad_operand operand[BAD_TENSORS];
} bad_op;

extern const bad_op bad_op_table[BAD_OPS];

/* One defect in a twin. */
typedef enum bad_edit_kind {
    BAD_NO_EDIT,
    BAD_NE,     /* ne[axis] of the operand = value, strides contiguous again */
    BAD_PAIR,   /* the same for this operand and the last one */
    BAD_NB,     /* nb[axis] = value */
    BAD_DTYPE,  /* dtype = value, strides contiguous again */
    BAD_LAYOUT, /* layout = value, strides contiguous again */
    BAD_SCALES, /* scales = data + value */
    BAD_DROP,   /* the operand is NULL */
    BAD_ID,     /* element `axis` of a list of i32 = value */
    BAD_SCALAR, /* bits of the f32 */
    BAD_SECOND,
    BAD_MAGNITUDE, /* bits of the f64 */
    BAD_FLAGS,
    BAD_POSITION,
    BAD_WIDE,   /* all operands in one buffer, each row in columns of its own, `value` bytes short
                      of fitting beside one another */
    BAD_KV,     /* field `axis` (bad_kv_field) = value */
    BAD_CONFIG, /* field `axis` (bad_config_field) = value */
    BAD_CTX     /* 0: NULL, 1: never initialised */
} bad_edit_kind;

typedef enum bad_kv_field {
    BAD_KV_NULL,
    BAD_KV_STRUCT_SIZE,
    BAD_KV_DTYPE,
    BAD_KV_DEVICE,
    BAD_KV_RESERVED,
    BAD_KV_HEADS,
    BAD_KV_HEAD_DIM,
    BAD_KV_CAPACITY,
    BAD_KV_K_NULL,
    BAD_KV_V_NULL,
    BAD_KV_K_ADD, /* bytes added to the address */
    BAD_KV_V_ADD,
    BAD_KV_K_HIGH,    /* at the end of the address space */
    BAD_KV_V_ON_K,    /* at k + value */
    BAD_KV_K_ON_ARG,  /* at operand 0 */
    BAD_KV_V_ON_ARG,  /* at the last operand */
    BAD_KV_K_ON_WORK, /* in the workspace */
    BAD_KV_V_ON_WORK
} bad_kv_field;

typedef enum bad_config_field {
    BAD_CONFIG_NULL,
    BAD_CONFIG_STRUCT_SIZE,
    BAD_CONFIG_SCALE, /* bits of the f32 */
    BAD_CONFIG_SOFTCAP,
    BAD_CONFIG_POSITION,
    BAD_CONFIG_WINDOW
} bad_config_field;

typedef struct bad_op_case {
    const char *id;
    uint8_t op;   /* bad_op_id */
    uint8_t kind; /* bad_edit_kind */
    uint8_t operand;
    uint8_t axis;
    uint64_t value;
    q_error_code code; /* Q_OK: still accepted */
    const char *name;  /* argument */
    const char *field;
} bad_op_case;

/* Ended by a case without id. */
extern const bad_op_case bad_op_cases[];

/* ---- Running it ------------------------------------------------------------------------------ */

/* What a case expects. code Q_OK: accepted. */
typedef struct bad_expected {
    q_error_code code;
    const char *name;
    const char *field;
} bad_expected;

typedef struct bad_run {
    const q_context *context;
    q_context mine; /* context with this backend, whose workspace is never empty */
    q_backend backend;
    q_op_context ops;
    uint8_t *slots; /* BAD_TENSORS operands, then kv.k and kv.v */
    const bad_ops_host *host;
    bad_ops_counts *counts;
} bad_run;

enum { BAD_SLOTS = BAD_TENSORS + 2 };

static inline uint8_t *bad_slot(const bad_run *r, uint32_t i)
{
    return r->slots + (size_t)i * BAD_SLOT;
}

bool bad_text_same(const char *a, const char *b);

/* Operands of an op. */
uint32_t bad_operands(const bad_op *op);

/* Gives t a shape, contiguous, of its dtype and layout. False: there is no such tensor. */
bool bad_shape(q_tensor *t, const uint32_t ne[Q_MAX_DIMS]);

/* Number of defects an operand can have, and the name of one. */
uint32_t bad_defect_count(void);
const char *bad_defect_id(uint32_t defect);

/* Puts a defect into operand i of a twin and says what must come of it. False: it cannot have that
   one. */
bool bad_put_defect(const bad_run *r, bad_call *b, uint32_t i, uint32_t defect, bad_expected *want);

/* Makes the edit of a case. */
void bad_edit(const bad_run *r, bad_call *b, const bad_op_case *c);

#endif /* QORUS_TEST_BAD_INNER_H */
