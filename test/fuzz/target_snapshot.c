/* SPDX-License-Identifier: MIT */
/*
 * target_snapshot.c: a saved KV cache of any bytes, loaded into a session that stands elsewhere. A refused file
 * leaves the session as it was, to the bit, or as a fresh one where its second reading was not like the first; an
 * accepted one gives a session that runs.
 *
 * The header's counter, which is the caller's, says what else happens: byte 32 is 0xE0 + k where the k-th reading
 * gives another byte than the file has, 0xF0 + k where the k-th call of the port fails; byte 33 is 0xD1 or 0xD2
 * where no ids are wanted, 0xD3 where no diagnosis is.
 */
#include "fuzz.h"

#include <string.h>

#include "qorus/sha256.h"
#include "qorus/snapshot.h"
#include "test/snapshot/tiny_model.h"

enum { KV = 72, STANDS_AT = 2, WORK = Q_SNAPSHOT_WORK };

/* A port whose only file is the input, or the snapshot that is being made. */
typedef struct memory_file {
    const uint8_t *bytes;
    size_t size;
    uint8_t *room; /* what is written; NULL: nothing may be */
    size_t max;
    uint32_t flip; /* the reading that is not the file's; 0: none */
    uint32_t fail; /* the call that fails; 0: none */
    uint32_t reads;
    uint32_t calls;
} memory_file;

static q_error_code memory_open(void *user, const char *path, q_open_mode mode, q_port_file *out)
{
    memory_file *f = (memory_file *)user;
    (void)path;
    *out = 0;
    if (++f->calls == f->fail) {
        return Q_ERR_IO;
    }
    return mode == Q_OPEN_READ || f->room != NULL ? Q_OK : Q_ERR_IO;
}

static q_error_code memory_size(void *user, q_port_file file, uint64_t *bytes)
{
    memory_file *f = (memory_file *)user;
    (void)file;
    *bytes = f->size;
    return ++f->calls == f->fail ? Q_ERR_IO : Q_OK;
}

static q_error_code memory_read(void *user, q_port_file file, uint64_t offset, void *to, size_t n)
{
    memory_file *f = (memory_file *)user;
    (void)file;
    if (++f->calls == f->fail || offset > f->size || n > f->size - offset) {
        return Q_ERR_IO;
    }
    memcpy(to, f->bytes + offset, n);
    if (++f->reads == f->flip) {
        ((uint8_t *)to)[n / 2] ^= 1;
    }
    return Q_OK;
}

static q_error_code memory_write(void *user, q_port_file file, uint64_t offset, const void *from, size_t n)
{
    memory_file *f = (memory_file *)user;
    (void)file;
    if (f->room == NULL || offset > f->max || n > f->max - offset) {
        return Q_ERR_IO;
    }
    memcpy(f->room + offset, from, n);
    f->size = offset + n > f->size ? (size_t)offset + n : f->size;
    return Q_OK;
}

static q_error_code memory_done(void *user, q_port_file file)
{
    (void)user;
    (void)file;
    return Q_OK;
}

static q_error_code memory_remove(void *user, const char *path)
{
    (void)user;
    (void)path;
    return Q_OK;
}

static q_error_code memory_rename(void *user, const char *from, const char *to)
{
    (void)user;
    (void)from;
    (void)to;
    return Q_OK;
}

static q_port port_of(memory_file *f)
{
    q_port port;
    memset(&port, 0, sizeof(port));
    port.struct_size = sizeof(port);
    port.user = f;
    port.file_open = memory_open;
    port.file_size = memory_size;
    port.file_read_at = memory_read;
    port.file_write_at = memory_write;
    port.file_sync = memory_done;
    port.file_replace = memory_rename;
    port.file_remove = memory_remove;
    port.file_close = memory_done;
    return port;
}

static const uint8_t this_model[Q_SNAPSHOT_HASH] = {1, 2, 3};
static uint8_t work_bytes[WORK];
static const tiny_kind kind = {false, 0.5f, false, 1, 0};
static q_session *under_test;
static q_real fresh[VOCAB]; /* logits of two tokens after STANDS_AT */

/* Two tokens more than the session has, and back to where it stood. */
static void two_more(q_session *s, q_real logits[VOCAB])
{
    uint32_t position = q_session_position(s);
    tiny_feed(s, 2, logits);
    fuzz_must(q_session_rewind(s, position, NULL) == Q_OK, "back to where the session stood");
}

static void stand(q_session *s)
{
    q_real logits[VOCAB];
    fuzz_must(q_session_rewind(s, 0, NULL) == Q_OK, "back to 0");
    tiny_feed(s, STANDS_AT, logits);
}

/* What no bytes can be. */
static void load_nothing(const q_port *port)
{
    q_snapshot_info info = {NULL, 0, 0, 0, 0, 0};
    q_diag d;
    fuzz_must(q_snapshot_load(NULL, port, "file", this_model, &info, (q_block){work_bytes, WORK}, &d) ==
                  Q_ERR_INVALID_ARG,
              "no session");
}

static void ready(void)
{
    if (under_test == NULL) {
        under_test = tiny_session(&kind, KV, Q_PRECISION_EXACT);
        stand(under_test);
        two_more(under_test, fresh);
    }
    stand(under_test);
}

static void snapshot_run(const uint8_t *bytes, size_t size, q_diag *diag)
{
    uint8_t chance = size > 32 ? bytes[32] : 0;
    uint8_t wish = size > 33 ? bytes[33] : 0;
    memory_file f = {bytes, size, NULL, 0, chance >> 4 == 0xe ? chance & 15u : 0, chance >> 4 == 0xf ? chance & 15u : 0,
                     0, 0};
    q_port port = port_of(&f);
    int32_t ids[KV];
    q_snapshot_info info = {wish == 0xd1 || wish == 0xd2 ? NULL : ids, wish == 0xd1 ? 0 : KV, 0, 0, 0, 0};
    q_real logits[VOCAB];
    q_error_code e;
    ready();
    memset(diag, 0, sizeof(*diag));
    load_nothing(&port);
    e = q_snapshot_load(under_test, &port, "file", this_model, &info, (q_block){work_bytes, WORK},
                        wish == 0xd3 ? NULL : diag);
    if (e != Q_OK) {
        bool was_reset = q_session_position(under_test) == 0;
        fuzz_must(wish == 0xd3 || (diag->code == e && diag->field[0] != '\0'), "an error has a diagnosis");
        fuzz_must(q_session_position(under_test) == STANDS_AT || (was_reset && chance >= 0xe0),
                  "a refused snapshot moves nothing");
        fuzz_must(!was_reset || wish == 0xd3 || strcmp(diag->field, "session reset") == 0, "a reset is told");
        diag->code = e;
        if (was_reset) {
            stand(under_test);
        }
        two_more(under_test, logits);
        fuzz_must(memcmp(logits, fresh, sizeof(fresh)) == 0, "a refused snapshot changes nothing");
        return;
    }
    fuzz_must(q_session_position(under_test) <= KV && info.n_ids <= KV, "a loaded position has room");
    if (q_session_position(under_test) + 2 <= KV) {
        two_more(under_test, logits);
    }
}

/* A snapshot of this session, of one with more room, of another precision or another graph. */
static size_t make(uint8_t *bytes, size_t max, fuzz_random *r)
{
    static q_session *sessions[4];
    static const tiny_kind other = {true, 0.25f, false, 1, 0};
    memory_file f = {bytes, 0, bytes, max, 0, 0, 0, 0};
    q_port port = port_of(&f);
    int32_t ids[2 * KV];
    q_real logits[VOCAB];
    uint32_t which = fuzz_once_in(r, 3) ? 1 + fuzz_below(r, 3) : 0;
    uint32_t position = fuzz_below(r, (which == 0 ? KV : 2 * KV) + 1);
    q_snapshot_info info = {ids, 0, fuzz_once_in(r, 3) ? 0 : position, fuzz_next(r), 0, 0};
    q_session *s;
    if (sessions[which] == NULL) {
        sessions[which] = tiny_session(which == 3 ? &other : &kind, which == 0 ? KV : 2 * KV,
                                       which == 2 ? Q_PRECISION_FAST : Q_PRECISION_EXACT);
    }
    s = sessions[which];
    for (uint32_t i = 0; i < position; i++) {
        ids[i] = (int32_t)(i % VOCAB);
    }
    fuzz_must(q_session_rewind(s, 0, NULL) == Q_OK, "back to 0");
    for (uint32_t at = 0; at < position; at += 48) {
        tiny_feed(s, position - at < 48 ? position - at : 48, logits);
    }
    return q_snapshot_save(s, &port, "file", this_model, &info, (q_block){work_bytes, WORK}, NULL) == Q_OK ? f.size
                                                                                                           : 0;
}

static size_t snapshot_mutate(uint8_t *bytes, size_t size, size_t max, fuzz_random *r)
{
    static const uint8_t fields[][2] = {{8, 4},  {12, 4}, {16, 8}, {24, 8}, {32, 8},  {40, 4}, {44, 4},
                                        {48, 4}, {52, 4}, {56, 8}, {88, 8}, {120, 8}, {0, 8}};
    if (size < 160 || fuzz_once_in(r, 40)) {
        size = make(bytes, max, r);
    }
    for (uint32_t n = 1 + fuzz_below(r, 3); n > 0; n--) {
        const uint8_t *field = fields[fuzz_below(r, sizeof(fields) / sizeof(fields[0]))];
        switch (fuzz_below(r, 6)) {
        case 0: /* ids, then state */
            fuzz_change(r, bytes, size, 128u + 4u * fuzz_below(r, size < 160 ? 1 : (size - 160) / 4), 4);
            break;
        case 1:
            size = fuzz_shift(bytes, size, max, 128u + fuzz_below(r, size < 160 ? 1 : size - 160),
                              ((int64_t)fuzz_below(r, 9) - 4) * (fuzz_once_in(r, 2) ? 4 : 64));
            if (size >= 24 && !fuzz_once_in(r, 4)) {
                fuzz_put(bytes + 16, 8, size);
            }
            break;
        case 2:
            if (size > 33) {
                fuzz_put(bytes + 32, 1, 0xe0u + fuzz_below(r, 32));
                fuzz_put(bytes + 33, 1, 0xd0u + fuzz_below(r, 4));
            }
            break;
        case 3:
            size = fuzz_once_in(r, 8) ? fuzz_bytes(bytes, size, max, r) : size;
            break;
        default:
            fuzz_change(r, bytes, size, field[0], field[1]);
            break;
        }
    }
    if (size >= 32 && !fuzz_once_in(r, 16)) {
        q_sha256_of(bytes, size - 32, bytes + size - 32);
    }
    return size;
}

const fuzz_target fuzz_snapshot = {"snapshot", snapshot_run, snapshot_mutate};
