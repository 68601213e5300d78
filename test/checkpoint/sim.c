/* SPDX-License-Identifier: MIT */
/* A medium under power cuts: see sim.h. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Media -------------------------------------------------------------------------------------------------- */

void sim_format(sim_fs *fs)
{
    fs->n_files = 0;
    for (uint32_t i = 0; i < SIM_NAMES; i++) {
        fs->names[i].name[0] = '\0';
        fs->names[i].file = SIM_FILES;
    }
}

static uint32_t name_index(const sim_fs *fs, const char *name)
{
    uint32_t i = 0;
    while (i < SIM_NAMES && (fs->names[i].file == SIM_FILES || strcmp(fs->names[i].name, name) != 0)) {
        i++;
    }
    return i;
}

static void set_name(sim_fs *fs, const char *name, uint32_t file)
{
    uint32_t i = name_index(fs, name);
    for (uint32_t k = 0; i == SIM_NAMES && k < SIM_NAMES; k++) {
        i = fs->names[k].file == SIM_FILES ? k : i;
    }
    if (i == SIM_NAMES) {
        (void)printf("FAIL the simulated directory is full\n0 passed, 1 failed, 0 skipped\n");
        exit(1);
    }
    (void)snprintf(fs->names[i].name, SIM_NAME, "%s", name);
    fs->names[i].file = file;
}

static void drop_name(sim_fs *fs, const char *name, uint32_t file)
{
    uint32_t i = name_index(fs, name);
    if (i < SIM_NAMES && fs->names[i].file == file) {
        fs->names[i].file = SIM_FILES;
    }
}

static uint32_t new_file(sim_fs *fs)
{
    if (fs->n_files == SIM_FILES) {
        (void)printf("FAIL the simulated medium is full\n0 passed, 1 failed, 0 skipped\n");
        exit(1);
    }
    fs->files[fs->n_files].size = 0;
    return fs->n_files++;
}

uint32_t sim_make(sim_fs *fs, const char *name, uint32_t size)
{
    uint32_t file = new_file(fs);
    memset(fs->files[file].bytes, 0, size);
    fs->files[file].size = size;
    set_name(fs, name, file);
    return file;
}

sim_file *sim_find(sim_fs *fs, const char *name)
{
    uint32_t i = name_index(fs, name);
    return i < SIM_NAMES ? &fs->files[fs->names[i].file] : NULL;
}

static void copy_file(sim_file *to, const sim_file *from)
{
    to->size = from->size;
    memcpy(to->bytes, from->bytes, from->size);
}

void sim_copy(sim_fs *to, const sim_fs *from)
{
    sim_format(to);
    for (uint32_t i = 0; i < SIM_NAMES; i++) {
        if (from->names[i].file != SIM_FILES) {
            uint32_t file = new_file(to);
            copy_file(&to->files[file], &from->files[from->names[i].file]);
            set_name(to, from->names[i].name, file);
        }
    }
}

/* ---- Work --------------------------------------------------------------------------------------------------- */

enum { SIM_WRITES = 1 << 8 }; /* of a file number: opened for writing */

static sim_op *log_op(sim_port *p, sim_kind kind, uint32_t file)
{
    sim_op *op = &p->log.ops[p->log.n];
    if (p->log.n == SIM_OPS) {
        (void)printf("FAIL the log is full\n0 passed, 1 failed, 0 skipped\n");
        exit(1);
    }
    p->log.n++;
    memset(op, 0, sizeof(*op));
    op->kind = kind;
    op->file = file;
    p->n_writes += kind != SIM_SYNC ? 1 : 0;
    return op;
}

static q_error_code sim_open(void *user, const char *path, q_open_mode mode, q_port_file *out)
{
    sim_port *p = (sim_port *)user;
    uint32_t i = name_index(&p->fs, path);
    uint32_t file;
    if ((mode == Q_OPEN_CREATE_NEW) == (i < SIM_NAMES)) {
        return i < SIM_NAMES ? Q_ERR_IO : Q_ERR_NOT_FOUND;
    }
    file = i < SIM_NAMES ? p->fs.names[i].file : new_file(&p->fs);
    if (mode == Q_OPEN_CREATE_NEW) {
        set_name(&p->fs, path, file);
        (void)snprintf(log_op(p, SIM_CREATE, file)->to, SIM_NAME, "%s", path);
    }
    *out = file | (mode != Q_OPEN_READ ? SIM_WRITES : 0);
    p->opened++;
    return Q_OK;
}

static q_error_code sim_size(void *user, q_port_file file, uint64_t *bytes)
{
    *bytes = ((sim_port *)user)->fs.files[file % SIM_WRITES].size;
    return Q_OK;
}

static q_error_code sim_read(void *user, q_port_file file, uint64_t offset, void *to, size_t n)
{
    const sim_file *f = &((sim_port *)user)->fs.files[file % SIM_WRITES];
    if (offset > f->size || n > f->size - offset) {
        return Q_ERR_IO;
    }
    memcpy(to, f->bytes + offset, n);
    return Q_OK;
}

static q_error_code sim_write(void *user, q_port_file file, uint64_t offset, const void *from, size_t n)
{
    sim_port *p = (sim_port *)user;
    sim_file *f = &p->fs.files[file % SIM_WRITES];
    sim_op *op;
    if (file < SIM_WRITES || offset > SIM_BYTES || n > SIM_BYTES - offset || n > SIM_DATA - p->log.n_data) {
        return Q_ERR_IO;
    }
    op = log_op(p, SIM_WRITE, (uint32_t)(file % SIM_WRITES));
    op->offset = (uint32_t)offset;
    op->n = (uint32_t)n;
    op->data = p->log.n_data;
    memcpy(p->log.data + p->log.n_data, from, n);
    p->log.n_data += (uint32_t)n;
    if (offset > f->size) {
        memset(f->bytes + f->size, 0, offset - f->size);
    }
    memcpy(f->bytes + offset, from, n);
    f->size = offset + n > f->size ? (uint32_t)(offset + n) : f->size;
    return Q_OK;
}

static q_error_code sim_sync(void *user, q_port_file file)
{
    sim_port *p = (sim_port *)user;
    sim_op *op = log_op(p, SIM_SYNC, (uint32_t)(file % SIM_WRITES));
    p->n_syncs++;
    op->fails = p->n_syncs == p->fail_sync;
    op->lies = p->lie_sync == UINT32_MAX || p->n_syncs == p->lie_sync;
    return op->fails ? Q_ERR_IO : Q_OK;
}

static q_error_code sim_replace(void *user, const char *from, const char *to)
{
    sim_port *p = (sim_port *)user;
    uint32_t i = name_index(&p->fs, from);
    sim_op *op;
    if (i == SIM_NAMES) {
        return Q_ERR_NOT_FOUND;
    }
    op = log_op(p, SIM_RENAME, p->fs.names[i].file);
    (void)snprintf(op->from, SIM_NAME, "%s", from);
    (void)snprintf(op->to, SIM_NAME, "%s", to);
    op->lies = p->no_directory || p->lie_sync == UINT32_MAX;
    p->fs.names[i].file = SIM_FILES;
    set_name(&p->fs, to, op->file);
    return p->no_directory ? Q_ERR_NOT_SUPPORTED : Q_OK;
}

static q_error_code sim_remove(void *user, const char *path)
{
    sim_port *p = (sim_port *)user;
    uint32_t i = name_index(&p->fs, path);
    if (i == SIM_NAMES) {
        return Q_ERR_NOT_FOUND;
    }
    (void)snprintf(log_op(p, SIM_REMOVE, p->fs.names[i].file)->from, SIM_NAME, "%s", path);
    p->fs.names[i].file = SIM_FILES;
    return Q_OK;
}

static q_error_code sim_close(void *user, q_port_file file)
{
    (void)file;
    ((sim_port *)user)->opened--;
    return Q_OK;
}

static q_error_code sim_facts(void *user, q_port_file file, q_block_facts *out)
{
    (void)file;
    *out = ((sim_port *)user)->facts;
    return Q_OK;
}

void sim_start(sim_port *p, const sim_fs *fs)
{
    const q_port port = {.struct_size = sizeof(q_port), .user = p, .file_open = sim_open, .file_size = sim_size,
                         .file_read_at = sim_read, .file_write_at = sim_write, .file_sync = sim_sync,
                         .file_replace = sim_replace, .file_remove = sim_remove, .file_close = sim_close,
                         .block_facts = sim_facts};
    p->port = port;
    sim_copy(&p->fs, fs);
    p->log.n = p->log.n_data = 0;
    p->facts = (q_block_facts){SIM_SECTOR, 1};
    p->opened = p->n_writes = p->n_syncs = p->fail_sync = p->lie_sync = 0;
    p->no_directory = false;
}

/* ---- Power cuts --------------------------------------------------------------------------------------------- */

/* The first of the calls [i, n) that flushes call i, well or not; n: none. */
static uint32_t flush_of(const sim_log *log, uint32_t i, uint32_t n)
{
    const sim_op *op = &log->ops[i];
    for (uint32_t k = i; k < n; k++) {
        const sim_op *flush = &log->ops[k];
        bool fits = op->kind == SIM_WRITE ? flush->kind == SIM_SYNC && flush->file == op->file : flush->kind == SIM_RENAME;
        if (fits && !flush->lies) {
            return k;
        }
    }
    return n;
}

bool sim_durable(const sim_log *log, uint32_t i, uint32_t n)
{
    uint32_t flush = flush_of(log, i, n);
    return log->ops[i].kind == SIM_SYNC || (flush < n && !log->ops[flush].fails);
}

static void apply_write(sim_file *f, const sim_log *log, const sim_op *op, const sim_end *end, uint32_t i)
{
    for (uint32_t at = 0, sector = 0; at < op->n; at += SIM_SECTOR, sector++) {
        uint32_t n = op->n - at < SIM_SECTOR ? op->n - at : SIM_SECTOR;
        uint32_t to = op->offset + at;
        bool garbage = end->fate[i] == SIM_GARBAGE && sector == end->garbage;
        if (end->fate[i] != SIM_DONE && !garbage && (end->sectors[i] >> sector & 1) == 0) {
            continue;
        }
        if (to > f->size) {
            memset(f->bytes + f->size, 0, to - f->size);
        }
        for (uint32_t k = 0; garbage && k < n; k++) {
            f->bytes[to + k] = (uint8_t)(k * 167 + to / 3 + 13);
        }
        if (!garbage) {
            memcpy(f->bytes + to, log->data + op->data + at, n);
        }
        f->size = to + n > f->size ? to + n : f->size;
    }
}

static void apply(sim_fs *fs, const sim_log *log, const sim_end *end, uint32_t i)
{
    const sim_op *op = &log->ops[i];
    if (end->fate[i] == SIM_LOST) {
        return;
    }
    if (op->kind == SIM_WRITE) {
        apply_write(&fs->files[op->file], log, op, end, i);
    } else if (op->kind == SIM_CREATE || op->kind == SIM_RENAME) {
        if (op->kind == SIM_RENAME) {
            drop_name(fs, op->from, op->file);
        }
        set_name(fs, op->to, op->file);
    } else if (op->kind == SIM_REMOVE) {
        drop_name(fs, op->from, op->file);
    }
}

void sim_cut(const sim_fs *before, const sim_log *log, const sim_end *end, sim_fs *after)
{
    sim_copy(after, before); /* file numbers are those of the start: sim_start copies as well */
    while (after->n_files < SIM_FILES) {
        after->files[after->n_files++].size = 0;
    }
    for (uint32_t k = 0; k < end->n; k++) {
        if (!end->backwards || flush_of(log, k, end->returned) < end->returned) {
            apply(after, log, end, k);
        }
    }
    for (uint32_t k = end->n; end->backwards && k-- > 0;) {
        if (flush_of(log, k, end->returned) == end->returned) {
            apply(after, log, end, k);
        }
    }
}
