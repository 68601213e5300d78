/* SPDX-License-Identifier: MIT */
/*
 * rewrite.c: a .qorus file with its matrices in another type. The source is open, so its tables have been validated;
 * only sizes that depend on the new type are checked here.
 */
#include "../core.h"

#include "qorus/quantize.h"
#include "qorus/rewrite.h"

/* The new file's layout, and where the pieces of `work` lie. */
typedef struct rewrite_plan {
    uint64_t meta_size;   /* of the new META section */
    uint64_t tables_size; /* = offset of DATA */
    uint64_t data_end;    /* end of the last tensor */
    uint64_t file_size;
    uint8_t *tables;
    uint8_t *plain_in;  /* 16 rows of the widest matrix: as stored, */
    float *values;      /* as F32, */
    uint8_t *plain_out; /* and in the new type, plain */
    uint8_t *panel_out; /* and packed */
    size_t work_size;
} rewrite_plan;

static const q_file_section *rewrite_section(const q_rewrite *w, q_section section)
{
    return &q_file_get_header(w->file)->section[section];
}

static size_t rewrite_length(const char *s)
{
    size_t n = 0;
    while (s != NULL && s[n] != '\0') {
        n++;
    }
    return n;
}

static const char *rewrite_name(const q_rewrite *w, uint32_t index)
{
    return q_file_name(w->file, q_file_record(w->file, index)->name_offset);
}

/* The type a matrix is to have. */
static uint32_t rewrite_dtype(const q_rewrite *w, uint32_t index)
{
    return w->change != NULL ? w->change->type(w->change->user, index) : w->dtype;
}

/* True if the tensor is to change its type or its values. */
static bool rewrite_changes(const q_rewrite *w, uint32_t index)
{
    const q_file_tensor_record *r = q_file_record(w->file, index);
    return r->layout == Q_PANEL16 &&
           (r->dtype != rewrite_dtype(w, index) || (w->change != NULL && w->change->adjusts(w->change->user, index)));
}

static q_error_code rewrite_check(const q_rewrite *w, q_diag *diag)
{
    if (w == NULL || w->struct_size != sizeof(*w) || w->file == NULL || w->write == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, "q_rewrite",
                      w == NULL ? "NULL" : w->struct_size != sizeof(*w) ? "struct_size" : w->file == NULL ? "file" : "write",
                      sizeof(*w), 0);
    }
    if (w->dtype > Q_BF16) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, "q_rewrite", "dtype", Q_BF16, w->dtype);
    }
    return Q_OK;
}

/* The last byte of META, or a newline where there is none. */
static char rewrite_meta_end(const q_rewrite *w)
{
    const q_file_section *meta = rewrite_section(w, Q_SECTION_META);
    return meta->size.v == 0 ? '\n' : (char)w->file->tables[meta->offset.v + meta->size.v - 1];
}

/* META and DATA are the last sections, so that everything before META stays where it is. */
static q_error_code rewrite_tables(const q_rewrite *w, rewrite_plan *p, q_diag *diag)
{
    const q_file_section *meta = rewrite_section(w, Q_SECTION_META);
    size_t note = rewrite_length(w->note);
    if (note > Q_CAP_META) {
        return q_fail(diag, Q_ERR_LIMIT, "q_rewrite", "note", Q_CAP_META, note);
    }
    p->meta_size = meta->size.v;
    if (note != 0) {
        p->meta_size += note + 1u + (rewrite_meta_end(w) != '\n' ? 1u : 0u);
    }
    if (p->meta_size > Q_CAP_META) {
        return q_fail(diag, Q_ERR_LIMIT, "meta", "size", Q_CAP_META, p->meta_size);
    }
    if (!q_align_u64(meta->offset.v + p->meta_size, Q_ALIGN, &p->tables_size)) {
        return q_fail(diag, Q_ERR_OVERFLOW, "data", "offset", 0, 0);
    }
    return Q_OK;
}

/* Bytes of tensor `index` in the new file. */
static q_error_code rewrite_bytes(const q_rewrite *w, uint32_t index, uint64_t *bytes, q_diag *diag)
{
    const q_file_tensor_record *r = q_file_record(w->file, index);
    uint32_t dtype;
    *bytes = r->size.v;
    if (!rewrite_changes(w, index)) {
        return Q_OK;
    }
    dtype = rewrite_dtype(w, index);
    if (dtype > Q_BF16) {
        return q_fail(diag, Q_ERR_INVALID_DTYPE, rewrite_name(w, index), "type", Q_BF16, dtype);
    }
    if (r->ne[3].v % q_dtype_block(dtype) != 0) {
        return q_fail(diag, Q_ERR_INVALID_SIZE, rewrite_name(w, index), "columns, multiple of", q_dtype_block(dtype),
                      r->ne[3].v);
    }
    if (!q_matrix_bytes(dtype, Q_PANEL16, r->ne[2].v, r->ne[3].v, bytes)) {
        return q_fail(diag, Q_ERR_OVERFLOW, rewrite_name(w, index), "size", 0, 0);
    }
    return Q_OK;
}

static q_error_code rewrite_data(const q_rewrite *w, rewrite_plan *p, uint64_t *widest, q_diag *diag)
{
    *widest = 0;
    p->data_end = p->tables_size;
    for (uint32_t i = 0; i < q_file_n_tensors(w->file); i++) {
        const q_file_tensor_record *r = q_file_record(w->file, i);
        uint64_t bytes;
        q_error_code e = rewrite_bytes(w, i, &bytes, diag);
        if (e != Q_OK) {
            return e;
        }
        if (!q_align_u64(p->data_end, Q_ALIGN, &p->data_end) || !q_add_u64(p->data_end, bytes, &p->data_end)) {
            return q_fail(diag, Q_ERR_OVERFLOW, rewrite_name(w, i), "offset", 0, 0);
        }
        if (rewrite_changes(w, i) && r->ne[3].v > *widest) {
            *widest = r->ne[3].v;
        }
    }
    if (!q_align_u64(p->data_end, Q_ALIGN, &p->file_size)) {
        return q_fail(diag, Q_ERR_OVERFLOW, "file", "size", 0, 0);
    }
    return Q_OK;
}

/* work NULL: counts. Rows of F32 are the widest of all types, so they bound every form. */
static q_error_code rewrite_layout(const q_rewrite *w, rewrite_plan *p, void *work, size_t work_size, q_diag *diag)
{
    uint64_t widest;
    uint64_t rows;
    q_arena arena;
    q_error_code e = rewrite_check(w, diag);
    if (e == Q_OK) {
        e = rewrite_tables(w, p, diag);
    }
    if (e == Q_OK) {
        e = rewrite_data(w, p, &widest, diag);
    }
    if (e == Q_OK) {
        e = q_arena_init(&arena, work, work != NULL ? work_size : 0);
    }
    if (e != Q_OK) {
        return e;
    }
    if (!q_mul_u64(widest, sizeof(float) * Q_PANEL_ROWS, &rows) || rows > SIZE_MAX / 8 || p->tables_size > SIZE_MAX / 8) {
        return q_fail(diag, Q_ERR_OVERFLOW, "q_rewrite", "work", 0, 0);
    }
    p->tables = (uint8_t *)q_arena_alloc(&arena, (size_t)p->tables_size, Q_ALIGN);
    p->plain_in = (uint8_t *)q_arena_alloc(&arena, (size_t)rows, Q_ALIGN);
    p->values = (float *)q_arena_alloc(&arena, (size_t)rows, Q_ALIGN);
    p->plain_out = (uint8_t *)q_arena_alloc(&arena, (size_t)rows, Q_ALIGN);
    p->panel_out = (uint8_t *)q_arena_alloc(&arena, (size_t)rows, Q_ALIGN);
    p->work_size = arena.high;
    return Q_OK;
}

q_error_code q_rewrite_size(const q_rewrite *rewrite, uint64_t *file_bytes, size_t *work_bytes, q_diag *diag)
{
    rewrite_plan p;
    q_error_code e = rewrite_layout(rewrite, &p, NULL, 0, diag);
    if (e == Q_OK && file_bytes != NULL) {
        *file_bytes = p.file_size;
    }
    if (e == Q_OK && work_bytes != NULL) {
        *work_bytes = p.work_size;
    }
    return e;
}

/* ---- Writing ---------------------------------------------------------------------------------------------- */

/* The new file's tables with the old records: offsets, types and hashes follow tensor by tensor. */
static void rewrite_copy_tables(const q_rewrite *w, const rewrite_plan *p)
{
    const q_file_section *meta = rewrite_section(w, Q_SECTION_META);
    q_file_header *header = (q_file_header *)(void *)p->tables;
    size_t old = (size_t)(meta->offset.v + meta->size.v);
    size_t note = rewrite_length(w->note);
    memcpy(p->tables, w->file->tables, old);
    memset(p->tables + old, 0, (size_t)p->tables_size - old);
    if (note != 0) {
        p->tables[old] = '\n';
        old += rewrite_meta_end(w) != '\n' ? 1u : 0u;
        memcpy(p->tables + old, w->note, note);
        p->tables[old + note] = '\n';
    }
    header->section[Q_SECTION_META].size.v = p->meta_size;
    header->section[Q_SECTION_DATA].offset.v = p->tables_size;
    header->section[Q_SECTION_DATA].size.v = p->data_end - p->tables_size;
    header->file_size.v = p->file_size;
    memset(header->tables_sha256, 0, sizeof(header->tables_sha256));
}

static q_error_code rewrite_write(const q_rewrite *w, uint64_t at, const void *bytes, size_t n, const char *what,
                                  q_diag *diag)
{
    q_error_code e = n != 0 ? w->write(w->user, at, bytes, n) : Q_OK;
    return e == Q_OK ? Q_OK : q_fail(diag, e, what, "write", 0, 0);
}

/* One panel of 16 rows, of which `rows` exist, the first being `row`, into p->panel_out. */
static q_error_code rewrite_panel(const q_rewrite *w, const rewrite_plan *p, uint32_t index, const uint8_t *panel,
                                  size_t row, size_t rows, q_diag *diag)
{
    const q_file_tensor_record *r = q_file_record(w->file, index);
    uint32_t dtype = rewrite_dtype(w, index);
    size_t k = (size_t)r->ne[3].v;
    q_error_code e = q_panel_unpack(r->dtype, panel, rows, k, p->plain_in, diag);
    if (e == Q_OK) {
        e = q_dequantize(r->dtype, p->plain_in, rows, k, p->values, diag);
    }
    if (e == Q_OK && w->change != NULL && w->change->adjusts(w->change->user, index)) {
        w->change->adjust(w->change->user, index, row, rows, p->values);
    }
    if (e == Q_OK) {
        e = q_quantize(dtype, p->values, rows, k, p->plain_out, diag);
    }
    return e == Q_OK ? q_panel_pack(dtype, p->plain_out, rows, k, p->panel_out, diag) : e;
}

/* Writes a matrix in its new type from `at` on and hashes it. */
static q_error_code rewrite_matrix(const q_rewrite *w, const rewrite_plan *p, uint32_t index, uint64_t at,
                                   q_sha256 *hash, q_diag *diag)
{
    const q_file_tensor_record *r = q_file_record(w->file, index);
    size_t rows = (size_t)r->ne[2].v;
    size_t old_bytes = (size_t)q_panel_bytes(r->dtype, (uint32_t)r->ne[3].v);
    size_t new_bytes = (size_t)q_panel_bytes(rewrite_dtype(w, index), (uint32_t)r->ne[3].v);
    const uint8_t *panel = w->file->base + r->offset.v;
    for (size_t row = 0; row < rows; row += Q_PANEL_ROWS) {
        size_t n = rows - row < Q_PANEL_ROWS ? rows - row : Q_PANEL_ROWS;
        q_error_code e = rewrite_panel(w, p, index, panel, row, n, diag);
        if (e != Q_OK) {
            uint64_t element = diag != NULL ? diag->offset : 0;
            (void)q_fail(diag, e, rewrite_name(w, index), "value or scale", 0, 0);
            if (diag != NULL) {
                diag->offset = row * r->ne[3].v + element;
            }
            return e;
        }
        q_sha256_update(hash, p->panel_out, new_bytes);
        e = rewrite_write(w, at, p->panel_out, new_bytes, rewrite_name(w, index), diag);
        if (e != Q_OK) {
            return e;
        }
        panel += old_bytes;
        at += new_bytes;
    }
    return Q_OK;
}

/* Tensor `index` at `at`, the zeros behind it, and its record. *end is the first byte behind it. */
static q_error_code rewrite_tensor(const q_rewrite *w, const rewrite_plan *p, uint32_t index, uint64_t at,
                                   uint64_t *end, q_diag *diag)
{
    static const uint8_t zeros[Q_ALIGN] = {0};
    const q_file_tensor_record *r = q_file_record(w->file, index);
    q_file_tensor_record *out =
        (q_file_tensor_record *)(void *)(p->tables + rewrite_section(w, Q_SECTION_TENSORS)->offset.v) + index;
    uint64_t bytes;
    q_sha256 hash;
    q_error_code e = q_file_verify(w->file, index, diag);
    if (e == Q_OK) {
        e = rewrite_bytes(w, index, &bytes, diag);
    }
    if (e != Q_OK) {
        return e;
    }
    out->offset.v = at;
    if (rewrite_changes(w, index)) {
        q_sha256_init(&hash);
        e = rewrite_matrix(w, p, index, at, &hash, diag);
        q_sha256_final(&hash, out->sha256);
        out->size.v = bytes;
        out->dtype = (uint8_t)rewrite_dtype(w, index);
        out->flags &= out->dtype == Q_F32 ? UINT32_MAX : ~(uint32_t)Q_TENSOR_TRAINABLE;
    } else {
        e = rewrite_write(w, at, w->file->base + r->offset.v, (size_t)bytes, rewrite_name(w, index), diag);
    }
    *end = at + bytes;
    return e == Q_OK ? rewrite_write(w, *end, zeros, (Q_ALIGN - (size_t)(bytes % Q_ALIGN)) % Q_ALIGN,
                                     rewrite_name(w, index), diag)
                     : e;
}

static q_error_code rewrite_finish(const q_rewrite *w, const rewrite_plan *p, q_diag *diag)
{
    q_file_header *header = (q_file_header *)(void *)p->tables;
    uint8_t digest[Q_SHA256_BYTES];
    q_sha256_of(p->tables, (size_t)p->tables_size, digest);
    memcpy(header->tables_sha256, digest, sizeof(digest));
    return rewrite_write(w, 0, p->tables, (size_t)p->tables_size, "tables", diag);
}

q_error_code q_rewrite_run(const q_rewrite *rewrite, void *work, size_t work_size, q_diag *diag)
{
    rewrite_plan p;
    size_t need = 0;
    uint32_t n;
    uint64_t end;
    q_error_code e = q_rewrite_size(rewrite, NULL, &need, diag);
    if (e != Q_OK) {
        return e;
    }
    if (work == NULL || (uintptr_t)work % Q_ALIGN != 0) {
        return q_fail(diag, work == NULL ? Q_ERR_INVALID_ARG : Q_ERR_MISALIGNED, "q_rewrite_run", "work", Q_ALIGN, 0);
    }
    if (work_size < need) {
        return q_fail(diag, Q_ERR_NO_SPACE, "q_rewrite_run", "work", need, work_size);
    }
    e = rewrite_layout(rewrite, &p, work, work_size, diag);
    if (e == Q_OK) {
        e = q_file_verify(rewrite->file, UINT32_MAX, diag);
    }
    if (e != Q_OK) {
        return e;
    }
    rewrite_copy_tables(rewrite, &p);
    n = q_file_n_tensors(rewrite->file);
    end = p.tables_size;
    for (uint32_t i = 0; i < n && e == Q_OK; i++) {
        if (rewrite->progress != NULL) {
            rewrite->progress(rewrite->user, i, n);
        }
        e = rewrite_tensor(rewrite, &p, i, (end + (Q_ALIGN - 1)) & ~(uint64_t)(Q_ALIGN - 1), &end, diag);
    }
    if (e == Q_OK && rewrite->progress != NULL) {
        rewrite->progress(rewrite->user, n, n);
    }
    return e == Q_OK ? rewrite_finish(rewrite, &p, diag) : e;
}
