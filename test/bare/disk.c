/* SPDX-License-Identifier: MIT */
/*
 * disk.c: does with the disk of the bare x86 port what the words of the command line say, one line of result for each:
 *   open=NAME new=NAME rw=NAME    opens it in one of the three modes; what follows uses the file opened last
 *   size facts sync close         remove=NAME
 *   write=OFFSET+BYTES+SEED       bytes that test_disk.py makes from the seed too
 *   read=OFFSET+BYTES             prints their FNV-1a hash
 */
#include "../../port/bare-x86/bare.h"

enum { WORDS = 512, BUFFER = 4 << 20 };

static char store[16384];
static const char *words[WORDS];
static q_port port;
static q_port_file file;
static uint8_t *buffer;

/* The text behind NAME= if the word begins so, else NULL. */
static const char *value_of(const char *word, const char *name)
{
    while (*name != '\0' && *name == *word) {
        name++;
        word++;
    }
    return *name == '\0' && *word == '=' ? word + 1 : NULL;
}

static bool is_word(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static uint64_t next_number(const char **text)
{
    uint64_t value = 0;
    while (**text >= '0' && **text <= '9') {
        value = value * 10 + (uint64_t)(*(*text)++ - '0');
    }
    *text += **text == '+' ? 1 : 0;
    return value;
}

static void tell(const char *word, q_error_code e)
{
    q_bare_print("%s %s%lu", word, e < 0 ? "-" : "", (uint64_t)(e < 0 ? -(int64_t)e : e));
}

static void write_range(const char *word, const char *text)
{
    const uint64_t offset = next_number(&text);
    const uint64_t n = next_number(&text);
    const uint64_t seed = next_number(&text);
    for (uint64_t i = 0; i < n; i++) {
        buffer[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
    }
    tell(word, port.file_write_at(port.user, file, offset, buffer, (size_t)n));
}

static void read_range(const char *word, const char *text)
{
    const uint64_t offset = next_number(&text);
    const uint64_t n = next_number(&text);
    const q_error_code e = port.file_read_at(port.user, file, offset, buffer, (size_t)n);
    uint64_t hash = 0xCBF29CE484222325ull;
    for (uint64_t i = 0; i < n; i++) {
        hash = (hash ^ buffer[i]) * 0x100000001B3ull;
    }
    tell(word, e);
    if (e == Q_OK) {
        q_bare_print(" %lx", hash);
    }
}

static void ask(const char *word)
{
    uint64_t bytes = 0;
    q_block_facts facts = {0, 0};
    if (is_word(word, "size")) {
        tell(word, port.file_size(port.user, file, &bytes));
        q_bare_print(" %lu", bytes);
    } else if (is_word(word, "facts")) {
        tell(word, port.block_facts(port.user, file, &facts));
        q_bare_print(" %lu %lu", (uint64_t)facts.atomic_bytes, (uint64_t)facts.erase_bytes);
    } else {
        tell(word, is_word(word, "sync") ? port.file_sync(port.user, file) : port.file_close(port.user, file));
    }
}

static void act(const char *word)
{
    const char *value = NULL;
    if ((value = value_of(word, "open")) != NULL) {
        tell(word, port.file_open(port.user, value, Q_OPEN_READ, &file));
    } else if ((value = value_of(word, "rw")) != NULL) {
        tell(word, port.file_open(port.user, value, Q_OPEN_READ_WRITE, &file));
    } else if ((value = value_of(word, "new")) != NULL) {
        tell(word, port.file_open(port.user, value, Q_OPEN_CREATE_NEW, &file));
    } else if ((value = value_of(word, "remove")) != NULL) {
        tell(word, port.file_remove(port.user, value));
    } else if ((value = value_of(word, "write")) != NULL) {
        write_range(word, value);
    } else if ((value = value_of(word, "read")) != NULL) {
        read_range(word, value);
    } else {
        ask(word);
    }
    q_bare_print("\n");
}

int q_bare_main(const q_bare_boot *boot)
{
    uint32_t n = 0;
    if (q_bare_split(boot->cmdline, store, sizeof(store), words, WORDS, &n) != Q_OK) {
        return 2;
    }
    port = *boot->port;
    q_bare_disk_files(&port);
    buffer = q_bare_memory_take(BUFFER, 1);
    for (uint32_t i = 0; i < n; i++) {
        act(words[i]);
    }
    return 0;
}
