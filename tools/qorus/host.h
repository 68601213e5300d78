/* SPDX-License-Identifier: MIT */
/* host.h: what the commands share on a hosted system: messages, memory, the port, and opening a model. */
#ifndef QORUS_TOOLS_HOST_H
#define QORUS_TOOLS_HOST_H

#include <stdio.h>

#include "../../port/posix/posix.h"
#include "../common/adapter.h"
#include "../common/engine.h"

/* Exit codes of every command. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

typedef struct host {
    q_posix posix;
    const q_port *port;
    q_posix_model file;
    q_posix_model adapters;
    bool mapped;
    bool adapters_mapped;
    bool no_mmap; /* models are read, not mapped */
    engine_memory memory;
    engine engine;
    adapter_merge merge; /* where the engine has adapters */
    q_diag diag;
} host;

/* Prints "qorus: ..." on stderr. */
void say(const char *format, ...) Q_PRINTF(1, 2);

/* Prints the diagnostics of a failure concerning `subject` and returns EXIT_FAILED. */
int say_failure(const char *subject, const q_diag *diag);

/* Port with o->threads workers (0: all CPUs, written back) . */
bool host_start(host *h, options *o);
void host_stop(host *h);

/* Maps, or under --no-mmap reads, a file of any kind but GGUF, into h->file; false after saying why not. */
bool host_map(host *h, const char *path);

/* Maps a .qorus file and opens it. Says what is wrong and returns false on failure: a GGUF file is told apart. */
bool host_open(host *h, const char *path);

/* The same for a .qtok file as well: then only h->engine.tokenizer is open, and h->engine.file.base is NULL. */
bool host_open_any(host *h, const char *path);

/* Opens a file of adapters for the model that is open, which must have all their matrices, and fills h->merge with what
   merging them takes. NULL: there is none. */
bool host_adapters(host *h, const char *path);

/* host_open, host_adapters, then plan and session. max_selected: rows of logits at once. */
bool host_session(host *h, const char *path, const options *o, uint32_t max_selected,
                  const q_session_config *config);

/* Keeps in physical memory what an open session reads and writes in every step, and the model's file. A refusal is said and is
   no error. */
void host_pin(host *h);

/* Zeroed memory at a multiple of 4096 that lives until the program ends; NULL after saying so. */
void *host_take(host *h, size_t size, const char *what);

/* A whole file, terminated by a NUL that is not counted; "-" is standard input. NULL after saying what is wrong. */
char *host_read(const char *path, size_t *n);

/* Seconds since some fixed time. */
double host_seconds(const host *h);

/* The commands. words do not include the command's name. */
int command_run(const char *const *words, uint32_t n);
int command_tokenize(const char *const *words, uint32_t n);
int command_inspect(const char *const *words, uint32_t n);
int command_quantize(const char *const *words, uint32_t n);
int command_chat(const char *const *words, uint32_t n);
int command_bench(const char *const *words, uint32_t n);
int command_perplexity(const char *const *words, uint32_t n);
int command_plan(const char *const *words, uint32_t n);
int command_gradcheck(const char *const *words, uint32_t n);
int command_conform(const char *const *words, uint32_t n);
int command_train(const char *const *words, uint32_t n);
/* The settings of train, for its --help. */
void train_help(void);

#endif /* QORUS_TOOLS_HOST_H */
