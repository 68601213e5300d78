/* SPDX-License-Identifier: MIT */
/* Texts that are no ordinary ones, and two sessions of one plan side by side. */
#include "rig.h"

#include "qorus/base/mem.h"

/* ---- Texts -------------------------------------------------------------------------------------------------- */

/* Ids of a text, at most 64; their number, or SIZE_MAX. */
static size_t ids_of(rig *r, const char *text, size_t n, uint32_t flags, int32_t *ids)
{
    size_t n_ids = 0;
    q_error_code e = q_tokenizer_encode(&r->tokenizer, text, n, flags, r->text_work, RIG_TEXT_WORK, ids, 64, &n_ids,
                                        &r->diag);
    return e == Q_OK ? n_ids : SIZE_MAX;
}

static bool comes_back(rig *r, const char *text, size_t n)
{
    int32_t ids[64];
    char back[128];
    size_t n_back = 0;
    size_t n_ids = ids_of(r, text, n, 0, ids);
    return n_ids != SIZE_MAX &&
           q_tokenizer_decode(&r->tokenizer, ids, n_ids, 0, back, sizeof(back), &n_back, &r->diag) == Q_OK &&
           n_back == n && memcmp(back, text, n) == 0;
}

static void check_strange_texts(rig *r)
{
    static const char invalid[] = {'a', (char)0xff, (char)0xc0, (char)0x80, (char)0xed, (char)0xa0, (char)0x80, 'b'};
    static const char special[] = "a<|im_start|>b";
    int32_t ids[64];
    int32_t token = -1;
    size_t n;
    bool good = true;
    rig_report(r, comes_back(r, "a\0b\0\0c", 6), "T29_text_with_NULs_comes_back", Q_OK, NULL);
    rig_report(r, comes_back(r, invalid, sizeof(invalid)), "T10_text_of_invalid_UTF-8_comes_back", Q_OK, NULL);
    good = q_tokenizer_find(&r->tokenizer, "<|im_start|>", 12, &token);
    n = ids_of(r, special, sizeof(special) - 1, 0, ids);
    for (size_t i = 0; n != SIZE_MAX && i < n; i++) {
        good = good && ids[i] != token;
    }
    rig_report(r, good && n != SIZE_MAX && comes_back(r, special, sizeof(special) - 1),
               "T30_control_token_in_a_users_text_stays_text", Q_OK, NULL);
    n = ids_of(r, special, sizeof(special) - 1, Q_ENCODE_PARSE_SPECIAL, ids);
    good = false;
    for (size_t i = 0; n != SIZE_MAX && i < n; i++) {
        good = good || ids[i] == token;
    }
    rig_report(r, good, "T30_control_token_where_it_was_asked_for", Q_OK, NULL);
}

/* A character in pieces comes out whole; a piece of none comes out as it is. */
static void check_split_character(rig *r)
{
    static const uint8_t euro[] = {0xe2, 0x82, 0xac};
    static const uint8_t lone = 0x82;
    q_utf8_stream s;
    char out[8];
    size_t n[5] = {9, 9, 9, 9, 9};
    q_error_code e = Q_OK;
    q_utf8_stream_init(&s);
    for (uint32_t i = 0; i < 3 && e == Q_OK; i++) {
        e = q_utf8_stream_push(&s, &euro[i], 1, out, sizeof(out), &n[i]);
    }
    rig_report(r, e == Q_OK && n[0] == 0 && n[1] == 0 && n[2] == 3 && memcmp(out, euro, 3) == 0,
               "T33_decode_split_inside_a_character", e, NULL);
    e = q_utf8_stream_push(&s, &lone, 1, out, sizeof(out), &n[3]);
    rig_report(r, e == Q_OK && n[3] == 1 && (uint8_t)out[0] == lone, "T33_decode_of_a_byte_of_no_character", e, NULL);
    e = q_utf8_stream_push(&s, euro, 2, out, sizeof(out), &n[3]);
    e = e == Q_OK ? q_utf8_stream_flush(&s, out, sizeof(out), &n[4]) : e;
    rig_report(r, e == Q_OK && n[3] == 0 && n[4] == 2, "T33_decode_ending_inside_a_character", e, NULL);
    n[0] = 9;
    e = q_utf8_stream_push(&s, euro, 3, out, 2, &n[0]);
    rig_report(r, e == Q_ERR_NO_SPACE && n[0] == 9, "T31_stream_capacity_too_small", e, NULL);
}

/* The longest run of one letter the work memory of the rig is for; twice the text is not four times the work. */
static void check_long_text(rig *r)
{
    static char text[400];
    int32_t *ids = (int32_t *)rig_take(r, 402 * sizeof(int32_t));
    size_t n_ids = 0;
    q_error_code e = Q_ERR_NO_SPACE;
    size_t need;
    memset(text, 'a', sizeof(text));
    need = q_tokenizer_encode_work_need(&r->tokenizer, text, sizeof(text), 0);
    if (ids != NULL) {
        e = q_tokenizer_encode(&r->tokenizer, text, sizeof(text), 0, r->text_work, RIG_TEXT_WORK, ids, 402, &n_ids,
                               &r->diag);
    }
    rig_report(r, e == Q_OK && n_ids != 0 && need <= 32 * sizeof(text), "T28_text_of_one_letter", e, &r->diag);
}

/* ---- Sessions side by side ---------------------------------------------------------------------------------- */

static q_error_code fold_rows(void *user, uint32_t first, uint32_t n, const q_tensor *rows)
{
    uint64_t *hash = (uint64_t *)user;
    (void)first;
    for (uint32_t row = 0; row < n; row++) {
        const uint8_t *p = (const uint8_t *)rows->data + row * rows->nb[2];
        for (size_t i = 0; i < rows->ne[3] * sizeof(float); i++) {
            *hash = (*hash ^ p[i]) * 0x100000001b3u;
        }
    }
    return Q_OK;
}

/* Tokens [from, from + n) of one of two texts. */
static q_error_code read_part(rig *r, q_session *s, uint32_t text, uint32_t from, uint32_t n, uint64_t *hash)
{
    int32_t ids[8];
    const void *inputs[1] = {ids};
    q_step step;
    for (uint32_t i = 0; i < n && i < 8; i++) {
        ids[i] = r->args.ids[(from + i + 50 * text) % RIG_IDS];
    }
    memset(&step, 0, sizeof(step));
    step.n_tokens = n;
    step.inputs = inputs;
    step.select = Q_SELECT_ALL;
    step.rows = fold_rows;
    step.rows_user = hash;
    return q_model_forward(s, &step, &r->diag);
}

static q_error_code second_session(rig *r, q_session **s)
{
    q_context context;
    q_region region[RIG_REGIONS];
    q_block block;
    memset(&context, 0, sizeof(context));
    context.backend = &r->backend;
    memcpy(region, r->region, sizeof(region));
    for (uint32_t i = 0; i < RIG_REGIONS; i++) {
        region[i].base = rig_take(r, region[i].size);
    }
    block.base = rig_take(r, r->session_size);
    block.size = r->session_size;
    return q_session_init(s, block, r->plan, &context, region, RIG_REGIONS, NULL, &r->diag);
}

static void check_interleaved(rig *r)
{
    uint64_t alone[2] = {1, 1};
    uint64_t beside[2] = {1, 1};
    q_session *s[2] = {r->session, NULL};
    q_error_code e;
    rig_reset(r);
    e = second_session(r, &s[1]);
    for (uint32_t text = 0; text < 2 && e == Q_OK; text++) {
        e = q_session_rewind(r->session, 0, &r->diag);
        for (uint32_t at = 0; at < 40 && e == Q_OK; at += 5) {
            e = read_part(r, r->session, text, at, 5, &alone[text]);
        }
    }
    e = e == Q_OK ? q_session_rewind(r->session, 0, &r->diag) : e;
    for (uint32_t at = 0; at < 40 && e == Q_OK; at += 5) {
        e = read_part(r, s[0], 0, at, 5, &beside[0]);
        e = e == Q_OK ? read_part(r, s[1], 1, at, 5, &beside[1]) : e;
    }
    rig_report(r, e == Q_OK && memcmp(alone, beside, sizeof(alone)) == 0 && alone[0] != alone[1],
               "X01_two_sessions_call_by_call", e, &r->diag);
}

void rig_texts(rig *r)
{
    check_strange_texts(r);
    check_split_character(r);
    check_long_text(r);
    check_interleaved(r);
}
