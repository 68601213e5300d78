/* SPDX-License-Identifier: MIT */
/*
 * drive.c: builds the arguments of each kernel from a case and calls it.
 *
 * One builder per argument struct; the table of kernels comes from kernels.inc, so a kernel whose arguments
 * have no builder does not compile. Scalars are taken in the order listed in vectors/README.md.
 */
#include "qvec.h"

uint32_t vec_find(const vec_run *c, vec_role role)
{
    uint32_t i = 0;
    while (i < c->head->n_tensors && c->tensors[i].role != (uint32_t)role) {
        i++;
    }
    return i;
}

/* Address of a tensor; NULL if the case has none. Kernels take inputs by const pointer. */
static void *vec_optional(const vec_run *c, vec_role role)
{
    uint32_t i = vec_find(c, role);
    if (i == c->head->n_tensors) {
        return NULL;
    }
    if (c->at[i] != NULL) {
        return c->at[i];
    }
    return (void *)((uintptr_t)c->head + c->tensors[i].data);
}

static void *vec_needed(vec_run *c, vec_role role)
{
    void *p = vec_optional(c, role);
    c->bad = c->bad || p == NULL;
    return p;
}

/* Address of an input that may be the output itself: computing in place. */
static void *vec_or_output(vec_run *c, vec_role role)
{
    void *p = vec_optional(c, role);
    return p != NULL ? p : vec_needed(c, VEC_Y);
}

static size_t vec_stride(const vec_run *c, vec_role role)
{
    uint32_t i = vec_find(c, role);
    return i == c->head->n_tensors ? 0 : c->tensors[i].stride;
}

/* Planes of a tensor of 8-bit activations. */
static uint32_t vec_planes(const vec_run *c, vec_role role)
{
    uint32_t i = vec_find(c, role);
    return i != c->head->n_tensors && c->tensors[i].dtype == Q_A8X2 ? 2 : 1;
}

static size_t vec_stride_or_output(const vec_run *c, vec_role role)
{
    return vec_find(c, role) == c->head->n_tensors ? vec_stride(c, VEC_Y) : vec_stride(c, role);
}

static double vec_f64(vec_run *c)
{
    if (c->next_scalar == c->head->n_scalars) {
        c->bad = true;
        return 0.0;
    }
    return c->scalars[c->next_scalar++];
}

static uint32_t vec_u32(vec_run *c)
{
    double v = vec_f64(c);
    if (!(v >= 0.0 && v <= 4294967295.0)) {
        c->bad = true;
        return 0;
    }
    return (uint32_t)v;
}

static q_count vec_count(vec_run *c)
{
    q_count count;
    count.n = vec_u32(c);
    count.sym = vec_u32(c);
    return count;
}

static q_epilogue vec_epilogue(vec_run *c)
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
}

static void vec_build_q_mse_args(vec_run *c, void *args)
{
    q_mse_args *a = (q_mse_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->x = (const q_real *)vec_needed(c, VEC_X);
    a->x_stride = vec_stride(c, VEC_X);
    a->target = (const q_real *)vec_needed(c, VEC_TARGET);
    a->target_stride = vec_stride(c, VEC_TARGET);
    a->loss = (q_real *)vec_needed(c, VEC_LOSS);
    a->grad = (q_real *)vec_optional(c, VEC_GRAD);
    a->grad_stride = vec_stride(c, VEC_GRAD);
}

static void vec_build_q_bias_grad_args(vec_run *c, void *args)
{
    q_bias_grad_args *a = (q_bias_grad_args *)args;
    a->rows = vec_count(c);
    a->dim = vec_u32(c);
    a->accumulate = vec_u32(c);
    a->reserved = 0;
    a->dy = (const q_real *)vec_needed(c, VEC_DY);
    a->dy_stride = vec_stride(c, VEC_DY);
    a->grad = (q_real *)vec_needed(c, VEC_GRAD);
}

static void vec_build_q_sgd_args(vec_run *c, void *args)
{
    q_sgd_args *a = (q_sgd_args *)args;
    a->n = vec_u32(c);
    a->grad_scale = vec_f64(c);
    a->w = (q_real *)vec_needed(c, VEC_Y);
    a->grad = (const q_real *)vec_needed(c, VEC_GRAD);
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
