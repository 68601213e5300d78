/* SPDX-License-Identifier: MIT */
/*
 * bad_cases.h: one word changed in small.qtok: what is written where, and the code and place
 * expected.
 */
#ifndef QORUS_TEST_TOKENIZER_BAD_CASES_H
#define QORUS_TEST_TOKENIZER_BAD_CASES_H

#include "qorus/tokenizer.h"

/* Byte offsets of header fields. */
enum {
    H_VERSION = 4,
    H_KIND = 8,
    H_PRE = 12,
    H_CHAT = 16,
    H_FLAGS = 20,
    H_VOCAB = 24,
    H_MERGES = 28,
    H_PLAIN = 32,
    H_SPECIAL = 36,
    H_TEXT = 40,
    H_MAX_TOKEN = 44,
    H_MAX_SPECIAL = 48,
    H_SYSTEM = 52,
    H_SECTION = 56,
    H_N_EOG = 60,
    H_BOS = 64,
    H_EOS = 68,
    H_PAD = 72,
    H_UNK = 76,
    H_EOG = 80,
    H_RESERVED = 112
};

/* Tables in their order. */
enum {
    T_HEADER = -1,
    T_OFFSETS,
    T_TEXT,
    T_TYPES,
    T_BYTES,
    T_PLAIN,
    T_SPECIAL,
    T_STARTS,
    T_MERGES,
    T_ORDER,
    T_SYSTEM
};

/* What a patch writes: a number, or one that the section decides. */
typedef enum bad_value {
    V_IS,          /* value */
    V_VOCAB,       /* n_vocab + value */
    V_PLUS,        /* what is there + value */
    V_NEIGHBOUR,   /* what the merge before has there */
    V_LONGER,      /* a token that begins with what the merge makes */
    V_EXCLAMATION, /* the token "!" */
    V_ENTRY_LEFT   /* the left token of the merge patched */
} bad_value;

/* Which element of the table is patched. */
typedef enum bad_index {
    I_IS,         /* index */
    I_SECOND,     /* second_merge() */
    I_COMPOSED,   /* composed_merge() */
    I_LONGER,     /* a merge whose result begins a longer token */
    I_FALL,       /* a left token after one whose merges do not start at 0 */
    I_LAST_VOCAB, /* n_vocab */
    I_NORMAL,     /* first normal token */
    I_EMPTY       /* first unused token, which is empty in the small section */
} bad_index;

typedef struct bad_case {
    const char *name;
    q_error_code code;
    const char *field;
    int table; /* T_HEADER: index is the byte offset in the header */
    bad_index index_of;
    uint32_t index;
    uint32_t width;  /* bytes of an element */
    uint32_t member; /* byte within the element */
    uint32_t size;   /* bytes written: 1 or 4 */
    bad_value value_of;
    uint32_t value;
    int64_t at; /* expected diag.offset; -1: where the patch is */
} bad_case;

#define HEADER(name, code, field, offset, value)                                \
    {                                                                           \
        name, code, field, T_HEADER, I_IS, offset, 1, 0, 4, V_IS, value, offset \
    }
#define HEADER_OF(name, code, field, offset, of, value)                       \
    {                                                                         \
        name, code, field, T_HEADER, I_IS, offset, 1, 0, 4, of, value, offset \
    }

static const bad_case bad_cases[] = {
    HEADER("T01_vocabulary_0", Q_ERR_CORRUPT, "n_vocab", H_VOCAB, 0),
    HEADER("T03_vocabulary_cap_plus_1", Q_ERR_LIMIT, "n_vocab", H_VOCAB, Q_TOKENIZER_MAX_VOCAB + 1),
    HEADER("T04_vocabulary_2_31_plus_1", Q_ERR_LIMIT, "n_vocab", H_VOCAB, 0x80000001u),
    HEADER("T04_vocabulary_2_32_minus_1", Q_ERR_LIMIT, "n_vocab", H_VOCAB, 0xFFFFFFFFu),
    {"T06_duplicate_id", Q_ERR_CORRUPT, "plain_ids", T_PLAIN, I_IS, 1, 4, 0, 4, V_PLUS, 0, -1},
    {"T06_byte_token_among_the_special", Q_ERR_CORRUPT, "special_ids", T_SPECIAL, I_IS, 0, 4, 0, 4,
     V_EXCLAMATION, 0, -1},
    {"T07_id_past_the_vocabulary", Q_ERR_CORRUPT, "plain_ids", T_PLAIN, I_IS, 3, 4, 0, 4, V_VOCAB,
     0, -1},
    {"T07_special_id_past_the_vocabulary", Q_ERR_CORRUPT, "special_ids", T_SPECIAL, I_IS, 0, 4, 0,
     4, V_VOCAB, 0, -1},
    {"T08_empty_normal_token", Q_ERR_CORRUPT, "token_types", T_TYPES, I_EMPTY, 0, 1, 0, 1, V_IS,
     Q_TOKEN_NORMAL, -1},
    {"T08_empty_control_token", Q_ERR_CORRUPT, "token_types", T_TYPES, I_EMPTY, 0, 1, 0, 1, V_IS,
     Q_TOKEN_CONTROL, -1},
    HEADER("T09_longest_token_cap_plus_1", Q_ERR_LIMIT, "max_token", H_MAX_TOKEN,
           Q_TOKENIZER_MAX_TOKEN + 1),
    {"T09_token_longer_than_max_token", Q_ERR_CORRUPT, "token_offsets", T_OFFSETS, I_IS, 9, 4, 0, 4,
     V_PLUS, 100, -1},
    {"T09_token_of_2_32_minus_1_bytes", Q_ERR_CORRUPT, "token_offsets", T_OFFSETS, I_IS, 9, 4, 0, 4,
     V_IS, 0xFFFFFFFFu, -1},
    {"T09_token_of_negative_length", Q_ERR_CORRUPT, "token_offsets", T_OFFSETS, I_IS, 9, 4, 0, 4,
     V_IS, 1, -1},
    HEADER_OF("T09_max_token_too_large", Q_ERR_CORRUPT, "max_token", H_MAX_TOKEN, V_PLUS, 1),
    HEADER("T09_longest_special_cap_plus_1", Q_ERR_LIMIT, "max_special", H_MAX_SPECIAL,
           Q_TOKENIZER_MAX_SPECIAL + 1),
    HEADER_OF("T09_max_special_too_large", Q_ERR_CORRUPT, "max_special", H_MAX_SPECIAL, V_PLUS, 1),
    {"T11_byte_without_its_token", Q_ERR_CORRUPT, "token_types", T_BYTES, I_IS, 'a', 4, 0, 4, V_IS,
     Q_TOKEN_NONE, -2},
    {"T12_token_for_two_bytes", Q_ERR_CORRUPT, "byte_ids", T_BYTES, I_IS, 0x04, 4, 0, 4, V_IS, 17,
     -1},
    {"T12_byte_token_past_the_vocabulary", Q_ERR_CORRUPT, "byte_ids", T_BYTES, I_IS, 0x04, 4, 0, 4,
     V_VOCAB, 0, -1},
    {"T12_normal_token_as_a_byte", Q_ERR_CORRUPT, "token_types", T_TYPES, I_NORMAL, 0, 1, 0, 1,
     V_IS, Q_TOKEN_BYTE, -1},
    {"T13_type_unknown", Q_ERR_CORRUPT, "token_types", T_TYPES, I_IS, 30, 1, 0, 1, V_IS, 5, -1},
    {"T13_type_255", Q_ERR_CORRUPT, "token_types", T_TYPES, I_IS, 0, 1, 0, 1, V_IS, 255, -1},
    {"T14_right_token_is_vocabulary", Q_ERR_CORRUPT, "merges", T_MERGES, I_IS, 7, 12, 0, 4, V_VOCAB,
     0, -1},
    {"T14_right_token_2_31", Q_ERR_CORRUPT, "merges", T_MERGES, I_IS, 7, 12, 0, 4, V_IS,
     0x80000000u, -1},
    {"T14_result_is_vocabulary", Q_ERR_CORRUPT, "merges", T_MERGES, I_IS, 7, 12, 8, 4, V_VOCAB, 0,
     -1},
    {"T15_result_absent", Q_ERR_CORRUPT, "merges", T_MERGES, I_IS, 7, 12, 8, 4, V_IS, Q_TOKEN_NONE,
     -1},
    {"T15_result_is_a_control_token", Q_ERR_CORRUPT, "merges", T_MERGES, I_IS, 7, 12, 8, 4, V_IS, 1,
     -1},
    {"T15_result_of_another_right_token", Q_ERR_CORRUPT, "merges", T_MERGES, I_SECOND, 0, 12, 8, 4,
     V_NEIGHBOUR, 0, -1},
    {"T16_result_is_its_own_left_token", Q_ERR_CORRUPT, "merges", T_MERGES, I_IS, 7, 12, 8, 4,
     V_ENTRY_LEFT, 0, -1},
    {"T17_result_closes_a_cycle", Q_ERR_CORRUPT, "merges", T_MERGES, I_COMPOSED, 0, 12, 8, 4,
     V_ENTRY_LEFT, 0, -1},
    {"T18_the_same_pair_twice", Q_ERR_CORRUPT, "merges", T_MERGES, I_SECOND, 0, 12, 0, 4, V_PLUS, 0,
     -1},
    {"T19_two_merges_of_one_rank", Q_ERR_CORRUPT, "merge_order", T_MERGES, I_IS, 3, 12, 4, 4,
     V_PLUS, 1, -1},
    {"T19_rank_is_n_merges", Q_ERR_CORRUPT, "merge_order", T_MERGES, I_IS, 3, 12, 4, 4, V_IS, 640,
     -1},
    {"T19_rank_2_32_minus_1", Q_ERR_CORRUPT, "merge_order", T_MERGES, I_IS, 3, 12, 4, 4, V_IS,
     0xFFFFFFFFu, -1},
    {"T19_order_disagrees", Q_ERR_CORRUPT, "merge_order", T_ORDER, I_IS, 5, 4, 0, 4, V_PLUS, 1, -3},
    HEADER("T20_merges_cap_plus_1", Q_ERR_LIMIT, "n_merges", H_MERGES, Q_TOKENIZER_MAX_MERGES + 1),
    HEADER("T20_merges_whose_bytes_wrap_32_bits", Q_ERR_LIMIT, "n_merges", H_MERGES, 0x15555556u),
    HEADER("T20_merges_2_32_minus_1", Q_ERR_LIMIT, "n_merges", H_MERGES, 0xFFFFFFFFu),
    {"T20_one_merge_more_than_the_table", Q_ERR_CORRUPT, "section_bytes", T_HEADER, I_IS, H_MERGES,
     1, 0, 4, V_PLUS, 64, H_SECTION},
    {"T20_merge_starts_fall", Q_ERR_CORRUPT, "merge_starts", T_STARTS, I_IS, 40, 4, 0, 4, V_IS,
     0xFFFFFFF0u, -1},
    {"T20_merge_starts_not_from_0", Q_ERR_CORRUPT, "merge_starts", T_STARTS, I_IS, 0, 4, 0, 4, V_IS,
     1, -1},
    {"T20_merge_starts_end_early", Q_ERR_CORRUPT, "merge_starts", T_STARTS, I_LAST_VOCAB, 0, 4, 0,
     4, V_PLUS, 0xFFFFFFFFu, -1},
    {"T20_merge_starts_fall_by_one", Q_ERR_CORRUPT, "merge_starts", T_STARTS, I_FALL, 0, 4, 0, 4,
     V_NEIGHBOUR, 0, -1},
    {"T21_result_goes_on_past_left_and_right", Q_ERR_CORRUPT, "merges", T_MERGES, I_LONGER, 0, 12,
     8, 4, V_LONGER, 0, -1},
    {"T21_result_longer_than_left_and_right", Q_ERR_CORRUPT, "merges", T_MERGES, I_IS, 0, 12, 8, 4,
     V_VOCAB, (uint32_t)-6, -1},
    HEADER_OF("T25_bos_is_vocabulary", Q_ERR_CORRUPT, "bos", H_BOS, V_VOCAB, 0),
    HEADER_OF("T25_eos_is_vocabulary", Q_ERR_CORRUPT, "eos", H_EOS, V_VOCAB, 0),
    HEADER_OF("T25_pad_is_vocabulary", Q_ERR_CORRUPT, "pad", H_PAD, V_VOCAB, 0),
    HEADER_OF("T25_unk_is_vocabulary", Q_ERR_CORRUPT, "unk", H_UNK, V_VOCAB, 0),
    HEADER("T25_bos_-2", Q_ERR_CORRUPT, "bos", H_BOS, 0xFFFFFFFEu),
    HEADER_OF("T25_bos_is_an_unused_token", Q_ERR_CORRUPT, "bos", H_BOS, V_VOCAB, (uint32_t)-1),
    HEADER_OF("T25_pad_is_an_unused_token", Q_ERR_CORRUPT, "pad", H_PAD, V_VOCAB, (uint32_t)-1),
    HEADER_OF("T25_unk_is_an_unused_token", Q_ERR_CORRUPT, "unk", H_UNK, V_VOCAB, (uint32_t)-1),
    HEADER_OF("T25_end_of_generation_is_vocabulary", Q_ERR_CORRUPT, "eog", H_EOG + 4, V_VOCAB, 0),
    HEADER("T25_end_of_generation_twice", Q_ERR_CORRUPT, "eog", H_EOG + 4, 0),
    HEADER("T25_word_past_the_ends_of_generation", Q_ERR_CORRUPT, "eog", H_EOG + 8, 5),
    {"T25_eos_is_no_end_of_generation", Q_ERR_CORRUPT, "eog", T_HEADER, I_IS, H_EOS, 1, 0, 4, V_IS,
     1, H_EOG},
    HEADER("T25_9_ends_of_generation", Q_ERR_LIMIT, "n_eog", H_N_EOG, 9),
    {"M06_section_magic", Q_ERR_NOT_QORUS, "magic", T_HEADER, I_IS, 0, 1, 0, 1, V_IS, 'q', 0},
    HEADER("M08_section_version_0", Q_ERR_VERSION, "version", H_VERSION, 0),
    HEADER("M09_section_version_2", Q_ERR_VERSION, "version", H_VERSION, 2),
    HEADER("M07_section_version_byte_swapped", Q_ERR_VERSION, "version", H_VERSION, 0x01000000u),
    HEADER("section_kind_0", Q_ERR_UNSUPPORTED, "kind", H_KIND, 0),
    HEADER("section_kind_3", Q_ERR_UNSUPPORTED, "kind", H_KIND, 3),
    {"section_kind_byte_with_tables", Q_ERR_CORRUPT, "section_bytes", T_HEADER, I_IS, H_KIND, 1, 0, 4, V_IS,
     1, H_SECTION},
    HEADER("section_pre-tokenizer_3", Q_ERR_UNSUPPORTED, "pre_tokenizer", H_PRE, 3),
    HEADER("section_chat_format_2", Q_ERR_UNSUPPORTED, "chat_format", H_CHAT, 2),
    {"section_system_message_without_a_chat_format", Q_ERR_CORRUPT, "system_bytes", T_HEADER, I_IS, H_CHAT,
     1, 0, 4, V_IS, 0, H_SYSTEM},
    {"section_chat_format_without_its_token", Q_ERR_CORRUPT, "chat_format", T_TYPES, I_IS, 1, 1, 0, 1, V_IS,
     Q_TOKEN_USER, H_CHAT},
    {"section_system_message_with_a_NUL", Q_ERR_CORRUPT, "system_text", T_SYSTEM, I_IS, 5, 1, 0, 1, V_IS, 0,
     -1},
    {"section_system_message_not_UTF-8", Q_ERR_CORRUPT, "system_text", T_SYSTEM, I_IS, 0, 1, 0, 1, V_IS,
     0xFF, -1},
    HEADER("section_system_message_cap_plus_1", Q_ERR_LIMIT, "system_bytes", H_SYSTEM,
           Q_TOKENIZER_MAX_SYSTEM + 1),
    HEADER("A06_section_flag_unknown", Q_ERR_UNSUPPORTED, "flags", H_FLAGS, 8),
    HEADER_OF("section_cap_plus_1", Q_ERR_LIMIT, "section_bytes", H_SECTION, V_IS,
              Q_TOKENIZER_MAX_SECTION + 1),
    HEADER_OF("section_64_bytes_more", Q_ERR_CORRUPT, "section_bytes", H_SECTION, V_PLUS, 64),
    HEADER_OF("section_1_byte_less", Q_ERR_CORRUPT, "section_bytes", H_SECTION, V_PLUS,
              0xFFFFFFFFu),
    {"section_text_2_32_minus_1_bytes", Q_ERR_CORRUPT, "section_bytes", T_HEADER, I_IS, H_TEXT, 1, 0, 4, V_IS,
     0xFFFFFFFFu, H_SECTION},
    {"section_plain_tokens_2_32_minus_1", Q_ERR_CORRUPT, "section_bytes", T_HEADER, I_IS, H_PLAIN, 1, 0, 4,
     V_IS, 0xFFFFFFFFu, H_SECTION},
    {"section_plain_tokens_one_more", Q_ERR_CORRUPT, "n_plain", T_HEADER, I_IS, H_PLAIN, 1, 0, 4, V_PLUS, 1,
     H_PLAIN},
    {"section_special_tokens_one_more", Q_ERR_CORRUPT, "n_special", T_HEADER, I_IS, H_SPECIAL, 1, 0, 4,
     V_PLUS, 1, H_SPECIAL},
    HEADER("M10_section_reserved_word", Q_ERR_CORRUPT, "reserved", H_RESERVED + 8, 1),
    {"M35_section_padding", Q_ERR_CORRUPT, "padding", T_TEXT, I_IS, 0xFFFFFFFFu, 1, 0, 1, V_IS, 1,
     -1}};

#endif /* QORUS_TEST_TOKENIZER_BAD_CASES_H */
