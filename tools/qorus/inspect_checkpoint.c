/* SPDX-License-Identifier: MIT */
/* qorus inspect of a checkpoint: a file of a training, or a disk with two slots. */
#include "inspect.h"

#include <string.h>

enum { WORK = 1 << 18, NOTE = 1 << 15 };

/* Does a record begin there? */
static bool begins(const q_port *port, q_port_file file, uint64_t at)
{
    uint8_t magic[sizeof(Q_CHECKPOINT_MAGIC) - 1];
    return port->file_read_at(port->user, file, at, magic, sizeof(magic)) == Q_OK &&
           memcmp(magic, Q_CHECKPOINT_MAGIC, sizeof(magic)) == 0;
}

/* Where the second of two slots that fill a file is. */
static uint64_t half(uint64_t size)
{
    return size / 2 / Q_CHECKPOINT_RECORD * Q_CHECKPOINT_RECORD;
}

bool checkpoint_find(host *h, const char *path, q_checkpoint_place *place)
{
    const q_port *port = h->port;
    uint64_t size = 0;
    bool slots;
    bool found;
    memset(place, 0, sizeof(*place));
    place->struct_size = sizeof(*place);
    place->port = port;
    if (port->file_open(port->user, path, Q_OPEN_READ, &place->file) != Q_OK) {
        return false;
    }
    slots = port->file_size(port->user, place->file, &size) == Q_OK && half(size) != 0 && begins(port, place->file, half(size));
    place->path = slots ? NULL : path;
    place->slot_bytes = slots ? half(size) : 0;
    found = slots || begins(port, place->file, 0);
    return slots || (port->file_close(port->user, place->file) == Q_OK && found);
}

static void show_hex(doc *d, const char *key, const uint8_t hash[Q_CHECKPOINT_HASH])
{
    char hex[2 * Q_CHECKPOINT_HASH + 1];
    for (size_t i = 0; i < Q_CHECKPOINT_HASH; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    }
    doc_text(d, key, hex, 0);
}

static void show(doc *d, const q_checkpoint_info *c, bool slots, const char *note, size_t n)
{
    doc_group(d, "file");
    doc_text(d, "format", "checkpoint", 0);
    doc_u64(d, "version", Q_CHECKPOINT_VERSION, 0);
    doc_u64(d, "bytes", c->bytes, 0);
    doc_text(d, "from", slots ? c->newest == 0 ? "slot A" : "slot B" : c->newest == 0 ? "the file" : "the one before it", 0);
    doc_text(d, "other", c->passed_over == Q_OK ? "ok" : q_strerror(c->passed_over), 0);
    doc_u64(d, "sequence", c->sequence, 0);
    show_hex(d, "model", c->model);
    show_hex(d, "sha256", c->hash);
    doc_group_end(d);
    doc_group(d, "training");
    doc_u64(d, "steps", c->steps, 0);
    doc_u64(d, "seed", c->seed, 0);
    doc_text(d, "optimizer", c->optimizer, 0);
    doc_u64(d, "moments", c->n_moments, 0);
    doc_u64(d, "parameters", c->n_params, 0);
    doc_u64(d, "real_bytes", c->real_bytes, 0);
    doc_u64(d, "values_bytes", c->values_bytes, 0);
    doc_u64(d, "best_bytes", c->best_bytes, 0);
    doc_u64(d, "states_bytes", c->states_bytes, 0);
    doc_u64(d, "evaluations", c->evaluations, 0);
    doc_u64(d, "best_step", c->best_step, 0);
    doc_double(d, "best", c->best);
    doc_group_end(d);
    doc_group(d, "note");
    if (d->json) {
        doc_bytes(d, "text", note, n, 0);
    } else {
        (void)fwrite(note, 1, n, d->to);
        (void)fputs(n != 0 && note[n - 1] != '\n' ? "\n" : "", d->to);
    }
    doc_group_end(d);
}

int checkpoint_show(host *h, const char *path, q_checkpoint_place *place, doc *d)
{
    q_block work = {host_take(h, WORK, "work"), WORK};
    char *note = (char *)host_take(h, NOTE, "note");
    q_checkpoint_info info;
    if (work.base == NULL || note == NULL) {
        return EXIT_FAILED;
    }
    if (q_checkpoint_look(place, &info, note, NOTE, work, &h->diag) != Q_OK) {
        return say_failure(path, &h->diag);
    }
    show(d, &info, place->path == NULL, note, info.note_bytes < NOTE ? (size_t)info.note_bytes : NOTE);
    return EXIT_DONE;
}
