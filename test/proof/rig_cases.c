/* SPDX-License-Identifier: MIT */
/*
 * The table of bad calls and bad memory: each case is a call that is accepted (the twin, whose sizes are exactly
 * those of the queries), and one member of its arguments changed. Ids are those of the catalogue of bad inputs.
 */
#include "rig.h"

#include "qorus/base/mem.h"

typedef enum edit_op {
    EDIT_NONE,
    EDIT_SET,      /* value */
    EDIT_ADD,      /* what is there + value */
    EDIT_VOCAB,    /* the vocabulary + value */
    EDIT_COPY,     /* what the member at `value` holds */
    EDIT_TABLES,   /* the address of the file */
    EDIT_WEIGHTS,  /* an address inside the file's largest tensor */
    EDIT_TO_NEXT,  /* so many bytes that region 0 reaches one byte into region 1 */
    EDIT_TO_TOP    /* such an address that the region's size ends where addresses end */
} edit_op;

typedef struct edit {
    uint16_t op;
    uint16_t width;
    uint32_t at; /* byte in rig_args */
    int64_t value;
} edit;

typedef struct bad_call {
    const char *id;
    uint32_t call; /* rig_call */
    edit twin;     /* makes the twin this case needs out of the common one */
    edit defect;
    q_error_code code; /* Q_OK: still accepted */
    const char *field; /* NULL: any */
    uint64_t offset;
} bad_call;

#define AT(member) sizeof(((rig_args *)0)->member), offsetof(rig_args, member)
#define SET(member, value) {EDIT_SET, AT(member), value}
#define ADD(member, value) {EDIT_ADD, AT(member), value}
#define VOCAB(member, value) {EDIT_VOCAB, AT(member), value}
#define COPY(member, from) {EDIT_COPY, AT(member), offsetof(rig_args, from)}
#define PUT(op, member) {op, AT(member), 0}
#define PLAIN {EDIT_NONE, 0, 0, 0}

/* The bits of doubles and floats. */
#define F64_ZERO 0
#define F64_MINUS_ONE ((int64_t)0xbff0000000000000u)
#define F64_NAN 0x7ff8000000000000
#define F64_INF 0x7ff0000000000000
#define F64_ABOVE_ONE 0x3ff0000000000001
#define F32_NAN 0x7fc00000
#define F32_INF 0x7f800000
#define F32_MINUS_INF 0xff800000

/* An object made in memory of exactly its size: what the block may be. */
#define MEMORY_CASES(name, call, memory)                                                                  \
    {"R02_" name "_exact", call, PLAIN, PLAIN, Q_OK, "", 0},                                              \
    {"R06_" name "_size_not_a_multiple", call, PLAIN, ADD(memory.size, 1), Q_OK, "", 0},                  \
    {"R01_" name "_one_byte_less", call, PLAIN, ADD(memory.size, -1), Q_ERR_NO_SPACE, "memory", 0},       \
    {"R03_" name "_size_0", call, PLAIN, SET(memory.size, 0), Q_ERR_NO_SPACE, "memory", 0},               \
    {"R04_" name "_NULL_with_size", call, PLAIN, SET(memory.base, 0), Q_ERR_INVALID_ARG, "memory", 0},    \
    {"R05_" name "_off_by_1", call, PLAIN, ADD(memory.base, 1), Q_ERR_MISALIGNED, "memory", 0},           \
    {"R05_" name "_off_by_63", call, PLAIN, ADD(memory.base, 63), Q_ERR_MISALIGNED, "memory", 0},         \
    {"R10_" name "_wraps", call, PLAIN, SET(memory.base, -128), Q_ERR_OVERFLOW, "memory", 0}

/* The size of a struct that a newer or older caller may have. */
#define STRUCT_CASES(name, call, member)                                                                    \
    {"A05_" name "_smaller", call, PLAIN, ADD(member, -8), Q_ERR_INVALID_ARG, "struct_size", 0},            \
    {"A05_" name "_larger", call, PLAIN, ADD(member, 8), Q_ERR_INVALID_ARG, "struct_size", 0},              \
    {"A05_" name "_0", call, PLAIN, SET(member, 0), Q_ERR_INVALID_ARG, "struct_size", 0}

#define BAD_ARG(id, call, defect, field) {id, call, PLAIN, defect, Q_ERR_INVALID_ARG, field, 0}
#define FINE(id, call, defect) {id, call, PLAIN, defect, Q_OK, "", 0}

static const bad_call bad_calls[] = {
    /* ---- Model and plan */
    MEMORY_CASES("model", RIG_MODEL, model_memory),
    BAD_ARG("A01_model_out", RIG_MODEL, SET(model_out, 0), "model"),
    BAD_ARG("A01_model_builder", RIG_MODEL, SET(build, 0), "build"),
    MEMORY_CASES("plan", RIG_PLAN, plan_memory),
    BAD_ARG("A01_plan_out", RIG_PLAN, SET(plan_out, 0), "plan"),
    BAD_ARG("A01_plan_model", RIG_PLAN, SET(model, 0), "model"),
    BAD_ARG("A01_plan_config", RIG_PLAN, SET(plan_config, 0), "config"),
    STRUCT_CASES("plan_config", RIG_PLAN, plan_value.struct_size),
    FINE("A06_plan_flags_known", RIG_PLAN, SET(plan_value.flags, 7)),
    BAD_ARG("A06_plan_flag_unknown", RIG_PLAN, SET(plan_value.flags, 8), "flags"),
    BAD_ARG("A06_plan_top_flag", RIG_PLAN, SET(plan_value.flags, 0x80000000), "flags"),
    BAD_ARG("A06_plan_mode_unknown", RIG_PLAN, SET(plan_value.mode, 2), "mode"),
    BAD_ARG("A06_plan_precision_unknown", RIG_PLAN, SET(plan_value.precision, 2), "precision"),
    BAD_ARG("A07_plan_batch_0", RIG_PLAN, SET(plan_value.max.batch, 0), "max.batch"),
    {"A07_plan_batch_-1", RIG_PLAN, PLAIN, SET(plan_value.max.batch, -1), Q_ERR_LIMIT, "max.batch", 0},
    BAD_ARG("A08_plan_tokens_0", RIG_PLAN, SET(plan_value.max.tokens, 0), "max.tokens"),
    {"A08_plan_tokens_-1", RIG_PLAN, PLAIN, SET(plan_value.max.tokens, -1), Q_ERR_LIMIT, "max.tokens", 0},
    BAD_ARG("A08_plan_selected_0", RIG_PLAN, SET(plan_value.max.selected, 0), "max.selected"),
    {"M60_plan_context_2_31", RIG_PLAN, PLAIN, SET(plan_value.max.kv, 0x80000000), Q_ERR_LIMIT, "max.kv", 0},
    BAD_ARG("A20_plan_workers_0", RIG_PLAN, SET(plan_value.n_workers, 0), "n_workers"),
    BAD_ARG("A20_plan_workers_cap_plus_1", RIG_PLAN, SET(plan_value.n_workers, Q_MAX_WORKERS + 1), "n_workers"),
    {"R06_plan_workspace_not_a_multiple", RIG_PLAN, PLAIN, ADD(plan_value.workspace_size, 1), Q_ERR_INVALID_SIZE,
     "workspace_size", 0},

    /* ---- Session */
    MEMORY_CASES("session", RIG_SESSION, session_memory),
    BAD_ARG("A01_session_out", RIG_SESSION, SET(session_out, 0), "session"),
    BAD_ARG("A01_session_plan", RIG_SESSION, SET(plan, 0), "plan"),
    BAD_ARG("A01_session_context", RIG_SESSION, SET(context, 0), "context"),
    BAD_ARG("A01_session_backend", RIG_SESSION, SET(context_value.backend, 0), "context.backend"),
    BAD_ARG("A01_session_regions", RIG_SESSION, SET(regions, 0), "regions"),
    FINE("A01_session_config_accepted", RIG_SESSION, SET(session_config, 0)),
    FINE("A01_session_port_accepted", RIG_SESSION, SET(context_value.port, 0)),
    STRUCT_CASES("session_config", RIG_SESSION, session_value.struct_size),
    STRUCT_CASES("backend", RIG_SESSION, backend.struct_size),
    STRUCT_CASES("port", RIG_SESSION, port.struct_size),
    FINE("A06_session_flag_known", RIG_SESSION, SET(session_value.flags, 1)),
    BAD_ARG("A06_session_flag_unknown", RIG_SESSION, SET(session_value.flags, 2), "flags"),
    BAD_ARG("A06_session_top_flag", RIG_SESSION, SET(session_value.flags, 0x80000000), "flags"),
    BAD_ARG("A20_session_workers_above_the_plan", RIG_SESSION, SET(context_value.n_workers, 2), "n_workers"),
    {"A21_backend_workspace_above_the_plan", RIG_SESSION, PLAIN, ADD(backend.workspace_size, 64), Q_ERR_MISMATCH,
     "workspace_size", 0},
    BAD_ARG("A01_configure_session", RIG_CONFIGURE, SET(session, 0), "session"),
    BAD_ARG("A01_configure_config", RIG_CONFIGURE, SET(session_config, 0), "config"),
    STRUCT_CASES("configure", RIG_CONFIGURE, session_value.struct_size),
    BAD_ARG("A06_configure_flag_unknown", RIG_CONFIGURE, SET(session_value.flags, 2), "flags"),

    /* ---- Regions */
    {"R01_state_one_byte_less", RIG_SESSION, PLAIN, ADD(region[0].size, -1), Q_ERR_NO_SPACE, "region", 0},
    {"R01_scratch_one_byte_less", RIG_SESSION, PLAIN, ADD(region[1].size, -1), Q_ERR_NO_SPACE, "region", 0},
    FINE("R02_regions_exact", RIG_SESSION, PLAIN),
    {"R03_state_size_0", RIG_SESSION, PLAIN, SET(region[0].size, 0), Q_ERR_NO_SPACE, "region", 0},
    {"R03_scratch_missing", RIG_SESSION, PLAIN, SET(n_regions, 1), Q_ERR_NO_SPACE, "region", 0},
    {"R03_no_regions", RIG_SESSION, PLAIN, SET(n_regions, 0), Q_ERR_NO_SPACE, "region", 0},
    {"R04_state_NULL_with_size", RIG_SESSION, PLAIN, SET(region[0].base, 0), Q_ERR_INVALID_ARG, "base", 0},
    {"R04_scratch_NULL_with_size", RIG_SESSION, PLAIN, SET(region[1].base, 0), Q_ERR_INVALID_ARG, "base", 1},
    FINE("R06_state_size_not_a_multiple", RIG_SESSION, ADD(region[0].size, 1)),
    FINE("R06_scratch_size_not_a_multiple", RIG_SESSION, ADD(region[1].size, 63)),
    {"R07_regions_share_a_byte", RIG_SESSION, PLAIN, PUT(EDIT_TO_NEXT, region[0].size), Q_ERR_ALIASING, "base", 1},
    {"R07_regions_at_one_place", RIG_SESSION, PLAIN, COPY(region[1].base, region[0].base), Q_ERR_ALIASING, "base", 1},
    {"R08_state_over_the_file", RIG_SESSION, PLAIN, PUT(EDIT_TABLES, region[0].base), Q_ERR_ALIASING, NULL, 0},
    {"R08_scratch_inside_a_tensor", RIG_SESSION, PLAIN, PUT(EDIT_WEIGHTS, region[1].base), Q_ERR_ALIASING, NULL, 0},
    {"R09_state_over_the_session", RIG_SESSION, PLAIN, COPY(region[0].base, session_memory.base), Q_ERR_ALIASING,
     "session memory", 0},
    {"R09_session_over_the_scratch", RIG_SESSION, PLAIN, COPY(session_memory.base, region[1].base), Q_ERR_ALIASING,
     "session memory", 0},
    {"R10_state_wraps", RIG_SESSION, PLAIN, SET(region[0].base, -64), Q_ERR_OVERFLOW, "size", 0},
    {"R10_scratch_of_SIZE_MAX_bytes", RIG_SESSION, PLAIN, SET(region[1].size, -1), Q_ERR_OVERFLOW, "size", 1},
    {"R11_state_ends_at_the_top", RIG_SESSION, PLAIN, PUT(EDIT_TO_TOP, region[0].base), Q_ERR_OVERFLOW, "size", 0},
    {"region_kind_unknown", RIG_SESSION, PLAIN, SET(region[1].kind, Q_REGION_KINDS), Q_ERR_INVALID_ARG, "kind", 1},
    {"region_tag_unknown", RIG_SESSION, PLAIN, SET(region[1].tag, Q_MAX_TAGS), Q_ERR_INVALID_ARG, "tag", 1},
    {"region_on_another_device", RIG_SESSION, PLAIN, SET(region[0].device, Q_DEVICE_CUDA), Q_ERR_INVALID_DEVICE,
     "device", 0},

    /* ---- A step */
    BAD_ARG("A01_forward_session", RIG_FORWARD, SET(session, 0), "session"),
    BAD_ARG("A01_forward_step", RIG_FORWARD, SET(step, 0), "step"),
    BAD_ARG("A01_forward_inputs", RIG_FORWARD, SET(step_value.inputs, 0), "input"),
    BAD_ARG("A01_forward_input", RIG_FORWARD, SET(inputs[0], 0), "input"),
    {"A25_forward_input_off_by_1", RIG_FORWARD, PLAIN, ADD(inputs[0], 1), Q_ERR_MISALIGNED, "input", 0},
    FINE("A07_forward_batch_0_means_1", RIG_FORWARD, SET(step_value.n_batch, 0)),
    BAD_ARG("A07_forward_batch_above_the_plan", RIG_FORWARD, SET(step_value.n_batch, 2), "n_batch"),
    BAD_ARG("A07_forward_batch_-1", RIG_FORWARD, SET(step_value.n_batch, -1), "n_batch"),
    FINE("A08_forward_tokens_0_means_1", RIG_FORWARD, SET(step_value.n_tokens, 0)),
    {"A08_forward_tokens_above_the_context", RIG_FORWARD, SET(step_value.n_tokens, RIG_KV),
     SET(step_value.n_tokens, RIG_KV + 1), Q_ERR_CONTEXT_FULL, "n_tokens", 0},
    {"A08_forward_tokens_-1", RIG_FORWARD, PLAIN, SET(step_value.n_tokens, -1), Q_ERR_CONTEXT_FULL, "n_tokens", 0},
    {"A09_forward_token_-1", RIG_FORWARD, PLAIN, SET(ids[2], -1), Q_ERR_INVALID_TOKEN, "id", 2},
    {"A09_forward_token_is_vocabulary", RIG_FORWARD, VOCAB(ids[3], -1), VOCAB(ids[3], 0), Q_ERR_INVALID_TOKEN, "id", 3},
    {"A09_forward_token_largest_integer", RIG_FORWARD, PLAIN, SET(ids[0], INT32_MAX), Q_ERR_INVALID_TOKEN, "id", 0},
    {"A09_forward_token_smallest_integer", RIG_FORWARD, PLAIN, SET(ids[0], INT32_MIN), Q_ERR_INVALID_TOKEN, "id", 0},
    {"A10_forward_position_beyond_the_cache", RIG_FORWARD, SET(start, RIG_KV - 4), SET(start, RIG_KV - 3),
     Q_ERR_CONTEXT_FULL, "n_tokens", 0},
    {"A12_forward_cache_full_and_one_more", RIG_FORWARD, SET(step_value.n_tokens, 1), SET(start, RIG_KV),
     Q_ERR_CONTEXT_FULL, "n_tokens", 0},
    BAD_ARG("A06_forward_selection_unknown", RIG_FORWARD, SET(step_value.select, 4), "select"),
    {"A01_forward_selected", RIG_FORWARD, SET(step_value.select, Q_SELECT_LIST), SET(step_value.selected, 0),
     Q_ERR_INVALID_ARG, "selected", 0},
    {"A20_forward_selected_none", RIG_FORWARD, SET(step_value.select, Q_SELECT_LIST), SET(step_value.n_selected, 0),
     Q_ERR_INVALID_ARG, "selected", 0},
    {"A11_forward_selected_going_back", RIG_FORWARD, SET(step_value.select, Q_SELECT_LIST), SET(selected[0], 3),
     Q_ERR_INVALID_ARG, "selected", 0},
    {"A10_forward_selected_beyond_the_step", RIG_FORWARD, SET(step_value.select, Q_SELECT_LIST), SET(selected[1], 4),
     Q_ERR_INVALID_ARG, "selected", 0},
    {"A01_forward_all_rows_without_callback", RIG_FORWARD, SET(step_value.select, Q_SELECT_ALL),
     SET(step_value.rows, 0), Q_ERR_INVALID_ARG, "rows (callback)", 0},
    {"A32_forward_callback_returns_an_error", RIG_FORWARD, PLAIN, SET(rows_code, Q_ERR_IO), Q_ERR_IO,
     "rows (callback)", 0},

    /* ---- Positions, outputs, parameters */
    BAD_ARG("A01_rewind_session", RIG_REWIND, SET(session, 0), "session"),
    {"A11_rewind_back", RIG_REWIND, SET(start, 4), SET(n, 3), Q_OK, "", 0},
    {"A11_rewind_ahead", RIG_REWIND, SET(start, 4), SET(n, 5), Q_ERR_INVALID_ARG, "n", 0},
    {"A11_rewind_-1", RIG_REWIND, SET(start, 4), SET(n, -1), Q_ERR_INVALID_ARG, "n", 0},
    {"A10_position_beyond_the_cache", RIG_SET_POSITION, SET(n, RIG_KV), SET(n, RIG_KV + 1), Q_ERR_INVALID_ARG, "n", 0},
    BAD_ARG("A10_position_-1", RIG_SET_POSITION, SET(n, -1), "n"),
    BAD_ARG("A01_position_session", RIG_SET_POSITION, SET(session, 0), "session"),
    BAD_ARG("A01_output_session", RIG_OUTPUT, SET(session, 0), "session"),
    BAD_ARG("A01_output_out", RIG_OUTPUT, SET(tensor_out, 0), "out"),
    BAD_ARG("A20_output_index", RIG_OUTPUT, SET(n, 1), "i"),
    BAD_ARG("A20_output_index_-1", RIG_OUTPUT, SET(n, -1), "i"),
    BAD_ARG("A20_param_index_-1", RIG_PARAM, SET(n, -1), "param"),
    BAD_ARG("A01_param_out", RIG_PARAM, SET(tensor_out, 0), "out"),

    /* ---- Generator */
    MEMORY_CASES("generator", RIG_GENERATOR, generator_memory),
    BAD_ARG("A01_generator_out", RIG_GENERATOR, SET(generator_out, 0), "generator"),
    BAD_ARG("A01_generator_session", RIG_GENERATOR, SET(session, 0), "session"),
    BAD_ARG("A01_generator_tokenizer", RIG_GENERATOR, SET(tokenizer, 0), "tokenizer"),
    BAD_ARG("A01_generator_config", RIG_GENERATOR, SET(generate, 0), "config"),
    {"A02_generator_tokenizer_not_open", RIG_GENERATOR, PLAIN, SET(tokenizer_value.kind, 0), Q_ERR_INVALID_STATE,
     "tokenizer", 0},
    {"T34_tokenizer_of_a_larger_vocabulary", RIG_GENERATOR, VOCAB(tokenizer_value.n_vocab, 0),
     VOCAB(tokenizer_value.n_vocab, 1), Q_ERR_MISMATCH, "n_vocab", 0},
    STRUCT_CASES("generate_config", RIG_GENERATOR, generate_value.struct_size),
    STRUCT_CASES("sampler_config", RIG_GENERATOR, generate_value.sampler.struct_size),
    BAD_ARG("A06_generator_policy_unknown", RIG_GENERATOR, SET(generate_value.full, 2), "full"),
    BAD_ARG("A06_sampler_reserved", RIG_GENERATOR, SET(generate_value.sampler.reserved, 1), "reserved"),
    BAD_ARG("A20_generator_stops_cap_plus_1", RIG_GENERATOR, SET(generate_value.n_stops, Q_GENERATE_MAX_STOPS + 1),
            "n_stops"),
    BAD_ARG("A01_generator_stops", RIG_GENERATOR, SET(generate_value.n_stops, 1), "n_stops"),
    FINE("A14_temperature_0_is_greedy", RIG_GENERATOR, SET(generate_value.sampler.temperature, F64_ZERO)),
    BAD_ARG("A14_temperature_negative", RIG_GENERATOR, SET(generate_value.sampler.temperature, F64_MINUS_ONE),
            "temperature"),
    BAD_ARG("A14_temperature_NaN", RIG_GENERATOR, SET(generate_value.sampler.temperature, F64_NAN), "temperature"),
    BAD_ARG("A14_temperature_infinite", RIG_GENERATOR, SET(generate_value.sampler.temperature, F64_INF),
            "temperature"),
    FINE("A15_top_k_0_is_off", RIG_GENERATOR, SET(generate_value.sampler.top_k, 0)),
    FINE("A15_top_k_above_the_vocabulary", RIG_GENERATOR, VOCAB(generate_value.sampler.top_k, 1)),
    FINE("A15_top_k_-1", RIG_GENERATOR, SET(generate_value.sampler.top_k, -1)),
    BAD_ARG("A16_top_p_0", RIG_GENERATOR, SET(generate_value.sampler.top_p, F64_ZERO), "top_p"),
    BAD_ARG("A16_top_p_above_1", RIG_GENERATOR, SET(generate_value.sampler.top_p, F64_ABOVE_ONE), "top_p"),
    BAD_ARG("A16_top_p_NaN", RIG_GENERATOR, SET(generate_value.sampler.top_p, F64_NAN), "top_p"),
    BAD_ARG("A16_min_p_above_1", RIG_GENERATOR, SET(generate_value.sampler.min_p, F64_ABOVE_ONE), "min_p"),
    BAD_ARG("A16_min_p_negative", RIG_GENERATOR, SET(generate_value.sampler.min_p, F64_MINUS_ONE), "min_p"),
    BAD_ARG("A14_repeat_penalty_0", RIG_GENERATOR, SET(generate_value.sampler.repeat_penalty, F64_ZERO),
            "repeat_penalty"),
    FINE("A19_seed_0", RIG_GENERATOR, SET(generate_value.sampler.seed, 0)),
    BAD_ARG("A01_generator_configure", RIG_GENERATOR_CONFIGURE, SET(generate, 0), "config"),
    STRUCT_CASES("generator_configure", RIG_GENERATOR_CONFIGURE, generate_value.struct_size),

    /* ---- Feeding and running */
    BAD_ARG("A01_feed_generator", RIG_FEED, SET(generator, 0), "generator"),
    BAD_ARG("A01_feed_ids", RIG_FEED, SET(ids_in, 0), "ids"),
    {"A09_feed_token_-1", RIG_FEED, PLAIN, SET(ids[1], -1), Q_ERR_INVALID_TOKEN, "ids", 1},
    {"A09_feed_token_is_vocabulary", RIG_FEED, VOCAB(ids[3], -1), VOCAB(ids[3], 0), Q_ERR_INVALID_TOKEN, "ids", 3},
    FINE("A08_feed_0_tokens", RIG_FEED, SET(n_ids, 0)),
    {"A08_feed_more_than_the_context", RIG_FEED, SET(n_ids, RIG_KV), SET(n_ids, RIG_KV + 1),
     Q_ERR_CONTEXT_FULL, "n", 0},
    {"A08_feed_-1_tokens", RIG_FEED, PLAIN, SET(n_ids, -1), Q_ERR_CONTEXT_FULL, "n", 0},
    {"A12_feed_cache_full_and_one_more", RIG_FEED, SET(fed, RIG_KV - 4), SET(fed, RIG_KV - 3), Q_ERR_CONTEXT_FULL,
     "n", 0},
    {"A13_rewind_ahead", RIG_GENERATOR_REWIND, SET(fed, 4), SET(n, 5), Q_ERR_INVALID_ARG, "n", 0},
    {"A13_rewind_-1", RIG_GENERATOR_REWIND, SET(fed, 4), SET(n, -1), Q_ERR_INVALID_ARG, "n", 0},
    {"A02_run_before_anything_was_fed", RIG_RUN, SET(fed, 4), SET(fed, 0), Q_ERR_INVALID_STATE, NULL, 0},
    {"A01_run_reason", RIG_RUN, SET(fed, 4), SET(reason_out, 0), Q_ERR_INVALID_ARG, "reason", 0},
    {"A01_run_generator", RIG_RUN, SET(fed, 4), SET(generator, 0), Q_ERR_INVALID_ARG, "generator", 0},
    {"A10_restore_another_position", RIG_RESTORE, PLAIN, SET(n, 1), Q_ERR_MISMATCH, "n", 0},
    {"A10_restore_beyond_the_cache", RIG_RESTORE, PLAIN, SET(n, RIG_KV + 1), Q_ERR_INVALID_ARG, "n", 0},
    {"R01_text_work_one_byte_less", RIG_TEXT, SET(text_work_size, 1472), ADD(text_work_size, -1), Q_ERR_NO_SPACE,
     "work", 0},
    {"R05_text_work_off_by_8", RIG_TEXT, PLAIN, ADD(text_work, 8), Q_ERR_MISALIGNED, "work", 0},
    BAD_ARG("A01_text_work", RIG_TEXT, SET(text_work, 0), "work"),
    BAD_ARG("A06_text_flag_unknown", RIG_TEXT, SET(flags, 16), "flags"),

    /* ---- Tokenizer */
    BAD_ARG("A01_encode_tokenizer", RIG_ENCODE, SET(tokenizer, 0), "NULL"),
    {"A02_encode_tokenizer_not_open", RIG_ENCODE, PLAIN, SET(tokenizer_value.kind, 0), Q_ERR_INVALID_STATE, "t", 0},
    BAD_ARG("A01_encode_n_ids", RIG_ENCODE, SET(n_out, 0), "NULL"),
    BAD_ARG("A01_encode_ids_with_capacity", RIG_ENCODE, SET(ids_out, 0), "NULL"),
    BAD_ARG("A01_encode_work_with_size", RIG_ENCODE, SET(text_work, 0), "NULL"),
    BAD_ARG("T35_text_NULL_with_length", RIG_ENCODE, SET(text, 0), "NULL"),
    {"T35_text_NULL_with_0", RIG_ENCODE, SET(n_text, 0), SET(text, 0), Q_OK, "", 0},
    BAD_ARG("A06_encode_flag_unknown", RIG_ENCODE, SET(flags, 16), "flags"),
    BAD_ARG("A06_encode_all_flags", RIG_ENCODE, SET(flags, -1), "flags"),
    {"T28_text_above_the_cap", RIG_ENCODE, PLAIN, SET(n_text, Q_TOKENIZER_MAX_TEXT + 1), Q_ERR_LIMIT, "n", 0},
    {"T28_text_-1", RIG_ENCODE, PLAIN, SET(n_text, -1), Q_ERR_LIMIT, "n", 0},
    {"T31_encode_capacity_0", RIG_ENCODE, PLAIN, SET(cap, 0), Q_ERR_NO_SPACE, "ids", 0},
    {"T31_encode_capacity_-1", RIG_ENCODE, PLAIN, SET(cap, -1), Q_ERR_INVALID_SIZE, "cap", 0},
    {"R01_encode_work_one_byte_less", RIG_ENCODE, SET(text_work_size, 1280), ADD(text_work_size, -1), Q_ERR_NO_SPACE,
     "work", 0},
    {"R05_encode_work_off_by_4", RIG_ENCODE, PLAIN, ADD(text_work, 4), Q_ERR_MISALIGNED, "work", 0},
    {"A24_encode_ids_over_work", RIG_ENCODE, PLAIN, COPY(ids_out, text_work), Q_ERR_ALIASING, "ids", 0},
    BAD_ARG("A01_decode_tokenizer", RIG_DECODE, SET(tokenizer, 0), "NULL"),
    BAD_ARG("A01_decode_ids", RIG_DECODE, SET(ids_in, 0), "NULL"),
    BAD_ARG("A06_decode_flag_unknown", RIG_DECODE, SET(flags, 2), "flags"),
    {"T32_decode_id_-1", RIG_DECODE, PLAIN, SET(ids[1], -1), Q_ERR_INVALID_TOKEN, NULL, 1},
    {"T32_decode_id_is_vocabulary", RIG_DECODE, VOCAB(ids[2], -1), VOCAB(ids[2], 0), Q_ERR_INVALID_TOKEN, NULL, 2},
    {"T32_decode_id_smallest_integer", RIG_DECODE, PLAIN, SET(ids[0], INT32_MIN), Q_ERR_INVALID_TOKEN, NULL, 0},
    {"T31_decode_capacity_1", RIG_DECODE, PLAIN, SET(cap, 1), Q_ERR_NO_SPACE, NULL, 0},
    FINE("T35_decode_no_ids", RIG_DECODE, SET(n_ids, 0)),
    {"T31_chat_capacity_2", RIG_CHAT, PLAIN, SET(cap, 2), Q_ERR_NO_SPACE, "ids", 0},
    BAD_ARG("A01_chat_n_ids", RIG_CHAT, SET(n_out, 0), "n_ids"),
    {"T34_chat_format_none", RIG_CHAT, PLAIN, SET(tokenizer_value.chat_format, 0), Q_ERR_UNSUPPORTED, "chat format", 0},

    /* ---- Sampler */
    {"A17_all_logits_-Inf", RIG_SAMPLE, SET(n_logits, 1), SET(logits[0], F32_MINUS_INF), Q_ERR_NON_FINITE,
     "all masked", 0},
    {"A18_all_logits_NaN", RIG_SAMPLE, SET(n_logits, 1), SET(logits[0], F32_NAN), Q_ERR_NON_FINITE, "logits", 0},
    {"A18_one_logit_NaN", RIG_SAMPLE, PLAIN, SET(logits[2], F32_NAN), Q_ERR_NON_FINITE, "logits", 2},
    {"A17_one_logit_Inf", RIG_SAMPLE, PLAIN, SET(logits[3], F32_INF), Q_ERR_NON_FINITE, "logits", 3},
    FINE("A17_one_logit_-Inf_accepted", RIG_SAMPLE, SET(logits[3], F32_MINUS_INF)),
    FINE("A17_logits_of_the_largest_and_smallest_number", RIG_SAMPLE, SET(logits[0], 0x7f7fffff)),
    FINE("N10_logit_subnormal", RIG_SAMPLE, SET(logits[0], 1)),
    FINE("A14_temperature_smallest_subnormal", RIG_SAMPLE, SET(sampler.temperature, 1)),
    FINE("A14_temperature_largest_number", RIG_SAMPLE, SET(sampler.temperature, 0x7fefffffffffffff)),
    FINE("A16_min_p_smallest_subnormal", RIG_SAMPLE, SET(sampler.min_p, 1)),
    FINE("A16_top_p_smallest_subnormal", RIG_SAMPLE, SET(sampler.top_p, 1)),
    BAD_ARG("A14_temperature_-Inf", RIG_SAMPLE, SET(sampler.temperature, (int64_t)0xfff0000000000000u), "temperature"),
    BAD_ARG("A16_presence_penalty_NaN", RIG_SAMPLE, SET(sampler.presence_penalty, F64_NAN), "presence_penalty"),
    BAD_ARG("A16_frequency_penalty_Inf", RIG_SAMPLE, SET(sampler.frequency_penalty, F64_INF), "frequency_penalty"),
    {"A20_no_logits", RIG_SAMPLE, PLAIN, SET(n_logits, 0), Q_ERR_INVALID_SIZE, "n_vocab", 0},
    {"A09_history_token_is_vocabulary", RIG_SAMPLE, SET(history[1], 3), SET(history[1], 4), Q_ERR_INVALID_TOKEN,
     NULL, 1},
    {"A05_sampler_struct_size", RIG_SAMPLE, PLAIN, ADD(sampler.struct_size, 8), Q_ERR_INVALID_ARG, "struct_size", 0},
    BAD_ARG("A01_sampler_config", RIG_SAMPLE, SET(sampler_in, 0), "cfg"),
    BAD_ARG("A01_sampler_token", RIG_SAMPLE, SET(token_out, 0), "token"),
};

/* ---- Edits -------------------------------------------------------------------------------------------------- */

static uint64_t inside_weights(const rig *r)
{
    const q_file_tensor_record *largest = q_file_record(&r->file, 0);
    for (uint32_t i = 1; i < q_file_n_tensors(&r->file); i++) {
        const q_file_tensor_record *record = q_file_record(&r->file, i);
        largest = record->size.v > largest->size.v ? record : largest;
    }
    return (uint64_t)(uintptr_t)r->blob + largest->offset.v + 64;
}

static uint64_t edit_value(const rig *r, const edit *e, uint64_t old)
{
    const uint8_t *args = (const uint8_t *)&r->args;
    const q_region *region = r->args.region;
    uint64_t other = 0;
    switch (e->op) {
    case EDIT_ADD:
        return old + (uint64_t)e->value;
    case EDIT_VOCAB:
        return (uint64_t)((int64_t)r->n_vocab + e->value);
    case EDIT_COPY:
        memcpy(&other, args + e->value, e->width);
        return other;
    case EDIT_TABLES:
        return (uint64_t)(uintptr_t)r->blob;
    case EDIT_WEIGHTS:
        return inside_weights(r);
    case EDIT_TO_NEXT:
        return (uint64_t)((uintptr_t)region[1].base - (uintptr_t)region[0].base) + 1;
    case EDIT_TO_TOP:
        return ~(uint64_t)0 - region[0].size + 1;
    default:
        return (uint64_t)e->value;
    }
}

/* *old and *now become the member's value before and after. */
static void apply(rig *r, const edit *e, uint64_t *old, uint64_t *now)
{
    uint8_t *member = (uint8_t *)&r->args + e->at;
    *old = 0;
    if (e->op == EDIT_NONE) {
        return;
    }
    memcpy(old, member, e->width); /* little-endian, as every port of this proof */
    *now = edit_value(r, e, *old);
    memcpy(member, now, e->width);
}

/* ---- Verdict ------------------------------------------------------------------------------------------------ */

static bool is_short_by_one(const bad_call *c)
{
    return c->code == Q_ERR_NO_SPACE && c->defect.op == EDIT_ADD && c->defect.value == -1;
}

static void run_case(rig *r, const bad_call *c)
{
    uint64_t old = 0;
    uint64_t now = 0;
    q_error_code e;
    bool good;
    rig_reset(r);
    apply(r, &c->twin, &old, &now);
    if (rig_run(r, (rig_call)c->call) != Q_OK) {
        rig_report(r, false, c->id, r->diag.code, &r->diag);
        return;
    }
    rig_reset(r);
    apply(r, &c->twin, &old, &now);
    apply(r, &c->defect, &old, &now);
    e = rig_run(r, (rig_call)c->call);
    good = e == c->code;
    if (c->code != Q_OK) {
        good = good && r->diag.code == c->code && rig_untouched(r) && r->diag.offset == c->offset;
        good = good && (c->field == NULL ? r->diag.field[0] != '\0' : rig_same_text(r->diag.field, c->field));
    }
    if (is_short_by_one(c)) {
        good = good && r->diag.need == old && r->diag.have == now;
    }
    rig_report(r, good, c->id, e, &r->diag);
}

void rig_cases(rig *r)
{
    for (size_t i = 0; i < sizeof(bad_calls) / sizeof(bad_calls[0]); i++) {
        run_case(r, &bad_calls[i]);
    }
}
