/* SPDX-License-Identifier: MIT */
/* Raw text, normalisation, and the order of samples. */
#include "../../core/text/unicode.h"
#include "dataset_inner.h"
#include "qorus/base/random.h"

q_error_code dataset_text(const char **text, size_t *size, const char *name, const void *bytes, size_t n, dataset_why *why)
{
    const uint8_t *p = (const uint8_t *)bytes;
    size_t skip = n >= 3 && p[0] == 0xef && p[1] == 0xbb && p[2] == 0xbf ? 3 : 0;
    if (n == skip) {
        return dataset_refuse(why, Q_ERR_TRUNCATED, name, "there is no text in it");
    }
    *text = (const char *)p + skip;
    *size = n - skip;
    return Q_OK;
}

size_t dataset_strange_bytes(const char *text, size_t n, size_t *first)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t strange = 0;
    uint32_t length;
    for (size_t i = 0; i < n; i += length) {
        (void)q_utf8_class(p + i, n - i, &length);
        if (p[i] == 0 || (length == 1 && p[i] >= 0x80)) {
            *first = strange == 0 ? i : *first;
            strange++;
        }
    }
    return strange;
}

q_error_code dataset_classes(const char *name, const float *in, uint32_t n, int32_t *y, uint32_t *n_classes,
                             dataset_why *why)
{
    int32_t largest = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!(in[i] >= 0 && in[i] < 16777216.0f) || in[i] != (float)(int32_t)in[i]) {
            return dataset_refuse_numbers(why, Q_ERR_CORRUPT, name, "label of sample ", i + 1u, " of ", n,
                                          " is no whole number from 0: labels are numbers of classes");
        }
        y[i] = (int32_t)in[i];
        largest = y[i] > largest ? y[i] : largest;
    }
    *n_classes = (uint32_t)largest + 1u;
    return Q_OK;
}

/* ---- Normalisation ----------------------------------------------------------------------------------------- */

/* Newton's iteration from a power of two near the root: each step doubles the digits. x >= 0. */
static double dataset_sqrt(double x)
{
    uint64_t u;
    double root;
    if (x == 0) {
        return 0;
    }
    memcpy(&u, &x, sizeof(u));
    u = (u >> 1) + 0x1ff8000000000000u;
    memcpy(&root, &u, sizeof(root));
    for (int i = 0; i < 6; i++) {
        root = 0.5 * (root + x / root);
    }
    return root;
}

/* Less than this tells nothing, and 1 over it is no float. */
#define SMALLEST_SPREAD 1e-37

/* Columns first .. first + n - 1 of the rows: their offset and scale. */
static void norm_fit_columns(uint32_t kind, const float *x, uint32_t width, const uint32_t *rows, uint32_t n,
                             uint32_t first, uint32_t columns, double *offset, double *scale)
{
    double low = (double)x[(size_t)rows[0] * width + first];
    double high = low;
    double sum = 0;
    double squares = 0;
    double count = (double)n * columns;
    for (uint32_t r = 0; r < n; r++) {
        for (uint32_t c = first; c < first + columns; c++) {
            double v = (double)x[(size_t)rows[r] * width + c];
            low = v < low ? v : low;
            high = v > high ? v : high;
            sum += v;
        }
    }
    *offset = kind == DATASET_NORM_UNIT ? low : sum / count;
    for (uint32_t r = 0; kind != DATASET_NORM_UNIT && r < n; r++) {
        for (uint32_t c = first; c < first + columns; c++) {
            double v = (double)x[(size_t)rows[r] * width + c] - *offset;
            squares += v * v;
        }
    }
    *scale = kind == DATASET_NORM_UNIT ? high - low : dataset_sqrt(squares / count);
    *scale = *scale < SMALLEST_SPREAD ? 1 : 1 / *scale;
}

q_error_code dataset_norm_fit(uint32_t kind, const float *x, uint32_t width, const uint32_t *rows, uint32_t n,
                              float *offset, float *scale)
{
    double o = 0;
    double s = 1;
    if (n == 0 || width == 0 || kind > DATASET_NORM_GLOBAL) {
        return Q_ERR_INVALID_ARG;
    }
    if (kind == DATASET_NORM_UNIT || kind == DATASET_NORM_GLOBAL) {
        norm_fit_columns(kind, x, width, rows, n, 0, width, &o, &s);
    }
    for (uint32_t c = 0; c < width; c++) {
        if (kind == DATASET_NORM_STANDARD) {
            norm_fit_columns(kind, x, width, rows, n, c, 1, &o, &s);
        }
        offset[c] = (float)o;
        scale[c] = (float)s;
    }
    return Q_OK;
}

void dataset_norm_apply(float *x, uint32_t samples, uint32_t width, const float *offset, const float *scale)
{
    for (size_t r = 0; r < samples; r++) {
        for (uint32_t c = 0; c < width; c++) {
            x[r * width + c] = (x[r * width + c] - offset[c]) * scale[c];
        }
    }
}

/* ---- Order ------------------------------------------------------------------------------------------------- */

/* floor(random * n / 2^64) */
static uint32_t below(uint64_t random, uint32_t n)
{
    uint64_t low = (random & UINT32_MAX) * n;
    return (uint32_t)(((random >> 32) * n + (low >> 32)) >> 32);
}

void dataset_shuffle(uint32_t *order, uint32_t n, uint64_t seed, uint64_t epoch)
{
    q_random_place place = {seed, epoch, Q_RANDOM_NODE_SHUFFLE, 0};
    for (uint32_t i = n; i-- > 1;) {
        uint32_t j = below(q_random_u64(&place, i), i + 1u);
        uint32_t moved = order[i];
        order[i] = order[j];
        order[j] = moved;
    }
}

q_error_code dataset_split(uint32_t *order, uint32_t n, double share, uint64_t seed, uint32_t *n_train)
{
    uint32_t validate;
    if (!(share >= 0 && share < 1)) {
        return Q_ERR_INVALID_ARG;
    }
    validate = (uint32_t)(share * n + 0.5);
    validate = share > 0 && validate == 0 ? 1 : validate;
    if (validate >= n) {
        return Q_ERR_INVALID_ARG;
    }
    for (uint32_t i = 0; i < n; i++) {
        order[i] = i;
    }
    dataset_shuffle(order, n, seed, UINT64_MAX);
    *n_train = n - validate;
    return Q_OK;
}
