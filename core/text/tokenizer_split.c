/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_split.c: cuts a text at special tokens, at digits, and by the GPT-2 pattern, without a
 * regex engine.
 *
 * The pattern 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ takes the
 * first alternative that matches. In words: a contraction; else an optional U+0020 and a run of one
 * class among letter, number, other; else a run of spaces, without its last one if something other
 * than a space follows the run and at least one remains. Some alternative matches every character,
 * so pieces leave no gap.
 */
#include "tokenizer_inner.h"

/* ---- Special tokens -------------------------------------------------------------------------- */

static bool bit_in(const uint32_t set[8], uint8_t byte)
{
    return (set[byte >> 5] >> (byte & 31u) & 1u) != 0;
}

/*
 * First k in [low, high) whose token has at byte `depth` a value of at least `byte`. The tokens of
 * the range are longer than depth and agree before it, so they ascend by that byte.
 */
static uint32_t special_lower_bound(const q_tokenizer *t, uint32_t low, uint32_t high,
                                    uint32_t depth, uint32_t byte)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint32_t n;
        if (q_token_bytes(t, q_token_special(t, middle), &n)[depth] < byte) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The longest special token the text begins with, or Q_TOKEN_NONE. At most max_special steps of a
 * search. */
static uint32_t special_at(const text_cursor *c, size_t pos, uint32_t *bytes)
{
    const q_tokenizer *t = c->t;
    uint32_t low = 0;
    uint32_t high = t->n_special;
    uint32_t best = Q_TOKEN_NONE;
    for (uint32_t depth = 0; low < high; depth++) {
        uint32_t n;
        uint32_t id = q_token_special(t, low);
        (void)q_token_bytes(t, id, &n);
        if (n == depth) { /* the first of the range, and the only one that ends here */
            if (c->control || q_token_kind(t, id) == Q_TOKEN_USER) {
                best = id;
                *bytes = n;
            }
            low++;
        }
        if (pos + depth >= c->n) {
            break;
        }
        low = special_lower_bound(t, low, high, depth, c->text[pos + depth]);
        high = special_lower_bound(t, low, high, depth, c->text[pos + depth] + 1u);
    }
    return best;
}

/* Finds the first special token at or after pos: sets chunk_end, special, special_bytes. */
static void chunk_find(text_cursor *c)
{
    for (size_t i = c->pos; i < c->n; i++) {
        uint8_t byte = c->text[i];
        if (bit_in(c->t->first_user, byte) || (c->control && bit_in(c->t->first_control, byte))) {
            c->special = special_at(c, i, &c->special_bytes);
            if (c->special != Q_TOKEN_NONE) {
                c->chunk_end = i;
                return;
            }
        }
    }
    c->chunk_end = c->n;
    c->special = Q_TOKEN_NONE;
}

/* ---- Digits ---------------------------------------------------------------------------------- */

/* Class and length of the character at pos, which is before end. */
static unicode_class char_at(const text_cursor *c, size_t pos, size_t end, uint32_t *length)
{
    static const uint8_t ascii[128] = {
        0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 3, 3, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2,
        2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0};
    if (c->text[pos] < 0x80) {
        *length = 1;
        return (unicode_class)ascii[c->text[pos]];
    }
    return q_utf8_class(c->text + pos, end - pos, length);
}

/* End of the segment at pos < chunk_end: one number, or a run without numbers. */
static size_t digit_segment_end(const text_cursor *c)
{
    size_t pos = c->pos;
    while (pos < c->chunk_end) {
        uint32_t length;
        if (char_at(c, pos, c->chunk_end, &length) == UNICODE_NUMBER) {
            return pos == c->pos ? pos + length : pos;
        }
        pos += length;
    }
    return pos;
}

/* ---- The GPT-2 pattern ----------------------------------------------------------------------- */

/* Length of the contraction at pos, 0 if there is none. */
static size_t contraction_length(const text_cursor *c)
{
    size_t left = c->segment_end - c->pos;
    const uint8_t *p = c->text + c->pos;
    if (left < 2 || p[0] != '\'') {
        return 0;
    }
    if (p[1] == 's' || p[1] == 't' || p[1] == 'm' || p[1] == 'd') {
        return 2;
    }
    if (left < 3) {
        return 0;
    }
    return (p[1] == 'r' && p[2] == 'e') || (p[1] == 'v' && p[2] == 'e') ||
                   (p[1] == 'l' && p[2] == 'l')
               ? 3
               : 0;
}

/* End of the run of spaces at pos as a piece: all of it at the end of the segment, else without its
 * last. */
static size_t space_run_end(const text_cursor *c)
{
    size_t pos = c->pos;
    size_t last = pos;
    while (pos < c->segment_end) {
        uint32_t length;
        if (char_at(c, pos, c->segment_end, &length) != UNICODE_SPACE) {
            return last > c->pos ? last : pos;
        }
        last = pos;
        pos += length;
    }
    return pos;
}

/* End of the piece at pos < segment_end. */
static size_t gpt2_piece_end(const text_cursor *c)
{
    size_t end = c->segment_end;
    size_t pos = c->pos + contraction_length(c);
    uint32_t length;
    unicode_class run;
    if (pos > c->pos) {
        return pos;
    }
    run = char_at(c, pos, end, &length);
    if (c->text[pos] == ' ' && pos + 1 < end) {
        pos++;
        run = char_at(c, pos, end, &length);
    }
    if (run == UNICODE_SPACE) {
        return space_run_end(c);
    }
    do {
        pos += length;
    } while (pos < end && char_at(c, pos, end, &length) == run);
    return pos;
}

/* ---- The cursor ------------------------------------------------------------------------------ */

void q_text_cursor_init(text_cursor *c, const q_tokenizer *t, const uint8_t *text, size_t n,
                        uint32_t flags)
{
    c->t = t;
    c->text = text;
    c->n = n;
    c->pos = 0;
    c->segment_end = 0;
    c->special_bytes = 0;
    c->control = (flags & Q_ENCODE_PARSE_SPECIAL) != 0;
    chunk_find(c);
}

/* The special token at chunk_end == pos becomes the piece, and the next one is looked for. */
static void take_special(text_cursor *c, text_piece *piece)
{
    piece->begin = c->pos;
    piece->end = c->pos + c->special_bytes;
    piece->special = c->special;
    c->pos = piece->end;
    c->segment_end = piece->end;
    chunk_find(c);
}

bool q_text_cursor_next(text_cursor *c, text_piece *piece)
{
    if (c->pos == c->chunk_end) {
        if (c->special == Q_TOKEN_NONE) {
            return false;
        }
        take_special(c, piece);
        return true;
    }
    if (c->pos == c->segment_end) {
        c->segment_end =
            c->t->pretokenizer == Q_PRETOKENIZER_SMOLLM ? digit_segment_end(c) : c->chunk_end;
    }
    piece->begin = c->pos;
    piece->end = c->t->pretokenizer == Q_PRETOKENIZER_NONE ? c->segment_end : gpt2_piece_end(c);
    piece->special = Q_TOKEN_NONE;
    c->pos = piece->end;
    return true;
}
