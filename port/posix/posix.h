/* SPDX-License-Identifier: MIT */
/*
 * posix.h: the port for hosted POSIX systems (Linux first; the rest by the portable fallbacks).
 *
 *     static q_posix posix;
 *     q_error_code rc = q_posix_init(&posix, 0, &diag);     // creates the worker threads, once
 *     const q_port *port = q_posix_port(&posix);            // hand this to the library
 *     ...
 *     q_posix_close(&posix);
 *
 * The object lives in the caller's memory (about 11 KiB), must not move between init and close, and
 * may be used by several sessions. Nothing is allocated by any member of the port after
 * q_posix_init, save what `map` and q_posix_region_alloc are asked for.
 *
 * Results beyond those of port.h: file_open, file_remove and q_posix_open_model give
 * Q_ERR_NOT_FOUND for a name that does not exist; map gives Q_ERR_INVALID_SIZE for an empty file.
 * Every failure of a file or memory member leaves its details in q_posix_last(): the path (its last
 * 51 bytes) or "file <descriptor>", the reason in words, the offset.
 *
 * A mapped file that another program shortens raises SIGBUS when the lost part is read, and one
 * that is rewritten in place changes the weights; nothing a port does to a mapping can prevent
 * that. Whoever does not trust the directory opens the model with q_posix_read_model.
 */
#ifndef QORUS_PORT_POSIX_H
#define QORUS_PORT_POSIX_H

#include <pthread.h>
#include <sys/types.h>

#include "../../include/qorus/port.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- System calls that tests replace --------------------------------------------------------- */

/*
 * Each member behaves as the call of the same name: result -1 with errno set on failure.
 * q_posix_init sets the real ones; a test may overwrite members of q_posix.calls between init and
 * the first use.
 */
typedef struct q_posix_calls {
    ssize_t (*pread)(int fd, void *to, size_t n, off_t offset);
    ssize_t (*pwrite)(int fd, const void *from, size_t n, off_t offset);
    int (*fsync)(int fd);
    int (*rename)(const char *from, const char *to);
    int (*close)(int fd);
    int (*mlock)(const void *base, size_t size);
    /* An open file without a name in that directory, or -1 where the file system has none. */
    int (*open_nameless)(const char *dir);
    /* 1 if the open file lies on a FUSE file system, else 0. */
    int (*is_fuse)(int fd);
} q_posix_calls;

/* ---- The object ------------------------------------------------------------------------------ */

enum {
    Q_POSIX_PATH = 4096, /* longest path, terminator included */
    Q_POSIX_BUCKETS = 8  /* sleepers are spread over so many condition variables (fallback only) */
};

/* One persistent thread. A cache line of its own: its words are written while others spin. */
typedef struct Q_ALIGNED(Q_ALIGN) q_posix_worker {
    uint32_t go;     /* raised by one for each region this worker takes part in */
    uint32_t asleep; /* 1 while the thread may be asleep on `go` */
    uint32_t index;  /* 1 .. n_workers - 1 */
    uint32_t reserved;
    struct q_posix *owner;
    pthread_t thread;
} q_posix_worker;

typedef struct q_posix_bucket {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
} q_posix_bucket;

/* Members are the port's own unless stated; callers set none of them but `log_level` and, in tests,
   `calls`. */
typedef struct q_posix {
    q_port port;
    q_posix_calls calls;
    q_diag last;
    uint64_t features;
    uint64_t spin_ns;      /* watching a word before sleeping; 0 with more workers than CPUs */
    q_log_level log_level; /* lines above it are dropped; Q_LOG_INFO after init; the caller's */
    uint32_t n_workers;
    uint32_t n_cpus;
    uint32_t n_threads; /* threads running: n_workers - 1 */

    /* the current parallel region */
    Q_ALIGNED(Q_ALIGN) uint32_t busy;
    uint32_t granted;
    q_parallel_fn fn;
    void *arg;
    Q_ALIGNED(Q_ALIGN) uint32_t remaining; /* workers that have not finished */
    uint32_t caller_asleep;

    q_posix_bucket buckets[Q_POSIX_BUCKETS];
    q_posix_worker workers[Q_MAX_WORKERS]; /* [0] is the caller's place and has no thread */
    char path[Q_POSIX_PATH];
} q_posix;

/*
 * Prepares the port and starts n_workers - 1 threads; 0 workers means one per CPU this process may
 * use. All signals are blocked in the threads, so that handlers run on threads of the caller's.
 *
 * Errors: Q_ERR_INVALID_ARG (p NULL, n_workers > Q_MAX_WORKERS), Q_ERR_NO_DEVICE (the system
 * refused a thread: diag.need asked, diag.have running before the refusal). On failure no thread
 * remains.
 */
Q_NODISCARD q_error_code q_posix_init(q_posix *p, uint32_t n_workers, q_diag *diag);

/* Ends the threads. No member may be running. A second close, or one after a failed init, does
   nothing. */
void q_posix_close(q_posix *p);

/* The port; valid until q_posix_close. All members are given except block_facts. */
const q_port *q_posix_port(q_posix *p);

/* Details of the last failed file or memory member. */
const q_diag *q_posix_last(const q_posix *p);

/* CPUs this process may run on (its affinity mask; elsewhere the CPUs online). At least 1. */
uint32_t q_posix_cpus(void);

/* ---- Files: what port.h leaves to the port --------------------------------------------------- */

/*
 * file_open     regular files and block devices; a directory, FIFO, socket or character device is
 *               refused with Q_ERR_IO without waiting. Descriptors are close-on-exec. CREATE_NEW
 *               makes mode 0666 & ~umask.
 * file_replace  Q_ERR_IO: nothing was renamed, `to` is what it was. Q_ERR_NOT_SUPPORTED: `to` *is*
 *               the new file, but a directory could not be flushed, so a power cut may still bring
 *               the old one back.
 * file_close    the descriptor is gone whatever the result; Q_ERR_IO: earlier writes may be lost.
 * map           MAP_PRIVATE: pages are shared with the page cache as long as nobody writes, which
 *               PROT_READ ensures, and mounts that refuse shared mappings (FUSE with direct_io)
 *               still work.
 * pin           Q_ERR_NOT_SUPPORTED if RLIMIT_MEMLOCK forbids it; last.have is the limit.
 */

/* ---- Models ---------------------------------------------------------------------------------- */

typedef struct q_posix_model {
    const void *base; /* read-only, multiple of 4096 */
    size_t size;
    bool copied; /* true: a local copy is mapped, since the file lies on a FUSE file system */
    bool read;   /* true: read into memory of this process; the file can change or go */
    uint8_t reserved[6];
} q_posix_model;

/*
 * Maps a model file. A file on a FUSE file system is first copied into a nameless file in the first
 * of cache_dir (may be NULL), $TMPDIR, /var/tmp, /tmp which is not FUSE itself and has room;
 * nothing remains on disk after q_posix_close_model or the end of the process, however it ends.
 * A file that the system does not map is read as by q_posix_read_model. Cost: O(1), or one copy.
 *
 * Errors: Q_ERR_INVALID_ARG, Q_ERR_NOT_FOUND, Q_ERR_INVALID_SIZE (empty file), Q_ERR_IO.
 */
Q_NODISCARD q_error_code q_posix_open_model(q_posix *p, const char *path, const char *cache_dir,
                                            q_posix_model *out, q_diag *diag);
/*
 * Reads a model file into memory of this process, read-only from then on: whatever becomes of the
 * file changes nothing. Cost: one pass over the file and as much memory.
 *
 * Errors: those above; Q_ERR_NO_SPACE (no memory for it; diag.need bytes).
 */
Q_NODISCARD q_error_code q_posix_read_model(q_posix *p, const char *path, q_posix_model *out,
                                            q_diag *diag);
void q_posix_close_model(q_posix *p, q_posix_model *model);

/* ---- Regions --------------------------------------------------------------------------------- */

enum {
    Q_POSIX_HUGE = 1u << 0, /* ask for huge pages (advice: no failure where there are none) */
    Q_POSIX_TOUCH = 1u << 1 /* have the pages in memory now, not at first use */
};

/*
 * Zeroed memory for a region, at a multiple of 2 MiB, from the system's pages. size > 0.
 * Errors: Q_ERR_INVALID_ARG (unknown flags), Q_ERR_INVALID_SIZE (0), Q_ERR_OVERFLOW,
 * Q_ERR_NO_SPACE.
 */
Q_NODISCARD q_error_code q_posix_region_alloc(size_t size, uint32_t flags, void **base,
                                              q_diag *diag);

/* Gives back a region of that size; base NULL does nothing. */
void q_posix_region_free(void *base, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_PORT_POSIX_H */
