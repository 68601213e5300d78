/* SPDX-License-Identifier: MIT */
/* qorus inspect: what a .qorus or .qtok file or a checkpoint holds, and whether its hashes are right. */
#define _POSIX_C_SOURCE 200809L
#include "inspect.h"
#include "qorus/sha256.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Names of numbers ------------------------------------------------------------------------------------- */

/* names[value]; numbers in files have been validated, so "?" shows only where this table lags behind. */
static const char *name_of(const char *const *names, size_t n, uint64_t value)
{
    return value < n && names[value] != NULL ? names[value] : "?";
}
#define NAME_OF(names, value) name_of(names, sizeof(names) / sizeof((names)[0]), value)

static const char *const dtypes[] = {"f32", "q8_0", "q4_0", "q4_1", "f16", "bf16", "i32", "f64", "a8"};
static const char *const layouts[] = {"plain", "panel16"};
static const char *const sections[] = {"tensors", "names", "strings", "arch", "graph", "tokenizer", "meta", "data"};
static const char *const arch_kinds[] = {NULL, "decoder"};
static const char *const activations[] = {"none", "relu", "silu", "gelu_tanh", "gelu_erf", "sigmoid", "tanh"};
static const char *const scalings[] = {"none", "linear", "llama3", "yarn"};
static const char *const pairings[] = {NULL, "half-split"};
static const char *const layer_kinds[] = {"full", "window", "no-rope"};
static const char *const syms[] = {"", "batch", "tokens", "rows", "selected"};
static const char *const tokenizers[] = {NULL, "byte", "bpe"};
static const char *const pretokenizers[] = {"none", "gpt-2", "smollm"};
static const char *const chats[] = {"none", "chatml"};
static const char *const token_types[] = {"normal", "control", "user", "byte", "unused"};

/* ---- Header and sections ---------------------------------------------------------------------------------- */

static void show_header(doc *d, const q_file *f)
{
    const q_file_header *h = q_file_get_header(f);
    char hex[2 * Q_SHA256_BYTES + 1];
    for (size_t i = 0; i < Q_SHA256_BYTES; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", h->tables_sha256[i]);
    }
    doc_group(d, "file");
    doc_text(d, "format", "qorus", 0);
    doc_u64(d, "version", h->version, 0);
    doc_u64(d, "bytes", h->file_size.v, 0);
    doc_text(d, "tables_sha256", hex, 0);
    doc_group_end(d);
    doc_table(d, "sections", "section          offset           bytes   count");
    for (uint32_t i = 0; i < Q_SECTION_COUNT; i++) {
        doc_row(d);
        doc_text(d, "section", sections[i], 9);
        doc_u64(d, "offset", h->section[i].offset.v, -12);
        doc_u64(d, "bytes", h->section[i].size.v, -14);
        doc_u64(d, "count", h->section[i].count, -6);
        doc_row_end(d);
    }
    doc_table_end(d);
}

/* ---- Architecture ----------------------------------------------------------------------------------------- */

static void show_rope(doc *d, const q_file_arch *a)
{
    doc_text(d, "rope_scaling", NAME_OF(scalings, a->rope_scaling), 0);
    doc_u64(d, "rope_dims", a->rope_dims, 0);
    doc_text(d, "rope_pairing", NAME_OF(pairings, a->rope_pairing), 0);
    doc_u64(d, "rope_original_context", a->rope_original_context, 0);
    doc_double(d, "rope_base", a->rope_base);
    doc_double(d, "rope_local_base", a->rope_local_base);
    doc_double(d, "rope_factor", a->rope_factor);
    doc_double(d, "rope_low", a->rope_low);
    doc_double(d, "rope_high", a->rope_high);
    doc_double(d, "rope_magnitude", a->rope_magnitude);
}

/* "full" for all layers alike, else one word a layer. */
static void show_kinds(doc *d, const uint8_t *kinds, uint32_t n)
{
    static char words[Q_CAP_LAYERS * 8 + 1];
    size_t length = 0;
    bool same = true;
    for (uint32_t i = 0; i < n; i++) {
        same = same && kinds[i] == kinds[0];
        length += (size_t)snprintf(words + length, sizeof(words) - length, "%s%s", i == 0 ? "" : " ",
                                   NAME_OF(layer_kinds, kinds[i]));
    }
    doc_text(d, "layer_kinds", same ? NAME_OF(layer_kinds, kinds[0]) : words, 0);
}

static void show_arch(doc *d, const q_file *f)
{
    const q_file_arch *a = q_file_get_arch(f);
    if (a == NULL) {
        return;
    }
    doc_group(d, "arch");
    doc_text(d, "kind", NAME_OF(arch_kinds, a->kind), 0);
    doc_bool(d, "tied", (a->flags & Q_ARCH_TIED) != 0);
    doc_bool(d, "qkv_bias", (a->flags & Q_ARCH_QKV_BIAS) != 0);
    doc_bool(d, "qk_norm", (a->flags & Q_ARCH_QK_NORM) != 0);
    doc_bool(d, "post_norms", (a->flags & Q_ARCH_POST_NORMS) != 0);
    doc_u64(d, "n_layers", a->n_layers, 0);
    doc_u64(d, "d_model", a->d_model, 0);
    doc_u64(d, "n_heads", a->n_heads, 0);
    doc_u64(d, "n_kv_heads", a->n_kv_heads, 0);
    doc_u64(d, "head_dim", a->head_dim, 0);
    doc_u64(d, "d_ffn", a->d_ffn, 0);
    doc_u64(d, "n_vocab", a->n_vocab, 0);
    doc_u64(d, "n_context", a->n_context, 0);
    doc_text(d, "activation", NAME_OF(activations, a->activation), 0);
    doc_u64(d, "window", a->window, 0);
    doc_float(d, "norm_eps", a->norm_eps);
    doc_float(d, "norm_offset", a->norm_offset);
    doc_float(d, "embed_scale", a->embed_scale);
    doc_float(d, "attn_scale", a->attn_scale);
    doc_float(d, "residual_scale", a->residual_scale);
    doc_float(d, "logit_scale", a->logit_scale);
    doc_float(d, "attn_softcap", a->attn_softcap);
    doc_float(d, "logit_softcap", a->logit_softcap);
    show_rope(d, a);
    show_kinds(d, q_file_layer_kinds(f), a->n_layers);
    doc_group_end(d);
}

/* ---- Graph ------------------------------------------------------------------------------------------------ */

/* "batch x 4" without the leading ones. */
static void input_shape(const q_file_graph_input *in, char shape[128])
{
    size_t n = 0;
    for (uint32_t i = Q_MAX_DIMS - in->n_dims; i < Q_MAX_DIMS; i++) {
        const char *sym = NAME_OF(syms, in->sym[i]);
        n += (size_t)snprintf(shape + n, 128 - n, "%s", i == Q_MAX_DIMS - (uint32_t)in->n_dims ? "" : "x");
        if (in->dim[i] != 1 || *sym == '\0') {
            n += (size_t)snprintf(shape + n, 128 - n, "%u%s", in->dim[i], *sym != '\0' ? "*" : "");
        }
        n += (size_t)snprintf(shape + n, 128 - n, "%s", sym);
    }
}

static void show_config(doc *d, const uint8_t *config, uint32_t n)
{
    static char hex[2 * Q_CAP_CONFIG + 1];
    for (uint32_t i = 0; i < n; i++) {
        (void)snprintf(hex + (size_t)2 * i, 3, "%02x", config[i]);
    }
    hex[(size_t)2 * n] = '\0';
    doc_text(d, "config", hex, 0);
}

static void show_nodes(doc *d, const q_file *f, const q_file_graph_view *g)
{
    const uint32_t *edges = g->edges;
    const uint32_t *params = g->params;
    const uint8_t *config = g->configs;
    uint32_t value = g->head->n_inputs;
    doc_table(d, "nodes", "node  class              id  version  name                  out   n  in          params"
                          "      config");
    for (uint32_t i = 0; i < g->head->n_nodes; i++) {
        const q_file_graph_node *n = &g->nodes[i];
        doc_row(d);
        doc_u64(d, "node", i, -4);
        doc_text(d, "class", q_file_name(f, n->class_name_offset), 12);
        doc_u64(d, "class_id", n->class_id, -6);
        doc_u64(d, "config_version", n->config_version, -7);
        doc_text(d, "name", q_file_name(f, n->name_offset), 20);
        doc_u64(d, "out", value, -4);
        doc_u64(d, "n_out", n->n_out, -2);
        doc_numbers(d, "in", edges, n->n_in, ",", 10);
        doc_numbers(d, "params", params, n->n_param, ",", 10);
        show_config(d, config, n->config_size);
        doc_row_end(d);
        value += n->n_out;
        edges += n->n_in;
        params += n->n_param;
        config += n->config_size;
    }
    doc_table_end(d);
}

static void show_graph(doc *d, const q_file *f)
{
    q_file_graph_view g;
    char shape[128];
    if (!q_file_graph_arrays(f, &g)) {
        return;
    }
    doc_table(d, "inputs", "name                  type  limit       shape");
    for (uint32_t i = 0; i < g.head->n_inputs; i++) {
        input_shape(&g.inputs[i], shape);
        doc_row(d);
        doc_text(d, "name", q_file_name(f, g.inputs[i].name_offset), 20);
        doc_text(d, "dtype", NAME_OF(dtypes, g.inputs[i].dtype), 4);
        doc_u64(d, "limit", g.inputs[i].limit, 10);
        doc_text(d, "shape", shape, 0);
        doc_row_end(d);
    }
    doc_table_end(d);
    show_nodes(d, f, &g);
    doc_table(d, "outputs", "name                  value");
    for (uint32_t i = 0; i < g.head->n_outputs; i++) {
        doc_row(d);
        doc_text(d, "name", q_file_name(f, g.outputs[i].name_offset), 20);
        doc_u64(d, "value", g.outputs[i].value, 0);
        doc_row_end(d);
    }
    doc_table_end(d);
}

/* ---- Tokenizer -------------------------------------------------------------------------------------------- */

static void show_id(doc *d, const char *key, uint32_t id)
{
    if (id != Q_TOKEN_NONE) {
        doc_u64(d, key, id, 0);
    }
}

static void show_special(doc *d, const q_tokenizer *t)
{
    doc_table(d, "special_tokens", "    id  type     text");
    for (uint32_t id = 0; id < q_tokenizer_n_vocab(t); id++) {
        const uint8_t *bytes;
        uint32_t n;
        q_token_type type;
        if (!q_tokenizer_token(t, (int32_t)id, &bytes, &n, &type) ||
            (type != Q_TOKEN_CONTROL && type != Q_TOKEN_USER)) {
            continue;
        }
        doc_row(d);
        doc_u64(d, "id", id, -6);
        doc_text(d, "type", NAME_OF(token_types, type), 7);
        doc_bytes(d, "text", bytes, n, 0);
        doc_row_end(d);
    }
    doc_table_end(d);
}

static void show_tokenizer(doc *d, const q_tokenizer *t)
{
    uint32_t n = 0;
    const char *system = q_tokenizer_system(t, &n);
    doc_group(d, "tokenizer");
    doc_text(d, "kind", NAME_OF(tokenizers, t->kind), 0);
    doc_u64(d, "vocabulary", t->n_vocab, 0);
    doc_u64(d, "merges", t->n_merges, 0);
    doc_text(d, "pre_tokenizer", NAME_OF(pretokenizers, t->pretokenizer), 0);
    doc_text(d, "chat_format", NAME_OF(chats, t->chat_format), 0);
    doc_bool(d, "add_bos", (t->flags & Q_TOKENIZER_ADD_BOS) != 0);
    doc_bool(d, "add_eos", (t->flags & Q_TOKENIZER_ADD_EOS) != 0);
    doc_bool(d, "unk_bytes", (t->flags & Q_TOKENIZER_UNK_BYTES) != 0);
    show_id(d, "bos", t->bos);
    show_id(d, "eos", t->eos);
    show_id(d, "pad", t->pad);
    show_id(d, "unk", t->unk);
    doc_numbers(d, "end_of_generation", t->eog, t->n_eog, ", ", 0);
    doc_u64(d, "longest_token", t->max_token, 0);
    doc_bytes(d, "system_message", system, n, 0);
    doc_group_end(d);
    show_special(d, t);
}

/* ---- Tensors and meta ------------------------------------------------------------------------------------- */

/* Text shows the first 8 bytes of a hash, JSON all of it. */
static void show_hash(doc *d, const uint8_t hash[Q_SHA256_BYTES])
{
    char hex[2 * Q_SHA256_BYTES + 1];
    size_t n = d->json ? Q_SHA256_BYTES : 8;
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    }
    doc_text(d, "sha256", hex, 0);
}

static void show_tensors(doc *d, const q_file *f)
{
    uint64_t bytes = 0;
    doc_table(d, "tensors", "name                      type  layout         offset         bytes  shape           trainable"
                            "  sha256");
    for (uint32_t i = 0; i < q_file_n_tensors(f); i++) {
        const q_file_tensor_record *r = q_file_record(f, i);
        uint32_t ne[Q_MAX_DIMS];
        for (uint32_t k = 0; k < r->n_dims; k++) {
            ne[k] = (uint32_t)r->ne[Q_MAX_DIMS - r->n_dims + k].v;
        }
        doc_row(d);
        doc_text(d, "name", q_file_name(f, r->name_offset), 24);
        doc_text(d, "dtype", NAME_OF(dtypes, r->dtype), 4);
        doc_text(d, "layout", NAME_OF(layouts, r->layout), 7);
        doc_u64(d, "offset", r->offset.v, -12);
        doc_u64(d, "bytes", r->size.v, -12);
        doc_numbers(d, "shape", ne, r->n_dims, "x", 14);
        if (d->json) {
            doc_bool(d, "trainable", (r->flags & Q_TENSOR_TRAINABLE) != 0);
        } else {
            doc_text(d, "trainable", (r->flags & Q_TENSOR_TRAINABLE) != 0 ? "yes" : "no", 9);
        }
        show_hash(d, r->sha256);
        doc_row_end(d);
        bytes += r->size.v;
    }
    doc_table_end(d);
    doc_group(d, "tensor_totals");
    doc_u64(d, "count", q_file_n_tensors(f), 0);
    doc_u64(d, "bytes", bytes, 0);
    doc_group_end(d);
}

static void show_meta(doc *d, const q_file *f)
{
    size_t n = 0;
    const char *text = (const char *)q_file_section_data(f, Q_SECTION_META, &n);
    doc_group(d, "meta");
    if (d->json) {
        doc_bytes(d, "text", text, text != NULL ? n : 0, 0);
    } else if (text != NULL) {
        (void)fwrite(text, 1, n, d->to);
        (void)fputs(n != 0 && text[n - 1] != '\n' ? "\n" : "", d->to);
    }
    doc_group_end(d);
}

/* ---- Hashes ----------------------------------------------------------------------------------------------- */

static void show_progress(uint32_t done, uint32_t all)
{
    if (isatty(STDERR_FILENO) != 0) {
        (void)fprintf(stderr, "\rverify %u/%u%s", done, all, done == all ? "\n" : "");
    }
}

/* Checks tables and tensors; names each bad one. Returns how many are bad. */
static uint32_t verify(doc *d, const q_file *f, const char *path)
{
    uint32_t n = q_file_n_tensors(f);
    uint32_t bad = 0;
    doc_table(d, "bad", "what");
    for (uint32_t i = 0; i <= n; i++) {
        q_diag diag;
        show_progress(i, n);
        if (q_file_verify(f, i == 0 ? UINT32_MAX : i - 1, &diag) != Q_OK) {
            char why[256];
            engine_explain(&diag, why, sizeof(why));
            doc_row(d);
            doc_text(d, "what", i == 0 ? "tables" : q_file_name(f, q_file_record(f, i - 1)->name_offset), 24);
            doc_text(d, "why", why, 0);
            doc_row_end(d);
            bad++;
        }
    }
    doc_table_end(d);
    doc_group(d, "verify");
    doc_text(d, "result", bad == 0 ? "OK" : "BAD", 0);
    doc_u64(d, "checked", n + 1u, 0);
    doc_u64(d, "bad", bad, 0);
    doc_group_end(d);
    if (bad != 0) {
        say("%s: %u of %u hashes are wrong: the file is damaged", path, bad, n + 1u);
    }
    return bad;
}

/* ---- The command ------------------------------------------------------------------------------------------ */

static uint32_t show_model(doc *d, const engine *e, const options *o)
{
    show_header(d, &e->file);
    show_arch(d, &e->file);
    show_graph(d, &e->file);
    if (e->has_tokenizer) {
        show_tokenizer(d, &e->tokenizer);
    }
    show_tensors(d, &e->file);
    show_meta(d, &e->file);
    return o->verify ? verify(d, &e->file, o->args[0]) : 0;
}

static void show_qtok(doc *d, const host *h, const options *o)
{
    doc_group(d, "file");
    doc_text(d, "format", "qtok", 0);
    doc_u64(d, "version", Q_TOKENIZER_VERSION, 0);
    doc_u64(d, "bytes", h->file.size, 0);
    doc_group_end(d);
    show_tokenizer(d, &h->engine.tokenizer);
    if (o->verify) {
        say("a .qtok file carries no hash; all of its tables were checked on opening");
    }
}

static int inspect(host *h, const options *o)
{
    q_checkpoint_place place;
    bool checkpoint = checkpoint_find(h, o->args[0], &place);
    int status = EXIT_DONE;
    doc d;
    if (!checkpoint && !host_open_any(h, o->args[0])) {
        return EXIT_FAILED;
    }
    doc_begin(&d, stdout, o->format != NULL);
    if (checkpoint) {
        status = checkpoint_show(h, o->args[0], &place, &d);
    } else if (h->engine.file.base != NULL) {
        status = show_model(&d, &h->engine, o) == 0 ? EXIT_DONE : EXIT_FAILED;
    } else {
        show_qtok(&d, h, o);
    }
    doc_end(&d);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        say("cannot write the result");
        return EXIT_FAILED;
    }
    return status;
}

int command_inspect(const char *const *words, uint32_t n)
{
    static host h;
    options o;
    char error[256];
    int status;
    if (!options_parse(&o, FOR_INSPECT, words, n, error, sizeof(error))) {
        say("%s", error);
        return EXIT_USAGE;
    }
    if (o.n_args != 1) {
        say("inspect takes one file: qorus inspect FILE");
        return EXIT_USAGE;
    }
    o.threads = 1;
    if (!host_start(&h, &o)) {
        return EXIT_FAILED;
    }
    status = inspect(&h, &o);
    host_stop(&h);
    return status;
}
