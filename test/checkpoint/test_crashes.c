/* SPDX-License-Identifier: MIT */
/* Power cuts in every place of a save, in slots and in files. test_crashes [SECTORS]: how many fates of single sectors are
   drawn for every call; the long run draws more. */
#include "crash.h"

#include <stdlib.h>
#include <string.h>

check_state check_now;

static uint32_t n_random = 1;
static uint64_t least_states = 10000;
static uint64_t states;
static uint64_t loaded;
static sim_fs fs;

static crash_options plain(bool files)
{
    crash_options o;
    memset(&o, 0, sizeof(o));
    o.files = files;
    o.facts = (q_block_facts){SIM_SECTOR, 1};
    o.saves = 1;
    o.depth = 1;
    o.random = n_random;
    return o;
}

static crash_counts run(const crash_options *o, int step)
{
    crash_counts c = crash_run(o, &fs, step);
    states += c.states;
    loaded += c.loaded;
    return c;
}

/* No invariant is broken. */
static void sound(const crash_options *o, int step)
{
    crash_counts c = run(o, step);
    for (uint32_t i = 1; i < 8; i++) {
        CHECK_EQ(c.broken[i], 0);
        if (c.broken[i] != 0) {
            (void)fprintf(stderr, "I%u, %s, from step %d, %u saves\n", i, o->files ? "files" : "slots", step, o->saves);
        }
    }
    CHECK(c.states > 10);
}

/* The first save of all, and later ones; after every other one the next save is cut too. */
static void cut_twice(bool files)
{
    crash_options o = plain(files);
    for (uint32_t saved = 0; saved < 4; saved++) {
        o.depth = saved % 2 == 0 ? 2 : 1;
        crash_prepare(&o, &fs, saved);
        sound(&o, (int)saved - 1);
    }
}

static void test_slots(void)
{
    cut_twice(false);
}

static void test_files(void)
{
    cut_twice(true);
}

/* Media with smaller and larger units, several saves in a row. */
static void test_units(void)
{
    static const q_block_facts facts[] = {{1, 1}, {4096, 1}, {512, 4096}};
    for (uint32_t i = 0; i < 3; i++) {
        crash_options o = plain(false);
        o.facts = facts[i];
        o.saves = 3;
        for (uint32_t saved = 0; saved < 4; saved++) {
            crash_prepare(&o, &fs, saved);
            sound(&o, (int)saved - 1);
        }
    }
}

/* A flush fails and what was not flushed may be lost for ever; the save after it succeeds. */
static void test_failed_flush(void)
{
    for (uint32_t files = 0; files < 2; files++) {
        for (uint32_t sync = 1; sync <= (files != 0 ? 1u : 3u); sync++) {
            crash_options o = plain(files != 0);
            o.saves = 3;
            o.fail_sync = sync;
            for (uint32_t saved = 0; saved < 3; saved++) {
                crash_prepare(&o, &fs, saved);
                sound(&o, (int)saved - 1);
            }
        }
    }
}

/* Renames that nothing makes durable: any of them may have happened, in any order. */
static void test_no_directory(void)
{
    crash_options o = plain(true);
    o.no_directory = true;
    o.saves = 2;
    for (uint32_t saved = 0; saved < 3; saved++) {
        crash_prepare(&o, &fs, saved);
        sound(&o, (int)saved - 1);
    }
}

/* No flush does anything: what is loaded is whole all the same, or an error says that nothing is. */
static void test_lies(void)
{
    for (uint32_t files = 0; files < 2; files++) {
        crash_options o = plain(files != 0);
        crash_counts c;
        o.lie_sync = UINT32_MAX;
        o.saves = 3;
        o.random = 100;
        crash_prepare(&o, &fs, 2);
        c = run(&o, 1);
        CHECK_EQ(c.broken[3], 0);
        CHECK_EQ(c.broken[5], 0);
        CHECK(c.broken[1] + c.broken[2] != 0); /* it was a lie */
        CHECK(c.broken[7] != 0);
    }
}

/* ---- Controls: each mistake shows --------------------------------------------------------------------------- */

static void shows(crash_options o, const char *what)
{
    uint64_t broken = 0;
    crash_counts c;
    crash_prepare(&o, &fs, 2);
    c = run(&o, 1);
    for (uint32_t i = 1; i < 8; i++) {
        broken += i == 5 ? 0 : c.broken[i];
    }
    CHECK(broken != 0);
    (void)printf("control: %s: %llu invariants broken in %llu cuts\n", what, (unsigned long long)broken,
                 (unsigned long long)c.states);
}

static void test_controls(void)
{
    static const char *const syncs[] = {"no flush of the zeros", "no flush of the payload", "no flush of the record"};
    crash_options o = plain(false);
    for (uint32_t i = 0; i < 3; i++) {
        o.lie_sync = i + 1;
        shows(o, syncs[i]);
    }
    o = plain(false);
    o.mistake = CRASH_NO_ZEROS;
    shows(o, "the old record is left while its payload is overwritten");
    o.mistake = CRASH_COMMIT_FIRST;
    shows(o, "the record before the payload");
    o = plain(true);
    o.lie_sync = 1;
    shows(o, "a file renamed before it is flushed");
}

static void test_number(void)
{
    CHECK(states >= least_states);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        n_random = (uint32_t)strtoul(argv[1], NULL, 10);
        least_states = 1000000;
    }
    RUN(test_slots);
    RUN(test_files);
    RUN(test_units);
    RUN(test_failed_flush);
    RUN(test_no_directory);
    RUN(test_lies);
    RUN(test_controls);
    RUN(test_number);
    (void)printf("%llu power cuts, a checkpoint loaded after %llu\n", (unsigned long long)states, (unsigned long long)loaded);
    crash_end();
    return check_summary();
}
