/* SPDX-License-Identifier: MIT */
/*
 * 04: three prompts decoded together: each step feeds one token of each, over one plan. Every text is the one its
 * prompt gives alone.
 *
 *   04_several_texts MODEL.qorus PROMPT PROMPT PROMPT
 */
#include <stdio.h>
#include <string.h>

#include "qorus.h"

enum { TEXTS = 3, TOKENS = 16, CONTEXT = 128, LONGEST = 64, MODEL = 192 << 10 };

static _Alignas(128) unsigned char file_bytes[MODEL];
static _Alignas(128) unsigned char model_memory[64 << 10];
static _Alignas(128) unsigned char plan_memory[256 << 10];
static _Alignas(128) unsigned char session_memory[128 << 10];
static _Alignas(128) unsigned char state[1 << 20];
static _Alignas(128) unsigned char scratch[1 << 20];
static _Alignas(128) unsigned char work[64 << 10];

static int give_up(const q_diag *d)
{
    printf("%s: %s: %s\n", q_strerror(d->code), d->what, d->field);
    return 1;
}

/* The likeliest token of row r. */
static int32_t best(const q_tensor *logits, uint32_t r)
{
    const float *row = (const float *)(const void *)((const char *)logits->data + r * logits->nb[2]);
    int32_t at = 0;
    for (uint32_t i = 1; i < logits->ne[3]; i++) {
        at = row[i] > row[at] ? (int32_t)i : at;
    }
    return at;
}

/* The file's tokenizer, and one session for all texts. */
static q_error_code open_file(size_t size, q_tokenizer *tokenizer, q_session **session, q_diag *d)
{
    static q_file file;
    static q_backend backend;
    q_file_build build = {.file = &file};
    q_context context = {NULL, &backend, 1, 0};
    q_plan_config config = {.struct_size = sizeof(config), .max = {1, 16, TEXTS, CONTEXT, TEXTS}, .n_workers = 1};
    q_region region[2] = {{.kind = Q_REGION_STATE, .base = state, .size = sizeof(state)},
                          {.kind = Q_REGION_SCRATCH, .base = scratch, .size = sizeof(scratch)}};
    q_model *model;
    q_plan *plan;
    size_t n = 0;
    q_error_code e = q_file_open(&file, file_bytes, size, NULL, 0, d);
    if (e != Q_OK) {
        return e;
    }
    q_backend_scalar(&backend);
    const void *section = q_file_section_data(&file, Q_SECTION_TOKENIZER, &n);
    e = q_tokenizer_open(tokenizer, section, n, d);
    e = e == Q_OK ? q_model_init(&model, (q_block){model_memory, sizeof(model_memory)}, q_build_from_file, &build, d) : e;
    e = e == Q_OK ? q_plan_init(&plan, (q_block){plan_memory, sizeof(plan_memory)}, model, &config, d) : e;
    return e == Q_OK ? q_session_init(session, (q_block){session_memory, sizeof(session_memory)}, plan, &context, region, 2,
                                      NULL, d)
                     : e;
}

int main(int argc, char **argv)
{
    FILE *in = argc == 2 + TEXTS ? fopen(argv[1], "rb") : NULL;
    size_t size = in != NULL ? fread(file_bytes, 1, sizeof(file_bytes), in) : 0;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_tokenizer tokenizer;
    q_session *session;
    int32_t ids[TEXTS * LONGEST];
    int32_t made[TEXTS][TOKENS];
    q_step_span spans[TEXTS];
    const void *inputs[] = {ids};
    q_step step = {0};
    q_tensor logits;
    size_t n = 0;

    if (in == NULL) {
        printf("usage: 04_several_texts MODEL.qorus PROMPT PROMPT PROMPT\n");
        return 2;
    }
    fclose(in);
    if (open_file(size, &tokenizer, &session, &d) != Q_OK) {
        return give_up(&d);
    }
    step.inputs = inputs;
    step.select = Q_SELECT_LAST; /* of every span: one row of logits per text */
    step.n_spans = 1;
    step.spans = spans;
    for (uint32_t t = 0; t < TEXTS; t++) { /* the prompts, one after the other */
        if (q_tokenizer_encode(&tokenizer, argv[2 + t], strlen(argv[2 + t]), 0, work, sizeof(work), ids, LONGEST, &n,
                               &d) != Q_OK) {
            return give_up(&d);
        }
        spans[0] = (q_step_span){t, (uint32_t)n};
        if (q_model_forward(session, &step, &d) != Q_OK || q_session_output(session, 0, &logits, &d) != Q_OK) {
            return give_up(&d);
        }
        made[t][0] = best(&logits, 0);
    }
    step.n_spans = TEXTS;
    for (uint32_t i = 1; i < TOKENS; i++) { /* then all of them, one token each in a step */
        for (uint32_t t = 0; t < TEXTS; t++) {
            spans[t] = (q_step_span){t, 1};
            ids[t] = made[t][i - 1];
        }
        if (q_model_forward(session, &step, &d) != Q_OK || q_session_output(session, 0, &logits, &d) != Q_OK) {
            return give_up(&d);
        }
        for (uint32_t t = 0; t < TEXTS; t++) {
            made[t][i] = best(&logits, t);
        }
    }
    for (uint32_t t = 0; t < TEXTS; t++) {
        char text[TOKENS * 64];
        if (q_tokenizer_decode(&tokenizer, made[t], TOKENS, Q_DECODE_SKIP_SPECIAL, text, sizeof(text), &n, &d) != Q_OK) {
            return give_up(&d);
        }
        printf("%s%.*s\n", argv[2 + t], (int)n, text);
    }
    return 0;
}
