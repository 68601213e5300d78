/* SPDX-License-Identifier: MIT */
/*
 * What the table of bad calls cannot hold: loops over addresses, memory that was something before, full caches,
 * and a caller whose floating-point control words are not the library's.
 */
#include "rig.h"

#include "../../tools/common/backends.h"

#include "qorus/base/mem.h"
#include "qorus/base/text.h"

enum { CHECK_TOKENS = 48 };

/* ---- Misaligned by every distance --------------------------------------------------------------------------- */

static bool off_by_each(rig *r, rig_call call, size_t member, uintptr_t last)
{
    bool good = true;
    for (uintptr_t by = 1; by <= last; by++) {
        uint8_t *p;
        rig_reset(r);
        memcpy(&p, (uint8_t *)&r->args + member, sizeof(p));
        p += by;
        memcpy((uint8_t *)&r->args + member, &p, sizeof(p));
        good = rig_run(r, call) == Q_ERR_MISALIGNED && r->diag.have == by && rig_untouched(r) && good;
    }
    return good;
}

static void check_alignment(rig *r)
{
    static const struct {
        const char *id;
        rig_call call;
        size_t member;
        uintptr_t last;
    } places[] = {{"R05_model_off_by_1_to_127", RIG_MODEL, offsetof(rig_args, model_memory.base), 127},
                  {"R05_plan_off_by_1_to_63", RIG_PLAN, offsetof(rig_args, plan_memory.base), 63},
                  {"R05_session_off_by_1_to_63", RIG_SESSION, offsetof(rig_args, session_memory.base), 63},
                  {"R05_state_off_by_1_to_63", RIG_SESSION, offsetof(rig_args, region[0].base), 63},
                  {"R05_scratch_off_by_1_to_63", RIG_SESSION, offsetof(rig_args, region[1].base), 63},
                  {"R05_generator_off_by_1_to_63", RIG_GENERATOR, offsetof(rig_args, generator_memory.base), 63}};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        bool good = off_by_each(r, places[i].call, places[i].member, places[i].last);
        rig_report(r, good, places[i].id, r->diag.code, &r->diag);
    }
}

/* ---- Memory that was something before ----------------------------------------------------------------------- */

enum { PIECES = 3 + RIG_REGIONS };

/* A model, a plan and a session of their own, in memory filled with a pattern, each with a gap behind it. */
typedef struct fresh {
    rig *r;
    uint8_t *at;
    uint8_t *end;
    uint32_t pattern;
    uint8_t *piece[PIECES];
    size_t size[PIECES];
    uint32_t n;
    q_session *session;
} fresh;

static uint8_t pattern_byte(uint32_t pattern, const uint8_t *at)
{
    return (uint8_t)(pattern >> (uintptr_t)at % 4 * 8);
}

static q_block fresh_block(fresh *f, size_t size)
{
    size_t whole = (size + RIG_GAP + 127) / 128 * 128;
    q_block b;
    b.base = NULL;
    b.size = size;
    if (whole <= (size_t)(f->end - f->at) && f->n < PIECES) {
        for (size_t i = 0; i < whole; i++) {
            f->at[i] = pattern_byte(f->pattern, f->at + i);
        }
        b.base = f->at;
        f->piece[f->n] = f->at;
        f->size[f->n++] = size;
        f->at += whole;
    }
    return b;
}

static q_error_code fresh_open(fresh *f, const q_backend *backend, uint32_t precision)
{
    rig *r = f->r;
    q_context context;
    q_region region[RIG_REGIONS];
    q_plan_config config = r->plan_config;
    q_model *model;
    q_plan *plan;
    q_needs needs;
    size_t size = 0;
    q_error_code e = q_model_init(&model, fresh_block(f, r->model_size), q_build_from_file, &r->build, &r->diag);
    memset(&context, 0, sizeof(context));
    context.backend = backend;
    config.precision = precision;
    config.workspace_size = backend->workspace_size;
    if (e == Q_OK) {
        e = q_plan_size(model, &config, &size, &r->diag);
    }
    if (e == Q_OK) {
        e = q_plan_init(&plan, fresh_block(f, size), model, &config, &r->diag);
    }
    if (e != Q_OK) {
        return e;
    }
    q_plan_needs(plan, &needs);
    memcpy(region, r->region, sizeof(region));
    for (uint32_t i = 0; i < RIG_REGIONS; i++) {
        region[i].size = needs.bytes[region[i].kind][0];
        region[i].base = fresh_block(f, region[i].size).base;
    }
    e = q_session_size(plan, &size, &r->diag);
    return e != Q_OK ? e
                     : q_session_init(&f->session, fresh_block(f, size), plan, &context, region, RIG_REGIONS, NULL,
                                      &r->diag);
}

static void fresh_begin(fresh *f, rig *r, uint32_t pattern)
{
    memset(f, 0, sizeof(*f));
    f->r = r;
    f->at = r->memory;
    f->end = r->memory + r->memory_size;
    f->pattern = pattern;
}

static uint64_t fresh_hash(fresh *f, rig *r, const q_backend *backend, uint32_t precision, uint32_t pattern,
                           q_error_code *code)
{
    fresh_begin(f, r, pattern);
    *code = fresh_open(f, backend, precision);
    return *code == Q_OK ? rig_hash(r, f->session, CHECK_TOKENS, code) : 0;
}

/* True if a piece was used to its end and nothing was written behind it. */
static bool piece_exact(const fresh *f, uint32_t i)
{
    const uint8_t *p = f->piece[i];
    size_t used = f->size[i];
    bool good = true;
    for (size_t k = f->size[i]; k < f->size[i] + RIG_GAP; k++) {
        good = good && p[k] == pattern_byte(f->pattern, p + k);
    }
    while (used != 0 && p[used - 1] == pattern_byte(f->pattern, p + used - 1)) {
        used--;
    }
    return good && f->size[i] - used < Q_ALIGN;
}

static void same_bits_on_every_backend(fresh *f, rig *r, uint32_t precision, uint64_t expected)
{
    static const char *const ids[] = {"X04_scalar", "X04_avx2_gives_the_bits_of_scalar",
                                      "X04_avx2vnni_gives_the_bits_of_scalar", "X04_avx512_gives_the_bits_of_scalar"};
    const q_port *port = r->host->port;
    uint64_t features = port != NULL && port->cpu_features != NULL ? port->cpu_features(port->user) : 0;
    for (uint32_t i = 1; backend_name(i) != NULL; i++) {
        q_backend backend;
        q_error_code e;
        if (backend_make(&backend, backend_name(i), features)) {
            uint64_t hash = fresh_hash(f, r, &backend, precision, 0, &e);
            rig_report(r, e == Q_OK && hash == expected, ids[i], e, &r->diag);
        }
    }
}

static void say_hash(rig *r, const char *what, uint64_t hash)
{
    char line[96];
    q_text t;
    q_text_init(&t, line, sizeof(line));
    q_text_str(&t, "logits, ");
    q_text_left(&t, what, 6);
    q_text_str(&t, " mode: ");
    q_text_hex(&t, hash, 16);
    r->host->print(r->host->user, line, t.length);
}

static void check_patterns(rig *r, uint32_t precision)
{
    static const uint32_t patterns[] = {0x00000000u, 0xffffffffu, 0xaaaaaaaau, 0x7fa00001u};
    static const char *const ids[2][4] = {
        {"R12_fast_over_0x00", "R12_fast_over_0xFF", "R12_fast_over_0xAA", "R12_fast_over_signalling_NaN"},
        {"R12_exact_over_0x00", "R12_exact_over_0xFF", "R12_exact_over_0xAA", "R12_exact_over_signalling_NaN"}};
    fresh f;
    q_error_code e;
    uint64_t expected = fresh_hash(&f, r, &r->backend, precision, 0, &e);
    say_hash(r, precision == Q_PRECISION_FAST ? "fast" : "exact", expected);
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t hash = fresh_hash(&f, r, &r->backend, precision, patterns[i], &e);
        rig_report(r, e == Q_OK && hash == expected, ids[precision][i], e, &r->diag);
        if (patterns[i] == 0xaaaaaaaau) {
            bool exact = f.n == PIECES;
            for (uint32_t p = 0; p < f.n; p++) {
                exact = piece_exact(&f, p) && exact;
            }
            rig_report(r, exact, "R14_high-water_mark_is_the_query", Q_OK, NULL);
        }
    }
    same_bits_on_every_backend(&f, r, precision, expected);
}

/* ---- Queries that grow with what is asked ------------------------------------------------------------------- */

static size_t total_needs(rig *r, const q_plan_config *config)
{
    fresh f;
    q_plan *plan;
    q_needs needs;
    size_t size = 0;
    size_t total = 0;
    fresh_begin(&f, r, 0);
    if (q_plan_size(r->model, config, &size, &r->diag) != Q_OK ||
        q_plan_init(&plan, fresh_block(&f, size), r->model, config, &r->diag) != Q_OK ||
        q_session_size(plan, &total, &r->diag) != Q_OK) {
        return 0;
    }
    q_plan_needs(plan, &needs);
    for (uint32_t kind = 0; kind < Q_REGION_KINDS; kind++) {
        total += needs.bytes[kind][0];
    }
    return total;
}

/* `asked` is a member of config. */
static void check_monotone(rig *r, const char *id, uint32_t *asked, uint32_t step, q_plan_config *config)
{
    size_t last = 0;
    bool good = true;
    for (*asked = step; *asked <= 64 * step; *asked += step) {
        size_t now = total_needs(r, config);
        good = good && now != 0 && now >= last;
        last = now;
    }
    rig_report(r, good, id, Q_OK, NULL);
}

static void check_queries(rig *r)
{
    q_plan_config config = r->plan_config;
    check_monotone(r, "R13_needs_grow_with_the_chunk", &config.max.tokens, 1, &config);
    config = r->plan_config;
    check_monotone(r, "R13_needs_grow_with_the_context", &config.max.kv, 16, &config);
    config = r->plan_config;
    check_monotone(r, "R13_needs_grow_with_the_rows", &config.max.selected, 1, &config);
    config = r->plan_config;
    check_monotone(r, "R13_needs_grow_with_the_workers", &config.n_workers, 1, &config);
}

/* ---- Life of a session -------------------------------------------------------------------------------------- */

/* The cache filled to its last position, one more refused, and everything as before after going back. */
static void check_full_cache(rig *r)
{
    q_error_code e;
    bool good;
    uint64_t expected = rig_hash(r, r->session, CHECK_TOKENS, &e);
    uint64_t again;
    (void)rig_hash(r, r->session, RIG_KV, &e);
    good = e == Q_OK && q_session_position(r->session) == RIG_KV;
    r->args.step_value.n_tokens = 1;
    e = q_model_forward(r->session, &r->args.step_value, &r->diag);
    good = good && q_session_position(r->session) == RIG_KV;
    rig_report(r, good && e == Q_ERR_CONTEXT_FULL, "A12_every_position_used_and_one_more", e, &r->diag);
    again = rig_hash(r, r->session, CHECK_TOKENS, &e);
    rig_report(r, e == Q_OK && again == expected, "A11_back_to_the_beginning_gives_the_bits", e, &r->diag);
}

static void check_init_twice(rig *r)
{
    q_error_code e;
    fresh f;
    uint64_t expected = rig_hash(r, r->session, CHECK_TOKENS, &e);
    uint64_t hash = 0;
    fresh_begin(&f, r, 0xa5a5a5a5u);
    e = fresh_open(&f, &r->backend, Q_PRECISION_FAST);
    if (e == Q_OK) {
        (void)rig_hash(r, f.session, 7, &e);
        fresh_begin(&f, r, 0xa5a5a5a5u);
        f.pattern = 0;
    }
    if (e == Q_OK) {
        e = fresh_open(&f, &r->backend, Q_PRECISION_FAST);
        hash = e == Q_OK ? rig_hash(r, f.session, CHECK_TOKENS, &e) : 0;
    }
    rig_report(r, e == Q_OK && hash == expected, "A04_session_made_twice_in_one_place", e, &r->diag);
}

/* A policy of shifting that cannot make room. */
static void check_shift(rig *r)
{
    q_error_code e;
    rig_reset(r);
    r->args.fed = RIG_KV;
    r->args.generate_value.full = Q_FULL_SHIFT;
    r->args.generate_value.keep = 4;
    e = rig_run(r, RIG_FEED);
    rig_report(r, e == Q_OK, "A13_shift_keeping_4_accepted", e, &r->diag);
    r->args.generate_value.keep = UINT32_MAX;
    e = rig_run(r, RIG_FEED);
    rig_report(r, e == Q_ERR_CONTEXT_FULL, "A13_shift_keeping_more_than_there_is", e, &r->diag);
    r->args.generate_value.keep = RIG_KV;
    e = rig_run(r, RIG_FEED);
    rig_report(r, e == Q_ERR_CONTEXT_FULL, "A13_shift_keeping_all_there_is", e, &r->diag);
    r->args.generate_value.keep = 4;
    r->args.n_ids = RIG_KV;
    e = rig_run(r, RIG_FEED);
    rig_report(r, e == Q_ERR_CONTEXT_FULL, "A13_shift_for_more_than_it_can_free", e, &r->diag);
}

/* ---- The caller's control words ----------------------------------------------------------------------------- */

#if defined(__x86_64__)

static uint32_t read_mxcsr(void)
{
    uint32_t word;
    __asm__ volatile("stmxcsr %0" : "=m"(word) : : "memory");
    return word;
}

static void write_mxcsr(uint32_t word)
{
    __asm__ volatile("ldmxcsr %0" : : "m"(word) : "memory");
}

static uint16_t read_x87(void)
{
    uint16_t word;
    __asm__ volatile("fnstcw %0" : "=m"(word) : : "memory");
    return word;
}

static void write_x87(uint16_t word)
{
    __asm__ volatile("fldcw %0" : : "m"(word) : "memory");
}

/* Tokens drawn with every option of the sampler that calculates. */
static uint64_t drawn_hash(rig *r, uint32_t word, q_error_code *code)
{
    const uint32_t own = read_mxcsr();
    uint64_t hash = 0xcbf29ce484222325u;
    *code = Q_OK;
    for (uint32_t i = 0; i < 64 && *code == Q_OK; i++) {
        q_sampler_candidate kept[4];
        uint32_t n = 0;
        rig_reset(r);
        for (uint32_t k = 0; k < 4; k++) {
            r->args.logits[k] = (float)((int32_t)((i * 37u + k * 11u) % 29u) - 14) / 3.0f;
        }
        r->args.sampler.temperature = 0.7;
        r->args.sampler.repeat_penalty = 1.1;
        r->args.sampler.frequency_penalty = 0.3;
        r->args.sampler.top_p = 0.95;
        r->args.sampler.seed = i;
        write_mxcsr(word);
        *code = q_sampler_candidates(&r->args.sampler, r->args.logits, 4, r->args.history, 2, r->text_work,
                                     RIG_TEXT_WORK, kept, 4, &n, &r->diag);
        if (*code == Q_OK) {
            *code = q_sampler_sample(&r->args.sampler, r->args.logits, 4, r->args.history, 2, i, r->text_work,
                                     RIG_TEXT_WORK, &r->out.token, &r->diag);
        }
        *code = *code == Q_OK && read_mxcsr() != word ? Q_ERR_INVALID_STATE : *code;
        write_mxcsr(own);
        hash = (hash ^ (uint32_t)r->out.token) * 0x100000001b3u;
        for (size_t b = 0; *code == Q_OK && b < n * sizeof(kept[0]); b++) {
            hash = (hash ^ ((const uint8_t *)kept)[b]) * 0x100000001b3u;
        }
    }
    return hash;
}

static void check_control_words(rig *r)
{
    /* flush to zero, zero for subnormals, rounding down, up and to zero; the last with a flag that is set */
    static const uint32_t words[] = {0x9fc0u, 0x3f80u, 0x5f80u, 0xffe0u};
    static const char *const ids[] = {"A33_FTZ_and_DAZ", "A33_rounding_down", "A33_rounding_up",
                                      "A33_FTZ_DAZ_to_zero_and_a_flag"};
    static const char *const sampler_ids[] = {"A33_sampler_FTZ_and_DAZ", "A33_sampler_rounding_down",
                                              "A33_sampler_rounding_up", "A33_sampler_FTZ_DAZ_to_zero_and_a_flag"};
    const uint32_t own = read_mxcsr();
    const uint16_t own_x87 = read_x87();
    q_error_code e;
    uint64_t expected = rig_hash(r, r->session, CHECK_TOKENS, &e);
    uint64_t drawn = drawn_hash(r, own, &e);
    uint64_t hash;
    bool kept;
    for (uint32_t i = 0; i < 4; i++) {
        fresh f;
        write_mxcsr(words[i]);
        hash = fresh_hash(&f, r, &r->backend, Q_PRECISION_FAST, 0, &e);
        kept = read_mxcsr() == words[i];
        write_mxcsr(own);
        rig_report(r, e == Q_OK && hash == expected && kept, ids[i], e, &r->diag);
    }
    for (uint32_t i = 0; i < 4; i++) {
        hash = drawn_hash(r, words[i], &e);
        rig_report(r, e == Q_OK && hash == drawn, sampler_ids[i], e, &r->diag);
    }
    write_x87(0x0c7fu); /* single precision, towards zero */
    hash = rig_hash(r, r->session, CHECK_TOKENS, &e);
    kept = read_x87() == 0x0c7fu;
    write_x87(own_x87);
    rig_report(r, e == Q_OK && hash == expected && kept, "A34_x87_of_another_precision", e, &r->diag);
}

#else

static void check_control_words(rig *r)
{
    (void)r;
}

#endif

void rig_checks(rig *r)
{
    check_alignment(r);
    check_patterns(r, Q_PRECISION_FAST);
    check_patterns(r, Q_PRECISION_EXACT);
    check_queries(r);
    check_full_cache(r);
    check_init_twice(r);
    check_shift(r);
    rig_check_reentry(r);
    check_control_words(r);
}
