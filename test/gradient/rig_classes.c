/* SPDX-License-Identifier: MIT */
/* The two classes of the rig: a source that turns a parameter into an input, and a probe that turns values into one
   number. Both are callers' classes, made of what layer.h offers. */
#include <string.h>

#include "rig_inner.h"

rig_window rig_at;

/* First row of this micro-batch among all rows of the case. */
static uint32_t first_row(q_count rows)
{
    switch (rows.sym) {
    case Q_SYM_BATCH:
        return rows.n * rig_at.sample;
    case Q_SYM_TOKENS:
    case Q_SYM_ROWS:
    case Q_SYM_SELECTED:
        return rows.n * rig_at.token;
    default:
        return 0;
    }
}

static q_real *row_of(const q_tensor *t, uint32_t r)
{
    return (q_real *)(void *)((uint8_t *)t->data + (size_t)r * t->nb[2]);
}

/* ---- Source ----------------------------------------------------------------------------------------------- */

static q_error_code source_shape(const q_node_info *info, q_diag *diag)
{
    const rig_source_config *c = (const rig_source_config *)info->config;
    (void)diag;
    info->out[0].dtype = Q_REAL;
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        info->out[0].dim[i].n = c->n[i];
        info->out[0].dim[i].sym = c->sym[i];
    }
    return Q_OK;
}

static q_error_code source_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    uint32_t rows = q_count_value(work->run, layer->out_rows[0]);
    uint32_t first = first_row(layer->out_rows[0]);
    (void)stage;
    for (uint32_t r = 0; r < rows; r++) {
        memcpy(row_of(layer->out[0], r), row_of(layer->param[0], first + r), layer->out[0]->ne[3] * sizeof(q_real));
    }
    return Q_OK;
}

static q_error_code source_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    uint32_t rows = q_count_value(work->run, layer->out_rows[0]);
    uint32_t first = first_row(layer->out_rows[0]);
    (void)stage;
    for (uint32_t r = 0; r < rows && layer->grad_param[0] != NULL; r++) {
        const q_real *from = row_of(layer->grad_out[0], r);
        q_real *to = row_of(layer->grad_param[0], first + r);
        for (uint32_t i = 0; i < layer->out[0]->ne[3]; i++) {
            to[i] += from[i];
        }
    }
    return Q_OK;
}

const q_layer_class rig_source_class = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_USER + 1,
    .name = "rig_source",
    .config_size = sizeof(rig_source_config),
    .config_version = 1,
    .n_out = 1,
    .min_param = 1,
    .max_param = 1,
    .forward_stages = 1,
    .backward_stages = 1,
    .shape = source_shape,
    .forward = source_forward,
    .backward = source_backward,
};

/* ---- Probe ------------------------------------------------------------------------------------------------ */

/* Weight of an element: irregular, between -1 and 1, and never tiny. */
static q_real weight_of(uint32_t input, uint32_t row, uint32_t column)
{
    uint32_t h = (input * 2654435761u) ^ (row * 2246822519u + 374761393u) ^ (column * 3266489917u + 668265263u);
    h ^= h >> 15;
    h *= 2246822519u;
    h ^= h >> 13;
    return (q_real)((h & 1u) != 0 ? 1 : -1) * (q_real)(0.2 + 0.8 * (double)(h >> 8) / 16777216.0);
}

static q_error_code probe_shape(const q_node_info *info, q_diag *diag)
{
    (void)diag;
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        info->out[0].dim[d].n = 1;
        info->out[0].dim[d].sym = Q_SYM_ONE;
    }
    info->out[0].dtype = Q_REAL;
    return Q_OK;
}

static q_error_code probe_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_real sum = 0;
    (void)stage;
    for (uint32_t i = 0; i < layer->n_in; i++) {
        uint32_t rows = q_count_value(work->run, layer->in_rows[i]);
        uint32_t first = first_row(layer->in_rows[i]);
        for (uint32_t r = 0; r < rows; r++) {
            for (uint32_t c = 0; c < layer->in[i]->ne[3]; c++) {
                sum += weight_of(i, first + r, c) * row_of(layer->in[i], r)[c];
            }
        }
    }
    *(q_real *)layer->out[0]->data = sum;
    return Q_OK;
}

static q_error_code probe_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    q_real dy = *(const q_real *)layer->grad_out[0]->data;
    (void)stage;
    for (uint32_t i = 0; i < layer->n_in; i++) {
        uint32_t rows = q_count_value(work->run, layer->in_rows[i]);
        uint32_t first = first_row(layer->in_rows[i]);
        for (uint32_t r = 0; r < rows && layer->grad_in[i] != NULL; r++) {
            q_real *to = row_of(layer->grad_in[i], r);
            for (uint32_t c = 0; c < layer->in[i]->ne[3]; c++) {
                to[c] = weight_of(i, first + r, c) * dy + ((layer->accumulate >> i & 1u) != 0 ? to[c] : 0);
            }
        }
    }
    return Q_OK;
}

const q_layer_class rig_probe_class = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_USER + 2,
    .name = "rig_probe",
    .min_in = 1,
    .max_in = Q_MAX_INPUTS,
    .n_out = 1,
    .forward_stages = 1,
    .backward_stages = 1,
    .shape = probe_shape,
    .forward = probe_forward,
    .backward = probe_backward,
};
