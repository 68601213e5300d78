/* SPDX-License-Identifier: MIT */
/*
 * sampler_select.c: top_k, top_p and min_p as marks in the order of tokens, found without sorting.
 *
 * A beginning of the order is described by its last member. To find the shortest beginning whose
 * amounts (1 each, or weights) reach a target, candidates are split by the highest 8 bits of their
 * keys; the groups before the one where the sum crosses the target are in, those after it out, and
 * the group itself is split by the next 8 bits. After four rounds all keys are equal and the order
 * is that of the ids.
 */
#include "sampler_inner.h"

/* ---- Selection ------------------------------------------------------------------------------- */

static inline uint32_t sampler_digit(int32_t key, uint32_t shift)
{
    return ((uint32_t)key ^ 0x80000000u) >> shift & 255u;
}

/* Amount of the whole group of a digit, for each digit. */
static void sampler_count(const q_sampler_state *s, const int32_t *keys, uint32_t n, uint32_t shift,
                          bool weighted)
{
    for (uint32_t d = 0; d < SAMPLER_DIGITS; d++) {
        s->digits[d] = 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        int32_t key = keys[s->ids[i]];
        s->digits[sampler_digit(key, shift)] += weighted ? sampler_weight(s, key) : 1u;
    }
}

/* Keeps the candidates with that digit, in their order; returns how many. */
static uint32_t sampler_narrow(const q_sampler_state *s, const int32_t *keys, uint32_t n,
                               uint32_t shift, uint32_t digit)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t id = s->ids[i];
        s->ids[kept] = id;
        kept += sampler_digit(keys[id], shift) == digit ? 1u : 0u;
    }
    return kept;
}

/*
 * End of the shortest beginning of the candidates ids[0..n) whose amounts reach target; 1 <= target
 * <= their sum. Destroys the candidates.
 */
static sampler_mark sampler_select(const q_sampler_state *s, const int32_t *keys, uint32_t n,
                                   uint64_t target, bool weighted)
{
    sampler_mark mark;
    for (uint32_t shift = 32; shift != 0;) {
        uint32_t digit = SAMPLER_DIGITS - 1;
        shift -= 8;
        sampler_count(s, keys, n, shift, weighted);
        while (s->digits[digit] < target) {
            target -= s->digits[digit--];
        }
        n = sampler_narrow(s, keys, n, shift, digit);
    }
    mark.key = keys[s->ids[0]];
    uint64_t each = weighted ? sampler_weight(s, mark.key) : 1u;
    uint32_t i = 0;
    while (target > each) {
        target -= each;
        i++;
    }
    mark.id = s->ids[i];
    return mark;
}

/* ---- Candidates ------------------------------------------------------------------------------ */

static inline uint32_t sampler_block_end(const q_sampler_state *s, uint32_t block)
{
    uint32_t end = (block + 1) * SAMPLER_BLOCK;
    return end < s->n ? end : s->n;
}

/* Makes candidates of the tokens up to the mark; returns how many. */
static uint32_t sampler_gather(const q_sampler_state *s, sampler_mark last)
{
    uint32_t n = 0;
    for (uint32_t b = 0; b < s->n_blocks; b++) {
        if (s->tops[b] < last.key) {
            continue;
        }
        for (uint32_t i = b * SAMPLER_BLOCK; i < sampler_block_end(s, b); i++) {
            if (sampler_before(s->keys[i], i, last)) {
                s->ids[n++] = i;
            }
        }
    }
    return n;
}

/* Makes candidates of the tokens whose v lies in that bin; returns how many. */
static uint32_t sampler_gather_bin(const q_sampler_state *s, uint32_t bin)
{
    uint32_t n = 0;
    for (uint32_t b = 0; b < s->n_blocks; b++) {
        if (sampler_v(s, s->tops[b]) >> SAMPLER_BIN_SHIFT > bin) {
            continue;
        }
        for (uint32_t i = b * SAMPLER_BLOCK; i < sampler_block_end(s, b); i++) {
            if (sampler_v(s, s->keys[i]) >> SAMPLER_BIN_SHIFT == bin) {
                s->ids[n++] = i;
            }
        }
    }
    return n;
}

/* ---- Cuts ------------------------------------------------------------------------------------ */

/* The k-th largest of the blocks' largest keys is a lower bound of the k-th largest key. */
static sampler_mark sampler_cut_k(const q_sampler_state *s, uint32_t k)
{
    sampler_mark bound = { INT32_MIN, UINT32_MAX };
    if (k < s->n_blocks) {
        for (uint32_t b = 0; b < s->n_blocks; b++) {
            s->ids[b] = b;
        }
        bound.key = sampler_select(s, s->tops, s->n_blocks, k, false).key;
    }
    return sampler_select(s, s->keys, sampler_gather(s, bound), k, false);
}

/* top_p among the tokens that top_k left. */
static sampler_mark sampler_cut_p_after_k(const q_sampler_state *s, double top_p)
{
    uint32_t n = sampler_gather(s, s->last);
    uint64_t total = 0;
    for (uint32_t i = 0; i < n; i++) {
        total += sampler_weight(s, s->keys[s->ids[i]]);
    }
    return sampler_select(s, s->keys, n, q_sampler_share(total, top_p), true);
}

/* Weight of all tokens, and of each bin. */
static uint64_t sampler_fill_bins(const q_sampler_state *s)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < SAMPLER_BINS; i++) {
        s->bins[i] = 0;
    }
    for (uint32_t b = 0; b < s->n_blocks; b++) {
        if (sampler_v(s, s->tops[b]) == SAMPLER_V_NONE) {
            continue;
        }
        for (uint32_t i = b * SAMPLER_BLOCK; i < sampler_block_end(s, b); i++) {
            uint32_t v = sampler_v(s, s->keys[i]);
            if (v != SAMPLER_V_NONE) {
                uint64_t w = sampler_weight_of(v);
                s->bins[v >> SAMPLER_BIN_SHIFT] += w;
                total += w;
            }
        }
    }
    return total;
}

/* top_p among all tokens: whole bins first, then the one where the sum crosses the target. */
static sampler_mark sampler_cut_p(const q_sampler_state *s, double top_p)
{
    uint64_t target = q_sampler_share(sampler_fill_bins(s), top_p);
    uint32_t bin = 0;
    while (s->bins[bin] < target) {
        target -= s->bins[bin++];
    }
    return sampler_select(s, s->keys, sampler_gather_bin(s, bin), target, true);
}

void q_sampler_cut(q_sampler_state *s)
{
    bool rest = false;
    s->last.key = INT32_MIN;
    s->last.id = UINT32_MAX;
    if (s->cuts_k) {
        s->last = sampler_cut_k(s, s->cfg->top_k);
    }
    if (s->cuts_p) {
        s->last =
            s->cuts_k ? sampler_cut_p_after_k(s, s->cfg->top_p) : sampler_cut_p(s, s->cfg->top_p);
    }
    s->least = q_sampler_fixed(s->cfg->min_p, 40, &rest);
    s->least += rest || s->least == 0 ? 1u : 0u;
}

/* ---- What is kept ---------------------------------------------------------------------------- */

uint64_t q_sampler_kept(const q_sampler_state *s, uint32_t id)
{
    if (!sampler_before(s->keys[id], id, s->last)) {
        return 0;
    }
    uint64_t w = sampler_weight(s, s->keys[id]);
    return w >= s->least ? w : 0;
}

static uint64_t sampler_sum_block(const q_sampler_state *s, uint32_t block)
{
    uint64_t sum = 0;
    for (uint32_t i = block * SAMPLER_BLOCK; i < sampler_block_end(s, block); i++) {
        sum += q_sampler_kept(s, i);
    }
    return sum;
}

uint64_t q_sampler_sum(const q_sampler_state *s)
{
    uint64_t total = 0;
    for (uint32_t b = 0; b < s->n_blocks; b++) {
        bool empty = s->tops[b] < s->last.key || sampler_weight(s, s->tops[b]) < s->least;
        s->sums[b] = empty ? 0 : sampler_sum_block(s, b);
        total += s->sums[b];
    }
    return total;
}

uint32_t q_sampler_pick(const q_sampler_state *s, uint64_t r)
{
    uint32_t block = 0;
    while (r >= s->sums[block]) {
        r -= s->sums[block++];
    }
    uint32_t id = block * SAMPLER_BLOCK;
    for (uint64_t w = q_sampler_kept(s, id); r >= w; w = q_sampler_kept(s, id)) {
        r -= w;
        id++;
    }
    return id;
}
