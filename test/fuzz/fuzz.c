/* SPDX-License-Identifier: MIT */
/*
 * fuzz.c: replays the corpora, compares each verdict with the recorded one, then makes mutants from a seed.
 *
 *   fuzz [-r ROUNDS] [-s SEED] [-t TARGET] [--record|--grow] FOLDER
 *
 * FOLDER holds, for each target, a folder of inputs and a list of verdicts TARGET.txt, one line an input: name,
 * code, offset, need, have, field, what; --record writes the lists. --grow adds a mutant to the inputs wherever its
 * code, field and kind of `what` are new, or it is the smallest to get them: each verdict is then in the corpus, whatever
 * coverage a compiler sees. An input that ends the program is written to build/fuzz-TARGET.bad first, where a sanitizer or
 * abort() leaves time for it.
 */
#define _DEFAULT_SOURCE
#include "fuzz.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

enum { MAX_FILES = 4096, LINE = 512 };

typedef struct options {
    uint32_t rounds;
    uint64_t seed;
    const char *only;
    const char *folder;
    bool record;
    bool grow;
} options;

static const fuzz_target *running;
static uint8_t input[FUZZ_MAX_INPUT];
static size_t input_size;
static int good_inputs[MAX_FILES]; /* those of the running target that were accepted */
static size_t n_good;
static unsigned passed;
static unsigned failed;

/* ---- What ends the program ----------------------------------------------------------------------------------- */

static void keep_input(void)
{
    char name[64];
    FILE *f;
    if (running == NULL) {
        return;
    }
    (void)snprintf(name, sizeof(name), "build/fuzz-%s.bad", running->name);
    f = fopen(name, "wb");
    if (f != NULL) {
        (void)fwrite(input, 1, input_size, f);
        (void)fclose(f);
        (void)fprintf(stderr, "input of %zu bytes written to %s\n", input_size, name);
    }
}

static void on_signal(int number)
{
    (void)signal(number, SIG_DFL);
    keep_input();
    (void)raise(number);
}

/* ---- Files --------------------------------------------------------------------------------------------------- */

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static bool load(const char *folder, const char *target, const char *name)
{
    char path[1024];
    FILE *f;
    (void)snprintf(path, sizeof(path), "%s/%s/%s", folder, target, name);
    f = fopen(path, "rb");
    if (f == NULL) {
        return false;
    }
    input_size = fread(input, 1, sizeof(input), f);
    (void)fclose(f);
    return true;
}

/* ---- New verdicts -------------------------------------------------------------------------------------------- */

/* A verdict, and the smallest input that gets it. */
typedef struct verdict {
    uint64_t key;
    size_t size;
} verdict;

static verdict known[MAX_FILES];
static uint32_t n_known;

/* Whether no input as small got this code and field, and this `what` as far as it is no name from the file. */
static bool is_new(const q_diag *d, uint64_t *key)
{
    static const char fixed[][12] = {"header", "tensors", "names", "strings", "arch", "graph", "meta", "data"};
    uint64_t h = 1469598103934665603u ^ (uint64_t)(uint32_t)d->code;
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        h = (h ^ (strcmp(fixed[i], d->what) == 0 ? i + 1 : 0)) * 1099511628211u;
    }
    for (const char *c = d->field; *c != '\0'; c++) {
        h = (h ^ (uint64_t)(uint8_t)*c) * 1099511628211u;
    }
    *key = h;
    for (uint32_t i = 0; i < n_known; i++) {
        if (known[i].key == h) {
            bool smaller = input_size < known[i].size;
            known[i].size = smaller ? input_size : known[i].size;
            return smaller;
        }
    }
    if (n_known < MAX_FILES) {
        known[n_known].key = h;
        known[n_known++].size = input_size;
    }
    return true;
}

static void keep_new(const options *o, const char *target, uint64_t key)
{
    char path[1024];
    FILE *f;
    (void)snprintf(path, sizeof(path), "%s/%s/%016llx", o->folder, target, (unsigned long long)key);
    f = fopen(path, "wb");
    if (f != NULL) {
        (void)fwrite(input, 1, input_size, f);
        (void)fclose(f);
    }
}

/* ---- Verdicts ------------------------------------------------------------------------------------------------ */

/* A name in the report may be any text of the file: what is not plain ASCII is shown as '?'. */
static void verdict_line(char line[LINE], const char *name, const q_diag *d)
{
    char what[sizeof(d->what)];
    size_t i = 0;
    for (; d->what[i] != '\0'; i++) {
        what[i] = d->what[i] >= ' ' && d->what[i] <= '~' ? d->what[i] : '?';
    }
    what[i] = '\0';
    (void)snprintf(line, LINE, "%s\t%d\t%llu\t%llu\t%llu\t%s\t%s\n", name, (int)d->code,
                   (unsigned long long)d->offset, (unsigned long long)d->need, (unsigned long long)d->have, d->field,
                   what);
}

static void compare(FILE *list, const char *line)
{
    char expected[LINE];
    bool same = fgets(expected, sizeof(expected), list) != NULL && strcmp(expected, line) == 0;
    passed += same ? 1u : 0u;
    failed += same ? 0u : 1u;
    if (!same) {
        (void)printf("FAIL verdict %s     not %s", line, feof(list) != 0 ? "in the list\n" : expected);
    }
}

static void replay(const options *o, const fuzz_target *target, struct dirent **files, int n)
{
    char path[1024];
    char line[LINE];
    FILE *list;
    (void)snprintf(path, sizeof(path), "%s/%s.txt", o->folder, target->name);
    list = fopen(path, o->record ? "wb" : "rb");
    if (list == NULL) {
        (void)printf("FAIL cannot open %s\n", path);
        failed++;
        return;
    }
    for (int i = 0; i < n; i++) {
        q_diag d;
        uint64_t key;
        if (!load(o->folder, target->name, files[i]->d_name)) {
            failed++;
            continue;
        }
        target->run(input, input_size, &d);
        (void)is_new(&d, &key);
        if (d.code == Q_OK) {
            good_inputs[n_good++] = i;
        }
        verdict_line(line, files[i]->d_name, &d);
        if (o->record) {
            (void)fputs(line, list);
            passed++;
        } else {
            compare(list, line);
        }
    }
    if (!o->record && fgets(line, sizeof(line), list) != NULL) {
        (void)printf("FAIL %s lists more inputs than there are\n", path);
        failed++;
    }
    (void)fclose(list);
}

/* ---- Mutants ------------------------------------------------------------------------------------------------- */

/* Each round takes an input of the corpus, most often a good one, and changes it a few times, running every one. */
static void mutate(const options *o, const fuzz_target *target, struct dirent **files, int n)
{
    fuzz_random r = {o->seed};
    uint32_t good = 0;
    uint32_t i = 0;
    while (i < o->rounds && n != 0) {
        uint32_t steps = 1 + fuzz_below(&r, 6);
        int pick = n_good != 0 && !fuzz_once_in(&r, 4) ? good_inputs[fuzz_below(&r, n_good)]
                                                        : (int)fuzz_below(&r, (size_t)n);
        if (!load(o->folder, target->name, files[pick]->d_name)) {
            break;
        }
        for (; steps > 0 && i < o->rounds; steps--, i++) {
            q_diag d;
            uint64_t key;
            input_size = target->mutate(input, input_size, sizeof(input), &r);
            target->run(input, input_size, &d);
            good += d.code == Q_OK ? 1u : 0u;
            if (o->grow && is_new(&d, &key)) {
                keep_new(o, target->name, key);
            }
        }
    }
    (void)printf("%-9s %d inputs, %u mutants from seed %llu, %u of them accepted\n", target->name, n, i,
                 (unsigned long long)o->seed, good);
    passed += i == o->rounds && (o->rounds < 1000 || (good != 0 && good != i)) ? 1u : 0u;
    failed += i == o->rounds && (o->rounds < 1000 || (good != 0 && good != i)) ? 0u : 1u;
}

static void run_target(const options *o, const fuzz_target *target)
{
    struct dirent **files;
    char path[1024];
    int n;
    (void)snprintf(path, sizeof(path), "%s/%s", o->folder, target->name);
    n = scandir(path, &files, not_hidden, alphasort);
    if (n < 0 || n > MAX_FILES) {
        (void)printf("FAIL cannot read %s\n", path);
        failed++;
        return;
    }
    running = target;
    n_known = 0;
    n_good = 0;
    replay(o, target, files, n);
    if (!o->record) {
        mutate(o, target, files, n);
    }
    running = NULL;
    for (int i = 0; i < n; i++) {
        free(files[i]);
    }
    free(files);
}

static bool parse(options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "-r") == 0 && more) {
            o->rounds = (uint32_t)strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "-s") == 0 && more) {
            o->seed = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "-t") == 0 && more) {
            o->only = argv[++i];
        } else if (strcmp(argv[i], "--record") == 0) {
            o->record = true;
        } else if (strcmp(argv[i], "--grow") == 0) {
            o->grow = true;
        } else if (argv[i][0] != '-' && o->folder == NULL) {
            o->folder = argv[i];
        } else {
            return false;
        }
    }
    return o->folder != NULL && (o->only == NULL || fuzz_find(o->only) != NULL);
}

int main(int argc, char **argv)
{
    static const fuzz_target *const all[] = {&fuzz_file, &fuzz_tokenizer, &fuzz_snapshot};
    options o = {0, 1, NULL, NULL, false, false};
    if (!parse(&o, argc, argv)) {
        (void)fprintf(stderr, "usage: fuzz [-r ROUNDS] [-s SEED] [-t file|tokenizer|snapshot] [--record|--grow] FOLDER\n");
        return 2;
    }
    (void)signal(SIGABRT, on_signal);
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(keep_input);
    } else {
        (void)signal(SIGSEGV, on_signal);
        (void)signal(SIGFPE, on_signal);
    }
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (o.only == NULL || strcmp(o.only, all[i]->name) == 0) {
            run_target(&o, all[i]);
        }
    }
    (void)printf("%u passed, %u failed, 0 skipped\n", passed, failed);
    return failed != 0;
}
