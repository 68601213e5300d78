/* SPDX-License-Identifier: MIT */
/* Vocabularies: what both kinds of training share, the text's pieces, and characters. */
#include "vocabulary_inner.h"

static q_error_code config_check(const vocabulary_config *c, const void *text, size_t n, q_diag *diag)
{
    uint32_t most = Q_TOKENIZER_MAX_VOCAB;
    if (c->kind > VOCABULARY_BYTES) {
        return vocabulary_fail(diag, Q_ERR_INVALID_ARG, "kind", VOCABULARY_BYTES, c->kind);
    }
    if (text == NULL || n == 0) {
        return vocabulary_fail(diag, Q_ERR_INVALID_ARG, "text", 1, n);
    }
    if (n > Q_TOKENIZER_MAX_TEXT) {
        return vocabulary_fail(diag, Q_ERR_LIMIT, "text", Q_TOKENIZER_MAX_TEXT, n);
    }
    if (c->pretokenizer > Q_PRETOKENIZER_SMOLLM || (c->kind == VOCABULARY_CHARACTERS && c->pretokenizer != Q_PRETOKENIZER_NONE)) {
        return vocabulary_fail(diag, Q_ERR_INVALID_ARG, "pretokenizer", Q_PRETOKENIZER_NONE, c->pretokenizer);
    }
    if (c->n_specials > VOCABULARY_MAX_SPECIALS) {
        return vocabulary_fail(diag, Q_ERR_LIMIT, "n_specials", VOCABULARY_MAX_SPECIALS, c->n_specials);
    }
    if (c->kind == VOCABULARY_BPE && (c->size < 256 + c->n_specials || c->size > most)) {
        return vocabulary_fail(diag, c->size > most ? Q_ERR_LIMIT : Q_ERR_INVALID_ARG, "size",
                               c->size > most ? most : 256 + c->n_specials, c->size);
    }
    if (c->end != Q_TOKEN_NONE && c->end >= c->n_specials && c->kind != VOCABULARY_BYTES) {
        return vocabulary_fail(diag, Q_ERR_INVALID_ARG, "end", c->n_specials, c->end);
    }
    return Q_OK;
}

static size_t name_bytes(const char *name)
{
    size_t n = 0;
    while (name[n] != '\0') {
        n++;
    }
    return n;
}

/* ---- Order and tokens -------------------------------------------------------------------------------------- */

static void sink(uint32_t *order, uint32_t n, uint32_t at, bool (*less)(const void *user, uint32_t a, uint32_t b),
                 const void *user)
{
    uint32_t moved = order[at];
    for (uint32_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
        child += child + 1 < n && less(user, order[child], order[child + 1]) ? 1u : 0u;
        if (!less(user, moved, order[child])) {
            break;
        }
        order[at] = order[child];
        at = child;
    }
    order[at] = moved;
}

void vocabulary_sort(uint32_t *order, uint32_t n, bool (*less)(const void *user, uint32_t a, uint32_t b), const void *user)
{
    for (uint32_t i = n / 2; i-- > 0;) {
        sink(order, n, i, less, user);
    }
    for (; n > 1; n--) {
        uint32_t last = order[0];
        order[0] = order[n - 1];
        order[n - 1] = last;
        sink(order, n - 1, 0, less, user);
    }
}

uint32_t vocabulary_find(const vocabulary *v, const uint32_t *table, size_t places, const uint8_t *bytes, uint32_t n,
                         size_t *place)
{
    size_t at = vocabulary_hash(bytes, n) & (places - 1);
    while (table[at] != 0) {
        const vocabulary_token *t = &v->tokens[table[at] - 1];
        if (t->length == n && memcmp(t->bytes, bytes, n) == 0) {
            *place = at;
            return table[at] - 1;
        }
        at = (at + 1) & (places - 1);
    }
    *place = at;
    return Q_TOKEN_NONE;
}

uint32_t vocabulary_add(vocabulary *v, const uint8_t *bytes, uint32_t n, uint32_t type)
{
    v->tokens[v->n_tokens] = (vocabulary_token){bytes, n, type};
    return v->n_tokens++;
}

/* GPT-2 shows these bytes as themselves; the others come behind them. */
static bool is_shown(uint32_t byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

void vocabulary_add_first(vocabulary *v, const uint8_t *wanted, uint32_t *ids)
{
    static const uint8_t every[256] = {
#define ROW(x) x, x + 1, x + 2, x + 3, x + 4, x + 5, x + 6, x + 7, x + 8, x + 9, x + 10, x + 11, x + 12, x + 13, x + 14, x + 15
        ROW(0x00), ROW(0x10), ROW(0x20), ROW(0x30), ROW(0x40), ROW(0x50), ROW(0x60), ROW(0x70),
        ROW(0x80), ROW(0x90), ROW(0xa0), ROW(0xb0), ROW(0xc0), ROW(0xd0), ROW(0xe0), ROW(0xf0)};
#undef ROW
    for (uint32_t i = 0; i < v->config.n_specials; i++) {
        const char *name = v->config.specials[i];
        (void)vocabulary_add(v, (const uint8_t *)name, (uint32_t)name_bytes(name), Q_TOKEN_CONTROL);
    }
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t b = 0; b < 256; b++) {
            if (wanted[b] != 0 && is_shown(b) == (pass == 0)) {
                ids[b] = vocabulary_add(v, &every[b], 1, Q_TOKEN_BYTE);
            }
        }
    }
}

/* ---- Pieces ------------------------------------------------------------------------------------------------ */

/* Cuts a text as the tokenizer to be will. */
typedef struct piece_reader {
    q_tokenizer rules;
    text_cursor cursor;
    const uint8_t *text;
    size_t n;
    size_t at;
    bool characters;
} piece_reader;

static void pieces_begin(piece_reader *r, const vocabulary_config *c, const void *text, size_t n)
{
    memset(r, 0, sizeof(*r));
    r->rules.pretokenizer = c->pretokenizer;
    r->text = (const uint8_t *)text;
    r->n = n;
    r->characters = c->kind == VOCABULARY_CHARACTERS;
    q_text_cursor_init(&r->cursor, &r->rules, r->text, n, 0);
}

static bool pieces_next(piece_reader *r, text_piece *piece)
{
    uint32_t length = 1;
    if (!r->characters) {
        return q_text_cursor_next(&r->cursor, piece);
    }
    if (r->at == r->n) {
        return false;
    }
    (void)q_utf8_class(r->text + r->at, r->n - r->at, &length);
    piece->begin = r->at;
    r->at += length;
    piece->end = r->at;
    return true;
}

static size_t count_pieces(const vocabulary_config *c, const void *text, size_t n)
{
    piece_reader r;
    text_piece piece;
    size_t pieces = 0;
    pieces_begin(&r, c, text, n);
    while (c->kind != VOCABULARY_BYTES && pieces_next(&r, &piece)) {
        pieces++;
    }
    return pieces;
}

/* The hash table comes first, the words behind it. */
static size_t words_bytes(size_t pieces)
{
    return vocabulary_places(pieces) * sizeof(uint32_t) + pieces * sizeof(vocabulary_word);
}

q_error_code vocabulary_words_size(const vocabulary_config *config, const void *text, size_t n, size_t *bytes, q_diag *diag)
{
    q_error_code e = config_check(config, text, n, diag);
    if (e == Q_OK) {
        *bytes = words_bytes(count_pieces(config, text, n));
    }
    return e;
}

static q_error_code memory_check(const void *memory, size_t size, size_t need, q_diag *diag)
{
    if (memory == NULL || (uintptr_t)memory % Q_ALIGN != 0) {
        return vocabulary_fail(diag, memory == NULL ? Q_ERR_INVALID_ARG : Q_ERR_MISALIGNED, "memory", Q_ALIGN, 0);
    }
    return size >= need ? Q_OK : vocabulary_fail(diag, Q_ERR_NO_SPACE, "memory", need, size);
}

q_error_code vocabulary_words(vocabulary *v, const vocabulary_config *config, const void *text, size_t n, void *memory,
                              size_t size, q_diag *diag)
{
    piece_reader r;
    text_piece piece;
    size_t pieces;
    size_t places;
    uint32_t *table = (uint32_t *)memory;
    q_error_code e = config_check(config, text, n, diag);
    if (e != Q_OK) {
        return e;
    }
    pieces = count_pieces(config, text, n);
    places = vocabulary_places(pieces);
    e = memory_check(memory, size, words_bytes(pieces), diag);
    if (e != Q_OK) {
        return e;
    }
    memset(v, 0, sizeof(*v));
    memset(memory, 0, words_bytes(pieces));
    v->config = *config;
    v->text = (const uint8_t *)text;
    v->size = n;
    v->words = (vocabulary_word *)(void *)(table + places);
    pieces_begin(&r, config, text, n);
    while (config->kind != VOCABULARY_BYTES && pieces_next(&r, &piece)) {
        uint32_t length = (uint32_t)(piece.end - piece.begin);
        size_t at = vocabulary_hash(v->text + piece.begin, length) & (places - 1);
        while (table[at] != 0 && (v->words[table[at] - 1].length != length ||
                                  memcmp(v->text + v->words[table[at] - 1].begin, v->text + piece.begin, length) != 0)) {
            at = (at + 1) & (places - 1);
        }
        if (table[at] == 0) {
            v->words[v->n_words] = (vocabulary_word){(uint32_t)piece.begin, length, 0};
            table[at] = ++v->n_words;
            v->n_symbols += length;
        }
        v->words[table[at] - 1].count++;
    }
    return Q_OK;
}

/* ---- Training ---------------------------------------------------------------------------------------------- */

size_t vocabulary_train_size(const vocabulary *v)
{
    return v->config.kind == VOCABULARY_BPE          ? vocabulary_bpe_size(v)
           : v->config.kind == VOCABULARY_CHARACTERS ? vocabulary_characters_size(v)
                                                     : Q_ALIGN;
}

q_error_code vocabulary_train(vocabulary *v, void *memory, size_t size, q_diag *diag)
{
    q_error_code e = memory_check(memory, size, vocabulary_train_size(v), diag);
    v->n_tokens = v->n_merges = 0;
    if (e != Q_OK || v->config.kind == VOCABULARY_BYTES) {
        return e;
    }
    return v->config.kind == VOCABULARY_BPE ? vocabulary_bpe(v, memory, size, diag) : vocabulary_characters(v, memory, size, diag);
}

/* ---- Characters -------------------------------------------------------------------------------------------- */

/* Every character brings itself and its beginnings of two and three bytes at most. */
static size_t character_tokens(const vocabulary *v)
{
    return (size_t)v->config.n_specials + 256 + 3u * (size_t)v->n_words;
}

size_t vocabulary_characters_size(const vocabulary *v)
{
    size_t n = character_tokens(v);
    return n * (sizeof(vocabulary_token) + sizeof(vocabulary_merge)) + vocabulary_places(n) * sizeof(uint32_t) +
           v->n_words * sizeof(uint32_t) + 4u * Q_ALIGN;
}

static bool word_less(const void *user, uint32_t a, uint32_t b)
{
    const vocabulary *v = (const vocabulary *)user;
    return vocabulary_bytes_less(v->text + v->words[a].begin, v->words[a].length, v->text + v->words[b].begin,
                                 v->words[b].length);
}

q_error_code vocabulary_characters(vocabulary *v, void *memory, size_t size, q_diag *diag)
{
    uint8_t occurs[256] = {0};
    uint32_t ids[256];
    size_t places = vocabulary_places(character_tokens(v));
    q_arena arena;
    uint32_t *table;
    uint32_t *order;
    if (q_arena_init(&arena, memory, size) != Q_OK) {
        return Q_ERR_INVALID_ARG;
    }
    memset(memory, 0, vocabulary_characters_size(v));
    v->tokens = (vocabulary_token *)q_arena_alloc(&arena, character_tokens(v) * sizeof(*v->tokens), Q_ALIGN);
    v->merges = (vocabulary_merge *)q_arena_alloc(&arena, character_tokens(v) * sizeof(*v->merges), Q_ALIGN);
    table = (uint32_t *)q_arena_alloc(&arena, places * sizeof(*table), Q_ALIGN);
    order = (uint32_t *)q_arena_alloc(&arena, v->n_words * sizeof(*order), 4);
    for (uint32_t i = 0; i < v->n_words; i++) {
        order[i] = i;
        for (uint32_t b = 0; b < v->words[i].length; b++) {
            occurs[v->text[v->words[i].begin + b]] = 1;
        }
    }
    vocabulary_sort(order, v->n_words, word_less, v);
    vocabulary_add_first(v, occurs, ids);
    for (uint32_t i = 0; i < v->n_words; i++) {
        const uint8_t *bytes = v->text + v->words[order[i]].begin;
        uint32_t left = ids[bytes[0]];
        for (uint32_t n = 2; n <= v->words[order[i]].length; n++) {
            size_t place;
            uint32_t id = vocabulary_find(v, table, places, bytes, n, &place);
            if (id == Q_TOKEN_NONE) {
                id = vocabulary_add(v, bytes, n, Q_TOKEN_NORMAL);
                table[place] = id + 1;
                v->merges[v->n_merges++] = (vocabulary_merge){left, ids[bytes[n - 1]], id};
            }
            left = id;
        }
    }
    return v->n_tokens <= Q_TOKENIZER_MAX_VOCAB ? Q_OK
                                                : vocabulary_fail(diag, Q_ERR_LIMIT, "characters", Q_TOKENIZER_MAX_VOCAB, v->n_tokens);
}
