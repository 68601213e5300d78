/* SPDX-License-Identifier: MIT */
/* Entries of the catalogue that are about data to train on: files as bytes, and samples that end or change while they are read. */
#include "rig_training.h"

#include "../../tools/common/dataset.h"

#include "qorus/base/mem.h"
#include "qorus/base/text.h"

enum { BATCH = 2, STEPS = 6, STOP = 3 /* within an epoch of two steps */, BUFFER = 512 };

/* ---- Files -------------------------------------------------------------------------------------------------- */

typedef enum file_format { IDX, NPY, CSV, TEXT } file_format;

typedef struct file_case {
    const char *id;
    file_format format;
    const char *bytes;
    size_t n;
    q_error_code code;
} file_case;

#define BYTES(text) text, sizeof(text) - 1
/* Two samples of 16 bits. */
#define IDX_I16 "\0\0\x0b\x01\0\0\0\2\0\1\0\2"
#define NPY_I16 "\x93NUMPY\x01\0\x37\0{'descr': '<i2', 'fortran_order': False, 'shape': (2,)}\1\0\2\0"

static const file_case files[] = {
    {"D01_an_empty_IDX_file", IDX, BYTES(""), Q_ERR_TRUNCATED},
    {"D01_an_empty_npy_file", NPY, BYTES(""), Q_ERR_NOT_QORUS},
    {"D01_an_empty_CSV_file", CSV, BYTES(""), Q_ERR_TRUNCATED},
    {"D01_a_CSV_file_of_empty_lines", CSV, BYTES("\n\n"), Q_ERR_TRUNCATED},
    {"D01_an_empty_text", TEXT, BYTES(""), Q_ERR_TRUNCATED},
    {"D01_a_text_of_a_byte_order_mark", TEXT, BYTES("\xef\xbb\xbf"), Q_ERR_TRUNCATED},
    {"D04_IDX_of_16_bits_accepted_twin", IDX, BYTES(IDX_I16), Q_OK},
    {"D04_IDX_of_16_bits_and_an_odd_byte", IDX, BYTES(IDX_I16 "\0"), Q_ERR_CORRUPT},
    {"D04_IDX_of_16_bits_without_the_last_byte", IDX, IDX_I16, sizeof(IDX_I16) - 2, Q_ERR_TRUNCATED},
    {"D04_npy_of_16_bits_accepted_twin", NPY, BYTES(NPY_I16), Q_OK},
    {"D04_npy_of_16_bits_and_an_odd_byte", NPY, BYTES(NPY_I16 "\0"), Q_ERR_CORRUPT},
    {"D04_npy_of_16_bits_without_the_last_byte", NPY, NPY_I16, sizeof(NPY_I16) - 2, Q_ERR_TRUNCATED},
    {"D08_IDX_grown_by_a_sample_since_its_header", IDX, BYTES(IDX_I16 "\0\3"), Q_ERR_CORRUPT},
    {"D08_IDX_shrunk_by_a_sample_since_its_header", IDX, IDX_I16, sizeof(IDX_I16) - 3, Q_ERR_TRUNCATED},
    {"D08_CSV_cut_within_a_line", CSV, BYTES("1,2\n3,4\n5"), Q_ERR_MISMATCH},
};

static q_error_code read_file(const file_case *c, dataset_why *why)
{
    const dataset_csv_config plain = {NULL, DATASET_HEADER_NO, ','};
    dataset_array a;
    dataset_csv csv;
    const char *text;
    size_t n;
    switch (c->format) {
    case IDX:
        return dataset_idx(&a, "data", c->bytes, c->n, why);
    case NPY:
        return dataset_npy(&a, "data", c->bytes, c->n, why);
    case CSV:
        return dataset_csv_open(&csv, "data", c->bytes, c->n, &plain, why);
    default:
        return dataset_text(&text, &n, "data", c->bytes, c->n, why);
    }
}

static void check_files(rig *r)
{
    for (uint32_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        dataset_why why = {""};
        q_error_code e = read_file(&files[i], &why);
        q_text t;
        memset(&r->diag, 0, sizeof(r->diag));
        q_text_init(&t, r->diag.field, sizeof(r->diag.field));
        q_text_str(&t, why.text);
        rig_report(r, e == files[i].code && (e == Q_OK || why.text[0] != '\0'), files[i].id, e, &r->diag);
    }
}

/* ---- Samples ------------------------------------------------------------------------------------------------ */

/* A training by epochs over the rig's samples. */
typedef struct fitting {
    training t;
    q_table table;
    uint32_t calls;
    uint32_t fail_at; /* this call of load finds the samples gone; 0: none */
    uint32_t large_at; /* this one gives more samples than a step may have */
} fitting;

static q_error_code load(void *user, const uint32_t *ids, uint32_t n, q_step *step)
{
    fitting *f = (fitting *)user;
    q_error_code e = q_table_dataset(&f->table).load(&f->table, ids, n, step);
    f->calls++;
    step->n_batch = f->calls == f->large_at ? ROWS + 1 : step->n_batch;
    return f->calls == f->fail_at ? Q_ERR_TRUNCATED : e;
}

static q_error_code open(fitting *f, rig *r)
{
    q_train_config config = training_config(&q_optimizer_adam);
    q_error_code e;
    config.seed = 5;
    memset(f, 0, sizeof(*f));
    e = training_open(&f->t, r, &config);
    f->table.n = ROWS;
    f->table.n_inputs = 2;
    f->table.data[0] = f->t.x;
    f->table.data[1] = f->t.labels;
    f->table.bytes[0] = FEATURES * sizeof(q_real);
    f->table.bytes[1] = sizeof(int32_t);
    f->table.buffer = rig_take(r, BUFFER);
    f->table.size = BUFFER;
    return e;
}

/* Goes on to that step. */
static q_error_code train(fitting *f, uint32_t steps)
{
    const q_dataset data = {sizeof(data), ROWS, load, f};
    rig *r = f->t.r;
    q_fit_config c;
    q_fit_result result;
    q_block memory;
    size_t n = 0;
    q_error_code e;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.batch = BATCH;
    c.micro_batch = 1;
    c.max_steps = steps;
    e = q_fit_size(f->t.trainer, &c, &data, &n, &r->diag);
    memory = (q_block){rig_take(r, n), n};
    return e == Q_OK ? q_model_train(f->t.trainer, memory, &c, &data, NULL, &result, &r->diag) : e;
}

static void check_no_samples(rig *r)
{
    int32_t text[5] = {0, 1, 2, 0, 1};
    q_windows windows;
    q_dataset data = {sizeof(data), 0, load, NULL};
    q_fit_config c;
    training t;
    size_t n = 0;
    q_train_config config = training_config(&q_optimizer_sgd);
    q_error_code e = training_open(&t, r, &config);
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.batch = BATCH;
    c.epochs = 1;
    e = e == Q_OK ? q_fit_size(t.trainer, &c, &data, &n, &r->diag) : e;
    rig_report(r, e == Q_ERR_INVALID_ARG && rig_same_text(r->diag.field, "n"), "D01_no_samples", e, &r->diag);
    memset(&windows, 0, sizeof(windows));
    windows.text = text;
    windows.n = windows.window = 5;
    windows.stride = windows.batch = 1;
    data = q_windows_dataset(&windows);
    e = q_fit_size(t.trainer, &c, &data, &n, &r->diag);
    rig_report(r, e == Q_ERR_INVALID_ARG && rig_same_text(r->diag.field, "n"), "D02_a_text_of_one_window_and_nothing_behind", e, &r->diag);
    windows.n = 3;
    data = q_windows_dataset(&windows);
    e = q_fit_size(t.trainer, &c, &data, &n, &r->diag);
    rig_report(r, e == Q_ERR_INVALID_ARG && rig_same_text(r->diag.field, "n"), "D02_a_text_shorter_than_a_window", e, &r->diag);
}

/* Hash after `steps` steps that nothing disturbs. */
static uint64_t hash_after(rig *r, uint32_t steps)
{
    fitting f;
    return open(&f, r) == Q_OK && train(&f, steps) == Q_OK ? training_hash(&f.t) : 0;
}

/* A call of load that fails ends the training after the steps before it, and it goes on when the samples are back. */
static void check_changing_samples(rig *r)
{
    static const char *const ids[] = {"D08_samples_gone_while_a_training_reads", "D08_more_samples_than_a_step_may_have"};
    static const q_error_code codes[] = {Q_ERR_TRUNCATED, Q_ERR_INVALID_ARG};
    const uint64_t before = hash_after(r, STOP);
    const uint64_t whole = hash_after(r, STEPS);
    for (uint32_t i = 0; i < 2; i++) {
        fitting f;
        q_error_code e = open(&f, r);
        *(i == 0 ? &f.fail_at : &f.large_at) = STOP * BATCH + 2; /* the second micro-batch of a step */
        e = e == Q_OK ? train(&f, STEPS) : e;
        rig_report(r, e == codes[i] && q_trainer_steps(f.t.trainer) == STOP && training_hash(&f.t) == before, ids[i], e, &r->diag);
        e = train(&f, STEPS);
        rig_report(r, e == Q_OK && training_hash(&f.t) == whole, "D08_gone_on_with_once_they_are_as_before", e, &r->diag);
    }
}

/* The order of samples follows from seed and epoch: a training that goes on within an epoch has the rest of its order. */
static void check_order(rig *r)
{
    const uint64_t whole = hash_after(r, STEPS);
    fitting f;
    q_error_code e = open(&f, r);
    e = e == Q_OK ? train(&f, STOP) : e;
    e = e == Q_OK ? train(&f, STEPS) : e;
    rig_report(r, e == Q_OK && training_hash(&f.t) == whole, "D11_the_order_of_samples_gone_on_with", e, &r->diag);
    e = open(&f, r);
    f.t.labels[0] = f.t.labels[1]; /* the order is seen: other samples, another training */
    e = e == Q_OK ? train(&f, STEPS) : e;
    rig_report(r, e == Q_OK && training_hash(&f.t) != whole, "D11_another_sample", e, &r->diag);
}

void rig_data(rig *r)
{
    check_files(r);
    check_no_samples(r);
    check_changing_samples(r);
    check_order(r);
}
