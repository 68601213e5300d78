/* SPDX-License-Identifier: MIT */
/* Writing a file: the tensors, from where a session holds them, then the tables. */
#include "qorus/quantize.h"
#include "write.h"

static q_error_code hand_on(const q_write *w, uint64_t at, const void *bytes, size_t n, const char *what, q_diag *diag)
{
    q_error_code e = n != 0 ? w->write(w->user, at, bytes, n) : Q_OK;
    return e == Q_OK ? Q_OK : q_fail(diag, e, what, "write", 0, 0);
}

/* Where a parameter lies: in what its view refers to, or in the session, under its own number or, in another model, name. */
static q_error_code find_source(const write_plan *p, uint32_t param, q_tensor *t, q_diag *diag)
{
    const model_param *from = &p->m->params[param];
    q_param there = param;
    if (from->view.data != NULL) {
        *t = from->view;
        return Q_OK;
    }
    if (p->w->session == NULL) {
        return q_fail(diag, Q_ERR_INVALID_STATE, from->name, "session", 1, 0);
    }
    if (q_session_model(p->w->session) != p->m) {
        there = q_model_find_param(q_session_model(p->w->session), from->name);
    }
    if (there == Q_NONE) {
        return q_fail(diag, Q_ERR_NOT_FOUND, from->name, "parameter of the session", 1, 0);
    }
    if (q_session_param(p->w->session, there, t, diag) != Q_OK) {
        return Q_ERR_INVALID_ARG;
    }
    if (t->dtype != from->type.dtype || t->layout != from->type.layout || memcmp(t->ne, from->type.ne, sizeof(t->ne)) != 0) {
        return q_fail(diag, Q_ERR_MISMATCH, from->name, "shape in the session", from->type.ne[3], t->ne[3]);
    }
    return t->data != NULL ? Q_OK : q_fail(diag, Q_ERR_INVALID_STATE, from->name, "not used by the session's plan", 1, 0);
}

static size_t source_rows(const q_tensor *t)
{
    return (size_t)t->ne[0] * t->ne[1] * t->ne[2];
}

static const uint8_t *source_row(const q_tensor *t, size_t row)
{
    return (const uint8_t *)t->data + row * t->nb[2];
}

static q_error_code value_error(q_error_code e, const char *name, uint64_t first, q_diag *diag)
{
    uint64_t element = diag != NULL ? diag->offset : 0;
    (void)q_fail(diag, e, name, "value or scale", 0, 0);
    if (diag != NULL) {
        diag->offset = first + element;
    }
    return e;
}

static void copy_reals(float *to, const uint8_t *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        q_real x;
        memcpy(&x, from + i * sizeof(x), sizeof(x));
        to[i] = (float)x;
    }
}

/* One tensor of the file under way. */
typedef struct write_tensor {
    const write_plan *p;
    q_file_tensor_record *r;
    const char *name;
    q_tensor source;
    uint64_t at; /* next byte of the file */
    q_sha256 hash;
    q_diag *diag;
} write_tensor;

static q_error_code put_bytes(write_tensor *t, const void *bytes, size_t n)
{
    q_error_code e = hand_on(t->p->w, t->at, bytes, n, t->name, t->diag);
    q_sha256_update(&t->hash, bytes, n);
    t->at += n;
    return e;
}

/* Reals become panels of the record's type. */
static q_error_code put_panels(write_tensor *t)
{
    const write_plan *p = t->p;
    size_t rows = source_rows(&t->source);
    size_t k = t->source.ne[3];
    q_error_code e = Q_OK;
    for (size_t row = 0; e == Q_OK && row < rows; row += Q_PANEL_ROWS) {
        size_t n = rows - row < Q_PANEL_ROWS ? rows - row : Q_PANEL_ROWS;
        for (size_t i = 0; i < n; i++) {
            copy_reals(p->reals + i * k, source_row(&t->source, row + i), k);
        }
        e = q_quantize(t->r->dtype, p->reals, n, k, p->plain, t->diag);
        if (e != Q_OK) {
            return value_error(e, t->name, row * k, t->diag);
        }
        e = q_panel_pack(t->r->dtype, p->plain, n, k, p->panel, t->diag);
        if (e == Q_OK) {
            e = put_bytes(t, p->panel, (size_t)q_panel_bytes(t->r->dtype, (uint32_t)k));
        }
    }
    return e;
}

/* Reals that stay plain: as F32, many at once where their rows lie one behind the other. */
static q_error_code put_reals(write_tensor *t)
{
    const write_plan *p = t->p;
    size_t cap = p->rows_bytes / sizeof(float);
    bool dense = t->source.nb[2] == t->source.ne[3] * sizeof(q_real);
    size_t rows = dense ? 1 : source_rows(&t->source);
    size_t k = dense ? source_rows(&t->source) * t->source.ne[3] : t->source.ne[3];
    q_error_code e = Q_OK;
    for (size_t row = 0; e == Q_OK && row < rows; row++) {
        for (size_t i = 0; e == Q_OK && i < k; i += cap) {
            size_t n = k - i < cap ? k - i : cap;
            copy_reals(p->reals, source_row(&t->source, row) + i * sizeof(q_real), n);
            e = q_quantize(Q_F32, p->reals, 1, n, p->plain, t->diag);
            e = e == Q_OK ? put_bytes(t, p->plain, n * sizeof(float)) : value_error(e, t->name, row * k + i, t->diag);
        }
    }
    return e;
}

/* What is no plain real keeps its bytes, without what may lie between its rows. */
static q_error_code put_as_it_is(write_tensor *t)
{
    size_t n = (size_t)t->r->size.v;
    size_t rows = source_rows(&t->source);
    q_error_code e = Q_OK;
    if (t->r->layout == Q_PANEL16 || t->source.nb[2] == n / rows) {
        return put_bytes(t, t->source.data, n);
    }
    for (size_t row = 0; e == Q_OK && row < rows; row++) {
        e = put_bytes(t, source_row(&t->source, row), n / rows);
    }
    return e;
}

static q_error_code write_one(const write_plan *p, uint32_t index, q_diag *diag)
{
    static const uint8_t zeros[Q_ALIGN] = {0};
    const model_param *from = &p->m->params[p->param[index]];
    write_tensor t;
    q_error_code e;
    memset(&t, 0, sizeof(t));
    t.p = p;
    t.r = &q_write_records(p)[index];
    t.name = from->name;
    t.at = t.r->offset.v;
    t.diag = diag;
    e = find_source(p, p->param[index], &t.source, diag);
    if (e != Q_OK) {
        return e;
    }
    q_sha256_init(&t.hash);
    if (from->type.dtype != Q_REAL || from->type.layout != Q_PLAIN) {
        e = put_as_it_is(&t);
    } else {
        e = t.r->layout == Q_PANEL16 ? put_panels(&t) : put_reals(&t);
    }
    q_sha256_final(&t.hash, t.r->sha256);
    return e == Q_OK ? hand_on(p->w, t.at, zeros, (Q_ALIGN - (size_t)(t.at % Q_ALIGN)) % Q_ALIGN, t.name, diag) : e;
}

/* ---- The calls --------------------------------------------------------------------------------------------- */

q_error_code q_write_work_size(const q_write *write, size_t *work_bytes, q_diag *diag)
{
    write_plan p;
    q_error_code e;
    if (work_bytes == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_write_work_size", "work_bytes", 1, 0);
    }
    e = q_write_layout(write, &p, NULL, 0, diag);
    *work_bytes = e == Q_OK ? p.work_size : *work_bytes;
    return e;
}

/* Tables for which every check has passed. */
static q_error_code prepare(const q_write *w, write_plan *p, void *work, size_t work_size, q_diag *diag)
{
    q_error_code e = q_write_layout(w, p, NULL, 0, diag);
    if (e != Q_OK) {
        return e;
    }
    if (work == NULL || (uintptr_t)work % Q_ALIGN != 0) {
        return q_fail(diag, work == NULL ? Q_ERR_INVALID_ARG : Q_ERR_MISALIGNED, "q_write", "work", Q_ALIGN, 0);
    }
    if (work_size < p->work_size) {
        return q_fail(diag, Q_ERR_NO_SPACE, "q_write", "work", p->work_size, work_size);
    }
    e = q_write_layout(w, p, work, work_size, diag);
    if (e == Q_OK) {
        e = q_write_select(p, diag);
    }
    return e == Q_OK ? q_write_tables(p, diag) : e;
}

q_error_code q_write_size(const q_write *write, void *work, size_t work_size, uint64_t *file_bytes, q_diag *diag)
{
    write_plan p;
    q_error_code e;
    if (file_bytes == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_write_size", "file_bytes", 1, 0);
    }
    e = prepare(write, &p, work, work_size, diag);
    *file_bytes = e == Q_OK ? q_write_header(&p)->file_size.v : *file_bytes;
    return e;
}

static q_error_code write_last(const write_plan *p, q_diag *diag)
{
    q_file_header *h = q_write_header(p);
    size_t n = (size_t)h->section[Q_SECTION_DATA].offset.v;
    uint8_t digest[Q_SHA256_BYTES];
    q_sha256_of(p->tables, n, digest);
    memcpy(h->tables_sha256, digest, sizeof(digest));
    return hand_on(p->w, 0, p->tables, n, "tables", diag);
}

q_error_code q_write_run(const q_write *write, void *work, size_t work_size, q_diag *diag)
{
    write_plan p;
    q_error_code e = prepare(write, &p, work, work_size, diag);
    for (uint32_t i = 0; e == Q_OK && i < p.n_records; i++) {
        if (write->progress != NULL) {
            write->progress(write->user, i, p.n_records);
        }
        e = write_one(&p, i, diag);
    }
    if (e == Q_OK && write->progress != NULL) {
        write->progress(write->user, p.n_records, p.n_records);
    }
    return e == Q_OK ? write_last(&p, diag) : e;
}
