/* SPDX-License-Identifier: MIT */
/*
 * Ports that fail while a snapshot is saved or loaded, files that change under a load, and a load within a step.
 */
#include <string.h>
#include <unistd.h>

#include "snapshot_rig.h"
#include "test/port/fault_port.h"

static bool temp_exists(void)
{
    char temp[300];
    (void)snprintf(temp, sizeof(temp), "%s%s", path, Q_SNAPSHOT_TEMP);
    return access(temp, F_OK) == 0;
}

static q_error_code save_broken(q_session *s, q_fault_port *f)
{
    q_diag d;
    int32_t ids[PROMPT];
    q_snapshot_info info = history(ids, s);
    return q_snapshot_save(s, &f->port, path, this_model, &info, work, &d);
}

/* Whatever call breaks, and however, the name holds the old file or the whole new one. */
static void test_save_faults(void)
{
    static const q_fault_kind kinds[] = {Q_FAULT_FAIL, Q_FAULT_SHORT, Q_FAULT_INTERRUPT,
                                         Q_FAULT_DENY, Q_FAULT_CUT};
    static unsigned char old[64];
    q_session *s = tiny_session(&plain, 40, Q_PRECISION_EXACT);
    q_real logits[VOCAB];
    unsigned failed = 0;
    unsigned kept = 0;
    make_good();
    memset(old, 'o', sizeof(old));
    tiny_feed(s, PROMPT, logits);
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        for (uint64_t at = 1;; at++) {
            q_fault_port f;
            q_error_code e;
            size_t n;
            q_fault_init(&f, q_posix_port(&posix));
            CHECK(q_fault_add(&f, Q_FAULT_FILES, kinds[k], at, false));
            write_bytes(path, old, sizeof(old));
            e = save_broken(s, &f);
            if (q_fault_fired(&f) == 0) {
                CHECK_EQ(e, Q_OK);
                break;
            }
            n = read_bytes(path, bad, sizeof(bad));
            failed += e != Q_OK ? 1u : 0u;
            kept += n == sizeof(old) ? 1u : 0u;
            CHECK((n == sizeof(old) && memcmp(bad, old, n) == 0) ||
                  (n == n_good && memcmp(bad, good, n) == 0));
            CHECK(e == Q_OK ? n == n_good : true);
            if (kinds[k] != Q_FAULT_CUT) {
                CHECK(!temp_exists() || e == Q_OK || kinds[k] == Q_FAULT_DENY);
            }
            q_fault_repower(&f);
            CHECK_EQ(save_broken(s, &f), Q_OK); /* leftovers do not stand in the way */
            CHECK(!temp_exists());
        }
    }
    CHECK(failed > 25 && kept > 25);
    (void)unlink(path);
}

static void test_load_faults(void)
{
    static const q_fault_kind kinds[] = {Q_FAULT_FAIL, Q_FAULT_SHORT, Q_FAULT_SILENT, Q_FAULT_CUT};
    q_session *s = at_five();
    unsigned untouched = 0;
    unsigned reset = 0;
    q_diag d;
    make_good();
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        for (uint64_t at = 1;; at++) {
            q_fault_port f;
            q_error_code e;
            q_fault_init(&f, q_posix_port(&posix));
            CHECK(q_fault_add(&f, Q_FAULT_FILES & ~Q_FAULT_AT(Q_FAULT_CLOSE), kinds[k], at, false));
            e = load_with(s, &f.port, this_model, &d);
            if (q_fault_fired(&f) == 0) {
                CHECK_EQ(e, Q_OK);
                break;
            }
            CHECK(e != Q_OK);
            if (strcmp(d.field, "session reset") == 0) {
                q_session *fresh = tiny_session(&plain, 40, Q_PRECISION_EXACT);
                q_real want[VOCAB];
                q_real got[VOCAB];
                CHECK_EQ(q_session_position(s), 0);
                tiny_feed(s, 5, got);
                tiny_feed(fresh, 5, want);
                CHECK(memcmp(want, got, sizeof(want)) == 0);
                reset++;
            } else {
                CHECK_EQ(q_session_position(s), 5);
                refused(s, q_posix_port(&posix), other_model, Q_ERR_MISMATCH, "model");
                untouched++;
            }
        }
        CHECK_EQ(q_session_rewind(s, 0, &d), Q_OK);
        {
            q_real got[VOCAB];
            tiny_feed(s, 5, got);
        }
    }
    CHECK(untouched >= 10 && reset >= 10);
}

/* A file that changes between the two readings. */
static void change_file(void *arg, const q_fault_event *e)
{
    unsigned *reads = (unsigned *)arg;
    if (e->op == Q_FAULT_READ && e->offset + e->n == n_good && ++*reads == 1) {
        memcpy(bad, good, n_good);
        bad[n_good - 40] ^= 1;
        write_bytes(path, bad, n_good);
    }
}

static void test_changed_between(void)
{
    q_session *s = at_five();
    unsigned reads = 0;
    q_fault_port f;
    q_diag d;
    make_good();
    q_fault_init(&f, q_posix_port(&posix));
    f.record = change_file;
    f.record_arg = &reads;
    CHECK_EQ(load_with(s, &f.port, this_model, &d), Q_ERR_HASH);
    CHECK(strcmp(d.field, "session reset") == 0);
    CHECK_EQ(q_session_position(s), 0);
}

/* What the observer of a step is told when it loads a snapshot into the session that runs. */
typedef struct within {
    q_session *session;
    q_error_code code;
    q_diag diag;
} within;

static q_error_code load_within(void *user, const q_observation *seen)
{
    within *w = (within *)user;
    (void)seen;
    w->code = load(w->session, &w->diag);
    return Q_OK;
}

static void test_within_a_step(void)
{
    within w = {.session = at_five(), .code = Q_OK};
    q_session_config c;
    q_real logits[VOCAB];
    q_diag d;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.observe = load_within;
    c.user = &w;
    make_good();
    CHECK_EQ(q_session_configure(w.session, &c, &d), Q_OK);
    tiny_feed(w.session, 1, logits);
    CHECK_EQ(w.code, Q_ERR_INVALID_STATE);
    CHECK(w.diag.need == 0 && w.diag.have == 1);
    CHECK_EQ(q_session_position(w.session), 6);
}

void snapshot_faults(void)
{
    RUN(test_save_faults);
    RUN(test_load_faults);
    RUN(test_changed_between);
    RUN(test_within_a_step);
}
