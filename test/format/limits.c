/* SPDX-License-Identifier: MIT */
/* limits.c: fields of a file at their limits and one beyond, and every number of what calls say. */
#include "limits.h"

#include <stdio.h>
#include <string.h>

#include "qorus/base/panel.h"


/* ---- Fields of the architecture ------------------------------------------------------------------------------ */

#define AT(member) offsetof(q_file_arch, member)
#define D_ONE 0x3ff0000000000000u
#define D_32 0x4040000000000000u
#define D_MAX 0x7fefffffffffffffu
#define F_MAX 0x7f7fffffu

typedef struct limit_field {
    const char *name;
    size_t at;
    uint32_t width;
    uint64_t value;
    q_error_code code;
    uint64_t need; /* what the diagnosis wants; 0 where the file is accepted */
} limit_field;

/* The sample has 3 layers, 4 heads of 8, a context of 128, YaRN with rope_low 1 and rope_high 32. */
static const limit_field fields[] = {
    {"n_layers", AT(n_layers), 4, 0, Q_ERR_CORRUPT, 1},
    {"n_layers", AT(n_layers), 4, Q_CAP_LAYERS, Q_ERR_CORRUPT, 3},
    {"n_layers", AT(n_layers), 4, Q_CAP_LAYERS + 1, Q_ERR_LIMIT, Q_CAP_LAYERS},
    {"head_dim", AT(head_dim), 4, 7, Q_ERR_CORRUPT, 8},
    {"rope_dims", AT(rope_dims), 4, 1, Q_ERR_CORRUPT, 2},
    {"rope_dims", AT(rope_dims), 4, 2, Q_OK, 0},
    {"rope_dims", AT(rope_dims), 4, 8, Q_OK, 0},
    {"rope_dims", AT(rope_dims), 4, 10, Q_ERR_CORRUPT, 8},
    {"n_context", AT(n_context), 4, Q_CAP_CONTEXT, Q_OK, 0},
    {"n_context", AT(n_context), 4, Q_CAP_CONTEXT + 1, Q_ERR_LIMIT, Q_CAP_CONTEXT},
    {"window", AT(window), 4, 1, Q_OK, 0},
    {"window", AT(window), 4, 128, Q_OK, 0},
    {"window", AT(window), 4, 129, Q_ERR_CORRUPT, 128},
    {"rope_original_context", AT(rope_original_context), 4, Q_CAP_CONTEXT, Q_OK, 0},
    {"norm_eps", AT(norm_eps), 4, 1, Q_OK, 0},
    {"norm_eps", AT(norm_eps), 4, 0x3f800000u, Q_OK, 0},
    {"norm_eps", AT(norm_eps), 4, 0x3f800001u, Q_ERR_CORRUPT, 0x3f800000u},
    {"norm_offset", AT(norm_offset), 4, 0, Q_OK, 0},
    {"norm_offset", AT(norm_offset), 4, 1, Q_ERR_CORRUPT, 0x3f800000u},
    {"embed_scale", AT(embed_scale), 4, 1, Q_OK, 0},
    {"embed_scale", AT(embed_scale), 4, F_MAX, Q_OK, 0},
    {"embed_scale", AT(embed_scale), 4, 0, Q_ERR_CORRUPT, 1},
    {"attn_scale", AT(attn_scale), 4, 1, Q_OK, 0},
    {"attn_scale", AT(attn_scale), 4, F_MAX, Q_OK, 0},
    {"attn_scale", AT(attn_scale), 4, F_MAX + 1u, Q_ERR_CORRUPT, F_MAX},
    {"attn_scale", AT(attn_scale), 4, 0, Q_ERR_CORRUPT, 1},
    {"residual_scale", AT(residual_scale), 4, 1, Q_OK, 0},
    {"residual_scale", AT(residual_scale), 4, F_MAX, Q_OK, 0},
    {"residual_scale", AT(residual_scale), 4, 0, Q_ERR_CORRUPT, 1},
    {"logit_scale", AT(logit_scale), 4, 1, Q_OK, 0},
    {"logit_scale", AT(logit_scale), 4, F_MAX, Q_OK, 0},
    {"logit_scale", AT(logit_scale), 4, 0, Q_ERR_CORRUPT, 1},
    {"attn_softcap", AT(attn_softcap), 4, 0, Q_OK, 0},
    {"attn_softcap", AT(attn_softcap), 4, 1, Q_OK, 0},
    {"attn_softcap", AT(attn_softcap), 4, F_MAX, Q_OK, 0},
    {"logit_softcap", AT(logit_softcap), 4, 0, Q_OK, 0},
    {"logit_softcap", AT(logit_softcap), 4, 1, Q_OK, 0},
    {"logit_softcap", AT(logit_softcap), 4, F_MAX + 1u, Q_ERR_CORRUPT, F_MAX},
    {"rope_base", AT(rope_base), 8, D_ONE + 1u, Q_OK, 0},
    {"rope_base", AT(rope_base), 8, D_ONE, Q_ERR_CORRUPT, D_ONE + 1u},
    {"rope_base", AT(rope_base), 8, 0x430c6bf526340000u, Q_OK, 0},
    {"rope_base", AT(rope_base), 8, 0x430c6bf526340001u, Q_ERR_CORRUPT, 0x430c6bf526340000u},
    {"rope_local_base", AT(rope_local_base), 8, 0, Q_OK, 0},
    {"rope_local_base", AT(rope_local_base), 8, D_ONE + 1u, Q_OK, 0},
    {"rope_local_base", AT(rope_local_base), 8, D_ONE, Q_ERR_CORRUPT, D_ONE + 1u},
    {"rope_factor", AT(rope_factor), 8, D_ONE, Q_OK, 0},
    {"rope_factor", AT(rope_factor), 8, D_ONE - 1u, Q_ERR_CORRUPT, D_ONE},
    {"rope_low", AT(rope_low), 8, 1, Q_OK, 0},
    {"rope_low", AT(rope_low), 8, D_32 - 1u, Q_OK, 0},
    {"rope_high", AT(rope_high), 8, D_ONE + 1u, Q_OK, 0},
    {"rope_high", AT(rope_high), 8, D_ONE, Q_ERR_CORRUPT, D_ONE},
    {"rope_high", AT(rope_high), 8, 1, Q_ERR_CORRUPT, D_ONE},
    {"rope_high", AT(rope_high), 8, D_MAX, Q_OK, 0},
    {"rope_magnitude", AT(rope_magnitude), 8, 1, Q_OK, 0},
    {"rope_magnitude", AT(rope_magnitude), 8, 0, Q_ERR_CORRUPT, 1},
    {"rope_magnitude", AT(rope_magnitude), 8, 0x4090000000000000u, Q_OK, 0},
    {"rope_magnitude", AT(rope_magnitude), 8, 0x4090000000000001u, Q_ERR_CORRUPT, 0x4090000000000000u},
};

/* ---- Texts --------------------------------------------------------------------------------------------------- */

typedef struct limit_text {
    const char *name;
    const char *bytes;
    int bad; /* place of the byte that is refused; -1: none is */
} limit_text;

/* Each edge of table 3-7 of Unicode 15, from both sides. */
static const limit_text texts[] = {
    {"U+0020", " ~\t\n", -1},
    {"control 1f", "a\x1f" "aa", 1},
    {"control 01", "\x01" "aaa", 0},
    {"control 00", "a\0aa", 1},
    {"control 7f", "aa\x7f" "a", 2},
    {"U+0080", "\xc2\x80" "aa", -1},
    {"U+00BF", "a\xc2\xbf" "a", -1},
    {"U+07FF", "\xdf\xbf" "aa", -1},
    {"two bytes, overlong", "a\xc1\xbf" "a", 1},
    {"two bytes, 7f", "\xc2\x7f" "aa", 0},
    {"two bytes, c0", "\xc2\xc0" "aa", 0},
    {"80 alone", "aa\x80" "a", 2},
    {"U+0800", "\xe0\xa0\x80" "a", -1},
    {"three bytes, overlong", "\xe0\x9f\xbf" "a", 0},
    {"U+D7FF", "a\xed\x9f\xbf", -1},
    {"U+D800", "a\xed\xa0\x80", 1},
    {"U+E000", "\xee\x80\x80" "a", -1},
    {"U+FFFF", "\xef\xbf\xbf" "a", -1},
    {"three bytes, third 7f", "\xe1\x80\x7f" "a", 0},
    {"three bytes, third c0", "\xe1\x80\xc0" "a", 0},
    {"three bytes, cut", "aa\xe1\x80", -2},
    {"U+10000", "\xf0\x90\x80\x80", -1},
    {"four bytes, overlong", "\xf0\x8f\xbf\xbf", 0},
    {"U+10FFFF", "\xf4\x8f\xbf\xbf", -1},
    {"U+110000", "\xf4\x90\x80\x80", 0},
    {"first byte f5", "\xf5\x80\x80\x80", 0},
};

typedef struct limit_run {
    uint8_t *file;
    size_t size;
    bad_print print;
    void *user;
    bad_counts *counts;
} limit_run;

static void limit_tell(limit_run *r, bool good, const char *what, const char *name, size_t i)
{
    char line[128];
    int n = snprintf(line, sizeof(line), "%s %s %s %zu", good ? "ok  " : "FAIL", what, name, i);
    r->print(r->user, line, (size_t)n);
    r->counts->passed += good ? 1u : 0u;
    r->counts->failed += good ? 0u : 1u;
}

static void limit_fields(limit_run *r, uint64_t arch)
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const limit_field *f = &fields[i];
        uint8_t kept[8];
        q_file file;
        q_diag d;
        q_error_code e;
        bool good;
        memcpy(kept, r->file + arch + f->at, sizeof(kept));
        memcpy(r->file + arch + f->at, &f->value, f->width);
        e = q_file_open(&file, r->file, r->size, NULL, 0, &d);
        good = e == f->code && (e == Q_OK || (strcmp(d.field, f->name) == 0 && d.need == f->need && d.have == f->value &&
                                              d.offset == arch + f->at));
        limit_tell(r, good, "arch at a limit:", f->name, i);
        memcpy(r->file + arch + f->at, kept, sizeof(kept));
    }
}

static void limit_texts(limit_run *r, uint64_t meta)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const limit_text *t = &texts[i];
        uint64_t bad = meta + (uint64_t)(int64_t)t->bad;
        uint8_t kept[4];
        q_file file;
        q_diag d;
        q_error_code e;
        bool good;
        memcpy(kept, r->file + meta, sizeof(kept));
        memcpy(r->file + meta, t->bytes, sizeof(kept));
        e = q_file_open(&file, r->file, r->size, NULL, 0, &d);
        bad = t->bad == -2 ? meta + 2 : bad; /* the bytes behind it do not go on */
        good = t->bad == -1 ? e == Q_OK
                            : e == Q_ERR_CORRUPT && strcmp(d.field, "text") == 0 && d.offset == bad && d.need == 0 &&
                                  d.have == r->file[bad];
        limit_tell(r, good, "text at a limit:", t->name, i);
        memcpy(r->file + meta, kept, sizeof(kept));
    }
}

void limits_run(const void *decoder, size_t size, void *work, bad_print print, void *user, bad_counts *counts)
{
    limit_run r = {(uint8_t *)work, size, print, user, counts};
    const q_file_header *h = (const q_file_header *)work;
    memcpy(work, decoder, size);
    limit_fields(&r, h->section[Q_SECTION_ARCH].offset.v);
    limit_texts(&r, h->section[Q_SECTION_META].offset.v);
}

/* ---- What calls say ------------------------------------------------------------------------------------------- */

static bool said(q_error_code e, const q_diag *d, q_error_code code, const char *what, const char *field, uint64_t offset,
                 uint64_t need, uint64_t have)
{
    return e == code && d->code == code && strncmp(d->what, what, sizeof(d->what) - 1) == 0 && strcmp(d->field, field) == 0 &&
           d->offset == offset && d->need == need && d->have == have;
}

static void limit_arguments(limit_run *r, const uint8_t *twin)
{
    q_file file;
    q_diag d;
    size_t n = 0;
    uint32_t count;
    uint64_t tables;
    q_error_code e = q_file_open(&file, twin, r->size, NULL, 0, &d);
    limit_tell(r, e == Q_OK, "the twin opens", "", 0);
    count = q_file_n_tensors(&file);
    tables = file.tables_size;
    e = q_file_open(NULL, twin, r->size, NULL, 0, &d);
    limit_tell(r, said(e, &d, Q_ERR_INVALID_ARG, "file", "NULL", 0, 0, 0), "q_file_open without", "file", 0);
    e = q_file_open(&file, NULL, r->size, NULL, 0, &d);
    limit_tell(r, said(e, &d, Q_ERR_INVALID_ARG, "base", "NULL", 0, 0, 0), "q_file_open without", "base", 0);
    e = q_file_open(&file, twin + 1, r->size, NULL, 0, &d);
    limit_tell(r, said(e, &d, Q_ERR_MISALIGNED, "base", "address", 0, Q_ALIGN, 1), "q_file_open misaligned", "base", 0);
    e = q_file_open(&file, twin, r->size, r->file + 1, r->size, &d);
    limit_tell(r, said(e, &d, Q_ERR_MISALIGNED, "copy", "address", 0, Q_ALIGN, 1), "q_file_open misaligned", "copy", 0);
    e = q_file_open(&file, twin, r->size, r->file, (size_t)tables - 1u, &d);
    limit_tell(r, said(e, &d, Q_ERR_NO_SPACE, "copy", "copy_size", 0, tables, tables - 1u), "q_file_open short", "copy", 0);
    e = q_file_open(&file, r->file, r->size, r->file, r->size, &d);
    limit_tell(r, e == Q_ERR_TRUNCATED || e == Q_ERR_NOT_QORUS, "q_file_open of nothing", "file", 0);
    memcpy(r->file, twin, r->size);
    e = q_file_open(&file, r->file, r->size, r->file, r->size, &d);
    limit_tell(r, said(e, &d, Q_ERR_ALIASING, "copy", "overlaps the file", 0, 0, 0), "q_file_open over", "copy", 0);
    e = q_file_tables_size(twin, r->size, NULL, &d);
    limit_tell(r, said(e, &d, Q_ERR_INVALID_ARG, "bytes", "NULL", 0, 0, 0), "q_file_tables_size without", "bytes", 0);
    e = q_file_tables_size(twin, 255, &n, &d);
    limit_tell(r, said(e, &d, Q_ERR_TRUNCATED, "header", "size", 0, sizeof(q_file_header), 255), "q_file_tables_size of",
               "less than a header", 0);
    e = q_file_verify(NULL, 0, &d);
    limit_tell(r, said(e, &d, Q_ERR_INVALID_ARG, "file", "NULL", 0, 0, 0), "q_file_verify without", "file", 0);
    e = q_file_open(&file, twin, r->size, NULL, 0, &d);
    e = e == Q_OK ? q_file_verify(&file, count, &d) : e;
    limit_tell(r, said(e, &d, Q_ERR_INVALID_ARG, "index", "range", 0, count, count), "q_file_verify beyond", "index", 0);
}

static void limit_hashes(limit_run *r, const uint8_t *twin)
{
    const uint64_t at = offsetof(q_file_header, tables_sha256);
    const q_file_tensor_record *record;
    const uint8_t *sha256;
    uint64_t end;
    q_file file;
    q_diag d;
    q_error_code e;
    memcpy(r->file, twin, r->size);
    r->file[at] ^= 1;
    e = q_file_open(&file, r->file, r->size, NULL, 0, &d);
    e = e == Q_OK ? q_file_verify(&file, UINT32_MAX, &d) : e;
    limit_tell(r, said(e, &d, Q_ERR_HASH, "header", "tables_sha256", at, 0, 0), "q_file_verify of", "tables", 0);
    record = q_file_record(&file, 0);
    sha256 = record->sha256;
    end = record->offset.v + record->size.v;
    r->file[sha256 - r->file] ^= 1;
    e = q_file_verify(&file, 0, &d);
    limit_tell(r, said(e, &d, Q_ERR_HASH, q_file_name(&file, record->name_offset), "sha256", (uint64_t)(sha256 - r->file), 0, 0),
               "q_file_verify of", "a tensor", 0);
    r->file[sha256 - r->file] ^= 1;
    if (end % Q_ALIGN != 0) {
        r->file[end] = 7;
        e = q_file_verify(&file, 0, &d);
        limit_tell(r, said(e, &d, Q_ERR_CORRUPT, q_file_name(&file, record->name_offset), "padding", end, 0, 7),
                   "q_file_verify of", "padding", 0);
    }
}

static bool tensor_is(const q_file *file, uint32_t i)
{
    const q_file_tensor_record *r = q_file_record(file, i);
    size_t kept = r->name_length < Q_MAX_NAME ? r->name_length : Q_MAX_NAME - 1u;
    uint64_t rows;
    uint64_t row = 0;
    q_tensor t;
    q_tensor zero;
    memset(&t, 0x5A, sizeof(t));
    memset(&zero, 0, sizeof(zero));
    q_file_tensor(file, i, &t);
    rows = t.layout == Q_PANEL16 ? (t.ne[2] + 15u) / 16u : t.ne[2];
    row = t.layout == Q_PANEL16 ? q_panel_bytes(t.dtype, t.ne[3]) : r->size.v / ((uint64_t)t.ne[0] * t.ne[1] * t.ne[2]);
    return t.nb[3] == q_dtype_block_bytes(t.dtype) && t.nb[2] == row && t.nb[1] == row * rows &&
           t.nb[0] == row * rows * t.ne[1] && t.ne[0] == r->ne[0].v && t.ne[1] == r->ne[1].v && t.ne[2] == r->ne[2].v &&
           t.ne[3] == r->ne[3].v && memcmp(t.name, q_file_name(file, r->name_offset), kept) == 0 &&
           memcmp(t.name + kept, zero.name, sizeof(t.name) - kept) == 0 && t.device == Q_DEVICE_CPU &&
           (t.scales == t.data || t.scales == NULL);
}

/* Sections and tensors of a file whose tables were copied. */
static void limit_contents(limit_run *r, const uint8_t *twin)
{
    q_file file;
    q_diag d;
    size_t n;
    bool good = q_file_open(&file, twin, r->size, r->file, r->size, &d) == Q_OK;
    for (uint32_t i = 0; good && i < q_file_n_tensors(&file); i++) {
        limit_tell(r, tensor_is(&file, i), "tensor", "", i);
    }
    for (uint32_t i = 0; good && i < Q_SECTION_COUNT; i++) {
        const q_file_section *s = &q_file_get_header(&file)->section[i];
        const uint8_t *want = (i == Q_SECTION_DATA ? twin : r->file) + s->offset.v;
        const void *have = q_file_section_data(&file, (q_section)i, &n);
        limit_tell(r, n == s->size.v && have == (n != 0 ? (const void *)want : NULL), "section", "", i);
    }
}

void limits_calls(const void *twin, size_t size, void *work, bad_print print, void *user, bad_counts *counts)
{
    limit_run r = {(uint8_t *)work, size, print, user, counts};
    memset(work, 0, size);
    limit_arguments(&r, (const uint8_t *)twin);
    limit_hashes(&r, (const uint8_t *)twin);
    limit_contents(&r, (const uint8_t *)twin);
}
