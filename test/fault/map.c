/* SPDX-License-Identifier: MIT */
/*
 * What cannot be an error: a model's file cut or rewritten while it is mapped, NaN in its weights. The behaviour is
 * that of docs/ERRORS.md, "What is no error".
 */
#define _POSIX_C_SOURCE 200809L
#include "fault_suite.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char own[256];
static uint8_t whole[1 << 20];
static size_t n_whole;

static void write_own(const uint8_t *bytes, size_t n)
{
    int fd = open(own, O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0 && pwrite(fd, bytes, n, 0) == (ssize_t)n && ftruncate(fd, (off_t)n) == 0 && close(fd) == 0);
}

static void read_model_file(void)
{
    FILE *f = fopen(suite_model, "rb");
    n_whole = f != NULL ? fread(whole, 1, sizeof(whole), f) : 0;
    CHECK(n_whole != 0 && n_whole < sizeof(whole) && fclose(f) == 0);
}

static void open_own(suite_chat *c, bool no_mmap)
{
    write_own(whole, n_whole);
    suite_start(c, 1);
    c->o.no_mmap = no_mmap;
    CHECK(suite_open(c, own, false));
    CHECK_EQ(suite_talk(c), Q_OK);
    CHECK_EQ(q_generator_rewind(c->generator, 0, NULL), Q_OK);
    q_generator_set_counter(c->generator, 0);
}

static uint64_t data_begins(const suite_chat *c)
{
    return q_file_get_header(&c->h.engine.file)->section[Q_SECTION_DATA].offset.v;
}

/* ---- Cut ---------------------------------------------------------------------------------------------------- */

static void m77_file_cut_under_the_map_ends_the_process(void)
{
    static suite_chat c;
    int status = 0;
    pid_t child;
    open_own(&c, false);
    (void)fflush(stdout);
    child = fork();
    if (child == 0) {
        int cut = truncate(own, 0);
        _exit(cut == 0 && suite_talk(&c) == Q_OK ? 0 : 1);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    if (CHECK_SANITIZED) {
        CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) != 0); /* the sanitizer reports the signal */
    } else {
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    }
    suite_stop(&c);
}

static void m77_file_cut_after_reading_changes_nothing(void)
{
    static suite_chat c;
    char expected[256];
    open_own(&c, true);
    memcpy(expected, c.made, sizeof(expected));
    CHECK(c.h.file.read);
    CHECK_EQ(truncate(own, 0), 0);
    CHECK_EQ(suite_talk(&c), Q_OK);
    CHECK(strcmp(c.made, expected) == 0);
    suite_stop(&c);
}

static void m77_file_removed_or_replaced_changes_nothing(void)
{
    static suite_chat c;
    char expected[256];
    open_own(&c, false);
    memcpy(expected, c.made, sizeof(expected));
    CHECK_EQ(unlink(own), 0);
    write_own(whole, 64);
    CHECK_EQ(suite_talk(&c), Q_OK);
    CHECK(strcmp(c.made, expected) == 0);
    suite_stop(&c);
}

/* ---- Rewritten ---------------------------------------------------------------------------------------------- */

/* Header, tables, tokenizer: copied before they were checked, so nothing of them is looked at again. */
static void m78_tables_rewritten_under_the_map_change_nothing(void)
{
    static suite_chat c;
    static uint8_t bytes[sizeof(whole)];
    char expected[256];
    open_own(&c, false);
    memcpy(expected, c.made, sizeof(expected));
    for (uint32_t pattern = 0; pattern < 3; pattern++) {
        memcpy(bytes, whole, n_whole);
        memset(bytes, pattern == 0 ? 0x00 : pattern == 1 ? 0xFF : 0xA5, (size_t)data_begins(&c));
        write_own(bytes, n_whole);
        CHECK_EQ(q_generator_rewind(c.generator, 0, NULL), Q_OK);
        q_generator_set_counter(c.generator, 0);
        CHECK_EQ(suite_talk(&c), Q_OK);
        CHECK(strcmp(c.made, expected) == 0);
        suite_points++;
    }
    suite_stop(&c);
}

/* The weights: whatever the bytes say is computed with. Numbers become other numbers or NaN, for which the sampler
   has a verdict; nothing else is reached. */
static void m78_weights_rewritten_under_the_map_stay_numbers(void)
{
    static suite_chat c;
    static uint8_t bytes[sizeof(whole)];
    uint32_t non_finite = 0;
    uint64_t seed = 1;
    open_own(&c, false);
    for (uint32_t round = 0; round < 40; round++) {
        q_error_code e;
        memcpy(bytes, whole, n_whole);
        for (size_t i = (size_t)data_begins(&c); i < n_whole; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            if (round == 0 || (seed >> 33) % 4096 < (uint64_t)round * 100) {
                bytes[i] = round == 0 ? 0xFF : (uint8_t)(seed >> 56);
            }
        }
        write_own(bytes, n_whole);
        CHECK_EQ(q_generator_rewind(c.generator, 0, NULL), Q_OK);
        e = suite_talk(&c);
        CHECK(e == Q_OK || e == Q_ERR_NON_FINITE);
        non_finite += e == Q_ERR_NON_FINITE ? 1u : 0u;
        suite_points++;
    }
    CHECK(non_finite != 0);
    write_own(whole, n_whole);
    suite_stop(&c);
}

/* ---- NaN ---------------------------------------------------------------------------------------------------- */

static bool write_nan(suite_chat *c, const char *tensor, size_t at)
{
    const uint32_t nan = 0x7fc00000u;
    uint32_t index = 0;
    int fd = open(own, O_WRONLY);
    uint64_t offset;
    if (q_file_find(&c->h.engine.file, tensor, strlen(tensor), &index) != Q_OK || fd < 0) {
        return false;
    }
    offset = q_file_record(&c->h.engine.file, index)->offset.v + at;
    return pwrite(fd, &nan, sizeof(nan), (off_t)offset) == (ssize_t)sizeof(nan) && close(fd) == 0;
}

/* A NaN weight. In exact mode it reaches the logits, for which the sampler has a verdict; in fast mode a NaN among
   activations counts as 0 (kernels.h, q_quantize_a8_args). --check-finite names the node in both. */
static void nan_weight(bool exact)
{
    static suite_chat c;
    q_session_config config;
    write_own(whole, n_whole);
    suite_start(&c, 1);
    c.o.exact = exact;
    CHECK(suite_open(&c, own, false));
    CHECK(write_nan(&c, "norm", 8));
    CHECK_EQ(suite_talk(&c), exact ? Q_ERR_NON_FINITE : Q_OK);
    if (exact) {
        CHECK(strcmp(c.h.diag.what, "sampler") == 0 && strcmp(c.h.diag.field, "logits") == 0);
        CHECK_EQ(c.h.diag.offset, 0);
    }
    memset(&config, 0, sizeof(config));
    config.struct_size = sizeof(config);
    config.flags = Q_SESSION_CHECK_FINITE;
    CHECK_EQ(q_session_configure(c.h.engine.session, &config, NULL), Q_OK);
    CHECK_EQ(q_generator_rewind(c.generator, 0, NULL), Q_OK);
    CHECK_EQ(suite_talk(&c), Q_ERR_NON_FINITE);
    CHECK(strcmp(c.h.diag.what, "norm") == 0 && strcmp(c.h.diag.field, "forward") == 0);
    suite_stop(&c);
}

static void m76_nan_weight_reaches_the_logits_in_exact_mode(void)
{
    nan_weight(true);
}

static void m76_nan_weight_in_fast_mode_counts_as_0(void)
{
    nan_weight(false);
}

void suite_under_the_map(void)
{
    const char *dir = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(own, sizeof(own), "%s/qorus-map-%ld.qorus", dir, (long)getpid());
    read_model_file();
    RUN(m77_file_cut_under_the_map_ends_the_process);
    RUN(m77_file_cut_after_reading_changes_nothing);
    RUN(m77_file_removed_or_replaced_changes_nothing);
    RUN(m78_tables_rewritten_under_the_map_change_nothing);
    RUN(m78_weights_rewritten_under_the_map_stay_numbers);
    RUN(m76_nan_weight_reaches_the_logits_in_exact_mode);
    RUN(m76_nan_weight_in_fast_mode_counts_as_0);
    (void)unlink(own);
}
