/* SPDX-License-Identifier: MIT */
/*
 * disk.c: a virtio block device on the memory-mapped bus (virtio 1.0, sections 2.4, 4.2 and 5.2) as
 * the file "disk": one queue, one request at a time, polled.
 *
 * The device reads and writes the caller's memory itself: every address is physical.
 */
#include "internal.h"

#include "../../include/qorus/base/mem.h"

/* Where QEMU's microvm has its slots; an empty one has device number 0. */
#define DISK_WINDOW 0xFEB00000ull

enum { DISK_SLOTS = 24, DISK_SLOT_BYTES = 512 };

/* Registers of a slot. */
enum {
    REG_MAGIC = 0x000,
    REG_VERSION = 0x004,
    REG_DEVICE = 0x008,
    REG_OFFERED = 0x010,
    REG_OFFERED_WORD = 0x014,
    REG_ACCEPTED = 0x020,
    REG_ACCEPTED_WORD = 0x024,
    REG_QUEUE = 0x030,
    REG_QUEUE_MAX = 0x034,
    REG_QUEUE_SIZE = 0x038,
    REG_QUEUE_READY = 0x044,
    REG_NOTIFY = 0x050,
    REG_STATUS = 0x070,
    REG_DESCRIPTORS = 0x080,
    REG_AVAILABLE = 0x090,
    REG_USED = 0x0A0,
    REG_SECTORS = 0x100
};

enum {
    DISK_MAGIC = 0x74726976, /* "virt" */
    DISK_VERSION = 2,
    DISK_BLOCK_DEVICE = 2,

    STATUS_ACKNOWLEDGE = 1,
    STATUS_DRIVER = 2,
    STATUS_DRIVER_OK = 4,
    STATUS_FEATURES_OK = 8,

    FEATURE_READ_ONLY = 1u << 5, /* of word 0 */
    FEATURE_FLUSH = 1u << 9,
    FEATURE_VERSION_1 = 1u << 0, /* of word 1 */

    REQUEST_READ = 0,
    REQUEST_WRITE = 1,
    REQUEST_FLUSH = 4,
    REQUEST_DONE = 0,
    REQUEST_PENDING = 0xFF, /* no answer of a device */

    DESCRIPTOR_NEXT = 1,
    DESCRIPTOR_DEVICE_WRITES = 2,
    AVAILABLE_NO_INTERRUPT = 1,

    QUEUE_ENTRIES = 4, /* a power of two; a request has three parts */
    SECTOR = 512,
    REQUEST_MOST = 1 << 20 /* bytes */
};

#define DISK_SPIN_NS 200000ull
#define DISK_TIMEOUT_NS 30000000000ull

/* What a file number says: the file was opened for reading, or for writing too. */
enum { FILE_READS = 1, FILE_WRITES = 2 };

typedef struct disk_descriptor {
    uint64_t address;
    uint32_t bytes;
    uint16_t flags;
    uint16_t next;
} disk_descriptor;

typedef struct disk_available {
    uint16_t flags;
    uint16_t index;
    uint16_t ring[QUEUE_ENTRIES];
} disk_available;

typedef struct disk_used {
    uint16_t flags;
    uint16_t index;
    struct {
        uint32_t head;
        uint32_t bytes;
    } ring[QUEUE_ENTRIES];
} disk_used;

typedef struct disk_header {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
} disk_header;

typedef enum disk_state { DISK_UNKNOWN = 0, DISK_ABSENT, DISK_READY, DISK_FAILED } disk_state;

static struct disk {
    disk_state state;
    uint32_t features; /* accepted ones of word 0 */
    uint64_t slot;     /* address of its registers */
    uint64_t bytes;
    Q_ALIGNED(16) disk_descriptor descriptors[QUEUE_ENTRIES];
    disk_available available;
    disk_used used;
    disk_header header;
    uint8_t status;
    uint8_t sector[SECTOR]; /* the one that is written in part */
} disk;

/* ---- Registers ------------------------------------------------------------------------------- */

static uint32_t disk_get(uint64_t slot, uint32_t reg)
{
    return *(const volatile uint32_t *)(uintptr_t)(slot + reg);
}

static void disk_set(uint32_t reg, uint32_t value)
{
    *(volatile uint32_t *)(uintptr_t)(disk.slot + reg) = value;
}

static void disk_set_address(uint32_t reg, const void *at)
{
    disk_set(reg, (uint32_t)(uintptr_t)at);
    disk_set(reg + 4, (uint32_t)((uint64_t)(uintptr_t)at >> 32));
}

/* ---- Finding it ------------------------------------------------------------------------------ */

static bool disk_find(void)
{
    const uint64_t end = DISK_WINDOW + DISK_SLOTS * DISK_SLOT_BYTES;
    for (uint64_t page = DISK_WINDOW; page < end; page += PAGE_BYTES) {
        q_bare_pages_device(page);
    }
    for (uint64_t slot = DISK_WINDOW; slot < end; slot += DISK_SLOT_BYTES) {
        if (disk_get(slot, REG_MAGIC) == DISK_MAGIC
            && disk_get(slot, REG_DEVICE) == DISK_BLOCK_DEVICE) {
            disk.slot = slot;
            return true;
        }
    }
    return false;
}

static bool disk_agree(void)
{
    if (disk_get(disk.slot, REG_VERSION) != DISK_VERSION) {
        return false;
    }
    disk_set(REG_STATUS, 0);
    disk_set(REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    disk_set(REG_OFFERED_WORD, 1);
    const uint32_t high = disk_get(disk.slot, REG_OFFERED);
    disk_set(REG_OFFERED_WORD, 0);
    disk.features = disk_get(disk.slot, REG_OFFERED) & (FEATURE_READ_ONLY | FEATURE_FLUSH);
    disk_set(REG_ACCEPTED_WORD, 0);
    disk_set(REG_ACCEPTED, disk.features);
    disk_set(REG_ACCEPTED_WORD, 1);
    disk_set(REG_ACCEPTED, high & FEATURE_VERSION_1);
    disk_set(REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
    return (disk_get(disk.slot, REG_STATUS) & STATUS_FEATURES_OK) != 0;
}

static bool disk_start(void)
{
    disk_set(REG_QUEUE, 0);
    if (!disk_agree() || disk_get(disk.slot, REG_QUEUE_MAX) < QUEUE_ENTRIES) {
        return false;
    }
    disk.available.flags = AVAILABLE_NO_INTERRUPT;
    disk_set(REG_QUEUE_SIZE, QUEUE_ENTRIES);
    disk_set_address(REG_DESCRIPTORS, disk.descriptors);
    disk_set_address(REG_AVAILABLE, &disk.available);
    disk_set_address(REG_USED, &disk.used);
    disk_set(REG_QUEUE_READY, 1);
    disk_set(REG_STATUS,
             STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
    const uint64_t sectors = disk_get(disk.slot, REG_SECTORS)
                             | (uint64_t)disk_get(disk.slot, REG_SECTORS + 4) << 32;
    disk.bytes = sectors * SECTOR;
    return true;
}

static disk_state disk_look(void)
{
    if (disk.state == DISK_UNKNOWN) {
        disk.state = !disk_find() ? DISK_ABSENT : disk_start() ? DISK_READY : DISK_FAILED;
    }
    return disk.state;
}

/* ---- Requests -------------------------------------------------------------------------------- */

static bool disk_answered(void)
{
    return __atomic_load_n(&disk.used.index, __ATOMIC_ACQUIRE) == disk.available.index;
}

/* A device that is late is reset, so that it leaves memory alone; the disk is lost for this run. */
static bool disk_wait(void)
{
    const uint64_t start = q_bare_time_ns(NULL);
    while (!disk_answered()) {
        const uint64_t waited = q_bare_time_ns(NULL) - start;
        if (waited > DISK_TIMEOUT_NS) {
            disk_set(REG_STATUS, 0);
            disk.state = DISK_FAILED;
            return false;
        }
        if (waited > DISK_SPIN_NS) {
            q_bare_apic_nap();
        } else {
            cpu_pause();
        }
    }
    return true;
}

static void disk_describe(uint16_t i, const void *at, size_t bytes, uint16_t flags)
{
    disk.descriptors[i] =
        (disk_descriptor){(uint64_t)(uintptr_t)at, (uint32_t)bytes, flags, (uint16_t)(i + 1)};
}

/* Whole sectors; a flush has none. */
static q_error_code disk_request(uint32_t type, uint64_t sector, void *data, size_t bytes)
{
    if (disk.state != DISK_READY) {
        return Q_ERR_IO;
    }
    uint16_t last = 1;
    disk.header = (disk_header){type, 0, sector};
    disk.status = REQUEST_PENDING;
    disk_describe(0, &disk.header, sizeof(disk.header), DESCRIPTOR_NEXT);
    if (bytes != 0) {
        const uint16_t reads = type == REQUEST_READ ? DESCRIPTOR_DEVICE_WRITES : 0;
        disk_describe(last++, data, bytes, DESCRIPTOR_NEXT | reads);
    }
    disk_describe(last, &disk.status, 1, DESCRIPTOR_DEVICE_WRITES);
    disk.available.ring[disk.available.index % QUEUE_ENTRIES] = 0;
    __atomic_store_n(&disk.available.index, (uint16_t)(disk.available.index + 1),
                     __ATOMIC_SEQ_CST);
    disk_set(REG_NOTIFY, 0);
    if (!disk_wait()) {
        return Q_ERR_IO;
    }
    return __atomic_load_n(&disk.status, __ATOMIC_RELAXED) == REQUEST_DONE ? Q_OK : Q_ERR_IO;
}

/* n bytes inside one sector, fewer than all of it. */
static q_error_code disk_part(uint32_t type, uint64_t offset, uint8_t *data, size_t n)
{
    uint8_t *at = disk.sector + offset % SECTOR;
    const q_error_code e = disk_request(REQUEST_READ, offset / SECTOR, disk.sector, SECTOR);
    if (e != Q_OK || type == REQUEST_READ) {
        memcpy(data, at, e == Q_OK ? n : 0);
        return e;
    }
    memcpy(at, data, n);
    return disk_request(REQUEST_WRITE, offset / SECTOR, disk.sector, SECTOR);
}

static q_error_code disk_move(uint32_t type, uint64_t offset, uint8_t *data, size_t n)
{
    if (offset > disk.bytes || n > disk.bytes - offset) {
        return Q_ERR_IO;
    }
    while (n != 0) {
        const size_t room = SECTOR - offset % SECTOR;
        const bool whole = room == SECTOR && n >= SECTOR;
        size_t piece = n < room ? n : room;
        if (whole) {
            piece = n < REQUEST_MOST ? n - n % SECTOR : REQUEST_MOST;
        }
        const q_error_code e = whole ? disk_request(type, offset / SECTOR, data, piece)
                                     : disk_part(type, offset, data, piece);
        if (e != Q_OK) {
            return e;
        }
        offset += piece;
        data += piece;
        n -= piece;
    }
    return Q_OK;
}

/* ---- The port's members ---------------------------------------------------------------------- */

static bool disk_named(const char *path)
{
    static const char name[] = "disk";
    size_t i = 0;
    while (name[i] != '\0' && path[i] == name[i]) {
        i++;
    }
    return path[i] == name[i];
}

static q_error_code disk_open(void *user, const char *path, q_open_mode mode, q_port_file *out)
{
    (void)user;
    if (mode == Q_OPEN_CREATE_NEW) {
        return disk_named(path) ? Q_ERR_IO : Q_ERR_NOT_SUPPORTED;
    }
    if (!disk_named(path) || disk_look() == DISK_ABSENT) {
        return Q_ERR_NOT_FOUND;
    }
    const bool writes = mode == Q_OPEN_READ_WRITE;
    if (disk.state != DISK_READY || (writes && (disk.features & FEATURE_READ_ONLY) != 0)) {
        return Q_ERR_IO;
    }
    *out = writes ? FILE_WRITES : FILE_READS;
    return Q_OK;
}

static q_error_code disk_size(void *user, q_port_file file, uint64_t *bytes)
{
    (void)user;
    (void)file;
    *bytes = disk.bytes;
    return Q_OK;
}

static q_error_code disk_read_at(void *user, q_port_file file, uint64_t offset, void *to, size_t n)
{
    (void)user;
    (void)file;
    return disk_move(REQUEST_READ, offset, to, n);
}

static q_error_code disk_write_at(void *user, q_port_file file, uint64_t offset, const void *from,
                                  size_t n)
{
    (void)user;
    if (file != FILE_WRITES) {
        return Q_ERR_IO;
    }
    return disk_move(REQUEST_WRITE, offset, (uint8_t *)(uintptr_t)from, n);
}

/* A device without the command has no cache that it would empty. */
static q_error_code disk_sync(void *user, q_port_file file)
{
    (void)user;
    (void)file;
    if ((disk.features & FEATURE_FLUSH) == 0) {
        return disk.state == DISK_READY ? Q_OK : Q_ERR_IO;
    }
    return disk_request(REQUEST_FLUSH, 0, NULL, 0);
}

static q_error_code disk_replace(void *user, const char *from, const char *to)
{
    (void)user;
    (void)from;
    (void)to;
    return Q_ERR_NOT_SUPPORTED;
}

static q_error_code disk_remove(void *user, const char *path)
{
    (void)user;
    (void)path;
    return Q_ERR_NOT_SUPPORTED;
}

static q_error_code disk_close(void *user, q_port_file file)
{
    (void)user;
    (void)file;
    return Q_OK;
}

static q_error_code disk_facts(void *user, q_port_file file, q_block_facts *out)
{
    (void)user;
    (void)file;
    *out = (q_block_facts){SECTOR, 1};
    return Q_OK;
}

void q_bare_disk_files(q_port *port)
{
    port->file_open = disk_open;
    port->file_size = disk_size;
    port->file_read_at = disk_read_at;
    port->file_write_at = disk_write_at;
    port->file_sync = disk_sync;
    port->file_replace = disk_replace;
    port->file_remove = disk_remove;
    port->file_close = disk_close;
    port->block_facts = disk_facts;
}
