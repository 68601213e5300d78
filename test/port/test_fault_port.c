/* SPDX-License-Identifier: MIT */
/* test_fault_port.c: the fault port is transparent without rules and breaks what it is told to. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <string.h>
#include <unistd.h>

#include "fault_port.h"
#include "posix_tests.h"

/* ---- A job that makes a known sequence of calls ---------------------------------------------- */

typedef struct save_log {
    unsigned n;
    q_fault_op ops[32];
    size_t done[32];
    q_error_code results[32];
} save_log;

static void record_event(void *arg, const q_fault_event *e)
{
    save_log *log = (save_log *)arg;
    if (log->n < 32) {
        log->ops[log->n] = e->op;
        log->done[log->n] = e->done;
        log->results[log->n] = e->result;
    }
    log->n++;
}

/* Saves a text of 3 bytes under the name `to`: open, 2 writes, sync, close, replace. */
static q_error_code save(const q_port *port, const char *temp, const char *to, const char *text)
{
    q_port_file f = 0;
    q_error_code rc = port->file_open(port->user, temp, Q_OPEN_CREATE_NEW, &f);
    if (rc != Q_OK) {
        return rc;
    }
    rc = port->file_write_at(port->user, f, 0, text, 2);
    if (rc == Q_OK) {
        rc = port->file_write_at(port->user, f, 2, text + 2, 1);
    }
    if (rc == Q_OK) {
        rc = port->file_sync(port->user, f);
    }
    q_error_code closed = port->file_close(port->user, f);
    rc = rc == Q_OK ? closed : rc;
    return rc == Q_OK ? port->file_replace(port->user, temp, to) : rc;
}

static void read_text(const char *path, char text[4])
{
    FILE *f = fopen(path, "rb");
    memset(text, 0, 4);
    if (f != NULL) {
        CHECK(fread(text, 1, 3, f) <= 3);
        CHECK_EQ(fclose(f), 0);
    }
}

static void fault_port_without_rules_is_transparent(void)
{
    const char *temp = test_path("temp");
    const char *to = test_path("to");
    q_fault_port f;
    char text[4];
    save_log log = { 0 };
    const q_fault_op want[6] = { Q_FAULT_OPEN, Q_FAULT_WRITE, Q_FAULT_WRITE,
                                 Q_FAULT_SYNC, Q_FAULT_CLOSE, Q_FAULT_REPLACE };
    q_fault_init(&f, q_posix_port(&test_posix));
    f.record = record_event;
    f.record_arg = &log;
    CHECK_EQ(save(&f.port, temp, to, "new"), Q_OK);
    read_text(to, text);
    CHECK(strcmp(text, "new") == 0);
    CHECK_EQ(log.n, 6);
    CHECK(memcmp(log.ops, want, sizeof want) == 0);
    CHECK_EQ(log.done[1], 2);
    CHECK_EQ(f.total, 6);
    CHECK_EQ(f.calls[Q_FAULT_WRITE], 2);
    CHECK_EQ(unlink(to), 0);
}

/* For each call of the job and each kind of fault: the old file survives. */
static void fault_port_breaks_every_call_once(void)
{
    const q_fault_kind kinds[4] = { Q_FAULT_FAIL, Q_FAULT_SHORT, Q_FAULT_INTERRUPT, Q_FAULT_CUT };
    const char *temp = test_path("temp");
    const char *to = test_path("to");
    int fds = test_count_fds();
    for (unsigned k = 0; k < 4; k++) {
        for (uint64_t at = 1; at <= 6; at++) {
            q_fault_port f;
            char text[4];
            if (kinds[k] == Q_FAULT_INTERRUPT && at == 5) {
                continue; /* the job would have to close again */
            }
            CHECK_EQ(save(q_posix_port(&test_posix), temp, to, "old"), Q_OK);
            q_fault_init(&f, q_posix_port(&test_posix));
            CHECK(q_fault_add(&f, Q_FAULT_FILES, kinds[k], at, false));
            CHECK_EQ(save(&f.port, temp, to, "new"),
                     kinds[k] == Q_FAULT_INTERRUPT ? Q_ERR_INTERRUPTED : Q_ERR_IO);
            CHECK_EQ(q_fault_fired(&f), 1);
            read_text(to, text);
            CHECK(strcmp(text, "old") == 0);
            CHECK(unlink(temp) == (at == 1 ? -1 : 0));
            CHECK_EQ(unlink(to), 0);
        }
    }
    CHECK_EQ(test_count_fds(), fds);
}

static void fault_port_short_write_leaves_a_part(void)
{
    const char *temp = test_path("temp");
    q_fault_port f;
    q_port_file file = 0;
    char text[4];
    q_fault_init(&f, q_posix_port(&test_posix));
    CHECK(q_fault_add(&f, Q_FAULT_AT(Q_FAULT_WRITE), Q_FAULT_SHORT, 2, true));
    CHECK_EQ(f.port.file_open(f.port.user, temp, Q_OPEN_CREATE_NEW, &file), Q_OK);
    CHECK_EQ(f.port.file_write_at(f.port.user, file, 0, "abc", 3), Q_OK);
    CHECK_EQ(f.port.file_write_at(f.port.user, file, 0, "XYZ", 3), Q_ERR_IO);
    f.keep = 2;
    CHECK_EQ(f.port.file_write_at(f.port.user, file, 1, "uvw", 3), Q_ERR_IO);
    CHECK_EQ(f.port.file_close(f.port.user, file), Q_OK);
    read_text(temp, text);
    CHECK(strcmp(text, "Xuv") == 0);
    CHECK_EQ(q_fault_fired(&f), 2);
    CHECK_EQ(unlink(temp), 0);
}

static void fault_port_reads_and_sizes(void)
{
    const char *path = test_make_file("ten", 10);
    q_fault_port f;
    q_port_file file = 0;
    char got[10];
    uint64_t size = 0;
    q_fault_init(&f, q_posix_port(&test_posix));
    CHECK(q_fault_add(&f, Q_FAULT_AT(Q_FAULT_READ), Q_FAULT_SHORT, 1, false));
    CHECK(q_fault_add(&f, Q_FAULT_AT(Q_FAULT_READ), Q_FAULT_SILENT, 2, false));
    CHECK(q_fault_add(&f, Q_FAULT_AT(Q_FAULT_READ), Q_FAULT_DENY, 3, false));
    CHECK(q_fault_add(&f, Q_FAULT_AT(Q_FAULT_SIZE), Q_FAULT_SHORT, 2, false));
    CHECK_EQ(f.port.file_open(f.port.user, path, Q_OPEN_READ, &file), Q_OK);
    memset(got, 1, sizeof got);
    CHECK_EQ(f.port.file_read_at(f.port.user, file, 0, got, 10), Q_ERR_IO);
    CHECK(got[4] == 31 && got[5] == 1);
    CHECK_EQ(f.port.file_read_at(f.port.user, file, 0, got, 10), Q_OK);
    CHECK(got[0] == 0 && got[9] == 0);
    CHECK_EQ(f.port.file_read_at(f.port.user, file, 0, got, 10), Q_ERR_IO);
    CHECK_EQ(got[1], 10);
    CHECK_EQ(f.port.file_read_at(f.port.user, file, 0, got, 10), Q_OK);
    CHECK_EQ(f.port.file_size(f.port.user, file, &size), Q_OK);
    CHECK_EQ(size, 10);
    CHECK_EQ(f.port.file_size(f.port.user, file, &size), Q_OK);
    CHECK_EQ(size, 9);
    CHECK_EQ(f.port.file_close(f.port.user, file), Q_OK);
    CHECK_EQ(unlink(path), 0);
}

static void fault_port_rename_that_happens_but_denies_p12(void)
{
    const char *temp = test_path("temp");
    const char *to = test_path("to");
    q_fault_port f;
    char text[4];
    q_fault_init(&f, q_posix_port(&test_posix));
    CHECK(q_fault_add(&f, Q_FAULT_AT(Q_FAULT_REPLACE), Q_FAULT_DENY, 1, false));
    CHECK_EQ(save(&f.port, temp, to, "new"), Q_ERR_IO);
    read_text(to, text);
    CHECK(strcmp(text, "new") == 0);
    CHECK_EQ(f.port.file_remove(f.port.user, to), Q_OK);
    q_fault_repower(&f);
    CHECK(q_fault_add(&f, Q_FAULT_AT(Q_FAULT_REPLACE), Q_FAULT_SILENT, 1, false));
    CHECK_EQ(save(&f.port, temp, to, "new"), Q_OK);
    CHECK_EQ(access(to, F_OK), -1);
    CHECK_EQ(unlink(temp), 0);
}

static void fault_port_power_cut_ends_everything(void)
{
    const char *temp = test_path("temp");
    const char *to = test_path("to");
    q_fault_port f;
    q_port_file file = 0;
    uint64_t size = 0;
    q_fault_init(&f, q_posix_port(&test_posix));
    CHECK(q_fault_add(&f, Q_FAULT_AT(Q_FAULT_SYNC), Q_FAULT_CUT, 1, false));
    CHECK_EQ(save(&f.port, temp, to, "new"), Q_ERR_IO);
    CHECK(f.cut);
    CHECK_EQ(f.port.file_open(f.port.user, temp, Q_OPEN_READ, &file), Q_ERR_IO);
    CHECK_EQ(f.port.file_remove(f.port.user, temp), Q_ERR_IO);
    CHECK_EQ(access(temp, F_OK), 0);
    q_fault_repower(&f);
    CHECK_EQ(f.port.file_open(f.port.user, temp, Q_OPEN_READ, &file), Q_OK);
    CHECK_EQ(f.port.file_size(f.port.user, file, &size), Q_OK);
    CHECK_EQ(size, 3);
    CHECK_EQ(f.port.file_close(f.port.user, file), Q_OK);
    CHECK_EQ(f.port.file_remove(f.port.user, temp), Q_OK);
}

static void count_worker(void *arg, uint32_t worker, uint32_t n_workers)
{
    uint32_t *seen = (uint32_t *)arg;
    seen[worker] = n_workers;
}

static void fault_port_other_members(void)
{
    q_fault_port f;
    uint32_t seen[2] = { 0, 0 };
    uint32_t word = 3;
    const void *base = NULL;
    size_t size = 0;
    q_fault_init(&f, q_posix_port(&test_posix));
    CHECK(f.port.block_facts == NULL);
    CHECK_EQ(f.port.parallel(f.port.user, 2, count_worker, seen), 2);
    CHECK(seen[0] == 2 && seen[1] == 2);
    CHECK(f.port.ticks(f.port.user) != 0);
    CHECK_EQ(f.port.cpu_features(f.port.user), test_posix.features);
    CHECK(q_fault_add(&f, Q_FAULT_ALL, Q_FAULT_FAIL, 1, true));
    CHECK_EQ(f.port.parallel(f.port.user, 2, count_worker, seen), 1);
    CHECK(seen[0] == 1 && seen[1] == 2);
    CHECK_EQ(f.port.ticks(f.port.user), 0);
    CHECK_EQ(f.port.cpu_features(f.port.user), 0);
    CHECK_EQ(f.port.map(f.port.user, 0, &base, &size), Q_ERR_IO);
    CHECK_EQ(f.port.pin(f.port.user, &word, 4), Q_ERR_NOT_SUPPORTED);
    f.port.wait(f.port.user, &word, 3); /* would sleep for ever */
    f.port.wake(f.port.user, &word);
    CHECK(!q_fault_add(&f, Q_FAULT_ALL, Q_FAULT_FAIL, 0, true));
    for (int i = 1; i < Q_FAULT_RULES; i++) {
        CHECK(q_fault_add(&f, Q_FAULT_ALL, Q_FAULT_FAIL, 1, true));
    }
    CHECK(!q_fault_add(&f, Q_FAULT_ALL, Q_FAULT_FAIL, 1, true));
}

void test_fault_all(void)
{
    RUN(fault_port_without_rules_is_transparent);
    RUN(fault_port_breaks_every_call_once);
    RUN(fault_port_short_write_leaves_a_part);
    RUN(fault_port_reads_and_sizes);
    RUN(fault_port_rename_that_happens_but_denies_p12);
    RUN(fault_port_power_cut_ends_everything);
    RUN(fault_port_other_members);
}
