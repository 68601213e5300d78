/* SPDX-License-Identifier: MIT */
/*
 * check_tables.c: validates tensor records, the name index, strings, padding and the META text.
 */
#include "format_check.h"

size_t q_format_zeros(const uint8_t *bytes, size_t n)
{
    size_t i = 0;
    while (i < n && bytes[i] == 0) {
        i++;
    }
    return i;
}

/* Bytes of the UTF-8 sequence at text, or 0 if it is not one (Unicode 15, table 3-7). */
static size_t format_utf8_sequence(const uint8_t *text, size_t n)
{
    uint8_t first = text[0];
    size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint8_t low = 0x80;
    uint8_t high = 0xbf;
    if (length == 1) {
        return 1;
    }
    if (first < 0xc2 || first > 0xf4 || length > n) {
        return 0;
    }
    low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : low;
    high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : high;
    for (size_t i = 1; i < length; i++) {
        if (text[i] < low || text[i] > high) {
            return 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    return length;
}

static bool format_control_refused(uint8_t c, const char *allowed)
{
    if (c >= 0x20 && c != 0x7f) {
        return false;
    }
    while (*allowed != '\0' && (uint8_t)*allowed != c) {
        allowed++;
    }
    return c == 0 || *allowed == '\0';
}

size_t q_format_utf8(const uint8_t *text, size_t n, const char *allowed)
{
    size_t i = 0;
    while (i < n) {
        size_t length = format_utf8_sequence(text + i, n - i);
        if (length == 0 || format_control_refused(text[i], allowed)) {
            break;
        }
        i += length;
    }
    return i;
}

q_error_code q_format_check_name(q_format_check *check, const q_format_name *name)
{
    const q_file_section *strings = &check->header->section[Q_SECTION_STRINGS];
    const uint8_t *text = (const uint8_t *)check->strings + check->cursor;
    uint64_t at = strings->offset.v + check->cursor; /* both within the file */
    size_t bad;
    if (name->length == 0 || name->length > Q_CAP_NAME) {
        return q_format_fail(check->diag, name->length == 0 ? Q_ERR_CORRUPT : Q_ERR_LIMIT,
                             name->what, "name_length", name->length_at, Q_CAP_NAME, name->length);
    }
    if (name->offset != check->cursor) {
        return q_format_fail(check->diag, Q_ERR_CORRUPT, name->what, "name_offset", name->offset_at,
                             check->cursor, name->offset);
    }
    if (!q_range_ok(check->cursor, (uint64_t)name->length + 1u, strings->size.v)) {
        return q_format_fail(check->diag, Q_ERR_CORRUPT, name->what, "name_length", name->length_at,
                             strings->size.v - check->cursor, (uint64_t)name->length + 1u);
    }
    bad = q_format_utf8(text, name->length, "");
    if (bad != name->length) {
        return q_format_fail(check->diag, Q_ERR_CORRUPT, name->what, "name", at + bad, 0,
                             text[bad]);
    }
    if (text[name->length] != 0) {
        return q_format_fail(check->diag, Q_ERR_CORRUPT, name->what, "name terminator",
                             at + name->length, 0, text[name->length]);
    }
    check->cursor += (uint64_t)name->length + 1u;
    return Q_OK;
}

static q_error_code record_check_dims(const q_file_tensor_record *r, const char *what, uint64_t at,
                                      q_diag *diag)
{
    static const char fields[Q_MAX_DIMS][6] = {"ne[0]", "ne[1]", "ne[2]", "ne[3]"};
    if (r->n_dims == 0 || r->n_dims > Q_MAX_DIMS) {
        return q_format_fail(diag, Q_ERR_CORRUPT, what, "n_dims",
                             at + offsetof(q_file_tensor_record, n_dims), Q_MAX_DIMS, r->n_dims);
    }
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        uint64_t ne = r->ne[i].v;
        uint64_t here = at + offsetof(q_file_tensor_record, ne) + i * sizeof(q_file_u64);
        if (ne == 0 || (i + r->n_dims < Q_MAX_DIMS && ne != 1)) {
            return q_format_fail(diag, Q_ERR_CORRUPT, what, fields[i], here, 1, ne);
        }
        if (ne > UINT32_MAX) {
            return q_format_fail(diag, Q_ERR_LIMIT, what, fields[i], here, UINT32_MAX, ne);
        }
    }
    return Q_OK;
}

static q_error_code record_check_kind(const q_file_tensor_record *r, const char *what, uint64_t at,
                                      q_diag *diag)
{
    if (r->dtype > Q_I32) {
        return q_format_fail(diag, Q_ERR_UNSUPPORTED, what, "dtype",
                             at + offsetof(q_file_tensor_record, dtype), Q_I32, r->dtype);
    }
    if (r->layout >= Q_LAYOUT_COUNT) {
        return q_format_fail(diag, Q_ERR_UNSUPPORTED, what, "layout",
                             at + offsetof(q_file_tensor_record, layout), Q_LAYOUT_COUNT - 1,
                             r->layout);
    }
    if ((r->flags & ~(uint32_t)Q_TENSOR_TRAINABLE) != 0) {
        return q_format_fail(diag, Q_ERR_UNSUPPORTED, what, "flags",
                             at + offsetof(q_file_tensor_record, flags), Q_TENSOR_TRAINABLE,
                             r->flags);
    }
    return Q_OK;
}

/* The bytes that dtype, layout and ne demand. */
static q_error_code record_check_extent(const q_file_tensor_record *r, const char *what,
                                        uint64_t at, q_diag *diag)
{
    uint64_t rows;
    uint64_t need;
    if (r->layout == Q_PANEL16 && (r->n_dims != 2 || r->dtype == Q_I32)) {
        return q_format_fail(diag, Q_ERR_CORRUPT, what, "layout",
                             at + offsetof(q_file_tensor_record, layout), Q_PLAIN, r->layout);
    }
    if (r->ne[3].v % q_dtype_block(r->dtype) != 0) {
        return q_format_fail(diag, Q_ERR_CORRUPT, what, "ne[3]",
                             at + offsetof(q_file_tensor_record, ne) + 3u * sizeof(q_file_u64),
                             q_dtype_block(r->dtype), r->ne[3].v);
    }
    if (!q_mul_u64(r->ne[0].v, r->ne[1].v, &rows) || !q_mul_u64(rows, r->ne[2].v, &rows) ||
        !q_matrix_bytes(r->dtype, r->layout, rows, r->ne[3].v, &need)) {
        return q_format_fail(diag, Q_ERR_CORRUPT, what, "ne",
                             at + offsetof(q_file_tensor_record, ne), 0, 0);
    }
    if (r->size.v != need) {
        return q_format_fail(diag, Q_ERR_CORRUPT, what, "size",
                             at + offsetof(q_file_tensor_record, size), need, r->size.v);
    }
    return Q_OK;
}

/* *end is where the tensor before ends; the next one begins at the multiple of 64 after it. */
static q_error_code record_check_place(const q_format_check *check, const q_file_tensor_record *r,
                                       const char *what, uint64_t at, uint64_t *end)
{
    uint64_t start = 0;
    uint64_t total = check->header->file_size.v;
    size_t bad = q_format_zeros(r->reserved, sizeof(r->reserved));
    if (!q_align_u64(*end, Q_ALIGN, &start) || r->offset.v != start) {
        return q_format_fail(check->diag, Q_ERR_CORRUPT, what, "offset",
                             at + offsetof(q_file_tensor_record, offset), start, r->offset.v);
    }
    if (!q_range_ok(start, r->size.v, total)) {
        return q_format_fail(check->diag, Q_ERR_CORRUPT, what, "size",
                             at + offsetof(q_file_tensor_record, size),
                             start < total ? total - start : 0, r->size.v);
    }
    if (bad != sizeof(r->reserved)) {
        return q_format_fail(check->diag, Q_ERR_CORRUPT, what, "reserved",
                             at + offsetof(q_file_tensor_record, reserved) + bad, 0,
                             r->reserved[bad]);
    }
    return q_add_u64(start, r->size.v, end) ? Q_OK : Q_ERR_CORRUPT;
}

static q_error_code record_check_record(q_format_check *check, uint32_t index, uint64_t *end)
{
    const q_file_tensor_record *r = &check->records[index];
    uint64_t at = check->header->section[Q_SECTION_TENSORS].offset.v + (uint64_t)index * sizeof(*r);
    const q_format_name name = {
        .what = "tensors",
        .offset = r->name_offset,
        .length = r->name_length,
        .offset_at = at + offsetof(q_file_tensor_record, name_offset),
        .length_at = at + offsetof(q_file_tensor_record, name_length),
    };
    const char *what = check->strings + check->cursor;
    q_error_code code = q_format_check_name(check, &name);
    if (code == Q_OK) {
        code = record_check_kind(r, what, at, check->diag);
    }
    if (code == Q_OK) {
        code = record_check_dims(r, what, at, check->diag);
    }
    if (code == Q_OK) {
        code = record_check_extent(r, what, at, check->diag);
    }
    return code == Q_OK ? record_check_place(check, r, what, at, end) : code;
}

static q_error_code tables_check_records(q_format_check *check)
{
    const q_file_section *data = &check->header->section[Q_SECTION_DATA];
    uint64_t end = data->offset.v;
    for (uint32_t i = 0; i < check->n_tensors; i++) {
        q_error_code code = record_check_record(check, i, &end);
        if (code != Q_OK) {
            return code;
        }
    }
    if (end - data->offset.v != data->size.v) {
        return q_format_fail(check->diag, Q_ERR_CORRUPT, "data", "size",
                             q_format_section_at(Q_SECTION_DATA) + offsetof(q_file_section, size),
                             end - data->offset.v, data->size.v);
    }
    return Q_OK;
}

static int format_name_order(const char *a, size_t na, const char *b, size_t nb)
{
    int order = memcmp(a, b, na < nb ? na : nb);
    return order != 0 ? order : na < nb ? -1 : na > nb ? 1 : 0;
}

/* Strictly ascending names make the index a permutation and every name unique. */
static q_error_code tables_check_names(const q_format_check *check)
{
    uint64_t at = check->header->section[Q_SECTION_NAMES].offset.v;
    const uint32_t *index = (const uint32_t *)(const void *)(check->tables + at);
    const q_file_tensor_record *before = NULL;
    for (uint32_t i = 0; i < check->n_tensors; i++, at += sizeof(*index)) {
        const q_file_tensor_record *r;
        if (index[i] >= check->n_tensors) {
            return q_format_fail(check->diag, Q_ERR_CORRUPT, "names", "index", at, check->n_tensors,
                                 index[i]);
        }
        r = &check->records[index[i]];
        if (before != NULL &&
            format_name_order(check->strings + before->name_offset, before->name_length,
                              check->strings + r->name_offset, r->name_length) >= 0) {
            return q_format_fail(check->diag, Q_ERR_CORRUPT, check->strings + r->name_offset,
                                 "name order", at, i, index[i]);
        }
        before = r;
    }
    return Q_OK;
}

/* Zeros between the end of each table section and the start of the next. */
static q_error_code tables_check_padding(const q_format_check *check)
{
    const q_file_section *s = check->header->section;
    for (uint32_t i = 0; i < Q_SECTION_DATA; i++) {
        uint64_t end =
            s[i].offset.v + s[i].size.v; /* the header check added these without overflow */
        size_t n = (size_t)(s[i + 1].offset.v - end);
        size_t bad = q_format_zeros(check->tables + end, n);
        if (bad != n) {
            return q_format_fail(check->diag, Q_ERR_CORRUPT, q_format_section_name(i), "padding",
                                 end + bad, 0, check->tables[end + bad]);
        }
    }
    return Q_OK;
}

static q_error_code tables_check_meta(const q_format_check *check)
{
    const q_file_section *meta = &check->header->section[Q_SECTION_META];
    const uint8_t *text = check->tables + meta->offset.v;
    size_t n = (size_t)meta->size.v;
    size_t bad = q_format_utf8(text, n, "\n\t");
    if (bad != n) {
        return q_format_fail(check->diag, Q_ERR_CORRUPT, "meta", "text", meta->offset.v + bad, 0,
                             text[bad]);
    }
    return Q_OK;
}

q_error_code q_format_check_tables(q_format_check *check)
{
    q_error_code code = tables_check_padding(check);
    if (code == Q_OK) {
        code = tables_check_records(check);
    }
    if (code == Q_OK) {
        code = tables_check_names(check);
    }
    return code == Q_OK ? tables_check_meta(check) : code;
}

q_error_code q_format_check_strings_end(q_format_check *check)
{
    const q_file_section *strings = &check->header->section[Q_SECTION_STRINGS];
    if (check->cursor != strings->size.v) {
        return q_format_fail(check->diag, Q_ERR_CORRUPT, "strings", "size",
                             q_format_section_at(Q_SECTION_STRINGS) +
                                 offsetof(q_file_section, size),
                             check->cursor, strings->size.v);
    }
    return Q_OK;
}

uint32_t q_format_find(const uint8_t *tables, const char *name, size_t length)
{
    const q_file_header *h = (const q_file_header *)(const void *)tables;
    const q_file_section *s = h->section;
    const uint32_t *index = (const uint32_t *)(const void *)(tables + s[Q_SECTION_NAMES].offset.v);
    const q_file_tensor_record *records =
        (const q_file_tensor_record *)(const void *)(tables + s[Q_SECTION_TENSORS].offset.v);
    const char *strings = (const char *)tables + s[Q_SECTION_STRINGS].offset.v;
    uint32_t low = 0;
    uint32_t high = s[Q_SECTION_TENSORS].count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2u;
        const q_file_tensor_record *r = &records[index[middle]];
        int order = format_name_order(strings + r->name_offset, r->name_length, name, length);
        if (order == 0) {
            return index[middle];
        }
        if (order < 0) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return UINT32_MAX;
}
