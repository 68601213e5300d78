/* SPDX-License-Identifier: MIT */
/*
 * 12: text from a language model of any size: its file mapped and used where it lies, every processor, the fastest backend,
 * tokens drawn by temperature and top-p, which the same seed draws again on any machine.
 *
 *   12_generate_text MODEL.qorus "text to continue" [SEED]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "port/posix/posix.h"
#include "qorus.h"

enum { CONTEXT = 512, CHUNK = 64 /* tokens of a prompt read at once */, TOKENS = 64, MEMORY = 128 << 20, ALIGN = 128 };

static unsigned char *memory; /* one malloc for everything */
static size_t used;

/* The next n bytes of it; a block too small if there are none left, which whoever gets it refuses. */
static q_block block(size_t n)
{
    q_block b = {memory + used, n < MEMORY - used ? n : MEMORY - used};
    used += (b.size + ALIGN - 1) / ALIGN * ALIGN;
    used = used < MEMORY ? used : MEMORY;
    return b;
}

static bool print_text(void *user, const char *text, size_t n)
{
    (void)user;
    return fwrite(text, 1, n, stdout) == n && fflush(stdout) == 0;
}

static q_diag d;

static int give_up(void)
{
    printf("%s: %s: %s (need %llu, have %llu)\n", q_strerror(d.code), d.what, d.field, (unsigned long long)d.need,
           (unsigned long long)d.have);
    return 1;
}

static void choose(q_backend *backend, const q_port *port)
{
    q_backend_scalar(backend);
#ifdef __x86_64__
    uint64_t features = port->cpu_features(port->user);
    (void)(q_backend_avx2(backend, features) && q_backend_avx512(backend, features));
#endif
}

/* From the file's bytes to a session with its regions. */
static q_error_code open_session(q_session **session, const q_file *file, const q_context *context)
{
    const q_file_build build = {.file = file};
    const uint8_t kinds[] = {Q_REGION_STATE, Q_REGION_SCRATCH};
    q_plan_config config = {.struct_size = sizeof(config), .max = {1, CHUNK, 1, CONTEXT, 1}};
    q_region region[2] = {{0}};
    q_model *model;
    q_plan *plan;
    q_needs needs;
    size_t n = 0;
    q_error_code e = q_model_size(q_build_from_file, &build, &n, &d);
    config.n_workers = context->n_workers;
    config.workspace_size = context->backend->workspace_size;
    e = e == Q_OK ? q_model_init(&model, block(n), q_build_from_file, &build, &d) : e;
    e = e == Q_OK ? q_plan_size(model, &config, &n, &d) : e;
    e = e == Q_OK ? q_plan_init(&plan, block(n), model, &config, &d) : e;
    if (e != Q_OK) {
        return e;
    }
    q_plan_needs(plan, &needs);
    for (int i = 0; i < 2; i++) {
        q_block b = block(needs.bytes[kinds[i]][0]);
        region[i].kind = kinds[i];
        region[i].base = b.base;
        region[i].size = b.size;
    }
    e = q_session_size(plan, &n, &d);
    return e == Q_OK ? q_session_init(session, block(n), plan, context, region, 2, NULL, &d) : e;
}

int main(int argc, char **argv)
{
    static q_posix posix;
    const q_port *port = q_posix_port(&posix);
    q_backend backend;
    q_context context = {port, &backend, q_posix_cpus(), 0};
    q_generate_config config;
    q_generator *generator;
    q_stop_reason reason;
    q_tokenizer tokenizer;
    q_session *session;
    q_posix_model bytes;
    q_file file;
    const void *section;
    size_t n = 0;

    if (argc != 3 && argc != 4) {
        printf("usage: 12_generate_text MODEL.qorus TEXT [SEED]\n");
        return 2;
    }
    memory = aligned_alloc(ALIGN, MEMORY);
    if (memory == NULL || q_posix_init(&posix, 0, &d) != Q_OK ||
        q_posix_open_model(&posix, argv[1], NULL, &bytes, &d) != Q_OK ||
        q_file_open(&file, bytes.base, bytes.size, NULL, 0, &d) != Q_OK) {
        return give_up();
    }
    choose(&backend, port);
    section = q_file_section_data(&file, Q_SECTION_TOKENIZER, &n);
    q_generate_defaults(&config);
    config.max_tokens = TOKENS;
    config.sampler.temperature = 0.8;
    config.sampler.top_p = 0.9;
    config.sampler.seed = argc == 4 ? strtoull(argv[3], NULL, 10) : 1;
    config.on_text = print_text;
    if (q_tokenizer_open(&tokenizer, section, n, &d) != Q_OK || open_session(&session, &file, &context) != Q_OK ||
        q_generator_size(session, &tokenizer, &config, &n, &d) != Q_OK ||
        q_generator_init(&generator, block(n), session, &tokenizer, &config, &d) != Q_OK) {
        return give_up();
    }
    n = q_generator_text_work(generator, strlen(argv[2]));
    if (used + n > MEMORY || q_generator_text(generator, argv[2], strlen(argv[2]), q_tokenizer_encode_flags(&tokenizer),
                                              memory + used, n, &d) != Q_OK) {
        return give_up();
    }
    printf("%s", argv[2]);
    if (q_generator_run(generator, &reason, &d) != Q_OK) {
        return give_up();
    }
    printf("\n");
    return 0;
}
