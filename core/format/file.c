/* SPDX-License-Identifier: MIT */
/*
 * file.c: opening a .qorus file, looking into it, and checking its hashes. Up to the end of
 * q_file_open every byte is untrusted; the accessors after it rely on what was validated and check
 * nothing.
 */
#include "format_check.h"

/* Files are little-endian and used in place. */
static bool file_host_fits(void)
{
    const uint32_t one = 1;
    uint8_t first;
    memcpy(&first, &one, 1);
    return first == 1;
}

/* Copies the header out of the source, once, and validates the copy. */
static q_error_code file_take_header(q_file_header *header, const void *base, size_t size,
                                     q_diag *diag)
{
    size_t have = size < sizeof(*header) ? size : sizeof(*header);
    if (base == NULL && size != 0) {
        return q_format_fail(diag, Q_ERR_INVALID_ARG, "base", "NULL", 0, 0, 0);
    }
    if ((uintptr_t)base % Q_ALIGN != 0) {
        return q_format_fail(diag, Q_ERR_MISALIGNED, "base", "address", 0, Q_ALIGN,
                             (uintptr_t)base % Q_ALIGN);
    }
    if (!file_host_fits()) {
        return q_format_fail(diag, Q_ERR_UNSUPPORTED, "header", "byte order of this host", 0, 0, 0);
    }
    if (have != 0) {
        memcpy(header, base, have);
    }
    if (have < sizeof(*header)) {
        size_t magic = have < sizeof(header->magic) ? have : sizeof(header->magic);
        bool other = magic != 0 && memcmp(header->magic, Q_FILE_MAGIC, magic) != 0;
        return q_format_fail(diag, other ? Q_ERR_NOT_QORUS : Q_ERR_TRUNCATED, "header",
                             other ? "magic" : "size", 0, sizeof(*header), size);
    }
    return q_format_check_header(header, size, diag);
}

q_error_code q_file_tables_size(const void *base, size_t size, size_t *bytes, q_diag *diag)
{
    q_file_header header;
    q_error_code code;
    if (bytes == NULL) {
        return q_format_fail(diag, Q_ERR_INVALID_ARG, "bytes", "NULL", 0, 0, 0);
    }
    code = file_take_header(&header, base, size, diag);
    if (code == Q_OK) {
        *bytes = (size_t)header.section[Q_SECTION_DATA].offset.v;
    }
    return code;
}

/* Copies the tables beside the header already taken, so that no byte of them is read from the
   source twice. */
static q_error_code file_take_tables(const q_file_header *header, const void *base, size_t size,
                                     void *copy, size_t copy_size, q_diag *diag)
{
    size_t tables = (size_t)header->section[Q_SECTION_DATA].offset.v;
    if ((uintptr_t)copy % Q_ALIGN != 0) {
        return q_format_fail(diag, Q_ERR_MISALIGNED, "copy", "address", 0, Q_ALIGN,
                             (uintptr_t)copy % Q_ALIGN);
    }
    if (copy_size < tables) {
        return q_format_fail(diag, Q_ERR_NO_SPACE, "copy", "copy_size", 0, tables, copy_size);
    }
    if (q_overlaps(base, size, copy, tables)) {
        return q_format_fail(diag, Q_ERR_ALIASING, "copy", "overlaps the file", 0, 0, 0);
    }
    memcpy(copy, header, sizeof(*header));
    memcpy((uint8_t *)copy + sizeof(*header), (const uint8_t *)base + sizeof(*header),
           tables - sizeof(*header));
    return Q_OK;
}

static q_error_code file_validate(const uint8_t *tables, q_diag *diag)
{
    const q_file_header *header = (const q_file_header *)(const void *)tables;
    const q_file_section *s = header->section;
    q_format_check check = {
        .tables = tables,
        .header = header,
        .records =
            (const q_file_tensor_record *)(const void *)(tables + s[Q_SECTION_TENSORS].offset.v),
        .strings = (const char *)tables + s[Q_SECTION_STRINGS].offset.v,
        .n_tensors = s[Q_SECTION_TENSORS].count,
        .diag = diag,
    };
    q_error_code code = q_format_check_tables(&check);
    if (code == Q_OK) {
        code = q_format_check_graph(&check);
    }
    if (code == Q_OK) {
        code = q_format_check_strings_end(&check);
    }
    return code == Q_OK ? q_format_check_arch(&check) : code;
}

q_error_code q_format_validate(const uint8_t *tables, size_t file_size, q_diag *diag)
{
    q_error_code code = q_format_check_header((const q_file_header *)(const void *)tables, file_size, diag);
    return code == Q_OK ? file_validate(tables, diag) : code;
}

q_error_code q_file_open(q_file *file, const void *base, size_t size, void *copy, size_t copy_size,
                         q_diag *diag)
{
    q_file_header header;
    const uint8_t *tables = (const uint8_t *)(copy != NULL ? copy : base);
    q_error_code code;
    if (file == NULL) {
        return q_format_fail(diag, Q_ERR_INVALID_ARG, "file", "NULL", 0, 0, 0);
    }
    code = file_take_header(&header, base, size, diag);
    if (code == Q_OK && copy != NULL) {
        code = file_take_tables(&header, base, size, copy, copy_size, diag);
    }
    if (code == Q_OK) {
        code = file_validate(tables, diag);
    }
    if (code == Q_OK) {
        file->base = (const uint8_t *)base;
        file->size = size;
        file->tables = tables;
        file->tables_size = header.section[Q_SECTION_DATA].offset.v;
    }
    return code;
}

/* ---- Hashes ---------------------------------------------------------------------------------- */

static q_error_code file_verify_tables(const q_file *file, q_diag *diag)
{
    static const uint8_t zeros[Q_SHA256_BYTES] = {0};
    const q_file_header *header = q_file_get_header(file);
    size_t at = offsetof(q_file_header, tables_sha256);
    uint8_t digest[Q_SHA256_BYTES];
    q_sha256 hash;
    q_sha256_init(&hash);
    q_sha256_update(&hash, file->tables, at);
    q_sha256_update(&hash, zeros, sizeof(zeros));
    q_sha256_update(&hash, file->tables + sizeof(*header),
                    (size_t)file->tables_size - sizeof(*header));
    q_sha256_final(&hash, digest);
    if (memcmp(digest, header->tables_sha256, sizeof(digest)) != 0) {
        return q_format_fail(diag, Q_ERR_HASH, "header", "tables_sha256", at, 0, 0);
    }
    return Q_OK;
}

static q_error_code file_verify_tensor(const q_file *file, uint32_t index, q_diag *diag)
{
    const q_file_tensor_record *r = q_file_record(file, index);
    const char *name = q_file_name(file, r->name_offset);
    const uint8_t *data = file->base + r->offset.v;
    size_t size = (size_t)r->size.v;
    size_t gap =
        (Q_ALIGN - size % Q_ALIGN) % Q_ALIGN; /* within the file, whose size is a multiple of 64 */
    size_t bad = q_format_zeros(data + size, gap);
    uint8_t digest[Q_SHA256_BYTES];
    q_sha256_of(data, size, digest);
    if (memcmp(digest, r->sha256, sizeof(digest)) != 0) {
        return q_format_fail(diag, Q_ERR_HASH, name, "sha256",
                             (uint64_t)((const uint8_t *)r->sha256 - file->tables), 0, 0);
    }
    if (bad != gap) {
        return q_format_fail(diag, Q_ERR_CORRUPT, name, "padding", r->offset.v + size + bad, 0,
                             data[size + bad]);
    }
    return Q_OK;
}

q_error_code q_file_verify(const q_file *file, uint32_t index, q_diag *diag)
{
    if (file == NULL) {
        return q_format_fail(diag, Q_ERR_INVALID_ARG, "file", "NULL", 0, 0, 0);
    }
    if (index == UINT32_MAX) {
        return file_verify_tables(file, diag);
    }
    if (index >= q_file_n_tensors(file)) {
        return q_format_fail(diag, Q_ERR_INVALID_ARG, "index", "range", 0, q_file_n_tensors(file),
                             index);
    }
    return file_verify_tensor(file, index, diag);
}

/* ---- Looking inside -------------------------------------------------------------------------- */

const q_file_header *q_file_get_header(const q_file *file)
{
    return (const q_file_header *)(const void *)file->tables;
}

static const uint8_t *file_section(const q_file *file, uint32_t section)
{
    return file->tables + q_file_get_header(file)->section[section].offset.v;
}

uint32_t q_file_n_tensors(const q_file *file)
{
    return q_file_get_header(file)->section[Q_SECTION_TENSORS].count;
}

const q_file_tensor_record *q_file_record(const q_file *file, uint32_t index)
{
    return (const q_file_tensor_record *)(const void *)file_section(file, Q_SECTION_TENSORS) +
           index;
}

const char *q_file_name(const q_file *file, uint32_t name_offset)
{
    return (const char *)file_section(file, Q_SECTION_STRINGS) + name_offset;
}

q_error_code q_file_find(const q_file *file, const char *name, size_t length, uint32_t *index)
{
    uint32_t found;
    if (file == NULL || name == NULL || index == NULL) {
        return Q_ERR_INVALID_ARG;
    }
    found = q_format_find(file->tables, name, length);
    if (found == UINT32_MAX) {
        return Q_ERR_NOT_FOUND;
    }
    *index = found;
    return Q_OK;
}

/* Every stride divides the size of a tensor that lies in memory, so none exceeds size_t. */
static void file_strides(q_tensor *t)
{
    uint64_t row = 0;
    uint64_t matrix = 0;
    t->nb[3] = q_dtype_block_bytes(t->dtype);
    if (t->layout == Q_PANEL16) {
        row = q_panel_bytes(t->dtype, t->ne[3]);
        matrix = row * q_ceil_div_u32(t->ne[2], Q_PANEL_ROWS);
        t->scales = q_dtype_is_quantised(t->dtype) ? t->data : NULL;
    } else if (q_plain_row_bytes(t->dtype, t->ne[3], &row)) {
        matrix = row * t->ne[2];
    }
    t->nb[2] = (size_t)row;
    t->nb[1] = (size_t)matrix;
    t->nb[0] = (size_t)matrix * t->ne[1];
}

void q_file_tensor(const q_file *file, uint32_t index, q_tensor *out)
{
    const q_file_tensor_record *r = q_file_record(file, index);
    const char *name = q_file_name(file, r->name_offset);
    size_t length = r->name_length < Q_MAX_NAME ? r->name_length : Q_MAX_NAME - 1u;
    memset(out, 0, sizeof(*out));
    out->data = (void *)((uintptr_t)file->base + (uintptr_t)r->offset.v);
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        out->ne[i] = (uint32_t)r->ne[i].v;
    }
    out->dtype = r->dtype;
    out->layout = r->layout;
    out->device = Q_DEVICE_CPU;
    memcpy(out->name, name, length);
    file_strides(out);
}

const q_file_arch *q_file_get_arch(const q_file *file)
{
    bool has = q_file_get_header(file)->section[Q_SECTION_ARCH].count != 0;
    return has ? (const q_file_arch *)(const void *)file_section(file, Q_SECTION_ARCH) : NULL;
}

const uint8_t *q_file_layer_kinds(const q_file *file)
{
    const q_file_arch *arch = q_file_get_arch(file);
    return arch == NULL ? NULL : (const uint8_t *)arch + sizeof(*arch);
}

const q_file_graph *q_file_get_graph(const q_file *file)
{
    bool has = q_file_get_header(file)->section[Q_SECTION_GRAPH].count != 0;
    return has ? (const q_file_graph *)(const void *)file_section(file, Q_SECTION_GRAPH) : NULL;
}

bool q_file_graph_arrays(const q_file *file, q_file_graph_view *out)
{
    const q_file_graph *graph = q_file_get_graph(file);
    if (graph == NULL) {
        return false;
    }
    q_format_graph_arrays((const uint8_t *)graph, out);
    return true;
}

const void *q_file_section_data(const q_file *file, q_section section, size_t *size)
{
    const q_file_section *s = &q_file_get_header(file)->section[section];
    *size = (size_t)s->size.v;
    if (s->size.v == 0) {
        return NULL;
    }
    return (section == Q_SECTION_DATA ? file->base : file->tables) + s->offset.v;
}
