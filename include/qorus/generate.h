/* SPDX-License-Identifier: MIT */
/*
 * generate.h: the generation loop over a session of a language model, and the words of a chat.
 *
 *   q_generator_init     once, over a session and a tokenizer
 *   q_generator_feed     reads tokens (a prompt, a turn of a chat) into the KV cache
 *   q_generator_text     the same for text
 *   q_generator_run      samples, prints and feeds back until something ends it
 *
 * The session's model takes token ids as input 0 and gives logits as output 0, one row per selected token.
 */
#ifndef QORUS_GENERATE_H
#define QORUS_GENERATE_H

#include "model.h"
#include "sampler.h"
#include "tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What ends a run. */
typedef enum q_stop_reason {
    Q_STOP_NONE = 0,
    Q_STOP_TOKEN = 1,  /* the model ended its text */
    Q_STOP_STRING = 2, /* a stop string came; it is not part of the text */
    Q_STOP_COUNT = 3,  /* max_tokens were made */
    Q_STOP_CONTEXT = 4,/* no position is left and the policy is to stop */
    Q_STOP_CALLER = 5  /* a callback asked for it */
} q_stop_reason;

/* What happens when the KV cache is full. */
typedef enum q_full_policy {
    Q_FULL_STOP = 0,
    /* Keeps the first `keep` tokens and the later half of the others, drops what lies between, and reads the kept
       half again at its new positions: from then on the bits are those of a fresh session fed with these tokens. */
    Q_FULL_SHIFT = 1
} q_full_policy;

enum { Q_GENERATE_MAX_STOPS = 8, Q_GENERATE_MAX_STOP_BYTES = 128 };

typedef struct q_generate_config {
    uint32_t struct_size; /* sizeof(q_generate_config) */
    uint32_t max_tokens;  /* per run; 0: no limit but the context */
    uint32_t full;        /* q_full_policy */
    uint32_t keep;        /* Q_FULL_SHIFT */
    uint32_t n_stops;     /* at most Q_GENERATE_MAX_STOPS */
    uint32_t ignore_eog;  /* 1: the model's end-of-text tokens do not end the run */
    const char *const *stops; /* terminated, 1 .. Q_GENERATE_MAX_STOP_BYTES bytes each; the caller's, kept */
    uint64_t deadline;    /* in ticks of the port, 0: none: handed to every step */
    q_sampler_config sampler;

    /* All optional. A callback that returns false ends the run with Q_STOP_CALLER. It may look at the generator;
       what would change that is refused with Q_ERR_INVALID_STATE until the run is over. */
    bool (*on_text)(void *user, const char *text, size_t n);  /* whole UTF-8 characters, as they come */
    bool (*on_token)(void *user, int32_t token);              /* every sampled token, before it is fed */
    bool (*on_logits)(void *user, float *logits, uint32_t n); /* before sampling; may be changed */
    void *user;
} q_generate_config;

/* Greedy, no limit, stop when full, no callbacks. */
void q_generate_defaults(q_generate_config *config);

typedef struct q_generator q_generator;

/* Bytes of a generator. Errors: those of q_sampler_check; Q_ERR_INVALID_ARG with the field; Q_ERR_INVALID_STATE if
   the tokenizer is not open; Q_ERR_MISMATCH if model and tokenizer disagree about the vocabulary. */
Q_NODISCARD q_error_code q_generator_size(const q_session *session, const q_tokenizer *tokenizer,
                                          const q_generate_config *config, size_t *bytes, q_diag *diag);

/* memory.base: multiple of Q_ALIGN. Session and tokenizer must outlive the generator; the session must be empty
   (position 0) or hold exactly what a restored history says, see q_generator_restore. */
Q_NODISCARD q_error_code q_generator_init(q_generator **generator, q_block memory, q_session *session,
                                          const q_tokenizer *tokenizer, const q_generate_config *config,
                                          q_diag *diag);

/* Changes limits, stops, sampling and callbacks between runs; what the memory was sized for must still suffice. */
Q_NODISCARD q_error_code q_generator_configure(q_generator *generator, const q_generate_config *config, q_diag *diag);

/*
 * Reads n tokens. Needs n positions: Q_ERR_CONTEXT_FULL if they are not left and the policy is to stop, or if n
 * alone exceeds the context. Errors of q_model_forward; the generator then stands where it stood.
 */
Q_NODISCARD q_error_code q_generator_feed(q_generator *generator, const int32_t *ids, size_t n, q_diag *diag);

/*
 * Encodes text and reads it. flags: Q_ENCODE_*. work: memory for ids and encoding, q_generator_text_work() bytes,
 * multiple of Q_ALIGN.
 */
size_t q_generator_text_work(const q_generator *generator, size_t n);
Q_NODISCARD q_error_code q_generator_text(q_generator *generator, const char *text, size_t n, uint32_t flags,
                                          void *work, size_t work_size, q_diag *diag);

/*
 * Generates until something ends it; something must have been fed. Returns Q_OK with the reason, or an error:
 * Q_ERR_CANCELLED and Q_ERR_DEADLINE leave everything as it was before the step they stopped, so another run goes
 * on. A token that ended the model's text is not fed; any other last token of a run is fed when the next run or
 * feed begins.
 */
Q_NODISCARD q_error_code q_generator_run(q_generator *generator, q_stop_reason *reason, q_diag *diag);

/* Tokens read so far, oldest first: those the KV cache holds, at most its capacity. */
const int32_t *q_generator_history(const q_generator *generator, uint32_t *n);
/* Tokens sampled by the last run. */
uint32_t q_generator_count(const q_generator *generator);
/* Tokens sampled in its life, which pick the random numbers: what a snapshot keeps so that a restored generator goes
   on as the saved one would have. */
uint64_t q_generator_counter(const q_generator *generator);
void q_generator_set_counter(q_generator *generator, uint64_t counter);
/* Forgets everything after the first n tokens. Errors of q_session_rewind. */
Q_NODISCARD q_error_code q_generator_rewind(q_generator *generator, uint32_t n, q_diag *diag);
/* Takes over a session whose KV cache was put back from a snapshot: ids are the tokens it holds. */
Q_NODISCARD q_error_code q_generator_restore(q_generator *generator, const int32_t *ids, uint32_t n, q_diag *diag);

/* ---- Chat ---------------------------------------------------------------------------------------------- */

typedef enum q_chat_role { Q_CHAT_SYSTEM = 0, Q_CHAT_USER = 1, Q_CHAT_ASSISTANT = 2 } q_chat_role;

/*
 * The tokens of one turn in the tokenizer's chat format: ChatML is <|im_start|>role NEWLINE text <|im_end|> NEWLINE. Text
 * equal to a control token stays text; it is encoded apart from what surrounds it. open: leaves the turn open after the
 * text (what an assistant is to continue). Buffers as for q_tokenizer_encode; q_chat_turn_cap() ids always suffice. Errors:
 * Q_ERR_UNSUPPORTED if the tokenizer names no chat format; those of q_tokenizer_encode.
 */
size_t q_chat_turn_cap(size_t n);
Q_NODISCARD q_error_code q_chat_turn(const q_tokenizer *tokenizer, q_chat_role role, const char *text, size_t n,
                                     bool open, void *work, size_t work_size, int32_t *ids, size_t cap,
                                     size_t *n_ids, q_diag *diag);
/* The tokens that close an assistant's turn. */
Q_NODISCARD q_error_code q_chat_close(const q_tokenizer *tokenizer, int32_t *ids, size_t cap, size_t *n_ids,
                                      q_diag *diag);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_GENERATE_H */
