/* SPDX-License-Identifier: MIT */
/*
 * bad_ops.c: runs the table: first the defects that every operand can have, then bad_op_cases.
 */
#include "bad_inner.h"

/* ---- Twins ----------------------------------------------------------------------------------- */

bool bad_text_same(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

bool bad_shape(q_tensor *t, const uint32_t ne[Q_MAX_DIMS])
{
    const uint8_t device = t->device;
    bool ok = q_tensor_init(t, t->data, t->dtype, t->layout, ne, NULL) == Q_OK;
    t->device = device;
    return ok;
}

/* Contents that no op minds: small reals, ids in every range, weights of tiny scales. */
static void fill_slot(uint8_t *to, const bad_operand *o)
{
    memset(to, 0x3c, BAD_SLOT);
    if (o->dtype == Q_I32) {
        const int32_t ids[3] = {2, 3, 0};
        memcpy(to, ids, sizeof(ids));
    } else if (o->dtype == Q_F64) {
        const double frequency[4] = {1, 0.5, 0.25, 0.125};
        memcpy(to, frequency, sizeof(frequency));
    }
}

static void make_twin(const bad_run *r, const bad_op *op, bad_call *b)
{
    memset(b, 0, sizeof(*b));
    b->op = op;
    b->ctx = r->ops;
    b->ctx_arg = &b->ctx;
    for (uint32_t i = 0;
         i < BAD_TENSORS && op->operand[i].dtype != BAD_NONE && op->operand[i].name != NULL; i++) {
        const bad_operand *o = &op->operand[i];
        fill_slot(bad_slot(r, i), o);
        b->tensor[i].data = bad_slot(r, i);
        b->tensor[i].dtype = o->dtype;
        b->tensor[i].layout = o->layout;
        b->arg[i] = bad_shape(&b->tensor[i], o->ne) ? &b->tensor[i] : NULL;
    }
    memset(bad_slot(r, BAD_TENSORS), 0x3c, 2 * (size_t)BAD_SLOT);
    b->kv.struct_size = sizeof(q_kv);
    b->kv.dtype = Q_F16;
    b->kv.kv_heads = 2;
    b->kv.head_dim = 8;
    b->kv.capacity = 64;
    b->kv.k = bad_slot(r, BAD_TENSORS);
    b->kv.v = bad_slot(r, BAD_TENSORS + 1);
    b->kv_arg = &b->kv;
    b->config.struct_size = sizeof(q_op_attention_config);
    b->config.position = 5;
    b->config.scale = 0.5f;
    b->config_arg = &b->config;
    b->position = 1;
    b->scalar = 0.25f;
    b->magnitude = 1;
}

uint32_t bad_operands(const bad_op *op)
{
    uint32_t n = 0;
    while (n < BAD_TENSORS && op->operand[n].name != NULL && op->operand[n].dtype != BAD_NONE) {
        n++;
    }
    return n;
}

/* ---- Verdict --------------------------------------------------------------------------------- */

static uint64_t hash_slots(const bad_run *r)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < (size_t)BAD_SLOTS * BAD_SLOT; i += 8) {
        uint64_t word;
        memcpy(&word, r->slots + i, sizeof(word));
        hash = (hash ^ word) * 0x100000001b3u;
    }
    return hash;
}

static void run_op(void *arg)
{
    bad_call *b = (bad_call *)arg;
    b->op->call(b);
}

static bool diag_matches(const q_diag *d, const bad_op *op, const bad_expected *want)
{
    char what[sizeof(d->what)];
    q_text text;
    q_text_init(&text, what, sizeof(what));
    q_text_str(&text, op->name);
    q_text_str(&text, ": ");
    q_text_str(&text, want->name);
    return d->code == want->code && bad_text_same(d->what, what) &&
           bad_text_same(d->field, want->field);
}

/* Debug builds stop at broken contracts; what a right program can meet is returned. */
static bool must_panic(const bad_run *r, const bad_call *b, const bad_expected *want)
{
    bool met = want->code == Q_ERR_CONTEXT_FULL || want->code == Q_ERR_INVALID_TOKEN ||
               (bad_text_same(want->name, "positions") && bad_text_same(want->field, "position"));
    return r->host->panics && want->code != Q_OK && b->ctx_arg != NULL &&
           b->ctx_arg->mark == Q_OP_MARK && !met;
}

/* "ok   ID op argument: code 'what' 'field'", spaces of the id as in the other tables; why: NULL if
   right. */
static void report(const bad_run *r, const bad_call *b, const char *id, const char *argument,
                   const char *why, const q_diag *got)
{
    char line[240];
    q_text text;
    q_text_init(&text, line, sizeof(line));
    q_text_str(&text, why == NULL ? "ok   " : "FAIL ");
    for (size_t i = 0; id[i] != '\0'; i++) {
        q_text_bytes(&text, id[i] == ' ' ? "_" : &id[i], 1);
    }
    q_text_str(&text, " ");
    q_text_str(&text, b->op->name);
    q_text_str(&text, " ");
    q_text_str(&text, argument);
    q_text_str(&text, why == NULL ? "" : ": ");
    q_text_str(&text, why == NULL ? "" : why);
    q_text_str(&text, ": ");
    q_text_i64(&text, b->code, 0);
    if (b->code != Q_OK) {
        q_text_str(&text, " '");
        q_text_str(&text, got->what);
        q_text_str(&text, "' '");
        q_text_str(&text, got->field);
        q_text_str(&text, "'");
    }
    r->host->print(r->host->user, line,
                   text.length < sizeof(line) ? text.length : sizeof(line) - 1);
}

/* Calls and judges. NULL: right. */
static const char *judge(const bad_run *r, bad_call *b, const bad_expected *want, q_diag *got)
{
    uint64_t before = hash_slots(r);
    const q_diag *panic = NULL;
    if (r->host->attempt != NULL) {
        panic = r->host->attempt(r->host->user, run_op, b);
    } else {
        run_op(b);
    }
    *got = panic != NULL ? *panic : b->diag;
    b->code = panic != NULL ? panic->code : b->code;
    if ((panic != NULL) != must_panic(r, b, want)) {
        return panic != NULL ? "panicked" : "did not panic";
    }
    if (b->code != want->code) {
        return "another code";
    }
    if (want->code == Q_OK) {
        return NULL;
    }
    if (!diag_matches(got, b->op, want)) {
        return "another argument or field";
    }
    return hash_slots(r) == before ? NULL : "memory changed";
}

static void run_case(const bad_run *r, bad_call *b, const char *id, const char *argument,
                     const bad_expected *want)
{
    q_diag got;
    const char *why = judge(r, b, want, &got);
    r->counts->passed += why == NULL ? 1u : 0u;
    r->counts->failed += why == NULL ? 0u : 1u;
    if (why != NULL || r->host->verdicts) {
        report(r, b, id, argument, why, &got);
    }
}

static void run_defects(const bad_run *r, const bad_op *op)
{
    const bad_expected fine = {Q_OK, "", ""};
    bad_call b;
    make_twin(r, op, &b);
    run_case(r, &b, "accepted twin", "", &fine);
    for (uint32_t i = 0; i < bad_operands(op); i++) {
        for (uint32_t defect = 0; defect < bad_defect_count(); defect++) {
            bad_expected want = fine;
            make_twin(r, op, &b);
            if (bad_put_defect(r, &b, i, defect, &want)) {
                run_case(r, &b, bad_defect_id(defect), op->operand[i].name, &want);
            }
        }
    }
}

/* ---- All ------------------------------------------------------------------------------------- */

/* A context whose workspace is not empty, so that something can lie on it. False: no room. */
static bool prepare(bad_run *r, const q_context *context, uint8_t *memory, size_t size)
{
    const size_t slots = (size_t)BAD_SLOTS * BAD_SLOT;
    q_block work;
    if (size < Q_BAD_OPS_MEMORY) {
        return false;
    }
    r->backend = *context->backend;
    r->backend.workspace_size =
        r->backend.workspace_size < BAD_SLOT ? BAD_SLOT : r->backend.workspace_size;
    r->mine = *context;
    r->mine.backend = &r->backend;
    r->mine.n_workers = 1;
    /* gaps of a slot on either side: an output just before the first operand stays inside */
    r->slots = memory + Q_ALIGN;
    work.base = memory + slots + 2 * (size_t)Q_ALIGN;
    work.size = size - slots - 2 * (size_t)Q_ALIGN;
    return q_op_init(&r->ops, &r->mine, work, NULL) == Q_OK;
}

void q_bad_ops_run(const q_context *context, void *memory, size_t size, const bad_ops_host *host,
                   bad_ops_counts *counts)
{
    static const char no_room[] = "FAIL bad ops: not enough memory";
    bad_run r;
    memset(&r, 0, sizeof(r));
    r.host = host;
    r.counts = counts;
    if (!prepare(&r, context, (uint8_t *)memory, size)) {
        counts->failed++;
        host->print(host->user, no_room, sizeof(no_room) - 1);
        return;
    }
    for (uint32_t op = 0; op < BAD_OPS; op++) {
        run_defects(&r, &bad_op_table[op]);
    }
    for (const bad_op_case *c = bad_op_cases; c->id != NULL; c++) {
        const bad_expected want = {c->code, c->name, c->field};
        bad_call b;
        make_twin(&r, &bad_op_table[c->op], &b);
        bad_edit(&r, &b, c);
        run_case(&r, &b, c->id, c->name, &want);
    }
}
