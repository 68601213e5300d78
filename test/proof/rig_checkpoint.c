/* SPDX-License-Identifier: MIT */
/* Checkpoints that are wrong in one thing, in two slots: a load of another one, or a defined error that changes nothing. */
#include "memory_files.h"
#include "rig_training.h"

#include "qorus/base/mem.h"
#include "qorus/checkpoint.h"
#include "qorus/sha256.h"

enum { SLOT = 4096, RECORD_CRC = 508, RECORD_BYTES = 24, RECORD_HASH = 64, HEAD = 512, VALUES = HEAD + 128, UNTOUCHED = 77 };

/* What is set right again after the defect. */
typedef enum sealing { BARE, RECORD, ALL } sealing;

typedef struct checkpoint_case {
    const char *id;
    uint32_t slot;   /* 1: the newest, of two steps; 0: the one before, of one; 2: both */
    uint32_t offset;
    uint32_t width;  /* bytes of value that are written there */
    uint64_t value;
    sealing seal;
    q_error_code code;
    const char *field;
    uint64_t steps;  /* loaded; UNTOUCHED: none */
} checkpoint_case;

#define LOADS(id, slot, offset, width, value, seal, steps) {id, slot, offset, width, value, seal, Q_OK, "", steps}
#define FAILS(id, slot, offset, width, value, seal, code, field) {id, slot, offset, width, value, seal, code, field, UNTOUCHED}

static const checkpoint_case cases[] = {
    LOADS("C13_accepted_twin", 1, 0, 0, 0, BARE, 2),
    LOADS("C02_a_byte_of_the_magic", 1, 3, 1, 'X', BARE, 1),
    LOADS("C02_a_byte_of_the_record", 1, 200, 1, 1, BARE, 1),
    LOADS("C02_a_byte_of_the_older_one", 0, 200, 1, 1, BARE, 2),
    LOADS("C13_a_byte_of_the_payload", 1, HEAD + 300, 1, 0xa5, BARE, 1),
    FAILS("C14_a_byte_of_both_payloads", 2, HEAD + 300, 1, 0xa5, BARE, Q_ERR_HASH, "payload"),
    FAILS("C14_both_records", 2, 200, 1, 1, BARE, Q_ERR_CORRUPT, "record"),
    FAILS("C03_a_note_longer_than_all", 1, HEAD + 16, 8, UINT64_MAX - 3, ALL, Q_ERR_CORRUPT, "sizes"),
    FAILS("C03_values_longer_than_they_are", 1, HEAD + 24, 8, 8, ALL, Q_ERR_CORRUPT, "sizes"),
    LOADS("C03_a_length_of_2^64-1", 1, RECORD_BYTES, 8, UINT64_MAX, RECORD, 1),
    LOADS("C03_a_length_below_the_head's", 1, RECORD_BYTES, 8, 8, RECORD, 1),
    FAILS("C03_a_reserved_word_of_the_head", 1, HEAD + 76, 4, 1, ALL, Q_ERR_CORRUPT, "reserved"),
    FAILS("C03_the_last_reserved_byte_of_the_head", 1, HEAD + 127, 1, 1, ALL, Q_ERR_CORRUPT, "reserved"),
    LOADS("C04_fewer_steps_in_the_newer_one", 1, HEAD, 8, 0, ALL, 0),
    FAILS("C05_another_model", 1, 40, 1, 0xa5, RECORD, Q_ERR_MISMATCH, "model"),
    FAILS("C06_another_type_of_numbers", 1, HEAD + 72, 4, 12 - sizeof(q_real), ALL, Q_ERR_MISMATCH, "type of numbers"),
    FAILS("C06_another_optimizer", 1, HEAD + 80, 1, 'A', ALL, Q_ERR_MISMATCH, "optimizer"),
    FAILS("C06_another_number_of_moments", 1, HEAD + 68, 4, 1, ALL, Q_ERR_MISMATCH, "moments"),
    FAILS("C07_version_0", 1, 8, 4, 0, RECORD, Q_ERR_VERSION, "version"),
    FAILS("C07_version_2", 1, 8, 4, Q_CHECKPOINT_VERSION + 1, RECORD, Q_ERR_VERSION, "version"),
    LOADS("C07_an_older_one_of_version_2", 0, 8, 4, Q_CHECKPOINT_VERSION + 1, RECORD, 2),
    FAILS("C08_a_parameter_that_is_NaN", 1, VALUES, 4, 0x7fc00000, ALL, Q_ERR_NON_FINITE, "checkpoint"),
    FAILS("C08_a_moment_that_is_NaN", 1, VALUES + 16, 4, 0x7fc00000, ALL, Q_ERR_NON_FINITE, "checkpoint"),
    FAILS("C09_a_second_moment_below_zero", 1, VALUES + 32, 4, 0xbf800000, ALL, Q_ERR_CORRUPT, "second moment"),
    LOADS("C10_a_seed_of_0", 1, HEAD + 8, 8, 0, ALL, 2),
    LOADS("C11_equal_sequences", 1, 16, 8, 1, RECORD, 1),
    LOADS("C12_the_older_one_of_sequence_2^64-1", 0, 16, 8, UINT64_MAX, RECORD, 2),
    LOADS("C12_sequences_half_the_circle_apart", 1, 16, 8, ((uint64_t)1 << 63) + 1, RECORD, 1),
};

/* ---- Bytes -------------------------------------------------------------------------------------------------- */

/* CRC-32 of IEEE 802.3, a bit at a time. */
static void seal_record(uint8_t *slot)
{
    uint32_t crc = UINT32_MAX;
    for (uint32_t i = 0; i < 8 * RECORD_CRC; i++) {
        uint32_t bit = (crc ^ (uint32_t)slot[i / 8] >> i % 8) & 1;
        crc = crc >> 1 ^ (bit != 0 ? 0xEDB88320u : 0);
    }
    crc = ~crc;
    memcpy(slot + RECORD_CRC, &crc, sizeof(crc));
}

static void put_defect(uint8_t *slot, const checkpoint_case *c)
{
    uint64_t bytes;
    memcpy(slot + c->offset, &c->value, c->width);
    memcpy(&bytes, slot + RECORD_BYTES, sizeof(bytes));
    if (c->seal == ALL) {
        q_sha256_of(slot + HEAD, (size_t)bytes, slot + RECORD_HASH);
    }
    if (c->seal != BARE) {
        seal_record(slot);
    }
}

/* ---- Slots -------------------------------------------------------------------------------------------------- */

typedef struct slots {
    training t;
    memory_port files;
    q_port port;
    q_block work;
    uint8_t *area; /* what is loaded */
    uint8_t *good; /* as saved */
} slots;

static q_checkpoint_place place_of(const slots *s)
{
    q_checkpoint_place p;
    memset(&p, 0, sizeof(p));
    p.struct_size = sizeof(p);
    p.port = &s->port;
    p.slot_bytes = SLOT; /* file 0 */
    return p;
}

static q_checkpoint checkpoint_of(slots *s)
{
    q_checkpoint c;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.trainer = s->t.trainer;
    return c;
}

/* One file of two slots; after one step and after two the training saves itself there. */
static q_error_code slots_open(slots *s, rig *r)
{
    const q_train_config config = training_config(&q_optimizer_adam);
    q_error_code e = training_open(&s->t, r, &config);
    q_checkpoint_place p;
    s->port = memory_files(&s->files);
    memset(&s->files, 0, sizeof(s->files));
    s->area = (uint8_t *)rig_take(r, MEMORY_ROOM);
    s->good = (uint8_t *)rig_take(r, 2 * SLOT);
    s->work = (q_block){rig_take(r, Q_CHECKPOINT_WORK), Q_CHECKPOINT_WORK};
    if (e != Q_OK || s->area == NULL || s->good == NULL || s->work.base == NULL) {
        return e != Q_OK ? e : Q_ERR_NO_SPACE;
    }
    memset(s->area, 0, 2 * SLOT);
    s->files.file[0].bytes = s->area;
    s->files.file[0].size = 2 * SLOT;
    p = place_of(s);
    for (uint32_t step = 0; step < 2 && e == Q_OK; step++) {
        const q_checkpoint c = checkpoint_of(s);
        e = q_trainer_backward(s->t.trainer, &s->t.step, NULL, &r->diag);
        e = e == Q_OK ? q_trainer_update(s->t.trainer, NULL, &r->diag) : e;
        e = e == Q_OK ? q_checkpoint_save(&p, &c, s->work, &r->diag) : e;
    }
    memcpy(s->good, s->area, 2 * SLOT);
    return e;
}

/* Loads and reports; `steps` are what the trainer has then. */
static void check_load(slots *s, const char *id, q_error_code code, const char *field, uint64_t steps)
{
    rig *r = s->t.r;
    const uint64_t before = training_hash(&s->t);
    q_checkpoint_place p = place_of(s);
    q_checkpoint c = checkpoint_of(s);
    q_error_code e;
    bool good;
    q_trainer_set_steps(s->t.trainer, UNTOUCHED);
    memset(&r->diag, 0, sizeof(r->diag));
    e = q_checkpoint_load(&p, &c, NULL, s->work, &r->diag);
    good = e == code && q_trainer_steps(s->t.trainer) == steps && rig_same_text(r->diag.field, field);
    rig_report(r, good && (e == Q_OK || training_hash(&s->t) == before), id, e, &r->diag);
}

void rig_checkpoint(rig *r)
{
    slots s;
    q_error_code e = slots_open(&s, r);
    if (e != Q_OK) {
        rig_report(r, false, "rig_of_checkpoints_is_built", e, &r->diag);
        return;
    }
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const checkpoint_case *c = &cases[i];
        memcpy(s.area, s.good, 2 * SLOT);
        for (uint32_t slot = 0; slot < 2; slot++) {
            if (c->slot == slot || c->slot == 2) {
                put_defect(s.area + slot * SLOT, c);
            }
        }
        check_load(&s, c->id, c->code, c->field, c->steps);
    }
    memcpy(s.area + SLOT + HEAD, s.good + HEAD, SLOT - HEAD);
    memcpy(s.area, s.good, SLOT);
    memcpy(s.area + SLOT, s.good + SLOT, HEAD);
    check_load(&s, "C15_the_payload_of_the_other", Q_OK, "", 1);
    memcpy(s.area + HEAD, s.good + SLOT + HEAD, SLOT - HEAD);
    check_load(&s, "C15_payloads_exchanged", Q_ERR_HASH, "payload", UNTOUCHED);
}
