/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of a tiny language model: what is put back gives the same logits bit for bit; a
 * damaged, cut or foreign file and every failing call of the port leave session and old file as
 * they were.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qorus/sha256.h"
#include "qorus/snapshot.h"
#include "snapshot_rig.h"
#include "test/port/fault_port.h"

check_state check_now;

static void round_trip(const tiny_kind *kind, uint32_t precision, uint32_t kv, uint32_t position)
{
    q_diag d;
    q_session *a = tiny_session(kind, 40, precision);
    q_session *b = tiny_session(kind, kv, precision);
    int32_t ids[64];
    q_snapshot_info info = {ids, 64, 0, 0, 0, 0};
    uint64_t bytes = 0;
    static unsigned char file[1 << 16];
    q_real want[VOCAB];
    q_real got[VOCAB];
    if (position != 0) {
        tiny_feed(a, position, want);
    }
    save(a);
    info.n_ids = position;
    CHECK_EQ(q_snapshot_size(a, &info, &bytes, &d), Q_OK);
    CHECK_EQ(bytes, read_bytes(path, file, sizeof(file)));
    tiny_feed(b, 5, got);
    CHECK_EQ(q_snapshot_load(b, q_posix_port(&posix), path, this_model, &info, work, &d), Q_OK);
    CHECK_EQ(q_session_position(b), position);
    CHECK_EQ(info.n_ids, position);
    CHECK_EQ(info.counter, 12345);
    for (uint32_t i = 0; i < info.n_ids; i++) {
        CHECK_EQ(ids[i], (int32_t)(i * 7 % VOCAB));
    }
    for (int i = 0; i < 3; i++) {
        tiny_feed(a, 3, want);
        tiny_feed(b, 3, got);
        CHECK(memcmp(want, got, sizeof(want)) == 0);
    }
}

static void test_round_trip(void)
{
    round_trip(&plain, Q_PRECISION_FAST, 40, PROMPT);
    round_trip(&plain, Q_PRECISION_EXACT, 40, PROMPT);
    round_trip(&plain, Q_PRECISION_EXACT, 40, 16);
    round_trip(&plain, Q_PRECISION_EXACT, 40, 0);
}

static void test_another_capacity(void)
{
    round_trip(&plain, Q_PRECISION_EXACT, 200, PROMPT);
    round_trip(&plain, Q_PRECISION_FAST, 31, PROMPT);
}

/* A snapshot that fills the session to its last position. */
static void test_full(void)
{
    q_diag d;
    q_session *a = tiny_session(&plain, PROMPT, Q_PRECISION_EXACT);
    q_session *b = tiny_session(&plain, PROMPT, Q_PRECISION_EXACT);
    q_real want[VOCAB];
    q_real got[VOCAB];
    tiny_feed(a, PROMPT, want);
    save(a);
    CHECK_EQ(load(b, &d), Q_OK);
    CHECK_EQ(q_session_position(b), PROMPT);
    CHECK_EQ(q_session_rewind(a, PROMPT - 1, &d), Q_OK);
    CHECK_EQ(q_session_rewind(b, PROMPT - 1, &d), Q_OK);
    tiny_feed(a, 1, want);
    tiny_feed(b, 1, got);
    CHECK(memcmp(want, got, sizeof(want)) == 0);
}

static void test_state_without_extent(void)
{
    round_trip(&summed, Q_PRECISION_EXACT, 40, PROMPT);
}

static void test_outputs_are_gone(void)
{
    q_diag d;
    q_session *a = tiny_session(&plain, 40, Q_PRECISION_EXACT);
    q_real logits[VOCAB];
    q_tensor t;
    tiny_feed(a, PROMPT, logits);
    save(a);
    CHECK_EQ(load(a, &d), Q_OK);
    CHECK_EQ(q_session_output(a, 0, &t, &d), Q_ERR_INVALID_STATE);
}

static void test_foreign(void)
{
    static const tiny_kind scaled = {false, 0.25f, false, 1, 0};
    q_diag d;
    q_session *s = at_five();
    q_session *small = tiny_session(&plain, 17, Q_PRECISION_EXACT);
    make_good();
    refused(s, q_posix_port(&posix), other_model, Q_ERR_MISMATCH, "model");
    CHECK_EQ(load(tiny_session(&plain, 40, Q_PRECISION_FAST), &d), Q_ERR_MISMATCH);
    CHECK(strcmp(d.field, "model") != 0 && d.field[0] != '\0');
    CHECK_EQ(load(tiny_session(&scaled, 40, Q_PRECISION_EXACT), &d), Q_ERR_MISMATCH);
    CHECK(strcmp(d.field, "layout") == 0);
    CHECK_EQ(load(tiny_session(&summed, 40, Q_PRECISION_EXACT), &d), Q_ERR_MISMATCH);
    CHECK(strcmp(d.field, "layout") == 0);
    CHECK_EQ(load(small, &d), Q_ERR_CONTEXT_FULL);
    CHECK(d.need == PROMPT && d.have == 17);
    CHECK_EQ(q_session_position(small), 0);
}

/* A snapshot belongs to a type of cache; the one of the precision is the same whoever names it. */
static void test_kv_types(void)
{
    static const tiny_kind real = {false, 0.5f, false, 1, Q_KV_REAL};
    static const tiny_kind half = {false, 0.5f, false, 1, Q_KV_F16};
    q_diag d;
    make_good();
    CHECK_EQ(load(tiny_session(&real, 40, Q_PRECISION_EXACT), &d), Q_OK);
    CHECK_EQ(load(tiny_session(&half, 40, Q_PRECISION_EXACT), &d), Q_ERR_MISMATCH);
    CHECK(strcmp(d.field, "kv type") == 0 && d.need == Q_KV_F16 && d.have == 0);
}

/* One sequence of several, into another place and another session; the others stay. */
static void sequences_travel(const tiny_kind *one, const tiny_kind *three)
{
    q_session *a = tiny_session(three, 40, Q_PRECISION_EXACT);
    q_session *b = tiny_session(one, 40, Q_PRECISION_EXACT);
    q_session *twin = tiny_session(one, 40, Q_PRECISION_EXACT);
    int32_t ids[64];
    q_snapshot_info info = {ids, 64, 0, 0, 2, 0};
    uint64_t bytes = 0;
    q_real want[VOCAB];
    q_real got[VOCAB];
    q_diag d;
    tiny_feed_sequence(a, 2, 7, got);
    tiny_feed_sequence(a, 0, 3, got);
    tiny_feed_sequence(a, 1, 6, got);
    CHECK_EQ(q_snapshot_size(a, &info, &bytes, &d), Q_OK);
    CHECK_EQ(q_snapshot_save(a, q_posix_port(&posix), path, this_model, &info, work, &d), Q_OK);
    CHECK_EQ(bytes, read_bytes(path, bad, sizeof(bad)));
    info.sequence = 1;
    CHECK_EQ(q_snapshot_load(a, q_posix_port(&posix), path, this_model, &info, work, &d), Q_OK);
    info.sequence = 0;
    CHECK_EQ(q_snapshot_load(b, q_posix_port(&posix), path, this_model, &info, work, &d), Q_OK);
    CHECK(q_sequence_position(a, 0) == 3 && q_sequence_position(a, 1) == 7 && q_session_position(b) == 7);
    tiny_feed(twin, 7, want);
    tiny_feed(twin, 2, want);
    tiny_feed(b, 2, got);
    CHECK(memcmp(want, got, sizeof(want)) == 0);
    for (uint32_t i = 1; i < 3; i++) {
        tiny_feed_sequence(a, i, 2, got);
        CHECK(memcmp(want, got, sizeof(want)) == 0);
    }
    CHECK_EQ(q_sequence_copy(a, 1, 0, 3, &d), Q_OK); /* and by copy */
    CHECK_EQ(q_session_rewind(twin, 0, &d), Q_OK);
    tiny_feed(twin, 3, want);
    tiny_feed(twin, 4, want);
    for (uint32_t i = 0; i < 2; i++) {
        tiny_feed_sequence(a, i, 4, got);
        CHECK(memcmp(want, got, sizeof(want)) == 0);
    }
    info.sequence = 3;
    CHECK_EQ(q_snapshot_size(a, &info, &bytes, &d), Q_ERR_INVALID_ARG);
    CHECK(strcmp(d.field, "info.sequence") == 0 && d.need == 3 && d.have == 3);
    CHECK_EQ(q_snapshot_save(a, q_posix_port(&posix), path, this_model, &info, work, &d), Q_ERR_INVALID_ARG);
    CHECK_EQ(q_snapshot_load(a, q_posix_port(&posix), path, this_model, &info, work, &d), Q_ERR_INVALID_ARG);
}

static void test_sequences(void)
{
    static const tiny_kind plain3 = {false, 0.5f, false, 3, 0};
    static const tiny_kind sum1 = {true, 0.5f, true, 1, 0};
    static const tiny_kind sum3 = {true, 0.5f, true, 3, 0};
    static const tiny_kind blind3 = {true, 0.5f, false, 3, 0};
    q_session *s = tiny_session(&sum3, 40, Q_PRECISION_EXACT);
    q_real logits[VOCAB];
    q_plan *plan;
    q_diag d;
    sequences_travel(&plain, &plain3);
    sequences_travel(&sum1, &sum3);
    CHECK_EQ(tiny_plan(&blind3, 40, Q_PRECISION_EXACT, &plan, &d), Q_ERR_UNSUPPORTED);
    CHECK(strcmp(d.what, "sum") == 0 && d.have == 3);
    tiny_feed_sequence(s, 1, 5, logits); /* its sum cannot go back */
    CHECK_EQ(q_sequence_rewind(s, 1, 4, &d), Q_ERR_UNSUPPORTED);
    CHECK_EQ(q_sequence_copy(s, 2, 1, 4, &d), Q_ERR_UNSUPPORTED);
    CHECK_EQ(q_sequence_position(s, 2), 0);
    CHECK_EQ(q_sequence_copy(s, 2, 1, 5, &d), Q_OK);
    CHECK_EQ(q_sequence_rewind(s, 1, 0, &d), Q_OK);
    CHECK(q_sequence_position(s, 1) == 0 && q_sequence_position(s, 2) == 5);
}

static void test_every_cut(void)
{
    q_session *s = at_five();
    q_diag d;
    make_good();
    for (size_t n = 0; n < n_good; n++) {
        write_bytes(path, good, n);
        if (load(s, &d) != Q_ERR_TRUNCATED || q_session_position(s) != 5) {
            (void)printf("cut to %zu bytes: %d\n", n, (int)d.code);
            CHECK(false);
        }
    }
    write_bytes(path, good, n_good / 2);
    refused(s, q_posix_port(&posix), this_model, Q_ERR_TRUNCATED, "file_size");
    memcpy(bad, good, n_good);
    bad[n_good] = 0;
    write_bytes(path, bad, n_good + 1);
    refused(s, q_posix_port(&posix), this_model, Q_ERR_CORRUPT, "file_size");
}

static void test_every_flip(void)
{
    q_session *s = at_five();
    unsigned codes[4] = {0, 0, 0, 0};
    q_diag d;
    make_good();
    for (size_t bit = 0; bit < n_good * 8; bit += bit < 160 * 8 ? 1 : 13) {
        q_error_code e;
        memcpy(bad, good, n_good);
        bad[bit / 8] = (unsigned char)(bad[bit / 8] ^ 1u << bit % 8);
        write_bytes(path, bad, n_good);
        e = load(s, &d);
        codes[e == Q_ERR_HASH ? 0 : e == Q_ERR_CORRUPT ? 1 : e == Q_ERR_TRUNCATED ? 2 : 3]++;
        if ((e != Q_ERR_HASH && e != Q_ERR_CORRUPT && e != Q_ERR_TRUNCATED &&
             !(bit / 8 < 12 && (e == Q_ERR_NOT_QORUS || e == Q_ERR_VERSION))) ||
            q_session_position(s) != 5) {
            (void)printf("bit %zu: %d\n", bit, (int)e);
            CHECK(false);
        }
    }
    CHECK_EQ(codes[3], 96); /* magic and version */
    CHECK(codes[0] > 1000 && codes[1] > 0 && codes[2] > 0);
    write_bytes(path, bad, n_good);
    refused(s, q_posix_port(&posix), this_model, Q_ERR_HASH, "sha256");
}

typedef struct forged {
    size_t offset;
    uint32_t value;
    q_error_code code;
    const char *field;
} forged;

/* One field changed and the hash made right again: nothing but the field's own check can refuse it.
 */
static void test_forged_fields(void)
{
    static const forged cases[] = {
        {24, 1, Q_ERR_CORRUPT, "state_bytes"},
        {28, 0xFFFFFFFFu, Q_ERR_CORRUPT, "state_bytes"},
        {40, 7, Q_ERR_MISMATCH, "precision"},
        {44, 41, Q_ERR_CONTEXT_FULL, "position"},
        {44, 0xFFFFFFFFu, Q_ERR_CONTEXT_FULL, "position"},
        {44, 3, Q_ERR_MISMATCH, "layout"},
        {44, PROMPT + 1, Q_ERR_CORRUPT, "n_ids"},
        {48, 1, Q_ERR_CORRUPT, "n_ids"},
        {48, 0, Q_ERR_CORRUPT, "state_bytes"},
        {48, 0xFFFFFFFFu, Q_ERR_CORRUPT, "n_ids"},
        {52, 2, Q_ERR_MISMATCH, "layout"},
        {56, 9, Q_ERR_MISMATCH, "model"},
        {88, 9, Q_ERR_MISMATCH, "layout"},
        {120, Q_KV_F16, Q_ERR_MISMATCH, "kv type"},
        {124, 1, Q_ERR_CORRUPT, "reserved"},
        {124, 1u << 24, Q_ERR_CORRUPT, "reserved"},
        {128, VOCAB, Q_ERR_INVALID_TOKEN, "ids"},
        {128 + 4 * (PROMPT - 1), 0x80000000u, Q_ERR_INVALID_TOKEN, "ids"},
    };
    q_session *s = at_five();
    make_good();
    seal(good, n_good); /* the twin: what these lines do to a file leaves it good */
    write_bytes(path, good, n_good);
    {
        q_diag d;
        CHECK_EQ(load(tiny_session(&plain, 40, Q_PRECISION_EXACT), &d), Q_OK);
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memcpy(bad, good, n_good);
        memcpy(bad + cases[i].offset, &cases[i].value, 4);
        seal(bad, n_good);
        write_bytes(path, bad, n_good);
        refused(s, q_posix_port(&posix), this_model, cases[i].code, cases[i].field);
        if (strcmp(cases[i].field, "reserved") == 0) {
            q_diag d;
            CHECK_EQ(load(s, &d), Q_ERR_CORRUPT);
            CHECK(d.need == 0 && d.have == 1);
        }
    }
}

/* A file that no position of the session could have made: its header is read, the rest is not. */
static void test_too_long_to_read(void)
{
    static unsigned char huge[1 << 17];
    q_session *s = at_five();
    q_fault_port counted;
    q_diag d;
    make_good();
    memset(huge, 0, sizeof(huge));
    memcpy(huge, good, n_good);
    seal(huge, sizeof(huge));
    write_bytes(path, huge, sizeof(huge));
    q_fault_init(&counted, q_posix_port(&posix));
    CHECK_EQ(load_with(s, &counted.port, this_model, &d), Q_ERR_CORRUPT);
    CHECK_EQ(counted.calls[Q_FAULT_READ], 1);
    CHECK_EQ(q_session_position(s), 5);
}

static void test_arguments(void)
{
    q_diag d;
    q_session *s = at_five();
    int32_t ids[5] = {0};
    q_snapshot_info info = {ids, 5, 5, 0, 0, 0};
    const q_port *port = q_posix_port(&posix);
    q_port none = *port;
    q_block little = {work.base, Q_SNAPSHOT_WORK - 1};
    uint64_t n;
    none.file_open = NULL;
    CHECK_EQ(q_snapshot_save(NULL, port, path, this_model, &info, work, &d), Q_ERR_INVALID_ARG);
    CHECK_EQ(q_snapshot_save(s, NULL, path, this_model, &info, work, &d), Q_ERR_NOT_SUPPORTED);
    CHECK_EQ(q_snapshot_save(s, &none, path, this_model, &info, work, &d), Q_ERR_NOT_SUPPORTED);
    CHECK_EQ(q_snapshot_save(s, port, "", this_model, &info, work, &d), Q_ERR_INVALID_SIZE);
    CHECK_EQ(q_snapshot_save(s, port, path, NULL, &info, work, &d), Q_ERR_INVALID_ARG);
    CHECK_EQ(q_snapshot_save(s, port, path, this_model, NULL, work, &d), Q_ERR_INVALID_ARG);
    CHECK_EQ(q_snapshot_save(s, port, path, this_model, &info, little, &d), Q_ERR_NO_SPACE);
    CHECK(d.need == Q_SNAPSHOT_WORK && d.have == Q_SNAPSHOT_WORK - 1);
    info.n_ids = 4;
    CHECK_EQ(q_snapshot_save(s, port, path, this_model, &info, work, &d), Q_ERR_INVALID_ARG);
    CHECK_EQ(q_snapshot_size(s, &info, &n, &d), Q_ERR_INVALID_ARG);
    info.n_ids = 5;
    CHECK_EQ(q_snapshot_save(s, port, path, this_model, &info, work, &d), Q_OK);
    info.capacity = 4;
    CHECK_EQ(q_snapshot_load(s, port, path, this_model, &info, work, &d), Q_ERR_NO_SPACE);
    CHECK(d.need == 5 && d.have == 4);
    CHECK_EQ(q_snapshot_load(s, port, "/nowhere/at/all", this_model, &info, work, &d),
             Q_ERR_NOT_FOUND);
}

int main(void)
{
    q_diag d;
    const char *dir = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(path, sizeof(path), "%s/qorus-snapshot-%ld", dir, (long)getpid());
    tiny_must(q_posix_init(&posix, 1, &d), &d);
    RUN(test_round_trip);
    RUN(test_another_capacity);
    RUN(test_full);
    RUN(test_state_without_extent);
    RUN(test_outputs_are_gone);
    RUN(test_foreign);
    RUN(test_kv_types);
    RUN(test_sequences);
    RUN(test_every_cut);
    RUN(test_every_flip);
    RUN(test_forged_fields);
    RUN(test_too_long_to_read);
    RUN(test_arguments);
    snapshot_faults();
    (void)unlink(path);
    q_posix_close(&posix);
    tiny_end();
    return check_summary();
}
