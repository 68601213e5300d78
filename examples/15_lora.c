/* SPDX-License-Identifier: MIT */
/*
 * 15: a quantised language model learns an answer of yours by LoRA (Hu et al. 2021, arXiv:2106.09685): small matrices beside
 * its own are all that trains. They are a file of their own, laid over the model when it runs; the model's file stays as it is.
 *
 *   15_lora MODEL.qorus PROMPT ANSWER NEW-ADAPTERS.qorus
 */
#define TRAINING_BYTES (64 << 20)
#define FLASH_BYTES (1 << 20)
#include "flash.h"
#include "port/posix/posix.h"

enum { RANK = 4, ALPHA = 8, TOKENS = 128, STEPS = 60 };

static int32_t text[TOKENS + 1];
static size_t n_text;

static q_error_code append(const q_tokenizer *tokenizer, const char *more, q_diag *d)
{
    q_block work = training_block(q_tokenizer_encode_work_size(tokenizer, strlen(more)));
    size_t n = 0;
    q_error_code e = q_tokenizer_encode(tokenizer, more, strlen(more), Q_ENCODE_STRICT, work.base, work.size, text + n_text,
                                        TOKENS + 1 - n_text, &n, d);
    n_text += n;
    return e;
}

/* Beside the queries and values of each layer: "layers.3.q", "layers.3.v". */
static bool adapts(void *user, const char *product)
{
    const char *part = strrchr(product, '.');
    (void)user;
    return strcmp(part, ".q") == 0 || strcmp(part, ".v") == 0;
}

static bool is_adapter(void *user, const char *param)
{
    (void)user;
    return strstr(param, ".lora_") != NULL;
}

/* The model of a file with a loss behind it. */
static void build(q_graph *graph, const void *decoder)
{
    const q_decoder_build *b = (const q_decoder_build *)decoder;
    const uint32_t vocab = q_file_get_arch(b->file)->n_vocab;
    q_net n;
    q_edge tokens;
    q_edge targets;
    q_edge logits;
    q_net_begin(&n, graph);
    tokens = q_net_tokens(&n, "tokens", vocab);
    targets = q_net_targets(&n, "targets", vocab);
    logits.value = q_graph_decoder(graph, b, tokens.value);
    logits.type = (q_value_type){Q_REAL, 0, {{1, Q_SYM_ONE}, {1, Q_SYM_ONE}, {1, Q_SYM_TOKENS}, {vocab, Q_SYM_ONE}}};
    q_net_cross_entropy(&n, logits, targets);
}

static q_error_code learn(training *t, const q_decoder_build *decoder, q_fit_result *result, q_diag *d)
{
    static int32_t ids[2][TOKENS];
    static q_step_span span;
    q_windows windows = {.text = text, .n = n_text, .window = (uint32_t)n_text - 1, .stride = 1, .batch = 1,
                         .tokens = ids[0], .targets = ids[1], .spans = &span}; /* one: all of it */
    q_dataset data = q_windows_dataset(&windows);
    q_train_config config = training_config(&q_optimizer_adamw, 0.01);
    q_fit_config fit = {.struct_size = sizeof(fit), .batch = 1, .max_steps = STEPS};
    q_error_code e;
    config.clip_norm = 1;
    e = training_open(t, build, decoder, &config, training_texts(1, TOKENS), d);
    return e == Q_OK ? training_fit(t, &fit, &data, NULL, result, d) : e;
}

/* Prints the likeliest line behind the prompt. */
static q_error_code answer(const char *title, const q_decoder_build *decoder, const q_tokenizer *tokenizer, size_t n_prompt,
                           q_diag *d)
{
    static const char *const line_end[] = {"\n"};
    training t;
    q_generate_config config;
    q_error_code e = training_session(&t, q_build_decoder, decoder, Q_PLAN_INFER, 0, training_texts(1, TOKENS), d);
    q_generate_defaults(&config);
    config.stops = line_end;
    config.n_stops = 1;
    config.on_text = training_print;
    printf("%s: ", title);
    e = e == Q_OK ? training_write(&t, tokenizer, &config, text, n_prompt, d) : e;
    printf("\n");
    return e;
}

int main(int argc, char **argv)
{
    static q_posix posix;
    q_posix_model bytes;
    q_file file;
    q_file adapters;
    q_tokenizer tokenizer;
    const q_decoder_build plain = {.struct_size = sizeof(plain), .file = &file};
    const q_decoder_build learning = {.struct_size = sizeof(plain), .flags = Q_DECODER_ALL_ROWS, .file = &file, .adapts = adapts,
                                      .lora_rank = RANK, .lora_alpha = ALPHA};
    const q_decoder_build adapted = {.struct_size = sizeof(plain), .file = &file, .adapters = &adapters, .lora_alpha = ALPHA};
    q_write w = {.struct_size = sizeof(w), .keeps = is_adapter, .meta = "lora_rank: 4\nlora_alpha: 8\n"};
    training t;
    q_fit_result result;
    const void *section;
    size_t n_prompt;
    size_t n = 0;
    FILE *out;
    q_diag d;

    if (argc != 5) {
        printf("usage: 15_lora MODEL.qorus PROMPT ANSWER NEW-ADAPTERS.qorus\n");
        return 2;
    }
    if (q_posix_init(&posix, 1, &d) != Q_OK || q_posix_open_model(&posix, argv[1], NULL, &bytes, &d) != Q_OK ||
        q_file_open(&file, bytes.base, bytes.size, NULL, 0, &d) != Q_OK) {
        return training_failed(&d);
    }
    training_port = q_posix_port(&posix);
    section = q_file_section_data(&file, Q_SECTION_TOKENIZER, &n);
    if (q_tokenizer_open(&tokenizer, section, n, &d) != Q_OK || append(&tokenizer, argv[2], &d) != Q_OK) {
        return training_failed(&d);
    }
    n_prompt = n_text;
    if (append(&tokenizer, argv[3], &d) != Q_OK || append(&tokenizer, "\n", &d) != Q_OK ||
        answer("before", &plain, &tokenizer, n_prompt, &d) != Q_OK || learn(&t, &learning, &result, &d) != Q_OK) {
        return training_failed(&d);
    }
    w.model = t.model;
    w.session = t.session;
    if (flash_write(&w, &n, &d) != Q_OK || q_file_open(&adapters, flash, n, NULL, 0, &d) != Q_OK ||
        answer("with adapters", &adapted, &tokenizer, n_prompt, &d) != Q_OK ||
        answer("without", &plain, &tokenizer, n_prompt, &d) != Q_OK) {
        return training_failed(&d);
    }
    printf("loss %.3f after %d steps; %zu bytes of adapters over a model of %zu\n", result.loss, STEPS, n, bytes.size);
    out = fopen(argv[4], "wbx");
    if (out == NULL || fwrite(flash, 1, n, out) != n || fclose(out) != 0) {
        printf("%s: is there already, or cannot be written\n", argv[4]);
        return 1;
    }
    return 0;
}
