/* SPDX-License-Identifier: MIT */
/* Arrays of files: IDX and .npy. */
#include "dataset_inner.h"

static const uint8_t kind_bytes[] = {1, 1, 2, 4, 8, 4, 8};

/* Fills samples and width, and checks that the elements are exactly the rest of the file. */
static q_error_code array_finish(dataset_array *a, size_t header, size_t n, dataset_why *why)
{
    uint64_t width = 1;
    uint64_t all;
    for (uint32_t i = 0; i < a->n_dims; i++) {
        if (a->dim[i] == 0) {
            return dataset_refuse_numbers(why, Q_ERR_CORRUPT, a->name, "dimension ", i + 1u, " of ", a->n_dims,
                                          " is 0: there is nothing in it");
        }
    }
    for (uint32_t i = 1; i < a->n_dims; i++) {
        if (!q_mul_u64(width, a->dim[i], &width) || width > UINT32_MAX) {
            return dataset_refuse(why, Q_ERR_OVERFLOW, a->name, "the product of its dimensions overflows: the header is damaged");
        }
    }
    if (a->dim[0] > DATASET_MAX_SAMPLES) {
        return dataset_refuse_numbers(why, Q_ERR_LIMIT, a->name, "", a->dim[0], " samples, at most ", DATASET_MAX_SAMPLES,
                                      " are allowed: split the file");
    }
    if (!q_mul_u64(width, (uint64_t)a->dim[0] * kind_bytes[a->kind], &all) || all > SIZE_MAX - header) {
        return dataset_refuse(why, Q_ERR_OVERFLOW, a->name, "the product of its dimensions overflows: the header is damaged");
    }
    if (all != n - header) {
        return dataset_refuse_numbers(why, all > n - header ? Q_ERR_TRUNCATED : Q_ERR_CORRUPT, a->name, "its header asks for ",
                                      header + all, " bytes, the file has ", n,
                                      all > n - header ? ": it is cut off, fetch it again" : ": something follows the array");
    }
    for (uint32_t i = a->n_dims; i < 4; i++) {
        a->dim[i] = 1;
    }
    a->samples = a->dim[0];
    a->width = (uint32_t)width;
    return Q_OK;
}

/* ---- IDX --------------------------------------------------------------------------------------------------- */

static uint32_t load_big(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool idx_kind(uint8_t type, uint32_t *kind)
{
    static const uint8_t types[] = {0x08, 0x09, 0x0b, 0x0c, 0, 0x0d, 0x0e};
    for (uint32_t i = 0; i < sizeof(types); i++) {
        if (types[i] == type && type != 0) {
            *kind = i;
            return true;
        }
    }
    return false;
}

q_error_code dataset_idx(dataset_array *out, const char *name, const void *bytes, size_t n, dataset_why *why)
{
    const uint8_t *p = (const uint8_t *)bytes;
    dataset_array a;
    q_error_code e;
    size_t header;
    memset(&a, 0, sizeof(a));
    a.name = name;
    a.big_endian = 1;
    if (n >= 2 && p[0] == 0x1f && p[1] == 0x8b) {
        return dataset_refuse(why, Q_ERR_NOT_QORUS, name, "it is compressed: gunzip it first");
    }
    if (n < 4) {
        return dataset_refuse_numbers(why, Q_ERR_TRUNCATED, name, "an IDX file has at least ", 8, " bytes, this one ", n, "");
    }
    if (p[0] != 0 || p[1] != 0 || !idx_kind(p[2], &a.kind)) {
        return dataset_refuse_numbers(why, Q_ERR_NOT_QORUS, name, "no IDX file: it begins with ", load_big(p),
                                      " (big-endian), not with 0, 0, a type 8 .. ", 14, " and the number of dimensions");
    }
    a.n_dims = p[3];
    if (a.n_dims == 0 || a.n_dims > 4) {
        return dataset_refuse_numbers(why, Q_ERR_LIMIT, name, "byte 3: ", a.n_dims, " dimensions, 1 .. ", 4, " are allowed");
    }
    header = 4 + 4u * a.n_dims;
    if (n < header) {
        return dataset_refuse_numbers(why, Q_ERR_TRUNCATED, name, "its header has ", header, " bytes, the file ", n,
                                      ": it is cut off, fetch it again");
    }
    for (uint32_t i = 0; i < a.n_dims; i++) {
        a.dim[i] = load_big(p + 4 + 4u * i);
    }
    a.data = p + header;
    e = array_finish(&a, header, n, why);
    if (e == Q_OK) {
        *out = a;
    }
    return e;
}

/* ---- .npy -------------------------------------------------------------------------------------------------- */

/* Text of a header, between two places. */
typedef struct npy_text {
    const char *at;
    const char *end;
} npy_text;

static bool npy_begins(const npy_text *t, const char *word)
{
    const char *p = t->at;
    while (*word != '\0') {
        if (p == t->end || *p++ != *word++) {
            return false;
        }
    }
    return true;
}

/* The value behind 'key': in the dict. False: there is no such key. */
static bool npy_find(npy_text all, const char *quoted, npy_text *value)
{
    size_t n = 0;
    while (quoted[n] != '\0') {
        n++;
    }
    for (; all.at < all.end; all.at++) {
        if (npy_begins(&all, quoted)) {
            all.at += n;
            while (all.at < all.end && (*all.at == ' ' || *all.at == ':')) {
                all.at++;
            }
            *value = all;
            return true;
        }
    }
    return false;
}

static bool npy_kind(const npy_text *t, uint32_t *kind)
{
    static const char types[][7] = {"'|u1'", "'|i1'", "'<i2'", "'<i4'", "'<i8'", "'<f4'", "'<f8'"};
    for (uint32_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        if (npy_begins(t, types[i])) {
            *kind = i;
            return true;
        }
    }
    return false;
}

/* "(3, 4)", "(3,)". False: no tuple of 1 .. 4 numbers below 2^32. */
static bool npy_shape(npy_text t, dataset_array *a)
{
    bool open = t.at < t.end && *t.at == '(';
    for (t.at++; open && t.at < t.end && *t.at != ')';) {
        uint64_t size = 0;
        const char *first = t.at;
        while (t.at < t.end && *t.at >= '0' && *t.at <= '9' && size <= UINT32_MAX) {
            size = size * 10 + (uint64_t)(*t.at++ - '0');
        }
        if (t.at == first || size > UINT32_MAX || a->n_dims == 4) {
            return false;
        }
        a->dim[a->n_dims++] = (uint32_t)size;
        while (t.at < t.end && (*t.at == ',' || *t.at == ' ')) {
            t.at++;
        }
    }
    return open && t.at < t.end && a->n_dims > 0;
}

static q_error_code npy_dict(npy_text all, dataset_array *a, dataset_why *why)
{
    npy_text value;
    if (!npy_find(all, "'descr'", &value)) {
        return dataset_refuse(why, Q_ERR_CORRUPT, a->name, "its header has no 'descr': not written by numpy.save?");
    }
    if (!npy_kind(&value, &a->kind)) {
        return dataset_refuse(why, Q_ERR_UNSUPPORTED, a->name,
                              "its elements are none of u1, i1, i2, i4, i8, f4, f8 (little-endian): save a.astype('<f4')");
    }
    if (!npy_find(all, "'fortran_order'", &value) || !npy_begins(&value, "False")) {
        return dataset_refuse(why, Q_ERR_UNSUPPORTED, a->name, "not in C order: save numpy.ascontiguousarray(a)");
    }
    if (!npy_find(all, "'shape'", &value) || !npy_shape(value, a)) {
        return dataset_refuse(why, Q_ERR_UNSUPPORTED, a->name,
                              "its shape is no tuple of 1 to 4 sizes below 2^32: reshape the array, samples first");
    }
    return Q_OK;
}

q_error_code dataset_npy(dataset_array *out, const char *name, const void *bytes, size_t n, dataset_why *why)
{
    static const uint8_t magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
    const uint8_t *p = (const uint8_t *)bytes;
    dataset_array a;
    size_t first;
    uint64_t length;
    q_error_code e;
    memset(&a, 0, sizeof(a));
    a.name = name;
    if (n < sizeof(magic) || memcmp(p, magic, sizeof(magic)) != 0) {
        return dataset_refuse(why, Q_ERR_NOT_QORUS, name, "no .npy file: it does not begin with \\x93NUMPY (.npz must be unzipped)");
    }
    if (n < 12) {
        return dataset_refuse_numbers(why, Q_ERR_TRUNCATED, name, "a .npy file has more than ", 12, " bytes, this one ", n, "");
    }
    if (p[6] < 1 || p[6] > 3) {
        return dataset_refuse_numbers(why, Q_ERR_VERSION, name, "byte 6: version ", p[6], ", known are 1 to ", 3, "");
    }
    first = p[6] == 1 ? 10 : 12;
    length = p[6] == 1 ? (uint64_t)(p[8] | p[9] << 8) : (uint64_t)p[8] | (uint64_t)p[9] << 8 | (uint64_t)p[10] << 16 | (uint64_t)p[11] << 24;
    if (length > n - first) {
        return dataset_refuse_numbers(why, Q_ERR_TRUNCATED, name, "its header asks for ", first + length, " bytes, the file has ", n,
                                      ": it is cut off");
    }
    e = npy_dict((npy_text){(const char *)p + first, (const char *)p + first + length}, &a, why);
    if (e == Q_OK) {
        a.data = p + first + length;
        e = array_finish(&a, first + (size_t)length, n, why);
    }
    if (e == Q_OK) {
        *out = a;
    }
    return e;
}

/* ---- Elements ---------------------------------------------------------------------------------------------- */

/* Element i as a double; I64 beyond 2^53 rounds. */
static double array_value(const dataset_array *a, size_t i)
{
    uint32_t bytes = kind_bytes[a->kind];
    const uint8_t *p = a->data + i * bytes;
    uint64_t u = 0;
    double d;
    float f;
    uint32_t low;
    for (uint32_t b = 0; b < bytes; b++) {
        u |= (uint64_t)p[a->big_endian != 0 ? bytes - 1u - b : b] << 8 * b;
    }
    switch (a->kind) {
    case DATASET_U8:
        return (double)u;
    case DATASET_I8:
        return (double)(int8_t)u;
    case DATASET_I16:
        return (double)(int16_t)u;
    case DATASET_I32:
        return (double)(int32_t)u;
    case DATASET_I64:
        return (double)(int64_t)u;
    case DATASET_F32:
        low = (uint32_t)u;
        memcpy(&f, &low, sizeof(f));
        return (double)f;
    default:
        memcpy(&d, &u, sizeof(d));
        return d;
    }
}

static q_error_code array_room(const dataset_array *a, size_t need, size_t cap, dataset_why *why)
{
    if (cap >= need) {
        return Q_OK;
    }
    return dataset_refuse_numbers(why, Q_ERR_NO_SPACE, a->name, "room for ", cap, " values, it has ", need, "");
}

q_error_code dataset_reals(const dataset_array *a, float *x, size_t cap, dataset_why *why)
{
    size_t n = (size_t)a->samples * a->width;
    q_error_code e = array_room(a, n, cap, why);
    for (size_t i = 0; e == Q_OK && i < n; i++) {
        double value = array_value(a, i);
        if (!(value <= 3.4028234663852886e38 && value >= -3.4028234663852886e38)) {
            return dataset_refuse_numbers(why, Q_ERR_NON_FINITE, a->name, "sample ", i / a->width, ", value ", i % a->width,
                                          " (from 0) is no finite number: clean the data first");
        }
        x[i] = (float)value;
    }
    return e;
}

q_error_code dataset_labels(const dataset_array *a, int32_t *y, size_t cap, uint32_t *n_classes, dataset_why *why)
{
    int32_t largest = 0;
    q_error_code e = array_room(a, a->samples, cap, why);
    if (a->width != 1) {
        return dataset_refuse_numbers(why, Q_ERR_MISMATCH, a->name, "", a->width,
                                      " values for each sample, labels have ", 1, ": is it the file of the images?");
    }
    for (size_t i = 0; e == Q_OK && i < a->samples; i++) {
        double value = array_value(a, i);
        if (!(value >= 0 && value < 2147483647.0) || value != (double)(int32_t)value) {
            return dataset_refuse_numbers(why, Q_ERR_CORRUPT, a->name, "label of sample ", i, " of ", a->samples,
                                          " is no whole number from 0: labels are numbers of classes");
        }
        y[i] = (int32_t)value;
        largest = y[i] > largest ? y[i] : largest;
    }
    *n_classes = e == Q_OK ? (uint32_t)largest + 1u : *n_classes;
    return e;
}
