/* SPDX-License-Identifier: MIT */
/* Every call of a save and of a load that touches a file, broken in every way, once and from then on. */
#include "medium.h"

#include <string.h>

#include "test/port/fault_port.h"

enum { KINDS = 6 };

static q_fault_port faults;
static uint64_t visited;

/* Files opened and not given back, well or not. */
static void count_open(void *arg, const q_fault_event *e)
{
    int *open = (int *)arg;
    *open += e->op == Q_FAULT_OPEN && e->result == Q_OK ? 1 : 0;
    *open -= e->op == Q_FAULT_CLOSE && e->result != Q_ERR_INTERRUPTED ? 1 : 0;
}

static int n_open;

static void break_port(q_checkpoint_place *p, q_fault_kind kind, uint64_t at, bool forever)
{
    n_open = 0;
    q_fault_init(&faults, &medium.port);
    faults.record = count_open;
    faults.record_arg = &n_open;
    p->port = &faults.port;
    CHECK(q_fault_add(&faults, Q_FAULT_FILES, kind, at, forever));
}

typedef struct fault {
    q_fault_kind kind;
    uint64_t at;
    bool forever;
} fault;

/* Save 2 with one fault; what stands there then, and that a later save succeeds. False: no call was broken. */
static bool broken_save(bool files, const fault *f)
{
    q_checkpoint_place p = medium_start(files, 2);
    q_checkpoint_info info;
    q_error_code e;
    q_diag d;
    int step;
    break_port(&p, f->kind, f->at, f->forever);
    e = medium_save(&p, 2);
    if (q_fault_fired(&faults) == 0) {
        CHECK_EQ(e, Q_OK);
        return false;
    }
    visited++;
    q_fault_repower(&faults);
    CHECK_EQ(rig_step(&medium_writer), 2);
    CHECK(n_open == 0 || f->kind == Q_FAULT_INTERRUPT);
    step = medium_load(files, &info, &d);
    if (step != 2 && (e == Q_OK || step != 1)) {
        (void)fprintf(stderr, "%s: kind %d at %llu%s: save %d, then loads step %d\n", files ? "files" : "slots", (int)f->kind,
                      (unsigned long long)f->at, f->forever ? " and on" : "", (int)e, step);
        CHECK(false);
    }
    CHECK_EQ(medium_save(&p, 3), Q_OK);
    CHECK_EQ(medium_load(files, &info, &d), 3);
    CHECK(sim_find(&medium.fs, MEDIUM_PATH Q_CHECKPOINT_TEMP) == NULL);
    return true;
}

/* A load with one fault: a whole checkpoint or an error. */
static bool broken_load(bool files, const fault *f)
{
    q_checkpoint_place p = medium_start(files, 2);
    q_checkpoint_info info;
    uint32_t writes = medium.log.n;
    q_error_code e;
    q_diag d;
    break_port(&p, f->kind, f->at, f->forever);
    rig_wipe(&medium_reader);
    e = rig_load(&medium_reader, &p, &info, &d);
    if (q_fault_fired(&faults) == 0) {
        CHECK_EQ(e, Q_OK);
        return false;
    }
    visited++;
    q_fault_repower(&faults);
    CHECK(n_open == 0 || f->kind == Q_FAULT_INTERRUPT);
    CHECK_EQ(medium.log.n, writes);
    if (e == Q_OK) {
        int step = rig_step(&medium_reader);
        CHECK(step == 1 || (step == 0 && (info.passed_over != Q_OK || f->kind == Q_FAULT_SILENT)));
    } else {
        CHECK(rig_wiped(&medium_reader) || strcmp(d.field, "session undefined") == 0);
    }
    CHECK_EQ(medium_load(files, &info, &d), 1);
    return true;
}

static void walk(bool (*visit)(bool files, const fault *f))
{
    for (uint32_t i = 0; i < 4 * KINDS; i++) {
        fault f = {(q_fault_kind)(i / 4), 1, i % 2 != 0};
        while (visit(i / 2 % 2 != 0, &f)) {
            f.at++;
        }
    }
}

static void faults_in_saves(void)
{
    walk(broken_save);
}

static void faults_in_loads(void)
{
    walk(broken_load);
}

/* An interrupted call did nothing and is made again. */
static void interrupts(void)
{
    for (uint32_t files = 0; files < 2; files++) {
        for (uint64_t at = 1; at < 30; at++) {
            q_checkpoint_place p = medium_start(files != 0, 1);
            break_port(&p, Q_FAULT_INTERRUPT, at, false);
            CHECK_EQ(medium_save(&p, 1), Q_OK);
            CHECK_EQ(rig_save(&medium_writer, &p), Q_OK);
        }
    }
}

void checkpoint_faults(void)
{
    RUN(faults_in_saves);
    RUN(faults_in_loads);
    RUN(interrupts);
    (void)printf("%llu faults\n", (unsigned long long)visited);
    CHECK(visited > 500);
}
