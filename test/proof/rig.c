/* SPDX-License-Identifier: MIT */
/* Building the rig, its accepted arguments, and its calls. */
#include "rig.h"

#include "qorus/base/mem.h"
#include "qorus/base/text.h"

/* ---- Lines -------------------------------------------------------------------------------------------------- */

bool rig_same_text(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

void rig_report(rig *r, bool good, const char *id, q_error_code code, const q_diag *diag)
{
    char line[220];
    q_text t;
    q_text_init(&t, line, sizeof(line));
    q_text_str(&t, good ? "ok   " : "FAIL ");
    q_text_left(&t, id, 46);
    q_text_str(&t, " ");
    q_text_i64(&t, code, 0);
    if (code != Q_OK && diag != NULL) {
        q_text_str(&t, " ");
        q_text_str(&t, diag->what);
        q_text_str(&t, ": ");
        q_text_str(&t, diag->field);
        q_text_str(&t, " at ");
        q_text_u64(&t, diag->offset, 0);
        if (code == Q_ERR_NO_SPACE) {
            q_text_str(&t, ", need ");
            q_text_u64(&t, diag->need, 0);
            q_text_str(&t, ", have ");
            q_text_u64(&t, diag->have, 0);
        }
    }
    r->host->print(r->host->user, line, t.length < sizeof(line) ? t.length : sizeof(line) - 1);
    r->host->passed += good ? 1u : 0u;
    r->host->failed += good ? 0u : 1u;
}

/* ---- Memory ------------------------------------------------------------------------------------------------- */

void *rig_take(rig *r, size_t size)
{
    size_t whole = (size + RIG_GAP + 127) / 128 * 128;
    void *piece = r->memory;
    if (whole > r->memory_size) {
        return NULL;
    }
    r->memory += whole;
    r->memory_size -= whole;
    return piece;
}

static q_block rig_block(rig *r, size_t size)
{
    q_block b;
    b.base = rig_take(r, size);
    b.size = b.base != NULL ? size : 0;
    return b;
}

/* ---- Building ----------------------------------------------------------------------------------------------- */

static bool rig_open_file(rig *r)
{
    size_t n = 0;
    const void *section;
    if (q_file_open(&r->file, r->blob, r->blob_size, NULL, 0, &r->diag) != Q_OK || q_file_get_arch(&r->file) == NULL) {
        return false;
    }
    section = q_file_section_data(&r->file, Q_SECTION_TOKENIZER, &n);
    r->n_vocab = q_file_get_arch(&r->file)->n_vocab;
    r->build.file = &r->file;
    q_backend_scalar(&r->backend);
    return q_tokenizer_open(&r->tokenizer, section, n, &r->diag) == Q_OK;
}

static void rig_configure(rig *r)
{
    q_plan_config *c = &r->plan_config;
    memset(c, 0, sizeof(*c));
    c->struct_size = sizeof(*c);
    c->max.batch = 1;
    c->max.tokens = 16;
    c->max.selected = 1;
    c->max.kv = RIG_KV;
    c->n_workers = 1;
    c->workspace_size = r->backend.workspace_size;
}

static bool rig_place_regions(rig *r)
{
    static const q_region_kind kinds[RIG_REGIONS] = {Q_REGION_STATE, Q_REGION_SCRATCH};
    bool good = true;
    memset(r->region, 0, sizeof(r->region));
    for (uint32_t i = 0; i < RIG_REGIONS; i++) {
        r->region[i].kind = (uint8_t)kinds[i];
        r->region[i].size = r->needs.bytes[kinds[i]][0];
        r->region[i].base = rig_take(r, r->region[i].size);
        good = good && r->region[i].base != NULL;
    }
    return good;
}

/* Every object at exactly the size its query gave. */
static q_error_code rig_build(rig *r)
{
    q_context context;
    q_generate_config generate;
    q_error_code e = q_model_size(q_build_from_file, &r->build, &r->model_size, &r->diag);
    if (e == Q_OK) {
        e = q_model_init(&r->model, rig_block(r, r->model_size), q_build_from_file, &r->build, &r->diag);
    }
    if (e == Q_OK) {
        e = q_plan_size(r->model, &r->plan_config, &r->plan_size, &r->diag);
    }
    if (e == Q_OK) {
        e = q_plan_init(&r->plan, rig_block(r, r->plan_size), r->model, &r->plan_config, &r->diag);
    }
    if (e != Q_OK) {
        return e;
    }
    q_plan_needs(r->plan, &r->needs);
    memset(&context, 0, sizeof(context));
    context.backend = &r->backend;
    e = rig_place_regions(r) ? q_session_size(r->plan, &r->session_size, &r->diag) : Q_ERR_NO_SPACE;
    if (e == Q_OK) {
        e = q_session_init(&r->session, rig_block(r, r->session_size), r->plan, &context, r->region, RIG_REGIONS, NULL,
                           &r->diag);
    }
    q_generate_defaults(&generate);
    if (e == Q_OK) {
        e = q_generator_size(r->session, &r->tokenizer, &generate, &r->generator_size, &r->diag);
    }
    if (e == Q_OK) {
        e = q_generator_init(&r->generator, rig_block(r, r->generator_size), r->session, &r->tokenizer, &generate,
                             &r->diag);
    }
    return e;
}

rig *rig_open(proof_host *host, const void *blob, size_t size, void *memory, size_t memory_size)
{
    rig *r = (rig *)memory;
    size_t own = (sizeof(*r) + 4095) / 4096 * 4096;
    q_error_code e;
    memset(r, 0, sizeof(*r));
    r->host = host;
    r->blob = (const uint8_t *)blob;
    r->blob_size = size;
    r->memory = (uint8_t *)memory + own;
    r->memory_size = memory_size - own;
    if (!rig_open_file(r)) {
        rig_report(r, false, "rig_file_is_a_language_model", r->diag.code, &r->diag);
        return NULL;
    }
    rig_configure(r);
    e = rig_build(r);
    r->spare_model = rig_take(r, r->model_size);
    r->spare_plan = rig_take(r, r->plan_size);
    r->spare_session = rig_take(r, r->session_size);
    r->spare_generator = rig_take(r, r->generator_size);
    r->text_work = rig_take(r, RIG_TEXT_WORK);
    if (e != Q_OK || r->text_work == NULL) {
        rig_report(r, false, "rig_is_built", e, &r->diag);
        return NULL;
    }
    return r;
}

/* ---- Twins -------------------------------------------------------------------------------------------------- */

static q_error_code rig_rows(void *user, uint32_t first, uint32_t n, const q_tensor *rows)
{
    (void)first;
    (void)n;
    (void)rows;
    return ((rig *)user)->args.rows_code;
}

static q_block spare(void *base, size_t size)
{
    q_block b;
    b.base = base;
    b.size = size;
    return b;
}

static void reset_objects(rig *r, rig_args *a)
{
    a->model_out = &r->out.model;
    a->model_memory = spare(r->spare_model, r->model_size);
    a->build = q_build_from_file;
    a->plan_out = &r->out.plan;
    a->plan_memory = spare(r->spare_plan, r->plan_size);
    a->model = r->model;
    a->plan_value = r->plan_config;
    a->plan_config = &a->plan_value;
    a->session_out = &r->out.session;
    a->session_memory = spare(r->spare_session, r->session_size);
    a->plan = r->plan;
    a->backend = r->backend;
    a->port.struct_size = sizeof(a->port);
    a->context_value.port = &a->port;
    a->context_value.backend = &a->backend;
    a->context = &a->context_value;
    memcpy(a->region, r->region, sizeof(a->region));
    a->regions = a->region;
    a->n_regions = RIG_REGIONS;
    a->session_value.struct_size = sizeof(a->session_value);
    a->session_config = &a->session_value;
    a->session = r->session;
}

static void reset_step(rig *r, rig_args *a)
{
    uint32_t seed = 7;
    for (uint32_t i = 0; i < RIG_IDS; i++) {
        seed = seed * 1664525u + 1013904223u;
        a->ids[i] = (int32_t)((seed >> 8) % r->n_vocab);
    }
    a->inputs[0] = a->ids;
    a->selected[1] = 2;
    a->step_value.n_tokens = 4;
    a->step_value.inputs = a->inputs;
    a->step_value.select = Q_SELECT_LAST;
    a->step_value.selected = a->selected;
    a->step_value.n_selected = 2;
    a->step_value.rows = rig_rows;
    a->step_value.rows_user = r;
    a->step = &a->step_value;
    a->ids_in = a->ids;
    a->n_ids = 4;
    a->tensor_out = &r->out.tensor;
    a->bytes_out = &r->out.bytes;
}

static void reset_text(rig *r, rig_args *a)
{
    static const char text[] = "abababababababababababababababababababab";
    a->generator_out = &r->out.generator;
    a->generator_memory = spare(r->spare_generator, r->generator_size);
    a->tokenizer_value = r->tokenizer;
    a->tokenizer = &a->tokenizer_value;
    q_generate_defaults(&a->generate_value);
    a->generate_value.max_tokens = 2;
    a->generate_value.ignore_eog = 1;
    a->generate = &a->generate_value;
    a->generator = r->generator;
    a->reason_out = &r->out.reason;
    a->text = text;
    a->n_text = sizeof(text) - 1;
    a->text_work = r->text_work;
    a->text_work_size = RIG_TEXT_WORK;
    a->ids_out = r->out.ids;
    a->cap = 64;
    a->text_out = r->out.text;
    a->n_out = &r->out.n;
    q_sampler_defaults(&a->sampler);
    a->sampler_in = &a->sampler;
    a->n_logits = 4;
    a->token_out = &r->out.token;
}

void rig_reset(rig *r)
{
    memset(&r->args, 0, sizeof(r->args));
    reset_objects(r, &r->args);
    reset_step(r, &r->args);
    reset_text(r, &r->args);
}

/* ---- Calls -------------------------------------------------------------------------------------------------- */

static q_error_code call_objects(rig *r, const rig_args *a, rig_call call)
{
    switch (call) {
    case RIG_MODEL:
        return q_model_init(a->model_out, a->model_memory, a->build, &r->build, &r->diag);
    case RIG_PLAN:
        return q_plan_init(a->plan_out, a->plan_memory, a->model, a->plan_config, &r->diag);
    case RIG_SESSION:
        return q_session_init(a->session_out, a->session_memory, a->plan, a->context, a->regions, a->n_regions,
                              a->session_config, &r->diag);
    case RIG_CONFIGURE:
        return q_session_configure(a->session, a->session_config, &r->diag);
    case RIG_FORWARD:
        return q_model_forward(a->session, a->step, &r->diag);
    case RIG_REWIND:
        return q_session_rewind(a->session, a->n, &r->diag);
    case RIG_SET_POSITION:
        return q_session_set_position(a->session, a->n, &r->diag);
    case RIG_OUTPUT:
        return q_session_output(a->session, a->n, a->tensor_out, &r->diag);
    default:
        return q_session_param(a->session, a->n, a->tensor_out, &r->diag);
    }
}

static q_error_code call_generator(rig *r, const rig_args *a, rig_call call)
{
    switch (call) {
    case RIG_GENERATOR:
        return q_generator_init(a->generator_out, a->generator_memory, a->session, a->tokenizer, a->generate,
                                &r->diag);
    case RIG_GENERATOR_CONFIGURE:
        return q_generator_configure(a->generator, a->generate, &r->diag);
    case RIG_FEED:
        return q_generator_feed(a->generator, a->ids_in, a->n_ids, &r->diag);
    case RIG_TEXT:
        return q_generator_text(a->generator, a->text, a->n_text, a->flags, a->text_work, a->text_work_size, &r->diag);
    case RIG_RUN:
        return q_generator_run(a->generator, a->reason_out, &r->diag);
    case RIG_GENERATOR_REWIND:
        return q_generator_rewind(a->generator, a->n, &r->diag);
    default:
        return q_generator_restore(a->generator, a->ids_in, a->n, &r->diag);
    }
}

static q_error_code call_text(rig *r, const rig_args *a, rig_call call)
{
    switch (call) {
    case RIG_ENCODE:
        return q_tokenizer_encode(a->tokenizer, a->text, a->n_text, a->flags, a->text_work, a->text_work_size,
                                  a->ids_out, a->cap, a->n_out, &r->diag);
    case RIG_DECODE:
        return q_tokenizer_decode(a->tokenizer, a->ids_in, a->n_ids, a->flags, a->text_out, a->cap, a->n_out,
                                  &r->diag);
    case RIG_CHAT:
        return q_chat_turn(a->tokenizer, Q_CHAT_USER, a->text, a->n_text, false, a->text_work, a->text_work_size,
                           a->ids_out, a->cap, a->n_out, &r->diag);
    default:
        return q_sampler_sample(a->sampler_in, a->logits, a->n_logits, a->history, 2, 0, a->text_work,
                                a->text_work_size, a->token_out, &r->diag);
    }
}

/* The live session and generator stand at the beginning, then where the arguments say. */
static bool rig_prepare(rig *r, rig_call call)
{
    const rig_args *a = &r->args;
    bool good = q_session_rewind(r->session, 0, NULL) == Q_OK && q_generator_rewind(r->generator, 0, NULL) == Q_OK;
    if (call >= RIG_FEED && call <= RIG_RESTORE) {
        good = good && q_generator_configure(r->generator, &a->generate_value, NULL) == Q_OK;
    }
    if (a->fed != 0) {
        good = good && q_generator_feed(r->generator, a->ids, a->fed, NULL) == Q_OK;
    }
    return good && (a->start == 0 || q_session_set_position(r->session, a->start, NULL) == Q_OK);
}

q_error_code rig_run(rig *r, rig_call call)
{
    memset(&r->diag, 0, sizeof(r->diag));
    if (!rig_prepare(r, call)) {
        return Q_ERR_INVALID_STATE;
    }
    memset(&r->out, 0xA5, sizeof(r->out));
    if (call < RIG_GENERATOR) {
        return call_objects(r, &r->args, call);
    }
    return call < RIG_ENCODE ? call_generator(r, &r->args, call) : call_text(r, &r->args, call);
}

bool rig_untouched(const rig *r)
{
    const uint8_t *p = (const uint8_t *)&r->out;
    size_t n = 0;
    while (n < sizeof(r->out) && p[n] == 0xA5) {
        n++;
    }
    return n == sizeof(r->out);
}

/* ---- Logits ------------------------------------------------------------------------------------------------- */

static q_error_code hash_rows(void *user, uint32_t first, uint32_t n, const q_tensor *rows)
{
    uint64_t *hash = (uint64_t *)user;
    (void)first;
    for (uint32_t row = 0; row < n; row++) {
        const uint8_t *p = (const uint8_t *)rows->data + row * rows->nb[2];
        for (size_t i = 0; i < rows->ne[3] * sizeof(float); i++) {
            *hash = (*hash ^ p[i]) * 0x100000001b3u;
        }
    }
    return Q_OK;
}

uint64_t rig_hash(rig *r, q_session *session, uint32_t n, q_error_code *code)
{
    uint64_t hash = 0xcbf29ce484222325u;
    q_step step;
    rig_reset(r);
    memset(&step, 0, sizeof(step));
    step.n_tokens = n;
    step.inputs = r->args.inputs;
    step.select = Q_SELECT_ALL;
    step.rows = hash_rows;
    step.rows_user = &hash;
    *code = q_session_rewind(session, 0, &r->diag);
    if (*code == Q_OK) {
        *code = q_model_forward(session, &step, &r->diag);
    }
    return hash;
}
