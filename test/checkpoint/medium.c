/* SPDX-License-Identifier: MIT */
/* Checkpoints on a simulated medium: see medium.h. */
#include "medium.h"

#include <string.h>

#include "qorus/sha256.h"

sim_port medium;
rig medium_writer;
rig medium_reader;

void medium_open(void)
{
    q_train_config config = rig_config();
    rig_open(&medium_writer, &config);
    rig_open(&medium_reader, &config);
}

void medium_close(void)
{
    rig_close(&medium_writer);
    rig_close(&medium_reader);
}

q_checkpoint_place medium_place(const q_port *port, bool files)
{
    q_checkpoint_place p;
    memset(&p, 0, sizeof(p));
    p.struct_size = sizeof(p);
    p.port = port;
    if (files) {
        p.path = MEDIUM_PATH;
    } else {
        p.slot_bytes = MEDIUM_SLOT;
        CHECK_EQ(port->file_open(port->user, MEDIUM_AREA, Q_OPEN_READ_WRITE, &p.file), Q_OK);
    }
    return p;
}

q_checkpoint_place medium_start(bool files, uint32_t saves)
{
    static sim_fs empty;
    q_checkpoint_place p;
    sim_format(&empty);
    (void)sim_make(&empty, MEDIUM_AREA, 2 * MEDIUM_SLOT);
    sim_start(&medium, &empty);
    p = medium_place(&medium.port, files);
    for (uint32_t i = 0; i < saves; i++) {
        CHECK_EQ(medium_save(&p, i), Q_OK);
    }
    return p;
}

q_error_code medium_save(q_checkpoint_place *p, uint32_t step)
{
    rig_set(&medium_writer, step);
    return rig_save(&medium_writer, p);
}

int medium_load(bool files, q_checkpoint_info *info, q_diag *d)
{
    q_checkpoint_place p = medium_place(&medium.port, files);
    uint32_t writes = medium.log.n;
    q_error_code e;
    rig_wipe(&medium_reader);
    memset(info, 0, sizeof(*info));
    e = rig_load(&medium_reader, &p, info, d);
    CHECK_EQ(medium.log.n, writes);
    CHECK(e == Q_OK || rig_wiped(&medium_reader));
    CHECK_EQ(d->code, e);
    if (!files) {
        CHECK_EQ(medium.port.file_close(&medium, p.file), Q_OK);
    }
    return e == Q_OK ? rig_step(&medium_reader) : RIG_NONE;
}

uint8_t *medium_bytes(bool files, uint32_t i)
{
    sim_file *f = sim_find(&medium.fs, !files ? MEDIUM_AREA : i == 0 ? MEDIUM_PATH : MEDIUM_PATH Q_CHECKPOINT_PREVIOUS);
    return f->bytes + (files ? 0 : i * MEDIUM_SLOT);
}

void medium_sum(uint8_t *record)
{
    uint32_t crc = UINT32_MAX;
    for (uint32_t i = 0; i < 508 * 8; i++) {
        uint32_t bit = (crc ^ ((uint32_t)record[i / 8] >> i % 8)) & 1;
        crc = crc >> 1 ^ (bit != 0 ? 0xEDB88320u : 0);
    }
    crc = ~crc;
    memcpy(record + 508, &crc, sizeof(crc));
}

void medium_seal(uint8_t *record)
{
    uint32_t block;
    uint64_t bytes;
    memcpy(&block, record + 12, sizeof(block));
    memcpy(&bytes, record + 24, sizeof(bytes));
    q_sha256_of(record + block, (size_t)bytes, record + 64);
    medium_sum(record);
}
