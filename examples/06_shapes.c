/* SPDX-License-Identifier: MIT */
/* 06: a convolutional network tells noisy pictures of four shapes apart, and is tried on pictures it has not seen. */
#include "training.h"

enum { SIDE = 12, CLASSES = 4, TRAINED = 256, HELD = 128, BATCH = 32 };

static void build(q_graph *graph, const void *unused)
{
    q_net n;
    q_edge x;
    q_edge labels;
    (void)unused;
    q_net_begin(&n, graph);
    x = q_net_images(&n, "x", SIDE, SIDE, 1);
    labels = q_net_labels(&n, "labels", CLASSES);
    x = q_net_batchnorm(&n, "bn1", q_net_conv2d(&n, "conv1", x, 8, 3, 1, 1), Q_ACT_RELU);
    x = q_net_max_pool(&n, x, 2);
    x = q_net_add(&n, x, q_net_batchnorm(&n, "bn2", q_net_conv2d(&n, "conv2", x, 8, 3, 1, 1), Q_ACT_RELU));
    x = q_net_max_pool(&n, x, 2);
    x = q_net_linear(&n, "head", q_net_flatten(&n, x), CLASSES, Q_ACT_NONE);
    q_net_cross_entropy(&n, x, labels);
    q_net_output(&n, "logits", x);
}

/* A bar across, a bar down, a frame or a cross of half the side, somewhere, in noise. */
static void draw(float *image, int32_t shape, uint32_t *random)
{
    enum { SIZE = SIDE / 2 };
    uint32_t at[2];
    for (uint32_t i = 0; i < SIDE * SIDE + 2; i++) {
        *random = *random * 1664525u + 1013904223u;
        if (i < SIDE * SIDE) {
            image[i] = (float)(*random >> 8) / (float)(1 << 24);
        } else {
            at[i - SIDE * SIDE] = (*random >> 16) % (SIDE - SIZE);
        }
    }
    for (uint32_t r = 0; r < SIZE; r++) {
        for (uint32_t c = 0; c < SIZE; c++) {
            bool edge = r == 0 || c == 0 || r == SIZE - 1 || c == SIZE - 1;
            bool on = shape == 0 ? r == SIZE / 2 : shape == 1 ? c == SIZE / 2 : shape == 2 ? edge : r == c || r + c == SIZE - 1;
            image[(at[0] + r) * SIDE + at[1] + c] += on ? 1.0f : 0.0f;
        }
    }
}

static float images[TRAINED + HELD][SIDE * SIDE];
static int32_t shapes[TRAINED + HELD];
static _Alignas(Q_ALIGN) unsigned char gathered[2][BATCH * SIDE * SIDE * sizeof(float) + 4096];

int main(void)
{
    static uint32_t ids[BATCH];
    static uint64_t counts[CLASSES * CLASSES];
    q_train_config config = training_config(&q_optimizer_adamw, 0.01);
    q_fit_config fit = {.struct_size = sizeof(fit), .batch = BATCH, .epochs = 12};
    q_dataset data[2];
    q_table table[2];
    q_fit_result result;
    uint32_t random = 1;
    double loss = 0;
    training t;
    training_answers answers = {&t, {.classes = CLASSES, .count = counts}};
    q_diag d;

    for (uint32_t i = 0; i < TRAINED + HELD; i++) {
        shapes[i] = (int32_t)(i % CLASSES);
        draw(images[i], shapes[i], &random);
    }
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t first = i == 0 ? 0 : TRAINED;
        table[i] = (q_table){.n = i == 0 ? TRAINED : HELD, .n_inputs = 2, .data = {images[first], &shapes[first]},
                             .bytes = {sizeof(images[0]), sizeof(shapes[0])}, .buffer = gathered[i],
                             .size = sizeof(gathered[i])};
        data[i] = q_table_dataset(&table[i]);
    }
    config.optimizer.weight_decay = 0.01;
    config.clip_norm = 1;
    config.schedule = (q_schedule){.struct_size = sizeof(config.schedule), .kind = Q_SCHEDULE_COSINE, .warmup = 8,
                                   .total = 12 * TRAINED / BATCH};
    if (training_open(&t, build, NULL, &config, training_samples(BATCH), &d) != Q_OK ||
        training_fit(&t, &fit, &data[0], &data[1], &result, &d) != Q_OK ||
        q_model_evaluate(t.trainer, &data[1], ids, BATCH, training_count, &answers, &loss, &d) != Q_OK) {
        return training_failed(&d);
    }
    printf("loss %.4f, on pictures held back %.4f; %.0f of %d are right\n", result.loss, loss,
           HELD * q_confusion_accuracy(&answers.confusion), HELD);
    return 0;
}
