/* SPDX-License-Identifier: MIT */
/* flash.h: what a training learnt, as a .qorus file in an array: on a board, its flash. */
#ifndef EXAMPLES_FLASH_H
#define EXAMPLES_FLASH_H

#include "qorus/write.h"
#include "training.h"

static _Alignas(128) unsigned char flash[64 << 10];
static _Alignas(Q_ALIGN) unsigned char flash_work[64 << 10];

static q_error_code flash_put(void *user, uint64_t offset, const void *bytes, size_t n)
{
    (void)user;
    memcpy(flash + offset, bytes, n);
    return Q_OK;
}

/* The part of the network that its output "answer" needs. Bytes of the file in *size. */
static q_error_code flash_save(const training *t, size_t *size, q_diag *d)
{
    static const char *const answer[] = {"answer"};
    q_write w = {.struct_size = sizeof(w), .model = t->model, .session = t->session, .outputs = answer, .n_outputs = 1,
                 .write = flash_put};
    uint64_t n = 0;
    q_error_code e = q_write_size(&w, flash_work, sizeof(flash_work), &n, d);
    if (e == Q_OK && n > sizeof(flash)) {
        *d = (q_diag){Q_ERR_NO_SPACE, "flash", "bytes", 0, n, sizeof(flash)};
        return Q_ERR_NO_SPACE;
    }
    *size = (size_t)n;
    return e == Q_OK ? q_write_run(&w, flash_work, sizeof(flash_work), d) : e;
}

#endif /* EXAMPLES_FLASH_H */
