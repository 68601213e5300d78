/* SPDX-License-Identifier: MIT */
/*
 * check_header.c: validates the header of a .qorus file: identity, size, and where the eight
 * sections lie.
 */
#include "format_check.h"

#define FORMAT_HEADER_AT(member) ((uint64_t)offsetof(q_file_header, member))

q_error_code q_format_fail(q_diag *diag, q_error_code code, const char *what, const char *field,
                           uint64_t offset, uint64_t need, uint64_t have)
{
    (void)q_fail(diag, code, what, field, need, have);
    if (diag != NULL) {
        diag->offset = offset;
    }
    return code;
}

const char *q_format_section_name(uint32_t section)
{
    static const char names[Q_SECTION_COUNT][12] = {
        "tensors", "names", "strings", "arch", "graph", "tokenizer", "meta", "data",
    };
    return section < Q_SECTION_COUNT ? names[section] : "header";
}

uint64_t q_format_section_at(uint32_t section)
{
    return FORMAT_HEADER_AT(section) + (uint64_t)section * sizeof(q_file_section);
}

static q_error_code header_check_identity(const q_file_header *h, q_diag *diag)
{
    if (memcmp(h->magic, Q_FILE_MAGIC, sizeof(h->magic)) != 0) {
        return q_format_fail(diag, Q_ERR_NOT_QORUS, "header", "magic", 0, 0, 0);
    }
    if (h->version != Q_FILE_VERSION) {
        return q_format_fail(diag, Q_ERR_VERSION, "header", "version", FORMAT_HEADER_AT(version),
                             Q_FILE_VERSION, h->version);
    }
    if (h->header_size != Q_FILE_HEADER_SIZE) {
        return q_format_fail(diag, Q_ERR_CORRUPT, "header", "header_size",
                             FORMAT_HEADER_AT(header_size), Q_FILE_HEADER_SIZE, h->header_size);
    }
    if (h->flags != 0) {
        return q_format_fail(diag, Q_ERR_UNSUPPORTED, "header", "flags", FORMAT_HEADER_AT(flags), 0,
                             h->flags);
    }
    if (h->n_sections != Q_SECTION_COUNT) {
        return q_format_fail(diag, Q_ERR_CORRUPT, "header", "n_sections",
                             FORMAT_HEADER_AT(n_sections), Q_SECTION_COUNT, h->n_sections);
    }
    return Q_OK;
}

static q_error_code header_check_file_size(const q_file_header *h, size_t size, q_diag *diag)
{
    uint64_t need = h->file_size.v;
    if (need > size) {
        return q_format_fail(diag, Q_ERR_TRUNCATED, "header", "file_size",
                             FORMAT_HEADER_AT(file_size), need, size);
    }
    if (need < size || need % Q_ALIGN != 0) {
        return q_format_fail(diag, Q_ERR_CORRUPT, "header", "file_size",
                             FORMAT_HEADER_AT(file_size), size, need);
    }
    return Q_OK;
}

/* Most bytes and records a section may have; UINT64_MAX bytes: only the file limits it. */
static void header_section_caps(uint32_t section, uint64_t *bytes, uint32_t *count)
{
    *bytes = UINT64_MAX;
    *count = 0;
    switch (section) {
    case Q_SECTION_TENSORS:
    case Q_SECTION_NAMES:
        *count = Q_CAP_TENSORS;
        break;
    case Q_SECTION_STRINGS:
        *bytes = Q_CAP_STRINGS;
        break;
    case Q_SECTION_ARCH:
        *count = Q_CAP_LAYERS;
        break;
    case Q_SECTION_GRAPH:
        *bytes = Q_CAP_GRAPH;
        *count = Q_CAP_NODES;
        break;
    case Q_SECTION_TOKENIZER:
        *bytes = Q_CAP_TOKENIZER;
        break;
    case Q_SECTION_META:
        *bytes = Q_CAP_META;
        break;
    default:
        break;
    }
}

/* The size that a count demands; false where the count says nothing about the size. */
static bool header_section_size(const q_file_header *h, uint32_t section, uint64_t *size)
{
    uint64_t count = h->section[section].count;
    switch (section) {
    case Q_SECTION_TENSORS:
        return q_mul_u64(count, sizeof(q_file_tensor_record), size);
    case Q_SECTION_NAMES:
        return q_mul_u64(count, sizeof(uint32_t), size);
    case Q_SECTION_ARCH:
        *size = 0;
        return count == 0 || q_add_u64(count, sizeof(q_file_arch), size);
    default:
        return false;
    }
}

static q_error_code header_check_section(const q_file_header *h, uint32_t i, uint64_t start,
                                         q_diag *diag)
{
    const q_file_section *s = &h->section[i];
    const char *what = q_format_section_name(i);
    uint64_t at = q_format_section_at(i);
    uint64_t at_size = at + offsetof(q_file_section, size);
    uint64_t at_count = at + offsetof(q_file_section, count);
    uint64_t cap;
    uint64_t need;
    uint32_t cap_count;
    header_section_caps(i, &cap, &cap_count);
    if (s->offset.v != start) {
        return q_format_fail(diag, Q_ERR_CORRUPT, what, "offset", at, start, s->offset.v);
    }
    if (s->count > cap_count) {
        return q_format_fail(diag, cap_count == 0 ? Q_ERR_CORRUPT : Q_ERR_LIMIT, what, "count",
                             at_count, cap_count, s->count);
    }
    if (s->size.v > cap) {
        return q_format_fail(diag, Q_ERR_LIMIT, what, "size", at_size, cap, s->size.v);
    }
    if (header_section_size(h, i, &need) && s->size.v != need) {
        return q_format_fail(diag, Q_ERR_CORRUPT, what, "size", at_size, need, s->size.v);
    }
    if (!q_range_ok(start, s->size.v, h->file_size.v)) {
        need = start < h->file_size.v ? h->file_size.v - start : 0;
        return q_format_fail(diag, Q_ERR_CORRUPT, what, "size", at_size, need, s->size.v);
    }
    if (s->reserved != 0) {
        return q_format_fail(diag, Q_ERR_CORRUPT, what, "reserved",
                             at + offsetof(q_file_section, reserved), 0, s->reserved);
    }
    return Q_OK;
}

static q_error_code header_check_section_relations(const q_file_header *h, q_diag *diag)
{
    const q_file_section *s = h->section;
    uint32_t nodes = s[Q_SECTION_GRAPH].count;
    uint64_t at_graph = q_format_section_at(Q_SECTION_GRAPH);
    if (s[Q_SECTION_NAMES].count != s[Q_SECTION_TENSORS].count) {
        return q_format_fail(diag, Q_ERR_CORRUPT, "names", "count",
                             q_format_section_at(Q_SECTION_NAMES) + offsetof(q_file_section, count),
                             s[Q_SECTION_TENSORS].count, s[Q_SECTION_NAMES].count);
    }
    if (nodes != 0 && s[Q_SECTION_ARCH].count != 0) {
        return q_format_fail(diag, Q_ERR_CORRUPT, "graph", "count",
                             at_graph + offsetof(q_file_section, count), 0, nodes);
    }
    if ((nodes == 0) != (s[Q_SECTION_GRAPH].size.v == 0) ||
        (nodes != 0 && s[Q_SECTION_GRAPH].size.v < sizeof(q_file_graph))) {
        return q_format_fail(diag, Q_ERR_CORRUPT, "graph", "size",
                             at_graph + offsetof(q_file_section, size),
                             nodes == 0 ? 0 : sizeof(q_file_graph), s[Q_SECTION_GRAPH].size.v);
    }
    return Q_OK;
}

q_error_code q_format_check_header(const q_file_header *header, size_t size, q_diag *diag)
{
    uint64_t end = sizeof(*header);
    uint64_t start = end;
    q_error_code code = header_check_identity(header, diag);
    if (code == Q_OK) {
        code = header_check_file_size(header, size, diag);
    }
    for (uint32_t i = 0; code == Q_OK && i < Q_SECTION_COUNT; i++) {
        /* end <= file_size <= SIZE_MAX - 63, a multiple of 64, so rounding up stays within the file
         */
        if (!q_align_u64(end, Q_ALIGN, &start)) {
            return q_format_fail(diag, Q_ERR_CORRUPT, q_format_section_name(i), "offset",
                                 q_format_section_at(i), 0, end);
        }
        code = header_check_section(header, i, start, diag);
        if (code == Q_OK && !q_add_u64(start, header->section[i].size.v, &end)) {
            return q_format_fail(diag, Q_ERR_CORRUPT, q_format_section_name(i), "size",
                                 q_format_section_at(i) + offsetof(q_file_section, size), 0, end);
        }
    }
    if (code == Q_OK && (!q_align_u64(end, Q_ALIGN, &end) || end != header->file_size.v)) {
        code = q_format_fail(diag, Q_ERR_CORRUPT, "header", "file_size",
                             FORMAT_HEADER_AT(file_size), end, header->file_size.v);
    }
    return code == Q_OK ? header_check_section_relations(header, diag) : code;
}
