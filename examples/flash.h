/* SPDX-License-Identifier: MIT */
/* flash.h: what a training learnt, as a .qorus file in an array: on a board, its flash. */
#ifndef EXAMPLES_FLASH_H
#define EXAMPLES_FLASH_H

#include "qorus/write.h"
#include "training.h"

#ifndef FLASH_BYTES
#define FLASH_BYTES (64 << 10)
#endif

static _Alignas(128) unsigned char flash[FLASH_BYTES];

static q_error_code flash_put(void *user, uint64_t offset, const void *bytes, size_t n)
{
    (void)user;
    memcpy(flash + offset, bytes, n);
    return Q_OK;
}

/* Bytes of the file in *size. */
static q_error_code flash_write(q_write *w, size_t *size, q_diag *d)
{
    uint64_t n = 0;
    size_t need = 0;
    q_error_code e;
    q_block work;
    w->write = flash_put;
    e = q_write_work_size(w, &need, d);
    work = training_block(need);
    e = e == Q_OK ? q_write_size(w, work.base, work.size, &n, d) : e;
    if (e == Q_OK && n > sizeof(flash)) {
        *d = (q_diag){Q_ERR_NO_SPACE, "flash", "bytes", 0, n, sizeof(flash)};
        return Q_ERR_NO_SPACE;
    }
    *size = (size_t)n;
    return e == Q_OK ? q_write_run(w, work.base, work.size, d) : e;
}

/* The part of the network that its output "answer" needs. */
static inline q_error_code flash_save(const training *t, size_t *size, q_diag *d)
{
    static const char *const answer[] = {"answer"};
    q_write w = {.struct_size = sizeof(w), .model = t->model, .session = t->session, .outputs = answer, .n_outputs = 1};
    return flash_write(&w, size, d);
}

#endif /* EXAMPLES_FLASH_H */
