/* SPDX-License-Identifier: MIT */
/*
 * 13: a port of one function, a line of text out: no files, no clock, no threads, no allocator. A network learns the digits of
 * a 5 x 7 font from constant arrays, is written as a .qorus file into another array (on a board: flash), opened where it lies,
 * and reads digits that have a wrong pixel.
 */
#include "flash.h"
#include "qorus/base/text.h"

enum { ROWS = 7, COLUMNS = 5, PIXELS = ROWS * COLUMNS, DIGITS = 10, BATCH = PIXELS, PICTURES = 1000 };

/* A byte for each row, its low bit the rightmost pixel. */
static const uint8_t font[DIGITS][ROWS] = {
    {0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e}, {0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e},
    {0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f}, {0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e},
    {0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02}, {0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e},
    {0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e}, {0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08},
    {0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e}, {0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c}};

static float pictures[BATCH][PIXELS];
static int32_t digits[BATCH];
static const void *inputs[] = {pictures, digits};

/* The board's serial line. */
static void serial(void *user, q_log_level level, const char *text, size_t n)
{
    (void)user;
    (void)level;
    for (size_t i = 0; i < n; i++) {
        putchar(text[i]);
    }
    putchar('\n');
}

static const q_port board = {.struct_size = sizeof(board), .log = serial};

static void draw(uint32_t place, uint32_t digit)
{
    for (uint32_t i = 0; i < PIXELS; i++) {
        pictures[place][i] = (float)(font[digit][i / COLUMNS] >> (COLUMNS - 1 - i % COLUMNS) & 1);
    }
    digits[place] = (int32_t)digit;
}

static void turn(uint32_t place, uint32_t pixel)
{
    pictures[place][pixel] = 1 - pictures[place][pixel];
}

/* What it learns from: digits with up to two wrong pixels. */
static q_error_code load(void *unused, const uint32_t *ids, uint32_t n, q_step *step)
{
    (void)unused;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t random = ids[i] * 2654435761u;
        draw(i, ids[i] % DIGITS);
        turn(i, (random >> 8) % PIXELS);
        turn(i, (random >> 20) % PIXELS);
    }
    step->n_batch = n;
    step->inputs = inputs;
    return Q_OK;
}

static void build(q_graph *graph, const void *unused)
{
    q_net n;
    q_edge x;
    q_edge wanted;
    (void)unused;
    q_net_begin(&n, graph);
    x = q_net_features(&n, "x", PIXELS);
    wanted = q_net_labels(&n, "digits", DIGITS);
    x = q_net_linear(&n, "hidden", x, 32, Q_ACT_RELU);
    x = q_net_linear(&n, "head", x, DIGITS, Q_ACT_NONE);
    q_net_cross_entropy(&n, x, wanted);
    q_net_output(&n, "answer", x);
}

/* Every digit with each of its pixels turned round, read by the model in flash. */
static q_error_code read_digits(size_t size, q_confusion *confusion, q_diag *d)
{
    q_step step = {.inputs = inputs, .n_batch = BATCH};
    q_file file;
    q_file_build from = {.file = &file};
    training t;
    q_tensor answer;
    q_error_code e = q_file_open(&file, flash, size, NULL, 0, d);
    e = e == Q_OK ? training_session(&t, q_build_from_file, &from, Q_PLAN_INFER, 0, training_samples(BATCH), d) : e;
    for (uint32_t digit = 0; e == Q_OK && digit < DIGITS; digit++) {
        for (uint32_t i = 0; i < PIXELS; i++) {
            draw(i, digit);
            turn(i, i);
        }
        e = q_model_forward(t.session, &step, d);
        e = e == Q_OK ? q_session_output(t.session, 0, &answer, d) : e;
        if (e == Q_OK) {
            q_confusion_add(confusion, &answer, digits, BATCH);
        }
    }
    return e;
}

int main(void)
{
    static uint64_t counts[DIGITS * DIGITS];
    q_confusion confusion = {.classes = DIGITS, .count = counts};
    q_train_config config = training_config(&q_optimizer_adam, 0.01);
    q_fit_config fit = {.struct_size = sizeof(fit), .batch = BATCH, .epochs = 20};
    q_dataset data = {sizeof(q_dataset), PICTURES, load, NULL};
    q_fit_result result;
    training t;
    char line[160];
    q_text text;
    size_t size = 0;
    q_diag d = {Q_OK, "", "", 0, 0, 0};

    training_port = &board;
    q_text_init(&text, line, sizeof(line));
    if (training_open(&t, build, NULL, &config, training_samples(BATCH), &d) != Q_OK ||
        training_fit(&t, &fit, &data, NULL, &result, &d) != Q_OK ||
        flash_save(&t, &size, &d) != Q_OK || read_digits(size, &confusion, &d) != Q_OK) {
        q_text_str(&text, q_strerror(d.code));
        q_text_str(&text, ": ");
        q_text_str(&text, d.what);
        q_text_str(&text, ": ");
        q_text_str(&text, d.field);
        board.log(board.user, Q_LOG_ERROR, line, text.length);
        return 1;
    }
    q_text_u64(&text, training_used, 0);
    q_text_str(&text, " bytes of memory, ");
    q_text_u64(&text, size, 0);
    q_text_str(&text, " of flash; of digits with a wrong pixel ");
    q_text_fixed(&text, 100 * q_confusion_accuracy(&confusion), 2, 0);
    q_text_str(&text, " % are right");
    board.log(board.user, Q_LOG_INFO, line, text.length);
    return 0;
}
