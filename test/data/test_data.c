/* SPDX-License-Identifier: MIT */
/* Data to train on: every format, what is refused with which words; shuffles, splits, normalisation. */
#include "data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/common/dataset.h"

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

static void said(q_error_code e, q_error_code code, const dataset_why *why, const char *words, const char *what)
{
    bool ok = e == code && strstr(why->text, words) != NULL;
    check(ok, what);
    if (!ok) {
        printf("     %d: %s\n", (int)e, why->text);
    }
}

/* ---- IDX and .npy ------------------------------------------------------------------------------------------ */

#define IDX_IMAGES "\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x03\x00\x7f\xff\x01\x02\x03"

static void bad_idx(const char *bytes, size_t n, q_error_code code, const char *words)
{
    dataset_array a;
    dataset_why why = {""};
    uint8_t *exact = (uint8_t *)malloc(n != 0 ? n : 1); /* sanitizers see a byte too much */
    memcpy(exact, bytes, n);
    said(dataset_idx(&a, "digits", exact, n, &why), code, &why, words, words);
    check(n == 0 || strncmp(why.text, "digits: ", 8) == 0, "the file is named");
    free(exact);
}

static void test_idx(void)
{
    dataset_array a;
    dataset_why why = {""};
    float x[6];
    int32_t y[6];
    uint32_t classes = 0;
    check(dataset_idx(&a, "digits", IDX_IMAGES, 22, &why) == Q_OK && a.samples == 2 && a.width == 3 && a.n_dims == 3 &&
              dataset_reals(&a, x, 6, &why) == Q_OK && x[0] == 0 && x[1] == 127 && x[2] == 255 && x[5] == 3, "IDX, images");
    said(dataset_reals(&a, x, 5, &why), Q_ERR_NO_SPACE, &why, "room for 5 values, it has 6", "too little room");
    said(dataset_labels(&a, y, 6, &classes, &why), Q_ERR_MISMATCH, &why, "file of the images", "images are no labels");
    check(dataset_idx(&a, "l", "\0\0\x08\x01\0\0\0\x03\x02\x00\x09", 11, &why) == Q_OK &&
              dataset_labels(&a, y, 3, &classes, &why) == Q_OK && classes == 10 && y[0] == 2 && y[2] == 9, "IDX, labels");
    check(dataset_idx(&a, "i", "\0\0\x0c\x01\0\0\0\x02\xff\xff\xff\xfe\0\0\1\0", 16, &why) == Q_OK &&
              dataset_reals(&a, x, 2, &why) == Q_OK && x[0] == -2 && x[1] == 256, "IDX, i32 big-endian");
    said(dataset_labels(&a, y, 2, &classes, &why), Q_ERR_CORRUPT, &why, "label of sample 0 of 2", "a negative label");
    check(dataset_idx(&a, "f", "\0\0\x0d\x01\0\0\0\x01\xbf\x80\0\0", 12, &why) == Q_OK &&
              dataset_reals(&a, x, 1, &why) == Q_OK && x[0] == -1, "IDX, f32");
    check(dataset_idx(&a, "f", "\0\0\x0d\x01\0\0\0\x01\x7f\xc0\0\0", 12, &why) == Q_OK, "IDX, a NaN");
    said(dataset_reals(&a, x, 1, &why), Q_ERR_NON_FINITE, &why, "sample 0, value 0", "a NaN is refused");
    check(dataset_idx(&a, "d", "\0\0\x0e\x01\0\0\0\x01\x40\x09\0\0\0\0\0\0", 16, &why) == Q_OK &&
              dataset_reals(&a, x, 1, &why) == Q_OK && x[0] == 3.125f, "IDX, f64");
    for (size_t n = 0; n < 22; n++) {
        bad_idx(IDX_IMAGES, n, Q_ERR_TRUNCATED, "bytes");
    }
    bad_idx(IDX_IMAGES "x", 23, Q_ERR_CORRUPT, "something follows the array");
    bad_idx("\x1f\x8b\x08\0\0\0\0\0", 8, Q_ERR_NOT_QORUS, "gunzip");
    bad_idx("P5 28 28", 8, Q_ERR_NOT_QORUS, "no IDX file");
    bad_idx("\0\0\x0a\x01\0\0\0\1\0", 9, Q_ERR_NOT_QORUS, "no IDX file");
    bad_idx("\0\0\x08\x05\0\0\0\1\0", 9, Q_ERR_LIMIT, "5 dimensions");
    bad_idx("\0\0\x08\x01\0\0\0\0", 8, Q_ERR_CORRUPT, "dimension 1 of 1 is 0");
    bad_idx("\0\0\x08\x03\0\0\0\1\xff\xff\xff\xff\xff\xff\xff\xff", 16, Q_ERR_OVERFLOW, "overflows");
    bad_idx("\0\0\x08\x01\xff\xff\xff\xff\0", 9, Q_ERR_LIMIT, "samples");
    bad_idx("\0\0\x0e\x02\x3f\xff\xff\xff\xff\xff\xff\xff", 12, Q_ERR_OVERFLOW, "overflows");
}

/* A .npy file with that dict, and elements behind it. */
static size_t make_npy(uint8_t *out, int version, const char *dict, const void *data, size_t n)
{
    size_t length = strlen(dict);
    size_t at = version == 1 ? 10 : 12;
    memcpy(out, "\x93NUMPY", 6);
    out[6] = (uint8_t)version;
    out[7] = 0;
    out[8] = (uint8_t)length;
    out[9] = (uint8_t)(length >> 8);
    out[10] = out[11] = 0;
    memcpy(out + at, dict, length);
    memcpy(out + at + length, data, n);
    return at + length + n;
}

static void bad_npy(const char *dict, size_t bytes, q_error_code code, const char *words)
{
    static const uint8_t zeros[256];
    uint8_t file[512];
    dataset_array a;
    dataset_why why = {""};
    size_t n = make_npy(file, 1, dict, zeros, bytes);
    said(dataset_npy(&a, "x.npy", file, n, &why), code, &why, words, words);
}

static void test_npy(void)
{
    static const struct {
        const char *descr;
        const char *bytes;
        size_t n;
        float want[2];
    } types[] = {
        {"|u1", "\x03\xff", 2, {3, 255}},
        {"|i1", "\x03\xff", 2, {3, -1}},
        {"<i2", "\1\0\0\x80", 4, {1, -32768}},
        {"<i4", "\1\0\0\0\xfe\xff\xff\xff", 8, {1, -2}},
        {"<i8", "\1\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 16, {1, -1}},
        {"<f4", "\0\0\x80\x3f\0\0\0\xc0", 8, {1, -2}},
        {"<f8", "\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\x09\xc0", 16, {1, -3.125f}},
    };
    uint8_t file[512];
    char dict[128];
    float x[2] = {0, 0};
    dataset_array a;
    dataset_why why = {""};
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        size_t n;
        (void)snprintf(dict, sizeof(dict), "{'descr': '%s', 'fortran_order': False, 'shape': (2, 1), }   \n", types[i].descr);
        n = make_npy(file, 1 + (int)i % 3, dict, types[i].bytes, types[i].n);
        check(dataset_npy(&a, "x.npy", file, n, &why) == Q_OK && a.samples == 2 && a.width == 1 &&
                  dataset_reals(&a, x, 2, &why) == Q_OK && x[0] == types[i].want[0] && x[1] == types[i].want[1], types[i].descr);
        for (size_t cut = 0; cut < n; cut++) {
            uint8_t *exact = (uint8_t *)malloc(cut != 0 ? cut : 1);
            memcpy(exact, file, cut);
            check(dataset_npy(&a, "x.npy", exact, cut, &why) != Q_OK, "a cut .npy is refused");
            free(exact);
        }
    }
    bad_npy("{'descr': '>f4', 'fortran_order': False, 'shape': (2,)}", 8, Q_ERR_UNSUPPORTED, "astype('<f4')");
    bad_npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", 8, Q_ERR_UNSUPPORTED, "astype('<f4')");
    bad_npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2,)}", 8, Q_ERR_UNSUPPORTED, "ascontiguousarray");
    bad_npy("{'descr': '<f4', 'fortran_order': False, 'shape': ()}", 4, Q_ERR_UNSUPPORTED, "tuple of 1 to 4");
    bad_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1)}", 4, Q_ERR_UNSUPPORTED, "tuple of 1 to 4");
    bad_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", 4, Q_ERR_UNSUPPORTED, "2^32");
    bad_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2", 8, Q_ERR_UNSUPPORTED, "tuple");
    bad_npy("{'descr': '<f4', 'fortran_order': False}", 8, Q_ERR_UNSUPPORTED, "tuple");
    bad_npy("{'fortran_order': False, 'shape': (2,)}", 8, Q_ERR_CORRUPT, "numpy.save");
    bad_npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 4294967295, 4294967295, 2)}", 8, Q_ERR_OVERFLOW, "overflows");
    bad_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", 8, Q_ERR_TRUNCATED, "cut off");
    bad_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", 8, Q_ERR_CORRUPT, "follows");
    (void)make_npy(file, 4, "{}", "", 0);
    said(dataset_npy(&a, "x.npy", file, 16, &why), Q_ERR_VERSION, &why, "version 4", "a version to come");
    said(dataset_npy(&a, "x.npz", "PK\3\4............", 16, &why), Q_ERR_NOT_QORUS, &why, "x.npz: no .npy file", "a zip");
}

void test_arrays(void)
{
    test_idx();
    test_npy();
}

/* ---- CSV --------------------------------------------------------------------------------------------------- */

static q_error_code open_csv(dataset_csv *c, const char *text, const char *label, uint32_t header, dataset_why *why)
{
    const dataset_csv_config config = {label, header, 0};
    return dataset_csv_open(c, "t.csv", text, strlen(text), &config, why);
}

static void bad_csv(const char *text, const char *label, q_error_code code, const char *words)
{
    dataset_csv c;
    dataset_why why = {""};
    float x[64];
    q_error_code e = open_csv(&c, text, label, DATASET_HEADER_AUTO, &why);
    e = e == Q_OK ? dataset_csv_read(&c, x, 64, NULL, 0, &why) : e;
    said(e, code, &why, words, words);
}

static void test_csv_numbers(void)
{
    static const struct {
        const char *text;
        double value;
    } good[] = {{"1", 1}, {" -2.5 ", -2.5}, {"+.5", 0.5}, {"3.", 3}, {"1e3", 1000}, {"2.5E-2", 0.025}, {"0.1", 0.1},
                {"123456789012345678901234567890e-29", 1.2345678901234567}, {"0e999999999999", 0}, {"1e-400", 0},
                {"00000000000000000000001", 1}, {"340282346638528859811704183484516925440", 3.4028234663852886e38}};
    static const char *const bad[] = {"", " ", "-", ".", "e5", "1e", "1e+", "nan", "inf", "1x", "1 2", "0x10", "1e39", "--1"};
    double value;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        check(dataset_number(good[i].text, strlen(good[i].text), &value) &&
                  fabs(value - good[i].value) <= 1e-15 * fabs(good[i].value), good[i].text);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        check(!dataset_number(bad[i], strlen(bad[i]), &value), bad[i]);
    }
    for (uint32_t i = 0; i < 2000; i++) { /* what printf says is read back */
        char text[40];
        float f = (float)((double)(i * 2654435761u) / 4294967296.0 * pow(10, (double)(i % 60) - 30));
        (void)snprintf(text, sizeof(text), "%.9g", (double)f);
        if (!dataset_number(text, strlen(text), &value) || (float)value != f) {
            check(false, text);
        }
    }
}

void test_csv(void)
{
    dataset_csv c;
    dataset_why why = {""};
    float x[16];
    float y[8];
    test_csv_numbers();
    check(open_csv(&c, "\xef\xbb\xbf" "a,\"b, c\",kind\r\n1,2,0\r\n\r\n -3 , \"4e1\" ,1\r\n", "kind", DATASET_HEADER_AUTO, &why) == Q_OK &&
              c.samples == 2 && c.columns == 3 && c.width == 2 && c.label == 2 && c.first_line == 2 &&
              dataset_csv_read(&c, x, 4, y, 2, &why) == Q_OK && x[0] == 1 && x[1] == 2 && x[2] == -3 && x[3] == 40 && y[0] == 0 &&
              y[1] == 1, "header, quotes, CRLF, an empty line, a byte order mark");
    check(open_csv(&c, "1;2\n3;4", NULL, DATASET_HEADER_AUTO, &why) == Q_OK && c.samples == 2 && c.width == 2 &&
              c.separator == ';' && dataset_csv_read(&c, x, 4, NULL, 0, &why) == Q_OK && x[3] == 4, "semicolons, no last newline");
    check(open_csv(&c, "7\t1,5\t9\n", "1", DATASET_HEADER_NO, &why) == Q_OK && c.label == 0 && c.separator == '\t',
          "tabs; the label by number");
    check(open_csv(&c, "1,2\n3,4\n", "last", DATASET_HEADER_YES, &why) == Q_OK && c.samples == 1 && c.label == 1,
          "a header of numbers; the last column");
    check(open_csv(&c, "b, c\n1,2\n", "c", DATASET_HEADER_AUTO, &why) == Q_OK && c.label == 1, "names without their spaces");
    bad_csv("", NULL, Q_ERR_TRUNCATED, "t.csv: it is empty");
    bad_csv("\n \n\r\n", NULL, Q_ERR_TRUNCATED, "it is empty");
    bad_csv("a,b\n", NULL, Q_ERR_TRUNCATED, "no lines of numbers");
    bad_csv("1,2\n3,4\n5\n", NULL, Q_ERR_MISMATCH, "t.csv:3: 1 columns, the first line has 2");
    bad_csv("1,2\n\n3,4,5\n", NULL, Q_ERR_MISMATCH, "t.csv:3: 3 columns");
    bad_csv("1,2\n3,\n", NULL, Q_ERR_NON_FINITE, "t.csv:2: column 2 is no finite number");
    bad_csv("1,2\n3,nan\n", NULL, Q_ERR_NON_FINITE, "t.csv:2: column 2");
    bad_csv("1,2\n\ninf,2\n", NULL, Q_ERR_NON_FINITE, "t.csv:3: column 1");
    bad_csv("a,b\n1,2\n", "z", Q_ERR_NOT_FOUND, "its header (line 1) has no such label column");
    bad_csv("1,2\n3,4\n", "3", Q_ERR_NOT_FOUND, "it has 2 columns");
    bad_csv("1,2\n3,4\n", "0", Q_ERR_NOT_FOUND, "number from 1");
    bad_csv("1\n2\n", "1", Q_ERR_MISMATCH, "only column is the label");
    bad_csv("1,\"2\n3,4\n", NULL, Q_ERR_CORRUPT, "t.csv:1: column 2: a quote without its end");
    bad_csv("1,2\n\"3\"x,4\n", NULL, Q_ERR_CORRUPT, "t.csv:2: column 1: a quote");
    check(open_csv(&c, "1,2\n3,4\n", NULL, DATASET_HEADER_NO, &why) == Q_OK, "the twin");
    said(dataset_csv_read(&c, x, 3, NULL, 0, &why), Q_ERR_NO_SPACE, &why, "room for 3", "too little room");
    said(dataset_csv_read(&c, x, 4, y, 1, &why), Q_ERR_NO_SPACE, &why, "room", "too little room for labels");
}

static bool word_is(dataset_word word, const char *text)
{
    return word.n == strlen(text) && memcmp(word.text, text, word.n) == 0;
}

static void bad_classes(const char *text, q_error_code code, const char *what)
{
    dataset_word words[3];
    dataset_csv c;
    dataset_why why = {""};
    uint32_t n = 9;
    check(open_csv(&c, text, "last", DATASET_HEADER_AUTO, &why) == Q_OK && dataset_csv_named(&c), text);
    said(dataset_csv_classes(&c, words, 3, &n, &why), code, &why, what, text);
    check(n == 0, "no classes after an error");
}

void test_csv_classes(void)
{
    static const char flowers[] = "1,rose\n2,\"lily\"\n3, rose\n4,iris\n";
    static const dataset_word known[3] = {{"iris", 4}, {"2", 1}, {"1", 1}};
    dataset_word words[3];
    dataset_csv c;
    dataset_why why = {""};
    float x[4];
    float y[4];
    uint32_t n = 0;
    check(open_csv(&c, flowers, "2", DATASET_HEADER_AUTO, &why) == Q_OK && c.samples == 4 && c.first_line == 1,
          "a name of a class makes no header");
    check(open_csv(&c, "x,kind\n1,rose\n", "2", DATASET_HEADER_AUTO, &why) == Q_OK && c.samples == 1, "names of columns do");
    check(open_csv(&c, "0,1,kind\n5,6,1\n7,8,0\n", "last", DATASET_HEADER_AUTO, &why) == Q_OK && c.samples == 2,
          "and one above numbers");
    check(open_csv(&c, "0,1,2\n5,6,rose\n7,8,lily\n", "3", DATASET_HEADER_AUTO, &why) == Q_OK && c.samples == 2,
          "and a number above names");
    check(open_csv(&c, flowers, "last", DATASET_HEADER_AUTO, &why) == Q_OK && dataset_csv_named(&c), "labels that are names");
    check(dataset_csv_classes(&c, words, 3, &n, &why) == Q_OK && n == 3 && word_is(words[0], "iris") && word_is(words[1], "lily") &&
              word_is(words[2], "rose"), "each once, sorted");
    c.classes = words;
    c.n_classes = n;
    check(dataset_csv_read(&c, x, 4, y, 4, &why) == Q_OK && y[0] == 2 && y[1] == 1 && y[2] == 2 && y[3] == 0 && x[3] == 4,
          "labels are the places of their names");
    c.n_classes = 2;
    said(dataset_csv_read(&c, x, 4, y, 4, &why), Q_ERR_NOT_FOUND, &why, "t.csv:1: column 2 is none of the names", "a name of none");
    c.n_classes = 0;
    said(dataset_csv_read(&c, x, 4, y, 4, &why), Q_ERR_NON_FINITE, &why, "t.csv:1: column 2", "names where numbers are wanted");
    check(open_csv(&c, "1,0\n2,1\n", "last", DATASET_HEADER_AUTO, &why) == Q_OK && !dataset_csv_named(&c), "numbers are no names");
    c.classes = known;
    c.n_classes = 3;
    check(!dataset_csv_named(&c), "nor where only some of them are");
    check(open_csv(&c, "1,1\n2,2\n", "last", DATASET_HEADER_AUTO, &why) == Q_OK, "its twin");
    c.classes = known;
    c.n_classes = 3;
    check(dataset_csv_named(&c) && dataset_csv_read(&c, x, 4, y, 4, &why) == Q_OK && y[0] == 2 && y[1] == 1,
          "numbers that are all among the names are");
    bad_classes("1,a\n2,\n", Q_ERR_CORRUPT, "t.csv:2: column 2 is empty");
    bad_classes("1,a\n2,\"New York\"\n", Q_ERR_CORRUPT, "t.csv:2: column 2: the name of a class has a blank");
    bad_classes("1,d\n2,c\n3,b\n4,c\n5,a\n", Q_ERR_LIMIT, "t.csv:5: more names of classes than 3");
}

/* ---- Order and normalisation ------------------------------------------------------------------------------- */

static bool is_permutation(const uint32_t *order, uint32_t n)
{
    uint8_t seen[1024] = {0};
    for (uint32_t i = 0; i < n; i++) {
        if (order[i] >= n || seen[order[i]]++ != 0) {
            return false;
        }
    }
    return true;
}

static void test_shuffle(void)
{
    uint32_t a[1000];
    uint32_t b[1000];
    uint32_t n_train = 0;
    uint32_t first[4] = {0};
    for (uint32_t i = 0; i < 1000; i++) {
        a[i] = b[i] = i;
    }
    dataset_shuffle(a, 1000, 7, 3);
    dataset_shuffle(b, 1000, 7, 3);
    check(is_permutation(a, 1000) && memcmp(a, b, sizeof(a)) == 0, "a shuffle is a permutation, and the same again");
    for (uint32_t i = 0; i < 1000; i++) {
        b[i] = i;
    }
    dataset_shuffle(b, 1000, 7, 4);
    check(memcmp(a, b, sizeof(a)) != 0, "another epoch, another order");
    for (uint64_t epoch = 0; epoch < 4000; epoch++) {
        uint32_t o[4] = {0, 1, 2, 3};
        dataset_shuffle(o, 4, 1, epoch);
        first[o[0]]++;
    }
    for (uint32_t i = 0; i < 4; i++) {
        check(first[i] > 880 && first[i] < 1120, "each comes first equally often"); /* 1000, deviation 27 */
    }
    dataset_shuffle(a, 0, 1, 1);
    dataset_shuffle(a, 1, 1, 1);
    check(dataset_split(a, 1000, 0.1, 5, &n_train) == Q_OK && n_train == 900 && is_permutation(a, 1000), "a split");
    check(dataset_split(b, 1000, 0, 5, &n_train) == Q_OK && n_train == 1000, "nothing validates");
    check(memcmp(a, b, sizeof(a)) == 0, "the order does not depend on the share");
    check(dataset_split(a, 10, 0.001, 5, &n_train) == Q_OK && n_train == 9, "at least one validates");
    check(dataset_split(a, 1, 0.5, 5, &n_train) == Q_ERR_INVALID_ARG && dataset_split(a, 10, 1, 5, &n_train) == Q_ERR_INVALID_ARG &&
              dataset_split(a, 10, -0.5, 5, &n_train) == Q_ERR_INVALID_ARG && dataset_split(a, 0, 0, 5, &n_train) == Q_ERR_INVALID_ARG &&
              dataset_split(a, 10, (double)NAN, 5, &n_train) == Q_ERR_INVALID_ARG, "shares that are refused");
}

static void test_norm(void)
{
    float x[12] = {1, 10, 5, 2, 20, 5, 3, 60, 5, 1000, 1000, 1000};
    const uint32_t rows[3] = {0, 1, 2};
    float offset[3];
    float scale[3];
    check(dataset_norm_fit(DATASET_NORM_STANDARD, x, 3, rows, 3, offset, scale) == Q_OK && offset[0] == 2 && offset[1] == 30 &&
              fabs((double)scale[0] - 1 / sqrt(2.0 / 3)) < 1e-6 && scale[2] == 1, "columns, of the rows that train alone");
    dataset_norm_apply(x, 4, 3, offset, scale);
    check(fabs((double)(x[0] + x[3] + x[6])) < 1e-6 && x[2] == 0 && x[5] == 0, "they have mean 0");
    check(dataset_norm_fit(DATASET_NORM_NONE, x, 3, rows, 3, offset, scale) == Q_OK && offset[1] == 0 && scale[1] == 1, "none");
    x[0] = 10;
    x[1] = 20;
    x[2] = 14;
    check(dataset_norm_fit(DATASET_NORM_UNIT, x, 3, rows, 1, offset, scale) == Q_OK && offset[2] == 10 && fabsf(scale[0] - 0.1f) < 1e-7f,
          "to [0, 1]");
    x[0] = 1e-40f;
    x[1] = x[2] = 0;
    check(dataset_norm_fit(DATASET_NORM_UNIT, x, 3, rows, 1, offset, scale) == Q_OK && scale[0] == 1, "too little to spread");
    x[0] = 10;
    x[1] = 20;
    x[2] = 14;
    check(dataset_norm_fit(DATASET_NORM_GLOBAL, x, 3, rows, 1, offset, scale) == Q_OK && fabs((double)offset[0] - 44.0 / 3) < 1e-5 &&
              fabs((double)scale[1] - 1 / 4.109609335) < 1e-6, "all together");
    check(dataset_norm_fit(9, x, 3, rows, 1, offset, scale) == Q_ERR_INVALID_ARG &&
              dataset_norm_fit(0, x, 3, rows, 0, offset, scale) == Q_ERR_INVALID_ARG, "refused");
}

void test_order(void)
{
    const float good[3] = {0, 4, 2};
    const float bad[2] = {1, 1.5f};
    int32_t y[3];
    uint32_t classes = 0;
    const char *text = NULL;
    size_t n = 0;
    dataset_why why = {""};
    test_shuffle();
    test_norm();
    check(dataset_classes("t.csv", good, 3, y, &classes, &why) == Q_OK && classes == 5 && y[1] == 4, "reals as classes");
    said(dataset_classes("t.csv", bad, 2, y, &classes, &why), Q_ERR_CORRUPT, &why, "label of sample 2 of 2", "no whole number");
    check(dataset_text(&text, &n, "a.txt", "\xef\xbb\xbfhi", 5, &why) == Q_OK && n == 2 && text[0] == 'h', "text");
    said(dataset_text(&text, &n, "a.txt", "\xef\xbb\xbf", 3, &why), Q_ERR_TRUNCATED, &why, "no text", "an empty text");
    check(dataset_strange_bytes("a\xc3\xa4\xf0\x9f\x98\x80\n\t\x7f", 10, &n) == 0, "nothing is strange in UTF-8");
    check(dataset_strange_bytes("ab\0\xff\xc3" "c\xe2\x82", 8, &n) == 5 && n == 2, "zeros, bytes that begin nothing, and cut characters are");
}

int main(void)
{
    test_arrays();
    test_csv();
    test_csv_classes();
    test_order();
    printf("%d passed, %d failed, 0 skipped\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
