/* SPDX-License-Identifier: MIT */
/*
 * bad_cases.c: the table of bad .qorus files. Identifiers name entries of the catalogue of bad
 * inputs: M and A rows, public exploits of other loaders by their CVE, GR for the graph section,
 * which only this format has. Decoder cases are written against vectors/files/decoder.qorus, graph
 * cases against mlp.qorus, wide ones against graph.qorus.
 */
#include "bad_files.h"

/* clang-format off */
#define AT_FILE(at) {BAD_FILE, 0, (at), NULL}
#define AT_HEADER(member) {BAD_FILE, 0, offsetof(q_file_header, member), NULL}
#define AT_SECTION(i, member) {BAD_SECTION, Q_SECTION_##i, offsetof(q_file_section, member), NULL}
#define AT_BODY(i, at) {BAD_BODY, Q_SECTION_##i, (at), NULL}
#define AT_ARCH(member) {BAD_BODY, Q_SECTION_ARCH, offsetof(q_file_arch, member), NULL}
#define AT_HEAD(member) {BAD_BODY, Q_SECTION_GRAPH, offsetof(q_file_graph, member), NULL}
#define AT_RECORD(i, member) {BAD_RECORD, (i), offsetof(q_file_tensor_record, member), NULL}
#define AT_TENSOR(name, member) {BAD_RECORD, 0, offsetof(q_file_tensor_record, member), name}
#define AT_TEXT(name, at) {BAD_TEXT, 0, (at), name}
#define AT_SORTED(name) {BAD_SORTED, 0, 0, name}
#define AT_INPUT(i, member) {BAD_INPUT, (i), offsetof(q_file_graph_input, member), NULL}
#define AT_NODE(i, member) {BAD_NODE, (i), offsetof(q_file_graph_node, member), NULL}
#define AT_OUTPUT(i, member) {BAD_OUTPUT, (i), offsetof(q_file_graph_output, member), NULL}
#define AT_INPUT_TEXT(i, at) {BAD_INPUT_TEXT, (i), (at), NULL}
#define AT_OUTPUT_TEXT(i, at) {BAD_OUTPUT_TEXT, (i), (at), NULL}
#define AT_NODE_TEXT(i, at) {BAD_NODE_TEXT, (i), (at), NULL}
#define AT_PADDING(i) {BAD_PADDING, Q_SECTION_##i, 0, NULL}
#define AT_BYTES(i, at) {BAD_DATA, (i), (at), NULL}
#define AT_DATA(name, at) {BAD_DATA, 0, (at), name}
#define AT_DATA_END(name) {BAD_DATA_END, 0, 0, name}
#define AT_EDGE(i) {BAD_EDGE, (i), 0, NULL}
#define AT_PARAM(i) {BAD_PARAM, (i), 0, NULL}

#define SET(where, width, value) {where, BAD_SET, width, value}
#define ADD(where, width, value) {where, BAD_ADD, width, value}
#define XOR(where, width, value) {where, BAD_XOR, width, value}

#define NO_EDIT {HERE, BAD_NO_EDIT, 0, 0}
#define EDIT1(a) {a}
#define EDIT2(a, b) {a, b}
#define EDIT3(a, b, c) {a, b, c}
#define EDIT4(a, b, c, d) {a, b, c, d}
#define EDIT5(a, b, c, d, e) {a, b, c, d, e}
#define HERE {BAD_NOWHERE, 0, 0, NULL}

/* One defect in any file, in a decoder, in a graph; reported where it is. */
#define ANY(id, edits, code, what, field) \
    {id, BAD_ANY, BAD_OPEN, edits, 0, NULL, false, code, what, field, HERE}
#define DEC(id, edits, code, what, field) \
    {id, BAD_DECODER, BAD_OPEN, edits, 0, NULL, false, code, what, field, HERE}
#define GRA(id, edits, code, what, field) \
    {id, BAD_GRAPH, BAD_OPEN, edits, 0, NULL, false, code, what, field, HERE}
/* The same, reported somewhere else. */
#define ANY_AT(id, edits, code, what, field, where) \
    {id, BAD_ANY, BAD_OPEN, edits, 0, NULL, false, code, what, field, where}
#define DEC_AT(id, edits, code, what, field, where) \
    {id, BAD_DECODER, BAD_OPEN, edits, 0, NULL, false, code, what, field, where}
#define GRA_AT(id, edits, code, what, field, where) \
    {id, BAD_GRAPH, BAD_OPEN, edits, 0, NULL, false, code, what, field, where}
#define WIDE(id, edits, code, what, field, where) \
    {id, BAD_WIDE, BAD_OPEN, edits, 0, NULL, false, code, what, field, where}
/* Another size than the file's. */
#define SIZED(id, grow, code, field, where) \
    {id, BAD_ANY, BAD_OPEN, EDIT1(NO_EDIT), grow, NULL, true, code, "header", field, where}
/* Accepted by q_file_open, judged by q_file_verify. */
#define VERIFY(id, twin, check, edits, rehash, keep, code, what, field, where) \
    {id, twin, check, edits, 0, rehash, keep, code, what, field, where}

#define MINUS_ONE_F 0xbf800000u
#define NAN_F 0x7fc00000u
#define INF_F 0x7f800000u
#define MINUS_ONE_D 0xbff0000000000000u
#define HALF_D 0x3fe0000000000000u
#define ONE_D 0x3ff0000000000000u
#define NAN_D 0x7ff8000000000000u
#define INF_D 0x7ff0000000000000u
#define D_1E308 0x7fe1ccf385ebc8a0u

/* 2^62 + 1 = 242243305 * 49477 * 384773: rows whose F32 bytes are 2^64 + 4. */
#define WRAP_A 242243305u
#define WRAP_B 49477u
#define WRAP_C 384773u

const bad_case bad_cases[] = {
    /* ---- The file as a whole ---- */
    SIZED("M01_empty", INT64_MIN, Q_ERR_TRUNCATED, "size", AT_FILE(0)),
    SIZED("M02_one_byte", INT64_MIN + 1, Q_ERR_TRUNCATED, "size", AT_FILE(0)),
    SIZED("M03_header_less_one_byte", INT64_MIN + 255, Q_ERR_TRUNCATED, "size", AT_FILE(0)),
    SIZED("M04_cut_one_byte", -1, Q_ERR_TRUNCATED, "file_size", AT_HEADER(file_size)),
    SIZED("M05_one_byte_appended", 1, Q_ERR_CORRUPT, "file_size", AT_HEADER(file_size)),
    SIZED("SAFETENSORS_trailing_block", 64, Q_ERR_CORRUPT, "file_size", AT_HEADER(file_size)),
    ANY("M06_wrong_magic", EDIT1(XOR(AT_HEADER(magic), 1, 1)), Q_ERR_NOT_QORUS, "header", "magic"),
    ANY("M07_magic_swapped", EDIT1(SET(AT_HEADER(magic), 8, 0x514f5255531a0d0au)), Q_ERR_NOT_QORUS, "header",
        "magic"),
    ANY("M08_version_0", EDIT1(SET(AT_HEADER(version), 4, 0)), Q_ERR_VERSION, "header", "version"),
    ANY("M09_version_next", EDIT1(SET(AT_HEADER(version), 4, 4)), Q_ERR_VERSION, "header", "version"),
    ANY("M09_version_swapped", EDIT1(SET(AT_HEADER(version), 4, 0x03000000u)), Q_ERR_VERSION, "header", "version"),
    ANY("M10_header_flags", EDIT1(SET(AT_HEADER(flags), 4, 1)), Q_ERR_UNSUPPORTED, "header", "flags"),
    ANY("M10_section_reserved", EDIT1(SET(AT_SECTION(META, reserved), 4, 1)), Q_ERR_CORRUPT, "meta", "reserved"),
    ANY("M10_record_reserved", EDIT1(SET(AT_RECORD(1, reserved), 1, 1)), Q_ERR_CORRUPT, NULL, "reserved"),
    DEC("M10_arch_reserved", EDIT1(SET(AT_ARCH(reserved), 1, 128)), Q_ERR_CORRUPT, "arch", "reserved"),
    ANY("M11_header_size_0", EDIT1(SET(AT_HEADER(header_size), 4, 0)), Q_ERR_CORRUPT, "header", "header_size"),
    ANY("M11_header_size_small", EDIT1(SET(AT_HEADER(header_size), 4, 255)), Q_ERR_CORRUPT, "header",
        "header_size"),
    ANY("M11_header_size_huge", EDIT1(SET(AT_HEADER(header_size), 4, UINT32_MAX)), Q_ERR_CORRUPT, "header",
        "header_size"),
    ANY("M11_n_sections_7", EDIT1(SET(AT_HEADER(n_sections), 4, 7)), Q_ERR_CORRUPT, "header", "n_sections"),
    ANY("M12_table_in_header", EDIT1(SET(AT_SECTION(TENSORS, offset), 8, 64)), Q_ERR_CORRUPT, "tensors", "offset"),
    ANY("M13_table_offset_wraps", EDIT1(SET(AT_SECTION(NAMES, offset), 8, UINT64_MAX - 7)), Q_ERR_CORRUPT, "names",
        "offset"),
    ANY("M13_table_off_by_64", EDIT1(ADD(AT_SECTION(STRINGS, offset), 8, 64)), Q_ERR_CORRUPT, "strings", "offset"),

    /* ---- Counts ---- */
    ANY_AT("M14_n_tensors_0", EDIT1(SET(AT_SECTION(TENSORS, count), 4, 0)), Q_ERR_CORRUPT, "tensors", "size",
           AT_SECTION(TENSORS, size)),
    ANY("M15_n_tensors_over_cap", EDIT1(SET(AT_SECTION(TENSORS, count), 4, Q_CAP_TENSORS + 1)), Q_ERR_LIMIT,
        "tensors", "count"),
    ANY("M16_table_size_2_61", EDIT1(SET(AT_SECTION(TENSORS, size), 8, (uint64_t)1 << 61)), Q_ERR_CORRUPT,
        "tensors", "size"),
    ANY("M17_table_size_max", EDIT1(SET(AT_SECTION(NAMES, size), 8, UINT64_MAX)), Q_ERR_CORRUPT, "names", "size"),
    ANY("M18_count_times_record_wraps", EDIT1(ADD(AT_SECTION(TENSORS, count), 4, 1u << 25)), Q_ERR_LIMIT,
        "tensors", "count"),
    ANY("M17_n_tensors_max", EDIT1(SET(AT_SECTION(TENSORS, count), 4, UINT32_MAX)), Q_ERR_LIMIT, "tensors",
        "count"),
    ANY("M18_names_count_differs", EDIT1(ADD(AT_SECTION(NAMES, count), 4, 1u << 30)), Q_ERR_LIMIT, "names",
        "count"),
    ANY("CVE_2024_23605_count_of_bytes", EDIT1(SET(AT_SECTION(META, count), 4, 1)), Q_ERR_CORRUPT, "meta",
        "count"),
    ANY("M15_strings_over_cap", EDIT1(SET(AT_SECTION(STRINGS, size), 8, Q_CAP_STRINGS + 1)), Q_ERR_LIMIT,
        "strings", "size"),
    ANY("M15_tokenizer_over_cap", EDIT1(SET(AT_SECTION(TOKENIZER, size), 8, Q_CAP_TOKENIZER + 1)), Q_ERR_LIMIT,
        "tokenizer", "size"),
    ANY("M15_meta_over_cap", EDIT1(SET(AT_SECTION(META, size), 8, Q_CAP_META + 1)), Q_ERR_LIMIT, "meta", "size"),
    ANY("M39_data_size_wraps", EDIT1(SET(AT_SECTION(DATA, size), 8, UINT64_MAX - 3)), Q_ERR_CORRUPT, "data",
        "size"),
    ANY("M29_data_past_the_file", EDIT1(ADD(AT_SECTION(DATA, size), 8, 64)), Q_ERR_CORRUPT, "data", "size"),
    GRA("M29_data_size_not_its_tensors", EDIT1(ADD(AT_SECTION(DATA, size), 8, 4)), Q_ERR_CORRUPT, "data", "size"),
    ANY("M18_one_name_more", EDIT2(ADD(AT_SECTION(NAMES, count), 4, 1), ADD(AT_SECTION(NAMES, size), 8, 4)),
        Q_ERR_CORRUPT, "names", "count"),
    ANY_AT("M29_data_size_less_64", EDIT1(ADD(AT_SECTION(DATA, size), 8, (uint64_t)0 - 64)), Q_ERR_CORRUPT,
           "header", "file_size", AT_HEADER(file_size)),

    /* ---- Tensor records ---- */
    ANY("M19_n_dims_0", EDIT1(SET(AT_RECORD(1, n_dims), 4, 0)), Q_ERR_CORRUPT, NULL, "n_dims"),
    ANY("M20_n_dims_5", EDIT1(SET(AT_RECORD(1, n_dims), 4, 5)), Q_ERR_CORRUPT, NULL, "n_dims"),
    ANY("CVE_2024_21802_n_dims_255", EDIT1(SET(AT_RECORD(1, n_dims), 4, 255)), Q_ERR_CORRUPT, NULL, "n_dims"),
    ANY("CVE_2024_21802_n_dims_max", EDIT1(SET(AT_RECORD(0, n_dims), 4, UINT32_MAX)), Q_ERR_CORRUPT, NULL,
        "n_dims"),
    ANY("M21_dim_0_of_batch", EDIT1(SET(AT_RECORD(1, ne[0]), 8, 0)), Q_ERR_CORRUPT, NULL, "ne[0]"),
    ANY("M21_dim_0_of_head", EDIT1(SET(AT_RECORD(1, ne[1]), 8, 0)), Q_ERR_CORRUPT, NULL, "ne[1]"),
    ANY("GHSA_3p75_dim_0_of_row", EDIT1(SET(AT_RECORD(0, ne[2]), 8, 0)), Q_ERR_CORRUPT, NULL, "ne[2]"),
    ANY("GHSA_3p75_dim_0_of_column", EDIT1(SET(AT_RECORD(0, ne[3]), 8, 0)), Q_ERR_CORRUPT, NULL, "ne[3]"),
    ANY("M21_unused_dim_2", EDIT1(SET(AT_RECORD(1, ne[0]), 8, 2)), Q_ERR_CORRUPT, NULL, "ne[0]"),
    ANY("M22_dim_2_63", EDIT1(SET(AT_RECORD(1, ne[3]), 8, (uint64_t)1 << 63)), Q_ERR_LIMIT, NULL, "ne[3]"),
    ANY("M23_dim_2_63_less_1", EDIT1(SET(AT_RECORD(0, ne[2]), 8, INT64_MAX)), Q_ERR_LIMIT, NULL, "ne[2]"),
    ANY("CVE_2026_53923_dim_2_32", EDIT1(SET(AT_RECORD(1, ne[3]), 8, (uint64_t)1 << 32)), Q_ERR_LIMIT, NULL,
        "ne[3]"),
    ANY("CVE_2026_53923_dim_2_32_and_1", EDIT1(ADD(AT_RECORD(1, ne[3]), 8, (uint64_t)1 << 32)), Q_ERR_LIMIT, NULL,
        "ne[3]"),
    ANY_AT("M24_product_2_64_and_4",
           EDIT5(SET(AT_RECORD(1, n_dims), 4, 4), SET(AT_RECORD(1, ne[0]), 8, WRAP_A),
                 SET(AT_RECORD(1, ne[1]), 8, WRAP_B), SET(AT_RECORD(1, ne[2]), 8, WRAP_C),
                 SET(AT_RECORD(1, ne[3]), 8, 4)),
           Q_ERR_CORRUPT, NULL, "ne", AT_RECORD(1, ne)),
    ANY_AT("CVE_2026_33298_bytes_2_64_and_4",
           EDIT5(SET(AT_RECORD(1, n_dims), 4, 4), SET(AT_RECORD(1, ne[0]), 8, WRAP_A),
                 SET(AT_RECORD(1, ne[1]), 8, WRAP_B), SET(AT_RECORD(1, ne[2]), 8, WRAP_C),
                 SET(AT_RECORD(1, ne[3]), 8, 1)),
           Q_ERR_CORRUPT, NULL, "ne", AT_RECORD(1, ne)),
    ANY_AT("M25_bytes_wrap_to_0",
           EDIT5(SET(AT_RECORD(1, n_dims), 4, 4), SET(AT_RECORD(1, ne[0]), 8, 1u << 31),
                 SET(AT_RECORD(1, ne[1]), 8, 1u << 31), SET(AT_RECORD(1, ne[3]), 8, 1),
                 SET(AT_RECORD(1, size), 8, 0)),
           Q_ERR_CORRUPT, NULL, "ne", AT_RECORD(1, ne)),
    ANY_AT("LLAMACPP_27203_rows_wrap",
           EDIT5(SET(AT_RECORD(1, n_dims), 4, 4), SET(AT_RECORD(1, ne[0]), 8, UINT32_MAX),
                 SET(AT_RECORD(1, ne[1]), 8, UINT32_MAX), SET(AT_RECORD(1, ne[2]), 8, UINT32_MAX),
                 SET(AT_RECORD(1, ne[3]), 8, 1)),
           Q_ERR_CORRUPT, NULL, "ne", AT_RECORD(1, ne)),
    ANY_AT("CVE_2025_53630_sum_of_sizes_wraps",
           EDIT5(SET(AT_RECORD(1, n_dims), 4, 4), SET(AT_RECORD(1, ne[0]), 8, 1u << 31),
                 SET(AT_RECORD(1, ne[1]), 8, 1u << 30), SET(AT_RECORD(1, ne[3]), 8, 1),
                 SET(AT_RECORD(1, size), 8, (uint64_t)1 << 63)),
           Q_ERR_CORRUPT, NULL, "size", AT_RECORD(1, size)),
    DEC("M26_row_no_multiple_of_32", EDIT1(ADD(AT_TENSOR("embed", ne[3]), 8, 1)), Q_ERR_CORRUPT, "embed", "ne[3]"),
    ANY("M27_dtype_f64", EDIT1(SET(AT_RECORD(1, dtype), 1, Q_F64)), Q_ERR_UNSUPPORTED, NULL, "dtype"),
    ANY("M27_dtype_a8", EDIT1(SET(AT_RECORD(1, dtype), 1, Q_A8)), Q_ERR_UNSUPPORTED, NULL, "dtype"),
    ANY("M27_dtype_unknown", EDIT1(SET(AT_RECORD(1, dtype), 1, Q_DTYPE_COUNT)), Q_ERR_UNSUPPORTED, NULL, "dtype"),
    ANY("M27_dtype_255", EDIT1(SET(AT_RECORD(1, dtype), 1, 255)), Q_ERR_UNSUPPORTED, NULL, "dtype"),
    ANY("M27_layout_unknown", EDIT1(SET(AT_RECORD(0, layout), 1, 2)), Q_ERR_UNSUPPORTED, NULL, "layout"),
    ANY("M27_flags_unknown", EDIT1(SET(AT_RECORD(0, flags), 4, 2)), Q_ERR_UNSUPPORTED, NULL, "flags"),
    ANY("CVE_2021_37682_vector_in_panels", EDIT1(SET(AT_RECORD(1, layout), 1, Q_PANEL16)), Q_ERR_CORRUPT, NULL,
        "layout"),
    ANY_AT("LLAMACPP_26690_f16_for_f32", EDIT1(SET(AT_RECORD(1, dtype), 1, Q_F16)), Q_ERR_CORRUPT, NULL, "size",
           AT_RECORD(1, size)),
    ANY_AT("LLAMACPP_26690_bf16_for_f32", EDIT1(SET(AT_RECORD(1, dtype), 1, Q_BF16)), Q_ERR_CORRUPT, NULL, "size",
           AT_RECORD(1, size)),
    DEC_AT("LLAMACPP_26690_q4_0_for_q8_0", EDIT1(SET(AT_TENSOR("embed", dtype), 1, Q_Q4_0)), Q_ERR_CORRUPT,
           "embed", "size", AT_TENSOR("embed", size)),
    DEC_AT("LLAMACPP_26690_q4_1_for_q8_0", EDIT1(SET(AT_TENSOR("embed", dtype), 1, Q_Q4_1)), Q_ERR_CORRUPT,
           "embed", "size", AT_TENSOR("embed", size)),
    DEC_AT("LLAMACPP_26690_i32_in_panels", EDIT1(SET(AT_TENSOR("embed", dtype), 1, Q_I32)), Q_ERR_CORRUPT, "embed",
           "layout", AT_TENSOR("embed", layout)),
    ANY("M28_offset_off_by_1", EDIT1(ADD(AT_RECORD(1, offset), 8, 1)), Q_ERR_CORRUPT, NULL, "offset"),
    GRA_AT("CVE_2026_7482_end_past_file",
           EDIT2(SET(AT_TENSOR("fc1.bias", ne[3]), 8, 17), SET(AT_TENSOR("fc1.bias", size), 8, 68)), Q_ERR_CORRUPT,
           "fc1.bias", "size", AT_TENSOR("fc1.bias", size)),
    ANY("M30_offset_wraps", EDIT1(SET(AT_RECORD(1, offset), 8, UINT64_MAX - 15)), Q_ERR_CORRUPT, NULL, "offset"),
    ANY("M31_overlap_by_1", EDIT1(ADD(AT_RECORD(1, offset), 8, UINT64_MAX)), Q_ERR_CORRUPT, NULL, "offset"),
    ANY("M32_overlap_by_64", EDIT1(ADD(AT_RECORD(1, offset), 8, (uint64_t)0 - 64)), Q_ERR_CORRUPT, NULL, "offset"),
    ANY("M33_tensor_over_header", EDIT1(SET(AT_RECORD(0, offset), 8, 0)), Q_ERR_CORRUPT, NULL, "offset"),
    ANY("M33_tensor_over_table", EDIT1(SET(AT_RECORD(0, offset), 8, 256)), Q_ERR_CORRUPT, NULL, "offset"),
    ANY("M34_gap", EDIT1(ADD(AT_RECORD(1, offset), 8, 64)), Q_ERR_CORRUPT, NULL, "offset"),
    ANY("M35_padding_of_tables", EDIT1(SET(AT_PADDING(NAMES), 1, 1)), Q_ERR_CORRUPT,
        "names", "padding"),
    ANY("M37_size_0", EDIT1(SET(AT_RECORD(1, size), 8, 0)), Q_ERR_CORRUPT, NULL, "size"),
    ANY("M39_size_wraps", EDIT1(SET(AT_RECORD(1, size), 8, UINT64_MAX - 3)), Q_ERR_CORRUPT, NULL, "size"),

    /* ---- Names ---- */
    ANY("M40_name_empty", EDIT1(SET(AT_RECORD(1, name_length), 2, 0)), Q_ERR_CORRUPT, "tensors", "name_length"),
    ANY("M41_name_over_cap", EDIT1(SET(AT_RECORD(1, name_length), 2, 128)), Q_ERR_LIMIT, "tensors",
        "name_length"),
    ANY("CVE_2024_23496_name_length_max", EDIT1(SET(AT_RECORD(1, name_length), 2, 65535)), Q_ERR_LIMIT, "tensors",
        "name_length"),
    DEC("CVE_2024_23496_past_strings", EDIT1(SET(AT_TENSOR("output", name_length), 2, 7)), Q_ERR_CORRUPT,
        "tensors", "name_length"),
    DEC_AT("M42_no_terminator", EDIT1(ADD(AT_TENSOR("layers.0.attn_norm", name_length), 2, (uint64_t)0 - 1)),
           Q_ERR_CORRUPT, "tensors", "name terminator", AT_TEXT("layers.0.attn_norm", 17)),
    GRA_AT("M42_no_terminator", EDIT1(ADD(AT_TENSOR("fc0.bias", name_length), 2, (uint64_t)0 - 1)), Q_ERR_CORRUPT,
           "tensors", "name terminator", AT_TEXT("fc0.bias", 7)),
    GRA("M42_terminator_overwritten", EDIT1(SET(AT_TEXT("fc0.bias", 8), 1, 'x')), Q_ERR_CORRUPT, "tensors",
        "name terminator"),
    DEC("M43_nul_in_name", EDIT1(SET(AT_TEXT("layers.0.attn_norm", 8), 1, 0)), Q_ERR_CORRUPT, "tensors", "name"),
    DEC("M43_control_in_name", EDIT1(SET(AT_TEXT("layers.0.attn_norm", 8), 1, 27)), Q_ERR_CORRUPT, "tensors",
        "name"),
    DEC("M44_name_not_utf8", EDIT1(SET(AT_TEXT("layers.0.attn_norm", 3), 1, 0xff)), Q_ERR_CORRUPT, "tensors",
        "name"),
    DEC("M44_name_overlong", EDIT1(SET(AT_TEXT("layers.0.attn_norm", 3), 2, 0x80c0)), Q_ERR_CORRUPT, "tensors",
        "name"),
    DEC("M44_name_surrogate", EDIT1(SET(AT_TEXT("layers.0.attn_norm", 3), 4, 0x6180a0edu)), Q_ERR_CORRUPT,
        "tensors", "name"),
    DEC("M44_name_above_unicode", EDIT1(SET(AT_TEXT("layers.0.attn_norm", 3), 4, 0x808090f5u)), Q_ERR_CORRUPT,
        "tensors", "name"),
    DEC("M44_name_code_point_110000", EDIT1(SET(AT_TEXT("layers.0.attn_norm", 3), 4, 0x808090f4u)), Q_ERR_CORRUPT,
        "tensors", "name"),
    DEC("M44_name_overlong_3", EDIT1(SET(AT_TEXT("layers.0.attn_norm", 3), 4, 0x618080e0u)), Q_ERR_CORRUPT,
        "tensors", "name"),
    DEC("M44_name_overlong_4", EDIT1(SET(AT_TEXT("layers.0.attn_norm", 3), 4, 0x808080f0u)), Q_ERR_CORRUPT,
        "tensors", "name"),
    DEC("M44_name_cut_sequence", EDIT1(SET(AT_TEXT("embed", 4), 1, 0xc3)), Q_ERR_CORRUPT, "tensors", "name"),
    GRA_AT("M45_name_twice",
           EDIT3(SET(AT_TEXT("fc1.bias", 2), 1, '0'), SET(AT_SORTED("fc0.weight"), 4, 3),
                 SET(AT_SORTED("fc1.bias"), 4, 0)),
           Q_ERR_CORRUPT, "fc0.bias", "name order", AT_SORTED("fc0.weight")),
    ANY("M46_name_outside_strings", EDIT1(SET(AT_RECORD(1, name_offset), 4, 0xfffffff0u)), Q_ERR_CORRUPT,
        "tensors", "name_offset"),
    ANY("M46_name_shared", EDIT1(SET(AT_RECORD(1, name_offset), 4, 0)), Q_ERR_CORRUPT, "tensors", "name_offset"),
    GRA("M36_names_index_outside", EDIT1(SET(AT_SORTED("fc0.weight"), 4, 4)), Q_ERR_CORRUPT, "names", "index"),
    GRA_AT("M36_names_unsorted",
           EDIT2(SET(AT_SORTED("fc0.bias"), 4, 0), SET(AT_SORTED("fc0.weight"), 4, 1)), Q_ERR_CORRUPT, "fc0.bias",
           "name order", AT_SORTED("fc0.weight")),
    GRA("M36_names_index_twice", EDIT1(SET(AT_SORTED("fc0.weight"), 4, 1)), Q_ERR_CORRUPT, "fc0.bias",
        "name order"),
    ANY("M46_strings_left_over", EDIT1(ADD(AT_SECTION(STRINGS, size), 8, 1)), Q_ERR_CORRUPT, "strings", "size"),
    ANY("M44_meta_not_utf8", EDIT1(SET(AT_BODY(META, 0), 1, 0xfe)), Q_ERR_CORRUPT, "meta", "text"),
    ANY("M43_meta_control", EDIT1(SET(AT_BODY(META, 2), 1, 7)), Q_ERR_CORRUPT, "meta", "text"),

    /* ---- Architecture: its tensors ---- */
    DEC_AT("M47_tensor_missing", EDIT1(SET(AT_TEXT("layers.0.k", 9), 1, 'j')), Q_ERR_CORRUPT, "layers.0.k",
           "missing", AT_BODY(TENSORS, 0)),
    DEC_AT("M47_norm_missing", EDIT1(SET(AT_TEXT("norm", 3), 1, 'y')), Q_ERR_CORRUPT, "norm", "missing",
           AT_BODY(TENSORS, 0)),
    DEC_AT("M47_embed_missing", EDIT1(SET(AT_TEXT("embed", 4), 1, 'c')), Q_ERR_CORRUPT, "embed", "missing",
           AT_BODY(TENSORS, 0)),
    DEC_AT("M47_output_missing", EDIT1(SET(AT_TEXT("output", 5), 1, 'u')), Q_ERR_CORRUPT, "output", "missing",
           AT_BODY(TENSORS, 0)),
    DEC_AT("M48_tensors_of_a_layer_more",
           EDIT4(SET(AT_ARCH(n_layers), 4, 2), SET(AT_SECTION(ARCH, count), 4, 2),
                 SET(AT_SECTION(ARCH, size), 8, 258), SET(AT_BODY(ARCH, 258), 1, 0)),
           Q_ERR_CORRUPT, "layers.2.attn_norm", "not wanted", AT_TENSOR("layers.2.attn_norm", name_offset)),
    DEC_AT("M48_bias_not_wanted", EDIT1(XOR(AT_ARCH(flags), 4, Q_ARCH_QKV_BIAS)), Q_ERR_CORRUPT,
           "layers.0.q_bias", "not wanted", AT_TENSOR("layers.0.q_bias", name_offset)),
    DEC_AT("M49_shape_transposed",
           EDIT2(SET(AT_TENSOR("layers.0.down", ne[2]), 8, 48), SET(AT_TENSOR("layers.0.down", ne[3]), 8, 32)),
           Q_ERR_CORRUPT, "layers.0.down", "ne[2]", AT_TENSOR("layers.0.down", ne[2])),
    DEC_AT("M50_rows_not_vocabulary", EDIT1(ADD(AT_ARCH(n_vocab), 4, 1)), Q_ERR_CORRUPT, "embed", "ne[2]",
           AT_TENSOR("embed", ne[2])),
    DEC_AT("M51_tied_with_output", EDIT1(XOR(AT_ARCH(flags), 4, Q_ARCH_TIED)), Q_ERR_CORRUPT, "output",
           "not wanted", AT_TENSOR("output", name_offset)),
    DEC("M49_bias_as_i32", EDIT1(SET(AT_TENSOR("layers.0.q_bias", dtype), 1, Q_I32)), Q_ERR_CORRUPT,
        "layers.0.q_bias", "dtype"),
    DEC("M49_matrix_plain", EDIT1(SET(AT_TENSOR("layers.0.q", layout), 1, Q_PLAIN)), Q_ERR_CORRUPT, "layers.0.q",
        "layout"),
    DEC("M49_vector_as_matrix", EDIT1(SET(AT_TENSOR("layers.0.attn_norm", n_dims), 4, 2)), Q_ERR_CORRUPT,
        "layers.0.attn_norm", "n_dims"),

    /* ---- Architecture: its numbers ---- */
    DEC("M52_n_layers_0", EDIT1(SET(AT_ARCH(n_layers), 4, 0)), Q_ERR_CORRUPT, "arch", "n_layers"),
    DEC("M52_n_layers_513", EDIT1(SET(AT_ARCH(n_layers), 4, 513)), Q_ERR_CORRUPT, "arch", "n_layers"),
    DEC("LLAMACPP_25821_n_layers_over_cap", EDIT1(SET(AT_ARCH(n_layers), 4, Q_CAP_LAYERS + 1)), Q_ERR_LIMIT,
        "arch", "n_layers"),
    DEC("M52_section_layers_over_cap", EDIT1(SET(AT_SECTION(ARCH, count), 4, Q_CAP_LAYERS + 1)), Q_ERR_LIMIT,
        "arch", "count"),
    DEC("LLAMACPP_25821_d_model_over_cap", EDIT1(SET(AT_ARCH(d_model), 4, Q_CAP_WIDTH + 1)), Q_ERR_LIMIT, "arch",
        "d_model"),
    DEC("LLAMACPP_25821_d_ffn_max", EDIT1(SET(AT_ARCH(d_ffn), 4, UINT32_MAX)), Q_ERR_LIMIT, "arch", "d_ffn"),
    DEC("LLAMACPP_25821_vocab_over_cap", EDIT1(SET(AT_ARCH(n_vocab), 4, Q_CAP_VOCAB + 1)), Q_ERR_LIMIT, "arch",
        "n_vocab"),
    DEC("M52_d_model_0", EDIT1(SET(AT_ARCH(d_model), 4, 0)), Q_ERR_CORRUPT, "arch", "d_model"),
    DEC("CVE_2021_29602_d_ffn_0", EDIT1(SET(AT_ARCH(d_ffn), 4, 0)), Q_ERR_CORRUPT, "arch", "d_ffn"),
    DEC("M50_vocab_0", EDIT1(SET(AT_ARCH(n_vocab), 4, 0)), Q_ERR_CORRUPT, "arch", "n_vocab"),
    DEC("M53_n_heads_0", EDIT1(SET(AT_ARCH(n_heads), 4, 0)), Q_ERR_CORRUPT, "arch", "n_heads"),
    DEC("M53_n_heads_over_cap", EDIT1(SET(AT_ARCH(n_heads), 4, Q_CAP_HEADS + 1)), Q_ERR_LIMIT, "arch", "n_heads"),
    DEC("M54_n_kv_heads_0", EDIT1(SET(AT_ARCH(n_kv_heads), 4, 0)), Q_ERR_CORRUPT, "arch", "n_kv_heads"),
    DEC("M55_n_kv_heads_above_heads", EDIT1(SET(AT_ARCH(n_kv_heads), 4, 8)), Q_ERR_CORRUPT, "arch", "n_kv_heads"),
    DEC("M56_n_kv_heads_not_dividing", EDIT1(SET(AT_ARCH(n_kv_heads), 4, 3)), Q_ERR_CORRUPT, "arch",
        "n_kv_heads"),
    DEC("M57_head_dim_odd", EDIT1(SET(AT_ARCH(head_dim), 4, 9)), Q_ERR_CORRUPT, "arch", "head_dim"),
    DEC("M57_head_dim_0", EDIT1(SET(AT_ARCH(head_dim), 4, 0)), Q_ERR_CORRUPT, "arch", "head_dim"),
    DEC("M73_head_dim_over_cap", EDIT1(SET(AT_ARCH(head_dim), 4, 1u << 31)), Q_ERR_LIMIT, "arch", "head_dim"),
    DEC_AT("M58_heads_do_not_fit_q", EDIT1(SET(AT_ARCH(n_heads), 4, 2)), Q_ERR_CORRUPT, "layers.0.q", "ne[2]",
           AT_TENSOR("layers.0.q", ne[2])),
    DEC_AT("M58_d_model_does_not_fit_embed", EDIT1(SET(AT_ARCH(d_model), 4, 64)), Q_ERR_CORRUPT, "embed", "ne[3]",
           AT_TENSOR("embed", ne[3])),
    DEC("M59_rope_dims_above_head", EDIT1(SET(AT_ARCH(rope_dims), 4, 10)), Q_ERR_CORRUPT, "arch", "rope_dims"),
    DEC("M59_rope_dims_odd", EDIT1(SET(AT_ARCH(rope_dims), 4, 3)), Q_ERR_CORRUPT, "arch", "rope_dims"),
    DEC("M59_rope_dims_0", EDIT1(SET(AT_ARCH(rope_dims), 4, 0)), Q_ERR_CORRUPT, "arch", "rope_dims"),
    DEC("M60_context_0", EDIT1(SET(AT_ARCH(n_context), 4, 0)), Q_ERR_CORRUPT, "arch", "n_context"),
    DEC("M60_context_2_31", EDIT1(SET(AT_ARCH(n_context), 4, 1u << 31)), Q_ERR_LIMIT, "arch", "n_context"),
    DEC("M61_rope_base_0", EDIT1(SET(AT_ARCH(rope_base), 8, 0)), Q_ERR_CORRUPT, "arch", "rope_base"),
    DEC("M61_rope_base_1", EDIT1(SET(AT_ARCH(rope_base), 8, ONE_D)), Q_ERR_CORRUPT, "arch", "rope_base"),
    DEC("M61_rope_base_negative", EDIT1(SET(AT_ARCH(rope_base), 8, MINUS_ONE_D)), Q_ERR_CORRUPT, "arch",
        "rope_base"),
    DEC("M61_rope_base_nan", EDIT1(SET(AT_ARCH(rope_base), 8, NAN_D)), Q_ERR_CORRUPT, "arch", "rope_base"),
    DEC("M61_rope_base_inf", EDIT1(SET(AT_ARCH(rope_base), 8, INF_D)), Q_ERR_CORRUPT, "arch", "rope_base"),
    DEC("M61_rope_base_1e308", EDIT1(SET(AT_ARCH(rope_base), 8, D_1E308)), Q_ERR_CORRUPT, "arch", "rope_base"),
    DEC("M61_rope_local_base_nan", EDIT1(SET(AT_ARCH(rope_local_base), 8, NAN_D)), Q_ERR_CORRUPT, "arch",
        "rope_local_base"),
    DEC("M62_rope_factor_0", EDIT1(SET(AT_ARCH(rope_factor), 8, 0)), Q_ERR_CORRUPT, "arch", "rope_factor"),
    DEC("M62_rope_factor_half", EDIT1(SET(AT_ARCH(rope_factor), 8, HALF_D)), Q_ERR_CORRUPT, "arch", "rope_factor"),
    DEC("M62_rope_factor_nan", EDIT1(SET(AT_ARCH(rope_factor), 8, NAN_D)), Q_ERR_CORRUPT, "arch", "rope_factor"),
    DEC("M62_rope_low_0", EDIT1(SET(AT_ARCH(rope_low), 8, 0)), Q_ERR_CORRUPT, "arch", "rope_low"),
    DEC("M62_rope_high_below_low", EDIT1(SET(AT_ARCH(rope_high), 8, HALF_D)), Q_ERR_CORRUPT, "arch", "rope_high"),
    DEC("M62_rope_magnitude_0", EDIT1(SET(AT_ARCH(rope_magnitude), 8, 0)), Q_ERR_CORRUPT, "arch",
        "rope_magnitude"),
    DEC("M62_rope_original_context_0", EDIT1(SET(AT_ARCH(rope_original_context), 4, 0)), Q_ERR_CORRUPT, "arch",
        "rope_original_context"),
    DEC_AT("M62_rope_fields_without_scaling", EDIT1(SET(AT_ARCH(rope_scaling), 4, Q_ROPE_NONE)), Q_ERR_CORRUPT,
           "arch", "rope_factor", AT_ARCH(rope_factor)),
    DEC_AT("M62_rope_magnitude_of_linear",
           EDIT4(SET(AT_ARCH(rope_scaling), 4, Q_ROPE_LINEAR), SET(AT_ARCH(rope_original_context), 4, 0),
                 SET(AT_ARCH(rope_low), 8, 0), SET(AT_ARCH(rope_high), 8, 0)),
           Q_ERR_CORRUPT, "arch", "rope_magnitude", AT_ARCH(rope_magnitude)),
    DEC_AT("M62_rope_high_of_linear",
           EDIT3(SET(AT_ARCH(rope_scaling), 4, Q_ROPE_LINEAR), SET(AT_ARCH(rope_original_context), 4, 0),
                 SET(AT_ARCH(rope_low), 8, 0)),
           Q_ERR_CORRUPT, "arch", "rope_high", AT_ARCH(rope_high)),
    DEC("M62_rope_scaling_unknown", EDIT1(SET(AT_ARCH(rope_scaling), 4, 4)), Q_ERR_UNSUPPORTED, "arch",
        "rope_scaling"),
    DEC("M62_rope_pairing_unknown", EDIT1(SET(AT_ARCH(rope_pairing), 4, 2)), Q_ERR_UNSUPPORTED, "arch",
        "rope_pairing"),
    DEC("M63_norm_eps_0", EDIT1(SET(AT_ARCH(norm_eps), 4, 0)), Q_ERR_CORRUPT, "arch", "norm_eps"),
    DEC("M63_norm_eps_negative", EDIT1(SET(AT_ARCH(norm_eps), 4, MINUS_ONE_F)), Q_ERR_CORRUPT, "arch",
        "norm_eps"),
    DEC("M63_norm_eps_nan", EDIT1(SET(AT_ARCH(norm_eps), 4, NAN_F)), Q_ERR_CORRUPT, "arch", "norm_eps"),
    DEC("M63_norm_offset_nan", EDIT1(SET(AT_ARCH(norm_offset), 4, NAN_F)), Q_ERR_CORRUPT, "arch", "norm_offset"),
    DEC("M64_activation_unknown", EDIT1(SET(AT_ARCH(activation), 4, 99)), Q_ERR_UNSUPPORTED, "arch",
        "activation"),
    DEC("M64_activation_no_gate", EDIT1(SET(AT_ARCH(activation), 4, 0)), Q_ERR_UNSUPPORTED, "arch", "activation"),
    DEC("M64_arch_kind_unknown", EDIT1(SET(AT_ARCH(kind), 4, 2)), Q_ERR_UNSUPPORTED, "arch", "kind"),
    DEC("M65_arch_flag_unknown", EDIT1(XOR(AT_ARCH(flags), 4, 16)), Q_ERR_UNSUPPORTED, "arch", "flags"),
    DEC("M67_window_0", EDIT1(SET(AT_ARCH(window), 4, 0)), Q_ERR_CORRUPT, "arch", "window"),
    DEC("M67_window_above_context", EDIT1(SET(AT_ARCH(window), 4, 129)), Q_ERR_CORRUPT, "arch", "window"),
    DEC_AT("M67_window_without_layers", EDIT1(SET(AT_BODY(ARCH, 257), 1, 0)), Q_ERR_CORRUPT, "arch", "window",
           AT_ARCH(window)),
    DEC_AT("M67_local_base_without_layers",
           EDIT2(SET(AT_BODY(ARCH, 257), 1, 0), SET(AT_ARCH(window), 4, 0)), Q_ERR_CORRUPT, "arch",
           "rope_local_base", AT_ARCH(rope_local_base)),
    DEC("M67_layer_kind_unknown", EDIT1(SET(AT_BODY(ARCH, 257), 1, 3)), Q_ERR_UNSUPPORTED, "arch", "layer kind"),
    DEC("M68_logit_scale_inf", EDIT1(SET(AT_ARCH(logit_scale), 4, INF_F)), Q_ERR_CORRUPT, "arch", "logit_scale"),
    DEC("M68_logit_scale_0", EDIT1(SET(AT_ARCH(logit_scale), 4, 0)), Q_ERR_CORRUPT, "arch", "logit_scale"),
    DEC("M68_embed_scale_nan", EDIT1(SET(AT_ARCH(embed_scale), 4, NAN_F)), Q_ERR_CORRUPT, "arch", "embed_scale"),
    DEC("M68_attn_scale_0", EDIT1(SET(AT_ARCH(attn_scale), 4, 0)), Q_ERR_CORRUPT, "arch", "attn_scale"),
    DEC("M68_residual_scale_negative", EDIT1(SET(AT_ARCH(residual_scale), 4, MINUS_ONE_F)), Q_ERR_CORRUPT, "arch",
        "residual_scale"),
    DEC("M68_attn_softcap_negative", EDIT1(SET(AT_ARCH(attn_softcap), 4, MINUS_ONE_F)), Q_ERR_CORRUPT, "arch",
        "attn_softcap"),
    DEC("M68_logit_softcap_minus_0", EDIT1(SET(AT_ARCH(logit_softcap), 4, 0x80000000u)), Q_ERR_CORRUPT, "arch",
        "logit_softcap"),
    DEC("M47_arch_and_graph", EDIT1(SET(AT_SECTION(GRAPH, count), 4, 1)), Q_ERR_CORRUPT, "graph", "count"),

    /* ---- Hashes and contents ---- */
    VERIFY("M75_hash_of_tables", BAD_ANY, BAD_VERIFY_TABLES, EDIT1(XOR(AT_HEADER(tables_sha256), 1, 1)), NULL, true,
           Q_ERR_HASH, "header", "tables_sha256", HERE),
    VERIFY("M75_hash_of_tensor", BAD_ANY, BAD_VERIFY_TENSOR, EDIT1(XOR(AT_RECORD(1, sha256), 1, 1)), NULL, false,
           Q_ERR_HASH, NULL, "sha256", HERE),
    VERIFY("M75_bit_of_data", BAD_ANY, BAD_VERIFY_TENSOR, EDIT1(XOR(AT_BYTES(1, 5), 1, 1)), NULL, false,
           Q_ERR_HASH, NULL, "sha256", AT_RECORD(1, sha256)),
    VERIFY("M35_padding_of_data", BAD_GRAPH, BAD_VERIFY_TENSOR,
           EDIT1(SET(AT_DATA_END("fc0.bias"), 1, 1)), NULL, false, Q_ERR_CORRUPT, "fc0.bias", "padding",
           HERE),
    VERIFY("M76_nan_under_right_hash", BAD_DECODER, BAD_VERIFY_TENSOR,
           EDIT1(SET(AT_DATA("layers.0.attn_norm", 0), 4, NAN_F)), "layers.0.attn_norm", false, Q_OK, NULL,
           "", AT_TENSOR("layers.0.attn_norm", sha256)),
    VERIFY("M69_nan_scale", BAD_DECODER, BAD_VERIFY_TENSOR, EDIT1(SET(AT_DATA("embed", 0), 2, 0x7e00)),
           "embed", false, Q_OK, NULL, "", AT_TENSOR("embed", sha256)),
    VERIFY("M70_scale_0", BAD_DECODER, BAD_VERIFY_TENSOR, EDIT1(SET(AT_DATA("embed", 0), 2, 0)), "embed",
           false, Q_OK, NULL, "", AT_TENSOR("embed", sha256)),

    /* ---- Graph ---- */
    GRA("M10_graph_reserved", EDIT1(SET(AT_HEAD(reserved), 4, 1)), Q_ERR_CORRUPT, "graph", "reserved"),
    GRA("M10_input_reserved", EDIT1(SET(AT_INPUT(0, reserved), 4, 1)), Q_ERR_CORRUPT, "x", "reserved"),
    GRA("M10_node_reserved", EDIT1(SET(AT_NODE(0, reserved0), 1, 1)), Q_ERR_CORRUPT, "fc0", "reserved"),
    GRA("M10_node_reserved_tail", EDIT1(SET(AT_NODE(1, reserved1), 1, 1)), Q_ERR_CORRUPT, "fc1", "reserved"),
    GRA("M10_output_reserved", EDIT1(SET(AT_OUTPUT(0, reserved), 1, 1)), Q_ERR_CORRUPT, "y", "reserved"),
    GRA("CVE_2020_15210_node_reads_itself", EDIT1(SET(AT_EDGE(0), 4, 1)), Q_ERR_CORRUPT, "fc0", "edge"),
    GRA("CVE_2021_37686_cycle", EDIT1(SET(AT_EDGE(0), 4, 2)), Q_ERR_CORRUPT, "fc0", "edge"),
    GRA("CVE_2020_15211_edge_minus_1", EDIT1(SET(AT_EDGE(1), 4, UINT32_MAX)), Q_ERR_CORRUPT, "fc1", "edge"),
    GRA("CVE_2020_15212_param_minus_1", EDIT1(SET(AT_PARAM(1), 4, UINT32_MAX)), Q_ERR_CORRUPT, "fc0", "param"),
    GRA("GR01_param_outside", EDIT1(SET(AT_PARAM(3), 4, 4)), Q_ERR_CORRUPT, "fc1", "param"),
    GRA("GR02_param_out_of_order", EDIT1(SET(AT_PARAM(0), 4, 1)), Q_ERR_CORRUPT, "fc0", "param"),
    GRA_AT("GR03_tensor_unused", EDIT1(SET(AT_PARAM(3), 4, 2)), Q_ERR_CORRUPT, "fc1.bias", "not wanted",
           AT_TENSOR("fc1.bias", name_offset)),
    GRA("GR04_n_in_over_cap", EDIT1(SET(AT_NODE(0, n_in), 1, 9)), Q_ERR_CORRUPT, "fc0", "n_in"),
    GRA("GR05_n_in_past_edges", EDIT1(SET(AT_NODE(0, n_in), 1, 3)), Q_ERR_CORRUPT, "fc0", "n_in"),
    GRA_AT("GR06_edge_left_over", EDIT1(SET(AT_NODE(1, n_in), 1, 0)), Q_ERR_CORRUPT, "graph", "n_edges",
           AT_HEAD(n_edges)),
    GRA("GR07_n_out_0", EDIT1(SET(AT_NODE(0, n_out), 1, 0)), Q_ERR_CORRUPT, "fc0", "n_out"),
    GRA("GR08_n_out_over_cap", EDIT1(SET(AT_NODE(0, n_out), 1, 5)), Q_ERR_CORRUPT, "fc0", "n_out"),
    GRA_AT("GR09_values_do_not_add_up", EDIT1(SET(AT_NODE(1, n_out), 1, 2)), Q_ERR_CORRUPT, "graph", "n_values",
           AT_HEAD(n_values)),
    GRA("GR10_n_param_over_cap", EDIT1(SET(AT_NODE(0, n_param), 1, 9)), Q_ERR_CORRUPT, "fc0", "n_param"),
    GRA_AT("GR11_param_left_over", EDIT1(SET(AT_NODE(1, n_param), 1, 1)), Q_ERR_CORRUPT, "graph", "n_params",
           AT_HEAD(n_params)),
    GRA("GR12_config_no_multiple_of_8", EDIT1(SET(AT_NODE(0, config_size), 4, 4)), Q_ERR_CORRUPT, "fc0",
        "config_size"),
    GRA("GR13_config_over_cap", EDIT1(SET(AT_NODE(0, config_size), 4, Q_CAP_CONFIG + 8)), Q_ERR_LIMIT, "fc0",
        "config_size"),
    GRA_AT("GR14_config_taken_twice", EDIT1(SET(AT_NODE(0, config_size), 4, 16)), Q_ERR_CORRUPT, "fc1",
           "config_size", AT_NODE(1, config_size)),
    GRA_AT("GR15_config_left_over", EDIT1(SET(AT_NODE(1, config_size), 4, 0)), Q_ERR_CORRUPT, "graph",
           "config_bytes", AT_HEAD(config_bytes)),
    GRA("GR16_class_name_empty", EDIT1(SET(AT_NODE(0, class_name_length), 2, 0)), Q_ERR_CORRUPT, "graph",
        "name_length"),
    GRA("GR17_node_name_not_utf8", EDIT1(SET(AT_NODE_TEXT(1, 0), 1, 0xf5)), Q_ERR_CORRUPT, "graph",
        "name"),
    GRA("GR18_output_name_past_strings", EDIT1(SET(AT_OUTPUT(0, name_length), 2, 100)), Q_ERR_CORRUPT, "graph",
        "name_length"),
    GRA("GR19_n_inputs_0", EDIT1(SET(AT_HEAD(n_inputs), 4, 0)), Q_ERR_CORRUPT, "graph", "n_inputs"),
    GRA("GR20_n_inputs_over_cap", EDIT1(SET(AT_HEAD(n_inputs), 4, Q_CAP_GRAPH_IO + 1)), Q_ERR_LIMIT, "graph",
        "n_inputs"),
    GRA("GR21_n_outputs_0", EDIT1(SET(AT_HEAD(n_outputs), 4, 0)), Q_ERR_CORRUPT, "graph", "n_outputs"),
    GRA("GR22_n_outputs_max", EDIT1(SET(AT_HEAD(n_outputs), 4, UINT32_MAX)), Q_ERR_LIMIT, "graph", "n_outputs"),
    GRA("GR23_n_nodes_differs", EDIT1(SET(AT_HEAD(n_nodes), 4, 3)), Q_ERR_CORRUPT, "graph", "n_nodes"),
    GRA("GR24_nodes_over_cap", EDIT1(SET(AT_SECTION(GRAPH, count), 4, Q_CAP_NODES + 1)), Q_ERR_LIMIT, "graph",
        "count"),
    GRA("GR25_n_edges_max", EDIT1(SET(AT_HEAD(n_edges), 4, UINT32_MAX)), Q_ERR_LIMIT, "graph", "n_edges"),
    GRA("GR26_n_params_wraps_size", EDIT1(ADD(AT_HEAD(n_params), 4, 1u << 30)), Q_ERR_LIMIT, "graph", "n_params"),
    GRA("GR27_config_bytes_odd", EDIT1(SET(AT_HEAD(config_bytes), 4, 12)), Q_ERR_CORRUPT, "graph",
        "config_bytes"),
    GRA_AT("GR28_n_inputs_past_section", EDIT1(SET(AT_HEAD(n_inputs), 4, 2)), Q_ERR_CORRUPT, "graph", "size",
           AT_SECTION(GRAPH, size)),
    GRA("GR29_section_longer", EDIT1(ADD(AT_SECTION(GRAPH, size), 8, 8)), Q_ERR_CORRUPT, "graph", "size"),
    GRA_AT("GR30_nodes_without_section", EDIT1(SET(AT_SECTION(GRAPH, size), 8, 0)), Q_ERR_CORRUPT, "tokenizer",
           "offset", AT_SECTION(TOKENIZER, offset)),
    GRA_AT("GR30_section_without_nodes", EDIT1(SET(AT_SECTION(GRAPH, count), 4, 0)), Q_ERR_CORRUPT, "graph", "size",
           AT_SECTION(GRAPH, size)),
    GRA("GR30_section_below_its_head",
        EDIT5(SET(AT_SECTION(GRAPH, size), 8, 31), ADD(AT_SECTION(TOKENIZER, offset), 8, (uint64_t)0 - 192),
              ADD(AT_SECTION(META, offset), 8, (uint64_t)0 - 192), ADD(AT_SECTION(DATA, offset), 8, (uint64_t)0 - 192),
              ADD(AT_SECTION(DATA, size), 8, 192)),
        Q_ERR_CORRUPT, "graph", "size"),
    GRA("GR31_input_dtype_quantised", EDIT1(SET(AT_INPUT(0, dtype), 1, Q_Q8_0)), Q_ERR_UNSUPPORTED, "x", "dtype"),
    GRA("GR32_input_n_dims_0", EDIT1(SET(AT_INPUT(0, n_dims), 1, 0)), Q_ERR_CORRUPT, "x", "n_dims"),
    GRA("GR33_input_n_dims_5", EDIT1(SET(AT_INPUT(0, n_dims), 1, 5)), Q_ERR_CORRUPT, "x", "n_dims"),
    GRA("CVE_2023_27579_input_dim_0", EDIT1(SET(AT_INPUT(0, dim[3]), 4, 0)), Q_ERR_CORRUPT, "x", "dim[3]"),
    GRA("GR34_input_unused_dim", EDIT1(SET(AT_INPUT(0, dim[0]), 4, 2)), Q_ERR_CORRUPT, "x", "dim[0]"),
    GRA("GR35_input_symbol_unknown", EDIT1(SET(AT_INPUT(0, sym[2]), 4, 5)), Q_ERR_UNSUPPORTED, "x", "sym[2]"),
    GRA("GR36_input_unused_symbol", EDIT1(SET(AT_INPUT(0, sym[1]), 4, 1)), Q_ERR_CORRUPT, "x", "sym[1]"),
    GRA("GR37_limit_of_floats", EDIT1(SET(AT_INPUT(0, limit), 4, 10)), Q_ERR_CORRUPT, "x", "limit"),
    GRA_AT("GR38_ids_without_limit", EDIT1(SET(AT_INPUT(0, dtype), 1, Q_I32)), Q_ERR_CORRUPT, "x", "limit",
           AT_INPUT(0, limit)),
    GRA("GR39_output_value_outside", EDIT1(SET(AT_OUTPUT(0, value), 4, 3)), Q_ERR_CORRUPT, "y", "value"),
    WIDE("GR40_n_in_over_cap", EDIT1(SET(AT_NODE(0, n_in), 1, 9)), Q_ERR_CORRUPT, "embed", "n_in", HERE),
    WIDE("GR41_n_param_over_cap", EDIT1(SET(AT_NODE(0, n_param), 1, 9)), Q_ERR_CORRUPT, "embed", "n_param", HERE),
    WIDE("GR42_n_param_past_params", EDIT1(SET(AT_NODE(2, n_param), 1, 2)), Q_ERR_CORRUPT, "join", "n_param", HERE),
    WIDE("GR43_input_limit_2_31", EDIT1(SET(AT_INPUT(1, limit), 4, 1u << 31)), Q_ERR_CORRUPT, "id", "limit", HERE),
    WIDE("GR44_input_limit_0", EDIT1(SET(AT_INPUT(1, limit), 4, 0)), Q_ERR_CORRUPT, "id", "limit", HERE),
    WIDE("GR45_padding_before_configs", EDIT1(SET(AT_PARAM(10), 1, 1)), Q_ERR_CORRUPT, "graph",
         "padding", HERE),
    WIDE("GR46_param_skips_one", EDIT1(SET(AT_PARAM(1), 4, 2)), Q_ERR_CORRUPT, "mix", "param", HERE),
    WIDE("GR47_edge_to_own_output", EDIT1(SET(AT_EDGE(2), 4, 3)), Q_ERR_CORRUPT, "mix", "edge", HERE),
    WIDE("GR48_inputs_of_one_name", EDIT1(SET(AT_INPUT_TEXT(1, 0), 2, 0x7378)), Q_ERR_CORRUPT, "xs", "same name",
         AT_INPUT(1, name_offset)),
    WIDE("GR49_outputs_of_one_name", EDIT1(SET(AT_OUTPUT_TEXT(1, 3), 1, '0')), Q_ERR_CORRUPT, "out0", "same name",
         AT_OUTPUT(1, name_offset)),

    {NULL, 0, 0, {{HERE, 0, 0, 0}}, 0, NULL, false, Q_OK, NULL, NULL, HERE},
};
