/* SPDX-License-Identifier: MIT */
/* The test's own classes: worker 0 alone, rows ascending. */
#include "own_layers.h"

#include <string.h>

static q_real *row_of(const q_tensor *t, uint32_t r)
{
    return (q_real *)(void *)((uint8_t *)t->data + (size_t)r * t->nb[2]);
}

static void put(const q_layer *layer, q_real *to, q_real value)
{
    *to = (layer->accumulate & 1u) != 0 ? *to + value : value;
}

/* ---- Flatten ---------------------------------------------------------------------------------------------- */

static q_error_code flatten_shape(const q_node_info *info, q_diag *diag)
{
    const q_count *dim = info->in[0].dim;
    (void)diag;
    info->out[0] = info->in[0];
    info->out[0].dim[1].n = info->out[0].dim[2].n = 1;
    info->out[0].dim[3].n = dim[1].n * dim[2].n * dim[3].n;
    return Q_OK;
}

static q_error_code flatten_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    uint32_t columns = layer->in[0]->ne[3];
    uint32_t pixels = layer->in[0]->ne[1] * layer->in[0]->ne[2];
    (void)stage;
    for (uint32_t r = 0; r < q_count_value(work->run, layer->in_rows[0]); r++) {
        memcpy(row_of(layer->out[0], r / pixels) + (size_t)(r % pixels) * columns, row_of(layer->in[0], r),
               columns * sizeof(q_real));
    }
    return Q_OK;
}

static q_error_code flatten_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    uint32_t columns = layer->in[0]->ne[3];
    uint32_t pixels = layer->in[0]->ne[1] * layer->in[0]->ne[2];
    (void)stage;
    for (uint32_t r = 0; r < q_count_value(work->run, layer->in_rows[0]); r++) {
        const q_real *from = row_of(layer->grad_out[0], r / pixels) + (size_t)(r % pixels) * columns;
        for (uint32_t i = 0; i < columns; i++) {
            put(layer, &row_of(layer->grad_in[0], r)[i], from[i]);
        }
    }
    return Q_OK;
}

const q_layer_class own_flatten = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_USER + 1,
    .name = "own_flatten",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .forward_stages = 1,
    .backward_stages = 1,
    .shape = flatten_shape,
    .forward = flatten_forward,
    .backward = flatten_backward,
};
