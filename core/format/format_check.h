/* SPDX-License-Identifier: MIT */
/*
 * format_check.h: what the parts of the validator of .qorus files share.
 */
#ifndef QORUS_CORE_FORMAT_CHECK_H
#define QORUS_CORE_FORMAT_CHECK_H

#include "../core.h"

/*
 * A validation under way. The header has passed, so every section lies within the tables and its
 * size agrees with its count; `cursor` walks the string section as the records mention its names.
 */
typedef struct q_format_check {
    const uint8_t *tables;
    const q_file_header *header;
    const q_file_tensor_record *records;
    const char *strings;
    uint64_t cursor; /* bytes of STRINGS that records have claimed so far, at most its size */
    uint32_t n_tensors;
    q_diag *diag;
} q_format_check;

/* A name field of a record: its values and where they lie in the file. */
typedef struct q_format_name {
    const char *what; /* section it is in */
    uint32_t offset;
    uint32_t length;
    uint64_t offset_at;
    uint64_t length_at;
} q_format_name;

/* q_fail() with a place in the file. */
q_error_code q_format_fail(q_diag *diag, q_error_code code, const char *what, const char *field,
                           uint64_t offset, uint64_t need, uint64_t have);

const char *q_format_section_name(uint32_t section);

/* Bytes of the header up to the section table entry `section`. */
uint64_t q_format_section_at(uint32_t section);

/* Index of the first byte that is not UTF-8, or a control character that is not in `allowed`; n if
   there is none. */
size_t q_format_utf8(const uint8_t *text, size_t n, const char *allowed);

/* Index of the first non-zero byte; n if there is none. */
size_t q_format_zeros(const uint8_t *bytes, size_t n);

/* Checks that a name is the next one of STRINGS and well formed, and claims it. */
q_error_code q_format_check_name(q_format_check *check, const q_format_name *name);

/* The checks, in this order. */
q_error_code q_format_check_header(const q_file_header *header, size_t size, q_diag *diag);
q_error_code q_format_check_tables(q_format_check *check);
q_error_code q_format_check_graph(q_format_check *check);
q_error_code q_format_check_strings_end(q_format_check *check);
q_error_code q_format_check_arch(q_format_check *check);

/* All of them, over header and tables alone: what q_file_open would say of a file of that size which begins so. */
q_error_code q_format_validate(const uint8_t *tables, size_t file_size, q_diag *diag);

/* Index of the tensor of that name, or UINT32_MAX. Tables must have passed. */
uint32_t q_format_find(const uint8_t *tables, const char *name, size_t length);

/* Arrays of the GRAPH section, once its size has been found right; counts as in its head. */
void q_format_graph_arrays(const uint8_t *section, q_file_graph_view *out);

#endif /* QORUS_CORE_FORMAT_CHECK_H */
