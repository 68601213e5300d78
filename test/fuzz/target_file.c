/* SPDX-License-Identifier: MIT */
/*
 * target_file.c: a .qorus file of any bytes. In place and over a copy of its tables it gets the same verdict;
 * what opens is looked through, verified, written again, planned and, where it is small, run and trained.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "file_mutate.h"
#include "qorus/model.h"
#include "qorus/rewrite.h"
#include "qorus/tokenizer.h"

enum { BATCH = 2, TOKENS = 3, POSITIONS = 6, MAX_INPUTS = 8 };

/* ---- Opening ----------------------------------------------------------------------------------------------- */

/* Opens once more over a copy of the tables of exactly the size that is asked for. */
static void open_copied(const uint8_t *bytes, size_t size, q_error_code expected, const q_diag *diag)
{
    size_t n = 0;
    q_diag d;
    q_file file;
    uint8_t *copy;
    q_error_code e;
    memset(&d, 0, sizeof(d));
    e = q_file_tables_size(bytes, size, &n, &d);
    if (e != Q_OK) {
        fuzz_must(e == expected && d.offset == diag->offset, "a header has one verdict");
        return;
    }
    copy = (uint8_t *)fuzz_memory(n);
    e = q_file_open(&file, bytes, size, copy, n, &d);
    fuzz_must(e == expected && (e == Q_OK || (d.offset == diag->offset && strcmp(d.what, diag->what) == 0 &&
                                              strcmp(d.field, diag->field) == 0 && d.need == diag->need &&
                                              d.have == diag->have)),
              "a copy has the verdict of the original");
    free(copy);
}

static void verify(const q_file *file, uint32_t index)
{
    q_error_code e = q_file_verify(file, index, NULL);
    fuzz_must(e == Q_OK || e == Q_ERR_HASH || e == Q_ERR_CORRUPT, "what opened is intact or damaged");
}

static void look_inside(const q_file *file)
{
    size_t n;
    const void *section = q_file_section_data(file, Q_SECTION_TOKENIZER, &n);
    for (uint32_t i = 0; i < q_file_n_tensors(file); i++) {
        const q_file_tensor_record *r = q_file_record(file, i);
        const char *name = q_file_name(file, r->name_offset);
        uint32_t found = UINT32_MAX;
        q_tensor t;
        q_file_tensor(file, i, &t);
        fuzz_must(strlen(name) == r->name_length, "a name ends where its length says");
        fuzz_must(q_file_find(file, name, r->name_length, &found) == Q_OK && found == i, "every name is found");
        fuzz_must((const uint8_t *)t.data + r->size.v <= file->base + file->size, "a tensor lies in the file");
        fuzz_must(t.nb[0] * t.ne[0] == r->size.v, "strides cover a tensor");
        verify(file, i);
    }
    verify(file, UINT32_MAX);
    if (section != NULL) {
        q_tokenizer t;
        if (q_tokenizer_open(&t, section, n, NULL) == Q_OK) {
            fuzz_use_tokenizer(&t, file->base + file->size - 64, 64);
        }
    }
}

/* ---- Writing it again --------------------------------------------------------------------------------------- */

typedef struct written {
    uint8_t *bytes;
    uint64_t size;
    uint64_t n;
} written;

static q_error_code take(void *user, uint64_t offset, const void *bytes, size_t n)
{
    written *w = (written *)user;
    fuzz_must(offset <= w->size && n <= w->size - offset, "a rewrite stays within the size it told");
    memcpy(w->bytes + offset, bytes, n);
    w->n += n;
    return Q_OK;
}

static void rewrite(const q_file *file)
{
    static const uint32_t dtypes[] = {Q_F32, Q_Q8_0, Q_Q4_0};
    written w = {NULL, 0, 0};
    q_rewrite r;
    size_t work_size = 0;
    q_diag d;
    memset(&r, 0, sizeof(r));
    r.struct_size = sizeof(r);
    r.dtype = dtypes[file->size / 64 % 3];
    r.file = file;
    r.user = &w;
    r.write = take;
    if (q_rewrite_size(&r, &w.size, &work_size, &d) == Q_OK && w.size <= FUZZ_MAX_MEMORY &&
        work_size <= FUZZ_MAX_MEMORY) {
        void *work = fuzz_memory(work_size);
        w.bytes = (uint8_t *)fuzz_memory((size_t)w.size);
        if (q_rewrite_run(&r, work, work_size, &d) == Q_OK) {
            q_file again;
            fuzz_must(w.n == w.size && q_file_open(&again, w.bytes, (size_t)w.size, NULL, 0, &d) == Q_OK,
                      "what is written opens");
        }
        free(w.bytes);
        free(work);
    }
}

/* ---- Running it ---------------------------------------------------------------------------------------------- */

/* A model at work; pieces that were never made are NULL. */
typedef struct run {
    q_model *model;
    q_plan *plan;
    q_session *session;
    void *memory[3];
    q_region regions[Q_REGION_KINDS];
    size_t n_regions;
    q_backend backend;
} run;

static q_error_code build_model(run *r, const q_file *file, q_diag *d)
{
    q_file_build b;
    size_t n = 0;
    q_error_code e;
    memset(&b, 0, sizeof(b));
    b.file = file;
    e = q_model_size(q_build_from_file, &b, &n, d);
    if (e == Q_OK && n > FUZZ_MAX_MEMORY) {
        e = Q_ERR_LIMIT;
    }
    if (e == Q_OK) {
        r->memory[0] = fuzz_memory(n);
        e = q_model_init(&r->model, (q_block){r->memory[0], n}, q_build_from_file, &b, d);
    }
    return e;
}

static q_error_code build_plan(run *r, uint32_t mode, uint32_t precision, q_diag *d)
{
    q_plan_config c;
    size_t n = 0;
    q_error_code e;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.mode = mode;
    c.precision = precision;
    c.max.batch = BATCH;
    c.max.tokens = TOKENS;
    c.max.selected = 1;
    c.max.kv = POSITIONS;
    c.n_workers = 1;
    c.workspace_size = r->backend.workspace_size;
    e = q_plan_size(r->model, &c, &n, d);
    if (e == Q_OK && n > FUZZ_MAX_MEMORY) {
        e = Q_ERR_LIMIT;
    }
    if (e == Q_OK) {
        r->memory[1] = fuzz_memory(n);
        e = q_plan_init(&r->plan, (q_block){r->memory[1], n}, r->model, &c, d);
    }
    return e;
}

static q_error_code build_session(run *r, q_diag *d)
{
    q_context context = {NULL, &r->backend, 1, 0};
    q_needs needs;
    size_t n = 0;
    q_error_code e = q_session_size(r->plan, &n, d);
    q_plan_needs(r->plan, &needs);
    for (uint32_t kind = Q_REGION_PARAM; kind < Q_REGION_KINDS; kind++) {
        q_region *region = &r->regions[r->n_regions];
        if (needs.bytes[kind][0] > FUZZ_MAX_MEMORY) {
            return Q_ERR_LIMIT;
        }
        if (needs.bytes[kind][0] != 0) {
            region->kind = (uint8_t)kind;
            region->size = needs.bytes[kind][0];
            region->base = fuzz_memory(region->size);
            r->n_regions++;
        }
    }
    if (e == Q_OK && n <= FUZZ_MAX_MEMORY) {
        r->memory[2] = fuzz_memory(n);
        e = q_session_init(&r->session, (q_block){r->memory[2], n}, r->plan, &context, r->regions, r->n_regions, NULL,
                           d);
    }
    return e == Q_OK && r->session == NULL ? Q_ERR_LIMIT : e;
}

/* Zeros for every value of input i; NULL if they are many. */
static void *zeros_of(const q_file *file, uint32_t i)
{
    q_file_graph_view g;
    uint64_t n = 1;
    void *p;
    if (!q_file_graph_arrays(file, &g)) {
        n = TOKENS;
    } else {
        for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
            uint32_t sym = g.inputs[i].sym[d];
            n *= (uint64_t)g.inputs[i].dim[d] * (sym == Q_SYM_ROWS ? BATCH * TOKENS : sym != Q_SYM_ONE ? TOKENS : 1);
            if (n > FUZZ_MAX_MEMORY / 4) {
                return NULL;
            }
        }
    }
    p = fuzz_memory((size_t)n * 4);
    memset(p, 0, (size_t)n * 4);
    return p;
}

static void step(run *r, const q_file *file, bool trains)
{
    void *inputs[MAX_INPUTS] = {NULL};
    uint32_t n = q_model_n_inputs(r->model);
    bool there = n <= MAX_INPUTS;
    q_step s;
    q_diag d;
    memset(&s, 0, sizeof(s));
    for (uint32_t i = 0; there && i < n; i++) {
        inputs[i] = zeros_of(file, i);
        there = inputs[i] != NULL;
    }
    s.n_batch = q_file_get_arch(file) != NULL ? 1 : BATCH;
    s.inputs = (const void *const *)inputs;
    for (uint32_t i = 0; there && i < 3; i++) {
        q_error_code e;
        s.n_tokens = i == 2 ? 1 : TOKENS;
        s.select = i == 1 ? Q_SELECT_LAST : Q_SELECT_NONE;
        e = q_model_forward(r->session, &s, &d);
        fuzz_must(e == Q_OK || (d.code == e && d.field[0] != '\0'), "a step that fails has a diagnosis");
        if (e == Q_OK && trains) {
            e = q_model_backward(r->session, false, &d);
            fuzz_must(e == Q_OK || (d.code == e && d.field[0] != '\0'), "a way back that fails has a diagnosis");
        }
        s.n_batch = 1;
    }
    for (uint32_t i = 0; i < MAX_INPUTS; i++) {
        free(inputs[i]);
    }
}

static void run_model(const q_file *file, uint32_t mode, uint32_t precision)
{
    run r;
    q_diag d;
    q_error_code e;
    memset(&r, 0, sizeof(r));
    memset(&d, 0, sizeof(d));
    q_backend_scalar(&r.backend);
    e = build_model(&r, file, &d);
    if (e == Q_OK) {
        e = build_plan(&r, mode, precision, &d);
    }
    if (e == Q_OK) {
        e = build_session(&r, &d);
    }
    fuzz_must(e == Q_OK || e == Q_ERR_LIMIT || (d.code == e && d.field[0] != '\0'), "a refused model has a diagnosis");
    if (e == Q_OK) {
        step(&r, file, mode == Q_PLAN_TRAIN);
    }
    for (uint32_t i = 0; i < 3; i++) {
        free(r.memory[i]);
    }
    for (size_t i = 0; i < r.n_regions; i++) {
        free(r.regions[i].base);
    }
}

static void file_run(const uint8_t *bytes, size_t size, q_diag *diag)
{
    uint8_t *exact = (uint8_t *)fuzz_memory(size);
    q_file file;
    q_error_code e;
    if (size != 0) {
        memcpy(exact, bytes, size);
    }
    memset(diag, 0, sizeof(*diag));
    e = q_file_open(&file, exact, size, NULL, 0, diag);
    open_copied(exact, size, e, diag);
    if (e == Q_OK) {
        look_inside(&file);
        rewrite(&file);
        run_model(&file, Q_PLAN_INFER, size / 64 % 2 == 0 ? Q_PRECISION_FAST : Q_PRECISION_EXACT);
        if (q_file_get_graph(&file) != NULL) {
            run_model(&file, Q_PLAN_TRAIN, Q_PRECISION_EXACT);
        }
    } else {
        fuzz_must(diag->code == e && diag->field[0] != '\0', "an error has a diagnosis");
    }
    free(exact);
}

const fuzz_target fuzz_file = {"file", file_run, file_mutate};
