/* SPDX-License-Identifier: MIT */
/*
 * Sessions: any split of a prompt, any number of workers and either backend give one set of bits; rows are selected
 * as asked; rollback, cancelling and deadlines leave a session as if the step had not been.
 */
#include "flow.h"

#include "../../port/posix/posix.h"
#include "../../tools/common/backends.h"

#include <stdio.h>
#include <string.h>

static uint64_t hash_of(const flow_setup *s, uint32_t n)
{
    flow f;
    int32_t tokens[FLOW_CONTEXT];
    q_error_code e;
    uint64_t h;
    flow_open(&f, s, &flow_heap);
    flow_tokens(&f, tokens, n, 11);
    h = flow_hash(&f, tokens, n, &e);
    check(e == Q_OK, "the step runs");
    return h;
}

/* ---- One set of bits -------------------------------------------------------------------------------------- */

static void test_same_bits(const char *file, uint32_t precision)
{
    static const uint32_t chunks[] = {1, 2, 7, 16, 64, 100};
    static const uint32_t workers[] = {1, 2, 3, 7, 16};
    static q_posix posix;
    flow_setup s = flow_defaults(file);
    uint64_t expected;
    q_diag d;
    s.precision = precision;
    expected = hash_of(&s, 100);
    for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
        s.chunk = chunks[i];
        check(hash_of(&s, 100) == expected, "precision %u, chunks of %u: same bits", precision, chunks[i]);
        s.selected = chunks[i];
        check(hash_of(&s, 100) == expected, "precision %u, windows of %u rows: same bits", precision, chunks[i]);
        s.selected = 1;
    }
    s.plan_flags = Q_PLAN_NO_FUSE | Q_PLAN_NO_IN_PLACE;
    check(hash_of(&s, 100) == expected, "precision %u, no fusion, nothing in place: same bits", precision);
    s.plan_flags = 0;
    if (q_posix_init(&posix, 16, &d) != Q_OK) {
        check(false, "threads");
        return;
    }
    s.port = q_posix_port(&posix);
    for (size_t i = 0; i < sizeof(workers) / sizeof(workers[0]); i++) {
        s.workers = workers[i];
        s.chunk = 32;
        check(hash_of(&s, 100) == expected, "X04 precision %u, %u workers: same bits", precision, workers[i]);
    }
    s.workers = 2;
    for (uint32_t i = 1; backend_name(i) != NULL; i++) {
        q_backend unused;
        s.backend = backend_name(i);
        if (!backend_make(&unused, s.backend, s.port->cpu_features(s.port->user))) {
            check_skip("backend: UNAVAILABLE");
        } else {
            check(hash_of(&s, 100) == expected, "precision %u, %s: same bits as scalar", precision, s.backend);
        }
    }
    q_posix_close(&posix);
}

/* ---- Every worker works ----------------------------------------------------------------------------------- */

static void (*counted_kernel)(const q_work *work, const q_rmsnorm_args *a);
static uint32_t counted_rows[Q_MAX_WORKERS]; /* each worker writes its own */

static void counting_rmsnorm(const q_work *work, const q_rmsnorm_args *a)
{
    uint32_t begin;
    uint32_t end;
    q_share(work, q_count_value(work->run, a->rows), &begin, &end);
    counted_rows[work->worker] += end - begin;
    counted_kernel(work, a);
}

/* Rows normalised by each worker in one pass over 64 tokens. */
static uint32_t count_rows(const flow_setup *s)
{
    flow f;
    int32_t tokens[64];
    uint32_t all = 0;
    q_error_code e;
    flow_open(&f, s, &flow_heap);
    flow_tokens(&f, tokens, 64, 11);
    counted_kernel = f.backend.kernels.rmsnorm;
    f.backend.kernels.rmsnorm = counting_rmsnorm;
    memset(counted_rows, 0, sizeof(counted_rows));
    (void)flow_hash(&f, tokens, 64, &e);
    check(e == Q_OK, "the step runs");
    for (uint32_t i = 0; i < Q_MAX_WORKERS; i++) {
        all += counted_rows[i];
    }
    return all;
}

static void test_workers_work(const char *file)
{
    static const uint32_t workers[] = {2, 3, 7};
    static q_posix posix;
    flow_setup s = flow_defaults(file);
    uint32_t alone;
    q_diag d;
    s.chunk = 64;
    s.selected = 64;
    alone = count_rows(&s);
    if (q_posix_init(&posix, 7, &d) != Q_OK) {
        check(false, "threads");
        return;
    }
    s.port = q_posix_port(&posix);
    for (size_t i = 0; i < sizeof(workers) / sizeof(workers[0]); i++) {
        uint32_t least = UINT32_MAX;
        s.workers = workers[i];
        check(count_rows(&s) == alone, "%u workers do the work of one together", workers[i]);
        for (uint32_t w = 0; w < workers[i]; w++) {
            least = counted_rows[w] < least ? counted_rows[w] : least;
        }
        check(least >= alone / workers[i] * 3 / 4, "%u workers: each does its share, at least %u of %u rows", workers[i],
              least, alone);
    }
    q_posix_close(&posix);
}

/* Two sessions over one plan, in turn, equal two separate ones. */
static void test_interleave(const char *file)
{
    flow_setup s = flow_defaults(file);
    flow f;
    flow g;
    int32_t a[40];
    int32_t b[40];
    uint64_t expect_a[4];
    uint64_t expect_b[4];
    q_error_code e;
    flow_open(&f, &s, &flow_heap);
    flow_tokens(&f, a, 40, 1);
    flow_tokens(&f, b, 40, 2);
    for (int i = 0; i < 4; i++) {
        expect_a[i] = flow_hash(&f, a + 10 * i, 10, &e);
    }
    check(q_session_rewind(f.session, 0, &f.diag) == Q_OK, "rewind to 0");
    for (int i = 0; i < 4; i++) {
        expect_b[i] = flow_hash(&f, b + 10 * i, 10, &e);
    }
    check(q_session_rewind(f.session, 0, &f.diag) == Q_OK, "rewind to 0");
    g = f;
    for (size_t i = 0; i < g.n_regions; i++) {
        g.regions[i].base = flow_heap.take(NULL, g.regions[i].size, "region");
    }
    check(flow_session(&g, &s, (q_block){flow_heap.take(NULL, g.session_size, "session"), g.session_size}) == Q_OK,
          "a second session over the same plan");
    for (int i = 0; i < 4; i++) {
        check(flow_hash(&f, a + 10 * i, 10, &e) == expect_a[i], "X01 session A, part %d", i);
        check(flow_hash(&g, b + 10 * i, 10, &e) == expect_b[i], "X01 session B, part %d", i);
    }
}

/* ---- Rows ------------------------------------------------------------------------------------------------- */

enum { MAX_ROWS = 64, MAX_VOCABULARY = 1024 };

typedef struct kept_rows {
    float rows[MAX_ROWS][MAX_VOCABULARY];
    uint32_t index[MAX_ROWS];
    uint32_t n;
} kept_rows;

static q_error_code keep_rows(void *user, uint32_t first, uint32_t n, const q_tensor *rows)
{
    kept_rows *k = (kept_rows *)user;
    for (uint32_t i = 0; i < n; i++) {
        memcpy(k->rows[k->n], (const char *)rows->data + i * rows->nb[2], rows->ne[3] * sizeof(float));
        k->index[k->n++] = first + i;
    }
    return Q_OK;
}

static q_error_code run_rows(flow *f, const int32_t *tokens, uint32_t n, q_select select, const uint32_t *list,
                             uint32_t n_list, kept_rows *k)
{
    const void *inputs[1];
    q_step step;
    inputs[0] = tokens;
    memset(&step, 0, sizeof(step));
    step.n_tokens = n;
    step.inputs = inputs;
    step.select = select;
    step.selected = list;
    step.n_selected = n_list;
    step.rows = keep_rows;
    step.rows_user = k;
    k->n = 0;
    return q_model_forward(f->session, &step, &f->diag);
}

static void test_rows(const char *file)
{
    static kept_rows all;
    static kept_rows some;
    static const uint32_t list[] = {0, 3, 15, 16, 17, 31, 39};
    flow_setup s = flow_defaults(file);
    flow f;
    int32_t tokens[40];
    s.selected = 3;
    flow_open(&f, &s, &flow_heap);
    flow_tokens(&f, tokens, 40, 5);
    check(run_rows(&f, tokens, 40, Q_SELECT_ALL, NULL, 0, &all) == Q_OK && all.n == 40, "all rows come");
    for (uint32_t i = 0; i < 40; i++) {
        check(all.index[i] == i, "row %u has its index", i);
    }
    check(q_session_rewind(f.session, 0, &f.diag) == Q_OK, "rewind");
    check(run_rows(&f, tokens, 40, Q_SELECT_LIST, list, 7, &some) == Q_OK && some.n == 7, "listed rows come");
    for (uint32_t i = 0; i < 7; i++) {
        check(some.index[i] == i && memcmp(some.rows[i], all.rows[list[i]], sizeof(float) * 300) == 0,
              "listed row %u is row %u of all", i, list[i]);
    }
    check(q_session_rewind(f.session, 0, &f.diag) == Q_OK, "rewind");
    check(run_rows(&f, tokens, 40, Q_SELECT_LAST, NULL, 0, &some) == Q_OK && some.n == 1 && some.index[0] == 0 &&
              memcmp(some.rows[0], all.rows[39], sizeof(float) * 300) == 0,
          "the last row alone");
    check(q_session_rewind(f.session, 0, &f.diag) == Q_OK, "rewind");
    check(run_rows(&f, tokens, 39, Q_SELECT_NONE, NULL, 0, &some) == Q_OK && some.n == 0, "no row");
    check(run_rows(&f, tokens + 39, 1, Q_SELECT_LAST, NULL, 0, &some) == Q_OK &&
              memcmp(some.rows[0], all.rows[39], sizeof(float) * 300) == 0,
          "tokens read without rows count all the same");
}

/* ---- Rollback --------------------------------------------------------------------------------------------- */

static void test_rewind(const char *file)
{
    flow_setup s = flow_defaults(file);
    flow f;
    int32_t tokens[60];
    int32_t other[60];
    q_error_code e;
    uint64_t expected;
    flow_open(&f, &s, &flow_heap);
    flow_tokens(&f, tokens, 60, 21);
    flow_tokens(&f, other, 60, 22);
    (void)flow_hash(&f, tokens, 17, &e);
    expected = flow_hash(&f, tokens + 17, 20, &e);
    check(q_session_position(f.session) == 37, "position counts tokens");
    check(q_session_rewind(f.session, 17, &f.diag) == Q_OK, "rollback to 17");
    (void)flow_hash(&f, other, 43, &e);
    check(q_session_rewind(f.session, 17, &f.diag) == Q_OK, "rollback again, over other tokens");
    check(flow_hash(&f, tokens + 17, 20, &e) == expected, "A11 after a rollback: the bits of a session without the detour");
    check(q_session_rewind(f.session, 38, &f.diag) == Q_ERR_INVALID_ARG, "A11 a rewind cannot go ahead");
    check(q_session_position(f.session) == 37, "a refused rewind changes nothing");
}

/* ---- Stopping --------------------------------------------------------------------------------------------- */

typedef struct stopper {
    uint32_t questions;
    uint32_t stop_at;
} stopper;

static bool stop_when(void *user)
{
    stopper *s = (stopper *)user;
    return s->questions++ == s->stop_at;
}

static void test_cancel(const char *file)
{
    static stopper st;
    flow_setup s = flow_defaults(file);
    flow f;
    int32_t tokens[60];
    q_error_code e;
    uint64_t expected;
    uint32_t questions;
    s.session.should_stop = stop_when;
    s.session.user = &st;
    st.stop_at = UINT32_MAX;
    flow_open(&f, &s, &flow_heap);
    flow_tokens(&f, tokens, 60, 31);
    (void)flow_hash(&f, tokens, 10, &e);
    st.questions = 0;
    expected = flow_hash(&f, tokens + 10, 50, &e);
    questions = st.questions;
    check(questions > 40, "the caller is asked between nodes (%u times in 50 tokens)", questions);
    for (uint32_t at = 0; at < questions; at += 7) {
        check(q_session_rewind(f.session, 10, &f.diag) == Q_OK, "rewind");
        st.questions = 0;
        st.stop_at = at;
        (void)flow_hash(&f, tokens + 10, 50, &e);
        check(e == Q_ERR_CANCELLED && q_session_position(f.session) == 10, "cancelled at question %u: position stays",
              at);
        st.stop_at = UINT32_MAX;
        check(flow_hash(&f, tokens + 10, 50, &e) == expected, "cancelled at question %u: the next try has the bits", at);
    }
}

static uint64_t fake_time;

static uint64_t fake_ticks(void *user)
{
    (void)user;
    return fake_time++;
}

static void test_deadline(const char *file)
{
    static q_port port;
    flow_setup s = flow_defaults(file);
    flow f;
    int32_t tokens[60];
    const void *inputs[1];
    q_step step;
    port.struct_size = sizeof(port);
    port.ticks = fake_ticks;
    port.ns_num = port.ns_den = 1;
    s.port = &port;
    flow_open(&f, &s, &flow_heap);
    flow_tokens(&f, tokens, 60, 41);
    inputs[0] = tokens;
    memset(&step, 0, sizeof(step));
    step.n_tokens = 60;
    step.inputs = inputs;
    fake_time = 1;
    step.deadline = 30;
    check(q_model_forward(f.session, &step, &f.diag) == Q_ERR_DEADLINE && q_session_position(f.session) == 0,
          "a deadline stops a prefill");
    check(fake_time < 34, "work after a deadline is at most one node");
    step.deadline = UINT64_MAX;
    check(q_model_forward(f.session, &step, &f.diag) == Q_OK, "a far deadline does not");
}

/* ---- Observing -------------------------------------------------------------------------------------------- */

typedef struct watcher {
    uint32_t seen;
    uint32_t fail_at;
    char last[64];
} watcher;

static q_error_code watch(void *user, const q_observation *seen)
{
    watcher *w = (watcher *)user;
    (void)snprintf(w->last, sizeof(w->last), "%s", seen->layer->name);
    return w->seen++ == w->fail_at ? Q_ERR_IO : Q_OK;
}

static void test_observer(const char *file)
{
    static watcher w;
    flow_setup s = flow_defaults(file);
    flow f;
    int32_t tokens[16];
    q_error_code e;
    uint64_t expected = hash_of(&s, 16);
    s.session.observe = watch;
    s.session.user = &w;
    w.fail_at = UINT32_MAX;
    flow_open(&f, &s, &flow_heap);
    flow_tokens(&f, tokens, 16, 11);
    check(flow_hash(&f, tokens, 16, &e) == expected && w.seen > 30, "an observer sees every node and changes nothing");
    check(strcmp(w.last, "logits") == 0, "the last node is the product with the output matrix");
    w.seen = 0;
    w.fail_at = 12;
    check(q_session_rewind(f.session, 0, &f.diag) == Q_OK, "rewind");
    (void)flow_hash(&f, tokens, 16, &e);
    check(e == Q_ERR_IO && strcmp(f.diag.what, w.last) == 0, "A32 an observer's error stops the step at its node (%s)",
          f.diag.what);
}

/* A scale made NaN in the file: the node that first yields NaN is named. */
static void test_non_finite(const char *file)
{
    flow_setup s = flow_defaults(file);
    flow f;
    int32_t tokens[4];
    q_tensor t;
    uint32_t index;
    q_error_code e;
    s.session.flags = Q_SESSION_CHECK_FINITE;
    s.precision = Q_PRECISION_EXACT;
    flow_open(&f, &s, &flow_heap);
    flow_tokens(&f, tokens, 4, 51);
    (void)flow_hash(&f, tokens, 4, &e);
    check(e == Q_OK, "a sound model passes the check");
    check(q_file_find(&f.file, "layers.1.o", 10, &index) == Q_OK, "the tensor is there");
    q_file_tensor(&f.file, index, &t);
    memcpy(t.data, "\x00\x7e", 2); /* f16 NaN as the first scale or weight */
    check(q_session_rewind(f.session, 0, &f.diag) == Q_OK, "rewind");
    (void)flow_hash(&f, tokens, 4, &e);
    check(e == Q_ERR_NON_FINITE && strcmp(f.diag.what, "layers.1.o") == 0, "M76 NaN is reported with its node (%s)",
          f.diag.what);
}

void test_session(const char *file)
{
    test_same_bits(file, Q_PRECISION_FAST);
    test_same_bits(file, Q_PRECISION_EXACT);
    test_workers_work(file);
    test_interleave(file);
    test_rows(file);
    test_rewind(file);
    test_cancel(file);
    test_deadline(file);
    test_observer(file);
    test_non_finite(file);
}
