/* SPDX-License-Identifier: MIT */
/* What the tests of snapshots share: see snapshot_rig.h. */
#include <stdlib.h>
#include <string.h>

#include "qorus/sha256.h"
#include "snapshot_rig.h"

q_posix posix;
char path[256];
static unsigned char work_bytes[8192];
const q_block work = {work_bytes, sizeof(work_bytes)};
const uint8_t this_model[32] = {1, 2, 3};
const uint8_t other_model[32] = {1, 2, 4};

size_t read_bytes(const char *name, unsigned char *to, size_t cap)
{
    FILE *f = fopen(name, "rb");
    size_t n;
    if (f == NULL) {
        return 0;
    }
    n = fread(to, 1, cap, f);
    (void)fclose(f);
    return n;
}

void write_bytes(const char *name, const unsigned char *from, size_t n)
{
    FILE *f = fopen(name, "wb");
    if (f == NULL || fwrite(from, 1, n, f) != n || fclose(f) != 0) {
        (void)printf("FAIL cannot write %s\n0 passed, 1 failed, 0 skipped\n", name);
        exit(1);
    }
}

q_snapshot_info history(int32_t *ids, q_session *s)
{
    q_snapshot_info info = {ids, PROMPT, q_session_position(s), 12345, 0, 0};
    for (uint32_t i = 0; i < info.n_ids; i++) {
        ids[i] = (int32_t)(i * 7 % VOCAB);
    }
    return info;
}

void save(q_session *s)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    int32_t ids[PROMPT];
    q_snapshot_info info = history(ids, s);
    tiny_must(q_snapshot_save(s, q_posix_port(&posix), path, this_model, &info, work, &d), &d);
}

q_error_code load_with(q_session *s, const q_port *port, const uint8_t *model, q_diag *d)
{
    int32_t ids[64];
    q_snapshot_info info = {ids, 64, 0, 0, 0, 0};
    memset(d, 0, sizeof(*d));
    return q_snapshot_load(s, port, path, model, &info, work, d);
}

q_error_code load(q_session *s, q_diag *d)
{
    return load_with(s, q_posix_port(&posix), this_model, d);
}

/* Puts the right hash under changed bytes. */
void seal(unsigned char *bytes, size_t n)
{
    q_sha256_of(bytes, n - 32, bytes + n - 32);
}

const tiny_kind plain = {false, 0.5f, false, 1, 0};
const tiny_kind summed = {true, 0.5f, false, 0, 0};

/* Loads into a session that stands elsewhere and sees that it still does. */
void refused(q_session *s, const q_port *port, const uint8_t *model, q_error_code code,
                    const char *field)
{
    q_diag d;
    q_session *twin = tiny_session(&plain, 40, Q_PRECISION_EXACT);
    uint32_t position = q_session_position(s);
    q_real want[VOCAB];
    q_real got[VOCAB];
    q_error_code e = load_with(s, port, model, &d);
    CHECK_EQ(e, code);
    CHECK_EQ(d.code, code);
    CHECK(strcmp(d.field, field) == 0);
    CHECK_EQ(q_session_position(s), position);
    tiny_feed(twin, position, want);
    tiny_feed(twin, 2, want);
    tiny_feed(s, 2, got);
    CHECK(memcmp(want, got, sizeof(want)) == 0);
    CHECK_EQ(q_session_rewind(s, position, &d), Q_OK);
}

q_session *at_five(void)
{
    q_session *s = tiny_session(&plain, 40, Q_PRECISION_EXACT);
    q_real logits[VOCAB];
    tiny_feed(s, 5, logits);
    return s;
}

unsigned char good[SNAPSHOT_CAP];
unsigned char bad[SNAPSHOT_CAP];
size_t n_good;

void make_good(void)
{
    q_session *a = tiny_session(&plain, 40, Q_PRECISION_EXACT);
    q_real logits[VOCAB];
    tiny_feed(a, PROMPT, logits);
    save(a);
    n_good = read_bytes(path, good, sizeof(good));
    CHECK(n_good > 128 && n_good < sizeof(good));
}
