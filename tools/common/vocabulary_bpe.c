/* SPDX-License-Identifier: MIT */
/*
 * Training of byte-level BPE. Words are runs of symbols; the counts of all pairs are kept exact while merges change them,
 * and a heap finds the most frequent: an entry that is no longer right goes back with the count of now, and pairs whose count
 * rose get a new entry.
 */
#include "vocabulary_inner.h"

typedef struct bpe_entry {
    int64_t count;
    uint32_t pair;
} bpe_entry;

typedef struct bpe_state {
    vocabulary *v;
    uint32_t *symbols;  /* of word i from first[i] on, length[i] many */
    uint32_t *first;
    uint32_t *length;
    uint64_t *marks;    /* of word i: a bit for each of its symbols, so that most words without a pair are passed over */
    uint64_t *keys;     /* [pairs] left << 32 | right */
    int64_t *counts;    /* [pairs] */
    uint32_t *stamps;   /* [pairs] merge in which the count last rose */
    uint32_t n_pairs;
    uint32_t *places;   /* hash table: pair and one; 0: free */
    size_t n_places;
    bpe_entry *heap;
    size_t n_heap;
    uint32_t *risen;    /* pairs whose count rose in this merge */
    uint32_t n_risen;
    uint32_t *table;    /* tokens by their bytes */
    size_t n_table;
    uint32_t max_merges;
} bpe_state;

/* Distinct pairs there can ever be: neighbours at first, and two new ones for each symbol that a merge takes away. */
static size_t most_pairs(const vocabulary *v)
{
    return 3u * (size_t)v->n_symbols + 16u;
}

static uint32_t most_merges(const vocabulary *v)
{
    return 2u * v->config.size;
}

static void bpe_layout(bpe_state *s, vocabulary *v, q_arena *a)
{
    size_t pairs = most_pairs(v);
    memset(s, 0, sizeof(*s));
    s->n_places = vocabulary_places(pairs);
    s->n_table = vocabulary_places(v->config.size);
    s->max_merges = most_merges(v);
    s->v = v;
    v->tokens = (vocabulary_token *)q_arena_alloc(a, (size_t)v->config.size * sizeof(*v->tokens), Q_ALIGN);
    v->merges = (vocabulary_merge *)q_arena_alloc(a, (size_t)s->max_merges * sizeof(*v->merges), Q_ALIGN);
    s->symbols = (uint32_t *)q_arena_alloc(a, (size_t)v->n_symbols * sizeof(uint32_t), Q_ALIGN);
    s->first = (uint32_t *)q_arena_alloc(a, (size_t)v->n_words * sizeof(uint32_t), Q_ALIGN);
    s->length = (uint32_t *)q_arena_alloc(a, (size_t)v->n_words * sizeof(uint32_t), Q_ALIGN);
    s->marks = (uint64_t *)q_arena_alloc(a, (size_t)v->n_words * sizeof(uint64_t), Q_ALIGN);
    s->keys = (uint64_t *)q_arena_alloc(a, pairs * sizeof(uint64_t), Q_ALIGN);
    s->counts = (int64_t *)q_arena_alloc(a, pairs * sizeof(int64_t), Q_ALIGN);
    s->stamps = (uint32_t *)q_arena_alloc(a, pairs * sizeof(uint32_t), Q_ALIGN);
    s->places = (uint32_t *)q_arena_alloc(a, s->n_places * sizeof(uint32_t), Q_ALIGN);
    s->heap = (bpe_entry *)q_arena_alloc(a, pairs * sizeof(bpe_entry), Q_ALIGN);
    s->risen = (uint32_t *)q_arena_alloc(a, pairs * sizeof(uint32_t), Q_ALIGN);
    s->table = (uint32_t *)q_arena_alloc(a, s->n_table * sizeof(uint32_t), Q_ALIGN);
}

size_t vocabulary_bpe_size(const vocabulary *v)
{
    vocabulary copy = *v;
    bpe_state s;
    q_arena a = {NULL, SIZE_MAX, 0, 0, 0};
    bpe_layout(&s, &copy, &a);
    return a.high;
}

/* ---- Counts and the heap ----------------------------------------------------------------------------------- */

static void count_pair(bpe_state *s, uint32_t left, uint32_t right, int64_t by)
{
    uint64_t key = (uint64_t)left << 32 | right;
    size_t at = (size_t)((key * 0x9e3779b97f4a7c15u) >> 32) & (s->n_places - 1);
    uint32_t pair;
    while (s->places[at] != 0 && s->keys[s->places[at] - 1] != key) {
        at = (at + 1) & (s->n_places - 1);
    }
    if (s->places[at] == 0) {
        s->keys[s->n_pairs] = key;
        s->places[at] = ++s->n_pairs;
    }
    pair = s->places[at] - 1;
    s->counts[pair] += by;
    if (by > 0 && s->stamps[pair] != s->v->n_merges + 1) {
        s->stamps[pair] = s->v->n_merges + 1;
        s->risen[s->n_risen++] = pair;
    }
}

/* More frequent, or as frequent and smaller. */
static bool goes_first(const bpe_state *s, const bpe_entry *a, const bpe_entry *b)
{
    return a->count != b->count ? a->count > b->count : s->keys[a->pair] < s->keys[b->pair];
}

static void heap_add(bpe_state *s, uint32_t pair)
{
    bpe_entry e = {s->counts[pair], pair};
    size_t i = s->n_heap++;
    while (i > 0 && goes_first(s, &e, &s->heap[(i - 1) / 2])) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = e;
}

static bpe_entry heap_take(bpe_state *s)
{
    bpe_entry top = s->heap[0];
    bpe_entry last = s->heap[--s->n_heap];
    size_t i = 0;
    for (size_t child = 1; child < s->n_heap; child = 2 * i + 1) {
        child += child + 1 < s->n_heap && goes_first(s, &s->heap[child + 1], &s->heap[child]) ? 1u : 0u;
        if (!goes_first(s, &s->heap[child], &last)) {
            break;
        }
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return top;
}

static void add_risen(bpe_state *s)
{
    for (uint32_t i = 0; i < s->n_risen; i++) {
        if (s->counts[s->risen[i]] > 0) {
            heap_add(s, s->risen[i]);
        }
    }
    s->n_risen = 0;
}

/* The most frequent pair that can be joined; false: there is none. */
static bool best_pair(bpe_state *s, uint32_t *pair)
{
    int64_t least = s->v->config.min_count > 1 ? (int64_t)s->v->config.min_count : 1;
    while (s->n_heap != 0) {
        bpe_entry e = heap_take(s);
        const vocabulary_token *t = s->v->tokens;
        if (s->counts[e.pair] < least) {
            continue;
        }
        if (e.count != s->counts[e.pair]) {
            heap_add(s, e.pair);
        } else if (t[s->keys[e.pair] >> 32].length + t[(uint32_t)s->keys[e.pair]].length <= Q_TOKENIZER_MAX_TOKEN) {
            *pair = e.pair;
            return true;
        }
    }
    return false;
}

/* ---- Merging ----------------------------------------------------------------------------------------------- */

static uint64_t mark_of(uint32_t symbol)
{
    return (uint64_t)1 << (symbol * 2654435761u >> 26);
}

/* Joins the pair everywhere in a word, from its beginning. */
static void merge_word(bpe_state *s, uint32_t word, uint32_t left, uint32_t right, uint32_t result)
{
    uint32_t *x = s->symbols + s->first[word];
    uint32_t n = s->length[word];
    int64_t count = s->v->words[word].count;
    uint32_t to = 0;
    for (uint32_t i = 0; i < n;) {
        if (x[i] != left || i + 1 == n || x[i + 1] != right) {
            x[to++] = x[i++];
            continue;
        }
        if (to > 0) {
            count_pair(s, x[to - 1], left, -count);
            count_pair(s, x[to - 1], result, count);
        }
        if (i + 2 < n) {
            count_pair(s, right, x[i + 2], -count);
            count_pair(s, result, x[i + 2], count);
        }
        x[to++] = result;
        i += 2;
    }
    s->length[word] = to;
    s->marks[word] |= mark_of(result);
}

static bool has_pair(const uint32_t *x, uint32_t n, uint32_t left, uint32_t right, uint32_t *at)
{
    for (uint32_t i = 0; i + 1 < n; i++) {
        if (x[i] == left && x[i + 1] == right) {
            *at = i;
            return true;
        }
    }
    return false;
}

/* The pair's token: a new one, or one that has its bytes already. `word` has the pair at symbol `at`. */
static uint32_t pair_token(bpe_state *s, uint32_t word, uint32_t at, uint32_t left, uint32_t right)
{
    vocabulary *v = s->v;
    const uint8_t *bytes = v->text + v->words[word].begin;
    uint32_t n = v->tokens[left].length + v->tokens[right].length;
    size_t place;
    uint32_t id;
    for (uint32_t i = 0; i < at; i++) {
        bytes += v->tokens[s->symbols[s->first[word] + i]].length;
    }
    id = vocabulary_find(v, s->table, s->n_table, bytes, n, &place);
    if (id == Q_TOKEN_NONE) {
        id = vocabulary_add(v, bytes, n, Q_TOKEN_NORMAL);
        s->table[place] = id + 1;
    }
    return id;
}

static void merge_pair(bpe_state *s, uint32_t pair)
{
    uint32_t left = (uint32_t)(s->keys[pair] >> 32);
    uint32_t right = (uint32_t)s->keys[pair];
    uint32_t result = Q_TOKEN_NONE;
    uint64_t both = mark_of(left) | mark_of(right);
    for (uint32_t w = 0; w < s->v->n_words; w++) {
        uint32_t at;
        if ((s->marks[w] & both) != both || !has_pair(s->symbols + s->first[w], s->length[w], left, right, &at)) {
            continue;
        }
        result = result == Q_TOKEN_NONE ? pair_token(s, w, at, left, right) : result;
        merge_word(s, w, left, right, result);
    }
    s->counts[pair] = 0;
    s->v->merges[s->v->n_merges++] = (vocabulary_merge){left, right, result};
    add_risen(s);
}

static void bpe_begin(bpe_state *s)
{
    uint8_t every[256];
    uint32_t ids[256];
    uint32_t at = 0;
    vocabulary *v = s->v;
    memset(every, 1, sizeof(every));
    vocabulary_add_first(v, every, ids);
    for (uint32_t w = 0; w < v->n_words; w++) {
        s->first[w] = at;
        s->length[w] = v->words[w].length;
        for (uint32_t i = 0; i < v->words[w].length; i++) {
            s->symbols[at + i] = ids[v->text[v->words[w].begin + i]];
            s->marks[w] |= mark_of(s->symbols[at + i]);
            if (i > 0) {
                count_pair(s, s->symbols[at + i - 1], s->symbols[at + i], v->words[w].count);
            }
        }
        at += v->words[w].length;
    }
    add_risen(s);
}

q_error_code vocabulary_bpe(vocabulary *v, void *memory, size_t size, q_diag *diag)
{
    bpe_state s;
    q_arena a;
    uint32_t pair;
    if (q_arena_init(&a, memory, size) != Q_OK) {
        return vocabulary_fail(diag, Q_ERR_INVALID_ARG, "memory", 1, size);
    }
    bpe_layout(&s, v, &a);
    memset(memory, 0, a.high);
    bpe_begin(&s);
    while (v->n_tokens < v->config.size && v->n_merges < s.max_merges && best_pair(&s, &pair)) {
        merge_pair(&s, pair);
        if (v->config.progress != NULL) {
            v->config.progress(v->config.user, v->n_tokens, v->config.size);
        }
    }
    return Q_OK;
}
