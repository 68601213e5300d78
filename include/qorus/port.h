/* SPDX-License-Identifier: MIT */
/*
 * port.h: where the library runs. A port is one constant struct of functions plus a user pointer.
 *
 * Contract shared by all members: pointers passed in are non-NULL and sizes non-zero unless stated; a member
 * marked (optional) may be NULL, and the default beside it then applies; a member returns Q_OK or a
 * Q_ERR_* code of the group "ports"; none keeps a pointer past its return unless stated; every member except
 * `parallel`, `wait` and `wake` is called by one thread at a time.
 */
#ifndef QORUS_PORT_H
#define QORUS_PORT_H

#include "../qorus_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An open file: a number the port chooses. */
typedef uint64_t q_port_file;

typedef enum q_open_mode {
    Q_OPEN_READ = 0,
    Q_OPEN_CREATE_NEW = 1, /* write; fails with Q_ERR_IO if the name exists; never follows a link */
    Q_OPEN_READ_WRITE = 2  /* an existing file or device */
} q_open_mode;

/* What a checkpoint must know of the medium under a file. */
typedef struct q_block_facts {
    uint32_t atomic_bytes; /* an aligned write of this size is all or nothing; at least 1 */
    uint32_t erase_bytes;  /* unit the medium erases; 1 if there is none */
} q_block_facts;

/* CPU facts. A bit is set only if the CPU has the feature *and* the system keeps its registers. */
enum {
    Q_CPU_AVX2 = 1u << 0,        /* AVX2, FMA and F16C together */
    Q_CPU_AVX_VNNI = 1u << 1,
    Q_CPU_AVX512 = 1u << 2,      /* F, BW, VL, DQ */
    Q_CPU_AVX512_VNNI = 1u << 3,
    Q_CPU_AVX512_BF16 = 1u << 4,
    Q_CPU_AVX512_FP16 = 1u << 5,
    Q_CPU_AMX_INT8 = 1u << 6,
    Q_CPU_AMX_BF16 = 1u << 7
};

typedef enum q_log_level { Q_LOG_ERROR = 0, Q_LOG_WARN = 1, Q_LOG_INFO = 2, Q_LOG_DEBUG = 3 } q_log_level;

/* Work of one parallel region: called once by each of n_workers workers, worker = 0 .. n_workers - 1. */
typedef void (*q_parallel_fn)(void *arg, uint32_t worker, uint32_t n_workers);

typedef struct q_port {
    uint32_t struct_size; /* sizeof(q_port) */
    uint32_t reserved;    /* 0 */
    void *user;           /* handed to every member */

    /* -- files (optional as a group: a port without files leaves all of them NULL) ---------------------- */

    Q_NODISCARD q_error_code (*file_open)(void *user, const char *path, q_open_mode mode, q_port_file *out);
    Q_NODISCARD q_error_code (*file_size)(void *user, q_port_file file, uint64_t *bytes);
    /* Reads exactly n bytes or fails; the port itself repeats short and interrupted reads. */
    Q_NODISCARD q_error_code (*file_read_at)(void *user, q_port_file file, uint64_t offset, void *to, size_t n);
    /* Writes exactly n bytes or fails. */
    Q_NODISCARD q_error_code (*file_write_at)(void *user, q_port_file file, uint64_t offset, const void *from,
                                              size_t n);
    /* Returns once everything written is on the medium. A failure is final: data written since is lost. */
    Q_NODISCARD q_error_code (*file_sync)(void *user, q_port_file file);
    /* Atomically makes `from` take the name `to` and makes that durable. Both are closed. */
    Q_NODISCARD q_error_code (*file_replace)(void *user, const char *from, const char *to);
    Q_NODISCARD q_error_code (*file_remove)(void *user, const char *path);
    Q_NODISCARD q_error_code (*file_close)(void *user, q_port_file file);
    /* (optional; default {1, 1}) */
    Q_NODISCARD q_error_code (*block_facts)(void *user, q_port_file file, q_block_facts *out);

    /* -- memory ----------------------------------------------------------------------------------------- */

    /* (optional; default: the caller reads the file into memory of its own) The whole file, read-only, at an
       address that is a multiple of 4096. The mapping outlives the file's close. */
    Q_NODISCARD q_error_code (*map)(void *user, q_port_file file, const void **base, size_t *size);
    void (*unmap)(void *user, const void *base, size_t size);
    /* (optional; default: does nothing) Keeps [base, base + size) in physical memory. */
    Q_NODISCARD q_error_code (*pin)(void *user, const void *base, size_t size);
    void (*unpin)(void *user, const void *base, size_t size);

    /* -- time (optional; default: always 0) ------------------------------------------------------------- */

    /* Monotonic counter. Nanoseconds = ticks * ns_num / ns_den. Any thread. */
    uint64_t (*ticks)(void *user);
    uint64_t ns_num;
    uint64_t ns_den; /* never 0 where ticks is given */

    /* -- processor -------------------------------------------------------------------------------------- */

    /* (optional; default 0) Q_CPU_* bits. */
    uint64_t (*cpu_features)(void *user);
    /* (optional; default: fn(arg, 0, 1) on the calling thread) Runs fn on up to n_workers workers truly at
       once, the caller being worker 0, and returns when all have finished. n_workers handed to fn, and
       returned, is the number granted: 1 <= granted <= n_workers. 0: refused, fn was not called; the library then
       runs it alone. Creates no thread and allocates nothing. */
    uint32_t (*parallel)(void *user, uint32_t n_workers, q_parallel_fn fn, void *arg);
    /* (optional as a pair; default: spin) Sleeps while *address == expected; may wake for no reason.
       wake releases every sleeper on that address. Any thread. */
    void (*wait)(void *user, const uint32_t *address, uint32_t expected);
    void (*wake)(void *user, const uint32_t *address);

    /* -- words ------------------------------------------------------------------------------------------ */

    /* (optional; default: silence) One line without its newline, of n bytes. Any thread. */
    void (*log)(void *user, q_log_level level, const char *text, size_t n);
    /* (optional; default: the op returns its error) Debug builds call it when an op finds a broken contract;
       it prints the details and does not return. */
    void (*panic)(void *user, const q_diag *diag);
} q_port;

#ifdef __cplusplus
}
#endif

#endif /* QORUS_PORT_H */
