/* SPDX-License-Identifier: MIT */
/* digits.h: what 08 and 09 have in common: IDX files of digits (make digits), a training on them, a look at those held out. */
#ifndef EXAMPLES_DIGITS_H
#define EXAMPLES_DIGITS_H

#include "port/posix/posix.h"
#include "training.h"

enum { SIDE = 8, PIXELS = SIDE * SIDE, CLASSES = 10, MOST = 1500, BATCH = 32 };

typedef struct digits {
    uint32_t n;
    float x[MOST][PIXELS]; /* 0 .. 1 */
    int32_t y[MOST];
    _Alignas(Q_ALIGN) unsigned char gathered[BATCH * (PIXELS + 1) * sizeof(float) + 2 * Q_ALIGN]; /* a batch */
} digits;

/* An IDX file of bytes: 0, 0, 8, dimensions, the size of each (big-endian), samples of `width` bytes. Returns how many, none
   where it is not such a file. */
static uint32_t digits_read(const char *path, uint32_t width, unsigned char (*out)[PIXELS])
{
    unsigned char head[16] = {0};
    const unsigned char sides = width == 1 ? 0 : 2; /* dimensions of a sample */
    FILE *in = fopen(path, "rb");
    uint32_t n = 0;
    if (in != NULL && fread(head, 1, 8 + 4u * sides, in) == 8 + 4u * sides && head[2] == 8 && head[3] == 1 + sides &&
        (sides == 0 || (head[11] == SIDE && head[15] == SIDE))) {
        while (n < MOST && fread(out[n], 1, width, in) == width) {
            n++;
        }
    }
    if (in != NULL) {
        fclose(in);
    }
    return n == ((uint32_t)head[4] << 24 | (uint32_t)head[5] << 16 | (uint32_t)head[6] << 8 | head[7]) ? n : 0;
}

static bool digits_open(digits *d, const char *images, const char *labels)
{
    static unsigned char bytes[2][MOST][PIXELS];
    d->n = digits_read(images, PIXELS, bytes[0]);
    if (d->n == 0 || digits_read(labels, 1, bytes[1]) != d->n) {
        printf("%s and %s: no IDX files of 1 to %d images of %d x %d and their labels\n", images, labels, MOST, SIDE, SIDE);
        return false;
    }
    for (uint32_t i = 0; i < d->n; i++) {
        for (uint32_t k = 0; k < PIXELS; k++) {
            d->x[i][k] = (float)bytes[0][i][k] / 255;
        }
        d->y[i] = bytes[1][i][0];
    }
    return true;
}

static q_dataset digits_dataset(digits *d, q_table *table)
{
    *table = (q_table){.n = d->n, .n_inputs = 2, .data = {d->x, d->y}, .bytes = {sizeof(d->x[0]), sizeof(d->y[0])},
                       .buffer = d->gathered, .size = sizeof(d->gathered)};
    return q_table_dataset(table);
}

/* Trains the network on the files of `argv`, with AdamW at a rate that warms up and falls, and prints what came of it. */
static int digits_main(int argc, char **argv, q_build_fn build, double learning_rate, uint64_t epochs)
{
    static q_posix posix;
    static digits train;
    static digits held;
    static uint32_t ids[BATCH];
    static uint64_t counts[CLASSES * CLASSES];
    training t;
    training_answers answers = {&t, {.classes = CLASSES, .count = counts}};
    q_train_config config = training_config(&q_optimizer_adamw, learning_rate);
    q_fit_config fit = {.struct_size = sizeof(fit), .batch = BATCH, .epochs = epochs};
    q_table table[2];
    q_dataset data[2];
    q_fit_result result;
    double loss = 0;
    q_diag d;

    if (argc != 5) {
        printf("usage: %s TRAIN-IMAGES TRAIN-LABELS TEST-IMAGES TEST-LABELS (IDX files: `make digits` makes them)\n", argv[0]);
        return 2;
    }
    if (!digits_open(&train, argv[1], argv[2]) || !digits_open(&held, argv[3], argv[4])) {
        return 1;
    }
    data[0] = digits_dataset(&train, &table[0]);
    data[1] = digits_dataset(&held, &table[1]);
    config.optimizer.weight_decay = 0.01;
    config.schedule = (q_schedule){.struct_size = sizeof(config.schedule), .kind = Q_SCHEDULE_COSINE, .warmup = 20,
                                   .total = epochs * ((train.n + BATCH - 1) / BATCH)};
    if (q_posix_init(&posix, 1, &d) != Q_OK) {
        return training_failed(&d);
    }
    training_port = q_posix_port(&posix);
    if (training_open(&t, build, NULL, &config, training_samples(BATCH), &d) != Q_OK ||
        training_fit(&t, &fit, &data[0], NULL, &result, &d) != Q_OK ||
        q_model_evaluate(t.trainer, &data[1], ids, BATCH, training_count, &answers, &loss, &d) != Q_OK) {
        return training_failed(&d);
    }
    printf("%u digits, %llu epochs: loss %.4f; of %u held out %.2f %% are right\n", train.n,
           (unsigned long long)result.epochs, result.loss, held.n, 100 * q_confusion_accuracy(&answers.confusion));
    return 0;
}

#endif /* EXAMPLES_DIGITS_H */
