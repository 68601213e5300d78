/* SPDX-License-Identifier: MIT */
/*
 * fault_port.h: wraps any port, counts and records its calls, and breaks the ones it is told to.
 *
 *     q_fault_port faults;
 *     q_fault_init(&faults, q_posix_port(&posix));
 *     q_fault_add(&faults, Q_FAULT_AT(Q_FAULT_WRITE), Q_FAULT_SHORT, 3, false);   // 3rd, once
 *     ... use &faults.port ...
 *
 * Members the inner port leaves NULL stay NULL. Counting is safe from any thread; rules and the
 * recorder are set between calls.
 */
#ifndef QORUS_TEST_FAULT_PORT_H
#define QORUS_TEST_FAULT_PORT_H

#include "../../include/qorus/port.h"

/* Members that can be told to fail. */
typedef enum q_fault_op {
    Q_FAULT_OPEN = 0,
    Q_FAULT_SIZE = 1,
    Q_FAULT_READ = 2,
    Q_FAULT_WRITE = 3,
    Q_FAULT_SYNC = 4,
    Q_FAULT_REPLACE = 5,
    Q_FAULT_REMOVE = 6,
    Q_FAULT_CLOSE = 7,
    Q_FAULT_BLOCK_FACTS = 8,
    Q_FAULT_MAP = 9,
    Q_FAULT_PIN = 10,
    Q_FAULT_TICKS = 11,
    Q_FAULT_CPU = 12,
    Q_FAULT_PARALLEL = 13,
    Q_FAULT_WAIT = 14,
    Q_FAULT_WAKE = 15,
    Q_FAULT_LOG = 16,
    Q_FAULT_UNMAP = 17, /* counted, never broken */
    Q_FAULT_UNPIN = 18, /* counted, never broken */
    Q_FAULT_OPS = 19
} q_fault_op;

#define Q_FAULT_AT(op) (1u << (op))
#define Q_FAULT_FILES  0x1FFu /* every file member */
#define Q_FAULT_ALL    0x7FFFFu

/*
 * What a broken call does. Members without an error code fail in their own ways: ticks gives 0 (a
 * clock that jumps back; SILENT: what it gave last, a clock that stands), cpu_features gives 0,
 * parallel grants one worker (SHORT: one less than asked; DENY: none, and runs nothing), wait
 * returns at once, wake comes late (a dropped one would break the contract), log drops the line.
 */
typedef enum q_fault_kind {
    Q_FAULT_FAIL = 0,  /* nothing happens; Q_ERR_IO (pin: Q_ERR_NOT_SUPPORTED) */
    Q_FAULT_SHORT = 1, /* reads and writes: the first `keep` bytes (or half) happen, then Q_ERR_IO;
                          a size query answers one byte less, Q_OK; others as FAIL */
    Q_FAULT_INTERRUPT = 2, /* nothing happens; Q_ERR_INTERRUPTED: the caller is to call again */
    Q_FAULT_DENY = 3, /* it happens, and Q_ERR_IO is reported all the same (a network rename) */
    Q_FAULT_SILENT = 4, /* writes, sync, replace, remove, close of a write: nothing happens, Q_OK is
                           reported; reads: the bytes are zeros, Q_OK; others as FAIL */
    Q_FAULT_CUT = 5 /* the power goes: SHORT for a write, FAIL for others; every later file call
                       fails with Q_ERR_IO and does nothing until q_fault_repower */
} q_fault_kind;

typedef struct q_fault_rule {
    uint32_t ops; /* Q_FAULT_AT bits */
    q_fault_kind kind;
    uint64_t at;    /* call that breaks, counted from 1 over all ops of the rule together */
    bool forever;   /* and every one after it */
    uint64_t seen;  /* calls counted so far */
    uint64_t fired; /* calls broken so far */
} q_fault_rule;

/* One call, as it was made and as it ended. Pointers are valid only during the recorder's call. */
typedef struct q_fault_event {
    uint64_t index; /* 1 for the first call of any member since init */
    q_fault_op op;
    q_port_file file;
    uint64_t offset;
    const void *bytes; /* of a write: what the caller handed over */
    size_t n;          /* bytes asked for */
    size_t done;       /* bytes that really moved */
    const char *path;  /* open, remove; `from` of replace */
    const char *to;    /* replace */
    q_open_mode mode;  /* open */
    bool happened;     /* the inner port was called and succeeded, at least in part */
    q_error_code result;
} q_fault_event;

typedef void (*q_fault_recorder)(void *arg, const q_fault_event *event);

enum { Q_FAULT_RULES = 8 };

typedef struct q_fault_port {
    q_port port; /* hand out this one */
    const q_port *inner;
    uint64_t calls[Q_FAULT_OPS];
    uint64_t total;
    uint64_t last_ticks;
    uint64_t opened; /* files open: opens that gave one, less closes that freed one */
    uint64_t mapped; /* mappings alive */
    uint64_t pinned;
    size_t keep; /* bytes a SHORT or CUT read or write still moves; SIZE_MAX, as after init: half */
    bool cut; /* the power is gone */
    uint32_t n_rules;
    q_fault_rule rules[Q_FAULT_RULES];
    q_fault_recorder record;
    void *record_arg;
} q_fault_port;

/* A wrapper without rules: it behaves as the inner port. The inner port must outlive it. */
void q_fault_init(q_fault_port *f, const q_port *inner);

/* Adds a rule; false if there are Q_FAULT_RULES already, or at is 0. */
bool q_fault_add(q_fault_port *f, uint32_t ops, q_fault_kind kind, uint64_t at, bool forever);

/* Removes all rules and brings the power back. Counts stay. */
void q_fault_repower(q_fault_port *f);

/* Calls broken by any rule. */
uint64_t q_fault_fired(const q_fault_port *f);

#endif /* QORUS_TEST_FAULT_PORT_H */
