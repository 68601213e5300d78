/* SPDX-License-Identifier: MIT */
/*
 * options.h: the options of the qorus command, read the same way from argv and from a kernel command line. Needs
 * no libc.
 */
#ifndef QORUS_TOOLS_OPTIONS_H
#define QORUS_TOOLS_OPTIONS_H

#include "qorus/sampler.h"

enum { OPTIONS_MAX_ARGS = 4, OPTIONS_MAX_STOPS = 8, OPTIONS_MAX_BIAS = 64, OPTIONS_MAX_DUMPS = 64 };

typedef struct options {
    const char *args[OPTIONS_MAX_ARGS]; /* words that are no options, in order */
    uint32_t n_args;

    const char *prompt;  /* -p */
    const char *file;    /* -f */
    const char *system;  /* --system */
    const char *logits;  /* --logits */
    const char *input;   /* --input */
    const char *targets; /* --targets */
    const char *confusion; /* --confusion */
    const char *backend; /* --backend */
    const char *kv;      /* --kv; NULL: by precision */
    const char *adapter; /* --adapter */
    const char *train;   /* --train */
    const char *vectors; /* --vectors */
    const char *format;  /* --dot, --svg or --json: "dot", "svg", "json"; NULL: text */
    uint32_t n;          /* -n; UINT32_MAX: not given */
    uint32_t n_prompt;   /* -p of bench, --prompt-tokens */
    uint32_t repeat;     /* -r */
    uint32_t ctx;        /* --ctx; 0: not given */
    uint32_t most_ctx; /* of the program: where ctx is 0, no more than this; 0: an engine's own most */
    uint32_t threads;    /* -t; 0: not given */
    uint32_t chunk;      /* --chunk; 0: not given */
    uint32_t batch;      /* --batch; 0: not given */
    uint32_t sequences;  /* --sequences; 0: not given */
    uint32_t keep;       /* --keep */
    uint32_t samples;    /* --samples */
    bool exact;
    bool profile;
    bool verify;
    bool decode;
    bool special;        /* --special: control tokens in the text count as such */
    bool shift;          /* --shift: go on when the context is full */
    bool no_fuse;
    bool check_finite;
    bool no_mmap;        /* --no-mmap: the model is read into memory */
    bool pin;            /* --pin: regions stay in physical memory */
    bool help;
    q_sampler_config sampler;
    q_logit_bias bias[OPTIONS_MAX_BIAS];
    const char *stops[OPTIONS_MAX_STOPS];
    uint32_t n_stops;
    const char *dumps[OPTIONS_MAX_DUMPS]; /* --dump: "NODE=FILE", neither empty */
    uint32_t n_dumps;
} options;

/* Where an option may be used. */
enum {
    FOR_RUN = 1u << 0,
    FOR_CHAT = 1u << 1,
    FOR_BENCH = 1u << 2,
    FOR_PERPLEXITY = 1u << 3,
    FOR_TOKENIZE = 1u << 4,
    FOR_INSPECT = 1u << 5,
    FOR_PLAN = 1u << 6,
    FOR_QUANTIZE = 1u << 7,
    FOR_CONFORM = 1u << 8,
    FOR_GRADCHECK = 1u << 9,
    FOR_ANSWERS = 1u << 10, /* qorus run --input, besides FOR_RUN */
    FOR_SAMPLING = FOR_RUN | FOR_CHAT,
    FOR_MODEL = FOR_RUN | FOR_CHAT | FOR_BENCH | FOR_PERPLEXITY | FOR_PLAN
};

/*
 * Reads words[0, n) for a command. On failure returns false and writes one line that says which word is wrong and
 * what is expected to error[0, error_size).
 */
bool options_parse(options *o, uint32_t command, const char *const *words, uint32_t n, char *error,
                   size_t error_size);

/* One line of help per option of a command, handed to emit. */
void options_help(uint32_t command, void (*emit)(void *user, const char *line), void *user);

/* Numbers as people write them; the whole word must be one. */
bool options_u64(const char *word, uint64_t *out);
bool options_double(const char *word, double *out);

#endif /* QORUS_TOOLS_OPTIONS_H */
