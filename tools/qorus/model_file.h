/* SPDX-License-Identifier: MIT */
/* model_file.h: a model that is written under another name and takes its own when it is whole and on the medium. */
#ifndef QORUS_TOOLS_MODEL_FILE_H
#define QORUS_TOOLS_MODEL_FILE_H

#include "host.h"

enum { MODEL_FILE_PATH = 4096 };

typedef struct model_file {
    host *h;
    const char *path;
    q_port_file file;
    char temp[MODEL_FILE_PATH];
} model_file;

/* Opens a file beside `path`. Says what is wrong and returns false. */
bool model_file_open(model_file *f, host *h, const char *path);
/* What q_write and q_rewrite call; user: a model_file. */
q_error_code model_file_write(void *user, uint64_t offset, const void *bytes, size_t n);
/* Says that it cannot be written, and why. Always false. */
bool model_file_failed(const model_file *f);
/* keep: it takes the place of what is at `path`. Else, and where that fails, it goes away and what is there stays. Says what
   is wrong and returns false. */
bool model_file_close(model_file *f, bool keep);

#endif /* QORUS_TOOLS_MODEL_FILE_H */
