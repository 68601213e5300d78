/* SPDX-License-Identifier: MIT */
/*
 * selftest.c: an application that shows what the bare x86 port found, and provokes what must fail.
 *
 * The first word of the command line says what:
 *   (none)         report: processor, memory, modules, counter, then parallel regions and vector
 *                  units on every processor
 *   fault=WHAT     ud de gp pf null text nx module stack df other: an exception that ends the run
 *   eat=BYTES      asks for one block of memory
 *   alloc          takes and fills all memory, then checks the modules
 *   time=SECONDS   waits by the counter
 *   lines          sends input lines back until the input ends
 *   interrupt      waits for Ctrl-C, then prints the two bytes that came before it
 *   words ...      prints the words
 *   log            one line of each level
 *   panic          ends in q_port.panic
 *   exit=CODE      ends with that code
 */
#include "internal.h"

enum { MAX_WORDS = 64, ROUNDS = 200, NAP_NS = 1000000, BLOCK_BYTES = 262144, TERMS = 64 };

#define UNMAPPED 0x9000000000ull /* 576 GiB */
#define CRC_POLYNOMIAL 0x04C11DB7u

static char word_store[8192];
static const char *words[MAX_WORDS];
static uint64_t slots[Q_MAX_WORKERS];
static uint32_t arrivals;

/* ---- Words ----------------------------------------------------------------------------------- */

static bool word_is(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* The text behind `name`, which ends in '=', if the word begins so; else NULL. */
static const char *word_value(const char *word, const char *name)
{
    while (*name != '\0' && *name == *word) {
        name++;
        word++;
    }
    return *name == '\0' ? word : NULL;
}

static uint64_t word_number(const char *text)
{
    uint64_t value = 0;
    while (*text >= '0' && *text <= '9') {
        value = value * 10 + (uint64_t)(*text++ - '0');
    }
    return value;
}

/* ---- What is there --------------------------------------------------------------------------- */

static void report_features(uint64_t bits)
{
    static const char *const NAMES[] = {"avx2",        "avx-vnni",    "avx512",   "avx512-vnni",
                                        "avx512-bf16", "avx512-fp16", "amx-int8", "amx-bf16"};
    q_bare_print("features:%s", bits == 0 ? " none" : "");
    for (uint32_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if ((bits >> i & 1) != 0) {
            q_bare_print(" %s", NAMES[i]);
        }
    }
    q_bare_print("\n");
}

static void report_memory(const q_bare_boot *boot)
{
    for (uint32_t i = 0; i < boot->n_ranges; i++) {
        const q_bare_range *r = &boot->ranges[i];
        q_bare_print("range: 0x%lx, 0x%lx bytes, kind %lu\n", r->base, r->size, (uint64_t)r->kind);
    }
    q_bare_print("memory: %lu bytes of RAM, largest free block %lu\n", boot->ram_bytes,
                 q_bare_memory_largest(Q_ALIGN));
}

static uint32_t crc_byte(uint32_t crc, uint8_t byte)
{
    crc ^= (uint32_t)byte << 24;
    for (uint32_t i = 0; i < 8; i++) {
        crc = (crc & 0x80000000u) != 0 ? crc << 1 ^ CRC_POLYNOMIAL : crc << 1;
    }
    return crc;
}

/* The checksum of POSIX cksum(1): CRC of the bytes, then of their count. */
static uint32_t module_checksum(const q_bare_module *m)
{
    const uint8_t *bytes = m->base;
    uint32_t crc = 0;
    for (size_t i = 0; i < m->size; i++) {
        crc = crc_byte(crc, bytes[i]);
    }
    for (size_t left = m->size; left != 0; left >>= 8) {
        crc = crc_byte(crc, (uint8_t)left);
    }
    return ~crc;
}

static void report_modules(const q_bare_boot *boot)
{
    for (uint32_t i = 0; i < boot->n_modules; i++) {
        const q_bare_module *m = &boot->modules[i];
        q_bare_print(
            "module: %lu bytes, cksum %lu, address modulo 4096 is %lu, command line '%s'\n",
            m->size, (uint64_t)module_checksum(m), (uint64_t)(uintptr_t)m->base % 4096, m->cmdline);
    }
}

/* ---- Parallel regions ------------------------------------------------------------------------ */

static void add_to_slot(void *arg, uint32_t worker, uint32_t n_workers)
{
    uint64_t *sums = arg;
    sums[worker] += n_workers * 1000ull + worker;
}

/* Nobody leaves before all have come: proof that they run at once. */
static void meet_others(void *arg, uint32_t worker, uint32_t n_workers)
{
    const q_port *port = arg;
    (void)worker;
    (void)__atomic_add_fetch(&arrivals, 1u, __ATOMIC_SEQ_CST);
    port->wake(port->user, &arrivals);
    uint32_t seen = __atomic_load_n(&arrivals, __ATOMIC_SEQ_CST);
    while (seen % n_workers != 0) {
        port->wait(port->user, &arrivals, seen);
        seen = __atomic_load_n(&arrivals, __ATOMIC_SEQ_CST);
    }
}

static void fill_nothing(void *arg, uint32_t worker, uint32_t n_workers)
{
    (void)arg;
    (void)worker;
    (void)n_workers;
}

/* A region inside a region is granted one worker. */
static void nest_region(void *arg, uint32_t worker, uint32_t n_workers)
{
    const q_port *port = arg;
    (void)n_workers;
    slots[worker] = port->parallel(port->user, 2, fill_nothing, NULL);
}

static bool slots_hold(uint32_t n, uint64_t base, uint64_t step)
{
    bool right = true;
    for (uint32_t w = 0; w < Q_MAX_WORKERS; w++) {
        right = right && slots[w] == (w < n ? base + step * w : 0);
        slots[w] = 0;
    }
    return right;
}

static void idle_ns(const q_port *port, uint64_t ns)
{
    const uint64_t from = port->ticks(port->user);
    while (port->ticks(port->user) - from < ns) {
    }
}

static bool report_parallel(const q_bare_boot *boot)
{
    const q_port *port = boot->port;
    void *self = (void *)(uintptr_t)port;
    const uint32_t n = boot->n_cpus;
    bool right = true;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        right = right && port->parallel(port->user, Q_MAX_WORKERS, add_to_slot, slots) == n;
        if (i % 50 == 0) {
            idle_ns(port, NAP_NS); /* long enough for the others to fall asleep */
        }
    }
    right = right && slots_hold(n, ROUNDS * 1000ull * n, ROUNDS);
    for (uint32_t i = 0; i < 20; i++) {
        right = right && port->parallel(port->user, Q_MAX_WORKERS, meet_others, self) == n;
    }
    right = right && arrivals == 20 * n;
    right =
        right && port->parallel(port->user, 1, add_to_slot, slots) == 1 && slots_hold(1, 1000, 0);
    right = right && port->parallel(port->user, Q_MAX_WORKERS, nest_region, self) == n;
    right = right && slots_hold(n, 1, 0);
    q_bare_print("parallel: %lu processors, %s\n", (uint64_t)n, right ? "right" : "WRONG");
    return right;
}

/* ---- Vector units, on every processor -------------------------------------------------------- */

/* Lanes of 1 + 2 + ... + TERMS by fused multiplication with 1; every lane must be the same sum. */
static void sum_avx2(float *lanes)
{
    static const float one = 1.0f;
    __asm__ volatile("vbroadcastss %[one], %%ymm1\n\t"
                     "vxorps %%ymm0, %%ymm0, %%ymm0\n\t"
                     "vxorps %%ymm2, %%ymm2, %%ymm2\n\t"
                     "movl %[n], %%ecx\n"
                     "1:\n\t"
                     "vaddps %%ymm1, %%ymm2, %%ymm2\n\t"
                     "vfmadd231ps %%ymm1, %%ymm2, %%ymm0\n\t"
                     "decl %%ecx\n\t"
                     "jnz 1b\n\t"
                     "vmovups %%ymm0, %[lanes]\n\t"
                     "vzeroupper"
                     : [lanes] "=m"(*(float(*)[8])lanes)
                     : [one] "m"(one), [n] "i"(TERMS)
                     : "rcx", "xmm0", "xmm1", "xmm2", "cc");
}

static void sum_avx512(float *lanes)
{
    static const float one = 1.0f;
    __asm__ volatile("vbroadcastss %[one], %%zmm17\n\t"
                     "vpxord %%zmm16, %%zmm16, %%zmm16\n\t"
                     "vpxord %%zmm18, %%zmm18, %%zmm18\n\t"
                     "movl %[n], %%ecx\n"
                     "1:\n\t"
                     "vaddps %%zmm17, %%zmm18, %%zmm18\n\t"
                     "vfmadd231ps %%zmm17, %%zmm18, %%zmm16\n\t"
                     "decl %%ecx\n\t"
                     "jnz 1b\n\t"
                     "vmovups %%zmm16, %[lanes]\n\t"
                     "vzeroupper"
                     : [lanes] "=m"(*(float(*)[16])lanes)
                     : [one] "m"(one), [n] "i"(TERMS)
                     : "rcx", "cc", "memory");
}

static bool lanes_hold(const float *lanes, uint32_t n, float value)
{
    bool right = true;
    for (uint32_t i = 0; i < n; i++) {
        right = right && lanes[i] >= value && lanes[i] <= value;
    }
    return right;
}

/* Control words as promised, and each vector unit that is announced computes. slots[worker]: 1 if
   so. */
static void check_vectors(void *arg, uint32_t worker, uint32_t n_workers)
{
    const uint64_t features = *(const uint64_t *)arg;
    const float expected = (float)(TERMS * (TERMS + 1) / 2);
    float lanes[16] = {0};
    uint32_t mxcsr = 0;
    uint16_t x87 = 0;
    (void)n_workers;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(x87));
    bool right = (mxcsr & 0xFFC0) == 0x1F80 && x87 == 0x37F;
    if ((features & Q_CPU_AVX2) != 0) {
        sum_avx2(lanes);
        right = right && lanes_hold(lanes, 8, expected);
    }
    if ((features & Q_CPU_AVX512) != 0) {
        sum_avx512(lanes);
        right = right && lanes_hold(lanes, 16, expected);
    }
    slots[worker] = right ? 1 : 2;
}

static bool report_vectors(const q_bare_boot *boot)
{
    const q_port *port = boot->port;
    uint64_t features = port->cpu_features(port->user);
    (void)port->parallel(port->user, Q_MAX_WORKERS, check_vectors, &features);
    const bool right = slots_hold(boot->n_cpus, 1, 0);
    q_bare_print("vectors: %s\n", right ? "right" : "WRONG");
    return right;
}

static int report(const q_bare_boot *boot)
{
    const q_port *port = boot->port;
    q_bare_print("loader: %s\ncommand line: %s\n", boot->loader, boot->cmdline);
    report_features(port->cpu_features(port->user));
    report_memory(boot);
    report_modules(boot);
    q_bare_print("counter: %lu kHz by %s\n", boot->tsc_hz / 1000, boot->tsc_source);
    const bool right = report_parallel(boot) && report_vectors(boot);
    q_bare_print("selftest: %s\n", right ? "passed" : "FAILED");
    return right ? 0 : 1;
}

/* ---- What must fail -------------------------------------------------------------------------- */

static void write_byte(uint64_t address)
{
    __asm__ volatile("movb $0, (%0)" : : "r"(address) : "memory");
}

static void fault_other(void *arg, uint32_t worker, uint32_t n_workers)
{
    (void)arg;
    if (worker == n_workers - 1) {
        __asm__ volatile("ud2");
    }
    for (;;) {
        cpu_pause();
    }
}

/* With its stack gone, the exception cannot be delivered: a double fault. */
static void fault_double(void)
{
    const uint64_t *tss = &q_bare_gdt[SELECTOR_TSS / 8];
    const uint64_t base = (tss[0] >> 16 & 0xFFFFFF) | (tss[0] >> 56) << 24 | tss[1] << 32;
    *(volatile uint32_t *)(uintptr_t)(base + 40) = (uint32_t)(UNMAPPED >> 32);
    __asm__ volatile("ud2");
}

static int fault(const q_bare_boot *boot, const char *what)
{
    if (word_is(what, "ud")) {
        __asm__ volatile("ud2");
    } else if (word_is(what, "de")) {
        __asm__ volatile("xorl %%ecx, %%ecx\n\tdivl %%ecx" : : "a"(1), "d"(0) : "rcx", "cc");
    } else if (word_is(what, "gp")) {
        write_byte(0x8000000000000000ull);
    } else if (word_is(what, "pf")) {
        write_byte(UNMAPPED);
    } else if (word_is(what, "null")) {
        write_byte(16);
    } else if (word_is(what, "text")) {
        write_byte((uint64_t)(uintptr_t)q_bare_text_start);
    } else if (word_is(what, "nx")) {
        __asm__ volatile("call *%0" : : "r"(slots) : "memory");
    } else if (word_is(what, "module") && boot->n_modules != 0) {
        write_byte((uint64_t)(uintptr_t)boot->modules[0].base);
    } else if (word_is(what, "stack")) {
        __asm__ volatile("1: pushq $0\n\tjmp 1b");
    } else if (word_is(what, "df")) {
        fault_double();
    } else if (word_is(what, "other")) {
        (void)boot->port->parallel(boot->port->user, Q_MAX_WORKERS, fault_other, NULL);
    }
    q_bare_print("fault: '%s' did not happen\n", what);
    return 2;
}

static int eat(uint64_t bytes)
{
    volatile char *block = q_bare_memory_take(bytes, Q_ALIGN);
    block[0] = 1;
    block[bytes - 1] = 1;
    q_bare_print("eat: %lu bytes at an address that is %lu modulo 64\n", bytes,
                 (uint64_t)(uintptr_t)block % 64);
    return 0;
}

/* Fills every block there is; blocks must not overlap one another, and the modules must survive. */
static int alloc_all(const q_bare_boot *boot)
{
    uint64_t blocks = 0;
    uint64_t *newest = NULL;
    for (;;) {
        uint64_t *block = q_bare_memory_try(BLOCK_BYTES, 4096);
        if (block == NULL) {
            break;
        }
        for (size_t i = 2; i < BLOCK_BYTES / 8; i++) {
            block[i] = UINT64_MAX;
        }
        block[0] = blocks++;
        block[1] = (uint64_t)(uintptr_t)newest;
        newest = block;
    }
    bool right = true;
    for (uint64_t i = blocks; newest != NULL; newest = (uint64_t *)(uintptr_t)newest[1]) {
        right = right && newest[0] == --i;
    }
    report_modules(boot);
    q_bare_print("alloc: %lu blocks of %lu bytes, %s\n", blocks, (uint64_t)BLOCK_BYTES,
                 right ? "all apart" : "OVERLAPPING");
    return right && report_parallel(boot) ? 0 : 1;
}

/* ---- Lines and words ------------------------------------------------------------------------- */

static int echo_lines(void)
{
    char line[64];
    for (;;) {
        size_t n = 0;
        const q_error_code e = q_bare_read_line(line, sizeof(line), false, &n);
        if (e == Q_ERR_CANCELLED) {
            q_bare_print("end\n");
            return 0;
        }
        if (e == Q_OK) {
            q_bare_print("%lu [%s]\n", (uint64_t)n, line);
        } else {
            q_bare_print("too long\n");
        }
    }
}

static int await_interrupt(void)
{
    char text[2];
    while (!q_bare_interrupted()) {
        cpu_pause();
    }
    const size_t n = q_bare_serial_read(text, sizeof(text));
    q_bare_print("interrupted after ");
    q_bare_write(text, n);
    q_bare_print("\n");
    return 0;
}

static int log_levels(const q_port *port)
{
    static const char text[] = "one line";
    for (uint32_t level = Q_LOG_ERROR; level <= Q_LOG_DEBUG; level++) {
        port->log(port->user, (q_log_level)level, text, sizeof(text) - 1);
    }
    return 0;
}

static int panic_now(const q_port *port)
{
    static const q_diag diag = {Q_ERR_INVALID_SHAPE, "selftest", "ne[3]", 1, 2, 3};
    port->panic(port->user, &diag);
    return 0;
}

static int wait_seconds(const q_port *port, uint64_t seconds)
{
    idle_ns(port, seconds * 1000000000ull * port->ns_den / port->ns_num);
    return 0;
}

static int print_words(uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        q_bare_print("[%s]\n", words[i]);
    }
    return 0;
}

int q_bare_main(const q_bare_boot *boot)
{
    uint32_t n = 0;
    if (q_bare_split(boot->cmdline, word_store, sizeof(word_store), words, MAX_WORDS, &n) != Q_OK) {
        q_bare_say("selftest: the command line cannot be split into words\n");
        return 2;
    }
    const char *word = n != 0 ? words[0] : "report";
    const char *value = NULL;
    if ((value = word_value(word, "fault=")) != NULL) {
        return fault(boot, value);
    }
    if ((value = word_value(word, "eat=")) != NULL) {
        return eat(word_number(value));
    }
    if ((value = word_value(word, "time=")) != NULL) {
        return wait_seconds(boot->port, word_number(value));
    }
    if ((value = word_value(word, "exit=")) != NULL) {
        return (int)word_number(value);
    }
    return word_is(word, "alloc")       ? alloc_all(boot)
           : word_is(word, "lines")     ? echo_lines()
           : word_is(word, "words")     ? print_words(n)
           : word_is(word, "log")       ? log_levels(boot->port)
           : word_is(word, "interrupt") ? await_interrupt()
           : word_is(word, "panic")     ? panic_now(boot->port)
                                        : report(boot);
}
