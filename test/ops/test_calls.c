/* SPDX-License-Identifier: MIT */
/*
 * test_calls.c: what the table of bad calls cannot hold: contexts, views, counts beyond memory, a
 * device, the caller's control word, the words of codes.
 */
#include <string.h>

#include "fake_device.h"
#include "ops_test.h"

static bool names(const q_diag *d, q_error_code code, const char *what, const char *field)
{
    return d->code == code && strcmp(d->what, what) == 0 && strcmp(d->field, field) == 0;
}

/* ---- The context ----------------------------------------------------------------------------- */

typedef struct init_call {
    q_op_context out;
    q_context context;
    q_backend backend;
    q_port port;
    q_block work;
} init_call;

static Q_ALIGNED(64) uint8_t small_work[2048 + 64];

static void good_init(init_call *c)
{
    memset(c, 0, sizeof(*c));
    q_backend_scalar(&c->backend);
    c->backend.workspace_size = 1024;
    c->port = *ops_port;
    c->context.port = &c->port;
    c->context.backend = &c->backend;
    c->context.n_workers = 2;
    c->work.base = small_work;
    c->work.size = 2048;
}

static bool init_refuses(init_call *c, q_error_code code, const char *what, const char *field)
{
    q_diag d;
    memset(&d, 0, sizeof(d));
    return q_op_init(&c->out, &c->context, c->work, &d) == code && names(&d, code, what, field) &&
           c->out.mark == 0;
}

static void init_places(void)
{
    init_call c;
    good_init(&c); /* R02: exactly what is needed */
    CHECK_EQ(q_op_init(&c.out, &c.context, c.work, NULL), Q_OK);
    CHECK_EQ(q_op_init(&c.out, &c.context, c.work, NULL), Q_OK); /* A04: again */
    good_init(&c);                                               /* R01 */
    c.work.size--;
    CHECK(init_refuses(&c, Q_ERR_NO_SPACE, "q_op_init", "workspace.size"));
    good_init(&c); /* R03 */
    c.work.size = 0;
    CHECK(init_refuses(&c, Q_ERR_NO_SPACE, "q_op_init", "workspace.size"));
    good_init(&c); /* R04 */
    c.work.base = NULL;
    CHECK(init_refuses(&c, Q_ERR_INVALID_ARG, "q_op_init", "workspace.base"));
    for (uint32_t i = 1; i < 64; i++) { /* R05 */
        good_init(&c);
        c.work.base = small_work + i;
        CHECK(init_refuses(&c, Q_ERR_MISALIGNED, "q_op_init", "workspace.base"));
    }
    good_init(&c); /* R10 */
    c.work.size = SIZE_MAX - 64;
    CHECK(init_refuses(&c, Q_ERR_OVERFLOW, "q_op_init", "workspace.size"));
}

void ops_init_refuses(void)
{
    init_call c;
    q_diag d;
    size_t bytes;
    init_places();
    good_init(&c);
    CHECK_EQ(q_op_init(NULL, &c.context, c.work, &d), Q_ERR_INVALID_ARG); /* A01 */
    CHECK(names(&d, Q_ERR_INVALID_ARG, "q_op_init", "out"));
    CHECK_EQ(q_op_init(&c.out, NULL, c.work, &d), Q_ERR_INVALID_ARG);
    CHECK(names(&d, Q_ERR_INVALID_ARG, "q_op_init", "context"));
    CHECK_EQ(q_op_workspace_size(&c.context, NULL, &d), Q_ERR_INVALID_ARG);
    CHECK_EQ(q_op_workspace_size(&c.context, &bytes, NULL), Q_OK);
    CHECK_EQ(bytes, 2048);
    c.context.backend = NULL;
    CHECK(init_refuses(&c, Q_ERR_INVALID_ARG, "q_op_init: context", "backend"));
    good_init(&c); /* A05 */
    c.backend.struct_size -= 8;
    CHECK(init_refuses(&c, Q_ERR_INVALID_ARG, "q_op_init: context", "backend.struct_size"));
    good_init(&c);
    c.port.struct_size += 8;
    CHECK(init_refuses(&c, Q_ERR_INVALID_ARG, "q_op_init: context", "port.struct_size"));
    good_init(&c);
    c.context.n_workers = Q_MAX_WORKERS + 1;
    CHECK(init_refuses(&c, Q_ERR_INVALID_ARG, "q_op_init: context", "n_workers"));
    good_init(&c);
    c.context.reserved = 1;
    CHECK(init_refuses(&c, Q_ERR_INVALID_ARG, "q_op_init: context", "reserved"));
    good_init(&c);
    c.backend.workspace_size = 1000;
    CHECK(init_refuses(&c, Q_ERR_MISALIGNED, "q_op_init: context", "backend.workspace_size"));
    good_init(&c);
    c.backend.workspace_size = SIZE_MAX / 2 + 1;
    CHECK(init_refuses(&c, Q_ERR_OVERFLOW, "q_op_init: context", "workspace"));
    good_init(&c);
    c.backend.device = Q_DEVICE_MOCK;
    CHECK(init_refuses(&c, Q_ERR_INVALID_ARG, "q_op_init: context", "backend.download"));
}

/* ---- Views ----------------------------------------------------------------------------------- */

typedef struct view_case {
    uint32_t dtype;
    uint32_t layout;
    uint32_t ne[4];
    q_error_code code;
    const char *field;
} view_case;

void ops_tensor_init_refuses(void)
{
    static const view_case cases[] = {
        {Q_F32, Q_PLAIN, {2, 3, 4, 5}, Q_OK, ""},
        {Q_Q4_0, Q_PANEL16, {1, 1, 17, 64}, Q_OK, ""},
        {Q_A8, Q_PLAIN, {1, 1, 2, 64}, Q_OK, ""},
        {Q_DTYPE_COUNT, Q_PLAIN, {1, 1, 1, 1}, Q_ERR_INVALID_DTYPE, "dtype"},
        {Q_I32, Q_PANEL16, {1, 1, 1, 1}, Q_ERR_INVALID_DTYPE, "dtype"},
        {Q_F32, Q_LAYOUT_COUNT, {1, 1, 1, 1}, Q_ERR_INVALID_LAYOUT, "layout"},
        {Q_F32, Q_PLAIN, {0, 1, 1, 1}, Q_ERR_INVALID_SIZE, "ne[0]"},
        {Q_F32, Q_PLAIN, {1, 1, 1, 0}, Q_ERR_INVALID_SIZE, "ne[3]"},
        {Q_F32, Q_PLAIN, {1, 1, 0x80000000u, 1}, Q_ERR_INVALID_SIZE, "ne[2]"},
        {Q_Q8_0, Q_PLAIN, {1, 1, 1, 48}, Q_ERR_INVALID_SIZE, "ne[3]"},
        {Q_A8, Q_PLAIN, {1, 1, 1, 16}, Q_ERR_INVALID_SIZE, "ne[3]"},
        {Q_F32, Q_PLAIN, {1, 0x7fffffff, 0x7fffffff, 2}, Q_ERR_OVERFLOW, "bytes"},
        {Q_F32, Q_PLAIN, {0x7fffffff, 0x7fffffff, 4, 1}, Q_ERR_OVERFLOW, "bytes"},
    };
    const uint32_t ne[4] = {1, 1, 1, 1};
    q_tensor t;
    q_diag d;
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const view_case *c = &cases[i];
        memset(&d, 0, sizeof(d));
        CHECK_EQ(q_tensor_init(&t, small_work, c->dtype, c->layout, c->ne, &d), c->code);
        CHECK(c->code == Q_OK || names(&d, c->code, "q_tensor", c->field));
    }
    CHECK_EQ(q_tensor_init(NULL, small_work, Q_F32, Q_PLAIN, ne, &d), Q_ERR_INVALID_ARG);
    CHECK_EQ(q_tensor_init(&t, NULL, Q_F32, Q_PLAIN, ne, &d), Q_ERR_INVALID_ARG);
    CHECK_EQ(q_tensor_init(&t, small_work, Q_F32, Q_PLAIN, NULL, &d), Q_ERR_INVALID_ARG);
}

void ops_tensor_heads_splits(void)
{
    const uint32_t ne[4] = {2, 1, 5, 24};
    q_tensor t;
    q_tensor heads;
    q_diag d;
    CHECK_EQ(q_tensor_init(&t, small_work, Q_REAL, Q_PLAIN, ne, NULL), Q_OK);
    CHECK_EQ(q_tensor_heads(&heads, &t, 3, NULL), Q_OK);
    CHECK(heads.ne[0] == 2 && heads.ne[1] == 3 && heads.ne[2] == 5 && heads.ne[3] == 8);
    CHECK(heads.nb[1] == 8 * sizeof(q_real) && heads.nb[2] == t.nb[2] && heads.nb[0] == t.nb[0]);
    CHECK_EQ(q_tensor_heads(&heads, &t, 5, &d), Q_ERR_INVALID_SHAPE);
    CHECK_EQ(q_tensor_heads(&heads, &t, 0, &d), Q_ERR_INVALID_ARG);
    CHECK_EQ(q_tensor_heads(NULL, &t, 3, &d), Q_ERR_INVALID_ARG);
    CHECK_EQ(q_tensor_heads(&heads, NULL, 3, &d), Q_ERR_INVALID_ARG);
    CHECK_EQ(q_tensor_heads(&heads, &heads, 2, &d), Q_ERR_INVALID_SHAPE);
    t.dtype = Q_Q8_0;
    CHECK_EQ(q_tensor_heads(&heads, &t, 3, &d), Q_ERR_INVALID_DTYPE);
}

void ops_kv_bytes_refuses(void)
{
    q_kv kv;
    size_t bytes;
    q_diag d;
    memset(&kv, 0, sizeof(kv));
    kv.struct_size = sizeof(kv);
    kv.dtype = Q_F16;
    kv.kv_heads = 3;
    kv.head_dim = 64;
    kv.capacity = 128;
    CHECK_EQ(q_kv_bytes(&kv, &bytes, &d), Q_OK);
    CHECK_EQ(bytes, 3 * 64 * 128 * 2);
    CHECK_EQ(q_kv_bytes(&kv, NULL, &d), Q_ERR_INVALID_ARG);
    CHECK_EQ(q_kv_bytes(NULL, &bytes, &d), Q_ERR_INVALID_ARG);
    kv.dtype = Q_Q8_0;
    CHECK_EQ(q_kv_bytes(&kv, &bytes, &d), Q_OK);
    CHECK_EQ(bytes, 3 * 64 / 32 * 34 * 128);
    kv.head_dim = 48;
    CHECK_EQ(q_kv_bytes(&kv, &bytes, &d), Q_ERR_INVALID_SIZE);
    CHECK(names(&d, Q_ERR_INVALID_SIZE, "q_kv_bytes: kv", "head_dim"));
    kv.head_dim = 64;
    kv.dtype = Q_F16;
    kv.capacity = 127;
    CHECK_EQ(q_kv_bytes(&kv, &bytes, &d), Q_ERR_INVALID_SIZE);
    CHECK(names(&d, Q_ERR_INVALID_SIZE, "q_kv_bytes: kv", "capacity"));
}

/* A context over memory[3 * 256 ..][256] as workspace. */
static void open_neighbours(q_op_context *ctx, q_backend *scalar, uint8_t *memory)
{
    q_context context;
    q_block work = {memory + 3 * 256, 256};
    memset(&context, 0, sizeof(context));
    q_backend_scalar(scalar);
    scalar->workspace_size = 256;
    context.backend = scalar;
    CHECK_EQ(q_op_init(ctx, &context, work, NULL), Q_OK);
}

/* Buffers that touch without sharing a byte, one behind the other and next to the workspace. */
void ops_neighbours_are_accepted(void)
{
    static Q_ALIGNED(64) uint8_t memory[7 * 256];
    const uint32_t ne[4] = {1, 1, 4, 16};
    const uint32_t heads[4] = {1, 2, 2, 16};
    static const uint8_t places[][3] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {6, 2, 1}, {5, 6, 4}};
    q_backend scalar;
    q_op_context ctx;
    open_neighbours(&ctx, &scalar, memory);
    for (uint32_t i = 0; i < 2 * sizeof(places) / sizeof(places[0]); i++) {
        q_tensor t[3];
        for (uint32_t k = 0; k < 3; k++) {
            void *at = memory + places[i / 2][k] * 256;
            CHECK_EQ(q_tensor_init(&t[k], at, Q_REAL, Q_PLAIN, i % 2 == 0 ? ne : heads, NULL),
                     Q_OK);
        }
        CHECK_EQ(q_op_add(&ctx, &t[0], &t[1], &t[2], NULL), Q_OK);
    }
}

/* The same buffers, each moved by one element over its neighbour: from below and from above. */
void ops_one_shared_element_is_refused(void)
{
    static Q_ALIGNED(64) uint8_t memory[7 * 256];
    const uint32_t ne[4] = {1, 1, 1, 256 / sizeof(q_real)};
    const size_t one = sizeof(q_real);
    const size_t places[][3] = {
        {512 + one, 0, 256},   {1024 - one, 0, 256},      /* a and the workspace */
        {0, 512 + one, 256},   {0, 1024 - one, 256},      /* b and the workspace */
        {0, 256, 512 + one},   {0, 256, 1024 - one},      /* out and the workspace */
        {1280, 0, 1280 + one}, {1280 + one, 0, 1280},     /* a and out */
        {0, 1280, 1280 + one}, {0, 1280 + one, 1280},     /* b and out */
        {0, 1280, 1536 - one}, {1536 - one, 0, 1280},     /* the last element and the first */
    };
    static const char *const fields[] = {"workspace", "workspace", "workspace", "workspace",
                                         "workspace", "workspace", "a",         "a",
                                         "b",         "b",         "b",         "a"};
    static const char *const names_of[] = {"a", "a", "b", "b", "out", "out"};
    q_backend scalar;
    q_op_context ctx;
    open_neighbours(&ctx, &scalar, memory);
    for (uint32_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        char what[32] = "q_op_add: ";
        q_tensor t[3];
        q_diag d;
        for (uint32_t k = 0; k < 3; k++) {
            CHECK_EQ(q_tensor_init(&t[k], memory + places[i][k], Q_REAL, Q_PLAIN, ne, NULL), Q_OK);
        }
        (void)strcat(what, i < 6 ? names_of[i] : "out");
        CHECK_EQ(q_op_add(&ctx, &t[0], &t[1], &t[2], &d), Q_ERR_ALIASING);
        CHECK(names(&d, Q_ERR_ALIASING, what, fields[i]));
    }
}

/* ---- Counts no memory holds ------------------------------------------------------------------ */

#if SIZE_MAX > UINT32_MAX
/* Addresses far apart; refused before anything is read. */
static void *far_address(uint32_t i)
{
    return (void *)(uintptr_t)((uint64_t)(i + 1) << 42);
}

void ops_huge_counts_are_refused(void)
{
    const uint32_t rows[4] = {1, 1024, 1 << 22, 8};
    const uint32_t long_list[4] = {1, 1, 2, 0x7fffffff};
    q_op_attention_config config = {sizeof(config), 0, 0, 1, 0};
    q_tensor t[4];
    q_kv kv;
    q_diag d;
    CHECK(ops_use("scalar", 1));
    for (uint32_t i = 0; i < 2; i++) {
        CHECK_EQ(q_tensor_init(&t[i], far_address(i), Q_REAL, Q_PLAIN, rows, NULL), Q_OK);
    }
    memset(&kv, 0, sizeof(kv));
    kv.struct_size = sizeof(kv);
    kv.dtype = Q_F16;
    kv.kv_heads = 1024;
    kv.head_dim = 8;
    kv.capacity = 1 << 24;
    kv.k = far_address(2);
    kv.v = far_address(3);
    CHECK_EQ(q_op_kv_store(&ops_ctx, &t[0], &t[1], 0, &kv, &d), Q_ERR_OVERFLOW);
    CHECK(names(&d, Q_ERR_OVERFLOW, "q_op_kv_store: k", "rows by heads"));
    CHECK_EQ(q_op_attention(&ops_ctx, &t[0], &kv, &config, &t[1], &d), Q_ERR_OVERFLOW);
    CHECK(names(&d, Q_ERR_OVERFLOW, "q_op_attention: q", "rows by heads"));
    CHECK_EQ(q_tensor_init(&t[2], far_address(4), Q_I32, Q_PLAIN, long_list, NULL), Q_OK);
    CHECK_EQ(q_op_rope(&ops_ctx, &t[0], &t[0], &t[2], &t[1], &d), Q_ERR_INVALID_SHAPE);
    t[3] = t[0];
    t[3].data = far_address(5);
    t[3].ne[0] = t[3].ne[1] = t[3].ne[2] = 1;
    CHECK_EQ(q_op_rope(&ops_ctx, &t[0], &t[3], &t[2], &t[1], &d), Q_ERR_INVALID_SIZE);
    CHECK(names(&d, Q_ERR_INVALID_SIZE, "q_op_rope: positions", "elements"));
}
#else
void ops_huge_counts_are_refused(void)
{
    SKIP("addresses of 32 bits");
}
#endif

/* ---- A device -------------------------------------------------------------------------------- */

static void fake_context(fake_device *device, q_op_context *ctx)
{
    CHECK_EQ(fake_device_open(device, ops_port, ctx), Q_OK);
    CHECK_EQ(ctx->n_workers, 1);
}

void ops_device_errors_are_returned(void)
{
    static Q_ALIGNED(64) q_real x[64];
    const uint32_t ne[4] = {1, 1, 4, 16};
    fake_device device;
    q_op_context ctx;
    q_tensor t;
    q_diag d;
    fake_context(&device, &ctx);
    CHECK_EQ(q_tensor_init(&t, x, Q_REAL, Q_PLAIN, ne, NULL), Q_OK);
    CHECK_EQ(q_op_exp(&ctx, &t, &t, &d), Q_ERR_INVALID_DEVICE); /* memory of the CPU */
    CHECK(names(&d, Q_ERR_INVALID_DEVICE, "q_op_exp: x", "device"));
    t.device = Q_DEVICE_MOCK;
    CHECK_EQ(q_op_exp(&ctx, &t, &t, &d), Q_OK);
    device.finish = Q_ERR_NO_DEVICE; /* P24 */
    CHECK_EQ(q_op_exp(&ctx, &t, &t, &d), Q_ERR_NO_DEVICE);
    CHECK(names(&d, Q_ERR_NO_DEVICE, "q_op_exp: fake", "finish"));
}

void ops_device_ids_are_downloaded(void)
{
    static Q_ALIGNED(64) q_real table[8 * 4];
    static Q_ALIGNED(64) q_real rows[100 * 4];
    static Q_ALIGNED(64) int32_t list[100];
    const uint32_t table_shape[4] = {1, 1, 8, 4};
    const uint32_t rows_shape[4] = {1, 1, 100, 4};
    const uint32_t list_shape[4] = {1, 1, 1, 100};
    fake_device device;
    q_op_context ctx;
    q_tensor w;
    q_tensor ids;
    q_tensor out;
    q_diag d;
    fake_context(&device, &ctx);
    CHECK_EQ(q_tensor_init(&w, table, Q_F32, Q_PLAIN, table_shape, NULL), Q_OK);
    CHECK_EQ(q_tensor_init(&ids, list, Q_I32, Q_PLAIN, list_shape, NULL), Q_OK);
    CHECK_EQ(q_tensor_init(&out, rows, Q_REAL, Q_PLAIN, rows_shape, NULL), Q_OK);
    w.device = ids.device = out.device = Q_DEVICE_MOCK;
    CHECK_EQ(q_op_embedding(&ctx, &w, &ids, 1, &out, &d), Q_OK);
    CHECK_EQ(device.downloaded, sizeof(list));
    list[77] = 8;
    CHECK_EQ(q_op_embedding(&ctx, &w, &ids, 1, &out, &d), Q_ERR_INVALID_TOKEN);
    CHECK_EQ(d.offset, 77);
    CHECK_EQ(d.have, 8);
    device.download = Q_ERR_IO; /* P25 */
    CHECK_EQ(q_op_embedding(&ctx, &w, &ids, 1, &out, &d), Q_ERR_IO);
    CHECK(names(&d, Q_ERR_IO, "q_op_embedding: ids", "download"));
}

/* ---- The caller's control word --------------------------------------------------------------- */

#if defined(__SSE__)
/* A33: subnormals survive a caller who flushes them, and his word is back afterwards. */
void ops_callers_control_word_is_ignored(void)
{
    static Q_ALIGNED(64) float x[32];
    const uint32_t ne[4] = {1, 1, 2, 16};
    const unsigned caller = 0x1f80u | 0x8040u | 0x6000u; /* FTZ, DAZ, towards zero */
    const volatile float tiny = 1e-40f;
    q_tensor t;
    q_error_code code;
    unsigned after;
    CHECK(ops_use("scalar", 1));
    CHECK_EQ(q_tensor_init(&t, x, Q_REAL, Q_PLAIN, ne, NULL), Q_OK);
    for (uint32_t i = 0; i < 32; i++) {
        x[i] = tiny;
    }
    __builtin_ia32_ldmxcsr(caller);
    code = q_op_add(&ops_ctx, &t, &t, &t, NULL);
    after = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(0x1f80u);
    CHECK_EQ(code, Q_OK);
    CHECK_EQ(after & 0xffc0u, caller & 0xffc0u);
    CHECK(x[0] == tiny + tiny && x[31] == tiny + tiny && x[0] != 0);
}
#else
void ops_callers_control_word_is_ignored(void)
{
    SKIP("no control word known here");
}
#endif

/* ---- Words ----------------------------------------------------------------------------------- */

void ops_strerror_knows_every_code(void)
{
    static const int codes[] = {0,   -10, -11, -12, -13, -14, -15, -16, -17, -18,
                                -19, -20, -30, -31, -32, -33, -34, -35, -36, -37,
                                -38, -40, -41, -42, -43, -44, -50, -51, -52, -53};
    uint32_t known = 0;
    for (int number = -1000; number <= 1000; number++) {
        q_error_code code;
        memcpy(&code, &number, sizeof(code));
        const char *words = q_strerror(code);
        bool listed = false;
        for (uint32_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
            listed = listed || codes[i] == number;
        }
        CHECK(words != NULL && words[0] != '\0');
        CHECK((strcmp(words, "unknown error code") != 0) == listed);
        known += listed ? 1u : 0u;
    }
    CHECK_EQ(known, sizeof(codes) / sizeof(codes[0]));
}
