/* SPDX-License-Identifier: MIT */
/* port_call.h: calls of a port's files; private to the core. */
#ifndef QORUS_CORE_BASE_PORT_CALL_H
#define QORUS_CORE_BASE_PORT_CALL_H

#include "qorus/port.h"

/*
 * A call of the port that was interrupted did nothing and is made again, so often that a port which never gets
 * further cannot hold the caller for ever.
 */
enum { PORT_CALL_TRIES = 100 };
#define PORT_CALL(e, call)                                                                         \
    do {                                                                                           \
        uint32_t tries = PORT_CALL_TRIES;                                                          \
        do {                                                                                       \
            (e) = (call);                                                                          \
        } while ((e) == Q_ERR_INTERRUPTED && --tries != 0);                                        \
    } while (0)

static inline bool port_has_files(const q_port *p)
{
    return p != NULL && p->file_open != NULL && p->file_size != NULL && p->file_read_at != NULL &&
           p->file_write_at != NULL && p->file_sync != NULL && p->file_replace != NULL &&
           p->file_remove != NULL && p->file_close != NULL;
}

/* True where numbers in memory have the byte order of files. */
static inline bool host_is_little_endian(void)
{
    const uint32_t one = 1;
    return *(const uint8_t *)&one == 1;
}

#endif /* QORUS_CORE_BASE_PORT_CALL_H */
