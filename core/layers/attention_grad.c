/* SPDX-License-Identifier: MIT */
/*
 * Backward of attention, causal and full: from q, k, v, out and lse, as q_attention_grad_args has it. Keys and values come
 * from the inputs, not from the cache, so every span must be the whole of its sequence, and a cache of anything but reals
 * is refused.
 */
#include "layers.h"

static q_error_code attention_may_go_back(const q_layer *layer, const q_run *run, uint32_t per_sample)
{
    uint32_t rows = q_count_value(run, layer->in_rows[0]);
    if (per_sample != 0) {
        return Q_OK;
    }
    if (layer->type == Q_LAYER_ATTENTION && layer->kv_dtype != Q_REAL) {
        return Q_ERR_UNSUPPORTED;
    }
    for (uint32_t i = 0; i < q_span_count(run); i++) {
        if (q_span_at(run, rows, i).position != 0) {
            return Q_ERR_INVALID_STATE;
        }
    }
    return Q_OK;
}

static q_attention_grad_args attention_grad_args(const q_layer *layer, uint32_t per_sample)
{
    const q_attention_config *c = (const q_attention_config *)layer->config;
    q_attention_grad_args a;
    memset(&a, 0, sizeof(a));
    a.rows = layer->in_rows[0];
    a.heads = c->heads;
    a.kv_heads = c->kv_heads;
    a.head_dim = c->head_dim;
    a.window = c->window;
    a.full = layer->type == Q_LAYER_ATTENTION_FULL ? 1 : 0;
    a.per_sample = per_sample;
    a.accumulate = layer->accumulate & 7u;
    a.lengths = q_attention_counted(layer);
    a.scale = (q_real)c->scale;
    a.softcap = (q_real)c->softcap;
    a.q = q_reals(layer->in[0]);
    a.q_stride = layer->in[0]->nb[2];
    a.k = q_reals(layer->in[1]);
    a.k_stride = layer->in[1]->nb[2];
    a.v = q_reals(layer->in[2]);
    a.v_stride = layer->in[2]->nb[2];
    a.out = q_reals(layer->out[0]);
    a.out_stride = layer->out[0]->nb[2];
    a.dout = q_reals(layer->grad_out[0]);
    a.dout_stride = layer->grad_out[0]->nb[2];
    a.lse = (const q_real *)layer->saved;
    a.delta = (q_real *)layer->scratch;
    return a;
}

/* Gradients `which` (bit 0 q, 1 k, 2 v), as far as they are wanted. */
static void attention_grad_of(const q_layer *layer, const q_work *work, q_attention_grad_args a, uint32_t which)
{
    const q_tensor *const *grad = layer->grad_in;
    if ((which & 1u) != 0 && grad[0] != NULL) {
        a.dq = q_reals(grad[0]);
        a.dq_stride = grad[0]->nb[2];
    }
    if ((which & 2u) != 0 && grad[1] != NULL) {
        a.dk = q_reals(grad[1]);
        a.dk_stride = grad[1]->nb[2];
    }
    if ((which & 4u) != 0 && grad[2] != NULL) {
        a.dv = q_reals(grad[2]);
        a.dv_stride = grad[2]->nb[2];
    }
    if (a.dq != NULL || a.dk != NULL || a.dv != NULL) {
        layer->kernels->attention_grad(work, &a);
    }
}

/* One value as two of the inputs: its gradients follow one another. A worker's share is the same every time. */
q_error_code q_attention_backward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    uint32_t per_sample = layer->in_rows[0].sym == Q_SYM_BATCH ? layer->in_rows[0].n : 0;
    q_error_code e = attention_may_go_back(layer, work->run, per_sample);
    (void)stage;
    if (e == Q_OK) {
        q_attention_grad_args a = attention_grad_args(layer, per_sample);
        bool twice = layer->in[0] == layer->in[1] || layer->in[0] == layer->in[2] || layer->in[1] == layer->in[2];
        for (uint32_t i = 0; i < (twice ? 3u : 1u); i++) {
            attention_grad_of(layer, work, a, twice ? 1u << i : 7u);
        }
    }
    return e;
}
