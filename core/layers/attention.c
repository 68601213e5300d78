/* SPDX-License-Identifier: MIT */
/*
 * Multi-head attention with grouped keys and values (GQA, Ainslie et al. 2023, arXiv:2305.13245), causal or full.
 *
 *   q [rows, heads*head_dim]; k, v [rows, kv_heads*head_dim]; out as q
 *   of tokens: rows belong to sequences by the spans of the step; of samples [batch, 1, T, columns]: T rows each, of which,
 *   in full attention with lengths [batch] (I32), the first 1 .. T count: the others are padding, which no row sees and whose
 *   out is 0 (looking back, no row sees what is behind it anyway)
 *
 * Causal attention of tokens keeps the keys and values of every sequence as its state: the heads of K, then those of V, as
 * q_kv_store_args has them, in q_layer.kv_dtype; capacity = max.kv rounded up to 64. The others begin at position 0 and
 * keep the same, of reals, in scratch: capacity for T rows, or for max.kv (or max.tokens, if that is less or max.kv is 0)
 * of each sequence.
 *
 * Stage 0 stores the step's keys and values, stage 1 attends. saved: lse, [rows][heads].
 */
#include "layers.h"

#include "qorus/base/kv.h"

/* Where keys and values of a step go. */
typedef struct attention_cache {
    uint8_t *k;
    uint8_t *v;
    size_t stride; /* from one sequence, or sample, to the next */
    uint32_t dtype;
    uint32_t capacity;
} attention_cache;

static uint32_t attention_round(uint32_t positions)
{
    return positions > UINT32_MAX - Q_KV_ROUND ? UINT32_MAX / Q_KV_ROUND * Q_KV_ROUND
                                               : (positions + Q_KV_ROUND - 1) / Q_KV_ROUND * Q_KV_ROUND;
}

/* Capacity of a sequence without state. */
static uint32_t attention_span_capacity(const q_maxima *max)
{
    return attention_round(max->kv != 0 && max->kv < max->tokens ? max->kv : max->tokens);
}

static bool attention_is_full(const q_layer *layer)
{
    return layer->type == Q_LAYER_ATTENTION_FULL;
}

static uint32_t attention_per_sample(const q_layer *layer)
{
    return layer->in_rows[0].sym == Q_SYM_BATCH ? layer->in_rows[0].n : 0;
}

static q_error_code attention_config_check(const q_attention_config *c, q_diag *diag)
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
    if (!(c->scale > 0) || !(c->scale - c->scale == 0)) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.scale", 0, 0);
    }
    return q_expect_finite((double)c->softcap, 0, "config.softcap", diag);
}

/* Three real inputs of one form: tokens or samples. */
static q_error_code attention_inputs(const q_node_info *info, const q_attention_config *c, q_diag *diag)
{
    static const char *const names[] = {"q", "k", "v"};
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t heads = i == 0 ? c->heads : c->kv_heads;
        const q_count *rows = info->in[i].dim;
        q_error_code e = q_expect_real(info, i, diag);
        if (e != Q_OK) {
            return e;
        }
        if (rows[3].n != heads * c->head_dim ||
            !(q_rows_are_tokens(&info->in[i]) || q_rows_are_samples(&info->in[i])) ||
            rows[0].sym != info->in[0].dim[0].sym || rows[2].n != info->in[0].dim[2].n) {
            return q_fail(diag, Q_ERR_INVALID_SHAPE, "", names[i], heads * c->head_dim, rows[3].n);
        }
    }
    q_shape_like(info, &info->in[0], info->in[0].dim[3].n);
    return Q_OK;
}

static q_error_code attention_shape(const q_node_info *info, q_diag *diag)
{
    const q_attention_config *c = (const q_attention_config *)info->config;
    uint64_t sequences = info->max.sequences != 0 ? info->max.sequences : 1;
    q_error_code e = attention_config_check(c, diag);
    if (e == Q_OK) {
        e = attention_inputs(info, c, diag);
    }
    if (e != Q_OK || q_rows_are_samples(&info->in[0])) {
        return e;
    }
    if (!q_kv_fits(info->kv_dtype, c->head_dim)) {
        return q_fail(diag, Q_ERR_UNSUPPORTED, "", "config.head_dim (of a Q8_0 cache)", Q_BLOCK, c->head_dim);
    }
    if (info->max.kv * sequences < info->max.tokens) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "max.kv", info->max.tokens, info->max.kv);
    }
    return Q_OK;
}

/* One number for each sample. */
static q_error_code attention_lengths(const q_node_info *info, q_diag *diag)
{
    const q_value_type *n = &info->in[3];
    uint32_t samples = 0;
    if (n->dtype != Q_I32) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, "", "lengths", Q_I32, n->dtype);
    }
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        samples += n->dim[d].sym == Q_SYM_BATCH ? 1u : 0u;
        if (n->dim[d].n != 1 || (n->dim[d].sym != Q_SYM_BATCH && n->dim[d].sym != Q_SYM_ONE)) {
            return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "lengths: one of each sample", 1, n->dim[d].n);
        }
    }
    if (samples != 1 || !q_rows_are_samples(&info->in[0])) {
        return q_fail(diag, Q_ERR_INVALID_SHAPE, "", "lengths: of samples", Q_SYM_BATCH, info->in[0].dim[0].sym);
    }
    return Q_OK;
}

static q_error_code attention_full_shape(const q_node_info *info, q_diag *diag)
{
    const q_attention_config *c = (const q_attention_config *)info->config;
    q_error_code e = attention_config_check(c, diag);
    if (e == Q_OK && c->window != 0) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "", "config.window", 0, c->window);
    }
    e = e == Q_OK ? attention_inputs(info, c, diag) : e;
    return e == Q_OK && info->n_in > 3 ? attention_lengths(info, diag) : e;
}

static size_t attention_cache_bytes(const q_attention_config *c, uint32_t dtype, uint32_t capacity)
{
    uint64_t bytes = 2u * c->kv_heads * q_kv_head_bytes(dtype, capacity, c->head_dim);
    return bytes > SIZE_MAX - Q_ALIGN ? SIZE_MAX : (size_t)bytes;
}

/* Heads, dimensions and capacity have hard caps, 2^10 * 2^10 * 2^24 * 16 bytes fit 64 bits; a 32-bit target cuts
   at the largest size so that the plan fails with an overflow instead of wrapping. */
static void attention_sizes_of(const q_node_info *info, bool full, q_layer_sizes *out)
{
    const q_attention_config *c = (const q_attention_config *)info->config;
    size_t lse = q_bytes_at_most(q_bytes_at_most(q_rows_at_most(&info->in[0], &info->max), c->heads), sizeof(q_real));
    size_t sequences = info->max.sequences != 0 ? info->max.sequences : 1;
    out->saved = lse;
    out->scratch = lse; /* going backward */
    if (q_rows_are_samples(&info->in[0])) {
        size_t cache = attention_cache_bytes(c, Q_REAL, attention_round(info->in[0].dim[2].n));
        cache = q_bytes_at_most(cache, info->max.batch);
        out->scratch = cache > lse ? cache : lse;
    } else if (full) {
        size_t cache = attention_cache_bytes(c, Q_REAL, attention_span_capacity(&info->max));
        cache = q_bytes_at_most(cache, sequences);
        out->scratch = cache > lse ? cache : lse;
    } else {
        out->state = attention_cache_bytes(c, info->kv_dtype, attention_round(info->max.kv));
    }
}

static void attention_sizes(const q_node_info *info, q_layer_sizes *out)
{
    attention_sizes_of(info, false, out);
}

static void attention_full_sizes(const q_node_info *info, q_layer_sizes *out)
{
    attention_sizes_of(info, true, out);
}

static attention_cache attention_cache_of(const q_layer *layer)
{
    const q_attention_config *c = (const q_attention_config *)layer->config;
    uint32_t per_sample = attention_per_sample(layer);
    bool stateless = per_sample != 0 || attention_is_full(layer);
    attention_cache cache;
    cache.dtype = stateless ? (uint32_t)Q_REAL : layer->kv_dtype;
    cache.capacity = per_sample != 0 ? attention_round(per_sample)
                     : stateless     ? attention_span_capacity(&layer->max)
                                     : attention_round(layer->max.kv);
    cache.k = (uint8_t *)(stateless ? layer->scratch : layer->state);
    cache.v = cache.k + c->kv_heads * (size_t)q_kv_head_bytes(cache.dtype, cache.capacity, c->head_dim);
    cache.stride = stateless ? attention_cache_bytes(c, cache.dtype, cache.capacity) : layer->state_stride;
    return cache;
}

const int32_t *q_attention_counted(const q_layer *layer)
{
    return layer->n_in > 3 ? (const int32_t *)layer->in[3]->data : NULL;
}

static void store(const q_layer *layer, const q_work *work, const attention_cache *cache)
{
    const q_attention_config *c = (const q_attention_config *)layer->config;
    q_kv_store_args a;
    memset(&a, 0, sizeof(a));
    a.rows = layer->in_rows[1];
    a.kv_heads = c->kv_heads;
    a.head_dim = c->head_dim;
    a.capacity = cache->capacity;
    a.k = q_reals(layer->in[1]);
    a.k_stride = layer->in[1]->nb[2];
    a.v = q_reals(layer->in[2]);
    a.v_stride = layer->in[2]->nb[2];
    a.k_cache = cache->k;
    a.v_cache = cache->v;
    a.sequence_stride = cache->stride;
    a.per_sample = attention_per_sample(layer);
    (cache->dtype == Q_Q8_0  ? layer->kernels->kv_store_q8_0
     : cache->dtype == Q_F16 ? layer->kernels->kv_store_f16
                             : layer->kernels->kv_store_f32)(work, &a);
}

static void attend(const q_layer *layer, const q_work *work, const attention_cache *cache)
{
    const q_attention_config *c = (const q_attention_config *)layer->config;
    q_attention_args a;
    memset(&a, 0, sizeof(a));
    a.rows = layer->out_rows[0];
    a.heads = c->heads;
    a.kv_heads = c->kv_heads;
    a.head_dim = c->head_dim;
    a.capacity = cache->capacity;
    a.window = c->window;
    a.scale = (q_real)c->scale;
    a.softcap = (q_real)c->softcap;
    a.q = q_reals(layer->in[0]);
    a.q_stride = layer->in[0]->nb[2];
    a.k_cache = cache->k;
    a.v_cache = cache->v;
    a.sequence_stride = cache->stride;
    a.out = q_reals(layer->out[0]);
    a.out_stride = layer->out[0]->nb[2];
    a.lse = (q_real *)layer->saved;
    a.full = attention_is_full(layer) ? 1 : 0;
    a.per_sample = attention_per_sample(layer);
    a.lengths = q_attention_counted(layer);
    (cache->dtype == Q_Q8_0  ? layer->kernels->attention_q8_0
     : cache->dtype == Q_F16 ? layer->kernels->attention_f16
                             : layer->kernels->attention_f32)(work, &a);
}

static q_error_code attention_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    attention_cache cache = attention_cache_of(layer);
    if (stage == 0) {
        store(layer, work, &cache);
    } else {
        attend(layer, work, &cache);
    }
    return Q_OK;
}

static bool attention_lengths_fit(const q_layer *layer, const q_run *run)
{
    uint32_t per_sample = attention_per_sample(layer);
    const q_tensor *lengths = layer->n_in < 4 ? NULL : layer->host_in[3] != NULL ? layer->host_in[3] : layer->in[3];
    for (uint32_t i = 0; lengths != NULL && i < q_count_value(run, layer->in_rows[0]) / per_sample; i++) {
        int32_t n = ((const int32_t *)lengths->data)[i];
        if (n < 1 || (uint32_t)n > per_sample) {
            return false;
        }
    }
    return true;
}

/* Without state a span is the whole of its sequence. */
static q_error_code attention_full_forward(const q_layer *layer, const q_work *work, uint32_t stage)
{
    uint32_t rows = q_count_value(work->run, layer->in_rows[0]);
    uint32_t per_sample = attention_per_sample(layer);
    if (!attention_lengths_fit(layer, work->run)) {
        return Q_ERR_INVALID_SIZE;
    }
    for (uint32_t i = 0; per_sample == 0 && i < q_span_count(work->run); i++) {
        q_span span = q_span_at(work->run, rows, i);
        if (span.position != 0) {
            return Q_ERR_INVALID_STATE;
        }
        if (span.rows > attention_span_capacity(&layer->max)) {
            return Q_ERR_CONTEXT_FULL;
        }
    }
    return attention_forward(layer, work, stage);
}

/* A strip is the cache of one head of keys or values, which lie in groups of positions. */
static void attention_extent(const q_layer *layer, uint32_t position, q_state_extent *out)
{
    const q_attention_config *c = (const q_attention_config *)layer->config;
    out->n = 2u * c->kv_heads;
    out->strip = (size_t)q_kv_head_bytes(layer->kv_dtype, attention_round(layer->max.kv), c->head_dim);
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
    .backward_stages = Q_TRAINING(1),
    .flags = Q_LAYER_SHARED | Q_LAYER_STATEFUL | Q_LAYER_REWINDS | Q_LAYER_SEQUENCES | Q_LAYER_DEVICE,
    .saves = 7u | 1u << 8,
    .shape = attention_shape,
    .sizes = attention_sizes,
    .forward = attention_forward,
    .backward = Q_TRAINING(q_attention_backward),
    .extent = attention_extent,
};

const q_layer_class q_layer_attention_full = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_ATTENTION_FULL,
    .name = "attention_full",
    .config_size = sizeof(q_attention_config),
    .config_version = 1,
    .min_in = 3,
    .max_in = 4,
    .n_out = 1,
    .forward_stages = 2,
    .backward_stages = Q_TRAINING(1),
    .flags = Q_LAYER_SHARED | Q_LAYER_DEVICE,
    .saves = 15u | 1u << 8,
    .shape = attention_full_shape,
    .sizes = attention_full_sizes,
    .forward = attention_full_forward,
    .backward = Q_TRAINING(q_attention_backward),
};
