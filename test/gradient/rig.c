/* SPDX-License-Identifier: MIT */
/* The rig: runs a case in every way, compares its gradients with differences and with each other. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qorus/gradcheck.h"
#include "rig_inner.h"
#include "tools/common/backends.h"
#include "port/x86/cpu_detect.h"

rig_run rig_now;
static const char *only = "";
static bool ends_at_failure;
static int passed;
static int failed;

void rig_only(const char *text)
{
    only = text;
}

void rig_end_at_failure(void)
{
    ends_at_failure = true;
}

/* Does the name have one of the texts between bars? */
static bool is_wanted(const char *name)
{
    const char *text = only;
    for (;;) {
        size_t n = strcspn(text, "|");
        for (const char *at = name; strlen(at) >= n; at++) {
            if (memcmp(at, text, n) == 0) {
                return true;
            }
        }
        if (text[n] == '\0') {
            return false;
        }
        text += n + 1;
    }
}

void rig_expect(bool ok, const char *name, const char *what)
{
    passed += ok ? 1 : 0;
    failed += ok ? 0 : 1;
    if (!ok) {
        printf("FAIL %s: %s\n", name, what);
        if (ends_at_failure) {
            exit(rig_end());
        }
    }
}

int rig_end(void)
{
    printf("%d passed, %d failed, 0 skipped\n", passed, failed);
    return failed != 0;
}

void rig_must(q_error_code e, const q_diag *d)
{
    if (e != Q_OK) {
        printf("%s: error %d: %s: %s (need %llu, have %llu)\n", rig_now.graph->name, (int)e, d->what, d->field,
               (unsigned long long)d->need, (unsigned long long)d->have);
        exit(1);
    }
}

void *rig_memory(size_t bytes)
{
    void *p = aligned_alloc(128, (bytes + 255) / 128 * 128);
    if (p == NULL) {
        printf("no memory\n");
        exit(1);
    }
    memset(p, 0xff, bytes); /* reals: NaN */
    return p;
}

/* How many nodes backward visits. */
static q_error_code count_backward(void *user, const q_observation *seen)
{
    *(uint32_t *)user += seen->backward;
    return Q_OK;
}

static void check_backward_steps(rig_bench *b)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    uint32_t n = 0;
    const q_session_config watching = {.struct_size = sizeof(watching), .observe = count_backward, .user = &n};
    const q_session_config usual = {.struct_size = sizeof(usual)};
    if (rig_now.graph->backward_steps != 0 && !rig_now.feeding) {
        rig_must(q_session_configure(b->session, &watching, &d), &d);
        rig_whole_batch(b);
        rig_must(q_session_configure(b->session, &usual, &d), &d);
        rig_expect(n == rig_now.graph->backward_steps, rig_now.graph->name, "backward ends where nothing upstream trains");
    }
}

/* ---- Against differences ---------------------------------------------------------------------------------- */

static void judge(void *user, const q_gradcheck_param *found)
{
    char what[160];
    (void)user;
    if (found->failed != 0) {
        printf("%s: %s[%llu]: backward %.9g, difference %.9g\n", rig_now.graph->name, found->name,
               (unsigned long long)found->worst, found->backward, found->difference);
    }
    (void)snprintf(what, sizeof(what), "gradient of %s", found->name);
    rig_expect(found->failed == 0 && (found->largest != 0 || (rig_now.graph->flags & RIG_FLAT) != 0), rig_now.graph->name, what);
}

static void against_differences(rig_bench *b)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_gradcheck_config config = q_gradcheck_defaults();
    q_gradcheck_result result;
    rig_step_parts parts;
#ifndef Q_REAL_DOUBLE
    if ((rig_now.graph->flags & RIG_STEEP) != 0) {
        return;
    }
    config.atol = 1e-2; /* terms of the probe cancel: its rounding is of their size, not of its own */
#endif
    config.samples = RIG_SAMPLES;
    config.seen = judge;
    rig_make_step(b, 0, rig_samples(), &parts);
    rig_must(q_gradcheck(b->session, &parts.step, &config, &result, &d), &d);
}

/* ---- Against each other ----------------------------------------------------------------------------------- */

static void same_bits(const rig_bench *want, const rig_bench *got, const char *what)
{
    rig_expect(want->n_grads == got->n_grads &&
                   memcmp(want->grads, got->grads, want->n_grads * sizeof(q_real)) == 0,
               rig_now.graph->name, what);
}

/* Gradients of samples [0, n) and, added to them, [m, m + n2). */
static void add_gradients(rig_bench *b, uint32_t n, uint32_t m, uint32_t n2)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    rig_open(b, "scalar", 1, 0, false);
    rig_forward(b, 0, n);
    rig_must(q_model_backward(b->session, false, &d), &d);
    rig_forward(b, m, n2);
    rig_must(q_model_backward(b->session, true, &d), &d);
    rig_keep_grads(b);
}

/* The batch twice: its sums continue from the first one's ends, hence the tolerance of their rounding. */
static void check_twice(const rig_bench *want)
{
    uint32_t n = rig_samples();
    q_real largest = 0;
    bool good = true;
    rig_bench b;
    add_gradients(&b, n, 0, n);
    for (size_t i = 0; i < want->n_grads; i++) {
        q_real g = want->grads[i] < 0 ? -want->grads[i] : want->grads[i];
        largest = g > largest ? g : largest;
    }
    for (size_t i = 0; i < want->n_grads; i++) {
        q_real off = b.grads[i] - 2 * want->grads[i];
        good = good && (off < 0 ? -off : off) <= (q_real)1e-4 * largest;
    }
    rig_expect(good, rig_now.graph->name, "the batch twice has twice its gradients");
    rig_close(&b);
}

static void check_split(const rig_bench *want)
{
    uint32_t n = rig_samples();
    uint32_t split = rig_now.graph->step.split != 0 ? rig_now.graph->step.split : n / 2;
    rig_bench b;
    if ((rig_now.graph->flags & RIG_NO_SPLIT) != 0) {
        check_twice(want);
    } else if (n >= 2) {
        add_gradients(&b, split, split, n - split);
        same_bits(want, &b, "two micro-batches have the bits of the batch");
        rig_close(&b);
    }
}

static void check_variants(const rig_bench *want)
{
    for (uint32_t i = 0; backend_name(i) != NULL; i++) {
        for (uint32_t variant = 0; variant < 5; variant++) {
            static const uint32_t workers[] = {1, RIG_WORKERS, 1, RIG_WORKERS, RIG_WORKERS};
            static const uint32_t flags[] = {0, 0, Q_PLAN_NO_FUSE | Q_PLAN_NO_IN_PLACE, Q_PLAN_RECOMPUTE, 0};
            static const char *const names[] = {"", ", 3 workers", ", nothing fused", ", computed again", ", workers in turn"};
            bool slow = variant == 4;
            q_backend probe;
            char what[96];
            rig_bench b;
            if ((slow && (rig_now.graph->flags & RIG_TURNS) == 0) || !backend_make(&probe, backend_name(i), q_cpu_detect())) {
                continue;
            }
            rig_open(&b, backend_name(i), workers[variant], flags[variant], slow);
            rig_whole_batch(&b);
            rig_keep_grads(&b);
            (void)snprintf(what, sizeof(what), "same bits: %s%s", backend_name(i), names[variant]);
            same_bits(want, &b, what);
            rig_close(&b);
        }
    }
}

static void check_once(const rig_graph *graph, bool feeding)
{
    const rig_step *s = &graph->step;
    rig_bench b;
    memset(&rig_now, 0, sizeof(rig_now));
    rig_now.graph = graph;
    rig_now.feeding = feeding;
    rig_now.max.batch = s->n_batch != 0 ? s->n_batch : 1;
    rig_now.max.sequences = s->n_spans != 0 ? s->n_spans : 1;
    rig_now.max.tokens = s->n_spans != 0 ? 0 : 1;
    for (uint32_t i = 0; i < s->n_spans; i++) {
        rig_now.max.tokens += s->span_rows[i];
        rig_now.max.kv = s->span_rows[i] > rig_now.max.kv ? s->span_rows[i] : rig_now.max.kv;
    }
    rig_now.max.selected = rig_now.max.tokens;
    rig_open(&b, "scalar", 1, Q_PLAN_NO_FUSE, false);
    rig_whole_batch(&b);
    rig_keep_grads(&b);
    against_differences(&b);
    check_variants(&b);
    check_split(&b);
    check_backward_steps(&b);
    rig_close(&b);
    for (uint32_t i = 0; i < rig_now.n_named; i++) {
        free(rig_now.named[i].data);
    }
}

void rig_check_graph(const rig_graph *graph)
{
    if (!is_wanted(graph->name)) {
        return;
    }
    check_once(graph, false);
    check_once(graph, true);
}
