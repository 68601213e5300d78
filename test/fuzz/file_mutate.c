/* SPDX-License-Identifier: MIT */
/* file_mutate.c: changes .qorus files along their structure. Nothing here trusts the bytes it changes. */
#include "file_mutate.h"

#include <string.h>

#include "qorus/base/panel.h"
#include "qorus/format.h"
#include "qorus/sha256.h"

typedef struct mutant {
    uint8_t *bytes;
    size_t size;
    size_t max;
    fuzz_random *r;
} mutant;

static size_t entry_of(uint32_t section)
{
    return offsetof(q_file_header, section) + section * sizeof(q_file_section);
}

static uint64_t start_of(const mutant *m, uint32_t section)
{
    return fuzz_get(m->bytes + entry_of(section), 8);
}

static uint64_t size_of(const mutant *m, uint32_t section)
{
    return fuzz_get(m->bytes + entry_of(section) + offsetof(q_file_section, size), 8);
}

static bool lies_inside(const mutant *m, uint32_t section)
{
    return start_of(m, section) <= m->size && size_of(m, section) <= m->size - start_of(m, section);
}

/* Records that lie in the file. */
static uint32_t records_of(const mutant *m)
{
    return lies_inside(m, Q_SECTION_TENSORS) ? (uint32_t)(size_of(m, Q_SECTION_TENSORS) / sizeof(q_file_tensor_record))
                                             : 0;
}

static uint8_t *record_at(const mutant *m, uint32_t i)
{
    return m->bytes + start_of(m, Q_SECTION_TENSORS) + (uint64_t)i * sizeof(q_file_tensor_record);
}

static void change(mutant *m, uint64_t at, uint32_t width)
{
    fuzz_change(m->r, m->bytes, m->size, at, width);
}

/* ---- Fields -------------------------------------------------------------------------------------------------- */

static void change_header(mutant *m)
{
    static const uint8_t fields[][2] = {{0, 8}, {8, 4}, {12, 4}, {16, 8}, {24, 4}, {28, 4}};
    static const uint8_t parts[][2] = {{0, 8}, {8, 8}, {16, 4}, {20, 4}};
    const uint8_t *f = fields[fuzz_below(m->r, 6)];
    const uint8_t *p = parts[fuzz_below(m->r, 4)];
    if (fuzz_once_in(m->r, 4)) {
        change(m, f[0], f[1]);
    } else {
        change(m, entry_of(fuzz_below(m->r, Q_SECTION_COUNT)) + p[0], p[1]);
    }
}

static void change_record(mutant *m)
{
    static const uint8_t fields[][2] = {{0, 4},  {4, 2},  {6, 1},  {7, 1},  {8, 4},  {12, 4}, {16, 8},
                                        {24, 8}, {32, 8}, {40, 8}, {48, 8}, {56, 8}, {64, 8}, {96, 8}};
    const uint8_t *f = fields[fuzz_below(m->r, sizeof(fields) / sizeof(fields[0]))];
    uint32_t n = records_of(m);
    if (n != 0) {
        change(m, (uint64_t)(record_at(m, fuzz_below(m->r, n)) - m->bytes) + f[0], f[1]);
    }
}

/* A word of a section, on its own or exchanged with another one. */
static void change_words(mutant *m, uint32_t section, uint32_t width)
{
    uint64_t n = lies_inside(m, section) ? size_of(m, section) / width : 0;
    uint64_t a = start_of(m, section) + (uint64_t)fuzz_below(m->r, (size_t)n) * width;
    uint64_t b = start_of(m, section) + (uint64_t)fuzz_below(m->r, (size_t)n) * width;
    uint64_t value;
    if (n == 0) {
        return;
    }
    if (!fuzz_once_in(m->r, 3)) {
        change(m, a, width);
        return;
    }
    value = fuzz_get(m->bytes + a, width);
    fuzz_put(m->bytes + a, width, fuzz_get(m->bytes + b, width));
    fuzz_put(m->bytes + b, width, fuzz_once_in(m->r, 3) ? fuzz_get(m->bytes + b, width) : value);
}

/* A byte of the strings: one of those UTF-8 is made of, a control character, an end. */
static void change_text(mutant *m)
{
    static const uint8_t texts[][4] = {{0, 0, 0, 0},          {0x1f, 0, 0, 0},       {0x7f, 0, 0, 0},
                                       {0xc2, 0x80, 0, 0},    {0xe0, 0xa0, 0x80, 0}, {0xed, 0x9f, 0xbf, 0},
                                       {0xed, 0xa0, 0x80, 0}, {0xf0, 0x90, 0x80, 0x80}, {0xf4, 0x8f, 0xbf, 0xbf},
                                       {0xf4, 0x90, 0x80, 0x80}, {0xf5, 0x80, 0x80, 0x80}, {0xc1, 0x80, 0, 0},
                                       {0xe2, 0x82, 0xac, 0}, {0x80, 0, 0, 0},       {'\n', 0, 0, 0}, {'\t', 0, 0, 0}};
    const uint8_t *text = texts[fuzz_below(m->r, sizeof(texts) / sizeof(texts[0]))];
    uint32_t section = fuzz_once_in(m->r, 3) ? Q_SECTION_META : Q_SECTION_STRINGS;
    uint64_t at = start_of(m, section) + fuzz_below(m->r, (size_t)size_of(m, section));
    size_t n = text[1] == 0 ? 1 : text[2] == 0 ? 2 : text[3] == 0 ? 3 : 4;
    if (lies_inside(m, section) && at + n <= m->size && size_of(m, section) != 0) {
        memcpy(m->bytes + at, text, fuzz_once_in(m->r, 3) ? 1 : n);
    }
}

static void change_arch(mutant *m)
{
    uint64_t at = start_of(m, Q_SECTION_ARCH);
    uint64_t n = size_of(m, Q_SECTION_ARCH);
    if (!lies_inside(m, Q_SECTION_ARCH) || n < sizeof(q_file_arch)) {
        return;
    }
    switch (fuzz_below(m->r, 4)) {
    case 0:
        change(m, at + offsetof(q_file_arch, rope_base) + 8u * fuzz_below(m->r, 6), 8);
        break;
    case 1:
        change(m, at + sizeof(q_file_arch) + fuzz_below(m->r, (size_t)n - sizeof(q_file_arch)), 1);
        break;
    case 2: /* a small number in one of the counts and flags */
        fuzz_put(m->bytes + at + 4u * fuzz_below(m->r, 24), 4, fuzz_below(m->r, 18));
        break;
    default:
        change(m, at + 4u * fuzz_below(m->r, 64), 4);
        break;
    }
}

static void change_padding(mutant *m)
{
    uint32_t section = fuzz_below(m->r, Q_SECTION_DATA);
    uint64_t end = start_of(m, section) + size_of(m, section);
    if (lies_inside(m, section) && end % Q_ALIGN != 0) {
        change(m, end + fuzz_below(m->r, Q_ALIGN - end % Q_ALIGN), 1);
    }
}

/* ---- Sizes --------------------------------------------------------------------------------------------------- */

static uint64_t aligned(uint64_t n)
{
    return (n + (Q_ALIGN - 1)) / Q_ALIGN * Q_ALIGN;
}

/* Everything behind a section moves by a multiple of 64. */
static void move_behind(mutant *m, uint32_t section, int64_t delta)
{
    size_t before = m->size;
    uint64_t at = section == Q_SECTION_DATA ? m->size : start_of(m, section + 1);
    if (delta < 0) {
        at -= (uint64_t)-delta;
    }
    m->size = fuzz_shift(m->bytes, m->size, m->max, at, delta);
    if (m->size == before) {
        return;
    }
    for (uint32_t i = section + 1; i < Q_SECTION_COUNT; i++) {
        fuzz_put(m->bytes + entry_of(i), 8, start_of(m, i) + (uint64_t)delta);
    }
    for (uint32_t i = 0; i < records_of(m); i++) {
        uint8_t *offset = record_at(m, i) + offsetof(q_file_tensor_record, offset);
        fuzz_put(offset, 8, fuzz_get(offset, 8) + (uint64_t)delta);
    }
    fuzz_put(m->bytes + offsetof(q_file_header, file_size), 8, m->size);
}

/* Another size of a section, with what follows moved to where it then belongs. */
static void resize_section(mutant *m)
{
    static const uint16_t units[Q_SECTION_COUNT] = {128, 4, 1, 1, 8, 64, 1, 64};
    uint32_t section = fuzz_below(m->r, Q_SECTION_DATA);
    uint64_t old = size_of(m, section);
    int64_t grow = ((int64_t)fuzz_below(m->r, 7) - 3) * units[section] * (fuzz_once_in(m->r, 4) ? 48 : 1);
    uint64_t now = old + (uint64_t)grow;
    uint64_t count = fuzz_get(m->bytes + entry_of(section) + offsetof(q_file_section, count), 4);
    if (!lies_inside(m, section) || !lies_inside(m, section + 1) || now > m->max) {
        return;
    }
    fuzz_put(m->bytes + entry_of(section) + offsetof(q_file_section, size), 8, now);
    if (section <= Q_SECTION_NAMES || section == Q_SECTION_ARCH) {
        count = section == Q_SECTION_ARCH ? count + (uint64_t)grow : now / units[section];
        fuzz_put(m->bytes + entry_of(section) + offsetof(q_file_section, count), 4, count);
    }
    move_behind(m, section, (int64_t)aligned(now) - (int64_t)aligned(old));
    if (section == Q_SECTION_TENSORS && !fuzz_once_in(m->r, 3) && size_of(m, Q_SECTION_NAMES) == old / 128 * 4) {
        uint64_t names = now / 128 * 4;
        fuzz_put(m->bytes + entry_of(Q_SECTION_NAMES) + offsetof(q_file_section, size), 8, names);
        fuzz_put(m->bytes + entry_of(Q_SECTION_NAMES) + offsetof(q_file_section, count), 4, now / 128);
        move_behind(m, Q_SECTION_NAMES, (int64_t)aligned(names) - (int64_t)aligned(old / 128 * 4));
    }
}

/* Places, sizes and the file's length as the shapes of all records demand. */
static void lay_out(mutant *m)
{
    uint64_t start = start_of(m, Q_SECTION_DATA);
    uint64_t end = start;
    for (uint32_t i = 0; i < records_of(m); i++) {
        uint8_t *r = record_at(m, i);
        uint64_t rows = 1;
        uint64_t bytes = 0;
        for (uint32_t d = 0; d < 3; d++) {
            uint64_t ne = fuzz_get(r + offsetof(q_file_tensor_record, ne) + 8u * d, 8);
            rows = ne < 65536 && rows < 65536 ? rows * ne : UINT32_MAX;
        }
        if (r[6] > Q_I32 || r[7] >= Q_LAYOUT_COUNT ||
            !q_matrix_bytes(r[6], r[7], rows, fuzz_get(r + offsetof(q_file_tensor_record, ne) + 24, 8), &bytes) ||
            bytes > m->max || aligned(end) + aligned(bytes) > m->max) {
            return;
        }
        fuzz_put(r + offsetof(q_file_tensor_record, offset), 8, aligned(end));
        fuzz_put(r + offsetof(q_file_tensor_record, size), 8, bytes);
        end = aligned(end) + bytes;
    }
    if (start > m->size || aligned(end) > m->max) {
        return;
    }
    if (aligned(end) > m->size) {
        memset(m->bytes + m->size, 0x3c, (size_t)aligned(end) - m->size);
    }
    m->size = (size_t)aligned(end);
    memset(m->bytes + end, 0, m->size - (size_t)end);
    fuzz_put(m->bytes + entry_of(Q_SECTION_DATA) + offsetof(q_file_section, size), 8, end - start);
    fuzz_put(m->bytes + offsetof(q_file_header, file_size), 8, m->size);
}

/* Another shape or type of a tensor, with data to match. */
static void reshape(mutant *m)
{
    uint32_t n = records_of(m);
    uint8_t *r;
    if (n == 0) {
        return;
    }
    r = record_at(m, fuzz_below(m->r, n));
    if (fuzz_once_in(m->r, 8)) { /* products that do not fit 64 bits */
        fuzz_put(r + 8, 4, 4);
        for (uint32_t d = fuzz_below(m->r, 3); d < 4; d++) {
            fuzz_put(r + 16 + 8u * d, 8, fuzz_once_in(m->r, 2) ? UINT32_MAX : 1u << 31);
        }
        return;
    }
    switch (fuzz_below(m->r, 4)) {
    case 0:
        r[6] = (uint8_t)fuzz_below(m->r, Q_I32 + 1);
        break;
    case 1:
        r[7] = (uint8_t)fuzz_below(m->r, 2);
        break;
    case 2:
        fuzz_put(r + 8, 4, 1 + fuzz_below(m->r, 4));
        break;
    default:
        fuzz_put(r + 16 + 8u * fuzz_below(m->r, 4), 8, 1 + fuzz_below(m->r, 20));
        break;
    }
    lay_out(m);
}

/* ---- Hashes -------------------------------------------------------------------------------------------------- */

static void seal(mutant *m)
{
    uint8_t *field = m->bytes + offsetof(q_file_header, tables_sha256);
    uint64_t tables = start_of(m, Q_SECTION_DATA);
    uint8_t digest[Q_SHA256_BYTES];
    for (uint32_t i = 0; i < records_of(m); i++) {
        uint8_t *r = record_at(m, i);
        uint64_t at = fuzz_get(r + offsetof(q_file_tensor_record, offset), 8);
        uint64_t n = fuzz_get(r + offsetof(q_file_tensor_record, size), 8);
        if (at <= m->size && n <= m->size - at) {
            q_sha256_of(m->bytes + at, (size_t)n, r + offsetof(q_file_tensor_record, sha256));
        }
    }
    if (tables >= sizeof(q_file_header) && tables <= m->size) {
        memset(field, 0, sizeof(digest));
        q_sha256_of(m->bytes, (size_t)tables, digest);
        memcpy(field, digest, sizeof(digest));
    }
}

size_t file_mutate(uint8_t *bytes, size_t size, size_t max, fuzz_random *r)
{
    mutant m = {bytes, size, max, r};
    for (uint32_t n = 1 + fuzz_below(r, 3); n > 0 && m.size >= sizeof(q_file_header); n--) {
        bool graph = size_of(&m, Q_SECTION_GRAPH) != 0;
        switch (fuzz_below(r, 16)) {
        case 0:
            change_header(&m);
            break;
        case 1:
        case 2:
            change_record(&m);
            break;
        case 3:
            change_words(&m, Q_SECTION_NAMES, 4);
            break;
        case 4:
            change_text(&m);
            break;
        case 5:
            change_padding(&m);
            break;
        case 6:
            resize_section(&m);
            break;
        case 7:
            reshape(&m);
            break;
        case 8:
            change_words(&m, fuzz_once_in(r, 4) ? Q_SECTION_TOKENIZER : Q_SECTION_DATA, 4);
            break;
        case 9:
            m.size = fuzz_once_in(r, 8) ? fuzz_bytes(bytes, m.size, max, r) : m.size;
            break;
        default:
            if (graph) {
                change_words(&m, Q_SECTION_GRAPH, fuzz_once_in(r, 3) ? 1 : 4);
            } else {
                change_arch(&m);
            }
            break;
        }
    }
    if (m.size < sizeof(q_file_header)) {
        return fuzz_bytes(bytes, m.size, max, r);
    }
    if (!fuzz_once_in(r, 16)) {
        seal(&m);
    }
    return m.size;
}
