/* SPDX-License-Identifier: MIT */
/*
 * test_write FILE.qorus...: files written from sessions: they open, verify, and their models compute the session's bits;
 * a file's model written again is that file; types, pruning, classes of the caller, and what is refused.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"
#include "qorus/quantize.h"
#include "qorus/sha256.h"

static int passed;
static int failed;

void check(bool ok, const char *what)
{
    passed += ok ? 1 : 0;
    failed += ok ? 0 : 1;
    if (!ok) {
        printf("FAIL %s\n", what);
    }
}

static bool opens(const sink *s, q_file *file)
{
    q_diag d;
    bool ok = q_file_open(file, s->bytes, (size_t)s->size, NULL, 0, &d) == Q_OK &&
              q_file_verify(file, UINT32_MAX, &d) == Q_OK;
    for (uint32_t i = 0; ok && i < q_file_n_tensors(file); i++) {
        ok = q_file_verify(file, i, &d) == Q_OK;
    }
    return ok;
}

/* Output `i` of a step over fixed inputs. */
static uint32_t run_mlp(const net *n, uint32_t i, bool trains, float *out)
{
    float x[NET_BATCH * NET_IN];
    float target[NET_BATCH * NET_OUT] = {0};
    const void *both[2] = {target, x};
    const void *one[1] = {x};
    q_step step;
    q_tensor t;
    q_diag d;
    memset(&step, 0, sizeof(step));
    for (uint32_t k = 0; k < NET_BATCH * NET_IN; k++) {
        x[k] = (float)((int)(k * 37 % 23) - 11) / 8.0f;
    }
    step.n_batch = NET_BATCH;
    step.inputs = trains ? both : one;
    step.flags = trains ? Q_STEP_EVALUATE : 0;
    must(q_model_forward(n->session, &step, &d), &d);
    must(q_session_output(n->session, i, &t, &d), &d);
    for (uint32_t r = 0; r < NET_BATCH; r++) {
        memcpy(out + r * NET_OUT, (const uint8_t *)t.data + r * t.nb[0], NET_OUT * sizeof(float));
    }
    return t.ne[3];
}

static const char *const answer[] = {"y"};

static void test_mlp(void)
{
    static const q_layer_class *const own[] = {&net_scale_class};
    float want[NET_BATCH * NET_OUT];
    float got[NET_BATCH * NET_OUT];
    net trained;
    net loaded;
    sink s;
    q_file file;
    q_file_build fb;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_write w;
    uint32_t index;
    net_open(&trained, build_mlp, NULL, Q_PLAN_TRAIN);
    (void)run_mlp(&trained, 1, true, want);
    w = write_of(&trained, &s);
    w.outputs = answer;
    w.n_outputs = 1;
    w.meta = "source: a test\n";
    check(net_write(&w, &s, &d) && opens(&s, &file), "a model in training is written without its loss");
    if (failed == 0) {
        q_file_graph_view v;
        check(q_file_graph_arrays(&file, &v) && v.head->n_inputs == 1 && v.head->n_nodes == 3 && v.head->n_outputs == 1,
              "loss and target are left out");
        check(q_file_n_tensors(&file) == 4 && strcmp(q_file_name(&file, q_file_record(&file, 0)->name_offset), "first.w") == 0,
              "tensors in the order in which nodes name them");
        check(q_file_find(&file, "first.b", 7, &index) == Q_OK && q_file_record(&file, index)->flags == 0 &&
                  q_file_record(&file, index)->layout == Q_PLAIN, "a frozen vector");
        check(q_file_find(&file, "own.w", 5, &index) == Q_OK && q_file_record(&file, index)->flags == Q_TENSOR_TRAINABLE &&
                  q_file_record(&file, index)->layout == Q_PLAIN, "a trained parameter of a class of the caller");
        check(q_file_record(&file, 0)->layout == Q_PANEL16 && q_file_record(&file, 0)->flags == Q_TENSOR_TRAINABLE,
              "a trained matrix in panels");
        memset(&fb, 0, sizeof(fb));
        fb.file = &file;
        fb.classes = own;
        fb.n_classes = 1;
        net_open(&loaded, q_build_from_file, &fb, Q_PLAN_INFER);
        check(run_mlp(&loaded, 0, false, got) == NET_OUT && memcmp(want, got, sizeof(want)) == 0,
              "the file's model computes the session's bits");
        net_close(&loaded);
    }
    sink_free(&s);
    net_close(&trained);
}

static uint32_t type_of(void *user, const char *name, const q_param_type *type)
{
    (void)user;
    (void)type;
    return strcmp(name, "first.w") == 0 ? Q_BF16 : Q_Q4_0;
}

/* Each matrix type: the values are those that q_quantize makes of the session's. */
static void test_types(void)
{
    static const uint32_t types[] = {Q_F16, Q_BF16, Q_Q8_0, Q_Q4_0, Q_Q4_1};
    net n;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    net_open(&n, build_slots_decoder, NULL, Q_PLAN_INFER);
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        static uint8_t plain[64 * 32 * 4];
        static uint8_t panels[64 * 32 * 4];
        const q_file_arch arch = decoder_arch();
        sink s;
        q_file file;
        q_tensor t;
        uint32_t index;
        q_write w = write_of(&n, &s);
        w.dtype = types[i];
        w.arch = &arch;
        w.layer_kinds = decoder_kinds;
        check(net_write(&w, &s, &d) && opens(&s, &file), "a decoder in another type");
        must(q_file_find(&file, "layers.1.up", 11, &index), &d);
        must(q_session_param(n.session, q_model_find_param(n.model, "layers.1.up"), &t, &d), &d);
        must(q_quantize(types[i], (const float *)t.data, 64, 32, plain, &d), &d);
        must(q_panel_pack(types[i], plain, 64, 32, panels, &d), &d);
        check(q_file_record(&file, index)->dtype == types[i] && q_file_record(&file, index)->flags == 0 &&
                  memcmp(file.base + q_file_record(&file, index)->offset.v, panels,
                         (size_t)q_file_record(&file, index)->size.v) == 0, "the quantiser's bytes");
        sink_free(&s);
    }
    net_close(&n);
}

/* A caller that chooses; columns that do not fit. */
static void test_choice(void)
{
    net n;
    sink s;
    q_file file;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_write w;
    net_open(&n, build_mlp, NULL, Q_PLAN_TRAIN);
    w = write_of(&n, &s);
    w.dtype = Q_Q8_0;
    w.outputs = answer;
    w.n_outputs = 1;
    check(!net_write(&w, &s, &d) && d.code == Q_ERR_INVALID_SIZE && strcmp(d.what, "first.w") == 0 && d.need == 32 &&
              d.have == NET_IN, "columns that are no whole blocks are refused by name");
    w.type = type_of;
    check(net_write(&w, &s, &d) && opens(&s, &file) && q_file_record(&file, 0)->dtype == Q_BF16 &&
              q_file_record(&file, 3)->dtype == Q_Q4_0, "types as the caller chooses");
    sink_free(&s);
    net_close(&n);
}

static void run_decoder(const net *n, float *out)
{
    const int32_t ids[NET_TOKENS] = {5, 0, 47, 11, 11, 30};
    const void *inputs[1] = {ids};
    q_step step;
    q_tensor t;
    q_diag d;
    memset(&step, 0, sizeof(step));
    step.n_tokens = NET_TOKENS;
    step.inputs = inputs;
    step.select = Q_SELECT_LAST;
    must(q_model_forward(n->session, &step, &d), &d);
    must(q_session_output(n->session, 0, &t, &d), &d);
    memcpy(out, t.data, NET_VOCAB * sizeof(float));
}

static void test_decoder(void)
{
    const q_file_arch arch = decoder_arch();
    float want[NET_VOCAB];
    float got[NET_VOCAB];
    net first;
    net loaded;
    sink s;
    q_file file;
    q_file_build fb;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_write w;
    net_open(&first, build_slots_decoder, NULL, Q_PLAN_INFER);
    run_decoder(&first, want);
    w = write_of(&first, &s);
    w.arch = &arch;
    w.layer_kinds = decoder_kinds;
    check(net_write(&w, &s, &d) && opens(&s, &file) && q_file_get_arch(&file) != NULL, "a decoder with its architecture");
    memset(&fb, 0, sizeof(fb));
    fb.file = &file;
    net_open(&loaded, q_build_from_file, &fb, Q_PLAN_INFER);
    run_decoder(&loaded, got);
    check(memcmp(want, got, sizeof(want)) == 0 && want[0] != want[1], "the file's decoder computes the session's logits");
    net_close(&loaded);
    sink_free(&s);
    w = write_of(&first, &s);
    check(net_write(&w, &s, &d) && opens(&s, &file) && q_file_get_graph(&file) != NULL, "the same decoder as a graph");
    net_open(&loaded, q_build_from_file, &fb, Q_PLAN_INFER);
    run_decoder(&loaded, got);
    check(memcmp(want, got, sizeof(want)) == 0, "computes the session's logits too");
    net_close(&loaded);
    sink_free(&s);
    net_close(&first);
}

/* ---- Refusals ---------------------------------------------------------------------------------------------- */

static void refused(q_write *w, sink *s, q_error_code code, const char *what, const char *field)
{
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    char text[160];
    bool ok = !net_write(w, s, &d);
    (void)snprintf(text, sizeof(text), "refused: %s, %s (was %d %s, %s)", what, field, (int)d.code, d.what, d.field);
    check(ok && d.code == code && strcmp(d.what, what) == 0 && strcmp(d.field, field) == 0, text);
    sink_free(s);
}

static void test_bad_arguments(const net *n)
{
    static char long_meta[Q_CAP_META + 2];
    static const char *const absent[] = {"z"};
    sink s;
    q_write w = write_of(n, &s);
    w.struct_size--;
    refused(&w, &s, Q_ERR_INVALID_ARG, "q_write", "struct_size");
    w = write_of(n, &s);
    w.model = NULL;
    refused(&w, &s, Q_ERR_INVALID_ARG, "q_write", "model");
    w = write_of(n, &s);
    w.write = NULL;
    refused(&w, &s, Q_ERR_INVALID_ARG, "q_write", "write");
    w = write_of(n, &s);
    w.dtype = Q_I32;
    refused(&w, &s, Q_ERR_INVALID_DTYPE, "q_write", "dtype");
    w = write_of(n, &s);
    w.outputs = absent;
    w.n_outputs = 1;
    refused(&w, &s, Q_ERR_NOT_FOUND, "z", "output");
    w = write_of(n, &s);
    w.tokenizer_size = 1;
    refused(&w, &s, Q_ERR_INVALID_ARG, "q_write", "tokenizer");
    w = write_of(n, &s);
    memset(long_meta, 'm', Q_CAP_META + 1);
    w.meta = long_meta;
    refused(&w, &s, Q_ERR_LIMIT, "q_write", "meta");
    w.meta = "bell \a";
    refused(&w, &s, Q_ERR_CORRUPT, "meta", "text");
}

static void test_bad_models(const net *n)
{
    q_file_arch arch = decoder_arch();
    const uint8_t bad_kinds[2] = {9, 0};
    net other;
    sink s;
    q_tensor t;
    q_diag d;
    q_write w = write_of(n, &s);
    w.session = NULL;
    refused(&w, &s, Q_ERR_INVALID_STATE, "first.w", "session");
    w = write_of(n, &s);
    w.arch = &arch;
    refused(&w, &s, Q_ERR_INVALID_ARG, "q_write", "layer_kinds");
    w.layer_kinds = bad_kinds;
    refused(&w, &s, Q_ERR_UNSUPPORTED, "arch", "layer kind");
    w.layer_kinds = decoder_kinds;
    refused(&w, &s, Q_ERR_CORRUPT, "embed", "missing");
    arch.n_layers = Q_CAP_LAYERS + 1;
    refused(&w, &s, Q_ERR_LIMIT, "q_write", "arch.n_layers");
    net_open(&other, build_slots_decoder, NULL, Q_PLAN_INFER);
    w = write_of(n, &s);
    w.session = other.session;
    refused(&w, &s, Q_ERR_NOT_FOUND, "first.w", "parameter of the session");
    net_close(&other);
    must(q_session_param(n->session, q_model_find_param(n->model, "second.w"), &t, &d), &d);
    ((float *)t.data)[70] = NAN;
    w = write_of(n, &s);
    refused(&w, &s, Q_ERR_NON_FINITE, "second.w", "value or scale");
    ((float *)t.data)[70] = 1;
}

static void test_faults(const net *n)
{
    sink s;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_write w = write_of(n, &s);
    uint32_t calls;
    size_t need = 0;
    uint64_t bytes = 0;
    uint8_t *work;
    check(net_write(&w, &s, &d), "the twin is written");
    calls = s.calls;
    must(q_write_work_size(&w, &need, &d), &d);
    work = (uint8_t *)aligned_alloc(64, (need + 127) / 64 * 64);
    for (uint32_t i = 1; i <= calls; i++) {
        s.calls = 0;
        s.fail_at = i;
        check(q_write_run(&w, work, need, &d) == Q_ERR_IO && s.calls == i && strcmp(d.field, "write") == 0,
              "an error of the writer ends it");
    }
    s.calls = 0;
    check(q_write_run(&w, work, need - 1, &d) == Q_ERR_NO_SPACE && d.need == need && s.calls == 0,
          "one byte less is refused before anything is written");
    check(q_write_run(&w, NULL, need, &d) == Q_ERR_INVALID_ARG, "work NULL");
    check(q_write_run(&w, work + 1, need, &d) == Q_ERR_MISALIGNED, "work misaligned");
    check(q_write_size(&w, work, need, NULL, &d) == Q_ERR_INVALID_ARG, "file_bytes NULL");
    check(q_write_size(&w, work, need, &bytes, &d) == Q_OK && bytes == s.size, "the size again");
    free(work);
    sink_free(&s);
}

/* ---- Files written again ----------------------------------------------------------------------------------- */

static void *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    long size = 0;
    void *bytes;
    if (f == NULL || fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) <= 0 || fseek(f, 0, SEEK_SET) != 0) {
        check(false, path);
        exit(1);
    }
    bytes = aligned_alloc(64, ((size_t)size + 63) / 64 * 64);
    *n = bytes != NULL ? fread(bytes, 1, (size_t)size, f) : 0;
    (void)fclose(f);
    return bytes;
}

static q_error_code any_shape(const q_node_info *info, q_diag *diag)
{
    (void)info;
    (void)diag;
    return Q_OK;
}

static q_error_code not_called(const q_layer *layer, const q_work *work, uint32_t stage)
{
    (void)layer;
    (void)work;
    (void)stage;
    return Q_ERR_UNSUPPORTED;
}

/* The classes that graph.qorus names; they are written, never run. */
static const q_layer_class mix = {
    .struct_size = sizeof(q_layer_class), .id = 65537, .name = "example.mix", .config_size = 24, .config_version = 2,
    .min_in = 2, .max_in = 2, .n_out = 3, .min_param = 8, .max_param = 8, .forward_stages = 1,
    .shape = any_shape, .forward = not_called,
};

static const q_layer_class join = {
    .struct_size = sizeof(q_layer_class), .id = 65538, .name = "example.join", .config_version = 1,
    .min_in = 1, .max_in = 6, .n_out = 1, .min_param = 1, .max_param = 1, .forward_stages = 1,
    .shape = any_shape, .forward = not_called,
};

/* Views of a file are frozen, so that its marks of trainable tensors go, and the hash of the tables with them. */
static bool same_file(const sink *s, const uint8_t *bytes)
{
    const q_file_header *h = (const q_file_header *)(const void *)bytes;
    uint64_t first = h->section[Q_SECTION_TENSORS].offset.v;
    uint64_t end = first + h->section[Q_SECTION_TENSORS].size.v;
    for (uint64_t i = 0; i < s->size; i++) {
        bool flags = i >= first && i < end && (i - first) % sizeof(q_file_tensor_record) / 4 == 3;
        bool hash = i >= offsetof(q_file_header, tables_sha256) && i < sizeof(*h);
        if (!flags && !hash && s->bytes[i] != bytes[i]) {
            return false;
        }
    }
    return true;
}

static void test_again(const char *path)
{
    static const q_layer_class *const own[] = {&mix, &join};
    size_t n;
    void *bytes = read_file(path, &n);
    net from;
    sink s;
    q_file file;
    q_file_build fb;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    q_write w;
    size_t size;
    char meta[4096] = "";
    const void *at;
    must(q_file_open(&file, bytes, n, NULL, 0, &d), &d);
    memset(&fb, 0, sizeof(fb));
    memset(&from, 0, sizeof(from));
    fb.file = &file;
    fb.classes = own;
    fb.n_classes = 2;
    must(q_model_size(q_build_from_file, &fb, &size, &d), &d);
    from.memory[from.n_memory++] = aligned_alloc(128, (size + 127) / 128 * 128);
    must(q_model_init(&from.model, (q_block){from.memory[0], size}, q_build_from_file, &fb, &d), &d);
    w = write_of(&from, &s);
    w.arch = q_file_get_arch(&file);
    w.layer_kinds = q_file_layer_kinds(&file);
    w.tokenizer = q_file_section_data(&file, Q_SECTION_TOKENIZER, &size);
    w.tokenizer_size = (uint32_t)size;
    at = q_file_section_data(&file, Q_SECTION_META, &size);
    if (at != NULL && size < sizeof(meta)) {
        memcpy(meta, at, size);
    }
    w.meta = meta;
    check(net_write(&w, &s, &d), path);
    if (w.arch == NULL) {
        check(s.size == n && same_file(&s, (const uint8_t *)bytes), "a graph written again is the same file");
    } else { /* records of a decoder may stand in any order */
        q_file again;
        check(s.size == n && opens(&s, &again), "a decoder written again opens");
        for (uint32_t i = 0; i < q_file_n_tensors(&file); i++) {
            const q_file_tensor_record *r = q_file_record(&file, i);
            uint32_t k = 0;
            check(q_file_find(&again, q_file_name(&file, r->name_offset), r->name_length, &k) == Q_OK &&
                      memcmp(q_file_record(&again, k)->sha256, r->sha256, Q_SHA256_BYTES) == 0, "its tensors are the same");
        }
    }
    sink_free(&s);
    net_close(&from);
    free(bytes);
}

int main(int argc, char **argv)
{
    net n;
    test_mlp();
    test_types();
    test_choice();
    test_decoder();
    test_built();
    net_open(&n, build_mlp, NULL, Q_PLAN_TRAIN);
    test_bad_arguments(&n);
    test_bad_models(&n);
    test_faults(&n);
    net_close(&n);
    for (int i = 1; i < argc; i++) {
        test_again(argv[i]);
    }
    printf("%d passed, %d failed, 0 skipped\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
