/* SPDX-License-Identifier: MIT */
/* Adapters (LoRA) over the model of a file, and chosen weights of it in training: gradients, files, merging. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/common/adapter.h"
#include "tune.h"
#include "qorus/write.h"

enum { RANK = 4, STEPS = 12 };
static const double ALPHA = 8;

/* What merged weights and weights beside adapters may differ by in the logits, as a share of the largest: the order of a
   sum over the columns of each product. */
static const double MERGE_TOLERANCE = 1e-5;
/* What gradients of adapters and those that follow from the gradient of the merged weight may differ by, as a share of the
   largest: the same, forward and back. */
static const double GRADIENT_TOLERANCE = 1e-4;

static int passed;
static int failed;

void check(bool ok, const char *what)
{
    passed += ok ? 1 : 0;
    failed += ok ? 0 : 1;
    if (!ok) {
        printf("FAIL %s\n", what);
    }
}

static bool attention_and_down(void *user, const char *name)
{
    (void)user;
    return strstr(name, ".q") != NULL || strstr(name, ".v") != NULL || strstr(name, ".down") != NULL;
}

static bool second_layer(void *user, const char *name)
{
    (void)user;
    return strncmp(name, "layers.1.", 9) == 0;
}

static bool one_product(void *user, const char *name)
{
    return strcmp(name, (const char *)user) == 0;
}

static q_decoder_build over(const q_file *file)
{
    q_decoder_build b;
    memset(&b, 0, sizeof(b));
    b.struct_size = sizeof(b);
    b.file = file;
    return b;
}

static q_decoder_build with_adapters(const q_file *file)
{
    q_decoder_build b = over(file);
    b.adapts = attention_and_down;
    b.lora_rank = RANK;
    b.lora_alpha = ALPHA;
    return b;
}

/* Largest difference over the largest value. */
static double distance(const float *a, const float *b, size_t n)
{
    double gap = 0;
    double size = 0;
    for (size_t i = 0; i < n; i++) {
        gap = fmax(gap, fabs((double)a[i] - (double)b[i]));
        size = fmax(size, fabs((double)b[i]));
    }
    return size > 0 ? gap / size : 1;
}

static float *copy_logits(tune *t, uint32_t *n)
{
    uint32_t columns;
    const float *from = tune_logits(t, &columns);
    float *to = (float *)malloc((size_t)columns * TUNE_TOKENS * sizeof(float));
    *n = columns * TUNE_TOKENS;
    if (to == NULL) {
        exit(1);
    }
    memcpy(to, from, *n * sizeof(float));
    return to;
}

static float *logits_of(const q_decoder_build *b, bool trains, uint32_t *n)
{
    tune t;
    float *logits;
    tune_open(&t, b, trains, 1);
    logits = copy_logits(&t, n);
    tune_close(&t);
    return logits;
}

/* ---- Gradients -------------------------------------------------------------------------------------------- */

static void fill(const q_tensor *t, uint32_t seed)
{
    for (size_t i = 0; i < (size_t)t->ne[2] * t->ne[3]; i++) {
        seed = seed * 1664525u + 1013904223u;
        ((float *)t->data)[i] = (float)((double)(int32_t)seed / 2147483648.0 * 0.1);
    }
}

/* [rows][columns], row-major. */
static double at(const q_tensor *t, size_t row, size_t column)
{
    return (double)((const float *)t->data)[row * t->ne[3] + column];
}

/* W + s B A with W trained has the gradient G; then that of A is s B^T G, that of B is s G A^T. */
static void against_whole_weight(const q_file *file, const char *name)
{
    const double s = ALPHA / RANK;
    q_decoder_build b = with_adapters(file);
    q_decoder_build whole = over(file);
    char part[80];
    tune adapted, trained;
    q_tensor a, up, ga, gb, w, g;
    double gap = 0, size = 0;
    b.adapts = whole.trains = one_product;
    b.user = whole.user = (void *)(uintptr_t)name;
    tune_open(&adapted, &b, true, 1);
    tune_open(&trained, &whole, true, 1);
    (void)snprintf(part, sizeof(part), "%s.lora_a", name);
    a = tune_param(&adapted, part);
    ga = tune_gradient(&adapted, part);
    (void)snprintf(part, sizeof(part), "%s.lora_b", name);
    up = tune_param(&adapted, part);
    gb = tune_gradient(&adapted, part);
    w = tune_param(&trained, name);
    g = tune_gradient(&trained, name);
    check(ga.data != NULL && gb.data != NULL && g.data != NULL, "gradients are there");
    fill(&up, 5);
    for (size_t r = 0; r < w.ne[2]; r++) {
        for (size_t i = 0; i < w.ne[3]; i++) {
            double sum = 0;
            for (size_t k = 0; k < RANK; k++) {
                sum += at(&up, r, k) * at(&a, k, i);
            }
            ((float *)w.data)[r * w.ne[3] + i] += (float)(s * sum);
        }
    }
    tune_backward(&adapted);
    tune_backward(&trained);
    for (size_t k = 0; k < RANK; k++) {
        for (size_t i = 0; i < w.ne[3]; i++) {
            double want = 0;
            for (size_t r = 0; r < w.ne[2]; r++) {
                want += s * at(&up, r, k) * at(&g, r, i);
            }
            gap = fmax(gap, fabs(want - at(&ga, k, i)));
            size = fmax(size, fabs(want));
        }
    }
    check(size > 0 && gap <= GRADIENT_TOLERANCE * size, "the gradient of A");
    gap = size = 0;
    for (size_t r = 0; r < w.ne[2]; r++) {
        for (size_t k = 0; k < RANK; k++) {
            double want = 0;
            for (size_t i = 0; i < w.ne[3]; i++) {
                want += s * at(&g, r, i) * at(&a, k, i);
            }
            gap = fmax(gap, fabs(want - at(&gb, r, k)));
            size = fmax(size, fabs(want));
        }
    }
    check(size > 0 && gap <= GRADIENT_TOLERANCE * size, "the gradient of B");
    tune_close(&adapted);
    tune_close(&trained);
}

/* ---- Files ------------------------------------------------------------------------------------------------ */

typedef struct sink {
    uint8_t *bytes;
    size_t size;
} sink;

static q_error_code put(void *user, uint64_t offset, const void *bytes, size_t n)
{
    sink *s = (sink *)user;
    if (offset + n > s->size) {
        return Q_ERR_IO;
    }
    memcpy(s->bytes + offset, bytes, n);
    return Q_OK;
}

static uint8_t *room(size_t n)
{
    uint8_t *p = (uint8_t *)aligned_alloc(4096, (n + 4096) / 4096 * 4096);
    if (p == NULL) {
        exit(1);
    }
    return p;
}

static tune_file saved(const tune *t)
{
    char note[ADAPTER_NOTE_BYTES];
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_write w;
    size_t n;
    uint64_t bytes;
    uint8_t *work;
    sink s;
    adapter_note(note, RANK, ALPHA);
    memset(&w, 0, sizeof(w));
    w.struct_size = sizeof(w);
    w.model = t->model;
    w.session = t->session;
    w.meta = note;
    w.keeps = adapter_keeps;
    w.user = &s;
    w.write = put;
    must(q_write_work_size(&w, &n, &d), &d);
    work = room(n);
    must(q_write_size(&w, work, n, &bytes, &d), &d);
    s.size = (size_t)bytes;
    s.bytes = room(s.size);
    must(q_write_run(&w, work, n, &d), &d);
    free(work);
    return tune_take(s.bytes, s.size);
}

static tune_file merged(const q_file *model, const q_file *adapters, uint32_t dtype)
{
    adapter_merge m = {.model = model, .adapters = adapters, .dtype = dtype};
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_rewrite w;
    size_t n;
    uint64_t bytes;
    uint8_t *work;
    sink s;
    must(adapter_alpha(adapters, &m.alpha, &d), &d);
    must(adapter_check(&m, &d), &d);
    memset(&w, 0, sizeof(w));
    w.struct_size = sizeof(w);
    w.file = model;
    w.change = &m.change;
    w.user = &s;
    w.write = put;
    must(q_rewrite_size(&w, &bytes, &n, &d), &d);
    work = room(n);
    s.size = (size_t)bytes;
    s.bytes = room(s.size);
    must(q_rewrite_run(&w, work, n, &d), &d);
    free(work);
    return tune_take(s.bytes, s.size);
}

static void check_saved(const q_file *model, const tune_file *adapters, const float *want, uint32_t n)
{
    q_decoder_build b = over(model);
    double alpha = 0;
    float *got;
    uint32_t n_got;
    check(q_file_get_arch(&adapters->file) == NULL && q_file_get_graph(&adapters->file) == NULL,
          "a file of adapters holds nothing but them");
    check(adapter_alpha(&adapters->file, &alpha, NULL) == Q_OK && alpha == ALPHA, "alpha is in META");
    b.adapters = &adapters->file;
    b.lora_alpha = alpha;
    got = logits_of(&b, false, &n_got);
    check(n_got == n && memcmp(want, got, n * sizeof(float)) == 0, "the bits of the training, from the file of adapters");
    free(got);
}

static void check_merged(const q_file *model, const tune_file *adapters, const float *want, const float *base, uint32_t n)
{
    tune_file f32 = merged(model, &adapters->file, Q_F32);
    tune_file same = merged(model, &adapters->file, ADAPTER_KEEP_TYPES);
    q_decoder_build b = over(&f32.file);
    uint32_t n_got;
    float *got = logits_of(&b, false, &n_got);
    uint32_t index;
    uint32_t other;
    check(n_got == n && distance(got, want, n) <= MERGE_TOLERANCE, "merged into F32");
    free(got);
    b = over(&same.file);
    got = logits_of(&b, false, &n_got);
    check(distance(got, want, n) < distance(base, want, n) / 2, "merged into the model's own types: nearer than without");
    free(got);
    check(q_file_find(model, "layers.0.up", 11, &index) == Q_OK && q_file_find(&same.file, "layers.0.up", 11, &other) == Q_OK &&
              memcmp(q_file_record(model, index)->sha256, q_file_record(&same.file, other)->sha256, 32) == 0,
          "a matrix without adapter keeps its bytes");
    free(f32.bytes);
    free(same.bytes);
}

static void test_training(const tune_file *model)
{
    q_decoder_build plain = over(&model->file);
    q_decoder_build b = with_adapters(&model->file);
    uint8_t *before = room(model->size);
    tune_file adapters;
    tune t;
    uint32_t n;
    uint32_t n_base;
    float *base = logits_of(&plain, false, &n_base);
    float *logits;
    double first;
    double last = 0;
    memcpy(before, model->bytes, model->size);
    tune_open(&t, &b, true, 1);
    logits = copy_logits(&t, &n);
    check(n == n_base && memcmp(base, logits, n * sizeof(float)) == 0, "before training adapters change nothing");
    free(logits);
    first = tune_step(&t);
    for (uint32_t i = 1; i < STEPS; i++) {
        last = tune_step(&t);
    }
    check(last < 0.9 * first, "training adapters lowers the loss");
    check(memcmp(before, model->bytes, model->size) == 0, "the model beneath is untouched");
    logits = copy_logits(&t, &n);
    adapters = saved(&t);
    check_saved(&model->file, &adapters, logits, n);
    check_merged(&model->file, &adapters, logits, base, n);
    tune_close(&t);
    free(adapters.bytes);
    free(before);
    free(logits);
    free(base);
}

/* Three workers make the bits of one. */
static void test_workers(const tune_file *model)
{
    q_decoder_build b = with_adapters(&model->file);
    tune one;
    tune three;
    q_tensor a;
    q_tensor c;
    tune_open(&one, &b, true, 1);
    tune_open(&three, &b, true, 3);
    for (uint32_t i = 0; i < 3; i++) {
        (void)tune_step(&one);
        (void)tune_step(&three);
    }
    a = tune_param(&one, "layers.0.q.lora_b");
    c = tune_param(&three, "layers.0.q.lora_b");
    check(a.data != NULL && memcmp(a.data, c.data, (size_t)a.ne[2] * a.ne[3] * sizeof(float)) == 0, "workers do not matter");
    tune_close(&one);
    tune_close(&three);
}

/* All weights of one layer train; they begin as the file's. */
static void test_layers(const tune_file *model)
{
    q_decoder_build b = over(&model->file);
    double first;
    double last = 0;
    uint32_t n;
    uint32_t n_base;
    float *base = logits_of(&b, false, &n_base);
    float *logits;
    tune t;
    b.trains = second_layer;
    tune_open(&t, &b, true, 1);
    logits = copy_logits(&t, &n);
    check(memcmp(base, logits, n * sizeof(float)) == 0, "slots loaded from the file make its bits");
    first = tune_step(&t);
    for (uint32_t i = 1; i < STEPS; i++) {
        last = tune_step(&t);
    }
    check(last < 0.9 * first, "training one layer lowers the loss");
    check(tune_gradient(&t, "layers.1.q").data != NULL && tune_gradient(&t, "layers.1.ffn_norm").data != NULL &&
              tune_gradient(&t, "layers.0.q").data == NULL && tune_gradient(&t, "embed").data == NULL,
          "only chosen parameters have gradients");
    tune_close(&t);
    free(base);
    free(logits);
}

/* Dropout and drop path change a training, the same way for any workers, and no answer. */
static void test_drops(const tune_file *model)
{
    static const float shares[][2] = {{0, 0}, {0.3f, 0}, {0, 0.6f}};
    double loss[3];
    float *logits[3];
    uint32_t n = 0;
    for (uint32_t i = 0; i < 3; i++) {
        q_decoder_build b = over(&model->file);
        double three;
        tune t;
        b.trains = second_layer;
        b.dropout = shares[i][0];
        b.drop_path = shares[i][1];
        tune_open(&t, &b, true, 3);
        logits[i] = copy_logits(&t, &n);
        three = tune_step(&t);
        tune_close(&t);
        tune_open(&t, &b, true, 1);
        loss[i] = tune_step(&t);
        check(loss[i] == three, "drops: workers change no bit");
        tune_close(&t);
        check(memcmp(logits[0], logits[i], n * sizeof(float)) == 0, "drops: not where it is asked for answers");
    }
    check(loss[0] != loss[1] && loss[0] != loss[2] && loss[1] != loss[2], "drops: each drops something");
    for (uint32_t i = 0; i < 3; i++) {
        free(logits[i]);
    }
}

static void refused(q_decoder_build b, const char *field)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    size_t n;
    check(q_model_size(q_build_decoder, &b, &n, &d) == Q_ERR_INVALID_ARG && strcmp(d.field, field) == 0, field);
}

static void test_refusals(const tune_file *model)
{
    q_decoder_build b = with_adapters(&model->file);
    b.lora_rank = 0;
    refused(b, "lora_rank");
    b = with_adapters(&model->file);
    b.lora_alpha = 0;
    refused(b, "lora_alpha");
    b.lora_alpha = (double)NAN;
    refused(b, "lora_alpha");
    b = with_adapters(&model->file);
    b.adapters = &model->file;
    refused(b, "adapters");
    b = over(&model->file);
    b.dropout = 1;
    refused(b, "dropout");
    b.dropout = 0;
    b.drop_path = -0.1f;
    refused(b, "drop_path");
    b.drop_path = (float)(double)NAN;
    refused(b, "drop_path");
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        tune_file model = tune_read(argv[i]);
        against_whole_weight(&model.file, "layers.0.q");
        against_whole_weight(&model.file, "layers.1.down");
        against_whole_weight(&model.file, "layers.1.gate");
        test_training(&model);
        test_workers(&model);
        test_layers(&model);
        test_drops(&model);
        test_refusals(&model);
        free(model.bytes);
    }
    printf("%d passed, %d failed, 0 skipped\n", passed, failed);
    return failed != 0 || passed == 0;
}
