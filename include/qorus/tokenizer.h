/* SPDX-License-Identifier: MIT */
/*
 * tokenizer.h: text to token ids and back, over a tokenizer section used in place.
 *
 * Two kinds: the byte tokenizer (ids 0-255 are the bytes, 256 <bos>, 257 <eos>, 258 <pad>) and
 * byte-level BPE. The section (docs/FORMAT.md, "Tokenizer section") is a block of bytes in a .qorus
 * file, or a .qtok file of its own. q_tokenizer_open() checks all of it once; every other function
 * then trusts it, so the bytes must stay as they are while the q_tokenizer is in use. A q_tokenizer
 * is constant after opening, holds nothing to free, may be copied, and may be shared by threads.
 *
 * Encoding gives the ids that the `tokenizers` package gives (BPE: lowest rank first, leftmost
 * among equals), and is defined for every byte string: a byte that is no part of a valid UTF-8
 * character counts as one character that is neither letter, number nor space. Character classes are
 * those of Unicode 16.0.
 */
#ifndef QORUS_TOKENIZER_H
#define QORUS_TOKENIZER_H

#include "../qorus_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Limits of the format -------------------------------------------------------------------- */

enum {
    Q_TOKENIZER_VERSION = 1,
    Q_TOKENIZER_HEADER = 128,          /* bytes of the header */
    Q_TOKENIZER_MAX_VOCAB = 1 << 20,   /* tokens */
    Q_TOKENIZER_MAX_MERGES = 1 << 21,  /* merges */
    Q_TOKENIZER_MAX_TOKEN = 1024,      /* bytes of one token */
    Q_TOKENIZER_MAX_SPECIAL = 256,     /* bytes of one control or user-defined token */
    Q_TOKENIZER_MAX_SYSTEM = 4096,     /* bytes of the default system message */
    Q_TOKENIZER_MAX_SECTION = 1 << 26, /* bytes of a section */
    Q_TOKENIZER_MAX_TEXT = 1 << 30,    /* bytes of text in one call of q_tokenizer_encode */
    Q_TOKENIZER_MAX_EOG = 8            /* ids that end a generation */
};

#define Q_TOKEN_NONE UINT32_MAX /* "no such token" wherever an id may be missing */

typedef enum q_tokenizer_kind {
    Q_TOKENIZER_BYTE = 1,
    Q_TOKENIZER_BPE = 2
} q_tokenizer_kind;

/*
 * How text is cut before BPE; no merge crosses a cut.
 *   GPT2    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *   SMOLLM  every \p{N} stands alone; the runs between are cut as GPT2, each by itself
 */
typedef enum q_pretokenizer {
    Q_PRETOKENIZER_NONE = 0,
    Q_PRETOKENIZER_GPT2 = 1,
    Q_PRETOKENIZER_SMOLLM = 2
} q_pretokenizer;

/* How a conversation becomes text. CHATML: control tokens <|im_start|> and <|im_end|> exist. */
typedef enum q_chat_format {
    Q_CHAT_NONE = 0,
    Q_CHAT_CHATML = 1
} q_chat_format;

typedef enum q_token_type {
    Q_TOKEN_NORMAL = 0,  /* two bytes or more, made by merges */
    Q_TOKEN_CONTROL = 1, /* never made from text unless Q_ENCODE_PARSE_SPECIAL is given */
    Q_TOKEN_USER = 2,    /* found in text as it stands, before anything else */
    Q_TOKEN_BYTE = 3,    /* one byte */
    Q_TOKEN_UNUSED = 4   /* never made, never found; may be empty */
} q_token_type;

/* Flags of the section. */
enum {
    Q_TOKENIZER_ADD_BOS = 1u << 0,  /* the model was trained with bos before every text */
    Q_TOKENIZER_ADD_EOS = 1u << 1,  /* ... with eos after it */
    Q_TOKENIZER_UNK_BYTES = 1u << 2 /* a byte without a token becomes unk, else it is left out */
};

/* Flags of q_tokenizer_encode. */
enum {
    Q_ENCODE_ADD_BOS = 1u << 0,
    Q_ENCODE_ADD_EOS = 1u << 1,
    Q_ENCODE_PARSE_SPECIAL = 1u << 2, /* text of a control token becomes that token */
    Q_ENCODE_STRICT = 1u << 3         /* a byte without a token is Q_ERR_NOT_FOUND */
};

/* Flags of q_tokenizer_decode and q_tokenizer_stream. */
enum {
    Q_DECODE_SKIP_SPECIAL = 1u << 0 /* control tokens give no bytes */
};

/* ---- The object ------------------------------------------------------------------------------ */

/* A merge: after a left token, which the table's index gives, `right` joins it into `result`. */
typedef struct q_merge {
    uint32_t right;
    uint32_t rank; /* lower goes first */
    uint32_t result;
} q_merge;

Q_STATIC_ASSERT(sizeof(q_merge) == 12, "q_merge is a record of the file");

/* An open tokenizer. Members are for the functions below; callers use the accessors. */
typedef struct q_tokenizer {
    const uint32_t *offsets; /* [n_vocab + 1] into text; all tables NULL: bytes */
    const uint8_t *text;
    const uint8_t *types;         /* [n_vocab] q_token_type */
    const uint32_t *byte_ids;     /* [256] */
    const uint32_t *plain_ids;    /* [n_plain] normal and byte tokens in order of their bytes */
    const uint32_t *special_ids;  /* [n_special] control and user tokens in order of their bytes */
    const uint32_t *merge_starts; /* [n_vocab + 1] into merges, by left token */
    const q_merge *merges;        /* [n_merges] */
    const uint32_t *merge_order;  /* [n_merges] index into merges, by rank */
    const uint8_t *system;        /* [system_bytes] default system message */
    uint32_t kind;                /* q_tokenizer_kind; 0: not open */
    uint32_t pretokenizer;        /* q_pretokenizer */
    uint32_t chat_format;         /* q_chat_format */
    uint32_t flags;               /* Q_TOKENIZER_* */
    uint32_t n_vocab, n_merges, n_plain, n_special;
    uint32_t max_token, max_special, system_bytes, n_eog;
    uint32_t bos, eos, pad, unk; /* Q_TOKEN_NONE where the vocabulary has none */
    uint32_t eog[Q_TOKENIZER_MAX_EOG];
    uint32_t first_control[8]; /* bit b: some control token begins with byte b */
    uint32_t first_user[8];    /* the same for user-defined tokens */
} q_tokenizer;

/*
 * Opens a section of exactly `size` bytes at `base` (multiple of Q_ALIGN), which must outlive *t
 * unchanged. One pass over the section, linear in its size, no allocation, no byte outside it read.
 * *t is written only on success. Every field and table is checked, so that afterwards no call can
 * read outside the section or loop without end.
 *
 * Errors: Q_ERR_INVALID_ARG (NULL), Q_ERR_MISALIGNED, Q_ERR_NOT_QORUS (magic), Q_ERR_VERSION,
 * Q_ERR_TRUNCATED, Q_ERR_LIMIT (a cap above), Q_ERR_UNSUPPORTED (unknown kind, pre-tokenizer, chat
 * format or flag), Q_ERR_CORRUPT (anything else). diag: field = the field or table, offset = its
 * byte in the section, need/have where a number can say what was expected.
 */
Q_NODISCARD q_error_code q_tokenizer_open(q_tokenizer *t, const void *base, size_t size,
                                          q_diag *diag);

/* The byte tokenizer, without a section: flags 0, end of generation at <eos>. Q_ERR_INVALID_ARG if
   t is NULL. */
Q_NODISCARD q_error_code q_tokenizer_init_byte(q_tokenizer *t);

/* ---- Accessors: O(1) unless stated; t is open ------------------------------------------------ */

static inline uint32_t q_tokenizer_n_vocab(const q_tokenizer *t)
{
    return t->n_vocab;
}

static inline uint32_t q_tokenizer_bos(const q_tokenizer *t)
{
    return t->bos;
}

static inline uint32_t q_tokenizer_eos(const q_tokenizer *t)
{
    return t->eos;
}

static inline uint32_t q_tokenizer_pad(const q_tokenizer *t)
{
    return t->pad;
}

static inline uint32_t q_tokenizer_unk(const q_tokenizer *t)
{
    return t->unk;
}

/* Bytes of the longest token: room that decoding one token can need. */
static inline uint32_t q_tokenizer_max_token(const q_tokenizer *t)
{
    return t->max_token;
}

static inline q_chat_format q_tokenizer_chat_format(const q_tokenizer *t)
{
    return (q_chat_format)t->chat_format;
}

/* Q_ENCODE_ADD_BOS and Q_ENCODE_ADD_EOS as this model was trained. */
static inline uint32_t q_tokenizer_encode_flags(const q_tokenizer *t)
{
    return t->flags & (Q_TOKENIZER_ADD_BOS | Q_TOKENIZER_ADD_EOS);
}

/* The system message the chat format uses when a conversation brings none; *n = 0 if it has no such
   message. Not terminated. Never NULL. */
const char *q_tokenizer_system(const q_tokenizer *t, uint32_t *n);

/* True if generation ends at this id. */
bool q_tokenizer_is_eog(const q_tokenizer *t, int32_t id);

/* Bytes and type of a token. The bytes are not terminated and live as long as the section. type may
   be NULL. False, outputs untouched: no such id. */
bool q_tokenizer_token(const q_tokenizer *t, int32_t id, const uint8_t **bytes, uint32_t *n,
                       q_token_type *type);

/* The token with exactly these bytes; a control or user-defined token goes before a normal one of
   the same bytes; unused tokens are never found. O(log n_vocab). False, *id untouched: there is
   none. */
bool q_tokenizer_find(const q_tokenizer *t, const void *bytes, size_t n, int32_t *id);

/* The merge of a rank below t->n_merges. False, outputs untouched: no such rank. O(log n_vocab). */
bool q_tokenizer_merge(const q_tokenizer *t, uint32_t rank, uint32_t *left, uint32_t *right,
                       uint32_t *result);

/* ---- Encoding -------------------------------------------------------------------------------- */

/* Bytes of work that suffice for every text of n bytes: 0 up to 32 bytes and for the byte
   tokenizer, then 32 n; SIZE_MAX if n is above Q_TOKENIZER_MAX_TEXT. */
size_t q_tokenizer_encode_work_size(const q_tokenizer *t, size_t n);

/* Bytes of work for exactly this text: 32 times its longest piece (see q_pretokenizer), 0 if no
   piece is longer than 32 bytes. Ordinary prose needs a few KiB at most. flags as for
   q_tokenizer_encode. O(n). */
size_t q_tokenizer_encode_work_need(const q_tokenizer *t, const char *text, size_t n,
                                    uint32_t flags);

/*
 * Token ids of n bytes of text.
 *
 *   text     may be NULL if n is 0; NULs and invalid UTF-8 are text like any other
 *   flags    Q_ENCODE_*; see also q_tokenizer_encode_flags()
 *   work     work_size bytes at a multiple of 8; may be NULL if none is needed
 *   ids      cap elements; NULL with cap 0 asks for the number only. n + 2 elements always
 *            suffice, and the call is then twice as fast as with fewer
 *   n_ids    number of ids
 *
 * Text equal to a control token stays text unless Q_ENCODE_PARSE_SPECIAL. A byte for which the
 * vocabulary has no token becomes unk or is left out as the section's flags say, as other
 * implementations do; Q_ENCODE_STRICT refuses it.
 *
 * Errors: Q_ERR_INVALID_ARG, Q_ERR_INVALID_STATE (t not open), Q_ERR_INVALID_SIZE (cap impossible),
 * Q_ERR_LIMIT (text too long), Q_ERR_MISALIGNED (work), Q_ERR_ALIASING, Q_ERR_NOT_FOUND (bos or eos
 * asked for and the vocabulary has none; with Q_ENCODE_STRICT a byte without a token, diag.offset
 * says where), Q_ERR_NO_SPACE (diag.field "work" or "ids", need and have in bytes or elements). On
 * failure ids and *n_ids are untouched. Time O(n log n) in the worst case, whatever the text, plus
 * at most max_special search steps a byte where special tokens are looked for.
 */
Q_NODISCARD q_error_code q_tokenizer_encode(const q_tokenizer *t, const char *text, size_t n,
                                            uint32_t flags, void *work, size_t work_size,
                                            int32_t *ids, size_t cap, size_t *n_ids, q_diag *diag);

/* ---- Decoding -------------------------------------------------------------------------------- */

/*
 * Bytes of n tokens. The result need not be valid UTF-8; see q_utf8_stream. out NULL with cap 0
 * asks for the number only. ids may be NULL if n is 0.
 *
 * Errors: Q_ERR_INVALID_ARG, Q_ERR_INVALID_STATE, Q_ERR_INVALID_SIZE, Q_ERR_ALIASING,
 * Q_ERR_OVERFLOW, Q_ERR_INVALID_TOKEN (diag.offset = index in ids, diag.have = the id, diag.need =
 * n_vocab), Q_ERR_NO_SPACE. On failure out and *n_out are untouched.
 */
Q_NODISCARD q_error_code q_tokenizer_decode(const q_tokenizer *t, const int32_t *ids, size_t n,
                                            uint32_t flags, char *out, size_t cap, size_t *n_out,
                                            q_diag *diag);

/* ---- Streaming ------------------------------------------------------------------------------- */

/* Holds back the bytes of a UTF-8 character that is not complete yet. {0} is a fresh stream. */
typedef struct q_utf8_stream {
    uint8_t held[3];
    uint8_t n; /* bytes in held, at most 3 */
} q_utf8_stream;

static inline void q_utf8_stream_init(q_utf8_stream *s)
{
    s->held[0] = s->held[1] = s->held[2] = 0;
    s->n = 0;
}

/*
 * Takes n bytes and gives all of which it is certain that no character is cut: everything except a
 * last beginning of a valid character. Bytes that cannot be part of a character pass through
 * unchanged. out needs n + 3 bytes, or fewer if the result is shorter; it may not overlap the
 * input. All bytes in, in order, equal all bytes out. Errors: Q_ERR_INVALID_ARG, Q_ERR_NO_SPACE; on
 * failure stream and outputs are untouched.
 */
Q_NODISCARD q_error_code q_utf8_stream_push(q_utf8_stream *s, const void *bytes, size_t n,
                                            char *out, size_t cap, size_t *n_out);

/* The end of the text: gives the held bytes (at most 3) as they are and empties the stream. Errors
   as above. */
Q_NODISCARD q_error_code q_utf8_stream_flush(q_utf8_stream *s, char *out, size_t cap,
                                             size_t *n_out);

/* q_tokenizer_decode of one token through a stream. out needs q_tokenizer_max_token(t) + 3 bytes.
   Errors: those of q_tokenizer_decode. */
Q_NODISCARD q_error_code q_tokenizer_stream(const q_tokenizer *t, q_utf8_stream *s, int32_t id,
                                            uint32_t flags, char *out, size_t cap, size_t *n_out,
                                            q_diag *diag);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_TOKENIZER_H */
