/* SPDX-License-Identifier: MIT */
/* dump.h: values of nodes while a model runs, as .npy files. */
#ifndef QORUS_TOOLS_DUMP_H
#define QORUS_TOOLS_DUMP_H

#include "host.h"
#include "output.h"

/* One node's: rows of its output 0, in the order in which they were computed. */
typedef struct dump_file {
    output out;
    char node[Q_CAP_NAME + 1];
    uint64_t rows;
    uint32_t columns;
    uint32_t dtype; /* q_dtype: Q_F32 or Q_I32 */
} dump_file;

typedef struct dump {
    dump_file file[OPTIONS_MAX_DUMPS];
    uint32_t n;
} dump;

/*
 * Opens a file for each "NODE=FILE" of o->dumps, and has the model planned one kernel per node (the bits stay), so that every
 * node's values are stored. False after saying what is wrong.
 */
bool dump_open(dump *d, options *o);

/* True if the model has every node; else says which one it has not. */
bool dump_knows(const dump *d, const q_model *model);

/* What a session's observer does: writes rows of the nodes that are dumped. Q_ERR_IO. */
q_error_code dump_see(dump *d, const q_observation *seen);

/* Says what was written if ok, and closes all; a node that never ran fails. Returns the exit status, `status` if all is well. */
int dump_close(dump *d, int status);

#endif /* QORUS_TOOLS_DUMP_H */
