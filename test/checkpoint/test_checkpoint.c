/* SPDX-License-Identifier: MIT */
/* Checkpoints: saved and loaded through the POSIX port, in slots and in files. */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "port/posix/posix.h"
#include "medium.h"

enum { AREA = 1 << 16 };

check_state check_now;

static q_posix posix;
static char folder[] = "/tmp/qorus-checkpoint-XXXXXX";
static char path[256];

static const char *in_folder(const char *name)
{
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static q_checkpoint_place files(void)
{
    q_checkpoint_place p;
    memset(&p, 0, sizeof(p));
    p.struct_size = sizeof(p);
    p.port = q_posix_port(&posix);
    p.path = in_folder("a.state");
    return p;
}

/* An area of zeros. */
static q_checkpoint_place slots(void)
{
    static uint8_t zeros[AREA];
    q_checkpoint_place p = files();
    FILE *f = fopen(in_folder("area"), "wb");
    CHECK(f != NULL && fwrite(zeros, 1, sizeof(zeros), f) == sizeof(zeros) && fclose(f) == 0);
    CHECK_EQ(p.port->file_open(p.port->user, path, Q_OPEN_READ_WRITE, &p.file), Q_OK);
    p.path = NULL;
    p.offset = 4096;
    p.slot_bytes = MEDIUM_SLOT;
    return p;
}

/* Saved one after the other, each is what is loaded, and the one before is still there. */
static void round_trip(q_checkpoint_place *p)
{
    q_checkpoint_info info;
    q_diag d;
    rig_wipe(&medium_reader);
    CHECK_EQ(rig_load(&medium_reader, p, &info, &d), Q_ERR_NOT_FOUND);
    CHECK(rig_wiped(&medium_reader));
    for (uint32_t step = 0; step < RIG_STEPS; step++) {
        rig_set(&medium_writer, step);
        CHECK_EQ(rig_save(&medium_writer, p), Q_OK);
        CHECK_EQ(rig_step(&medium_writer), step);
        rig_wipe(&medium_reader);
        CHECK_EQ(rig_load(&medium_reader, p, &info, &d), Q_OK);
        CHECK_EQ(rig_step(&medium_reader), step);
        CHECK_EQ(info.sequence, step + 1);
        CHECK_EQ(info.steps, step);
        CHECK_EQ(info.passed_over, Q_OK);
        CHECK(strcmp(info.optimizer, "adam") == 0);
        CHECK_EQ(info.seed, 77);
    }
}

static void test_files(void)
{
    q_checkpoint_place p = files();
    q_checkpoint_info info;
    char note[RIG_NOTE];
    q_diag d;
    round_trip(&p);
    CHECK_EQ(q_checkpoint_look(&p, &info, note, sizeof(note), rig_work, &d), Q_OK);
    CHECK(info.note_bytes == medium_reader.c.note_bytes && memcmp(note, medium_reader.note, info.note_bytes) == 0);
    CHECK_EQ(unlink(in_folder("a.state")), 0);
    rig_wipe(&medium_reader);
    CHECK_EQ(rig_load(&medium_reader, &p, &info, &d), Q_OK);
    CHECK_EQ(rig_step(&medium_reader), RIG_STEPS - 2);
    CHECK_EQ(info.newest, 1);
    CHECK_EQ(info.passed_over, Q_ERR_NOT_FOUND);
}

static void test_slots(void)
{
    q_checkpoint_place p = slots();
    round_trip(&p);
    CHECK_EQ(p.port->file_close(p.port->user, p.file), Q_OK);
}

/* What has the name but is no file stays as it is; a link is moved like a file, and what it leads to stays. */
static void C17_targets_that_are_no_files(void)
{
    char at[256];
    q_checkpoint_place p = files();
    q_checkpoint_info info;
    struct stat st;
    q_diag d;
    (void)snprintf(at, sizeof(at), "%s", in_folder("other"));
    p.path = at;
    rig_set(&medium_writer, 1);
    CHECK_EQ(mkdir(at, 0700), 0);
    CHECK_EQ(rig_save(&medium_writer, &p), Q_ERR_IO);
    CHECK_EQ(rig_load(&medium_reader, &p, &info, &d), Q_ERR_IO);
    CHECK(strcmp(d.field, "open") == 0 && stat(at, &st) == 0 && S_ISDIR(st.st_mode));
    CHECK_EQ(rmdir(at), 0);
    CHECK_EQ(mkfifo(at, 0600), 0);
    CHECK_EQ(rig_save(&medium_writer, &p), Q_ERR_IO);
    CHECK(stat(at, &st) == 0 && S_ISFIFO(st.st_mode));
    CHECK_EQ(unlink(at), 0);
    CHECK_EQ(rig_save(&medium_writer, &p), Q_OK);
    CHECK_EQ(rename(at, in_folder("real")), 0);
    CHECK_EQ(symlink(path, at), 0);
    rig_set(&medium_writer, 2);
    CHECK_EQ(rig_save(&medium_writer, &p), Q_OK);
    CHECK(lstat(at, &st) == 0 && S_ISREG(st.st_mode));
    rig_wipe(&medium_reader);
    CHECK_EQ(rig_load(&medium_reader, &p, &info, &d), Q_OK);
    CHECK_EQ(rig_step(&medium_reader), 2);
    CHECK_EQ(unlink(at), 0);
    CHECK_EQ(rig_load(&medium_reader, &p, &info, &d), Q_OK);
    CHECK_EQ(rig_step(&medium_reader), 1);
    p.path = "/nowhere/at.all";
    CHECK_EQ(rig_save(&medium_writer, &p), Q_ERR_NOT_FOUND);
    CHECK_EQ(unlink(in_folder("real")), 0);
    CHECK_EQ(unlink(in_folder("other" Q_CHECKPOINT_PREVIOUS)), 0);
}

int main(void)
{
    q_diag d;
    must(q_posix_init(&posix, 1, &d), &d);
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    medium_open();
    RUN(test_files);
    RUN(test_slots);
    RUN(C17_targets_that_are_no_files);
    checkpoint_bad();
    checkpoint_faults();
    checkpoint_states();
    medium_close();
    (void)unlink(in_folder("a.state"));
    (void)unlink(in_folder("a.state" Q_CHECKPOINT_PREVIOUS));
    (void)unlink(in_folder("area"));
    (void)rmdir(folder);
    return check_summary();
}
