/* SPDX-License-Identifier: MIT */
/*
 * test_ops.c: ops give what their kernels define, on every backend and number of workers, and
 * refuse what is broken: in release builds by a code, in debug builds by the port's panic.
 *
 *   test_ops            all tests
 *   test_ops --bench    what the checks cost
 */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include "bad_ops.h"
#include "ops_test.h"
#include "port/posix/posix.h"
#include "tools/common/backends.h"

enum { BUFFERS = 6, WORK_BYTES = 1 << 21 };

check_state check_now;
q_op_context ops_ctx;
const q_port *ops_port;

static q_posix posix;
static q_backend backend;
static q_port port;
static q_port quiet_port; /* the POSIX port, except that it does not panic */
static Q_ALIGNED(64) uint8_t buffers[BUFFERS][OPS_BUFFER];
static Q_ALIGNED(64) uint8_t workspace[WORK_BYTES];
static uint64_t random_state = 1;

/* Where a panic goes. */
static jmp_buf panic_exit;
static q_diag panic_diag;
static unsigned panics;

uint8_t *ops_buffer(uint32_t i)
{
    return buffers[i];
}

uint64_t ops_random(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void on_panic(void *user, const q_diag *diag)
{
    (void)user;
    panics++;
    panic_diag = *diag;
    longjmp(panic_exit, 1);
}

static bool backend_named(const char *name, q_backend *out)
{
    return backend_make(out, name, ops_port->cpu_features(ops_port->user));
}

bool ops_use(const char *name, uint32_t n_workers)
{
    q_context context;
    q_block work = {workspace, sizeof(workspace)};
    if (!backend_named(name, &backend)) {
        return false;
    }
    memset(&context, 0, sizeof(context));
    context.backend = &backend;
    context.port = ops_port;
    context.n_workers = n_workers;
    CHECK_EQ(q_op_init(&ops_ctx, &context, work, NULL), Q_OK);
    return true;
}

/* ---- Bad calls ------------------------------------------------------------------------------- */

static void print_line(void *user, const char *line, size_t n)
{
    (void)user;
    (void)printf("%.*s\n", (int)n, line);
}

static const q_diag *attempt(void *user, void (*fn)(void *arg), void *arg)
{
    (void)user;
    if (setjmp(panic_exit) != 0) {
        return &panic_diag;
    }
    fn(arg);
    return NULL;
}

/* The table on a backend. A port that panics is there or not; debug builds must use it. */
static void bad_ops_on(const char *name, bool with_port)
{
    bad_ops_counts counts = {0, 0, 0};
    bad_ops_host host;
    q_context context;
    if (!backend_named(name, &backend)) {
        SKIP("not on this machine");
    }
    memset(&context, 0, sizeof(context));
    memset(&host, 0, sizeof(host));
    context.backend = &backend;
    host.print = print_line;
    if (with_port) {
        port = *ops_port;
        port.panic = on_panic;
        context.port = &port;
        host.attempt = attempt;
#ifdef Q_DEBUG
        host.panics = true;
#endif
    }
    panics = 0;
    q_bad_ops_run(&context, buffers[0], sizeof(buffers[0]), &host, &counts);
    (void)printf("     %u bad calls refused or good ones accepted, %u not; %u panics\n",
                 counts.passed, counts.failed, panics);
    CHECK_EQ(counts.failed, 0);
    CHECK(counts.passed > 1000);
    CHECK((panics != 0) == host.panics);
}

static void bad_ops_scalar(void)
{
    bad_ops_on("scalar", false);
}

static void bad_ops_avx2(void)
{
    bad_ops_on("avx2", false);
}

static void bad_ops_avx512(void)
{
    bad_ops_on("avx512", false);
}

static void bad_ops_with_a_port_that_panics(void)
{
    bad_ops_on("scalar", true);
}

/* ---- Values ---------------------------------------------------------------------------------- */

static void values_on(const char *name, uint32_t n_workers)
{
    if (!ops_use(name, n_workers)) {
        SKIP("not on this machine");
    }
    ops_values_rows();
    ops_values_products();
    ops_values_weights();
    ops_values_attention();
}

static void values_scalar(void)
{
    values_on("scalar", 1);
}

static void values_scalar_3_workers(void)
{
    values_on("scalar", 3);
}

static void values_avx2(void)
{
    values_on("avx2", 1);
}

static void values_avx2_3_workers(void)
{
    values_on("avx2", 3);
}

static void values_avx2vnni(void)
{
    values_on("avx2vnni", 1);
}

static void values_avx512(void)
{
    values_on("avx512", 1);
}

static void values_avx512_3_workers(void)
{
    values_on("avx512", 3);
}

int main(int argc, char **argv)
{
    q_diag diag;
    int status;
    if (q_posix_init(&posix, 3, &diag) != Q_OK) {
        (void)fprintf(stderr, "no port: %s\n", diag.what);
        return 1;
    }
    quiet_port = *q_posix_port(&posix);
    quiet_port.panic = NULL;
    ops_port = &quiet_port;
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        ops_bench();
        q_posix_close(&posix);
        return 0;
    }
    RUN(values_scalar);
    RUN(values_scalar_3_workers);
    RUN(values_avx2);
    RUN(values_avx2_3_workers);
    RUN(values_avx2vnni);
    RUN(values_avx512);
    RUN(values_avx512_3_workers);
    RUN(bad_ops_scalar);
    RUN(bad_ops_avx2);
    RUN(bad_ops_avx512);
    RUN(bad_ops_with_a_port_that_panics);
    RUN(ops_init_refuses);
    RUN(ops_tensor_init_refuses);
    RUN(ops_tensor_heads_splits);
    RUN(ops_kv_bytes_refuses);
    RUN(ops_neighbours_are_accepted);
    RUN(ops_one_shared_element_is_refused);
    RUN(ops_huge_counts_are_refused);
    RUN(ops_device_errors_are_returned);
    RUN(ops_device_ids_are_downloaded);
    RUN(ops_callers_control_word_is_ignored);
    RUN(ops_strerror_knows_every_code);
    status = check_summary();
    q_posix_close(&posix);
    return status;
}
