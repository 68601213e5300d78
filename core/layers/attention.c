/* SPDX-License-Identifier: MIT */
/*
 * Causal multi-head attention with grouped keys and values (GQA, Ainslie et al. 2023, arXiv:2305.13245) over a KV
 * cache that is the layer's state.
 *
 *   q [tokens, heads*head_dim]; k, v [tokens, kv_heads*head_dim]; out as q
 *   state of a sequence: the heads of K, then those of V, as q_kv_store_args has them, in q_layer.kv_dtype;
 *   capacity = max.kv rounded up to 64
 *
 * Stage 0 stores the step's keys and values, stage 1 attends.
 */
#include "layers.h"

#include "qorus/base/kv.h"

static uint32_t kv_capacity(const q_maxima *max)
{
    return (max->kv + Q_KV_ROUND - 1) / Q_KV_ROUND * Q_KV_ROUND;
}

static q_error_code attention_config_check(const q_attention_config *c, uint32_t kv_dtype, q_diag *diag)
{
    if (c->heads == 0 || c->heads > Q_CAP_HEADS) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.heads", Q_CAP_HEADS, c->heads);
    }
    if (c->kv_heads == 0 || c->heads % c->kv_heads != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.kv_heads", c->heads, c->kv_heads);
    }
    if (c->head_dim == 0 || c->head_dim % 8 != 0 || c->head_dim > Q_CAP_HEAD_DIM) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.head_dim", Q_CAP_HEAD_DIM, c->head_dim);
    }
    if (!q_kv_fits(kv_dtype, c->head_dim)) {
        return q_fail(diag, Q_ERR_UNSUPPORTED, "", "config.head_dim (of a Q8_0 cache)", Q_BLOCK, c->head_dim);
    }
    if (!(c->scale > 0) || !(c->scale - c->scale == 0)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.scale", 0, 0);
    }
    return q_expect_finite((double)c->softcap, 0, "config.softcap", diag);
}

static q_error_code attention_shape(const q_node_info *info, q_diag *diag)
{
    const q_attention_config *c = (const q_attention_config *)info->config;
    q_error_code e = attention_config_check(c, info->kv_dtype, diag);
    if (e != Q_OK) {
        return e;
    }
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t heads = i == 0 ? c->heads : c->kv_heads;
        e = q_expect_real(info, i, diag);
        if (e != Q_OK) {
            return e;
        }
        if (info->in[i].dim[3].n != heads * c->head_dim || !q_rows_are_tokens(&info->in[i])) {
            return q_fail(diag, Q_ERR_INVALID_SHAPE, "", i == 0 ? "q" : i == 1 ? "k" : "v", heads * c->head_dim,
                          info->in[i].dim[3].n);
        }
    }
    if (info->max.kv < info->max.tokens) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "max.kv", info->max.tokens, info->max.kv);
    }
    q_shape_like(info, &info->in[0], info->in[0].dim[3].n);
    return Q_OK;
}

/* Heads, dimensions and capacity have hard caps, 2^10 * 2^10 * 2^24 * 16 bytes fit 64 bits; a 32-bit target cuts
   at the largest size so that the plan fails with an overflow instead of wrapping. */
static void attention_sizes(const q_node_info *info, q_layer_sizes *out)
{
    const q_attention_config *c = (const q_attention_config *)info->config;
    uint64_t bytes = 2u * c->kv_heads * q_kv_head_bytes(info->kv_dtype, kv_capacity(&info->max), c->head_dim);
    out->state = bytes > SIZE_MAX - Q_ALIGN ? SIZE_MAX : (size_t)bytes;
}

static void store(const q_layer *layer, const q_work *work, uint8_t *k_cache, uint8_t *v_cache)
{
    const q_attention_config *c = (const q_attention_config *)layer->config;
    q_kv_store_args a;
    memset(&a, 0, sizeof(a));
    a.rows = layer->in_rows[1];
    a.kv_heads = c->kv_heads;
    a.head_dim = c->head_dim;
    a.capacity = kv_capacity(&layer->max);
    a.k = q_reals(layer->in[1]);
    a.k_stride = layer->in[1]->nb[2];
    a.v = q_reals(layer->in[2]);
    a.v_stride = layer->in[2]->nb[2];
    a.k_cache = k_cache;
    a.v_cache = v_cache;
    a.sequence_stride = layer->state_stride;
    (layer->kv_dtype == Q_Q8_0  ? layer->kernels->kv_store_q8_0
     : layer->kv_dtype == Q_F16 ? layer->kernels->kv_store_f16
                                : layer->kernels->kv_store_f32)(work, &a);
}

static void attend(const q_layer *layer, const q_work *work, const uint8_t *k_cache, const uint8_t *v_cache)
{
    const q_attention_config *c = (const q_attention_config *)layer->config;
    q_attention_args a;
    memset(&a, 0, sizeof(a));
    a.rows = layer->out_rows[0];
    a.heads = c->heads;
    a.kv_heads = c->kv_heads;
    a.head_dim = c->head_dim;
    a.capacity = kv_capacity(&layer->max);
    a.window = c->window;
    a.scale = (q_real)c->scale;
    a.softcap = (q_real)c->softcap;
    a.q = q_reals(layer->in[0]);
    a.q_stride = layer->in[0]->nb[2];
    a.k_cache = k_cache;
    a.v_cache = v_cache;
    a.sequence_stride = layer->state_stride;
    a.out = q_reals(layer->out[0]);
    a.out_stride = layer->out[0]->nb[2];
    (layer->kv_dtype == Q_Q8_0  ? layer->kernels->attention_q8_0
     : layer->kv_dtype == Q_F16 ? layer->kernels->attention_f16
                                : layer->kernels->attention_f32)(work, &a);
}

static q_error_code attention_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    const q_attention_config *c = (const q_attention_config *)layer->config;
    size_t half = c->kv_heads * (size_t)q_kv_head_bytes(layer->kv_dtype, kv_capacity(&layer->max), c->head_dim);
    uint8_t *k_cache = (uint8_t *)layer->state;
    if (stage == 0) {
        store(layer, work, k_cache, k_cache + half);
    } else {
        attend(layer, work, k_cache, k_cache + half);
    }
    return Q_OK;
}

/* A strip is the cache of one head of keys or values, which lie in groups of positions. */
static void attention_extent(const q_layer *layer, uint32_t position, q_state_extent *out)
{
    const q_attention_config *c = (const q_attention_config *)layer->config;
    out->n = 2u * c->kv_heads;
    out->strip = (size_t)q_kv_head_bytes(layer->kv_dtype, kv_capacity(&layer->max), c->head_dim);
    out->used = (size_t)q_kv_group_bytes(layer->kv_dtype, c->head_dim) * ((position + Q_KV_GROUP - 1) / Q_KV_GROUP);
}

const q_layer_class q_layer_attention = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_ATTENTION,
    .name = "attention",
    .config_size = sizeof(q_attention_config),
    .config_version = 1,
    .min_in = 3,
    .max_in = 3,
    .n_out = 1,
    .forward_stages = 2,
    .flags = Q_LAYER_SHARED | Q_LAYER_STATEFUL | Q_LAYER_REWINDS | Q_LAYER_SEQUENCES | Q_LAYER_DEVICE,
    .shape = attention_shape,
    .sizes = attention_sizes,
    .forward = attention_forward,
    .extent = attention_extent,
};
