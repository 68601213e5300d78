/* SPDX-License-Identifier: MIT */
/*
 * Power cuts: after every call of a save, with every fate of the call that ran and of all that was not flushed; then the
 * power comes back, what stands there is loaded and compared, the training goes on, and its next save is cut the same way.
 *
 *   I1  loaded is one of the checkpoints that may be there, bit for bit      I2  the one whose save returned Q_OK, or a newer one
 *   I3  nothing else: no mixture of two                                     I4  a later save succeeds
 *   I5  no file stays open, none beside those of the protocol, loading writes nothing
 *   I6  the training that goes on makes the step of the one that never stopped
 *   I7  a record that holds never stands before a payload that does not
 */
#include "crash.h"

#include <stdio.h>
#include <string.h>

enum { MOST_SUBSETS = 12, DEPTHS = 2, CRASH_SLOT = SIM_BYTES / 2 / 4096 * 4096 };

/* A machine, the medium it started with, and after how many calls which checkpoint must and may be there. */
typedef struct level {
    sim_fs before;
    sim_port machine;
    q_checkpoint_place place;
    int least[SIM_OPS + 1];
    int most[SIM_OPS + 1];
} level;

static level levels[DEPTHS];
static sim_fs left;       /* of a power cut */
static sim_port loading;
static rig writer;
static rig reader;
static bool opened;
static uint64_t random_state = 99;

static crash_options options;
static crash_counts counts;

static uint64_t draw(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return random_state >> 24;
}

/* ---- Machines ----------------------------------------------------------------------------------------------- */

static q_checkpoint_place place_of(sim_port *m)
{
    q_checkpoint_place p;
    memset(&p, 0, sizeof(p));
    p.struct_size = sizeof(p);
    p.port = &m->port;
    m->facts = options.facts;
    p.slot_bytes = CRASH_SLOT;
    if (options.files) {
        p.path = CRASH_PATH;
    } else if (m->port.file_open(m, CRASH_AREA, Q_OPEN_READ_WRITE, &p.file) != Q_OK) {
        counts.broken[5]++;
    }
    return p;
}

static void start(level *l, const sim_fs *fs)
{
    sim_copy(&l->before, fs);
    sim_start(&l->machine, fs);
    l->place = place_of(&l->machine);
    for (uint32_t i = 0; i <= SIM_OPS; i++) {
        l->least[i] = l->most[i] = RIG_NONE;
    }
}

/* Saves the training after `step` steps; what its calls may leave. */
static q_error_code save(level *l, int step)
{
    uint32_t begin = l->machine.log.n;
    q_error_code e;
    int least = l->least[begin];
    rig_set(&writer, (uint32_t)step);
    e = rig_save(&writer, &l->place);
    for (uint32_t i = begin + 1; i <= SIM_OPS; i++) {
        l->most[i] = step;
        l->least[i] = e == Q_OK && i >= l->machine.log.n ? step : least;
    }
    l->least[begin] = least;
    if (e == Q_OK && l->machine.log.n == begin) {
        l->least[begin] = step;
    }
    return e;
}

static void expect_at_start(level *l, int step)
{
    for (uint32_t i = 0; i <= SIM_OPS; i++) {
        l->least[i] = l->most[i] = step;
    }
}

/* Only files of the protocol. */
static bool tidy(const sim_fs *fs)
{
    bool good = true;
    for (uint32_t i = 0; i < SIM_NAMES; i++) {
        const char *name = fs->names[i].name;
        good = good && (fs->names[i].file == SIM_FILES || strcmp(name, CRASH_AREA) == 0 || strcmp(name, CRASH_PATH) == 0 ||
                        strcmp(name, CRASH_PATH Q_CHECKPOINT_PREVIOUS) == 0);
    }
    return good;
}

/* ---- After a cut -------------------------------------------------------------------------------------------- */

static void enumerate(uint32_t depth);

/* The next save, from what was loaded, and its own cuts. */
static void go_on(uint32_t depth, int step)
{
    level *l = &levels[depth];
    start(l, &left);
    expect_at_start(l, step);
    if (step + 1 >= RIG_STEPS) {
        return;
    }
    if (step != RIG_NONE) {
        counts.broken[6] += rig_advance(&reader) == step + 1 ? 0 : 1;
    }
    counts.broken[4] += save(l, step + 1) == Q_OK ? 0 : 1;
    counts.broken[5] += tidy(&l->machine.fs) && l->machine.opened == (options.files ? 0 : 1) ? 0 : 1;
    enumerate(depth);
}

/* Does the slot that was not taken hold a record whose payload is another? */
static bool other_promises(uint32_t taken)
{
    q_checkpoint_place p;
    q_checkpoint_info info;
    q_diag d;
    sim_file *area = sim_find(&loading.fs, CRASH_AREA);
    memset(area->bytes + (taken == 0 ? 0 : CRASH_SLOT), 0, Q_CHECKPOINT_RECORD);
    p = place_of(&loading);
    return q_checkpoint_look(&p, &info, NULL, 0, rig_work, &d) == Q_ERR_HASH;
}

/* Loads from `left`, where a checkpoint from `least` to `most` must be. */
static void look(uint32_t depth, int least, int most)
{
    q_checkpoint_place p;
    q_checkpoint_info info;
    q_error_code e;
    q_diag d;
    int step = RIG_NONE;
    sim_start(&loading, &left);
    p = place_of(&loading);
    rig_wipe(&reader);
    memset(&info, 0, sizeof(info));
    e = rig_load(&reader, &p, &info, &d);
    counts.states++;
    if (e == Q_OK) {
        step = rig_step(&reader);
        counts.broken[3] += step == RIG_NONE ? 1 : 0;
    } else {
        counts.broken[3] += rig_wiped(&reader) ? 0 : 1;
        counts.broken[1] += least != RIG_NONE ? 1 : 0;
    }
    counts.loaded += step != RIG_NONE ? 1 : 0;
    counts.broken[2] += step < least ? 1 : 0;
    counts.broken[1] += step > most ? 1 : 0;
    counts.broken[7] += e == Q_ERR_HASH || info.passed_over == Q_ERR_HASH ? 1 : 0;
    counts.broken[5] += loading.n_writes == 0 && loading.n_syncs == 0 && loading.opened == (options.files ? 0 : 1) ? 0 : 1;
    counts.broken[7] += e == Q_OK && !options.files && other_promises(info.newest) ? 1 : 0;
    if (depth + 1 < options.depth && (e == Q_OK || e == Q_ERR_NOT_FOUND)) {
        go_on(depth + 1, step);
    }
}

/* ---- Every cut ---------------------------------------------------------------------------------------------- */

static void visit(uint32_t depth, sim_end *end, uint32_t done)
{
    level *l = &levels[depth];
    end->returned = done;
    sim_cut(&l->before, &l->machine.log, end, &left);
    look(depth, l->least[done], l->most[end->n]);
}

static uint32_t sectors_of(const sim_op *op)
{
    return op->kind == SIM_WRITE ? (op->n + SIM_SECTOR - 1) / SIM_SECTOR : 1;
}

/* Which of n calls the i-th choice keeps: of few every subset, of many each alone, all but each, none, all. */
static uint64_t choice(uint32_t n, uint64_t i)
{
    if (n <= MOST_SUBSETS) {
        return i;
    }
    return i < n ? (uint64_t)1 << i : i < 2 * n ? ~((uint64_t)1 << (i - n)) : i == 2 * n ? 0 : ~(uint64_t)0;
}

/* Subsets of what was not flushed; and all of it, the last first. */
static void subsets(uint32_t depth, sim_end *end, const uint32_t *waiting, uint32_t n, uint32_t done)
{
    uint64_t all = n <= MOST_SUBSETS ? (uint64_t)1 << n : 2 * (uint64_t)n + 2;
    for (uint64_t i = 0; i < all; i++) {
        uint64_t mask = choice(n, i);
        for (uint32_t k = 0; k < n; k++) {
            end->fate[waiting[k]] = (mask >> k & 1) != 0 ? SIM_DONE : SIM_LOST;
        }
        visit(depth, end, done);
    }
    if (n > 1) {
        end->backwards = true;
        visit(depth, end, done);
        end->backwards = false;
    }
}

/* Some sectors of some calls. */
static void at_random(uint32_t depth, sim_end *end, const uint32_t *waiting, uint32_t n, uint32_t done)
{
    const sim_log *log = &levels[depth].machine.log;
    bool running = done < log->n && log->ops[done].kind != SIM_SYNC;
    end->n = done + (running ? 1 : 0);
    for (uint32_t i = 0; i < options.random && (n != 0 || running); i++) {
        for (uint32_t k = 0; k < n + (running ? 1 : 0); k++) {
            uint32_t op = k < n ? waiting[k] : done;
            end->fate[op] = log->ops[op].kind == SIM_WRITE ? SIM_SECTORS : draw() % 2 != 0 ? SIM_DONE : SIM_LOST;
            end->sectors[op] = draw();
        }
        visit(depth, end, done);
    }
}

/* `done` calls have returned and the next one, if there is one, is being made. */
static void cuts_after(uint32_t depth, uint32_t done)
{
    const sim_log *log = &levels[depth].machine.log;
    const sim_op *running = done < log->n && log->ops[done].kind != SIM_SYNC ? &log->ops[done] : NULL;
    uint32_t waiting[SIM_OPS] = {0};
    uint32_t n = 0;
    sim_end end;
    memset(&end, 0, sizeof(end));
    for (uint32_t i = 0; i < done; i++) {
        end.fate[i] = SIM_DONE;
        if (!sim_durable(log, i, done)) {
            waiting[n++] = i;
        }
    }
    end.n = done;
    subsets(depth, &end, waiting, n, done);
    if (running != NULL) {
        uint32_t sectors = sectors_of(running);
        end.n = done + 1;
        end.fate[done] = SIM_DONE;
        subsets(depth, &end, waiting, n, done);
        for (uint32_t i = 0; i < sectors && running->kind == SIM_WRITE; i++) {
            end.sectors[done] = ((uint64_t)1 << i) - 1;
            end.fate[done] = SIM_GARBAGE;
            end.garbage = i;
            subsets(depth, &end, waiting, n, done);
            if (i != 0) {
                end.fate[done] = SIM_SECTORS;
                subsets(depth, &end, waiting, n, done);
            }
        }
    }
    at_random(depth, &end, waiting, n, done);
}

static void enumerate(uint32_t depth)
{
    for (uint32_t done = 0; done <= levels[depth].machine.log.n; done++) {
        cuts_after(depth, done);
    }
}

/* ---- Controls: a protocol with a mistake -------------------------------------------------------------------- */

static void drop_op(level *l, uint32_t at)
{
    sim_log *log = &l->machine.log;
    memmove(&log->ops[at], &log->ops[at + 1], (log->n - at - 1) * sizeof(log->ops[0]));
    memmove(&l->least[at], &l->least[at + 1], (SIM_OPS - at) * sizeof(l->least[0]));
    memmove(&l->most[at], &l->most[at + 1], (SIM_OPS - at) * sizeof(l->most[0]));
    log->n--;
}

/* The record and its sync before the payload. */
static void commit_first(level *l)
{
    sim_log *log = &l->machine.log;
    sim_op record = log->ops[log->n - 2];
    sim_op sync = log->ops[log->n - 1];
    memmove(&log->ops[4], &log->ops[2], (log->n - 4) * sizeof(log->ops[0]));
    log->ops[2] = record;
    log->ops[3] = sync;
}

static void make_mistake(level *l, crash_mistake mistake)
{
    if (mistake == CRASH_NO_ZEROS) {
        drop_op(l, 1);
        drop_op(l, 0);
    } else if (mistake == CRASH_COMMIT_FIRST) {
        commit_first(l);
    }
}

/* ---- Scenarios ---------------------------------------------------------------------------------------------- */

crash_counts crash_run(const crash_options *o, const sim_fs *fs, int step)
{
    level *l = &levels[0];
    q_train_config config = rig_config();
    if (!opened) {
        rig_open(&writer, &config);
        rig_open(&reader, &config);
        opened = true;
    }
    options = *o;
    memset(&counts, 0, sizeof(counts));
    start(l, fs);
    expect_at_start(l, step);
    l->machine.fail_sync = o->fail_sync;
    l->machine.lie_sync = o->lie_sync;
    l->machine.no_directory = o->no_directory;
    for (uint32_t i = 1; i <= o->saves; i++) {
        q_error_code e = save(l, step + (int)i);
        bool may_fail = (o->fail_sync != 0 && i == 1 && e == Q_ERR_IO) || (o->no_directory && e == Q_ERR_NOT_SUPPORTED);
        counts.broken[4] += e == Q_OK || may_fail ? 0 : 1;
    }
    make_mistake(l, o->mistake);
    enumerate(0);
    return counts;
}

void crash_prepare(const crash_options *o, sim_fs *fs, uint32_t saves)
{
    crash_options plain = *o;
    plain.saves = saves;
    plain.depth = 0;
    plain.fail_sync = plain.lie_sync = 0;
    plain.no_directory = false;
    sim_format(fs);
    if (!o->files) {
        (void)sim_make(fs, CRASH_AREA, SIM_BYTES);
    }
    if (saves != 0) {
        crash_counts unused = crash_run(&plain, fs, RIG_NONE);
        (void)unused;
        sim_copy(fs, &levels[0].machine.fs);
    }
}

void crash_end(void)
{
    if (opened) {
        rig_close(&writer);
        rig_close(&reader);
    }
}
