/* SPDX-License-Identifier: MIT */
/*
 * Trainings against PyTorch's of the same networks, data and recipes (vectors/train): losses, norms of gradients, and
 * parameters at the end; and the same bits of all parameters after 100 steps, whatever computes them, as committed.
 *
 *   test_trajectories [--brief] FOLDER FINGERPRINTS   --brief: one worker only
 *   test_trajectories print FOLDER                    the lines for fingerprints.txt
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tools/common/backends.h"
#include "trajectory.h"

#ifdef Q_REAL_DOUBLE
static const double relative = 1e-9;
#else
static const double relative = 1e-4;
#endif

enum { HASHED_STEPS = 100 };

static int passed;
static int failed;
static int skipped;

static void expect(bool ok, const char *name, const char *recipe, const char *what)
{
    passed += ok ? 1 : 0;
    failed += ok ? 0 : 1;
    if (!ok) {
        printf("FAIL %s, %s: %s\n", name, recipe, what);
    }
}

/* ---- Against PyTorch -------------------------------------------------------------------------------------- */

static double gap(double got, double want, double size)
{
    return fabs(got - want) / fabs(size);
}

static double larger(double a, double b)
{
    return b > a || b != b ? b : a;
}

/* How far a parameter's sum and norm are from those the file has for its name. */
static double param_gap(const bench *b, q_param p, const record *want)
{
    const char *name = q_model_param_name(b->model, p);
    double sum = 0;
    double squares = 0;
    q_diag d;
    q_tensor t;
    size_t n;
    if (q_session_param(b->session, p, &t, &d) != Q_OK) {
        return (double)INFINITY;
    }
    n = (size_t)t.ne[2] * t.ne[3];
    for (size_t i = 0; i < n; i++) {
        double w = (double)((const q_real *)t.data)[i];
        sum += w;
        squares += w * w;
    }
    /* the first records of a file are its parameters and buffers, one for every row of `want` */
    for (uint32_t i = 0; i < want->rows; i++) {
        const double *x = (const double *)want->data + 2 * (size_t)i;
        record r = trajectory_record(b->t, i);
        if (strcmp(strchr(r.name, '/') + 1, name) == 0) {
            return larger(gap(sqrt(squares), x[1], x[1]), gap(sum, x[0], x[1] * sqrt((double)n)));
        }
    }
    return (double)INFINITY;
}

static double final_gap(const bench *b, const record *want, const char **worst)
{
    double most = -1;
    for (q_param p = 0; p < q_model_n_params(b->model); p++) {
        double own = param_gap(b, p, want);
        if (!(own <= most)) {
            most = own;
            *worst = q_model_param_name(b->model, p);
        }
    }
    return most;
}

/* All have the same bits: same_bits() below. */
static const char *fastest(void)
{
    const char *name = backend_name(0);
    for (uint32_t i = 1; backend_name(i) != NULL; i++) {
        name = bench_has(backend_name(i)) ? backend_name(i) : name;
    }
    return name;
}

static void follow(const network *net, const trajectory *t, const char *recipe)
{
    const bench_options plain = {fastest(), 1, 0, 0};
    record loss = trajectory_need(t, recipe, "loss");
    record gradient = trajectory_need(t, recipe, "gradient");
    record final = trajectory_need(t, recipe, "final");
    double losses = 0;
    double norms = 0;
    const char *worst = "";
    double ends;
    bench b;
    bench_open(&b, net, t, recipe, &plain);
    for (uint32_t step = 0; step < loss.columns; step++) {
        q_train_report r = bench_step(&b, step);
        double want = ((const double *)loss.data)[step];
        double norm = ((const double *)gradient.data)[step];
        losses = larger(losses, gap(r.loss, want, want));
        norms = larger(norms, gap(r.gradient_norm, norm, norm));
    }
    ends = final_gap(&b, &final, &worst);
    printf("%s, %s: %u steps, losses within %.2g, gradients %.2g, parameters %.2g (%s)\n", net->name, recipe,
           loss.columns, losses, norms, ends, worst);
    expect(losses <= relative, net->name, recipe, "losses are PyTorch's");
    expect(norms <= relative, net->name, recipe, "norms of gradients are PyTorch's");
    expect(ends <= relative, net->name, recipe, "parameters at the end are PyTorch's");
    bench_close(&b);
}

/* Every recipe of the file. */
static void follow_all(const network *net, const trajectory *t)
{
    for (uint32_t i = 0; i < trajectory_n_records(t); i++) {
        record r = trajectory_record(t, i);
        char *slash = strchr(r.name, '/');
        if (slash != NULL && strcmp(slash, "/recipe") == 0) {
            *slash = '\0';
            follow(net, t, r.name);
        }
    }
}

/* ---- The same bits ---------------------------------------------------------------------------------------- */

typedef char hash_text[2 * Q_SHA256_BYTES + 1];

/* False: not all workers came. */
static bool hash_of(const network *net, const trajectory *t, const bench_options *o, hash_text hex)
{
    bench b;
    bench_open(&b, net, t, net->hashed, o);
    for (uint32_t step = 0; step < HASHED_STEPS; step++) {
        (void)bench_step(&b, step);
    }
    session_hash(b.session, hex);
    bench_close(&b);
    return b.granted == (o->workers != 0 ? o->workers : 1);
}

#ifndef Q_REAL_DOUBLE
static bool committed(const char *path, const network *net, hash_text hex)
{
    char line[200];
    char name[32];
    char recipe[32];
    hash_text hash;
    bool found = false;
    FILE *f = fopen(path, "r");
    while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL) {
        found = sscanf(line, "%64s %31s %31s", hash, name, recipe) == 3 && strcmp(name, net->name) == 0 &&
                strcmp(recipe, net->hashed) == 0;
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    if (found) {
        memcpy(hex, hash, sizeof(hash_text));
    }
    return found;
}

static void same_hash(const network *net, const trajectory *t, const char *want, const bench_options *o)
{
    hash_text got;
    char what[120];
    bool all = hash_of(net, t, o, got);
    (void)snprintf(what, sizeof(what), "hash of %u steps: %s, %u workers, micro-batches of %u, plan flags %u", HASHED_STEPS,
                   o->backend, o->workers, o->each, o->plan_flags);
    expect(all && strcmp(want, got) == 0, net->name, net->hashed, what);
}

/* Plain C in few ways: it is slow; the others in all. */
static const bench_options ways_of_scalar[] = {{NULL, 1, 0, 0}, {NULL, 3, 2, Q_PLAN_RECOMPUTE}};
static const bench_options ways[] = {
    {NULL, 1, 0, 0}, {NULL, 2, 0, Q_PLAN_NO_FUSE}, {NULL, 7, 0, 0},
    {NULL, 1, 3, 0}, {NULL, 3, 2, Q_PLAN_NO_IN_PLACE}, {NULL, 3, 1, Q_PLAN_RECOMPUTE},
};

static void same_bits(const network *net, const trajectory *t, const char *fingerprints, bool brief)
{
    hash_text want = "";
    expect(committed(fingerprints, net, want), net->name, net->hashed, "a hash is committed");
    for (uint32_t i = 0; backend_name(i) != NULL; i++) {
        const bench_options *list = i == 0 ? ways_of_scalar : ways;
        uint32_t n = (uint32_t)((i == 0 ? sizeof(ways_of_scalar) : sizeof(ways)) / sizeof(*list));
        for (uint32_t k = 0; k < n; k++) {
            bench_options o = list[k];
            o.backend = backend_name(i);
            o.each = net->splits ? o.each : 0;
            if (brief && o.workers > 1) {
                continue;
            }
            if (bench_has(o.backend)) {
                same_hash(net, t, want, &o);
            } else {
                skipped++;
            }
        }
    }
}
#endif

static int print_hashes(const char *folder)
{
    static const bench_options plain;
    for (uint32_t i = 0; network_at(i) != NULL; i++) {
        const network *net = network_at(i);
        trajectory t;
        hash_text hex;
        trajectory_open(&t, folder, net->name);
        hash_of(net, &t, &plain, hex);
        printf("%s %s %s\n", hex, net->name, net->hashed);
        trajectory_close(&t);
    }
    return 0;
}

int main(int argc, char **argv)
{
    bool brief = argc > 1 && strcmp(argv[1], "--brief") == 0;
    argc -= brief ? 1 : 0;
    argv += brief ? 1 : 0;
    if (argc == 3 && strcmp(argv[1], "print") == 0) {
        return print_hashes(argv[2]);
    }
    if (argc != 3) {
        (void)fprintf(stderr, "usage: test_trajectories [--brief] FOLDER FINGERPRINTS | print FOLDER\n");
        return 2;
    }
    for (uint32_t i = 0; network_at(i) != NULL; i++) {
        trajectory t;
        trajectory_open(&t, argv[1], network_at(i)->name);
        follow_all(network_at(i), &t);
#ifndef Q_REAL_DOUBLE
        same_bits(network_at(i), &t, argv[2], brief);
#endif
        trajectory_close(&t);
    }
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed != 0;
}
