/* SPDX-License-Identifier: MIT */
/* layers.h: what the layer classes share; private to core/layers. */
#ifndef QORUS_CORE_LAYERS_LAYERS_H
#define QORUS_CORE_LAYERS_LAYERS_H

#include "../core.h"

/* True if a and b are equal in every dimension. */
bool q_dims_equal(const q_value_type *a, const q_value_type *b);

/* True for [1, 1, tokens, columns]: row r is token r of the step. */
bool q_rows_are_tokens(const q_value_type *t);

/* True for [batch, 1, T, columns]: every sample of the batch is T rows. */
bool q_rows_are_samples(const q_value_type *t);

/* Rows of a value at the plan's maxima; SIZE_MAX where they are more than a size can say. */
size_t q_rows_at_most(const q_value_type *t, const q_maxima *max);

/* a*b, or SIZE_MAX. */
size_t q_bytes_at_most(size_t a, size_t b);

/* out[0] = a real value with the dimensions of `like`, but `columns` columns. */
void q_shape_like(const q_node_info *info, const q_value_type *like, uint32_t columns);

/* Input i must be real with a constant column count. */
q_error_code q_expect_real(const q_node_info *info, uint32_t i, q_diag *diag);

/* Parameter i must be a plain vector of n reals (F32 in files). */
q_error_code q_expect_vector(const q_node_info *info, uint32_t i, uint32_t n, q_diag *diag);

enum {
    Q_MAX_IMAGE_SIDE = 1 << 28 /* pixels: places in a padded image then fit 31 bits */
};

/* Input i must be images of reals, [any, height, width, channels] with constant height and width. */
q_error_code q_expect_image(const q_node_info *info, uint32_t i, q_diag *diag);

/* How many windows fit one axis of an image. Errors name `field`, of the config: a kernel, dilation or stride of 0, a
   kernel beyond the padded image. */
q_error_code q_window_count(uint32_t size, uint32_t pad, uint32_t kernel, uint32_t dilation, uint32_t stride,
                            const char *field, uint32_t *count, q_diag *diag);

/* A float of a config must be finite and at least `low`. */
q_error_code q_expect_finite(double value, double low, const char *field, q_diag *diag);

/* For a norm that makes the sum it reads (q_layer.addend), and hands the gradient of that on; else nothing. */
q_norm_sum q_sum_of_addends(const q_layer *layer);
q_norm_pass q_pass_to_addends(const q_layer *layer);

/* Hands the gradient of output 0 on as it is: to = grad_out[0], or to + grad_out[0], element for element; the two may
   differ in their dimensions. Shared by all workers. */
void q_pass_gradient(const q_layer *layer, const q_work *work, const q_tensor *to, bool accumulate);

/* Adds to the gradient of parameter i, a vector that goes to every row of output 0; nothing where there is none or it is
   frozen. Shared by all workers. */
void q_bias_gradient(const q_layer *layer, const q_work *work, uint32_t i);

/* Output 0 = input 0 as it is, element for element; nothing where a plan gave them one memory. Shared by all workers. */
void q_pass_input(const q_layer *layer, const q_work *work);

/* Data of a tensor as reals. */
static inline q_real *q_reals(const q_tensor *t)
{
    return (q_real *)t->data;
}

/* True if gradient i has to be added to what is there. */
static inline uint32_t q_accumulates(const q_layer *layer, uint32_t i)
{
    return layer->accumulate >> i & 1u;
}

/* Attention: rows of each sample that count, or NULL where all do. */
const int32_t *q_attention_counted(const q_layer *layer);
/* Backward of attention (attention_grad.c). */
q_error_code q_attention_backward(const q_layer *layer, const q_work *work, uint32_t stage);

#endif /* QORUS_CORE_LAYERS_LAYERS_H */
