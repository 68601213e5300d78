/* SPDX-License-Identifier: MIT */
/* Files in memory: see memory_files.h. */
#include "memory_files.h"

#include "qorus/base/mem.h"
#include "qorus/base/text.h"

uint32_t memory_find(const memory_port *p, const char *name)
{
    for (uint32_t i = 0; i < MEMORY_FILES; i++) {
        size_t n = 0;
        while (p->file[i].name[n] != '\0' && p->file[i].name[n] == name[n]) {
            n++;
        }
        if (p->file[i].name[n] == name[n]) {
            return i;
        }
    }
    return MEMORY_FILES;
}

static void name_file(memory_file *f, const char *name)
{
    q_text t;
    q_text_init(&t, f->name, sizeof(f->name));
    q_text_str(&t, name);
}

static q_error_code memory_open(void *user, const char *path, q_open_mode mode, q_port_file *out)
{
    memory_port *p = (memory_port *)user;
    uint32_t i = memory_find(p, path);
    if (mode == Q_OPEN_CREATE_NEW) {
        if (i != MEMORY_FILES) {
            return Q_ERR_IO;
        }
        i = memory_find(p, "");
        if (i == MEMORY_FILES) {
            return Q_ERR_IO;
        }
        name_file(&p->file[i], path);
        p->file[i].size = 0;
    }
    if (i == MEMORY_FILES) {
        return Q_ERR_NOT_FOUND;
    }
    *out = i;
    return Q_OK;
}

static q_error_code memory_size(void *user, q_port_file file, uint64_t *bytes)
{
    *bytes = ((memory_port *)user)->file[file].size;
    return Q_OK;
}

static q_error_code memory_read(void *user, q_port_file file, uint64_t offset, void *to, size_t n)
{
    const memory_file *f = &((memory_port *)user)->file[file];
    if (offset > f->size || n > f->size - offset) {
        return Q_ERR_IO;
    }
    memcpy(to, f->bytes + offset, n);
    return Q_OK;
}

static q_error_code memory_write(void *user, q_port_file file, uint64_t offset, const void *from, size_t n)
{
    memory_file *f = &((memory_port *)user)->file[file];
    if (offset > MEMORY_ROOM || n > MEMORY_ROOM - offset) {
        return Q_ERR_IO;
    }
    memcpy(f->bytes + offset, from, n);
    f->size = offset + n > f->size ? offset + n : f->size;
    return Q_OK;
}

static q_error_code memory_done(void *user, q_port_file file)
{
    (void)user;
    (void)file;
    return Q_OK;
}

static q_error_code memory_remove(void *user, const char *path)
{
    memory_port *p = (memory_port *)user;
    uint32_t i = memory_find(p, path);
    if (i == MEMORY_FILES) {
        return Q_ERR_NOT_FOUND;
    }
    p->file[i].name[0] = '\0';
    return Q_OK;
}

static q_error_code memory_replace(void *user, const char *from, const char *to)
{
    memory_port *p = (memory_port *)user;
    uint32_t i = memory_find(p, from);
    uint32_t old = memory_find(p, to);
    if (i == MEMORY_FILES) {
        return Q_ERR_NOT_FOUND;
    }
    if (old != MEMORY_FILES) {
        p->file[old].name[0] = '\0';
    }
    name_file(&p->file[i], to);
    return p->replace_unsure ? Q_ERR_NOT_SUPPORTED : Q_OK;
}

q_port memory_files(memory_port *files)
{
    q_port p;
    memset(&p, 0, sizeof(p));
    p.struct_size = sizeof(p);
    p.user = files;
    p.file_open = memory_open;
    p.file_size = memory_size;
    p.file_read_at = memory_read;
    p.file_write_at = memory_write;
    p.file_sync = memory_done;
    p.file_replace = memory_replace;
    p.file_remove = memory_remove;
    p.file_close = memory_done;
    return p;
}
