/* SPDX-License-Identifier: MIT */
/* snapshot_rig.h: one file name, one tiny model, and what is saved, loaded and damaged there. */
#ifndef QORUS_TEST_SNAPSHOT_RIG_H
#define QORUS_TEST_SNAPSHOT_RIG_H

#include "port/posix/posix.h"
#include "qorus/snapshot.h"
#include "test/port/check.h"
#include "tiny_model.h"

enum { PROMPT = 21, SNAPSHOT_CAP = 1 << 15 };

extern q_posix posix;
extern char path[256]; /* of the snapshot */
extern const q_block work;
extern const uint8_t this_model[32];
extern const uint8_t other_model[32];
extern const tiny_kind plain;
extern const tiny_kind summed;

/* A whole file; bytes read, 0 if there is none. */
size_t read_bytes(const char *name, unsigned char *to, size_t cap);
void write_bytes(const char *name, const unsigned char *from, size_t n);
/* Puts the right hash under changed bytes. */
void seal(unsigned char *bytes, size_t n);

/* What a snapshot of s says beside its state; ids has room for PROMPT. */
q_snapshot_info history(int32_t *ids, q_session *s);
void save(q_session *s);
q_error_code load(q_session *s, q_diag *d);
q_error_code load_with(q_session *s, const q_port *port, const uint8_t *model, q_diag *d);

/* Loads into a session that stands elsewhere and sees that it still does. */
void refused(q_session *s, const q_port *port, const uint8_t *model, q_error_code code, const char *field);
/* A session that has read five tokens. */
q_session *at_five(void);

/* A sound snapshot of PROMPT tokens, at `path` and in good[n_good]; room for a damaged one. */
extern unsigned char good[SNAPSHOT_CAP];
extern unsigned char bad[SNAPSHOT_CAP];
extern size_t n_good;
void make_good(void);

/* Tests of snapshot_faults.c. */
void snapshot_faults(void);

#endif /* QORUS_TEST_SNAPSHOT_RIG_H */
