/* SPDX-License-Identifier: MIT */
/* Putting file, model, plan, session and generator together. */
#include "engine.h"

#include "backends.h"
#include "qorus/base/mem.h"
#include "qorus/base/text.h"

enum { DEFAULT_CTX = 2048, DEFAULT_CHUNK = 256 };

static q_error_code fail(q_diag *diag, q_error_code code, const char *what, const char *field)
{
    q_text t;
    memset(diag, 0, sizeof(*diag));
    diag->code = code;
    q_text_init(&t, diag->what, sizeof(diag->what));
    q_text_str(&t, what);
    q_text_init(&t, diag->field, sizeof(diag->field));
    q_text_str(&t, field);
    return code;
}

q_error_code engine_backend(q_backend *out, const char *name, const q_port *port, q_diag *diag)
{
    uint64_t features = port != NULL && port->cpu_features != NULL ? port->cpu_features(port->user) : 0;
    if (name == NULL) {
        backend_best(out, features);
        return Q_OK;
    }
    if (!backend_known(name)) {
        return fail(diag, Q_ERR_NOT_FOUND, name, "backend (" BACKEND_NAMES ")");
    }
    return backend_make(out, name, features) ? Q_OK
                                             : fail(diag, Q_ERR_NO_DEVICE, name, "this CPU or system lacks it");
}

q_error_code engine_open(engine *e, const void *base, size_t size, bool copy, const engine_memory *memory,
                         q_diag *diag)
{
    void *tables = NULL;
    size_t n = 0;
    size_t section;
    const void *tokenizer;
    q_error_code code;
    memset(e, 0, sizeof(*e));
    if (copy) {
        code = q_file_tables_size(base, size, &n, diag);
        if (code == Q_OK) {
            code = memory->take(memory->user, n, "tables", &tables, diag);
        }
        if (code != Q_OK) {
            return code;
        }
    }
    code = q_file_open(&e->file, base, size, tables, n, diag);
    if (code != Q_OK) {
        return code;
    }
    tokenizer = q_file_section_data(&e->file, Q_SECTION_TOKENIZER, &section);
    if (tokenizer == NULL || section == 0) {
        return Q_OK;
    }
    e->has_tokenizer = true;
    return q_tokenizer_open(&e->tokenizer, tokenizer, section, diag);
}

/* A graph whose rows have positions. */
static bool reads_rows(const q_file *file)
{
    q_file_graph_view g;
    bool rows = false;
    for (uint32_t i = 0; q_file_graph_arrays(file, &g) && i < g.head->n_inputs * Q_MAX_DIMS; i++) {
        rows = rows || g.inputs[i / Q_MAX_DIMS].sym[i % Q_MAX_DIMS] == Q_SYM_TOKENS;
    }
    return rows;
}

uint32_t engine_context(const engine *e, const options *o)
{
    uint32_t most = o->most_ctx != 0 ? o->most_ctx : DEFAULT_CTX;
    const q_file_arch *arch = q_file_get_arch(&e->file);
    uint32_t trained = arch != NULL ? arch->n_context : 0;
    if (o->ctx != 0 || (arch == NULL && !reads_rows(&e->file))) {
        return o->ctx;
    }
    return arch != NULL && trained < most ? trained : most;
}

static bool same_name(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static bool kv_named(const char *name, uint32_t *type)
{
    static const char *const names[] = {"", "f32", "f16", "q8_0"}; /* as q_kv_type */
    for (*type = 0; *type < Q_KV_COUNT && name != NULL; ++*type) {
        if (same_name(name, names[*type])) {
            return *type != 0;
        }
    }
    return name == NULL;
}

static q_error_code take_block(const engine_memory *memory, size_t size, const char *what, q_block *out,
                               q_diag *diag)
{
    out->size = size;
    return memory->take(memory->user, size, what, &out->base, diag);
}

/* The file's model, with its adapters where there are any. */
static q_error_code make_model(engine *e, const engine_memory *memory, q_diag *diag)
{
    q_file_build file = {.file = &e->file};
    q_decoder_build decoder = {.struct_size = sizeof(decoder), .file = &e->file, .adapters = &e->adapters,
                               .lora_alpha = e->lora_alpha};
    q_build_fn build = e->build != NULL ? e->build : e->has_adapters ? q_build_decoder : q_build_from_file;
    const void *user = e->build != NULL ? e->build_user : e->has_adapters ? (const void *)&decoder : (const void *)&file;
    q_block block;
    q_error_code code = q_model_size(build, user, &e->model_bytes, diag);
    if (code == Q_OK) {
        code = take_block(memory, e->model_bytes, "model", &block, diag);
    }
    return code == Q_OK ? q_model_init(&e->model, block, build, user, diag) : code;
}

q_error_code engine_plan(engine *e, const q_port *port, const options *o, uint32_t max_selected,
                         const engine_memory *memory, q_diag *diag)
{
    q_plan_config c;
    q_block block;
    q_error_code code = engine_backend(&e->backend, o->backend, port, diag);
    if (code == Q_OK) {
        code = make_model(e, memory, diag);
    }
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.precision = o->exact || o->train != NULL ? Q_PRECISION_EXACT : Q_PRECISION_FAST;
    c.flags = (o->no_fuse ? Q_PLAN_NO_FUSE : 0) | e->plan_flags;
    c.moments = e->moments;
    c.mode = o->train != NULL ? Q_PLAN_TRAIN : Q_PLAN_INFER;
    c.max.batch = o->batch != 0 ? o->batch : 1;
    c.max.kv = engine_context(e, o);
    c.max.tokens = o->chunk != 0 ? o->chunk : DEFAULT_CHUNK;
    c.max.tokens = c.max.kv != 0 && c.max.tokens > c.max.kv ? c.max.kv : c.max.tokens;
    c.max.selected = max_selected;
    c.max.sequences = o->sequences;
    c.n_workers = o->threads != 0 ? o->threads : 1;
    if (code == Q_OK && !kv_named(o->kv, &c.kv_type)) {
        code = fail(diag, Q_ERR_NOT_FOUND, o->kv, "kv type (f32, f16, q8_0)");
    }
    c.workspace_size = e->backend.workspace_size;
    e->context.port = port;
    e->context.backend = &e->backend;
    if (code == Q_OK) {
        code = q_plan_size(e->model, &c, &e->plan_bytes, diag);
    }
    if (code == Q_OK) {
        code = take_block(memory, e->plan_bytes, "plan", &block, diag);
    }
    if (code == Q_OK) {
        code = q_plan_init(&e->plan, block, e->model, &c, diag);
    }
    if (code == Q_OK) {
        q_plan_needs(e->plan, &e->needs);
        code = q_session_size(e->plan, &e->session_bytes, diag);
    }
    return code;
}

q_error_code engine_start(engine *e, const q_session_config *config, const engine_memory *memory, q_diag *diag)
{
    static const char *const names[Q_REGION_KINDS] = {"file", "parameters", "prepared", "state", "scratch", "training"};
    q_block block;
    q_error_code code = Q_OK;
    for (uint32_t kind = Q_REGION_PARAM; kind < Q_REGION_KINDS && code == Q_OK; kind++) {
        q_region *r = &e->regions[e->n_regions];
        if (e->needs.bytes[kind][0] == 0) {
            continue;
        }
        memset(r, 0, sizeof(*r));
        r->kind = (uint8_t)kind;
        r->zeroed = memory->zeroed;
        r->size = e->needs.bytes[kind][0];
        code = memory->take(memory->user, r->size, names[kind], &r->base, diag);
        e->n_regions++;
    }
    if (code == Q_OK) {
        code = take_block(memory, e->session_bytes, "session", &block, diag);
    }
    if (code == Q_OK) {
        code = q_session_init(&e->session, block, e->plan, &e->context, e->regions, e->n_regions, config, diag);
    }
    return code;
}

q_error_code engine_generator(engine *e, const options *o, q_generate_config *base, const engine_memory *memory,
                              q_generator **out, q_diag *diag)
{
    q_block block;
    size_t n = 0;
    q_error_code code;
    if (!e->has_tokenizer) {
        return fail(diag, Q_ERR_NOT_FOUND, "file", "tokenizer");
    }
    base->max_tokens = o->n == UINT32_MAX ? base->max_tokens : o->n;
    base->full = o->shift ? Q_FULL_SHIFT : Q_FULL_STOP;
    base->keep = o->keep;
    base->stops = o->stops;
    base->n_stops = o->n_stops;
    base->sampler = o->sampler;
    code = q_generator_size(e->session, &e->tokenizer, base, &n, diag);
    if (code == Q_OK) {
        code = take_block(memory, n, "generator", &block, diag);
    }
    if (code == Q_OK) {
        code = q_generator_init(out, block, e->session, &e->tokenizer, base, diag);
    }
    return code;
}

void engine_explain(const q_diag *diag, char *line, size_t size)
{
    q_text t;
    q_text_init(&t, line, size);
    q_text_str(&t, q_strerror(diag->code));
    if (diag->what[0] != '\0') {
        q_text_str(&t, ": ");
        q_text_str(&t, diag->what);
    }
    if (diag->field[0] != '\0') {
        q_text_str(&t, ": ");
        q_text_str(&t, diag->field);
    }
    if (diag->need != 0 || diag->have != 0) {
        q_text_str(&t, " (need ");
        q_text_u64(&t, diag->need, 0);
        q_text_str(&t, ", have ");
        q_text_u64(&t, diag->have, 0);
        q_text_str(&t, ")");
    }
    if (diag->offset != 0) {
        q_text_str(&t, " at ");
        q_text_u64(&t, diag->offset, 0);
    }
}
