/* SPDX-License-Identifier: MIT */
/*
 * drive.c: builds the arguments of each kernel from a case and calls it.
 *
 * One builder per argument struct; the table of kernels comes from kernels.inc, so a kernel whose arguments
 * have no builder does not compile. Scalars are taken in the order listed in vectors/README.md.
 */
#include "drive.h"

uint32_t vec_find(const vec_run *c, vec_role role)
{
    uint32_t i = 0;
    while (i < c->head->n_tensors && c->tensors[i].role != (uint32_t)role) {
        i++;
    }
    return i;
}

q_epilogue vec_epilogue(vec_run *c)
{
    q_epilogue e;
    e.bias = (const q_real *)vec_optional(c, VEC_BIAS);
    e.scale = (const q_real *)vec_optional(c, VEC_SCALE);
    e.shift = (const q_real *)vec_optional(c, VEC_SHIFT);
    e.gate = (const q_real *)vec_optional(c, VEC_GATE);
    e.residual = (const q_real *)vec_optional(c, VEC_RESIDUAL);
    e.gate_stride = vec_stride(c, VEC_GATE);
    e.residual_stride = vec_stride(c, VEC_RESIDUAL);
    e.activation = vec_u32(c);
    e.reserved = 0;
    return e;
}

static void vec_build_q_gemm_args(vec_run *c, void *args)
{
    q_gemm_args *a = (q_gemm_args *)args;
    a->rows = vec_count(c);
    a->m = vec_u32(c);
    a->k = vec_u32(c);
    a->epilogue = vec_epilogue(c);
    a->weights = vec_needed(c, VEC_WEIGHTS);
    a->x = vec_needed(c, VEC_X);
    a->x_stride = vec_stride(c, VEC_X);
    a->y = (q_real *)vec_needed(c, VEC_Y);
    a->y_stride = vec_stride(c, VEC_Y);
    a->planes = vec_planes(c, VEC_X);
    a->reserved = 0;
}

static void vec_build_q_matmul_args(vec_run *c, void *args)
{
    q_matmul_args *a = (q_matmul_args *)args;
    a->m = vec_count(c);
    a->n = vec_count(c);
    a->k = vec_count(c);
    a->transpose_a = (uint8_t)vec_u32(c);
    a->transpose_b = (uint8_t)vec_u32(c);
    a->accumulate = (uint8_t)vec_u32(c);
    for (uint32_t i = 0; i < sizeof(a->reserved); i++) {
        a->reserved[i] = 0;
    }
    a->epilogue = vec_epilogue(c);
    a->a = (const q_real *)vec_needed(c, VEC_A);
    a->a_stride = vec_stride(c, VEC_A);
    a->b = (const q_real *)vec_needed(c, VEC_B);
    a->b_stride = vec_stride(c, VEC_B);
    a->c = (q_real *)vec_needed(c, VEC_Y);
    a->c_stride = vec_stride(c, VEC_Y);
}

static void vec_build_q_gather_args(vec_run *c, void *args)
{
    q_gather_args *a = (q_gather_args *)args;
    a->rows = vec_count(c);
    a->k = vec_u32(c);
    a->layout = vec_u32(c);
    a->scale = (q_real)vec_f64(c);
    a->weights = vec_needed(c, VEC_WEIGHTS);
    a->weights_stride = vec_stride(c, VEC_WEIGHTS);
    a->ids = (const int32_t *)vec_optional(c, VEC_IDS);
    a->out = (q_real *)vec_needed(c, VEC_Y);
    a->out_stride = vec_stride(c, VEC_Y);
}

static void vec_build_q_quantize_a8_args(vec_run *c, void *args)
{
    q_quantize_a8_args *a = (q_quantize_a8_args *)args;
    a->rows = vec_count(c);
    a->k = vec_u32(c);
    a->x = (const q_real *)vec_needed(c, VEC_X);
    a->x_stride = vec_stride(c, VEC_X);
    a->out = vec_needed(c, VEC_Y);
    a->out_stride = vec_stride(c, VEC_Y);
    a->planes = vec_planes(c, VEC_Y);
    a->reserved = 0;
}

static void vec_build_q_rmsnorm_args(vec_run *c, void *args)
{
    q_rmsnorm_args *a = (q_rmsnorm_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->eps = (q_real)vec_f64(c);
    a->offset = (q_real)vec_f64(c);
    a->x = (const q_real *)vec_or_output(c, VEC_X);
    a->x_stride = vec_stride_or_output(c, VEC_X);
    a->sum = vec_norm_sum(c);
    a->weight = (const q_real *)vec_needed(c, VEC_WEIGHTS);
    a->y = (q_real *)vec_needed(c, VEC_Y);
    a->y_stride = vec_stride(c, VEC_Y);
}

static void vec_build_q_binary_args(vec_run *c, void *args)
{
    q_binary_args *a = (q_binary_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->a = (const q_real *)vec_or_output(c, VEC_A);
    a->a_stride = vec_stride_or_output(c, VEC_A);
    a->b = (const q_real *)vec_or_output(c, VEC_B);
    a->b_stride = vec_stride_or_output(c, VEC_B);
    a->out = (q_real *)vec_needed(c, VEC_Y);
    a->out_stride = vec_stride(c, VEC_Y);
}

static void vec_build_q_unary_args(vec_run *c, void *args)
{
    q_unary_args *a = (q_unary_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->x = (const q_real *)vec_or_output(c, VEC_X);
    a->x_stride = vec_stride_or_output(c, VEC_X);
    a->out = (q_real *)vec_needed(c, VEC_Y);
    a->out_stride = vec_stride(c, VEC_Y);
}

static void vec_build_q_softmax_args(vec_run *c, void *args)
{
    q_softmax_args *a = (q_softmax_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->scale = (q_real)vec_f64(c);
    a->x = (const q_real *)vec_or_output(c, VEC_X);
    a->x_stride = vec_stride_or_output(c, VEC_X);
    a->out = (q_real *)vec_needed(c, VEC_Y);
    a->out_stride = vec_stride(c, VEC_Y);
}

static void vec_build_q_causal_mask_args(vec_run *c, void *args)
{
    q_causal_mask_args *a = (q_causal_mask_args *)args;
    a->rows = vec_count(c);
    a->cols = vec_u32(c);
    a->reserved = 0;
    a->x = (q_real *)vec_needed(c, VEC_Y);
    a->x_stride = vec_stride(c, VEC_Y);
}

static void vec_build_q_reduce_args(vec_run *c, void *args)
{
    q_reduce_args *a = (q_reduce_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->x = (const q_real *)vec_needed(c, VEC_X);
    a->x_stride = vec_stride(c, VEC_X);
    a->out = (q_real *)vec_needed(c, VEC_Y);
}

static void vec_build_q_select_rows_args(vec_run *c, void *args)
{
    q_select_rows_args *a = (q_select_rows_args *)args;
    a->dim = vec_u32(c);
    a->reserved = 0;
    a->x = (const q_real *)vec_needed(c, VEC_X);
    a->x_stride = vec_stride(c, VEC_X);
    a->out = (q_real *)vec_needed(c, VEC_Y);
    a->out_stride = vec_stride(c, VEC_Y);
}

static void vec_build_q_rope_table_args(vec_run *c, void *args)
{
    q_rope_table_args *a = (q_rope_table_args *)args;
    a->rows = vec_count(c);
    a->n_pairs = vec_u32(c);
    a->magnitude = vec_f64(c);
    a->inv_freq = (const double *)vec_needed(c, VEC_INV_FREQ);
    a->table = (q_real *)vec_needed(c, VEC_Y);
    a->table_stride = vec_stride(c, VEC_Y);
}

static void vec_build_q_rope_args(vec_run *c, void *args)
{
    q_rope_args *a = (q_rope_args *)args;
    a->rows = vec_count(c);
    a->heads = vec_u32(c);
    a->head_dim = vec_u32(c);
    a->n_pairs = vec_u32(c);
    a->x = (const q_real *)vec_or_output(c, VEC_X);
    a->x_stride = vec_stride_or_output(c, VEC_X);
    a->table = (const q_real *)vec_needed(c, VEC_TABLE);
    a->table_stride = vec_stride(c, VEC_TABLE);
    a->out = (q_real *)vec_needed(c, VEC_Y);
    a->out_stride = vec_stride(c, VEC_Y);
}

static void vec_build_q_kv_store_args(vec_run *c, void *args)
{
    q_kv_store_args *a = (q_kv_store_args *)args;
    a->rows = vec_count(c);
    a->kv_heads = vec_u32(c);
    a->head_dim = vec_u32(c);
    a->capacity = vec_u32(c);
    a->k = (const q_real *)vec_needed(c, VEC_K);
    a->k_stride = vec_stride(c, VEC_K);
    a->v = (const q_real *)vec_needed(c, VEC_V);
    a->v_stride = vec_stride(c, VEC_V);
    a->k_cache = vec_needed(c, VEC_K_CACHE);
    a->v_cache = vec_needed(c, VEC_V_CACHE);
    a->sequence_stride = vec_stride(c, VEC_K_CACHE);
    a->per_sample = vec_u32_or(c, 0);
    a->reserved = 0;
}

static void vec_build_q_attention_args(vec_run *c, void *args)
{
    q_attention_args *a = (q_attention_args *)args;
    a->rows = vec_count(c);
    a->heads = vec_u32(c);
    a->kv_heads = vec_u32(c);
    a->head_dim = vec_u32(c);
    a->capacity = vec_u32(c);
    a->window = vec_u32(c);
    a->scale = (q_real)vec_f64(c);
    a->softcap = (q_real)vec_f64(c);
    a->q = (const q_real *)vec_needed(c, VEC_Q);
    a->q_stride = vec_stride(c, VEC_Q);
    a->k_cache = vec_needed(c, VEC_K_CACHE);
    a->v_cache = vec_needed(c, VEC_V_CACHE);
    a->sequence_stride = vec_stride(c, VEC_K_CACHE);
    a->out = (q_real *)vec_needed(c, VEC_Y);
    a->out_stride = vec_stride(c, VEC_Y);
    a->lse = (q_real *)vec_optional(c, VEC_LSE);
    a->full = vec_u32_or(c, 0);
    a->per_sample = vec_u32_or(c, 0);
    a->lengths = (const int32_t *)vec_optional(c, VEC_IDS);
}

#define Q_KERNEL(slot, args)                                                                    \
    static bool vec_call_##slot(const q_backend *b, const q_work *w, const void *a)             \
    {                                                                                           \
        if (b->kernels.slot == NULL) {                                                          \
            return false;                                                                       \
        }                                                                                       \
        b->kernels.slot(w, (const args *)a);                                                    \
        return true;                                                                            \
    }                                                                                           \
    Q_STATIC_ASSERT(sizeof(args) <= sizeof(vec_args), #args " has no place in vec_args");
#include "qorus/kernels.inc"
#undef Q_KERNEL

const vec_driver vec_drivers[Q_VECTORS_KERNELS] = {
#define Q_KERNEL(slot, args) {#slot, vec_build_##args, vec_call_##slot},
#include "qorus/kernels.inc"
#undef Q_KERNEL
};
