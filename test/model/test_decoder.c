/* SPDX-License-Identifier: MIT */
/* Language models whose parameters are slots: taken from a file or made of drawn numbers, for training. */
#include <stdio.h>
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
    test_refusals(file);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        const char *slash = strrchr(file, '/');
        char path[512];
        (void)snprintf(path, sizeof(path), "%.*s%s", (int)(slash != NULL ? slash + 1 - file : 0), file, others[i]);
        test_slots(path);
        test_scratch(path);
    }
}
