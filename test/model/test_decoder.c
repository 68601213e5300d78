/* SPDX-License-Identifier: MIT */
/* Language models whose parameters are slots: taken from a file or made of drawn numbers, for training. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow.h"

enum { TOKENS = 40 };

static uint64_t hash_of(flow *f)
{
    int32_t tokens[TOKENS];
    q_error_code code;
    uint64_t h;
    flow_tokens(f, tokens, TOKENS, 5);
    if (q_session_rewind(f->session, 0, &f->diag) != Q_OK) {
        return 0;
    }
    h = flow_hash(f, tokens, TOKENS, &code);
    return code == Q_OK ? h : 0;
}

static bool every(void *user, const char *name)
{
    (void)user;
    (void)name;
    return true;
}

static bool only_ffn(void *user, const char *name)
{
    (void)user;
    return strstr(name, ".gate") != NULL || strstr(name, "ffn_norm") != NULL;
}

static q_decoder_build decoder_of(const q_file *file)
{
    q_decoder_build b;
    memset(&b, 0, sizeof(b));
    b.struct_size = sizeof(b);
    b.file = file;
    return b;
}

/* Exact mode's chain is the same over panels and over plain rows of the same values: so are the bits. */
static void test_slots(const char *file)
{
    static bool (*const choices[])(void *, const char *) = {every, only_ffn};
    flow_setup s = flow_defaults(file);
    flow views = {0};
    q_file opened;
    uint64_t want;
    s.precision = Q_PRECISION_EXACT;
    flow_open(&views, &s, &flow_heap);
    opened = views.file;
    want = hash_of(&views);
    for (size_t i = 0; i < 2; i++) {
        q_decoder_build b = decoder_of(&opened);
        flow f = {0};
        uint32_t n = 0;
        b.trains = choices[i];
        b.dropout = b.drop_path = i == 0 ? 0.5f : 0; /* of training alone */
        s.decoder = &b;
        flow_open(&f, &s, &flow_heap);
        check(q_session_load_params(f.session, &opened, &n, &f.diag) == Q_OK && n >= 2, "%s: slots loaded", file);
        check(want != 0 && hash_of(&f) == want, "%s: the same logits from slots as from views (%u slots)", file, n);
    }
}

/* A model of no file: same seed, same numbers; filled from a file of its shape it is that file's model. */
static void test_scratch(const char *file)
{
    flow_setup s = flow_defaults(file);
    flow views = {0};
    q_decoder_build b;
    uint64_t hash[3];
    s.precision = Q_PRECISION_EXACT;
    flow_open(&views, &s, &flow_heap);
    b = decoder_of(NULL);
    b.arch = q_file_get_arch(&views.file);
    s.decoder = &b;
    for (uint32_t i = 0; i < 3; i++) {
        flow f = {0};
        flow_open(&f, &s, &flow_heap);
        check(q_session_init_params(f.session, i == 2 ? 8 : 7, &f.diag) == Q_OK, "%s: drawn numbers", file);
        hash[i] = hash_of(&f);
        if (i == 0) {
            check(q_session_load_params(f.session, &views.file, NULL, &f.diag) == Q_OK && hash_of(&f) == hash_of(&views),
                  "%s: a model without a file, filled from one", file);
        }
    }
    check(hash[0] != 0 && hash[0] == hash[1] && hash[0] != hash[2], "%s: drawn numbers depend on the seed alone", file);
}

/* First numbers have the spread they should have. */
static void test_spread(const char *file)
{
    flow_setup s = flow_defaults(file);
    flow views = {0};
    flow f = {0};
    q_decoder_build b;
    q_tensor t;
    double sum = 0;
    double squares = 0;
    double n;
    flow_open(&views, &s, &flow_heap);
    b = decoder_of(NULL);
    b.arch = q_file_get_arch(&views.file);
    s.decoder = &b;
    flow_open(&f, &s, &flow_heap);
    if (q_session_init_params(f.session, 1, &f.diag) != Q_OK ||
        q_session_param(f.session, q_model_find_param(f.model, "embed"), &t, &f.diag) != Q_OK) {
        check(false, "an embedding");
        return;
    }
    n = (double)t.ne[2] * t.ne[3];
    for (size_t i = 0; i < (size_t)t.ne[2] * t.ne[3]; i++) {
        double x = (double)((float *)t.data)[i];
        sum += x;
        squares += x * x;
    }
    check(sum / n < 0.001 && sum / n > -0.001 && squares / n > 0.019 * 0.019 && squares / n < 0.021 * 0.021,
          "normal numbers of deviation 0.02: mean %g, deviation squared %g", sum / n, squares / n);
    check(q_session_param(f.session, q_model_find_param(f.model, "layers.0.attn_norm"), &t, &f.diag) == Q_OK &&
              ((float *)t.data)[0] == 1.0f && ((float *)t.data)[t.ne[3] - 1] == 1.0f, "norms begin as 1");
}

/* ---- Scales of the architecture --------------------------------------------------------------------------- */

enum { ARCH_ROOM = sizeof(q_file_arch) + 64 };

/* The file's architecture with its layer kinds behind it, as a build takes it. */
static void copy_arch(const q_file *file, uint8_t bytes[ARCH_ROOM], q_file_arch *arch)
{
    memcpy(bytes, q_file_get_arch(file), sizeof(*arch) + q_file_get_arch(file)->n_layers);
    memcpy(arch, bytes, sizeof(*arch));
}

/* Times factor, every weight of products that enter the residual stream. */
static void scale_branches(flow *f, float factor)
{
    for (q_param p = 0; p < q_model_n_params(f->model); p++) {
        const char *name = q_model_param_name(f->model, p);
        size_t n = strlen(name);
        q_tensor t;
        if ((n > 2 && strcmp(name + n - 2, ".o") == 0) || strstr(name, ".down") != NULL) {
            check(q_session_param(f->session, p, &t, &f->diag) == Q_OK, "%s is a slot", name);
            for (size_t i = 0; i < (size_t)t.ne[2] * t.ne[3]; i++) {
                ((float *)t.data)[i] *= factor;
            }
        }
    }
}

typedef struct logit_rows {
    float *at;
    size_t n;
} logit_rows;

static q_error_code keep_rows(void *user, uint32_t first, uint32_t n, const q_tensor *rows)
{
    logit_rows *r = (logit_rows *)user;
    (void)first;
    for (uint32_t i = 0; i < n; i++) {
        memcpy(r->at + r->n, (const uint8_t *)rows->data + i * rows->nb[2], rows->ne[3] * sizeof(float));
        r->n += rows->ne[3];
    }
    return Q_OK;
}

/* Logits of all of some tokens; *n: how many. */
static float *all_logits(flow *f, size_t *n)
{
    int32_t tokens[TOKENS];
    const void *inputs[1];
    logit_rows rows = {NULL, 0};
    q_step step;
    flow_tokens(f, tokens, TOKENS, 5);
    rows.at = (float *)malloc((size_t)TOKENS * q_plan_output_columns(f->plan, 0) * sizeof(float));
    memset(&step, 0, sizeof(step));
    inputs[0] = tokens;
    step.inputs = inputs;
    step.n_tokens = TOKENS;
    step.select = Q_SELECT_ALL;
    step.rows = keep_rows;
    step.rows_user = &rows;
    check(rows.at != NULL && q_session_rewind(f->session, 0, &f->diag) == Q_OK &&
              q_model_forward(f->session, &step, &f->diag) == Q_OK, "logits of all tokens");
    *n = rows.n;
    return rows.at;
}

/* A model of the file's weights, in slots, under another architecture. */
static void open_scaled(flow *f, flow_setup s, const q_file *file, const q_file_arch *arch, uint8_t bytes[ARCH_ROOM])
{
    q_decoder_build b = decoder_of(NULL);
    memcpy(bytes, arch, sizeof(*arch));
    b.arch = (const q_file_arch *)(const void *)bytes;
    s.decoder = &b;
    s.precision = Q_PRECISION_EXACT;
    flow_open(f, &s, &flow_heap);
    check(q_session_load_params(f->session, file, NULL, &f->diag) == Q_OK, "slots loaded");
}

/* A residual scale of 1/2 is that of halved weights, bit for bit: halving is exact. A logit scale is one product; a softcap
   is c*tanh(x/c) within a few roundings. */
static void test_scales(const char *file)
{
    static _Alignas(128) uint8_t bytes[4][ARCH_ROOM];
    flow_setup s = flow_defaults(file);
    flow views = {0};
    flow f[4] = {{0}, {0}, {0}, {0}};
    q_file_arch arch;
    float *logits[3];
    size_t n[3];
    uint32_t wrong[2] = {0, 0};
    flow_open(&views, &s, &flow_heap);
    for (uint32_t i = 0; i < 4; i++) {
        copy_arch(&views.file, bytes[i], &arch);
        arch.residual_scale = i == 1 ? 0.5f : 1.0f;
        arch.logit_scale = i >= 2 ? 0.3f : 1.0f;
        arch.logit_softcap = i == 3 ? 2.5f : 0.0f;
        open_scaled(&f[i], s, &views.file, &arch, bytes[i]);
    }
    for (uint32_t i = 0; i < 3; i++) {
        logits[i] = all_logits(&f[i == 0 ? 0 : i + 1], &n[i]);
    }
    for (size_t i = 0; i < n[0]; i++) {
        double want = 2.5 * tanh((double)logits[1][i] / 2.5);
        double gap = fabs((double)logits[2][i] - want);
        wrong[0] += logits[1][i] == logits[0][i] * 0.3f ? 0u : 1u;
        wrong[1] += gap <= 1e-6 * fabs(want) + 1e-12 ? 0u : 1u;
    }
    check(n[0] == n[1] && n[0] == n[2] && n[0] != 0 && wrong[0] == 0, "%s: logit_scale (%u wrong)", file, wrong[0]);
    check(wrong[1] == 0, "%s: logit_softcap (%u wrong)", file, wrong[1]);
    scale_branches(&f[0], 0.5f);
    check(hash_of(&f[1]) != 0 && hash_of(&f[0]) == hash_of(&f[1]), "%s: residual_scale", file);
    for (uint32_t i = 0; i < 3; i++) {
        free(logits[i]);
    }
}

static void refused(q_decoder_build b, q_error_code want, const char *field)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    size_t n;
    q_error_code code = q_model_size(q_build_decoder, &b, &n, &d);
    check(code == want && strcmp(d.field, field) == 0, "%s refused: got %d %s", field, (int)code, d.field);
}

static void test_refusals(const char *file)
{
    static uint8_t room[sizeof(q_file_arch) + 64];
    flow_setup s = flow_defaults(file);
    flow views = {0};
    q_decoder_build b;
    q_file_arch arch;
    q_tensor t;
    flow_open(&views, &s, &flow_heap);
    memcpy(room, q_file_get_arch(&views.file), sizeof(q_file_arch) + q_file_get_arch(&views.file)->n_layers);
    memcpy(&arch, room, sizeof(arch));
    b = decoder_of(NULL);
    refused(b, Q_ERR_INVALID_ARG, "arch");
    b.struct_size = 1;
    refused(b, Q_ERR_INVALID_ARG, "struct_size");
    b = decoder_of(&views.file);
    b.flags = 2;
    refused(b, Q_ERR_INVALID_ARG, "flags");
    b = decoder_of(&views.file);
    b.reserved = 1;
    refused(b, Q_ERR_INVALID_ARG, "reserved");
    b = decoder_of(NULL);
    b.arch = (const q_file_arch *)(const void *)room;
    arch.n_layers = 100000;
    memcpy(room, &arch, sizeof(arch));
    refused(b, Q_ERR_LIMIT, "n_layers");
    arch.n_layers = q_file_get_arch(&views.file)->n_layers;
    arch.head_dim = 12;
    memcpy(room, &arch, sizeof(arch));
    refused(b, Q_ERR_CORRUPT, "head_dim");
    arch.head_dim = q_file_get_arch(&views.file)->head_dim;
    arch.norm_eps = 0;
    memcpy(room, &arch, sizeof(arch));
    refused(b, Q_ERR_CORRUPT, "norm_eps");
    q_file_tensor(&views.file, 0, &t);
    check(q_session_load_param(views.session, 0, &t, &views.diag) == Q_ERR_INVALID_ARG, "a view cannot be loaded over");
    check(q_session_load_params(views.session, &views.file, NULL, &views.diag) == Q_ERR_NOT_FOUND, "no slots to load");
}

void test_decoder(const char *file)
{
    static const char *const others[] = {"heads32.qorus"};
    test_slots(file);
    test_scratch(file);
    test_spread(file);
    test_scales(file);
    test_refusals(file);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        const char *slash = strrchr(file, '/');
        char path[512];
        (void)snprintf(path, sizeof(path), "%.*s%s", (int)(slash != NULL ? slash + 1 - file : 0), file, others[i]);
        test_slots(path);
        test_scratch(path);
    }
}
