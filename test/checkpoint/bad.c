/* SPDX-License-Identifier: MIT */
/*
 * Checkpoints that are wrong in one thing: each differs from one that is loaded by that alone, hashes set right, and gives the
 * code and the field that say so. Tests bear the number of their entry in the catalogue of bad inputs.
 */
#include "medium.h"

#include <string.h>

#include "test/port/fault_port.h"

/* Offsets in a record, and in the payload behind it. */
enum {
    VERSION = 8,
    SEQUENCE = 16,
    BYTES = 24,
    MODEL = 32,
    CRC = 508,
    PAYLOAD = 512,
    STEPS = PAYLOAD,
    SEED = PAYLOAD + 8,
    NOTE_BYTES = PAYLOAD + 16,
    REAL_BYTES = PAYLOAD + 72,
    OPTIMIZER = PAYLOAD + 80,
    NOTE = PAYLOAD + 128,
    FIRST_BYTES = 592 /* the first parameter and each of its moments, padding included */
};

static q_checkpoint_info info;
static q_diag diag;

static void put_u32(uint8_t *at, uint32_t v)
{
    memcpy(at, &v, sizeof(v));
}

static void put_u64(uint8_t *at, uint64_t v)
{
    memcpy(at, &v, sizeof(v));
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof(v));
    return v;
}

/* The first value of the first parameter. */
static uint8_t *first_value(uint8_t *record)
{
    return record + NOTE + (get_u64(record + NOTE_BYTES) + 7) / 8 * 8;
}

static void refused(bool files, q_error_code code, const char *field)
{
    CHECK_EQ(medium_load(files, &info, &diag), RIG_NONE);
    CHECK_EQ(diag.code, code);
    if (strcmp(diag.field, field) != 0) {
        (void)fprintf(stderr, "field '%s', not '%s'\n", diag.field, field);
        CHECK(false);
    }
}

static void loads(bool files, int step, q_error_code passed_over)
{
    CHECK_EQ(medium_load(files, &info, &diag), step);
    CHECK_EQ(info.passed_over, passed_over);
}

/* One checkpoint in a file, changed. */
static uint8_t *one(void)
{
    (void)medium_start(true, 1);
    return medium_bytes(true, 0);
}

static void C01_cut_at_every_byte(void)
{
    uint32_t size;
    (void)medium_start(true, 2);
    size = sim_find(&medium.fs, MEDIUM_PATH)->size;
    for (uint32_t n = 0; n < size; n++) {
        sim_find(&medium.fs, MEDIUM_PATH)->size = n;
        loads(true, 0, n < PAYLOAD ? Q_ERR_NOT_QORUS : Q_ERR_TRUNCATED);
    }
    CHECK_EQ(medium.port.file_remove(&medium, MEDIUM_PATH Q_CHECKPOINT_PREVIOUS), Q_OK);
    for (uint32_t n = 0; n < size; n += 1 + n % 7) {
        sim_find(&medium.fs, MEDIUM_PATH)->size = n;
        refused(true, n < PAYLOAD ? Q_ERR_NOT_QORUS : Q_ERR_TRUNCATED, n < PAYLOAD ? "magic" : "cut short");
    }
}

static void C02_one_bit_of_every_byte(void)
{
    uint8_t *r = one();
    const uint64_t end = PAYLOAD + get_u64(r + BYTES);
    for (uint32_t i = 0; i < end; i++) {
        uint8_t bit = (uint8_t)(1u << i % 8);
        r[i] ^= bit;
        refused(true, i < 8 ? Q_ERR_NOT_QORUS : i < PAYLOAD ? Q_ERR_CORRUPT : Q_ERR_HASH,
                i < 8 ? "magic" : i < PAYLOAD ? "record" : "payload");
        r[i] ^= bit;
    }
    loads(true, 0, Q_OK);
}

static void C03_lengths_that_do_not_add_up(void)
{
    uint8_t *r = one();
    const uint64_t bytes = get_u64(r + BYTES);
    put_u64(r + BYTES, bytes + 8); /* of zeros up to the sector's end */
    medium_seal(r);
    refused(true, Q_ERR_CORRUPT, "sizes");
    put_u64(r + BYTES, UINT64_MAX - 600);
    medium_sum(r);
    refused(true, Q_ERR_TRUNCATED, "cut short");
    put_u64(r + BYTES, 8);
    medium_seal(r);
    refused(true, Q_ERR_CORRUPT, "record");
    put_u64(r + BYTES, bytes);
    put_u64(r + NOTE_BYTES, UINT64_MAX - 3);
    medium_seal(r);
    refused(true, Q_ERR_CORRUPT, "sizes");
}

/* Which one is newer is a matter of the sequence, not of the training. */
static void C04_fewer_steps_in_the_newer_one(void)
{
    q_checkpoint_place p = medium_start(false, 3);
    CHECK_EQ(medium_save(&p, 1), Q_OK);
    loads(false, 1, Q_OK);
}

static void C05_of_another_model(void)
{
    uint8_t *r = one();
    r[MODEL + 5] ^= 1;
    medium_sum(r);
    refused(true, Q_ERR_MISMATCH, "model");
}

static void C06_of_another_optimizer_or_type(void)
{
    uint8_t *r = one();
    q_checkpoint_place p = medium_place(&medium.port, true);
    q_train_config config = plain_config(&q_optimizer_lion);
    rig other;
    put_u32(r + REAL_BYTES, 8);
    medium_seal(r);
    refused(true, Q_ERR_MISMATCH, "type of numbers");
    rig_open(&other, &config);
    CHECK_EQ(q_checkpoint_save(&p, &other.c, rig_work, &diag), Q_OK);
    rig_close(&other);
    refused(true, Q_ERR_MISMATCH, "optimizer");
    config = plain_config(&q_optimizer_adam); /* without an average */
    rig_open(&other, &config);
    CHECK_EQ(q_checkpoint_save(&p, &other.c, rig_work, &diag), Q_OK);
    rig_close(&other);
    refused(true, Q_ERR_MISMATCH, "moments");
}

/* An older one of this version is not taken instead; a save leaves it where it is. */
static void C07_of_another_version(void)
{
    for (uint32_t version = 0; version < 3; version += 2) {
        q_checkpoint_place p = medium_start(false, 2);
        put_u32(medium_bytes(false, 1) + VERSION, version);
        medium_sum(medium_bytes(false, 1));
        refused(false, Q_ERR_VERSION, "version");
        CHECK_EQ(diag.have, version);
        p.known = 0;
        CHECK_EQ(medium_save(&p, 2), Q_OK);
        loads(false, 2, Q_ERR_VERSION);
    }
}

static void C08_moments_that_are_no_numbers(void)
{
    for (uint32_t i = 0; i < 4; i++) {
        uint8_t *r = one();
        put_u32(first_value(r) + i * FIRST_BYTES + 20, 0x7fc00000);
        medium_seal(r);
        refused(true, Q_ERR_NON_FINITE, "checkpoint");
        CHECK(strcmp(diag.what, "first.w") == 0);
    }
}

/* Nor are they saved: a broken training does not take the place of a sound one. */
static void C08_not_saved_either(void)
{
    for (uint32_t files = 0; files < 2; files++) {
        q_checkpoint_place p = medium_start(files != 0, 2);
        q_tensor t = bench_param(&medium_writer.b, "second.w");
        rig_set(&medium_writer, 2);
        put_u32((uint8_t *)t.data + 8, 0x7fc00000);
        CHECK_EQ(rig_save(&medium_writer, &p), Q_ERR_NON_FINITE);
        CHECK_EQ(medium_load(files != 0, &info, &diag), 1);
        CHECK_EQ(medium_save(&p, 2), Q_OK);
        CHECK_EQ(medium_load(files != 0, &info, &diag), 2);
    }
}

static void C09_a_second_moment_below_zero(void)
{
    uint8_t *r = one();
    put_u32(first_value(r) + 2 * FIRST_BYTES, 0x80000001);
    medium_seal(r);
    refused(true, Q_ERR_CORRUPT, "second moment");
    CHECK(strcmp(diag.what, "first.w") == 0);
}

/* All of a random state is the seed and the number of steps: any value is one. */
static void C10_seed(void)
{
    uint8_t *r = one();
    put_u64(r + SEED, 0);
    medium_seal(r);
    loads(true, 0, Q_OK);
    CHECK_EQ(info.seed, 0);
}

static void C11_the_same_sequence_twice(void)
{
    (void)medium_start(false, 2);
    put_u64(medium_bytes(false, 1) + SEQUENCE, 1);
    medium_sum(medium_bytes(false, 1));
    loads(false, 0, Q_OK);
    CHECK_EQ(info.newest, 0);
}

static void C12_a_sequence_beyond_the_last(void)
{
    q_checkpoint_place p = medium_start(false, 2);
    for (uint32_t i = 0; i < 2; i++) {
        put_u64(medium_bytes(false, i) + SEQUENCE, UINT64_MAX - 2 + i);
        medium_sum(medium_bytes(false, i));
    }
    for (uint32_t step = 2; step < 6; step++) {
        CHECK_EQ(medium_save(&p, step), Q_OK);
        loads(false, (int)step, Q_OK);
        CHECK_EQ(info.sequence, (uint64_t)step - 3);
    }
}

static void C13_the_newer_one_damaged(void)
{
    for (uint32_t files = 0; files < 2; files++) {
        q_checkpoint_place p = medium_start(files != 0, 2);
        medium_bytes(files != 0, files != 0 ? 0 : 1)[NOTE + 200] ^= 4;
        loads(files != 0, 0, Q_ERR_HASH);
        p = medium_place(&medium.port, files != 0);
        CHECK_EQ(medium_save(&p, 3), Q_OK); /* over the damaged one */
        loads(files != 0, 3, Q_OK);
        CHECK_EQ(get_u64(medium_bytes(files != 0, files != 0 ? 1 : 0) + STEPS), 0);
    }
}

/* A place that knows what it saved does not read it all again to save the next, but to load it. */
static void what_a_place_remembers(void)
{
    q_checkpoint_place p = medium_start(false, 2);
    q_fault_port counting;
    uint64_t reads;
    q_fault_init(&counting, &medium.port);
    p.port = &counting.port;
    CHECK_EQ(medium_save(&p, 2), Q_OK);
    reads = counting.calls[Q_FAULT_READ];
    p.known = 0;
    CHECK_EQ(medium_save(&p, 3), Q_OK);
    CHECK(counting.calls[Q_FAULT_READ] - reads > reads);
    medium_bytes(false, 1)[NOTE + 200] ^= 4;
    rig_wipe(&medium_reader);
    CHECK_EQ(rig_load(&medium_reader, &p, &info, &diag), Q_OK);
    CHECK_EQ(rig_step(&medium_reader), 2);
    CHECK_EQ(info.passed_over, Q_ERR_HASH);
}

static void C14_both_damaged(void)
{
    for (uint32_t files = 0; files < 2; files++) {
        q_checkpoint_place p = medium_start(files != 0, 2);
        medium_bytes(files != 0, 0)[NOTE + 200] ^= 4;
        medium_bytes(files != 0, 1)[20] ^= 4;
        refused(files != 0, Q_ERR_HASH, "payload");
        medium_bytes(files != 0, 0)[0] = 'X';
        refused(files != 0, Q_ERR_CORRUPT, "record");
        medium_bytes(files != 0, 1)[0] = 'X';
        refused(files != 0, Q_ERR_NOT_QORUS, "magic");
        p.known = 0;
        CHECK_EQ(medium_save(&p, 2), Q_OK);
        CHECK_EQ(medium_load(files != 0, &info, &diag), 2);
    }
}

static void C15_a_payload_under_another_record(void)
{
    (void)medium_start(false, 2);
    memcpy(medium_bytes(false, 0), medium_bytes(false, 1), PAYLOAD);
    loads(false, 1, Q_ERR_HASH);
    (void)medium_start(false, 2);
    memcpy(medium_bytes(false, 1) + PAYLOAD, medium_bytes(false, 0) + PAYLOAD, 4096);
    loads(false, 0, Q_ERR_HASH);
}

static void C16_a_temporary_file_left_over(void)
{
    q_checkpoint_place p = medium_start(true, 2);
    (void)sim_make(&medium.fs, MEDIUM_PATH Q_CHECKPOINT_TEMP, 777);
    loads(true, 1, Q_OK);
    CHECK_EQ(medium_save(&p, 2), Q_OK);
    loads(true, 2, Q_OK);
    CHECK(sim_find(&medium.fs, MEDIUM_PATH Q_CHECKPOINT_TEMP) == NULL);
}

/* ---- Two writers -------------------------------------------------------------------------------------------- */

static rig second;
static uint64_t interrupt_at;
static q_error_code second_result;

/* The second one saves all of step 5 while the first is at its call number interrupt_at. */
static void other_writer(void *arg, const q_fault_event *e)
{
    q_checkpoint_place *p = (q_checkpoint_place *)arg;
    if (e->index == interrupt_at) {
        uint8_t own[Q_CHECKPOINT_WORK];
        q_diag d;
        rig_set(&second, 5);
        second_result = q_checkpoint_save(p, &second.c, (q_block){own, sizeof(own)}, &d);
    }
}

/* Whatever they do to each other, what is loaded is whole. */
static void C18_two_writers(void)
{
    q_train_config config = rig_config();
    rig_open(&second, &config);
    for (interrupt_at = 1; interrupt_at < 40; interrupt_at++) {
        q_checkpoint_place first = medium_start(true, 2);
        q_checkpoint_place p = medium_place(&medium.port, true);
        q_fault_port around;
        q_error_code e;
        int step;
        q_fault_init(&around, &medium.port);
        around.record = other_writer;
        around.record_arg = &p;
        first.port = &around.port;
        e = medium_save(&first, 2);
        step = medium_load(true, &info, &diag);
        CHECK(step == 2 || step == 5 || (step == 1 && e != Q_OK));
        first.port = &medium.port;
        CHECK_EQ(medium_save(&first, 3), Q_OK);
        CHECK_EQ(medium_load(true, &info, &diag), 3);
    }
    rig_close(&second);
}

/* ---- Arguments ---------------------------------------------------------------------------------------------- */

static void said(q_error_code e, q_error_code code, const char *field)
{
    CHECK_EQ(e, code);
    CHECK_EQ(diag.code, code);
    if (strcmp(diag.field, field) != 0) {
        (void)fprintf(stderr, "field '%s', not '%s'\n", diag.field, field);
        CHECK(false);
    }
}

static q_error_code save_with(q_checkpoint_place p, q_block work)
{
    rig_set(&medium_writer, 2);
    return q_checkpoint_save(&p, &medium_writer.c, work, &diag);
}

static void refused_places(void)
{
    q_checkpoint_place good = medium_start(false, 1);
    q_checkpoint_place p = good;
    uint64_t need = 0;
    p.struct_size = 3;
    said(save_with(p, rig_work), Q_ERR_INVALID_ARG, "struct_size");
    p = good;
    p.port = NULL;
    said(save_with(p, rig_work), Q_ERR_NOT_SUPPORTED, "port");
    said(save_with(good, (q_block){rig_work.base, Q_CHECKPOINT_WORK - 1}), Q_ERR_NO_SPACE, "work");
    CHECK_EQ(diag.have, Q_CHECKPOINT_WORK - 1);
    p = good;
    p.offset = 100;
    said(save_with(p, rig_work), Q_ERR_MISALIGNED, "offset");
    p = good;
    p.slot_bytes = 0;
    said(save_with(p, rig_work), Q_ERR_INVALID_ARG, "slot_bytes");
    p.slot_bytes = 777;
    said(save_with(p, rig_work), Q_ERR_MISALIGNED, "slot_bytes");
    p.slot_bytes = MEDIUM_SLOT + 512;
    said(save_with(p, rig_work), Q_ERR_NO_SPACE, "slot_bytes");
    CHECK_EQ(q_checkpoint_size(&medium_writer.c, NULL, &need, &diag), Q_OK);
    p.slot_bytes = need - 512;
    said(save_with(p, rig_work), Q_ERR_NO_SPACE, "slot_bytes");
    CHECK_EQ(diag.need, need);
    p.slot_bytes = need; /* not one byte more is needed */
    CHECK_EQ(save_with(p, rig_work), Q_OK);
    p = good;
    p.path = "";
    said(save_with(p, rig_work), Q_ERR_INVALID_SIZE, "path");
    medium.facts.erase_bytes = 3000;
    said(save_with(good, rig_work), Q_ERR_INVALID_SIZE, "facts");
}

/* A medium that says another size than it had: the slots are where they were, or nothing is touched. */
static void C03_a_medium_of_another_size(void)
{
    q_checkpoint_place p = medium_start(false, 2);
    sim_file *area = sim_find(&medium.fs, MEDIUM_AREA);
    uint8_t before[2 * MEDIUM_SLOT];
    area->size = SIM_BYTES; /* more than there was */
    loads(false, 1, Q_OK);
    CHECK_EQ(medium_save(&p, 2), Q_OK);
    loads(false, 2, Q_OK);
    memcpy(before, area->bytes, sizeof(before));
    area->size = MEDIUM_SLOT + 4096;
    said(save_with(p, rig_work), Q_ERR_NO_SPACE, "slot_bytes");
    refused(false, Q_ERR_NO_SPACE, "slot_bytes");
    CHECK(memcmp(before, area->bytes, sizeof(before)) == 0);
    area->size = 2 * MEDIUM_SLOT;
    loads(false, 2, Q_OK);
}

/* Slots need four members of a port. */
static void four_calls(void)
{
    q_checkpoint_place p = medium_start(false, 1);
    q_port four = {.struct_size = sizeof(q_port), .user = &medium, .file_size = medium.port.file_size,
                   .file_read_at = medium.port.file_read_at, .file_write_at = medium.port.file_write_at,
                   .file_sync = medium.port.file_sync};
    p.port = &four;
    CHECK_EQ(save_with(p, rig_work), Q_OK);
    loads(false, 2, Q_OK);
    p.path = MEDIUM_PATH;
    said(save_with(p, rig_work), Q_ERR_NOT_SUPPORTED, "port");
    p.path = NULL;
    four.file_sync = NULL;
    said(save_with(p, rig_work), Q_ERR_NOT_SUPPORTED, "port");
}

static void refused_trainings(void)
{
    q_checkpoint_place p = medium_start(true, 1);
    q_checkpoint bare = medium_reader.c;
    CHECK_EQ(bench_backward(&medium_writer.b, 0, 4, NULL, &diag), Q_OK);
    said(q_checkpoint_save(&p, &medium_writer.c, rig_work, &diag), Q_ERR_INVALID_STATE, "between micro-batches of a step");
    CHECK_EQ(q_trainer_update(medium_writer.b.trainer, NULL, &diag), Q_OK);
    CHECK_EQ(q_trainer_exchange_average(medium_writer.b.trainer, &diag), Q_OK);
    said(q_checkpoint_save(&p, &medium_writer.c, rig_work, &diag), Q_ERR_INVALID_STATE, "averages are in the parameters' place");
    CHECK_EQ(q_trainer_exchange_average(medium_writer.b.trainer, &diag), Q_OK);
    bare.note_capacity = 3;
    said(q_checkpoint_load(&p, &bare, NULL, rig_work, &diag), Q_ERR_NO_SPACE, "note");
    bare = medium_reader.c;
    bare.best.size = q_fit_best_size(medium_reader.b.session) - 1;
    said(q_checkpoint_load(&p, &bare, NULL, rig_work, &diag), Q_ERR_NO_SPACE, "best");
    CHECK_EQ(diag.need, bare.best.size + 1);
}

void checkpoint_bad(void)
{
    RUN(C01_cut_at_every_byte);
    RUN(C02_one_bit_of_every_byte);
    RUN(C03_lengths_that_do_not_add_up);
    RUN(C04_fewer_steps_in_the_newer_one);
    RUN(C05_of_another_model);
    RUN(C06_of_another_optimizer_or_type);
    RUN(C07_of_another_version);
    RUN(C08_moments_that_are_no_numbers);
    RUN(C08_not_saved_either);
    RUN(C09_a_second_moment_below_zero);
    RUN(C10_seed);
    RUN(C11_the_same_sequence_twice);
    RUN(C12_a_sequence_beyond_the_last);
    RUN(C13_the_newer_one_damaged);
    RUN(what_a_place_remembers);
    RUN(C14_both_damaged);
    RUN(C15_a_payload_under_another_record);
    RUN(C16_a_temporary_file_left_over);
    RUN(C18_two_writers);
    RUN(refused_places);
    RUN(C03_a_medium_of_another_size);
    RUN(four_calls);
    RUN(refused_trainings);
}
