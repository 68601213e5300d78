/* SPDX-License-Identifier: MIT */
/* A model's file, through the port: whatever happens, what had the name before stays whole until the new one has it. */
#include "model_file.h"

#include <unistd.h>

bool model_file_failed(const model_file *f)
{
    const q_diag *last = q_posix_last(&f->h->posix);
    say("%s: cannot be written: %s", f->path, last->field[0] != '\0' ? last->field : q_strerror(last->code));
    return false;
}

bool model_file_open(model_file *f, host *h, const char *path)
{
    f->h = h;
    f->path = path;
    if (snprintf(f->temp, sizeof(f->temp), "%s.%ld.part", path, (long)getpid()) >= (int)sizeof(f->temp)) {
        say("%s: too long a name", path);
        return false;
    }
    return h->port->file_open(h->port->user, f->temp, Q_OPEN_CREATE_NEW, &f->file) == Q_OK || model_file_failed(f);
}

q_error_code model_file_write(void *user, uint64_t offset, const void *bytes, size_t n)
{
    model_file *f = (model_file *)user;
    return f->h->port->file_write_at(f->h->port->user, f->file, offset, bytes, n);
}

bool model_file_close(model_file *f, bool keep)
{
    const q_port *port = f->h->port;
    bool ok = !keep || port->file_sync(port->user, f->file) == Q_OK;
    ok = port->file_close(port->user, f->file) == Q_OK && ok;
    if (ok && keep) {
        /* NOT_SUPPORTED: it has its name, but the file system cannot promise that a power cut keeps it. */
        q_error_code e = port->file_replace(port->user, f->temp, f->path);
        ok = e == Q_OK || e == Q_ERR_NOT_SUPPORTED;
    }
    if (!ok) {
        (void)model_file_failed(f);
    }
    if (!(ok && keep) && port->file_remove(port->user, f->temp) != Q_OK) {
        say("%s: cannot be removed", f->temp);
        ok = false;
    }
    return ok;
}
