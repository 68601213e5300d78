/* SPDX-License-Identifier: MIT */
/* drive.h: what builders of arguments share: a case's tensors by role, its scalars in order. */
#ifndef QORUS_TEST_VECTORS_DRIVE_H
#define QORUS_TEST_VECTORS_DRIVE_H

#include "qvec.h"

/* Address of a tensor; NULL if the case has none. Kernels take inputs by const pointer. */
static inline void *vec_optional(const vec_run *c, vec_role role)
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

static inline void *vec_needed(vec_run *c, vec_role role)
{
    void *p = vec_optional(c, role);
    c->bad = c->bad || p == NULL;
    return p;
}

/* Address of an input that may be the output itself: computing in place. */
static inline void *vec_or_output(vec_run *c, vec_role role)
{
    void *p = vec_optional(c, role);
    return p != NULL ? p : vec_needed(c, VEC_Y);
}

static inline size_t vec_stride(const vec_run *c, vec_role role)
{
    uint32_t i = vec_find(c, role);
    return i == c->head->n_tensors ? 0 : c->tensors[i].stride;
}

/* Planes of a tensor of 8-bit activations. */
static inline uint32_t vec_planes(const vec_run *c, vec_role role)
{
    uint32_t i = vec_find(c, role);
    return i != c->head->n_tensors && c->tensors[i].dtype == Q_A8X2 ? 2 : 1;
}

static inline size_t vec_stride_or_output(const vec_run *c, vec_role role)
{
    return vec_find(c, role) == c->head->n_tensors ? vec_stride(c, VEC_Y) : vec_stride(c, role);
}

static inline double vec_f64(vec_run *c)
{
    if (c->next_scalar == c->head->n_scalars) {
        c->bad = true;
        return 0.0;
    }
    return c->scalars[c->next_scalar++];
}

static inline uint32_t vec_u32(vec_run *c)
{
    double v = vec_f64(c);
    if (!(v >= 0.0 && v <= 4294967295.0)) {
        c->bad = true;
        return 0;
    }
    return (uint32_t)v;
}

/* The next scalar; `otherwise` where the case has no more. */
static inline uint32_t vec_u32_or(vec_run *c, uint32_t otherwise)
{
    return c->next_scalar == c->head->n_scalars ? otherwise : vec_u32(c);
}

static inline q_count vec_count(vec_run *c)
{
    q_count count;
    count.n = vec_u32(c);
    count.sym = vec_u32(c);
    return count;
}

/* Builders of the arguments of recurrent layers (drive_recurrent.c). */
void vec_build_q_cell_args(vec_run *c, void *args);
void vec_build_q_cell_grad_args(vec_run *c, void *args);

/* What happens to a product, with the activation as next scalar. */
q_epilogue vec_epilogue(vec_run *c);

/* Builders of the arguments of kernels of images (drive_image.c). */
void vec_build_q_conv2d_args(vec_run *c, void *args);
void vec_build_q_conv2d_grad_input_args(vec_run *c, void *args);
void vec_build_q_conv2d_grad_weight_args(vec_run *c, void *args);
void vec_build_q_pool2d_args(vec_run *c, void *args);
void vec_build_q_pool2d_grad_args(vec_run *c, void *args);

/* Builders of the arguments of norms (drive_norm.c). */
void vec_build_q_layernorm_args(vec_run *c, void *args);
void vec_build_q_layernorm_grad_args(vec_run *c, void *args);
void vec_build_q_layernorm_grad_param_args(vec_run *c, void *args);
void vec_build_q_batchnorm_blocks_args(vec_run *c, void *args);
void vec_build_q_batchnorm_join_args(vec_run *c, void *args);
void vec_build_q_batchnorm_fold_args(vec_run *c, void *args);
void vec_build_q_batchnorm_args(vec_run *c, void *args);
void vec_build_q_batchnorm_grad_args(vec_run *c, void *args);

/* Of a norm that makes its x: without a that is x itself. */
static inline q_norm_sum vec_norm_sum(vec_run *c)
{
    q_norm_sum sum = {NULL, 0, NULL, 0, NULL};
    if (vec_optional(c, VEC_B) != NULL) {
        vec_role a = vec_optional(c, VEC_A) != NULL ? VEC_A : VEC_X;
        sum.x = (q_real *)vec_needed(c, VEC_X);
        sum.a = (const q_real *)vec_needed(c, a);
        sum.a_stride = vec_stride(c, a);
        sum.b = (const q_real *)vec_needed(c, VEC_B);
        sum.b_stride = vec_stride(c, VEC_B);
    }
    return sum;
}

static inline q_norm_pass vec_norm_pass(vec_run *c, uint32_t accumulate)
{
    q_norm_pass pass = {{NULL, NULL}, {0, 0}, accumulate, 0};
    pass.to[0] = (q_real *)vec_optional(c, VEC_DA);
    pass.to[1] = (q_real *)vec_optional(c, VEC_DB);
    pass.stride[0] = vec_stride(c, VEC_DA);
    pass.stride[1] = vec_stride(c, VEC_DB);
    return pass;
}

/* Builders of the arguments of activations, losses and dropout (drive_element.c). */
void vec_build_q_activate_args(vec_run *c, void *args);
void vec_build_q_activate_grad_args(vec_run *c, void *args);
void vec_build_q_scale_args(vec_run *c, void *args);
void vec_build_q_dropout_args(vec_run *c, void *args);
void vec_build_q_round_args(vec_run *c, void *args);
void vec_build_q_pair_loss_args(vec_run *c, void *args);
void vec_build_q_cross_entropy_args(vec_run *c, void *args);

/* Builders of the arguments of training kernels (drive_train.c). */
void vec_build_q_mse_args(vec_run *c, void *args);
void vec_build_q_bias_grad_args(vec_run *c, void *args);
void vec_build_q_optimizer_args(vec_run *c, void *args);
void vec_build_q_sum_squares_args(vec_run *c, void *args);
void vec_build_q_rescale_args(vec_run *c, void *args);
void vec_build_q_average_args(vec_run *c, void *args);
void vec_build_q_gemm_grad_args(vec_run *c, void *args);
void vec_build_q_embedding_grad_args(vec_run *c, void *args);
void vec_build_q_select_rows_grad_args(vec_run *c, void *args);
void vec_build_q_rmsnorm_grad_args(vec_run *c, void *args);
void vec_build_q_binary_grad_args(vec_run *c, void *args);
void vec_build_q_softmax_grad_args(vec_run *c, void *args);
void vec_build_q_rope_grad_args(vec_run *c, void *args);
void vec_build_q_attention_grad_args(vec_run *c, void *args);

#endif /* QORUS_TEST_VECTORS_DRIVE_H */
