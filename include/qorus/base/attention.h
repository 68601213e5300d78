/* SPDX-License-Identifier: MIT */
/*
 * attention.h: how attention is cut into work, for backends that attend in tiles: whose part is what, and in which
 * order keys and queries meet. Arithmetic stays with the backend.
 *
 * A slot is one (row, head). A tile is up to 12 slots of one kv head, so that a key or value once loaded serves them
 * all; up to 8 tiles form a batch, which goes through the keys in chunks of 256, tile by tile, so that a chunk is
 * fetched once for the batch. Use, by every worker:
 *
 *   q_attention_walk w = q_attention_begin(work, a, dtype, slots);
 *   while (q_attention_next_batch(&w)) {
 *       while (q_attention_next_tile(&w)) {
 *           w.n slots at w.tile by the keys w.keys.from .. w.keys.to - 1
 *       }
 *       w.slots slots at w.slot are complete
 *   }
 *
 * Sharing: an item is one head of a tile of one span. Items lie in the order (part of a kv head's group, tile, head);
 * each worker takes those whose beginning, counted in keys to be read, lies in its part of the whole. So long sequences
 * and short ones, one span or many balance, and heads of a group stay together but where a part ends. Nothing is
 * allocated.
 */
#ifndef QORUS_BASE_ATTENTION_H
#define QORUS_BASE_ATTENTION_H

#include "../kernels.h"
#include "kv.h"
#include "mem.h"

enum {
    Q_ATTENTION_SLOTS = 12, /* of a tile */
    Q_ATTENTION_TILES = 8,  /* of a batch */
    Q_ATTENTION_CHUNK = 256,
    Q_ATTENTION_BLOCK = 64,
    Q_ATTENTION_BLOCKS = Q_ATTENTION_CHUNK / Q_ATTENTION_BLOCK
};

/* Keys lo <= j < hi are visible; those of the current chunk are from <= j < to. The rest is the backend's. */
typedef struct q_attention_slot {
    const q_real *q;
    q_real *out;
    uint32_t lo;
    uint32_t hi;
    uint32_t from;
    uint32_t to;
    q_real max; /* of the chunks merged so far */
    q_real sum;
    q_real *lse; /* NULL: not wanted */
    q_real old;                         /* factor of what out holds; 0 before the first chunk */
    q_real fresh;                       /* factor of the current chunk */
    q_real rescale[Q_ATTENTION_BLOCKS]; /* factor of the chunk's o before each of its blocks */
} q_attention_slot;

/* The kv head of a batch, and the chunk at hand. */
typedef struct q_attention_keys {
    const uint8_t *k;
    const uint8_t *v;
    size_t group; /* bytes of 16 positions of K, and of V */
    size_t ahead; /* bytes from a key of K to the one a chunk later; 0 where this chunk is the last */
    uint32_t dim;
    uint32_t from; /* keys of the chunk that any slot of the tile sees */
    uint32_t to;
    q_real scale;
    q_real softcap;
} q_attention_keys;

/* Heads h0 .. h0 + nh - 1, all of one kv head, by rows r0 .. r0 + nr - 1 of the span. */
typedef struct q_attention_batch {
    q_span span;
    uint32_t h0;
    uint32_t nh;
    uint32_t r0;
    uint32_t nr;
} q_attention_batch;

typedef struct q_attention_walk {
    q_attention_slot *tile; /* the current tile */
    uint32_t n;
    q_attention_keys keys;
    q_attention_slot *slot; /* the current batch */
    uint32_t slots;

    const q_run *run;
    const q_attention_args *a;
    uint32_t dtype;
    uint32_t rows;
    uint64_t begin; /* cost at which this worker begins and ends */
    uint64_t end;
    uint64_t at;        /* cost before the next tile of the plan: heads from h0, rows from r0 of span i */
    uint32_t part;      /* heads of a part */
    uint32_t part_rows; /* rows of its tiles */
    uint32_t h0;
    uint32_t i;
    uint32_t r0;
    uint32_t base;       /* first key of the chunk */
    uint32_t next;       /* slot with which the next tile begins */
    uint32_t tile_slots; /* slots of a tile */
} q_attention_walk;

/* First key that the query at position `at` sees. */
static inline uint32_t q_attention_first_key(const q_attention_args *a, uint32_t at)
{
    return a->window != 0 && at >= a->window ? at + 1u - a->window : 0;
}

static inline uint32_t q_attention_clamp(uint32_t v, uint32_t low, uint32_t high)
{
    v = v < high ? v : high;
    return v > low ? v : low;
}

/* The keys of the chunk that every slot with a part in it sees; empty ranges come out as from >= to. */
static inline void q_attention_common(const q_attention_slot *slot, uint32_t slots, uint32_t *from, uint32_t *to)
{
    *from = 0;
    *to = UINT32_MAX;
    for (uint32_t s = 0; s < slots; s++) {
        if (slot[s].from < slot[s].to) {
            *from = slot[s].from > *from ? slot[s].from : *from;
            *to = slot[s].to < *to ? slot[s].to : *to;
        }
    }
}

/* -- whose ------------------------------------------------------------------------------------- */

/* Cost of one head of rows r0 .. r0 + nr - 1 of the span: keys times rows, and a constant. */
static inline uint64_t q_attention_cost(const q_attention_args *a, q_span span, uint32_t r0, uint32_t nr)
{
    uint32_t last = a->full ? span.rows - 1u : span.position + r0 + nr - 1u;
    uint32_t keys = last + 1u - q_attention_first_key(a, a->full ? last : span.position + r0);
    return (uint64_t)nr * (keys + (uint32_t)Q_ATTENTION_BLOCK);
}

/* Rows of the tile that begins at row r0 of the span. */
static inline uint32_t q_attention_tile_rows(const q_attention_walk *w, q_span span, uint32_t r0)
{
    return span.rows - r0 < w->part_rows ? span.rows - r0 : w->part_rows;
}

/* Cost of one head of all tiles. */
static inline uint64_t q_attention_head_cost(const q_attention_walk *w)
{
    uint64_t cost = 0;
    for (uint32_t i = 0; i < q_parts_count(w->run, w->rows, w->a->per_sample); i++) {
        q_span span = q_counted_part_at(w->run, w->rows, w->a->per_sample, w->a->lengths, i);
        for (uint32_t r0 = 0; r0 < span.rows; r0 += w->part_rows) {
            cost += q_attention_cost(w->a, span, r0, q_attention_tile_rows(w, span, r0));
        }
    }
    return cost;
}

/* Rows of padding become 0, sample by sample in turn. */
static inline void q_attention_clear_padding(const q_work *work, const q_attention_args *a, uint32_t rows)
{
    for (uint32_t i = work->worker; a->lengths != NULL && i < rows / a->per_sample; i += work->n_workers) {
        for (uint32_t r = i * a->per_sample + (uint32_t)a->lengths[i]; r < (i + 1u) * a->per_sample; r++) {
            memset((uint8_t *)(void *)a->out + r * a->out_stride, 0, (size_t)a->heads * a->head_dim * sizeof(q_real));
        }
    }
}

/* This worker's walk, and its part of the padding; dtype is the cache's; slot has room for Q_ATTENTION_TILES * Q_ATTENTION_SLOTS. */
static inline q_attention_walk q_attention_begin(const q_work *work, const q_attention_args *a, uint32_t dtype,
                                                 q_attention_slot *slot)
{
    q_attention_walk w;
    uint32_t group = a->heads / a->kv_heads;
    w.tile = w.slot = slot;
    w.n = w.slots = 0;
    w.run = work->run;
    w.a = a;
    w.dtype = dtype;
    w.rows = q_count_value(work->run, a->rows);
    w.part = group < (uint32_t)Q_ATTENTION_SLOTS ? group : (uint32_t)Q_ATTENTION_SLOTS;
    w.part_rows = (uint32_t)Q_ATTENTION_SLOTS / w.part;
    uint64_t whole = q_attention_head_cost(&w) * a->heads;
    w.begin = whole * work->worker / work->n_workers;
    w.end = whole * (work->worker + 1u) / work->n_workers;
    w.at = 0;
    w.h0 = w.i = w.r0 = 0;
    w.keys.dim = a->head_dim;
    w.keys.group = (size_t)q_kv_group_bytes(dtype, a->head_dim);
    w.keys.scale = a->scale;
    w.keys.softcap = a->softcap;
    q_attention_clear_padding(work, a, w.rows);
    return w;
}

/* The next tile of the plan; nh = 0 if none of its heads is this worker's. */
static inline q_attention_batch q_attention_own(const q_attention_walk *w, uint64_t cost, q_attention_batch tile)
{
    uint64_t at = w->at;
    uint32_t stop = tile.h0 + tile.nh;
    while (tile.h0 < stop && at < w->begin) {
        tile.h0++;
        at += cost;
    }
    tile.nh = 0;
    while (tile.h0 + tile.nh < stop && at < w->end) {
        tile.nh++;
        at += cost;
    }
    return tile;
}

/* True if the tile is now part of the batch; false if it has to begin another one. */
static inline bool q_attention_join(const q_attention_walk *w, q_attention_batch *batch,
                                    const q_attention_batch *tile)
{
    if (batch->nr == 0) {
        *batch = *tile;
        return true;
    }
    if (batch->h0 != tile->h0 || batch->nh != tile->nh || batch->span.row != tile->span.row ||
        batch->nr + tile->nr > w->part_rows * (uint32_t)Q_ATTENTION_TILES) {
        return false;
    }
    batch->nr += tile->nr;
    return true;
}

/* This worker's next tiles that share a kv head, its heads and a span; nr = 0 if there are no more. */
static inline q_attention_batch q_attention_collect(q_attention_walk *w)
{
    uint32_t group = w->a->heads / w->a->kv_heads;
    q_attention_batch batch = {{0, 0, 0, 0}, 0, 0, 0, 0};
    while (w->at < w->end) {
        uint32_t left = group - w->h0 % group;
        q_attention_batch tile = {q_counted_part_at(w->run, w->rows, w->a->per_sample, w->a->lengths, w->i), w->h0, 0, w->r0, 0};
        tile.nh = left < w->part ? left : w->part;
        tile.nr = q_attention_tile_rows(w, tile.span, tile.r0);
        uint64_t cost = q_attention_cost(w->a, tile.span, tile.r0, tile.nr);
        q_attention_batch own = q_attention_own(w, cost, tile);
        if (own.nh != 0 && !q_attention_join(w, &batch, &own)) {
            break;
        }
        w->at += cost * tile.nh;
        w->r0 += tile.nr;
        if (w->r0 == tile.span.rows) {
            w->r0 = 0;
            w->i++;
        }
        if (w->i == q_parts_count(w->run, w->rows, w->a->per_sample)) {
            w->i = 0;
            w->h0 += tile.nh;
        }
    }
    return batch;
}

/* -- in which order ---------------------------------------------------------------------------- */

static inline void q_attention_fill(q_attention_walk *w, const q_attention_batch *batch)
{
    const q_attention_args *a = w->a;
    q_attention_slot *t = w->slot;
    for (uint32_t i = batch->r0; i < batch->r0 + batch->nr; i++) {
        size_t r = batch->span.row + i;
        const uint8_t *q = (const uint8_t *)(const void *)a->q + r * a->q_stride;
        uint8_t *out = (uint8_t *)(void *)a->out + r * a->out_stride;
        for (uint32_t h = batch->h0; h < batch->h0 + batch->nh; h++, t++) {
            t->q = (const q_real *)(const void *)q + (size_t)h * a->head_dim;
            t->out = (q_real *)(void *)out + (size_t)h * a->head_dim;
            t->lse = a->lse != NULL ? a->lse + r * a->heads + h : NULL;
            t->hi = a->full ? batch->span.rows : batch->span.position + i + 1u;
            t->lo = q_attention_first_key(a, t->hi - 1u);
        }
    }
    w->slots = batch->nr * batch->nh;
}

/* The next batch of this worker: fills the slots. False if there are no more. */
static inline bool q_attention_next_batch(q_attention_walk *w)
{
    const q_attention_args *a = w->a;
    q_attention_batch batch = q_attention_collect(w);
    if (batch.nr == 0) {
        return false;
    }
    uint32_t head = batch.h0 / (a->heads / a->kv_heads);
    size_t at = (size_t)q_kv_head_bytes(w->dtype, a->capacity, a->head_dim) * head +
                batch.span.sequence * a->sequence_stride;
    w->keys.k = (const uint8_t *)a->k_cache + at;
    w->keys.v = (const uint8_t *)a->v_cache + at;
    q_attention_fill(w, &batch);
    w->tile_slots = (uint32_t)Q_ATTENTION_SLOTS / batch.nh * batch.nh;
    w->base = w->slot[0].lo / Q_ATTENTION_CHUNK * Q_ATTENTION_CHUNK;
    w->next = 0;
    return true;
}

/* Which keys of the chunk the tile sees, and each of its slots, whose rows ascend; false if none. */
static inline bool q_attention_clip(q_attention_walk *w)
{
    uint32_t base = w->base;
    uint32_t end = base + Q_ATTENTION_CHUNK;
    w->keys.from = w->tile[0].lo > base ? w->tile[0].lo : base;
    w->keys.to = w->tile[w->n - 1u].hi < end ? w->tile[w->n - 1u].hi : end;
    if (w->keys.from >= w->keys.to) {
        return false;
    }
    for (uint32_t s = 0; s < w->n; s++) {
        q_attention_slot *t = &w->tile[s];
        t->from = t->lo > base ? t->lo : base;
        t->to = t->hi < end ? t->hi : end;
    }
    return true;
}

/* The next tile of the batch by the next chunk of keys that it sees. A slot with from >= to sees none of them. False if
   the batch is complete. */
static inline bool q_attention_next_tile(q_attention_walk *w)
{
    uint32_t hi = w->slot[w->slots - 1u].hi;
    for (;;) {
        if (w->next == w->slots) {
            w->next = 0;
            w->base += Q_ATTENTION_CHUNK;
        }
        if (w->base >= hi) {
            return false;
        }
        w->keys.ahead = 0;
        if (hi - w->base > Q_ATTENTION_CHUNK) {
            w->keys.ahead = Q_ATTENTION_CHUNK / Q_KV_GROUP * w->keys.group;
        }
        w->tile = w->slot + w->next;
        w->n = w->slots - w->next < w->tile_slots ? w->slots - w->next : w->tile_slots;
        w->next += w->n;
        if (q_attention_clip(w)) {
            return true;
        }
    }
}

#endif /* QORUS_BASE_ATTENTION_H */
