/* SPDX-License-Identifier: MIT */
/*
 * bare.h: what an application sees of the bare x86 port.
 *
 * The image boots (PVH or multiboot2), fills one q_bare_boot and calls q_bare_main(), which the
 * application defines. From then on: 64-bit mode, ring 3, one flat identity mapping, no interrupts,
 * SSE and (where the CPU has them) AVX, AVX-512 and AMX registers enabled, MXCSR 0x1F80, x87 as
 * FNINIT leaves it, all other processors parked behind `parallel`. Page 0 and a page below each
 * stack are not mapped; the image's code and constants and all modules are read-only. Exceptions
 * print and end the run; they never return.
 *
 * Two byte streams leave the machine: COM1 carries results and input, COM2 (where there is one;
 * COM1 otherwise) carries log lines and diagnostics, as stdout and stderr would.
 */
#ifndef QORUS_PORT_BARE_H
#define QORUS_PORT_BARE_H

#include "../../include/qorus/port.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    Q_BARE_MAX_MODULES = 16,
    Q_BARE_MAX_RANGES = 128,
    Q_BARE_MAX_CMDLINE = 65536,       /* bytes of all command lines, the modules' included */
    Q_BARE_STACK_BYTES = 262144,      /* of the boot processor */
    Q_BARE_WORKER_STACK_BYTES = 65536 /* of each other processor */
};

/* Codes of q_bare_exit() that the port itself uses. An application keeps to 0 .. 15. */
enum {
    Q_BARE_EXIT_BOOT = 16,      /* the loader's information cannot be used, or the CPU is too old */
    Q_BARE_EXIT_EXCEPTION = 17, /* a processor exception */
    Q_BARE_EXIT_PANIC = 18,     /* q_port.panic */
    Q_BARE_EXIT_NO_MEMORY = 19, /* q_bare_memory_take() had too little RAM */
    Q_BARE_EXIT_MAX = 29
};

/* Kinds of a memory range, as the PVH and multiboot2 maps number them. */
enum { Q_BARE_RAM = 1, Q_BARE_RESERVED = 2, Q_BARE_ACPI = 3, Q_BARE_NVS = 4, Q_BARE_BAD = 5 };

/* One physical memory range, as the loader reported it. */
typedef struct q_bare_range {
    uint64_t base;
    uint64_t size;
    uint32_t kind;
    uint32_t reserved;
} q_bare_range;

/* One boot module, used in place. `base` is a multiple of 4096; the bytes are mapped read-only. */
typedef struct q_bare_module {
    const void *base;
    size_t size;
    const char *cmdline; /* terminated; "" if the loader gave none */
} q_bare_module;

typedef struct q_bare_boot {
    const char *loader;  /* "PVH" or "multiboot2" */
    const char *cmdline; /* terminated UTF-8 as given to the loader */
    const q_bare_module *modules;
    uint32_t n_modules;
    uint32_t n_ranges;
    const q_bare_range *ranges; /* the loader's memory map, unsorted */
    uint64_t ram_bytes;         /* all RAM in that map */
    uint64_t tsc_hz;            /* 0 if it could not be measured; port->ticks is then NULL */
    const char *tsc_source;     /* "CPUID", "hypervisor", "PIT" or "none" */
    uint32_t n_cpus;            /* processors that answered, the boot processor included */
    uint32_t reserved;
    const q_port *port; /* ticks, cpu_features, parallel, wait, wake, log, panic; no files:
                           q_bare_disk_files() */
} q_bare_boot;

/* The application. Its return value goes to q_bare_exit(). `boot` stays valid for ever. */
int q_bare_main(const q_bare_boot *boot);

/*
 * Ends the run with a code of 0 .. Q_BARE_EXIT_MAX (larger ones are cut down to it, negative ones
 * become 1): drains the serial ports, then writes 32 + code to QEMU's isa-debug-exit device at port
 * 0xF4, so that QEMU's exit status is 65 + 2 * code. Without that device it says so and halts.
 */
Q_NORETURN void q_bare_exit(int code);

/* ---- Memory ---------------------------------------------------------------------------------- */

/*
 * Hands out `size` bytes of RAM, aligned to `align` (a power of two), never given out before and
 * never overlapping the image, a module or the page tables. Contents undefined. If no range has
 * room: prints how many bytes are missing and exits with Q_BARE_EXIT_NO_MEMORY. Boot processor
 * only. O(ranges).
 */
void *q_bare_memory_take(uint64_t size, uint64_t align);

/* The same, but NULL when there is no room. */
void *q_bare_memory_try(uint64_t size, uint64_t align);

/* Size of the largest block of that alignment still to be had; 0 if none. O(ranges). */
uint64_t q_bare_memory_largest(uint64_t align);

/* ---- Serial line ----------------------------------------------------------------------------- */

/* Writes n bytes to COM1, unchanged: the line is 8-bit clean. Any processor. */
void q_bare_write(const char *text, size_t n);

/* Formats to COM2 (COM1 without one). Knows %s, %c, %lu, %lx, %% and no flags or widths. */
void q_bare_say(const char *format, ...) Q_PRINTF(1, 2);

/* Formats to COM1. The same conversions. */
void q_bare_print(const char *format, ...) Q_PRINTF(1, 2);

/* Reads whatever has arrived on COM1, at most n bytes, without waiting. Returns the count. */
size_t q_bare_serial_read(char *to, size_t n);

/*
 * Reads one line from COM1 into `to`, terminated and without its end (LF, CR or CR LF); backspace
 * removes one UTF-8 character; `echo` sends back what is typed. The processor sleeps between bytes.
 * Q_ERR_CANCELLED: end of input (Ctrl-D, which run-qemu.sh sends when its stdin ends) on an empty
 * line. Q_ERR_NO_SPACE: the line has `cap` bytes or more; it is read to its end and dropped.
 */
Q_NODISCARD q_error_code q_bare_read_line(char *to, size_t cap, bool echo, size_t *n);

/* True once Ctrl-C (byte 3) has arrived since the last call; other pending bytes stay for the next
   read. */
bool q_bare_interrupted(void);

/* ---- Disk ------------------------------------------------------------------------------------ */

/*
 * Gives `port` (a copy of boot->port) files: one, named "disk", the first virtio block device of a
 * microvm (virtio-mmio, version 1.0), read and written at any byte. What is its own:
 *   file_open     Q_ERR_NOT_FOUND: another name, or no disk. Q_ERR_IO: a device of an older virtio,
 *                 one that failed before, or Q_OPEN_READ_WRITE of a read-only one
 *   file_write_at a sector written in part is read first; a range inside one sector is one write.
 *                 One that ends behind the disk fails with Q_ERR_IO and writes nothing
 *   file_sync     the device's flush; one that has no such command has no cache that needs it
 *   block_facts   {512, 1}
 *   file_replace, file_remove, Q_OPEN_CREATE_NEW: Q_ERR_NOT_SUPPORTED
 * A device that has not answered after 30 s is reset, and every later call fails with Q_ERR_IO.
 * Boot processor only. Linked only into images that call it (port.mk: BARE_DISK_SRC).
 */
void q_bare_disk_files(q_port *port);

/* ---- Command line ---------------------------------------------------------------------------- */

/*
 * Splits a command line into words the way a shell does: blanks separate, '...' is literal, "..."
 * keeps blanks, a backslash outside '...' takes the next character literally (inside "..." only
 * before " and \). Words are written, terminated, into `store` (cap bytes) and pointed to from
 * argv. Errors: Q_ERR_NO_SPACE (store or argv full), Q_ERR_INVALID_ARG (a quote is not closed).
 * O(length).
 */
Q_NODISCARD q_error_code q_bare_split(const char *line, char *store, size_t cap, const char **argv,
                                      uint32_t max_args, uint32_t *n_args);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_PORT_BARE_H */
