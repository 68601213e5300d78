/* SPDX-License-Identifier: MIT */
/* The test's own classes: worker 0 alone, rows ascending. */
#include "own_layers.h"

#include <string.h>

#include "qorus/base/elementary.h"

static q_real *row_of(const q_tensor *t, uint32_t r)
{
    return (q_real *)(void *)((uint8_t *)t->data + (size_t)r * t->nb[2]);
}

static void put(const q_layer *layer, q_real *to, q_real value)
{
    *to = (layer->accumulate & 1u) != 0 ? *to + value : value;
}

/* ---- Cross-entropy ---------------------------------------------------------------------------------------- */

static q_error_code cross_entropy_shape(const q_node_info *info, q_diag *diag)
{
    (void)diag;
    for (uint32_t i = 0; i < 2; i++) {
        info->out[i].dtype = Q_REAL;
        for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
            info->out[i].dim[d].n = d == 3 ? i + 1 : 1;
            info->out[i].dim[d].sym = Q_SYM_ONE;
        }
    }
    return Q_OK;
}

/* log of the sum of exponentials, taken apart: the largest logit, and the log of the sum below it. */
static q_real log_sum(const q_real *x, uint32_t n, q_real *top)
{
    q_real sum = 0;
    *top = x[0];
    for (uint32_t i = 1; i < n; i++) {
        *top = x[i] > *top ? x[i] : *top;
    }
    for (uint32_t i = 0; i < n; i++) {
        sum += q_exp(x[i] - *top);
    }
    return q_log(sum);
}

static q_error_code cross_entropy_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const int32_t *labels = (const int32_t *)layer->in[1]->data;
    uint32_t classes = layer->in[0]->ne[3];
    q_real *out = (q_real *)layer->out[0]->data;
    q_real *count = (q_real *)layer->out[1]->data;
    (void)stage;
    out[0] = count[0] = count[1] = 0;
    for (uint32_t r = 0; r < q_count_value(work->run, layer->in_rows[0]); r++) {
        const q_real *x = row_of(layer->in[0], r);
        q_real top;
        q_real log;
        if ((uint32_t)labels[r] >= classes) {
            continue;
        }
        log = log_sum(x, classes, &top);
        out[0] += log + (top - x[labels[r]]);
        count[0] += 1;
    }
    return Q_OK;
}

static q_error_code cross_entropy_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const int32_t *labels = (const int32_t *)layer->in[1]->data;
    uint32_t classes = layer->in[0]->ne[3];
    q_real dy = *(const q_real *)layer->grad_out[0]->data;
    (void)stage;
    for (uint32_t r = 0; r < q_count_value(work->run, layer->in_rows[0]); r++) {
        const q_real *x = row_of(layer->in[0], r);
        q_real *to = row_of(layer->grad_in[0], r);
        q_real top;
        q_real log = log_sum(x, classes, &top);
        for (uint32_t i = 0; i < classes; i++) {
            q_real p = q_exp(x[i] - top - log) - ((uint32_t)labels[r] == i ? (q_real)1 : 0);
            put(layer, &to[i], (uint32_t)labels[r] >= classes ? 0 : p * dy);
        }
    }
    return Q_OK;
}

const q_layer_class own_cross_entropy = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_USER + 1,
    .name = "own_cross_entropy",
    .min_in = 2,
    .max_in = 2,
    .n_out = 2,
    .forward_stages = 1,
    .backward_stages = 1,
    .saves = 3,
    .shape = cross_entropy_shape,
    .forward = cross_entropy_forward,
    .backward = cross_entropy_backward,
};

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
    .id = Q_LAYER_USER + 2,
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
