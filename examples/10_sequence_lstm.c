/* SPDX-License-Identifier: MIT */
/*
 * 10: an LSTM reads ones and zeros and says after each whether the ones so far are odd. It learns from sequences of 4 to 16
 * of them and is asked about sequences of 64, which only a memory that holds can answer. Samples are made as they are asked for.
 */
#include "training.h"

enum { BATCH = 32, LONG = 64, SHORT = 16, LEAST = 4, SEQUENCES = 1024, HELD = 64 };

typedef struct sequences {
    uint32_t least; /* tokens */
    uint32_t most;
    uint32_t first; /* number of the first one: no two are alike */
    int32_t bits[BATCH * LONG];
    int32_t odd[BATCH * LONG];
    q_step_span spans[BATCH];
    const void *inputs[2];
} sequences;

/* Sequences ids[0, n) as a step: one behind the other, a span for each. */
static q_error_code load(void *user, const uint32_t *ids, uint32_t n, q_step *step)
{
    sequences *s = (sequences *)user;
    uint32_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t random = (s->first + ids[i]) * 2654435761u;
        uint32_t length = s->least + ids[i] % (s->most - s->least + 1);
        int32_t odd = 0;
        for (uint32_t k = 0; k < length; k++, at++) {
            random = random * 1664525u + 1013904223u;
            s->bits[at] = (int32_t)(random >> 31);
            odd ^= s->bits[at];
            s->odd[at] = odd;
        }
        s->spans[i] = (q_step_span){i, length};
    }
    s->inputs[0] = s->bits;
    s->inputs[1] = s->odd;
    step->inputs = s->inputs;
    step->n_spans = n;
    step->spans = s->spans;
    step->select = Q_SELECT_ALL;
    return Q_OK;
}

static void build(q_graph *graph, const void *unused)
{
    q_net n;
    q_edge x;
    q_edge odd;
    (void)unused;
    q_net_begin(&n, graph);
    x = q_net_tokens(&n, "bits", 2);
    odd = q_net_targets(&n, "odd", 2);
    x = q_net_lstm(&n, "lstm", q_net_embedding(&n, "embedding", x, 2, 8), 16);
    x = q_net_linear(&n, "head", x, 2, Q_ACT_NONE);
    q_net_cross_entropy(&n, x, odd);
    q_net_output(&n, "answer", x);
}

int main(void)
{
    static sequences trained = {.least = LEAST, .most = SHORT};
    static sequences held = {.least = LONG, .most = LONG, .first = SEQUENCES};
    static uint32_t ids[BATCH];
    static uint64_t counts[2 * 2];
    training t;
    training_answers answers = {&t, {.classes = 2, .count = counts}};
    q_dataset data[2] = {{sizeof(q_dataset), SEQUENCES, load, &trained}, {sizeof(q_dataset), HELD, load, &held}};
    q_train_config config = training_config(&q_optimizer_adam, 0.01);
    q_fit_config fit = {.struct_size = sizeof(fit), .batch = BATCH, .epochs = 12};
    q_fit_result result;
    double loss = 0;
    q_diag d;

    config.clip_norm = 1;
    if (training_open(&t, build, NULL, &config, training_texts(BATCH, LONG), &d) != Q_OK ||
        training_fit(&t, &fit, &data[0], NULL, &result, &d) != Q_OK ||
        q_model_evaluate(t.trainer, &data[1], ids, BATCH, training_count, &answers, &loss, &d) != Q_OK) {
        return training_failed(&d);
    }
    printf("loss %.4f after %llu steps; of %d sequences of %d %.2f %% of the answers are right\n", result.loss,
           (unsigned long long)result.steps, HELD, LONG, 100 * q_confusion_accuracy(&answers.confusion));
    return 0;
}
