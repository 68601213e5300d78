/* SPDX-License-Identifier: MIT */
/*
 * runner.c: walks packs of golden vectors, runs each case with 1 and with 3 workers, and reports.
 *
 * Nothing of a pack is used before it was found to lie within the bytes given.
 */
#include "qorus/base/mem.h"
#include "qvec.h"

typedef struct vec_session {
    const q_backend *b;
    uint8_t *work;
    size_t work_size;
    q_vectors_print print;
    void *user;
    q_vectors_result *result;
} vec_session;

static void vec_say(const vec_session *s, const vec_line *l)
{
    s->print(s->user, l->text, l->n);
}

static void vec_complain(const vec_session *s, const char *kernel, const char *name, const char *what)
{
    vec_line l;
    l.n = 0;
    vec_text(&l, "FAIL ");
    vec_text_n(&l, kernel, 32);
    if (name != NULL) {
        vec_text(&l, " \"");
        vec_text_n(&l, name, 64);
        vec_text(&l, "\"");
    }
    vec_text(&l, ": ");
    vec_text(&l, what);
    vec_say(s, &l);
    s->result->failed++;
}

/* ---- Bounds ---------------------------------------------------------------------------------------------- */

static bool vec_within(uint64_t offset, uint64_t bytes, uint64_t total)
{
    return offset <= total && bytes <= total - offset;
}

static bool vec_tensor_ok(const vec_case *head, const vec_tensor *t)
{
    uint64_t tight = (uint64_t)t->rows * t->row_bytes;
    uint64_t span = t->rows == 0 ? 0 : (uint64_t)(t->rows - 1) * t->stride + t->row_bytes;
    uint64_t data = t->output != 0 ? tight : span;
    bool ok = t->role < VEC_ROLES && t->output <= 1 && t->tolerance <= VEC_T2 && t->stride >= t->row_bytes &&
              span <= UINT32_MAX && t->data_bytes == data && t->shift < Q_ALIGN &&
              vec_within(t->data, data, head->bytes);
    if (t->init != 0) {
        ok = ok && vec_within(t->init, tight, head->bytes);
    }
    if (t->tolerance == VEC_T2) {
        ok = ok && t->dtype == Q_F32 && t->row_bytes % 4u == 0 && vec_within(t->magnitude, tight, head->bytes);
    }
    if ((t->flags & VEC_FREE_GAP) != 0) {
        ok = ok && t->stride - t->row_bytes <= VEC_GUARD;
    }
    return ok;
}

static uint32_t vec_scalar_bytes(uint32_t n)
{
    return (n * 8u + 63u) & ~63u;
}

/* True if the case at p, with `left` bytes behind it, lies within its own bounds. */
static bool vec_case_ok(const vec_case *head, size_t left)
{
    const vec_tensor *t;
    uint32_t fixed;
    if (left < sizeof(*head) || head->magic != VEC_CASE_MAGIC || head->bytes > left || head->bytes % 64u != 0 ||
        head->n_tensors > VEC_MAX_TENSORS || head->n_scalars > VEC_MAX_SCALARS) {
        return false;
    }
    fixed = (uint32_t)sizeof(*head) + vec_scalar_bytes(head->n_scalars);
    if (fixed + head->n_tensors * (uint32_t)sizeof(*t) > head->bytes) {
        return false;
    }
    t = (const vec_tensor *)((const void *)((const uint8_t *)head + fixed));
    for (uint32_t i = 0; i < head->n_tensors; i++) {
        if (!vec_tensor_ok(head, &t[i])) {
            return false;
        }
    }
    return true;
}

/* ---- One case -------------------------------------------------------------------------------------------- */

/* Places outputs and 3 workspaces in work memory; returns the first workspace, NULL if they do not fit. */
static uint8_t *vec_place(const vec_session *s, vec_run *c)
{
    size_t at = 0;
    size_t need = 3 * (s->b->workspace_size + VEC_GUARD);
    for (uint32_t i = 0; i < c->head->n_tensors; i++) {
        const vec_tensor *t = &c->tensors[i];
        c->at[i] = NULL;
        if (t->output == 0) {
            continue;
        }
        if (vec_output_bytes(t) > s->work_size - at) {
            return NULL;
        }
        c->at[i] = s->work + at + VEC_GUARD + t->shift;
        at += vec_output_bytes(t);
    }
    return need <= s->work_size - at ? s->work + at : NULL;
}

static void vec_run_block(const vec_run *c, q_run *run)
{
    uint32_t selected = vec_find(c, VEC_SELECTED);
    uint32_t spans = vec_find(c, VEC_SPANS);
    run->n_batch = c->head->n_batch;
    run->n_tokens = c->head->n_tokens;
    run->n_selected = c->head->n_selected;
    run->position = c->head->position;
    run->selected = NULL;
    if (selected != c->head->n_tensors) {
        run->selected = (const uint32_t *)((uintptr_t)c->head + c->tensors[selected].data);
    }
    run->seed = c->head->seed;
    run->step = c->head->step;
    run->learning_rate = c->head->learning_rate;
    run->training = c->head->training;
    run->first_sample = 0;
    run->reserved = 0;
    run->n_spans = 0;
    run->spans = NULL;
    if (spans != c->head->n_tensors) {
        run->n_spans = c->tensors[spans].rows;
        run->spans = (const q_span *)((uintptr_t)c->head + c->tensors[spans].data);
    }
}

/* Every byte is the first one, and that is `value`. */
static bool vec_all(const uint8_t *p, size_t n, uint8_t value)
{
    return n == 0 || (p[0] == value && memcmp(p, p + 1, n - 1) == 0);
}

/* Every worker in turn, the last one first: none may count on another having run. Returns NULL, or what went
   wrong. */
static const char *vec_call_workers(const vec_session *s, const vec_run *c, const vec_driver *d, const vec_args *args,
                             uint8_t *workspace, uint32_t n_workers)
{
    size_t each = s->b->workspace_size + VEC_GUARD;
    q_run run;
    vec_run_block(c, &run);
    for (uint32_t i = 0; i < c->head->n_tensors; i++) {
        if (c->at[i] != NULL) {
            vec_prepare_output(c, i);
        }
    }
    for (uint32_t worker = n_workers; worker-- > 0;) {
        const uint8_t fill = n_workers == 1 ? VEC_FILL : 0xFF;
        q_work w;
        memset(workspace, fill, 3 * each);
        w.worker = worker;
        w.n_workers = n_workers;
        w.run = &run;
        w.workspace = workspace + worker * each;
        w.workspace_size = s->b->workspace_size;
        w.state = s->b->state;
        if (!d->call(s->b, &w, args)) {
            return "the backend has no such kernel";
        }
        if (!vec_all(workspace, worker * each, fill) ||
            !vec_all(workspace + (worker + 1u) * each - VEC_GUARD, (2u - worker) * each + VEC_GUARD, fill)) {
            return "a byte outside the worker's workspace was written";
        }
    }
    return NULL;
}

static void vec_report_failure(const vec_session *s, const vec_run *c, const vec_driver *d, const vec_verdict *v,
                               uint32_t n_workers)
{
    vec_line l;
    l.n = 0;
    vec_text(&l, "FAIL ");
    vec_text(&l, d->kernel);
    vec_text(&l, " \"");
    vec_text_n(&l, c->head->name, sizeof(c->head->name));
    vec_text(&l, "\" (case ");
    vec_number(&l, c->head->number, 1);
    vec_text(&l, ", workers ");
    vec_number(&l, n_workers, 1);
    vec_text(&l, "): ");
    vec_text(&l, vec_role_name(c->tensors[v->tensor].role));
    vec_text(&l, "[");
    vec_number(&l, v->row, 1);
    vec_text(&l, "][");
    vec_number(&l, v->column, 1);
    if (v->kind == VEC_CANARY) {
        vec_text(&l, "] byte outside the rows was written");
    } else {
        vec_text(&l, "] is ");
        vec_hex(&l, v->got);
        vec_text(&l, ", wanted ");
        vec_hex(&l, v->want);
        vec_text(&l, "; largest error/gate ");
        vec_share(&l, v->max_share);
    }
    vec_say(s, &l);
}

/* Runs one case with 1 and 3 workers; v holds the worst of both. True if right. */
static bool vec_run_case(const vec_session *s, vec_run *c, const vec_driver *d, vec_verdict *v)
{
    vec_args args;
    uint8_t *workspace = vec_place(s, c);
    if (workspace == NULL) {
        vec_complain(s, d->kernel, c->head->name, "work memory is too small");
        return false;
    }
    c->next_scalar = 0;
    c->bad = false;
    d->build(c, &args);
    if (c->bad || c->next_scalar != c->head->n_scalars) {
        vec_complain(s, d->kernel, c->head->name, "the case does not fit the kernel's arguments");
        return false;
    }
    for (uint32_t n_workers = 1; n_workers <= 3; n_workers += 2) {
        const char *wrong = vec_call_workers(s, c, d, &args, workspace, n_workers);
        if (wrong != NULL) {
            vec_complain(s, d->kernel, c->head->name, wrong);
            return false;
        }
        for (uint32_t i = 0; i < c->head->n_tensors; i++) {
            if (c->at[i] != NULL) {
                vec_check_output(c, i, v);
            }
        }
        if (v->kind != VEC_FINE) {
            vec_report_failure(s, c, d, v, n_workers);
            s->result->failed++;
            return false;
        }
    }
    s->result->passed++;
    return true;
}

/* ---- One pack -------------------------------------------------------------------------------------------- */

typedef struct vec_summary {
    uint32_t cases;
    uint32_t right;
    uint32_t max_ulp;
    double max_share;
    const char *worst;
} vec_summary;

static void vec_report_pack(const vec_session *s, const char *kernel, const vec_summary *sum)
{
    vec_line l;
    l.n = 0;
    vec_text(&l, kernel);
    vec_pad(&l, 16);
    vec_number(&l, sum->right, 4);
    vec_text(&l, " of ");
    vec_number(&l, sum->cases, 3);
    vec_text(&l, " right, max ulp ");
    vec_number(&l, sum->max_ulp, 1);
    vec_text(&l, ", max error/gate ");
    vec_share(&l, sum->max_share);
    if (sum->worst != NULL) {
        vec_text(&l, " in \"");
        vec_text_n(&l, sum->worst, 64);
        vec_text(&l, "\"");
    }
    vec_say(s, &l);
}

static uint32_t vec_kernel_of(const vec_pack *p)
{
    uint32_t i = 0;
    for (; i < Q_VECTORS_KERNELS; i++) {
        const char *name = vec_drivers[i].kernel;
        uint32_t j = 0;
        while (j < sizeof(p->kernel) && name[j] == p->kernel[j] && name[j] != '\0') {
            j++;
        }
        if (j < sizeof(p->kernel) && name[j] == p->kernel[j]) {
            break;
        }
    }
    return i;
}

static void vec_run_pack(const vec_session *s, const vec_pack *p, uint32_t kernel)
{
    const vec_driver *d = &vec_drivers[kernel];
    vec_summary sum = {0, 0, 0, 0.0, NULL};
    size_t at = sizeof(*p);
    for (uint32_t i = 0; i < p->n_cases; i++) {
        vec_verdict v = {0, 0.0, 0, 0, 0, 0, 0, VEC_FINE};
        vec_run c;
        c.head = (const vec_case *)((const void *)((const uint8_t *)p + at));
        if (!vec_case_ok(c.head, p->bytes - at)) {
            vec_complain(s, d->kernel, NULL, "malformed case; the rest of the pack is left out");
            break;
        }
        c.scalars = (const double *)((const void *)(c.head + 1));
        c.tensors = (const vec_tensor *)((const void *)((const uint8_t *)c.scalars +
                                                        vec_scalar_bytes(c.head->n_scalars)));
        sum.cases++;
        sum.right += vec_run_case(s, &c, d, &v) ? 1u : 0u;
        sum.max_ulp = v.max_ulp > sum.max_ulp ? v.max_ulp : sum.max_ulp;
        if (v.max_share > sum.max_share) {
            sum.max_share = v.max_share;
            sum.worst = c.head->name;
        }
        at += c.head->bytes;
    }
    s->result->cases[kernel] += sum.cases;
    vec_report_pack(s, d->kernel, &sum);
}

void q_vectors_run(const q_backend *b, const void *pack, size_t size, void *work, size_t work_size,
                   q_vectors_print print, void *user, q_vectors_result *result)
{
    const vec_session s = {b, (uint8_t *)work, work_size, print, user, result};
    size_t at = 0;
    if ((uintptr_t)pack % Q_ALIGN != 0 || (uintptr_t)work % Q_ALIGN != 0) {
        vec_complain(&s, "pack", NULL, "pack or work memory is not aligned to 64 bytes");
        return;
    }
    while (at < size) {
        const vec_pack *p = (const vec_pack *)((const void *)((const uint8_t *)pack + at));
        uint32_t kernel;
        if (size - at < sizeof(*p) || p->magic != VEC_PACK_MAGIC || p->version != VEC_VERSION ||
            p->bytes < sizeof(*p) || p->bytes > size - at || p->bytes % 64u != 0) {
            vec_complain(&s, "pack", NULL, "not a vector pack of this version, or cut short");
            return;
        }
        kernel = vec_kernel_of(p);
        if (kernel == Q_VECTORS_KERNELS) {
            vec_complain(&s, p->kernel, NULL, "vectors of a kernel that kernels.inc does not list");
        } else {
            vec_run_pack(&s, p, kernel);
        }
        at += p->bytes;
    }
}

bool q_vectors_finish(q_vectors_print print, void *user, q_vectors_result *result)
{
    const vec_session s = {NULL, NULL, 0, print, user, result};
    vec_line l;
    for (uint32_t i = 0; i < Q_VECTORS_KERNELS; i++) {
        if (result->cases[i] == 0) {
            vec_complain(&s, vec_drivers[i].kernel, NULL, "kernel without vectors");
        }
    }
    l.n = 0;
    vec_number(&l, result->passed, 1);
    vec_text(&l, " passed, ");
    vec_number(&l, result->failed, 1);
    vec_text(&l, " failed, ");
    vec_number(&l, result->skipped, 1);
    vec_text(&l, " skipped");
    vec_say(&s, &l);
    return result->failed == 0 && result->passed != 0;
}
