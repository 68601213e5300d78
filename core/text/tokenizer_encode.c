/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_encode.c: text to ids. Each piece becomes the tokens of its bytes, then pairs are
 * joined, the lowest rank first and the leftmost of equal ones, until no neighbours have a merge.
 *
 * Two forms of that, with the same result: a piece of up to SHORT_PIECE bytes searches its few
 * ranks anew for each merge; a longer one keeps a linked list and a heap, O(n log n).
 */
#include "tokenizer_inner.h"

enum {
    SHORT_PIECE = 32
};

#define ENCODE_FLAGS \
    ((uint32_t)(Q_ENCODE_ADD_BOS | Q_ENCODE_ADD_EOS | Q_ENCODE_PARSE_SPECIAL | Q_ENCODE_STRICT))

#define NO_MERGE UINT32_MAX /* index of no merge, and a rank above every rank */
#define NO_NODE UINT32_MAX

/* One token of a long piece, between its neighbours. */
typedef struct bpe_node {
    uint32_t id;
    uint32_t prev, next; /* NO_NODE at the ends */
    uint32_t
        merge; /* index of the merge with next; NO_MERGE: none, or this node was joined to prev */
} bpe_node;

/* Work of a long piece of n bytes: 2 n keys, n nodes. */
enum {
    WORK_PER_BYTE = 2 * sizeof(uint64_t) + sizeof(bpe_node)
};
_Static_assert(WORK_PER_BYTE == 32, "the header promises this figure");

/* Where ids go. ids NULL: they are only counted. */
typedef struct id_sink {
    int32_t *ids;
    size_t n;
} id_sink;

static void emit_id(id_sink *out, uint32_t id)
{
    if (out->ids != NULL) {
        out->ids[out->n] = (int32_t)id;
    }
    out->n++;
}

/* ---- Lookup ---------------------------------------------------------------------------------- */

/* Index of the merge of two tokens, or NO_MERGE. The number of steps depends on the left token
 * only. */
static uint32_t merge_find(const q_tokenizer *t, uint32_t left, uint32_t right)
{
    uint32_t at = t->merge_starts[left];
    uint32_t n = t->merge_starts[left + 1] - at;
    if (n == 0) {
        return NO_MERGE;
    }
    while (n > 1) { /* if there is such a merge, it is one of the n from `at` */
        uint32_t half = n / 2;
        at += t->merges[at + half].right <= right ? half : 0;
        n -= half;
    }
    return t->merges[at].right == right ? at : NO_MERGE;
}

/* Token a byte becomes, or Q_TOKEN_NONE: it is left out. */
static uint32_t byte_token(const q_tokenizer *t, uint8_t byte)
{
    uint32_t id = t->byte_ids[byte];
    return id == Q_TOKEN_NONE && (t->flags & Q_TOKENIZER_UNK_BYTES) != 0 ? t->unk : id;
}

/* ---- Short pieces ---------------------------------------------------------------------------- */

/* n <= SHORT_PIECE tokens; merges[i] joins i and i + 1, ranks[i] is its rank; both NO_MERGE: none.
 */
typedef struct short_piece {
    uint32_t n;
    uint32_t ids[SHORT_PIECE];
    uint32_t merges[SHORT_PIECE];
    uint32_t ranks[SHORT_PIECE];
} short_piece;

static void short_pair(const q_tokenizer *t, short_piece *p, uint32_t i)
{
    p->merges[i] = i + 1 < p->n ? merge_find(t, p->ids[i], p->ids[i + 1]) : NO_MERGE;
    p->ranks[i] = p->merges[i] != NO_MERGE ? t->merges[p->merges[i]].rank : NO_MERGE;
}

/* Joins i and i + 1 into one token; n falls by one. */
static void short_join(const q_tokenizer *t, short_piece *p, uint32_t i)
{
    p->ids[i] = t->merges[p->merges[i]].result;
    p->n--;
    for (uint32_t k = i + 1; k < p->n; k++) {
        p->ids[k] = p->ids[k + 1];
        p->merges[k] = p->merges[k + 1];
        p->ranks[k] = p->ranks[k + 1];
    }
    short_pair(t, p, i);
    if (i > 0) {
        short_pair(t, p, i - 1);
    }
}

static void encode_short(const q_tokenizer *t, const uint8_t *bytes, size_t n, id_sink *out)
{
    short_piece p;
    p.n = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t id = byte_token(t, bytes[i]);
        if (id != Q_TOKEN_NONE) {
            p.ids[p.n++] = id;
        }
    }
    for (uint32_t i = 0; i < p.n; i++) {
        short_pair(t, &p, i);
    }
    while (p.n > 1) { /* each turn shortens the piece or ends */
        uint32_t best = 0;
        for (uint32_t i = 1; i + 1 < p.n; i++) {
            best = p.ranks[i] < p.ranks[best] ? i : best;
        }
        if (p.ranks[best] == NO_MERGE) {
            break;
        }
        short_join(t, &p, best);
    }
    for (uint32_t i = 0; i < p.n; i++) {
        emit_id(out, p.ids[i]);
    }
}

/* ---- Long pieces ----------------------------------------------------------------------------- */

/*
 * A heap of keys (rank << 32 | node), lowest first. Keys are not taken out when their pair changes;
 * such a key is known by its rank no longer being that of the node. At the start there are at most
 * n - 1 keys; each of at most n - 1 merges takes one out and puts at most two in: never more than 2
 * n.
 */
typedef struct bpe_heap {
    uint64_t *keys;
    size_t n;
} bpe_heap;

static void heap_push(bpe_heap *heap, uint64_t key)
{
    size_t i = heap->n++;
    while (i > 0 && heap->keys[(i - 1) / 2] > key) {
        heap->keys[i] = heap->keys[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap->keys[i] = key;
}

/* heap->n > 0 */
static uint64_t heap_pop(bpe_heap *heap)
{
    uint64_t top = heap->keys[0];
    uint64_t last = heap->keys[--heap->n];
    size_t i = 0;
    while (2 * i + 1 < heap->n) {
        size_t child = 2 * i + 1;
        if (child + 1 < heap->n && heap->keys[child + 1] < heap->keys[child]) {
            child++;
        }
        if (heap->keys[child] >= last) {
            break;
        }
        heap->keys[i] = heap->keys[child];
        i = child;
    }
    heap->keys[i] = last;
    return top;
}

/* Looks up the merge of node i with the next and queues it. */
static void long_pair(const q_tokenizer *t, bpe_node *nodes, bpe_heap *heap, uint32_t i)
{
    bpe_node *node = &nodes[i];
    node->merge = node->next != NO_NODE ? merge_find(t, node->id, nodes[node->next].id) : NO_MERGE;
    if (node->merge != NO_MERGE) {
        heap_push(heap, (uint64_t)t->merges[node->merge].rank << 32 | i);
    }
}

static void long_join(const q_tokenizer *t, bpe_node *nodes, bpe_heap *heap, uint32_t i)
{
    bpe_node *node = &nodes[i];
    bpe_node *gone = &nodes[node->next];
    node->id = t->merges[node->merge].result;
    node->next = gone->next;
    gone->merge = NO_MERGE;
    if (node->next != NO_NODE) {
        nodes[node->next].prev = i;
    }
    long_pair(t, nodes, heap, i);
    if (node->prev != NO_NODE) {
        long_pair(t, nodes, heap, node->prev);
    }
}

/* The list of the tokens of n bytes; returns their number. */
static uint32_t long_nodes(const q_tokenizer *t, const uint8_t *bytes, size_t n, bpe_node *nodes)
{
    uint32_t count = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t id = byte_token(t, bytes[i]);
        if (id != Q_TOKEN_NONE) {
            nodes[count] = (bpe_node){id, count - 1, count + 1, NO_MERGE}; /* 0 - 1 is NO_NODE */
            count++;
        }
    }
    if (count > 0) {
        nodes[count - 1].next = NO_NODE;
    }
    return count;
}

static void encode_long(const q_tokenizer *t, const uint8_t *bytes, size_t n, void *work,
                        id_sink *out)
{
    bpe_heap heap = {(uint64_t *)work, 0};
    bpe_node *nodes = (bpe_node *)(void *)(heap.keys + 2 * n);
    uint32_t count = long_nodes(t, bytes, n, nodes);
    for (uint32_t i = 0; i < count; i++) {
        long_pair(t, nodes, &heap, i);
    }
    while (heap.n > 0) {
        uint64_t key = heap_pop(&heap);
        const bpe_node *node = &nodes[key & UINT32_MAX];
        if (node->merge != NO_MERGE && t->merges[node->merge].rank == key >> 32) {
            long_join(t, nodes, &heap, (uint32_t)(key & UINT32_MAX));
        }
    }
    for (uint32_t i = count > 0 ? 0 : NO_NODE; i != NO_NODE; i = nodes[i].next) {
        emit_id(out, nodes[i].id);
    }
}

/* ---- A whole text ---------------------------------------------------------------------------- */

static void encode_text(const q_tokenizer *t, const uint8_t *text, size_t n, uint32_t flags,
                        void *work, id_sink *out)
{
    text_cursor cursor;
    text_piece piece;
    if ((flags & Q_ENCODE_ADD_BOS) != 0) {
        emit_id(out, t->bos);
    }
    q_text_cursor_init(&cursor, t, text, n, flags);
    while (q_text_cursor_next(&cursor, &piece)) {
        const uint8_t *bytes = text + piece.begin;
        size_t length = piece.end - piece.begin;
        if (piece.special != Q_TOKEN_NONE) {
            emit_id(out, piece.special);
        } else if (t->kind == Q_TOKENIZER_BYTE) {
            for (size_t i = 0; i < length; i++) {
                emit_id(out, bytes[i]);
            }
        } else if (length <= SHORT_PIECE) {
            encode_short(t, bytes, length, out);
        } else {
            encode_long(t, bytes, length, work, out);
        }
    }
    if ((flags & Q_ENCODE_ADD_EOS) != 0) {
        emit_id(out, t->eos);
    }
}

/* Bytes of the longest piece; with flag STRICT, *missing = offset of the first byte without a
 * token, else n. */
static size_t survey_text(const q_tokenizer *t, const uint8_t *text, size_t n, uint32_t flags,
                          size_t *missing)
{
    text_cursor cursor;
    text_piece piece;
    size_t longest = 0;
    *missing = n;
    q_text_cursor_init(&cursor, t, text, n, flags);
    while (q_text_cursor_next(&cursor, &piece)) {
        if (piece.special != Q_TOKEN_NONE) {
            continue;
        }
        longest = piece.end - piece.begin > longest ? piece.end - piece.begin : longest;
        if ((flags & Q_ENCODE_STRICT) == 0 || *missing != n || t->byte_ids == NULL) {
            continue;
        }
        for (size_t i = piece.begin; i < piece.end && *missing == n; i++) {
            *missing = t->byte_ids[text[i]] == Q_TOKEN_NONE ? i : n;
        }
    }
    return longest;
}

/* ---- Public ---------------------------------------------------------------------------------- */

size_t q_tokenizer_encode_work_size(const q_tokenizer *t, size_t n)
{
    size_t bytes;
    if (n <= SHORT_PIECE || t->kind == Q_TOKENIZER_BYTE) {
        return 0;
    }
    return n <= Q_TOKENIZER_MAX_TEXT && q_mul_size(n, WORK_PER_BYTE, &bytes) ? bytes : SIZE_MAX;
}

size_t q_tokenizer_encode_work_need(const q_tokenizer *t, const char *text, size_t n,
                                    uint32_t flags)
{
    size_t missing;
    if (t->kind == Q_TOKENIZER_BYTE || n > Q_TOKENIZER_MAX_TEXT) {
        return q_tokenizer_encode_work_size(t, n);
    }
    return q_tokenizer_encode_work_size(t,
                                        survey_text(t, (const uint8_t *)text, n, flags, &missing));
}

/* The arguments of q_tokenizer_encode, together. */
typedef struct encode_call {
    const q_tokenizer *t;
    const uint8_t *text;
    size_t n;
    uint32_t flags;
    void *work;
    size_t work_size;
    int32_t *ids;
    size_t cap;
    q_diag *diag;
} encode_call;

static q_error_code encode_refuse(const encode_call *c, q_error_code code, const char *field,
                                  uint64_t need, uint64_t have)
{
    return q_tokenizer_fail(c->diag, code, field, 0, need, have);
}

static q_error_code encode_check_buffers(const encode_call *c)
{
    size_t bytes = c->cap * sizeof(int32_t); /* cap was checked before */
    if ((uintptr_t)c->work % sizeof(uint64_t) != 0 || (uintptr_t)c->ids % sizeof(int32_t) != 0) {
        bool work = (uintptr_t)c->work % sizeof(uint64_t) != 0;
        return encode_refuse(c, Q_ERR_MISALIGNED, work ? "work" : "ids", work ? 8 : 4, 0);
    }
    if (c->cap > UINTPTR_MAX / sizeof(int32_t) - (uintptr_t)c->ids / sizeof(int32_t) ||
        c->work_size > UINTPTR_MAX - (uintptr_t)c->work) {
        return encode_refuse(c, Q_ERR_INVALID_SIZE, "cap", 0, c->cap);
    }
    if (q_overlaps(c->ids, bytes, c->text, c->n) ||
        q_overlaps(c->work, c->work_size, c->text, c->n) ||
        q_overlaps(c->ids, bytes, c->work, c->work_size)) {
        return encode_refuse(c, Q_ERR_ALIASING, "ids", 0, 0);
    }
    return Q_OK;
}

static q_error_code encode_check(const encode_call *c, const size_t *n_ids)
{
    if (c->t == NULL || n_ids == NULL || (c->text == NULL && c->n != 0) ||
        (c->ids == NULL && c->cap != 0) || (c->work == NULL && c->work_size != 0)) {
        return encode_refuse(c, Q_ERR_INVALID_ARG, "NULL", 0, 0);
    }
    if ((c->flags & ~ENCODE_FLAGS) != 0) {
        return encode_refuse(c, Q_ERR_INVALID_ARG, "flags", ENCODE_FLAGS, c->flags);
    }
    if (c->t->kind == 0) {
        return encode_refuse(c, Q_ERR_INVALID_STATE, "t", 0, 0);
    }
    if (c->n > Q_TOKENIZER_MAX_TEXT) {
        return encode_refuse(c, Q_ERR_LIMIT, "n", Q_TOKENIZER_MAX_TEXT, c->n);
    }
    if (c->cap > SIZE_MAX / sizeof(int32_t)) {
        return encode_refuse(c, Q_ERR_INVALID_SIZE, "cap", SIZE_MAX / sizeof(int32_t), c->cap);
    }
    if ((c->flags & Q_ENCODE_ADD_BOS) != 0 && c->t->bos == Q_TOKEN_NONE) {
        return encode_refuse(c, Q_ERR_NOT_FOUND, "bos", 0, 0);
    }
    if ((c->flags & Q_ENCODE_ADD_EOS) != 0 && c->t->eos == Q_TOKEN_NONE) {
        return encode_refuse(c, Q_ERR_NOT_FOUND, "eos", 0, 0);
    }
    return encode_check_buffers(c);
}

/* Whether work suffices and, if the caller wants it so, every byte has a token. */
static q_error_code encode_check_text(const encode_call *c)
{
    size_t missing;
    size_t need =
        q_tokenizer_encode_work_size(c->t, survey_text(c->t, c->text, c->n, c->flags, &missing));
    if (missing != c->n) {
        return q_tokenizer_fail(c->diag, Q_ERR_NOT_FOUND, "byte", missing, 0, c->text[missing]);
    }
    if (c->work_size < need) {
        return encode_refuse(c, Q_ERR_NO_SPACE, "work", need, c->work_size);
    }
    return Q_OK;
}

q_error_code q_tokenizer_encode(const q_tokenizer *t, const char *text, size_t n, uint32_t flags,
                                void *work, size_t work_size, int32_t *ids, size_t cap,
                                size_t *n_ids, q_diag *diag)
{
    const encode_call c = {t, (const uint8_t *)text, n, flags, work, work_size, ids, cap, diag};
    id_sink out = {NULL, 0};
    q_error_code code = encode_check(&c, n_ids);
    code = code != Q_OK ? code : encode_check_text(&c);
    if (code != Q_OK) {
        return code;
    }
    /* A byte becomes at most one id, so with n + 2 elements nothing needs to be counted first. */
    if (cap < n + 2) {
        encode_text(t, c.text, n, flags, work, &out);
        if (ids != NULL && out.n > cap) {
            return encode_refuse(&c, Q_ERR_NO_SPACE, "ids", out.n, cap);
        }
    }
    if (ids != NULL) {
        out = (id_sink){ids, 0};
        encode_text(t, c.text, n, flags, work, &out);
    }
    *n_ids = out.n;
    return Q_OK;
}
