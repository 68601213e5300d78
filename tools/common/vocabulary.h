/* SPDX-License-Identifier: MIT */
/*
 * vocabulary.h: a tokenizer made from a text: byte-level BPE, one token a character, or bytes. The result is the bytes of a
 * tokenizer section (docs/FORMAT.md) that q_tokenizer_open accepts, in a file of its own (.qtok) or in a model's.
 *
 *     vocabulary_words_size(&config, text, n, &bytes, &diag);         memory of the first stage
 *     vocabulary_words(&v, &config, text, n, memory, bytes, &diag);   the text's different pieces, counted
 *     bytes = vocabulary_train_size(&v);                              memory of the second
 *     vocabulary_train(&v, memory, bytes, &diag);                     tokens and merges
 *     bytes = vocabulary_section_size(&v);
 *     vocabulary_section(&v, section, bytes, &diag);
 *
 * BPE (Sennrich et al. 2016, arXiv:1508.07909): the text is cut by the pre-tokenizer as it is when encoding; then, while there
 * are fewer tokens than asked for, the pair of neighbours that is most frequent within pieces becomes a token; of equally
 * frequent ones the one with the smaller left id, then the smaller right id. Ids: specials, the 256 bytes in the order of
 * GPT-2's alphabet, merges as they come: the ids that the `tokenizers` package gives.
 *
 * Characters: specials, the bytes that occur, then every character of several bytes, ascending, each with the beginnings it
 * is merged from: a text of these characters becomes one token for each. A byte that did not occur has no token.
 *
 * Bytes: the byte tokenizer; size, specials and text do not matter.
 *
 * Everything is deterministic. Text and memory stay as they are until the section is made.
 */
#ifndef QORUS_TOOLS_VOCABULARY_H
#define QORUS_TOOLS_VOCABULARY_H

#include "qorus/tokenizer.h"

typedef enum vocabulary_kind { VOCABULARY_BPE = 0, VOCABULARY_CHARACTERS = 1, VOCABULARY_BYTES = 2 } vocabulary_kind;

enum { VOCABULARY_MAX_SPECIALS = 64 };

typedef struct vocabulary_config {
    uint32_t kind;         /* vocabulary_kind */
    uint32_t size;         /* BPE: tokens wanted, at least 256 and the specials */
    uint32_t pretokenizer; /* BPE: q_pretokenizer; characters: Q_PRETOKENIZER_NONE */
    uint32_t min_count;    /* BPE: pairs that are rarer are not joined; 0 is 1 */
    uint32_t n_specials;   /* control tokens: the first ids */
    uint32_t end;          /* the special that ends a text: its bos and eos; Q_TOKEN_NONE: none */
    uint32_t chat_format;  /* q_chat_format; Q_CHAT_CHATML needs its two specials */
    const char *const *specials;
    void *user;
    void (*progress)(void *user, uint32_t tokens, uint32_t wanted); /* (optional) after every merge */
} vocabulary_config;

/* A piece of the text, once. */
typedef struct vocabulary_word {
    uint32_t begin;
    uint32_t length;
    uint32_t count;
} vocabulary_word;

/* The bytes of a token: in the text, in a table of bytes, or a special's name. */
typedef struct vocabulary_token {
    const uint8_t *bytes;
    uint32_t length;
    uint32_t type; /* q_token_type */
} vocabulary_token;

typedef struct vocabulary_merge {
    uint32_t left;
    uint32_t right;
    uint32_t result;
} vocabulary_merge;

typedef struct vocabulary {
    vocabulary_config config;
    const uint8_t *text;
    size_t size;
    vocabulary_word *words;
    uint32_t n_words;
    uint32_t n_symbols; /* bytes of all words together */
    vocabulary_token *tokens;
    uint32_t n_tokens;
    vocabulary_merge *merges; /* by rank */
    uint32_t n_merges;
} vocabulary;

/* Errors: Q_ERR_INVALID_ARG (names the field), LIMIT (vocabulary, specials, or a text of 1 GiB). O(n). */
Q_NODISCARD q_error_code vocabulary_words_size(const vocabulary_config *config, const void *text, size_t n, size_t *bytes,
                                               q_diag *diag);
/* memory: at a multiple of 64. Errors: those above; NO_SPACE, MISALIGNED. O(n). */
Q_NODISCARD q_error_code vocabulary_words(vocabulary *v, const vocabulary_config *config, const void *text, size_t n,
                                          void *memory, size_t size, q_diag *diag);

/* Enough for these words: some 200 bytes for each byte of different pieces. */
size_t vocabulary_train_size(const vocabulary *v);
/* Where no pair is left (or none of min_count), there are fewer tokens than asked for: v->n_tokens. Errors: NO_SPACE,
   MISALIGNED, LIMIT (more characters than a vocabulary holds). O(symbols * merges), fast. */
Q_NODISCARD q_error_code vocabulary_train(vocabulary *v, void *memory, size_t size, q_diag *diag);

size_t vocabulary_section_size(const vocabulary *v);
/* out: size bytes at a multiple of 64. The section is opened to check it: errors NO_SPACE, MISALIGNED, those of
   q_tokenizer_open. */
Q_NODISCARD q_error_code vocabulary_section(const vocabulary *v, void *out, size_t size, q_diag *diag);

#endif /* QORUS_TOOLS_VOCABULARY_H */
