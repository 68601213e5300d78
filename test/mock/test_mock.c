/* SPDX-License-Identifier: MIT */
/*
 * The seam for devices, proved by the mock backend: a model, whole and in parts, gives on it the bits of the scalar
 * backend while nobody else can read its memory; whatever operation of a device fails, the step fails with that error
 * and the session goes on.
 *
 *   test_mock LLAMA.qorus
 */
#define _DEFAULT_SOURCE
#include "rig.h"

#include "../../port/posix/posix.h"
#include "qorus/snapshot.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROMPT = 40, DECODED = 3, STEP = 5 };

static const char *model_file;
static q_posix posix;

/* ---- The same bits ---------------------------------------------------------------------------------------- */

/* Logits of a prompt in chunks, then of single tokens: every row's. */
static uint64_t hash_of_run(rig *r, q_error_code *e)
{
    int32_t tokens[PROMPT + DECODED];
    uint64_t h = 0;
    flow_tokens(&r->f, tokens, PROMPT + DECODED, 7);
    *e = Q_OK;
    for (uint32_t i = 0; i <= DECODED && *e == Q_OK; i++) {
        uint64_t part = flow_hash(&r->f, tokens + (i == 0 ? 0 : PROMPT + i - 1), i == 0 ? PROMPT : 1, e);
        h = (h ^ part) * 1099511628211u;
    }
    return h;
}

static uint64_t reference(uint32_t precision)
{
    static rig r;
    q_error_code e;
    uint64_t h;
    rig_init(&r, model_file, precision, SPLIT_CPU, 0);
    rig_open(&r);
    h = hash_of_run(&r, &e);
    check(e == Q_OK, "reference runs");
    rig_close(&r);
    return h;
}

static void test_bits_of(uint64_t want, uint32_t precision, rig_split split, uint32_t seed, uint32_t workers)
{
    static rig r;
    q_error_code e;
    uint64_t h;
    rig_init(&r, model_file, precision, split, seed);
    if (workers > 1) {
        r.setup.port = q_posix_port(&posix);
        r.setup.workers = workers;
    }
    rig_open(&r);
    h = hash_of_run(&r, &e);
    check(e == Q_OK && h == want, "K01 bits of scalar: precision %u, split %d, seed %u, workers %u (error %d: %s %s)",
          precision, (int)split, seed, workers, (int)e, r.f.diag.what, r.f.diag.field);
    check(r.device[0].mock.counts[Q_MOCK_KERNEL] > 0, "K02 kernels ran on the device: split %d, seed %u", (int)split, seed);
    rig_close(&r);
}

static void test_bits(void)
{
    for (uint32_t precision = 0; precision < 2; precision++) {
        uint64_t want = reference(precision);
        for (rig_split split = SPLIT_ALL; split < SPLIT_RANDOM; split++) {
            test_bits_of(want, precision, split, 0, 1);
            test_bits_of(want, precision, split, 0, 2);
        }
        for (uint32_t seed = 1; seed <= 8; seed++) {
            test_bits_of(want, precision, SPLIT_RANDOM, seed, 1 + seed % 2);
            test_bits_of(want, precision, SPLIT_RANDOM_TWO, seed, 1 + seed % 3);
        }
    }
}

/* Without a callback everything that can runs on the device; without fusing and in-place forms all the same. */
static void test_default_place(void)
{
    static rig r;
    q_error_code e;
    uint64_t want = reference(Q_PRECISION_FAST);
    rig_init(&r, model_file, Q_PRECISION_FAST, SPLIT_ALL, 0);
    r.devices.place = NULL;
    rig_open(&r);
    check(hash_of_run(&r, &e) == want && e == Q_OK, "K03 default places");
    rig_close(&r);
    rig_init(&r, model_file, Q_PRECISION_FAST, SPLIT_ALTERNATE, 0);
    r.setup.plan_flags = Q_PLAN_NO_FUSE | Q_PLAN_NO_IN_PLACE;
    rig_open(&r);
    check(hash_of_run(&r, &e) == want && e == Q_OK, "K04 without fusing");
    rig_close(&r);
}

/* The output of the last row lies in memory of the host. */
static void test_output(void)
{
    static rig r;
    int32_t token = 5;
    const void *inputs[1] = {&token};
    q_step step;
    q_tensor out;
    float first = 0;
    rig_init(&r, model_file, Q_PRECISION_FAST, SPLIT_ALL, 0);
    rig_open(&r);
    memset(&step, 0, sizeof(step));
    step.inputs = inputs;
    step.select = Q_SELECT_LAST;
    check(q_model_forward(r.f.session, &step, &r.f.diag) == Q_OK, "K05 a step");
    check(q_session_output(r.f.session, 0, &out, &r.f.diag) == Q_OK && out.device == Q_DEVICE_CPU, "K05 an output");
    memcpy(&first, out.data, sizeof(first));
    check(first - first == 0, "K05 the output is read");
    rig_close(&r);
}

/* ---- Failures --------------------------------------------------------------------------------------------- */

/* Every operation of a step fails once. */
static void test_failing_step(rig_split split, uint32_t seed, bool check_finite)
{
    static rig r;
    int32_t tokens[4 + STEP];
    uint64_t want;
    uint64_t n;
    uint32_t right = 0;
    q_error_code e;
    rig_init(&r, model_file, Q_PRECISION_FAST, split, seed);
    r.setup.session.flags = check_finite ? Q_SESSION_CHECK_FINITE : 0;
    r.setup.chunk = 4;
    r.setup.selected = 2;
    rig_open(&r);
    flow_tokens(&r.f, tokens, 4 + STEP, 3);
    (void)flow_hash(&r.f, tokens, 4, &e);
    check(e == Q_OK && q_session_position(r.f.session) == 4, "K10 a first step");
    rig_fail_at(&r, 0, Q_OK);
    want = flow_hash(&r.f, tokens + 4, STEP, &e); /* two chunks, rows in windows */
    n = r.device[0].mock.n;
    check(e == Q_OK && n > 20, "K10 a step of %llu operations", (unsigned long long)n);
    for (uint64_t at = 1; at <= n; at++) {
        uint64_t again;
        bool failed;
        check(q_session_rewind(r.f.session, 4, &r.f.diag) == Q_OK, "K11 back to 4");
        rig_fail_at(&r, at, Q_ERR_NO_DEVICE);
        memset(&r.f.diag, 0, sizeof(r.f.diag));
        (void)flow_hash(&r.f, tokens + 4, STEP, &e);
        failed = e == Q_ERR_NO_DEVICE && r.f.diag.code == e && r.f.diag.what[0] != '\0' &&
                 q_session_position(r.f.session) == 4;
        rig_fail_at(&r, 0, Q_OK);
        again = flow_hash(&r.f, tokens + 4, STEP, &e);
        right += failed && e == Q_OK && again == want ? 1u : 0u;
        check(failed && e == Q_OK && again == want,
              "K11 operation %llu (kind %u) of split %d fails (%d: %s %s), then the step runs (%d)",
              (unsigned long long)at, r.device[0].mock.failed, (int)split, (int)failed, r.f.diag.what, r.f.diag.field,
              (int)e);
    }
    check(right == n, "K12 %u of %llu failures are reported and survived", right, (unsigned long long)n);
    rig_close(&r);
}

/* Every operation of q_session_init, then of q_plan_init. */
static void test_failing_init(void)
{
    static rig r;
    uint64_t n;
    q_error_code e;
    q_block memory;
    rig_init(&r, model_file, Q_PRECISION_FAST, SPLIT_ALTERNATE, 0);
    rig_open(&r);
    check(rig_session(&r) == Q_OK, "K13 a session again");
    n = rig_operations(&r);
    check(n > 10, "K13 operations of init: %llu", (unsigned long long)n);
    for (uint64_t at = 1; at <= n; at++) {
        rig_fail_at(&r, at, Q_ERR_NO_SPACE);
        memset(&r.f.diag, 0, sizeof(r.f.diag));
        e = rig_session(&r);
        check(e == Q_ERR_NO_SPACE && r.f.diag.code == e && r.f.diag.what[0] != '\0',
              "K13 operation %llu of init fails (%d: %s %s)", (unsigned long long)at, (int)e, r.f.diag.what,
              r.f.diag.field);
    }
    rig_fail_at(&r, 0, Q_OK);
    memory.size = r.f.plan_size;
    memory.base = flow_heap.take(NULL, memory.size, "plan");
    check(flow_plan(&r.f, &r.setup, memory) == Q_OK, "K14 a plan again");
    n = rig_operations(&r);
    check(n > 5, "K14 parameters asked about: %llu", (unsigned long long)n);
    for (uint64_t at = 1; at <= n; at++) {
        rig_fail_at(&r, at, Q_ERR_NO_SPACE);
        e = flow_plan(&r.f, &r.setup, memory);
        check(e == Q_ERR_NO_SPACE && q_model_find_param(r.f.model, r.f.diag.what) != Q_NONE,
              "K14 size of parameter %llu fails (%d: %s)", (unsigned long long)at, (int)e, r.f.diag.what);
    }
    rig_close(&r);
}

/* One byte less in any region says how much is missing; a region on the wrong device is refused. */
static void test_regions(void)
{
    static rig r;
    uint32_t n_device = 0;
    rig_init(&r, model_file, Q_PRECISION_FAST, SPLIT_RANDOM_TWO, 1);
    rig_open(&r);
    for (size_t i = 0; i < r.f.n_regions; i++) {
        q_region *region = &r.f.regions[i];
        q_error_code e;
        n_device += region->tag >= Q_MAX_TAGS ? 1u : 0u;
        region->size--;
        e = rig_session(&r);
        region->size++;
        check(e == Q_ERR_NO_SPACE && r.f.diag.need == r.f.diag.have + 1 && r.f.diag.need == region->size &&
                  r.f.diag.offset == region->tag,
              "K15 region %zu one byte short (%d: %s)", i, (int)e, r.f.diag.what);
        region->device ^= Q_DEVICE_MOCK;
        e = rig_session(&r);
        region->device ^= Q_DEVICE_MOCK;
        check(e == Q_ERR_INVALID_DEVICE || e == Q_ERR_INVALID_ARG, "K16 region %zu on the wrong device (%d)", i, (int)e);
    }
    check(n_device >= 5, "K15 regions of devices: %u", n_device);
    check(rig_session(&r) == Q_OK, "K15 whole again");
    rig_close(&r);
}

/* ---- Memory nobody else reads ------------------------------------------------------------------------------ */

/* Signal that ends a child that reads one byte at `at`; 0 if it lives. */
static int signal_of_reading(const volatile uint8_t *at)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        (void)signal(SIGSEGV, SIG_DFL);
        _exit(*at == 77 ? 2 : 3);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return -1;
    }
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static bool in_child_traps(const volatile uint8_t *at)
{
    int s = signal_of_reading(at);
#if defined(__SANITIZE_ADDRESS__)
    return s != -1; /* the sanitizer's handler turns the signal into an exit */
#else
    return s == SIGSEGV || s == SIGBUS;
#endif
}

static void test_traps(void)
{
    static rig r;
    static uint8_t mine = 1;
    q_error_code e;
    rig_init(&r, model_file, Q_PRECISION_FAST, SPLIT_ALL, 0);
    rig_open(&r);
    (void)hash_of_run(&r, &e);
    check(e == Q_OK, "K20 a run");
    for (size_t i = 0; i < r.f.n_regions; i++) {
        if (r.f.regions[i].tag >= Q_MAX_TAGS) {
            check(in_child_traps((const uint8_t *)r.f.regions[i].base), "K20 region %zu of the device is unreadable", i);
        }
    }
    check(signal_of_reading(&mine) == 0, "K21 control: own memory is readable");
    rig_close(&r);
}

/* ---- Watching --------------------------------------------------------------------------------------------- */

typedef struct watch {
    uint32_t on_device;
    uint32_t downloaded;
    uint32_t transfers;
} watch;

static q_error_code see(void *user, const q_observation *seen)
{
    watch *w = (watch *)user;
    const q_tensor *t = seen->layer->out[0];
    w->transfers += seen->layer->type == Q_LAYER_TRANSFER ? 1u : 0u;
    if (t->device != Q_DEVICE_CPU) {
        float first;
        const q_backend *b = seen->layer->backend;
        w->on_device++;
        if (b->download(b->state, &first, t->data, sizeof(first)) != Q_OK) {
            return Q_ERR_IO;
        }
        w->downloaded++;
    }
    return Q_OK;
}

static void test_watching(void)
{
    static rig r;
    watch w = {0, 0, 0};
    q_error_code e;
    uint64_t want = reference(Q_PRECISION_EXACT);
    rig_init(&r, model_file, Q_PRECISION_EXACT, SPLIT_ALTERNATE, 0);
    r.setup.session.observe = see;
    r.setup.session.user = &w;
    r.setup.session.flags = Q_SESSION_CHECK_FINITE;
    rig_open(&r);
    check(hash_of_run(&r, &e) == want && e == Q_OK, "K22 bits under an observer");
    check(w.on_device > 10 && w.downloaded == w.on_device && w.transfers > 10, "K22 seen: %u on the device, %u transfers",
          w.on_device, w.transfers);
    rig_close(&r);
}

/* An infinity in a weight of a node on the device is found and named there. */
static void test_non_finite(void)
{
    static rig r;
    const float infinity = 1e38f * 1e38f;
    q_tensor weight;
    q_param p;
    q_error_code e;
    rig_init(&r, model_file, Q_PRECISION_FAST, SPLIT_ALL, 0);
    r.setup.session.flags = Q_SESSION_CHECK_FINITE;
    rig_open(&r);
    p = q_model_find_param(r.f.model, "layers.1.attn_norm.weight");
    p = p != Q_NONE ? p : q_model_find_param(r.f.model, "layers.1.attn_norm");
    check(p != Q_NONE, "K23 the norm's weight");
    if (p != Q_NONE && q_session_param(r.f.session, p, &weight, NULL) == Q_OK) {
        memcpy(weight.data, &infinity, sizeof(infinity));
        check(rig_session(&r) == Q_OK, "K23 a session with it");
        (void)hash_of_run(&r, &e);
        check(e == Q_ERR_NON_FINITE && strcmp(r.f.diag.what, "layers.1.attn_norm") == 0, "K23 named (%d: %s)", (int)e,
              r.f.diag.what);
    }
    rig_close(&r);
}

/* ---- Refusals ---------------------------------------------------------------------------------------------- */

static uint32_t place_far(void *user, const char *node)
{
    (void)user;
    (void)node;
    return 2;
}

static uint32_t place_one(void *user, const char *node)
{
    (void)user;
    (void)node;
    return 1;
}

static void test_refusals(void)
{
    static rig r;
    q_backend broken;
    const q_backend *list[1] = {&broken};
    q_devices devices;
    q_diag diag;
    q_block memory;
    q_error_code e;
    rig_init(&r, model_file, Q_PRECISION_FAST, SPLIT_ALL, 0);
    rig_open(&r);
    broken = r.device[0].backend;
    broken.device = Q_DEVICE_CPU;
    check(q_devices_init(&devices, list, 1, NULL, NULL, &diag) == Q_ERR_INVALID_DEVICE, "K30 a CPU is no device");
    broken = r.device[0].backend;
    broken.download = NULL;
    check(q_devices_init(&devices, list, 1, NULL, NULL, &diag) == Q_ERR_INVALID_ARG, "K30 a device without download");
    broken = r.device[0].backend;
    broken.workspace_size = 32;
    check(q_devices_init(&devices, list, 1, NULL, NULL, &diag) == Q_ERR_MISALIGNED, "K30 a workspace out of line");
    check(q_devices_init(&devices, list, Q_MAX_DEVICES + 1, NULL, NULL, &diag) == Q_ERR_INVALID_ARG, "K30 too many");
    check(q_devices_init(&devices, list, 0, NULL, NULL, &diag) == Q_ERR_INVALID_ARG, "K30 none");

    memory.size = r.f.plan_size;
    memory.base = flow_heap.take(NULL, memory.size, "plan");
    r.devices.place = place_far;
    e = flow_plan(&r.f, &r.setup, memory);
    check(e == Q_ERR_INVALID_DEVICE && r.f.diag.have == 2 && r.f.diag.need == 1, "K31 a place that is none (%d: %s)", (int)e,
          r.f.diag.what);

    r.f.context.backend = &r.device[0].backend;
    e = rig_session(&r);
    check(e == Q_ERR_INVALID_DEVICE && strcmp(r.f.diag.field, "context.backend") == 0, "K32 a device as context (%d)", (int)e);
    rig_close(&r);
}

/* A plan for training, a class that reads its tensors itself, a state that would be saved: named and refused. */
static void test_unsupported(void)
{
    static rig r;
    static q_layer_class own;
    q_class_swap swap = {Q_LAYER_RMSNORM, &own, NULL};
    q_plan_config c;
    q_snapshot_info info;
    uint8_t hash[Q_SNAPSHOT_HASH] = {0};
    size_t bytes;
    q_block work = {flow_heap.take(NULL, Q_SNAPSHOT_WORK, "work"), Q_SNAPSHOT_WORK};
    q_diag diag;
    q_error_code e;
    memset(&info, 0, sizeof(info));
    rig_init(&r, model_file, Q_PRECISION_FAST, SPLIT_ALL, 0);
    rig_open(&r);
    memset(&c, 0, sizeof(c));
    c.struct_size = sizeof(c);
    c.mode = Q_PLAN_TRAIN;
    c.max = (q_maxima){.batch = 1, .tokens = 16, .selected = 1, .kv = 128};
    c.n_workers = 1;
    c.devices = &r.devices;
    check(q_plan_size(r.f.model, &c, &bytes, &diag) == Q_ERR_UNSUPPORTED && strcmp(diag.field, "devices: training") == 0,
          "K33 training on a device (%s)", diag.field);
    e = q_snapshot_save(r.f.session, q_posix_port(&posix), "build/mock.snapshot", hash, &info, work, &diag);
    check(e == Q_ERR_UNSUPPORTED && strcmp(diag.field, "state on a device") == 0 && strstr(diag.what, "attention") != NULL,
          "K34 a state on a device is not saved (%d: %s)", (int)e, diag.what);
    rig_close(&r);

    own = q_layer_rmsnorm;
    own.flags &= ~(uint32_t)Q_LAYER_DEVICE;
    rig_init(&r, model_file, Q_PRECISION_FAST, SPLIT_ALL, 0);
    r.setup.swaps = &swap;
    r.setup.n_swaps = 1;
    r.devices.place = NULL;
    rig_open(&r); /* those nodes on the CPU, the rest on the device */
    (void)hash_of_run(&r, &e);
    check(e == Q_OK, "K35 a class for the CPU among others");
    r.devices.place = place_one;
    e = flow_plan(&r.f, &r.setup, (q_block){flow_heap.take(NULL, r.f.plan_size, "plan"), r.f.plan_size});
    check(e == Q_ERR_UNSUPPORTED && strcmp(r.f.diag.what, "layers.0.attn_norm") == 0, "K35 that class on a device (%d: %s)",
          (int)e, r.f.diag.what);
    rig_close(&r);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)printf("usage: test_mock LLAMA.qorus\n");
        return 2;
    }
    model_file = argv[1];
    if (q_posix_init(&posix, 3, NULL) != Q_OK) {
        (void)printf("no threads\n");
        return 2;
    }
    test_bits();
    test_default_place();
    test_output();
    test_failing_step(SPLIT_ALL, 0, false);
    test_failing_step(SPLIT_ALTERNATE, 0, false);
    test_failing_step(SPLIT_RANDOM_TWO, 3, false);
    test_failing_step(SPLIT_ALTERNATE, 0, true);
    test_failing_init();
    test_regions();
    test_traps();
    test_watching();
    test_non_finite();
    test_refusals();
    test_unsupported();
    test_mock_printing(model_file);
    return check_summary();
}
