/* SPDX-License-Identifier: MIT */
/* Datasets over plain memory: rows of arrays, windows of a text. */
#include "../core.h"
#include "qorus/train.h"

static size_t aligned(size_t n)
{
    return (n + Q_ALIGN - 1) / Q_ALIGN * Q_ALIGN;
}

size_t q_table_bytes(const q_table *table, uint32_t batch)
{
    size_t sum = 0;
    for (uint32_t k = 0; k < table->n_inputs; k++) {
        sum += aligned(table->bytes[k] * batch);
    }
    return sum;
}

static q_error_code table_load(void *user, const uint32_t *ids, uint32_t n, q_step *step)
{
    q_table *t = (q_table *)user;
    uint8_t *to = (uint8_t *)t->buffer;
    if (t->n_inputs > Q_TABLE_INPUTS || q_table_bytes(t, n) > t->size) {
        return Q_ERR_NO_SPACE;
    }
    for (uint32_t k = 0; k < t->n_inputs; k++) {
        t->inputs[k] = to;
        for (uint32_t i = 0; i < n; i++) {
            memcpy(to + i * t->bytes[k], (const uint8_t *)t->data[k] + ids[i] * t->bytes[k], t->bytes[k]);
        }
        to += aligned(t->bytes[k] * n);
    }
    step->n_batch = n;
    step->inputs = t->inputs;
    return Q_OK;
}

q_dataset q_table_dataset(q_table *table)
{
    q_dataset d = {sizeof(q_dataset), table->n, table_load, table};
    return d;
}

static q_error_code windows_load(void *user, const uint32_t *ids, uint32_t n, q_step *step)
{
    q_windows *w = (q_windows *)user;
    if (n > w->batch) {
        return Q_ERR_NO_SPACE;
    }
    for (uint32_t i = 0; i < n; i++) {
        const int32_t *from = w->text + (uint64_t)ids[i] * w->stride;
        memcpy(w->tokens + (size_t)i * w->window, from, w->window * sizeof(int32_t));
        memcpy(w->targets + (size_t)i * w->window, from + 1, w->window * sizeof(int32_t));
        w->spans[i].sequence = i;
        w->spans[i].n_tokens = w->window;
    }
    w->inputs[0] = w->tokens;
    w->inputs[1] = w->targets;
    step->inputs = w->inputs;
    step->n_tokens = n * w->window;
    step->n_spans = n;
    step->spans = w->spans;
    step->select = Q_SELECT_ALL;
    return Q_OK;
}

q_dataset q_windows_dataset(q_windows *windows)
{
    uint64_t n = windows->n > windows->window ? (windows->n - 1 - windows->window) / windows->stride + 1 : 0;
    q_dataset d = {sizeof(q_dataset), n < UINT32_MAX ? (uint32_t)n : UINT32_MAX, windows_load, windows};
    return d;
}
