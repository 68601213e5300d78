/* SPDX-License-Identifier: MIT */
/*
 * 11: a small language model learns a text byte by byte, is asked how well it knows the tenth it has not seen, and writes some
 * of its own.
 *
 *   11_language_model TEXT.txt [STEPS]
 */
#define TRAINING_BYTES (32 << 20)
#include <stdlib.h>

#include "port/posix/posix.h"
#include "training.h"

enum { VOCAB = 259 /* of the byte tokenizer */, WIDTH = 64, HEADS = 4, WINDOW = 64, BATCH = 16, STEPS = 600, WRITTEN = 200 };

static int32_t text[1 << 21]; /* as much of the file as there is room for */

/* A decoder; in training with a loss over all rows, else with logits of the rows that are asked for. */
static void build(q_graph *graph, const void *trains)
{
    q_net_transformer_config config = {.layers = 2, .width = 3 * WIDTH, .attention = {.heads = HEADS}};
    q_net n;
    q_edge tokens;
    q_edge targets;
    q_edge table;
    q_edge x;
    q_net_begin(&n, graph);
    targets = tokens = q_net_tokens(&n, "tokens", VOCAB);
    if (trains != NULL) {
        targets = q_net_targets(&n, "targets", VOCAB);
    }
    table = q_net_rope_table(&n, tokens, WIDTH / HEADS, 10000);
    config.attention.table = &table;
    x = q_net_transformer(&n, "layers", q_net_embedding(&n, "embed", tokens, VOCAB, WIDTH), &config);
    x = trains != NULL ? x : q_net_select_rows(&n, x);
    x = q_net_project(&n, "embed", q_net_rmsnorm(&n, "norm", x), VOCAB); /* tied: the embedding's matrix */
    if (trains != NULL) {
        q_net_cross_entropy(&n, x, targets);
    }
    q_net_output(&n, "logits", x);
}

/* A session that answers, with the weights of the one that learnt, and a text of it that begins as the whole one does. */
static q_error_code write_some(const training *learnt, q_diag *d)
{
    training t;
    q_tokenizer tokenizer;
    q_generate_config config;
    q_error_code e = training_session(&t, build, NULL, Q_PLAN_INFER, 0, training_texts(1, WINDOW), d);
    for (q_param p = 0; e == Q_OK && p < q_model_n_params(t.model); p++) {
        q_tensor from;
        q_param of = q_model_find_param(learnt->model, q_model_param_name(t.model, p));
        e = q_session_param(learnt->session, of, &from, d);
        e = e == Q_OK ? q_session_load_param(t.session, p, &from, d) : e;
    }
    q_generate_defaults(&config);
    config.max_tokens = WRITTEN;
    config.full = Q_FULL_SHIFT; /* more than a window: forget the older half and go on */
    config.sampler.temperature = 0.8;
    config.on_text = training_print;
    e = e == Q_OK ? q_tokenizer_init_byte(&tokenizer) : e;
    for (int i = 0; i < WINDOW / 4; i++) {
        putchar(text[i]);
    }
    return e == Q_OK ? training_write(&t, &tokenizer, &config, text, WINDOW / 4, d) : e;
}

int main(int argc, char **argv)
{
    static q_posix posix;
    static int32_t ids[2][2][BATCH * WINDOW];
    static q_step_span spans[2][BATCH];
    FILE *in = argc == 2 || argc == 3 ? fopen(argv[1], "rb") : NULL;
    const uint64_t steps = argc == 3 ? strtoull(argv[2], NULL, 10) : STEPS;
    q_train_config config = training_config(&q_optimizer_adamw, 0.01);
    q_fit_config fit = {.struct_size = sizeof(fit), .batch = BATCH, .max_steps = steps, .evaluate_every = steps};
    q_windows windows[2];
    q_dataset data[2];
    q_fit_result result;
    training t;
    uint64_t n_text = 0;
    uint64_t learnt; /* of those tokens */
    q_diag d;

    if (in == NULL) {
        printf("usage: 11_language_model TEXT.txt [STEPS]\n");
        return 2;
    }
    for (int c = fgetc(in); c != EOF && n_text < sizeof(text) / sizeof(text[0]); c = fgetc(in)) {
        text[n_text++] = c;
    }
    fclose(in);
    learnt = n_text / 10 * 9;
    for (int i = 0; i < 2; i++) {
        windows[i] = (q_windows){.text = i == 0 ? text : text + learnt, .n = i == 0 ? learnt : n_text - learnt,
                                 .window = WINDOW, .stride = i == 0 ? WINDOW / 2 : WINDOW, .batch = BATCH,
                                 .tokens = ids[i][0], .targets = ids[i][1], .spans = spans[i]};
        data[i] = q_windows_dataset(&windows[i]);
    }
    config.optimizer.weight_decay = 0.1;
    config.optimizer.beta2 = 0.95;
    config.clip_norm = 1;
    config.schedule = (q_schedule){.struct_size = sizeof(config.schedule), .kind = Q_SCHEDULE_COSINE, .warmup = 30,
                                   .total = steps};
    if (q_posix_init(&posix, 1, &d) != Q_OK) {
        return training_failed(&d);
    }
    training_port = q_posix_port(&posix);
    if (training_open(&t, build, "trains", &config, training_texts(BATCH, WINDOW), &d) != Q_OK ||
        training_fit(&t, &fit, &data[0], &data[1], &result, &d) != Q_OK) {
        return training_failed(&d);
    }
    printf("%llu bytes, %llu steps: %.3f nats a byte, %.3f of the tenth held out\n", (unsigned long long)n_text,
           (unsigned long long)result.steps, result.loss, result.validation);
    if (write_some(&t, &d) != Q_OK) {
        return training_failed(&d);
    }
    printf("\n");
    return 0;
}
