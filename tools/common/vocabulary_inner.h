/* SPDX-License-Identifier: MIT */
/* vocabulary_inner.h: what the parts of vocabulary.h share. */
#ifndef QORUS_TOOLS_VOCABULARY_INNER_H
#define QORUS_TOOLS_VOCABULARY_INNER_H

#include "../../core/text/tokenizer_section.h"
#include "qorus/base/mem.h"
#include "qorus/memory.h"
#include "vocabulary.h"

/* FNV-1a, 32 bits (draft-eastlake-fnv). */
static inline uint32_t vocabulary_hash(const uint8_t *bytes, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ bytes[i]) * 16777619u;
    }
    return h;
}

/* Places of a hash table for n things: a power of two, at least twice as many. */
static inline size_t vocabulary_places(size_t n)
{
    size_t places = 16;
    while (places < 2 * n) {
        places *= 2;
    }
    return places;
}

static inline q_error_code vocabulary_fail(q_diag *diag, q_error_code code, const char *field, uint64_t need, uint64_t have)
{
    (void)q_tokenizer_fail(diag, code, field, 0, need, have);
    return code;
}

/* Sorts order[0, n): heapsort. less(user, a, b): a comes before b. */
void vocabulary_sort(uint32_t *order, uint32_t n, bool (*less)(const void *user, uint32_t a, uint32_t b), const void *user);

static inline bool vocabulary_bytes_less(const uint8_t *a, uint32_t na, const uint8_t *b, uint32_t nb)
{
    return q_bytes_order(a, na, b, nb) < 0;
}

/* The token of these bytes among those that `table` (places many, ids and one; 0: free) knows, or Q_TOKEN_NONE; and where
   it would go. */
uint32_t vocabulary_find(const vocabulary *v, const uint32_t *table, size_t places, const uint8_t *bytes, uint32_t n,
                         size_t *place);

/* Adds a token. */
uint32_t vocabulary_add(vocabulary *v, const uint8_t *bytes, uint32_t n, uint32_t type);

/* The specials, and the bytes that `wanted` has (256 flags), in the order of GPT-2's alphabet. ids: [256]. */
void vocabulary_add_first(vocabulary *v, const uint8_t *wanted, uint32_t *ids);

/* Training, by kind: fills tokens and merges. memory has been checked. */
size_t vocabulary_bpe_size(const vocabulary *v);
q_error_code vocabulary_bpe(vocabulary *v, void *memory, size_t size, q_diag *diag);
size_t vocabulary_characters_size(const vocabulary *v);
q_error_code vocabulary_characters(vocabulary *v, void *memory, size_t size, q_diag *diag);

#endif /* QORUS_TOOLS_VOCABULARY_INNER_H */
