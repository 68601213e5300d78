/* SPDX-License-Identifier: MIT */
/*
 * 01: a language model in static arrays: no allocator, no port, one worker.
 *
 *   01_static_memory MODEL.qorus "text to continue"
 *
 * Firmware would have the model in flash; here it is read into an array first. Every array is at least as large as
 * the size the library asks for; where it is not, the call says how much is missing.
 */
#include <stdio.h>
#include <string.h>

#include "qorus.h"

enum { CONTEXT = 128, CHUNK = 8 };

static _Alignas(128) unsigned char file_bytes[128 << 10];
static _Alignas(128) unsigned char model_bytes[32 << 10];
static _Alignas(128) unsigned char plan_bytes[64 << 10];
static _Alignas(128) unsigned char session_bytes[64 << 10];
static _Alignas(128) unsigned char state_bytes[64 << 10];
static _Alignas(128) unsigned char scratch_bytes[64 << 10];
static _Alignas(128) unsigned char generator_bytes[64 << 10];
static _Alignas(128) unsigned char text_bytes[16 << 10];

static bool print_text(void *user, const char *text, size_t n)
{
    (void)user;
    return fwrite(text, 1, n, stdout) == n;
}

static int give_up(const q_diag *d)
{
    printf("%s: %s: %s (need %lu, have %lu)\n", q_strerror(d->code), d->what, d->field, (unsigned long)d->need,
           (unsigned long)d->have);
    return 1;
}

int main(int argc, char **argv)
{
    FILE *in = argc == 3 ? fopen(argv[1], "rb") : NULL;
    size_t size = in != NULL ? fread(file_bytes, 1, sizeof(file_bytes), in) : 0;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_file file;
    q_file_build build = {.file = &file};
    q_tokenizer tokenizer;
    q_backend backend;
    q_context context = {NULL, &backend, 1, 0};
    q_plan_config config = {.struct_size = sizeof(config), .max = {1, CHUNK, 1, CONTEXT, 1}, .n_workers = 1};
    q_generate_config generate;
    q_model *model;
    q_plan *plan;
    q_session *session;
    q_generator *generator;
    q_stop_reason reason;
    const void *section;
    size_t n;
    q_region regions[2] = {{.kind = Q_REGION_STATE, .base = state_bytes, .size = sizeof(state_bytes)},
                           {.kind = Q_REGION_SCRATCH, .base = scratch_bytes, .size = sizeof(scratch_bytes)}};

    if (in == NULL) {
        printf("usage: 01_static_memory MODEL.qorus TEXT\n");
        return 2;
    }
    fclose(in);
    q_backend_scalar(&backend);
    q_generate_defaults(&generate);
    generate.max_tokens = 24;
    generate.on_text = print_text;

    if (q_file_open(&file, file_bytes, size, NULL, 0, &d) != Q_OK) {
        return give_up(&d);
    }
    section = q_file_section_data(&file, Q_SECTION_TOKENIZER, &n);
    if (q_tokenizer_open(&tokenizer, section, n, &d) != Q_OK ||
        q_model_init(&model, (q_block){model_bytes, sizeof(model_bytes)}, q_build_from_file, &build, &d) != Q_OK ||
        q_plan_init(&plan, (q_block){plan_bytes, sizeof(plan_bytes)}, model, &config, &d) != Q_OK ||
        q_session_init(&session, (q_block){session_bytes, sizeof(session_bytes)}, plan, &context, regions, 2, NULL,
                       &d) != Q_OK ||
        q_generator_init(&generator, (q_block){generator_bytes, sizeof(generator_bytes)}, session, &tokenizer,
                         &generate, &d) != Q_OK ||
        q_generator_text(generator, argv[2], strlen(argv[2]), 0, text_bytes, sizeof(text_bytes), &d) != Q_OK) {
        return give_up(&d);
    }
    printf("%s", argv[2]);
    if (q_generator_run(generator, &reason, &d) != Q_OK) {
        return give_up(&d);
    }
    printf("\n");
    return 0;
}
