/* SPDX-License-Identifier: MIT */
/* CSV files of numbers and names of classes. */
#include "dataset_inner.h"

/* One line at a time; a field is text[begin, end) without spaces and quotes around it. */
typedef struct csv_reader {
    const char *text;
    size_t size;
    size_t at;     /* next byte */
    uint32_t line; /* of `at`, from 1 */
    char separator;
} csv_reader;

typedef struct csv_field {
    size_t begin;
    size_t end;
    bool last;   /* of its line */
    bool broken; /* a quote is open at its end, or something follows the closing one */
} csv_field;

static q_error_code csv_refuse(dataset_why *why, q_error_code code, const char *name, uint32_t line, const char *what,
                               uint64_t number, const char *rest)
{
    dataset_said s = dataset_say(why, code, name);
    q_text_str(&s.text, ":");
    q_text_u64(&s.text, line, 0);
    q_text_str(&s.text, ": ");
    q_text_str(&s.text, what);
    if (rest != NULL) {
        q_text_u64(&s.text, number, 0);
        q_text_str(&s.text, rest);
    }
    return code;
}

/* Goes to the next line that is not empty. False: there is none. */
static bool next_line(csv_reader *r)
{
    while (r->at < r->size) {
        size_t i = r->at;
        while (i < r->size && r->text[i] != '\n' && dataset_blank(r->text[i])) {
            i++;
        }
        if (i < r->size && r->text[i] != '\n') {
            return true;
        }
        r->at = i < r->size ? i + 1 : i;
        r->line += i < r->size ? 1u : 0u;
    }
    return false;
}

/* The next field of the line; r->at goes behind its separator or to the next line. */
static csv_field next_field(csv_reader *r)
{
    csv_field f = {r->at, 0, false, false};
    size_t i = r->at;
    bool quoted;
    while (f.begin < r->size && r->text[f.begin] != r->separator && dataset_blank(r->text[f.begin])) {
        f.begin++;
    }
    quoted = f.begin < r->size && r->text[f.begin] == '"';
    if (quoted) {
        i = ++f.begin;
        while (i < r->size && r->text[i] != '"' && r->text[i] != '\n') {
            i++;
        }
        f.end = i;
        f.broken = i == r->size || r->text[i] != '"';
        i += f.broken ? 0 : 1;
    }
    for (; i < r->size && r->text[i] != r->separator && r->text[i] != '\n'; i++) {
        f.broken = f.broken || (quoted && !dataset_blank(r->text[i]));
    }
    f.end = quoted ? f.end : i;
    while (!quoted && f.end > f.begin && dataset_blank(r->text[f.end - 1])) {
        f.end--;
    }
    f.last = i == r->size || r->text[i] == '\n';
    r->line += i < r->size && r->text[i] == '\n' ? 1u : 0u;
    r->at = i < r->size ? i + 1 : i;
    return f;
}

/* ---- Opening ----------------------------------------------------------------------------------------------- */

/* The candidate the first line has most of; a comma where it has none. */
static char find_separator(csv_reader r)
{
    static const char candidates[3] = {',', ';', '\t'};
    uint32_t count[3] = {0, 0, 0};
    uint32_t best = 0;
    for (size_t i = r.at; i < r.size && r.text[i] != '\n'; i++) {
        for (uint32_t k = 0; k < 3; k++) {
            count[k] += r.text[i] == candidates[k] ? 1u : 0u;
        }
    }
    for (uint32_t k = 1; k < 3; k++) {
        best = count[k] > count[best] ? k : best;
    }
    return candidates[best];
}

/* Column `label`, from 0, does not count. */
static bool line_has_words(csv_reader r, uint32_t label)
{
    csv_field f = {0, 0, false, false};
    for (uint32_t i = 0; !f.last; i++) {
        double unused;
        f = next_field(&r);
        if (i != label && !dataset_number(r.text + f.begin, f.end - f.begin, &unused)) {
            return true;
        }
    }
    return false;
}

/* Is field `label` of the reader's line, which it leaves behind, a number? */
static bool label_is_number(csv_reader *r, uint32_t label)
{
    csv_field f = {0, 0, false, false};
    bool number = false;
    for (uint32_t i = 0; !f.last; i++) {
        double unused;
        f = next_field(r);
        number = i == label ? dataset_number(r->text + f.begin, f.end - f.begin, &unused) : number;
    }
    return number;
}

/* The label's field, where its column is known, speaks for a header if the next line's is of the other kind. */
static bool is_header(csv_reader r, uint32_t label)
{
    bool words = line_has_words(r, label);
    bool number = label_is_number(&r, label);
    return words || (label != UINT32_MAX && next_line(&r) && label_is_number(&r, label) != number);
}

static bool same_word(const char *word, const char *text, size_t n)
{
    size_t i = 0;
    while (i < n && word[i] != '\0' && word[i] == text[i]) {
        i++;
    }
    return i == n && word[i] == '\0';
}

/* The label's column, from 0, by number from 1 or as the last; UINT32_MAX: `label` is neither. */
static uint32_t label_by_number(const dataset_csv *c, const char *label)
{
    double number = 0;
    size_t n = 0;
    while (label != NULL && label[n] != '\0') {
        n++;
    }
    if (n == 4 && same_word(label, "last", n)) {
        return c->columns - 1;
    }
    if (n != 0 && dataset_number(label, n, &number) && number >= 1 && number <= c->columns && number == (double)(uint32_t)number) {
        return (uint32_t)number - 1u;
    }
    return UINT32_MAX;
}

/* Column of the label, by name in the header (r at it, or NULL), by number from 1, or the last. */
static q_error_code find_label(dataset_csv *c, const char *label, const csv_reader *header, dataset_why *why)
{
    csv_reader r;
    csv_field f = {0, 0, false, false};
    c->label = label_by_number(c, label);
    if (label == NULL) {
        return Q_OK;
    }
    if (header != NULL) {
        r = *header;
        for (uint32_t i = 0; !f.last; i++) {
            f = next_field(&r);
            if (same_word(label, r.text + f.begin, f.end - f.begin)) {
                c->label = i;
                return Q_OK;
            }
        }
    }
    if (c->label != UINT32_MAX) {
        return Q_OK;
    }
    return dataset_refuse_numbers(why, Q_ERR_NOT_FOUND, c->name, header != NULL ? "its header (line " : "no header (line ",
                                  header != NULL ? header->line : c->first_line, ") has no such label column; it has ", c->columns,
                                  " columns: give a name, a number from 1, or last");
}

static q_error_code count_lines(dataset_csv *c, csv_reader r, dataset_why *why)
{
    while (next_line(&r)) {
        uint32_t columns = 0;
        uint32_t line = r.line;
        csv_field f = {0, 0, false, false};
        while (!f.last) {
            f = next_field(&r);
            columns++;
            if (f.broken) {
                return csv_refuse(why, Q_ERR_CORRUPT, c->name, line, "column ", columns, ": a quote without its end");
            }
        }
        if (columns != c->columns) {
            dataset_said s = dataset_say(why, Q_ERR_MISMATCH, c->name);
            q_text_str(&s.text, ":");
            q_text_u64(&s.text, line, 0);
            q_text_str(&s.text, ": ");
            q_text_u64(&s.text, columns, 0);
            q_text_str(&s.text, " columns, the first line has ");
            q_text_u64(&s.text, c->columns, 0);
            q_text_str(&s.text, ": give every line the same number");
            return Q_ERR_MISMATCH;
        }
        if (c->samples++ >= DATASET_MAX_SAMPLES) {
            return csv_refuse(why, Q_ERR_LIMIT, c->name, line, "more lines than ", DATASET_MAX_SAMPLES, ": split the file");
        }
    }
    return c->samples != 0 ? Q_OK : dataset_refuse(why, Q_ERR_TRUNCATED, c->name, "there are no lines of numbers in it");
}

static q_error_code count_columns(dataset_csv *c, csv_reader r, dataset_why *why)
{
    csv_field f = {0, 0, false, false};
    uint32_t line = r.line;
    while (!f.last) {
        f = next_field(&r);
        if (f.broken || c->columns++ >= DATASET_MAX_COLUMNS) {
            return f.broken ? csv_refuse(why, Q_ERR_CORRUPT, c->name, line, "column ", c->columns + 1u, ": a quote without its end")
                            : csv_refuse(why, Q_ERR_LIMIT, c->name, line, "more columns than ", DATASET_MAX_COLUMNS, "");
        }
    }
    return Q_OK;
}

q_error_code dataset_csv_open(dataset_csv *out, const char *name, const void *bytes, size_t n,
                              const dataset_csv_config *config, dataset_why *why)
{
    csv_reader r = {(const char *)bytes, n, 0, 1, ','};
    csv_reader header;
    dataset_csv c;
    bool has_header;
    q_error_code e;
    memset(&c, 0, sizeof(c));
    c.name = name;
    c.text = (const char *)bytes;
    c.size = n;
    r.at = n >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    if (!next_line(&r)) {
        return dataset_refuse(why, Q_ERR_TRUNCATED, name, "it is empty");
    }
    r.separator = config->separator != 0 ? config->separator : find_separator(r);
    c.separator = r.separator;
    header = r;
    e = count_columns(&c, r, why);
    if (e != Q_OK) {
        return e;
    }
    has_header = config->header == DATASET_HEADER_YES ||
                 (config->header == DATASET_HEADER_AUTO && is_header(r, label_by_number(&c, config->label)));
    for (csv_field f = {0, 0, !has_header, false}; !f.last;) {
        f = next_field(&r);
    }
    c.first = r.at;
    c.first_line = r.line;
    e = find_label(&c, config->label, has_header ? &header : NULL, why);
    if (e == Q_OK) {
        e = count_lines(&c, r, why);
    }
    c.width = c.columns - (c.label != UINT32_MAX ? 1u : 0u);
    if (e == Q_OK && c.width == 0) {
        return dataset_refuse(why, Q_ERR_MISMATCH, name, "its only column is the label: there is nothing to learn from");
    }
    if (e == Q_OK) {
        *out = c;
    }
    return e;
}

/* ---- Reading ----------------------------------------------------------------------------------------------- */

static int compare(dataset_word a, dataset_word b)
{
    int order = memcmp(a.text, b.text, a.n < b.n ? a.n : b.n);
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

/* Puts the word into its place among the n sorted ones, unless it is there: how many there are then, cap + 1 where it found no
   room. */
static uint32_t add_word(dataset_word *words, uint32_t n, uint32_t cap, dataset_word word)
{
    uint32_t begin = 0;
    uint32_t end = n;
    while (begin < end) {
        uint32_t middle = begin + (end - begin) / 2;
        int order = compare(word, words[middle]);
        if (order == 0) {
            return n;
        }
        begin = order > 0 ? middle + 1 : begin;
        end = order > 0 ? end : middle;
    }
    for (uint32_t i = n; n < cap && i > begin; i--) {
        words[i] = words[i - 1];
    }
    if (n < cap) {
        words[begin] = word;
    }
    return n + 1;
}

/* The label of the reader's line, which it leaves behind. */
static dataset_word next_label(const dataset_csv *csv, csv_reader *r)
{
    dataset_word word = {NULL, 0};
    for (uint32_t column = 0; column < csv->columns; column++) {
        csv_field f = next_field(r);
        if (column == csv->label) {
            word = (dataset_word){r->text + f.begin, f.end - f.begin};
        }
    }
    return word;
}

static csv_reader first_sample(const dataset_csv *csv)
{
    return (csv_reader){csv->text, csv->size, csv->first, csv->first_line, csv->separator};
}

/* Place of the word in csv->classes; n_classes: it is none of them. */
static uint32_t class_of(const dataset_csv *csv, dataset_word word)
{
    uint32_t k = 0;
    while (k < csv->n_classes && compare(word, csv->classes[k]) != 0) {
        k++;
    }
    return k;
}

bool dataset_csv_named(const dataset_csv *csv)
{
    csv_reader r = first_sample(csv);
    bool numbers = true;
    bool known = csv->n_classes != 0;
    while (csv->label != UINT32_MAX && next_line(&r)) {
        double unused;
        dataset_word word = next_label(csv, &r);
        numbers = numbers && dataset_number(word.text, word.n, &unused);
        known = known && class_of(csv, word) < csv->n_classes;
    }
    return csv->label != UINT32_MAX && (known || !numbers);
}

q_error_code dataset_csv_classes(const dataset_csv *csv, dataset_word *words, uint32_t cap, uint32_t *n, dataset_why *why)
{
    csv_reader r = first_sample(csv);
    uint32_t found = 0;
    *n = 0;
    while (csv->label != UINT32_MAX && next_line(&r)) {
        uint32_t line = r.line;
        dataset_word word = next_label(csv, &r);
        bool blank = word.n == 0;
        for (size_t i = 0; i < word.n; i++) {
            blank = blank || dataset_blank(word.text[i]);
        }
        if (blank) {
            return csv_refuse(why, Q_ERR_CORRUPT, csv->name, line, "column ", csv->label + 1u,
                              word.n == 0 ? " is empty: fill in the class" : ": the name of a class has a blank: write it without");
        }
        found = add_word(words, found, cap, word);
        if (found > cap) {
            return csv_refuse(why, Q_ERR_LIMIT, csv->name, line, "more names of classes than ", cap, ": are these labels?");
        }
    }
    *n = found;
    return Q_OK;
}

/* A field of that column: a number, or the name of a class. */
static q_error_code read_value(const dataset_csv *csv, uint32_t column, dataset_word word, double *value)
{
    if (column != csv->label || csv->n_classes == 0) {
        return dataset_number(word.text, word.n, value) ? Q_OK : Q_ERR_NON_FINITE;
    }
    *value = class_of(csv, word);
    return *value < csv->n_classes ? Q_OK : Q_ERR_NOT_FOUND;
}

q_error_code dataset_csv_read(const dataset_csv *csv, float *x, size_t cap_x, float *y, size_t cap_y, dataset_why *why)
{
    csv_reader r = first_sample(csv);
    size_t n = 0;
    if (cap_x / csv->width < csv->samples || (y != NULL && cap_y < csv->samples)) {
        return dataset_refuse_numbers(why, Q_ERR_NO_SPACE, csv->name, "room for ", cap_x, " values, it has ",
                                      (uint64_t)csv->samples * csv->width, "");
    }
    for (uint32_t i = 0; i < csv->samples && next_line(&r); i++) {
        for (uint32_t column = 0; column < csv->columns; column++) {
            uint32_t line = r.line;
            csv_field f = next_field(&r);
            double value;
            q_error_code e = read_value(csv, column, (dataset_word){r.text + f.begin, f.end - f.begin}, &value);
            if (e != Q_OK) {
                return csv_refuse(why, e, csv->name, line, "column ", column + 1u,
                                  e == Q_ERR_NOT_FOUND ? " is none of the names of the classes"
                                                       : " is no finite number: fill in what is missing");
            }
            if (column != csv->label) {
                x[n++] = (float)value;
            } else if (y != NULL) {
                y[i] = (float)value;
            }
        }
    }
    return Q_OK;
}
