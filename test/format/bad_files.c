/* SPDX-License-Identifier: MIT */
/*
 * bad_files.c: runs the table of bad files, the sweeps, and the cases about arguments.
 */
#include "bad_files.h"

#include "qorus/base/mem.h"
#include "qorus/base/text.h"
#include "qorus/sha256.h"

/* A run over one twin. */
typedef struct bad_run {
    const uint8_t *twin;
    size_t size;
    uint8_t *file; /* the defective file, size + 64 bytes */
    uint8_t *copy; /* where q_file_open copies the tables, size bytes */
    q_file good;   /* the twin, opened */
    bad_print print;
    void *user;
    bad_counts *counts;
} bad_run;

static void report(bad_run *run, bool good, const char *id, const char *detail, const q_diag *diag)
{
    char line[256];
    q_text text;
    q_text_init(&text, line, sizeof(line));
    q_text_str(&text, good ? "ok   " : "FAIL ");
    q_text_left(&text, id, 36);
    q_text_str(&text, " ");
    q_text_str(&text, detail);
    if (diag != NULL) {
        q_text_i64(&text, diag->code, 0);
        q_text_str(&text, " ");
        q_text_str(&text, diag->what);
        q_text_str(&text, ": ");
        q_text_str(&text, diag->field);
        q_text_str(&text, " at byte ");
        q_text_u64(&text, diag->offset, 0);
    }
    run->print(run->user, line, text.length < sizeof(line) ? text.length : sizeof(line) - 1);
    run->counts->passed += good ? 1u : 0u;
    run->counts->failed += good ? 0u : 1u;
}

static size_t text_length(const char *s)
{
    size_t n = 0;
    while (s[n] != '\0') {
        n++;
    }
    return n;
}

static bool text_equal(const char *a, const char *b)
{
    size_t n = text_length(a);
    return n == text_length(b) && memcmp(a, b, n) == 0;
}

static uint32_t record_index(const bad_run *run, const bad_where *where)
{
    uint32_t index = where->index;
    if (where->name != NULL &&
        q_file_find(&run->good, where->name, text_length(where->name), &index) != Q_OK) {
        return UINT32_MAX;
    }
    return index;
}

static uint64_t section_start(const bad_run *run, uint32_t section)
{
    return q_file_get_header(&run->good)->section[section].offset.v;
}

static uint64_t inside_tables(const bad_run *run, const void *p)
{
    return (uint64_t)((const uint8_t *)p - run->good.tables);
}

static uint64_t padding_after(const bad_run *run, uint32_t section)
{
    const q_file_section *s = q_file_get_header(&run->good)->section;
    uint64_t end = s[section].offset.v + s[section].size.v;
    return end < s[section + 1].offset.v ? end : UINT64_MAX;
}

static uint64_t resolve_graph(const bad_run *run, const bad_where *w)
{
    q_file_graph_view g;
    if (!q_file_graph_arrays(&run->good, &g)) {
        return UINT64_MAX;
    }
    switch (w->place) {
    case BAD_INPUT:
        return inside_tables(run, &g.inputs[w->index]) + w->at;
    case BAD_NODE:
        return inside_tables(run, &g.nodes[w->index]) + w->at;
    case BAD_INPUT_TEXT:
        return section_start(run, Q_SECTION_STRINGS) + g.inputs[w->index].name_offset + w->at;
    case BAD_OUTPUT_TEXT:
        return section_start(run, Q_SECTION_STRINGS) + g.outputs[w->index].name_offset + w->at;
    case BAD_NODE_TEXT:
        return section_start(run, Q_SECTION_STRINGS) + g.nodes[w->index].name_offset + w->at;
    case BAD_OUTPUT:
        return inside_tables(run, &g.outputs[w->index]) + w->at;
    case BAD_EDGE:
        return inside_tables(run, &g.edges[w->index]) + w->at;
    default:
        return inside_tables(run, &g.params[w->index]) + w->at;
    }
}

static uint64_t resolve_tensor(const bad_run *run, const bad_where *w)
{
    uint32_t index = record_index(run, w);
    const q_file_tensor_record *r;
    const uint32_t *names;
    size_t bytes;
    uint64_t i = 0;
    if (index >= q_file_n_tensors(&run->good)) {
        return UINT64_MAX;
    }
    r = q_file_record(&run->good, index);
    switch (w->place) {
    case BAD_RECORD:
        return inside_tables(run, r) + w->at;
    case BAD_TEXT:
        return section_start(run, Q_SECTION_STRINGS) + r->name_offset + w->at;
    case BAD_DATA:
        return r->offset.v + w->at;
    case BAD_DATA_END:
        return r->size.v % Q_ALIGN == 0 ? UINT64_MAX : r->offset.v + r->size.v + w->at;
    default:
        names = (const uint32_t *)q_file_section_data(&run->good, Q_SECTION_NAMES, &bytes);
        while (names[i] != index) {
            i++;
        }
        return section_start(run, Q_SECTION_NAMES) + i * sizeof(*names);
    }
}

/* Byte of the file a place stands for; UINT64_MAX: this twin has no such place. */
static uint64_t resolve(const bad_run *run, const bad_where *w)
{
    switch (w->place) {
    case BAD_FILE:
        return w->at;
    case BAD_SECTION:
        return offsetof(q_file_header, section) + w->index * sizeof(q_file_section) + w->at;
    case BAD_BODY:
        return section_start(run, w->index) + w->at;
    case BAD_PADDING:
        return padding_after(run, w->index);
    case BAD_RECORD:
    case BAD_TEXT:
    case BAD_SORTED:
    case BAD_DATA:
    case BAD_DATA_END:
        return resolve_tensor(run, w);
    default:
        return resolve_graph(run, w);
    }
}

static bool apply_edit(bad_run *run, const bad_edit *edit)
{
    uint64_t at = resolve(run, &edit->where);
    uint64_t value = 0;
    if (at == UINT64_MAX || at + edit->width > run->size) {
        return false;
    }
    memcpy(&value, run->file + at, edit->width);
    value = edit->op == BAD_SET   ? edit->value
            : edit->op == BAD_ADD ? value + edit->value
                                  : value ^ edit->value;
    memcpy(run->file + at, &value, edit->width);
    return true;
}

static void rehash_tensor(bad_run *run, const char *name)
{
    const bad_where where = {BAD_RECORD, 0, offsetof(q_file_tensor_record, sha256), name};
    uint32_t index = record_index(run, &where);
    const q_file_tensor_record *r = q_file_record(&run->good, index);
    q_sha256_of(run->file + r->offset.v, (size_t)r->size.v, run->file + resolve(run, &where));
}

static void rehash_tables(bad_run *run)
{
    uint8_t *field = run->file + offsetof(q_file_header, tables_sha256);
    uint8_t digest[Q_SHA256_BYTES];
    memset(field, 0, sizeof(digest));
    q_sha256_of(run->file, (size_t)run->good.tables_size, digest);
    memcpy(field, digest, sizeof(digest));
}

/* The call the case is about, in place or over a copy. */
static q_error_code call(bad_run *run, const bad_case *c, size_t size, bool copied, q_diag *diag)
{
    q_file file;
    q_file untouched;
    q_error_code code;
    const bad_where where = c->reported.place != BAD_NOWHERE ? c->reported : c->edit[0].where;
    memset(&file, 0xAA, sizeof(file));
    untouched = file;
    memset(diag, 0, sizeof(*diag));
    run->counts->tried++;
    code = q_file_open(&file, run->file, size, copied ? run->copy : NULL, copied ? run->size : 0,
                       diag);
    if (code != Q_OK) {
        return memcmp(&file, &untouched, sizeof(file)) == 0 ? code : Q_OK;
    }
    if (c->check == BAD_VERIFY_TENSOR) {
        return q_file_verify(&file, record_index(run, &where), diag);
    }
    return c->check == BAD_VERIFY_TABLES ? q_file_verify(&file, UINT32_MAX, diag) : Q_OK;
}

static bool as_expected(const bad_run *run, const bad_case *c, q_error_code code,
                        const q_diag *diag)
{
    uint64_t at = resolve(run, c->reported.place != BAD_NOWHERE ? &c->reported : &c->edit[0].where);
    if (code != c->code) {
        return false;
    }
    return code == Q_OK ||
           (diag->code == code && (c->what == NULL || text_equal(diag->what, c->what)) &&
            text_equal(diag->field, c->field) && diag->offset == at);
}

static size_t size_of_case(const bad_run *run, const bad_case *c)
{
    if (c->grow < INT64_MIN + 4096) {
        return (size_t)(c->grow - INT64_MIN);
    }
    return (size_t)((int64_t)run->size + c->grow);
}

static void run_case(bad_run *run, const bad_case *c)
{
    q_diag diag[2];
    bool good = true;
    memcpy(run->file, run->twin, run->size);
    memset(run->file + run->size, 0, Q_ALIGN);
    for (size_t i = 0; i < BAD_EDITS && c->edit[i].op != BAD_NO_EDIT; i++) {
        good = apply_edit(run, &c->edit[i]) && good;
    }
    if (!good) {
        report(run, false, c->id, "this twin has no place for the defect", NULL);
        return;
    }
    if (c->rehash != NULL) {
        rehash_tensor(run, c->rehash);
    }
    if (!c->keep_hash) {
        rehash_tables(run);
    }
    for (size_t i = 0; i < 2; i++) {
        q_error_code code = call(run, c, size_of_case(run, c), i == 1, &diag[i]);
        good = as_expected(run, c, code, &diag[i]) && good;
    }
    report(run, good, c->id, "", &diag[0]);
}

static bool open_twin(bad_run *run, const void *twin, size_t size, void *work, size_t work_size)
{
    run->twin = (const uint8_t *)twin;
    run->size = size;
    run->file = (uint8_t *)work;
    run->copy = run->file + (size + Q_ALIGN + Q_ALIGN - 1) / Q_ALIGN * Q_ALIGN;
    if (work_size < 2 * size + 4 * Q_ALIGN ||
        q_file_open(&run->good, twin, size, NULL, 0, NULL) != Q_OK ||
        q_file_verify(&run->good, UINT32_MAX, NULL) != Q_OK) {
        report(run, false, "twin", "is not accepted, or the work area is too small", NULL);
        return false;
    }
    return true;
}

static bool applies(const bad_run *run, const bad_case *c)
{
    const q_file_graph *graph = q_file_get_graph(&run->good);
    switch (c->twin) {
    case BAD_DECODER:
        return q_file_get_arch(&run->good) != NULL;
    case BAD_GRAPH:
        return graph != NULL && graph->n_inputs == 1;
    case BAD_WIDE:
        return graph != NULL && graph->n_inputs > 1;
    default:
        return true;
    }
}

void bad_files_run(const void *twin, size_t size, void *work, size_t work_size, bad_print print,
                   void *user, bad_counts *counts)
{
    bad_run run;
    memset(&run, 0, sizeof(run));
    run.print = print;
    run.user = user;
    run.counts = counts;
    if (!open_twin(&run, twin, size, work, work_size)) {
        return;
    }
    for (const bad_case *c = bad_cases; c->id != NULL; c++) {
        if (applies(&run, c)) {
            run_case(&run, c);
        }
    }
}

/* ---- Sweeps ---------------------------------------------------------------------------------- */

/* A cut file must be refused: as no .qorus file within the magic, as cut short behind it. */
static uint32_t sweep_cuts(bad_run *run, uint32_t step)
{
    uint32_t wrong = 0;
    q_file file;
    memcpy(run->file, run->twin, run->size);
    for (size_t n = 0; n < run->good.tables_size; n += step) {
        q_diag diag;
        q_error_code code = q_file_open(&file, run->file, n, NULL, 0, &diag);
        run->counts->tried++;
        wrong += code == Q_ERR_TRUNCATED && diag.code == code ? 0u : 1u;
    }
    return wrong;
}

static uint32_t sweep_flips(bad_run *run, uint32_t step)
{
    uint32_t wrong = 0;
    memcpy(run->file, run->twin, run->size);
    for (size_t i = 0; i < run->good.tables_size * 8u; i += step) {
        q_file file;
        q_diag diag;
        run->file[i / 8u] ^= (uint8_t)(1u << i % 8u);
        run->counts->tried++;
        if (q_file_open(&file, run->file, run->size, NULL, 0, &diag) == Q_OK) {
            wrong += q_file_verify(&file, UINT32_MAX, &diag) == Q_ERR_HASH ? 0u : 1u;
        } else {
            wrong += diag.code != Q_OK && diag.what[0] != '\0' && diag.field[0] != '\0' ? 0u : 1u;
        }
        run->file[i / 8u] ^= (uint8_t)(1u << i % 8u);
    }
    return wrong;
}

void bad_files_sweep(const void *twin, size_t size, uint32_t step, void *work, size_t work_size,
                     bad_print print, void *user, bad_counts *counts)
{
    bad_run run;
    memset(&run, 0, sizeof(run));
    run.print = print;
    run.user = user;
    run.counts = counts;
    if (!open_twin(&run, twin, size, work, work_size)) {
        return;
    }
    report(&run, sweep_cuts(&run, step) == 0, "M03_cut_at_every_byte", "", NULL);
    report(&run, sweep_flips(&run, step) == 0, "M81_every_bit_flipped", "", NULL);
}

/* ---- Arguments ------------------------------------------------------------------------------- */

static bool misaligned_refused(bad_run *run)
{
    bool good = true;
    for (size_t by = 1; by < Q_ALIGN; by++) {
        q_file file;
        q_diag diag;
        memmove(run->file + by, run->twin, run->size);
        good = good &&
               q_file_open(&file, run->file + by, run->size, NULL, 0, &diag) == Q_ERR_MISALIGNED &&
               diag.have == by;
        good = good && q_file_open(&file, run->twin, run->size, run->copy + by, run->size, &diag) ==
                           Q_ERR_MISALIGNED;
    }
    return good;
}

static bool small_copy_refused(bad_run *run)
{
    q_file file;
    q_diag diag;
    size_t need = 0;
    bool good = q_file_tables_size(run->twin, run->size, &need, &diag) == Q_OK &&
                need == run->good.tables_size;
    good = good && q_file_open(&file, run->twin, run->size, run->copy, need, &diag) == Q_OK;
    good = good &&
           q_file_open(&file, run->twin, run->size, run->copy, need - 1, &diag) == Q_ERR_NO_SPACE;
    return good && diag.need == need && diag.have == need - 1;
}

static bool null_refused(bad_run *run)
{
    q_file file;
    size_t bytes;
    uint32_t index;
    return q_file_open(NULL, run->twin, run->size, NULL, 0, NULL) == Q_ERR_INVALID_ARG &&
           q_file_open(&file, NULL, run->size, NULL, 0, NULL) == Q_ERR_INVALID_ARG &&
           q_file_tables_size(run->twin, run->size, NULL, NULL) == Q_ERR_INVALID_ARG &&
           q_file_tables_size(NULL, 0, &bytes, NULL) == Q_ERR_TRUNCATED &&
           q_file_verify(NULL, 0, NULL) == Q_ERR_INVALID_ARG &&
           q_file_find(NULL, "x", 1, &index) == Q_ERR_INVALID_ARG &&
           q_file_find(&run->good, NULL, 1, &index) == Q_ERR_INVALID_ARG &&
           q_file_find(&run->good, "x", 1, NULL) == Q_ERR_INVALID_ARG &&
           q_file_verify(&run->good, q_file_n_tensors(&run->good), NULL) == Q_ERR_INVALID_ARG;
}

static bool overlap_refused(bad_run *run)
{
    q_file file;
    q_diag diag;
    memcpy(run->file, run->twin, run->size);
    return q_file_open(&file, run->file, run->size, run->file, run->size, &diag) == Q_ERR_ALIASING;
}

/* Tables that were copied and validated stay what they were, whatever becomes of the source. */
static bool rewritten_source_harmless(bad_run *run)
{
    q_file file;
    q_tensor before;
    q_tensor after;
    bool good;
    memcpy(run->file, run->twin, run->size);
    good = q_file_open(&file, run->file, run->size, run->copy, run->size, NULL) == Q_OK;
    if (!good || q_file_n_tensors(&file) == 0) {
        return good;
    }
    q_file_tensor(&file, 0, &before);
    memset(run->file, 0xFF, (size_t)file.tables_size);
    q_file_tensor(&file, 0, &after);
    return memcmp(&before, &after, sizeof(before)) == 0 &&
           q_file_verify(&file, UINT32_MAX, NULL) == Q_OK && q_file_verify(&file, 0, NULL) == Q_OK;
}

void bad_files_arguments(const void *twin, size_t size, void *work, size_t work_size,
                         bad_print print, void *user, bad_counts *counts)
{
    bad_run run;
    memset(&run, 0, sizeof(run));
    run.print = print;
    run.user = user;
    run.counts = counts;
    if (!open_twin(&run, twin, size, work, work_size)) {
        return;
    }
    report(&run, null_refused(&run), "A01_null", "", NULL);
    report(&run, misaligned_refused(&run), "M79_address_misaligned", "", NULL);
    report(&run, small_copy_refused(&run), "M74_copy_one_byte_short", "", NULL);
    report(&run, overlap_refused(&run), "R08_copy_over_the_file", "", NULL);
    report(&run, rewritten_source_harmless(&run), "M78_source_rewritten", "", NULL);
}
