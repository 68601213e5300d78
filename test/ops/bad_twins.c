/* SPDX-License-Identifier: MIT */
/*
 * bad_twins.c: the calls that are accepted, one for each op and form of it.
 */
#include "bad_inner.h"

static void call_dequantize(bad_call *b)
{
    b->code = q_op_dequantize(b->ctx_arg, b->arg[0], b->arg[1], &b->diag);
}

static void call_embedding(bad_call *b)
{
    b->code = q_op_embedding(b->ctx_arg, b->arg[0], b->arg[1], b->scalar, b->arg[2], &b->diag);
}

static void call_quantize(bad_call *b)
{
    b->code = q_op_quantize_activations(b->ctx_arg, b->arg[0], b->arg[1], &b->diag);
}

static void call_gemm(bad_call *b)
{
    b->code = q_op_gemm(b->ctx_arg, b->arg[0], b->arg[1], b->arg[2], b->arg[3], &b->diag);
}

static void call_gemv(bad_call *b)
{
    b->code = q_op_gemv(b->ctx_arg, b->arg[0], b->arg[1], b->arg[2], b->arg[3], &b->diag);
}

static void call_matmul(bad_call *b)
{
    b->code = q_op_matmul(b->ctx_arg, b->arg[0], b->arg[1], b->flags, b->arg[2], &b->diag);
}

static void call_add(bad_call *b)
{
    b->code = q_op_add(b->ctx_arg, b->arg[0], b->arg[1], b->arg[2], &b->diag);
}

static void call_mul(bad_call *b)
{
    b->code = q_op_mul(b->ctx_arg, b->arg[0], b->arg[1], b->arg[2], &b->diag);
}

static void call_silu_mul(bad_call *b)
{
    b->code = q_op_silu_mul(b->ctx_arg, b->arg[0], b->arg[1], b->arg[2], &b->diag);
}

static void call_silu(bad_call *b)
{
    b->code = q_op_silu(b->ctx_arg, b->arg[0], b->arg[1], &b->diag);
}

static void call_exp(bad_call *b)
{
    b->code = q_op_exp(b->ctx_arg, b->arg[0], b->arg[1], &b->diag);
}

static void call_softmax(bad_call *b)
{
    b->code = q_op_softmax(b->ctx_arg, b->arg[0], b->scalar, b->arg[1], &b->diag);
}

static void call_rmsnorm(bad_call *b)
{
    b->code =
        q_op_rmsnorm(b->ctx_arg, b->arg[0], b->arg[1], b->scalar, b->second, b->arg[2], &b->diag);
}

static void call_causal_mask(bad_call *b)
{
    b->code = q_op_causal_mask(b->ctx_arg, b->arg[0], b->position, &b->diag);
}

static void call_reduce_sum(bad_call *b)
{
    b->code = q_op_reduce_sum(b->ctx_arg, b->arg[0], b->arg[1], &b->diag);
}

static void call_reduce_max(bad_call *b)
{
    b->code = q_op_reduce_max(b->ctx_arg, b->arg[0], b->arg[1], &b->diag);
}

static void call_rope_table(bad_call *b)
{
    b->code =
        q_op_rope_table(b->ctx_arg, b->arg[0], b->magnitude, b->position, b->arg[1], &b->diag);
}

static void call_rope(bad_call *b)
{
    b->code = q_op_rope(b->ctx_arg, b->arg[0], b->arg[1], b->arg[2], b->arg[3], &b->diag);
}

static void call_kv_store(bad_call *b)
{
    b->code = q_op_kv_store(b->ctx_arg, b->arg[0], b->arg[1], b->position, b->kv_arg, &b->diag);
}

static void call_attention(bad_call *b)
{
    b->code = q_op_attention(b->ctx_arg, b->arg[0], b->kv_arg, b->config_arg, b->arg[1], &b->diag);
}

static void call_mse(bad_call *b)
{
    b->code = q_op_mse(b->ctx_arg, b->arg[0], b->arg[1], b->arg[2], b->arg[3], &b->diag);
}

#define REAL(name, a, b, c, d)                                                                     \
    {                                                                                              \
        name, Q_REAL, Q_PLAIN, false, false, 0,                                                    \
        {                                                                                          \
            a, b, c, d                                                                             \
        }                                                                                          \
    }
#define OPTIONAL(name, a, b, c, d)                                                                 \
    {                                                                                              \
        name, Q_REAL, Q_PLAIN, false, true, 0,                                                     \
        {                                                                                          \
            a, b, c, d                                                                             \
        }                                                                                          \
    }
#define OUTPUT(name, equals, a, b, c, d)                                                           \
    {                                                                                              \
        name, Q_REAL, Q_PLAIN, true, false, equals,                                                \
        {                                                                                          \
            a, b, c, d                                                                             \
        }                                                                                          \
    }
#define PLAIN(name, dtype, m, k)                                                                   \
    {                                                                                              \
        name, dtype, Q_PLAIN, false, false, 0,                                                     \
        {                                                                                          \
            1, 1, m, k                                                                             \
        }                                                                                          \
    }
#define PANELS(name, dtype, m, k)                                                                  \
    {                                                                                              \
        name, dtype, Q_PANEL16, false, false, 0,                                                   \
        {                                                                                          \
            1, 1, m, k                                                                             \
        }                                                                                          \
    }
#define LIST(name, dtype, optional, n)                                                             \
    {                                                                                              \
        name, dtype, Q_PLAIN, false, optional, 0,                                                  \
        {                                                                                          \
            1, 1, 1, n                                                                             \
        }                                                                                          \
    }
#define END                                                                                        \
    {                                                                                              \
        "", BAD_NONE, 0, false, false, 0,                                                          \
        {                                                                                          \
            0, 0, 0, 0                                                                             \
        }                                                                                          \
    }

const bad_op bad_op_table[BAD_OPS] = {
    [BAD_DEQUANTIZE] = {"q_op_dequantize",
                        call_dequantize,
                        {PLAIN("weights", Q_Q8_0, 5, 64), OUTPUT("out", 0, 1, 1, 5, 64), END}},
    [BAD_DEQUANTIZE_PANEL] = {"q_op_dequantize",
                              call_dequantize,
                              {PANELS("weights", Q_Q4_0, 20, 64), OUTPUT("out", 0, 1, 1, 20, 64),
                               END}},
    [BAD_EMBEDDING] = {"q_op_embedding",
                       call_embedding,
                       {PANELS("weights", Q_Q4_1, 20, 64), LIST("ids", Q_I32, false, 3),
                        OUTPUT("out", 0, 1, 1, 3, 64), END}},
    [BAD_EMBEDDING_PLAIN] = {"q_op_embedding",
                             call_embedding,
                             {PLAIN("weights", Q_F32, 20, 40),
                              {"ids", Q_I32, Q_PLAIN, false, false, 0, {1, 3, 1, 1}},
                              OUTPUT("out", 0, 1, 1, 3, 40),
                              END}},
    [BAD_QUANTIZE] = {"q_op_quantize_activations",
                      call_quantize,
                      {REAL("x", 2, 2, 3, 32),
                       {"out", Q_A8, Q_PLAIN, true, false, 0, {2, 2, 3, 32}},
                       END}},
    [BAD_GEMM] = {"q_op_gemm",
                  call_gemm,
                  {REAL("x", 2, 2, 3, 32), PANELS("weights", Q_Q4_0, 40, 32),
                   OPTIONAL("bias", 1, 1, 1, 40), OUTPUT("y", 0, 2, 2, 3, 40)}},
    [BAD_GEMM_A8] = {"q_op_gemm",
                     call_gemm,
                     {{"x", Q_A8, Q_PLAIN, false, false, 0, {1, 2, 3, 64}},
                      PANELS("weights", Q_Q8_0, 20, 64),
                      OPTIONAL("bias", 1, 1, 1, 20),
                      OUTPUT("y", 0, 1, 2, 3, 20)}},
    [BAD_GEMV] = {"q_op_gemv",
                  call_gemv,
                  {REAL("x", 1, 1, 1, 48), PANELS("weights", Q_F32, 17, 48),
                   OPTIONAL("bias", 1, 1, 1, 17), OUTPUT("y", 0, 1, 1, 1, 17)}},
    [BAD_MATMUL] = {"q_op_matmul",
                    call_matmul,
                    {REAL("a", 2, 2, 3, 5), REAL("b", 2, 2, 5, 4), OUTPUT("c", 0, 2, 2, 3, 4),
                     END}},
    [BAD_ADD] = {"q_op_add",
                 call_add,
                 {REAL("a", 2, 2, 3, 9), REAL("b", 2, 2, 3, 9), OUTPUT("out", 3, 2, 2, 3, 9), END}},
    [BAD_MUL] = {"q_op_mul",
                 call_mul,
                 {REAL("a", 2, 2, 3, 9), REAL("b", 2, 2, 3, 9), OUTPUT("out", 3, 2, 2, 3, 9), END}},
    [BAD_SILU_MUL] = {"q_op_silu_mul",
                      call_silu_mul,
                      {REAL("a", 2, 2, 3, 9), REAL("b", 2, 2, 3, 9), OUTPUT("out", 3, 2, 2, 3, 9),
                       END}},
    [BAD_SILU] = {"q_op_silu",
                  call_silu,
                  {REAL("x", 2, 2, 3, 9), OUTPUT("out", 1, 2, 2, 3, 9), END}},
    [BAD_EXP] = {"q_op_exp", call_exp, {REAL("x", 2, 1, 3, 9), OUTPUT("out", 1, 2, 1, 3, 9), END}},
    [BAD_SOFTMAX] = {"q_op_softmax",
                     call_softmax,
                     {REAL("x", 2, 2, 3, 9), OUTPUT("out", 1, 2, 2, 3, 9), END}},
    [BAD_RMSNORM] = {"q_op_rmsnorm",
                     call_rmsnorm,
                     {REAL("x", 2, 2, 3, 9), REAL("weight", 1, 1, 1, 9),
                      OUTPUT("out", 1, 2, 2, 3, 9), END}},
    [BAD_CAUSAL_MASK] = {"q_op_causal_mask", call_causal_mask, {OUTPUT("x", 0, 2, 2, 3, 9), END}},
    [BAD_REDUCE_SUM] = {"q_op_reduce_sum",
                        call_reduce_sum,
                        {REAL("x", 2, 2, 3, 9), OUTPUT("out", 0, 2, 2, 3, 1), END}},
    [BAD_REDUCE_MAX] = {"q_op_reduce_max",
                        call_reduce_max,
                        {REAL("x", 2, 2, 3, 9), OUTPUT("out", 0, 2, 2, 3, 1), END}},
    [BAD_ROPE_TABLE] = {"q_op_rope_table",
                        call_rope_table,
                        {LIST("inv_freq", Q_F64, false, 4), OUTPUT("table", 0, 1, 1, 3, 8), END}},
    [BAD_ROPE] = {"q_op_rope",
                  call_rope,
                  {REAL("x", 2, 2, 3, 10), REAL("table", 1, 1, 5, 8),
                   LIST("positions", Q_I32, true, 3), OUTPUT("out", 1, 2, 2, 3, 10)}},
    [BAD_KV_STORE] = {"q_op_kv_store",
                      call_kv_store,
                      {REAL("k", 1, 2, 3, 8), REAL("v", 1, 2, 3, 8), END}},
    [BAD_ATTENTION] = {"q_op_attention",
                       call_attention,
                       {REAL("q", 1, 4, 3, 8), OUTPUT("out", 0, 1, 4, 3, 8), END}},
    [BAD_MSE] = {"q_op_mse",
                 call_mse,
                 {REAL("x", 2, 2, 3, 9),
                  REAL("target", 2, 2, 3, 9),
                  OUTPUT("loss", 0, 1, 1, 1, 1),
                  {"grad", Q_REAL, Q_PLAIN, true, true, 0, {2, 2, 3, 9}}}},
    [BAD_MATMUL_SQUARE] = {"q_op_matmul",
                           call_matmul,
                           {REAL("a", 1, 1, 5, 5), REAL("b", 1, 1, 5, 5),
                            OUTPUT("c", 0, 1, 1, 5, 5), END}},
    [BAD_ADD_PLANE] = {"q_op_add",
                       call_add,
                       {REAL("a", 1, 1, 3, 9), REAL("b", 1, 1, 3, 9), OUTPUT("out", 3, 1, 1, 3, 9),
                        END}},
    [BAD_SILU_PLANE] = {"q_op_silu",
                        call_silu,
                        {REAL("x", 1, 1, 3, 9), OUTPUT("out", 1, 1, 1, 3, 9), END}},
    [BAD_SOFTMAX_PLANE] = {"q_op_softmax",
                           call_softmax,
                           {REAL("x", 1, 1, 3, 9), OUTPUT("out", 1, 1, 1, 3, 9), END}},
    [BAD_RMSNORM_ROW] = {"q_op_rmsnorm",
                         call_rmsnorm,
                         {REAL("x", 1, 1, 1, 9), REAL("weight", 1, 1, 1, 9),
                          OUTPUT("out", 1, 1, 1, 1, 9), END}},
    [BAD_CAUSAL_MASK_PLANE] = {"q_op_causal_mask",
                               call_causal_mask,
                               {OUTPUT("x", 0, 1, 1, 3, 9), END}},
    [BAD_REDUCE_COLUMN] = {"q_op_reduce_sum",
                           call_reduce_sum,
                           {REAL("x", 1, 1, 3, 1), OUTPUT("out", 0, 1, 1, 3, 1), END}},
    [BAD_ROPE_PLANE] = {"q_op_rope",
                        call_rope,
                        {REAL("x", 1, 1, 3, 8), REAL("table", 1, 1, 4, 8),
                         LIST("positions", Q_I32, true, 3), OUTPUT("out", 1, 1, 1, 3, 8)}},
    [BAD_MSE_ROW] = {"q_op_mse",
                     call_mse,
                     {REAL("x", 1, 1, 1, 1),
                      REAL("target", 1, 1, 1, 1),
                      OUTPUT("loss", 0, 1, 1, 1, 1),
                      {"grad", Q_REAL, Q_PLAIN, true, true, 0, {1, 1, 1, 1}}}},
};
