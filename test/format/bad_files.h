/* SPDX-License-Identifier: MIT */
/*
 * bad_files.h: files that must be refused. Each case is a committed file, accepted as it is, with
 * one defect, its hashes made right again; q_file_open (or q_file_verify) must name that defect:
 * the code, the thing, the field and the byte. Needs the core alone: no libc, no allocation, no
 * file, so it runs on every port.
 */
#ifndef QORUS_TEST_BAD_FILES_H
#define QORUS_TEST_BAD_FILES_H

#include "qorus/format.h"

typedef struct bad_counts {
    uint32_t passed;
    uint32_t failed;
    uint32_t skipped;
    uint64_t tried; /* malformed files handed over, the sweeps' included */
} bad_counts;

/* One line without its newline. */
typedef void (*bad_print)(void *user, const char *line, size_t n);

/* What a case needs its file to have; a file of another kind leaves the case out. */
/* BAD_WIDE: a graph of more than one input. */
typedef enum bad_twin { BAD_ANY, BAD_DECODER, BAD_GRAPH, BAD_WIDE } bad_twin;

/* Where a defect is put or reported. */
typedef enum bad_place {
    BAD_NOWHERE,
    BAD_FILE,    /* byte `at` */
    BAD_SECTION, /* entry `index` of the section table */
    BAD_BODY,    /* section `index` */
    BAD_RECORD,  /* record of tensor `name`, or record `index` */
    BAD_TEXT,    /* name of that record */
    BAD_INPUT,   /* graph input, node, output `index` */
    BAD_NODE,
    BAD_OUTPUT,
    BAD_INPUT_TEXT, /* their names */
    BAD_NODE_TEXT,
    BAD_OUTPUT_TEXT,
    BAD_EDGE,
    BAD_PARAM,
    BAD_SORTED,  /* entry of NAMES for tensor `name` */
    BAD_PADDING, /* first zero byte behind section `index` */
    BAD_DATA,    /* data of that record */
    BAD_DATA_END /* first zero byte behind it */
} bad_place;

typedef struct bad_where {
    uint32_t place; /* bad_place */
    uint32_t index;
    uint32_t at;
    const char *name;
} bad_where;

typedef enum bad_op { BAD_NO_EDIT, BAD_SET, BAD_ADD, BAD_XOR } bad_op;

typedef struct bad_edit {
    bad_where where;
    uint32_t op;    /* bad_op */
    uint32_t width; /* 1, 2, 4, 8 */
    uint64_t value;
} bad_edit;

enum { BAD_EDITS = 5 };

typedef enum bad_check { BAD_OPEN, BAD_VERIFY_TABLES, BAD_VERIFY_TENSOR } bad_check;

typedef struct bad_case {
    const char *id;
    uint32_t twin;  /* bad_twin */
    uint32_t check; /* bad_check: which call must fail; the ones before it succeed */
    bad_edit edit[BAD_EDITS];
    int64_t grow; /* added to the size handed over; INT64_MIN: size 0; INT64_MIN + n: size n */
    const char *rehash; /* tensor whose recorded SHA-256 is computed anew after the edit */
    bool keep_hash;     /* the hash of the tables stays as it was */
    q_error_code code;
    const char *what; /* NULL: any */
    const char *field;
    bad_where reported; /* BAD_NOWHERE: where edit[0] is */
} bad_case;

/* The table, ended by an entry without id. */
extern const bad_case bad_cases[];

/*
 * Runs every case that applies to twin, a whole file at a multiple of 64. work: multiple of 64, at
 * least 3 * size + 512 bytes. Prints a line per case and adds to counts.
 */
void bad_files_run(const void *twin, size_t size, void *work, size_t work_size, bad_print print,
                   void *user, bad_counts *counts);

/*
 * The loops: the twin cut at every byte of header and tables, and every bit of header and tables
 * flipped, each once. None may crash; a cut file must be refused, a flipped one be refused or fail
 * q_file_verify. Every `step`-th byte is taken (1: all). work as above.
 */
void bad_files_sweep(const void *twin, size_t size, uint32_t step, void *work, size_t work_size,
                     bad_print print, void *user, bad_counts *counts);

/* Arguments and double fetches: alignment, capacity of the copy, a source rewritten once open. */
void bad_files_arguments(const void *twin, size_t size, void *work, size_t work_size,
                         bad_print print, void *user, bad_counts *counts);

#endif /* QORUS_TEST_BAD_FILES_H */
