/* SPDX-License-Identifier: MIT */
/*
 * test_plan OUTDIR FILE.qorus...: prints plans of a small graph and of the models in the files, in every form, to
 * OUTDIR/NAME.{txt,dot,json,svg}, with what q_plan_needs says in OUTDIR/NAME.needs; check_plan.py judges them. Here it
 * is tested that a plan at another address prints the same bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qorus/model.h"

enum { FORMS = 4, WORKSPACE = 4096, SECOND_PLACE = 64 * 37 };

static const char *const endings[FORMS] = {"txt", "dot", "json", "svg"};
static int passed;
static int failed;

static void check(bool ok, const char *what, const char *name)
{
    passed += ok ? 1 : 0;
    failed += ok ? 0 : 1;
    if (!ok) {
        (void)printf("FAIL %s: %s\n", name, what);
    }
}

static void stop(const char *name, const q_diag *d)
{
    (void)printf("FAIL %s: error %d: %s: %s (need %llu, have %llu)\n", name, (int)d->code, d->what, d->field,
                 (unsigned long long)d->need, (unsigned long long)d->have);
    exit(1);
}

/* Kept until the end. */
static void *take(size_t size)
{
    static void *all[1024];
    static size_t n;
    void *p = aligned_alloc(4096, (size + 4095) / 4096 * 4096 + 4096);
    if (p == NULL || n == sizeof(all) / sizeof(all[0])) {
        (void)printf("FAIL out of memory\n");
        exit(1);
    }
    all[n++] = p;
    return p;
}

/* ---- A graph with everything a plan can hold ------------------------------------------------------------- */

static void sizes_of_split(const q_node_info *info, q_layer_sizes *out)
{
    out->state = 100;
    out->scratch = 200 * (size_t)info->max.batch;
    out->saved = 300;
}

static q_error_code shape_of_split(const q_node_info *info, q_diag *diag)
{
    (void)diag;
    info->out[0] = info->in[0];
    info->out[1] = info->in[0];
    info->out[1].dim[3].n = 3;
    return Q_OK;
}

static q_error_code never_run(const q_layer *layer, const q_work *work, uint32_t stage)
{
    (void)layer;
    (void)work;
    (void)stage;
    return Q_ERR_UNSUPPORTED;
}

/* Two outputs, state, scratch, something saved; backward reads its input and its second output. */
static const q_layer_class split_class = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_USER + 7,
    .name = "test.split",
    .min_in = 1,
    .max_in = 1,
    .n_out = 2,
    .forward_stages = 1,
    .backward_stages = 1,
    .flags = Q_LAYER_STATEFUL,
    .saves = 1u << 0 | 1u << 9,
    .shape = shape_of_split,
    .sizes = sizes_of_split,
    .forward = never_run,
    .backward = never_run,
};

static q_error_code shape_of_join(const q_node_info *info, q_diag *diag)
{
    (void)diag;
    info->out[0] = info->in[0];
    return Q_OK;
}

/* An addition that has a backward: it saves nothing. */
static const q_layer_class join_class = {
    .struct_size = sizeof(q_layer_class),
    .id = Q_LAYER_USER + 8,
    .name = "test.join",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .forward_stages = 1,
    .backward_stages = 1,
    .in_place = 1u << 0 | 1u << 1,
    .shape = shape_of_join,
    .forward = never_run,
    .backward = never_run,
};

static q_value_type row_type(uint32_t n, uint32_t sym, uint32_t columns)
{
    q_value_type t;
    memset(&t, 0, sizeof(t));
    t.dtype = Q_REAL;
    for (uint32_t i = 0; i < Q_MAX_DIMS; i++) {
        t.dim[i].n = 1;
    }
    t.dim[2].n = n;
    t.dim[2].sym = sym;
    t.dim[3].n = columns;
    return t;
}

static q_value input(q_graph *g, const char *name, uint32_t columns)
{
    q_input_desc d;
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.type = row_type(2, Q_SYM_BATCH, columns);
    return q_graph_input(g, &d);
}

static q_param slot(q_graph *g, const char *name, uint32_t rows, uint32_t columns, bool trainable)
{
    q_param_desc d;
    memset(&d, 0, sizeof(d));
    d.name = name;
    d.type.dtype = Q_REAL;
    d.type.ne[0] = d.type.ne[1] = 1;
    d.type.ne[2] = rows;
    d.type.ne[3] = columns;
    d.trainable = trainable;
    return q_graph_param(g, &d);
}

static q_value node(q_graph *g, const q_layer_class *cls, const char *name, const void *config, q_value a, q_value b,
                    q_param w, q_param bias)
{
    q_node_desc d;
    memset(&d, 0, sizeof(d));
    d.cls = cls;
    d.name = name;
    d.config = config;
    d.n_in = b == Q_NONE ? 1 : 2;
    d.in[0] = a;
    d.in[1] = b;
    d.n_param = w == Q_NONE ? 0 : bias == Q_NONE ? 1 : 2;
    d.param[0] = w;
    d.param[1] = bias;
    return q_graph_node(g, &d);
}

/* user: whether every layer between a parameter and the loss needs a backward. */
static void build_small(q_graph *g, const void *user)
{
    bool train = *(const bool *)user;
    static const q_linear_config linear = {Q_ACT_NONE, 0};
    q_value x = input(g, "x", 8);
    q_value target = input(g, "target \"y\" \\ \xc3\xa9", 16);
    q_value h;
    q_value r;
    q_value s;
    q_value y;
    q_param w;
    q_param b;
    q_param two;
    w = slot(g, "one.w", 16, 8, true); /* one after the other: C leaves the order of arguments open */
    b = slot(g, "one.b", 1, 16, true);
    h = node(g, &q_layer_linear, "one", &linear, x, Q_NONE, w, b);
    s = node(g, &split_class, "split", NULL, h, Q_NONE, Q_NONE, Q_NONE);
    (void)node(g, &q_layer_silu, "dead", NULL, s + 1, Q_NONE, Q_NONE, Q_NONE);
    q_graph_block(g, 1);
    two = slot(g, "two.w", 16, 16, true);
    r = node(g, &q_layer_linear, "two", &linear, s, Q_NONE, two, Q_NONE);
    r = node(g, &q_layer_linear, "two again", &linear, r, Q_NONE, two, Q_NONE);
    r = node(g, train ? &join_class : &q_layer_add, "sum", NULL, r, h, Q_NONE, Q_NONE);
    q_graph_block(g, 2);
    r = node(g, &q_layer_linear, "frozen \"3\"", &linear, r, Q_NONE, slot(g, "frozen.w", 16, 16, false), Q_NONE);
    y = node(g, train ? &join_class : &q_layer_mul, "twice", NULL, r, r, Q_NONE, Q_NONE);
    q_graph_block(g, 0);
    q_graph_output(g, "loss", node(g, &q_layer_mse, "mse", NULL, y, target, Q_NONE, Q_NONE));
    q_graph_output(g, "narrow", s + 1);
}

/* Additions of all kinds: two in front of the norm that reads them and others read too, one that a norm alone reads, one that
   dropout, or without it the product, does, and one whose norm is in another block. user: whether to train. */
static void build_stream(q_graph *g, const void *user)
{
    static const q_linear_config linear = {Q_ACT_NONE, 0};
    static const q_dropout_config tenth = {0.1f, 0};
    static const q_rmsnorm_config rms = {1e-5f, 0, 0, 0};
    static const q_layernorm_config layer = {1e-5f, 0};
    bool train = *(const bool *)user;
    q_value x = input(g, "x", 16);
    q_value place = input(g, "place", 16);
    q_param w = slot(g, "norm.w", 1, 16, true);
    q_value s = node(g, &q_layer_add, "both read", NULL, x, place, Q_NONE, Q_NONE);
    q_value y = node(g, &q_layer_rmsnorm, "norm", &rms, s, Q_NONE, w, Q_NONE);
    y = node(g, &q_layer_linear, "product", &linear, y, Q_NONE, slot(g, "product.w", 16, 16, true), Q_NONE);
    y = node(g, &q_layer_dropout, "dropout", &tenth, y, Q_NONE, Q_NONE, Q_NONE);
    q_graph_block(g, 1);
    s = node(g, &q_layer_add, "in an epilogue", NULL, s, y, Q_NONE, Q_NONE);
    y = node(g, &q_layer_silu, "silu", NULL, s, Q_NONE, Q_NONE, Q_NONE);
    y = node(g, &q_layer_add, "norm alone", NULL, y, s, Q_NONE, Q_NONE);
    y = node(g, &q_layer_layernorm, "post", &layer, y, Q_NONE, slot(g, "post.w", 1, 16, true), Q_NONE);
    s = node(g, &q_layer_add, "block ends", NULL, s, y, Q_NONE, Q_NONE);
    q_graph_block(g, 2);
    y = node(g, &q_layer_layernorm, "last", &layer, s, Q_NONE, slot(g, "last.w", 1, 16, true), Q_NONE);
    y = node(g, &q_layer_mul, "twice", NULL, y, s, Q_NONE, Q_NONE);
    q_graph_block(g, 0);
    q_graph_output(g, "y", train ? node(g, &q_layer_mse, "mse", NULL, y, x, Q_NONE, Q_NONE) : y);
}

/* A norm that is the last step makes a sum that is an output. */
static void build_last(q_graph *g, const void *unused)
{
    static const q_rmsnorm_config rms = {1e-5f, 0, 0, 0};
    q_value x = input(g, "x", 16);
    q_value s = node(g, &q_layer_silu, "silu", NULL, x, Q_NONE, Q_NONE, Q_NONE);
    s = node(g, &q_layer_add, "sum", NULL, s, x, Q_NONE, Q_NONE);
    (void)unused;
    q_graph_output(g, "y", node(g, &q_layer_rmsnorm, "norm", &rms, s, Q_NONE, slot(g, "norm.w", 1, 16, true), Q_NONE));
    q_graph_output(g, "sum", s);
}

/* ---- Plans ------------------------------------------------------------------------------------------------- */

/* Spreads pieces over all memories, by kind and name. */
static uint8_t tag_of(void *user, q_region_kind kind, const char *name)
{
    uint32_t h = (uint32_t)kind;
    (void)user;
    for (; *name != '\0'; name++) {
        h = h * 31u + (uint8_t)*name;
    }
    return (uint8_t)(h % Q_MAX_TAGS);
}

typedef struct growing {
    char *text;
    size_t n;
    size_t cap;
    bool empty_piece;
} growing;

static void collect(void *user, const char *text, size_t n)
{
    growing *to = (growing *)user;
    to->empty_piece = to->empty_piece || n == 0;
    while (to->n + n > to->cap) {
        to->cap = to->cap == 0 ? 65536 : to->cap * 2;
        to->text = (char *)realloc(to->text, to->cap);
        if (to->text == NULL) {
            exit(1);
        }
    }
    memcpy(to->text + to->n, text, n);
    to->n += n;
}

static void save(const char *folder, const char *name, const char *ending, const void *bytes, size_t n)
{
    char path[512];
    FILE *f;
    (void)snprintf(path, sizeof(path), "%s/%s.%s", folder, name, ending);
    f = fopen(path, "wb");
    if (f == NULL || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) {
        (void)printf("FAIL %s cannot be written\n", path);
        exit(1);
    }
}

static void save_needs(const char *folder, const char *name, const q_plan *plan)
{
    char text[2048];
    size_t n = 0;
    q_needs needs;
    q_plan_needs(plan, &needs);
    for (uint32_t kind = 0; kind < Q_REGION_KINDS; kind++) {
        for (uint32_t tag = 0; tag < Q_MAX_TAGS; tag++) {
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%u %u %zu\n", kind, tag, needs.bytes[kind][tag]);
        }
    }
    save(folder, name, "needs", text, n);
}

static q_model *make_model(const char *name, q_build_fn build, const void *user, size_t shift)
{
    q_diag d;
    size_t n;
    q_model *m;
    q_block block;
    if (q_model_size(build, user, &n, &d) != Q_OK) {
        stop(name, &d);
    }
    block.base = (char *)take(n + shift * 2) + shift * 2;
    block.size = n;
    if (q_model_init(&m, block, build, user, &d) != Q_OK) {
        stop(name, &d);
    }
    return m;
}

static q_plan *make_plan(const char *name, const q_model *model, const q_plan_config *c, size_t shift)
{
    q_diag d;
    size_t n;
    q_plan *p;
    q_block block;
    if (q_plan_size(model, c, &n, &d) != Q_OK) {
        stop(name, &d);
    }
    block.base = (char *)take(n + shift) + shift;
    block.size = n;
    if (q_plan_init(&p, block, model, c, &d) != Q_OK) {
        stop(name, &d);
    }
    return p;
}

static void print_all(const char *folder, const char *name, q_build_fn build, const void *user,
                      const q_plan_config *c)
{
    const q_model *model = make_model(name, build, user, 0);
    const q_model *other = make_model(name, build, user, SECOND_PLACE);
    const q_plan *plan = make_plan(name, model, c, 0);
    const q_plan *again = make_plan(name, other, c, SECOND_PLACE);
    for (int form = 0; form < FORMS; form++) {
        growing a = {NULL, 0, 0, false};
        growing b = {NULL, 0, 0, false};
        q_plan_print(plan, (q_plan_format)form, collect, &a);
        q_plan_print(again, (q_plan_format)form, collect, &b);
        check(a.n == b.n && memcmp(a.text, b.text, a.n) == 0, "elsewhere in memory, other bytes", name);
        check(!a.empty_piece, "an empty piece was emitted", name);
        check(a.n != 0 && a.text[a.n - 1] == '\n', "the last line has no end", name);
        save(folder, name, endings[form], a.text, a.n);
        free(a.text);
        free(b.text);
    }
    save_needs(folder, name, plan);
}

static q_plan_config config_of(uint32_t mode, uint32_t precision, uint32_t flags, bool tags, const q_maxima *max)
{
    q_plan_config c;
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.mode = mode;
    c.precision = precision;
    c.flags = flags;
    c.max = *max;
    c.n_workers = 3;
    c.workspace_size = WORKSPACE;
    c.tag = tags ? tag_of : NULL;
    return c;
}

/* How many norms make the sum that they read, and how many additions are steps of their own. */
static void check_sums(const char *name, const q_plan_config *c, bool train, uint32_t want_sums, uint32_t want_adds)
{
    const q_plan *plan = make_plan(name, make_model(name, build_stream, &train, 0), c, 0);
    growing json = {NULL, 0, 0, false};
    uint32_t sums = 0;
    uint32_t adds = 0;
    q_plan_print(plan, Q_PLAN_JSON, collect, &json);
    collect(&json, "", 1);
    for (const char *at = json.text; (at = strstr(at, "\"sum\":")) != NULL; at++) {
        sums++;
    }
    for (const char *at = json.text; (at = strstr(at, "\"class\":\"add\"")) != NULL; at++) {
        adds++;
    }
    check(sums == want_sums && adds == want_adds, "sums made by norms", name);
    free(json.text);
}

static void print_stream(const char *folder, const q_maxima *max)
{
    static const struct {
        const char *name;
        uint32_t mode;
        uint32_t flags;
        uint32_t sums;
        uint32_t adds;
    } variants[] = {{"stream-infer", Q_PLAN_INFER, 0, 3, 0},
                    {"stream-infer-loose", Q_PLAN_INFER, Q_PLAN_NO_FUSE, 0, 4},
                    {"stream-no-in-place", Q_PLAN_INFER, Q_PLAN_NO_IN_PLACE, 3, 0},
                    {"stream-train", Q_PLAN_TRAIN, 0, 3, 0},
                    {"stream-train-again", Q_PLAN_TRAIN, Q_PLAN_RECOMPUTE, 3, 2}, /* one of each a second time */
                    {"stream-train-loose", Q_PLAN_TRAIN, Q_PLAN_NO_FUSE, 0, 4}};
    const q_plan_config last = config_of(Q_PLAN_INFER, Q_PRECISION_EXACT, 0, 0, max);
    print_all(folder, "stream-last", build_last, NULL, &last);
    for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
        const bool train = variants[i].mode == Q_PLAN_TRAIN;
        q_plan_config c = config_of(variants[i].mode, Q_PRECISION_EXACT, variants[i].flags, i % 2 != 0, max);
        print_all(folder, variants[i].name, build_stream, &train, &c);
        check_sums(variants[i].name, &c, train, variants[i].sums, variants[i].adds);
    }
}

static void print_variants(const char *folder, const char *base, q_build_fn build, const void *user,
                           const q_maxima *max)
{
    static const struct {
        const char *name;
        uint32_t precision;
        uint32_t flags;
        bool tags;
    } variants[] = {
        {"fast", Q_PRECISION_FAST, 0, false},
        {"exact", Q_PRECISION_EXACT, 0, false},
        {"tags", Q_PRECISION_FAST, 0, true},
        {"no-fuse", Q_PRECISION_FAST, Q_PLAN_NO_FUSE, false},
        {"no-in-place", Q_PRECISION_FAST, Q_PLAN_NO_IN_PLACE, false},
        {"plain", Q_PRECISION_EXACT, Q_PLAN_NO_FUSE | Q_PLAN_NO_IN_PLACE, true},
    };
    for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
        char name[160];
        q_plan_config c = config_of(Q_PLAN_INFER, variants[i].precision, variants[i].flags, variants[i].tags, max);
        (void)snprintf(name, sizeof(name), "%s-%s", base, variants[i].name);
        print_all(folder, name, build, user, &c);
    }
}

static void print_file(const char *folder, const char *path)
{
    static const q_maxima max = {1, 24, 5, 96, 1};
    const char *slash = strrchr(path, '/');
    char name[128];
    q_file file;
    q_file_build build;
    q_diag d;
    FILE *f = fopen(path, "rb");
    long size = 0;
    void *bytes;
    if (f == NULL || fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) <= 0 || fseek(f, 0, SEEK_SET) != 0) {
        (void)printf("FAIL %s cannot be read\n", path);
        exit(1);
    }
    bytes = take((size_t)size);
    if (fread(bytes, 1, (size_t)size, f) != (size_t)size || fclose(f) != 0) {
        (void)printf("FAIL %s cannot be read\n", path);
        exit(1);
    }
    if (q_file_open(&file, bytes, (size_t)size, NULL, 0, &d) != Q_OK) {
        stop(path, &d);
    }
    memset(&build, 0, sizeof(build));
    build.file = &file;
    (void)snprintf(name, sizeof(name), "%.100s", slash != NULL ? slash + 1 : path);
    if (strchr(name, '.') != NULL) {
        *strchr(name, '.') = '\0';
    }
    print_variants(folder, name, q_build_from_file, &build, &max);
}

int main(int argc, char **argv)
{
    static const q_maxima max = {5, 1, 1, 0, 1};
    const bool train = true;
    const bool infer = false;
    q_plan_config c;
    if (argc < 2) {
        (void)fprintf(stderr, "usage: test_plan OUTDIR FILE.qorus...\n");
        return 2;
    }
    c = config_of(Q_PLAN_TRAIN, Q_PRECISION_EXACT, 0, false, &max);
    print_all(argv[1], "small-train", build_small, &train, &c);
    c = config_of(Q_PLAN_TRAIN, Q_PRECISION_EXACT, 0, true, &max);
    print_all(argv[1], "small-train-tags", build_small, &train, &c);
    c = config_of(Q_PLAN_TRAIN, Q_PRECISION_EXACT, Q_PLAN_RECOMPUTE, true, &max);
    c.moments = 2;
    print_all(argv[1], "small-train-again", build_small, &train, &c);
    print_variants(argv[1], "small", build_small, &infer, &max);
    print_stream(argv[1], &max);
    for (int i = 2; i < argc; i++) {
        print_file(argv[1], argv[i]);
    }
    (void)printf("%d passed, %d failed, 0 skipped\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
