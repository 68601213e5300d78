/* SPDX-License-Identifier: MIT */
/*
 * dataset.h: data to train on, from bytes of a file into plain memory: IDX (the format of MNIST), CSV, .npy, raw text;
 * normalisation, and which samples train and which validate. Nothing is allocated and no file opened here: sizes are told
 * first, memory is the caller's. `name` is the file's, for messages only.
 *
 *     dataset_array a;
 *     dataset_idx(&a, "train-images", bytes, n, &why);
 *     dataset_reals(&a, x, a.samples * a.width, &why);       x: float [samples][width]
 *
 * Every function that can refuse returns a q_error_code and fills *why (may be NULL) with a line that names the file, the
 * byte or line, what is wrong and what to do. Q_ERR_TRUNCATED, NOT_QORUS (another format), UNSUPPORTED (an element type or
 * order), LIMIT, OVERFLOW, CORRUPT, NON_FINITE, NO_SPACE (the caller's memory), MISMATCH, NOT_FOUND (a column).
 */
#ifndef QORUS_TOOLS_DATASET_H
#define QORUS_TOOLS_DATASET_H

#include "qorus_types.h"

enum {
    DATASET_WHY = 240,
    DATASET_MAX_COLUMNS = 65536, /* of a CSV file */
    DATASET_MAX_SAMPLES = 1 << 30
};

typedef struct dataset_why {
    char text[DATASET_WHY]; /* terminated; cut if longer */
} dataset_why;

/* ---- Arrays: IDX and .npy ---------------------------------------------------------------------------------- */

typedef enum dataset_kind {
    DATASET_U8 = 0,
    DATASET_I8 = 1,
    DATASET_I16 = 2,
    DATASET_I32 = 3,
    DATASET_I64 = 4,
    DATASET_F32 = 5,
    DATASET_F64 = 6
} dataset_kind;

/* An array as it lies in the file: samples along the first axis. */
typedef struct dataset_array {
    const char *name;
    const uint8_t *data;
    uint32_t kind;       /* dataset_kind */
    uint32_t big_endian; /* 1: most significant byte first */
    uint32_t n_dims;     /* 1 .. 4 */
    uint32_t dim[4];     /* each >= 1; unused ones 1 */
    uint32_t samples;    /* dim[0] */
    uint32_t width;      /* values of a sample: product of the others */
} dataset_array;

/* IDX: 0, 0, type, dimensions, each size big-endian, elements. The file must be exactly as long as that. O(1). */
q_error_code dataset_idx(dataset_array *out, const char *name, const void *bytes, size_t n, dataset_why *why);

/* .npy, versions 1 to 3: '<f4', '<f8', '<i4', '<i8', '|u1', '|i1', '<i2', C order, 1 to 4 dimensions. O(header). */
q_error_code dataset_npy(dataset_array *out, const char *name, const void *bytes, size_t n, dataset_why *why);

/* All elements as reals, [samples][width]. cap: elements of x. Q_ERR_NON_FINITE: NaN, infinity, or too large for F32. */
q_error_code dataset_reals(const dataset_array *a, float *x, size_t cap, dataset_why *why);

/* One class for each sample (width 1): whole numbers >= 0. *n_classes becomes the largest and one. */
q_error_code dataset_labels(const dataset_array *a, int32_t *y, size_t cap, uint32_t *n_classes, dataset_why *why);

/* ---- CSV --------------------------------------------------------------------------------------------------- */

typedef enum dataset_header { DATASET_HEADER_AUTO = 0, DATASET_HEADER_YES = 1, DATASET_HEADER_NO = 2 } dataset_header;

/* How to read it. {0}: separator and header found out, no label column. */
typedef struct dataset_csv_config {
    const char *label; /* name (with a header) or number from 1 of the label's column; "last"; NULL: none */
    uint32_t header;   /* dataset_header. AUTO: the first line is one if a field of it is no number; the label's, if told
                          by number or as last, counts where the next line's is of the other kind */
    char separator;    /* ',' ';' '\t'; 0: the one of these that the first line has most of */
} dataset_csv_config;

/* A field of a file, not terminated. */
typedef struct dataset_word {
    const char *text;
    size_t n;
} dataset_word;

typedef struct dataset_csv {
    const char *name;
    const char *text;
    size_t size;
    uint32_t samples;
    uint32_t columns;     /* of every line */
    uint32_t width;       /* columns without the label's */
    uint32_t label;       /* its column, from 0; UINT32_MAX: none */
    uint32_t first_line;  /* of the samples, from 1 */
    size_t first;         /* byte where they begin */
    char separator;
    uint32_t n_classes;          /* the caller's; 0: labels are numbers */
    const dataset_word *classes; /* [n_classes] else each is one of these names, and is read as its place */
} dataset_csv;

/*
 * Counts lines and columns. Fields are decimal numbers, with spaces around them or in double quotes; names of a header or of
 * classes may be quoted and hold separators. Empty lines are left out; LF and CRLF; a byte order mark is skipped. Every line has
 * as many fields as the first. O(bytes).
 */
q_error_code dataset_csv_open(dataset_csv *out, const char *name, const void *bytes, size_t n,
                              const dataset_csv_config *config, dataset_why *why);

/* Are labels names of classes? They are if one is no number, or if csv->classes has them all. O(bytes + samples * n_classes). */
bool dataset_csv_named(const dataset_csv *csv);

/*
 * words[0, *n) become the different labels, sorted by their bytes; they point into the file. CORRUPT: an empty one, or one with
 * a blank, which a list of names between blanks cannot hold; LIMIT: more than cap. O(bytes + samples * log(*n) + *n * *n).
 */
q_error_code dataset_csv_classes(const dataset_csv *csv, dataset_word *words, uint32_t cap, uint32_t *n, dataset_why *why);

/* x: [samples][width], cap_x elements; y: [samples], the label's column as it is or as places in csv->classes, or NULL.
   NOT_FOUND: a label that is none of these. O(bytes + samples * n_classes). */
q_error_code dataset_csv_read(const dataset_csv *csv, float *x, size_t cap_x, float *y, size_t cap_y, dataset_why *why);

/* Reals that are classes as labels, as dataset_labels. Messages count samples from 1. */
q_error_code dataset_classes(const char *name, const float *in, uint32_t n, int32_t *y, uint32_t *n_classes,
                             dataset_why *why);

/* A decimal number that is all of text[0, n) but for spaces around it. False: it is none, or not finite as F32. */
bool dataset_number(const char *text, size_t n, double *out);

/* ---- Text -------------------------------------------------------------------------------------------------- */

/* Raw text: any bytes but none at all; a byte order mark is left out. */
q_error_code dataset_text(const char **text, size_t *size, const char *name, const void *bytes, size_t n, dataset_why *why);
/* Bytes that a text does not have: zeros, and those of no UTF-8 character. *first: where the first one is. O(n). */
size_t dataset_strange_bytes(const char *text, size_t n, size_t *first);

/* ---- Normalisation ----------------------------------------------------------------------------------------- */

typedef enum dataset_norm {
    DATASET_NORM_NONE = 0,
    DATASET_NORM_UNIT = 1,     /* all values together from their smallest and largest to [0, 1] */
    DATASET_NORM_STANDARD = 2, /* each column to mean 0, deviation 1 */
    DATASET_NORM_GLOBAL = 3    /* all values together to mean 0, deviation 1 */
} dataset_norm;

/*
 * offset and scale, [width] each, from the samples named by rows[0, n) (those that train): later (x - offset) * scale.
 * A column of one value has scale 1. Sums in double, rows as listed. Q_ERR_INVALID_ARG: n 0, an unknown kind.
 */
q_error_code dataset_norm_fit(uint32_t kind, const float *x, uint32_t width, const uint32_t *rows, uint32_t n,
                              float *offset, float *scale);
void dataset_norm_apply(float *x, uint32_t samples, uint32_t width, const float *offset, const float *scale);

/* ---- Order ------------------------------------------------------------------------------------------------- */

/* Fisher-Yates over order[0, n) as it stands: swap i, from the last down, takes number i of (seed, epoch,
   Q_RANDOM_NODE_SHUFFLE), so that any epoch's order can be made again at any time. */
void dataset_shuffle(uint32_t *order, uint32_t n, uint64_t seed, uint64_t epoch);

/*
 * order[0, n) = 0 .. n - 1 shuffled by (seed, epoch UINT64_MAX): the first *n_train of them train, the others validate.
 * share of the samples validates, rounded, at least one where share > 0. Q_ERR_INVALID_ARG: share not in [0, 1), or
 * nothing is left to train with.
 */
q_error_code dataset_split(uint32_t *order, uint32_t n, double share, uint64_t seed, uint32_t *n_train);

#endif /* QORUS_TOOLS_DATASET_H */
