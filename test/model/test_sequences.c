/* SPDX-License-Identifier: MIT */
/*
 * Several sequences in one step: whatever stands beside it, every row has the bits of its text read alone. Texts
 * share a beginning, so that a copied prefix may go on as another text.
 */
#include "flow.h"

#include "../../port/posix/posix.h"
#include "../../tools/common/backends.h"

#include <stdio.h>
#include <string.h>

enum { TEXTS = 5, SHARED = 24, LONGEST = 1400, MAX_ROWS = 4096 };

static uint32_t draw(uint32_t *seed, uint32_t n)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(*seed >> 8) * n >> 24);
}

/* ---- Rows and texts --------------------------------------------------------------------------------------- */

static uint64_t row_hash(const q_tensor *rows, uint32_t r)
{
    const unsigned char *p = (const unsigned char *)rows->data + r * rows->nb[2];
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < rows->ne[3] * sizeof(float); i++) {
        h = (h ^ p[i]) * 1099511628211u;
    }
    return h;
}

/* Rows as a callback got them, by its own index. */
typedef struct hashed_rows {
    uint64_t hash[MAX_ROWS];
    uint32_t n;
    bool in_order;
} hashed_rows;

static q_error_code take_rows(void *user, uint32_t first, uint32_t n, const q_tensor *rows)
{
    hashed_rows *h = (hashed_rows *)user;
    h->in_order = h->in_order && first == h->n;
    for (uint32_t r = 0; r < n && h->n < MAX_ROWS; r++) {
        h->hash[h->n++] = row_hash(rows, r);
    }
    return Q_OK;
}

typedef struct texts {
    uint32_t n; /* tokens of each */
    int32_t tokens[TEXTS][LONGEST];
    uint64_t hash[TEXTS][LONGEST]; /* of the logits after each token, read alone */
} texts;

static hashed_rows rows_seen;

static q_error_code run_step(flow *f, const int32_t *ids, uint32_t n_spans, const q_step_span *spans, q_select select)
{
    const void *inputs[1];
    q_step step;
    inputs[0] = ids;
    memset(&step, 0, sizeof(step));
    step.inputs = inputs;
    step.select = (uint32_t)select;
    step.rows = take_rows;
    step.rows_user = &rows_seen;
    step.n_spans = n_spans;
    step.spans = spans;
    rows_seen.n = 0;
    rows_seen.in_order = true;
    return q_model_forward(f->session, &step, &f->diag);
}

/* The texts and what each gives on a session of its own. */
static void read_alone(texts *t, const flow_setup *setup, uint32_t n)
{
    flow_setup s = *setup;
    flow f;
    s.sequences = 1;
    s.chunk = 16;
    flow_open(&f, &s, &flow_heap);
    t->n = n;
    for (uint32_t i = 0; i < TEXTS; i++) {
        q_step_span all = {0, n};
        flow_tokens(&f, t->tokens[i], n, 100 + i);
        memcpy(t->tokens[i], t->tokens[0], sizeof(int32_t) * (n < SHARED ? n : SHARED));
        check(q_session_rewind(f.session, 0, &f.diag) == Q_OK, "rewind");
        check(run_step(&f, t->tokens[i], 1, &all, Q_SELECT_ALL) == Q_OK && rows_seen.n == n, "a text alone");
        memcpy(t->hash[i], rows_seen.hash, sizeof(uint64_t) * n);
    }
}

/* ---- Random company --------------------------------------------------------------------------------------- */

typedef struct company {
    flow f;
    const texts *t;
    uint32_t n;              /* sequences */
    uint32_t seed;
    uint32_t text[TEXTS];    /* what each reads */
    uint32_t position[TEXTS];
    q_step_span spans[TEXTS];
    uint32_t n_spans;
    int32_t ids[TEXTS * LONGEST];
    uint32_t n_ids;
    uint32_t longest;        /* tokens of a span */
} company;

static bool company_stands(const company *c)
{
    for (uint32_t i = 0; i < c->n; i++) {
        if (q_sequence_position(c->f.session, i) != c->position[i]) {
            return false;
        }
    }
    return true;
}

/* Some sequences in any order: most go on by one token, some read a piece. */
static void draw_spans(company *c)
{
    uint32_t order[TEXTS];
    c->n_spans = c->n_ids = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        uint32_t at = draw(&c->seed, i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    for (uint32_t k = 0; k < c->n; k++) {
        uint32_t q = order[k];
        uint32_t left = c->t->n - c->position[q];
        uint32_t n = draw(&c->seed, 3) == 0 ? 1 + draw(&c->seed, c->longest) : 1;
        if (left == 0 || draw(&c->seed, 5) == 0) {
            continue;
        }
        n = n < left ? n : left;
        c->spans[c->n_spans].sequence = q;
        c->spans[c->n_spans++].n_tokens = n;
        memcpy(c->ids + c->n_ids, &c->t->tokens[c->text[q]][c->position[q]], n * sizeof(int32_t));
        c->n_ids += n;
    }
}

/* Every row that came is the row of its text; positions move on. */
static bool rows_match(company *c, q_select select)
{
    uint32_t row = 0;
    bool good = rows_seen.in_order;
    for (uint32_t k = 0; k < c->n_spans; k++) {
        uint32_t q = c->spans[k].sequence;
        const uint64_t *want = &c->t->hash[c->text[q]][c->position[q]];
        uint32_t n = c->spans[k].n_tokens;
        if (select == Q_SELECT_LAST) {
            good = good && rows_seen.hash[row++] == want[n - 1];
        } else {
            good = good && memcmp(&rows_seen.hash[row], want, n * sizeof(uint64_t)) == 0;
            row += n;
        }
        c->position[q] += n;
    }
    return good && row == rows_seen.n;
}

/* Back, or the beginning of another: the same text, or any where only the shared part is copied. */
static bool turn_back(company *c)
{
    uint32_t to = draw(&c->seed, c->n);
    uint32_t from = draw(&c->seed, c->n);
    uint32_t n = draw(&c->seed, c->position[from] + 1);
    q_error_code e;
    if (draw(&c->seed, 2) == 0) {
        n = draw(&c->seed, c->position[to] + 1);
        e = q_sequence_rewind(c->f.session, to, n, &c->f.diag);
    } else {
        e = q_sequence_copy(c->f.session, to, from, n, &c->f.diag);
        c->text[to] = c->text[from];
    }
    c->position[to] = n;
    c->text[to] = n <= SHARED ? draw(&c->seed, TEXTS) : c->text[to];
    return e == Q_OK && company_stands(c);
}

static void open_company(company *c, const texts *t, const flow_setup *s, uint32_t seed, uint32_t longest)
{
    memset(c, 0, sizeof(*c));
    flow_open(&c->f, s, &flow_heap);
    c->t = t;
    c->n = s->sequences;
    c->seed = seed;
    c->longest = longest;
    for (uint32_t i = 0; i < c->n; i++) {
        c->text[i] = i;
    }
}

static void keep_company(const texts *t, const flow_setup *s, uint32_t steps, uint32_t longest, const char *what)
{
    static company c;
    uint32_t bad = 0;
    open_company(&c, t, s, 77 + s->chunk + s->sequences, longest);
    for (uint32_t i = 0; i < steps; i++) {
        q_select select = draw(&c.seed, 2) == 0 ? Q_SELECT_LAST : Q_SELECT_ALL;
        draw_spans(&c);
        if (c.n_spans != 0) {
            bad += run_step(&c.f, c.ids, c.n_spans, c.spans, select) != Q_OK || !rows_match(&c, select);
        }
        bad += !company_stands(&c);
        bad += draw(&c.seed, 3) == 0 && !turn_back(&c);
    }
    check(bad == 0, "%s, %s, precision %u, kv %u, chunk %u, %u rows at once, %u workers, %u sequences: the bits of "
          "each alone (%u of %u steps differ)", what, s->backend, (unsigned)s->precision, (unsigned)s->kv_type,
          (unsigned)s->chunk, (unsigned)s->selected, (unsigned)s->workers, (unsigned)s->sequences, (unsigned)bad,
          (unsigned)steps);
}

static void test_company(const char *file, uint32_t precision, uint32_t kv_type)
{
    static const struct {
        uint32_t chunk, selected, workers, sequences;
    } shapes[] = {{1, 1, 1, 2}, {7, 2, 2, 5}, {16, 5, 3, 5}, {64, 1, 1, 4}, {100, 8, 2, 3}, {33, 3, 3, 1}};
    static texts t;
    static q_posix posix;
    flow_setup s = flow_defaults(file);
    q_diag d;
    s.precision = precision;
    s.kv_type = kv_type;
    read_alone(&t, &s, FLOW_CONTEXT);
    if (q_posix_init(&posix, 3, &d) != Q_OK) {
        check(false, "threads");
        return;
    }
    s.port = q_posix_port(&posix);
    for (uint32_t b = 0; backend_name(b) != NULL; b++) {
        q_backend unused;
        s.backend = backend_name(b);
        if (!backend_make(&unused, s.backend, s.port->cpu_features(s.port->user))) {
            check_skip("backend: UNAVAILABLE");
            continue;
        }
        for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
            s.chunk = shapes[i].chunk;
            s.selected = shapes[i].selected;
            s.workers = shapes[i].workers;
            s.sequences = shapes[i].sequences;
            keep_company(&t, &s, 40, 40, "random company");
        }
    }
    q_posix_close(&posix);
}

/* Contexts past 1,000 tokens. */
static void test_long(const char *file)
{
    static texts t;
    flow_setup s = flow_defaults(file);
    s.context = LONGEST;
    read_alone(&t, &s, LONGEST);
    s.sequences = 3;
    s.chunk = 48;
    s.selected = 3;
    keep_company(&t, &s, 24, 400, "long texts");
}

void test_sequences_large(const char *file, const char *backend)
{
    static texts t;
    flow_setup s = flow_defaults(file);
    s.backend = backend;
    read_alone(&t, &s, 32);
    s.sequences = 4;
    s.selected = 4;
    s.chunk = 24;
    keep_company(&t, &s, 12, 16, "large model");
}

/* ---- Rows ------------------------------------------------------------------------------------------------- */

/* Without a callback the rows of one window stay; more need a callback. */
static void test_last_rows(const char *file)
{
    static texts t;
    static company c;
    static const q_step_span spans[] = {{2, 3}, {0, 1}, {1, 5}};
    flow_setup s = flow_defaults(file);
    const void *inputs[1];
    q_tensor out;
    q_step step;
    read_alone(&t, &s, 32);
    s.sequences = 3;
    s.selected = 3;
    open_company(&c, &t, &s, 1, 1);
    memcpy(c.ids, t.tokens[2], 3 * sizeof(int32_t));
    memcpy(c.ids + 3, t.tokens[0], 1 * sizeof(int32_t));
    memcpy(c.ids + 4, t.tokens[1], 5 * sizeof(int32_t));
    inputs[0] = c.ids;
    memset(&step, 0, sizeof(step));
    step.inputs = inputs;
    step.n_spans = 3;
    step.spans = spans;
    step.select = Q_SELECT_LAST;
    check(q_model_forward(c.f.session, &step, &c.f.diag) == Q_OK &&
              q_session_output(c.f.session, 0, &out, &c.f.diag) == Q_OK && out.ne[2] == 3 &&
              row_hash(&out, 0) == t.hash[2][2] && row_hash(&out, 1) == t.hash[0][0] &&
              row_hash(&out, 2) == t.hash[1][4],
          "the last rows of three spans, in their order");
    s.selected = 2;
    open_company(&c, &t, &s, 1, 1);
    memset(c.ids, 0, 9 * sizeof(int32_t));
    check(q_model_forward(c.f.session, &step, &c.f.diag) == Q_ERR_INVALID_ARG && c.f.diag.need == 2 &&
              c.f.diag.have == 3 && company_stands(&c),
          "A40 three last rows with room for two and no callback");
    s.selected = 3;
    s.chunk = 4;
    open_company(&c, &t, &s, 1, 1);
    check(q_model_forward(c.f.session, &step, &c.f.diag) == Q_ERR_INVALID_ARG && company_stands(&c),
          "A40 last rows in several chunks and no callback");
}

/* ---- Errors ----------------------------------------------------------------------------------------------- */

static void refuse(company *c, const q_step *base, uint32_t n_spans, const q_step_span *spans, q_error_code want,
                   const char *field, uint64_t at)
{
    q_step step = *base;
    q_error_code e;
    step.n_spans = n_spans;
    step.spans = spans;
    e = q_model_forward(c->f.session, &step, &c->f.diag);
    check(e == want && strcmp(c->f.diag.field, field) == 0 && c->f.diag.offset == at && company_stands(c),
          "A41 %s: refused with %d, \"%s\" at %llu (got %d, \"%s\" at %llu)", field, (int)want, field,
          (unsigned long long)at, (int)e, c->f.diag.field, (unsigned long long)c->f.diag.offset);
}

static void test_bad_spans(const char *file)
{
    static texts t;
    static company c;
    static const q_step_span good[] = {{0, 2}, {2, 3}};
    static const q_step_span far[] = {{0, 2}, {3, 3}};
    static const q_step_span twice[] = {{0, 2}, {2, 1}, {0, 2}};
    static const q_step_span empty[] = {{0, 2}, {1, 0}};
    static const q_step_span full[] = {{0, 1}, {1, 1}, {2, 6}};
    flow_setup s = flow_defaults(file);
    const void *inputs[1];
    q_step step;
    q_diag d;
    read_alone(&t, &s, FLOW_CONTEXT);
    s.sequences = 3;
    open_company(&c, &t, &s, 1, 1);
    c.spans[0] = (q_step_span){2, FLOW_CONTEXT - 5};
    check(run_step(&c.f, t.tokens[2], 1, c.spans, Q_SELECT_NONE) == Q_OK, "one sequence nearly full");
    c.position[2] = FLOW_CONTEXT - 5;
    inputs[0] = t.tokens[0];
    memset(&step, 0, sizeof(step));
    step.inputs = inputs;
    refuse(&c, &step, 2, far, Q_ERR_INVALID_ARG, "span of sequence 3", 1);
    refuse(&c, &step, 3, twice, Q_ERR_INVALID_ARG, "span of sequence 0", 2);
    refuse(&c, &step, 2, empty, Q_ERR_INVALID_ARG, "n_tokens of sequence 1", 1);
    refuse(&c, &step, 3, full, Q_ERR_CONTEXT_FULL, "n_tokens of sequence 2", 2);
    check(c.f.diag.need == 5 && c.f.diag.have == 6, "A41 five positions are left, six were asked for");
    refuse(&c, &step, 2, NULL, Q_ERR_INVALID_ARG, "spans", 0);
    step.n_tokens = 6;
    refuse(&c, &step, 2, good, Q_ERR_INVALID_ARG, "n_tokens", 0);
    step.n_tokens = 5;
    step.n_spans = 2;
    step.spans = good;
    check(q_model_forward(c.f.session, &step, &c.f.diag) == Q_OK, "the twin of the refused steps runs");
    check(q_sequence_rewind(c.f.session, 3, 0, &d) == Q_ERR_INVALID_ARG && strcmp(d.field, "sequence") == 0,
          "A42 rewind of a sequence that is not there");
    check(q_sequence_set_position(c.f.session, 3, 0, &d) == Q_ERR_INVALID_ARG, "A42 position of a sequence that is not there");
    check(q_sequence_copy(c.f.session, 3, 0, 1, &d) == Q_ERR_INVALID_ARG &&
              q_sequence_copy(c.f.session, 0, 3, 1, &d) == Q_ERR_INVALID_ARG,
          "A42 copies to and from sequences that are not there");
    check(q_sequence_copy(c.f.session, 1, 0, 3, &d) == Q_ERR_INVALID_ARG && d.need == 2 && d.have == 3,
          "A42 a copy of more than there is");
    check(q_sequence_position(c.f.session, 3) == 0, "a sequence that is not there has no position");
}

typedef struct stopper {
    uint32_t questions;
    uint32_t stop_at;
} stopper;

static bool stop_when(void *user)
{
    stopper *s = (stopper *)user;
    return s->questions++ == s->stop_at;
}

/* A step that is stopped anywhere leaves every position, and its repetition has the bits. */
static void test_stopped(const char *file)
{
    static texts t;
    static company c;
    static stopper st;
    flow_setup s = flow_defaults(file);
    uint32_t bad = 0;
    read_alone(&t, &s, FLOW_CONTEXT);
    s.sequences = 4;
    s.session.should_stop = stop_when;
    s.session.user = &st;
    open_company(&c, &t, &s, 9, 40);
    for (uint32_t i = 0; i < 30; i++) {
        q_error_code e;
        draw_spans(&c);
        if (c.n_spans == 0) {
            continue;
        }
        st.questions = 0;
        st.stop_at = draw(&c.seed, 30);
        e = run_step(&c.f, c.ids, c.n_spans, c.spans, Q_SELECT_ALL);
        if (e == Q_ERR_CANCELLED) {
            bad += !company_stands(&c);
            st.stop_at = UINT32_MAX;
            e = run_step(&c.f, c.ids, c.n_spans, c.spans, Q_SELECT_ALL);
        }
        bad += e != Q_OK || !rows_match(&c, Q_SELECT_ALL) || !company_stands(&c);
    }
    check(bad == 0, "stopped steps of several sequences leave no trace (%u do)", (unsigned)bad);
}

/* The sample beside the file whose heads are whole blocks of 32; the file's own are refused. */
static void test_q8_0(const char *file)
{
    char path[512];
    flow_setup s = flow_defaults(file);
    flow f;
    s.kv_type = Q_KV_Q8_0;
    check(flow_load(&f, &s) == Q_OK, "the sample opens");
    {
        q_file_build b = {.file = &f.file};
        q_error_code e = q_model_size(q_build_from_file, &b, &f.model_size, &f.diag);
        e = e == Q_OK ? flow_model(&f, &s, (q_block){flow_heap.take(NULL, f.model_size, "model"), f.model_size}) : e;
        check(e == Q_OK, "its model");
        check(flow_plan(&f, &s, (q_block){flow_heap.take(NULL, 1 << 20, "plan"), 1 << 20}) == Q_ERR_UNSUPPORTED &&
                  strcmp(f.diag.what, "layers.0.attention") == 0 && f.diag.need == 32 && f.diag.have == 16,
              "A43 a cache of Q8_0 for heads of 16: refused with the layer (%s: %s)", f.diag.what, f.diag.field);
    }
    (void)snprintf(path, sizeof(path), "%.*sheads32.qorus", (int)(strrchr(file, '/') - file + 1), file);
    test_company(path, Q_PRECISION_FAST, Q_KV_Q8_0);
    test_company(path, Q_PRECISION_EXACT, Q_KV_Q8_0);
}

void test_sequences(const char *file, bool brief)
{
    test_company(file, Q_PRECISION_FAST, Q_KV_BY_PRECISION);
    if (!brief) {
        test_company(file, Q_PRECISION_EXACT, Q_KV_BY_PRECISION);
        test_company(file, Q_PRECISION_FAST, Q_KV_REAL);
        test_company(file, Q_PRECISION_EXACT, Q_KV_F16);
        test_q8_0(file);
        test_long(file);
    }
    test_last_rows(file);
    test_bad_spans(file);
    test_stopped(file);
}
