/* SPDX-License-Identifier: MIT */
/* One file of samples: an array, or a CSV file with or without labels. */
#include "train.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_CLASSES = 4096 /* with names */ };

static bool refuse(const dataset_why *why)
{
    say("%s", why->text);
    return false;
}

bool train_ends_in(const char *path, const char *ending)
{
    size_t n = strlen(path);
    size_t m = strlen(ending);
    return n >= m && strcmp(path + n - m, ending) == 0;
}

/* By the first bytes, and where these say nothing by the name. */
static uint32_t format_of(const char *path, const char *bytes, size_t n)
{
    if (n >= 6 && memcmp(bytes, "\x93NUMPY", 6) == 0) {
        return FORMAT_NPY;
    }
    if (n >= 4 && bytes[0] == 0 && bytes[1] == 0 && bytes[3] >= 1 && bytes[3] <= 4) {
        return FORMAT_IDX;
    }
    return train_ends_in(path, ".txt") ? FORMAT_TEXT : FORMAT_CSV;
}

static float *take_reals(uint64_t n)
{
    float *x = n <= SIZE_MAX / sizeof(float) ? (float *)malloc((size_t)n * sizeof(float)) : NULL;
    if (x == NULL) {
        say("out of memory for %llu values", (unsigned long long)n);
    }
    return x;
}

static bool read_array(train_samples *out, const char *path, const char *bytes, size_t n)
{
    dataset_array a;
    dataset_why why;
    q_error_code e = out->format == FORMAT_NPY ? dataset_npy(&a, path, bytes, n, &why) : dataset_idx(&a, path, bytes, n, &why);
    if (e != Q_OK) {
        return refuse(&why);
    }
    out->n = a.samples;
    out->width = a.width;
    out->n_dims = a.n_dims > 1 ? a.n_dims - 1 : 1;
    for (uint32_t i = 0; i < out->n_dims; i++) {
        out->dim[i] = a.n_dims > 1 ? a.dim[i + 1] : 1;
    }
    out->x = take_reals((uint64_t)a.samples * a.width);
    return out->x != NULL && (dataset_reals(&a, out->x, (size_t)a.samples * a.width, &why) == Q_OK || refuse(&why));
}

/* ---- CSV -------------------------------------------------------------------------------------------------- */

static dataset_word *take_words(uint32_t n)
{
    dataset_word *words = (dataset_word *)malloc(n * sizeof(dataset_word));
    if (words == NULL) {
        say("out of memory for %u names of classes", n);
    }
    return words;
}

/* Words between blanks; `cap` at most. */
static uint32_t split(const char *list, dataset_word *words, uint32_t cap)
{
    uint32_t n = 0;
    for (list += strspn(list, " \t"); *list != '\0' && n < cap; list += strspn(list, " \t")) {
        words[n] = (dataset_word){list, strcspn(list, " \t")};
        list += words[n++].n;
    }
    return n;
}

static char *join_words(const dataset_word *words, uint32_t n)
{
    size_t bytes = 1;
    char *list;
    char *at;
    for (uint32_t i = 0; i < n; i++) {
        bytes += words[i].n + 1;
    }
    list = at = (char *)malloc(bytes);
    for (uint32_t i = 0; list != NULL && i < n; i++) {
        at += snprintf(at, bytes - (size_t)(at - list), "%s%.*s", i == 0 ? "" : " ", (int)words[i].n, words[i].text);
    }
    if (list == NULL) {
        say("out of memory for %u names of classes", n);
    }
    return list;
}

/* Where labels are names: words[] become those that may be. */
static bool find_classes(train_samples *out, const train_source *from, dataset_csv *csv, dataset_word *words)
{
    dataset_why why;
    csv->classes = words;
    csv->n_classes = from->classes != NULL ? split(from->classes, words, MAX_CLASSES) : 0;
    if (!dataset_csv_named(csv)) {
        csv->n_classes = 0;
        return true;
    }
    if (csv->n_classes == 0 && dataset_csv_classes(csv, words, MAX_CLASSES, &csv->n_classes, &why) != Q_OK) {
        return refuse(&why);
    }
    out->n_classes = csv->n_classes;
    out->classes = join_words(words, csv->n_classes);
    return out->classes != NULL;
}

static bool read_fields(train_samples *out, const dataset_csv *csv)
{
    dataset_why why;
    out->n = csv->samples;
    out->width = out->dim[0] = csv->width;
    out->n_dims = 1;
    out->x = take_reals((uint64_t)csv->samples * csv->width);
    out->y = csv->label != UINT32_MAX ? take_reals(csv->samples) : NULL;
    if (out->x == NULL || (csv->label != UINT32_MAX && out->y == NULL)) {
        return false;
    }
    return dataset_csv_read(csv, out->x, (size_t)csv->samples * csv->width, out->y, csv->samples, &why) == Q_OK || refuse(&why);
}

static bool read_csv(train_samples *out, const train_source *from, const char *bytes, size_t n)
{
    dataset_csv_config config = {from->width == 0 ? from->label : NULL, DATASET_HEADER_AUTO, 0};
    dataset_csv csv;
    dataset_word *words;
    dataset_why why;
    bool ok;
    q_error_code e = dataset_csv_open(&csv, from->path, bytes, n, &config, &why);
    if (e == Q_OK && from->width != 0 && csv.columns == from->width + 1) {
        config.label = from->label;
        e = dataset_csv_open(&csv, from->path, bytes, n, &config, &why);
    }
    if (e != Q_OK) {
        return refuse(&why);
    }
    if (!from->names || csv.label == UINT32_MAX) {
        return read_fields(out, &csv);
    }
    words = take_words(MAX_CLASSES);
    ok = words != NULL && find_classes(out, from, &csv, words) && read_fields(out, &csv);
    free(words);
    return ok;
}

void train_free_samples(train_samples *s)
{
    free(s->x);
    free(s->y);
    free(s->classes);
    memset(s, 0, sizeof(*s));
}

bool train_read_samples(train_samples *out, const train_source *from)
{
    const char *path = from->path;
    size_t n = 0;
    char *bytes = host_read(path, &n);
    bool ok = false;
    memset(out, 0, sizeof(*out));
    if (bytes == NULL) {
        return false;
    }
    out->format = from->format != FORMAT_AUTO ? from->format : format_of(path, bytes, n);
    if (out->format == FORMAT_TEXT) {
        say("%s: a text, where samples are wanted: a network for a text begins with embedding or is a decoder", path);
    } else if (out->format != FORMAT_CSV && from->label != NULL && from->width == 0) {
        say("%s: only a CSV file has a label column; give targets", path);
    } else {
        ok = out->format == FORMAT_CSV ? read_csv(out, from, bytes, n) : read_array(out, path, bytes, n);
    }
    free(bytes);
    if (!ok) {
        train_free_samples(out);
    }
    return ok;
}
